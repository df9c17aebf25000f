"""What sleep chooses from: each candidate against a plain form of it, the rivals, and what a sleep costs awake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_calls import call, last
from repair_references import fit_currents_exactly, loss_of
from torch import Tensor

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.session import Session
from homeo_rl.cli import main
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import build, load_suite
from homeo_rl.errors import InputError, UsageError
from homeo_rl.evaluation.calibrate import calibration_of, session_of
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.homeostasis import MECHANISMS, SleepHomeostat, make_homeostasis
from homeo_rl.homeostasis.sleep_candidates.ridge import fit_currents
from homeo_rl.homeostasis.sleep_candidates.spike_fit import Problem, fit_spikes, search
from homeo_rl.homeostasis.weight_copy import copy_weights
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.snn import SpikingNetwork
from homeo_rl.snn.forced_potentials import force_potentials, run_forced
from homeo_rl.snn.kernels import line_search
from homeo_rl.snn.layers import currents
from homeo_rl.snn.offline_repair.request import join, time_major
from homeo_rl.snn.replay import Replay, memory_for, remember
from homeo_rl.snn.state import Weights
from homeo_rl.spec import EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec

NETWORKS = {
    "population": NetworkSpec(inputs=4, outputs=2, hidden=(40, 30)),
    "bernoulli": NetworkSpec(
        inputs=6, outputs=2, hidden=(40, 30), encoder=EncoderSpec(kind="bernoulli"), readout=ReadoutSpec(kind="mean")
    ),
    "membrane": NetworkSpec(
        inputs=5, outputs=2, hidden=(40, 30), encoder=EncoderSpec(kind="current"), readout=ReadoutSpec(kind="membrane"),
        neuron=NeuronSpec(kind="lif", threshold=1.0), initial="neuron",
    ),
    "plif": NetworkSpec(inputs=4, outputs=2, hidden=(40, 30), neuron=NeuronSpec(kind="plif", threshold=0.5)),
    "if": NetworkSpec(inputs=4, outputs=2, hidden=(40, 30), neuron=NeuronSpec(kind="if", reset="hard")),
}  # fmt: skip
RIVALS = ("weight-copy", "ridge", "finetune:steps=60:rate=0.01")


def make_network(name: str = "population") -> SpikingNetwork:
    torch.manual_seed(3)
    net = SpikingNetwork(NETWORKS[name])
    with torch.no_grad():
        for layer in net.layers:
            assert isinstance(layer.weight, Tensor)
            layer.weight.mul_(6.0 if name == "plif" else 3.0)
    return net


def draw_observations(net: SpikingNetwork, count: int = 200) -> Tensor:
    drawn = torch.randn(count, net.spec.inputs, generator=torch.Generator().manual_seed(1))
    return drawn.sigmoid() if net.encoder.stochastic else drawn


def damage(net: SpikingNetwork, kind: str, *, seed: int = 7, **fields: Any) -> Weights:
    condition = Condition(name="x", severity=1.0, degradations=(build({"kind": kind, **fields}, where="test"),))
    damaging = condition.network_damage(seed)
    assert damaging is not None
    weights = damaging.at(0, net.parameters_of_layers())
    assert weights is not None
    return weights


def make_replay(net: SpikingNetwork, plugin: SleepHomeostat, x: Tensor) -> Replay:
    return Replay(net, memory_for(plugin, remember(net, x), net.parameters_of_layers()))


def parse(arm: str) -> SleepHomeostat:
    plugin = make_homeostasis(arm)
    assert isinstance(plugin, SleepHomeostat)
    return plugin


# The copy.


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_a_copy_is_as_fine_as_its_bits(bits: int) -> None:
    weights = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    copy = copy_weights(weights, bits)
    half = weights.abs().amax(1, keepdim=True) / 2**bits
    assert bool(((copy.centre - weights).abs() <= half * 1.01).all())
    assert len(copy.cells.unique()) <= 2**bits
    assert copy.size == (7 * 12 * bits + 7) // 8 + 2 * 7
    noisy = weights + 0.5 * torch.randn(7, 12, generator=torch.Generator().manual_seed(1))
    closer, before = (copy.clip(noisy) - weights).abs(), (noisy - weights).abs()
    assert bool((closer <= before + 2e-3).all()), "an edge of the right cell is never farther than what lies beyond it"
    torch.testing.assert_close(copy.clip(weights), weights, atol=2e-3, rtol=0)


@pytest.mark.parametrize("bits", [0, 17, 2.5])
def test_a_copy_has_whole_bits(bits: float) -> None:
    with pytest.raises(ValueError, match="bits: expected a whole number from 1 to 16"):
        copy_weights(torch.ones(2, 2), bits)  # type: ignore[arg-type]


def test_neurons_without_weights_have_a_copy() -> None:
    assert torch.equal(copy_weights(torch.zeros(2, 3), 4).centre, torch.zeros(2, 3))


# The fit to spikes.


@pytest.mark.parametrize("name", list(NETWORKS))
def test_forced_potentials_are_those_of_the_layer(name: str) -> None:
    """Where a layer's own spikes are given, its potentials cross the threshold where it fired, and nowhere else."""
    net = make_network(name)
    memory = remember(net, draw_observations(net, 60))
    for index, layer in enumerate(net.parameters_of_layers()):
        train, out = memory.trains[index], memory.trains[index + 1]
        received = currents(train, layer.weight, layer.bias)
        with torch.no_grad():
            potential = run_forced(net, index, received, out if net.fires(index) else torch.zeros_like(out))
            forced = force_potentials(net, index, out)
        assert forced is not None
        affine = forced.base + forced.linear(received.transpose(0, 1))
        torch.testing.assert_close(affine.transpose(0, 1), potential, atol=1e-4, rtol=1e-4)
        if net.fires(index):
            far = (potential - net.spec.neuron.threshold).abs() > 1e-4
            assert torch.equal((potential > net.spec.neuron.threshold)[far], out.bool()[far])
        else:
            torch.testing.assert_close(potential, out)


