"""Spiking classifiers by name: the ones that event cameras and ImageNet are shown on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from homeo_rl.spec import NeuronSpec
from homeo_rl.vision.spiking import NEURON, Classifier, Initial, Joined, Spiking, Stepwise

Data = Literal["cifar10-dvs", "n-caltech101", "cifar10", "cifar100", "images"]
DATA: tuple[Data, ...] = ("cifar10-dvs", "n-caltech101", "cifar10", "cifar100", "images")


def vgg11(
    classes: int,
    channels: int,
    *,
    steps: int,
    initial: Initial = "channel",
    neuron: NeuronSpec = NEURON,
    width: int = 64,
) -> Classifier:
    """Return VGG-11 (Simonyan and Zisserman, ICLR 2015) with batch-norm over time and average pooling, any map size."""
    parts: list[nn.Module] = []
    before = channels
    for size, pool in ((1, 1), (2, 1), (4, 0), (4, 1), (8, 0), (8, 1), (8, 0), (8, 1)):
        after = size * width
        parts.append(Stepwise(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)))
        parts.append(Spiking((after, 1, 1), neuron=neuron, initial=initial))
        if pool:
            parts.append(Stepwise(nn.AvgPool2d(2)))
        before = after
    head = Stepwise(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.25), nn.Linear(before, classes))
    return Classifier(*parts, head, steps=steps)


def sew_resnet18(
    classes: int,
    channels: int,
    *,
    steps: int,
    initial: Initial = "channel",
    neuron: NeuronSpec = NEURON,
    width: int = 64,
) -> Classifier:
    """Return SEW-ResNet-18 (Fang et al., NeurIPS 2021): spikes of a branch and of its shortcut are added."""

    def convolve(before: int, after: int, stride: int, size: int = 3) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
        return [Stepwise(convolution, nn.BatchNorm2d(after)), Spiking((after, 1, 1), neuron=neuron, initial=initial)]

    parts = [*convolve(channels, width, 2, size=7), Stepwise(nn.AvgPool2d(3, stride=2, padding=1))]
    before = width
    for stage in range(4):
        after = width * 2**stage
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            branch = nn.Sequential(*convolve(before, after, stride), *convolve(after, after, 1))
            same = stride == 1 and before == after
            shortcut = nn.Identity() if same else nn.Sequential(*convolve(before, after, stride, size=1))
            parts.append(Joined(branch, shortcut))
            before = after
    head = Stepwise(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
    return Classifier(*parts, head, steps=steps)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: on which kind of data, for how long, with which loss."""

    network: Callable[..., Classifier]
    data: Data
    steps: int
    epochs: int
    batch: int
    learning_rate: float
    loss: str = "tet-s"


RECIPES: dict[str, Recipe] = {
    "vgg11-dvs128": Recipe(network=vgg11, data="cifar10-dvs", steps=10, epochs=100, batch=32, learning_rate=1e-3),
    "sew-resnet18": Recipe(network=sew_resnet18, data="images", steps=4, epochs=90, batch=64, learning_rate=1e-3),
}
"""By name; each starts on a folder in its published format."""
