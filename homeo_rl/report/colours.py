"""Colours of all pictures: one for each arm wherever it is drawn, and others for how a drive ended."""

from __future__ import annotations

from collections.abc import Sequence

COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
"""Wong's palette, which colour-blind readers can tell apart; the page has the same order (``c0`` to ``c7``)."""

ARMS = ("none", "dwam", "sleep", "dwam+sleep", "dwam-paper", "linear", "linear-rehearsed", "bdett")
"""The arms that `COLOURS` belong to, in this order."""

OUTCOMES = {"success": "#0d1822", "collision": "#c2183b", "overtime": "#7a5230"}
"""How a drive can end. None of these is the colour of an arm."""


def places(arms: Sequence[str]) -> dict[str, int]:
    """Return the place in `COLOURS` of every arm.

    Arms of the table keep their place; one with parameters (``dwam-paper:eta=1e-5``) has that of its name. Others, and
    those whose place another arm of the list has, get the places that are left, and share them where none is.
    """
    names = list(dict.fromkeys(arms))
    found = {arm: ARMS.index(arm) for arm in names if arm in ARMS}
    for arm in names:
        name = arm.partition(":")[0]
        if name in ARMS and ARMS.index(name) not in found.values():
            found.setdefault(arm, ARMS.index(name))
    left = [place for place in range(1, len(COLOURS)) if place not in found.values()] or list(range(1, len(COLOURS)))
    others = [arm for arm in names if arm not in found]
    return found | {arm: left[index % len(left)] for index, arm in enumerate(others)}


def colours(arms: Sequence[str]) -> dict[str, str]:
    """Return the colour of every arm."""
    return {arm: COLOURS[place] for arm, place in places(arms).items()}
