"""One colour an arm in every picture, and other colours for how a drive ended."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from homeo_rl.report import page
from homeo_rl.report.colours import ARMS, COLOURS, OUTCOMES, colour_indices, colours
from homeo_rl.studies.pictures import colour_of

STYLE = (Path(page.__file__).parent / "templates" / "style.css.j2").read_text()


def lab(colour: str) -> np.ndarray:
    """Return the CIELAB coordinates of ``#rrggbb``."""
    parts = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = matrix @ linear / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_an_arm_has_one_colour_whatever_it_is_drawn_with() -> None:
    assert colours(["none", "sleep"])["sleep"] == colours(["none", "dwam", "linear", "sleep"])["sleep"]
    assert colours(["sleep"])["sleep"] == colour_of("sleep")
    for arm in ("none", "dwam", "sleep", "dwam+sleep", "dwam-paper", "linear"):
        assert colours([arm])[arm] == colour_of(arm)


def test_arms_with_parameters_and_unknown_ones_have_places_of_their_own() -> None:
    assert colour_indices(["none", "dwam-paper:eta=1e-5"])["dwam-paper:eta=1e-5"] == ARMS.index("dwam-paper")
    many = ["none", "dwam", "dwam:eta=1", "mine", "mine:x=1", "sleep"]
    assert len(set(colour_indices(many).values())) == len(many)
    crowd = colour_indices([f"arm{k}" for k in range(20)])
    assert len(crowd) == 20
    assert 0 not in crowd.values(), "grey is the frozen policy's"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_outcomes_look_like_no_arm(theme: str) -> None:
    block = STYLE[STYLE.index(f"macro {theme}()") :].partition("endmacro")[0]
    palette = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6})", block))
    arms = [palette[f"c{k}"] for k in range(len(COLOURS))]
    for outcome, arm in product(OUTCOMES, arms):
        assert np.linalg.norm(lab(palette[outcome]) - lab(arm)) > 20, (outcome, arm)
    for outcome, arm in product(OUTCOMES.values(), COLOURS):
        assert np.linalg.norm(lab(outcome) - lab(arm)) > 20, (outcome, arm)
