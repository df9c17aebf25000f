"""Supervised workers: the same numbers as in one process, and nothing that a worker does can hang the training."""

from __future__ import annotations

import gc
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_envs as faulty
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from trainings import CASES, ON, Cut, cut_at, files_of

from homeo_rl.agents.workers.supervised import SupervisedVecEnv
from homeo_rl.cli import main
from homeo_rl.envs.env_factory import Recipe
from homeo_rl.errors import EnvironmentFault, NumericalFault, UsageError
from homeo_rl.run import Run
from homeo_rl.training.resume import checkpointer
from homeo_rl.training.train import train

FAULTY = Recipe("Faulty-v0", modules=("faulty_envs",))
GENEROUS = 20.0
"""Seconds within which something bounded has to be over on a machine that is busy with other things."""


@pytest.fixture
def workers() -> Iterator[Callable[..., SupervisedVecEnv]]:
    """Return a maker of workers that are closed after the test."""
    made: list[SupervisedVecEnv] = []

    def make(recipe: Recipe = FAULTY, count: int = 3, **fields: Any) -> SupervisedVecEnv:
        made.append(SupervisedVecEnv(recipe, count, **fields))
        return made[-1]

    yield make
    for env in made:
        env.close()


def dummy(recipe: Recipe, count: int = 3) -> DummyVecEnv:
    return DummyVecEnv([lambda: recipe.make(Monitor)] * count)


