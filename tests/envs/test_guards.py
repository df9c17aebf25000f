"""Faults in numbers: found in the step they happen in, named, survived where that is right, and never stored."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.numpy
import torch
import toy_envs
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from stable_baselines3.common.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.sb3.vec_env import GymVecEnv
from homeo_rl.agents.session import DECISIONS_BETWEEN_CHECKS, Session
from homeo_rl.cli import main
from homeo_rl.degradations import load_suite
from homeo_rl.envs.make import make_env, make_vector
from homeo_rl.errors import BadUpdate, NumericalFault
from homeo_rl.evaluation.evaluate import Result, evaluate
from homeo_rl.evaluation.metrics import COLUMNS
from homeo_rl.evaluation.plan import Plan
from homeo_rl.homeostasis import LayerReference, make
from homeo_rl.numerics.limits import LIMIT, wrong_entry
from homeo_rl.report import build, read_scores
from homeo_rl.run import Run
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.logger import TrainingLogger
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

SMALL = {"agent_kwargs": {"hidden": [8, 8]}, "net_arch": [8]}
ON = {**SMALL, "n_steps": 32, "batch_size": 32, "n_epochs": 2, "n_envs": 2}
A2C = {**SMALL, "n_steps": 8, "n_envs": 2}
OFF = {**SMALL, "learning_starts": 40, "batch_size": 16, "buffer_size": 150}

ABSURD = "dwam-paper:eta=1e30:trust=1e30"
"""A mechanism without bounds of its own, but for the guard."""


class Hurt(toy_envs.Point):
    """A point whose observation or reward is ``value`` at step ``at`` since it was made."""

    said = ""

    def __init__(self, render_mode: str | None = None, field: str = "reward", value: str = "0", at: int = 0) -> None:
        super().__init__(render_mode)
        self.field, self.value, self.left = field, float(value), at

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        self.left -= 1
        if self.left == 0:
            entry = int(self.np_random.integers(3))
            where = f" entry {entry}" if self.field == "observation" else ""
            Hurt.said = f"Hurt-v0: step {self.t}: {self.field}{where} is {self.value:g}"
            if self.field == "observation":
                observation[entry] = self.value
            else:
                reward = self.value
        return observation, reward, *rest  # type: ignore[return-value]


gym.register("Hurt-v0", entry_point=Hurt)


def plan(algo: str, env: str, out: Path, steps: int = 160, agent: str = "", **fields: Any) -> TrainingPlan:
    hyperparams = {**{"ppo": ON, "recurrent_ppo": ON, "a2c": A2C}.get(algo, OFF), **fields.pop("hyperparams", {})}
    agent = agent or ("popsan" if algo.startswith(("recurrent_", "batchnorm_")) else "mlp")
    return TrainingPlan(
        algo=algo, env=env, out=out, agent=agent, steps=steps, hyperparams=hyperparams, seed=3,
        **{"save_freq": 32, "eval_freq": -1, **fields},
    )  # fmt: skip


def scalars(folder: Path, tag: str | None = None) -> dict[str, list[float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()["scalars"] if tag is None else [tag]
    return {name: [event.value for event in events.Scalars(name)] for name in tags}


def stored(folder: Path) -> int:
    """Check that no file below ``folder`` holds a number that is not finite; return how many files were read."""

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    read = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        arrays: dict[str, Any] = {}
        if path.suffix == ".safetensors":
            arrays = safetensors.numpy.load(path.read_bytes())
        elif path.suffix == ".npz":
            arrays = dict(np.load(path))
        elif path.suffix == ".json":
            json.loads(path.read_text(), parse_constant=refuse)
        elif path.suffix == ".csv":
            assert not re.search(r"\b(nan|inf)\b", path.read_text(), re.IGNORECASE), path
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in (name for name in archive.namelist() if name.endswith("policy.pth")):
                    with archive.open(name) as file:
                        arrays |= {k: v.numpy() for k, v in torch.load(file, weights_only=True).items()}
        elif path.name.startswith("events.out"):
            arrays = {tag: np.array(values) for tag, values in scalars(path).items()}
        else:
            continue
        for name, array in arrays.items():
            assert np.isfinite(array).all(), (path, name)
        read += 1
    return read


# Environments.


@pytest.mark.parametrize("field", ["observation", "reward"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e30"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_bad_number_stops_the_training_in_its_step(tmp_path: Path, algo: str, value: str, field: str) -> None:
    seed = sum(map(ord, algo + value + field))
    at = int(np.random.default_rng(seed).integers(2, 75))  # before learning begins, and after; two environments share
    fault = {"field": field, "value": value, "at": at}
    with pytest.raises(NumericalFault) as told:
        train(plan(algo, "Hurt-v0", tmp_path / "run", env_kwargs=fault))
    assert str(told.value).startswith(Hurt.said), (str(told.value), Hurt.said)
    assert stored(tmp_path / "run") >= 3
    load_controller(Run.open(tmp_path / "run"))  # the policy of that moment is sound


def test_the_command_says_so_and_leaves_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While it is evaluated, a training does not see the numbers itself."""
    with pytest.raises(SystemExit) as left:
        main([
            "train", "--algo", "td3", "--env", "Hurt-v0", "--env-kwargs", "field:observation", "value:'nan'", "at:45",
            "-n", "200", "--out", str(tmp_path / "run"), "--eval-freq", "40", "--no-progress",
            "-params", "learning_starts:20", "batch_size:8", "agent_kwargs:{hidden: [8, 8]}",
        ])  # fmt: skip
    assert left.value.code == 4
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"homeo-rl: {Hurt.said}")
    assert stored(tmp_path / "run") >= 3


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (0.5, None), (LIMIT, None), (7, None), (True, None), (-2 * LIMIT, ()), (10**400, ()), (np.float32(np.nan), ()),
        (np.zeros((0, 3)), None), (np.array([1, 10**17]), None), ({"a": np.nan}, None),
        (np.array([0.0, -1e30, np.nan], dtype=np.float32), (1,)), (np.array([[1.0, 2.0], [np.inf, 3.0]]), (1, 0)),
        (np.array([1.0, 60_000.0], dtype=np.float16), None), (np.array([1.0, np.inf], dtype=np.float16), (1,)),
    ],
)  # fmt: skip
def test_which_numbers_are_wrong(value: Any, place: tuple[int, ...] | None) -> None:
    found = wrong_entry(value)
    assert (None if found is None else found[0]) == place


