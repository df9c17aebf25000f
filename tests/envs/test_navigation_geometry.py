from __future__ import annotations

import dataclasses
import math
from typing import Any

import hypothesis.strategies as st
import navigation_reference as reference
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from navigation_worlds import BEAMS, TRAINING, crowd

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation import kernels, rays
from homeo_rl.envs.navigation.rays import Scene
from homeo_rl.envs.navigation.scene import build_scene, site
from homeo_rl.envs.navigation.world import Disc, World, load_world


def free_poses(world: World, count: int, seed: int) -> np.ndarray:
    """Random poses [count, 3] outside of every obstacle."""
    rng = np.random.default_rng(seed)
    low, high = np.array(world.outer).min(0), np.array(world.outer).max(0)
    points = rng.uniform(low, high, (4 * count, 2))
    there = shapely.points(points)
    solid = shapely.union_all([shapely.Polygon(polygon) for polygon in world.obstacles])
    free = shapely.contains(shapely.Polygon(world.outer), there) & ~shapely.intersects(solid, there)
    for disc in world.discs:
        free &= np.hypot(*(points - disc.center).T) > disc.radius
    points = points[free][:count]
    assert len(points) == count
    return np.column_stack([points, rng.uniform(-7, 7, count)])


def rings(world: World) -> list[Any]:
    return [shapely.LinearRing(polygon) for polygon in (world.outer, *world.obstacles)]


