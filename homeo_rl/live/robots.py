"""What the page must know of a robot: its environment as numbers, and the states that episodes begin in."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.envs.make import make_env
from homeo_rl.envs.time_limit import DEFAULT_LIMIT
from homeo_rl.errors import UsageError, unknown

BODIES = ("HalfCheetah-v5", "Ant-v5", "Hopper-v5", "Walker2d-v5")
"""Gymnasium's robots that ``page/bodies.js`` has a row for."""

SEEDS = 32
"""Episodes of the page: episode k begins as the environment's ``reset(seed=k)``."""

_FIXED = ("xml_file", "frame_skip", "default_camera_config", "main_body", "kwargs", "self")


def describe_environment(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment as JSON: kind, rules, decisions of an episode, start states [SEEDS], legs of a body.

    Raises:
        UsageError: the page does not have this environment.
    """
    navigation = name.startswith("homeo_rl/Navigation")
    if not navigation and name not in BODIES:
        raise unknown("environment of a live page", name, (*BODIES, "homeo_rl/NavigationTrain-v0"))
    foreign = sorted({"env_wrapper", "xml_file", "frame_skip", "main_body"} & set(arguments))
    if foreign:
        raise UsageError(f"{name}: expected an environment without {foreign[0]}, the page does not have it; train one")
    with closing(make_env(name, arguments)) as env:
        limit = arguments.get("max_episode_steps", None if env.spec is None else env.spec.max_episode_steps)
        common = {"env": name, "limit": int(limit or DEFAULT_LIMIT)}
        return common | (_describe_navigation(env) if navigation else _describe_body(env))


def _describe_body(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return a robot of MuJoCo: its XML, the environment's rules, positions and velocities of every start."""
    plain: Any = env.unwrapped
    starts = []
    for seed in range(SEEDS):
        env.reset(seed=seed)
        starts.append([plain.data.qpos.tolist(), plain.data.qvel.tolist()])
    defaults = {
        key: entry.default for key, entry in inspect.signature(type(plain).__init__).parameters.items()
        if key not in _FIXED
    }  # fmt: skip
    set_by_run = (
        {} if plain.spec is None else {key: plain.spec.kwargs[key] for key in defaults if key in plain.spec.kwargs}
    )
    return {
        "kind": "body", "xml": Path(plain.fullpath).read_text(encoding="utf-8"), "frames": int(plain.frame_skip),
        "rules": _finite({**defaults, **set_by_run}), "starts": starts, **_list_actuators(plain.model),
    }  # fmt: skip


def _list_actuators(model: Any) -> dict[str, Any]:
    """Return the joints that actuators move, and legs: actuators by the part of the torso's that they belong to."""
    joints: list[str] = []
    legs: dict[str, list[int]] = {}
    for k in range(model.nu):
        joint = model.joint(int(model.actuator_trnid[k, 0]))
        joints.append(str(joint.name))
        body = int(joint.bodyid[0])
        while int(model.body_parentid[body]) > 1:
            body = int(model.body_parentid[body])
        legs.setdefault(str(model.body(body).name), []).append(k)
    return {"joints": joints, "legs": legs}


def _describe_navigation(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return the worlds, and of every start the world, the pose, the goal, the noise's key and the movers."""
    plain: Any = env.unwrapped
    fleet = plain.fleet
    starts = []
    for seed in range(SEEDS):
        env.reset(seed=seed)
        robot = fleet.state[0]
        starts.append({
            "world": int(fleet.where[0]), "pose": [float(robot[key]) for key in ("x", "y", "heading")],
            "goal": [float(robot["goal_x"]), float(robot["goal_y"])], "key": str(int(robot["key"])),
            "movers": fleet.movers[0].tolist(),
        })  # fmt: skip
    worlds = [
        {"segments": ready.scene.segments.tolist(), "discs": ready.scene.discs.tolist(),
         "outer": np.asarray(ready.world.outer).tolist(),
         "obstacles": [np.asarray(polygon).tolist() for polygon in ready.world.obstacles]}
        for ready in fleet.sites
    ]  # fmt: skip
    rules = {**fleet.task.rules._asdict(), "spike_coded": fleet.task.spike_coded}
    return {"kind": "navigation", "rules": rules, "worlds": worlds, "starts": starts, "frames": rules["substeps"]}


def _finite(rules: dict[str, Any]) -> dict[str, Any]:
    """Return rules as JSON has them: its largest number for infinity."""
    limit = float(np.finfo(np.float64).max)
    return {
        key: np.clip(np.asarray(value, dtype=float), -limit, limit).tolist() if isinstance(value, tuple) else value
        for key, value in rules.items()
    }
