"""Gymnasium ids of our environments; ``import homeo_rl`` registers them."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

TRAINING_WORLDS = ["train-1", "train-2", "train-3", "train-4"]


def register_environments() -> None:
    """Register what is not registered yet. Nothing of the environments themselves is imported."""
    for name, steps, worlds, rules in (
        ("Navigation-v0", 1000, ["evaluation"], "evaluation"),
        ("NavigationDynamic-v0", 3000, ["evaluation-dynamic"], "dynamic"),
        ("NavigationTrain-v0", 1000, TRAINING_WORLDS, "training"),
    ):
        if f"homeo_rl/{name}" not in registry:
            register(
                f"homeo_rl/{name}",
                entry_point="homeo_rl.envs.navigation.environment:NavigationEnv",
                vector_entry_point="homeo_rl.envs.navigation.vector:NavigationVectorEnv",
                max_episode_steps=steps,
                # All that makes the task; what is left is how the robot sees it (see `arguments_for`).
                kwargs={"worlds": list(worlds), "rules": rules, "curriculum": [], "random_movers": 0},
            )
