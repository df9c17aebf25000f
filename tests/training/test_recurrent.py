"""Membranes that pass from decision to decision in training: sequences, the policy for RecurrentPPO, its run."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import DummyVecEnv
from trainings import plan

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.sb3.recurrent import SpikingRecurrentPolicy
from homeo_rl.cli import main
from homeo_rl.envs.make import make_env
from homeo_rl.envs.mask_velocity import MaskVelocity
from homeo_rl.errors import UsageError
from homeo_rl.snn import neurons
from homeo_rl.snn.kernels import layer
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.neurons import Membrane
from homeo_rl.spec import EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec
from homeo_rl.training.train import train

MASKED = {"env_wrapper": "homeo_rl.envs.mask_velocity.MaskVelocity"}
TRAIN = ["--algo", "recurrent_ppo", "--env", "Pendulum-v1"]
NETWORKS = {
    "popsan": {"encoder": EncoderSpec(kind="population-regular", size=4), "readout": ReadoutSpec(size=3)},
    "multiscale": {
        "encoder": EncoderSpec(kind="population-regular", size=4), "readout": ReadoutSpec(size=3),
        "neuron": NeuronSpec(kind="multiscale-lif", current_decay=0.95),
    },
    "membrane, initial": {
        "encoder": EncoderSpec(kind="current"), "readout": ReadoutSpec(kind="membrane"), "initial": "neuron",
        "neuron": NeuronSpec(kind="lif", surrogate="arctan"),
    },
    "learnable leaks": {
        "encoder": EncoderSpec(kind="current"), "readout": ReadoutSpec(kind="mean"),
        "neuron": NeuronSpec(kind="plif", surrogate="arctan"),
    },
}  # fmt: skip


def failing(words: list[str]) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(words)
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def network(name: str) -> SpikingNetwork:
    torch.manual_seed(1)
    fields: dict[str, Any] = NETWORKS[name]
    made = SpikingNetwork(NetworkSpec(inputs=3, outputs=2, hidden=(9, 8), steps=3, membrane="episode", **fields))
    return made.double()


def at_rest(made: SpikingNetwork, rows: int) -> list[Membrane]:
    widths = made.spec.widths[1:]
    return [made.rest_of(index, torch.zeros(rows, n, dtype=torch.float64)) for index, n in enumerate(widths)]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_sequence_is_its_decisions(name: str) -> None:
    made = network(name)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    y, after = made.sequence(x, at_rest(made, 4))
    state = made.initial_state(4)
    for index in range(6):
        with torch.no_grad():
            single, state = made(x[:, index], state)
        assert torch.allclose(y[:, index], single, atol=1e-12)
    for one, other in zip(after, state.membranes, strict=True):
        assert other is not None
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(one, other, strict=True))


def test_gradients_pass_through_the_membranes() -> None:
    """The last decision's outputs depend on the first observation, in the derivative as in the numbers."""
    made = network("membrane, initial")
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    y, _ = made.sequence(x, at_rest(made, 2))
    (grad,) = torch.autograd.grad(y[:, -1].sum(), x)
    assert (grad[:, 0] != 0).any()
    cut, _ = made.sequence(x[:, -1:], at_rest(made, 2))
    (alone,) = torch.autograd.grad(cut.sum(), x)
    assert not alone[:, 0].any()
    assert not torch.equal(cut[:, 0], y[:, -1])


def test_multiscale_neurons_are_their_reference() -> None:
    """The compiled groups give the reference's spikes, states and derivatives, for sizes that no group divides."""
    for size in (3, 8, 10):
        neuron = NeuronSpec(kind="multiscale-lif", current_decay=0.95)
        x = torch.randn(3, 20, size, dtype=torch.float64, requires_grad=True)
        before = Membrane(*torch.rand(2, 3, size, dtype=torch.float64), torch.ones(3, size).double())
        before.current[:, ::4] = 0
        expected, end = neurons.scan(neuron, x, before)
        found, after = layer.scan(neuron, x.clone(), before)
        assert 0.05 < float(expected.detach().mean()) < 0.95
        assert torch.equal(found, expected)
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(after, end, strict=True))
        weight = torch.randn_like(x)
        one, other = (torch.autograd.grad((value * weight).sum(), x)[0] for value in (expected, found))
        assert torch.allclose(one, other, atol=1e-12)


def test_multiscale_neurons_answer_to_changes() -> None:
    """For a constant input, drives of all groups but the first fall to 0 as their running means reach it."""
    neuron = NeuronSpec(kind="multiscale-lif", current_decay=0.875, voltage_decay=0.0, threshold=9.0)
    assert neurons.spans_of(neuron) == pytest.approx([1.0, 2.0, 4.0, 8.0])
    x = torch.full((1, 9, 4), 0.5, dtype=torch.float64)
    _, end = neurons.scan(neuron, x)
    fall = [0.5] + [4 * 0.5 * (1 - 1 / span) ** 9 for span in (2, 4, 8)]
    assert end.potential[0].tolist() == pytest.approx(fall)
    assert end.current[0].tolist() == pytest.approx([0.0] + [0.5 * (1 - (1 - 1 / span) ** 9) for span in (2, 4, 8)])


