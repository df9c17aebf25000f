"""What decisions cost, counted again neuron by neuron."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.session import Session
from homeo_rl.envs.make import make_env
from homeo_rl.numerics.energy import ACCUMULATE, MULTIPLY_ACCUMULATE, joules

CASES = {
    "popsan": ("popsan", {}),
    "san": ("san", {"hidden": [12, 11, 10]}),
    "anytime": ("anytime", {}),
    "mlp": ("mlp", {}),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_of_a_decision(name: str) -> None:
    agent, fields = CASES[name]
    env = make_env("toy_envs:Point-v0")
    torch.manual_seed(3)
    spec = controller_spec(agent, env.observation_space, env.action_space, overrides={"hidden": [12, 10], **fields})
    controller = Controller(spec)
    session = Session(controller, 3)
    for slot in range(3):
        session.begin(slot, np.random.default_rng(slot))
    network = spec.network
    seen = np.random.default_rng(0).normal(size=(3, network.inputs)).astype(np.float32) * 10.0
    seen[1, 0] = 0.0
    session.act(seen)
    found = session.operations()
    widths = network.widths
    if agent == "mlp":
        products = sum(i * o for i, o in pairwise(widths))
        assert (found == [0.0, 0.0, products]).all()
        return
    rates = [rate.double().numpy() for rate in session.state.rates]
    for slot in range(3):
        counts = [np.round(rate[slot] * network.steps) for rate in rates]
        if network.encoder.kind == "current":
            arriving = (rates[0][slot] != 0).sum()
            spikes = sum(count.sum() for count in counts[1:-1])
            additions = sum(counts[i].sum() * widths[i + 1] for i in range(1, len(widths) - 1))
            assert tuple(found[slot]) == (spikes, additions, arriving * widths[1])
        else:
            spikes = sum(count.sum() for count in counts)
            additions = sum(counts[i].sum() * widths[i + 1] for i in range(len(widths) - 1))
            assert tuple(found[slot]) == (spikes, additions, 0)
        assert found[slot][0] > 0


def test_joules() -> None:
    assert joules(1000.0, 0.0) == pytest.approx(1000 * 0.9e-12)
    assert joules(0.0, 10.0) == pytest.approx(10 * (3.7e-12 + 0.9e-12))
    assert MULTIPLY_ACCUMULATE > ACCUMULATE
