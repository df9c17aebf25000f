"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fails"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is, and what to do.

    Attributes:
        name: what.
        state: "ok"; "note", something could be better, or an extra is not there; "fails", something will not work.
        found: what was found.
        do: what to do about it; "" where it is ok.
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
