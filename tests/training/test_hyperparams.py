"""Hyper-parameters are checked against what Stable-Baselines3 takes, without importing it."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.hyperparams import param_names, resolve


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_arguments_are_those_of_the_installed_version(algo: str) -> None:
    kind, policy = ALGORITHMS[algo].classes()
    own = inspect.signature(kind.__init__).parameters
    read = ALGORITHMS[algo].arguments()
    assert list(read) == list(own)
    for name, text in read.items():
        if text in ("int", "float", "bool"):
            assert getattr(own[name].annotation, "__name__", "") == text
    assert policy.__name__.startswith("Spiking")
    assert issubclass(kind, OffPolicyAlgorithm) == ALGORITHMS[algo].off_policy
    assert set(resolve(algo, {})) <= set(param_names(algo))


def test_plans_are_checked_without_torch() -> None:
    code = (
        "import sys; from homeo_rl.training.plan import TrainingPlan, prepare\n"
        "prepare(TrainingPlan(algo='ppo', env='InvertedPendulum-v5'))\n"
        "from homeo_rl.evaluation.plan import Plan; from homeo_rl.degradations import load_suite\n"
        "Plan(suite=load_suite('quick'), arms=('none',), episodes=1, seed=0)\n"
        "assert not {'torch', 'stable_baselines3', 'numba'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
