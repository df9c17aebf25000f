"""What is printed for people is printed whole."""

import pytest
from rich.console import Console

from homeo_rl.cli import console

ARMS = 8
ROW = ["weights-8bit-unscaled", *(f"9,93{arm} [9,834, 10,046] r 1.00" for arm in range(ARMS))]
HEADER = ["condition", *(f"arm{arm}" for arm in range(ARMS))]


def test_a_wide_table_in_a_file_keeps_every_entry_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table("returns", HEADER, [ROW])
    lines = [line for line in capsys.readouterr().out.splitlines() if ROW[0] in line]
    assert len(lines) == 1
    assert all(entry in lines[0] for entry in ROW)


@pytest.mark.parametrize(("width", "blocks"), [(60, 8), (81, 4), (120, 3)])
def test_a_wide_table_in_a_narrow_terminal_is_split_not_cut(
    width: int, blocks: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further blocks repeat the first column, and every number stands whole on one line."""
    monkeypatch.setattr(console, "Console", lambda **_: Console(width=width, highlight=False))
    console.print_table("returns", HEADER, [ROW])
    shown = capsys.readouterr().out
    assert shown.count(ROW[0]) == blocks
    assert all(shown.count(entry) == 1 for entry in ROW[1:])
    assert max(map(len, shown.splitlines())) <= width


def test_where_not_even_one_number_fits_it_is_folded_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "Console", lambda **_: Console(width=30, highlight=False))
    console.print_table("returns", HEADER[:2], [ROW[:2]])
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert sum(map(shown.count, "0123456789")) == sum(map("".join([*HEADER[:2], *ROW[:2]]).count, "0123456789"))


def test_texts_wrap_and_stand_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "Console", lambda **_: Console(width=50, highlight=False))
    console.print_table("suites", ["name", "number", "text"], [["quick", "6", "a first look " * 8]])
    lines = capsys.readouterr().out.splitlines()
    assert "quick       6  a first look a first" in lines[3]
    assert len(lines) > 5
    assert max(map(len, lines)) <= 50
