"""PASCAL: the neuron's theorem, QCFS and its derivatives, conversions that are equal to the last bit."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from homeo_rl.agents.controller import load_controller
from homeo_rl.cli import main
from homeo_rl.conversion import NEURONS, Converted, fit_thetas, with_qcfs
from homeo_rl.conversion.levels import activity_level, choose_levels
from homeo_rl.envs.making import make_env
from homeo_rl.errors import UsageError
from homeo_rl.run import Run
from homeo_rl.snn.accumulation import accumulate, burst, gate, steps_of
from homeo_rl.snn.qcfs import QCFS, ladder_level, level_of

SIZES = [1, 2, 3, 4, 5, 8, 16]


def dyadic(shape: tuple[int, ...], bits: int, most: float) -> torch.Tensor:
    """Random numbers on a grid of 2^-bits: every sum of them is exact."""
    return torch.randint(int(-most * 2**bits), int(most * 2**bits) + 1, shape).double() / 2**bits


def adversarial(fed: int, levels: int, trials: int) -> torch.Tensor:
    """Inputs [T1, N] around the places where a count can go wrong, on a grid of 2^-10."""
    x = dyadic((fed, trials), 10, 2.5)
    kinds = torch.arange(trials) % 6
    late = torch.zeros(fed, trials, dtype=torch.float64)
    late[-1] = dyadic((trials,), 10, 2.0 * levels)  # all at the last step
    x = torch.where(kinds == 1, late, x)
    early = torch.ones(fed, trials, dtype=torch.float64)
    early[-1] = -(torch.randint(0, 2 * fed + 2, (trials,)).double())  # spikes that have to be taken back
    x = torch.where(kinds == 2, early, x)
    x = torch.where(kinds == 3, torch.randint(-2, 3, (fed, trials)).double() / 2, x)  # ties
    jump = torch.zeros(fed, trials, dtype=torch.float64)
    jump[-1] = levels + 1.0
    x = torch.where(kinds == 4, jump, x)
    return torch.where(kinds == 5, x * torch.randint(0, 2, (fed, trials)), x)


def test_the_neuron_counts_every_input() -> None:
    """Half a million trials on a dyadic grid: 0 wrong with K = max(T1, L) - 1, some wrong with one step less."""
    torch.manual_seed(0)
    trials = wrong = short = gated = 0
    for fed in SIZES:
        for levels in SIZES:
            x = adversarial(fed, levels, 12_000)
            expected = level_of(x.sum(0), 1.0, levels)
            assert torch.equal(expected, ladder_level(x.sum(0), 1.0, levels))
            trials += x.shape[1]
            wrong += int((accumulate(x, 1.0, levels).total != expected).sum())
            gated += int((gate(x, 1.0, levels).total != expected).sum())
            if max(fed, levels) > 1:
                less = int((accumulate(x, 1.0, levels, silent=max(fed, levels) - 2).total != expected).sum())
                assert less > 0, f"T1 = {fed}, L = {levels}: a step less was enough"
                short += less
    assert trials >= 500_000
    assert (wrong, gated) == (0, 0)
    assert short > 0


@settings(max_examples=200, deadline=None)
@given(
    fed=st.sampled_from(SIZES), levels=st.sampled_from(SIZES), exponent=st.integers(-8, 8),
    numbers=st.lists(st.integers(-(2**14), 2**14), min_size=16, max_size=16),
)  # fmt: skip
def test_any_threshold(fed: int, levels: int, exponent: int, numbers: list[int]) -> None:
    """Thresholds d of any dyadic size; inputs that hypothesis finds."""
    step = 3.0 * 2.0**exponent
    x = torch.tensor(numbers[:fed], dtype=torch.float64).unsqueeze(1) * 2.0 ** (exponent - 10)
    expected = ladder_level(x.sum(0), step, levels)
    assert torch.equal(accumulate(x, step, levels).total, expected)
    assert torch.equal(gate(x, step, levels).total, expected)


def test_the_proofs_worst_cases() -> None:
    """(0, ..., 0, L + 1) needs L - 1 steps up, (1, ..., 1, -much) needs T1 - 1 down."""
    up = torch.zeros(3, 1, dtype=torch.float64)
    up[-1] = 9.0
    assert float(accumulate(up, 1.0, 8).total) == 8.0
    assert float(accumulate(up, 1.0, 8, silent=6).total) == 7.0
    down = torch.ones(8, 1, dtype=torch.float64)
    down[-1] = -100.0
    assert float(accumulate(down, 1.0, 3).total) == 0.0
    assert float(accumulate(down, 1.0, 3, silent=6).total) == 1.0


def test_a_tolerance_is_wrong() -> None:
    """A comparison with a tolerance, as in released code, lets a neuron fire and inhibit in turn."""

    def tolerant(x: torch.Tensor, levels: int, tolerance: float) -> torch.Tensor:
        v, c = torch.full_like(x[0], 0.5), torch.zeros_like(x[0])
        for now in x:
            v = v + now
            s = (v >= 1.0 - tolerance).to(v.dtype)
            v, c = v - s, c + s
        for _ in range(max(len(x), levels) - 1):
            s = (v >= 1.0 - tolerance).to(v.dtype) - (v < 0).to(v.dtype)
            v, c = v - s, c + s
        return c.clamp(0, levels)

    x = torch.full((4, 1), (0.5 - 2.0**-15) / 4, dtype=torch.float64)  # 3e-5 below the first threshold
    exact = level_of(x.sum(0), 1.0, 7)
    assert torch.equal(accumulate(x, 1.0, 7).total, exact)
    assert torch.equal(tolerant(x, 7, 0.0), exact)
    assert not torch.equal(tolerant(x, 7, 8e-5), exact)


def test_bursts_and_steps() -> None:
    assert burst(torch.tensor([0.0, 2.0, 9.0, -1.0]), 3).sum(0).tolist() == [0, 2, 3, 0]
    assert sum(steps_of([8, 4], "pascal")) == 19
    assert sum(steps_of([8, 4], "gated")) == 12
    assert steps_of([], "pascal") == []


@pytest.mark.parametrize("levels", [1, 3, 8])
def test_qcfs(levels: int) -> None:
    """Levels, and the straight-through derivatives as they are defined."""
    activation = QCFS(levels, theta=1.5)
    assert float(activation.theta.detach()) == pytest.approx(1.5)
    z = torch.linspace(-1, 3, 401, dtype=torch.float64, requires_grad=True)
    h = activation(z)
    theta = activation.theta.detach().double()
    q = (levels * (z.detach() / theta).clamp(0, 1) + 0.5).floor() / levels
    torch.testing.assert_close(h, theta * q, rtol=1e-12, atol=1e-12)
    of_z, of_raw = torch.autograd.grad(h.sum(), [z, activation.raw_theta])
    inside, above = (z > 0) & (z < theta), z >= theta
    assert torch.equal(of_z, inside.double())
    slope = torch.sigmoid(activation.raw_theta.detach().double())
    expected = slope * torch.where(inside, q - z.detach() / theta, above.double()).sum()
    assert float(of_raw) == pytest.approx(float(expected), rel=1e-5)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="levels"):
            QCFS(wrong)
    with pytest.raises(ValueError, match="theta"):
        QCFS(4, theta=0.0)


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


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("levels", LEVELS)
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
    for levels in LEVELS:
        ann = build(levels).double()
        torch.manual_seed(3)
        x = torch.randn(count, *shape, dtype=torch.float64)
        snn, reference = Converted(ann, form="stepwise", neuron=neuron), Converted(ann, form="counts")
        with torch.no_grad():
            torch.testing.assert_close(snn(x), ann(x), rtol=1e-9, atol=1e-9)
        reference(x)
        flips = sum(int((snn.fired[name].total != fired.total).sum()) for name, fired in reference.fired.items())
        assert flips == 0
        for name, fired in snn.fired.items():
            phases = fired.heard.shape[0], fired.settled.shape[0]
            assert phases == (0, 0) or (neuron == "pascal" and phases[1] >= snn.graph.activations[name].levels - 1)


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


@pytest.fixture
def trained(make_run: Callable[..., Run]) -> Run:
    """A QCFS policy with random weights at which all levels occur."""
    return make_run("InvertedPendulum-v5", "qcfs", overrides={"hidden": [32, 24], "levels": [8, 4]})


def converted(run: Run, out: Path, *flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[Run, dict[str, Any]]:
    main(["convert", str(run.path), "--out", str(out), "--json", "--episodes", "0", "--no-progress", *flags])
    return Run.open(out), json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    ("flags", "steps"),
    [((), 19), (("--neuron", "gated"), 12), (("--form", "dyadic"), 19), (("--form", "stepwise"), 19)],
)
def test_policies_act_as_before(
    flags: tuple[str, ...], steps: int, trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 observations: the same actions, bit for bit in the form counts, and to rounding in the others."""
    run, told = converted(trained, tmp_path / "snn", *flags, capsys=capsys)
    assert told["steps"] == steps
    before, after = load_controller(trained), load_controller(run)
    x = torch.randn(10_000, 4)
    with torch.inference_mode():
        expected, _ = before(x)
        actions, state = after(x)
        alone = torch.cat([after(row.unsqueeze(0))[0] for row in x[:20]])
        alone_before = torch.cat([before(row.unsqueeze(0))[0] for row in x[:20]])
    if "--form" not in flags:
        assert torch.equal(actions, expected)
        assert torch.equal(alone, alone_before)
    else:
        close = (actions - expected).abs().amax(1) < 1e-4  # elsewhere a potential was within rounding of a threshold
        assert float(close.double().mean()) > 0.999
        if "dyadic" in flags:
            assert torch.equal(alone, actions[:20])
    rates = state.rates[1]
    assert torch.equal((rates * 8).round() / 8, rates.to((rates * 8).dtype))
    assert 0.05 < float(rates.mean()) < 0.95


