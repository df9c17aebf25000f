"""Make the virtual environment of `make test-compat`: rl-zoo, our wheel, and Stable-Baselines3's own tests.

    python tests_compat/prepare.py VENV            everything, once
    python tests_compat/prepare.py VENV --wheel    the wheel alone, after a change

The wheel is built from a copy, so that nothing is written into the checkout. Versions are those of `constraints.txt`
but where rl-zoo's dependencies need another one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

RL_ZOO = ("rl_zoo3[plots]==2.9.*", "requests")
"""``rl_zoo3.enjoy`` imports requests, which nothing that it depends on installs any more."""

DISAGREE = {
    "pillow": "moviepy, which rl-zoo films with, wants less than 12",
    "python-dateutil": "typepy, of rl-zoo's tables, wants less than 3",
}
"""Pins that are not kept beside rl-zoo, and why."""


def main(venv: Path, only_wheel: bool) -> None:
    """Make the environment, or put a new wheel into it."""
    python = venv / "bin" / "python"
    wheel = build_wheel(python, venv / "wheel")
    if only_wheel:
        pip(python, "install", "--force-reinstall", "--no-deps", "--no-compile", str(wheel))
        return
    constraints = constraints_without(DISAGREE, venv / "constraints.txt")
    wanted = (str(wheel), *RL_ZOO, "stable_baselines3[extra]", "pytest", "pytest-xdist")
    refuse_cuda(python, constraints, *wanted)
    pip(python, "install", "-c", str(constraints), *wanted)
    unpack_tests(python, "stable_baselines3", venv / "suites")


def build_wheel(python: Path, folder: Path) -> Path:
    """Build our wheel from a copy of what is packaged."""
    copy = folder / "source"
    shutil.rmtree(folder, ignore_errors=True)
    copy.mkdir(parents=True)
    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    for name in sorted({room.split("/")[0] for room in rooms}):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    pip(python, "wheel", "--no-deps", "--wheel-dir", str(folder), str(copy))
    (wheel,) = folder.glob("homeo_rl-*.whl")
    return wheel


def constraints_without(names: dict[str, str], path: Path) -> Path:
    """Write our pins but those of ``names`` to ``path``."""
    for name, reason in names.items():
        print(f"pin of {name} not kept: {reason}")
    lines = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.partition("==")[0].lower() not in names))
    return path


def refuse_cuda(python: Path, constraints: Path, *wanted: str) -> None:
    """Stop before gigabytes of CUDA libraries are fetched: nothing here runs on a GPU."""
    report = constraints.with_name("resolved.json")
    pip(python, "install", "--dry-run", "--report", str(report), "-c", str(constraints), *wanted)
    found = [entry["metadata"]["name"] for entry in json.loads(report.read_text())["install"]]
    cuda = sorted(name for name in found if name.lower().startswith(("nvidia-", "cuda-")))
    if cuda:
        sys.exit(
            f"expected a CPU build of torch, pip found one that brings {len(cuda)} CUDA packages ({cuda[0]}, ...); "
            "try PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-compat"
        )


def unpack_tests(python: Path, name: str, folder: Path) -> None:
    """Fetch the source of the installed version of a package, and unpack its tests and their settings alone.

    The package beside them would be imported in place of the installed one.
    """
    version = subprocess.run(
        [python, "-c", f"from importlib.metadata import version; print(version({name!r}))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    folder.mkdir(exist_ok=True)
    pip(python, "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), f"{name}=={version}")
    (archive,) = folder.glob(f"{name}-{version}.tar.gz")
    with tarfile.open(archive) as tar:
        for member in tar:  # one by one: Python 3.11.2 has no filters for extractall
            if member.isfile() and member.name.partition("/")[2].startswith(("tests/", "pyproject.toml")):
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())
    (folder / f"{name}-{version}").replace(folder / name)


def pip(python: Path, *words: str) -> None:
    """Run pip."""
    subprocess.run([python, "-m", "pip", "-qq", "--disable-pip-version-check", *words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), "--wheel" in sys.argv[2:])
