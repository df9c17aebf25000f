"""`homeo-rl doctor`, `train --dry-run` and `completion`."""

from __future__ import annotations

import importlib.metadata
import io
import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from homeo_rl.cli import main
from homeo_rl.health import examine, machine
from homeo_rl.health.check import SEVERITIES, Check
from homeo_rl.health.dry_run import dry_run, plan_of, work
from homeo_rl.health.eta import Measured, Pace, Work, eta, format_duration, iterations, pace, stretches
from homeo_rl.health.packages import CONFLICTS, NEEDED_FOR, check_packages
from homeo_rl.health.probe import measure
from homeo_rl.run import Run
from homeo_rl.training.plan import TrainingPlan, prepare
from homeo_rl.tuning.preset import read_preset

ROOT = Path(__file__).resolve().parents[2]

HEALTHY = {
    "homeo-rl": ("0.1", ["numpy>=2.0", "mujoco>=3.2", "pillow>=11", "optuna>=4; extra == 'tune'"]),
    "numpy": ("2.4", []),
    "mujoco": ("4.0", ["numpy"]),
    "pillow": ("13.0", []),
}
"""Packages: version, and what they ask for."""


def distributions(folder: Path, told: dict[str, tuple[str, list[str]]]) -> dict[str, importlib.metadata.Distribution]:
    found = {}
    for name, (version, wanted) in told.items():
        place = folder / f"{name}-{version}.dist-info"
        place.mkdir()
        lines = [f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}"]
        lines += [f"Requires-Dist: {one}" for one in wanted]
        extras = {one.split("extra == '")[1].rstrip("'") for one in wanted if "extra ==" in one}
        (place / "METADATA").write_text("\n".join([*lines, *(f"Provides-Extra: {extra}" for extra in extras)]) + "\n")
        found[canonicalize_name(name)] = importlib.metadata.PathDistribution(place)
    return found


def test_sound_packages(tmp_path: Path) -> None:
    checks = check_packages(distributions(tmp_path, HEALTHY))
    assert {check.state for check in checks} == {"ok"}
    assert [check.name for check in checks] == ["Python", "numpy", "mujoco", "pillow", "extras"]
    assert checks[-1].found.startswith("tune no")


@pytest.mark.parametrize(
    ("changes", "name", "state", "words"),
    [
        ({"mujoco": ("2.3.7", [])}, "mujoco", "fails", ["expected >=3.2", "robots", "pip install 'mujoco>=3.2'"]),
        ({"mujoco": None}, "mujoco", "fails", ["not installed", "pip install 'mujoco>=3.2'"]),
        ({"moviepy": ("2.2.1", ["pillow<12.0,>=9.2.0"])}, "moviepy", "note", ["Pillow", "pip uninstall moviepy"]),
        ({"mujoco": ("4.0", ["numpy<2.1"])}, "mujoco", "fails", ["expects numpy<2.1, 2.4 is", "--upgrade mujoco"]),
        ({"other": ("1.0", ["numpy<2.1; extra == 'all'"])}, "other", None, []),
        ({"tensorboard": ("2.20", []), "setuptools": ("82.0.1", [])}, "tensorboard", "note", ["pkg_resources", "2.21"]),
        ({"tensorboard": ("2.21", []), "setuptools": ("82.0.1", [])}, "tensorboard", None, []),
        ({"gym": ("0.26.2", [])}, "gym", "note", ["NumPy 2"]),
    ],
)  # fmt: skip
def test_packages_that_do_not_fit(
    changes: dict[str, Any], name: str, state: str | None, words: list[str], tmp_path: Path
) -> None:
    told = {key: value for key, value in {**HEALTHY, **changes}.items() if value is not None}
    checks = check_packages(distributions(tmp_path, told))
    found = [check for check in checks if check.state != "ok"]
    assert [(check.name, check.state) for check in found] == ([] if state is None else [(name, state)])
    for word in words:
        assert word.lower() in " ".join(found[0].lines).lower()


