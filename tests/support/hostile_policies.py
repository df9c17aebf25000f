"""Zips of Stable-Baselines3 that want to do harm: torch archives and their programs, made byte by byte."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from hostile_archives import ARCHIVES, DEEP, SMALL, Change, Maker, at_end, encrypt, make_zip, overlap
from hostile_files import Canary, canary


def text(word: str) -> bytes:
    blob = word.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(blob)) + blob


def number(value: int) -> bytes:
    if type(value) is bool:
        return b"\x88" if value else b"\x89"
    if 0 <= value < 256:
        return b"K" + bytes([value])
    blob = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(blob)]) + blob


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def rebuilt(
    shape: tuple[int, ...] = (8, 4), *, key: str = "0", size: int | None = None, offset: int = 0,
    strides: tuple[int, ...] | None = None, kind: str = "torch FloatStorage", word: str = "storage",
    function: str = "torch._utils _rebuild_tensor_v2", hooks: bytes = b"}", device: bytes = b"X\3\0\0\0cpu",
) -> bytes:  # fmt: skip
    """Return the part of a program that makes a tensor."""
    size = math.prod(shape) if size is None else size
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape))) if strides is None else strides
    named = [b"c" + name.replace(" ", "\n").encode() + b"\n" for name in (function, kind)]
    storage = b"(" + text(word) + named[1] + text(key) + device + number(size) + b"tQ"
    return named[0] + b"(" + storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"tR"


def program(tensors: dict[str, bytes], *, before: bytes = b"", behind: bytes = b"") -> bytes:
    """Return the program of a dict of tensors; ``before`` comes first in it, ``behind`` last."""
    items = b"".join(text(name.removesuffix("#")) + made for name, made in tensors.items())
    return b"\x80\x02" + before + b"ccollections\nOrderedDict\n)R(" + items + b"u" + behind + b"."


_SHAPES = {
    "mlp_extractor.policy_net.0.weight": (8, 4), "mlp_extractor.policy_net.0.bias": (8,),
    "action_net.weight": (2, 8), "action_net.bias": (2,), "value_net.weight": (1, 8),
}  # fmt: skip
"""A small policy for CartPole."""

FIRST = next(iter(_SHAPES))

TENSORS = {name: rebuilt(shape, key=str(index)) for index, (name, shape) in enumerate(_SHAPES.items())}

STORAGES = {
    f"data/{index}": np.linspace(-1, 1, math.prod(shape), dtype="<f4").tobytes()
    for index, shape in enumerate(_SHAPES.values())
}

SOUND = program(TENSORS)


def torch_zip(
    made: bytes = SOUND, *, method: int = zipfile.ZIP_STORED, change: Change = lambda blob: blob, **more: bytes
) -> bytes:
    """Return an archive as torch writes it, with this program; ``more`` members go by their own names."""
    out = io.BytesIO()
    members = {"data.pkl": made, "byteorder": b"little", **STORAGES, "version": b"3\n", **more}
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, blob in members.items():
            archive.writestr(
                name.removesuffix("#") if name.startswith("/") else f"archive/{name.removesuffix('#')}", blob
            )
    return change(out.getvalue())


def make_sb3_zip(
    policy: bytes, *, method: int = zipfile.ZIP_STORED, change: Change = lambda blob: blob, **more: bytes
) -> Maker:
    """Write a zip of Stable-Baselines3 with this policy."""
    return make_zip({**SMALL, "data": b"{}", "policy.pth": policy, **more}, method=method, change=change)


def by_program(made: bytes) -> Maker:
    return make_sb3_zip(torch_zip(made))


def first(made: bytes, **storages: bytes) -> Maker:
    """Put another tensor in the first one's place."""
    return make_sb3_zip(torch_zip(program({**TENSORS, FIRST: made}), **storages))


def executing(path: Path) -> bytes:
    """Return instructions that make the folder ``executed`` beside ``path`` if anybody follows them."""
    return b"cos\nmkdir\n" + text(str(path.parent / "executed")) + b"\x85R"


def legacy(path: Path) -> None:
    out = io.BytesIO()
    torch.save(OrderedDict(a=torch.zeros(2)), out, _use_new_zipfile_serialization=False)
    make_sb3_zip(out.getvalue())(path)


def newer(path: Path) -> None:
    out = io.BytesIO()
    torch.save(OrderedDict(a=torch.zeros(2)), out, pickle_protocol=4)
    make_sb3_zip(out.getvalue())(path)


