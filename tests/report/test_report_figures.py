"""What pages draw, against figures that are known: curves, forests, profiles, frontiers, paths."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_report_page import write
from test_report_runs import evaluate, synthetic, train

from homeo_rl.errors import StorageFault
from homeo_rl.evaluation.recorded_episode import RecordedEpisode
from homeo_rl.report.page import collect
from homeo_rl.report.page.charts.axes import Scale, labels
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.phrasing import sentence, verdict
from homeo_rl.report.page.sections.curves import align, curves, read_evaluations, read_training
from homeo_rl.report.page.sections.energy import energy, joules_of, pareto
from homeo_rl.report.page.sections.forest import forest
from homeo_rl.report.page.sections.headline import headline
from homeo_rl.report.page.sections.profiles import profile
from homeo_rl.report.page.sections.spikes import spikes
from homeo_rl.report.page.sections.trajectories import Map, merge_equal, trajectories
from homeo_rl.report.statistics import Difference, bootstrap, differences, interval, iqm
from homeo_rl.storage import bundle


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (300.0, "Over 2 damaged conditions, dwam kept 30"),
        (-300.0, "No arm did better than none: over 2 damaged conditions, dwam fell"),
        (0.0, "No difference was shown: over 2 damaged conditions, dwam minus none is"),
    ],
)
def test_the_headline_says_what_the_interval_says(tmp_path: Path, gain: float, expected: str) -> None:
    data = collect([evaluate(synthetic(tmp_path / "a"), arms={"dwam": gain})])
    section = headline(PageContext(data))
    assert section is not None
    (result,) = section.data["results"]
    assert result["sentence"].startswith(expected), result
    (difference,) = differences(data.comparisons[0].rows)
    assert ("contains 0" in result["sentence"]) == (difference.ci_low <= 0 <= difference.ci_high)
    assert "60 paired episodes" in result["sentence"]
    sides = {300.0: "better in 2, worse in 0", -300.0: "better in 0, worse in 2", 0.0: "better in 0, worse in 0"}
    assert sides[gain] in result["notes"][0]


@pytest.mark.parametrize(
    ("low", "mean", "high", "expected"),
    [
        (-0.01, 0.2, 0.4, "undecided"),
        (0.0, 0.2, 0.4, "undecided"),
        (0.01, 0.2, 0.4, "more"),
        (-0.4, -0.2, -0.01, "less"),
        (-0.4, -0.2, 0.01, "undecided"),
    ],
)
def test_an_interval_that_holds_0_decides_nothing(low: float, mean: float, high: float, expected: str) -> None:
    difference = Difference("success", "dwam", ("a", "b"), mean, low, high)
    assert verdict(difference) == expected
    text = sentence(difference, arms=1, episodes=40, runs=1)
    assert text.startswith("No difference was shown") == (expected == "undecided")
    assert "20.0" in text


def test_returns_are_compared_where_clean_ones_are_not_positive(tmp_path: Path) -> None:
    section = headline(PageContext(collect([evaluate(synthetic(tmp_path / "a"), offset=-5000.0)])))
    assert section is not None
    assert "dwam earned" in section.data["results"][0]["sentence"]
    assert "of return more than none" in section.data["results"][0]["sentence"]


def test_the_forest_draws_the_statistics(tmp_path: Path) -> None:
    data = collect([evaluate(synthetic(tmp_path / "a"), arms={"dwam": 300.0, "linear": 0.0})])
    section = forest(PageContext(data))
    assert section is not None
    (drawn,) = section.data["blocks"][0]["forests"]
    assert [bar.label for bar in drawn.bars] == ["noisy"] * 2 + ["dead@0.5"] * 2 + ["all 2 conditions"] * 2
    assert [bar.verdict for bar in drawn.bars if bar.arm == "dwam"] == ["more"] * 3
    for bar in drawn.bars:
        assert 0 <= bar.low <= bar.middle <= bar.high <= 100
        assert (bar.verdict == "undecided") == (bar.low <= drawn.zero <= bar.high)
    total = {d.arm: d for d in differences(data.comparisons[0].rows)}["dwam"]
    assert drawn.bars[4].text == f"+{100 * total.mean:.1f} [+{100 * total.ci_low:.1f}, +{100 * total.ci_high:.1f}]"
    assert drawn.bars[4].total


def test_curves_of_seeds_resample_seeds(tmp_path: Path) -> None:
    ends = [10.0, 20.0, 30.0, 100.0]
    runs = [
        train(synthetic(tmp_path / str(k), seed=k), {1000: [0.0, 0.0], 2000: [end - 1, end + 1]})
        for k, end in enumerate(ends)
    ]
    section = curves(PageContext(collect(runs)))
    assert section is not None
    (line,) = section.data["charts"][0].lines
    assert line.points[-1] == (2000.0, float(iqm(np.array(ends))))
    low, high = interval(iqm(bootstrap([np.array(ends)], "curve 2000"), axis=1))
    assert (line.low[-1], line.high[-1]) == (low, high)
    assert "4 seeds (0, 1, 2, 3), 2 episodes a point" in section.data["notes"][0]
    assert len(section.data["charts"][1].lines) == 4, "training episodes, a line a seed"


def test_curves_meet_between_their_steps(tmp_path: Path) -> None:
    runs = [
        train(synthetic(tmp_path / "a"), {1000: [0.0], 3000: [20.0]}),
        train(synthetic(tmp_path / "b"), {2000: [6.0], 4000: [8.0]}),
    ]
    curves_of_runs = [read_evaluations(run.path / "evaluations.npz") for run in runs]
    steps, means = align([one for one in curves_of_runs if one is not None])
    assert steps.tolist() == [2000.0, 3000.0]
    assert means.tolist() == [[10.0, 20.0], [6.0, 7.0]]


def test_monitors_side_by_side_are_one_training(tmp_path: Path) -> None:
    training = read_training(train(synthetic(tmp_path / "a"), {1: [1.0]}).path)
    assert training is not None
    assert training.returns.tolist() == [float(k) for k in range(1, 61)]
    assert training.steps[-1] == 600
    assert training.ended == training.began + 30


def test_a_profile_is_the_share_above_with_its_bootstrap_band() -> None:
    rng = np.random.default_rng(1)
    strata = [rng.normal(0, 1, 40), rng.normal(1, 1, 25)]
    thresholds = np.array([-9.0, 0.0, 0.7, 9.0])
    share, low, high = profile(strata, thresholds, "x")
    joined = np.concatenate(strata)
    assert share.tolist() == [float((joined > t).mean()) for t in thresholds]
    drawn = bootstrap(strata, "drawn")
    for k, threshold in enumerate(thresholds):
        direct = interval((drawn > threshold).mean(axis=1))
        assert direct == pytest.approx((low[k], high[k]), abs=0.02)


def test_the_frontier_is_what_nothing_beats() -> None:
    points = [(1.0, 1.0), (2.0, 5.0), (2.0, 4.0), (3.0, 5.0), (4.0, 9.0), (0.5, -1.0)]
    assert pareto(points) == [(0.5, -1.0), (1.0, 1.0), (2.0, 5.0), (4.0, 9.0)]


def test_energy_follows_from_operations_that_all_cost_the_same(tmp_path: Path) -> None:
    spiking, mlp = synthetic(tmp_path / "a"), synthetic(tmp_path / "b", body="mlp", agent="mlp")
    data = collect([evaluate(spiking), evaluate(mlp)])
    rows: list[Any] = [SimpleNamespace(synops=500.0, energy=math.nan), SimpleNamespace(synops=500.0, energy=2e-9)]
    one, other = data.comparisons
    assert joules_of(rows[0], one) == pytest.approx(500 * 0.9e-12)
    assert joules_of(rows[0], other) == pytest.approx(500 * 4.6e-12)
    assert joules_of(rows[1], one) == 2e-9, "what the scores hold goes first"
    section = energy(PageContext(data))
    assert section is not None
    assert "450 pJ" in section.data["table"].rows[0]
    assert "2.3 nJ" in section.data["table"].rows[2]
    (chart,) = section.data["charts"]
    assert len(chart.dots) == 4


def test_paths_are_simplified_and_end_where_they_ended(tmp_path: Path) -> None:
    run = evaluate(
        synthetic(tmp_path / "a"), figures=lambda a, c, e: {"outcome": "collision", "path_length": 3.0, "time": 2.0}
    )
    corner = [[0.01 * k, 0.0] for k in range(300)] + [[2.99, 0.01 * k] for k in range(300)]
    cell = {
        "condition": "noisy",
        "world": {"outer": [[0, 0], [5, 0], [5, 5], [0, 5]], "obstacles": [], "discs": [], "movers": []},
        "episodes": [{"outcome": "collision", "goal": [1, 1], "path": corner}],
    }  # fmt: skip
    document = {"suite": "quick", "cells": [{"arm": "none", **cell}, {"arm": "dwam", **cell}]}
    bundle.write_json(run.path / "evaluations" / "quick_1" / "paths.json", document)
    section = trajectories(PageContext(collect([run])))
    assert section is not None
    (block,) = section.data["blocks"]
    drawn = block["maps"]["noisy",][0]
    ((outcome, path),) = drawn.paths
    assert outcome == "collision"
    assert path.count("l") <= 6, "600 points on two lines"
    assert drawn.ends == [(60.0, -60.0, "collision")]
    page = write([run], tmp_path)
    assert "1 episode: 1 collision" in page.text
    assert "Outcomes of the navigation episodes" in page.text


def test_a_curve_is_not_unpickled(tmp_path: Path) -> None:
    run = synthetic(tmp_path / "a")
    np.savez(run.path / "evaluations.npz", timesteps=np.array([1]), results=np.array([[{}]], dtype=object))
    with pytest.raises(StorageFault, match="not a readable array"):
        write([run], tmp_path)


def test_ticks_are_round_and_inside() -> None:
    scale = Scale(0.0, 97.0, 0.0, 970.0)
    assert scale.ticks(5) == [0.0, 20.0, 40.0, 60.0, 80.0]
    assert scale(48.5) == 485.0
    assert labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert labels([0.0, 20000.0, 40000.0]) == ["0", "20k", "40k"]
    assert labels([-1.0, 0.0]) == ["\u22121", "0"]
    assert Scale(2.0, 300.0, 0, 100, log=True).ticks(5) == [10.0, 100.0]


def test_curves_with_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    run = train(synthetic(tmp_path / "a"), {10: [1.0, 2.0], 20: [float("nan"), 2.0]})
    with pytest.raises(StorageFault, match=r"evaluations\.npz: evaluation 2 of 2: expected finite"):
        read_evaluations(run.path / "evaluations.npz")
    path = run.path / "0.monitor.csv"
    path.write_text(path.read_text().replace("\n3.0,", "\ninf,"))
    with pytest.raises(StorageFault, match=r"0\.monitor\.csv: line 4: expected finite numbers"):
        read_training(run.path)


def test_a_monitor_that_is_being_written_holds_what_ended(tmp_path: Path) -> None:
    run = train(synthetic(tmp_path / "a"), {1: [1.0]})
    path = run.path / "1.monitor.csv"
    path.write_text(path.read_text() + "77.0,1")
    training = read_training(run.path)
    assert training is not None
    assert training.returns.tolist() == [float(k) for k in range(1, 61)]


def test_equal_maps_are_shown_once() -> None:
    """Of three arms two of which drove alike, and of two conditions that changed nothing."""

    def maps(*paths: str) -> list[Map]:
        arms = zip(("none", "dwam", "sleep"), paths, strict=True)
        return [Map((arm,), "1 episode", "0 0 1 1", paths=[("success", path)]) for arm, path in arms]

    shown = merge_equal({"clean": maps("a", "a", "b"), "same": maps("a", "a", "b"), "other": maps("c", "a", "b")})
    assert list(shown) == [("clean", "same"), ("other",)]
    assert [one.arms for one in shown["clean", "same"]] == [("none", "dwam"), ("sleep",)]
    assert [one.arms for one in shown["other",]] == [("none",), ("dwam",), ("sleep",)]


def test_spikes_are_those_of_the_damage_that_an_arm_helps_most_against(tmp_path: Path) -> None:
    data = collect([evaluate(synthetic(tmp_path / "a"), arms={"dwam": 300.0})])
    (one,) = data.comparisons
    most = one.largest_gain()
    assert most is not None
    arm, label = most

    def record(arm: str, condition: str) -> RecordedEpisode:
        rates = (np.full((30, 4), 0.5),)
        return RecordedEpisode(run=one.members[0].name, arm=arm, condition=condition, total=1.0, steps=5, rates=rates,
                        rewards=np.ones(30), observations=np.zeros((30, 2)))  # fmt: skip

    several = [record(a, c) for c in ("clean", label) for a in ("none", arm)]
    section = spikes(PageContext(data, episodes=several))
    assert section is not None
    (block,) = section.data["blocks"]
    assert f"Condition {label}" in block["note"]
    assert [raster.title.split(", ")[1] for raster in block["rasters"]] == ["none", arm]
    clean = spikes(PageContext(data, episodes=several[:2]))
    assert clean is not None
    assert "Condition clean" in clean.data["blocks"][0]["note"]
