"""``homeo-rl completion``."""

from __future__ import annotations

import argparse
from typing import Any

from homeo_rl import flags
from homeo_rl.flags.parsing import fill
from homeo_rl.flags.table import COMMANDS


def run(args: flags.Completion, words: list[str]) -> dict[str, Any]:
    """Print a completion script."""
    import shtab

    parser = argparse.ArgumentParser(prog="homeo-rl", add_help=False)
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        fill(commands.add_parser(name, help=command.summary, add_help=False), getattr(flags, command.flags))
    script = shtab.complete(parser, args.shell)
    print(script)
    return {"shell": args.shell, "script": script, "lines": script.count("\n") + 1}
