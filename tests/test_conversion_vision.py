"""VGG-16 and ResNets, converted: equal to the last bit on random images."""

from __future__ import annotations

import resource
import time

import pytest
import torch
from torch import nn

from homeo_rl.conversion import Converted, fit_thetas
from homeo_rl.conversion.vision import NETWORKS, vgg16
from homeo_rl.errors import UsageError


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
