"""Plain sentences on what a comparison showed, and numbers as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.page.charts.axes import MINUS
from homeo_rl.report.statistics import Difference
from homeo_rl.report.tables import number


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, which is a real minus."""
    text = fixed(abs(value), digits, ",")
    zero = not text.strip("0.,")
    return text if zero else ("+" if value > 0 else MINUS) + text


def amount(difference: Difference, value: float) -> str:
    """Return a difference in its unit: percentage points of a share, or units of return."""
    if difference.what == "return":
        return signed(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2)
    return signed(100 * value)


def unit(what: str) -> str:
    """Return the unit of a difference."""
    return {
        "retention": "points of the clean return",
        "success": "points of success",
        "collision": "points of collisions",
        "return": "of return",
        "normalised": "points of the way from random to the best known return",
    }[what]


def verdict(difference: Difference) -> str:
    """Return "more", "less" or "undecided": on which side of 0 the whole interval lies, if on one."""
    if difference.ci_low > 0:
        return "more"
    return "less" if difference.ci_high < 0 else "undecided"


def sentence(difference: Difference, *, arms: int, episodes: int, runs: int) -> str:
    """Return what a paired difference says, in plain words, with its interval.

    Args:
        difference: of the best arm.
        arms: how many were compared with the reference; among several the best one is lucky, too.
        episodes: pairs in all.
        runs: how many runs they come from.
    """
    what, arm = unit(difference.what), difference.arm
    size = amount(difference, abs(difference.mean)).lstrip("+")
    low, high = amount(difference, difference.ci_low), amount(difference, difference.ci_high)
    between = f"95 % interval {low} to {high}"
    count = len(difference.conditions)
    under = "the damaged condition" if count == 1 else f"{count} damaged conditions"
    base = f"{episodes:,} paired episodes" + (f" of {runs} runs" if runs > 1 else "")
    tail = f" ({between}; {base})."
    if verdict(difference) == "undecided":
        return (
            f"No difference was shown: over {under}, {arm} minus none is {amount(difference, difference.mean)} {what}, "
            f"and the interval contains 0 ({between}; {base})."
        )
    if verdict(difference) == "more":
        verb = {"retention": "kept", "success": "reached", "collision": "had", "return": "earned"}[difference.what]
        lead = f"Over {under}, {arm} {verb} {size} {what} more than none"
    else:
        best = f"the best of {arms}, {arm}," if arms > 1 else arm
        lead = f"No arm did better than none: over {under}, {best} fell {size} {what} below it"
    return lead + tail


def counted(verdicts: Sequence[str]) -> str:
    """Return in how many conditions an arm was better, worse, or neither could be told."""
    better, worse, open_ = (verdicts.count(name) for name in ("more", "less", "undecided"))
    return f"Condition by condition: better in {better}, worse in {worse}, not told apart in {open_}"


def day(seconds: float) -> str:
    """Return the day of a time since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def joules(value: float) -> str:
    """Return an energy with a prefix that suits it."""
    for size, name in ((1e-3, "mJ"), (1e-6, "\u00b5J"), (1e-9, "nJ"), (1e-12, "pJ")):
        if abs(value) >= size:
            return f"{significant(value / size, 3)} {name}"
    return "0 J" if value == 0 else f"{significant(value, 3)} J"


def plain(value: float | None) -> str:
    """Return a number short enough for a table; a dash for none."""
    return "\u2013" if value is None else number(value).replace("-", MINUS)
