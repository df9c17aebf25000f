"""Colours of all pictures: one for each arm wherever it is drawn, and others for outcomes of navigation episodes."""

from collections.abc import Sequence

COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
"""Wong's colour-blind-safe palette; the page has the same order (``c0`` to ``c7``)."""

ARMS = ("none", "dwam", "sleep", "dwam+sleep", "dwam-paper", "linear", "linear-rehearsed", "bdett")
"""The arms that `COLOURS` belong to, in this order."""

OUTCOMES = {"success": "#0d1822", "collision": "#c2183b", "overtime": "#7a5230"}
"""Colours of the outcomes of a navigation episode. None of these is the colour of an arm."""


def outcome_name(outcome: str) -> str:
    """Return what pictures call an outcome of scores.csv."""
    return "timeout" if outcome == "overtime" else outcome


def colour_indices(arms: Sequence[str]) -> dict[str, int]:
    """Return the index in `COLOURS` of every arm.

    Arms of the table keep their index; one with parameters (``dwam-paper:eta=1e-5``) has that of its name. Others, and
    those whose index another arm of the list has, get the remaining indices, and share them where none remains.
    """
    names = list(dict.fromkeys(arms))
    indices = {arm: ARMS.index(arm) for arm in names if arm in ARMS}
    for arm in names:
        name = arm.partition(":")[0]
        if name in ARMS and ARMS.index(name) not in indices.values():
            indices.setdefault(arm, ARMS.index(name))
    others = list(range(1, len(COLOURS)))
    free = [index for index in others if index not in indices.values()] or others
    rest = [arm for arm in names if arm not in indices]
    return indices | {arm: free[k % len(free)] for k, arm in enumerate(rest)}


def colours(arms: Sequence[str]) -> dict[str, str]:
    """Return the colour of every arm."""
    return {arm: COLOURS[index] for arm, index in colour_indices(arms).items()}
