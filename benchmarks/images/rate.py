"""The control of an exact conversion: plain integrate-and-fire neurons, driven for T steps and averaged."""

import torch
from torch import Tensor, nn

from homeo_rl.conversion.graph import Graph, Rules
from homeo_rl.snn.qcfs import QCFS
from homeo_rl.snn.spike_accumulation import integrate_and_fire


class RateConverted(nn.Module):
    """A network with QCFS activations as IF neurons with threshold theta, soft reset, from half a threshold.

    It approaches the network with more steps and errs at every number of them (Bu et al., ICLR 2022).

    Args:
        network: with QCFS activations.
        steps: T.

    Raises UsageError: a layer or an operation that is not a layer between activations, by name.
    """

    def __init__(self, network: nn.Module, *, steps: int) -> None:
        super().__init__()
        self.graph = Graph(network)
        self.network = self.graph.network
        self.steps = steps

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for ``x`` [B, ...], the mean over the steps."""
        result: Tensor = self.graph.walk(_Rates(self.steps), x)
        return result


class _Rates(Rules[Tensor]):
    """A value is a train [T, B, ...] of currents."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def read(self, x: Tensor) -> Tensor:
        return x.unsqueeze(0).expand(self.steps, *x.shape)

    def layer(self, name: str, module: nn.Module, value: Tensor) -> Tensor:
        steps, batch = value.shape[:2]
        out: Tensor = module(value.flatten(0, 1))
        return out.reshape(steps, batch, *out.shape[1:])

    def fire(self, name: str, activation: QCFS, value: Tensor) -> Tensor:
        theta = activation.theta.to(value.dtype)
        return integrate_and_fire(value, theta) * theta

    def add(self, name: str, first: Tensor, second: Tensor) -> Tensor:
        return first + second

    def finish(self, value: Tensor) -> Tensor:
        return value.mean(0)
