"""What is to be trained, and everything that can be known of it before torch is loaded."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

from homeo_rl import homeostasis
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.sb3.net_arch import resolve_widths
from homeo_rl.degradations.randomise import load_randomisation, randomisation_from
from homeo_rl.envs.batched_bodies import ENGINES, body_of
from homeo_rl.envs.make import has_vector, load_modules, make_env
from homeo_rl.errors import UsageError, unknown
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.numerics.same_fields import make_plan
from homeo_rl.numerics.typed_fields import require_fields
from homeo_rl.run import Run, versions
from homeo_rl.spec import RunSpec
from homeo_rl.storage.files import printable
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.estimate import estimate, require
from homeo_rl.training.hyperparams import load_tuned, resolve
from homeo_rl.training.starting import source_of

MOST_THREADS, MOST_EPISODES = 1024, 10_000
"""Of torch, and of an evaluation during training, whose environments stand side by side."""

VEC_ENVS = ("dummy", "workers")  # where environments without a compiled vector form run


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What is to be trained, and where it goes.

    Attributes:
        algo: ``ppo``, ``a2c``, ``sac``, ``td3`` or ``ddpg``.
        env: id of the environment.
        agent: ``popsan``, ``san``, ``anytime``, ``mlp``, ``qcfs`` or one that a module registered.
        steps: environment steps; None is what is tuned for the environment, or the default.
        seed: of everything that is drawn.
        env_kwargs: arguments of the environment.
        hyperparams: what ``-params`` says: arguments of the algorithm, ``n_envs``, ``agent_kwargs`` and so on.
        homeostasis_in_training: the arm that adapts while rollouts are collected.
        randomise: faults that the training's episodes draw: a preset, a suite file, or what a run says of them.
        modules: modules that register environments or agents (``--gym-packages``).
        log_folder: the folder of runs, if ``out`` is None.
        tensorboard: the folder of TensorBoard's files; None is ``tb`` in the run.
        eval_freq: environment steps between evaluations; below 1 there are none.
        eval_episodes: episodes of each of them.
        save_freq: environment steps between checkpoints; below 1 there are none.
        fresh: begin again where an unfinished training is found, instead of going on.
        stop_at: stop after so many environment steps, as a signal does.
        device: torch's name of the device.
        num_threads: threads of torch.
        vec_env: ``dummy`` (one process) or ``workers``.
        engine: ``gymnasium``, or ``rollout``: rows of `homeo_rl.envs.batched_bodies`, which give the same numbers.
        worker_timeout: seconds after which a silent worker is replaced.
        trained: a run, or a zip that a training left: the policy begins with its weights.
        keep_checkpoint: keep the end of the training, for a longer one to go on from.
        command: the command line, for the records.
    """

    algo: str
    env: str
    agent: str = "popsan"
    steps: int | None = None
    seed: int = 0
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    hyperparams: dict[str, Any] = field(default_factory=dict)
    homeostasis_in_training: str = "none"
    randomise: str | dict[str, Any] = "none"
    modules: tuple[str, ...] = ()
    log_folder: Path = Path("runs")
    out: Path | None = None
    tensorboard: Path | None = None
    eval_freq: int = 10_000
    eval_episodes: int = 5
    save_freq: int = 10_000
    fresh: bool = False
    stop_at: int | None = None
    device: str = "cpu"
    num_threads: int = 1
    vec_env: str = "dummy"
    engine: str = "gymnasium"
    worker_timeout: float = 60.0
    trained: Path | None = None
    keep_checkpoint: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("log_folder", "out", "tensorboard"):
            value = getattr(self, name)
            object.__setattr__(self, name, Path(value) if isinstance(value, str) else value)
        require_fields(self)


class Prepared(NamedTuple):
    """A checked plan, with the tuned values of its environment filled in, and the specification of its run."""

    plan: TrainingPlan
    spec: RunSpec


def prepare(plan: TrainingPlan) -> Prepared:
    """Check everything about a plan that can be wrong before a training begins.

    Raises:
        UsageError: the plan does not fit, or needs more memory or disk than there is; nothing was written.
    """
    instance_of(plan, TrainingPlan, what="plan", advice="homeo_rl.TrainingPlan(algo=..., env=...) makes one")
    _check(plan)
    load_modules(plan.modules)
    plan = _with_tuned(plan)
    hyperparams = resolve(plan.algo, plan.hyperparams)
    mechanism = homeostasis.make(plan.homeostasis_in_training)
    if mechanism is not None and (
        homeostasis.needs_memory(mechanism) or homeostasis.split_observer(mechanism).observer is not None
    ):
        raise UsageError(
            f"--homeostasis-in-training {plan.homeostasis_in_training}: expected a mechanism that needs no memory of a "
            "trained network, such as dwam-paper; use sleep and dwam in evaluate"
        )
    probe = make_env(plan.env, plan.env_kwargs)
    spaces = probe.observation_space, probe.action_space
    try:
        if plan.engine == "rollout":
            _require_rows(plan, probe)
        randomise = _randomise(plan, probe)
    finally:
        probe.close()
    agent_kwargs, _ = resolve_widths(hyperparams.get("agent_kwargs"), hyperparams.get("net_arch"))
    controller = controller_spec(plan.agent, *spaces, algo=plan.algo, overrides=agent_kwargs)
    if mechanism is not None and controller.network.body == "mlp":
        raise UsageError(
            f"--homeostasis-in-training needs spiking neurons, agent {plan.agent!r} is an MLP; use --agent popsan"
        )
    if algorithm(plan.algo).off_policy and not isinstance(spaces[1], gym.spaces.Box):
        raise UsageError(f"{plan.algo}: expected a continuous action space, {plan.env} has {spaces[1]}; use ppo or a2c")
    apart = 0 if has_vector(plan.env) else int(hyperparams.get("n_envs", 1))
    needed = estimate(
        plan.algo, hyperparams, spaces, controller, apart=apart, workers=apart * (plan.vec_env == "workers")
    )
    require(needed, plan.out or plan.log_folder)
    spec = make_plan(
        RunSpec,
        plan,
        origin="train",
        steps=0,
        planned=plan.steps or 0,
        hyperparams=hyperparams,
        homeostasis_in_training="" if plan.homeostasis_in_training == "none" else plan.homeostasis_in_training,
        randomise=randomise,
        controller=controller,
        source="" if plan.trained is None else source_of(plan.trained),
        versions=versions(),
    )
    return Prepared(plan, spec)


