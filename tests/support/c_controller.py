"""C controllers in this process: policies are written, compiled into one library and driven by ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import Controller, save_controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.envs.make import make_env
from homeo_rl.exchange.c.description import Description
from homeo_rl.exchange.c.export import LIBRARY
from homeo_rl.exchange.c.source import write_policy
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.weight_copy import WeightCopy
from homeo_rl.run import Run, versions
from homeo_rl.spec import RunSpec

SOURCES = Path(str(files("homeo_rl.exchange.c") / "sources"))
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: apt-get install gcc")

_SHIM = """
#include "homeo.h"
size_t shim_state_bytes(void) { return sizeof(homeo); }
const homeo_real *shim_weight(const homeo *h, int layer) { return h->live.weight[layer]; }
const homeo_real *shim_bias(const homeo *h, int layer) { return h->live.bias[layer]; }
homeo_real *shim_delta(const homeo *h, int layer) { return h->live.delta[layer]; }
homeo_real *shim_mean(const homeo *h, int layer) { return h->live.mean[layer]; }
homeo_real *shim_energy(const homeo *h, int layer) { return h->live.energy[layer]; }
const homeo_real *shim_output(const homeo *h) { return h->output; }
double shim_change(const homeo *h, int layer) { return (double)h->change[layer]; }
double shim_eta(const homeo *h) { return (double)h->live.eta; }
int shim_kept(const homeo *h, int layer) { return h->kept[layer]; }
const double *shim_row(const homeo *h) { return h->observed.row; }
int shim_used(const homeo *h, int which)
{
    const homeo_verdict *v = h->observed.verdict;
    return which == 0 ? (int)v->openings : (int)v->used;
}
double shim_distance(const homeo *h, int which)
{
    return h->observed.verdict->total[which] / (double)(h->senses->windows * HOMEO_COMPARED * h->policy->actions);
}
int shim_count(const homeo *h, int which) { return which == 0 ? h->sleep_count : h->rolled_back; }
void shim_write(homeo *h, int layer, const homeo_real *weight, const homeo_real *bias)
{
    const homeo_layer *l = &h->policy->layer[layer];
    int32_t k, n;
    for (k = 0; k < l->inputs; k++) {
        for (n = 0; n < l->size; n++) {
            homeo_damage_weight(h, layer, n, k, weight[(size_t)k * (size_t)l->size + (size_t)n]);
        }
    }
    for (n = 0; n < l->size; n++) {
        homeo_damage_bias(h, layer, n, bias[n]);
    }
}
"""


def compile_library(folder: Path, policies: Mapping[str, Description], *flags: str) -> Path:
    """Write and compile policies, and return the shared library; ``flags`` are the compiler's."""
    sources = [str(SOURCES / name) for name in LIBRARY if name.endswith(".c")]
    (folder / "shim.c").write_text(_SHIM)
    for name, made in policies.items():
        header, source, _ = write_policy(made, name)
        (folder / f"{name}.h").write_text(header)
        (folder / f"{name}.c").write_text(source)
    written = [str(folder / f"{name}.c") for name in (*policies, "shim")]
    out = folder / "controller.so"
    command = ["gcc", *STRICT, "-O2", "-shared", "-fPIC", f"-I{SOURCES}", *flags]
    subprocess.run([*command, *sources, *written, "-lm", "-o", str(out)], check=True)
    return out


