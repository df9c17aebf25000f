"""Compiled networks do what their specification says: gates, neurons, and the project's own network of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from spike_functions import BETAS, LARGE, RESETS, SMALL, all_trains, function, random_table, random_trains, x, y, z

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler import tables
from homeo_rl.compiler.block_splits import split
from homeo_rl.compiler.bounds import bounds_of, window_bounds
from homeo_rl.compiler.build import Compiled, compile_function
from homeo_rl.compiler.classification import nearest, separate
from homeo_rl.compiler.gate_plan import drives, rows
from homeo_rl.compiler.lowering import Neurons
from homeo_rl.compiler.row_orders import FOUR_ORDERS, ROWS, TRIPLES, Orders, orders_for
from homeo_rl.compiler.simulate import outputs, simulate
from homeo_rl.compiler.spike_function import SpikeFunction
from homeo_rl.compiler.storage import network_of
from homeo_rl.errors import UsageError


def compiled_all_ways(function: SpikeFunction, betas=BETAS):
    for beta, reset, target in itertools.product(betas, RESETS, ("unit", "layered")):
        yield compile_function(function, Neurons(beta, reset, target))
    yield compile_function(function, Neurons(betas[-2], "soft", "unit", "relays"))
    yield compile_function(function, Neurons(betas[-2], "hard", "layered", "relays"), fuse=False)
    yield compile_function(function, Neurons(betas[-2], "soft_next", "unit", "relays"), minimise="weights")


def assert_equal(compiled: Compiled, trains: np.ndarray, expected: np.ndarray) -> None:
    got = outputs(compiled.network, trains)
    wrong = np.argwhere(got != expected)
    assert not len(wrong), f"{compiled.network.beta} {compiled.network.reset} {compiled.network.target}: {wrong[0]}"


@pytest.mark.parametrize("name", SMALL)
def test_every_short_train(name):
    spec = SMALL[name]
    trains = all_trains(spec, 9)
    expected = spec.run(trains)
    for compiled in compiled_all_ways(spec):
        assert_equal(compiled, trains, expected)
        assert np.array_equal(compiled.gates.run(trains), expected)


@pytest.mark.parametrize("name", SMALL)
def test_random_long_trains(name):
    spec = SMALL[name]
    trains = random_trains(spec, 200)
    expected = spec.run(trains)
    for compiled in compiled_all_ways(spec, BETAS[1:4]):
        assert_equal(compiled, trains, expected)


@pytest.mark.parametrize("name", LARGE)
def test_large_functions(name):
    spec = LARGE[name]
    trains = random_trains(spec, 40, 160 if "64" in name else 40)
    expected = spec.run(trains)
    for reset, target in (("soft", "unit"), ("hard", "layered"), ("soft_next", "unit")):
        assert_equal(compile_function(spec, Neurons(BETAS[2], reset, target)), trains, expected)


@pytest.mark.long
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_every_train_and_ten_thousand_long_ones(name):
    spec = (SMALL | LARGE)[name]
    short, long = all_trains(spec, 12), random_trains(spec, 10_000, 60)
    expected = spec.run(short), spec.run(long)
    for beta, reset in itertools.product(BETAS, RESETS):
        compiled = compile_function(spec, Neurons(beta, reset, "unit"))
        assert_equal(compiled, short, expected[0])
        for some in np.array_split(np.arange(len(long)), 10):
            assert_equal(compiled, long[some], expected[1][some])


@pytest.mark.parametrize(("reset", "target"), list(itertools.product(RESETS, ("unit", "layered"))))
def test_the_projects_network_runs_it(reset, target):
    for name in ("winner", "held toggle", "counted latch", "table of 6 taps over 2"):
        spec = SMALL[name]
        compiled = compile_function(spec, Neurons(BETAS[3], reset, target))
        network = network_of(compiled)
        trains = random_trains(spec, 40)
        spikes = network.run(torch.as_tensor(trains, dtype=torch.float32)).bool().numpy()
        assert np.array_equal(spikes, simulate(compiled.network, trains)), name


def test_a_row_does_not_depend_on_its_neighbours():
    spec = SMALL["table of 6 taps over 2"]
    network = network_of(compile_function(spec, Neurons(BETAS[3])))
    trains = torch.as_tensor(random_trains(spec, 9), dtype=torch.float32)
    alone = [network.run(trains[i : i + 1]) for i in range(9)]
    assert torch.equal(torch.cat(alone), network.run(trains))


def test_the_network_forgets_and_keeps_rows():
    spec = SMALL["held toggle"]
    compiled = compile_function(spec)
    network = network_of(compiled)
    trains = torch.as_tensor(random_trains(spec, 3), dtype=torch.float32)
    state = network.initial_state(3)
    for t in range(20):
        _, state = network(trains[:, t], state)
    state = network.forget(state, torch.tensor([False, True, False]))
    state = network.keep(state, torch.tensor([2, 1]))
    expected = network.run(torch.stack([trains[2], torch.zeros_like(trains[2])]))
    fresh = network.run(trains[1:2, 20:])
    for t in range(20, 60):
        _, state = network(trains[[2, 1], t], state)
        spikes = state.past[:, 0, 1 + len(spec.lines) :]
        assert torch.equal(spikes[0], expected[0, t])
        assert torch.equal(spikes[1], fresh[0, t - 20])


# Sizes.

TABLE = {
    "count": (function(sf.Count(x, 3, 5)), (1, 6), 9),
    "sequence": (function(sf.sequence([x, y, z])), (1, 5), 10),
    "latch": (function(sf.Latch(x, y)), (1, 3), 6),
    "toggle": (function(sf.Toggle(x)), (3, 8), 17),
    "refractory": (function(sf.Refractory(x, 4)), (1, 5), 7),
    "rising": (function(sf.Rising(x)), (1, 2), 4),
    "winner": (function(*(sf.Winner((x, y, z), i, 5) for i in range(3))), (7, 41), 71),
    "every 64th": (function(sf.Every(x, 64, (63,))), (61, 568), 10_000),
}


@pytest.mark.parametrize("name", TABLE)
def test_primitives_are_no_larger_than_the_prototypes(name):
    spec, (neurons, weights), physical = TABLE[name]
    compiled = compile_function(spec)
    assert len(compiled.gates.gates) <= neurons
    assert compiled.gates.weights <= weights
    assert compiled.network.weights <= physical


def test_one_integrating_neuron_counts():
    compiled = compile_function(function(sf.Every(x, 6, (5,))), Neurons(BETAS[4]))
    assert (compiled.network.neurons, compiled.network.weights) == (1, 4)


@pytest.mark.parametrize(
    ("n", "lines", "draws", "neurons", "weights"),
    [(4, 2, 20, 4.0, 14.0), (6, 2, 10, 14.6, 81.0), (8, 2, 3, 31, 264), (9, 3, 2, 39, 483), (10, 2, 1, 55, 818)],
)
def test_random_tables_are_no_larger_than_the_prototypes(n, lines, draws, neurons, weights):
    few = [compile_function(random_table(n, lines, seed)) for seed in range(draws)]
    light = [compile_function(random_table(n, lines, seed), minimise="weights") for seed in range(draws)]
    assert np.mean([len(c.gates.gates) for c in few]) <= neurons - (n >= 8)  # better where n >= 8
    assert np.mean([c.gates.weights for c in light]) <= weights
    for c in few:
        assert c.bounds.neurons_at_least <= len(c.gates.gates) <= c.bounds.neurons_at_most


def test_bounds_are_those_of_the_theorems():
    lower = {n: (window_bounds(n).neurons_at_least, window_bounds(n).weights_at_least) for n in (4, 6, 8, 9, 10, 12)}
    assert lower == {4: (2, 3), 6: (3, 7), 8: (5, 19), 9: (7, 34), 10: (10, 60), 12: (22, 198)}
    assert [window_bounds(n).neurons_at_most for n in (4, 6, 8, 9, 10, 12)] == [6, 13, 24, 32, 47, 94]
    assert "composition of" in bounds_of(SMALL["brake"]).what


def test_all_functions_of_three_taps_take_two_gates():
    for number in range(256):
        bits = np.array([bool(number >> row & 1) for row in range(8)])
        name, plan, kept = tables.best(bits)
        assert len(plan) <= 2, (number, name)
        assert np.array_equal(drives(plan, len(kept))[-1] >= 1, tables.restrict(bits, kept))


@pytest.mark.parametrize("n", [5, 6, 7])
def test_every_construction_is_right(n):
    rng = np.random.default_rng(n)
    seen = set()
    for share in (0.1, 0.5, 0.8):
        bits = rng.random(2**n) < share
        for name, plan in tables.offers(bits, n, banked=True):
            seen.add(name)
            assert np.array_equal(drives(plan, n)[-1] >= 1, bits), name
    assert {"cover", "threshold cover", "split", "packed"} <= seen


def test_split_networks_have_no_level_above_one():
    bits = np.random.default_rng(0).random(2**7) < 0.5
    for one_hot in (True, False):
        plan = split(bits, 7, [0, 1, 2], one_hot=one_hot)
        assert max(int(drive.max()) for drive in drives(plan, 7)) == 1


def test_symmetric_functions_take_half_their_changes():
    n = 8
    parity = rows(n).sum(1) % 2 == 1
    name, plan, _ = tables.best(parity)
    assert (name, len(plan)) == ("interval", n // 2 + 1)


def test_orders_reach_what_they_claim():
    assert len(FOUR_ORDERS.reached) == 2**ROWS
    assert [len(Orders(*triple).reached) for triple in TRIPLES] == [168, 168, 167, 167, 167, 167, 167]
    patterns = np.random.default_rng(0).integers(256, size=10)
    orders, levels = orders_for(patterns)
    for column, pattern in enumerate(patterns):
        prefixes = [
            sum(1 << int(row) for row in order[: level[column]]) for order, level in zip(orders, levels, strict=True)
        ]
        twice = sum(1 << row for row in range(ROWS) if sum(p >> row & 1 for p in prefixes) >= 2)
        assert twice == pattern


# What is refused, and classification.


def test_refusals():
    with pytest.raises(UsageError, match="leak of 0 to 1"):
        Neurons(BETAS[1] * 3)
    with pytest.raises(UsageError, match="one of soft, hard, soft_next"):
        Neurons(reset="gentle")
    with pytest.raises(UsageError, match="neurons or weights"):
        compile_function(SMALL["count"], minimise="cost")
    with pytest.raises(UsageError, match="input line"):
        SpikeFunction(("a",), (("o", x),))
    with pytest.raises(UsageError, match=r"table of 22 taps.*2\.1e\+06 weights"):
        compile_function(function(sf.Table((x, y), 11, (False,) * 2**22)))


@pytest.mark.parametrize(("k", "steps", "lines"), [(2, 2, 1), (5, 4, 2), (16, 8, 4)])
def test_classification(k, steps, lines):
    rng = np.random.default_rng(k)
    trains = np.unique(rng.random((4 * k, steps, lines)) < 0.5, axis=0)[:k]
    k = len(trains)
    apart, near = separate(trains), nearest(trains)
    ends = [compile_function(spec) for spec in (apart, near)]
    mixed = rng.random((300, 3 * steps, lines)) < 0.5
    for spec, compiled in zip((apart, near), ends, strict=True):
        assert np.array_equal(outputs(compiled.network, mixed), spec.run(mixed))
        assert np.array_equal(outputs(compiled.network, trains)[:, -1], np.eye(k, dtype=bool))
    assert len(ends[0].gates.gates) == k
    assert all(len(gate.taps) <= k for gate in ends[0].gates.gates)  # k - 1 taps and the clock
    assert len(ends[1].gates.gates) == k * (k - 1) // 2 + (k if k > 2 else 1)  # comparators and outputs
    distance = (mixed[:, -steps:][:, None] != trains[None]).sum((2, 3))
    assert np.array_equal(near.run(mixed)[:, -1].argmax(1), distance.argmin(1))
    with pytest.raises(UsageError, match="the same"):
        separate(np.concatenate([trains, trains[:1]]))
