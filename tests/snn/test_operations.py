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
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.numerics.energy import ACCUMULATE, MULTIPLY_ACCUMULATE, joules
from homeo_rl.snn import kernels
from homeo_rl.snn.kernels.counting import add_moments

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


def test_compiled_sums_equal_the_reference() -> None:
    """Operations and moments of rates, of layers that lie in one table as a decision leaves them."""
    torch.manual_seed(5)
    env = make_env("toy_envs:Point-v0")
    spec = controller_spec("popsan", env.observation_space, env.action_space)
    network = Controller(spec).network
    widths, steps = spec.network.widths, spec.network.steps
    table = torch.randint(0, steps + 1, (7, sum(widths))).float() / steps
    rates = torch.split_with_sizes(table, widths, 1)
    with kernels.use("reference"):
        expected = network.operations(rates)
    for part, other in zip(network.operations(rates), expected, strict=True):
        assert torch.equal(part, other)
    first, second = np.ones((7, table.shape[1])), np.zeros((7, table.shape[1]))
    start = 0
    for rate in rates:
        add_moments(rate.numpy(), start, first, second)
        start += rate.shape[1]
    for row in range(7):
        moments = RateMoments()
        moments.add([rate[row].numpy() for rate in rates])
        assert np.array_equal(first[row], 1.0 + moments.first)
        assert np.array_equal(second[row], moments.second)
    with pytest.raises(ValueError, match="expected sums"):
        add_moments(rates[0].numpy(), table.shape[1], first, second)
