"""A robot of four states and two actuators whose truth is known, and an exact forward model of it."""

from __future__ import annotations

import numpy as np

from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.recording import Recording


class LinearRobot:
    """x' = A x + B a + small noise, with eigenvalues of A inside the unit circle."""

    def __init__(self, seed: int, noise: float = 0.01) -> None:
        rng = np.random.default_rng(seed + 100)
        basis, _ = np.linalg.qr(rng.normal(size=(4, 4)))
        self.a = basis @ np.diag([0.95, 0.9, 0.8, 0.7]) @ basis.T
        self.a += 0.1 * np.triu(rng.normal(size=(4, 4)), 1)
        self.b = rng.normal(size=(4, 2)) * 0.6
        self.noise, self._rng = noise, rng
        self.state = self._rng.normal(size=4) * 0.1

    def step(self, action: np.ndarray) -> None:
        """Advance by one step."""
        self.state = self.a @ self.state + self.b @ action + self.noise * self._rng.normal(size=4)


def model_of(robot: LinearRobot) -> ForwardModel:
    """Return the forward model of ``robot``; its hidden units stay in the linear part of their activation."""
    size, hidden, gain = 6, 12, 1e-3
    w1, b1 = np.zeros((size, hidden)), np.zeros(hidden)
    for k in range(size):  # a pair of units gives x: h(u) - h(-u) = u
        w1[k, 2 * k], w1[k, 2 * k + 1] = gain, -gain
    w2 = np.zeros((hidden, hidden))
    for k in range(size):
        for sign, column in ((1.0, 2 * k), (-1.0, 2 * k + 1)):
            w2[2 * k, column], w2[2 * k + 1, column] = sign, -sign
    w3 = np.zeros((hidden, 8))
    change = np.concatenate([robot.a - np.eye(4), robot.b], 1)  # [4, 6]
    for k in range(size):
        w3[2 * k, :4], w3[2 * k + 1, :4] = change[:, k] / gain, -change[:, k] / gain
    deviation = robot.noise - 1e-3  # of (u + sqrt(u^2 + 4)) / 2 at u = 0, which is 1
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    arrays = {"w1": w1, "b1": b1, "w2": w2, "b2": np.zeros(hidden), "w3": w3, "b3": np.zeros(8)}
    return ForwardModel(
        center=zeros, spread=ones, action_center=np.zeros(2, np.float32), action_spread=np.ones(2, np.float32),
        **{name: value.astype(np.float32) for name, value in arrays.items()},
        change=ones, calibration=np.full(4, deviation, np.float32), moves=np.ones(4, bool), r2=ones, noise_ratio=ones,
        start_mean=zeros, start_variance=np.full(4, 0.05, np.float32), largest=ones, largest_running=ones, gate=1.0,
    )  # fmt: skip


def recording_of(robot: LinearRobot, steps: int, *, length: int = 100, seed: int = 0) -> Recording:
    """Return a recording of random actions in sequences of ``length`` steps."""
    rng = np.random.default_rng(seed)
    observations, actions, ends = [], [], []
    for step in range(steps):
        if step % length == 0:
            robot.state = rng.normal(size=4) * 0.1
        action = rng.uniform(-1.0, 1.0, 2)
        observations.append(robot.state.copy())
        actions.append(action)
        ends.append(step % length == length - 1)
        robot.step(action)
    return Recording(
        np.array(observations, np.float32), np.array(actions, np.float32), np.array(ends), np.ones(steps, bool)
    )
