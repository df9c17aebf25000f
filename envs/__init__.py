"""Environments: navigation, making them by id, guarding their numbers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homeo_rl.envs.guard import FiniteGuard
    from homeo_rl.envs.making import load_modules, make_env

_HOME = {"FiniteGuard": "guard", "load_modules": "making", "make_env": "making"}

__all__ = ["FiniteGuard", "load_modules", "make_env"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
