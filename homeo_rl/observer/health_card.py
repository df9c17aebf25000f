"""The health card of a forward model: how well each sensor is predicted, and how well calibrated its noise is."""

from typing import NamedTuple

from homeo_rl.observer.forward_model import ForwardModel


class HealthCard(NamedTuple):
    """A table with a row for each sensor, and its figures."""

    header: list[str]  # titles of the columns
    rows: list[list[str]]  # a row for each entry of the observation
    # share of the variance of each entry's change that is explained on held-out steps; None where it never moved
    r2: list[float | None]
    unmodelled: list[int]  # entries that never moved


def health_card(model: ForwardModel) -> HealthCard:
    """Return the health card of a model."""
    rows: list[list[str]] = []
    r2: list[float | None] = []
    for entry in range(model.entries):
        if not model.moves[entry]:
            rows.append([str(entry), "never moved: not modelled", "", ""])
            r2.append(None)
            continue
        r2.append(float(model.r2[entry]))
        noise = float(model.change[entry] * model.spread[entry] * max(1.0 - model.r2[entry], 0.0) ** 0.5)
        rows.append([str(entry), f"{model.r2[entry]:.3f}", f"{noise:.3g}", f"{model.noise_ratio[entry]:.2f}"])
    header = ["entry", "R2 of the change in a step", "s.d. of what is left", "squared error / predicted variance"]
    return HealthCard(header, rows, r2, [entry for entry in range(model.entries) if not model.moves[entry]])
