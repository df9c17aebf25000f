"""The observer in C: every number of every row, and every estimate, is Python's bit for bit."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from c_controller import SOURCES, STRICT, needs_gcc
from c_observer import OBSERVER, POINTERS, CObserver, compile_observer
from project_files import ROOT

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.session import Session
from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.schedule import Schedule
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.observer_memory import load_observer
from homeo_rl.observer import bias_kernels, kernels, layout, model_kernels
from homeo_rl.observer.layout import BIAS_SINCE, GATE, LAG, OFFSETS, OPEN, SCALES, SINCE, STAMPED, USED
from homeo_rl.observer.layout import DECISIONS as DECISIONS_SO_FAR
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.observer.observer import scales_of
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.storage.pretrained import FOLDER, list_pretrained

pytestmark = needs_gcc
SUPPORT = ROOT / "tests" / "support"

BODIES = ("mlp-hopper-2", "mlp-halfcheetah-1", "mlp-walker2d-1", "mlp-ant-1")
OTHERS = ("navigation-san",)
DECISIONS, ONSET = 320, 60

FAULTS = {
    "clean": [],
    "noise": [{"kind": "obs-gaussian-normalised", "std": 0.3}],
    "stuck": [{"kind": "obs-stuck", "fraction": 0.2}],
    "dropped": [{"kind": "obs-dropped", "probability": 0.2}],
    "groups dropped": [{"kind": "obs-markov"}],
    "offset": [{"kind": "obs-offset", "size": 0.3}],
    "scale": [{"kind": "obs-scale", "error": 0.3}],
    "drift": [{"kind": "obs-drift", "std": 0.9}],
    "outliers": [{"kind": "obs-spikes"}],
    "delay": [{"kind": "obs-delayed", "steps": 2}],
    "delay and noise": [{"kind": "obs-gaussian-normalised", "std": 0.2}, {"kind": "obs-delayed", "steps": 3}],
    "jitter": [{"kind": "obs-jitter", "steps": 3}],
    "one position": [{"kind": "pose", "std": 0.3}],
    "one velocity": [{"kind": "velocity"}],
}
"""What is done to recorded measurements, from the decision `ONSET` on or from the first one."""

Sequence = list[tuple[np.ndarray, np.ndarray, bool]]
"""Measurement [D], the action after it [K], and whether an episode begins with it."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_observer(tmp_path_factory.mktemp("observer"))


@cache
def memory_of(name: str) -> ObserverMemory:
    memory = load_observer(Run.open(FOLDER / name))
    assert memory is not None
    return memory


@cache
def recorded(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, range]]:
    """Return observations, actions and beginnings of episodes of the healthy robot, and where its joints are read."""
    run = Run.open(FOLDER / name)
    env, session = make_env(run.spec.env, run.spec.env_kwargs), Session(load_controller(run), 1)
    ends = [int(getattr(env.unwrapped, "observation_structure", {}).get(group, 0)) for group in ("qpos", "qvel")]
    seen, done, begins = [], [], []
    over = True
    for step in range(DECISIONS):
        if over:
            x, _ = env.reset(seed=step)
            session.begin(0, np.random.default_rng(step))
        begins.append(over)
        seen.append(np.asarray(x, np.float32))
        done.append(session.act(seen[-1][None])[0])
        x, _, terminated, truncated, _ = env.step(done[-1])
        over = terminated or truncated
    env.close()
    joints = {"qpos": range(ends[0]), "qvel": range(ends[0], sum(ends))}
    return np.stack(seen), np.stack(done), np.array(begins), {k: v for k, v in joints.items() if len(v)}


def faulty(name: str, fault: str, onset: int) -> Sequence:
    """Return a recorded sequence with a fault on its measurements."""
    observations, actions, begins, joints = recorded(name)
    spread = tuple(float(value) for value in memory_of(name).model.spread)
    parts = [dict(part) | ({"spread": spread} if "size" in part or "std" in part else {}) for part in FAULTS[fault]]
    parts = [{k: v for k, v in part.items() if k != "spread" or part["kind"].startswith("obs")} for part in parts]
    model = FaultModel(parts, 1, seed=7, schedule=Schedule(onset=onset), joints=joints)
    return [
        (model.observe(x[None])[0], action, bool(begin))
        for x, action, begin in zip(observations, actions, begins, strict=True)
    ]


