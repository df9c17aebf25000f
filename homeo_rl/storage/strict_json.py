"""Untrusted JSON: limits are checked on its bytes, before a parser builds anything of them.

Python's parser accepts NaN, duplicate keys, UTF-16, numbers that overflow to infinity and halves of surrogate pairs,
and gives up with a RecursionError where nesting is deep; here each of these is one `StorageFault`.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault


@dataclass(frozen=True)
class Limits:
    """How much is accepted: bytes, values (entries of lists and objects), lists and objects, their nesting."""

    size: int
    values: int
    containers: int
    depth: int = 64


SMALL = Limits(8 << 20, 300_000, 100_000)
"""Specifications and bundles: whatever such a file holds, reading it takes less than 100 MB and a second."""

LARGE = Limits(64 << 20, 4_000_000, 1_000_000)  # what evaluations write, which grows with the number of episodes
_MAX_DIGITS = 64  # of a whole number; the state of a random generator has 39

_MAX_FOREIGN = 1 << 20
"""Bytes of a text that is not ASCII (ours is); Python needs up to four for each of its signs, wherever they are."""

_STEPS = bytes({"[": 1, "{": 1, "]": 255, "}": 255}.get(chr(byte), 0) for byte in range(256))
_OTHERS = bytes(byte for byte in range(256) if not _STEPS[byte])

_LONE = re.compile(
    rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]", re.DOTALL
)
"""Half a surrogate pair: such a text cannot be printed or written."""


def decode(blob: bytes, where: Path | str, limits: Limits = SMALL) -> dict[str, Any]:
    """Return the JSON object that ``blob`` is the text of.

    Raises StorageFault: it is something else, or not strict: a key twice, NaN, infinity, too deep, too large.
    """
    if len(blob) > limits.size:
        raise StorageFault(f"{where}: {len(blob)} bytes; more than the {limits.size} that are accepted")
    try:
        _check(blob, limits)
        document = json.loads(
            blob.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
        )
    except (ValueError, RecursionError) as error:
        raise StorageFault(f"{where}: not readable as JSON ({error})") from None
    if not isinstance(document, dict):
        raise StorageFault(f"{where}: expected a JSON object, found a {type(document).__name__}")
    return document


def _check(blob: bytes, limits: Limits) -> None:
    """Count without parsing; up to the first thing that is not JSON, the counts are those of the parser."""
    if blob.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it begins with a byte order mark")
    if not blob.isascii() and len(blob) > _MAX_FOREIGN:
        raise ValueError(f"expected ASCII in a file of more than {_MAX_FOREIGN} bytes")
    escaped = blob.replace(rb"\\", b"__")
    if rb"\u" in escaped and _LONE.search(escaped):
        raise ValueError("half of a surrogate pair")
    escaped = escaped.replace(rb"\"", b"__")
    if escaped.count(b'"') > 4 * limits.values:
        raise ValueError(f"more than the {2 * limits.values} texts that are accepted")
    outside = b"".join(escaped.split(b'"')[::2])
    begun = outside.count(b"[") + outside.count(b"{")
    if begun > limits.containers:
        raise ValueError(f"{begun} lists and objects; more than the {limits.containers} that are accepted")
    if outside.count(b",") + begun > limits.values:
        raise ValueError(f"more than the {limits.values} values that are accepted")
    if outside.count(b"]") + outside.count(b"}") != begun:
        raise ValueError("its brackets do not match")
    nesting = np.frombuffer(outside.translate(_STEPS, _OTHERS), np.int8).cumsum(dtype=np.int64)
    if nesting.size and nesting.max() > limits.depth:
        raise ValueError(f"nested {nesting.max()} deep; more than the {limits.depth} that are accepted")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large for a number")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)
