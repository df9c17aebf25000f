"""``homeo-rl convert``."""

from __future__ import annotations

import shlex
from typing import Any

from homeo_rl.commands.common import next_flags, open_run, print_next, whole_numbers
from homeo_rl.flags import Convert


def run(args: Convert, words: list[str]) -> dict[str, Any]:
    """Convert a run into one of spiking neurons."""
    from homeo_rl.run import require_new

    require_new(args.out)
    run = open_run(args.run)

    from homeo_rl.console import Bars
    from homeo_rl.training.convert import CONTROLS, FINETUNE_EPISODES, ConversionPlan, convert

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
