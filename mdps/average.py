"""Average reward: relative value iteration, Howard's policy iteration and the occupancy linear program.

For any vector h, the optimal gain of every state lies between the least and the largest entry of T h - h, where
(T h)(s) = max_a r(s, a) + sum_j p(j | s, a) h(j); the policy that attains the maxima earns at least the least entry.  So every method
here ends with one sweep and returns that bracket, widened by the rounding the sweep can have suffered: it does not rest on how h was
found.  A model whose gain may depend on the start state (more than one maximal end component) is refused.

The bias solves gain + h = T h.  It is unique up to a constant only if the optimal recurrent classes hang together; otherwise the one
found is returned with a note, and so is its span.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._budget import Budget, Progress
from mdps._build import SMALLEST, UNIT
from mdps._errors import Multichain, NotConverged
from mdps._validate import require_array, require_choice, require_integer, require_positive, require_shape
from mdps.solution import Solution, Status

if TYPE_CHECKING:
    from mdps.models import TabularMDP

__all__ = ["METHODS", "ranked_actions", "remarks", "solve_average"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

METHODS = ("auto", "relative-value-iteration", "howard", "linear-programming")

DEFAULT_ITERATIONS = 1_000_000

_SMALL = 300
"""Up to this many states `auto` starts with Howard's iteration."""

_FACTORISED = 20_000
"""Up to this many states `auto` lets Howard's iteration finish what relative value iteration leaves."""

_PATIENCE = 400
"""Full sweeps that `auto` gives relative value iteration before it turns to Howard's iteration."""

_POLISH = 50
"""Rounds of Howard's rule that a bias is polished with before actions are compared."""

_CHUNK = 32
"""Full sweeps between two looks at the clock and calls of `progress`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The arrays that sweeps need: rows s * A + a of the normalised kernel, rewards with -inf at forbidden actions."""

    mdp: TabularMDP
    dense: FloatArray | None
    csr: Any
    reward: FloatArray
    largest_reward: float
    row_error: float
    longest_row: int

    @property
    def states(self) -> int:
        """Number of states."""
        return self.mdp.n_states

    @property
    def actions(self) -> int:
        """Number of actions."""
        return self.mdp.n_actions

    def backup(self, value: FloatArray) -> FloatArray:
        """Return r + P value, shape (S, A)."""
        image = self.dense @ value if self.dense is not None else self.csr @ value
        return np.asarray((self.reward + image).reshape(self.states, self.actions))

    def rounding(self, value: FloatArray) -> float:
        """Return a bound on the error of a computed entry of T value - value."""
        size = float(np.abs(value).max())
        steps = (self.longest_row + 4) * UNIT
        relative = steps * (self.largest_reward + size) + self.row_error * size + 2 * UNIT * size + self.mdp._reward.error
        # below the normal floats an error is no share of the number but a multiple of the smallest one
        return relative * (1 + 1e-6) + (4 * self.longest_row * SMALLEST if relative > 0 or size > 0 else 0.0)


