"""Gymnasium ids of our environments, which the package registers when Gymnasium is imported."""

TRAINING_WORLDS = ["train-1", "train-2", "train-3", "train-4"]


def register_environments() -> None:
    """Register what is not registered yet, without importing the environments themselves."""
    from gymnasium.envs.registration import register, registry  # here, since its import calls this function

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
