"""Golden traces worked by hand (in plain Python, formula by formula), fixed points, guards, scopes."""

from __future__ import annotations

import math

import pytest
import torch

from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import (
    BDETT,
    DWAM,
    MECHANISMS,
    CombinedMechanism,
    DecisionRates,
    Homeostasis,
    LayerReference,
    LinearHomeostat,
    PaperDWAM,
    SleepHomeostat,
    make,
    needs_memory,
)
from homeo_rl.homeostasis.protocol import State, restart
from homeo_rl.snn import SpikingNetwork
from homeo_rl.spec import EncoderSpec, NetworkSpec, ReadoutSpec

POST = [0.6, 0.2, 0.0, 1.0, 0.4]
PRE = [0.5, 1.0, 0.8, 0.0, 0.25]


def reference(rate: float = 0.4, square: float = 0.2, scale: float = 1.0, inputs: int = 1) -> LayerReference:
    d = torch.float64
    return LayerReference(0, torch.tensor([rate], dtype=d), torch.tensor([square], dtype=d), scale, inputs)


def decide(plugin: Homeostasis, layer: LayerReference) -> list[State]:
    state, trace = plugin.init(layer, 1), []
    for pre, post in zip(PRE, POST, strict=True):
        tick = DecisionRates(torch.tensor([[pre]], dtype=torch.float64), torch.tensor([[post]], dtype=torch.float64))
        state = plugin.step(state, layer, tick)
        trace.append({key: value.clone() for key, value in state.items()})
    return trace


def test_dwam_five_decisions_by_hand() -> None:
    """eta 0.1, tau 2, c0 0.4, plain BCM; every number below was worked on paper.

    q: .28, .16, .08, .54, .35      theta = q / .4: .7, .4, .2, 1.35, .875
    phi = c (c - theta): -.06, -.04, 0, -.35, -.19
    dW = .1 phi x: -.003, -.004, 0, 0, -.00475
    """
    trace = decide(PaperDWAM(eta=0.1, tau=2, zeta=None), reference())
    assert [float(s["q"]) for s in trace] == pytest.approx([0.28, 0.16, 0.08, 0.54, 0.35], abs=1e-15)
    assert [float(s["m"]) for s in trace] == pytest.approx([0.5, 0.35, 0.175, 0.5875, 0.49375], abs=1e-15)
    assert [float(s["delta"]) for s in trace] == pytest.approx([-0.003, -0.007, -0.007, -0.007, -0.01175], abs=1e-15)
    assert float(PaperDWAM(tau=2, zeta=None).sliding_threshold(trace[-1], reference())) == pytest.approx(0.875)


def test_dwam_gain_by_hand() -> None:
    """zeta 0.5: g = .5 sqrt(q - m^2) / m; first decision: m .5, q .28, s.d. sqrt(.03), g = sqrt(.03)."""
    trace = decide(PaperDWAM(eta=0.1, tau=2, zeta=0.5), reference())
    first = 0.1 * math.sqrt(0.03) * 0.6 * (0.6 - 0.7) * 0.5
    # second decision: m .35, q .16, g = .5 sqrt(.0375) / .35
    second = 0.1 * (0.5 * math.sqrt(0.0375) / 0.35) * 0.2 * (0.2 - 0.4) * 1.0
    assert float(trace[0]["delta"]) == pytest.approx(first, abs=1e-15)
    assert float(trace[1]["delta"]) == pytest.approx(first + second, abs=1e-15)
    # a large zeta saturates the gain at 1: plain BCM
    plain, full = (
        decide(PaperDWAM(eta=0.1, tau=2, zeta=None), reference()),
        decide(PaperDWAM(eta=0.1, tau=2, zeta=1e9), reference()),
    )
    assert float(full[-1]["delta"]) == float(plain[-1]["delta"])


