"""Certificates: equality for every infinite train, the shortest counterexample, every mutation caught."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from spike_functions import (
    BETAS,
    BRAKE,
    PRIMITIVES,
    RESETS,
    SMALL,
    all_trains,
    function,
    random_machine,
    random_table,
    x,
    y,
)

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.certify import certify
from homeo_rl.compiler.lowering import Neurons, SpikingCircuit
from homeo_rl.compiler.simulate import outputs


@pytest.mark.parametrize("name", SMALL)
def test_equal_for_every_infinite_train(name):
    for beta, reset in itertools.product(BETAS, RESETS):
        compiled = compile_function(SMALL[name], Neurons(beta, reset))
        found = certify(compiled.network, compiled.function)
        assert found.verdict == "equal", (beta, reset, found)


@pytest.mark.parametrize("ways", [{}, {"fuse": False}, {"minimise": "weights"}])
def test_both_reflexes(ways):
    for node in (BRAKE, sf.All((y, sf.Not(BRAKE)))):
        for target, delays in itertools.product(("unit", "layered"), ("synaptic", "relays")):
            compiled = compile_function(function(node), Neurons(target=target, delays=delays), **ways)
            assert certify(compiled.network, compiled.function).equal
    fused = compile_function(function(sf.All((y, sf.Not(BRAKE)))))
    apart = compile_function(function(sf.All((y, sf.Not(BRAKE)))), fuse=False)
    assert (len(fused.gates.gates), len(apart.gates.gates)) == (2, 4)


def test_the_shortest_counterexample():
    right, wrong = function(sf.Count(x, 3, 5)), function(sf.Count(x, 3, 4))
    for reset in RESETS:
        compiled = compile_function(wrong, Neurons(BETAS[3], reset))
        found = certify(compiled.network, right)
        assert found.verdict == "different"
        assert found.counterexample is not None
        train = np.array(found.counterexample, dtype=bool)[None]
        assert len(found.counterexample) == 5
        assert found.got != found.expected
        assert outputs(compiled.network, train)[0, -1].tolist() == [bool(bit) for bit in found.got]
        # No train of four steps tells them apart.
        short = all_trains(right, 4)
        assert np.array_equal(right.run(short), wrong.run(short))


def mutated(circuit: SpikingCircuit, place: int, change: Fraction | None) -> SpikingCircuit:
    """The network with one synapse changed by ``change``, or without it (None)."""
    synapses = list(circuit.synapses)
    if change is None:
        synapses.pop(place)
    else:
        synapses[place] = replace(synapses[place], weight=synapses[place].weight + change)
    return replace(circuit, synapses=tuple(synapses))


def test_every_mutation_of_a_synapse_is_caught():
    """Every synapse of six networks: taken away, its sign turned, moved by a whole drive either way."""
    told = 0
    for name in ("count", "toggle", "brake", "latch", "machine of 5 states over 1", "table of 6 taps over 2"):
        compiled = compile_function(SMALL[name])
        for place, synapse in enumerate(compiled.network.synapses):
            for change in (None, -2 * synapse.weight, Fraction(2), Fraction(-2)):
                found = certify(mutated(compiled.network, place, change), compiled.function, most_states=50_000)
                assert found.verdict == "different", (name, synapse, change, found)
                train = np.array(found.counterexample, dtype=bool)[None]
                wrong = outputs(mutated(compiled.network, place, change), train[:, : train.shape[1]])
                steps = train.shape[1] - compiled.network.latency
                assert not np.array_equal(wrong[:, :steps], compiled.function.run(train)[:, :steps])
                told += 1
    assert told > 600


def test_what_it_cannot_decide_it_says():
    compiled = compile_function(PRIMITIVES["hold"])
    assert certify(compiled.network, compiled.function, most_states=3).verdict == "undecided"
    # Potentials of ever finer fractions: a neuron that leaks without compensation.
    lone = compile_function(function(x), Neurons(Fraction(1, 3)))
    leaky = replace(lone.network, synapses=tuple(replace(s, weight=Fraction(1, 5)) for s in lone.network.synapses))
    silent = function(sf.All((x, sf.Not(x))))
    assert certify(leaky, silent).verdict == "undecided"


@pytest.mark.parametrize("n", [5, 6])
def test_tables_and_machines_that_the_issue_names(n):
    for spec in (random_table(n, 1, 1), random_machine(8, 1, n)):
        compiled = compile_function(spec)
        assert certify(compiled.network, spec).equal
