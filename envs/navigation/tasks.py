"""What the robot has to do: the numbers of evaluation, of moving obstacles, and of training.

Source of all of them: Tang et al. (IROS 2020) and their evaluation scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeo_rl.envs.navigation.kernels import Rules
from homeo_rl.envs.navigation.world import World, load_world
from homeo_rl.errors import UsageError, unknown

EVALUATION = Rules()
"""Collision by the true distance; the numbers are the fields' defaults."""

DYNAMIC = EVALUATION._replace(collision_clearance=0.0, collision_mover=0.0, collision_beam=0.18, still=20, immune=50)
"""Collision by the least beam; held still for 20 decisions, immune for 50."""

TRAINING = EVALUATION._replace(action_kept=1.0, action_noise=0.0, collision_clearance=0.35, collision_mover=0.35)
"""An obstacle nearer than 0.35 m ends the episode."""

MOVING = TRAINING._replace(collision_mover=0.0, collision_beam=0.18)
"""Training for `DYNAMIC`: movers, faster than the robot, count where the lidar can see them and as near as there."""

TASKS = {"evaluation": EVALUATION, "dynamic": DYNAMIC, "training": TRAINING, "training-moving": MOVING}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Arguments of the navigation environments.

    Attributes:
        worlds: one or more worlds; each episode takes place in one of them, drawn evenly.
        rules: a name in `TASKS`.
        curriculum: episodes that each environment spends in the first world, the second, ..., before it draws evenly;
            () draws evenly from the start.
        random_movers: cylinders that move at random, beside those of the world.
        median: each beam is the median of 40 rays over its 10-degree sector, instead of the one ray at its centre.
        spike_coded: observations of 24 entries in [0, 1] (`homeo_rl.envs.navigation.coding`).
    """

    worlds: tuple[World, ...]
    rules: Rules
    curriculum: tuple[int, ...] = ()
    random_movers: int = 0
    spike_coded: bool = False

    @classmethod
    def build(
        cls,
        *,
        worlds: str | dict[str, Any] | World | Sequence[str | dict[str, Any] | World] = "evaluation",
        rules: str = "evaluation",
        curriculum: Sequence[int] = (),
        random_movers: int = 0,
        median: bool = False,
        spike_coded: bool = False,
    ) -> Task:
        """Check the arguments and read the worlds. Raises UsageError: an argument or a world is not sound."""
        sources = [worlds] if isinstance(worlds, str | dict | World) else worlds
        if not isinstance(sources, list | tuple) or not sources:
            raise UsageError(f"worlds: expected one or more names, files or worlds, got {worlds!r}")
        if rules not in TASKS:
            raise unknown("rules", rules, TASKS)
        if (
            not isinstance(curriculum, list | tuple)
            or len(curriculum) > len(sources)
            or any(not isinstance(n, int) or n < 0 for n in curriculum)
        ):
            raise UsageError(f"curriculum: expected at most {len(sources)} numbers of episodes, got {curriculum!r}")
        if not isinstance(random_movers, int) or not 0 <= random_movers <= 100:
            raise UsageError(f"random_movers: expected 0 to 100, got {random_movers}")
        task = TASKS[rules]._replace(rays_per_beam=40) if median else TASKS[rules]
        return cls(
            worlds=tuple(load_world(world) for world in sources),
            rules=task,
            curriculum=tuple(curriculum),
            random_movers=random_movers,
            spike_coded=spike_coded,
        )
