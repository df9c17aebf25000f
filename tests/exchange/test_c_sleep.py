"""Self-test, sleep and rehearsal in C against Python.

Sums of a sleep run over remembered observations one after the other in C and through matrix products in Python, so in
float32 single spikes may differ. In float64 the same sources give the same weights to ten digits, which is the proof
that they compute the same thing.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_controller import CController, compile_library, memory_in_float64, needs_gcc, same_bits
from test_c_networks import make_controller, observations, references_of

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.exchange.c.description import Description, describe
from homeo_rl.exchange.c.memory_size import memory_bytes
from homeo_rl.homeostasis import SleepHomeostat, make_homeostasis
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import LayerReference
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.offline_repair import healthy_model
from homeo_rl.snn.replay import Replay, memory_for, remember
from homeo_rl.snn.state import Weights

pytestmark = needs_gcc

BUSY, FAILED = 1, 2
CASES: dict[str, dict[str, Any]] = {
    "population": {"network": {"hidden": (20, 16)}},
    "graded": {"encoder": "current", "readout": "membrane", "neuron": {"kind": "lif", "threshold": 0.5, "tau": 2.0}},
    "random": {"encoder": "bernoulli", "readout": "mean", "neuron": {"kind": "if", "reset": "hard"}},
    "episode": {"network": {"membrane": "episode"}, "neuron": {"kind": "lif", "threshold": 0.5}},
    "initial": {"network": {"hidden": (12,), "initial": "neuron"}, "readout": "last"},
}


TOLERANCE = "tolerance=0.00051"
"""No number of spikes is exactly this, ten times or forty times this: sums in another order fall on the same side."""

LONG: dict[str, dict[str, Any]] = {
    "long": {"network": {"hidden": (20, 16), "steps": 20}},
    "choice": {"network": {"steps": 17}, "readout": "mean", "low": (), "high": ()},
}
"""Spike trains that are too long to be fitted."""


def memory_of(controller: Controller, count: int = 40) -> Memory:
    assert isinstance(controller.network, SpikingNetwork)
    return remember(controller.network, controller.normaliser(torch.as_tensor(observations(count, seed=9))))


def in_float64(memory: Memory) -> Memory:
    """Return a memory in float64; of potentials, the float32 means over time that C is given."""
    means = [train.mean(1, keepdim=True).expand_as(train) for train in memory.trains[1:]]
    spikes = [bool(torch.all((train == 0) | (train == 1))) for train in memory.trains[1:]]
    trains = [(t if s else m).double() for t, m, s in zip(memory.trains[1:], means, spikes, strict=True)]
    return Memory(memory.inputs.double(), (memory.trains[0].double(), *trains))


def damage(weights: Weights, *, scale: float = 1.0) -> Weights:
    """Return weights of which synapses are gone, one neuron is dead and one stuck; a third layer is only scaled."""
    changed = []
    for index, layer in enumerate(weights):
        kept = torch.as_tensor(np.random.default_rng(index).random(layer.weight.shape) > 0.3)
        alive, stuck = torch.ones_like(layer.bias), torch.zeros_like(layer.bias)
        if index == 0:
            alive[1], stuck[2] = 0.0, 1.0
        changed.append(
            layer._replace(weight=layer.weight * kept * scale, bias=layer.bias * scale, alive=alive, stuck=stuck)
        )
    return tuple(changed)


def write_damage(c: CController, weights: Weights) -> None:
    for index, layer in enumerate(weights):
        c.write(index, layer.weight.numpy(), layer.bias.numpy())
        assert layer.alive is not None
        assert layer.stuck is not None
        for n, (alive, stuck) in enumerate(zip(layer.alive.tolist(), layer.stuck.tolist(), strict=True)):
            assert c.call("damage_neuron", index, n, 2 if stuck else 0 if alive else 1) == 0


def made_of(
    case: str, arm: str, fields: dict[str, Any] | None = None
) -> tuple[Controller, Memory, Description, tuple[LayerReference, ...]]:
    controller = make_controller(**(CASES[case] if fields is None else fields))
    memory, references = memory_of(controller), references_of(controller)
    return controller, memory, describe(controller, make_homeostasis(arm), references, memory), references


@pytest.mark.parametrize("form", ["delta", "bias", "gain"])
def test_sleep_repairs_the_same_weights_in_float64(form: str, tmp_path: Path) -> None:
    arm = f"sleep:form={form}:passes=7:observations=40"
    plugin = make_homeostasis(arm)
    assert isinstance(plugin, SleepHomeostat)
    parts = {f"{case}_net": made_of(case, arm) for case in CASES}
    library = compile_library(tmp_path, {name: part[2] for name, part in parts.items()}, "-DHOMEO_DOUBLE")
    improved = 0
    for name, (controller, memory, made, _) in parts.items():
        for scale in (1.0, 0.25):
            c = CController(library, name, made, double=True)
            c.reset(0)
            network = controller.network.double()
            replay = Replay(network, in_float64(memory))
            weights = damage(network.parameters_of_layers(), scale=scale)
            write_damage(c, weights)
            test = replay.test(weights)
            assert c.call("selftest") == FAILED
            np.testing.assert_allclose(c.changes(), test.change, rtol=1e-10)
            repaired = replay.repair(plugin, weights)
            assert c.call("sleep") == 0
            for index, layer in enumerate(repaired):
                np.testing.assert_allclose(c.read("weight", index), layer.weight.numpy(), rtol=0, atol=1e-10)
                np.testing.assert_allclose(c.read("bias", index), layer.bias.numpy(), rtol=0, atol=1e-10)
                improved += int(not torch.equal(layer.bias, weights[index].bias))
            assert c.call("selftest") == 0  # how it answers now is the reference of the next tests
            assert max(c.changes()) == 0.0
            controller.float()
    assert improved > len(parts)


def damage_everywhere(weights: Weights, kind: str) -> Weights:
    """Return weights with one kind of damage in all layers; "mixed" is `damage`."""
    if kind == "mixed":
        return damage(weights)
    changed = []
    for index, layer in enumerate(weights):
        draws, weight, bias = np.random.default_rng(index), layer.weight, layer.bias
        if kind == "noise":
            weight = weight + 0.2 * torch.as_tensor(draws.normal(size=weight.shape)).to(weight)
        elif kind == "lost":
            weight = weight * torch.as_tensor(draws.random(weight.shape) > 0.3)
        else:  # scale, of the biases, too, in all layers but the first
            weight, bias = 0.25 * weight, 0.25 * bias if index else bias
        changed.append(
            layer._replace(weight=weight, bias=bias, alive=torch.ones_like(bias), stuck=torch.zeros_like(bias))
        )
    return tuple(changed)


@pytest.mark.parametrize(
    ("cases", "options"),
    [
        (CASES, "dreams=30"),
        ({"population": CASES["population"]}, "dreams=0"),
        ({"population": CASES["population"]}, "dreams=30:bits=0"),
        (LONG, "dreams=30"),
    ],
    ids=["all", "no dreams", "no copy", "long"],
)
def test_competing_candidates_repair_the_same_weights_in_float64(
    cases: dict[str, dict[str, Any]], options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = f"sleep:observations=40:passes=7:{TOLERANCE}:{options}"
    plugin = make_homeostasis(arm)
    assert isinstance(plugin, SleepHomeostat)
    parts = {f"{case}_net": made_of(case, arm, fields) for case, fields in cases.items()}
    library = compile_library(tmp_path, {name: part[2] for name, part in parts.items()}, "-DHOMEO_DOUBLE")
    kept: set[str] = set()
    for name, (controller, memory, made, _) in parts.items():
        network = controller.network
        assert isinstance(network, SpikingNetwork)
        memory = memory_for(plugin, memory, network.parameters_of_layers())
        dreamed = healthy_model.encode_dreams(network, memory, plugin.dreams or 1).double()  # what C is given
        monkeypatch.setattr(healthy_model, "encode_dreams", lambda *_, dreamed=dreamed: dreamed)
        network.double()
        replay = Replay(network, memory_in_float64(memory), controller.unit_action)
        for kind in ("mixed", "noise", "lost", "scale"):
            c = CController(library, name, made, double=True)
            c.reset(0)
            weights = damage_everywhere(network.parameters_of_layers(), kind)
            write_damage(c, weights)
            repair = replay.rehearse(plugin, weights)
            assert c.call("selftest") == FAILED
            assert c.call("sleep") == 0
            assert c.kept() == list(repair.chosen)
            kept |= set(repair.chosen)
            for index, layer in enumerate(repair.weights):
                np.testing.assert_allclose(c.read("weight", index), layer.weight.numpy(), rtol=0, atol=1e-10)
                np.testing.assert_allclose(c.read("bias", index), layer.bias.numpy(), rtol=0, atol=1e-10)
            assert c.call("selftest") == 0
            assert max(c.changes()) == 0.0
        monkeypatch.undo()
    if cases is CASES:
        assert kept == {"keep", "model", "spikes", "ridge", "delta"}
    elif cases is LONG:
        assert "spikes" not in kept


def act_both(c: CController, session: Session, xs: np.ndarray) -> None:
    for x in xs:
        slept = c.call("maybe_sleep")
        assert slept in (0, 1)
        expected = session.act(x[None])[0]
        assert same_bits([c.act(x)], [expected])
        assert [c.sleeps] == session.sleeps


@pytest.mark.parametrize("case", CASES)
def test_rehearsal_chooses_and_learns_the_same_bit_for_bit(case: str, tmp_path: Path) -> None:
    """The arm ``dwam``: the weights stay, the rate is found on the memory, the delta is what was learned at it."""
    arm = "dwam:rates=0.001/0.01/0.003:passes=2:least=0.0:eta=0.001"
    controller, memory, made, references = made_of(case, arm)
    library = compile_library(tmp_path, {"tested": made})
    c = CController(library, "tested", made, writable=True)
    session = Session(controller, 1, plugin=make_homeostasis(arm), references=references, memory=memory)
    session.begin(0, np.random.default_rng(5))
    c.reset(5)
    act_both(c, session, observations(5))
    assert c.sleeps == 0  # healthy: it stays shut
    weights = damage(session.trained)
    session.set_weights(0, weights)
    write_damage(c, weights)
    act_both(c, session, observations(30, seed=1))
    assert c.sleeps == 1
    for index, adaptation in enumerate(session.state.adaptation):
        if made.layers[index].fires:
            assert same_bits([c.read("delta", index)], [adaptation["delta"][0].numpy()])
    assert float(c.c.shim_eta(c.state)) == pytest.approx(float(session.state.adaptation[0]["eta"][0, 0]))


@pytest.mark.parametrize("sleep", ["", "+sleep:form=delta:passes=3"])
def test_what_rehearses_does_so_again_in_the_next_episode_with_the_weights_as_they_are(
    sleep: str, tmp_path: Path
) -> None:
    """`homeo_restart` is the `begin` of a session that is then given the weights of the last episode."""
    arm = f"dwam:rates=0.001/0.01/0.003:passes=2:least=0.0:eta=0.001{sleep}"
    controller, memory, made, references = made_of("population", arm)
    c = CController(compile_library(tmp_path, {"tested": made}), "tested", made, writable=True)
    weights = damage(controller.network.parameters_of_layers())
    c.reset(5)
    write_damage(c, weights)
    for x in observations(20, seed=1):
        c.call("maybe_sleep")
        c.act(x)
    assert c.sleeps == 1
    learned = [c.read("delta", index) for index, layer in enumerate(made.layers) if layer.fires]
    assert any(delta.any() for delta in learned)
    assert c.call("restart", ctypes.c_uint64(8)) == 0
    assert c.sleeps == 0
    assert not any(c.read("delta", index).any() for index, layer in enumerate(made.layers) if layer.fires)
    session = Session(controller, 1, plugin=make_homeostasis(arm), references=references, memory=memory)
    session.begin(0, np.random.default_rng(8))
    session.set_weights(0, tuple(
        layer._replace(weight=torch.as_tensor(c.read("weight", k).copy()), bias=torch.as_tensor(c.read("bias", k)))
        for k, layer in enumerate(weights)
    ))  # fmt: skip
    assert c.call("selftest_due")
    if not sleep:
        act_both(c, session, observations(20, seed=2))
    else:  # a repair is found in sums of another order, so actions are equal in the number of sleeps only
        for x in observations(5, seed=2):
            c.call("maybe_sleep")
            c.act(x)
            session.act(x[None])
            assert [c.sleeps] == session.sleeps
    assert c.sleeps == 1


@pytest.mark.parametrize(
    "arm",
    [
        "sleep:form=delta", "dwam+sleep:form=delta", "dwam-paper:eta=0.001+sleep:form=delta", "bdett+sleep:form=delta",
        "sleep", "dwam+sleep", "dwam-paper:eta=0.001+sleep", "bdett+sleep",
    ],
)  # fmt: skip
def test_after_sleep_python_acts_equally_with_the_repaired_weights(arm: str, tmp_path: Path) -> None:
    arm = f"{arm}:passes=5:every=3:rest=4:{TOLERANCE}"
    controller, memory, made, references = made_of("population", arm)
    plugin = make_homeostasis(arm)
    assert isinstance(plugin, SleepHomeostat)
    c = CController(compile_library(tmp_path, {"tested": made}), "tested", made)
    session = Session(controller, 1, plugin=plugin, references=references, memory=memory)
    session.begin(0, np.random.default_rng(5))
    c.reset(5)
    act_both(c, session, observations(4))
    weights = damage(session.trained)
    session.set_weights(0, weights)
    write_damage(c, weights)
    due = [bool(c.call("selftest_due"))]
    for x in observations(6, seed=1):
        c.call("maybe_sleep")
        c.act(x)
        session.act(x[None])
        due.append(bool(c.call("selftest_due")))
        assert [c.sleeps] == session.sleeps
    assert c.sleeps == 1
    for index, effective in enumerate(session.state.weights or ()):  # what sleep found, in sums of another order
        np.testing.assert_allclose(c.read("weight", index), effective.weight[0].numpy(), rtol=0, atol=1e-4)
    assert c.call("restart", ctypes.c_uint64(8)) == 0
    awake = Session(controller, 1)
    awake.begin(0, np.random.default_rng(8))
    awake.set_weights(0, tuple(
        layer._replace(weight=torch.as_tensor(c.read("weight", k).copy()), bias=torch.as_tensor(c.read("bias", k)))
        for k, layer in enumerate(weights)
    ))  # fmt: skip
    if plugin.awake is None:
        for x in observations(20, seed=2):
            assert same_bits([c.act(x)], [awake.act(x[None])[0]])


@pytest.mark.parametrize("sleep", ["sleep:form=delta:passes=3", "sleep:dreams=50"])
def test_slices_do_what_one_call_does_and_the_old_weights_act_meanwhile(sleep: str, tmp_path: Path) -> None:
    arm = f"dwam:rates=0.01:passes=2:least=0.0+{sleep}"
    controller, memory, made, _ = made_of("population", arm)
    library = compile_library(tmp_path, {"tested": made})
    whole, sliced, still = (CController(library, "tested", made) for _ in range(3))
    weights = damage(controller.network.parameters_of_layers())
    for one in (whole, sliced, still):
        one.reset(3)
        write_damage(one, weights)
    assert whole.call("sleep") == 0
    assert sliced.call("sleep_start") == 0
    xs, slices = observations(7, seed=4), 0
    while (result := sliced.call("sleep_step")) == BUSY:
        slices += 1
        if slices % 50 == 0:
            x = xs[slices // 50 % len(xs)]
            assert same_bits([sliced.act(x)], [still.act(x)])
    assert result == 0
    assert slices > 100 * len(memory.inputs)
    for index in range(len(made.layers)):
        for what in ("weight", "bias", "delta"):
            assert same_bits([sliced.read(what, index)], [whole.read(what, index)])
    assert sliced.call("sleep_step") == -3  # it is over


@pytest.mark.parametrize("arm", ["sleep:form=delta:passes=3", "sleep:dreams=50"])
def test_a_damage_ends_a_sleep_without_effect(arm: str, tmp_path: Path) -> None:
    controller, _, made, _ = made_of("population", arm)
    c = CController(compile_library(tmp_path, {"tested": made}), "tested", made)
    c.reset(3)
    write_damage(c, damage(controller.network.parameters_of_layers()))
    before = [c.read("weight", index) for index in range(len(made.layers))]
    assert c.call("sleep_start") == 0
    for _ in range(500):
        assert c.call("sleep_step") == BUSY
    assert c.call("damage_neuron", 0, 3, 1) == 0
    assert c.call("sleep_step") == -3
    assert same_bits(before, [c.read("weight", index) for index in range(len(made.layers))])
    assert c.sleeps == 0


def test_what_was_not_exported_is_absent(tmp_path: Path) -> None:
    controller = make_controller()
    made = describe(controller)
    c = CController(compile_library(tmp_path, {"tested": made}), "tested", made)
    assert c.call("act", None, None) == -3  # homeo_reset must come first
    c.reset(0)
    assert c.call("selftest") == c.call("sleep") == -4
    assert c.call("maybe_sleep") == c.call("selftest_due") == 0
    assert c.call("damage_neuron", 0, 0, 1) == -4
    assert c.call("damage_neuron", 9, 0, 1) == c.call("damage_neuron", 0, 99, 1) == -5


@pytest.mark.parametrize(
    "arm",
    ["sleep:form=delta", "sleep:form=bias", "dwam", "dwam+sleep:form=delta", "bdett+sleep:form=gain", "sleep",
     "dwam+sleep:dreams=7:bits=3", "sleep:dreams=0:bits=0"],
)  # fmt: skip
def test_memory_of_sleep_is_what_python_says(arm: str, tmp_path: Path) -> None:
    made = {f"{case}_net": made_of(case, arm)[2] for case in CASES}
    library = compile_library(tmp_path, made)
    for name, description in made.items():
        for writable in (False, True):
            c = CController(library, name, description, writable=writable)
            assert c.bytes == memory_bytes(description, writable=writable or description.writable)
