"""Learnable initial potentials (IMP) and leaks: kernels, gradients, bounds, SB3, files, what they reach."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from networks import ARMS, NEURONS, drive, fresh, network
from stable_baselines3 import PPO, SAC, TD3

from homeo_rl.agents import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
from homeo_rl.agents.controller import load_controller
from homeo_rl.cli import main
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import make
from homeo_rl.numerics.jit import jit as jit_loop
from homeo_rl.run import Run
from homeo_rl.snn import kernels, neurons
from homeo_rl.snn.initial_potentials import bound_potential, parameter_groups
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.reference import forward_stepwise
from homeo_rl.spec import EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec, parse

KINDS = ["neuron", "layer", "constant"]
MODELS = [*NEURONS, *({**part, "kind": "plif"} for part in NEURONS if part["kind"] == "lif")]


def started(initial: str, model: dict[str, Any], **fields: Any) -> Any:
    """A network whose potentials are large, some of them beyond the bound."""
    net = network(neuron=NeuronSpec(**model), initial=initial, **fields)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.startswith(("initial", "constants")):
                value.uniform_(-0.9, 0.9)
            if name.startswith("leaks"):
                value.uniform_(-1.0, 1.0)
    return net


@pytest.mark.parametrize(
    ("initial", "model", "membrane"), list(itertools.product(KINDS, range(len(MODELS)), ["decision", "episode"]))
)
def test_decisions_equal_the_reference(initial: str, model: int, membrane: str) -> None:
    """Six decisions, every plug-in, compiled, by the reference and step by step; an episode begins at p again."""
    for readout in ("population", "membrane"):
        net = started(
            initial, MODELS[model], membrane=membrane, encoder=EncoderSpec(kind="current"),
            readout=ReadoutSpec(kind=readout, size=4),  # type: ignore[arg-type]
        )  # fmt: skip
        x = torch.randn(6, 4, 3, dtype=torch.float64)
        for arm in ARMS if readout == "population" else ARMS[:1]:
            results = []
            for kernel in ("reference", "numba"):
                with kernels.use(kernel):
                    ys, rates, state = drive(net, fresh(net, make(arm), 4), x, None)
                    state = net.forget(state, torch.tensor([True, False, True, False]), "episode")
                    y, state = net(x[0], state)
                    results.append([*ys, *rates, y.detach(), *(rate.detach() for rate in state.rates)])
            for expected, got in zip(*results, strict=True):
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
        with kernels.use("numba"), torch.no_grad():
            first = net(x[0])[0]
        with torch.no_grad():
            torch.testing.assert_close(forward_stepwise(net, x[0])[0], first, rtol=0, atol=1e-12)
        plain = network(neuron=net.spec.neuron, encoder=net.spec.encoder, readout=net.spec.readout, membrane=membrane)
        plain.load_state_dict(net.state_dict(), strict=False)
        if net.spec.neuron.kind != "plif":
            with torch.no_grad():
                assert not torch.equal(plain(x[0])[0], first), "potentials were expected to matter"


@pytest.mark.parametrize("model", range(len(MODELS)))
@pytest.mark.parametrize("initial", KINDS)
def test_gradients_through_the_kernels(initial: str, model: int) -> None:
    """Within 1e-5 of autograd's through the reference, for every parameter."""
    net = started(initial, MODELS[model], encoder=EncoderSpec(kind="current"), hidden=(40, 24))
    x = torch.randn(150, 3, dtype=torch.float64)
    found = []
    for kernel in ("reference", "numba"):
        with kernels.use(kernel):
            found.append(torch.autograd.grad(net(x)[0].square().sum(), list(net.parameters())))
    for (name, _), expected, got in zip(net.named_parameters(), *found, strict=True):
        assert float((got - expected).abs().max()) <= 1e-5 * max(float(expected.abs().max()), 1e-3), name
        if name.startswith(("initial", "constants", "leaks")):
            assert float(expected.abs().max()) > 0


