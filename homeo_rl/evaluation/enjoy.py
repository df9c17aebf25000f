"""Watch a run: on the screen, or as a video file."""

from __future__ import annotations

from pathlib import Path

from homeo_rl.agents.controller import load_controller, require_spiking
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.making import load_modules, make_env
from homeo_rl.envs.rendering import Env, Film, Filmed, camera, choose_backend
from homeo_rl.evaluation.calibrate import calibration_of
from homeo_rl.evaluation.rollout import Episode, episode_seed, rollout
from homeo_rl.homeostasis import make
from homeo_rl.homeostasis.protocol import LayerReference
from homeo_rl.run import Run


def enjoy(
    run: Run,
    *,
    video: Path | None,
    condition: Condition,
    arm: str = "none",
    seed: int = 0,
    episodes: int = 1,
    steps: int = 300,
    which: str = "policy",
) -> list[Episode]:
    """Run episodes and show them.

    Args:
        run: the run.
        video: file to write (GIF, WebP, APNG or MP4); None opens a window.
        condition: what is damaged.
        arm: homeostasis arm.
        seed: root of the episodes' seeds.
        episodes: how many.
        steps: most steps of an episode.
        which: policy bundle.

    Raises:
        UsageError: the arm does not fit the policy, the file cannot be written, or nothing can render here.
    """
    load_modules(run.spec.modules)
    controller = load_controller(run, which=which)
    plugin = make(arm)
    references: tuple[LayerReference, ...] = ()
    if plugin is not None:
        network = require_spiking(controller, "homeostasis")
        references = calibration_of(run, controller, which=which, episodes=5).references(network)
    seeds = [episode_seed(seed, "evaluation", index) for index in range(episodes)]

    def new_session(slots: int) -> Session:
        return Session(controller, slots, plugin=plugin, references=references)

    if video is None:
        return rollout(
            new_session,
            lambda: make_env(run.spec.env, run.spec.env_kwargs, render_mode="human"),
            seeds,
            condition=condition,
            num_envs=1,
        )
    probe = make_env(run.spec.env, run.spec.env_kwargs)
    if hasattr(probe.unwrapped, "mujoco_renderer"):
        choose_backend()
    kwargs = {**camera(probe), **run.spec.env_kwargs}
    film = Film(video, float(probe.metadata.get("render_fps", 30)))
    probe.close()

    def new_env() -> Env:
        return Filmed(make_env(run.spec.env, kwargs, render_mode="rgb_array"), film.add, steps)

    done = rollout(new_session, new_env, seeds, condition=condition, num_envs=1)
    film.close()
    return done
