"""Doors into compiled code: a hostile argument is one clear error and changes nothing; what fits is computed right."""

# ruff: noqa: B023  # every lambda is called in its own turn of the loop

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from networks import ARMS, begun, fresh, network

import homeo_rl
from homeo_rl.agents.controller import Controller, Normaliser, load_controller
from homeo_rl.agents.sb3.policies import SpikingActorCriticPolicy, SpikingTD3Policy
from homeo_rl.agents.session import Session
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.language import parse_function
from homeo_rl.compiler.signals import Line
from homeo_rl.compiler.simulate import outputs
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.storage import network_of
from homeo_rl.envs.navigation import kernels as navigation
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.envs.navigation.vector import NavigationVectorEnv
from homeo_rl.errors import HomeoError, InputError, NonFiniteInput
from homeo_rl.evaluation.calibrate import Calibration
from homeo_rl.homeostasis import PaperDWAM, make
from homeo_rl.snn import LayerWeights, SpikingNetwork, forward_stepwise, kernels
from homeo_rl.snn.kernels import encoding, integer, layer, scans, stack
from homeo_rl.snn.kernels.compiled_network import compile_network
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.replay import Replay, pack_responses, recall, remember
from homeo_rl.snn.replay_layers import run_layer
from homeo_rl.snn.state import NetworkState
from homeo_rl.spec import ControllerSpec, EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec

RNG = np.random.default_rng(0)
PASCAL: dict[str, Any] = {
    "body": "pascal", "levels": (4,), "encoder": EncoderSpec(kind="current"), "readout": ReadoutSpec(kind="membrane"),
}  # fmt: skip


def refused(call: Callable[[], Any], *said: str) -> None:
    """Check that a call raises one line, an error of ours and of Python's, that says what to do."""
    with pytest.raises(HomeoError) as caught:
        call()
    assert isinstance(caught.value, ValueError), caught.value
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 400, text
    assert "expected" in text
    assert ";" in text, f"what is to be done about {text!r}"
    for word in said:
        assert word in text


def controller_of(seed: int = 0, **fields: Any) -> Controller:
    torch.manual_seed(seed)
    spec = NetworkSpec(**{"inputs": 4, "outputs": 2, "hidden": (9, 7), "steps": 4, **fields})
    low, high = (-1.0,) * spec.outputs, (1.0,) * spec.outputs
    controller = Controller(ControllerSpec(network=spec, low=low, high=high))
    with torch.no_grad():
        for part in controller.network.layers:
            part.weight.mul_(3.0)
    return controller.eval().requires_grad_(False)


NAN, INF = float("nan"), float("inf")
HOSTILE: dict[str, Callable[[int, int], Any]] = {
    **{f"{n} columns": (lambda s, d, n=n: np.zeros((s, n), np.float32)) for n in (0, 1, 2, 3, 7, 8)},
    "a row too many": lambda s, d: np.zeros((s + 1, d), np.float32),
    "a row too few": lambda s, d: np.zeros((s - 1, d), np.float32),
    "one dimension": lambda s, d: np.zeros(d, np.float32),
    "flat": lambda s, d: np.zeros(s * d, np.float32),
    "three dimensions": lambda s, d: np.zeros((1, s, d), np.float32),
    "turned": lambda s, d: np.zeros((d, s), np.float32),
    "a number": lambda s, d: 0.0,
    "nan": lambda s, d: np.full((s, d), NAN, np.float32),
    "one nan": lambda s, d: [[0.0] * d] * (s - 1) + [[0.0] * (d - 1) + [NAN]],
    "infinite": lambda s, d: np.full((s, d), -INF),
    "beyond float32": lambda s, d: np.full((s, d), 1e300),
    "beyond the limit": lambda s, d: np.full((s, d), 1e16, np.float32),
    "beyond the limit, ints": lambda s, d: np.full((s, d), 2**62),
    "complex": lambda s, d: np.zeros((s, d), np.complex64),
    "objects": lambda s, d: np.zeros((s, d), object),
    "text": lambda s, d: np.full((s, d), "1.0"),
    "dates": lambda s, d: np.zeros((s, d), "datetime64[s]"),
    "ragged": lambda s, d: [[0.0] * d] * (s - 1) + [[0.0]],
    "nothing": lambda s, d: None,
    "a word": lambda s, d: "observation",
    "a dictionary": lambda s, d: {"observation": np.zeros((s, d))},
}  # fmt: skip


