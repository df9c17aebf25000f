"""Studies: what the file says, that every cell is done once, statistics worked by hand, and the page."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import call, last

from homeo_rl.agents.controller import load_controller
from homeo_rl.cli import main
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.evaluation import evaluate as evaluation
from homeo_rl.evaluation import recorders, rollout
from homeo_rl.evaluation.evaluate import NullProgress
from homeo_rl.evaluation.metrics import numbers
from homeo_rl.run import Run
from homeo_rl.storage import bundle
from homeo_rl.storage.pretrained import FOLDER, list_pretrained
from homeo_rl.studies import run_study as carrying
from homeo_rl.studies import tables
from homeo_rl.studies.claims import judge
from homeo_rl.studies.group_contrasts import contrast_groups, mean_energy
from homeo_rl.studies.page import write_page
from homeo_rl.studies.pictures import choose_arms, colour_of
from homeo_rl.studies.results import (
    DAMAGED,
    NETWORK,
    Cell,
    Results,
    chance_of,
    difference_of,
    find_harmed,
    find_untrained,
    harms_of,
    holm,
    mean_of,
    possible_gain,
    profile_of,
    read_results,
    recoveries_of,
    share_of_gain,
)
from homeo_rl.studies.run_study import carry_out
from homeo_rl.studies.study import Claim, claim_fields, read_study, study_document, study_names
from homeo_rl.studies.twins import compare_twins
from homeo_rl.sweeps.read_sweep import read_sweep

SUITE = """
name: small
version: 1
conditions:
  - {name: clean}
  - {name: noise, degradations: [{kind: weights-gaussian, std: 0.5}]}
  - {name: blind, degradations: [{kind: obs-gaussian, std: 0.5}]}
  - {name: late, onset: 2, degradations: [{kind: weights-gaussian, std: 0.5}]}
"""
STUDY = """
name: trial
description: two policies
episodes: 3
calibration_episodes: 2
contrasts: [[sleep, linear]]
claims:
  - {say: Sleep mends noise, group: poles, arm: sleep, conditions: [noise], gained: 5.0}
subsets:
  - {name: Noise alone, group: poles, conditions: [noise]}
groups:
  - {name: poles, suite: suite.yaml, arms: [none, sleep], hosts: [a, b]}
  - {name: poles, suite: suite.yaml, arms: [none, linear], hosts: [b]}
  - {name: more, suite: suite.yaml, role: development, optional: true, arms: [none], hosts: [a, nowhere]}
