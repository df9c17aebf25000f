"""NIR graphs spike in snnTorch, SpikingJelly and norse as here, wherever docs/exchange.md says so."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import nir_readers
import numpy as np
import pytest
import torch
from torch import nn

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.importers import import_popsan
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.language import parse_function
from homeo_rl.compiler.lowering import Neurons
from homeo_rl.compiler.spike_function import Line, SpikeFunction
from homeo_rl.compiler.storage import network_of
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.exchange.dialects import FLAVOURS, resolve_dialect
from homeo_rl.exchange.nir_compiled import Names, export_compiled, read_compiled
from homeo_rl.exchange.nir_graph import export_nir
from homeo_rl.exchange.nir_import import import_nir
from homeo_rl.run import Run
from homeo_rl.snn import layers, neurons
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import NetworkState
from homeo_rl.spec import ControllerSpec, NetworkSpec, NeuronSpec, ReadoutSpec
from homeo_rl.storage.pretrained import FOLDER

nir = pytest.importorskip("nir", reason="nir: not installed; pip install 'homeo-rl[nir]'")

PAGE = Path(__file__).parents[2] / "docs" / "exchange.md"
READERS = ("snntorch", "spikingjelly", "norse")
NEURONS = {
    "current-lif": NeuronSpec(),
    "lif": NeuronSpec(kind="lif", reset="hard", threshold=0.25),
    "lif, input not decayed": NeuronSpec(kind="lif", reset="hard", decay_input=False),
    "if": NeuronSpec(kind="if", reset="hard", threshold=0.25),
    "lif, soft reset": NeuronSpec(kind="lif", threshold=0.25),
}
STEPS = 8


def policy(neuron: NeuronSpec, *, grid: bool = True, **fields: Any) -> Controller:
    """Return a policy with random weights; on a grid, sums are exact and potentials often reach the threshold."""
    torch.manual_seed(0)
    network = NetworkSpec(inputs=4, outputs=3, hidden=(24, 16), steps=STEPS, neuron=neuron, **fields)
    made = Controller(ControllerSpec(network=network, low=(-1.0,) * 3, high=(1.0,) * 3)).eval().requires_grad_(False)
    rng = np.random.default_rng(1)
    assert isinstance(made.network, SpikingNetwork)
    for layer in made.network.layers:
        assert isinstance(layer, nn.Linear)
        drawn = rng.integers(-24, 32, layer.weight.shape) / 64
        layer.weight.copy_(torch.as_tensor(drawn if grid else rng.normal(0.05, 0.3, layer.weight.shape)))
        layer.bias.copy_(torch.as_tensor(rng.integers(-16, 17, layer.bias.shape) / 64))
    return made


def trains(width: int, batch: int = 256, steps: int = STEPS, seed: int = 2) -> np.ndarray:
    return (np.random.default_rng(seed).random((batch, steps, width)) < 0.4).astype(np.float32)


@torch.no_grad()
def ours(controller: Controller, x: np.ndarray) -> nir_readers.Spikes:
    """Return the spikes of every layer for encoder spikes ``x``, by the plain reference."""
    network = controller.network
    assert isinstance(network, SpikingNetwork)
    train, found = torch.from_numpy(x), {}
    for index in range(len(network.layers)):
        own = network.weights_of(index, NetworkState(0))
        received = layers.currents(train, own.weight, own.bias)
        fires = network.readout.spiking or index < len(network.layers) - 1
        train, _ = neurons.scan(
            network.spec.neuron,
            received,
            network.rest_of(index, received[:, 0]),
            fires=fires,
            tau=network.leak_of(index),
        )
        found[f"neuron_{index}"] = train.numpy()
    return found | {"output": train.numpy()}


def differing(got: nir_readers.Spikes, expected: nir_readers.Spikes) -> float:
    """Return the share of spikes that differ, over all neurons and steps."""
    assert set(got) == set(expected)
    names = [name for name in expected if name != "output"]
    assert all(got[name].shape == expected[name].shape for name in expected)
    apart = sum(int((got[name] != expected[name]).sum()) for name in names)
    return apart / sum(expected[name].size for name in names)


def saved(folder: Path, controller: Controller, flavour: str, dt: float | None = None, decay: str = "euler") -> Path:
    path = folder / f"{flavour}.nir"
    path.write_bytes(export_nir(controller, *resolve_dialect(flavour, dt, decay)).blob)
    return path


@cache
def _told() -> dict[tuple[str, str], list[str]]:
    """Return the page's table: (neurons, flavour of the file) -> what each reader makes of it."""
    rows = re.findall(r"^\| ([^|]+) \| (standard|its own) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.M)
    return {(kind, flavour): list(cells) for kind, flavour, *cells in rows}


def cell(reader: str, controller: Controller, flavour: str, folder: Path) -> str:
    """Measure one cell of the page's table."""
    x = trains(controller.network.spec.widths[0])
    name = reader if flavour == "its own" else "standard"
    try:
        path = saved(folder, controller, name, None if flavour == "its own" else 1e-4)
    except UsageError:
        return "refused here"
    try:
        got = nir_readers.run(reader, path, x, FLAVOURS[name].dt)
    except (AssertionError, ValueError, AttributeError, KeyError):
        return "refused there"
    share = differing(got, ours(controller, x))
    return "equal" if share == 0 else f"{share:.2%} differ"


def test_the_table_is_whole() -> None:
    assert set(_told()) == set(itertools.product(NEURONS, ("standard", "its own")))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("kind", "flavour"), list(itertools.product(NEURONS, ("standard", "its own"))))
