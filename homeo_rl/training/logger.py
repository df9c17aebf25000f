"""The figures of a training that reach TensorBoard: finite ones, and no more of them than a curve can show."""

import math
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from homeo_rl.errors import BadUpdate, StorageFault

POINTS = 500  # points of a curve, at least, where the algorithm logs so many
SPACING = 1000  # environment steps between two points of a long training: some 2 MB a million steps with 30 figures


class TrainingLogger(Logger):
    """A model's logger without the figures that are not finite (a mean over nothing), and not more often than useful.

    Algorithms log their figures once an iteration or every few episodes, which may be every few steps. What is logged
    in between is kept for the next point, as means where they are means.

    Raises BadUpdate: a figure that is not finite is a loss of a gradient step.
    """

    def __init__(self, model: BaseAlgorithm, logger: Logger, *, planned: int) -> None:
        super().__init__(logger.dir, logger.output_formats)
        self._model = model
        self._spacing = min(SPACING, planned // POINTS)
        self.last = -self._spacing

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Take a figure down for the next dump."""
        if isinstance(value, float | np.floating) and not math.isfinite(value):
            if key.startswith("train/") and key.endswith("loss"):
                raise BadUpdate(
                    f"step {self._model.num_timesteps}: {key} is {value}; expected a finite loss; "
                    "lower learning_rate; the last saved policy is kept"
                )
            return
        super().record(key, value, exclude)

    def dump(self, step: int = 0) -> None:
        """Write a point if it is time for one; evaluations, which are rare, always are."""
        if step - self.last >= self._spacing or any(name.startswith("eval/") for name in self.name_to_value):
            self.last = step
            try:
                super().dump(step)
            except OSError as error:
                raise StorageFault(
                    f"{self.dir}: figures could not be written ({error.strerror or error}); free space or permission? "
                    "The same command then goes on"
                ) from error


class LoggerCallback(BaseCallback):
    """Give the model a `TrainingLogger`, which knows its last point when the training is resumed."""

    def __init__(self, planned: int) -> None:
        super().__init__()
        self._planned = planned
        self._last: int | None = None

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a resumed training has to know."""
        return {"last": self.model.logger.last}, {}  # type: ignore[attr-defined]  # ours, from the start of training

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        self._last = document["last"]

    def _on_training_start(self) -> None:
        logger = TrainingLogger(self.model, self.model.logger, planned=self._planned)
        if self._last is not None:
            logger.last = self._last
        self.model.set_logger(logger)

    def _on_step(self) -> bool:
        return True