def held(name: str, hold: Callable[[int], int]) -> Sequence:
    """Return a recorded sequence in which whole measurements repeat: that of ``hold(t)`` is read at t."""
    observations, actions, begins, _ = recorded(name)
    times = [min(max(hold(step), 0), step) for step in range(len(actions))]
    return [(observations[t], actions[step], bool(begins[step])) for step, t in enumerate(times)]


def late(name: str, steps: int) -> Sequence:
    """Return the beginning of an episode whose measurements are late from the first one, so that none repeats."""
    observations, actions, begins, _ = recorded(name)
    count = int(np.flatnonzero(begins)[1]) if begins.sum() > 1 else len(begins)
    rows = zip(observations[: count - steps], actions[steps:count], strict=True)
    return [(x, action, step == 0) for step, (x, action) in enumerate(rows)]


class Compiled:
    """One slot of the compiled observer of Python."""

    def __init__(self, memory: ObserverMemory) -> None:
        model = memory.model
        self.model, self.scales = model, scales_of(memory)
        self.offsets, size = layout.offsets_of(model.entries, model.actions)
        self.starts = np.array(self.offsets)
        self.dims = np.array([model.entries, model.actions, len(model.b1)])
        self.work = layout.work_space(model.entries, model.actions, len(model.b1))
        self.full = layout.number_space(model.entries, model.actions)
        self.rows, self.out = np.zeros((1, size)), np.zeros((1, model.entries), np.float32)
        self.begin()

    def begin(self) -> None:
        self.rows[:] = 0.0
        self.rows[0, GATE] = 1.0

    def advance(self, observation: np.ndarray, last: np.ndarray) -> bool:
        return bool(
            kernels.advance(
                self.model.packed, self.scales, self.dims, self.starts, self.rows, observation[None], last[None],
                self.out, self.work, self.full,
            )
        )  # fmt: skip

    def correct(self, kind: int, observation: np.ndarray) -> None:
        bias_kernels.correct(self.scales, self.dims, self.offsets, self.rows[0], kind, observation)


def bits(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint64 if values.dtype == np.float64 else np.uint32)


def drive(library: Path, memory: ObserverMemory, sequence: Sequence) -> Iterator[np.ndarray]:
    """Advance both observers through a sequence, compare them after each decision, and give each row."""
    python, c = Compiled(memory), CObserver(library, memory.model, scales_of(memory))
    last = np.zeros(memory.model.actions, np.float32)
    for step, (seen, action, begins) in enumerate(sequence):
        if begins:
            python.begin()
            c.begin()
        seen = np.ascontiguousarray(seen, np.float32)
        assert python.advance(seen, last) == c.advance(seen, last), step
        different = np.flatnonzero(bits(python.rows[0]) != bits(c.row))
        assert not len(different), f"decision {step}: numbers {different[:8]} of the row differ"
        assert np.array_equal(bits(python.out[0]), bits(c.out)), step
        for kind in (OFFSETS, SCALES):
            ours, theirs = seen.copy(), seen.copy()
            python.correct(kind, ours)
            c.correct(kind, theirs)
            assert np.array_equal(bits(ours), bits(theirs)), (step, kind)
        last = np.ascontiguousarray(action, np.float32)
        yield c.row


@pytest.mark.parametrize("name", [*BODIES, *OTHERS])
def test_every_row_is_equal_under_every_fault_of_sensors(library: Path, name: str) -> None:
    memory, opened, lags, errors = memory_of(name), set(), set(), set()
    first = layout.offsets_of(memory.model.entries, memory.model.actions)[0].bias_error
    for index, (fault, parts) in enumerate(FAULTS.items()):
        if parts and parts[0]["kind"] in ("pose", "velocity") and not recorded(name)[3]:
            continue  # this body has no joints
        for row in drive(library, memory, faulty(name, fault, 0 if index % 3 == 2 else ONSET)):
            if row[OPEN] > 0.0:
                opened.add(fault)
                lags.add(int(row[LAG]))
                errors.add(row[first + 1] < row[first])
    if name in BODIES:
        assert len(opened) >= len(FAULTS) - 4
        assert {0, 2} <= lags
        assert errors == {True, False}  # a bias explained measurements, and did not


