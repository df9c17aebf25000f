"""A folder with a policy as a controller in C99: sources, tables, contract, recorded decisions, build files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import numpy as np

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.contract import Plant, count_operations, write_contract
from homeo_rl.exchange.c.description import Description, describe
from homeo_rl.exchange.c.integer import IntegerPolicy
from homeo_rl.exchange.c.integer_source import LIBRARY as INTEGER_LIBRARY
from homeo_rl.exchange.c.integer_source import (
    integer_contract,
    integer_memory_bytes,
    write_integer_policy,
    write_integer_recorded,
)
from homeo_rl.exchange.c.memory_size import STACK_BYTES, memory_bytes
from homeo_rl.exchange.c.observer_source import LITTLE
from homeo_rl.exchange.c.recording import (
    DAMAGE_SEED,
    LOST_SYNAPSES,
    SEED,
    Recording,
    choose_layer,
    draw_observations,
    record,
)
from homeo_rl.exchange.c.ros2 import write_ros2_package
from homeo_rl.exchange.c.source import actions_of, write_policy
from homeo_rl.exchange.c.tables import matrix, real
from homeo_rl.exchange.exported_file import ExportedFolder
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference
from homeo_rl.observer.memory import ObserverMemory

_SOURCES = files("homeo_rl.exchange.c") / "sources"

LIBRARY = tuple(sorted(part.name for part in _SOURCES.iterdir() if re.match(r"homeo(?!_int\.)\w*\.[ch]", part.name)))
"""Sources that are the same for every policy."""

DECISIONS = 200
"""Decisions that are recorded for the test program."""


_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "alignas alignof and asm assert auto bool break case catch char class const constexpr continue default delete "
        "do double else enum explicit export extern false float for friend goto if inline int isfinite long main "
        "mutable namespace new not null operator or private protected public register requires restrict return short "
        "signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual "
        "void volatile while xor",
    )
)
"""Words of C and C++ that no policy can be called by."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What a controller is exported with."""

    name: str  # C identifier of the policy, from which the names of files and macros are made
    plant: Plant  # what is known of the robot
    arm: str = "none"  # text of the mechanism
    plugin: Homeostasis | None = None  # the mechanism, or None
    references: tuple[LayerReference, ...] = ()  # of every layer, for a mechanism that changes weights
    memory: Memory | None = None  # for a mechanism that sleeps or rehearses
    observer_memory: ObserverMemory | None = None  # for one that observes
    observations: np.ndarray | None = None  # [n, D] that are recorded; None draws `DECISIONS` of them
    faulty: np.ndarray | None = None  # the same with broken sensors, recorded for a mechanism that observes
    run: str = ""  # where the policy comes from, for the README
    # "float32", or "int" for a controller without floating point, which does not adapt
    number: Literal["float32", "int"] = "float32"


def export_c(controller: Controller, deployment: Deployment) -> ExportedFolder:
    """Return the folder.

    Raises:
        UsageError: the policy or the mechanism has a part that the C controller does not have.
    """
    made = describe(controller, deployment.plugin, deployment.references, deployment.memory, deployment.observer_memory)
    observations = deployment.observations
    if observations is None:
        observations = draw_observations(controller, DECISIONS)
    if deployment.number == "int":
        return _export_integer(made, deployment, observations)
    recording = record(
        made, observations, deployment.plugin, deployment.references, deployment.memory, deployment.faulty
    )
    header, source, table_bytes = write_policy(made, deployment.name)
    sizes = {
        "tables": table_bytes,
        "memory": memory_bytes(made, writable=made.writable),
        "memory_writable": memory_bytes(made, writable=True),
        "stack": STACK_BYTES,
    }
    most, measured = count_operations(made, recording, _additions(controller, observations))
    contract = write_contract(made, deployment.plant, deployment.arm, sizes)
    texts = {f"src/{name}": _source(name) for name in LIBRARY}
    texts |= {
        f"src/{deployment.name}.h": header,
        f"src/{deployment.name}.c": source,
        "test/test_controller.c": _source("test_controller.c"),
        "test/recorded.h": write_recorded(made, recording, deployment.name),
        "contract.json": json.dumps(contract, indent=1) + "\n",
        **write_ros2_package(deployment.name, contract),
        "README.md": _readme(made, deployment, sizes, (len(observations), most, measured)),
        "CMakeLists.txt": _cmake(deployment.name, LIBRARY, "test_controller", "m"),
        **_library_files(deployment),
    }
    return ExportedFolder({name: text.encode() for name, text in texts.items()}, _notes(made, recording, sizes))


