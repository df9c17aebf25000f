"""Jobs as tasks of a Ray cluster, given out again when a process or a node dies. Ray is imported when asked for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeo_rl.errors import EnvironmentFault, UsageError
from homeo_rl.processes.executor import (
    MAX_RETRIES,
    Event,
    JobFinished,
    JobResult,
    Progress,
    Resources,
    Task,
    limit_rate,
    run_task,
)

_REPORT_SECONDS = 1.0  # seconds between two reports of progress of a task, and between two looks at all of them
_MAX_TASKS = 4096  # tasks that wait at Ray; the others wait here
_OBJECT_STORE_BYTES = 100 << 20  # of a local object store; results are small


class RayExecutor:
    """Tasks of a Ray cluster, each with the same resources.

    Args:
        task: a function of a module, or "module:function".
        address: "local" (a cluster of this machine, for this command), "auto", host:port or ray://host:port.
        workers: tasks side by side at most; None is what fits. Of a local cluster, its size.
        packages: folders and files of modules that are sent to the nodes; () where they have them.

    Raises UsageError: Ray is not installed, or there is no such cluster.
    """

    def __init__(
        self,
        task: Task,
        address: str,
        *,
        workers: int | None = None,
        resources: Resources | None = None,
        packages: Sequence[Path] = (),
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"--workers: expected at least 1, got {workers}")
        self.task, self.address, self.workers, self.packages = task, address, workers, packages
        self.resources = resources or Resources()
        self._ray = ray_module()
        self._refs: dict[Any, str] = {}
        self._last_look = 0.0
        self._stopping = False

    def __enter__(self) -> RayExecutor:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no statistics are sent unless the user says so
        logging.getLogger("ray").setLevel(logging.ERROR)
        options: dict[str, Any] = {"address": self.address, "log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == "local":
            count = self.workers or max(int((os.cpu_count() or 1) / self.resources.cpus), 1)
            options |= {"num_cpus": max(int(count * self.resources.cpus), 1), "include_dashboard": False}
            options |= {"object_store_memory": _OBJECT_STORE_BYTES}
        if self.packages:
            paths = [str(path) for path in self.packages]
            options["runtime_env"] = {"py_modules": paths, "excludes": ["**/__pycache__", "**/__pycache__/**"]}
        with contextlib.ExitStack() as leaving:
            # Ray reports lost nodes on standard output, which belongs to the command's result.
            leaving.enter_context(contextlib.redirect_stdout(sys.stderr))
            try:
                self._ray.init(**options)
            except (ConnectionError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise UsageError(
                    f"--ray {self.address}: expected a cluster, cannot reach one ({reason}); start it with `ray start "
                    "--head`, give this command the RAY_AUTH_MODE and the token of its nodes, or give --ray local"
                ) from None
            leaving.callback(self._ray.shutdown)
            self._prepare()
            self._leaving = leaving.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; a local one ends, and tasks that still run end with their driver."""
        self._leaving.close()

    @property
    def slots(self) -> int:
        """How many tasks run at once on the cluster as it is now."""
        fits = _MAX_TASKS
        with contextlib.suppress(Exception):  # a cluster that is just losing a node
            available = self._ray.cluster_resources()
            for name, each in (("CPU", self.resources.cpus), ("GPU", self.resources.gpus)):
                if each > 0:
                    fits = min(fits, int(available.get(name, 0.0) / each))
        return max(min(fits, self.workers or _MAX_TASKS), 1)

    @property
    def free(self) -> int:
        """How many tasks it takes now."""
        return 0 if self._stopping else min(self.workers or _MAX_TASKS, _MAX_TASKS) - len(self._refs)

    def submit(self, key: str, job: Any) -> None:
        """Begin a task."""
        self._refs[self._remote.options(name=f"cell {key}").remote(self.task, key, job, self._board)] = key

    def events(self, timeout: float) -> list[Event]:
        """Return what happened, after at most ``timeout`` seconds.

        Raises EnvironmentFault: the cluster is lost, or cannot be sent the package.
        """
        events: list[Event] = []
        for ref in self._wait(timeout):
            key = self._refs.pop(ref)
            events.append(JobFinished(key, self._result(ref)))
        if time.monotonic() > self._last_look + _REPORT_SECONDS and self._refs:
            self._last_look = time.monotonic()
            with contextlib.suppress(self._ray.exceptions.RayError):  # it starts anew with another node
                reports = self._ray.get(self._board.latest.remote(), timeout=1.0)
                events = [Progress(key, *what) for key, what in reports.items() if key in self._refs.values()] + events
        return events

    def stop(self) -> None:
        """Interrupt all tasks: those that run save, the others are forgotten."""
        self._stopping = True
        for ref in self._refs:
            self._ray.cancel(ref, force=False, recursive=False)

    def _prepare(self) -> None:
        """Make the actor that collects progress, and the task with its needs."""
        self._board = self._ray.remote(num_cpus=0, max_restarts=-1)(_ProgressBoard).remote()
        needs: dict[str, Any] = {"num_cpus": self.resources.cpus, "num_gpus": self.resources.gpus}
        if self.resources.memory_gb is not None:
            needs["memory"] = int(self.resources.memory_gb * 2**30)
        self._remote = self._ray.remote(max_retries=MAX_RETRIES, **needs)(_run_job)

    def _wait(self, timeout: float) -> list[Any]:
        refs = list(self._refs)
        if not refs:
            return []
        try:
            ready: list[Any]
            ready, _ = self._ray.wait(refs, num_returns=1, timeout=timeout)
            if ready:
                ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
            return ready
        except self._ray.exceptions.RayError as error:
            raise EnvironmentFault(
                f"--ray {self.address}: the cluster was lost ({_first(error)}); finished cells are kept; start it, and "
                "give the same command again"
            ) from None

    def _result(self, ref: Any) -> JobResult:
        errors = self._ray.exceptions
        try:
            result: JobResult = self._ray.get(ref)
            return result
        except errors.TaskCancelledError:
            return JobResult("stopped")
        except errors.RuntimeEnvSetupError as error:
            raise EnvironmentFault(f"--ray: the package could not be sent to a node ({_first(error)})") from None
        except errors.RayTaskError as error:  # in the lines around the task, which catches what is raised in it
            return JobResult("failed", _first(error), str(error))
        except errors.RayError as error:
            times = f"carried out {MAX_RETRIES + 1} times; look for memory that ran out"
            return JobResult("failed", f"{type(error).__name__}: {_first(error)}; {times}", str(error))


def ray_module() -> Any:
    """Return Ray. Raises UsageError: it is not installed."""
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError(
            "--ray: expected the package ray, it is not installed; install it: pip install 'homeo-rl[ray]'"
        ) from None


class _ProgressBoard:
    """The progress of tasks; an actor, which may start anew with nothing."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[Any, ...]] = {}

    def post(self, key: str, *what: Any) -> None:
        self._latest[key] = what

    def latest(self) -> dict[str, tuple[Any, ...]]:
        return self._latest


def _run_job(task: Task, key: str, job: Any, board: Any) -> JobResult:
    return run_task(task, job, limit_rate(lambda *what: board.post.remote(key, *what), _REPORT_SECONDS))


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
