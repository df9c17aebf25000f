"""Modules of users, which register environments, degradations and mechanisms (``--gym-packages``).

A console script has no current folder on its path, so a module that lies beside a user's work is looked for there too,
after all that is installed: a file named as a library hides nothing. Inside a run folder it is not, or the files of a
third party's run could bring code of their own.
"""

import contextlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from homeo_rl.errors import UsageError

_MAX_CAUSE = 200


def load_module(name: str) -> None:
    """Import a module that is installed or lies in the current folder; what it prints goes to standard error.

    Raises UsageError: it is not there, or it cannot be imported; the message names file and line.
    """
    _check_name(name)
    folder = search_current_folder()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for a command's result
            module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise _failure(name, error) from error
        raise not_there(name, folder) from None
    except BaseException as error:  # whatever a module raises, sys.exit among it
        raise _failure(name, error) from error
    if getattr(module, "__file__", None) is None and name not in sys.builtin_module_names:
        raise UsageError(f"module {name!r} cannot be imported: a folder without an __init__.py; name the module in it")


def search_current_folder() -> Path | None:
    """Let modules be found in the current folder from now on; return it, or None inside a run folder."""
    try:
        folder = Path.cwd()
    except OSError:  # it was deleted
        return None
    if any((place / "run.json").exists() for place in (folder, *folder.parents)):
        return None
    if str(folder) not in sys.path and "" not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    return folder


def not_there(name: str, folder: Path | None) -> UsageError:
    """Return the error for a module that was found neither installed nor in ``folder``."""
    top = name.partition(".")[0]
    places = f"not in {folder}" if folder else "modules inside a run folder are not imported"
    return UsageError(
        f"module {name!r} cannot be imported: it is not installed, and {places}; "
        f"check the name, or change to the folder that holds {top}.py"
    )


def _check_name(name: str) -> None:
    stem = Path(name).stem if name.endswith(".py") else ""
    if stem or not all(name.split(".")) or {"/", "\\", "\0"} & set(name):
        hint = f"write {stem!r}" if stem.isidentifier() else "give the name that `import` takes"
        raise UsageError(f"--gym-packages: expected names of modules such as my_env, got {name!r}; {hint}")


def _failure(name: str, error: BaseException) -> UsageError:
    if isinstance(error, SystemExit):
        cause = f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
        remedy = "put what is to run as a program below if __name__ == '__main__'"
    else:
        cause, remedy = f"{type(error).__name__}: {_text(error)}", "--debug shows where"
    cause = " ".join(cause.split())
    short = cause if len(cause) <= _MAX_CAUSE else f"{cause[:_MAX_CAUSE]}..."
    where = next(_places(name, error), "")
    return UsageError(f"module {name!r} cannot be imported: {short}{where and f' ({where})'}; {remedy}")


def _text(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg  # its text names the file a second time
    try:
        return str(error)
    except Exception:  # an exception class of theirs
        return "an error without a text"


def _places(name: str, error: BaseException) -> Iterator[str]:
    """Yield file and line: of wrong syntax, of the innermost line that is the user's own, of the module's own line."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).exists():
        yield f"{error.filename}, line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith(("<", importlib.__file__))
    ]
    library = sysconfig.get_paths()["stdlib"]
    theirs = [frame for frame in frames if "-packages" not in frame.filename and not frame.filename.startswith(library)]
    for frame in (*reversed(theirs), *frames[:1]):
        yield f"{frame.filename}, line {frame.lineno}"
    with contextlib.suppress(Exception):  # a file that is no text at all: nothing of it was run
        if (spec := importlib.util.find_spec(name)) and spec.origin:
            yield spec.origin
