"""Specifications as YAML: input lines, named sub-functions, machines, outputs, and what a reflex does with them.

::

    name: navigation-brake
    inputs:                      # a list of names, or names with the sensor events that they stand for
      prox: {entries: [-12, -11], above: 0.7}
    machines:                    # Mealy machines, by name
      door: {start: shut, states: {shut: [{when: knock, next: open, spike: true}], open: []}}
    define:                      # sub-functions, by name, each may use those above it
      near: count(prox, 2, window=3)
    outputs:
      brake: latch(near, not count(prox, 1, window=4))
    gates:
      - {when: brake, kind: inhibit, entries: [0, 1], keep_difference: true}
    neurons: {beta: 7/8, reset: soft, target: layered}

In a machine the first transition whose condition holds is taken; where none does, it stays without a spike.
"""

import itertools
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.language import parse_function
from homeo_rl.compiler.lowering import Neurons
from homeo_rl.compiler.spike_function import Node, SpikeFunction
from homeo_rl.errors import UsageError, find_repeated, unknown
from homeo_rl.spec import EventSpec, GateSpec, parse
from homeo_rl.storage.user_paths import local_path
from homeo_rl.storage.yaml_file import read_yaml

REFLEXES = Path(__file__).parent / "reflexes"  # specifications that come with the package
MOST_SYMBOLS = 10  # lines of a machine in a document, at most

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Transition:
    """From a state of a machine: where ``when`` holds (of this step's inputs), go ``next``, spiking or not."""

    when: str = "always"
    next: str = ""
    spike: bool = False


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class MachineDocument:
    """A Mealy machine: transitions of every state, the first that holds is taken."""

    start: str
    states: dict[str, tuple[Transition, ...]]


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class NeuronsDocument:
    """The neurons that are compiled for."""

    beta: str | float | int = "7/8"
    reset: str = "soft"
    target: str = "layered"
    delays: str = "synaptic"

    def neurons(self) -> Neurons:
        """Return them checked. Raises UsageError: naming what does not fit."""
        return Neurons(fraction(self.beta), self.reset, self.target, self.delays)  # type: ignore[arg-type]  # checked there


def _name_lines(inputs: Any) -> Any:
    """Return a list of names as names without events."""
    if not isinstance(inputs, list | tuple):
        return inputs
    twice = find_repeated(inputs)
    if twice is not None:
        raise ValueError(f"expected every name once, {twice!r} is there twice")
    return dict.fromkeys(inputs)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Document:
    """A specification as data."""

    inputs: Annotated[dict[str, EventSpec | None], pydantic.BeforeValidator(_name_lines)]
    outputs: dict[str, str]
    name: str = ""
    about: str = ""
    define: dict[str, str] = field(default_factory=dict)
    machines: dict[str, MachineDocument] = field(default_factory=dict)
    gates: tuple[GateSpec, ...] = ()
    neurons: NeuronsDocument = NeuronsDocument()

    @property
    def lines(self) -> tuple[str, ...]:
        """Names of the input lines."""
        return tuple(self.inputs)

    def function(self, where: str = "specification") -> SpikeFunction:
        """Return what is to be computed. Raises UsageError: naming the entry, the position and what was expected."""
        for name in (*self.lines, *self.define, *self.machines, *self.outputs):
            if not name.replace("_", "a").replace("-", "a").replace(".", "a").isalnum() or not name[0].isalpha():
                raise UsageError(f"{where}: expected names of letters, digits, '_', '-' or '.', got {name!r}")
        known: dict[str, Node] = {name: sf.Line(name) for name in self.lines}
        for name, machine in self.machines.items():
            known[name] = _machine(machine, known, f"{where}: machines.{name}")
        for name, text in self.define.items():
            if name in known:
                raise UsageError(f"{where}: define.{name}: expected a new name, this one is taken")
            known[name] = parse_function(text, known, where=f"{where}: define.{name}")
        outputs = {
            name: parse_function(text, known, where=f"{where}: outputs.{name}") for name, text in self.outputs.items()
        }
        return SpikeFunction(self.lines, tuple(outputs.items()))

    def events(self, where: str) -> tuple[EventSpec, ...]:
        """Return the sensor events of the lines.

        Raises UsageError: the inputs are names without events, or no gate acts.
        """
        events = [event for event in self.inputs.values() if event is not None]
        if len(events) < len(self.inputs) or not self.gates:
            raise UsageError(
                f"{where}: expected inputs with events and at least one gate, as in "
                "inputs: {near: {entries: [3], above: 0.7}} and gates: [{when: OUTPUT, kind: inhibit, entries: [0]}]"
            )
        for gate in self.gates:
            if gate.when not in self.outputs:
                raise UsageError(f"{where}: gates: {unknown('output', gate.when, list(self.outputs))}")
        return tuple(events)


