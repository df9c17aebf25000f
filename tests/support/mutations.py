"""A fuzzer of bundles: small damage to their files, with and without checksums that were repaired afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from homeo_rl.storage import bundle

Blobs = dict[str, bytes]

NAMES = ("tensors.safetensors", "document.json", "manifest.json")

_CURIOUS = (
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"-", b"1e999", b"NaN", b"true", b"null", b"\0", b"\xff",
    b"9" * 70, b"\\ud800", b"F16", b"F64", b"I64", b"BOOL", b"U8", b"__metadata__", b"[[[[", b"18446744073709551616",
)  # fmt: skip


def original(folder: Path) -> Blobs:
    """Save a small bundle of everything that a checkpoint has, and return its files."""
    rng = np.random.default_rng(0)
    tensors = {
        "weight": rng.normal(size=(4, 3)).astype(np.float32),
        "running_mean": rng.normal(size=3),
        "count": np.array(7.0),
        "half": np.array([0.5, -2.0], dtype=np.float16),
        "keys": rng.integers(0, 255, 9, dtype=np.uint8),
        "steps": np.array([1, -2, 3]),
        "done": np.array([True, False]),
        "empty": np.zeros((0, 5), dtype=np.float32),
    }
    document = {
        "controller": {"clip": 3.0, "low": [-1.0], "reflex": None},
        "state": 2**127 + 1,
        "names": ["a", "\u00e9"],
    }
    bundle.save(folder, tensors, document)
    return {name: (folder / name).read_bytes() for name in NAMES}


def read(blobs: Blobs) -> tuple[dict[str, np.ndarray], object]:
    """Load a bundle from memory, through what reads it from files."""
    return bundle.read_bundle({name: io.BytesIO(blob) for name, blob in blobs.items()}, Path("mutant"))


def mutant(blobs: Blobs, rng: random.Random) -> tuple[Blobs, bool]:
    """Return a damaged bundle, and whether its checksums were repaired."""
    changed = dict(blobs)
    name = rng.choices(NAMES, (5, 3, 2))[0]
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        changed[name] = rng.choice(CHANGES)(changed[name], rng)
    repaired = name != "manifest.json" and rng.random() < 0.5
    if repaired:
        files = {
            one: {"bytes": len(changed[one]), "sha256": hashlib.sha256(changed[one]).hexdigest()} for one in NAMES[:2]
        }
        changed["manifest.json"] = json.dumps({"format": "homeo-rl bundle 1", "files": files}).encode()
    return changed, repaired


def _flip(blob: bytes, rng: random.Random) -> bytes:
    if not blob:
        return blob
    result = bytearray(blob)
    for _ in range(rng.choice((1, 1, 2, 8))):
        result[rng.randrange(len(result))] ^= 1 << rng.randrange(8)
    return bytes(result)


def _insert(blob: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(blob))
    return blob[:at] + rng.randbytes(rng.randint(1, 9)) + blob[at:]


def _insert_curious(blob: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(blob))
    return blob[:at] + rng.choice(_CURIOUS) + blob[at + rng.choice((0, 0, 1, 4)) :]


def _delete(blob: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(blob))
    return blob[:at] + blob[at + rng.randint(1, 9) :]


def _cut(blob: bytes, rng: random.Random) -> bytes:
    return blob[: rng.randint(0, len(blob))]


def _swap(blob: bytes, rng: random.Random) -> bytes:
    a, b, c = sorted(rng.randint(0, len(blob)) for _ in range(3))
    return blob[:a] + blob[b:c] + blob[a:b] + blob[c:]


def _double(blob: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randint(0, len(blob)) for _ in range(2))
    return blob[:b] + blob[a:b] + blob[b:]


def _length(blob: bytes, rng: random.Random) -> bytes:
    """Change the first eight bytes: the length of the table."""
    length = int.from_bytes(blob[:8], "little") + rng.choice((-8, -1, 1, 8, 1 << 20, 1 << 60))
    return (length % (1 << 64)).to_bytes(8, "little") + blob[8:]


def _number(blob: bytes, rng: random.Random) -> bytes:
    """Change one of the numbers that are written as text: shapes, offsets, sizes, values."""
    places = list(re.finditer(rb"\d+", blob[:2000]))
    if not places:
        return blob
    place = rng.choice(places)
    number = int(place.group()) + rng.choice((-4, -1, 1, 4, 1 << 33))
    return blob[: place.start()] + str(number).encode() + blob[place.end() :]


def _word(blob: bytes, rng: random.Random) -> bytes:
    """Put one text of the file in the place of another."""
    places = list(re.finditer(rb'"[^"]*"', blob[:2000]))
    if len(places) < 2:
        return blob
    place, other = rng.choice(places), rng.choice(places)
    return blob[: place.start()] + other.group() + blob[place.end() :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _insert, _insert_curious, _delete, _cut, _swap, _double, _length, _number, _number, _word,
)  # fmt: skip
