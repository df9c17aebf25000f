"""Decimals of figures that do not depend on the processor.

Sums differ in their last bits from one processor to another, because vector units add in another order. Where a figure
lies exactly between two decimals, as shares of few episodes often do, such a bit decides how it is rounded.
"""

import math
from decimal import ROUND_HALF_UP, Decimal

_DIGITS = 12  # significant digits that a sum of a few thousand float64 numbers has on every processor
_ZERO = 1e-13  # below it, a difference of figures around 1 is a rounding error


def stable(value: float) -> Decimal:
    """Return a finite figure without the last digits, which depend on the order of the sum that it comes from."""
    return Decimal(f"{value if abs(value) >= _ZERO else 0.0:.{_DIGITS - 1}e}")


def fixed(value: float, decimals: int, form: str = "") -> str:  # words: keep
    """Return ``value`` with so many ``decimals``, the same on every processor; ties are rounded away from zero.

    Args:
        value: the figure; what is not finite is printed as Python prints it.
        form: what a format specification begins with: ``"+"`` for a sign, ``","`` for separated thousands.
    """
    if not math.isfinite(value):
        return f"{value:{form}.{decimals}f}"
    return f"{stable(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):{form}f}"


def significant(value: float, digits: int, form: str = "") -> str:
    """Return ``value`` with so many significant ``digits``, as Python's ``g`` counts them; the rest as for `fixed`."""
    if math.isfinite(value) and (exact := stable(value)):
        value = float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP))
    return f"{value:{form}.{digits}g}"
