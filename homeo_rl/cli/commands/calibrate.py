"""``homeo-rl calibrate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Common, Flag, Positional, Progress, Words
from homeo_rl.errors import UsageError

COMMAND = Command(EVALUATE, 4, "record the firing rates of a healthy network")


@dataclass(frozen=True, kw_only=True)
class Calibrate(Common):
    """Learn what is normal for a run's network: firing rates, and a memory of clean observations and its answers."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    episodes: int = 5
    """Clean episodes."""
    env: str = ""
    """Gymnasium id in place of the run's own."""
    gym_packages: Words = ()
    """Packages that register environments, besides those that the run was trained with."""
    best: Flag = False
    """Calibrate the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""


def run(args: Calibrate, words: list[str]) -> dict[str, Any]:
    """Calibrate a run."""
    run = open_run(args.run, args.gym_packages)
    if args.episodes < 1:
        raise UsageError(f"--episodes: expected at least 1, got {args.episodes}")

    from homeo_rl.agents.controller import load_controller, require_spiking
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.envs.make import arguments_for
    from homeo_rl.evaluation.calibrate import calibration_of
    from homeo_rl.snn.replay import is_replayable

    which, env = "best" if args.best else "policy", args.env or run.spec.env
    controller = load_controller(run, which=which)
    network = require_spiking(controller, "calibrate")
    healthy = env, arguments_for(env, run.spec.env, run.spec.env_kwargs)
    with Bars(enabled=args.progress).shown() as bars:
        bars.start("calibration", args.episodes)
        found = calibration_of(
            run, controller, which=which, episodes=args.episodes, env=healthy, on_episode=lambda _: bars.advance()
        )
    rows = [
        [str(index), str(len(rate)), f"{rate.mean():.3f}", f"{rate.std():.3f}", str(int((rate == 0).sum()))]
        for index, rate in enumerate(found.rates)
    ]
    print_table("firing rates when healthy", ["layer", "neurons", "mean", "s.d. over neurons", "silent"], rows)
    size = 0
    if is_replayable(network):
        memory = found.memory(network)
        size = memory.size
        weights = 4 * sum(part.numel() for layer in network.parameters_of_layers() for part in layer[:2])
        print(
            f"memory: {len(found.inputs)} observations and their spikes, {size / 1e3:.0f} kB; the weights are "
            f"{weights / 1e3:.0f} kB"
        )
    else:
        print("memory: none, a converted network cannot be replayed")
    print(f"calibration: {run.path / 'calibration'} ({found.decisions} decisions)")
    return {
        "run": str(run.path),
        "decisions": found.decisions,
        "observations": len(found.inputs),
        "memory_bytes": size,
        "rates": [float(rate.mean()) for rate in found.rates],
    }