def solve_average(
    mdp: TabularMDP,
    *,
    method: str = "auto",
    tolerance: float = 1e-8,
    max_iterations: int | None = None,
    initial_value: ArrayLike | None = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
    raise_on_budget: bool = True,
) -> Solution:
    """Return the optimal gain with a bracket, an optimal policy and a bias.

    Parameters
    ----------
    mdp : TabularMDP
        A weakly communicating model; its discount is ignored.
    method : str
        "relative-value-iteration" (with damping where the chain looks periodic), "howard" (policy iteration that keeps the old action
        on ties), "linear-programming" (occupancy program by HiGHS, its policy finished by Howard's rule), or "auto".
    tolerance : float
        `upper - lower <= tolerance * max(1, |gain|)` at return.
    max_iterations : int, optional
        Full sweeps, or rounds of policy iteration; one million by default.
    initial_value : array (S,), optional
        A bias to start from.
    time_limit : float, optional
        Seconds.
    progress : callable, optional
        Called as progress(iterations, width of the bracket); returning False stops the run.
    raise_on_budget : bool
        Raise `NotConverged` where the tolerance is not met; otherwise return the partial solution with its status.

    Returns
    -------
    Solution
        `gain` in [`lower`, `upper`], `bias` with the middle of its range at zero, `span`, `policy` (earns at least `lower`), `notes` (such
        as: the bias is not unique).

    Raises
    ------
    Multichain
        If the gain may depend on the start state.
    NotConverged
        If a budget is spent or rounding forbids the tolerance; the exception carries the partial solution.

    Source: loop_agec, G1; Puterman 1994, chapters 8 and 9.

    Examples
    --------
    >>> from mdps import families
    >>> solution = solve_average(families.river_swim(6))
    >>> round(solution.gain, 10), round(solution.span, 10)
    (0.4286224338, 6.3103243082)
    """
    require_choice("method", method, METHODS)
    require_positive("tolerance", tolerance)
    iterations = DEFAULT_ITERATIONS if max_iterations is None else require_integer("max_iterations", max_iterations)
    if time_limit is not None:
        require_positive("time_limit", time_limit)
    problem = _problem(mdp)
    value = np.zeros(mdp.n_states)
    if initial_value is not None:
        value = require_array("initial_value", initial_value).copy()
        require_shape("initial_value", value, (mdp.n_states,))
        value -= 0.5 * value.max() + 0.5 * value.min()
    _require_one_class(problem)
    run = _Run(problem, tolerance, Budget.start(iterations, time_limit, progress))
    if method == "linear-programming":
        from mdps._howard import occupancy_policy

        outcome = _howard(run, value, occupancy_policy(problem))
    elif method == "howard" or (method == "auto" and mdp.n_states <= _SMALL):
        outcome = _howard(run, value, None)
    else:
        impatient = method == "auto" and mdp.n_states <= _FACTORISED
        outcome = _relative(run, value, _PATIENCE if impatient else iterations)
        if outcome.status is Status.ITERATIONS_SPENT and run.budget.left:
            outcome = _howard(run, outcome.value, outcome.policy)
    solution = _solution(run, outcome, method)
    if raise_on_budget and not solution.converged:
        raise NotConverged(
            f"{solution.method} proved the gain to lie in [{solution.lower!r}, {solution.upper!r}] after {solution.iterations} iterations, "
            f"wanted a tolerance of {tolerance:g}: {solution.status.value}; raise the budget or the tolerance, or pass raise_on_budget=False",
            solution,
        )
    return solution


def remarks(solution: Solution) -> tuple[str, ...]:
    """Return what a reader of an average-reward solution should know.

    Every optimal recurrent class uses only actions that attain the maximum in the optimality equation, whatever solution of it was
    found, so the bias is unique up to a constant exactly when those actions form one maximal end component.

    Parameters
    ----------
    solution : Solution
        Of an average-reward model.

    Returns
    -------
    tuple of str
        A note if the bias and its span are not unique (judged at the accuracy of the solution).
    """
    from mdps._graph import end_components, graph_of

    attained = solution.action_value >= solution.action_value.max(axis=1, keepdims=True) - solution.slack
    found = end_components(graph_of(solution.model), rows=attained.ravel())
    if len(found) <= 1:
        return ()
    return (
        f"the bias is not unique: {len(found)} optimal recurrent classes do not hang together; another solution of the optimality "
        f"equation may have a span other than {solution.span:.6g}",
    )


def ranked_actions(solution: Solution) -> tuple[FloatArray, float]:
    """Return action values of an accurate bias, and how far below the best one an optimal action may be found.

    A bracket of width w on the gain leaves the bias uncertain by w times the time that the chain takes to mix, so the bias is first
    polished by Howard's rule.  If h is the bias found of a policy, with a residual of at most e, and M its longest expected time to one
    recurrent state, then h is off by at most M e, up to a constant.

    Parameters
    ----------
    solution : Solution
        Of an average-reward model.

    Returns
    -------
    tuple
        Action values (S, A), and the slack; above 20,000 states those of the solution itself, unpolished.
    """
    from mdps._graph import closed_classes, graph_of_chain
    from mdps._howard import chain_of
    from mdps.hitting import hitting_times
    from mdps.operators import action_values

    mdp = solution.model
    assert solution.bias is not None
    if mdp.n_states > _FACTORISED:
        return solution.action_value, solution.slack
    problem = _problem(mdp)
    outcome = _howard(_Run(problem, 1e-15, Budget.start(_POLISH, None, None)), solution.bias, solution.policy)
    values = action_values(mdp, outcome.value, 1.0)
    policy, error = outcome.evaluated, problem.rounding(outcome.value)
    if policy is None or not np.isfinite(outcome.high - outcome.low):
        return values, np.inf
    anchor = int(closed_classes(graph_of_chain(chain_of(problem, np.arange(problem.states) * problem.actions + policy)))[0][0])
    try:
        longest = float(hitting_times(mdp, anchor, policy=policy).max())
    except NotConverged:
        return values, np.inf
    width = outcome.high - outcome.low + 2 * error
    floor = 1e-10 * (problem.largest_reward + float(np.abs(outcome.value).max()))
    return values, max(2 * (longest * width + error) * (1 + 1e-6), floor)


