"""Executable policies that carry the stock, and the law of the return they produce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from certify.returns._model import Problem, extremes
from certify.returns.laws import MERGE, Law

__all__ = ["GridLayer", "PairLayer", "StockPolicy", "return_law"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HALF = 0.5 - 1e-9
"""What is added before rounding down to round to the nearest node: rounding must not decide where a half goes."""


class Layer(Protocol):
    """Decisions of one step (or of every step from one on)."""

    def choose(self, states: IntArray, stocks: FloatArray) -> IntArray:
        """Return the action of each (state, stock)."""
        ...

    def snap(self, stocks: FloatArray) -> FloatArray:
        """Return the stocks as this layer keeps them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GridLayer:
    """Actions on a uniform grid of stocks, with one action a state beyond either end; `down` rounds a stock to the node below it.

    Where stocks are rounded, the value beyond an end is that of its action for good, so a stock that leaves the grid must not come back:
    with `absorbing` it is kept as minus or plus infinity.
    """

    origin: float
    step: float
    actions: NDArray[np.integer[Any]]
    below: IntArray
    above: IntArray
    down: bool = False
    absorbing: bool = False

    def _index(self, stocks: FloatArray) -> IntArray:
        z = np.clip((stocks - self.origin) / self.step, -2.0, self.actions.shape[1] + 1.0)  # infinite stocks too
        # halves go down, as in the sweep that made the table
        index = nearest = np.floor(z + HALF)
        if self.down:
            index = np.where(np.abs(z - nearest) <= 1e-9, nearest, np.floor(z))
        outside = (z < -1e-9) | (z > self.actions.shape[1] - 1 + 1e-9)
        limit = float(self.actions.shape[1])
        return np.asarray(np.where(outside, np.where(z < 0, -1.0, limit), np.clip(index, 0.0, limit - 1.0)), dtype=np.int64)

    def choose(self, states: IntArray, stocks: FloatArray) -> IntArray:
        """Return the action of each (state, stock)."""
        index = self._index(stocks)
        inside = self.actions[states, np.clip(index, 0, self.actions.shape[1] - 1)]
        return np.asarray(np.where(index < 0, self.below[states], np.where(index >= self.actions.shape[1], self.above[states], inside)), dtype=np.int64)

    def snap(self, stocks: FloatArray) -> FloatArray:
        """Return the node that stands for each stock; stocks beyond the ends stay as they are, or go to infinity if those absorb."""
        index = self._index(stocks)
        inside = (index >= 0) & (index < self.actions.shape[1])
        beyond = np.where(index < 0, -np.inf, np.inf) if self.absorbing else stocks
        return np.asarray(np.where(inside, self.origin + self.step * index, beyond))


@dataclass(frozen=True, slots=True, eq=False)
class PairLayer:
    """Actions on the reachable pairs of state and stock, sorted by state: those of state s are `start[s]:start[s + 1]`."""

    start: IntArray
    stocks: FloatArray
    actions: IntArray
    default: IntArray

    def choose(self, states: IntArray, stocks: FloatArray) -> IntArray:
        """Return the action at the nearest reachable stock of each state."""
        out = self.default[states].astype(np.int64)
        for s in np.unique(states):
            nodes = self.stocks[self.start[s] : self.start[s + 1]]
            if not len(nodes):
                continue
            at = np.flatnonzero(states == s)
            out[at] = self.actions[self.start[s] + _nearest(nodes, stocks[at])]
        return out

    def snap(self, stocks: FloatArray) -> FloatArray:
        """Return the stocks unchanged."""
        return stocks