def _export_integer(made: Description, deployment: Deployment, observations: np.ndarray) -> ExportedFolder:
    """Return the folder of a controller in integers."""
    policy, name = IntegerPolicy(made), deployment.name
    header, source, table_bytes = write_integer_policy(policy, name)
    sizes = {"tables": table_bytes, "memory": integer_memory_bytes(policy)}
    contract = {**write_contract(made, deployment.plant, deployment.arm, sizes), **integer_contract(policy)}
    contract["not_finite"] = "integers are always finite"
    values = {
        "NAME": name, "UPPER": name.upper(), "RUN": deployment.run or name, "ENV": deployment.plant.env,
        "DECISIONS": len(observations), "TABLES": f"{table_bytes:,}", "BYTES": f"{sizes['memory']:,}",
    }  # fmt: skip
    texts = {f"src/{part}": _source(part) for part in INTEGER_LIBRARY}
    texts |= {
        f"src/{name}.h": header,
        f"src/{name}.c": source,
        "test/test_integer.c": _source("test_integer.c"),
        "test/recorded.h": write_integer_recorded(policy, name, observations, SEED),
        "contract.json": json.dumps(contract, indent=1) + "\n",
        "README.md": _fill(_source("README-int.md"), values),
        "CMakeLists.txt": _cmake(name, INTEGER_LIBRARY, "test_integer", ""),
        **_library_files(deployment),
    }
    notes = (f"tables {table_bytes:,} bytes, memory {sizes['memory']:,} bytes, all numbers are integers",)
    return ExportedFolder({path: text.encode() for path, text in texts.items()}, notes)


def _cmake(name: str, library: tuple[str, ...], test: str, libraries: str) -> str:
    sources = " ".join(f"src/{part}" for part in (*library, f"{name}.c") if part.endswith(".c"))
    defines = "" if libraries else " -DHOMEO_NO_FLOAT"
    values = {"NAME": name, "SOURCES": sources, "TEST": test, "LIBRARIES": libraries, "DEFINES": defines}
    return _fill(_source("CMakeLists.txt"), values)


def _fill(text: str, values: Mapping[str, object]) -> str:
    """Return a template with its words between at signs replaced."""
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def name_of(text: str) -> str:
    """Return a C identifier for a run's name.

    Raises:
        UsageError: nothing of the name can be part of one.
    """
    name = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")
    if not name:
        raise UsageError(f"--to c: expected a run with letters in its name, got {text!r}; rename its folder")
    taken = name in _KEYWORDS or name.startswith(("homeo", "table_")) or name.endswith("_t")
    return f"policy_{name}" if taken or name[0].isdigit() else name


def write_recorded(made: Description, recording: Recording, name: str) -> str:
    """Return the text of ``test/recorded.h``."""
    count, inputs = recording.observations.shape
    actions = actions_of(made.controller)
    arrays = [
        matrix("recorded_observations", recording.observations, "float"),
        matrix("recorded_healthy", recording.healthy, "float"),
        matrix("recorded_damaged", recording.damaged, "float"),
        _digests("recorded_healthy_digests", recording.healthy_digests),
        _digests("recorded_damaged_digests", recording.damaged_digests),
    ]
    damaged, slept = recording.distances
    numbers = {
        "POLICY": name, "BYTES": f"{name.upper()}_WRITABLE_BYTES", "INPUTS": inputs, "ACTIONS": actions,
        "DECISIONS": count, "SEED": SEED, "DAMAGE_SEED": DAMAGE_SEED, "LOST": real(LOST_SYNAPSES),
        "DAMAGED_LAYER": choose_layer(made), "SLEEPS": int(recording.slept is not None),
        "DAMAGED_DISTANCE": f"{damaged:.9g}", "SLEPT_DISTANCE": f"{slept:.9g}",
    }  # fmt: skip
    if recording.faulty is not None:
        numbers["USED"] = recording.used
        names = ("recorded_faulty_observations", "recorded_faulty")
        arrays += [matrix(name, part, "float") for name, part in zip(names, recording.faulty[:2], strict=True)]
        arrays.append(_digests("recorded_faulty_digests", recording.faulty[2]))
    defines = "".join(f"#define RECORDED_{key} {value}\n" for key, value in numbers.items())
    return f'#include "{name}.h"\n\n{defines}\n' + "\n".join(arrays)


def _digests(name: str, values: np.ndarray) -> str:
    listed = [f"0x{value:08x}u" for value in values.tolist()]
    lines = ",\n    ".join(", ".join(listed[k : k + 8]) for k in range(0, len(listed), 8))
    return f"static const uint32_t {name}[{len(values)}] = {{\n    {lines}\n}};\n"


def _source(name: str) -> str:
    return (_SOURCES / name).read_text(encoding="utf-8")


def _additions(controller: Controller, observations: np.ndarray) -> float:
    """Return the additions at synapses that all decisions cost together."""
    session = Session(controller, 1)
    session.begin(0, np.random.default_rng(SEED))
    total = 0.0
    for observation in observations:
        session.act(observation[None])
        total += float(session.operations()[0, 1])
    return total


