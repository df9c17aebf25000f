"""The observer in C in this process: its sources are compiled into one library and driven by ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
from c_controller import SOURCES, STRICT

from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.layout import offsets_of

OBSERVER = ("homeo_observer.c", "homeo_forward.c", "homeo_filter.c", "homeo_stamped.c", "homeo_bias.c")
"""Sources of the observer."""

POINTERS = ("w1", "b1", "w2", "b2", "w3", "b3", "change", "calibration", "scales")


class Forward(ctypes.Structure):
    """``homeo_forward``."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("entries", "actions", "hidden")),
        *((name, ctypes.c_void_p) for name in POINTERS),
    )


def compile_observer(folder: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Compile the observer and return the shared library; ``flags`` are the compiler's."""
    out = folder / "observer.so"
    command = [compiler, *STRICT, "-shared", "-fPIC", f"-I{SOURCES}", *(flags or ("-O2",))]
    subprocess.run([*command, *(str(SOURCES / name) for name in OBSERVER), "-lm", "-o", str(out)], check=True)
    return out


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Return the address of a contiguous array."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


class CObserver:
    """One episode of the observer in C: the model and its limits, a row [F], the last estimate [D]."""

    def __init__(self, library: Path, model: ForwardModel, scales: np.ndarray) -> None:
        self.c = ctypes.CDLL(str(library))
        for name in ("row", "numbers", "floats", "offset"):
            getattr(self.c, f"homeo_observer_{name}").restype = ctypes.c_size_t
        arrays = {name: np.ascontiguousarray(getattr(model, name), np.float32) for name in POINTERS[:-1]}
        arrays["scales"] = np.ascontiguousarray(scales, np.float64)
        self._arrays, dims = arrays, (model.entries, model.actions, len(model.b1))
        self.model = Forward(*dims, *(arrays[name].ctypes.data for name in POINTERS))
        self.row = np.full(self.c.homeo_observer_row(*dims[:2]), np.nan)
        self.full = np.full(self.c.homeo_observer_numbers(*dims[:2]), np.nan)
        self.work = np.full(self.c.homeo_observer_floats(*dims), np.nan, np.float32)
        self.out = np.zeros(model.entries, np.float32)
        assert len(self.row) == offsets_of(*dims[:2])[1]
        self.begin()

    def begin(self) -> None:
        """Begin an episode."""
        self.c.homeo_observer_begin(ctypes.byref(self.model), pointer(self.row))

    def advance(self, observation: np.ndarray, last: np.ndarray) -> bool:
        """Advance by a decision; return whether the gate is open."""
        arrays = (self.row, observation, last, self.out, self.full, self.work)
        return bool(self.c.homeo_observer_advance(ctypes.byref(self.model), *map(pointer, arrays)))

    def correct(self, kind: int, observation: np.ndarray) -> None:
        """Subtract a bias from an observation, in place."""
        self.c.homeo_observer_correct(ctypes.byref(self.model), pointer(self.row), kind, pointer(observation))

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean [D] and variance [D] for x [D + K] float32."""
        mean, variance = np.zeros((2, self.model.entries))
        arrays = (x, mean, variance, self.work)
        self.c.homeo_forward_predict(ctypes.byref(self.model), *map(pointer, arrays))
        return mean, variance

    def differentiate(self, size: int) -> np.ndarray:
        """Return the Jacobian [D, size] at the point of the last prediction."""
        slopes = np.full((self.model.entries, size + 3), np.nan)  # rows may be longer
        byref, work = ctypes.byref(self.model), pointer(self.work)
        self.c.homeo_forward_jacobian(byref, pointer(slopes), slopes.shape[1], size, work)
        assert np.isnan(slopes[:, size:]).all()
        return slopes[:, :size]
