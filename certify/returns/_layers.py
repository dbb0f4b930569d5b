"""Exact dynamic programming over the reachable pairs of state and accumulated reward, for any utility.

At step t the accumulated reward is a_t = sum_{i<t} gamma^i r_{i+1}, the stock is (c_0 + a_t)/gamma^t, and the value is
max E f(c_0 + a_t + gamma^t G): the recursion with a clock (distributional_dp/G10), which is that of the stock for every f that is
indifferent to gamma (distributional_dp/G3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.returns._model import Problem
from certify.returns.objectives import Utility
from certify.returns.policies import PairLayer, StockPolicy

__all__ = ["Layers", "TooMany", "backward", "build_layers", "policy_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class TooMany(ValueError):
    """The reachable pairs of state and accumulated reward pass the limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Pairs of each step, sorted by state then accumulated reward, and where each transition leads.

    `states[t]` (n_t,), `sums[t]` (n_t,) or (n_t, m), `following[t]` (n_t, A, B) indices into step t + 1.  `merged` bounds how far a sum
    (each of its entries) is from the true one by merging and by rounding: 0 where the arithmetic is exact.
    """

    states: tuple[IntArray, ...]
    sums: tuple[FloatArray, ...]
    following: tuple[IntArray, ...]
    merged: float

    @property
    def steps(self) -> int:
        """Number of decisions."""
        return len(self.following)


def build_layers(problem: Problem, steps: int, *, rewards: FloatArray | None = None, limit: int = 400_000, stop_at_limit: bool = False) -> Layers:
    """Enumerate what is reachable from the initial distribution in `steps` decisions.

    Raises
    ------
    TooMany
        If all steps together pass `limit` pairs, unless `stop_at_limit` returns the steps that fit.
    """
    states = np.flatnonzero(problem.initial > 0).astype(np.int64)
    width = 1 if rewards is None else rewards.shape[-1]
    sums = np.zeros((states.size, width))
    scale = max(1.0, problem.largest_reward if rewards is None else float(np.abs(rewards).max()))
    all_states, all_sums, all_following, total, factor, merged = [states], [sums], [], states.size, 1.0, 0.0
    for t in range(steps):
        m = problem.stage(t)
        real = m.real[states]
        succ = m.succ[states]
        n, A, B = succ.shape
        gain = m.rew[states][..., None] if rewards is None else rewards[states[:, None, None], np.arange(A)[None, :, None], succ]
        place = np.flatnonzero(real.ravel())
        moved = factor * gain
        if np.frexp(factor)[0] != 0.5:  # not a power of 2: the factor and the product are rounded
            merged += (t + 1) * 2.0**-52 * float(np.abs(moved).max(initial=0.0))
        new_sums = (sums[:, None, None, :] + moved).reshape(-1, width)[place]
        merged += _rounded_by(np.broadcast_to(sums[:, None, None, :], (n, A, B, width)), np.broadcast_to(moved, (n, A, B, width)))
        new_states = succ.reshape(-1)[place]
        keys = np.column_stack([new_states.astype(np.float64), np.rint(new_sums / (1e-10 * scale))])
        order = np.lexsort(keys.T[::-1])
        ordered = keys[order]
        fresh = np.concatenate([[True], (np.diff(ordered, axis=0) != 0).any(axis=1)])
        rank = np.empty(place.size, dtype=np.int64)
        rank[order] = np.cumsum(fresh) - 1
        following = np.zeros(n * A * B, dtype=np.int64)
        following[place] = rank
        first = order[np.flatnonzero(fresh)]
        total += first.size
        if total > limit:
            if stop_at_limit and t > 0:
                break
            raise TooMany(
                f"limit must be at least the number of reachable pairs of state and stock, which passes {total} at step {t + 1} of {steps}, got {limit}"
            )
        merged += float(np.abs(new_sums - new_sums[first][rank]).max(initial=0.0))
        states, sums, factor = new_states[first], new_sums[first], factor * problem.gamma
        all_states.append(states)
        all_sums.append(sums)
        all_following.append(following.reshape(n, A, B))
    shaped = [x if rewards is not None else x[:, 0] for x in all_sums]
    return Layers(tuple(all_states), tuple(shaped), tuple(all_following), merged)


def _rounded_by(x: FloatArray, y: FloatArray) -> float:
    """Return the largest rounding error of x + y, exactly (Knuth's two-sum)."""
    total = x + y
    back = total - x
    return float(np.abs((x - (total - back)) + (y - back)).max(initial=0.0))


def backward(problem: Problem, layers: Layers, last: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
    """Return values of the first pairs and the action values of every step.

    Parameters
    ----------
    problem, layers
        Model and its pairs.
    last : array (n_h,) or (n_h, C)
        Values of the last pairs, for one or several initial stocks.

    Returns
    -------
    tuple
        Values (n_0[, C]) and, for each step, action values (n_t, A[, C]) with -inf for actions that do not exist.
    """
    value, tables = last, []
    for t in range(layers.steps - 1, -1, -1):
        m, states = problem.stage(t), layers.states[t]
        weight = m.prob[states]
        picked = value[layers.following[t]]
        q = np.einsum("nab,nab...->na...", weight, picked)
        q[~m.allowed[states]] = -np.inf
        tables.append(q)
        value = q.max(axis=1)
    return value, tables[::-1]


def lowest_best(q: FloatArray) -> IntArray:
    """Return the lowest action within 1e-12 of the best, along axis 1."""
    best = q.max(axis=1, keepdims=True)
    return np.asarray((q >= best - 1e-12 * np.maximum(1.0, np.abs(best))).argmax(axis=1), dtype=np.int64)


def policy_of(problem: Problem, layers: Layers, tables: list[FloatArray], stock: float | FloatArray) -> StockPolicy:
    """Return the greedy policy from the initial stock `stock`."""
    default = np.asarray(problem.stage(0).allowed.argmax(axis=1), dtype=np.int64)
    made, factor = [], 1.0
    for t in range(layers.steps):
        start = np.searchsorted(layers.states[t], np.arange(problem.n_states + 1))
        made.append(PairLayer(start, (stock + layers.sums[t]) / factor, lowest_best(tables[t]), default))
        factor *= problem.gamma
    empty = PairLayer(np.zeros(problem.n_states + 1, dtype=np.int64), made[-1].stocks[:0], np.zeros(0, dtype=np.int64), default)
    return StockPolicy((*made, empty), problem.gamma, problem.horizon, stock)


def last_values(utility: Utility, layers: Layers, stocks: FloatArray, rest: FloatArray | None = None) -> tuple[FloatArray, float]:
    """Return f(c + a_h (+ rest)) for every last pair and initial stock, shape (n_h, C), and how far c + a_h may be from the true one."""
    sums = layers.sums[-1] if rest is None else layers.sums[-1] + rest
    inexact = max(_rounded_by(np.broadcast_to(c, sums.shape), sums) for c in stocks)
    if rest is not None:
        inexact += _rounded_by(layers.sums[-1], rest)
    return np.stack([utility(c + sums) for c in stocks], axis=1), layers.merged + inexact


def near_values(utility: Utility, layers: Layers, stock: float, distance: float) -> tuple[FloatArray, FloatArray]:
    """Return the least and the largest f at c + a_h and `distance` to either side, shapes (n_h, 1): where f may jump there."""
    around = np.stack([utility(stock + layers.sums[-1] + shift) for shift in (-distance, 0.0, distance)])
    return around.min(axis=0)[:, None], around.max(axis=0)[:, None]
