"""``homeo-rl train --dry-run``."""

from dataclasses import asdict
from typing import Any

from homeo_rl.spec import RunSpec
from homeo_rl.training.plan import TrainingPlan, whole_steps

_SECONDS = 3.0  # duration of the measurement of a training


def show(plan: TrainingPlan, spec: RunSpec) -> dict[str, Any]:
    """Print the configuration of a training, as a preset, and the resources it needs, without writing anything.

    ``plan`` and ``spec`` are those that `homeo_rl.training.plan.prepare` returned.
    """
    import yaml

    from homeo_rl.health.dry_run import dry_run
    from homeo_rl.health.eta import eta
    from homeo_rl.health.examine import how
    from homeo_rl.training.estimate import available_memory

    outlook = dry_run(plan, spec)
    assert spec.controller is not None
    network = spec.controller.network
    print(yaml.safe_dump(outlook.config, sort_keys=False, default_flow_style=None, width=110), end="")
    going = "" if outlook.going_on is None else f", resuming after {outlook.going_on:,} steps"
    body = network.body if network.body != "spiking" else f"spiking, {network.steps} steps, {network.neuron.kind}"
    print(f"# network: {'-'.join(str(width) for width in network.widths)} ({body})")
    print(f"# run: {outlook.folder}{going}; seed {plan.seed}")
    if whole_steps(spec) > spec.planned:
        print(f"# steps: {whole_steps(spec):,}, a rollout of n_steps x n_envs is never cut")
    free = available_memory()
    left = "" if free is None else f", {free / 1e9:,.1f} GB are free"
    disk = f"disk: about {outlook.needed.disk / 1e9:,.2f} GB"
    print(f"# memory: about {outlook.needed.memory / 1e9:,.1f} GB{left}; {disk}")

    from homeo_rl.health.probe import measure  # loads torch, after all that is known without it was printed

    measured, rates, _ = measure(plan, spec, _SECONDS)
    time = eta(measured, outlook.work)
    print(f"# time: {time.text}, including evaluations, without checkpoints; {how(measured)}")
    print("# nothing was written")
    return {
        "dry_run": True,
        "run": str(outlook.folder),
        "going_on": outlook.going_on,
        "config": outlook.config,
        "seed": plan.seed,
        "network": list(network.widths),
        "memory": outlook.needed.memory,
        "disk": outlook.needed.disk,
        "seconds": asdict(time),
        "training_steps_per_second": rates["training_steps"].median,
    }