def make_problem(net: SpikingNetwork, index: int = 1) -> Problem:
    memory = remember(net, draw_observations(net, 120))
    forced = force_potentials(net, index, memory.trains[index + 1])
    assert forced is not None
    broken = damage(net, "weights-gaussian", std=0.2)[index]
    free = torch.ones_like(join(broken))
    free[:, ::3] = 0.0
    return Problem(forced, time_major(memory.trains[index]), join(broken), free, torch.full_like(free, 1e-3))


def test_the_adjoint_is_the_transpose() -> None:
    forced = make_problem(make_network()).potentials
    draws = torch.Generator().manual_seed(0)
    x, push = (torch.randn(forced.base.shape, generator=draws) for _ in range(2))
    left, right = (forced.linear(x) * push).double().sum(), (x * forced.adjoint(push)).double().sum()
    assert float(left) == pytest.approx(float(right), rel=1e-4)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_fit_descends_to_the_minimum(name: str) -> None:
    """Every pass lowers the convex loss; in the end its gradient, by autograd, vanishes on what may change."""
    problem = make_problem(make_network(name))
    losses = [float(loss_of(problem, fit_spikes(problem, passes)).sum()) for passes in (0, 1, 3, 6, 12)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]
    end = fit_spikes(problem, 150)
    assert torch.equal(end[problem.free == 0], problem.centre[problem.free == 0])
    slopes = []
    for weights in (problem.centre, end):
        weights = weights.clone().requires_grad_(True)
        loss_of(problem, weights).sum().backward()
        assert weights.grad is not None
        slopes.append(float((weights.grad * problem.free).norm()))
    assert slopes[1] < 0.02 * slopes[0]


