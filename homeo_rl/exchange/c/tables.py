"""Numbers as C text: constant arrays and the initialisers of structures."""

from collections.abc import Iterable, Mapping

import numpy as np

_PER_LINE = 8


def real(value: float) -> str:
    """Return a float32 as a C literal that reads back to the same bits."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def real_below(value: float) -> str:
    """Return the largest float32 that is not above ``value``, as a C literal: a bound that float32 numbers keep alike.

    A distance of one spike may be exactly a tolerance of the self-test.
    """
    nearest = np.float32(value)
    return real(float(nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf))))


class Tables:
    """Constant arrays of one C file; names of what is not there become null."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.bytes = 0

    def reals(self, name: str, values: np.ndarray | None, kind: str = "homeo_real") -> str:
        """Add an array of ``homeo_real``, ``float`` or ``double`` and return what a structure refers to it by."""
        if values is None:
            return "NULL"
        width = np.float64 if kind == "double" else np.float32
        flat = np.ascontiguousarray(values, dtype=width).ravel()
        self.bytes += flat.nbytes
        return self._add(kind, name, map(repr if kind == "double" else real, flat.tolist()), flat.size)

    def words(self, name: str, values: list[int]) -> str:
        """Add whole numbers of 64 bits."""
        self.bytes += 8 * len(values)
        return self._add("uint64_t", name, map(hex, values), len(values))

    def integers(self, name: str, values: np.ndarray | None, kind: str = "int32_t") -> str:
        """Add an array of integers of a C type and return what a structure refers to it by."""
        if values is None:
            return "NULL"
        flat = np.ascontiguousarray(values).ravel().tolist()
        self.bytes += len(flat) * (2 if kind == "int16_t" else 4)
        return self._add(kind, name, map(str, flat), len(flat))

    def bits(self, name: str, rows: np.ndarray | None) -> str:
        """Add rows [M, ...] of zeros and ones, eight a byte, the first in the lowest bit; each row begins a byte."""
        if rows is None:
            return "NULL"
        packed = np.packbits(rows.reshape(len(rows), -1).astype(bool), axis=1, bitorder="little").ravel()
        self.bytes += packed.size
        return self._add("uint8_t", name, map(str, packed.tolist()), packed.size)

    def cells(self, name: str, values: np.ndarray | None, bits: int) -> str:
        """Add whole numbers from 0 to 2^bits - 1, ``bits`` each without gaps, the lowest first."""
        if values is None:
            return "NULL"
        each = np.ascontiguousarray(values).astype(np.int64).reshape(-1, 1) >> np.arange(bits) & 1
        return self.bits(name, each.reshape(1, -1))

    def _add(self, kind: str, name: str, values: Iterable[str], count: int) -> str:
        name, listed = f"table_{name}", list(values)
        lines = (", ".join(listed[k : k + _PER_LINE]) for k in range(0, count, _PER_LINE))
        self.text.append(f"static const {kind} {name}[{count}] = {{\n    " + ",\n    ".join(lines) + "\n};\n")
        return name


def initialiser(fields: Mapping[str, str]) -> str:
    """Return a C99 initialiser with named fields."""
    return "{\n" + "".join(f"    .{name} = {value},\n" for name, value in fields.items()) + "}"


def matrix(name: str, values: np.ndarray, kind: str) -> str:
    """Return the text of a constant matrix of ``float`` or of a C type of integers."""
    rows = ",\n".join("    {" + ", ".join(map(real if kind == "float" else str, row)) + "}" for row in values.tolist())
    return f"static const {kind} {name}[{len(values)}][{values.shape[1]}] = {{\n{rows}\n}};\n"


def indent(text: str) -> str:
    """Return ``text`` with its lines moved to the right."""
    return "\n".join(f"    {line}" for line in text.splitlines())
