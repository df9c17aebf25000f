"""Spikes of single episodes: rasters of all neurons over decisions, and distributions of mean rates."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from homeo_rl.report.decimals import fixed
from homeo_rl.report.page.blocks import Section, block_section, data_uri
from homeo_rl.report.page.charts.svg import Chart, Line, steps_of
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import RecordedEpisode, ReportData

INK = (125, 103, 190)  # colour of spikes, visible on white and on black; its opacity grows with the rate of the neuron

_BINS = 20
_SILENT = 1e-3  # spikes per step, below which a neuron counts as silent


@dataclass(frozen=True)
class Raster:
    """A layer's spikes as a picture: one row per neuron, one column per decision."""

    title: str
    arm: str
    condition: str
    about: str
    uri: str
    neurons: int
    decisions: int


def spikes(context: PageContext) -> Section | None:
    """Return the section on spikes; None where no episode of a spiking policy was played.

    Episodes under the damage with the largest gain of an arm are drawn, without them clean ones.
    """
    blocks = []
    for run in dict.fromkeys(episode.run for episode in context.episodes):
        episodes = _choose(context.data, run, [e for e in context.episodes if e.run == run and len(e.rates)])
        if not episodes:
            continue
        first = episodes[0]
        layers = [i for i in range(len(first.rates)) if any(episode.rates[i].any() for episode in episodes)]
        drawn = episodes[:1] if first.condition == "clean" else episodes  # without damage, all arms differ little
        note = (
            f"Condition {first.condition}, {first.steps} spike steps per decision: {_returns(episodes)}. "
            f"{_count_silent(episodes)}"
        )
        blocks.append(
            {
                "name": run,
                "note": note,
                "rasters": [_raster(episode, layer) for layer in layers for episode in drawn],
                "charts": [_histogram(context, episodes, layer) for layer in layers],
                "legend": context.legend(episode.arm for episode in episodes),
            }
        )
    how = (
        "Spike raster: one row per neuron, one column per decision; the more opaque, the larger the share of the "
        "decision's steps in which the neuron fired. The condition is the one in which an arm gains most over none. "
        "Histograms: number of a layer's neurons by mean rate over the episode, one line per arm."
    )
    return block_section("spikes", "Spikes of one episode", how, "spikes.html.j2", blocks)


def _choose(data: ReportData, run: str, episodes: Sequence[RecordedEpisode]) -> Sequence[RecordedEpisode]:
    """Return the episodes of a run under the damage with the largest gain, else the clean ones."""
    comparison = next((c for c in data.comparisons if any(member.name == run for member in c.members)), None)
    gain = None if comparison is None else comparison.largest_gain()
    damaged = [] if gain is None else [episode for episode in episodes if episode.condition == gain[1]]
    return damaged or [episode for episode in episodes if episode.condition == "clean"]


def _returns(episodes: Sequence[RecordedEpisode]) -> str:
    return ", ".join(f"{e.arm} returned {e.total:,.1f} in {len(e.rewards)} decisions" for e in episodes)


def _count_silent(episodes: Sequence[RecordedEpisode]) -> str:
    counts = []
    for episode in episodes:
        means = np.concatenate([rates.mean(axis=0) for rates in episode.rates if rates.any()] or [np.zeros(0)])
        counts.append(f"{episode.arm} {int((means < _SILENT).sum())} of {len(means)}")
    return f"Silent neurons (below {_SILENT:g} spikes per step): {', '.join(counts)}."


def _layer_name(episode: RecordedEpisode, layer: int) -> str:
    return "output layer" if layer == len(episode.rates) - 1 else f"hidden layer {layer + 1}"


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


def _raster(episode: RecordedEpisode, layer: int) -> Raster:
    rates = episode.rates[layer]
    decisions, neurons = rates.shape
    about = f"{neurons} neurons over {decisions} decisions; mean rate {fixed(float(rates.mean()), 3)}"
    title = f"{_layer_name(episode, layer).capitalize()}, {episode.arm}, {neurons} neurons"
    uri = data_uri("image/png", raster(rates))
    return Raster(title, episode.arm, episode.condition, about, uri, neurons, decisions)


def _histogram(context: PageContext, episodes: Sequence[RecordedEpisode], layer: int) -> Chart:
    means = {episode.arm: episode.rates[layer].mean(axis=0) for episode in episodes}
    highest = max(float(values.max()) for values in means.values())
    edges = np.linspace(0.0, max(highest, 0.05), _BINS + 1)
    lines, texts = [], []
    for arm, values in means.items():
        counts, _ = np.histogram(values, edges)
        points = steps_of(edges.tolist(), counts.tolist())
        lines.append(Line(points=points, colour=context.arm_colour(arm), arm=arm))
        texts.append(f"{arm}: mean {fixed(float(values.mean()), 3)}, largest {fixed(float(values.max()), 3)}")
    title = f"Rates, {_layer_name(episodes[0], layer)}"
    return Chart(
        title=title, x="mean rate, spikes per step", y="neurons", about=f"{title}; {'; '.join(texts)}.",
        lines=tuple(lines), x_range=(0.0, float(edges[-1])), integer=True, size="small",
        condition=episodes[0].condition,
    )  # fmt: skip
