"""``homeo-rl ablate``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.common import command_line, whole_numbers
from homeo_rl.cli.flags import Common, Progress, Short, Words

COMMAND = Command(TOOLS, 3, "compare initial potentials and read-outs")


@dataclass(frozen=True, kw_only=True)
class Ablate(Common):
    """Train an agent with and without initial potentials and a last-step read-out, over seeds, and compare."""

    out: Path
    """Folder for all runs, the table and the picture; the same command resumes."""
    algo: str = "ppo"
    """ppo, a2c, sac, td3, ddpg, tqc, crossq, proxy_td3, batchnorm_td3, recurrent_ppo, recurrent_sac, recurrent_td3."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id."""
    agent: str = "anytime"
    """Spiking preset."""
    n_timesteps: Annotated[int, Short(("-n",))] = 50_000
    """Environment steps of each training."""
    num_seeds: Annotated[int, Short(("--seeds",))] = 5
    """Trainings of each arm."""
    arms: str = "baseline,IMP,LTS,IMP + LTS,constant"
    """Arms, separated by commas: mean read-out, IMP, last-step read-out, both, and a learnable constant current."""
    spike_steps: Annotated[str, Short(("--time-steps",))] = ""
    """Spike steps after which decisions are cut, 1,4; by default none are."""
    episodes: int = 20
    """Episodes after each training."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Hyper-parameters, name:value."""
    workers: int | None = None
    """Trainings side by side, by default one a core."""
    progress: Progress = True
    """Show progress."""


def run(args: Ablate, words: list[str]) -> dict[str, Any]:
    """Compare initial potentials and read-outs over seeds."""
    import os

    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.errors import unknown
    from homeo_rl.processes.progress import BarObserver
    from homeo_rl.report.figures import draw_returns
    from homeo_rl.report.statistics import cells, read_scores
    from homeo_rl.training.params import parse_params
    from homeo_rl.training.plan import TrainingPlan
    from homeo_rl.workflows.ablate import ARMS, AblationPlan, ablate

    arms = tuple(arm.strip() for arm in args.arms.split(","))
    for arm in arms:
        if arm not in ARMS:
            raise unknown("arm", arm, ARMS)
    cuts = whole_numbers(args.spike_steps, "--spike-steps") if args.spike_steps else ()
    training = TrainingPlan(
        algo=args.algo, env=args.env, agent=args.agent, steps=args.n_timesteps, eval_freq=-1,
        hyperparams=parse_params(args.hyperparams), command=command_line(words),
    )  # fmt: skip
    plan = AblationPlan(
        training=training, out=args.out, arms=arms, seeds=args.num_seeds, episodes=args.episodes, cuts=cuts
    )
    with Bars(enabled=args.progress).show() as bars:
        bars.start(f"{args.algo} {args.agent} on {args.env}", len(arms) * args.num_seeds)
        trainings = ablate(plan, workers=args.workers or os.cpu_count() or 1, observer=BarObserver(bars))
    rows = []
    for done in trainings:
        for steps, folder in zip(cuts or (None,), done.folders, strict=True):
            label = "whole decisions" if steps is None else f"T = {steps}"
            episodes = read_scores(folder / "scores.csv")
            # A training is one figure: what is learned differs from seed to seed more than an episode from the next.
            mean = sum(row.total for row in episodes) / len(episodes)
            named = replace(episodes[0], run="seeds", arm=done.arm, condition=label, severity=0.0, episode=done.seed)
            rows.append(replace(named, values={**named.values, "total": mean}))
    compared = cells(rows)
    title = f"{args.algo} {args.agent}, {args.env}: means of {args.episodes} episodes over {args.num_seeds} seeds"
    picture = args.out / "returns.png"
    draw_returns(compared, picture, title=title)
    lines = [[cell.label, cell.arm, f"{cell.iqm:,.1f} [{cell.ci_low:,.1f}, {cell.ci_high:,.1f}]"] for cell in compared]
    print_table(f"{title}; return: IQM [95 % interval over seeds]", ["decisions", "arm", "return"], lines)
    print(f"picture: {picture}")
    return {"cells": [cell.to_dict() for cell in compared], "picture": str(picture)}
