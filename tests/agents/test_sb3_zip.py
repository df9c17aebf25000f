"""Policies out of Stable-Baselines3's zips: the same actions, weights only, nothing unpickled."""

from __future__ import annotations

import io
import itertools
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from cli_calls import call, last
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.presets import controller_spec, describe
from homeo_rl.agents.sb3.zip import import_sb3_zip, read_sb3_zip
from homeo_rl.envs.make import make_env
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.run import Run
from homeo_rl.spec import ControllerSpec, NetworkSpec, dump, parse
from homeo_rl.storage import torch_archive, zip_archive
from homeo_rl.storage.npz_header import array_head, read_arrays
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train
from homeo_rl.workflows.distill import DistillationPlan, distill

OFF_POLICY: dict[str, Any] = {"learning_starts": 8, "batch_size": 8, "buffer_size": 200}


class Bent(gym.Env[np.ndarray, np.ndarray]):
    """Actions whose bounds are neither symmetric nor alike."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  # gymnasium's own form

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (5,))
        self.action_space = gym.spaces.Box(np.array([-1.0, 0.5], np.float32), np.array([3.0, 0.75], np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.normal(size=5).astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.np_random.normal(size=5).astype(np.float32), float(action[0]), bool(action[0] > 2.5), False, {}


gym.register("Bent-v0", Bent)


def saved(kind: type[BaseAlgorithm], env: str, path: Path, **kwargs: Any) -> BaseAlgorithm:
    """Train a policy for a moment and save it at ``path``."""
    on = kind in (PPO, A2C)
    given = {"n_steps": 16, **({"batch_size": 16} if kind is PPO else {})} if on else OFF_POLICY
    model = kind("MlpPolicy", gym.make(env), seed=0, device="cpu", **{**given, **kwargs})
    model.learn(32)
    spread(model)
    model.save(path)
    return model


@torch.no_grad()
def spread(model: BaseAlgorithm) -> None:
    """Scale the last layer of an actor so that its outputs vary, around the middle of bounds that clip them.

    What was trained for a moment does nearly the same everywhere.
    """
    policy: Any = model.policy
    last = policy.action_net if on_policy(model) else policy.actor.mu
    layer = [part for part in last.modules() if isinstance(part, torch.nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, out: seen.append(out))
    model.predict(observations(model.observation_space), deterministic=True)
    hook.remove()
    middle, half = torch.zeros(layer.out_features), torch.ones(layer.out_features)
    if on_policy(model) and isinstance(model.action_space, gym.spaces.Box):
        low, high = torch.tensor(model.action_space.low), torch.tensor(model.action_space.high)
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
    scale = half / seen[0].std(0)
    layer.bias.copy_((layer.bias - seen[0].mean(0)) * scale + middle)
    layer.weight.mul_(scale[:, None])


def on_policy(model: BaseAlgorithm) -> bool:
    return isinstance(model, PPO | A2C)


def observations(space: gym.Space[Any]) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=2.0, size=(2000, *(space.shape or ()))).astype(np.float32)


def difference(model: BaseAlgorithm, controller: Controller) -> float:
    """Return the largest difference of deterministic actions on random observations, after a look at their variety."""
    x = observations(model.observation_space)
    theirs, _ = model.predict(x, deterministic=True)
    ours = controller(torch.as_tensor(x))[0].numpy()
    assert ours.shape == theirs.shape
    assert ours.std(0).min() > 0.04
    return float(np.abs(theirs.astype(np.float64) - ours).max())


@pytest.mark.parametrize("kind", [PPO, A2C, SAC, TD3, DDPG], ids=lambda kind: kind.__name__)
def test_actions_are_those_of_stable_baselines3(kind: type[BaseAlgorithm], tmp_path: Path) -> None:
    env = make_env("Bent-v0")
    model = saved(kind, "Bent-v0", tmp_path / "model.zip")
    controller = import_sb3_zip(tmp_path / "model.zip", env)
    assert difference(model, controller) < 2e-6
    expected = {PPO: (64, 64), A2C: (64, 64), SAC: (256, 256)}.get(kind, (400, 300))
    assert controller.spec.network.hidden == expected
    assert controller.spec.network.activation == ("tanh" if kind in (PPO, A2C) else "relu")
    x = torch.randn(2000, 5) * 2
    actions = controller(x)[0]
    bounds = torch.tensor(env.action_space.low), torch.tensor(env.action_space.high)  # type: ignore[attr-defined]
    assert ((actions >= bounds[0]) & (actions <= bounds[1])).all()
    if kind in (PPO, A2C):
        assert ((actions == bounds[0]) | (actions == bounds[1])).any(), "clipped, not squashed"


@pytest.mark.parametrize("kind", [PPO, A2C], ids=lambda kind: kind.__name__)
def test_choices_are_those_of_stable_baselines3(kind: type[BaseAlgorithm], tmp_path: Path) -> None:
    model = saved(kind, "CartPole-v1", tmp_path / "model.zip")
    controller = import_sb3_zip(tmp_path / "model.zip", make_env("CartPole-v1"))
    assert difference(model, controller) == 0.0
    assert controller.spec.discrete


@pytest.mark.parametrize(
    ("kind", "arguments", "words", "hidden"),
    [
        (PPO, {"net_arch": {"pi": [32, 16, 8], "vf": [4]}}, {}, (32, 16, 8)),
        (PPO, {"net_arch": []}, {}, ()),
        (PPO, {"activation_fn": torch.nn.ReLU}, {"activation": "relu"}, (64, 64)),
        (SAC, {"net_arch": [], "use_expln": True}, {}, ()),
        (SAC, {"net_arch": {"pi": [16], "qf": [8]}, "activation_fn": torch.nn.Tanh}, {"activation": "tanh"}, (16,)),
        (TD3, {"net_arch": []}, {}, ()),
        (TD3, {"net_arch": [32, 16], "n_critics": 1}, {"hidden": [32, 16]}, (32, 16)),
    ],
)
def test_architectures(
    kind: type[BaseAlgorithm], arguments: dict[str, Any], words: dict[str, Any], hidden: tuple[int, ...], tmp_path: Path
) -> None:
    model = saved(kind, "Bent-v0", tmp_path / "model.zip", policy_kwargs=arguments)
    controller = import_sb3_zip(tmp_path / "model.zip", make_env("Bent-v0"), agent="mlp", overrides=words)
    assert difference(model, controller) < 2e-6
    assert controller.spec.network.hidden == hidden


def test_parameters_that_share_one_storage(tmp_path: Path) -> None:
    """As evolution strategies leave them: every tensor is a part of the same vector."""
    model = saved(PPO, "Bent-v0", tmp_path / "model.zip")
    model.policy.load_from_vector(model.policy.parameters_to_vector() * 1.25)
    model.save(tmp_path / "flat.zip")
    assert difference(model, import_sb3_zip(tmp_path / "flat.zip", make_env("Bent-v0"))) < 2e-6


def test_weights_that_lie_by_columns(tmp_path: Path) -> None:
    model = saved(PPO, "Bent-v0", tmp_path / "model.zip")
    layer = model.policy.mlp_extractor.policy_net[2]
    layer.weight.data = layer.weight.data.t().contiguous().t()
    assert layer.weight.stride() == (1, 64)
    model.save(tmp_path / "columns.zip")
    assert difference(model, import_sb3_zip(tmp_path / "columns.zip", make_env("Bent-v0"))) < 2e-6


def test_axes_in_any_order(tmp_path: Path) -> None:
    """Tensors of any layout are those that torch saved."""
    rng = torch.Generator().manual_seed(0)
    base = torch.rand(2, 3, 4, 5, generator=rng)
    tensors = {f"{axes}": base.permute(axes) for axes in itertools.permutations(range(4))}
    tensors |= {"thin": torch.rand(1, 7, 1, generator=rng).permute(2, 1, 0), "one": torch.tensor(3.5), "part": base[1]}
    tensors |= {"empty": torch.zeros(3, 0, 2), "whole": torch.arange(5), "true": torch.tensor([True, False])}
    out = io.BytesIO()
    torch.save(tensors, out)
    with zipfile.ZipFile(tmp_path / "file.zip", "w") as made:
        made.writestr("policy.pth", out.getvalue())
    with zip_archive.open_zip(tmp_path / "file.zip") as archive:
        (info,) = archive.infolist()
        with torch_archive.open_member(archive, info, "here") as opened:
            with pytest.raises(StorageFault, match="over each other"):
                opened.read(tensors)
            for name, tensor in tensors.items():
                found = opened.read([name])[name]
                assert np.array_equal(found, tensor.numpy()), name
                assert found.dtype == tensor.numpy().dtype
                assert found.flags.c_contiguous
                assert found.flags.owndata


def test_only_the_actor_is_read(tmp_path: Path) -> None:
    model = saved(TD3, "Bent-v0", tmp_path / "model.zip")
    with torch.no_grad():
        model.policy.critic.qf0[0].weight.fill_(float("nan"))
        model.policy.actor_target.mu[0].weight.fill_(float("nan"))
    model.save(tmp_path / "model.zip")
    assert difference(model, import_sb3_zip(tmp_path / "model.zip", make_env("Bent-v0"))) < 2e-6
    with torch.no_grad():
        model.policy.actor.mu[0].weight[3, 1] = float("nan")
    model.save(tmp_path / "model.zip")
    with pytest.raises(UsageError, match=r"actor\.mu\.0\.weight' holds NaN"):
        import_sb3_zip(tmp_path / "model.zip", make_env("Bent-v0"))


# Policies of our own.


def trained(folder: Path, algo: str, agent: str, env: str = "toy_envs:Point-v0", **kwargs: Any) -> Run:
    given = {"n_steps": 16} | ({"batch_size": 16} if algo == "ppo" else {}) if algo in ("ppo", "a2c") else OFF_POLICY
    return train(
        TrainingPlan(
            algo=algo, env=env, agent=agent, steps=40, eval_freq=-1, save_freq=-1, out=folder,
            hyperparams={**given, "agent_kwargs": {"hidden": [12, 10], **kwargs}},
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("algo", "agent", "env", "words"),
    [
        ("ppo", "popsan", "toy_envs:Choice-v0", {}),
        ("a2c", "anytime", "toy_envs:Point-v0", {}),
        ("ppo", "mlp", "toy_envs:Point-v0", {}),
        ("sac", "san", "toy_envs:Point-v0", {"steps": 3}),
        ("td3", "qcfs", "toy_envs:Point-v0", {"levels": [4]}),
        ("ddpg", "popsan", "toy_envs:Point-v0", {"neuron": {"kind": "plif", "tau": 3.0}}),
    ],
)
def test_policies_of_ours(algo: str, agent: str, env: str, words: dict[str, Any], tmp_path: Path) -> None:
    """The zip beside a run holds the same policy as its bundle, whatever algorithm and agent."""
    run = trained(tmp_path / "run", algo, agent, env, **words)
    (path,) = run.path.glob("*.zip")
    found, expected = import_sb3_zip(path, make_env(env), agent=agent, overrides=words), load_controller(run)
    assert found.spec == expected.spec == run.spec.controller
    assert found.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in found.state_dict().items())
    assert run.spec.controller is not None
    again = read_sb3_zip(path, run.spec.controller)
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in again.state_dict().items())


def test_words_decide_and_silence_is_asked_about(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "ppo", "popsan", steps=3)
    (path,) = run.path.glob("*.zip")
    env = make_env("toy_envs:Point-v0")
    with pytest.raises(UsageError, match="its data say --agent popsan"):
        import_sb3_zip(path, env)
    with pytest.raises(UsageError, match="its data say --agent-kwargs steps:3"):
        import_sb3_zip(path, env, agent="popsan")
    assert import_sb3_zip(path, env, agent="popsan", overrides={"steps": 7}).spec.network.steps == 7
    with pytest.raises(UsageError, match=r"network\.encoder\.mean|network\.layers\.0\.weight"):
        import_sb3_zip(path, env, agent="mlp", overrides={"steps": 3})
    with pytest.raises(UsageError, match=r"expected float32 \(13, "):
        import_sb3_zip(path, env, agent="popsan", overrides={"steps": 3, "hidden": [13, 10]})
    saved(PPO, "Bent-v0", tmp_path / "relu.zip", policy_kwargs={"activation_fn": torch.nn.ReLU})
    with pytest.raises(UsageError, match="its data say --agent-kwargs activation:relu"):
        import_sb3_zip(tmp_path / "relu.zip", make_env("Bent-v0"))
    saved(PPO, "Bent-v0", tmp_path / "elu.zip", policy_kwargs={"activation_fn": torch.nn.ELU})
    with pytest.raises(UsageError, match="activation is elu; only relu and tanh"):
        import_sb3_zip(tmp_path / "elu.zip", make_env("Bent-v0"))


def test_what_cannot_be_represented_is_refused(tmp_path: Path) -> None:
    bent, pole, path = make_env("Bent-v0"), make_env("CartPole-v1"), tmp_path / "model.zip"

    def refused(env: Any, said: str, **words: Any) -> None:
        with pytest.raises(UsageError, match=said):
            import_sb3_zip(path, env, **words)

    saved(PPO, "Bent-v0", path)
    refused(make_env("Pendulum-v1"), r"expected float32 \(64, 3\) for this environment.*found float32 \(64, 5\)")
    refused(pole, "a choice, as this environment")
    refused(bent, "expected --agent mlp with activation relu or tanh", agent="popsan")
    refused(bent, "expected --agent mlp with activation relu or tanh", overrides={"activation": "qcfs"})
    refused(bent, "unknown agent preset", agent="flarn")
    refused(bent, "unknown key|unexpected|Unexpected", overrides={"flarn": 1})
    saved(PPO, "Bent-v0", path, use_sde=True)
    refused(bent, "gSDE")
    saved(SAC, "Bent-v0", path, use_sde=True)
    refused(bent, "gSDE")
    DQN("MlpPolicy", "CartPole-v1", buffer_size=10).save(path)
    refused(pole, "PPO, A2C, SAC, TD3 or DDPG")
    extractor = {"features_extractor_class": Wide, "net_arch": [4]}
    saved(PPO, "Bent-v0", path, policy_kwargs=extractor)
    refused(bent, "features extractors")
    saved(TD3, "Bent-v0", path, policy_kwargs=extractor)
    refused(bent, "features extractors")
    path.unlink()
    refused(bent, "found none; check the path")
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(3))
    refused(bent, "with a policy.pth, found none")


class Wide(torch.nn.Module):
    """A features extractor with weights."""

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__()
        self.features_dim = 7
        self.layer = torch.nn.Linear(5, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x)
        return result


# As a command.


def test_an_imported_policy_is_a_run_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """evaluate, enjoy, convert and distill take it."""
    env = "toy_envs:Point-v0"
    model = saved(SAC, env, tmp_path / "model.zip", policy_kwargs={"net_arch": [16, 8]})
    run = tmp_path / "run"
    out, shown = call(
        "import", "sb3-zip", tmp_path / "model.zip", "--env", env, "--out", run, "--gym-packages", "toy_envs", "--json",
        capsys=capsys,
    )  # fmt: skip
    assert last(out) == {"run": str(run), "env": env, "kind": "sb3-zip"}
    assert "VecNormalize" in shown
    assert "MLP 3-16-8-2" in shown
    assert "--homeostasis none" in shown
    spec = Run.open(run).spec
    assert (spec.origin, spec.agent, spec.source) == ("import", "mlp", "model.zip")
    assert difference(model, load_controller(Run.open(run))) < 2e-6
    call(
        "evaluate", run, "--suite", "clean", "--homeostasis", "none", "--episodes", "2", "--workers", "1",
        "--no-progress", capsys=capsys,
    )  # fmt: skip
    call("enjoy", run, "--video", tmp_path / "a.gif", "--steps", "3", "--suite", "clean", capsys=capsys)
    call(
        "convert", run, "--out", tmp_path / "converted", "--finetune-steps", "5", "--episodes", "0", "--no-progress",
        capsys=capsys,
    )  # fmt: skip
    call(
        "distill", run, "--out", tmp_path / "student", "--rounds", "1", "--samples", "300", "--steps", "3",
        "--student-kwargs", "hidden:[8]", "--no-progress", capsys=capsys,
    )  # fmt: skip
    assert Run.open(tmp_path / "student").spec.source == str(run)


def test_words_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(PPO, "CartPole-v1", tmp_path / "model.zip", policy_kwargs={"activation_fn": torch.nn.ReLU})
    words = ["import", "sb3-zip", tmp_path / "model.zip", "--env", "CartPole-v1", "--out", tmp_path / "run"]
    _, err = call(*words, code=2, capsys=capsys)
    assert "--agent-kwargs activation:relu" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists(), "nothing is written"
    call(*words, "--agent", "mlp", "--agent-kwargs", "activation:relu", capsys=capsys)
    spec = Run.open(tmp_path / "run").spec
    assert spec.hyperparams == {"agent_kwargs": {"activation": "relu"}}
    assert spec.controller is not None
    assert spec.controller.network.activation == "relu"
    _, err = call(
        "import", "san", tmp_path / "model.zip", "--env", "Pendulum-v1", "--out", tmp_path / "san", "--agent", "mlp",
        code=2, capsys=capsys,
    )  # fmt: skip
    assert "leave --agent" in err
    (tmp_path / "text.zip").write_text("hello")
    _, err = call(
        "import", "sb3-zip", tmp_path / "text.zip", "--env", "Pendulum-v1", "--out", tmp_path / "b", code=2,
        capsys=capsys,
    )  # fmt: skip
    assert "text.zip: not a readable archive" in err


# A teacher in a zip.


def test_a_zip_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another policy of the run, such as one saved on the way, teaches instead of its bundle; nothing is unpickled."""
    run = trained(tmp_path / "run", "td3", "mlp")
    later = TD3.load(run.path / "Point-v0.zip", device="cpu")
    with torch.no_grad():
        later.policy.actor.mu.network.layers[0].weight.mul_(-3.0)
    later.save(run.path / "rl_model_20_steps.zip")
    for name in ("load_from_zip_file", "load_from_pkl"):
        monkeypatch.setattr(f"stable_baselines3.common.save_util.{name}", None)
    plan = DistillationPlan(rounds=1, samples=60, steps=2, bins=0, loss="sdt", student_kwargs={"hidden": [6]})
    taught = [
        distill(run, replace(plan, which=which), tmp_path / f"student{index}")
        for index, which in enumerate(("policy", "Point-v0.zip", "rl_model_20_steps.zip"))
    ]
    digests = [one.policy_digest() for one in taught]
    assert digests[0] == digests[1]
    assert digests[1] != digests[2]


