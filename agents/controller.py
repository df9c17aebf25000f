"""A deployable policy: observation in, action out; normaliser, network and squashing in one bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from homeo_rl.agents.external import ExternalNetwork, FunctionPolicy
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.agents.onnx_graph import OnnxPolicy
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.agents.reflex import Reflex
from homeo_rl.errors import InputError, StorageFault, UsageError
from homeo_rl.numerics.arrays import instance_of, require_finite, whole_number
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.run import Run
from homeo_rl.snn.inputs import rows_of
from homeo_rl.snn.kernels import decision_kernel
from homeo_rl.snn.kernels.compiled_network import OBSERVATIONS, IOTransform
from homeo_rl.snn.network import Rows, SpikingNetwork
from homeo_rl.snn.state import NetworkState
from homeo_rl.spec import EPSILON, ControllerSpec, NetworkSpec, dump, parse

_SQUASHES = {"tanh": decision_kernel.TANH, "identity": decision_kernel.IDENTITY, "none": decision_kernel.CLIP}

PolicyNetwork = SpikingNetwork | MLPNetwork | ExternalNetwork

_UNCHECKED_WEIGHTS = 10_000_000  # weights that are built without asking whether they are there: they take no time


class Normaliser(nn.Module):
    """Running z-score of observations, clipped; its statistics are buffers, so they are saved with the policy.

    They move only when `update` is called, and not at all where ``active`` is False: observations then pass unchanged.
    The buffers' names begin with ``running_`` because Stable-Baselines3 copies buffers of that name into its target
    networks.
    """

    running_mean: Tensor
    running_var: Tensor
    running_count: Tensor

    def __init__(self, size: int, clip: float, *, epsilon: float = EPSILON, active: bool = True) -> None:
        super().__init__()
        self.clip, self.epsilon, self.active = clip, epsilon, active
        self.register_buffer("running_mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("running_var", torch.ones(size, dtype=torch.float64))
        self.register_buffer("running_count", torch.zeros((), dtype=torch.float64))

    def update(self, observations: Tensor) -> None:
        """Merge observations [M, size] into the statistics (Chan's parallel variance).

        Raises:
            InputError: another shape.
            NonFiniteInput: a number is not finite; the statistics are as they were.
        """
        if not self.active:
            return
        observations, _ = rows_of(observations, len(self.running_mean), self.running_mean, what="observations [M, D]")
        batch = observations.to(self.running_mean)
        count = float(batch.shape[0])
        total = self.running_count + count
        gap = batch.mean(0) - self.running_mean
        spread = self.running_var * self.running_count + batch.var(0, unbiased=False) * count
        self.running_var.copy_((spread + gap.square() * self.running_count * count / total) / total)
        self.running_mean.add_(gap * count / total)
        self.running_count.copy_(total)

    def forward(self, observations: Tensor) -> Tensor:
        """Normalise ``observations`` [B, size]. Raises InputError: rows of another size."""
        if not self.active:
            return observations
        if observations.shape[-1:] != self.running_mean.shape:
            raise InputError(
                f"observations: expected rows of {len(self.running_mean)} entries, as training saw them, got shape "
                f"{list(observations.shape)}; give all entries"
            )
        mean, variance = self.running_mean.to(observations), self.running_var.to(observations)
        return ((observations - mean) / torch.sqrt(variance + self.epsilon)).clamp(-self.clip, self.clip)


class Squasher(nn.Module):
    """From network outputs to actions: squash to [-1, 1], then scale to the bounds of the action space."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        self.squash = spec.squash
        # Bounds belong to the specification, not to the weights.
        self.register_buffer("low", torch.tensor(spec.low), persistent=False)
        self.register_buffer("high", torch.tensor(spec.high), persistent=False)

    def unit(self, y: Tensor) -> Tensor:
        """Return the action in [-1, 1] (as it is where there is no squashing)."""
        if self.squash == "tanh":
            return torch.tanh(y)
        return y.clamp(-1.0, 1.0) if self.squash == "identity" else y

    def forward(self, y: Tensor) -> Tensor:
        """Return the action [B, K] in the units of the action space."""
        if self.squash == "none":
            return y
        return self.scale(self.unit(y))

    def scale(self, unit: Tensor) -> Tensor:
        """Return an action from [-1, 1] [B, K] in the units of the action space."""
        half = 0.5 * (self.high - self.low).to(unit)
        return unit * half + 0.5 * (self.high + self.low).to(unit)

    def unscale(self, action: Tensor) -> Tensor:
        """Return an action [B, K] in [-1, 1]."""
        return 2.0 * (action - self.low.to(action)) / (self.high - self.low).to(action) - 1.0


class Bins(nn.Module):
    """Classes of a continuous action: K values in [-1, 1] for every entry, the same for all."""

    values: Tensor

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        even = (2.0 * torch.arange(spec.bins) - (spec.bins - 1)) / (spec.bins - 1)
        self.register_buffer("values", even if spec.spacing == "uniform" else even**3, persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        """Return the value of the largest output of every entry, [B, A] in [-1, 1], for outputs [B, A * K]."""
        return self.values.to(y)[self.apart(y).argmax(-1)]

    def apart(self, y: Tensor) -> Tensor:
        """Return outputs [..., A * K] as [..., A, K]."""
        return y.reshape(*y.shape[:-1], -1, len(self.values))

    def probabilities(self, unit: Tensor) -> Tensor:
        """Return classes [B, A, K] of which the mean value is ``unit`` [B, A]: the two nearest share it."""
        values = self.values.to(unit)
        held = unit.clamp(-1.0, 1.0).contiguous()
        above = torch.bucketize(held, values).clamp(1, len(values) - 1)
        share = (held - values[above - 1]) / (values[above] - values[above - 1])
        classes = torch.zeros((*unit.shape, len(values)), dtype=unit.dtype)
        classes.scatter_(-1, above.unsqueeze(-1), share.unsqueeze(-1))
        return classes.scatter_(-1, (above - 1).unsqueeze(-1), (1.0 - share).unsqueeze(-1))


class Controller(nn.Module):
    """The policy of a run. Shapes: B batch, D observation entries, K action entries (or choices)."""

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        instance_of(spec, ControllerSpec, what="spec", advice="homeo_rl.agents.controller_spec makes one of a preset")
        self.spec = spec
        self.normaliser = Normaliser(spec.network.inputs, spec.clip, epsilon=spec.epsilon, active=spec.normalise)
        self.network = build_network(spec.network)
        self.squasher = Squasher(spec)
        self.bins = Bins(spec) if spec.bins else None
        self.reflex = Reflex(spec.reflex, spec.low, inputs=spec.network.inputs) if spec.reflex is not None else None
        self._transform: tuple[Any, IOTransform] | None = None

    def forward(
        self,
        observations: Tensor,
        state: NetworkState | None = None,
        *,
        adapt: bool = False,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Return the deterministic actions for ``observations`` [B, D], and the state after.

        Continuous actions are [B, K] floats within the bounds, discrete ones [B] indices. A reflex, if there is one,
        has the last word; without a state it is at the first step of an episode. The state that is passed in cannot be
        used again.

        Raises:
            InputError: shapes or types that do not fit, or a state that was already advanced.
            NonFiniteInput: an observation is not finite.
        """
        network = self.network
        if isinstance(network, SpikingNetwork):
            return self.act_on(network.check(observations, state, noise), state, adapt=adapt, generator=generator)
        x, array = rows_of(observations, self.spec.network.inputs, network, finite=False)
        return self.act_on(Rows(x, array, None), state)

    def act_on(
        self, rows: Rows, state: NetworkState | None, *, adapt: bool = False, generator: Generator | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Do what `forward` does for observations of which shapes and types were checked.

        Raises:
            InputError: a state that was already advanced.
            NonFiniteInput: an observation is not finite; nothing has changed.
        """
        network, result = self.network, None
        beside = None if state is None else state.reflex
        if isinstance(network, SpikingNetwork) and rows.array is not None:
            transform = self._io_transform(rows.array.dtype)
            result = network.decide_unchecked(rows.array, state, adapt, generator, rows.noise, transform)
        if result is not None:
            y, state = result
            action = self.act(y) if self._raw_outputs else y
        else:
            if rows.array is not None:
                require_finite(rows.array, OBSERVATIONS)  # before the normaliser clips them
            x = self.normaliser(rows.x)
            if isinstance(network, SpikingNetwork):
                y, state = network.run_layers(Rows(x, None, rows.noise), state, adapt, generator)
            else:
                y, state = network(x, state)
            action = self.act(y)
        if self.reflex is not None:
            beside = self.reflex.initial_state(len(rows.x)) if beside is None else beside
            action, state.reflex = self.reflex(rows.x, action, beside)
        return action, state

    @property
    def kind(self) -> str:
        """What it is, with its article: "an MLP", "a spiking network", "an ONNX graph" or "a function"."""
        external = self.spec.network.external
        if external is not None:
            return "an ONNX graph" if external.kind == "onnx" else "a function"
        return "a spiking network" if self.spec.network.is_spiking else "an MLP"

    @property
    def observation_std(self) -> np.ndarray | None:
        """Standard deviation of each entry of the observation [D], as training saw it; None where it did not look."""
        return torch.sqrt(self.normaliser.running_var).numpy() if self.normaliser.active else None

    @property
    def _raw_outputs(self) -> bool:
        """Whether a compiled decision leaves outputs as they are: an action is then a choice among them."""
        return self.spec.discrete or self.bins is not None

    def act(self, y: Tensor) -> Tensor:
        """Return the actions for network outputs ``y`` [B, outputs]."""
        if self.spec.discrete:
            return y.argmax(-1)
        if self.bins is not None:
            return self.squasher.scale(self.bins(y))
        action: Tensor = self.squasher(y)
        if self.spec.squash == "none":
            return action.clamp(self.squasher.low.to(action), self.squasher.high.to(action))
        return action

    def unit_action(self, y: Tensor) -> Tensor:
        """Return actions [B, K] for network outputs, -1 to 1 from bound to bound; choices as outputs."""
        return y if self.spec.discrete else self.squasher.unscale(self.act(y))

    def bare(self) -> Controller:
        """Return the same policy without its reflex."""
        alone = Controller(replace(self.spec, reflex=None))
        alone.load_state_dict(
            {name: value for name, value in self.state_dict().items() if not name.startswith("reflex.")}
        )
        return alone.eval().requires_grad_(False)

    def cut(self, steps: int) -> Controller:
        """Return the same policy deciding after ``steps`` spike steps.

        Raises:
            UsageError: it takes no spike steps, fewer, or neurons that count cannot be cut.
        """
        steps, network = whole_number(steps, what="steps"), self.spec.network
        if network.body != "spiking":
            raise UsageError(f"--spike-steps: expected a spiking policy that can be cut, got {network.body}")
        if not 1 <= steps <= network.steps:
            raise UsageError(f"--spike-steps: expected 1 to {network.steps}, which the policy takes, got {steps}")
        cut = Controller(replace(self.spec, network=replace(network, steps=steps)))
        cut.load_state_dict(self.state_dict())
        return cut.eval().requires_grad_(False)

    def _io_transform(self, dtype: np.dtype[Any]) -> IOTransform:
        """Return normaliser and squashing for a compiled decision, remembered until the statistics move."""
        normaliser = self.normaliser
        mean, variance = normaliser.running_mean, normaliser.running_var
        if mean.is_inference():  # loaded inside inference mode: nothing tells when it moves
            return self._make_io_transform(dtype)
        now = (dtype, mean._version, variance._version, mean.data_ptr(), variance.data_ptr())
        if self._transform is None or self._transform[0] != now:
            self._transform = (now, self._make_io_transform(dtype))
        return self._transform[1]

    def _make_io_transform(self, kind: np.dtype[Any]) -> IOTransform:
        normaliser, dtype = self.normaliser, torch.float32 if kind == np.float32 else torch.float64
        shift, scale = torch.zeros(0, dtype=dtype), torch.zeros(0, dtype=dtype)
        if normaliser.active:
            shift = normaliser.running_mean.to(dtype)
            deviation = torch.sqrt(normaliser.running_var.to(dtype) + normaliser.epsilon)
            scale = torch.cat([deviation, torch.tensor([normaliser.clip], dtype=dtype)])
        squash, bounds = decision_kernel.RAW, torch.zeros((2, 0), dtype=dtype)
        if not self._raw_outputs:
            squash = _SQUASHES[self.spec.squash]
            low, high = self.squasher.low.to(dtype), self.squasher.high.to(dtype)
            clips = squash == decision_kernel.CLIP
            bounds = torch.stack([low, high] if clips else [0.5 * (high + low), 0.5 * (high - low)])
        return IOTransform(shift.numpy(), scale.numpy(), squash, bounds.numpy())


def build_network(spec: NetworkSpec) -> PolicyNetwork:
    """Build the network that ``spec`` describes."""
    bodies: dict[str, Callable[[NetworkSpec], PolicyNetwork]] = {
        "spiking": SpikingNetwork, "mlp": MLPNetwork, "pascal": PascalNetwork, "external": _build_external,
    }  # fmt: skip
    return bodies[spec.body](spec)


def _build_external(spec: NetworkSpec) -> ExternalNetwork:
    assert spec.external is not None
    return OnnxPolicy(spec) if spec.external.kind == "onnx" else FunctionPolicy(spec)


def save_controller(run: Run | Path | str, controller: Controller, *, which: str = "policy") -> None:
    """Write the policy bundle of a run, which may be given by its path.

    Raises:
        UsageError: there is no such run, or no controller.
    """
    run = Run.of(run)
    instance_of(controller, Controller, what="controller", advice="policy.controller() makes one")
    instance_of(which, str, what="which", advice="write policy or best")
    tensors = {name: value.detach().cpu().numpy() for name, value in controller.state_dict().items()}
    run.save_policy(tensors, {"controller": dump(controller.spec)}, which=which)


def load_controller(run: Run | Path | str, *, which: str = "policy") -> Controller:
    """Rebuild the policy of a run, which may be given by its path, from its bundle; nothing in it is executed.

    Raises:
        StorageFault: the bundle does not fit its own specification.
        UsageError: the run has no such policy.
    """
    run = Run.of(run)
    tensors, document = run.load_policy(which=which)
    where = str(run.path / which)
    spec = parse(ControllerSpec, document.get("controller"), where=where)
    return controller_from(spec, tensors, where=where)


def controller_from(spec: ControllerSpec, tensors: dict[str, np.ndarray], *, where: str) -> Controller:
    """Build a controller and give it ``tensors``, after names, shapes and types were compared.

    Raises:
        StorageFault: naming the first tensor that does not fit.
    """
    # Compared before anything is built: a few bytes of specification can ask for more memory than there is.
    external = spec.network.external
    needed = sum(i * o for i, o in pairwise(spec.network.widths)) if external is None else external.size
    if spec.reflex is not None:
        needed += spec.reflex.network.neurons * len(spec.reflex.network.taps)
    stored = sum(array.size for array in tensors.values())
    if needed > max(stored, _UNCHECKED_WEIGHTS):
        raise StorageFault(
            f"{where}: expected tensors of {needed:,} weights or more, as it says of itself, got {stored:,}"
        )
    controller = Controller(spec)
    expected: dict[str, Any] = controller.state_dict()
    if set(tensors) != set(expected):
        first = sorted(set(tensors) ^ set(expected))[0]
        raise StorageFault(f"{where}: tensor {first!r} is missing or not part of this policy; the bundle was changed")
    for name, value in expected.items():
        array = tensors[name]
        kind = "f" if value.is_floating_point() else "u"  # a graph is stored as bytes
        if tuple(array.shape) != tuple(value.shape) or array.dtype.kind != kind:
            raise StorageFault(
                f"{where}: tensor {name!r}: expected floats {tuple(value.shape)}, found {array.dtype} {array.shape}"
            )
        largest = float(np.abs(array).max(initial=0.0))
        most = LIMIT**2 if name == "normaliser.running_var" else LIMIT  # that of a square
        if name != "normaliser.running_count" and not largest <= most:
            raise StorageFault(
                f"{where}: tensor {name!r} reaches {largest:g}; expected finite numbers within {most:g}, as training "
                "keeps them; the bundle was changed"
            )
    # torch.tensor copies: the arrays of a mapped file must not be the weights.
    controller.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
    return controller.eval().requires_grad_(False)


def require_spiking(controller: Controller, what: str) -> SpikingNetwork:
    """Return the spiking network of ``controller``. Raises UsageError: it is an MLP."""
    if not isinstance(controller.network, SpikingNetwork):
        raise UsageError(
            f"{what} needs spiking neurons, this run's policy is {controller.kind}; use the arm none or a spiking run"
        )
    return controller.network
