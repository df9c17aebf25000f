"""Numbers, nesting and places that cannot be, in every source of configuration: one line, exit 2, nothing written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_calls import call

from homeo_rl.agents.controller import load_controller
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.run import Run
from homeo_rl.spec import dump
from homeo_rl.storage import bundle
from homeo_rl.storage.event_files import quiet_writers
from homeo_rl.storage.user_paths import local_path
from homeo_rl.storage.yaml_file import decode
from homeo_rl.training import estimate
from homeo_rl.training.hyperparams import resolve
from homeo_rl.training.params import parse_params, read_config
from homeo_rl.training.plan import TrainingPlan, prepare, whole_steps

LAUGH = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
VALUES = {
    "5,000 digits": "1" * 5000,
    "21 digits": "1" + "0" * 20,
    "infinity": ".inf",
    "no number": ".nan",
    "a large float": "1e300",
    "an infinite text": "1e400",
    "sexagesimal": ":".join(["1"] * 100_000),
    "50,000 brackets": "[" * 50_000,
    "closed brackets": "[" * 50_000 + "]" * 50_000,
}
SOURCES: dict[str, tuple[str, list[str]]] = {
    "conf": ("Pendulum-v1: {{learning_rate: {}}}\n", ["train", "--env", "Pendulum-v1", "--conf", "FILE"]),
    "sweep": ("train: {{params: {{gamma: {}}}}}\n", ["sweep", "FILE", "--out", "out"]),
    "preset": ("algo: ppo\nenv: Pendulum-v1\nagent: mlp\nhyperparams: {{gamma: {}}}\n", ["train", "--preset", "FILE"]),
    "suite": ("name: x\nversion: {}\nconditions: [{{name: clean}}]\n", ["evaluate", "RUN", "--suite", "FILE"]),
    "study": ("name: x\nepisodes: {}\ngroups: []\n", ["study", "FILE", "--out", "out"]),
    "space": ("gamma: {{low: 0.9, high: {}}}\n", ["tune", "--env", "Pendulum-v1", "--space", "FILE", "--out", "out"]),
    "reflex": ("inputs: [a]\noutputs: {{b: a}}\nneurons: {{beta: {}}}\n", ["compile", "FILE", "--out", "out"]),
}


@pytest.mark.parametrize("source", SOURCES)
def test_hostile_numbers_in_every_file_are_one_line(
    source: str, tmp_path: Path, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run = make_run()
    text, words = SOURCES[source]
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, value in {**VALUES, "aliases of aliases": LAUGH}.items():
        file = tmp_path / "file.yml"
        file.write_text(value if name.startswith("aliases") else text.format(value))
        _, err = call(*({"FILE": "file.yml", "RUN": run.path}.get(w, w) for w in words), code=2, capsys=capsys)
        assert len(err.splitlines()) == 1, (name, err)
        assert len(err) < 500, (name, err)
        assert "file.yml" in err, (name, err)
        file.unlink()
        assert sorted(path.name for path in tmp_path.iterdir()) == before, name


def test_hostile_words_are_one_line() -> None:
    for value in VALUES.values():
        with pytest.raises(UsageError) as record:
            parse_params([f"gamma:{value}"])
        assert len(str(record.value)) < 300
    with pytest.raises(UsageError, match="finite number"):
        parse_params(["healthy_z_range:[0.2, .inf]"], "--env-kwargs")
    assert parse_params(["a:3e-4", "b:[1, 2e3]", "c:1e6"]) == {"a": 3e-4, "b": [1, 2e3], "c": 1e6}


def test_a_key_that_comes_twice_is_the_last_one_in_rl_zoo_files_alone() -> None:
    assert decode("a: 1\na: 2\n", Path("x"), repeats=True).data == {"a": 2}
    with pytest.raises(UsageError, match=r"x, line 2: key 'a' is there twice"):
        decode("a: 1\na: 2\n", Path("x"))


@pytest.mark.parametrize(
    ("algo", "name", "value"),
    [
        ("ppo", "n_envs", 0), ("ppo", "n_envs", -1), ("ppo", "n_steps", 0), ("ppo", "batch_size", 0),
        ("ppo", "n_epochs", 0), ("ppo", "gamma", 1.5), ("ppo", "gamma", -0.1), ("ppo", "gae_lambda", 2),
        ("ppo", "clip_range", -1.0), ("ppo", "learning_rate", -1e-3), ("ppo", "learning_rate", "lin_inf"),
        ("ppo", "learning_rate", "lin_-1"), ("ppo", "target_kl", "None"), ("sac", "buffer_size", 0),
        ("sac", "tau", 1.1), ("sac", "gradient_steps", -2), ("sac", "learning_starts", -1), ("td3", "policy_delay", 0),
        ("td3", "noise_std", -1.0), ("sac", "target_update_interval", 0), ("ppo", "vf_coef", float("nan")),
        ("ppo", "ent_coef", float("inf")), ("ppo", "batch_size", 1.5),
    ],
)  # fmt: skip
def test_hyperparameters_outside_their_range_are_refused(algo: str, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"hyper-parameter {name}: expected"):
        resolve(algo, {name: value})


def test_the_ends_of_ranges_are_accepted() -> None:
    ends = {"n_envs": 1, "gamma": 1, "gae_lambda": 0.0, "learning_rate": 0, "batch_size": 2.0, "clip_range_vf": None}
    assert resolve("ppo", ends)["batch_size"] == 2
    assert isinstance(resolve("sac", {"buffer_size": 1e6})["buffer_size"], int)


def plan_of(**fields: Any) -> TrainingPlan:
    small = {"hidden": [8]}
    hyperparams = {"agent_kwargs": small, **fields.pop("hyperparams", {})}
    return TrainingPlan(**{"algo": "ppo", "env": "Pendulum-v1", "agent": "mlp", "hyperparams": hyperparams, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"save_freq": 0}, "--save-freq: expected"), ({"save_freq": -2}, "--save-freq"),
        ({"eval_freq": 0}, "--eval-freq"), ({"steps": 10**30}, "--n-timesteps: expected at most"),
        ({"num_threads": 10**9}, "--num-threads"), ({"eval_episodes": 10**9}, "--eval-episodes"),
        ({"worker_timeout": float("inf")}, "--worker-timeout"), ({"seed": 2**32}, "--seed"),
        ({"hyperparams": {"n_envs": 10**6}}, "memory: expected|open files: expected"),
    ],
)  # fmt: skip
def test_plans_beyond_what_can_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(plan_of(**fields))


def test_descriptors_and_processes_count_as_memory_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (1024, hard) if kind == resource.RLIMIT_NOFILE else (-1, -1)
    )
    plan = plan_of(hyperparams={"n_envs": 3000, "n_steps": 2}, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"open files: expected at most 1,024.*3,000 environments.*ulimit -n"):
        prepare(plan)
    assert not (tmp_path / "run").exists()
    prepare(replace(plan, hyperparams={"n_envs": 900, "n_steps": 2}))
    with pytest.raises(UsageError, match=r"open files"):  # a worker has pipes too
        prepare(replace(plan, hyperparams={"n_envs": 300, "n_steps": 2}, vec_env="workers"))
    monkeypatch.setattr(estimate, "available_processes", lambda: 10)
    with pytest.raises(UsageError, match=r"processes: expected at most 10.*n_envs"):
        prepare(replace(plan, hyperparams={"n_envs": 8, "n_steps": 16}, vec_env="workers"))


def test_addresses_count_as_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = plan_of(algo="sac", hyperparams={"buffer_size": 30_000_000})
    prepare(ring)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2 << 30, -1) if kind == resource.RLIMIT_AS else (-1, -1))
    with pytest.raises(
        UsageError, match=r"memory: expected at most 2.1 GB of addresses.*ulimit -v.*about .* GB \(1.2 of"
    ):
        prepare(ring)
    prepare(plan_of(algo="sac", hyperparams={"buffer_size": 1000}))


def test_limits_of_control_groups_of_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "cgroup"
    record.write_text("4:memory:/job/7\n0::/user/slice\n")
    folders = estimate.group_folders("memory", Path("/g"), record)
    assert {Path("/g/memory/job/7"), Path("/g/memory/job"), Path("/g/user/slice"), Path("/g/user"), Path("/g")} <= set(
        folders
    )
    for folder, names in (("two", ("max", "current", "inactive_file")), ("one", ("limit_in_bytes", "usage_in_bytes",
                                                                                  "total_inactive_file"))):  # fmt: skip
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"memory.{names[0]}").write_text("3000\n")
        (tmp_path / folder / f"memory.{names[1]}").write_text("2500\n")
        (tmp_path / folder / "memory.stat").write_text(f"anon 5\n{names[2]} 100\n")
        monkeypatch.setattr(estimate, "group_folders", lambda kind, folder=folder: [tmp_path / folder])
        assert estimate.available_memory() == 600
    (tmp_path / "two" / "memory.max").write_text("max\n")
    monkeypatch.setattr(estimate, "group_folders", lambda kind: [tmp_path / "two"])
    assert (estimate.available_memory() or 0) > 600


def test_whole_rollouts_are_told() -> None:
    _, spec = prepare(plan_of(steps=512))
    assert (spec.planned, whole_steps(spec)) == (512, 2048)
    _, spec = prepare(plan_of(algo="sac", steps=512))
    assert whole_steps(spec) == 512


def test_a_strangers_folder_is_left_alone(
    tmp_path: Path, make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run, stranger = make_run(), tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "letter.txt").write_text("mine")
    (tmp_path / "w.npz").write_bytes(b"")
    for words in (
        ["train", "--env", "toy_envs:Point-v0"], ["distill", run.path], ["convert", run.path],
        ["compose", run.path, "--reflex", "navigation-brake"], ["compile", "hold(a, 2)", "--inputs", "a"],
        ["import", "popsan", tmp_path / "w.npz", "--env", "HalfCheetah-v5"], ["evaluate", run.path],
    ):  # fmt: skip
        _, err = call(*words, "--out", stranger, code=2, capsys=capsys)
        assert f"{stranger}: expected a new or empty folder" in err, words
        assert [path.name for path in stranger.iterdir()] == ["letter.txt"], words
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        Run.create(stranger, run.spec)
    assert [path.name for path in stranger.iterdir()] == ["letter.txt"]


def test_urls_are_no_paths_and_a_tilde_is_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for words in (
        ["tune", "--storage", "sqlite:///study.db"], ["tune", "--storage", "postgresql://u:p@host/db"],
        ["tune", "--storage", "mysql://u@host/db"], ["tune", "--storage", "redis://localhost"],
        ["train", "--out", "s3://bucket/run"], ["train", "--out", "file:///tmp/run"], ["train", "-tb", "gs://b/tb"],
        ["train", "-f", "s3://bucket"], ["evaluate", "https://host/run"], ["report", "s3://b/run"],
        ["evaluate", "x", "--suite", "https://host/suite.yaml"], ["train", "--conf", "https://host/ppo.yml"],
    ):  # fmt: skip
        _, err = call(*words, code=2, capsys=capsys)
        assert "a URL (" in err or "expected a run folder" in err, err
        assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert local_path(Path("~/run"), "--out") == tmp_path / "home" / "run"
    with pytest.raises(UsageError, match="no such home"):
        local_path(Path("~nobody-of-this-name/run"), "--out")


def test_a_storage_that_is_no_journal_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    data = tmp_path / "study.db"
    data.write_bytes(b"SQLite format 3\0")
    for storage, message in ((data, "found another file"), (tmp_path, "found a folder")):
        _, err = call("tune", "--env", "Pendulum-v1", "--storage", storage, code=2, capsys=capsys)
        assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
    assert data.read_bytes() == b"SQLite format 3\0"


@pytest.mark.parametrize("part", ["network.layers.0.weight", "network.layers.1.bias", "normaliser.running_mean"])
def test_weights_keep_the_limit_of_training(part: str, make_run: Callable[..., Run]) -> None:
    run = make_run()
    tensors, document = run.load_policy()
    for value in (1e15, 1e30):
        changed = {**tensors, part: tensors[part].copy()}
        changed[part].flat[0] = value * 0.99
        bundle.save(run.path / "policy", changed, document)  # with a sound manifest
        if value > 1e15:
            with pytest.raises(StorageFault, match=rf"{part}' reaches .*e\+29; expected finite numbers within 1e\+15"):
                load_controller(run)
        else:
            load_controller(run)


def test_a_full_disk_under_tensorboard_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.compat.tensorflow_stub.io import gfile
    from torch.utils.tensorboard import SummaryWriter

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), b"tb/events")

    hook = threading.excepthook
    with pytest.MonkeyPatch.context() as patch, quiet_writers():
        writer = SummaryWriter(str(tmp_path))
        patch.setattr(gfile.GFile, "flush", full)
        patch.setattr(gfile.GFile, "write", full)
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012  # whichever comes first
            for step in range(1000):
                writer.add_scalar("a", 1.0, step)
                writer.flush()
        with contextlib.suppress(OSError):
            writer.close()
    assert threading.excepthook is hook
    assert capsys.readouterr().err == ""


def test_a_file_system_without_locks_is_one_line(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(StorageFault, match=r"\.lock: cannot be locked .*flock"), run.hold():
        pass


def test_suites_hold_degradations_within_their_ranges(tmp_path: Path) -> None:
    from homeo_rl.degradations import load_suite

    for kind, name, value in (
        ("dead-neurons", "fraction", 1.5), ("obs-gaussian", "std", -0.1), ("action-delay", "steps", -1),
        ("action-delay", "steps", 10**9), ("obs-dropped", "probability", 2), ("body-mass", "factor", 0),
        ("friction", "factor", -1), ("weights-gaussian", "std", 1e12),
    ):  # fmt: skip
        file = tmp_path / "suite.yaml"
        hurt = {"name": "hurt", "degradations": [{"kind": kind, name: value}]}
        file.write_text(yaml.safe_dump({"name": "x", "version": 1, "conditions": [{"name": "clean"}, hurt]}))
        with pytest.raises(UsageError, match=f"{kind}: {name}: expected"):
            load_suite(str(file))


ZOO = """
defaults: &defaults {policy: MlpPolicy, n_timesteps: !!float 1e3}
Pendulum-v1:
  <<: *defaults
  policy_kwargs: KWARGS
  frame_stack: 1
  callback: []
  env_wrapper: null
