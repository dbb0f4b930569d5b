"""Dynamic programming on a uniform grid of stocks for utilities with two slopes, outside which the closed form holds.

For f = above * max(x, 0) + below * min(x, 0) the sign of c + G is constant beyond the extremes of the return, and there
V(s, c) = slope * (c + risk-neutral optimum) (distributional_dp/G3b).  On a lattice (gamma = 1/q with rewards on a lattice, or gamma = 1)
stocks stay on the nodes and the result is exact; elsewhere stocks are rounded to the nearest node (G9a), or down and up, which
brackets the optimum of a utility that never decreases.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from certify.returns._model import Arrays, Problem, extremes, risk_neutral
from certify.returns.policies import HALF, GridLayer
from theory import distributional_dp as bounds

__all__ = [
    "Box", "Stationary", "Table", "arithmetic", "finite_tables", "lattice_unit", "layer_of", "make_box", "nodes_over", "policy_iteration", "rounding",
    "snapping", "solve_stationary", "sweep", "utility_table",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MODES = {"nearest": 0, "down": 1, "up": 2, "linear": 3}

LATTICE_LIMIT = 4e6
"""Largest number of (state, stock) entries of a lattice for which it is preferred to a grid with rounded stocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A stock interval with the closed form beyond it: slopes, risk-neutral optima and their actions, for each step."""

    low: float
    high: float
    slopes: tuple[float, float]
    below: FloatArray
    above: FloatArray
    below_actions: IntArray
    above_actions: IntArray
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Values and greedy actions on nodes `origin + step * i`, shape (S, N)."""

    origin: float
    step: float
    value: FloatArray
    action: NDArray[np.int16]

    @property
    def nodes(self) -> FloatArray:
        """The stocks."""
        return np.asarray(self.origin + self.step * np.arange(self.value.shape[1]), dtype=np.float64)


def lattice_unit(problem: Problem, *, limit: float = np.inf) -> float | None:
    """Return u such that stocks on u * Z stay there: rewards in u * Z and 1/discount an integer; None if there is no such u.

    With an infinite horizon, None as well if u makes a table of more than `limit` entries.
    """
    inverse = 1.0 / problem.gamma
    if abs(inverse - round(inverse)) > 1e-12 * inverse:
        return None
    rewards = np.unique(np.concatenate([m.rew[m.real] for m in problem.stages]))
    fractions = [Fraction(float(r)).limit_denominator(1000) for r in rewards]
    if any(abs(float(f) - r) > 1e-12 * max(1.0, abs(r)) for f, r in zip(fractions, rewards, strict=True)):
        return None
    below = lcm(*(f.denominator for f in fractions)) if fractions else 1
    whole = gcd(*(int(f * below) for f in fractions))
    unit = whole / below if whole else 1.0
    if problem.horizon is None and problem.n_states * 2.0 * problem.largest_reward / (1.0 - problem.gamma) / unit > limit:
        return None
    return unit


def make_box(problem: Problem, slopes: tuple[float, float]) -> Box:
    """Return the interval of stocks outside which the sign of c + G is constant, from every state and step."""
    low, high = extremes(problem)
    below = risk_neutral(problem, 1.0 if slopes[0] >= 0 else -1.0)
    above = risk_neutral(problem, 1.0 if slopes[1] >= 0 else -1.0)
    actions = [_greedy(problem, mean, 1.0 if slope >= 0 else -1.0) for mean, slope in ((below, slopes[0]), (above, slopes[1]))]
    scale = max(1.0, abs(float(low.min())), abs(float(high.max())))
    if problem.horizon is not None and problem.gamma < 1.0:
        scale /= problem.gamma
    return Box(-float(high.max()), -float(low.min()), slopes, below, above, actions[0], actions[1], scale)


def _greedy(problem: Problem, mean: FloatArray, sign: float) -> IntArray:
    """Return risk-neutral actions, shape (1, S) or (h, S)."""
    made = []
    for t in range(1 if problem.horizon is None else problem.horizon):
        m, following = problem.stage(t), mean[0 if problem.horizon is None else t + 1]
        q = sign * (m.prob * (m.rew + problem.gamma * following[m.succ])).sum(axis=2)
        q[~m.allowed] = -np.inf
        best = q.max(axis=1, keepdims=True)
        made.append((q >= best - 1e-12 * np.maximum(1.0, np.abs(best))).argmax(axis=1))
    return np.stack(made).astype(np.int64)


