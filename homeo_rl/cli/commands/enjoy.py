"""The command ``homeo-rl enjoy``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import make_plan, open_run, print_doubt
from homeo_rl.cli.flags import Short, WithPolicy, Words
from homeo_rl.errors import UsageError, unknown

COMMAND = Command(EVALUATE, 3, "show a policy in a window, or record a video")


@dataclass(frozen=True, kw_only=True)
class Enjoy(WithPolicy):
    """Show the policy of a run in a window, or record a video of it."""

    video: Path | None = None
    """Video file: .gif, .webp, .png or .mp4; by default a window opens."""
    suite: str = "quick"
    """Suite that contains --condition."""
    env: str = ""
    """Gymnasium id that replaces the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals; episode i follows route i."""
    condition: str = "clean"
    """Condition of the suite."""
    homeostasis: str = "none"
    """One mechanism."""
    episodes: int = 1
    """Number of episodes."""
    max_episode_steps: Annotated[int | None, Short(("--steps",))] = None
    """Most steps of an episode in a video; by default 300, or 1000 in navigation."""
    seed: int = 0
    """Seed of the episodes."""
    gym_packages: Words = ()
    """Packages that register environments, degradations or mechanisms, besides those of the training."""


def run(args: Enjoy, words: list[str]) -> dict[str, Any]:
    """Show a policy."""
    from homeo_rl.degradations import load_suite
    from homeo_rl.envs.rendering import check_film, require_display
    from homeo_rl.evaluation.plan import EvaluationPlan
    from homeo_rl.evaluation.routes import read_routes

    run = open_run(args.run, args.gym_packages)
    suite = load_suite(args.suite)
    conditions = {condition.label: condition for condition in suite.conditions}
    if args.condition not in conditions:
        raise unknown(f"condition of suite {args.suite}", args.condition, conditions)
    for flag, value in (("--episodes", args.episodes), ("--max-episode-steps", args.max_episode_steps)):
        if value is not None and value < 1:
            raise UsageError(f"{flag}: expected at least 1, got {value}")

    routes = () if args.routes is None else read_routes(args.routes)
    plan = make_plan(
        EvaluationPlan, args, suite=suite, arms=(args.homeostasis,), which=args.which, routes=routes,
        max_episode_steps=None,
    )  # fmt: skip
    if args.video is None:
        require_display()
    else:
        check_film(args.video)

    from homeo_rl.evaluation.enjoy import enjoy

    episodes = enjoy(run, plan, conditions[args.condition], video=args.video, steps=args.max_episode_steps)
    for episode in episodes:
        outcome = f", {episode.outcome}" if episode.outcome else ""
        print(f"episode {episode.index}: return {episode.total:.1f}, {episode.length} steps{outcome}")
    if args.condition == "clean" and args.homeostasis == "none":
        limit = args.max_episode_steps or 300  # an episode that a video truncated says nothing
        whole = [episode.total for episode in episodes if args.video is None or episode.length < limit]
        print_doubt(suite.conditions[0].env or args.env or run.spec.env, whole)
    if args.video is not None:
        print(f"video: {args.video}")
    return {
        "run": str(run.path),
        "video": None if args.video is None else str(args.video),
        "episodes": [
            {"return": e.total, "length": e.length, "success": e.success, "outcome": e.outcome} for e in episodes
        ],
    }
