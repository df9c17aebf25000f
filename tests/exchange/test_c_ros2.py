"""The exported ros2_control package: its real-time header by itself, its plugin against stand-ins for ROS."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from c_controller import STRICT, make_small_run, needs_gcc
from project_files import ROOT
from test_c_networks import make_controller

from homeo_rl.agents.controller import load_controller
from homeo_rl.exchange.c.contract import Plant
from homeo_rl.exchange.c.export import Deployment, export_c
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.workflows.deploy import export_controller

pytestmark = [needs_gcc, pytest.mark.skipif(shutil.which("g++") is None, reason="not installed: apt-get install g++")]
SUPPORT = ROOT / "tests" / "support"


@pytest.fixture(scope="module", params=["dwam+sleep:form=delta", "none", "observer"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = tmp_path_factory.mktemp("run") / "small"
    if request.param == "observer":
        Run.of(copy_pretrained("popsan-hopper-0", small.parent)).path.rename(small)
    run = Run.of(small) if small.exists() else make_small_run(small)
    folder = tmp_path_factory.mktemp("exported")
    for name, blob in export_controller(load_controller(run), run, arm=request.param).files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blob)
    return folder


def test_header_and_plugin_decide_test_and_sleep_without_allocating(exported: Path, tmp_path: Path) -> None:
    objects = []
    for source in sorted((exported / "src").glob("*.c")):
        objects.append(str(tmp_path / f"{source.stem}.o"))
        subprocess.run(["gcc", *STRICT, "-O2", "-c", str(source), "-o", objects[-1]], check=True)
    flags = [
        "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-fsanitize=undefined",
        "-fno-sanitize-recover=all", f"-I{SUPPORT / 'ros2_stubs'}", f"-I{exported / 'src'}", f"-I{exported / 'test'}",
        f"-I{exported / 'ros2' / 'include'}", '-DCONTROLLER_HEADER="small_controller.hpp"',
        "-DCONTROLLER_SPACE=small_control",
    ]  # fmt: skip
    sources = [str(exported / "ros2" / "src" / "small_ros2_controller.cpp"), str(SUPPORT / "ros2_drive.cpp")]
    subprocess.run(["g++", *flags, *sources, *objects, "-lm", "-o", str(tmp_path / "drive")], check=True)
    done = subprocess.run([tmp_path / "drive"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_parameters_are_those_of_the_contract(exported: Path) -> None:
    contract = json.loads((exported / "contract.json").read_text())
    parameters = yaml.safe_load((exported / "ros2" / "controller.yaml").read_text())
    manager, ours = (parameters[name]["ros__parameters"] for name in ("controller_manager", "small"))
    assert manager["update_rate"] == {11: 125, 4: 25}[contract["observation"]["size"]]
    assert manager["small"]["type"] == "small_control/Ros2Controller"
    assert len(ours["state_interfaces"]) == contract["observation"]["size"]
    assert len(ours["command_interfaces"]) == contract["action"]["size"]
    assert ours["slices_per_update"] == (40 if "observer" in contract else 1)
    for name in ("package.xml", "plugin.xml"):
        ElementTree.parse(exported / "ros2" / name)
    for path in (exported / "ros2").rglob("*"):
        assert path.is_dir() or "@NAME@" not in path.read_text()


def test_choices_are_no_commands() -> None:
    controller = make_controller(low=(), high=())
    made = export_c(controller, Deployment(name="chooser", plant=Plant(env="E")))
    assert not [name for name in made.files if name.startswith("ros2/")]
