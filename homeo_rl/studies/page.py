"""The page of a study: tables in Markdown and pictures.

Published pages are compared with their scores by a test, so their words stay.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from homeo_rl.report.baselines import baseline_of
from homeo_rl.report.contrasts import Estimate, contrast_rows, explain_contrasts
from homeo_rl.report.decimals import fixed
from homeo_rl.report.tables import markdown
from homeo_rl.storage import bundle
from homeo_rl.studies import pictures
from homeo_rl.studies.claims import Verdict, judge
from homeo_rl.studies.group_contrasts import contrast_groups, mean_energy
from homeo_rl.studies.results import (
    CLEAN,
    DAMAGED,
    ENVIRONMENT,
    NETWORK,
    Cell,
    Results,
    beside_retention,
    chance_of,
    contrast_hosts,
    difference_of,
    find_harmed,
    find_untrained,
    harms_of,
    mean_of,
    possible_gain,
    recoveries_of,
)
from homeo_rl.studies.study import Claim
from homeo_rl.studies.twins import compare_twins

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
    without_retention = "Without retention, which needs a clean return above 0, and therefore at the end under Returns"
    parts += _listing("Left out, because they were not there", results.document["missing"])
    parts += [f"{hosts} are one policy, whose episodes count more than once." for hosts in _copies(results)]
    parts += _listing(without_retention, list(dict.fromkeys(cell.host for cell in results.raw)))
    parts += _listing("Not evaluated yet", results.document["unfinished"])
    if results.cells:
        parts += [*_claims(results), "## Hosts", *_hosts(results), "## What the arms keep", *_arms(results, out)]
        parts += ["## Condition by condition", *_conditions(results, out), "## Harm", *_harm(results)]
        parts += [*_recovery(results, out), "## Homeostasis", *_homeostasis(results)]
    parts += [*_returns(results), *_host_contrasts(results)]
    versions = ", ".join(f"{name} {version}" for name, version in results.document["versions"].items())
    parts.append(f"Versions: {versions}.")
    path = out / PAGE
    bundle.replace(path, ("\n\n".join(parts) + "\n").encode())
    return path


def _listing(text: str, names: Sequence[str]) -> list[str]:
    return [f"{text}: {', '.join(names)}."] if names else []


def _copies(results: Results) -> list[str]:
    groups = results.document["study"]["groups"]
    hosts: dict[tuple[str, str], dict[str, None]] = {}
    for part in results.document.get("parts", ()):
        hosts.setdefault((groups[part["entry"]]["name"], part["policy"]), {})[part["host"]] = None
    return list(dict.fromkeys(", ".join(names) for names in hosts.values() if len(names) > 1))


def _claims(results: Results) -> list[str]:
    verdicts = judge(results)
    if not verdicts:
        return []
    rows = [
        [v.claim.group, v.claim.statement, _criterion(v.claim), _outcome(v), "yes" if v.holds else "**no**"]
        for v in verdicts
    ]
    return [
        "## Claims",
        "What the study was to show was written into its file.",
        markdown(["group", "claim", "asked", "found", "holds"], rows),
    ]


def _criterion(claim: Claim) -> str:
    if claim.max_harmed_cells is not None:
        return f"at most {claim.max_harmed_cells} cells worse"
    if claim.max_changed_episodes is not None:
        return f"at most {claim.max_changed_episodes} episodes changed"
    if claim.max_total is not None:
        return f"{claim.figure}: at most {claim.max_total} in all"
    if claim.figure:
        side, limit = ("most", claim.max_mean) if claim.min_mean is None else ("least", claim.min_mean)
        return f"{claim.figure}: at {side} {limit:g} on average"
    if claim.min_share_of_gain is not None:
        return f"at least {claim.min_share_of_gain:g} of the gain of {claim.versus}"
    if claim.min_retention is not None:
        return f"at least {claim.min_retention:g}"
    if claim.equivalence_margin is not None:
        return f"at least {claim.equivalence_margin:+g}, every host's interval"
    return f"at least {claim.min_gain:+g}{', the whole interval' * claim.require_significance}"


def _outcome(verdict: Verdict) -> str:
    where = f" ({verdict.where})" if verdict.where else ""
    if isinstance(verdict.value, int):
        return f"{verdict.value}{where}"
    claim = verdict.claim
    is_mean = claim.min_retention is not None or claim.min_share_of_gain is not None or claim.figure != ""
    return (format_estimate(verdict.value) if is_mean else format_difference(verdict.value)) + where


def _hosts(results: Results) -> list[str]:
    rows = []
    for group in results.groups:
        for host in dict.fromkeys(cell.host for cell in results.of(group)):
            clean = results.of(group, results.reference(group), host=host, kinds=CLEAN)
            damaged = results.of(group, results.reference(group), host=host, kinds=DAMAGED)
            rows.append([
                group, damaged[0].role if damaged else "", host, results.document["envs"][host],
                fixed(clean[0].figures['return'].mean(), 0, ",") if clean else "",
                format_estimate(mean_of(damaged)) if damaged else "",
            ])  # fmt: skip
    header = ["group", "role", "host", "environment", "clean return", "kept under damage"]
    shown = {cell.host for cell in results.cells}
    flags = [f"Not trained, {host}: {why}." for host, why in find_untrained(results).items() if host in shown]
    return [markdown(header, rows), *flags]


def _arms(results: Results, out: Path) -> list[str]:
    parts = [
        "Over all damaged cells of a group: the mean (of the cells' means), the interquartile mean over episodes, the "
        "difference to the reference, the first arm, paired by episode, apart for damage of the network and of its "
        "surroundings, the share of episodes that end worse than the reference's by 0.1 or more with the worst of "
        "them, the chance that an episode goes better than the reference's (ties count half), and what a "
        "healthy policy loses. An arm with fewer cells was tried on fewer hosts: compare it with the reference only.",
    ]
    for group in results.groups:
        if not results.of(group, kinds=DAMAGED):
            continue  # evaluated without damage only: the section on harm has it
        hosts = len({cell.host for cell in results.of(group)})
        about = f"{pictures.measure_of(results, group)}, {hosts} host{'s' * (hosts != 1)}"
        parts += [f"### {group}", about + _possible_gain(results, group), markdown(*table_of(results, group))]
    for subset in results.document["study"]["subsets"]:
        group, among = subset["group"], subset["conditions"]
        if group in results.groups:
            about = f"{pictures.measure_of(results, group)}, group {group}, conditions {', '.join(among)}"
            parts += [f"### {subset['name']}", about, markdown(*table_of(results, group, among=among))]
    parts += [*_contrasts(results), *_group_contrasts(results, out), *_twins(results)]
    pictures.draw_arms(results, out / "arms.png")
    parts.append("![What the arms keep](arms.png)")
    if any(pictures.measure_of(results, group) == "retention" for group in pictures.groups_to_compare(results)):
        pictures.draw_profiles(results, out / "profiles.png")
        parts.append("![Performance profiles](profiles.png)")
    return parts


def _possible_gain(results: Results, group: str) -> str:
    gain = possible_gain(results, group)
    if math.isnan(gain) or len(results.arms(group)) == 1:
        return ""
    reference = results.reference(group)
    return f"; were every damaged network as good as the whole one, {reference} would gain {fixed(gain, 3, '+')}"


def table_of(results: Results, group: str, *, among: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """Return header and rows on the arms of a group, over all damaged conditions or over some."""
    rows, reference = [], results.reference(group)
    for arm in results.arms(group):
        cells = results.of(group, arm, kinds=DAMAGED, among=among)
        if not cells:
            continue
        row = [arm, str(len(cells)), format_estimate(mean_of(cells)), fixed(mean_of(cells, middle=True).mean, 3)]
        if arm == reference:
            rows.append(row + [""] * 6)
            continue
        by_kind = (results.of(group, arm, kinds=kinds, among=among) for kinds in (DAMAGED, NETWORK, ENVIRONMENT))
        row += [_format_pairs(results, each) for each in by_kind]
        chance, clean = chance_of(results.pairs(cells)), results.of(group, arm, kinds=CLEAN)
        harmed, worst = find_harmed(results.pairs(cells))
        harm = f"{fixed(100 * harmed, 0)} %, {fixed(worst, 2, '+')}"
        rows.append([*row, harm, fixed(chance, 2), _format_pairs(results, clean)])
    measure = pictures.measure_of(results, group)
    header = ["arm", "cells", measure, "IQM", f"minus {reference}", "network damage", "surroundings"]
    return [*header, "harmed, worst", "chance", "clean"], rows


def _format_pairs(results: Results, cells: Sequence[Cell]) -> str:
    pairs = results.pairs(cells)
    return format_difference(difference_of(pairs)) if pairs else ""


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
    untrained = find_untrained(results)
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
        row = [arm, str(len(damaged)), *(_format_return(mean_of(cells)) if cells else "" for cells in (clean, damaged))]
        pairs = raw.pairs(damaged) if arm != reference else []
        row.append(_format_return(difference_of(pairs), "+") if pairs else "")
        if baseline is not None:
            scaled = [(cell, gap / (baseline.best - baseline.random)) for cell, gap in pairs]
            row.append(format_difference(difference_of(scaled)) if scaled else "")
        rows.append(row)
    header = ["arm", "cells", "clean return", "return under damage", f"minus {reference}"]
    return header + (["normalised"] if baseline is not None else []), rows


def _format_return(estimate: Estimate, form: str = "") -> str:
    values = (estimate.mean, estimate.low, estimate.high)
    largest = max(abs(value) for value in values)
    return _format(estimate, 0 if largest >= 1000 else 1 if largest >= 10 else 2, f"{form},")


def _host_contrasts(results: Results) -> list[str]:
    """Return the section on pairs of hosts, each with its control; nothing where the study asks for none."""
    parts = []
    for pair in results.document["study"].get("host_contrasts", ()):
        for group, contrasts in contrast_hosts(results, (pair[0], pair[1])):
            first = contrasts[0]
            about = f"{group}, arm {first.arm}, {first.what}, {first.episodes} episodes a condition:"
            parts += [f"### {pair[0]} minus {pair[1]}", about, markdown(*contrast_rows(contrasts))]
            parts.append("\n".join(f"- {each.label}: {each.reading}." for each in contrasts))
    return ["## One policy against another", explain_contrasts(), *parts] if parts else []


def _contrasts(results: Results) -> list[str]:
    rows = []
    for arm, other in results.document["study"]["contrasts"]:
        for group in results.groups:
            pairs = results.pairs(results.of(group, arm, kinds=DAMAGED), other)
            hosts = list(dict.fromkeys(cell.host for cell, _ in pairs))
            name = f"{arm} minus {other}"
            subsets = [(host, [pair for pair in pairs if pair[0].host == host]) for host in hosts]
            subsets += [(f"all {len(hosts)}", pairs)] * (len(hosts) > 1)
            rows += [[name, group, which, format_difference(difference_of(some))] for which, some in subsets]
    if not rows:
        return []
    about = "Over all damaged cells of a host, paired by episode:"
    return ["### One arm against another", about, markdown(["arms", "group", "host", "difference"], rows)]


def _group_contrasts(results: Results, out: Path) -> list[str]:
    """Return the sections on pairs of groups; nothing where the study asks for none, or the hosts are missing."""
    parts = []
    pairs = [tuple(pair) for pair in results.document["study"].get("group_contrasts", ())]
    tables = {pair: contrasts for pair in pairs if (contrasts := contrast_groups(results, *pair))}
    for (first, second), contrasts in tables.items():
        rows = [
            [c.what, f"{c.cells}", fixed(c.first, 3), fixed(c.second, 3), format_difference(c.difference),
             format_difference(c.returns), f"{c.better}", f"{c.worse}"]
            for c in contrasts
        ]  # fmt: skip
        header = ["damage", "cells", first, second, "difference", "of returns", "better", "worse"]
        joules = " and ".join(f"{1e9 * mean_energy(results, group):.3g} nJ" for group in (first, second))
        about = (
            f"The hosts of {first} and {second} stand in pairs, and episodes are paired by their seed and damage. The "
            "first three figures are retention, of each host's own clean return. The difference of returns is in clean "
            f"returns of the host of {first}, so that it contains the skill of both. Better and worse count the "
            f"cells in which {first} retains more or less at the 5 % level, after Holm's correction for all cells. "
            f"Arithmetic of a clean decision: {joules}."
        )
        parts += [f"### {first} minus {second}", about, markdown(header, rows)]
    if tables:
        pictures.draw_group_contrasts(tables, out / "groups.png")
        parts.append("![Differences between the groups, condition by condition](groups.png)")
    return parts


def _twins(results: Results) -> list[str]:
    rows = [
        [t.host, t.twin, f"{t.conditions}", fixed(t.clean, 2), fixed(t.frozen, 3), format_estimate(t.repaired),
         format_estimate(t.trained), format_difference(t.difference)]
        for t in compare_twins(results)
    ]  # fmt: skip
    if not rows:
        return []
    about = (
        "A policy repaired by an arm, and a twin for the same robot that was trained under faults and runs frozen. All "
        "figures are returns, as shares of the first policy's clean return, over the damaged conditions that both met; "
        "episodes are paired by their seed and damage."
    )
    header = ["policy", "twin", "cells", "twin clean", "policy frozen", "repaired", "twin", "repaired minus twin"]
    return ["### Repair against training under faults", about, markdown(header, rows)]


def _conditions(results: Results, out: Path) -> list[str]:
    parts = []
    for group in results.groups:
        arms = results.arms(group)
        labels = list(dict.fromkeys(cell.condition for cell in results.of(group)))
        rows = []
        for label in labels:
            by_arm = [results.of(group, arm, condition=label) for arm in arms]
            rows.append([label, *(fixed(mean_of(cells).mean, 2) if cells else "" for cells in by_arm)])
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
            worse = sum(harm.corrected < 0.05 for harm in harms)
            equal = sum(harm.p == 1.0 and harm.difference == 0.0 for harm in harms)
            rows.append([
                group, arm, str(len(harms)), str(equal), str(worse),
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
        if not clean or not results.of(group, kinds=DAMAGED) or np.isnan(_mean(clean, "firing_rate")):
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


def format_estimate(estimate: Estimate) -> str:
    """Return an estimate with its interval as text."""
    return _format(estimate, 3, "")


def format_difference(estimate: Estimate) -> str:
    """Return a difference with its interval as text."""
    return _format(estimate, 3, "+")


def _format(estimate: Estimate, digits: int, form: str) -> str:
    mean, low, high = (fixed(value, digits, form) for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"