@dataclass(frozen=True, slots=True)
class _Run:
    problem: Problem
    tolerance: float
    budget: Budget


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: FloatArray
    policy: IntArray
    low: float
    high: float
    method: str
    status: Status
    evaluated: IntArray | None = None
    """The policy of which `value` is the bias, where it is one."""


def _problem(mdp: TabularMDP) -> Problem:
    from mdps.models import working_deviation

    divide, row_error = working_deviation(mdp._kernel)
    reward = mdp.expected_reward
    largest = float(np.abs(reward).max())
    if mdp.action_mask is not None:
        reward = np.where(mdp.action_mask, reward, -np.inf)
    if not mdp.is_sparse:
        dense = mdp.dense().reshape(-1, mdp.n_states)
        if divide:
            sums = dense.sum(axis=1, keepdims=True)
            dense = dense / np.where(sums > 0, sums, 1.0)
        return Problem(mdp, dense, None, reward.ravel(), largest, row_error, mdp.n_states)
    matrix = mdp.csr()
    if divide:
        sums = np.asarray(matrix.sum(axis=1)).ravel()
        matrix = type(matrix)((matrix.data / np.repeat(sums, np.diff(matrix.indptr)), matrix.indices, matrix.indptr), shape=matrix.shape)
    return Problem(mdp, None, matrix, reward.ravel(), largest, row_error, int(np.diff(matrix.indptr).max()))


def _require_one_class(problem: Problem) -> None:
    from mdps._kernels_average import reach_all_dense, reach_all_sparse

    if problem.dense is not None:
        if reach_all_dense(problem.dense, problem.actions, 8):
            return
    else:
        csr = problem.csr
        if reach_all_sparse(csr.indptr.astype(np.uint64), csr.indices, csr.data, problem.actions, 8):
            return
    from mdps._graph import end_components, graph_of

    found = end_components(graph_of(problem.mdp))
    if len(found) > 1:
        raise Multichain(
            tuple(tuple(int(s) for s in states[:5]) for states in found),
            "its optimal gain may depend on the start state",
        )


def _relative(run: _Run, value: FloatArray, sweeps: int) -> _Outcome:
    from mdps._kernels_average import relative_dense, relative_sparse

    problem, budget = run.problem, run.budget
    image, policy = np.empty(problem.states), np.zeros(problem.states, dtype=np.int64)
    steps = np.zeros(4)
    # measured: with few successors a greedy sweep is far cheaper than a full one; dense rows mix so fast that two are enough
    inner = 0 if problem.actions == 1 else 2 if problem.dense is not None else 8 if problem.actions == 2 else 4
    target, status = 0.9 * run.tolerance, None
    pointers: Any = None if problem.dense is not None else problem.csr.indptr.astype(np.uint64)
    while status is None:
        size, done = min(_CHUNK, budget.left, sweeps - budget.iterations), budget.iterations
        if problem.dense is not None:
            count, low, high = relative_dense(
                problem.dense, problem.reward, problem.actions, value, image, policy, target, size, inner, steps, done
            )
        else:
            csr = problem.csr
            count, low, high = relative_sparse(
                pointers, csr.indices, csr.data, problem.reward, problem.actions, value, image, policy, target, size, inner, steps, done
            )
        goes_on = budget.spend(count, high - low)
        if not np.isfinite(high - low):
            return _Outcome(value, policy, low, high, "relative-value-iteration", Status.ROUNDING)
        scale, error = max(1.0, abs(0.5 * low + 0.5 * high)), problem.rounding(value)
        if high - low + 2 * error <= run.tolerance * scale:
            status = Status.CONVERGED
        elif 2 * error >= run.tolerance * scale and high - low <= max(error, target * scale):
            status = Status.ROUNDING
        elif not goes_on or budget.iterations >= sweeps:
            status = budget.spent or Status.ITERATIONS_SPENT
        elif high - low <= target * scale:
            # the sweeps reached their goal but the rounding takes the rest: ask them for what is left
            target = min(0.5 * target, run.tolerance - 2.1 * error / scale)
            status = Status.ROUNDING if target <= 0 else None
    return _Outcome(value, policy, low, high, "relative-value-iteration", status)


