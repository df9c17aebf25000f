"""Claims on the networks of SB3's policies that are one operation each."""

import copy
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

from homeo_rl.agents import SpikingSACPolicy
from homeo_rl.agents.sb3.dense import DenseNetwork, TwinCritic, compact


@pytest.mark.parametrize("rows", [5, 64])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.ELU])
@pytest.mark.parametrize("outputs", [1, 6, -1])
def test_a_dense_network_is_its_sequence(rows: int, activation: type[nn.Module], outputs: int) -> None:
    """Values and all derivatives are those of `nn.Sequential` within 1e-12 in float64, with the same names."""
    torch.manual_seed(0)
    sequence = nn.Sequential(*create_mlp(7, outputs, [32, 24], activation)).double()
    network = compact(copy.deepcopy(sequence))
    assert list(network.state_dict()) == list(sequence.state_dict())
    found = []
    for module in (sequence, network):
        x = torch.linspace(-2, 2, rows * 7, dtype=torch.float64).view(rows, 7).requires_grad_()
        y = module(x)
        y.square().sum().backward()
        with torch.no_grad():
            alone = module(x)
        assert x.grad is not None
        found.append([y, alone, x.grad, *(part.grad for part in module.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_float32_derivatives_are_close() -> None:
    """In float32, the type of training, values and derivatives differ from autograd's by less than 1e-6."""
    torch.manual_seed(0)
    sequence = nn.Sequential(*create_mlp(23, 1, [256, 256]))
    network = compact(copy.deepcopy(sequence))
    x = torch.randn(256, 23)
    for module in (sequence, network):
        module(x).square().mean().backward()
    for a, b in zip(sequence.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU])
def test_a_loss_of_the_actor_leaves_the_critics_alone(activation: type[nn.Module]) -> None:
    """Where actions have a gradient, critics get none, and the actions get the same as with them."""
    model = SAC(SpikingSACPolicy, "Pendulum-v1", policy_kwargs={"activation_fn": activation}, seed=0, device="cpu")
    critic = model.critic
    assert isinstance(critic, TwinCritic)
    assert all(isinstance(network, DenseNetwork) for network in critic.q_networks)
    observations, actions = torch.randn(64, 3), torch.zeros(64, 1, requires_grad=True)
    sum(critic(observations, actions)).sum().backward()
    assert all(part.grad is None for part in critic.parameters())
    rows = torch.cat([critic.extract_features(observations, critic.features_extractor), actions.detach()], 1)
    rows.requires_grad_()
    sum(nn.Sequential.forward(network, rows) for network in critic.q_networks).sum().backward()
    assert actions.grad is not None
    assert rows.grad is not None
    torch.testing.assert_close(actions.grad, rows.grad[:, 3:], rtol=0, atol=1e-6)


def test_modes_reach_every_module() -> None:
    """What SB3 sets at every step is what torch would set."""
    model = SAC(SpikingSACPolicy, gym.make("Pendulum-v1"), seed=0, device="cpu")
    for mode in (True, False):
        model.policy.set_training_mode(mode)
        assert {part.training for part in (*model.actor.modules(), *model.critic.modules())} == {mode}


def test_adam_is_fused_and_kept(tmp_path: Path) -> None:
    """Optimisers go through torch's single loop, also after a policy was saved and loaded."""
    model = SAC(SpikingSACPolicy, "Pendulum-v1", seed=0, device="cpu", learning_starts=4, batch_size=8).learn(8)
    model.save(tmp_path / "a.zip")
    again = SAC.load(tmp_path / "a.zip")
    for part in (model, again):
        assert all(group["fused"] for group in part.critic.optimizer.param_groups)
    observation = np.zeros(3, dtype=np.float32)
    assert np.array_equal(
        model.predict(observation, deterministic=True)[0], again.predict(observation, deterministic=True)[0]
    )