def shapely_ranges(world: World, poses: np.ndarray, angles: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Ranges [P, A] by Shapely to edges; to discs by the ray's foot point, for Shapely's circles are polygons.

    Its rays are a little longer than ``ours`` [P, A]: a hit of ours that is none is missed, a nearer one is found.
    """
    turned = poses[:, 2:] + angles
    units = np.stack([np.cos(turned), np.sin(turned)], -1).reshape(-1, 2)
    origins = np.repeat(poses[:, :2], len(angles), axis=0)
    lines = shapely.linestrings(np.stack([origins, origins + (ours.reshape(-1, 1) + 1e-3) * units], 1))
    corners = [np.array(ring.coords) for ring in rings(world)]
    edges = shapely.linestrings(np.concatenate([np.stack([c[:-1], c[1:]], 1) for c in corners]))
    ray, edge = shapely.STRtree(edges).query(lines, predicate="intersects")
    hits = shapely.distance(shapely.points(origins)[ray], shapely.intersection(lines[ray], edges[edge]))
    found = np.full(len(lines), np.inf)
    np.minimum.at(found, ray, hits)
    for disc in world.discs:
        to = np.array(disc.center) - origins
        foot = (to * units).sum(1)
        inside = disc.radius**2 - ((to - foot[:, None] * units) ** 2).sum(1)
        reached = (foot > 0) & (inside >= 0)
        found[reached] = np.minimum(found[reached], foot[reached] - np.sqrt(inside[reached]))
    return found.reshape(len(poses), len(angles))


@pytest.mark.parametrize("name", ["evaluation", "evaluation-dynamic", *TRAINING])
def test_ranges_and_clearances_equal_shapely(name: str) -> None:
    """10,000 poses in each world. Movers stand as discs where they are at 4.3 s."""
    world = load_world(name)
    places = [np.zeros(3) for _ in world.movers]
    for mover, place in zip(site(world).movers, places, strict=True):
        kernels.place_mover(mover, 4.3, place)
    world = dataclasses.replace(world, discs=tuple(Disc(center=(p[0], p[1]), radius=p[2]) for p in places))
    assert len(world.discs) == (11 if name == "evaluation-dynamic" else 0)
    scene = build_scene(world)
    poses = free_poses(world, 10_000, seed=3)
    angles = BEAMS[::3] if name == "evaluation" else BEAMS[[0, 8, 17]]
    turned = poses[:, 2:] + angles
    units = zip(poses.repeat(len(angles), 0), np.cos(turned).flat, np.sin(turned).flat, strict=True)
    ranges = np.reshape([rays.cast_ray(scene, x, y, ux, uy) for (x, y, _), ux, uy in units], turned.shape)
    assert np.isfinite(ranges).all()
    np.testing.assert_allclose(ranges, shapely_ranges(world, poses, angles, ranges), rtol=0, atol=1e-9)

    clearances = np.zeros(len(poses))
    rays.clearances(scene, poses[:, :2].copy(), clearances)
    expected = shapely.distance(shapely.points(poses[:, :2]), shapely.union_all(rings(world)))
    for disc in world.discs:
        expected = np.minimum(expected, np.hypot(*(poses[:, :2] - disc.center).T) - disc.radius)
    np.testing.assert_allclose(clearances, expected, rtol=0, atol=1e-9)


def check_grid(scene: Scene, cases: np.ndarray) -> None:
    """Rays [R, 4] (x, y, unit vector) and clearances through the grid equal those without it, to the bit."""
    for x, y, ux, uy in cases:
        expected = reference.ray_ranges(scene, x, y, ux, uy).min()
        assert rays.cast_ray(scene, x, y, ux, uy) == expected, (x, y, ux, uy)
        assert rays.clearance(scene, x, y) == reference.clearance(scene, x, y), (x, y)


@pytest.mark.parametrize("cell", [None, 0.13, 1.0, 3.7, 25.0])
def test_the_grid_changes_nothing(cell: float | None) -> None:
    """330 obstacles and 50 discs: random rays, rays along grid lines, through corners, along edges, from outside."""
    world = crowd()
    scene = build_scene(world, cell)
    rng = np.random.default_rng(2)
    angles = rng.uniform(-7, 7, 600)
    free = np.column_stack([rng.uniform(-10, 10, (600, 2)), np.cos(angles), np.sin(angles)])

    axes = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    slants = np.radians([0, 45, 90, 135, 180, 270])  # cosines and sines that are all but zero, too
    units = np.concatenate([axes, np.stack([np.cos(slants), np.sin(slants)], 1)])
    columns, rows = rng.integers(0, [scene.columns, scene.rows], (200, 2)).T
    crossings = scene.corner + np.stack([columns, rows], 1) * scene.cell
    along_lines = np.column_stack([crossings, units[np.arange(200) % len(units)]])

    first = scene.segments[:, :2]
    edges = scene.segments[:, 2:]
    origins = rng.uniform(-10, 10, first.shape)
    towards = (first - origins) / np.linalg.norm(first - origins, axis=1, keepdims=True)
    through_corners = np.column_stack([origins, towards])
    ahead = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    along_edges = np.column_stack([first - rng.uniform(0, 3, (len(first), 1)) * ahead, ahead])

    outside = np.column_stack([rng.uniform(11, 12, (20, 2)), np.tile([[-0.6, -0.8], [0.6, 0.8]], (10, 1))])
    check_grid(scene, np.concatenate([free, along_lines, through_corners[:300], along_edges[:300], outside]))


@st.composite
def stars(draw: st.DrawFn) -> World:
    """A room with some star-shaped polygons, which never cross themselves."""
    polygons = []
    for _ in range(draw(st.integers(0, 4))):
        corners = draw(st.integers(3, 8))
        x, y = draw(st.tuples(st.floats(-4, 4), st.floats(-4, 4)))
        sizes = draw(st.lists(st.floats(0.1, 3.0), min_size=corners, max_size=corners))
        turn = draw(st.floats(0, 1))
        polygons.append(
            tuple(
                (x + r * math.cos(turn + 2 * math.pi * i / corners), y + r * math.sin(turn + 2 * math.pi * i / corners))
                for i, r in enumerate(sizes)
            )
        )
    radii = draw(st.lists(st.floats(0.01, 2.0), max_size=3))
    return World(
        name="stars",
        outer=((-5, -5), (5, -5), (5, 5), (-5, 5)),
        obstacles=tuple(polygons),
        discs=tuple(Disc(center=(i - 2.0, 1.0 - i), radius=r) for i, r in enumerate(radii)),
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    world=stars(),
    x=st.floats(-5, 5),
    y=st.floats(-5, 5),
    heading=st.floats(-10, 10),
    cell=st.floats(0.2, 12),
    corner=st.integers(0, 100),
)
def test_any_world_and_pose(world: World, x: float, y: float, heading: float, cell: float, corner: int) -> None:
    scene = build_scene(world, cell)
    aim = scene.segments[corner % len(scene.segments), :2] - (x, y)
    far = float(np.hypot(*aim))
    cases = [(x, y, math.cos(heading), math.sin(heading))]
    if far > 1e-3:
        cases.append((x, y, aim[0] / far, aim[1] / far))
        assert rays.cast_ray(scene, *cases[1]) <= far + 1e-9, "a ray slips between two edges"
    check_grid(scene, np.array(cases))


def test_rays_along_an_edge_end_at_its_corner() -> None:
    """All but parallel lines meet anywhere, by rounding; the ray must not."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        corner, angle, length = rng.uniform(-2, 2, 2), rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 2)
        ahead = np.array([math.cos(angle), math.sin(angle)])
        tip = corner + length / 2 * ahead + rng.uniform(0.5, 1) * np.array([-ahead[1], ahead[0]])
        triangle = tuple((float(x), float(y)) for x, y in (corner, corner + length * ahead, tip))
        scene = build_scene(World(name="one", outer=((-5, -5), (5, -5), (5, 5), (-5, 5)), obstacles=(triangle,)))
        away = rng.uniform(0.2, 2)
        x, y = corner - away * ahead
        assert rays.cast_ray(scene, x, y, *ahead) == pytest.approx(away, abs=1e-9)


def test_movers_go_out_pause_and_come_back() -> None:
    mover = np.array([1.0, 2.0, 0.7, -0.5, 0.25, 9.6, 1.1, 7.4])  # a round: 9.6 + 1.1 + 7.4 + 1.1 = 19.2 s
    place = np.zeros(3)
    for time, share in {0: 0, 4.8: 0.5, 9.6: 1, 10.5: 1, 14.4: 0.5, 18.1: 0, 19.0: 0, 24.0: 0.5}.items():
        kernels.place_mover(mover, float(time), place)
        np.testing.assert_allclose(place, [1 + 0.7 * 9.6 * share, 2 - 0.5 * 9.6 * share, 0.25], atol=1e-12)
    for time in np.random.default_rng(0).uniform(0, 300, 200):
        kernels.place_mover(mover, time, place)
        np.testing.assert_allclose(place, reference.mover_place(mover, time), rtol=0, atol=1e-12)
