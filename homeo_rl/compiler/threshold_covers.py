"""Plans that are unions: gates that fire at no zero of a table and together at every one.

The gates are cubes (AND of variables and their negations) or threshold gates; negated, they cover the zeros.
"""

import itertools

import numpy as np

from homeo_rl.compiler.gate_plan import Bits, Cell, Plan, Threshold, rows


def cube_cover(bits: Bits, n: int) -> list[Threshold]:
    """Return cubes, as gates, that cover the ones of ``bits`` [2^n]: prime implicants.

    They are the fewest for n <= 6, by an integer program; otherwise each is the one that covers most of what is left.
    """
    if not bits.any():
        return []
    ternary = np.array(list(itertools.product((-1, 0, 1), repeat=n)))  # 0: the variable does not matter
    z = 2 * rows(n) - 1
    inside = (ternary @ z.T) == np.abs(ternary).sum(1)[:, None]  # [cubes, 2^n]
    good = ~np.any(inside & ~bits, axis=1)
    cubes, inside = ternary[good], inside[good]
    order = np.abs(cubes).sum(1).argsort(kind="stable")
    cubes, inside = cubes[order], inside[order]
    prime: list[int] = []
    for c in range(len(cubes)):  # larger cubes come first
        if not prime or not np.any((inside[prime] | ~inside[c]).all(1)):
            prime.append(c)
    cubes, inside = cubes[prime], inside[prime]
    literals = np.abs(cubes).sum(1)
    if n <= 6:
        from scipy.optimize import Bounds, LinearConstraint, milp  # half a second that only a synthesis needs

        result = milp(
            1.0 + literals / 1000.0, integrality=np.ones(len(cubes), dtype=np.int64), bounds=Bounds(0, 1),
            constraints=LinearConstraint(inside[:, bits].T.astype(float), 1, np.inf), options={"time_limit": 5.0},
        )  # fmt: skip
        chosen = np.flatnonzero(result.x > 0.5).tolist() if result.x is not None else []
    else:
        chosen = []
    if not chosen:
        left = bits.copy()
        while left.any():
            pick = int((inside & left).sum(1).argmax())
            chosen.append(pick)
            left &= ~inside[pick]
    return [(tuple(cubes[c].tolist()), 1 - int((cubes[c] > 0).sum())) for c in chosen]


def threshold_cover(bits: Bits, n: int) -> list[Threshold]:
    """Return threshold gates that fire at no zero of ``bits`` [2^n] and together at every one.

    Each gate is the direction along which most of the ones that are left lie above every zero, as far as a seeded
    local search finds it.
    """
    rng = np.random.default_rng(0)
    points = rows(n)
    left, gates = bits.copy(), list[Threshold]()
    zeros = ~bits
    if not zeros.any():
        return [((0,) * n, 1)] if bits.any() else []
    span, tries, rounds = 7, 48, 40
    while left.any():

        def worth(w: np.ndarray) -> np.ndarray:
            z = w @ points.T
            ones: np.ndarray = ((z > z[:, zeros].max(1, keepdims=True)) & left).sum(1)  # noqa: B023  # this turn's
            return ones

        seeds = 2 * points[rng.choice(np.flatnonzero(left), min(tries, int(left.sum())), replace=False)] - 1
        best = seeds.astype(np.int64)
        score = worth(best)
        for _ in range(rounds):
            moves = np.repeat(best, 8, axis=0)
            where = rng.integers(n, size=(len(moves), 2))
            change = rng.integers(-2, 3, size=(len(moves), 2))
            change[rng.random(len(moves)) < 0.5, 1] = 0
            for k in range(2):
                moves[np.arange(len(moves)), where[:, k]] += change[:, k]
            np.clip(moves, -span, span, out=moves)
            result = worth(moves).reshape(len(best), 8)
            pick = result.argmax(1)
            better = result[np.arange(len(best)), pick] >= score
            best[better] = moves.reshape(len(best), 8, n)[np.arange(len(best)), pick][better]
            score = np.maximum(score, result[np.arange(len(best)), pick])
        top = np.flatnonzero(score == score.max())
        w = min((best[t] for t in top), key=lambda w: (int((w != 0).sum()), int(np.abs(w).sum())))
        z = points @ w
        floor = int(z[zeros].max())
        gates.append((tuple(w.tolist()), -floor))
        left &= z <= floor
    return gates


def union(gates: list[Threshold], n: int, *, negated: bool, absorb: bool = True) -> Plan:
    """Return the plan of the union of gates over n variables, or of what none of them covers.

    Args:
        negated: spike where no gate does.
        absorb: the output is one of the gates with the others on top, so it costs no neuron of its own (negated, it
            is one whose sign is turned); otherwise it is a gate that reads them all.
    """
    if not gates:
        return (Cell((0,) * n, (), int(negated)),)
    cells = [Cell(w, (), bias) for w, bias in gates]
    if not absorb:
        sign = -1 if negated else 1
        return (*cells, Cell((0,) * n, tuple((i, sign) for i in range(len(cells))), int(negated)))
    widest = max(range(len(cells)), key=lambda i: cells[i].weights)
    last = cells.pop(widest)
    z = rows(n) @ np.array(last.variables) + last.bias
    if negated:  # [not (z >= 1) and no other] = [1 - z - M others >= 1]
        turned, bias = tuple(-w for w in last.variables), 1 - last.bias
        others = tuple((i, -max(1 - int(z.min()), 1)) for i in range(len(cells)))
        return (*cells, Cell(turned, others, bias))
    others = tuple((i, max(1 - int(z.min()), 1)) for i in range(len(cells)))
    return (*cells, Cell(last.variables, others, last.bias))
