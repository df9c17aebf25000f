"""The command ``homeo-rl bench-loop``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import WithPolicy, Words

if TYPE_CHECKING:
    import numpy as np

COMMAND = Command(EVALUATE, 9, "measure the latency of a paced control loop")


@dataclass(frozen=True, kw_only=True)
class BenchLoop(WithPolicy):
    """Let a policy decide at a fixed rate on recorded observations, and print its latency (docs/deploy.md).

    Other programs on this machine are part of the measurement.
    """

    rate: float = 500.0
    """Decisions a second."""
    seconds: float = 10.0
    """Duration of the loop."""
    homeostasis: str = "none"
    """One mechanism; it never sleeps within the loop, a self-test and a sleep are measured after it."""
    gym_packages: Words = ()
    """Packages that register environments and mechanisms, besides those of the training."""


def run(args: BenchLoop, words: list[str]) -> dict[str, Any]:
    """Measure a loop."""
    from homeo_rl.workflows.bench_loop import bench_loop, draw_histogram, histogram

    run = open_run(args.run, args.gym_packages)
    result = bench_loop(run, arm=args.homeostasis, rate=args.rate, seconds=args.seconds, which=args.which)

    from homeo_rl.cli.console import print_table

    times = result.times
    rows = {"start": times.start, "decision": times.decision, "response": times.response}
    figures = {name: _percentiles(values) for name, values in rows.items()}
    print_table(
        f"{run.path.name}, {args.homeostasis}: {times.ticks:,} ticks, {1e3 * times.period:g} ms apart; in us",
        ["from", "p50", "p99", "worst"],
        [
            [name, *(f"{value:,.0f}" for value in figures[key].values())]
            for key, name in (
                ("start", "tick to start"), ("decision", "start to action"), ("response", "tick to action"),
            )
        ],
    )  # fmt: skip
    edges, counts = histogram(1e6 * times.response)
    print(f"tick to action, log scales: {edges[0]:,.0f} us {draw_histogram(counts)} {edges[-1]:,.0f} us")
    print(f"missed deadlines: {times.missed:,} of {times.ticks:,} ({times.missed / times.ticks:.2%})")
    print(f"warm-up, before the loop: {result.warm_up:.2f} s")
    if result.sleep is not None and result.self_test is not None:
        print(f"between decisions: self-test {1e3 * result.self_test:.1f} ms, sleep {1e3 * result.sleep:.0f} ms")
    return {
        "run": str(run.path), "homeostasis": args.homeostasis, "rate": args.rate, "seconds": args.seconds,
        "ticks": times.ticks, "decisions": len(times.decision), "missed": times.missed,
        **{f"{name}_us": values for name, values in figures.items()},
        "histogram": {"edges_us": edges.tolist(), "counts": counts.tolist()},
        "warm_up_s": result.warm_up, "self_test_s": result.self_test, "sleep_s": result.sleep,
    }  # fmt: skip


def _percentiles(seconds: np.ndarray) -> dict[str, float]:
    """Return percentiles in microseconds."""
    import numpy as np

    p50, p99, worst = 1e6 * np.percentile(seconds, [50.0, 99.0, 100.0])
    return {"p50": float(p50), "p99": float(p99), "worst": float(worst)}