@pytest.mark.parametrize("name", BODIES)
def test_every_row_is_equal_where_whole_measurements_repeat(library: Path, name: str) -> None:
    memory, rng = memory_of(name), generator(5, "test")
    late = rng.integers(0, 9, DECISIONS)
    cases: dict[str, Callable[[int], int]] = {
        "each is read twice": lambda t: t - t % 2 if t >= ONSET else t,
        "each is read four times": lambda t: t - t % 4 if t >= ONSET else t,
        "ages are drawn": lambda t: t - int(late[t]) if t >= ONSET else t,
        "it is frozen for long, and goes on": lambda t: ONSET if ONSET <= t < 290 else t,
    }
    stamped = 0
    for hold in cases.values():
        stamped += sum(row[STAMPED] > 0.0 for row in drive(library, memory, held(name, hold)))
    assert stamped > 300


@pytest.mark.parametrize("name", BODIES)
def test_every_row_is_equal_where_measurements_are_late(library: Path, name: str) -> None:
    found = set()
    for steps in (1, 3, 5):
        for row in drive(library, memory_of(name), late(name, steps)):
            found |= {int(row[LAG])} if row[OPEN] > 0.0 and row[STAMPED] == 0.0 else set()
    assert {0, 1, 3} <= found


def test_every_row_is_equal_in_whatever_decision_an_alarm_begins(library: Path) -> None:
    memory = memory_of("mlp-halfcheetah-1")
    observations, actions, begins, _ = recorded("mlp-halfcheetah-1")
    for onset in range(12):
        seen = observations[:25].copy()
        seen[onset:, 9] += 12.0 * memory.model.spread[9]
        opens = [bool(row[OPEN]) for row in drive(library, memory, list(zip(seen, actions, begins, strict=False)))]
        assert opens.index(True) == onset


def test_an_alarm_ends_as_in_python(library: Path) -> None:
    memory = memory_of("mlp-halfcheetah-1")
    observations, actions, begins, _ = recorded("mlp-halfcheetah-1")
    sequence = list(zip(observations, actions, begins, strict=True))
    sequence[40] = (observations[40] + 9.0 * memory.model.spread, actions[40], bool(begins[40]))
    open_ = [bool(row[OPEN]) for row in drive(library, memory, sequence)]
    assert open_[40]
    assert not open_[-1]


@pytest.mark.parametrize("still", [(0, 5), tuple(range(11))])
def test_sensors_that_never_move_are_left_out_alike(library: Path, still: tuple[int, ...]) -> None:
    memory = memory_of("mlp-hopper-2")
    moves = memory.model.moves.copy()
    moves[list(still)] = False
    memory = dataclasses.replace(memory, model=dataclasses.replace(memory.model, moves=moves))
    opened = 0
    for fault in ("noise", "one velocity", "delay", "jitter"):
        opened += sum(row[OPEN] > 0.0 for row in drive(library, memory, faulty("mlp-hopper-2", fault, ONSET)))
    assert (opened > 0) == (len(still) < 11)


@pytest.mark.parametrize("decisions", [1e3, 30.0])
def test_a_rehearsal_goes_on_alike_from_the_row_of_an_alarm(library: Path, decisions: float) -> None:
    """Where fewer decisions are written to a row than it has had, what it estimates seems to be in the future."""
    memory, name = memory_of("mlp-hopper-2"), "mlp-hopper-2"
    for fault in ("noise", "stuck", "delay", "jitter"):
        sequence = faulty(name, fault, 10)
        python, c = Compiled(memory), CObserver(library, memory.model, scales_of(memory))
        for rows in drive(library, memory, sequence[:200]):
            python.rows[0] = c.row[:] = rows
        assert python.rows[0, OPEN] > 0.0
        for row in (python.rows[0], c.row):
            row[GATE], row[USED], row[SINCE], row[DECISIONS_SO_FAR], row[BIAS_SINCE] = 1e6, 1.0, 1e3, decisions, -1.0
        for seen, action, _ in sequence[200:240]:
            assert python.advance(seen, action) == c.advance(seen, action)
            assert np.array_equal(bits(python.rows[0]), bits(c.row))