"""


@pytest.fixture
def folder(make_run: Callable[..., Run], tmp_path: Path) -> Path:
    """Return a folder with a study, its suite and two runs."""
    home = tmp_path / "study"
    home.mkdir()
    for name in ("a", "b"):
        made = make_run("InvertedPendulum-v5", name=name)
        made.path.rename(home / name)
    (home / "suite.yaml").write_text(SUITE)
    (home / "study.yaml").write_text(STUDY)
    return home


def run_small(folder: Path, out: Path, workers: int = 1) -> tuple[int, int]:
    study, base = read_study(str(folder / "study.yaml"))
    return carry_out(study, base, out, workers=workers, progress=NullProgress())


def test_every_cell_is_done_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in the middle, it resumes with the cells that are missing; the tables are the same to the last byte."""
    out, whole, done = tmp_path / "out", tmp_path / "whole", []
    run_cells = evaluation.run_cells

    def count_cells(job: Any, indices: list[int], *rest: Any) -> Any:
        for index, outcome in run_cells(job, indices, *rest):
            done.append((job.path.name, job.plan.arms, job.cells[index]))
            yield index, outcome
            if len(done) == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "run_cells", count_cells)
    with pytest.raises(KeyboardInterrupt):
        run_small(folder, out)
    assert run_small(folder, out) == (3, 4)
    assert run_small(folder, out) == (0, 4), "nothing is left to do"
    assert len(done) == 8 + 8 + 4, "what another entry has is not done again"
    assert len({str(one) for one in done}) == len(done)
    monkeypatch.undo()
    assert run_small(folder, whole, workers=2) == (3, 4)
    for name in ("scores.csv.gz", "courses.json.gz"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    for run in ("a", "b"):
        assert not (folder / run / "evaluations").exists(), "the runs themselves are left alone"
    results = read_results(out)
    assert results.document["missing"] == ["nowhere"]
    assert results.document["suites"]["suite.yaml"]["conditions"] == {
        "noise": "network", "blind": "surroundings", "late": "network",
    }  # fmt: skip
    assert [(c.host, c.arm) for c in results.of("poles", condition="noise")] == [
        ("a", "none"), ("a", "sleep"), ("b", "none"), ("b", "sleep"), ("b", "linear"),
    ]  # fmt: skip
    for cell in results.of("poles", "sleep", condition="blind"):
        assert not results.pairs([cell])[0][1].any()
    clean = results.of("poles", "none", condition="clean")
    assert all(cell.value.mean() == pytest.approx(1.0) for cell in clean)


def test_a_study_grows(folder: Path, make_run: Callable[..., Run], tmp_path: Path) -> None:
    """From its tables alone: hosts, arms and entries are added, what is known stays, also of hosts that are gone."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert run_small(folder, out) == (3, 4)
    shutil.rmtree(out / "hosts")
    assert run_small(folder, out) == (0, 4)
    (folder / "a").rename(folder / "c")
    more = "  - {name: new, suite: suite.yaml, arms: [none, bdett], hosts: [b]}\n"
    (folder / "study.yaml").write_text(
        STUDY.replace("groups:\n", "groups:\n" + more).replace("[a, b]}", "[a, c, b], optional: true}")
    )
    shutil.rmtree(out / "hosts")
    assert run_small(folder, out) == (2, 6)
    (folder / "a").symlink_to("c")
    assert run_small(folder, whole) == (5, 6)
    for name in ("scores.csv.gz", "courses.json.gz"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    shutil.rmtree(out / "hosts")
    shutil.rmtree(folder / "b")
    make_run("InvertedPendulum-v5", name="b", seed=1).path.rename(folder / "b")
    assert run_small(folder, out) == (3, 6), "another policy is evaluated anew"


def test_the_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (evaluation, recorders, rollout):
        monkeypatch.setattr(module, "TRACE_EVERY", 1)  # these poles fall soon
    out, again = tmp_path / "out", tmp_path / "again"
    listed = last(call("study", folder / "study.yaml", "--out", out, "--dry-run", "--json", capsys=capsys)[0])
    assert (listed["hosts"], listed["missing"], listed["left_out"]) == (4, 4, ["nowhere"])
    assert not out.exists()
    result = last(
        call("study", folder / "study.yaml", "--out", out, "--workers", 1, "--json", "--no-progress", capsys=capsys)[0]
    )
    assert (result["evaluated"], result["hosts"]) == (3, 4)
    page = (out / "results.md").read_text()
    for text in (
        "## Hosts",
        "### poles",
        "## Harm",
        "## Damage in mid-episode",
        "development",
        "nowhere",
        "### Noise alone",
        "a, b are one policy, whose episodes count more than once.",
        "| sleep minus linear ",
        "| Sleep mends noise | at least +5 ",
        "| **no** |",
    ):
        assert text in page, text
    for picture in ("arms.png", "conditions.png", "profiles.png", "recovery.png"):
        assert (out / picture).stat().st_size > 5_000
        assert f"({picture})" in page
    call("study", out, "--out", again, capsys=capsys)
    assert (again / "results.md").read_text() == page
    assert not (again / "hosts").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("episodes: 3", "episods: 3", "line 4: .*did you mean 'episodes'"),
        ("arms: [none, linear]", "arms: [linear]", "expected one suite, .* first arm"),
        ("hosts: [b]", "hosts: []", "at least one host"),
        ("hosts: [a, b]", "hosts: [a, c]", "host 'c' of group 'poles'"),
        ("hosts: [a, b]", "hosts: [a, a]", "got 'a' twice"),
        ("hosts: [b]}", "hosts: [b], episodes: 4}", "expected one suite, env, routes, role, episodes, first arm"),
        ("role: development", "role: dev", "'test' or 'development'"),
        ("optional: true", "optinal: true", "did you mean 'optional'"),
        ("arms: [none], hosts: [a", "arms: [none, slep], hosts: [a", "did you mean 'sleep'"),
        ("[[sleep, linear]]", "[[sleep, linaer]]", "got 'linaer'"),
        ("group: poles,", "group: pols,", "expected one of the groups poles, more, got 'pols'"),
        ("conditions: [noise]}", "conditions: [noize]}", "did you mean 'noise'"),
        ("conditions: [noise], gained", "conditions: [noize], gained", "condition of claim 'Sleep mends noise'"),
        ("gained: 5.0", "gained: 5.0, kept: 0.2", "expected one of min_retention, .*; got min_retention, min_gain"),
        (", gained: 5.0", "", "line 8: .*expected one of min_retention, .*; got none"),
        ("gained: 5.0", "kept: 0.5, surely: true", "require_significance: expected with min_gain only"),
        ("gained: 5.0", "max_total: 0", "figure: expected with one of min_mean, max_mean, max_total"),
        ("gained: 5.0", "max_total: 0, figure: opening", "expected a column of scores.csv, .*; got 'opening'"),
        ("gained: 5.0", "min_share_of_gain: 0.5", "expected versus, the arm whose gain is meant"),
        ("claims:", "twins: [{host: a, arm: sleep, twin: d}]\nclaims:", "expected hosts of the groups, a, b, nowhere"),
        ("claims:", "group_contrasts: [[poles, pols]]\nclaims:", "expected one of the groups poles, more, got 'pols'"),
        (
            "claims:",
            "group_contrasts: [[poles, more]]\nclaims:",
            "expected two groups of as many hosts under one suite",
        ),
        (
            "gained: 5.0",
            "versus_group: more, kept: 0.5",
            "versus_group: expected with min_gain or max_harmed_cells only",
        ),
        ("gained: 5.0", "versus_group: more, gained: 0.5", "expected two groups of as many hosts under one suite"),
        ("arm: sleep, cond", "arm: dwam, cond", "expected arms of its group, none, sleep, linear; got 'dwam'"),
    ],
)
def test_mistakes_are_told(folder: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    (folder / "study.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(UsageError, match=message):
        run_small(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_claims_have_earlier_keys(tmp_path: Path) -> None:
    """Both sets of keys give the same study; a key and its earlier name together are refused, with the line."""
    texts = {}
    for name, claim in {
        "new": "statement: s, under: environment, versus: none, require_significance: true, min_gain: 5.0",
        "old": "say: s, under: surroundings, than: none, surely: true, gained: 5.0",
        "both": "say: s, gained: 5.0, min_gain: 5.0",
        "wrong": "say: s, gained: much",
    }.items():
        texts[name] = tmp_path / f"{name}.yaml"
        texts[name].write_text(STUDY.replace("say: Sleep mends noise,", f"{claim},").replace(", gained: 5.0}", "}"))
    new, old = (read_study(str(texts[name]))[0] for name in ("new", "old"))
    assert new == old
    (stored,) = study_document(new)["claims"]
    assert {"say", "than", "surely", "kept", "gained", "tied", "harmed"} < set(stored)
    assert Claim(**claim_fields(stored)) == new.claims[0]
    with pytest.raises(UsageError, match="line 8: expected min_gain or its earlier name gained, got both"):
        read_study(str(texts["both"]))
    with pytest.raises(UsageError, match=r"line 8: claims\.0\.gained: .*valid number"):
        read_study(str(texts["wrong"]))


def test_two_at_once_are_refused(folder: Path, tmp_path: Path) -> None:
    with carrying._lock(tmp_path / "out"), pytest.raises(UsageError, match="another process"):
        run_small(folder, tmp_path / "out")


def test_shipped_studies_can_be_read() -> None:
    assert {"quick", "robustness"} <= set(study_names())
    for name in study_names():
        study, _ = read_study(name)
        assert study.name == name


def test_what_is_no_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for message in ("expected a study's file, or a folder in which", "expected the results of a study"):
        with pytest.raises(SystemExit) as stopped:
            main(["study", str(tmp_path), "--out", str(tmp_path / "out")])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
        (tmp_path / "study.json").write_text("{}")
    assert not (tmp_path / "out").exists()


def test_results_that_are_called_as_a_study_is_do_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``homeo-rl study quick --out quick`` goes on with the study; ``./quick`` names the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").mkdir()
    bundle.write_json(tmp_path / "quick" / "study.json", {})
    main(["study", "quick", "--out", "other", "--dry-run"])
    assert "to be done" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["study", "./quick", "--out", "other"])
    assert stopped.value.code == 2
    assert "expected the results of a study" in capsys.readouterr().err


def test_tables_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LARGEST", 10_000)
    bundle.write_json(tmp_path / "study.json", {})
    for name in ("courses.json.gz", "scores.csv.gz"):
        (tmp_path / name).write_bytes(gzip.compress(bytes(1_000_000)))
        with pytest.raises(UsageError, match=f"{name} unpacks to more than"):
            read_results(tmp_path)
        (tmp_path / "courses.json.gz").write_bytes(gzip.compress(b'{"courses": []}'))


# Statistics.


def cell(
    value: list[float], *, group: str = "g", host: str = "h", arm: str = "none", condition: str = "x",
    kind: str = "network", figures: dict[str, np.ndarray] | None = None,
) -> Cell:  # fmt: skip
    columns = {name: np.full(len(value), np.nan) for name in numbers()} | (figures or {})
    return Cell(group, "test", host, arm, condition, kind, np.array(value), columns)


def test_means_by_hand() -> None:
    cells = [cell([0.0, 1.0]), cell([1.0, 1.0, 1.0, 0.2], condition="y")]
    assert mean_of(cells).mean == pytest.approx((0.5 + 0.8) / 2)
    assert mean_of(cells, middle=True).mean == pytest.approx((0.2 + 1 + 1 + 1) / 4)
    steady = mean_of([cell([0.3] * 4)])
    assert (steady.mean, steady.low, steady.high) == pytest.approx((0.3, 0.3, 0.3))
    assert profile_of(cells, np.array([0.1, 0.9])).tolist() == [0.75, 0.625]


def test_differences_are_paired() -> None:
    """Draws differ by 100, arms by 1: the interval knows only of the arms."""
    draws = [0.0, 100.0, 200.0, 300.0]
    table = (cell(draws), cell([d + 1.0 for d in draws], arm="good"), cell([0.0, 101.0, 200.0, 299.0], arm="even"))
    results = Results({}, table, ())
    good = results.pairs(results.of("g", "good", kinds=DAMAGED))
    result = difference_of(good)
    assert (result.mean, result.low, result.high) == (1.0, 1.0, 1.0)
    assert chance_of(good) == 1.0
    assert chance_of(results.pairs(results.of("g", "even", kinds=NETWORK))) == 0.5
    assert find_harmed(good) == (0.0, 1.0)
    assert find_harmed(results.pairs(results.of("g", "even"))) == (0.25, -1.0)


def test_what_there_was_to_gain() -> None:
    """Two hosts, clean at 1 and .8; networks lose .5, .2 and, made better by the damage, -.1; sensors are left."""
    clean = {"condition": "clean", "kind": ""}
    table = (
        cell([1.0, 1.0], **clean), cell([0.4, 0.6]), cell([0.7, 0.9], condition="y"),
        cell([0.0, 0.0], kind="surroundings"), cell([0.8, 0.8], host="i", **clean),
        cell([0.9, 0.9], host="i"), cell([1.0, 1.0], arm="good"),
    )  # fmt: skip
    assert possible_gain(Results({}, table, ()), "g") == pytest.approx((0.5 + 0.2 - 0.1) / 4)
    assert np.isnan(possible_gain(Results({}, table[1:2], ()), "g")), "nothing tells what is whole"


def test_the_first_arm_is_the_reference() -> None:
    table = (cell([1.0, 2.0], arm="bdett"), cell([0.5, 0.5]), cell([1.5, 2.0], arm="bdett+dwam"))
    results = Results({}, table, ())
    assert results.reference("g") == "bdett"
    assert difference_of(results.pairs(results.of("g", "bdett+dwam"))).mean == pytest.approx(0.25)
    assert difference_of(results.pairs(results.of("g", "none"))).mean == pytest.approx(-1.0)


def test_arms_that_are_drawn() -> None:
    """``bdett+dwam`` looks like dwam; a group without a common arm is drawn all the same."""
    assert colour_of("bdett:scope=decision+dwam+sleep") == colour_of("dwam+sleep") != colour_of("dwam")
    assert colour_of("bdett") == colour_of("linear-rehearsed") == "0.6"
    assert choose_arms(["none", "bdett", "dwam"], ["dwam", "none"]) == ["dwam", "none"]
    assert choose_arms(["bdett", "bdett+dwam", "more"], ["dwam", "none"]) == ["bdett", "bdett+dwam"]
    arms = ["none", "oracle", "more", "observer", "dwam+sleep+observer"]
    assert choose_arms(arms, ["dwam", "none"]) == ["none", "observer", "dwam+sleep+observer", "oracle"]
    colours = [colour_of(arm) for arm in (*arms, "dwam", "sleep", "dwam+sleep", "kalman")]
    assert len(set(colours)) == len(colours)


def judge_claims(table: tuple[Cell, ...], **asked: Any) -> list[tuple[Any, str, bool]]:
    entry = {"say": "so", "group": "g", "arm": "good", **asked}
    results = Results({"study": {"claims": [entry]}}, table, ())
    return [
        (value if isinstance(value := v.value, int) else round(value.mean, 9), v.where, v.holds) for v in judge(results)
    ]


def test_claims_are_judged() -> None:
    """On host h the arm gains .5, on i it gains .1 on the mean, and loses .3 in half of the episodes."""
    none, twenty, clean = [0.5] * 20, [0.0, 1.0] * 10, {"condition": "clean", "kind": ""}
    table = (
        cell(none), cell([1.0] * 20, arm="good"), cell(twenty, arm="other"),
        cell(none, host="i"), cell([0.2, 1.0] * 10, host="i", arm="good"), cell([0.0] * 20, host="i", arm="bad"),
        cell([0.4] * 20, host="i", arm="good", **clean), cell(none, host="i", **clean),
    )  # fmt: skip
    assert judge_claims(table, kept=0.8) == [(0.8, "", True)]
    assert judge_claims(table, kept=0.81) == [(0.8, "", False)]
    assert judge_claims(table, gained=0.29) == [(0.3, "", True)]
    assert judge_claims(table, gained=0.29, surely=True) == [(0.3, "", False)], "the interval reaches below"
    assert judge_claims(table, gained=0.0, surely=True) == [(0.3, "", True)]
    assert judge_claims(table, tied=0.0) == [(0.1, "i", True)]
    assert judge_claims(table, tied=0.4) == [(0.1, "i", False)]
    assert judge_claims(table, gained=0.5, than="other") == [(0.5, "", True)], "hosts that both were tried on"
    assert judge_claims(table, gained=-0.01, under="clean") == [(-0.1, "", False)]
    assert judge_claims(table, harmed=0) == [(1, "i clean", False)]
    assert judge_claims(table, harmed=1) == [(1, "i clean", True)]
    assert judge_claims(table, arm="bad", harmed=0) == [(1, "i x", False)]
    assert judge_claims(table, conditions=("y",), gained=0.0) == [], "nothing was evaluated yet"


def test_claims_on_shares_changes_and_columns() -> None:
    """The oracle gains .4 and .2 where damage costs .6 and .3, and .01 in z; the arm gains .3 and .1."""
    found, late = {"detected": np.array([1.0, 1.0, 1.0, np.nan])}, {"detected": np.array([0.0, 1.0, 0.0, 0.0])}
    clean = {"condition": "clean", "kind": ""}

    def row(condition: str, none: float, oracle: float, good: float, **figures: Any) -> tuple[Cell, ...]:
        values = (none, {}), (oracle, {"arm": "oracle"}), (good, {"arm": "good", "figures": figures})
        return tuple(cell([value] * 4, condition=condition, **fields) for value, fields in values)

    table = (
        cell([1.0] * 4, **clean), cell([1.0, 1.0, 1.0, 0.9], arm="good", **clean),
        *row("x", 0.4, 0.8, 0.7, **found), *row("y", 0.7, 0.9, 0.8, **late), *row("z", 0.95, 0.96, 0.95, **late),
    )  # fmt: skip
    share = {"versus": "oracle", "min_other_gain": 0.05}
    assert judge_claims(table, min_share_of_gain=0.6, **share) == [(round(0.4 / 0.6, 9), "", True)]
    assert judge_claims(table, min_share_of_gain=0.7, **share) == [(round(0.4 / 0.6, 9), "", False)]
    assert judge_claims(table, min_share_of_gain=0.6, versus="oracle") == [(round(0.4 / 0.61, 9), "", True)]
    assert judge_claims(table, min_gain=-0.2, **share) == [(-0.1, "", True)], "what it lacks of the oracle"
    assert judge_claims(table, max_changed_episodes=0, under="clean") == [(1, "h clean", False)]
    assert judge_claims(table, max_changed_episodes=1, under="clean") == [(1, "h clean", True)]
    assert judge_claims(table, max_changed_episodes=0, conditions=("z",)) == [(0, "", True)]
    assert judge_claims(table, figure="detected", min_mean=0.9) == [(round(5 / 11, 9), "", False)]
    assert judge_claims(table, figure="detected", min_mean=0.5, min_loss=0.1) == [(round(4 / 7, 9), "", True)]
    assert judge_claims(table, figure="detected", max_mean=0.5, min_loss=0.1) == [(round(4 / 7, 9), "", False)]
    assert judge_claims(table, figure="detected", max_total=3, conditions=("x",)) == [(3, "h x", True)]
    assert judge_claims(table, arm="oracle", figure="detected", min_mean=0.5) == [], "nothing was recorded"


def test_shares_of_gain_are_resampled_together() -> None:
    """Where an arm gains half of the oracle's gain in every episode, the interval is a point."""
    gains = np.array([0.1, 0.9, 0.4, 0.6])
    table = (cell([0.0] * 4), cell(list(gains), arm="oracle"), cell(list(gains / 2), arm="good"))
    results = Results({}, table, ())
    share = share_of_gain(results.pairs(results.of("g", "good")), results, "oracle")
    assert share is not None
    assert (share.mean, share.low, share.high) == pytest.approx((0.5, 0.5, 0.5))
    assert share_of_gain([], results, "oracle") is None
    assert share_of_gain(results.pairs(results.of("g", "good")), results, "none") is None, "it gains nothing"


def test_twins_by_hand(tmp_path: Path) -> None:
    """Returns are shares of the first policy's clean return of 200, whatever the twin's own is."""

    def episodes(group: str, host: str, arm: str, condition: str, *returns: float) -> Cell:
        kind = "" if condition == "clean" else "surroundings"
        figures = {"return": np.array(returns)}
        return cell(list(returns), group=group, host=host, arm=arm, condition=condition, kind=kind, figures=figures)

    table = (
        episodes("g", "h", "none", "clean", 200.0, 200.0), episodes("g", "h", "none", "x", 40.0, 60.0),
        episodes("g", "h", "observer", "clean", 200.0, 200.0), episodes("g", "h", "observer", "x", 150.0, 170.0),
        episodes("g", "h", "observer", "y", 0.0, 0.0),
        episodes("t", "twin", "none", "clean", 150.0, 150.0), episodes("t", "twin", "none", "x", 120.0, 140.0),
    )  # fmt: skip
    groups = [{"name": name, "suite": "s", "arms": ["none"], "hosts": ["h"]} for name in ("g", "t", "u")]
    pairs = [{"host": "h", "arm": "observer", "twin": name} for name in ("twin", "missing")]
    (comparison,) = compare_twins(Results({"study": {"groups": groups, "twins": pairs}}, table, ()))
    assert (comparison.conditions, comparison.clean, comparison.frozen) == (1, 0.75, 0.25)
    assert (comparison.repaired.mean, comparison.trained.mean) == pytest.approx((0.8, 0.65))
    difference = comparison.difference
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.15, 0.15, 0.15))


