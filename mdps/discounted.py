"""Discounted reward: value iteration, modified policy iteration, policy iteration, Gauss-Seidel, linear programming.

Whatever the algorithm, its last act is one sweep t = T v whose change t - v gives the bracket (`mdps.operators`).  Stopping on the span of
the change instead of its size is what makes the sweeps few: only differences between states must settle, not their common level.
Source: robust_tabular; MacQueen 1966, Puterman 1994 (6.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._budget import Budget
from mdps._build import UNIT
from mdps.models import TabularMDP
from mdps.operators import Bracket, Work, bracket, shift, work_of
from mdps.policy_rows import policy_rows
from mdps.solution import Solution, Status, unbounded

__all__ = ["METHODS", "solve_discounted"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METHODS = ("value-iteration", "gauss-seidel", "modified-policy-iteration", "policy-iteration", "krylov-policy-iteration", "linear-programming")

DIRECT_STATES = 128
"""Models up to this size go to policy iteration with a dense factorisation when the method is left open."""
RATIONAL_STATES = 16
"""Models up to this size are solved in fractions where floating point cannot reach the tolerance."""
PILOT_SWEEPS, POLICY_SWEEPS, SETTLED = 10, 40, 0.05
"""Sweeps over the greedy rows between two over all actions: so many to see how fast the chain mixes, then at most so many more, until the
span of the change shrank by this factor."""
SLOW_SWEEPS, SLOW_ROUNDS = 100, 4
"""Predicted further sweeps, and rounds in which they were predicted (those of thrice as many count twice), above which modified policy
iteration hands over to a method that does not depend on mixing."""


@dataclass(frozen=True, eq=False, slots=True)
class Point:
    """A vector v, its image t = T v with greedy actions, and the bracket that they give."""

    v: FloatArray
    t: FloatArray
    policy: IntArray
    bracket: Bracket
    span: float
    """Of t - v."""
    scale: float
    """Lower bound on max(1, |V*|)."""
    floor: float
    """Radius that would remain if the span were zero."""

    def meets(self, tolerance: float) -> bool:
        """Whether the midpoint of the bracket is within tolerance * max(1, |V*|) of V*."""
        size = max(abs(self.bracket.below), abs(self.bracket.above)) + self.scale
        return self.bracket.radius * (1 + 1e-9) + 4 * UNIT * size <= tolerance * self.scale


def solve_discounted(mdp: TabularMDP, *, method: str, tolerance: float, budget: Budget, initial: FloatArray | None) -> Solution:
    """Solve a discounted model; `mdps.solve` is the public door."""
    assert mdp.discount is not None
    work, g = work_of(mdp), mdp.discount
    v = work.reward.max(axis=1) if initial is None else initial
    if method == "auto":
        point, method = _auto(work, g, v, tolerance, budget)
    else:
        point = _RUNS[method](work, g, v, tolerance, budget)
    if work.n_states <= RATIONAL_STATES and budget.spent is None and not point.meets(tolerance):
        point = _rational(mdp, work, g, point)
    return _finish(mdp, point, method, tolerance, budget)


def look(work: Work, g: float, v: FloatArray) -> Point:
    """Apply T to v, shifted so that its values lie around zero: that keeps rounding at the size of their differences."""
    v = v - (0.5 * v.min() + 0.5 * v.max())
    t, policy = work.sweep(v, g)
    return _point(work, g, v, t, policy)


def _point(work: Work, g: float, v: FloatArray, t: FloatArray, policy: IntArray) -> Point:
    change = t - v
    low, high = float(change.min()), float(change.max())
    t_low, t_high = float(t.min()), float(t.max())
    v_size = max(float(v.max()), -float(v.min()))
    t_size = max(abs(t_low), abs(t_high))
    found = bracket(work, g, low, high, v_size, t_size)
    scale = max(1.0, t_high + found.below, -(t_low + found.above))
    floor = found.radius - 0.5 * g * (high - low) / (1.0 - g)
    return Point(v, t, policy, found, high - low, scale, floor)


def _stuck(point: Point) -> bool:
    """Whether rounding alone makes up most of the radius, so that more sweeps cannot help."""
    return not point.bracket.radius > 2 * point.floor


def _value_iteration(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget) -> Point:
    while True:
        point = look(work, g, v)
        if not budget.spend(1, point.bracket.radius) or point.meets(tolerance) or _stuck(point):
            return point
        v = point.t


def _modified_policy_iteration(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget) -> Point:
    return _alternate(work, g, v, tolerance, budget, np.inf)[0]


def _alternate(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget, patience: float) -> tuple[Point, float]:
    """Alternate sweeps over all actions with sweeps over the greedy rows, which cost 1/A of the former.

    Returns early once evaluating a fixed policy, which shows how fast the chain mixes, promises more than `patience` further sweeps; with
    the point comes the largest number promised.
    """
    point = look(work, g, v)
    slow, most = 0, 0.0
    while budget.spend(1, point.bracket.radius) and not point.meets(tolerance) and not _stuck(point):
        wanted = 0.5 * (1.0 - g) * tolerance * point.scale
        goal = max(SETTLED * point.span, wanted)
        rows = policy_rows(work, point.policy)
        v, early = rows.iterate(point.t, g, PILOT_SWEEPS, goal)
        if early > goal:
            rate = np.log(point.span / early) / PILOT_SWEEPS
            further = np.log(early / wanted) / rate if rate > 0 else np.inf
            most = max(most, further)
            slow = slow + 1 + (further > 3 * patience) if further > patience else 0
            if slow >= SLOW_ROUNDS:
                break
            v, _ = rows.iterate(v, g, POLICY_SWEEPS, goal)
        point = look(work, g, v)
    return point, most


def _policy_iteration(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget, krylov: bool = False) -> Point:
    """Improve and evaluate exactly; an action changes only where it gains more than rounding can feign, until that settles."""
    S = work.n_states
    states = np.arange(S)
    policy = work.action_values(v, g).argmax(axis=1)
    extra = 0
    seen: set[bytes] = set()
    while True:
        # where rounding in the linear solve feigns gains, policies come back
        again = (mark := policy.tobytes()) in seen
        seen.add(mark)
        rows = policy_rows(work, policy)
        v = rows.solve_krylov(v, g, tolerance) if krylov else rows.solve(g)
        v = v - (0.5 * v.min() + 0.5 * v.max())
        q = work.action_values(v, g)
        greedy = q.argmax(axis=1)
        t = q[states, greedy]
        gain = t - q[states, policy]
        noise = 2 * work.error(float(np.abs(v).max()), float(np.abs(t).max()), g)
        point = _point(work, g, v, t, greedy)
        better = gain > noise
        if again or not better.any():
            if point.meets(tolerance) or extra >= 10:
                budget.spend(1, point.bracket.radius)
                return point
            # what is left may be rounding in the linear solve: follow every gain and refine
            better, extra, v = gain > 0, extra + 1, t
            if again or not better.any() or extra > 3:
                point = _refine(work, g, point, tolerance)
                budget.spend(1, point.bracket.radius)
                return point
        if not budget.spend(1, point.bracket.radius):
            return point
        policy = np.where(better, greedy, policy)


def _refine(work: Work, g: float, point: Point, tolerance: float) -> Point:
    """Sweep while that narrows the bracket."""
    for _ in range(50):
        following = look(work, g, point.t)
        if following.bracket.radius >= 0.9 * point.bracket.radius or following.meets(tolerance):
            return following if following.bracket.radius < point.bracket.radius else point
        point = following
    return point


def _rational(mdp: TabularMDP, work: Work, g: float, point: Point) -> Point:
    """Solve exactly; what remains of the bracket is the rounding of its own two vectors."""
    from mdps import exact

    start = np.where(np.isfinite(work.reward[np.arange(work.n_states), point.policy]), point.policy, work.reward.argmax(axis=1))
    solution = exact.solve(mdp, policy=start)
    try:
        t = np.array([float(x) for x in solution.value])
    except OverflowError:  # the exact value is beyond the floats
        return point
    c = shift(g, 0.0, 0.0, 2 * float(np.abs(t).max()))
    found = Bracket(c, -c)
    scale = max(1.0, float(t.max()) + c, -(float(t.min()) - c))
    return Point(t, t, solution.policy, found, 0.0, scale, found.radius)


def _krylov(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget) -> Point:
    return _policy_iteration(work, g, v, tolerance, budget, krylov=True)


def _gauss_seidel(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget, rounds: float = np.inf) -> Point:
    """Sweep in place, breadth-first away from the absorbing states, from a subsolution upwards: one pass carries news through the model.

    The states are renamed in that order, so that memory is read forwards.  A round is five sweeps, four of which keep to the greedy actions.
    """
    from mdps._kernels import gauss_seidel

    point = look(work, g, v)
    order, stays = _visiting_order(work)
    indptr, indices, data, reward = _permuted(work, order)
    v = point.t + point.bracket.below if np.isfinite(point.bracket.below) else point.t.copy()
    v[stays] = work.reward[stays].max(axis=1) / (1.0 - g)
    v, policy = v[order], point.policy[order].astype(np.int64)
    unordered = np.empty_like(v)
    since, ahead = 0, 2.0
    last = budget.iterations + rounds
    while budget.spend(1) and not point.meets(tolerance) and not _stuck(point):
        change = np.inf
        for greedy in (True, False, False, False, False):
            change = gauss_seidel(indptr, indices, data, reward, g, v, policy, greedy)
        since += 1
        over = budget.iterations >= last
        wanted = 2 * (1.0 - g) * tolerance * point.scale / g
        if change <= ahead * wanted or since >= 40 or over:
            if change <= ahead * wanted:
                ahead *= 0.5
            unordered[order] = v
            point, since = look(work, g, unordered), 0
            if not budget.spend(0, point.bracket.radius) or over:
                break
    return point


def _visiting_order(work: Work) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Return the states breadth-first from the absorbing ones, or from the best one if there is none, and which ones are absorbing."""
    from mdps._kernels import absorbing, breadth_first

    indptr, indices, data = work.rows()
    order, stays = np.empty(work.n_states, dtype=np.int64), np.empty(work.n_states, dtype=bool)
    count = absorbing(indptr, indices, data, work.reward, stays)
    roots = np.flatnonzero(stays) if count else np.array([int(work.reward.max(axis=1).argmax())])
    breadth_first(indptr, indices, work.n_actions, roots, order)
    return order, stays


