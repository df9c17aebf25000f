"""``homeo-rl import``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import host_request, next_flags, print_next
from homeo_rl.cli.flags import Common, Positional, Short, Words
from homeo_rl.errors import UsageError
from homeo_rl.workflows.importers import IMPORTERS

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(IMPORTERS)]

COMMAND = Command(MAKE, 1, "make a run of a published policy")


@dataclass(frozen=True, kw_only=True)
class Import(Common):
    """Make a run of a policy that somebody published."""

    kind: Positional[Kind]
    """popsan, san, nir (a graph of neurons), sb3-zip (what Stable-Baselines3 saved, or train left beside a run),
    onnx, safetensors (an export, or an MLP with contract.json beside it), or function."""
    file: Positional[Path]
    """The published weights (.npz), the graph, or the zip; nothing in it is unpickled. Of function: module:function."""
    env: str
    """Environment that it drives."""
    out: Path
    """Where the run goes."""
    agent: str = ""
    """Architecture that the weights of a zip are for: mlp (the default), or the --agent that train was given."""
    agent_kwargs: Words = ()
    """Fields of its network, name:value (activation:relu steps:8); hidden widths are by default the weights'."""
    normalize_from: Path | None = None
    """Statistics of the VecNormalize that an sb3-zip was trained behind: vecnormalize.pkl (nothing in it is executed),
    or an .npz or .safetensors with mean, var, clip_obs, epsilon; none: observations were not normalised."""
    nir_options: Annotated[Words, Short(("--reading",))] = ()
    """Options that a NIR graph of other tools does not state, name:value: steps dt decay flavour encoder squash
    gain."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""


def run(args: Import, words: list[str]) -> dict[str, Any]:
    """Make a run of a published policy."""
    importer = IMPORTERS[args.kind]
    if importer.suffixes and not args.file.exists():
        raise UsageError(f"{args.file}: expected a file, found none")

    from homeo_rl.run import Run, require_new

    require_new(args.out)

    from homeo_rl.agents.controller import save_controller
    from homeo_rl.agents.presets import describe
    from homeo_rl.workflows.hosts import read_host

    spec, controller = read_host(args.kind, args.file, host_request(args, words))
    run = Run.create(args.out, spec)
    save_controller(run, controller)
    print(f"policy: {describe(controller.spec)}")
    if importer.note and not ("agent" in importer.options and controller.spec.normalise):
        print(f"note: {importer.note}")
    print(f"run: {run.path}")
    spiking = controller.spec.network.body == "spiking"
    flags = next_flags(args.env, importer.suite) if spiking else ["--suite", importer.suite, "--homeostasis", "none"]
    print_next("evaluate", run.path, *flags)
    return {"run": str(run.path), "env": args.env, "kind": args.kind}
