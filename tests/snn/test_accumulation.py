"""Neurons that count: the theorem over half a million inputs, QCFS and its derivatives, levels by activity."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from homeo_rl.conversion.levels import activity_level, choose_levels
from homeo_rl.snn.qcfs import QCFS, ladder_level, level_of
from homeo_rl.snn.spike_accumulation import (
    accumulate,
    burst,
    effective_steps,
    emit_digits,
    gate,
    levels_sent,
    steps_of,
    train_of,
)

SIZES = [1, 2, 3, 4, 5, 8, 15, 16]


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
    trials = wrong = short = apply_gate = digits = 0
    for fed in SIZES:
        for levels in SIZES:
            x = adversarial(fed, levels, 9_000)
            expected = level_of(x.sum(0), 1.0, levels)
            assert torch.equal(expected, ladder_level(x.sum(0), 1.0, levels))
            trials += x.shape[1]
            wrong += int((accumulate(x, 1.0, levels).total != expected).sum())
            apply_gate += int((gate(x, 1.0, levels).total != expected).sum())
            if levels & (levels + 1) == 0:
                digits += int((emit_digits(x, 1.0, levels).sent != train_of(expected, levels, "radix")).sum())
                assert torch.equal(levels_sent(train_of(expected, levels, "radix"), levels, "radix").sum(0), expected)
            if max(fed, levels) > 1:
                less = int((accumulate(x, 1.0, levels, silent=max(fed, levels) - 2).total != expected).sum())
                assert less > 0, f"T1 = {fed}, L = {levels}: a step less was enough"
                short += less
    assert trials >= 500_000
    assert (wrong, apply_gate, digits) == (0, 0, 0)
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


def test_bursts_and_steps() -> None:
    assert burst(torch.tensor([0.0, 2.0, 9.0, -1.0]), 3).sum(0).tolist() == [0, 2, 3, 0]
    assert sum(steps_of([8, 4], "pascal")) == 19
    assert sum(steps_of([8, 4], "gated")) == 12
    assert steps_of([15, 3, 1], "radix") == [4, 2, 1]
    assert steps_of([], "pascal") == []


def test_a_doubling_membrane_sends_the_same_digits() -> None:
    """One threshold and equal spikes, membrane and received current doubled after every step: as in the header."""
    torch.manual_seed(1)
    levels, width = (15, 7), 4
    weights = dyadic((5, width), 6, 2.0)
    count = torch.randint(0, levels[0] + 1, (500, 5)).double()
    digits = train_of(count, levels[0], "radix")
    current = torch.zeros(500, width, dtype=torch.float64)
    for now in digits:
        current = 2 * current + now @ weights
    v, threshold, sent = current + 0.5, 4.0, []
    for _ in range(3):
        s = (v >= threshold).double()
        sent.append(s)
        v = 2 * (v - s * threshold)
    received = levels_sent(digits, levels[0], "radix") @ weights
    assert torch.equal(torch.stack(sent), emit_digits(received, 1.0, levels[1]).sent)


def test_effective_steps() -> None:
    """By hand: T = 8 of 17 inputs and T = 4 of 256; large fan-ins make a neuron's own operations vanish."""
    first, second = 4 / (3 * 17), 4 / (3 * 256)
    expected = (8 * (1 + 38 * first) / (1 + 8 * first) + 4 * (1 + 18 * second) / (1 + 4 * second)) / 2
    assert effective_steps([8, 4], [17, 256]) == pytest.approx(expected)
    assert effective_steps([8], [10**9]) == pytest.approx(8, rel=1e-6)
    assert effective_steps([], []) == 0.0


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
