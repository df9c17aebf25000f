"""The command ``homeo-rl calibrate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Short, WithPolicy, WithProgress, Words
from homeo_rl.errors import UsageError

COMMAND = Command(EVALUATE, 4, "record the firing rates of a healthy network")


if TYPE_CHECKING:  # torch takes seconds to load, which somebody with a typing error should not wait for
    from homeo_rl.agents.controller import Controller
    from homeo_rl.observer.recording import Recording
    from homeo_rl.run import Run


@dataclass(frozen=True, kw_only=True)
class Calibrate(WithPolicy, WithProgress):
    """Record the reference firing rates of a run's network, and a replay memory of clean observations; of a policy
    without spikes, fit the forward model alone."""

    episodes: int = 5
    """Number of clean episodes."""
    env: str = ""
    """Gymnasium id that replaces the run's own."""
    practice: int | None = None
    """Steps of practice under faults of its own making, to fit the observer's forward model; 0 fits it to the sample
    that the training left. By default none is fitted."""
    log: Annotated[Path | None, Short(("--from",))] = None
    """Log of a robot, .npz with observations, actions and ends, to fit the model to instead of practice."""
    gym_packages: Words = ()
    """Packages that register environments, besides those of the training."""


def run(args: Calibrate, words: list[str]) -> dict[str, Any]:
    """Calibrate a run."""
    from homeo_rl.observer.recording import LEAST_STEPS, read_log

    run = open_run(args.run, args.gym_packages)
    if args.practice is not None and (args.practice < 0 or 0 < args.practice < LEAST_STEPS):
        raise UsageError(
            f"--practice: expected 0 or at least {LEAST_STEPS} steps to fit a model to, got {args.practice}"
        )
    if args.episodes < 1:
        raise UsageError(f"--episodes: expected at least 1, got {args.episodes}")

    from homeo_rl.agents.controller import load_controller, require_spiking
    from homeo_rl.envs.make import arguments_for
    from homeo_rl.evaluation.observer_memory import read_sample

    env = args.env or run.spec.env
    controller = load_controller(run, which=args.which)
    fits = args.practice is not None or args.log is not None
    if not fits:
        require_spiking(controller, "calibrate without --practice or --log")
    # A log or a sample that does not fit is refused before anything is played or written.
    recording = None
    if args.log is not None:
        recording = read_log(args.log, controller.spec.network.inputs, len(controller.spec.low))
    elif args.practice == 0:
        recording = read_sample(run, env)
    healthy = env, arguments_for(env, run.spec.env, run.spec.env_kwargs)
    rates = _record_rates(args, run, controller, healthy) if controller.spec.network.is_spiking else {}
    observer = _fit_observer(args, run, controller, healthy, recording) if fits else None
    return {"run": str(run.path), **rates, **({} if observer is None else {"observer": observer})}


def _record_rates(
    args: Calibrate, run: Run, controller: Controller, healthy: tuple[str, dict[str, Any]]
) -> dict[str, Any]:
    """Record the rates of a spiking policy, print them, and return what the command's JSON has of them."""
    from homeo_rl.agents.controller import require_spiking
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.evaluation.calibrate import calibration_of
    from homeo_rl.snn.replay_layers import is_replayable

    network = require_spiking(controller, "calibrate")
    with Bars(enabled=args.progress).show() as bars:
        bars.start("calibration", args.episodes)
        calibration = calibration_of(
            run, controller, which=args.which, episodes=args.episodes, env=healthy,
            on_episode=lambda _: bars.advance(),
        )  # fmt: skip
    rows = [
        [str(index), str(len(rate)), f"{rate.mean():.3f}", f"{rate.std():.3f}", str(int((rate == 0).sum()))]
        for index, rate in enumerate(calibration.rates)
    ]
    print_table("reference firing rates", ["layer", "neurons", "mean", "s.d. over neurons", "silent"], rows)
    size = 0
    if is_replayable(network):
        size = calibration.memory(network).size
        weights = 4 * sum(part.numel() for layer in network.parameters_of_layers() for part in layer[:2])
        print(
            f"memory: {len(calibration.inputs)} observations and their spikes, {size / 1e3:.0f} kB; the weights take "
            f"{weights / 1e3:.0f} kB"
        )
    else:
        print("memory: none, a converted network cannot be replayed")
    print(f"calibration: {run.path / 'calibration'} ({calibration.decisions} decisions)")
    return {
        "decisions": calibration.decisions,
        "observations": len(calibration.inputs),
        "memory_bytes": size,
        "rates": [float(rate.mean()) for rate in calibration.rates],
    }


def _fit_observer(
    args: Calibrate, run: Run, controller: Controller, env: tuple[str, dict[str, Any]], recording: Recording | None
) -> dict[str, Any]:
    """Fit the forward model, print its health card, and return it."""
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.evaluation.observer_memory import fit_observer
    from homeo_rl.observer.health_card import health_card

    with Bars(enabled=args.progress).show() as bars:
        memory = fit_observer(
            run, controller, which=args.which, env=env, steps=args.practice, recording=recording, progress=bars
        )
    card = health_card(memory.model)
    print_table("forward model", card.header, card.rows)
    print(f"observer: {run.path / 'observer'} ({memory.size / 1e3:.0f} kB)")
    return {"bytes": memory.size, "r2": card.r2, "unmodelled": card.unmodelled}
