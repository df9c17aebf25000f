"""Environments as people write them are trained in and evaluated in, or refused in one line with the remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import field_envs
import gymnasium as gym
import numpy as np
import pytest
import torch
from cli_calls import call, last
from forked import call_forked
from gymnasium import spaces
from stable_baselines3 import PPO

from homeo_rl.agents.sb3.policies import SpikingActorCriticPolicy
from homeo_rl.cli import main
from homeo_rl.envs import time_limit
from homeo_rl.envs.actions import PlainBox, is_plain
from homeo_rl.envs.contract import Checked
from homeo_rl.envs.make import make_env
from homeo_rl.envs.protocol import as_bool
from homeo_rl.envs.replayable import Recorded
from homeo_rl.errors import EnvironmentFault, HomeoError, UsageError
from homeo_rl.run import Run
from homeo_rl.training.plan import TrainingPlan, prepare

SMALL = {"n_steps": 32, "batch_size": 32, "n_envs": 1, "agent_kwargs": {"hidden": [4]}, "net_arch": [4]}
NO_EVALUATION = ("--eval-freq", "-1")
WORDS = ["-params", "n_steps:32", "batch_size:32", "n_envs:1", "agent_kwargs:{hidden: [4]}", "net_arch:[4]"]
NOISY = """
name: noisy
version: 1
conditions:
  - name: clean
  - {name: dropped, severities: [1.0], degradations: [{kind: obs-dropped}]}
  - {name: delayed, severities: [1.0], degradations: [{kind: obs-delayed}, {kind: action-noise}]}