@pytest.mark.parametrize("kernel", ["numba", "reference"])
@pytest.mark.parametrize("arm", ["none", "dwam-paper"])
def test_a_session_refuses_what_does_not_fit_and_goes_on(kernel: str, arm: str) -> None:
    """After every refusal it acts as one that was never asked, bit for bit."""
    controller = controller_of()
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    references = fresh(net, make("dwam-paper"), 1).references
    fields: dict[str, Any] = {"plugin": make(arm), "references": references if arm != "none" else ()}
    with kernels.use(kernel):
        session, twin = begun(controller, 3, **fields), begun(controller, 3, **fields)
        for seed, (name, hostile) in enumerate(HOSTILE.items()):
            if name == "4 columns":
                continue
            refused(lambda: session.act(hostile(3, 4)))
            x = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
            assert np.array_equal(session.act(x), twin.act(x)), name


def test_a_session_takes_numbers_of_any_kind_and_memory() -> None:
    controller = controller_of()
    x = np.random.default_rng(1).integers(-3, 4, (3, 4))
    expected = begun(controller, 3).act(x.astype(np.float32))
    turned = np.asfortranarray(x.astype(np.float32))
    wide = np.zeros((6, 8), np.float32)
    wide[::2, ::2] = x
    frozen = x.astype(np.float32)
    frozen.flags.writeable = False
    for given in (
        x, x.tolist(), x.astype(np.int8), x.astype(np.float64), x.astype(np.float16), x.astype(np.longdouble), turned,
        wide[::2, ::2], frozen, x.astype(">f4"), x.astype(np.dtype(np.float32, metadata={"unit": "m"})),
        torch.as_tensor(x), torch.as_tensor(x).double(),
    ):  # fmt: skip
        assert np.array_equal(begun(controller, 3).act(given), expected), type(given)
    assert begun(controller, 3).act(np.ones((3, 4), bool)).shape == (3, 2)
    assert np.array_equal(wide[::2, ::2], x), "nobody writes into what was given"


def test_the_life_of_a_session() -> None:
    controller, x, rng = controller_of(), np.zeros((2, 4), np.float32), np.random.default_rng(0)
    session = Session(controller, 2)
    refused(lambda: session.act(x), "slot 0, 1", "begin")
    for slot in (2, -1, True, 0.0, "0", None):
        refused(lambda: session.begin(slot, rng), "slot")
    for noise in (3, None, np.random.RandomState(0), "0", torch.Generator()):
        refused(lambda: session.begin(0, noise), "noise", "Generator")
    refused(lambda: session.set_weights(0, session.trained), "begin")
    session.begin(0, rng)
    refused(lambda: session.act(x), "slot 1", "begin")
    session.begin(1, rng)
    assert session.act(x).shape == (2, 2)
    refused(lambda: session.set_reflex(0, session.trained), "reflex")
    for slots in ([0, 0], [2], [-1], [True], [0.0], 1, None):
        refused(lambda: session.select(slots))
    session.select([1])
    assert session.act(x[:1]).shape == (1, 2)
    refused(lambda: session.act(x), "(1, 4)")
    session.select([])
    refused(lambda: session.act(x[:0]), "new Session")
    refused(lambda: session.begin(0, rng))
    for slots in (0, -1, 1.5, True, "1", None):
        refused(lambda: Session(controller, slots), "slots")
    for other in ("runs/pole", None, controller.network):
        refused(lambda: Session(other, 1), "controller")
    refused(lambda: Session(controller, 1, plugin="dwam"), "plugin")  # type: ignore[arg-type]
    refused(lambda: Session(controller, 1, plugin=PaperDWAM), "plugin")  # type: ignore[arg-type]
    refused(lambda: Session(controller, 1, plugin=PaperDWAM()), "references")
    refused(lambda: Session(controller, 1, plugin=make("dwam")), "memory")
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    strange = fresh(network(torch.float32, inputs=4, hidden=(9, 8)), make("dwam-paper"), 1).references
    refused(lambda: Session(controller, 1, plugin=PaperDWAM(), references=strange), "layer 1", "(7,)")


