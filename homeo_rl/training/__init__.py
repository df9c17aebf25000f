"""Training with Stable-Baselines3."""

from homeo_rl.training.train import TrainingPlan, train

__all__ = ["TrainingPlan", "train"]
