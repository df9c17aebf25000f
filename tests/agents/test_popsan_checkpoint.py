"""Checkpoints in the layout that PopSAN's authors publish them in: read without executing anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_calls import call

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.importers import import_popsan
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.run import Run

ENV, OBSERVATIONS, ACTIONS, HIDDEN = "HalfCheetah-v5", 17, 6, (12, 9)


def parameters() -> dict[str, torch.Tensor]:
    """Return an untrained actor by upstream's names."""
    draws = torch.Generator().manual_seed(0)
    widths = (10 * OBSERVATIONS, *HIDDEN, 10 * ACTIONS)
    layers = ("snn.hidden_layers.0", "snn.hidden_layers.1", "snn.out_pop_layer")
    found = {
        "encoder.mean": torch.randn(1, OBSERVATIONS, 10, generator=draws),
        "encoder.std": torch.rand(1, OBSERVATIONS, 10, generator=draws) + 0.1,
        "decoder.decoder.weight": torch.randn(ACTIONS, 1, 10, generator=draws),
        "decoder.decoder.bias": torch.randn(ACTIONS, generator=draws),
    }
    for i, layer in enumerate(layers):
        found[f"{layer}.weight"] = torch.randn(widths[i + 1], widths[i], generator=draws)
        found[f"{layer}.bias"] = torch.randn(widths[i + 1], generator=draws)
    return found


STATISTICS = [np.linspace(-1, 1, OBSERVATIONS, dtype=np.float32), np.linspace(0.5, 2, OBSERVATIONS, dtype=np.float64)]


def write(folder: Path, *, legacy: bool = False, protocol: int = 3, statistics: object = STATISTICS) -> Path:
    """Write the two files."""
    path = folder / "model0_e100.pt"
    module = torch.nn.Module()  # its state_dict has notes of versions, as every module's
    state = module.state_dict()
    state.update(parameters())
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    (folder / "model0_e100_mean_var.p").write_bytes(pickle.dumps(statistics, protocol=protocol))
    return path


@pytest.mark.parametrize(("legacy", "protocol"), [(True, 3), (False, 4), (False, 5)])
def test_import(
    legacy: bool, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy is the one that an .npz of the same arrays gives, bit for bit."""
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, legacy=legacy, protocol=protocol)
    arrays = {name: value.numpy() for name, value in parameters().items()}
    np.savez(tmp_path / "same.npz", **arrays, obs_mean=STATISTICS[0], obs_var=STATISTICS[1])
    call("import", "popsan", path, "--env", ENV, "--out", "run", capsys=capsys)
    env = make_env(ENV)
    expected = import_popsan(tmp_path / "same.npz", env).state_dict()
    env.close()
    found = load_controller(Run.open(tmp_path / "run")).state_dict()
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("sprung",)


def _trap_in_parameters(path: Path) -> None:
    torch.save({**parameters(), "snn": Trap()}, path)


def _trap_in_old_parameters(path: Path) -> None:
    torch.save({**parameters(), "snn": Trap()}, path, _use_new_zipfile_serialization=False)


def _trap_in_statistics(path: Path) -> None:
    write(path.parent, statistics=[STATISTICS[0], Trap()])


def _no_statistics(path: Path) -> None:
    path.with_name("model0_e100_mean_var.p").unlink()


def _one_array(path: Path) -> None:
    write(path.parent, statistics=STATISTICS[:1])


def _texts(path: Path) -> None:
    write(path.parent, statistics=["mean", "var"])


def _other_length(path: Path) -> None:
    write(path.parent, statistics=[array[:5] for array in STATISTICS])


def _not_finite(path: Path) -> None:
    write(path.parent, statistics=[STATISTICS[0], STATISTICS[1] * np.nan])


def _whole_module(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)


def _cut(path: Path) -> None:
    write(path.parent, legacy=True)
    path.write_bytes(path.read_bytes()[:-40])


def _longer(path: Path) -> None:
    write(path.parent, legacy=True)
    path.write_bytes(path.read_bytes() + b"more")


def _noise(path: Path) -> None:
    path.write_bytes(b"\x80\x02" + bytes(range(256)))


@pytest.mark.parametrize(
    "spoil",
    [
        _trap_in_parameters, _trap_in_old_parameters, _trap_in_statistics, _no_statistics, _one_array, _texts,
        _other_length, _not_finite, _whole_module, _cut, _longer, _noise,
    ],
)  # fmt: skip
def test_refused(spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and nothing happens."""
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path)
    spoil(path)
    env = make_env(ENV)
    with pytest.raises(UsageError) as refused:
        import_popsan(path, env)
    env.close()
    assert "\n" not in str(refused.value)
    assert "model0_e100" in str(refused.value)
    assert not (tmp_path / "sprung").exists()


def test_ant_needs_a_flag(tmp_path: Path) -> None:
    """Since Ant-v5 it shows contact forces too; who brings an older policy reads what to give."""
    path = write(tmp_path)
    env = make_env("Ant-v5")
    with pytest.raises(UsageError, match="include_cfrc_ext_in_observation:False"):
        import_popsan(path, env)
    env.close()


def test_damage_never_passes_unnoticed(tmp_path: Path) -> None:
    """A cut at any place is refused, whatever was cut."""
    path = write(tmp_path, legacy=True)
    env = make_env(ENV)
    for file in (path, path.with_name("model0_e100_mean_var.p")):
        whole = file.read_bytes()
        for end in np.random.default_rng(0).integers(0, len(whole), 40):
            file.write_bytes(whole[:end])
            with pytest.raises(UsageError):
                import_popsan(path, env)
        file.write_bytes(whole)
    import_popsan(path, env)
    env.close()
