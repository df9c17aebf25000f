"""ANN-to-SNN conversion that is exact: networks with QCFS activations become spiking networks (PASCAL)."""

from homeo_rl.conversion.pascal import FORMS, Converted, Form
from homeo_rl.conversion.replace import Replacement, with_qcfs
from homeo_rl.snn.qcfs import QCFS, fit_thetas
from homeo_rl.snn.spike_accumulation import NEURONS, Neuron

__all__ = [
    "FORMS",
    "NEURONS",
    "QCFS",
    "Converted",
    "Form",
    "Neuron",
    "Replacement",
    "fit_thetas",
    "with_qcfs",
]
