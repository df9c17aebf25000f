"""What the healthy layers were like: weights that explain every remembered spike, and imagined observations for them.

Each layer is driven by what it remembers to have received, so damage elsewhere does not matter. The model of a layer is
allowed what the layer itself is not: synapses that are gone, neurons that are dead. It is never written to the
network as it is; it says what the network would have done at observations that nobody stored ("dreams"): remembered
ones with noise. Shapes: M remembered observations, D imagined ones, T spike steps, N neurons.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.sleep_candidates.spike_fit import ForcedPotentials, Problem, fit_spikes
from homeo_rl.seeding import generator
from homeo_rl.snn.forced_potentials import force_potentials, line_search_for
from homeo_rl.snn.layers import currents
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.offline_repair.request import RepairRequest, join, split, time_major
from homeo_rl.snn.replay_layers import run_layer
from homeo_rl.snn.state import LayerWeights, Weights

PENALTY = 0.02
"""Of a squared change of a weight that is there; chosen on the published policy, development seeds."""

PENALTY_LOST = 0.001
"""Of one that is gone: it may be anything."""

DELETED = 40.0
"""Tolerances of the self-test within which lost synapses explain the damage, and what is left counts as exact."""

PASSES = 4
DREAM_NOISE = 0.8
"""Noise of imagined observations, in standard deviations of each entry over the memory."""

EXPLAINED = 10.0
"""Tolerances of the self-test within which a simple explanation (one factor, the copy) needs no fit."""

_PROBES = 40
"""Observations on which explanations are compared."""


def model_layers(request: RepairRequest) -> Weights:
    """Return weights with which every layer, all of its neurons alive, answers as it is remembered to have done."""
    return tuple(_model_layer(request, index) for index in range(len(request.weights)))


def _model_layer(request: RepairRequest, index: int) -> LayerWeights:
    layer, memory = request.weights[index], request.memory
    train, wanted = memory.trains[index], memory.trains[index + 1].mean(1)
    whole = LayerWeights(layer.weight, layer.bias)

    def distance(joined: Tensor, count: int | None = None) -> float:
        outputs = request.run(index, train[:count], split(whole, joined)).mean(1)
        return float((outputs - wanted[:count]).abs().mean())

    starts = [join(whole)]
    if distance(starts[0]) <= request.plugin.tolerance:
        return whole
    starts += _scale(request, index, whole)
    if memory.copies:
        starts += [memory.copies[index].clip(starts[0]), memory.copies[index].centre]
    start = min(starts, key=lambda joined: distance(joined, _PROBES))
    potentials = force_potentials(request.network, index, memory.trains[index + 1])
    if potentials is None or distance(start) <= EXPLAINED * request.plugin.tolerance:
        return split(whole, start)
    lost = torch.cat([request.intact[index].weight == 0, torch.zeros_like(layer.bias, dtype=torch.bool)[:, None]], 1)
    if bool(lost.any()):  # where what is left is as it was, only what is gone has to be explained
        start = _fit(request, potentials, train, start, lost.to(start), PENALTY_LOST)
        if distance(start) <= DELETED * request.plugin.tolerance:
            return split(whole, start)
    return split(whole, _fit(request, potentials, train, start, torch.ones_like(start), PENALTY))


def _fit(
    request: RepairRequest, potentials: ForcedPotentials, train: Tensor, start: Tensor, free: Tensor, penalty: float
) -> Tensor:
    problem = Problem(potentials, time_major(train), start, free, torch.full_like(start, penalty))
    fitted = fit_spikes(problem, PASSES, line_search_for(potentials, request.network))
    return fitted if bool(fitted.isfinite().all()) else start


def _scale(request: RepairRequest, index: int, layer: LayerWeights) -> list[Tensor]:
    """Return the layer times the factor, from 1/1024 to 4, after which its outputs are closest, if there is one.

    Once with biases that have that factor too, and once with biases as they are.
    """
    train, wanted = request.memory.trains[index][:_PROBES], request.memory.trains[index + 1][:_PROBES].mean(1)
    received = currents(train, layer.weight, torch.zeros_like(layer.bias))

    @cache
    def distance(factor: float, share: float) -> float:
        outputs = run_layer(request.network, index, received * factor + layer.bias * share, layer)
        return float((outputs.mean(1) - wanted).abs().mean())

    best = min((2.0**power for power in (0, *range(-10, 3, 2), -1, 1)), key=lambda factor: distance(factor, factor))
    result = []
    for scales_bias in (True, False):
        factor = best
        for step in (0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015, 0.007, 0.003):
            tried = (factor, factor * 2.0**step, factor * 2.0**-step)
            factor = min(tried, key=lambda value: distance(value, value if scales_bias else 1.0))
            if factor == 1.0 and step < 0.5:
                break  # noise, not scale
        bias = layer.bias * factor if scales_bias else layer.bias
        if factor != 1.0:
            result.append(torch.cat([layer.weight * factor, bias.unsqueeze(1)], 1))
    return result


@dataclass(frozen=True)
class Dreams:
    """Remembered and imagined observations, as the healthy layers would answer them."""

    trains: tuple[Tensor, ...]  # what the encoder and every layer sends, [M + D, T, N] each; the first M are remembered
    actions: Tensor  # what the healthy network would do [M + D, K]


def _choose_bases(inputs: Tensor, count: int) -> Tensor:
    """Return the indices [D] of the observations that are varied: all of them in turn, and every second time rare ones.

    Situations that are rare in the memory, such as starting to walk, are few, and errors there end an episode. Rare is
    the quarter that is farthest from its nearest neighbour.
    """
    total = len(inputs)
    gaps = torch.cdist(inputs, inputs).fill_diagonal_(torch.inf).amin(1)
    rare = gaps.argsort(descending=True, stable=True)[: max(1, total // 4)]
    index = torch.arange(count)
    return torch.where(index < total, index % total, rare[index % len(rare)])


def encode_dreams(network: SpikingNetwork, memory: Memory, count: int) -> Tensor:
    """Return what the encoder sends [D, T, N_enc] for ``count`` imagined observations.

    They depend on the remembered observations alone: their stream of random numbers is always the same.
    """
    draws = generator(0, "dreams")
    inputs = memory.inputs[_choose_bases(memory.inputs, count)]
    spread = memory.inputs.std(0, correction=0)
    noise = torch.as_tensor(draws.standard_normal(tuple(inputs.shape), dtype=np.float32))
    uniform = None
    if network.encoder.stochastic:
        shape = (count, network.spec.steps, network.spec.widths[0])
        uniform = torch.as_tensor(draws.random(shape, dtype=np.float32))
    train: Tensor = network.encoder(inputs + DREAM_NOISE * spread * noise, network.spec.steps, noise=uniform)
    return train


def dream(request: RepairRequest, model: Weights, count: int) -> Dreams:
    """Return the memory with ``count`` imagined observations."""
    memory = request.memory
    if not count:
        return Dreams(memory.trains, request.actions(memory.trains[-1]))
    train = encode_dreams(request.network, memory, count)
    trains = [torch.cat([memory.trains[0], train])]
    for index, layer in enumerate(model):
        train = request.run(index, train, layer)
        trains.append(torch.cat([memory.trains[index + 1], train]))
    return Dreams(tuple(trains), request.actions(trains[-1]))
