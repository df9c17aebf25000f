"""The observer as a session uses it: alarms, rehearsal, diagnosis, and the arms that name it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import ObserverMechanism, SleepHomeostat, describe, make_homeostasis, split_observer
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.observer.observer import Observer
from tests.support.linear_robot import LinearRobot, model_of, recording_of

GAINS = np.array([[0.5, -0.4], [0.3, 0.6], [-0.7, 0.2], [0.4, 0.4]])


def policy(observations: np.ndarray) -> np.ndarray:
    return np.clip(observations @ GAINS, -1.0, 1.0).astype(np.float32)


def deaf(observations: np.ndarray) -> np.ndarray:
    """A policy that does not look."""
    return np.zeros((len(observations), 2), np.float32)


@pytest.fixture(scope="module")
def memory() -> ObserverMemory:
    robot = LinearRobot(0)
    return ObserverMemory.of(model_of(robot), recording_of(robot, 3000))


def run(observer: Observer, steps: int, fault: object, *, slot: int = 0) -> list[bool]:
    """Drive a robot with the observer between its sensors and the policy; return when the estimate was used."""
    robot, rng, used = LinearRobot(0), np.random.default_rng(1), []
    observer.begin(slot)
    for step in range(steps):
        seen = fault(robot.state, step, rng).astype(np.float32)[None]  # type: ignore[operator]
        given = observer(seen)
        used.append(observer.is_used(slot))
        if not used[-1]:
            assert np.array_equal(given, seen)
        action = policy(given) + 0.3 * rng.normal(size=(1, 2)).astype(np.float32)
        action = np.clip(action, -1.0, 1.0)
        observer.record(action)
        robot.step(action[0])
    return used


def broken(z: np.ndarray, step: int, rng: np.random.Generator) -> np.ndarray:
    return np.where((np.arange(4) == 2) & (step >= 50), 4.0 * rng.normal(), z)


def healthy(z: np.ndarray, step: int, rng: np.random.Generator) -> np.ndarray:
    return z


def test_a_healthy_robot_is_left_alone(memory: ObserverMemory) -> None:
    observer = Observer(memory, 1, policy)
    assert not any(run(observer, 400, healthy))
    diagnosis = observer.diagnose(0)
    assert (observer.openings, observer.alarmed_at, diagnosis.alarm, diagnosis.sensors) == ([0], [None], False, ())


def test_a_broken_sensor_is_named_and_replaced(memory: ObserverMemory) -> None:
    observer = Observer(memory, 1, policy)
    used = run(observer, 200, broken)
    assert not any(used[:50])
    assert np.mean(used[60:]) > 0.9
    diagnosis = observer.diagnose(0)
    assert 50 <= diagnosis.since <= 55  # type: ignore[operator]
    assert diagnosis.used
    assert diagnosis.latency == 0
    assert diagnosis.sensors[0].entry == 2
    assert observer.openings == [1]


def test_stuck_and_dropped_are_told_apart(memory: ObserverMemory) -> None:
    kinds = {}
    for name, fault in {
        "stuck": lambda z, t, rng: np.where((np.arange(4) == 1) & (t >= 30), 0.9, z),
        "dropped": lambda z, t, rng: np.where((np.arange(4) == 1) & (t >= 30) & (rng.random() < 0.4), 0.0, z),
        "offset": lambda z, t, rng: np.where((np.arange(4) == 1) & (t >= 30), z + 1.5, z),
    }.items():
        observer = Observer(memory, 1, policy)
        run(observer, 150, fault)
        kinds[name] = [(fault.entry, fault.kind) for fault in observer.diagnose(0).sensors][:1]
    assert kinds == {name: [(1, name)] for name in kinds}


OFFSETS = np.array([1.0, -1.2, 0.8, 1.5])


@pytest.mark.parametrize("drift", [0.0, 0.002])
def test_offsets_of_all_sensors_are_subtracted(memory: ObserverMemory, drift: float) -> None:
    observer, left = Observer(memory, 1, policy), []

    def shifted(z: np.ndarray, step: int, rng: np.random.Generator) -> np.ndarray:
        offsets = OFFSETS * (1.0 + drift * step)
        if step >= 60:
            bias = {fault.entry: fault.size for fault in observer.diagnose(0).sensors if fault.kind == "offset"}
            left.append(np.abs(offsets - [bias.get(entry, 0.0) for entry in range(4)]))
        return z + offsets

    used = run(observer, 200, shifted)
    assert np.mean(used[10:]) > 0.9
    assert observer.openings == [1]
    assert np.mean(left, 0).max() < 0.3


def test_scale_errors_are_divided_out(memory: ObserverMemory) -> None:
    observer, factors = Observer(memory, 1, policy), np.array([1.5, 1.0, 1.0, 1.0])
    used = run(observer, 300, lambda z, t, rng: z * factors if t >= 50 else z)
    assert not any(used[:50])
    assert np.mean(used[110:]) > 0.9
    faults = observer.diagnose(0).sensors
    assert [(fault.entry, fault.kind) for fault in faults] == [(0, "scale")]
    assert faults[0].size == pytest.approx(0.5, abs=0.1)


def test_what_the_policy_gets_is_the_estimate(memory: ObserverMemory) -> None:
    observer, robot = Observer(memory, 1, policy), LinearRobot(0)
    observer.begin(0)
    for _ in range(30):
        given = observer((robot.state + OFFSETS).astype(np.float32)[None])
        if observer.is_used(0):
            np.testing.assert_array_equal(observer.estimates(), given)
        action = policy(given)
        observer.record(action)
        robot.step(action[0])
    assert observer.used[0] > 20


def test_noise_is_no_scale_error(memory: ObserverMemory) -> None:
    """Readings that are noise are explained by a factor that leaves nothing of them; that is refused."""
    observer = Observer(memory, 1, policy)
    run(observer, 150, lambda z, t, rng: z + 3.0 * rng.normal(size=4))
    assert not {fault.kind for fault in observer.diagnose(0).sensors} & {"scale", "offset"}


def test_where_the_policy_does_not_look_nothing_is_replaced(memory: ObserverMemory) -> None:
    observer = Observer(memory, 1, deaf)
    assert not any(run(observer, 200, broken))
    assert observer.alarmed_at[0] is not None  # it was seen all the same
    assert observer.openings == [0]


def test_a_model_that_explains_little_only_diagnoses(memory: ObserverMemory) -> None:
    poor = dataclasses.replace(memory.model, r2=np.full(4, 0.79, np.float32))
    observer = Observer(dataclasses.replace(memory, model=poor), 1, policy)
    assert not any(run(observer, 200, broken))
    assert observer.diagnose(0).sensors[0].entry == 2


def test_slots_keep_their_state_when_others_end(memory: ObserverMemory) -> None:
    observer, alone = Observer(memory, 3, policy), Observer(memory, 1, policy)
    robot, rng = LinearRobot(0), np.random.default_rng(0)
    for slot in range(3):
        observer.begin(slot)
    alone.begin(0)
    for step in range(120):
        if step == 60:
            observer.select([2, 1])
        seen = robot.state.astype(np.float32) + (step >= 30) * rng.normal(size=4).astype(np.float32) * [0, 0, 3, 0]
        row = {0: 2, 1: 0}[int(step >= 60)]
        batch = np.repeat(robot.state.astype(np.float32)[None], 3 if step < 60 else 2, 0)
        batch[row] = seen
        assert np.array_equal(observer(batch.astype(np.float32))[row], alone(seen[None].astype(np.float32))[0])
        action = rng.uniform(-1, 1, (1, 2)).astype(np.float32)
        observer.record(np.repeat(action, len(batch), 0))
        alone.record(action)
        robot.step(action[0])
    assert observer.openings[0] == alone.openings[0] > 0
    observer.begin(0)
    assert (observer.openings[0], observer.alarmed_at[0]) == (0, None)


def test_arms() -> None:
    observer, network = split_observer(make_homeostasis("dwam+sleep+observer"))
    assert isinstance(observer, ObserverMechanism)
    assert isinstance(network, SleepHomeostat)
    assert make_homeostasis("observer") == ObserverMechanism()
    assert split_observer(make_homeostasis("observer:margin=0.5")).observer == ObserverMechanism(margin=0.5)
    assert split_observer(make_homeostasis("sleep")).observer is None
    assert describe("sleep+observer") != describe("observer") != describe("observer:margin=0.5")
    for text in ("observer+observer", "none+observer", "observer:margin=0", "observer:nothing=1"):
        with pytest.raises(UsageError):
            make_homeostasis(text)