def test_groups_in_pairs_by_hand(tmp_path: Path) -> None:
    """Hosts stand in pairs by their places; retention is of each one's own clean return, returns of the first's."""
    shares = {"a": (1.0, 0.5, 0.8), "b": (1.0, 0.3, 0.4), "c": (1.0, 0.25, 0.8), "d": (1.0, 0.35, 0.1)}
    skill = {"a": 200.0, "b": 100.0, "c": 400.0, "d": 50.0}
    table = [
        cell(
            [share] * 20, group="spiking" if host in "ab" else "plain", host=host, condition=label, kind=kind,
            figures={"return": np.full(20, share * skill[host]), "energy": np.full(20, 1e-9 * skill[host])},
        )
        for host, kept in shares.items()
        for (label, kind), share in zip((("clean", ""), ("x", "network"), ("y", "surroundings")), kept, strict=True)
    ]  # fmt: skip
    groups = [
        {"name": "spiking", "suite": "s", "arms": ["none"], "hosts": ["runs/a", "b"]},
        {"name": "plain", "suite": "s", "arms": ["none"], "hosts": ["c", "d", "missing"]},
    ]
    claims = [
        {"say": "s", "group": "spiking", "arm": "none", "under": under, "versus_group": "plain", **criterion}
        for under, criterion in (("network", {"gained": 0.2}), ("damaged", {"gained": 0.1}), ("damaged", {"harmed": 0}))
    ]
    results = Results({"study": {"groups": groups, "claims": claims}}, tuple(table), ())
    contrasts = contrast_groups(results, "spiking", "plain")
    assert [(c.what, c.cells) for c in contrasts] == [
        ("all damage", 4), ("network", 2), ("surroundings", 2), ("x", 2), ("y", 2),
    ]  # fmt: skip
    everything, network, surroundings = contrasts[:3]
    assert network.difference.mean == pytest.approx((0.25 - 0.05) / 2)
    assert surroundings.difference.mean == pytest.approx((0.0 + 0.3) / 2)
    assert (everything.first, everything.second) == pytest.approx((0.5, 0.375))
    assert network.returns.mean == pytest.approx(((100 - 100) / 200 + (30 - 17.5) / 100) / 2)
    assert (everything.better, everything.worse, network.worse) == (2, 1, 1)
    assert mean_energy(results, "spiking") == pytest.approx(150e-9)
    found = [(v.value if isinstance(v.value, int) else v.value.mean, v.holds) for v in judge(results)]
    assert found == [(pytest.approx(0.1), False), (pytest.approx(0.125), True), (1, False)]
    assert contrast_groups(results, "plain", "nobody") == []


