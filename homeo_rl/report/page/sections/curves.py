"""Learning curves: evaluations during training, and the returns of training episodes."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.report.page.blocks import Legend, Section
from homeo_rl.report.page.charts.svg import Chart, Line, Points, thin
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Group, NamedRun
from homeo_rl.report.statistics import bootstrap, interval, iqm
from homeo_rl.report.tables import number
from homeo_rl.storage import files, strict_json, zip_archive

_MAX_MONITOR = 256 << 20
_MAX_ARRAY = 64 << 20
_WINDOW = 0.05  # share of the training episodes in a running mean
_MAX_POINTS = 200  # of a line


@dataclass(frozen=True)
class Evaluations:
    """The content of ``evaluations.npz``: steps [K], returns [K, episodes]."""

    steps: np.ndarray
    returns: np.ndarray


@dataclass(frozen=True)
class Training:
    """Training episodes in the order of their ends: cumulative steps [M] and returns [M]; ``began`` and ``ended`` in
    seconds since 1970."""

    steps: np.ndarray
    returns: np.ndarray
    began: float
    ended: float


Members = list[tuple[NamedRun, Evaluations]]


def read_evaluations(path: Path) -> Evaluations | None:
    """Read an ``evaluations.npz`` without unpickling; None where it is absent or has another form.

    Raises StorageFault: the archive is damaged or too large, or holds a return that is not finite.
    """
    if not path.exists():
        return None
    arrays = {}
    with zip_archive.open_zip(path) as archive:
        for info in archive.infolist():
            if info.filename in ("timesteps.npy", "results.npy"):
                blob = zip_archive.read_member(archive, info, _MAX_ARRAY, f"{path}: {info.filename}")
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
    """Read all ``<i>.monitor.csv`` of a run, merged by time; None without a finished episode.

    Steps are summed over the parallel environments.

    Raises StorageFault: a file is too large, is no monitor table, or holds a number that is not finite.
    """
    ends: list[tuple[float, float, float]] = []
    begins: list[float] = []
    for path in sorted(folder.glob("*.monitor.csv")):
        with files.open_regular(path, _MAX_MONITOR) as file:
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


def curves(context: PageContext) -> Section | None:
    """Return the section on learning; None where no run has evaluations during training or monitors."""
    evaluations: dict[str, list[Line]] = {}
    training: dict[str, list[Line]] = {}
    ends: dict[str, list[str]] = {}
    for group in context.data.groups:
        env = group.members[0].run.spec.env
        curves = [(member, read_evaluations(member.run.path / "evaluations.npz")) for member in group.members]
        members = [(member, curve) for member, curve in curves if curve is not None]
        if members:
            draw = _over_seeds if len(members) > 1 else _over_episodes
            evaluations.setdefault(env, []).append(draw(context, group, members))
            ends.setdefault(env, []).append(_describe_end(group, members))
        training.setdefault(env, []).extend(_training_lines(context, group))
    charts = [
        Chart(
            title=f"Evaluations during training on {env}", x="environment steps", y="return per episode",
            about=" ".join(ends[env]), lines=tuple(lines), size="wide",
        )
        for env, lines in evaluations.items()
    ]  # fmt: skip
    charts += [
        Chart(
            title=f"Training episodes on {env}", x="environment steps", y="return, running mean",
            about="Running mean of the returns of training episodes, with exploration noise, one line per run.",
            lines=tuple(lines), size="wide",
        )
        for env, lines in training.items() if lines
    ]  # fmt: skip
    if not charts:
        return None
    labels = {line.label for chart in charts for line in chart.lines}
    names = [group.name for group in context.data.groups if group.name in labels]
    legend = Legend(tuple((name, context.group_colour(name)) for name in names)) if len(names) > 1 else Legend()
    how = (
        "Each line is the return of separate evaluation episodes without exploration. With several seeds: the "
        "interquartile mean over seeds; its 95 % bootstrap band resamples seeds. With one seed: the mean over its "
        "evaluation episodes; the band spans the lowest to the highest. Training episodes: running mean, one line per "
        "seed."
    )
    data = {"charts": charts, "legend": legend, "notes": [text for texts in ends.values() for text in texts]}
    return Section("learning", "Learning", how, "charts.html.j2", data)


def _over_seeds(context: PageContext, group: Group, members: Members) -> Line:
    """Return the interquartile mean over runs with the band of a bootstrap that resamples runs."""
    steps, means = align([curve for _, curve in members])
    bands = [
        interval(iqm(bootstrap([row], f"curve {step:g}"), axis=1)) for step, row in zip(steps, means.T, strict=True)
    ]
    points = list(zip(steps.tolist(), [float(iqm(row)) for row in means.T], strict=True))
    tips = [
        f"{group.name}, {step:,.0f} steps: {number(mean)} [{number(low)}, {number(high)}]"
        for (step, mean), (low, high) in zip(points, bands, strict=True)
    ]
    return _line(context, group, points, [low for low, _ in bands], [high for _, high in bands], tips)


def _line(
    context: PageContext, group: Group, points: Points, low: list[float], high: list[float], tips: list[str]
) -> Line:
    colour = context.group_colour(group.name)
    return Line(points=points, colour=colour, label=group.name, low=low, high=high, tips=tips)


def align(curves: Sequence[Evaluations]) -> tuple[np.ndarray, np.ndarray]:
    """Return steps [K] that all runs reached, and each run's mean returns there [runs, K], interpolated linearly."""
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    last = min(curve.steps.max() for curve in curves)
    first = max(curve.steps.min() for curve in curves)
    steps = steps[(steps >= first) & (steps <= last)]
    if not len(steps):  # no common step: the last one of each
        steps = np.array([last])
    if len(steps) > _MAX_POINTS:
        steps = steps[np.linspace(0, len(steps) - 1, _MAX_POINTS).round().astype(int)]
    return steps, np.stack([np.interp(steps, curve.steps, curve.returns.mean(axis=1)) for curve in curves])


