"""``homeo-rl sleep``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Common, Flag, Positional, Progress, Words
from homeo_rl.errors import UsageError, unknown

COMMAND = Command(EVALUATE, 5, "show what sleep does to a damaged network")


@dataclass(frozen=True, kw_only=True)
class Sleep(Common):
    """Damage a run's network, let it test itself and sleep, and show each neuron before and after; nothing is saved."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    damage: str
    """A condition of --suite that damages the network, weights-zero for one."""
    suite: str = "paper-mujoco"
    """Suite that --damage is looked up in, or a YAML file."""
    homeostasis: str = "sleep"
    """How it sleeps: sleep, or with parameters, sleep:form=bias:observations=50."""
    seed: int = 0
    """Root of the damage."""
    env: str = ""
    """Gymnasium id where the robot is healthy, in place of the run's own."""
    picture: Path | None = None
    """Rates of every neuron, before and after against the remembered ones: .svg, .png or .pdf."""
    gym_packages: Words = ()
    """Packages that register environments and degradations, besides those that the run was trained with."""
    best: Flag = False
    """Take the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""


def run(args: Sleep, words: list[str]) -> dict[str, Any]:
    """Damage, test, sleep, show."""
    from homeo_rl.degradations import load_suite
    from homeo_rl.homeostasis import SleepHomeostat, make
    from homeo_rl.report.graph_style import check_suffix

    run = open_run(args.run, args.gym_packages)
    conditions = {condition.label: condition for condition in load_suite(args.suite).conditions}
    if args.damage not in conditions:
        raise unknown(f"condition of suite {args.suite}", args.damage, conditions)
    plugin = make(args.homeostasis)
    if not isinstance(plugin, SleepHomeostat):
        raise UsageError(f"--homeostasis: expected sleep, with or without parameters, got {args.homeostasis!r}")
    damage = conditions[args.damage].network_damage(args.seed)
    if damage is None:
        raise UsageError(f"--damage {args.damage}: expected damage of the network, this is of its surroundings")
    if args.picture is not None:
        check_suffix(args.picture)

    from homeo_rl.agents.controller import load_controller, require_spiking
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.envs.make import arguments_for
    from homeo_rl.evaluation.calibrate import calibration_of
    from homeo_rl.evaluation.rollout import one_thread
    from homeo_rl.report.figures import DISTANCE, draw_neurons
    from homeo_rl.snn.replay import Replay

    which, env = "best" if args.best else "policy", args.env or run.spec.env
    controller = load_controller(run, which=which)
    network = require_spiking(controller, "sleep")
    healthy = env, arguments_for(env, run.spec.env, run.spec.env_kwargs)
    with Bars(enabled=args.progress).shown() as bars:
        bars.start("calibration", 5)
        calibration = calibration_of(
            run, controller, which=which, episodes=5, env=healthy, on_episode=lambda _: bars.advance()
        )
    replay = Replay(network, calibration.memory(network).first(plugin.observations))
    trained, step = network.parameters_of_layers(), conditions[args.damage].onset
    broken = next(weights for k in range(step + 1) if (weights := damage.at(k, trained)) is not None)
    test = replay.test(broken)
    passed = test.passed(plugin.tolerance)
    began = time.perf_counter()
    with one_thread():
        mended = broken if passed else replay.repair(plugin, broken)
    seconds = time.perf_counter() - began
    before, after = replay.errors(broken), replay.errors(mended)
    rows = [
        [str(index), f"{test.change[index]:.4f}", str(int((test.neurons[index] > plugin.tolerance).sum())),
         str(test.silent[index]), str(test.stuck[index]), f"{before[index]:.4f}", f"{after[index]:.4f}"]
        for index in range(len(before))
    ]  # fmt: skip
    header = ["layer", "own change", "neurons changed", "fell silent", "stuck", "distance before", "after sleep"]
    print_table(f"{args.damage}; {DISTANCE}", header, rows)
    print("the self-test passes: nothing to mend" if passed else f"slept {seconds:.2f} s")
    if args.picture is not None:
        rates = [
            [train.mean((0, 1)).numpy() for train in replay.network_responses(weights)] for weights in (broken, mended)
        ]
        remembered = [train.mean((0, 1)).numpy() for train in replay.memory.trains[1:]]
        title = f"{run.path.name}, {args.damage}: mean rate of every neuron over all observations"
        now = {"damaged": rates[0], "after sleep": rates[1]}
        draw_neurons(remembered, now, (before, after), args.picture, title=title)
        print(f"picture: {args.picture}")
    return {
        "run": str(run.path),
        "passed": passed,
        "change": list(test.change),
        "before": before,
        "after": after,
        "seconds": seconds,
    }
