"""Policies leave and come back: round trips, ONNX, the page's reader of safetensors, zips, and what is refused."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nir_readers
import numpy as np
import pytest
import torch
from cli_calls import call

from homeo_rl.agents.controller import Controller, load_controller, save_controller
from homeo_rl.cli import main
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.language import parse_function
from homeo_rl.compiler.spike_function import Line, SpikeFunction
from homeo_rl.envs.make import make_env
from homeo_rl.errors import Finding, UsageError
from homeo_rl.exchange import onnx_model
from homeo_rl.exchange.decision import Decision
from homeo_rl.exchange.dialects import Clock, resolve_dialect
from homeo_rl.exchange.exported_file import fingerprint
from homeo_rl.exchange.nir_graph import KEY, export_nir
from homeo_rl.exchange.nir_import import import_nir
from homeo_rl.exchange.onnx_model import export_onnx
from homeo_rl.run import Run, versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import (
    ControllerSpec,
    EncoderSpec,
    EventSpec,
    GateSpec,
    NetworkSpec,
    NeuronSpec,
    ReadoutSpec,
    ReflexSpec,
    RunSpec,
    parse,
)

nir = pytest.importorskip("nir", reason="nir: not installed; pip install 'homeo-rl[nir]'")

PAGE = Path(__file__).parents[2] / "docs" / "exchange.md"
HARD = {"kind": "lif", "reset": "hard"}
POINT = "toy_envs:Point-v0"


def drawn(*, seed: int = 0, low: tuple[float, ...] = (-1.0, -1.0), **fields: Any) -> Controller:
    """Return a policy with random weights and statistics, by default of the point's spaces."""
    torch.manual_seed(seed)
    own = {name: fields.pop(name) for name in ("squash", "bins", "reflex") if name in fields}
    network = NetworkSpec(**{"inputs": 3, "outputs": 2, "hidden": (12, 10), **fields})
    spec = ControllerSpec(network=network, low=low, high=tuple(-bound for bound in low), **own)
    controller = Controller(spec)
    controller.normaliser.update(torch.as_tensor(np.random.default_rng(seed).normal(1.0, 2.0, (64, network.inputs))))
    return controller.eval().requires_grad_(False)


def seen(count: int = 200, seed: int = 5) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).normal(1.0, 2.0, (count, 3)), dtype=torch.float32)


def reflex() -> ReflexSpec:
    """Two pushes in a row hold the first action down for two decisions."""
    function = SpikeFunction(
        ("far",), (("stop", parse_function("count(far, 2, window=3) -> hold(2)", {"far": Line("far")})),)
    )
    made = compile_function(function)
    return ReflexSpec(
        name="r",
        events=(EventSpec(entries=(0,), above=1.0),),
        outputs=("stop",),
        gates=(GateSpec(when="stop", kind="inhibit", entries=(0,)),),
        network=made.recurrent,
    )


def with_reflex(**fields: Any) -> Controller:
    function = SpikeFunction(
        ("far",), (("stop", parse_function("count(far, 2, window=3) -> hold(2)", {"far": Line("far")})),)
    )
    controller = drawn(reflex=reflex(), **fields)
    assert controller.reflex is not None
    controller.reflex.network.weight.copy_(torch.from_numpy(compile_function(function).weight()))
    return controller


# NIR, there and back


POLICIES: dict[str, dict[str, Any]] = {
    "popsan": {},
    "san": {"encoder": EncoderSpec(kind="bernoulli"), "readout": ReadoutSpec(kind="mean"), "squash": "identity"},
    "anytime": {
        "encoder": EncoderSpec(kind="current"), "initial": "neuron", "readout": ReadoutSpec(kind="membrane"),
        "neuron": NeuronSpec(kind="lif", threshold=1.0),
    },
    "constant": {"initial": "constant", "neuron": NeuronSpec(kind="if", reset="hard")},
    "plif": {"neuron": NeuronSpec(kind="plif", reset="hard"), "readout": ReadoutSpec(kind="last")},
    "episode": {"membrane": "episode"},
    "choice": {"low": (), "outputs": 3},
    "classes": {"outputs": 2 * 5, "bins": 5},
}  # fmt: skip


