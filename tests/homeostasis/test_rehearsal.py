"""Rehearsal: DWAM finds its own rate on what it remembers, and stays shut where nothing is broken or nothing helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from cli_calls import call
from networks import drive, fresh
from stable_baselines3 import PPO
from test_sleep import damaged, network, observations

from homeo_rl.agents import SpikingActorCriticPolicy
from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import Suite, build
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.calibrate import calibration_of, session_of
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.homeostasis import (
    BDETT,
    DWAM,
    CombinedMechanism,
    ControlDWAM,
    DecisionRates,
    Homeostasis,
    LayerReference,
    LinearHomeostat,
    PaperDWAM,
    RehearsedLinear,
    make,
)
from homeo_rl.homeostasis.rate_search import open_at
from homeo_rl.run import Run
from homeo_rl.snn import SpikingNetwork
from homeo_rl.snn.rate_search import Rehearsal, Rehearsed
from homeo_rl.snn.replay import remember
from homeo_rl.snn.replay_layers import replay_noise
from homeo_rl.snn.state import Weights

FAST = DWAM(rates=(1e-3, 1e-2, 3e-2), passes=3)


def references(net: SpikingNetwork, x: torch.Tensor) -> tuple[LayerReference, ...]:
    trains = [train.mean(1) for train in remember(net, x).trains[1:]]
    return net.references([t.mean(0) for t in trains], [t.square().mean(0) for t in trains])


def rehearsal(net: SpikingNetwork, plugin: Homeostasis = FAST, count: int = 100) -> Rehearsal:
    x = observations(net, count)
    return Rehearsal(net, remember(net, x), plugin, references(net, x), torch.tanh)


@pytest.mark.parametrize("kind", [DWAM, RehearsedLinear])
def test_every_row_adapts_at_its_own_rate(kind: type[DWAM | RehearsedLinear]) -> None:
    """To the bits of the plain mechanism at that rate, which is tested elsewhere against numbers worked by hand."""
    net, rates = network(), (0.0, 1e-3, 2e-2)
    x = torch.randn(12, 1, 4, generator=torch.Generator().manual_seed(5)).expand(12, 3, 4)
    state = fresh(net, kind(), 3)
    for layer in state.adaptation:
        open_at(kind(), layer, torch.tensor(rates))
    ys, _, state = drive(net, state, x, None)
    for row, rate in enumerate(rates):
        plain = PaperDWAM(eta=rate) if kind is DWAM else LinearHomeostat(eta=rate)
        alone, _, after = drive(net, fresh(net, plain, 1), x[:, :1], None)
        assert [y[row].tolist() for y in ys] == [y[0].tolist() for y in alone]
        for mine, own in zip(state.adaptation, after.adaptation, strict=True):
            for name, value in own.items():
                assert torch.equal(mine[name][row], value[0]), name
    assert bool(state.adaptation[0]["delta"][2].any())
    assert not bool(state.adaptation[0]["delta"][0].any())


def test_compiled_rates_of_rows_are_the_reference_s(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(12, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = []
    for kernel in ("auto", "reference"):
        monkeypatch.setenv("HOMEO_RL_KERNEL", kernel)
        net = network().double()
        plugin = DWAM()
        state = fresh(net, plugin, 3)
        for layer in state.adaptation:
            open_at(plugin, layer, torch.tensor((0.0, 1e-3, 2e-2), dtype=torch.float64))
        found.append(drive(net, state, x, None)[2])
    for mine, other in zip(found[0].adaptation, found[1].adaptation, strict=True):
        for name, value in mine.items():
            assert torch.allclose(value, other[name], atol=1e-12), name


def by_hand(net: SpikingNetwork, plugin: DWAM, weights: Weights, rate: float) -> tuple[float, float]:
    """Return mean difference and size of the mean difference after rehearsing at one rate, decision by decision."""
    x = observations(net, 100)
    noise = replay_noise(net, 100)
    state = net.initial_state(
        1, plugin=PaperDWAM(eta=rate), references=references(net, x),
        weights=tuple(w._replace(weight=w.weight.unsqueeze(0), bias=w.bias.unsqueeze(0)) for w in weights),
    )  # fmt: skip
    with torch.inference_mode():
        healthy, _ = net(x, noise=noise)
        for _ in range(plugin.passes):
            errors = []
            for i in range(100):
                y, state = net(x[i : i + 1], state, adapt=True, noise=None if noise is None else noise[i : i + 1])
                errors.append((y[0].tanh() - healthy[i].tanh()).numpy())
    return float(np.abs(errors).mean()), float(np.sqrt((np.mean(errors, axis=0) ** 2).sum()))


@pytest.mark.parametrize("name", ["population", "bernoulli"])
def test_the_rate_that_brings_the_answers_closest_is_kept(name: str) -> None:
    net = network(name)
    broken = damaged(net, "weights-zero", fraction=0.3)
    found = rehearsal(net)(broken)
    assert found.rates == (0.0, 1e-3, 1e-2, 3e-2)
    worked = [by_hand(net, FAST, broken, rate) for rate in found.rates]
    shares = [(mean / worked[0][0] + common / worked[0][1]) / 2 for mean, common in worked]
    assert found.distances == pytest.approx(shares, rel=1e-3)
    assert found.distances[found.chosen] == min(found.distances) < 0.8
    assert found.adaptation is not None
    for state in found.adaptation:
        assert state["eta"].tolist() == [[pytest.approx(1e-5)]], "awake it goes on at its own rate"
    assert any(bool(state["delta"].any()) for state in found.adaptation)


def test_what_does_not_help_stays_shut() -> None:
    """A healthy network has nothing to gain; nor has one that would have to gain more than it can."""
    net = network()
    healthy = rehearsal(net)(net.parameters_of_layers())
    assert healthy.distances[0] == 1.0
    assert healthy.chosen == 0
    assert healthy.adaptation is None
    greedy = replace(FAST, least=0.95)
    assert rehearsal(net, greedy)(damaged(net, "weights-zero", fraction=0.3)).adaptation is None
    wild = rehearsal(net, DWAM(rates=1e30, trust=1e30, passes=1))(damaged(net, "weights-gaussian", std=0.02))
    assert wild.chosen == 0, wild.distances


def test_thresholds_that_move_have_a_normal_of_their_own() -> None:
    """With BDETT a healthy network rehearses without error, and its normal rates are those under its thresholds."""
    net = network()
    both = CombinedMechanism(thresholds=BDETT(), weights=FAST)
    found = rehearsal(net, both)
    plain = rehearsal(net)
    assert any(not torch.allclose(a.rate, b.rate) for a, b in zip(found.references, plain.references, strict=True))
    assert all(
        torch.equal(a.rate, b.rate)
        for a, b in zip(plain.references, references(net, observations(net, 100)), strict=True)
    )
    broken: Rehearsed = found(damaged(net, "weights-zero", fraction=0.3))
    assert broken.distances[broken.chosen] <= broken.distances[0]
    assert "weights.eta" in (broken.adaptation or ({"weights.eta": 0},))[0]


# Sessions and evaluations.

NOISE = build({"kind": "weights-gaussian", "std": 0.5}, where="t")
SUITE = Suite(
    name="test", version=1, description="",
    conditions=(
        Condition(name="clean"),
        Condition(name="sensor", severity=1.0, degradations=(build({"kind": "obs-gaussian", "std": 0.2}, where="t"),)),
        Condition(name="late", severity=1.0, degradations=(NOISE,), onset=60),
        Condition(name="early", severity=1.0, degradations=(NOISE,)),
    ),
)  # fmt: skip
ARM = "dwam:rates=1e-2/3e-2:passes=2:least=0"


def test_shut_it_is_none_to_the_last_bit(make_run: Callable[..., Run]) -> None:
    """Clean, and where only a sensor is broken; open, it is the same however the evaluation is run."""
    run = make_run("Pendulum-v1")
    arms = ("none", ARM, f"{ARM}+sleep:form=bias", f"bdett+{ARM}", "bdett")
    plan = Plan(suite=SUITE, arms=arms, episodes=2, seed=4, calibration_episodes=2)
    one = evaluate(run, plan, workers=1, num_envs=1)
    two = evaluate(run, plan, workers=2, num_envs=2)
    assert (one.folder / "scores.csv").read_bytes() == (two.folder / "scores.csv").read_bytes()
    totals = {(s.arm, s.condition, s.episode): s.total for s in one.scores}
    drift = {(s.arm, s.condition): s.weight_drift for s in one.scores}
    for episode in (0, 1):
        for condition in ("clean", "sensor"):
            assert totals[ARM, condition, episode] == totals["none", condition, episode]
            # bdett alone has compiled decisions, which add in another order
            assert totals[f"bdett+{ARM}", condition, episode] == pytest.approx(totals["bdett", condition, episode])
            assert drift[ARM, condition] == 0
        for condition in ("early", "late"):
            assert totals[ARM, condition, episode] != totals["none", condition, episode]
    assert drift[ARM, "early"] > 0


def test_a_session_goes_on_with_what_was_rehearsed(make_run: Callable[..., Run]) -> None:
    run = make_run()
    controller = load_controller(run)
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    calibration = calibration_of(run, controller, which="policy", episodes=3)
    plugin = make(ARM)
    session = session_of(controller, 2, plugin=plugin, calibration=calibration)
    for slot in (0, 1):
        session.begin(slot, np.random.default_rng(slot))
    session.set_weights(1, damaged(net, "weights-gaussian", std=0.5))
    session.act(np.zeros((2, net.spec.inputs)))
    assert session.sleeps == [0, 1]
    assert [float(rate) for rate in session.state.adaptation[0]["eta"]] == [0.0, pytest.approx(1e-5)]
    assert not session.drift()[0].any()
    assert session.drift()[1].any()
    session.begin(1, np.random.default_rng(2))
    assert not session.drift()[1].any(), "the next episode starts whole"


def test_who_cannot_rehearse_is_told(make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("CartPole-v1", "qcfs")
    call("convert", run.path, "--out", run.path.parent / "snn", "--episodes", "0", "--no-progress", capsys=capsys)
    plan = Plan(suite=SUITE, arms=("none", "dwam"), episodes=1, seed=0, calibration_episodes=1)
    with pytest.raises(UsageError, match="dwam-paper"):
        evaluate(Run.open(run.path.parent / "snn"), plan, workers=1)


# Controls.


def test_controls_break_one_part_each() -> None:
    net = network()
    layer = net.references(*([torch.full((n,), v) for n in net.spec.widths[1:]] for v in (0.3, 0.15)))[0]
    tick = DecisionRates(torch.rand(2, 40), torch.rand(2, 40))

    def rise(plugin: PaperDWAM) -> torch.Tensor:
        return plugin.postsynaptic_factor(plugin.init(layer, 2), layer, tick)[1]

    own, shuffled, flipped = rise(PaperDWAM()), rise(ControlDWAM()), rise(ControlDWAM(phi="flipped"))
    assert torch.equal(flipped, -own)
    assert not torch.equal(shuffled, own)
    assert torch.equal(shuffled.sort(1).values, own.sort(1).values)
    assert torch.equal(rise(ControlDWAM(phi="own")), own)
    bare = rise(PaperDWAM(zeta=None))
    gains = rise(ControlDWAM(phi="own", cv="neurons", zeta=0.5)) / bare
    spread = tick.post.std(1, correction=0) / tick.post.mean(1)
    assert torch.allclose(gains, (0.5 * spread).unsqueeze(1).expand_as(gains), rtol=1e-4)


def test_thresholds_of_a_decision_are_part_of_the_neuron() -> None:
    """PPO trains through them: log-probabilities of rollouts and gradient passes agree, gradients reach all layers."""
    env = gym.make("InvertedPendulum-v5")
    model = PPO(
        SpikingActorCriticPolicy, env, n_steps=64, batch_size=64, seed=0,
        policy_kwargs={"agent": "popsan", "agent_kwargs": {"hidden": [20, 16]}},
    )  # fmt: skip
    policy = model.policy
    assert isinstance(policy, SpikingActorCriticPolicy)
    online = policy.adapt_online(BDETT(scope="decision"))
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), policy._adapting():
        actions, _, collected = policy(x)
    _, again, _ = policy.evaluate_actions(x, actions)
    assert torch.allclose(collected, again, atol=1e-5)
    online.plugin, plain = BDETT(scope="episode"), online.plugin
    assert not torch.allclose(policy.evaluate_actions(x, actions)[1], again, atol=1e-3), "thresholds make a difference"
    online.plugin = plain
    policy.evaluate_actions(x, actions)[1].sum().backward()
    network = policy.head().network
    assert isinstance(network, SpikingNetwork)
    assert all(float(layer.weight.grad.abs().sum()) > 0 for layer in network.layers)  # type: ignore[union-attr,operator]
    policy.adapt_online(plain)
    model.learn(128)


def test_a_network_trained_with_thresholds_is_healthy_with_them(make_run: Callable[..., Run]) -> None:
    """Its normal rates are those under its own thresholds, and each decision starts from the same ones."""
    run = make_run("Pendulum-v1")
    own = Run(run.path, replace(run.spec, homeostasis_in_training="bdett:scope=decision"))
    controller = load_controller(run)
    plain = calibration_of(run, controller, which="policy", episodes=1)
    (run.path / "calibration").rename(run.path / "away")
    found = calibration_of(own, controller, which="policy", episodes=1)
    assert not np.allclose(plain.rates[0], found.rates[0])
    plan = Plan(suite=SUITE, arms=("none", "bdett:scope=decision", f"bdett:scope=decision+{ARM}"), episodes=1, seed=0)
    totals = {(s.arm, s.condition): s.total for s in evaluate(own, plan, workers=1).scores}
    alone, both = plan.arms[1:]
    assert totals[both, "clean"] == pytest.approx(totals[alone, "clean"])
    assert totals[both, "early"] != pytest.approx(totals[alone, "early"])
