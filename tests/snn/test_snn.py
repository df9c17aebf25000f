from __future__ import annotations

import itertools
import math
from typing import get_args

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from homeo_rl.homeostasis import MECHANISMS
from homeo_rl.snn import LayerWeights, SpikingNetwork, forward_stepwise, neurons
from homeo_rl.snn.encoders import PopulationEncoder, build_encoder
from homeo_rl.snn.surrogates import DERIVATIVES, spike
from homeo_rl.spec import EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec, Surrogate

ENCODERS = ["population-regular", "population-poisson", "current", "bernoulli"]
NEURONS = [
    NeuronSpec(),
    NeuronSpec(kind="lif", threshold=1.0, surrogate="arctan"),
    NeuronSpec(kind="lif", threshold=1.0, decay_input=False, reset="hard", surrogate="sigmoid"),
    NeuronSpec(kind="if", threshold=1.0, surrogate="triangle"),
    NeuronSpec(kind="if", threshold=0.7, reset="hard"),
]
READOUTS = ["population", "mean", "last", "membrane"]


def network(
    encoder: str = "population-regular", neuron: NeuronSpec = NEURONS[0], readout: str = "population", steps: int = 5
) -> SpikingNetwork:
    torch.manual_seed(0)
    spec = NetworkSpec(
        inputs=3,
        outputs=2,
        hidden=(16, 12),
        steps=steps,
        encoder=EncoderSpec(kind=encoder, size=6),  # type: ignore[arg-type]
        neuron=neuron,
        readout=ReadoutSpec(kind=readout, size=4),  # type: ignore[arg-type]
    )
    made = SpikingNetwork(spec)
    with torch.no_grad():
        for layer in made.layers:
            layer.weight.mul_(3.0)  # type: ignore[operator,union-attr]  # enough current to make every layer fire
    return made