"""


def id_of(kind: type) -> str:
    return f"Field{kind.__name__}-v0"


def words(kind: type, out: Path, *more: str, algo: str = "ppo") -> list[str]:
    return [
        "train", "--env", id_of(kind), "--algo", algo, "--agent", "mlp", "-n", "32", "--out", str(out),
        "--no-progress", "--gym-packages", "field_envs", *(WORDS if algo == "ppo" else []), *(more or NO_EVALUATION),
    ]  # fmt: skip


def leave(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return int(leaving.value.code or 0)


# The contract, without a training.


@pytest.mark.parametrize("kind", field_envs.HANDLED)
def test_an_episode_follows_the_contract(kind: type) -> None:
    env = make_env(id_of(kind))
    for _ in range(2):
        seen, info = env.reset(seed=3)
        assert isinstance(info, dict)
        over = False
        while not over:
            assert env.observation_space.contains(seen)
            before = seen.copy()
            action = np.clip(env.action_space.sample() * 2, *bounds(env.action_space))
            following, reward, early, late, info = env.step(action)
            assert np.array_equal(before, seen)  # nobody writes what was given
            seen = following
            assert isinstance(reward, float)
            assert isinstance(early, bool)
            assert isinstance(late, bool)
            assert as_bool(info.get("is_success", True)) is not None
            assert "episode" not in info
            over = early or late
    env.close()


def bounds(space: Any) -> tuple[Any, Any]:
    return (space.low, space.high) if isinstance(space, spaces.Box) else (0, space.n - 1)


@pytest.mark.parametrize("kind", field_envs.FAULTY)
def test_a_broken_contract_is_named(kind: type) -> None:
    def play() -> None:
        env = make_env(id_of(kind))
        env.reset(seed=0)
        for _ in range(12):
            env.step(np.zeros(1, np.float32))

    with pytest.raises(EnvironmentFault, match=id_of(kind)) as fault:
        play()
    assert "\n" not in str(fault.value)
    if kind is field_envs.ShapeChanges:
        assert "step 7: observation: expected shape (3,), as the space says, got shape (1,)" in str(fault.value)
    if kind is field_envs.RaisesInStep:
        assert "step 10: KeyError: 'wheel\\nof the left'" in str(fault.value)
        assert isinstance(fault.value.__cause__, KeyError)
    if kind in (field_envs.FourValues, field_envs.NotGymnasium):
        assert "shimmy" in str(fault.value)
    if kind is field_envs.NoSeed:
        assert "super().reset(seed=seed)" in str(fault.value)


def test_an_environment_that_follows_the_contract_is_not_changed() -> None:
    """The action arrives as the same object; observation, reward and info are those that were given."""
    env = make_env("HalfCheetah-v5")
    kinds = []
    inner: Any = env
    while isinstance(inner, gym.Wrapper):
        kinds.append(type(inner).__name__)
        inner = inner.env
    assert kinds == ["FiniteGuard", "StabilityGuard", "TimeLimit", "OrderEnforcing", "Checked"]
    bare = gym.make("HalfCheetah-v5")
    pairs = [(env.reset(seed=4), bare.reset(seed=4))]
    for _ in range(5):
        action = np.full(6, 0.3, np.float32)
        pairs.append((env.step(action), bare.step(action)))
    for mine, theirs in pairs:
        assert mine[0].tobytes() == theirs[0].tobytes()
        assert repr(mine[1:]) == repr(theirs[1:])


def test_actions_that_arrive() -> None:
    arrived: list[Any] = []

    class Listener(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            arrived.append(action)
            return super().step(action)

    box = spaces.Box(np.array([[-3, 2], [0, -1]]), np.array([[5, 2], [1, 1]]), dtype=np.int16)
    env = PlainBox(Listener(with_space(box)))
    assert env.action_space == spaces.Box(np.array([-3, 0, -1], np.float32), np.array([5, 1, 1], np.float32))
    env.reset()
    for action in ([4.6, 0.2, -9.0], [-3.4, 0.6, 0.4]):
        env.step(np.array(action, np.float32))
        assert box.contains(arrived[-1])
    assert [one.tolist() for one in arrived] == [[[5, 2], [0, -1]], [[-3, 2], [1, 0]]]
    assert is_plain(spaces.Box(-0.4, 0.4, (17,), np.float32))
    assert not is_plain(spaces.Box(-1.0, 1.0, (1,), np.float64))


def with_space(space: Any) -> Any:
    env = field_envs.Plain()
    env.action_space = space
    return env


def test_success_is_yes_or_no() -> None:
    assert [as_bool(one) for one in (True, np.False_, 1, 0.0, np.ones((1, 1)))] == [True, False, True, False, True]
    assert [as_bool(one) for one in (None, 0.5, "yes", np.zeros(2), np.nan, 7, [])] == [None] * 7


@pytest.mark.parametrize("kind", [field_envs.OldGenerator, field_envs.OtherGenerator, field_envs.PythonGenerator])
def test_generators_of_every_kind_come_back(kind: type) -> None:
    first, second = (Recorded(make_env(id_of(kind))) for _ in range(2))
    first.reset(seed=5)
    for _ in range(2):
        first.reset()
        first.step(np.zeros(1, np.float32))
    told, arrays = first.snapshot()
    told = json.loads(json.dumps(told))  # as a checkpoint keeps it
    assert second.restore((told, arrays))
    assert first.step(np.zeros(1, np.float32))[0].tobytes() == second.step(np.zeros(1, np.float32))[0].tobytes()


def test_a_generator_that_does_not_tell_is_not_called_exact() -> None:
    first, second = (Recorded(make_env("FieldListSeen-v0")) for _ in range(2))
    first.reset(seed=5)
    first.unwrapped.np_random = object()  # type: ignore[assignment]
    assert first.snapshot()[0]["generator"] is None
    assert not second.restore(first.snapshot())


def test_wrappers_by_name(tmp_path: Path) -> None:
    named = {"gymnasium.wrappers.RescaleAction": {"min_action": -2, "max_action": 2}}
    env = make_env("FieldPlain-v0", {"env_wrapper": ["gymnasium.wrappers.FlattenObservation", named]})
    assert env.action_space.high.tolist() == [2.0]  # type: ignore[attr-defined]
    for wrong, said in (
        ("os.system", "expected a class of gymnasium.Wrapper"),
        ("gymnasium.wrappers.FlatenObservation", "did you mean 'FlattenObservation'"),
        ({"gymnasium.wrappers.RescaleAction": {}}, "check its arguments"),
        ("NoDots", "expected a dotted name"),
    ):
        with pytest.raises(UsageError, match=said):
            make_env("FieldPlain-v0", {"env_wrapper": wrong})
    bounded = {"env_wrapper": {"homeo_rl.envs.actions.BoundAction": {"low": -3, "high": 2}}}
    env = make_env("FieldUnbounded-v0", bounded)
    assert env.action_space == spaces.Box(-3.0, 2.0, (1,), np.float32)


def test_arguments_of_the_constructor(tmp_path: Path) -> None:
    for kwargs, said in (
        ({"wheels": 4}, "unexpected keyword argument.*--env-kwargs"),
        ({"max_episode_steps": 0}, "at least 1"),
    ):
        with pytest.raises(UsageError, match=said):
            make_env("FieldNeedsMode-v0", kwargs)
    assert make_env("FieldNeedsMode-v0").render_mode is None
    assert make_env("FieldNeedsMode-v0", {"render_mode": "human"}, render_mode="rgb_array").render_mode == "rgb_array"
    with pytest.raises(UsageError, match="expected one that takes render_mode"):
        make_env("FieldRaisesInInit-v0", render_mode="rgb_array")


def test_python_users_are_told() -> None:
    for kind, said in (
        (field_envs.StartDiscrete, "choices from 0 on.*make_env"),
        (field_envs.WholeBox, "expected floats.*make_env"),
        (field_envs.Pinned, "entry 1: expected low < high.*make_env"),
    ):
        with pytest.raises(UsageError, match=said):
            PPO(SpikingActorCriticPolicy, kind(), n_steps=32, batch_size=32, policy_kwargs={"agent": "mlp"})


# Commands.


@pytest.mark.parametrize("kind", field_envs.REFUSED)
def test_refused_before_anything_is_written(kind: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(words(kind, tmp_path / "run")) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    if kind in field_envs.FLATTENED:
        assert "--flatten-observations" in said[0]
    if kind is field_envs.Unbounded:
        assert "BoundAction" in said[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kind", [field_envs.FourValues, field_envs.NoSeed, field_envs.RaisesInInit, field_envs.NoReward]
)
def test_a_fault_at_the_first_step_leaves_nothing(
    kind: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(words(kind, tmp_path / "run")) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_later_fault_in_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, said in (
        (field_envs.RaisesInStep, "step 10: KeyError"),
        (field_envs.ShapeChanges, "step 7: observation"),
    ):
        assert leave(words(kind, tmp_path / kind.__name__)) == 3
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        assert f"homeo-rl: {id_of(kind)}: {said}" in told[0]


TRAINED = ["StartDiscrete", "WholeBox", "Pinned", "PoseWord", "PoseFirst", "SuccessMany", "EpisodeNumber", "LockInfo",
           "Worlds", "ListSeen", "CloseRaises", "OldGenerator"]  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_train_and_evaluate(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = getattr(field_envs, name)
    (tmp_path / "noisy.yaml").write_text(NOISY)
    call(*words(kind, tmp_path / "run", "--eval-freq", "32"), capsys=capsys)
    out, _ = call(
        "evaluate", tmp_path / "run", "--suite", tmp_path / "noisy.yaml", "--homeostasis", "none", "--episodes", "1",
        "--workers", "1", "--no-progress", "--json", capsys=capsys,
    )  # fmt: skip
    cells = last(out)["cells"]
    assert [cell["condition"] for cell in cells] == ["clean", "dropped", "delayed"]
    assert all(cell["mean"] == 20.0 for cell in cells)
    assert not (tmp_path / "run" / "evaluations" / "noisy_1" / "paths.json").exists()


@pytest.mark.parametrize("algo", ["sac", "td3"])
def test_pinned_entries_with_off_policy_algorithms(algo: str, tmp_path: Path) -> None:
    more = ["-params", "learning_starts:8", "batch_size:8", "agent_kwargs:{hidden: [4]}", "net_arch:[4]"]
    main([*words(field_envs.Pinned, tmp_path / "run", algo=algo), *more])
    for tensor in Run.open(tmp_path / "run").load_policy()[0].values():
        assert np.isfinite(tensor).all()


def test_flattened_by_a_flag_and_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(
        *words(field_envs.DictSeen, tmp_path / "run", "--flatten-observations", "--max-episode-steps", "7"),
        capsys=capsys,
    )
    run = Run.open(tmp_path / "run")
    assert run.spec.env_kwargs == {"env_wrapper": ["gymnasium.wrappers.FlattenObservation"], "max_episode_steps": 7}
    assert run.spec.controller is not None
    assert run.spec.controller.network.inputs == 7
    for more, length in (([], 7.0), (["--max-episode-steps", "5"], 5.0)):
        out, _ = call(
            "evaluate", run.path, "--suite", "clean", "--homeostasis", "none", "--episodes", "1", "--workers", "1",
            "--no-progress", "--json", *more, capsys=capsys,
        )  # fmt: skip
        assert last(out)["cells"][0]["mean"] == length


def test_endless_episodes_are_cut_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit.DefaultLimit.__init__, "__defaults__", (50,))
    monkeypatch.setattr(time_limit, "_told", set())
    call(*words(field_envs.Endless, tmp_path / "run", "--eval-freq", "32"), capsys=capsys)
    monkeypatch.setattr(time_limit, "_told", set())
    out, said = call(
        "evaluate", tmp_path / "run", "--suite", "clean", "--homeostasis", "none", "--episodes", "2", "--workers", "1",
        "--no-progress", "--json", capsys=capsys,
    )  # fmt: skip
    assert last(out)["cells"][0]["mean"] == 50.0
    assert said.count("FieldEndless-v0 sets no limit on the steps of an episode") == 1
    assert "--max-episode-steps" in said


def test_a_film_of_an_environment_that_needs_its_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(*words(field_envs.NeedsMode, tmp_path / "run", "--env-kwargs", "render_mode:rgb_array"), capsys=capsys)
    call("enjoy", tmp_path / "run", "--video", tmp_path / "film.gif", "--steps", "3", capsys=capsys)
    assert (tmp_path / "film.gif").stat().st_size > 100


def test_the_command_as_an_outsider_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console script, another folder; workers and evaluations in processes say one line, without a traceback."""
    script = Path(sys.executable).parent / "homeo-rl"
    arguments = words(field_envs.RaisesInStep, tmp_path / "run", "--vec-env", "workers")
    found = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 3
    assert len(found.stderr.splitlines()) == 1
    assert "FieldRaisesInStep-v0: step 10: KeyError" in found.stderr


