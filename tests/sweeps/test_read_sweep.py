"""The file of a sweep: every mistake has its line; the keys of its cells."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sweep_calls import (
    ROOT,
    call,
    make_slow_env,
    write_sweep,
)

from homeo_rl.errors import UsageError
from homeo_rl.sweeps.cells import cells_of, short_names
from homeo_rl.sweeps.code_fingerprint import code_version, modules_of, own_sources
from homeo_rl.sweeps.read_sweep import read_sweep
from homeo_rl.sweeps.sweep import plan_of
from homeo_rl.sweeps.sweep_spec import Training


def test_a_file_is_its_combinations(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path,
        grid={"agent": ["popsan", "mlp"], "params.agent_kwargs.steps": [2, 4]},
        zip={"params.learning_rate": ["1e-3", 0.0003], "params.batch_size": [16, 32]},
        seeds=[3, 1],
    )
    sweep, combinations = read_sweep(path)
    assert sweep.seeds == (3, 1)
    chosen = [tuple(combination.choice.values()) for combination in combinations]
    assert chosen[:3] == [(1e-3, 16, "popsan", 2), (1e-3, 16, "popsan", 4), (1e-3, 16, "mlp", 2)]
    assert len(chosen) == len({str(choice) for choice in chosen}) == 8
    last = combinations[-1].training
    assert (last.agent, last.params["learning_rate"], last.params["batch_size"]) == ("mlp", 0.0003, 32)
    assert last.params["agent_kwargs"] == {"hidden": [8], "steps": 4}
    assert combinations[0].training.params["agent_kwargs"] == {"hidden": [8], "steps": 2}, "they share nothing"
    cells = cells_of(combinations, sweep.seeds, {})
    assert [cell.seed for cell in cells] == [3] * 8 + [1] * 8, "all combinations have a seed before one has two"
    assert cells[0].title == "learning_rate=0.001 batch_size=16 agent=popsan steps=2 seed=3"
    assert len({cell.key for cell in cells}) == 16


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "grid.yml"
    path.write_text("train: {n_timesteps: 2e4, params: {learning_rate: 3e-4}}\ngrid: {agent: &two [popsan, mlp]}\n")
    sweep, combinations = read_sweep(path)
    assert (sweep.train.n_timesteps, sweep.train.params["learning_rate"]) == (20_000, 3e-4)
    assert sweep.seeds == (0, 1, 2, 3, 4)
    assert len(combinations) == 2


BAD: dict[str, tuple[str, str]] = {
    "train:\n  algo: ppo\n  lerning_rate: 1\n": ("line 3", "unknown key of train 'lerning_rate'"),
    "trian: {}\n": ("line 1", "did you mean 'train'?"),
    "train: {}\nresources:\n  cpu: 2\n": ("line 3", "did you mean 'cpus'?"),
    "train: {}\nevaluate: {sweet: quick}\n": ("line 2", "unknown key of evaluate"),
    "train: {}\ngrid:\n  learning_rate: [1]\n": ("line 3", "Hyper-parameters are written params.NAME"),
    "train: {}\ngrid:\n\n  agent.x: [1]\n": ("line 4", "unknown name 'agent.x'"),
    "grid:\n  agent: mlp\n": ("line 2: grid.agent", "got 'mlp'"),
    "grid:\n  agent: []\n": ("line 2", "expected different values, at least one"),
    "grid:\n  agent: [mlp, mlp]\n": ("line 2", "expected different values"),
    "grid: {agent: [mlp]}\nzip: {agent: [mlp]}\n": ("line 2", "is in grid too"),
    "zip:\n  agent: [mlp, mlp]\n  algo: [ppo, ppo]\n": ("line 1: zip", "expected different values"),
    "zip:\n  agent: [mlp, san]\n  algo: [ppo]\n": ("line 1", "lists of one length, got agent 2, algo 1"),
    "grid:\n  params: [{}]\n  params.gamma: [0.9]\n": ("line 2", "params.gamma is part of it"),
    "train: {params: {agent_kwargs: 3}}\ngrid:\n  params.agent_kwargs.steps: [1]\n": ("line 3", "to be a mapping"),
    "train:\n  n_timesteps: many\n": ("line 2: train.n_timesteps", "valid integer"),
    "train: {}\ngrid:\n  n_timesteps: [10, many]\n": ("line 3: grid.n_timesteps", "valid integer"),
    "seeds: 0\n": ("line 1: seeds", "a number of seeds"),
    "train: {}\nseeds: [1, 1]\n": ("line 2: seeds", "different ones"),
    "seeds: [-1]\n": ("line 1", "0 to 4294967295"),
    "resources: {cpus: 0}\n": ("line 1", "cpus > 0"),
    "train: {algo: ppo}\ntrain: {algo: sac}\n": ("line 2", "'train' is there twice"),
    "train: {params: {gamma: .nan}}\n": ("line 1", "expected a finite number"),
    "train: {params: {2026: 1}}\n": ("line 1", "expected names"),
    "train: [\n": ("line 2", "expected YAML"),
    "[1, 2]\n": ("", "expected train, grid, zip"),
    "": ("", "expected train, grid, zip"),
    "train: !!python/object/apply:os.system [touch owned]\n": ("line 1", "could not determine a constructor"),
    "grid: {params.gamma: [" + ", ".join(str(n) for n in range(40_000)) + "]}\n": ("", "at most 100,000 cells"),
    "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
    ): ("", "at most 100000 entries"),
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_file_is_refused_with_its_line(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = list(BAD.items())[number]
    path = tmp_path / "grid.yml"
    path.write_text(text)
    _, err = call(path, tmp_path / "out", code=2, capsys=capsys)
    assert all(word in err for word in words), err
    assert len(err.splitlines()) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {"grid.yml"}, "something was written"


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        ({"train": {"algo": "pppo"}}, "pppo"),
        ({"grid": {"env": ["toy_envs:Point-v0", "toy_envs:Pont-v0"]}}, "env=toy_envs:Pont-v0"),
        ({"grid": {"params.lerning_rate": [1.0]}}, "lerning_rate"),
        ({"evaluate": {"suite": "quik"}}, "quik"),
        ({"evaluate": {"homeostasis": "none,dwom"}}, "dwom"),
        ({"evaluate": {"routes": "nowhere.json"}}, "nowhere.json"),
        ({"train": {"num_threads": 2}}, "expected at least as many cpus as num_threads"),
        ({"train": {"device": "cuda"}}, "expected gpus > 0"),
        ({"train": {"gym_packages": ["not_a_module"]}}, "not_a_module"),
        ({"resources": {"memory_gb": 1e6}}, "not enough"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is(
    sections: dict[str, Any], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = call(write_sweep(tmp_path, **sections), tmp_path / "out", code=2, capsys=capsys)
    assert word in err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    _, err = call(write_sweep(tmp_path), tmp_path / "out", code=2, capsys=capsys)
    assert "choose another --out" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_keys_are_what_decides_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_slow_env(tmp_path, monkeypatch, 0.001)
    first = {cell.key for cell in plan_of(write_sweep(tmp_path, train={"env": "slow_world:Slow-v0"})).cells}
    same = {"env": "slow_world:Slow-v0", "save_freq": 7, "vec_env": "workers", "num_threads": 1}
    assert first == {cell.key for cell in plan_of(write_sweep(tmp_path, train=same, resources={"cpus": 3})).cells}
    for other in ({"train": {**same, "n_timesteps": 129}}, {"train": same, "evaluate": {"episodes": 3}}):
        assert not first & {cell.key for cell in plan_of(write_sweep(tmp_path, **other)).cells}
    more = plan_of(write_sweep(tmp_path, train=same, seeds=3, grid={"params.learning_rate": [1e-3, 3e-4, 1e-4]})).cells
    assert first < {cell.key for cell in more}, "a grid that grew keeps what was done"
    make_slow_env(tmp_path, monkeypatch, 0.002)  # the environment was edited
    code_version.cache_clear()
    assert not first & {cell.key for cell in plan_of(write_sweep(tmp_path, train=same)).cells}


def test_code_versions_see_every_source_file() -> None:
    training = Training(env="toy_envs:Point-v0", gym_packages=("gymnasium.envs", "homeo_rl"))
    assert modules_of(training) == ("gymnasium", "toy_envs")
    told = code_version(("toy_envs",))
    assert told["toy_envs"] == hashlib.sha256((ROOT / "tests" / "support" / "toy_envs.py").read_bytes()).hexdigest()
    assert told["package numpy"]
    mine, other = own_sources(("gymnasium", "toy_envs"))
    assert (mine.name, other) == ("homeo_rl", ROOT / "tests" / "support" / "toy_envs.py"), (
        "installed packages do not travel"
    )
    assert (mine / "envs" / "make.py").is_file()
    with pytest.raises(UsageError, match="not_a_module"):
        code_version(("not_a_module",))


def test_short_names_are_different() -> None:
    assert short_names(["params.steps", "agent", "params.agent_kwargs.steps"]) == {
        "params.steps": "params.steps", "agent": "agent", "params.agent_kwargs.steps": "params.agent_kwargs.steps",
    }  # fmt: skip
