"""What observers found: alarms, identified faults, and how well their forward models predict each sensor."""

from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.evaluation.metrics import existing, label_of, mean
from homeo_rl.observer.confusion import Draw, confuse, kind_table, name_true_kind
from homeo_rl.observer.health_card import health_card
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.report.page.blocks import Section, Table, block_section
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison, NamedRun
from homeo_rl.report.statistics import Row
from homeo_rl.storage import bundle

Diagnoses = dict[tuple[str, str], list[dict[str, Any]]]  # diagnoses of episodes, by arm and label of the condition


def observer(context: PageContext) -> Section | None:
    """Return the section on what observers diagnoses; None where no arm observes.

    Raises StorageFault: diagnoses or a forward model are damaged; the message names the file.
    """
    blocks = []
    for comparison in context.data.comparisons:
        arms = [arm for arm in comparison.arms if existing([r for r in comparison.rows if r.arm == arm], "openings")]
        if not arms:
            continue
        diagnoses = _read(comparison)
        tables = [_alarms(comparison, arms, diagnoses)]
        tables += [_confusion(comparison, arm, diagnoses) for arm in arms if any(key[0] == arm for key in diagnoses)]
        tables += [table for member in comparison.members if (table := _card(member)) is not None]
        blocks.append({"name": comparison.name, "note": "", "tables": tables})
    how = (
        "An observer predicts every sensor and raises an alarm where measurements are not what it expects. Decisions "
        "to the alarm, from the onset, are the median over episodes with an alarm. Estimated is the share of decisions "
        "in which the policy got an estimate. Faults are those named at the end of an episode, with the number of "
        "episodes. An alarm in a clean episode is a false one; it changes nothing where nothing is estimated."
    )
    return block_section("observer", "What the observer found", how, "table_blocks.html.j2", blocks)


def _read(comparison: Comparison) -> Diagnoses:
    diagnoses: Diagnoses = {}
    for folder in comparison.folders:
        path = folder / "diagnoses.json"
        if not path.exists():
            continue
        document = bundle.read_json(path)
        try:
            for cell in document["cells"]:
                entries = [
                    {
                        "alarm": entry["alarm"] is not None, "identified": str(entry["identified"]),
                        "kinds": {str(kind) for _, kind, _, _ in entry["sensors"]}, "latency": int(entry["latency"]),
                    }
                    for entry in cell["episodes"]
                ]  # fmt: skip
                diagnoses.setdefault((str(cell["arm"]), str(cell["condition"])), []).extend(entries)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageFault(f"{path}: expected diagnoses of homeo-rl evaluate ({error!r})") from None
    return diagnoses


def _alarms(comparison: Comparison, arms: list[str], diagnoses: Diagnoses) -> Table:
    rows = []
    for label in comparison.labels:
        for arm in arms:
            scores = [row for row in comparison.rows if (row.arm, row.label) == (arm, label)]
            entries = diagnoses.get((arm, label), [])
            rows.append([
                label, *([arm] if len(arms) > 1 else []), _alarm_share(scores, entries), _median(scores),
                _percent(mean(scores, "latency_right")), _percent(mean(scores, "estimated")), _faults(entries),
            ])  # fmt: skip
    header = [
        "condition", *(["arm"] if len(arms) > 1 else []), "episodes with an alarm", "decisions to the alarm",
        "latency right", "estimated", "faults found",
    ]  # fmt: skip
    return Table("Alarms and estimates", header, rows, 2 if len(arms) > 1 else 1)


def _alarm_share(scores: list[Row], entries: list[dict[str, Any]]) -> str:
    """Return the share of episodes with an alarm; without diagnoses, with one since the onset of a fault."""
    if entries:
        return _percent(sum(entry["alarm"] for entry in entries) / len(entries))
    judged = len(existing(scores, "detected"))
    return _percent(len(existing(scores, "detected_after")) / judged if judged else None)


def _median(scores: list[Row]) -> str:
    after = existing(scores, "detected_after")
    return f"{np.median(after):.0f}" if after else ""


def _faults(entries: list[dict[str, Any]]) -> str:
    """Return which kinds of sensor faults and latencies were named, each with its number of episodes."""
    counts: dict[str, int] = {}
    for entry in entries:
        late = {f"latency {entry['latency']}"} if entry["latency"] else set()
        for kind in sorted(entry["kinds"] | late):
            counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(
        f"{kind} in {count}" for kind, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _confusion(comparison: Comparison, arm: str, diagnoses: Diagnoses) -> Table:
    """Return the confusion table of an arm; its true kinds are those of the suite's degradations."""
    draws = []
    for condition in comparison.documents[0].get("conditions") or ():
        if not isinstance(condition, dict):
            continue
        severity = float(condition.get("severity", 1.0))
        label = label_of(str(condition.get("name")), severity)
        kinds = [str(part.get("kind")) for part in condition.get("degradations") or ()]
        draws += [
            Draw(name_true_kind(kinds, severity), entry["identified"]) for entry in diagnoses.get((arm, label), [])
        ]  # fmt: skip
    return Table(f"Episodes by true kind (rows) and identified kind, {arm}", *kind_table(confuse(draws)))


def _card(member: NamedRun) -> Table | None:
    stored = member.run.load_observer()
    if stored is None:
        return None
    model = ObserverMemory.from_bundle(*stored, where=str(member.run.path / "observer")).model
    card = health_card(model)
    return Table(f"Health card of the forward model, {member.name}", card.header, card.rows)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
