"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fails"]
SEVERITIES: dict[State, Literal["ok", "warning", "error"]] = {"ok": "ok", "note": "warning", "fails": "error"}


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
    found: str
    do: str = ""

    def __post_init__(self) -> None:
        if (self.state == "ok") != (self.do == ""):
            raise ValueError(f"check {self.name}: expected something to do exactly where it is not ok, got {self.do!r}")

    @property
    def severity(self) -> Literal["ok", "warning", "error"]:
        """The state in the words of the output."""
        return SEVERITIES[self.state]

    @property
    def lines(self) -> list[str]:
        """The check as it is printed."""
        first = f"{self.severity:<7} {self.name}: {self.found}"
        return [first, f"        fix: {self.do}"] if self.do else [first]
