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


def drive(host: Host, fault: str, onset: int) -> tuple[CController, Session, list[int]]:
    """Drive the robot by the Python session; the C controller sees the same. Return both, and what was used when."""
    c, session = host.start()
    env, model, used = make_env(host.run.spec.env, host.run.spec.env_kwargs), host.fault(fault, onset), []
    x, _ = env.reset(seed=SEED)
    for step in range(DECISIONS):
        seen = model.observe(np.asarray(x, np.float32)[None])[0]
        expected = session.act(seen[None])[0]
        if host.made.mechanism.sleep is not None:
            assert c.call("maybe_sleep") == 0
        if c.observe(seen) == DUE:
            assert c.call("rehearse") == 0
        assert same_bits([c.act(seen)], [expected]), step
        assert session.observer is not None
        assert np.array_equal(c.row(), session.observer.rows[0]), step
        used.append(int(session.observer.rows[0, USED]))
        x, _, terminated, truncated, _ = env.step(expected)
        if terminated or truncated:
            break
    env.close()
    return c, session, used


@pytest.mark.parametrize("onset", [0, ONSET])
@pytest.mark.parametrize("fault", FAULTS)
def test_rows_verdicts_and_actions_are_equal_bit_for_bit(host: Host, fault: str, onset: int) -> None:
    c, session, used = drive(host, fault, onset)
    observer = session.observer
    assert observer is not None
    print(host.run.path, fault, onset, len(used), observer.openings, observer.used, set(used))
    assert c.used() == [observer.openings[0], observer.used[0]]