# Environments that nobody thought of.

OBSERVATIONS: list[Any] = [
    spaces.Box(-1, 1, (2,), np.float32), spaces.Box(-np.inf, np.inf, (3,), np.float64),
    spaces.Box(0, 9, (2,), np.int32), spaces.Discrete(4), spaces.MultiBinary(2), spaces.Box(0, 1, (2, 2)),
    spaces.Dict({"a": spaces.Discrete(2)}),
]  # fmt: skip
ACTIONS: list[Any] = [
    spaces.Discrete(2), spaces.Discrete(3, start=4), spaces.Box(-1, 1, (1,)), spaces.Box(-3, 4, (2,), np.int8),
    spaces.Box(-0.13, 0.37, (2,), np.float64), spaces.Box(-np.inf, 1, (1,)), spaces.MultiDiscrete([2, 2]),
    spaces.Box(np.array([0, 1], np.float32), np.array([1, 1], np.float32)),
]  # fmt: skip
VALUES: list[Any] = [None, 1, 2.5, np.float32(1), np.ones(1), np.zeros(3), "word", [1], True, np.inf, object()]
NAMES = [
    "pose",
    "goal",
    "collision",
    "is_success",
    "success",
    "episode",
    "time",
    "path_length",
    "ranges",
    "x",
    "unstable",
]


