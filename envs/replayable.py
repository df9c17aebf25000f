"""The way back into the middle of an episode: the generator before the last reset, and the actions since.

An environment that draws all its randomness from its ``np_random`` is where it was after the same reset and the same
actions, whatever its state is made of; the observation and the generator afterwards show that it is.
"""

import random
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs


def state_of(env: Any) -> Any:
    """Return the state of ``np_random`` as plain data; None where it is nothing that tells its state."""
    try:
        return plain(_state(env.unwrapped.np_random))
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


def plain(value: Any) -> Any:
    """Return arrays, tuples and numbers of numpy as JSON has them, all the way down."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _like(model: Any, value: Any) -> Any:
    if isinstance(model, dict):
        return {key: _like(entry, value[key]) for key, entry in model.items()}
    if isinstance(model, np.ndarray):
        return np.array(value, dtype=model.dtype)
    if isinstance(model, tuple):
        return tuple(_like(entry, part) for entry, part in zip(model, value, strict=True))
    return value


Snapshot = tuple[dict[str, Any], dict[str, np.ndarray]]  # plain data, and arrays by name


class Recorded(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Remember the last reset and every action since; `snapshot` tells them, `restore` repeats them."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._began: dict[str, Any] | None = None
        self._actions: list[np.ndarray] = []
        self._seen: np.ndarray = np.zeros(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, and a new record."""
        self._began = {"generator": state_of(self), "seed": seed, "options": options}
        drawing = self._find("episode_state")
        if drawing is not None:
            self._began["drawn"] = drawing.episode_state()
        self._actions = []
        observation, info = self.env.reset(seed=seed, options=options)
        self._seen = np.array(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and remember the action."""
        self._actions.append(np.array(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._seen = np.array(observation)
        return observation, reward, terminated, truncated, info

    def snapshot(self) -> Snapshot:
        """Return where the environment is."""
        counter = self._counter()
        document = {
            "began": self._began,
            "generator": state_of(self),
            "steps": None if counter is None else counter.total_steps,
        }
        arrays = {"seen": self._seen}
        if self._actions:
            arrays["actions"] = np.stack(self._actions)
        return document, arrays

    def restore(self, snapshot: Snapshot) -> bool:
        """Go there; return whether observation and generator are the same to the last bit."""
        document, arrays = snapshot
        if document["began"] is None:
            return True
        before = document["began"]["generator"]
        if not set_state(self, before):  # some environments make their generator in their first reset
            self.reset(seed=0)
            set_state(self, before)
        drawing = self._find("episode_state")
        if drawing is not None:
            drawing.set_episode_state(document["began"].get("drawn"))
        self.reset(seed=document["began"]["seed"], options=document["began"]["options"])
        for action in arrays.get("actions", ()):
            self.step(action)
        counter = self._counter()
        if counter is not None:
            counter.total_steps = document["steps"]
        same = self._seen.tobytes() == np.asarray(arrays["seen"]).astype(self._seen.dtype).tobytes()
        return same and document["generator"] is not None and state_of(self) == document["generator"]

    def _counter(self) -> Any:
        """Return the wrapper inside that counts all steps ever taken (SB3's Monitor), if there is one."""
        return self._find("total_steps")

    def _find(self, name: str) -> Any:
        """Return the outermost wrapper inside that has an attribute ``name``, if there is one.

        A wrapper that draws something for each episode has ``episode_state`` and ``set_episode_state``.
        """
        env: Any = self.env
        while isinstance(env, gym.Wrapper):
            if name in vars(env) or name in vars(type(env)):
                return env
            env = env.env
        return None
