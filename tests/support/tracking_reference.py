"""Tracking and avoidance of movers once more, to be read and to be tested against: matrices, dictionaries, arrays.

`homeo_rl.envs.navigation.tracking` and `avoidance` do the same fast. Nothing here is used outside of tests. Units:
metre, radian, second.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from homeo_rl.envs.navigation.avoidance import Planning, Surroundings
from homeo_rl.envs.navigation.kernels import BEAMS
from homeo_rl.envs.navigation.rays import Floats
from homeo_rl.envs.navigation.tracking import CELLS, TRACKS, Tracking


@dataclass
class Cell:
    """A cell of the map: which one, when it was last seen free (0 for never), how often it was hit since."""

    column: int
    row: int
    free: int = 0
    hits: int = 0


@dataclass
class Disc:
    """A track: mean [4] and covariance [4, 4] of x, y, vx, vy, and what is known of it."""

    mean: Floats
    covariance: Floats
    born: Floats
    seen: int
    hits: int = 1
    misses: float = 0.0
    score: float = 0.6
    moving: bool = False
    lane: Floats = field(default_factory=lambda: np.zeros(2))

    def correct(self, h: Floats, error: float, std: float) -> None:
        """Take the measurement that the disc is ``error`` farther along the unit vector ``h`` [2]."""
        row = np.array([*h, 0.0, 0.0])
        gain = self.covariance @ row / (row @ self.covariance @ row + std**2)
        self.mean = self.mean + gain * error
        self.covariance = self.covariance - np.outer(gain, row @ self.covariance)


class Tracker:
    """What is remembered in an episode, and how an observation changes it."""

    def __init__(self, numbers: Tracking) -> None:
        self.p = numbers
        self.pose, self.clock = np.zeros(3), 0
        self.discs: list[Disc | None] = [None] * TRACKS
        self.map: dict[tuple[int, int], Cell] = {}

    def observe(self, scan: Floats) -> list[int]:
        """Take a decoded observation [22]; return the track that each beam hit, -1 for none."""
        p = self.p
        self.clock += 1
        if self.clock > 1:
            for _ in range(p.substeps):
                heading = self.pose[2]
                self.pose += np.array([scan[2] * math.cos(heading), scan[2] * math.sin(heading), scan[3]]) * (
                    p.period / p.substeps
                )
        ranges = scan[4:]
        angles = self.pose[2] + (85.0 - 10.0 * np.arange(BEAMS)) * (math.pi / 180.0)
        beams = np.stack([np.cos(angles), np.sin(angles)], 1)
        step = np.eye(4) + p.period * np.eye(4, k=2)
        q = (p.acceleration * p.period) ** 2 * np.array([0.25 * p.period**2] * 2 + [1.0] * 2)
        for disc in self.alive():
            disc.mean, disc.covariance = step @ disc.mean, step @ disc.covariance @ step.T + np.diag(q)
        owner = [self._associate(beams[beam], ranges[beam]) for beam in range(BEAMS)]
        for k, passed_by in enumerate(self.discs):
            if passed_by is not None:
                self._exclude(k, passed_by, beams, ranges, owner)
        for k in range(TRACKS):
            judged = self.discs[k]
            if judged is not None and not self._judge(judged):
                self.discs[k] = None
        for beam in range(BEAMS):
            if owner[beam] < 0:
                owner[beam] = self._begin(beams[beam], ranges[beam])
        self._draw(angles, ranges, owner)
        return owner

    def alive(self) -> list[Disc]:
        """Return the tracks that go on."""
        return [disc for disc in self.discs if disc is not None]

    def cell(self, point: Floats) -> Cell:
        """Return the cell of a point, a new one where the map has another in its place."""
        column, row = (math.floor(value / self.p.cell) for value in point)
        cell = self.map.get((row % CELLS, column % CELLS))
        return cell if cell is not None and (cell.column, cell.row) == (column, row) else Cell(column, row)

    def is_free(self, point: Floats) -> bool:
        """Whether a point was free not long ago, and hit at most once since."""
        cell = self.cell(point)
        return cell.hits <= 1 and cell.free > 0 and self.clock - cell.free <= self.p.free_age

    def _mark(self, point: Floats, *, hit: bool) -> None:
        cell = self.cell(point)
        cell.free, cell.hits = (cell.free, cell.hits + 1) if hit else (self.clock, 0)
        self.map[cell.row % CELLS, cell.column % CELLS] = cell

    def _associate(self, beam: Floats, reach: float) -> int:
        p, best, owner = self.p, self.p.gate, -1
        if reach > p.reach + 1.0:
            return -1
        point = self.pose[:2] + reach * beam
        most = 0.1 if self.cell(point).hits >= 4 else p.gate_most
        for k, disc in enumerate(self.discs):
            if disc is None:
                continue
            error, h, deviation = self._edge(disc, point)
            if h @ beam >= -0.2 and abs(error) / deviation < best and abs(error) < most:
                best, owner = abs(error) / deviation, k
        chosen = self.discs[owner] if owner >= 0 else None
        if chosen is not None:
            error, h, _ = self._edge(chosen, point)
            chosen.correct(h, error, p.hit_std)
            chosen.seen, chosen.hits = self.clock, chosen.hits + 1
        return owner

    def _edge(self, disc: Disc, point: Floats) -> tuple[float, Floats, float]:
        away = disc.mean[:2] - point
        distance = float(np.linalg.norm(away))
        h = away / distance
        return self.p.radius - distance, h, math.sqrt(h @ disc.covariance[:2, :2] @ h + self.p.hit_std**2)

    def _exclude(self, k: int, disc: Disc, beams: Floats, ranges: Floats, owner: list[int]) -> None:
        passed = False
        for beam in range(BEAMS):
            along = (disc.mean[:2] - self.pose[:2]) @ beams[beam]
            normal = np.array([-beams[beam, 1], beams[beam, 0]])
            across = (disc.mean[:2] - self.pose[:2]) @ normal
            depth = self.p.radius - abs(across)
            if owner[beam] != k and 0.0 < along < ranges[beam] and depth > 0.02:
                disc.correct(normal * (1.0 if across >= 0.0 else -1.0), depth, self.p.pass_std)
                passed = passed or depth > 0.12
        disc.misses = disc.misses + 1.0 if passed else max(disc.misses - 0.5, 0.0)

    def _judge(self, disc: Disc) -> bool:
        p, speed, c = self.p, float(np.linalg.norm(disc.mean[2:])), disc.covariance
        if disc.seen == self.clock:
            disc.score += p.score_rate * (float(self.is_free(disc.mean[:2])) - disc.score)
            moved = float(np.linalg.norm(disc.mean[:2] - disc.born))
            sure = speed > p.sure * math.sqrt(max(c[2, 2], c[3, 3])) and moved > p.moved
            trusted = disc.hits >= p.hits_moving and disc.score >= p.score_moving
            if sure and trusted and p.slowest < speed < p.fastest:
                if not disc.moving:
                    self._drop_double(disc)
                disc.moving = True
            elif disc.score < p.score_moving - 0.1:
                disc.moving = False
        lost = c[0, 0] + c[1, 1] > 1.0 and not disc.moving
        if lost or self.clock - disc.seen > p.unseen_most or disc.misses > p.misses or disc.score < p.score_least:
            return False
        if speed > 2.0 * p.fastest:
            return False
        disc.mean[2:] *= min(p.fastest / max(speed, 1e-9), 1.0)
        if disc.moving and speed > p.slowest:
            disc.lane = disc.lane + 0.3 * (disc.mean[2:] - disc.lane)
        return True

    def _drop_double(self, new: Disc) -> None:
        for k, disc in enumerate(self.discs):
            unseen = disc is not None and disc.seen < self.clock - 1
            if disc is not None and unseen and np.linalg.norm(disc.mean[:2] - new.mean[:2]) < self.p.double:
                self.discs[k] = None

    def _begin(self, beam: Floats, reach: float) -> int:
        p, point = self.p, self.pose[:2] + reach * beam
        if reach > p.reach - 1.0 or not self.is_free(point) or not self.is_free(point + p.cell * beam):
            return -1
        center = point + p.radius * beam
        near = any(np.linalg.norm(disc.mean[:2] - center) < p.radius for disc in self.alive())
        if near or None not in self.discs:
            return -1
        k = self.discs.index(None)
        covariance = np.diag([p.start_std**2] * 2 + [p.speed_std**2] * 2)
        covariance[:2, :2] += (p.depth_std**2 - p.start_std**2) * np.outer(beam, beam)
        self.discs[k] = Disc(np.array([*center, 0.0, 0.0]), covariance, center, self.clock)
        return k

    def _draw(self, angles: Floats, ranges: Floats, owner: list[int]) -> None:
        p = self.p
        for beam in range(BEAMS):
            for between in range(4 if beam + 1 < BEAMS else 1):
                reach = min(ranges[beam] - p.free_margin, p.reach)
                if between:
                    reach = min(reach, ranges[beam + 1] - p.free_margin, p.free_between)
                angle = self.pose[2] + (85.0 - 10.0 * beam - 2.5 * between) * (math.pi / 180.0)
                for step in range(int(reach / p.cell) + 1 if reach > 0.0 else 0):
                    self._mark(self.pose[:2] + step * p.cell * np.array([math.cos(angle), math.sin(angle)]), hit=False)
        for beam in range(BEAMS):
            if owner[beam] < 0 and ranges[beam] < p.reach:
                direction = np.array([math.cos(angles[beam]), math.sin(angles[beam])])
                self._mark(self.pose[:2] + ranges[beam] * direction, hit=True)


def costs(p: Tracking, q: Planning, around: Surroundings, actions: Floats) -> tuple[Floats, Floats]:
    """Return cost and least clearance to a mover [A] of actions [A, 2] that are held for the horizon."""
    speed = q.wheel_least + 0.5 * q.wheel_span * actions.sum(1)
    turn = q.wheel_span * (actions[:, 1] - actions[:, 0]) / q.track
    count = np.arange(1, q.horizon + 1)
    headings = around.pose[2] + turn[:, None] * p.period * count
    middles = headings - 0.5 * turn[:, None] * p.period
    ways = np.stack([np.cos(middles), np.sin(middles)], 2) * (speed[:, None, None] * p.period)
    path = around.pose[:2] + np.cumsum(ways, 1)  # [A, H, 2]
    weights = 1.0 - q.later * count / q.horizon
    at = around.movers[:, None, :2] + around.movers[:, None, 2:] * (p.period * count[:, None])  # [M, H, 2]
    away = at[None] - path[:, None]  # [A, M, H, 2]
    ahead = away[..., 0] * np.cos(headings)[:, None] + away[..., 1] * np.sin(headings)[:, None]
    clearance = np.linalg.norm(away, axis=3) - p.radius + np.where(ahead < -q.back, q.behind, 0.0)
    moving = (weights * _danger(clearance, q.safe, q.collision)).max((1, 2), initial=0.0)
    gaps = np.linalg.norm(around.points[None, None] - path[:, :, None], axis=3)  # [A, H, P]
    crashed = np.cumsum((gaps < q.still_collision).any(2), 1)
    before = np.concatenate([np.zeros((len(actions), 1)), crashed[:, :-1]], 1) == 0  # no crash at an earlier step
    danger = _danger(gaps, q.still_safe, q.still_collision) * (weights[:, None] * before[..., None])
    still = danger.max((1, 2), initial=0.0)
    goal = np.linalg.norm(around.goal - around.pose[:2]) - np.linalg.norm(around.goal - path[:, -1], axis=1)
    return q.mover_cost * moving + q.still_cost * still - goal, clearance.min((1, 2), initial=math.inf)


def _danger(clearance: Floats, safe: float, collision: float) -> Floats:
    return np.where(clearance < safe, (safe - clearance) / safe + (clearance < collision), 0.0)
