"""``homeo-rl export --to c``: the folder, its contract, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_controller import STRICT, make_small_run, needs_gcc
from cli_calls import call
from test_c_networks import make_controller

from homeo_rl.agents.controller import load_controller, save_controller
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.contract import hash_weights
from homeo_rl.exchange.c.description import describe, require_expressible
from homeo_rl.exchange.c.export import export_c, name_of
from homeo_rl.exchange.c.mechanism import split
from homeo_rl.exchange.c.tables import real, real_below
from homeo_rl.exchange.exported_file import fingerprint
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.run import Run
from homeo_rl.storage.pretrained import FOLDER
from homeo_rl.workflows import deploy
from homeo_rl.workflows.deploy import STUCK_AT, observe


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@needs_gcc
def test_navigation_is_exported_built_and_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "controller"
    monkeypatch.chdir(tmp_path)  # a copy of the agent is calibrated in the folder of the work
    printed, _ = call("export", "navigation-san", "--to", "c", "--out", out, "--homeostasis", "sleep", capsys=capsys)
    assert "after a sleep" in printed
    sources = [str(path) for path in (out / "src").glob("*.c")]
    program = out / "test_controller"
    command = ["gcc", *STRICT, "-O2", f"-I{out / 'src'}", f"-I{out / 'test'}", *sources,
               str(out / "test" / "test_controller.c"), "-lm", "-o", str(program)]  # fmt: skip
    subprocess.run(command, check=True)
    assert "equal" in subprocess.run([program], capture_output=True, text=True, check=True).stdout
    contract = json.loads((out / "contract.json").read_text())
    assert contract["control_period_s"] == 0.1
    assert contract["observation"]["size"] == 24
    assert contract["observation"]["entries"][6]["name"] == "0.35 m / range of beam 0"
    assert [entry["name"] for entry in contract["action"]["entries"]] == ["left wheel", "right wheel"]
    assert "PCG64" in contract["randomness"]


def test_the_contract_says_what_the_policy_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_small_run(tmp_path / "run"), tmp_path / "deep" / "controller"
    call("export", run.path, "--to", "c", "--out", out, "--homeostasis", "dwam-paper", capsys=capsys)
    contract, controller = json.loads((out / "contract.json").read_text()), load_controller(run)
    assert contract["format"] == "homeo-rl c 1"
    assert contract["homeostasis"] == "dwam-paper"
    assert contract["spec_sha256"] == fingerprint(controller.spec)
    assert contract["weights_sha256"] == hash_weights(describe(controller))
    names = [entry["name"] for entry in contract["observation"]["entries"]]
    assert names == ["position of slider", "position of hinge", "velocity of slider", "velocity of hinge"]
    assert [entry["unit"] for entry in contract["observation"]["entries"]] == ["m", "rad", "m/s", "rad/s"]
    assert contract["action"]["entries"] == [{"index": 0, "name": "slide", "unit": "control", "low": -3.0, "high": 3.0}]
    assert contract["control_period_s"] == pytest.approx(0.04)
    assert {"src/homeo.h", "src/run.c", "src/run.h", "test/recorded.h", "CMakeLists.txt", "README.md"} <= set(tree(out))
    readme = (out / "README.md").read_text()
    assert "@" not in readme
    assert "every 40 ms" in readme


def test_an_export_is_repeated_byte_for_byte(tmp_path: Path) -> None:
    run = make_small_run(tmp_path / "run")
    first, second = (deploy.export_controller(load_controller(run), run, arm="dwam+sleep") for _ in range(2))
    assert first.files == second.files


def test_it_writes_a_folder_once_and_nothing_where_it_fails(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(), tmp_path / "controller"
    words = ("export", run.path, "--to", "c", "--out", out)
    _, message = call(*words, "--homeostasis", "linear", code=2, capsys=capsys)
    assert "expected for --to c none, dwam, dwam-paper, bdett, sleep" in message
    mlp = make_run(agent="mlp", name="mlp")
    _, message = call("export", mlp.path, *words[2:], code=2, capsys=capsys)
    assert "got one of body 'mlp'; take --to onnx" in message
    _, message = call("export", run.path, "--to", "nir", "--out", out, "--homeostasis", "dwam", code=2, capsys=capsys)
    assert "--homeostasis and --number: expected --to c, got --to nir; leave them out" in message
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    call(*words, capsys=capsys)
    before = tree(out)
    _, message = call(*words, code=2, capsys=capsys)
    assert "expected a new or empty folder" in message
    assert tree(out) == before


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("linear", "take one of these"),
        ("linear-rehearsed", "take one of these"),
        ("bdett+dwam", "take dwam, or bdett\\+dwam-paper"),
        ("dwam-paper:scope=run", "scope=episode, got dwam-paper with scope=run"),
        ("bdett:scope=decision", "scope=episode, got bdett"),
        ("ridge", "got ridge; take sleep"),
        ("weight-copy", "got copy; take sleep"),
        ("sleep:form=delta:pause=3", "without pause"),
        ("ridge+observer", "got ridge; take sleep"),
        ("sleep:ramp=3", "without ramp"),
    ],
)
def test_mechanisms_that_it_has_not_are_refused(arm: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split(make_homeostasis(arm))


@pytest.mark.parametrize("arm", ["observer", "sleep:form=delta+observer"])
def test_an_observer_needs_a_forward_model_and_floats(
    arm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_small_run(tmp_path / "run"), tmp_path / "controller"
    words = ("export", run.path, "--to", "c", "--out", out, "--homeostasis", arm)
    _, message = call(*words, code=2, capsys=capsys)
    assert "got none; make one with homeo-rl calibrate RUN --practice 60000, or leave observer out" in message
    _, message = call(*words, "--number", "int", code=2, capsys=capsys)
    assert f"--number int: expected --homeostasis none, integers do not adapt, got {arm}" in message
    assert not out.exists()


def test_policies_that_it_cannot_hold_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 8 layers"):
        require_expressible(make_controller(network={"hidden": (3,) * 8}))
    with pytest.raises(UsageError, match="expected a memory"):
        describe(make_controller(), make_homeostasis("sleep:form=delta"))
    with pytest.raises(UsageError, match="expected a calibration"):
        describe(make_controller(), make_homeostasis("dwam-paper"))


@pytest.mark.parametrize("name", ["case", "double", "size_t", "homeo_act", "2fast", "Müller's run", "table_low", "new"])
def test_every_name_of_a_run_becomes_one_that_compiles(name: str, tmp_path: Path) -> None:
    identifier = name_of(name)
    assert identifier.isidentifier()
    assert identifier.isascii()
    if name not in ("Müller's run", "2fast"):
        assert identifier == f"policy_{name}"
    with pytest.raises(UsageError, match="rename its folder"):
        name_of("***")


def test_a_bound_is_kept_by_the_same_float32_numbers() -> None:
    for value in (0.0005, 0.005, 0.02, 0.5, 0.0):
        bound = np.float32(real_below(value).rstrip("f"))
        assert float(bound) <= value
        assert float(np.nextafter(bound, np.float32(1.0))) > value


def test_numbers_read_back_to_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=500), 10.0 ** rng.uniform(-38, 38, 500), [0.0, 1.0, 3.0, 1e15]])
    for value in values.astype(np.float32).tolist():
        text = real(value)
        assert text.endswith("f")
        assert np.float32(text[:-1]) == np.float32(value)


def test_a_policy_that_was_changed_is_another_contract(tmp_path: Path) -> None:
    run = make_small_run(tmp_path / "run")
    controller = load_controller(run)
    plant = deploy.Plant(env="E")
    before = export_c(controller, deploy.Deployment(name="p", plant=plant)).files
    controller.network.layers[0].weight[0, 0] += 1.0  # type: ignore[union-attr,operator]  # it is spiking
    save_controller(run, controller)
    after = export_c(load_controller(run), deploy.Deployment(name="p", plant=plant)).files
    assert json.loads(before["contract.json"])["weights_sha256"] != json.loads(after["contract.json"])["weights_sha256"]
    assert export_c(load_controller(run), replace(deploy.Deployment(name="p", plant=plant))).files == after


def test_recorded_sensors_are_stuck_where_they_are_asked_to_be() -> None:
    controller = load_controller(Run.open(FOLDER / "popsan-hopper-0"))
    with closing(make_env("Hopper-v5", {})) as env:
        healthy, faulty = observe(controller, env, 80), observe(controller, env, 80, [2, 3])
    assert (np.diff(healthy, axis=0) != 0.0).any(1).all()
    assert np.array_equal(healthy[: STUCK_AT + 1], faulty[: STUCK_AT + 1])
    assert (faulty[STUCK_AT:, [2, 3]] == faulty[STUCK_AT, [2, 3]]).all()
    assert (np.diff(np.delete(faulty, [2, 3], 1), axis=0) != 0.0).any(1).all()
