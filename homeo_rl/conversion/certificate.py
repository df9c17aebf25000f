"""What a conversion is worth, as data and as a page: equality, latency, spikes, energy, returns."""

import math
from dataclasses import dataclass

from homeo_rl.numerics.energy import joules


@dataclass(frozen=True)
class Returns:
    """Returns of some episodes: interquartile mean and its 95 % bootstrap interval."""

    what: str
    iqm: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a spiking policy keeps of the ReLU policy that it was made of, over pairs of episodes of the same seeds.

    Attributes:
        time_steps: of a decision.
        levels: L of every hidden layer.
        largest_error: largest absolute difference of an action entry over the states that the spiking policy visits.
        rms_error: root mean square of these differences.
        returns: mean returns of the ReLU policy and of the spiking one.
        share: the second over the first, with its paired 95 % bootstrap interval; None where the first is not positive.
    """

    time_steps: int
    levels: tuple[int, ...]
    episodes: int
    largest_error: float
    rms_error: float
    returns: tuple[float, float]
    share: tuple[float, float, float] | None

    @property
    def coverage(self) -> float:
        """The least share p of further episodes below the largest error, with 95 % confidence (1 - p^N = 0.95)."""
        return math.pow(0.05, 1.0 / self.episodes)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What was measured of a converted policy, against the network that was trained.

    Attributes:
        widths: neurons of all layers, inputs first.
        levels: L of every hidden layer.
        time_steps: of a decision (T_dec).
        step_seconds: what one is taken to last.
        effective_steps: T_eff, what a decision computes in steps of plain neurons.
        states: how many visited states both networks were asked about.
        equal_actions: how many of them have the same action to the last bit.
        equal_rounded: of the form "dyadic", how many of them have the same action as the network with rounded weights,
            which adds up whole counts; None for other forms.
        max_action_error: largest absolute difference of an action entry.
        flipped_counts: hidden neurons, over all states, whose count is not the trained network's level.
        synaptic_operations: of the converted one, per decision, mean.
        analogue_operations: those of them that the analogue input costs, which are multiplications.
        diverged_at: for each pair of episodes, the first step at which they differ, or None.
        returns: of both, and of the control at several T.
        kept: of a ReLU policy that was fine-tuned first, what is kept of it at several T; else empty.
    """

    source: str
    form: str
    neuron: str
    widths: tuple[int, ...]
    levels: tuple[int, ...]
    time_steps: int
    step_seconds: float
    effective_steps: float
    states: int
    equal_actions: int
    equal_rounded: int | None
    max_action_error: float
    rms_action_error: float
    flipped_counts: int
    hidden_counts: int
    multiply_accumulates: float
    synaptic_operations: float
    analogue_operations: float
    spikes: float
    diverged_at: tuple[int | None, ...]
    returns: tuple[Returns, ...]
    kept: tuple[Kept, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every action and every episode was the same to the last bit."""
        return self.equal_actions == self.states and all(step is None for step in self.diverged_at)

    @property
    def latency(self) -> float:
        """Seconds of a decision."""
        return self.time_steps * self.step_seconds

    @property
    def energy(self) -> tuple[float, float]:
        """Joules of a decision, trained and converted; arithmetic only, without memory.

        The analogue input is multiplied once, so the first layer's products count as such.
        """
        added = self.synaptic_operations - self.analogue_operations
        return joules(0.0, self.multiply_accumulates), joules(added, self.analogue_operations)

    def markdown(self) -> str:
        """Return one page."""
        before, after = self.energy
        apart = [step for step in self.diverged_at if step is not None]
        episodes = len(self.diverged_at)
        lasts = f"{1e3 * self.latency:g} ms at {1e3 * self.step_seconds:g} ms"
        first = f", first at step {min(apart)}" if apart else ""
        verdict = "the same to the last bit" if self.exact else "not the same to the last bit"
        rows = [
            ("layers", " - ".join(str(width) for width in self.widths)),
            ("levels of the hidden layers", ", ".join(str(level) for level in self.levels)),
            ("form, neuron", f"{self.form}, {self.neuron}"),
            ("time steps a decision", f"{self.time_steps} ({lasts}); {self.effective_steps:.1f} by arithmetic (T_eff)"),
            ("visited states compared", f"{self.states:,}"),
            ("equal actions", f"{self.equal_actions:,} ({self.equal_actions / max(self.states, 1):.2%})"),
            *(
                [("equal to the network with rounded weights", f"{self.equal_rounded:,}")]
                if self.equal_rounded is not None
                else []
            ),
            ("largest, root mean square action error", f"{self.max_action_error:.3g}, {self.rms_action_error:.3g}"),
            ("hidden counts that differ", f"{self.flipped_counts:,} of {self.hidden_counts:,}"),
            ("paired episodes that differ", f"{len(apart)} of {episodes}{first}"),
            ("multiply-accumulates of the trained network", f"{self.multiply_accumulates:,.0f}"),
            ("synaptic operations, spikes", f"{self.synaptic_operations:,.0f}, {self.spikes:,.1f}"),
            ("arithmetic of a decision (45 nm)", f"{1e9 * before:.3g} nJ trained, {1e9 * after:.3g} nJ converted"),
        ]  # fmt: skip
        lines = [
            f"# Conversion certificate: {verdict}",
            "",
            f"Converted from `{self.source}`.",
            "",
            "| | |",
            "|---|---|",
        ]
        lines += [f"| {name} | {value} |" for name, value in rows]
        lines += ["", "| episodes of | return: IQM [95 % interval] |", "|---|---|"]
        lines += [f"| {r.what} | {r.iqm:,.1f} [{r.low:,.1f}, {r.high:,.1f}] |" for r in self.returns]
        if self.kept:
            lines += _write_kept(self.kept)
        lines += [
            "",
            "Energy counts additions (0.9 pJ) and multiplications (3.7 pJ) of 32-bit floating-point numbers in 45 nm "
            "(Horowitz, ISSCC 2014), the analogue input's products as multiplications; memory is not counted.",
            "",
        ]
        return "\n".join(lines)


def _write_kept(kept: tuple[Kept, ...]) -> list[str]:
    """Return what is kept of the policy before fine-tuning, as a table."""
    bound = (
        f"Over {kept[0].episodes} paired episodes, on the states that the spiking policy visits. The largest "
        f"difference of an action entry is a bound: with 95 % confidence, at least "
        f"{kept[0].coverage:.1%} of further episodes do not exceed it."
    )
    lines = ["", "## Against the policy before fine-tuning", "", bound, ""]
    lines += ["| time steps | levels | action error: largest, rms | mean return before, after | return kept |"]
    lines += ["|---|---|---|---|---|"]
    for one in kept:
        share = "-" if one.share is None else "{:.1%} [{:.1%}, {:.1%}]".format(*one.share)
        before, after = one.returns
        lines.append(
            f"| {one.time_steps} | {', '.join(map(str, one.levels))} | {one.largest_error:.3g}, {one.rms_error:.3g} | "
            f"{before:,.1f}, {after:,.1f} | {share} |"
        )
    return lines