@pytest.mark.parametrize("decay", ["euler", "exponential"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_comes_back_to_the_last_bit(name: str, decay: str, tmp_path: Path) -> None:
    controller = drawn(**POLICIES[name])
    if controller.network.leaks is not None:
        controller.network.leaks[1].fill_(0.3)
    path = tmp_path / "policy.nir"
    path.write_bytes(export_nir(controller, *resolve_dialect("standard", 1e-3, decay)).blob)
    env = make_env("toy_envs:Choice-v0" if name == "choice" else POINT)
    back = import_nir(path, env)
    env.close()
    x = seen()
    noise = torch.rand((len(x), controller.spec.network.steps, controller.spec.network.widths[0]))
    assert torch.equal(back(x, noise=noise)[0], controller(x, noise=noise)[0])
    if controller.spec.network.initial != "constant":  # which is part of the biases now
        assert back.spec == controller.spec
        assert all(torch.equal(value, back.state_dict()[key]) for key, value in controller.state_dict().items())


def test_a_reflex_goes_along_in_the_metadata(tmp_path: Path) -> None:
    controller = with_reflex()
    path = tmp_path / "policy.nir"
    path.write_bytes(export_nir(controller, *resolve_dialect("standard")).blob)
    env = make_env(POINT)
    back = import_nir(path, env)
    env.close()
    x, states = seen(), [None, None]
    for _ in range(4):
        actions = []
        for i, policy in enumerate((controller, back)):
            action, states[i] = policy(x, states[i])
            actions.append(action)
        assert torch.equal(*actions)


def test_the_metadata_is_plain_and_tells_what_is_outside(tmp_path: Path) -> None:
    controller = drawn(**POLICIES["anytime"])
    path = tmp_path / "policy.nir"
    written = export_nir(controller, *resolve_dialect("standard"))
    path.write_bytes(written.blob)
    document = json.loads(nir.read(path).metadata[KEY])
    assert document["spec_sha256"] == fingerprint(controller.spec)
    assert parse(ControllerSpec, document["controller"], where="metadata") == controller.spec
    assert document["notes"] == list(written.notes)
    told = " ".join(written.notes)
    assert all(word in told for word in ("encoder current", "read-out membrane", "learnt potentials", "soft resets"))
    assert b"pickle" not in written.blob


def test_a_graph_that_was_changed_is_refused_by_the_node(tmp_path: Path) -> None:
    controller, env = drawn(), make_env(POINT)
    graph_file = tmp_path / "policy.nir"
    graph_file.write_bytes(export_nir(controller, *resolve_dialect("standard")).blob)
    for change, told in [
        (lambda g: g.nodes["neuron_1"].v_threshold.__setitem__(3, 0.9), "node 'neuron_1': v_threshold is not what"),
        (lambda g: g.edges.append(("neuron_0", "affine_2")), "expected the nodes and edges"),
        (lambda g: g.nodes.pop("affine_1"), "expected a node affine_1 with a weight|is no node of the graph"),
        (lambda g: g.metadata["tensors"].pop("normaliser.running_mean"), "tensor 'normaliser.running_mean' is missing"),
        (lambda g: g.metadata.__setitem__(KEY, "{}"), "expected the format 'homeo-rl nir 1'"),
        (lambda g: g.metadata.__setitem__(KEY, "{"), "not readable as JSON"),
    ]:
        graph = nir.read(graph_file)
        change(graph)
        nir.write(tmp_path / "changed.nir", graph)
        with pytest.raises(Exception, match=told):
            import_nir(tmp_path / "changed.nir", env)
    env.close()


def test_weights_may_be_edited(tmp_path: Path) -> None:
    """A graph is there to be worked on: other weights are another policy."""
    path, env = tmp_path / "policy.nir", make_env(POINT)
    path.write_bytes(export_nir(drawn(), *resolve_dialect("standard")).blob)
    graph = nir.read(path)
    graph.nodes["affine_0"].weight[:] = np.round(graph.nodes["affine_0"].weight * 8) / 8
    nir.write(path, graph)
    back = import_nir(path, env)
    env.close()
    assert isinstance(back.network, SpikingNetwork)
    assert torch.equal(back.network.layers[0].weight * 8, (back.network.layers[0].weight * 8).round())


@pytest.mark.parametrize(
    ("fields", "flavour", "told"),
    [
        ({"body": "mlp"}, "standard", "is an MLP, of which NIR has no nodes"),
        ({"body": "pascal", "encoder": EncoderSpec(kind="current"), "readout": ReadoutSpec(kind="membrane")},
         "standard", "listen, settle and then spike"),
        ({"neuron": NeuronSpec(voltage_decay=1.0)}, "standard", "neuron_0: a potential of which 1 is left"),
        ({"neuron": NeuronSpec(current_decay=0.0)}, "exponential", "no time constant; take euler"),
        ({"neuron": NeuronSpec(kind="lif")}, "norse", "a soft reset, which its reader lacks"),
        ({"initial": "layer"}, "snntorch", "learnt the potentials"),
        ({"neuron": NeuronSpec(**HARD, tau=1.0)}, "spikingjelly", "wants tau > dt"),
    ],
)  # fmt: skip
def test_what_nir_or_a_reader_cannot_say_is_refused(fields: dict[str, Any], flavour: str, told: str) -> None:
    how = resolve_dialect("standard", decay="exponential") if flavour == "exponential" else resolve_dialect(flavour)
    with pytest.raises(UsageError, match=told):
        export_nir(drawn(**fields), *how)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("torch",), "unknown --dialect 'torch'"),
        (("snntorch", 1e-3), "reads every graph with a step of 0.0001 s"),
        (("norse", None, "exponential"), "takes forward Euler steps"),
        (("standard", 0.0), "expected seconds above 0"),
        (("standard", None, "linear"), "unknown --decay 'linear'"),
    ],
)
def test_flavours_that_do_not_exist_are_refused(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        resolve_dialect(*arguments)


@pytest.mark.parametrize("decay", ["euler", "exponential"])
def test_time_constants_and_decays_are_inverse(decay: Any) -> None:
    clock = Clock(3e-4, decay)
    for left in (0.1, 0.5, 0.75, 0.99):
        assert clock.left(clock.tau(left)) == pytest.approx(left, rel=1e-14)


# ONNX


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Keep pytest from storing what torch's exporter logs of every operation; that takes longer than the export."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def converted(form: str) -> dict[str, Any]:
    return {
        "body": "pascal", "encoder": EncoderSpec(kind="current"), "readout": ReadoutSpec(kind="membrane"), "form": form,
        "levels": (4, 3), "steps": 6,
    }  # fmt: skip


DECISIONS: dict[str, dict[str, Any]] = {
    **POLICIES,
    "poisson": {"encoder": EncoderSpec(kind="population-poisson")},
    "mlp": {"body": "mlp"},
    "tanh": {"body": "mlp", "activation": "tanh"},
    "qcfs": {"body": "mlp", "activation": "qcfs", "levels": (8, 4)},
    **{f"pascal {form}": converted(form) for form in ("counts", "dyadic", "stepwise", "rate")},
    "none": {"squash": "none"},
    "multiscale": {"membrane": "episode", "neuron": NeuronSpec(kind="multiscale-lif", current_decay=0.95)},
    "reflex": {},
    "reflex, episode": {"membrane": "episode"},
}


def draws(decision: Decision, count: int, *, seed: int) -> list[torch.Tensor]:
    """Return what the encoder draws for ``count`` decisions: one input, or none."""
    if decision.drawn is None:
        return []
    return [torch.as_tensor(np.random.default_rng(seed).random((count, *decision.drawn), dtype=np.float32))]


@pytest.mark.parametrize("name", DECISIONS)
def test_the_unrolled_decision_is_the_policys(name: str) -> None:
    """What is exported, run by torch: same actions, decision after decision, where episodes start in between."""
    controller = with_reflex(**DECISIONS[name]) if "reflex" in name else drawn(**DECISIONS[name])
    decision = Decision(controller)
    state: Any = None
    held = [torch.zeros(50, *one.shape) for one in decision.held]
    start = torch.ones(50, dtype=torch.bool)
    for k in range(3):
        x, noise = seen(50, seed=k), draws(decision, 50, seed=k)
        expected, state = controller(x, state, noise=noise[0]) if noise else controller(x, state)
        got, *rest = decision(x, *noise, *([start, *held] if held else []))
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)
        held, start = list(rest), torch.zeros(50, dtype=torch.bool)


