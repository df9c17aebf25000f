from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
import toy_envs  # noqa: F401  # registers the small environments
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from homeo_rl.agents import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
from homeo_rl.agents.controller import Normaliser, load_controller
from homeo_rl.agents.importers import import_popsan
from homeo_rl.agents.presets import PRESETS, controller_spec
from homeo_rl.agents.sb3.policies import SpikingPolicyMixin
from homeo_rl.agents.session import Session
from homeo_rl.envs import make_env
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import PaperDWAM
from homeo_rl.run import Run
from homeo_rl.spec import EPSILON

SMALL = {"hidden": [12, 10]}
CASES = [
    (PPO, SpikingActorCriticPolicy, {"n_steps": 32, "batch_size": 16}),
    (A2C, SpikingActorCriticPolicy, {"n_steps": 8}),
    (SAC, SpikingSACPolicy, {"learning_starts": 10, "batch_size": 8}),
    (TD3, SpikingTD3Policy, {"learning_starts": 10, "batch_size": 8}),
    (DDPG, SpikingTD3Policy, {"learning_starts": 10, "batch_size": 8}),
]


@pytest.mark.parametrize("agent", list(PRESETS))
@pytest.mark.parametrize(("algo", "policy", "arguments"), CASES)
def test_every_preset_trains_saves_and_loads(
    algo: type[BaseAlgorithm], policy: type, arguments: dict[str, object], agent: str, tmp_path: Path
) -> None:
    """Weights of actor and normaliser move; SB3's save and load keep the policy; the bundle acts like SB3's predict."""
    model = algo(
        policy,
        gym.make("toy_envs:Point-v0"),
        seed=0,
        policy_kwargs={"agent": agent, "agent_kwargs": SMALL},
        **arguments,  # type: ignore[arg-type]
    )
    assert isinstance(model.policy, SpikingPolicyMixin)
    before = [p.clone() for p in model.policy.head().parameters()]
    model.learn(80)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.head().parameters(), strict=True))
    model.save(tmp_path / "model.zip")
    again = algo.load(tmp_path / "model.zip")
    observation = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    torch.manual_seed(1)
    one, _ = model.predict(observation, deterministic=True)
    torch.manual_seed(1)
    other, _ = again.predict(observation, deterministic=True)
    assert np.array_equal(one, other)
    controller = model.policy.controller()
    torch.manual_seed(1)
    ours, _ = controller(torch.as_tensor(observation))
    np.testing.assert_allclose(ours.numpy(), one, atol=1e-6)


def test_discrete_actions() -> None:
    model = PPO(
        SpikingActorCriticPolicy,
        gym.make("toy_envs:Choice-v0"),
        n_steps=32,
        batch_size=16,
        policy_kwargs={"agent_kwargs": SMALL},
    )
    model.learn(64)
    assert isinstance(model.policy, SpikingPolicyMixin)
    observation = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    action, _ = model.predict(observation, deterministic=True)
    ours, _ = model.policy.controller()(torch.as_tensor(observation))
    assert np.array_equal(ours.numpy(), action)
    assert set(action.tolist()) <= {0, 1, 2}


def test_policies_can_be_saved_alone(tmp_path: Path) -> None:
    for algo, policy, arguments in CASES:
        model = algo(policy, gym.make("toy_envs:Point-v0"), policy_kwargs={"agent_kwargs": SMALL}, **arguments)  # type: ignore[arg-type]
        model.policy.save(str(tmp_path / "policy.pt"))
        again = policy.load(str(tmp_path / "policy.pt"))  # type: ignore[attr-defined]
        for one, other in zip(model.policy.state_dict().values(), again.state_dict().values(), strict=True):
            assert torch.equal(one, other)


def test_the_critic_does_not_spike() -> None:
    from homeo_rl.snn import SpikingNetwork

    model = SAC(SpikingSACPolicy, gym.make("toy_envs:Point-v0"), policy_kwargs={"agent_kwargs": SMALL})
    assert not any(isinstance(module, SpikingNetwork) for module in model.critic.modules())
    assert any(isinstance(module, SpikingNetwork) for module in model.actor.modules())


