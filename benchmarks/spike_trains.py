"""Spike-train classification by compiled networks: jittered copies of templates, told apart without training.

``python -m benchmarks.spike_trains [--json]``. Templates are random trains; a copy has every spike moved by up to one
step with some probability, and lost or invented spikes. `nearest` names the nearest template, `separate` asks for
exact agreement on the few taps that tell templates apart; the reference is a nearest-neighbour search in numpy.
Accuracies are of the outputs at a train's last step.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.common import arguments, report
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.classification import nearest, separate
from homeo_rl.compiler.simulate import outputs

TEMPLATES, STEPS, LINES = 16, 12, 4
RATE = 0.3
JITTERS = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Probability that a spike moves by a step; a quarter of it is the rate of lost and of invented spikes."""


def jittered(trains: np.ndarray, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Return copies of ``trains`` [B, T, d] with moved, lost and invented spikes."""
    out = np.zeros_like(trains)
    who, when, line = np.nonzero(trains)
    move = (rng.random(len(when)) < jitter) * rng.choice([-1, 1], len(when))
    kept = rng.random(len(when)) >= jitter / 4
    out[who[kept], np.clip(when + move, 0, trains.shape[1] - 1)[kept], line[kept]] = True
    return out | (rng.random(trains.shape) < jitter / 4 * RATE)


def main() -> None:
    """Compile, classify, print."""
    told = arguments(__doc__)
    copies = 20 if told.tiny else 2000
    rng = np.random.default_rng(0)
    templates = rng.random((TEMPLATES, STEPS, LINES)) < RATE
    found: dict[str, float] = {}
    near, apart = (compile_function(make(templates)) for make in (nearest, separate))
    agree = shown = 0
    for jitter in JITTERS:
        label = rng.integers(TEMPLATES, size=copies)
        trains = jittered(templates[label], jitter, rng)
        named = outputs(near.network, trains)[:, -1]
        exact = outputs(apart.network, trains)[:, -1]
        reference = (trains[:, None] != templates[None]).sum((2, 3)).argmin(1)
        agree += int((named.argmax(1) == reference).sum())
        shown += copies
        found[f"jitter {jitter:.2f}: nearest, correct"] = 100 * float((named.argmax(1) == label).mean())
        found[f"jitter {jitter:.2f}: separate, correct"] = 100 * float(exact[np.arange(copies), label].mean())
        right = exact[np.arange(copies), label].sum()
        found[f"jitter {jitter:.2f}: separate, right of its answers"] = 100 * float(right / max(exact.sum(), 1))
    begin = time.perf_counter()
    compile_function(nearest(templates))
    took = time.perf_counter() - begin
    note = (
        f"{TEMPLATES} templates of {STEPS} steps x {LINES} lines; per cent of {copies} copies a row; nearest: "
        f"{near.network.neurons} neurons, {near.network.weights} synapses, compiled in {took:.2f} s; separate: "
        f"{apart.network.neurons} neurons, {apart.network.weights} synapses; agreement: share of answers that are the "
        "nearest-neighbour search's"
    )
    report(found, {"agreement": agree / shown}, as_json=told.json, unit="%", note=note)


if __name__ == "__main__":
    main()
