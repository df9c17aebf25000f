"""The columns of scores.csv, one row of `METRICS` each; everything that writes, reads or sums up scores loops over it.

A metric says how it is computed from an episode, what a cell of the report (one arm under one condition) makes of it,
and under which tag TensorBoard shows it. This file knows neither torch nor the episode loop: reports read it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from homeo_rl.numerics.energy import joules

IDENTITY = ("run", "arm", "condition", "severity", "episode", "seed")  # the first columns: whose episode it is


def label_of(condition: str, severity: float) -> str:
    """Return the name of a condition with its severity, where that is neither 0 nor 1."""
    return condition if severity in (0.0, 1.0) else f"{condition}@{severity:g}"


@dataclass(frozen=True)
class Score:
    """One episode of one cell: whose it is, and the value of each metric by its attribute (``score.firing_rate``).

    A value that does not exist (spikes of an MLP, success of HalfCheetah) is None; NaN or "" where a table was read.
    """

    run: str
    arm: str
    condition: str
    severity: float
    episode: int
    seed: int
    values: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"{name}: expected a metric of scores, one of {', '.join(METRICS)}") from None

    @property
    def label(self) -> str:
        """Name of the condition with its severity, where that is neither 0 nor 1."""
        return label_of(self.condition, self.severity)

    def to_dict(self) -> dict[str, Any]:
        """Return all columns as plain data."""
        return {**{name: getattr(self, name) for name in IDENTITY}, **self.values}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Score:
        """Return the score that `to_dict` wrote."""
        values = {name: value for name, value in data.items() if name not in IDENTITY}
        return cls(**{name: data[name] for name in IDENTITY}, values=values)


DETECTED_WITHIN = 30
"""Decisions after the onset of a fault within which an alarm counts as its detection."""


@dataclass(frozen=True)
class TrueFault:
    """What an observer is to find: the onset, the latency in decisions, and the gain of the actuators if it changed."""

    onset: int
    latency: int
    gain: float | None


@dataclass(frozen=True)
class Measurement:
    """What metrics are computed from."""

    episode: Any
    reference_rates: Sequence[np.ndarray]  # calibrated mean rates [N] of each spiking layer; empty for an MLP
    layer_norms: Sequence[float]  # Frobenius norms of the trained weights [layers]
    judge: Callable[[Any], int]  # returns how many of an episode's decisions break its reflex's specification
    fault: TrueFault | None = None  # of sensors, actuators or body; None where they are healthy

    @cached_property
    def rates(self) -> np.ndarray | None:
        """Mean rate of every neuron [N]; None without spikes."""
        return np.concatenate(self.episode.rates.means()[0]) if self.reference_rates else None

    def per_decision(self, total: float) -> float | None:
        """Return a sum over the episode as a mean over its decisions; None where it is not known."""
        return None if math.isnan(total) else total / float(self.episode.length)

    @property
    def rate_deviation(self) -> float | None:
        """Mean over neurons of abs(rate - calibrated rate)."""
        if self.rates is None:
            return None
        return float(np.abs(self.rates - np.concatenate(list(self.reference_rates))).mean())

    @property
    def is_observed(self) -> bool:
        """Whether an observer acted under a fault that came before the episode ended."""
        return self.fault is not None and self.episode.openings is not None and self.episode.length > self.fault.onset

    @property
    def detected_after(self) -> int | None:
        """Decisions from the onset to the alarm, 0 where there was one already; None where there was none."""
        if self.fault is None or not self.is_observed:
            return None
        begun = [first for first, last in self.episode.alarms if last >= self.fault.onset]
        return max(begun[0] - self.fault.onset, 0) if begun else None

    @property
    def detected(self) -> bool | None:
        """Whether the alarm came within `DETECTED_WITHIN` decisions."""
        return self.detected_after is not None and self.detected_after <= DETECTED_WITHIN if self.is_observed else None

    @property
    def latency_right(self) -> bool | None:
        """Whether the latency was identified exactly, where there is one."""
        if self.fault is None or not self.fault.latency or not self.is_observed:
            return None
        return bool(self.episode.latency == self.fault.latency)

    @property
    def gain_error(self) -> float | None:
        """Largest error of the identified gains of the actuators, where these changed."""
        if self.fault is None or self.fault.gain is None or not self.is_observed:
            return None
        errors = np.abs(self.episode.gains - self.fault.gain)
        return None if np.isnan(errors).all() else round(float(np.nanmax(errors)), 6)

    @property
    def weight_drift(self) -> float | None:
        """norm(delta) / norm(trained) over all layers; None of a policy whose weights are not known."""
        norms = np.asarray(self.layer_norms)
        if not len(norms):
            return None
        return float(np.sqrt(((np.asarray(self.episode.drift) * norms) ** 2).sum() / (norms**2).sum()))


Aggregate = Callable[[Sequence[Score], str], float | int | None]


@dataclass(frozen=True)
class Figure:
    """What a cell of the report says of a metric."""

    name: str
    # makes it of the cell's episodes and the metric's attribute; None where no episode has a value
    aggregate: Aggregate
    unit: str = ""  # "share", "m", "s" or "count"
    table: str = ""  # table of the report that shows it ("drives", "reflex"); "" is none
    title: str = ""  # head of its column there; "" is the name


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column of scores.csv."""

    name: str
    of_episode: Callable[[Measurement], float | int | bool | str | None]  # computes it; None where it does not exist
    figures: tuple[Figure, ...] = ()  # what a cell of the report says of it
    tag: str = ""  # name in TensorBoard, below ``suite/``; "" is none
    scale: float = 1.0  # what TensorBoard multiplies it by
    attribute: str = ""  # name in `Score`; "" is the column's
    kind: str = "number"  # "number", "required" (a number that is never missing) or "text"
    since: int = 1  # version of the table that brought it; files of earlier versions stay readable

    @property
    def key(self) -> str:
        """Name in `Score`."""
        return self.attribute or self.name


