"""The command ``homeo-rl suites``."""

from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common

COMMAND = Command(TOOLS, 6, "list the suites of degradations")


@dataclass(frozen=True, kw_only=True)
class Suites(Common):
    """List the suites of degradations in the package."""


def run(args: Suites, words: list[str]) -> dict[str, Any]:
    """List the suites of the package."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.degradations.suites import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    rows = [[s.name, str(len(s.conditions)), s.description] for s in suites]
    print_table("suites", ["name", "conditions", "description"], rows)
    keys = ("name", "version", "hash", "description")
    return {"suites": [{**{key: getattr(s, key) for key in keys}, "conditions": len(s.conditions)} for s in suites]}
