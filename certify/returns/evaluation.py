"""The law of the return of a policy: exact, categorical or by quantiles, with a certified Wasserstein error.

The categorical recursion starts at the lowest atom.  Each projection then adds centred noise that is orthogonal to everything before it,
so the law computed is the law of G + noise: the error is at most the root of the noise's second moment, which the sweep accumulates
exactly, and the lower CVaR read off is a guaranteed lower bound (distributional_dp/B4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_increasing, require_integer_at_least, require_tau
from certify.returns._model import Arrays, Problem, extremes, read_problem
from certify.returns.laws import LEVEL, MERGE, Law, merge_moved
from theory import distributional_dp as bounds

__all__ = ["ReturnLaw", "return_distribution"]

FloatArray = NDArray[np.float64]

REPRESENTATIONS = ("categorical", "quantile", "exact")
UNIT = 2.0**-53
OUTSIDE = 1e-12
"""What leaves a grid by at most this, relative to its larger end, is moved to the end without being called clipped."""


@dataclass(frozen=True, slots=True, eq=False)
class ReturnLaw:
    """The law of the return from every state, with what is certified about it.

    `laws[s]` is within `wasserstein_errors[s]` of the true law in W_1; `law` is that of the initial distribution and `wasserstein_error`
    bounds the error of every one of them.  `mean_preserving` says that nothing was clipped, in which case a categorical law has the true
    mean (up to the start, gamma^n times the range) and its lower CVaR is a lower bound (see `cvar`).  `variance_inflation` bounds the
    difference between the variances of `laws[s]` and of the true law, to which projection only adds; None where nothing is known.
    """

    laws: tuple[Law, ...]
    law: Law
    representation: str
    wasserstein_errors: FloatArray
    variance_inflation: float | None
    mean_preserving: bool
    sweeps: int
    gamma: float
    horizon: int | None
    clipped: float
    assumptions: tuple[str, ...]
    _rounding: float = field(default=0.0, repr=False)

    @property
    def wasserstein_error(self) -> float:
        """Certified bound on the W_1 distance to the true law, the largest over the states."""
        return float(self.wasserstein_errors.max())

    @property
    def atoms(self) -> FloatArray:
        """Atoms of the law from the initial distribution."""
        return self.law.as_floats()[0]

    @property
    def probabilities(self) -> FloatArray:
        """Probabilities of the law from the initial distribution."""
        return self.law.as_floats()[1]

    @property
    def mean(self) -> float:
        """Mean of the law from the initial distribution."""
        return float(self.law.mean())

    def cvar(self, tau: float, *, tail: str = "lower") -> tuple[float, float]:
        """Return certified lower and upper bounds on the tail mean of the return from the initial distribution.

        Parameters
        ----------
        tau : float in (0, 1]
            Mass of the tail.
        tail : str
            `"lower"` or `"upper"`.

        Returns
        -------
        tuple of float
            The computed tail mean -+ error/tau; one side is the tail mean itself where projection is a mean-preserving spread.

        Source: distributional_dp/B4-cvar, B4-sweeps.
        """
        require_tau(tau)
        value = float(self.law.cvar(tau, tail=tail))
        gap = self.wasserstein_error / tau
        if self.mean_preserving and self.representation == "categorical" and tail == "lower":
            return value - (self._rounding + 64 * UNIT * self.sweeps * max(1.0, float(np.abs(self.atoms).max()))) / tau, value + gap
        return value - gap, value + gap


def return_distribution(
    mdp: Any,
    policy: Any,
    *,
    representation: str = "categorical",
    atoms: int | ArrayLike = 201,
    horizon: int | None = None,
    initial: Any = None,
    sweeps: int | None = None,
    clip: bool = False,
    limit: int = 2_000_000,
) -> ReturnLaw:
    r"""Compute the law of the return of a policy with a certified error.

    Parameters
    ----------
    mdp : mdps.TabularMDP or mdps.FiniteHorizonMDP
        The model; with a discount below 1 unless a horizon is given.
    policy : array (S,), (S, A), (H, S) or (H, S, A)
        Actions or probabilities of actions, for each step where it depends on time (finite horizon only).
    representation : str
        `"categorical"`: a grid with B4's error; `"quantile"`: equally weighted atoms with B3's error; `"exact"`: every atom (finite
        horizon, or as many steps as `limit` allows with the tail gamma^n as error).
    atoms : int or array (K,)
        Number of atoms, or the grid itself (categorical, strictly increasing).
    horizon : int, optional
        Number of steps; None takes that of the model, or an infinite horizon.
    initial : int or array (S,), optional
        First state or its distribution; the model's own if None, and state 0 if it has none.
    sweeps : int, optional
        Sweeps for an infinite horizon; by default until the start contributes less than 1e-12 of the range.
    clip : bool
        Accept mass outside the given grid at its ends.  The error then includes the bias; means are not preserved.
    limit : int
        Largest number of atoms of all states together for the exact representation.

    Returns
    -------
    ReturnLaw

    Raises
    ------
    ValueError
        If the discount is 1 without a horizon, the policy does not fit, the grid is too short, unsorted or left by the return (with
        `clip` False), or the exact support exceeds `limit`.

    Source: distributional_dp/B2-wasserstein, B3-quantile, B4-wasserstein, B4-sweeps.

    Examples
    --------
    >>> import numpy as np
    >>> from mdps import TabularMDP
    >>> chain = TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)
    >>> result = return_distribution(chain, [0], atoms=5)
    >>> round(result.mean, 6), result.wasserstein_error < 1e-9
    (2.0, True)
    """
    require_choice("representation", representation, REPRESENTATIONS)
    problem = read_problem(mdp, horizon=horizon, initial=initial)
    weights = policy_weights(problem, policy)
    if sweeps is not None:
        require_integer_at_least("sweeps", sweeps, 1)
        if problem.horizon is not None:
            raise ValueError(f"sweeps must be None with a horizon, got {sweeps}: a finite horizon takes as many sweeps as steps")
    if representation == "exact":
        return _exact(problem, weights, sweeps, limit)
    n = problem.horizon if problem.horizon is not None else sweeps if sweeps is not None else _enough_sweeps(problem.gamma)
    if representation == "quantile":
        return _quantile(problem, weights, require_integer_at_least("atoms", atoms, 1), n)
    if np.ndim(atoms) == 1:
        return _categorical(problem, weights, require_increasing("atoms", atoms), n, clip=clip)
    count = require_integer_at_least("atoms", atoms, 2)
    low, high = _range(problem, weights)
    under = _under(problem, weights)
    for ends in ((low, high), _closed_range(under, low, high), _padded_range(under, low, high, count)):
        result = _categorical(problem, weights, _grid(*ends, count), n, clip=True)
        if result.clipped == 0.0:  # otherwise spread mass reached beyond the range of the return: try a wider one
            break
    return result


def policy_weights(problem: Problem, policy: Any) -> FloatArray:
    """Return a policy as probabilities of shape (T, S, A), T = 1 or the horizon."""
    S, A = problem.n_states, problem.stages[0].n_actions
    given = np.asarray(getattr(policy, "policy", policy))
    if given.dtype.kind in "iu" and (given.shape == (S,) or (given.ndim == 2 and problem.horizon is not None and given.shape == (problem.horizon, S))):
        if given.min() < 0 or given.max() >= A:
            raise ValueError(f"policy must hold actions in 0..{A - 1}, got {given[(given < 0) | (given >= A)].ravel()[0]}")
        given = np.eye(A)[given]
    given = np.asarray(given, dtype=np.float64)
    if given.ndim == 2:
        given = given[None]
    steps = 1 if problem.horizon is None else problem.horizon
    if given.ndim != 3 or given.shape[1:] != (S, A) or given.shape[0] not in (1, steps):
        shapes = f"({S},) or ({S}, {A})" + ("" if problem.horizon is None else f", or with a first axis of {steps} steps")
        raise ValueError(f"policy must be integer actions or probabilities of shape {shapes}; got shape {np.shape(policy)}")
    if not (given >= 0).all() or np.abs(given.sum(axis=2) - 1.0).max() > 1e-9:
        raise ValueError("policy must give each state a distribution over actions, got a negative entry, a nan or a sum that is not 1")
    for t in range(given.shape[0]):
        if (given[t] > 0)[~problem.stage(t).allowed].any():
            raise ValueError("policy must not use actions that the model forbids")
    return given


def _enough_sweeps(gamma: float) -> int:
    return 1 if gamma == 0.0 else int(np.ceil(np.log(1e-12) / np.log(gamma)))


def _under(problem: Problem, weights: FloatArray) -> Problem:
    """Return the problem with the actions that the policy never takes removed, for path extremes under the policy."""
    steps = range(max(len(problem.stages), weights.shape[0]))
    stages = []
    for t in steps:
        m, w = problem.stage(t), weights[t if weights.shape[0] > 1 else 0]
        stages.append(Arrays(m.succ, m.prob, m.rew, np.where(w > 0, m.count, 0)))
    return Problem(tuple(stages), problem.gamma, problem.horizon, problem.initial)


def _range(problem: Problem, weights: FloatArray) -> tuple[float, float]:
    low, high = extremes(_under(problem, weights))
    return min(0.0, float(low.min())) if problem.horizon is not None else float(low.min()), (
        max(0.0, float(high.max())) if problem.horizon is not None else float(high.max())
    )


def _closed_range(problem: Problem, low: float, high: float) -> tuple[float, float]:
    """Return a range that r + gamma z never leaves, or for a finite horizon one that h sweeps never leave."""
    rewards = np.concatenate([m.rew[m.real] for m in problem.stages])
    if problem.horizon is None or problem.gamma < 1.0:
        scale = 1.0 / (1.0 - problem.gamma)
    else:
        scale = float(problem.horizon)
    ends = np.array([rewards.min(), rewards.max()]) * scale
    return min(low, float(ends[0])), max(high, float(ends[1]))


def _padded_range(problem: Problem, low: float, high: float, count: int) -> tuple[float, float]:
    """Return a range that h undiscounted sweeps cannot leave although each may spread mass by one cell, where `count` allows that."""
    low, high = _closed_range(problem, low, high)
    steps = 0 if problem.horizon is None else problem.horizon
    if 2 * steps >= count - 1:
        return low, high
    pad = 0.5 * (high - low) * (1.0 / (1.0 - 2.0 * steps / (count - 1)) - 1.0)
    return low - pad, high + pad


def _grid(low: float, high: float, count: int) -> FloatArray:
    if high - low <= 1e-12 * max(1.0, abs(low)):
        high = low + 1e-9 * max(1.0, abs(low))
    return np.linspace(low, high, count)


def _rounding(problem: Problem, atoms: int, n: int, width: float, scale: float) -> float:
    """Bound the W_1 effect of rounding: relative errors of positive masses and of positions up to `scale`, summed over the sweeps."""
    terms = 2 * atoms * max(int(m.count.sum(axis=1).max()) for m in problem.stages) + 8
    return (terms * width + 4.0 * scale) * UNIT * _length(problem, n)


def _length(problem: Problem, n: int) -> float:
    """Return sum_{t<n} gamma^t or more: what an error made in every sweep is multiplied by."""
    return min(float(n), 1.0 / (1.0 - problem.gamma)) if problem.gamma < 1.0 else float(n)


def _overshoot(problem: Problem, weights: FloatArray, grid: FloatArray) -> float:
    """Return the furthest that a sweep moves mass from outside the grid to its ends without calling it clipped."""
    rewards = np.unique(np.concatenate([m.rew[m.real] for m in _under(problem, weights).stages]))
    x = rewards[:, None] + problem.gamma * grid
    gap = np.maximum(x - grid[-1], grid[0] - x)
    return float(gap[gap <= OUTSIDE * max(1.0, float(np.abs(grid).max()))].max(initial=0.0))


def _spread_by(law: Law, distance: float) -> float:
    """Bound by how much the variance of another law differs if draws of the two can be paired no further than `distance` apart."""
    return distance * (2.0 * math.sqrt(float(law.variance())) + 3.0 * distance)


def _categorical(problem: Problem, weights: FloatArray, grid: FloatArray, n: int, *, clip: bool) -> ReturnLaw:
    from certify.returns._kernels import law_sweep

    S, K, width = problem.n_states, grid.size, float(grid[-1] - grid[0])
    law, out = np.zeros((S, K)), np.zeros((S, K))
    noise, drift, clipped = (np.zeros(S) for _ in range(3))
    start = 0.0
    if problem.horizon is None:
        law[:, 0] = 1.0  # the lowest atom: keeps the CVaR of every sweep a lower bound (B4-sweeps)
    else:
        drift[:] = max(0.0, float(grid[0]), float(-grid[-1]))  # the return of zero steps is 0, which the grid may not hold
        at = project_zero(grid)
        law[:] = at
        noise[:] = float(at @ grid**2)
        drift[:] = max(float(drift[0]), float(at @ np.abs(grid)))
        start = max(0.0, float(grid[0]), float(-grid[-1]))
    lost = start
    for sweep in range(n):
        t = n - 1 - sweep if problem.horizon is not None else 0
        m, w = problem.stage(t), weights[t if weights.shape[0] > 1 else 0]
        following = [np.empty(S) for _ in range(3)]
        law_sweep(
            out, following[0], following[1], following[2], np.ascontiguousarray(w), m.succ, m.prob, m.rew, m.count, problem.gamma, law, noise, drift, grid
        )
        noise, drift, clipped = following
        law, out = out, law
        lost = max(lost, float(clipped.max()))
        if lost > 0.0 and not clip:
            raise ValueError(
                f"atoms must cover every value of r + gamma z that the policy can reach; the grid [{grid[0]:g}, {grid[-1]:g}] is left with "
                f"probability {lost:.3g} in one sweep (pass clip=True to accept the bias, which then enters the error)"
            )
    tail = 0.0
    if problem.horizon is None:
        low, high = (x[0] for x in extremes(_under(problem, weights)))
        tail = problem.gamma**n * float(max(abs(high - grid[0]).max(), abs(low - grid[0]).max()))
    spread = np.sqrt(noise) if lost == 0.0 else np.full(S, np.inf)
    rounding = _rounding(problem, K, n, width, float(np.abs(grid).max())) + _overshoot(problem, weights, grid) * _length(problem, n)
    errors = np.minimum(spread, drift) + tail + rounding
    gap = float(np.diff(grid).max())
    if lost == 0.0 and problem.gamma < 1.0 and problem.horizon is None:
        errors = np.minimum(errors, float(bounds.sweep_wasserstein(gap, problem.gamma, n, width)) + rounding)
    laws = tuple(Law.merging(grid, row)[0] for row in law)
    inflation = float(noise.max()) + max(_spread_by(law, tail + rounding) for law in laws) if lost == 0.0 else None
    said = ("Nothing is clipped: the projection preserves means." if lost == 0.0 else f"Mass was clipped (up to {lost:.3g} a sweep): means are biased.",)
    return _result(problem, laws, "categorical", errors, inflation, lost == 0.0, n, lost, said, rounding)


def project_zero(grid: FloatArray) -> FloatArray:
    """Return the categorical projection of the point mass at 0, clipped to the grid."""
    from certify.returns._kernels import project_rows

    return np.asarray(project_rows(np.zeros((1, 1)), np.ones((1, 1)), grid)[0])


def _quantile(problem: Problem, weights: FloatArray, m: int, n: int) -> ReturnLaw:
    from certify.returns._kernels import quantile_sweep

    low, high = extremes(_under(problem, weights))
    finite = problem.horizon is not None
    law = np.repeat((0.5 * (low[-1] + high[-1]))[:, None], m, axis=1)
    out = np.empty_like(law)
    errors = 0.5 * (high[-1] - low[-1])
    for sweep in range(n):
        t = n - 1 - sweep if finite else 0
        model, w = problem.stage(t), weights[t if weights.shape[0] > 1 else 0]
        quantile_sweep(out, np.ascontiguousarray(w), model.succ, model.prob, model.rew, model.count, problem.gamma, law)
        law, out = out, law
        # atoms stay between the extremes of the state's own return, so its range is that of the projected law
        errors = bounds.quantile_wasserstein_bound(high[t] - low[t], m) + _propagate(model, w, problem.gamma, errors)
    width, scale = float((high - low).max()), max(float(np.abs(low).max()), float(np.abs(high).max()))
    # a level that is reached within 1e-13 counts as reached
    errors = errors + _rounding(problem, m, n, width, scale) + LEVEL * width * _length(problem, n)
    laws = tuple(Law.merging(row, np.full(m, 1.0 / m))[0] for row in law)
    return _result(problem, laws, "quantile", errors, None, False, n, 0.0, ("Means are not preserved by the quantile projection.",))


def _exact(problem: Problem, weights: FloatArray, sweeps: int | None, limit: int) -> ReturnLaw:
    low, high = extremes(_under(problem, weights)) if problem.horizon is None else (np.zeros((1, 1)), np.zeros((1, 1)))
    middle = 0.5 * (low[0] + high[0])
    S = problem.n_states
    rows = [(np.array([0.0 if problem.horizon is not None else middle[s]]), np.ones(1)) for s in range(S)]
    spread = 0.5 * (high[0] - low[0]) if problem.horizon is None else np.zeros(S)
    n = problem.horizon if problem.horizon is not None else sweeps if sweeps is not None else _enough_sweeps(problem.gamma)
    done = 0
    for sweep in range(n):
        t = n - 1 - sweep if problem.horizon is not None else 0
        m, w = problem.stage(t), weights[t if weights.shape[0] > 1 else 0]
        following = [_mixed(m, w[s], s, problem.gamma, rows) for s in range(S)]
        size = sum(x.size for x, _, _ in following)
        if size > limit:
            if problem.horizon is not None or sweeps is not None:
                raise ValueError(f"limit must be at least the number of atoms of the exact law, which passes {size} at step {sweep + 1} of {n}, got {limit}")
            break
        spread = _propagate(m, w, problem.gamma, spread) + np.array([moved for _, _, moved in following])
        rows, done = [(x, p) for x, p, _ in following], sweep + 1
    laws = tuple(Law.merging(x, p)[0] for x, p in rows)
    scale = max(1.0, max(float(np.abs(x).max()) for x, _ in rows))
    errors = spread + done * 8 * UNIT * scale  # each step rounds each atom and each sum once
    said = ("Every atom is kept." if problem.horizon is not None else f"The first {done} steps are exact; what follows lies within gamma^n times the range.",)
    inflation = max(_spread_by(law, float(distance)) for law, distance in zip(laws, errors, strict=True))
    return _result(problem, laws, "exact", np.asarray(errors), inflation, True, done, 0.0, said)


def _propagate(model: Arrays, weight: FloatArray, gamma: float, spread: FloatArray) -> FloatArray:
    """Carry the W_1 error of the laws of the successors back one step: gamma times its mean."""
    q = (model.prob * gamma * spread[model.succ]).sum(axis=2)
    return np.asarray((weight * np.where(model.allowed, q, 0.0)).sum(axis=1))


def _mixed(model: Arrays, weight: FloatArray, s: int, gamma: float, rows: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray, float]:
    """Return the law of one more step from state s, and how far merging moved an atom."""
    x, p = [], []
    for a in np.flatnonzero(weight > 0):
        for b in range(int(model.count[s, a])):
            atoms, masses = rows[int(model.succ[s, a, b])]
            x.append(model.rew[s, a, b] + gamma * atoms)
            p.append(weight[a] * model.prob[s, a, b] * masses)
    return merge_moved(np.concatenate(x), np.concatenate(p))


def _result(
    problem: Problem,
    laws: tuple[Law, ...],
    representation: str,
    errors: FloatArray,
    inflation: float | None,
    preserving: bool,
    n: int,
    lost: float,
    said: tuple[str, ...],
    rounding: float = 0.0,
) -> ReturnLaw:
    starts = np.flatnonzero(problem.initial > 0)
    # equal atoms of a grid come together; those of exact laws may differ by rounding
    law, moved = Law.merging(
        np.concatenate([laws[s].atoms for s in starts]),
        np.concatenate([problem.initial[s] * laws[s].probabilities for s in starts]),
        MERGE if representation == "exact" else 0.0,
    )
    return ReturnLaw(laws, law, representation, errors + moved, inflation, preserving, n, problem.gamma, problem.horizon, lost, said, rounding)
