"""An arm is parsed once; everything that evaluates or shows a run understands the same arms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import call

import homeo_rl
from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations import load_suite
from homeo_rl.envs import make_env
from homeo_rl.envs.navigation.avoidance import AvoidMovers
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.enjoy import enjoy
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.homeostasis import describe, make
from homeo_rl.run import Run


def test_arms_are_values() -> None:
    assert Arm.parse("none") == Arm("none")
    assert Arm.parse("no-reflex") == Arm("no-reflex", None, False)
    assert Arm.parse("dwam-paper:eta=1e-3") == Arm("dwam-paper:eta=1e-3", make("dwam-paper:eta=1e-3"), True)
    with pytest.raises(UsageError, match="did you mean 'dwam'"):
        Arm.parse("dwamm")
    plan = EvaluationPlan(suite=load_suite("clean"), arms=("none", "no-reflex"), episodes=1, seed=0)
    assert plan.parsed_arms == (Arm("none"), Arm("no-reflex", reflex=False))
    assert plan.parsed_arms is plan.parsed_arms


def test_an_arm_must_fit_the_policy(make_run: Callable[..., Run]) -> None:
    spiking, mlp = make_run(), make_run(agent="mlp", name="mlp")
    Arm.parse("dwam").require_fitting(load_controller(spiking))
    with pytest.raises(UsageError, match="this run's policy is an MLP"):
        Arm.parse("dwam").require_fitting(load_controller(mlp))
    for run in (spiking, mlp):
        with pytest.raises(UsageError, match="expected a policy with a reflex"):
            Arm.parse("no-reflex").require_fitting(load_controller(run))


def test_avoidance_is_a_layer_around_any_arm(make_run: Callable[..., Run]) -> None:
    assert Arm.parse("avoid") == Arm("avoid", avoid=True)
    assert Arm.parse("no-reflex+avoid") == Arm("no-reflex+avoid", reflex=False, avoid=True)
    both = Arm.parse("dwam+avoid")
    assert both.plugin == make("dwam")
    assert both.describe().startswith(describe("dwam") + " + Tracking(")
    assert Arm.parse("dwam").describe() == describe("dwam"), "other arms keep the text that results are known by"
    condition = load_suite("navigation-paper").conditions[0]
    assert Arm.parse("dwam").add_layer(condition) is condition
    env = both.add_layer(condition).wrap(make_env("homeo_rl/Navigation-v0"))
    assert isinstance(env, AvoidMovers)
    with pytest.raises(UsageError, match="expected a policy of a navigation robot"):
        Arm.parse("avoid").require_fitting(load_controller(make_run()))


def test_what_can_be_evaluated_can_be_watched(
    make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`enjoy` refuses the arm without a reflex as `evaluate` does, and not as an unknown one."""
    run = make_run()
    plan = EvaluationPlan(suite=load_suite("clean"), arms=("no-reflex",), episodes=1, seed=0)
    with pytest.raises(UsageError, match="arm 'no-reflex': expected a policy with a reflex"):
        enjoy(run, plan, plan.suite.conditions[0], video=tmp_path / "x.gif")
    words = ("enjoy", run.path, "--homeostasis", "no-reflex", "--video", tmp_path / "x.gif")
    assert "expected a policy with a reflex" in call(*words, code=2, capsys=capsys)[1]


def test_older_names_are_the_same_objects() -> None:
    assert homeo_rl.Plan is homeo_rl.EvaluationPlan
    assert homeo_rl.session_of is homeo_rl.make_session
    assert homeo_rl.calibration_of is homeo_rl.calibrate