@pytest.mark.parametrize("zeta", [None, 1.0])
def test_no_adaptation_when_steady_or_silent(zeta: float | None) -> None:
    """Silent neuron or input: nothing, with any gain. Steady activity: nothing, with the CV gain."""
    plugin, d = PaperDWAM(eta=0.1, zeta=zeta), torch.float64
    for pre, post in ((0.0, 0.7), (0.7, 0.0)):
        state = plugin.init(reference(), 1)
        for _ in range(20):
            tick = DecisionRates(torch.tensor([[pre]], dtype=d), torch.tensor([[post]], dtype=d))
            state = plugin.step(state, reference(), tick)
        assert float(state["delta"]) == 0.0
    if zeta is not None:
        steady = reference(rate=0.6, square=0.36)
        state = plugin.init(steady, 1)
        for _ in range(20):
            tick = DecisionRates(torch.tensor([[0.5]], dtype=d), torch.tensor([[0.6]], dtype=d))
            state = plugin.step(state, steady, tick)
        assert abs(float(state["delta"])) < 1e-7


def test_linear_five_decisions_by_hand() -> None:
    """eta 0.1, tau 2: m .5, .35, .175, .5875, .49375; dW = .1 (.4 - m) x, db = .1 (.4 - m)."""
    weights = decide(LinearHomeostat(eta=0.1, tau=2), reference())
    steps = [-0.005, 0.005, 0.018, 0.0, -0.00234375]
    assert [float(s["delta"]) for s in weights] == pytest.approx([sum(steps[: k + 1]) for k in range(5)], abs=1e-15)
    bias = decide(LinearHomeostat(eta=0.1, tau=2, target="bias"), reference())
    steps = [-0.01, 0.005, 0.0225, -0.01875, -0.009375]
    assert [float(s["delta"]) for s in bias] == pytest.approx([sum(steps[: k + 1]) for k in range(5)], abs=1e-15)


def test_bdett_five_steps_by_hand() -> None:
    """Two neurons, v over five spike steps, the published equations one by one in plain Python."""
    volts = [(0.2, 0.6), (0.5, 0.1), (0.9, -0.3), (0.4, 0.4), (1.2, 0.0)]
    energy, before, psi = [0.5, 0.5], (0.0, 0.0), 6.0
    plugin = BDETT(psi=psi)
    d = torch.float64
    layer = LayerReference(0, torch.zeros(2, dtype=d), torch.zeros(2, dtype=d), 1.0, 1)
    state = plugin.init(layer, 1)
    for now in volts:
        temporal = [math.exp((b - v) / 3) - 1 for b, v in zip(before, now, strict=True)]
        level = [0.5 * e + 0.5 * t for e, t in zip(energy, temporal, strict=True)]
        v_m = sum(now) / 2 - 0.2 * (max(now) - min(now))
        v_th = sum(level) / 2 - 0.2 * (max(level) - min(level))
        energy = [0.01 * (v - v_m) + v_th + math.log(1 + math.exp((v - v_m) / psi)) for v in now]
        got, state = plugin.threshold(state, torch.tensor([before], dtype=d), torch.tensor([now], dtype=d))
        assert got[0].tolist() == pytest.approx(level, abs=1e-14)
        assert state["energy"][0].tolist() == pytest.approx(energy, abs=1e-14)
        before = now


def test_bdett_replaces_the_threshold_inside_a_network() -> None:
    net = driven(1.0, steps=3)
    refs = net.references([torch.zeros(1)], [torch.zeros(1)])
    x = torch.full((1, 1), 1.0)
    _, free = net(x)
    _, held = net(x, net.initial_state(1, plugin=BDETT(initial=50.0), references=refs))
    assert float(free.rates[1]) > 0
    assert float(held.rates[1]) == 0, "an energy of 50 must silence the neuron"


