"""Run a function when a package has been imported, without importing it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Observer(MetaPathFinder, Loader):
    """Find one package with the other finders, and call a function after its module was executed."""

    def __init__(self, package: str, action: Callable[[], None]) -> None:
        self.package, self.action = package, action
        self.loader: Loader | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.package or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # the other finders are asked, and this one acts once
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return spec
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        assert self.loader is not None
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self.loader is not None
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        try:
            self.loader.exec_module(module)
        except BaseException:
            sys.meta_path.insert(0, self)  # a second attempt to import the package is possible
            raise
        self.action()

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the package's own loader, such as ``get_data``."""
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)


def call_after_import(package: str, action: Callable[[], None]) -> None:
    """Call ``action`` once ``package`` is imported: now if it is, else at the end of its import."""
    if package in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Observer(package, action))