class CController:
    """A state of one policy of a library."""

    def __init__(
        self,
        library: Path,
        name: str,
        made: Description,
        *,
        writable: bool = False,
        double: bool = False,
        flags: int = 0,
    ):
        self.made, self.real = made, np.float64 if double else np.float32
        self.c = ctypes.CDLL(str(library))
        self.c.homeo_memory.restype = self.c.shim_state_bytes.restype = ctypes.c_size_t
        for function in ("weight", "bias", "delta", "mean", "energy", "output", "row"):
            getattr(self.c, f"shim_{function}").restype = ctypes.c_void_p
        self.c.homeo_rates.restype = ctypes.c_void_p
        self.c.shim_change.restype = self.c.shim_eta.restype = self.c.shim_distance.restype = ctypes.c_double
        self.policy = ctypes.byref(ctypes.c_char.in_dll(self.c, name))
        flags |= int(writable)
        self.bytes = int(self.c.homeo_memory(self.policy, flags))
        self.state = ctypes.create_string_buffer(int(self.c.shim_state_bytes()))
        self._memory = np.zeros(self.bytes // 8, dtype=np.uint64)
        self.actions = np.zeros(len(made.controller.spec.low) or 1, dtype=self.real)
        size = ctypes.c_size_t(self.bytes)
        assert self.call("init", self.policy, ctypes.c_void_p(self._memory.ctypes.data), size, flags) == 0

    def call(self, name: str, *arguments: Any) -> int:
        """Return what ``homeo_NAME(state, ...)`` does."""
        return int(getattr(self.c, f"homeo_{name}")(self.state, *arguments))

    def reset(self, seed: int) -> None:
        assert self.call("reset", ctypes.c_uint64(seed)) == 0

    def act(self, observation: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(observation, dtype=self.real)
        out = ctypes.c_void_p(self.actions.ctypes.data)
        assert self.call("act", ctypes.c_void_p(x.ctypes.data), out) == 0
        return self.actions.copy()

    def observe(self, observation: np.ndarray) -> int:
        """Return what ``homeo_observe`` returns."""
        x = np.ascontiguousarray(observation, dtype=self.real)
        return self.call("observe", ctypes.c_void_p(x.ctypes.data))

    def row(self) -> np.ndarray:
        """Return what the observer knows of the episode [F]."""
        assert self.made.senses is not None
        size = self.made.senses.sizes["row"]
        address = self.c.shim_row(self.state)
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_double)), (size,)).copy()

    def used(self) -> list[int]:
        """Return how often an estimate began to be used, and in how many decisions it was."""
        return [int(self.c.shim_used(self.state, which)) for which in (0, 1)]

    def distances(self) -> tuple[float, float]:
        """Return the mean distances of the last rehearsal, with the estimate and with the measurement."""
        return float(self.c.shim_distance(self.state, 0)), float(self.c.shim_distance(self.state, 1))

    def rates(self) -> list[np.ndarray]:
        """Rates of the encoder and of every layer."""
        layers = range(-1, len(self.made.layers))
        return [self._read(self.c.homeo_rates(self.state, k), self._size(k)) for k in layers]

    def read(self, what: str, layer: int) -> np.ndarray:
        """Return weight or delta [N, N_in], or bias, mean or energy [N], of a layer."""
        inputs, size = self.made.layers[layer].shape
        address = getattr(self.c, f"shim_{what}")(self.state, layer)
        if what in ("weight", "delta"):
            return self._read(address, inputs * size).reshape(inputs, size).T
        return self._read(address, size)

    def outputs(self) -> np.ndarray:
        return self._read(self.c.shim_output(self.state), self.made.network.spec.outputs)

    def changes(self) -> list[float]:
        return [float(self.c.shim_change(self.state, k)) for k in range(len(self.made.layers))]

    def kept(self) -> list[str]:
        """The candidate that each layer kept in the last sleep of form "best"."""
        names = ("keep", "model", "spikes", "ridge", "delta")
        return [names[self.c.shim_kept(self.state, k)] for k in range(len(self.made.layers))]

    @property
    def sleeps(self) -> int:
        return int(self.c.shim_count(self.state, 0))

    @property
    def rolled_back(self) -> int:
        return int(self.c.shim_count(self.state, 1))

    def write(self, layer: int, weight: np.ndarray, bias: np.ndarray) -> None:
        """Let a layer act with other weights [N, N_in] and biases."""
        w, b = (np.ascontiguousarray(part, dtype=self.real) for part in (weight.T, bias))
        self.c.shim_write(self.state, layer, ctypes.c_void_p(w.ctypes.data), ctypes.c_void_p(b.ctypes.data))

    def _size(self, layer: int) -> int:
        return int(self.made.network.spec.widths[layer + 1])

    def _read(self, address: int, count: int) -> np.ndarray:
        kind = ctypes.c_double if self.real is np.float64 else ctypes.c_float
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(kind)), (count,)).copy()


def memory_in_float64(memory: Memory) -> Memory:
    """Return a memory in float64, with potentials at every spike step, and copies."""
    copies = tuple(WeightCopy(copy.cells.double(), copy.scale.double(), copy.bits) for copy in memory.copies)
    return Memory(memory.inputs.double(), tuple(train.double() for train in memory.trains), copies)


def same_bits(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Whether arrays are equal in every bit, but for the sign of zeros."""
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def make_small_run(folder: Path) -> Run:
    """Return a run of a small spiking policy of InvertedPendulum, which moves and has two layers that fire."""
    env = make_env("InvertedPendulum-v5")
    spec = controller_spec(
        "popsan", env.observation_space, env.action_space, algo="td3", overrides={"hidden": [24, 20]}
    )
    env.close()
    torch.manual_seed(0)
    controller = Controller(spec)
    controller.normaliser.update(torch.as_tensor(np.random.default_rng(0).normal(size=(64, spec.network.inputs))))
    with torch.no_grad():
        for layer in controller.network.layers:  # type: ignore[union-attr]  # it is spiking
            layer.weight.mul_(2.0)
    run = Run.create(
        folder,
        RunSpec(origin="import", env="InvertedPendulum-v5", agent="popsan", controller=spec, versions=versions()),
    )
    save_controller(run, controller)
    return run
