"""The check of words finds what it is for, and `make lint` runs it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from project_files import ROOT

TOOL = runpy.run_path(str(ROOT / "tools" / "check_words.py"))

PLANTED = {
    "name of a variable": ("found = 1\n", "result"),
    "name of an argument": ("def count(told: int) -> int:\n    return told\n", "document"),
    "name of an attribute": ("class A:\n    own: int = 1\n", "the name of the thing"),
    "part of a name": ("class WorkerSeat: ...\n", "supervised worker"),
    "function without a verb": ("def laid_out() -> int:\n    return 1\n", "a verb first"),
    "method without a verb": ("class A:\n    def rounded(self) -> int:\n        return 1\n", "a verb first"),
    "prose of a docstring": ('"""Skipped aloud."""\n', "with a message"),
    "prose below a field": ('class A:\n    x: int = 1\n    """It mends itself."""\n', "repair"),
    "prose of a comment": ("x = 1  # of strangers\n", "untrusted source, third party"),
}

CLEAN = {
    "a verb": "def lay_out(rows: int) -> int:\n    return rows\n",
    "a predicate": "def changed(x: int) -> bool:\n    return x > 1\n",
    "a property": "class A:\n    @property\n    def rounded(self) -> int:\n        return 1\n",
    "code in prose": '"""Return `told`."""\n',
    "a kept word": "found = 1  # words: keep\n",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_is_found(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, better = PLANTED[kind]
    (tmp_path / "module.py").write_text(source)
    assert TOOL["main"]([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert better in lines[0]


def test_words_of_pages_are_found_outside_their_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Files of strangers\n\n```python\ntold = 1\n```\n\nIt was told `told`. <!-- words: keep -->\n")
    assert [(finding.line, finding.word) for finding in TOOL["check"](page)] == [(1, "strangers")]
    assert TOOL["main"]([str(page)]) == 1


@pytest.mark.parametrize("kind", CLEAN)
def test_good_names_pass(kind: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(CLEAN[kind])
    assert TOOL["main"]([str(tmp_path)]) == 0


def test_lint_runs_it() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert "tools/check_words.py" in recipe
