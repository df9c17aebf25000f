"""One environment in a worker process: a worker that is lost is replaced."""

import sys
from dataclasses import dataclass, field
from typing import Any

from homeo_rl import errors
from homeo_rl.agents.workers.commands import Missing, unpack
from homeo_rl.agents.workers.worker import EnvMaker
from homeo_rl.agents.workers.worker_process import Deadline, Fault, WorkerLost, WorkerProcess
from homeo_rl.errors import EnvironmentFault, HomeoError
from homeo_rl.seeding import derive

MAX_RESTARTS = 3  # restarts of each worker


@dataclass
class PoolSettings:
    """What all workers share."""

    # recipe, monitored: of the environments; see `homeo_rl.agents.workers.worker.work`
    recipe: EnvMaker
    monitored: bool
    method: str
    timeout: float  # seconds that a step or a reset may take
    start_timeout: float  # seconds that a start or any other command may take
    root_seed: int  # what the seeds of restarts are derived from
    steps: int = 0
    processes: list[WorkerProcess] = field(default_factory=list)


class SupervisedWorker:
    """One environment. Its methods raise what the environment raised, naming the worker and the step.

    Attributes:
        generation: restarts since the training began, which their seeds come from.
        fresh: the first observation and info after a restart, until the loss of the episode was returned.
    """

    def __init__(self, settings: PoolSettings, index: int) -> None:
        self.settings, self.index = settings, index
        self.spaces: Any = None
        self.restarts = self.generation = 0
        self.last: Any = None
        self.fresh: tuple[Any, dict[str, Any]] | None = None
        self._message: tuple[Any, ...] = ()
        self._waiting = True  # for an answer, at first that the environment is made
        self.attributes: dict[str, Any] = {}  # that a worker started again gets too
        self.file: tuple[str, dict[str, float | str]] | None = None  # of episodes, which it appends to
        settings.processes.append(self._start())

    def wait_ready(self, deadline: Deadline) -> None:
        """Wait until the environment is made."""
        self.spaces = self._receive_once(deadline) or self.spaces

    def send(self, *message: Any) -> None:
        """Send a command; a worker that is lost is replaced."""
        self._message = message
        try:
            self._process.send(*message)
            self._waiting = True
        except WorkerLost as loss:
            self._replace(loss)

    def receive(self, deadline: Deadline) -> Any:
        """Return the answer to the last command; after a loss it is sent again, to the new worker."""
        while True:
            try:
                if not self._waiting:  # it was lost with the worker
                    self._process.send(*self._message)
                return self._answer(deadline)
            except WorkerLost as loss:
                self._replace(loss)

    def receive_reset(self, deadline: Deadline) -> tuple[Any, dict[str, Any]]:
        """Return the first observation and info after a reset was sent.

        After a loss they are those of another episode: the one asked for may be what the worker died of.
        """
        first = self._receive_once(deadline) or self.fresh
        assert first is not None
        self.fresh = None
        self.last = first[0]
        return first[0], first[1]

    def receive_step(self, deadline: Deadline) -> tuple[Any, float, bool, dict[str, Any], dict[str, Any] | None]:
        """Return observation, reward, end, info, and the next episode's first info, after a step was sent.

        A lost episode ends as a truncation that is marked as discarded.
        """
        step = None if self.fresh is not None else self._receive_once(deadline)
        if step is not None:
            self.last = unpack(step[0])
            return self.last, *step[1:]
        assert self.fresh is not None
        info = {"TimeLimit.truncated": True, "discarded": True, "terminal_observation": self.last}
        (self.last, first), self.fresh = self.fresh, None
        return self.last, 0.0, True, info, first

    def _receive_once(self, deadline: Deadline) -> Any:
        """Return the answer to the last command, or None if the worker was lost."""
        if not self._waiting:
            return None
        try:
            return self._answer(deadline)
        except WorkerLost as loss:
            self._replace(loss)
            return None

    @property
    def _process(self) -> WorkerProcess:
        return self.settings.processes[self.index]

    def _start(self) -> WorkerProcess:
        settings = self.settings
        seed = derive(settings.root_seed, "worker", self.index, self.generation)
        recipe, siblings = settings.recipe, settings.processes
        try:
            return WorkerProcess(
                recipe, settings.monitored, seed, method=settings.method, siblings=siblings, timeout=settings.timeout
            )
        except (OSError, EOFError) as error:  # of the system, or of the fork server
            raise EnvironmentFault(
                f"{settings.recipe.env_id}: worker {self.index} cannot be started ({type(error).__name__}: {error}); "
                "expected memory and file descriptors for a process; use fewer environments"
            ) from None

    def _answer(self, deadline: Deadline) -> Any:
        """Return the worker's answer; raises WorkerLost, AttributeError, or the fault of its environment."""
        try:
            answer = self._process.receive(deadline)
        except Fault as fault:
            raise self._translate(fault) from None
        self._waiting = False
        return answer

    def _translate(self, fault: Fault) -> Exception:
        module, _, name = fault.kind.rpartition(".")
        if (module, name) == (Missing.__module__, Missing.__name__):
            return AttributeError(str(fault))
        where = f"worker {self.index}, step {self.settings.steps}"
        error: HomeoError
        if module == errors.__name__:
            error = getattr(errors, name)(f"{fault} ({where})")
        else:
            error = EnvironmentFault(
                f"{self.settings.recipe.env_id}: {where}: {name}: {' '.join(str(fault).split())}; "
                "expected an environment that raises nothing; --debug shows where it was"
            )
        error.add_note(f"In the worker:\n{fault.trace}")
        return error

    def _replace(self, loss: WorkerLost) -> None:
        """Start a worker again, and its environment. Raises EnvironmentFault: it was lost too often."""
        settings = self.settings
        while True:
            self._process.kill()
            what = f"{settings.recipe.env_id}: worker {self.index} {loss} at step {settings.steps}"
            if self.restarts >= MAX_RESTARTS:
                hint = "look for what its libraries say above, and for memory that ran out"
                if self.spaces is None:
                    hint = 'in a script, put the work under `if __name__ == "__main__":`'
                raise EnvironmentFault(
                    f"{what}, after {MAX_RESTARTS} restarts; expected an environment that goes on answering; {hint}"
                )
            self.restarts += 1
            self.generation += 1
            print(f"homeo-rl: {what}; restart {self.restarts} of {MAX_RESTARTS}", file=sys.stderr)
            settings.processes[self.index] = self._start()
            deadline = Deadline(settings.start_timeout)
            try:
                self.spaces = self._answer(deadline)
                for name, value in self.attributes.items():
                    self._process.send("set", name, value)
                    self._answer(deadline)
                if self.file is not None:
                    self._process.send("method", "monitor_to", (*self.file, True), {})
                    self._answer(deadline)
                self._process.send(
                    "reset", derive(settings.root_seed, "restart", self.index, self.generation) % 2**31, None
                )
                self.fresh = self._answer(Deadline(settings.timeout))
                return
            except WorkerLost as again:
                loss = again
