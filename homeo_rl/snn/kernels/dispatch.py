"""Who computes a decision, and who a layer: the one table that everybody asks.

A decision goes through one of three routes:

decision   one compiled call for everything (`homeo_rl.snn.kernels.compiled_network`): no gradient, few rows or rows
           that differ, parameters without learnable leaks or constant currents, mechanisms with a compiled rule where
           they move thresholds
stack      all layers as one differentiable operation (`homeo_rl.snn.kernels.stack`): trained weights, at rest
layers     layer by layer (`homeo_rl.snn.layers`), each through one of three scans

compiled   `homeo_rl.snn.kernels.layer.scan`: constant thresholds and leaks, no dead or stuck neurons
energy     `homeo_rl.snn.kernels.layer.scan_energetic`: the energy rule on a GPU
reference  `homeo_rl.snn.neurons.scan`: everything
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.snn import kernels
from homeo_rl.snn.state import LayerWeights, NetworkState
from homeo_rl.spec import NetworkSpec, NeuronSpec

Route = Literal["decision", "stack", "layers"]
Scan = Literal["compiled", "energy", "reference"]

MAX_EVENT_DRIVEN_ROWS = 16  # rows up to which following events is faster than a product of all rows


def route(spec: NetworkSpec, x: Tensor | np.ndarray, state: NetworkState | None) -> Route:
    """Return who computes a decision for the rows ``x``; only rows whose numbers lie in an array can be compiled."""
    if spec.body != "spiking" or kernels.serving(x, spec.neuron) != "numba":
        return "layers"
    shared = state is None or (state.weights is None and state.plugin is None)
    plugin = None if state is None else state.plugin
    if (
        isinstance(x, np.ndarray)
        and not torch.is_grad_enabled()
        and spec.neuron.kind != "plif"
        and spec.initial != "constant"
        and (not shared or len(x) <= MAX_EVENT_DRIVEN_ROWS)
        # They step a mechanism's weights or leave that to it, but own the neurons.
        and (plugin is None or not plugin.adapts_threshold or "energy" in plugin.compiled)
    ):
        return "decision"
    return "stack" if shared and spec.membrane == "decision" and spec.neuron.kind != "plif" else "layers"


def route_scan(
    received: Tensor,
    neuron: NeuronSpec,
    weights: LayerWeights | None = None,
    plugin: Homeostasis | None = None,
    *,
    fires: bool = True,
    leaks: bool = False,
) -> Scan:
    """Return who scans a layer; ``weights`` None: dead and stuck neurons are seen to afterwards."""
    grouped = neuron.kind == "multiscale-lif"  # scanned group by group, each of a kind that has a kernel
    kernel = kernels.serving(received, None if grouped else neuron)
    if plugin is not None and plugin.adapts_threshold:
        alone = plugin.compiled == ("energy",) and not grouped
        return "energy" if alone and fires and kernel == "triton" and not received.requires_grad else "reference"
    healthy = weights is None or (weights.alive is None and weights.stuck is None)
    return "compiled" if healthy and not leaks and kernel != "reference" else "reference"


def grows_on_gpu(plugin: Homeostasis, rates: Tensor) -> bool:
    """Whether Triton adds the outer product by which a mechanism's weights grow."""
    return plugin.compiled == ("bcm",) and kernels.serving(rates) == "triton"
