"""Files that want to do harm, made on the spot: each maker damages the run folder that it is given."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Maker = Callable[[Path], object]

TENSORS, DOCUMENT, MANIFEST = "tensors.safetensors", "document.json", "manifest.json"


class Canary:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def canary(run: Path) -> bytes:
    """Return a pickle that makes the folder ``executed`` beside the run."""
    return pickle.dumps(Canary(run.parent / "executed"))


def repair(bundle: Path) -> None:
    """Make the manifest tell the truth about whatever lies beside it."""
    files = {
        name: {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
        for name, blob in ((name, (bundle / name).read_bytes()) for name in (TENSORS, DOCUMENT))
    }
    (bundle / MANIFEST).write_text(json.dumps({"format": "homeo-rl bundle 1", "files": files}))


def pack(table: object, data: bytes = b"") -> bytes:
    """Return a safetensors file with this table, a text or what becomes one."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


def split(bundle: Path) -> tuple[dict[str, Any], bytes]:
    """Return the table and the data of a bundle's tensors."""
    blob = (bundle / TENSORS).read_bytes()
    length = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + length]), blob[8 + length :]


def replace_file(name: str, blob: bytes, *, honest: bool = False) -> Maker:
    """Put ``blob`` in place of a file of the policy; ``honest`` repairs the checksums."""

    def make(run: Path) -> None:
        (run / "policy" / name).write_bytes(blob)
        if honest:
            repair(run / "policy")

    return make


def tensors(blob: bytes) -> Maker:
    return replace_file(TENSORS, blob, honest=True)


def table(change: Callable[[dict[str, Any]], object], *, behind: bytes = b"") -> Maker:
    """Change the table of the policy's tensors, and repair the checksums."""

    def make(run: Path) -> None:
        content, data = split(run / "policy")
        change(content)
        (run / "policy" / TENSORS).write_bytes(pack(content, data + behind))
        repair(run / "policy")

    return make


def entry(change: Callable[[dict[str, Any]], object]) -> Maker:
    """Change the entry of the first tensor in the data that is not empty."""
    return table(lambda content: change(min(content.values(), key=lambda one: one["data_offsets"])))


def document(change: Callable[[dict[str, Any]], object]) -> Maker:
    """Change the policy's document, and repair the checksums."""

    def make(run: Path) -> None:
        path = run / "policy" / DOCUMENT
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        repair(run / "policy")

    return make


def manifest(change: Callable[[dict[str, Any]], object]) -> Maker:
    def make(run: Path) -> None:
        path = run / "policy" / MANIFEST
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return make


def spec(change: Callable[[dict[str, Any]], object]) -> Maker:
    """Change run.json."""

    def make(run: Path) -> None:
        content = json.loads((run / "run.json").read_text())
        change(content)
        (run / "run.json").write_text(json.dumps(content))

    return make


def run_json(blob: bytes) -> Maker:
    return lambda run: (run / "run.json").write_bytes(blob)


def damage_file(name: str, change: Callable[[bytes], bytes]) -> Maker:
    def make(run: Path) -> None:
        path = run / "policy" / name
        path.write_bytes(change(path.read_bytes()))

    return make


def value(code: str, number: float) -> Maker:
    """Write a number over the first bytes of the data, and repair the checksums."""

    def make(run: Path) -> None:
        content, data = split(run / "policy")
        content, data = {"x": {"dtype": code, "shape": [1], "data_offsets": [0, 8]}}, struct.pack("<d", number)
        (run / "policy" / TENSORS).write_bytes(pack(content, data))
        repair(run / "policy")

    return make


def link(*parts: str) -> Maker:
    """Move a file or folder of the run away and leave a link to it."""

    def make(run: Path) -> None:
        path = run.joinpath(*parts)
        path.rename(run / "moved")
        path.symlink_to(run / "moved")

    return make


def make_pipe(*parts: str) -> Maker:
    """Put a pipe that nobody writes to in place of a file or folder."""

    def make(run: Path) -> None:
        path = run.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.mkfifo(path)

    return make


def listening(run: Path) -> None:
    path = run / "policy" / DOCUMENT
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path.name)
    finally:
        os.chdir(here)


def make_folder(*parts: str) -> Maker:
    def make(run: Path) -> None:
        path = run.joinpath(*parts)
        path.unlink()
        path.mkdir()

    return make