def test_zips_that_do_not_teach(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "ppo", "mlp")
    plan = DistillationPlan(rounds=1, samples=10, steps=1, which="other.zip")
    with pytest.raises(StorageFault, match=r"other\.zip: cannot be read"):
        distill(run, plan, tmp_path / "student")
    saved(PPO, "Bent-v0", run.path / "other.zip")
    with pytest.raises(UsageError, match="homeo-rl import sb3-zip makes a run of it"):
        distill(run, plan, tmp_path / "student")
    shutil.copy(trained(tmp_path / "wide", "ppo", "mlp", hidden=[20]).path / "Point-v0.zip", run.path / "other.zip")
    with pytest.raises(UsageError, match=r"expected float32 \(12, 3\).*found float32 \(20, 3\)"):
        distill(run, plan, tmp_path / "student")
    assert not (tmp_path / "student").exists()


# Arrays, and what is said about specifications.


def test_arrays_are_those_that_numpy_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(3, 4)), "f": np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float32)),
        "h": rng.normal(size=5).astype(np.float16), "i": np.arange(6).reshape(1, 2, 3), "s": np.array(2.5),
        "b": np.array([True, False]), "big": np.arange(3.0).astype(">f8"),
    }  # fmt: skip
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "arrays.npz", **arrays)
        found = read_arrays(tmp_path / "arrays.npz")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
    with zip_archive.open_zip(tmp_path / "arrays.npz") as archive:
        heads = {head.name: head for head in (array_head(archive, i, tmp_path) for i in archive.infolist())}
    assert heads["f"].by_columns
    assert not heads["a"].by_columns


