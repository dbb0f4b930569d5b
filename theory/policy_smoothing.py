"""Policy smoothing: certified returns of a policy whose observations carry fresh Gaussian noise (Kumar, Levine, Feizi 2022).

Every step's agent input is observation + perturbation + noise with noise of scale sigma drawn after the perturbation; the adversary is
adaptive and spends a total squared l2 budget B^2 over the episode.  With c = B / sigma and

    g_c(p) = Phi(Phi^-1(p) - c)

every event of clean probability p keeps probability at least g_c(p) under attack (G2), and a return J >= a keeps mean at least

    rho_c(J) = a + int_a^inf g_c(P(J > t)) dt                                          (G5, the Wang transform).

This page holds the closed forms; what is claimed of them stands in `GUARANTEES`.  Every function takes arrays, and probabilities near 1
are given with their complement where the last digits matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._policy_smoothing_comparators import (
    crop_action_radius,
    crop_mean_bound,
    hockey_stick,
    lipschitz_mean_bound,
    published_quantile_level,
    recepes_bound,
    total_variation,
    total_variation_mean_bound,
)
from theory._policy_smoothing_gaussian import gaussian_shift, gaussian_shift_lower, gaussian_shift_pair, gaussian_shift_slope, normal_quantile
from theory._policy_smoothing_statements import GUARANTEES, PAPER
from theory._validate import require_each_between, require_finite_array, require_positive_number, require_sorted

__all__ = [
    "GUARANTEES",
    "PAPER",
    "bernoulli_transform",
    "conditional_shift",
    "crop_action_radius",
    "crop_mean_bound",
    "effective_budget",
    "expected_return_bound",
    "gaussian_shift",
    "gaussian_shift_lower",
    "gaussian_shift_pair",
    "gaussian_shift_slope",
    "hockey_stick",
    "largest_radius",
    "lipschitz_mean_bound",
    "lognormal_transform",
    "normal_quantile",
    "normal_transform",
    "per_step_return_bound",
    "published_quantile_level",
    "quantile_level",
    "recepes_bound",
    "success_radius",
    "total_variation",
    "total_variation_mean_bound",
    "uniform_transform",
    "wang_transform",
]

FloatArray = NDArray[np.float64]


def expected_return_bound(
    thresholds: ArrayLike, survival: ArrayLike, c: ArrayLike, *, floor: float = 0.0, complement: ArrayLike | None = None
) -> Any:
    r"""Return the certified mean return from the probabilities of reaching given thresholds.

    $$E_Q[J] \ge a + \sum_{i=1}^K (s_i - s_{i-1})\, g_c(P(J \ge s_i)),\qquad s_0 = a.$$

    Parameters
    ----------
    thresholds : array of shape (K,)
        Returns s_1 <= ... <= s_K, none below the floor, in units of return.
    survival : array of shape (K,)
        P(J >= s_i), or lower limits of it.
    c : array of shape (...)
        Budget over noise scale; scalar or an array of budgets.
    floor : float
        A lower limit a of the return that holds under attack too.
    complement : array of shape (K,), optional
        1 - survival to full accuracy, or upper limits of it.

    Returns
    -------
    float or array
        The bound, of the shape of `c`.

    Raises
    ------
    ValueError
        If the thresholds are unsorted or below the floor, or a probability is outside [0, 1].

    Source: policy_smoothing, G5.

    Examples
    --------
    >>> round(expected_return_bound([1.0, 2.0], [0.9, 0.5], 1.0), 6)
    0.769512
    """
    s = require_sorted("thresholds", thresholds)
    p = require_each_between("survival", survival, 0.0, 1.0)
    if p.shape != s.shape:
        raise ValueError(f"survival must have the shape of thresholds, {s.shape}, got {p.shape}")
    if s.size and s[0] < floor:
        raise ValueError(f"thresholds must be at least floor = {floor}, got {s[0]}")
    budgets = np.atleast_1d(require_finite_array("c", c))
    widths = np.diff(s, prepend=floor)
    bound = np.array([floor + float(np.dot(widths, gaussian_shift(p, x, complement=complement))) for x in budgets.ravel()])
    return float(bound[0]) if np.ndim(c) == 0 else bound.reshape(budgets.shape)


def wang_transform(values: ArrayLike, probabilities: ArrayLike, c: ArrayLike, *, floor: float | None = None) -> Any:
    r"""Return rho_c of a finite law: the largest bound on the attacked mean that its clean law of returns implies.

    Parameters
    ----------
    values : array of shape (K,)
        Returns, in any order.
    probabilities : array of shape (K,)
        Their probabilities, which sum to 1 within 1e-9.
    c : array of shape (...)
        Budget over noise scale.
    floor : float, optional
        Lower limit of the return under attack; the smallest value by default, which is right for a law known exactly.

    Returns
    -------
    float or array
        rho_c, of the shape of `c`.

    Raises
    ------
    ValueError
        If the probabilities are no law or a value is below the floor.

    Source: policy_smoothing, G5 and G6.

    Examples
    --------
    >>> float(wang_transform([0.0, 1.0], [0.1, 0.9], 1.0)) == float(gaussian_shift(0.9, 1.0, complement=0.1))
    True
    """
    x = require_finite_array("values", values).ravel()
    w = require_each_between("probabilities", probabilities, 0.0, 1.0).ravel()
    if x.shape != w.shape or not x.size:
        raise ValueError(f"values and probabilities must be equally many and at least one, got {x.size} and {w.size}")
    if abs(w.sum() - 1.0) > 1e-9:
        raise ValueError(f"probabilities must sum to 1, got {w.sum()!r}")
    order = np.argsort(x, kind="stable")
    s, w = x[order], w[order]
    reach = np.cumsum(w[::-1])[::-1]
    miss = np.concatenate(([0.0], np.cumsum(w)[:-1]))
    total = reach[0]
    base = float(s[0]) if floor is None else float(floor)
    return expected_return_bound(s, np.minimum(reach / total, 1.0), c, floor=base, complement=np.minimum(miss / total, 1.0))


def per_step_return_bound(survival: ArrayLike, step_budget: float, sigma: float, *, complement: ArrayLike | None = None) -> float:
    r"""Return the certified mean number of steps when every single perturbation has norm at most `step_budget`.

    $$E_Q[J] \ge \sum_{i=0}^{T-1} g_{e\sqrt{i}/\sigma}(P(J > i)).$$

    Parameters
    ----------
    survival : array of shape (T,)
        P(J > i) for i = 0..T-1, where {J > i} depends on the first i noise vectors only.
    step_budget : float
        Norm e of every perturbation, in units of observation.
    sigma : float
        Noise scale, in units of observation.
    complement : array of shape (T,), optional
        1 - survival to full accuracy.

    Returns
    -------
    float
        The bound, in steps.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G7.

    Examples
    --------
    >>> round(per_step_return_bound([1.0, 0.9, 0.8], 0.3, 1.0), 6)
    2.498631
    """
    p = require_each_between("survival", survival, 0.0, 1.0).ravel()
    require_positive_number("sigma", sigma)
    if not 0.0 <= step_budget < math.inf:
        raise ValueError(f"step_budget must be finite and not negative, got {step_budget}")
    c = step_budget * np.sqrt(np.arange(p.size)) / sigma
    return float(np.sum(gaussian_shift(p, c, complement=complement)))


def quantile_level(q: ArrayLike, c: ArrayLike) -> Any:
    """Return the clean level u = Phi(Phi^-1(q) - c): the attacked q-quantile is at least the clean u-quantile.

    Source: policy_smoothing, G9.

    Examples
    --------
    >>> round(float(quantile_level(0.5, 1.0)), 6)
    0.158655
    """
    return gaussian_shift(q, c)


def success_radius(p: ArrayLike, q: ArrayLike, *, sigma: float = 1.0, complement: ArrayLike | None = None) -> Any:
    """Return the largest budget that keeps a probability at least q: sigma (Phi^-1(p) - Phi^-1(q)).

    Parameters
    ----------
    p : array
        Clean probability, or a lower limit of it.
    q : array
        Probability to keep, in (0, 1).
    sigma : float
        Noise scale; the radius has its unit.
    complement : array, optional
        1 - p to full accuracy.

    Returns
    -------
    float or array
        The radius; negative where p < q (nothing is certified), infinite where p = 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G4.

    Examples
    --------
    >>> round(float(success_radius(0.9, 0.5)), 6)
    1.281552
    """
    require_positive_number("sigma", sigma)
    level = require_each_between("q", q, 0.0, 1.0)
    if np.any((level == 0.0) | (level == 1.0)):
        raise ValueError(f"q must be in (0, 1), got {np.ravel(level)[np.ravel((level == 0) | (level == 1))][0]}")
    return sigma * (normal_quantile(p, complement=complement) - normal_quantile(level))


def largest_radius(episodes: ArrayLike, *, alpha: float = 0.05, q: float = 0.5) -> Any:
    """Return the largest radius, in units of sigma, that so many episodes can prove even if every one of them succeeds.

    Source: policy_smoothing, G4.

    Examples
    --------
    >>> [round(float(r), 3) for r in largest_radius([100, 10_000, 1_000_000])]
    [1.888, 3.432, 4.527]
    """
    n = require_finite_array("episodes", episodes)
    if np.any(n < 1):
        raise ValueError(f"episodes must be at least 1, got {n.min()}")
    miss = -np.expm1(math.log(alpha) / n)
    return success_radius(1.0 - miss, q, complement=miss)


def conditional_shift(weights: ArrayLike, survival: ArrayLike, c: float, *, complement: ArrayLike | None = None) -> float:
    """Return the stratified bound sum_k w_k g_c(p_k), never below g_c(sum_k w_k p_k).

    Source: policy_smoothing, G2b.

    Examples
    --------
    >>> conditional_shift([0.5, 0.5], [1.0, 0.5], 1.0) > float(gaussian_shift(0.75, 1.0))
    True
    """
    w = require_each_between("weights", weights, 0.0, 1.0)
    if abs(w.sum() - 1.0) > 1e-9:
        raise ValueError(f"weights must sum to 1, got {w.sum()!r}")
    return float(np.dot(w, gaussian_shift(survival, c, complement=complement)))


def effective_budget(
    budget: ArrayLike,
    *,
    kind: str = "total",
    steps: int | None = None,
    copies: int = 1,
    samples: int = 1,
    rounding: float = 0.0,
    dimension: int | None = None,
) -> Any:
    """Return the total l2 budget B that a protocol amounts to, so that c = B / sigma.

    Parameters
    ----------
    budget : array
        The adversary's budget, in units of observation.
    kind : str
        `"total"`: l2 norm over the episode; `"total-norms"`: sum of the norms; `"per-step"`: the norm of every perturbation.
    steps : int, optional
        Longest episode T; needed for `"per-step"` and for rounding.
    copies : int
        Largest number of independent noise draws that one frame gets: k when noise is drawn again for every frame in a stack of k, else 1;
        k (k + 1) / 2 if the stack starts as k copies of the first frame with noise of their own.
    samples : int
        Noisy evaluations of one observation that the policy averages per step.
    rounding : float
        Grid on which observations are rounded after the attack, 0 for none.
    dimension : int, optional
        Coordinates of one observation; needed for rounding.

    Returns
    -------
    float or array
        B, of the shape of `budget`.

    Raises
    ------
    ValueError
        If an argument is out of range or a needed one is missing.

    Source: policy_smoothing, the table of protocols of G2, G7 and G13.

    Examples
    --------
    >>> float(effective_budget(0.3, kind="per-step", steps=100))
    3.0
    >>> round(float(effective_budget(1.0, copies=5)), 6)
    2.236068
    """
    amount = require_finite_array("budget", budget)
    if np.any(amount < 0):
        raise ValueError(f"budget must not be negative, got {amount.min()}")
    if kind not in ("total", "total-norms", "per-step"):
        raise ValueError(f"kind must be one of total, total-norms, per-step; got {kind!r}")
    for name, count in (("copies", copies), ("samples", samples)):
        if count < 1 or count != int(count):
            raise ValueError(f"{name} must be an integer >= 1, got {count}")
    if not 0.0 <= rounding < math.inf:
        raise ValueError(f"rounding must be finite and not negative, got {rounding}")
    if (kind == "per-step" or rounding > 0) and (steps is None or steps < 1):
        raise ValueError(f"steps must be an integer >= 1 for this protocol, got {steps}")
    if rounding > 0 and (dimension is None or dimension < 1):
        raise ValueError(f"dimension must be an integer >= 1 when observations are rounded, got {dimension}")
    total = amount * math.sqrt(steps) if kind == "per-step" else amount  # type: ignore[arg-type]
    if rounding > 0:
        total = total + rounding * math.sqrt(dimension * steps)  # type: ignore[operator]
    return total * math.sqrt(copies * samples)


def normal_transform(mean: ArrayLike, deviation: ArrayLike, c: ArrayLike) -> Any:
    """Return rho_c of a normal law, m - c s.  Source: policy_smoothing, G6."""
    return np.asarray(mean, dtype=np.float64) - np.asarray(c, dtype=np.float64) * np.asarray(deviation, dtype=np.float64)


def uniform_transform(c: ArrayLike) -> Any:
    """Return rho_c of the uniform law on [0, 1], Phi(-c / sqrt 2).  Source: policy_smoothing, G6."""
    from scipy.special import ndtr

    return ndtr(-np.asarray(c, dtype=np.float64) / math.sqrt(2.0))


def lognormal_transform(m: ArrayLike, s: ArrayLike, c: ArrayLike) -> Any:
    """Return rho_c of exp(m + s Z), exp(m - c s + s^2 / 2).  Source: policy_smoothing, G6."""
    spread = np.asarray(s, dtype=np.float64)
    return np.exp(np.asarray(m, dtype=np.float64) - np.asarray(c, dtype=np.float64) * spread + 0.5 * spread**2)


def bernoulli_transform(p: ArrayLike, c: ArrayLike, *, complement: ArrayLike | None = None) -> Any:
    """Return rho_c of a success indicator, g_c(p).  Source: policy_smoothing, G6."""
    return gaussian_shift(p, c, complement=complement)
