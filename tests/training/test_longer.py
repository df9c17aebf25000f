"""Trainings that are made longer, and trainings that begin with the weights of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from homeo_rl.errors import UsageError
from homeo_rl.run import Run
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

ON_POLICY = TrainingPlan(
    algo="ppo", env="toy_envs:Point-v0", agent="mlp", steps=64, eval_freq=-1, keep_checkpoint=True,
    hyperparams={"n_envs": 1, "n_steps": 32, "batch_size": 32, "learning_rate": 3e-4, "agent_kwargs": {"hidden": [8]}},
)  # fmt: skip
OFF_POLICY = replace(
    ON_POLICY, algo="sac", hyperparams={"learning_starts": 20, "batch_size": 16, "agent_kwargs": {"hidden": [8]}}
)


@pytest.mark.parametrize("plan", [ON_POLICY, OFF_POLICY], ids=["ppo", "sac"])
def test_longer_is_the_same_as_long_from_the_start(plan: TrainingPlan, tmp_path: Path) -> None:
    """To the last bit, replay ring included; a schedule over the whole plan would differ, and is told."""
    whole = train(replace(plan, out=tmp_path / "whole", steps=128))
    mine = replace(plan, out=tmp_path / "longer")
    assert train(mine).spec.digest != whole.spec.digest
    notes: list[str] = []
    done = train(replace(mine, steps=128), note=notes.append)
    assert done.spec.digest == whole.spec.digest
    assert done.policy_digest() == whole.policy_digest()
    assert (done.spec.steps, done.spec.planned) == (128, 128)
    assert notes[0].endswith("longer: was planned for 64 steps, going on to 128")
    assert len([path for path in (done.path / "checkpoints").iterdir() if path.name.isdigit()]) == 1
    train(replace(mine, steps=128), note=notes.append)
    assert "finished before" in notes[-1]
    with pytest.raises(UsageError, match="planned: 128 there, 64 asked for"):
        train(mine)


def test_what_kept_no_checkpoint_says_so(tmp_path: Path) -> None:
    plan = replace(ON_POLICY, out=tmp_path / "run", keep_checkpoint=False)
    before = train(plan).spec
    with pytest.raises(UsageError, match=r"finished after 64 steps and kept no checkpoint.*-i "):
        train(replace(plan, steps=128))
    assert Run.open(tmp_path / "run").spec == before


def test_a_training_begins_with_given_weights(tmp_path: Path) -> None:
    first = train(replace(ON_POLICY, out=tmp_path / "first"))
    frozen = {**ON_POLICY.hyperparams, "learning_rate": 0.0}
    plan = replace(ON_POLICY, steps=32, hyperparams=frozen)
    notes: list[str] = []
    by_run = train(replace(plan, out=tmp_path / "a", trained=first.path), note=notes.append)
    by_zip = train(replace(plan, out=tmp_path / "b", trained=first.path / "Point-v0.zip"))
    assert notes == [f"beginning with the weights of {first.path}"]
    assert by_run.spec.source == by_zip.spec.source
    trained, _ = first.load_policy()
    for run in (by_run, by_zip):
        tensors, _ = run.load_policy()
        layers = [name for name in tensors if name.startswith("network.")]
        assert layers
        assert all((tensors[name] == trained[name]).all() for name in layers), (
            "no learning, so the weights are the same"
        )
    actor_alone = Run.create(tmp_path / "imported", replace(first.spec, origin="import"))
    actor_alone.save_policy(*first.load_policy())
    train(replace(plan, out=tmp_path / "c", trained=actor_alone.path), note=notes.append)
    assert "its critic is not stored, a new one learns" in notes[-1]


def test_weights_of_another_architecture_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    first = train(replace(ON_POLICY, out=tmp_path / "first"))
    plan = replace(ON_POLICY, out=tmp_path / "second", trained=first.path)
    for other in (
        replace(plan, hyperparams={**plan.hyperparams, "agent_kwargs": {"hidden": [9]}}),
        replace(OFF_POLICY, out=plan.out, trained=first.path),
        replace(plan, trained=tmp_path / "nowhere.zip"),
        replace(plan, trained=tmp_path / "nowhere"),
    ):
        with pytest.raises(UsageError, match=r"expected weights of the same --algo|found none"):
            train(other)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(UsageError, match="not a readable archive"):
        train(replace(plan, trained=tmp_path / "text.zip"))
    assert not (tmp_path / "second").exists()
