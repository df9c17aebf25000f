"""Form ``best``: candidates compete layer by layer, and the one whose actions come closest is kept.

A candidate is judged by rehearsal: the repaired layers before it, the candidate, and after it the healthy model of the
layers that are still to come act on remembered and imagined observations. Candidates are tried in the order of
`CANDIDATES`, each where those before it leave much of the error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from homeo_rl.homeostasis.sleep_candidates.ridge import fit_currents
from homeo_rl.homeostasis.sleep_candidates.spike_fit import Problem, fit_spikes
from homeo_rl.snn.forced_potentials import force_potentials, line_search_for
from homeo_rl.snn.offline_repair.healthy_model import Dreams, dream, model_layers
from homeo_rl.snn.offline_repair.layerwise import make_layer_repair
from homeo_rl.snn.offline_repair.request import Repair, RepairRequest, free_synapses, join, split, time_major
from homeo_rl.snn.state import LayerWeights, Weights

PENALTY = 0.02
"""Of a squared change in the candidate ``spikes``; chosen on the published policy, development seeds."""

RIDGE_PENALTY = 1e-3
PASSES = 7
JUDGED = 200
"""Remembered and imagined observations that candidates are judged on."""


@dataclass(frozen=True)
class LayerTask:
    """One layer of a competition."""

    request: RepairRequest  # the whole network
    index: int  # which layer
    train: Tensor  # what the layer receives now, for remembered and imagined observations [M + D, T, N_in]
    healthy: Dreams  # what the healthy network does at them
    model: Weights  # the healthy model of all layers
    free: Tensor  # 1 for weights and biases that can be written with an effect [N, N_in + 1]

    @property
    def now(self) -> Tensor:
        """Weights and biases as they are [N, N_in + 1]."""
        return join(self.request.weights[self.index])

    @property
    def centre(self) -> Tensor:
        """Those of the healthy model where they can be written, else as they are [N, N_in + 1]."""
        return torch.where(self.free > 0, join(self.model[self.index]), self.now)


def write_model(task: LayerTask) -> Tensor | None:
    """Write what the healthy layer was like, as far as it can be written."""
    return task.centre


def refit_spikes(task: LayerTask) -> Tensor | None:
    """Fit the healthy spikes by what is left; None for long spike trains."""
    potentials = force_potentials(task.request.network, task.index, task.healthy.trains[task.index + 1])
    if potentials is None:
        return None
    penalty = torch.full_like(task.free, PENALTY)
    problem = Problem(potentials, time_major(task.train), task.centre, task.free, penalty)
    return fit_spikes(problem, PASSES, line_search_for(potentials, task.request.network))


def refit_currents(task: LayerTask) -> Tensor | None:
    """Fit the healthy currents by what is left."""
    received = time_major(task.healthy.trains[task.index]) @ join(task.model[task.index]).T
    return fit_currents(time_major(task.train), received, task.centre, task.free, RIDGE_PENALTY)


def apply_delta(task: LayerTask) -> Tensor | None:
    """Apply the delta rule of version 0.1 to the layer as it is, on the remembered observations alone."""
    request = task.request
    repair = make_layer_repair(request, task.index, task.train[: len(request.memory.inputs)])
    weight, bias = request.plugin.repair_layer(repair)
    return torch.cat([weight, bias.unsqueeze(1)], 1)


class Candidate(NamedTuple):
    """A repair of one layer."""

    # returns weights and biases [N, N_in + 1]; None where it does not apply
    propose: Callable[[LayerTask], Tensor | None]
    # it is tried where the best candidate before it leaves more than this share of the layer's error. Dead neurons
    # leave much of it to later layers, whatever is done.
    above: float


CANDIDATES: dict[str, Candidate] = {
    "model": Candidate(write_model, 0.0),
    "spikes": Candidate(refit_spikes, 0.25),
    "ridge": Candidate(refit_currents, 0.75),
    "delta": Candidate(apply_delta, 0.75),
}
"""All candidates, in the order in which they are tried."""


def compete(request: RepairRequest) -> Repair:
    """Return the best candidate of every layer, from the input on."""
    model = model_layers(request)
    healthy = dream(request, model, request.plugin.dreams)
    train, layers, chosen = healthy.trains[0], list[LayerWeights](), list[str]()
    for index, layer in enumerate(request.weights):
        free = free_synapses(layer, request.intact[index])
        name, best = _choose(LayerTask(request, index, train, healthy, model, free))
        chosen.append(name)
        layers.append(layer if name == "keep" else split(layer, best))
        train = request.run(index, train, layers[-1])
    return Repair(tuple(layers), tuple(chosen))


def _choose(task: LayerTask) -> tuple[str, Tensor]:
    name, best = "keep", task.now
    first = least = distance(task, best)
    for candidate, (propose, above) in CANDIDATES.items():
        if least <= above * first:
            continue
        joined = propose(task)
        if joined is None or not bool(joined.isfinite().all()):
            continue
        if (error := distance(task, joined)) < least:
            name, best, least = candidate, joined, error
    return name, best


def distance(task: LayerTask, joined: Tensor) -> float:
    """Return the mean absolute error of the actions with this candidate, the layers after it being healthy."""
    request = task.request
    rows = slice(len(request.memory.inputs) // 2, len(request.memory.inputs) // 2 + JUDGED)
    train = request.run(task.index, task.train[rows], split(request.weights[task.index], joined))
    for index in range(task.index + 1, len(task.model)):
        train = request.run(index, train, task.model[index])
    return float((request.actions(train) - task.healthy.actions[rows]).abs().mean())
