"""Images: networks that convert to the last bit, real digits, folders in the formats in which data are published."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks.images.networks import NETWORKS, vgg16
from benchmarks.images.training import accuracy, digits, fit
from benchmarks.imp_digits import digits_cnn, digits_mlp
from homeo_rl.cli import main
from homeo_rl.conversion import Converted, fit_thetas
from homeo_rl.errors import BadUpdate, UsageError
from homeo_rl.snn import kernels
from homeo_rl.snn.qcfs import QCFS
from homeo_rl.spec import NeuronSpec
from homeo_rl.storage import bundle
from homeo_rl.vision.images import Cifar, ImageFolder
from homeo_rl.vision.spiking import INITIALS, Spiking
from homeo_rl.workflows.vision import VisionPlan, train_vision


def network(name: str, stem: str, x: torch.Tensor) -> nn.Module:
    """Random weights and statistics at which the levels of every layer are used."""
    torch.manual_seed(0)
    net = NETWORKS[name](10, stem=stem).eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
                part.bias.normal_(0, 0.2)
        fit_thetas(net, x)
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_small_images(name: str) -> None:
    """All three forms on two images of 32 x 32; every layer sends some spikes and not all."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, 32, 32).clamp(-4, 4)
    net = network(name, "cifar", x)
    counts = Converted(net, form="counts")
    with torch.no_grad():
        assert torch.equal(counts(x), net(x))
    rates = [float(fired.sent.mean()) for fired in counts.fired.values()]
    assert all(0.01 < rate < 0.9 for rate in rates), rates
    dyadic = Converted(net, form="dyadic", example=x, most=4.0, record=False)
    assert torch.equal(dyadic(x), dyadic.equal(x))
    double = x.double()
    stepwise, reference = (Converted(net.double(), form=form) for form in ("stepwise", "counts"))  # type: ignore[arg-type]
    torch.testing.assert_close(stepwise(double), reference(double), rtol=1e-9, atol=1e-9)
    assert all(torch.equal(stepwise.fired[key].total, fired.total) for key, fired in reference.fired.items())


def test_unknown_stems() -> None:
    with pytest.raises(UsageError, match="imagenet"):
        vgg16(stem="mnist")  # type: ignore[arg-type]


@pytest.mark.long
def test_resnet34_on_large_images(capsys: pytest.CaptureFixture[str]) -> None:
    """16 images of 224 x 224: equal logits, in less than 10 minutes and 8 GB."""
    torch.manual_seed(2)
    x = torch.randn(16, 3, 224, 224)
    net = network("resnet34", "imagenet", x[:2])
    since = time.monotonic()
    with torch.no_grad():
        expected = net(x)
        found = Converted(net, form="counts", record=False)(x)
    spent = time.monotonic() - since
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with capsys.disabled():
        print(f"\nResNet-34, 16 images of 224 x 224: {spent:.0f} s, {largest:.1f} GB")
    assert torch.equal(found, expected)
    assert float(expected.std()) > 0.01
    assert spent < 600
    assert largest < 8


def test_digits_convert_with_equal_accuracy() -> None:
    """A small CNN learns real images; converted, its outputs are the same to the last bit."""
    torch.manual_seed(0)
    data = digits(np.random.default_rng(0))
    assert len(data.train[1]) + len(data.test[1]) == 1797
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), QCFS(8, 2.0), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(192, 48), QCFS(4, 2.0), nn.Linear(48, 10),
    )  # fmt: skip
    fit(net, *data.train, generator=torch.Generator().manual_seed(0), epochs=8)
    snn = Converted(net)
    with torch.no_grad():
        assert torch.equal(snn(data.test[0]), net(data.test[0]))
    assert accuracy(snn, *data.test) == accuracy(net, *data.test) > 0.93


def test_digits_need_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match=r"homeo-rl\[vision\]"):
        digits(np.random.default_rng(0))


