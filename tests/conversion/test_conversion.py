"""Networks converted by PASCAL: equal to the last bit, in three forms; what cannot be exact is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.images.rate import RateConverted
from homeo_rl.conversion import NEURONS, Converted, fit_thetas, with_qcfs
from homeo_rl.errors import UsageError
from homeo_rl.snn.qcfs import QCFS
from homeo_rl.snn.spike_accumulation import Firing, burst


def mlp(levels: list[int], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(17, 64), QCFS(levels[0], 1.2), nn.Linear(64, 48), QCFS(levels[1], 0.7), nn.Linear(48, 6)
    )
    return spread(net)


def cnn(levels: list[int], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), QCFS(levels[0], 1.0), nn.AvgPool2d(2),
        nn.Conv2d(8, 12, 3, bias=False), nn.BatchNorm2d(12), QCFS(levels[1], 0.9), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 5),
    )  # fmt: skip
    return spread(net)


class Residual(nn.Module):
    """A block whose shortcut and branch have different levels, twice; the second shortcut is a product."""

    def __init__(self, levels: list[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), QCFS(levels[0], 1.1))
        self.branch = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), QCFS(levels[1], 0.8), nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
        )  # fmt: skip
        self.after = QCFS(levels[0], 1.3)
        self.down = nn.Sequential(nn.Conv2d(8, 10, 1, stride=2), nn.BatchNorm2d(10))
        self.second = nn.Sequential(
            nn.Conv2d(8, 10, 3, stride=2, padding=1), QCFS(levels[1], 0.6), nn.Conv2d(10, 10, 3, padding=1)
        )
        self.last = QCFS(levels[1], 1.0)
        self.head = nn.Linear(10, 4)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.after(x + self.branch(x))
        x = self.last(self.second(x) + self.down(x))
        out: torch.Tensor = self.head(torch.flatten(self.pool(x), 1))
        return out


def residual(levels: list[int], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return spread(Residual(levels))


def spread(net: nn.Module) -> nn.Module:
    """Give weights and statistics values at which every level occurs."""
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                part.weight.mul_(2.5)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.3)
    return net.eval()


NETS = {"mlp": (mlp, (17,), 10_000), "cnn": (cnn, (2, 10, 10), 1_000), "residual": (residual, (2, 8, 8), 1_000)}
LEVELS = [[8, 4], [4, 8], [3, 5], [16, 2], [1, 1]]
RADIX_LEVELS = [[7, 3], [3, 15], [31, 1], [1, 1]]


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("net", NETS)
def test_counts_are_equal(net: str, levels: list[int]) -> None:
    """The network's own numbers to the last bit, float32, and real spikes."""
    build, shape, count = NETS[net]
    ann = build(levels)
    torch.manual_seed(1)
    x = torch.randn(count, *shape)
    snn = Converted(ann, form="counts")
    with torch.no_grad():
        assert torch.equal(snn(x), ann(x))
    for name, activation in snn.graph.activations.items():
        sent = snn.fired[name].sent
        assert sent.shape[:2] == (activation.levels, count)
        assert set(sent.unique().tolist()) <= {0.0, 1.0}
        assert 0.02 < float(sent.mean()) < 0.98


@pytest.mark.parametrize(
    ("levels", "neuron"),
    [(levels, neuron) for neuron in NEURONS for levels in (RADIX_LEVELS if neuron == "radix" else LEVELS)],
)
@pytest.mark.parametrize("net", NETS)
def test_dyadic_is_equal(net: str, levels: list[int], neuron: Any) -> None:
    """Step by step equals the rounded network at once, to the last bit; batch 1 equals batch N."""
    build, shape, count = NETS[net]
    ann = build(levels)
    torch.manual_seed(2)
    x = torch.randn(count, *shape).clamp(-4, 4)
    snn = Converted(ann, form="dyadic", neuron=neuron, example=x, most=4.0)
    out = snn(x)
    assert torch.equal(out, snn.equal(x))
    assert torch.equal(torch.cat([snn(x[i : i + 1]) for i in range(20)]), out[:20])
    with torch.no_grad():
        exact = copy.deepcopy(ann).double()(x.double())
    same = (out - exact).abs().amax(1) < 1e-3  # elsewhere rounding moved a potential over a threshold
    assert float(same.double().mean()) > 0.99


