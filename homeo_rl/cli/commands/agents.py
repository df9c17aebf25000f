"""The command ``homeo-rl agents``."""

from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common

COMMAND = Command(TOOLS, 5, "list the pretrained agents")


@dataclass(frozen=True, kw_only=True)
class Agents(Common):
    """List the pretrained agents; every command accepts their names in place of a run folder."""


def run(args: Agents, words: list[str]) -> dict[str, Any]:
    """List the pretrained agents."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.run import Run
    from homeo_rl.storage.pretrained import FOLDER, list_pretrained

    keys = ("env", "env_kwargs", "algo", "agent", "steps")
    specs = {name: Run.open(FOLDER / name).spec for name in list_pretrained()}
    rows = [[name, spec.env, spec.algo, spec.agent, f"{spec.steps:,}"] for name, spec in specs.items()]
    print_table("agents", ["name", "environment", "algo", "agent", "steps"], rows)
    return {"agents": [{"name": name, **{key: getattr(spec, key) for key in keys}} for name, spec in specs.items()]}
