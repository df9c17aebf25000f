"""What environments give, brought to Gymnasium's contract; what cannot be brought there is a fault with a remedy.

Observations are new arrays of the space's shape and type, rewards are floats, endings are truth values, infos are
dictionaries. An environment that gives all that already is handed through; the check takes a few microseconds.
"""

import inspect
import multiprocessing
import sys
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.envs.protocol import RESERVED, as_bool
from homeo_rl.errors import EnvironmentFault, HomeoError

Env = gym.Env[Any, Any]

_OLD = "return five values, or wrap an environment of OpenAI Gym by shimmy.GymV21CompatibilityV0"
_SEED = "write reset(self, *, seed=None, options=None) and call super().reset(seed=seed) in it"

_closing_told: set[str] = set()


class Checked(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Call an environment, and give what it gives as Gymnasium's contract says.

    Raises EnvironmentFault: the environment raised an exception, or gave something that the contract does not know;
    with its id and the step of the episode.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._step = 0
        space = env.observation_space
        self._box = space if isinstance(space, gym.spaces.Box) else None
        self._shape, self._dtype = space.shape, space.dtype
        self._options = accepts(env.reset, "options")
        if not accepts(env.reset, "seed"):
            raise EnvironmentFault(f"{name_of(env)}: reset() takes no seed; expected Gymnasium's arguments; {_SEED}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self._step = 0
        arguments: dict[str, Any] = {"options": options} if options or self._options else {}
        result: Any  # whatever it is
        try:
            result = self.env.reset(seed=seed, **arguments)
        except HomeoError:
            raise
        except (Exception, SystemExit) as error:
            self._raise(error)
        if not (isinstance(result, tuple) and len(result) == 2 and (result[1] is None or isinstance(result[1], dict))):
            self._refuse("reset()", "an observation and an info", result, "return observation, {}")
        observation, info = result
        return self._check_observation(observation), self._check_info(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        self._step += 1
        result: Any
        try:
            result = self.env.step(action)
        except HomeoError:
            raise
        except (Exception, SystemExit) as error:
            self._raise(error)
        if type(result) is not tuple or len(result) != 5:
            what = f"{len(result)} values" if isinstance(result, tuple) else result
            self._refuse("step()", "observation, reward, terminated, truncated, info", what, _OLD)
        observation, reward, terminated, truncated, info = result
        if type(reward) is not float:
            reward = self._check_reward(reward)
        if type(terminated) is not bool:
            terminated = self._check_end("terminated", terminated)
        if type(truncated) is not bool:
            truncated = self._check_end("truncated", truncated)
        return self._check_observation(observation), reward, terminated, truncated, self._check_info(info)

    def render(self) -> Any:
        """Return a picture."""
        try:
            return self.env.render()
        except (HomeoError, gym.error.DependencyNotInstalled):
            raise
        except (Exception, SystemExit) as error:
            self._raise(error, "render(): ")

    def close(self) -> None:
        """Close the environment; what goes wrong then is reported once and ends nothing."""
        try:
            self.env.close()
        except (Exception, SystemExit) as error:
            name = name_of(self.env)
            if name not in _closing_told and multiprocessing.parent_process() is None:
                _closing_told.add(name)
                print(f"homeo-rl: {name}: close() raised {_describe(error)}; passed over", file=sys.stderr)

    def _check_observation(self, observation: Any) -> Any:
        """Return an observation as the space has it, in memory of its own: some environments write theirs again."""
        if self._box is None:
            return observation
        if type(observation) is np.ndarray and observation.shape == self._shape and observation.dtype == self._dtype:
            return observation.copy()
        try:
            array = np.asarray(observation)
            if array.dtype.kind not in "biuf":
                raise ValueError
        except Exception:
            self._refuse("observation", f"numbers of shape {self._shape}", observation, "return a numpy array")
        if array.shape != self._shape:
            advice = "correct the environment or its observation_space"
            self._refuse("observation", f"shape {self._shape}, as the space says", f"shape {array.shape}", advice)
        if self._box.dtype.kind in "iu" and array.dtype.kind == "f" and (array % 1).any():
            advice = "give the observation_space a type of floats"
            self._refuse("observation", f"{self._box.dtype} as the space says", f"{array.dtype}", advice)
        with np.errstate(over="ignore"):  # what becomes infinite is found by the guard around
            return array.astype(self._dtype)

    def _check_reward(self, reward: Any) -> float:
        if isinstance(reward, float):  # numpy's float64
            return reward
        try:
            array = np.asarray(reward)
            if array.size == 1 and array.dtype.kind in "biufO":
                return float(array.item())
        except Exception:  # whatever an object raises that is no number
            pass
        self._refuse("reward", "one number", reward, "return a float")

    def _check_end(self, which: str, value: Any) -> bool:
        truth = as_bool(value)
        if truth is None:
            self._refuse(which, "True or False", value, "return a bool")
        return truth

    def _check_info(self, info: Any) -> dict[str, Any]:
        if info is None:
            return {}
        if not isinstance(info, dict):
            self._refuse("info", "a dictionary", info, "return {} where there is nothing to tell")
        strange = "is_success" in info and as_bool(info["is_success"]) is None
        if strange or not RESERVED.isdisjoint(info):
            hidden = RESERVED | {"is_success"} if strange else RESERVED
            return {key: value for key, value in info.items() if key not in hidden}
        return info

    def _raise(self, error: BaseException, what: str = "") -> NoReturn:
        text = _describe(error)
        unseeded = isinstance(error, TypeError) and ("argument 'seed'" in text or "argument 'options'" in text)
        advice = f"expected Gymnasium's reset(); {_SEED}" if unseeded else "expected an environment that raises nothing"
        where = f"{name_of(self.env)}: step {self._step}"
        raise EnvironmentFault(f"{where}: {what}{text}; {advice}; --debug shows where it was") from error

    def _refuse(self, what: str, expected: str, got: Any, advice: str) -> NoReturn:
        text = got if isinstance(got, str) else _shorten(got)
        where = f"{name_of(self.env)}: step {self._step}"
        raise EnvironmentFault(f"{where}: {what}: expected {expected}, got {text}; {advice}")


def name_of(env: Any) -> str:
    """Return the id of an environment, or the name of its class."""
    spec = env.unwrapped.spec
    return spec.id if spec is not None else type(env.unwrapped).__name__


def try_out(env: Env) -> None:
    """Reset an environment and take one step, in the middle of its actions, so that what fails at once fails early."""
    space = env.action_space
    env.reset(seed=0)
    if isinstance(space, gym.spaces.Box):
        env.step(np.clip(np.zeros(space.shape), space.low, space.high).astype(space.dtype))
    elif isinstance(space, gym.spaces.Discrete):
        env.step(space.start)


def accepts(function: Any, name: str) -> bool:
    """Whether a function can be given an argument by this name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # compiled code that does not tell
        return True
    if name in parameters:
        return parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"[:300]


def _shorten(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text[:57]}..., {type(value).__name__}" if len(text) > 60 else text