@pytest.mark.parametrize("model", range(len(MODELS)))
def test_gradients_are_those_of_differences(model: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spikes made smooth, the whole network is a smooth function of p, and autograd must agree with differences."""
    monkeypatch.setattr(neurons, "spike", lambda d, *_, **__: torch.sigmoid(4 * d))
    net = network(
        neuron=NeuronSpec(**MODELS[model]), initial="neuron", encoder=EncoderSpec(kind="current"), hidden=(5, 4)
    )
    x = torch.randn(3, 3, dtype=torch.float64)
    names = [name for name, _ in net.named_parameters() if name.startswith(("initial", "leaks"))]
    values = [net.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def output(*given: torch.Tensor) -> Any:
        return torch.func.functional_call(net, dict(zip(names, given, strict=True)), (x,))[0]

    with kernels.use("reference"):
        assert torch.autograd.gradcheck(output, tuple(values), eps=1e-6, atol=1e-6)


def test_potentials_remain_or_halve() -> None:
    """dV_t / dp is 1 at every step of an IF neuron and halves each step of a LIF neuron with tau = 2."""
    for kind, expected in (("if", 1.0), ("lif", 0.5**4)):
        p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        zero = torch.zeros(1, 1, dtype=torch.float64)
        neuron = NeuronSpec(kind=kind, threshold=1.0, tau=2.0)  # type: ignore[arg-type]
        out, _ = neurons.scan(neuron, zero.expand(1, 4, 1), Membrane(zero, zero + p, zero), fires=False)
        assert float(torch.autograd.grad(out[0, -1, 0], p)[0]) == expected


@pytest.mark.parametrize("kernel", ["reference", "numba"])
def test_nothing_fires_without_input(kernel: str) -> None:
    """However far a parameter strays, the potential stays below the threshold, and its derivative can bring it back."""
    for model in MODELS:
        net = network(
            neuron=NeuronSpec(**model), initial="neuron", encoder=EncoderSpec(kind="current"), hidden=(16, 16)
        )
        with torch.no_grad():
            for part in net.layers:
                part.bias.zero_()  # type: ignore[operator,union-attr]
            for value in net.initial.values:  # type: ignore[union-attr,operator]
                value.fill_(50.0)
        with kernels.use(kernel), torch.no_grad():
            _, state = net(torch.zeros(2, 3, dtype=torch.float64))
        assert all(float(rate.max()) == 0 for rate in state.rates)
    p = torch.tensor([50.0, -50.0, 0.1], requires_grad=True)
    held = bound_potential(p, 0.5)
    assert held.abs().max() < 0.5
    assert float(held[2].detach()) == pytest.approx(0.1)
    assert torch.autograd.grad(held.sum(), p)[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("initial", ["neuron", "layer"])
@pytest.mark.parametrize(
    ("algo", "policy"), [(PPO, SpikingActorCriticPolicy), (SAC, SpikingSACPolicy), (TD3, SpikingTD3Policy)]
)
def test_potentials_are_trained(algo: Any, policy: Any, initial: str) -> None:
    """In the optimiser and, for TD3, in the target network, from the start; training moves them and target follows."""
    told = {"agent": "popsan", "agent_kwargs": {"hidden": [8, 8], "initial": initial}}
    rest = {"n_steps": 32, "batch_size": 32, "n_epochs": 2} if algo is PPO else {"learning_starts": 10, "tau": 0.5}
    model = algo(policy, gym.make("Pendulum-v1"), policy_kwargs=told, seed=0, learning_rate=0.01, **rest)
    actor = model.policy if algo is PPO else model.policy.actor
    parts = {name: value for name, value in actor.named_parameters() if ".initial." in name}
    assert [value.shape[0] for value in parts.values()] == ([8, 8, 10] if initial == "neuron" else [1, 1, 1])
    optimised = {id(value) for group in actor.optimizer.param_groups for value in group["params"]}
    assert all(id(value) in optimised for value in parts.values())
    before = {name: value.detach().clone() for name, value in parts.items()}
    if algo is TD3:
        target = dict(model.policy.actor_target.named_parameters())
        assert all(torch.equal(target[name], value) for name, value in parts.items())
    model.learn(64)
    assert all(not torch.equal(parts[name], value) for name, value in before.items())
    if algo is TD3:
        assert all(not torch.equal(target[name], value) for name, value in before.items())


@pytest.mark.parametrize("overrides", [{"initial": "neuron"}, {"initial": "layer"}, {"initial": "constant"},
                                       {"neuron": {"kind": "plif", "tau": 2.5}}])  # fmt: skip
def test_potentials_are_saved(overrides: dict[str, Any], make_run: Callable[..., Run]) -> None:
    run = make_run("Pendulum-v1", "popsan", overrides={"hidden": [8], **overrides})
    one, two = load_controller(run), load_controller(Run.open(Path(run.path)))
    x = torch.randn(5, 3)
    names = [n for n, _ in one.network.named_parameters() if n.startswith(("initial", "constants", "leaks"))]
    assert names
    with torch.inference_mode():
        assert torch.equal(one(x)[0], two(x)[0])


@pytest.mark.parametrize("body", ["mlp", "pascal"])
def test_refused_with_the_reason(body: str) -> None:
    fields = {"inputs": 3, "outputs": 1, "body": body, "initial": "neuron",
              "encoder": {"kind": "current"}, "readout": {"kind": "membrane"}}  # fmt: skip
    with pytest.raises(UsageError, match="half a threshold, which their theorem needs"):
        parse(NetworkSpec, fields, where="network")


def test_groups_without_decay() -> None:
    net = network(neuron=NeuronSpec(**MODELS[-1]), initial="neuron")
    decaying, kept = parameter_groups(net, 0.1)
    assert (decaying["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert len(kept["params"]) == 3 + 3
    assert len(kept["params"]) + len(decaying["params"]) == len(list(net.parameters()))


def reachable(potentials: torch.Tensor) -> int:
    """Pairs of 4-step input and output patterns that an IF neuron with soft reset and a weight in [-1, 1] can show."""
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64)
    weights = torch.arange(-100, 101).double() / 100
    chosen = torch.cartesian_prod(weights, potentials.double())
    zero = torch.zeros(16, len(chosen), dtype=torch.float64)
    neuron = NeuronSpec(kind="if", threshold=1.0, reset="soft")
    out, _ = neurons.scan(neuron, patterns.unsqueeze(-1) * chosen[:, 0], Membrane(zero, zero + chosen[:, 1], zero))
    codes = (out * torch.tensor([8.0, 4.0, 2.0, 1.0]).reshape(1, 4, 1)).sum(1)
    return len({(i, int(code)) for i in range(16) for code in codes[i].unique()})


def test_patterns_that_can_be_reached() -> None:
    """Of 256: 54 from 0, 108 with p in [-1, 1]; 80 of them within the bound, where nothing fires without input."""
    grid = torch.arange(-100, 101) / 100
    assert reachable(torch.zeros(1)) == 54
    assert reachable(grid) == 108
    assert reachable(grid[1:-1]) == 80


def test_compiled_code_knows_the_files_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant of a neighbouring file is compiled in: when it changes, what was cached is compiled again."""
    import importlib
    import sys

    from homeo_rl.numerics import jit

    (tmp_path / "beside_it.py").write_text("SIZE = 13\n")
    (tmp_path / "caller_of_it.py").write_text(
        "from beside_it import SIZE\nfrom homeo_rl.numerics.jit import jit as jit_loop\n"
        "@jit_loop\ndef size():\n    return SIZE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for size in (13, 14):
        (tmp_path / "beside_it.py").write_text(f"SIZE = {size}\n")
        importlib.invalidate_caches()
        for name in ("beside_it", "caller_of_it"):
            sys.modules.pop(name, None)
        jit._sources.cache_clear()
        assert importlib.import_module("caller_of_it").size() == size
    assert jit_loop is jit.jit


def test_flags_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--imp`` and ``--readout`` change any spiking preset, beside other fields."""
    words = ["train", "--algo", "sac", "--env", "Pendulum-v1", "--agent", "popsan", "-n", "60", "--no-progress"]
    small = ["-params", "agent_kwargs:{hidden: [8]}", "learning_starts:20", "buffer_size:100"]
    main([*words, "--out", str(tmp_path / "one"), "--imp", "layer", "--readout", "last", *small])
    spec = Run.open(tmp_path / "one").spec
    assert spec.controller is not None
    network = spec.controller.network
    assert (network.initial, network.readout.kind, network.hidden) == ("layer", "last", (8,))
    assert spec.hyperparams["agent_kwargs"] == {"hidden": [8], "initial": "layer", "readout": {"kind": "last"}}
    with pytest.raises(SystemExit):
        main([*words, "--out", str(tmp_path / "two"), "--agent", "mlp", "--imp", "neuron"])
    assert "an MLP has no membranes" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()
