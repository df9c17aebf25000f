"""Measure a paced control loop: how long a decision takes, and how often an action comes too late."""

import gc
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.session import Session
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.calibrate import calibrate, make_session
from homeo_rl.evaluation.observer_memory import fit_observer, load_observer
from homeo_rl.evaluation.rollout import one_thread
from homeo_rl.homeostasis import make_homeostasis, split_observer
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.snn.state import Weights
from homeo_rl.workflows.deploy import CALIBRATION_EPISODES, observe

OBSERVATIONS = 200
"""Recorded observations that the loop repeats."""

MOST_TICKS = 10_000_000

_BINS_A_DOUBLING = 4
_HEIGHTS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class LoopTimes:
    """The times of a paced loop, in seconds, one entry a decision [N]."""

    period: float  # between two ticks
    ticks: int  # how many actions were due
    start: np.ndarray  # from a tick to the beginning of its decision
    decision: np.ndarray  # from there to the action
    missed: int  # ticks whose action was not there at the next tick, those that a long decision left out among them

    @property
    def response(self) -> np.ndarray:
        """From a tick to its action, [N] seconds."""
        result: np.ndarray = self.start + self.decision
        return result


@dataclass(frozen=True)
class LoopBench:
    """What `bench_loop` measured, in seconds; ``self_test`` and ``sleep`` are None where the arm does not sleep."""

    times: LoopTimes
    warm_up: float
    self_test: float | None
    sleep: float | None


def bench_loop(run: Run, *, arm: str, rate: float, seconds: float, which: str = "policy") -> LoopBench:
    """Let a run's policy with a mechanism decide ``rate`` times a second for ``seconds``, on recorded observations.

    The session never sleeps within the loop: a self-test and a sleep, after the loss of a third of the synapses, are
    measured after it. The run is calibrated where the mechanism needs it.

    Raises UsageError: no such mechanism, one that does not fit the policy, or a rate or a duration out of range.
    """
    ticks = _count_ticks(rate, seconds)
    plugin, controller = make_homeostasis(arm), load_controller(run, which=which)
    parts = split_observer(plugin)
    calibration = memory = None
    if parts.network is not None:
        calibration = calibrate(run, controller, which=which, episodes=CALIBRATION_EPISODES)
    if parts.observer is not None:
        memory = load_observer(run, which=which) or fit_observer(run, controller, which=which)
    session = make_session(
        controller, 1, plugin=plugin, calibration=calibration, observer_memory=memory, auto_sleep=False
    )
    session.begin(0, generator(0, "noise"))
    with one_thread():
        warm_up = _seconds(session.warm_up)
        with closing(make_env(run.spec.env, run.spec.env_kwargs)) as env:
            observations = observe(controller, env, OBSERVATIONS)
        gc.collect()
        gc.freeze()  # what was loaded is not searched again in the middle of a loop
        try:
            times = pace(lambda k: session.act(observations[k % OBSERVATIONS, None]), 1.0 / rate, ticks)
        finally:
            gc.unfreeze()
        if session.sleeps is None:
            return LoopBench(times, warm_up, None, None)
        session.set_weights(0, _cut_synapses(session))
        return LoopBench(times, warm_up, _seconds(session.needs_sleep), _seconds(lambda: session.sleep([0])))


def pace(
    decide: Callable[[int], object],
    period: float,
    ticks: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[float], None] = time.sleep,
) -> LoopTimes:
    """Call ``decide(k)`` at every tick k; after a decision that lasted too long, at the next tick that is to come.

    Ticks are ``period`` seconds apart; ``clock`` and ``wait`` tell and pass seconds.
    """
    start, decision, missed, tick = [], [], 0, 0
    origin = clock() + period
    while tick < ticks:
        due = origin + tick * period
        remaining = due - clock()
        if remaining > 0.0:
            wait(remaining)
        begun = clock()
        decide(tick)
        ended = clock()
        start.append(begun - due)
        decision.append(ended - begun)
        late = max(1, math.ceil((ended - due) / period))
        missed += min(late, ticks - tick) if late > 1 else 0
        tick += late
    return LoopTimes(period, ticks, np.array(start), np.array(decision), missed)


def histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges [B + 1] and counts [B] of positive values, four bins to each doubling."""
    logs = np.log2(np.maximum(values, 1e-9)) * _BINS_A_DOUBLING
    bins = np.floor(logs).astype(int)
    counts = np.bincount(bins - bins.min())
    edges: np.ndarray = 2.0 ** (np.arange(bins.min(), bins.max() + 2) / _BINS_A_DOUBLING)
    return edges, counts


def draw_histogram(counts: np.ndarray, most: int = 40) -> str:
    """Return one character a bin, at most ``most``, as high as the logarithm of its count; a blank is an empty bin."""
    joined = -(-len(counts) // most)
    padded = np.concatenate([counts, np.zeros(-len(counts) % joined, counts.dtype)]).reshape(-1, joined).sum(1)
    share = np.log1p(padded) / np.log1p(padded.max())
    heights = np.ceil(share * len(_HEIGHTS)).astype(int)
    return "".join(_HEIGHTS[height - 1] if height else " " for height in heights)


def _count_ticks(rate: float, seconds: float) -> int:
    if not 0.0 < rate <= 1e6:
        raise UsageError(f"--rate: expected decisions a second, above 0 and up to 1e6, got {rate:g}")
    if not 1.0 <= rate * seconds <= MOST_TICKS:
        raise UsageError(f"--seconds: expected 1 to {MOST_TICKS:,} decisions, got {rate:g} a second for {seconds:g} s")
    return round(rate * seconds)


def _cut_synapses(session: Session) -> Weights:
    """Return the trained weights without every third synapse."""
    kept = [torch.arange(layer.weight.numel()).view_as(layer.weight) % 3 > 0 for layer in session.trained]
    return tuple(layer._replace(weight=layer.weight * mask) for layer, mask in zip(session.trained, kept, strict=True))


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
