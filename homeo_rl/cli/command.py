"""The commands: every module of `homeo_rl.cli.commands` is one, and nothing else has to name it."""

from __future__ import annotations

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
    """How the help lists a command.

    Attributes:
        group: the heading that it stands under.
        rank: its place there.
        summary: what it does, in one line.
    """

    group: str
    rank: int
    summary: str


@cache
def command_names() -> tuple[str, ...]:
    """Return the names of all commands; none is imported."""
    modules = (entry.name for entry in pkgutil.iter_modules(commands.__path__))
    return tuple(name.rstrip("_").replace("_", "-") for name in modules)


def module_of(name: str) -> ModuleType:
    """Import the module of a command: ``COMMAND``, the dataclass of its flags, and ``run(flags, words)``."""
    module = name.replace("-", "_")
    return import_module(f"{commands.__name__}.{module}{'_' if module == 'import' else ''}")


def flags_of(name: str) -> type[Any]:
    """Return the dataclass of a command's flags, the one that its module defines."""
    module = module_of(name)
    mine = (part for part in vars(module).values() if isinstance(part, type) and part.__module__ == module.__name__)
    return next(part for part in mine if issubclass(part, Common))


def listed() -> dict[str, Command]:
    """Return all commands as the help lists them."""
    found = {name: module_of(name).COMMAND for name in command_names()}
    return dict(sorted(found.items(), key=lambda entry: (GROUPS.index(entry[1].group), entry[1].rank)))


def overview() -> str:
    """Return the help of the program: the commands, by group."""
    lines = [
        "usage: homeo-rl COMMAND [flags]",
        "",
        "Reinforcement learning with homeostatic spiking agents that stay alive when they",
        "are damaged.",
    ]
    listing = listed()
    for group in GROUPS:
        lines += ["", f"{group}:"]
        lines += [f"  {name:14} {command.summary}" for name, command in listing.items() if command.group == group]
    lines += ["", "homeo-rl help COMMAND shows its flags, homeo-rl --version the version."]
    return "\n".join(lines)
