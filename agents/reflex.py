"""A safety reflex beside a policy: sensor events, a compiled spiking network, gates on the action.

The network is proved to compute its specification for every train of events (`homeo_rl.compiler`), so what the gates
do is certain as long as its weights are whole; what the policy learnt does not matter to it.
"""

import torch
from torch import Tensor, nn

from homeo_rl.snn.inputs import rows_of
from homeo_rl.snn.recurrent import RecurrentNetwork
from homeo_rl.snn.state import RecurrentState
from homeo_rl.spec import EventSpec, GateSpec, ReflexSpec


class Reflex(nn.Module):
    """``reflex(observations, action, state)`` returns the gated action and the state after."""

    low: Tensor

    def __init__(self, spec: ReflexSpec, low: tuple[float, ...], *, inputs: int | None = None) -> None:
        """Build it for actions from ``low`` on, and observations of so many ``inputs``; None: any that it can read."""
        super().__init__()
        self.spec, self.inputs = spec, inputs
        self.network = RecurrentNetwork(spec.network)
        self.register_buffer("low", torch.tensor(low), persistent=False)

    def initial_state(self, batch: int) -> RecurrentState:
        """Return the state that episodes begin with."""
        return self.network.initial_state(batch)

    def events(self, observations: Tensor) -> Tensor:
        """Return which events [B, lines] happen in ``observations`` [B, D].

        Raises:
            InputError: shapes that do not fit, or no real numbers.
            NonFiniteInput: an observation is not finite.
        """
        observations, _ = rows_of(observations, self._width(observations), self)
        return torch.stack([detect_event(event, observations) for event in self.spec.events], 1)

    def forward(self, observations: Tensor, action: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Take a step of the network and gate the action.

        Args:
            observations: [B, D], as the policy is given them.
            action: the policy's, [B, K] in the units of the action space, or [B] choices.

        Raises:
            InputError: shapes that do not fit, or no real numbers.
            NonFiniteInput: an observation is not finite.
        """
        y, state = self.network(self.events(observations).to(state.potential), state)
        for gate in self.spec.gates:
            on = y[:, self.spec.outputs.index(gate.when)] > 0
            action = torch.where(on if action.dim() == 1 else on.unsqueeze(1), self.apply_gate(gate, action), action)
        return action, state

    def _width(self, observations: Tensor) -> int:
        """Return how many entries observations must have; negative entries of events count from the end."""
        if self.inputs is not None:
            return self.inputs
        entries = [entry for event in self.spec.events for entry in event.entries]
        return max(observations.shape[-1] if observations.dim() else 0, max(entries) + 1, -min(entries))

    def apply_gate(self, gate: GateSpec, action: Tensor) -> Tensor:
        """Return what ``gate`` makes of actions while it is on."""
        if action.dim() == 1:
            return torch.full_like(action, int(gate.values[0]))
        result, entries = action.clone(), list(gate.entries)
        chosen = action[:, entries]
        if gate.kind == "inhibit":
            low = self.low.to(action)[entries]
            if gate.keep_difference:
                low = chosen - (chosen - low).amin(1, keepdim=True)
            result[:, entries] = low.expand_as(chosen)
        elif gate.kind == "clamp":
            result[:, entries] = chosen.clamp(gate.low, gate.high)
        else:
            result[:, entries] = chosen.new_tensor(gate.values).expand_as(chosen)
        return result

    def check_gates(self, on: Tensor, action: Tensor) -> Tensor:
        """Return whether actions [B, K] are as the gates of the outputs ``on`` [B, outputs] make them, [B]."""
        expected = action
        for gate in self.spec.gates:
            rule = on[:, self.spec.outputs.index(gate.when)] > 0
            rule = rule if action.dim() == 1 else rule.unsqueeze(1)
            expected = torch.where(rule, self.apply_gate(gate, expected), expected)
        same = torch.isclose(expected.double(), action.double(), rtol=1e-6, atol=1e-6)  # slowing twice may round
        return same if same.dim() == 1 else same.all(1)


def detect_event(event: EventSpec, observations: Tensor) -> Tensor:
    """Return where an event happens, [B], in ``observations`` [B, D]."""
    entries = observations[:, list(event.entries)]
    if event.above is not None:
        beyond = entries > event.above
    else:
        assert event.below is not None
        beyond = entries < event.below
    return beyond.sum(1) >= event.least
