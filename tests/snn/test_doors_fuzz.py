"""Random calls of the doors into compiled code: each is an error or the right answer, and nothing else is touched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hostile import Caller
from hypothesis import given, settings

CALLER = Caller(np.random.default_rng(0))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_calls_in_any_order(seed: int) -> None:
    CALLER.rng = np.random.default_rng(seed)
    CALLER.new_session()
    for _ in range(60):
        CALLER.call()


@pytest.mark.long
def test_a_million_hostile_calls(capsys: pytest.CaptureFixture[str]) -> None:
    since, caller = time.monotonic(), Caller(np.random.default_rng(1))
    while caller.counts["refused"] + caller.counts["answered"] < 1_000_000:
        caller.call()
    with capsys.disabled():
        print(f"\n{caller.counts} in {time.monotonic() - since:.0f} s")
    assert min(caller.counts["refused"], caller.counts["answered"]) > 200_000
    assert caller.counts["compared"] > 1_000


@pytest.mark.long
def test_kernels_stay_inside_their_arrays() -> None:
    """Compiled with bounds checks, which raise IndexError: the reference tests and the hostile calls on a subset."""
    folder = Path(__file__).parent
    tests = [
        f"{folder}/test_kernels.py::test_decisions_equal_the_reference", f"{folder}/test_kernels.py::test_any_shape",
        f"{folder}/test_second_derivatives.py::test_a_scan_has_the_second_derivatives_of_the_reference",
        f"{folder}/test_doors_fuzz.py::test_any_calls_in_any_order",
    ]  # fmt: skip
    chosen = "any or population-regular-0 or bernoulli-3 or current-1 or True-0 or 5-True"
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": os.devnull + "/none"}
    command = [sys.executable, "-m", "pytest", *tests, "-q", "-k", chosen, "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
