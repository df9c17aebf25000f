"""``homeo-rl import``."""

import shlex
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import next_flags, print_next
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
    """popsan, san, nir (a graph of neurons), or sb3-zip: what Stable-Baselines3 saved, or train left beside a run."""
    file: Positional[Path]
    """The published weights (.npz), the graph, or the zip; nothing in it is unpickled."""
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
    if not args.file.exists():
        raise UsageError(f"{args.file}: expected a file, found none")

    from homeo_rl.run import Run, require_new, versions

    require_new(args.out)

    from homeo_rl.agents.controller import save_controller
    from homeo_rl.agents.presets import describe
    from homeo_rl.agents.sb3.zip import DEFAULT_AGENT
    from homeo_rl.envs.make import load_modules, make_env, width_advice
    from homeo_rl.spec import RunSpec
    from homeo_rl.training.params import parse_params

    importer = IMPORTERS[args.kind]
    reading = parse_params(args.nir_options, "--nir-options")
    overrides = parse_params(args.agent_kwargs, "--agent-kwargs")
    if reading and "reading" not in importer.options:
        raise UsageError(f"--nir-options: expected a graph, import nir, got import {args.kind}; leave it out")
    load_modules(args.gym_packages)
    takes_agent = "agent" in importer.options
    if not takes_agent and (args.agent or args.agent_kwargs):
        raise UsageError(f"import {args.kind}: its architecture is known; leave --agent and --agent-kwargs out")
    if not takes_agent and args.normalize_from is not None:
        raise UsageError(f"import {args.kind}: has its own statistics; --normalize-from is for sb3-zip, leave it out")
    values = {"reading": reading, "agent": args.agent, "overrides": overrides, "normalize_from": args.normalize_from}
    options = {name: values[name] for name in importer.options}
    env_kwargs = {**importer.env_kwargs, **parse_params(args.env_kwargs, "--env-kwargs")}
    env = make_env(args.env, env_kwargs)
    with closing(env):
        try:
            controller = importer.read(args.file, env, **options)
        except UsageError as error:
            advice = width_advice(env) if "for this environment and architecture" in str(error) else ""
            raise UsageError(f"{error}{advice}") from None
    spec = RunSpec(
        origin="import",
        env=args.env,
        env_kwargs=env_kwargs,
        agent=(args.agent or DEFAULT_AGENT) if takes_agent else args.kind,
        hyperparams={"agent_kwargs": overrides} if overrides else {},
        controller=controller.spec,
        source=args.file.name,
        command=shlex.join(["homeo-rl", *words]),
        versions=versions(),
        modules=args.gym_packages,
    )
    run = Run.create(args.out, spec)
    save_controller(run, controller)
    print(f"policy: {describe(controller.spec)}")
    if importer.note and not (takes_agent and controller.spec.normalise):
        print(f"note: {importer.note}")
    print(f"run: {run.path}")
    spiking = controller.spec.network.body == "spiking"
    flags = next_flags(args.env, importer.suite) if spiking else ["--suite", importer.suite, "--homeostasis", "none"]
    print_next("evaluate", run.path, *flags)
    return {"run": str(run.path), "env": args.env, "kind": args.kind}
