"""Spiking layers for images: the neurons, initial potentials and kernels of the policies, behind any module of torch.

Trains are [B, T, ...]: batch, spike steps, features. A static image is the same current at every step.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from homeo_rl.errors import unknown
from homeo_rl.snn import neurons
from homeo_rl.snn.initial_potentials import bound_potential, initial_potential
from homeo_rl.snn.kernels import dispatch
from homeo_rl.snn.kernels import layer as compiled
from homeo_rl.spec import NeuronSpec

Initial = Literal["rest", "neuron", "channel", "layer", "constant"]
INITIALS: tuple[Initial, ...] = ("rest", "neuron", "channel", "layer", "constant")

NEURON = NeuronSpec(kind="lif", threshold=1.0, tau=2.0, surrogate="arctan")  # LIF with a decaying input, soft reset


class Spiking(nn.Module):
    """Neurons over a train of currents [B, T, *shape].

    Args:
        shape: of the features, such as (N,) or (C, H, W); maps of any size have the last two 1, but not for values of
            each "neuron" or "constant".
        neuron: the model; "plif" learns one tau for the layer.
        initial: what potentials begin with: 0 ("rest"), or learnable ones of each "neuron", "channel" (the first
            feature dimension) or "layer"; "constant" is the control, 0 and a learnable constant current a neuron.

    Raises UsageError: ``initial`` is not known.
    """

    def __init__(self, shape: tuple[int, ...], *, neuron: NeuronSpec = NEURON, initial: Initial = "rest") -> None:
        super().__init__()
        if initial not in INITIALS:
            raise unknown("initial potential", initial, INITIALS)
        self.neuron, self.shape = neuron, shape
        sizes = {"neuron": shape, "constant": shape, "channel": (shape[0], *[1] * (len(shape) - 1)), "layer": (1,)}
        self.constant = initial == "constant"
        self.initial: nn.Parameter | None = None
        if initial != "rest":
            self.initial = initial_potential(*sizes[initial], threshold=neuron.threshold)
        self.leak: nn.Parameter | None = None
        if neuron.kind == "plif":
            self.leak = nn.Parameter(-torch.log(torch.tensor(max(neuron.tau - 1.0, 1e-3))))

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes [B, T, *shape] for currents of that shape."""
        before = None
        if self.initial is not None and self.constant:
            x = x + self.initial
        elif self.initial is not None:
            start = bound_potential(self.initial, self.neuron.threshold).expand(x.shape[2:]).flatten()
            before = neurons.rest(x[:, 0].flatten(1), start)
        flat = x.flatten(2)
        if dispatch.route_scan(flat, self.neuron, leaks=self.leak is not None) == "compiled":
            out, _ = compiled.scan(self.neuron, flat.contiguous(), before)
        else:
            tau = None if self.leak is None else 1.0 + torch.exp(-self.leak)
            out, _ = neurons.scan(self.neuron, flat, before, tau=tau)
        return out.reshape(x.shape)


class Stepwise(nn.Module):
    """Layers without memory, applied to every step of a train; batch-norm's statistics are those of all steps."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, ...] to [B, T, ...]; a train that is the same at every step is mapped once."""
        batch, steps = x.shape[:2]
        if x.stride(1) == 0:
            once: Tensor = self.layers(x[:, 0])
            return once.unsqueeze(1).expand(batch, steps, *once.shape[1:])
        out: Tensor = self.layers(x.flatten(0, 1))
        return out.reshape(batch, steps, *out.shape[1:])


class Classifier(nn.Module):
    """A stack of `Stepwise` and `Spiking` layers that says at every step which class it sees."""

    def __init__(self, *layers: nn.Module, steps: int) -> None:
        super().__init__()
        self.layers, self.steps = nn.Sequential(*layers), steps

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs [T, B, K] for images [B, C, H, W], shown for T ``steps``, or for frames [B, T, C, H, W]."""
        train = x.unsqueeze(1).expand(-1, self.steps, *x.shape[1:]) if x.dim() == 4 else x
        out: Tensor = self.layers(train)
        return out.transpose(0, 1)


class Joined(nn.Module):
    """A block whose spikes are added to its input's (SEW; Fang et al., NeurIPS 2021)."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map a train [B, T, C, H, W]."""
        out: Tensor = self.branch(x) + self.shortcut(x)
        return out
