"""The house itself: what is exported, what is packaged, what may not be in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from project_files import FOLDERS, ROOT, sources

import homeo_rl


def test_front_door() -> None:
    assert len(homeo_rl.__all__) == len(set(homeo_rl.__all__))
    for name in homeo_rl.__all__:
        assert getattr(homeo_rl, name).__doc__, f"{name} has no docstring"
    assert set(homeo_rl.__all__) <= set(dir(homeo_rl))
    with pytest.raises(AttributeError, match="no attribute 'flarn'"):
        _ = homeo_rl.flarn


def test_import_is_cheap() -> None:
    heavy = ("torch", "stable_baselines3", "mujoco", "numba", "scipy", "matplotlib", "pydantic")
    code = f"import sys, homeo_rl; assert not {set(heavy)} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_packages_are_those_on_the_disk() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    patterns = ("*/__init__.py", "*/*/__init__.py", "*/*/*/__init__.py")  # "**" would not follow the links
    inner = [path for pattern in patterns for path in (ROOT / "homeo_rl").glob(pattern)]
    assert set(listed) == {"homeo_rl"} | {".".join(path.relative_to(ROOT).parent.parts) for path in inner}


def test_links_are_relative_and_point_to_the_rooms() -> None:
    for name in FOLDERS[1:]:
        link = ROOT / "homeo_rl" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name


def test_no_code_runs_from_files_and_nothing_evaluates_text() -> None:
    """No pickle, eval, exec or unsafe YAML in the package; zips of SB3 are read back by `torch_program` alone."""
    banned = re.compile(
        r"\b(pickle|cloudpickle|joblib|marshal|shelve)\b|(?<![\w.])(eval|exec)\(|yaml\.(load|unsafe_load|full_load)\(|torch\.load\(|allow_pickle=True"
        r"|\bload_from_(zip_file|pkl)\b|\.set_parameters\(|\b(PPO|A2C|SAC|TD3|DDPG|VecNormalize|BaseAlgorithm)\.load\("
    )
    lines = [
        f"{path}: {line.strip()}"
        for path in sources()
        for line in path.read_text().splitlines()
        if banned.search(line.split("#")[0])
    ]
    assert not [line for line in lines if '"""' not in line], lines


def test_arrows_point_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as check; check()", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel_holds_everything_and_only_our_name(tmp_path: Path) -> None:
    """Built from a copy without links, as some tools make them: all rooms inside homeo_rl, data beside its module."""
    import shutil

    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__", *(FOLDERS[1:] if name == "homeo_rl" else ()))
            shutil.copytree(source, copy / name, ignore=skip)
        else:
            shutil.copy(source, copy / name)
    code = "from setuptools import build_meta as b; print(b.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = copy.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"homeo_rl"}
    assert {"homeo_rl/envs/make.py", "homeo_rl/agents/session.py", "homeo_rl/py.typed"} <= set(names)
    assert "homeo_rl/degradations/suites/paper-mujoco.yaml" in names
    assert "homeo_rl/envs/navigation/worlds/evaluation.json" in names
    assert "homeo_rl/report/baselines.yaml" in names
    assert "homeo_rl/live/page/index.html" in names
    assert "homeo_rl/agents/pretrained/navigation-san/policy/manifest.json" in names
    modules = {
        f"homeo_rl/{path.relative_to(ROOT / 'homeo_rl')}" for path in sources() if ROOT / "homeo_rl" in path.parents
    }
    assert modules <= set(names)


def test_public_modules_say_what_they_are() -> None:
    for path in sources():
        assert path.read_text().startswith('"""'), f"{path} has no module docstring"


def test_readme_program_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "model.learn" in program
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "it litters the folder it runs in"


def test_suite_of_the_page_loads(tmp_path: Path) -> None:
    from homeo_rl.degradations import DEGRADATIONS, load_suite

    text = (ROOT / "docs" / "degradations.md").read_text()
    (suite,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(suite)
    assert [c.label for c in load_suite(str(tmp_path / "mine.yaml")).conditions] == [
        "clean",
        "tired@0.3",
        "tired@0.6",
        "tired",
    ]
    assert all(kind in text for kind in DEGRADATIONS), "the page lists every kind"
