"""Environments: navigation, making them by id, guarding their numbers."""

from typing import TYPE_CHECKING

from homeo_rl.imports.lazy import import_on_use

if TYPE_CHECKING:
    from homeo_rl.envs.guard import FiniteGuard
    from homeo_rl.envs.make import load_modules, make_env

_HOME = {"guard": "FiniteGuard", "make": "load_modules make_env"}

__all__ = ["FiniteGuard", "load_modules", "make_env"]


if not TYPE_CHECKING:
    __getattr__ = import_on_use(__name__, _HOME)
