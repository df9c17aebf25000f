"""A column of scores is one row of `METRICS`: a toy one appears wherever scores are written, read or summed up."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from homeo_rl.degradations import load_suite
from homeo_rl.errors import StorageFault
from homeo_rl.evaluation.episode import Episode
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.metrics import (
    COLUMNS,
    IDENTITY,
    METRICS,
    Figure,
    Measurement,
    Metric,
    Score,
    TrueFault,
    columns,
    mean,
    numbers,
)
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.evaluation.tensorboard import log_evaluation
from homeo_rl.report import cells, read_scores
from homeo_rl.report.tables import drive_rows
from homeo_rl.run import Run


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Metric(
        name="toy", of_episode=lambda m: 2.0 * m.episode.length, tag="toy", scale=10.0, since=99,
        figures=(Figure("toy", mean, "m", "drives", "toy length"),),
    )  # fmt: skip
    monkeypatch.setitem(METRICS, "toy", metric)


def test_the_columns_are_the_published_ones() -> None:
    assert COLUMNS == columns() == (
        "run", "arm", "condition", "severity", "episode", "seed", "return", "length", "success", "firing_rate",
        "rate_deviation", "weight_drift", "synops", "outcome", "path_length", "time", "reflex", "violations",
        "unstable", "rolled_back", "spikes", "energy", "sleeps", "rate_spread", "openings", "estimated",
        "detected", "detected_after", "latency_right", "gain_error",
    )  # fmt: skip
    assert [len(columns(version)) for version in range(1, 8)] == [16, 18, 20, 22, 23, 24, 26]


@pytest.mark.usefixtures("toy")
def test_a_new_metric_appears_everywhere(make_run: Callable[..., Run], tmp_path: Path) -> None:
    plan = EvaluationPlan(suite=load_suite("clean"), arms=("none",), episodes=2, seed=0, calibration_episodes=1)
    result = evaluate(make_run(), plan, workers=1)
    lengths = [score.length for score in result.scores]
    assert [score.toy for score in result.scores] == [2.0 * length for length in lengths]
    path = result.folder / "scores.csv"
    with path.open() as file:
        assert [float(row["toy"]) for row in csv.DictReader(file)] == [2.0 * length for length in lengths]
    rows = read_scores(path)
    assert [row.toy for row in rows] == [2.0 * length for length in lengths]
    (cell,) = cells(rows)
    assert cell.toy == cell.to_dict()["toy"] == 2.0 * np.mean(lengths)
    assert drive_rows([cell])[0][-1] == "toy length"
    assert "toy" in numbers()
    log_evaluation(tmp_path / "tb", "clean", 0, result.scores, {})
    events = EventAccumulator(str(tmp_path / "tb" / "clean" / "clean" / "none"))
    events.Reload()
    assert events.Scalars("suite/toy")[0].value == pytest.approx(20.0 * np.mean(lengths))


def row_of(names: tuple[str, ...]) -> str:
    values = {"run": "r", "arm": "none", "condition": "clean", "severity": "0.0", "episode": "0", "seed": "1"}
    values |= {"return": "2.5", "length": "3", "weight_drift": "0.0", "synops": "7.0"}
    return ",".join(values.get(name, "") for name in names)


def test_tables_of_earlier_versions_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    for version in range(1, 7):
        path.write_text(f"{','.join(columns(version))}\n{row_of(columns(version))}\n")
        (row,) = read_scores(path)
        assert (row.total, row.length, row.synops) == (2.5, 3, 7.0)
        assert np.isnan(row.rate_spread)
    path.write_text(f"{','.join(COLUMNS[:-4])}\n{row_of(COLUMNS[:-4])}\n")
    assert np.isnan(read_scores(path)[0].sleeps)
    for names in (COLUMNS[:17], COLUMNS[::-1], IDENTITY):
        path.write_text(f"{','.join(names)}\n{row_of(names)}\n")
        with pytest.raises(StorageFault, match="expected the columns run, arm"):
            read_scores(path)


def test_a_score_is_plain_data_and_back() -> None:
    score = Score("r", "none", "clean", 0.5, 0, 1, {"total": 1.0, "length": 3})
    assert Score.from_dict(score.to_dict()) == score
    assert score.label == "clean@0.5"
    with pytest.raises(AttributeError, match="expected a metric of scores"):
        _ = score.flarn


@pytest.mark.parametrize(
    ("alarms", "length", "found"),
    [
        ([(0, 3), (112, 400)], 500, (True, 12)),
        ([(90, 105), (112, 400)], 500, (True, 0)),
        ([(90, 99)], 500, (False, None)),
        ([(131, 131)], 500, (False, 31)),
        ([], 500, (False, None)),
        ([(5, 90)], 100, (None, None)),
    ],
)
def test_what_an_observer_finds_is_compared_with_the_truth(
    alarms: list[tuple[int, int]], length: int, found: tuple[bool | None, int | None]
) -> None:
    episode = Episode(0, 0, length=length, openings=1, alarms=alarms, latency=2, gains=np.array([0.5, np.nan, 0.75]))
    measurement = Measurement(episode, (), (), lambda _: 0, TrueFault(100, 2, 0.6))
    assert (measurement.detected, measurement.detected_after) == found
    over = found[0] is None
    assert measurement.latency_right is (None if over else True)
    assert measurement.gain_error == (None if over else pytest.approx(0.15))
    healthy = Measurement(episode, (), (), lambda _: 0)
    frozen = Measurement(Episode(0, 0, length=length), (), (), lambda _: 0, TrueFault(100, 2, 0.6))
    for other in (healthy, frozen):
        assert (other.detected, other.detected_after, other.latency_right, other.gain_error) == (None,) * 4
