from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import load_controller, save_controller
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.run import Run, make_numbered, slug
from homeo_rl.seeding import derive, generator
from homeo_rl.spec import ControllerSpec, NetworkSpec, NeuronSpec, RunSpec, dump, parse
from homeo_rl.storage import bundle

TENSORS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(4.0)}


def test_bundles_round_trip(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    bundle.save(folder, TENSORS, {"a": [1, "x", None]})
    bundle.save(folder, TENSORS, {"a": [2]})
    tensors, document = bundle.load(folder)
    assert document == {"a": [2]}
    assert all(np.array_equal(tensors[k], v) and tensors[k].dtype == v.dtype for k, v in TENSORS.items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy"]


def test_a_crash_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    bundle.save(tmp_path / "policy", TENSORS, {"a": 1})
    (tmp_path / "policy").rename(tmp_path / "policy.old")
    assert bundle.load(tmp_path / "policy")[1] == {"a": 1}


def test_a_full_disk_keeps_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle.save(tmp_path / "policy", TENSORS, {"a": 1})

    def full(path: Path, blob: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "write_synced", full)
    with pytest.raises(StorageFault, match="No space left"):
        bundle.save(tmp_path / "policy", TENSORS, {"a": 2})
    assert bundle.load(tmp_path / "policy")[1] == {"a": 1}
    assert not (tmp_path / "policy.new").exists()


def test_not_finite_is_neither_stored_nor_loaded(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="'w' holds NaN"):
        bundle.save(tmp_path / "policy", {"w": np.array([np.nan])}, {})
    assert not (tmp_path / "policy").exists()


def _flip(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(bytes(blob))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: _flip(f / "tensors.safetensors"), "SHA-256 differs"),
        (lambda f: _flip(f / "document.json"), "SHA-256 differs"),
        (lambda f: (f / "document.json").unlink(), "cannot be read"),
        (lambda f: (f / "manifest.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / "manifest.json").write_text('{"format": "x"}'), "expected the manifest"),
        (lambda f: (f / "manifest.json").write_text('{"a": NaN}'), "NaN is not a number"),
        (lambda f: (f / "manifest.json").write_text('{"a": 1, "a": 2}'), "appears twice"),
        (lambda f: (f / "manifest.json").write_text("[1]"), "expected a JSON object"),
        (
            lambda f: ((f / "real.json").write_text("{}"), (f / "manifest.json").unlink(),
                       (f / "manifest.json").symlink_to(f / "real.json")),
            "a link or a special file",
        ),
    ],
)  # fmt: skip
def test_damaged_bundles_are_refused_by_name(tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    bundle.save(tmp_path / "policy", TENSORS, {})
    damage(tmp_path / "policy")
    with pytest.raises(StorageFault, match=said):
        bundle.load(tmp_path / "policy")


def test_controllers_round_trip_to_the_bit(make_run: Callable[..., Run]) -> None:
    run = make_run()
    first = load_controller(run)
    save_controller(run, first)
    again = load_controller(run)
    assert again.spec == first.spec
    for (name, one), other in zip(first.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("change", ["shape", "missing", "extra", "kind"])
def test_a_bundle_that_does_not_fit_its_own_specification(make_run: Callable[..., Run], change: str) -> None:
    run = make_run()
    tensors, document = run.load_policy()
    if change == "shape":
        tensors["network.layers.0.weight"] = tensors["network.layers.0.weight"][1:]
    elif change == "missing":
        del tensors["network.layers.0.weight"]
    elif change == "extra":
        tensors["__class__"] = np.zeros(1)
    else:
        tensors["network.layers.0.bias"] = tensors["network.layers.0.bias"].astype(np.int64)
    run.save_policy(tensors, document)
    with pytest.raises(StorageFault, match=r"__class__" if change == "extra" else r"network\.layers\.0"):
        load_controller(run)


def test_specifications_round_trip_and_refuse() -> None:
    spec = ControllerSpec(
        network=NetworkSpec(inputs=3, outputs=2, neuron=NeuronSpec(kind="if")), low=(-1, -1), high=(1, 1)
    )
    run = RunSpec(origin="train", env="X-v0", controller=spec, hyperparams={"a": [1, 2]})
    assert parse(RunSpec, json.loads(json.dumps(dump(run))), where="test") == run
    for change, said in (
        ({"network": {"inputs": 0, "outputs": 2}}, "inputs: expected >= 1"),
        ({"network": {"inputs": 3, "outputs": 2, "stepps": 2}}, "stepps"),
        ({"squash": "tan"}, "squash"),
        ({"low": [-1.0]}, "equally many"),
        ({"clipp": 2}, "did you mean 'clip'"),
        ({"clip": float("nan")}, "clip"),
    ):
        with pytest.raises(UsageError, match=said):
            parse(ControllerSpec, {**dump(spec), **change}, where="test")


def test_run_folders(tmp_path: Path) -> None:
    spec = RunSpec(origin="train", env="homeo_rl/Point-v0")
    first, second = (Run.create_numbered(tmp_path / "ppo", spec) for _ in range(2))
    assert (first.path.name, second.path.name) == ("homeo_rl-Point-v0_1", "homeo_rl-Point-v0_2")
    assert Run.open(first.path).spec == spec
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        Run.create(first.path, spec)
    with pytest.raises(UsageError, match=r"homeo_rl-Point-v0_1"):
        Run.open(tmp_path / "ppo" / "nothing")
    (first.path / "run.json").write_text('{"origin": "train", "env": 3}')
    with pytest.raises(UsageError, match=r"run\.json: env"):
        Run.open(first.path)
    assert slug("toy_envs:Point-v0") == "Point-v0"


def test_numbered_folders_never_collide(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: make_numbered(tmp_path, "run"), range(200)))
    assert len(set(made)) == 200


def test_streams_are_named() -> None:
    assert derive(1, "a") == derive(1, "a")
    seeds = {derive(s, *n) for s in range(20) for n in (("a",), ("b",), ("a", "b"), ("ab",), ("a", 1), ())}
    assert len(seeds) == 120
    assert generator(1, "a").random() != generator(1, "b").random()


def test_a_few_bytes_cannot_ask_for_all_memory(make_run: Callable[..., Run]) -> None:
    """A sound bundle whose specification speaks of layers that it does not hold is refused before they are built."""
    run = make_run()
    tensors, document = run.load_policy()
    document["controller"]["network"]["hidden"] = [65536] * 64
    run.save_policy(tensors, document)
    with pytest.raises(StorageFault, match="weights or more"):
        load_controller(run)


def _saves_for_ever(folder: Path) -> None:
    for number in itertools.count():
        bundle.save(folder, {"w": np.full(20_000, number, np.float32)}, {"number": number})


def killed_while_it_saves(folder: Path, kills: int) -> int:
    """Kill a process that saves one bundle over and over; return how many of the kills left more than one folder."""
    rng = random.Random(0)
    bundle.save(folder, {"w": np.zeros(20_000, np.float32)}, {"number": 0})
    within = 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            try:
                _saves_for_ever(folder)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        within += len(list(folder.parent.iterdir())) > 1
        tensors, document = bundle.load(folder)
        assert (tensors["w"] == document["number"]).all()
    return within


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_kill_during_a_save_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    assert killed_while_it_saves(tmp_path / "bundle", 60) > 10


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_thousand_kills_during_saves(tmp_path: Path) -> None:
    within = killed_while_it_saves(tmp_path / "bundle", 1000)
    print(f"1,000 kills, {within} of them in the middle of a save: every bundle readable")
