"""Recordings, the fit of a forward model to them, and its storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.observer import model_kernels
from homeo_rl.observer.fit_forward_model import fit_forward_model
from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.health_card import health_card
from homeo_rl.observer.layout import work_space
from homeo_rl.observer.memory import LENGTH, WINDOWS, ObserverMemory
from homeo_rl.observer.observer import Observer
from homeo_rl.observer.recording import LEAST_STEPS, Recording, read_log
from tests.support.linear_robot import LinearRobot, recording_of

LOW, HIGH = np.array([-1.0, -1.0]), np.array([1.0, 1.0])


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recording_of(LinearRobot(0), 6000)


@pytest.fixture(scope="module")
def model(recording: Recording) -> ForwardModel:
    return fit_forward_model(recording, LOW, HIGH, hidden=32, epochs=60)


def test_fit_explains_what_can_be_explained(model: ForwardModel, recording: Recording) -> None:
    robot = LinearRobot(0)
    x, actions = recording.observations, recording.actions
    first = recording.transitions()[-500:]
    predicted = model.predict(model.scale(x[first]), model.scale_action(actions[first]))
    best = x[first] @ robot.a.T + actions[first] @ robot.b.T  # the truth without its noise
    error = np.abs(model.unscale(predicted.mean) - best).mean(0)
    assert (error < 0.1 * np.abs(x[first + 1] - x[first]).mean(0)).all(), error
    assert (model.r2 > 0.97).all(), model.r2
    scatter = (model.scale(x[first + 1]) - predicted.mean) ** 2 / predicted.variance
    assert 0.5 < scatter.mean() < 2.0


def test_the_same_seed_gives_the_same_model(recording: Recording) -> None:
    one, two = (fit_forward_model(recording, LOW, HIGH, hidden=8, epochs=1, seed=3) for _ in range(2))
    assert np.array_equal(one.packed, two.packed)
    assert not np.array_equal(one.packed, fit_forward_model(recording, LOW, HIGH, hidden=8, epochs=1, seed=4).packed)


def test_compiled_prediction_and_jacobian(model: ForwardModel) -> None:
    rng = np.random.default_rng(0)
    x, a = rng.normal(size=(1, 4)).astype(np.float32), rng.uniform(-1, 1, (1, 2)).astype(np.float32)
    wanted = model.predict(x, a)
    net = model_kernels.unpack(model.packed, np.array([4, 2, 32]))
    work, mean, variance, jac = work_space(4, 2, 32), np.zeros(4), np.zeros(4), np.zeros((4, 6))
    point = np.concatenate([x[0], a[0]])
    model_kernels.predict(net, point, mean, variance, work)
    np.testing.assert_allclose(mean, wanted.mean[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, wanted.variance[0], rtol=1e-4)
    model_kernels.jacobian(net, work, work[6:].ravel(), jac, 6)
    for column in range(6):
        up, down = point.astype(np.float64), point.astype(np.float64)
        up[column] += 1e-2
        down[column] -= 1e-2
        ends = [model.predict(p[None, :4], p[None, 4:]).mean[0] for p in (up, down)]
        np.testing.assert_allclose(jac[:, column], (ends[0] - ends[1]) / 2e-2, rtol=2e-2, atol=2e-3)


def test_many_actions_at_once_are_one_after_the_other(model: ForwardModel) -> None:
    rng = np.random.default_rng(1)
    x, row = rng.normal(size=6).astype(np.float32), rng.uniform(-1.0, 1.0, 20)
    net, work = model_kernels.unpack(model.packed, np.array([4, 2, 32])), work_space(4, 2, 32)
    means, variances = np.zeros((6, 4)), np.zeros((6, 4))
    model_kernels.predict_lags(net, x, row, 3, means, variances, work)
    for lag in range(6):
        x[4:], mean, variance = row[3 + 2 * lag : 5 + 2 * lag], np.zeros(4), np.zeros(4)
        model_kernels.predict(net, x, mean, variance, work)
        np.testing.assert_array_equal(means[lag], mean)
        np.testing.assert_array_equal(variances[lag], variance)


def test_a_memory_survives_its_bundle(model: ForwardModel, recording: Recording) -> None:
    memory = ObserverMemory.of(model, recording)
    assert memory.observations.shape == (WINDOWS, LENGTH, 4)
    tensors, document = memory.to_bundle()
    again = ObserverMemory.from_bundle(tensors, document, where="here")
    assert np.array_equal(again.model.packed, model.packed)
    assert again.model.gate == model.gate
    assert np.array_equal(again.observations, memory.observations)
    for name in tensors:
        broken = {**tensors, name: np.zeros(3, np.float32)}
        with pytest.raises(StorageFault, match="here"):
            ObserverMemory.from_bundle(broken, document, where="here")
        with pytest.raises(StorageFault, match="here"):
            ObserverMemory.from_bundle({k: v for k, v in tensors.items() if k != name}, document, where="here")


def test_a_sensor_that_never_moves_is_reported(recording: Recording) -> None:
    observations = recording.observations.copy()
    observations[:, 1] = 3.5
    still = Recording(observations, recording.actions, recording.ends, recording.clean)
    model = fit_forward_model(still, LOW, HIGH, hidden=8, epochs=1)
    assert model.moves.tolist() == [True, False, True, True]
    card = health_card(model)
    assert card.unmodelled == [1]
    assert "not modelled" in card.rows[1][1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("ends"), "ends is missing"),
        (lambda d: d.update(observations=d["observations"][:, :3]), "shape"),
        (lambda d: d.update(observations=np.full_like(d["observations"], np.nan)), "finite"),
        (lambda d: d.update(actions=d["actions"][:-1]), "shape"),
        (lambda d: d.update(actions=d["actions"].astype(str)), "real numbers"),
        (lambda d: d.update(ends=np.array([None] * len(d["ends"]))), "npz"),
        (lambda d: d.update({name: value[: LEAST_STEPS - 1] for name, value in d.items()}), "at least"),
    ],
)
def test_a_log_that_does_not_fit_is_refused(change: object, words: str, tmp_path: Path, recording: Recording) -> None:
    data = {"observations": recording.observations, "actions": recording.actions, "ends": recording.ends}
    change(data)  # type: ignore[operator]
    np.savez(tmp_path / "log.npz", **data)
    with pytest.raises(UsageError, match=words):
        read_log(tmp_path / "log.npz", 4, 2)


def test_a_log_that_fits_is_read(tmp_path: Path, recording: Recording) -> None:
    np.savez(
        tmp_path / "log.npz", observations=recording.observations.astype(np.float64), actions=recording.actions,
        ends=recording.ends,
    )  # fmt: skip
    read = read_log(tmp_path / "log.npz", 4, 2)
    assert np.array_equal(read.observations, recording.observations)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UsageError, match="npz"):
        read_log(tmp_path / "text.npz", 4, 2)
    with pytest.raises(UsageError, match="npz"):
        read_log(tmp_path / "nothing.npz", 4, 2)


def test_short_sequences_cannot_be_rehearsed(model: ForwardModel) -> None:
    memory = ObserverMemory.of(model, recording_of(LinearRobot(0), LEAST_STEPS, length=LENGTH - 1))
    assert len(memory.observations) == 0
    observer = Observer(memory, 1, lambda observations: observations[:, :2])
    observer.begin(0)
    for _ in range(30):
        seen = np.full((1, 4), 9.0, np.float32)
        assert np.array_equal(observer(seen), seen)
        observer.record(np.zeros((1, 2), np.float32))
    assert observer.alarmed_at[0] is not None
