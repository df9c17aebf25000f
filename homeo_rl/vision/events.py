"""Recordings of event cameras in the formats in which they are published. Nothing is downloaded, nothing is run.

Expected below the folder that is given, a folder for each class:

CIFAR10-DVS     airplane/*.aedat ... truck/*.aedat (Li et al., Frontiers in Neuroscience 11:309, 2017)
N-Caltech101    accordion/*.bin ... yin_yang/*.bin (Orchard et al., Frontiers in Neuroscience 9:437, 2015)

AEDAT 2.0 (docs.inivation.com): lines of text that begin with ``#``, the first of them ``#!AER-DAT2.0``, then 64 bits an
event, big-endian: 32 of address, 32 of time in microseconds. Addresses are those of a DVS128 of 128 x 128 pixels
(DVS128.java of jAER; dat2mat.m, which the data set's README names): bit 0 is 1 where light fell, bits 1-7 and 8-14
count columns and rows, bit 15 marks signals that are no pixel's, which are left out. Here x comes from bits 8-14 and y
from bits 1-7, both counted down from 127, as in SpikingJelly; in jAER and dat2mat.m, x is 127 less bits 1-7 and y,
upwards, is bits 8-14: the same images turned by a quarter and mirrored.

N-Caltech101 (its ReadMe; Read_Ndataset.m of github.com/gorchard/Matlab_AER_vision_functions): 40 bits an event,
big-endian: 8 of x, 8 of y, 1 that is 1 where light rose, 23 of time in microseconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from homeo_rl.errors import UsageError, unknown

Kind = Literal["cifar10-dvs", "n-caltech101"]
By = Literal["number", "time"]


class Events(NamedTuple):
    """Events of a recording in their order in the file, all [N] and int64."""

    t: np.ndarray  # microseconds, as the camera counted them; they need neither begin at 0 nor rise
    x: np.ndarray  # columns from the left
    y: np.ndarray  # rows from the top
    p: np.ndarray  # 1 where light rose, 0 where it fell


def read_aedat(path: Path) -> Events:
    """Return the events of a recording of CIFAR10-DVS.

    A file that names no version is taken for one of 2.0; if it were of 1.0, its addresses would be refused.

    Raises UsageError: the file cannot be read, is of another version, is cut or has events of no pixel.
    """
    raw, start = _bytes(path), 0
    while raw.startswith(b"#", start):  # no event begins so: its first byte is 0, as are all bits above 14
        end = raw.find(b"\n", start)
        line = raw[start:end].strip()
        if end < 0:
            raise UsageError(f"{path}: expected header lines that end, got {len(raw) - start} bytes without an end")
        if line.startswith(b"#!AER-DAT") and line != b"#!AER-DAT2.0":
            raise UsageError(f"{path}: expected #!AER-DAT2.0, got {line.decode(errors='replace')}")
        start = end + 1
    if (len(raw) - start) % 8:
        raise UsageError(f"{path}: expected events of 8 bytes after the header, got {len(raw) - start} bytes")
    # Time is read as unsigned: a clock that passes 2^31 microseconds goes on.
    address, t = np.frombuffer(raw[start:], dtype=">u4").astype(np.int64).reshape(-1, 2).T
    if address.size and address.max() >= 2**16:
        raise UsageError(f"{path}: expected addresses of 16 bits (128 x 128 pixels), got {address.max():#x}")
    pixel = address < 2**15
    address, t = address[pixel], t[pixel]
    return Events(t=t, x=127 - (address >> 8), y=127 - (address >> 1 & 127), p=1 - (address & 1))


def read_ncaltech(path: Path) -> Events:
    """Return the events of a recording of N-Caltech101.

    Raises UsageError: the file cannot be read, is cut, or has events outside of 240 x 180 pixels.
    """
    raw = _bytes(path)
    if len(raw) % 5:
        raise UsageError(f"{path}: expected events of 5 bytes, got {len(raw)} bytes")
    x, y, high, middle, low = np.frombuffer(raw, dtype=np.uint8).astype(np.int64).reshape(-1, 5).T
    if x.size and (x.max() >= 240 or y.max() >= 180):
        raise UsageError(f"{path}: expected events in 240 x 180 pixels, got x up to {x.max()} and y up to {y.max()}")
    return Events(t=(high & 127) << 16 | middle << 8 | low, x=x, y=y, p=high >> 7)


def frames_by_number(events: Events, *, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Return counts [T, 2, H, W], float32, for T ``frames`` and ``size`` (H, W): how often light fell and rose.

    Event i of N, in their order, is in frame floor(i T / N): two frames differ by 1 event at most.

    Raises UsageError: there is less than 1 frame, or an event is outside of ``size``.
    """
    number = len(events.t)
    return _counts(events, np.arange(number) * frames // max(number, 1), frames, size)


def frames_by_time(events: Events, *, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Return counts [T, 2, H, W], float32, for T ``frames`` and ``size`` (H, W): how often light fell and rose.

    An event at t is in frame floor((t - first) T / (last - first + 1)), where first and last are the least and the
    largest t of the recording: all frames last equally long, whatever the order of the events.

    Raises UsageError: there is less than 1 frame, or an event is outside of ``size``.
    """
    since = events.t - events.t.min(initial=2**62)  # initial: for recordings without events
    return _counts(events, since * frames // (since.max(initial=0) + 1), frames, size)


FORMATS = {"cifar10-dvs": (".aedat", read_aedat, (128, 128)), "n-caltech101": (".bin", read_ncaltech, (180, 240))}
"""For each data set: how names of files end, what reads them, rows and columns of the sensor."""

DIVISIONS = {"number": frames_by_number, "time": frames_by_time}


class EventFolder(Dataset[tuple[Tensor, int]]):
    """Recordings by class, read when they are asked for, as frames on the full sensor: 128 x 128 or 180 x 240.

    Attributes:
        classes: names of the folders, sorted; a label is a place in this list.
        files: paths and labels, by class and name. The data sets have no test part; see ``divide``.

    ``root`` is the folder of folders, of N-Caltech101 the one named ``Caltech101``; ``by`` says whether the ``frames``
    of a recording have equally many events or last equally long.

    Raises UsageError: a folder is missing or has no recording in it; or, when it is read, a file that is none.
    """

    def __init__(self, root: Path, *, kind: Kind, frames: int, by: By = "number") -> None:
        if kind not in FORMATS:
            raise unknown("kind of recordings", kind, FORMATS)
        if by not in DIVISIONS:
            raise unknown("division into frames", by, DIVISIONS)
        self.frames = frames
        self._suffix, self._read, self._size = FORMATS[kind]
        self._divide = DIVISIONS[by]
        folders = sorted(path for path in Path(root).iterdir() if path.is_dir()) if Path(root).is_dir() else []
        if not folders:
            raise UsageError(f"{root}: expected a folder for each class with *{self._suffix} in it, got none")
        self.classes = [folder.name for folder in folders]
        self.files: list[tuple[Path, int]] = []
        for label, folder in enumerate(folders):
            results = sorted(path for path in folder.iterdir() if path.suffix.lower() == self._suffix)
            if not results:
                raise UsageError(f"{folder}: expected *{self._suffix}, got none")
            self.files += [(path, label) for path in results]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return frames [T, 2, H, W], float32, and a label."""
        path, label = self.files[index]
        return torch.from_numpy(self._divide(self._read(path), frames=self.frames, size=self._size)), label


def divide(labels: Sequence[int], *, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return places in ``labels`` [N] to train on and to test with, each rising, drawn from each class by itself.

    Args:
        labels: classes, as in ``[label for _, label in folder.files]``.
        share: of every class that is kept for the test, from 0 to 1; rounded to whole recordings.

    Raises UsageError: ``share`` is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share: expected 0 to 1, got {share}")
    tested = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(np.asarray(labels) == label))
        tested[places[: round(share * len(places))]] = True
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def _bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: expected a file, got {error.strerror}") from None


def _counts(events: Events, part: np.ndarray, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Return how many events are in each frame (``part`` [N]), polarity and pixel."""
    if frames < 1:
        raise UsageError(f"frames: expected 1 or more, got {frames}")
    high, wide = size
    for name, places, most in (("x", events.x, wide), ("y", events.y, high), ("p", events.p, 2)):
        if places.size and not 0 <= places.min() <= places.max() < most:
            raise UsageError(f"{name}: expected 0 to {most - 1}, got {places.min()} to {places.max()}")
    cells = ((part * 2 + events.p) * high + events.y) * wide + events.x
    return np.bincount(cells, minlength=frames * 2 * high * wide).reshape(frames, 2, high, wide).astype(np.float32)
