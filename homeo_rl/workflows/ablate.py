"""Train the same agent with and without initial potentials (IMP) and a last-step read-out (LTS), over seeds.

The arms share seeds, so the weights of their layers start alike wherever their shapes do. "constant" is the control: no
initial potential, but a constant current that is learned just as freely.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from homeo_rl.degradations import load_suite
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.storage import bundle
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

ARMS: dict[str, dict[str, Any]] = {
    "baseline": {"initial": "rest", "readout": {"kind": "mean"}},
    "IMP": {"initial": "neuron", "readout": {"kind": "mean"}},
    "LTS": {"initial": "rest", "readout": {"kind": "last"}},
    "IMP + LTS": {"initial": "neuron", "readout": {"kind": "last"}},
    "constant": {"initial": "constant", "readout": {"kind": "mean"}},
}
"""Fields of the network that make each arm."""


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """What is compared: ``training`` with every arm's changes, for ``seeds`` seeds, judged by ``episodes`` episodes.

    ``cuts`` are spike steps after which decisions are cut, one evaluation each; () leaves them whole.
    """

    training: TrainingPlan
    out: Path
    arms: tuple[str, ...] = tuple(ARMS)
    seeds: int = 5
    episodes: int = 20
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.episodes < 1:
            raise UsageError(f"--num-seeds, --episodes: expected at least 1, got {self.seeds}, {self.episodes}")


class Done(NamedTuple):
    """One training that is finished, and the folders of its evaluations, one a cut."""

    arm: str
    seed: int
    folders: tuple[Path, ...]


def ablate(plan: AblationPlan, *, workers: int, on_done: Callable[[Done], None] = lambda _: None) -> list[Done]:
    """Train and evaluate every arm with every seed; what an earlier call finished is taken from its folder.

    Args:
        plan: what to compare.
        workers: processes.
        on_done: told of each training.

    Raises:
        UsageError: the plan does not fit.
    """
    jobs = [(plan, arm, seed) for seed in range(plan.seeds) for arm in plan.arms]
    found = []
    for done in _outcomes(jobs, workers):
        on_done(done)
        found.append(done)
    return sorted(found, key=lambda done: (plan.arms.index(done.arm), done.seed))


def _outcomes(jobs: list[tuple[AblationPlan, str, int]], workers: int) -> Iterator[Done]:
    if workers < 2:
        yield from (_one(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_one, *job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one(plan: AblationPlan, arm: str, seed: int) -> Done:
    folder = plan.out / arm.replace(" ", "") / f"seed-{seed}"
    hyperparams = dict(plan.training.hyperparams)
    hyperparams["agent_kwargs"] = {**hyperparams.get("agent_kwargs", {}), **ARMS[arm]}
    training = replace(plan.training, seed=seed, out=folder, hyperparams=hyperparams)
    # What a finished training must agree with to be taken for this one.
    told = {"training": repr(replace(training, command="")), "episodes": plan.episodes, "cuts": list(plan.cuts)}
    marker = plan.out / arm.replace(" ", "") / f"seed-{seed}.json"
    if marker.exists():
        known = bundle.read_json(marker)
        if {key: known.get(key) for key in told} != told:
            raise UsageError(f"{plan.out}: holds another ablation (arm {arm}, seed {seed}); choose another --out")
        return Done(arm, seed, tuple(folder / name for name in known["folders"]))
    run = train(training)  # which goes on where it was cut off
    base = Plan(suite=load_suite("clean"), arms=("none",), episodes=plan.episodes, seed=0)
    results = [evaluate(run, replace(base, time_steps=cut), workers=1) for cut in plan.cuts or (None,)]
    names = [str(result.folder.relative_to(folder)) for result in results]
    bundle.write_json(marker, {**told, "folders": names})
    return Done(arm, seed, tuple(folder / name for name in names))
