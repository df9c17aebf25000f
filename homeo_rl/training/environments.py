"""The environments of a training: how many stand side by side, where they run, and what their monitors write."""

import contextlib
import os

from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from homeo_rl.agents.sb3.bounded_monitor import Monitored
from homeo_rl.agents.sb3.vec_env import GymVecEnv
from homeo_rl.agents.workers.supervised import SupervisedVecEnv
from homeo_rl.degradations.randomise import randomisation_from
from homeo_rl.envs.contract import try_out
from homeo_rl.envs.env_factory import Recipe
from homeo_rl.envs.make import make_env, make_vector
from homeo_rl.envs.protocol import is_driving
from homeo_rl.run import Run
from homeo_rl.seeding import derive
from homeo_rl.spec import RunSpec
from homeo_rl.training.batched_vec_env import BatchedVecEnv
from homeo_rl.training.plan import TrainingPlan


def make_training_envs(plan: TrainingPlan, spec: RunSpec) -> VecEnv:
    """Return the seeded environments that a policy learns in; rewards are normalised where the run says so."""
    count = int(spec.hyperparams.get("n_envs", 1))
    kwargs = {**plan.env_kwargs, **spec.hyperparams.get("train_env_kwargs", {})}
    damage = randomisation_from(spec.randomise).wrap if spec.randomise else None
    recipe = Recipe(plan.env, kwargs, plan.modules, endless=True, damage=damage)
    envs = _make_envs(plan, recipe, count, count)
    if spec.hyperparams.get("normalize_reward"):
        envs = VecNormalize(envs, norm_obs=False, gamma=float(spec.hyperparams.get("gamma", 0.99)))
    envs.seed(derive(plan.seed, "training") % 2**31)
    return envs


def make_evaluation_envs(plan: TrainingPlan, training: VecEnv | None) -> VecEnv:
    """Return the environments of the evaluations during a training, wrapped as those of the ``training`` are."""
    # Side by side where that is cheap; SB3 takes care that environments with short episodes do not count more.
    envs = _make_envs(plan, Recipe(plan.env, plan.env_kwargs, plan.modules), plan.eval_episodes, 1)
    if isinstance(training, VecNormalize):  # SB3 wants both wrapped alike; evaluations see plain rewards
        envs = VecNormalize(envs, norm_obs=False, norm_reward=False, training=False)
    return envs


def _make_envs(plan: TrainingPlan, recipe: Recipe, together: int, apart: int) -> VecEnv:
    """Make environments for SB3: ``together`` of them in compiled loops where there are any, else ``apart``.

    Those apart take turns in this process or, as the plan says, have one each or are rows of one simulator; the numbers
    are the same. Damaged ones are apart.
    """
    if plan.engine == "rollout":
        env = make_env(recipe.env_id, recipe.kwargs, endless=recipe.endless)
        return BatchedVecEnv(env, apart, min(apart, len(os.sched_getaffinity(0))))
    vector = None if recipe.damage is not None else make_vector(recipe.env_id, together, recipe.kwargs)
    if vector is not None:
        _, infos = vector.reset(seed=0)  # SB3 seeds and resets it again before the first step
        has_success = is_driving(vector) and "is_success" in infos
        return VecMonitor(GymVecEnv(vector), info_keywords=("is_success",) if has_success else ())
    if plan.vec_env == "workers":
        return SupervisedVecEnv(recipe, apart, timeout=plan.worker_timeout)
    return DummyVecEnv([lambda: recipe.make(Monitored)] * apart)


def check_contract(plan: TrainingPlan, spec: RunSpec) -> None:
    """Take one step in a third-party environment, so that one that breaks the contract leaves no run behind.

    Workers are left to find out for themselves: they may be there because the environment kills its process.
    """
    env = make_env(plan.env, {**plan.env_kwargs, **spec.hyperparams.get("train_env_kwargs", {})})
    with contextlib.closing(env):
        third_party = not type(env.unwrapped).__module__.startswith(("gymnasium.envs.", "homeo_rl."))
        if third_party and plan.vec_env == "dummy":
            try_out(env)


def write_monitors(env: VecEnv | None, run: Run, sizes: dict[str, int] | None) -> None:
    """Let the monitors of the environments write ``<i>.monitor.csv`` into the run.

    ``sizes`` (bytes) are those at the checkpoint that is resumed: what was written after it happens again.
    """
    envs = env.venv if isinstance(env, VecNormalize) else env
    assert envs is not None
    starts = [envs.t_start] if isinstance(envs, VecMonitor) else envs.get_attr("t_start")
    for index, start in enumerate(starts):
        path = run.path / f"{index}.monitor.csv"
        header: dict[str, float | str] = {"t_start": start, "env_id": run.spec.env}
        size = sizes.get(path.name) if sizes is not None and path.exists() else None
        append = size is not None
        if size is not None:
            os.truncate(path, min(size, path.stat().st_size))
        if isinstance(envs, SupervisedVecEnv):  # which passes it on to a worker that is started again
            envs.monitor_to(index, str(path.absolute()), header, append=append)
        elif isinstance(envs, VecMonitor):
            keywords = envs.info_keywords
            envs.results_writer = ResultsWriter(
                str(path), header=header, extra_keys=keywords, override_existing=not append
            )
        else:
            envs.env_method("monitor_to", str(path), header, append, indices=index)
