"""What a control loop needs of a session: its caller decides when to sleep, damage persists, hardware is read back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.session import Session
from homeo_rl.errors import InputError
from homeo_rl.evaluation.calibrate import calibration_of, make_session
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.snn.state import Weights
from tests.support.linear_robot import LinearRobot, model_of, recording_of

MakeRun = Callable[..., Run]


def new_session(arm: str, run: Run, slots: int = 1, *, auto_sleep: bool = False) -> Session:
    controller = load_controller(run)
    calibration = calibration_of(run, controller, which="policy", episodes=4)
    session = make_session(
        controller, slots, plugin=make_homeostasis(arm), calibration=calibration, auto_sleep=auto_sleep
    )
    for slot in range(slots):
        session.begin(slot, generator(slot, "noise"))
    return session


def thinned(session: Session) -> Weights:
    """Return the trained weights without a third of each layer's synapses."""
    return tuple(
        layer._replace(weight=layer.weight * (torch.arange(layer.weight.numel()).view_as(layer.weight) % 3 > 0))
        for layer in session.trained
    )


def inputs(session: Session, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(session.slots, session.network.spec.inputs)).astype(np.float32)


def equal(one: Weights, other: Weights) -> bool:
    return all(torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("arm", ["sleep:form=delta:every=1", "dwam+sleep:form=delta:every=1", "dwam"])
def test_a_caller_that_sleeps_when_it_is_due_acts_as_a_session_that_does_it_by_itself(
    arm: str, make_run: MakeRun
) -> None:
    run = make_run()
    automatic, manual = (new_session(arm, run, 2, auto_sleep=auto) for auto in (True, False))
    for session in (automatic, manual):
        session.set_weights(1, thinned(session))
    for step in range(4):
        x = inputs(manual, step)
        if step == 0:
            assert manual.needs_sleep().tolist() == [False, True]
            assert manual.sleep() == [1]
            assert manual.needs_sleep().tolist() == [False, False]
        assert np.array_equal(automatic.act(x), manual.act(x))
    assert automatic.sleeps == manual.sleeps == [0, 1]
    assert equal(automatic.weights_of(1), manual.weights_of(1))
    assert np.array_equal(automatic.drift(), manual.drift())


def test_act_never_sleeps_by_itself_where_the_caller_decides(make_run: MakeRun) -> None:
    session = new_session("sleep:form=delta:every=1", make_run())
    broken = thinned(session)
    session.set_weights(0, broken)
    for step in range(5):
        session.act(inputs(session, step))
    assert session.sleeps == [0]
    assert equal(session.weights_of(0), broken)


def test_asking_changes_nothing(make_run: MakeRun) -> None:
    """A session that sleeps by itself sleeps at the same decision whether it was asked or not."""
    run = make_run()
    asked, silent = (new_session("sleep:form=delta:every=4", run, auto_sleep=True) for _ in range(2))
    for step in range(6):
        if step == 1:
            for session in (asked, silent):
                session.set_weights(0, thinned(session))
        assert asked.needs_sleep()[0] == (step in (1, 2, 3))
        assert np.array_equal(asked.act(inputs(asked, step)), silent.act(inputs(asked, step)))
        assert asked.sleeps == silent.sleeps == [int(step >= 3)]


def test_a_sleep_with_a_ramp_is_spread_over_decisions(make_run: MakeRun) -> None:
    run = make_run()
    at_once, spread = (new_session(f"sleep:form=delta{more}", run) for more in ("", ":pause=1:ramp=2"))
    for session in (at_once, spread):
        session.set_weights(0, thinned(session))
        session.sleep()
    assert equal(spread.weights_of(0), thinned(spread))
    for _ in range(3):
        assert not equal(spread.weights_of(0), at_once.weights_of(0))
        assert not spread.needs_sleep()[0]  # it is asleep
        spread.act(inputs(spread, 0))
    assert equal(spread.weights_of(0), at_once.weights_of(0))


@pytest.mark.parametrize("arm", ["sleep:form=delta", "dwam"])
def test_damage_and_repairs_persist_over_episodes_if_asked_for(arm: str, make_run: MakeRun) -> None:
    session = new_session(arm, make_run())
    session.set_weights(0, thinned(session))
    assert session.sleep() == [0]
    repaired, after_sleep = session.weights_of(0), session.state.adaptation
    kept = [{name: value.clone() for name, value in layer.items()} for layer in after_sleep]
    first = session.act(inputs(session, 0))
    for step in range(20):
        session.act(inputs(session, step))
    session.begin(0, generator(0, "noise"), keep_weights=True)
    assert equal(session.weights_of(0), repaired)
    assert session.sleeps == [1]
    assert not session.needs_sleep()[0]
    for layer, before in zip(session.state.adaptation, kept, strict=True):
        assert all(torch.equal(layer[name], before[name]) for name in before)
    assert np.array_equal(session.act(inputs(session, 0)), first)
    session.begin(0, generator(0, "noise"))
    assert equal(session.weights_of(0), session.trained)
    assert session.sleeps == [0]


def test_later_damage_stands_beside_persisting_repairs(make_run: MakeRun) -> None:
    session = new_session("sleep:form=delta", make_run())
    broken = thinned(session)
    session.set_weights(0, broken)
    session.sleep()
    repaired = session.weights_of(0)
    session.begin(0, generator(0, "noise"), keep_weights=True)
    worse = tuple(layer._replace(bias=layer.bias + 0.5) for layer in broken)
    session.set_weights(0, worse)
    for now, mended, before, after in zip(session.weights_of(0), repaired, broken, worse, strict=True):
        torch.testing.assert_close(now.bias, mended.bias + (after.bias - before.bias))


def test_weights_read_back_are_taken_as_they_are(make_run: MakeRun) -> None:
    """What a chip has after it was written: no repair is added, and an error of writing fails the self-test."""
    session = new_session("sleep:form=delta", make_run())
    session.set_weights(0, thinned(session))
    session.sleep()
    wanted = session.weights_of(0)
    session.read_back(0, wanted)
    assert equal(session.weights_of(0), wanted)
    assert not session.needs_sleep()[0]
    wrong = tuple(layer._replace(weight=layer.weight * 0.7) for layer in wanted)
    session.read_back(0, wrong)
    assert equal(session.weights_of(0), wrong)
    assert session.needs_sleep()[0]
    session.sleep()
    assert not equal(session.weights_of(0), wrong)


def test_a_copy_of_the_weights_is_the_callers(make_run: MakeRun) -> None:
    session = Session(load_controller(make_run()), 1)
    session.begin(0, generator(0, "noise"))
    x = inputs(session, 0)
    before = session.act(x)
    for layer in session.weights_of(0):
        layer.weight.zero_()
    assert np.array_equal(session.act(x), before)


@pytest.mark.parametrize("arm", ["none", "dwam-paper", "sleep:form=delta", "dwam+sleep"])
def test_warming_up_changes_nothing(arm: str, make_run: MakeRun) -> None:
    run = make_run()
    warm, cold = (new_session(arm, run, 2) for _ in range(2))
    for session in (warm, cold):
        session.set_weights(1, thinned(session))
        session.act(inputs(session, 9))
    warm.warm_up()
    for step in range(3):
        assert np.array_equal(warm.act(inputs(warm, step)), cold.act(inputs(cold, step)))
    assert warm.sleeps == cold.sleeps
    assert np.array_equal(warm.drift(), cold.drift())


@pytest.mark.parametrize("agent", ["mlp", "san", "popsan"])
def test_every_body_is_warmed_up_without_a_draw(agent: str, make_run: MakeRun) -> None:
    controller = load_controller(make_run(agent=agent))
    warm, cold = (Session(controller, 1) for _ in range(2))
    warm.warm_up()
    for session in (warm, cold):
        session.begin(0, generator(0, "noise"))
    warm.warm_up()
    for step in range(3):
        x = np.random.default_rng(step).normal(size=(1, controller.spec.network.inputs))
        assert np.array_equal(warm.act(x), cold.act(x))


def test_an_observer_is_warmed_up_too() -> None:
    robot = LinearRobot(0)
    memory = ObserverMemory.of(model_of(robot), recording_of(robot, 1500))
    bounds = Box(-1.0, 1.0, (2,), np.float32)
    spec = controller_spec("popsan", Box(-9.0, 9.0, (4,), np.float32), bounds, algo="td3", overrides={"hidden": [8]})
    controller = Controller(spec).eval().requires_grad_(False)
    plugin = make_homeostasis("observer")
    warm, cold = (Session(controller, 1, plugin=plugin, observer_memory=memory) for _ in range(2))
    for session in (warm, cold):
        session.begin(0, generator(0, "noise"))
    warm.warm_up()
    assert warm.observer is not None
    assert cold.observer is not None
    for step in range(12):
        broken = np.where(np.arange(4) == 2, 4.0 * np.random.default_rng(step).normal(), robot.state)[None]
        action = warm.act(broken)
        assert np.array_equal(action, cold.act(broken))
        robot.step(action[0])
    assert warm.observer.alarms().tolist() == cold.observer.alarms().tolist() == [True]
    assert np.array_equal(warm.observer.rows, cold.observer.rows)


def test_calls_that_make_no_sense_say_what_to_do(make_run: MakeRun) -> None:
    session = Session(load_controller(make_run()), 1)
    with pytest.raises(InputError, match="needs_sleep: expected an episode in every slot, none began in slot 0"):
        session.needs_sleep()
    with pytest.raises(InputError, match="expected one in which an episode began"):
        session.read_back(0, session.trained)
    session.begin(0, generator(0, "noise"))
    with pytest.raises(InputError, match="sleep: expected a plug-in that sleeps or rehearses"):
        session.sleep()
    with pytest.raises(InputError):
        session.weights_of(1)
