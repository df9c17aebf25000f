"""``homeo-rl agents``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common

COMMAND = Command(TOOLS, 5, "list the trained agents of the package")


@dataclass(frozen=True, kw_only=True)
class Agents(Common):
    """List the trained agents that come with the package; every command takes their names in place of a run folder."""


def run(args: Agents, words: list[str]) -> dict[str, Any]:
    """List the agents of the package."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.run import Run
    from homeo_rl.storage.pretrained import FOLDER, list_pretrained

    specs = {name: Run.open(FOLDER / name).spec for name in list_pretrained()}
    rows = [[name, spec.env, spec.algo, spec.agent, f"{spec.steps:,}"] for name, spec in specs.items()]
    print_table("agents", ["name", "environment", "algo", "agent", "steps"], rows)
    listed = [
        {"name": name, "env": s.env, "env_kwargs": s.env_kwargs, "algo": s.algo, "agent": s.agent, "steps": s.steps}
        for name, s in specs.items()
    ]
    return {"agents": listed}
