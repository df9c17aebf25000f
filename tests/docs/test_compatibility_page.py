"""What docs/compatibility.md shows is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from homeo_rl.cli.commands.train import Train

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")


def test_neurons_of_snntorch(tmp_path: Path) -> None:
    """In a process of its own: the neuron that it registers stays there."""
    pytest.importorskip("snntorch", reason="snntorch: not installed; pip install --no-deps snntorch")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    command = [sys.executable, "-W", "ignore", "-c", program]  # snntorch warns of its own code
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_flags_are_ours() -> None:
    """Every flag of `train` that the table of rl-zoo's calls the same is one."""
    (row,) = re.findall(r"^\| `(--algo [^`]*)` \| the same", PAGE, re.MULTILINE)
    names = {"-n": "n_timesteps", "-f": "log_folder", "-tb": "tensorboard_log", "-P": "progress"}
    for flag in row.split():
        name = names.get(flag, flag.strip("-").replace("-", "_"))
        assert name in Train.__dataclass_fields__, flag
