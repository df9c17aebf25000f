"""``homeo-rl calibrate``."""

from __future__ import annotations

from typing import Any

from homeo_rl.commands.common import open_run
from homeo_rl.errors import UsageError
from homeo_rl.flags import Calibrate


def run(args: Calibrate, words: list[str]) -> dict[str, Any]:
    """Calibrate a run."""
    run = open_run(args.run, args.gym_packages)
    if args.episodes < 1:
        raise UsageError(f"--episodes: expected at least 1, got {args.episodes}")

    from homeo_rl.agents.controller import load_controller, require_spiking
    from homeo_rl.console import Bars, print_table
    from homeo_rl.envs.making import arguments_for
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
