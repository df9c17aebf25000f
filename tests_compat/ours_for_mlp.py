"""A pytest plugin for the tests of others: ``MlpPolicy`` is a policy of ours, and every result is written down.

    HOMEO_RL_POLICY='{"agent": "mlp"}' HOMEO_RL_RESULTS=results.jsonl pytest -p ours_for_mlp tests

Each line of the results is a test: its id, how it ended, and how many policies of ours were built while it ran.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3

from homeo_rl.agents import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy

POLICIES = {
    PPO: SpikingActorCriticPolicy, A2C: SpikingActorCriticPolicy,
    SAC: SpikingSACPolicy, TD3: SpikingTD3Policy, DDPG: SpikingTD3Policy,
}  # fmt: skip

DEFAULTS: dict[str, Any] = json.loads(os.environ["HOMEO_RL_POLICY"])
RESULTS = Path(os.environ["HOMEO_RL_RESULTS"])

built: list[str] = []
ended: dict[str, str] = {}


def _counted(kind: type) -> None:
    own = kind.__init__

    @wraps(own)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        built.append(kind.__name__)
        own(self, *args, **{**DEFAULTS, **kwargs})

    kind.__init__ = init  # type: ignore[misc]  # counting is all it adds


for kind in set(POLICIES.values()):
    _counted(kind)
for algorithm, policy in POLICIES.items():
    algorithm.policy_aliases = {**algorithm.policy_aliases, "MlpPolicy": policy}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how a test ended; a fault in its setting up or tearing down is one of the test."""
    if report.when == "call" or report.outcome != "passed":
        ended[report.nodeid] = report.outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Write a line about a test."""
    built.clear()
    result = yield
    line = {"test": item.nodeid, "outcome": ended[item.nodeid], "built": len(built)}
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return result
