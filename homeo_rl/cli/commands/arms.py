"""``homeo-rl arms``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common, Words

COMMAND = Command(TOOLS, 8, "list the homeostasis arms")


@dataclass(frozen=True, kw_only=True)
class Arms(Common):
    """List the homeostasis arms that --homeostasis takes, with their parameters."""

    gym_packages: Words = ()
    """Packages that register plug-ins of your own."""


def run(args: Arms, words: list[str]) -> dict[str, Any]:
    """List the arms."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.envs.make import load_modules
    from homeo_rl.homeostasis import MECHANISMS

    load_modules(args.gym_packages)
    listed = [{"name": "none", "what": "nothing adapts: the control", "parameters": {}}]
    for name, kind in MECHANISMS.items():
        fields = [field for field in dataclasses.fields(kind) if field.metadata.get("words", True)]
        what = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).replace("::", ".")
        listed.append({"name": name, "what": what, "parameters": {field.name: _default(field) for field in fields}})
    rows = [[str(one["name"]), str(one["what"]), _words(one["parameters"])] for one in listed]
    print_table("arms", ["arm", "what it does", "parameters"], rows)
    print("examples: dwam-paper:eta=5e-5, dwam+sleep; no-reflex switches a reflex off")
    return {"arms": listed}


def _default(field: dataclasses.Field[Any]) -> Any:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _words(parameters: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters.items())
