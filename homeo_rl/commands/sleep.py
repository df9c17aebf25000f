"""``homeo-rl sleep``."""

from __future__ import annotations

import time
from typing import Any

from homeo_rl.commands.common import open_run
from homeo_rl.errors import UsageError, unknown
from homeo_rl.flags import Sleep


def run(args: Sleep, words: list[str]) -> dict[str, Any]:
    """Damage, test, sleep, show."""
    from homeo_rl.degradations import load_suite
    from homeo_rl.homeostasis import SleepHomeostat, make
    from homeo_rl.report.sheets import check_suffix

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
    from homeo_rl.console import Bars, print_table
    from homeo_rl.envs.making import arguments_for
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
        mended = broken if passed else replay.mended(plugin, broken)
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
        rates = [[train.mean((0, 1)).numpy() for train in replay.through(weights)] for weights in (broken, mended)]
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
