"""The files of a run that rl-zoo's scripts read: ``<Env-id>/args.yml``, ``config.yml`` and ``command.txt``."""

import yaml

from homeo_rl.run import Run
from homeo_rl.spec import dump
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.rl_zoo.reader import policy_path

_SAME = ("algo", "env", "agent", "seed", "env_kwargs", "eval_freq", "eval_episodes", "save_freq", "device",
         "num_threads", "homeostasis_in_training")  # fmt: skip
"""Arguments that have the plan's name."""


def write_run_files(plan: TrainingPlan, run: Run) -> None:
    """Write them, by `yaml.safe_dump`."""
    folder = run.export_folder
    folder.mkdir(exist_ok=True)
    arguments = {name: getattr(plan, name) for name in _SAME} | {"n_timesteps": run.spec.planned}
    config = {**dump(run.spec)["hyperparams"], "policy": policy_path(plan.algo)}
    (folder / "args.yml").write_text(yaml.safe_dump(arguments), encoding="utf-8")
    (folder / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "command.txt").write_text(plan.command + "\n", encoding="utf-8")
