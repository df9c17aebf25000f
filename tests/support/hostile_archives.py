"""Zip and numpy archives that want to do harm, made on the spot: each maker writes the path that it is given."""

from __future__ import annotations

import io
import itertools
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Maker = Callable[[Path], object]
Change = Callable[[bytes], bytes]

SMALL = {"data": b'{"gamma": 0.99}', "policy.pth": b"PK", "_stable_baselines3_version": b"2.9.2"}
"""What is taken for a zip of Stable-Baselines3."""


def make_zip(
    members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, change: Change = lambda blob: blob
) -> Maker:
    """Write an archive of these members; ``change`` is applied to its bytes."""

    def make(path: Path) -> None:
        out = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
            warnings.simplefilter("ignore")  # a name twice
            for name, blob in members.items():
                archive.writestr(name.removesuffix("#"), blob)
        path.write_bytes(change(out.getvalue()))

    return make


def sb3(data: bytes, **more: bytes) -> Maker:
    return make_zip({**SMALL, "data": data, **more})


def npz(**members: bytes) -> Maker:
    return make_zip({f"{name}.npy": blob for name, blob in members.items()})


def npy(head: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    """Return an array file with this head, whatever it says."""
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(head) if length is None else length) + head + data


def head(descr: object = "<f4", shape: object = (1,), order: object = False) -> bytes:
    return repr({"descr": descr, "fortran_order": order, "shape": shape}).encode() + b"\n"


def unpacks(size: int) -> Change:
    """Say that the first member unpacks to ``size`` bytes, in both places where an archive says it."""

    def change(blob: bytes) -> bytes:
        local, central, sizes = 22, blob.index(b"PK\x01\x02") + 24, struct.pack("<I", size)
        return blob[:local] + sizes + blob[local + 4 : central] + sizes + blob[central + 4 :]

    return change


def overlap(blob: bytes) -> bytes:
    """Let all members begin where the first one does."""
    result, at = bytearray(blob), blob.find(b"PK\x01\x02")
    while at >= 0:
        result[at + 42 : at + 46] = bytes(4)
        at = blob.find(b"PK\x01\x02", at + 4)
    return bytes(result)


def encrypt(blob: bytes) -> bytes:
    """Say that the first member is encrypted."""
    result = bytearray(blob)
    result[6] |= 1
    result[blob.index(b"PK\x01\x02") + 8] |= 1
    return bytes(result)


def at_end(offset: int, number: int) -> Change:
    """Write a number into the record at the end of an archive."""

    def change(blob: bytes) -> bytes:
        at = blob.rindex(b"PK\x05\x06") + offset
        return blob[:at] + struct.pack("<I", number) + blob[at + 4 :]

    return change


def flip(blob: bytes) -> bytes:
    """Damage the first member's bytes."""
    at = 30 + len("data") + 5
    return blob[:at] + bytes([blob[at] ^ 0xFF]) + blob[at + 1 :]


