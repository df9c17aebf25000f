"""Hyper-parameters are checked against what Stable-Baselines3 takes, without importing it."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from homeo_rl.training.algorithms import CLASSES
from homeo_rl.training.hyperparams import ALGORITHMS, arguments, resolve


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_arguments_are_those_of_the_installed_version(algo: str) -> None:
    own = list(inspect.signature(CLASSES[algo][0].__init__).parameters)
    assert list(arguments(algo)) == own
    kinds = {name: getattr(p.annotation, "__name__", "") for name, p in
             inspect.signature(CLASSES[algo][0].__init__).parameters.items()}  # fmt: skip
    for name, text in arguments(algo).items():
        if text in ("int", "float", "bool"):
            assert kinds[name] == text


def test_every_algorithm_has_a_class() -> None:
    assert tuple(CLASSES) == ALGORITHMS
    assert all(resolve(algo, {}) for algo in ALGORITHMS)


def test_plans_are_checked_without_torch() -> None:
    code = (
        "import sys; from homeo_rl.training.plan import TrainingPlan, prepare\n"
        "prepare(TrainingPlan(algo='ppo', env='InvertedPendulum-v5'))\n"
        "from homeo_rl.evaluation.plan import Plan; from homeo_rl.degradations import load_suite\n"
        "Plan(suite=load_suite('quick'), arms=('none',), episodes=1, seed=0)\n"
        "assert not {'torch', 'stable_baselines3', 'numba'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
