"""The evaluations a report joins: read with everything that is stored of them, each policy's episodes counted once."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.report.episodes import Row, read_scores
from homeo_rl.run import Run
from homeo_rl.storage import bundle
from homeo_rl.storage.files import printable

_REQUIRED = ("suite", "suite_version", "suite_hash", "episodes", "seed", "versions")


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation: its folder, evaluation.json and episodes."""

    folder: Path
    document: dict[str, Any]
    rows: tuple[Row, ...]

    @property
    def run(self) -> Path:
        """The run folder that it belongs to."""
        return self.folder.parent.parent

    @property
    def suite(self) -> str:
        """Name and content hash of the suite, and what else episodes must share to be joined."""
        known = {key: self.document.get(key) for key in ("env", "time_steps")}
        rest = "".join(f", {key} {value}" for key, value in known.items() if value)
        return f"{self.document['suite']} ({self.document['suite_hash']}){rest}"

    @cached_property
    def environment(self) -> str:
        """The environment of clean episodes; "" where the run does not say."""
        clean = next((row.condition for row in self.rows if row.severity == 0.0), None)
        conditions = self.document.get("conditions")
        for condition in conditions if isinstance(conditions, list) else ():
            if isinstance(condition, dict) and condition.get("name") == clean and condition.get("env"):
                return str(condition["env"])
        if self.document.get("env"):
            return str(self.document["env"])
        path = self.run / "run.json"
        return str(bundle.read_json(path).get("env", "")) if path.exists() else ""

    @cached_property
    def policy(self) -> str:
        """What tells this policy's episodes from those of other policies: equal for a copy of the run."""
        digest = self.document.get("policy_digest") or policy_key(self.run) or str(self.folder.resolve())
        return f"{digest} {self.document['seed']}"

    @cached_property
    def scores(self) -> str:
        """SHA-256 of the episodes without the run's name, which a copy may change."""
        text = repr(sorted(repr(replace(row, run="")) for row in self.rows))
        return hashlib.sha256(text.encode()).hexdigest()


def latest_evaluation(run: Run, suite: str | None = None) -> Path:
    """Return the newest finished evaluation of a run.

    Raises:
        UsageError: there is none.
        StorageFault: an evaluation.json is damaged.
    """
    folders = [path for path in run.evaluations() if suite is None or read_document(path)["suite"] == suite]
    if not folders:
        what = "evaluation" if suite is None else f"evaluation of suite {suite!r}"
        raise UsageError(f"{run.path}: expected a finished {what}, found none; run homeo-rl evaluate {run.path}")
    return folders[-1]


def read_document(folder: Path) -> dict[str, Any]:
    """Return an evaluation.json. Raises StorageFault: it is damaged."""
    document = bundle.read_json(folder / "evaluation.json")
    absent = [key for key in _REQUIRED if key not in document]
    if absent or not isinstance(document["versions"], dict):
        what = f"no {absent[0]}" if absent else "versions that are no object"
        raise StorageFault(
            f"{folder / 'evaluation.json'}: expected {', '.join(_REQUIRED)}, got {what}; run homeo-rl evaluate again"
        )
    return document


def read_evaluation(folder: Path) -> Evaluation:
    """Read and check an evaluation.

    Raises:
        StorageFault: a file is damaged, or episodes are missing; the message names the file and, of scores, the line.
    """
    document, rows = read_document(folder), read_scores(folder / "scores.csv")
    episodes, arms = document["episodes"], document.get("arms") or ()
    counts = Counter((row.arm, row.label) for row in rows)
    evaluated = list(dict.fromkeys(arm for arm, _ in counts))
    if len(evaluated) < len(arms):
        raise _cut(folder, f"episodes of {len(arms)} arms", f"those of {', '.join(evaluated)}")
    for arm in evaluated:
        for label in dict.fromkeys(label for _, label in counts):
            if counts[arm, label] != episodes:
                raise _cut(folder, f"{episodes} episodes of {arm} under {label}", str(counts[arm, label]))
    return Evaluation(folder, document, tuple(rows))


def _cut(folder: Path, expected: str, got: str) -> StorageFault:
    where = folder / "scores.csv"
    return StorageFault(f"{where}: expected {printable(expected)}, found {printable(got)}; run homeo-rl evaluate again")


def policy_key(run: Path) -> str:
    """Return a digest that is equal for copies of a run, and different for different policies; "" of no run."""
    for name in ("policy/manifest.json", "run.json"):
        if (run / name).is_file():
            return hashlib.sha256((run / name).read_bytes()).hexdigest()
    return ""


def without_copies(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], list[str]]:
    """Return the evaluations of different policies, and a sentence on each that is a copy of an earlier one.

    Raises UsageError: one policy was evaluated twice, with different results.
    """
    kept: dict[str, Evaluation] = {}
    notes = []
    for evaluation in evaluations:
        first = kept.setdefault(evaluation.policy, evaluation)
        if first is evaluation:
            continue
        if first.scores != evaluation.scores:
            raise UsageError(
                f"{evaluation.folder}: the same policy as {first.folder}, with other episodes; both would count: "
                "report one of the two"
            )
        if evaluation.folder.resolve() == first.folder.resolve():
            notes.append(f"{evaluation.run} was given twice; counted once.")
        else:
            notes.append(f"{evaluation.run} is a copy of {first.run} (same policy, same scores); counted once.")
    return list(kept.values()), notes


def with_unique_names(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the evaluations with run names of their own: runs of one name would be taken for one run."""
    names = number_repeated([evaluation.rows[0].run for evaluation in evaluations])
    return [
        each if name == each.rows[0].run else replace(each, rows=tuple(replace(row, run=name) for row in each.rows))
        for each, name in zip(evaluations, names, strict=True)
    ]


def number_repeated(names: Iterable[str]) -> list[str]:
    """Return the names, those that came before with a number behind them: ``run``, ``run (2)``."""
    taken: Counter[str] = Counter()
    numbered = []
    for name in names:
        taken[name] += 1
        numbered.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return numbered


def require_comparable(evaluations: Sequence[Evaluation]) -> None:
    """Check that episodes may be joined.

    Raises UsageError: suites or environments differ; the message names the runs.
    """
    for what, kind in (("suite", "suite"), ("environment", "environment")):
        by_value: dict[str, str] = {}
        for evaluation in evaluations:
            by_value.setdefault(getattr(evaluation, kind), str(evaluation.run))
        if len(by_value) > 1:
            got = "; ".join(f"{value or 'unknown'} of {run}" for value, run in by_value.items())
            remedy = "give --suite, or report them apart" if what == "suite" else "write --out PAGE.html"
            raise UsageError(f"expected evaluations of one {what}, got {got}; {remedy}")


def by_package(versions: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the different versions of each package, in the order of their first appearance."""
    different: dict[str, dict[str, None]] = {}
    for each in versions:
        for name, version in each.items():
            different.setdefault(str(name), {})[str(version)] = None
    return {name: list(several) for name, several in different.items()}