def _nearest(nodes: FloatArray, points: FloatArray) -> IntArray:
    if nodes.ndim == 2:
        return np.array([int(np.abs(nodes - x).sum(axis=1).argmin()) for x in points], dtype=np.int64)
    right = np.clip(np.searchsorted(nodes, points), 1, max(1, len(nodes) - 1)) if len(nodes) > 1 else np.zeros(len(points), dtype=np.int64)
    left = np.maximum(right - 1, 0)
    return np.asarray(np.where(np.abs(points - nodes[left]) <= np.abs(nodes[right] - points), left, right), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class StockPolicy:
    """A policy of time, state and stock.

    Start with `stock = policy.initial_stock` and `time = 0`; take `policy.action(time, state, stock)`; after the reward r,
    `stock = policy.update(time, stock, r)`, which is (stock + r)/discount as the policy keeps it: infinite once its sign is settled where
    stocks are rounded.  With an infinite horizon the last layer serves every later step.

    Examples
    --------
    >>> import numpy as np
    >>> table = GridLayer(-1.0, 1.0, np.array([[1, 0, 0]]), np.array([1]), np.array([0]))
    >>> policy = StockPolicy((table,), 0.5, None, -1.0)
    >>> policy.action(0, 0, policy.initial_stock), policy.update(0, -1.0, 1.0)
    (1, 0.0)
    """

    layers: tuple[Layer, ...]
    discount: float
    horizon: int | None
    initial_stock: Any

    def layer(self, time: int) -> Layer:
        """Return the decisions of one step."""
        return self.layers[min(time, len(self.layers) - 1)]

    def action(self, time: int, state: int, stock: Any) -> int:
        """Return the action in a state with a stock."""
        stocks = np.asarray(stock, dtype=np.float64)[None]
        return int(self.layer(time).choose(np.array([state]), self.layer(time).snap(stocks))[0])

    def update(self, time: int, stock: Any, reward: Any) -> Any:
        """Return the stock after a reward."""
        kept = self.layer(time).snap(np.asarray(stock, dtype=np.float64)[None])
        kept = self.layer(time + 1).snap((kept + np.asarray(reward, dtype=np.float64)) / self.discount)[0]
        return float(kept) if np.ndim(kept) == 0 else kept


def return_law(
    problem: Problem, policy: StockPolicy, *, vector_rewards: FloatArray | None = None, tolerance: float = 1e-9, limit: int = 200_000
) -> tuple[Law, float]:
    """Return the law of the return of a policy from the initial distribution, and a bound on its W_1 error.

    Parameters
    ----------
    problem : Problem
        Where it acts.
    policy : StockPolicy
        What acts.
    vector_rewards : array (S, A, S, m), optional
        What feeds a vector stock.
    tolerance : float
        With an infinite horizon, steps are taken until the rest of the return is known this well.
    limit : int
        Largest number of (state, stock, return) triples; reaching it ends an infinite horizon early, with the larger error stated.

    Raises
    ------
    ValueError
        If a finite horizon passes the limit.
    """
    states = np.flatnonzero(problem.initial > 0)
    p, g = problem.initial[states].copy(), np.zeros(states.size)
    start = np.asarray(policy.initial_stock, dtype=np.float64)
    c = policy.layer(0).snap(np.repeat(start[None], states.size, axis=0))
    low, high = (x[0] for x in extremes(problem)) if problem.horizon is None else (np.zeros(problem.n_states), np.zeros(problem.n_states))
    scale = max(1.0, problem.largest_reward)
    t, factor, moved = 0, 1.0, 0.0
    while t < (problem.horizon if problem.horizon is not None else 100_000):
        if problem.horizon is None and factor * float(np.dot(p, 0.5 * (high - low)[states])) <= tolerance:
            break
        m = problem.stage(t)
        a = policy.layer(t).choose(states, c)
        real = np.arange(m.succ.shape[2])[None, :] < m.count[states, a][:, None]
        row, b = np.nonzero(real)
        at = (states[row], a[row], b)
        succ = m.succ[at]
        reward = m.rew[at] if vector_rewards is None else vector_rewards[states[row], a[row], succ]
        following = (p[row] * m.prob[at], succ, g[row] + factor * m.rew[at], policy.layer(t + 1).snap((c[row] + reward) / problem.gamma))
        q, s2, g2, c2, shift = _grouped(*following, scale)
        if q.size > limit:
            if problem.horizon is not None:
                raise ValueError(f"limit must be at least the number of (state, stock, return) triples, which passes {q.size} at step {t + 1}, got {limit}")
            break
        p, states, g, c = q, s2, g2, c2
        t, factor, moved = t + 1, factor * problem.gamma, moved + shift
    rest = 0.5 * (low + high)[states]
    error = factor * float(np.dot(p, 0.5 * (high - low)[states]))
    law, shift = Law.merging(g + factor * rest, p / p.sum(), MERGE)
    return law, error + moved + shift + (t + 1) * 1e-15 * max(scale, float(np.abs(g).max()))


def _grouped(p: FloatArray, states: IntArray, g: FloatArray, c: FloatArray, scale: float) -> tuple[FloatArray, IntArray, FloatArray, FloatArray, float]:
    """Add up the masses of equal (state, return, stock), and return how far that moved a return; they are equal within 1e-10 of the reward scale."""
    flat = c.reshape(c.shape[0], -1)
    kept = np.isfinite(flat)
    far = np.where(kept, np.ceil(np.log2(np.maximum(1.0, np.abs(np.where(kept, flat, 0.0))))), 2000.0)
    flat = np.where(kept, flat, np.sign(flat)) / 2.0 ** np.where(kept, far, 0.0)  # stocks far out carry relative rounding
    keys = np.column_stack([states.astype(np.float64), np.rint(g / (1e-10 * scale)), np.rint(flat / 1e-9), far])
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    starts = np.concatenate([[True], (np.diff(keys, axis=0) != 0).any(axis=1)])
    first = np.flatnonzero(starts)
    chosen = order[first]
    moved = float(np.abs(g[order] - g[chosen][np.cumsum(starts) - 1]).max())
    return np.add.reduceat(p[order], first), states[chosen], g[chosen], c[chosen], moved
