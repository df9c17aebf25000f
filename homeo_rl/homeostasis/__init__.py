"""Homeostatic mechanisms: plug-ins that keep firing rates healthy, without training and without gradients."""

from __future__ import annotations

import dataclasses
from typing import Any

from homeo_rl.errors import UsageError, unknown
from homeo_rl.homeostasis.dwam import DWAM
from homeo_rl.homeostasis.dynamic_threshold import BDETT
from homeo_rl.homeostasis.linear import LinearHomeostat
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference, Modulation, Scope, State, Tick

__all__ = [
    "BDETT",
    "DWAM",
    "MECHANISMS",
    "Homeostasis",
    "LayerReference",
    "LinearHomeostat",
    "Modulation",
    "Scope",
    "State",
    "Tick",
    "make",
]

MECHANISMS: dict[str, type[Homeostasis]] = {kind.name: kind for kind in (DWAM, BDETT, LinearHomeostat)}
"""All mechanisms by name; a new one is offered by the command line and walked by the tests once it is here."""


def make(arm: str) -> Homeostasis | None:
    """Build the mechanism of an arm such as ``none``, ``dwam`` or ``dwam:eta=5e-5:zeta=1``.

    Several values of one parameter, a layer each, are separated by slashes: ``dwam:eta=1e-4/1e-5/0``.

    Raises:
        UsageError: the name or a parameter is not known, or a value does not fit.
    """
    name, *settings = arm.split(":")
    if name == "none":
        if settings:
            raise UsageError(f"arm {arm!r}: none takes no parameters; write none")
        return None
    if name not in MECHANISMS:
        raise unknown("homeostasis arm", name, ["none", *MECHANISMS])
    kind = MECHANISMS[name]
    known = [field.name for field in dataclasses.fields(kind)]
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"arm {arm!r}: expected name=value after the colon, got {setting!r}")
        if key not in known:
            raise unknown(f"parameter of {name}", key, known)
        values[key] = _value(text)
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"arm {arm!r}: {error}") from None


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    if "/" in text:
        return tuple(_value(part) for part in text.split("/"))
    try:
        return float(text)
    except ValueError:
        return text
