"""The run folder: the one owner of everything a run writes.

runs/<algo>/<Env-id>_<n>/
    run.json                      the specification (`RunSpec`)
    policy/                       the policy bundle: safetensors and JSON
    best/                         the best policy seen by the evaluations during training
    calibration/                  clean firing rates that homeostasis aims at
    observer/                     forward model and remembered sequences
    experience/                   a sample of what the training's robots saw and did, for an observer
    evaluations/<suite>_<n>/      scores.csv, evaluation.json, report.md, returns.png, paths.json, paths.png
    tb/                           TensorBoard
    checkpoints/                  what the training resumes from, after an interruption or with more steps
    <Env-id>.zip, best_model.zip, evaluations.npz, *.monitor.csv, <Env-id>/*.yml    readable by rl-zoo's scripts
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.spec import RunSpec, dump, parse
from homeo_rl.storage import bundle
from homeo_rl.storage.pretrained import FOLDER, list_pretrained, near_runs

_GLANCE = 0.5  # seconds for which a lock may be held by a command that only looks whether another process holds it


@dataclass(frozen=True)
class Run:
    """A run folder that exists and whose specification was read and checked."""

    path: Path
    spec: RunSpec

    @classmethod
    def create(cls, path: Path | str, spec: RunSpec) -> Run:
        """Make the folder ``path``, which must not exist or be empty. Raises UsageError: something is already there."""
        path = path_of(path, what="path")
        instance_of(spec, RunSpec, what="spec", advice="homeo_rl.training.plan.prepare makes one of a plan")
        require_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path}: cannot make the run folder ({error.strerror}); choose another --out") from None
        run = cls(path, spec)
        with run.hold():
            require_new(path)  # again: another process may have made it a run meanwhile
            run.write_spec()
        return run

    @classmethod
    def create_numbered(cls, folder: Path, spec: RunSpec) -> Run:
        """Make ``folder/<Env-id>_<n>`` with the first free n; two processes never share one."""
        run = cls(make_numbered(folder, slug(spec.env)), spec)
        run.write_spec()
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open an existing run, or a copy below ./runs of an agent that comes with the package, by its name.

        Raises:
            UsageError: there is no run at ``path``, or its specification is not valid.
        """
        path = path_of(path, what="run")
        if not (path / "run.json").exists():
            if str(path) in list_pretrained():
                return copy_pretrained(str(path), Path("runs"))
            beside = sorted(str(p.parent) for p in path.parent.glob("*/run.json"))[:3] if path.parent.is_dir() else []
            if near := near_runs(str(path)):
                hint = f"did you mean {near[0]!r}?"
            elif beside:
                hint = f"runs beside it: {', '.join(beside)}"
            else:
                hint = "make one with `homeo-rl train`, or take one of `homeo-rl agents`"
            if path.suffix == ".zip":
                hint = f"homeo-rl import sb3-zip {path} --env ID --out RUN makes a run of it"
            raise UsageError(f"{path}: expected a run folder with a run.json, found none; {hint}")
        try:
            document = bundle.read_json(path / "run.json")
        except StorageFault as fault:
            raise UsageError(str(fault)) from None
        return cls(path, parse(RunSpec, document, where=str(path / "run.json")))

    @classmethod
    def of(cls, run: Run | Path | str) -> Run:
        """Return ``run``, opened where it is the path of a run folder.

        Raises:
            UsageError: it is neither, or cannot be opened.
        """
        return run if isinstance(run, Run) else cls.open(run)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the run inside a with block, so that no other process writes to it; the lock dies with the process.

        Raises:
            UsageError: another process holds it.
        """
        with (self.path / ".lock").open("a+") as file:
            deadline = time.monotonic() + _GLANCE
            while not _lock(file, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    file.seek(0)
                    who = file.read().strip() or "another process"
                    raise UsageError(f"{self.path}: is being written by {who}; wait for it, or choose another --out")
                time.sleep(0.01)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}\n")
            file.flush()
            yield

    @property
    def is_held(self) -> bool:
        """Whether another process writes to the run; asking leaves no trace."""
        try:
            with (self.path / ".lock").open() as file:
                return not _lock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def write_spec(self) -> None:
        """Write ``run.json``."""
        bundle.write_json(self.path / "run.json", dump(self.spec))

    @property
    def name(self) -> str:
        """Short name for tables: the last two parts of the path."""
        parts = self.path.resolve().parts
        return "/".join(parts[-2:])

    @property
    def export_folder(self) -> Path:
        """The folder rl-zoo reads the configuration from."""
        return self.path / slug(self.spec.env)

    def save_policy(self, tensors: dict[str, np.ndarray], document: dict[str, Any], *, which: str = "policy") -> None:
        """Write the policy bundle ``which`` ("policy" or "best")."""
        bundle.save(self.path / which, tensors, document)

    def load_policy(self, *, which: str = "policy") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Read a policy bundle. Raises UsageError: this run has none."""
        instance_of(which, str, what="which", advice="write policy or best")
        folder = self.path / which
        if not folder.exists() and not folder.with_name(which + ".old").exists():
            if self.spec.origin == "compile":
                message = "expected a policy, found a compiled network; homeo-rl compose puts one beside a policy"
                raise UsageError(f"{self.path}: {message}")
            raise UsageError(f"{folder}: this run has no such policy; was training stopped before the first save?")
        return bundle.load(folder)

    def policy_digest(self, *, which: str = "policy") -> str:
        """Return the SHA-256 of a policy bundle's manifest: another policy, another digest."""
        self.load_policy(which=which)
        return hashlib.sha256((self.path / which / "manifest.json").read_bytes()).hexdigest()

    def save_calibration(self, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> None:
        """Write the calibration bundle."""
        bundle.save(self.path / "calibration", tensors, document)

    def load_calibration(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Read the calibration bundle, or return None if there is none yet."""
        if not (self.path / "calibration").exists():
            return None
        return bundle.load(self.path / "calibration")

    def save_observer(self, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> None:
        """Write the bundle of an observer: forward model and remembered sequences."""
        bundle.save(self.path / "observer", tensors, document)

    def load_observer(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Read the bundle of an observer, or return None if there is none yet."""
        return bundle.load(self.path / "observer") if (self.path / "observer").exists() else None

    def save_experience(self, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> None:
        """Write the bundle of steps that a training leaves for an observer."""
        bundle.save(self.path / "experience", tensors, document)

    def load_experience(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Read the bundle of steps that a training left, or return None if it left none."""
        return bundle.load(self.path / "experience") if (self.path / "experience").exists() else None

    def new_evaluation(self, suite: str) -> Path:
        """Make the folder of a new evaluation."""
        return make_numbered(self.path / "evaluations", slug(suite))

    def evaluations(self) -> list[Path]:
        """All finished evaluations, oldest first."""
        tables = (self.path / "evaluations").glob("*/scores.csv")
        return sorted((p.parent for p in tables), key=lambda p: ((p / "scores.csv").stat().st_mtime_ns, p.name))


def path_of(value: Any, *, what: str) -> Path:
    """Return a path that is given as one or as text. Raises UsageError: it is neither."""
    instance_of(value, (str, os.PathLike), what=what, advice="give the path of a run folder")
    return Path(value)


def _lock(file: IO[str], kind: int) -> bool:
    """Take a lock (`fcntl.LOCK_EX` or `fcntl.LOCK_SH`) if it is free; return whether it was."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageFault(
            f"{file.name}: cannot be locked ({error.strerror}); expected a file system with flock; choose another --out"
        ) from error
    return True


def require_new(path: Path) -> None:
    """Make sure that a run can be made at ``path``, without writing anything.

    Raises:
        UsageError: files lie there, or it is one.
    """
    try:
        # A command that was killed before its run.json was there leaves these.
        if any(entry.name != ".lock" and not entry.name.startswith("run.json.") for entry in path.iterdir()):
            raise UsageError(f"{path}: expected a new or empty folder, found files; choose another --out")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path}: cannot make the run folder ({error.strerror}); choose another --out") from None


def next_numbered(folder: Path, stem: str) -> Path:
    """Return ``folder/<stem>_<n>`` with n >= 1 above all that are there."""
    taken = [path.name.rpartition("_")[2] for path in folder.glob("*") if path.name.startswith(f"{stem}_")]
    return folder / f"{stem}_{max((int(n) for n in taken if n.isdigit()), default=0) + 1}"


def make_numbered(folder: Path, stem: str) -> Path:
    """Make ``folder/<stem>_<n>`` with the first free n >= 1; exclusive, so no two callers get the same one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = next_numbered(folder, stem)
            with suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None


def slug(name: str) -> str:
    """Return a name fit for a folder: rl-zoo writes the namespace's slash as a dash."""
    return name.rpartition(":")[2].replace("/", "-")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    packages = ("homeo-rl", "gymnasium", "mujoco", "numpy", "stable-baselines3", "torch")
    return {"python": platform.python_version(), **{package: version_of(package) for package in packages}}


def version_of(package: str) -> str:
    """Return the version of a package, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def copy_run(source: Run, target: Path, *, which: str = "policy") -> Run:
    """Return the run ``target``, made with the policy of ``source`` and nothing else if it is not there yet.

    ``which`` is another policy bundle that has to be there too.

    Raises:
        UsageError: something else is at that place, or it cannot be written.
    """
    wanted = dict.fromkeys(("policy", which))
    try:
        if not (target / "run.json").exists():
            require_new(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}.copying")  # of one that was cut nothing is left at the target
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            for name in wanted:
                _copy_bundle(source.path / name, draft / name)
            if (source.path / "observer").exists():
                _copy_bundle(source.path / "observer", draft / "observer")
            shutil.copyfile(source.path / "run.json", draft / "run.json")
            draft.replace(target)
        elif not (target / which).exists():
            _copy_bundle(source.path / which, target / which)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); use another folder") from None
    run = Run.open(target)
    if any(run.policy_digest(which=name) != source.policy_digest(which=name) for name in wanted):
        raise UsageError(
            f"{target}: expected a copy of {source.path.name!r} as it is now, found another policy; move it away"
        )
    return run


def _copy_bundle(source: Path, target: Path) -> None:
    """Copy the files of a bundle, not who may write them: what is copied may be read-only."""
    target.mkdir()
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, target / file.name)


def copy_pretrained(name: str, folder: Path) -> Run:
    """Return the run ``folder/name``, made from the agent that comes with the package if it is not there yet.

    Raises:
        UsageError: something else is at that place, or it cannot be written.
    """
    return copy_run(Run.open(FOLDER / name), folder / name)


copied, pretrained_names = copy_run, list_pretrained  # the older names, until version 0.3