@pytest.mark.parametrize("name", [name for name in list_pretrained() if (FOLDER / name / "observer").exists()])
def test_predictions_and_jacobians_are_equal(library: Path, name: str) -> None:
    memory, rng = memory_of(name), generator(1, "test")
    model, python = memory.model, Compiled(memory)
    c, net = CObserver(library, model, scales_of(memory)), model_kernels.unpack(model.packed, python.dims)
    entries, size = model.entries, model.entries + model.actions
    for scale in (0.1, 1.0, 5.0, 1000.0):
        x = (scale * rng.normal(size=size)).astype(np.float32)
        python.work[5, :size] = x
        mean, variance, slopes = python.full[1, :entries], python.full[2, :entries], python.full[10 : 10 + entries]
        for width in (size, entries):
            model_kernels.predict(net, python.work[5], mean, variance, python.work)
            model_kernels.jacobian(net, python.work, python.work[6:].ravel(), slopes, width)
            theirs = c.predict(x)
            assert np.array_equal(bits(theirs[0]), bits(mean))
            assert np.array_equal(bits(theirs[1]), bits(variance))
            assert np.array_equal(c.differentiate(width), slopes[:, :width])


HOSTILE = {
    "huge": lambda x, t, rng: np.full_like(x, 1e15 * (-1.0) ** t),
    "huge now and then": lambda x, t, rng: np.where(rng.random(x.shape) < 0.1, -1e15, x),
    "subnormal": lambda x, t, rng: np.full_like(x, 1e-42),
    "zero": lambda x, t, rng: np.zeros_like(x),
    "negative zero": lambda x, t, rng: np.full_like(x, -0.0),
    "constant": lambda x, t, rng: np.full_like(x, 0.37),
    "noise": lambda x, t, rng: rng.normal(size=x.shape) * 10.0 ** rng.uniform(-20.0, 15.0, x.shape),
    "a step": lambda x, t, rng: x + 1e6 * (t > 100),
}
"""Measurements that no robot sends; the controller refuses those that are not finite, or beyond 1e15, before this."""


def hostile(name: str, fault: str) -> Sequence:
    rng, (observations, actions, begins, _) = generator(3, "test"), recorded(name)
    return [
        (HOSTILE[fault](x, t, rng).astype(np.float32), (1e15 if t % 7 == 3 else 1.0) * action, bool(begins[t]))
        for t, (x, action) in enumerate(zip(observations, actions, strict=True))
    ]


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_measurements_give_the_same_rows(library: Path, fault: str) -> None:
    for name in ("mlp-hopper-2", "mlp-halfcheetah-1"):
        for row in drive(library, memory_of(name), hostile(name, fault)):
            assert np.isfinite(row).all()


def write_sequence(path: Path, memory: ObserverMemory, sequence: Sequence) -> np.ndarray:
    """Write what ``observer_replay.c`` reads, and return the rows [T, F] of the compiled kernels of Python."""
    model, python, rows = memory.model, Compiled(memory), []
    last = np.zeros(model.actions, np.float32)
    arrays = [getattr(model, name).astype(np.float32) for name in POINTERS[:-1]]
    with path.open("wb") as file:
        file.write(np.array([model.entries, model.actions, len(model.b1), len(sequence)], np.int32).tobytes())
        file.write(b"".join(array.tobytes() for array in arrays) + python.scales.tobytes())
        for seen, action, begins in sequence:
            if begins:
                python.begin()
            file.write(np.concatenate([[begins], seen, last]).astype(np.float32).tobytes())
            python.advance(seen, last)
            rows.append(python.rows[0].copy())
            last = np.ascontiguousarray(action, np.float32)
    return np.stack(rows)


