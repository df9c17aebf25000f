"""Tensors that networks are given, checked before compiled code reads them (see `homeo_rl.numerics.arrays`).

Shapes: B batch, N neurons.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference
from homeo_rl.numerics.arrays import describe_value, instance_of, require_finite
from homeo_rl.snn.state import LayerWeights, NetworkState

FLOATS = (torch.float32, torch.float64)  # what networks calculate in; other numbers are cast


def rows_of(
    x: Any, width: int, like: nn.Module | Tensor, *, what: str = "observations [B, D]", finite: bool = True
) -> tuple[Tensor, np.ndarray | None]:
    """Return ``x`` as rows [B, width] of finite floats; other numbers are cast to those of ``like``.

    ``finite`` False leaves the numbers to whoever reads the rows.

    Returns the rows, and the same memory as an array, C-contiguous; None for rows on a device, whose numbers are not
    looked at, because that would wait for it, and for rows without numbers, by which an exporter traces.

    Raises:
        InputError: another shape, or no real numbers.
        NonFiniteInput: a number that is not finite.
    """
    if not isinstance(x, Tensor):
        instance_of(x, Tensor, what=what, advice="torch.as_tensor makes one")
    if x.dtype not in FLOATS:
        # A policy of another kind has no parameters, and takes float32.
        x = _cast(x, (like if isinstance(like, Tensor) else next(like.parameters(), torch.zeros(()))).dtype, what)
    shape = x.shape
    if len(shape) != 2 or shape[1] != width:
        raise InputError(
            f"{what}: expected shape [B, {width}], got {list(shape)}; give one row a decision, of the {width} "
            "entries that the network was made for"
        )
    if not x.is_cpu or torch.compiler.is_compiling():
        return x, None
    array = (x.detach() if x.requires_grad else x).numpy()
    if finite:
        require_finite(array, what)
    return x, array if array.flags.c_contiguous else array.copy()


def like_weights(x: Tensor, weight: Any, *, what: str = "observations [B, D]") -> Tensor:
    """Return rows in the type of a network's weights, where no digit is lost by that.

    Raises InputError: the weights have fewer digits.
    """
    if x.dtype == weight.dtype:
        return x
    if weight.dtype != torch.float64:
        raise InputError(
            f"{what}: expected {weight.dtype}, as the weights are, got {x.dtype}; convert them with .to({weight.dtype})"
        )
    return x.to(weight.dtype)


def require_batch(state: Any, rows: int) -> None:
    """Check that a state is one of so many rows; `NetworkState.successor` checks that it can go on.

    Raises InputError: it is none, or of another batch.
    """
    if type(state) is not NetworkState:
        instance_of(state, NetworkState, what="network state", advice="SpikingNetwork.initial_state makes one")
    if state.batch != rows:
        raise InputError(
            f"network state: expected a batch of {rows}, as the observations are, got a state of batch {state.batch}; "
            "make a state of that size"
        )


def require_ended(ended: Any, state: Any) -> None:
    """Check which rows of a state are to start again. Raises InputError: not one boolean a row."""
    instance_of(state, NetworkState, what="network state", advice="SpikingNetwork.initial_state makes one")
    instance_of(ended, Tensor, what="ended [B]", advice="torch.as_tensor makes one")
    if ended.dtype != torch.bool or ended.shape != (state.batch,):
        raise InputError(
            f"ended [B]: expected {state.batch} booleans, one a row, got {ended.dtype} of shape {list(ended.shape)}; "
            "True starts a row again"
        )


def require_references(plugin: Any, references: Any, widths: Sequence[int]) -> None:
    """Check the references of each healthy layer, of networks of ``widths``.

    Raises InputError: it is no mechanism, or not one reference a layer of the layer's size.
    """
    instance_of(plugin, Homeostasis, what="plug-in", advice="homeo_rl.homeostasis.make makes one of an arm's name")
    if not isinstance(references, tuple | list) or len(references) != len(widths) - 1:
        got = len(references) if isinstance(references, tuple | list) else describe_value(references)
        raise InputError(
            f"plug-in {plugin.name}: expected {len(widths) - 1} layer references, got {got}; "
            "SpikingNetwork.references makes them"
        )
    for index, (layer, size) in enumerate(zip(references, widths[1:], strict=True)):
        what = f"reference of layer {index}"
        instance_of(layer, LayerReference, what=what, advice="SpikingNetwork.references makes them")
        for name, part in (("rate", layer.rate), ("square", layer.square)):
            instance_of(part, Tensor, what=f"{what}: {name}", advice="SpikingNetwork.references makes it")
            if tuple(part.shape) != (size,):
                raise InputError(
                    f"{what}: expected a {name} of shape ({size},), one a neuron, got {tuple(part.shape)}; calibrate "
                    "the policy that is used"
                )


def noise_of(noise: Any, shape: tuple[int, int, int]) -> Tensor | None:
    """Return the uniform numbers of a stochastic encoder [B, T, N_enc].

    Raises:
        InputError: they have another shape or type.
        NonFiniteInput: a number that is not finite.
    """
    if noise is None:
        return None
    what = "encoder noise [B, T, N_enc]"
    instance_of(noise, Tensor, what=what, advice="torch.rand makes one")
    if noise.shape != shape or not noise.is_floating_point():
        raise InputError(
            f"{what}: expected shape {shape} of floats, got {tuple(noise.shape)} of {noise.dtype}; draw one number for "
            "every row, spike step and line"
        )
    if noise.is_cpu and noise.dtype in FLOATS:
        require_finite(noise.detach().numpy(), what)
    return noise  # type: ignore[no-any-return]  # checked above


def require_weights(weights: Any, like: Sequence[LayerWeights], *, batch: int | None = None) -> None:
    """Check weights of every layer: types, shapes and numbers.

    ``batch``: rows that may have weights of their own; None allows no batch dimension.

    Raises:
        InputError: naming the first part that does not fit.
        NonFiniteInput: a number that is not finite.
    """
    instance_of(weights, tuple, what="weights", advice="give a tuple of LayerWeights, as Session.trained is")
    if len(weights) != len(like):
        raise InputError(f"weights: expected {len(like)} layers, got {len(weights)}; give a LayerWeights a layer")
    for index, (layer, trained) in enumerate(zip(weights, like, strict=True)):
        instance_of(layer, LayerWeights, what=f"weights of layer {index}", advice="give a LayerWeights a layer")
        size = tuple(trained.bias.shape)
        shapes = {"weight": tuple(trained.weight.shape), "bias": size, "alive": size, "stuck": size}
        for name, shape in shapes.items():
            part = getattr(layer, name)
            if part is not None or name in ("weight", "bias"):
                _require_part(part, shape, batch, trained.weight, f"{name} of layer {index}")


def _require_part(part: Any, shape: tuple[int, ...], batch: int | None, like: Tensor, what: str) -> None:
    instance_of(part, Tensor, what=what, advice="torch.as_tensor makes one")
    if tuple(part.shape) != shape and (batch is None or tuple(part.shape) != (batch, *shape)):
        expected = str(shape) if batch is None else f"{shape} or {(batch, *shape)}"
        raise InputError(
            f"{what}: expected shape {expected}, got {tuple(part.shape)}; give what the trained weights have"
        )
    if part.is_complex() or part.device != like.device:
        raise InputError(
            f"{what}: expected real numbers on {like.device}, got {part.dtype} on {part.device}; convert it with .to()"
        )
    single = part[0] if part.dim() > len(shape) and part.stride(0) == 0 else part
    if single.is_cpu and single.dtype in FLOATS:
        require_finite(single.detach().numpy(), what)


def _cast(x: Tensor, dtype: torch.dtype, what: str) -> Tensor:
    if x.is_complex() or x.is_quantized:
        raise InputError(f"{what}: expected real numbers, got {x.dtype}; convert them to {dtype}")
    return x.to(dtype)
