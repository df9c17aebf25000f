"""As on a user's machine: the console script in a folder of one's own, nothing set, and a checkout that types reach."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest
from cli_calls import call

import homeo_rl
from homeo_rl.errors import UsageError
from homeo_rl.imports.user_modules import load_module
from homeo_rl.numerics import cache_folders
from homeo_rl.sweeps.code_fingerprint import home_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(sys.executable).parent / "homeo-rl"
SMALL = [
    "-n",
    "128",
    "-params",
    "n_envs:2",
    "n_steps:64",
    "batch_size:64",
    "agent_kwargs:{hidden: [8]}",
    "--eval-freq=-1",
]
MODULE = """
import gymnasium as gym
from gymnasium.envs.classic_control import PendulumEnv

print("a word of its own")
gym.register("Swing-v0", entry_point="swing_parts:Swing", max_episode_steps=20)
"""
PARTS = "from gymnasium.envs.classic_control import PendulumEnv as Swing\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the current folder, which holds a user's modules; what the test imports from there is forgotten."""
    (tmp_path / "swing.py").write_text(MODULE)
    (tmp_path / "swing_parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(
        sys, "path", [place for place in sys.path if place not in ("", str(ROOT / "tests" / "support"))]
    )
    known = set(sys.modules)
    yield tmp_path
    gym.registry.pop("Swing-v0", None)
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and Path(str(sys.modules[name].__file__)).parent == tmp_path:
            del sys.modules[name]


def test_module_beside_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is found in this process and in those of an evaluation, by its own name and by the environment's."""
    call(
        "train", "--env", "Swing-v0", "--gym-packages", "swing", "--out", "run", "--no-progress", *SMALL, capsys=capsys
    )
    out, err = call("evaluate", "run", "--suite", "quick", "--homeostasis", "none", "--episodes", 1, "--workers", 2,
                    "--no-progress", "--json", capsys=capsys)  # fmt: skip
    assert "a word of its own" not in out
    assert "Traceback" not in err
    out, _ = call("train", "--env", "swing:Swing-v0", "--dry-run", *SMALL, capsys=capsys)
    assert "Swing-v0" in out
    assert home_of("swing") == folder / "swing.py"


def test_nothing_is_hidden_and_strangers_bring_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is installed comes before the current folder, and a run folder's own files are never imported."""
    (folder / "colorsys.py").write_text("raise SystemExit")
    load_module("colorsys")
    run = folder / "strange"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "evil_module.py").write_text("open('sprung', 'w').close()")
    os.chdir(run)
    with pytest.raises(UsageError, match="inside a run folder"):
        load_module("evil_module")
    assert not (run / "sprung").exists()


