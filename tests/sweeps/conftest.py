"""Sweeps of cells that take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sweep_calls import (
    LONG,
    make_slow_env,
    write_sweep,
)

from homeo_rl.sweeps.cell_job import training_plan
from homeo_rl.sweeps.code_fingerprint import code_version
from homeo_rl.sweeps.sweep import plan_of
from homeo_rl.training.train import train


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests that the cells of `whole` end with when nobody disturbs them; how slow the world is changes nothing."""
    folder, found = tmp_path_factory.mktemp("undisturbed"), {}
    for cell in plan_of(write_sweep(folder, train={**LONG, "env": "toy_envs:Point-v0"}, grid={}, seeds=12)).cells:
        done = train(training_plan(cell.training, seed=cell.seed, out=folder / cell.key))
        found[cell.title] = done.spec.digest
    return found


@pytest.fixture
def whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, str]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A sweep of three cells that take seconds, and the digests that they end with when nobody disturbs them."""
    code_version.cache_clear()
    make_slow_env(tmp_path, monkeypatch, 0.01)
    grid = write_sweep(tmp_path, train=LONG, grid={}, seeds=3, evaluate={"episodes": 1})
    yield grid, {f"seed={seed}": undisturbed[f"seed={seed}"] for seed in range(3)}
    code_version.cache_clear()