def test_readers_spike_as_the_page_says(kind: str, flavour: str, reader: str, tmp_path: Path) -> None:
    nir_readers.import_reader(reader)
    controller = policy(NEURONS[kind])
    expected = ours(controller, trains(controller.network.spec.widths[0]))
    assert all(0.02 < train.mean() < 0.98 for train in expected.values()), "nothing to compare"
    assert cell(reader, controller, flavour, tmp_path) == _told()[kind, flavour][READERS.index(reader)]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "neuron",
    [
        NeuronSpec(voltage_decay=0.8, current_decay=0.3, threshold=0.7),
        NeuronSpec(kind="lif", reset="hard", tau=2.3, threshold=0.4),
        NeuronSpec(kind="plif", reset="hard", tau=3.1, threshold=0.4, decay_input=False),
    ],
    ids=["current-lif", "lif", "plif"],
)
def test_constants_that_float32_rounds_flip_next_to_no_spike(neuron: NeuronSpec, reader: str, tmp_path: Path) -> None:
    nir_readers.import_reader(reader)
    controller = policy(neuron, grid=False)
    if controller.network.leaks is not None:  # each layer its own
        for index, leak in enumerate(controller.network.leaks):
            leak.fill_(-0.3 + 0.4 * index)
    x = trains(controller.network.spec.widths[0], batch=2000)
    expected = ours(controller, x)
    assert all(0.05 < train.mean() < 0.95 for train in expected.values())
    share = differing(nir_readers.run(reader, saved(tmp_path, controller, reader), x, FLAVOURS[reader].dt), expected)
    assert share < 2e-5, share


def alike(reader: str, controller: Controller, x: np.ndarray, folder: Path) -> None:
    """Print, and bound, the share of spikes that differ for a trained policy."""
    nir_readers.import_reader(reader)
    got = nir_readers.run(reader, saved(folder, controller, reader), x, FLAVOURS[reader].dt)
    share = differing(got, ours(controller, x))
    counted = sum(train.size for name, train in got.items() if name != "output")
    print(f"{reader}: {share:.1e} of {counted:,} spikes differ")
    assert share < 2e-5


