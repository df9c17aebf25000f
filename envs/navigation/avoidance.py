"""Avoidance of moving obstacles: a layer between a policy and the robot that acts only where the policy would collide.

It knows what the policy knows: the observations of the episode so far (`homeo_rl.envs.navigation.tracking`). The
policy's action and 49 others, each held for 2.5 s, are driven ahead among the movers at constant velocity and what the
map holds (as the dynamic window of Fox et al., 1997, does with what stands still). Without a mover, or where the
policy's action keeps clear of all of them, the action passes as it is, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from homeo_rl.envs.navigation.coding import CODED, SIGNED
from homeo_rl.envs.navigation.environment import ACTIONS
from homeo_rl.envs.navigation.kernels import BEAMS
from homeo_rl.envs.navigation.rays import Floats
from homeo_rl.envs.navigation.tracking import (
    ALIVE,
    LANE,
    MOVING,
    TRACKS,
    Ints,
    Memory,
    Tracking,
    decode_scan,
    hits_at,
    new_memory,
    observe,
)
from homeo_rl.errors import UsageError
from homeo_rl.numerics.jit import jit


class Planning(NamedTuple):
    """Numbers of the planner."""

    horizon: int = 25  # decisions that are driven ahead
    grid: int = 7  # values of each wheel that are tried, from slowest to fastest
    trigger: float = 0.28  # clearance to a mover below which the policy's action is replaced (m)
    safe: float = 0.40  # clearance to a mover below which an action has a cost (m)
    collision: float = 0.20  # clearance to a mover below which it counts as a collision (m)
    # how much nearer a mover may come that is more than ``back`` metres behind the robot, where no beam is
    behind: float = 0.2
    back: float = 0.27  # see ``behind``
    still_safe: float = 0.25  # distance to what stands still below which an action has a cost (m)
    still_collision: float = 0.22  # and below which it counts as a collision (m)
    later: float = 0.6  # by how much a danger at the horizon weighs less than one at once
    mover_cost: float = 10.0  # weight of the danger from movers
    still_cost: float = 10.0  # weight of the danger from what stands still
    change: float = 0.1  # weight of the difference to the policy's action; the way to the goal (m) has weight 1
    paused: float = 0.3  # speed below which a mover is expected to turn back on its lane (m/s)
    window: int = 18  # size of the map that is looked at, to each side of the robot (cells)
    wheel_least: float = 0.05  # speed of a wheel at action 0 (m/s)
    wheel_span: float = 0.45  # and how much more at action 1 (m/s)
    track: float = 0.25  # distance of the wheels (m)


_POINTS = 600
"""Most points of what stands still that are looked at."""


class Surroundings(NamedTuple):
    """What an action is judged by."""

    pose: Floats  # x, y, heading [3]
    goal: Floats  # x, y [2]
    movers: Floats  # x, y, vx, vy [M, 4]
    points: Floats  # x, y of what stands still [P, 2]


@jit
def list_movers(q: Planning, memory: Memory, out: Floats) -> int:
    """Write x, y, vx, vy of all movers into out [2 * TRACKS, 4]; return how many.

    A mover that stands still for the moment is there twice: as it is, and on its way back.
    """
    count = 0
    for k in range(TRACKS):
        track = memory.tracks[k]
        speed = math.hypot(track[2], track[3])
        if track[ALIVE] == 0.0 or track[MOVING] == 0.0:
            continue
        out[count] = track[:4]
        count += 1
        if speed < q.paused and math.hypot(track[LANE], track[LANE + 1]) > q.paused:
            out[count, 0], out[count, 1] = track[0], track[1]
            out[count, 2], out[count, 3] = -track[LANE], -track[LANE + 1]
            count += 1
    return count


@jit
def list_points(p: Tracking, q: Planning, memory: Memory, scan: Floats, owner: Ints, out: Floats) -> int:
    """Write what stands still near the robot into out [P, 2], from the map and the scan; return how many points."""
    count, pose = 0, memory.pose
    column, row = math.floor(pose[0] / p.cell), math.floor(pose[1] / p.cell)
    for beam in range(BEAMS):
        if owner[beam] < 0 and scan[4 + beam] < q.window * p.cell:
            angle = pose[2] + (85.0 - 10.0 * beam) * (math.pi / 180.0)
            out[count, 0] = pose[0] + scan[4 + beam] * math.cos(angle)
            out[count, 1] = pose[1] + scan[4 + beam] * math.sin(angle)
            count += 1
    for i in range(-q.window, q.window + 1):
        for j in range(-q.window, q.window + 1):
            x, y = (column + j + 0.5) * p.cell, (row + i + 0.5) * p.cell
            if count < out.shape[0] and hits_at(p, memory, x, y) >= 1:
                out[count, 0], out[count, 1] = x, y
                count += 1
    return count


@jit
def danger(clearance: float, safe: float, collision: float) -> float:
    """Return 0 for a clearance that is safe, up to 1 for a smaller one, and 1 more for a collision."""
    if clearance >= safe:
        return 0.0
    return (safe - clearance) / safe + (1.0 if clearance < collision else 0.0)


@jit
def drive_ahead(p: Tracking, q: Planning, around: Surroundings, left: float, right: float) -> tuple[float, float]:
    """Hold an action for the horizon.

    Args:
        p: numbers of the tracker.
        q: numbers of the planner.
        around: what is near.
        left: of the action, 0 to 1.
        right: of the action, 0 to 1.

    Returns:
        the cost, without that of a change, and the least clearance to a mover (m).
    """
    speed, turn = q.wheel_least + 0.5 * q.wheel_span * (left + right), q.wheel_span * (right - left) / q.track
    x, y, heading = around.pose[0], around.pose[1], around.pose[2]
    distance = math.hypot(around.goal[0] - x, around.goal[1] - y)
    moving, still, least, crashed = 0.0, 0.0, math.inf, False
    for step in range(1, q.horizon + 1):
        middle, t = heading + 0.5 * turn * p.period, step * p.period
        x += speed * math.cos(middle) * p.period
        y += speed * math.sin(middle) * p.period
        heading += turn * p.period
        weight = 1.0 - q.later * step / q.horizon
        for k in range(around.movers.shape[0]):
            mover = around.movers[k]
            dx, dy = mover[0] + t * mover[2] - x, mover[1] + t * mover[3] - y
            clearance = math.sqrt(dx * dx + dy * dy) - p.radius
            if dx * math.cos(heading) + dy * math.sin(heading) < -q.back:
                clearance += q.behind
            least = min(least, clearance)
            moving = max(moving, weight * danger(clearance, q.safe, q.collision))
        if crashed:
            continue
        for k in range(around.points.shape[0]):
            dx, dy = around.points[k, 0] - x, around.points[k, 1] - y
            clearance = math.sqrt(dx * dx + dy * dy)
            crashed = crashed or clearance < q.still_collision
            still = max(still, weight * danger(clearance, q.still_safe, q.still_collision))
    way = distance - math.hypot(around.goal[0] - x, around.goal[1] - y)
    return q.mover_cost * moving + q.still_cost * still - way, least


@jit
def choose_action(p: Tracking, q: Planning, around: Surroundings, action: Floats, out: Floats) -> bool:
    """Write the action [2] that is executed into out; return whether it is another than the policy's."""
    out[0], out[1] = action[0], action[1]
    if around.movers.shape[0] == 0 or drive_ahead(p, q, around, action[0], action[1])[1] >= q.trigger:
        return False
    best = math.inf
    for i in range(q.grid):
        for j in range(q.grid):
            left, right = i / (q.grid - 1), j / (q.grid - 1)
            cost = drive_ahead(p, q, around, left, right)[0]
            cost += q.change * (abs(left - action[0]) + abs(right - action[1]))
            if cost < best:
                best, out[0], out[1] = cost, left, right
    return True


