"""Pictures of the navigation world: drawn by Pillow, shown by Tk; neither needs a graphics card nor OpenGL."""

import math
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from homeo_rl.envs.navigation import kernels
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.kernels import BEAMS
from homeo_rl.envs.navigation.scene import ROBOT
from homeo_rl.envs.navigation.world import World
from homeo_rl.errors import UsageError

Trail = Sequence[tuple[float, float]]

NEAR = 0.5  # a beam that reads less is drawn in the colour of warning (m)
SHORTEST = 1 / 30  # least time between two pictures on the screen (s)

# Hues of Okabe and Ito (2008), which the colour-blind tell apart; what stands still has none.
PAPER, FLOOR, SOLID, INK = "#ffffff", "#f4f2ec", "#48505c", "#2b3038"
ROBOT_BLUE, GOAL, MOVER, WARNING = "#0072b2", "#009e73", "#e69f00", "#d55e00"
GOAL_ZONE, BEAM, BEAM_END, TRAIL = "#d5ebe2", "#56b4e970", "#56b4e9d0", "#4a9bcb"

_FINE = 3  # pictures are drawn this many times larger and then reduced, which smooths all edges
_FAR = 1e5  # m; movers beyond are parked

_BEAM_ANGLES = np.radians(85.0 - 10.0 * np.arange(BEAMS))
_STAR_ANGLES = np.radians(90.0 + 36.0 * np.arange(10))
_STAR = np.stack([np.cos(_STAR_ANGLES), np.sin(_STAR_ANGLES)], 1) * np.where(np.arange(10) % 2, 0.42, 1.0)[:, None]


class View(NamedTuple):
    """Where metres lie in a picture: ``scale`` pixels a metre, the origin at column ``left`` and row ``top``."""

    scale: float
    left: float
    top: float

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Return the column and row (pixels, row 0 on top) of a point (m, y up)."""
        return self.left + self.scale * x, self.top - self.scale * y

    def pixels(self, points: np.ndarray) -> list[float]:
        """Return columns and rows of points [P, 2], in turn: [2 P]."""
        flat: list[float] = (np.array([self.left, self.top]) + points * [self.scale, -self.scale]).ravel().tolist()
        return flat

    def box(self, x: float, y: float, radius: float) -> tuple[float, float, float, float]:
        """Return the square around a disc: left, top, right, bottom."""
        column, row = self.pixel(x, y)
        reach = self.scale * radius
        return column - reach, row - reach, column + reach, row + reach


def view_of(world: World, size: int) -> View:
    """Return how a world lies in a picture of ``size`` x ``size`` pixels: in the middle, below a line of text."""
    corners = np.array(world.outer, dtype=np.float64)
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    margin, strip = 0.015 * size, 0.055 * size
    scale = float(min((size - 2 * margin) / (x1 - x0), (size - strip - margin) / (y1 - y0)))
    middle = 0.5 * (strip + size - margin)
    return View(scale, 0.5 * size - scale * float(x0 + x1) / 2, middle + scale * float(y0 + y1) / 2)


@lru_cache(maxsize=8)
def _font(height: float) -> Any:
    return ImageFont.load_default(height)


@lru_cache(maxsize=16)
def _background(world: World, size: int) -> Image.Image:
    picture = Image.new("RGB", (size, size), PAPER)
    draw, view = ImageDraw.Draw(picture), view_of(world, size)
    outer = view.pixels(np.array(world.outer))
    # The floor hides the inner half of the wall's line, so that the wall begins where robots touch it.
    draw.line(outer + outer[:4], SOLID, width=round(0.014 * size), joint="curve")
    draw.polygon(outer, FLOOR)
    for polygon in world.obstacles:
        draw.polygon(view.pixels(np.array(polygon)), SOLID)
    for disc in world.discs:
        draw.ellipse(view.box(*disc.center, disc.radius), SOLID)
    return picture


class Artist:
    """Draw robots in their worlds, seen from above, in pictures of ``size`` x ``size`` pixels."""

    def __init__(self, size: int) -> None:
        self.size = size

    def draw(self, world: World, fleet: Fleet, row: int, trail: Trail) -> np.ndarray:
        """Draw one robot of a fleet.

        ``trail``: the points (m) where it has been; the first one is marked as its start. Returns a picture [size,
        size, 3] of bytes.
        """
        return np.array(self.paint(world, fleet, row, trail))

    def paint(self, world: World, fleet: Fleet, row: int, trail: Trail) -> Image.Image:
        """Draw what `draw` draws into a picture of Pillow's."""
        fine, robot, reach = _FINE * self.size, fleet.state[row], fleet.task.rules.goal_radius
        view, pen, now = view_of(world, fine), fine / 400, float(robot["steps"] * fleet.seconds)
        goal = float(robot["goal_x"]), float(robot["goal_y"])
        picture = _background(world, fine).copy()
        draw = ImageDraw.Draw(picture, "RGBA")  # this mode lets beams shine through
        draw.ellipse(view.box(*goal, reach), GOAL_ZONE)
        _draw_beams(draw, view, pen, robot, fleet.ranges[row])
        draw.ellipse(view.box(*goal, reach), None, GOAL, width=round(1.5 * pen))
        draw.polygon(view.pixels(np.array(goal) + 0.7 * reach * _STAR), GOAL)
        if trail:
            draw.line(view.pixels(np.array(trail)), TRAIL, width=round(1.8 * pen))
            draw.ellipse(view.box(*trail[0], 3.5 * pen / view.scale), PAPER, ROBOT_BLUE, width=round(1.5 * pen))
        here = np.empty(3)
        for mover in fleet.movers[row]:
            kernels.place_mover(mover, now, here)
            if np.abs(here).max() < _FAR:
                draw.ellipse(view.box(here[0], here[1], here[2]), MOVER, INK, width=round(0.8 * pen))
        _draw_robot(draw, view, pen, robot)
        small = picture.reduce(_FINE)
        # Letters are smooth by themselves; reduced they would blur.
        write, font, middle = ImageDraw.Draw(small), _font(0.034 * self.size), 0.025 * self.size
        ending = "   goal reached" if robot["success"] else "   collision" if robot["collision"] else ""
        write.text((0.035 * self.size, middle), f"{now:.1f} s{ending}", INK, font, anchor="lm")
        write.text((0.965 * self.size, middle), f"{robot['distance']:.1f} m to the goal", INK, font, anchor="rm")
        return small