@pytest.mark.parametrize("reader", READERS)
def test_the_trained_robot_spikes_alike_everywhere(reader: str, tmp_path: Path) -> None:
    controller = load_controller(Run.open(FOLDER / "navigation-san"))
    alike(reader, controller, trains(controller.network.spec.widths[0], batch=1000, steps=5), tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("reader", READERS)
def test_the_published_actor_spikes_alike_everywhere(reader: str, popsan_file: Path, tmp_path: Path) -> None:
    env = make_env("HalfCheetah-v5")
    controller = import_popsan(popsan_file, env)
    env.close()
    assert isinstance(controller.network, SpikingNetwork)
    z = torch.as_tensor(np.random.default_rng(0).normal(size=(2000, 17)), dtype=torch.float32)
    alike(reader, controller, controller.network.encoder(z, 5).numpy(), tmp_path)


@pytest.mark.parametrize("decay", ["euler", "exponential"])
@pytest.mark.parametrize("readout", ["population", "membrane"])
@pytest.mark.parametrize("kind", NEURONS)
def test_standard_graphs_mean_what_the_page_says(kind: str, readout: str, decay: str, tmp_path: Path) -> None:
    """An interpreter that reads the nodes alone gets all spikes, soft resets and read-outs by potential included."""
    exact = decay == "euler"  # exp(-dt / tau) is the decay up to rounding, and potentials may miss a threshold by it
    controller = policy(NEURONS[kind], grid=exact, readout=ReadoutSpec(kind=readout))  # type: ignore[arg-type]
    x, dt = trains(controller.network.spec.widths[0]), 2.0**-10
    expected = ours(controller, x)
    got = nir_readers.interpret(saved(tmp_path, controller, "standard", dt, decay), x, dt, decay)
    if readout == "membrane":
        np.testing.assert_allclose(got.pop("neuron_2"), expected.pop("neuron_2"), atol=0 if exact else 1e-5)
        np.testing.assert_allclose(got["output"], expected["output"], atol=0 if exact else 1e-5)
    assert differing(got, expected) <= (0 if exact else 2e-5)


BETAS = [Fraction(0), Fraction(7, 8), Fraction(1)]
SHAPES = list(itertools.product(("hard", "soft", "soft_next"), ("unit", "layered"), ("synaptic", "relays")))
FUNCTION = "latch(count(a, 2, window=3), not b) and delay(a, 2)"
NAMES = Names(("a", "b"), ("out",))


def compiled(beta: Fraction, reset: str, target: str, delays: str) -> Any:
    lines = {name: Line(name) for name in NAMES.lines}
    function = SpikeFunction(NAMES.lines, (("out", parse_function(FUNCTION, lines)),))
    return compile_function(function, Neurons(beta, reset, target, delays), fuse=False)  # type: ignore[arg-type]


def neurons_apart(network: Any, got: nir_readers.Spikes) -> np.ndarray:
    """Return the spikes [B, T, N] of all neurons in the network's own order."""
    places = np.array(network.spec.layers)
    names = [f"neuron_{g}" for g in range(len(np.unique(places)))]
    found = np.zeros((*got[names[0]].shape[:2], network.spec.neurons), dtype=np.float32)
    for layer, name in zip(np.unique(places), names, strict=True):
        found[:, :, places == layer] = got[name]
    return found


@pytest.mark.parametrize(("reset", "target", "delays"), SHAPES)
@pytest.mark.parametrize("beta", BETAS, ids=str)
def test_compiled_networks_are_graphs_and_come_back(
    beta: Fraction, reset: str, target: str, delays: str, tmp_path: Path
) -> None:
    network = network_of(compiled(beta, reset, target, delays))
    x = trains(2, batch=64, steps=40)
    expected = network.run(torch.from_numpy(x)).numpy()
    assert 0.05 < expected.mean() < 0.95
    path = tmp_path / "compiled.nir"
    path.write_bytes(export_compiled(network, NAMES, *resolve_dialect("standard", 2.0**-10)).blob)
    clocked = np.concatenate([np.ones_like(x[:, :, :1]), x], 2)
    got = nir_readers.interpret(path, clocked, 2.0**-10)
    np.testing.assert_array_equal(neurons_apart(network, got), expected)
    np.testing.assert_array_equal(got["output"], expected[:, :, list(network.spec.outputs)])
    back, names = read_compiled(path)
    assert (back.spec, names) == (network.spec, NAMES)
    assert torch.equal(back.weight, network.weight)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("beta", BETAS[1:], ids=str)
def test_compiled_networks_spike_alike_everywhere(beta: Fraction, reader: str, tmp_path: Path) -> None:
    nir_readers.import_reader(reader)
    network = network_of(compiled(beta, "hard", "unit", "relays"))
    x = trains(2, batch=64, steps=40)
    expected = network.run(torch.from_numpy(x)).numpy()
    path = tmp_path / "compiled.nir"
    path.write_bytes(export_compiled(network, NAMES, *resolve_dialect(reader)).blob)
    clocked = np.concatenate([np.ones_like(x[:, :, :1]), x], 2)
    got = nir_readers.run(reader, path, clocked, FLAVOURS[reader].dt)
    np.testing.assert_array_equal(got["neuron_0"], expected)
    np.testing.assert_array_equal(got["output"], expected[:, :, list(network.spec.outputs)])
    assert torch.equal(read_compiled(path)[0].weight, network.weight)


@pytest.mark.parametrize(
    "shape", [("hard", "layered", "relays"), ("hard", "unit", "synaptic"), ("soft", "unit", "relays")]
)
@pytest.mark.parametrize("reader", READERS)
def test_compiled_networks_that_a_reader_lacks_are_refused(reader: str, shape: tuple[str, str, str]) -> None:
    network = network_of(compiled(Fraction(7, 8), *shape))
    with pytest.raises(
        UsageError, match=r"--target unit --delays relays --reset hard|a soft reset, which its reader lacks"
    ):
        export_compiled(network, NAMES, *resolve_dialect(reader))


class Still(gym.Env[np.ndarray, np.ndarray]):
    """Spaces without a world."""

    def __init__(self, sees: int, acts: int) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (sees,))
        self.action_space = gym.spaces.Box(-1.0, 1.0, (acts,))