@pytest.mark.parametrize("name", ["population", "membrane"])
@pytest.mark.parametrize("index", [1, 2])
def test_the_compiled_line_search_is_the_plain_one(name: str, index: int) -> None:
    problem = make_problem(make_network(name), index)
    potential, missing = problem.potentials.base, problem.potentials.missing(problem.potentials.base)
    draws = torch.Generator().manual_seed(0)
    added = torch.randn(potential.shape, generator=draws)
    pull, stiff = torch.randn(potential.shape[2], generator=draws), torch.rand(potential.shape[2], generator=draws)
    plain = search(problem.potentials, potential.clone(), missing.clone(), added, pull, stiff)
    compiled = line_search.search(problem.potentials, potential.clone(), missing.clone(), added, pull, stiff)
    for one, other in zip(plain, compiled, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(fit_spikes(problem, 5), fit_spikes(problem, 5, line_search.search), atol=1e-3, rtol=1e-2)


def test_long_spike_trains_are_left_to_others() -> None:
    net = SpikingNetwork(NetworkSpec(inputs=4, outputs=2, hidden=(20, 10), steps=20))
    memory = remember(net, draw_observations(net, 30))
    assert force_potentials(net, 0, memory.trains[1]) is None
    broken = damage(net, "weights-gaussian", std=0.3)
    plugin = parse("sleep:observations=30")
    replay = make_replay(net, plugin, draw_observations(net, 30))
    repair = replay.rehearse(plugin, broken)
    assert "spikes" not in repair.chosen
    assert sum(replay.errors(repair.weights)) < sum(replay.errors(broken))


# Ridge.


def test_ridge_by_conjugate_gradients_is_ridge() -> None:
    draws = torch.Generator().manual_seed(0)
    inputs, right, centre = torch.randn(80, 9, generator=draws), torch.randn(5, 9), torch.zeros(5, 9)
    free = (torch.rand(5, 9, generator=draws) > 0.3).float()
    received = inputs @ right.T
    exact = fit_currents_exactly(inputs, received, centre, free, 1e-2)
    torch.testing.assert_close(
        fit_currents(inputs, received, centre, free, 1e-2, iterations=40), exact, atol=1e-4, rtol=0
    )
    assert bool((exact[free == 0] == 0).all())
    whole = fit_currents(inputs, received, centre, torch.ones_like(free), 1e-6, iterations=60)
    torch.testing.assert_close(whole, right, atol=1e-3, rtol=0)


# Whole networks.

DAMAGE = {
    "noise": ("weights-gaussian", {"std": 0.3}),
    "deletion": ("weights-zero", {"fraction": 0.3}),
    "death": ("dead-neurons", {"fraction": 0.2}),
    "stuck": ("stuck-neurons", {"fraction": 0.1}),
    "scale": ("weights-scale", {"factor": 0.6}),
}


@pytest.mark.parametrize("kind", list(DAMAGE))
@pytest.mark.parametrize("name", ["population", "bernoulli", "membrane", "plif"])
def test_the_competition_repairs_on_observations_that_it_never_saw(name: str, kind: str) -> None:
    """And what is gone stays gone, what is dead stays as it is."""
    net = make_network(name)
    x = draw_observations(net, 400)
    plugin, held = parse("sleep"), Replay(net, remember(net, x[200:]))
    broken = damage(net, DAMAGE[kind][0], **DAMAGE[kind][1])
    repaired = make_replay(net, plugin, x[:200]).rehearse(plugin, broken)
    assert held.errors(repaired.weights)[-1] < 0.85 * held.errors(broken)[-1], repaired.chosen
    for old, new in zip(broken, repaired.weights, strict=True):
        assert not bool(new.weight[old.weight == 0].any())
        assert new.alive is old.alive
        assert new.stuck is old.stuck
        for flags, silent in ((old.alive, 0.0), (old.stuck, 1.0)):
            if flags is not None:
                assert torch.equal(new.weight[flags == silent], old.weight[flags == silent])


@pytest.mark.parametrize("kind", ["noise", "deletion"])
def test_the_competition_beats_the_delta_rule(kind: str) -> None:
    net = make_network()
    x = draw_observations(net, 400)
    held, broken = Replay(net, remember(net, x[200:])), damage(net, DAMAGE[kind][0], **DAMAGE[kind][1])
    left = {}
    for arm in ("sleep", "sleep:bits=0", "sleep:form=delta"):
        plugin = parse(arm)
        left[arm] = sum(held.errors(make_replay(net, plugin, x[:200]).repair(plugin, broken)))
    assert left["sleep"] < left["sleep:form=delta"], left
    assert left["sleep:bits=0"] < left["sleep:form=delta"], left


def test_a_sleep_without_dreams_repairs_by_the_memory_alone() -> None:
    net = make_network()
    plugin, broken = parse("sleep:dreams=0"), damage(net, "weights-gaussian", std=0.3)
    replay = make_replay(net, plugin, draw_observations(net))
    assert replay.errors(replay.repair(plugin, broken))[-1] < 0.85 * replay.errors(broken)[-1]


def test_layers_that_are_whole_are_kept_bit_for_bit() -> None:
    net = make_network()
    plugin = parse("sleep")
    replay, trained = make_replay(net, plugin, draw_observations(net)), net.parameters_of_layers()
    weights = (trained[0], damage(net, "weights-gaussian", std=0.3)[1], trained[2])
    repair = replay.rehearse(plugin, weights)
    assert repair.chosen[0] == "keep"
    assert repair.weights[0] is weights[0]
    assert repair.chosen[1] != "keep"
    assert torch.equal(replay.repair(plugin, trained)[1].weight, trained[1].weight)


def test_a_repair_is_the_same_whatever_came_before() -> None:
    net = make_network()
    plugin = parse("sleep")
    replay, broken = make_replay(net, plugin, draw_observations(net)), damage(net, "weights-zero", fraction=0.3)
    one = replay.repair(plugin, broken)
    torch.rand(7)
    again = replay.repair(plugin, broken)
    assert all(torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(one, again, strict=True))


# The rivals.


@pytest.mark.parametrize("arm", RIVALS)
@pytest.mark.parametrize("name", ["population", "bernoulli", "membrane", "plif"])
def test_rivals_repair_noise_and_write_what_can_be_written(name: str, arm: str) -> None:
    net = make_network(name)
    plugin = parse(arm)
    replay = make_replay(net, plugin, draw_observations(net))
    broken = damage(net, "weights-gaussian", std=0.3)
    assert replay.errors(replay.repair(plugin, broken))[-1] < 0.95 * replay.errors(broken)[-1]
    for kind in ("deletion", "death"):
        before = damage(net, DAMAGE[kind][0], **DAMAGE[kind][1])
        for old, new in zip(before, replay.repair(plugin, before), strict=True):
            assert not bool(new.weight[old.weight == 0].any())
            assert not new.weight.requires_grad
            if old.alive is not None:
                assert torch.equal(new.weight[old.alive == 0], old.weight[old.alive == 0])


def test_what_is_stored_is_counted() -> None:
    net = make_network()
    memory, trained = remember(net, draw_observations(net)), net.parameters_of_layers()
    weights, neurons = sum(join(layer).numel() for layer in trained), sum(len(layer.bias) for layer in trained)
    plain = memory_for(parse("sleep:form=delta"), memory, trained).size
    assert plain == memory.size
    added = memory_for(parse("sleep:bits=4"), memory, trained).size - plain
    assert abs(added - (weights / 2 + 2 * neurons)) <= 3
    assert memory_for(parse("sleep:bits=0"), memory, trained).size == plain
    assert memory_for(parse("ridge"), memory, trained).size - plain == 4 * 200 * neurons
    assert memory_for(parse("ridge:observations=50"), memory, trained).currents[0].shape == (50, 40)
    with pytest.raises(InputError, match="with copies"):
        Replay(net, memory).repair(parse("weight-copy"), trained)
    with pytest.raises(InputError, match="with currents"):
        Replay(net, memory).repair(parse("ridge"), trained)


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("sleep:bits=17", "bits"),
        ("sleep:form=ridge", "form: expected one of best, delta"),
        ("sleep:form=delta:bits=3", "form=best only"),
        ("sleep:write_noise=1.5", "write_noise"),
        ("sleep:asleep=dream", "asleep: expected act or hold"),
        ("sleep:pause=-1", "pause"),
        ("weight-copy:bits=0", "bits"),
        ("weight-copy:form=delta", "parameter of weight-copy"),
        ("ridge:penalty=0", "penalty"),
        ("finetune:steps=0", "steps"),
        ("finetune:rate=0", "rate"),
    ],
)
def test_wrong_settings_are_refused(arm: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_homeostasis(arm)


# What a sleep costs awake.


def make_session(arm: str, run: Run) -> tuple[Session, Weights, np.ndarray]:
    controller = load_controller(run)
    calibration = calibration_of(run, controller, which="policy", episodes=8)
    session = session_of(controller, 1, plugin=parse(arm), calibration=calibration)
    session.begin(0, generator(0, "noise"))
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    return session, damage(net, "weights-gaussian", std=0.5), np.random.default_rng(0).normal(size=(1, net.spec.inputs))


def effective(session: Session) -> Tensor:
    assert session.state.weights is not None
    return session.state.weights[0].weight[0].clone()


def test_a_pause_and_a_ramp(make_run: Callable[..., Run]) -> None:
    """Damaged weights for three decisions, then a quarter more of the repair in each of four, then all of it."""
    run = make_run()
    at_once, broken, x = make_session("sleep:form=delta", run)
    at_once.set_weights(0, broken)
    at_once.act(x)
    repaired = effective(at_once)
    session, _, _ = make_session("sleep:form=delta:pause=3:ramp=4", run)
    session.set_weights(0, broken)
    seen = []
    for _ in range(9):
        session.act(x)
        seen.append(effective(session))
    assert all(torch.equal(weights, broken[0].weight) for weights in seen[:3])
    for share, weights in zip((0.25, 0.5, 0.75), seen[3:6], strict=True):
        torch.testing.assert_close(weights, broken[0].weight.lerp(repaired, share))
    assert all(torch.equal(weights, repaired) for weights in seen[6:])
    assert session.sleeps == [1]
    session.begin(0, generator(0, "noise"))
    assert session.sleeps == [0]
    session.act(x)
    assert not session.drift().any()


def test_weights_that_change_while_it_sleeps_stay_changed(make_run: Callable[..., Run]) -> None:
    session, broken, x = make_session("sleep:form=delta:pause=2", make_run())
    session.set_weights(0, broken)
    session.act(x)
    gone = tuple(
        layer._replace(weight=layer.weight * (torch.arange(layer.weight.shape[1]) % 3 > 0)) for layer in broken
    )
    session.set_weights(0, gone)
    for _ in range(3):
        session.act(x)
    assert not bool(effective(session)[gone[0].weight == 0].any())
    assert not torch.equal(effective(session), gone[0].weight)


def test_an_action_is_held_while_it_sleeps(make_run: Callable[..., Run]) -> None:
    """The first one of the sleep, whatever it sees; awake it acts on what it sees again."""
    run = make_run("Pendulum-v1", "san")
    holding, broken, _ = make_session("sleep:form=delta:pause=3:asleep=hold", run)
    acting, _, _ = make_session("sleep:form=delta:pause=3", run)
    actions = []
    for session in (holding, acting):
        session.set_weights(0, broken)
        draws = np.random.default_rng(5)
        actions.append([session.act(draws.normal(size=(1, 3)) * [[1, 1, 4]]) for _ in range(6)])
    held, free = actions
    assert np.array_equal(held[0], free[0])
    assert np.array_equal(held[1], held[0])
    assert np.array_equal(held[2], held[0])
    assert not np.array_equal(free[1], free[0])
    assert all(np.array_equal(one, other) for one, other in zip(held[3:], free[3:], strict=True))


def test_writing_has_noise_of_its_own_stream(make_run: Callable[..., Run]) -> None:
    """Relative to each written weight; what is not written is untouched, and equal episodes write the same."""
    run = make_run(overrides={"hidden": [40, 30]})
    exact, broken, x = make_session("sleep:form=delta", run)
    noisy, _, _ = make_session("sleep:form=delta:write_noise=0.1", run)
    again, _, _ = make_session("sleep:form=delta:write_noise=0.1", run)
    results = []
    for session in (exact, noisy, again):
        session.set_weights(0, broken)
        session.act(x)
        results.append(effective(session))
    assert torch.equal(results[1], results[2])
    written = results[0] != broken[0].weight
    assert torch.equal(results[1][~written], broken[0].weight[~written])
    ratio = (results[1] / results[0] - 1.0)[written]
    assert float(ratio.std()) == pytest.approx(0.1, rel=0.25)
    assert float(ratio.mean()) == pytest.approx(0.0, abs=0.03)
    again.begin(0, generator(1, "noise"))
    again.set_weights(0, broken)
    again.act(x)
    assert not torch.equal(effective(again), results[1])


@pytest.mark.parametrize("arm", ["sleep", *RIVALS])
def test_every_repair_works_in_a_session(arm: str, make_run: Callable[..., Run]) -> None:
    session, broken, x = make_session(arm, make_run())
    session.act(x)
    assert session.sleeps == [0]
    session.begin(0, generator(0, "noise"))
    session.set_weights(0, broken)
    session.act(x)
    assert session.sleeps == [1]
    assert session.drift().any()


# The commands.


def test_arms_say_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = call("arms", "--json", capsys=capsys)
    needs = {arm["name"]: arm["needs"] for arm in last(out)["arms"]}
    assert set(needs) == {"none", *MECHANISMS}
    for name in ("sleep", "weight-copy", "ridge", "finetune"):
        assert "kB" in needs[name]
        assert " s a " in needs[name]


def test_the_command_names_what_each_layer_kept(
    make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sleep", make_run().path, "--damage", "weights-zero", "--json"]
    out, table = call(*words, capsys=capsys)
    repairs = last(out)["repairs"]
    assert len(repairs) == 3
    assert all(repair in table for repair in repairs)
    out, _ = call(*words, "--homeostasis", "weight-copy", capsys=capsys)
    assert last(out)["repairs"] == ["copy"] * 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("label", "least"), [("noise-0.05", 0.97), ("dead-20", 0.94), ("zero-30", 0.88)], ids=["noise", "death", "deletion"]
)
def test_what_sleep_retains_of_the_published_policy(
    label: str, least: float, tmp_path: Path, popsan_file: Path
) -> None:
    """Twenty paired episodes with 200 observations, and a clean policy that acts as without sleep, bit for bit."""
    main(["import", "popsan", str(popsan_file), "--env", "HalfCheetah-v5", "--out", str(tmp_path / "popsan")])
    suite = load_suite("repair")
    chosen = replace(suite, conditions=tuple(c for c in suite.conditions if c.label in ("clean", label)))
    plan = EvaluationPlan(suite=chosen, arms=("none", "sleep"), episodes=20, seed=0)
    scores = evaluate(Run.open(tmp_path / "popsan"), plan, workers=1).scores
    totals = {
        (arm, c): [s.total for s in scores if (s.arm, s.condition) == (arm, c)]
        for arm in plan.arms
        for c in ("clean", label)
    }
    assert totals["none", "clean"] == totals["sleep", "clean"]
    assert np.mean(totals["sleep", label]) / np.mean(totals["none", "clean"]) >= least
