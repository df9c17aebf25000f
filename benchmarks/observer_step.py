"""What an observer adds to a decision: with its gate shut, in an alarm, and for one rehearsal.

``python -m benchmarks.observer_step [--json]``; 17 sensors and 6 actuators, a model of two hidden layers of 128 units.
"""

from __future__ import annotations

import itertools

import numpy as np

from benchmarks.common import Arm, alternate, arguments, report
from homeo_rl.observer.forward_model import MEASURED, ForwardModel
from homeo_rl.observer.layout import BIAS_SINCE, GATE, OPEN, SINCE
from homeo_rl.observer.memory import LENGTH, WINDOWS, ObserverMemory
from homeo_rl.observer.observer import Observer

SENSORS, ACTUATORS = 17, 6


def main() -> None:
    """Measure and print."""
    args = arguments(__doc__)
    memory = _memory(16 if args.tiny else 128)
    rng = np.random.default_rng(0)
    observations = itertools.cycle(0.01 * rng.normal(size=(64, 1, SENSORS)).astype(np.float32))
    action = rng.uniform(-1.0, 1.0, (1, ACTUATORS)).astype(np.float32)
    shut, alarmed, biased = (Observer(memory, 1, _policy) for _ in range(3))
    for observer in (shut, alarmed, biased):
        observer.begin(0)
        observer(next(observations))
        observer.record(action)

    def decide_shut() -> None:
        shut(next(observations))
        shut.record(action)

    count = itertools.count(100)

    def decide_alarmed(observer: Observer, share: float) -> None:
        # The decisions of an alarm are counted from its beginning, so none of these is one that rehearses.
        row, errors = observer.rows[0], observer.offsets.bias_error
        row[GATE], row[OPEN], row[SINCE], row[BIAS_SINCE] = 1e6, 1.0, 100.0, next(count)
        row[errors : errors + 4] = 1.0, share, 1.0, share
        observer.advance(next(observations))
        observer.record(action)

    arms: dict[str, Arm] = {
        "shut": decide_shut, "alarm": lambda: decide_alarmed(alarmed, 1.0),
        "alarm, both biases": lambda: decide_alarmed(biased, 0.5), "rehearsal": lambda: alarmed.rehearse(0),
    }  # fmt: skip
    decisions = {name: arm for name, arm in arms.items() if name != "rehearsal"}
    times = alternate(decisions, rounds=3 if args.tiny else 60, inner=20)
    times |= alternate({"rehearsal": arms["rehearsal"]}, rounds=2 if args.tiny else 10)
    assert not shut.rows[0, OPEN], "an alarm is not what was to be timed"
    ratios = {
        "shut_us": times["shut"], "alarm_us": times["alarm"], "biases_us": times["alarm, both biases"],
        "rehearsal_ms": times["rehearsal"] / 1e3,
    }  # fmt: skip
    note = (
        "shut_us: goal <= 3; alarm_us: goal <= 40, of a fault that is no bias; biases_us: one in which both biases are "
        "followed in every decision; rehearsal_ms: a rehearsal of 24 sequences, policy not counted"
    )
    report(times, ratios, as_json=args.json, note=note)


def _policy(observations: np.ndarray) -> np.ndarray:
    return observations[:, :ACTUATORS]


def _memory(hidden: int) -> ObserverMemory:
    """Return a model of random hidden weights that predicts no change, and random sequences."""
    rng = np.random.default_rng(1)
    size, ones = SENSORS + ACTUATORS, np.ones(SENSORS, np.float32)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    model = ForwardModel(
        center=0.0 * ones, spread=ones, action_center=np.zeros(ACTUATORS, np.float32),
        action_spread=np.ones(ACTUATORS, np.float32), w1=weights(size, hidden), b1=weights(hidden),
        w2=weights(hidden, hidden), b2=weights(hidden), w3=0.0 * weights(hidden, 2 * SENSORS),
        b3=0.0 * weights(2 * SENSORS),
        change=0.1 * ones, calibration=ones, moves=np.ones(SENSORS, bool), **dict.fromkeys(MEASURED, ones), gate=1.0,
    )  # fmt: skip
    observations = rng.normal(size=(WINDOWS, LENGTH, SENSORS)).astype(np.float32)
    actions = rng.uniform(-1.0, 1.0, (WINDOWS, LENGTH, ACTUATORS)).astype(np.float32)
    return ObserverMemory(model, observations, actions)


if __name__ == "__main__":
    main()
