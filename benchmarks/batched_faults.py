"""What faults add to a step of 64 HalfCheetahs in one process: each kind alone, and four kinds together.

``python -m benchmarks.batched_faults [--json]``; NumPy, both calls of a step (observe and act) counted. A step of the
physics is taken before each, as in use: it leaves nothing of the faults in the caches. Times are of the processor: on a
shared machine a long step is interrupted more often than a short call.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping

import gymnasium as gym
import numpy as np

from benchmarks.common import Arm, arguments, report
from homeo_rl.degradations import DEGRADATIONS
from homeo_rl.degradations.adapters import make_fault_model
from homeo_rl.degradations.array_fault import ArrayDegradation

TOGETHER = ("obs-gaussian-normalised", "obs-markov", "action-delay", "action-dead")


def main() -> None:
    """Measure and print."""
    args = arguments(__doc__)
    envs = gym.vector.SyncVectorEnv([lambda: gym.make("HalfCheetah-v5")] * (2 if args.tiny else 64))
    rng = np.random.default_rng(0)
    actions = itertools.cycle(rng.uniform(-1.0, 1.0, (16, *envs.action_space.shape)).astype(np.float32))
    readings = itertools.cycle(rng.normal(size=(16, *envs.observation_space.shape)))
    envs.reset(seed=0)

    def damage(kinds: tuple[str, ...]) -> Arm:
        model = make_fault_model(envs, [{"kind": kind} for kind in kinds])
        return lambda: (model.act(next(actions)), model.observe(next(readings)))

    kinds = [kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, ArrayDegradation)]
    arms = {kind: damage((kind,)) for kind in kinds} | {"four together": damage(TOGETHER)}
    times = time_between_steps(lambda: envs.step(next(actions)), arms, rounds=3 if args.tiny else 60)
    shares = {name: 100.0 * time / times["vector step"] for name, time in times.items() if name != "vector step"}
    together = shares.pop("four together")
    worst = max(shares, key=lambda kind: shares[kind])
    ratios = {"worst_kind_percent": shares[worst], "four_together_percent": together}
    note = f"of a vector step: goal <= 5 for each kind (the worst is {worst}); together: {', '.join(TOGETHER)}"
    report(times, ratios, as_json=args.json, note=note)


def time_between_steps(step: Arm, arms: Mapping[str, Arm], *, rounds: int) -> dict[str, float]:
    """Return the median microseconds of a step, and of each arm right after a step."""
    times: dict[str, list[float]] = {name: [] for name in ("vector step", *arms)}
    for _ in range(rounds):
        for name, arm in arms.items():
            begin = time.process_time()
            step()
            between = time.process_time()
            arm()
            times["vector step"].append(between - begin)
            times[name].append(time.process_time() - between)
    return {name: 1e6 * statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
