"""Policies as functions of Python, as a user would write them, for toy_envs:Point-v0 ([N, 3] to [N, 2])."""

from __future__ import annotations

from typing import Any

import numpy as np


def home(observations: np.ndarray) -> np.ndarray:
    """Push towards the origin."""
    return np.clip(-observations[:, :2], -1.0, 1.0)


def listed(observations: np.ndarray) -> list[list[float]]:
    return [[2.0, -3.0] for _ in observations]  # beyond the bounds, which clip it


def smooth(observations: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
    """Follow the mean of all that was seen in the episode."""
    total, count = (np.zeros(2), 0) if state is None else state
    total, count = total + observations[0, :2], count + 1
    return np.clip(-total / count, -1.0, 1.0)[None], (total, count)


class Noisy:
    """Draws from the episode's own random numbers."""

    def reset(self, rng: np.random.Generator) -> np.random.Generator:
        return rng

    def __call__(self, observations: np.ndarray, state: np.random.Generator) -> tuple[np.ndarray, np.random.Generator]:
        return state.uniform(-1.0, 1.0, (1, 2)), state


def choose(observations: np.ndarray) -> np.ndarray:
    """For toy_envs:Choice-v0."""
    return (observations[:, 0] > 0).astype(int)


def wide(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 3))


def flat(observations: np.ndarray) -> np.ndarray:
    return np.zeros(2)


def words(observations: np.ndarray) -> Any:
    return [["left", "right"]]


def nothing(observations: np.ndarray) -> None:
    return None


def nan(observations: np.ndarray) -> np.ndarray:
    return np.full((1, 2), np.nan)


def nan_later(observations: np.ndarray) -> np.ndarray:
    """Goes wrong after the fifth step."""
    return np.full((1, 2), np.nan if observations[0, 2] > 0.12 else 0.0)


def wrong_later(observations: np.ndarray) -> np.ndarray:
    return np.zeros((1, 5 if observations[0, 2] > 0.12 else 2))


def fails(observations: np.ndarray) -> np.ndarray:
    raise ValueError("no\nidea")


def leaves(observations: np.ndarray) -> np.ndarray:
    raise SystemExit(7)


def alone(observations: np.ndarray, state: Any) -> np.ndarray:
    return np.zeros((1, 2))  # without the state


NUMBER = 3
