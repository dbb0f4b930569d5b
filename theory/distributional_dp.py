r"""Return distributions: projected Bellman operators and distributional dynamic programming with a stock.

Setting.  A finite MDP with rewards \(|r| \le R\) and discount \(\gamma\).  The stock \(c_{t+1} = (c_t + r_{t+1})/\gamma\) keeps
\(c_0 + G_0 = \gamma^t (c_t + G_t)\) for every t, where \(G_t\) is the return from time t on.  A policy of (state, stock) is judged by a
functional K of the law of \(c + G\); expected utility is \(K\nu = E f(X)\).  The statements below are those of Pires et al. (2025) and of the
theory of projected operators under it (Rowland et al. 2018; Bellemare, Dabney, Rowland 2023), with sharper constants derived here.

Every bound is a pure function of numbers or arrays; checks, certificates and figures call these and no others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._distributional_dp_statements import GUARANTEES, PAPER

__all__ = [
    "GUARANTEES",
    "PAPER",
    "categorical_cramer_bound",
    "categorical_fixed_point_cramer",
    "categorical_fixed_point_wasserstein",
    "categorical_fixed_point_wasserstein_by_cramer",
    "categorical_wasserstein_bound",
    "contraction_factor",
    "dvi_error",
    "dvi_iterations",
    "greedy_loss",
    "lattice_radius",
    "macqueen_bounds",
    "outer_search_error",
    "outer_search_error_by_slope",
    "projected_dvi_error",
    "quantile_fixed_point_wasserstein",
    "quantile_fixed_point_wasserstein_book",
    "quantile_wasserstein_bound",
    "spread_cvar_gap",
    "spread_variance",
    "spread_wasserstein",
    "stock_grid_error",
    "sweep_wasserstein",
]

FloatArray = NDArray[np.float64]


def contraction_factor(gamma: ArrayLike, p: float, *, metric: str = "wasserstein") -> FloatArray:
    r"""Return the factor by which the Bellman operator of a fixed policy contracts.

    Parameters
    ----------
    gamma : array
        Discount.
    p : float
        Order of the distance, at least 1 (infinity allowed).
    metric : str
        `"wasserstein"` (factor \(\gamma\) for every p) or `"cdf"`, the distance \(l_p\) of distribution functions (factor \(\gamma^{1/p}\)).

    Returns
    -------
    array

    Source: distributional_dp/B1.

    Examples
    --------
    >>> round(float(contraction_factor(0.6, 2, metric="cdf")), 4)
    0.7746
    """
    if metric not in ("wasserstein", "cdf"):
        raise ValueError(f"metric must be 'wasserstein' or 'cdf', got {metric!r}")
    if not p >= 1:
        raise ValueError(f"p must be at least 1, got {p}")
    base = np.asarray(gamma, dtype=np.float64)
    return base if metric == "wasserstein" else np.asarray(base ** (1.0 / p))


def categorical_cramer_bound(dz: ArrayLike, masses: ArrayLike) -> FloatArray:
    r"""Return \(\frac{dz}{4}\sum_i p_i^2\), the bound on the squared Cramer distance of a law to its projection (distributional_dp/B2-cramer).

    Parameters
    ----------
    dz : array
        Spacing of the grid.
    masses : array, shape (..., cells)
        Mass inside each cell (summed over the last axis).
    """
    return np.asarray(np.asarray(dz, dtype=np.float64) / 4.0 * np.sum(np.square(np.asarray(masses, dtype=np.float64)), axis=-1))


def categorical_wasserstein_bound(gap: ArrayLike) -> FloatArray:
    r"""Return dz/2, the largest \(W_1\) distance of a law to its categorical projection; `gap` is the largest gap (distributional_dp/B2-wasserstein)."""
    return np.asarray(np.asarray(gap, dtype=np.float64) / 2.0)


def quantile_wasserstein_bound(width: ArrayLike, m: ArrayLike) -> FloatArray:
    r"""Return R/(2m), the largest \(W_1\) distance of a law of range R to its m mid-quantiles (distributional_dp/B2-quantile)."""
    return np.asarray(np.asarray(width, dtype=np.float64) / (2.0 * np.asarray(m)))


def categorical_fixed_point_cramer(dz: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(dz/(4(1-\gamma))\), the bound on the squared Cramer distance of the fixed point (distributional_dp/B3-cramer)."""
    return np.asarray(np.asarray(dz, dtype=np.float64) / (4.0 * (1.0 - np.asarray(gamma))))