def _permuted(work: Work, order: IntArray) -> Any:
    """Return (indptr, indices, data, reward) with state order[i] renamed to i."""
    from mdps._kernels import permute

    indptr, indices, data = work.rows()
    found = np.empty_like(indptr), np.empty_like(indices), np.empty_like(data), np.empty_like(work.reward)
    permute(indptr, indices, data, work.reward, order, *found)
    return found


def _linear_programming(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget) -> Point:
    """Minimise the sum of v subject to v >= r + g P v (HiGHS), then evaluate its greedy policy exactly."""
    from scipy import sparse
    from scipy.optimize import linprog

    S, A = work.n_states, work.n_actions
    usable = np.flatnonzero(np.isfinite(work.reward.ravel()))
    size = work.reward_size or 1.0
    own = sparse.csr_matrix((np.ones(S * A), (np.arange(S * A), np.repeat(np.arange(S), A))), shape=(S * A, S))
    constraint = (g * work.csr() - own)[usable]
    result = linprog(np.full(S, (1.0 - g) / S), constraint, -work.reward.ravel()[usable] / size, bounds=(None, None), method="highs")
    if result.x is not None:
        v = size * result.x
    return _policy_iteration(work, g, v, tolerance, budget)


def _auto(work: Work, g: float, v: FloatArray, tolerance: float, budget: Budget) -> tuple[Point, str]:
    if work.n_states <= DIRECT_STATES:
        return _policy_iteration(work, g, v, tolerance, budget), "policy-iteration"
    point, predicted = _alternate(work, g, v, tolerance, budget, SLOW_SWEEPS)
    if point.meets(tolerance) or budget.spent is not None or _stuck(point):
        return point, "modified-policy-iteration"
    if work.matrix is None and work.n_states > 2_000:
        # no more sweeps than those that were predicted: on some chains these, too, are slow
        point = _gauss_seidel(work, g, point.t + 0.5 * (point.bracket.below + point.bracket.above), tolerance, budget, predicted / 5)
        if point.meets(tolerance) or budget.spent is not None or _stuck(point):
            return point, "gauss-seidel"
    elif work.n_states <= 3_000:
        return _policy_iteration(work, g, point.t, tolerance, budget), "policy-iteration"
    return _modified_policy_iteration(work, g, point.t, tolerance, budget), "modified-policy-iteration"


