"""Names of version 0.1, of modules and of arguments, which hold for one more version, with a warning."""

import functools
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

MOVED = {
    "homeo_rl.agents.policies": "homeo_rl.agents.sb3.policies",
    "homeo_rl.agents.shipped": "homeo_rl.run",
    "homeo_rl.agents.vec_env": "homeo_rl.agents.sb3.vec_env",
    "homeo_rl.envs.making": "homeo_rl.envs.make",
    "homeo_rl.homeostasis.control": "homeo_rl.homeostasis.dwam_controls",
    "homeo_rl.homeostasis.rehearsing": "homeo_rl.homeostasis.rate_search",
    "homeo_rl.snn.accumulation": "homeo_rl.snn.spike_accumulation",
    "homeo_rl.snn.potentials": "homeo_rl.snn.initial_potentials",
    "homeo_rl.sweeps.drive": "homeo_rl.processes.scheduler",
    "homeo_rl.sweeps.local": "homeo_rl.processes.local",
    "homeo_rl.sweeps.on_ray": "homeo_rl.processes.ray",
    "homeo_rl.training.convert": "homeo_rl.workflows.convert",
    "homeo_rl.training.distill": "homeo_rl.workflows.distill",
    "homeo_rl.training.zoo_writing": "homeo_rl.training.rl_zoo.writer",
}


class _AliasFinder(MetaPathFinder, Loader):
    """Import the module of today under its older name: one module, two names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} is now {new}; the old name goes with version 0.3", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # importlib put the alias's there


def install_aliases() -> None:
    """Let the older names be imported."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AliasFinder())


def accept_older_keywords(**newer: str) -> Callable[[F], F]:
    """Let a function take some keywords by their older names too, as in ``chained="carry_over"``."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old in newer.keys() & kwargs.keys():
                message = f"{function.__qualname__}({old}=...) is now {newer[old]}=; the old name goes with version 0.3"
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                kwargs[newer[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast(F, call)

    return decorate
