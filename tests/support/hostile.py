"""Random calls of every door into compiled code, fit and unfit, and what must come of each.

An argument lies in the middle of memory that is full of NaN: a loop that reads beyond it gives NaN, one that writes
beyond it changes a number that somebody looks at afterwards. Whether a call fits is decided here, apart from the
checks that are tested.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from networks import begun

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.language import parse_function
from homeo_rl.compiler.signals import Line
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.storage import network_of
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.errors import HomeoError
from homeo_rl.homeostasis import make
from homeo_rl.snn import LayerWeights, kernels, neurons
from homeo_rl.snn.kernels import encoding, layer
from homeo_rl.snn.neurons import Membrane
from homeo_rl.spec import ControllerSpec, EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec

LIMIT = 1e15
NUMBERS = ["f4", "f8", "f2", "i8", "i4", "i1", "u1", "?", ">f4", ">f8"]
OTHERS = ["c8", "c16", "O", "U3", "S2", "M8[s]"]
EDGE = 8
"""Numbers before and after an argument that are not its own."""


def guard_array(shape: tuple[int, ...], dtype: str = "f4") -> tuple[np.ndarray, np.ndarray]:
    """Return an array inside memory full of NaN, and all of that memory."""
    size = int(np.prod(shape))
    memory = np.full(size + 2 * EDGE, np.nan, dtype)
    inside = memory[EDGE : EDGE + size].reshape(shape)
    inside[...] = 0
    return inside, memory


def untouched(memory: np.ndarray) -> bool:
    """Whether nothing was written before or after an array."""
    return bool(np.isnan(memory[:EDGE]).all() and np.isnan(memory[-EDGE:]).all())


class Caller:
    """Draws calls from ``rng`` and checks what comes of them; ``counts`` says how many were refused and answered."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.counts = {"refused": 0, "answered": 0, "compared": 0}
        self.controllers = [self._controller(i) for i in range(3)]
        self.reflex = self._recurrent()
        self.env = NavigationEnv()
        self.env.reset(seed=0)
        self.x = np.zeros(0)
        self.new_session()
        self.doors: list[Callable[[], None]] = [
            self.act, self.act, self.act, self.begin, self.set_weights, self.keep, self.forward, self.states, self.scan,
            self.encode, self.recurrent, self.drive,
        ]  # fmt: skip

    def call(self) -> None:
        """Make one call."""
        self.doors[int(self.rng.integers(len(self.doors)))]()

    # What is given.

    def shape(self, *fit: int) -> tuple[int, ...]:
        """Return a shape that fits, or one beside it."""
        if self.rng.random() < 0.5:
            return fit
        draws = [int(n) for n in self.rng.choice([0, 1, 2, *fit, *(n + 1 for n in fit), *(2 * n for n in fit)], 3)]
        return tuple(draws[: int(self.rng.integers(0, 4))])

    def value(self, *fit: int) -> tuple[Any, bool]:
        """Return something in the place of an array [*fit], and whether it is one of finite real numbers."""
        shape, rng = self.shape(*fit), self.rng
        kind = str(rng.choice(NUMBERS if rng.random() < 0.9 else OTHERS))
        whole = rng.integers(-16, 17, shape) if kind != "?" and kind != "u1" else rng.integers(0, 2, shape)
        fits = shape == fit and kind in NUMBERS
        floats = np.dtype(kind).kind == "f"
        array = np.asarray(whole / 8 if floats else whole).astype(kind)
        if floats and array.size and rng.random() < 0.15:
            bad = [np.nan, np.inf, -np.inf] + ([] if kind == "f2" else [1e16, -3e15])
            array.reshape(-1)[int(rng.integers(array.size))] = bad[int(rng.integers(len(bad)))]
            fits = False
        way = int(rng.integers(8))
        if way == 0 and array.ndim > 1:
            array = np.asfortranarray(array)
        elif way == 1 and array.ndim:
            wide = np.zeros((2 * array.shape[0], *array.shape[1:]), array.dtype)
            wide[::2] = array
            array = wide[::2]
        elif way == 2 and array.ndim:
            array = array[::-1].copy()[::-1]
        elif way == 3:
            array.flags.writeable = False
        elif way == 4 and kind in ("f4", "f8"):
            inside, _ = guard_array(array.shape, kind)
            inside[...] = array
            array = inside
        elif way == 5 and kind in NUMBERS:
            return array.tolist(), fits
        elif way == 6 and rng.random() < 0.2:
            return [None, "x", object(), {}, 1.0, slice(None)][int(rng.integers(6))], False
        return array, fits

    def index(self, size: int) -> tuple[Any, bool]:
        """Return something in the place of an index, and whether it is one."""
        if self.rng.random() < 0.5:
            return [int(self.rng.integers(size)), np.int32(self.rng.integers(size))][int(self.rng.integers(2))], True
        return [-1, size, 10**9, True, 0.0, None, "0", np.bool_(False), [0]][int(self.rng.integers(9))], False

    def expect(self, fits: bool, call: Callable[[], Any], what: Any = None) -> Any:
        """Check that a call is answered where it fits, and refused with an error of ours where it does not."""
        refusal: HomeoError | None = None
        result = None
        try:
            result = call()
        except HomeoError as error:
            refusal = error
        assert fits == (refusal is None), (what, refusal)
        if refusal is not None:
            assert isinstance(refusal, ValueError), refusal
            assert "expected" in str(refusal), refusal
            assert "\n" not in str(refusal), refusal
        self.counts["answered" if fits else "refused"] += 1
        return result

    # Sessions.

    def new_session(self) -> None:
        """Begin with another policy."""
        self.controller = self.controllers[int(self.rng.integers(len(self.controllers)))]
        slots = int(self.rng.integers(1, 5))
        self.plain = self.rng.random() < 0.7
        net = self.controller.network
        plugin = None if self.plain else make("dwam-paper:eta=1e-2")
        halves = [torch.full((n,), 0.3) for n in net.spec.widths[1:]]
        references = () if self.plain else net.references(halves, halves)  # type: ignore[operator]
        self.session = Session(self.controller, slots, plugin=plugin, references=references)
        self.waiting = set(range(slots))

    def act(self) -> None:
        """Decide."""
        session, rng = self.session, self.rng
        if rng.random() < 0.02 or not session.slots:
            self.new_session()
            return
        x, fits = self.value(session.slots, 4)
        fits = fits and not self.waiting
        clone = session.state.clone() if fits and rng.random() < 0.03 else None
        action = self.expect(fits, lambda: session.act(x), x)
        if action is None:
            return
        assert action.shape == (session.slots, 2)
        assert np.isfinite(action).all()
        if clone is not None:
            argument = torch.as_tensor(np.asarray(x).astype(np.float32))
            with torch.no_grad():
                again, _ = self.controller(argument, clone.clone(), adapt=True)
                assert np.array_equal(again.numpy(), action), "a clone decides as the state did"
                if self.plain:
                    with kernels.use("reference"):
                        expected, _ = self.controller(argument, clone)
                    np.testing.assert_allclose(action, expected.numpy(), rtol=0, atol=1e-6)
            self.counts["compared"] += 1

    def begin(self) -> None:
        """Begin an episode."""
        slot, fits = self.index(max(self.session.slots, 1))
        noise: Any = np.random.default_rng(0)
        if self.rng.random() < 0.1:
            noise, fits = [3, None, np.random.RandomState(0)][int(self.rng.integers(3))], False
        fits = fits and self.session.slots > 0
        self.expect(fits, lambda: self.session.begin(slot, noise), (slot, noise))
        if fits:
            self.waiting.discard(int(slot))
        elif self.rng.random() < 0.5:  # most calls meet a session that can act
            for place in list(self.waiting):
                self.session.begin(place, np.random.default_rng(place))
                self.waiting.discard(place)

    def set_weights(self) -> None:
        """Damage a slot."""
        slot, fits = self.index(max(self.session.slots, 1))
        fits = fits and self.session.slots > 0 and int(slot) not in self.waiting
        layers = list(self.session.trained)
        place = int(self.rng.integers(len(layers)))
        layer_weights = layers[place]
        shape = self.shape(*layer_weights.weight.shape)
        inside, _ = guard_array(shape)
        inside[...] = self.rng.integers(-16, 17, shape) / 16
        weight, bias = torch.from_numpy(inside), layer_weights.bias
        fits = fits and shape == tuple(layer_weights.weight.shape)
        way = int(self.rng.integers(6))
        if way == 0 and weight.numel():
            weight.view(-1)[0] = [float("nan"), float("inf"), 1e30][int(self.rng.integers(3))]
            fits = False
        elif way == 1:
            bias, fits = layer_weights.bias[:-1], False
        elif way == 2:
            weight = weight.double()
        layers[place] = LayerWeights(weight, bias, alive=torch.ones(len(bias)) if way == 3 else None)
        argument: Any = tuple(layers)
        if way == 4:
            argument, fits = [None, argument[:1], list(argument), "x"][int(self.rng.integers(4))], False
        self.expect(fits, lambda: self.session.set_weights(slot, argument), (slot, shape, way))

    def keep(self) -> None:
        """Drop slots; seldom, for nothing is left in the end."""
        if self.rng.random() < 0.7:
            return
        picked = [self.index(max(self.session.slots, 1)) for _ in range(int(self.rng.integers(1, 4)))]
        slots = [slot for slot, _ in picked]
        fits = self.session.slots > 0 and all(fit for _, fit in picked) and len({int(s) for s in slots}) == len(slots)
        self.expect(fits, lambda: self.session.select(slots), slots)
        if fits:
            self.waiting = {new for new, old in enumerate(slots) if int(old) in self.waiting}

    # Networks.

    def forward(self) -> None:
        """Decide with a network or a policy, and tensors."""
        value, fits = self.value(int(self.rng.integers(1, 4)), 4)
        fits = fits and isinstance(value, np.ndarray)
        argument: Any = value
        if isinstance(value, np.ndarray):
            fits = value.ndim == 2 and value.shape[1] == 4 and value.dtype.kind in "biuf"
            fits = fits and bool(np.isfinite(value.astype(float)).all() and (abs(value.astype(float)) <= LIMIT).all())
            try:
                argument = torch.as_tensor(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("=")))
            except (TypeError, ValueError):
                fits = False
        controller = self.controller
        doors = [controller, controller.network, controller.network.stepwise]
        which = int(self.rng.integers(len(doors)))
        fits = fits and argument.dtype != torch.float64  # more digits than the weights have
        with torch.set_grad_enabled(self.rng.random() < 0.2):
            result = self.expect(fits, lambda: doors[which](argument), value)  # type: ignore[operator]
        if result is not None:
            y = result if which == 2 else result[0]
            assert bool(torch.isfinite(y).all())

    def states(self) -> None:
        """Use states once, twice, of another batch and of another network."""
        net, rng = self.controller.network, self.rng
        batch = int(rng.integers(1, 4))
        state = net.initial_state(batch)
        x = torch.as_tensor(rng.integers(-8, 9, (batch, 4)) / 8, dtype=torch.float32)
        way = int(rng.integers(6))
        with torch.no_grad():
            if way == 0:
                _, after = net(x, state)
                self.expect(False, lambda: net(x, state), "a spent state")
                self.expect(True, lambda: net(x, after))
            elif way == 1:
                self.expect(False, lambda: net(torch.cat([x, x]), state), "another batch")
            elif way == 2:
                other = self.controllers[1 if self.controller is self.controllers[0] else 0].network
                self.expect(
                    False, lambda: net.initial_state(batch, weights=other.parameters_of_layers()), "strange weights"
                )
            elif way == 3:
                ended, fits = self.value(batch)
                argument = ended
                if isinstance(ended, np.ndarray) and ended.dtype.kind == "b":
                    argument = torch.as_tensor(np.array(ended))
                fits = isinstance(argument, torch.Tensor) and argument.shape == (batch,)
                self.expect(fits, lambda: net.forget(state, argument, "episode"), ended)
            elif way == 4:
                size, fits = self.index(4)
                fits = fits or size == 4
                if size != 10**9:
                    self.expect(fits, lambda: net.initial_state(size), size)
            else:
                noise = torch.rand(self.shape(batch, net.spec.steps, net.spec.widths[0]))
                fits = tuple(noise.shape) == (batch, net.spec.steps, net.spec.widths[0])
                self.expect(fits, lambda: net(x, noise=noise), noise.shape)

    # Kernels.

    def scan(self) -> None:
        """Run a layer over currents."""
        batch, steps, size = (int(n) for n in self.rng.integers(1, 5, 3))
        shape = self.shape(batch, steps, size)
        inside, memory = guard_array(shape)
        inside[...] = self.rng.integers(-16, 17, shape) / 8
        state = [guard_array(self.shape(batch, size) if self.rng.random() < 0.3 else (batch, size)) for _ in range(3)]
        parts = [part for part, _ in state]
        fits = len(shape) == 3 and shape[1] > 0 and all(part.shape == (shape[0], shape[2]) for part in parts)
        model = NeuronSpec(**MODELS[int(self.rng.integers(len(MODELS)))])
        tensors = Membrane(*(torch.from_numpy(part) for part in parts))
        kept = inside.copy()
        result = self.expect(fits, lambda: layer.scan(model, torch.from_numpy(inside), tensors), (shape, parts))
        assert untouched(memory)
        assert all(untouched(whole) for _, whole in state)
        if result is not None:
            spikes, _ = result
            assert bool(torch.isfinite(spikes).all())
            if shape[0] and self.rng.random() < 0.1:
                expected, _ = neurons.scan(model, torch.from_numpy(kept), tensors)
                assert torch.equal(spikes, expected)
                self.counts["compared"] += 1

    def encode(self) -> None:
        """Call an encoder's loop itself, which raises ValueError."""
        batch, steps, size = (int(n) for n in self.rng.integers(1, 5, 3))
        activity, _ = guard_array(self.shape(batch, size) if self.rng.random() < 0.5 else (batch, size))
        out, memory = guard_array((batch, steps, size))
        if activity.ndim != 2:
            return
        try:
            encoding.integrate(activity, np.float32(0.999), out)
            assert activity.shape == (batch, size)
            assert not out.any()
            self.counts["answered"] += 1
        except ValueError:
            assert activity.shape != (batch, size)
            self.counts["refused"] += 1
        assert untouched(memory)

    def recurrent(self) -> None:
        """Take a step of a compiled network."""
        net, function = self.reflex
        batch = int(self.rng.integers(1, 4))
        shape = self.shape(batch, 2)
        x = torch.as_tensor(self.rng.integers(0, 2, shape), dtype=torch.float32)
        fits = shape == (batch, 2)
        if x.numel() and self.rng.random() < 0.2:
            x.view(-1)[0] = [0.5, 2.0, -1.0, float("nan")][int(self.rng.integers(4))]
            fits = False
        result = self.expect(fits, lambda: net(x, net.initial_state(batch)), shape)
        if result is not None and self.rng.random() < 0.2:
            expected = function.run(x.numpy()[:, None])[:, 0]
            assert np.array_equal(result[0].numpy() > 0, expected)
            self.counts["compared"] += 1

    def drive(self) -> None:
        """Drive a robot."""
        action, fits = self.value(2)
        result = self.expect(fits, lambda: self.env.step(action), action)
        if result is not None:
            assert np.isfinite(result[0]).all()
            if result[2] or result[4]["time"] > 20:
                self.env.reset(seed=int(self.rng.integers(100)))

    # What is called.

    def _controller(self, number: int) -> Controller:
        torch.manual_seed(number)
        spec = NetworkSpec(
            inputs=4, outputs=2, hidden=((5,), (7, 3), (4, 4))[number], steps=3,
            encoder=EncoderSpec(kind="current"), readout=ReadoutSpec(kind="mean"),
        )  # fmt: skip
        bounds = {"low": (-1.0, -1.0), "high": (1.0, 1.0)}
        controller = Controller(ControllerSpec(network=spec, normalise=False, **bounds))  # type: ignore[arg-type]
        with torch.no_grad():
            for part in controller.network.layers:  # few binary digits: no sum rounds, in any order
                assert isinstance(part, torch.nn.Linear)
                part.weight.copy_(torch.randint(-16, 17, part.weight.shape) / 8)
                part.bias.copy_(torch.randint(-4, 5, part.bias.shape) / 8)
        controller.eval().requires_grad_(False)
        begun(controller, 1).act(np.zeros((1, 4)))
        return controller

    def _recurrent(self) -> tuple[Any, SpikeFunction]:
        lines = {name: Line(name) for name in ("a", "b")}
        function = SpikeFunction(("a", "b"), (("out", parse_function("count(a, 1, window=2) and b", lines)),))
        return network_of(compile_function(function)), function


MODELS = [
    {"kind": kind, "reset": reset, "threshold": 0.5, "tau": 2.0}
    for kind, reset in itertools.product(["current-lif", "if", "lif"], ["soft", "hard"])
]
