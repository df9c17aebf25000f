"""Learning curves: evaluations during training, and the returns of the training episodes themselves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.report.page.blocks import Legend, Section
from homeo_rl.report.page.charts.svg import Chart, Line, thinned
from homeo_rl.report.page.report_data import Group, ReportData, NamedRun
from homeo_rl.report.statistics import bootstrap, interval, iqm
from homeo_rl.report.tables import number
from homeo_rl.storage import files, strict_json, zip_archive

_MAX_MONITOR = 256 << 20
_MAX_ARRAY = 64 << 20
_WINDOW = 0.05  # of the training that a running mean of returns spans
_DRAWN = 200  # points of a line


@dataclass(frozen=True)
class Evaluations:
    """What ``evaluations.npz`` holds: steps [K], returns [K, episodes]."""

    steps: np.ndarray
    returns: np.ndarray


@dataclass(frozen=True)
class Training:
    """Training episodes in the order of their ends: steps so far [M] and returns [M]; ``began`` and ``ended`` are
    seconds since 1970."""

    steps: np.ndarray
    returns: np.ndarray
    began: float
    ended: float


Known = list[tuple[NamedRun, Evaluations]]


def read_evaluations(path: Path) -> Evaluations | None:
    """Read an ``evaluations.npz`` without unpickling; None where there is none, or none of this form.

    Raises:
        StorageFault: the archive is damaged or a bomb, or holds a return that is not finite.
    """
    if not path.exists():
        return None
    arrays = {}
    with zip_archive.opened(path) as archive:
        for info in archive.infolist():
            if info.filename in ("timesteps.npy", "results.npy"):
                blob = zip_archive.whole(archive, info, _MAX_ARRAY, f"{path}: {info.filename}")
                try:
                    arrays[info.filename] = np.load(io.BytesIO(blob), allow_pickle=False)
                except (ValueError, OSError, EOFError, MemoryError) as error:
                    raise StorageFault(f"{path}: not a readable array ({files.printable(error)})") from None
    steps, returns = arrays.get("timesteps.npy"), arrays.get("results.npy")
    if steps is None or returns is None or returns.ndim != 2 or steps.shape != returns.shape[:1] or not returns.size:
        return None
    if steps.dtype.kind not in "iuf" or returns.dtype.kind not in "iuf":
        return None
    wrong = ~(np.isfinite(returns).all(axis=1) & np.isfinite(steps))
    if wrong.any():
        raise StorageFault(
            f"{path}: evaluation {int(wrong.argmax()) + 1} of {len(steps)}: expected finite numbers; remove the "
            "file, or train again"
        )
    return Evaluations(steps.astype(float), returns.astype(float))


def read_training(folder: Path) -> Training | None:
    """Read all ``<i>.monitor.csv`` of a run, joined by time; None where there are none, or no episode ended.

    Steps are those of all episodes that ended before: environments side by side are counted together.

    Raises:
        StorageFault: a file is too large, no table, or holds a number that is not finite.
    """
    ends: list[tuple[float, float, float]] = []
    begins: list[float] = []
    for path in sorted(folder.glob("*.monitor.csv")):
        with files.opened(path, _MAX_MONITOR) as file:
            text = io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8", newline="")
            try:
                head = strict_json.decode(text.readline(1 << 16).removeprefix("#").encode(), path)
                begins.append(began := float(head["t_start"]))
                table = csv.DictReader(text)
                for row in table:
                    end = (began + float(row["t"]), float(row["l"]), float(row["r"]))
                    if not all(map(math.isfinite, end)):
                        raise StorageFault(f"{path}: line {table.line_num + 1}: expected finite numbers, got {end}")
                    ends.append(end)
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                if not ends or not isinstance(error, (TypeError, ValueError)):  # a training that runs may be writing
                    raise StorageFault(f"{path}: expected a monitor table ({files.printable(error)})") from None
    episodes = np.array(sorted(ends)).reshape(-1, 3)
    if not len(episodes):
        return None
    return Training(episodes[:, 1].cumsum(), episodes[:, 2], min(begins), float(episodes[-1, 0]))


def curves(material: ReportData, place: Callable[[str], int]) -> Section | None:
    """Return the section on learning; None where no run was trained with evaluations or monitors.

    Args:
        material: the runs.
        place: colour of a group, by its name.
    """
    panels: dict[str, list[tuple[Group, list[Line], str]]] = {}
    training: dict[str, list[Line]] = {}
    for group in material.groups:
        environment = group.members[0].run.spec.env
        found = [(member, read_evaluations(member.run.path / "evaluations.npz")) for member in group.members]
        known = [(member, one) for member, one in found if one is not None]
        if known:
            line = _over_seeds(group, known, place) if len(known) > 1 else _over_episodes(group, known, place)
            panels.setdefault(environment, []).append((group, [line], _said(group, known)))
        training.setdefault(environment, []).extend(_trainings(group, place))
    charts = [
        Chart(
            title=f"Evaluations during training on {environment}", x="environment steps", y="return per episode",
            about=" ".join(said for _, _, said in several),
            lines=tuple(line for _, lines, _ in several for line in lines), size="wide",
        )
        for environment, several in panels.items()
    ]  # fmt: skip
    charts += [
        Chart(
            title=f"Training episodes on {environment}", x="environment steps", y="return, running mean",
            about="Running mean of the returns of training episodes, with exploration noise, one line a run.",
            lines=tuple(lines), size="wide",
        )
        for environment, lines in training.items() if lines
    ]  # fmt: skip
    if not charts:
        return None
    drawn = [group for group in material.groups if any(line.label == group.name for c in charts for line in c.lines)]
    how = (
        "Each line is the return of fresh evaluation episodes without exploration. Several seeds: the interquartile "
        "mean over seeds, its 95 % bootstrap band resamples seeds. One seed: the mean over its evaluation "
        "episodes, the band reaches from the lowest to the highest. Training episodes: running mean, one line a seed."
    )
    legend = Legend(tuple((group.name, place(group.name)) for group in drawn)) if len(drawn) > 1 else Legend()
    said = [one for several in panels.values() for _, _, one in several]
    return Section("learning", "Learning", how, "charts.html.j2", {"charts": charts, "legend": legend, "said": said})


def _over_seeds(group: Group, known: Known, place: Callable[[str], int]) -> Line:
    """Return the interquartile mean over runs with the band of a bootstrap that draws runs."""
    steps, means = aligned([one for _, one in known])
    middle, low, high = [], [], []
    for step, row in zip(steps, means.T, strict=True):
        samples = iqm(bootstrap([row], f"curve {step:g}"), axis=1)
        ends = interval(samples)
        middle.append(float(iqm(row)))
        low.append(ends[0])
        high.append(ends[1])
    points = list(zip(steps.tolist(), middle, strict=True))
    tips = [
        f"{group.name}, {step:,.0f} steps: {number(m)} [{number(a)}, {number(b)}]"
        for (step, m), a, b in zip(points, low, high, strict=True)
    ]
    return Line(points=points, colour=place(group.name), label=group.name, low=low, high=high, tips=tips)


def aligned(several: Sequence[Evaluations]) -> tuple[np.ndarray, np.ndarray]:
    """Return steps [K] that all runs reached, and each run's mean returns there [runs, K], between its own steps
    along straight lines."""
    steps = np.unique(np.concatenate([one.steps for one in several]))
    last = min(one.steps.max() for one in several)
    first = max(one.steps.min() for one in several)
    steps = steps[(steps >= first) & (steps <= last)]
    if not len(steps):  # no step in common: the last of each, side by side
        steps = np.array([last])
    if len(steps) > _DRAWN:
        steps = steps[np.linspace(0, len(steps) - 1, _DRAWN).round().astype(int)]
    return steps, np.stack([np.interp(steps, one.steps, one.returns.mean(axis=1)) for one in several])


def _over_episodes(group: Group, known: Known, place: Callable[[str], int]) -> Line:
    ((_, one),) = known
    rows = thinned(list(zip(one.steps.tolist(), range(len(one.steps)), strict=True)), _DRAWN)
    picked = [int(index) for _, index in rows]
    mean, low, high = (f(one.returns[picked], axis=1).tolist() for f in (np.mean, np.min, np.max))
    tips = [
        f"{group.name}, {step:,.0f} steps: mean {number(m)}, {number(a)} to {number(b)}"
        for (step, _), m, a, b in zip(rows, mean, low, high, strict=True)
    ]
    points = [(step, value) for (step, _), value in zip(rows, mean, strict=True)]
    return Line(points=points, colour=place(group.name), label=group.name, low=low, high=high, tips=tips)


def _said(group: Group, known: Known) -> str:
    """Return the end of the curve in words."""
    steps, means = aligned([one for _, one in known])
    seeds = ", ".join(str(member.run.spec.seed) for member, _ in known)
    episodes = min(one.returns.shape[1] for _, one in known)
    last = number(float(iqm(means[:, -1])))
    if len(known) > 1:
        low, high = interval(iqm(bootstrap([means[:, -1]], f"curve {steps[-1]:g}"), axis=1))
        return (
            f"{group.name}: {last} [{number(low)}, {number(high)}] after {steps[-1]:,.0f} steps, {len(known)} seeds "
            f"({seeds}), {episodes} episodes a point."
        )
    return f"{group.name}: {last} after {steps[-1]:,.0f} steps, one seed ({seeds}), {episodes} episodes a point."


def _trainings(group: Group, place: Callable[[str], int]) -> Iterator[Line]:
    for member in group.members:
        training = read_training(member.run.path)
        if training is None:
            continue
        window = max(1, math.ceil(_WINDOW * len(training.returns)))
        sums = np.concatenate([[0.0], training.returns.cumsum()])
        means = (sums[window:] - sums[:-window]) / window
        points = thinned(list(zip(training.steps[window - 1 :].tolist(), means.tolist(), strict=True)), _DRAWN)
        faint = len(group.members) > 1
        yield Line(points=points, colour=place(group.name), label=group.name, faint=faint)