@pytest.mark.parametrize("scan", [neurons.scan, layer.scan])
def test_a_readout_of_potentials_has_no_groups(scan: Any) -> None:
    """An action that is to stay does not fall to 0."""
    neuron = NeuronSpec(kind="multiscale-lif", current_decay=0.875, voltage_decay=0.5)
    x = torch.full((1, 60, 5), 0.5, dtype=torch.float64)
    potentials, _ = scan(neuron, x, fires=False)
    assert potentials[0, -1].tolist() == pytest.approx([1.0] * 5)


def model(env: str = "Pendulum-v1", agent: str = "popsan", **kwargs: Any) -> RecurrentPPO:
    envs = DummyVecEnv([lambda: make_env(env, {})] * 2)
    arguments = {"agent": agent, "agent_kwargs": {"hidden": [8, 8], "steps": 3}, **kwargs}
    return RecurrentPPO(
        SpikingRecurrentPolicy, envs, n_steps=64, batch_size=16, n_epochs=1, seed=0, device="cpu",
        learning_rate=0.0, policy_kwargs=arguments,
    )  # fmt: skip


@pytest.mark.parametrize(("env", "agent"), [("Pendulum-v1", "popsan"), ("CartPole-v1", "anytime")])
def test_an_update_sees_what_the_rollout_saw(env: str, agent: str) -> None:
    """Values and probabilities of a minibatch are those that were collected, episode starts in between included."""
    made = model(env, agent)
    made.learn(128)
    starts = 0
    for data in made.rollout_buffer.get(16):
        mask = data.mask > 0
        actions = data.actions.long().flatten() if env == "CartPole-v1" else data.actions
        values, probability, _ = made.policy.evaluate_actions(
            data.observations, actions, data.lstm_states, data.episode_starts
        )
        assert torch.allclose(values.flatten()[mask], data.old_values[mask], atol=1e-4)
        close = torch.isclose(probability[mask], data.old_log_prob[mask], atol=1e-3)
        assert close.float().mean() > 0.9  # a spike may turn where a sum is ordered differently
        starts += int(data.episode_starts[mask].sum())
    assert starts >= (3 if env == "CartPole-v1" else 0)


def test_a_run_decides_as_the_policy_did(tmp_path: Path) -> None:
    """`predict` with its state through two episodes, and the run's controller, agree; state makes a difference."""
    made = replace(plan("recurrent_ppo", "Pendulum-v1", "popsan", env_kwargs=MASKED), out=tmp_path / "run")
    run = train(made)
    controller = load_controller(run)
    assert controller.spec.network.membrane == "episode"
    policy = RecurrentPPO.load(next(run.path.glob("*.zip"))).policy
    env = gym.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync")
    state: Any = None
    own = controller.network.initial_state(2)
    forgetful = 0
    for episode in range(2):
        observation, _ = env.reset(seed=episode)
        own = controller.network.forget(own, torch.ones(2, dtype=torch.bool), "episode")
        for index in range(12):
            start = np.full(2, index == 0)
            action, state = policy.predict(observation, state, start, deterministic=True)
            alone, _ = policy.predict(observation, deterministic=True)
            with torch.no_grad():
                expected, own = controller(torch.as_tensor(observation), own)
            assert np.allclose(action, expected.numpy(), atol=1e-5)
            forgetful += not np.allclose(action, alone)
            observation, *_ = env.step(action)
    assert forgetful > 12


def test_what_has_no_memory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--agent", "mlp"], "membranes live for an episode"),
        (["--homeostasis-in-training", "dwam-paper"], "no --homeostasis-in-training"),
        (["-params", "agent_kwargs:{membrane: decision}"], "membranes live for an episode"),
    ):
        out = tmp_path / "run"
        assert failing(["train", *TRAIN, "-n", "64", "--out", str(out), *arguments]) == 2
        assert said in capsys.readouterr().err
        assert not out.exists()
    env = make_env("Pendulum-v1", {})
    with pytest.raises(UsageError, match="use_sde"):
        SpikingRecurrentPolicy(env.observation_space, env.action_space, lambda _: 1e-3, use_sde=True)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find = importlib.util.find_spec
    absent = "sb3_contrib"
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == absent else find(name, *rest))
    assert failing(["train", *TRAIN, "--dry-run"]) == 2
    assert "pip install 'homeo-rl[contrib]'" in capsys.readouterr().err
    assert failing(["train", "--algo", "ppo", "--env", "Pendulum-v1", "-params", "flarn:1"]) == 2
    assert "unknown hyper-parameter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "velocities"),
    [
        ("Pendulum-v1", [2]),
        ("CartPole-v1", [1, 3]),
        ("Hopper-v5", list(range(5, 11))),
        ("HalfCheetah-v5", list(range(8, 17))),
    ],
)
def test_velocities_are_masked(env: str, velocities: list[int]) -> None:
    plain, masked = gym.make(env), MaskVelocity(gym.make(env))
    plain.action_space.seed(0)
    seen, hidden = plain.reset(seed=1)[0], masked.reset(seed=1)[0]
    for _ in range(5):
        others = [index for index in range(len(seen)) if index not in velocities]
        assert np.array_equal(seen[others], hidden[others])
        assert not hidden[velocities].any()
        action = plain.action_space.sample()
        seen, hidden = plain.step(action)[0], masked.step(action)[0]
    assert seen[velocities].any()
    with pytest.raises(UsageError, match="Reacher"):
        MaskVelocity(gym.make("Reacher-v5"))