@pytest.mark.parametrize(
    ("encoder", "neuron", "readout"), list(itertools.product(ENCODERS, range(len(NEURONS)), READOUTS))
)
def test_layer_by_layer_equals_step_by_step(encoder: str, neuron: int, readout: str) -> None:
    """Outputs, spikes and gradients of the fast path are those of the plain reference, in float64."""
    net = network(encoder, NEURONS[neuron], readout).double()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.rand(4, 5, net.spec.widths[0], dtype=torch.float64) if net.encoder.stochastic else None
    y, state = net(x, noise=noise)
    reference, trains = forward_stepwise(net, x, noise=noise)
    torch.testing.assert_close(y, reference, rtol=0, atol=1e-12)
    for rate, train in zip(state.rates[1 : len(trains)], trains, strict=False):
        assert torch.equal(rate, train.mean(1))
    inputs = [x, *net.parameters()]
    fast = torch.autograd.grad(y.square().sum(), inputs, allow_unused=True)
    slow = torch.autograd.grad(reference.square().sum(), inputs, allow_unused=True)
    for one, other in zip(fast, slow, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert any(one is not None and bool(one.abs().sum() > 0) for one in fast[1:]), "no gradient reaches any parameter"


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(1, 17), batch=st.integers(1, 9), seed=st.integers(0, 10_000))
def test_any_number_of_steps_and_batch(steps: int, batch: int, seed: int) -> None:
    net = network(steps=steps).double()
    x = torch.randn(batch, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y, state = net(x)
    assert y.shape == (batch, 2)
    assert all(rate.shape[0] == batch and bool((rate >= 0).all()) and bool((rate <= 1).all()) for rate in state.rates)
    torch.testing.assert_close(y, forward_stepwise(net, x)[0], rtol=0, atol=1e-12)


def test_current_lif_is_the_published_recurrence() -> None:
    """u/2 + x, 3/4 v (1 - s) + u, spike above 0.5; worked by hand for x = 0.3, 0.3, 0.3, -0.2."""
    spec = NeuronSpec()
    currents = torch.tensor([[[0.3], [0.3], [0.3], [-0.2]]], dtype=torch.float64)
    spikes, state = neurons.scan(spec, currents)
    # u: .3, .45, .525, .0625   v: .3, .675 (spike), .525 (gated, spike), .0625
    assert spikes.flatten().tolist() == [0.0, 1.0, 1.0, 0.0]
    torch.testing.assert_close(state.current, torch.tensor([[0.0625]], dtype=torch.float64))
    torch.testing.assert_close(state.potential, torch.tensor([[0.0625]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("neuron", "expected", "left"),
    [
        # v: .6, 1.2 -> spike, .2, .8, 1.4 -> spike, .4
        (NeuronSpec(kind="if", threshold=1.0), [0, 1, 0, 1], 0.4),
        # v: .6, 1.2 -> spike, 0, .6, 1.2 -> spike, 0
        (NeuronSpec(kind="if", threshold=1.0, reset="hard"), [0, 1, 0, 1], 0.0),
        # v: .3, .45, .525, .5625: never reaches 1
        (NeuronSpec(kind="lif", threshold=1.0), [0, 0, 0, 0], 0.5625),
        # v: .6, .9, 1.05 -> spike, .05, .625
        (NeuronSpec(kind="lif", threshold=1.0, decay_input=False), [0, 0, 1, 0], 0.625),
    ],
)
def test_lif_and_if_by_hand(neuron: NeuronSpec, expected: list[int], left: float) -> None:
    spikes, state = neurons.scan(neuron, torch.full((1, 4, 1), 0.6, dtype=torch.float64))
    assert spikes.flatten().int().tolist() == expected
    assert float(state.potential) == pytest.approx(left)


def test_thresholds_are_strict_for_the_current_based_neuron_only() -> None:
    at = torch.tensor([[0.5]])
    assert float(neurons.fire(NeuronSpec(), at, 0.5)) == 0.0
    assert float(neurons.fire(NeuronSpec(kind="if"), at, 0.5)) == 1.0


@pytest.mark.parametrize("kind", get_args(Surrogate))
def test_surrogate_gradients(kind: Surrogate) -> None:
    d = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    s = spike(d, kind)
    assert torch.equal(s.detach(), (d > 0).double())
    (grad,) = torch.autograd.grad(s.sum(), d)
    x = d.detach()
    expected = {
        "rectangle": (x.abs() < 0.5).double(),
        "arctan": 1.0 / (1.0 + (math.pi * x) ** 2),
        "sigmoid": 4.0 * torch.sigmoid(4 * x) * (1 - torch.sigmoid(4 * x)),
        "triangle": torch.clamp(1 - x.abs(), min=0),
    }[kind]
    torch.testing.assert_close(grad, expected)
    assert kind in DERIVATIVES


def test_regular_population_encoder_is_the_published_integrator() -> None:
    encoder = PopulationEncoder(2, EncoderSpec(size=5)).double()
    x = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    train = encoder(x, 7).detach()
    means, std = np.linspace(-3, 3, 5), math.sqrt(0.15)
    activity = np.exp(-((x.numpy().T - means) ** 2) / (2 * std**2)).ravel()
    v, expected = np.zeros(10), []
    for _ in range(7):
        v += activity
        s = v > 0.999
        v[s] -= 0.999
        expected.append(s)
    assert np.array_equal(train[0].numpy(), np.array(expected))


@pytest.mark.parametrize("kind", ["population-poisson", "bernoulli"])
def test_stochastic_encoders_spike_at_their_rates(kind: str) -> None:
    spec = EncoderSpec(kind=kind, size=4)  # type: ignore[arg-type]
    encoder = build_encoder(2, spec)
    x = torch.tensor([[0.7, -5.0]])
    train = encoder(x, 20_000, generator=torch.Generator().manual_seed(1))
    # Bernoulli: positive parts, then negative parts; clipped at span 3
    by_hand = torch.tensor([[0.7 / 3, 0.0, 0.0, 1.0]])
    rate = encoder.activity(x).detach() if isinstance(encoder, PopulationEncoder) else by_hand
    torch.testing.assert_close(train.mean(1), rate, atol=0.02, rtol=0)
    noise = torch.rand(1, 9, train.shape[-1])
    assert torch.equal(encoder(x, 9, noise=noise), (noise < rate.unsqueeze(1)).float())
    with pytest.raises(ValueError, match="expected shape"):
        encoder(x, 9, noise=noise[:, 1:])


def test_readouts() -> None:
    outputs = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]])
    mean, last, membrane = (network(readout=kind).readout for kind in ("mean", "last", "membrane"))
    assert mean(outputs).tolist() == [[0.0, 0.0]]
    assert last(outputs).tolist() == [[1.0, -1.0]]
    assert membrane(outputs).tolist() == [[1.0, 0.0]]
    assert not membrane.spiking


