"""The folder of a live page: the page, third-party code as classic scripts, and a script for each robot.

A page that is opened from a disk may load classic scripts only: no modules and no files by ``fetch``. So modules are
rewritten as functions, and WebAssembly travels in a script, compressed and as base64.
"""

import base64
import gzip
import importlib.metadata
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from homeo_rl.agents.controller import load_controller
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.evaluation.observer_memory import load_observer
from homeo_rl.exchange.c.description import require_expressible
from homeo_rl.exchange.c.export import name_of
from homeo_rl.exchange.exported_file import ExportedFolder
from homeo_rl.live.packages import MUJOCO, THREE, read_package
from homeo_rl.live.robots import describe_environment
from homeo_rl.run import Run
from homeo_rl.workflows.deploy import export_controller

ARM, OBSERVER = "dwam+sleep", "+observer"
"""What controllers are exported with, the second part where a run has a forward model; the page can leave parts out."""

COMPILER = "emcc"
INSTALL = "apt-get install emscripten, or https://emscripten.org/docs/getting_started/downloads.html"

PAGE = (
    "index.html", "style.css", "controller.js", "bodies.js", "navigation.js", "lane.js", "scene.js", "panel.js",
    "app.js",
)  # fmt: skip

_FLAGS = (
    # Without contraction sums are those of Python; vectors do not change them.
    "-std=c99", "-O3", "-msimd128", "-ffp-contract=off", "--no-entry", "-sSTANDALONE_WASM", "-sTOTAL_STACK=131072",
)  # fmt: skip
_PAGE_BYTES = 65_536


def require_compiler() -> str:
    """Return the path of the compiler. Raises UsageError: it is not installed."""
    path = shutil.which(COMPILER)
    if path is None:
        raise UsageError(f"live: expected Emscripten's {COMPILER} on PATH, found none; install it ({INSTALL})")
    return path


def build_site(
    runs: Sequence[Run], *, which: str = "policy", progress: Callable[[str], None] = lambda line: None
) -> ExportedFolder:
    """Return the files of a page with the policies of ``runs``; ``progress`` gets a line for each.

    Raises:
        UsageError: no compiler, two runs of one name, an environment that the page does not have, or a policy that
            the C controller cannot run.
        StorageFault: third-party code cannot be downloaded, or a policy cannot be compiled.
    """
    compiler = require_compiler()
    names = [name_of(run.path.name) for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"live: expected runs of different names, got {name} twice; rename a folder")
    controllers = [load_controller(run, which=which) for run in runs]
    for controller in controllers:
        require_expressible(controller)
    robots = [describe_environment(run.spec.env, run.spec.env_kwargs) for run in runs]
    site = third_party_files() | {name: (files("homeo_rl.live") / "page" / name).read_bytes() for name in PAGE}
    for name, run, robot, controller in zip(names, runs, robots, controllers, strict=True):
        progress(f"{run.path.name}: calibrating, exporting, compiling")
        arm = ARM + (OBSERVER if load_observer(run, which=which) else "")
        exported = export_controller(controller, run, arm=arm, which=which)
        site[f"robots/{name}.js"] = _robot_script(name, run, robot, exported, compiler)
    scripts = "\n".join(f'<script src="robots/{name}.js"></script>' for name in names)
    site["index.html"] = site["index.html"].replace(b"<!-- robots -->", scripts.encode())
    total = sum(map(len, site.values()))
    return ExportedFolder(site, (f"{len(runs)} robots, {total / 1e6:.1f} MB; open index.html in a browser",))


def _robot_script(name: str, run: Run, robot: Mapping[str, Any], exported: ExportedFolder, compiler: str) -> bytes:
    contract = json.loads(exported.files["contract.json"])
    document = {
        **robot, "name": run.path.name, "period": contract["control_period_s"],
        "sensors": contract["observation"]["entries"], "actuators": contract["action"].get("entries", []),
        "steps": contract["controller"]["network"]["steps"], "wasm": _pack(_compile(name, exported, compiler)),
    }  # fmt: skip
    return f"live.robots.push({json.dumps(document, separators=(',', ':'), allow_nan=False)});\n".encode()