def _over_episodes(context: PageContext, group: Group, members: Members) -> Line:
    """Return the mean over the evaluation episodes of one run with the band from their minimum to their maximum."""
    ((_, curve),) = members
    rows = thin(list(zip(curve.steps.tolist(), range(len(curve.steps)), strict=True)), _MAX_POINTS)
    indices = [int(index) for _, index in rows]
    mean, low, high = (f(curve.returns[indices], axis=1).tolist() for f in (np.mean, np.min, np.max))
    points = [(step, value) for (step, _), value in zip(rows, mean, strict=True)]
    tips = [
        f"{group.name}, {step:,.0f} steps: mean {number(m)}, {number(a)} to {number(b)}"
        for (step, m), a, b in zip(points, low, high, strict=True)
    ]
    return _line(context, group, points, low, high, tips)


def _describe_end(group: Group, members: Members) -> str:
    steps, means = align([curve for _, curve in members])
    seeds = ", ".join(str(member.run.spec.seed) for member, _ in members)
    episodes = min(curve.returns.shape[1] for _, curve in members)
    last, between, runs = number(float(iqm(means[:, -1]))), "", "one seed"
    if len(members) > 1:
        low, high = interval(iqm(bootstrap([means[:, -1]], f"curve {steps[-1]:g}"), axis=1))
        between, runs = f" [{number(low)}, {number(high)}]", f"{len(members)} seeds"
    return f"{group.name}: {last}{between} after {steps[-1]:,.0f} steps, {runs} ({seeds}), {episodes} episodes a point."


def _training_lines(context: PageContext, group: Group) -> Iterator[Line]:
    for member in group.members:
        training = read_training(member.run.path)
        if training is None:
            continue
        window = max(1, math.ceil(_WINDOW * len(training.returns)))
        sums = np.concatenate([[0.0], training.returns.cumsum()])
        means = (sums[window:] - sums[:-window]) / window
        points = thin(list(zip(training.steps[window - 1 :].tolist(), means.tolist(), strict=True)), _MAX_POINTS)
        faint = len(group.members) > 1
        yield Line(points=points, colour=context.group_colour(group.name), label=group.name, faint=faint)
