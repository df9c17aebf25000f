"""Everything that `homeo-rl doctor` checks, in the order in which one thing depends on another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from homeo_rl.errors import HomeoError
from homeo_rl.health import graphics
from homeo_rl.health.check import Check
from homeo_rl.health.dry_run import estimate_needs, work
from homeo_rl.health.eta import Eta, Measured, eta, format_duration
from homeo_rl.health.machine import check_machine
from homeo_rl.health.packages import check_packages, list_installed
from homeo_rl.training.plan import TrainingPlan, prepare


@dataclass
class Examination:
    """The checks so far, rates (1/s: median, low, high) by name, and the time of the training once it was measured."""

    checks: list[Check] = field(default_factory=list)
    rates: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    time: Eta | None = None


def examine(plan: TrainingPlan, examination: Examination, *, seconds: float, done: int = 0) -> Iterator[Check]:
    """Look at one thing after another, and yield each.

    ``seconds`` is about how long the measured training takes; 0 measures nothing. ``done`` steps are behind it.
    """
    for check in _checks(plan, examination, seconds, done):
        examination.checks.append(check)
        yield check


def _checks(plan: TrainingPlan, examination: Examination, seconds: float, done: int) -> Iterator[Check]:
    yield from check_packages(list_installed())
    yield from check_machine(plan.out or plan.log_folder)
    yield graphics.check_rendering()
    for look in (graphics.check_gpu, graphics.check_triton):
        yield _safely("torch", look)
    try:
        plan, spec = prepare(plan)
    except HomeoError as error:
        yield _check_of_error("training", error)
        return
    size = estimate_needs(plan, spec)
    title = f"{plan.algo} {plan.agent} on {plan.env}"
    yield Check(title, "ok", f"{size.memory / 1e9:.1f} GB of memory, {size.disk / 1e9:.2f} GB of disk")
    if seconds > 0:
        yield _safely("measurement", lambda: _measure_speed(plan, spec, seconds, done, examination))


def _measure_speed(plan: TrainingPlan, spec: Any, seconds: float, done: int, examination: Examination) -> Check:
    from homeo_rl.health.probe import measure  # loads torch

    measured, rates, by = measure(plan, spec, seconds)
    examination.rates.update({name: (rate.median, rate.low, rate.high) for name, rate in rates.items()})
    examination.time = eta(measured, work(plan, spec, done))
    rates_text = (
        f"{rates['decisions'].median:,.0f} decisions/s ({by}), {rates['env_steps'].median:,.0f} environment steps/s, "
        f"{rates['training_steps'].median:,.0f} training steps/s; {how(measured)}"
    )
    if by == "reference":
        return Check("speed", "note", rates_text, "HOMEO_RL_KERNEL is set to reference, or the neurons are your own")
    return Check("speed", "ok", rates_text)


def how(measured: Measured) -> str:
    """Return how a training was measured."""
    windows = measured.learning.windows
    text = f"measured over {measured.steps:,} steps of this training"
    return f"{text} in {windows} window{'s' if windows > 1 else ''}, {format_duration(measured.setup)} to begin"


def _safely(name: str, look: Callable[[], Check]) -> Check:
    """Return what a check finds; an exception of it is a finding too."""
    try:
        return look()
    except Exception as error:
        return _check_of_error(name, error)


def _check_of_error(name: str, error: Exception) -> Check:
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, HomeoError):
        why, _, do = message.rpartition("; ")
        return Check(name, "fails", why or message, do if why else "as it says")
    return Check(
        name, "fails", f"{type(error).__name__}: {message}", "reinstall what it names; --debug shows where it came from"
    )
