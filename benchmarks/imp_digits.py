"""What initial potentials and losses do to each time step: scikit-learn's digits, a spiking MLP and a spiking CNN.

``python -m benchmarks.imp_digits [--neuron if|lif] [--seeds N] [--json] [--picture PATH]``. SDT, TET, TET-S and LTS,
each from potentials 0, with learnable initial potentials (IMP) and, the control, with a learnable constant current a
neuron instead; accuracy of the mean output up to each step, means over seeds that all arms share (division into
training and test, weights at the start, order of images). Ten seeds of everything take about half an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.common import machine
from benchmarks.images.training import digits, fit
from homeo_rl.seeding import generator
from homeo_rl.snn.initial_potentials import parameter_groups
from homeo_rl.snn.losses import LOSSES
from homeo_rl.spec import NeuronSpec
from homeo_rl.vision.spiking import NEURON, Classifier, Initial, Spiking, Stepwise


def digits_mlp(initial: Initial = "rest", *, steps: int = 4, neuron: NeuronSpec = NEURON) -> Classifier:
    """Return 64-32-32-10 for images [B, 1, 8, 8]."""
    return Classifier(
        Stepwise(nn.Flatten(), nn.Linear(64, 32)), Spiking((32,), neuron=neuron, initial=initial),
        Stepwise(nn.Linear(32, 32)), Spiking((32,), neuron=neuron, initial=initial),
        Stepwise(nn.Linear(32, 10)), steps=steps,
    )  # fmt: skip


def digits_cnn(initial: Initial = "rest", *, steps: int = 4, neuron: NeuronSpec = NEURON) -> Classifier:
    """Return two convolutions of 8 and 16 channels with pooling, and a linear layer, for images [B, 1, 8, 8]."""
    return Classifier(
        Stepwise(nn.Conv2d(1, 8, 3, padding=1)), Spiking((8, 8, 8), neuron=neuron, initial=initial),
        Stepwise(nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1)), Spiking((16, 4, 4), neuron=neuron, initial=initial),
        Stepwise(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)), steps=steps,
    )  # fmt: skip


NETWORKS = {"mlp": digits_mlp, "cnn": digits_cnn}
EPOCHS = 30
ARMS: dict[str, Initial] = {"plain": "rest", "IMP": "neuron", "constant": "constant"}
STEPS = 4
HEADLINE = "sdt"
"""The loss of the plain network that IMP is added to."""


def accuracies(network: str, neuron: NeuronSpec, loss: str, initial: Initial, seed: int, epochs: int) -> list[float]:
    """Train one network and return its test accuracy, %, after 1, 2, 3 and 4 steps."""
    data = digits(generator(seed, "digits"))
    torch.manual_seed(seed)
    plain = NETWORKS[network](steps=STEPS, neuron=neuron)
    net = NETWORKS[network](initial, steps=STEPS, neuron=neuron)
    net.load_state_dict(plain.state_dict(), strict=False)
    fit(
        net, *data.train, generator=torch.Generator().manual_seed(seed), loss=LOSSES[loss], epochs=epochs,
        groups=parameter_groups(net, 1e-2),
    )  # fmt: skip
    with torch.no_grad():
        outputs = net(data.test[0]).cumsum(0)
    return [100.0 * float((now.argmax(-1) == data.test[1]).double().mean()) for now in outputs]


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean over seeds [S]."""
    draws = generator(0, "imp_digits").choice(differences, (10_000, len(differences)))
    low, high = np.quantile(draws.mean(1), [0.025, 0.975])
    return float(low), float(high)


def draw(found: dict[str, np.ndarray], path: Path) -> None:
    """Draw accuracy against time steps, a panel a network and loss."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(NETWORKS), len(LOSSES), sharex=True, sharey="row")
    steps = range(1, STEPS + 1)
    for row, network in zip(panels, NETWORKS, strict=True):
        for axes, loss in zip(row, LOSSES, strict=True):
            for arm, colour in zip(ARMS, ("#4d4d4d", "#0072b2", "#d55e00"), strict=True):
                values = found[f"{network} {loss} {arm}"]
                ends = np.array([interval(now) for now in values.T])
                axes.fill_between(steps, ends[:, 0], ends[:, 1], color=colour, alpha=0.2, lw=0)
                axes.plot(steps, values.mean(0), "o-", color=colour, label=arm, markersize=4)
            axes.set_title(f"{network}, {loss}", fontsize=10)
            axes.set_xticks(list(steps))
    panels[0, 0].legend(frameon=False)
    figure.supxlabel("time steps")
    figure.supylabel("test accuracy, %: mean over seeds, 95 % interval")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--tiny", action="store_true", help="sizes that show that it works")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--neuron", choices=["if", "lif"], default="if", help="with soft reset; lif with tau = 2")
    parser.add_argument(
        "--picture", type=Path, help="where to draw it; runs/imp_digits_NEURON.png without --json, else nowhere"
    )
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seeds, epochs = (2, 1) if told.tiny else (told.seeds, EPOCHS)
    neuron = replace(NEURON, kind=told.neuron)
    found: dict[str, np.ndarray] = {}
    for network in NETWORKS:
        for loss in LOSSES:
            for arm, initial in ARMS.items():
                rows = [accuracies(network, neuron, loss, initial, seed, epochs) for seed in range(seeds)]
                found[f"{network} {loss} {arm}"] = np.array(rows)
                if not told.json:
                    means = "  ".join(f"{value:5.1f}" for value in np.mean(rows, 0))
                    print(f"{network:4} {loss:6} {arm:9} {means}", flush=True)
    gains: dict[str, float] = {}
    ends: dict[str, tuple[float, float]] = {}
    for arm in ("IMP", "constant"):
        for network in NETWORKS:
            for loss in LOSSES:
                first = found[f"{network} {loss} {arm}"][:, 0] - found[f"{network} {loss} plain"][:, 0]
                gains[f"{network} {loss} {arm}"] = float(first.mean())
                ends[f"{network} {loss} {arm}"] = interval(first)
    usual = None if told.json else Path("runs") / f"imp_digits_{told.neuron}.png"
    picture: Path | None = told.picture or usual
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(found, picture)
    if told.json:
        means = {name: values.mean(0).tolist() for name, values in found.items()}
        headline = {
            f"{arm.lower()}_gain_t1": {network: gains[f"{network} {HEADLINE} {arm}"] for network in NETWORKS}
            for arm in ("IMP", "constant")
        }
        rest = {"gains": gains, "intervals": ends, "accuracy": means, "neuron": told.neuron, "seeds": seeds}
        print(
            json.dumps({**headline, **rest, "machine": machine(), "picture": None if picture is None else str(picture)})
        )
        return
    print(f"{machine()}; {told.neuron} neurons, {seeds} seeds, {epochs} epochs; picture: {picture}")
    print("points gained after one step, paired by seed [95 % interval]")
    for name, (low, high) in ends.items():
        print(f"{name:18} {gains[name]:+6.2f} [{low:+.2f}, {high:+.2f}]")


if __name__ == "__main__":
    main()