def test_tables_know_what_the_project_needs() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    missing = {canonicalize_name(Requirement(one).name) for one in needed} - set(NEEDED_FOR)
    assert not missing
    for conflict in CONFLICTS:
        assert SpecifierSet(conflict.versions) is not None
        assert SpecifierSet(conflict.beside_versions) is not None
        assert conflict.do


def test_findings_say_what_to_do() -> None:
    assert Check("disk", "note", "full", "make room").lines == ["warning disk: full", "        fix: make room"]
    for state, do in (("ok", "make room"), ("fails", "")):
        with pytest.raises(ValueError, match="something to do"):
            Check("disk", state, "full", do)  # type: ignore[arg-type]


def test_cores_of_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0.5, 0.5))
    assert machine.usable_cores(tmp_path) == (8, 8, None)
    assert machine.check_cores(tmp_path).state == "ok"
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.usable_cores(tmp_path) == (8, 8, 1.5)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.usable_cores(tmp_path) == (8, 8, None)
    (tmp_path / "cpu.max").write_text("350000 100000\n")
    check = machine.check_cores(tmp_path)
    assert (check.state, check.do[:19]) == ("note", "give --workers 3: b")
    monkeypatch.setattr("os.getloadavg", lambda: (9.0, 0.5, 0.5))
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert "idle" in machine.check_cores(tmp_path).do


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert machine.check_disk(tmp_path / "runs").state == "ok"
    assert machine.check_locks(tmp_path / "runs").state == "ok"
    assert not (tmp_path / "runs").exists()
    assert machine.check_disk(tmp_path / "file" / "runs").state == "fails"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert "NUMBA_CACHE_DIR" in machine.check_compiled_cache().do
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert machine.check_compiled_cache().state == "ok"
    monkeypatch.setenv("OMP_NUM_THREADS", "two")
    assert machine.check_threads().state == "note"
    monkeypatch.setattr(machine, "available_memory", lambda: 100 << 20)
    assert machine.check_memory().state == "fails"


def test_terminals_that_cannot_show_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, state in (("ascii", "note"), ("latin-1", "note"), ("utf-8", "ok")):
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        assert machine.check_terminal().state == state


def test_pace_of_iterations() -> None:
    """Acting takes 1 ms a step, learning 3 s an iteration; the reports lie anywhere."""
    rollout, now, points = 2048, 0.0, []
    for step in range(4, 5 * rollout + 1, 4):
        if step > rollout and (step - 4) % rollout == 0:
            now += 3.0
        now += 0.004
        if not points or step >= points[-1][0] + 200:
            points.append((step, now))
    found = iterations(points, rollout)
    assert found == pytest.approx([0.001 + 3.0 / rollout] * 4)
    assert stretches([(0, 0.0), (100, 1.0), (200, 2.0), (420, 4.2)], 150) == pytest.approx([0.01, 0.01])
    assert iterations(points[:5], rollout) == []
    assert pace([]) is None
    assert pace([0.01]) == Pace(0.01, pytest.approx(0.007), pytest.approx(0.015), 1)
    assert pace([0.01, 0.02]) == Pace(pytest.approx(0.015), pytest.approx(0.009), pytest.approx(0.022), 2)


def test_times_add_up() -> None:
    measured = Measured(
        setup=2.0, collecting=Pace(0.001, 0.0005, 0.002, 3), learning=Pace(0.01, 0.009, 0.012, 3), steps=800,
        env_step=0.0001, decision=0.0004, episode=50.0, limit=1000,
    )  # fmt: skip
    alone = eta(measured, Work(steps=10_000, starts=1000, episodes=0))
    assert (alone.seconds, alone.low, alone.high) == pytest.approx((2 + 1 + 90, 2 + 0.5 + 81, 2 + 2 + 108))
    judged = eta(measured, Work(steps=10_000, starts=1000, episodes=10))
    assert judged.low - alone.low == pytest.approx(10 * 50 * 0.0005)
    assert judged.high - alone.high == pytest.approx(10 * 1000 * 0.0005 * 3)
    assert alone.low <= alone.seconds <= judged.seconds <= judged.high
    assert eta(measured, Work(steps=500, starts=1000, episodes=0)).seconds == pytest.approx(2.5)
    at_once = eta(replace(measured, collecting=None), Work(steps=1000, starts=1000, episodes=0))
    assert at_once.seconds == pytest.approx(12.0)
    assert [format_duration(s) for s in (0.25, 42.4, 150, 7200)] == ["0.2 s", "42 s", "2.5 min", "2.0 h"]


