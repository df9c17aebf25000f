"""The compiled forward model: prediction and Jacobian, with sums in a fixed order on every processor.

Shapes: D observation entries, K action entries, H hidden units.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.layout import Offsets

Net: TypeAlias = tuple[np.ndarray, ...]
"""Weights and biases of three layers, the unit of change, the calibration of the deviations, and the weights of the
means again, padded to a multiple of eight."""


class Setting(NamedTuple):
    """What the kernels know beside the row of a slot; ``scales`` and scratch are those of `kernels.advance`."""

    net: Net
    scales: np.ndarray
    offsets: Offsets
    entries: int  # D
    actions: int  # K
    moves: int  # where ``scales`` say whether a sensor moves
    work: np.ndarray
    full: np.ndarray


@jit
def unpack(w: np.ndarray, dims: np.ndarray) -> Net:
    """Return the parts of a packed model (`homeo_rl.observer.forward_model.ForwardModel.packed`), as views."""
    entries, size, hidden = dims[0], dims[0] + dims[1], dims[2]
    outputs, width = 2 * entries, (entries + 7) // 8 * 8
    o1 = size * hidden
    o2 = o1 + hidden + hidden * hidden
    o3 = o2 + hidden + hidden * outputs
    return (
        w[:o1].reshape((size, hidden)),
        w[o1 : o1 + hidden],
        w[o1 + hidden : o2].reshape((hidden, hidden)),
        w[o2 : o2 + hidden],
        w[o2 + hidden : o3].reshape((hidden, outputs)),
        w[o3 : o3 + outputs],
        w[o3 + outputs : o3 + outputs + entries],
        w[o3 + outputs + entries : o3 + outputs + 2 * entries],
        w[o3 + outputs + 2 * entries : o3 + outputs + 2 * entries + hidden * width].reshape((hidden, width)),
    )


@jit
def _layer(x: np.ndarray, w: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    """Write x w + b; the inner loop runs over outputs, so that it can be vectorised without another order of sums."""
    for j in range(len(y)):
        y[j] = b[j]
    _accumulate(x, w, y)


@jit
def _accumulate(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """Add x w to y, one input after the other; four in a pass, because reading and writing y takes the time."""
    fours = w.shape[0] // 4 * 4
    for k in range(0, fours, 4):
        a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
        wa, wb, wc, wd = w[k], w[k + 1], w[k + 2], w[k + 3]
        for j in range(len(y)):
            y[j] = (((y[j] + a * wa[j]) + b * wb[j]) + c * wc[j]) + d * wd[j]
    for k in range(fours, w.shape[0]):
        value, row = x[k], w[k]
        for j in range(len(y)):
            y[j] += value * row[j]


@jit
def _activate(h: np.ndarray, d: np.ndarray) -> None:
    """Write the activation over h and its derivative to d."""
    one, half = np.float32(1.0), np.float32(0.5)
    for j in range(len(h)):
        u = h[j]
        s = one / np.sqrt(one + u * u)
        g = half * (one + u * s)
        d[j] = g + half * u * s * s * s
        h[j] = u * g


@jit
def predict(net: Net, x: np.ndarray, mean: np.ndarray, variance: np.ndarray, work: np.ndarray) -> None:
    """Write mean [D] and variance [D] of the next scaled observation for x = (observation, action) [D + K]."""
    w1, b1, w2, b2, w3, b3, change, _, _ = net
    hidden, entries = len(b1), len(change)
    h1, d1, h2, d2, out = work[0, :hidden], work[1, :hidden], work[2, :hidden], work[3, :hidden], work[4, : 2 * entries]
    _layer(x, w1, b1, h1)
    _activate(h1, d1)
    _layer(h1, w2, b2, h2)
    _activate(h2, d2)
    _layer(h2, w3, b3, out)
    _read(net, x, out, mean, variance)


@jit
def _read(net: Net, x: np.ndarray, out: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    """Write mean and variance of the prediction for x, whose outputs are given."""
    change, calibration = net[6], net[7]
    entries = len(change)
    for i in range(entries):
        raw = np.float64(out[entries + i])
        deviation = change[i] * calibration[i] * (0.5 * (raw + np.sqrt(raw * raw + 4.0))) + 1e-3
        mean[i] = x[i] + change[i] * out[i]
        variance[i] = deviation * deviation


@jit
def predict_lags(
    net: Net, x: np.ndarray, row: np.ndarray, first: int, means: np.ndarray, variances: np.ndarray, work: np.ndarray
) -> None:
    """Write what `predict` does for one observation and each of several actions; the weights are read once.

    Args:
        net: the model.
        x: the observation [D + K]; the action in it is not looked at.
        row: has the actions, one behind the other, from ``first`` on.
        first: place of the first action.
        means: [L, D].
        variances: [L, D].
        work: scratch of `homeo_rl.observer.layout.work_space`.
    """
    w1, b1, w2, b2, w3, b3, change, _, _ = net
    hidden, entries, actions, lags = len(b1), len(change), w1.shape[0] - len(change), len(means)
    flat, size, base = work[6:].ravel(), lags * hidden, work[0, :hidden]
    h1, h2 = flat[:size].reshape((lags, hidden)), flat[size : 2 * size].reshape((lags, hidden))
    out = flat[2 * size : 2 * size + 2 * lags * entries].reshape((lags, 2 * entries))
    _layer(x[:entries], w1[:entries], b1, base)
    for c in range(lags):
        for j in range(hidden):
            h1[c, j], h2[c, j] = base[j], b2[j]
        for k in range(actions):
            action = np.float32(row[first + c * actions + k])
            for j in range(hidden):
                h1[c, j] += action * w1[entries + k, j]
        _activate(h1[c], work[1, :hidden])
        for j in range(2 * entries):
            out[c, j] = b3[j]
    _add_products(h1, w2, h2)
    for c in range(lags):
        _activate(h2[c], work[1, :hidden])
    _add_products(h2, w3, out)
    for c in range(lags):
        _read(net, x, out[c], means[c], variances[c])


@jit
def jacobian(net: Net, work: np.ndarray, columns: np.ndarray, jac: np.ndarray, size: int) -> None:
    """Write d mean / d x [D, size] for the first inputs at the point of the last `predict`, whose ``work`` is given.

    ``columns`` [3 (D + K) max(H, D + 7)] is scratch space.
    """
    w1, b1, w2, _, _, _, change, _, means = net
    hidden, entries, width = len(b1), len(change), means.shape[1]
    d1, d2, two = work[1, :hidden], work[3, :hidden], 2 * size * hidden
    t1, t2 = columns[: size * hidden].reshape((size, hidden)), columns[size * hidden : two].reshape((size, hidden))
    rows = columns[two : two + size * width].reshape((size, width))
    for c in range(size):
        for j in range(hidden):
            t1[c, j] = w1[c, j] * d1[j]
    _multiply(t1, w2, t2)
    for c in range(size):
        for j in range(hidden):
            t2[c, j] *= d2[j]
    _multiply(t2, means, rows)
    for c in range(size):
        for i in range(entries):
            jac[i, c] = change[i] * rows[c, i]
    for i in range(entries):
        jac[i, i] += 1.0


@jit
def _multiply(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """Write x w for rows x [C, H]."""
    for c in range(len(y)):
        for j in range(y.shape[1]):
            y[c, j] = 0.0
    _add_products(x, w, y)


@jit
def _add_products(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """Add x w for rows x [C, H]; eight rows of w at a time stay in the first-level cache for all rows of x."""
    eights = w.shape[0] // 8 * 8
    for k in range(0, eights, 8):
        w0, w1, w2, w3, w4, w5, w6, w7 = w[k], w[k + 1], w[k + 2], w[k + 3], w[k + 4], w[k + 5], w[k + 6], w[k + 7]
        for c in range(len(y)):
            to, of = y[c], x[c]
            x0, x1, x2, x3 = of[k], of[k + 1], of[k + 2], of[k + 3]
            x4, x5, x6, x7 = of[k + 4], of[k + 5], of[k + 6], of[k + 7]
            for j in range(len(to)):
                first = (((to[j] + x0 * w0[j]) + x1 * w1[j]) + x2 * w2[j]) + x3 * w3[j]
                to[j] = (((first + x4 * w4[j]) + x5 * w5[j]) + x6 * w6[j]) + x7 * w7[j]
    for c in range(len(y)):
        for k in range(eights, w.shape[0]):
            for j in range(y.shape[1]):
                y[c, j] += x[c, k] * w[k, j]


@jit
def fill(x: np.ndarray, values: np.ndarray, row: np.ndarray, offset: int, entries: int, actions: int) -> None:
    """Write an observation, and the action that a row holds at ``offset``, as the input of `predict`."""
    for i in range(entries):
        x[i] = values[i]
    for k in range(actions):
        x[entries + k] = row[offset + k]
