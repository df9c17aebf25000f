"""A run whose policy is exported to C by several tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import Controller, save_controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.envs.make import make_env
from homeo_rl.run import Run, versions
from homeo_rl.spec import RunSpec


@pytest.fixture(scope="session")
def run_for_c(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of a small spiking policy of InvertedPendulum, which moves and has two layers that fire."""
    env = make_env("InvertedPendulum-v5")
    spec = controller_spec(
        "popsan", env.observation_space, env.action_space, algo="td3", overrides={"hidden": [24, 20]}
    )
    env.close()
    torch.manual_seed(0)
    controller = Controller(spec)
    controller.normaliser.update(torch.as_tensor(np.random.default_rng(0).normal(size=(64, spec.network.inputs))))
    with torch.no_grad():
        for layer in controller.network.layers:  # type: ignore[union-attr]  # it is spiking
            layer.weight.mul_(2.0)
    folder: Path = tmp_path_factory.mktemp("run_for_c") / "small"
    run = Run.create(
        folder,
        RunSpec(origin="import", env="InvertedPendulum-v5", agent="popsan", controller=spec, versions=versions()),
    )
    save_controller(run, controller)
    return run
