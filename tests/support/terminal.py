"""Command lines as a person sees them: on a pseudo-terminal of 80 columns, or in a pipe.

All command lines of a call share one process, because a start takes a second and more.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

COLUMNS = 80

_SEVERAL = r"""
import json, sys
sys.argv[0] = "homeo-rl"
from homeo_rl.cli import main
for words in json.loads(sys.argv[1]):
    code = 0
    try:
        main(words)
    except SystemExit as leaving:
        code = leaving.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    print(f"[exit {code}]\x1e", flush=True)
"""


def screens(commands: Sequence[Sequence[str]], folder: Path, *, terminal: bool) -> list[str]:
    """Return what each command line shows in ``folder``, with its exit code; they run one after another."""
    words = [sys.executable, "-c", _SEVERAL, json.dumps(commands)]
    dropped = ("COLUMNS", "LINES", "PYTHONPATH", "NO_COLOR", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in dropped} | {"TERM": "dumb"}
    if terminal:
        text = _on_a_terminal(words, folder, environment)
    else:
        done = subprocess.run(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
        )
        text = done.stdout.decode()
    shown = text.replace("\r\n", "\n").split("\x1e")[:-1]
    assert len(shown) == len(commands), text
    return [screen.lstrip("\n").replace(str(folder), "FOLDER") + "\n" for screen in shown]


def _on_a_terminal(words: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(words, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so where the other end was closed
            break
        if not piece:
            break
        output += piece
    os.close(ours)
    assert process.wait() == 0, output.decode()
    return output.decode()
