"""Folders of images in the formats in which CIFAR and ImageNet are published. Nothing is downloaded, nothing is run.

Expected below the folder that is given:

CIFAR-10    data_batch_1.bin ... data_batch_5.bin, test_batch.bin (the binary version)
CIFAR-100   train.bin, test.bin (the binary version)
ImageNet    a folder for each class with its images in it, as in ``train`` and as commonly made of ``val``

The Python version of CIFAR can run code when it is loaded, so it is not.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from homeo_rl.errors import UsageError

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PIXELS = 3 * 32 * 32

SUFFIXES = (".jpeg", ".jpg", ".png")


class Cifar(Dataset[tuple[Tensor, int]]):
    """CIFAR-10 or CIFAR-100 in memory.

    Attributes:
        images: [N, 3, 32, 32], 8-bit.
        labels: [N].

    ``root`` is the folder that was unpacked; the 100 classes are the fine labels.

    Raises UsageError: a file is missing or is not what it should be.
    """

    def __init__(self, root: Path, *, classes: Literal[10, 100] = 10, train: bool = False) -> None:
        if classes == 10:
            names = [f"data_batch_{index}" for index in range(1, 6)] if train else ["test_batch"]
        else:
            names = ["train" if train else "test"]
        parts = [_cifar_file(Path(root) / f"{name}.bin", classes) for name in names]
        self.images = torch.as_tensor(np.concatenate([pixels for pixels, _ in parts])).reshape(-1, 3, 32, 32)
        self.labels = torch.as_tensor(np.concatenate([labels for _, labels in parts]))
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < classes:
            raise UsageError(f"{root}: expected labels of 0 to {classes - 1}, got up to {int(self.labels.max())}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image [3, 32, 32], normalised, and its label."""
        return normalise(self.images[index], CIFAR_MEAN, CIFAR_STD), int(self.labels[index])


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Images by class, scaled and cut as ImageNet's are for a test: shorter side 8/7 of ``size``, centre of ``size``.

    Attributes:
        classes: names of the folders, sorted; a label is a place in this list.

    ``root``: the folder of folders. Raises UsageError: there are no images in folders; or, when it is read, a file that
    is no image.
    """

    def __init__(self, root: Path, *, size: int = 224) -> None:
        self.size = size
        folders = sorted(path for path in Path(root).iterdir() if path.is_dir()) if Path(root).is_dir() else []
        self.classes = [folder.name for folder in folders]
        self.files = [
            (path, label)
            for label, folder in enumerate(folders)
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in SUFFIXES
        ]
        if not self.files:
            raise UsageError(f"{root}: expected a folder for each class with images in it ({', '.join(SUFFIXES)})")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image [3, size, size], normalised, and its label."""
        path, label = self.files[index]
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise UsageError(f"{path}: expected an image, got {error}") from None
        scale = round(self.size * 8 / 7) / min(image.size)
        wide, high = (max(round(side * scale), self.size) for side in image.size)
        image = image.resize((wide, high), Image.Resampling.BILINEAR)
        left, top = (wide - self.size) // 2, (high - self.size) // 2
        image = image.crop((left, top, left + self.size, top + self.size))
        pixels = torch.as_tensor(np.array(image)).permute(2, 0, 1)
        return normalise(pixels, IMAGENET_MEAN, IMAGENET_STD), label


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return 8-bit ``pixels`` [3, H, W] as numbers of mean 0 and deviation 1 a channel."""
    centre, spread = (torch.tensor(part).reshape(3, 1, 1) for part in (mean, std))
    return (pixels / 255.0 - centre) / spread


def _cifar_file(path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        python = ", not the Python version, which can run code" if path.with_suffix("").is_file() else ""
        raise UsageError(f"{path}: expected the binary version of CIFAR-{classes}, unpacked{python}; found none")
    record = PIXELS + (1 if classes == 10 else 2)  # CIFAR-100 has a coarse label before the fine one
    raw = np.fromfile(path, dtype=np.uint8)
    if raw.size % record:
        raise UsageError(f"{path}: expected records of {record} bytes, got {raw.size} bytes")
    rows = raw.reshape(-1, record)
    return rows[:, -PIXELS:], rows[:, -PIXELS - 1].astype(np.int64)
