"""The names of mechanisms: what stored results know them by, other words for parameters, and those of version 0.1."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import warnings

import pytest
from project_files import ROOT

import homeo_rl
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import DWAM, MECHANISMS, PaperDWAM, RehearsedDWAM, SleepHomeostat, describe, make_homeostasis

STORED: dict[str, str] = json.loads((ROOT / "tests" / "golden" / "mechanisms.json").read_text())


@pytest.mark.parametrize("arm", STORED)
def test_stored_results_know_mechanisms_by_the_texts_of_version_0_1(arm: str) -> None:
    assert describe(arm) == STORED[arm]


def test_every_mechanism_has_its_text() -> None:
    ours = {name for name, kind in MECHANISMS.items() if kind.__module__.startswith("homeo_rl.")}  # tests add others
    assert ours <= set(STORED)
    assert describe("none") == "None"


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        ("dwam:min_improvement=0.1:max_relative_change=0.3", "dwam:least=0.1:trust=0.3"),
        ("dwam:num_passes=2:candidate_rates=1e-3/1e-4", "dwam:passes=2:rates=1e-3/1e-4"),
        ("sleep:test_interval=5:min_sleep_interval=9", "sleep:every=5:rest=9"),
    ],
)
def test_parameters_have_longer_names(words: str, stored: str) -> None:
    assert describe(words) == describe(stored)
    assert make_homeostasis(words) == make_homeostasis(stored)


def test_longer_names_of_other_mechanisms_are_refused() -> None:
    with pytest.raises(UsageError, match="least"):
        make_homeostasis("bdett:min_improvement=0.1")


def test_dwam_is_the_arm() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert homeo_rl.DWAM() == make_homeostasis("dwam") == homeo_rl.make_homeostasis("dwam")
        assert homeo_rl.PaperDWAM(eta=1e-3) == make_homeostasis("dwam-paper:eta=1e-3")
        tuned = make_homeostasis("dwam:eta=1e-3:trust=0.3")
        assert type(tuned) is RehearsedDWAM is DWAM
        assert dataclasses.replace(tuned, trust=0.5) == DWAM(eta=1e-3, rates=DWAM.rates)
        assert pickle.loads(pickle.dumps(tuned)) == copy.deepcopy(tuned) == tuned
        assert make_homeostasis("dwam+sleep") == SleepHomeostat(awake=DWAM())


def test_dwam_with_explicit_rates_is_the_rule_of_the_paper() -> None:
    with pytest.warns(DeprecationWarning, match="PaperDWAM"):
        plugin = homeo_rl.DWAM(eta=2e-3, zeta=None)
    assert plugin == PaperDWAM(eta=2e-3, zeta=None)
    with pytest.warns(DeprecationWarning, match="PaperDWAM"):
        from homeo_rl.homeostasis.dwam import DWAM as Older
    assert Older is PaperDWAM
