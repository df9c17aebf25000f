"""What is printed for people is printed whole."""

import pytest
from rich.console import Console

from homeo_rl import console

ARMS = 8
ROW = ["weights-8bit-unscaled", *(f"9,93{arm} [9,834, 10,046] r 1.00" for arm in range(ARMS))]
HEADER = ["condition", *(f"arm{arm}" for arm in range(ARMS))]


def test_a_wide_table_in_a_file_keeps_every_entry_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table("returns", HEADER, [ROW])
    lines = [line for line in capsys.readouterr().out.splitlines() if ROW[0] in line]
    assert len(lines) == 1
    assert all(entry in lines[0] for entry in ROW)


def test_a_wide_table_in_a_narrow_terminal_is_wrapped_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "Console", lambda **_: Console(width=120, highlight=False))
    console.print_table("returns", HEADER, [ROW])
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("10,046]") == ARMS
    assert all(f"9,93{arm}" in shown for arm in range(ARMS))
    assert max(map(len, shown.splitlines())) <= 120