def test_actions_are_checked_too() -> None:
    env = make_env("toy_envs:Point-v0")
    env.reset(seed=0)
    with pytest.raises(NumericalFault, match=r"Point-v0: step 1: action entry 1 is 1e\+16; expected finite numbers"):
        env.step(np.array([0.0, 1e16]))


@pytest.mark.parametrize("what", ["reward", "observation", "last observation"])
def test_robots_side_by_side(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The observation that ends an episode is told apart; the step counts from the robot's own beginning."""
    vector = make_vector("homeo_rl/Navigation-v0", 3, {"max_episode_steps": 4})
    assert vector is not None
    envs, step = GymVecEnv(vector), vector.step

    def spoiled(actions: np.ndarray) -> Any:
        observations, rewards, terminated, truncated, infos = step(actions)
        done = (terminated | truncated).any()
        if what == "reward" and not done:
            rewards[1] = -1e30
        elif what == "observation" and not done:
            observations[1, 5] = np.nan
        elif what == "last observation" and done:
            infos["final_obs"][1] = np.full_like(infos["final_obs"][1], np.inf)
        return observations, rewards, terminated, truncated, infos

    envs.reset()
    for _ in range(6):
        envs.step(np.zeros((3, 2)))
    monkeypatch.setattr(vector, "step", spoiled)
    said = {
        "reward": "step 3: reward of robot 1 is -1e",
        "observation": "step 3: observation of robot 1, entry 5, is nan",
        "last observation": "step 4: observation of robot 1, entry 0, is inf",
    }
    if what == "last observation":
        envs.step(np.zeros((3, 2)))
    with pytest.raises(NumericalFault, match=said[what]):
        envs.step(np.zeros((3, 2)))


# MuJoCo.


def blow_up(env: Any, part: str = "qvel", value: float = 1e11) -> None:
    """Put one absurd number into a simulation, as a wild contact does."""
    state = {"qpos": env.unwrapped.data.qpos.copy(), "qvel": env.unwrapped.data.qvel.copy()}
    state[part][0] = value
    env.unwrapped.set_state(**state)


@pytest.mark.filterwarnings("ignore:.*reward is a.*:UserWarning")  # Gymnasium's checker sees what we do not pass on
@pytest.mark.parametrize("name", ["InvertedPendulum-v5", "HalfCheetah-v5"])
@pytest.mark.parametrize(("part", "value"), [("qvel", 1e11), ("qvel", np.nan), ("qpos", -1e11), ("qpos", np.inf)])
def test_instability_ends_the_episode_in_that_step(
    name: str, part: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = make_env(name)
    nothing = np.zeros(env.action_space.shape or ())
    for first in (True, False):  # in the first step time cannot go back; afterwards all is as before
        env.reset(seed=0)
        before = env.reset(seed=0)[0] if first else env.step(nothing)[0]
        blow_up(env, part, value)
        observation, reward, terminated, truncated, info = env.step(nothing)
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert info == {"unstable": f"BAD{part.upper()}"}
        assert np.array_equal(observation, before)
    env.reset(seed=0)
    for _ in range(10):
        assert "unstable" not in env.step(nothing)[4]
    assert not list(tmp_path.iterdir()), "MuJoCo left a log"


def test_other_ways_to_lose_a_simulation() -> None:
    env = make_env("HalfCheetah-v5")
    env.unwrapped.model.actuator_ctrllimited[:] = 0  # type: ignore[attr-defined]
    env.reset(seed=0)
    assert env.step(np.full(6, 1e12))[4] == {"unstable": "BADCTRL"}, "MuJoCo put zeros in their place"
    env.reset(seed=0)
    env.step(np.zeros(6))
    env.unwrapped.data.time = 0.0  # type: ignore[attr-defined]
    env.unwrapped.data.warning[0].number += 1  # type: ignore[attr-defined]  # full buffers are no instability
    assert "unstable" not in env.step(np.zeros(6))[4]
    env.unwrapped.data.time = -1.0  # type: ignore[attr-defined]
    assert env.step(np.zeros(6))[4] == {"unstable": "RESET"}


def blow_up_now_and_then(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> list[int]:
    """Let simulations of this process blow up before the given steps, counted over all; return where that happened."""
    simulate, count, done = MujocoEnv.do_simulation, [0], []

    def now_and_then(self: Any, *arguments: Any) -> None:
        count[0] += 1
        if count[0] in steps:
            done.append(count[0])
            blow_up(self)
        simulate(self, *arguments)

    monkeypatch.setattr(MujocoEnv, "do_simulation", now_and_then)
    return done


@pytest.mark.parametrize(("algo", "name"), [("ppo", "InvertedPendulum-v5"), ("sac", "HalfCheetah-v5")])
def test_training_goes_on_after_an_instability(
    algo: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = blow_up_now_and_then(monkeypatch, {30, 71, 110, 131})
    run = train(plan(algo, name, tmp_path / "run", 160, "popsan"))
    assert len(done) == 4
    logged = scalars(next((run.path / "tb").iterdir()))["env/unstable"]
    assert logged[-1] == 4
    assert logged == sorted(logged)
    monitors = [path.read_text().splitlines()[2:] for path in sorted(run.path.glob("*.monitor.csv"))]
    lengths = [int(row.split(",")[1]) for rows in monitors for row in rows]
    assert len(lengths) >= 4
    if name == "HalfCheetah-v5":  # nothing else ends its episodes so soon
        assert lengths == [30, 41, 39, 21]
    assert stored(run.path) >= 4


def evaluated(run: Run, *arms: str, episodes: int = 3, num_envs: int = 3) -> tuple[Result, list[dict[str, str]]]:
    what = Plan(suite=load_suite("clean"), arms=arms, episodes=episodes, seed=0, calibration_episodes=1)
    result = evaluate(run, what, workers=1, num_envs=num_envs)
    with (result.folder / "scores.csv").open() as file:
        return result, list(csv.DictReader(file))


def test_an_unstable_episode_is_marked_and_reported(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("InvertedPendulum-v5")
    _, whole = evaluated(run, "none", num_envs=1)
    assert [row["unstable"] for row in whole] == ["0", "0", "0"]
    begin = sum(int(row["length"]) for row in whole[:1])
    monkeypatch.undo()
    done = blow_up_now_and_then(monkeypatch, {begin + 2})  # the calibration is stored: in the second episode
    result, rows = evaluated(run, "none", num_envs=1)
    assert len(done) == 1
    assert [row["unstable"] for row in rows] == ["0", "1", "0"]
    assert (rows[1]["length"], float(rows[1]["return"])) == ("2", 1.0)
    assert [row["rolled_back"] for row in rows] == ["", "", ""]
    report = build([result.folder], tmp_path)
    assert report.cells[0].unstable == 1
    assert "Unstable simulations: 1 of 3 episodes" in report.page.read_text()
    assert "none clean 1" in report.page.read_text()


def test_where_nothing_is_simulated_there_is_nothing_to_say(make_run: Callable[..., Run], tmp_path: Path) -> None:
    result, rows = evaluated(make_run(), "none", "dwam")
    assert {row["unstable"] for row in rows} == {""}
    assert [row["rolled_back"] for row in rows] == [""] * 3 + ["0"] * 3
    page = build([result.folder], tmp_path).page.read_text()
    assert "nstable" not in page
    assert "wrong" not in page


@pytest.mark.parametrize("columns", [16, 18])
def test_older_tables_are_read(make_run: Callable[..., Run], columns: int) -> None:
    result, _ = evaluated(make_run(), "none")
    path = result.folder / "scores.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    path.write_text("".join(",".join(row[:columns]) + "\n" for row in rows))
    read = read_scores(path)
    assert [row.total for row in read] == [float(row[6]) for row in rows[1:]]
    assert all(np.isnan([row.unstable, row.rolled_back]).all() for row in read)


# Updates.


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_an_absurd_learning_rate_is_caught_in_its_first_update(algo: str, tmp_path: Path) -> None:
    rate = {"learning_rate": 1e30}
    on = "step 64: update of the policy"
    first = {"ppo": on, "recurrent_ppo": on, "a2c": "step 16: update of the policy"}
    with pytest.raises(
        BadUpdate, match=first.get(algo, "step 41: update of the (critic|entropy|actor_target)")
    ) as told:
        train(plan(algo, "Pendulum-v1", tmp_path / "run", hyperparams=rate, save_freq=-1))
    assert re.search(r"parameter \S+ reaches -?\S+e\+\d\d; expected finite numbers within 1e\+15", str(told.value))
    assert stored(tmp_path / "run") >= 1
    assert not (tmp_path / "run" / "policy").exists(), "there was none yet, and this one is not worth it"


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_what_was_saved_before_is_kept_and_gone_on_from(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = ALGORITHMS[algo].classes()[0]
    whole = train(plan(algo, "Pendulum-v1", tmp_path / "whole", 320))
    calls, learn = [0], kind.train

    def worse(self: Any, *arguments: Any, **named: Any) -> None:
        calls[0] += 1
        if self.num_timesteps >= 130:
            self.lr_schedule = lambda _: np.nan
        learn(self, *arguments, **named)

    mine = plan(algo, "Pendulum-v1", tmp_path / "cut", 320)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "train", worse)
        with pytest.raises(BadUpdate, match="reaches nan"):
            train(mine)
    assert stored(mine.out or tmp_path) >= 5
    policy = load_controller(Run.open(tmp_path / "cut"))
    assert all(bool((value.abs() < 1e3).all()) for name, value in policy.state_dict().items() if "count" not in name)
    assert train(mine).spec.digest == whole.spec.digest


def test_a_huge_gradient_is_not_let_into_the_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam would square it, and the weights would never move again."""
    step = torch.optim.Adam.step

    def pushed(self: Any, *arguments: Any) -> Any:
        self.param_groups[0]["params"][0].grad.flatten()[0] = 1e16
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", pushed)
    with pytest.raises(BadUpdate, match=r"update of the critic: gradient of parameter \S+ reaches 1e\+16"):
        train(plan("td3", "Pendulum-v1", tmp_path / "run", hyperparams={"learning_rate": 1e-9}))


def test_losses_and_other_figures(tmp_path: Path) -> None:
    class Model:
        num_timesteps = 7

    logger = TrainingLogger(Model(), Logger(None, []), planned=10)  # type: ignore[arg-type]
    for value in (float("nan"), np.float32("inf")):
        logger.record("rollout/ep_rew_mean", value)
        with pytest.raises(BadUpdate, match="step 7: train/value_loss is"):
            logger.record("train/value_loss", value)
    logger.record("train/value_loss", 0.5)
    assert logger.name_to_value == {"train/value_loss": 0.5}


# Plasticity.


def session(controller: Controller, arm: str, slots: int) -> Session:
    network = controller.network
    sizes = [layer.weight.shape[0] for layer in network.parameters_of_layers()]
    references: tuple[LayerReference, ...] = network.references(  # type: ignore[union-attr]
        [torch.full((n,), 0.3) for n in sizes], [torch.full((n,), 0.12) for n in sizes]
    )
    found = Session(controller, slots, plugin=make(arm), references=references)
    for slot in range(slots):
        found.begin(slot, np.random.default_rng(slot))
    return found


def actions(acting: Session, steps: int = 200, hook: Callable[[int], None] = lambda _: None) -> np.ndarray:
    seen = np.random.default_rng(5).normal(size=(steps, acting.slots, acting.controller.spec.network.inputs))
    done = []
    for index, x in enumerate(seen):
        done.append(acting.act(x).copy())
        hook(index)
    return np.stack(done)


@pytest.mark.parametrize(
    "arm", [ABSURD, "dwam-paper:tau=nan", "linear:eta=1e30:trust=1e30:target=bias", "linear:trust=nan"]
)
def test_an_absurd_mechanism_is_rolled_back(make_run: Callable[..., Run], arm: str) -> None:
    controller = load_controller(make_run())
    before = [value.clone() for value in controller.state_dict().values()]
    acting = session(controller, arm, 3)
    assert np.isfinite(actions(acting)).all()
    assert min(acting.rolled_back) > 0
    assert np.isfinite(acting.drift()).all()
    assert all(map(torch.equal, before, controller.state_dict().values()))
    acting.begin(1, np.random.default_rng(1))
    assert acting.rolled_back[1] == 0
    acting.select([2, 0])
    assert len(acting.rolled_back) == 2


def test_the_trust_region_holds_an_absurd_rate_by_itself(make_run: Callable[..., Run]) -> None:
    acting = session(load_controller(make_run()), "dwam-paper:eta=1e30", 2)
    assert np.isfinite(actions(acting)).all()
    assert acting.rolled_back == [0, 0]
    assert 0 < acting.drift().max() <= 0.5


@pytest.mark.parametrize(
    "arm", ["dwam-paper", "dwam-paper:eta=1e-2:scope=run", "linear", "linear:target=bias", "bdett"]
)
@pytest.mark.parametrize("overrides", [{}, {"membrane": "episode"}])
def test_the_guard_changes_nothing_where_nothing_is_wrong(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, arm: str, overrides: dict[str, Any]
) -> None:
    controller = load_controller(make_run(overrides=overrides))
    guarded = session(controller, arm, 3)
    found = actions(guarded)
    assert guarded.rolled_back == [0, 0, 0]
    monkeypatch.setattr(Session, "_guard", lambda self: None)
    assert np.array_equal(found, actions(session(controller, arm, 3)))


@pytest.mark.parametrize("key", ["m", "delta"])
def test_one_slot_is_rolled_back_and_the_others_do_not_notice(make_run: Callable[..., Run], key: str) -> None:
    """A neuron's own state is looked at in every decision, matrices once in `DECISIONS_BETWEEN_CHECKS`."""
    controller = load_controller(make_run())
    whole = actions(session(controller, "dwam-paper:eta=1e-2", 3))
    acting, seen = session(controller, "dwam-paper:eta=1e-2", 3), []

    @torch.inference_mode()
    def spoil(index: int) -> None:
        if index == 29:
            acting.state.adaptation[1][key][1, 0] = np.nan if key == "m" else 1e12
        seen.append(list(acting.rolled_back))

    found = actions(acting, hook=spoil)
    assert np.array_equal(found[:, [0, 2]], whole[:, [0, 2]])
    assert np.isfinite(found).all()
    noticed = seen.index([0, 1, 0])
    assert noticed == (30 if key == "m" else 2 * DECISIONS_BETWEEN_CHECKS)
    assert seen[-1] == [0, 1, 0]


def test_rolling_back_does_not_depend_on_what_runs_beside_it(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    texts = []
    for num_envs in (1, 2, 5):
        result, rows = evaluated(run, "none", ABSURD, episodes=5, num_envs=num_envs)
        texts.append((result.folder / "scores.csv").read_text())
    assert len(set(texts)) == 1
    assert [row["rolled_back"] == "" for row in rows] == [True] * 5 + [False] * 5
    assert all(int(row["rolled_back"]) > 0 for row in rows[5:])
    page = build([result.folder], tmp_path).page.read_text()
    assert f"Adaptations that went wrong and were started again: {ABSURD} clean" in page


def test_training_goes_on_after_a_roll_back(tmp_path: Path) -> None:
    mine = plan(
        "ppo", "Pendulum-v1", tmp_path / "run", 1280, "popsan", homeostasis_in_training=ABSURD,
        hyperparams={"n_steps": 64, "batch_size": 64, "n_epochs": 1}, save_freq=-1,
    )  # fmt: skip
    run = train(mine)
    logged = scalars(next((run.path / "tb").iterdir()))["homeo/rolled_back"]
    assert logged[0] == 0, "before the set point is known nothing adapts"
    assert logged[-1] > 0
    assert stored(run.path) >= 3
    assert train(replace(mine, out=tmp_path / "again")).spec.digest == run.spec.digest
