"""Processes that are forks of this one: apart from it as a user's command is, without the seconds of its imports."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from homeo_rl.cli import main


def run_forked(
    function: Callable[..., object],
    *arguments: Any,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Call a function in a fork, in a process group of its own; return its exit code and what it printed.

    Args:
        function: ends with 0, with the code of `SystemExit`, or with 1 after another exception's traceback.
        arguments: of the function.
        cwd: the folder that it runs in.
        environment: variables that are set besides those of this process.
        timeout: seconds; then it is killed with everything that it started.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = multiprocessing.get_context("fork").Process(
            target=_begin, args=(function, arguments, cwd, dict(environment or {}), out.fileno(), err.fileno())
        )
        with warnings.catch_warnings():  # Python warns of forks beside threads: here are none that hold what it needs
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        process.join(timeout)
        code = process.exitcode
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
        said = [_read(stream) for stream in (out, err)]
    name = getattr(function, "__name__", str(function))
    if code is None:
        raise subprocess.TimeoutExpired([name, *map(str, arguments)], timeout, *said)
    return subprocess.CompletedProcess([name, *map(str, arguments)], code, *said)


def call_forked(*words: object, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Give a command of the command line, as `run_forked` does."""
    return run_forked(main, [str(word) for word in words], cwd=cwd, **more)


def _begin(
    function: Callable[..., object], arguments: tuple[Any, ...], cwd: Path, environment: dict[str, str], *streams: int
) -> None:
    """Make of the fork what a process that was just started is, and call the function."""
    os.setpgid(0, 0)
    for stream, number in zip(streams, (1, 2), strict=True):
        os.dup2(stream, number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger().handlers.clear()
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    forkserver._forkserver.__init__()  # type: ignore[misc, attr-defined]  # the parent's server is no child of this one
    os.chdir(cwd)
    os.environ.update(environment)
    function(*arguments)


def _read(stream: Any) -> str:
    stream.seek(0)
    return str(stream.read())
