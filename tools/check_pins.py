"""Check that the pins of `constraints.txt` can be installed from PyPI alone, by every Python that is supported.

Versions are resolved by uv from metadata; nothing is downloaded or installed, and no other index or setting of this
machine plays a part. Exits with 1 where a Python finds no solution; 3 where PyPI cannot be reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPI = "https://pypi.org/simple"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
WITHOUT_WHEELS = ("norse",)
"""Packages that PyPI has sources of only; all others have to have wheels for every Python."""


def main() -> int:
    """Check every Python; return the exit code."""
    uv = find_uv()
    if not is_reachable():
        print(f"pins not checked: {PYPI} cannot be reached", file=sys.stderr)
        return 3
    failed = 0
    for python in PYTHONS:
        problem = resolve(uv, python)
        if problem is not None and "Failed to fetch" in problem:
            print(f"pins not checked: {PYPI} cannot be read: {' '.join(problem.split())[:300]}", file=sys.stderr)
            return 3
        print(f"Python {python}: {'pins resolve' if problem is None else 'NO SOLUTION'}", flush=True)
        if problem is not None:
            print(problem, file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def find_uv() -> str:
    """Return uv's path: beside this Python, or on the path."""
    beside = Path(sys.executable).parent / "uv"
    path = str(beside) if beside.exists() else shutil.which("uv")
    if path is None:
        sys.exit("check_pins: expected uv, found none; pip install uv")
    return path


def is_reachable() -> bool:
    """Return whether PyPI answers."""
    try:
        with urllib.request.urlopen(f"{PYPI}/pip/", timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def resolve(uv: str, python: str) -> str | None:
    """Return why the pins with all extras have no solution for a Python on Linux; None if they have one."""
    # Settings of pip are not uv's; its own, and files of settings, are left out.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    if "UV_CACHE_DIR" in os.environ:
        kept["UV_CACHE_DIR"] = os.environ["UV_CACHE_DIR"]
    command = [
        uv, "pip", "compile", "--quiet", "--no-config", "--no-header", "--all-extras", "pyproject.toml",
        "--constraints", "constraints.txt", "--default-index", PYPI, "--native-tls", "--python-version", python,
        "--python-platform", "x86_64-unknown-linux-gnu", "--only-binary", ":all:",
    ]  # fmt: skip
    command += [word for name in WITHOUT_WHEELS for word in ("--no-binary", name)]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip()


if __name__ == "__main__":
    sys.exit(main())
