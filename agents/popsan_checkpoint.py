"""PopSAN actors as the repository of its authors stores them (github.com/combra-lab/pop-spiking-deep-rl).

Its trainings leave two files: ``model0_e100.pt``, the actor's parameters as torch saves them, and beside it
``model0_e100_mean_var.p``, a list of the mean and the variance of observations. Neither is executed.
"""

from pathlib import Path

import numpy as np

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.storage import files, torch_archive
from homeo_rl.storage.pickle_outline import MAX_BYTES, array_of, outline
from homeo_rl.storage.torch_legacy import MAGIC, MAX_FILE, read_legacy

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
        listed = _read_statistics(statistics)
    except StorageFault as fault:
        raise UsageError(f"{fault}; expected a checkpoint of PopSAN as its authors' code stores it") from None
    return {**arrays, "obs_mean": listed[0], "obs_var": listed[1]}


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    with files.open_regular(path, MAX_FILE) as file:
        head = file.read(len(MAGIC))
    if head == MAGIC:
        return read_legacy(path)
    with torch_archive.open_file(path) as archive:
        return archive.read(archive.entries)


def _read_statistics(path: Path) -> list[np.ndarray]:
    with files.open_regular(path, MAX_BYTES) as file:
        made = outline(file.readall(), str(path))
    listed = [array_of(entry) for entry in made] if isinstance(made, list) else []
    arrays = [array for array in listed if array is not None and array.ndim == 1]
    if len(listed) != 2 or len(arrays) != 2 or arrays[0].shape != arrays[1].shape:
        raise StorageFault(f"{path}: expected a list of two arrays of one length, the mean and the variance")
    return arrays
