"""The state of an environment's random generator, of whatever kind, as plain data and back."""

import random
from typing import Any

import numpy as np


def state_of(env: Any) -> Any:
    """Return the state of ``np_random`` as plain data; None where it is nothing that tells its state."""
    try:
        return _plain(_state(env.unwrapped.np_random))
    except Exception:  # an environment's attribute may be anything
        return None


def set_state(env: Any, state: Any) -> bool:
    """Put ``np_random`` where `state_of` was; return whether it is a generator of that kind."""
    try:
        source = env.unwrapped.np_random
        restored = _like(_state(source), state)
        if isinstance(source, random.Random):
            source.setstate(restored)
        elif isinstance(source, np.random.RandomState):
            source.set_state(restored)
        else:
            (source if isinstance(source, np.random.BitGenerator) else source.bit_generator).state = restored
    except Exception:
        return False
    return bool(state_of(env) == state)


def _state(source: Any) -> Any:
    if isinstance(source, random.Random):
        return source.getstate()
    if isinstance(source, np.random.RandomState):
        return source.get_state(legacy=False)
    return source.state if isinstance(source, np.random.BitGenerator) else source.bit_generator.state


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _like(model: Any, value: Any) -> Any:
    if isinstance(model, dict):
        return {key: _like(entry, value[key]) for key, entry in model.items()}
    if isinstance(model, np.ndarray):
        return np.array(value, dtype=model.dtype)
    if isinstance(model, tuple):
        return tuple(_like(entry, part) for entry, part in zip(model, value, strict=True))
    return value
