"""One thing that was checked."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fails"]
SEVERITIES: dict[State, Literal["ok", "warning", "error"]] = {"ok": "ok", "note": "warning", "fails": "error"}


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
    def severity(self) -> Literal["ok", "warning", "error"]:
        """The state in the words of the output."""
        return SEVERITIES[self.state]

    @property
    def lines(self) -> list[str]:
        """The check as it is printed."""
        first = f"{self.severity:<7} {self.name}: {self.found}"
        return [first, f"        fix: {self.do}"] if self.do else [first]