@pytest.mark.parametrize("algo", ["ppo", "td3"])
def test_measured_by_training(algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It really trains, in a folder that is gone afterwards, also where the training itself would wait for long."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("homeo_rl.health.probe._DEADLINE", math.inf)  # windows end it, however slow the machine is
    monkeypatch.chdir(tmp_path)
    given = {
        "agent_kwargs": {"hidden": [8]},
        **({"n_steps": 32, "batch_size": 32, "n_epochs": 1} if algo == "ppo" else {}),
    }
    plan = TrainingPlan(algo=algo, env="toy_envs:Point-v0", steps=50_000, hyperparams=given)
    measured, rates, by = measure(*prepare(plan), 0.2)
    assert by == "numba"
    assert list(tmp_path.glob("homeo-rl*")) == []
    assert set(rates) == {"decisions", "env_steps", "training_steps"}
    for rate in rates.values():
        assert 0 < rate.low <= rate.median <= rate.high < math.inf
    assert measured.steps >= 600
    assert 20 <= measured.episode <= 40
    assert (measured.collecting is None) == (algo == "ppo")
    assert measured.learning.windows >= 1


def doctor(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, dict[str, Any]]:
    code = 0
    try:
        main(["doctor", "--json", *([] if "--seconds" in words else ["--seconds", "0"]), *words])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return code, err, json.loads(out.splitlines()[-1])


def test_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever will not work ends with 1; whatever could be better does not."""
    monkeypatch.setattr(examine, "list_installed", lambda: distributions(tmp_path, HEALTHY))
    code, err, told = doctor(["--env", "toy_envs:Point-v0", "-f", str(tmp_path / "runs")], capsys)
    assert (code, told["ok"]) == (0, True)
    assert "homeo-rl: " not in err
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert {"Python", "numpy", "cores", "memory", "disk", "rendering", "CUDA", "Triton", "terminal"} < set(states)
    assert not (tmp_path / "runs").exists()

    other = tmp_path / "other"
    other.mkdir()
    broken = distributions(other, {**HEALTHY, "mujoco": ("2.3.7", [])})
    monkeypatch.setattr(examine, "list_installed", lambda: broken)
    code, err, told = doctor(["--env", "toy_envs:Pointt-v0"], capsys)
    assert (code, told["ok"]) == (1, False)
    wrong = [check for check in told["checks"] if check["state"] == "fails"]
    assert [check["name"] for check in wrong] == ["mujoco", "training"]
    assert "did you mean 'Point-v0'" in " ".join(wrong[1].values())
    assert "2 of" in err
    assert all(check["fix"] == check["do"] != "" for check in told["checks"] if check["state"] != "ok")
    assert {(check["state"], check["severity"]) for check in told["checks"]} <= SEVERITIES.items()


def test_doctor_of_an_environment_that_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = doctor(["--env", "toy_envs:Broken-v0", "--seconds", "0.1"], capsys)
    assert code == 1
    (wrong,) = (check for check in told["checks"] if check["state"] == "fails")
    assert wrong["name"] == "measurement"
    assert "nan" in wrong["found"].lower()


def test_doctor_of_a_run(tmp_path: Path, make_run: Callable[..., Run]) -> None:
    """The training of a run, and of an interrupted one what is left."""
    plan = TrainingPlan(algo="td3", env="toy_envs:Point-v0", steps=30_000, seed=3, hyperparams={"gamma": 0.9})
    settled, spec = prepare(plan)
    run = Run.create(tmp_path / "trained", replace(spec, steps=20_000))
    run.export_folder.mkdir()
    (run.export_folder / "args.yml").write_text("eval_freq: 500\neval_episodes: 2\n")
    found, done = plan_of(run.path)
    assert (found.algo, found.steps, found.seed, done) == ("td3", 30_000, 3, 20_000)
    assert work(found, spec, done) == Work(10_000, 0, 2 * 20)
    assert work(settled, spec) == Work(30_000, 10_000, 5 * 3)
    assert prepare(found)[1].hyperparams == spec.hyperparams
    with pytest.raises(Exception, match="expected a run that was trained here"):
        plan_of(make_run().path)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It writes nothing, and prints a preset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("homeo_rl.cli.dry_run._SECONDS", 0.1)
    (tmp_path / "runs" / "ppo" / "Point-v0_4").mkdir(parents=True)
    words = ["train", "--env", "toy_envs:Point-v0", "-n", "5000", "--seed", "2", "-params", "n_steps:32",
             "batch_size:32", "agent_kwargs:{hidden: [8]}", "--dry-run", "--json"]  # fmt: skip
    before = tree(tmp_path)
    main(words)
    said, out = capsys.readouterr()
    assert tree(tmp_path) == before
    told = json.loads(said)
    assert told["run"] == "runs/ppo/Point-v0_5"
    assert told["going_on"] is None
    assert told["memory"] > 0
    assert 0 < told["seconds"]["low"] <= told["seconds"]["seconds"] <= told["seconds"]["high"]
    (tmp_path / "mine.yml").write_text(out)
    preset = read_preset(tmp_path / "mine.yml")
    assert (preset.env, preset.n_timesteps) == ("toy_envs:Point-v0", 5000)
    assert preset.hyperparams["n_steps"] == 32
    assert "measured over" in out


def test_dry_run_of_an_interrupted_training(tmp_path: Path) -> None:
    """The run that would be gone on with is named, and its lock left as it is; a run that is being written is not."""
    plan, spec = prepare(TrainingPlan(algo="ppo", env="toy_envs:Point-v0", steps=5000, log_folder=tmp_path))
    assert dry_run(plan, spec).folder == tmp_path / "ppo" / "Point-v0_1"
    run = Run.create(tmp_path / "ppo" / "Point-v0_1", replace(spec, steps=2000))
    (run.path / "checkpoints").mkdir()
    before = tree(tmp_path)
    found = dry_run(plan, spec)
    assert (found.folder, found.going_on, found.work.steps) == (run.path, 2000, 3000)
    assert dry_run(replace(plan, fresh=True), spec).folder.name == "Point-v0_2"
    assert dry_run(replace(plan, out=tmp_path / "mine"), spec).folder == tmp_path / "mine"
    assert tree(tmp_path) == before
    with run.hold():
        assert dry_run(plan, spec).folder.name == "Point-v0_2"


def test_nothing_heavy_is_loaded_for_help() -> None:
    code = (
        "import sys\nfrom homeo_rl.cli import main\n"
        "for words in (['doctor', '--help'], ['tune', '--help'], ['completion', '--help']):\n"
        "    try:\n        main(words)\n    except SystemExit as leaving:\n        assert not leaving.code\n"
        "assert not {'torch', 'optuna', 'scipy', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_completion(tmp_path: Path) -> None:
    """Bash reads the script, and completes a command and a flag."""
    asked = [sys.executable, "-m", "homeo_rl", "completion", "bash"]
    script = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    (tmp_path / "homeo-rl").write_text(script)
    subprocess.run(["bash", "-n", str(tmp_path / "homeo-rl")], check=True)
    for line, word in (("homeo-rl doc", "doctor"), ("homeo-rl tune --n-tr", "--n-trials")):
        words = " ".join(line.split())
        asking = (
            f"source {tmp_path / 'homeo-rl'}; COMP_WORDS=({words}); COMP_CWORD={len(line.split()) - 1}; "
            f"COMP_LINE='{line}'; COMP_POINT={len(line)}; "
            "f=$(complete -p homeo-rl | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f; echo \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", asking], check=True, capture_output=True, text=True)
        assert word in done.stdout.split(), done
