"""`homeo-rl convert`: policies that act as before, certificates, fine-tuning, levels for a budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.onnx_mlp import mlp_of
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.cli import main
from homeo_rl.envs.make import make_env
from homeo_rl.run import Run


@pytest.fixture
def trained(make_run: Callable[..., Run]) -> Run:
    """A QCFS policy with random weights at which all levels occur."""
    return make_run("InvertedPendulum-v5", "qcfs", overrides={"hidden": [32, 24], "levels": [8, 4]})


def converted(run: Run, out: Path, *flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[Run, dict[str, Any]]:
    main(["convert", str(run.path), "--out", str(out), "--json", "--episodes", "0", "--no-progress", *flags])
    return Run.open(out), json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    ("flags", "steps"),
    [((), 19), (("--neuron", "gated"), 12), (("--form", "dyadic"), 19), (("--form", "stepwise"), 19)],
)
def test_policies_act_as_before(
    flags: tuple[str, ...], steps: int, trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 observations: the same actions, bit for bit in the form counts, and to rounding in the others."""
    run, told = converted(trained, tmp_path / "snn", *flags, capsys=capsys)
    assert told["steps"] == steps
    before, after = load_controller(trained), load_controller(run)
    x = torch.randn(10_000, 4)
    with torch.inference_mode():
        expected, _ = before(x)
        actions, state = after(x)
        alone = torch.cat([after(row.unsqueeze(0))[0] for row in x[:20]])
        alone_before = torch.cat([before(row.unsqueeze(0))[0] for row in x[:20]])
    if "--form" not in flags:
        assert torch.equal(actions, expected)
        assert torch.equal(alone, alone_before)
    else:
        close = (actions - expected).abs().amax(1) < 1e-4  # elsewhere a potential was within rounding of a threshold
        assert float(close.double().mean()) > 0.999
        if "dyadic" in flags:
            assert torch.equal(alone, actions[:20])
    rates = state.rates[1]
    assert torch.equal((rates * 8).round() / 8, rates.to((rates * 8).dtype))
    assert 0.05 < float(rates.mean()) < 0.95


@pytest.mark.parametrize("form", ["counts", "dyadic", "stepwise"])
def test_radix_policies_act_as_before(
    form: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seven steps for levels 15, 7; spikes are digits, and synaptic operations count them; other levels are refused."""
    source = make_run("InvertedPendulum-v5", "qcfs", overrides={"hidden": [32, 24], "levels": [15, 7]})
    run, told = converted(source, tmp_path / "snn", "--neuron", "radix", "--form", form, capsys=capsys)
    gated, _ = converted(source, tmp_path / "gated", "--neuron", "gated", "--form", form, capsys=capsys)
    assert (told["steps"], told["neuron"]) == (7, "radix")
    x = torch.randn(2_000, 4)
    with torch.inference_mode():
        expected = load_controller(source)(x)[0]
        policies = [load_controller(one) for one in (run, gated)]
        (actions, state), (_, unary) = (policy(x) for policy in policies)
        if form == "counts":
            assert torch.equal(actions, expected)
        assert float(((actions - expected).abs().amax(1) < 1e-4).double().mean()) > 0.999
        assert all(torch.equal(a, b) for a, b in zip(state.rates, unary.rates, strict=True)) or form == "stepwise"
        network = policies[0].network
        assert isinstance(network, PascalNetwork)
        digits = sum(
            sum(int(bit) for bit in f"{int(count):b}")
            for counts in network.counts(state.rates)
            for count in counts[:50].flatten()
        )
        assert int(network.operations(state.rates).spikes[:50].sum()) == digits
        assert digits < int(policies[1].network.operations(unary.rates).spikes[:50].sum())
    fixed = make_run("InvertedPendulum-v5", "qcfs", name="fixed", overrides={"hidden": [32, 24], "levels": [8, 4]})
    with pytest.raises(SystemExit):
        main(["convert", str(fixed.path), "--out", str(tmp_path / "none"), "--neuron", "radix"])
    assert "2^K - 1" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_converted_episodes_are_the_same(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Evaluated, with DWAM, damaged: like any other run; undamaged, the trained network's returns to the last bit."""
    run, _ = converted(trained, tmp_path / "snn", capsys=capsys)
    scores = {}
    for name, one, arms in (("before", trained, "none"), ("after", run, "none,dwam-paper")):
        main(["evaluate", str(one.path), "--suite", "quick", "--homeostasis", arms, "--episodes", "2", "--no-progress",
              "--json", "--workers", "1"])  # fmt: skip
        cells = json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]
        scores[name] = {(cell["arm"], cell["label"]): cell["mean"] for cell in cells}
    assert scores["after"]["none", "clean"] == scores["before"]["none", "clean"]
    assert len(scores["after"]) == 2 * len(scores["before"])


