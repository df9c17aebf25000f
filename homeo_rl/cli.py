"""The command line: parse, call, print. Nothing heavy is imported before the words were understood."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, Union

import tyro

from homeo_rl import flags
from homeo_rl.cache_folders import provide_cache_folders
from homeo_rl.errors import HomeoError, StorageFault


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 finding, 2 usage, 3 environment, 4 numbers, 5 storage, 128 + n signal n."""
    words = sys.argv[1:] if arguments is None else arguments
    command = _parse(words)
    provide_cache_folders()
    with contextlib.suppress(ValueError):  # not in the main thread: whoever called us owns the signals
        signal.signal(signal.SIGTERM, _terminate)
    try:
        result = import_module(_MODULES[type(command)]).run(command, words)
    except HomeoError as error:
        if command.debug:
            raise
        print(f"homeo-rl: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Terminated:
        print("homeo-rl: terminated; what was finished is kept", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        told = f"{signal.Signals(number).name}; what was finished is kept, the same command goes on"
        print(f"homeo-rl: {told}", file=sys.stderr)
        sys.exit(128 + number)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it leaves
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if command.debug:
            raise
        told = f"{error.filename or 'a file'}: {error.strerror or error}; free space or permission? --debug shows where"
        print(f"homeo-rl: {told}", file=sys.stderr)
        sys.exit(StorageFault.exit_code)
    if command.json:
        print(json.dumps(result, allow_nan=False))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _parse(words: list[str]) -> Any:
    named = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, (kind, _) in _COMMANDS.items())
    kinds: Any = Union[named]  # noqa: UP007  # of a table
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kinds, prog="homeo-rl", description=_ABOUT, args=words)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        lines = (line.strip("│╭╮╰╯─ ") for line in said.getvalue().splitlines())
        text = " ".join(" ".join(line for line in lines if line).split())
        text = text.replace("Invalid choice invalid choice", "invalid choice")
        text = text.replace(" For full helptext, run", "; for help run").replace(
            " For full helptext, see", "; for help run"
        )
        print(f"homeo-rl: {text}", file=sys.stderr)
        sys.exit(2)


_ABOUT = "Reinforcement learning with homeostatic spiking agents that stay alive when they are damaged."

_COMMANDS: dict[str, tuple[type[Any], str]] = {
    "train": (flags.Train, "train"),
    "evaluate": (flags.Evaluate, "evaluate"),
    "report": (flags.Report, "report"),
    "calibrate": (flags.Calibrate, "calibrate"),
    "sleep": (flags.Sleep, "sleep"),
    "import": (flags.Import, "importing"),
    "export": (flags.Export, "exporting"),
    "convert": (flags.Convert, "convert"),
    "distill": (flags.Distill, "distill"),
    "compile": (flags.Compile, "compiling"),
    "compose": (flags.Compose, "compose"),
    "ablate": (flags.Ablate, "ablate"),
    "study": (flags.Study, "study"),
    "sweep": (flags.Sweep, "sweep"),
    "tune": (flags.Tune, "tune"),
    "vision": (flags.Vision, "vision"),
    "enjoy": (flags.Enjoy, "enjoy"),
    "verify-resume": (flags.VerifyResume, "verifying"),
    "inspect": (flags.Inspect, "inspect"),
    "doctor": (flags.Doctor, "doctor"),
    "completion": (flags.Completion, "completion"),
}
"""Flags of each command, and the module of `homeo_rl.commands` that is loaded once the words were understood."""

_MODULES = {kind: f"homeo_rl.commands.{module}" for kind, module in _COMMANDS.values()}

if __name__ == "__main__":
    main()