def same(a: Any, b: Any) -> bool:
    """Whether two results are equal to the last bit, the times that Monitor tells apart."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(key == "t" or same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


def at(env: SupervisedVecEnv, **how: int) -> np.ndarray:
    """Actions by which worker 1 does something, as in ``at(env, w1=faulty.KILL)``."""
    actions = np.zeros((env.num_envs, 1), dtype=np.float32)
    for name, what in how.items():
        actions[int(name[1:])] = what
    return actions


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = GENEROUS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


# The same numbers as in one process.


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "InvertedPendulum-v5", "CartPole-v1", "Faulty-v0"])
def test_the_same_as_in_one_process(env_id: str, workers: Callable[..., SupervisedVecEnv], tmp_path: Path) -> None:
    recipe = Recipe(env_id, modules=("faulty_envs",))
    ours, theirs = workers(recipe), dummy(recipe)
    for index, env in enumerate(theirs.envs):
        env.env.results_writer = None
        ours.monitor_to(index, str(tmp_path / f"{index}.monitor.csv"), {"t_start": 0.0, "env_id": "x"}, append=False)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.seed(5) == theirs.seed(5)
    ours.set_options({"how": 0})
    theirs.set_options({"how": 0})
    assert same(ours.reset(), theirs.reset())
    assert same(list(ours.reset_infos), list(theirs.reset_infos))
    theirs.action_space.seed(1)
    rows: list[list[str]] = [[], [], []]
    ends = 0
    for _ in range(200):
        actions = np.stack([theirs.action_space.sample() for _ in range(3)])
        if env_id == "Faulty-v0":
            actions[:] = 0.0
        mine, wanted = ours.step(actions), theirs.step(actions)
        assert same(mine, wanted)
        assert same(list(ours.reset_infos), list(theirs.reset_infos))
        ends += int(wanted[2].sum())
        for index, info in enumerate(wanted[3]):
            if "episode" in info:
                rows[index].append(f"{info['episode']['r']},{info['episode']['l']}")
    assert ends >= 3
    for index in range(3):
        lines = (tmp_path / f"{index}.monitor.csv").read_text().splitlines()[2:]
        assert [line.rpartition(",")[0] for line in lines] == rows[index]
    assert ours.restarts == [0, 0, 0]


def test_methods_and_attributes(workers: Callable[..., SupervisedVecEnv]) -> None:
    recipe = replace(FAULTY, render_mode="rgb_array")
    ours, theirs = workers(recipe), dummy(recipe)
    for env in (ours, theirs):
        env.seed(0)
        env.reset()
        for _ in range(3):
            env.step(np.zeros((3, 1)))
        env.set_attr("mark", 7, indices=[0, 2])
        assert env.get_attr("mark", indices=2) == [7]
        with pytest.raises(AttributeError):
            env.get_attr("mark", indices=1)
        with pytest.raises(AttributeError):
            env.env_method("no_such_method")
        assert not env.has_attr("mark")
        assert env.has_attr("t")
        assert env.get_attr("t") == [3, 3, 3]
        assert env.get_attr("spec")[0].id == "Faulty-v0"
        assert env.env_is_wrapped(Monitor) == [True] * 3
        assert env.env_is_wrapped(VecNormalize, indices=[1]) == [False]
        assert env.render_mode == "rgb_array"
    assert same(list(ours.get_images()), list(theirs.get_images()))
    assert same(ours.render(), theirs.render())
    pids = ours.env_method("whoami")
    assert len({os.getpid(), *pids}) == 4
    assert ours.env_method("whoami", indices=[2, 0]) == [pids[2], pids[0]]
    assert len(set(ours.env_method("global_draw"))) == 3  # forks of one process do not share numpy's generator
    with pytest.raises(EnvironmentFault, match=r"worker 0, step 3: .*lambda"):
        ours.env_method("unsendable")
    with pytest.raises(UsageError, match="unknown start method 'thread'"):
        workers(start_method="thread")
    with pytest.raises(UsageError, match="count >= 1"):
        workers(count=0)
    with pytest.raises(UsageError, match="did you mean 'Faulty-v0'"):
        workers(replace(FAULTY, env_id="Fauly-v0"))
    with pytest.warns(UserWarning, match="expected render_mode rgb_array"):
        assert workers(count=1).get_images() == [None]


# Faults.

LOST = {
    faulty.KILL: "died of SIGKILL",
    faulty.STOP: "gave no answer for 0.5 s",
    faulty.LOOP: "gave no answer for 0.5 s",
    faulty.LOOP_IN_C: "gave no answer for 0.5 s",
    faulty.EXIT: "died with exit code 3",
    faulty.SEGFAULT: "died of SIGSEGV",
    faulty.HALF_AN_ANSWER: "stopped in the middle of an answer",
}


def test_a_lost_worker_is_replaced(workers: Callable[..., SupervisedVecEnv], capfd: Any, tmp_path: Path) -> None:
    ours, theirs = workers(timeout=0.5), dummy(FAULTY)
    for index in range(3):
        ours.monitor_to(index, str(tmp_path / f"{index}.monitor.csv"), {"t_start": 0.0, "env_id": "x"}, append=False)
    ours.set_attr("mark", 7)
    rng = np.random.default_rng(os.getpid())  # another step every time
    seen = set()
    for how, why in LOST.items():
        ours._workers[1].restarts = 0
        ours.seed(how)
        theirs.seed(how)
        before = ours.reset()
        assert same(before, theirs.reset())
        for _ in range(rng.integers(50)):
            before = ours.step(at(ours))[0]
            assert same(before[[0, 2]], theirs.step(at(ours))[0][[0, 2]])
        pid = ours.env_method("whoami", indices=1)[0]
        capfd.readouterr()
        begin = time.monotonic()
        observations, rewards, dones, infos = ours.step(at(ours, w1=how))
        assert time.monotonic() - begin < GENEROUS
        wanted = theirs.step(at(ours))
        assert same(observations[[0, 2]], wanted[0][[0, 2]])  # the others go on as if nothing had happened
        assert same([infos[0], infos[2]], [wanted[3][0], wanted[3][2]])
        assert rewards[1] == 0.0
        assert dones[1]
        assert same(infos[1].pop("terminal_observation"), before[1])
        assert infos[1] == {"TimeLimit.truncated": True, "discarded": True}
        seen.add(observations[1].tobytes())
        assert ours.restarts == [0, 1, 0]
        assert f"worker 1 {why} at step" in capfd.readouterr().err
        assert not is_alive(pid)
        assert ours.get_attr("t", indices=1) == [0]
        assert ours.get_attr("mark", indices=1) == [7]
        _, _, dones, infos = ours.step(at(ours))
        assert not dones[1]
        assert "discarded" not in infos[1]
        for _ in range(29):
            _, _, dones, infos = ours.step(at(ours))
        assert dones[1]
        assert infos[1]["episode"]["l"] == 30  # Monitor does not tell of what was lost
    assert len(seen) == len(LOST)  # every restart has another seed
    lines = (tmp_path / "1.monitor.csv").read_text().splitlines()[2:]
    assert {line.split(",")[1] for line in lines} == {"30"}
    assert len(lines) >= len(LOST)


def test_restarts_are_seeded(workers: Callable[..., SupervisedVecEnv]) -> None:
    found = []
    for count in (2, 3):
        env = workers(count=count)
        env.seed(8)
        env.reset()
        found.append([env.step(at(env, w1=faulty.KILL))[0][1] for _ in range(3)])
        found[-1].append(env.env_method("global_draw", indices=1)[0])
    assert same(*found)
    assert len({value.tobytes() for value in found[0][:3]}) == 3


def test_the_fourth_loss_is_a_fault(workers: Callable[..., SupervisedVecEnv]) -> None:
    env = workers()
    env.reset()
    for _ in range(3):
        env.step(at(env, w2=faulty.EXIT))
    env.step(at(env, w0=faulty.EXIT))  # each worker has its own
    with pytest.raises(EnvironmentFault, match=r"Faulty-v0: worker 2 died with exit code 3 at step 5, after 3 rest"):
        env.step(at(env, w2=faulty.EXIT))
    with pytest.raises(EnvironmentFault, match="worker 2"):
        env.step(at(env))


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        (faulty.RAISE, EnvironmentFault, "Faulty-v0: step 4: ValueError: the arm came off.*worker 1, step 4"),
        (faulty.NAN, NumericalFault, "Faulty-v0.*entry 1 is nan.*worker 1, step 4"),
    ],
)
def test_an_exception_is_raised_here(
    how: int, kind: type[Exception], message: str, workers: Callable[..., SupervisedVecEnv]
) -> None:
    ours, theirs = workers(), dummy(FAULTY)
    for env in (ours, theirs):
        env.seed(2)
        env.reset()
        for _ in range(3):
            env.step(at(ours))
    with pytest.raises(kind, match=message) as caught:
        ours.step(at(ours, w0=faulty.WALK, w1=how))
    assert ", in step\n" in "".join(caught.value.__notes__)  # the traceback in the worker
    theirs.step(at(ours))
    # Answers that nobody waited for are dropped: whoever caught it can go on.
    assert same(ours.step(at(ours))[0][2], theirs.step(at(ours))[0][2])
    assert same(ours.reset()[0], theirs.reset()[0])
    assert ours.restarts == [0, 0, 0]


def test_losses_elsewhere_than_in_a_step(workers: Callable[..., SupervisedVecEnv], capfd: Any) -> None:
    env = workers(timeout=0.5)
    # In a reset.
    env.set_options([{}, {"how": faulty.LOOP}, {}])
    env.reset()
    assert env.restarts == [0, 1, 0]
    assert env.get_attr("t") == [0, 0, 0]
    assert not env.step(at(env))[2].any()
    # Between steps: found by whatever comes next, told by the next step.
    env.seed(1)
    last = env.reset()
    for index, pid in enumerate(env.env_method("whoami")):
        if index != 1:
            os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
    assert env.get_attr("t") == [0, 0, 0]
    assert env.restarts == [1, 1, 1]
    _, rewards, dones, infos = env.step(at(env))
    assert dones.tolist() == [True, False, True]
    assert [info.get("discarded", False) for info in infos] == [True, False, True]
    assert same(infos[2]["terminal_observation"], last[2])
    assert env.get_attr("t") == [0, 1, 0]  # the lost episodes' actions were dropped
    assert rewards[[0, 2]].tolist() == [0.0, 0.0]
    assert not env.step(at(env))[2].any()
    # While it is being made.
    with pytest.raises(EnvironmentFault, match=r"worker 0 died with exit code 3 at step 0, after 3 restarts.*__main__"):
        workers(replace(FAULTY, kwargs={"made": faulty.EXIT}), count=1)
    with pytest.raises(EnvironmentFault, match="the arm came off"):
        workers(replace(FAULTY, kwargs={"made": faulty.RAISE}), count=2)


def test_signals_are_left_to_the_parent(workers: Callable[..., SupervisedVecEnv]) -> None:
    env = workers()
    env.reset()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for pid in env.env_method("whoami"):
            os.kill(pid, number)
        env.step(at(env))
    assert env.restarts == [0, 0, 0]


def test_the_fork_server_may_die(workers: Callable[..., SupervisedVecEnv]) -> None:
    """A signal to the whole group of processes ends it."""
    env = workers()
    env.reset()
    os.kill(multiprocessing.forkserver._forkserver._forkserver_pid, signal.SIGTERM)  # type: ignore[attr-defined]
    assert not env.step(at(env))[2].any()
    assert env.restarts == [0, 0, 0]
    assert env.step(at(env, w0=faulty.KILL))[2].tolist() == [True, False, False]
    assert not env.step(at(env))[2].any()


def test_a_fork_server_that_is_ending_is_waited_for(
    workers: Callable[..., SupervisedVecEnv], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its last connection and its end it refuses, or hangs up."""
    refusals: list[Exception] = [ConnectionRefusedError(111, "refused"), EOFError("unexpected end of data")]
    start = multiprocessing.process.BaseProcess.start

    def reluctant(process: multiprocessing.process.BaseProcess) -> None:
        if refusals:
            raise refusals.pop()
        start(process)

    env = workers()
    env.reset()
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", reluctant)
    assert env.step(at(env, w0=faulty.KILL))[2].tolist() == [True, False, False]
    assert not refusals
    assert not env.step(at(env))[2].any()