def calling(path: Path) -> None:
    out = io.BytesIO()
    torch.save(Canary(path.parent / "executed"), out)
    make_sb3_zip(out.getvalue())(path)


def wide(path: Path) -> None:
    """A hundred layers that are all the same bytes."""
    layers = {f"mlp_extractor.policy_net.{2 * i}.{part}": rebuilt(shape, key="big", size=4096) for i in range(60)
              for part, shape in (("weight", (64, 64)), ("bias", (64,)))}  # fmt: skip
    layers[FIRST] = rebuilt((64, 4), key="big", size=4096)
    layers |= {"action_net.weight": rebuilt((2, 64), key="big", size=4096), "action_net.bias": rebuilt((2,), key="3")}
    make_sb3_zip(torch_zip(program(layers), **{"data/big": bytes(4 * 4096)}))(path)


def at_first(value: float, kind: str = "<f4") -> bytes:
    """Return the bytes of the first tensor with a number at its end."""
    return np.array([0.0] * 31 + [value], kind).tobytes()


_OTHER = ("linked", "pipe", "10 GB", "no archive", "empty file")
_DEEP_TUPLES = b")" + b"\x85" * 90_000

POLICIES: dict[str, Maker] = {
    # Code.
    "pickle as policy": lambda path: make_sb3_zip(canary(path))(path),
    "a call saved by torch": calling,
    "pickle as program": lambda path: by_program(canary(path))(path),
    "a call before the dict": lambda path: by_program(program(TENSORS, before=executing(path) + b"0"))(path),
    "a call as a tensor": lambda path: by_program(program({**TENSORS, "x": executing(path)}))(path),
    "a call as notes": lambda path: by_program(program(TENSORS, behind=executing(path) + b"b"))(path),
    "a call as hooks": lambda path: first(rebuilt(hooks=executing(path)))(path),
    "a call as device": lambda path: first(rebuilt(device=executing(path)))(path),
    "a call after the end": lambda path: by_program(SOUND + executing(path) + b".")(path),
    "an instance": lambda path: by_program(b"\x80\x02(" + text(str(path.parent / "executed")) + b"ios\nmkdir\n.")(path),
    "an object": lambda path: by_program(b"\x80\x02(cos\nmkdir\n" + text(str(path.parent / "executed")) + b"o.")(path),
    "eval": by_program(b"\x80\x02cbuiltins\neval\n" + text("__import__('os').mkdir('executed')") + b"\x85R."),
    "an extension": by_program(b"\x80\x02\x82\1."),
    "a name from the stack": by_program(b"\x80\x04" + text("os") + text("mkdir") + b"\x93."),
    "a name that is not on the list": first(rebuilt(function="torch._utils _rebuild_parameter")),
    "a storage that is not on the list": first(rebuilt(kind="torch BFloat16Storage")),
    "a storage that is a function": first(rebuilt(kind="torch._utils _rebuild_tensor_v2")),
    "a dict with arguments": by_program(b"\x80\x02ccollections\nOrderedDict\n}\x85R."),
    "a call of a text": by_program(b"\x80\x02" + text("os") + b")R."),
    "a storage of another kind": first(rebuilt(word="module")),
    "a surrogate as name": by_program(program({**TENSORS, "\udfff\x1b[2J": rebuilt()})),
    "signs in a name": by_program(b"\x80\x02c\x1b[2J\x1b[31m\nred\n."),
    # Programs that are none, or too much.
    "empty program": by_program(b""),
    "no end": by_program(SOUND[:-1]),
    "half a program": by_program(SOUND[: len(SOUND) // 2]),
    "a list": by_program(b"\x80\x02]."),
    "a number": by_program(b"\x80\x02K\1."),
    "two values": by_program(b"\x80\x02}}."),
    "a mark is left": by_program(b"\x80\x02(}."),
    "nothing on the stack": by_program(b"\x80\x02R."),
    "over a mark": by_program(b"\x80\x02}(R."),
    "a memo that is not there": by_program(b"\x80\x02h\7."),
    "format 4": newer,
    "format 255": by_program(b"\x80\xff}."),
    "before torch 1.6": legacy,
    "a dict in itself": by_program(b"\x80\x02}q\0" + text("x") + b"h\0s."),
    "deep tuples": by_program(b"\x80\x02" + _DEEP_TUPLES + b"."),
    "deep tuples as a shape": first(rebuilt().replace(numbers((8, 4)), _DEEP_TUPLES)),
    "tuples of the same tuples": by_program(b"\x80\x02)q\0" + b"h\0h\0\x86q\0" * 20_000 + b"."),
    "a million marks": by_program(b"\x80\x02" + b"(" * 1_000_000 + b"."),
    "a million lists": by_program(b"\x80\x02" + b"]" * 1_000_000 + b"."),
    "a million dicts": by_program(b"\x80\x02" + b"}" * 1_000_000 + b"."),
    "200000 tensors": by_program(program({f"t{i}": rebuilt() for i in range(200_000)})),
    "1500 layers": by_program(
        program(
            {f"mlp_extractor.policy_net.{2 * i}.{part}": rebuilt() for i in range(1500) for part in ("weight", "bias")}
        )
    ),
    "2000 tensors of the same bytes": by_program(program({f"t{i}": rebuilt() for i in range(2000)})),
    "300 MB of program": make_sb3_zip(torch_zip(bytes(300_000_000), method=zipfile.ZIP_DEFLATED)),
    "2 MB of program": by_program(program({"x" * 2_000_000: rebuilt()})),
    "a name of 1 MB": by_program(program({"x" * 1_000_000: rebuilt()})),
    "a text longer than the file": by_program(b"\x80\x02X\xff\xff\xff\xff."),
    "a text of 2^64 - 1 bytes": by_program(b"\x80\x02\x8d" + b"\xff" * 8 + b"."),
    "a number of 2 GB": by_program(b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "a number of 4000 digits": by_program(b"\x80\x02I" + b"9" * 4000 + b"\n."),
    "a name twice": by_program(program({**TENSORS, f"{FIRST}#": rebuilt()})),
    "a name that is a number": by_program(b"\x80\x02}K\1K\1s."),
    "a value that is a number": by_program(program({**TENSORS, "x": number(1)})),
    "a value that is a dict": by_program(program({**TENSORS, "x": b"}"})),
    # Tensors that are not where they are said to be.
    "a storage of 2^40 numbers": first(rebuilt(size=1 << 40)),
    "a storage of 2^61 numbers": first(rebuilt(size=1 << 61)),
    "a storage of 2^80 numbers": first(rebuilt(size=1 << 80)),
    "a storage of 2^2000 numbers": first(rebuilt(size=1 << 2000)),
    "a storage of -1 numbers": first(rebuilt(size=-1)),
    "a storage of true numbers": first(rebuilt(size=True)),
    "a storage that is too small": first(rebuilt((8, 4), size=31)),
    "a storage with more bytes": first(rebuilt(key="9"), **{"data/9": bytes(129)}),
    "no such storage": first(rebuilt(key="77")),
    "a storage outside": first(rebuilt(key="../../../etc/passwd")),
    "the program as storage": first(rebuilt(key="../data.pkl")),
    "an offset outside": first(rebuilt(offset=1)),
    "an offset of 2^61": first(rebuilt(offset=1 << 61)),
    "a negative offset": first(rebuilt(offset=-1)),
    "a shape of 2^40 numbers": first(rebuilt((1 << 20, 1 << 20), size=32)),
    "a shape of 2^2000 numbers": first(rebuilt((1 << 2000,), size=32)),
    "a negative shape": first(rebuilt((-8, -4), size=32)),
    "a shape that is true": first(rebuilt((True, 32), size=32)),
    "a shape with a 0": first(rebuilt((1 << 61, 0), size=0, key="z"), **{"data/z": b""}),
    "200 axes": first(rebuilt((1,) * 200, size=1)),
    "strides of 0": first(rebuilt((1 << 30, 4), strides=(0, 0), size=32)),
    "strides of 0 that fit": first(rebuilt(strides=(0, 1), size=32)),
    "strides backwards": first(rebuilt(strides=(-4, 1))),
    "strides outside": first(rebuilt(strides=(1 << 40, 1))),
    "strides with gaps": first(rebuilt((4, 4), strides=(8, 1), size=32)),
    "one stride": first(rebuilt(strides=(1,))),
    "layers over each other": wide,
    # Tensors that are no weights.
    "NaN": first(rebuilt(key="9"), **{"data/9": at_first(float("nan"))}),
    "infinity": first(rebuilt(key="9"), **{"data/9": at_first(float("-inf"))}),
    "double precision": first(rebuilt(key="9", kind="torch DoubleStorage"), **{"data/9": at_first(1.0, "<f8")}),
    "half precision": first(rebuilt(key="9", kind="torch HalfStorage"), **{"data/9": at_first(1.0, "<f2")}),
    "whole numbers": first(rebuilt(key="9", kind="torch IntStorage"), **{"data/9": at_first(1, "<i4")}),
    "other inputs": first(rebuilt((4, 8))),
    "one axis": first(rebuilt((32,))),
    "no axis": first(rebuilt((), size=1, key="s"), **{"data/s": bytes(4)}),
    "other outputs": by_program(program({**TENSORS, "action_net.weight": rebuilt((8, 8), key="0", size=32)})),
    "no bias": by_program(program({name: made for name, made in TENSORS.items() if name != "action_net.bias"})),
    "no tensors": by_program(program({})),
    "an unknown tensor": by_program(program({**TENSORS, "\x1b[2J": rebuilt()})),
    "a features extractor": by_program(program({**TENSORS, "features_extractor.cnn.0.weight": rebuilt()})),
    "gSDE": by_program(program({**TENSORS, "log_std": rebuilt()})),
    "a continuous policy": by_program(program({**TENSORS, "log_std": rebuilt((8,), key="1")})),
    "a Q-network": by_program(program({"q_net.q_net.0.weight": rebuilt()})),
    "recurrent": by_program(program({**TENSORS, "lstm_actor.weight_ih_l0": rebuilt()})),
    # Archives in archives.
    "packed policy": make_sb3_zip(torch_zip(), method=zipfile.ZIP_DEFLATED),
    "packed members": make_sb3_zip(torch_zip(method=zipfile.ZIP_DEFLATED)),
    "no program": make_sb3_zip(torch_zip().replace(b"data.pkl", b"data.pkx")),
    "two programs": make_sb3_zip(torch_zip(**{"/other/data.pkl": SOUND})),
    "a storage twice": make_sb3_zip(torch_zip(**{"data/0#": bytes(128)})),
    "two folders": make_sb3_zip(torch_zip(**{"/data/0": bytes(128)})),
    "big numbers first": make_sb3_zip(torch_zip(byteorder=b"big")),
    "a byte order of 1 MB": make_sb3_zip(torch_zip(byteorder=bytes(1_000_000))),
    "cut policy": make_sb3_zip(torch_zip()[:-30]),
    "half a policy": make_sb3_zip(torch_zip()[:900]),
    "no policy": make_zip({name: blob for name, blob in SMALL.items() if name != "policy.pth"}),
    "empty policy": make_sb3_zip(b""),
    "a policy of zeros": make_sb3_zip(bytes(40_000_000)),
    "a damaged weight": make_sb3_zip(torch_zip().replace(STORAGES["data/0"], STORAGES["data/0"][:-1] + b"\0")),
    "2000 members in the policy": make_sb3_zip(torch_zip(**{f"m{i}": b"" for i in range(2000)})),
    "a list of members of 3 GB in the policy": make_sb3_zip(torch_zip(change=at_end(12, 3 << 30))),
    "a list of members of 4 GB in the policy": make_sb3_zip(torch_zip(change=at_end(12, 0xFFFFFFFF))),
    "members beyond the policy": make_sb3_zip(torch_zip(change=at_end(16, 0xFFFFFFF0))),
    "all members of the policy in one place": make_sb3_zip(torch_zip(change=overlap)),
    "an encrypted program": make_sb3_zip(torch_zip(change=encrypt)),
    # What the zip says of itself.
    "an activation that is not known": make_sb3_zip(
        torch_zip(), data=b'{"policy_kwargs": {"activation_fn": "<class \'torch.nn.modules.activation.ELU\'>"}}'
    ),
    "another activation": make_sb3_zip(
        torch_zip(), data=b'{"policy_kwargs": {"activation_fn": "<class \'torch.nn.modules.activation.ReLU\'>"}}'
    ),
    "signs for an activation": make_sb3_zip(torch_zip(), data=b'{"policy_kwargs": {"activation_fn": "\\u001b[2J"}}'),
    "deep data": make_sb3_zip(torch_zip(), data=DEEP),
    "300 MB of data": make_sb3_zip(torch_zip(), method=zipfile.ZIP_DEFLATED, data=b"{" + b" " * 300_000_000 + b"}"),
    **{name: ARCHIVES[name] for name in _OTHER},
}
"""Zips that `homeo-rl import sb3-zip` refuses."""
