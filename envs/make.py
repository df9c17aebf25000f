"""Make environments by id: brought to Gymnasium's contract, with errors a user can act on and a guard against NaN.

Three names among the arguments of an environment are not given to it: ``max_episode_steps``, which is Gymnasium's,
``env_wrapper`` (`homeo_rl.envs.wrappers`) and ``frame_stack`` (`homeo_rl.envs.frame_stack`). With the others they are
stored in a run.
"""

import copy
import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode

from homeo_rl.envs.actions import is_plain, with_plain_actions
from homeo_rl.envs.contract import Checked
from homeo_rl.envs.frame_stack import KEY as FRAMES
from homeo_rl.envs.frame_stack import with_frames
from homeo_rl.envs.guard import FiniteGuard
from homeo_rl.envs.registration import register_environments
from homeo_rl.envs.stability import StabilityGuard, has_simulation
from homeo_rl.envs.time_limit import DefaultLimit
from homeo_rl.envs.wrappers import KEY as WRAPPERS
from homeo_rl.envs.wrappers import wrap
from homeo_rl.errors import EnvironmentFault, HomeoError, UsageError, unknown
from homeo_rl.imports.user_modules import load_module
from homeo_rl.numerics.arrays import instance_of

Env = gym.Env[Any, Any]
VectorEnv = gym.vector.VectorEnv[Any, Any, Any]


def load_modules(names: Sequence[str]) -> None:
    """Import modules that register environments (``--gym-packages``), installed or in the current folder.

    Raises:
        UsageError: one is not there or cannot be imported.
    """
    for name in names:
        load_module(name)


def make_env(
    env_id: str, kwargs: Mapping[str, Any] | None = None, *, render_mode: str | None = None, endless: bool = False
) -> Env:
    """Make an environment whose numbers are checked, and whose episode ends where a simulation becomes unstable.

    Its actions are choices from 0 on or a row of bounded float32, whatever the environment's own are
    (`homeo_rl.envs.actions`); what it gives follows Gymnasium's contract (`homeo_rl.envs.contract`).

    Args:
        env_id: a Gymnasium id; ``module:Id-v0`` imports the module first.
        render_mode: Gymnasium's; takes the place of one in ``kwargs``.
        endless: whether episodes may go on for ever where nothing limits them; else
            `homeo_rl.envs.time_limit.DEFAULT_LIMIT` does.

    Raises:
        UsageError: unknown id (the nearest is suggested), arguments or wrapper.
        EnvironmentFault: the environment's own constructor failed, or it is none of Gymnasium's.
    """
    name = _find_id(env_id)
    if kwargs is not None:
        instance_of(kwargs, Mapping, what="kwargs", advice="give a dictionary of the environment's arguments")
    _quiet_compiler()
    spec = copy.copy(gym.spec(name))
    arguments = dict(kwargs or {})
    frames = arguments.pop(FRAMES, 1)
    wrappers, limit = arguments.pop(WRAPPERS, None), arguments.pop("max_episode_steps", spec.max_episode_steps)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise UsageError(f"--max-episode-steps: expected at least 1, got {limit!r}")
    ordered, spec.order_enforce = spec.order_enforce, False
    env: Env = Checked(_construct(env_id, spec, arguments, render_mode))
    if ordered:
        env = gym.wrappers.OrderEnforcing(env)
    if limit is not None:
        env = gym.wrappers.TimeLimit(env, limit)
    if wrappers:
        env = Checked(wrap(env, wrappers, load_modules))
    if limit is None and not endless:
        env = DefaultLimit(env)
    env = with_plain_actions(env)
    return with_frames(FiniteGuard(StabilityGuard(env) if has_simulation(env) else env), frames)


def _construct(
    env_id: str, spec: gym.envs.registration.EnvSpec, arguments: dict[str, Any], render_mode: str | None
) -> Env:
    """Call the environment's constructor, with arguments that it takes.

    Its own checks and limits are left out: `Checked` and `make_env` have them.
    """
    if render_mode is not None:  # an environment that draws nothing need not know the word
        arguments = {**arguments, "render_mode": render_mode}
    try:
        if "render_mode" not in {**spec.kwargs, **arguments} and _takes(spec, "render_mode", required=True):
            arguments = {**arguments, "render_mode": None}
        if render_mode is not None and not _takes(spec, "render_mode"):
            raise UsageError(
                f"environment {env_id!r}: expected one that takes render_mode={render_mode!r}, this one does not; "
                "its constructor needs that argument and render() a picture"
            )
        return gym.make(spec, max_episode_steps=-1, disable_env_checker=True, **arguments)
    except HomeoError:
        raise
    except gym.error.DependencyNotInstalled as error:
        raise UsageError(f"environment {env_id!r}: {' '.join(str(error).split())}") from None
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split()) or "no message"
        if isinstance(error, TypeError) and any(word in text for word in _ARGUMENTS):
            raise UsageError(f"environment {env_id!r}: {text}; check --env-kwargs") from error
        if "Gym is incompatible" in text or "must inherit from the gymnasium.Env" in text:
            raise EnvironmentFault(
                f"environment {env_id!r}: expected a gymnasium.Env, its constructor makes something else; inherit from "
                "gymnasium.Env, or wrap an environment of OpenAI Gym by shimmy.GymV21CompatibilityV0"
            ) from error
        raise EnvironmentFault(f"environment {env_id!r}: cannot be made ({type(error).__name__}: {text})") from error