def existing(scores: Sequence[Score], key: str) -> list[Any]:
    """Return the values that exist."""
    values = [getattr(score, key) for score in scores]
    return [value for value in values if value not in (None, "") and value == value]  # NaN is none


def mean(scores: Sequence[Score], key: str) -> float | None:
    """Return the mean of the values that exist."""
    values = existing(scores, key)
    return float(np.mean(values)) if values else None


def mean_of_successful(scores: Sequence[Score], key: str) -> float | None:
    """Return the mean over successful episodes."""
    return mean([score for score in scores if score.success == 1.0], key)


def total(scores: Sequence[Score], key: str) -> int | None:
    """Return the sum of the values that exist."""
    values = existing(scores, key)
    return int(sum(values)) if values else None


def share_of(outcome: str) -> Aggregate:
    """Return what computes the share of episodes that ended so."""

    def share(scores: Sequence[Score], key: str) -> float | None:
        values = existing(scores, key)
        return values.count(outcome) / len(values) if values else None

    return share


_DRIVE = {"unit": "share", "table": "drives"}
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="return", of_episode=lambda m: m.episode.total, tag="return", attribute="total", kind="required"),
        Metric(name="length", of_episode=lambda m: m.episode.length, tag="length", kind="required"),
        Metric(name="success", of_episode=lambda m: m.episode.success, tag="success",
               figures=(Figure("success", mean, **_DRIVE),)),
        # Spikes / (neurons * spike steps), mean over the episode.
        Metric(name="firing_rate", of_episode=lambda m: None if m.rates is None else float(m.rates.mean()),
               tag="firing_rate", figures=(Figure("firing_rate", mean),)),
        Metric(name="rate_deviation", of_episode=lambda m: m.rate_deviation, tag="rate_deviation",
               figures=(Figure("rate_deviation", mean),)),
        Metric(name="weight_drift", of_episode=lambda m: m.weight_drift, tag="weight_drift",
               figures=(Figure("weight_drift", mean),)),
        # Synaptic operations a decision; multiply-accumulates for an MLP.
        Metric(name="synops", of_episode=lambda m: m.per_decision(float(m.episode.operations[1:].sum())),
               tag="synops"),
        # "success", "collision" or "overtime" (navigation).
        Metric(name="outcome", of_episode=lambda m: m.episode.outcome, kind="text",
               figures=(Figure("collision", share_of("collision"), **_DRIVE),
                        Figure("overtime", share_of("overtime"), **_DRIVE))),
        Metric(name="path_length", of_episode=lambda m: m.episode.path_length,
               figures=(Figure("path_length", mean_of_successful, "m", "drives", "path length"),)),
        Metric(name="time", of_episode=lambda m: m.episode.time,
               figures=(Figure("time", mean_of_successful, "s", "drives"),)),
        # Share of the decisions in which an output of the reflex was on, and decisions that its specification forbids:
        # judged by the reference machine on the events that were seen.
        Metric(name="reflex", since=2, figures=(Figure("reflex", mean, "share", "reflex", "reflex on"),),
               of_episode=lambda m: float(np.mean([on.any() for _, on, _ in m.episode.reflex]))
               if m.episode.reflex else None),
        Metric(name="violations", since=2,
               of_episode=lambda m: m.judge(m.episode) if m.episode.reflex else None,
               figures=(Figure("violations", total, "count", "reflex", "against its specification"),)),
        # Whether MuJoCo gave the simulation up, which ended the episode.
        Metric(name="unstable", of_episode=lambda m: m.episode.unstable, tag="unstable", since=3,
               figures=(Figure("unstable", total, "count"),)),
        # How often an adaptation went wrong and was started again.
        Metric(name="rolled_back", of_episode=lambda m: m.episode.rolled_back, tag="rolled_back", since=3,
               figures=(Figure("rolled_back", total, "count"),)),
        # Of inputs and neurons, a decision.
        Metric(name="spikes", tag="spikes", since=4,
               of_episode=lambda m: float(m.episode.operations[0]) / m.episode.length if m.reference_rates else None),
        # Joules a decision, of its arithmetic.
        Metric(name="energy", tag="energy_nJ", scale=1e9, since=4,
               of_episode=lambda m: m.per_decision(joules(*map(float, m.episode.operations[1:])))),
        # How often it slept or rehearsed.
        Metric(name="sleeps", of_episode=lambda m: m.episode.sleeps, tag="sleeps", since=5),
        # Standard deviation over neurons of their mean rates.
        Metric(name="rate_spread", since=6, of_episode=lambda m: None if m.rates is None else float(m.rates.std())),
        # How often the observer's gate opened, and the share of decisions in which its estimate was used.
        Metric(name="openings", of_episode=lambda m: m.episode.openings, tag="observer/openings", since=7,
               figures=(Figure("openings", total, "count"),)),
        Metric(name="estimated", tag="observer/estimated", since=7,
               of_episode=lambda m: None if m.episode.estimated is None else m.episode.estimated / m.episode.length),
        # What an observer found out about a fault of sensors, actuators or body.
        Metric(name="detected", tag="observer/detected", of_episode=lambda m: m.detected, since=8),
        Metric(name="detected_after", tag="observer/detected_after", of_episode=lambda m: m.detected_after, since=8),
        Metric(name="latency_right", tag="observer/latency_right", of_episode=lambda m: m.latency_right, since=8),
        Metric(name="gain_error", tag="observer/gain_error", of_episode=lambda m: m.gain_error, since=8),
    )
}  # fmt: skip
"""All metrics, in the order of their columns. A new one is a row at the end, with the next version in ``since``."""


def columns(version: float = math.inf) -> tuple[str, ...]:
    """Return the head of scores.csv, that of an earlier version where one is given."""
    return (*IDENTITY, *(metric.name for metric in METRICS.values() if metric.since <= version))


def numbers() -> tuple[str, ...]:
    """Return the columns of numbers."""
    return tuple(metric.name for metric in METRICS.values() if metric.kind != "text")


COLUMNS = columns()  # the head of scores.csv
