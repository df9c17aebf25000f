"""Train the same agent with and without initial potentials (IMP) and a last-step read-out (LTS), over seeds.

The arms share seeds, so the weights of their layers start alike wherever their shapes do. "constant" is the control: no
initial potential, but a constant current that is learned just as freely.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from homeo_rl.degradations import load_suite
from homeo_rl.errors import EnvironmentFault, UsageError
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.processes.executor import JobResult, ProgressCallback
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.progress import ProgressObserver, State
from homeo_rl.processes.scheduler import drive
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


def ablate(plan: AblationPlan, *, workers: int, observer: ProgressObserver) -> list[Done]:
    """Train and evaluate every arm with every seed; what an earlier call finished is taken from its folder.

    Raises:
        UsageError: the plan does not fit.
        Stopped: a signal; the same plan resumes.
    """
    jobs = {f"{arm} seed {seed}": (plan, arm, seed) for seed in range(plan.seeds) for arm in plan.arms}
    trainings: list[Done] = []

    def collect(key: str, result: JobResult) -> None:
        if result.state == "failed":
            raise result.error or EnvironmentFault(f"{key}: {result.message}")
        trainings.append(result.result)

    with LocalExecutor("homeo_rl.workflows.ablate:run_arm", max(min(workers, len(jobs)), 1)) as executor:
        drive(jobs, executor, State(len(jobs), executor.slots), observer, collect)
    return sorted(trainings, key=lambda done: (plan.arms.index(done.arm), done.seed))


def run_arm(job: tuple[AblationPlan, str, int], report: ProgressCallback) -> JobResult:
    """Train and evaluate one arm with one seed; the task of the executor."""
    plan, arm, seed = job
    folder = plan.out / arm.replace(" ", "") / f"seed-{seed}"
    hyperparams = dict(plan.training.hyperparams)
    hyperparams["agent_kwargs"] = {**hyperparams.get("agent_kwargs", {}), **ARMS[arm]}
    training = replace(plan.training, seed=seed, out=folder, hyperparams=hyperparams)
    # What a finished training must agree with to be taken for this one.
    settings = {"training": repr(replace(training, command="")), "episodes": plan.episodes, "cuts": list(plan.cuts)}
    marker = plan.out / arm.replace(" ", "") / f"seed-{seed}.json"
    if marker.exists():
        known = bundle.read_json(marker)
        if {key: known.get(key) for key in settings} != settings:
            raise UsageError(f"{plan.out}: holds another ablation (arm {arm}, seed {seed}); choose another --out")
        return JobResult("done", result=Done(arm, seed, tuple(folder / name for name in known["folders"])))
    steps = plan.training.steps or 0
    report("training", 0, steps, "")
    run = train(training, report=lambda done, _: report("training", done, steps, ""))  # resumes an interrupted one
    base = Plan(suite=load_suite("clean"), arms=("none",), episodes=plan.episodes, seed=0)
    results = [evaluate(run, replace(base, time_steps=cut), workers=1) for cut in plan.cuts or (None,)]
    names = [str(result.folder.relative_to(folder)) for result in results]
    bundle.write_json(marker, {**settings, "folders": names})
    return JobResult("done", result=Done(arm, seed, tuple(folder / name for name in names)))
