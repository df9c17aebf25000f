"""Recovery from damage that begins inside an episode."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from homeo_rl.report.page.blocks import Section, block_section
from homeo_rl.report.page.charts.svg import Chart, Line, Rule, thin
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison, Damage
from homeo_rl.report.page.sections.homeostasis import trace_charts
from homeo_rl.report.page.traces import FIGURES

_WINDOW = 25  # decisions of a running mean of rewards


def recovery(context: PageContext) -> Section | None:
    """Return the section on damage that begins inside an episode; None where no suite has such a condition.

    Where an evaluation of an earlier version stored no rewards, those of the played episodes are drawn.
    """
    blocks = []
    for comparison in context.data.comparisons:
        delayed = context.late_damages(comparison)
        if not delayed:
            continue
        parts = [trace_charts(context, comparison, tag, delayed) for tag in reversed(FIGURES)]
        has_rewards = bool(parts[0]["charts"])
        if not has_rewards:
            parts.insert(0, _episode_rewards(context, comparison, delayed))
        parts = [part for part in parts if part["charts"]]
        note = ""
        if not parts:
            note = "Traces of this evaluation were not found in the run's TensorBoard folder."
        elif not has_rewards:
            note = (
                "This evaluation stored no rewards by decision: those shown are of one episode, and recovery is "
                "visible in firing rates and weights; the effect on all returns is under Robustness."
            )
        legend = context.legend(comparison.arms)
        blocks.append({"name": comparison.name, "parts": parts, "legend": legend, "note": note})
    how = (
        "Damage begins at the vertical line. A policy that recovers returns towards its level before the damage. Means "
        "over the episodes that are still running; every panel has its own scale."
    )
    return block_section("recovery", "Recovery after damage in mid-episode", how, "traces.html.j2", blocks)


def _episode_rewards(context: PageContext, comparison: Comparison, delayed: Mapping[str, Damage]) -> dict[str, Any]:
    charts = []
    for label, damage in delayed.items():
        episodes = [
            episode
            for episode in context.episodes
            if (episode.run, episode.condition) == (comparison.members[0].name, label)
            and len(episode.rewards) > _WINDOW
        ]
        if episodes:
            lines = [
                Line(
                    points=thin(list(enumerate(_running_mean(episode.rewards), _WINDOW)), 200),
                    colour=context.arm_colour(episode.arm),
                    arm=episode.arm,
                )
                for episode in episodes
            ]
            returns = "; ".join(f"{episode.arm} returned {episode.total:,.1f}" for episode in episodes)
            rules = (Rule(x=float(damage.onset), name="damage"),)
            about = f"Reward: {returns}."
            charts.append(
                Chart(title=label, x="decisions", y="reward", about=about, lines=tuple(lines), rules=rules,
                      condition=label)
            )  # fmt: skip
    measured = f"the evaluation's first episode alone, mean of the last {_WINDOW} decisions"
    return {"title": "Reward in one episode", "measured": measured, "charts": charts}


def _running_mean(values: np.ndarray) -> list[float]:
    # Divided once, at the end: integer rewards add up exactly, in whatever order this machine adds them.
    means: list[float] = (np.convolve(values, np.ones(_WINDOW), "valid") / _WINDOW).tolist()
    return means