# The end.


@pytest.mark.parametrize("end", ["close", "forget"])
def test_the_end_is_bounded_whatever_workers_do(end: str, workers: Callable[..., SupervisedVecEnv]) -> None:
    env = SupervisedVecEnv(FAULTY, 4)
    env.reset()
    pids = env.env_method("whoami")
    env.step_async(at(env, w0=faulty.LOOP, w1=faulty.STOP, w2=faulty.LOOP_IN_C))
    time.sleep(0.2)
    begin = time.monotonic()
    if end == "close":
        env.close()
        env.close()
    else:
        del env
        gc.collect()
    assert time.monotonic() - begin < GENEROUS
    assert wait_until(lambda: not any(map(is_alive, pids)))


PARENT = """
import os, signal, sys, time
import faulty_envs as faulty
import numpy as np
from homeo_rl.agents.workers.supervised import SupervisedVecEnv
from homeo_rl.envs.env_factory import Recipe

if __name__ == "__main__":
    env = SupervisedVecEnv(Recipe("Faulty-v0", modules=("faulty_envs",)), 4, start_method=sys.argv[1])
    env.reset()
    print(*env.env_method("whoami"), flush=True)
    if sys.argv[2] == "leave":
        sys.exit(7)  # without closing
    env.step_async(np.array([[faulty.LOOP], [faulty.STOP], [faulty.LOOP_IN_C], [faulty.WALK]], dtype=np.float32))
    print("stepping", flush=True)
    time.sleep(600)
"""