def categorical_fixed_point_wasserstein(dz: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(dz/(2(1-\gamma))\) (distributional_dp/B3-wasserstein); `spread_wasserstein` is sharper still."""
    return np.asarray(np.asarray(dz, dtype=np.float64) / (2.0 * (1.0 - np.asarray(gamma))))


def categorical_fixed_point_wasserstein_by_cramer(width: ArrayLike, dz: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(\sqrt{(z_K-z_1)\,dz/(4(1-\gamma))}\), the usual route to \(W_1\) through the Cramer distance; kept for comparison."""
    return np.sqrt(np.asarray(width, dtype=np.float64) * categorical_fixed_point_cramer(dz, gamma))


def quantile_fixed_point_wasserstein(width: ArrayLike, m: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(R/(2m(1-\gamma))\) (distributional_dp/B3-quantile)."""
    return np.asarray(quantile_wasserstein_bound(width, m) / (1.0 - np.asarray(gamma)))


def quantile_fixed_point_wasserstein_book(width: ArrayLike, m: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(3R/(2m(1-\gamma))\), the constant of the textbook as recalled; kept for comparison."""
    return np.asarray(3.0 * quantile_fixed_point_wasserstein(width, m, gamma))


def spread_wasserstein(dz: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(dz/(2\sqrt{1-\gamma^2})\), the bound on \(W_2\), hence on \(W_1\), of the categorical fixed point.

    Parameters
    ----------
    dz : array
        Largest gap of the grid.
    gamma : array
        Discount, in [0, 1).

    Returns
    -------
    array

    Source: distributional_dp/B4-wasserstein.  Needs a range from which no Bellman update leaves.

    Examples
    --------
    >>> round(float(spread_wasserstein(1.0, 0.6)), 6)
    0.625
    """
    return np.asarray(np.asarray(dz, dtype=np.float64) / (2.0 * np.sqrt(1.0 - np.square(np.asarray(gamma, dtype=np.float64)))))


def spread_variance(dz: ArrayLike, gamma: ArrayLike) -> FloatArray:
    r"""Return \(dz^2/(4(1-\gamma^2))\), the largest variance that the projections add (distributional_dp/B4-variance)."""
    return np.square(spread_wasserstein(dz, gamma))


def spread_cvar_gap(dz: ArrayLike, gamma: ArrayLike, tau: ArrayLike) -> FloatArray:
    r"""Return \(dz/(2\tau\sqrt{1-\gamma^2})\): the lower CVaR of the projected law is below the true one by at most this (distributional_dp/B4-cvar)."""
    return np.asarray(spread_wasserstein(dz, gamma) / np.asarray(tau))


def sweep_wasserstein(dz: ArrayLike, gamma: ArrayLike, n: ArrayLike, start: ArrayLike) -> FloatArray:
    r"""Return \(dz/(2\sqrt{1-\gamma^2}) + \gamma^n\,\bar W_1(\eta_0,\eta^\pi)\), the \(W_1\) bound after n sweeps (distributional_dp/B4-sweeps).

    Parameters
    ----------
    dz, gamma : array
        Largest gap and discount.
    n : array
        Sweeps.
    start : array
        Bound on the \(W_1\) distance of the start from the truth; the width of the grid for a start inside it.
    """
    return np.asarray(spread_wasserstein(dz, gamma) + np.asarray(gamma, dtype=np.float64) ** np.asarray(n) * np.asarray(start))


def dvi_error(lipschitz: ArrayLike, gamma: ArrayLike, n: ArrayLike, distance: ArrayLike) -> FloatArray:
    r"""Return \(L\gamma^n D\), the error of distributional value iteration after n sweeps.

    Parameters
    ----------
    lipschitz : array
        Lipschitz constant of the functional in \(W_1\).
    gamma : array
        Discount.
    n : array
        Sweeps.
    distance : array
        \(D = \sup_\pi \bar W(\eta_0, \eta^\pi)\); at most \(R/(1-\gamma)\) from the point mass at 0.

    Returns
    -------
    array

    Source: distributional_dp/G6.

    Examples
    --------
    >>> float(dvi_error(1.0, 0.5, 3, 2.0))
    0.25
    """
    return np.asarray(np.asarray(lipschitz, dtype=np.float64) * np.asarray(gamma, dtype=np.float64) ** np.asarray(n) * np.asarray(distance))


def dvi_iterations(lipschitz: float, gamma: float, distance: float, error: float) -> int:
    r"""Return the least n with \(L\gamma^n D \le e\) (distributional_dp/G6)."""
    if not 0.0 < gamma < 1.0:
        raise ValueError(f"gamma must be in (0, 1), got {gamma}")
    if not error > 0.0:
        raise ValueError(f"error must be positive, got {error}")
    if lipschitz * distance <= error:
        return 0
    n = int(np.ceil(np.log(lipschitz * distance / error) / -np.log(gamma)))
    return n if float(dvi_error(lipschitz, gamma, n, distance)) <= error else n + 1


def greedy_loss(lipschitz: ArrayLike, gamma: ArrayLike, n: ArrayLike, distance: ArrayLike) -> FloatArray:
    r"""Return \(\frac{2\gamma}{1-\gamma}L\gamma^n D\), the a-priori loss of the policy that is greedy after n sweeps (distributional_dp/G7-prior)."""
    g = np.asarray(gamma, dtype=np.float64)
    return np.asarray(2.0 * g / (1.0 - g) * dvi_error(lipschitz, gamma, n, distance))


def macqueen_bounds(following: ArrayLike, difference: ArrayLike, gamma: float, *, exact_outside: bool) -> tuple[FloatArray, FloatArray]:
    r"""Return the a-posteriori bounds on the optimum from one more sweep.

    Parameters
    ----------
    following : array
        \(F\eta_{n+1}\) on the stocks of the box.
    difference : array
        \(F\eta_{n+1} - F\eta_n\) on the same stocks.
    gamma : float
        Discount in [0, 1).
    exact_outside : bool
        Whether values outside the box come from the exact closed form.  Their difference is 0 and enters both extremes.

    Returns
    -------
    tuple of array
        Lower and upper bound, of the shape of `following`; the greedy policy is between them too.

    Source: distributional_dp/G7-posterior.

    Examples
    --------
    >>> low, high = macqueen_bounds([2.0], [1.0], 0.5, exact_outside=True)
    >>> float(low[0]), float(high[0])
    (2.0, 3.0)
    """
    value, d = np.asarray(following, dtype=np.float64), np.asarray(difference, dtype=np.float64)
    least, most = float(d.min()), float(d.max())
    if exact_outside:
        least, most = min(least, 0.0), max(most, 0.0)
    factor = gamma / (1.0 - gamma)
    return value + factor * least, value + factor * most


def stock_grid_error(lipschitz: ArrayLike, gamma: ArrayLike, spacing: ArrayLike) -> FloatArray:
    r"""Return \(L\gamma H/(2(1-\gamma))\), the error of rounding stocks to the nearest node of spacing H (distributional_dp/G9a)."""
    g = np.asarray(gamma, dtype=np.float64)
    return np.asarray(np.asarray(lipschitz, dtype=np.float64) * g * np.asarray(spacing) / (2.0 * (1.0 - g)))


def projected_dvi_error(lipschitz: ArrayLike, gamma: ArrayLike, n: ArrayLike, distance: ArrayLike, dz: ArrayLike) -> FloatArray:
    r"""Return \(L(\gamma^n D + dz/(2(1-\gamma)))\), the error of projected value iteration (distributional_dp/G9b)."""
    return np.asarray(dvi_error(lipschitz, gamma, n, distance) + np.asarray(lipschitz) * categorical_fixed_point_wasserstein(dz, gamma))


def outer_search_error(tau: ArrayLike, spacing: ArrayLike) -> FloatArray:
    r"""Return \((1-\tau)H\), the loss of searching \(c_0\) on a grid of step H around the maximiser; attained by a point mass.

    The objective falls to the right of its maximiser with slope at most 1 and to the left with slope at most \(1/\tau-1\); the better of
    the two neighbouring nodes loses at most what both lose where those lines meet.

    Source: distributional_dp/G4-search.
    """
    return np.asarray((1.0 - np.asarray(tau, dtype=np.float64)) * np.asarray(spacing))


def outer_search_error_by_slope(tau: ArrayLike, spacing: ArrayLike) -> FloatArray:
    r"""Return \(\max(1, 1/\tau-1)H/2\), the bound by the Lipschitz constant alone; kept for comparison."""
    return np.asarray(np.maximum(1.0, 1.0 / np.asarray(tau, dtype=np.float64) - 1.0) * np.asarray(spacing) / 2.0)


def lattice_radius(largest_reward: float, gamma: float) -> int:
    r"""Return \(\lceil R/(1-\gamma)\rceil\): beyond this stock the sign of c + G is constant (distributional_dp/G3b)."""
    if not 0.0 <= gamma < 1.0:
        raise ValueError(f"gamma must be in [0, 1), got {gamma}")
    return int(np.ceil(largest_reward / (1.0 - gamma) - 1e-9))