def link(path: Path) -> None:
    make_zip(SMALL)(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(10 << 30)


def objects(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.array([{}, os.mkdir], dtype=object))


DEEP = b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000

ARCHIVES: dict[str, Maker] = {
    # Stable-Baselines3 zips whose data are hostile.
    "sb3: deep data": sb3(DEEP),
    "sb3: a key twice": sb3(b'{"gamma": 1, "gamma": 2}'),
    "sb3: NaN": sb3(b'{"gamma": NaN}'),
    "sb3: list": sb3(b"[]"),
    "sb3: not UTF-8": sb3(b'{"gamma": "\xff"}'),
    "sb3: half a surrogate pair": sb3(b'{"gamma": "\\udfff"}'),
    "sb3: a number of 4000 digits": sb3(b'{"gamma": ' + b"9" * 4000 + b"}"),
    "sb3: 300 MB of spaces": sb3(b"{" + b" " * 300_000_000 + b"}"),
    "sb3: 20 MB of spaces": sb3(b"{" + b" " * 20_000_000 + b"}"),
    "sb3: 1 MB of version": sb3(b"{}", _stable_baselines3_version=bytes(1_000_000)),
    # Archives that lie.
    "told too small": make_zip({"data": b"x" * 1_000_000, "policy.pth": b""}, change=unpacks(10)),
    "told a little too small": make_zip(SMALL, change=unpacks(14)),
    "told too large": make_zip(SMALL, change=unpacks(1000)),
    "told 4 GB": make_zip(SMALL, change=unpacks(0xFFFFFFF0)),
    "all members in one place": make_zip(SMALL, change=overlap),
    "encrypted": make_zip(SMALL, change=encrypt),
    "packed by lzma": make_zip(SMALL, method=zipfile.ZIP_LZMA),
    "packed by bzip2": make_zip(SMALL, method=zipfile.ZIP_BZIP2),
    "a flipped byte": make_zip(SMALL, change=flip),
    "cut": make_zip(SMALL, change=lambda blob: blob[: len(blob) // 2]),
    "cut by a byte": make_zip(SMALL, change=lambda blob: blob[:-1]),
    "only a beginning": lambda path: path.write_bytes(b"PK\x03\x04"),
    "a beginning and rubbish": lambda path: path.write_bytes(b"PK\x03\x04" + os.urandom(5000)),
    "empty archive": make_zip({}),
    "a list of members of 3 GB": make_zip(SMALL, change=at_end(12, 3 << 30)),
    "a list of members of 4 GB": make_zip(SMALL, change=at_end(12, 0xFFFFFFFF)),
    "members beyond the file": make_zip(SMALL, change=at_end(16, 0xFFFFFFF0)),
    "a name twice": make_zip({**SMALL, "data#": b"{}"}),
    "2000 members": make_zip({**SMALL, **{f"m{i}": b"" for i in range(2000)}}),
    "30000 members": make_zip({**SMALL, **{f"m{i}": b"" for i in range(30_000)}}, method=zipfile.ZIP_STORED),
    "other members": make_zip({"readme.txt": b"hello"}),
    "linked": link,
    "pipe": lambda path: os.mkfifo(path),
    "10 GB": sparse,
    "no archive": lambda path: path.write_bytes(b"hello"),
    "empty file": lambda path: path.write_bytes(b""),
    # Numpy archives.
    "npz: objects": objects,
    "npz: objects in a field": npz(x=npy(head([("a", "<f4"), ("b", "|O")]), bytes(12))),
    "npz: a pickle": npz(x=b"\x80\x04K\x01."),
    "npz: nothing": npz(x=b""),
    "npz: a head of 4 GB": npz(x=npy(head(), version=(2, 0), length=0xFFFFFFFF)),
    "npz: a head of 300 MB": npz(x=npy(b" " * 300_000_000, version=(2, 0))),
    "npz: deep head": npz(x=npy(b"(" * 4000)),
    "npz: signs in the head": npz(x=npy(b"-" * 4000 + b"1")),
    "npz: a call in the head": npz(x=npy(b"__import__('os').mkdir('executed')")),
    "npz: a list as head": npz(x=npy(b"[1]")),
    "npz: an axis of 1e9": npz(x=npy(head(shape=(10**9,)))),
    "npz: axes that overflow": npz(x=npy(head(shape=(2**62, 2**62)))),
    "npz: a negative axis": npz(x=npy(head(shape=(-1,)))),
    "npz: axes that are true": npz(x=npy(head(shape=(True,)), bytes(4))),
    "npz: an unknown dtype": npz(x=npy(head("<q9"))),
    "npz: a dtype of 1e12 bytes": npz(x=npy(head("V1000000000000"))),
    "npz: too few bytes": npz(x=npy(head(shape=(2,)), bytes(4))),
    "npz: unknown version": npz(x=npy(head(), bytes(4), version=(9, 9))),
}
"""Archives that `homeo-rl inspect` refuses."""

ARRAYS: dict[str, Maker] = {
    "200 MB of zeros": npz(x=npy(head(shape=(50_000_000,)), bytes(200_000_000))),
    "40 MB": make_zip({"x.npy": npy(head(shape=(10_000_000,)), bytes(40_000_000))}, method=zipfile.ZIP_STORED),
    "900 arrays": npz(**{f"x{i}": npy(head(), bytes(4)) for i in range(900)}),
    "signs in a name": npz(**{"\x1b[2J": npy(head(), bytes(4))}),
    "numbers for a weight": npz(w0=npy(head("<i4"), bytes(4)), b0=npy(head("<i4"), bytes(4))),
    "a shape of 2^62 and 0": npz(w0=npy(head(shape=(2**62, 0)))),
    "a damaged array": make_zip({"w0.npy": npy(head(), bytes(4))}, change=flip),
    **ARCHIVES,
}
"""Files that `homeo-rl import san` refuses."""


def popsan(**changes: np.ndarray) -> Maker:
    """Write a small PopSAN actor for HalfCheetah with some other arrays; a dot in a name is written ``__``."""
    widths, arrays = (170, 8, 6, 60), {}
    for layer, (inputs, outputs) in zip(
        ("hidden_layers.0", "hidden_layers.1", "out_pop_layer"), itertools.pairwise(widths), strict=True
    ):
        arrays |= {f"snn.{layer}.weight": np.ones((outputs, inputs)), f"snn.{layer}.bias": np.ones(outputs)}
    arrays |= {f"encoder.{name}": np.ones((1, 17, 10)) for name in ("mean", "std")}
    arrays |= {"decoder.decoder.weight": np.ones((6, 1, 10)), "decoder.decoder.bias": np.ones(6)}
    arrays |= {"obs_mean": np.zeros(17), "obs_var": np.ones(17)}
    arrays |= {name.replace("__", "."): array for name, array in changes.items()}
    return lambda path: path.write_bytes(_npz(arrays))


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


_WIDE = {f"snn__hidden_layers__{i}__bias": np.ones(65_536, np.float32) for i in (0, 1)}

POPSAN: dict[str, Maker] = {
    "a network of 17 GB": popsan(**_WIDE),
    "and its weights of one column": popsan(**_WIDE, snn__hidden_layers__1__weight=np.ones((65_536, 1), np.float32)),
    "a bias without axes": popsan(snn__hidden_layers__0__bias=np.array(1.0)),
    "weights without axes": popsan(snn__hidden_layers__0__weight=np.array(1.0)),
    "too large for float32": popsan(decoder__decoder__bias=np.full(6, 1e300)),
    "NaN": popsan(obs_mean=np.full(17, np.nan)),
    "whole numbers": popsan(snn__hidden_layers__0__weight=np.ones((8, 170), int)),
    "texts": popsan(obs_mean=np.array(["x"] * 17)),
}
"""Files that `homeo-rl import popsan` refuses."""