FAULTS = {
    "name": ("x = 1\nprint(y)\n", "NameError: name 'y' is not defined ({file}, line 2)"),
    "syntax": ("x = 1\ny = (\n", "SyntaxError: '(' was never closed ({file}, line 2)"),
    "leaves": ("import sys\nsys.exit(0)\n", "it calls sys.exit(0) ({file}, line 2)"),
    "quits": ("raise SystemExit\n", "it calls sys.exit() ({file}, line 1)"),
    "needs": ("\n\nimport not_installed_here\n", "No module named 'not_installed_here' ({file}, line 3)"),
    "lacks": ("from os import no_such_name\n", "cannot import name 'no_such_name'"),
    "library": ("import numpy as np\nnp.zeros(-1)\n", "negative dimensions are not allowed ({file}, line 2)"),
    "lines": ("raise RuntimeError('one\\ntwo')\n", "RuntimeError: one two ({file}, line 1)"),
    "base": ("raise BaseException('odd')\n", "BaseException: odd ({file}, line 1)"),
    "unspeakable": ("class E(Exception):\n    def __str__(self):\n        1 / 0\nraise E\n", "({file}, line 4)"),
    "zeros": ("x\0", "{file}"),
    "kind": ("from homeo_rl.errors import StorageFault\nraise StorageFault('mine')\n", "StorageFault: mine"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_module_that_cannot_be_imported(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, one line that names file and line, nothing written."""
    source, expected = FAULTS[name]
    file = folder / f"fault_{name}.py"
    file.write_text(source)
    listed = sorted(folder.iterdir())
    out, err = call("train", "--env", "Swing-v0", "--gym-packages", file.stem, "--out", "run", code=2, capsys=capsys)
    assert (out, err.count("\n")) == ("", 1)
    assert expected.format(file=file) in err
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == listed


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "not installed, and not in"), ("nowhere.inner", "nowhere.py"), ("bare", "without an __init__.py"),
        ("swing.inner", "'swing' is not a package"), ("swing.py", "write 'swing'"), ("", "got ''"),
        ("./swing", "the name that `import` takes"), (".swing", "the name that `import` takes"),
    ],
)  # fmt: skip
def test_module_that_is_not_there(name: str, expected: str, folder: Path) -> None:
    (folder / "bare").mkdir()
    with pytest.raises(UsageError) as refused:
        load_module(name)
    assert expected in str(refused.value)


def test_fault_in_a_worker_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that is fine here and fails in the processes of an evaluation: one line."""
    call(
        "train", "--env", "Swing-v0", "--gym-packages", "swing", "--out", "run", "--no-progress", *SMALL, capsys=capsys
    )
    guard = "import multiprocessing as m\nif m.parent_process(): raise ValueError('not in workers')\n"
    (folder / "swing.py").write_text(guard + MODULE)
    _, err = call("evaluate", "run", "--suite", "quick", "--homeostasis", "none", "--episodes", 1, "--workers", 2,
                  "--no-progress", code=2, capsys=capsys)  # fmt: skip
    assert "ValueError: not in workers" in err
    assert f"{folder / 'swing.py'}, line 2" in err
    assert "Traceback" not in err


# Types


def test_type_checkers_find_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run no import hooks, which an editable installation may depend on."""
    from mypy.modulefinder import BuildSource, FindModuleCache, compute_search_paths
    from mypy.options import Options

    monkeypatch.chdir(tmp_path)
    options = Options()
    options.python_executable = sys.executable
    paths = compute_search_paths([BuildSource("user.py", "user", None, None)], options, str(tmp_path))
    for name in ("homeo_rl", "homeo_rl.agents.session", "homeo_rl.envs.make", "homeo_rl.degradations.suites"):
        path = FindModuleCache(paths, fscache=None, options=options).find_module(name)
        assert isinstance(path, str), (name, path)
        assert (Path(homeo_rl.__file__).parent / "py.typed").exists()


def test_type_checkers_see_no_catch_all() -> None:
    """A module's ``__getattr__`` would make every name of it pass."""
    checked = 0
    for path in [*(ROOT / "homeo_rl").rglob("*.py"), *(ROOT / "homeo_rl").glob("*/*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        names += [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
        assert "__getattr__" not in names, path
        checked += 1
    assert checked > 200


@pytest.mark.long
def test_types_of_a_users_file(tmp_path: Path) -> None:
    """``mypy --strict`` knows the front door's types, and names that are not there."""
    (tmp_path / "user.py").write_text(
        "import homeo_rl\n"
        "from homeo_rl import Run\n"
        "run: Run = Run.open('x')\n"
        "reveal_type(homeo_rl.evaluate)\n"
        "homeo_rl.nonsense\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "user.py"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "import" not in done.stdout.split("Revealed")[0], done.stdout
    assert "homeo_rl.evaluation.evaluate.Result" in done.stdout
    assert 'user.py:5: error: Module has no attribute "nonsense"' in done.stdout


# No home


def test_private_folder_where_there_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches go into a temporary folder that is the user's alone; others' folders and links are not taken."""
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    provide = cache_folders.provide_cache_folders.__wrapped__
    monkeypatch.setenv("HOME", str(tmp_path))
    provide()
    assert "MPLCONFIGDIR" not in os.environ
    for home in ("/nonexistent/home", None):
        monkeypatch.setenv("HOME", home or "")
        if home is None:  # nor does the system know one
            monkeypatch.delenv("HOME")
            monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
        folder = tmp_path / f"homeo-rl-{os.getuid()}"
        folder.symlink_to(tmp_path)
        provide()
        assert "MPLCONFIGDIR" not in os.environ, "a link is not a private folder"
        folder.unlink()
        folder.mkdir()
        folder.chmod(0o777)
        provide()
        assert "MPLCONFIGDIR" not in os.environ, "everybody may write there"
        folder.rmdir()
        provide()
        assert os.environ["XDG_CACHE_HOME"] == str(folder)
        assert cache_folders.cache_home() == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
            monkeypatch.delenv(name)
        folder.rmdir()


def test_compiles_without_any_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    from homeo_rl.numerics.jit import jit as jit_loop

    keep = numba.njit

    def without_cache(*args: object, **options: object) -> object:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return keep(*args, **options)

    monkeypatch.setattr(numba, "njit", without_cache)

    @jit_loop
    def twice(x: int) -> int:
        return 2 * x

    assert twice(21) == 42


def _without_home(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom the system does not know, without a home."""
    alone = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    return subprocess.run(
        [*alone, *words], cwd=cwd, env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )


def test_user_without_a_home(tmp_path: Path) -> None:
    """A container's user with an unknown number: compiled code is found a place, and no folder named ``~`` is left."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, to become another user")
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == 0 and str(place).startswith("/tmp/pytest"):
            place.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)
    code = "from homeo_rl.snn.kernels import scans; import matplotlib.pyplot, os; print(os.environ['XDG_CACHE_HOME'])"
    probe = _without_home([sys.executable, "-c", "import os, encodings; open(os.__file__).close()"], work)
    if probe.returncode != 0:
        pytest.skip("this Python cannot be read by other users")
    done = _without_home([sys.executable, "-c", code], work)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("homeo-rl-12345")
    assert not list(work.iterdir())
    shutil.rmtree(done.stdout.strip(), ignore_errors=True)


# Environments

REGISTERED = "assert 'homeo_rl/NavigationTrain-v0' in registry"


@pytest.mark.parametrize(
    "code",
    [
        f"import homeo_rl, gymnasium; from gymnasium import registry; {REGISTERED}",
        f"import gymnasium, homeo_rl; from gymnasium import registry; {REGISTERED}",
        f"import homeo_rl; from gymnasium.envs.registration import registry; {REGISTERED}",
        f"from homeo_rl import TrainingPlan; from gymnasium import registry; {REGISTERED}",
        f"import homeo_rl.envs.registration; from gymnasium import registry; {REGISTERED}",
        "from homeo_rl.envs.registration import register_environments as r; r(); "
        f"from gymnasium import registry; {REGISTERED}",
        "import gymnasium; gymnasium.make('homeo_rl:homeo_rl/NavigationTrain-v0').close()",
        "import sys, homeo_rl, homeo_rl.cli; assert 'gymnasium' not in sys.modules",
        "import homeo_rl, gymnasium\nloader = gymnasium.__spec__.loader\nassert gymnasium.__loader__ is loader\n"
        "assert type(loader).__module__ == '_frozen_importlib_external'",
    ],
)
def test_environments_are_registered_in_any_order_of_imports(code: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True)


def test_an_action_after_an_import_waits_for_one_that_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that fails is tried again; its loader's own methods stay within reach while it is executed."""
    from homeo_rl.imports.lazy import call_after_import

    (tmp_path / "late_module.py").write_text("import json\nassert json.switch\nassert __loader__.get_data(__file__)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    import json

    calls: list[str] = []
    call_after_import("late_module", lambda: calls.append("now"))
    monkeypatch.setattr(json, "switch", False, raising=False)
    with pytest.raises(AssertionError):
        importlib.import_module("late_module")
    assert calls == []
    monkeypatch.setattr(json, "switch", True)
    importlib.import_module("late_module")
    assert calls == ["now"]
    call_after_import("late_module", lambda: calls.append("at once"))
    assert calls == ["now", "at once"]
    del sys.modules["late_module"]