def test_dyadic_sums_in_any_order() -> None:
    """Hidden neurons in another order: the same bits, where float32's own sums differ."""
    ann = mlp([8, 4])
    order = torch.randperm(64)
    shuffled = copy.deepcopy(ann)
    with torch.no_grad():
        first, second = shuffled[0], shuffled[2]  # type: ignore[index]
        first.weight.copy_(first.weight[order])
        first.bias.copy_(first.bias[order])
        second.weight.copy_(second.weight[:, order])
        x = torch.randn(2000, 17).clamp(-4, 4)
        hidden, moved = ann[:3](x), shuffled[:3](x)  # type: ignore[index]
        assert not torch.equal(hidden, moved), "float32 sums were expected to depend on their order"
    results = [Converted(net, form="dyadic", example=x, most=4.0)(x) for net in (ann, shuffled)]
    assert torch.equal(*results)


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("net", NETS)
def test_stepwise_in_double(net: str, neuron: Any) -> None:
    """No hidden count differs, outputs to rounding; in float32 outputs stay near."""
    build, shape, count = NETS[net]
    for levels in RADIX_LEVELS if neuron == "radix" else LEVELS:
        ann = build(levels).double()
        torch.manual_seed(3)
        x = torch.randn(count, *shape, dtype=torch.float64)
        snn, reference = (Converted(ann, form=form, neuron=neuron) for form in ("stepwise", "counts"))
        with torch.no_grad():
            torch.testing.assert_close(snn(x), ann(x), rtol=1e-9, atol=1e-9)
        reference(x)
        flips = sum(int((snn.fired[name].total != fired.total).sum()) for name, fired in reference.fired.items())
        assert flips == 0
        for name, fired in snn.fired.items():
            phases = fired.received.shape[0], fired.settled.shape[0]
            assert phases == (0, 0) or (neuron == "pascal" and phases[1] >= snn.graph.activations[name].levels - 1)


def test_radix_spikes_are_digits() -> None:
    """Counts in K steps, fewer spikes than levels; levels that are not 2^K - 1 are refused."""
    ann = mlp([15, 7])
    x = torch.randn(2000, 17)
    snn, unary = Converted(ann, neuron="radix"), Converted(ann, neuron="gated")
    with torch.no_grad():
        assert torch.equal(snn(x), ann(x))
    unary(x)
    assert (snn.steps, unary.steps) == (7, 22)
    for (name, fired), places in zip(snn.fired.items(), ([8, 4, 2, 1], [4, 2, 1]), strict=True):
        assert set(fired.sent.unique().tolist()) == {0.0, 1.0}
        weighed = fired.sent * torch.tensor(places).view(-1, 1, 1)
        assert torch.equal(weighed.sum(0), unary.fired[name].total)
        assert float(fired.total.sum()) < float(unary.fired[name].total.sum())
    with pytest.raises(UsageError, match="2\\^K - 1"):
        Converted(mlp([8, 4]), neuron="radix")