_ARGUMENTS = ("unexpected keyword argument", "required positional argument", "required keyword-only argument",
              "multiple values for")  # fmt: skip
"""What Python says of arguments that a function does not take or misses."""


def _takes(spec: gym.envs.registration.EnvSpec, name: str, *, required: bool = False) -> bool:
    """Whether an environment's constructor takes an argument; ``required``: and has no default for it."""
    entry = spec.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    try:
        parameters = inspect.signature(creator).parameters if callable(creator) else {}
    except (TypeError, ValueError):  # compiled code that does not tell
        return not required
    if name in parameters:
        return not required or parameters[name].default is inspect.Parameter.empty
    return not required and any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def arguments_for(env_id: str, made_for: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``made_for`` that go along when its policy is tried in the environment ``env_id``.

    In another environment, arguments that its registration fixes (world, rules) stay as registered; others (how the
    robot sees) belong to the policy.
    """
    if env_id == made_for:
        return dict(kwargs)
    fixed = gym.spec(_find_id(env_id)).kwargs
    return {name: value for name, value in kwargs.items() if name not in fixed}


def has_vector(env_id: str) -> bool:
    """Whether an environment has a vectorised form that starts anew at the step that ends an episode.

    Raises:
        UsageError: unknown id.
    """
    entry = gym.spec(_find_id(env_id)).vector_entry_point
    if entry is None:
        return False
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    return "autoreset_mode" in inspect.signature(creator).parameters


def width_advice(env: Env) -> str:
    """Return which arguments of an environment change how wide its observations are; "" where none does by its name."""
    names = inspect.signature(type(env.unwrapped).__init__).parameters
    flags = [name for name in names if name.startswith("include_") and name.endswith("_in_observation")]
    if not flags:
        return ""
    return f"; how many entries there are depends on {', '.join(flags)} (train, import: --env-kwargs {flags[0]}:False)"


def make_vector(env_id: str, count: int, kwargs: Mapping[str, Any] | None = None) -> VectorEnv | None:
    """Make ``count`` environments that share one process and start anew at the step that ends an episode.

    Returns None for an environment that has no vectorised form with same-step autoreset, or one whose actions,
    wrappers or frames need what `make_env` puts around single environments.

    Raises:
        UsageError: unknown id or arguments.
        EnvironmentFault: the environment's own constructor failed.
    """
    arguments = dict(kwargs or {})
    if arguments.get(WRAPPERS) or arguments.pop(FRAMES, 1) != 1 or not has_vector(env_id):
        return None
    name = _find_id(env_id)
    try:
        envs = gym.make_vec(name, count, autoreset_mode=AutoresetMode.SAME_STEP.value, **arguments)
    except HomeoError:
        raise
    except TypeError as error:
        raise UsageError(f"environment {env_id!r}: {error}; check --env-kwargs") from None
    except (Exception, SystemExit) as error:
        raise EnvironmentFault(f"environment {env_id!r}: cannot be made ({type(error).__name__}: {error})") from error
    space = envs.single_action_space
    shifted = isinstance(space, gym.spaces.Discrete) and space.start != 0
    if shifted or (isinstance(space, gym.spaces.Box) and not is_plain(space)):
        envs.close()
        return None
    return envs


def _find_id(env_id: str) -> str:
    """Return the registered name of ``env_id``, after importing its module if it names one."""
    instance_of(env_id, str, what="environment", advice="give a Gymnasium id such as CartPole-v1")
    module, _, name = env_id.rpartition(":")
    if module:
        load_modules([module])
    register_environments()
    try:
        gym.spec(name)
    except gym.error.Error as error:
        if isinstance(error, gym.error.NameNotFound | gym.error.NamespaceNotFound | gym.error.UnregisteredEnv):
            known = [known_id for known_id in gym.registry if not known_id.startswith(("phys2d/", "tabular/", "GymV2"))]
            message = f"{unknown('environment', name, known)} --gym-packages MODULE imports what registers others"
            raise UsageError(message) from None
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
        message = text.decode(errors="replace") if isinstance(text, bytes) else text
        if _OLD_MODEL_FILES not in message:
            print(f"MuJoCo: {message.strip()}", file=sys.stderr)

    if mujoco.get_mju_user_warning() is None:  # a program's own handler stands
        mujoco.set_mju_user_warning(handle)
