"""Compiled kernels against the plain reference, which is torch's operations one spike step at a time."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from networks import ARMS, ENCODERS, NEURONS, READOUTS, begun, drive, fresh, network

from homeo_rl.agents.controller import Controller
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import make
from homeo_rl.snn import LayerWeights, SpikingNetwork, kernels, neurons
from homeo_rl.snn.kernels import events, integer, layer, stack
from homeo_rl.snn.kernels.compiled_network import compile_network
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.state import input_major
from homeo_rl.snn.surrogates import DERIVATIVES
from homeo_rl.spec import ControllerSpec, EncoderSpec, NeuronSpec, ReadoutSpec


@pytest.mark.parametrize(
    ("encoder", "neuron", "readout", "membrane"),
    list(itertools.product(ENCODERS, range(len(NEURONS)), READOUTS, ["decision", "episode"])),
)
def test_decisions_equal_the_reference(encoder: str, neuron: int, readout: str, membrane: str) -> None:
    """Six decisions in a row, every plug-in: outputs, rates and the plug-in's state, in float64."""
    net = network(
        encoder=EncoderSpec(kind=encoder, size=6), neuron=NeuronSpec(**NEURONS[neuron]),  # type: ignore[arg-type]
        readout=ReadoutSpec(kind=readout, size=4), membrane=membrane,  # type: ignore[arg-type]
    )  # fmt: skip
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    noise = torch.rand(6, 4, 5, net.spec.widths[0], dtype=torch.float64) if net.encoder.stochastic else None
    for arm in ARMS:
        with kernels.use("reference"):
            ys, rates, state = drive(net, fresh(net, make(arm), 4), x, noise)
        with kernels.use("numba"):
            found, found_rates, found_state = drive(net, fresh(net, make(arm), 4), x, noise)
        for expected, got in zip([*ys, *rates], [*found, *found_rates], strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
        for old, new in zip(state.adaptation, found_state.adaptation, strict=True):
            for key, value in old.items():
                torch.testing.assert_close(new[key], value, rtol=0, atol=1e-12)


def test_spikes_are_equal_bit_for_bit_where_sums_are_exact() -> None:
    """Weights, decays and thresholds with few binary digits: no sum rounds, so nothing may differ in any order."""
    net = network(encoder=EncoderSpec(kind="bernoulli"), hidden=(64, 48), readout=ReadoutSpec(kind="mean"))
    with torch.no_grad():
        for part in net.layers:
            part.weight.copy_(torch.randint(-64, 65, part.weight.shape) / 64)  # type: ignore[operator,union-attr,arg-type]
            part.bias.copy_(torch.randint(-8, 9, part.bias.shape) / 64)  # type: ignore[operator,union-attr,arg-type]
    for dtype in (torch.float64, torch.float32):
        net = net.to(dtype)
        x = torch.rand(3, 4, 3, dtype=dtype)
        noise = torch.rand(3, 4, 5, net.spec.widths[0], dtype=dtype)
        with kernels.use("reference"):
            ys, rates, _ = drive(net, fresh(net, None, 4), x, noise)
        with kernels.use("numba"):
            found, found_rates, _ = drive(net, fresh(net, None, 4), x, noise)
        assert all(torch.equal(a, b) for a, b in zip([*ys, *rates], [*found, *found_rates], strict=True))
        assert float(found_rates[0][12:].mean()) > 0.05


def test_more_rows_after_one() -> None:
    """A session of one slot, and then one of five with the same network: the weights that they share are shared."""
    net = network(torch.float32, encoder=EncoderSpec(kind="current"))
    controller = Controller(ControllerSpec(network=net.spec, low=(-1.0, -1.0), high=(1.0, 1.0)))
    controller.network.load_state_dict(net.state_dict())
    controller.eval().requires_grad_(False)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    alone = np.concatenate([begun(controller, 1).act(row[None]) for row in x])
    assert np.array_equal(begun(controller, 5).act(x), alone)
    with kernels.use("reference"):
        np.testing.assert_allclose(begun(controller, 5).act(x), alone, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), steps=st.integers(1, 9), batch=st.integers(1, 5),
    hidden=st.lists(st.integers(1, 70), min_size=1, max_size=3), encoder=st.sampled_from(ENCODERS),
    neuron=st.integers(0, len(NEURONS) - 1),
)  # fmt: skip
def test_any_shape(seed: int, steps: int, batch: int, hidden: list[int], encoder: str, neuron: int) -> None:
    """Float32: spikes differ from float64's only where a potential is within 1e-5 of its threshold."""
    fields = {
        "hidden": tuple(hidden), "steps": steps, "encoder": EncoderSpec(kind=encoder, size=6),  # type: ignore[arg-type]
        "neuron": NeuronSpec(**NEURONS[neuron]),
    }  # fmt: skip
    exact, single = network(seed=seed, **fields), network(torch.float32, seed=seed, **fields)
    single.load_state_dict(exact.state_dict())
    exact.load_state_dict(single.state_dict())
    x = torch.randn(batch, 3)
    noise = torch.rand(batch, steps, exact.spec.widths[0]) if exact.encoder.stochastic else None
    with kernels.use("reference"), torch.no_grad():
        expected, state = exact(x.double(), noise=None if noise is None else noise.double())
    with kernels.use("numba"):
        with torch.no_grad():
            few, decided = single(x, noise=noise)
        many, trained = single(x, noise=noise)
    closest = nearest_to_threshold(exact, x.double(), noise)
    for got in (decided, trained):
        same = all(torch.equal(a.float(), b) for a, b in zip(state.rates[1:], got.rates[1:], strict=True))
        assert same or closest < 1e-5
    if closest >= 1e-5:
        torch.testing.assert_close(few, expected.float(), rtol=0, atol=1e-5)
        torch.testing.assert_close(many, expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("products", ["float", "integer", "events"])
def test_float32_spikes_that_differ_are_counted(
    products: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layer by layer on the same input spikes: a float32 spike differs only where float64 is within 1e-5 of firing."""
    monkeypatch.setenv("HOMEO_RL_PRODUCTS", products)
    count = flips = near = 0
    neuron = NeuronSpec()
    for seed in range(3):
        torch.manual_seed(seed)
        widths, batch, steps = [170, 256, 256, 60], 256, 5
        layers = [
            stack.Layer(torch.randn(o, i) * 2 / i**0.5, torch.randn(o) / 4) for i, o in itertools.pairwise(widths)
        ]
        train = (torch.rand(batch, steps, widths[0]) < 0.3).to(stack.event_type(torch.float32))
        given = stack.Input(torch.zeros(batch, widths[0]), train, [1.0] * steps)
        last, hidden = stack.run(neuron, given, layers)
        for sent, fired, part in zip([train, *hidden], [*hidden, last], layers, strict=True):
            currents = torch.nn.functional.linear(sent.double(), part.weight.double(), part.bias.double())
            spikes, _ = neurons.scan(neuron, currents)
            potentials, _ = watched(neuron, currents)
            close = (potentials - neuron.threshold).abs() < 1e-5
            differ = spikes != fired.double()
            # A spike that differs changes what its neuron does later in this decision.
            excused = close.cummax(1).values if close.any() else close
            assert not bool((differ & ~excused).any())
            count, flips, near = count + differ.numel(), flips + int(differ.sum()), near + int(close.sum())
    with capsys.disabled():
        print(f"\n{products} products: {flips} of {count:,} float32 spikes differ; {near} potentials within 1e-5")
    assert near > 0


@torch.no_grad()
def nearest_to_threshold(net: SpikingNetwork, x: torch.Tensor, noise: torch.Tensor | None) -> float:
    """Return how near to a threshold any potential of the network comes, encoder included."""
    nearest = 1.0
    activity = net.encoder.activity(x)  # type: ignore[operator]  # an encoder
    if net.spec.encoder.kind == "population-regular":
        potential = activity.clone()
        for _ in range(net.spec.steps):
            nearest = min(nearest, float((potential - 0.999).abs().min()))
            potential = torch.where(potential > 0.999, potential - 0.999, potential) + activity
    elif noise is not None:
        nearest = min(nearest, float((noise.double() - activity.unsqueeze(1)).abs().min()))
    train = net.encoder(x, net.spec.steps, noise=None if noise is None else noise.double())
    for part in net.layers:
        currents = torch.nn.functional.linear(train, part.weight, part.bias)  # type: ignore[arg-type]
        potentials, _ = watched(net.spec.neuron, currents)
        nearest = min(nearest, float((potentials - net.spec.neuron.threshold).abs().min()))
        train, _ = neurons.scan(net.spec.neuron, currents)
    return nearest


def watched(neuron: NeuronSpec, currents: torch.Tensor) -> tuple[torch.Tensor, Membrane | None]:
    """Return the potentials before every reset."""
    seen: list[torch.Tensor] = []

    def rule(before: torch.Tensor, potential: torch.Tensor) -> torch.Tensor:
        seen.append(potential)
        return torch.full_like(potential, neuron.threshold)

    _, state = neurons.scan(neuron, currents, threshold=rule)
    return torch.stack(seen, 1), state


@pytest.mark.parametrize(
    ("neuron", "surrogate", "fires", "steps"),
    list(itertools.product(range(len(NEURONS)), DERIVATIVES, [True, False], [1, 2, 7])),
)
def test_scan_and_its_derivatives(neuron: int, surrogate: str, fires: bool, steps: int) -> None:
    """Spikes and states bit for bit, derivatives to 1e-12: with respect to currents, thresholds and the whole state."""
    torch.manual_seed(1)
    model = NeuronSpec(**NEURONS[neuron], surrogate=surrogate)  # type: ignore[arg-type]
    values = [
        torch.randn(4, steps, 9) + 0.3,
        torch.randn(4, 9),
        torch.randn(4, 9),
        (torch.rand(4, 9) < 0.5),
        torch.rand(9),
    ]
    results = []
    for compiled in (False, True):
        x, u, v, s, level = (value.double().requires_grad_() for value in values)
        if compiled:
            out, state = layer.scan(model, x * 1, Membrane(u, v, s), threshold=level, fires=fires)
        else:
            rule = level.expand_as
            out, state = neurons.scan(model, x * 1, Membrane(u, v, s), threshold=lambda _, p: rule(p), fires=fires)  # noqa: B023
        assert state is not None
        torch.manual_seed(2)
        loss = sum((part * torch.randn_like(part)).sum() for part in (out, *state))
        grads = torch.autograd.grad(loss, [x, u, v, s, level], allow_unused=True)  # type: ignore[arg-type]
        results.append((out, state, [torch.zeros(()) if g is None else g for g in grads]))
    (out, state, grads), (found, found_state, found_grads) = results
    assert torch.equal(out, found)
    assert all(torch.equal(a, b) for a, b in zip(state, found_state, strict=True))
    for a, b in zip(grads, found_grads, strict=True):
        torch.testing.assert_close(b, a.double().expand_as(b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("products", ["float", "integer", "events"])
@pytest.mark.parametrize(("encoder", "neuron"), list(itertools.product(ENCODERS, range(len(NEURONS)))))
def test_gradients_of_a_network(encoder: str, neuron: int, products: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every parameter's and the observation's derivative is within 1e-5 of autograd's through the reference."""
    monkeypatch.setenv("HOMEO_RL_PRODUCTS", products)
    if products == "integer" and not hasattr(torch, "_int_mm"):
        pytest.skip("this torch has no 8-bit product")
    dtype = torch.float64 if products == "float" else torch.float32
    for surrogate, readout in itertools.product(DERIVATIVES, ["population", "membrane"]):
        net = network(
            dtype, encoder=EncoderSpec(kind=encoder, size=6), hidden=(40, 24),  # type: ignore[arg-type]
            neuron=NeuronSpec(**NEURONS[neuron], surrogate=surrogate), readout=ReadoutSpec(kind=readout, size=4),  # type: ignore[arg-type]
        )  # fmt: skip
        values = torch.randn(150, 3, dtype=dtype)
        noise = torch.rand(150, 5, net.spec.widths[0], dtype=dtype) if net.encoder.stochastic else None
        found = []
        for kernel in ("reference", "numba"):
            x = values.clone().requires_grad_()
            with kernels.use(kernel):
                y, state = net(x, noise=noise)
            parameters = [x, *net.parameters()]
            heard = 150 if readout == "population" else 40  # of the rest, nothing comes back
            grads = torch.autograd.grad(y[:heard].square().sum(), parameters, allow_unused=True)
            found.append(
                (
                    y,
                    state.rates,
                    [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)],
                )
            )
        (y, rates, grads), (got, got_rates, got_grads) = found
        flips = sum(int((a != b).sum()) for a, b in zip(rates[1:], got_rates[1:], strict=True))
        assert flips == 0, f"{flips} rates differ"
        torch.testing.assert_close(got, y, rtol=1e-5, atol=1e-5)
        for expected, value in zip(grads, got_grads, strict=True):
            assert float((value - expected).abs().max()) <= 1e-5 * max(float(expected.abs().max()), 1e-3)


@pytest.mark.parametrize(
    ("neuron", "fires", "products"),
    list(itertools.product(range(len(NEURONS)), [True, False], ["float", "integer", "events"])),
)
def test_gradients_of_thresholds_and_initial_potentials(
    neuron: int, fires: bool, products: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack whose layers have thresholds and initial potentials a neuron, against autograd layer by layer."""
    monkeypatch.setenv("HOMEO_RL_PRODUCTS", products)
    dtype = torch.float64 if products == "float" else torch.float32
    torch.manual_seed(4)
    widths, batch, steps = [7, 40, 24], 150, 5
    train = (torch.rand(batch, steps, 7) < 0.5).to(stack.event_type(dtype))
    layers = [
        [torch.randn(o, i) * 2 / i**0.5, torch.randn(o) / 4, 0.2 + torch.rand(o), torch.rand(o) / 2]
        for i, o in itertools.pairwise(widths)
    ]
    for surrogate in DERIVATIVES:
        model = NeuronSpec(**NEURONS[neuron], surrogate=surrogate)  # type: ignore[arg-type]
        results = []
        for compiled in (False, True):
            parts = [[value.to(dtype).requires_grad_() for value in layer] for layer in layers]
            if compiled:
                activity = torch.zeros(batch, 7, dtype=dtype)
                given = stack.Input(activity, train, [1.0] * steps)
                out, _ = stack.run(model, given, [stack.Layer(*part) for part in parts], fires=fires)
            else:
                out = train.to(dtype)
                for i, (weight, bias, level, first) in enumerate(parts):
                    zero = torch.zeros(batch, weight.shape[0], dtype=dtype)
                    received = torch.nn.functional.linear(out, weight, bias)
                    out, _ = neurons.scan(
                        model, received, Membrane(zero, first.expand_as(zero), zero),
                        threshold=lambda _, p, level=level: level.expand_as(p), fires=fires or i == 0,  # type: ignore[misc]
                    )  # fmt: skip
            loss = (out * torch.linspace(-1, 1, out[0].numel(), dtype=dtype).reshape(out[0].shape)).sum()
            wanted = [value for part in parts for value in part]
            grads = torch.autograd.grad(loss, wanted, allow_unused=True)
            none = [torch.zeros_like(value) for value in wanted]
            found = [zero if grad is None else grad for grad, zero in zip(grads, none, strict=True)]
            results.append([out.detach(), *found])
        for expected, got in zip(*results, strict=True):
            assert float((got - expected).abs().max()) <= 1e-5 * max(float(expected.abs().max()), 1e-3)


def test_weights_are_read_where_they_lie() -> None:
    """Nothing stale: values changed in place, behind autograd's back, or in new memory are seen at the next call."""
    net, x = network(torch.float32), torch.randn(2, 3)

    def check() -> torch.Tensor:
        with torch.no_grad():
            with kernels.use("reference"):
                expected, _ = net(x)
            got, _ = net(x)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
        return got.clone()

    first = check()
    weight: Any = net.layers[0].weight
    weight.data.mul_(-1.0)
    second = check()
    assert not torch.equal(first, second)
    weight.data = torch.randn(weight.shape) * 3  # output by output in memory
    third = check()
    assert not torch.equal(second, third)
    weight.data.mul_(-1.0)
    assert not torch.equal(third, check())
    net.layers[0].weight = torch.nn.Parameter(input_major(torch.randn(weight.shape)))
    check()
    net.readout.weight.data.mul_(2.0)  # type: ignore[operator,union-attr]
    check()
    net.encoder.mean.data.add_(0.1)  # type: ignore[operator,union-attr]
    check()


@pytest.mark.parametrize("laid", ["by input", "by output", "shared"])
def test_rows_with_weights_of_their_own(laid: str) -> None:
    """Damaged copies, dead and stuck neurons and plug-ins a row, however the copies lie in memory."""
    net = network()
    batch = 5
    made = []
    for part in net.parameters_of_layers():
        weight = part.weight.expand(batch, -1, -1)
        if laid != "shared":
            weight = weight * (1 + 0.3 * torch.randn(batch, 1, 1, dtype=torch.float64))
            weight = input_major(weight) if laid == "by input" else weight.contiguous()
        size = part.bias.shape[0]
        made.append(
            LayerWeights(
                weight,
                part.bias.expand(batch, -1),
                (torch.rand(batch, size) < 0.9).double(),
                (torch.rand(size) < 0.1).double(),
            )
        )
    x = torch.randn(6, batch, 3, dtype=torch.float64)
    for arm in ARMS:
        results = []
        for kernel in ("reference", "numba"):
            state = fresh(net, make(arm), batch)
            state.weights = tuple(made)
            with kernels.use(kernel):
                ys, rates, _ = drive(net, state, x, None)
            results.append(torch.cat([torch.stack(ys).flatten(), torch.stack(rates).flatten()]))
        torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-12)


def test_rows_do_not_depend_on_their_neighbours_or_on_threads() -> None:
    """A row's outputs and adaptation are the same bits alone, among others, and on several threads."""
    net = network(torch.float32, hidden=(64, 64))
    x = torch.randn(4, 48, 3)
    plugin = make("dwam-paper:eta=1e-3")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        ys, _, state = drive(net, fresh(net, plugin, 48), x, None)
        torch.set_num_threads(4)
        threaded, _, threaded_state = drive(net, fresh(net, plugin, 48), x, None)
    finally:
        torch.set_num_threads(before)
    alone, _, alone_state = drive(net, fresh(net, plugin, 1), x[:, 7:8], None)
    for a, b, c in zip(ys, threaded, alone, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a[7:8], c)
    for one, two, single in zip(state.adaptation, threaded_state.adaptation, alone_state.adaptation, strict=True):
        assert all(torch.equal(one[key], two[key]) and torch.equal(one[key][7:8], single[key]) for key in one)
    assert float(state.adaptation[0]["delta"].abs().max()) > 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40), inputs=st.integers(1, 300), outputs=st.integers(1, 70))
