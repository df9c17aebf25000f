"""The forward model: what the next observation will be, and how much it scatters.

A network of two hidden layers maps the observation x and the action a, both scaled, to the mean change of x and to the
standard deviation of what is left. Its activation is algebraic,

    h(u) = u (1 + u s) / 2,   s = 1 / sqrt(1 + u^2),

a sigmoid-weighted unit whose value and derivative need a square root and no exponential, so that every processor, and a
microcontroller, computes the same bits. The standard deviation of entry i is c_i (u + sqrt(u^2 + 4)) / 2 + floor with a
factor c_i that is calibrated on held-out data.

Shapes: D observation entries, K action entries, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.observer.layout import LIMIT

FLOOR = 1e-3
"""Least standard deviation of a prediction, in those of the sensor: float32 observations and contacts leave no less."""


class Prediction(NamedTuple):
    """Mean and variance of the next scaled observations, [B, D] each."""

    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class ForwardModel:
    """A fitted model.

    Attributes:
        center: mean of each observation entry [D], in its own units.
        spread: standard deviation of each entry [D]; 1 where the entry never moved.
        action_center: middle of each action entry [K].
        action_spread: half-range of each action entry [K].
        w1, b1: [D + K, H], [H].
        w2, b2: [H, H], [H].
        w3, b3: [H, 2 D], [2 D]; means first.
        change: standard deviation of the change of each scaled entry in a step [D], the unit of the outputs.
        calibration: c [D].
        moves: [D] bool; False for sensors that never moved: they are not modelled.
        r2: share of the variance of the change that is explained on held-out steps [D].
        noise_ratio: mean squared error over predicted variance on held-out steps [D], before the calibration.
        start_mean: mean of the first scaled observation of an episode [D].
        start_variance: its variance [D].
        largest: largest normalised squared error of each sensor in clean sequences [D].
        largest_running: largest running mean of it over some five decisions [D].
        gate: largest running mean over the sensors and some twenty decisions.
    """

    center: np.ndarray
    spread: np.ndarray
    action_center: np.ndarray
    action_spread: np.ndarray
    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    b3: np.ndarray
    change: np.ndarray
    calibration: np.ndarray
    moves: np.ndarray
    r2: np.ndarray
    noise_ratio: np.ndarray
    start_mean: np.ndarray
    start_variance: np.ndarray
    largest: np.ndarray
    largest_running: np.ndarray
    gate: float

    @property
    def entries(self) -> int:
        """D."""
        return len(self.center)

    @property
    def actions(self) -> int:
        """K."""
        return len(self.action_center)

    @cached_property
    def packed(self) -> np.ndarray:
        """Return all weights in one float32 array, as `homeo_rl.observer.model_kernels` reads them."""
        means = np.pad(self.w3[:, : self.entries], ((0, 0), (0, -self.entries % 8)))
        parts = (self.w1, self.b1, self.w2, self.b2, self.w3, self.b3, self.change, self.calibration, means)
        return np.ascontiguousarray(np.concatenate([part.ravel() for part in parts]).astype(np.float32))

    def scale(self, observations: np.ndarray) -> np.ndarray:
        """Return observations [..., D] in deviations from their means, clipped to +-1000."""
        scaled: np.ndarray = np.clip((observations - self.center) / self.spread, -LIMIT, LIMIT)
        return scaled

    def unscale(self, scaled: np.ndarray) -> np.ndarray:
        """Return scaled observations [..., D] in their own units."""
        observations: np.ndarray = scaled * self.spread + self.center
        return observations

    def scale_action(self, actions: np.ndarray) -> np.ndarray:
        """Return actions [..., K], -1 to 1 from bound to bound."""
        scaled: np.ndarray = (actions - self.action_center) / self.action_spread
        return scaled

    def predict(self, scaled: np.ndarray, actions: np.ndarray) -> Prediction:
        """Return the prediction for scaled observations [B, D] and scaled actions [B, K]: the plain reference."""
        h = _activate(np.concatenate([scaled, actions], 1) @ self.w1 + self.b1)
        out = _activate(h @ self.w2 + self.b2) @ self.w3 + self.b3
        mean, raw = out[:, : self.entries], out[:, self.entries :]
        deviation = self.change * self.calibration * (0.5 * (raw + np.sqrt(raw * raw + 4.0))) + FLOOR
        return Prediction(scaled + self.change * mean, deviation**2)

    def to_bundle(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return tensors and document, from which `from_bundle` makes it again."""
        tensors = {name: np.asarray(getattr(self, name)) for name in _TENSORS}
        tensors["moves"] = self.moves.astype(np.float32)
        return tensors, {"gate": self.gate}

    @classmethod
    def from_bundle(cls, tensors: dict[str, np.ndarray], document: dict[str, Any], *, where: str) -> ForwardModel:
        """Return the model of a bundle.

        Raises:
            StorageFault: a tensor is missing or does not fit the others.
        """
        missing = [name for name in (*_TENSORS, "moves") if name not in tensors]
        if missing or not isinstance(document.get("gate"), float):
            raise StorageFault(f"{where}: expected a forward model, {(missing or ['gate'])[0]!r} is missing")
        size, act, hidden = len(tensors["center"]), len(tensors["action_center"]), len(tensors["b1"])
        shapes = {
            **dict.fromkeys((*_OF_SENSORS, "moves"), (size,)),
            "action_spread": (act,), "w1": (size + act, hidden), "w2": (hidden, hidden), "b2": (hidden,),
            "w3": (hidden, 2 * size), "b3": (2 * size,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if tensors[name].shape != shape or tensors[name].dtype != np.float32:
                raise StorageFault(
                    f"{where}: tensor {name!r}: expected float32 {shape}, found {tensors[name].dtype} "
                    f"{tensors[name].shape}; fit the model again"
                )
        values = {name: np.array(tensors[name]) for name in _TENSORS}
        return cls(**values, moves=tensors["moves"] > 0, gate=document["gate"])


_TENSORS = (
    "center", "spread", "action_center", "action_spread", "w1", "b1", "w2", "b2", "w3", "b3", "change", "calibration",
    "r2", "noise_ratio", "start_mean", "start_variance", "largest", "largest_running",
)  # fmt: skip
MEASURED = _TENSORS[-6:]
"""Attributes that are measured on a fitted model."""

_OF_SENSORS = ("spread", "change", "calibration", *MEASURED)


def _activate(u: np.ndarray) -> np.ndarray:
    result: np.ndarray = 0.5 * u * (1.0 + u / np.sqrt(1.0 + u * u))
    return result
