"""Policies that are no networks of this package: what they share, and functions of Python.

They act row by row, so that an episode does not depend on the episodes beside it. They have no spikes, so no
mechanism adapts them; an observer, which corrects what they see, is possible.
"""

import contextlib
import hashlib
import importlib
import inspect
import sys
import traceback
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from homeo_rl.errors import HomeoError, InputError, NumericalFault, UsageError
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference, Scope
from homeo_rl.imports.user_modules import load_module
from homeo_rl.numerics.arrays import whole_number
from homeo_rl.seeding import generator
from homeo_rl.snn.inputs import require_batch, require_ended, require_weights, rows_of
from homeo_rl.snn.operation_counts import Operations
from homeo_rl.snn.state import NetworkState, Weights, map_weights
from homeo_rl.spec import NetworkSpec
from homeo_rl.storage.files import printable


class ExternalNetwork(nn.Module):
    """Base, with the interface of `homeo_rl.agents.mlp.MLPNetwork`. A subclass decides for one row."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        assert spec.external is not None
        self.spec, self.external = spec, spec.external

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"policy {printable(self.external.name)}"

    def parameters_of_layers(self) -> Weights:
        """Return the trained weights of its layers; () where they are not known."""
        return ()

    @property
    def has_neurons(self) -> bool:
        """Whether its hidden neurons are known, so that they can be silenced."""
        return False

    def begin(self, rng: np.random.Generator) -> Any:
        """Return what it remembers at the start of an episode; ``rng`` is the episode's."""
        return None

    @abstractmethod
    def decide(self, x: np.ndarray, remembered: Any, weights: Weights | None) -> tuple[np.ndarray, Any]:
        """Return the outputs [K] for one observation [1, D] of an episode, and what is remembered after.

        ``weights`` are damaged copies of those of its layers, or None.
        """

    def initial_state(
        self,
        batch: int,
        *,
        plugin: Homeostasis | None = None,
        references: tuple[LayerReference, ...] = (),
        weights: Weights | None = None,
    ) -> NetworkState:
        """Return a state; a plug-in is refused."""
        if plugin is not None:
            raise InputError(f"plug-in {plugin.name}: expected a spiking network, got {self.where}, which has no rates")
        batch = whole_number(batch, what="batch", least=0)
        if weights is not None:
            require_weights(weights, self.parameters_of_layers(), batch=batch)
        return NetworkState(batch=batch, weights=weights, remembered=[self._begin_alone() for _ in range(batch)])

    def forget(self, state: NetworkState, ended: Tensor, scope: Scope) -> NetworkState:
        """Start rows again; the state that is returned takes the place of ``state``."""
        require_ended(ended, state)
        after = state.successor()
        after.remembered = [
            self._begin_alone() if over else value for over, value in zip(ended, after.remembered, strict=True)
        ]
        return after

    def forward(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        adapt: bool = False,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Map x [B, inputs] to [B, outputs].

        Raises:
            InputError: shapes or types that do not fit, or a state that was already advanced.
            NumericalFault: an observation or an output is not finite.
            UsageError: the policy fails, or its output has another shape.
        """
        x, _ = rows_of(x, self.spec.inputs, self)
        if state is not None:
            require_batch(state, x.shape[0])
        state = self.initial_state(x.shape[0]) if state is None else state.successor()
        rows = []
        for row, observation in enumerate(x.detach().cpu().numpy().astype(np.float32)):
            weights = None
            if state.weights:
                weights = tuple(map_weights(layer, lambda part, row=row: part[row]) for layer in state.weights)  # type: ignore[misc]
            output, state.remembered[row] = self.decide(observation[None].copy(), state.remembered[row], weights)
            rows.append(torch.from_numpy(output))
        return (torch.stack(rows) if rows else torch.zeros(0, self.spec.outputs)), state

    def operations(self, rates: Sequence[Tensor]) -> Operations:
        """Return what any decision costs [1]: the products of its layers; NaN where they are not known."""
        sizes = [layer.weight.numel() for layer in self.parameters_of_layers()]
        products = torch.tensor([float(sum(sizes)) if sizes else torch.nan], dtype=torch.float64)
        return Operations(torch.zeros(1), torch.zeros(1), products)

    def _begin_alone(self) -> Any:
        return self.begin(generator(0, "external policy"))

    def output_of(self, action: Any) -> np.ndarray:
        """Return the action of one row as outputs [K]: a choice as 1 at its place.

        Raises:
            UsageError: it is no array of numbers, of another shape, or no such choice.
            NumericalFault: it is not finite.
        """
        count = self.spec.outputs
        action = action.detach().cpu() if isinstance(action, Tensor) else action
        try:
            array = np.asarray(action)
        except (TypeError, ValueError):
            array = np.asarray(None)
        if array.dtype.kind not in "fiu":
            raise UsageError(f"{self.where}: expected an array of numbers, got {printable(type(action).__name__)}")
        if not np.isfinite(array).all():
            raise NumericalFault(
                f"{self.where}: expected finite actions, got NaN or infinity at entry "
                f"{int(np.argmin(np.isfinite(array)))}; correct the policy, or look at what it observes"
            )
        if self.external.choice and array.dtype.kind in "iu" and array.size == 1:
            if not 0 <= int(array.item()) < count:
                raise UsageError(f"{self.where}: expected a choice of 0 to {count - 1}, got {int(array.item())}")
            return np.asarray(np.arange(count) == array.item(), np.float32)
        if array.shape not in self._shapes(count):
            what = (
                f"the index of a choice [N] as whole numbers, or {count} values" if self.external.choice else "actions"
            )
            raise UsageError(
                f"{self.where}: expected {what} of shape [N, {count}], got shape {list(array.shape)} for N = 1; "
                "check the policy and --env"
            )
        return array.reshape(count).astype(np.float32)

    def _shapes(self, count: int) -> tuple[tuple[int, ...], ...]:
        return ((1, count),)


class FunctionPolicy(ExternalNetwork):
    """A function of Python: observations [N, D] in, actions [N, A] (or choices [N]) out.

    A second parameter takes the state, which is then returned beside the actions: None at the start of an episode, or
    what the policy's ``reset()``, or ``reset(rng)``, returns. A class is made into an object first, without arguments.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        self._loaded: tuple[Callable[..., Any], bool] | None = None

    def begin(self, rng: np.random.Generator) -> Any:
        """Return what the policy's ``reset`` returns; None without one."""
        policy, _ = self._load()
        reset = getattr(policy, "reset", None)
        if not callable(reset):
            return None
        return self._call(reset, *([rng] if _takes(reset) else []))

    def decide(self, x: np.ndarray, remembered: Any, weights: Weights | None) -> tuple[np.ndarray, Any]:
        """Call the function; see `ExternalNetwork.decide`."""
        policy, stateful = self._load()
        if not stateful:
            return self.output_of(self._call(policy, x)), remembered
        result = self._call(policy, x, remembered)
        if not isinstance(result, tuple) or len(result) != 2:
            raise UsageError(f"{self.where}: takes a state: expected (actions, state), got {type(result).__name__}")
        return self.output_of(result[0]), result[1]

    def _load(self) -> tuple[Callable[..., Any], bool]:
        """Return the policy, and whether it takes a state; it is imported when it first acts.

        Raises UsageError: it cannot be imported, or its file is another than that of the run.
        """
        if self._loaded is None:
            policy, digest = load_function(self.external.name)
            if digest != self.external.sha256:
                raise UsageError(
                    f"{self.where}: expected the source file of which the run was made, but it was changed since; "
                    "make another run of it: --out DIR"
                )
            if inspect.isclass(policy):
                policy = self._call(policy)
            if not callable(policy):
                raise UsageError(f"{self.where}: expected a function or an object with __call__, got neither")
            self._loaded = policy, _takes(policy) > 1
        return self._loaded

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for a command's result
                return function(*arguments)
        except (KeyboardInterrupt, HomeoError):
            raise
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = printable(" ".join(str(error).split()) or "no message", 200)
            raise UsageError(
                f"{self.where}: failed with {type(error).__name__}: {text} ({frame.filename}, line {frame.lineno}); "
                "correct it, --debug shows more"
            ) from error


def load_function(name: str) -> tuple[Callable[..., Any], str]:
    """Import ``module:function``; return it, and the SHA-256 of its source file and name.

    Raises UsageError: there is no such module or function.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path or not all(part.isidentifier() for part in path.split(".")):
        raise UsageError(f"policy {printable(name)}: expected module:function, such as my_policies:walk")
    load_module(module_name)
    module = importlib.import_module(module_name)
    policy: Any = module
    for part in path.split("."):
        if not hasattr(policy, part):
            raise UsageError(
                f"policy {printable(name)}: {module.__name__} has no {path!r}; check the name behind the colon"
            )
        policy = getattr(policy, part)
    if not callable(policy):
        raise UsageError(f"policy {printable(name)}: expected a function or a class, got {type(policy).__name__}")
    source = Path(str(module.__file__)).read_bytes() if module.__file__ else b""
    return policy, hashlib.sha256(source + b"\0" + name.encode()).hexdigest()


def _takes(function: Callable[..., Any]) -> int:
    """Return how many arguments a function takes by position, those with a default only if named state or rng."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of compiled code that does not say
        return 1
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        p.kind in places and (p.default is inspect.Parameter.empty or p.name in ("state", "rng")) for p in parameters
    )
