"""Trained agents that come with the package: policy bundles beside this module, copied to a run folder to be used."""

from __future__ import annotations

import shutil
from pathlib import Path

from homeo_rl.errors import UsageError
from homeo_rl.run import Run

FOLDER = Path(__file__).parent / "pretrained"


def pretrained_names() -> list[str]:
    """Names of the agents."""
    return sorted(path.parent.name for path in FOLDER.glob("*/run.json"))


def copy_run(source: Run, target: Path) -> None:
    """Make ``target`` a run with the policy of ``source`` and nothing else."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source.path / "policy", target / "policy", dirs_exist_ok=True)
    shutil.copy(source.path / "run.json", target / "run.json")  # last: without it, it is not a run yet


def copy_pretrained(name: str, folder: Path) -> Run:
    """Return the run ``folder/name``, made from the agent that comes with the package if it is not there yet.

    Raises:
        UsageError: something else is at that place, or it cannot be written.
    """
    target = folder / name
    source = Run.open(FOLDER / name)
    if not (target / "run.json").exists():
        if target.exists() and any(target.iterdir()):
            raise UsageError(f"{target}: expected a new or empty folder for the agent {name!r}, found files; move them")
        try:
            copy_run(source, target)
        except OSError as error:
            raise UsageError(f"{target}: cannot be written ({error.strerror}); run this in another folder") from None
    run = Run.open(target)
    if run.policy_digest() != source.policy_digest():
        raise UsageError(
            f"{target}: expected the agent {name!r} that comes with this version, found another policy; "
            "give the path itself to use it, or move it away"
        )
    return run
