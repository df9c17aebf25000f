"""The scalar navigation environment: one robot, Gymnasium's interface."""

from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.envs.navigation.coding import CODED, SIGNED
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.envs.navigation.world import World
from homeo_rl.errors import InputError
from homeo_rl.numerics.arrays import FLOAT64, floats_of

ACTIONS = gym.spaces.Box(np.zeros(2, dtype=np.float32), np.ones(2, dtype=np.float32))
"""Left and right wheel, from slowest (0.05 m/s) to fastest (0.5 m/s)."""


class NavigationEnv(gym.Env[np.ndarray, np.ndarray]):
    """Drive to the goal without touching anything.

    ``arguments``: those of `homeo_rl.envs.navigation.tasks.Task.build`.

    ``reset`` takes the options ``world``, ``start`` (x, y, heading) and ``goal`` (x, y). ``info`` holds ``is_success``,
    ``collision``, ``path_length`` (m), ``time`` (s), ``pose`` [x, y, heading], ``goal`` [x, y] and ``ranges`` [18] (m,
    as measured). Running out of steps (overtime) is the time limit's business.

    Raises UsageError: an argument, a world or an option is not sound.
    """

    drive_info = True
    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012  # gymnasium's own type

    def __init__(self, *, render_mode: str | None = None, **arguments: Any) -> None:
        self.fleet = Fleet(Task.build(**arguments), 1)
        self.observation_space = CODED if self.fleet.task.spike_coded else SIGNED
        self.action_space = ACTIONS
        self.render_mode = render_mode
        self._row = np.zeros(1, dtype=np.int64)
        self._artist: Any = None
        self._trail: list[tuple[float, float]] = []

    @property
    def worlds(self) -> tuple[World, ...]:
        """All worlds that episodes take place in."""
        return self.fleet.task.worlds

    @property
    def world(self) -> World:
        """The world of the current episode."""
        return self.fleet.task.worlds[int(self.fleet.where[0])]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self.fleet.episodes[0] = 0  # a curriculum starts over: the same seed, the same episodes
        self.fleet.begin(0, self.np_random, options)
        self._trail = []
        self._note()
        return self.fleet.encode_observations()[0], self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive for 0.1 s.

        Raises:
            InputError: not two numbers, or no episode began.
            NonFiniteInput: a number is not finite; nothing has moved.
        """
        wheels = floats_of(
            action, (2,), what="action", advice="give left and right wheel, 0 to 1", dtype=FLOAT64
        )  # fmt: skip
        if self.fleet.episodes[0] == 0:
            raise InputError("step: expected an episode, none began; call reset() first")
        self.fleet.advance(self._row, wheels[None])
        self._note()
        fleet = self.fleet
        return fleet.encode_observations()[0], float(fleet.rewards[0]), bool(fleet.terminated[0]), False, self._info()

    def render(self) -> Any:
        """Return a picture [400, 400, 3], or show it on the screen."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode; give one to gym.make")
            return None
        from homeo_rl.envs.navigation.drawing import Artist, Window

        if self._artist is None:
            self._artist = Window(400) if self.render_mode == "human" else Artist(400)
        return self._artist.draw(self.world, self.fleet, 0, self._trail)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._artist is not None and self.render_mode == "human":
            self._artist.close()
        self._artist = None

    def _note(self) -> None:
        if self.render_mode is not None:
            robot = self.fleet.state[0]
            self._trail.append((float(robot["x"]), float(robot["y"])))
            if self.render_mode == "human":
                self.render()

    def _info(self) -> dict[str, Any]:
        robot = self.fleet.state[0]
        return {
            "is_success": bool(robot["success"]),
            "collision": bool(robot["collision"]),
            "path_length": float(robot["path"]),
            "time": float(robot["steps"] * self.fleet.seconds),
            "pose": np.array([robot["x"], robot["y"], robot["heading"]]),
            "goal": np.array([robot["goal_x"], robot["goal_y"]]),
            "ranges": self.fleet.ranges[0].copy(),
        }
