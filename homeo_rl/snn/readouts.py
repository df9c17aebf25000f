"""From output trains [B, T, N_out] to numbers [B, K]."""

import torch
from torch import Tensor, nn

from homeo_rl.spec import ReadoutSpec


class Readout(nn.Module):
    """Base: ``forward(outputs)``; ``spiking`` is False where the last layer must integrate without firing."""

    spiking = True

    def forward(self, outputs: Tensor) -> Tensor:
        """Read ``outputs`` [B, T, N_out]."""
        raise NotImplementedError

    def steps(self, outputs: Tensor) -> Tensor:
        """Read every step of ``outputs`` [B, T, N_out] by itself, as [B, T, K]: as if it were the only one."""
        each: Tensor = self(outputs.flatten(0, 1).unsqueeze(1))
        return each.reshape(*outputs.shape[:2], each.shape[-1])


class PopulationReadout(Readout):
    """Each number is a linear map of the mean rates of its own ``size`` neurons (PopSAN's decoder)."""

    def __init__(self, outputs: int, spec: ReadoutSpec) -> None:
        super().__init__()
        bound = spec.size**-0.5  # torch's own start of a convolution with this fan-in, as in PopSAN
        self.weight = nn.Parameter(torch.empty(outputs, spec.size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, outputs: Tensor) -> Tensor:
        """Read ``outputs`` [B, T, K * size] as [B, K]."""
        rates = outputs.mean(1).reshape(-1, *self.weight.shape)
        return (rates * self.weight).sum(-1) + self.bias


class MeanReadout(Readout):
    """The centred mean rate, gain * (2 r - 1), in [-gain, gain]."""

    def __init__(self, spec: ReadoutSpec) -> None:
        super().__init__()
        self.gain = spec.gain

    def forward(self, outputs: Tensor) -> Tensor:
        """Read ``outputs`` [B, T, K] as [B, K]."""
        return self.gain * (2.0 * outputs.mean(1) - 1.0)


class LastStepReadout(Readout):
    """The centred output of the last spike step, gain * (2 s_T - 1)."""

    def __init__(self, spec: ReadoutSpec) -> None:
        super().__init__()
        self.gain = spec.gain

    def forward(self, outputs: Tensor) -> Tensor:
        """Read ``outputs`` [B, T, K] as [B, K]."""
        return self.gain * (2.0 * outputs[:, -1] - 1.0)


class MembraneReadout(Readout):
    """The last membrane potential of output neurons that never fire."""

    spiking = False

    def forward(self, outputs: Tensor) -> Tensor:
        """Read the potentials ``outputs`` [B, T, K] as [B, K]."""
        return outputs[:, -1]


def build_readout(outputs: int, spec: ReadoutSpec) -> Readout:
    """Build the read-out that ``spec`` describes."""
    if spec.kind == "population":
        return PopulationReadout(outputs, spec)
    if spec.kind == "mean":
        return MeanReadout(spec)
    if spec.kind == "last":
        return LastStepReadout(spec)
    return MembraneReadout()
