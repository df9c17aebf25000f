"""Losses over time, outputs at every step, classes of actions, students that are taught and cut short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import ENCODERS, NEURONS, READOUTS, network
from torch.nn.functional import log_softmax, mse_loss

from homeo_rl.agents.controller import Bins, Controller, load_controller
from homeo_rl.cli import main
from homeo_rl.errors import UsageError
from homeo_rl.run import Run
from homeo_rl.snn import kernels
from homeo_rl.snn.losses import LOSSES, lts, regression, sdt, tet, tet_s
from homeo_rl.spec import ControllerSpec, EncoderSpec, NetworkSpec, NeuronSpec, ReadoutSpec, parse


def test_losses_by_hand() -> None:
    """Against their definitions, with labels and with a teacher's probabilities."""
    torch.manual_seed(0)
    o = torch.randn(3, 5, 4, dtype=torch.float64)
    labels = torch.randint(4, (5,))
    soft = torch.softmax(torch.randn(5, 4, dtype=torch.float64), -1)
    for y in (labels, soft):
        p = torch.nn.functional.one_hot(labels, 4).double() if y is labels else soft

        def ce(logits: torch.Tensor, p: torch.Tensor = p) -> torch.Tensor:
            return -(p * log_softmax(logits, -1)).sum(-1).mean()

        def smooth(logits: torch.Tensor, p: torch.Tensor = p) -> torch.Tensor:
            return -((0.99 * p + 0.01 / 4) * log_softmax(logits, -1)).sum(-1).mean()

        each = sum(ce(o[t]) for t in range(3)) / 3
        torch.testing.assert_close(sdt(o, y), ce(o.sum(0) / 3))
        torch.testing.assert_close(tet(o, y), each)
        torch.testing.assert_close(tet(o, y, weight=0.05), 0.95 * each + 0.05 * ((o - 1) ** 2).mean())
        torch.testing.assert_close(tet_s(o, y), sum(smooth(o[t]) for t in range(3)) / 3)
        torch.testing.assert_close(lts(o, y), ce(o[2]))
    target = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(regression("sdt")(o, target), mse_loss(o.mean(0), target))
    torch.testing.assert_close(regression("lts")(o, target), mse_loss(o[-1], target))
    torch.testing.assert_close(regression("tet")(o, target), ((o - target) ** 2).mean())
    with pytest.raises(UsageError, match="take tet"):
        regression("tet-s")
    with pytest.raises(UsageError, match="loss"):
        regression("mse")
    assert set(LOSSES) == {"sdt", "tet", "tet-s", "lts"}


@pytest.mark.parametrize("kernel", ["reference", "numba"])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_outputs_at_every_step(encoder: str, readout: str, kernel: str) -> None:
    """Their mean, or the last, is the network's output; cut at t, a network says what its steps up to t say."""
    net = network(
        encoder=EncoderSpec(kind=encoder, size=6), readout=ReadoutSpec(kind=readout, size=4),  # type: ignore[arg-type]
        neuron=NeuronSpec(**NEURONS[3], surrogate="arctan"), initial="neuron",
    )  # fmt: skip
    x = torch.randn(7, 3, dtype=torch.float64)
    noise = torch.rand(7, 5, net.spec.widths[0], dtype=torch.float64) if net.encoder.stochastic else None
    with kernels.use(kernel):
        each = net.stepwise(x, noise=noise)
        assert each.shape == (5, 7, 2)
        for steps in (1, 3, 5):
            spec = NetworkSpec(**{**vars(net.spec), "steps": steps})
            cut = type(net)(spec).double()
            cut.load_state_dict(net.state_dict())
            y, _ = cut(x, noise=None if noise is None else noise[:, :steps])
            said = each[steps - 1] if readout in ("last", "membrane") else each[:steps].mean(0)
            torch.testing.assert_close(y, said, rtol=1e-9, atol=1e-9)
        assert torch.autograd.grad(each.square().sum(), net.layers[0].weight)[0].abs().max() > 0  # type: ignore[arg-type]


@pytest.mark.parametrize("spacing", ["uniform", "cubic"])
def test_classes_of_actions(spacing: str) -> None:
    """The two nearest classes share an action; the largest output chooses; bounds scale it."""
    fields = {"network": {"inputs": 3, "outputs": 2 * 7}, "low": [-2.0, 0.0], "high": [2.0, 1.0], "bins": 7,
              "spacing": spacing}  # fmt: skip
    controller = Controller(parse(ControllerSpec, fields, where="test"))
    bins = controller.bins
    assert isinstance(bins, Bins)
    assert bins.values.tolist() == sorted(bins.values.tolist())
    assert (float(bins.values[0]), float(bins.values[3]), float(bins.values[6])) == (-1.0, 0.0, 1.0)
    unit = torch.tensor([[-1.0, 1.0], [0.2, -0.7], [0.0, 3.0]])
    p = bins.probabilities(unit)
    assert p.shape == (3, 2, 7)
    torch.testing.assert_close(p.sum(-1), torch.ones(3, 2))
    assert int((p > 0).sum(-1).max()) <= 2
    torch.testing.assert_close((p * bins.values).sum(-1), unit.clamp(-1, 1))
    chosen = torch.full((1, 14), -1.0)
    chosen[0, 6], chosen[0, 7] = 1.0, 1.0
    assert controller.act(chosen).tolist() == [[2.0, 0.0]]
    torch.testing.assert_close(controller.squasher.unscale(controller.act(chosen)), torch.tensor([[1.0, -1.0]]))
    for wrong, word in (
        ({"bins": 1}, "bins"),
        ({"bins": 6}, "multiple of 6"),
        ({"low": [0.0], "high": [1.0]}, "action bounds"),
        ({"low": [], "high": []}, "discrete"),
    ):
        with pytest.raises(UsageError, match=word):
            parse(ControllerSpec, {**fields, **wrong}, where="test")


