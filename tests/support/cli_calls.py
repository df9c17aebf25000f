"""Commands in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from homeo_rl.cli import main


def call(*words: object, code: int = 0, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Run a command in this process, which has to exit with ``code``; return what it printed."""
    try:
        main([str(word) for word in words])
        left = 0
    except SystemExit as leaving:
        left = int(leaving.code or 0)
    out, err = capsys.readouterr()
    assert left == code, (left, out, err)
    return out, err


def last(text: str) -> Any:
    """Return what ``--json`` printed."""
    return json.loads(text.strip().splitlines()[-1])
