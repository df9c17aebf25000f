"""The compiler: from a spike function to a spiking network, with what it costs and what is known about its cost."""

from dataclasses import dataclass

import numpy as np

from homeo_rl.compiler.bounds import Bounds, bounds_of
from homeo_rl.compiler.circuit import Circuit
from homeo_rl.compiler.lowering import Neurons, SpikingCircuit, lower
from homeo_rl.compiler.objective import Objective
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.synthesis import synthesise
from homeo_rl.errors import UsageError
from homeo_rl.spec import RecurrentSpec


@dataclass(frozen=True)
class Compiled:
    """A specification and what became of it."""

    function: SpikeFunction
    gates: Circuit
    network: SpikingCircuit
    bounds: Bounds

    @property
    def recurrent(self) -> RecurrentSpec:
        """The network's shape, for `homeo_rl.snn.recurrent`."""
        net = self.network
        taps = sorted({(s.delay, s.pre) for s in net.synapses})
        return RecurrentSpec(
            lines=len(net.lines),
            neurons=net.neurons,
            taps=tuple((pre, delay) for delay, pre in taps),
            layers=net.layers,
            outputs=tuple(neuron for _, neuron in net.outputs),
            beta=float(net.beta),
            reset=net.reset,
            latency=net.latency,
        )

    def weight(self) -> np.ndarray:
        """Return the weights [N, K] over the taps of `recurrent`, in float32."""
        places = {tap: k for k, tap in enumerate(self.recurrent.taps)}
        result = np.zeros((self.network.neurons, len(places)), dtype=np.float32)
        for s in self.network.synapses:
            result[s.post, places[(s.pre, s.delay)]] = float(s.weight)
        return result


def compile_function(
    function: SpikeFunction, neurons: Neurons | None = None, *, minimise: str = "neurons", fuse: bool = True
) -> Compiled:
    """Compile ``function``.

    Args:
        fuse: whether several operations may become one gate; without it the network follows the specification.

    Raises:
        UsageError: the specification is too large, or has loops that the target cannot run.
    """
    neurons = neurons or Neurons()
    if minimise not in ("neurons", "weights"):
        raise UsageError(f"minimise: expected neurons or weights, got {minimise!r}")
    objective = Objective(
        minimise=minimise,
        banked=neurons.reset == "hard" and neurons.beta > 0,
        deep_loops=neurons.target == "layered",
        integrators=neurons.beta == 1 and neurons.reset != "hard",
        fuse=fuse,
    )
    gates = synthesise(function, objective)
    return Compiled(function, gates, lower(gates, neurons), bounds_of(function))
