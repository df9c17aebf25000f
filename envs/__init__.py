"""Environments: making them by id, guarding their numbers."""

from homeo_rl.envs.guard import FiniteGuard
from homeo_rl.envs.making import load_modules, make_env

__all__ = ["FiniteGuard", "load_modules", "make_env"]
