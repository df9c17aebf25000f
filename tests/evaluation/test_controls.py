"""Controls are given what a simulator knows, meet the damage that other arms meet, and touch nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from toy_envs import Point

from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import DEGRADATIONS, Suite, build
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.controls import REVEALED, ControlledCondition, latency_of
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.informed_filter import InformedFilter, update_state
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.run import Run
from tests.support.linear_robot import LinearRobot, model_of, recording_of

GAINS = np.array([[0.5, -0.4], [0.3, 0.6], [-0.7, 0.2], [0.4, 0.4]])


class Linear(gym.Env[np.ndarray, np.ndarray]):
    """The linear robot as an environment, whose process noise depends on the seed of the episode."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self) -> None:
        self.robot = LinearRobot(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.robot = LinearRobot(0)
        self.robot._rng = self.np_random
        self.robot.state = 0.2 * self.np_random.normal(size=4)
        return self.robot.state.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.robot.step(action)
        return self.robot.state.astype(np.float32), 0.0, False, False, {}


@pytest.fixture(scope="module")
def memory() -> ObserverMemory:
    robot = LinearRobot(0)
    return ObserverMemory.of(model_of(robot), recording_of(robot, 3000))


def play(arm: str, memory: ObserverMemory, *faults: dict[str, Any], onset: int = 0, steps: int = 120) -> np.ndarray:
    """Return what the policy was given [steps, D] in an episode of fixed actions."""
    degradations = tuple(build(fault, where="test") for fault in faults)
    condition = Condition(name="fault", severity=1.0, degradations=degradations, onset=onset)
    env = Arm.parse(arm).add_layer(condition, memory).wrap(Linear(), np.ones(4))
    rng = np.random.default_rng(5)
    given = [env.reset(seed=3)[0]]
    actions = np.clip(0.7 * rng.normal(size=(steps - 1, 2)), -1.0, 1.0).astype(np.float32)
    given += [env.step(action)[0] for action in actions]
    assert all(row.dtype == np.float32 for row in given)
    return np.array(given)


FAULTS: dict[str, dict[str, Any]] = {
    "noise": {"kind": "obs-gaussian-normalised", "std": 0.3},
    "plain noise": {"kind": "obs-gaussian", "std": 0.3},
    "stuck": {"kind": "obs-stuck", "fraction": 0.5},
    "dropped": {"kind": "obs-dropped", "probability": 0.4},
    "markov": {"kind": "obs-markov"},
    "offset": {"kind": "obs-offset", "size": 0.5},
    "scale": {"kind": "obs-scale", "error": 0.5},
    "delay": {"kind": "obs-delayed", "steps": 2},
    "jitter": {"kind": "obs-jitter", "steps": 3},
}


@pytest.mark.parametrize("onset", [0, 40])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_oracle_gives_the_truth_and_the_filter_comes_close(fault: str, onset: int, memory: ObserverMemory) -> None:
    clean, seen = play("none", memory), play("none", memory, FAULTS[fault], onset=onset)
    assert np.array_equal(play("oracle", memory, FAULTS[fault], onset=onset), clean)
    estimate = play("kalman", memory, FAULTS[fault], onset=onset)
    assert np.array_equal(estimate[:onset], clean[:onset])
    wrong, left = np.abs(seen - clean)[onset + 3 :].mean(), np.abs(estimate - clean)[onset + 3 :].mean()
    assert wrong > 0.02
    assert left < 0.5 * wrong


def test_the_filter_foresees_the_state_in_which_late_actions_are_executed(memory: ObserverMemory) -> None:
    for onset in (0, 40):
        late = play("none", memory, {"kind": "action-delay", "steps": 3}, onset=onset)
        foreseen = play("kalman", memory, {"kind": "action-delay", "steps": 3}, onset=onset)
        assert np.array_equal(play("oracle", memory, {"kind": "action-delay", "steps": 3}, onset=onset), late)
        error = np.abs(foreseen[onset + 1 : -3] - late[onset + 4 :]).max()
        assert error < 0.1 < np.abs(late[onset + 1 : -3] - late[onset + 4 :]).max()


def test_the_mask_replaces_what_is_lost_and_nothing_else(memory: ObserverMemory) -> None:
    mean = memory.observations.mean((0, 1), dtype=np.float64).astype(np.float32)
    for fault in ("stuck", "dropped", "markov"):
        seen, given = play("none", memory, FAULTS[fault], onset=10), play("mask", memory, FAULTS[fault], onset=10)
        changed = given != seen
        assert changed[10:].any(0).sum() >= 2
        assert not changed[:10].any()
        assert np.array_equal(given[changed], np.broadcast_to(mean, given.shape)[changed])
        if fault != "stuck":
            assert not seen[changed].any()
    for fault in ("noise", "offset", "delay", "jitter"):
        assert np.array_equal(play("mask", memory, FAULTS[fault]), play("none", memory, FAULTS[fault]))


@pytest.mark.parametrize("control", ["oracle", "mask", "kalman"])
def test_what_restores_no_observation_passes_to_the_bit(control: str, memory: ObserverMemory) -> None:
    faults = [{"kind": "action-gain", "factor": 0.5}, {"kind": "action-noise", "std": 0.3}]
    for fault in faults:
        assert np.array_equal(play(control, memory, fault), play("none", memory, fault))
    clean = Condition(name="clean")
    network = Condition(name="dead", severity=1.0, degradations=(build({"kind": "dead-neurons"}, where="test"),))
    for condition in (clean, network):
        env = Linear()
        assert Arm.parse(control).add_layer(condition, memory).wrap(env) is env


def test_faults_that_are_revealed_add_up(memory: ObserverMemory) -> None:
    """A control leaves alone what is not revealed; a new degradation needs a row to be."""
    assert set(REVEALED) < set(DEGRADATIONS)
    both = play("kalman", memory, FAULTS["delay"], FAULTS["stuck"], FAULTS["plain noise"])
    clean, seen = (play("none", memory, *faults) for faults in ((), tuple(FAULTS[f] for f in ("delay", "plain noise"))))
    assert np.abs(both - clean).mean() < np.abs(seen - clean).mean()
    drift = {"kind": "obs-drift", "std": 0.5}
    assert np.array_equal(play("kalman", memory, drift), play("none", memory, drift))


def test_latencies_of_sensors_and_actuators_add_up() -> None:
    kinds = ({"kind": "obs-delayed", "steps": 4}, {"kind": "action-delay", "steps": 2}, {"kind": "obs-jitter"})
    parts = tuple(build(fault, where="test") for fault in kinds)
    assert latency_of(Condition(name="x", severity=0.5, degradations=parts)) == 3
    assert latency_of(Condition(name="x", severity=1.0, degradations=parts[2:])) == 0


def test_arms_of_controls() -> None:
    assert Arm.parse("oracle") == Arm("oracle", control="oracle")
    both = Arm.parse("dwam+sleep+kalman")
    assert both.plugin == Arm.parse("dwam+sleep").plugin
    assert both.describe() == Arm.parse("dwam+sleep").describe() + " + informed by kalman"
    assert (both.needs_observer_memory, Arm.parse("oracle").needs_observer_memory) == (True, False)
    for arm, said in (
        ("observer+oracle", "leave out observer"),
        ("oracle+mask", "leave out mask"),
        ("oracle+oracle", "leave out oracle"),
        ("none+oracle", "leave out none"),
        ("mask+avoid", "leave out avoid"),
        ("oracle:margin=1", "oracle takes no parameters; write oracle"),
        ("dwamm+oracle", "did you mean 'dwam'"),
    ):
        with pytest.raises(UsageError, match=said):
            Arm.parse(arm)


def test_a_control_needs_a_model_of_its_robot(memory: ObserverMemory) -> None:
    fault = (build(FAULTS["noise"], where="test"),)
    for given in (None, memory):
        condition = ControlledCondition(name="x", severity=1.0, degradations=fault, control="kalman", memory=given)
        with pytest.raises(UsageError, match="arm kalman: expected a forward model of observations"):
            condition.wrap(Point())


def test_controls_score_as_none_where_no_sensor_is_damaged(make_run: Callable[..., Run]) -> None:
    run = make_run("InvertedPendulum-v5")
    kinds = ({"kind": "dead-neurons", "fraction": 0.3}, {"kind": "obs-stuck", "fraction": 0.5})
    damaged = tuple(
        Condition(name=str(part["kind"]), severity=1.0, degradations=(build(part, where="test"),)) for part in kinds
    )
    suite = Suite(name="x", version=1, description="", conditions=(Condition(name="clean"), *damaged))
    plan = EvaluationPlan(suite=suite, arms=("none", "oracle", "dwam", "dwam+oracle"), episodes=3, seed=0)
    scores = evaluate(run, plan, workers=1).scores
    values = {
        (arm, c.name): [score.values for score in scores if (score.arm, score.condition) == (arm, c.name)]
        for arm in plan.arms
        for c in suite.conditions
    }
    for arm in ("none", "dwam"):
        control = "oracle" if arm == "none" else "dwam+oracle"
        assert values[control, "clean"] == values[arm, "clean"]
        assert values[control, "dead-neurons"] == values[arm, "dead-neurons"]
        assert values[control, "obs-stuck"] != values[arm, "obs-stuck"]
    assert values["oracle", "obs-stuck"] == values["none", "clean"]
    with pytest.raises(UsageError, match="continuous actions"):
        Arm.parse("kalman").require_fitting(load_controller(make_run("CartPole-v1", name="cart")))


def test_the_filter_is_that_of_the_textbook(memory: ObserverMemory) -> None:
    """One reading after another gives what all at once give; predictions follow the model's equations."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    p, state, z = root @ root.T, rng.normal(size=5), rng.normal(size=5)
    noise, lost = rng.uniform(0.1, 1.0, 5), np.array([False, True, False, False, False])
    moves, ratios = np.array([True, True, True, True, False]), np.zeros(5)
    used = np.array([0, 2, 3])
    h = np.eye(5)[used]
    gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + np.diag(noise[used]))
    expected = state + gain @ (z[used] - state[used])
    expected[4] = z[4]
    left = (np.eye(5) - gain @ h) @ p
    ratio = (z - state)[used] ** 2 / (np.diag(p) + noise)[used]
    assert update_state(state, p, z, lost, moves, noise, ratios) == 3
    assert np.allclose(state, expected, atol=1e-12)
    assert np.allclose(p, left, atol=1e-12)
    assert np.allclose(ratios[:3], ratio)

    model: ForwardModel = memory.model
    informed = InformedFilter(model)
    informed.state, informed.covariance, informed.inflation = rng.normal(size=4), np.eye(4) + 0.5, 1.7
    before, action, robot = informed.state.copy(), np.array([0.4, -0.9]), LinearRobot(0)
    assert np.allclose(informed.ahead([action]), robot.a @ before + robot.b @ action, atol=1e-4)
    informed.advance(action)
    variance = model.predict(before[None].astype(np.float32), action[None].astype(np.float32)).variance[0]
    assert np.allclose(informed.state, robot.a @ before + robot.b @ action, atol=1e-4)
    propagated = robot.a @ (np.eye(4) + 0.5) @ robot.a.T + 1.7 * np.diag(variance)
    assert np.allclose(informed.covariance, propagated, atol=1e-4)
