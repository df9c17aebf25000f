"""The path of docs/deploy.md, from a training to a robot that repairs itself, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
BLOCK = re.compile(r'^```(?:python|c|bash)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
DISTANCES = re.compile(r"robot: distance from the twin: healthy ([\d.]+), damaged ([\d.]+), after the sleep ([\d.]+)")


def test_the_path_to_a_robot(tmp_path: Path) -> None:
    """Trained, calibrated, exported, compiled, run against the simulator, damaged, repaired: in C and in Python."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error",
    }  # fmt: skip
    work = tmp_path / "work"
    for folder in (tmp_path / "home", work):
        folder.mkdir()
    commands, has_compiler, seen = [], shutil.which("gcc") is not None, []
    for title, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if title:
            (work / title).write_text(text, encoding="utf-8")
            continue
        for command in text.splitlines():
            commands.append(command)
            if not has_compiler and (command.startswith("gcc") or command.endswith("./robot")):
                continue
            done = subprocess.run(
                ["bash", "-c", command], cwd=work, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
            seen += [[float(value) for value in values] for values in DISTANCES.findall(done.stdout)]
    assert len(commands) == 6
    assert len(seen) == (2 if has_compiler else 1)
    for healthy, damaged, repaired in seen:
        assert healthy == 0.0
        assert 0.0 < repaired < damaged
    if not has_compiler:
        pytest.skip("all but the controller in C ran: gcc is not installed (apt-get install gcc)")