def tolerant(x: torch.Tensor, step: Any, levels: int, tolerance: float) -> Firing:
    """The neuron with comparisons as released code has them, which call a potential within ``tolerance`` of 0 both
    at the threshold and below it."""
    v, c = torch.zeros_like(x[0]) + 0.5 * step, torch.zeros_like(x[0])
    for now in x:
        v = v + now
        s = (v - step >= -tolerance).to(v.dtype)
        v, c = v - s * step, c + s
    for _ in range(max(len(x), levels) - 1):
        s = (v - step >= -tolerance).to(v.dtype) - (v < 0).to(v.dtype)
        v, c = v - s * step, c + s
    return Firing(x[:0], x[:0], burst(c, levels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tolerance_flips_counts(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 inputs: with 8e-5 some have wrong hidden counts; without, none (in float64).

    A neuron that fires and is inhibited in turn is right after every second step: levels 3, 5 settle for 4.
    """
    ann = mlp([3, 5]).to(dtype)
    torch.manual_seed(4)
    x = torch.randn(10_000, 17, dtype=dtype)
    exact = Converted(ann, form="counts")
    exact(x)
    flipped = {}
    for tolerance in (0.0, 8e-5):
        monkeypatch.setattr(
            "homeo_rl.snn.spike_accumulation.accumulate",
            lambda *told, least=tolerance: tolerant(*told, tolerance=least),
        )
        snn = Converted(ann, form="stepwise")
        snn(x)
        wrong = torch.zeros(len(x), dtype=torch.bool)
        for name, fired in exact.fired.items():
            wrong |= (snn.fired[name].total != fired.total).any(1)
        flipped[tolerance] = int(wrong.sum())
    with capsys.disabled():
        print(f"\nof 10,000 inputs with a wrong hidden count, {dtype}, by tolerance: {flipped}")
    assert flipped[8e-5] > 10
    assert flipped[0.0] <= (0 if dtype is torch.float64 else 10)


@pytest.mark.parametrize("net", NETS)
def test_rates_approach(net: str) -> None:
    """The control: nearer with more steps, equal with none."""
    build, shape, count = NETS[net]
    ann = build([8, 4])
    torch.manual_seed(5)
    x = torch.randn(count, *shape)
    with torch.no_grad():
        expected = ann(x)
    errors = [float((RateConverted(ann, steps=steps)(x) - expected).abs().mean()) for steps in (1, 8, 64)]
    assert errors[0] > errors[1] > errors[2] > 1e-3


def test_steps_of_a_decision() -> None:
    assert Converted(mlp([8, 4]), neuron="pascal").steps == 19
    assert Converted(mlp([8, 4]), neuron="gated").steps == 12


def test_replacement_reports_and_refuses() -> None:
    """Every activation by name; what is outside the class by name, with the reason."""
    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 2))
    network, report = with_qcfs(plain, [8, 4])
    assert [tuple(line) for line in report] == [("1", "ReLU", 8), ("2.1", "Tanh", 4)]
    assert isinstance(plain[1], nn.ReLU), "the network that was given must not change"
    x = torch.randn(500, 4)
    fit_thetas(network, x)
    spread_of = float(plain[0](x).detach().std())
    assert float(network.get_submodule("1").theta.detach()) == pytest.approx(2 * spread_of, rel=1e-4)  # type: ignore[operator,union-attr]
    with torch.no_grad():
        assert torch.equal(Converted(network)(x), network(x))
    for bad, name in [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)), "2: MaxPool2d.*average"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), "1: Softmax"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU()).train(), "1: batch-norm in training mode"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train(), "1: dropout"),
    ]:
        with pytest.raises(UsageError, match=name):
            with_qcfs(bad)
    with pytest.raises(UsageError, match="expected 2"):
        with_qcfs(plain, [8])


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


class Branching(Functional):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else x


def test_graphs_that_are_refused() -> None:
    with pytest.raises(UsageError, match="relu"):
        Converted(Functional())
    with pytest.raises(UsageError, match="fixed order"):
        Converted(Branching())
    with pytest.raises(UsageError, match="form"):
        Converted(mlp([8, 4]), form="exact")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="example"):
        Converted(mlp([8, 4]), form="dyadic")
    x = torch.randn(3, 17)
    with pytest.raises(UsageError, match="most="):
        Converted(mlp([8, 4]), form="dyadic", example=x, most=1e-3)(x)


@pytest.mark.long
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("net", ["cnn", "residual"])
def test_ten_thousand_images(net: str, levels: list[int]) -> None:
    """All forms and both neurons, by the thousand: no output of counts or dyadic and no count in float64 differs."""
    build, shape, _ = NETS[net]
    ann, double = build(levels), build(levels).double()
    torch.manual_seed(7)
    x = torch.randn(10_000, *shape).clamp(-4, 4)
    counts, reference = Converted(ann, form="counts"), Converted(double, form="counts")
    dyadic = [Converted(ann, form="dyadic", neuron=neuron, example=x, most=4.0) for neuron in NEURONS]
    stepwise = [Converted(double, form="stepwise", neuron=neuron) for neuron in NEURONS]
    for part in torch.split(x, 1000):
        with torch.no_grad():
            assert torch.equal(counts(part), ann(part))
        assert all(torch.equal(snn(part), snn.equal(part)) for snn in dyadic)
        reference(part.double())
        for snn in stepwise:
            snn(part.double())
            assert all(torch.equal(snn.fired[name].total, fired.total) for name, fired in reference.fired.items())
