"""PopSAN actors as the repository of its authors stores them (github.com/combra-lab/pop-spiking-deep-rl).

Its trainings leave two files: ``model0_e100.pt``, the actor's parameters as torch saves them, and beside it
``model0_e100_mean_var.p``, a list of the mean and the variance of observations. Neither is executed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homeo_rl import files, torch_archive
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.numpy_program import read_array_list
from homeo_rl.torch_legacy import MAGIC, MAX_FILE, read_legacy

SUFFIXES = (".pt", ".pth")


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return the parameters by upstream's names, and ``obs_mean`` and ``obs_var``.

    Raises:
        UsageError: one of the files is missing, damaged or hostile, or something else.
    """
    statistics = path.with_name(f"{path.stem}_mean_var.p")
    for file, what in ((path, "the actor's parameters"), (statistics, "the statistics of its observations")):
        if not file.is_file():
            raise UsageError(f"{file}: expected {what}, found none; upstream stores both files side by side")
    try:
        arrays = _read_tensors(path)
        listed = read_array_list(statistics)
        if len(listed) != 2 or listed[0].shape != listed[1].shape or listed[0].ndim != 1:
            raise StorageFault(f"{statistics}: expected a mean and a variance, found {[a.shape for a in listed]}")
    except StorageFault as fault:
        raise UsageError(f"{fault}; expected a checkpoint of PopSAN as its authors' code stores it") from None
    return {**arrays, "obs_mean": listed[0], "obs_var": listed[1]}


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    with files.opened(path, MAX_FILE) as file:
        head = file.read(len(MAGIC))
    if head == MAGIC:
        return read_legacy(path)
    with torch_archive.opened_file(path) as archive:
        return archive.read(archive.entries)
