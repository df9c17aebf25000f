"""Put QCFS activations into any network."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from homeo_rl.errors import UsageError
from homeo_rl.snn.qcfs import QCFS

REPLACED = (nn.ReLU, nn.ReLU6, nn.Tanh, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Softplus, nn.Sigmoid, nn.Hardtanh)
"""Activations that QCFS takes the place of. All but ReLU change what the network computes: fine-tune it."""

LINEAR = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d,
)  # fmt: skip
"""Layers between two QCFS that a conversion is exact for."""


class Replacement(NamedTuple):
    """One activation that was replaced: its name in the network, what it was, and the levels it has now."""

    name: str
    was: str
    levels: int


def with_qcfs(module: nn.Module, levels: int | Sequence[int] = 8) -> tuple[nn.Module, list[Replacement]]:
    """Return a copy of ``module`` with QCFS in place of its activations, and what was replaced.

    ``levels``: L for all activations, or one each in the order of ``named_modules``. Raises UsageError: a layer that no
    conversion is exact for, by name, or levels that do not fit.
    """
    network = copy.deepcopy(module)
    places = [name for name, part in network.named_modules() if isinstance(part, REPLACED)]
    chosen = [levels] * len(places) if isinstance(levels, int) else list(levels)
    if len(chosen) != len(places):
        raise UsageError(f"levels: expected {len(places)}, one an activation ({', '.join(places)}), got {len(chosen)}")
    report = []
    for name, count in zip(places, chosen, strict=True):
        was = type(network.get_submodule(name)).__name__
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, QCFS(count))
        report.append(Replacement(name, was, count))
    require_exact(network)
    return network, report


def require_exact(network: nn.Module) -> None:
    """Raise where a layer of ``network`` is outside the class that conversions are exact for.

    Raises UsageError: naming the layer.
    """
    for name, part in network.named_modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) and part.training:
            raise UsageError(f"{name}: batch-norm in training mode follows the batch; call .eval() before converting")
        if isinstance(part, (nn.Dropout, nn.Dropout2d)) and part.training and part.p > 0:
            raise UsageError(f"{name}: dropout in training mode is random; call .eval() before converting")
        if next(part.children(), None) is None and not isinstance(part, (QCFS, *LINEAR)):
            kind = type(part).__name__
            if type(part).forward is nn.Module.forward or isinstance(part, (nn.Sequential, nn.ModuleList)):
                continue  # an empty container
            why = (
                "a maximum of spike trains is not the train of the maximum; use average pooling"
                if ("MaxPool" in kind)
                else f"expected QCFS and {', '.join(layer.__name__ for layer in LINEAR)}"
            )
            raise UsageError(f"{name or 'network'}: {kind} cannot be converted exactly: {why}")
