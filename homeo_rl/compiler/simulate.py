"""Run a lowered network on spike trains, for many trains at a time. Shapes: B batch, T steps, d lines, N neurons."""

import numpy as np

from homeo_rl.compiler.lowering import SpikingCircuit
from homeo_rl.compiler.spike_function import trains_of


def matrices(circuit: SpikingCircuit, dtype: type = np.float64) -> np.ndarray:
    """Return the weights [delays, N, 1 + d + N]; columns are the clock, the inputs and the neurons."""
    d = len(circuit.lines)
    result: np.ndarray = np.zeros((circuit.reach + 1, circuit.neurons, 1 + d + circuit.neurons), dtype=dtype)
    for s in circuit.synapses:
        result[s.delay, s.post, s.pre + 1] = float(s.weight)
    return result


def simulate(circuit: SpikingCircuit, trains: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Return the spikes [B, T, N] of all neurons for input ``trains`` [B, T, d].

    Raises InputError: they are no trains of the circuit's lines.
    """
    trains = trains_of(trains, circuit.lines)
    batch, steps, d = trains.shape
    weights = matrices(circuit, dtype)
    reach, n, beta = circuit.reach, circuit.neurons, dtype(float(circuit.beta))
    seen = np.zeros((reach + steps, batch, 1 + d + n), dtype=dtype)
    seen[reach:, :, 0] = 1
    seen[reach:, :, 1 : 1 + d] = trains.transpose(1, 0, 2)
    layers = np.array(circuit.layers)
    groups = [np.flatnonzero(layers == layer) for layer in range(layers.max() + 1)]
    inner = weights[0, :, 1 + d :]
    lines = [k for k in range(reach + 1) if weights[k].any()]
    u: np.ndarray = np.zeros((batch, n), dtype=dtype)
    for t in range(reach, reach + steps):
        drive: np.ndarray = np.zeros((batch, n), dtype=dtype)
        for k in lines:  # of this step's spikes only the inputs' are there yet
            drive += seen[t - k] @ weights[k].T
        v = beta * u + drive
        if circuit.reset == "soft_next":
            v -= seen[t - 1, :, 1 + d :] if t > 0 else 0
        for layer, group in enumerate(groups):
            if layer:
                v[:, group] += seen[t, :, 1 + d :] @ inner[group].T
            seen[t][:, 1 + d + group] = v[:, group] > 1
        spikes = seen[t, :, 1 + d :]
        u = v - spikes if circuit.reset == "soft" else v * (1 - spikes) if circuit.reset == "hard" else v
    return seen[reach:, :, 1 + d :].transpose(1, 0, 2).astype(bool)


def outputs(circuit: SpikingCircuit, trains: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Return the outputs [B, T, outputs] for ``trains`` [B, T, d], moved back by the latency.

    Raises InputError: they are no trains of the circuit's lines.
    """
    trains = trains_of(trains, circuit.lines)
    silence = np.zeros((len(trains), circuit.latency, trains.shape[2]), dtype=trains.dtype)
    padded = np.concatenate([trains, silence], 1)
    spikes = simulate(circuit, padded, dtype)
    return spikes[:, circuit.latency : circuit.latency + trains.shape[1], [neuron for _, neuron in circuit.outputs]]
