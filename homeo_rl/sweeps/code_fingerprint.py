"""Which code a result was made with: the sources of this package and of those that register environments.

A result counts for the code that made it, so a changed source file makes every cell another one.
"""

import functools
import hashlib
import importlib.util
import sys
import sysconfig
from pathlib import Path

from homeo_rl.imports.user_modules import not_there, search_current_folder
from homeo_rl.run import version_of
from homeo_rl.sweeps.sweep_spec import Training

PACKAGES = ("gymnasium", "mujoco", "numba", "numpy", "stable-baselines3", "torch")  # others that decide numbers

_PACKAGE = Path(__file__).parents[1]
_SUFFIXES = (".py", ".json", ".xml", ".yaml", ".yml")
_PASSED_OVER = ("__pycache__", "pretrained")


def modules_of(training: Training) -> tuple[str, ...]:
    """Return the top-level modules that an environment needs: those of ``gym_packages``, and of ``module:Id-v0``."""
    named = [*training.gym_packages, *([training.env.rpartition(":")[0]] if ":" in training.env else [])]
    return tuple(sorted({name.partition(".")[0] for name in named} - {"homeo_rl"}))


@functools.cache
def code_version(modules: tuple[str, ...]) -> dict[str, str]:
    """Return the SHA-256 of all sources, and versions of the packages that decide numbers.

    ``modules``: top-level modules besides this package. Raises UsageError: one of them is not there.
    """
    version = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "homeo_rl": _digest(_PACKAGE)}
    for name in modules:
        version[name] = _digest(home_of(name))
    return version | {f"package {package}": version_of(package) for package in PACKAGES}


def home_of(module: str) -> Path:
    """Return the file or the folder of a top-level module, without importing it. Raises UsageError: it is not there."""
    folder = search_current_folder()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise not_there(module, folder)
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin or module)


def own_sources(modules: tuple[str, ...]) -> list[Path]:
    """Return this package's folder and what of ``modules`` no package manager installed: what other machines lack."""
    installed = [Path(sysconfig.get_paths()[kind]) for kind in ("purelib", "platlib", "stdlib")]
    others = [home_of(name) for name in modules]
    return [_PACKAGE, *(path for path in others if not any(path.is_relative_to(folder) for folder in installed))]


def _digest(home: Path) -> str:
    """Return the SHA-256 of the names and contents of all sources below ``home``, links followed."""
    digest = hashlib.sha256()
    if home.is_file():
        digest.update(home.read_bytes())
        return digest.hexdigest()
    for path in _sources(home):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(home).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources(home: Path) -> list[Path]:
    # Path.rglob does not follow links to folders, of which a checkout of this package has three.
    files: list[Path] = []
    for entry in sorted(home.iterdir()):
        if entry.name in _PASSED_OVER or entry.name.startswith("."):
            continue
        if entry.is_dir():
            files += _sources(entry)
        elif entry.suffix in _SUFFIXES:
            files.append(entry)
    return files
