"""Whole episodes with broken sensors: the observer in the C controller gives the policy what Python's gives it."""

from __future__ import annotations

import ctypes
import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_controller import SOURCES, CController, compile_library, needs_gcc, same_bits
from project_files import ROOT

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
from homeo_rl.observer import observer, rehearsal
from homeo_rl.observer.layout import ESTIMATE, LAGS, NOTHING, OFFSETS, OPEN, SCALES, USED
from homeo_rl.observer.memory import LENGTH, WINDOWS, ObserverMemory
from homeo_rl.observer.rehearsal import COMPARED
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.seeding import derive

pytestmark = needs_gcc
DECISIONS, ONSET, SEED = 220, 60, 7
DUE, BUSY, ABSENT, UNOBSERVED = 3, 1, -4, 2
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


def rehearsal_in_rows(session: Session) -> rehearsal.Rehearsal:
    """Return Python's rehearsal with a policy that decides as in an episode: many rows at once are a matrix product."""
    watched = session.observer
    assert watched is not None

    def act(observations: np.ndarray) -> np.ndarray:
        return np.concatenate([session._act_healthy(row) for row in np.split(observations, len(observations) // 8)])

    result = rehearsal.Rehearsal(watched.memory, watched.offsets, act, watched._advance)
    assert np.abs(result.wanted - watched.rehearsal.wanted).max() < 1e-5
    result.wanted = watched.rehearsal.wanted
    return result


def drive(host: Host, fault: str, onset: int) -> tuple[CController, Session, int]:
    """Drive the robot by the Python session; C sees the same. Return both, and how many rehearsals there were."""
    (c, session), model, rehearsals = host.start(), host.fault(fault, onset), 0
    env, watched = make_env(host.run.spec.env, host.run.spec.env_kwargs), session.observer
    x, _ = env.reset(seed=SEED)
    assert watched is not None
    exact = rehearsal_in_rows(session)
    for step in range(DECISIONS):
        seen = model.observe(np.asarray(x, np.float32)[None])[0]
        expected = session.act(seen[None])[0]
        if host.made.mechanism.sleep is not None:
            assert c.call("maybe_sleep") == 0
        if c.observe(seen) == DUE:
            assert c.call("rehearse") == 0
            rehearsals += 1
            distances = [exact(watched.rows[0]), *(exact.of_bias(watched.rows[0], kind) for kind in (OFFSETS, SCALES))]
            assert c.distances() in distances, step
        assert same_bits([c.act(seen)], [expected]), step
        assert np.array_equal(c.row(), watched.rows[0]), step
        x, _, terminated, truncated, _ = env.step(expected)
        if terminated or truncated:
            break
    env.close()
    return c, session, rehearsals


@pytest.mark.parametrize("onset", [0, ONSET])
@pytest.mark.parametrize("fault", FAULTS)
def test_rows_distances_verdicts_and_actions_are_equal_bit_for_bit(host: Host, fault: str, onset: int) -> None:
    c, session, rehearsals = drive(host, fault, onset)
    watched = session.observer
    assert watched is not None
    assert c.used() == [watched.openings[0], watched.used[0]]
    if fault in ("stuck", "offset"):
        assert rehearsals
    if fault in ("stuck", "offset", "dropped", "latency", "jitter"):
        assert watched.used[0] > 80
    if fault == "clean":
        assert watched.used[0] == rehearsals == 0


def sensed(host: Host, fault: str, onset: int, count: int) -> np.ndarray:
    """Return what the robot's sensors read [count, D] where the Python session drives it."""
    (_, session), model, seen = host.start(), host.fault(fault, onset), []
    env = make_env(host.run.spec.env, host.run.spec.env_kwargs)
    x, _ = env.reset(seed=SEED)
    for _ in range(count):
        seen.append(model.observe(np.asarray(x, np.float32)[None])[0])
        x = env.step(session.act(seen[-1][None])[0])[0]
    env.close()
    return np.stack(seen)


def test_slices_give_the_same_verdict_later(host: Host) -> None:
    """The verdict is on the decision in which it became due; until then the policy gets what it got before."""
    at_once, sliced = (host.start()[0] for _ in range(2))
    waiting, verdict, slices, verdicts = False, NOTHING, 0, []
    for seen in sensed(host, "stuck", 20, 80):
        if at_once.observe(seen) == DUE:
            assert at_once.call("rehearse") == 0
        due = sliced.observe(seen) == DUE
        if due and not waiting:
            verdict, before = at_once.row()[USED], sliced.row()[USED]
        waiting = due
        for _ in range(397):
            if not waiting:
                break
            assert sliced.row()[USED] == before
            slices += 1
            waiting = sliced.call("rehearse_step") == BUSY
            if not waiting:
                assert sliced.row()[USED] == verdict
                verdicts.append(verdict)
        at_once.act(seen)
        sliced.act(seen)
    assert ESTIMATE in verdicts
    each = WINDOWS * (LENGTH - LAGS - 1 + 2 * COMPARED)
    assert slices >= each * len(verdicts)
    assert sliced.call("rehearse") == sliced.call("rehearse_step") == 0


def test_an_episode_that_begins_ends_a_rehearsal(host: Host) -> None:
    c, _ = host.start()
    for seen in sensed(host, "stuck", 20, 60):
        if c.observe(seen) == DUE:
            break
        c.act(seen)
    assert c.call("rehearse_step") == BUSY
    assert c.call("restart", ctypes.c_uint64(SEED)) == 0
    assert c.call("rehearse_step") == 0
    assert c.row().sum() == 1.0  # the gate's error in health


def test_without_its_observer_it_acts_as_before(host: Host) -> None:
    c = CController(host.library, "tested", host.made, flags=UNOBSERVED)
    session = Session(host.controller, 1)
    session.begin(0, np.random.default_rng(SEED))
    c.reset(SEED)
    assert c.bytes < CController(host.library, "tested", host.made).bytes
    for seen in sensed(host, "stuck", 20, 60):
        assert c.observe(seen) == ABSENT
        assert same_bits([c.act(seen)], [session.act(seen[None])[0]])


def test_a_model_that_explains_too_little_raises_alarms_only(tmp_path: Path) -> None:
    """A lidar is hardly predictable."""
    host = host_of("navigation-san", "observer", tmp_path)
    assert host.made.senses is not None
    assert (host.made.senses.explains, host.made.senses.windows) == (False, 0)
    (c, session), opened = host.start(), 0
    plain = Session(host.controller, 1)
    plain.begin(0, np.random.default_rng(SEED))
    for seen in sensed(host, "dropped", 20, 120):
        expected = session.act(seen[None])[0]
        assert c.observe(seen) == 0
        assert same_bits([c.act(seen)], [expected])
        assert same_bits([plain.act(seen[None])[0]], [expected])
        assert session.observer is not None
        assert np.array_equal(c.row(), session.observer.rows[0])
        opened += int(c.row()[OPEN])
    assert opened > 50


@pytest.mark.parametrize("seed", [0, 1, derive(0, "observer", "rehearsal")])
def test_normal_numbers_are_numpys(host: Host, seed: int) -> None:
    count, library = 400_000, ctypes.CDLL(str(host.library))
    library.homeo_random_normal.restype = library.homeo_random_double.restype = ctypes.c_double
    state, rng = ctypes.create_string_buffer(64), np.random.default_rng(seed)
    library.homeo_random_seed(state, ctypes.c_uint64(seed))
    drawn = np.array([library.homeo_random_normal(state) for _ in range(count)])
    assert np.array_equal(drawn, rng.normal(size=count))
    assert np.abs(drawn).max() > 3.66  # beyond the lowest strip
    assert [library.homeo_random_double(state) for _ in range(9)] == rng.random(9).tolist()


def test_the_tables_of_normal_numbers_are_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "tools" / "normal_tables.py"), run_name="__main__")
    assert capsys.readouterr().out == (SOURCES / "homeo_normal_tables.h").read_text()


def test_settings_are_those_of_python() -> None:
    text = (SOURCES / "homeo_rehearse.c").read_text()
    values = dict(re.findall(r"#define (\w+) ([\d.]+)", text)) | dict(re.findall(r"(\w+) = (\d+)", text))
    for module in (observer, rehearsal):
        shared = {name for name in values if hasattr(module, name) and name not in ("FEW", "LAGS")}
        assert shared
        for name in shared:
            assert float(values[name]) == getattr(module, name), name
    assert float(values["FEW"]) == observer.FEW
    assert float(values["FEW_DECISIONS"]) == rehearsal.FEW
    asked = re.search(r"rehearsed_at\[\] = {([^}]*)}", text)
    assert asked is not None
    assert tuple(map(int, asked[1].split(","))) == observer.REHEARSED_AT
    header = (SOURCES / "homeo.h").read_text()
    assert f"HOMEO_WINDOW = {LENGTH}, HOMEO_COMPARED = {COMPARED} " in header
