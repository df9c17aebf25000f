"""Optuna's journal of a tuning, which several processes write to: trials, drawn once for each *slot*.

A slot is one of the trials that were asked for. Its parameters are drawn once. A process that works on it holds
``claims/<slot>.lock``, so a trial that is running in the journal while its slot can be locked belongs to a process that
died: it is marked as failed, and the slot's parameters are enqueued again.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.seeding import derive
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock
from homeo_rl.tuning.optuna_support import quiet
from homeo_rl.tuning.plan import TuningPlan
from homeo_rl.tuning.space import Entry

FORMAT = "homeo-rl tuning 1"

_STUDY = "homeo-rl"

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class JournalLock(JournalFileOpenLock):
    """The journal's own file, locked; the lock dies with its process, and half a line of a dead one is cut off."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._file = self.path.open("r+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        end = self._file.seek(0, os.SEEK_END)
        if end:
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":
                self._file.seek(0)
                self._file.truncate(self._file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def open_study(plan: TuningPlan) -> Iterator[optuna.Study]:
    """Open the journal's study inside a with block, in which Optuna does not log.

    Raises:
        UsageError: the journal, or the folder, is another tuning's.
        StorageFault: the journal is damaged or cannot be written.
    """
    with quiet():
        study = _study(plan)
        with hold_lock(plan.out / "claims" / "ask.lock", wait=True):
            _identify(plan, study)
        yield study


def prepare_folders(plan: TuningPlan) -> None:
    """Make the folders of a tuning. Raises UsageError: the folder holds something else, or cannot be made."""
    out = plan.out
    try:
        foreign = out.exists() and not (out / "tuning.json").exists() and any(
            path.name not in ("claims", "trials", plan.storage.name) for path in out.iterdir()
        )  # fmt: skip
        if foreign:
            raise UsageError(f"{out}: expected a new folder, or a tuning's, found other files; choose another --out")
        for folder in (out / "claims", out / "trials", plan.storage.parent):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be a tuning's folder ({error.strerror}); choose another --out") from None


def slot_of(trial: FrozenTrial) -> int | None:
    """Return the slot that a trial belongs to; None for one whose process died as it was made."""
    slot = trial.user_attrs.get("slot")
    return slot if isinstance(slot, int) else None


def find_ended(study: optuna.Study) -> dict[int, FrozenTrial]:
    """Return the trial that ended each slot."""
    ended: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False, states=ENDED):
        slot = slot_of(trial)
        if slot is not None:
            ended.setdefault(slot, trial)
    return ended


def ask_for_slot(study: optuna.Study, plan: TuningPlan, slot: int) -> Trial:
    """Begin a trial for a slot, whose claim the caller holds.

    Equal histories give equal draws, however often the tuning was interrupted.
    """
    with hold_lock(plan.out / "claims" / "ask.lock", wait=True):
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state is TrialState.RUNNING and slot_of(trial) in (slot, None):
                study.tell(trial.number, state=TrialState.FAIL)
        earlier = [trial for trial in trials if slot_of(trial) == slot]
        if earlier:
            params = max((trial.params or find_enqueued(trial) for trial in earlier), key=len)
        else:
            params = plan.first() if slot == 0 else {}
        if params and not any(trial.state is TrialState.WAITING for trial in earlier):
            study.enqueue_trial(params, user_attrs={"slot": slot})
        study.sampler = _sampler(plan, slot)
        distributions = {name: distribution(entry) for name, entry in plan.space.items()}
        while True:
            asked = study.ask(distributions)
            enqueued_for = asked.user_attrs.get("slot")
            if enqueued_for is None and not params:
                asked.set_user_attr("slot", slot)
            elif enqueued_for != slot:  # enqueued by a process that died then
                study.tell(asked, state=TrialState.FAIL)
                continue
            return asked


def distribution(entry: Entry) -> optuna.distributions.BaseDistribution:
    """Return what Optuna draws an entry's coordinates from."""
    if entry.choices:
        return optuna.distributions.CategoricalDistribution([entry.coordinate(choice) for choice in entry.choices])
    low, high = entry.limits
    if entry.whole:
        return optuna.distributions.IntDistribution(int(low), int(high), log=entry.scale == "log")
    return optuna.distributions.FloatDistribution(low, high, log=entry.scale in ("log", "one-minus-log"))


def pruner(plan: TuningPlan) -> optuna.pruners.BasePruner:
    """Return what stops trials early: after a third of the first training, once five trials were completed."""
    if plan.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=plan.looks // 3)


def find_enqueued(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial that waits."""
    params = trial.system_attrs.get("fixed_params", {})
    return dict(params) if isinstance(params, dict) else {}


def _sampler(plan: TuningPlan, slot: int) -> optuna.samplers.BaseSampler:
    seed = derive(plan.training.seed, "tuning", slot) % 2**32
    if plan.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Trials that run count as bad ones, so that processes side by side look at different places.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _study(plan: TuningPlan) -> optuna.Study:
    try:
        plan.storage.touch()
        storage = JournalStorage(JournalFileBackend(str(plan.storage), lock_obj=JournalLock(plan.storage)))
        return optuna.create_study(
            study_name=_STUDY, storage=storage, direction="maximize", pruner=pruner(plan), load_if_exists=True
        )
    except OSError as error:
        raise StorageFault(f"{plan.storage}: cannot be written ({error.strerror}); choose another --storage") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # lines that are no journal's
        reason = " ".join(str(error).split())
        raise StorageFault(
            f"{plan.storage}: expected Optuna's journal, cannot read it ({reason}); choose another --storage"
        ) from None


def _identify(plan: TuningPlan, study: optuna.Study) -> None:
    """Make sure that journal, folder and plan belong together. Raises UsageError: they do not."""
    attributes, marker = study.user_attrs, plan.out / "tuning.json"
    if "plan" not in attributes and study.get_trials(deepcopy=False):
        raise UsageError(f"{plan.storage}: expected a journal of homeo-rl tune, found another's; choose another one")
    known = bundle.read_json(marker) if marker.exists() else None
    if "plan" not in attributes:
        if known is not None:
            raise UsageError(f"{plan.out}: holds the runs of another journal; choose another --out")
        study.set_user_attr("id", uuid.uuid4().hex)
        study.set_user_attr("plan", plan.decisive)
    else:
        differing = [name for name, value in plan.decisive.items() if attributes["plan"].get(name) != value]
        if differing:
            name = differing[0]
            raise UsageError(
                f"{plan.storage}: holds a tuning with another {name} ({_short(attributes['plan'].get(name))} there, "
                f"{_short(plan.decisive[name])} asked for); choose another --storage"
            )
    identity = study.user_attrs["id"]
    if known is None:
        elsewhere = Path(study.user_attrs.get("folder", ""))
        if elsewhere != plan.out.resolve() and (elsewhere / "tuning.json").exists():
            raise UsageError(f"{plan.storage}: has its runs in {elsewhere}; give that as --out")
        study.set_user_attr("folder", str(plan.out.resolve()))
        bundle.write_json(marker, {"format": FORMAT, "id": identity})
    elif known.get("format") != FORMAT or known.get("id") != identity:
        raise UsageError(f"{plan.out}: holds the runs of another journal; choose another --out")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
