"""The GPU's kernels against the plain reference: on a CUDA device where there is one, else in Triton's interpreter."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from networks import ARMS, ENCODERS, NEURONS, READOUTS, drive, fresh, network

from homeo_rl.homeostasis import make
from homeo_rl.snn import LayerWeights, kernels, neurons
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.state import NetworkState
from homeo_rl.snn.surrogates import DERIVATIVES
from homeo_rl.spec import EncoderSpec, NeuronSpec, ReadoutSpec

if not kernels.has_triton():
    pytest.skip("triton is not installed: pip install 'homeo-rl[triton]'", allow_module_level=True)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read once, when the kernels are first imported

from homeo_rl.snn.kernels import layer  # noqa: E402


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if DEVICE == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    with kernels.use("triton"):
        assert kernels.serving(torch.zeros(1, device=DEVICE)) == "triton"
        yield


@pytest.mark.parametrize(
    ("neuron", "surrogate", "fires", "steps"),
    list(itertools.product(range(len(NEURONS)), DERIVATIVES, [True, False], [1, 4])),
)
def test_scan_and_its_derivatives(neuron: int, surrogate: str, fires: bool, steps: int) -> None:
    """Spikes and states bit for bit, derivatives to 1e-12: with respect to currents, thresholds and the whole state."""
    torch.manual_seed(1)
    model = NeuronSpec(**NEURONS[neuron], surrogate=surrogate)  # type: ignore[arg-type]
    values = [torch.randn(3, steps, 130) + 0.3, torch.randn(3, 130), torch.randn(3, 130), torch.rand(3, 130) < 0.5]
    results = []
    for kernel in ("reference", "triton"):
        x, u, v, s, level = (v.double().to(DEVICE).requires_grad_() for v in (*values, torch.linspace(0.1, 1, 130)))
        if kernel == "triton":
            out, state = layer.scan(model, x * 1, Membrane(u, v, s), threshold=level, fires=fires)
        else:
            rule = level.expand_as
            out, state = neurons.scan(model, x * 1, Membrane(u, v, s), threshold=lambda _, p: rule(p), fires=fires)  # noqa: B023
        torch.manual_seed(2)
        loss = sum((part * torch.randn(part.shape, dtype=part.dtype).to(DEVICE)).sum() for part in (out, *state))
        grads = torch.autograd.grad(loss, [x, u, v, s, level], allow_unused=True)  # type: ignore[arg-type]
        results.append((out, state, grads))
    (out, state, grads), (found, found_state, found_grads) = results
    assert torch.equal(out, found)
    assert all(torch.equal(a, b) for a, b in zip(state, found_state, strict=True))
    for a, b in zip(grads, found_grads, strict=True):
        torch.testing.assert_close(b, torch.zeros_like(b) if a is None else a, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("neuron", "arm"), list(itertools.product(range(len(NEURONS)), ARMS)))
def test_decisions_equal_the_reference(neuron: int, arm: str) -> None:
    """Four decisions in a row with damaged copies a row: outputs, rates and the plug-in's state, in float64."""
    for encoder, membrane in zip(ENCODERS, ["decision", "episode"] * 2, strict=True):
        fields: dict[str, Any] = {
            "encoder": EncoderSpec(kind=encoder, size=6), "neuron": NeuronSpec(**NEURONS[neuron]),  # type: ignore[arg-type]
            "readout": ReadoutSpec(kind=READOUTS[neuron % 4], size=4), "membrane": membrane,  # type: ignore[arg-type]
        }  # fmt: skip
        net = network(**fields).to(DEVICE)
        x = torch.randn(4, 3, 3, dtype=torch.float64)
        noise = torch.rand(4, 3, 5, net.spec.widths[0], dtype=torch.float64) if net.encoder.stochastic else None
        results = []
        for kernel in ("reference", "triton"):
            state = damaged(fresh(net, make(arm), 3), net.parameters_of_layers())
            with kernels.use(kernel):
                ys, rates, state = drive(net, state, x.to(DEVICE), None if noise is None else noise.to(DEVICE))
            results.append([*ys, *rates, *(value for part in state.adaptation for value in part.values())])
        for expected, got in zip(*results, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def damaged(state: NetworkState, healthy: tuple[LayerWeights, ...]) -> NetworkState:
    """Give every row weights of its own, and dead and stuck neurons."""
    torch.manual_seed(3)
    made = []
    for part in healthy:
        factor = 1 + 0.3 * torch.randn(state.batch, 1, 1, dtype=torch.float64)
        alive = (torch.rand(state.batch, part.bias.shape[0]) < 0.9).double()
        stuck = (torch.rand(part.bias.shape[0]) < 0.1).double()
        made.append(
            LayerWeights(
                part.weight * factor.to(DEVICE), part.bias.expand(state.batch, -1), alive.to(DEVICE), stuck.to(DEVICE)
            )
        )
    state.weights = tuple(made)
    return state


@pytest.mark.parametrize("encoder", ENCODERS)
def test_gradients_of_a_network(encoder: str) -> None:
    """Every parameter's and the observation's derivative is autograd's through the reference."""
    for neuron, readout in itertools.product(range(len(NEURONS)), ["population", "membrane"]):
        net = network(
            encoder=EncoderSpec(kind=encoder, size=6), neuron=NeuronSpec(**NEURONS[neuron]),  # type: ignore[arg-type]
            readout=ReadoutSpec(kind=readout, size=4),  # type: ignore[arg-type]
        ).to(DEVICE)  # fmt: skip
        values = torch.randn(6, 3, dtype=torch.float64)
        noise = torch.rand(6, 5, net.spec.widths[0], dtype=torch.float64).to(DEVICE) if net.encoder.stochastic else None
        found = []
        for kernel in ("reference", "triton"):
            x = values.to(DEVICE).requires_grad_()
            with kernels.use(kernel):
                y, _ = net(x, noise=noise)
            found.append([y, *torch.autograd.grad(y.square().sum(), [x, *net.parameters()], allow_unused=True)])
        for expected, got in zip(*found, strict=True):
            if expected is not None or got is not None:
                torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
