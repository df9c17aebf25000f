"""``homeo-rl suites``."""

from __future__ import annotations

from typing import Any

from homeo_rl.flags import Suites


def run(args: Suites, words: list[str]) -> dict[str, Any]:
    """List the suites of the package."""
    from homeo_rl.console import print_table
    from homeo_rl.degradations.suites import load_suite, suite_names

    suites = [load_suite(name) for name in suite_names()]
    rows = [[s.name, str(len(s.conditions)), s.description] for s in suites]
    print_table("suites", ["name", "conditions", "description"], rows)
    keys = ("name", "version", "hash", "description")
    listed = [{**{key: getattr(s, key) for key in keys}, "conditions": len(s.conditions)} for s in suites]
    return {"suites": listed}