def test_weights_of_a_slot() -> None:
    controller, x = controller_of(), np.ones((2, 4), np.float32)
    session, twin = begun(controller, 2), begun(controller, 2)
    first, *rest = session.trained
    broken: list[Any] = [
        None, "weights", [first, *rest], (first,), (*session.trained, first), (first.weight, *rest),
        tuple(tuple(part) for part in session.trained),
    ]  # fmt: skip
    changes: tuple[dict[str, Any], ...] = (
        {"weight": first.weight.T}, {"weight": first.weight[:, :-1]}, {"weight": first.weight.numpy()},
        {"weight": first.weight * NAN}, {"weight": first.weight * INF}, {"weight": first.weight.to(torch.complex64)},
        {"weight": None}, {"weight": first.weight[None]}, {"bias": first.bias[:-1]}, {"bias": first.bias + 1e30},
        {"alive": torch.ones(8)}, {"stuck": torch.full((9,), NAN)}, {"alive": torch.ones(1, 9)},
    )  # fmt: skip
    broken += [(first._replace(**change), *rest) for change in changes]
    for weights in broken:
        refused(lambda: session.set_weights(0, weights))
        refused(lambda: session.set_weights(2, session.trained), "slot")
        assert np.array_equal(session.act(x), twin.act(x))
    alive = torch.tensor([True] * 5 + [False] * 4)
    session.set_weights(0, (first._replace(alive=alive), *rest))
    twin.set_weights(0, (first._replace(alive=alive.float()), *rest))
    assert np.array_equal(session.act(x), twin.act(x))


def tensors(name: str) -> Any:
    """Return a hostile batch for networks of 4 inputs."""
    hostile = HOSTILE[name](2, 4)
    return torch.from_numpy(hostile) if isinstance(hostile, np.ndarray) and hostile.dtype.kind in "fic" else hostile


ROWS = [name for name in HOSTILE if name not in ("a row too many", "a row too few", "beyond float32")]


@pytest.mark.parametrize("kernel", ["numba", "reference"])
def test_networks_and_controllers_refuse_what_does_not_fit(kernel: str) -> None:
    controllers = [
        controller_of(), controller_of(body="mlp"), controller_of(membrane="episode"),
        controller_of(**PASCAL),
    ]  # fmt: skip
    with kernels.use(kernel):
        for controller in controllers:
            net = controller.network
            doors: list[Callable[[Any], Any]] = [net, controller]
            if type(net) is SpikingNetwork:
                doors += [net.stepwise, lambda x, net=net: forward_stepwise(net, x)]  # type: ignore[misc]
            for grad in (False, True):
                with torch.set_grad_enabled(grad):
                    for door in doors:
                        for name in ROWS:
                            refused(lambda: door(tensors(name)))
                        refused(lambda: door(np.zeros((2, 4), np.float32)), "Tensor")
            with torch.no_grad():
                whole = torch.randint(-2, 3, (2, 4))
                expected, _ = controller(whole.float())
                for dtype in (torch.int64, torch.int8, torch.float16, torch.bfloat16):
                    assert torch.equal(controller(whole.to(dtype))[0], expected)
                state = net.initial_state(3)
                refused(lambda: net(torch.zeros(2, 4), state), "batch")
                refused(lambda: net(torch.zeros(2, 4), "state"), "network state")
                net(torch.zeros(3, 4), state)  # what was refused spent nothing
                for batch in (-1, 1.5, True, "1", None):
                    refused(lambda: net.initial_state(batch), "batch")


def test_states_with_other_shapes_are_refused() -> None:
    """Weights, references and mechanisms of another network never reach an address."""
    net, other = network(torch.float32, inputs=4), network(torch.float32, inputs=4, hidden=(16, 11))
    x = torch.randn(2, 4)
    with torch.no_grad():
        refused(lambda: net.initial_state(2, weights=other.parameters_of_layers()), "layer 1")
        batched = tuple(LayerWeights(w.weight.expand(3, -1, -1), w.bias) for w in net.parameters_of_layers())
        refused(lambda: net.initial_state(2, weights=batched), "layer 0")
        for strange in (other.parameters_of_layers(), batched):  # past the door of states
            refused(lambda: net(x, NetworkState(2, weights=strange, membranes=[None] * 3)))
            net(x, net.initial_state(2))
        for arm in ("dwam-paper", "bdett", "linear:target=bias"):
            state = fresh(other, make(arm), 2)
            refused(lambda: net(x, state, adapt=True))
        state = fresh(net, make("dwam-paper"), 2)
        refused(lambda: net.forget(state, torch.ones(3, dtype=torch.bool), "episode"), "ended")
        refused(lambda: net.forget(state, torch.ones(2), "episode"), "ended")
        for noise in (torch.rand(2, 5, 3), torch.rand(2, 4, 40), np.zeros(3), torch.full((2, 5, 40), NAN)):
            refused(lambda: net(x, noise=noise), "noise")
        wrong = np.zeros((2, 3), np.float32)
        refused(lambda: compile_network(net)(net, wrong, net.initial_state(2)))
        refused(
            lambda: net.double()(x.double(), fresh(network(torch.float32, inputs=4), make("dwam-paper"), 2), adapt=True)
        )


