"""The wheel in a folder of its own: every command that a new user meets, far from a checkout."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import pytest
from conftest import call, record

SMALL = ("-params", "agent_kwargs:{hidden: [16, 16]}", "n_envs:2", "n_steps:128")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a trained run in it."""
    path = tmp_path_factory.mktemp("elsewhere")
    call("homeo-rl train --env InvertedPendulum-v5 -n 1024 --eval-freq 512 --out run", *SMALL, cwd=path)
    return path


def test_only_our_name_is_installed() -> None:
    """Neither `envs` nor `agents` reaches site-packages."""
    listed = distribution("homeo-rl").files or []
    information = f"homeo_rl-{distribution('homeo-rl').version}.dist-info"
    assert {entry.parts[0] for entry in listed if entry.parts[0] != ".."} == {"homeo_rl", information}
    record("wheel", files=len(listed))


def test_commands_on_a_run(folder: Path) -> None:
    """Evaluate, watch, report, inspect, export, and go on with the training."""
    told = call("homeo-rl evaluate run --suite quick --episodes 2 --workers 1 --json", cwd=folder)
    json.loads(told.splitlines()[-1])
    (scores,) = (folder / "run" / "evaluations").glob("quick_*/scores.csv")
    assert scores.stat().st_size > 500
    call("homeo-rl enjoy run --video pole.gif --steps 20", cwd=folder)
    assert (folder / "pole.gif").read_bytes()[:3] == b"GIF"
    call("homeo-rl report run --out pole.html", cwd=folder)
    page = (folder / "pole.html").read_text()
    assert "<svg" in page
    assert "weights-gaussian" in page
    assert "popsan" in call("homeo-rl inspect run", cwd=folder)
    call("homeo-rl export run --to sb3-zip --out pole.zip", cwd=folder)
    call("homeo-rl verify-resume run --steps 256", cwd=folder)


def test_agent_that_comes_with_it(folder: Path) -> None:
    """Weights, worlds and suites are data of the wheel."""
    words = "--suite clean --homeostasis none --episodes 2 --workers 1"
    call(f"homeo-rl evaluate navigation-san {words}", cwd=folder)
    call("homeo-rl enjoy navigation-san --video drive.gif --steps 30", cwd=folder)
    assert (folder / "drive.gif").stat().st_size > 5000


def test_conversion(folder: Path) -> None:
    """A QCFS policy becomes a spiking one with its certificate."""
    call("homeo-rl train --env CartPole-v1 --agent qcfs -n 512 --eval-freq -1 --out qcfs", *SMALL, cwd=folder)
    call("homeo-rl convert qcfs --out spiking --episodes 2", cwd=folder)
    assert list((folder / "spiking").glob("certificate*"))


def test_compiler(folder: Path) -> None:
    """A reflex is compiled, proved, drawn, and put beside a policy."""
    words = "--inputs prox --certify --draw graph.svg"
    said = call(f"homeo-rl compile 'count(prox, 2, window=3) -> hold(4)' {words}", cwd=folder)
    assert "certificate: equal" in said
    assert (folder / "graph.svg").stat().st_size > 1000
    call("homeo-rl compose navigation-san --reflex navigation-brake --out braked", cwd=folder)


@pytest.mark.parametrize("algo", ["ppo", "a2c", "sac", "td3", "ddpg"])
def test_zoo_files(folder: Path, algo: str) -> None:
    """They come with the wheel, and say what is tuned for an environment."""
    path = Path(str(files("homeo_rl.training") / "zoo" / f"{algo}.yml"))
    env, agent = ("InvertedPendulum-v5", "popsan") if algo == "a2c" else ("homeo_rl/NavigationTrain-v0", "san")
    words = f"homeo-rl train --algo {algo} --env {env} -conf {path}"
    assert agent in call(f"{words} --dry-run", cwd=folder)
    if algo == "td3":
        call(f"{words} -n 320 --eval-freq -1", cwd=folder)
        told = json.loads((folder / "runs" / "td3" / "homeo_rl-NavigationTrain-v0_1" / "run.json").read_text())
        assert told["agent"] == "san"


def test_doctor(folder: Path) -> None:
    """It looks at everything and finds nothing wrong."""
    said = call("homeo-rl doctor --seconds 2 --json", cwd=folder)
    assert json.loads(said.splitlines()[-1])["ok"], said


IMPORTS = """
import importlib, pkgutil, homeo_rl
names = [module.name for module in pkgutil.walk_packages(homeo_rl.__path__, "homeo_rl.")]
left = []
for name in names:
    if name == "homeo_rl.__main__":
        continue
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.startswith("homeo_rl"):
            raise
        left.append(f"{name} ({error.name})")
print(len(names), *left)
"""


def test_every_module_can_be_imported(folder: Path) -> None:
    """Nothing of ours that a module needs was left out of the wheel; what needs an extra is told."""
    count, *left = call("python -W ignore -c", IMPORTS, cwd=folder).splitlines()[-1].split(maxsplit=1)
    assert int(count) > 100
    record("wheel-modules", modules=count, need_an_extra=" ".join(left) or "none")
