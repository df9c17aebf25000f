"""The table of commands: every module of `homeo_rl.cli.commands` is one, and is listed nowhere else."""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from homeo_rl.cli import commands
from homeo_rl.cli.flags import Common

TRAIN, EVALUATE, MAKE, TOOLS = GROUPS = (
    "Train",
    "Evaluate and look",
    "Make policies without training",
    "Experiments and tools",
)


class Command(NamedTuple):
    """The entry of a command in the help."""

    group: str
    rank: int
    summary: str


@cache
def command_names() -> tuple[str, ...]:
    """Return the names of all commands, without importing any."""
    modules = (entry.name for entry in pkgutil.iter_modules(commands.__path__))
    return tuple(name.rstrip("_").replace("_", "-") for name in modules)


def module_of(name: str) -> ModuleType:
    """Import the module of a command, with ``COMMAND``, the dataclass of its flags, and ``run(flags, words)``."""
    module = name.replace("-", "_")
    return import_module(f"{commands.__name__}.{module}{'_' if module == 'import' else ''}")


def flags_of(name: str) -> type[Any]:
    """Return the dataclass of a command's flags, which its module defines."""
    module = module_of(name)
    classes = (part for part in vars(module).values() if isinstance(part, type) and part.__module__ == module.__name__)
    return next(part for part in classes if issubclass(part, Common))


def list_commands() -> dict[str, Command]:
    """Return all commands in the order of the help."""
    table = {name: module_of(name).COMMAND for name in command_names()}
    return dict(sorted(table.items(), key=lambda entry: (GROUPS.index(entry[1].group), entry[1].rank)))


def overview() -> str:
    """Return the help of the program, the commands by group."""
    lines = [
        "usage: homeo-rl COMMAND [flags]",
        "",
        "Reinforcement learning with spiking agents that adapt to damage by homeostasis.",
    ]
    table = list_commands()
    for group in GROUPS:
        lines += ["", f"{group}:"]
        lines += [f"  {name:14} {command.summary}" for name, command in table.items() if command.group == group]
    lines += ["", "homeo-rl help COMMAND lists its flags; homeo-rl --version prints the version."]
    return "\n".join(lines)
