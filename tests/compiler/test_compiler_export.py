"""Compiled networks spike in plain torch, in snnTorch and in SpikingJelly as they do in the simulation."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.circuit import Circuit
from homeo_rl.compiler.export import to_snntorch, to_spikingjelly, to_torch
from homeo_rl.compiler.lowering import Neurons, SpikingCircuit, Synapse, lower
from homeo_rl.compiler.objective import Objective
from homeo_rl.compiler.simulate import simulate
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.synthesis import synthesise
from homeo_rl.errors import UsageError

X, Y = sf.Line("x"), sf.Line("y")
RNG = np.random.default_rng(0)
BITS = tuple((RNG.random(64) < 0.5).tolist())
FOLLOW = tuple(map(tuple, RNG.integers(0, 6, (6, 2)).tolist()))
EMIT = tuple(map(tuple, (RNG.random((6, 2)) < 0.5).tolist()))
FUNCTIONS = {
    name: SpikeFunction(tuple(lines), tuple((f"output {i}", node) for i, node in enumerate(nodes)))
    for name, lines, *nodes in [
        ("count", "x", sf.Count(X, 3, 5)),
        ("latch", "xy", sf.Latch(X, Y)),
        ("toggle", "x", sf.Toggle(X)),
        ("refractory", "x", sf.Refractory(X, 3)),
        ("table", "xy", sf.Table((X, Y), 3, BITS)),
        ("automaton", "x", sf.Automaton((X,), FOLLOW, EMIT)),
        (
            "composition", "xy",
            sf.All((sf.Latch(sf.Count(X, 2, 3), Y), sf.Not(sf.Refractory(sf.Toggle(Y), 2)))), sf.Not(Y),
        ),
        ("every", "x", sf.Every(X, 6, (5,))),
        ("constants", "x", sf.Constant(False), sf.Constant(True)),
    ]
}  # fmt: skip
BETAS = [Fraction(0), Fraction(1, 2), Fraction(7, 8), Fraction(9, 10), Fraction(1)]
RESETS = ["soft", "hard", "soft_next"]
EXPORTS = {"torch": to_torch, "snntorch": to_snntorch, "spikingjelly": to_spikingjelly}
PEERS = {"snntorch": "snntorch", "spikingjelly": "spikingjelly.activation_based.neuron"}
RESETS_OF = {"torch": set(RESETS), "snntorch": {"hard", "soft_next"}, "spikingjelly": {"hard", "soft"}}


@cache
def synthesised(name: str, wanted: Objective) -> Circuit:
    return synthesise(FUNCTIONS[name], wanted)


def circuits(name: str, beta: Fraction, reset: str) -> Iterator[SpikingCircuit]:
    """Yield the function on both targets, with both kinds of delays, with and without integrators."""
    integrating = (False, True) if name == "every" and beta == 1 and reset != "hard" else (False,)
    for target, delays, integrators in product(("unit", "layered"), ("synaptic", "relays"), integrating):
        wanted = Objective(banked=reset == "hard" and beta > 0, deep_loops=target == "layered", integrators=integrators)
        yield lower(synthesised(name, wanted), Neurons(beta, reset, target, delays))


@cache
def drawn(lines: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.random((64, 60, lines)) < rng.uniform(0.1, 0.9, (64, 1, lines))


def spikes(module: nn.Module, trains: np.ndarray) -> np.ndarray:
    """Return a module's spikes [B, T, N] as the simulation does."""
    with torch.no_grad():
        found = module(torch.from_numpy(trains.transpose(1, 0, 2)).float())
    assert found.dtype == torch.float32
    return found.numpy().transpose(1, 0, 2)


def needed(package: str) -> ModuleType:
    """Return a library's module, or skip the test where it is absent."""
    return pytest.importorskip(PEERS.get(package, package), reason=f"{package}: not installed; pip install {package}")


def expressed(package: str, beta: Fraction, reset: str) -> bool:
    double = {("soft", 0): "hard", ("soft", 1): "soft_next", ("soft_next", 1): "soft"}.get((reset, beta))
    return bool(RESETS_OF[package] & {reset, double})