def _readme(made: Description, deployment: Deployment, sizes: dict[str, int], counts: tuple[int, int, int]) -> str:
    decisions, most, measured = counts
    period = deployment.plant.period
    values = {
        "NAME": deployment.name, "UPPER": deployment.name.upper(), "RUN": deployment.run or deployment.name,
        "ENV": deployment.plant.env, "ARM": deployment.arm,
        "PERIOD": "control period" if period is None else f"{1e3 * period:g} ms",
        "MECHANISM": _mechanism_text(made), "DECISIONS": decisions, "OPERATIONS": f"{most:,}",
        "MEASURED": f"{measured:,}", "TABLES": f"{sizes['tables']:,}", "BYTES": f"{sizes['memory']:,}",
        "WRITABLE": f"{sizes['memory_writable']:,}", "STACK": f"{sizes['stack']:,}",
    }  # fmt: skip
    return _fill(_source("README.md"), values)


def _mechanism_text(made: Description) -> str:
    if made.mechanism.sleep is not None:
        text = (
            "The controller tests itself and repairs damage. Call `homeo_maybe_sleep(&controller)` before `homeo_act` "
            "where a\npause does not matter (it does what the Python session does), or cut the work into slices that a "
            "control loop has\ntime for:\n\n```c\nif (homeo_selftest_due(&controller) && homeo_selftest_start("
            "&controller) == HOMEO_OK) testing = 1;\nif (testing && (result = homeo_selftest_step(&controller)) != "
            "HOMEO_BUSY) testing = 0, asleep = result == HOMEO_FAILED &&\n    homeo_sleep_start(&controller) == "
            "HOMEO_OK;\nif (asleep && homeo_sleep_step(&controller) != HOMEO_BUSY) asleep = 0;\n```\n\nUntil the last "
            "slice `homeo_act` acts with the weights of before; then the repaired ones are in place all at once."
        )
    elif made.mechanism.awake is not None:
        text = "The controller adapts in every `homeo_act`; `homeo_reset` forgets what it learned."
    else:
        text = "The network does not adapt; export it with --homeostasis sleep for one that repairs itself."
    if made.senses is None:
        return text
    if not made.senses.explains:
        return f"{text}\n\nAn observer raises alarms (`homeo_read_alarm`). {LITTLE}."
    return (
        f"{text}\n\nAn observer puts estimates in the place of broken sensors. Whether they help the policy is "
        "rehearsed, in slices:\n\n```c\nif (homeo_observe(&controller, observation) == HOMEO_DUE) homeo_rehearse_step("
        "&controller); /* or homeo_rehearse */\nhomeo_act(&controller, observation, action);\n```\n\nUntil the last "
        "slice the verdict of before holds. `homeo_read_alarm` says what was found."
    )


def _library_files(deployment: Deployment) -> dict[str, str]:
    """Return what Arduino and PlatformIO read."""
    about = f"Spiking controller for {deployment.plant.env}, exported by homeo-rl"
    arduino = {
        "name": deployment.name, "version": "1.0.0", "author": "homeo-rl", "maintainer": "homeo-rl",
        "sentence": about, "paragraph": "C99, no heap.", "category": "Device Control", "url": "https://example.org",
        "architectures": "*", "includes": f"{deployment.name}.h",
    }  # fmt: skip
    platformio = {
        "name": deployment.name, "version": "1.0.0", "description": about, "frameworks": "*", "platforms": "*",
        "build": {"srcDir": "src", "includeDir": "src", "flags": ["-ffp-contract=off"]},
    }  # fmt: skip
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in arduino.items()),
        "library.json": json.dumps(platformio, indent=1) + "\n",
        "idf_component.yml": f'version: "1.0.0"\ndescription: "{about}"\n',
    }


def _notes(made: Description, recording: Recording, sizes: dict[str, int]) -> tuple[str, ...]:
    notes = [
        f"tables {sizes['tables']:,} bytes, memory {sizes['memory']:,} bytes ({sizes['memory_writable']:,} with "
        "HOMEO_WRITABLE)"
    ]
    damaged, slept = recording.distances
    if recording.slept is not None:
        notes.append(
            f"with {LOST_SYNAPSES:.0%} of the synapses of a layer lost, actions differ by {damaged:.3f} on average, "
            f"and by {slept:.3f} after a sleep"
        )
    if made.senses is not None:
        used = (
            f"estimates were used in {recording.used} of the {len(recording.observations)} decisions with stuck sensors"
        )
        notes.append(used if made.senses.explains else LITTLE)
    notes.append("check it there: cmake -B build && cmake --build build && ctest --test-dir build")
    return tuple(notes)
