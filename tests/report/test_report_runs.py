"""Runs whose truth is known, for the tests of pages; and what belongs together among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeo_rl.errors import UsageError
from homeo_rl.evaluation.metrics import COLUMNS
from homeo_rl.report.page import collect
from homeo_rl.run import Run
from homeo_rl.spec import ControllerSpec, NetworkSpec, RunSpec
from homeo_rl.storage import bundle

CELLS = (("clean", 0.0, 1000.0), ("noisy", 1.0, 400.0), ("dead", 0.5, 400.0))
"""Conditions of `evaluate`: name, severity, the arm none's mean return."""


def synthetic(path: Path, **more: Any) -> Run:
    """Make a run without a policy that tells of a training."""
    network = NetworkSpec(inputs=3, outputs=2, body=more.pop("body", "spiking"))
    entries = {
        "origin": "train", "env": "Point-v0", "agent": "popsan", "algo": "ppo", "steps": 4000, "planned": 4000,
        "digest": "ab" * 32, "command": "homeo-rl train --algo ppo", "versions": {"numpy": "2.0"},
        "controller": ControllerSpec(network=network, low=(-1.0, -1.0), high=(1.0, 1.0)),
    }  # fmt: skip
    return Run.create(path, RunSpec(**{**entries, **more}))


def train(run: Run, curve: Mapping[int, list[float]], episodes: int = 60) -> Run:
    """Write evaluations.npz and two monitor files, whose episodes of 10 steps return 1, 2, 3, ..., taking turns."""
    np.savez(
        run.path / "evaluations.npz", timesteps=np.array(list(curve)), results=np.array(list(curve.values())),
        ep_lengths=np.ones((len(curve), 1)),
    )  # fmt: skip
    for index in range(2):
        lines = [f'#{{"t_start": 1767225600.0, "env_id": "{run.spec.env}"}}', "r,l,t"]
        lines += [f"{float(k)},10,{0.5 * k}" for k in range(1 + index, episodes + 1, 2)]
        (run.path / f"{index}.monitor.csv").write_text("\n".join(lines) + "\n")
    return run


def evaluate(
    run: Run,
    *,
    arms: Mapping[str, float] | None = None,
    episodes: int = 30,
    offset: float = 0.0,
    figures: Callable[[str, str, int], Mapping[str, object]] = lambda arm, condition, episode: {},
    rename: Callable[[str], str] = lambda name: name,
    **document: Any,
) -> Run:
    """Write an evaluation: damaged, an arm returns so much more than none, which has 1000 clean and 400 damaged.

    Args:
        run: where to.
        arms: gain of every arm but none.
        episodes: of a cell.
        offset: what is added to all returns.
        figures: more columns, by arm, condition and episode.
        rename: what conditions are called.
        document: entries of evaluation.json.
    """
    folder = run.new_evaluation("quick")
    rng = np.random.default_rng(0)
    lines = [",".join(COLUMNS)]
    noise = {(c, e): float(rng.normal(0, 120)) for c, *_ in CELLS for e in range(episodes)}
    for arm, gain in {"none": 0.0, **(arms if arms is not None else {"dwam": 300.0})}.items():
        for name, severity, base in CELLS:
            for e in range(episodes):
                extra = gain + float(rng.normal(0, 10)) if arm != "none" and severity else 0.0
                row: dict[str, object] = {
                    "run": run.name, "arm": arm, "condition": rename(name), "severity": severity, "episode": e,
                    "seed": e, "return": base + noise[name, e] + extra + offset, "length": 100, "synops": 500.0,
                    "weight_drift": 0.0, **figures(arm, name, e),
                }  # fmt: skip
                lines.append(",".join(_field(row.get(column, "")) for column in COLUMNS))
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")
    entries = {
        "suite": "quick", "suite_version": 1, "suite_hash": "abc", "episodes": episodes, "seed": 0, "versions": {},
        "arms": ["none", *(arms if arms is not None else ("dwam",))], "policy": "policy", "env": "",
        "calibration_episodes": 5, **document,
    }  # fmt: skip
    bundle.write_json(folder / "evaluation.json", entries)
    return run


def _field(value: object) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def test_runs_that_differ_in_their_seed_only_are_one_group(tmp_path: Path) -> None:
    runs = [
        synthetic(tmp_path / "a", seed=0),
        synthetic(tmp_path / "b", seed=1, digest="cd" * 32, steps=2000),
        synthetic(tmp_path / "c", agent="mlp", body="mlp"),
        synthetic(tmp_path / "d", hyperparams={"gamma": 0.5}),
    ]
    groups = collect([*runs, runs[0]]).groups
    assert [[member.run.path.name for member in group.members] for group in groups] == [["a", "b"], ["c"], ["d"]]
    assert groups[1].name == "mlp"
    assert len({group.name for group in groups}) == 3
    assert groups[0].name.endswith("and 1 more")


def test_evaluations_of_one_suite_are_joined_and_others_kept_apart(tmp_path: Path) -> None:
    runs = [evaluate(synthetic(tmp_path / name, seed=k)) for k, name in enumerate("ab")]
    runs.append(evaluate(synthetic(tmp_path / "c", seed=2), suite_hash="other"))
    runs.append(synthetic(tmp_path / "d", seed=3))
    data = collect(runs)
    assert [[member.run.path.name for member in one.members] for one in data.comparisons] == [["a", "b"], ["c"]]
    assert all(cell.episodes == 60 for cell in data.comparisons[0].cells)
    assert "d has no finished evaluation" in data.notes[0]


def test_runs_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    """Two folders x/run: their episodes are strata of their own, and are not paired with each other."""
    runs = [evaluate(synthetic(tmp_path / place / "x" / "run", seed=k)) for k, place in enumerate("ab")]
    (one,) = collect(runs).comparisons
    assert {row.run for row in one.rows} == {"x/run", "x/run (2)"}


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    run = evaluate(synthetic(tmp_path / "a"))
    with pytest.raises(UsageError, match="'standard'"):
        collect([run], suite="standard")
    with pytest.raises(UsageError, match=r"clean, dead@0\.5, noisy, got 'nosy'"):
        collect([run], conditions=["nosy"])
    assert collect([run], conditions=["noisy"]).comparisons[0].damaged == ["noisy"]
