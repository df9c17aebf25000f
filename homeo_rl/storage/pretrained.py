"""Trained agents that come with the package: where they lie, their names, and what was measured of them."""

from pathlib import Path

from homeo_rl.errors import near

FOLDER = Path(__file__).parent.parent / "agents" / "pretrained"
CARDS = FOLDER / "cards.json"


def list_pretrained() -> list[str]:
    """Names of the agents."""
    return sorted(path.parent.name for path in FOLDER.glob("*/run.json"))


def near_runs(name: str) -> list[str]:
    """Return what could have been meant by the name of a run that is not there: agents, and runs below ./runs."""
    here = [str(path.parent) for pattern in ("*", "*/*") for path in Path("runs").glob(f"{pattern}/run.json")]
    names = {**{Path(path).name: path for path in here}, **{path: path for path in [*here, *list_pretrained()]}}
    like = near(name, names, cutoff=0.6)
    return [] if like is None else [names[like]]
