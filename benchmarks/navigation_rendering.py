"""Time the pictures of the navigation world: 1,000 of 400 x 400 pixels, whose goal is 10 s on one core.

Run it from the repository: ``.venv/bin/python benchmarks/navigation_rendering.py``.
"""

from __future__ import annotations

import time

import gymnasium as gym
import numpy as np

import homeo_rl  # noqa: F401  # registers the environment

FRAMES = 1000
GOAL_SECONDS = 10.0


def main() -> None:
    """Drive in a small circle in the evaluation world, so that the trail grows, and time the picture of every step."""
    env = gym.make("homeo_rl/Navigation-v0", render_mode="rgb_array")
    env.reset(seed=0, options={"start": (9.0, 9.0, 0.0), "goal": (-9.0, -9.0)})
    env.render()  # what is drawn only once, and compiled code, are made ready here
    seconds = 0.0
    for _ in range(FRAMES):
        env.step(np.array([0.0, 1.0], dtype=np.float32))
        begin = time.perf_counter()
        env.render()
        seconds += time.perf_counter() - begin
    env.close()
    print(
        f"{FRAMES} pictures: {seconds:.2f} s, {1000 * seconds / FRAMES:.2f} ms each; "
        f"{seconds / GOAL_SECONDS:.2f} of the goal of {GOAL_SECONDS:g} s"
    )


if __name__ == "__main__":
    main()
