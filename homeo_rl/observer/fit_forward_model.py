"""Fit a forward model to a recording: gradient descent on the weighted Gaussian likelihood, then a calibration.

The loss of entry i is v_i^beta (log v_i + e_i^2 / v_i) / 2 with beta = 0.5 and the weight v_i^beta held constant
(Seitzer et al., 2022): plain likelihood neglects the mean where the variance is large.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import UsageError
from homeo_rl.observer.forward_model import FLOOR, MEASURED, ForwardModel
from homeo_rl.observer.layout import CAP, QUICK, RATE
from homeo_rl.observer.recording import Recording
from homeo_rl.seeding import derive, generator

BLOCK = 100
"""Steps that are held out together, so that held-out steps are not neighbours of fitted ones."""


HELD = 9
"""One part in so many, the last, is not fitted: the limits of errors are measured on its clean steps."""


def fit_forward_model(
    recording: Recording,
    low: np.ndarray,
    high: np.ndarray,
    *,
    seed: int = 0,
    hidden: int = 128,
    epochs: int = 40,
    on_epoch: Callable[[int], None] | None = None,
) -> ForwardModel:
    """Fit a model; the same recording and seed give the same model on one processor.

    ``low`` and ``high`` are the bounds of the actions [K], ``hidden`` the units of a hidden layer; ``on_epoch`` is
    called with the number of each finished pass over the recording.
    """
    first = recording.transitions()
    center, spread, moves = _moments(recording.observations)
    middle, half = ((high + low) / 2.0).astype(np.float32), np.maximum((high - low) / 2.0, 1e-6).astype(np.float32)
    x = ((recording.observations - center) / spread).astype(np.float32)
    inputs = np.concatenate([x, (recording.actions - middle) / half], 1).astype(np.float32)
    delta = x[first + 1] - x[first]
    change = np.where(moves, delta.std(0), 1.0).clip(1e-4).astype(np.float32)
    held, unseen = (first // BLOCK) % 10 == 9, first >= len(x) - len(x) // HELD
    fitted = first[~(held | unseen)]
    network = _Network(inputs.shape[1], x.shape[1], hidden, change, seed)
    _descend(
        network, torch.from_numpy(inputs), torch.from_numpy(x), fitted, torch.from_numpy(change), epochs, seed, on_epoch
    )
    zeros = np.zeros_like(change)
    model = ForwardModel(
        center, spread, middle, half, **network.weights(), change=change, calibration=np.ones_like(change), moves=moves,
        **dict.fromkeys(MEASURED, zeros), gate=0.0,
    )  # fmt: skip
    return _characterise(_calibrate(model, x, inputs, first[held & ~unseen]), recording, first[unseen], x, inputs)


def _calibrate(model: ForwardModel, x: np.ndarray, inputs: np.ndarray, rows: np.ndarray) -> ForwardModel:
    """Scale the predicted deviations by what held-out steps show, and say how much of the change is explained."""
    predicted = model.predict(x[rows], inputs[rows, x.shape[1] :])
    error = (x[rows + 1] - predicted.mean) ** 2
    ratio = np.minimum(error / predicted.variance, CAP).mean(0)
    explained = 1.0 - error.mean(0) / np.maximum((x[rows + 1] - x[rows]).var(0), 1e-12)
    return dataclasses.replace(
        model,
        calibration=np.sqrt(np.maximum(ratio, 1e-2)).astype(np.float32),
        r2=np.where(model.moves, explained, 0.0).astype(np.float32),
        noise_ratio=ratio.astype(np.float32),
    )


def _characterise(
    model: ForwardModel, recording: Recording, first: np.ndarray, x: np.ndarray, inputs: np.ndarray
) -> ForwardModel:
    """Measure how episodes begin, and the largest errors in clean sequences: the gate must stay above them."""
    begins = x[np.concatenate([[0], np.nonzero(recording.ends[:-1])[0] + 1])]
    first = first[recording.clean[first] & recording.clean[first + 1]]
    if not len(first):
        raise UsageError(
            "recording: expected its last ninth to hold clean steps, which limits are measured on, got none"
        )
    predicted = model.predict(x[first], inputs[first, x.shape[1] :])
    square = (x[first + 1] - predicted.mean) ** 2 / predicted.variance
    capped = np.minimum(square, CAP)
    running, largest_running = np.ones(model.entries), np.ones(model.entries)
    whole, gate, before = 1.0, 1.0, -2
    for row, values in zip(first, capped, strict=True):
        if row != before + 1:
            running, whole = np.ones(model.entries), 1.0
        running = running + QUICK * (values - running)
        whole += RATE * (float(values[model.moves].mean()) - whole)
        largest_running, gate, before = np.maximum(largest_running, running), max(gate, whole), int(row)
    return dataclasses.replace(
        model,
        start_mean=begins.mean(0),
        start_variance=(1.5 * begins.var(0) + 1e-4).astype(np.float32),
        largest=square.max(0).astype(np.float32),
        largest_running=largest_running.astype(np.float32),
        gate=gate,
    )


def _moments(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    center = observations.mean(0, dtype=np.float64)
    spread = observations.std(0, dtype=np.float64)
    moves = spread > 1e-8 * np.maximum(1.0, np.abs(center))
    return center.astype(np.float32), np.where(moves, spread, 1.0).astype(np.float32), moves


class _Network(torch.nn.Module):
    def __init__(self, inputs: int, entries: int, hidden: int, change: np.ndarray, seed: int) -> None:
        super().__init__()
        sizes = ((inputs, hidden), (hidden, hidden), (hidden, 2 * entries))
        self.layers = [torch.nn.Linear(*size) for size in sizes]
        self.held = torch.nn.ModuleList(self.layers)
        rng = torch.Generator().manual_seed(derive(seed, "forward-model") % 2**63)
        with torch.no_grad():
            for layer in self.layers:
                bound = float(layer.in_features) ** -0.5
                layer.weight.uniform_(-bound, bound, generator=rng)
                layer.bias.zero_()
        self.floor = torch.from_numpy(FLOOR / change)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the change, in units of its deviation."""
        for layer in self.layers[:2]:
            u = layer(x)
            x = 0.5 * u * (1.0 + u * torch.rsqrt(1.0 + u * u))
        mean, raw = self.layers[2](x).chunk(2, -1)
        return mean, (0.5 * (raw + torch.sqrt(raw * raw + 4.0)) + self.floor).square()

    def weights(self) -> dict[str, np.ndarray]:
        result = {}
        for number, layer in enumerate(self.layers, 1):
            result[f"w{number}"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
            result[f"b{number}"] = layer.bias.detach().numpy().copy()
        return result


def _descend(
    network: _Network, inputs: Tensor, x: Tensor, rows: np.ndarray, change: Tensor, epochs: int, seed: int,
    on_epoch: Callable[[int], None] | None,
) -> None:  # fmt: skip
    batch = 256
    optimiser = torch.optim.Adam(network.parameters(), 2e-3, fused=True)
    total = epochs * (len(rows) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(total, 1) + 1, pct_start=0.05)
    rng = generator(seed, "forward-model", "order")
    for epoch in range(epochs):
        order = torch.from_numpy(rng.permutation(rows))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            mean, variance = network(inputs[chosen])
            target = (x[chosen + 1] - x[chosen]) / change
            square = (target - mean).square()
            loss = (variance.detach().sqrt() * (variance.log() + square / variance)).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        if on_epoch is not None:
            on_epoch(epoch + 1)
