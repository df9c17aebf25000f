"""The summary of a tuning: Markdown, and a picture of the trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from homeo_rl.report.colours import COLOURS
from homeo_rl.report.decimals import fixed
from homeo_rl.report.figures import new_figure
from homeo_rl.report.tables import markdown, number
from homeo_rl.sweeps.cells import text as text_of
from homeo_rl.tuning.plan import TuningPlan
from homeo_rl.tuning.space import lookup
from homeo_rl.tuning.trials import MIN_COMPLETED, Row, best_of


def draw_history(rows: Sequence[Row], shares: Mapping[str, float], path: Path, *, title: str) -> None:
    """Draw the value of every trial with the best one so far, and any importances beside it; write a PNG."""
    figure, (axes, *beside) = new_figure(10.0 if shares else 6.5, 3.8, columns=2 if shares else 1)
    complete = [(row.slot, row.value) for row in rows if row.state == "complete" and row.value is not None]
    others = [(row.slot, row.value) for row in rows if row.state != "complete" and row.value is not None]
    axes.plot(*_columns(complete), "o", color=COLOURS[1], markersize=5, label="completed")
    if others:
        axes.plot(*_columns(others), "x", color=COLOURS[0], markersize=5, label="pruned (last evaluation)")
    best = [(slot, max(value for other, value in complete if other <= slot)) for slot, _ in complete]
    if best:
        best.append((max(row.slot for row in rows), best[-1][1]))
        axes.step(*_columns(best), where="post", color=COLOURS[2], linewidth=1.5, label="best so far", zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel("return: IQM over seeds")
    axes.set_title(title, loc="left", fontsize=9)
    for bars in beside:
        names = list(shares)
        bars.barh(range(len(names)), [shares[name] for name in names], color=COLOURS[1], height=0.6)
        bars.set_yticks(range(len(names)), names, fontsize=8)
        bars.invert_yaxis()
        bars.set_xlabel("importance (PED-ANOVA, shares of 1)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [slot for slot, _ in points], [value for _, value in points]


def page(plan: TuningPlan, rows: Sequence[Row], shares: Mapping[str, float], failed: Mapping[str, str]) -> str:
    """Return ``summary.md``."""
    training, seeds = plan.training, plan.seed_numbers
    counts = [f"{sum(row.state == state for row in rows)} {state}" for state in ("complete", "pruned", "diverged")]
    parts = [
        f"# Tuning of {training.algo} with {training.agent} on {training.env}",
        f"{len(rows)} of {plan.trials} trials ended: {', '.join(counts)}"
        f"{f', {len(failed)} failed' if failed else ''}. A trial is {plan.seeds} trainings of {training.steps:,} steps "
        f"(seeds {seeds[0]} to {seeds[-1]}), each judged by the mean return of {plan.episodes} episodes; its value is "
        "their interquartile mean"
        f"{' (of fewer than four, the mean)' if plan.seeds < 4 else ''}. Sampler {plan.sampler}, pruner {plan.pruner}.",
    ]
    best = best_of(rows)
    if best is not None:
        lines = [[name, text_of(lookup(best.hyperparams, name)), entry.text] for name, entry in plan.space.items()]
        parts += [_describe_best(plan, rows, best), markdown(["hyper-parameter", "best", "looked for"], lines)]
    if shares:
        header, lines = ["hyper-parameter", "importance"], [[name, fixed(share, 2)] for name, share in shares.items()]
        parts.append("What tells good trials from others (PED-ANOVA; shares of 1):\n\n" + markdown(header, lines))
    else:
        parts.append(f"With fewer than {MIN_COMPLETED} completed trials nothing is said about importances.")
    parts += ["![Values of the trials](history.png)", _trial_table(plan, rows)]
    return "\n\n".join(parts) + "\n"


def _describe_best(plan: TuningPlan, rows: Sequence[Row], best: Row) -> str:
    assert best.value is not None
    means = ", ".join(number(mean) for mean in best.means)
    text = f"Best: trial {best.slot} with **{number(best.value)}** (seeds: {means})."
    default = plan.first().keys() == plan.space.keys()
    begun = next((row for row in rows if default and row.slot == 0 and row.state == "complete"), None)
    if begun is not None and begun.value is not None and begun is not best:
        text += f" Trial 0, the defaults as far as the space holds them, had {number(begun.value)}."
    complete = sum(row.state == "complete" for row in rows)
    return (
        f"{text} It is the largest of {complete} noisy figures, so it flatters: train again with seeds that took no "
        f"part,\n\n    homeo-rl train --preset {plan.out / 'best.yml'} --seed {plan.seed_numbers[-1] + 1}"
    )


def _trial_table(plan: TuningPlan, rows: Sequence[Row]) -> str:
    ranked = sorted(rows, key=lambda row: (row.state != "complete", -(row.value or 0.0), row.slot))
    lines = [
        [str(row.slot), row.state, "" if row.value is None else number(row.value)]
        + [text_of(lookup(row.hyperparams, name)) for name in plan.space]
        for row in ranked
    ]
    return markdown(["trial", "state", "value", *(name.rpartition(".")[2] for name in plan.space)], lines)
