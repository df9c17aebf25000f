"""``homeo-rl convert``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import next_flags, open_run, print_next, whole_numbers
from homeo_rl.cli.flags import Common, Flag, Positional, Progress

COMMAND = Command(MAKE, 3, "turn an --agent qcfs policy into spiking neurons")


@dataclass(frozen=True, kw_only=True)
class Convert(Common):
    """Make a run of spiking neurons that takes exactly the actions of a policy trained with --agent qcfs."""

    run: Positional[Path]
    """Run folder."""
    out: Path
    """Where the converted run goes."""
    method: str = "pascal"
    """pascal, or rate: the control, plain integrate-and-fire neurons averaged over --steps steps."""
    form: str = "counts"
    """counts: the trained network to the last bit; dyadic: with rounded weights, in any order of sums; stepwise:
    every layer at every time step."""
    neuron: str = "pascal"
    """pascal: spikes while it listens, and settles; gated: listens in silence, fewer steps."""
    steps: int = 16
    """Time steps of --method rate."""
    finetune_steps: int = 0
    """Steps of behaviour cloning that give a ReLU policy (--agent mlp) the activations it needs."""
    levels: str = "8"
    """Levels that it gets: 8, or one a hidden layer, 8,4; auto chooses them for --budget-steps."""
    budget_steps: int = 16
    """Most time steps a decision for --levels auto."""
    episodes: int = 10
    """Pairs of episodes played for the certificate; 0 for none."""
    step_time: float = 1.0
    """Milliseconds that a time step is taken to last, for the certificate."""
    progress: Progress = True
    """Show progress."""
    best: Flag = False
    """Convert the best policy seen in training instead of the last one."""


def run(args: Convert, words: list[str]) -> dict[str, Any]:
    """Convert a run into one of spiking neurons."""
    from homeo_rl.run import require_new

    require_new(args.out)
    run = open_run(args.run)

    from homeo_rl.cli.console import Bars
    from homeo_rl.workflows.convert import CONTROLS, FINETUNE_EPISODES, ConversionPlan, convert

    plan = ConversionPlan(
        method=args.method,  # type: ignore[arg-type]  # checked there
        form=args.form,  # type: ignore[arg-type]  # likewise
        neuron=args.neuron,  # type: ignore[arg-type]  # likewise
        steps=args.steps,
        finetune_steps=args.finetune_steps,
        levels=() if args.levels == "auto" else whole_numbers(args.levels, "--levels"),
        budget_steps=args.budget_steps,
        episodes=args.episodes,
        step_seconds=args.step_time / 1e3,
        which="best" if args.best else "policy",
    )
    with Bars(enabled=args.progress).shown() as bars:
        tuned = plan.finetune_steps > 0
        bars.start("episodes", plan.episodes * (2 + len(CONTROLS) + tuned) + tuned * FINETUNE_EPISODES)
        made, certificate = convert(
            run, plan, args.out, command=shlex.join(["homeo-rl", *words]), on_episode=bars.advance
        )
    assert made.spec.controller is not None
    network = made.spec.controller.network
    print(f"run: {made.path}")
    print(f"layers {network.widths}, levels {network.levels_of_layers}: {network.steps} time steps a decision")
    told = {"run": str(made.path), "form": network.form, "neuron": args.neuron, "steps": network.steps}
    if certificate is not None:
        print(
            f"{certificate.equal_actions:,} of {certificate.states:,} actions equal, "
            f"{sum(step is not None for step in certificate.diverged_at)} of {plan.episodes} paired episodes differ"
        )
        print(f"certificate: {made.path / 'certificate.md'}")
        told |= {
            "exact": certificate.exact,
            "equal_actions": certificate.equal_actions,
            "states": certificate.states,
            "max_action_error": certificate.max_action_error,
        }
    print_next("evaluate", made.path, *next_flags(made.spec.env, "quick"))
    return told
