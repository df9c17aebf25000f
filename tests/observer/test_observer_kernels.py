"""The compiled observer against the plain one, and what both must do on a system whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from observer_reference import Limits, ReferenceObserver

from homeo_rl.observer import kernels
from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.layout import (
    CERTAIN,
    FROM_ESTIMATE,
    FROM_MEASURED,
    GATE,
    LAG,
    OPEN,
    STAMPED,
    number_space,
    offsets_of,
    work_space,
)
from tests.support.linear_robot import LinearRobot, model_of

FAULTS = {
    "none": lambda z, t, rng: z,
    "noise": lambda z, t, rng: z + 0.3 * rng.normal(size=z.shape) if t >= 30 else z,
    "one sensor from the start": lambda z, t, rng: np.where(np.arange(len(z)) == 2, 5.0 * rng.normal(), z),
    "one sensor later": lambda z, t, rng: np.where((np.arange(len(z)) == 1) & (t >= 40), 4.0 * rng.normal(), z),
    "stuck": lambda z, t, rng: np.where((np.arange(len(z)) == 0) & (t >= 25), 0.75, z),
    "dropped": lambda z, t, rng: np.where((rng.random(len(z)) < 0.2) & (t >= 25), 0.0, z),
    "jitter": lambda z, t, rng: rng.integers(0, 3) if t >= 25 else 0,
    "late": lambda z, t, rng: 2 if t >= 25 else 0,
    "frozen": lambda z, t, rng: t - 25 if 25 <= t < 95 else 0,
    "offsets": lambda z, t, rng: z + np.array([1.0, -1.2, 0.8, 1.5]),
    "offsets later": lambda z, t, rng: z + np.array([2.0, -1.5, 2.5, 1.5]) * (t >= 30),
    "scales": lambda z, t, rng: z * np.array([1.3, 0.7, 1.3, 0.7]),
}
"""What is measured of a state; a number is the age of the state that is measured."""


class Compiled:
    """One slot of the compiled observer."""

    def __init__(self, model: ForwardModel, limits: Limits) -> None:
        self.model = model
        self.offsets, size = offsets_of(model.entries, model.actions)
        self.starts = np.array(self.offsets)
        self.row = np.zeros((1, size))
        self.row[0, GATE] = 1.0
        parts = (model.center, model.spread, model.action_center, model.action_spread, model.moves, [limits.gate])
        parts += (model.start_mean, model.start_variance, limits.single, limits.sensor, limits.still, limits.zeros)
        self.scales = np.concatenate([np.asarray(part, np.float64) for part in parts])
        self.dims = np.array([model.entries, model.actions, len(model.b1)])
        self.work = work_space(model.entries, model.actions, len(model.b1))
        self.full = number_space(model.entries, model.actions)

    def __call__(self, observation: np.ndarray, last: np.ndarray | None) -> np.ndarray | None:
        out = np.zeros((1, self.model.entries), np.float32)
        last = np.zeros(self.model.actions, np.float32) if last is None else last
        kernels.advance(
            self.model.packed, self.scales, self.dims, self.starts, self.row, observation[None], last[None], out,
            self.work, self.full,
        )  # fmt: skip
        return out[0] if self.row[0, OPEN] else None


def limits_of(model: ForwardModel) -> Limits:
    return Limits(
        2.6,
        np.full(model.entries, 60.0),
        np.full(model.entries, 9.0),
        np.full(model.entries, 4.0),
        np.zeros(model.entries, bool),
    )


def compare_biases(compiled: Compiled, reference: ReferenceObserver, step: int) -> None:
    row, size = compiled.row[0], compiled.model.entries
    for kind, bias in enumerate(reference.biases):
        first, error = compiled.offsets.bias + kind * size, compiled.offsets.bias_error + 2 * kind
        message = f"step {step}, bias {kind}"
        np.testing.assert_allclose(row[first : first + size], bias.theta, atol=5e-3, rtol=2e-2, err_msg=message)
        np.testing.assert_allclose(row[error : error + 2], bias.errors, atol=5e-3, rtol=3e-2, err_msg=message)
        inflation = row[compiled.offsets.bias_inflation + kind]
        np.testing.assert_allclose(inflation, bias.inflation, rtol=3e-2, err_msg=message)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_compiled_equals_reference(fault: str, seed: int) -> None:
    robot = LinearRobot(seed)
    model = model_of(robot)
    compiled, reference = Compiled(model, limits_of(model)), ReferenceObserver(model, limits_of(model))
    rng, last, opened, past = np.random.default_rng(seed), None, 0, []
    for step in range(120):
        past.append(robot.state.copy())
        measured = FAULTS[fault](robot.state, step, rng)
        seen = np.asarray(past[max(0, step - measured)] if np.ndim(measured) == 0 else measured, np.float32)
        ours, theirs = compiled(seen, last), reference(seen, last)
        assert (ours is None) == (theirs is None), step
        if ours is not None:
            opened += 1
            assert reference.filter is not None
            np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=2e-3, err_msg=f"step {step}")
            sources = compiled.row[0, [FROM_MEASURED, FROM_ESTIMATE]]
            np.testing.assert_allclose(sources, reference.filter.sources, rtol=0.02, atol=1e-3, err_msg=f"step {step}")
            if not compiled.row[0, [CERTAIN, STAMPED]].any():
                compare_biases(compiled, reference, step)
        last = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        robot.step(last)
    assert (opened > 0) == (fault != "none")


@pytest.mark.parametrize("delay", [0, 1, 2, 3])
def test_latency_is_found_and_predicted_over(delay: int) -> None:
    robot, rng = LinearRobot(1), np.random.default_rng(0)
    model = model_of(robot)
    compiled = Compiled(model, limits_of(model))
    past, last, errors, raw = [robot.state.copy()], None, [], []
    for step in range(150):
        seen = past[max(0, len(past) - 1 - delay)].astype(np.float32)
        estimate = compiled(seen, last)
        if step >= 60:
            errors.append(0.0 if estimate is None else float(np.abs(estimate - robot.state).max()))
            raw.append(float(np.abs(seen - robot.state).max()))
        last = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        robot.step(last)
        past.append(robot.state.copy())
    assert int(compiled.row[0, LAG]) == delay
    if delay:
        assert np.mean(errors) < 0.25 * np.mean(raw)
    else:
        assert not compiled.row[0, OPEN]


def test_every_age_of_a_jittering_measurement_is_found() -> None:
    robot, rng = LinearRobot(1), np.random.default_rng(0)
    model = model_of(robot)
    compiled = Compiled(model, limits_of(model))
    past, last, errors, raw = [robot.state.copy()], None, [], []
    for step in range(200):
        seen = past[max(0, len(past) - 1 - int(rng.integers(0, 3)))].astype(np.float32)
        estimate = compiled(seen, last)
        if step >= 20:
            assert estimate is not None
            errors.append(float(np.abs(estimate - robot.state).max()))
            raw.append(float(np.abs(seen - robot.state).max()))
        last = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        robot.step(last)
        past.append(robot.state.copy())
    assert compiled.row[0, STAMPED] == compiled.row[0, CERTAIN] == 1.0
    assert np.mean(errors) < 0.25 * np.mean(raw)


def test_a_missing_reading_is_unmistakable_at_once() -> None:
    robot, rng = LinearRobot(2), np.random.default_rng(0)
    model = model_of(robot)
    compiled, last = Compiled(model, limits_of(model)), None
    for step in range(60):
        seen = robot.state.astype(np.float32)
        seen[1] = 0.0 if step == 50 else seen[1]
        estimate = compiled(seen, last)
        assert (compiled.row[0, CERTAIN] > 0.0) == (step >= 50)
        if step == 50:
            assert estimate is not None
            assert np.abs(estimate - robot.state).max() < 0.1
        last = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        robot.step(last)


def test_a_broken_sensor_is_estimated_from_the_others() -> None:
    robot, rng = LinearRobot(2), np.random.default_rng(0)
    model = model_of(robot)
    compiled, last, errors = Compiled(model, limits_of(model)), None, []
    for step in range(200):
        seen = robot.state.astype(np.float32)
        seen[2] = 5.0 * rng.normal()
        estimate = compiled(seen, last)
        if step >= 20:
            assert estimate is not None
            errors.append(float(np.abs(estimate - robot.state).max()))
        last = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
        robot.step(last)
    assert np.mean(errors) < 0.2


def test_rows_do_not_depend_on_their_neighbours() -> None:
    robot, rng = LinearRobot(0), np.random.default_rng(3)
    model = model_of(robot)
    one, many = Compiled(model, limits_of(model)), Compiled(model, limits_of(model))
    many.row = np.repeat(many.row, 3, 0)
    last = np.zeros((3, 2), np.float32)
    for step in range(60):
        seen = np.stack([robot.state + (0.5 * rng.normal(size=4) if step > 20 else 0.0) for _ in range(3)])
        seen, out = seen.astype(np.float32), np.zeros((3, 4), np.float32)
        kernels.advance(
            model.packed,
            many.scales,
            many.dims,
            np.array(many.offsets),
            many.row,
            seen,
            last,
            out,
            many.work,
            many.full,
        )
        alone = one(seen[1], last[1])
        assert alone is None or np.array_equal(alone, out[1])
        np.testing.assert_array_equal(one.row[0], many.row[1])
        last = np.repeat(rng.uniform(-1.0, 1.0, (1, 2)).astype(np.float32), 3, 0)
        robot.step(last[0])
