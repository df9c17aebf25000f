"""Between two iterations: the one place where a training can be stopped, saved and resumed.

SB3's callbacks are called in the middle of an iteration. An algorithm of `resumable` calls its hook before it collects
a rollout, when nothing is half done. A signal is remembered until then; an on-policy iteration can be long, so its
beginning is kept in memory and written if the signal cannot wait.
"""

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm


def resumable(kind: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return ``kind`` with a method that is called before each rollout: set its ``at_boundary``."""

    class Resumable(kind):  # type: ignore[misc, valid-type]  # the class is an argument
        """An algorithm with a hook that is called when nothing is half done."""

        at_boundary: Callable[[], None] | None = None

        def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
            """Call the hook, then collect a rollout."""
            if self.at_boundary is not None:
                self.at_boundary()
            return super().collect_rollouts(*args, **kwargs)

        def _excluded_save_params(self) -> list[str]:  # words: keep
            return [*super()._excluded_save_params(), "at_boundary"]

    Resumable.__name__ = Resumable.__qualname__ = kind.__name__
    return Resumable
