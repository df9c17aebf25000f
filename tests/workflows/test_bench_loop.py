"""A paced loop, on a clock that the test moves, and the command on a real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import call

from homeo_rl.run import Run
from homeo_rl.workflows.bench_loop import draw_histogram, histogram, pace


class Clock:
    """A clock that stands still but for ``wait`` and for decisions of a length that is told."""

    def __init__(self, lengths: dict[int, float], oversleeps: float = 0.0) -> None:
        self.now, self.lengths, self.oversleeps = 100.0, lengths, oversleeps
        self.decided: list[int] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds + self.oversleeps

    def decide(self, tick: int) -> None:
        self.decided.append(tick)
        self.now += self.lengths.get(tick, 0.25)


def test_a_loop_in_time_decides_at_every_tick() -> None:
    clock = Clock({}, oversleeps=0.125)
    times = pace(clock.decide, 1.0, 5, clock=clock, wait=clock.wait)
    assert clock.decided == [0, 1, 2, 3, 4]
    assert times.missed == 0
    assert times.start.tolist() == [0.125] * 5
    assert times.decision.tolist() == [0.25] * 5
    assert times.response.tolist() == [0.375] * 5


@pytest.mark.parametrize(
    ("length", "decided", "missed"),
    [
        (1.0, [0, 1, 2, 3, 4, 5], 0),  # just in time
        (1.5, [0, 1, 3, 4, 5], 2),  # its own action and that of the next tick
        (3.0, [0, 1, 4, 5], 3),
        (50.0, [0, 1], 5),  # ticks after the loop are not counted
    ],
)
def test_a_long_decision_misses_its_deadline_and_the_ticks_that_it_covers(
    length: float, decided: list[int], missed: int
) -> None:
    clock = Clock({1: length})
    times = pace(clock.decide, 1.0, 6, clock=clock, wait=clock.wait)
    assert clock.decided == decided
    assert times.missed == missed
    assert len(times.decision) == len(decided)
    assert times.start.tolist() == [0.0] * len(decided)  # the loop does not drift


def test_a_histogram_counts_every_value_and_its_worst_bin_shows() -> None:
    values = np.array([100.0] * 999 + [1500.0])
    edges, counts = histogram(values)
    assert counts.sum() == 1000
    assert len(edges) == len(counts) + 1
    for value in values[[0, -1]]:
        bin_ = int(np.searchsorted(edges, value, side="right")) - 1
        assert edges[bin_] <= value < edges[bin_ + 1]
        assert counts[bin_] > 0
    line = draw_histogram(counts)
    assert line[0] == "█"
    assert line[-1] == "▁"
    assert set(line[1:-1]) == {" "}
    wide = np.zeros(1000, int)
    wide[[0, -1]] = 1
    assert len(draw_histogram(wide)) <= 40
    assert draw_histogram(wide)[0] == draw_histogram(wide)[-1] == "█"


@pytest.mark.parametrize("arm", ["none", "sleep:form=delta"])
def test_the_command_prints_lines_that_fit_and_the_same_as_json(
    arm: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    command = ("bench-loop", run.path, "--rate", 200, "--seconds", 0.1, "--homeostasis", arm)
    printed, _ = call(*command, capsys=capsys)
    assert max(map(len, printed.splitlines())) <= 80
    assert "tick to action" in printed
    assert ("between decisions: self-test" in printed) == (arm != "none")
    result = json.loads(call(*command, "--json", capsys=capsys)[0])
    assert result["ticks"] == 20
    assert result["decisions"] + result["missed"] >= 20
    assert sum(result["histogram"]["counts"]) == result["decisions"]
    for name in ("start_us", "decision_us", "response_us"):
        assert result[name]["p50"] <= result[name]["p99"] <= result[name]["worst"]
    assert (result["sleep_s"] is None) == (arm == "none")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rate", 0), "--rate: expected decisions a second, above 0"),
        (("--seconds", 0), "--seconds: expected 1 to 10,000,000 decisions, got 500 a second for 0 s"),
        (("--homeostasis", "dwamm"), "dwamm"),
    ],
)
def test_wrong_flags_are_refused(
    flags: tuple[object, ...], message: str, make_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in call("bench-loop", make_run().path, *flags, code=2, capsys=capsys)[1]
