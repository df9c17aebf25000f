"""Policies of other tools: functions, ONNX graphs and safetensors files act as they do at home, or are refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import own_policies
import pytest
import safetensors.numpy
import torch
from cli_calls import call, last

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.external import ExternalNetwork
from homeo_rl.agents.import_external import import_function, import_onnx
from homeo_rl.agents.onnx_graph import OnnxPolicy
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.safetensors_mlp import import_safetensors
from homeo_rl.agents.session import Session
from homeo_rl.degradations import DEGRADATIONS, NetworkDegradation
from homeo_rl.envs.make import make_env
from homeo_rl.errors import HomeoError, NumericalFault, UsageError
from homeo_rl.exchange.onnx_model import export_onnx
from homeo_rl.exchange.safetensors_policy import export_safetensors
from homeo_rl.run import Run
from homeo_rl.snn.state import Weights
from homeo_rl.spec import ControllerSpec, ExternalSpec, NetworkSpec, dump, parse
from homeo_rl.workflows.hosts import HostRequest, make_host

POINT = "toy_envs:Point-v0"


def seen(count: int, size: int = 3) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, size)).astype(np.float32)


def function(name: str, env: str = POINT) -> Controller:
    return import_function(Path(f"own_policies:{name}"), make_env(env))


def layers_of(widths: tuple[int, ...] = (3, 12, 10, 2)) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        ((rng.normal(size=(o, i)) / i**0.5).astype(np.float32), rng.normal(size=o).astype(np.float32) * 0.1)
        for i, o in pairwise(widths)
    ]


def mlp(layers: list[tuple[np.ndarray, np.ndarray]], activation: Any = "tanh") -> Controller:
    """Return the reference: the same layers as a network of this package."""
    env = make_env(POINT)
    spec = controller_spec("mlp", env.observation_space, env.action_space)
    network = NetworkSpec(inputs=3, outputs=2, body="mlp", hidden=(12, 10), activation=activation)
    controller = Controller(
        ControllerSpec(network=network, squash="none", low=spec.low, high=spec.high, normalise=False)
    )
    state = {f"network.layers.{k}.weight": torch.tensor(weight) for k, (weight, _) in enumerate(layers)}
    state |= {f"network.layers.{k}.bias": torch.tensor(bias) for k, (_, bias) in enumerate(layers)}
    controller.load_state_dict({**controller.state_dict(), **state})
    return controller.eval().requires_grad_(False)


def test_specifications_of_other_networks_are_as_before() -> None:
    network = NetworkSpec(inputs=3, outputs=2)
    assert "external" not in dump(network)
    external = ExternalSpec(kind="function", name="a:b", sha256="0")
    spec = NetworkSpec(inputs=3, outputs=2, hidden=(), body="external", external=external)
    assert parse(NetworkSpec, dump(spec), where="test") == spec
    with pytest.raises(ValueError, match="network external"):
        NetworkSpec(inputs=3, outputs=2, body="external")


def test_a_function_acts_as_it_does_alone() -> None:
    x = seen(7)
    action, _ = function("home")(torch.as_tensor(x))
    np.testing.assert_array_equal(action.numpy(), own_policies.home(x))
    clipped, _ = function("listed")(torch.as_tensor(x))
    np.testing.assert_array_equal(clipped.numpy(), np.tile([1.0, -1.0], (7, 1)).astype(np.float32))
    chosen, _ = function("choose", "toy_envs:Choice-v0")(torch.as_tensor(x))
    np.testing.assert_array_equal(chosen.numpy(), own_policies.choose(x))


def test_a_state_lives_for_an_episode_and_in_its_slot() -> None:
    """Two slots, of which one starts again and one is left: each acts as an episode alone."""
    controller, x = function("smooth"), seen(8)
    session = Session(controller, 2)
    for slot in (0, 1):
        session.begin(slot, np.random.default_rng(slot))
    for step in range(3):
        both = session.act(np.stack([x[step], x[0]]))
    np.testing.assert_allclose(both[0], np.clip(-x[:3, :2].mean(0), -1, 1), rtol=1e-6)
    session.begin(0, np.random.default_rng(3))
    both = session.act(np.stack([x[5], x[0]]))
    np.testing.assert_allclose(both, np.clip(-np.stack([x[5, :2], x[0, :2]]), -1, 1), rtol=1e-6)
    session.select([1])
    np.testing.assert_allclose(session.act(x[:1])[0], np.clip(-x[0, :2], -1, 1), rtol=1e-6)


def test_a_policy_draws_from_its_episode() -> None:
    session = Session(function("Noisy"), 2)
    for slot in (0, 1):
        session.begin(slot, np.random.default_rng(slot + 4))
    for _ in range(2):
        drawn = session.act(seen(2))
    for slot in (0, 1):
        alone = np.random.default_rng(slot + 4).uniform(-1, 1, (2, 2))[1]
        np.testing.assert_array_equal(drawn[slot], alone.astype(np.float32))


def test_a_cloned_state_is_independent() -> None:
    controller, x = function("smooth"), torch.as_tensor(seen(2))
    _, state = controller(x)
    copy = state.clone()
    first, state = controller(x + 1.0, state)
    second, _ = controller(x + 1.0, copy)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
def test_a_graph_acts_as_its_network(gemm: bool, activation: str, tmp_path: Path) -> None:
    path = onnx_models.write_mlp(tmp_path / "mlp.onnx", layers_of(), activation=activation, gemm=gemm)
    controller, x = import_onnx(path, make_env(POINT)), torch.as_tensor(seen(40))
    expected = mlp(layers_of(), activation.lower())(x)[0]
    torch.testing.assert_close(controller(x)[0], expected, rtol=0, atol=2e-6)
    rows = torch.cat([controller(row[None])[0] for row in x])
    assert torch.equal(rows, controller(x)[0]), "an episode does not depend on those beside it"
    assert controller.network.operations(()).products.item() == 3 * 12 + 12 * 10 + 10 * 2


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize(
    "kind", sorted(name for name, each in DEGRADATIONS.items() if issubclass(each, NetworkDegradation))
)
def test_damage_of_a_graph_is_that_of_its_network(kind: str, gemm: bool, tmp_path: Path) -> None:
    path = onnx_models.write_mlp(tmp_path / "mlp.onnx", layers_of(), activation="Relu", gemm=gemm)
    ours, theirs = mlp(layers_of(), "relu"), import_onnx(path, make_env(POINT))
    # A hundredth of the few weights of this network is none.
    degradation = DEGRADATIONS[kind](**({"fraction": 0.2} if kind == "weights-bitflips" else {}))
    assert isinstance(degradation, NetworkDegradation)

    def damaged(controller: Controller) -> np.ndarray:
        session = Session(controller, 3)
        for slot in range(3):
            session.begin(slot, np.random.default_rng(slot))
        for slot in (0, 2):  # slot 1 stays whole
            rng = np.random.default_rng(slot)
            weights: Weights = degradation.damage(session.trained, 1.0, rng)
            session.set_weights(slot, degradation.advance(weights, 1.0, rng))
        return session.act(np.tile(seen(1), (3, 1)))

    expected, result = damaged(ours), damaged(theirs)
    np.testing.assert_allclose(result, expected, rtol=0, atol=3e-6)
    assert not np.array_equal(result[0], result[1])


def test_a_graph_with_a_state_acts_as_the_policy_that_it_was_exported_from(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    """Membranes that outlive a decision go in and out, and an episode starts without them."""
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    source = load_controller(make_run(overrides={"membrane": "episode"}))
    path = tmp_path / "spiking.onnx"
    path.write_bytes(export_onnx(source).blob)
    sessions = [Session(controller, 2) for controller in (source, import_onnx(path, make_env(POINT)))]
    x = seen(12).reshape(6, 2, 3)
    for step in range(6):
        if step in (0, 4):
            for session in sessions:
                for slot in (0, 1) if step == 0 else (1,):
                    session.begin(slot, np.random.default_rng(0))
        first, second = (session.act(x[step]) for session in sessions)
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-4)
    other = sessions[0].act(x[0])
    assert np.abs(other - x[0, 0, 0]).max() > 0  # it is no constant


def test_positions_pair_states_without_names(tmp_path: Path) -> None:
    """As rsl-rl exports recurrent policies: obs, h_in -> actions, h_out, of [layers, N, hidden]."""
    node = onnx_models.onnx.helper.make_node
    nodes = [
        node("Add", ["h_in", "one"], ["h_out"]),
        node("Squeeze", ["h_out", "zero"], ["flat"]),
        node("Identity", ["flat"], ["actions"]),
        node("Identity", ["obs"], ["unused"]),
    ]
    arrays = {"one": np.full((1, 1, 2), 0.25, np.float32), "zero": np.array([0])}
    path = onnx_models.write(
        tmp_path / "gru.onnx", nodes, arrays,
        [onnx_models.value("obs", [1, 3]), onnx_models.value("h_in", [1, 1, 2])],
        [onnx_models.value("actions", [1, 2]), onnx_models.value("h_out", [1, 1, 2])],
    )  # fmt: skip
    session = Session(import_onnx(path, make_env(POINT)), 1)
    session.begin(0, np.random.default_rng(0))
    assert [float(session.act(seen(1))[0, 0]) for _ in range(3)] == [0.25, 0.5, 0.75]


def test_neurons_are_known_in_a_chain_alone(tmp_path: Path) -> None:
    env = make_env(POINT)
    chain = import_onnx(onnx_models.write_mlp(tmp_path / "chain.onnx", layers_of()), env).network
    assert isinstance(chain, OnnxPolicy)
    assert chain.has_neurons
    node = onnx_models.onnx.helper.make_node
    (w0, b0), (w1, b1) = layers_of((3, 2, 2))
    nodes = [
        node("Gemm", ["observation", "w0", "b0"], ["y"], transB=1),
        node("Gemm", ["y", "w1", "b1"], ["z"], transB=1),
        node("Add", ["y", "z"], ["action"]),  # past the second layer
    ]
    ends = [onnx_models.value("observation", ["N", 3])], [onnx_models.value("action", ["N", 2])]
    path = onnx_models.write(tmp_path / "skip.onnx", nodes, {"w0": w0, "b0": b0, "w1": w1, "b1": b1}, *ends)
    skip = import_onnx(path, env).network
    assert isinstance(skip, OnnxPolicy)
    assert len(skip.parameters_of_layers()) == 2
    assert not skip.has_neurons


def test_an_export_comes_back_as_the_same_policy(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    controller, path = load_controller(run), tmp_path / "policy.safetensors"
    path.write_bytes(export_safetensors(controller, run.spec).blob)
    back, x = import_safetensors(path, make_env(POINT)), torch.as_tensor(seen(20))
    assert back.spec == controller.spec
    assert torch.equal(back(x)[0], controller(x)[0])


def contract(**changes: Any) -> dict[str, Any]:
    observed = [{"mean": 0.5, "deviation": 2.0}, {"mean": 0.0, "deviation": 1.0}, {"mean": -1.0, "deviation": 0.5}]
    return {
        "format": "homeo-rl c 1",
        "observation": {"size": 3, "clip": 5.0, "entries": observed},
        "action": {"size": 2, "kind": "continuous", "squash": "tanh", "entries": [{"low": -0.5, "high": 1.0}] * 2},
        "network": {"activation": "relu"},
        **changes,
    }


def write_safetensors(path: Path, layers: list[tuple[np.ndarray, np.ndarray]], document: Any) -> Path:
    tensors = {f"actor.{2 * k}.weight": weight for k, (weight, _) in enumerate(layers)}
    tensors |= {f"actor.{2 * k}.bias": bias for k, (_, bias) in enumerate(layers)}
    path.write_bytes(safetensors.numpy.save(tensors, {"from": "elsewhere"}))
    if document is not None:
        path.with_name("contract.json").write_text(json.dumps(document))
    return path


def test_an_mlp_acts_as_its_contract_says(tmp_path: Path) -> None:
    layers, x = layers_of(), seen(30) * 4
    path = write_safetensors(tmp_path / "policy.safetensors", layers, contract())
    controller = import_safetensors(path, make_env(POINT))
    y = np.clip((x - [0.5, 0.0, -1.0]) / [2.0, 1.0, 0.5], -5, 5)
    for index, (weight, bias) in enumerate(layers):
        y = y @ weight.T.astype(np.float64) + bias
        y = np.maximum(y, 0.0) if index < 2 else y
    np.testing.assert_allclose(controller(torch.as_tensor(x))[0].numpy(), 0.25 + 0.75 * np.tanh(y), atol=2e-6)


def test_layers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    layers = [layers_of((3, 5))[0], *[layers_of((5, 5))[0]] * 5, layers_of((5, 2))[0]]
    path = write_safetensors(tmp_path / "policy.safetensors", layers, contract())  # actor.2 before actor.10
    assert import_safetensors(path, make_env(POINT)).spec.network.hidden == (5,) * 6


BAD_FUNCTIONS = {
    "own_policies:wide": (2, r"expected actions of shape \[N, 2\], got shape \[1, 3\]"),
    "own_policies:flat": (2, r"expected actions of shape \[N, 2\], got shape \[2\]"),
    "own_policies:words": (2, "expected an array of numbers, got list"),
    "own_policies:nothing": (2, "expected an array of numbers, got NoneType"),
    "own_policies:nan": (4, "expected finite actions"),
    "own_policies:nan_later": (4, "expected finite actions"),
    "own_policies:wrong_later": (2, r"got shape \[1, 5\]"),
    "own_policies:fails": (2, r"failed with ValueError: no idea \(.*own_policies.py, line \d+\)"),
    "own_policies:leaves": (2, "failed with SystemExit: 7"),
    "own_policies:alone": (2, r"takes a state: expected \(actions, state\)"),
    "own_policies:NUMBER": (2, "expected a function or a class, got int"),
    "own_policies:absent": (2, "has no 'absent'"),
    "absent_module:policy": (2, "module 'absent_module' cannot be imported"),
}


def refuse(host: str, code: int, message: str, capsys: pytest.CaptureFixture[str], *more: str) -> None:
    """Evaluate a host, which has to end with one line and leave no file."""
    before = sorted(Path.cwd().rglob("*"))
    _, err = call(
        "evaluate", host, "--env", POINT, "--episodes", 2, "--workers", 1, "-q", *more, code=code, capsys=capsys
    )
    assert err.startswith("homeo-rl: ")
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize("host", BAD_FUNCTIONS)
def test_a_wrong_function_is_refused_in_one_line(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse(host, *BAD_FUNCTIONS[host], capsys)


def bad_files(folder: Path) -> dict[str, tuple[int, str]]:
    """Write files that are refused; return the code and the message of each."""
    layers = layers_of()
    (folder / "noise.onnx").write_bytes(b"\x07" * 300)
    (folder / "noise.zip").write_bytes(b"PK\x03\x04" + bytes(80))
    (folder / "noise.safetensors").write_bytes(bytes(200))
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "folder.onnx").mkdir()
    onnx_models.write_mlp(folder / "wide.onnx", layers_of((4, 12, 2)))
    onnx_models.write_mlp(folder / "many.onnx", layers_of((3, 12, 5)))
    last_layer = layers[2][0], np.full(2, np.nan, np.float32)
    onnx_models.write_mlp(folder / "nan.onnx", [*layers[:2], last_layer])
    onnx, node = onnx_models.onnx, onnx_models.onnx.helper.make_node
    ends = [onnx_models.value("observation", ["N", 3])], [onnx_models.value("action", ["N", 2])]
    onnx_models.write(folder / "unknown.onnx", [node("Dream", ["observation"], ["action"])], {}, *ends)
    both = [*ends[0], onnx_models.value("goal", ["N", 3])]
    onnx_models.write(folder / "goal.onnx", [node("Add", ["observation", "goal"], ["action"])], {}, both, ends[1])
    model = onnx.load(str(onnx_models.write_mlp(folder / "outside.onnx", layers)))
    onnx.save(model, str(folder / "outside.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    for name, document in {
        "a": None, "b": contract(observation={"size": 4}), "c": contract(network={}),
        "d": contract(network={"activation": "elu"}),
        "e": contract(network={"activation": "relu", "layers": ["critic.0"]}), "f": "no object",
    }.items():  # fmt: skip
        (folder / name).mkdir()
        write_safetensors(folder / name / "p.safetensors", layers, document)
    (folder / "g").mkdir()
    write_safetensors(folder / "g" / "p.safetensors", [*layers[:2], last_layer], contract())
    (folder / "h").mkdir()
    write_safetensors(
        folder / "h" / "p.safetensors", layers_of((4, 2)), contract(observation={"size": 4}, action={"size": 2})
    )
    return {
        "noise.onnx": (2, "not a readable ONNX graph|onnxruntime refuses|expected an observation"),
        "noise.zip": (2, "zip"),
        "noise.safetensors": (2, "expected a safetensors file"),
        "empty.onnx": (2, "expected|onnxruntime"),
        "folder.onnx": (2, "expected a regular file"),
        "absent.onnx": (2, "expected a file, found none"),
        "wide.onnx": (2, r"expected observations of shape \[N, 3\].*of \['N', 4\]; check --env"),
        "many.onnx": (2, r"expected actions of shape \[N, 2\], got shape \[1, 5\]"),
        "nan.onnx": (4, "expected finite actions"),
        "unknown.onnx": (2, "onnxruntime refuses it"),
        "goal.onnx": (2, "expected an output for every state"),
        "outside.onnx": (2, "expected one file, but its weights lie in others"),
        "a/p.safetensors": (2, "p.contract.json beside it"),
        "b/p.safetensors": (2, "expected layers from 4 observations to 2 actions"),
        "c/p.safetensors": (2, "contract.json: network.activation"),
        "d/p.safetensors": (2, "contract.json: network.activation"),
        "e/p.safetensors": (2, r"expected critic.0.weight \[N_out, N_in\]"),
        "f/p.safetensors": (2, "contract.json"),
        "g/p.safetensors": (2, "reaches nan"),
        "h/p.safetensors": (2, "expected 3 observations and 2 numbers"),
    }


def test_wrong_files_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for host, (code, message) in bad_files(tmp_path).items():
        refuse(host, code, message, capsys)


def test_arms_and_options_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx_models.write_mlp(tmp_path / "mlp.onnx", layers_of())
    for host, what in (("own_policies:home", "a function"), ("mlp.onnx", "an ONNX graph")):
        refuse(
            host,
            2,
            f"arm 'dwam' needs spiking neurons, this run's policy is {what}",
            capsys,
            "--homeostasis",
            "none,dwam",
        )
        refuse(host, 2, "its architecture is known", capsys, "--agent", "mlp")
        refuse(host, 2, "has no such policy", capsys, "--best")
    _, err = call("evaluate", "own_policies:home", code=2, capsys=capsys)
    assert "expected --env" in err


def test_a_run_of_a_function_notices_that_its_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "changing_policy.py"
    source.write_text("def act(x):\n    return 0.1 * x[:, :2]\n")
    run, is_new = make_host("changing_policy:act", tmp_path / "run", HostRequest(env=POINT))
    assert is_new
    digest = hashlib.sha256(source.read_bytes() + b"\0changing_policy:act").hexdigest()
    assert run.spec.digest == digest
    load_controller(run)(torch.zeros(1, 3))
    source.write_text("def act(x):\n    return 0.2 * x[:, :2]\n")
    with pytest.raises(UsageError, match="it was changed since"):
        load_controller(run)(torch.zeros(1, 3))


def test_a_graph_is_stored_in_the_run_by_its_digest(tmp_path: Path) -> None:
    path = onnx_models.write_mlp(tmp_path / "mlp.onnx", layers_of())
    run, _ = make_host(str(path), tmp_path / "run", HostRequest(env=POINT))
    assert run.spec.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    x = torch.as_tensor(seen(4))
    expected = import_onnx(path, make_env(POINT))(x)[0]
    again, is_new = make_host(str(path), tmp_path / "run", HostRequest(env=POINT))
    assert not is_new
    path.unlink()
    assert torch.equal(load_controller(again)(x)[0], expected)
    other = onnx_models.write_mlp(tmp_path / "mlp.onnx", layers_of((3, 4, 2)))
    with pytest.raises(UsageError, match="found another policy, environment or options"):
        make_host(str(other), tmp_path / "run", HostRequest(env=POINT))


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_models.write_mlp(tmp_path / "mlp.onnx", layers_of())
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'homeo-rl\[onnx\]'"):
        import_onnx(path, make_env(POINT))


def test_policies_of_other_tools_are_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    call("import", "function", "own_policies:home", "--env", POINT, "--out", "run", capsys=capsys)
    for target in ("nir", "onnx", "safetensors", "sb3-zip", "c"):
        _, err = call("export", "run", "--to", target, "--out", "x.file", code=2, capsys=capsys)
        assert "expected a network of this package, got a function" in err
    _, err = call("convert", "run", "--out", "converted", code=2, capsys=capsys)
    assert "expected a policy with QCFS activations, got a function" in err
    out, _ = call("inspect", "run", "--json", capsys=capsys)
    assert last(out)["policy"]["body"] == "external"


def test_a_zip_a_graph_and_their_damage_agree_in_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A graph of a run's MLP: the same conditions, and returns that rounding alone tells apart."""
    monkeypatch.chdir(tmp_path)
    path = write_safetensors(tmp_path / "mlp.safetensors", layers_of(), contract(
        observation={"size": 3}, action={"size": 2, "squash": "none"}, network={"activation": "tanh"}))  # fmt: skip
    onnx_models.write_mlp(tmp_path / "graph.onnx", layers_of())
    cells = []
    for host in (path.name, "graph.onnx"):
        words = ("evaluate", host, "--env", POINT, "--suite", "quick", "--episodes", 3, "--workers", 1, "--json")
        out, _ = call(*words, capsys=capsys)
        cells.append({cell["label"]: cell["mean"] for cell in last(out)["cells"]})
    assert cells[0].keys() == cells[1].keys()
    assert {"dead-neurons", "stuck-neurons", "weights-zero"} <= cells[0].keys()
    for label, mean in cells[0].items():
        assert cells[1][label] == pytest.approx(mean, rel=1e-5), label


def test_unknown_weights_are_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("homeo_rl.cli.console._hushed", False)  # by the -q of another test
    words = (
        "evaluate",
        "own_policies:smooth",
        "--env",
        POINT,
        "--episodes",
        2,
        "--workers",
        1,
        "--no-progress",
        "--json",
    )
    out, err = call(*words, capsys=capsys)
    assert {cell["label"] for cell in last(out)["cells"]} == {"clean", "obs-gaussian"}
    assert "skipped weights-zero: damages weights, and those of policy own_policies:smooth" in err
    scores = (tmp_path / "runs" / "own_policies.smooth" / "evaluations" / "quick_1" / "scores.csv").read_text()
    assert "nan" not in scores


def test_any_error_of_a_network_is_of_ours() -> None:
    controller = function("home")
    assert isinstance(controller.network, ExternalNetwork)
    for wrong in (torch.zeros(1, 4), torch.full((1, 3), torch.nan)):
        with pytest.raises(HomeoError):
            controller(wrong)
    with pytest.raises(NumericalFault):
        function("home")(torch.full((1, 3), torch.inf))
    torch.testing.assert_close(controller(torch.ones(1, 3, dtype=torch.int32))[0], torch.tensor([[-1.0, -1.0]]))
