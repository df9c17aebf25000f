from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.evaluation.metrics import COLUMNS, Score
from homeo_rl.report import build, cells, differences, read_scores
from homeo_rl.report.statistics import bootstrap, interval, iqm
from homeo_rl.report.tables import number
from homeo_rl.storage import bundle


def table(path: Path, *, episodes: int = 40, gain: float = 300.0, run: str = "a/b", hash_: str = "abc") -> Path:
    """Write an evaluation whose truth is known: none 1000 clean and 400 damaged, dwam ``gain`` better when damaged."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    lines = [",".join(COLUMNS)]
    noise = {(c, e): rng.normal(0, 150) for c in ("clean", "noisy", "dead") for e in range(episodes)}
    for arm in ("none", "dwam"):
        for condition, severity, base in (("clean", 0.0, 1000.0), ("noisy", 1.0, 400.0), ("dead", 0.5, 400.0)):
            for e in range(episodes):
                total = base + noise[condition, e] + (gain + rng.normal(0, 10) if arm == "dwam" and severity else 0)
                known = f"{run},{arm},{condition},{severity!r},{e},{e},{total!r},100,,0.1,0.02,0.0,500.0"
                lines.append(known + "," * (len(COLUMNS) - 1 - known.count(",")))
    (path / "scores.csv").write_text("\n".join(lines) + "\n")
    document = {"suite": "t", "suite_version": 1, "suite_hash": hash_, "episodes": episodes, "seed": 0, "versions": {}}
    bundle.write_json(path / "evaluation.json", document)
    return path


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    values = np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0])
    assert float(iqm(values)) == pytest.approx(np.mean([2, 3, 4, 5]))


def test_intervals_cover_the_truth() -> None:
    """Of 200 samples of 25 normal draws, about 95 % of the intervals of the mean hold the true mean."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        low, high = interval(bootstrap([rng.normal(5, 2, 25)], "x").mean(axis=1))
        hits += low <= 5 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_harmed_episodes_and_the_worst_one(tmp_path: Path) -> None:
    """Clean returns are 1,000 on the mean: an episode is harmed where it loses some 100."""
    path = table(tmp_path / "e", gain=-60.0) / "scores.csv"
    (slight,) = differences(read_scores(path))
    assert slight.harmed == 0.0
    rows = read_scores(table(tmp_path / "f", gain=-60.0) / "scores.csv")
    worse = [
        dataclasses.replace(row, values={**row.values, "total": row.total - 300.0}) if _is_hit(row) else row
        for row in rows
    ]
    (paired,) = differences(worse)
    assert paired.harmed == pytest.approx(2 / 80)
    clean = np.mean([row.total for row in rows if row.arm == "none" and row.severity == 0.0])
    assert paired.worst == pytest.approx(-360.0 / clean, abs=0.04)
    assert paired.mean > 10 * paired.worst


def _is_hit(row: Score) -> bool:
    return row.arm == "dwam" and row.condition == "dead" and row.episode < 2


def test_bootstrap_is_stratified_and_repeatable() -> None:
    strata = [np.zeros(10), np.ones(30)]
    samples = bootstrap(strata, "x")
    assert np.all(samples.mean(axis=1) == 0.75)
    mixed = [np.arange(10.0), np.arange(5.0)]
    assert np.array_equal(bootstrap(mixed, "x"), bootstrap(mixed, "x"))


def test_cells_and_paired_differences(tmp_path: Path) -> None:
    rows = read_scores(table(tmp_path / "e") / "scores.csv")
    found = {(cell.arm, cell.label): cell for cell in cells(rows)}
    assert set(found) == {(a, c) for a in ("none", "dwam") for c in ("clean", "noisy", "dead@0.5")}
    noisy = found["none", "noisy"]
    assert noisy.ci_low < noisy.iqm < noisy.ci_high
    assert noisy.retention == pytest.approx(0.4, abs=0.08)
    assert noisy.success is None
    (paired,) = differences(rows)
    assert paired.mean == pytest.approx(0.3, abs=0.03)
    assert paired.ci_high - paired.ci_low < 0.02, "pairing removes the noise between episodes"
    (one,) = differences(rows, conditions=["noisy"])
    assert one.conditions == ("noisy",)


def test_retention_needs_a_positive_clean_return(tmp_path: Path) -> None:
    path = table(tmp_path / "e")
    text = (path / "scores.csv").read_text().splitlines()
    negative = [
        text[0],
        *(",".join([*r.split(",")[:6], str(float(r.split(",")[6]) - 5000), *r.split(",")[7:]]) for r in text[1:]),
    ]
    (path / "scores.csv").write_text("\n".join(negative) + "\n")
    rows = read_scores(path / "scores.csv")
    assert all(cell.retention is None for cell in cells(rows))
    assert differences(rows) == []


def test_reports_join_runs(tmp_path: Path) -> None:
    folders = [table(tmp_path / "a", run="x/1"), table(tmp_path / "b", run="x/2")]
    report = build(folders, tmp_path)
    assert all(cell.episodes == 80 for cell in report.cells)
    page = report.page.read_text()
    assert "x/1, x/2" in page
    assert "## Against none" in page
    assert report.picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="evaluations of one suite"):
        build([folders[0], table(tmp_path / "c", hash_="other")], tmp_path)
    with pytest.raises(UsageError, match="--conditions"):
        build(folders, tmp_path, conditions=["nosy"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: t.replace("condition", "conditoin", 1), "expected the columns"),
        (lambda t: t.replace("100,,", "abc,,", 1), "line 2"),
        (lambda t: t.splitlines()[0] + "\n", "expected episodes, found none"),
        (lambda t: t + "x/1,none\n", "line"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    path = table(tmp_path / "e") / "scores.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(StorageFault, match=said):
        read_scores(path)


def test_numbers_are_short() -> None:
    assert [number(v) for v in (9876.54, -12.345, 0.5)] == ["9,877", "-12.3", "0.50"]
