"""What an exact checkpoint of SAC costs when the replay ring holds a million transitions.

    python -m benchmarks.checkpoint_cost [--json] [--tiny]

Arms, each for 10,000 new transitions: ours (a checkpoint of everything, new transitions as a segment), synced to the
disk; Stable-Baselines3 (``save`` and ``save_replay_buffer``: the whole ring as a pickle, neither generators nor
environment, not synced); and the training itself (environment steps and gradient steps, from a shorter stretch).
Ratios: our checkpoint's share of the training's time, and SB3's time over ours.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.common import arguments, report
from homeo_rl.agents.sb3.bounded_monitor import Monitored
from homeo_rl.agents.sb3.policies import SpikingSACPolicy
from homeo_rl.envs.make import make_env
from homeo_rl.envs.replayable import Recorded
from homeo_rl.training.resume.checkpoints import Checkpoints
from homeo_rl.training.resume.replay_segments import ring_of
from homeo_rl.training.resume.snapshot import capture

NEW = 10_000


def main() -> None:
    """Fill a ring, save, save again."""
    args = arguments(__doc__)
    size, start, stretch, rounds = (20_000, 20, 20, 2) if args.tiny else (1_000_000, 100, 600, 5)
    torch.set_num_threads(1)
    envs = DummyVecEnv([lambda: Recorded(Monitored(make_env("HalfCheetah-v5", {})))])
    model = SAC(
        SpikingSACPolicy, envs, policy_kwargs={"agent": "popsan"}, buffer_size=size, learning_starts=start, seed=0
    )
    model.learn(start + 10)
    begin = time.perf_counter()
    model.learn(stretch, reset_num_timesteps=False)
    training = (time.perf_counter() - begin) / stretch * NEW
    ring = ring_of(model)
    assert ring is not None
    rng = np.random.default_rng(0)
    for name in ("observations", "next_observations", "actions", "rewards"):
        array = getattr(ring, name)
        array[...] = rng.standard_normal(array.shape, dtype=np.float32)
    ring.full, ring.pos, model.num_timesteps = True, 0, size
    ours, theirs = [], []
    folder = Path(tempfile.mkdtemp())
    try:
        checkpoints = Checkpoints(folder / "checkpoints")
        checkpoints.save(model, capture(model, []), {})
        for _ in range(rounds):
            model.num_timesteps += NEW
            ring.pos = (ring.pos + NEW) % size
            begin = time.perf_counter()
            checkpoints.save(model, capture(model, []), {})
            ours.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            model.save(folder / "model.zip")
            model.save_replay_buffer(folder / "ring.pkl")
            theirs.append(time.perf_counter() - begin)
    finally:
        shutil.rmtree(folder)
    mine, other = float(np.median(ours)), float(np.median(theirs))
    report(
        {"checkpoint": 1e3 * mine, "stable_baselines3": 1e3 * other, "training": 1e3 * training},
        {"share_of_training_percent": 100.0 * mine / training, "vs_stable_baselines3": other / mine},
        as_json=args.json,
        unit="ms",
        note=f"a ring of {size:,} transitions, {NEW:,} of them new",
    )


if __name__ == "__main__":
    main()
