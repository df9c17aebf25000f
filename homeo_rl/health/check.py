"""One thing that was checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fails"]


@dataclass(frozen=True)
class Check:
    """A check: what was found, and what to ``do`` about it ("" where it is ok).

    ``state`` is "ok"; "note", something could be better, or an extra is missing; "fails", something will not work.
    """

    name: str
    state: State
    found: str  # words: keep  (a key of the JSON)
    do: str = ""

    def __post_init__(self) -> None:
        if (self.state == "ok") != (self.do == ""):
            raise ValueError(f"check {self.name}: expected something to do exactly where it is not ok, got {self.do!r}")

    @property
    def lines(self) -> list[str]:
        """The check for people."""
        first = f"{self.state:<5} {self.name}: {self.found}"
        return [first, f"      do: {self.do}"] if self.do else [first]