def test_refused_arguments_are_named() -> None:
    for kwargs, said in (
        ({"agent": "popsam"}, "did you mean 'popsan'"),
        ({"agent_kwargs": {"hiden": [3]}}, "hiden"),
    ):
        with pytest.raises(UsageError, match=said):
            PPO(SpikingActorCriticPolicy, gym.make("toy_envs:Point-v0"), policy_kwargs=kwargs)


def test_unsuited_spaces_are_refused() -> None:
    box = gym.spaces.Box(-1, 1, (3,))
    for observation, action, said in (
        (gym.spaces.Discrete(3), box, "observation space: expected a one-dimensional Box"),
        (box, gym.spaces.Box(-np.inf, np.inf, (2,)), "finite bounds"),
        (box, gym.spaces.MultiDiscrete([2, 2]), "one-dimensional Box or a Discrete"),
    ):
        with pytest.raises(UsageError, match=said):
            controller_spec("popsan", observation, action)


def test_actions_fill_asymmetric_bounds() -> None:
    from homeo_rl.agents.controller import Squasher

    spec = controller_spec(
        "popsan",
        gym.spaces.Box(-1, 1, (3,)),
        gym.spaces.Box(np.array([0.0, -2.0]), np.array([1.0, 4.0]), dtype=np.float64),
    )
    squash = Squasher(spec)
    torch.testing.assert_close(
        squash(torch.tensor([[-50.0, -50.0], [0.0, 0.0], [50.0, 50.0]])),
        torch.tensor([[0.0, -2.0], [0.5, 1.0], [1.0, 4.0]]),
    )


