"""Homeostatic mechanisms: plug-ins that keep firing rates healthy, without training and without gradients."""

import dataclasses
import re
from typing import Any

from homeo_rl.errors import UsageError, unknown
from homeo_rl.homeostasis.combined import CombinedMechanism
from homeo_rl.homeostasis.dwam import PaperDWAM
from homeo_rl.homeostasis.dwam_controls import ControlDWAM
from homeo_rl.homeostasis.dynamic_threshold import BDETT
from homeo_rl.homeostasis.linear import LinearHomeostat
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.observer import ObserverMechanism, join_observer, split_observer
from homeo_rl.homeostasis.protocol import DecisionRates, Homeostasis, LayerReference, Modulation, Scope, State, Tick
from homeo_rl.homeostasis.rate_search import DWAM, RehearsedDWAM, RehearsedLinear, Rehearsing
from homeo_rl.homeostasis.sleep import SleepHomeostat, needs_memory
from homeo_rl.homeostasis.sleep_rivals import FinetuneRepair, RidgeRepair, WeightCopyRepair

__all__ = [
    "BDETT",
    "DWAM",
    "MECHANISMS",
    "Both",
    "CombinedMechanism",
    "ControlDWAM",
    "DecisionRates",
    "FinetuneRepair",
    "Homeostasis",
    "LayerReference",
    "LinearHomeostat",
    "Memory",
    "Modulation",
    "ObserverMechanism",
    "PaperDWAM",
    "RehearsedDWAM",
    "RehearsedLinear",
    "Rehearsing",
    "RidgeRepair",
    "Scope",
    "SleepHomeostat",
    "State",
    "Tick",
    "WeightCopyRepair",
    "describe",
    "make",
    "make_homeostasis",
    "needs_memory",
    "split_observer",
]

MECHANISMS: dict[str, type[Homeostasis]] = {
    kind.name: kind
    for kind in (
        DWAM,
        PaperDWAM,
        ControlDWAM,
        BDETT,
        LinearHomeostat,
        RehearsedLinear,
        SleepHomeostat,
        WeightCopyRepair,
        RidgeRepair,
        FinetuneRepair,
        ObserverMechanism,
    )
}
"""All mechanisms by name; a new one is offered by the command line and walked by the tests once it is here."""

ALIASES = {
    "min_improvement": "least",
    "max_relative_change": "trust",
    "num_passes": "passes",
    "candidate_rates": "rates",
    "test_interval": "every",
    "min_sleep_interval": "rest",
}
"""Other names of parameters in an arm. The mechanism and its description have the second; an evaluation keeps the text
of the arm as it was given, so another spelling is another evaluation."""


def make_homeostasis(arm: str) -> Homeostasis | None:
    """Build the mechanism of an arm such as ``none``, ``dwam`` or ``dwam-paper:eta=5e-5:zeta=1``.

    Several values of one parameter are separated by slashes: ``dwam-paper:eta=1e-4/1e-5/0``, one a layer. Mechanisms
    that work together are joined by a plus: ``dwam+sleep``, ``bdett+dwam``.

    Raises:
        UsageError: a name or a parameter is not known, a value does not fit, or mechanisms do not go together.
    """
    texts = re.split(r"\+(?=[a-z])", arm)
    observers = [text for text in texts if text.split(":")[0] == ObserverMechanism.name]
    if observers:
        rest = [text for text in texts if text not in observers]
        if len(observers) > 1:
            raise UsageError(f"arm {arm!r}: expected one observer, got {len(observers)}")
        if "none" in rest:
            raise UsageError(f"arm {arm!r}: none does nothing beside others; leave it out")
        observer = _make_part(arm, observers[0])
        assert isinstance(observer, ObserverMechanism)
        return join_observer(observer, make_homeostasis("+".join(rest)) if rest else None)
    parts = [_make_part(arm, part) for part in texts]
    if len(parts) == 1:
        return parts[0]
    asleep = [part for part in parts if isinstance(part, SleepHomeostat)]
    awake = [part for part in parts if not isinstance(part, SleepHomeostat)]
    if None in awake:
        raise UsageError(f"arm {arm!r}: none does nothing beside others; leave it out")
    if len(asleep) > 1 or not 1 <= len(awake) <= 2:
        raise UsageError(f"arm {arm!r}: expected at most one sleep, one that moves thresholds and one other")
    try:
        online = sorted((part for part in awake if part is not None), key=lambda part: not part.adapts_threshold)
        joined = online[0] if len(online) == 1 else CombinedMechanism(thresholds=online[0], weights=online[1])
        return dataclasses.replace(asleep[0], awake=joined) if asleep else joined
    except ValueError as error:
        raise UsageError(f"arm {arm!r}: {error}") from None


def describe(arm: str) -> str:
    """Return the text by which stored results and digests know the mechanism of an arm."""
    mechanism = make_homeostasis(arm)
    return repr(None) if mechanism is None else mechanism.describe()


def _make_part(arm: str, text: str) -> Homeostasis | None:
    name, *settings = text.split(":")
    if name == "none":
        if settings:
            raise UsageError(f"arm {arm!r}: none takes no parameters; write none")
        return None
    if name not in MECHANISMS:
        raise unknown("homeostasis arm", name, ["none", *MECHANISMS])
    kind = MECHANISMS[name]
    known = {field.name: field for field in dataclasses.fields(kind) if field.metadata.get("words", True)}
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"arm {arm!r}: expected name=value after the colon, got {setting!r}")
        key = ALIASES.get(key, key)
        if key not in known:
            raise unknown(f"parameter of {name}", key, list(known))
        values[key] = _read_value(value)
    try:
        # All fields are given, so that `DWAM` is never taken for that of version 0.1.
        defaults = {key: field.default for key, field in known.items() if field.default is not dataclasses.MISSING}
        return kind(**defaults | values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"arm {arm!r}: {error}") from None


def _read_value(text: str) -> Any:
    if text.lower() == "none":
        return None
    if "/" in text:
        return tuple(_read_value(part) for part in text.split("/"))
    try:
        return float(text)
    except ValueError:
        return text


make = make_homeostasis
Both = CombinedMechanism
"""Names of version 0.1."""
