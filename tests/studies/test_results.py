"""The published results: pages follow from the scores beside them."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test

from homeo_rl.cli import main
from homeo_rl.storage.pretrained import CARDS, list_pretrained
from homeo_rl.studies.page import PAGE, write_page
from homeo_rl.studies.results import FLIPS, p_of_sign_flips, read_results

DOCS = Path(__file__).parents[2] / "docs"
STUDIES = sorted(path.parent for path in DOCS.glob("results/*/study.json"))
INTERVAL = re.compile(r"[+-]?\d\.\d{3} \[[+-]?\d\.\d{3}, [+-]?\d\.\d{3}\]")


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_pages_follow_from_the_scores(study: Path, tmp_path: Path) -> None:
    page = write_page(read_results(study), tmp_path)
    assert page.read_text() == (study / PAGE).read_text()
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {path.name for path in study.glob("*.png")}
    assert all(f"({name})" in page.read_text() for name in pictures)


def test_cards_follow_from_the_scores(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What `homeo-rl agents` says of every agent is what a study measured of it."""
    monkeypatch.syspath_prepend(DOCS.parent / "tools")
    cards = importlib.import_module("write_cards").cards()
    assert json.loads(CARDS.read_text()) == cards
    assert sorted(cards) == list_pretrained()
    main(["agents", "--json"])
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out.splitlines()[-1])["agents"]}
    ant = listed["popsan-ant-1"]
    assert (ant["return"], ant["damaged"], ant["spike_steps"]) == (5083.2, 0.718, 5)
    assert 500_000 < ant["bytes"] < 1_000_000
    assert listed["mlp-hopper-2"]["spike_steps"] is None
    main(["agents", "popsan-ant-1"])
    shown = capsys.readouterr().out
    assert re.search(r"dead-20 +0\.69", shown)
    assert "retention, 20 episodes each, study robustness" in shown
    with pytest.raises(SystemExit):
        main(["agents", "popsan-at-1"])
    assert "did you mean 'popsan-ant-1'" in capsys.readouterr().err


def test_words_follow_from_the_pages() -> None:
    """Every figure with an interval in the text is one of a study's page."""
    figures = INTERVAL.findall((DOCS / "results.md").read_text())
    pages = "\n".join((study / PAGE).read_text() for study in STUDIES)
    assert len(figures) > 10
    assert [figure for figure in figures if figure not in pages] == []


@pytest.mark.parametrize("episodes", [5, 14, 15, 20, 60])
def test_sign_flips_are_those_of_scipy(episodes: int) -> None:
    """Bit for bit, with ties too; to 14 episodes all signs are tried."""
    draws = np.random.default_rng(episodes)
    for gap in (draws.normal(-0.1, 0.4, episodes), np.round(draws.normal(-0.1, 0.4, episodes) * 4) / 4):
        expected = permutation_test(
            (gap,), lambda x, axis: x.mean(axis), permutation_type="samples", alternative="less",
            n_resamples=FLIPS - 1, vectorized=True, rng=np.random.default_rng(7),
        )  # fmt: skip
        assert p_of_sign_flips(gap, np.random.default_rng(7)) == expected.pvalue
