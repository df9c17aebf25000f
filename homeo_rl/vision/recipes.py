"""Spiking classifiers by name, small ones for digits and the ones that event cameras are shown on."""

from __future__ import annotations

from torch import nn

from homeo_rl.spec import NeuronSpec
from homeo_rl.vision.spiking import NEURON, Classifier, Initial, Spiking, Stepwise


def digits_mlp(initial: Initial = "rest", *, steps: int = 4, neuron: NeuronSpec = NEURON) -> Classifier:
    """Return 64-32-32-10 for images [B, 1, 8, 8]."""
    return Classifier(
        Stepwise(nn.Flatten(), nn.Linear(64, 32)), Spiking((32,), neuron=neuron, initial=initial),
        Stepwise(nn.Linear(32, 32)), Spiking((32,), neuron=neuron, initial=initial),
        Stepwise(nn.Linear(32, 10)), steps=steps,
    )  # fmt: skip


def digits_cnn(initial: Initial = "rest", *, steps: int = 4, neuron: NeuronSpec = NEURON) -> Classifier:
    """Return two convolutions of 8 and 16 channels with pooling, and a linear layer, for images [B, 1, 8, 8]."""
    return Classifier(
        Stepwise(nn.Conv2d(1, 8, 3, padding=1)), Spiking((8, 8, 8), neuron=neuron, initial=initial),
        Stepwise(nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1)), Spiking((16, 4, 4), neuron=neuron, initial=initial),
        Stepwise(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)), steps=steps,
    )  # fmt: skip
