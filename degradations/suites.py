"""Robustness suites: versioned YAML, validated, with a content hash that every table prints."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pydantic

from homeo_rl.degradations.protocol import Condition, Degradation
from homeo_rl.errors import UsageError, find_repeated, unknown
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.numerics.typed_fields import require_fields
from homeo_rl.spec import parse
from homeo_rl.storage.files import printable
from homeo_rl.storage.user_paths import local_path
from homeo_rl.storage.yaml_file import read_yaml

MODULES = ("observation", "lidar", "action", "dynamics", "network")
"""Files of this room whose degradations, the classes with a ``kind``, are offered."""


def _kinds() -> dict[str, type[Degradation]]:
    modules = [import_module(f"homeo_rl.degradations.{name}") for name in MODULES]
    classes = [entry for module in modules for entry in vars(module).values() if isinstance(entry, type)]
    return {entry.kind: entry for entry in classes if issubclass(entry, Degradation) and entry.kind}


DEGRADATIONS: dict[str, type[Degradation]] = _kinds()
"""All degradations by kind; a new one is offered to suites and walked by the tests once it is here."""

FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of conditions. The first one must be clean: every retention is measured against it.

    Others without degradations may follow, in another environment. ``env`` is the environment of all conditions that
    do not name their own, and becomes theirs.
    """

    name: str
    version: int
    description: str
    conditions: tuple[Condition, ...]
    env: str = ""

    def __post_init__(self) -> None:
        require_fields(self)
        conditions = tuple(dataclasses.replace(c, env=c.env or self.env) for c in self.conditions)
        object.__setattr__(self, "conditions", conditions)

    @cached_property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of what the suite says (comments and layout do not count).

        An environment counts where there is one, so suites that name none keep the hash of versions without it.
        """
        conditions = []
        for condition in self.conditions:
            entry = condition.to_dict()
            entry["parts"] = entry.pop("degradations")
            conditions.append({key: value for key, value in entry.items() if key != "env" or value})
        content = [self.name, self.version, conditions]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class _ConditionText:
    name: str
    severities: tuple[float, ...] = (1.0,)
    onset: int = 0
    degradations: tuple[dict[str, Any], ...] = ()
    env: str = ""

    def __post_init__(self) -> None:
        if not self.severities or not all(0.0 <= severity <= 1.0 for severity in self.severities):
            raise ValueError(f"severities: expected numbers in [0, 1], got {self.severities}")
        if self.onset < 0:
            raise ValueError(f"onset: expected a step >= 0, got {self.onset}")


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class _SuiteText:
    name: str
    version: int
    conditions: tuple[_ConditionText, ...]
    description: str = ""
    env: str = ""


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class _ConditionRecord:
    name: str
    severity: float
    onset: int
    env: str
    degradations: tuple[dict[str, Any], ...]


def suite_names() -> list[str]:
    """Names of the suites that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(name: str | Path) -> Suite:
    """Load a suite by its name or from a YAML file.

    Raises:
        UsageError: there is no such suite, or the file does not hold one; the message names the field.
    """
    instance_of(name, (str, Path), what="suite", advice="give its name, or the path of a YAML file")
    name = str(name)
    path = FOLDER / f"{name}.yaml"
    if name not in suite_names():
        path = local_path(Path(name), "--suite")
        if path.suffix not in (".yaml", ".yml"):
            raise unknown("suite", name, suite_names())
        if not path.is_file():
            raise UsageError(f"{path}: expected a suite file, found none; suites by name: {', '.join(suite_names())}")
    return _read_suite(path)


def read_suite(path: Path, flag: str) -> Suite:
    """Read a suite from a YAML file that ``flag`` names.

    Raises:
        UsageError: the file is missing, or does not hold one; the message names the field.
    """
    path = local_path(path, flag)
    if not path.is_file():
        raise UsageError(f"{flag} {path}: expected a suite file, found none; check the path")
    return _read_suite(path)


def _read_suite(path: Path) -> Suite:
    text = parse(_SuiteText, read_yaml(path).data, where=str(path))
    conditions = tuple(c for entry in text.conditions for c in _conditions(entry, str(path)))
    if not conditions or conditions[0].severity > 0:
        raise UsageError(
            f"{path}: expected a first condition without degradations or env, which retention is measured against"
        )
    twice = find_repeated(condition.label for condition in conditions)
    if twice:
        raise UsageError(f"{path}: condition {twice!r} appears twice; give each its own name")
    return Suite(
        name=text.name,
        version=text.version,
        description=text.description.strip(),
        conditions=conditions,
        env=text.env,
    )


def build(fields: dict[str, Any], *, where: str) -> Degradation:
    """Build a degradation from ``{"kind": ..., parameter: value}``.

    Raises:
        UsageError: unknown kind or parameter, or a value of the wrong type.
    """
    values = dict(fields)
    kind = str(values.pop("kind", ""))
    if kind not in DEGRADATIONS:
        raise unknown(f"degradation in {where}", kind, DEGRADATIONS)
    known = [field.name for field in dataclasses.fields(DEGRADATIONS[kind])]
    for key in values:
        if key not in known:
            raise unknown(f"parameter of {kind} in {where}", key, known)
    built = parse(DEGRADATIONS[kind], values, where=f"{where}: {kind}")
    for name in values:
        low, high = _RANGES.get(f"{kind}.{name}") or _RANGES.get(name) or (-LIMIT, LIMIT)
        value = getattr(built, name)
        ours = type(built).__module__.startswith("homeo_rl.")
        if ours and isinstance(value, int | float) and not low <= value <= high:
            raise UsageError(f"{where}: {kind}: {name}: expected {low:g} to {high:g}, got {printable(value, 30)}")
    return built


_RANGES = {
    "fraction": (0.0, 1.0),
    "probability": (0.0, 1.0),
    "std": (0.0, 1e6),
    "steps": (0.0, 1e4),
    "body-mass.factor": (1e-3, 1e3),
    "friction.factor": (0.0, 1e3),
    "factor": (-1e3, 1e3),
}
"""Sound parameters of our own degradations: those of a kind, or of every one with such a name."""


def suite_to_dicts(suite: Suite) -> list[dict[str, Any]]:
    """Return the conditions of a suite as plain data, from which `suite_from_dicts` makes it again."""
    return [condition.to_dict() for condition in suite.conditions]


def suite_from_dicts(name: str, version: int, conditions: list[dict[str, Any]], *, where: str) -> Suite:
    """Return the suite that `suite_to_dicts` wrote.

    Raises:
        UsageError: they are not such conditions, or a degradation is not known here.
    """
    records = [parse(_ConditionRecord, entry, where=where) for entry in conditions]
    return Suite(
        name=name, version=version, description="",
        conditions=tuple(
            Condition(**{**vars(record), "degradations": _parts(record.degradations, f"{where}: {record.name}")})
            for record in records
        ),
    )  # fmt: skip


plain, rebuilt = suite_to_dicts, suite_from_dicts  # the older names


def _parts(entries: Iterable[dict[str, Any]], where: str) -> tuple[Degradation, ...]:
    return tuple(build(fields, where=where) for fields in entries)


def _conditions(entry: _ConditionText, where: str) -> list[Condition]:
    parts = _parts(entry.degradations, f"{where}: {entry.name}")
    if not parts:
        # Another environment is what this condition changes: it counts as damage, and the clean one as the reference.
        return [Condition(name=entry.name, severity=1.0 if entry.env else 0.0, env=entry.env)]
    return [
        Condition(name=entry.name, severity=severity, degradations=parts, onset=entry.onset, env=entry.env)
        for severity in entry.severities
    ]
