"""The process that opens an untrusted HDF5 file; see `homeo_rl.exchange.hdf5`.

A file can point to other files (external links, external and virtual data), ask for a filter that is loaded as a
library, hold one object under many names or inside itself, and declare data of any size. All of that is refused before
anything of it is read.
"""

import io
import json
import math
import resource
import sys
from typing import Any

import h5py
import numpy as np
import safetensors.numpy

MAX_BYTES, MODEST, MAX_RATIO = 1 << 30, 64 << 20, 200
"""Data of all objects; more than a modest size must not be more than so many times the file."""

_MAX_MEMORY = 4 << 30
_MAX_OBJECTS, _MAX_DEPTH, _MAX_NAME, _MAX_AXES, _MAX_TEXTS = 10_000, 12, 200, 4, 40_000

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
"""Those that come with h5py; others may be libraries."""

# What h5py raises for bytes that are no HDF5, or not what their headers say.
_BROKEN = (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class Refused(Exception):
    """The file is beyond the limits."""


def main() -> None:
    """Read a file from standard input, and write what it holds to standard output."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))


def answer(blob: bytes) -> bytes:
    """Return what a file holds: the length of a JSON text, the text, and a safetensors file."""
    tree, arrays = walk(blob)
    text = json.dumps(tree).encode()
    return len(text).to_bytes(8, "little") + text + safetensors.numpy.save(arrays)


def walk(blob: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what a file holds as a tree in plain JSON, or why it is refused, and the arrays that it names."""
    looking = _Walk(max(MODEST, min(MAX_BYTES, MAX_RATIO * len(blob))))
    try:
        with h5py.File(io.BytesIO(blob), "r") as file:
            return {"tree": looking.group(file, "", 0)}, looking.arrays
    except Refused as refused:
        fault = str(refused)
    except UnicodeDecodeError:
        fault = "a text in it is not UTF-8"
    except _BROKEN as error:
        fault = f"cannot be read as HDF5 ({' '.join(str(error).split())[:200] or type(error).__name__})"
    return {"fault": fault}, {}


class _Walk:
    """Counts what was met, of which at most ``most`` bytes are accepted."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.arrays: dict[str, np.ndarray] = {}
        self.seen: set[int] = set()
        self.texts = self.bytes = 0

    def group(self, group: Any, name: str, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise Refused(f"{name} lies more than {_MAX_DEPTH} groups deep")
        if len(group) + len(self.seen) > _MAX_OBJECTS:
            raise Refused(f"{name or 'the file'} holds more than the {_MAX_OBJECTS} objects that are accepted")
        children = {}
        for key in group:
            inner = f"{name}/{key}"
            if len(key) > _MAX_NAME:
                raise Refused(f"a name in {name or 'the file'} has more than {_MAX_NAME} letters")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise Refused(f"{inner} is a link to somewhere else")
            child = group[key]
            address = h5py.h5o.get_info(child.id).addr
            if address in self.seen:
                raise Refused(f"{inner} is there twice, under another name")
            self.seen.add(address)
            if isinstance(child, h5py.Group):
                children[key] = self.group(child, inner, depth + 1)
            elif isinstance(child, h5py.Dataset):
                children[key] = self._data(child, inner)
            else:
                raise Refused(f"{inner} is neither a group nor data")
        return {"kind": "group", "value": children}

    def _data(self, data: Any, name: str) -> dict[str, Any]:
        plan = data.id.get_create_plist()
        if data.is_virtual or plan.get_external_count():
            raise Refused(f"{name} has its data in other files")
        if {plan.get_filter(i)[0] for i in range(plan.get_nfilters())} - set(_FILTERS):
            raise Refused(f"{name} is packed by a filter other than {', '.join(_FILTERS.values())}")
        if data.shape is None or len(data.shape) > _MAX_AXES:
            raise Refused(f"{name} has no shape of at most {_MAX_AXES} axes")
        text = h5py.check_string_dtype(data.dtype) is not None
        if not text and (data.dtype.kind not in "fiu" or data.dtype.itemsize > 8):
            raise Refused(f"{name} holds neither numbers nor texts ({data.dtype})")
        count = math.prod(data.shape)
        self._count(max(count, 1) * data.dtype.itemsize, name)
        if text:
            return self._texts(data, count, name)
        values = np.asarray(data[()])
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise Refused(f"{name} holds NaN or infinity")
        key = str(len(self.arrays))
        self.arrays[key] = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")).reshape(values.shape)
        return {"kind": "array", "value": key}

    def _texts(self, data: Any, count: int, name: str) -> dict[str, Any]:
        """Read texts one by one: many may share the bytes of one in the file."""
        self.texts += count
        if self.texts > _MAX_TEXTS:
            raise Refused(f"{name} brings the texts to more than the {_MAX_TEXTS} that are accepted")
        texts = []
        for index in np.ndindex(data.shape):
            value = data[index]
            value = value if isinstance(value, bytes) else str(value).encode()
            self._count(len(value), name)
            texts.append(value.decode("utf-8"))
        if data.shape == ():
            return {"kind": "text", "value": texts[0]}
        return {"kind": "texts", "value": texts, "shape": list(data.shape)}

    def _count(self, size: int, name: str) -> None:
        self.bytes += size
        if self.bytes > self.most:
            raise Refused(f"{name} brings the data to more than the {self.most:,} bytes that are accepted")


if __name__ == "__main__":
    main()
