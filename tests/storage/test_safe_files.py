"""Files of strangers: whatever lies there is refused in words, at once, in little memory, and never executed."""

from __future__ import annotations

import ast
import gc
import io
import json
import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_archives
import hostile_files
import hostile_policies
import mutations
import numpy as np
import pytest
import safetensors.numpy
import torch
from project_files import sources

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.importers import import_popsan, import_san
from homeo_rl.agents.sb3.zip import import_sb3_zip
from homeo_rl.envs.make import make_env
from homeo_rl.errors import HomeoError, StorageFault, UsageError
from homeo_rl.inspection.run_folder import describe
from homeo_rl.run import Run
from homeo_rl.storage import bundle as checkpoint

SECONDS, MEGABYTES = 1.0, 100.0


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a small policy."""
    folder = tmp_path_factory.mktemp("sound") / "run"
    source = Path(__file__).parents[2] / "agents" / "pretrained" / "navigation-san"
    shutil.copytree(source, folder)
    return folder


def refused(
    call: Callable[[], object], kind: type[HomeoError] | tuple[type[HomeoError], ...], *, traced: bool = False
) -> str:
    """Check that a call is refused cheaply and in at most three lines; return the reason.

    Time is that of this process alone, so that a busy machine does not matter, and the garbage collector is kept from
    walking over what thousands of tests left behind. Memory is what the process grew by over
    its largest size so far, and, if ``traced``, what was allocated at once.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.freeze()
    began = time.process_time()
    with pytest.raises(kind) as first:
        call()
    took = time.process_time() - began
    gc.unfreeze()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    peak = 0.0
    if traced:
        tracemalloc.start()
        with pytest.raises(kind):
            call()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    said = str(first.value)
    assert took < SECONDS, (took, said)
    assert max(grown, peak) < MEGABYTES, (grown, peak, said)
    check_message(said)
    return said


def check_message(said: str) -> None:
    assert 0 < len(said.splitlines()) <= 3, said
    assert said.isprintable() or "\n" in said, said


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def made(maker: hostile_files.Maker, sound: Path, folder: Path) -> Path:
    run = folder / "run"
    shutil.copytree(sound, run)
    maker(run)
    return run


def test_the_corpus_is_large_and_the_run_is_sound(sound: Path) -> None:
    assert (
        len(hostile_files.BUNDLES)
        + len(hostile_files.POLICIES)
        + len(hostile_files.RUNS)
        + len(hostile_archives.ARCHIVES)
        >= 150
    )
    assert load_controller(Run.open(sound)).spec == Run.open(sound).spec.controller
    assert describe(sound)["faults"] == []
    assert describe(sound / "policy")["numbers"] == describe(sound)["bundles"]["policy"]["numbers"]


def test_the_canary_sings(tmp_path: Path) -> None:
    """Were a bomb's pickle ever loaded, the tests below would see it."""
    pickle.loads(hostile_files.canary(tmp_path / "run"))
    assert (tmp_path / "executed").is_dir()


@pytest.mark.parametrize("name", hostile_files.BUNDLES)
def test_bundles(name: str, sound: Path, tmp_path: Path) -> None:
    run = made(hostile_files.BUNDLES[name], sound, tmp_path)
    there = listing(tmp_path)
    said = refused(lambda: checkpoint.load(run / "policy"), StorageFault, traced=True)
    assert str(run / "policy") in said
    refused(lambda: load_controller(Run.open(run)), (StorageFault, UsageError))
    assert describe(run)["faults"]
    refused(lambda: describe(run / "policy"), (StorageFault, UsageError))
    assert listing(tmp_path) == there, "nothing was executed, nothing written"


@pytest.mark.parametrize("name", hostile_files.POLICIES)
def test_policies(name: str, sound: Path, tmp_path: Path) -> None:
    run = made(hostile_files.POLICIES[name], sound, tmp_path)
    checkpoint.load(run / "policy")
    refused(lambda: load_controller(Run.open(run)), (StorageFault, UsageError))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", hostile_files.RUNS)
