"""What a training leaves for the observer: a sample of what its robots saw and did, as whole episodes.

Off-policy algorithms have a replay ring of the whole training; of on-policy ones the last rollouts are kept while they
learn. Observations are those of the environment, before any normaliser, and actions those that were executed.
Shapes: T steps, E environments, D observation entries, K action entries.
"""

from collections import deque
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from homeo_rl.envs.frame_stack import KEY as FRAMES
from homeo_rl.observer.memory import sample_rows
from homeo_rl.observer.recording import LEAST_STEPS, Recording
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.training.resume.replay_segments import ring_of

NEWEST = 3
"""One part in so many is the newest: there, the policy acted as it was about to be at the end."""


class Steps(NamedTuple):
    """Consecutive steps of environments side by side; ``starts`` says where an episode began."""

    observations: np.ndarray  # [T, E, D]
    actions: np.ndarray  # [T, E, K]
    starts: np.ndarray  # [T, E]


class ExperienceCallback(BaseCallback):
    """Keep the last rollouts of an on-policy algorithm. A resumed training begins to collect anew."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows, self._kept = rows, 0
        self._rollouts: deque[Steps] = deque()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not self._rows or not isinstance(self.model, OnPolicyAlgorithm):
            return
        buffer = self.model.rollout_buffer
        actions = _clip_actions(self.model, buffer.actions)
        self._rollouts.append(Steps(np.array(buffer.observations, np.float32), actions, buffer.episode_starts > 0.5))
        self._kept += buffer.episode_starts.size
        while self._kept - self._rollouts[0].starts.size >= self._rows:
            self._kept -= self._rollouts.popleft().starts.size

    def steps(self) -> Steps | None:
        """Return what was kept, the oldest first; None where there is nothing."""
        return Steps(*map(np.concatenate, zip(*self._rollouts, strict=True))) if self._rollouts else None


def rows_for(model: BaseAlgorithm, run: Run) -> int:
    """Return how many rows of a training may be kept; 0 where an observer could not use them.

    Under randomised faults the truth is not known.
    """
    spec, seen, acted = run.spec, model.observation_space, model.action_space
    shape = seen.shape or ()
    plain = isinstance(seen, gym.spaces.Box) and isinstance(acted, gym.spaces.Box) and len(shape) == 1
    if not plain or spec.randomise or spec.env_kwargs.get(FRAMES, 1) != 1:
        return 0
    rows = sample_rows(shape[0], int(np.prod(acted.shape or (1,))))
    return rows if rows >= LEAST_STEPS else 0


def keep_experience(model: BaseAlgorithm, run: Run, last: ExperienceCallback) -> None:
    """Write the sample of a finished training into its run, where there is one."""
    rows = rows_for(model, run)
    steps = last.steps() if ring_of(model) is None else _steps_of_ring(model)
    if rows and steps is not None and steps.starts.size >= LEAST_STEPS:
        source = "last rollouts" if ring_of(model) is None else "replay ring"
        sample = sample_episodes(steps, rows, seed=run.spec.seed)
        run.save_experience(sample.to_tensors(), {"source": source, "of": int(steps.starts.size)})


def sample_episodes(steps: Steps, rows: int, *, seed: int) -> Recording:
    """Return at most ``rows`` steps as whole episodes, the oldest first: the newest of them, and any of the others.

    Episodes of which the beginning is missing are left out where there are others; the last one that fits is cut.
    ``clean`` marks the newest part, in which the policy acted and not an early form of it.
    """
    episodes = []
    for env in range(steps.starts.shape[1]):
        begins = np.flatnonzero(steps.starts[:, env]).tolist() or [0]
        episodes += [(end, env, begin) for begin, end in zip(begins, [*begins[1:], len(steps.starts)], strict=True)]
    episodes.sort(reverse=True)
    lengths = np.cumsum([end - begin for end, _, begin in episodes])
    newest = int(np.searchsorted(lengths, min(rows, lengths[-1]) // NEWEST)) + 1
    others = generator(seed, "experience").permutation(np.arange(newest, len(episodes))).tolist()
    left, chosen = rows, []
    for index in [*range(newest), *others]:
        end, env, begin = episodes[index]
        end = min(end, begin + left)
        left -= end - begin
        if end > begin + 1:
            chosen.append((index, env, np.arange(begin, end)))
    chosen.sort(key=lambda one: -one[0])
    return Recording(
        np.concatenate([steps.observations[at, env] for _, env, at in chosen]).astype(np.float32),
        np.concatenate([steps.actions[at, env] for _, env, at in chosen]).astype(np.float32),
        np.concatenate([np.arange(len(at)) == len(at) - 1 for _, _, at in chosen]),
        np.concatenate([np.full(len(at), index < newest) for index, _, at in chosen]),
    )


def _steps_of_ring(model: BaseAlgorithm) -> Steps:
    """Return the replay ring, the oldest step first."""
    ring = ring_of(model)
    assert ring is not None
    rows = (np.arange(ring.size()) + (ring.pos if ring.full else 0)) % ring.buffer_size
    starts = np.roll(ring.dones[rows] > 0.5, 1, axis=0)
    starts[0] = not ring.full
    return Steps(ring.observations[rows], model.policy.unscale_action(ring.actions[rows]), starts)


def _clip_actions(model: OnPolicyAlgorithm, actions: np.ndarray) -> np.ndarray:
    """Return the actions that reached the robot, for those that were drawn [T, E, K]."""
    space = model.action_space
    if not isinstance(space, gym.spaces.Box):
        return actions
    if model.policy.squash_output:
        return np.asarray(model.policy.unscale_action(actions))
    shape = (*actions.shape[:2], *space.shape)
    clipped: np.ndarray = np.clip(actions.reshape(shape), space.low, space.high).reshape(actions.shape)
    return clipped