class Drawn(gym.Env[Any, Any]):
    """An environment that chance wrote."""

    def __init__(self, number: int = 0) -> None:
        draw = np.random.default_rng(number)

        def one(values: list[Any]) -> Any:
            return values[int(draw.integers(len(values)))]

        self.observation_space, self.action_space = one(OBSERVATIONS), one(ACTIONS)
        self.usual, self.length = one([1.0, 1.0, 1.0, *VALUES]), int(draw.integers(1, 30))
        self.info = {one(NAMES): one(VALUES) for _ in range(int(draw.integers(4)))}
        self.over = one([True, True, np.True_, 1, np.array([True]), "yes"])
        self.shape_at = int(draw.integers(200))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), self.info

    def step(self, action: Any) -> Any:
        if not self.action_space.contains(action):
            raise AssertionError(f"outside: {action!r}")
        self.t += 1
        seen = self.observation_space.sample() if self.t != self.shape_at else np.zeros(9)
        return seen, self.usual, False, self.over if self.t >= self.length else False, self.info


gym.register("Drawn-v0", entry_point=Drawn)


def live(number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / str(number)
    arguments = ["train", "--env", "Drawn-v0", "--env-kwargs", f"number:{number}", "--agent", "mlp", "-n", "32",
                 "--eval-freq", "-1", "--no-progress", "--flatten-observations", "--out", str(out), *WORDS]  # fmt: skip
    for command in (arguments, ["evaluate", str(out), "--suite", "quick", "--homeostasis", "none", "--episodes", "1",
                                "--workers", "1", "--no-progress"]):  # fmt: skip
        code = 0
        try:
            main(command)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr().err
        assert code in (0, 2, 3, 4), (number, code, said)  # 4: a reward of infinity
        assert len(said.splitlines()) <= 3, (number, said)
        assert "outside" not in said, (number, said)  # every action was one of the environment's
        if code:
            return


def test_environments_of_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        live(number, tmp_path, capsys)


@pytest.mark.long
def test_many_environments_of_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(300):
        live(number, tmp_path, capsys)


@pytest.mark.long
@pytest.mark.parametrize("kind", [*field_envs.HANDLED, *field_envs.REFUSED, *field_envs.FAULTY])
def test_every_case_with_every_command(kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing hangs, and nobody sees a traceback."""
    run = str(tmp_path / "run")
    grid = {"train": {"env": id_of(kind), "agent": "mlp", "n_timesteps": 32, "params": SMALL, "eval_freq": -1,
                      "gym_packages": ["field_envs"]}, "seeds": 1, "evaluate": {"episodes": 1}}  # fmt: skip
    (tmp_path / "grid.yml").write_text(json.dumps(grid))
    commands = [
        words(kind, Path(run), "--eval-freq", "32"),
        ["evaluate", run, "--episodes", "1", "--homeostasis", "none", "--no-progress"],
        ["enjoy", run, "--video", str(tmp_path / "film.gif"), "--steps", "3"],
        ["report", run, "--out", str(tmp_path / "page.html"), "--no-progress"],
        ["sweep", str(tmp_path / "grid.yml"), "--out", str(tmp_path / "sweep"), "--workers", "1", "--no-progress"],
        ["tune", "--env", id_of(kind), "--agent", "mlp", "-n", "32", "--n-trials", "1", "--seeds", "1", "--episodes",
         "1", "--gym-packages", "field_envs", "--out", str(tmp_path / "tune"), "--workers", "1", "--no-progress",
         "-params", "n_envs:1", "n_steps:32", "batch_size:32"],
    ]  # fmt: skip
    for command in commands:
        found = call_forked(*command, cwd=tmp_path, timeout=300)
        assert "Traceback" not in found.stdout + found.stderr, (command, found.stderr)
        assert found.returncode in (0, 1, 2, 3), (command, found.stderr)


def test_the_plan_checks_wrappers_before_anything_is_written(tmp_path: Path) -> None:
    plan = TrainingPlan(
        algo="ppo", env="FieldPlain-v0", out=tmp_path / "run", steps=32, hyperparams=SMALL,
        env_kwargs={"env_wrapper": "nowhere.Wrapper"},
    )  # fmt: skip
    with pytest.raises(HomeoError, match="nowhere"):
        prepare(plan)
    assert not list(tmp_path.iterdir())


def test_the_check_is_cheap() -> None:
    """What `Checked` adds to a step of an environment that follows the contract: a few microseconds at most."""
    import timeit

    bare = field_envs.Plain()
    env, action = Checked(bare), np.zeros(1, np.float32)
    env.reset(seed=0)
    times = [min(timeit.repeat(lambda one=one: one.step(action), number=500, repeat=5)) / 500 for one in (bare, env)]
    assert times[1] - times[0] < 50e-6
    assert torch.get_num_threads() == 1