_SPEC: dict[str, Any] = {"network": {"inputs": 3, "outputs": 1}, "low": [-1.0], "high": [1.0]}


@pytest.mark.parametrize(
    "change",
    [
        {"network": {"inputs": 3, "outputs": 1, "\x1b[2J\x07": 1}},
        {"network": {"inputs": 3, "outputs": 1, "neuron": {"\x1b]0;title\x07" * 1000: 1}}},
        {"network": {"inputs": "\x1b[31mred\x1b[0m", "outputs": 1}},
        {"network": {"inputs": 3, "outputs": 1, "body": "\x9b2J\u202e"}},
        {"network": {"inputs": 3, "outputs": 1, "hidden": [1] * 90_000}},
        {"network": {"inputs": 3, "outputs": 1, "encoder": {"kind": "\r\n" * 100_000}}},
        {"\x1b[2J" * 50_000: 1},
        {"squash": "\n\n\nhomeo-rl: all is well"},
        {"clip": {"\x1b[2J": ["\x1b[2J"]}},
    ],
)
def test_nothing_of_a_specification_speaks_to_the_terminal(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as told:
        parse(ControllerSpec, {**_SPEC, **change}, where="file")
    said = str(told.value)
    assert said.isprintable(), said
    assert len(said) < 1200, len(said)
    assert said.startswith(("file: ", "unknown key in file"))


def test_messages_still_say_what_is_wrong() -> None:
    with pytest.raises(UsageError, match=r"file: network\.encoder\.sise: Unexpected keyword argument \(got 1\)"):
        parse(ControllerSpec, {"network": {"inputs": 3, "outputs": 1, "encoder": {"sise": 1}}}, where="file")
    with pytest.raises(UsageError, match=r"unknown key in file 'clipp'.*did you mean 'clip'"):
        parse(ControllerSpec, {**_SPEC, "clipp": 1}, where="file")
    with pytest.raises(UsageError, match=r"file: network\.inputs: .*\(got 'three'\)"):
        parse(ControllerSpec, {"network": {"inputs": "three", "outputs": 1}}, where="file")


def test_tanh_is_for_networks_without_spikes() -> None:
    with pytest.raises(UsageError, match="activation tanh: expected body mlp"):
        parse(NetworkSpec, {"inputs": 2, "outputs": 1, "activation": "tanh"}, where="here")
    box = gym.spaces.Box(-1, 1, (2,))
    spec = controller_spec("mlp", box, box, overrides={"activation": "tanh", "hidden": [4]})
    assert describe(spec) == "MLP 2-4-2, tanh"
    assert parse(ControllerSpec, dump(spec), where="here") == spec
    assert dump(controller_spec("mlp", box, box))["network"]["activation"] == "relu"