def test_episodes_start_again_row_by_row() -> None:
    controller = with_reflex(membrane="episode", initial="neuron")
    decision, x = Decision(controller), seen(6)
    zeros = [torch.zeros(6, *one.shape) for one in decision.held]
    first = decision(x, torch.ones(6, dtype=torch.bool), *[value + 7.0 for value in zeros])
    again = decision(x, torch.tensor([True, False] * 3), *first[1:])
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before[::2], after[::2])
    assert not torch.equal(first[0][1::2], again[0][1::2])


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize(
    "name", ["popsan", "san", "poisson", "episode", "anytime", "choice", "qcfs", "pascal dyadic", "reflex"]
)
def test_onnx_acts_and_spikes_as_the_policy(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime: not installed; pip install 'homeo-rl[onnx]'")
    spiking = DECISIONS[name].get("body", "spiking") == "spiking"
    fields = {**DECISIONS[name], "steps": 3}
    controller = with_reflex(**fields) if name == "reflex" else drawn(**fields)
    written = export_onnx(controller, spikes=spiking)
    assert "100.0% of 512 actions equal" in written.notes[-1], written.notes
    session = runtime.InferenceSession(written.blob, providers=["CPUExecutionProvider"])
    decision = Decision(controller, spikes=spiking)
    names = [one.name for one in session.get_inputs()]
    given = [seen(33), *draws(decision, 33, seed=5)]
    if decision.held:
        given += [torch.ones(33, dtype=torch.bool), *(torch.zeros(33, *one.shape) for one in decision.held)]
    for _ in range(2):
        expected = decision(*given)
        got = session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})
        assert len(got) == len(expected)
        for theirs, mine in zip(got, expected, strict=True):
            np.testing.assert_allclose(theirs, mine.numpy(), atol=2e-6, rtol=1e-5)
        if decision.held:
            given = [seen(33, seed=6), torch.zeros(33, dtype=torch.bool), *expected[1 : 1 + len(decision.held)]]
    if spiking:
        trains = [
            train for one, train in zip(session.get_outputs(), got, strict=True) if one.name.startswith("spikes_")
        ]
        assert len(trains) == len(controller.spec.network.hidden) + (name != "anytime")
        assert all(set(np.unique(train)) <= {0.0, 1.0} for train in trains)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["spec_sha256"] == fingerprint(controller.spec)
    assert parse(ControllerSpec, json.loads(metadata["controller"]), where="metadata") == controller.spec
    assert json.loads(metadata["state"]) == {one.name: list(one.shape) for one in decision.held}
    assert json.loads(metadata["versions"]) == versions()


