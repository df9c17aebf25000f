"""Policies that Stable-Baselines3 trained behind a VecNormalize: imported with its statistics, or refused."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.numpy
import torch
from cli_calls import call, last
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.sb3.vec_normalize import read_statistics
from homeo_rl.agents.sb3.zip import import_sb3_zip
from homeo_rl.envs.make import make_env
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.run import Run
from homeo_rl.spec import ControllerSpec, NetworkSpec, dump
from homeo_rl.storage.pickle_outline import outline

ENV = "Pendulum-v1"


def trained(folder: Path, kind: Any, *, behind: bool = True) -> tuple[Any, Any]:
    """Train a little and save as rl-zoo does: the zip, and the statistics in a folder beside it."""
    envs: Any = DummyVecEnv([lambda: gym.make(ENV)])
    if behind:
        envs = VecNormalize(envs, clip_obs=4.0, epsilon=1e-3)
    small = {"n_steps": 32, "batch_size": 32, "n_epochs": 1} if kind is PPO else {"learning_starts": 10}
    model = kind("MlpPolicy", envs, seed=0, policy_kwargs={"net_arch": [8]}, **small)
    model.learn(32)
    model.save(folder / f"{ENV}.zip")
    if behind:
        (folder / ENV).mkdir()
        envs.save(str(folder / ENV / "vecnormalize.pkl"))
    return model, envs


@pytest.mark.parametrize("kind", [PPO, SAC])
def test_actions_are_those_of_sb3_on_normalised_observations(
    kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, envs = trained(tmp_path, kind)
    zipped, beside = tmp_path / f"{ENV}.zip", tmp_path / ENV / "vecnormalize.pkl"
    _, err = call("import", "sb3-zip", zipped, "--env", ENV, "--out", tmp_path / "no", code=2, capsys=capsys)
    assert f"--normalize-from {beside}" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "no").exists()
    out, _ = call(
        "import", "sb3-zip", zipped, "--env", ENV, "--out", tmp_path / "run", "--normalize-from", beside, "--json",
        capsys=capsys,
    )  # fmt: skip
    run = Run.open(last(out)["run"])
    controller = load_controller(run)
    assert (controller.spec.clip, controller.spec.epsilon) == (4.0, 1e-3)
    scale = np.array([3.0, 3.0, 40.0], dtype=np.float32)  # some are clipped
    observations = np.random.default_rng(0).uniform(-scale, scale, (64, 3)).astype(np.float32)
    right, _ = model.predict(envs.normalize_obs(observations), deterministic=True)
    mine, _ = controller(torch.as_tensor(observations))
    np.testing.assert_allclose(mine.numpy(), right, rtol=0, atol=2e-5)
    other, _ = import_sb3_zip(zipped, make_env(ENV), normalize_from=Path("none"))(torch.as_tensor(observations))
    assert np.abs(other.numpy() - right).max() > 1e-3, "the statistics matter"


def test_the_same_statistics_in_every_form(tmp_path: Path) -> None:
    _, envs = trained(tmp_path, PPO)
    rms = envs.obs_rms
    arrays = {"mean": rms.mean, "var": rms.var, "clip_obs": np.array(4.0), "epsilon": np.array(1e-3)}
    np.savez(tmp_path / "s.npz", **arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "s.safetensors")
    for protocol in range(6):  # of all that somebody's Python wrote
        (tmp_path / f"{protocol}.pkl").write_bytes(pickle.dumps(envs, protocol=protocol))
    for name in ("s.npz", "s.safetensors", *(f"{protocol}.pkl" for protocol in range(6))):
        found = read_statistics(tmp_path / name, 3)
        np.testing.assert_array_equal(found.mean, rms.mean, err_msg=name)
        np.testing.assert_array_equal(found.var, rms.var, err_msg=name)
        assert (found.clip, found.epsilon) == (4.0, 1e-3)
    with pytest.raises(UsageError, match=r"expected 5 numbers for this environment"):
        read_statistics(tmp_path / "s.npz", 5)


def test_a_sign_beside_or_in_the_zip_is_enough_to_ask(tmp_path: Path) -> None:
    trained(tmp_path, PPO)
    env = make_env(ENV)
    shutil.rmtree(tmp_path / ENV)
    with pytest.raises(UsageError, match=r"_last_original_obs.*--normalize-from FILE"):
        import_sb3_zip(tmp_path / f"{ENV}.zip", env)
    plain = tmp_path / "plain"
    plain.mkdir()
    trained(plain, PPO, behind=False)
    zipped = plain / f"{ENV}.zip"
    assert not import_sb3_zip(zipped, env).spec.normalise
    configs = {
        "normalize: true\n": True,
        "normalize: false\n": False,
        "normalize: 'dict(norm_obs=False, norm_reward=True)'\n": False,
        "normalize: {norm_obs: true, norm_reward: false}\n": True,
        "!!python/object/apply:collections.OrderedDict\n- - - gamma\n    - 0.9\n  - - normalize\n    - true\n": True,
        "!!python/object/apply:os.system [touch canary]\n": False,
    }
    (plain / ENV).mkdir()
    for text, asked in configs.items():
        (plain / ENV / "config.yml").write_text(text)
        if asked:
            with pytest.raises(UsageError, match=r"config.yml \(normalize: true\)"):
                import_sb3_zip(zipped, env)
        else:
            import_sb3_zip(zipped, env)
    (plain / ENV / "config.yml").unlink()
    (plain / "vec_normalize.pkl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"vec_normalize.pkl says"):
        import_sb3_zip(zipped, env)


class Canary:
    """What a hostile file would have called."""

    def __reduce__(self) -> Any:
        return os.system, ("touch canary",)


@pytest.mark.parametrize(
    "blob",
    [
        b"", b"\x80\x04.", b"\x80\x04N.", b"]]]", b"\x80\x04]\x94h\x00a.", b"PK", b"0" * 100, b"(" * 100_000 + b".",
        b"cos\nsystem\n(S'touch canary'\ntR.", pickle.dumps(Canary()), pickle.dumps({"obs_rms": Canary()}),
        pickle.dumps({"obs_rms": 3}), b"\x80\x05\x97.", b"\x80\x04\x8c\xff.", b"I" + b"1" * 10_000 + b"\n.",
        b"L" + b"1" * 10_000 + b"L\n.", b"\x80\x04}\x94" + b"h\x00" * 300_000 + b".",
    ],
)  # fmt: skip
def test_hostile_statistics_are_refused_and_run_nothing(
    blob: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.pkl").write_bytes(blob)
    with pytest.raises(UsageError, match="--normalize-from"):
        read_statistics(Path("x.pkl"), 3)
    assert not Path("canary").exists()


def test_an_outline_is_plain_values_and_names() -> None:
    made = outline(pickle.dumps({"a": [1, (2.5, "x")], "b": Canary()}), "x")
    assert made["a"] == [1, (2.5, "x")]
    assert made["b"].function.endswith("system")
    with pytest.raises(StorageFault, match="more than the"):
        outline(b"\x80\x04" + bytes(9 << 20), "x")


def test_specifications_of_earlier_runs_are_written_as_before() -> None:
    spec = ControllerSpec(network=NetworkSpec(inputs=2, outputs=1), low=(-1.0,), high=(1.0,))
    assert "epsilon" not in dump(spec)
    assert dump(ControllerSpec(network=spec.network, low=(-1.0,), high=(1.0,), epsilon=1e-8))["epsilon"] == 1e-8