@jit
def avoid(
    p: Tracking, q: Planning, memory: Memory, observation: NDArray[np.float32], action: Floats, out: Floats
) -> bool:
    """Make one decision.

    Args:
        p: numbers of the tracker.
        q: numbers of the planner.
        memory: of the episode, advanced in place.
        observation: [22 or 24], as the policy sees it.
        action: the policy's [2].
        out: [2], written: the action that is executed.

    Returns:
        whether it is another than the policy's.
    """
    scan, owner = np.empty(4 + BEAMS), np.empty(BEAMS, dtype=np.int64)
    decode_scan(observation, scan)
    observe(p, memory, scan, owner)
    movers, points, goal = np.empty((2 * TRACKS, 4)), np.empty((_POINTS, 2)), np.empty(2)
    count = list_movers(q, memory, movers)
    number = list_points(p, q, memory, scan, owner, points) if count > 0 else 0
    goal[0] = memory.pose[0] + scan[1] * math.cos(memory.pose[2] + scan[0])
    goal[1] = memory.pose[1] + scan[1] * math.sin(memory.pose[2] + scan[0])
    around = Surroundings(memory.pose, goal, movers[:count], points[:number])
    return choose_action(p, q, around, action, out)


class AvoidMovers(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Drive a navigation environment, avoiding what moves; the arm ``avoid`` puts it around every other wrapper.

    ``overridden`` counts the decisions of the episode in which the policy's action was replaced, ``memory`` is what the
    tracker remembers.

    Raises:
        UsageError: the environment has not the observations and actions of navigation.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        reason = incompatibility(env)
        if reason is not None:
            raise UsageError(f"AvoidMovers: {reason}")
        self.tracking, self.planning = Tracking(), Planning()
        self.memory, self.overridden = new_memory(), 0
        self._observation = np.zeros(env.observation_space.shape or (), dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, without memories."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.memory, self.overridden = new_memory(), 0
        self._observation = np.array(observation, dtype=np.float32)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step with the policy's action, or with another where it would collide with a mover."""
        chosen = np.empty(2)
        wheels = np.asarray(action, dtype=np.float64)
        if avoid(self.tracking, self.planning, self.memory, self._observation, wheels, chosen):
            self.overridden += 1
            action = chosen.astype(np.float32)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._observation = np.array(observation, dtype=np.float32)
        return observation, reward, terminated, truncated, info


def incompatibility(env: gym.Env[Any, Any]) -> str | None:
    """Return why movers cannot be avoided in this environment, or None if they can."""
    if env.observation_space in (SIGNED, CODED) and env.action_space == ACTIONS:
        return None
    return (
        "expected the observations and actions of a navigation environment, such as homeo_rl/NavigationDynamic-v0 has, "
        f"got {env.observation_space} and {env.action_space}"
    )
