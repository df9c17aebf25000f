"""What long procedures report to while they run."""

from typing import Protocol


class Progress(Protocol):
    """What an evaluation reports to while it runs."""

    def start(self, what: str, total: int) -> None:
        """Begin ``total`` episodes, or steps, of ``what``."""

    def advance(self, count: int = 1) -> None:
        """Count finished ones."""

    def note(self, text: str) -> None:
        """Say something worth a line."""


class NullProgress:
    """Progress that is not shown."""

    def start(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