def test_integer_products_keep_their_bound(seed: int, rows: int, inputs: int, outputs: int) -> None:
    """abs(error) <= spikes added * 2^-23 * max abs(column), plus the rounding of the result."""
    rng = np.random.default_rng(seed)
    spikes = torch.as_tensor((rng.random((rows, inputs)) < rng.random()).astype(np.int8))
    matrix = torch.as_tensor(
        (rng.standard_normal((inputs, outputs)) * 10.0 ** rng.integers(-8, 4, outputs)).astype(np.float32)
    )
    if seed % 5 == 0:
        matrix[:, 0] = 0.0
    bias = torch.as_tensor(rng.standard_normal(outputs).astype(np.float32))
    out = torch.empty(rows, outputs)
    integer.multiply(spikes, integer.split(matrix), out, bias)
    exact = spikes.double() @ matrix.double()
    added = spikes.double().sum(1, keepdim=True)
    bound = added * 2.0**-23 * matrix.abs().amax(0).double() + 2.0**-22 * (exact.abs() + (exact + bias).abs()) + 1e-37
    assert bool(((out.double() - (exact + bias)).abs() <= bound).all())
    again = torch.ones(rows, outputs)
    integer.multiply(spikes, integer.split(matrix), again)
    assert bool(((again.double() - 1 - exact).abs() <= bound + 2.0**-23).all())


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (7, 34, 6), (300, 170, 60), (513, 40, 48)])
def test_products_of_events_are_those_of_all_rows(
    share: float, rows: int, inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of the rows that fired, and of the outer products, against float64; a row's sum needs no other row."""
    monkeypatch.setenv("HOMEO_RL_PRODUCTS", "events")
    torch.manual_seed(rows)
    spikes = (torch.rand(rows, inputs) < share).to(torch.int8)
    matrix, bias, values = torch.randn(inputs, outputs), torch.randn(outputs), torch.randn(rows, outputs)
    values[1::3] = 0.0
    lists = events.follow(spikes)
    assert lists is not None
    assert lists.total == int(spikes.sum())
    out, outer, sums = torch.empty(rows, outputs), torch.ones(inputs, outputs), torch.ones(outputs)
    events.multiply(lists, events.split(matrix), bias, out)
    events.add_product(lists, values, outer, sums)
    torch.testing.assert_close(out.double(), spikes.double() @ matrix.double() + bias, rtol=0, atol=2e-5)
    torch.testing.assert_close(outer.double() - 1, spikes.double().T @ values.double(), rtol=0, atol=2e-4)
    torch.testing.assert_close(sums.double() - 1, values.double().sum(0), rtol=0, atol=2e-4)
    alone, last = torch.empty(1, outputs), events.follow(spikes[-1:])
    assert last is not None
    events.multiply(last, events.split(matrix), bias, alone)
    assert torch.equal(alone[0], out[-1])


def test_rows_that_are_not_zero_are_found() -> None:
    """In their order, and only where there are few; what is not a number is not 0."""
    values = torch.zeros(10, 5)
    values[3, 4], values[7, 0] = -1e-30, float("nan")
    active = events.active_rows(values)
    assert active is not None
    assert active.tolist() == [3, 7]
    assert events.active_rows(torch.ones(10, 5)) is None


def test_events_are_followed_where_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the share of spikes decides; a wrong kind of product is told with what there is."""
    monkeypatch.delenv("HOMEO_RL_PRODUCTS", raising=False)
    spikes = torch.zeros(8, 64, dtype=torch.int8)
    assert events.follow(spikes) is not None
    assert events.follow(torch.ones_like(spikes)) is None
    monkeypatch.setenv("HOMEO_RL_PRODUCTS", "even")
    with pytest.raises(UsageError, match="HOMEO_RL_PRODUCTS"):
        events.follow(spikes)


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), float("-inf")])
def test_integer_products_do_not_hide_faults(fault: float) -> None:
    """A number that is not finite spoils its own column and no other."""
    matrix = torch.randn(20, 6)
    matrix[3, 2] = fault
    out = torch.empty(4, 6)
    integer.multiply(torch.ones(4, 20, dtype=torch.int8), integer.split(matrix), out, torch.zeros(6))
    assert bool(out[:, 2].isnan().all())
    assert bool(out[:, [0, 1, 3, 4, 5]].isfinite().all())


def test_integer_products_need_spikes_that_can_be_counted() -> None:
    """The largest sums fit into 32 bits."""
    assert integer.MOST * 128 < 2**31
    ones = torch.ones(1, 70000, dtype=torch.int8)
    out = torch.empty(1, 1)
    integer.multiply(ones, integer.split(torch.ones(70000, 1)), out, torch.zeros(1))
    assert float(out) == pytest.approx(70000)


def test_the_decision_is_compiled_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows or rows with a plug-in are decided by events; gradients and other plug-ins' thresholds are not."""
    net, calls = network(torch.float32), []
    decider = compile_network(net)
    monkeypatch.setattr(
        "homeo_rl.snn.network.compile_network", lambda n: calls.append(1) or (lambda *a, **k: decider(*a, **k))
    )
    net(torch.randn(1, 3))
    assert not calls
    with torch.no_grad():
        net(torch.randn(1, 3))
        assert len(calls) == 1
        net(torch.randn(100, 3))
        assert len(calls) == 1
        net(torch.randn(100, 3), fresh(net, make("dwam-paper"), 100), adapt=True)
        assert len(calls) == 2
        with kernels.use("reference"):
            net(torch.randn(1, 3))
        assert len(calls) == 2


def test_unknown_kernels_are_refused() -> None:
    """The message names what there is."""
    with pytest.raises(UsageError, match="reference"), kernels.use("cuda"):
        pass
    code = "from homeo_rl.snn import kernels; kernels.chosen()"
    env = {**os.environ, "HOMEO_RL_KERNEL": "nimba"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "numba" in done.stderr
