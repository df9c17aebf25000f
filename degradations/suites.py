"""Robustness suites: versioned YAML, validated, with a content hash that every table prints."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pydantic

from homeo_rl.degradations.action import ActionDelay, ActionGain, ActionNoise
from homeo_rl.degradations.dynamics import ActuatorGain, BodyMass, GroundFriction
from homeo_rl.degradations.lidar import LidarGaussian, LidarStuck
from homeo_rl.degradations.network import (
    DeadNeurons,
    DriftingWeights,
    EightBitWeights,
    GaussianWeights,
    ScaledWeights,
    StuckNeurons,
    ZeroWeights,
)
from homeo_rl.degradations.observation import (
    DelayedSensors,
    DroppedSensors,
    GaussianObservation,
    NormalisedGaussianObservation,
    PoseFault,
    StuckSensors,
    VelocityFault,
)
from homeo_rl.degradations.protocol import Condition, Degradation, fields_of
from homeo_rl.errors import UsageError, repeated, unknown
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.numerics.typed_fields import require_fields
from homeo_rl.spec import parse
from homeo_rl.storage.files import printable
from homeo_rl.storage.user_paths import local_path
from homeo_rl.storage.yaml_file import read_yaml

DEGRADATIONS: dict[str, type[Degradation]] = {
    kind.kind: kind
    for kind in (
        GaussianObservation, NormalisedGaussianObservation, StuckSensors, DroppedSensors, DelayedSensors, PoseFault,
        VelocityFault, LidarStuck, LidarGaussian,
        ActionNoise, ActionDelay, ActionGain,
        BodyMass, GroundFriction, ActuatorGain,
        GaussianWeights, ZeroWeights, EightBitWeights, ScaledWeights, DriftingWeights, DeadNeurons, StuckNeurons,
    )
}  # fmt: skip
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
        content = [
            self.name,
            self.version,
            [
                {
                    "name": c.name,
                    "severity": c.severity,
                    "onset": c.onset,
                    "parts": [fields_of(d) for d in c.degradations],
                    **({"env": c.env} if c.env else {}),
                }
                for c in self.conditions
            ],
        ]
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
class _Told:
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
    text = parse(_SuiteText, read_yaml(path).data, where=str(path))
    conditions = tuple(c for entry in text.conditions for c in _conditions(entry, str(path)))
    if not conditions or conditions[0].severity > 0:
        raise UsageError(
            f"{path}: expected a first condition without degradations or env, which retention is measured against"
        )
    twice = repeated(condition.label for condition in conditions)
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


def plain(suite: Suite) -> list[dict[str, Any]]:
    """Return the conditions of a suite as plain data, from which `rebuilt` makes it again."""
    return [
        {
            "name": c.name,
            "severity": c.severity,
            "onset": c.onset,
            "env": c.env,
            "degradations": [fields_of(d) for d in c.degradations],
        }
        for c in suite.conditions
    ]


def rebuilt(name: str, version: int, conditions: list[dict[str, Any]], *, where: str) -> Suite:
    """Return the suite whose conditions `plain` told.

    Raises:
        UsageError: they are not such conditions, or a degradation is not known here.
    """
    told = [parse(_Told, entry, where=where) for entry in conditions]
    return Suite(
        name=name,
        version=version,
        description="",
        conditions=tuple(
            Condition(
                name=one.name,
                severity=one.severity,
                onset=one.onset,
                env=one.env,
                degradations=tuple(build(fields, where=f"{where}: {one.name}") for fields in one.degradations),
            )
            for one in told
        ),
    )


def _conditions(entry: _ConditionText, where: str) -> list[Condition]:
    parts = tuple(build(fields, where=f"{where}: {entry.name}") for fields in entry.degradations)
    if not parts:
        # Another environment is what this condition changes: it counts as damage, and the clean one as the reference.
        return [Condition(name=entry.name, severity=1.0 if entry.env else 0.0, env=entry.env)]
    return [
        Condition(name=entry.name, severity=severity, degradations=parts, onset=entry.onset, env=entry.env)
        for severity in entry.severities
    ]
