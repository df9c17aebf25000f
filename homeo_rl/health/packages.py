"""Versions of the packages that matter: what we require, what they require of each other, and known conflicts."""

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from homeo_rl.health.check import Check, State

PACKAGE = "homeo-rl"

NEEDED_FOR = {
    "gymnasium": "environments, and vectors of them that start anew at the step that ends an episode",
    "imageio": "films",
    "jinja2": "HTML reports",
    "matplotlib": "pictures",
    "mujoco": "robots, and rendering them without a screen",
    "numba": "the compiled loops",
    "numpy": "everything",
    "packaging": "comparing versions",
    "pillow": "films",
    "pydantic": "specifications",
    "pyyaml": "suites, spaces and presets",
    "rich": "progress and tables",
    "safetensors": "policies and checkpoints",
    "scipy": "statistics",
    "shtab": "completion in the shell",
    "stable-baselines3": "training",
    "tensorboard": "curves",
    "torch": "networks and training",
}
"""What does not work without a package."""


@dataclass(frozen=True)
class Conflict:
    """Two packages that their own metadata lets live together, and that do not.

    ``versions`` and ``beside_versions`` say which ones.
    """

    package: str
    versions: str
    beside: str
    beside_versions: str
    why: str
    do: str
    state: State = "note"


CONFLICTS = (
    Conflict(
        "tensorboard", "<2.21", "setuptools", ">=82",
        "it imports pkg_resources, which setuptools 82 no longer has, so the command tensorboard does not start",
        "pip install 'tensorboard>=2.21'",
    ),
    Conflict(
        "gymnasium", "<1.0", "mujoco", ">=3",
        "MuJoCo 3 renamed what it draws with (solver_iter)", "pip install 'gymnasium>=1.2'", "fails",
    ),
    Conflict(
        "gym", ">=0", "numpy", ">=2",
        "the old gym has ended and does not know NumPy 2; environments made for it may fail",
        "use a version of the environment for gymnasium, and pip uninstall gym",
    ),
)  # fmt: skip

ADVICE = {"moviepy": "nothing here needs it, films are written with imageio: pip uninstall moviepy"}
"""For packages whose metadata forbids what is installed."""


def list_installed() -> dict[str, importlib.metadata.Distribution]:
    """Return what is installed, by canonical name."""
    result: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a folder that was left behind has none
            result.setdefault(canonicalize_name(name), distribution)
    return result


def check_packages(installed: Mapping[str, importlib.metadata.Distribution]) -> list[Check]:
    """Compare what is installed with what is needed."""
    checks = [Check("Python", "ok", platform.python_version())]
    ours = installed.get(PACKAGE)
    if ours is None:
        return [
            *checks,
            Check(PACKAGE, "note", "runs from its sources, not installed", "pip install -e . in its folder"),
        ]
    required = [requirement for requirement in _requirements(ours.requires or ()) if _applies(requirement)]
    checks += [_check_required(requirement, installed) for requirement in required]
    names: set[str] = {canonicalize_name(requirement.name) for requirement in required}
    checks += _check_mutual(installed, names)
    checks += [requirement for conflict in CONFLICTS for requirement in _check_conflict(conflict, installed)]
    checks.append(_extras(ours, installed))
    return checks


def _check_required(wanted: Requirement, installed: Mapping[str, importlib.metadata.Distribution]) -> Check:
    name = canonicalize_name(wanted.name)
    do = f"pip install '{wanted.name}{wanted.specifier}'"
    why = f"needed for {NEEDED_FOR.get(name, PACKAGE)}"
    if name not in installed:
        return Check(wanted.name, "fails", f"not installed; {why}", do)
    version = installed[name].version
    if not wanted.specifier.contains(version, prereleases=True):
        return Check(wanted.name, "fails", f"{version}, expected {wanted.specifier}; {why}", do)
    return Check(wanted.name, "ok", f"{version} ({wanted.specifier})")


def _check_mutual(installed: Mapping[str, importlib.metadata.Distribution], ours: set[str]) -> list[Check]:
    """Return where an installed package forbids the version of one of ``ours``."""
    checks = []
    for name, distribution in sorted(installed.items()):
        if name == PACKAGE:
            continue
        for wanted in _requirements(distribution.requires or ()):
            other = canonicalize_name(wanted.name)
            if other not in ours or other not in installed or not _applies(wanted):
                continue
            version = installed[other].version
            if not wanted.specifier.contains(version, prereleases=True):
                text = f"{distribution.version} expects {wanted.name}{wanted.specifier}, {version} is installed"
                do = ADVICE.get(name, f"pip install --upgrade {name} '{wanted.name}{wanted.specifier}'")
                checks.append(Check(name, "fails" if name in ours else "note", text, do))
    return checks


def _check_conflict(conflict: Conflict, installed: Mapping[str, importlib.metadata.Distribution]) -> list[Check]:
    sides = ((conflict.package, conflict.versions), (conflict.beside, conflict.beside_versions))
    for name, versions in sides:
        if name not in installed or not SpecifierSet(versions).contains(installed[name].version, prereleases=True):
            return []
    text = f"{installed[conflict.package].version} beside {conflict.beside} {installed[conflict.beside].version}"
    return [Check(conflict.package, conflict.state, f"{text}: {conflict.why}", conflict.do)]


def _extras(ours: importlib.metadata.Distribution, installed: Mapping[str, importlib.metadata.Distribution]) -> Check:
    texts = []
    for extra in sorted(ours.metadata.get_all("Provides-Extra") or ()):
        wanted = [
            requirement
            for requirement in _requirements(ours.requires or ())
            if not _applies(requirement) and _applies(requirement, extra)
        ]
        there = all(
            canonicalize_name(requirement.name) in installed
            and requirement.specifier.contains(installed[canonicalize_name(requirement.name)].version, prereleases=True)
            for requirement in wanted
        )
        texts.append(f"{extra} {'yes' if there else 'no'}")
    return Check("extras", "ok", f"{', '.join(texts)} (pip install 'homeo-rl[NAME]')")


def _requirements(texts: Iterable[str]) -> list[Requirement]:
    result = []
    for text in texts:
        try:
            result.append(Requirement(text))
        except InvalidRequirement:  # an old package's own way of writing
            continue
    return result


def _applies(wanted: Requirement, extra: str = "") -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})
