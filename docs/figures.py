"""Draw the pictures of README.md and docs/dwam.md: `python docs/figures.py` (seconds; no run is needed)."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import bootstrap, trim_mean

from homeo_rl import NetworkSpec, SpikingNetwork
from homeo_rl.homeostasis import LayerReference, make
from homeo_rl.report.colours import colours
from homeo_rl.seeding import generator
from homeo_rl.spec import EncoderSpec, ReadoutSpec

HERE = Path(__file__).parent
SCORES = HERE / "results" / "robustness" / "scores.csv.gz"
ARM = colours(["none", "dwam"])
QUIET, USUAL, LOUD, MARK = "#7a5230", "#8a8a8a", "#c2183b", "#0d1822"
"""Colours of what is not an arm, which no arm has."""

DECISIONS, BROKEN = 400, 100

HEADLINE_POLICY = "popsan-ant-1"
"""A policy that comes with the package; the study did not choose any setting on it."""
HEADLINE_ARMS = {"none": "frozen policy", "dwam": "DWAM", "sleep": "sleep"}
HEADLINE_CONDITIONS = {
    "noise-0.05": "noise on\nweights",
    "zero-30": "30 % of\nsynapses\ndeleted",
    "dead-20": "20 % of\nneurons\ndead",
    "stuck-5": "5 % of\nneurons\nstuck",
}


def headline(path: Path) -> None:
    """Draw the returns of a policy under four kinds of damage with three mechanisms, from the published scores."""
    with gzip.open(SCORES, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["entry"], row["host"]) == ("0", HEADLINE_POLICY)]
    rng = generator(0, "figure", "headline")
    figure, axes = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    shades = colours(list(HEADLINE_ARMS))
    for offset, (arm, label) in enumerate(HEADLINE_ARMS.items()):
        for position, condition in enumerate(HEADLINE_CONDITIONS):
            chosen = [row for row in rows if (row["arm"], row["condition"]) == (arm, condition)]
            returns = np.array([float(row["return"]) for row in chosen])
            middle = trim_mean(returns, 0.25)
            drawn = bootstrap((returns,), lambda x, axis: trim_mean(x, 0.25, axis=axis), method="percentile", rng=rng)
            spread = [[middle - drawn.confidence_interval.low], [drawn.confidence_interval.high - middle]]
            axes.bar(position + 0.27 * (offset - 1), middle, 0.25, color=shades[arm], yerr=spread, capsize=3,
                     label=label if position == 0 else None)  # fmt: skip
    clean = trim_mean(
        [float(row["return"]) for row in rows if (row["arm"], row["condition"]) == ("none", "clean")], 0.25
    )
    axes.axhline(clean, color=MARK, lw=1, ls="--", label="undamaged")
    axes.set_xticks(range(len(HEADLINE_CONDITIONS)), list(HEADLINE_CONDITIONS.values()))
    axes.set_ylabel("return of an episode")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, columnspacing=1.0, handlelength=1.4)
    _save(figure, path)


def rule(path: Path) -> None:
    """Draw what a rate does to the weights of its neuron, for three sliding thresholds."""
    c = np.linspace(0.0, 1.0, 201)
    figure, axes = plt.subplots(figsize=(6.0, 3.2), layout="constrained")
    for theta, colour, past, height in (
        (0.2, QUIET, "low past rate", 0.2), (0.5, USUAL, "usual rate", 0.5), (0.8, LOUD, "high past rate", 0.72),
    ):  # fmt: skip
        axes.plot(c, c * (c - theta), color=colour, lw=2)
        axes.plot(theta, 0.0, "o", color=colour)
        axes.annotate(f"$\\theta_M$ = {theta}\n{past}", (theta, 0.0), (theta - 0.02, height), ha="center", fontsize=9,
                      color=colour, arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6})  # fmt: skip
    axes.axhline(0.0, color="black", lw=0.6)
    axes.set(xlabel="firing rate c of the neuron", ylabel="c (c - $\\theta_M$)", xlim=(0, 1))
    axes.set_title("above 0, active synapses grow; below 0, they shrink", loc="left", fontsize=9)
    _save(figure, path)


def course(path: Path) -> None:
    """Draw rates, thresholds and drift of a layer that loses 30 % of its synapses after 100 decisions."""
    torch.manual_seed(0)
    network, references, normal = _make_calibrated_network()
    rng = generator(0, "figure", "damage")
    weights = network.parameters_of_layers()
    lost = rng.random(tuple(weights[0].weight.shape)) < 0.3
    broken = (weights[0]._replace(weight=weights[0].weight.masked_fill(torch.as_tensor(lost), 0.0)), *weights[1:])
    courses = {}
    for name, plugin in (("frozen", make("none")), ("DWAM", make("dwam-paper:eta=2e-3:zeta=3:tau=30"))):
        inputs = generator(0, "figure", "inputs")
        state = network.initial_state(1, plugin=plugin, references=references if plugin else ())
        rows = []
        for decision in range(DECISIONS):
            state.weights = broken if decision >= BROKEN else None
            x = torch.as_tensor(inputs.random((1, 40)), dtype=torch.float32)
            with torch.no_grad():
                _, state = network(x, state, adapt=plugin is not None)
            rate = state.rates[1][0].numpy()
            theta = drift = np.nan
            if plugin is not None:
                adaptation = state.adaptation[0]
                theta = float(plugin.sliding_threshold(adaptation, references[0]).mean())
                drift = float(adaptation["delta"].norm() / weights[0].weight.norm())
            rows.append((rate.mean(), theta, drift))
        courses[name] = np.array(rows)
    figure, axes = plt.subplots(3, 1, figsize=(6.4, 5.6), sharex=True, layout="constrained")
    kernel = np.ones(15) / 15
    for name, colour in (("frozen", ARM["none"]), ("DWAM", ARM["dwam"])):
        smooth = np.convolve(courses[name][:, 0], kernel, mode="valid")
        axes[0].plot(np.arange(len(smooth)) + 14, smooth, color=colour, lw=2, label=name)
    axes[0].axhline(normal, color=MARK, lw=1, ls="--", label="reference (c0)")
    axes[0].set_ylabel("mean firing rate")
    axes[0].legend(fontsize=8, frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.68), ncols=3)
    axes[1].plot(courses["DWAM"][:, 1], color=ARM["dwam"], lw=2)
    axes[1].set_ylabel("mean $\\theta_M$")
    axes[2].plot(100 * courses["DWAM"][:, 2], color=ARM["dwam"], lw=2)
    axes[2].set(ylabel="weight change (%)", xlabel="decision")
    for panel in axes:
        panel.axvline(BROKEN, color=MARK, lw=1)
    axes[0].annotate("30 % of the synapses deleted", (BROKEN, axes[0].get_ylim()[1]), xytext=(6, -4),
                     textcoords="offset points", va="top", fontsize=9, color=MARK)  # fmt: skip
    _save(figure, path)


def _make_calibrated_network() -> tuple[SpikingNetwork, tuple[LayerReference, ...], float]:
    """Return a network of random weights, the reference rates of its layers, and the first one's mean rate."""
    spec = NetworkSpec(
        inputs=40, hidden=(60,), outputs=4, steps=8, encoder=EncoderSpec(kind="current"),
        readout=ReadoutSpec(kind="mean"),
    )  # fmt: skip
    network = SpikingNetwork(spec)
    with torch.no_grad():
        network.layers[0].weight.abs_()
        network.layers[0].bias -= 1.3
    seen = generator(0, "figure", "calibration").random((500, 40))
    with torch.no_grad():
        _, state = network(torch.as_tensor(seen, dtype=torch.float32))
    rates = [rate.mean(0) for rate in state.rates[1:]]
    squares = [(rate * rate).mean(0) for rate in state.rates[1:]]
    return network, network.references(rates, squares), float(rates[0].mean())


def _save(figure: mpl.figure.Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)
    print(path)


def main() -> None:
    """Draw all of them."""
    mpl.use("agg")
    headline(HERE / "headline.png")
    rule(HERE / "dwam-rule.png")
    course(HERE / "dwam-course.png")


if __name__ == "__main__":
    main()