def _compile(name: str, exported: ExportedFolder, compiler: str) -> bytes:
    """Return a controller as WebAssembly that imports nothing."""
    shim = (files("homeo_rl.live") / "page" / "live.c").read_text(encoding="utf-8")
    functions = re.findall(r"^LIVE \w+ \*?(\w+)\(", shim, re.MULTILINE)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for path, blob in exported.files.items():
            if path.startswith("src/"):
                (folder / path.removeprefix("src/")).write_bytes(blob)
        (folder / "live.c").write_text(shim, encoding="utf-8")
        size = int(re.findall(r"_WRITABLE_BYTES (\d+)", (folder / f"{name}.h").read_text())[0])
        size += json.loads(exported.files["contract.json"])["bytes"]["tables"] + 1_000_000
        exports = ",".join(f"_{function}" for function in functions)
        command = [
            compiler, *_FLAGS, f"-sEXPORTED_FUNCTIONS={exports}",
            f"-sINITIAL_MEMORY={(size + _PAGE_BYTES - 1) // _PAGE_BYTES * _PAGE_BYTES}",
            f'-DPOLICY_HEADER="{name}.h"', f"-DPOLICY={name}", f"-DPOLICY_NAME({'x'})={name.upper()}_##x",
            *sorted(path.name for path in folder.glob("*.c")), "-o", "controller.wasm",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise StorageFault(f"{compiler}: cannot compile {name} ({last[:200]}); try a newer Emscripten")
        return (folder / "controller.wasm").read_bytes()


def third_party_files() -> dict[str, bytes]:
    """Return MuJoCo and three.js as classic scripts, with their licences."""
    mujoco, three = read_package(MUJOCO), read_package(THREE)
    licences = [
        f"MuJoCo {MUJOCO.version} (https://mujoco.org), Apache License 2.0, in mujoco.js and mujoco-wasm.js\n\n"
        + _licence_of_mujoco(),
        f"three.js {THREE.version} (https://threejs.org), MIT License, in three.js\n\n" + three["LICENSE"].decode(),
        "musl (https://musl.libc.org), Copyright 2005-2020 Rich Felker and others, MIT License as above: mathematical "
        "functions in robots/*.js, from Emscripten's library\n",
    ]
    return {
        "three.js": as_script(three["build/three.core.js"].decode(), three["build/three.module.js"].decode()).encode(),
        "mujoco.js": _mujoco_script(mujoco["mujoco.js"].decode()).encode(),
        "mujoco-wasm.js": f'live.mujocoWasm = "{_pack(mujoco["mujoco.wasm"])}";\n'.encode(),
        "LICENCES.txt": ("\n\n" + "-" * 80 + "\n\n").join(licences).encode(),
    }


def _licence_of_mujoco() -> str:
    """Return the licence as the Python package of MuJoCo has it: the npm package names it only."""
    for path in importlib.metadata.files("mujoco") or ():
        if path.name == "LICENSE":
            return path.read_text(encoding="utf-8")
    raise StorageFault("mujoco: expected its LICENSE among the installed files, found none; install mujoco again")


def _mujoco_script(module: str) -> str:
    """Return Emscripten's module as a script: its binary comes from the caller, so no address is needed."""
    script = module.replace("import.meta.url", "document.baseURI").replace("export default loadMujoco;", "")
    _require_script(script, "mujoco")
    return script


def as_script(core: str, module: str) -> str:
    """Return three.js as one script that defines ``THREE``.

    Args:
        core: a module with one list of exports and no import.
        module: a module that imports from ``core`` and exports it again, and has a list of its own.

    Raises:
        StorageFault: the modules have another form.
    """
    exports, imports = (
        re.compile(r"^export \{([^}]*)\};?$", re.M),
        re.compile(r"^import \{([^}]*)\} from '[^']*';", re.M),
    )
    inner, inner_names = exports.sub("", core), ",".join(exports.findall(core))
    outer = re.sub(r"^export \{[^}]*\} from '[^']*';", "", module, flags=re.M)
    used, outer_names = ",".join(imports.findall(outer)), ",".join(exports.findall(outer))
    outer = exports.sub("", imports.sub("", outer))
    script = (
        f"const THREE = (() => {{\nconst core = (() => {{\n{inner}\nreturn {_pairs(inner_names)};\n}})();\n"
        f"const {_pairs(used, swap=True)} = core;\n{outer}\n"
        f"return {{ ...core, ...{_pairs(outer_names, only=outer)} }};\n}})();\n"
    )
    _require_script(script, "three")
    return script


def _pairs(names: str, *, swap: bool = False, only: str | None = None) -> str:
    """Return a list of exports or imports, ``a, b as c``, as an object of JavaScript."""
    pairs = []
    for entry in filter(None, (part.strip() for part in names.split(","))):
        first, _, last = entry.partition(" as ")
        if only is None or re.search(rf"\b(class|function\*?|const|let|var) {re.escape(first)}\b", only):
            pairs.append(f"{first}: {last or first}" if swap else f"{last or first}: {first}")
    return "{ " + ", ".join(pairs) + " }"


def _require_script(script: str, name: str) -> None:
    if re.search(r"^(import|export)\b|\bimport\.meta\b", script, re.MULTILINE):
        raise StorageFault(f"{name}: expected a module that can be written as a script, found more imports or exports")


def _pack(blob: bytes) -> str:
    return base64.b64encode(gzip.compress(blob, 9, mtime=0)).decode()
