"""Faults on rows: the same bits in batches, alone, in NumPy, in PyTorch and in the wrappers of the suites."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeo_rl.degradations import DEGRADATIONS, EnvDegradation, build
from homeo_rl.degradations.array_fault import ArrayDegradation
from homeo_rl.degradations.draws import CounterDraws
from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.schedule import Schedule
from homeo_rl.errors import InputError, UsageError

KINDS = sorted(kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, ArrayDegradation))
WIDTH, ACTIONS = 9, 3
JOINTS = {"qpos": [0, 1, 2], "qvel": [3, 4]}
BOUNDS: dict[str, Any] = {"observation_bounds": (-3.0, 3.0), "action_bounds": (-1.0, [1.0, 1.0, 0.5]), "joints": JOINTS}
DIGESTS = json.loads((Path(__file__).parents[1] / "golden" / "degradations.json").read_text(encoding="utf-8"))
"""Of observations and executed actions of every kind, written before the kinds worked on rows."""


class Replay(gym.Env[Any, Any]):
    """Readings that do not depend on the actions; it remembers what was executed."""

    observation_structure = {"qpos": 3, "qvel": 4}  # noqa: RUF012  # as Gymnasium's environments have it

    def __init__(self, dtype: Any, actions: gym.Space[Any]) -> None:
        self.observation_space = gym.spaces.Box(-3, 3, (WIDTH,), dtype)
        self.action_space = actions
        self.executed: list[np.ndarray] = []

    def look(self) -> np.ndarray:
        return self.rng.normal(size=WIDTH).astype(self.observation_space.dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        return self.look(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.executed.append(np.array(action))
        return self.look(), 0.0, False, False, {}


@pytest.mark.parametrize("case", sorted(DIGESTS))
def test_wrappers_keep_their_published_bits(case: str) -> None:
    """With and without an onset, floats of both sizes, discrete actions, a reset that goes on with its generator."""
    kind, severity, onset, dtype, discrete, action_dtype = case.split()
    low, high = np.array([-1, -2, -1], action_dtype), np.array([1, 1, 3], action_dtype)
    box = gym.spaces.Box(low, high, dtype=np.dtype(action_dtype).type)
    env = Replay(np.dtype(dtype).type, gym.spaces.Discrete(5, start=2) if discrete == "True" else box)
    part = build({"kind": kind}, where="test")
    assert isinstance(part, EnvDegradation)
    wrapped, digest = part.wrap(env, float(severity), int(onset)), hashlib.sha256()

    def add(value: np.ndarray) -> None:
        digest.update(value.tobytes() + str(value.dtype).encode())

    rng = np.random.default_rng(5)
    for seed in (3, None, 8):
        add(wrapped.reset(seed=seed)[0])
        for _ in range(12):
            action: Any = int(rng.integers(2, 7)) if discrete == "True" else rng.uniform(-1, 1, 3).astype(np.float32)
            add(wrapped.step(action)[0])
    for executed in env.executed:
        add(executed)
    assert digest.hexdigest()[:16] == DIGESTS[case]


Course = list[tuple[np.ndarray, np.ndarray]]


def play(model: FaultModel, rows: list[int], *, steps: int = 25, dtype: Any = np.float32, width: int = WIDTH) -> Course:
    """Return what a model of ``rows`` makes of readings and actions; episodes end at random."""
    rng, course = np.random.default_rng(1), []
    count = max(64, *rows) + 1
    for _ in range(steps):
        x, a = (
            rng.normal(size=(count, width)).astype(dtype)[rows],
            rng.uniform(-1, 1, (count, ACTIONS)).astype(dtype)[rows],
        )
        done = (rng.random(count) < 0.08)[rows]
        inputs = (x, a, done) if model.backend.xp is np else tuple(torch.as_tensor(each) for each in (x, a, done))
        before = [each.tobytes() for each in (x, a)]
        seen, executed = model.observe(inputs[0]), model.act(inputs[1])
        assert seen.dtype == inputs[0].dtype
        assert executed.dtype == inputs[1].dtype
        assert before == [each.tobytes() for each in (x, a)], "inputs are not written"
        course.append((np.asarray(seen).copy(), np.asarray(executed).copy()))
        model.reset(inputs[2])
    return course


def same(one: Course, other: Course) -> bool:
    return all(
        a.tobytes() == b.tobytes() for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )  # fmt: skip


def rows_of(course: Course, row: int) -> Course:
    return [(x[row : row + 1], a[row : row + 1]) for x, a in course]


def varied(num_envs: int) -> dict[str, np.ndarray]:
    """Return a schedule that differs from row to row; the first row is healthy."""
    rows = np.arange(num_envs)
    return {"severity": rows / max(num_envs - 1, 1), "onset": rows % 5, "duration": 3 + rows % 11, "recovery": rows % 4}


@pytest.mark.parametrize("streams", ["counter", "suite"])
@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_a_batch_of_64_equals_64_singles(kind: str, streams: Any) -> None:
    faults = [{"kind": each} for each in (KINDS if kind == "all" else [kind])]
    times = varied(64)
    together = play(FaultModel(faults, 64, seed=5, schedule=Schedule(**times), streams=streams, **BOUNDS), [*range(64)])
    for row in range(64) if kind != "all" else (0, 1, 33, 63):
        single = Schedule(**{name: value[row] for name, value in times.items()})
        alone = play(FaultModel(faults, 1, seed=5 + row, schedule=single, streams=streams, **BOUNDS), [row])
        assert same(rows_of(together, row), alone), row
    plain = play(FaultModel([], 64), [*range(64)])
    assert same(rows_of(together, 0), rows_of(plain, 0)), "severity 0"
    assert not same(rows_of(together, 63), rows_of(plain, 63))


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    num_envs=st.integers(1, 9),
    width=st.integers(5, 12),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**31),
)
def test_numpy_equals_torch_and_seeds_reproduce(
    kinds: list[str], num_envs: int, width: int, dtype: Any, seed: int
) -> None:
    faults, rows = [{"kind": kind} for kind in kinds], [*range(num_envs)]
    options: dict[str, Any] = {"seed": seed, "schedule": Schedule(**varied(num_envs)), **BOUNDS}
    arrays = FaultModel(faults, num_envs, **options)
    first = play(arrays, rows, dtype=dtype, width=width)
    tensors = play(FaultModel(faults, num_envs, device="cpu", **options), rows, dtype=dtype, width=width)
    assert same(first, tensors)
    arrays.reset(seed=seed)
    assert same(first, play(arrays, rows, dtype=dtype, width=width)), "seeded again, in the same model"


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    device=st.sampled_from([None, "cpu"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    values=st.lists(st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3.0, -7e30]), min_size=10, max_size=10),
)
def test_severity_0_is_the_identity(kind: str, device: Any, dtype: Any, values: list[float]) -> None:
    """Also of numbers that are none, and in a row beside damaged ones."""
    model = FaultModel([{"kind": kind}], 2, device=device, schedule=Schedule(severity=[0.0, 1.0]), **BOUNDS)
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.array([values, [0.5] * 10]).astype(dtype)
        for _ in range(4):
            given_x = x if device is None else torch.as_tensor(x)
            call = model.act if model.faults[0].on_actions and x.shape[1] == ACTIONS else model.observe
            assert np.asarray(call(given_x))[0].tobytes() == x[0].tobytes()
            acts = given_x[:, :ACTIONS]
            assert np.asarray(model.act(acts))[0].tobytes() == np.ascontiguousarray(x[0, :ACTIONS]).tobytes()


@pytest.mark.parametrize("device", [None, "cpu"])
def test_onset_and_recovery_are_exact_to_the_step(device: Any) -> None:
    """Full severity from the onset on for the duration, then evenly less, then none; each row by its own clock."""
    schedule = Schedule(severity=[1.0, 0.5, 1.0], onset=[3, 0, 6], duration=[4, 2, 1], recovery=[3, 0, 1])
    model = FaultModel([{"kind": "obs-offset", "size": 1.0}, {"kind": "action-gain", "factor": 0.0}], 3,
                       schedule=schedule, device=device)  # fmt: skip
    severities, offsets, actions = [], [], []
    for step in range(12):
        x = np.zeros((3, 4))
        seen = model.observe(x if device is None else torch.as_tensor(x))
        executed = model.act(x[:, :2] + 1.0 if device is None else torch.as_tensor(x[:, :2] + 1.0))
        severities.append(np.asarray(model.severity()))
        offsets.append(np.abs(np.asarray(seen)).max(1))
        actions.append(1.0 - np.asarray(executed).max(1))
        if step == 8:
            model.reset([2])
    expected = np.array([
        [0, 0, 0, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0],
        [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0.5, 0, 0, 0, 0],
    ]).T  # fmt: skip
    for result in (severities, offsets, actions):
        np.testing.assert_array_equal(np.array(result), expected)


def test_delays_and_holds_count_from_the_onset() -> None:
    model = FaultModel([{"kind": "action-delay", "steps": 2}], 2, schedule=Schedule(onset=[0, 3], duration=4))
    executed = [model.act(np.full((2, 1), float(step)))[:, 0].tolist() for step in range(9)]
    assert [row[0] for row in executed] == [0, 0, 0, 1, 4, 5, 6, 7, 8]
    assert [row[1] for row in executed] == [0, 1, 2, 3, 3, 3, 4, 7, 8]
    model = FaultModel([{"kind": "action-hold", "probability": 1.0}], 1, schedule=Schedule(onset=2, duration=3))
    assert [float(model.act(np.full((1, 1), float(k)))[0, 0]) for k in range(7)] == [0, 1, 2, 2, 2, 5, 6]
    model = FaultModel([{"kind": "action-stuck", "count": 1}], 1, schedule=Schedule(onset=1))
    rows = np.array([model.act(np.full((1, 3), float(k)))[0] for k in range(4)])
    assert sorted(rows[3].tolist()) == [1.0, 3.0, 3.0]


def test_outliers_have_their_share_and_both_signs() -> None:
    model = FaultModel([{"kind": "obs-spikes", "probability": 0.2, "size": 3.0}], 200, schedule=Schedule(severity=0.5))
    errors = np.stack([model.observe(np.zeros((200, 5))) for _ in range(100)])
    assert set(np.unique(errors)) == {-3.0, 0.0, 3.0}
    assert (errors > 0).mean() == pytest.approx(0.05, abs=0.004)
    assert (errors < 0).mean() == pytest.approx(0.05, abs=0.004)


def test_rows_may_come_in_parts() -> None:
    """Calls for some rows are what calls for all are; a mask and indices reset the same."""
    faults = [{"kind": kind} for kind in KINDS]
    whole, parts = (FaultModel(faults, 6, seed=2, **BOUNDS) for _ in range(2))
    rng = np.random.default_rng(0)
    for step in range(12):
        x, rows = rng.normal(size=(6, WIDTH)), rng.permutation(6)
        expected, seen = whole.observe(x), np.zeros((6, WIDTH))
        for ids in (rows[:2], rows[2:].tolist()):
            seen[ids] = parts.observe(x[ids], ids)
        assert np.array_equal(seen, expected)
        if step % 4 == 3:
            whole.reset(np.isin(np.arange(6), rows[:2]))
            parts.reset(rows[:2])


def test_the_control_arm_is_healthy_and_keeps_the_clock() -> None:
    """It has the seeds, episodes and severities of its twin; what it returns is what came in."""
    faults = [{"kind": kind} for kind in KINDS]
    model = FaultModel(faults, 4, seed=9, schedule=Schedule(onset=2, duration=3), **BOUNDS)
    twin = model.twin()
    assert twin.describe() == {**model.describe(), "control": True}
    json.dumps(model.describe())
    model.reset(seed=4)
    twin = model.twin()
    assert twin.seeds == model.seeds == [4, 5, 6, 7]
    for _ in range(8):
        x = np.random.default_rng(0).normal(size=(4, WIDTH))
        assert np.array_equal(twin.observe(x), x)
        damaged = model.observe(x)
        assert np.array_equal(model.severity(), twin.severity())
        assert np.array_equal(damaged, x) == (not model.severity().any())


def test_compiled_numbers_are_those_of_the_reference() -> None:
    seeds = np.random.default_rng(0).integers(-(2**63), 2**63, (300, 1))
    compiled, reference = CounterDraws(seeds), CounterDraws(seeds, compiled=False)
    tensors = CounterDraws(torch.as_tensor(seeds))
    for step in range(-1, 40):
        now = np.full((300, 1), step)
        for draws in (compiled, reference):
            draws.move_to(now)
        tensors.move_to(torch.as_tensor(now))
        for columns in (1, 7, 32):
            for name in ("uniform", "normal"):
                one, two, three = (getattr(draws, name)(columns) for draws in (compiled, reference, tensors))
                assert one.tobytes() == two.tobytes() == three.numpy().tobytes()


def test_counted_numbers_are_uniform_normal_and_independent() -> None:
    """Over rows, steps, columns and draws, whose seeds and steps are neighbours."""
    draws, samples = CounterDraws(np.arange(500)[:, None]), []
    for step in range(50):
        draws.move_to(np.full((500, 1), step))
        samples.append(np.stack([draws.normal(8), draws.normal(8)]))
    z = np.array(samples)  # [steps, draws, rows, columns]
    assert abs(z.mean()) < 0.006
    assert z.std() == pytest.approx(1.0, abs=0.005)
    assert (z**4).mean() == pytest.approx(3.0, abs=0.05)
    assert (np.abs(z) > 3.0).mean() == pytest.approx(0.0027, abs=0.0004)
    assert np.abs(z).max() > 4.3
    for other in (z[1:] * z[:-1], z[:, 0] * z[:, 1], z[:, :, 1:] * z[:, :, :-1], z[..., 1:] * z[..., :-1]):
        assert abs(other.mean()) < 0.01
    draws.move_to(np.zeros((500, 1), np.int64))
    ranks = draws.ranks(6, np.full((500, 1), 2))
    assert np.array_equal(np.sort(ranks, 1), np.broadcast_to(np.arange(6), (500, 6)))
    assert np.allclose((ranks < 2).mean(0), 1 / 3, atol=0.07)
    assert set(draws.pick(np.array([4, 7, 9])).ravel().tolist()) == {4, 7, 9}


def test_episodes_differ_and_an_unused_reset_changes_nothing() -> None:
    model = FaultModel([{"kind": "obs-offset", "size": 1.0}], 40)
    first = model.observe(np.zeros((40, 5)))
    model.reset()
    model.reset()
    second = model.observe(np.zeros((40, 5)))
    assert not np.array_equal(first, second)
    again = FaultModel([{"kind": "obs-offset", "size": 1.0}], 40)
    again.reset()
    assert np.array_equal(again.observe(np.zeros((40, 5))), first)
    twice = FaultModel([{"kind": "obs-gaussian", "std": 1.0}] * 2, 1).observe(np.zeros((1, 4000)))
    assert twice.std() == pytest.approx(2.0**0.5, rel=0.05), "two faults of a kind are independent"


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_model_that_was_stored_continues(device: Any) -> None:
    model = FaultModel([{"kind": kind} for kind in KINDS], 5, device=device, **BOUNDS)
    play(model, [*range(5)])
    again = pickle.loads(pickle.dumps(model))
    assert same(play(model, [*range(5)]), play(again, [*range(5)]))


def test_a_wrapped_environment_can_be_copied() -> None:
    part = build({"kind": "obs-stuck"}, where="test")
    assert isinstance(part, EnvDegradation)
    env = part.wrap(Replay(np.float32, gym.spaces.Box(-1, 1, (3,))), 1.0)
    env.reset(seed=0)
    env.step(np.zeros(3))
    again = copy.deepcopy(env)
    assert np.array_equal(env.step(np.zeros(3))[0], again.step(np.zeros(3))[0])


def test_tensors_carry_no_graph_and_survive_inference_mode() -> None:
    model = FaultModel([{"kind": "obs-delayed"}, {"kind": "obs-drift"}], 2, device="cpu")
    with torch.inference_mode():
        model.observe(torch.ones(2, 3))
    seen = model.observe(torch.ones(2, 3, requires_grad=True))
    assert not seen.requires_grad
    model.reset(torch.tensor([True, False]))
    model.observe(torch.ones(2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FaultModel([{"kind": "obs-gausian"}], 2), "did you mean 'obs-gaussian'"),
        (lambda: FaultModel([{"kind": "friction"}], 2), "expected sensors or actuators that fail, got friction"),
        (lambda: FaultModel([{"kind": "pose"}], 2), "expected joints={'qpos'"),
        (lambda: FaultModel([], 2, seed=[1, 2, 3]), "seed: expected a number or 2 of them"),
        (lambda: FaultModel([], 2, schedule=Schedule(severity=[0.5])), "severity: expected a number or 2"),
        (lambda: FaultModel([], 2, schedule=Schedule(severity=1.5)), "severity: expected numbers from 0 to 1"),
        (lambda: FaultModel([], 2, schedule=Schedule(onset=-1)), "onset: expected whole numbers >= 0"),
        (lambda: FaultModel([], 2, streams="suite", device="cpu"), "streams: expected counter for tensors"),
        (lambda: FaultModel([], 2).reset([0], seed=3), "expected a seed for all rows"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_wrong_arrays_are_named() -> None:
    model = FaultModel([{"kind": "obs-gaussian"}, {"kind": "action-gain"}], 3)
    model.observe(np.zeros((3, 4)))
    for wrong, message in (
        (np.zeros(3), r"expected shape \[3, D\]"), (np.zeros((2, 4)), r"got \[2, 4\]"),
        (np.zeros((3, 5)), "expected 4 columns"), (np.zeros((3, 4), np.float32), "of float64 as before"),
        (torch.zeros(3, 4), "expected a ndarray, got Tensor"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            model.observe(wrong)
    with pytest.raises(InputError, match="expected floats, got int64"):
        model.act(np.zeros((3, 1), np.int64))
    with pytest.raises(InputError, match="expected rows from 0 to 2"):
        model.reset([3])
    with pytest.raises(InputError, match="expected rows from 0 to 2"):
        model.observe(np.zeros((1, 4)), np.array([-1]))
    with pytest.raises(InputError, match="expected indices of rows, got a mask"):
        model.observe(np.zeros((3, 4)), np.array([True, False, True]))
    for options, message in (
        ({"observation_bounds": ([0.0] * 3, [1.0] * 3)}, "bounds: expected 4 numbers"),
        ({"joints": {"qpos": [1, 4]}}, "pose: expected joints from 0 to 3, got"),
    ):
        with pytest.raises(UsageError, match=message):
            FaultModel([{"kind": "pose"}], 3, **{"joints": JOINTS, **options}).observe(np.zeros((3, 4)))
    with pytest.raises(UsageError, match="obs-offset: spread: expected 4 numbers"):
        FaultModel([{"kind": "obs-offset", "spread": [1.0, 2.0]}], 3).observe(np.zeros((3, 4)))
    with pytest.raises(InputError, match="expected a mask of 3 rows"):
        model.reset(np.array([True]))