"""


def test_what_rl_zoo_reads_is_read_alike(tmp_path: Path) -> None:
    for text, hidden in {
        "None": None, "null": None, "dict()": None, '"dict(net_arch=[256, 256])"': [256, 256],
        '"dict(net_arch=dict(pi=[8], vf=[16]))"': [8], "{net_arch: [4]}": [4],
    }.items():  # fmt: skip
        (tmp_path / "ppo.yml").write_text(ZOO.replace("KWARGS", text))
        section = read_config(tmp_path / "ppo.yml", "Pendulum-v1", "ppo")
        assert section.steps == 1000
        assert section.hyperparams.get("agent_kwargs", {}).get("hidden") == hidden
    (tmp_path / "td3.yml").write_text(
        "Pendulum-v1: {noise_type: normal, noise_std: 0.1, train_freq: [1, episode], learning_rate: lin_3e-4, "
        "buffer_size: !!float 1e5, normalize: 'dict(norm_obs=True, norm_reward=False)'}\n"
    )
    section = read_config(tmp_path / "td3.yml", "Pendulum-v1", "td3")
    assert section.hyperparams["normalize_reward"] is False
    assert resolve("td3", section.hyperparams)["buffer_size"] == 100_000
    for line in ("noise_type: ornstein-uhlenbeck", "frame_stack: 4", "callback: a.B", "vec_env_wrapper: a.B"):
        (tmp_path / "td3.yml").write_text(f"Pendulum-v1: {{{line}}}\n")
        with pytest.raises(UsageError, match=line.partition(":")[0]):
            read_config(tmp_path / "td3.yml", "Pendulum-v1", "td3")


def test_evaluate_writes_elsewhere(
    tmp_path: Path, make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(), tmp_path / "new" / "place"
    (run.path / "policy").chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    words = ["evaluate", run.path, "--suite", "clean", "--homeostasis", "none,dwam", "--episodes", 2, "--out", out,
             "--workers", 1, "--no-progress"]  # fmt: skip
    message, _ = call(*words, capsys=capsys)
    assert f"scores: {out}/evaluations/clean_1/scores.csv" in message
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert (out / "calibration" / "manifest.json").exists()
    copy = Run.open(out)
    assert dump(copy.spec) == dump(run.spec)
    assert copy.policy_digest() == run.policy_digest()
    call("report", out, "--out", tmp_path / "page", capsys=capsys)
    assert (tmp_path / "page" / "report.md").exists()
    for name in ("x.pdf", "x.md", "x.PNG"):
        _, err = call("report", out, "--out", tmp_path / name, code=2, capsys=capsys)
        assert "ends in .html" in err
        assert not (tmp_path / name).exists()


def test_a_run_that_cannot_be_written_says_where_to_go(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: False if Path(path) == run.path else real(path, mode))
    _, err = call("evaluate", run.path, "--suite", "clean", code=2, capsys=capsys)
    assert "give --out DIR" in err
    assert not (run.path / "evaluations").exists()