def driven(weight: float, steps: int = 20) -> SpikingNetwork:
    """One spiking neuron driven by one current."""
    spec = NetworkSpec(
        inputs=1,
        outputs=1,
        hidden=(),
        steps=steps,
        encoder=EncoderSpec(kind="current"),
        readout=ReadoutSpec(kind="mean"),
    )
    net = SpikingNetwork(spec)
    with torch.no_grad():
        net.layers[0].weight.fill_(weight)  # type: ignore[operator,union-attr]
        net.layers[0].bias.zero_()  # type: ignore[operator,union-attr]
    return net


def settle(c0: float | None, weight: float, rate: float, decisions: int = 6000) -> float:
    """Drive one neuron with noisy input under plain BCM; return its mean rate over the last third."""
    net = driven(weight)
    plugin = PaperDWAM(eta=2e-3, tau=50, zeta=None, c0=c0, trust=100.0, scope="run")
    refs = net.references([torch.tensor([rate])], [torch.tensor([rate * rate])])
    state = net.initial_state(1, plugin=plugin, references=refs)
    drive = 0.5 + 0.15 * torch.rand(decisions, 1, generator=torch.Generator().manual_seed(0))
    late = []
    with torch.no_grad():
        for k in range(decisions):
            _, state = net(drive[k : k + 1], state, adapt=True)
            if k > 2 * decisions // 3:
                late.append(float(state.rates[1]))
    return sum(late) / len(late)


@pytest.mark.parametrize("weight", [0.35, 0.9])
def test_fixed_point_is_the_normal_rate(weight: float) -> None:
    """E[c] = c0: from too weak and from too strong a synapse, the driven neuron settles at its calibrated rate."""
    assert settle(None, weight, rate=0.4) == pytest.approx(0.4, abs=0.05)


def test_textbook_constant_saturates() -> None:
    """With c0 = 1 the rate climbs to saturation: why calibration is not optional."""
    assert settle(1.0, 0.6, rate=0.4) > 0.95


def test_trust_region_and_nan_guard() -> None:
    plugin = PaperDWAM(eta=10.0, zeta=None, trust=0.3)
    layer = reference(scale=0.5)
    state = plugin.init(layer, 1)
    for post in (1.0, 0.9, 1.0):
        tick = DecisionRates(torch.ones(1, 1, dtype=torch.float64), torch.tensor([[post]], dtype=torch.float64))
        state = plugin.step(state, layer, tick)
        assert abs(float(state["delta"])) <= 0.15
    assert abs(float(state["delta"])) == pytest.approx(0.15)
    held = state["delta"].clone()
    nan = torch.full((1, 1), math.nan, dtype=torch.float64)
    state = plugin.step(state, layer, DecisionRates(nan, torch.ones(1, 1, dtype=torch.float64)))
    assert torch.equal(state["delta"], held), "a NaN input must not move a weight"
    state = LinearHomeostat(eta=1.0).init(layer, 1)
    state = LinearHomeostat(eta=1.0).step(state, layer, DecisionRates(nan, nan))
    assert bool(torch.isfinite(state["delta"]).all())


