"""Bounds of later work on the same quantity, kept to be compared.  Source: policy_smoothing, G9 to G11."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory._validate import require_each_between, require_finite_array, require_positive_number


def total_variation(c: ArrayLike) -> Any:
    """Return the total variation 2 Phi(c / 2) - 1 between two unit Gaussians at distance c.

    Source: policy_smoothing, G11.

    Examples
    --------
    >>> round(float(total_variation(1.0)), 6)
    0.382925
    """
    from scipy.special import erf

    return erf(require_finite_array("c", c) / (2.0 * math.sqrt(2.0)))


def total_variation_mean_bound(mean: float, low: float, high: float, c: ArrayLike) -> Any:
    """Return mean - (high - low) TV(c) for a return in [low, high].

    Source: policy_smoothing, G11.

    Examples
    --------
    >>> round(float(total_variation_mean_bound(0.9, 0.0, 1.0, 1.0)), 6)
    0.517075
    """
    return mean - (high - low) * total_variation(c)


def lipschitz_mean_bound(mean: float, low: float, high: float, c: ArrayLike) -> Any:
    """Return mean - (high - low) c / sqrt(2 pi).  Source: policy_smoothing, G11."""
    return mean - (high - low) * require_finite_array("c", c) / math.sqrt(2.0 * math.pi)


def crop_mean_bound(mean: float, low: float, high: float, c: ArrayLike) -> Any:
    """Return mean - (high - low) c sqrt(2 / pi), the bound as CROP states it: valid, with twice the constant needed.

    Source: policy_smoothing, G11.

    Examples
    --------
    >>> round(float(crop_mean_bound(0.9, 0.0, 1.0, 1.0)), 6)
    0.102115
    """
    return mean - (high - low) * require_finite_array("c", c) * math.sqrt(2.0 / math.pi)


def crop_action_radius(
    best: float, second: float, *, low: float, high: float, sigma: float, samples: int, alpha: float, actions: int | None = None
) -> float:
    """Return the radius in which a smoothed greedy action cannot change, from the two largest sampled mean values.

    Parameters
    ----------
    best, second : float
        Means over `samples` noise draws of the clipped values of the best and the second action.
    low, high : float
        Clipping limits of the values.
    sigma : float
        Noise scale; the radius has its unit.
    samples : int
        Noise draws per action.
    alpha : float
        Failure probability.
    actions : int, optional
        Number of actions that share `alpha`; without it the deviation is the published one, which has no union over actions.

    Returns
    -------
    float
        The radius; 0 where nothing is certified.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G11.

    Examples
    --------
    >>> round(crop_action_radius(0.9, 0.1, low=0.0, high=1.0, sigma=0.2, samples=10_000, alpha=0.05, actions=2), 6)
    0.24154
    """
    from scipy.special import ndtri

    require_positive_number("sigma", sigma)
    require_each_between("alpha", alpha, 0.0, 1.0)
    if not low < high or samples < 1 or alpha == 0.0:
        raise ValueError(f"low < high, samples >= 1 and alpha > 0 must hold, got {low}, {high}, {samples}, {alpha}")
    width = high - low
    deviation = width * math.sqrt(math.log((actions or 1) / alpha) / (2.0 * samples))
    upper = min(max((best - deviation - low) / width, 0.0), 1.0)
    lower = min(max((second + deviation - low) / width, 0.0), 1.0)
    if upper <= lower:
        return 0.0
    return float(0.5 * sigma * (ndtri(upper) - ndtri(lower)))


def hockey_stick(order: ArrayLike, c: ArrayLike) -> Any:
    """Return the hockey-stick divergence of the given order between unit Gaussians at distance c, with its limit at c = 0.

    Source: policy_smoothing, G10.

    Examples
    --------
    >>> float(hockey_stick(0.25, 0.0))
    0.75
    >>> abs(float(hockey_stick(1.0, 1.0)) - float(total_variation(1.0))) < 1e-15
    True
    """
    from scipy.special import ndtr

    lam, shift = np.broadcast_arrays(require_finite_array("order", order), require_finite_array("c", c))
    if np.any(lam <= 0) or np.any(shift < 0):
        raise ValueError("order must be positive and c not negative")
    apart = shift > 0
    safe = np.where(apart, shift, 1.0)
    ratio = np.log(lam) / safe
    value = ndtr(safe / 2 - ratio) - lam * ndtr(-safe / 2 - ratio)
    return np.where(apart, np.maximum(value, 0.0), np.maximum(1.0 - lam, 0.0))[()]


def recepes_bound(values: ArrayLike, probabilities: ArrayLike, order: float, c: float, *, floor: float) -> float:
    """Return the l2 certificate of ReCePS for one multiplier, its free variable eliminated in closed form.

    V = max over support points k of k (1 - H) + a H - lambda E(k - J)_+, with H the hockey-stick divergence of order lambda.

    Parameters
    ----------
    values, probabilities : array of shape (K,)
        The clean law of the return.
    order : float
        Multiplier lambda > 0.
    c : float
        Budget over noise scale.
    floor : float
        Lower limit a of the return under attack.  The published code puts the smallest return seen: unsound.

    Returns
    -------
    float
        The bound, never above rho_c.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G10.

    Examples
    --------
    >>> recepes_bound([0.0, 1.0], [0.1, 0.9], 1.0, 1.0, floor=0.0) < 0.6109
    True
    """
    x = require_finite_array("values", values)
    w = require_each_between("probabilities", probabilities, 0.0, 1.0)
    h = float(hockey_stick(order, c))
    shortfall = np.maximum(x[:, None] - x[None, :], 0.0) @ w
    return float(max(np.max(x * (1.0 - h) + floor * h - order * shortfall), floor))


def published_quantile_level(q: float, c: ArrayLike, episodes: int, alpha: float) -> Any:
    """Return the sample level at which the S-DQN / S-PPO script reads the attacked q-quantile: Phi(Phi^-1(q - Delta) - c).

    Delta = sqrt(ln(1 / alpha) / (2 n)) is subtracted on the attacked side, where the shift has already shrunk it: not sound.

    Source: policy_smoothing, G9.

    Examples
    --------
    >>> round(float(published_quantile_level(0.5, 2.0, 1000, 0.05)), 6)
    0.017989
    """
    from scipy.special import ndtr, ndtri

    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    margin = math.sqrt(math.log(1.0 / alpha) / (2.0 * episodes))
    return ndtr(ndtri(max(q - margin, 0.0)) - require_finite_array("c", c))
