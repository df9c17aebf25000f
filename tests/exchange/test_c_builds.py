"""Compilers, sanitizers and targets: what is exported builds without a warning and decides alike everywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from c_controller import STRICT, make_small_run, needs_gcc
from project_files import ROOT

from homeo_rl.agents.controller import load_controller
from homeo_rl.exchange.c.export import LIBRARY
from homeo_rl.exchange.c.memory_size import STACK_BYTES
from homeo_rl.run import Run, copy_pretrained
from homeo_rl.workflows.deploy import export_controller

pytestmark = needs_gcc
SUPPORT = ROOT / "tests" / "support"
FREESTANDING = {"memcpy", "memset", "memmove"}
"""What a compiler may call by itself."""
MATHEMATICS = {"exp", "expf", "log1p", "log1pf", "powf", "sqrt", "sqrtf", "tanhf"}


def needs(*programs: str, package: str) -> pytest.MarkDecorator:
    absent = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} not installed: apt-get install {package}")


@pytest.fixture(scope="module", params=["dwam+sleep", "bdett+dwam-paper", "observer"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    folder_of_run = tmp_path_factory.mktemp("run") / "small"
    if request.param == "observer":  # a model and sequences come with it
        run = Run.of(copy_pretrained("popsan-hopper-0", folder_of_run))
    else:
        run = make_small_run(folder_of_run)
    made = export_controller(load_controller(run), run, arm=request.param)
    for name, blob in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blob)
    return folder


def sources_of(folder: Path) -> list[str]:
    return sorted(map(str, (folder / "src").glob("*.c")))


def build(folder: Path, out: Path, *flags: str, compiler: str = "gcc", main: Path | None = None) -> Path:
    includes = [f"-I{folder / 'src'}", f"-I{folder / 'test'}"]
    main = folder / "test" / "test_controller.c" if main is None else main
    command = [compiler, *STRICT, *flags, *includes, *sources_of(folder), str(main), "-lm", "-o", str(out)]
    subprocess.run(command, check=True)
    return out


def run_program(*words: object, seconds: float = 300.0, environment: Mapping[str, str] | None = None) -> str:
    env = None if environment is None else {**os.environ, **environment}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=seconds, env=env)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize("level", ["-O2", "-O3 -march=native"])
def test_gcc_without_a_warning_and_equal(exported: Path, tmp_path: Path, level: str) -> None:
    flags = ("-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Wdouble-promotion") if level == "-O2" else ()
    for source in sources_of(exported) if flags else []:
        subprocess.run(
            ["gcc", *STRICT, *flags, "-c", source, f"-I{exported / 'src'}", "-o", tmp_path / "o"], check=True
        )
    printed = run_program(build(exported, tmp_path / "test", *level.split()))
    assert "equal" in printed
    assert "0 of 200 actions and 0 spike trains differ" in printed


@needs("clang", package="clang")
def test_clang_without_a_warning_and_equal(exported: Path, tmp_path: Path) -> None:
    assert "equal" in run_program(build(exported, tmp_path / "test", "-O2", compiler="clang"))


@needs("cmake", package="cmake")
def test_cmake_builds_and_tests_it(exported: Path, tmp_path: Path) -> None:
    run_program("cmake", "-S", exported, "-B", tmp_path / "build")
    run_program("cmake", "--build", tmp_path / "build")
    assert "100% tests passed" in run_program("ctest", "--test-dir", tmp_path / "build")


def test_sanitizers_find_nothing(exported: Path, tmp_path: Path) -> None:
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "equal" in run_program(build(exported, tmp_path / "test", *flags))


@pytest.mark.parametrize("level", ["-O2", "-O3", "-Os"])
def test_the_stack_is_as_small_as_the_contract_says(exported: Path, tmp_path: Path, level: str) -> None:
    """On a machine whose pointers may be twice as long; a linker that binds while a program runs would use it, too."""
    stated = json.loads((exported / "contract.json").read_text())["bytes"]["stack"]
    program = build(exported, tmp_path / "stack", level, main=SUPPORT / "stack_use.c")
    printed = run_program(program, environment={"LD_BIND_NOW": "1"})
    used = int(printed.split()[-1])
    assert 200 < used <= 2 * stated
    assert stated == STACK_BYTES


def test_the_contract_says_what_is_estimated(exported: Path) -> None:
    contract = json.loads((exported / "contract.json").read_text())
    if contract["homeostasis"] != "observer":
        assert "observer" not in contract
        return
    names = [entry["name"] for entry in contract["observation"]["entries"]]
    watched = contract["observer"]
    assert watched["estimated"] == names
    assert (watched["sequences"], watched["margin"]) == (24, 0.8)
    assert watched["gate"] >= 2.6
    assert "homeo_rehearse" in (exported / "README.md").read_text()


def hostile_program(exported: Path, tmp_path: Path, *flags: str, compiler: str = "gcc") -> Path:
    name = next(path.stem for path in (exported / "src").glob("*.c") if f"{path.name}" not in LIBRARY)
    defines = (
        f"-DRECORDED_MEMORY={name.upper()}_WRITABLE_BYTES", f"-DRECORDED_INPUTS={name.upper()}_INPUTS",
        f"-DRECORDED_ACTIONS={name.upper()}_ACTIONS", f"-DRECORDED_NAME={name}", "-DR_VALUE(draw)=((draw)*1e-9f)",
    )  # fmt: skip
    text = (SUPPORT / "hostile_robot.c").read_text().replace('"RECORDED_NAME.h"', f'"{name}.h"')
    (tmp_path / "hostile.c").write_text(text)
    return build(exported, tmp_path / "hostile", *defines, *flags, main=tmp_path / "hostile.c", compiler=compiler)


SANITIZERS = {"gcc": "-fsanitize=address,undefined", "clang": "-fsanitize=memory,undefined"}


@pytest.mark.parametrize("compiler", SANITIZERS)
@pytest.mark.parametrize("decisions", [4_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_hostile_observations_and_damage_keep_actions_finite(
    exported: Path, tmp_path: Path, compiler: str, decisions: int
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip("clang is not installed: apt-get install clang libclang-rt-14-dev")
    flags = ("-O1", "-g", SANITIZERS[compiler], "-fno-sanitize-recover=all")
    try:
        program = hostile_program(exported, tmp_path, *flags, compiler=compiler)
    except subprocess.CalledProcessError:
        if compiler == "gcc":
            raise
        pytest.skip("clang has no memory sanitizer here: apt-get install libclang-rt-14-dev")
    assert int(run_program(program, decisions, seconds=100.0 + decisions / 100.0)) > decisions // 4


@needs("nm", package="binutils")
def test_the_library_calls_nothing_but_mathematics_and_has_no_global_state(exported: Path, tmp_path: Path) -> None:
    undefined: set[str] = set()
    defined: set[str] = set()
    for source in sources_of(exported):
        object_file = tmp_path / "object.o"
        # Without position independence, constants that hold addresses are constants to nm, too.
        command = ["gcc", *STRICT, "-O2", "-fno-pie", "-c", source, f"-I{exported / 'src'}", "-o", str(object_file)]
        subprocess.run(command, check=True)
        for line in run_program("nm", object_file).splitlines():
            kind, name = line.split()[-2:]
            assert kind not in "dDbBC", f"{name}: expected no global state"
            (undefined if kind == "U" else defined).add(name)
    assert undefined - defined <= FREESTANDING | MATHEMATICS


@needs("arm-none-eabi-gcc", "qemu-system-arm",
       package="gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")  # fmt: skip
def test_a_cortex_m4_decides_adapts_and_sleeps_alike(exported: Path, tmp_path: Path) -> None:
    machine = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2")
    program = tmp_path / "program.elf"
    command = [
        "arm-none-eabi-gcc", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", *machine,
        "-DRECORDED_ALLOWED=2", f"-I{exported / 'src'}", f"-I{exported / 'test'}", "-nostartfiles",
        f"-T{SUPPORT / 'cortex_m4.ld'}", *sources_of(exported), str(SUPPORT / "cortex_m4.c"), "-lm", "-lc", "-lgcc",
        "-o", str(program),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    emulator = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]
    done = subprocess.run([*emulator, "-semihosting", "-kernel", str(program)], capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    figures = dict(re.findall(r"^(.*) (\d+)$", printed, re.MULTILINE))
    assert figures["failed"] == "0"
    assert int(figures["stack bytes"]) <= STACK_BYTES
    assert int(figures["state bytes"]) <= 1400


@needs("emcc", "node", package="emscripten nodejs")
def test_webassembly_decides_adapts_and_sleeps_alike(exported: Path, tmp_path: Path) -> None:
    script = build(exported, tmp_path / "test.js", "-O1", compiler="emcc")
    options = ["--no-experimental-fetch"] if "--no-experimental-fetch" in run_program("node", "--help") else []
    printed = run_program("node", *options, script)
    assert "0 of 200 actions and 0 spike trains differ" in printed