def test_rate_conversion_is_not_exact(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The control errs at every number of steps."""
    x = torch.randn(3000, 4)
    before = load_controller(trained)
    with torch.inference_mode():
        expected, _ = before(x)
        for steps in (4, 64):
            run, _ = converted(
                trained, tmp_path / f"rate{steps}", "--method", "rate", "--steps", str(steps), capsys=capsys
            )
            controller = load_controller(run)
            actions, state = controller(x)
            assert float(((actions - expected).abs() > 1e-3).double().mean()) > 0.05
            sent = controller.network.counts(state.rates)  # type: ignore[operator,union-attr]
            assert all(torch.equal(one / steps, rate) for one, rate in zip(sent, state.rates[1:-1], strict=True))
            assert max(float(one.max()) for one in sent) == steps, "spikes are counted over time steps, not levels"


def test_what_cannot_be_converted(
    make_run: Callable[..., Run], trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain policy and an unknown form are refused, and nothing is written."""
    for run, flags, word in (
        (make_run("InvertedPendulum-v5", "mlp", name="plain"), ("--finetune-steps", "0"), "--agent qcfs"),
        (make_run("InvertedPendulum-v5", "mlp", name="eight"), ("--levels", "8"), "2^K - 1"),
        (make_run("InvertedPendulum-v5", "san", name="spiking"), (), "--agent qcfs"),
        (trained, ("--form", "exact"), "--form"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["convert", str(run.path), "--out", str(tmp_path / "none"), *flags])
        assert left.value.code == 2
        assert word in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def test_the_certificate(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exact for counts; for the control it says how far apart both are; nothing is promised that was not measured."""
    rate, dyadic = ("--method", "rate", "--steps", "8"), ("--form", "dyadic")
    for out, flags in (("exact", ()), ("rate", rate), ("dyadic", dyadic)):
        run, told = converted(trained, tmp_path / out, "--episodes", "2", *flags, capsys=capsys)
        found = json.loads((run.path / "certificate.json").read_text())
        page = (run.path / "certificate.md").read_text()
        assert found["states"] == told["states"] > 0
        assert len(found["diverged_at"]) == 2
        assert [line["what"] for line in found["returns"]][2:] == [f"rate conversion, T = {n}" for n in (4, 16, 64)]
        assert found["multiply_accumulates"] == 4 * 32 + 32 * 24 + 24
        if out == "exact":
            assert found["exact"] is told["exact"] is True
            assert found["equal_actions"] == found["states"]
            assert (found["max_action_error"], found["flipped_counts"]) == (0.0, 0)
            assert found["returns"][0]["iqm"] == found["returns"][1]["iqm"]
            assert "the same to the last bit" in page
            assert found["latency_seconds"] == pytest.approx(0.019)
        elif out == "dyadic":
            assert found["equal_rounded"] == found["states"]
            assert "| equal to the network with rounded weights |" in page
        else:
            assert found["equal_rounded"] is None
            assert found["exact"] is False
            assert found["max_action_error"] > 0
            assert "not the same" in page


def test_a_relu_policy_is_fine_tuned_first(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behaviour cloning lowers the loss; the certificate says what is kept at 4, 8 and 16 steps."""
    plain = make_run("InvertedPendulum-v5", "mlp", overrides={"hidden": [32, 24]})
    flags = ("--finetune-steps", "300", "--levels", "15,7", "--episodes", "2")
    run, told = converted(plain, tmp_path / "snn", *flags, capsys=capsys)
    errors = json.loads((run.path / "finetuning.json").read_text())
    assert 0 < errors["first_error"] < 0.5
    assert errors["last_error"] > 0
    assert told["exact"] is True
    found = json.loads((run.path / "certificate.json").read_text())
    assert found["levels"] == [15, 7]
    by_steps = {entry["time_steps"]: entry for entry in found["kept"]}
    assert len(found["kept"]) == 4, "7 of --levels, and at most 4, 8 and 16"
    assert 4 in by_steps
    assert max(by_steps) <= 16
    assert [15, 7] in [entry["levels"] for entry in found["kept"]]
    assert told["kept"] == found["kept"]
    for entry in found["kept"]:
        before, after = entry["returns"]
        share, low, high = entry["share"]
        assert share == pytest.approx(after / before)
        assert low <= share <= high
        assert 0 <= entry["rms_error"] <= entry["largest_error"] <= 6
    assert "| 7 | 15, 7 |" in (run.path / "certificate.md").read_text()
    assert "22.4% of further episodes" in (run.path / "certificate.md").read_text()
    assert "the network before fine-tuning" in [line["what"] for line in found["returns"]]


def test_levels_for_a_budget(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """16 steps: the choice is within them and errs no more than the best uniform one; too small a budget is refused."""
    plain = make_run("InvertedPendulum-v5", "mlp", overrides={"hidden": [32, 24]})
    flags = ("--finetune-steps", "50", "--budget-steps", "16", "--neuron", "gated")
    run, told = converted(plain, tmp_path / "snn", *flags, capsys=capsys)
    assert told["steps"] <= 16
    eight = converted(plain, tmp_path / "eight", *flags[:2], capsys=capsys)[1]
    assert (eight["neuron"], eight["steps"] <= 8) == ("radix", True)
    chosen = json.loads((run.path / "finetuning.json").read_text())["levels"]
    assert chosen["error"] <= chosen["uniform_error"]
    assert run.spec.controller is not None
    assert tuple(chosen["levels"]) == run.spec.controller.network.levels_of_layers
    with pytest.raises(SystemExit):
        main(["convert", str(plain.path), "--out", str(tmp_path / "none"), *flags[:2], "--budget-steps", "1"])
    assert "at least 2" in capsys.readouterr().err


@pytest.mark.parametrize(("env", "steps"), [("InvertedPendulum-v5", 10_000), ("HalfCheetah-v5", 1_000)])
@pytest.mark.parametrize("form", ["counts", "dyadic"])
def test_a_chaotic_plant_sees_no_difference(
    env: str, steps: int, form: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step by step beside the network it is equal to, until ``steps``: observations and rewards to the last bit."""
    run, _ = converted(
        make_run(env, "qcfs", overrides={"hidden": [32, 24], "levels": [8, 4]}), tmp_path / "snn", "--form", form,
        capsys=capsys,
    )  # fmt: skip
    spiking = load_controller(run)
    equal = load_controller(Run.open(Path(run.spec.source)) if form == "counts" else run)
    if form == "dyadic":
        equal.network.at_once = True  # type: ignore[assignment,union-attr]
    both, over = [make_env(env), make_env(env)], True
    with torch.inference_mode():
        for step in range(steps):
            if over:
                seen = [one.reset(seed=step)[0] for one in both]
            actions = [
                policy(torch.as_tensor(x, dtype=torch.float32).unsqueeze(0))[0][0].numpy()
                for policy, x in zip((spiking, equal), seen, strict=True)
            ]
            told = [one.step(action) for one, action in zip(both, actions, strict=True)]
            seen = [one[0] for one in told]
            assert np.array_equal(*seen), f"apart at step {step}"
            assert told[0][1:4] == told[1][1:4]
            over = told[0][2] or told[0][3]


def test_the_policy_of_a_file_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A zip of Stable-Baselines3: its run stays in runs/, the converted one acts as the quantised network does."""
    from stable_baselines3 import TD3

    monkeypatch.chdir(tmp_path)
    TD3("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 16]}, buffer_size=10, seed=0).save("td3.zip")
    words = ["convert", "td3.zip", "--out", "snn", "--json", "--no-progress", "--levels", "3", "--episodes", "1"]
    for flags, message in (
        (["--finetune-steps", "20"], "expected --env"),
        (["--env", "Pendulum-v1", "--finetune-steps", "0"], "expected a policy with QCFS activations"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *flags])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.glob("runs/*")) + list(tmp_path.glob("snn*"))
    main([*words, "--env", "Pendulum-v1", "--finetune-steps", "20"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["exact"]
    assert result["equal_actions"] == result["states"] == 200
    assert Run.open(Path("runs/td3")).spec.source == "td3.zip"
    with pytest.raises(SystemExit):
        main(["convert", "snn", "--env", "Pendulum-v1", "--out", "other"])
    assert "--env: expected the file of a policy, got a run" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["", "Tanh", "Clip"])
def test_graphs_of_relu_layers_are_converted(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layers of an ONNX graph become an MLP that takes its actions, and that becomes spikes; others are refused."""
    onnx_models = pytest.importorskip("onnx_models")
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(1)
    layers = [
        (draws.normal(0, 0.8, (o, i)).astype(np.float32), draws.normal(0, 0.3, o).astype(np.float32))
        for i, o in ((3, 24), (24, 16), (16, 1))
    ]
    onnx_models.write_mlp(Path("policy.onnx"), layers, activation="Relu", end=end)
    onnx_models.write_mlp(Path("other.onnx"), layers, activation="Tanh")
    words = ["--env", "Pendulum-v1", "--no-progress", "--finetune-steps", "400", "--episodes", "2"]
    main(["convert", "policy.onnx", "--out", "snn", "--json", *words])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["exact"]
    assert (result["neuron"], result["steps"] <= 8) == ("radix", True)
    assert result["kept"][-1]["rms_error"] < 0.2
    graph = load_controller(Run.open("runs/policy"))
    x = torch.randn(50, 3) * torch.tensor([1.0, 1.0, 4.0])
    torch.testing.assert_close(mlp_of(graph)(x)[0], graph(x)[0], rtol=0, atol=2e-4)
    with pytest.raises(SystemExit) as left:
        main(["convert", "other.onnx", "--out", "none", *words])
    assert left.value.code == 2
    assert "expected a graph of linear layers with ReLU between them" in capsys.readouterr().err
    assert not Path("none").exists()
