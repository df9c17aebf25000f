"""Watch a run: on the screen, or as a video file."""

from contextlib import closing
from functools import partial
from pathlib import Path

from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.envs.rendering import Film, Filmed, camera, choose_backend, pace_of, require_display
from homeo_rl.evaluation.calibrate import calibrate_for, sessions_for
from homeo_rl.evaluation.episode import Episode, episode_seed
from homeo_rl.evaluation.observer_memory import observer_memory_for
from homeo_rl.evaluation.plan import EvaluationPlan, require_width
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.homeostasis import split_observer
from homeo_rl.run import Run


def enjoy(
    run: Run, plan: EvaluationPlan, condition: Condition, *, video: Path | None, steps: int | None = None
) -> list[Episode]:
    """Run the episodes of a plan's first arm under one condition and show them.

    Args:
        plan: arm, episodes, seed, policy, environment and routes, as `evaluate` takes them.
        video: file to write (GIF, WebP, APNG or MP4); None opens a window.
        steps: most steps of an episode of a video; None is 300 with a MuJoCo camera, else 1000.

    Raises UsageError: the arm does not fit the policy, the file cannot be written, or nothing can render here.
    """
    load_modules(run.spec.modules)
    controller, arm = plan.policy_of(run), plan.parsed_arms[0]
    arm.require_fitting(controller)
    adapts = split_observer(arm.plugin).network
    calibration = None if adapts is None else calibrate_for(plan, run, controller)
    observer = observer_memory_for(plan, run, controller)
    name, kwargs = plan.env_of(condition, run)
    with closing(make_env(name, kwargs)) as probe:
        require_width(probe, name, controller, run)
    play = partial(
        rollout,
        sessions_for(arm, controller, calibration, observer),
        seeds=[episode_seed(plan.seed, "evaluation", index) for index in range(plan.episodes)],
        condition=arm.add_layer(condition, observer),
        num_envs=1,
        options=[route.options for route in plan.routes],
    )
    if video is None:
        require_display()
        return play(lambda: make_env(name, kwargs, render_mode="human"))
    probe = make_env(name, kwargs)
    has_camera = hasattr(probe.unwrapped, "mujoco_renderer")
    if has_camera:
        choose_backend()
    kwargs = {**camera(probe), **kwargs}
    most = steps or (300 if has_camera else 1000)
    film = Film(video, pace_of(probe))
    probe.close()
    episodes = play(lambda: Filmed(make_env(name, kwargs, render_mode="rgb_array"), film.add, most))
    film.close()
    return episodes
