"""The commands that the worker of an environment carries out, and how arrays are sent."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import is_wrapped

Env = gym.Env[Any, Any]

Packed = tuple[str, tuple[int, ...], Any]
"""An array as type, shape and bytes, which is sent in a third of the time; no type: something else as it is."""


def pack(value: Any) -> Packed:
    """Make an array of numbers ready to be sent."""
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value.dtype.str, value.shape, value.tobytes()
    return "", (), value


def unpack(value: Packed) -> Any:
    """Return what `pack` packed; an array can be written to."""
    kind, shape, data = value
    return np.frombuffer(bytearray(data), kind).reshape(shape) if kind else data


class Missing(Exception):
    """No wrapper has this attribute."""


def _step(env: Env, action: Packed) -> tuple[Any, ...]:
    observation, reward, terminated, truncated, info = env.step(unpack(action))
    info["TimeLimit.truncated"] = truncated and not terminated
    if not (terminated or truncated):
        return pack(observation), reward, False, info, None
    info["terminal_observation"] = observation
    observation, first = env.reset()
    return pack(observation), reward, True, info, first


def _reset(env: Env, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    return env.reset(seed=seed, options=options) if options else env.reset(seed=seed)


def _get(env: Env, name: str) -> Any:
    try:
        return env.get_wrapper_attr(name)
    except AttributeError as error:
        raise Missing(str(error)) from None


def _has(env: Env, name: str) -> bool:
    return bool(env.has_wrapper_attr(name))


def _method(env: Env, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return _get(env, name)(*arguments, **keywords)


COMMANDS: dict[str, Callable[..., Any]] = {
    "step": _step,
    "reset": _reset,
    "get": _get,
    "has": _has,
    "set": setattr,
    "method": _method,
    "wrapped": is_wrapped,
    "render": lambda env: env.render(),
}
"""By name; each takes the environment and what was sent along, and returns what is sent back."""
