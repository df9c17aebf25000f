"""TQC and CrossQ with spiking actors, and TD3 with a proxy as its target or with batch normalisation over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import TQC, CrossQ
from stable_baselines3.common.torch_layers import FlattenExtractor

from homeo_rl.agents import (
    BatchNormTD3,
    ProxyTD3,
    SpikingBatchNormTD3Policy,
    SpikingCrossQPolicy,
    SpikingProxyTD3Policy,
    SpikingTQCPolicy,
)
from homeo_rl.agents.sb3.batch_norm import CurrentNorm
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import LayerWeights

KINDS: dict[str, Any] = {
    "tqc": (TQC, SpikingTQCPolicy),
    "crossq": (CrossQ, SpikingCrossQPolicy),
    "batchnorm_td3": (BatchNormTD3, SpikingBatchNormTD3Policy),
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
    made.actor_target.optimizer.param_groups[0]["lr"] = 1e-2
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


def test_weights_of_a_norm_are_torchs_batch_norm() -> None:
    """Its derivatives with them; running statistics become those of the batch, or move towards them."""
    torch.manual_seed(0)
    norm, layer, train = CurrentNorm(5, 0.5), torch.nn.Linear(7, 5), (torch.rand(30, 4, 7) < 0.4).float()
    weights = LayerWeights(layer.weight, layer.bias)
    got = norm(weights, train, measure=True)
    ours = torch.nn.functional.linear(train, got.weight, got.bias)
    currents = layer(train).flatten(0, 1)
    theirs = torch.nn.functional.batch_norm(currents, None, None, norm.gain, norm.shift, training=True, eps=1e-5)
    torch.testing.assert_close(ours.flatten(0, 1), theirs)
    mixed = torch.randn(120, 5)
    one, other = (
        torch.autograd.grad((y.view(120, 5) * mixed).sum(), layer.weight, retain_graph=True)[0] for y in (ours, theirs)
    )
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_mean, currents.mean(0))
    torch.testing.assert_close(norm.running_var, currents.var(0, unbiased=False))
    torch.testing.assert_close(
        torch.nn.functional.linear(train, norm.fold(weights).weight, norm.fold(weights).bias), ours
    )
    before = norm.running_mean.clone()
    shifted = LayerWeights(layer.weight, layer.bias + 1.0)
    norm(shifted, train)
    moved = norm.running_mean - before
    assert ((moved > 0.5) & (moved < 1)).all(), "far from what was kept, a batch counts nearly alone"
    norm.errors.zero_()
    norm.running_mean += 1e-3
    near = norm.running_mean.clone()
    norm(shifted, train)
    assert ((norm.running_mean - near).abs() < 0.5 * (before + 1.0 - near).abs()).all(), "near it, little"


def test_the_network_that_acts_is_the_trained_one_under_its_statistics() -> None:
    made = model("batchnorm_td3")
    made.learn(60)
    head = made.actor.mu
    features = torch.randn(300, 3)
    head.train(True)
    learning = head.squash(head.learn(features, measure=True)).detach()
    head.fold()
    head.train(False)
    with torch.no_grad():
        acting = head(features)
    assert ((learning - acting).abs() < 1e-5).all(1).float().mean() > 0.98, "rounding may move a spike"
    assert not any(part.requires_grad for part in head.network.layers.parameters())
    gap = [
        (a - b).abs().max()
        for a, b in zip(head.network.parameters(), made.actor_target.mu.network.parameters(), strict=True)
    ]
    assert 0 < max(gap) < 1


def test_statistics_are_measured_on_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeo_rl.agents.sb3.batch_norm.PERIOD", 10)
    made = model("batchnorm_td3")
    made.learn(30)
    seen: list[tuple[int, bool]] = []
    learn = made.actor.mu.learn

    def watched(rows: torch.Tensor, *, measure: bool = False) -> torch.Tensor:
        seen.append((len(rows), measure))
        out: torch.Tensor = learn(rows, measure=measure)
        return out

    monkeypatch.setattr(made.actor.mu, "learn", watched)
    made.train(made._n_updates % 10 or 10, 16)
    while made._n_updates % 10:
        made.train(1, 16)
    assert (1600, True) in seen
    assert (16, False) in seen


def test_weights_of_a_deployed_network_act_as_before() -> None:
    made, other = model("batchnorm_td3"), model("batchnorm_td3")
    made.learn(60)
    other.policy.head().adopt(made.policy.controller().network.state_dict())
    other.actor.mu.fold()
    for a, b in zip(made.actor.mu.network.parameters(), other.actor.mu.network.parameters(), strict=True):
        assert torch.equal(a, b)


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
    with pytest.raises(UsageError, match="batchnorm_td3: expected spiking"):
        model("batchnorm_td3", agent="mlp", agent_kwargs={})
    with pytest.raises(UsageError, match="homeostasis-in-training"):
        model("batchnorm_td3").policy.adapt_online(None)
