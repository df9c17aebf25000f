"""What these tests share: the installed wheel in a scratch folder, commands with their output, a table at the end."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import homeo_rl

HERE = Path(__file__).resolve().parent
VENV = Path(sys.prefix)
BIN = VENV / "bin"
SUITES = VENV / "suites"
RESULTS = VENV / "results"

if not Path(homeo_rl.__file__).is_relative_to(VENV):
    raise pytest.UsageError(
        f"expected the installed wheel of {VENV}, got {homeo_rl.__file__}; run `make test-compat`, which leaves the "
        "checkout off the path"
    )


def own(**more: str) -> dict[str, str]:
    """Return the environment of a command: no checkout on the path, one thread, no window."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    headless = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    return kept | headless | {"NO_COLOR": "1", "COLUMNS": "200"} | more


def call(text: str, *words: object, cwd: Path, timeout: float = 900, **env: str) -> str:
    """Run a command of the virtual environment, ``text`` and the words that follow it; return what it printed.

    It fails, with what was printed, if the command does.
    """
    program, *rest = shlex.split(text)
    command = [str(BIN / program), *rest, *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env=own(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


def record(name: str, **figures: Any) -> None:
    """Keep a line for the table at the end."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name.replace('/', '-')}.json").write_text(json.dumps({"name": name, **figures}))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget the results of another session; workers of pytest-xdist belong to this one."""
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        for path in RESULTS.glob("*.json"):
            path.unlink()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    lines = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    if lines:
        terminalreporter.section("measured")
    suite = [line for line in lines if "with_ours" in line]
    if suite:
        kinds = ("tests", "passed", "skipped", "failed", "with_ours")
        lines.append({"name": "sb3, all of it"} | {kind: sum(line[kind] for line in suite) for kind in kinds})
    for line in lines:
        terminalreporter.write_line(f"{line.pop('name'):34} {'  '.join(f'{k} {v}' for k, v in line.items())}")