def test_rates_per_layer() -> None:
    plugin = PaperDWAM(eta=(1e-3, 0.0))
    first, second = reference(), LayerReference(1, *(t.clone() for t in (reference().rate, reference().square)), 1.0, 1)
    tick = DecisionRates(torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    assert float(plugin.step(plugin.init(first, 1), first, tick)["delta"]) != 0
    assert float(plugin.step(plugin.init(second, 1), second, tick)["delta"]) == 0
    third = LayerReference(2, first.rate, first.square, 1.0, 1)
    with pytest.raises(ValueError, match="one a layer"):
        plugin.step(plugin.init(third, 1), third, tick)


@pytest.mark.parametrize(
    "name", [name for name, kind in MECHANISMS.items() if not needs_memory(kind()) and name != "observer"]
)
@pytest.mark.parametrize("scope", ["decision", "episode", "run"])
def test_scopes(name: str, scope: str) -> None:
    """A state restarts with its own scope and with no other; rows of a batch restart alone."""
    net = SpikingNetwork(NetworkSpec(inputs=2, outputs=1, hidden=(8,)))
    plugin = MECHANISMS[name](scope=scope)  # type: ignore[arg-type]
    rates = [torch.full((n,), 0.3) for n in net.spec.widths[1:]]
    refs = net.references(rates, rates)
    fresh = plugin.init(refs[0], 2)
    state = net.initial_state(2, plugin=plugin, references=refs)
    x = torch.randn(2, 2)
    with torch.no_grad():
        for _ in range(3):
            _, state = net(x, state, adapt=True)
    moved = any(not torch.equal(state.adaptation[0][k], fresh[k]) for k in fresh)
    assert moved, "nothing adapted"
    for ends in ("episode", "run"):
        changed = {k: v.clone() for k, v in state.adaptation[0].items()}
        state = net.forget(state, torch.tensor([True, False]), ends)  # type: ignore[arg-type]
        for key, value in state.adaptation[0].items():
            assert torch.equal(value[1], changed[key][1])
            assert torch.equal(value[0], (fresh if ends == scope else changed)[key][0])


def test_restart_keeps_other_rows() -> None:
    state = restart({"a": torch.ones(3, 2)}, {"a": torch.zeros(3, 2)}, torch.tensor([False, True, False]))
    assert state["a"].tolist() == [[1, 1], [0, 0], [1, 1]]


def test_arms_are_parsed() -> None:
    assert make("none") is None
    assert make("dwam") == DWAM()
    assert make("dwam:rates=1e-3:passes=2") == DWAM(rates=1e-3, passes=2)
    assert make("dwam-paper") == PaperDWAM()
    assert make("dwam-paper:eta=1e-3/0:zeta=none:scope=run") == PaperDWAM(eta=(1e-3, 0.0), zeta=None, scope="run")
    assert make("linear:target=bias") == LinearHomeostat(target="bias")
    assert make("sleep:form=bias:every=20") == SleepHomeostat(form="bias", every=20)
    assert (
        make("sleep+dwam-paper:eta=1e-5")
        == make("dwam-paper:eta=1e-5+sleep")
        == SleepHomeostat(awake=PaperDWAM(eta=1e-5))
    )
    assert make("dwam-paper+bdett:psi=4") == CombinedMechanism(thresholds=BDETT(psi=4), weights=PaperDWAM())


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("dwan", "did you mean 'dwam'"),
        ("dwam:etta=1", "did you mean 'eta'"),
        ("dwam:eta", "name=value"),
        ("dwam:eta=-1", "expected >= 0"),
        ("dwam:eta=x", "dwam:eta=x"),
        ("dwam:tau=0", "expected >= 1"),
        ("dwam:scope=forever", "expected one of decision, episode, run"),
        ("linear:target=gain", "weights or bias"),
        ("bdett:psi=0", "expected > 0"),
        ("none:eta=1", "takes no parameters"),
        ("none+sleep", "leave it out"),
        ("sleep+sleep", "at most one sleep"),
        ("dwam+linear", "one mechanism that moves thresholds"),
        ("bdett+dwam-paper:scope=run", "the same for both"),
        ("dwam:rates=0", "expected numbers above 0"),
        ("dwam:rates=1e-4/-1", "expected numbers above 0"),
        ("dwam:passes=1.5", "a whole number from 1 on"),
        ("dwam:least=1", "expected 0 to 1"),
        ("dwam:scope=run", "scope episode only"),
        ("dwam:eta=1e-4/1e-5", "one rate for all layers"),
        ("dwam-control:phi=random", "shuffled, flipped or own"),
        ("dwam-control:cv=space", "time or neurons"),
        ("dwam-paper:scope=run+sleep", "begins anew"),
        ("sleep:scope=run", "begins anew"),
        ("sleep:form=deep", "delta, bias, gain, none"),
        ("sleep:every=0.5", "a whole number"),
        ("sleep:tolerance=2", "0 to 1"),
        ("sleep:awake=1", "unknown parameter"),
    ],
)
def test_bad_arms_say_what_to_do(arm: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(arm)
