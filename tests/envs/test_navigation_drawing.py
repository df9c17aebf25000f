from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import ImageColor

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation import drawing
from homeo_rl.envs.navigation.drawing import Artist, Window, view_of
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.envs.navigation.world import load_world
from homeo_rl.errors import UsageError

WORLD = load_world(
    {
        "name": "hall",
        "outer": [[0, 0], [10, 0], [10, 10], [0, 10]],
        "obstacles": [[[1, 1], [3, 1], [3, 3], [1, 3]]],
        "discs": [{"center": [8, 2], "radius": 0.7}],
        "movers": [{"start": [2, 8], "velocity": [0.7, 0]}],
    }
)
START, GOAL = (5.0, 5.0, 0.0), (5.0, 9.0)


@pytest.fixture
def fleet() -> Fleet:
    """Return one robot in the middle of the hall that looks to the right; the goal is above it."""
    found = Fleet(Task.build(worlds=WORLD), 1)
    found.begin(0, np.random.default_rng(0), {"start": START, "goal": GOAL})
    return found


def colour(picture: np.ndarray, x: float, y: float) -> tuple[int, ...]:
    column, row = view_of(WORLD, len(picture)).pixel(x, y)
    return tuple(int(byte) for byte in picture[int(row), int(column)])


def paint(name: str) -> tuple[int, ...]:
    return ImageColor.getrgb(name)


@pytest.mark.parametrize("size", [200, 400])
def test_everything_is_where_it_is(fleet: Fleet, size: int) -> None:
    """Corners of the hall differ, so a picture that is mirrored or upside down would fail."""
    picture = Artist(size).draw(WORLD, fleet, 0, [(5.0, 3.0), START[:2]])
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert colour(picture, 2, 2) == colour(picture, 8, 2) == paint(drawing.SOLID)
    assert colour(picture, 1.5, 6) == colour(picture, 9, 8) == paint(drawing.FLOOR)
    assert colour(picture, 2, 8) == paint(drawing.MOVER)
    assert colour(picture, 5, 5) == paint(drawing.ROBOT_BLUE)
    assert colour(picture, *GOAL) == paint(drawing.GOAL)
    assert colour(picture, 5, 3) == paint(drawing.PAPER)  # within the ring around the start


def test_trail_and_heading_show(fleet: Fleet) -> None:
    artist = Artist(400)
    bare, trail = artist.draw(WORLD, fleet, 0, []), artist.draw(WORLD, fleet, 0, [(5.0, 2.0), (5.0, 5.0)])
    assert colour(bare, 5, 3) == paint(drawing.FLOOR)
    assert colour(trail, 5, 3) == pytest.approx(paint(drawing.TRAIL), abs=40)
    fleet.state[0]["heading"] = np.pi
    assert (colour(bare, 5.3, 5), colour(artist.draw(WORLD, fleet, 0, []), 4.7, 5)) == (paint(drawing.ROBOT_BLUE),) * 2


def test_beams_end_where_they_read_and_warn_when_near(fleet: Fleet) -> None:
    fleet.movers[0, 0, :2] = 1e6  # parked
    fleet.ranges[0] = 1e-3
    artist = Artist(400)
    hidden = artist.draw(WORLD, fleet, 0, [])
    assert all(colour(hidden, 5 + x, 5 + y) == paint(drawing.FLOOR) for x, y in ((0, 1), (0, -1), (-1, 0)))
    fleet.ranges[0, 0] = 3.0  # 85 degrees to the left of the robot, which is nearly up
    angle = np.radians(85)
    far = artist.draw(WORLD, fleet, 0, [])
    assert colour(far, 5 + 2 * np.cos(angle), 5 + 2 * np.sin(angle)) != paint(drawing.FLOOR)
    assert colour(far, 5 + 3.5 * np.cos(angle), 5 + 3.5 * np.sin(angle)) == paint(drawing.FLOOR)
    fleet.ranges[0, 0] = 0.4
    red, _, blue = colour(artist.draw(WORLD, fleet, 0, []), 5 + 0.4 * np.cos(angle), 5 + 0.4 * np.sin(angle))
    assert red > blue + 100


