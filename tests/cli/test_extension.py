"""A command is one file, and a renamed flag keeps its old spelling."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project_files import FOLDERS, ROOT

from homeo_rl.cli.command import flags_of
from homeo_rl.cli.parsing import parse, parser_of

SOURCE = '''"""The command ``homeo-rl hello``."""

from dataclasses import dataclass

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common

COMMAND = Command(TOOLS, 99, "print a greeting")


@dataclass(frozen=True, kw_only=True)
class Hello(Common):
    """Print a greeting."""

    name: str = "world"
    """Who is greeted."""


def run(args: Hello, words: list[str]) -> dict[str, str]:
    """Print a greeting."""
    print(f"hello {args.name}")
    return {"name": args.name}
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package in a folder of its own, whose links lead to the rooms of the checkout."""
    shutil.copytree(ROOT / "homeo_rl", tmp_path / "homeo_rl", symlinks=True)
    for room in FOLDERS[1:]:
        (tmp_path / room).symlink_to(ROOT / room)
    return tmp_path


def test_a_command_is_one_file(package: Path) -> None:
    (package / "homeo_rl" / "cli" / "commands" / "hello.py").write_text(SOURCE)

    def show(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(package)}
        command = [sys.executable, "-m", "homeo_rl", *words]
        return subprocess.run(
            command, cwd=package, env=environment, capture_output=True, text=True, check=True
        ).stdout  # fmt: skip

    assert "  hello          print a greeting\n" in show("--help")
    assert "  --name TEXT  Who is greeted. [world]\n" in show("hello", "--help")
    assert show("hello", "--name", "you") == "hello you\n"
    assert show("hello", "--json") == '{"name": "world"}\n'
    assert "print a greeting" in show("completion", "zsh")


RENAMED = {
    "distill": ("--gradient-steps", "--steps", "7", ["run", "--out", "x"]),
    "convert": ("--spike-steps", "--steps", "7", ["run", "--out", "x"]),
    "vision": ("--spike-steps", "--steps", "7", ["recipe", "--data", "d", "--out", "x"]),
    "evaluate": ("--spike-steps", "--time-steps", "1,2", ["run"]),
    "enjoy": ("--max-episode-steps", "--steps", "7", ["run"]),
    "verify-resume": ("--env-steps", "--steps", "7", ["run"]),
    "ablate": ("--num-seeds", "--seeds", "7", ["--out", "x"]),
    "tune": ("--num-seeds", "--seeds", "7", []),
    "export": ("--dialect", "--flavour", "norse", ["run", "--to", "nir", "--out", "x"]),
    "import": ("--nir-options", "--reading", "steps:3", ["nir", "x.nir", "--env", "E", "--out", "x"]),
}


@pytest.mark.parametrize("command", RENAMED)
def test_an_old_spelling_is_the_new_flag(command: str) -> None:
    new, old, value, others = RENAMED[command]
    kind: type[Any] = flags_of(command)
    assert parse(kind, [*others, old, value]) == parse(kind, [*others, new, value]) != parse(kind, others)
    assert f"  {new}, {old} " in parser_of(kind, prog=command).format_help(), "the new spelling comes first"
