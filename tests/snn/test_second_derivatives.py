"""Second derivatives: compiled operations hand over to the reference's, which have derivatives of their own."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from networks import ENCODERS, NEURONS, network
from stable_baselines3 import PPO
from torch import Tensor

from homeo_rl.agents.sb3.policies import SpikingActorCriticPolicy
from homeo_rl.snn import kernels, neurons
from homeo_rl.snn.kernels import layer
from homeo_rl.snn.neurons import Membrane
from homeo_rl.spec import EncoderSpec, NeuronSpec, ReadoutSpec

SURROGATES = ["arctan", "sigmoid", "triangle", "rectangle"]


def twice(loss: Tensor, inputs: list[Tensor], seed: int = 0) -> list[Tensor]:
    """Return first derivatives and the product of the second ones with random numbers, 0 where there are none."""
    first = torch.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
    generator = torch.Generator().manual_seed(seed)
    total = loss.new_zeros(())
    for grad in first:
        if grad is not None:
            total = total + (grad * torch.randn(grad.shape, generator=generator, dtype=grad.dtype)).sum()
    second = torch.autograd.grad(total, inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip([*first, *second], inputs * 2, strict=True)]


@pytest.mark.parametrize(
    ("encoder", "neuron", "readout"), list(itertools.product(ENCODERS, range(len(NEURONS)), ["population", "membrane"]))
)
def test_a_network_has_the_second_derivatives_of_the_reference(encoder: str, neuron: int, readout: str) -> None:
    net = network(
        encoder=EncoderSpec(kind=encoder, size=6),  # type: ignore[arg-type]
        neuron=NeuronSpec(**NEURONS[neuron], surrogate=SURROGATES[neuron % 4]),
        readout=ReadoutSpec(kind=readout, size=4), initial="neuron" if neuron % 2 else "rest",  # type: ignore[arg-type]
    )  # fmt: skip
    x = torch.randn(4, 3, dtype=torch.float64)
    noise = torch.rand(4, 5, net.spec.widths[0], dtype=torch.float64) if net.encoder.stochastic else None
    found: dict[str, list[Tensor]] = {}
    for kernel in ("reference", "numba"):
        given = x.clone().requires_grad_()
        with kernels.use(kernel):
            y, _ = net(given, noise=noise)
            found[kernel] = twice(y.square().sum() + y.sin().sum(), [given, *net.parameters()])
    for expected, got in zip(found["reference"], found["numba"], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert any(bool(value.abs().max() > 1e-6) for value in found["numba"][len(found["numba"]) // 2 :])


@pytest.mark.parametrize(("neuron", "fires"), list(itertools.product(range(len(NEURONS)), [True, False])))
def test_a_scan_has_the_second_derivatives_of_the_reference(neuron: int, fires: bool) -> None:
    """With respect to currents, thresholds and the state before, also where one depends on another."""
    model = NeuronSpec(**NEURONS[neuron], surrogate="arctan")
    torch.manual_seed(neuron)
    found: list[list[Tensor]] = []
    numbers = [torch.randn(3, 5, 4, dtype=torch.float64), torch.rand(4, dtype=torch.float64) + 0.3]
    numbers += [torch.rand(3, 4, dtype=torch.float64) for _ in range(2)]
    for compiled in (False, True):
        x, level, u, v = (part.clone().requires_grad_() for part in numbers)
        currents = x * 1.5 + u.unsqueeze(1)  # depends on the state, which is an argument too
        before = Membrane(u, v * u, (v.detach() > 0.5).double())
        if compiled:
            out, after = layer.scan(model, currents * 1, before, threshold=level, fires=fires)
        else:
            out, after = neurons.scan(model, currents * 1, before, threshold=lambda *_, level=level: level, fires=fires)  # type: ignore[misc]
        loss = (out * out.detach().cos()).sum() + out.square().sum() + (after.potential.square() * after.current).sum()
        found.append(twice(loss, [x, level, u, v]))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_currents_that_were_used_up_come_back() -> None:
    """What the potentials took the place of is calculated back to the last digits."""
    for fields, fires in itertools.product(NEURONS, (True, False)):
        model, given = NeuronSpec(**fields), torch.randn(2, 6, 3, dtype=torch.float64)
        before = Membrane(*(torch.rand(2, 3, dtype=torch.float64) for _ in range(2)), torch.ones(2, 3).double())
        used = given.clone()
        out, _ = layer.scan(model, used, before, fires=fires)
        level = torch.full((3,), model.threshold, dtype=torch.float64)
        back = layer._recover_currents(model, fires, used, out, level, before)
        torch.testing.assert_close(back, given, rtol=0, atol=1e-12)


def kl_of(policy: SpikingActorCriticPolicy, observations: Tensor, other: Tensor) -> Tensor:
    """The distance that TRPO keeps small: KL of the policy from itself, one of the two without a gradient."""
    now = policy.get_distribution(observations).distribution
    with torch.no_grad():
        before = policy.get_distribution(observations).distribution
        before = type(before)(before.loc + other, before.scale)  # type: ignore[attr-defined]
    return torch.distributions.kl_divergence(before, now).sum(-1).mean()


@pytest.mark.parametrize("agent", ["popsan", "san", "qcfs", "anytime"])
def test_the_hessian_of_a_policys_divergence(agent: str) -> None:
    """TRPO's Hessian-vector product through the compiled policy is the reference's."""
    changes = {"hidden": [8], **({"levels": [8]} if agent == "qcfs" else {})}
    settings: dict[str, Any] = {"agent": agent, "agent_kwargs": changes}
    model = PPO(SpikingActorCriticPolicy, gym.make("Pendulum-v1"), policy_kwargs=settings, seed=0, device="cpu")
    policy = model.policy.double()
    observations = torch.as_tensor(np.random.default_rng(0).normal(size=(32, 3)))
    parameters = [value for name, value in policy.named_parameters() if "value" not in name]
    products = []
    for kernel in ("reference", "numba"):
        with kernels.use(kernel):
            torch.manual_seed(0)  # of stochastic encoders
            products.append(twice(kl_of(policy, observations, torch.full((1,), 0.3).double()), parameters))
    for expected, got in zip(*products, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
    assert all(bool(torch.isfinite(value).all()) for value in products[1])


def test_trpo_learns() -> None:
    """The algorithm of sb3-contrib that asks for second derivatives."""
    contrib = pytest.importorskip("sb3_contrib")
    settings: dict[str, Any] = {"agent": "popsan", "agent_kwargs": {"hidden": [8]}}
    model = contrib.TRPO(
        SpikingActorCriticPolicy, gym.make("Pendulum-v1"), n_steps=64, batch_size=32, policy_kwargs=settings, seed=0
    )
    before = [value.detach().clone() for value in model.policy.head().parameters()]
    model.learn(128)
    after = list(model.policy.head().parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(bool(torch.isfinite(value).all()) for value in after)
