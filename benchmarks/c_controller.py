"""One decision of a trained policy: the exported controller in C, the network's call in Python, and a whole session.

``python -m benchmarks.c_controller [--json]``; needs gcc. The policy is ``popsan-halfcheetah-0`` (170-256-256-60, T 5),
without a mechanism and with DWAM on all layers, on observations of its own episode. The C code is compiled as the
exported CMakeLists.txt does, and once more for this processor's vectors, which change no bit. Times are the
processor's: what other programs take of the core is left out.
"""

from __future__ import annotations

import ctypes
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.common import Arm, alternate, arguments, report
from homeo_rl import calibrate, make_homeostasis, make_session
from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.envs.make import make_env
from homeo_rl.run import Run, copy_run
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.storage.pretrained import FOLDER
from homeo_rl.workflows.deploy import CALIBRATION_EPISODES, export_controller, observe

POLICY, NAME = "popsan-halfcheetah-0", "popsan_halfcheetah_0"
FLAGS = {"C": (), "C, native": ("-march=native",)}

_DRIVER = """
#include "{name}.h"
static homeo_word memory[HOMEO_WORDS({upper}_BYTES)];
static homeo controller;
int begin(void)
{{
    int result = homeo_init(&controller, &{name}, memory, sizeof memory, 0);
    return result != HOMEO_OK ? result : homeo_reset(&controller, 0);
}}
void run(const float *observations, int count)
{{
    float action[{upper}_ACTIONS];
    int k;
    for (k = 0; k < count; k++) {{
        homeo_act(&controller, observations + k * {upper}_INPUTS, action);
    }}
}}
"""


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    with TemporaryDirectory() as scratch, torch.inference_mode():
        run = copy_run(Run.open(FOLDER / POLICY), Path(scratch) / POLICY)  # it keeps a calibration
        controller = load_controller(run)
        env = make_env(run.spec.env, run.spec.env_kwargs)
        rows = observe(controller, env, 20 if told.tiny else 200)
        env.close()
        arms: dict[str, Arm] = {"none: Python, network": _network(controller, rows)}
        for mechanism in ("none", "dwam-paper"):
            exported = export_controller(controller, run, arm=mechanism)
            for name, flags in FLAGS.items():
                folder = Path(scratch) / f"{mechanism} {name}"
                arms[f"{mechanism}: {name}"] = _in_c(exported.files, folder, flags, rows)
            arms[f"{mechanism}: Python, session"] = _session(controller, run, mechanism, rows)
        found = alternate(arms, rounds=3 if told.tiny else 60, clock=time.process_time)
    medians = {name: found[name] / len(rows) for name in sorted(found)}
    ratios = {
        "c_over_network": medians["none: C"] / medians["none: Python, network"],
        "c_native_over_network": medians["none: C, native"] / medians["none: Python, network"],
        "c_over_session": medians["none: C"] / medians["none: Python, session"],
        "c_over_session_dwam": medians["dwam-paper: C"] / medians["dwam-paper: Python, session"],
    }
    note = "c_over_network: times the time of the network's call in Python (goal <= 0.6); DWAM in C: goal <= 30 us"
    report(medians, ratios, as_json=told.json, note=note)


def _in_c(files: dict[str, bytes], folder: Path, flags: tuple[str, ...], observations: np.ndarray) -> Arm:
    """Compile a controller, and return what decides on all observations, one after the other."""
    folder.mkdir()
    for path, blob in files.items():
        if path.startswith("src/"):
            (folder / path.removeprefix("src/")).write_bytes(blob)
    (folder / "driver.c").write_text(_DRIVER.format(name=NAME, upper=NAME.upper()))
    sources = sorted(path.name for path in folder.glob("*.c"))
    command = ["gcc", "-std=c99", "-O3", "-ffp-contract=off", "-shared", "-fPIC", *flags, *sources, "-lm"]
    subprocess.run([*command, "-o", "controller.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "controller.so"))
    if library.begin() != 0:
        raise RuntimeError(f"{NAME}: homeo_init or homeo_reset failed")
    rows = np.ascontiguousarray(observations, dtype=np.float32)
    return lambda: library.run(ctypes.c_void_p(rows.ctypes.data), len(rows))


def _network(controller: Controller, observations: np.ndarray) -> Arm:
    network = controller.network
    assert isinstance(network, SpikingNetwork)
    rows = [row[None] for row in controller.normaliser(torch.as_tensor(observations))]

    def act() -> None:
        for row in rows:
            network(row)

    return act


def _session(controller: Controller, run: Run, mechanism: str, observations: np.ndarray) -> Arm:
    plugin = make_homeostasis(mechanism)
    calibration = None if plugin is None else calibrate(run, controller, which="policy", episodes=CALIBRATION_EPISODES)
    session = make_session(controller, 1, plugin=plugin, calibration=calibration, auto_sleep=False)
    session.begin(0, np.random.default_rng(0))

    def act() -> None:
        for row in observations:
            session.act(row[None])

    return act


if __name__ == "__main__":
    main()
