"""The page of a study: tables in Markdown, with the pictures beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from homeo_rl.report.baselines import baseline_of
from homeo_rl.report.decimals import fixed
from homeo_rl.report.tables import markdown
from homeo_rl.storage import bundle
from homeo_rl.studies import pictures
from homeo_rl.studies.claims import Verdict, judge
from homeo_rl.studies.results import (
    CLEAN,
    DAMAGED,
    NETWORK,
    SURROUNDINGS,
    Cell,
    Estimate,
    Results,
    beside_retention,
    chance_of,
    difference_of,
    harms_of,
    mean_of,
    recoveries_of,
    room_of,
    untrained_hosts,
)

PAGE = "results.md"


def write_page(results: Results, out: Path) -> Path:
    """Write ``results.md`` and its pictures into an existing folder; the same results give the same text."""
    study = results.document["study"]
    parts = [
        f"# {study['name']}",
        study["description"].strip(),
        f"{study['episodes']} episodes a cell, seed {study['seed']}; the arms share episode seeds and damage draws. "
        "Means with 95 % stratified bootstrap intervals.",
        "    " + (results.document["command"] or "homeo-rl study"),
    ]
    if results.document["missing"]:
        parts.append(f"Left out, because they were not there: {', '.join(results.document['missing'])}.")
    parts += [f"{hosts} are one policy, whose episodes count more than once." for hosts in _copies(results)]
    without = list(dict.fromkeys(cell.host for cell in results.raw))
    if without:
        parts.append(
            "Without retention, which needs a clean return above 0, and therefore at the end under Returns: "
            f"{', '.join(without)}."
        )
    if results.document["unfinished"]:
        parts.append(f"Not evaluated yet: {', '.join(results.document['unfinished'])}.")
    if results.cells:
        parts += [*_claims(results), "## Hosts", *_hosts(results), "## What the arms keep", *_kept(results, out)]
        parts += ["## Condition by condition", *_conditions(results, out), "## Harm", *_harm(results)]
        parts += [*_recovery(results, out), "## Homeostasis", *_homeostasis(results)]
    parts += _returns(results)
    versions = ", ".join(f"{name} {version}" for name, version in results.document["versions"].items())
    parts.append(f"Versions: {versions}.")
    path = out / PAGE
    bundle.replace(path, ("\n\n".join(parts) + "\n").encode())
    return path


def _copies(results: Results) -> list[str]:
    """Return the hosts of a group that are the same policy."""
    groups = results.document["study"]["groups"]
    hosts: dict[tuple[str, str], dict[str, None]] = {}
    for part in results.document.get("parts", ()):
        hosts.setdefault((groups[part["entry"]]["name"], part["policy"]), {})[part["host"]] = None
    return list(dict.fromkeys(", ".join(names) for names in hosts.values() if len(names) > 1))


def _claims(results: Results) -> list[str]:
    verdicts = judge(results)
    if not verdicts:
        return []
    rows = [[v.claim.group, v.claim.say, *_asked_and_found(v), "yes" if v.holds else "**no**"] for v in verdicts]
    return [
        "## Claims",
        "What the study was to show was written into its file.",
        markdown(["group", "claim", "asked", "found", "holds"], rows),
    ]


def _asked_and_found(verdict: Verdict) -> tuple[str, str]:
    claim, found = verdict.claim, verdict.found
    where = f" ({verdict.where})" if verdict.where else ""
    if isinstance(found, int):
        return f"at most {claim.harmed} cells worse", f"{found}{where}"
    if claim.kept is not None:
        return f"at least {claim.kept:g}", told(found)
    least = f"at least {claim.gained if claim.tied is None else claim.tied:+g}"
    how = ", the whole interval" if claim.surely else ", every host's interval" if claim.tied is not None else ""
    return least + how, signed(found) + where


def _hosts(results: Results) -> list[str]:
    rows = []
    for group in results.groups:
        for host in dict.fromkeys(cell.host for cell in results.of(group)):
            clean = results.of(group, results.reference(group), host=host, kinds=CLEAN)
            kept = results.of(group, results.reference(group), host=host, kinds=DAMAGED)
            rows.append([
                group, kept[0].role if kept else "", host, results.document["envs"][host],
                fixed(clean[0].figures['return'].mean(), 0, ",") if clean else "",
                told(mean_of(kept)) if kept else "",
            ])  # fmt: skip
    header = ["group", "role", "host", "environment", "clean return", "kept under damage"]
    shown = {cell.host for cell in results.cells}
    flags = [f"Not trained, {host}: {why}." for host, why in untrained_hosts(results).items() if host in shown]
    return [markdown(header, rows), *flags]


def _kept(results: Results, out: Path) -> list[str]:
    parts = [
        "Over all damaged cells of a group: the mean (of the cells' means), the interquartile mean over episodes, the "
        "difference to the reference, the first arm, paired by episode, apart for damage of the network and of its "
        "surroundings, the chance that an episode goes better than the reference's (ties count half), and what a "
        "healthy policy loses. An arm with fewer cells was tried on fewer hosts: compare it with the reference only.",
    ]
    for group in results.groups:
        hosts = len({cell.host for cell in results.of(group)})
        about = f"{pictures.measure_of(results, group)}, {hosts} host{'s' * (hosts != 1)}"
        parts += [f"### {group}", about + _room(results, group), markdown(*table_of(results, group))]
    for subset in results.document["study"]["subsets"]:
        group, among = subset["group"], subset["conditions"]
        if group in results.groups:
            about = f"{pictures.measure_of(results, group)}, group {group}, conditions {', '.join(among)}"
            parts += [f"### {subset['name']}", about, markdown(*table_of(results, group, among=among))]
    parts += _contrasts(results)
    pictures.draw_arms(results, out / "arms.png")
    parts.append("![What the arms keep](arms.png)")
    if any(pictures.measure_of(results, group) == "retention" for group in pictures.compared_in(results)):
        pictures.draw_profiles(results, out / "profiles.png")
        parts.append("![Performance profiles](profiles.png)")
    return parts


def _room(results: Results, group: str) -> str:
    room = room_of(results, group)
    if math.isnan(room) or len(results.arms(group)) == 1:
        return ""
    gain = f"{results.reference(group)} would gain {fixed(room, 3, '+')}"
    return f"; were every damaged network as good as the whole one, {gain}"


def table_of(results: Results, group: str, *, among: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of what the arms of a group keep, over all damaged conditions or over some."""
    rows, reference = [], results.reference(group)
    for arm in results.arms(group):
        mine = results.of(group, arm, kinds=DAMAGED, among=among)
        if not mine:
            continue
        row = [arm, str(len(mine)), told(mean_of(mine)), fixed(mean_of(mine, middle=True).mean, 3)]
        for kinds in (DAMAGED, NETWORK, SURROUNDINGS):
            pairs = results.pairs(results.of(group, arm, kinds=kinds, among=among))
            row.append(signed(difference_of(pairs)) if pairs and arm != reference else "")
        clean = results.pairs(results.of(group, arm, kinds=CLEAN))
        row.append(fixed(chance_of(results.pairs(mine)), 2) if arm != reference else "")
        row.append(signed(difference_of(clean)) if clean and arm != reference else "")
        rows.append(row)
    measure = pictures.measure_of(results, group)
    return [
        "arm",
        "cells",
        measure,
        "IQM",
        f"minus {reference}",
        "network damage",
        "surroundings",
        "chance",
        "clean",
    ], rows


