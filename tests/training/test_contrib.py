"""TQC and CrossQ with spiking actors, and TD3 with a proxy as its target actor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TQC, CrossQ
from stable_baselines3.common.torch_layers import FlattenExtractor

from homeo_rl.agents import ProxyTD3, SpikingCrossQPolicy, SpikingProxyTD3Policy, SpikingTQCPolicy
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.snn.network import SpikingNetwork

KINDS: dict[str, Any] = {
    "tqc": (TQC, SpikingTQCPolicy),
    "crossq": (CrossQ, SpikingCrossQPolicy),
    "proxy_td3": (ProxyTD3, SpikingProxyTD3Policy),
}
AGENT = {"agent": "popsan", "agent_kwargs": {"hidden": [8, 8], "steps": 3}, "net_arch": [16]}


def model(algo: str, **kwargs: Any) -> Any:
    kind, policy = KINDS[algo]
    return kind(
        policy, make_env("Pendulum-v1", {}), seed=0, device="cpu", learning_starts=20, batch_size=16,
        buffer_size=200, policy_kwargs={**AGENT, **kwargs},
    )  # fmt: skip


@pytest.mark.parametrize("algo", KINDS)
def test_the_actor_spikes_learns_and_is_what_is_deployed(algo: str, tmp_path: Path) -> None:
    made = model(algo)
    network = made.policy.head().network
    assert isinstance(network, SpikingNetwork)
    before = [part.clone() for part in network.parameters()]
    made.policy.observe(torch.randn(50, 3))
    made.learn(60)
    assert all((a != b).any() for a, b in zip(before, network.parameters(), strict=True))
    observations = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    actions, _ = made.predict(observations, deterministic=True)
    wanted, _ = made.policy.controller()(torch.as_tensor(observations))
    np.testing.assert_allclose(actions, wanted.numpy(), atol=1e-6)
    made.save(tmp_path / "model.zip")
    loaded = type(made).load(tmp_path / "model.zip", device="cpu")
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], actions)


def test_the_proxy_follows_the_actor_by_gradients_alone() -> None:
    """With an actor that stays, its error falls."""
    made = model("proxy_td3")
    assert not isinstance(made.actor_target.mu.network, SpikingNetwork)
    made.learn(40)
    made.lr_schedule = lambda _: 1e-2
    made.actor.optimizer = torch.optim.SGD(made.actor.parameters(), lr=0)
    errors = [made._take_step(64)["proxy_loss"] for _ in range(40)]
    assert np.mean(errors[-5:]) < 0.3 * np.mean(errors[:5])


def test_the_optimiser_of_the_proxy_is_saved(tmp_path: Path) -> None:
    made = model("proxy_td3")
    made.learn(40)
    made.save(tmp_path / "model.zip")
    loaded = ProxyTD3.load(tmp_path / "model.zip", device="cpu")
    kept, wanted = (one.actor_target.optimizer.state_dict()["state"] for one in (loaded, made))
    assert kept.keys() == wanted.keys() != set()
    for key, entry in wanted.items():
        assert torch.equal(kept[key]["exp_avg"], entry["exp_avg"])


def test_critics_of_crossq_are_normalised_and_actors_are_not() -> None:
    made = model("crossq")
    names = {type(part).__name__ for part in made.critic.modules()}
    assert "BatchRenorm1d" in names
    assert "BatchRenorm1d" not in {type(part).__name__ for part in made.actor.modules()}
    assert made.actor.optimizer.defaults["betas"] == (0.5, 0.999)
    plain = model("crossq", optimizer_class=torch.optim.SGD)
    assert isinstance(plain.actor.optimizer, torch.optim.SGD)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="features extractor"):
        model("proxy_td3", features_extractor_class=FlattenExtractor)
    made = model("proxy_td3", activation_fn=torch.nn.Softplus)
    with pytest.raises(UsageError, match="proxy_td3: expected"):
        made.learn(40)
