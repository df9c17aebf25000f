"""Sentences on the result of a comparison, and numbers as texts."""

from datetime import UTC, datetime

from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.page.charts.axes import MINUS
from homeo_rl.report.statistics import Difference
from homeo_rl.report.tables import number

UNITS = {
    "retention": "points of the clean return",
    "success": "points of success",
    "collision": "points of collisions",
    "return": "of return",
    "normalised": "points of the way from random to the best known return",
}
"""Units of differences, by measure."""

_VERBS = {"retention": "kept", "success": "reached", "collision": "had", "return": "earned"}


def format_signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign; the minus is the typographic one."""
    text = fixed(abs(value), digits, ",")
    zero = not text.strip("0.,")
    return text if zero else ("+" if value > 0 else MINUS) + text


def format_amount(difference: Difference, value: float) -> str:
    """Return a value in the unit of a difference: percentage points of a share, or units of return."""
    if difference.what == "return":
        return format_signed(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2)
    return format_signed(100 * value)


def format_difference(difference: Difference, unit: str = "") -> str:
    """Return a difference with its unit and its interval."""
    mean, low, high = (
        format_amount(difference, value) for value in (difference.mean, difference.ci_low, difference.ci_high)
    )
    return f"{mean}{unit} [{low}, {high}]"


def verdict(difference: Difference) -> str:
    """Return "more" or "less" where the interval lies on one side of 0, else "undecided"."""
    if difference.ci_low > 0:
        return "more"
    return "less" if difference.ci_high < 0 else "undecided"


def sentence(difference: Difference, *, arms: int, episodes: int, runs: int) -> str:
    """Return the paired difference of the best of ``arms`` arms, and its interval, as a sentence."""
    what, arm = UNITS[difference.what], difference.arm
    size = format_amount(difference, abs(difference.mean)).lstrip("+")
    low, high = format_amount(difference, difference.ci_low), format_amount(difference, difference.ci_high)
    between = f"95 % interval {low} to {high}"
    count = len(difference.conditions)
    under = "the damaged condition" if count == 1 else f"{count} damaged conditions"
    base = f"{episodes:,} paired episodes" + (f" of {runs} runs" if runs > 1 else "")
    tail = f" ({between}; {base})."
    if verdict(difference) == "undecided":
        mean = format_amount(difference, difference.mean)
        return (
            f"No difference was shown: over {under}, {arm} minus none is {mean} {what}, and the interval contains "
            f"0{tail}"
        )
    if verdict(difference) == "more":
        return f"Over {under}, {arm} {_VERBS[difference.what]} {size} {what} more than none{tail}"
    best = f"the best of {arms}, {arm}," if arms > 1 else arm
    return f"No arm did better than none: over {under}, {best} fell {size} {what} below it{tail}"


def day(seconds: float) -> str:
    """Return the day of a time since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def joules(value: float) -> str:
    """Return an energy with an SI prefix."""
    for size, name in ((1e-3, "mJ"), (1e-6, "\u00b5J"), (1e-9, "nJ"), (1e-12, "pJ")):
        if abs(value) >= size:
            return f"{significant(value / size, 3)} {name}"
    return "0 J" if value == 0 else f"{significant(value, 3)} J"


def plain(value: float | None) -> str:
    """Return a number with few digits; a dash for None."""
    return "\u2013" if value is None else number(value).replace("-", MINUS)


def plain_interval(low: float, high: float) -> str:
    """Return an interval with few digits."""
    return f"[{plain(low)}, {plain(high)}]"
