"""Policies with a reflex in C against the Python session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_controller import CController, compile_library, needs_gcc, same_bits
from test_c_networks import drive_both, make_controller, observations

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.session import Session
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.specification import Document, read_document
from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.description import describe
from homeo_rl.exchange.c.integer import IntegerPolicy
from homeo_rl.exchange.c.memory_size import memory_bytes
from homeo_rl.run import copy_pretrained
from homeo_rl.spec import ReflexSpec, parse
from homeo_rl.workflows.compose import compose

pytestmark = needs_gcc
GATES: list[list[dict[str, Any]]] = [
    [{"when": "on", "kind": "inhibit", "entries": [0, 1]}],
    [{"when": "on", "kind": "inhibit", "entries": [0, 1], "keep_difference": True}],
    [{"when": "on", "kind": "clamp", "entries": [-1], "low": 1.5}],
    [{"when": "on", "kind": "override", "entries": [1], "values": [2.5]},
     {"when": "on", "kind": "clamp", "entries": [0], "high": 0.0}],
]  # fmt: skip


def test_the_brake_of_the_navigation_robot_acts_alike(tmp_path: Path) -> None:
    run = copy_pretrained("navigation-san", tmp_path)
    braked, _, _ = compose(run, read_document("navigation-brake"), tmp_path / "braked", where="navigation-brake")
    controller = load_controller(braked)
    c = CController(compile_library(tmp_path, {"tested": describe(controller)}), "tested", describe(controller))
    assert c.bytes == memory_bytes(describe(controller), writable=False)
    xs = np.random.default_rng(0).uniform(0, 1, (300, 24)).astype(np.float32)
    session, bare = Session(controller, 1), Session(controller, 1, reflex=False)
    bare.begin(0, np.random.default_rng(5))
    drive_both(c, session, xs)
    drive_both(c, session, xs[::-1])  # another episode begins at rest
    bare_actions = np.stack([bare.act(x[None])[0] for x in xs])
    c.reset(5)
    assert 10 < sum(not same_bits([c.act(x)], [y]) for x, y in zip(xs, bare_actions, strict=True)) < 300


def reflexive(gates: list[dict[str, Any]], rule: str, **fields: Any) -> Controller:
    """Return a small controller whose reflex acts while ``rule`` holds of two events."""
    inputs = {"a": {"entries": [0], "above": 0.0}, "b": {"entries": [1, -1], "below": 0.4, "least": 2}}
    document = parse(Document, {"inputs": inputs, "outputs": {"on": rule}, "gates": gates}, where="d")
    compiled = compile_function(document.function(), document.neurons.neurons())
    reflex = ReflexSpec(
        name="d", events=document.events("d"), outputs=("on",), gates=document.gates, network=compiled.recurrent
    )
    plain = make_controller("bernoulli", **fields)
    controller = Controller(replace(plain.spec, reflex=reflex))
    assert controller.reflex is not None
    state = {**plain.state_dict(), "reflex.network.weight": torch.from_numpy(compiled.weight())}
    controller.load_state_dict(state)
    return controller.eval().requires_grad_(False)


@pytest.mark.parametrize("rule", ["a & ~b", "count(a, 2, window=3)", "a | count(b, 3, window=4)"])
def test_gates_over_time_act_alike(rule: str, tmp_path: Path) -> None:
    controllers = [reflexive(gates, rule) for gates in GATES]
    controllers.append(reflexive([{"when": "on", "kind": "override", "values": [1]}], rule, low=(), high=()))
    made = {f"case_{k}": describe(controller) for k, controller in enumerate(controllers)}
    library = compile_library(tmp_path, made)
    for k, controller in enumerate(controllers):
        name, session = f"case_{k}", Session(controller, 1)
        c = CController(library, name, made[name])
        assert c.bytes == memory_bytes(made[name], writable=False)
        drive_both(c, session, observations(60))
        drive_both(c, session, observations(10, seed=3))


def test_integers_have_no_reflex() -> None:
    with pytest.raises(UsageError, match="without a reflex"):
        IntegerPolicy(describe(reflexive(GATES[0], "a")))
