"""What the tests share: small environments, small policies, the published policy where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import Controller, save_controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.envs.make import make_env
from homeo_rl.run import Run, versions
from homeo_rl.spec import RunSpec

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

HERE = Path(__file__).parent


def published(*parts: str) -> Path:
    """Return a file of the shared data, which users do not have; skip, saying so, where it is absent."""
    folder = Path(os.environ.get("HOMEO_RL_SHARED", HERE.parent.parent / "shared")) / "data"
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared data not here: {'/'.join(parts)} (set HOMEO_RL_SHARED to the folder that holds data/)")
    return path


@pytest.fixture(scope="session")
def popsan_file() -> Path:
    return published("popsan_halfcheetah", "popsan_td3_halfcheetah.npz")


@pytest.fixture(autouse=True)
def short_practice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations with an observer fit a small model; what the full one is worth, longer checks say."""
    monkeypatch.setattr("homeo_rl.evaluation.observer_memory.STEPS", 1500)
    monkeypatch.setattr("homeo_rl.evaluation.observer_memory.EPOCHS", 1)


@pytest.fixture(autouse=True)
def _test_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every process that a test starts import tests/support/toy_envs.py, as a user's own package would be."""
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(HERE / "support") + (os.pathsep + path if path else ""))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Return a maker of runs whose small policies are random but always the same."""

    def build(
        env_id: str = "toy_envs:Point-v0",
        agent: str = "popsan",
        *,
        name: str = "run",
        seed: int = 0,
        overrides: dict[str, Any] | None = None,
    ) -> Run:
        env = make_env(env_id)
        fields = {"hidden": [12, 10], **(overrides or {})}
        spec = controller_spec(agent, env.observation_space, env.action_space, algo="td3", overrides=fields)
        env.close()
        torch.manual_seed(seed)
        controller = Controller(spec)
        controller.normaliser.update(
            torch.as_tensor(np.random.default_rng(seed).normal(size=(64, spec.network.inputs)))
        )
        run = Run.create(
            tmp_path / name,
            RunSpec(
                origin="import", env=env_id, agent=agent, controller=spec, versions=versions(), modules=("toy_envs",)
            ),
        )
        save_controller(run, controller)
        return run

    return build
