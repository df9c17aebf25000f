"""The batch engine against Gymnasium's environments, bit for bit: bodies, faults, resets, scores, errors."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.session import Session
from homeo_rl.cli import main
from homeo_rl.degradations import DEGRADATIONS, Condition, build
from homeo_rl.degradations.protocol import EnvDegradation
from homeo_rl.envs.batched_bodies import BatchedBodies, body_of
from homeo_rl.envs.make import make_env
from homeo_rl.envs.stability import KEY as UNSTABLE
from homeo_rl.errors import NumericalFault, UsageError
from homeo_rl.evaluation.engines import Batched, GymnasiumEngine, RolloutEngine, require_engine, require_rows
from homeo_rl.evaluation.episode import Episode
from homeo_rl.evaluation.rollout import rollout

pytest.importorskip("mujoco.batch", reason="the batch engine needs MuJoCo 4.0")

BODIES = {
    "HalfCheetah-v5": [{}, {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 0.3}],
    "Hopper-v5": [{}, {"terminate_when_unhealthy": False, "max_episode_steps": 70}, {"healthy_reward": 0.0}],
    "Walker2d-v5": [{}, {"frame_skip": 2, "healthy_angle_range": (-0.2, 0.2)}],
    "Ant-v5": [{}, {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.1, "main_body": "torso"}],
}
KINDS = [kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, EnvDegradation) and not kind.startswith("lidar")]


def condition(*kinds: str, severity: float = 0.7, onset: int = 0) -> Condition:
    parts = tuple(build({"kind": kind}, where="test") for kind in kinds)
    return Condition(name="damaged", severity=severity, degradations=parts, onset=onset)


def check_equal(name: str, kwargs: dict[str, Any], damage: Condition, steps: int, rows: int = 3) -> int:
    """Step both engines with the same random actions; return how many episodes ended. Some rows pause for a while."""
    new_env = partial(make_env, name, kwargs)
    env = new_env()
    std = np.linspace(0.5, 2.0, env.observation_space.shape[0])  # type: ignore[index]  # a vector
    engines = GymnasiumEngine(new_env, damage, std, rows), RolloutEngine(Batched(new_env, 2), damage, std, rows)
    rng, seed, ended = np.random.default_rng(0), 100, 0
    for row in range(rows):
        seen, other = (engine.reset(row, row, None)[0] for engine in engines)
        assert seen.dtype == other.dtype
        assert np.array_equal(seen, other)
    for step in range(steps):
        active = list(range(rows)) if step % 50 < 40 else [0, rows - 1]
        actions = rng.uniform(-1.0, 1.0, (len(active), *env.action_space.shape)).astype(np.float32)  # type: ignore[misc]
        one, batch = (engine.step(active, actions.copy()) for engine in engines)
        assert np.array_equal(np.stack(one.observations), batch.observations), (step, damage)
        assert list(one.rewards) == list(batch.rewards)
        assert list(one.terminated) == list(batch.terminated)
        assert list(one.truncated) == list(batch.truncated)
        for row, *over in zip(active, batch.terminated, batch.truncated, strict=True):
            if any(over):
                ended, seed = ended + 1, seed + 1
                seen, other = (engine.reset(row, seed, None)[0] for engine in engines)
                assert np.array_equal(seen, other)
    for engine in engines:
        engine.close()
    return ended


@pytest.mark.parametrize(("name", "kwargs"), [(name, kwargs) for name, cases in BODIES.items() for kwargs in cases])
def test_bodies_equal_gymnasiums_bit_for_bit(name: str, kwargs: dict[str, Any]) -> None:
    """200 steps with random actions, ends and resets included."""
    ended = check_equal(name, kwargs, Condition(name="clean"), 200)
    assert ended > 0 or name in ("HalfCheetah-v5", "Ant-v5")


def test_episodes_are_truncated_as_gymnasiums() -> None:
    assert check_equal("HalfCheetah-v5", {"max_episode_steps": 30}, Condition(name="clean"), 70) >= 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("onset", [0, 13])
def test_each_fault_is_the_wrappers_bit_for_bit(kind: str, onset: int) -> None:
    """The second episodes begin healthy and at their own seeds."""
    assert check_equal("HalfCheetah-v5", {"max_episode_steps": 25}, condition(kind, onset=onset), 60) >= 4


@pytest.mark.parametrize("name", BODIES)
def test_faults_together_are_nested_as_wrappers(name: str) -> None:
    kinds = ("obs-delayed", "body-mass", "action-delay", "obs-gaussian-normalised", "action-noise", "friction")
    check_equal(name, {}, condition(*kinds, severity=1.0, onset=5), 60)


def run_episodes(agent: str, damage: Condition, engine: Any, name: str = "Hopper-v5") -> list[Episode]:
    import torch

    env = make_env(name)
    torch.manual_seed(0)
    controller = Controller(
        controller_spec(agent, env.observation_space, env.action_space, overrides={"hidden": [16, 12]})
    )
    return rollout(
        partial(Session, controller), engine(partial(make_env, name, {"max_episode_steps": 50})), range(7),
        condition=damage, num_envs=3,
    )  # fmt: skip


@pytest.mark.parametrize("agent", ["popsan", "san", "mlp"])
@pytest.mark.parametrize(
    "kinds", [(), ("obs-markov", "action-dead"), ("body-mass", "weights-gaussian"), ("dead-neurons", "actuator-gain")]
)
def test_episodes_of_a_policy_are_equal(agent: str, kinds: tuple[str, ...]) -> None:
    """Everything that an episode leaves: more episodes than rows, and rows that run out."""
    if agent == "mlp" and "dead-neurons" in kinds:
        kinds = ("actuator-gain",)
    ours, theirs = (
        run_episodes(agent, condition(*kinds, onset=4), engine) for engine in (Batched, lambda new_env: new_env)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert (one.total, one.length, one.trace, one.unstable) == (
            other.total, other.length, other.trace, other.unstable,
        )  # fmt: skip
        assert np.array_equal(one.operations, other.operations)
        assert np.array_equal(one.rates.first, other.rates.first)
        assert one.rates.decisions == other.rates.decisions
    if agent == "popsan":
        assert len({episode.length for episode in ours}) > 1, "rows end at different times"


def test_a_simulation_that_is_given_up_ends_its_episode_alone() -> None:
    """MuJoCo resets a simulation whose velocities are absurd; the guard's truncation is the batch's."""
    bodies = BatchedBodies(make_env("HalfCheetah-v5"), 3)
    seen = [bodies.reset(row, row)[0] for row in range(3)]
    bodies._qvel[1, 3] = 1e12
    result = bodies.step(np.arange(3), np.zeros((3, 6), np.float32))
    assert result.truncated == [False, True, False]
    assert result.terminated == [False] * 3
    assert UNSTABLE in result.infos[1]
    assert not result.infos[0]
    assert result.rewards[1] == 0.0
    assert np.array_equal(result.observations[1], seen[1])
    bodies.reset(1, 8)
    assert bodies.step(np.arange(3), np.zeros((3, 6), np.float32)).truncated == [False] * 3


def test_numbers_that_are_not_finite_are_named() -> None:
    bodies = BatchedBodies(make_env("Hopper-v5"), 2)
    for row in range(2):
        bodies.reset(row, row)
    bodies.step(np.arange(2), np.zeros((2, 3), np.float32))
    with pytest.raises(NumericalFault, match="Hopper-v5: step 2: action entry 2 is nan"):
        bodies.step(np.arange(2), np.array([[0, 0, 0], [0, 0, np.nan]], np.float32))


def test_what_the_engine_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(
        UsageError, match="expected one of HalfCheetah-v5, Hopper-v5, Walker2d-v5, Ant-v5, got Pusher-v5"
    ):
        body_of(make_env("Pusher-v5"))
    wrapped = {"env_wrapper": "gymnasium.wrappers.FlattenObservation"}
    with pytest.raises(UsageError, match="expected no wrapper around HalfCheetah-v5, got FlattenObservation"):
        body_of(make_env("HalfCheetah-v5", wrapped))
    with pytest.raises(UsageError, match="expected no wrapper around HalfCheetah-v5"):
        body_of(make_env("HalfCheetah-v5", {"frame_stack": 2}))
    with pytest.raises(UsageError, match="expected faults of rows or of the model, got lidar"):
        require_rows(make_env("HalfCheetah-v5"), condition(next(kind for kind in DEGRADATIONS if "lidar" in kind)))
    with pytest.raises(UsageError, match="unknown engine"):
        require_engine("warp", [])


def test_an_evaluation_has_the_same_scores(tmp_path: Path, make_run: Any) -> None:
    """On the command line, with an arm that adapts, and one that the engine refuses."""
    run = make_run("HalfCheetah-v5")
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: mixed\nversion: 1\ndescription: for a test\nconditions:\n  - {name: clean}\n"
        "  - {name: gain, severities: [1.0], onset: 5, degradations: [{kind: actuator-gain}, {kind: obs-drift}]}\n"
    )
    flags = ["--suite", str(suite), "--episodes", "3", "--max-episode-steps", "30", "--calibration-episodes", "2"]
    tables = []
    for engine in ("gymnasium", "rollout"):
        out = tmp_path / engine
        arguments = ["evaluate", str(run.path), "--out", str(out), "--engine", engine, "--workers", "1", *flags]
        main([*arguments, "--homeostasis", "none,dwam"])
        (scores,) = out.rglob("scores.csv")
        with scores.open() as file:
            tables.append([{**row, "run": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 12
    with pytest.raises(SystemExit) as refused:
        main(["evaluate", str(run.path), "--engine", "rollout", *flags, "--homeostasis", "none,oracle"])
    assert refused.value.code == 2
    assert not (run.path / "evaluations").exists()
