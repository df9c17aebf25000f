"""``homeo-rl import``."""

from __future__ import annotations

import shlex
from typing import Any

from homeo_rl.commands.common import next_flags
from homeo_rl.flags import Import


def run(args: Import, words: list[str]) -> dict[str, Any]:
    """Make a run of a published policy."""
    from homeo_rl.agents.controller import save_controller
    from homeo_rl.agents.importers import IMPORTERS
    from homeo_rl.envs import load_modules, make_env
    from homeo_rl.errors import unknown
    from homeo_rl.run import Run, versions
    from homeo_rl.spec import RunSpec
    from homeo_rl.training.params import parse_params

    if args.kind not in IMPORTERS:
        raise unknown("kind of policy to import", args.kind, IMPORTERS)
    load_modules(args.gym_packages)
    importer = IMPORTERS[args.kind]
    env_kwargs = {**importer.env_kwargs, **parse_params(args.env_kwargs, "--env-kwargs")}
    env = make_env(args.env, env_kwargs)
    controller = importer.read(args.file, env)
    env.close()
    spec = RunSpec(
        origin="import",
        env=args.env,
        env_kwargs=env_kwargs,
        agent=args.kind,
        controller=controller.spec,
        source=args.file.name,
        command=shlex.join(["homeo-rl", *words]),
        versions=versions(),
        modules=args.gym_packages,
    )
    run = Run.create(args.out, spec)
    save_controller(run, controller)
    print(f"run: {run.path}")
    print(f"next: homeo-rl evaluate {run.path} {next_flags(args.env, 'paper-mujoco')}")
    return {"run": str(run.path), "env": args.env, "kind": args.kind}