def fraction(value: str | float) -> Fraction:
    """Return a leak as an exact fraction: 7/8, 0.875 and 1 are read as they are written.

    Raises UsageError: it is no such number.
    """
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"beta: expected a number such as 7/8 or 0.875, got {value!r}") from None


def reflex_names() -> list[str]:
    """Names of the reflexes that come with the package."""
    return sorted(path.stem for path in REFLEXES.glob("*.yaml"))


def read_document(path: str | Path) -> Document:
    """Read a YAML specification, or one that comes with the package by its name.

    Raises UsageError: it cannot be read or is not sound; the message names the entry.
    """
    file = local_path(Path(path), "specification")
    if not file.exists() and str(path) in reflex_names():
        file = REFLEXES / f"{path}.yaml"
    if not file.exists():
        names = ", ".join(reflex_names())
        raise UsageError(f"{path}: expected a YAML file, found none; give one, or one of {names}")
    document = parse(Document, read_yaml(file).data, where=str(path))
    document.function(str(path))
    return document


def _machine(machine: MachineDocument, known: dict[str, Node], where: str) -> Node:
    names = list(machine.states)
    if machine.start not in names:
        raise UsageError(f"{where}: start: {unknown('state', machine.start, names)}")
    names.sort(key=lambda name: name != machine.start)  # the start is state 0
    lines = [node for node in known.values() if isinstance(node, sf.Line)]
    rules: dict[str, list[tuple[Node, Transition]]] = {}
    used: dict[Node, None] = {}
    for state, transitions in machine.states.items():
        rules[state] = []
        for number, transition in enumerate(transitions):
            place = f"{where}: states.{state}.{number}"
            condition = parse_function(transition.when, {line.name: line for line in lines}, where=f"{place}.when")
            nodes = list(sf.walk([condition]))
            if any(
                not isinstance(node, sf.Line) and (not isinstance(node, sf.Window) or node.reach > 1) for node in nodes
            ):
                raise UsageError(f"{place}.when: expected a condition on this step's inputs, got one with memory")
            if transition.next and transition.next not in names:
                raise UsageError(f"{place}.next: {unknown('state', transition.next, names)}")
            used |= {node: None for node in nodes if isinstance(node, sf.Line)}
            rules[state].append((condition, transition))
    if len(used) > MOST_SYMBOLS:
        raise UsageError(f"{where}: expected conditions on at most {MOST_SYMBOLS} inputs, got {len(used)}")
    parts = tuple(used) or (lines[0],)
    symbols = np.array(list(itertools.product((False, True), repeat=len(parts))))[:, ::-1]  # bit i is part i
    follow, emit = [], []
    for state in names:
        targets, spikes = [names.index(state)] * len(symbols), [False] * len(symbols)
        taken = np.zeros(len(symbols), dtype=bool)
        for condition, transition in rules[state]:
            asked = SpikeFunction(tuple(part.name for part in parts if isinstance(part, sf.Line)), (("c", condition),))
            holds = asked.run(symbols[:, None, :])[:, 0, 0] & ~taken
            for s in np.flatnonzero(holds):
                targets[s] = names.index(transition.next or state)
                spikes[s] = transition.spike
            taken |= holds
        follow.append(tuple(targets))
        emit.append(tuple(spikes))
    return sf.Automaton(parts, tuple(follow), tuple(emit))
