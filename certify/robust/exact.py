"""Exact robust values of a known d-rectangular linear model, with a certificate of optimality.

The recursion V_h = S(<phi, theta_h + w_h>), w the worst case of every factor, yields a policy and a kernel.  Two forward evaluations
certify them: the robust value of the policy is a lower bound on the optimum, the best value against the kernel alone an upper bound.

Source: r2pvi G5, G6; dr_rpo G2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_numbers, require_simplex_rows
from certify.robust.evaluation import Problem, as_policy, evaluate_problem, pose
from mdps import LinearMDP
from mdps.robust import worst_case
from theory import dr_rpo as theory

__all__ = [
    "EquivalentConstrained", "EquivalentRegularised", "OptimalityCertificate", "RobustValue", "certify_pair", "equivalent_constrained",
    "equivalent_regularised", "exact_value",
]

FloatArray = NDArray[np.float64]
_DECADES = 40.0
"""Half the range of log(price / span) in which a multiplier is sought."""


@dataclass(frozen=True, eq=False, slots=True)
class OptimalityCertificate:
    """Two evaluations that enclose the optimum.

    Attributes
    ----------
    policy_value : array (H+1, S)
        Robust value of the policy: at most the optimum.
    kernel_value : array (H+1, S)
        Best value against the fixed kernel (and its charge): at least the optimum.
    rounding : float
        Allowance for rounding in either.
    """

    policy_value: FloatArray
    kernel_value: FloatArray
    rounding: float

    @property
    def gap(self) -> float:
        """Largest distance between the two: the policy is optimal within it."""
        return float(np.max(self.kernel_value - self.policy_value))


@dataclass(frozen=True, eq=False, repr=False)
class RobustValue:
    """Optimal robust values of a linear model.

    Attributes
    ----------
    value : array (H+1, S)
        V*, row h before step h.
    action_value : array (H, S, A)
        Q*.
    policy : int array (H, S), or array (H, S, A)
        Greedy actions at temperature 0 (first maximiser over the support of the reference), else the softmax.
    worst_kernel : array (H, S, A, S)
        <phi, worst factors>.
    worst_factors : array (H, d, S)
        The minimisers.
    divergences : array (H, d)
        Divergence of every worst factor from the nominal one.
    certificate : OptimalityCertificate
        What encloses the optimum.
    """

    value: FloatArray
    action_value: FloatArray
    policy: NDArray[Any]
    worst_kernel: FloatArray = field(repr=False)
    worst_factors: FloatArray = field(repr=False)
    divergences: FloatArray
    certificate: OptimalityCertificate

    @property
    def lower(self) -> FloatArray:
        """Lower bound on V*, and on the robust value of `policy`."""
        return np.minimum(self.value, self.certificate.policy_value - self.certificate.rounding)

    @property
    def upper(self) -> FloatArray:
        """Upper bound on V*."""
        return np.maximum(self.value, self.certificate.kernel_value + self.certificate.rounding)

    def __repr__(self) -> str:
        steps, states = self.value.shape
        return f"RobustValue(horizon {steps - 1}, {states} states, optimality gap {self.certificate.gap:.3g})"


@dataclass(frozen=True, eq=False, slots=True)
class EquivalentConstrained:
    """The constrained model with the values of a regularised one.

    Attributes
    ----------
    mdp : LinearMDP
        The model with reward weights theta_h + lambda rho_h.
    radius : array (H, d)
        Radii.
    divergence : str
        The divergence of both.
    """

    mdp: LinearMDP
    radius: FloatArray
    divergence: str


@dataclass(frozen=True, eq=False, slots=True)
class EquivalentRegularised:
    """The regularised model with the values of a constrained one.

    Attributes
    ----------
    mdp : LinearMDP
        The model with reward weights theta_h - lambda_h rho_h.
    penalty : array (H, d)
        Prices; infinite where the radius is 0.
    divergence : str
        The divergence of both.
    """

    mdp: LinearMDP
    penalty: FloatArray
    divergence: str


def exact_value(
    mdp: LinearMDP,
    *,
    divergence: str,
    penalty: ArrayLike | None = None,
    radius: ArrayLike | None = None,
    temperature: float = 0.0,
    reference: ArrayLike | None = None,
) -> RobustValue:
    """Solve a d-rectangular linear model exactly.

    Parameters
    ----------
    mdp : LinearMDP
        Nominal model with features on the simplex and factors that are distributions.
    divergence : str
        "tv" (half the L1 distance), "kl" or "chi2".
    penalty : float or array (d,) or (H, d), optional
        Price > 0 of a unit of divergence of a factor; infinity means the nominal model.
    radius : float or array (d,) or (H, d), optional
        Size >= 0 of the sets.  Exactly one of `penalty` and `radius`.
    temperature : float
        eta >= 0: weight of KL(policy | reference) in the objective.
    reference : array (A,), (S, A) or (H, S, A), optional
        Reference policy, uniform by default; at temperature 0 only its support matters.

    Returns
    -------
    RobustValue
        Values, policy, worst kernel and the certificate of optimality.

    Raises
    ------
    ValueError
        If an argument is out of range, features leave the simplex, or factors are no distributions.

    Source: r2pvi, G5; dr_rpo, G2.

    Examples
    --------
    >>> from mdps.families import simulated_linear_mdp
    >>> found = exact_value(simulated_linear_mdp(0.2), divergence="kl", penalty=1.0)
    >>> round(float(found.value[0, 0]), 4), found.certificate.gap < 1e-12
    (1.6236, True)
    """
    problem = pose(mdp, divergence=divergence, penalty=penalty, radius=radius, temperature=temperature, reference=reference)
    H, S, A, d = problem.shape
    value, action_value, factors = np.zeros((H + 1, S)), np.empty((H, S, A)), np.empty((H, d, S))
    for h in reversed(range(H)):
        action_value[h], factors[h] = problem.backup(h, value[h + 1])
        value[h] = theory.soft_value(action_value[h], problem.reference[h], problem.temperature)
    pi: FloatArray = theory.softmax_policy(action_value, problem.reference, problem.temperature)
    kernel = np.einsum("hsad,hdj->hsaj", problem.features, factors)
    return RobustValue(
        value=value,
        action_value=action_value,
        policy=pi.argmax(axis=2) if problem.temperature == 0.0 else pi,
        worst_kernel=kernel,
        worst_factors=factors,
        divergences=divergences_of(problem, factors),
        certificate=_certificate(problem, pi, factors),
    )


def certify_pair(
    mdp: LinearMDP,
    policy: ArrayLike,
    factors: ArrayLike,
    *,
    divergence: str,
    penalty: ArrayLike | None = None,
    radius: ArrayLike | None = None,
    temperature: float = 0.0,
    reference: ArrayLike | None = None,
) -> OptimalityCertificate:
    """Enclose the optimum by any candidate policy and any candidate factors in the set.

    Parameters
    ----------
    mdp, divergence, penalty, radius, temperature, reference
        As in `exact_value`.
    policy : array
        Actions (S,) or (H, S), or probabilities (S, A) or (H, S, A).
    factors : array (H, d, S)
        Distributions; with a radius each within it.

    Returns
    -------
    OptimalityCertificate
        Its gap bounds what the policy loses.

    Raises
    ------
    ValueError
        If an argument is out of range, or a factor lies outside its set.

    Source: dr_rpo, G2.

    Examples
    --------
    >>> from mdps.families import simulated_linear_mdp
    >>> mdp = simulated_linear_mdp(0.2)
    >>> certify_pair(mdp, [15] * 5, mdp.factors, divergence="tv", penalty=0.5).gap > 0.5
    True
    """
    problem = pose(mdp, divergence=divergence, penalty=penalty, radius=radius, temperature=temperature, reference=reference)
    H, S, A, d = problem.shape
    mu = require_numbers("factors", factors)
    if mu.shape != (H, d, S):
        raise ValueError(f"factors must have shape ({H}, {d}, {S}), got {mu.shape}")
    require_simplex_rows("factors", mu)
    away = divergences_of(problem, mu)
    # a factor that leaves the support is never in the set, not even in one without limit; at an infinite price nothing may be shifted
    limit = np.where(np.isinf(problem.sizes), 0.0, np.inf) if problem.charged else problem.sizes * (1 + 1e-9)
    outside = np.isinf(away) | (away > limit + 1e-12)
    if outside.any():
        h, i = (int(k) for k in np.argwhere(outside)[0])
        raise ValueError(f"factors must lie in the set: step {h}, factor {i} is {away[h, i]:.6g} away")
    return _certificate(problem, as_policy(policy, (H, S, A)), mu)


def equivalent_constrained(
    mdp: LinearMDP, *, divergence: str, penalty: ArrayLike, temperature: float = 0.0, reference: ArrayLike | None = None
) -> EquivalentConstrained:
    """Return the constrained model whose optimum is that of the regularised one.

    With radii rho_{h,i} = D(worst factor | nominal factor) and reward weights theta_h + lambda rho_h, values, policy and worst kernel
    agree at the optimum; they need not for other policies.

    Parameters
    ----------
    mdp, divergence, penalty, temperature, reference
        As in `exact_value`.

    Returns
    -------
    EquivalentConstrained
        Model and radii for `exact_value(found.mdp, divergence=found.divergence, radius=found.radius)`.

    Raises
    ------
    ValueError
        As `exact_value`, or if the penalty is infinite.

    Source: r2pvi, G6; dr_rpo, G3.

    Examples
    --------
    >>> from mdps.families import simulated_linear_mdp
    >>> mdp = simulated_linear_mdp(0.2)
    >>> same = equivalent_constrained(mdp, divergence="tv", penalty=0.5)
    >>> found = exact_value(same.mdp, divergence="tv", radius=same.radius)
    >>> bool(abs(found.value - exact_value(mdp, divergence="tv", penalty=0.5).value).max() < 1e-12)
    True
    """
    if np.any(np.isinf(np.asarray(penalty, dtype=np.float64))):
        raise ValueError("penalty must be finite here: at an infinite one the radius is 0 and nothing is charged")
    found = exact_value(mdp, divergence=divergence, penalty=penalty, temperature=temperature, reference=reference)
    shifted = mdp.reward_weights + np.asarray(penalty, dtype=np.float64) * found.divergences
    model = LinearMDP(mdp.features, mdp.factors, shifted, horizon=mdp.horizon, initial=mdp.initial)
    return EquivalentConstrained(model, found.divergences, divergence)


def equivalent_regularised(
    mdp: LinearMDP, *, divergence: str, radius: ArrayLike, temperature: float = 0.0, reference: ArrayLike | None = None
) -> EquivalentRegularised:
    """Return the regularised model whose optimum is that of the constrained one: the way back of `equivalent_constrained`.

    The prices lambda_{h,i} are the multipliers of the radii at the optimum, and the reward weights are theta_h - lambda_h rho_h.

    Parameters
    ----------
    mdp, divergence, radius, temperature, reference
        As in `exact_value`.

    Returns
    -------
    EquivalentRegularised
        Model and prices for `exact_value(found.mdp, divergence=found.divergence, penalty=found.penalty)`.

    Raises
    ------
    ValueError
        As `exact_value`, or if a set is so large that its worst case is the least value: the multiplier is 0 there, and no price is.

    Source: r2pvi, G4a and G6; dr_rpo, G3.

    Examples
    --------
    >>> from mdps.families import simulated_linear_mdp
    >>> mdp = simulated_linear_mdp(0.2)
    >>> same = equivalent_regularised(mdp, divergence="kl", radius=0.2)
    >>> found = exact_value(same.mdp, divergence="kl", penalty=same.penalty)
    >>> bool(abs(found.value - exact_value(mdp, divergence="kl", radius=0.2).value).max() < 1e-12)
    True
    """
    problem = pose(mdp, divergence=divergence, penalty=None, radius=radius, temperature=temperature, reference=reference)
    H, _, _, d = problem.shape
    found = exact_value(mdp, divergence=divergence, radius=radius, temperature=temperature, reference=reference)
    penalty = np.ones((H, d))
    for h in range(H):
        for i in range(d):
            values, nominal = found.value[h + 1], problem.factors[h, i]
            penalty[h, i] = _multiplier(values, nominal, divergence, float(problem.sizes[h, i]))
            if penalty[h, i] == 0.0:
                raise ValueError(
                    f"radius must be below what reaches the least value, where no price is equivalent; step {h}, factor {i} has {problem.sizes[h, i]:g}")
    spent = np.where(np.isfinite(penalty), found.divergences, 0.0)
    model = LinearMDP(
        mdp.features, mdp.factors, mdp.reward_weights - np.where(np.isfinite(penalty), penalty, 0.0) * spent, horizon=mdp.horizon, initial=mdp.initial)
    return EquivalentRegularised(model, penalty, divergence)


def _multiplier(values: FloatArray, nominal: FloatArray, divergence: str, radius: float) -> float:
    """Return the price at which the worst case is that of a radius: 0 where the radius reaches the least value, infinite for radius 0."""
    reached = values if divergence == "tv" else values[nominal > 0]
    low, span = float(reached.min()), float(np.ptp(reached))
    if not nominal[values > low].any():
        # the nominal law is the worst case at any price
        return 1.0
    if radius == 0.0:
        return math.inf
    least = float(nominal[values == low].sum())
    if radius >= {"tv": 1.0 - least, "kl": -math.log(least) if least > 0 else math.inf, "chi2": 1.0 / least - 1.0 if least > 0 else math.inf}[divergence]:
        return 0.0
    if divergence == "tv":
        # the slope of the dual in the level is Q(V > level) - rho: its maximum is the last value above which that much mass lies
        order = np.argsort(values)[::-1]
        above = np.cumsum(nominal[order])
        return float(values[order][np.searchsorted(above, radius, side="right")]) - low
    from scipy.optimize import brentq

    def excess(log_price: float) -> float:
        """How far the worst case at a price goes beyond the radius."""
        worst = worst_case(values, nominal, divergence=divergence, penalty=span * math.exp(log_price)).distribution
        return float(divergence_rows(worst, nominal, divergence)) - radius

    if excess(-_DECADES) <= 0.0:
        return 0.0
    if excess(_DECADES) >= 0.0:
        return math.inf
    return span * math.exp(brentq(excess, -_DECADES, _DECADES, xtol=1e-12, rtol=1e-14))


def divergences_of(problem: Problem, factors: FloatArray) -> FloatArray:
    """Return D(factor | nominal factor) for every step and coordinate, (H, d)."""
    return divergence_rows(factors, problem.factors, problem.divergence)


def divergence_rows(p: FloatArray, q: FloatArray, divergence: str) -> FloatArray:
    """Return D(p | q) over the last axis."""
    if divergence == "tv":
        return np.asarray(0.5 * np.abs(p - q).sum(axis=-1))
    outside = (np.where(q > 0, 0.0, p) > 0).any(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if divergence == "kl":
            # the sum of q - p is zero and makes every term non-negative, so that small divergences keep their digits
            terms = np.where(p > 0, p * np.log(np.where(q > 0, p / q, 1.0)), 0.0) - (p - q)
        else:
            terms = np.where(q > 0, (p - q) ** 2 / np.where(q > 0, q, 1.0), 0.0)
    return np.where(outside, np.inf, np.maximum(terms.sum(axis=-1), 0.0))


def _certificate(problem: Problem, pi: FloatArray, factors: FloatArray) -> OptimalityCertificate:
    robust = evaluate_problem(problem, pi).value
    H, S, _, d = problem.shape
    charge = np.zeros((H, d))
    if problem.charged:
        spent = divergences_of(problem, factors)
        with np.errstate(invalid="ignore"):
            # an infinite price allows nothing but rounding, which is not charged
            charge = np.where((spent > 0) & np.isfinite(problem.sizes), problem.sizes * spent, 0.0)
    best = np.zeros((H + 1, S))
    for h in reversed(range(H)):
        q = problem.features[h] @ (problem.reward_weights[h] + charge[h] + factors[h] @ best[h + 1])
        best[h] = theory.soft_value(np.minimum(q, 1e300), problem.reference[h], problem.temperature)
    scale = 1.0 + float(np.abs(robust).max()) + float(np.abs(problem.reward_weights).max())
    return OptimalityCertificate(robust, best, 64 * (S + d) * (H + 1) * 2.0**-53 * scale)
