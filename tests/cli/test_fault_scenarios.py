"""Faults of machines, met as somebody else meets them: the installed command, another folder, real limits."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_hostile_settings import LAUGH, SOURCES, VALUES

from homeo_rl.run import Run

pytestmark = pytest.mark.long

COMMAND = Path(sys.executable).parent / "homeo-rl"
SMALL = [
    "train", "-n", "640", "--env", "Pendulum-v1", "--agent", "mlp", "--no-progress", "--eval-freq", "-1",
    "--save-freq", "-1", "-params", "agent_kwargs:{hidden: [8]}", "net_arch:[8]",
]  # fmt: skip
ON = [*SMALL, "n_steps:64", "batch_size:64", "n_envs:1", "n_epochs:1"]


def run_limited(
    *words: object, folder: Path, code: int, limits: dict[int, int] | None = None, user: int | None = None
) -> str:
    """Run the command under limits; it has to exit with ``code`` and, unless that is 0, to say one line."""

    def limit() -> None:
        for kind, most in (limits or {}).items():
            resource.setrlimit(kind, (most, most))

    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",)}
    done = subprocess.run(
        [COMMAND, *(str(word) for word in words)], cwd=folder, env=clean, capture_output=True, text=True, timeout=600,
        preexec_fn=limit, user=user,
    )  # fmt: skip
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    if code:
        assert "Traceback" not in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr + done.stdout


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a maker of file systems of a given size, which takes the rights to mount one."""
    made = []

    def make(size: str) -> Path:
        folder = tmp_path / f"tiny-{len(made)}"
        folder.mkdir()
        mount = shutil.which("mount")
        if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]).returncode:
            pytest.skip("no rights to mount a small file system here")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", folder], check=True)


def test_descriptors(tmp_path: Path) -> None:
    files = {resource.RLIMIT_NOFILE: 256}
    output = run_limited(*ON, "n_envs:400", "n_steps:2", "--out", "run", folder=tmp_path, code=2, limits=files)
    assert "open files: expected at most 256" in output
    assert list(tmp_path.iterdir()) == []
    run_limited(*ON, "n_envs:150", "n_steps:2", "batch_size:300", "--out", "run", folder=tmp_path, code=0, limits=files)


def test_address_space(tmp_path: Path) -> None:
    ring = [*SMALL, "buffer_size:60_000_000", "--algo", "sac", "--out", "run"]
    output = run_limited(*ring, folder=tmp_path, code=2, limits={resource.RLIMIT_AS: 3 << 30})
    assert "ulimit -v" in output
    assert list(tmp_path.iterdir()) == []
    small = [*SMALL, "buffer_size:1000", "learning_starts:600", "--algo", "sac", "--out", "run"]
    run_limited(*small, folder=tmp_path, code=0, limits={resource.RLIMIT_AS: 3 << 30})


def test_full_disk_under_tensorboard(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    full = tiny("4k")
    output = run_limited(*ON, "-tb", full / "tb", "--out", "run", folder=tmp_path, code=5)
    assert f"{full}/tb" in output
    assert "No space left" in output
    assert "b'" not in output
    shutil.rmtree(full / "tb")
    assert Run.open(tmp_path / "run").spec.digest == ""


def test_full_disk_under_a_run(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    full = tiny("16k")
    assert "No space left" in run_limited(*ON, "--out", full / "run", folder=tmp_path, code=5)


def test_a_strangers_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "letter").write_text("mine")
    assert "expected a new or empty folder" in run_limited(*ON, "--out", "stranger", folder=tmp_path, code=2)
    assert os.listdir(tmp_path / "stranger") == ["letter"]


def test_numbers_beyond_limits_in_every_source(tmp_path: Path) -> None:
    for source, (text, words) in SOURCES.items():
        if source == "suite":
            continue  # which takes a run; tests/test_hostile_settings.py has it
        for value in ("5,000 digits", "50,000 brackets", "infinity"):
            (tmp_path / "file.yml").write_text(text.format(VALUES[value]))
            assert "file.yml" in run_limited(
                *("file.yml" if w == "FILE" else w for w in words), folder=tmp_path, code=2
            )
        (tmp_path / "file.yml").write_text(LAUGH)
        run_limited(*("file.yml" if w == "FILE" else w for w in words), folder=tmp_path, code=2)
    assert os.listdir(tmp_path) == ["file.yml"]


def test_a_read_only_run(tmp_path: Path) -> None:
    run_limited(*ON, "--out", "run", folder=tmp_path, code=0)
    bind = tmp_path / "bound"
    bind.mkdir()
    for words in (["mount", "--bind", tmp_path / "run", bind], ["mount", "-o", "remount,bind,ro", bind]):
        if shutil.which("mount") is None or subprocess.run(words).returncode:
            subprocess.run(["umount", bind], capture_output=True)
            pytest.skip("no rights to mount a folder read-only here")
    try:
        clean = ["--suite", "clean", "--homeostasis", "none", "--episodes", "2", "--no-progress"]
        assert "give --out DIR" in run_limited("evaluate", bind, *clean, folder=tmp_path, code=2)
        run_limited("evaluate", bind, *clean, "--out", "my scores", folder=tmp_path, code=0)
        run_limited("report", "my scores", folder=tmp_path, code=0)
        assert (tmp_path / "my scores" / "report" / "report.md").exists()
    finally:
        subprocess.run(["umount", bind], check=True)


def test_a_run_that_was_copied_moved_and_renamed(tmp_path: Path) -> None:
    clean = ["--suite", "clean", "--homeostasis", "none", "--episodes", "2", "--no-progress"]
    run_limited(*ON, "--out", "run", folder=tmp_path, code=0)
    shutil.copytree(tmp_path / "run", tmp_path / "a copy's \u00fc")
    (tmp_path / "run").rename(tmp_path / "renamed")
    for name in ("a copy's \u00fc", "renamed"):
        run_limited("evaluate", name, *clean, folder=tmp_path, code=0)
        run_limited(*ON, "--out", name, folder=tmp_path, code=0)  # the same command finds it finished
