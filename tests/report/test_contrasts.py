"""Differences of differences, worked by hand, and in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import call, last

from homeo_rl.report.contrasts import Contrast, Estimate, contrast_policies, contrast_rows

RNG = np.random.default_rng(0)

START = RNG.normal(0.0, 30.0, 40)  # what the seed of an episode is worth, to whoever plays it


def compare(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> list[Contrast]:
    return contrast_policies(("a", "b"), "none", "return", (first, second), "clean")


def test_the_control_is_subtracted_seed_by_seed() -> None:
    a = {"clean": np.array([10.0, 20.0]), "cold": np.array([4.0, 10.0]), "hot": np.array([8.0, 18.0])}
    b = {"clean": np.array([5.0, 9.0]), "cold": np.array([5.0, 6.0]), "hot": np.array([5.0, 6.0])}
    cold, hot, both = compare(a, b)
    assert (cold.damaged.mean, cold.control.mean, cold.net.mean) == (1.5, 8.0, -6.5)
    assert (hot.damaged.mean, hot.net.mean) == (7.5, -0.5)
    assert (both.damaged.mean, both.control.mean, both.net.mean) == (4.5, 8.0, -3.5)
    assert both.kept == (20 / 30, 5.5 / 7)
    assert [each.label for each in (cold, hot, both)] == ["cold", "hot", "all 2"]
    # Two seeds: a resample is one of them twice or both, so the ends are the seeds' own figures.
    assert (cold.net.low, cold.net.high) == (-7.0, -6.0)


def test_what_a_seed_is_worth_is_no_uncertainty() -> None:
    """Both play the same seeds: what these differ by cancels, within a policy and between the two."""
    a = {"clean": 300.0 + START, "fault": 200.0 + START}
    b = {"clean": 250.0 + START, "fault": 240.0 + START}
    (contrast,) = compare(a, b)
    for estimate, expected in ((contrast.damaged, -40.0), (contrast.control, 50.0), (contrast.net, -90.0)):
        assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((expected,) * 3)


def test_the_control_turns_the_sign() -> None:
    """A is ahead under damage, only because it was further ahead before: it is the less robust one."""
    noise = RNG.normal(0.0, 5.0, (4, 40))
    a = {"clean": 500.0 + START + noise[0], "fault": 300.0 + START + noise[1]}
    b = {"clean": 200.0 + START + noise[2], "fault": 190.0 + START + noise[3]}
    (contrast,) = compare(a, b)
    assert contrast.damaged.low > 100.0
    assert contrast.net.high < -180.0
    assert contrast.turns
    assert contrast.reading == "under damage a does better, but a loses more: the sign turns"
    assert contrast.net.mean == pytest.approx(contrast.damaged.mean - contrast.control.mean)
    header, ((label, *_),) = contrast_rows([contrast])
    assert header[3] == "net"
    assert label == "fault"


@pytest.mark.parametrize(
    ("damaged", "net", "words"),
    [
        ((1.0, 0.5, 2.0), (1.0, 0.5, 2.0), "under damage a does better, and b loses more"),
        ((1.0, -0.5, 2.0), (-1.0, -2.0, -0.5), "under damage it is open who does better, and a loses more"),
        ((0.0, -1.0, 1.0), (0.0, -1.0, 1.0), "under damage it is open who does better, and who loses more"),
        ((-1.0, -2.0, -0.5), (1.0, -0.5, 2.0), "under damage b does better, and it is open who loses more"),
        ((-1.0, -2.0, -0.5), (1.0, 0.5, 2.0), "under damage b does better, but b loses more: the sign turns"),
    ],
)
def test_words_say_no_more_than_intervals(damaged: Any, net: Any, words: str) -> None:
    estimates = Estimate(*damaged), Estimate(0.0, 0.0, 0.0), Estimate(*net)
    contrast = Contrast("a", "b", "none", "return", ("x",), 9, *estimates, (None, None))
    assert contrast.reading == words


def test_nothing_is_compared_without_a_control_or_a_shared_condition() -> None:
    whole = {"clean": np.ones(3), "fault": np.ones(3)}
    assert compare({"fault": np.ones(3)}, whole) == []
    assert compare({"clean": np.ones(3), "other": np.ones(3)}, whole) == []


def evaluated(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: object) -> None:
    words = ("evaluate", f"own_policies:{name}", "--env", "toy_envs:Point-v0", "--workers", 1, "--out", folder / name)
    call(*words, *(more or ("--episodes", 4)), capsys=capsys)


def test_a_report_compares_two_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("home", "listed"):
        evaluated(name, tmp_path, capsys)
    out, _ = call("report", tmp_path / "home", "--against", tmp_path / "listed", "--json", capsys=capsys)
    (contrast,) = last(out)["contrasts"]
    assert contrast["what"] == "success"
    assert contrast["conditions"] == ["obs-gaussian"]
    page = Path(last(out)["page"]).read_text()
    assert "| condition | under damage | fault off | net | kept |" in page
    evaluated("smooth", tmp_path, capsys, "--episodes", 4, "--seed", 1)
    for other, message in (("smooth", "expected episodes of the same seeds"), ("absent", "run.json")):
        _, err = call("report", tmp_path / "home", "--against", tmp_path / other, code=2, capsys=capsys)
        assert message in err
    words = ("report", tmp_path / "home", "--against", tmp_path / "listed", "--out", tmp_path / "p.html")
    _, err = call(*words, code=2, capsys=capsys)
    assert "leave one of the two out" in err


def test_a_report_finds_the_run_of_a_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, err = call("report", "own_policies:home", code=2, capsys=capsys)
    assert "run homeo-rl evaluate own_policies:home --env ID first" in err
    call("evaluate", "own_policies:home", "--env", "toy_envs:Point-v0", "--episodes", 2, "--workers", 1, capsys=capsys)
    call("report", "own_policies:home", capsys=capsys)
