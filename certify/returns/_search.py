r"""The outer search over the initial stock.

The objective g(c) = -c + V(c)/tau has a V that never decreases and is 1-Lipschitz, so between two stocks a < b
g(c) <= min( g(a) + (1/tau - 1)(c - a), g(b) + (b - c) ): intervals whose bound does not pass the best value found are dropped
(distributional_dp/G4-search).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.returns._box import Box, Table, nodes_over, sweep
from certify.returns._model import Problem

__all__ = ["LatticeSearch", "search_atoms", "search_lattice"]

FloatArray = NDArray[np.float64]

EVALUATIONS = 20_000
"""Stock tables that the lattice search may compute before it returns the bracket it has."""

STEPS = 4e9
"""Elementary steps of all those tables together: some ten seconds."""


def interval_bound(left: FloatArray, right: FloatArray, width: FloatArray | float, tau: float) -> FloatArray:
    """Return the largest g can be between two stocks with these values of g, `width` apart."""
    rise, fall = 1.0 / tau - 1.0, 1.0
    # the lines left + rise t and right + fall (width - t) meet at t
    t = np.clip((right - left + fall * width) / (rise + fall), 0.0, width)
    return np.asarray(np.minimum(left + rise * t, right + fall * (width - t)))


def search_atoms(objective: Callable[[FloatArray], FloatArray], stocks: FloatArray, tau: float, slack: float, *, cells: int) -> tuple[float, float, float, int]:
    """Return the best of finitely many stocks, its value, what a skipped one could add, and the number evaluated.

    Parameters
    ----------
    objective : callable
        g on an array of stocks.
    stocks : array (N,)
        Sorted candidates; g is maximal at one of them.
    tau : float
        Tail mass.
    slack : float
        A gain this small is not looked for.
    cells : int
        Memory of one evaluation, to choose how many go together.
    """
    N = stocks.size
    batch = int(np.clip(4e6 / max(1, cells), 1, 256))
    value = np.full(N, np.nan)
    ends = np.unique(np.linspace(0, N - 1, min(N, 17)).astype(np.int64))
    pending, evaluations = list(ends), 0
    intervals = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
    while pending:
        for i in range(0, len(pending), batch):
            chosen = np.array(pending[i : i + batch])
            value[chosen] = objective(stocks[chosen])
            evaluations += chosen.size
        best = float(np.nanmax(value))
        open_ = [(a, b) for a, b in intervals if b - a > 1 and float(interval_bound(value[a], value[b], stocks[b] - stocks[a], tau)) > best + slack]
        middles = [(a + b) // 2 for a, b in open_]
        intervals = [pair for (a, b), m in zip(open_, middles, strict=True) for pair in ((a, m), (m, b))]
        pending = middles
    # rounding must not decide between equal candidates: the largest stock within the slack of the best
    top = int(np.flatnonzero(np.nan_to_num(value, nan=-np.inf) >= np.nanmax(value) - slack)[-1])
    return float(stocks[top]), float(value[top]), slack, evaluations


@dataclass(frozen=True, slots=True, eq=False)
class LatticeSearch:
    """The best stock found, its value, an upper bound on all others, and the tables that lead from it to the fixed point."""

    stock: float
    value: float
    upper: float
    chain: tuple[Table, ...]
    evaluations: int


class _Tables:
    """Stock tables on the lattices `u (j / q^k + Z)`, computed once: one sweep from `u (j mod q^(k-1)) / q^(k-1)`."""

    def __init__(self, problem: Problem, box: Box, fixed: Table) -> None:
        self.problem, self.box, self.fixed, self.q = problem, box, fixed, round(1.0 / problem.gamma)
        self.known: dict[tuple[int, int], Table] = {}

    def table(self, j: int, k: int) -> Table:
        """Return the table of the fraction j / q^k, 0 <= j < q^k."""
        while k > 0 and j % self.q == 0:
            j, k = j // self.q, k - 1
        if k == 0:
            return self.fixed
        if (j, k) not in self.known:
            following = self.table(j % self.q ** (k - 1), k - 1)
            origin, count = nodes_over(self.box, self.fixed.step, self.fixed.step * j / self.q**k)
            made = sweep(self.problem.stage(0), self.problem.gamma, self.box, 0, following, origin, self.fixed.step, count, "nearest")
            self.known[j, k] = made
        return self.known[j, k]

    def chain(self, j: int, k: int) -> tuple[Table, ...]:
        """Return the tables that the stock visits before it is on the integer lattice."""
        made = []
        while k > 0 and j % self.q == 0:
            j, k = j // self.q, k - 1
        while k > 0:
            made.append(self.table(j, k))
            j, k = j % self.q ** (k - 1), k - 1
        return tuple(made)


def search_lattice(problem: Problem, box: Box, fixed: Table, tau: float, tolerance: float, *, levels: int = 45) -> LatticeSearch:
    """Refine the initial stock q-adically until no interval can hold a value more than `tolerance` above the best found."""
    tables = _Tables(problem, box, fixed)
    unit, q = fixed.step, tables.q

    def g(position: int, k: int) -> float:
        """Return g at the stock unit * position / q^k; beyond the box by the closed form."""
        j = position % q**k
        table, stock = tables.table(j, k), unit * (position / q**k)
        i = round((stock - table.origin) / unit)
        if i < 0:
            values = box.slopes[0] * (stock + box.below[0])
        elif i >= table.value.shape[1]:
            values = box.slopes[1] * (stock + box.above[0])
        else:
            values = table.value[:, i]
        return float(-stock + float(problem.initial @ values) / tau)

    first, count = round(fixed.origin / unit), fixed.value.shape[1]
    allowed = min(EVALUATIONS, max(100, int(STEPS / (count * int(problem.stage(0).count.sum())))))
    value = {first + i: g(first + i, 0) for i in range(count)}
    best_at = max(value, key=lambda p: (value[p], -p))
    best = (value[best_at], best_at, 0)
    intervals = list(range(first, first + count - 1))
    upper = -np.inf
    for k in range(levels + 1):
        bounds = interval_bound(np.array([value[p] for p in intervals]), np.array([value[p + 1] for p in intervals]), unit / q**k, tau)
        active = [p for p, bound in zip(intervals, bounds, strict=True) if bound > best[0] + tolerance]
        upper = float(bounds.max(initial=-np.inf)) if active else -np.inf
        if not active or k == levels or len(tables.known) + len(active) * (q - 1) > allowed:
            break
        finer: dict[int, float] = {}
        for p in active:
            finer[q * p], finer[q * p + q] = value[p], value[p + 1]
            for j in range(1, q):
                position = q * p + j
                finer[position] = g(position, k + 1)
                if finer[position] > best[0] + 1e-13 * max(1.0, abs(best[0])):
                    best = (finer[position], position, k + 1)
        value = finer
        intervals = [q * p + j for p in active for j in range(q)]
    found, position, k = best
    return LatticeSearch(unit * (position / q**k), found, max(found + tolerance, upper), tables.chain(position % q**k, k), len(tables.known))
