"""Expected hitting times and the diameter.

Let T h = min_a (1 + P_a h) outside the target and 0 inside.  If T h <= h + e with e < 1, then h / (1 - e) is at least the expected
time of the policy that attains the minimum, and if T h >= h - e then h / (1 + e) is at most the least expected time of any policy:
a residual of e steps is a relative error of about e, whatever the size of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._chain import normalised, policy_chain, require_tabular
from mdps._errors import InfiniteDiameter, ModelError, NotConverged
from mdps._validate import require_integer, require_integer_between, require_positive

if TYPE_CHECKING:
    from mdps._graph import Graph
    from mdps.models import TabularMDP

__all__ = ["diameter", "hitting_times"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_DENSE_STATES = 1500
"""Linear systems up to this size are solved dense."""

_SWEEPS = 64
"""Sweeps between two attempts to solve for the greedy policy."""

_FAILURES = 5
"""Failed attempts before they are given up."""

_DIRECT_STATES = 20_000
"""Linear systems up to this size are solved by a sparse factorisation; beyond, fill-in may cost more memory than the model."""


def hitting_times(
    mdp: TabularMDP, target: int | ArrayLike, *, policy: ArrayLike | None = None, tolerance: float = 1e-10, max_sweeps: int = 1_000_000
) -> FloatArray:
    """Return the expected number of steps to reach a target from every state: the least over policies, or that of one policy.

    States that no policy brings to the target with probability 1 get infinity.  Policy iteration from a policy that surely arrives
    (found by searching backwards) up to 20,000 states; beyond, value iteration in alternating order, helped by Krylov solutions for
    the greedy policy, until the relative error is proved to be at most `tolerance`.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    target : int or array of int
        State or states to reach; 0 steps there.
    policy : array (S,) of actions or (S, A) of probabilities, optional
        Follow this policy instead of the fastest one.
    tolerance : float
        Relative error where the result comes from sweeps.
    max_sweeps : int
        Sweeps to spend at most.

    Returns
    -------
    array (S,)
        Expected steps, infinity where the target is not reached surely.

    Raises
    ------
    ModelError
        If the target is no state of the model.
    NotConverged
        If the sweeps are spent; the exception carries the last times.

    Source: loop_agec, setting.

    Examples
    --------
    >>> from mdps import families
    >>> hitting_times(families.gridworld(2, slip=0.0), 3).tolist()
    [2.0, 1.0, 1.0, 0.0]
    """
    from mdps._graph import graph_of, graph_of_chain

    require_tabular(mdp)
    require_positive("tolerance", tolerance)
    require_integer("max_sweeps", max_sweeps)
    wanted = np.zeros(mdp.n_states, dtype=bool)
    for state in np.atleast_1d(np.asarray(target)):
        wanted[require_integer_between("target", state, 0, mdp.n_states - 1)] = True
    if not wanted.any():
        raise ModelError("target must name at least one state, got an empty array")
    if policy is not None:
        chain = policy_chain(mdp, policy)
        return _times(graph_of_chain(chain), chain, wanted, tolerance, max_sweeps)
    return _times(graph_of(mdp), normalised(mdp), wanted, tolerance, max_sweeps)


def diameter(mdp: TabularMDP, *, tolerance: float = 1e-10) -> float:
    """Return the diameter: the largest, over pairs of states, of the least expected number of steps from one to the other.

    Every target is first bracketed within 1 % by sweeps with the certificate above; only targets whose upper
    bound reaches the largest lower bound are then solved by policy iteration.  Costs about S times one shortest path problem: seconds
    at a thousand sparse states.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    tolerance : float
        Relative error.

    Returns
    -------
    float
        The diameter; 0 for a single state.

    Raises
    ------
    InfiniteDiameter
        If some state is not reached surely from another one under any policy; the exception names the pair.

    Source: loop_agec, setting and G1.

    Examples
    --------
    >>> from mdps import families
    >>> round(diameter(families.river_swim(3)), 10)
    4.7619047619
    """
    from mdps._graph import components, graph_of, surely_reaching

    require_tabular(mdp)
    require_positive("tolerance", tolerance)
    graph, matrix = graph_of(mdp), normalised(mdp)
    states = mdp.n_states
    if components(graph)[0] > 1:
        for target in range(states):
            sure = surely_reaching(graph, np.arange(states) == target)[0]
            if not sure.all():
                raise InfiniteDiameter(int(np.flatnonzero(~sure)[0]), target)
    upper = np.full(states, np.inf)
    if states > 32:
        upper = _coarse_times(graph, matrix)
    best = 0.0
    for target in np.argsort(-upper):
        if upper[target] < best:
            break
        best = max(best, float(_times(graph, matrix, np.arange(states) == target, tolerance, 1_000_000).max()))
    return best


def _times(graph: Graph, matrix: Any, target: BoolArray, tolerance: float, max_sweeps: int) -> FloatArray:
    """Return least expected times for the kernel `matrix` (S*A, S) with the given graph."""
    from mdps._graph import surely_reaching

    sure, rows, policy = surely_reaching(graph, target)
    active = np.flatnonzero(sure & ~target)
    times = np.where(sure, 0.0, np.inf)
    if not active.size:
        return times
    if active.size > _DIRECT_STATES:
        return _swept_times(graph, matrix, rows, active, times, tolerance, max_sweeps)
    for _ in range(10_000):
        chosen = matrix[active * graph.actions + policy[active]]
        times[active] = _solve_times(chosen[:, active])
        finite = np.where(sure, times, 0.0)
        action_times = np.where(rows, 1.0 + matrix @ finite, np.inf).reshape(graph.states, graph.actions)
        current = np.where(sure & ~target, action_times[np.arange(graph.states), policy], 0.0)
        better = action_times.argmin(axis=1)
        # keep the old action unless the gain is real: rounding must not make the iteration cycle
        change = action_times.min(axis=1) < current - 1e-12 * np.maximum(1.0, current)
        if not change.any():
            return times
        policy = np.where(change, better, policy)
    raise NotConverged("policy iteration for hitting times did not settle", times)


def _solve_times(chain: Any) -> FloatArray:
    """Return (I - chain)^-1 1 for a transient chain."""
    size = chain.shape[0]
    try:
        if size <= _DENSE_STATES:
            times = np.asarray(np.linalg.solve(np.eye(size) - chain.toarray(), np.ones(size)))
        else:
            from scipy.sparse import csc_array, eye_array
            from scipy.sparse.linalg import splu

            times = np.asarray(splu(csc_array(eye_array(size) - chain)).solve(np.ones(size)))
    except (np.linalg.LinAlgError, RuntimeError):  # splu reports a singular factor as a RuntimeError
        times = np.full(size, np.nan)
    if not (times >= 1 - 1e-6).all():
        raise NotConverged("hitting times: the target is reached by probabilities too small for floating point", times)
    return times


def _swept_times(
    graph: Graph, matrix: Any, rows: BoolArray, active: IntArray, times: FloatArray, tolerance: float, max_sweeps: int
) -> FloatArray:
    from mdps._kernels_average import hitting_sparse

    flags = np.zeros(graph.states, dtype=bool)
    flags[active] = True
    finite = np.where(np.isfinite(times), times, 0.0)
    pointers = matrix.indptr.astype(np.uint64)

    def sweep(start: FloatArray, count: int) -> tuple[FloatArray, float, int]:
        values = start.copy()
        done, low, high = hitting_sparse(pointers, matrix.indices, matrix.data, rows, flags, graph.actions, values, tolerance, count)
        return values, max(-low, high), done

    finite, error, sweeps = sweep(finite, min(_SWEEPS, max_sweeps))
    failures = 0
    while error > tolerance and sweeps < max_sweeps:
        if failures < _FAILURES:
            # a Krylov solution for the greedy policy is only a guess: it is kept where it cuts the residual tenfold
            trial, found, done = sweep(_greedy_times(graph, matrix, rows, active, finite), min(_SWEEPS, max_sweeps - sweeps))
            sweeps += done
            if found < 0.1 * error:
                finite, error = trial, found
                continue
            failures += 1
        finite, error, done = sweep(finite, min(2**failures * _SWEEPS, max_sweeps - sweeps))
        sweeps += done
    result = np.where(np.isfinite(times), finite, np.inf)
    if error > tolerance:
        raise NotConverged(f"hitting times: {sweeps} sweeps left a relative error of {error:.3g}, above {tolerance:g}", result)
    return result


def _greedy_times(graph: Graph, matrix: Any, rows: BoolArray, active: IntArray, times: FloatArray) -> FloatArray:
    """Return the times of the greedy policy by BiCGSTAB started from `times`, or `times` where that fails."""
    from scipy.sparse.linalg import LinearOperator, bicgstab

    action_times = np.where(rows, 1.0 + matrix @ times, np.inf).reshape(graph.states, graph.actions)
    chain = matrix[active * graph.actions + action_times.argmin(axis=1)[active]][:, active]
    system = LinearOperator((active.size, active.size), matvec=lambda x: x - chain @ x, dtype=np.float64)
    residual = 1.0 - (times[active] - chain @ times[active])
    step, _ = bicgstab(system, residual, rtol=1e-6, maxiter=400)
    guess = times.copy()
    if np.isfinite(step).all():
        guess[active] += step
    return guess


def _coarse_times(graph: Graph, matrix: Any) -> FloatArray:
    """Return for every target an upper bound, within about 1 %, on the largest least expected time to it (communicating models)."""
    from mdps._kernels_average import hitting_sparse

    indptr = matrix.indptr.astype(np.uint64)
    rows = np.diff(graph.indptr) > 0
    upper = np.empty(graph.states)
    for target in range(graph.states):
        active = np.ones(graph.states, dtype=bool)
        active[target] = False
        times = np.zeros(graph.states)
        _, _, high = hitting_sparse(indptr, matrix.indices, matrix.data, rows, active, graph.actions, times, 1e-2, 100_000)
        upper[target] = times.max() / (1.0 - high) * (1.0 + 1e-9) if high < 1.0 else np.inf
    return upper
