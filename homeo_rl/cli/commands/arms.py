"""The command ``homeo-rl arms``."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common, Words

COMMAND = Command(TOOLS, 8, "list the homeostasis mechanisms")


@dataclass(frozen=True, kw_only=True)
class Arms(Common):
    """List the homeostasis mechanisms that --homeostasis accepts, with their parameters."""

    gym_packages: Words = ()
    """Packages that register your own mechanisms."""


def run(args: Arms, words: list[str]) -> dict[str, Any]:
    """List the mechanisms."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.envs.make import load_modules
    from homeo_rl.homeostasis import MECHANISMS

    load_modules(args.gym_packages)
    arms: list[dict[str, Any]] = [
        {"name": "none", "what": "no adaptation: the baseline", "needs": "", "parameters": {}}
    ]
    for name, kind in MECHANISMS.items():
        fields = [field for field in dataclasses.fields(kind) if field.metadata.get("words", True)]
        what = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).replace("::", ".")
        parameters = {field.name: _default(field) for field in fields}
        arms.append({"name": name, "what": what, "needs": kind.needs, "parameters": parameters})
    rows = [
        [
            arm["name"],
            arm["what"],
            arm["needs"],
            " ".join(f"{name}={value}" for name, value in arm["parameters"].items()),
        ]
        for arm in arms
    ]
    print_table("mechanisms", ["arm", "effect", "needs", "parameters"], rows)
    print("examples: dwam-paper:eta=5e-5, dwam+sleep; no-reflex disables a reflex")
    print("navigation robots: avoid, dwam+avoid evade what moves")
    print("controls that are given the fault (evaluate only): oracle, mask, kalman")
    return {"arms": arms}


def _default(field: dataclasses.Field[Any]) -> Any:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