def cifar(folder: Path, classes: int, images: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Write all files of a small CIFAR; return pixels and labels of the training part."""
    rng = np.random.default_rng(classes)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if classes == 10 else ["train", "test"]
    pixels, labels = [], []
    for name in names:
        data = rng.integers(0, 256, (images, 3072), dtype=np.uint8)
        label = rng.integers(0, classes, images)
        before = [label[:, None]] if classes == 10 else [np.zeros((images, 1)), label[:, None]]
        np.concatenate([*before, data], 1).astype(np.uint8).tofile(folder / f"{name}.bin")
        if "test" not in name:
            pixels.append(data)
            labels.append(label)
    return np.concatenate(pixels), np.concatenate(labels)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar(classes: Any, tmp_path: Path) -> None:
    """Both data sets: pixels, their order, labels, normalisation, batches."""
    pixels, labels = cifar(tmp_path, classes)
    found = Cifar(tmp_path, classes=classes, train=True)
    assert np.array_equal(found.images.reshape(-1, 3072).numpy(), pixels)
    assert found.labels.tolist() == labels.tolist()
    assert len(Cifar(tmp_path, classes=classes)) == 6
    image, label = found[3]
    assert label == labels[3]
    assert float(image[2, 1, 5]) == pytest.approx((pixels[3, 2 * 1024 + 32 + 5] / 255 - 0.4465) / 0.2616, rel=1e-5)
    batch, _ = next(iter(torch.utils.data.DataLoader(found, batch_size=4)))
    assert batch.shape == (4, 3, 32, 32)


def test_cifar_files_that_are_refused(tmp_path: Path) -> None:
    """What is missing, the version that can run code, what is cut, labels that do not exist."""
    with pytest.raises(UsageError, match=r"test_batch\.bin: expected the binary version of CIFAR-10, unpacked; found"):
        Cifar(tmp_path)
    (tmp_path / "test_batch").write_bytes(b"anything")
    with pytest.raises(UsageError, match="not the Python version"):
        Cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073 + 5))
    with pytest.raises(UsageError, match="3073"):
        Cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes([200]) + bytes(3072))
    with pytest.raises(UsageError, match="labels of 0 to 9"):
        Cifar(tmp_path)


def test_image_folders(tmp_path: Path) -> None:
    """Colour and grey images of any shape; classes are folders; the centre is kept; broken files are named."""
    for name, size, mode in (
        ("b/wide.JPEG", (60, 30), "RGB"),
        ("a/tall.png", (20, 90), "L"),
        ("b/small.jpg", (9, 8), "RGB"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new(mode, size, color=(200, 100, 50) if mode == "RGB" else 128).save(path)
    (tmp_path / "b" / "notes.txt").write_text("not an image")
    found = ImageFolder(tmp_path, size=32)
    assert found.classes == ["a", "b"]
    assert [label for _, label in found.files] == [0, 1, 1]
    for index in range(3):
        image, label = found[index]
        assert image.shape == (3, 32, 32)
        assert label == found.files[index][1]
    grey = found[0][0]
    assert float(grey[1, 16, 16]) == pytest.approx((128 / 255 - 0.456) / 0.224, rel=1e-5)
    striped = np.zeros((70, 140, 3), dtype=np.uint8)
    striped[:, 60:80] = 255
    (tmp_path / "c").mkdir()
    Image.fromarray(striped).save(tmp_path / "c" / "striped.png")
    centre = ImageFolder(tmp_path, size=224)[3][0]
    assert float(centre[0, 112, 112]) > 2 > -2 > float(centre[0, 112, 5])
    (tmp_path / "c" / "striped.png").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match=r"striped\.png: expected an image"):
        ImageFolder(tmp_path)[3]
    with pytest.raises(UsageError, match="a folder for each class"):
        ImageFolder(tmp_path / "a")
    with pytest.raises(UsageError, match="a folder for each class"):
        ImageFolder(tmp_path / "nowhere")


def neurons_of(net: nn.Module) -> list[Spiking]:
    return [part for part in net.modules() if isinstance(part, Spiking)]


@pytest.mark.parametrize("kind", ["lif", "if", "plif"])
@pytest.mark.parametrize("initial", INITIALS)
def test_spiking_layers(initial: Any, kind: Any) -> None:
    """Compiled as by the reference, forward and backward, for maps; the same weights for every size of map."""
    shape = (3, 4, 5) if initial in ("neuron", "constant") else (3, 1, 1)
    torch.manual_seed(0)
    layer = Spiking(shape, neuron=NeuronSpec(kind=kind, threshold=1.0, tau=2.5, surrogate="arctan"), initial=initial)
    x = (2 * torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)).requires_grad_()
    layer = layer.double()
    found = []
    for kernel in ("reference", "numba"):
        with kernels.use(kernel):
            out = layer(x)
            grads = torch.autograd.grad((out * torch.linspace(0, 1, 5)).sum(), [x, *layer.parameters()])
            found.append([out.detach(), *grads])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
    assert 0.05 < float(found[0][0].mean()) < 0.95
    assert all(float(grad.abs().max()) > 0 for grad in found[0][1:])


def test_static_images_are_mapped_once() -> None:
    """A classifier says the same of an image as of a film in which nothing moves; outputs are [T, B, K]."""
    torch.manual_seed(0)
    net = digits_cnn("neuron").eval()
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        still, film = net(x), net(x.unsqueeze(1).repeat(1, 4, 1, 1, 1))
    assert still.shape == (4, 5, 10)
    torch.testing.assert_close(still, film, rtol=1e-5, atol=1e-5)
    mlp = digits_mlp("rest")
    assert mlp(x).shape == (4, 5, 10)
    assert [part.initial for part in neurons_of(mlp)] == [None, None]


def recordings(folder: Path, classes: int = 3, each: int = 10) -> Path:
    """A small CIFAR10-DVS: a bar of light in another place for every class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for index in range(each):
            low, high = 20 + 40 * label + rng.integers(0, 5, 400), rng.integers(0, 128, 400)
            address = high << 8 | low << 1 | rng.integers(0, 2, 400)
            t = np.sort(rng.integers(0, 10**6, 400))
            raw = np.stack([address, t], 1).astype(">u4").tobytes()
            (folder / f"class{label}" / f"{index}.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + raw)
    return folder


def vision(*words: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    main(["vision", *words, "--no-progress", "--json"])
    epochs: list[dict[str, Any]] = json.loads(capsys.readouterr().out.splitlines()[-1])["epochs"]
    return epochs


def test_weights_that_run_away(tmp_path: Path) -> None:
    data = recordings(tmp_path / "data")
    plan = VisionPlan(recipe="vgg11-dvs128", data=data, width=8, steps=3, batch=4, learning_rate=1e30, epochs=1)
    with pytest.raises(BadUpdate, match="batch 1: update of the classifier: parameter"):
        train_vision(plan, tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.safetensors"))


def test_a_recipe_learns_recordings_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The loss falls (statistics of batch-norm lag behind: accuracies take longer); a training that was cut off gives
    the same bits as one that was not; another plan is refused."""
    data = recordings(tmp_path / "data")
    words = ["vgg11-dvs128", "--data", str(data), "--width", "8", "--steps", "3", "--batch", "4",
             "--learning-rate", "0.01"]  # fmt: skip
    whole = vision(*words, "--out", str(tmp_path / "whole"), "--epochs", "4", capsys=capsys)
    assert [epoch["epoch"] for epoch in whole] == [1, 2, 3, 4]
    assert len(whole[-1]["accuracy"]) == 3
    assert whole[-1]["loss"] < 0.85  # chance is ln 3 = 1.10
    state = bundle.load(tmp_path / "whole" / "state")[0]
    assert sum(name.endswith(".initial") for name in state) == 8
    monkey = tmp_path / "cut"
    stop = CutOff(after=2)
    plan = VisionPlan(recipe="vgg11-dvs128", data=data, width=8, steps=3, batch=4, learning_rate=0.01, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train_vision(plan, monkey, on_epoch=stop)
    train_vision(plan, monkey)
    again = bundle.load(monkey / "state")[0]
    assert state.keys() == again.keys()
    assert all(np.array_equal(state[name], again[name]) for name in state)
    with pytest.raises(SystemExit):
        main(["vision", *words, "--out", str(monkey), "--loss", "lts", "--no-progress"])
    assert "another loss" in capsys.readouterr().err


class CutOff:
    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, epoch: Any) -> None:
        if epoch.epoch == self.after:
            raise KeyboardInterrupt


def test_a_recipe_learns_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SEW-ResNet-18 on a folder as ImageNet's and on CIFAR's binary version."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for label, colour in enumerate(((200, 40, 40), (40, 200, 40))):
            (tmp_path / "images" / part / f"n{label}").mkdir(parents=True)
            for index in range(6):
                pixels = np.clip(np.array(colour) + rng.integers(-30, 30, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / f"n{label}" / f"{index}.jpeg")
    short = ["--width", "2", "--steps", "2", "--batch", "4", "--learning-rate", "0.01"]
    folder = str(tmp_path / "images")
    found = vision(
        "sew-resnet18", "--data", folder, "--out", str(tmp_path / "one"), "--epochs", "6", *short, capsys=capsys
    )
    assert [len(epoch["accuracy"]) for epoch in found] == 6 * [2]
    assert found[-1]["loss"] < 0.9 * found[0]["loss"]
    cifar(tmp_path, 10)
    found = vision("sew-resnet18", "--data", str(tmp_path), "--out", str(tmp_path / "two"), "--kind", "cifar10",
                   "--epochs", "1", *short, capsys=capsys)  # fmt: skip
    assert len(found) == 1
    refused = [
        (["resnet"], "recipe"), (["sew-resnet18", "--loss", "mse"], "--loss"),
        (["sew-resnet18", "--imp", "neuron"], "any size"), (["sew-resnet18", "--kind", "mnist"], "--kind"),
        (["vgg11-dvs128"], "train"),
    ]  # fmt: skip
    for words, said in refused:
        with pytest.raises(SystemExit):
            main(["vision", *words, "--data", folder, "--out", str(tmp_path / "none"), "--no-progress"])
        assert said in capsys.readouterr().err
        assert not (tmp_path / "none").exists()
