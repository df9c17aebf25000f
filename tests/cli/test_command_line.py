"""The command line around the commands: words, JSON, pipes, ends; as those who installed it meet it."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call

from homeo_rl.cli.command import command_names, flags_of
from homeo_rl.cli.commands.import_ import Import
from homeo_rl.cli.commands.report import Report
from homeo_rl.cli.commands.train import Train
from homeo_rl.cli.common import print_next
from homeo_rl.cli.exits import exit_of
from homeo_rl.cli.parsing import parse, parser_of, spellings
from homeo_rl.errors import Finding, UsageError, unknown
from homeo_rl.processes.executor import Event, JobFinished, JobResult
from homeo_rl.processes.progress import State
from homeo_rl.processes.scheduler import drive
from homeo_rl.run import Run
from homeo_rl.spec import RunSpec

SCRIPT = Path(sys.executable).parent / "homeo-rl"
"""The console script, as pip wrote it."""


def outside(*words: str, folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the console script in another folder, without the checkout on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(SCRIPT), *words]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False, **more)


def test_help_costs_nothing(tmp_path: Path) -> None:
    """No module that takes more than a moment; with it, help took .5 s."""
    words = [sys.executable, "-X", "importtime", str(SCRIPT), "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "homeo_rl.cli" in loaded
    assert not loaded & {"argparse", "gymnasium", "numpy", "pydantic", "rich", "torch", "yaml"}
    assert done.stdout.startswith("usage: homeo-rl COMMAND")


def test_environments_are_registered_for_whoever_imports_the_package(tmp_path: Path) -> None:
    """The command line leaves it until a command runs; a program may have any name but its."""
    code = "import homeo_rl, gymnasium; assert 'homeo_rl/Navigation-v0' in gymnasium.registry"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", command_names())
def test_flags_of_other_commands_are_not_suggested(name: str) -> None:
    kind = flags_of(name)
    own_spellings = set(spellings(parser_of(kind, prog=name)))
    others = {f"--{f.name.replace('_', '-')}" for other in command_names() for f in dataclasses.fields(flags_of(other))}
    for flag in sorted(others - own_spellings):
        with pytest.raises(UsageError) as error:
            parse(kind, [flag], prog=name)
        message = str(error.value)
        assert message.startswith(f"unknown flag {flag}; ")
        assert "did you mean" not in message or message.rpartition("did you mean ")[2].rstrip("?") in own_spellings


def test_words_of_every_kind() -> None:
    read = parse(Train, ["-n", "1e5", "--eval-freq=-1", "--n_timesteps", "2_000", "-params", "a:1", "b:2"])
    assert (read.n_timesteps, read.eval_freq, read.hyperparams) == (2000, -1, ("a:1", "b:2"))
    assert parse(Train, ["-n1e5"]).n_timesteps == 100_000
    more = parse(Train, ["-params", "a:1", "--gym-packages", "x", "-params", "b:2", "--no-progress", "--fresh"])
    assert (more.hyperparams, more.gym_packages, more.progress, more.fresh) == (("a:1", "b:2"), ("x",), False, True)
    assert parse(Report, ["a", "--suite", "quick", "b"]).runs == (Path("a"), Path("b"))
    assert parse(Import, ["nir", "--env", "E", "x.nir", "--out", "o"]).file == Path("x.nir")
    assert parse(Train, ["--seed", "3"], {"seed": 1, "algo": "sac"}) == Train(seed=3, algo="sac")


@pytest.mark.parametrize("name", command_names())
def test_every_flag_says_what_it_is_for(name: str) -> None:
    parser = parser_of(flags_of(name), prog=name)
    assert all(len(action.help or "") > 3 for action in parser._actions)


def test_names_in_a_long_list_do_not_fill_the_screen() -> None:
    names = [f"name-{number}" for number in range(1000)]
    assert str(unknown("thing", "nmae-7", names)) == "unknown thing 'nmae-7'; did you mean 'name-7'?"
    assert len(str(unknown("thing", "xyzzy", names))) < 240


@pytest.mark.parametrize(
    "words",
    [
        ["agents"], ["suites"], ["conditions", "standard"], ["arms"], ["inspect", "popsan-ant-0"],
        ["completion", "bash"], ["compile", "count(prox, 2, window=3)", "--inputs", "prox", "--certify"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_json_is_alone(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    plain, _ = call(*words, capsys=capsys)
    out, err = call(*words, "--json", capsys=capsys)
    assert isinstance(json.loads(out), dict)
    assert out.count("\n") == 1
    assert set(plain.split()) - set(err.split()) <= {"━", "─"}, "what is for people goes to standard error"


def test_json_is_alone_whatever_prints_below_python(tmp_path: Path) -> None:
    """A user's package that writes to the descriptor, as C++ and child processes do."""
    (tmp_path / "noisy.py").write_text("import os\nprint('one')\nos.write(1, b'two\\n')\nos.system('echo three')\n")
    words = ["conditions", "quick", "--gym-packages", "noisy", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "homeo_rl", *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["suite"] == "quick"
    assert {"one", "two", "three"} <= set(done.stderr.split())


def test_errors_and_readers_that_leave(tmp_path: Path) -> None:
    """Nothing on standard output where a command failed; no complaint where nobody reads."""
    failed = outside("conditions", "quikc", "--json", folder=tmp_path)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("homeo-rl: unknown suite 'quikc'")
    line = f"{shlex.quote(str(SCRIPT))} %s | true; echo ${{PIPESTATUS[0]}}"
    for words in ("--help", "arms --json", "conditions standard"):
        left = subprocess.run(["bash", "-c", line % words], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not {"Traceback", "BrokenPipeError"} & set(left.stderr.replace(":", " ").split())
        assert left.stdout.strip() in ("0", str(128 + signal.SIGPIPE))
    full = subprocess.run(
        ["bash", "-c", f"{shlex.quote(str(SCRIPT))} arms > /dev/full"], cwd=tmp_path, capture_output=True, text=True
    )
    assert full.returncode == 5
    assert "No space left" in full.stderr
    assert len(full.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_check_found_is_json_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from homeo_rl.cli.commands import suites

    def fails(args: Any, words: list[str]) -> None:
        raise Finding("one of two failed; expected none; look", result={"failed": 1, "mean": float("nan")})

    monkeypatch.setattr(suites, "run", fails)
    out, err = call("suites", "--json", code=1, capsys=capsys)
    assert json.loads(out) == {"failed": 1, "mean": None}
    assert err == "homeo-rl: one of two failed; expected none; look\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyError("x"), 1, "internal error: KeyError: 'x'; please report it"),
        (ValueError("two\nlines \x1b[31m"), 1, "internal error: ValueError: two lines"),
        (RecursionError("maximum depth"), 1, "internal error: RecursionError"),
        (MemoryError(), 5, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 5, "out of memory"),
        (RuntimeError("CUDA error: device-side assert"), 3, "--device cpu"),
        (RuntimeError("invalid value for environment variable MUJOCO_GL: x"), 2, "unset it"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "expected UTF-8 text"),
        (ModuleNotFoundError("No module named 'nir'"), 2, "install it"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 5, "runs/x: No space left on device"),
        (KeyboardInterrupt(), 130, "SIGINT"),
        (SystemExit(0), 3, "a package or environment called sys.exit(0)"),
        (BrokenPipeError(), 141, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_whatever_is_raised_is_one_line(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from homeo_rl.cli.commands import suites

    def fails(args: Any, words: list[str]) -> None:
        raise error

    assert exit_of(error)[0] == code
    if not isinstance(error, BrokenPipeError):
        monkeypatch.setattr(suites, "run", fails)
        out, err = call("suites", code=code, capsys=capsys)
        assert not out
        assert message in err
        assert err.count("\n") == 1
        assert "\x1b" not in err
        _, err = call("suites", "--debug", code=code, capsys=capsys)
        assert "Traceback" in err


def test_next_steps_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    print_next("evaluate", Path("my runs/it's"), "--homeostasis", "none,dwam")
    words = shlex.split(capsys.readouterr().out.removeprefix("next: "))
    assert words == ["homeo-rl", "evaluate", "my runs/it's", "--homeostasis", "none,dwam"]


def test_agents_are_found_by_name_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Run.create(tmp_path / "runs" / "ppo" / "Pendulum-v1_1", RunSpec(origin="train", env="Pendulum-v1"))
    run = Run.open("popsan-ant-0")
    assert run.path == Path("runs/popsan-ant-0"), "a copy: what is evaluated is written beside it"
    assert run.load_policy()[1]["controller"]
    for wrong, right in (
        ("popsan-at-0", "popsan-ant-0"),
        ("Pendulum-v1_2", "runs/ppo/Pendulum-v1_1"),
        ("runs/ppo/Pendulm-v1_1", "runs/ppo/Pendulum-v1_1"),
    ):
        with pytest.raises(UsageError, match=f"did you mean '{right}'"):
            Run.open(wrong)


def test_inspect_reads_an_agent_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out, _ = call("inspect", "popsan-ant-0", capsys=capsys)
    assert "env Ant-v5, agent popsan" in out
    assert not list(tmp_path.iterdir())


def test_without_a_display_nobody_opens_a_window(
    make_run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    _, err = call("enjoy", run.path, code=2, capsys=capsys)
    assert "no display: neither DISPLAY nor WAYLAND_DISPLAY is set; use --video FILE" in err
    monkeypatch.setenv("DISPLAY", ":987")
    _, err = call("enjoy", run.path, code=2, capsys=capsys)
    assert "no display: DISPLAY=:987 cannot be opened; use --video FILE" in err


class Slow:
    """An executor whose one job ends when it is asked to stop, and notes in what order things happen."""

    free, slots = 1, 1

    def __init__(self, log: list[str]) -> None:
        self.log, self.turns, self.stopped = log, 0, False

    def submit(self, key: str, job: Any) -> None:
        self.free = 0

    def events(self, timeout: float) -> list[Event]:
        self.turns += 1
        if self.turns == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return [JobFinished("one", JobResult("stopped"))] if self.stopped else []

    def stop(self) -> None:
        self.log.append("asked to stop")
        self.stopped = True


class Listens:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def show(self, state: State) -> None: ...

    def show_result(self, key: str, state: State, result: JobResult) -> None: ...

    def note(self, text: str) -> None:
        self.log.append(text)


def test_a_signal_is_answered_before_anybody_waits() -> None:
    """Of sweeps and of tune, which have one driver."""
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        drive({"one": None}, Slow(log), State(1, 1), Listens(log))
    assert log == ["stopping: waiting for 1 running training to save (Ctrl-C again to kill)", "asked to stop"]
