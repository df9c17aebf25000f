"""Measure what acting at random returns: the lower end of the scale in homeo_rl/report/baselines.yaml.

python -m benchmarks.random_returns Pendulum-v1 Hopper-v5
"""

from __future__ import annotations

import argparse
import math

from homeo_rl.envs.make import make_env

EPISODES = 100


def random_return(env_id: str, episodes: int = EPISODES) -> float:
    """Return the mean return of episodes 0, 1, ... whose actions are drawn evenly from the action space."""
    env = make_env(env_id)
    totals = []
    for seed in range(episodes):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            rewards.append(float(reward))
            over = terminated or truncated
        totals.append(math.fsum(rewards))
    env.close()
    return math.fsum(totals) / episodes


def main() -> None:
    """Print a line an environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", nargs="+")
    for env_id in parser.parse_args().environments:
        print(f"{env_id}: {random_return(env_id):.1f} ({EPISODES} episodes)", flush=True)


if __name__ == "__main__":
    main()
