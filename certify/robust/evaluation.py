"""Robust values of a given policy on a d-rectangular linear model, and what the other modules share about such models.

Source: r2pvi G5, dr_rpo setting and G2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_numbers, require_simplex_rows
from mdps import LinearMDP
from mdps.robust import worst_case
from theory import dr_rpo as theory

__all__ = ["PolicyValue", "Problem", "evaluate_policy", "pose"]

FloatArray = NDArray[np.float64]
DIVERGENCES = ("tv", "kl", "chi2")


@dataclass(frozen=True, eq=False, slots=True)
class PolicyValue:
    """Robust value of a policy.

    Attributes
    ----------
    value : array (H+1, S)
        Row h before step h, zero after the last; with a temperature the KL penalty is included.
    action_value : array (H, S, A)
        Q.
    worst_factors : array (H, d, S)
        The factors that attain it.
    """

    value: FloatArray
    action_value: FloatArray
    worst_factors: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Problem:
    """A checked model with its set and its reference policy.

    Attributes
    ----------
    features : array (H, S, A, d)
        phi on the simplex.
    factors : array (H, d, S)
        Distributions.
    reward_weights : array (H, d)
        theta.
    divergence : str
        "tv", "kl" or "chi2".
    charged : bool
        Whether `sizes` are penalties rather than radii.
    sizes : array (H, d)
        One for each step and factor.
    temperature : float
        eta >= 0.
    reference : array (H, S, A)
        ref.
    """

    features: FloatArray
    factors: FloatArray
    reward_weights: FloatArray
    divergence: str
    charged: bool
    sizes: FloatArray
    temperature: float
    reference: FloatArray

    @property
    def horizon(self) -> int:
        """Number of steps H."""
        return int(self.features.shape[0])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """H, S, A, d."""
        H, S, A, d = self.features.shape
        return H, S, A, d

    def worst(self, h: int, i: int, values: FloatArray) -> tuple[float, FloatArray]:
        """Return the worst case of factor i of step h (with its charge) and the factor that attains it."""
        size = float(self.sizes[h, i])
        kwargs: dict[str, float] = {"penalty" if self.charged else "radius": size}
        found = worst_case(values, self.factors[h, i], divergence=self.divergence, radius=kwargs.get("radius"), penalty=kwargs.get("penalty"))
        return found.value, found.distribution

    def backup(self, h: int, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return Q_h (S, A) for the values of the next step, and the worst factors (d, S)."""
        d = self.features.shape[3]
        found = [self.worst(h, i, values) for i in range(d)]
        w = np.array([value for value, _ in found])
        return self.features[h] @ (self.reward_weights[h] + w), np.array([p for _, p in found])


def pose(
    mdp: LinearMDP, *, divergence: str, penalty: ArrayLike | None, radius: ArrayLike | None, temperature: float, reference: ArrayLike | None
) -> Problem:
    """Check a model and its set.

    Raises
    ------
    ValueError
        Naming the argument, what it was and what is allowed.
    """
    if not isinstance(mdp, LinearMDP):
        raise ValueError(f"mdp must be a mdps.LinearMDP, got {type(mdp).__name__}")
    require_choice("divergence", divergence, DIVERGENCES)
    H, S, A, d = mdp.horizon, mdp.n_states, mdp.n_actions, mdp.dimension
    require_simplex_rows("features", mdp.features)
    require_simplex_rows("factors", mdp.factors)
    if (penalty is None) == (radius is None):
        raise ValueError(f"exactly one of penalty and radius must be given, got penalty={penalty!r} and radius={radius!r}")
    sizes = _sizes("penalty", penalty, H, d) if radius is None else _sizes("radius", radius, H, d)
    eta = _temperature(temperature)
    if reference is None:
        ref = np.full((H, S, A), 1.0 / A)
    else:
        ref = require_numbers("reference", reference)
        if ref.shape not in ((A,), (S, A), (H, S, A)):
            raise ValueError(f"reference must have shape ({A},), ({S}, {A}) or ({H}, {S}, {A}), got {ref.shape}")
        require_simplex_rows("reference", ref)
        ref = np.array(np.broadcast_to(ref, (H, S, A)))
    features = np.array(np.broadcast_to(mdp.features, (H, S, A, d)))
    return Problem(features, mdp.factors, mdp.reward_weights, divergence, radius is None, sizes, eta, ref)


