"""Orders of eight rows, of which gates with levels make any pattern (or most) by agreement of two of them.

A gate that ranks eight rows in an order fires for a prefix of it, and the level decides how long the prefix is. Three
gates have 9^3 = 729 combinations of levels for 256 patterns, four have 6561. The orders here were found by hill
climbing on the number of patterns that "at least two of the gates" reaches: all 256 with four orders, at most 168 with
three. A group of eight rows only needs the patterns that its columns have, and the rows may be renamed, so three often
suffice.
"""

import itertools
from functools import lru_cache

import numpy as np

ROWS = 8


class Orders:
    """Orders of the rows, one a gate; ``reached`` maps every pattern (a byte) that they make to the gates' levels."""

    def __init__(self, *orders: str) -> None:
        self.orders = [np.array([int(row) for row in order]) for order in orders]
        self.reached: dict[int, tuple[int, ...]] = {}
        prefixes = [np.r_[0, np.cumsum(1 << order)] for order in self.orders]
        for levels in itertools.product(range(ROWS + 1), repeat=len(orders)):
            masks = [int(prefix[level]) for prefix, level in zip(prefixes, levels, strict=True)]
            twice, once = 0, 0
            for mask in masks:
                twice, once = twice | (once & mask), once | mask
            self.reached.setdefault(twice, levels)

    def levels(self, patterns: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the orders and, for each, its levels [V] for ``patterns`` [V]."""
        table = np.array([self.reached[int(pattern)] for pattern in patterns])
        return self.orders, list(table.T)


FOUR_ORDERS = Orders("52741036", "10362457", "76451203", "34062571")  # they reach all 256 patterns (a test counts them)

TRIPLES = (
    ("01234567", "64720351", "57136240"),
    ("01234567", "57402613", "63714250"),
    ("01234567", "57146203", "63724051"),
    ("01234567", "36471520", "57260413"),
    ("01234567", "64720513", "35716240"),
    ("01234567", "47513602", "62735041"),
    ("01234567", "57134602", "62743051"),
)
"""Three orders each; they reach 167 or 168 patterns."""


@lru_cache(maxsize=1)
def _name_orders() -> tuple[np.ndarray, np.ndarray, list[tuple[Orders, np.ndarray]]]:
    """All renamings of the rows [8!, 8], every pattern under each [8!, 256], and the triples with what they reach."""
    names = np.array(list(itertools.permutations(range(ROWS))), dtype=np.uint8)
    patterns = np.arange(256, dtype=np.uint8)
    renamed = np.zeros((len(names), 256), dtype=np.uint8)
    for bit in range(ROWS):
        renamed |= ((patterns[None, :] >> names[:, bit : bit + 1]) & 1) << bit
    triples = []
    for triple in TRIPLES:
        orders = Orders(*triple)
        reached = np.zeros(256, dtype=bool)
        reached[list(orders.reached)] = True
        triples.append((orders, reached))
    return names, renamed, triples


def orders_for(patterns: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Return three orders that reach all ``patterns`` [V], and their levels [V]; None where none was found."""
    names, renamed, triples = _name_orders()
    distinct = np.unique(patterns)
    for orders, reached in triples:
        left = np.arange(len(names))
        for pattern in distinct:
            left = left[reached[renamed[left, pattern]]]
            if not len(left):
                break
        if len(left):
            name = names[left[0]]
            _, levels = orders.levels(renamed[left[0], patterns])
            return [name[order].astype(np.int64) for order in orders.orders], levels
    return None
