"""What `make setup` decides and checks before it installs."""

from __future__ import annotations

import json
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHOOSE, CHECK = ROOT / "tools" / "choose_torch.py", ROOT / "tools" / "check_pins.py"


def report(*needed: str) -> str:
    """Return what ``pip install --report`` says of a torch that needs other packages."""
    return json.dumps({"install": [{"metadata": {"name": "torch", "requires_dist": ["filelock", *needed]}}]})


@pytest.mark.parametrize(
    ("wanted", "reachable", "needed", "options", "announced"),
    [
        ("none", True, ("nvidia-nccl-cu13==2.29.7",), "", True),
        ("auto", False, ("cuda-toolkit==13.0.3",), "", True),
        ("auto", True, ("cuda-toolkit==13.0.3",), "--extra-index-url https://download.pytorch.org/whl/cpu", False),
        ("auto", True, (), "", False),
        ("https://mine.example/simple", False, (), "--extra-index-url https://mine.example/simple", False),
    ],
)
def test_choice_of_torch(
    wanted: str, reachable: bool, needed: tuple[str, ...], options: str, announced: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A CPU build where pip's indexes or another have one; gigabytes are announced before they are loaded."""
    tool = runpy.run_path(str(CHOOSE))
    asked: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, report(*([] if "--extra-index-url" in command else needed)), "")

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setitem(tool["main"].__globals__, "is_reachable", lambda url: reachable)
    monkeypatch.setitem(tool["main"].__globals__, "wants_cpu_build", lambda: True)
    tool["main"](wanted)
    out, err = capsys.readouterr()
    assert out.strip() == options
    assert ("GB to download" in err) == announced
    assert asked[0][-1].startswith("torch==")
    assert set(options.split()) <= set(asked[-1])


def test_index_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that cannot be looked up, or that keeps silent, is waited for no longer than the time limit."""
    tool = runpy.run_path(str(CHOOSE))
    monkeypatch.setitem(tool["is_reachable"].__globals__, "TIMEOUT", 0.2)
    assert not tool["is_reachable"]("http://127.0.0.1:9/whl")
    assert not tool["is_reachable"]("http://homeo-rl.invalid/whl")


def test_pins_are_checked_for_every_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One Python without a solution is a failure that shows why; settings of this machine's pip play no part."""
    tool = runpy.run_path(str(CHECK))
    seen = []

    def uv(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        seen.append(command[command.index("--python-version") + 1])
        assert "https://pypi.org/simple" in command
        assert not [name for name in env if name.startswith("PIP_")]
        code = int(seen[-1] == "3.12")
        return subprocess.CompletedProcess(command, code, "", "torch wants another triton" if code else "")

    monkeypatch.setenv("PIP_FIND_LINKS", "/some/folder")
    monkeypatch.setattr(subprocess, "run", uv)
    names = tool["main"].__globals__
    monkeypatch.setitem(names, "find_uv", lambda: "uv")
    monkeypatch.setitem(names, "is_reachable", lambda: True)
    assert tool["main"]() == 1
    out, err = capsys.readouterr()
    assert seen[:3] == ["3.11", "3.12", "3.13"]
    assert "3.12: NO SOLUTION" in out
    assert "another triton" in err
    monkeypatch.setitem(names, "is_reachable", lambda: False)
    assert tool["main"]() == 3


def test_every_pin_once() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [line.partition("==")[0].lower().replace("_", "-") for line in lines]
    assert all("==" in line for line in lines)
    assert len(names) == len(set(names))


def test_continuous_integration_runs_what_is_pinned() -> None:
    """The workflow tests the Pythons whose pins are checked, by the command that everybody uses."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    (job,) = workflow["jobs"].values()
    pythons = job["strategy"]["matrix"]["python"]
    assert runpy.run_path(str(CHECK))["PYTHONS"][: len(pythons)] == tuple(pythons)
    assert job["steps"][-1]["run"] == "make test PYTHON=python"
    for path in (*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_one_version() -> None:
    import homeo_rl

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == homeo_rl.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == homeo_rl.__version__