def test_per_environment_weights_do_not_mix_rows() -> None:
    """A row's result is the same alone and in company, to the last bit, for odd widths too."""
    for inputs, outputs in ((17, 6), (170, 256), (13, 7)):
        spec = NetworkSpec(inputs=inputs, outputs=outputs, hidden=(33,), encoder=EncoderSpec(kind="current"))
        net = SpikingNetwork(spec)
        x = torch.randn(7, inputs)
        own = tuple(
            LayerWeights(w.weight + 0.1 * torch.randn(7, *w.weight.shape), w.bias + 0.1 * torch.randn(7, *w.bias.shape))
            for w in net.parameters_of_layers()
        )
        together, _ = net(x, net.initial_state(7, weights=own))
        for row in range(7):
            mine = tuple(LayerWeights(w.weight[row : row + 1].clone(), w.bias[row : row + 1].clone()) for w in own)
            alone, _ = net(x[row : row + 1].clone(), net.initial_state(1, weights=mine))
            assert torch.equal(alone[0], together[row])


def test_dead_and_stuck_neurons() -> None:
    net = network()
    weights = list(net.parameters_of_layers())
    alive, stuck = torch.ones(16), torch.zeros(16)
    alive[:5], stuck[5:8] = 0.0, 1.0
    weights[0] = weights[0]._replace(alive=alive, stuck=stuck)
    state = net.initial_state(6, weights=tuple(weights))
    _, state = net(torch.randn(6, 3), state)
    assert float(state.rates[1][:, :5].sum()) == 0.0
    assert bool((state.rates[1][:, 5:8] == 1.0).all())


def test_membranes_can_outlive_a_decision() -> None:
    """With membrane "episode", decisions of 2 and 3 steps are one run of 5; `forget` brings back the start."""
    from dataclasses import replace

    neuron = NeuronSpec(kind="lif", threshold=1.0)
    base = network("current", neuron, "mean").double()
    net = SpikingNetwork(replace(base.spec, membrane="episode", steps=2)).double()
    net.load_state_dict(base.state_dict())
    x = torch.randn(3, 3, dtype=torch.float64) * 3
    _, trains = forward_stepwise(base, x)
    _, state = net(x)
    first = state.rates[1].clone()
    assert torch.equal(first, trains[0][:, :2].mean(1))
    _, state = net(x, state)
    assert torch.equal(state.rates[1], trains[0][:, 2:4].mean(1))
    state = net.forget(state, torch.tensor([True, False, True]), "episode")
    _, state = net(x, state)
    assert torch.equal(state.rates[1][[0, 2]], first[[0, 2]])


@pytest.mark.parametrize("name", list(MECHANISMS))
def test_nothing_adapts_without_being_told(name: str) -> None:
    net = network()
    plugin = MECHANISMS[name]()
    rates = [torch.full((n,), 0.2) for n in net.spec.widths[1:]]
    references = net.references(rates, [r * r for r in rates])
    x = torch.randn(4, 3)
    plain, _ = net(x)
    state = net.initial_state(4, plugin=plugin, references=references)
    before = [parameter.clone() for parameter in net.parameters()]
    with torch.no_grad():
        for _ in range(3):
            y, state = net(x, state)
    if not plugin.adapts_threshold:
        assert torch.equal(y, plain.detach())
        for delta in (plugin.modulation(s).weight for s in state.adaptation):
            assert delta is None or not bool(delta.any())
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def test_state_of_another_batch_is_refused() -> None:
    net = network()
    with pytest.raises(ValueError, match="batch of 3"):
        net(torch.randn(3, 3), net.initial_state(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_equals_cpu() -> None:
    net = network().double()
    x = torch.randn(8, 3, dtype=torch.float64)
    here, _ = net(x)
    there, _ = net.cuda()(x.cuda())
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-9)
