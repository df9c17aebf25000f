"""A zip of Stable-Baselines3, an ONNX graph and a function in one study, paired by their seeds."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import torch
from cli_calls import call, last
from stable_baselines3 import PPO

from homeo_rl.envs.make import make_env
from homeo_rl.errors import NumericalFault, UsageError
from homeo_rl.evaluation.progress import NullProgress
from homeo_rl.run import Run
from homeo_rl.studies.page import write_page
from homeo_rl.studies.results import contrast_hosts, read_results
from homeo_rl.studies.run_study import carry_out
from homeo_rl.studies.study import read_study

SUITE = """
name: faults
version: 1
conditions:
  - {name: clean}
  - {name: noise, degradations: [{kind: obs-gaussian, std: 0.5}]}
  - {name: zeros, degradations: [{kind: weights-zero, fraction: 0.5}]}
"""
STUDY = """
name: any
episodes: 4
host_contrasts: [[ppo.zip, twin.onnx], [ppo.zip, "own_policies:home"]]
groups:
  - name: points
    env: toy_envs:Point-v0
    suite: suite.yaml
    arms: [none, dwam]
    hosts: [zoo/ppo.zip, twin.onnx, "own_policies:home"]
"""


def make_twins(folder: Path) -> None:
    """Train PPO for a moment, save it, and write its actor as a graph."""
    model = PPO("MlpPolicy", make_env("toy_envs:Point-v0"), n_steps=32, batch_size=32, seed=0, device="cpu")
    model.learn(32)
    policy: Any = model.policy
    with torch.no_grad():
        policy.action_net.weight.mul_(40.0)  # its actions vary, as those of a trained one
    (folder / "zoo").mkdir()
    model.save(folder / "zoo" / "ppo.zip")
    linears = [part for part in [*policy.mlp_extractor.policy_net, policy.action_net] if hasattr(part, "weight")]
    layers = [(part.weight.detach().numpy(), part.bias.detach().numpy()) for part in linears]
    onnx_models.write_mlp(folder / "twin.onnx", layers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "study.yaml").write_text(STUDY)
    make_twins(tmp_path)
    return tmp_path


def run_study(folder: Path, out: Path) -> tuple[int, int]:
    study, base = read_study(str(folder / "study.yaml"))
    return carry_out(study, base, out, workers=1, progress=NullProgress())


def test_three_kinds_of_policies_in_one_study(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out"
    call("study", folder / "study.yaml", "--out", out, "--dry-run", capsys=capsys)
    assert not out.exists()
    assert run_study(folder, out) == (3, 3)
    assert run_study(folder, out) == (0, 3), "nothing is evaluated twice"
    rows = list(csv.DictReader(io.StringIO(gzip.decompress((out / "scores.csv.gz").read_bytes()).decode())))
    seeds = {host: [r["seed"] for r in rows if (r["host"], r["condition"]) == (host, "clean")] for host in
             ("ppo.zip", "twin.onnx", "own_policies:home")}  # fmt: skip
    assert seeds["ppo.zip"] == seeds["twin.onnx"] == seeds["own_policies:home"]
    assert len(set(seeds["ppo.zip"])) == 4
    results = read_results(out)
    conditions = {(cell.host, cell.condition) for cell in results.cells}
    assert ("twin.onnx", "zeros") in conditions
    assert ("own_policies:home", "zeros") not in conditions, "its weights are not known"
    ((group, twins),) = contrast_hosts(results, ("ppo.zip", "twin.onnx"))
    assert group == "points"
    assert [each.label for each in twins] == ["noise", "zeros", "all 2"]
    for host in ("ppo.zip", "twin.onnx"):
        assert results.of("points", "none", host=host, condition="clean")[0].figures["return"].std() > 0
    for cell in ("clean", "noise", "zeros"):
        both = (results.of("points", "none", host=host, condition=cell)[0] for host in ("ppo.zip", "twin.onnx"))
        first, second = (of_host.figures["return"] for of_host in both)
        np.testing.assert_allclose(first, second, rtol=1e-4)  # one policy in two files
    ((_, others),) = contrast_hosts(results, ("ppo.zip", "own_policies:home"))
    (noise,) = others
    assert noise.damaged.low < noise.damaged.high
    page = write_page(results, out).read_text()
    assert "### ppo.zip minus own_policies:home" in page
    assert f"- noise: {noise.reading}." in page


def test_mistakes_in_hosts_are_found_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY
    for before, after, message in (
        ("own_policies:home", "own_policies:wide", r"host 'own_policies:wide'.*expected actions of shape \[N, 2\]"),
        ("twin.onnx", "absent.onnx", "absent.onnx: expected a file, found none"),
        ("    env: toy_envs:Point-v0\n", "", "give the group its env"),
        ("env: toy_envs:Point-v0", "env: InvertedPendulum-v5", "check --env"),
        ("[[ppo.zip, twin.onnx]", "[[ppo.zip, other.onnx]", "host_contrasts: expected two hosts of one entry"),
    ):
        (folder / "study.yaml").write_text(text.replace(before, after))
        with pytest.raises(UsageError, match=message):
            run_study(folder, folder / "out")
        assert not (folder / "out").exists(), before
    (folder / "zoo" / "vecnormalize.pkl").write_bytes(b"")
    (folder / "study.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"give --normalize-from .* to homeo-rl import, and name its run here"):
        run_study(folder, folder / "out")
    (folder / "zoo" / "vecnormalize.pkl").unlink()
    (folder / "study.yaml").write_text(text.replace("own_policies:home", "own_policies:nan"))
    with pytest.raises(NumericalFault, match="expected finite actions"):
        run_study(folder, folder / "out")
    assert not (folder / "out").exists()


def test_an_observer_is_an_arm_of_any_continuous_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = ("--suite", folder / "suite.yaml", "--episodes", 2, "--workers", 1)
    words = ("evaluate", folder / "twin.onnx", "--env", "toy_envs:Point-v0", "--out", folder / "run")
    out, _ = call(*words, *suite, "--homeostasis", "none,observer", "--json", capsys=capsys)
    assert {cell["arm"] for cell in last(out)["cells"]} == {"none", "observer"}
    out, _ = call("calibrate", folder / "run", "--practice", 1500, "--json", capsys=capsys)
    assert last(out)["observer"]["bytes"] > 0
    _, err = call("calibrate", folder / "run", code=2, capsys=capsys)
    assert "calibrate without --practice or --log needs spiking neurons" in err
    choice = ("evaluate", "own_policies:choose", "--env", "toy_envs:Choice-v0", "--out", folder / "choice")
    _, err = call(*choice, *suite, "--homeostasis", "observer", code=2, capsys=capsys)
    assert "arm 'observer': expected a policy with continuous actions" in err
    assert not (folder / "choice").exists()
    (folder / "study.yaml").write_text(STUDY.replace("[none, dwam]", "[none, dwam, observer]"))
    study, base = read_study(str(folder / "study.yaml"))
    carry_out(study, base, folder / "out", workers=1, progress=NullProgress())
    results = read_results(folder / "out")
    assert results.arms("points") == ["none", "observer"]
    assert {group for group, _ in contrast_hosts(results, ("ppo.zip", "twin.onnx"))} == {"points"}


def test_a_zip_is_evaluated_with_what_it_does_not_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    small = ("--episodes", 2, "--workers", 1, "--suite", "suite.yaml")
    options = ("--agent", "mlp", "--agent-kwargs", "activation:tanh", "--normalize-from", "none")
    words = ("evaluate", "zoo/ppo.zip", "--env", "toy_envs:Point-v0", "--env-kwargs", "steps:10", *options)
    out, _ = call(*words, *small, "--json", capsys=capsys)
    assert {cell["label"] for cell in last(out)["cells"]} == {"clean", "noise", "zeros"}
    spec = Run.open("runs/ppo").spec
    assert (spec.env_kwargs, spec.source, spec.agent) == ({"steps": 10}, "ppo.zip", "mlp")
    assert spec.digest == hashlib.sha256((folder / "zoo" / "ppo.zip").read_bytes()).hexdigest()
    before = sorted(folder.rglob("*"))
    for env, message in (("InvertedPendulum-v5", "check --env"), ("toy_envs:Choice-v0", "expected actions that are")):
        wrong = ("evaluate", "zoo/ppo.zip", "--env", env, "--out", "other")
        _, err = call(*wrong, *small, code=2, capsys=capsys)
        assert message in err
    _, err = call("evaluate", "zoo/ppo.zip", "--env", "toy_envs:Point-v0", *small, code=2, capsys=capsys)
    assert "found another policy, environment or options" in err
    _, err = call("evaluate", "runs/ppo", "--normalize-from", "none", code=2, capsys=capsys)
    assert "--normalize-from: expected the file of a policy, got a run" in err
    assert sorted(folder.rglob("*")) == before
