"""The command line: parse, call, print. Heavy modules are imported after the command line was parsed."""

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
    """Run a command and exit: 0 success, 1 failed check, 2 usage, 3 environment, 4 numerics, 5 storage, 128 + n."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # for terminals that know ASCII only
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # absent from some streams
    with contextlib.suppress(ValueError):  # outside the main thread the caller owns the signals
        signal.signal(signal.SIGTERM, _terminate)
    name = words[0] if words and words[0] in command_names() else ""
    parsed = False
    try:
        if not name or _asks_for_help(words):
            print(_without_command(words), flush=True)
            return
        command = _parse(words)
        parsed = True
        provide_cache_folders()
        with _redirect_output(command.json), _silence(command) as command:
            result = module_of(name).run(with_local_paths(command), words)
        if command.json:
            _print_json(result)
        sys.stdout.flush()
    except BaseException as error:
        from homeo_rl.cli.exits import exit_of

        code, message = exit_of(error)
        _leave(code, message, name="" if parsed else name, error=error, words=words)


def _leave(code: int, message: str, *, name: str, error: BaseException, words: list[str]) -> None:
    import traceback

    if "--debug" in words:
        traceback.print_exception(error)
    if message:
        print(f"homeo-rl{' ' if name else ''}{name}: {message}", file=sys.stderr)
    try:
        if isinstance(error, HomeoError) and error.result is not None and "--json" in words:
            _print_json(error.result)
        sys.stdout.flush()
    except OSError:  # a closed pipe or a full disk, of which Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _asks_for_help(words: list[str]) -> bool:
    plain = words[: words.index("--")] if "--" in words else words
    return "-h" in plain or "--help" in plain


def _without_command(words: list[str]) -> str:
    """Return what is printed if no command is run: the help or the version.

    Raises UsageError: the first word is not a command.
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
    from homeo_rl.cli.parsing import parse

    name, *others = words
    return parse(flags_of(name), others, prog=name, elsewhere=_hyperparameters)


@cache
def _hyperparameters() -> Mapping[str, str]:
    """Return the hyper-parameters, which users look for among the flags, and how -params takes them."""
    from homeo_rl.training.algorithms import ALGORITHMS
    from homeo_rl.training.hyperparams import param_names

    names = {name for algo in ALGORITHMS if ALGORITHMS[algo].is_installed for name in param_names(algo)}
    return {name.replace("_", "-"): f"-params {name}:VALUE" for name in names}


@contextlib.contextmanager
def _silence(command: Any) -> Iterator[Any]:
    """Yield the command; with ``--quiet`` it prints no notes and no progress, until it has ended."""
    from dataclasses import fields, replace

    if not command.quiet:
        yield command
        return

    from homeo_rl.cli import console

    console.hush()
    try:
        progress = "progress" in {field.name for field in fields(command)}
        yield replace(command, progress=False) if progress else command
    finally:
        console.hush(False)


@contextlib.contextmanager
def _redirect_output(wanted: bool) -> Iterator[None]:
    """Reserve standard output for JSON: whatever is printed within, also by child processes, goes to standard error."""
    if not wanted:
        yield
        return
    with contextlib.ExitStack() as stack:
        ours = sys.__stdout__
        if ours is not None and sys.stdout is ours:  # else it is captured, and descriptor 1 belongs to another program
            ours.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _print_json(result: dict[str, Any]) -> None:
    """Print a result as one line of JSON, with null for numbers that are not finite."""
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
