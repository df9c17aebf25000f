"""The process of one environment of `SupervisedVecEnv`: it answers commands until its parent closes it, or dies.

A command is ``(number, name, arguments)`` and its answer ``(number, True, result)`` or ``(number, False, fault)``: the
fault is the class of the exception, its text and its traceback, since not every exception can be sent.
"""

import contextlib
import random
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from homeo_rl.errors import HomeoError
from homeo_rl.processes.child import Lineage, die_with_parent
from homeo_rl.processes.signals import STOPPING

Env = gym.Env[Any, Any]


class EnvMaker(Protocol):
    """Plain data that an environment is made from, such as `homeo_rl.envs.env_factory.Recipe`."""

    @property
    def env_id(self) -> str:
        """Its name."""

    def make(self, inside: Callable[[Env], Env]) -> Env:
        """Make it, with ``inside`` around what it is made of."""


def work(
    pipe: Connection, lifeline: Connection, lineage: Lineage, recipe: EnvMaker, monitored: bool, seed: int
) -> None:
    """Make the environment, answer with its spaces, and serve; the main function of the process."""
    for number in STOPPING:
        signal.signal(number, _ignore)
    for connection in lineage.inherited:
        connection.close()
    die_with_parent(lifeline, lineage)
    # Not before: they take seconds to load where there is no fork server, and the parent may die then.
    import torch

    from homeo_rl.agents.sb3.bounded_monitor import Monitored
    from homeo_rl.agents.workers.commands import COMMANDS

    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # forks of one process would otherwise all draw the same numbers
    try:
        env = recipe.make(Monitored if monitored else lambda env: env)
        answer: tuple[int, bool, Any] = (0, True, (env.observation_space, env.action_space))
    except Exception as error:
        answer = (0, False, _describe(error))
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe
        pipe.send(answer)
        if answer[1]:
            _serve(pipe, env, COMMANDS)
            env.close()


def _ignore(number: int, frame: Any) -> None:
    """Leave it to the parent: these signals come to a whole group of processes.

    Not SIG_IGN, which programs that an environment starts would inherit.
    """


def _serve(pipe: Connection, env: Env, commands: dict[str, Callable[..., Any]]) -> None:
    """Answer commands until one says "close". Raises EOFError, OSError: the parent closed the pipe."""
    while True:
        number, name, arguments = pipe.recv()
        if name == "close":
            return
        try:
            answer = (number, True, commands[name](env, *arguments))
        except Exception as error:
            answer = (number, False, _describe(error))
        try:
            pipe.send(answer)
        except OSError:
            raise
        except Exception as error:  # this result cannot be sent
            pipe.send((number, False, _describe(error)))


def _describe(error: Exception) -> tuple[str, str, str]:
    ours = [kind for kind in type(error).__mro__ if kind.__module__ == HomeoError.__module__]
    kind = [*ours, type(error)][0]
    return f"{kind.__module__}.{kind.__qualname__}", str(error), "".join(traceback.format_exception(error))
