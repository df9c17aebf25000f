"""Tensors in the format that ``torch.save`` wrote before torch 1.6: five programs, then the numbers one after another.

Nothing is executed: the program of the dict is followed by `torch_program`, of the others only the list of storages is
read, text by text.
"""

import io
import pickletools
from pathlib import Path

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.storage import files, torch_pickle
from homeo_rl.storage.torch_archive import array_of
from homeo_rl.storage.torch_pickle import Entry, require

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
"""How such a file begins: torch's number for it, and its version 1001."""

MAX_FILE = 32 << 20

_COUNT = 8  # bytes before the numbers of a storage that say how many there are


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Return all tensors of a file by their names.

    Raises StorageFault: it is no such file, holds anything else than a flat dict of tensors, or was damaged.
    """
    with files.open_regular(path, MAX_FILE) as file:
        data = file.readall()
    try:
        require(data.startswith(MAGIC), "a file of torch")
        _, begin = _program(data, len(MAGIC))  # of the machine that wrote it
        program, begin = _program(data, begin)
        entries = torch_pickle.entries_of(program, str(path))
        keys, begin = _program(data, begin)
        storages = _storages(data[begin:], _texts(keys), entries)
        return {name: array_of(entry, storages[entry.storage.key]) for name, entry in entries.items()}
    except ValueError as error:
        raise StorageFault(f"{path}: not tensors that torch saved ({files.printable(error)})") from None


def _program(data: bytes, begin: int) -> tuple[bytes, int]:
    part = io.BytesIO(data[begin : begin + torch_pickle.MAX_BYTES])
    for count, _ in enumerate(pickletools.genops(part)):
        require(count < torch_pickle.MAX_STEPS, f"at most {torch_pickle.MAX_STEPS} instructions")
    return part.getvalue()[: part.tell()], begin + part.tell()


def _texts(program: bytes) -> list[str]:
    texts = []
    for code, argument, _ in pickletools.genops(program):
        if code.name == "BINUNICODE":
            texts.append(str(argument))
        else:
            known = code.name in ("PROTO", "EMPTY_LIST", "BINPUT", "LONG_BINPUT", "MARK", "APPEND", "APPENDS", "STOP")
            require(known, "a list of storages")
    return texts


def _storages(data: bytes, keys: list[str], entries: dict[str, Entry]) -> dict[str, np.ndarray]:
    """Return the bytes of every storage, in the order in which they lie there."""
    kinds = {entry.storage.key: entry.storage for entry in entries.values()}
    require(len(keys) == len(set(keys)) and set(keys) == set(kinds), "every storage once")
    storages, begin = {}, 0
    for key in keys:
        size = kinds[key].size * kinds[key].dtype.itemsize
        count = int.from_bytes(data[begin : begin + _COUNT], "little")
        begin += _COUNT
        require(count == kinds[key].size and begin + size <= len(data), "as many numbers as it says")
        storages[key] = np.frombuffer(data[begin : begin + size], np.uint8)
        begin += size
    require(begin == len(data), "nothing behind the numbers")
    require(all(entry.storage == kinds[entry.storage.key] for entry in entries.values()), "one type a storage")
    require(sum(entry.size for entry in entries.values()) <= len(data), "tensors that do not lie over each other")
    return storages
