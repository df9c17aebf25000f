"""From a run to a controller in C: calibration, recorded observations, and what is known of the robot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.envs.make import make_env
from homeo_rl.envs.navigation.kernels import BEAMS
from homeo_rl.evaluation.calibrate import calibrate
from homeo_rl.evaluation.observer_memory import load_observer
from homeo_rl.exchange.c.contract import Plant
from homeo_rl.exchange.c.description import describe, require_expressible
from homeo_rl.exchange.c.export import DECISIONS, Deployment, export_c, name_of
from homeo_rl.exchange.c.integer import IntegerPolicy
from homeo_rl.exchange.c.mechanism import split
from homeo_rl.exchange.c.observer_source import describe_senses
from homeo_rl.exchange.c.recording import SEED
from homeo_rl.exchange.exported_file import ExportedFolder
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.homeostasis.observer import split_observer
from homeo_rl.homeostasis.sleep import needs_memory
from homeo_rl.run import Run
from homeo_rl.seeding import derive, generator

CALIBRATION_EPISODES = 5

STUCK_AT = 60
"""Decision at which sensors break in the recording of a policy that observes."""

_NAVIGATION = {
    True: ("goal to the left / pi", "goal to the right / pi", "0.3 m / goal distance", "speed / 0.5 m/s",
           "turn to the left / 2 rad/s", "turn to the right / 2 rad/s"),
    False: ("goal direction, left positive", "0.3 m / goal distance", "speed", "turn"),
}  # fmt: skip
"""Entries of the navigation task before its beams, spike-coded or not."""


def export_controller(
    controller: Controller,
    run: Run,
    *,
    arm: str,
    which: str = "policy",
    number: Literal["float32", "int"] = "float32",
) -> ExportedFolder:
    """Return a run's policy with the mechanism ``arm`` as a folder of C sources.

    The run is calibrated where the mechanism needs it, and acts in its environment for the recorded decisions.

    Raises:
        UsageError: a part that the C controller does not have; nothing was run yet.
    """
    require_expressible(controller)
    plugin = make_homeostasis(arm)
    mechanism = split(plugin)
    if number == "int":
        IntegerPolicy(describe(controller))  # what integers have not is reported before anything runs
    observes = None if mechanism.observer is None else load_observer(run, which=which)
    describe_senses(controller, mechanism.observer, observes)  # what it lacks is reported, too
    adapts, faulty = split_observer(plugin).network, None
    adapting: dict[str, Any] = {"plugin": plugin, "observer_memory": observes}
    if adapts is not None:
        calibration = calibrate(run, controller, which=which, episodes=CALIBRATION_EPISODES)
        adapting["references"] = calibration.references(controller.network)  # type: ignore[arg-type]  # it is spiking
        if needs_memory(adapts):
            adapting["memory"] = calibration.memory(controller.network)  # type: ignore[arg-type]
    with closing(make_env(run.spec.env, run.spec.env_kwargs)) as env:
        plant, observations = describe_plant(env, run.spec.env), observe(controller, env, DECISIONS)
        if observes is not None:
            stuck = np.flatnonzero(observes.model.moves)[::3]
            faulty = observe(controller, env, DECISIONS, stuck, **adapting)
    deployment = Deployment(
        name=name_of(run.path.name),
        plant=plant,
        arm=arm,
        **adapting,
        observations=observations,
        faulty=faulty,
        run=run.path.name,
        number=number,
    )
    return export_c(controller, deployment)


def observe(
    controller: Controller, env: Any, count: int, stuck: Sequence[int] | np.ndarray = (), **mechanism: Any
) -> np.ndarray:
    """Return the observations [count, D] of the healthy policy in ``env``.

    Entries that get ``stuck`` read the same from decision `STUCK_AT` on; ``mechanism`` is what a session adapts with.
    """
    session, observations = Session(controller, 1, **mechanism), []
    session.begin(0, np.random.default_rng(SEED) if len(stuck) else generator(0, "recorded"))
    observation, _ = env.reset(seed=derive(0, "recorded") % 2**31)
    for step in range(count):
        observations.append(np.array(observation, dtype=np.float32))
        if step > STUCK_AT and len(stuck):  # an empty tuple would index all entries
            observations[-1][stuck] = observations[-2][stuck]
        action = session.act(observations[-1][None])[0]
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    return np.stack(observations)


def describe_plant(env: gym.Env[Any, Any], name: str) -> Plant:
    """Return what an environment tells of the robot: names, units and the control period, where it has them."""
    size = int(np.prod(env.observation_space.shape or (0,)))
    plain = env.unwrapped
    model = getattr(plain, "model", None)
    period = getattr(plain, "dt", None)
    if model is not None and hasattr(model, "actuator"):
        observations, units = _mujoco_entries(plain, model, size)
        actions = tuple(str(model.actuator(k).name) or f"actuator {k}" for k in range(model.nu))
        return Plant(
            env=name, period=None if period is None else float(period), observations=observations, units=units,
            actions=actions, action_units=("control",) * len(actions),
        )  # fmt: skip
    if name.startswith("homeo_rl/Navigation"):
        first = _NAVIGATION[size == 6 + BEAMS]
        beams = tuple(f"0.35 m / range of beam {k}" for k in range(size - len(first)))
        return Plant(
            env=name, period=0.1, observations=(*first, *beams), actions=("left wheel", "right wheel"),
            action_units=("share of 0.05 to 0.5 m/s",) * 2,
        )  # fmt: skip
    return Plant(env=name, period=None if period is None else float(period))


def _mujoco_entries(plain: Any, model: Any, size: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and units of the entries of Gymnasium's MuJoCo tasks: positions, then velocities."""
    positions: list[tuple[str, str]] = []
    velocities: list[tuple[str, str]] = []
    for k in range(model.njnt):
        joint, kind = model.joint(k), int(model.joint(k).type[0])
        free = {0: ("x", "y", "z", "qw", "qx", "qy", "qz"), 1: ("qw", "qx", "qy", "qz")}.get(kind, ("",))
        moving = {0: ("vx", "vy", "vz", "wx", "wy", "wz"), 1: ("wx", "wy", "wz")}.get(kind, ("",))
        unit = "m" if kind == 2 else "rad" if kind == 3 else ""
        positions += [(f"position of {joint.name} {part}".strip(), unit) for part in free]
        velocities += [(f"velocity of {joint.name} {part}".strip(), f"{unit}/s" if unit else "") for part in moving]
    structure = getattr(plain, "observation_structure", {})
    entries = positions[int(structure.get("skipped_qpos", 0)) :] + velocities
    if len(entries) != size:
        return (), ()
    return tuple(name for name, _ in entries), tuple(unit for _, unit in entries)