def sweep(model: Arrays, gamma: float, box: Box, time: int, following: Table, origin: float, step: float, count: int, mode: str) -> Table:
    """Return one Bellman update onto the nodes `origin + step * i`, i < count; `time` is the step that `following` belongs to."""
    from certify.returns._kernels import value_sweep

    value = np.empty((model.n_states, count))
    action = np.empty((model.n_states, count), dtype=np.int16)
    value_sweep(
        value,
        action,
        model.succ,
        model.prob,
        model.rew,
        model.count,
        gamma,
        following.value,
        origin,
        step,
        following.origin,
        following.step,
        float(box.slopes[0]),
        float(box.slopes[1]),
        box.below[min(time, len(box.below) - 1)],
        box.above[min(time, len(box.above) - 1)],
        MODES[mode],
    )
    return Table(origin, step, value, action)


def utility_table(box: Box, origin: float, step: float, count: int, n_states: int) -> Table:
    """Return f on the nodes for every state: the value of zero steps."""
    c = origin + step * np.arange(count)
    f = box.slopes[1] * np.maximum(c, 0.0) + box.slopes[0] * np.minimum(c, 0.0)
    return Table(origin, step, np.repeat(f[None], n_states, axis=0), np.zeros((n_states, count), dtype=np.int16))


def nodes_over(box: Box, step: float, offset: float = 0.0) -> tuple[float, int]:
    """Return origin and count of the nodes `offset + step * Z` that cover the box with one to spare on either side."""
    first = np.floor((box.low - offset) / step - 1e-9) - 1
    last = np.ceil((box.high - offset) / step + 1e-9) + 1
    return float(offset + first * step), int(last - first) + 1


def layer_of(box: Box, table: Table, time: int, *, down: bool = False, rounded: bool = False) -> GridLayer:
    """Return the greedy decisions of a table as part of a policy; `rounded` (or `down`) says that stocks do not stay on its nodes."""
    at = min(time, len(box.below_actions) - 1)
    return GridLayer(table.origin, table.step, table.action, box.below_actions[at], box.above_actions[at], down, down or rounded)


def snapping(problem: Problem, box: Box, step: float) -> float:
    """Bound what it adds up to that a stock within 1e-9 steps of a node is read as the node, also against the direction of rounding."""
    steps = problem.gamma / (1.0 - problem.gamma) if problem.horizon is None else float(problem.horizon)
    return 2e-9 * step * max(abs(box.slopes[0]), abs(box.slopes[1])) * steps


@dataclass(frozen=True, slots=True, eq=False)
class Stationary:
    """The fixed point of an infinite horizon on one table, bounded on both sides on every node of the fixed-point equation."""

    table: Table
    lower: FloatArray
    upper: FloatArray
    sweeps: int


def solve_stationary(problem: Problem, box: Box, step: float, *, offset: float = 0.0, mode: str = "nearest", tolerance: float = 0.0) -> Stationary:
    """Iterate the Bellman operator with stocks rounded as `mode` says, until its a-posteriori bounds are `tolerance` times
    the largest return apart, or as near as rounding lets them come.

    The bounds are those of distributional_dp/G7-posterior with d = 0 outside, widened by the rounding of the closed form; they enclose
    the fixed point of the rounded recursion, and the value of the greedy policy in it.
    """
    origin, count = nodes_over(box, step, offset)
    table = utility_table(box, origin, step, count, problem.n_states)
    gamma, model = problem.gamma, problem.stage(0)
    slack, floor = rounding(problem, box), 0.125 * arithmetic(problem, box)
    n = 0
    while True:
        following = sweep(model, gamma, box, 0, table, origin, step, count, mode)
        difference = following.value - table.value
        lower, upper = bounds.macqueen_bounds(following.value, difference, gamma, exact_outside=True)
        table, n = following, n + 1
        width = gamma / (1.0 - gamma) * (max(float(difference.max()), 0.0) - min(float(difference.min()), 0.0))
        if width <= max(tolerance * box.scale, floor) or n >= 100_000:
            return Stationary(table, lower - slack, upper + slack, n)


def finite_tables(problem: Problem, slopes: tuple[float, float], step: float, mode: str) -> tuple[list[Table], Box]:
    """Return the tables of every step of a finite horizon on the nodes `step * Z` over the box, first step first."""
    box = make_box(problem, slopes)
    origin, count = nodes_over(box, step)
    current = utility_table(box, origin, step, count, problem.n_states)
    assert problem.horizon is not None
    made: list[Table] = []
    for t in range(problem.horizon - 1, -1, -1):
        current = sweep(problem.stage(t), problem.gamma, box, t + 1, current, origin, step, count, mode)
        made.append(current)
    return made[::-1], box