def _written_by(reader: str, kind: str, path: Path) -> tuple[Any, dict[str, Any]]:
    """Let a library write a network of its own; return the network, and how its file is to be read."""
    import nir_readers as readers

    readers.import_reader(reader)
    torch.manual_seed(3)
    sizes = (6, 20, 3)
    linears = [nn.Linear(i, o) for i, o in itertools.pairwise(sizes)]
    for linear in linears:
        nn.init.normal_(linear.weight, 0.1, 0.6)
    with readers.quietly():
        if reader == "snntorch":
            import snntorch
            from snntorch.export_nir import export_to_nir

            def make(size: int) -> nn.Module:  # a number a neuron: its exporter knows no others
                each = partial(torch.full, (size,))
                how = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True, "threshold": each(0.8)}
                if kind == "lif":
                    return snntorch.Leaky(beta=each(0.7), **how)
                return snntorch.Synaptic(alpha=each(0.4), beta=each(0.7), **how)

            net = nn.Sequential(linears[0], make(20), linears[1], make(3))
            nir.write(path, export_to_nir(net, torch.zeros(1, sizes[0]), ignore_dims=[0]), compression=None)
            for part in net:
                if hasattr(part, "reset_mem"):
                    part.reset_mem()
            return net, {}
        if reader == "spikingjelly":
            from spikingjelly.activation_based import neuron
            from spikingjelly.activation_based.nir_exchange import export_to_nir as write

            make = {
                "lif": lambda: neuron.LIFNode(tau=2.5, v_threshold=0.8, v_reset=0.0),
                "if": lambda: neuron.IFNode(v_threshold=0.8, v_reset=0.0),
                "current-lif": lambda: neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7, v_threshold=0.8, v_reset=0.0),
            }[kind]
            net = nn.Sequential(linears[0], make(), linears[1], make())
            write(net, torch.zeros(1, sizes[0]), path)
            for part in net:
                if hasattr(part, "reset"):
                    part.reset()
            return net, {}
        import norse.torch
        from norse.torch.functional.lif_box import LIFBoxParameters

        made = LIFBoxParameters(tau_mem_inv=torch.tensor(300.0), v_th=torch.tensor(0.3))
        net = norse.torch.SequentialState(
            linears[0], norse.torch.LIFBoxCell(made), linears[1], norse.torch.LIFBoxCell(made)
        )
        nir.write(path, norse.torch.to_nir(net, torch.zeros(1, sizes[0])), compression=None)
        return net, {"flavour": "norse", "dt": 1e-6}  # norse writes tau times dt


WRITERS = [
    ("snntorch", "lif"), ("snntorch", "current-lif"), ("spikingjelly", "lif"), ("spikingjelly", "if"),
    ("spikingjelly", "current-lif"), ("norse", "lif"),
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize(("writer", "kind"), WRITERS)
def test_graphs_of_others_become_policies(writer: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.nir"
    net, reading = _written_by(writer, kind, path)
    controller = import_nir(path, Still(6, 3), {"steps": 10, **reading})
    assert controller.spec.network.neuron.kind == kind
    x = torch.randn((400, 6), generator=torch.Generator().manual_seed(4))
    state, theirs = None, []
    for _ in range(10):
        out = net(x, state) if writer == "norse" else net(x)
        out, state = out if isinstance(out, tuple) else (out, None)
        theirs.append(out)
    rates = torch.stack(theirs, 1).mean(1)
    assert 0.05 < rates.mean() < 0.95
    got = controller(x)[0]
    wrong = (got - (2 * rates - 1)).abs().amax(1) > 1e-6
    assert wrong.float().mean() < 0.005, "more than rounding"
