"""Whole episodes with broken sensors: the observer in the C controller gives the policy what Python's gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_controller import CController, compile_library, needs_gcc, same_bits

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.session import Session
from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.schedule import Schedule
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.calibrate import calibrate
from homeo_rl.evaluation.observer_memory import load_observer
from homeo_rl.exchange.c.description import Description, describe
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.homeostasis.observer import split_observer
from homeo_rl.homeostasis.sleep import needs_memory
from homeo_rl.observer.layout import USED
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.run import Run, copy_pretrained

pytestmark = needs_gcc
DECISIONS, ONSET, SEED = 220, 60, 7
DUE, BUSY = 3, 1
FAULTS: dict[str, list[dict[str, Any]]] = {
    "clean": [],
    "stuck": [{"kind": "obs-stuck", "fraction": 0.2}],
    "dropped": [{"kind": "obs-dropped", "probability": 0.2}],
    "noise": [{"kind": "obs-gaussian-normalised", "std": 0.3}],
    "offset": [{"kind": "obs-offset", "size": 0.3}],
    "scale": [{"kind": "obs-scale", "error": 0.3}],
    "latency": [{"kind": "obs-delayed", "steps": 2}],
    "jitter": [{"kind": "obs-jitter", "steps": 3}],
}


@dataclass(frozen=True)
class Host:
    """A policy, what its mechanism needs, and its robot."""

    run: Run
    controller: Controller
    senses: ObserverMemory
    arm: str
    options: dict[str, Any]
    made: Description
    library: Path

    def start(self) -> tuple[CController, Session]:
        c = CController(self.library, "tested", self.made)
        session = Session(self.controller, 1, plugin=make_homeostasis(self.arm), **self.options)
        session.begin(0, np.random.default_rng(SEED))
        c.reset(SEED)
        return c, session

    def fault(self, name: str, onset: int) -> FaultModel:
        spread = tuple(map(float, self.senses.model.spread))
        parts = [part | ({"spread": spread} if {"std", "size"} & set(part) else {}) for part in FAULTS[name]]
        return FaultModel(parts, 1, seed=SEED, schedule=Schedule(onset=onset))


def host_of(name: str, arm: str, folder: Path) -> Host:
    run = Run.of(copy_pretrained(name, folder / "run"))
    controller, senses, plugin = load_controller(run), load_observer(run), make_homeostasis(arm)
    assert senses is not None
    options: dict[str, Any] = {"observer_memory": senses}
    adapts = split_observer(plugin).network
    if adapts is not None:
        calibration = calibrate(run, controller, which="policy", episodes=1)
        options["references"] = calibration.references(controller.network)  # type: ignore[arg-type]  # it is spiking
        options["memory"] = calibration.memory(controller.network) if needs_memory(adapts) else None  # type: ignore[arg-type]
    made = describe(controller, plugin, **options)
    return Host(run, controller, senses, arm, options, made, compile_library(folder, {"tested": made}))


@pytest.fixture(
    scope="module",
    params=[("popsan-halfcheetah-0", "observer"), ("popsan-hopper-0", "sleep+observer")],
    ids=lambda value: value[0],
)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return host_of(*request.param, tmp_path_factory.mktemp("host"))


def drive(host: Host, fault: str, onset: int) -> tuple[CController, Session, int]:
    """Drive the robot by the Python session; C sees the same. Return both, and how many rehearsals there were."""
    (c, session), model, rehearsals = host.start(), host.fault(fault, onset), 0
    env, observer = make_env(host.run.spec.env, host.run.spec.env_kwargs), session.observer
    x, _ = env.reset(seed=SEED)
    assert observer is not None
    for step in range(DECISIONS):
        seen = model.observe(np.asarray(x, np.float32)[None])[0]
        expected = session.act(seen[None])[0]
        if host.made.mechanism.sleep is not None:
            assert c.call("maybe_sleep") == 0
        if c.observe(seen) == DUE:
            assert c.call("rehearse") == 0
            rehearsals += 1
            biases = [observer.rehearsal.of_bias(observer.rows[0], kind) for kind in (OFFSETS, SCALES)]
            assert c.distances() in (observer.rehearse(0), *biases)
        assert same_bits([c.act(seen)], [expected]), step
        assert np.array_equal(c.row(), observer.rows[0]), step
        x, _, terminated, truncated, _ = env.step(expected)
        if terminated or truncated:
            break
    env.close()
    return c, session, rehearsals


@pytest.mark.parametrize("onset", [0, ONSET])
@pytest.mark.parametrize("fault", FAULTS)
def test_rows_distances_verdicts_and_actions_are_equal_bit_for_bit(host: Host, fault: str, onset: int) -> None:
    c, session, rehearsals = drive(host, fault, onset)
    observer = session.observer
    assert observer is not None
    assert c.used() == [observer.openings[0], observer.used[0]]
    if fault in ("stuck", "offset"):
        assert rehearsals
    if fault in ("stuck", "offset", "dropped", "latency", "jitter"):
        assert observer.used[0] > 80
    if fault == "clean":
        assert observer.used[0] == rehearsals == 0


def test_slices_give_the_same_verdict_later(host: Host) -> None:
    """Between slices the policy gets what it got before; the verdict is on the row of the decision when it was due."""
    c, model = host.start()[0], host.fault("stuck", 20)
    env, session = make_env(host.run.spec.env, host.run.spec.env_kwargs), Session(host.controller, 1)
    x, _ = env.reset(seed=SEED)
    session.begin(0, np.random.default_rng(SEED))
    pending, late, slices = False, 0, 0
    for _ in range(120):
        seen = model.observe(np.asarray(x, np.float32)[None])[0]
        before = c.row()[USED]
        due = c.observe(seen)
        if due == DUE and not pending:
            pending, row = True, c.row()
            at_once = host.start()[1].observer
            assert at_once is not None
            at_once.rows[0] = row
            expected = at_once.rehearse(0)
        for _ in range(997):
            if due != DUE or c.call("rehearse_step") != BUSY:
                break
            slices += 1
        action = c.act(seen)
        if pending and due == DUE:
            assert c.row()[USED] in (before, ESTIMATE, NOTHING)
            late += 1
        if pending and c.observe(seen) == 0 and due == DUE:
            pass
        x = env.step(action)[0]
    env.close()
    assert late
