"""The controller in integers: exactly its reference, on every compiler, and worth what floats are worth."""

from __future__ import annotations

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_controller import SOURCES, STRICT, make_small_run, needs_gcc
from cli_calls import call
from networks import ENCODERS, NEURONS, READOUTS
from project_files import ROOT
from test_c_networks import SURROUNDINGS, make_controller, observations

from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.session import Session
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.description import describe
from homeo_rl.exchange.c.integer import ONE, IntegerPolicy, to_q16
from homeo_rl.exchange.c.integer_source import LIBRARY, integer_memory_bytes, write_integer_policy
from homeo_rl.homeostasis import make_homeostasis
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.workflows.deploy import export_controller

pytestmark = needs_gcc
SUPPORT = ROOT / "tests" / "support"


class CInteger:
    """A state of one policy in integers of a library."""

    def __init__(self, library: Path, name: str, policy: IntegerPolicy):
        self.c, self.policy = ctypes.CDLL(str(library)), policy
        self.c.homeo_int_memory.restype = ctypes.c_size_t
        address = ctypes.byref(ctypes.c_char.in_dll(self.c, name))
        assert self.c.homeo_int_memory(address) == integer_memory_bytes(policy)
        self.memory = np.zeros(integer_memory_bytes(policy) // 4, dtype=np.uint32)
        self.state, size = ctypes.create_string_buffer(512), ctypes.c_size_t(self.memory.nbytes)
        memory = ctypes.c_void_p(self.memory.ctypes.data)
        assert self.c.homeo_int_init(self.state, address, memory, ctypes.c_size_t(self.memory.nbytes - 4)) == -2
        assert self.c.homeo_int_init(self.state, address, memory, size) == 0
        self.action = np.zeros(max(len(policy.low), 1), dtype=np.int32)

    def act(self, x: np.ndarray) -> np.ndarray:
        fixed, out = x.astype(np.int32), ctypes.c_void_p(self.action.ctypes.data)
        assert self.c.homeo_int_act(self.state, ctypes.c_void_p(fixed.ctypes.data), out) == 0
        return self.action.copy()


def compile_integers(folder: Path, policies: dict[str, IntegerPolicy], *flags: str) -> dict[str, CInteger]:
    for name, policy in policies.items():
        header, source, _ = write_integer_policy(policy, name)
        (folder / f"{name}.h").write_text(header)
        (folder / f"{name}.c").write_text(source)
    sources = [str(SOURCES / part) for part in LIBRARY if part.endswith(".c")] + [
        str(folder / f"{name}.c") for name in policies
    ]
    library = folder / "integers.so"
    command = ["gcc", *STRICT, "-O2", "-shared", "-fPIC", *flags, f"-I{SOURCES}", *sources, "-o", str(library)]
    subprocess.run(command, check=True)
    return {name: CInteger(library, name, policy) for name, policy in policies.items()}


def test_every_neuron_encoder_readout_and_squashing_is_the_reference_exactly(tmp_path: Path) -> None:
    controllers = [
        make_controller(encoder, neuron, readout)
        for neuron, encoder, readout in itertools.product(NEURONS, ENCODERS, READOUTS)
    ]
    controllers += [make_controller(readout="mean" if "bins" in fields else "population", **fields)
                    for fields in SURROUNDINGS]  # fmt: skip
    controllers += [make_controller(neuron={"kind": "plif"}), make_controller(network={"initial": "neuron"})]
    controllers += [make_controller(network={"initial": "constant"}, readout="membrane")]
    policies = {f"case_{k}": IntegerPolicy(describe(controller)) for k, controller in enumerate(controllers)}
    far = np.concatenate([observations(), 1e4 * observations(5), [[32767.0] * 3, [-32767.0] * 3]])
    moved = 0
    for name, c in compile_integers(tmp_path, policies).items():
        c.c.homeo_int_reset(c.state, ctypes.c_uint64(3))
        noise, actions = np.random.default_rng(3), []
        for x in to_q16(far):
            actions.append(c.act(x))
            np.testing.assert_array_equal(actions[-1], policies[name].act(x, noise))
        moved += len(np.unique(np.stack(actions), axis=0)) > 1
    assert moved > 0.7 * len(policies)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_integers_decide_nearly_as_floats(encoder: str) -> None:
    """Rounding flips single spikes; on average an action is as it was."""
    controller = make_controller(encoder, network={"hidden": (40, 40)})
    policy, session = IntegerPolicy(describe(controller)), Session(controller, 1)
    session.begin(0, np.random.default_rng(4))
    noise, span = np.random.default_rng(4), np.array([3.0, 2.5])
    apart = []
    for x in observations(200):
        expected = session.act(x[None])[0]
        apart.append(np.abs(policy.act(to_q16(x), noise) / ONE - expected) / span)
    assert np.mean(apart) < 2e-3


@pytest.mark.parametrize(
    ("name", "episodes", "measure"), [("popsan-halfcheetah-0", 1, 0.02), ("navigation-san", 6, 0.02)]
)
def test_clean_returns_are_within_two_percent_of_floats(
    name: str, episodes: int, measure: float, tmp_path: Path
) -> None:
    run = Run.of(copy_pretrained(name, tmp_path))
    controller = load_controller(run)
    policy, returns = IntegerPolicy(describe(controller)), {"float": 0.0, "int": 0.0}
    env = make_env(run.spec.env, run.spec.env_kwargs)
    for kind, episode in itertools.product(returns, range(episodes)):
        session, noise = Session(controller, 1), np.random.default_rng(episode)
        session.begin(0, np.random.default_rng(episode))
        observation, over = env.reset(seed=100 + episode)[0], False
        while not over:
            x = np.asarray(observation, dtype=np.float32)
            if kind == "float":
                action = session.act(x[None])[0]
            else:
                action = (policy.act(to_q16(x), noise) / ONE).astype(np.float32)
            observation, reward, terminated, truncated, _ = env.step(action)
            returns[kind] += float(reward)
            over = terminated or truncated
    env.close()
    assert returns["int"] > (1.0 - measure) * returns["float"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_small_run(tmp_path_factory.mktemp("run") / "small")
    folder = tmp_path_factory.mktemp("exported")
    for name, blob in export_controller(load_controller(run), run, arm="none", number="int").files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blob)
    return folder


def build(folder: Path, out: Path, *flags: str, compiler: str = "gcc") -> Path:
    sources = [*map(str, sorted((folder / "src").glob("*.c"))), str(folder / "test" / "test_integer.c")]
    includes = [f"-I{folder / 'src'}", f"-I{folder / 'test'}"]
    subprocess.run([compiler, *STRICT, *flags, *includes, *sources, "-o", str(out)], check=True)
    return out


@pytest.mark.parametrize(
    "flags", ["-O0", "-O3 -march=native", "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"]
)
def test_it_builds_and_repeats_the_recorded_decisions(exported: Path, tmp_path: Path, flags: str) -> None:
    program = build(exported, tmp_path / "test", *flags.split())
    assert "equal" in subprocess.run([program], check=True, capture_output=True, text=True).stdout


def test_it_has_no_floating_point_no_state_and_calls_nothing(exported: Path, tmp_path: Path) -> None:
    undefined, defined = set(), set()
    for source in sorted((exported / "src").glob("*.c")):
        command = ["gcc", *STRICT, "-O2", "-fno-pie", "-DHOMEO_NO_FLOAT", "-mgeneral-regs-only", "-c", str(source)]
        subprocess.run([*command, f"-I{exported / 'src'}", "-o", str(tmp_path / "o")], check=True)
        listed = subprocess.run(["nm", tmp_path / "o"], check=True, capture_output=True, text=True).stdout
        for line in listed.splitlines():
            kind, name = line.split()[-2:]
            assert kind not in "dDbBC", name
            (undefined if kind == "U" else defined).add(name)
    assert undefined - defined <= {"memset", "memcpy"}


@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="not installed: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
)
def test_a_cortex_m4_without_floating_point_decides_exactly_alike(exported: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.elf"
    command = [
        "arm-none-eabi-gcc", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O2", "-mcpu=cortex-m4", "-mthumb",
        "-mfloat-abi=soft", "-DHOMEO_NO_FLOAT", "-DHOMEO_INTEGERS", f"-I{exported / 'src'}", f"-I{exported / 'test'}",
        "-nostartfiles", f"-T{SUPPORT / 'cortex_m4.ld'}", *map(str, (exported / "src").glob("*.c")),
        str(SUPPORT / "cortex_m4.c"), "-lc", "-lgcc", "-o", str(program),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    emulator = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]
    done = subprocess.run([*emulator, "-semihosting", "-kernel", str(program)], capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differing 0" in done.stdout + done.stderr


@pytest.mark.skipif(
    shutil.which("emcc") is None or shutil.which("node") is None, reason="not installed: apt-get install emscripten"
)
def test_webassembly_decides_exactly_alike(exported: Path, tmp_path: Path) -> None:
    script = build(exported, tmp_path / "test.js", "-O1", compiler="emcc")
    helped = subprocess.run(["node", "--help"], check=True, capture_output=True, text=True).stdout
    options = ["--no-experimental-fetch"] if "--no-experimental-fetch" in helped else []
    assert "equal" in subprocess.run(["node", *options, script], check=True, capture_output=True, text=True).stdout


def test_what_integers_have_not_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_small_run(tmp_path / "run"), tmp_path / "out"
    words: tuple[Any, ...] = ("export", run.path, "--to", "c", "--number", "int", "--out", out)
    _, message = call(*words, "--homeostasis", "dwam", code=2, capsys=capsys)
    assert "integers do not adapt, got dwam" in message
    with pytest.raises(UsageError, match="take --number float32"):
        IntegerPolicy(describe(make_controller(network={"membrane": "episode"})))
    with pytest.raises(UsageError, match="integers do not adapt"):
        IntegerPolicy(describe(make_controller(), make_homeostasis("bdett")))
    assert not out.exists()
