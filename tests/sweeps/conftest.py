"""Sweeps of cells that take seconds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str]]:
    """Digests that the first cells end with when nobody disturbs them; how slow the world is changes nothing."""
    folder = tmp_path_factory.mktemp("undisturbed")
    cells = plan_of(write_sweep(folder, train={**LONG, "env": "toy_envs:Point-v0"}, grid={}, seeds=12)).cells

    @functools.cache
    def digest_of(place: int) -> str:
        cell = cells[place]
        return train(training_plan(cell.training, seed=cell.seed, out=folder / cell.key)).spec.digest

    return lambda number: {cells[place].title: digest_of(place) for place in range(number)}


@pytest.fixture
def whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Callable[[int], dict[str, str]]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A sweep of three cells that take seconds, and the digests that they end with when nobody disturbs them."""
    code_version.cache_clear()
    make_slow_env(tmp_path, monkeypatch, 0.01)
    grid = write_sweep(tmp_path, train=LONG, grid={}, seeds=3, evaluate={"episodes": 1})
    yield grid, undisturbed(3)
    code_version.cache_clear()