def test_a_table_that_was_not_finished_is_not_used() -> None:
    """A refused type of numbers once left half a table behind for the next decision."""
    net, x = network(torch.float32), torch.randn(1, 3)
    with torch.no_grad():
        expected, _ = net(x)
        for _ in range(3):
            refused(lambda: net(x.double()), "float32")
            assert torch.equal(net(x)[0], expected)


@pytest.mark.parametrize("kernel", ["numba", "reference"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_state_is_used_once(kernel: str, arm: str) -> None:
    """Two decisions from one state learned twice; now the second says so, and a clone is another's start."""
    net = network(torch.float32, membrane="episode")
    x, ended = torch.randn(2, 2, 3), torch.tensor([True, False])
    with kernels.use(kernel), torch.no_grad():
        _, start = net(x[0], fresh(net, make(arm), 2), adapt=True)
        twin = start.clone()
        first, after = net(x[1], start, adapt=True)
        assert after is not start
        for again in (
            lambda: net(x[1], start, adapt=True), lambda: net(x[1], start), lambda: net.forget(start, ended, "episode"),
            start.clone, lambda: forward_stepwise(net, x[1], start),
        ):  # fmt: skip
            refused(again, "already advanced", "clone()")
        second, other = net(x[1], twin, adapt=True)
        assert torch.equal(first, second)
        for one, two in zip(after.adaptation, other.adaptation, strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)
        kept = after.clone()
        forgotten = net.forget(after, ended, "episode")
        refused(lambda: net(x[0], after), "already advanced")
        assert torch.equal(net(x[0], forgotten)[0][1], net(x[0], kept)[0][1])


def test_a_successor_has_every_field_of_its_predecessor() -> None:
    values: dict[str, Any] = {each.name: object() for each in dataclasses.fields(NetworkState) if each.name != "spent"}
    state = NetworkState(**values)
    after = state.successor()
    assert vars(after) == {**values, "spent": False}
    assert vars(state) == {**values, "spent": True}
    refused(state.successor, "already advanced")


def test_a_state_is_spent_by_every_body_and_by_policies() -> None:
    """MLPs and converted networks too: the state of a reflex beside them goes on with it."""
    for fields in ({}, {"body": "mlp"}, PASCAL):
        controller, x = controller_of(**fields), torch.randn(2, 4)
        state = controller.network.initial_state(2)
        action, after = controller(x, state)
        assert after is not state
        refused(lambda: controller(x, state), "already advanced")
        again, _ = controller(x, after)
        assert torch.equal(action, again)


def test_weights_of_a_clone_are_its_own() -> None:
    """A session writes damage into the weights of its state; a clone keeps what it had."""
    controller, x = controller_of(), torch.randn(2, 4)
    session = begun(controller, 2)
    session.set_weights(0, session.trained)
    with torch.no_grad():
        kept = session.state.clone()
        expected, _ = controller(x, session.state.clone())
        session.set_weights(0, tuple(w._replace(weight=w.weight * 0.0) for w in session.trained))
        session.act(x.numpy())
        assert torch.equal(controller(x, kept)[0], expected)
    assert kept.weights is not None
    assert kept.weights[0].weight[0].T.is_contiguous(), "input by input in memory, as compiled code reads it"


def test_a_spent_state_costs_little_and_changes_no_bit() -> None:
    """What is returned has everything of what was given, under the same addresses."""
    net = network(torch.float32)
    state = fresh(net, make("dwam-paper"), 2)
    places = [value.data_ptr() for part in state.adaptation for value in part.values()]
    with torch.no_grad():
        _, after = net(torch.randn(2, 3), state, adapt=True)
    assert [value.data_ptr() for part in after.adaptation for value in part.values()] == places


def test_recurrent_networks_and_reflexes() -> None:
    compiled = compile_function(parse("count(a, 2, window=3) and b", "a", "b"))
    net = network_of(compiled)
    state = net.initial_state(2)
    spikes = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    for x in (
        spikes[:, :1], torch.cat([spikes, spikes], 1), spikes[0], spikes[:1], spikes * 0.5, spikes - 2, spikes * NAN,
        spikes.numpy(), spikes.to(torch.complex64), None,
    ):  # fmt: skip
        refused(lambda: net(x, state))
    assert torch.equal(net(spikes, state)[0], net(spikes.long(), state)[0]), "a state of it can be used twice"
    refused(lambda: net.run(spikes), "trains")
    refused(lambda: net.run(torch.zeros(1, 3, 5)))
    refused(lambda: net.forget(state, torch.ones(2)), "ended")
    healthy = net.parameters_of_layers()[0]
    refused(lambda: net.with_weights(state, 2, healthy), "row")
    refused(lambda: net.with_weights(state, 0, healthy._replace(weight=healthy.weight[:, 1:])), "weight")
    damaged = net.with_weights(state, 0, healthy)
    net.with_weights(damaged, 0, healthy._replace(weight=healthy.weight * 0.0))
    assert damaged.weights is not None
    assert torch.equal(damaged.weights.weight[0], healthy.weight), "the state before stays as it is"
    function = compiled.function
    trains = RNG.integers(0, 2, (3, 7, 2))
    expected = function.run(trains)
    for run in (function.run, compiled.gates.run, lambda x: outputs(compiled.network, x)):
        assert np.array_equal(run(trains.astype(float)), expected)
        for wrong in (
            trains[..., :1],
            np.concatenate([trains, trains], 2),
            trains[0],
            trains * 2,
            trains.astype(str),
            None,
        ):
            refused(lambda: run(wrong), "trains")


def parse(text: str, *lines: str) -> Any:
    return SpikeFunction(lines, (("out", parse_function(text, {name: Line(name) for name in lines})),))


def test_numbers_of_lines_and_of_spikes() -> None:
    """docs/compiler.md: winner counts lines from 0, every counts spikes from 1 and entries of keep from 0."""
    a, b = [1, 0, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0]
    trains = np.stack([a, b], 1)[None]
    assert parse("winner(0, a, b, window=1)", "a", "b").run(trains)[0, :, 0].tolist() == [bool(s) for s in a]
    assert parse("winner(1, a, b, window=1)", "a", "b").run(trains)[0, :, 0].tolist() == [bool(s) for s in b]
    spikes = [t for t, s in enumerate(a) if s]
    for text, numbers in (
        ("every(a, 2)", [2, 4]),
        ("every(a, 2, keep=[0])", [1, 3, 5]),
        ("every(a, 3, keep=[2])", [3]),
    ):
        found = parse(text, "a", "b").run(trains)[0, :, 0]
        assert np.flatnonzero(found).tolist() == [spikes[k - 1] for k in numbers], text
    docs = (Path(__file__).parents[2] / "docs" / "compiler.md").read_text()
    assert "counted from 0" in docs
    assert "counted from 1" in docs


def test_kernels_check_shapes_and_types() -> None:
    model, x = NeuronSpec(), torch.randn(2, 4, 3)
    rest = Membrane(*(torch.zeros(2, 3) for _ in range(3)))
    for currents in (x[0], x[:, :0], x.long(), x.half(), x.to(torch.complex64), x.numpy(), None):
        refused(lambda: layer.scan(model, currents))
    for state in (
        Membrane(*(part[:1] for part in rest)), Membrane(*(part.double() for part in rest)), tuple(rest),
        rest._replace(spikes=torch.zeros(3)), rest._replace(current=None),
    ):  # fmt: skip
        refused(lambda: layer.scan(model, x * 1, state))
    for level in (torch.ones(2), torch.ones(3).double(), torch.ones(2, 3), 0.5):
        refused(lambda: layer.scan(model, x * 1, threshold=level))
    weight, bias, activity = torch.randn(5, 3), torch.zeros(5), torch.rand(2, 3)
    given = stack.Input(activity, (x > 0).float(), [1.0] * 4)
    for wrong in (
        given._replace(step_gradients=[1.0]), given._replace(activity=activity[:, :2]),
        given._replace(train=x[:, :, :2]),
        given._replace(activity=activity.double()), given._replace(train=x.long()),
        given._replace(train=x[:, :0], step_gradients=[]),
    ):  # fmt: skip
        refused(lambda: stack.run(model, wrong, [stack.Layer(weight, bias)]))
    for layers in (
        [], [stack.Layer(weight.T, bias)], [stack.Layer(weight, bias[:4])], [stack.Layer(weight, bias)] * 2,
        [stack.Layer(weight.double(), bias)], [stack.Layer(weight, bias, torch.ones(4))],
        [stack.Layer(weight, bias, None, torch.ones(5).double())], [stack.Layer(weight, bias[:1])],
    ):  # fmt: skip
        refused(lambda: stack.run(model, given, layers))
    refused(lambda: integer.split(weight.double()))
    parts, spikes, out = integer.split(weight.T.contiguous()), torch.ones(2, 3, dtype=torch.int8), torch.zeros(2, 5)
    for call in (
        lambda: integer.multiply(spikes.float(), parts, out), lambda: integer.multiply(spikes, parts, out[:, :4]),
        lambda: integer.multiply(spikes, parts, out.double()), lambda: integer.multiply(spikes, parts, out, bias[:2]),
        lambda: integer.multiply(spikes, parts, torch.zeros(5, 2).T),
    ):  # fmt: skip
        refused(call)


def test_compiled_loops_do_not_leave_their_arrays() -> None:
    """Called by themselves too: what does not fit is an error before anything is read or written."""
    f32 = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    none, neurons = f32(0, 3), scans.Model(0, True, True, f32(3))
    for call in (
        lambda: encoding.integrate(f32(2, 3), np.float32(1), f32(2, 4, 5)),
        lambda: encoding.integrate(f32(1, 3), np.float32(1), f32(2, 4, 3)),
        lambda: encoding.compare(f32(2, 4, 3), f32(2, 2), f32(2, 4, 3)),
        lambda: encoding.compare(f32(2, 3, 3), f32(2, 3), f32(2, 4, 3)),
        lambda: encoding.total(f32(2, 4, 3), f32(3), f32(2, 3)),
        lambda: encoding.total(f32(2, 4, 3), f32(4), f32(1, 3)),
        lambda: integer.digits(f32(2, 3), np.zeros((2, 6), np.int8), f32(3)),
        lambda: integer.combine(np.zeros((2, 9), np.int32), f32(3), f32(0), f32(3, 3)),
        lambda: scans.scan(neurons, f32(2), f32(2, 4, 3), f32(2, 4, 3), scans.State(none, none, none), f32(0)),
        lambda: scans.scan(neurons, f32(3), f32(2, 4, 3), f32(2, 3, 3), scans.State(none, none, none), f32(0)),
        lambda: scans.scan(neurons, f32(3), f32(2, 4, 3), f32(2, 4, 3), scans.State(*[f32(1, 3)] * 3), f32(0)),
        lambda: scans.scan(neurons, f32(3), f32(2, 4, 3), f32(2, 4, 3), scans.State(none, none, none), f32(2)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            call()
    fleet = Fleet(Task.build(), 2)
    fleet.begin(0, np.random.default_rng(0))
    refused(lambda: fleet.begin(2, np.random.default_rng(0)), "row")
    refused(lambda: fleet.clearance(-1), "row")
    for rows, actions in (([2], f32(2, 2)), ([-1], f32(2, 2)), ([0], f32(1, 2)), ([0], f32(2, 3))):
        with pytest.raises((ValueError, IndexError), match="expected"):
            fleet.advance(np.array(rows), actions.astype(np.float64))
    assert navigation.BEAMS == 18


def test_navigation_takes_two_finite_numbers_a_robot() -> None:
    env, many = NavigationEnv(), NavigationVectorEnv(3)
    refused(lambda: env.step(np.zeros(2)), "reset")
    refused(lambda: many.step(np.zeros((3, 2))), "reset")
    env.reset(seed=0)
    many.reset(seed=0)
    before = env.fleet.state.copy(), many.fleet.state.copy()
    for action in (
        np.zeros(1),
        np.zeros(3),
        0.5,
        [0.5, NAN],
        [INF, 0.0],
        ["a", "b"],
        None,
        [1j, 0],
        np.zeros((2, 1)),
        [[0, 0]],
    ):
        refused(lambda: env.step(action), "action")
    for actions in (
        np.zeros((2, 2)),
        np.zeros((3, 1)),
        np.full((3, 2), NAN),
        np.zeros(6),
        np.zeros((3, 2), complex),
        None,
    ):
        refused(lambda: many.step(actions), "actions")
    assert np.array_equal(before[0], env.fleet.state)
    assert np.array_equal(before[1], many.fleet.state)
    expected, *_ = many.step(np.zeros((3, 2)))
    twin = NavigationVectorEnv(3)
    twin.reset(seed=0)
    assert np.array_equal(twin.step([[0, 0]] * 3)[0], expected)
    told, arrays = many.snapshot()
    for name, value in (
        ("where", arrays["where"] + 9),
        ("rewards", arrays["rewards"][:2]),
        ("state", arrays["state"][:2]),
    ):
        refused(lambda: twin.restore((told, {**arrays, name: value})), "snapshot")
    for count in (0, -1, 1.5, "3", True):
        refused(lambda: NavigationVectorEnv(count), "num_envs")


def test_policies_of_stable_baselines() -> None:
    """Infinities would be clipped to an ordinary observation, complex numbers cut to their real part."""
    space, actions = gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Box(-1.0, 1.0, (2,))
    settings: dict[str, Any] = {"agent": "popsan", "agent_kwargs": {"hidden": [8]}}
    for kind in (SpikingActorCriticPolicy, SpikingTD3Policy):
        policy = kind(space, actions, lambda _: 1e-3, **settings)
        start = np.ones(1, bool)
        expected, _ = policy.predict(np.zeros(3, np.float32), episode_start=start, deterministic=True)
        for x in (
            np.full(3, NAN), np.full((2, 3), INF), [0.0, NAN, 0.0], np.zeros(3, complex), np.array(["a", "b", "c"]),
            np.zeros(3, object),
        ):  # fmt: skip
            refused(lambda: policy.predict(x, episode_start=start, deterministic=True))
        for x in (np.zeros(2), np.zeros((1, 4)), np.zeros((2, 2, 3))):
            with pytest.raises(ValueError, match="shape"):
                policy.predict(x, episode_start=start, deterministic=True)
        refused(lambda: policy.observe(torch.full((2, 3), NAN)))
        refused(lambda: policy.observe(torch.zeros(2, 1)))
        for x in ([0, 0, 0], np.zeros(3), np.zeros(3, np.int64)):
            found, _ = policy.predict(x, episode_start=start, deterministic=True)
            assert np.array_equal(found, expected)
    normaliser = Normaliser(4, 3.0)
    refused(lambda: normaliser(torch.zeros(2, 1)), "4 entries")


def test_memories_meet_autograd_and_are_of_this_network() -> None:
    """What `Calibration.memory` returns was of inference mode: any derivative raised."""
    net = network(torch.float32)
    inputs = torch.randn(6, 3)
    with torch.inference_mode():
        answers = pack_responses(net, remember(net, inputs))
    zero = tuple(np.zeros(n, np.float32) for n in net.spec.widths[1:])
    calibration = Calibration(zero, zero, 6, inputs.numpy().copy(), answers)
    with torch.inference_mode():
        memories = [calibration.memory(net), remember(net, inputs)]
    for memory in [*memories, calibration.memory(net)]:
        for part in (memory.inputs, *memory.trains):
            assert not part.is_inference()
        scale = torch.ones((), requires_grad=True)
        ((memory.inputs * scale).square().sum() + (memory.trains[1] * scale).sum()).backward()  # type: ignore[no-untyped-call]
        assert scale.grad is not None
        memory.inputs.zero_()
    assert np.array_equal(calibration.inputs, inputs.numpy()), "a memory is a copy"
    memory = calibration.memory(net)
    for part in Replay(net, memory).layer_responses(net.parameters_of_layers()):
        assert not part.is_inference()
    other = network(torch.float32, hidden=(16, 11))
    refused(lambda: Replay(other, memory), "memory")
    refused(lambda: Replay(net, memory.first(0)), "memory")
    refused(lambda: recall(other, calibration.inputs, answers), "answers")
    refused(lambda: recall(net, calibration.inputs[:, :2], answers), "inputs")
    refused(lambda: remember(net, inputs * NAN), "inputs")
    refused(lambda: run_layer(net, 0, torch.zeros(2, 5, 3), net.parameters_of_layers()[0]), "currents")
    refused(lambda: run_layer(net, 9, torch.zeros(2, 5, 3), net.parameters_of_layers()[0]), "layer")


WRONG = ["a word", 3, None, 2.5, [], {"a": 1}, object]
"""Values of types that few functions take."""


def test_the_front_door_says_what_it_takes(tmp_path: Path) -> None:
    """No name of `homeo_rl` answers a slip of Python's with a fault from inside."""
    controller = controller_of()
    plan = homeo_rl.Plan(suite=homeo_rl.load_suite("clean"), arms=("none",), episodes=1, seed=0)
    training = homeo_rl.TrainingPlan(algo="ppo", env="CartPole-v1")
    spec = {"inputs": 4, "outputs": 2}
    nowhere = str(tmp_path / "none")
    calls: list[Callable[[Any], Any]] = [
        homeo_rl.load_controller, homeo_rl.Run.open, lambda x: homeo_rl.evaluate(x, plan),
        lambda x: homeo_rl.calibration_of(x, controller, which="policy", episodes=1),
        lambda x: homeo_rl.save_controller(x, controller), homeo_rl.train, homeo_rl.load_suite, homeo_rl.make_env,
        lambda x: homeo_rl.Session(x, 1), lambda x: homeo_rl.session_of(x, 1), homeo_rl.Controller,
        homeo_rl.SpikingNetwork, homeo_rl.GymVecEnv,
    ]  # fmt: skip
    for call in calls:
        for wrong in WRONG:
            with pytest.raises(homeo_rl.HomeoError) as caught:
                call(wrong)
            assert len(str(caught.value)) < 900
            assert "\n" not in str(caught.value)
    good = {"suite": plan.suite, "arms": ("none",), "episodes": 1, "seed": 0}
    of_plan: dict[str, list[Any]] = {
        "suite": WRONG, "arms": ["none", 3, None], "episodes": ["x", 1.5, None, True], "seed": ["x", None],
        "which": [3, None], "env": [3, None], "routes": ["x", 3], "time_steps": ["x", 1.5],
    }  # fmt: skip
    of_training: dict[str, list[Any]] = {
        "algo": [3, None], "env": [3, None], "steps": ["x", 1.5], "seed": ["x", 1.5, None], "log_folder": [3],
        "out": [3], "eval_freq": ["x"], "modules": ["a word", 3], "env_kwargs": [3, None], "worker_timeout": ["x"],
    }  # fmt: skip
    for field, values in of_plan.items():
        for wrong in values:
            refused(lambda: homeo_rl.Plan(**{**good, field: wrong}), field)
    for field, values in of_training.items():
        for wrong in values:
            refused(lambda: homeo_rl.TrainingPlan(**{"algo": "ppo", "env": "C", field: wrong}), field)
    for make_one in (
        lambda: homeo_rl.NetworkSpec(**{**spec, "inputs": "x"}),
        lambda: homeo_rl.NetworkSpec(**{**spec, "hidden": "x"}),
        lambda: homeo_rl.NetworkSpec(**{**spec, "steps": 1.5}),
        lambda: homeo_rl.NetworkSpec(**{**spec, "neuron": "lif"}),
        lambda: homeo_rl.ControllerSpec(network="x", low=(), high=()),  # type: ignore[arg-type]
        lambda: homeo_rl.Condition(name=3),  # type: ignore[arg-type]
        lambda: homeo_rl.Condition(name="a", severity="x"),  # type: ignore[arg-type]
        lambda: homeo_rl.Suite(name="a", version="x", description="", conditions=()),  # type: ignore[arg-type]
        lambda: PaperDWAM(eta="x"),  # type: ignore[arg-type]
        lambda: PaperDWAM(c0="x"),  # type: ignore[arg-type]
        lambda: homeo_rl.BDETT(psi="x"),  # type: ignore[arg-type]
        lambda: homeo_rl.LinearHomeostat(tau=None),  # type: ignore[arg-type]
        lambda: homeo_rl.SleepHomeostat(every="x"),  # type: ignore[arg-type]
        lambda: homeo_rl.SleepHomeostat(awake="dwam"),  # type: ignore[arg-type]
    ):
        refused(make_one)
    assert training.out is None
    assert homeo_rl.TrainingPlan(algo="ppo", env="C", out=nowhere, log_folder="runs").out == Path(nowhere)
    refused(lambda: homeo_rl.session_of(controller, 1, plugin=PaperDWAM()), "calibration")
    with pytest.raises(homeo_rl.HomeoError, match="run folder"):
        load_controller(nowhere)
    with pytest.raises(homeo_rl.HomeoError, match="run folder"):
        homeo_rl.evaluate(nowhere, plan)
    with pytest.raises(homeo_rl.HomeoError, match="arguments"):
        homeo_rl.make_env("CartPole-v1", ["x"])
    assert issubclass(InputError, ValueError)
    assert issubclass(NonFiniteInput, ValueError)
