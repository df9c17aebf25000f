"""``homeo-rl enjoy``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Common, Flag, Positional, Words
from homeo_rl.errors import UsageError, unknown

COMMAND = Command(EVALUATE, 3, "watch a run in a window, or film it")


@dataclass(frozen=True, kw_only=True)
class Enjoy(Common):
    """Watch a run, on the screen or as a video file."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    video: Path | None = None
    """File to write: .gif, .webp, .png or .mp4; by default a window opens."""
    suite: str = "quick"
    """Suite that --condition is looked up in."""
    env: str = ""
    """Gymnasium id in place of the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals; episode i follows route i."""
    condition: str = "clean"
    """What is damaged."""
    homeostasis: str = "none"
    """One arm."""
    episodes: int = 1
    """How many episodes."""
    steps: int | None = None
    """Most steps of an episode of a video; by default 300, or 1000 in navigation."""
    seed: int = 0
    """Root of the episodes' seeds."""
    gym_packages: Words = ()
    """Packages that register environments, degradations or plug-ins, besides those that the run was trained with."""
    best: Flag = False
    """Watch the best policy seen in training instead of the last one."""


def run(args: Enjoy, words: list[str]) -> dict[str, Any]:
    """Watch a run."""
    from homeo_rl.degradations import load_suite
    from homeo_rl.envs.rendering import check_film, require_display
    from homeo_rl.evaluation.plan import EvaluationPlan
    from homeo_rl.evaluation.routes import read_routes

    run = open_run(args.run, args.gym_packages)
    suite = load_suite(args.suite)
    conditions = {condition.label: condition for condition in suite.conditions}
    if args.condition not in conditions:
        raise unknown(f"condition of suite {args.suite}", args.condition, conditions)
    if args.episodes < 1 or (args.steps is not None and args.steps < 1):
        raise UsageError(f"--episodes and --steps: expected at least 1, got {args.episodes} and {args.steps}")

    plan = EvaluationPlan(
        suite=suite,
        arms=(args.homeostasis,),
        episodes=args.episodes,
        seed=args.seed,
        which="best" if args.best else "policy",
        env=args.env,
        routes=() if args.routes is None else read_routes(args.routes),
    )
    if args.video is None:
        require_display()
    else:
        check_film(args.video)

    from homeo_rl.evaluation.enjoy import enjoy

    episodes = enjoy(run, plan, conditions[args.condition], video=args.video, steps=args.steps)
    for episode in episodes:
        outcome = f", {episode.outcome}" if episode.outcome else ""
        print(f"episode {episode.index}: return {episode.total:.1f}, {episode.length} steps{outcome}")
    if args.video is not None:
        print(f"video: {args.video}")
    return {
        "run": str(run.path),
        "video": None if args.video is None else str(args.video),
        "episodes": [
            {"return": e.total, "length": e.length, "success": e.success, "outcome": e.outcome} for e in episodes
        ],
    }
