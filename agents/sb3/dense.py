"""Multi-layer perceptrons of SB3's policies as one differentiable operation each, and critics made of them.

The parameters, their names and the function are those of SB3's `nn.Sequential`. What differs is the time: products go
where the actor's go (`homeo_rl.snn.kernels.workspace.multiply`), activations and their derivatives are written in
place, and one node of the graph stands for all layers. `torch.nn.Sequential.forward` is the reference.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from stable_baselines3.common.policies import ContinuousCritic
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from homeo_rl.snn.kernels.workspace import multiply

NARROW = 32  # columns up to which MKL is twice as fast where the result is turned


class DenseNetwork(nn.Sequential):
    """Linear layers with ReLU or tanh between them, and perhaps after the last; other modules run one by one."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self._activation = _activation_of(modules)

    def forward(self, input: Tensor) -> Tensor:
        """Map rows [B, K] to [B, N]."""
        return self._run(input, attached=True)

    def without_weights(self, input: Tensor) -> Tensor:
        """Do what `forward` does, where no derivative with respect to the parameters is wanted."""
        return self._run(input, attached=False)

    @property
    def is_plain(self) -> bool:
        """Whether `trace` and `descend` know what lies between the layers."""
        return self._activation is not None

    def trace(self, x: Tensor) -> list[Tensor]:
        """Return ``x`` [B, K] and what every layer makes of the one before, where no graph is recorded."""
        assert self._activation is not None
        with torch.no_grad():
            return _forward(x, self._activation, self._ends_active, [(a.weight, a.bias) for a in self._linears])

    def descend(self, coming: Tensor, outputs: Sequence[Tensor]) -> None:
        """Set the parameters' derivatives, for ``coming`` [B, N] with respect to the last of `trace`'s ``outputs``."""
        linears = self._linears
        wanted = [False, *[True] * (2 * len(linears))]
        with torch.no_grad():
            _, parts = self._backward(coming, outputs, wanted)
        for index, module in enumerate(linears):
            module.weight.grad, module.bias.grad = parts[2 * index], parts[2 * index + 1]

    def derivative_of_input(self, coming: Tensor, outputs: Sequence[Tensor], first: int = 0) -> Tensor:
        """Return the derivative with respect to the input's columns from ``first`` on; the parameters get none."""
        wanted = [True, *[False] * (2 * len(self._linears))]
        with torch.no_grad():
            result, _ = self._backward(coming, outputs, wanted, first)
        assert result is not None
        return result

    def _backward(
        self, coming: Tensor, outputs: Sequence[Tensor], wanted: Sequence[bool], first: int = 0
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        assert self._activation is not None
        weights = [module.weight for module in self._linears]
        return _backward(_Way(self._activation, self._ends_active, wanted, first), coming, outputs, weights)

    @property
    def _linears(self) -> list[nn.Linear]:
        return [module for module in self._modules.values() if type(module) is nn.Linear]

    @property
    def _ends_active(self) -> bool:
        return len(self._linears) * 2 == len(self._modules)

    def _run(self, x: Tensor, attached: bool) -> Tensor:
        if self._activation is None or not x.is_cpu or x.dim() != 2:
            result: Tensor = super().forward(x) if attached else _run_detached(self, x)  # type: ignore[no-untyped-call]  # torch's
            return result
        linears = self._linears
        if not torch.is_grad_enabled():
            return self.trace(x)[-1]
        parts = [part for module in linears for part in (module.weight, module.bias)]
        if not attached:
            parts = [part.detach() for part in parts]
        out: Tensor = _Dense.apply(x, self._activation, self._ends_active, *parts)  # type: ignore[no-untyped-call]  # torch ships apply untyped
        return out


class QuickModes(nn.Module):
    """Modules that change between training and evaluation fast: SB3 asks for both at every step of an environment."""

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules, as torch does at twenty times the cost."""
        modules: list[nn.Module] = [self]
        while modules:
            module = modules.pop()
            module.__dict__["training"] = mode
            modules.extend(part for part in module._modules.values() if part is not None)
        return self


class TwinCritic(QuickModes, ContinuousCritic):
    """SB3's critic with `DenseNetwork`s.

    Where the actions have a gradient, as in the losses of actors alone, no derivative with respect to the critics'
    weights is computed: SB3 discards it before their next update.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for index, network in enumerate(self.q_networks):
            assert isinstance(network, nn.Sequential)
            self.q_networks[index] = compact(network)
            setattr(self, f"qf{index}", self.q_networks[index])

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Return the values [B, 1] of all critics."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.share_features_extractor):
            features = self.extract_features(obs, self.features_extractor)
        rows = torch.cat([features, actions], dim=1)
        return tuple(self._value(network, rows, actions) for network in self.q_networks)

    def q1_forward(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Return the values [B, 1] of the first critic."""
        with torch.no_grad():
            features = self.extract_features(obs, self.features_extractor)
        return self._value(self.q_networks[0], torch.cat([features, actions], dim=1), actions)

    def _value(self, network: nn.Module, rows: Tensor, actions: Tensor) -> Tensor:
        assert isinstance(network, DenseNetwork)
        return network.without_weights(rows) if actions.requires_grad else network(rows)


def compact(network: nn.Sequential) -> DenseNetwork:
    """Return a network with the modules of ``network``, which keep their names and values; nothing is drawn."""
    return DenseNetwork(*network)


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str, ends_active: bool, *parts: Tensor) -> Tensor:
        outputs = _forward(x, activation, ends_active, list(zip(parts[::2], parts[1::2], strict=True)))
        ctx.activation, ctx.ends_active = activation, ends_active
        ctx.save_for_backward(*outputs, *parts[::2])
        return outputs[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, coming: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.saved_tensors) // 2
        outputs, weights = ctx.saved_tensors[: layers + 1], ctx.saved_tensors[layers + 1 :]
        wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[3:]]
        of_input, of_parts = _backward(_Way(ctx.activation, ctx.ends_active, wanted), coming, outputs, weights)
        return of_input, None, None, *of_parts


class _Way(NamedTuple):
    """What derivatives go back through, and which are wanted: the input's, then every weight's and bias's."""

    activation: str
    ends_active: bool
    wanted: Sequence[bool]
    first: int = 0  # column of the input from which on its derivative is wanted


def _backward(
    way: _Way, grad: Tensor, outputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return the derivatives of the input and of all weights and biases, None where they are not wanted."""
    of_parts: list[Tensor | None] = [None] * (2 * len(weights))
    for index in reversed(range(len(weights))):
        if index < len(weights) - 1 or way.ends_active:
            grad = _through(way.activation, grad, outputs[index + 1])
        if way.wanted[1 + 2 * index]:
            of_parts[2 * index] = _of_weight(grad, outputs[index])
        if way.wanted[2 + 2 * index]:
            of_parts[2 * index + 1] = grad.sum(0)
        if index == 0 and not way.wanted[0]:
            return None, of_parts
        grad = _of_input(grad, weights[index] if index else weights[0][:, way.first :])
    return grad, of_parts


def _of_weight(grad: Tensor, x: Tensor) -> Tensor:
    """Return grad^T [N, B] @ x [B, K] in rows."""
    if 1 < x.shape[1] <= NARROW < grad.shape[1]:
        return torch.mm(x.T, grad).T.contiguous()
    return multiply(grad.T, x.T)


def _of_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Return grad [B, N] @ weight [N, K]."""
    return torch.mm(weight.T, grad.T).T if 1 < weight.shape[1] <= NARROW < grad.shape[1] else multiply(grad, weight.T)


def _forward(x: Tensor, activation: str, ends_active: bool, layers: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Return ``x`` and what every layer makes of the one before; called where no graph is recorded."""
    outputs = [x]
    for index, (weight, bias) in enumerate(layers):
        out = multiply(outputs[-1], weight, bias)
        if ends_active or index < len(layers) - 1:
            out = out.relu_() if activation == "relu" else out.tanh_()
        outputs.append(out)
    return outputs


def _through(activation: str, grad: Tensor, out: Tensor) -> Tensor:
    """Return a derivative with respect to what went into an activation, from ``out`` that came out of it."""
    if activation == "relu":
        result: Tensor = torch.ops.aten.threshold_backward(grad, out, 0)
    else:
        result = torch.ops.aten.tanh_backward(grad, out)
    return result


def _activation_of(modules: tuple[nn.Module, ...]) -> str | None:
    """Return "relu" or "tanh" where nothing but that stands between linear layers, else None."""
    kinds = {type(module) for module in modules if not isinstance(module, nn.Linear)}
    layered = bool(modules) and all(isinstance(module, nn.Linear) for module in modules[::2])
    active = all(not isinstance(module, nn.Linear) for module in modules[1::2])
    biased = all(module.bias is not None for module in modules if isinstance(module, nn.Linear))
    if not (layered and active and biased):
        return None
    return "relu" if kinds <= {nn.ReLU} else "tanh" if kinds == {nn.Tanh} else None


def _run_detached(network: nn.Sequential, x: Tensor) -> Tensor:
    values = {name: part.detach() for name, part in network.named_parameters()}
    result: Tensor = torch.func.functional_call(network, values, (x,))
    return result