CASES = list(product(EXPORTS, BETAS, RESETS))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_references_spike_and_rest(name: str) -> None:
    function = FUNCTIONS[name]
    outputs = function.run(drawn(len(function.lines)))
    if name != "constants":
        assert all(0.02 < outputs[..., i].mean() < 0.98 for i in range(outputs.shape[2]))


@pytest.mark.parametrize(("package", "beta", "reset"), [case for case in CASES if expressed(*case)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_networks_spike_as_simulated_and_specified(
    name: str, package: str, beta: Fraction, reset: str
) -> None:
    needed(package)
    function, trains = FUNCTIONS[name], drawn(len(FUNCTIONS[name].lines))
    for circuit in circuits(name, beta, reset):
        found = spikes(EXPORTS[package](circuit), trains)
        np.testing.assert_array_equal(found, simulate(circuit, trains))
        outputs = found[:, circuit.latency :, [neuron for _, neuron in circuit.outputs]]
        np.testing.assert_array_equal(outputs, function.run(trains)[:, : outputs.shape[1]])


@pytest.mark.parametrize(("package", "beta", "reset"), [case for case in CASES if expressed(*case)], ids=str)
def test_any_network_spikes_as_simulated(package: str, beta: Fraction, reset: str) -> None:
    """Compiled networks forgive a reset that comes a little wrong; networks of random weights do not."""
    needed(package)
    rng, d, layers = np.random.default_rng(2), 2, (0, 2, 1, 0, 1, 2, 0, 0)
    synapses = [
        Synapse(pre, post, delay, Fraction(rng.normal()))
        for post, pre, delay in product(range(8), range(-1, d + 8), (0, 1, 3))
        if delay or pre < d or layers[pre - d] < layers[post]
    ]
    circuit = SpikingCircuit(("x", "y"), beta, reset, "layered", ("",) * 8, layers, tuple(synapses), (("z", 0),), 0)
    trains = drawn(d)
    np.testing.assert_array_equal(spikes(EXPORTS[package](circuit), trains), simulate(circuit, trains, np.float32))


@pytest.mark.parametrize(("package", "beta", "reset"), [case for case in CASES if not expressed(*case)], ids=str)
def test_peers_refuse_resets_that_they_lack(package: str, beta: Fraction, reset: str) -> None:
    with pytest.raises(UsageError, match=rf"got {reset} at beta = {beta}; compile with reset \w+ or \w+$") as refused:
        EXPORTS[package](next(circuits("count", beta, reset)))
    assert set(str(refused.value).split()[-3::2]) == RESETS_OF[package]


def test_subtract_of_snntorch_is_no_soft_reset_even_without_its_delay() -> None:
    """Why it is refused: a spike may leave a potential above 1, and then the next step is 1 short."""
    neuron = needed("snntorch").Leaky(0.5, reset_delay=False, init_hidden=True)
    assert [neuron(torch.tensor([drive])).item() for drive in (4.0, 0.0)] == [1, 0]  # v = 4, then (4 - 1) / 2 > 1


@pytest.mark.parametrize("package", PEERS)
def test_an_absent_peer_is_named_with_its_command(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PEERS[package], None)
    with pytest.raises(UsageError, match=rf"run: pip install {package}$"):
        EXPORTS[package](next(circuits("count", Fraction(7, 8), "hard")))


@pytest.mark.parametrize("package", EXPORTS)
def test_a_module_begins_at_rest_and_can_be_copied(package: str) -> None:
    needed(package)
    circuit = next(circuits("composition", Fraction(7, 8), "hard"))
    module, trains = EXPORTS[package](circuit), drawn(2)
    expected = simulate(circuit, trains)
    for train in (trains, trains, trains[:3]):
        np.testing.assert_array_equal(spikes(module, train), expected[: len(train)])
    np.testing.assert_array_equal(spikes(copy.deepcopy(module), trains), expected)
    other = EXPORTS[package](circuit)
    other.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(spikes(other, trains), expected)
    assert spikes(module, trains[:, :0]).shape == (64, 0, circuit.neurons)
