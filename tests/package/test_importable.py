"""Everything that others import, by the names that they use: written down, so that no move loses one."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from typing import Any

import pytest
from project_files import ROOT

import homeo_rl
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.homeostasis import Homeostasis
from homeo_rl.imports.aliases import MOVED

FRONT_DOOR = """
BDETT Condition Controller ControllerSpec DWAM EnvDegradation GymVecEnv HomeoError Homeostasis LinearHomeostat
NetworkDegradation NetworkSpec Plan Run Session SleepHomeostat SpikingActorCriticPolicy SpikingNetwork SpikingSACPolicy
SpikingTD3Policy Suite TrainingPlan calibration_of evaluate load_controller load_suite make_env save_controller
session_of train
"""

REFERENCE = """
training.plan.TrainingPlan training.train.train evaluation.plan.Plan evaluation.evaluate.evaluate run.Run
spec.NetworkSpec spec.NeuronSpec spec.EncoderSpec spec.ReadoutSpec snn.network.SpikingNetwork snn.neurons
agents.controller.Controller agents.session.Session agents.policies homeostasis.protocol homeostasis.dwam.DWAM
homeostasis.rehearsing homeostasis.control.ControlDWAM homeostasis.linear.LinearHomeostat
homeostasis.dynamic_threshold.BDETT homeostasis.sleep homeostasis.memory.Memory snn.replay evaluation.calibrate
degradations.protocol degradations.observation degradations.action degradations.dynamics degradations.network
degradations.lidar conversion.graph conversion.certificate compiler.build compiler.spike_function errors
"""
"""The Python reference of version 0.1."""

OUTSIDE = """
run agents.controller agents.shipped agents.shipped.copy_pretrained agents.shipped.pretrained_names
agents.shipped.FOLDER conversion degradations.protocol degradations.suites
envs.making envs.making.make_env evaluation.calibrate
evaluation.rollout snn.qcfs snn.accumulation agents.SpikingActorCriticPolicy agents.SpikingSACPolicy
agents.SpikingTD3Policy training.callbacks.NormaliserCallback envs.navigation.coding.SpikeCoded envs.actions.BoundAction
sweeps.sweep.plan_of sweeps.local.LocalExecutor sweeps.on_ray.RayExecutor sweeps.drive.drive cli.main
"""
"""What files of rl-zoo, saved policies, the documentation and other people's programs name."""


def import_name(name: str) -> Any:
    """Import what a dotted name stands for."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise AssertionError(name)


def test_the_front_door_has_its_names() -> None:
    assert set(FRONT_DOOR.split()) <= set(homeo_rl.__all__)
    for name in homeo_rl.__all__:
        assert getattr(homeo_rl, name) is not None


@pytest.mark.filterwarnings("ignore:homeo_rl:DeprecationWarning")
@pytest.mark.parametrize("name", [*REFERENCE.split(), *OUTSIDE.split()])
def test_names_of_the_last_version_are_there(name: str) -> None:
    assert import_name(f"homeo_rl.{name}") is not None


def test_names_in_files_and_pages_are_there() -> None:
    pages = [ROOT / "docs" / "reference" / "python.md", *(ROOT / "homeo_rl" / "training" / "zoo").glob("*.yml")]
    names = {name for page in pages for name in re.findall(r"homeo_rl(?:\.\w+)+", page.read_text())}
    assert len(names) > 30
    assert not names & set(MOVED)
    for name in sorted(names):
        assert import_name(name) is not None


@pytest.mark.parametrize("old", MOVED)
def test_an_older_name_is_the_same_module(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match="is now"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])
    assert module.__name__ == MOVED[old]
    assert module.__spec__ is not None
    assert module.__spec__.name == MOVED[old]


def test_keywords_and_hooks_of_the_last_version_are_there() -> None:
    assert list(inspect.signature(rollout).parameters)[:3] == ["new_session", "new_env", "seeds"]
    with pytest.warns(DeprecationWarning, match="is now carry_over="), pytest.raises(TypeError, match="required"):
        rollout(chained=True)

    class Older(Homeostasis):
        """A mechanism as it was written for version 0.1."""

        def theta(self, state: Any, layer: Any) -> str:
            return "theta"

    assert Older.sliding_threshold(object.__new__(Older), {}, None) == "theta"  # type: ignore[arg-type]
    assert import_name("homeo_rl.homeostasis.protocol.Tick") is import_name("homeo_rl.homeostasis.DecisionRates")
