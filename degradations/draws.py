"""Where the random numbers of a batch of episodes come from: a counter for each row, or a generator for each row.

All results are float64 or int64, one row an episode. A row's numbers depend on the row's seed, episode and step only,
never on the other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from homeo_rl.numerics.backend import Array, backend_of, cast
from homeo_rl.numerics.counter_random import GOLDEN, LANE, mix, normal, normal_table, uniform


class Draws(Protocol):
    """What a fault draws with. ``move_to`` opens a step; the order of draws within a step is part of the numbers."""

    def begin_episode(self, episode: Array) -> None:
        """Go to an episode of each row, int64 [N, 1], counted from 0."""

    def take_seeds(self, other: Any, rows: Sequence[int]) -> None:
        """Take the seeds of ``other``, new draws of the same kind, in ``rows``; before `begin_episode`."""

    def move_to(self, step: Array, rows: Array | None) -> None:
        """Go to a step of each row, int64 [N, 1], -1 before the first; ``rows`` [N] are those that draw, None all."""

    def uniform(self, columns: int) -> Array:
        """Return numbers in [0, 1), [N, columns]."""

    def normal(self, columns: int) -> Array:
        """Return standard normal numbers, [N, columns]."""

    def ranks(self, columns: int, counts: Array) -> Array:
        """Return an order of the columns, [N, columns]: those with a rank below ``counts`` [N, 1] are chosen."""

    def pick(self, entries: Array) -> Array:
        """Return one of ``entries`` [K] for each row, [N, 1]."""


class CounterDraws:
    """Numbers as a function of (seed, episode, step, number of the draw, column); NumPy or PyTorch, any device."""

    def __init__(self, seeds: Array, *, compiled: bool = True) -> None:
        """Take the seed of each row, int64 [N, 1]; ``compiled`` uses the kernels where there are any."""
        self._seeds, self._backend = seeds, backend_of(seeds)
        self.begin_episode(0 * seeds)
        self._table = self._backend.array(normal_table())
        self._lanes: dict[tuple[int, int], Array] = {}
        self._kernels = _load_kernels() if self._backend.xp is np and compiled else None

    def begin_episode(self, episode: Array) -> None:
        """Take other keys."""
        self._keys = mix(self._seeds + episode * GOLDEN)

    def take_seeds(self, other: CounterDraws, rows: Sequence[int]) -> None:
        """Take other seeds in some rows; `begin_episode` makes keys of them."""
        self._seeds = 1 * self._seeds
        self._seeds[list(rows)] = other._seeds

    def move_to(self, step: Array, rows: Array | None = None) -> None:
        """Go to a step."""
        self._step, self._calls, self._state = step, 0, None

    def uniform(self, columns: int) -> Array:
        """Return numbers in [0, 1)."""
        if self._kernels is None:
            return uniform(self._backend.xp, self._words(columns))
        result = np.empty((len(self._keys), columns))
        self._kernels.uniform(self._keys, self._step, self._next_lanes(columns), result)
        return result

    def normal(self, columns: int) -> Array:
        """Return standard normal numbers."""
        if self._kernels is None:
            return normal(self._backend.xp, self._words(columns), self._table)
        result = np.empty((len(self._keys), columns))
        self._kernels.normal(self._keys, self._step, self._next_lanes(columns), self._table, result)
        return result

    def ranks(self, columns: int, counts: Array) -> Array:
        """Return the ranks of hashed words."""
        order = self._backend.xp.argsort(self._words(columns), 1)
        return self._backend.xp.argsort(order, 1)

    def pick(self, entries: Array) -> Array:
        """Return one entry a row, all with the same probability."""
        return entries[cast(self.uniform(1) * len(entries), self._backend.xp.int64)]

    def _words(self, columns: int) -> Array:
        if self._state is None:
            self._state = mix(self._keys + (self._step + 2) * GOLDEN)  # what a row's numbers depend on; steps are >= -1
        return mix(self._state + self._next_lanes(columns))

    def _next_lanes(self, columns: int) -> Array:
        """Return what tells the columns of the next draw apart from each other and from other draws, [columns]."""
        lanes = self._lanes.get((self._calls, columns))
        if lanes is None:
            lanes = (self._backend.arange(columns) + (self._calls << 32) + 1) * LANE
            self._lanes[self._calls, columns] = lanes
        self._calls += 1
        return lanes


class _Kernels(NamedTuple):
    uniform: Callable[..., None]
    normal: Callable[..., None]


def _load_kernels() -> _Kernels:
    from homeo_rl.numerics.counter_kernels import fill_normal, fill_uniform  # here: numba takes a second to load

    return _Kernels(fill_uniform, fill_normal)


class GeneratorDraws:
    """Numbers of one NumPy generator a row, as the suites draw them; rows that do not draw keep their generator.

    This is the slow way. It gives a batch the very numbers that `DegradationWrapper` gives single environments.
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self.generators = list(generators)
        self._all = range(len(self.generators))
        self._rows: Sequence[int] = self._all

    def begin_episode(self, episode: Array) -> None:
        """Draw on: the generators were seeded for the first episode."""

    def take_seeds(self, other: GeneratorDraws, rows: Sequence[int]) -> None:
        """Take other generators in some rows."""
        for row, generator in zip(rows, other.generators, strict=True):
            self.generators[row] = generator

    def move_to(self, step: Array, rows: Array | None = None) -> None:
        """Say which rows draw."""
        self._rows = self._all if rows is None else np.flatnonzero(rows).tolist()

    def uniform(self, columns: int) -> Array:
        """Return numbers in [0, 1)."""
        return self._fill(columns, lambda generator: generator.random(columns))

    def normal(self, columns: int) -> Array:
        """Return standard normal numbers."""
        return self._fill(columns, lambda generator: generator.standard_normal(columns))

    def ranks(self, columns: int, counts: Array) -> Array:
        """Return ranks of the ``counts`` entries that are chosen, and ``columns`` for the others."""
        ranks = np.full((len(self.generators), columns), columns)
        for row in self._rows:
            count = int(counts[row, 0])
            ranks[row, self.generators[row].choice(columns, count, replace=False)] = np.arange(count)
        return ranks

    def pick(self, entries: Array) -> Array:
        """Return one entry a row, all with the same probability."""
        return self._fill(1, lambda generator: generator.choice(entries)).astype(np.int64)

    def _fill(self, columns: int, draw: Any) -> Array:
        result = np.zeros((len(self.generators), columns))
        for row in self._rows:
            result[row] = draw(self.generators[row])
        return result
