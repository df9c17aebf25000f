"""The process of one environment of `SupervisedVecEnv`: it answers commands until its parent closes it, or dies.

A command is ``(number, name, arguments)`` and its answer ``(number, True, result)`` or ``(number, False, fault)``: the
fault is the class of the exception, its text and its traceback, since not every exception can be sent.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from homeo_rl.errors import HomeoError

Env = gym.Env[Any, Any]


class Makes(Protocol):
    """Plain data that an environment is made from, such as `homeo_rl.envs.env_factory.Recipe`."""

    @property
    def env_id(self) -> str:
        """Its name."""

    def make(self, inside: Callable[[Env], Env]) -> Env:
        """Make it, with ``inside`` around what it is made of."""


@dataclass(frozen=True)
class Family:
    """What a worker has to know of the process that started it.

    Args:
        parent: its process id.
        follows: whether it is the parent in the sense of the kernel, and its thread that forks lives as long.
        inherited: what a forked worker must close, or the pipes of the others would never end.
    """

    parent: int
    follows: bool
    inherited: tuple[Connection, ...] = ()


def work(pipe: Connection, lifeline: Connection, family: Family, recipe: Makes, monitored: bool, seed: int) -> None:
    """Make the environment, answer with its spaces, and serve; the main function of the process.

    Args:
        pipe: commands in, answers out.
        lifeline: the reading end of a pipe that nothing is written to; it ends with the parent.
        family: of the process.
        recipe: of the environment.
        monitored: whether SB3's Monitor tells of each episode.
        seed: of the generators that a process has of its own.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ignore)
    for connection in family.inherited:
        connection.close()
    die_with_parent(lifeline, family)
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
        answer = (0, False, _fault(error))
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe: nobody waits any more
        pipe.send(answer)
        if answer[1]:
            _serve(pipe, env, COMMANDS)
            env.close()


def _ignore(number: int, frame: Any) -> None:
    """Leave it to the parent: these signals come to a whole group of processes.

    Not SIG_IGN, which programs that an environment starts would inherit.
    """


def die_with_parent(lifeline: Connection, family: Family) -> None:
    """Arrange that this process is killed when its parent dies, however that happens and whatever it does then.

    On Linux the kernel does it, also to a process that is stopped or loops in C. The signal at the parent's death
    knows only the thread that forked, which is not the parent's after a fork server; the lifeline knows the parent,
    unless another process has inherited its other end. Elsewhere, and in that case, a thread looks after it.
    """
    if sys.platform == "linux":
        if family.follows:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != family.parent:  # it died before
                os._exit(1)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    ended = select.poll()
    ended.register(lifeline, select.POLLIN)
    if ended.poll(0):  # before the kernel was asked to look
        os._exit(1)
    if hasattr(os, "pidfd_open"):
        try:
            ended.register(os.pidfd_open(family.parent), select.POLLIN)
        except ProcessLookupError:
            os._exit(1)
        except OSError:  # an old kernel
            pass

    def watch() -> None:
        ended.poll()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="watch the parent", daemon=True).start()


def _serve(pipe: Connection, env: Env, commands: dict[str, Callable[..., Any]]) -> None:
    """Answer commands until one says "close".

    Raises:
        EOFError, OSError: the parent closed the pipe.
    """
    while True:
        number, name, arguments = pipe.recv()
        if name == "close":
            return
        try:
            answer = (number, True, commands[name](env, *arguments))
        except Exception as error:
            answer = (number, False, _fault(error))
        try:
            pipe.send(answer)
        except OSError:
            raise
        except Exception as error:  # this result cannot be sent
            pipe.send((number, False, _fault(error)))


def _fault(error: Exception) -> tuple[str, str, str]:
    """Return the class, as the nearest of `homeo_rl.errors` if it is one of them; the text; the traceback."""
    ours = [kind for kind in type(error).__mro__ if kind.__module__ == HomeoError.__module__]
    kind = [*ours, type(error)][0]
    return f"{kind.__module__}.{kind.__qualname__}", str(error), "".join(traceback.format_exception(error))
