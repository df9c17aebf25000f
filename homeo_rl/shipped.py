"""Trained agents that come with the package: policy bundles beside this module, copied to a run folder to be used."""

from __future__ import annotations

import shutil
from pathlib import Path

from homeo_rl.errors import UsageError, near
from homeo_rl.run import Run, require_new

FOLDER = Path(__file__).parent / "agents" / "pretrained"


def pretrained_names() -> list[str]:
    """Names of the agents."""
    return sorted(path.parent.name for path in FOLDER.glob("*/run.json"))


def near_runs(name: str) -> list[str]:
    """Return what could have been meant by the name of a run that is not there: agents, and runs below ./runs."""
    here = [str(path.parent) for pattern in ("*", "*/*") for path in Path("runs").glob(f"{pattern}/run.json")]
    names = {**{Path(path).name: path for path in here}, **{path: path for path in [*here, *pretrained_names()]}}
    like = near(name, names, cutoff=0.6)
    return [] if like is None else [names[like]]


def copied(source: Run, target: Path, *, which: str = "policy") -> Run:
    """Return the run ``target``, made with the policy of ``source`` and nothing else if it is not there yet.

    ``which`` is another policy bundle that has to be there too.

    Raises:
        UsageError: something else is at that place, or it cannot be written.
    """
    wanted = dict.fromkeys(("policy", which))
    try:
        if not (target / "run.json").exists():
            require_new(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.copying")  # of one that was cut nothing is left at the target
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            for name in wanted:
                _copy_bundle(source.path / name, draft / name)
            shutil.copyfile(source.path / "run.json", draft / "run.json")
            draft.replace(target)
        elif not (target / which).exists():
            _copy_bundle(source.path / which, target / which)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); use another folder") from None
    run = Run.open(target)
    if any(run.policy_digest(which=name) != source.policy_digest(which=name) for name in wanted):
        raise UsageError(
            f"{target}: expected a copy of {source.path.name!r} as it is now, found another policy; move it away"
        )
    return run


def _copy_bundle(source: Path, target: Path) -> None:
    """Copy the files of a bundle, not who may write them: what is copied may be read-only."""
    target.mkdir()
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, target / file.name)


def copy_pretrained(name: str, folder: Path) -> Run:
    """Return the run ``folder/name``, made from the agent that comes with the package if it is not there yet.

    Raises:
        UsageError: something else is at that place, or it cannot be written.
    """
    return copied(Run.open(FOLDER / name), folder / name)