def test_runs(name: str, sound: Path, tmp_path: Path) -> None:
    run = made(hostile_files.RUNS[name], sound, tmp_path)
    there = listing(tmp_path)
    refused(lambda: Run.open(run), UsageError, traced=True)
    refused(lambda: describe(run), UsageError)
    assert listing(tmp_path) == there


@pytest.mark.parametrize("name", hostile_archives.ARCHIVES)
def test_archives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    hostile_archives.ARCHIVES[name](path)
    there = listing(tmp_path)
    refused(lambda: describe(path), (StorageFault, UsageError), traced=True)
    assert listing(tmp_path) == there


@pytest.mark.parametrize("name", hostile_policies.POLICIES)
def test_policies_in_zips(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, env = tmp_path / "file.zip", make_env("CartPole-v1")
    hostile_policies.POLICIES[name](path)
    there = listing(tmp_path)
    said = refused(lambda: import_sb3_zip(path, env), UsageError, traced=True)
    assert said.startswith(str(path))
    assert listing(tmp_path) == there, "nothing was executed, nothing written"


@pytest.mark.parametrize("name", hostile_archives.ARRAYS)
def test_arrays(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, env = tmp_path / "file.npz", make_env("homeo_rl/Navigation-v0", {"spike_coded": True})
    hostile_archives.ARRAYS[name](path)
    there = listing(tmp_path)
    said = refused(lambda: import_san(path, env), UsageError, traced=True)
    assert said.startswith(str(path))
    assert listing(tmp_path) == there


@pytest.mark.parametrize("name", hostile_archives.POPSAN)
def test_popsan_arrays(name: str, tmp_path: Path) -> None:
    path, env = tmp_path / "file.npz", make_env("HalfCheetah-v5")
    hostile_archives.popsan()(path)
    assert import_popsan(path, env).spec.network.hidden == (8, 6)
    hostile_archives.POPSAN[name](path)
    refused(lambda: import_popsan(path, env), UsageError, traced=True)


def test_policies_here_are_what_they_say(tmp_path: Path) -> None:
    """Without its damage a hostile zip is taken, and torch reads the same weights of it."""
    pickled = f'{{"policy_class": {{":serialized:": "{hostile_files.canary(tmp_path / "run").hex()}"}}}}'.encode()
    hostile_policies.make_sb3_zip(hostile_policies.torch_zip(), data=pickled)(tmp_path / "file.zip")
    there = listing(tmp_path)
    found = import_sb3_zip(tmp_path / "file.zip", make_env("CartPole-v1"))
    assert listing(tmp_path) == there
    theirs = torch.load(io.BytesIO(hostile_policies.torch_zip()), weights_only=True)
    names = ("mlp_extractor.policy_net.0.", "action_net.")
    for index, layer in enumerate(found.network.parameters_of_layers()):
        assert torch.equal(layer.weight, theirs[names[index] + "weight"])
        assert torch.equal(layer.bias, theirs[names[index] + "bias"])
    assert found.spec.network.hidden == (8,)
    trained_elsewhere = hostile_policies.SOUND.replace(hostile_policies.text("cpu"), hostile_policies.text("cuda:0"))
    hostile_policies.make_sb3_zip(hostile_policies.torch_zip(trained_elsewhere))(tmp_path / "gpu.zip")
    again = import_sb3_zip(tmp_path / "gpu.zip", make_env("CartPole-v1")).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in found.state_dict().items())


def test_the_canaries_of_programs_sing(tmp_path: Path) -> None:
    """Were such a program ever run, the tests above would see it."""
    made = hostile_policies.program({"x": hostile_policies.executing(tmp_path / "file.zip")})
    pickle.loads(made)
    assert (tmp_path / "executed").is_dir()


def test_inspect_refuses_the_whole_corpus(sound: Path, tmp_path: Path) -> None:
    """One process looks at everything: exit 2 or 5 each, and it never needs 100 MB more than it began with."""
    paths = []
    for number, maker in enumerate([*hostile_files.BUNDLES.values(), *hostile_files.RUNS.values()]):
        (tmp_path / str(number)).mkdir()
        paths.append(made(maker, sound, tmp_path / str(number)))
    for number, maker in enumerate(hostile_archives.ARCHIVES.values()):
        paths.append(tmp_path / f"{number}.zip")
        maker(paths[-1])
    paths.append(tmp_path / "nothing")
    there = listing(tmp_path)
    code = (
        "import contextlib, io, json, resource, sys, time\n"
        "from homeo_rl.cli import main\n"
        "def look(path):\n"
        "    out, err, began = io.StringIO(), io.StringIO(), time.process_time()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        try: main(['inspect', path, '--json'])\n"
        "        except SystemExit as leaving: code = leaving.code\n"
        "        else: code = 0\n"
        "    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "    return path, code, err.getvalue(), time.process_time() - began, grown, 'torch' in sys.modules\n"
        "look(sys.argv[1])\n"
        "print(json.dumps([look(path) for path in sys.argv[1:]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sound), *map(str, paths)],
        capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *rest = json.loads(done.stdout)
    assert first[1] == 0
    for path, left, said, took, grown, heavy in rest:
        assert left in (2, 5), (path, said)
        assert [line[:10] for line in said.splitlines() if line.startswith("homeo-rl")] == ["homeo-rl: "], (path, said)
        assert said.splitlines()[-1].startswith("homeo-rl: "), (path, said)
        assert took < SECONDS, (path, said, took)
        assert grown - first[4] < MEGABYTES, (path, said, grown)
        assert not heavy, "looking needs no torch"
    assert listing(tmp_path) == there


def test_inspect_tells_what_is_odd_and_opens_no_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cli_calls import call, last

    pickled = {":type:": "<class 'x'>\x1b[2J", ":serialized:": hostile_files.canary(tmp_path / "run").hex(), "n": 1}
    members = {
        **hostile_archives.SMALL,
        "data": json.dumps({"gamma": 0.5, "policy_class": pickled, "lr": [1, 2]}).encode(),
        "policy.pth": hostile_files.canary(tmp_path / "run"),
        "../../outside": b"x",
        "/absolute": b"x",
        "..\\windows": b"x",
        "C:evil": b"x",
        "system_info.txt": b"- OS: \x1b[31mred\n",
    }
    hostile_archives.make_zip(members)(tmp_path / "model.zip")
    there = listing(tmp_path)
    json_out, out = call("inspect", tmp_path / "model.zip", "--json", capsys=capsys)
    told = last(json_out)
    assert told["kind"] == "sb3"
    assert told["version"] == "2.9.2"
    assert told["data"]["gamma"] == 0.5
    assert sorted(told["pickles"]) == ["data: policy_class", "policy.pth"]
    odd = {member["name"] for member in told["members"] if member["warning"]}
    assert odd == {"../../outside", "/absolute", "..\\windows", "C:evil"}
    assert "\x1b" not in json_out + out, "nothing in a file speaks to the terminal"
    assert out.count("LIES OUTSIDE") == 4
    assert "policy.pth: " in out
    assert "pickled, not opened" in out
    assert listing(tmp_path) == there


def test_inspect_reads_what_stable_baselines3_and_numpy_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cli_calls import call, last
    from stable_baselines3 import PPO

    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8).save(tmp_path / "model.zip")
    np.savez_compressed(tmp_path / "arrays.npz", a=np.zeros((2, 3), np.float32), b=np.array(1.5), c=np.zeros((0, 4)))
    told = last(call("inspect", tmp_path / "model.zip", "--json", capsys=capsys)[0])
    assert told["data"]["n_steps"] == 8
    assert {"policy.pth", "policy.optimizer.pth", "pytorch_variables.pth", "data: policy_class"} <= set(told["pickles"])
    told = last(call("inspect", tmp_path / "arrays.npz", "--json", capsys=capsys)[0])
    assert told["arrays"] == [
        {"name": "a", "dtype": "float32", "shape": [2, 3]},
        {"name": "b", "dtype": "float64", "shape": []},
        {"name": "c", "dtype": "float64", "shape": [0, 4]},
    ]


def test_inspect_tells_of_a_run_and_of_what_is_damaged_in_it(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cli_calls import call, last

    run = made(lambda run: None, sound, tmp_path)
    shutil.copytree(run / "policy", run / "best")
    (run / "evaluations" / "quick_1").mkdir(parents=True)
    (run / "evaluations" / "quick_1" / "evaluation.json").write_text('{"suite": "quick", "episodes": 3}')
    for step in ("000000000064", "000000000128"):
        shutil.copytree(run / "policy", run / "checkpoints" / step)
    told = last(call("inspect", run, "--json", capsys=capsys)[0])
    assert set(told["bundles"]) == {"policy", "best", "observer"}
    assert all(bundle["sound"] for bundle in [*told["bundles"].values(), *told["checkpoints"].values()])
    assert told["evaluations"][0]["suite"] == "quick"
    assert told["policy"]["hidden"] == [128, 128]
    hostile_files.replace_file(hostile_files.DOCUMENT, b"{}")(run)
    (run / "evaluations" / "quick_1" / "evaluation.json").write_text("{")
    out, err = call("inspect", run, "--json", code=5, capsys=capsys)
    assert len(last(out)["faults"]) == 2
    assert last(out)["bundles"]["policy"] == {"sound": False}
    assert last(out)["bundles"]["best"]["sound"]
    assert "document.json" in err
    assert "1 more damaged" in err.splitlines()[-1]
    hostile_files.spec(lambda told: told["controller"].update({"\x1b[2J\n": 1}))(run)
    _, err = call("inspect", run, code=2, capsys=capsys)
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


def test_loaded_arrays_are_ones_own(tmp_path: Path) -> None:
    blobs = mutations.original(tmp_path / "bundle")
    reference = safetensors.numpy.load(blobs["tensors.safetensors"])
    arrays, _ = checkpoint.load(tmp_path / "bundle")
    assert set(arrays) == set(reference)
    for name, array in arrays.items():
        assert array.flags.writeable
        assert array.flags.owndata
        assert array.flags.aligned
        assert array.dtype == reference[name].dtype
        assert array.shape == reference[name].shape
        assert array.tobytes() == reference[name].tobytes()
        array[...] = 0
    assert checkpoint.load(tmp_path / "bundle")[0]["weight"].any(), "the file is untouched"


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    blobs = mutations.original(tmp_path / "bundle")
    bad: list[tuple[dict[str, np.ndarray], dict[str, Any]]] = [
        ({"x": np.zeros(1, np.complex64)}, {}),
        ({"x" * 1000: np.zeros(1)}, {}),
        ({}, {"a": list(range(400_000))}),
        ({}, {"a": "\ud800"}),
        ({}, {"a": 10**100}),
    ]
    for tensors, document in bad:
        with pytest.raises(StorageFault):
            checkpoint.save(tmp_path / "bundle", tensors, document)
    assert {name: (tmp_path / "bundle" / name).read_bytes() for name in blobs} == blobs
    assert listing(tmp_path) == sorted(str(tmp_path / part) for part in ("bundle", *(f"bundle/{n}" for n in blobs)))


def test_a_bundle_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutations.original(tmp_path / "bundle")
    read = checkpoint.read_bundle

    def slow(*given: Any) -> Any:
        found = read(*given)
        os.utime(tmp_path / "bundle" / "tensors.safetensors")
        return found

    monkeypatch.setattr(checkpoint, "read_bundle", slow)
    with pytest.raises(StorageFault, match="changed while it was read"):
        checkpoint.load(tmp_path / "bundle")


# The fuzzer.


def fuzz(folder: Path, count: int, seed: int) -> Counter[str]:
    """Damage a bundle ``count`` times; return how often what happened.

    Where checksums were repaired, other content is what was asked for: such a bundle has to be sound in itself. Where
    they were not, whatever is accepted must be the original.
    """
    blobs = mutations.original(folder / "bundle")
    tensors, document = mutations.read(blobs)
    known = {name: (array.dtype, array.shape, array.tobytes()) for name, array in tensors.items()}
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for number in range(count):
        changed, repaired = mutations.mutant(blobs, rng)
        kind = "repaired" if repaired else "damaged"
        try:
            arrays, told = mutations.read(changed)
        except StorageFault as fault:
            check_message(str(fault))
            found[f"{kind}, refused"] += 1
            continue
        except Exception as error:  # what the fuzzer is for
            raise AssertionError(f"mutant {number} of seed {seed}: {error!r}: {changed}") from error
        content = {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}
        same = content == known and told == document
        assert same or repaired, f"mutant {number} of seed {seed} was accepted with other content: {changed}"
        found[f"{kind}, accepted, {'same' if same else 'other'} content"] += 1
        if repaired and not same:
            reference = safetensors.numpy.load(changed["tensors.safetensors"])
            assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in reference.items()} == content, number
            assert all(np.isfinite(array).all() for array in arrays.values()), number
            json.dumps(told, allow_nan=False, ensure_ascii=False).encode()
    return found


def test_mutants(tmp_path: Path) -> None:
    found = fuzz(tmp_path, 3000, seed=0)
    assert sum(found.values()) == 3000
    assert found["damaged, refused"] > 1000
    assert found["repaired, refused"] > 500
    assert found["damaged, accepted, other content"] == 0
    assert found["repaired, accepted, other content"] > 50, "repaired ones are not all refused for one trivial reason"


def fuzz_policies(folder: Path, count: int, seed: int) -> Counter[str]:
    """Damage a zip of Stable-Baselines3, mostly inside its program, ``count`` times; return how often what happened."""
    blob, env = hostile_policies.torch_zip(), make_env("CartPole-v1")
    rng, found = random.Random(seed), Counter[str]()
    for number in range(count):
        changed = hostile_policies.SOUND if number % 3 else blob
        for _ in range(rng.choice((1, 1, 2, 5))):
            changed = rng.choice(mutations.CHANGES)(changed, rng)
        hostile_policies.make_sb3_zip(hostile_policies.torch_zip(changed) if number % 3 else changed)(
            folder / "mutant.zip"
        )
        try:
            controller = import_sb3_zip(folder / "mutant.zip", env)
        except UsageError as error:
            check_message(str(error))
            found["refused"] += 1
            continue
        except Exception as error:  # what the fuzzer is for
            raise AssertionError(f"mutant {number} of seed {seed}: {error!r}: {changed!r}") from error
        assert all(bool(value.isfinite().all()) for value in controller.state_dict().values()), number
        found["accepted"] += 1
    return found


def test_mutants_of_policies(tmp_path: Path) -> None:
    found = fuzz_policies(tmp_path, 600, seed=0)
    assert found["refused"] > 300
    assert found["accepted"] > 5, "they are not all refused for one trivial reason"


def test_mutants_of_archives(tmp_path: Path) -> None:
    """Damaged archives are told of or refused, and nothing else happens."""
    fuzz_archives(tmp_path, 150, seed=0)


def fuzz_archives(folder: Path, count: int, seed: int) -> Counter[str]:
    """Damage an SB3 zip and two numpy archives ``count`` times; return how often what happened."""
    hostile_archives.sb3(b'{"gamma": 0.99, "x": {":serialized:": "gASV"}}')(folder / "a.zip")
    np.savez(folder / "b.npz", x=np.arange(3.0), y=np.zeros((2, 2), np.int32))
    np.savez_compressed(folder / "c.npz", x=np.arange(300.0))
    blobs = [(folder / name).read_bytes() for name in ("a.zip", "b.npz", "c.npz")]
    rng, found = random.Random(seed), Counter[str]()
    for number in range(count):
        blob = blobs[number % 3]
        for _ in range(rng.choice((1, 1, 2, 5))):
            blob = rng.choice(mutations.CHANGES)(blob, rng)
        (folder / "mutant").write_bytes(blob)
        try:
            found[f"{describe(folder / 'mutant')['kind']}, told"] += 1
        except (StorageFault, UsageError) as error:
            check_message(str(error))
            found[f"{type(error).__name__}"] += 1
    return found


@pytest.mark.long
def test_a_million_mutants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    found = fuzz(tmp_path, 1_000_000, seed=1)
    took = time.monotonic() - began
    archives = fuzz_archives(tmp_path, 30_000, seed=1)
    policies = fuzz_policies(tmp_path, 30_000, seed=1)
    with capsys.disabled():
        print(f"\n{sum(found.values())} mutants of a bundle in {took:.0f} s, {1e6 / took:.0f} a second; {dict(found)}")
        print(f"{sum(archives.values())} mutants of archives; {dict(archives)}")
        print(f"{sum(policies.values())} mutants of policies in zips; {dict(policies)}")
    assert found["damaged, accepted, other content"] == 0


# The package itself.

BANNED_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", "torch.load", "th.load", "joblib.load", "os.system", "os.popen",
    "subprocess.getoutput",
}  # fmt: skip
UNPICKLING = {"load_from_zip_file", "load_from_pkl", "load_replay_buffer", "set_parameters"}
"""Names by which Stable-Baselines3 reads its own files back."""
LOADERS = {"bundle", "self.checkpoints", "self.segments", "tl", "builder", "np", "numpy"}
"""Everything whose ``load`` may be called: bundles, checkpoints, ring segments, instructions of Triton and LLVM, and
numpy (below)."""


