"""An observer as C tables: its forward model, and the sequences on which faults are rehearsed.

Shapes: W sequences, D observation entries, K action entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.tables import Tables, initialiser
from homeo_rl.homeostasis.observer import ObserverMechanism, join_observer
from homeo_rl.observer.layout import number_space, offsets_of, work_space
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.observer.observer import scales_of
from homeo_rl.seeding import derive, generator

_WEIGHTS = ("w1", "b1", "w2", "b2", "w3", "b3", "change", "calibration")
_VERDICT_BYTES = 208
"""Of C's ``homeo_verdict``."""

LITTLE = "its model explains too little of these sensors, so no estimate takes the place of a measurement"
"""What is reported of an observer that raises alarms only."""


@dataclass(frozen=True)
class Senses:
    """What the C controller knows of healthy senses."""

    memory: ObserverMemory  # the forward model and the sequences
    margin: float  # the arm's
    explains: bool  # whether the model explains enough for estimates; else there are alarms only, and no sequences
    wanted: np.ndarray  # actions [W COMPARED, K] of the healthy policy, -1 to 1 from bound to bound

    @property
    def windows(self) -> int:
        """Sequences that are written."""
        return len(self.memory.observations) if self.explains else 0

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of a row, and of the kernels' scratch space."""
        entries, actions, hidden = self.memory.model.entries, self.memory.model.actions, len(self.memory.model.b1)
        full, work = number_space(entries, actions), work_space(entries, actions, hidden)[:6]  # latencies one by one
        return {"row": offsets_of(entries, actions)[1], "numbers": full.size, "floats": work.size}


def describe_senses(
    controller: Controller, mechanism: ObserverMechanism | None, memory: ObserverMemory | None
) -> Senses | None:
    """Return what is written of an observer; None without one.

    Raises:
        UsageError: there is no forward model, or actions are choices.
    """
    if mechanism is None:
        return None
    if memory is None or controller.spec.discrete:
        got = "choices" if memory is not None else "none; make one with homeo-rl calibrate RUN --practice 60000"
        raise UsageError(
            f"--homeostasis: expected for observer a forward model of a policy with continuous actions, got {got}, or "
            "leave observer out"
        )
    alone = join_observer(mechanism, None)
    observer = Session(controller, 1, plugin=alone, observer_memory=memory).observer
    assert observer is not None
    return Senses(memory, mechanism.margin, observer.explains, observer.rehearsal.wanted)


def write_senses(tables: Tables, senses: Senses | None) -> str:
    """Add the tables of an observer, and return what the policy points to."""
    if senses is None:
        return "NULL"
    model, memory, windows = senses.memory.model, senses.memory, senses.windows
    forward = {
        "entries": str(model.entries), "actions": str(model.actions), "hidden": str(len(model.b1)),
        **{name: tables.reals(f"forward_{name}", getattr(model, name), "float") for name in _WEIGHTS},
        "scales": tables.reals("forward_scales", scales_of(memory), "double"),
    }  # fmt: skip
    fields = {
        "forward": "&table_forward", "explains": str(int(senses.explains)), "windows": str(windows),
        **{name: str(size) for name, size in senses.sizes.items()}, "margin": repr(senses.margin),
        "encoder": hex(derive(0, "observer", "encoder")), "perceive": "homeo_perceive",
    }  # fmt: skip
    if windows:
        draws, increment = _draws_of(memory.observations.shape)
        fields |= {
            "truth": tables.reals("truth", memory.observations, "float"),
            "executed": tables.reals("executed", memory.actions, "float"),
            "wanted": tables.reals("wanted", senses.wanted),
            "draws": tables.words("draws", draws),
            "increment": "{" + ", ".join(map(hex, increment)) + "}",
        }
    for kind, values in (("forward", forward), ("senses", fields)):
        tables.text.append(f"static const homeo_{kind} table_{kind} = {initialiser(values)};\n")
    return "&table_senses"


def _draws_of(shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Return the states of the generator of `Rehearsal` before each sequence's draws [4, W, 2], and its increment."""
    rng, states = generator(0, "observer", "rehearsal"), []
    for kind in range(4):
        for _ in range(shape[0]):
            states += _halves(rng.bit_generator.state["state"]["state"])
            size = shape[1:] if kind < 3 else shape[2:]
            _ = rng.normal(size=size) if kind < 2 else rng.random(size)
    return states, _halves(rng.bit_generator.state["state"]["inc"])


def _halves(value: int) -> list[int]:
    return [value >> 64, value & (1 << 64) - 1]


def senses_bytes(senses: Senses | None) -> list[int]:
    """Return the bytes of the parts of ``homeo_init``'s memory that an observer needs."""
    if senses is None:
        return []
    sizes, entries, actions = senses.sizes, senses.memory.model.entries, senses.memory.model.actions
    rows = (3 if senses.windows else 1) * [8 * sizes["row"]]
    doubles, floats = [8 * sizes["numbers"], 16 * entries], [4 * sizes["floats"], 4 * actions, *5 * [4 * entries]]
    return [*rows, *doubles, *floats, _VERDICT_BYTES]


def senses_contract(senses: Senses, names: list[str]) -> dict[str, Any]:
    """Return what the contract says of an observer of observations with these names."""
    moves = senses.memory.model.moves
    return {
        "estimated": [name for name, known in zip(names, moves, strict=True) if known] if senses.explains else [],
        "gate": float(scales_of(senses.memory)[2 * (len(moves) + senses.memory.model.actions) + len(moves)]),
        "margin": senses.margin,
        "sequences": senses.windows,
        "calls": "homeo_observe, homeo_rehearse and homeo_act do what the Python session does in a decision; with "
        "homeo_rehearse_step the verdict of before holds until the last slice",
    }
