"""Claims on SAC, TD3 and DDPG with gradient steps of their own, and on PPO's distribution: they are SB3's."""

from typing import Any

import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from homeo_rl.agents import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
from homeo_rl.agents.sb3 import algorithms

KINDS = {
    "sac": (sb3.SAC, algorithms.SAC, SpikingSACPolicy, {}),
    "sac, fixed entropy": (sb3.SAC, algorithms.SAC, SpikingSACPolicy, {"ent_coef": 0.1, "target_update_interval": 2}),
    "td3": (sb3.TD3, algorithms.TD3, SpikingTD3Policy, {}),
    "td3, n steps": (sb3.TD3, algorithms.TD3, SpikingTD3Policy, {"n_steps": 3}),
    "ddpg": (sb3.DDPG, algorithms.DDPG, SpikingTD3Policy, {}),
}


def learner(kind: Any, policy: Any, agent: str, **settings: Any) -> BaseAlgorithm:
    """Return an algorithm with plain gradient descent, whose weights differ as little as its gradients do."""
    arguments = {
        "agent": agent, "agent_kwargs": {"hidden": [24, 16]}, "net_arch": [16, 16], "optimizer_class": torch.optim.SGD,
    }  # fmt: skip
    model: BaseAlgorithm = kind(
        policy, "Pendulum-v1", policy_kwargs=arguments, seed=0, device="cpu", learning_rate=1e-2, **settings
    )
    return model


@pytest.mark.parametrize("agent", ["mlp", "san", "popsan"])
@pytest.mark.parametrize("name", KINDS)
def test_gradient_steps_are_those_of_sb3(name: str, agent: str) -> None:
    """Weights, figures and the generator after two steps; weights within 1e-5."""
    peer, ours, policy, settings = KINDS[name]
    found = []
    for kind in (peer, ours):
        model = learner(kind, policy, agent, learning_starts=100, **settings).learn(80)
        before = {key: value.clone() for key, value in model.policy.state_dict().items()}
        model.train(2, 64)
        after = {**model.policy.state_dict(), "entropy": getattr(model, "log_ent_coef", None)}
        assert any(not torch.equal(value, after[key]) for key, value in before.items() if "target" in key)
        assert all(not torch.equal(before[key], after[key]) for key in before if key.endswith("qf0.0.weight"))
        found.append((after, dict(model.logger.name_to_value), torch.get_rng_state()))
    (a, figures, drawn), (b, own, own_drawn) = found
    assert torch.equal(drawn, own_drawn)
    assert own.keys() == figures.keys()
    for key, value in figures.items():
        assert own[key] == pytest.approx(value, rel=1e-4, abs=1e-5)
    for key, value in a.items():
        if value is not None:
            torch.testing.assert_close(b[key], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{"use_sde": True}, {"policy_kwargs": {"activation_fn": nn.ELU}}])
def test_what_is_not_covered_goes_through_sb3(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    whole = sb3.SAC.train
    monkeypatch.setattr(sb3.SAC, "train", lambda self, *args: [seen.append(args), whole(self, *args)])
    model = algorithms.SAC(SpikingSACPolicy, "Pendulum-v1", seed=0, device="cpu", learning_starts=4, **settings)
    model.learn(8)
    assert seen


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_gaussian_of_ppo_is_that_of_sb3(deterministic: bool) -> None:
    """Actions, values, log probabilities, entropies and gradients within 1e-5, from the same draws."""
    model = sb3.PPO(SpikingActorCriticPolicy, "Pendulum-v1", seed=0, device="cpu")
    policy, observations = model.policy, torch.randn(32, 3)
    assert isinstance(policy, SpikingActorCriticPolicy)
    peers = []
    for owner in (policy, super(SpikingActorCriticPolicy, policy)):
        torch.manual_seed(1)
        with torch.no_grad():
            rollout = owner.forward(observations, deterministic)
        evaluated = owner.evaluate_actions(observations, rollout[0])
        policy.zero_grad()
        sum(part.square().sum() for part in evaluated if part is not None).backward()
        peers.append(
            [*rollout, *evaluated, *(part.grad.clone() for part in policy.parameters() if part.grad is not None)]
        )
    assert len(peers[0]) == len(peers[1])
    for a, b in zip(*peers, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