def dangers(text: str) -> list[str]:
    """Return what of a module's code (not of its comments and docstrings) could run what a file or a user says."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in BANNED_MODULES]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in BANNED_MODULES:
            found.append(str(node.module))
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: word.value for word in node.keywords}

        def says(word: str, value: object, given: dict[str | None, ast.expr] = given) -> bool:
            return isinstance(given[word], ast.Constant) and given[word].value is value  # type: ignore[attr-defined]

        if name in BANNED_CALLS or name.split(".")[0] in BANNED_MODULES:
            found.append(name)
        owner, _, method = name.rpartition(".")
        if method in UNPICKLING or (method == "load" and owner not in LOADERS):
            found.append(name)
        if name in ("np.load", "numpy.load") and "allow_pickle" not in given:
            found.append(f"{name} without allow_pickle=False")
        if "allow_pickle" in given and not says("allow_pickle", False):
            found.append(f"{name}(allow_pickle)")
        if "shell" in given and not says("shell", False):
            found.append(f"{name}(shell)")
    return found


def test_nothing_in_the_package_runs_what_a_file_says() -> None:
    found = {str(path): dangers(path.read_text()) for path in sources()}
    assert len(found) > 100
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "import os, joblib", "eval('1')", "exec('1')", "torch.load(f)",
        "yaml.load(f)", "np.load(f)", "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=x)", "marshal.loads(b)",
        "subprocess.run('x', shell=True)", "np.lib.format.read_array(f, allow_pickle=True)", "os.system('x')",
        "PPO.load('x.zip')", "kind.load(path)", "VecNormalize.load(f, env)", "load_from_zip_file(f)",
        "model.set_parameters('x.zip')", "model.load_replay_buffer(f)", "torch.load(f, weights_only=True)",
    ],
)  # fmt: skip
def test_dangers_are_found(code: str) -> None:
    assert dangers(code)


def test_what_only_looks_dangerous_is_not() -> None:
    assert not dangers('"""pickle.load, eval(x)"""\n# torch.load\nmodel.eval()\nnp.load(f, allow_pickle=False)')


def test_archives_here_are_what_they_say(tmp_path: Path) -> None:
    """The makers of bombs damage what they mean to: without its change, each archive is taken."""
    hostile_archives.make_zip(hostile_archives.SMALL)(tmp_path / "a.zip")
    assert describe(tmp_path / "a.zip")["data"] == {"gamma": 0.99}
    hostile_archives.npz(x=hostile_archives.npy(hostile_archives.head(), bytes(4)))(tmp_path / "b.npz")
    assert describe(tmp_path / "b.npz")["arrays"] == [{"name": "x", "dtype": "float32", "shape": [1]}]
    hostile_archives.make_zip(hostile_archives.SMALL, change=hostile_archives.overlap)(tmp_path / "c.zip")
    assert {info.header_offset for info in zipfile.ZipFile(tmp_path / "c.zip").infolist()} == {0}
