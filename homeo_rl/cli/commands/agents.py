"""The command ``homeo-rl agents``."""

from dataclasses import dataclass
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common, Positional

COMMAND = Command(TOOLS, 5, "list the pretrained agents")


@dataclass(frozen=True, kw_only=True)
class Agents(Common):
    """List the pretrained agents; every command accepts their names in place of a run folder. Returns, and what
    is kept under damage (retention; success for navigation), are means of a published study (docs/results.md): compare
    agents of one study only. All agents have the licence of the package (MIT)."""

    name: Positional[str] = ""
    """One of them, to list what it keeps under each damage."""


def run(args: Agents, words: list[str]) -> dict[str, Any]:
    """List the pretrained agents, or the damage table of one."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.errors import unknown
    from homeo_rl.run import Run
    from homeo_rl.storage import bundle
    from homeo_rl.storage.pretrained import CARDS, FOLDER, list_pretrained

    if args.name and args.name not in list_pretrained():
        raise unknown("agent", args.name, list_pretrained())
    cards, listed = bundle.read_json(CARDS), []
    for name in [args.name] if args.name else list_pretrained():
        spec, card = Run.open(FOLDER / name).spec, cards.get(name, {})
        network = None if spec.controller is None else spec.controller.network
        size = sum(path.stat().st_size for path in (FOLDER / name / "policy").iterdir())
        entry = {key: getattr(spec, key) for key in ("env", "env_kwargs", "algo", "agent", "steps")}
        spike_steps = network.steps if network is not None and network.is_spiking else None
        listed.append({"name": name, **entry, "spike_steps": spike_steps, "bytes": size, **card})
    header = ["name", "environment", "algo", "agent", "steps", "T", "kB", "return", "damaged", "study"]
    rows = [
        [
            each["name"], each["env"], each["algo"], each["agent"], f"{each['steps']:,}",
            str(each["spike_steps"] or "-"), f"{each['bytes'] / 1000:,.0f}",
            *((f"{each['return']:,.0f}", f"{each['damaged']:.2f}", each["study"]) if "return" in each else "---"),
        ]
        for each in listed
    ]  # fmt: skip
    print_table("agents", header, rows)
    if args.name and "conditions" in listed[0]:
        card = listed[0]
        what = f"{card['measure']}, {card['episodes']} episodes each, study {card['study']}"
        table = [
            ["clean", f"{card['clean']:.2f}"],
            *([label, f"{value:.2f}"] for label, value in card["conditions"].items()),
        ]
        print_table(what, ["condition", card["measure"]], table)
    return {"agents": listed}