def test_converted_episodes_are_the_same(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluated, with DWAM, damaged: like any other run; undamaged, the trained network's returns to the last bit."""
    run, _ = converted(trained, tmp_path / "snn", capsys=capsys)
    scores = {}
    for name, one, arms in (("before", trained, "none"), ("after", run, "none,dwam")):
        main(["evaluate", str(one.path), "--suite", "quick", "--homeostasis", arms, "--episodes", "2", "--no-progress",
              "--json", "--workers", "1"])  # fmt: skip
        cells = json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]
        scores[name] = {(cell["arm"], cell["label"]): cell["mean"] for cell in cells}
    assert scores["after"]["none", "clean"] == scores["before"]["none", "clean"]
    assert len(scores["after"]) == 2 * len(scores["before"])


def test_rate_conversion_is_not_exact(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The control errs at every number of steps."""
    x = torch.randn(3000, 4)
    before = load_controller(trained)
    with torch.inference_mode():
        expected, _ = before(x)
        for steps in (4, 64):
            run, _ = converted(
                trained, tmp_path / f"rate{steps}", "--method", "rate", "--steps", str(steps), capsys=capsys
            )
            controller = load_controller(run)
            actions, state = controller(x)
            assert float(((actions - expected).abs() > 1e-3).double().mean()) > 0.05
            sent = controller.network.counts(state.rates)  # type: ignore[operator,union-attr]
            assert all(torch.equal(one / steps, rate) for one, rate in zip(sent, state.rates[1:-1], strict=True))
            assert max(float(one.max()) for one in sent) == steps, "spikes are counted over time steps, not levels"


def test_what_cannot_be_converted(
    make_run: Callable[..., Run], trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain policy and an unknown form are refused, and nothing is written."""
    for run, flags, word in (
        (make_run("InvertedPendulum-v5", "mlp", name="plain"), (), "--agent qcfs"),
        (trained, ("--form", "exact"), "--form"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["convert", str(run.path), "--out", str(tmp_path / "none"), *flags])
        assert left.value.code == 2
        assert word in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def test_the_certificate(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exact for counts; for the control it says how far apart both are; nothing is promised that was not measured."""
    for out, flags in (("exact", ()), ("rate", ("--method", "rate", "--steps", "8"))):
        run, told = converted(trained, tmp_path / out, "--episodes", "2", *flags, capsys=capsys)
        found = json.loads((run.path / "certificate.json").read_text())
        page = (run.path / "certificate.md").read_text()
        assert found["states"] == told["states"] > 0
        assert len(found["diverged_at"]) == 2
        assert [line["what"] for line in found["returns"]][2:] == [f"rate conversion, T = {n}" for n in (4, 16, 64)]
        assert found["multiply_accumulates"] == 4 * 32 + 32 * 24 + 24
        if out == "exact":
            assert found["exact"] is told["exact"] is True
            assert found["equal_actions"] == found["states"]
            assert (found["max_action_error"], found["flipped_counts"]) == (0.0, 0)
            assert found["returns"][0]["iqm"] == found["returns"][1]["iqm"]
            assert "the same to the last bit" in page
            assert found["latency_seconds"] == pytest.approx(0.019)
        else:
            assert found["exact"] is False
            assert found["max_action_error"] > 0
            assert "not the same" in page


def test_activity_levels() -> None:
    """41.4 where all outputs are alike, about 9.7 for a uniform input of 8 levels."""
    assert activity_level(torch.zeros(100), 1.0) == pytest.approx(41.4, abs=0.05)
    activation = QCFS(8, theta=2.0)
    with torch.no_grad():
        uniform = activation(torch.linspace(0, 2, 100_001))
    assert activity_level(uniform, 2.0) == pytest.approx(9.7, rel=0.03)
    assert activity_level(torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), 1.0) == 0.0
    with pytest.raises(ValueError, match="at least one"):
        activity_level(torch.zeros(0), 1.0)


def test_a_relu_policy_is_fine_tuned_first(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behaviour cloning on its own states lowers the loss; the certificate is about the fine-tuned network."""
    plain = make_run("InvertedPendulum-v5", "mlp", overrides={"hidden": [32, 24]})
    flags = ("--finetune-steps", "300", "--levels", "8,4", "--episodes", "2")
    run, told = converted(plain, tmp_path / "snn", *flags, capsys=capsys)
    losses = json.loads((run.path / "finetuning.json").read_text())
    assert losses["last_loss"] < 0.5 * losses["first_loss"]
    assert told["exact"] is True
    found = json.loads((run.path / "certificate.json").read_text())
    assert found["levels"] == [8, 4]
    assert "the network before fine-tuning" in [line["what"] for line in found["returns"]]


def test_levels_for_a_budget(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """16 steps: the choice is within them and errs no more than the best uniform one; too small a budget is refused."""
    plain = make_run("InvertedPendulum-v5", "mlp", overrides={"hidden": [32, 24]})
    flags = ("--finetune-steps", "50", "--levels", "auto", "--budget-steps", "16")
    run, told = converted(plain, tmp_path / "snn", *flags, capsys=capsys)
    assert told["steps"] <= 16
    chosen = json.loads((run.path / "finetuning.json").read_text())["levels"]
    assert chosen["error"] <= chosen["uniform_error"]
    assert run.spec.controller is not None
    assert tuple(chosen["levels"]) == run.spec.controller.network.levels_of_layers
    with pytest.raises(SystemExit):
        main(["convert", str(plain.path), "--out", str(tmp_path / "none"), *flags[:4], "--budget-steps", "1"])
    assert "at least 2" in capsys.readouterr().err


def test_levels_of_many_layers_are_searched() -> None:
    """Six layers are too many for all combinations; the layer that needs levels most gets them."""
    asked: list[tuple[int, ...]] = []

    def error(levels: tuple[int, ...]) -> float:
        asked.append(levels)
        return sum(weight / level for weight, level in zip((1, 1, 8, 1, 1, 1), levels, strict=True))

    choice = choose_levels(error, [20.0, 20.0, 5.0, 20.0, 20.0, 20.0], 40, neuron="gated")
    assert choice.error < choice.uniform_error
    assert choice.levels[2] == max(choice.levels) > choice.uniform[0]
    assert sum(choice.levels) <= 40
    assert choice.measured == len(set(asked)) == len(asked) < 2000


@pytest.mark.parametrize(("env", "steps"), [("InvertedPendulum-v5", 10_000), ("HalfCheetah-v5", 1_000)])
@pytest.mark.parametrize("form", ["counts", "dyadic"])
def test_a_chaotic_plant_sees_no_difference(
    env: str, steps: int, form: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step by step beside the network it is equal to, until ``steps``: observations and rewards to the last bit."""
    run, _ = converted(
        make_run(env, "qcfs", overrides={"hidden": [32, 24], "levels": [8, 4]}), tmp_path / "snn", "--form", form,
        capsys=capsys,
    )  # fmt: skip
    spiking = load_controller(run)
    equal = load_controller(Run.open(Path(run.spec.source)) if form == "counts" else run)
    if form == "dyadic":
        equal.network.at_once = True  # type: ignore[assignment,union-attr]
    both, over = [make_env(env), make_env(env)], True
    with torch.inference_mode():
        for step in range(steps):
            if over:
                seen = [one.reset(seed=step)[0] for one in both]
            actions = [
                policy(torch.as_tensor(x, dtype=torch.float32).unsqueeze(0))[0][0].numpy()
                for policy, x in zip((spiking, equal), seen, strict=True)
            ]
            told = [one.step(action) for one, action in zip(both, actions, strict=True)]
            seen = [one[0] for one in told]
            assert np.array_equal(*seen), f"apart at step {step}"
            assert told[0][1:4] == told[1][1:4]
            over = told[0][2] or told[0][3]
