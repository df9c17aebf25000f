"""``homeo-rl agents``."""

from __future__ import annotations

from typing import Any

from homeo_rl.flags import Agents


def run(args: Agents, words: list[str]) -> dict[str, Any]:
    """List the agents of the package."""
    from homeo_rl.console import print_table
    from homeo_rl.run import Run
    from homeo_rl.shipped import FOLDER, pretrained_names

    specs = {name: Run.open(FOLDER / name).spec for name in pretrained_names()}
    rows = [[name, spec.env, spec.algo, spec.agent, f"{spec.steps:,}"] for name, spec in specs.items()]
    print_table("agents", ["name", "environment", "algo", "agent", "steps"], rows)
    listed = [
        {"name": name, "env": s.env, "env_kwargs": s.env_kwargs, "algo": s.algo, "agent": s.agent, "steps": s.steps}
        for name, s in specs.items()
    ]
    return {"agents": listed}