def descendants(pid: int) -> set[int]:
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


def parent(tmp_path: Path, *words: str) -> list[str]:
    (tmp_path / "parent.py").write_text(PARENT)
    return [sys.executable, "-W", "ignore", str(tmp_path / "parent.py"), *words]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_no_orphans_when_the_parent_is_killed(method: str, tmp_path: Path) -> None:
    killed = subprocess.Popen(parent(tmp_path, method, "stay"), stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    pids = set(map(int, killed.stdout.readline().split()))
    assert len(pids) == 4
    killed.stdout.readline()
    time.sleep(0.3)
    family = descendants(killed.pid)
    assert pids <= family
    killed.kill()
    killed.wait()
    begin = time.monotonic()
    assert wait_until(lambda: not any(map(is_alive, family)), 10.0), [pid for pid in family if is_alive(pid)]
    print(f"{method}: {len(family)} processes gone after {time.monotonic() - begin:.2f} s")
    killed.stdout.close()


def test_no_orphans_when_the_parent_leaves_without_closing(tmp_path: Path) -> None:
    command = parent(tmp_path, "forkserver", "leave")
    leaving = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert leaving.returncode == 7
    assert wait_until(lambda: not any(is_alive(int(pid)) for pid in leaving.stdout.split()))


# Training.


def test_training_gives_the_same_parameters(tmp_path: Path, capsys: Any) -> None:
    plans = {
        "ppo": CASES["ppo, normalised rewards, falling rate"],
        "sac": replace(CASES["sac, spiking, two environments"], steps=200),
    }
    for name, plan in plans.items():
        one = train(replace(plan, out=tmp_path / f"{name}-dummy"))
        other = train(replace(plan, out=tmp_path / f"{name}-workers", vec_env="workers"))
        assert one.spec.digest == other.spec.digest
        assert files_of(one) == files_of(other)
        for path in one.path.glob("*.monitor.csv"):
            rows = [(run.path / path.name).read_text().splitlines()[1:] for run in (one, other)]
            assert [row.rpartition(",")[0] for row in rows[0]] == [row.rpartition(",")[0] for row in rows[1]]
    assert not multiprocessing.active_children()
    with pytest.raises(UsageError, match="unknown --vec-env 'threads'"):
        train(replace(plans["ppo"], out=tmp_path / "none", vec_env="threads"))
    with pytest.raises(SystemExit) as leaving:
        main(
            ["train", "--env", "Tame-v0", "--gym-packages", "faulty_envs", "--out", str(tmp_path / "fault"),
             "--vec-env", "workers", "--env-kwargs", "fails_at:7", "--no-progress", "--eval-freq", "-1", "-n", "64",
             "-params", "n_envs:2", "n_steps:32", "batch_size:32"]
        )  # fmt: skip
    assert leaving.value.code == 3
    said = capsys.readouterr().err
    assert said.startswith("homeo-rl: Tame-v0: step 7: ValueError: the arm came off")
    assert said.endswith("(worker 0, step 7)\n")


def test_training_outlives_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = SupervisedVecEnv.step_async
    seen: list[SupervisedVecEnv] = []

    def step_async(self: SupervisedVecEnv, actions: np.ndarray) -> None:
        if self.num_envs == 2 and self._settings.steps in (20, 70):
            seen.append(self)
            os.kill(self.env_method("whoami", indices=1)[0], signal.SIGKILL)
        before(self, actions)

    monkeypatch.setattr(SupervisedVecEnv, "step_async", step_async)
    hyperparams = {**ON, "n_envs": 2}
    plan = replace(
        CASES["ppo"], env="Tame-v0", modules=("faulty_envs",), vec_env="workers", out=tmp_path / "run",
        hyperparams=hyperparams,
    )  # fmt: skip
    run = train(plan)
    assert seen[-1].restarts == [0, 2]
    lengths = {line.split(",")[1] for line in (run.path / "1.monitor.csv").read_text().splitlines()[2:]}
    assert lengths == {"30"}
    assert run.spec.digest


@pytest.mark.parametrize("name", ["ppo, spiking, MuJoCo", "sac, spiking, two environments"])
def test_cut_and_gone_on_is_never_cut(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(CASES[name], vec_env="workers", steps=320)
    whole = train(replace(plan, out=tmp_path / "whole", vec_env="dummy"))
    mine = replace(plan, out=tmp_path / "cut")
    for step, where in ((100, "workers"), (200, "dummy")):  # the same training may go on in either way
        with monkeypatch.context() as patch:
            cut_at(patch, step)
            with pytest.raises(Cut):
                train(replace(mine, vec_env=where))
    notes: list[str] = []
    done = train(mine, note=notes.append)
    assert any("going on at step" in note for note in notes)
    assert not any("did not come back" in note for note in notes)
    assert done.spec.digest == whole.spec.digest
    assert files_of(done) == files_of(whole)


def test_a_cut_between_a_loss_and_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker dies right before a checkpoint, and again later: both go along."""
    plan = replace(
        CASES["ppo"], env="Tame-v0", modules=("faulty_envs",), vec_env="workers", steps=320, eval_freq=-1
    )  # fmt: skip
    before = checkpointer.Checkpointer.__call__

    def call(self: checkpointer.Checkpointer) -> None:
        env = self.model.env
        assert isinstance(env, SupervisedVecEnv)
        if self.model.num_timesteps in (64, 128, 256) and env._settings.steps:  # not right after coming back
            os.kill(env._settings.processes[1]._process.pid, signal.SIGKILL)
        before(self)

    monkeypatch.setattr(checkpointer.Checkpointer, "__call__", call)
    whole = train(replace(plan, out=tmp_path / "whole"))
    mine = replace(plan, out=tmp_path / "cut")
    with monkeypatch.context() as patch:
        cut_at(patch, 128)
        with pytest.raises(Cut):
            train(mine)
    found: list[Any] = []

    def loaded(env: Any, told: Any, arrays: Any) -> bool:
        found.extend(name for name in arrays if name.endswith("lost"))
        return bool(load(env, told, arrays))

    load = checkpointer.restore.__globals__["_load_env"]
    monkeypatch.setitem(checkpointer.restore.__globals__, "_load_env", loaded)
    notes: list[str] = []
    assert train(mine, note=notes.append).spec.digest == whole.spec.digest
    assert found == ["1/lost"]
    assert not any("did not come back" in note for note in notes)
    assert files_of(Run.open(mine.out)) == files_of(whole)
