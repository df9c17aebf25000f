"""The command ``homeo-rl convert``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import command_line, make_plan, next_flags, open_policy, print_next, whole_numbers
from homeo_rl.cli.flags import Short, WithHost, WithPolicy, WithProgress, Words

COMMAND = Command(MAKE, 3, "convert a ReLU or QCFS policy to spiking neurons")


@dataclass(frozen=True, kw_only=True)
class Convert(WithPolicy, WithHost, WithProgress):
    """Convert a policy that was trained with --agent qcfs, or the ReLU policy of a run or file (.zip, .onnx,
    .safetensors), to spiking neurons that take exactly the actions of the quantised network."""

    out: Path
    """Run folder of the converted policy."""
    method: str = "pascal"
    """pascal, or rate: the baseline, integrate-and-fire neurons averaged over --spike-steps steps."""
    form: str = "counts"
    """counts: bit-identical to the network; dyadic: rounded weights, exact in any order of summation; stepwise: every
    layer at every time step."""
    neuron: str | None = None
    """pascal: spikes while it receives input, then settles; gated: silent while it receives input, fewer steps; radix:
    sends its count as binary digits, fewest steps. Default: pascal, of a ReLU policy radix."""
    spike_steps: Annotated[int, Short(("--steps",))] = 16
    """Spike steps of --method rate."""
    finetune_steps: int = 16_000
    """Steps of behaviour cloning that give a ReLU policy (--agent mlp, or a file) the quantised activations."""
    levels: str = "auto"
    """Levels of these activations: 15, or one number per hidden layer, 15,7; auto selects them for --budget-steps."""
    budget_steps: int = 0
    """Most spike steps per decision for --levels auto. Default: 8 for radix neurons, 16 for others."""
    episodes: int = 10
    """Pairs of episodes for the certificate; 0 for none."""
    step_time: float = 1.0
    """Duration of a spike step in milliseconds, for the certificate."""
    env: str = ""
    """Gymnasium id of what a policy's file drives."""
    gym_packages: Words = ()
    """Packages that register the environment."""


def run(args: Convert, words: list[str]) -> dict[str, Any]:
    """Convert a run to spiking neurons."""
    from homeo_rl.run import require_new

    require_new(args.out)
    with open_policy(args, words, refused="env") as run:
        return _convert(args, run, command_line(words))


def _convert(args: Convert, run: Any, command: str) -> dict[str, Any]:
    from homeo_rl.cli.console import Bars
    from homeo_rl.workflows.convert import ConversionPlan, convert

    levels = () if args.levels == "auto" else whole_numbers(args.levels, "--levels")
    plan = make_plan(
        ConversionPlan, args, steps=args.spike_steps, levels=levels, step_seconds=args.step_time / 1e3, which=args.which
    )
    with Bars(enabled=args.progress).show() as bars:
        converted, certificate = convert(run, plan, args.out, command=command, start=bars.start, advance=bars.advance)
    assert converted.spec.controller is not None
    network = converted.spec.controller.network
    print(f"run: {converted.path}")
    print(f"layers {network.widths}, levels {network.levels_of_layers}: {network.steps} spike steps per decision")
    result = {"run": str(converted.path), "form": network.form, "neuron": network.accumulator, "steps": network.steps}
    if certificate is not None:
        print(
            f"{certificate.equal_actions:,} of {certificate.states:,} actions equal, "
            f"{sum(step is not None for step in certificate.diverged_at)} of {plan.episodes} paired episodes differ"
        )
        for kept in certificate.kept:
            share = "" if kept.share is None else ", {:.1%} [{:.1%}, {:.1%}] of the return kept".format(*kept.share)
            print(f"T = {kept.time_steps}: largest action error {kept.largest_error:.3g}{share}")
        print(f"certificate: {converted.path / 'certificate.md'}")
        keys = ("exact", "equal_actions", "states", "max_action_error")
        result |= {key: getattr(certificate, key) for key in keys}
        result["kept"] = [asdict(kept) for kept in certificate.kept]
    print_next("evaluate", converted.path, *next_flags(converted.spec.env, "quick"))
    return result
