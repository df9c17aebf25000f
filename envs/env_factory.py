"""What an environment is made from, as plain data that can be sent to the process that makes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.envs.replayable import Recorded

Env = gym.Env[Any, Any]


@dataclass(frozen=True)
class Recipe:
    """An environment yet to be made; ``damage`` wraps it in what fails, if anything does."""

    env_id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    render_mode: str | None = None
    endless: bool = False
    damage: Callable[[Env], Env] | None = None

    def make(self, inside: Callable[[Env], Env] = lambda env: env) -> Recorded:
        """Make it; ``inside`` may wrap it before `Recorded` does, which comes last to see all of it.

        Raises UsageError, EnvironmentFault: as `make_env` and `load_modules`.
        """
        load_modules(self.modules)
        env = make_env(self.env_id, self.kwargs, render_mode=self.render_mode, endless=self.endless)
        return Recorded(inside(env if self.damage is None else self.damage(env)))
