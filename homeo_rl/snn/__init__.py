"""Spiking networks: encoders, neurons, read-outs, and the network that joins them, with state in and out."""

from homeo_rl.snn.encoders import BernoulliEncoder, CurrentEncoder, PopulationEncoder, build_encoder
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.readouts import build_readout
from homeo_rl.snn.reference import forward_stepwise
from homeo_rl.snn.state import LayerWeights, NetworkState, Weights
from homeo_rl.snn.surrogates import spike

__all__ = [
    "BernoulliEncoder",
    "CurrentEncoder",
    "LayerWeights",
    "Membrane",
    "NetworkState",
    "PopulationEncoder",
    "SpikingNetwork",
    "Weights",
    "build_encoder",
    "build_readout",
    "forward_stepwise",
    "spike",
]
