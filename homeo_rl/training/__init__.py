"""Training with Stable-Baselines3; import `homeo_rl.training.train` for the verb itself."""
