"""What the documentation shows is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r'^```(python|yaml|bash)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["docs/extending.md"])
def test_page(page: str, tmp_path: Path) -> None:
    """Files with a title are written, commands are run in their order."""
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    commands = 0
    for kind, title, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if title:
            (tmp_path / title).write_text(text, encoding="utf-8")
        elif kind == "bash":
            for line in text.splitlines():
                words = shlex.split(line)
                assert words[0] == "homeo-rl"
                command = [sys.executable, "-W", "error", "-m", "homeo_rl", *words[1:]]
                done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
                assert done.returncode == 0, (line, done.stderr[-2000:])
                commands += 1
    assert commands >= 3