@pytest.mark.parametrize(
    ("fields", "spikes", "told"),
    [
        ({"steps": 65}, False, "at most 64 spike steps"),
        ({"body": "mlp"}, True, "this one has none"),
        (converted("counts"), True, "this one has none"),
    ],
)
def test_what_onnx_cannot_say_is_refused(fields: dict[str, Any], spikes: bool, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        export_onnx(drawn(**fields), spikes=spikes)


class _Lying:
    """A runtime whose actions are not the policy's."""

    def __init__(self, answer: Callable[[np.ndarray], np.ndarray]) -> None:
        self.answer = answer

    def InferenceSession(self, blob: bytes, providers: list[str]) -> Any:
        return self

    def run(self, outputs: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self.answer(given["observation"])]


@pytest.mark.parametrize("answer", [lambda x: x[:, :2] * 0.1, lambda x: x[:, :2] * np.nan], ids=["other", "nan"])
def test_a_model_that_acts_otherwise_is_not_written(
    answer: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime: not installed; pip install 'homeo-rl[onnx]'")
    monkeypatch.setattr(onnx_model, "require", lambda module, extra: _Lying(answer))
    with pytest.raises(Finding, match=r"100\.0% of 512 actions differ from the policy's"):
        onnx_model._compare(Decision(drawn()), b"", ["observation"])


# safetensors and zips


def reader() -> dict[str, Any]:
    """Return the functions of the page's reader, which stands there as a program of its own."""
    (program,) = [text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def act" in text]
    assert {line.split()[1] for line in program.splitlines() if line.startswith(("import", "from"))} == {
        "json", "torch", "safetensors",
    }  # fmt: skip
    found: dict[str, Any] = {}
    exec(compile(program, str(PAGE), "exec"), found)
    return found


READABLE = {name: POLICIES[name] for name in ("popsan", "san", "choice")} | {
    "san in [0, 1]": {
        "encoder": EncoderSpec(kind="bernoulli", signed=False, span=1.0), "readout": ReadoutSpec(kind="mean"),
        "squash": "identity",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_the_pages_reader_acts_as_the_policy(
    name: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, controller = make_run(), drawn(**READABLE[name])
    save_controller(run, controller)
    path = tmp_path / "policy.safetensors"
    call("export", run.path, "--to", "safetensors", "--out", path, capsys=capsys)
    functions = reader()
    spec, tensors = functions["load"](path)
    x = seen()
    noise = torch.rand((len(x), controller.spec.network.steps, controller.spec.network.widths[0]))
    torch.testing.assert_close(functions["act"](spec, tensors, x, noise), controller(x, noise=noise)[0])


def test_the_pages_reader_needs_nothing_of_ours(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    path = tmp_path / "policy.safetensors"
    main(["export", str(run.path), "--to", "safetensors", "--out", str(path)])
    (program,) = [text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def act" in text]
    program += f"\nspec, p = load({str(path)!r})\nprint(act(spec, p, torch.ones(1, 3)).tolist())"
    program += "\nimport sys\nassert not [name for name in sys.modules if name.startswith('homeo_rl')]"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), load_controller(run)(torch.ones(1, 3))[0].numpy(), rtol=1e-5)


@pytest.mark.usefixtures("unlogged")
def test_the_pages_other_programs_run(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime: not installed; pip install 'homeo-rl[onnx]'")
    nir_readers.import_reader("spikingjelly")
    programs = [
        text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def act" not in text
    ]
    assert len(programs) == 2
    (tmp_path / "policy.onnx").write_bytes(export_onnx(drawn(steps=2)).blob)
    controller = drawn(inputs=12, encoder=EncoderSpec(kind="bernoulli"))
    (tmp_path / "policy.nir").write_bytes(export_nir(controller, *resolve_dialect("spikingjelly")).blob)
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("algo", "agent", "env_id", "hyperparams"),
    [
        (
            "ppo",
            "popsan",
            POINT,
            {"n_steps": 32, "n_envs": 2, "learning_rate": "lin_1e-3", "agent_kwargs": {"hidden": [12, 10]}},
        ),
        ("sac", "popsan", POINT, {"agent_kwargs": {"hidden": [12, 10]}, "net_arch": [16]}),
        ("td3", "mlp", POINT, {"agent_kwargs": {"hidden": [12]}, "noise_std": 0.1}),
        ("", "popsan", POINT, {}),
        ("", "choice", "toy_envs:Choice-v0", {}),
    ],
)
def test_a_zip_acts_in_stable_baselines_as_the_policy(
    algo: str, agent: str, env_id: str, hyperparams: dict[str, Any], make_run: Callable[..., Run], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import stable_baselines3

    preset = "popsan" if agent == "choice" else agent
    overrides = hyperparams.get("agent_kwargs", {})
    run = make_run(env_id, preset, name="small", overrides={"hidden": [12, 10], **overrides})
    if algo:
        spec = {**run.spec.__dict__, "origin": "train", "algo": algo, "hyperparams": hyperparams, "steps": 77}
        run = Run(run.path, RunSpec(**spec))
        run.write_spec()
    path = tmp_path / "policy.zip"
    out, _ = call("export", run.path, "--to", "sb3-zip", "--out", path, capsys=capsys)
    name = re.search(r"stable_baselines3\.(\w+)\.load", out)
    assert name is not None
    assert not algo or name[1] == algo.upper()
    model = getattr(stable_baselines3, name[1]).load(path, device="cpu")
    assert model.num_timesteps == (77 if algo else 0)
    x = seen(50)
    got, _ = model.predict(x.numpy(), deterministic=True)
    np.testing.assert_allclose(got, load_controller(run)(x)[0].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "told"),
    [(POLICIES["classes"], "has classes for its actions"), ({"squash": "none"}, "no policy of ppo, td3, sac acts as")],
)
def test_policies_that_stable_baselines_lacks_are_refused(
    fields: dict[str, Any], told: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    save_controller(run, drawn(**fields))
    _, err = call("export", run.path, "--to", "sb3-zip", "--out", tmp_path / "a.zip", code=2, capsys=capsys)
    assert told in err
    assert not (tmp_path / "a.zip").exists()


# The command


def test_export_and_import_a_run(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    best = drawn(seed=9)
    save_controller(run, best, which="best")
    path = tmp_path / "new folder" / "policy.nir"
    words = ["export", run.path, "--to", "nir", "--flavour", "norse", "--best", "--json", "--out", path]
    out, _ = call(*words, capsys=capsys)
    told = json.loads(out.splitlines()[-1])
    assert told["bytes"] == path.stat().st_size
    assert "norse.torch.from_nir" in told["notes"][0]
    assert told["told"] == told["notes"]
    call(*words, capsys=capsys)  # replaces its own file
    assert [other.name for other in path.parent.iterdir()] == ["policy.nir"]
    back = tmp_path / "back"
    out, _ = call("import", "nir", path, "--env", POINT, "--out", back, "--json", capsys=capsys)
    assert json.loads(out.splitlines()[-1])["run"] == str(back)
    made = Run.open(back)
    assert (made.spec.origin, made.spec.agent, made.spec.source) == ("import", "nir", "policy.nir")
    assert torch.equal(load_controller(made)(seen())[0], best(seen())[0])
    _, err = call("import", "nir", path, "--env", "Pendulum-v1", "--out", tmp_path / "c", code=2, capsys=capsys)
    assert "a policy for bounds (-1.0, -1.0) to (1.0, 1.0)" in err
    _, err = call("import", "nir", path, "--env", "CartPole-v1", "--out", tmp_path / "c", code=2, capsys=capsys)
    assert "a policy for observations of 3 entries" in err
    words = ["import", "nir", path, "--env", POINT, "--out", tmp_path / "d", "--reading", "steps:3"]
    _, err = call(*words, code=2, capsys=capsys)
    assert "says itself how it is to be read" in err
    words = ["import", "san", path, "--env", POINT, "--out", tmp_path / "d", "--reading", "steps:3"]
    _, err = call(*words, code=2, capsys=capsys)
    assert "--nir-options: expected a graph" in err


def test_export_of_compiled_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "hold"
    call("compile", "count(prox, 2, window=3) -> hold(4)", "--inputs", "prox", "--out", run, capsys=capsys)
    path = tmp_path / "hold.nir"
    out, _ = call("export", run, "--to", "nir", "--out", path, capsys=capsys)
    assert "input line 0 is a clock, 1 at every step; then prox" in out
    _, err = call("import", "nir", path, "--env", POINT, "--out", tmp_path / "c", code=2, capsys=capsys)
    assert "found a compiled network" in err
    _, err = call("export", run, "--to", "onnx", "--out", path, code=2, capsys=capsys)
    assert "is exported with --to nir" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--to", "onx"],
            "unknown --to 'onx'; expected one of c, nir, onnx, safetensors, sb3-zip; did you mean 'onnx'?",
        ),
        (["--to", "onnx", "--flavour", "norse"], "expected --to nir, got --to onnx"),
        (["--to", "nir", "--spikes"], "--spikes: expected --to onnx"),
        (["--to", "nir", "--flavour", "snntorh"], "did you mean 'snntorch'?"),
        (["--to", "nir", "--best"], "this run has no such policy"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    words: list[str], told: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    _, err = call("export", run.path, "--out", tmp_path / "x", *words, code=2, capsys=capsys)
    assert told in err
    _, err = call("export", run.path, "--out", tmp_path, *words[:2], code=2, capsys=capsys)
    assert "unknown --to" in err or "found a folder" in err


@pytest.mark.parametrize(("module", "to"), [("nir", "nir"), ("onnxscript", "onnx")])
def test_an_absent_package_is_named_with_its_command(
    module: str, to: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = make_run()
    monkeypatch.setitem(sys.modules, module, None)
    _, err = call("export", run.path, "--to", to, "--out", tmp_path / "x", code=2, capsys=capsys)
    assert f"{module}: not installed ({module} is missing); run: pip install 'homeo-rl[{to}]'" in err
