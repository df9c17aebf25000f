"""The page of sweeps, and the recipes for clusters."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from sweep_calls import (
    ROOT,
)

from homeo_rl.sweeps.read_sweep import read_sweep
from homeo_rl.sweeps.sweep_spec import Training


def test_the_page_s_files_are_sound(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text()
    grids = [block for block in page.split("```") if block.startswith("yaml")]
    for number, block in enumerate(grids):
        path = tmp_path / f"{number}.yml"
        path.write_text(block.removeprefix("yaml"))
        sweep, combinations = read_sweep(path)
        assert sweep.seeds
        assert combinations
    assert grids
    fields = [name for name in Training.__dataclass_fields__ if name not in page]
    assert not fields, f"the page does not name {fields}"


RECIPES = ROOT / "docs" / "cluster"


def test_the_cluster_s_file_is_sound() -> None:
    document = yaml.safe_load((RECIPES / "ray-cluster.yaml").read_text())
    assert set(document) >= {"cluster_name", "provider", "auth", "head_start_ray_commands", "worker_start_ray_commands"}
    commands = [command for name, value in document.items() if name.endswith("commands") for command in value]
    for command in commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    if importlib.util.find_spec("ray") is not None:
        schema = Path(importlib.util.find_spec("ray").origin).parent / "autoscaler" / "ray-schema.json"  # type: ignore[union-attr, arg-type]
        importlib.import_module("jsonschema").validate(document, json.loads(schema.read_text()))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("slurm-array.sh", "homeo-rl sweep grid.yml --out /shared/sweep --workers 16"),
        (
            "slurm-ray.sh",
            "ray symmetric-run --address node1:10007 --min-nodes 3 --num-cpus 16 --object-store-memory 1000000000 -- "
            "BIN/homeo-rl sweep grid.yml --out /shared/sweep --ray auto",
        ),
    ],
)
def test_slurm_s_scripts_run(script: str, words: str, tmp_path: Path) -> None:
    """With Slurm's commands, Ray's and ours put in place by some that say what they are given."""
    assert {path.name for path in RECIPES.glob("*.sh")} == {"slurm-array.sh", "slurm-ray.sh"}
    for name in ("homeo-rl", "ray"):
        (tmp_path / name).write_text(f'#!/bin/bash\necho {name} "$@"\n')
    (tmp_path / "srun").write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/bash\nprintf 'node1\\nnode2\\nnode3\\n'\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    slurm = {
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_JOB_ID": "40007",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_NODELIST": "n",
    }
    own = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOMEO_RL_BIN": str(tmp_path), **slurm}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(RECIPES / script), *arguments]
        return subprocess.run(command, env=own, capture_output=True, text=True, check=False)

    done = call("grid.yml", "/shared/sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == words.replace("BIN", str(tmp_path))
    assert "expected the sweep's file" in call().stderr
    assert call("grid.yml").returncode != 0
