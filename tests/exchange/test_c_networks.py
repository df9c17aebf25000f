"""The C controller against the Python session: every neuron model, encoder, read-out and squashing, bit for bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_controller import CController, compile_library, needs_gcc, same_bits
from networks import ENCODERS, NEURONS, READOUTS

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.exchange.c.description import Description, describe
from homeo_rl.exchange.c.memory_size import memory_bytes
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.snn.reference import forward_stepwise
from homeo_rl.spec import ControllerSpec, EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec

pytestmark = needs_gcc
DECISIONS = 30

ARMS = [
    "dwam-paper:eta=0.01", "dwam-paper:eta=0.02:zeta=none:tau=5", "dwam-paper:eta=0.01/0.02/0.005:c0=0.3", "bdett",
    "bdett:psi=2+dwam-paper:eta=0.01",
]  # fmt: skip
SURROUNDINGS: list[dict[str, Any]] = [
    {"squash": "tanh"}, {"squash": "identity"}, {"squash": "none"}, {"low": (), "high": ()},
    {"bins": 3}, {"bins": 3, "spacing": "cubic"}, {"normalise": False},
]  # fmt: skip


def make_controller(
    encoder: str = "population-regular", neuron: dict[str, Any] | None = None, readout: str = "population",
    network: dict[str, Any] | None = None, **fields: Any,
) -> Controller:  # fmt: skip
    """Return a small controller with random weights that fires in all layers."""
    torch.manual_seed(3)
    outputs = 2 * fields.get("bins", 1)
    spec = NetworkSpec(
        **{
            "inputs": 3, "outputs": outputs, "hidden": (14, 11), "steps": 5,
            "encoder": EncoderSpec(kind=encoder, size=4, span=2.0),  # type: ignore[arg-type]  # a literal
            "neuron": NeuronSpec(**(neuron or {})), "readout": ReadoutSpec(kind=readout, size=3, gain=1.5),  # type: ignore[arg-type]
            **(network or {}),
        }
    )  # fmt: skip
    controller = Controller(ControllerSpec(network=spec, **{"low": (-2.0, 0.5), "high": (1.0, 3.0), **fields}))
    controller.normaliser.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    controller.normaliser.running_var.copy_(torch.tensor([0.7, 1.3, 2.1]))
    with torch.no_grad():
        for part in controller.network.layers:  # type: ignore[union-attr]  # it is spiking
            part.weight.mul_(3.0)
    return controller.eval().requires_grad_(False)


def observations(count: int = DECISIONS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 1.2, (count, 3)).astype(np.float32)


def references_of(controller: Controller) -> Any:
    network = controller.network
    rates = [torch.full((n,), 0.3) for n in network.spec.widths[1:]]
    squares = [torch.full((n,), 0.15) for n in network.spec.widths[1:]]
    return network.references(rates, squares)  # type: ignore[union-attr]  # it is spiking


def drive_both(c: CController, session: Session, xs: np.ndarray) -> None:
    """Compare actions and rates of all decisions, bit for bit."""
    session.begin(0, np.random.default_rng(5))
    c.reset(5)
    for x in xs:
        expected = np.asarray(session.act(x[None])[0], dtype=np.float32).reshape(-1)
        assert same_bits([c.act(x)], [expected])
        assert same_bits(c.rates(), [rate[0].numpy() for rate in session.state.rates])


def compiled(folder: Path, made: dict[str, Description]) -> dict[str, CController]:
    library = compile_library(folder, made)
    return {name: CController(library, name, description) for name, description in made.items()}


def test_every_neuron_encoder_and_readout_is_equal_bit_for_bit(tmp_path: Path) -> None:
    cases = list(itertools.product(NEURONS, ENCODERS, READOUTS))
    controllers = [make_controller(encoder, neuron, readout) for neuron, encoder, readout in cases]
    c = compiled(tmp_path, {f"case_{k}": describe(controller) for k, controller in enumerate(controllers)})
    spikes = 0.0
    for k, controller in enumerate(controllers):
        drive_both(c[f"case_{k}"], Session(controller, 1), observations())
        spikes += sum(rate.sum() for rate in c[f"case_{k}"].rates()[1:])
    assert spikes > 2 * len(cases)  # silence would be equal too


def test_every_surrounding_initial_potential_and_membrane_is_equal_bit_for_bit(tmp_path: Path) -> None:
    controllers = [make_controller(readout="mean" if "bins" in fields else "population", **fields)
                   for fields in SURROUNDINGS]  # fmt: skip
    for initial, membrane in itertools.product(("rest", "neuron", "layer"), ("decision", "episode")):
        for kind in ("current-lif", "lif"):
            network = {"initial": initial, "membrane": membrane}
            controllers.append(make_controller("bernoulli", {"kind": kind}, "membrane", network, squash="identity"))
    c = compiled(tmp_path, {f"case_{k}": describe(controller) for k, controller in enumerate(controllers)})
    for k, controller in enumerate(controllers):
        drive_both(c[f"case_{k}"], Session(controller, 1), observations())


@pytest.mark.parametrize("arm", ARMS)
def test_mechanisms_adapt_equally_bit_for_bit(arm: str, tmp_path: Path) -> None:
    plugin = make_homeostasis(arm)
    controllers = [make_controller(encoder) for encoder in ENCODERS]
    controllers += [make_controller(network={"membrane": "episode"}), make_controller(readout="membrane")]
    made = {f"case_{k}": describe(part, plugin, references_of(part)) for k, part in enumerate(controllers)}
    c = compiled(tmp_path, made)
    for k, controller in enumerate(controllers):
        one, session = c[f"case_{k}"], Session(controller, 1, plugin=plugin, references=references_of(controller))
        drive_both(one, session, observations(60))
        for layer, adaptation in enumerate(session.state.adaptation):
            if not made[f"case_{k}"].layers[layer].fires:
                continue
            for key, value in adaptation.items():
                what = {"delta": "delta", "m": "mean", "energy": "energy"}.get(key.rpartition(".")[2])
                if what is not None:
                    assert same_bits([one.read(what, layer)], [value[0].numpy()])
        drive_both(one, session, observations(5, seed=1))  # an episode later: everything began again


@pytest.mark.parametrize("field", [{"neuron": {"kind": "plif", "tau": 3.0}}, {"network": {"initial": "constant"}}])
def test_learnable_leaks_and_constant_currents_follow_the_reference(field: dict[str, Any], tmp_path: Path) -> None:
    """Their Python sums are a matrix product's, whose order is a library's: spikes equal, outputs to 1e-6."""
    for decay in (True, False):
        neuron = {**field.get("neuron", {}), "decay_input": decay}
        controller = make_controller("current", neuron, "membrane", field.get("network"), normalise=False)
        with torch.no_grad():
            for k, leak in enumerate(controller.network.leaks or []):  # type: ignore[union-attr]  # it is spiking
                leak.copy_(torch.tensor(0.3 * k))
        made = describe(controller)
        (tmp_path / str(decay)).mkdir()
        c = compiled(tmp_path / str(decay), {"tested": made})["tested"]
        c.reset(0)
        for x in observations():
            c.act(x)
            y, trains = forward_stepwise(made.network, torch.as_tensor(x[None]))
            np.testing.assert_allclose(c.outputs(), y[0].numpy(), rtol=0, atol=1e-6)
            expected = [train[0].mean(0).numpy() for train in trains[:-1]]
            np.testing.assert_allclose(np.concatenate(c.rates()[1:-1]), np.concatenate(expected), rtol=0, atol=1e-7)


def test_dead_and_stuck_neurons_and_lost_weights_act_as_in_python(tmp_path: Path) -> None:
    plugin = make_homeostasis("dwam-paper:eta=0.01")
    controller = make_controller()
    made = describe(controller, plugin, references_of(controller))
    library = compile_library(tmp_path, {"tested": made})
    c = CController(library, "tested", made, writable=True)
    session = Session(controller, 1, plugin=plugin, references=references_of(controller))
    session.begin(0, np.random.default_rng(5))
    c.reset(5)
    damaged = []
    for index, layer in enumerate(session.trained):
        alive, stuck = torch.ones_like(layer.bias), torch.zeros_like(layer.bias)
        weight = layer.weight.clone()
        if index < 2:
            alive[2], stuck[4], weight[1, 3] = 0.0, 1.0, 0.0
            assert c.call("damage_neuron", index, 2, 1) == c.call("damage_neuron", index, 4, 2) == 0
        c.write(index, weight.numpy(), (layer.bias + 0.1).numpy())
        damaged.append(layer._replace(weight=weight, bias=layer.bias + 0.1, alive=alive, stuck=stuck))
    session.set_weights(0, tuple(damaged))
    for x in observations():
        expected = session.act(x[None])[0]
        assert same_bits([c.act(x)], [expected])
        assert same_bits(c.rates(), [rate[0].numpy() for rate in session.state.rates])
    assert c.rates()[1][2] == 0.0
    assert c.rates()[1][4] == 1.0


def test_memory_is_what_python_says(tmp_path: Path) -> None:
    controller = make_controller(network={"membrane": "episode"}, readout="membrane")
    plugins = [None, *map(make_homeostasis, ARMS)]
    made = {f"case_{k}": describe(controller, plugin, references_of(controller)) for k, plugin in enumerate(plugins)}
    library = compile_library(tmp_path, made)
    for name, description in made.items():
        for writable in (False, True):
            c = CController(library, name, description, writable=writable)
            assert c.bytes == memory_bytes(description, writable=writable)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e15])
def test_an_observation_that_is_not_finite_changes_nothing(value: float, tmp_path: Path) -> None:
    controller = make_controller("bernoulli")
    c = compiled(tmp_path, {"tested": describe(controller)})["tested"]
    session = Session(controller, 1)
    session.begin(0, np.random.default_rng(5))
    c.reset(5)
    import ctypes

    wrong = np.array([0.0, value, 0.0], dtype=np.float32)
    for x in observations(5):
        before = c.actions.copy()
        address = ctypes.c_void_p(c.actions.ctypes.data)
        assert c.call("act", ctypes.c_void_p(wrong.ctypes.data), address) == -1
        assert same_bits([c.actions], [before])
        assert same_bits([c.act(x)], [session.act(x[None])[0]])


def test_an_adaptation_that_goes_wrong_is_rolled_back_as_in_python(tmp_path: Path) -> None:
    plugin = make_homeostasis("dwam-paper:eta=1e3:trust=1e6:zeta=none")
    controller = make_controller()
    made = describe(controller, plugin, references_of(controller))
    c = compiled(tmp_path, {"tested": made})["tested"]
    session = Session(controller, 1, plugin=plugin, references=references_of(controller))
    drive_both(c, session, observations(70))
    assert c.rolled_back == session.rolled_back[0] > 0


def test_the_generator_is_numpys(tmp_path: Path) -> None:
    """Bernoulli spikes are those of ``numpy.random.default_rng(seed)``, also for seeds of more than 32 bits."""
    controller = make_controller("bernoulli", normalise=False)
    c = compiled(tmp_path, {"tested": describe(controller)})["tested"]
    spec = controller.network.spec
    for seed in (0, 1, 2**32 - 1, 2**32, 2**63 + 12345):
        c.reset(seed)
        draws = np.random.default_rng(seed).random((3, spec.steps, spec.widths[0]), dtype=np.float32)
        for noise, x in zip(draws, observations(3), strict=True):
            c.act(x)
            rate = np.clip(np.concatenate([x, -x]) / np.float32(2.0), 0, 1)
            np.testing.assert_array_equal(c.rates()[0] * spec.steps, (noise < rate).sum(0))
