"""Stable-Baselines3's own tests, from the source of the installed version, with our policies for MlpPolicy."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, HERE, SUITES, own, record
from sb3_known import AGENTS, BUDGETS, CASES, NOT_PASSED
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.envs import IdentityEnvBox, IdentityEnvMultiBinary, IdentityEnvMultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy

from homeo_rl.agents import SpikingActorCriticPolicy


@pytest.mark.parametrize(("agent", "name"), CASES)
def test_file(agent: str, name: str, tmp_path: Path) -> None:
    """What fails is what is listed, and what is listed fails."""
    results = tmp_path / "results.jsonl"
    words = f"-p ours_for_mlp -p no:cacheprovider -q --tb=short tests/test_{name}.py"
    env = own(
        PYTHONPATH=str(HERE), HOMEO_RL_POLICY=json.dumps(AGENTS[agent]), HOMEO_RL_RESULTS=str(results), MPLBACKEND="agg"
    )
    done = subprocess.run(
        [BIN / "pytest", *words.split()],
        cwd=SUITES / "stable_baselines3",
        env=env,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode in (0, 1), done.stdout[-4000:] + done.stderr[-4000:]
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    failed = {line["test"].removeprefix("tests/") for line in lines if line["outcome"] == "failed"}
    record(
        f"sb3-{agent}-{name}",
        tests=len(lines),
        passed=sum(line["outcome"] == "passed" for line in lines),
        skipped=sum(line["outcome"] == "skipped" for line in lines),
        failed=len(failed),
        with_ours=sum(line["built"] > 0 for line in lines),
    )
    assert any(line["built"] for line in lines), "no policy of ours was built: SB3 finds its policies in another way"
    listed = {test for test in NOT_PASSED[agent] if test.startswith(f"test_{name}.py")}
    assert failed - listed == set(), done.stdout[-6000:]
    assert listed - failed == set(), "these pass now: take them off the list in sb3_known.py"


def test_every_slow_one_has_a_budget() -> None:
    """Nothing is called slow without being shown to arrive."""
    assert set(BUDGETS) == {test for test in NOT_PASSED["popsan"] if test.startswith("test_identity.py")}


@pytest.mark.parametrize("test", list(BUDGETS))
def test_with_more_steps(test: str) -> None:
    """The task of the listed test, with its arguments but for what `BUDGETS` says: the reward that it asks for."""
    make = {
        "test_discrete[env1": lambda: IdentityEnvMultiDiscrete(4),
        "test_discrete[env2": lambda: IdentityEnvMultiBinary(4),
        "test_continuous[PPO]": lambda: IdentityEnvBox(eps=0.5),
    }[test.partition("::")[2].partition("-")[0]]
    steps, changes = BUDGETS[test]
    kind = PPO if "PPO" in test else A2C
    arguments: dict[str, Any] = {"n_steps": 256, "n_epochs": 4} if kind is PPO else {}
    if "continuous" in test:
        arguments |= {"learning_rate": 1e-3, "seed": 0}
    else:
        arguments |= {"learning_rate": 2e-3, "seed": 3, "gamma": 0.4}
    model = kind(SpikingActorCriticPolicy, make(), **{**arguments, **changes}).learn(steps)
    reward, _ = evaluate_policy(model, make(), n_eval_episodes=20, warn=False)
    record(f"sb3-budget-{test.partition('::')[2]}", steps=steps, changed=changes or "nothing else", reward=reward)
    assert reward > 90
