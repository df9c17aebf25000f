"""Make environments by id, with errors a user can act on and a guard against NaN."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym

from homeo_rl.envs.guard import FiniteGuard
from homeo_rl.errors import EnvironmentFault, UsageError, unknown

Env = gym.Env[Any, Any]


def load_modules(names: Sequence[str]) -> None:
    """Import packages that register environments (``--gym-packages``).

    Raises:
        UsageError: one cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UsageError(f"module {name!r} cannot be imported ({error}); is it installed and spelt right?") from None


def make_env(env_id: str, kwargs: Mapping[str, Any] | None = None, *, render_mode: str | None = None) -> Env:
    """Make an environment whose observations and rewards are checked to be finite.

    Args:
        env_id: a Gymnasium id; ``module:Id-v0`` imports the module first.
        kwargs: arguments of the environment.
        render_mode: Gymnasium's.

    Raises:
        UsageError: unknown id (the nearest is suggested) or arguments.
        EnvironmentFault: the environment's own constructor failed.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        load_modules([module])
    try:
        gym.spec(name)
    except gym.error.Error as error:
        if isinstance(error, gym.error.NameNotFound | gym.error.NamespaceNotFound | gym.error.UnregisteredEnv):
            known = [known_id for known_id in gym.registry if not known_id.startswith(("phys2d/", "tabular/", "GymV2"))]
            raise unknown("environment", name, known) from None
        raise UsageError(f"environment {env_id!r}: {' '.join(str(error).split())}") from None
    with _quiet_compiler(), warnings.catch_warnings():
        # Gymnasium warns of every superseded version; the run records the id that was asked for.
        warnings.filterwarnings("ignore", message=".*is out of date.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*is out of date.*", category=UserWarning)
        try:
            env = gym.make(name, render_mode=render_mode, **dict(kwargs or {}))
        except TypeError as error:
            raise UsageError(f"environment {env_id!r}: {error}; check --env-kwargs") from None
        except gym.error.DependencyNotInstalled as error:
            raise UsageError(f"environment {env_id!r}: {' '.join(str(error).split())}") from None
        except Exception as error:
            raise EnvironmentFault(
                f"environment {env_id!r}: cannot be made ({type(error).__name__}: {error})"
            ) from error
    return FiniteGuard(env)


_NOISE = (b"compiler attribute 'settotalmass' is deprecated",)


@contextlib.contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Hold back what MuJoCo's compiler says of Gymnasium's own model files; pass on everything else it prints.

    It writes to the process's standard error itself, past Python's, once for every environment made.
    """
    try:
        sys.stderr.flush()
        target = os.dup(2)
    except OSError:  # standard error is closed: nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(target, 2)
            os.close(target)
            held.seek(0)
            lines = [line for line in held.read().splitlines() if not any(noise in line for noise in _NOISE)]
            text = b"\n".join(lines).strip()
            if text:
                os.write(2, text + b"\n")
