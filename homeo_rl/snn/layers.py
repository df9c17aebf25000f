"""One layer of a network for a whole spike train: input currents, scan, and the plug-in's part in both.

Each step goes through whatever kernel serves its tensors (`homeo_rl.snn.kernels`); the reference serves all.
Shapes: B batch, T spike steps, N neurons.
"""

from dataclasses import replace

import torch
from torch import Tensor

from homeo_rl.homeostasis.protocol import DecisionRates, Modulation
from homeo_rl.snn import neurons
from homeo_rl.snn.kernels import dispatch
from homeo_rl.snn.kernels import layer as compiled
from homeo_rl.snn.neurons import Membrane, ThresholdRule
from homeo_rl.snn.state import LayerWeights, NetworkState
from homeo_rl.spec import NeuronSpec


def run(
    neuron: NeuronSpec,
    index: int,
    weights: LayerWeights,
    state: NetworkState,
    train: Tensor,
    *,
    fires: bool,
    initial: Tensor | None = None,
    tau: Tensor | None = None,
) -> tuple[Tensor, Membrane]:
    """Run layer ``index`` over its input ``train`` [B, T, N_in]; the plug-in's thresholds advance in ``state``.

    Args:
        initial: potential [N] that membranes begin with; None is 0.
        tau: learnable leak of the layer, a scalar; None is the neuron's constant.

    Returns spikes (or potentials) [B, T, N_out] and the membranes after.
    """
    change = Modulation() if state.plugin is None else state.plugin.modulation(state.adaptation[index])
    received = modulate_currents(train, weights, change)
    before = state.membranes[index]
    if before is None and initial is not None:
        before = neurons.rest(received[:, 0], initial)
    if tau is not None and not tau.requires_grad:
        neuron, tau = replace(neuron, tau=float(tau)), None
    plugin = state.plugin
    scan = dispatch.route_scan(received, neuron, weights, plugin, fires=fires, leaks=tau is not None)
    if scan == "energy":
        assert plugin is not None
        rule = plugin.rule_for_kernel(state.adaptation[index], state.references[index])
        assert rule is not None
        assert rule.thresholds is not None
        return compiled.scan_energetic(neuron, received, before, rule.thresholds, weights.alive, weights.stuck)
    if scan == "compiled":
        return compiled.scan(neuron, received, before, fires=fires)
    return neurons.scan(
        neuron, received, before,
        threshold=threshold_rule(state, index), alive=weights.alive, stuck=weights.stuck, fires=fires, tau=tau,
    )  # fmt: skip


def advance(state: NetworkState, index: int, rates: DecisionRates) -> None:
    """Advance the plug-in's state of layer ``index`` by the rates of one decision."""
    plugin = state.plugin
    assert plugin is not None
    layer, adaptation = state.references[index], state.adaptation[index]
    grown = plugin.postsynaptic_factor(adaptation, layer, rates) if dispatch.grows_on_gpu(plugin, rates.post) else None
    if grown is None:
        state.adaptation[index] = plugin.step(adaptation, layer, rates)
    else:
        from homeo_rl.snn.kernels import triton_scans

        after, factor, bound = grown
        triton_scans.grow(adaptation["delta"], factor, rates.pre.contiguous(), bound)
        state.adaptation[index] = {**adaptation, **after}


def threshold_rule(state: NetworkState, index: int) -> ThresholdRule | None:
    """Return the plug-in's threshold of one layer, or None where the neuron's constant one holds."""
    plugin = state.plugin
    if plugin is None or not plugin.adapts_threshold:
        return None

    def rule(before: Tensor, potential: Tensor) -> Tensor:
        level, state.adaptation[index] = plugin.threshold(state.adaptation[index], before, potential)
        return level

    return rule


def modulate_currents(train: Tensor, weights: LayerWeights, change: Modulation) -> Tensor:
    """Return the input currents [B, T, N_out] of a layer for its input ``train`` [B, T, N_in]."""
    weight = weights.weight if change.weight is None else weights.weight + change.weight
    bias = weights.bias if change.bias is None else weights.bias + change.bias
    if change.gain is None:
        return currents(train, weight, bias)
    return currents(train, weight, torch.zeros_like(bias)) * change.gain.unsqueeze(1) + bias.unsqueeze(-2)


def currents(train: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return W x + b for a whole train [B, T, N_in], as [B, T, N_out].

    Shared weights [N_out, N_in] make one product of B * T rows. Weights of each environment's own [B, N_out, N_in]
    make B products of one fixed shape, so a row's result does not depend on how many rows there are, to the last bit:
    evaluations give the same scores however many environments run side by side.
    """
    if train.is_cuda and weight.dim() == 3:  # there, B small products one after the other would be most of the time
        return torch.baddbmm(bias.unsqueeze(-2).expand(len(weight), 1, -1), train, weight.transpose(1, 2))
    if weight.dim() == 2:
        return torch.nn.functional.linear(train, weight) + (bias if bias.dim() == 1 else bias.unsqueeze(1))
    rows = zip(train.unbind(0), weight.unbind(0), strict=True)
    product = torch.stack([_align(row) @ _align(single).T for row, single in rows])
    return product + (bias if bias.dim() == 1 else bias.unsqueeze(1))


def _align(value: Tensor) -> Tensor:
    """Return ``value`` at an address that is a multiple of 64: small products round differently elsewhere."""
    return value if value.data_ptr() % 64 == 0 else value.clone()