_RUNS: dict[str, Any] = {
    "value-iteration": _value_iteration,
    "gauss-seidel": _gauss_seidel,
    "modified-policy-iteration": _modified_policy_iteration,
    "policy-iteration": _policy_iteration,
    "krylov-policy-iteration": _krylov,
    "linear-programming": _linear_programming,
}


def _finish(mdp: TabularMDP, point: Point, method: str, tolerance: float, budget: Budget) -> Solution:
    assert mdp.discount is not None
    below, above = point.bracket.below, point.bracket.above
    value = point.t + (0.5 * (below + above) if np.isfinite(above - below) else 0.0)
    lower, upper = unbounded(point.t + below, point.t + above)
    if mdp.terminal is not None:
        for array in (value, lower, upper):
            array[mdp.terminal] = 0.0
    error = float(max((upper - value).max(), (value - lower).max()))
    if point.meets(tolerance):
        status = Status.CONVERGED
    else:
        status = budget.spent or Status.ROUNDING
    size = float(np.abs(value).max())
    slack = 2 * (mdp.discount * error + work_of(mdp).error(size, size + error, mdp.discount)) * (1 + 1e-9)
    for values in (value, lower, upper):
        values.setflags(write=False)
    point.policy.setflags(write=False)
    return Solution(value, (lower, upper), point.policy, budget.iterations, method, status, "discounted", mdp, slack)
