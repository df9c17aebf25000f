"""``pip check`` after each extra of pyproject.toml, added one by one to an environment without rl-zoo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest
from conftest import HERE, VENV, own, record

ROOT = HERE.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

NOT_INSTALLABLE: dict[str, str] = {}
"""Extras for which pip finds no versions that fit, and why."""

EXAMINED = r"""
import importlib, importlib.metadata as m, json, re, sys
wanted = {re.match(r"[\w.-]+", r).group() for r in sys.argv[1:]}
tops = {}
for top, names in m.packages_distributions().items():
    for name in names:
        tops.setdefault(re.sub("[-_.]+", "-", name).lower(), []).append(top)
found = {}
for name in sorted(wanted):
    for top in tops.get(re.sub("[-_.]+", "-", name).lower(), []):  # stubs alone have none
        if top.isidentifier() and not top.startswith("_") and not top.endswith("-stubs"):
            try: importlib.import_module(top)
            except Exception as error: found[top] = f"{type(error).__name__}: {error}"[:200]
import homeo_rl, homeo_rl.agents.sb3.policies
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[str]:
    """Make an environment with the wheel alone, with pinned versions; give its Python. It is removed in the end."""
    folder = VENV / "extras"
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    _pip(python, "install", "-c", str(ROOT / "constraints.txt"), _wheel())
    yield python
    shutil.rmtree(folder)


def _wheel() -> str:
    (wheel,) = (VENV / "wheel").glob("homeo_rl-*.whl")
    return str(wheel)


def _pip(python: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, env=own(), capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def _checked(python: str) -> str:
    return _pip(python, "check", check=False).stdout.strip()


def test_without_extras(bare: str) -> None:
    """Whatever is added later starts from here."""
    assert _checked(bare) == "No broken requirements found."


@pytest.mark.parametrize("extra", list(EXTRAS))
def test_extra(bare: str, extra: str) -> None:
    """It resolves beside all others, breaks no requirement, brings no CUDA, and can be imported."""
    wanted = [f"{_wheel()}[{extra}]", "-c", str(ROOT / "constraints.txt")]
    done = _pip(bare, "install", *wanted, check=False)
    assert (done.returncode != 0) == (extra in NOT_INSTALLABLE), done.stdout[-2000:] + done.stderr[-4000:]
    if extra in NOT_INSTALLABLE:
        return
    broken = _checked(bare)
    listed = json.loads(_pip(bare, "list", "--format", "json").stdout)
    cuda = sorted(entry["name"] for entry in listed if entry["name"].startswith(("nvidia-", "cuda-")))
    examined = subprocess.run(
        [bare, "-W", "ignore", "-c", EXAMINED, *EXTRAS[extra]], env=own(), capture_output=True, text=True, cwd=VENV
    )
    assert examined.returncode == 0, examined.stderr[-3000:]
    faults = json.loads(examined.stdout.splitlines()[-1])
    record(f"extra-{extra}", packages=len(listed), pip_check=broken.splitlines()[0], not_importable=faults or "none")
    assert broken == "No broken requirements found."
    assert not cuda
    assert not faults
