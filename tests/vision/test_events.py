"""Recordings of event cameras: files written bit by bit from the formats' definitions, frames against plain loops."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from homeo_rl.errors import UsageError
from homeo_rl.vision.events import (
    EventFolder,
    Events,
    divide,
    frames_by_number,
    frames_by_time,
    read_aedat,
    read_ncaltech,
)

VERSION = b"#!AER-DAT2.0\r\n"

Rows = list[tuple[int, int, int, int]]


def bits(text: str) -> bytes:
    """Bytes of a text of zeros and ones, the highest bit first."""
    assert len(text) % 8 == 0
    return bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8))


def aedat(rows: Iterable[tuple[int, int, int, int]], header: bytes = VERSION) -> bytes:
    """AEDAT 2.0 of (t, bits 8-14, bits 1-7, bit 0): an address of 32 bits, then a time of 32 bits."""
    return header + b"".join(bits(f"{0:017b}{high:07b}{low:07b}{last:b}{t:032b}") for t, high, low, last in rows)


def ncaltech(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Events (t, x, y, p) of 40 bits."""
    return b"".join(bits(f"{x:08b}{y:08b}{p:b}{t:023b}") for t, x, y, p in rows)


def listed(events: Events) -> Rows:
    assert all(part.dtype == np.int64 and part.shape == events.t.shape for part in events)
    return list(zip(*(part.tolist() for part in events), strict=True))


def made(rows: Rows) -> Events:
    return Events(*(np.array(part, dtype=np.int64) for part in np.array(rows, dtype=np.int64).reshape(-1, 4).T))


def some(rng: np.random.Generator, number: int, most: tuple[int, int, int, int]) -> Rows:
    return [tuple(row) for row in rng.integers(0, most, (number, 4)).tolist()]


EDGES = [(0, 0, 0, 0), (2**16, 127, 0, 1), (2**16 + 1, 0, 127, 0), (2**31, 127, 127, 1), (2**32 - 1, 64, 1, 0)]


def test_aedat(tmp_path: Path) -> None:
    """Every field, at every edge; one event by hand; times need not rise."""
    rows = EDGES + some(np.random.default_rng(0), 500, (2**32, 128, 128, 2))
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat(rows))
    assert listed(read_aedat(path)) == [(t, 127 - high, 127 - low, 1 - last) for t, high, low, last in rows]
    path.write_bytes(VERSION + bytes([0, 0, 0b0000_0011, 0b0000_1011, 0, 1, 2, 3]))  # rows 3, columns 5, fell
    assert listed(read_aedat(path)) == [(2**16 + 2 * 2**8 + 3, 124, 122, 0)]


@pytest.mark.parametrize(
    "header",
    [
        b"",
        VERSION,
        b"#!AER-DAT2.0\n",
        VERSION + b"# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n",
        VERSION
        + b"#\r\n#\n##!AER-DAT3.1\r\n# \xff\xfe\x00 #!AER-DAT1.0 <entry key='x'/>\r\n# created \xe5\xb9\xb4\r\n",
        b"# text alone\n",
    ],
)
@pytest.mark.parametrize("rows", [[], EDGES])
def test_headers(header: bytes, rows: Rows, tmp_path: Path) -> None:
    """No header, lines with any text and either end; recordings without events."""
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat(rows, header))
    assert listed(read_aedat(path)) == [(t, 127 - high, 127 - low, 1 - last) for t, high, low, last in rows]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (aedat(EDGES)[:-1], "expected events of 8 bytes after the header, got 39 bytes"),
        (aedat(EDGES, b"")[:-4], "expected events of 8 bytes after the header, got 36 bytes"),
        (aedat(EDGES, b"#!AER-DAT3.1\r\n"), "expected #!AER-DAT2.0, got #!AER-DAT3.1"),
        (aedat(EDGES, b"# first\r\n#!AER-DAT1.0\r\n"), "expected #!AER-DAT2.0, got #!AER-DAT1.0"),
        (aedat(EDGES, b"#!AER-DAT2.0\xff\r\n"), "expected #!AER-DAT2.0, got"),
        (VERSION + b"# cut", "expected header lines that end, got 5 bytes without an end"),
        (aedat(EDGES) + bytes([0x80, 0, 0, 0, 0, 0, 0, 0]), "expected addresses of 16 bits .*, got 0x80000000"),
        (bytes([1, 0, 0, 0, 0, 9]) * 4, "expected addresses of 16 bits"),  # AEDAT 1.0 names no version
    ],
)
def test_aedat_files_that_are_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.aedat"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=rf"bad\.aedat: {message}"):
        read_aedat(path)