def sparse(size: int, *parts: str) -> Maker:
    """Grow a file to ``size`` bytes that take no place on the disk."""

    def make(run: Path) -> None:
        with run.joinpath(*parts).open("wb") as file:
            file.truncate(size)

    return make


def sparse_as_stated(run: Path) -> None:
    """Two gigabytes of zeros, of which the manifest knows."""
    sparse(2 << 30, "policy", TENSORS)(run)
    manifest(lambda content: content["files"][TENSORS].update(bytes=2 << 30))(run)


def torch_file(run: Path) -> None:
    torch.save(Canary(run.parent / "executed"), run / "policy" / TENSORS)
    repair(run / "policy")


def without(*parts: str) -> Maker:
    return lambda run: run.joinpath(*parts).unlink()


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def one(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4), **more: object) -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}}


_MANY = b"{" + b",".join(b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(200_000)) + b"}"
_X = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'

BUNDLES: dict[str, Maker] = {
    # Code in place of data.
    "pickle as manifest": lambda run: (run / "policy" / MANIFEST).write_bytes(canary(run)),
    "pickle as document": lambda run: replace_file(DOCUMENT, canary(run))(run),
    "pickle as document, honest": lambda run: replace_file(DOCUMENT, canary(run), honest=True)(run),
    "pickle as tensors": lambda run: replace_file(TENSORS, canary(run))(run),
    "pickle as tensors, honest": lambda run: tensors(canary(run))(run),
    "torch file as tensors, honest": torch_file,
    # Things that are no files.
    "linked folder": link("policy"),
    "linked older folder": lambda run: (link("policy")(run), (run / "policy").rename(run / "policy.old")),
    "linked manifest": link("policy", MANIFEST),
    "linked document": link("policy", DOCUMENT),
    "linked tensors": link("policy", TENSORS),
    "pipe as folder": make_pipe("policy"),
    "pipe as manifest": make_pipe("policy", MANIFEST),
    "pipe as tensors": make_pipe("policy", TENSORS),
    "socket as document": listening,
    "folder as tensors": make_folder("policy", TENSORS),
    "folder as manifest": make_folder("policy", MANIFEST),
    "no manifest": without("policy", MANIFEST),
    "no document": without("policy", DOCUMENT),
    "no tensors": without("policy", TENSORS),
    # Sizes.
    "10 GB of tensors": sparse(10 << 30, "policy", TENSORS),
    "10 GB of document": sparse(10 << 30, "policy", DOCUMENT),
    "10 GB of manifest": sparse(10 << 30, "policy", MANIFEST),
    "2 GB of zeros, honest size": sparse_as_stated,
    "empty manifest": replace_file(MANIFEST, b""),
    "empty document, honest": replace_file(DOCUMENT, b"", honest=True),
    "empty tensors, honest": tensors(b""),
    "cut manifest": damage_file(MANIFEST, lambda blob: blob[: len(blob) // 2]),
    "cut document": damage_file(DOCUMENT, lambda blob: blob[:-1]),
    "cut tensors": damage_file(TENSORS, lambda blob: blob[:-1]),
    "longer tensors": damage_file(TENSORS, lambda blob: blob + b"\0"),
    "flipped bit": damage_file(TENSORS, lambda blob: blob[:-1] + bytes([blob[-1] ^ 1])),
    "flipped bit of the table": damage_file(TENSORS, lambda blob: blob[:20] + bytes([blob[20] ^ 1]) + blob[21:]),
    # Manifests.
    "manifest of other names": manifest(lambda content: content["files"].update({"x": content["files"].pop(TENSORS)})),
    "manifest of more names": manifest(lambda content: content["files"].update({"../../x": content["files"][TENSORS]})),
    "manifest with another key": manifest(lambda content: content.update(note="")),
    "manifest of another format": manifest(lambda content: content.update(format="homeo-rl bundle 2")),
    "manifest with a size that is true": manifest(lambda content: content["files"][DOCUMENT].update(bytes=True)),
    "manifest with a negative size": manifest(lambda content: content["files"][DOCUMENT].update(bytes=-1)),
    "manifest with a list for a hash": manifest(lambda content: content["files"][DOCUMENT].update(sha256=[])),
    "manifest with another hash": manifest(lambda content: content["files"][DOCUMENT].update(sha256="0" * 64)),
    "manifest with lists": manifest(lambda content: content.update(files=[TENSORS, DOCUMENT])),
    # JSON.
    "deep manifest": replace_file(MANIFEST, deep(5000)),
    "deep document, honest": replace_file(DOCUMENT, deep(1_000_000), honest=True),
    "50000 nested lists, honest": replace_file(DOCUMENT, b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", honest=True),
    "unclosed document, honest": replace_file(DOCUMENT, b"[" * 8_000_000, honest=True),
    "a key twice in the manifest": replace_file(MANIFEST, b'{"format": 1, "format": 2}'),
    "a key twice in the document, honest": replace_file(DOCUMENT, b'{"a": {"b": 1, "\\u0062": 2}}', honest=True),
    "300000 keys and one twice, honest": replace_file(
        DOCUMENT, b'{"a":1,' + b",".join(b'"k%d":%d.5' % (i, i) for i in range(299_000)) + b',"a":2}', honest=True
    ),
    "a million values, honest": replace_file(DOCUMENT, b'{"a":[' + b"1," * 1_000_000 + b"1]}", honest=True),
    "emoji in 8 MB, honest": replace_file(DOCUMENT, b'{"a":"' + b"a" * 8_000_000 + b'\\ud83d\\ude00"}x', honest=True),
    "not ASCII in 8 MB, honest": replace_file(
        DOCUMENT, b'{"a":"' + "\U0001f600".encode() * 2_000_000 + b'"}', honest=True
    ),
    "NaN in the manifest": replace_file(MANIFEST, b'{"a": NaN}'),
    "infinity in the document, honest": replace_file(DOCUMENT, b'{"a": -Infinity}', honest=True),
    "1e999 in the document, honest": replace_file(DOCUMENT, b'{"a": 1e999}', honest=True),
    "a number of 8 MB, honest": replace_file(DOCUMENT, b'{"a": ' + b"9" * 8_000_000 + b"}", honest=True),
    "a number of 4000 digits, honest": replace_file(DOCUMENT, b'{"a": ' + b"9" * 4000 + b"}", honest=True),
    "byte order mark": replace_file(MANIFEST, b'\xef\xbb\xbf{"format": 1}'),
    "UTF-16": replace_file(DOCUMENT, '{"a": 1}'.encode("utf-16"), honest=True),
    "not UTF-8, honest": replace_file(DOCUMENT, b'{"a": "\xff\xfe"}', honest=True),
    "half a surrogate pair, honest": replace_file(DOCUMENT, b'{"a": "\\ud800"}', honest=True),
    "zero byte, honest": replace_file(DOCUMENT, b'{"a": "\0"}', honest=True),
    "list as document, honest": replace_file(DOCUMENT, b"[1]", honest=True),
    "text behind the document, honest": replace_file(DOCUMENT, b"{} {}", honest=True),
    # Tables of tensors, all with honest checksums.
    "a table of 2^60 bytes": tensors(struct.pack("<Q", 1 << 60) + b"{}"),
    "a table of 2^64 - 1 bytes": tensors(struct.pack("<Q", (1 << 64) - 1) + b"{}"),
    "a table longer than the file": tensors(struct.pack("<Q", 100) + b"{}"),
    "a table of no bytes": tensors(bytes(8)),
    "half a length": tensors(b"\x10\0\0"),
    "200000 tensors": tensors(pack(_MANY)),
    "30000 tensors": tensors(pack({f"t{i}": one(shape=(0,), offsets=(0, 0))["x"] for i in range(30_000)})),
    "20000 tensors, the last beyond the file": tensors(
        pack({f"t{i}": one(offsets=(4 * i, 4 * i + 4))["x"] for i in range(20_000)}, bytes(79_996))
    ),
    "deep table": tensors(pack(deep(10_000))),
    "list as table": tensors(pack(b"[]")),
    "NaN in the table": tensors(pack(b'{"x": NaN}')),
    "a tensor twice": tensors(pack(b'{"x":' + _X + b',"x":' + _X + b"}", bytes(4))),
    "a tensor that is a list": tensors(pack({"x": [1]})),
    "a tensor without a shape": tensors(pack({"x": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4))),
    "a tensor with a key too many": tensors(pack(one(code="x"), bytes(4))),
    "metadata": tensors(pack({"__metadata__": {"a": "b"}, **one()}, bytes(4))),
    "a name of 1000 signs": tensors(pack({"x" * 1000: one()["x"]}, bytes(4))),
    "unknown dtype": entry(lambda content: content.update(dtype="F128")),
    "complex dtype": tensors(pack(one("C64", (1,), (0, 8)), bytes(8))),
    "dtype that is a list": entry(lambda content: content.update(dtype=["F32"])),
    "negative offset": tensors(pack(one(offsets=(-4, 0)), bytes(4))),
    "offsets backwards": tensors(pack(one(offsets=(4, 0)), bytes(4))),
    "three offsets": tensors(pack(one(offsets=(0, 4, 8)), bytes(8))),
    "offset beyond the file": tensors(pack(one(shape=(2**30,), offsets=(0, 2**32)), bytes(4))),
    "offset of 2^63": tensors(pack(one(offsets=(2**63, 2**63 + 4)), bytes(4))),
    "offset 1.5": tensors(pack(one(offsets=(0.0, 4.0)), bytes(4))),
    "tensors over each other": tensors(pack({"x": one()["x"], "y": one(offsets=(2, 6))["x"]}, bytes(6))),
    "the same bytes twice": tensors(pack({"x": one()["x"], "y": one()["x"]}, bytes(4))),
    "a gap": tensors(pack({"x": one()["x"], "y": one(offsets=(8, 12))["x"]}, bytes(12))),
    "bytes behind the last": table(lambda content: None, behind=b"MZ"),
    "shape and bytes differ": entry(lambda content: content["shape"].append(2)),
    "negative shape": tensors(pack(one(shape=(-1, -1)), bytes(4))),
    "shape true": tensors(pack(one(shape=(True,)), bytes(4))),
    "shape of 2^62 and 0": tensors(pack(one(shape=(2**62, 0, 2**62), offsets=(0, 0)))),
    "shape that overflows": tensors(pack(one(shape=(2**32, 2**32), offsets=(0, 0)))),
    "a thousand axes": tensors(pack(one(shape=(1,) * 1000), bytes(4))),
    "NaN": value("F64", float("nan")),
    "infinity": value("F64", float("inf")),
    "NaN in half precision": tensors(pack(one("F16", (1,), (0, 2)), b"\x00\x7e")),
    "a truth value of 2": tensors(pack(one("BOOL", (1,), (0, 1)), b"\x02")),
}
"""Bundles that `checkpoint.load` refuses."""

POLICIES: dict[str, Maker] = {
    "no tensors at all": tensors(pack({})),
    "a tensor of another name": table(lambda content: content.update(__class__=content.pop("network.layers.0.weight"))),
    "weights turned around": table(lambda content: content["network.layers.0.weight"]["shape"].reverse()),
    "weights that are whole numbers": table(lambda content: content["network.layers.0.weight"].update(dtype="I32")),
    "no specification": document(lambda content: content.clear()),
    "a specification that is a text": document(lambda content: content.update(controller="os.system('true')")),
    "an unknown field": document(lambda content: content["controller"].update(__class__="x")),
    "an unknown body": document(lambda content: content["controller"]["network"].update(body="os.system")),
    "no inputs": document(lambda content: content["controller"]["network"].update(inputs=0)),
    "a million layers": document(lambda content: content["controller"]["network"].update(hidden=[1] * 99_000)),
    "a wider network than weights": document(lambda content: content["controller"]["network"].update(hidden=[13, 10])),
}
"""Sound bundles that are no policy: `load_controller` refuses them."""

RUNS: dict[str, Maker] = {
    "pickle as run.json": lambda run: (run / "run.json").write_bytes(canary(run)),
    "linked run.json": link("run.json"),
    "pipe as run.json": make_pipe("run.json"),
    "folder as run.json": make_folder("run.json"),
    "10 GB of run.json": sparse(10 << 30, "run.json"),
    "empty run.json": run_json(b""),
    "list as run.json": run_json(b"[]"),
    "deep run.json": run_json(deep(1_000_000)),
    "NaN in run.json": run_json(b'{"origin": NaN}'),
    "byte order mark in run.json": run_json(b"\xef\xbb\xbf{}"),
    "a key twice in run.json": run_json(b'{"env": "a", "env": "b"}'),
    "an unknown key in run.json": spec(lambda content: content.update(on_load="os.system")),
    "a wrong type in run.json": spec(lambda content: content.update(seed="now")),
    "an unknown origin in run.json": spec(lambda content: content.update(origin="elsewhere")),
    "a missing key in run.json": spec(lambda content: content.pop("env")),
}
"""Runs that `Run.open` refuses."""