def _draw_beams(draw: ImageDraw.ImageDraw, view: View, pen: float, robot: Any, ranges: np.ndarray) -> None:
    x, y = float(robot["x"]), float(robot["y"])
    angles = float(robot["heading"]) + _BEAM_ANGLES
    ends = np.array([x, y]) + ranges[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    for near, (end_x, end_y) in zip((ranges < NEAR).tolist(), ends.tolist(), strict=True):
        draw.line((*view.pixel(x, y), *view.pixel(end_x, end_y)), WARNING if near else BEAM, width=round(pen))
        draw.ellipse(view.box(end_x, end_y, 1.2 * pen / view.scale), WARNING if near else BEAM_END)


def _draw_robot(draw: ImageDraw.ImageDraw, view: View, pen: float, robot: Any) -> None:
    x, y, heading = float(robot["x"]), float(robot["y"]), float(robot["heading"])
    colour = WARNING if robot["collision"] else ROBOT_BLUE
    ahead = np.array([math.cos(heading), math.sin(heading)])
    aside = np.array([-ahead[1], ahead[0]])
    nose = np.array([x, y]) + ROBOT * np.array([2.4 * ahead, 0.3 * ahead + aside, 0.3 * ahead - aside])
    draw.ellipse(view.box(x, y, ROBOT + pen / view.scale), PAPER)  # a rim, against whatever lies below
    draw.polygon(view.pixels(nose), colour)
    draw.ellipse(view.box(x, y, ROBOT), colour)


class Window:
    """Show the pictures of an `Artist` on the screen, at most 30 a second.

    Raises UsageError: Tk or a display is missing.
    """

    def __init__(self, size: int) -> None:
        self._artist = Artist(size)
        self._root: Any = None
        self._photo: Any = None
        self._unwanted = False
        self._shown = 0.0
        self._open()

    def draw(self, world: World, fleet: Fleet, row: int, trail: Trail) -> None:
        """Show one robot of a fleet; the arguments are those of `Artist.draw`.

        Raises KeyboardInterrupt: the user closed the window, which means what Ctrl-C means. Whoever goes on after that
        and draws again gets a new window.
        """
        if self._root is None:
            self._open()
        self._photo.paste(self._artist.paint(world, fleet, row, trail))
        self._root.title(f"homeo_rl: {world.name}")
        time.sleep(max(0.0, self._shown + SHORTEST - time.monotonic()))
        self._root.update()
        self._shown = time.monotonic()
        if self._unwanted:
            self.close()
            raise KeyboardInterrupt("the window was closed")

    def close(self) -> None:
        """Close the window; a second time does nothing."""
        if self._root is not None:
            self._root.destroy()
        self._root = self._photo = None

    def _open(self) -> None:
        remedy = 'or do without a window: --video, or render_mode="rgb_array"'
        try:
            import tkinter

            from PIL import ImageTk

            self._root = tkinter.Tk()
        except ImportError as error:
            raise UsageError(
                f"rendering: expected Tk, cannot import it ({error}); Debian: apt-get install python3-tk; {remedy}"
            ) from None
        except tkinter.TclError as error:
            raise UsageError(f"rendering: expected a display, found none ({error}); set DISPLAY; {remedy}") from None
        self._unwanted = False
        self._root.resizable(False, False)
        self._root.protocol("WM_DELETE_WINDOW", self._refuse)
        self._photo = ImageTk.PhotoImage("RGB", (self._artist.size, self._artist.size), master=self._root)
        tkinter.Label(self._root, image=self._photo, borderwidth=0).pack()

    def _refuse(self) -> None:
        self._unwanted = True
