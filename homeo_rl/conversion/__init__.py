"""ANN-to-SNN conversion that is exact: networks with QCFS activations become spiking networks (PASCAL)."""

from homeo_rl.conversion.pascal import FORMS, NEURONS, Converted, Form, Neuron
from homeo_rl.conversion.replace import Replacement, fit_thetas, with_qcfs

__all__ = ["FORMS", "NEURONS", "Converted", "Form", "Neuron", "Replacement", "fit_thetas", "with_qcfs"]