def policy_iteration(problem: Problem, box: Box, step: float, *, offset: float = 0.0, limit: int = 200_000) -> Stationary:
    """Improve a policy on the nodes until no action changes, evaluating each by a sparse linear solve; old actions are kept on ties.

    Stocks between nodes are rounded to the nearest.  The result is bounded by one more sweep (distributional_dp/G8, G7-posterior).

    Raises
    ------
    ValueError
        If states times nodes pass `limit`.
    """
    origin, count = nodes_over(box, step, offset)
    S, gamma, model = problem.n_states, problem.gamma, problem.stage(0)
    if S * count > limit:
        raise ValueError(f"method 'policy' needs at most {limit} pairs of state and stock node, got {S * count}; use 'value'")
    nodes = origin + step * np.arange(count)
    z = ((nodes[:, None, None, None] + model.rew) / gamma - origin) / step  # (N, S, A, B)
    index = np.floor(z + HALF).astype(np.int64)
    inside = (z >= -1e-9) & (z <= count - 1 + 1e-9)
    stock = (nodes[:, None, None, None] + model.rew) / gamma
    beyond = np.where(z < 0, box.slopes[0] * (stock + box.below[0][model.succ]), box.slopes[1] * (stock + box.above[0][model.succ]))
    weight = model.prob * model.real
    constant = gamma * (weight * np.where(inside, 0.0, beyond)).sum(axis=3)  # (N, S, A)
    target = model.succ[None] * count + np.clip(index, 0, count - 1)
    policy = np.repeat(model.allowed.argmax(axis=1)[None], count, axis=0)
    rows, columns = np.meshgrid(np.arange(S), np.arange(count))  # both (N, S)
    n = 0
    while True:
        n += 1
        value = _evaluate(policy, rows, columns, weight, inside, target, constant, gamma, count)
        q = constant + gamma * (weight * np.where(inside, value[target], 0.0)).sum(axis=3)
        q[:, ~model.allowed] = -np.inf
        kept = np.take_along_axis(q, policy[:, :, None], axis=2)[:, :, 0]
        better = q.max(axis=2) > kept + 1e-12 * np.maximum(1.0, np.abs(kept))
        if not better.any() or n >= 10_000:
            break
        policy = np.where(better, q.argmax(axis=2), policy)
    table = Table(origin, step, value.reshape(S, count), policy.T.astype(np.int16))
    checked = sweep(model, gamma, box, 0, table, origin, step, count, "nearest")
    lower, upper = bounds.macqueen_bounds(checked.value, checked.value - table.value, gamma, exact_outside=True)
    slack = rounding(problem, box)
    return Stationary(table, lower - slack, upper + slack, n)


def _evaluate(
    policy: IntArray,
    rows: IntArray,
    columns: IntArray,
    weight: FloatArray,
    inside: NDArray[np.bool_],
    target: IntArray,
    constant: FloatArray,
    gamma: float,
    count: int,
) -> FloatArray:
    """Solve V = constant + gamma P V on (state, node), flattened as state * count + node."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    size = rows.size
    at = (columns, rows, policy)
    here = (rows * count + columns)[:, :, None]
    w = gamma * np.broadcast_to(weight[None], target.shape)[at] * inside[at]
    matrix = sparse.coo_matrix((w.ravel(), (np.broadcast_to(here, w.shape).ravel(), target[at].ravel())), shape=(size, size)).tocsc()
    right = np.empty(size)
    right[here[:, :, 0].ravel()] = constant[at].ravel()
    return np.asarray(spsolve(sparse.identity(size, format="csc") - matrix, right))


def arithmetic(problem: Problem, box: Box) -> float:
    """Bound the rounding of values: sums of a row, the closed form, and their sum over the sweeps."""
    terms = max(int(m.succ.shape[2]) for m in problem.stages) + 16
    steps = 1.0 / (1.0 - problem.gamma) if problem.horizon is None else float(problem.horizon)
    return 2.0**-52 * terms * max(abs(box.slopes[0]), abs(box.slopes[1])) * box.scale * steps


def rounding(problem: Problem, box: Box) -> float:
    """Bound the rounding of values, and what a policy may lose because actions that tie within 1e-12 are not told apart."""
    steps = 1.0 / (1.0 - problem.gamma) if problem.horizon is None else float(problem.horizon)
    return arithmetic(problem, box) + 1e-12 * max(abs(box.slopes[0]), abs(box.slopes[1])) * box.scale * steps
