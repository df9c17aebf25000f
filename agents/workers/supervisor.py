"""The seat of one environment among supervised workers: when its worker is lost, another one takes the seat."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from homeo_rl import errors
from homeo_rl.agents.workers.commands import Missing, unpacked
from homeo_rl.agents.workers.worker import Makes
from homeo_rl.agents.workers.worker_process import Fault, Gone, Handle, Patience
from homeo_rl.errors import EnvironmentFault, HomeoError
from homeo_rl.seeding import derive

RESTARTS = 3
"""Restarts that each seat gets."""


@dataclass
class Workplace:
    """What all seats share.

    Args:
        recipe, monitored: of the environments; see `homeo_rl.agents.workers.worker.work`.
        method: how processes start.
        timeout: seconds that a step or a reset may take.
        longer: seconds that a start or any other command may take.
        root: seed that the seeds of restarts are derived from.
        steps: taken so far, for messages.
    """

    recipe: Makes
    monitored: bool
    method: str
    timeout: float
    longer: float
    root: int
    steps: int = 0
    handles: list[Handle] = field(default_factory=list)


class Seat:
    """One environment. Its methods raise what the environment raised, naming the worker and the step.

    Attributes:
        spaces: of observations and actions, once it was greeted.
        restarts: since this process began.
        births: restarts since the training began, which their seeds come from.
        last: the last observation that was told.
        fresh: the first observation and info after a restart, until it was told that an episode was lost.
    """

    def __init__(self, place: Workplace, index: int) -> None:
        self.place, self.index = place, index
        self.spaces: Any = None
        self.restarts = self.births = 0
        self.last: Any = None
        self.fresh: tuple[Any, dict[str, Any]] | None = None
        self._message: tuple[Any, ...] = ()
        self._waiting = False  # for the answer to it
        self._attributes: dict[str, Any] = {}
        self._file: tuple[str, dict[str, float | str]] | None = None
        place.handles.append(self._start())

    def greet(self, patience: Patience) -> None:
        """Wait until the environment is made."""
        try:
            self.spaces = self._answer(patience)
        except Gone as gone:
            self._replace(gone)

    def tell(self, *message: Any) -> None:
        """Send a command; a worker that is lost is replaced."""
        self._message = message
        try:
            self._handle.send(*message)
            self._waiting = True
        except Gone as gone:
            self._replace(gone)

    def hear(self, patience: Patience) -> Any:
        """Return the answer to what was told; after a loss the new worker is told again."""
        while True:
            try:
                if not self._waiting:  # it was lost with the worker
                    self._handle.send(*self._message)
                return self._answer(patience)
            except Gone as gone:
                self._replace(gone)

    def begun(self, patience: Patience) -> tuple[Any, dict[str, Any]]:
        """Return the first observation and info after a reset was told.

        After a loss they are those of another episode: the one asked for may be what the worker died of.
        """
        found = self._heard(patience) or self.fresh
        assert found is not None
        self.fresh = None
        self.last = found[0]
        return found[0], found[1]

    def stepped(self, patience: Patience) -> tuple[Any, float, bool, dict[str, Any], dict[str, Any] | None]:
        """Return observation, reward, end, info, and the next episode's first info, after a step was told.

        A lost episode ends as a truncation that is marked as discarded.
        """
        found = None if self.fresh is not None else self._heard(patience)
        if found is not None:
            self.last = unpacked(found[0])
            return self.last, *found[1:]
        assert self.fresh is not None
        info = {"TimeLimit.truncated": True, "discarded": True, "terminal_observation": self.last}
        (self.last, first), self.fresh = self.fresh, None
        return self.last, 0.0, True, info, first

    def set(self, name: str, value: Any) -> None:
        """Set an attribute, also of the workers to come, after it was told and heard."""
        self._attributes[name] = value

    def write_to(self, path: str, header: dict[str, float | str]) -> None:
        """Let also the workers to come go on with this file of episodes."""
        self._file = path, header

    def _heard(self, patience: Patience) -> Any:
        """Return the answer to what was told, or None if the worker was lost."""
        if not self._waiting:
            return None
        try:
            return self._answer(patience)
        except Gone as gone:
            self._replace(gone)
            return None

    @property
    def _handle(self) -> Handle:
        return self.place.handles[self.index]

    def _start(self) -> Handle:
        place = self.place
        seed = derive(place.root, "worker", self.index, self.births)
        task = place.recipe, place.monitored, seed
        try:
            return Handle(*task, method=place.method, others=place.handles, longest=place.timeout)
        except (OSError, EOFError) as error:  # of the system, or of the fork server
            raise EnvironmentFault(
                f"{place.recipe.env_id}: worker {self.index} cannot be started ({type(error).__name__}: {error}); "
                "expected memory and file descriptors for a process; use fewer environments"
            ) from None

    def _answer(self, patience: Patience) -> Any:
        """Return the worker's answer; raises Gone, AttributeError, or the fault of its environment."""
        try:
            answer = self._handle.receive(patience)
        except Fault as fault:
            raise self._named(fault) from None
        self._waiting = False
        return answer

    def _named(self, fault: Fault) -> Exception:
        module, _, name = fault.kind.rpartition(".")
        if (module, name) == (Missing.__module__, Missing.__name__):
            return AttributeError(str(fault))
        where = f"worker {self.index}, step {self.place.steps}"
        named: HomeoError
        if module == errors.__name__:
            named = getattr(errors, name)(f"{fault} ({where})")
        else:
            named = EnvironmentFault(
                f"{self.place.recipe.env_id}: {where}: {name}: {' '.join(str(fault).split())}; "
                "expected an environment that raises nothing; --debug shows where it was"
            )
        named.add_note(f"In the worker:\n{fault.trace}")
        return named

    def _replace(self, gone: Gone) -> None:
        """Start a worker again, and its environment.

        Raises:
            EnvironmentFault: it was lost too often.
        """
        place = self.place
        while True:
            self._handle.kill()
            what = f"{place.recipe.env_id}: worker {self.index} {gone} at step {place.steps}"
            if self.restarts >= RESTARTS:
                hint = "look for what its libraries say above, and for memory that ran out"
                if self.spaces is None:
                    hint = 'in a script, put the work under `if __name__ == "__main__":`'
                raise EnvironmentFault(
                    f"{what}, after {RESTARTS} restarts; expected an environment that goes on answering; {hint}"
                )
            self.restarts += 1
            self.births += 1
            print(f"homeo-rl: {what}; restart {self.restarts} of {RESTARTS}", file=sys.stderr)
            place.handles[self.index] = self._start()
            patience = Patience(place.longer)
            try:
                self.spaces = self._answer(patience)
                for name, value in self._attributes.items():
                    self._handle.send("set", name, value)
                    self._answer(patience)
                if self._file is not None:
                    self._handle.send("method", "monitor_to", (*self._file, True), {})
                    self._answer(patience)
                self._handle.send("reset", derive(place.root, "restart", self.index, self.births) % 2**31, None)
                self.fresh = self._answer(Patience(place.timeout))
                return
            except Gone as again:
                gone = again
