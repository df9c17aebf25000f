"""Decimals do not depend on the order in which a processor adds."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.tables import number

ROOT = Path(__file__).parents[2]


@given(st.integers(-4000, 4000), st.sampled_from([40, 50, 60, 400, 1600]), st.integers(-8, 8))
def test_last_bits_of_a_share_do_not_change_its_decimals(count: int, episodes: int, steps: int) -> None:
    share = count / episodes
    other = share
    for _ in range(abs(steps)):
        other = math.nextafter(other, math.copysign(math.inf, steps))
    for decimals in range(5):
        assert fixed(share, decimals, "+") == fixed(other, decimals, "+")


@pytest.mark.parametrize(
    ("value", "decimals", "form", "text"),
    [
        (0.8475, 3, "", "0.848"),
        (-0.8475, 3, "+", "-0.848"),
        (0.925, 2, "", "0.93"),
        (12.5, 0, "", "13"),
        (1234567.5, 0, ",", "1,234,568"),
        (-1e-17, 3, "+", "+0.000"),
        (-0.0001, 3, "+", "-0.000"),
        (math.nan, 2, "", "nan"),
        (math.inf, 2, "+", "+inf"),
    ],
)
def test_ties_are_rounded_away_from_zero(value: float, decimals: int, form: str, text: str) -> None:
    assert fixed(value, decimals, form) == text


@given(st.integers(-4000, 4000), st.sampled_from([40, 50, 60, 400, 1600]), st.integers(-8, 8))
def test_last_bits_do_not_change_significant_digits(count: int, episodes: int, steps: int) -> None:
    share = other = count / episodes
    for _ in range(abs(steps)):
        other = math.nextafter(other, math.copysign(math.inf, steps))
    for digits in range(1, 6):
        assert significant(share, digits) == significant(other, digits)


@pytest.mark.parametrize(
    ("value", "digits", "form", "text"),
    [
        (0.125, 2, "", "0.13"),
        (-2.5, 1, "+", "-3"),
        (1234.5, 4, ",", "1,235"),
        (500.0, 3, "", "500"),
        (9995.0, 3, ",", "1e+04"),
        (0.0, 3, "", "0"),
        (math.nan, 3, "", "nan"),
    ],
)
def test_significant_digits(value: float, digits: int, form: str, text: str) -> None:
    assert significant(value, digits, form) == text


def test_numbers_of_tables_do_not_change_their_form_at_a_bound() -> None:
    assert number(math.nextafter(10.0, 0.0)) == number(10.0) == "10.0"
    assert number(math.nextafter(1000.0, 0.0)) == number(1000.0) == "1,000"


_PAGE = """
import sys
from pathlib import Path
from homeo_rl.studies import page, pictures
from homeo_rl.studies.results import read_results
for name in dir(pictures):
    if name.startswith("draw_"):
        setattr(pictures, name, lambda *arguments: None)
print(page.write_page(read_results(Path(sys.argv[1])), Path(sys.argv[2])).read_text())
"""


def test_a_processor_with_narrow_vectors_prints_the_same_page(tmp_path: Path) -> None:
    """Two variables stand in for an older processor: NumPy without AVX2, OpenBLAS with kernels for SSE."""
    study = ROOT / "docs" / "results" / "ablation"
    older = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4", "OPENBLAS_CORETYPE": "Nehalem"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PAGE, study, tmp_path],
        env={**os.environ, **older},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (study / "results.md").read_text().strip()