def test_ncaltech(tmp_path: Path) -> None:
    """Every field, at every edge; one event by hand; a recording without events."""
    rows = [(0, 0, 0, 0), (2**23 - 1, 239, 179, 1), (2**16, 239, 0, 0), (2**16 - 1, 0, 179, 1)]
    rows += some(np.random.default_rng(1), 500, (2**23, 240, 180, 2))
    path = tmp_path / "image_0001.bin"
    path.write_bytes(ncaltech(rows))
    assert listed(read_ncaltech(path)) == rows
    path.write_bytes(bytes([7, 9, 0b1000_0001, 2, 3]))
    assert listed(read_ncaltech(path)) == [(2**16 + 2 * 2**8 + 3, 7, 9, 1)]
    path.write_bytes(b"")
    assert listed(read_ncaltech(path)) == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (ncaltech([(1, 2, 3, 1)] * 3)[:-1], "expected events of 5 bytes, got 14 bytes"),
        (ncaltech([(1, 240, 3, 1)]), "expected events in 240 x 180 pixels, got x up to 240 and y up to 3"),
        (
            ncaltech([(1, 2, 3, 1), (1, 0, 180, 1)]),
            "expected events in 240 x 180 pixels, got x up to 2 and y up to 180",
        ),
    ],
)
def test_ncaltech_files_that_are_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=rf"bad\.bin: {message}"):
        read_ncaltech(path)


@pytest.mark.parametrize("read", [read_aedat, read_ncaltech])
def test_files_that_are_not_there(read: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing: expected a file, got No such file"):
        read(tmp_path / "nothing")
    with pytest.raises(UsageError, match=": expected a file, got "):
        read(tmp_path)


HIGH, WIDE = 5, 7


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, WIDE - 1), st.integers(0, HIGH - 1), st.integers(0, 1)),
        max_size=60,
    ),
    near=st.booleans(),
    frames=st.integers(1, 12),
)
def test_frames_are_those_of_plain_loops(rows: Rows, near: bool, frames: int) -> None:
    """Both divisions, event by event; the sum of all frames is the number of events, whatever their order."""
    if near:
        rows = [(t % 20 + 2**31, x, y, p) for t, x, y, p in rows]
    number, time = np.zeros((2, frames, 2, HIGH, WIDE))
    first, last = min((row[0] for row in rows), default=0), max((row[0] for row in rows), default=0)
    for place, (t, x, y, p) in enumerate(rows):
        (part,) = (j for j in range(frames) if j * len(rows) <= place * frames < (j + 1) * len(rows))
        number[part, p, y, x] += 1
        lasts = last + 1 - first
        (part,) = (j for j in range(frames) if j * lasts <= (t - first) * frames < (j + 1) * lasts)
        time[part, p, y, x] += 1
    for divided, expected in ((frames_by_number, number), (frames_by_time, time)):
        found = divided(made(rows), frames=frames, size=(HIGH, WIDE))
        assert found.dtype == np.float32
        assert found.shape == (frames, 2, HIGH, WIDE)
        assert np.array_equal(found, expected)
        assert found.sum() == len(rows)
    counts = number.sum((1, 2, 3))
    assert counts.max() - counts.min() <= 1


def test_boundaries_by_hand() -> None:
    """10 events in 4 parts; times 100 to 109 in 5 frames of 2 microseconds; one moment; no event."""
    rows = [(100 + i, 0, 0, 1) for i in range(10)]
    by_number, by_time = (divided(made(rows), frames=4, size=(1, 1)) for divided in (frames_by_number, frames_by_time))
    assert by_number[:, 1, 0, 0].tolist() == by_time[:, 1, 0, 0].tolist() == [3, 2, 3, 2]
    late = made([*rows[:9], (10**6, 0, 0, 1)])
    assert frames_by_time(late, frames=3, size=(1, 1))[:, 1, 0, 0].tolist() == [9, 0, 1]
    assert frames_by_time(made(rows), frames=5, size=(1, 1))[:, 1, 0, 0].tolist() == [2] * 5
    assert frames_by_time(made(rows[:1] * 3), frames=2, size=(1, 1))[:, 1, 0, 0].tolist() == [3, 0]
    for divided in (frames_by_number, frames_by_time):
        assert np.array_equal(divided(made([]), frames=3, size=(2, 4)), np.zeros((3, 2, 2, 4)))


@pytest.mark.parametrize("divided", [frames_by_number, frames_by_time])
def test_frames_that_are_refused(divided: Any) -> None:
    """Nothing falls out of the frame, nor into another one's cell."""
    with pytest.raises(UsageError, match="frames: expected 1 or more, got 0"):
        divided(made([]), frames=0, size=(2, 3))
    for row, message in (
        ((0, 3, 0, 0), "x: expected 0 to 2, got 3 to 3"),
        ((0, 0, 2, 0), "y: expected 0 to 1, got 2 to 2"),
        ((0, 0, -1, 0), "y: expected 0 to 1, got -1 to -1"),
        ((0, 0, 0, 2), "p: expected 0 to 1, got 2 to 2"),
    ):
        with pytest.raises(UsageError, match=message):
            divided(made([row]), frames=2, size=(2, 3))