def distilled(teacher: Run, out: Path, *flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[Run, dict[str, Any]]:
    main(["distill", str(teacher.path), "--out", str(out), "--no-progress", "--json", *flags])
    return Run.open(out), json.loads(capsys.readouterr().out.splitlines()[-1])


SHORT = ("--rounds", "2", "--samples", "300", "--steps", "400", "--student-kwargs", "hidden:[64]")


@pytest.mark.parametrize(
    ("env", "flags"),
    [
        ("InvertedPendulum-v5", ()),
        ("InvertedPendulum-v5", ("--bins", "0", "--loss", "tet")),
        ("CartPole-v1", ("--loss", "tet", "--imp", "layer")),
        ("InvertedPendulum-v5", ("--student", "popsan", "--loss", "sdt")),
    ],
)
def test_a_student_learns(
    env: str, flags: tuple[str, ...], make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run like any other that does, mostly, what its teacher does; the same command gives the same weights."""
    teacher = make_run(env, "mlp", overrides={"hidden": [16]})
    run, told = distilled(teacher, tmp_path / "one", *SHORT, *flags, capsys=capsys)
    assert run.spec.origin == "distill"
    assert run.spec.source == str(teacher.path)
    assert [done["states"] >= 300 * (i + 1) for i, done in enumerate(told["rounds"])] == [True, True]
    assert told["rounds"] == json.loads((run.path / "distillation.json").read_text())["rounds"]
    assert told["rounds"][-1]["agreement"] > 0.6
    again, _ = distilled(teacher, tmp_path / "two", *SHORT, *flags, capsys=capsys)
    assert run.policy_digest() == again.policy_digest()
    if "layer" in flags:
        values = load_controller(run).network.initial.values  # type: ignore[union-attr]
        assert [len(value) for value in values] == [1]  # type: ignore[union-attr,arg-type]


def test_decisions_are_cut(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--time-steps``: one evaluation for each, the same as that of a policy of so few steps, and a picture."""
    run = make_run("InvertedPendulum-v5", "anytime", overrides={"hidden": [16]})
    evaluate = ["evaluate", str(run.path), "--suite", "clean", "--homeostasis", "none,dwam", "--episodes", "2",
                "--workers", "1", "--no-progress", "--json"]  # fmt: skip
    main([*evaluate, "--time-steps", "1,2,4"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert Path(told["picture"]).name == "anytime.png"
    assert Path(told["picture"]).stat().st_size > 5000
    assert list(told["time_steps"]) == ["1", "2", "4"]
    assert [len(cells) for cells in told["time_steps"].values()] == [2, 2, 2]
    main(evaluate)
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert whole["cells"] == told["time_steps"]["4"]
    short = make_run("InvertedPendulum-v5", "anytime", overrides={"hidden": [16], "steps": 2}, name="short")
    cut, plain = load_controller(run).cut(2), load_controller(short)
    plain.load_state_dict(cut.state_dict())
    x = torch.randn(50, 4)
    with torch.inference_mode():
        assert torch.equal(cut(x)[0], plain(x)[0])


def test_weights_that_run_away(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step is told in which it happened, and nothing of it is stored."""
    teacher = make_run("InvertedPendulum-v5", "mlp", overrides={"hidden": [16]})
    with pytest.raises(SystemExit) as left:
        main(["distill", str(teacher.path), "--out", str(tmp_path / "none"), *SHORT, "--learning-rate", "1e30"])
    assert left.value.code == 4
    said = capsys.readouterr().err
    assert "round 1, gradient step 1: update of the student: parameter" in said
    assert not list(tmp_path.glob("none/**/*.safetensors"))


def test_what_is_refused(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written."""
    teacher = make_run("InvertedPendulum-v5", "mlp", overrides={"hidden": [16]})
    for flags, word in (
        (("--student", "mlp"), "spiking preset"),
        (("--loss", "mse"), "--loss"),
        (("--loss", "tet-s", "--bins", "0"), "take tet"),
        (("--bins", "1"), "--bins"),
        (("--rounds", "0"), "--rounds"),
        (("--spacing", "even"), "--spacing"),
        (("--student-kwargs", "membrane:episode"), "student: expected membranes that live for a decision"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["distill", str(teacher.path), "--out", str(tmp_path / "none"), *flags])
        assert left.value.code == 2
        assert word in capsys.readouterr().err
        assert not (tmp_path / "none").exists()
    for steps, word in (("0", "1 to 4"), ("1,5", "1 to 4"), ("one", "whole numbers")):
        run = make_run("InvertedPendulum-v5", "anytime", overrides={"hidden": [16]}, name=f"r{steps}")
        with pytest.raises(SystemExit):
            main(["evaluate", str(run.path), "--time-steps", steps, "--homeostasis", "none", "--no-progress"])
        assert word in capsys.readouterr().err
        assert not run.evaluations()
    with pytest.raises(UsageError, match="spiking policy that can be cut"):
        load_controller(teacher).cut(1)
