"""VGG-16 and ResNet-18 / 34 with QCFS activations: the networks that conversions are usually shown on.

As their authors drew them (Simonyan and Zisserman, ICLR 2015; He et al., CVPR 2016), with average pooling where they
have maxima, which no conversion is exact for. ``stem`` "cifar" is for images of 32 x 32, "imagenet" for 224 x 224.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from homeo_rl.errors import unknown
from homeo_rl.snn.qcfs import QCFS

Stem = Literal["cifar", "imagenet"]
STEMS: tuple[Stem, ...] = ("cifar", "imagenet")

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def vgg16(classes: int = 10, *, stem: Stem = "cifar", levels: int = 8) -> nn.Module:
    """Return VGG-16 with batch-norm and one linear layer on top; 0 in the table is a pooling.

    Raises UsageError: the stem is not known.
    """
    _check(stem)
    parts: list[nn.Module] = []
    width = 3
    for size in _VGG16:
        if size == 0:
            parts.append(nn.AvgPool2d(2))
            continue
        parts += [nn.Conv2d(width, size, 3, padding=1, bias=False), nn.BatchNorm2d(size), QCFS(levels)]
        width = size
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def resnet18(classes: int = 10, *, stem: Stem = "cifar", levels: int = 8) -> nn.Module:
    """Return ResNet-18. Raises UsageError: the stem is not known."""
    return _resnet((2, 2, 2, 2), classes, stem, levels)


def resnet34(classes: int = 10, *, stem: Stem = "cifar", levels: int = 8) -> nn.Module:
    """Return ResNet-34. Raises UsageError: the stem is not known."""
    return _resnet((3, 4, 6, 3), classes, stem, levels)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"vgg16": vgg16, "resnet18": resnet18, "resnet34": resnet34}


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int, size: int, stride: int, levels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, size, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(size), QCFS(levels),
            nn.Conv2d(size, size, 3, padding=1, bias=False), nn.BatchNorm2d(size),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width != size:
            self.shortcut = nn.Sequential(nn.Conv2d(width, size, 1, stride=stride, bias=False), nn.BatchNorm2d(size))
        self.activation = QCFS(levels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C', H', W']."""
        result: Tensor = self.activation(self.branch(x) + self.shortcut(x))
        return result


def _resnet(blocks: tuple[int, ...], classes: int, stem: Stem, levels: int) -> nn.Module:
    _check(stem)
    if stem == "cifar":
        parts: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), QCFS(levels)]
    else:
        parts = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), QCFS(levels)]
        parts.append(nn.AvgPool2d(3, stride=2, padding=1))
    width = 64
    for stage, count in enumerate(blocks):
        size = 64 * 2**stage
        for index in range(count):
            parts.append(BasicBlock(width, size, 2 if stage > 0 and index == 0 else 1, levels))
            width = size
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def _check(stem: str) -> None:
    if stem not in STEMS:
        raise unknown("stem", stem, STEMS)