@pytest.mark.parametrize(
    ("compiler", "sanitizers"),
    [("gcc", "address,undefined,float-cast-overflow"), ("clang", "memory,undefined,float-cast-overflow")],
)
def test_sanitizers_find_nothing(tmp_path: Path, compiler: str, sanitizers: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip("clang is not installed: apt-get install clang libclang-rt-14-dev")
    flags = ["-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", f"-I{SOURCES}"]
    sources, program = [*(SOURCES / name for name in OBSERVER), SUPPORT / "observer_replay.c"], tmp_path / "replay"
    try:
        subprocess.run([compiler, *STRICT, *flags, *map(str, sources), "-lm", "-o", str(program)], check=True)
    except subprocess.CalledProcessError:
        if compiler == "gcc":
            raise
        pytest.skip("clang has no memory sanitizer here: apt-get install libclang-rt-14-dev")
    name = "mlp-hopper-2"
    sequence = [step for fault in HOSTILE for step in hostile(name, fault)[:60]]
    sequence += [step for fault in ("dropped", "scale", "delay", "jitter") for step in faulty(name, fault, 20)[:160]]
    rows = write_sequence(tmp_path / "in", memory_of(name), sequence)
    subprocess.run([program, tmp_path / "in", tmp_path / "out"], check=True, timeout=300)
    found = np.fromfile(tmp_path / "out").reshape(rows.shape)
    assert np.array_equal(bits(found), bits(rows))


def hash_row(row: np.ndarray) -> int:
    """Return the 64-bit FNV-1a hash of the bytes of a row."""
    result = 0xCBF29CE484222325
    for byte in row.tobytes():
        result = (result ^ byte) * 0x100000001B3 % 2**64
    return result


def write_check(path: Path, memory: ObserverMemory, sequence: Sequence) -> int:
    """Write a C function that counts rows that have another hash than in Python; return how many are of alarms."""
    model, python, hashes, last, steps = memory.model, Compiled(memory), [], np.zeros(memory.model.actions), []
    alarms = 0
    for seen, action, begins in sequence:
        if begins:
            python.begin()
        steps.append(np.concatenate([[begins], seen, last]))
        alarms += python.advance(seen, np.asarray(last, np.float32))
        hashes.append(f"UINT64_C({hash_row(python.rows[0])})")
        last = action
    tables = {name: (getattr(model, name), "float") for name in POINTERS[:-1]}
    tables |= {"scales": (python.scales, "double"), "step": (np.stack(steps), "float")}
    lines = ['#include "homeo_observer.h"', f"static const uint64_t hash[] = {{{', '.join(hashes)}}};"]
    for name, (values, kind) in tables.items():
        numbers = ", ".join(
            float(value).hex() for value in np.asarray(values, np.float32 if kind == "float" else None).flat
        )
        lines.append(f"static const {kind} {name}[] = {{{numbers}}};")
    d, k, h = python.dims.tolist()
    lines.append(f"static const homeo_forward model = {{{d}, {k}, {h}, {', '.join(POINTERS)}}};")
    sizes = {"row": len(python.rows[0]), "full": python.full.size}
    lines += [f"static double {name}[{size}];" for name, size in sizes.items()]
    lines += [
        f"static float work[{python.work.size}], out[{d}];",
        f"""
int homeo_observer_check(void);
int homeo_observer_check(void)
{{
    int differing = 0, t;
    size_t k;

    for (t = 0; t < {len(hashes)}; t++) {{
        const float *now = step + t * {1 + d + k};
        uint64_t found = UINT64_C(0xCBF29CE484222325);

        if (now[0] > 0.0f) {{
            homeo_observer_begin(&model, row);
        }}
        homeo_observer_advance(&model, row, now + 1, now + {1 + d}, out, full, work);
        for (k = 0; k < sizeof row; k++) {{
            found = (found ^ ((const unsigned char *)row)[k]) * UINT64_C(0x100000001B3);
        }}
        differing += found != hash[t];
    }}
    return differing;
}}""",
    ]
    path.write_text("\n".join(lines) + "\n")
    return alarms


@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="not installed: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
)
def test_a_cortex_m4_has_the_same_rows(tmp_path: Path) -> None:
    name, program = "mlp-hopper-2", tmp_path / "program.elf"
    sequence = [step for fault in ("noise", "jitter") for step in faulty(name, fault, 5)[:12]]
    assert write_check(tmp_path / "test_observer.c", memory_of(name), sequence) > 6
    target = (
        "-mcpu=cortex-m4",
        "-mthumb",
        "-mfloat-abi=hard",
        "-mfpu=fpv4-sp-d16",
        "-nostartfiles",
        "-DHOMEO_OBSERVER",
    )
    strict = ("-std=gnu99", *STRICT[1:4], STRICT[-1])
    command = ["arm-none-eabi-gcc", *strict, "-O2", *target, f"-I{SOURCES}", f"-I{tmp_path}",
               f"-T{SUPPORT / 'cortex_m4.ld'}", *(str(SOURCES / source) for source in OBSERVER),
               str(SUPPORT / "cortex_m4.c"), "-lm", "-lc", "-lgcc", "-o", str(program)]  # fmt: skip
    subprocess.run(command, check=True)
    emulator = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]
    done = subprocess.run([*emulator, "-semihosting", "-kernel", str(program)], capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert "differing 0" in done.stdout + done.stderr, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("flags", [("-O0",), ("-O3", "-march=native")])
def test_rows_do_not_depend_on_the_compiler(tmp_path: Path, flags: tuple[str, ...]) -> None:
    compiled = compile_observer(tmp_path, *flags)
    for fault in ("noise", "delay", "jitter"):
        assert any(
            row[OPEN] > 0.0 for row in drive(compiled, memory_of("mlp-walker2d-1"), faulty("mlp-walker2d-1", fault, 10))
        )


def test_it_needs_no_heap_and_has_no_state(tmp_path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed: apt-get install binutils")
    undefined, defined = set(), set()
    flags = [
        "-Wshadow",
        "-Wconversion",
        "-Wno-sign-conversion",
        "-Wdouble-promotion",
        "-fno-pic",
        "-O2",
        f"-I{SOURCES}",
    ]
    for source in OBSERVER:
        made = tmp_path / "object.o"
        subprocess.run(["gcc", *STRICT, *flags, "-c", str(SOURCES / source), "-o", str(made)], check=True)
        printed = subprocess.run(["nm", str(made)], check=True, capture_output=True, text=True).stdout
        for kind, symbol in re.findall(r"([A-Za-z]) (\S+)$", printed, re.MULTILINE):
            (undefined if kind == "U" else defined).add(symbol)
            assert kind in "UTtRr", (source, kind, symbol)  # neither data nor commons
            assert kind in "Utr" or symbol.startswith("homeo_"), symbol
    assert undefined - defined <= {"sqrt", "sqrtf", "memcpy", "memset", "memmove"}


def test_the_header_has_the_settings_of_python(tmp_path: Path) -> None:
    header = (SOURCES / "homeo_observer.h").read_text()
    names = set(re.findall(r"HOMEO_(?:AT|PART|OBSERVER)_[A-Z_]+", header)) - {"HOMEO_OBSERVER_H"}
    names |= {"HOMEO_NOTHING", "HOMEO_ESTIMATE", "HOMEO_WITHOUT_OFFSETS", "HOMEO_WITHOUT_SCALES"}
    names |= {"HOMEO_OFFSETS", "HOMEO_SCALES", "HOMEO_PARTS"}
    lines = "".join(f'    printf("{name} %.17g\\n", (double){name});\n' for name in sorted(names))
    source, program = tmp_path / "settings.c", tmp_path / "settings"
    source.write_text(
        f'#include <stdio.h>\n#include "homeo_observer.h"\nint main(void)\n{{\n{lines}    return 0;\n}}\n'
    )
    subprocess.run(["gcc", *STRICT, f"-I{SOURCES}", str(source), "-o", str(program)], check=True)
    printed = dict(
        line.split()
        for line in subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    )
    found = {re.sub("^HOMEO_(AT_|PART_|OBSERVER_)?", "", name): float(value) for name, value in printed.items()}
    offsets, _ = layout.offsets_of(17, 6)
    assert found.pop("PARTS") == len(offsets)
    assert found.pop("SCALARS") == offsets[0]
    settings = {
        name: value for name, value in vars(layout).items() if name.isupper() and isinstance(value, int | float)
    }
    settings |= {name.upper(): place for place, name in enumerate(layout.Offsets._fields)}
    assert found == {name: float(value) for name, value in settings.items() if not name.startswith("_")}


def test_sizes_and_offsets_are_those_of_python(library: Path) -> None:
    c = ctypes.CDLL(str(library))
    for name in ("offset", "row", "numbers", "floats"):
        getattr(c, f"homeo_observer_{name}").restype = ctypes.c_size_t
    for entries, actions in ((1, 1), (3, 7), (17, 6), (27, 8), (24, 2)):
        offsets, length = layout.offsets_of(entries, actions)
        assert [c.homeo_observer_offset(entries, actions, part) for part in range(len(offsets))] == [*offsets]
        assert c.homeo_observer_row(entries, actions) == length
        assert c.homeo_observer_numbers(entries, actions) <= layout.number_space(entries, actions).size
        assert c.homeo_observer_floats(entries, actions, 128) <= layout.work_space(entries, actions, 128).size
