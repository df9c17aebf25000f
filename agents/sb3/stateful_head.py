"""An actor's network whose membranes pass from decision to decision, as one row of numbers an environment.

Shapes: S sequences (environments in a rollout), L decisions, D features, K outputs, H numbers of a state.
"""

import torch
from torch import Tensor, nn

from homeo_rl.agents.sb3.policies import Head
from homeo_rl.errors import UsageError
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.neurons import Membrane
from homeo_rl.spec import ControllerSpec


class StatefulHead(Head):
    """The actor where sb3-contrib expects an LSTM: its state is the membranes of all layers side by side."""

    num_layers = 1

    def __init__(self, spec: ControllerSpec, output: str, least: int) -> None:
        super().__init__(spec, output)
        if not isinstance(self.network, SpikingNetwork) or spec.network.membrane != "episode":
            raise UsageError(
                "recurrent policies: expected spiking neurons whose membranes live for an episode; use --agent popsan "
                "or san"
            )
        self.widths = spec.network.widths[1:]
        self.hidden_size = max(len(Membrane._fields) * sum(self.widths), least)

    def run(self, features: Tensor, state: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Make the decisions of ``features`` [S * L, D] from ``state`` [1, S, H]; return outputs [S * L, K] and state.

        An episode may start (``starts`` [S * L] is 1) where a sequence does, and nowhere else.
        """
        network = self.network
        assert isinstance(network, SpikingNetwork)
        count = state.shape[1]
        membranes = self.unpack(state[0], starts.reshape(count, -1)[:, :1] != 0)
        if len(features) == count and not torch.is_grad_enabled():  # a rollout: one compiled call
            before = network.initial_state(count)
            before.membranes = list(membranes)
            y, after = network(features, before)
            membranes = [part for part in after.membranes if part is not None]
        else:
            y, membranes = network.sequence(features.reshape(count, -1, features.shape[-1]), membranes)
            y = y.flatten(0, 1)
        packed = torch.cat([value for membrane in membranes for value in membrane], 1)
        return self.squash(y), widen(packed, self.hidden_size).unsqueeze(0)

    def unpack(self, state: Tensor, start: Tensor) -> list[Membrane]:
        """Return membranes for a state [S, H]; at rest where an episode starts, [S, 1]."""
        assert isinstance(self.network, SpikingNetwork)
        sizes = [width for width in self.widths for _ in Membrane._fields]
        parts = iter(torch.split(state[:, : sum(sizes)], sizes, 1))
        result = []
        for index in range(len(self.widths)):
            kept = Membrane(*(next(parts) for _ in Membrane._fields))
            rest = self.network.rest_of(index, kept.potential)
            result.append(Membrane(*(torch.where(start, new, old) for new, old in zip(rest, kept, strict=True))))
        return result


def widen(value: Tensor, width: int) -> Tensor:
    """Return ``value`` [..., N] with zeros up to ``width`` columns."""
    return nn.functional.pad(value, (0, width - value.shape[-1]))