def test_normaliser_is_the_exact_mean_and_variance() -> None:
    normaliser, rng = Normaliser(4, 3.0), np.random.default_rng(0)
    chunks = [rng.normal(3, 2, (n, 4)) for n in (1, 7, 100, 2)]
    for chunk in chunks:
        normaliser.update(torch.as_tensor(chunk))
    seen = np.concatenate(chunks)
    np.testing.assert_allclose(normaliser.running_mean.numpy(), seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(normaliser.running_var.numpy(), seen.var(0), rtol=1e-12)
    x = torch.as_tensor(seen[:5])
    expected = np.clip((seen[:5] - seen.mean(0)) / np.sqrt(seen.var(0) + EPSILON), -3, 3)
    np.testing.assert_allclose(normaliser(x).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(("algo", "policy", "arguments"), CASES)
def test_adaptation_in_training_happens_in_rollouts_only(
    algo: type[BaseAlgorithm], policy: type, arguments: dict[str, object]
) -> None:
    """Exactly one adapted decision an environment step; none in gradient passes, bootstraps or evaluations."""
    model = algo(policy, gym.make("toy_envs:Point-v0"), seed=0, policy_kwargs={"agent_kwargs": SMALL}, **arguments)  # type: ignore[arg-type]
    assert isinstance(model.policy, SpikingPolicyMixin)
    online = model.policy.adapt_online(PaperDWAM(eta=1e-3), window=20)
    calls = []
    decide = online.decide
    online.decide = lambda features: (calls.append(len(features)), decide(features))[1]  # type: ignore[method-assign,func-returns-value]
    model.learn(64)
    warm_up = int(arguments.get("learning_starts", 0))  # type: ignore[call-overload]
    assert sum(calls) == 64 - warm_up
    assert len(online.drift()) == 3
    assert max(online.drift()) > 0
    count = len(calls)
    observation = np.zeros((1, 3), dtype=np.float32)
    model.policy.predict(observation, episode_start=np.array([True]), deterministic=True)
    assert len(calls) == count, "an evaluation adapted"


def test_sessions_keep_slots_apart(make_run: Callable[..., Run]) -> None:
    """Damage and adaptation of one slot leave the others' actions alone, to the bit, and dropping slots too."""
    controller = load_controller(make_run())
    rates = [torch.full((n,), 0.3) for n in controller.network.spec.widths[1:]]
    refs = controller.network.references(rates, rates)  # type: ignore[union-attr,operator]
    rng = np.random.default_rng(0)
    watched = rng.normal(size=(12, 3))

    def actions(company: int, drop: bool) -> list[np.ndarray]:
        session = Session(controller, 1 + company, plugin=PaperDWAM(eta=1e-3), references=refs)
        for slot in range(1 + company):
            session.begin(slot, np.random.default_rng(slot))
        place, out = company, []
        for step, own in enumerate(watched):
            if company and step == 3:
                noisy = tuple(w._replace(weight=w.weight + 1.0) for w in session.trained)
                session.set_weights(0, noisy)
            if company and drop and step == 6:
                session.select([place])
                place = 0
            seen = rng.normal(size=(session.slots, 3))
            seen[place] = own
            out.append(session.act(seen)[place])
        assert float(session.drift()[place].sum()) > 0
        return out

    alone = actions(0, False)
    for company, drop in ((3, False), (6, True)):
        assert all(np.array_equal(a, b) for a, b in zip(alone, actions(company, drop), strict=True))


def formulas(arrays: dict[str, np.ndarray], observation: np.ndarray, kind: type) -> np.ndarray:
    """The published PopSAN decision, written out in numpy for one observation."""
    a = {name: value.astype(kind) for name, value in arrays.items()}
    z = np.clip((observation.astype(kind) - a["obs_mean"]) / np.sqrt(a["obs_var"] + kind(EPSILON)), -3, 3)
    mean, std = a["encoder.mean"][0], a["encoder.std"][0]
    activity = np.exp(-((z[:, None] - mean) ** 2) / (2 * std**2)).ravel()
    ve = np.zeros_like(activity)
    layers = ["snn.hidden_layers.0", "snn.hidden_layers.1", "snn.out_pop_layer"]
    u, v, s = ([np.zeros_like(a[f"{name}.bias"]) for name in layers] for _ in range(3))
    count = np.zeros_like(u[2])
    for _ in range(5):
        ve += activity
        x = (ve > kind(0.999)).astype(kind)
        ve -= kind(0.999) * x
        for k, name in enumerate(layers):
            u[k] = u[k] / 2 + a[f"{name}.weight"] @ x + a[f"{name}.bias"]
            v[k] = kind(0.75) * v[k] * (1 - s[k]) + u[k]
            s[k] = (v[k] > 0.5).astype(kind)
            x = s[k]
        count += x
    rates = (count / 5).reshape(-1, 10)
    return np.tanh((a["decoder.decoder.weight"][:, 0] * rates).sum(1) + a["decoder.decoder.bias"])


def test_imported_popsan_acts_as_published(popsan_file: Path) -> None:
    """1,000 observations of its own run: the formulas' actions to 1e-6, in float64 and as deployed in float32."""
    env = make_env("HalfCheetah-v5")
    controller = import_popsan(popsan_file, env)
    arrays = dict(np.load(popsan_file))
    session = Session(controller, 1)
    session.begin(0, np.random.default_rng(0))
    observation, _ = env.reset(seed=0)
    seen, acted, total = [], [], 0.0
    for _ in range(1000):
        seen.append(observation)
        acted.append(session.act(observation[None])[0])
        observation, reward, *_ = env.step(acted[-1])
        total += float(reward)
    assert total > 9000, "the observations come from a running cheetah"
    exact, _ = controller.double()(torch.as_tensor(np.stack(seen)))
    expected = np.stack([formulas(arrays, o, np.float64) for o in seen])
    assert np.abs(exact.numpy() - expected).max() < 1e-6
    single = np.stack([formulas(arrays, o, np.float32) for o in seen])
    assert np.abs(np.stack(acted) - single).max() < 1e-6


def test_malformed_published_files_are_refused(tmp_path: Path, popsan_file: Path) -> None:
    env = make_env("HalfCheetah-v5")
    arrays = dict(np.load(popsan_file))
    cases = {
        "missing": ({k: v for k, v in arrays.items() if k != "obs_mean"}, "'obs_mean'"),
        "shape": ({**arrays, "obs_mean": np.zeros(16)}, r"obs_mean: expected \(17,\)"),
        "nan": ({**arrays, "encoder.std": np.full_like(arrays["encoder.std"], np.nan)}, "holds NaN"),
    }
    for name, (content, said) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **content)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=said):
            import_popsan(tmp_path / f"{name}.npz", env)
    with pytest.raises(UsageError, match="check --env"):
        import_popsan(popsan_file, make_env("Hopper-v5"))
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object))
    for name in ("text", "pickle", "nothing"):
        with pytest.raises(UsageError, match=r"expected an \.npz"):
            import_popsan(tmp_path / f"{name}.npz", env)
