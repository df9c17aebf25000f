"""Watch a run: on the screen, or as a video file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from homeo_rl.agents.controller import load_controller, require_spiking
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import arguments_for, load_modules, make_env
from homeo_rl.envs.rendering import Env, Film, Filmed, camera, choose_backend, pace_of, require_display
from homeo_rl.evaluation.calibrate import calibration_of, session_of
from homeo_rl.evaluation.plan import require_width
from homeo_rl.evaluation.rollout import Episode, episode_seed, rollout
from homeo_rl.evaluation.routes import Route
from homeo_rl.homeostasis import make
from homeo_rl.run import Run


def enjoy(
    run: Run,
    *,
    video: Path | None,
    condition: Condition,
    arm: str = "none",
    seed: int = 0,
    episodes: int = 1,
    steps: int | None = None,
    which: str = "policy",
    env: str = "",
    healthy: str = "",
    routes: Sequence[Route] = (),
) -> list[Episode]:
    """Run episodes and show them.

    Args:
        run: the run.
        video: file to write (GIF, WebP, APNG or MP4); None opens a window.
        condition: what is damaged.
        arm: homeostasis arm.
        seed: root of the episodes' seeds.
        episodes: how many.
        steps: most steps of an episode of a video; None is 300 with a MuJoCo camera, else 1000.
        which: policy bundle.
        env: environment that takes the place of the run's, where the condition names none.
        healthy: environment that the plug-in learns the normal rates in; "" is ``env`` or the run's own.
        routes: where episodes begin and end; () lets the environment draw.

    Raises:
        UsageError: the arm does not fit the policy, the file cannot be written, or nothing can render here.
    """
    load_modules(run.spec.modules)
    controller = load_controller(run, which=which)
    name = condition.env or env or run.spec.env
    kwargs = arguments_for(name, run.spec.env, run.spec.env_kwargs)
    with closing(make_env(name, kwargs)) as probe:
        require_width(probe, name, controller, run)
    plugin = make(arm)
    calibration = None
    if plugin is not None:
        require_spiking(controller, "homeostasis")
        place = healthy or env or run.spec.env
        normal = place, arguments_for(place, run.spec.env, run.spec.env_kwargs)
        calibration = calibration_of(run, controller, which=which, episodes=5, env=normal)
    options = [route.options for route in routes]
    seeds = [episode_seed(seed, "evaluation", index) for index in range(episodes)]

    def new_session(slots: int) -> Session:
        return session_of(controller, slots, plugin=plugin, calibration=calibration)

    if video is None:
        require_display()
        return rollout(
            new_session,
            lambda: make_env(name, kwargs, render_mode="human"),
            seeds,
            condition=condition,
            num_envs=1,
            options=options,
        )
    probe = make_env(name, kwargs)
    if hasattr(probe.unwrapped, "mujoco_renderer"):
        choose_backend()
    kwargs = {**camera(probe), **kwargs}
    if steps is None:
        steps = 300 if hasattr(probe.unwrapped, "mujoco_renderer") else 1000
    film = Film(video, pace_of(probe))
    probe.close()

    def new_env() -> Env:
        return Filmed(make_env(name, kwargs, render_mode="rgb_array"), film.add, steps)

    done = rollout(new_session, new_env, seeds, condition=condition, num_envs=1, options=options)
    film.close()
    return done