def _returns(results: Results) -> list[str]:
    """Return the section on hosts without retention: differences of returns, as they are and normalised."""
    raw = beside_retention(results)
    if not raw.cells:
        return []
    parts = [
        "## Returns",
        "Hosts without a clean return above 0, over all damaged conditions: mean return, and the difference to the "
        "first arm, paired by episode, as it is and normalised, divided by what lies between acting at random and the "
        "best known return of the environment.",
    ]
    untrained = untrained_hosts(results)
    for group in raw.groups:
        for host in dict.fromkeys(cell.host for cell in raw.of(group)):
            baseline = baseline_of(results.document["envs"].get(host, ""))
            scale = "no random and best return are known" if baseline is None else baseline.describe()
            parts += [
                f"### {group}: {host}",
                f"{results.document['envs'].get(host, 'unknown environment')}: {scale}.",
                *([f"Not trained: {untrained[host]}."] if host in untrained else []),
                markdown(*returns_of(raw, group, host)),
            ]
    return parts


def returns_of(raw: Results, group: str, host: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the returns of a host, arm by arm."""
    baseline = baseline_of(raw.document["envs"].get(host, ""))
    reference, rows = raw.reference(group), []
    for arm in raw.arms(group):
        damaged = raw.of(group, arm, host=host, kinds=DAMAGED)
        if not damaged:
            continue
        clean = raw.of(group, arm, host=host, kinds=CLEAN)
        row = [arm, str(len(damaged)), *(_amount(mean_of(cells)) if cells else "" for cells in (clean, damaged))]
        pairs = raw.pairs(damaged) if arm != reference else []
        row.append(_amount(difference_of(pairs), "+") if pairs else "")
        if baseline is not None:
            scaled = [(cell, gap / (baseline.best - baseline.random)) for cell, gap in pairs]
            row.append(signed(difference_of(scaled)) if scaled else "")
        rows.append(row)
    header = ["arm", "cells", "clean return", "return under damage", f"minus {reference}"]
    return header + (["normalised"] if baseline is not None else []), rows


def _amount(found: Estimate, form: str = "") -> str:
    """Return an estimate of a return as text, with digits that suit its size."""
    largest = max(abs(value) for value in (found.mean, found.low, found.high))
    digits = 0 if largest >= 1000 else 1 if largest >= 10 else 2
    mean, low, high = (fixed(value, digits, f"{form},") for value in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"


def _contrasts(results: Results) -> list[str]:
    rows = []
    for arm, other in results.document["study"]["contrasts"]:
        for group in results.groups:
            pairs = results.pairs(results.of(group, arm, kinds=DAMAGED), other)
            hosts = list(dict.fromkeys(cell.host for cell, _ in pairs))
            name = f"{arm} minus {other}"
            rows += [
                [name, group, host, signed(difference_of([p for p in pairs if p[0].host == host]))] for host in hosts
            ]
            if len(hosts) > 1:
                rows.append([name, group, f"all {len(hosts)}", signed(difference_of(pairs))])
    if not rows:
        return []
    about = "Over all damaged cells of a host, paired by episode:"
    return ["### One arm against another", about, markdown(["arms", "group", "host", "difference"], rows)]


def _conditions(results: Results, out: Path) -> list[str]:
    parts = []
    for group in results.groups:
        arms = results.arms(group)
        labels = list(dict.fromkeys(cell.condition for cell in results.of(group)))
        rows = []
        for label in labels:
            found = [results.of(group, arm, condition=label) for arm in arms]
            rows.append([label, *(fixed(mean_of(cells).mean, 2) if cells else "" for cells in found)])
        parts += [
            f"### {group}: {pictures.measure_of(results, group)}, mean over hosts",
            markdown(["condition", *arms], rows),
        ]
    if any(len(results.arms(group)) > 1 for group in results.groups):
        pictures.draw_conditions(results, out / "conditions.png")
        parts.append("![Differences to the reference, condition by condition](conditions.png)")
    return parts


def _harm(results: Results) -> list[str]:
    rows = []
    for group in results.groups:
        for arm in results.arms(group)[1:]:
            harms = harms_of(results.pairs(results.of(group, arm)))
            if not harms:
                continue
            worst = min(harms, key=lambda harm: (harm.corrected, harm.difference))
            bad = [harm for harm in harms if harm.corrected < 0.05]
            same = sum(harm.p == 1.0 and harm.difference == 0.0 for harm in harms)
            rows.append([
                group, arm, str(len(harms)), str(same), str(len(bad)),
                f"{worst.cell.host}, {worst.cell.condition}: {fixed(worst.difference, 3, '+')}, "
                f"p = {worst.corrected:.2g}",
            ])  # fmt: skip
    return [
        "Cells (host and condition, the clean one too) in which an arm is worse than the reference at the 5 % level: "
        "paired sign flips, one-sided, corrected by Holm for all cells of the group and arm. Equal cells are those in "
        "which no episode differs.",
        markdown(["group", "arm", "cells", "equal", "worse", "the worst"], rows),
    ]


def _recovery(results: Results, out: Path) -> list[str]:
    recoveries = recoveries_of(results)
    if not recoveries:
        return []
    rows = [
        [
            r.group,
            r.condition,
            r.arm,
            fixed(r.regained, 2),
            fixed(r.lost, 2),
            "never" if r.decisions is None else str(r.decisions),
        ]
        for r in recoveries
    ]
    pictures.draw_recovery(recoveries, out / "recovery.png")
    return [
        "## Damage in mid-episode",
        "Reward as a share of that of the reference's clean episodes, robots that fell earning nothing: over the last "
        "fifth of the episode, what is missing from the damage to the end, and decisions until nine tenths are back "
        "for good.",
        markdown(["group", "condition", "arm", "regained", "lost", "decisions"], rows),
        "![Reward around a damage in mid-episode](recovery.png)",
    ]


def _homeostasis(results: Results) -> list[str]:
    parts = [
        "Over all damaged cells, against the reference's clean episodes: mean firing rate, its standard deviation over "
        "neurons and over episodes, mean distance of a neuron's rate from the calibrated one (below it, the same where "
        "nothing is damaged), drift of the weights (median over cells), and arithmetic energy of a decision.",
    ]
    for group in results.groups:
        clean = results.of(group, results.reference(group), kinds=CLEAN)
        if not clean or np.isnan(_mean(clean, "firing_rate")):
            continue
        rows = [[f"{results.reference(group)}, clean", *_metrics(clean)]]
        rows += [[arm, *_metrics(results.of(group, arm, kinds=DAMAGED))] for arm in results.arms(group)]
        header = ["arm", "rate", "s.d. over neurons", "s.d. over episodes", "distance", "drift", "energy (nJ)"]
        parts += [f"### {group}", markdown(header, rows)]
    return parts


def _metrics(cells: Sequence[Cell]) -> list[str]:
    drift = float(np.median([cell.figures["weight_drift"].mean() for cell in cells]))
    trials = float(np.mean([cell.figures["firing_rate"].std() for cell in cells]))
    return [
        fixed(_mean(cells, 'firing_rate'), 4), fixed(_mean(cells, 'rate_spread'), 4), fixed(trials, 4),
        fixed(_mean(cells, 'rate_deviation'), 4), fixed(drift, 3),
        fixed(1e9 * _mean(cells, 'energy'), 1),
    ]  # fmt: skip


def _mean(cells: Sequence[Cell], figure: str) -> float:
    return float(np.mean([cell.figures[figure].mean() for cell in cells]))


def told(found: Estimate) -> str:
    """Return an estimate as text."""
    return f"{fixed(found.mean, 3)} [{fixed(found.low, 3)}, {fixed(found.high, 3)}]"


def signed(found: Estimate) -> str:
    """Return a difference as text."""
    return f"{fixed(found.mean, 3, '+')} [{fixed(found.low, 3, '+')}, {fixed(found.high, 3, '+')}]"
