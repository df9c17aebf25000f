"""How a command ends that could not do what it was asked: an exit code and a line, whatever was raised."""

from __future__ import annotations

import os
import signal

from homeo_rl.errors import EnvironmentFault, HomeoError, StorageFault, Terminated, UsageError
from homeo_rl.storage.files import printable

_LONGEST = 500
"""Characters of a message that is not ours."""


def exit_of(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error; "" where nobody is left to read one.

    0 done, 1 a check that did not hold or a fault of ours, 2 usage, 3 environment, 4 numbers, 5 storage or memory,
    128 + n signal n.
    """
    if isinstance(error, HomeoError):
        return error.exit_code, str(error)
    if isinstance(error, Terminated):
        return 128 + signal.SIGTERM, "terminated; what was finished is kept"
    if isinstance(error, KeyboardInterrupt):
        number = getattr(error, "number", signal.SIGINT)
        name = signal.Signals(number).name
        return 128 + number, f"{name}; what was finished is kept, the same command goes on"
    if isinstance(error, SystemExit):
        return EnvironmentFault.exit_code, f"a package or environment called sys.exit({error.code!r}); remove that"
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE, ""
    said = printable(" ".join(str(error).split()) or "no message", _LONGEST)
    if _out_of_memory(error):
        return StorageFault.exit_code, f"out of memory ({said}); use fewer environments, workers or a smaller buffer"
    if isinstance(error, OSError):
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
        told = f"{name}: {error.strerror or said}"
        return StorageFault.exit_code, f"{told}; free space or permission? --debug shows where"
    if isinstance(error, UnicodeError):
        return UsageError.exit_code, f"expected UTF-8 text ({said}); --debug shows where"
    if isinstance(error, ModuleNotFoundError):
        return UsageError.exit_code, f"{said}; install it, or let homeo-rl doctor look at the packages"
    if isinstance(error, RuntimeError) and "MUJOCO_GL" in said:
        return UsageError.exit_code, f"{said}; unset it, or set it to egl or osmesa"
    if isinstance(error, RuntimeError) and "CUDA" in said:
        return EnvironmentFault.exit_code, f"the GPU failed ({said}); --device cpu does without"
    name = type(error).__name__
    return 1, f"internal error: {name}: {said}; please report it with what --debug shows"


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused, to Python, C++ or torch, which has no class for it on the CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in ("allocate memory", "bad_alloc"))
