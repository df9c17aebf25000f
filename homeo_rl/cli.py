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

from homeo_rl.errors import HomeoError
from homeo_rl.flags import (
    Ablate,
    Compile,
    Compose,
    Convert,
    Distill,
    Enjoy,
    Evaluate,
    Import,
    Inspect,
    Report,
    Train,
    VerifyResume,
    Vision,
)


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 finding, 2 usage, 3 environment, 4 numbers, 5 storage, 128 + n signal n."""
    words = sys.argv[1:] if arguments is None else arguments
    command = _parse(words)
    with contextlib.suppress(ValueError):  # not in the main thread: whoever called us owns the signals
        signal.signal(signal.SIGTERM, _terminate)
    try:
        result = import_module(_COMMANDS[type(command)]).run(command, words)
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
    if command.json:
        print(json.dumps(result, allow_nan=False))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _parse(words: list[str]) -> Any:
    kinds = Union[  # noqa: UP007  # tyro reads the annotations of a Union's members
        Annotated[Train, tyro.conf.subcommand("train")],
        Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
        Annotated[Report, tyro.conf.subcommand("report")],
        Annotated[Import, tyro.conf.subcommand("import")],
        Annotated[Convert, tyro.conf.subcommand("convert")],
        Annotated[Distill, tyro.conf.subcommand("distill")],
        Annotated[Compile, tyro.conf.subcommand("compile")],
        Annotated[Compose, tyro.conf.subcommand("compose")],
        Annotated[Ablate, tyro.conf.subcommand("ablate")],
        Annotated[Vision, tyro.conf.subcommand("vision")],
        Annotated[Enjoy, tyro.conf.subcommand("enjoy")],
        Annotated[VerifyResume, tyro.conf.subcommand("verify-resume")],
        Annotated[Inspect, tyro.conf.subcommand("inspect")],
    ]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kinds, prog="homeo-rl", description=_ABOUT, args=words)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        lines = (line.strip("│╭╮╰╯─ ") for line in said.getvalue().splitlines())
        text = " ".join(" ".join(line for line in lines if line).split())
        text = text.replace(" For full helptext, run", "; for help run").replace(
            " For full helptext, see", "; for help run"
        )
        print(f"homeo-rl: {text}", file=sys.stderr)
        sys.exit(2)


_ABOUT = "Reinforcement learning with homeostatic spiking agents that stay alive when they are damaged."

_COMMANDS: dict[type[Any], str] = {
    Train: "homeo_rl.commands.train",
    Evaluate: "homeo_rl.commands.evaluate",
    Report: "homeo_rl.commands.report",
    Import: "homeo_rl.commands.importing",
    Convert: "homeo_rl.commands.convert",
    Distill: "homeo_rl.commands.distill",
    Compile: "homeo_rl.commands.compiling",
    Compose: "homeo_rl.commands.compose",
    Ablate: "homeo_rl.commands.ablate",
    Vision: "homeo_rl.commands.vision",
    Enjoy: "homeo_rl.commands.enjoy",
    VerifyResume: "homeo_rl.commands.verifying",
    Inspect: "homeo_rl.commands.inspect",
}
"""Modules that are loaded once the words were understood."""

if __name__ == "__main__":
    main()
