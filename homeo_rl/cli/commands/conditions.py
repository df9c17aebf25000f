"""The command ``homeo-rl conditions``."""

from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common, Positional, Words

COMMAND = Command(TOOLS, 7, "list the conditions of a suite")


@dataclass(frozen=True, kw_only=True)
class Conditions(Common):
    """List the conditions of a suite: the degradations, their severity, and the step at which they begin."""

    suite: Positional[str]
    """Name of a suite (homeo-rl suites lists them), or a YAML file."""
    gym_packages: Words = ()
    """Packages that register your own degradations."""


def run(args: Conditions, words: list[str]) -> dict[str, Any]:
    """List the conditions of a suite."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.degradations.suites import load_suite
    from homeo_rl.envs.make import load_modules

    load_modules(args.gym_packages)
    suite = load_suite(args.suite)
    listed = [{**condition.to_dict(), "name": condition.label} for condition in suite.conditions]
    rows = [
        [each["name"], f"{each['severity']:g}", str(each["onset"]), each["env"], _damage(each["degradations"])]
        for each in listed
    ]
    header = ["condition", "severity", "onset", "env", "degradations"]
    print_table(f"suite {suite.name} version {suite.version}", header, rows)
    return {"suite": suite.name, "version": suite.version, "hash": suite.hash, "conditions": listed}


def _damage(degradations: list[dict[str, Any]]) -> str:
    return "; ".join(
        " ".join([fields["kind"], *(f"{name}={value}" for name, value in fields.items() if name != "kind")])
        for fields in degradations
    )