def _randomise(plan: TrainingPlan, env: gym.Env[Any, Any]) -> dict[str, Any]:
    """Return the faults that apply to an environment as plain data, {} for none."""
    if plan.randomise in ("none", "", {}):
        return {}
    if isinstance(plan.randomise, dict):
        return randomisation_from(plan.randomise).to_dict()
    return load_randomisation(plan.randomise).for_env(env).to_dict()


def _require_rows(plan: TrainingPlan, env: gym.Env[Any, Any]) -> None:
    """Refuse what the engine ``rollout`` does not step."""
    body_of(env)
    if plan.randomise not in ("none", "", {}):
        raise UsageError(
            "--engine rollout: expected a training without --randomise, whose episodes draw wrappers of their own; "
            "use --engine gymnasium"
        )
    if plan.vec_env != "dummy":
        raise UsageError(f"--engine rollout: expected rows of one process, got --vec-env {plan.vec_env}; leave it out")


def plan_of_run(run: Run) -> TrainingPlan:
    """Return the plan of a run, as far as its specification says it.

    Raises:
        UsageError: the run was not trained here.
    """
    spec = run.spec
    if spec.origin != "train":
        raise UsageError(f"{run.path}: expected a run that was trained here, this one is of origin {spec.origin!r}")
    mechanism = spec.homeostasis_in_training or "none"
    return make_plan(TrainingPlan, spec, steps=spec.planned, homeostasis_in_training=mechanism, command="")


def whole_steps(spec: RunSpec) -> int:
    """Return the environment steps that a training takes: of on-policy algorithms whole rollouts."""
    rollout = int(spec.hyperparams.get("n_steps", 1)) * int(spec.hyperparams.get("n_envs", 1))
    return spec.planned if algorithm(spec.algo).off_policy else -(-spec.planned // rollout) * rollout


def _with_tuned(plan: TrainingPlan) -> TrainingPlan:
    """Lay the plan over the defaults of its algorithm, environment and agent; 100,000 steps where none are named."""
    known = load_tuned(plan.algo, plan.env, plan.agent)
    return replace(
        plan,
        steps=known.steps or 100_000 if plan.steps is None else plan.steps,
        env_kwargs={**known.env_kwargs, **plan.env_kwargs},
        hyperparams={**known.hyperparams, **plan.hyperparams},
    )


def _check(plan: TrainingPlan) -> None:
    if plan.steps is not None and not 1 <= plan.steps <= LIMIT:
        expected = "at least 1" if plan.steps < 1 else f"at most {LIMIT:g}"
        raise UsageError(f"--n-timesteps: expected {expected}, got {printable(plan.steps, 30)}")
    if plan.seed < 0 or plan.seed >= 2**32:
        raise UsageError(f"--seed: expected 0 to 4294967295, got {plan.seed}")
    if plan.eval_episodes < 1:
        raise UsageError(
            f"--eval-episodes: expected at least 1, got {plan.eval_episodes}; --eval-freq -1 switches it off"
        )
    if plan.eval_episodes > MOST_EPISODES:
        raise UsageError(f"--eval-episodes: expected at most {MOST_EPISODES}, got {plan.eval_episodes}")
    for flag, value in (("--eval-freq", plan.eval_freq), ("--save-freq", plan.save_freq)):
        if value < 1 and value != -1:
            raise UsageError(f"{flag}: expected environment steps, 1 or more, or -1 for none, got {value}")
    if not 1 <= plan.num_threads <= MOST_THREADS:
        raise UsageError(f"--num-threads: expected 1 to {MOST_THREADS}, got {plan.num_threads}")
    for flag, name, names in (("--vec-env", plan.vec_env, VEC_ENVS), ("--engine", plan.engine, ENGINES)):
        if name not in names:
            raise unknown(flag, name, names)
    if not 0 < plan.worker_timeout <= LIMIT:
        raise UsageError(f"--worker-timeout: expected seconds above 0, got {plan.worker_timeout}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", plan.device):
        raise UsageError(f"--device: expected auto, cpu or cuda, got {plan.device!r}")
    if plan.device.startswith("cuda"):
        import torch  # a second and a half, for those who have a GPU only

        if not torch.cuda.is_available():
            raise UsageError(f"--device: expected a GPU for {plan.device!r}, found none; use --device cpu")
