"""Sleep: what is remembered, what the self-test sees, that what is broken is mended and what is whole is left alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_calls import call, last
from torch import Tensor

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.session import Session
from homeo_rl.cli import main
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import Suite, build
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.calibrate import OBSERVATIONS, Calibration, calibration_of, session_of
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.homeostasis import Memory, PaperDWAM, SleepHomeostat, make
from homeo_rl.homeostasis.sleep import LayerRepair, _largest
from homeo_rl.report.figures import DISTANCE
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.seeding import generator
from homeo_rl.snn import SpikingNetwork
from homeo_rl.snn.replay import Replay, pack_responses, recall, remember
from homeo_rl.snn.state import Weights
from homeo_rl.spec import EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec
from homeo_rl.storage.pretrained import list_pretrained

FORMS = ("bias", "gain", "delta")
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
}  # fmt: skip


def network(name: str = "population") -> SpikingNetwork:
    """Return a network whose hidden neurons answer differently to different observations."""
    torch.manual_seed(3)
    net = SpikingNetwork(NETWORKS[name])
    with torch.no_grad():
        for layer in net.layers:
            assert isinstance(layer.weight, Tensor)
            layer.weight.mul_(6.0 if name == "plif" else 3.0)
    return net


def observations(net: SpikingNetwork, count: int = 200) -> Tensor:
    drawn = torch.randn(count, net.spec.inputs, generator=torch.Generator().manual_seed(1))
    return drawn.sigmoid() if net.encoder.stochastic else drawn


def damaged(net: SpikingNetwork, kind: str, *, seed: int = 7, **fields: Any) -> Weights:
    condition = Condition(name="x", severity=1.0, degradations=(build({"kind": kind, **fields}, where="test"),))
    damage = condition.network_damage(seed)
    assert damage is not None
    weights = damage.at(0, net.parameters_of_layers())
    assert weights is not None
    return weights


@torch.inference_mode()
def offsets(replay: Replay, weights: Weights) -> list[float]:
    """Return how far the mean outputs of each layer are from those of the healthy network, in the whole network."""
    pairs = zip(replay.network_responses(weights), replay.memory.trains[1:], strict=True)
    return [float((now.mean((0, 1)) - before.mean((0, 1))).abs().mean()) for now, before in pairs]


# What is remembered.


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_memory_is_what_the_network_does(name: str) -> None:
    """Its answers are those of the network, one observation at a time; they survive storage, spikes as bits."""
    net = network(name)
    x = observations(net, 20)
    memory = remember(net, x)
    noise = None
    if net.encoder.stochastic:
        noise = torch.as_tensor(generator(0, "replay").random((20, 5, net.spec.widths[0]), dtype=np.float32))
    with torch.no_grad():
        _, state = net(x, noise=noise)
    for train, rate in zip(memory.trains, state.rates, strict=True):
        if train.shape[-1] == rate.shape[-1] and rate.any():
            torch.testing.assert_close(train.mean(1), rate)
    stored = pack_responses(net, memory)
    back = recall(net, x.numpy(), stored)
    assert torch.equal(back.inputs, memory.inputs)
    assert all(torch.equal(a, b) for a, b in zip(back.trains, memory.trains, strict=True))
    if name == "population":
        assert [array.dtype for array in stored] == [np.uint8] * 3
        assert sum(array.nbytes for array in stored) + 4 * x.numel() == memory.size
    assert all(torch.equal(a, b[:7]) for a, b in zip(memory.first(7).trains, memory.trains, strict=True))


def test_calibration_remembers_what_was_seen(make_run: Callable[..., Run]) -> None:
    """The same memory however many episodes ran side by side, and when it is read again; converted ones have none."""
    run = make_run()
    controller = load_controller(run)
    one = calibration_of(run, controller, which="policy", episodes=8, num_envs=1)
    again = calibration_of(run, controller, which="policy", episodes=8)
    (run.path / "calibration" / "manifest.json").unlink()
    for path in sorted((run.path / "calibration").iterdir()):
        path.unlink()
    (run.path / "calibration").rmdir()
    many = calibration_of(run, controller, which="policy", episodes=8, num_envs=8)
    for other in (again, many):
        assert np.array_equal(one.inputs, other.inputs)
        assert all(np.array_equal(a, b) for a, b in zip(one.answers, other.answers, strict=True))
    assert 1 < len(one.inputs) <= OBSERVATIONS
    assert len(np.unique(one.inputs, axis=0)) > 0.9 * len(one.inputs)
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    memory = one.memory(net)
    assert Replay(net, memory).test(net.parameters_of_layers()).change == (0.0, 0.0, 0.0)


# The self-test.


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_broken_layer_is_named(name: str, layer: int) -> None:
    """Every layer is driven by what it remembers to have heard, so damage upstream is not blamed on it."""
    net = network(name)
    replay = Replay(net, remember(net, observations(net)))
    weights = list(net.parameters_of_layers())
    weights[layer] = damaged(net, "weights-gaussian", std=0.3)[layer]
    found = replay.test(tuple(weights))
    assert found.change[layer] > 0.002
    assert [change for i, change in enumerate(found.change) if i != layer] == [0.0, 0.0]
    assert not found.passed(0.002)
    assert replay.test(net.parameters_of_layers()).passed(0.0)


def test_dead_and_stuck_neurons_are_counted() -> None:
    net = network()
    replay = Replay(net, remember(net, observations(net)))
    active = [int((train.amax((0, 1)) > 0).sum()) for train in replay.memory.trains[1:]]
    dead = replay.test(damaged(net, "dead-neurons", fraction=1.0))
    assert dead.silent == (active[0], active[1], 0)
    stuck = replay.test(damaged(net, "stuck-neurons", fraction=0.5))
    assert stuck.stuck[0] >= 15
    assert stuck.silent == (0, 0, 0)
    assert torch.equal(stuck.neurons[2], torch.zeros_like(stuck.neurons[2]))


# The rules, by hand.


def linear(weight: Tensor, bias: Tensor, x: Tensor, target: Tensor, **changes: Tensor) -> LayerRepair:
    """Return a layer without neurons: its outputs are its currents."""
    fields = {"alive": torch.ones(len(bias)), "intact": torch.ones_like(weight), **changes}
    return LayerRepair(
        weight=weight, bias=bias, train=x.unsqueeze(1), target=target,
        answer=lambda w, b: x @ w.T + b, bias_response=lambda w: lambda b: x @ w.T + b, **fields,
    )  # fmt: skip


def test_bias_by_hand() -> None:
    """Wanted mean 1, found 0: b = 1/2, then 1/2 + (1 - 1/2) / 2.25."""
    layer = linear(torch.zeros(1, 1), torch.zeros(1), torch.ones(4, 1), torch.ones(4, 1))
    _, one = SleepHomeostat(form="bias", passes=1).repair_layer(layer)
    _, two = SleepHomeostat(form="bias", passes=2).repair_layer(layer)
    assert float(one) == pytest.approx(0.5)
    assert float(two) == pytest.approx(0.5 + 0.5 / 2.25)


def test_the_delta_rule_finds_the_weights() -> None:
    """Outputs that a linear layer can give are given in the end; dead neurons and lost synapses are left out."""
    torch.manual_seed(0)
    x, right = torch.randn(50, 6), torch.randn(3, 6)
    target = x @ right.T + 0.3
    wrong = right + 0.5 * torch.randn(3, 6)
    weight, bias = SleepHomeostat(passes=2000).repair_layer(linear(wrong, torch.zeros(3), x, target))
    torch.testing.assert_close(weight, right, atol=1e-3, rtol=0)
    torch.testing.assert_close(bias, torch.full((3,), 0.3), atol=1e-2, rtol=0)
    gone = torch.ones(3, 6)
    gone[0, 2] = 0.0
    layer = linear(wrong * gone, torch.zeros(3), x, target, alive=torch.tensor([1.0, 0.0, 1.0]), intact=gone)
    weight, bias = SleepHomeostat(passes=50).repair_layer(layer)
    assert float(weight[0, 2]) == 0.0
    assert torch.equal(weight[1], wrong[1])
    assert float(bias[1]) == 0.0
    assert layer.error(weight, bias) < layer.error(layer.weight, layer.bias)


def test_largest_eigenvalue() -> None:
    varied = torch.randn(40, 9, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 2.0, 9)
    exact = float(torch.linalg.eigvalsh(varied.T @ varied / 40)[-1])
    assert _largest(varied) == pytest.approx(exact, rel=0.02)
    assert _largest(torch.zeros(4, 3)) == 0.0


def test_an_error_of_scale_is_a_matter_of_one_factor() -> None:
    net = network()
    replay = Replay(net, remember(net, observations(net)))
    for factor in (100.0, 0.3):
        scaled = tuple(w._replace(weight=w.weight * factor, bias=w.bias * factor) for w in net.parameters_of_layers())
        before, after = replay.errors(scaled), replay.errors(replay.repair(SleepHomeostat(), scaled))
        assert all(late < 0.3 * early for early, late in zip(before, after, strict=True)), (before, after)


def test_what_did_not_help_is_not_kept() -> None:
    """Nothing that a layer can do brings this one closer; and what is not finite is refused."""
    x = torch.ones(4, 1)
    fixed = linear(torch.ones(1, 1), torch.zeros(1), x, torch.ones(4, 1))
    stubborn = replace(fixed, answer=lambda w, b: x * (w.mean() * 0 + 5.0), bias_response=lambda w: lambda b: x * 5.0)
    weight, bias = SleepHomeostat().repair_layer(stubborn)
    assert weight is stubborn.weight
    assert bias is stubborn.bias
    broken = replace(fixed, answer=lambda w, b: x * math.nan, bias_response=lambda w: lambda b: x * math.nan)
    weight, bias = SleepHomeostat().repair_layer(broken)
    assert weight is broken.weight
    assert bias is broken.bias


# Networks.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", list(NETWORKS))
def test_sleep_mends_every_kind_of_network(name: str, form: str) -> None:
    """On observations that it does not remember, too."""
    net = network(name)
    x = observations(net, 400)
    replay, held = Replay(net, remember(net, x[:200])), Replay(net, remember(net, x[200:]))
    broken = damaged(net, "weights-zero", fraction=0.2)
    mended = replay.repair(make(f"sleep:form={form}"), broken)  # type: ignore[arg-type]
    distance = held.errors if form == "delta" else lambda weights: offsets(held, weights)
    before, after = distance(broken), distance(mended)
    assert sum(after) < 0.9 * sum(before), (before, after)
    for old, new in zip(broken, mended, strict=True):
        assert not bool((new.weight[old.weight == 0] != 0).any()), "synapses that are gone stay gone"


def test_delta_mends_more_than_means_do() -> None:
    net = network()
    x = observations(net, 400)
    replay, held = Replay(net, remember(net, x[:200])), Replay(net, remember(net, x[200:]))
    broken = damaged(net, "weights-gaussian", std=0.3)
    left = {form: sum(held.errors(replay.repair(SleepHomeostat(form=form), broken))) for form in FORMS}  # type: ignore[arg-type]
    assert left["delta"] < 0.8 * left["bias"], left
    assert left["bias"] < sum(held.errors(broken)), left


def test_dead_neurons_stay_dead_and_others_make_up_for_them() -> None:
    net = network()
    replay = Replay(net, remember(net, observations(net)))
    broken = damaged(net, "dead-neurons", fraction=0.3)
    mended = replay.repair(SleepHomeostat(), broken)
    for old, new in zip(broken[:-1], mended[:-1], strict=True):
        assert old.alive is not None
        assert new.alive is old.alive
        dead = old.alive == 0
        assert torch.equal(old.weight[dead], new.weight[dead])
    assert replay.errors(mended)[2] < 0.6 * replay.errors(broken)[2]


# Sessions.


def session(plugin: SleepHomeostat, slots: int = 1, *, run: Run) -> tuple[Session, Controller, Calibration]:
    controller = load_controller(run)
    calibration = calibration_of(run, controller, which="policy", episodes=8)
    found = session_of(controller, slots, plugin=plugin, calibration=calibration)
    for slot in range(slots):
        found.begin(slot, generator(slot, "noise"))
    return found, controller, calibration


def test_a_healthy_network_is_left_alone_bit_for_bit(make_run: Callable[..., Run]) -> None:
    run = make_run()
    sleeping, controller, _ = session(SleepHomeostat(every=1, tolerance=0.0), 3, run=run)
    plain = Session(controller, 3)
    for slot in range(3):
        plain.begin(slot, generator(slot, "noise"))
    for step in range(5):
        x = np.random.default_rng(step).normal(size=(3, controller.spec.network.inputs))
        assert np.array_equal(sleeping.act(x), plain.act(x))
    assert sleeping.sleeps == [0, 0, 0]
    assert not sleeping.drift().any()


def test_slots_sleep_alone_and_when_it_is_time(make_run: Callable[..., Run]) -> None:
    """Damage is noticed at the next self-test, mended once, and forgotten with the episode."""
    run = make_run()
    sleeping, controller, _ = session(SleepHomeostat(every=4), 2, run=run)
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    broken = damaged(net, "weights-gaussian", std=0.5)
    counts = []
    x = np.random.default_rng(0).normal(size=(2, net.spec.inputs))
    for step in range(12):
        if step == 5:
            sleeping.set_weights(1, broken)
        sleeping.act(x)
        counts.append(list(sleeping.sleeps or []))
    assert [one for _, one in counts] == [0] * 7 + [1] * 5
    assert all(zero == 0 for zero, _ in counts)
    assert sleeping.drift()[1].min() > 0
    assert not sleeping.drift()[0].any()
    alone, _, _ = session(SleepHomeostat(every=4), run=run)
    for step in range(12):
        if step == 5:
            alone.set_weights(0, broken)
        done = alone.act(x[1:])
    assert np.array_equal(done, sleeping.act(x)[1:]) or sleeping.sleeps == [0, 1]
    sleeping.select([1])
    assert sleeping.sleeps == [1]
    sleeping.begin(0, generator(0, "noise"))
    assert sleeping.sleeps == [0]
    assert not sleeping.drift().any()


def test_drifting_weights_are_slept_on_again(make_run: Callable[..., Run]) -> None:
    """What sleep changed stays when the weights change further; deleted synapses do not come back."""
    run = make_run()
    sleeping, controller, calibration = session(SleepHomeostat(every=2, rest=1), run=run)
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    replay = Replay(net, calibration.memory(net))
    weights, draws = net.parameters_of_layers(), torch.Generator().manual_seed(0)
    x = np.zeros((1, net.spec.inputs))
    for _ in range(6):
        weights = tuple(
            w._replace(weight=w.weight + 0.2 * torch.randn(w.weight.shape, generator=draws)) for w in weights
        )
        sleeping.set_weights(0, weights)
        sleeping.act(x)
    assert (sleeping.sleeps or [0])[0] >= 3
    assert sleeping.state.weights is not None
    effective = tuple(layer._replace(weight=layer.weight[0], bias=layer.bias[0]) for layer in sleeping.state.weights)
    assert sum(replay.errors(effective)) < 0.8 * sum(replay.errors(weights))
    gone = tuple(w._replace(weight=w.weight * (torch.arange(w.weight.shape[1]) % 3 > 0)) for w in weights)
    sleeping.set_weights(0, gone)
    sleeping.act(x)
    sleeping.act(x)
    for layer, lost in zip(sleeping.state.weights, gone, strict=True):
        assert not bool(layer.weight[0][lost.weight == 0].any())


def test_after_a_sleep_it_rests(make_run: Callable[..., Run]) -> None:
    """Weights that change at every decision: a test comes at once, a sleep at least ``rest`` after another."""
    sleeping, controller, _ = session(SleepHomeostat(every=2, rest=7), run=make_run())
    x, slept = np.zeros((1, controller.spec.network.inputs)), []
    weights, draws = controller.network.parameters_of_layers(), torch.Generator().manual_seed(0)
    for decision in range(20):
        weights = tuple(
            w._replace(weight=w.weight + 0.2 * torch.randn(w.weight.shape, generator=draws)) for w in weights
        )
        sleeping.set_weights(0, weights)
        before = (sleeping.sleeps or [0])[0]
        sleeping.act(x)
        if (sleeping.sleeps or [0])[0] > before:
            slept.append(decision)
    assert slept == [0, 7, 15]


def test_what_adapted_to_the_damage_starts_again_after_sleep(make_run: Callable[..., Run]) -> None:
    run = make_run()
    sleeping, controller, _ = session(SleepHomeostat(every=3, awake=PaperDWAM(eta=1e-2)), run=run)
    assert isinstance(controller.network, SpikingNetwork)
    x = np.random.default_rng(0).normal(size=(1, controller.spec.network.inputs))
    sleeping.act(x)
    sleeping.set_weights(0, damaged(controller.network, "weights-gaussian", std=0.5))
    sleeping.act(x)
    assert sleeping.state.adaptation[0]["delta"].any()
    own = [state["delta"].clone() for state in sleeping.state.adaptation]
    with torch.inference_mode():
        sleeping._sleep(sleeping._sleeper)  # type: ignore[arg-type]
    assert sleeping.sleeps == [1]
    assert not any(bool(state["delta"].any()) for state in sleeping.state.adaptation)
    sleeping.act(x)
    assert any(not torch.equal(a, state["delta"]) for a, state in zip(own, sleeping.state.adaptation, strict=True))


def test_who_cannot_sleep_is_told(make_run: Callable[..., Run]) -> None:
    run = make_run()
    controller = load_controller(run)
    with pytest.raises(ValueError, match="its memory"):
        Session(controller, 1, plugin=SleepHomeostat())
    converted = load_controller(make_run(agent="qcfs", name="qcfs"))
    with pytest.raises(ValueError, match="a spiking network"):
        Session(converted, 1, plugin=SleepHomeostat(), memory=Memory(torch.zeros(1, 4), ()))


# Evaluations.

LATE = Condition(
    name="late", severity=1.0, degradations=(build({"kind": "weights-gaussian", "std": 0.5}, where="t"),), onset=7
)
SUITE = Suite(
    name="test", version=1, description="",
    conditions=(Condition(name="clean"), LATE, replace(LATE, name="early", onset=0),
                replace(LATE, name="drift", degradations=(build({"kind": "weights-drift", "std": 2.0}, where="t"),))),
)  # fmt: skip


def test_evaluations_do_not_depend_on_how_they_run(make_run: Callable[..., Run]) -> None:
    run = make_run()
    arms = ("none", "sleep:every=5", "dwam-paper:eta=1e-3+sleep:every=5")
    plan = Plan(suite=SUITE, arms=arms, episodes=3, seed=4, calibration_episodes=8)
    one = evaluate(run, plan, workers=1, num_envs=1)
    three = evaluate(run, plan, workers=2, num_envs=3)
    assert (one.folder / "scores.csv").read_bytes() == (three.folder / "scores.csv").read_bytes()
    totals = {(s.arm, s.condition, s.episode): s.total for s in one.scores}
    slept = {(s.arm, s.condition): s.sleeps for s in one.scores}
    assert slept["none", "late"] is None
    assert (slept["sleep:every=5", "clean"], slept["sleep:every=5", "late"], slept["sleep:every=5", "early"]) == (
        0,
        1,
        1,
    )
    for episode in range(3):
        assert totals["sleep:every=5", "clean", episode] == totals["none", "clean", episode]
        assert totals["sleep:every=5", "early", episode] != totals["none", "early", episode]


def test_a_converted_policy_says_what_to_do(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("CartPole-v1", "qcfs")
    main(["convert", str(run.path), "--out", str(tmp_path / "snn"), "--episodes", "0", "--no-progress"])
    plan = Plan(suite=SUITE, arms=("none", "sleep"), episodes=1, seed=0, calibration_episodes=1)
    with pytest.raises(UsageError, match="this one was converted"):
        evaluate(Run.open(tmp_path / "snn"), plan, workers=1)


# The commands.


def test_calibrate_and_sleep(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures agree with what the library says; the run's policy is not touched."""
    run = make_run(overrides={"hidden": [40, 30]})
    digest = run.policy_digest()
    out, shown = call("calibrate", run.path, "--episodes", 8, "--json", capsys=capsys)
    told = last(out)
    assert told["observations"] <= OBSERVATIONS
    assert told["memory_bytes"] > 0
    assert len(told["rates"]) == 3
    assert "reference firing rates" in shown
    picture = tmp_path / "neurons.svg"
    words = ["sleep", run.path, "--damage", "weights-gaussian@0.67", "--suite", "standard", "--json"]
    out, table = call(*words, "--picture", picture, capsys=capsys)
    slept = last(out)
    assert slept["passed"] is False
    assert sum(slept["after"]) < sum(slept["before"])
    drawn = [text.strip() for text in re.findall(r"<!-- (.*?) -->", picture.read_text())]
    for index, (before, after) in enumerate(zip(slept["before"], slept["after"], strict=True)):
        assert f"layer {index}: distance {before:.4f} to {after:.4f}" in drawn, "one number in table and picture"
        assert f"{before:.4f}" in table
        assert f"{after:.4f}" in table
    assert DISTANCE in drawn
    assert DISTANCE in " ".join(table.split())
    assert run.policy_digest() == digest
    out, shown = call(*words, "--homeostasis", "sleep:tolerance=0.9", capsys=capsys)
    calm = last(out)
    assert calm["passed"] is True
    assert calm["after"] == calm["before"] == slept["before"]
    assert "nothing to repair" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--damage", "weights-zerro"], "did you mean 'weights-zero'"),
        (["--damage", "obs-gaussian"], "expected damage of the network"),
        (["--damage", "clean"], "expected damage of the network"),
        (["--damage", "weights-zero", "--homeostasis", "dwam"], "expected sleep"),
        (["--damage", "weights-zero", "--picture", "x.bmp"], "x.bmp"),
    ],
)
def test_wrong_words(
    words: list[str], said: str, make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    _, err = call("sleep", run.path, *words, code=2, capsys=capsys)
    assert said in err
    assert not (run.path / "calibration").exists()


def test_an_mlp_has_no_rates(make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(agent="mlp")
    for words in (["calibrate", run.path], ["sleep", run.path, "--damage", "weights-zero"]):
        _, err = call(*words, code=2, capsys=capsys)
        assert "is an MLP" in err


def test_the_page_s_program(make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(name="pole").path.rename(tmp_path / "moved")
    (tmp_path / "runs").mkdir()
    (tmp_path / "moved").rename(tmp_path / "runs" / "pole")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "sleep.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(program, "sleep.md", "exec"), {})


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["popsan", *(name for name in list_pretrained() if not name.startswith(("mlp", "qcfs")))]
)
def test_how_much_the_self_test_sees(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Hundred draws of slight damage on each trained policy: nearly all are found, and a healthy network never is."""
    if name == "popsan":
        published = request.getfixturevalue("popsan_file")
        main(["import", "popsan", str(published), "--env", "HalfCheetah-v5", "--out", str(tmp_path / name)])
    else:
        copy_pretrained(name, tmp_path)
    run = Run.open(tmp_path / name)
    controller = load_controller(run)
    net = controller.network
    assert isinstance(net, SpikingNetwork)
    env = ("homeo_rl/Navigation-v0", run.spec.env_kwargs) if name == "navigation-san" else None
    calibration = calibration_of(run, controller, which="policy", episodes=5, env=env)
    replay, tolerance = Replay(net, calibration.memory(net)), SleepHomeostat().tolerance
    few = max(0.01, 1.5 / min(net.spec.hidden))  # at least one in each layer
    for kind, fields, least in (
        ("weights-zero", {"fraction": 0.1}, 95),
        ("dead-neurons", {"fraction": 0.05}, 95),
        ("dead-neurons", {"fraction": few}, 1),  # many neurons are silent anyway
        ("weights-gaussian", {"std": 0.03}, 95),
    ):
        found = sum(not replay.test(damaged(net, kind, seed=i, **fields)).passed(tolerance) for i in range(100))
        print(f"{name}, {kind} {fields}: {found} of 100 found")
        assert found >= least
    draws = torch.Generator().manual_seed(0)
    largest = 0.0
    for _ in range(100):
        rounded = tuple(
            w._replace(weight=w.weight * (1 + 1e-6 * torch.randn(w.weight.shape, generator=draws)))
            for w in net.parameters_of_layers()
        )
        largest = max(largest, *replay.test(rounded).change)
    print(f"{name}, healthy but for the sixth digit of each weight: largest change {largest:.7f}")
    assert largest <= tolerance