def _sizes(name: str, given: Any, horizon: int, dimension: int) -> FloatArray:
    try:
        array = np.asarray(np.nan if isinstance(given, bool) else given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {given!r}") from None
    if array.shape not in ((), (dimension,), (horizon, dimension)):
        raise ValueError(
            f"{name} must be a number or have shape ({dimension},) or ({horizon}, {dimension}), one for each factor or step and factor; got {array.shape}")
    bad = ~(array > 0) if name == "penalty" else ~(array >= 0)
    if bad.any():
        raise ValueError(f"{name} must be {'> 0' if name == 'penalty' else '>= 0'}, got {array[bad].ravel()[0]}")
    return np.array(np.broadcast_to(array, (horizon, dimension)))


def _temperature(value: Any) -> float:
    try:
        eta = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"temperature must be a finite number >= 0, got {value!r}") from None
    if not 0.0 <= eta < math.inf:
        raise ValueError(f"temperature must be a finite number >= 0, got {value!r}")
    return eta


def as_policy(policy: ArrayLike, shape: tuple[int, int, int]) -> FloatArray:
    """Return a policy as probabilities (H, S, A); integers (S,) or (H, S) are actions."""
    H, S, A = shape
    given = np.asarray(policy)
    if given.dtype.kind in "iu" and given.shape in ((S,), (H, S)):
        if given.size and (given.min() < 0 or given.max() >= A):
            raise ValueError(f"policy must hold actions in 0..{A - 1}, got {int(given.min() if given.min() < 0 else given.max())}")
        return np.array(np.broadcast_to(np.eye(A)[given], (H, S, A)))
    probabilities = require_numbers("policy", policy)
    if probabilities.shape not in ((S, A), (H, S, A)):
        raise ValueError(f"policy must be actions ({S},) or ({H}, {S}), or probabilities ({S}, {A}) or ({H}, {S}, {A}); got {probabilities.shape}")
    require_simplex_rows("policy", probabilities)
    return np.array(np.broadcast_to(probabilities, (H, S, A)))


def evaluate_policy(
    mdp: LinearMDP,
    policy: ArrayLike,
    *,
    divergence: str,
    penalty: ArrayLike | None = None,
    radius: ArrayLike | None = None,
    temperature: float = 0.0,
    reference: ArrayLike | None = None,
) -> PolicyValue:
    """Return the exact robust value of a policy.

    Parameters
    ----------
    mdp : LinearMDP
        Nominal model with features on the simplex and factors that are distributions.
    policy : array
        Actions (S,) or (H, S), or probabilities (S, A) or (H, S, A).
    divergence : str
        "tv", "kl" or "chi2".
    penalty, radius : float or array (d,) or (H, d)
        Price > 0 of a unit of divergence, or size >= 0 of the sets; exactly one.
    temperature : float
        eta >= 0, weight of KL(policy | reference) in the value.
    reference : array (A,), (S, A) or (H, S, A), optional
        Reference policy, uniform by default.

    Returns
    -------
    PolicyValue
        Values, action values and worst factors.

    Raises
    ------
    ValueError
        If an argument is out of range, or the policy leaves the support of the reference at a positive temperature.

    Source: r2pvi, G5; dr_rpo, G2.

    Examples
    --------
    >>> from mdps.families import simulated_linear_mdp
    >>> mdp = simulated_linear_mdp(0.2)
    >>> round(float(evaluate_policy(mdp, [15] * 5, divergence="tv", radius=0.0).value[0, 0]), 5)
    1.62425
    """
    problem = pose(mdp, divergence=divergence, penalty=penalty, radius=radius, temperature=temperature, reference=reference)
    return evaluate_problem(problem, as_policy(policy, problem.shape[:3]))


def evaluate_problem(problem: Problem, pi: FloatArray) -> PolicyValue:
    """Evaluate probabilities (H, S, A) on a checked model."""
    H, S, A, d = problem.shape
    price = penalty_of(problem, pi)
    value, action_value, factors = np.zeros((H + 1, S)), np.empty((H, S, A)), np.empty((H, d, S))
    for h in reversed(range(H)):
        action_value[h], factors[h] = problem.backup(h, value[h + 1])
        value[h] = (pi[h] * action_value[h]).sum(axis=1) - price[h]
    return PolicyValue(value, action_value, factors)


def penalty_of(problem: Problem, pi: FloatArray) -> FloatArray:
    """Return eta KL(pi | ref) for every step and state, (H, S)."""
    if problem.temperature == 0.0:
        return np.zeros(pi.shape[:2])
    divergence: FloatArray = theory.policy_divergence(pi, problem.reference)
    if np.isinf(divergence).any():
        h, s = (int(i) for i in np.argwhere(np.isinf(divergence))[0])
        raise ValueError(f"policy must vanish where reference does at a positive temperature; it does not in state {s} at step {h}")
    return problem.temperature * divergence