def folder(root: Path, kind: str) -> list[tuple[str, Rows]]:
    """Write a small data set; return names of classes and events (t, x, y, p), in the order expected."""
    rng = np.random.default_rng(7)
    expected = []
    for name, files in (("airplane", 3), ("bird", 2), ("truck", 4)):
        (root / name).mkdir(parents=True)
        (root / name / "notes.txt").write_text("no recording")
        for index in range(files):
            if kind == "cifar10-dvs":
                rows = some(rng, 40, (2**20, 128, 128, 2))
                (root / name / f"cifar10_{name}_{index}.aedat").write_bytes(aedat(rows))
                rows = [(t, 127 - high, 127 - low, 1 - last) for t, high, low, last in rows]
            else:
                rows = some(rng, 40, (2**20, 240, 180, 2))
                (root / name / f"image_{index + 1:04d}.bin").write_bytes(ncaltech(rows))
            expected.append((name, rows))
    (root / "README.txt").write_text("no class")
    return expected


@pytest.mark.parametrize(("kind", "size"), [("cifar10-dvs", (128, 128)), ("n-caltech101", (180, 240))])
@pytest.mark.parametrize("by", ["number", "time"])
def test_folders(kind: Any, size: tuple[int, int], by: Any, tmp_path: Path) -> None:
    """Classes, labels and frames of all recordings, in batches."""
    expected = folder(tmp_path, kind)
    found = EventFolder(tmp_path, kind=kind, frames=3, by=by)
    assert found.classes == ["airplane", "bird", "truck"]
    assert [found.classes[label] for _, label in found.files] == [name for name, _ in expected]
    assert len(found) == 9
    batches = list(torch.utils.data.DataLoader(found, batch_size=4))
    frames, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert frames.shape == (9, 3, 2, *size)
    assert frames.dtype == torch.float32
    assert labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    divided = {"number": frames_by_number, "time": frames_by_time}[by]
    for image, (_, rows) in zip(frames, expected, strict=True):
        assert np.array_equal(image.numpy(), divided(made(rows), frames=3, size=size))
        assert float(image.sum()) == 40


def test_folders_that_are_refused(tmp_path: Path) -> None:
    """What is missing, what is empty, what is cut, names that do not exist."""
    with pytest.raises(UsageError, match=r"nowhere: expected a folder for each class with \*\.bin in it, got none"):
        EventFolder(tmp_path / "nowhere", kind="n-caltech101", frames=2)
    with pytest.raises(UsageError, match=r"expected a folder for each class with \*\.aedat in it, got none"):
        EventFolder(tmp_path, kind="cifar10-dvs", frames=2)
    folder(tmp_path, "cifar10-dvs")
    with pytest.raises(UsageError, match=r"airplane: expected \*\.bin, got none"):
        EventFolder(tmp_path, kind="n-caltech101", frames=2)
    with pytest.raises(UsageError, match="did you mean 'cifar10-dvs'"):
        EventFolder(tmp_path, kind="cifar-dvs", frames=2)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected one of number, time"):
        EventFolder(tmp_path, kind="cifar10-dvs", frames=2, by="space")  # type: ignore[arg-type]
    path = tmp_path / "bird" / "cifar10_bird_1.aedat"
    path.write_bytes(path.read_bytes()[:-3])
    found = EventFolder(tmp_path, kind="cifar10-dvs", frames=2)
    with pytest.raises(UsageError, match=r"cifar10_bird_1\.aedat: expected events of 8 bytes"):
        found[4]
    (tmp_path / "cat").mkdir()
    with pytest.raises(UsageError, match=r"cat: expected \*\.aedat, got none"):
        EventFolder(tmp_path, kind="cifar10-dvs", frames=2)


def test_division() -> None:
    """The same share of every class, every place once, drawn anew by another generator."""
    labels = np.random.default_rng(3).permutation([0] * 50 + [1] * 10 + [4] * 25).tolist()
    train, test = divide(labels, share=0.2, rng=np.random.default_rng(0))
    assert sorted([*train, *test]) == list(range(85))
    assert train.tolist() == sorted(train)
    assert test.tolist() == sorted(test)
    assert {label: [labels[place] for place in test].count(label) for label in (0, 1, 4)} == {0: 10, 1: 2, 4: 5}
    assert np.array_equal(test, divide(labels, share=0.2, rng=np.random.default_rng(0))[1])
    assert not np.array_equal(test, divide(labels, share=0.2, rng=np.random.default_rng(1))[1])
    assert len(divide([5] * 4, share=0.4, rng=np.random.default_rng(0))[1]) == 2  # 1.6 of 4
    for share, number in ((0.0, 0), (1.0, 85)):
        assert [len(part) for part in divide(labels, share=share, rng=np.random.default_rng(0))] == [
            85 - number,
            number,
        ]
    assert [len(part) for part in divide([], share=0.5, rng=np.random.default_rng(0))] == [0, 0]
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="share: expected 0 to 1, got"):
            divide(labels, share=share, rng=np.random.default_rng(0))


def test_signals_that_are_no_pixels_are_left_out(tmp_path: Path) -> None:
    """Bit 15 marks what the camera's port says of itself, such as a synchronisation."""
    path = tmp_path / "one.aedat"
    path.write_bytes(aedat(EDGES) + bytes([0, 0, 0x80, 0, 0, 0, 0, 7]))
    plain = tmp_path / "two.aedat"
    plain.write_bytes(aedat(EDGES))
    for found, expected in zip(read_aedat(path), read_aedat(plain), strict=True):
        assert np.array_equal(found, expected)