def test_movers_move(fleet: Fleet) -> None:
    fleet.state[0]["steps"] = 20
    picture = Artist(400).draw(WORLD, fleet, 0, [])
    assert colour(picture, 2 + 0.7 * 2, 8) == paint(drawing.MOVER)
    assert colour(picture, 2, 8) == paint(drawing.FLOOR)


def test_a_state_has_one_picture_and_the_background_stays_clean(fleet: Fleet) -> None:
    first = Artist(200).draw(WORLD, fleet, 0, [(3.0, 6.0), (5.0, 5.0)])
    fleet.state[0]["x"] = 6.0
    other = Artist(200).draw(WORLD, fleet, 0, [])
    fleet.state[0]["x"] = 5.0
    assert not np.array_equal(first, other)
    assert np.array_equal(first, Artist(200).draw(WORLD, fleet, 0, [(3.0, 6.0), (5.0, 5.0)]))


@pytest.mark.parametrize("outer", [[[0, 0], [20, 0], [20, 5], [0, 5]], [[0, 0], [4, 0], [4, 30], [0, 30]]])
def test_long_worlds_keep_their_shape(outer: list[list[float]]) -> None:
    view = view_of(load_world({"name": "long", "outer": outer}), 400)
    corners = np.array(view.pixels(np.array(outer))).reshape(-1, 2)
    assert np.allclose(np.ptp(corners, axis=0), view.scale * np.ptp(outer, axis=0))
    assert (corners > 4).all()
    assert (corners < 396).all()
    assert np.ptp(corners, axis=0).max() > 360


def test_the_environment_renders_after_reset_and_step() -> None:
    env = gym.make("homeo_rl/Navigation-v0", render_mode="rgb_array")
    env.reset(seed=0)
    before = np.asarray(env.render())
    for _ in range(5):
        env.step(np.ones(2, dtype=np.float32))
    after = np.asarray(env.render())
    assert before.shape == after.shape == (400, 400, 3)
    assert not np.array_equal(before, after)
    env.close()


def test_the_vector_environment_renders_every_robot() -> None:
    envs: Any = gym.make_vec("homeo_rl/NavigationDynamic-v0", num_envs=3, render_mode="rgb_array")
    envs.reset(seed=0)
    pictures = envs.render()
    assert isinstance(pictures, tuple)
    assert [picture.shape for picture in pictures] == [(400, 400, 3)] * 3
    assert not np.array_equal(pictures[0], pictures[1])
    envs.close()


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UsageError, match=r"expected a display.*--video"):
        Window(400)


def test_a_window_needs_tk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(UsageError, match=r"expected Tk.*python3-tk"):
        Window(400)


def test_a_window_shows_paces_and_ends_when_it_is_closed() -> None:
    pytest.importorskip("tkinter")
    if shutil.which("xvfb-run") is None:
        pytest.skip("no Xvfb here: the window is not tried (Debian: apt-get install xvfb)")
    script = """
        import time, gymnasium as gym, numpy as np, homeo_rl
        env = gym.make("homeo_rl/Navigation-v0", render_mode="human")
        env.reset(seed=0)
        window = env.unwrapped._artist
        begin = time.monotonic()
        for _ in range(10):
            env.step(np.full(2, 0.5, dtype=np.float32))
        assert time.monotonic() - begin >= 9 / 30
        assert window._photo.width() == 400
        for _ in range(2):  # closed by the user, and once more after a new window opened
            window._root.after(1, window._root.tk.eval, window._root.protocol("WM_DELETE_WINDOW"))
            try:
                for _ in range(5):
                    env.step(np.full(2, 0.5, dtype=np.float32))
                raise SystemExit("the window was closed, and nobody noticed")
            except KeyboardInterrupt:
                assert window._root is None
            env.reset()
        env.close()
        env.close()
        print("shown")
    """
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "shown", done.stderr