def test_policies_without_spikes_get_the_arms_that_fit(make_run: Callable[..., Run], tmp_path: Path) -> None:
    make_run("InvertedPendulum-v5", agent="mlp", name="plain")
    (tmp_path / "suite.yaml").write_text(SUITE)
    group = "{name: g, suite: suite.yaml, arms: [none, dwam, observer, oracle, dwam+oracle], hosts: [plain]}"
    (tmp_path / "study.yaml").write_text(f"name: s\ngroups:\n  - {group}\n")
    study, base = read_study(str(tmp_path / "study.yaml"))
    (task,) = carrying.tasks_of(study, base, tmp_path / "out", scratch=tmp_path)
    assert task.plan.arms == ("none", "observer", "oracle")


def test_tables_of_earlier_versions_can_grow(folder: Path, tmp_path: Path) -> None:
    """Scores that lack the newest columns stay, with empty fields, when others are added."""
    out = tmp_path / "out"
    assert run_small(folder, out) == (3, 4)
    document, rows, courses = tables.read_tables(out)
    tables.write_tables(out, document, [row[:-1] for row in rows], courses)
    shutil.rmtree(out / "hosts")
    more = "  - {name: new, suite: suite.yaml, arms: [none, bdett], hosts: [b]}\n"
    (folder / "study.yaml").write_text(STUDY.replace("groups:\n", "groups:\n" + more))
    assert run_small(folder, out) == (1, 5)
    _, grown, _ = tables.read_tables(out)
    assert grown[0] == rows[0]
    assert {len(row) for row in grown} == {len(rows[0])}
    assert read_results(out).of("new", "bdett")


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, then never less than before: 0.03 x 2, 0.9 x 1."""
    assert holm([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_harm_is_found_and_chance_is_not() -> None:
    """Four pairs that are all worse: one of 16 sign patterns. Twenty: beyond doubt after correction."""
    none, few = [1.0] * 4, [0.9, 0.8, 0.7, 0.6]
    rng = np.random.default_rng(0)
    many = [cell([1.0] * 20, condition=f"c{i}") for i in range(10)]
    even = [cell(list(1.0 + 0.1 * rng.normal(size=20)), arm="even", condition=f"c{i}") for i in range(10)]
    bad = [cell(list(0.9 + 0.1 * rng.normal(size=20)), arm="bad", condition=f"c{i}") for i in range(10)]
    results = Results({}, (cell(none), cell(few, arm="few"), *many, *even, *bad), ())
    assert harms_of(results.pairs(results.of("g", "few")))[0].p == pytest.approx(1 / 16)
    assert all(harm.corrected > 0.05 for harm in harms_of(results.pairs(results.of("g", "even"))))
    assert sum(harm.corrected < 0.05 for harm in harms_of(results.pairs(results.of("g", "bad")))) >= 8
    same = harms_of([(cell([1.0]), np.zeros(1))])[0]
    assert (same.p, same.corrected) == (1.0, 1.0)


def test_recovery_by_hand() -> None:
    """Damage at 4, a figure in 2 decisions: 1 1 | 0 .5 1 1 against 1 everywhere; in the second host half of it fell."""

    def course(arm: str, label: str, onset: int, rewards: list[float], alive: list[int], host: str) -> dict[str, Any]:
        trace = [{"reward": [r], "episodes": [float(n)]} for r, n in zip(rewards, alive, strict=True)]
        named = {"entry": 0, "host": host, "episodes": 2, "arm": arm, "condition": label, "onset": onset, "every": 2}
        return {**named, "trace": trace}

    group = {"name": "g", "hosts": ["h", "k"], "suite": "s", "arms": ["none", "fix"]}
    whole = [2] * 6
    courses = (
        course("none", "clean", 0, [1.0] * 6, whole, "h"), course("none", "clean", 0, [10.0] * 6, whole, "k"),
        course("fix", "late", 4, [1.0, 1.0, 0.0, 0.5, 1.0, 1.0], whole, "h"),
        course("fix", "late", 4, [10.0, 10.0, 0.0, 10.0, 10.0], [2, 2, 2, 1, 1], "k"),
    )  # fmt: skip
    result = recoveries_of(Results({"study": {"groups": [group]}}, (), courses))
    assert [(r.arm, r.condition, r.onset) for r in result] == [("fix", "late", 4)]
    assert result[0].usual == pytest.approx([1.0] * 6)
    assert result[0].course == pytest.approx([1.0, 1.0, 0.0, 0.5, 0.75, 0.5])
    assert result[0].regained == pytest.approx(0.5)
    assert result[0].lost == pytest.approx(1.0 - 1.75 / 4)
    assert result[0].decisions is None
    early = (course("none", "clean", 0, [1.0] * 2, [2] * 2, "h"), course("fix", "late", 4, [1.0] * 2, [2] * 2, "h"))
    assert recoveries_of(Results({"study": {"groups": [group]}}, (), early)) == []


def test_pages_of_equal_results_are_equal(tmp_path: Path) -> None:
    """Of a table written here: groups of success and of retention, one without damage in mid-episode."""
    figures = "firing_rate,rate_deviation,weight_drift,energy,rate_spread"
    lines = [f"entry,host,arm,condition,severity,episode,seed,return,length,success,{figures}"]
    rng = np.random.default_rng(0)
    for entry, host in ((0, "h"), (1, "k")):
        for arm in ("none", "sleep"):
            for condition in ("clean,0.0", "noise,1.0"):
                for episode in range(4):
                    success = str(int(rng.random() < 0.7)) if entry else ""
                    lines.append(
                        f"{entry},{host},{arm},{condition},{episode},0,{10 + rng.normal()},5,{success},0,0,0,0,0"
                    )
    shared = {"suite": "s", "arms": ["none", "sleep"]}
    groups = [{"name": "walkers", "hosts": ["h"], **shared}, {"name": "drivers", "hosts": ["k"], **shared}]
    document = {
        "study": {"name": "t", "description": "", "episodes": 4, "seed": 0, "groups": groups, "subsets": [],
                  "claims": [], "contrasts": []},
        "command": "", "missing": [], "unfinished": [], "envs": {"h": "H", "k": "K"}, "versions": {},
        "suites": {"s": {"conditions": {"noise": "network"}}},
    }  # fmt: skip
    tables.write_tables(tmp_path, document, [line.split(",") for line in lines], [])
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        texts.append(write_page(read_results(tmp_path), tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert "success, 1 host" in texts[0]
    assert "mid-episode" not in texts[0]


@pytest.mark.parametrize("others", [("h",), ()])
@pytest.mark.parametrize("env", ["Pendulum-v1", "S"])
def test_hosts_without_return_have_differences(tmp_path: Path, others: tuple[str, ...], env: str) -> None:
    """Returns are compared as they are and, where the ends of the scale are known, normalised; none is refused."""
    lines = ["entry,host,arm,condition,episode,severity,return,success"]
    for host in ("sinks", *others):
        for cell, value in (("none,clean", 9.0), ("none,noise", 3.0), ("sleep,clean", 9.0), ("sleep,noise", 8.0)):
            total = 100 * value - 1200 if host == "sinks" else value
            lines += [f"0,{host},{cell},{episode},{int('noise' in cell)},{total + episode}," for episode in range(3)]
    write_study(tmp_path, lines, ["sinks", *others], {"h": "H", "sinks": env})
    results = read_results(tmp_path)
    assert {cell.host for cell in results.cells} == set(others)
    page = write_page(results, tmp_path).read_text()
    assert "needs a clean return above 0, and therefore at the end under Returns: sinks." in page
    assert ("| walkers | test | h | H | 10 | 0.400" in page) == bool(others)
    row = "| sleep | 1 | -299.0 [-300.0, -298.0] | -399.0 [-400.0, -398.0] | +500.0 [+500.0, +500.0] |"
    share = 500 / (-151.9 + 1197.2)
    assert (f"{row} +{share:.3f} [+{share:.3f}, +{share:.3f}] |" if env == "Pendulum-v1" else row + "\n") in page
    assert ("no random and best return are known" in page) == (env == "S")


def write_study(folder: Path, lines: list[str], hosts: list[str], envs: dict[str, str]) -> None:
    """Write the tables of a study of one group, whose arms are none and sleep and whose damage is noise."""
    group = {"name": "walkers", "hosts": hosts, "suite": "s", "arms": ["none", "sleep"]}
    document = {
        "study": {"name": "t", "description": "", "episodes": 3, "seed": 0, "groups": [group], "subsets": [],
                  "claims": [], "contrasts": []},
        "command": "", "missing": [], "unfinished": [], "envs": envs, "versions": {},
        "suites": {"s": {"conditions": {"noise": "network"}}},
    }  # fmt: skip
    tables.write_tables(folder, document, [line.split(",") for line in lines], [])


def test_find_untrained_are_flagged(tmp_path: Path) -> None:
    """A pole that falls "keeps" more than everything; the page says that it was never trained."""
    lines = ["entry,host,arm,condition,episode,severity,return,success"]
    for host, clean in (("fallen", 30.0), ("standing", 990.0), ("wavering", 0.0)):
        for arm in ("none", "sleep"):
            for episode in range(3):
                total = 100 + 450 * episode if host == "wavering" else clean + episode
                lines += [
                    f"0,{host},{arm},clean,{episode},0,{total},",
                    f"0,{host},{arm},noise,{episode},1,{3 * total},",
                ]
    write_study(tmp_path, lines, ["fallen", "standing", "wavering"], dict.fromkeys(("fallen", "standing", "wavering"),
                                                                                   "InvertedPendulum-v5"))  # fmt: skip
    flagged = find_untrained(read_results(tmp_path))
    assert set(flagged) == {"fallen", "wavering"}
    assert "0.03 of the way from random to the best known return" in flagged["fallen"]
    assert "wider than the return itself" in flagged["wavering"]
    page = write_page(read_results(tmp_path), tmp_path).read_text()
    assert "Not trained, fallen: the clean return 31 is 0.03 of the way" in page
    assert "standing:" not in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,h,none,clean,2,0,nan,", "line 4, host h: return: expected a finite number, got 'nan'"),
        ("0,h,none,clean,2,0,,", "line 4, host h: return: expected a finite number, got ''"),
        ("0,h,none,clean,2,0,9,inf", "line 4, host h: success: expected a finite number, got 'inf'"),
        ("0,h,none,clean,1,0,9,", "line 4, host h: expected each episode once, got that of line 3 again"),
    ],
)
def test_damaged_episodes_of_a_study_are_named(tmp_path: Path, line: str, message: str) -> None:
    lines = ["entry,host,arm,condition,episode,severity,return,success"]
    lines += [f"0,h,none,clean,{episode},0,9," for episode in range(2)]
    write_study(tmp_path, [*lines, line], ["h"], {"h": "H"})
    with pytest.raises(StorageFault, match=message):
        read_results(tmp_path)


# Hosts that come with the package.

HOSTS = Path(__file__).parents[2] / "benchmarks" / "hosts"


@pytest.mark.parametrize("name", list_pretrained())
def test_hosts_are_small_and_can_be_trained_again(name: str) -> None:
    """Each is less than a megabyte, loads, and (but for the first, which is older) is a cell of a sweep."""
    run = Run.open(FOLDER / name)
    assert sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()) < 1_000_000
    assert load_controller(run).spec.network.inputs > 0
    converted = run.spec.origin == "convert"
    assert run.spec.command.startswith(f"homeo-rl {'convert' if converted else 'train'} ")
    agent = run.spec.agent.removesuffix("-pascal") if converted else run.spec.agent
    if name == "navigation-san":
        return
    for sweep, combinations in (read_sweep(path) for path in sorted(HOSTS.glob("*.yml"))):
        for one in combinations:
            training = one.training
            if (
                (training.algo, training.env, training.agent) == (run.spec.algo, run.spec.env, agent)
                and training.env_kwargs.items() <= run.spec.env_kwargs.items()
                and all(run.spec.hyperparams.get(key) == value for key, value in training.params.items())
                and training.n_timesteps in (None, run.spec.planned)
            ):
                if training.homeostasis_in_training != (run.spec.homeostasis_in_training or "none"):
                    continue
                assert run.spec.seed in sweep.seeds
                return
    raise AssertionError(f"{name}: no sweep in {HOSTS} trains it")


def test_hosts_are_twenty_megabytes_at_most() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 20_000_000
