"""Confusion of fault kinds, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from homeo_rl.degradations import DEGRADATIONS
from homeo_rl.observer.confusion import (
    IDENTIFIED,
    TRUE_KINDS,
    Draw,
    condense_diagnosis,
    confuse,
    kind_table,
    name_true_kind,
    sensor_table,
)

SOUND = np.ones(2)


@pytest.mark.parametrize(
    ("alarmed", "latency", "kinds", "gains", "kind"),
    [
        (False, 1, ("noise",), SOUND, "nothing"),
        (True, 1, ("noise",), SOUND, "latency"),
        (True, 0, ("stuck", "noise", "noise"), SOUND, "noise"),
        (True, 0, ("stuck", "noise"), SOUND, "stuck"),
        (True, 0, (), np.array([1.0, 0.6]), "gain"),
        (True, 0, (), np.array([np.nan, 1.1]), "alarm only"),
    ],
)
def test_a_diagnosis_is_one_kind(
    alarmed: bool, latency: int, kinds: tuple[str, ...], gains: np.ndarray, kind: str
) -> None:
    assert condense_diagnosis(alarmed, latency, kinds, gains) == kind


def test_every_true_kind_is_one_that_can_be_identified() -> None:
    assert set(TRUE_KINDS) <= set(DEGRADATIONS)
    assert set(TRUE_KINDS.values()) <= set(IDENTIFIED)
    assert name_true_kind(["obs-stuck"], 0.0) == name_true_kind([], 1.0) == "nothing"
    assert name_true_kind(["obs-dropped", "obs-markov", "weights-zero"], 0.5) == "dropped+weights-zero"


def test_draws_are_counted_and_sensors_compared() -> None:
    draws = [
        Draw("noise", "noise", frozenset({0, 1}), frozenset({1, 2})),
        Draw("noise", "stuck", frozenset({3}), frozenset({3})),
        Draw("latency", "latency"),
        Draw("obs-drift", "nothing", frozenset({0}), frozenset()),
    ]
    noise, latency, drift = rows = confuse(draws)
    assert (noise.counts, noise.draws, noise.right) == ({"noise": 1, "stuck": 1}, 2, 1)
    assert (noise.precision, noise.recall) == (2 / 3, 2 / 3)
    assert (latency.right, latency.broken, latency.recall) == (1, None, None)
    assert (drift.right, drift.precision, drift.recall) == (None, None, 0.0)
    assert kind_table(rows) == (
        ["true", "nothing", "latency", "noise", "stuck", "right"],
        [
            ["noise", "0", "0", "1", "1", "1"],
            ["latency", "0", "1", "0", "0", "1"],
            ["obs-drift", "1", "0", "0", "0", ""],
        ],
    )
    assert sensor_table(rows)[1] == [
        ["noise", "3", "3", "2", "0.67", "0.67"],
        ["obs-drift", "1", "0", "0", "", "0.00"],
    ]
