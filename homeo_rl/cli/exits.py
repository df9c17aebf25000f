"""The exit code and the one-line message of a command that failed, for any exception."""

import os
import signal

from homeo_rl.errors import EnvironmentFault, HomeoError, StorageFault, Terminated, UsageError
from homeo_rl.storage.files import printable

_LONGEST = 500  # most characters of the message of a foreign exception


def exit_of(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error; "" for a closed pipe.

    0 success, 1 a failed check or an internal error, 2 usage, 3 environment, 4 numerics, 5 storage or memory, 128 + n
    signal n.
    """
    if isinstance(error, HomeoError):
        return error.exit_code, str(error)
    if isinstance(error, Terminated):
        return 128 + signal.SIGTERM, "terminated; finished work is kept"
    if isinstance(error, KeyboardInterrupt):
        number = getattr(error, "number", signal.SIGINT)
        name = signal.Signals(number).name
        return 128 + number, f"{name}; finished work is kept, the same command resumes"
    if isinstance(error, SystemExit):
        return EnvironmentFault.exit_code, f"a package or environment called sys.exit({error.code!r}); remove that"
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE, ""
    message = printable(" ".join(str(error).split()) or "no message", _LONGEST)
    if _out_of_memory(error):
        return StorageFault.exit_code, f"out of memory ({message}); use fewer environments, workers or a smaller buffer"
    if isinstance(error, OSError):
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
        return StorageFault.exit_code, f"{name}: {error.strerror or message}; check space and permissions (--debug)"
    if isinstance(error, UnicodeError):
        return UsageError.exit_code, f"expected UTF-8 text ({message}); --debug shows where"
    if isinstance(error, ModuleNotFoundError):
        return UsageError.exit_code, f"{message}; install it, or check the packages with homeo-rl doctor"
    if isinstance(error, RuntimeError) and "MUJOCO_GL" in message:
        return UsageError.exit_code, f"{message}; unset it, or set it to egl or osmesa"
    if isinstance(error, RuntimeError) and "CUDA" in message:
        return EnvironmentFault.exit_code, f"the GPU failed ({message}); use --device cpu"
    name = type(error).__name__
    return 1, f"internal error: {name}: {message}; please report it with the output of --debug"


def _out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed in Python, C++ or torch, which has no class for it on the CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in ("allocate memory", "bad_alloc"))