def _howard(run: _Run, value: FloatArray, policy: IntArray | None) -> _Outcome:
    from mdps._howard import evaluate_unichain, make_unichain

    problem = run.problem
    states = np.arange(problem.states)
    if policy is None:
        policy = problem.backup(value).argmax(axis=1)
    seen: set[bytes] = set()
    while True:
        policy = make_unichain(problem, policy)
        # where the chain mixes so slowly that rounding in the linear solve feigns gains, policies come back
        again = (mark := policy.tobytes()) in seen
        seen.add(mark)
        bias = evaluate_unichain(problem, policy)
        value = value if bias is None else bias
        action_values = problem.backup(value)
        best = action_values.max(axis=1)
        low, high = float((best - value).min()), float((best - value).max())
        goes_on = run.budget.spend(1, high - low)
        if not np.isfinite(high - low):
            return _Outcome(value, policy, low, high, "howard", Status.ROUNDING)
        # keep the old action unless the gain is real: rounding must not make the iteration cycle
        margin = 1e-12 * (problem.largest_reward + float(np.abs(value).max()))
        improved = best > action_values[states, policy] + margin
        if bias is None or again or not improved.any():
            scale = max(1.0, abs(0.5 * low + 0.5 * high))
            met = high - low + 2 * problem.rounding(value) <= run.tolerance * scale
            status = Status.CONVERGED if met else Status.ROUNDING
            return _Outcome(value, action_values.argmax(axis=1), low, high, "howard", status, None if bias is None else policy)
        if not goes_on:
            status = run.budget.spent or Status.ITERATIONS_SPENT
            return _Outcome(value, action_values.argmax(axis=1), low, high, "howard", status, None if bias is None else policy)
        policy = np.where(improved, action_values.argmax(axis=1), policy)


def _myopic(problem: Problem, outcome: _Outcome) -> _Outcome:
    """Return the bracket of h = 0: no gain is above the largest reward, and none need be below the least of the best ones."""
    reward = problem.reward.reshape(problem.states, problem.actions)
    best = reward.max(axis=1)
    return replace(outcome, value=np.zeros(problem.states), policy=reward.argmax(axis=1), low=float(best.min()), high=float(best.max()))


def _solution(run: _Run, outcome: _Outcome, method: str) -> Solution:
    if outcome.status is not Status.CONVERGED:
        # a bias that overflowed, or is too large for its rounding, proves less than none at all
        myopic = _myopic(run.problem, outcome)
        radius = outcome.high - outcome.low + 2 * run.problem.rounding(outcome.value)
        if not radius <= myopic.high - myopic.low + 2 * run.problem.rounding(myopic.value):
            outcome = myopic
    value = outcome.value - (0.5 * outcome.value.max() + 0.5 * outcome.value.min())
    error = run.problem.rounding(outcome.value)
    lower, upper = outcome.low - error, outcome.high + error
    return Solution(
        value=value,
        limits=(lower, upper),
        policy=outcome.policy,
        iterations=run.budget.iterations,
        method="linear-programming" if method == "linear-programming" else outcome.method,
        status=outcome.status,
        criterion="average",
        model=run.problem.mdp,
        slack=max(4 * (upper - lower), 1e-10 * (run.problem.largest_reward + float(np.abs(value).max()))),
        gain=0.5 * lower + 0.5 * upper,
        bias=value,
    )
