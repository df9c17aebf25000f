"""All signals that specifications are made of, in one place: ``from homeo_rl.compiler import signals as sf``."""

from homeo_rl.compiler.spike_function import Line, Node, walk
from homeo_rl.compiler.stateful_signals import Automaton, Every, Latch, Refractory, Toggle
from homeo_rl.compiler.windows import (
    All,
    Any,
    AtLeast,
    Constant,
    Count,
    Delay,
    Hold,
    Nearest,
    Not,
    Rising,
    Table,
    Window,
    Winner,
    sequence,
)

__all__ = [
    "All",
    "Any",
    "AtLeast",
    "Automaton",
    "Constant",
    "Count",
    "Delay",
    "Every",
    "Hold",
    "Latch",
    "Line",
    "Nearest",
    "Node",
    "Not",
    "Refractory",
    "Rising",
    "Table",
    "Toggle",
    "Window",
    "Winner",
    "sequence",
    "walk",
]
