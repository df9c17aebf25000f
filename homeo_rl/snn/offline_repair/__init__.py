"""Offline repairs of a damaged network, a file each; `REPAIRS` names them by the form of the mechanism."""

from collections.abc import Callable

from homeo_rl.snn.offline_repair.competition import compete
from homeo_rl.snn.offline_repair.layerwise import repair_layerwise
from homeo_rl.snn.offline_repair.plain import finetune, refit_currents, write_copy
from homeo_rl.snn.offline_repair.request import Repair, RepairRequest

REPAIRS: dict[str, Callable[[RepairRequest], Repair]] = {
    "best": compete,
    "delta": repair_layerwise,
    "bias": repair_layerwise,
    "gain": repair_layerwise,
    "none": repair_layerwise,
    "copy": write_copy,
    "ridge": refit_currents,
    "finetune": finetune,
}
"""A new repair is a file here and a row."""
