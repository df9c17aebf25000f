"""The command line: parse, call, print. Nothing heavy is imported before the words were understood."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import FrameType
from typing import Any

from homeo_rl import __version__
from homeo_rl.cli.command import command_names, flags_of, module_of, overview
from homeo_rl.errors import HomeoError, Terminated, UsageError, near
from homeo_rl.numerics.cache_folders import provide_cache_folders
from homeo_rl.storage.user_paths import with_local_paths


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 finding, 2 usage, 3 environment, 4 numbers, 5 storage, 128 + n signal n."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows ASCII only still shows everything
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # not of every stream
    with contextlib.suppress(ValueError):  # not in the main thread: whoever called us owns the signals
        signal.signal(signal.SIGTERM, _terminate)
    name = words[0] if words and words[0] in command_names() else ""
    understood = False
    try:
        if not name or _asks_for_help(words):
            print(_without_command(words), flush=True)
            return
        command = _parse(words)
        understood = True
        provide_cache_folders()
        with _alone(command.json):
            _register()
            if command.quiet:
                command = _hushed(command)
            result = module_of(name).run(with_local_paths(command), words)
        if command.json:
            _print_json(result)
        sys.stdout.flush()
    except BaseException as error:
        from homeo_rl.cli.exits import exit_of

        code, message = exit_of(error)
        _leave(code, message, name="" if understood else name, error=error, words=words)


def _leave(code: int, message: str, *, name: str, error: BaseException, words: list[str]) -> None:
    """Say why, and exit."""
    import traceback

    if "--debug" in words:
        traceback.print_exception(error)
    if message:
        print(f"homeo-rl{' ' if name else ''}{name}: {message}", file=sys.stderr)
    try:
        if isinstance(error, HomeoError) and error.result is not None and "--json" in words:
            _print_json(error.result)
        sys.stdout.flush()
    except OSError:  # nobody reads, or the disk is full; Python would complain again when it leaves
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _asks_for_help(words: list[str]) -> bool:
    """Whether help is wanted in place of a command."""
    plain = words[: words.index("--")] if "--" in words else words
    return "-h" in plain or "--help" in plain


def _without_command(words: list[str]) -> str:
    """Return what is printed where no command is to be run: help or the version.

    Raises:
        UsageError: the first word is no command.
    """
    first, *others = words or ["help"]
    if first in ("-V", "--version"):
        return f"homeo-rl {__version__}"
    if first in command_names():
        from homeo_rl.cli.parsing import parser_of

        return parser_of(flags_of(first), prog=first).format_help().rstrip()
    if first in ("-h", "--help", "help"):
        wanted = next((word for word in others if not word.startswith("-")), "")
        return _without_command([wanted, "--help"]) if wanted else overview()
    if first.startswith("-"):
        raise UsageError(f"expected a command, got {first}; homeo-rl help lists them")
    like = near(first, [*command_names(), "help"])
    hint = f"did you mean {like!r}?" if like else "homeo-rl help lists them"
    raise UsageError(f"unknown command {first!r}; {hint}")


def _parse(words: list[str]) -> Any:
    """Return the flags of a command; the first word is its name."""
    from homeo_rl.cli.parsing import parse

    name, *others = words
    return parse(flags_of(name), others, prog=name, elsewhere=_hyperparameters)


@cache
def _hyperparameters() -> Mapping[str, str]:
    """Return the names that -params takes, and how: people look for them among the flags."""
    from homeo_rl.training.algorithms import ALGORITHMS
    from homeo_rl.training.hyperparams import param_names

    names = {name for algo in ALGORITHMS for name in param_names(algo)}
    return {name.replace("_", "-"): f"-params {name}:VALUE" for name in names}


def _register() -> None:
    """Register our environments, which ``import homeo_rl`` leaves to the command line where it is one."""
    from homeo_rl.envs.registration import register_environments

    register_environments()


def _hushed(command: Any) -> Any:
    """Return the command without progress, and switch notes off."""
    from dataclasses import fields, replace

    from homeo_rl.cli import console

    console.hush()
    progress = "progress" in {field.name for field in fields(command)}
    return replace(command, progress=False) if progress else command


@contextlib.contextmanager
def _alone(wanted: bool) -> Iterator[None]:
    """Keep standard output for JSON: inside, what we, libraries and child processes print goes to standard error."""
    if not wanted:
        yield
        return
    with contextlib.ExitStack() as stack:
        ours = sys.__stdout__
        if ours is not None and sys.stdout is ours:  # else somebody captures, and descriptor 1 is not ours
            ours.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _print_json(result: dict[str, Any]) -> None:
    """Print a result as one line of JSON; what is not a finite number is null."""
    import json
    import math

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, dict):
            return {str(key): plain(entry) for key, entry in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value

    print(json.dumps(plain(result), allow_nan=False))


if __name__ == "__main__":
    main()
