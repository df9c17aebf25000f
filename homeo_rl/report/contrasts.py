"""Two policies under the same damage, each with its own control: differences of differences.

The control of a damaged episode is the clean episode of the same seed. It begins in the same state, and the policy's
and the environment's random numbers are the same; the fault is off. The two policies are paired by these seeds too, so
one resampling of the seeds serves all figures of a contrast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.report.decimals import fixed
from homeo_rl.report.statistics import bootstrap, interval

Episodes = Mapping[str, np.ndarray]
"""Figures of a policy by the label of a condition: the return, or the success, of each episode [E], in one order."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is above or below 0, else 0."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


@dataclass(frozen=True)
class Contrast:
    """A policy minus another one, over some conditions of equal weight."""

    first: str
    second: str
    arm: str
    what: str  # "return" or "success"
    conditions: tuple[str, ...]
    episodes: int
    damaged: Estimate  # the first minus the second, under damage
    control: Estimate  # the same with the fault off
    net: Estimate  # the difference of these two: what the first loses less than the second
    # what each policy keeps of its control, a share; None where its control is not above 0
    kept: tuple[float | None, float | None]

    @property
    def label(self) -> str:
        """The condition, or how many together."""
        return self.conditions[0] if len(self.conditions) == 1 else f"all {len(self.conditions)}"

    @property
    def turns(self) -> bool:
        """Whether subtracting the control turns the sign of the difference, both intervals being clear of 0."""
        return self.damaged.sign * self.net.sign < 0

    @property
    def reading(self) -> str:
        """What the figures say, in words; what an interval leaves open is said to be open."""
        ahead = {1: f"{self.first} does better", -1: f"{self.second} does better", 0: "it is open who does better"}
        unclear = "it is open who loses more" if self.damaged.sign else "who loses more"
        loses = {1: f"{self.second} loses more", -1: f"{self.first} loses more", 0: unclear}
        text = f"under damage {ahead[self.damaged.sign]}, {'but' if self.turns else 'and'} {loses[self.net.sign]}"
        return f"{text}: the sign turns" if self.turns else text


def contrast_policies(
    names: tuple[str, str], arm: str, what: str, policies: tuple[Episodes, Episodes], clean: str
) -> list[Contrast]:
    """Compare two policies under every condition that both have, and under all of them together, last.

    ``clean`` is the label of the control; the episodes of both policies have the same seeds in the same order. Returns
    no contrast where there is no condition that both have, or no control.
    """
    shared = [label for label in policies[0] if label in policies[1] and label != clean]
    if clean not in policies[0] or clean not in policies[1] or not shared:
        return []
    chosen = [(label,) for label in shared] + ([tuple(shared)] if len(shared) > 1 else [])
    return [_contrast(names, arm, what, policies, clean, labels) for labels in chosen]


def _contrast(
    names: tuple[str, str], arm: str, what: str, policies: tuple[Episodes, Episodes], clean: str, labels: Sequence[str]
) -> Contrast:
    damaged = [np.mean([policy[label] for label in labels], axis=0) for policy in policies]
    control = [np.asarray(policy[clean]) for policy in policies]
    gap, base = damaged[0] - damaged[1], control[0] - control[1]
    # One draw of seeds for all three: the same episodes are resampled in each.
    drawn = bootstrap([np.arange(len(gap))], "contrast")
    estimates = (Estimate(float(each.mean()), *interval(each[drawn].mean(1))) for each in (gap, base, gap - base))
    damage, fault_off, net = estimates
    shares = [
        float(under.mean() / alone.mean()) if alone.mean() > 0 else None
        for under, alone in zip(damaged, control, strict=True)
    ]
    kept = shares[0], shares[1]
    return Contrast(*names, arm, what, tuple(labels), len(gap), damage, fault_off, net, kept)


def contrast_rows(contrasts: Sequence[Contrast]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table; `Contrast.reading` says each row in words."""
    rows = []
    for each in contrasts:
        texts = [_format(part, each.what) for part in (each.damaged, each.control, each.net)]
        kept = "" if each.kept == (None, None) else " and ".join(map(_share, each.kept))
        rows.append([each.label, *texts, kept])
    return ["condition", "under damage", "fault off", "net", "kept"], rows


def explain_contrasts() -> str:
    """Return what the columns of `contrast_rows` mean."""
    return (
        "The first policy minus the second, with 95 % intervals over the episodes' seeds. Under damage: who does "
        "better then, which is what counts for a choice between the two. Fault off: the same episodes without the "
        "damage. Net: under damage minus fault off, positive where the second loses more to the damage; this compares "
        "robustness. Where the sign turns, the policy that is ahead under damage was further ahead without it: it is "
        "the better choice and the less robust one. Kept: each policy's result under damage as a share of its own "
        "control, since a policy that has more can lose more."
    )


def _share(share: float | None) -> str:
    return "-" if share is None else fixed(share, 2)


def _format(estimate: Estimate, what: str) -> str:
    largest = max(map(abs, (estimate.mean, estimate.low, estimate.high)))
    decimals = 3 if what == "success" else 0 if largest >= 1000 else 1 if largest >= 10 else 2
    values = (v if abs(v) >= 0.5 * 10.0**-decimals else 0.0 for v in (estimate.mean, estimate.low, estimate.high))
    mean, low, high = (fixed(value, decimals, "+,") for value in values)
    return f"{mean} [{low}, {high}]"
