"""Names of a package that are imported when they are first used, and calls after the import of another."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def import_on_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that imports a name of ``homes``, {module: names}, when it is first used.

    Put it behind ``if not TYPE_CHECKING``: a type checker that sees it takes every name for right.
    """

    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def look_up(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)

    return look_up


class _Observer(MetaPathFinder):
    """Find one package as the other finders do, and call a function after its module was executed."""

    def __init__(self, package: str, action: Callable[[], None]) -> None:
        self.package, self.action = package, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.package:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        sys.meta_path.insert(0, self)  # until the module was executed without an error
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                self.action()

            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]  # of this one loader
        return spec


def call_after_import(package: str, action: Callable[[], None]) -> None:
    """Call ``action`` once ``package`` is imported: now if it is, else at the end of its import."""
    if package in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Observer(package, action))
