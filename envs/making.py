"""Make environments by id, with errors a user can act on and a guard against NaN."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode

from homeo_rl.envs.guard import FiniteGuard
from homeo_rl.envs.registration import register_environments
from homeo_rl.envs.stability import StabilityGuard, has_simulation
from homeo_rl.errors import EnvironmentFault, HomeoError, UsageError, unknown

Env = gym.Env[Any, Any]
VectorEnv = gym.vector.VectorEnv[Any, Any, Any]


def load_modules(names: Sequence[str]) -> None:
    """Import packages that register environments (``--gym-packages``).

    Raises:
        UsageError: one cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UsageError(f"module {name!r} cannot be imported ({error}); is it installed?") from None


def make_env(env_id: str, kwargs: Mapping[str, Any] | None = None, *, render_mode: str | None = None) -> Env:
    """Make an environment whose numbers are checked, and whose episode ends where a simulation becomes unstable.

    Args:
        env_id: a Gymnasium id; ``module:Id-v0`` imports the module first.
        kwargs: arguments of the environment.
        render_mode: Gymnasium's.

    Raises:
        UsageError: unknown id (the nearest is suggested) or arguments.
        EnvironmentFault: the environment's own constructor failed.
    """
    name = _known(env_id)
    _quiet_compiler()
    with warnings.catch_warnings():
        # Gymnasium warns of every superseded version; the run records the id that was asked for.
        warnings.filterwarnings("ignore", message=".*is out of date.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*is out of date.*", category=UserWarning)
        try:
            # An environment that draws nothing need not know the word.
            drawn: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
            env = gym.make(name, **drawn, **dict(kwargs or {}))
        except TypeError as error:
            raise UsageError(f"environment {env_id!r}: {error}; check --env-kwargs") from None
        except HomeoError:
            raise
        except gym.error.DependencyNotInstalled as error:
            raise UsageError(f"environment {env_id!r}: {' '.join(str(error).split())}") from None
        except Exception as error:
            raise EnvironmentFault(
                f"environment {env_id!r}: cannot be made ({type(error).__name__}: {error})"
            ) from error
    return FiniteGuard(StabilityGuard(env) if has_simulation(env) else env)


def arguments_for(env_id: str, made_for: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``made_for`` that go along when its policy is tried in the environment ``env_id``.

    In another environment, arguments that its registration fixes (world, rules) stay as registered; others (how the
    robot sees) belong to the policy.
    """
    if env_id == made_for:
        return dict(kwargs)
    fixed = gym.spec(_known(env_id)).kwargs
    return {name: value for name, value in kwargs.items() if name not in fixed}


def width_advice(env: Env) -> str:
    """Return which arguments of an environment change how wide its observations are; "" where none does by its name."""
    names = inspect.signature(type(env.unwrapped).__init__).parameters
    found = [name for name in names if name.startswith("include_") and name.endswith("_in_observation")]
    if not found:
        return ""
    return f"; how many entries there are depends on {', '.join(found)} (train, import: --env-kwargs {found[0]}:False)"


def make_vector(env_id: str, count: int, kwargs: Mapping[str, Any] | None = None) -> VectorEnv | None:
    """Make ``count`` environments that share one process and start anew at the step that ends an episode.

    Returns None for an environment that has no vectorised form with same-step autoreset.

    Raises:
        UsageError: unknown id or arguments.
    """
    name = _known(env_id)
    entry = gym.spec(name).vector_entry_point
    if entry is None:
        return None
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    if "autoreset_mode" not in inspect.signature(creator).parameters:
        return None
    try:
        return gym.make_vec(name, count, autoreset_mode=AutoresetMode.SAME_STEP.value, **dict(kwargs or {}))
    except TypeError as error:
        raise UsageError(f"environment {env_id!r}: {error}; check --env-kwargs") from None


def _known(env_id: str) -> str:
    """Return the registered name of ``env_id``, after importing its module if it names one."""
    module, _, name = env_id.rpartition(":")
    if module:
        load_modules([module])
    register_environments()
    try:
        gym.spec(name)
    except gym.error.Error as error:
        if isinstance(error, gym.error.NameNotFound | gym.error.NamespaceNotFound | gym.error.UnregisteredEnv):
            known = [known_id for known_id in gym.registry if not known_id.startswith(("phys2d/", "tabular/", "GymV2"))]
            raise unknown("environment", name, known) from None
        raise UsageError(f"environment {env_id!r}: {' '.join(str(error).split())}") from None
    return name


_OLD_MODEL_FILES = "compiler attribute 'settotalmass' is deprecated"
"""What MuJoCo 4 says of Gymnasium's own model files whenever one is read."""


def _quiet_compiler() -> None:
    """Pass MuJoCo's warnings on to standard error, but for the one above.

    Without a handler, MuJoCo also writes every warning into a MUJOCO_LOG.TXT in the current folder.
    """
    import mujoco

    def handle(text: str | bytes) -> None:
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        if _OLD_MODEL_FILES not in said:
            print(f"MuJoCo: {said.strip()}", file=sys.stderr)

    if mujoco.get_mju_user_warning() is None:  # a program's own handler stands
        mujoco.set_mju_user_warning(handle)
