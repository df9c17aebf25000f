"""A mechanism goes through the memory at each of a few learning rates; `homeo_rl.homeostasis.rate_search` says why.

Shapes: M remembered observations, R rates, K actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference, State
from homeo_rl.homeostasis.rate_search import open_at, rehearsing
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.replay_layers import replay_noise
from homeo_rl.snn.state import Weights, input_major, map_weights


@dataclass(frozen=True)
class Rehearsed:
    """What came of a rehearsal."""

    rates: tuple[float, ...]  # learning rates, 0 first
    # of the actions from the healthy ones in the last pass, one a rate, as a share of that at rate 0: the mean of two
    # shares, of the mean absolute difference and of the norm of the mean difference. One counts every error; the other
    # what they have in common, which topples a walker that takes scattered errors well.
    distances: tuple[float, ...]
    chosen: int  # which rate it was; 0 stays shut
    # what the mechanism learned at that rate and starts from awake, a state of one row a layer; None where it stays
    # shut
    adaptation: tuple[State, ...] | None


class Rehearsal:
    """A network, its memory, and how the healthy network answers when it goes through it one after another.

    Where a mechanism moves thresholds its rates are other than those that calibration saw: then ``references`` are
    those of the memory, under these thresholds. ``plugin`` is the mechanism, of which a part rehearses; ``act`` maps
    the network's outputs [B, K] to actions of one scale.
    """

    def __init__(
        self,
        network: SpikingNetwork,
        memory: Memory,
        plugin: Homeostasis,
        references: tuple[LayerReference, ...],
        act: Callable[[Tensor], Tensor],
    ) -> None:
        self.network, self.memory, self.plugin, self.act = network, memory, plugin, act
        self.references = references
        self._noise = replay_noise(network, len(memory.inputs))
        moments = RateMoments()
        self._healthy, _ = self._through(network.parameters_of_layers(), (0.0,), 1, moments)
        if plugin.adapts_threshold:
            rates, squares = moments.means()
            self.references = tuple(
                replace(layer, rate=torch.as_tensor(rate).to(layer.rate), square=torch.as_tensor(square).to(layer.rate))
                for layer, rate, square in zip(references, rates, squares, strict=True)
            )

    def __call__(self, weights: Weights) -> Rehearsed:
        """Rehearse in a network with these weights."""
        part = rehearsing(self.plugin)
        assert part is not None
        rates = (0.0, *part.tried)
        answers, adaptation = self._through(weights, rates, part.passes)
        distances = _distances(answers - self._healthy)
        chosen = min(range(len(rates)), key=lambda place: distances[place])
        if distances[chosen] > 1.0 - part.least:
            return Rehearsed(rates, distances, 0, None)
        rows = tuple({name: value[chosen : chosen + 1].clone() for name, value in s.items()} for s in adaptation)
        for row in rows:
            open_at(self.plugin, row, part.eta)
        return Rehearsed(rates, distances, chosen, rows)

    @torch.inference_mode()
    def _through(
        self, weights: Weights, rates: tuple[float, ...], passes: int, moments: RateMoments | None = None
    ) -> tuple[Tensor, list[State]]:
        """Return the actions of the last pass [M, R, K], and the states after it."""
        batch = len(rates)
        layers = (layer_weights._replace(weight=input_major(layer_weights.weight)) for layer_weights in weights)
        state = self.network.initial_state(
            batch,
            plugin=self.plugin,
            references=self.references,
            weights=tuple(map_weights(layer, lambda part: part.expand(batch, *part.shape)) for layer in layers),
        )
        for layer in state.adaptation:
            open_at(self.plugin, layer, torch.tensor(rates))
        answers: list[Tensor] = []
        for _ in range(passes):
            answers.clear()
            for index, inputs in enumerate(self.memory.inputs):
                noise = None if self._noise is None else self._noise[index].expand(batch, -1, -1)
                y, state = self.network(inputs.expand(batch, -1), state, adapt=True, noise=noise)
                answers.append(self.act(y))
                if moments is not None:
                    moments.add([rate[0] for rate in state.rates[1:]])
        return torch.stack(answers), state.adaptation


def _distances(errors: Tensor) -> tuple[float, ...]:
    """Return what `Rehearsed.distances` is, for differences of actions [M, R, K]; 1 where there is nothing to gain."""
    parts = torch.stack([errors.abs().mean((0, 2)), errors.mean(0).norm(dim=1)])
    nothing = torch.where(parts > 0, torch.inf, 1.0)
    shares = torch.where(parts[:, :1] > 0, parts / parts[:, :1], nothing)
    return tuple(shares.mean(0).nan_to_num(nan=torch.inf).tolist())
