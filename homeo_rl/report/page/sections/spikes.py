"""Spikes of single episodes: which neuron fired how much at which decision, and how rates are spread."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from homeo_rl.report.decimals import fixed
from homeo_rl.report.page.blocks import Legend, Section
from homeo_rl.report.page.charts.svg import Chart, Line, steps_of
from homeo_rl.report.page.data_uri import data_uri
from homeo_rl.report.page.inputs import RecordedEpisode
from homeo_rl.report.page.report_data import ReportData
from homeo_rl.report.page.sections.robustness import telling

INK = (125, 103, 190)
"""Colour of spikes: seen on white and on black paper; how opaque it is says how often the neuron fired."""

_BINS = 20
_SILENT = 1e-3  # spikes a step, below which a neuron is told as silent


@dataclass(frozen=True)
class Raster:
    """A layer's spikes as a picture: a row a neuron, a column a decision."""

    title: str
    about: str
    uri: str
    neurons: int
    decisions: int


def raster(rates: np.ndarray) -> bytes:
    """Return a PNG of rates in [0, 1] [decisions, N]: opaque where a neuron fired at all steps, clear at none."""
    alpha = np.clip(np.round(255 * np.sqrt(np.clip(rates.T, 0.0, 1.0))), 0, 255).astype(np.uint8)
    picture = Image.fromarray(alpha).convert("P")
    # One colour, 256 opacities: a palette with transparency is a quarter of the size of four channels.
    picture = Image.frombytes("P", picture.size, alpha.tobytes())
    picture.putpalette(list(INK) * 256)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes(range(256)), optimize=True)
    return file.getvalue()


def spikes(material: ReportData, specimens: Sequence[RecordedEpisode], place: Callable[[str], int]) -> Section | None:
    """Return the section on spikes; None where no episode of a spiking policy was played.

    Args:
        material: the runs.
        specimens: episodes; those under the damage that an arm helps most against are drawn, without it clean ones.
        place: colour of an arm, by its name.
    """
    blocks = []
    for run in dict.fromkeys(one.run for one in specimens):
        mine = _shown(material, [one for one in specimens if one.run == run and len(one.rates)])
        if not mine:
            continue
        layers = [index for index in range(len(mine[0].rates)) if any(one.rates[index].any() for one in mine)]
        blocks.append(
            {
                "name": run,
                "said": f"Condition {mine[0].condition}, {mine[0].steps} spike steps a decision: {_returns(mine)}. "
                f"{_quiet(mine)}",
                "rasters": [_raster(one, index) for index in layers for one in _drawn(mine)],
                "charts": [_histogram(mine, index, place) for index in layers],
                "legend": Legend(tuple((one.arm, place(one.arm)) for one in mine)),
            }
        )
    if not blocks:
        return None
    how = (
        "Spike raster: one row a neuron, one column a decision; the more opaque, the more of the decision's steps the "
        "neuron fired in. The condition is the one in which an arm gains most over none. Histograms: how many of a "
        "layer's neurons have which mean rate over the episode, an arm a line."
    )
    return Section("spikes", "Spikes of one episode", how, "spikes.html.j2", {"blocks": blocks})


def _shown(material: ReportData, played: Sequence[RecordedEpisode]) -> list[RecordedEpisode]:
    """Return the episodes of one run that tell most: under the damage with the largest gain, else the clean ones."""
    run = played[0].run if played else ""
    one = next((one for one in material.comparisons if any(member.name == run for member in one.members)), None)
    most = telling(one) if one is not None else None
    damaged = [] if most is None else [s for s in played if s.condition == most[1]]
    return damaged or [s for s in played if s.condition == "clean"]


def _drawn(several: Sequence[RecordedEpisode]) -> list[RecordedEpisode]:
    """Return whose spikes are drawn: without damage all arms differ little and the first is enough."""
    return list(several[:1]) if several[0].condition == "clean" else list(several)


def _returns(several: Sequence[RecordedEpisode]) -> str:
    return ", ".join(f"{one.arm} returned {one.total:,.1f} in {len(one.rewards)} decisions" for one in several)


def name_of(specimen: RecordedEpisode, index: int) -> str:
    """Return what a layer is called."""
    return "output layer" if index == len(specimen.rates) - 1 else f"hidden layer {index + 1}"


def _raster(one: RecordedEpisode, index: int) -> Raster:
    rates = one.rates[index]
    decisions, neurons = rates.shape
    about = f"{neurons} neurons over {decisions} decisions; mean rate {fixed(float(rates.mean()), 3)}"
    title = f"{name_of(one, index).capitalize()}, {one.arm}, {neurons} neurons"
    return Raster(title, about, data_uri("image/png", raster(rates)), neurons, decisions)


def _histogram(several: Sequence[RecordedEpisode], index: int, place: Callable[[str], int]) -> Chart:
    means = {one.arm: one.rates[index].mean(axis=0) for one in several}
    most = max(float(values.max()) for values in means.values())
    edges = np.linspace(0.0, max(most, 0.05), _BINS + 1)
    lines = []
    for arm, values in means.items():
        counts, _ = np.histogram(values, edges)
        lines.append(Line(points=steps_of(edges.tolist(), counts.tolist()), colour=place(arm), label=arm))
    said = "; ".join(
        f"{arm}: mean {fixed(float(values.mean()), 3)}, largest {fixed(float(values.max()), 3)}"
        for arm, values in means.items()
    )
    title = f"Rates, {name_of(several[0], index)}"
    return Chart(title=title, x="mean rate, spikes a step", y="neurons", about=f"{title}; {said}.", lines=tuple(lines),
                 x_range=(0.0, float(edges[-1])), whole=True, size="small")  # fmt: skip


def _quiet(several: Sequence[RecordedEpisode]) -> str:
    """Return how many neurons never fired, arm by arm."""
    said = []
    for one in several:
        means = np.concatenate([rates.mean(axis=0) for rates in one.rates if rates.any()] or [np.zeros(0)])
        said.append(f"{one.arm} {int((means < _SILENT).sum())} of {len(means)}")
    return f"Silent neurons (below {_SILENT:g} spikes a step): {', '.join(said)}."
