"""The command ``homeo-rl sleep``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import WithPolicy, WithProgress, Words
from homeo_rl.errors import UsageError, unknown

COMMAND = Command(EVALUATE, 5, "show the effect of sleep on a damaged network")


@dataclass(frozen=True, kw_only=True)
class Sleep(WithPolicy, WithProgress):
    """Damage a run's network, let it test itself and sleep, and compare each layer before and after.

    Nothing is saved.
    """

    damage: str
    """A condition of --suite that damages the network, such as weights-zero."""
    suite: str = "paper-mujoco"
    """Suite that contains --damage, or a YAML file."""
    homeostasis: str = "sleep"
    """sleep, or sleep with parameters, sleep:form=bias:observations=50."""
    seed: int = 0
    """Seed of the damage."""
    env: str = ""
    """Gymnasium id of the clean environment; by default the run's own."""
    picture: Path | None = None
    """Plot of the rate of every neuron before and after, against the remembered rates: .svg, .png or .pdf."""
    gym_packages: Words = ()
    """Packages that register environments and degradations, besides those of the training."""


def run(args: Sleep, words: list[str]) -> dict[str, Any]:
    """Damage a network, let it sleep, and print the result."""
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
    onset, damage = conditions[args.damage].onset, conditions[args.damage].network_damage(args.seed)
    if damage is None:
        raise UsageError(f"--damage {args.damage}: expected damage of the network, this damages its environment")
    if args.picture is not None:
        check_suffix(args.picture)

    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.report.figures import DISTANCE, draw_neurons
    from homeo_rl.workflows.sleep_trial import CALIBRATION_EPISODES, try_sleep

    with Bars(enabled=args.progress).show() as bars:
        bars.start("calibration", CALIBRATION_EPISODES)
        trial = try_sleep(run, plugin, damage, onset, which=args.which, env=args.env, on_episode=bars.advance)
    test = trial.test
    rows = [
        [str(index), f"{test.change[index]:.4f}", str(int((test.neurons[index] > plugin.tolerance).sum())),
         str(test.silent[index]), str(test.stuck[index]), f"{before:.4f}", f"{after:.4f}", trial.chosen[index]]
        for index, (before, after) in enumerate(zip(trial.before, trial.after, strict=True))
    ]  # fmt: skip
    header = ["layer", "change", "neurons changed", "silent", "stuck", "distance before", "after sleep", "repair"]
    print_table(f"{args.damage}; {DISTANCE}", header, rows)
    print("the self-test passes: nothing to repair" if trial.passed else f"slept {trial.seconds:.2f} s")
    if args.picture is not None:
        title = f"{run.path.name}, {args.damage}: mean rate of every neuron over all observations"
        remembered = trial.rates.pop("remembered")
        draw_neurons(remembered, trial.rates, (trial.before, trial.after), args.picture, title=title)
        print(f"picture: {args.picture}")
    return {
        "run": str(run.path),
        "passed": trial.passed,
        "change": list(test.change),
        "before": trial.before,
        "after": trial.after,
        "seconds": trial.seconds,
        "repairs": list(trial.chosen),
    }
