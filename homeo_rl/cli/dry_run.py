"""``homeo-rl train --dry-run``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from homeo_rl.spec import RunSpec
from homeo_rl.training.plan import TrainingPlan, whole_steps

_SECONDS = 3.0
"""How long a training is measured."""


def show(plan: TrainingPlan, spec: RunSpec) -> dict[str, Any]:
    """Print what a training would be, as a preset, and what it would need; write nothing.

    Args:
        plan: as `homeo_rl.training.plan.prepare` returned it.
        spec: the same.
    """
    import yaml

    from homeo_rl.health.dry_run import dry_run
    from homeo_rl.health.eta import eta
    from homeo_rl.health.examine import how
    from homeo_rl.training.estimate import available_memory

    found = dry_run(plan, spec)
    assert spec.controller is not None
    network = spec.controller.network
    print(yaml.safe_dump(found.config, sort_keys=False, default_flow_style=None, width=110), end="")
    going = "" if found.going_on is None else f", going on after {found.going_on:,} steps"
    body = network.body if network.body != "spiking" else f"spiking, {network.steps} steps, {network.neuron.kind}"
    print(f"# network: {'-'.join(str(width) for width in network.widths)} ({body})")
    print(f"# run: {found.folder}{going}; seed {plan.seed}")
    if whole_steps(spec) > spec.planned:
        print(f"# steps: {whole_steps(spec):,}, rollouts (n_steps x n_envs steps) are not cut")
    free = available_memory()
    left = "" if free is None else f", {free / 1e9:,.1f} GB are free"
    print(f"# memory: about {found.needed.memory / 1e9:,.1f} GB{left}; disk: about {found.needed.disk / 1e9:,.2f} GB")

    from homeo_rl.health.probe import measure  # loads torch: what is known without it was told

    measured, rates, _ = measure(plan, spec, _SECONDS)
    time = eta(measured, found.work)
    print(f"# time: {time.text}, evaluations included, checkpoints not; {how(measured)}")
    print("# nothing was written")
    return {
        "dry_run": True,
        "run": str(found.folder),
        "going_on": found.going_on,
        "config": found.config,
        "seed": plan.seed,
        "network": list(network.widths),
        "memory": found.needed.memory,
        "disk": found.needed.disk,
        "seconds": asdict(time),
        "training_steps_per_second": rates["training_steps"].median,
    }
