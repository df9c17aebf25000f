"""`homeo-rl ablate`: the same seeds with and without IMP and a last-step read-out, going on where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from homeo_rl.agents.controller import load_controller
from homeo_rl.cli import main
from homeo_rl.run import Run
from homeo_rl.workflows.ablate import ARMS

WORDS = ["ablate", "--env", "InvertedPendulum-v5", "-n", "256", "--seeds", "2", "--episodes", "2", "--workers", "2",
         "--time-steps", "1,4", "-params", "n_steps:128", "batch_size:64", "n_epochs:1", "agent_kwargs:{hidden: [8]}",
         "--no-progress", "--json"]  # fmt: skip


def test_arms_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every arm has its runs, cells with intervals at every cut, and a picture; a second call trains nothing again."""
    out = tmp_path / "ablation"

    def call(*flags: str) -> dict[str, Any]:
        main([*WORDS, "--out", str(out), *flags])
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    told = call()
    assert {(cell["arm"], cell["label"]) for cell in told["cells"]} == {(a, f"T = {t}") for a in ARMS for t in (1, 4)}
    assert all(cell["episodes"] == 2 and cell["ci_low"] <= cell["iqm"] <= cell["ci_high"] for cell in told["cells"])
    assert Path(told["picture"]).stat().st_size > 5000
    for arm, fields in ARMS.items():
        run = Run.open(out / arm.replace(" ", "") / "seed-1")
        assert run.spec.controller is not None
        network = run.spec.controller.network
        assert (network.initial, network.readout.kind) == (fields["initial"], fields["readout"]["kind"])
        names = [name for name, _ in load_controller(run).network.named_parameters()]
        assert any(name.startswith("initial") for name in names) == (fields["initial"] == "neuron")
    written = {path: path.stat().st_mtime_ns for path in out.rglob("policy/*")}
    marker = out / "IMP" / "seed-0.json"
    marker.unlink()  # as if it had been cut off after this training
    assert call("--workers", "1") == told
    again = {path: path.stat().st_mtime_ns for path in out.rglob("policy/*")}
    assert again == written, "a training that is finished is not done again"
    for flags, word in (
        (["--arms", "IMP,TLS"], "arm"),
        (["--num-seeds", "0"], "--num-seeds"),
        (["--episodes", "3"], "--out"),
    ):
        with pytest.raises(SystemExit):
            main([*WORDS, "--out", str(out), *flags])
        assert word in capsys.readouterr().err
