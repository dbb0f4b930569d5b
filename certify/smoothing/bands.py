"""Confidence limits for the survival function of a return: Clopper-Pearson, Dvoretzky-Kiefer-Wolfowitz, equal local level.

A band turns the counts x_i = #{episodes with return >= s_i} into lower limits of P(J >= s_i) that hold together except with probability
alpha, and into upper limits of the complements, so that nothing is lost near 1.  Every limit is rounded outward: the binomial tail at a
returned Clopper-Pearson limit never exceeds its level, in exact arithmetic.

Source: policy_smoothing, G8a to G8c.
"""

from __future__ import annotations

import json
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_integer_at_least, require_open_unit

__all__ = ["BANDS", "Band", "clopper_pearson_lower", "dkw_deviation", "equal_local_level", "survival_band"]

FloatArray = NDArray[np.float64]

BANDS = ("clopper-pearson", "dkw", "dkw-one-sided", "equal-local-level", "plugin")
"""Names of the bands; `plugin` is the observed frequency and certifies nothing."""

_EPS = float(np.finfo(np.float64).eps)


class Band(NamedTuple):
    """Simultaneous limits of survival probabilities.

    `lower` holds lower limits of P(J >= s_i), `miss` upper limits of 1 - P(J >= s_i); `level` is what each limit spends (the deviation
    from the frequency for the DKW bands).
    """

    lower: FloatArray
    miss: FloatArray
    level: float


def clopper_pearson_lower(successes: ArrayLike, trials: int, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Return lower confidence limits of success probabilities and upper limits of their complements.

    Parameters
    ----------
    successes : integer array
        Counts in 0..trials, of any shape; 1e6 of them take about a second.
    trials : int
        Number n of independent trials, at least 1.
    alpha : float
        Level in [1e-300, 1): the chance that one limit is above the truth.

    Returns
    -------
    lower, miss : float arrays
        Of the shape of `successes`.  P(Bin(n, lower) >= x) <= alpha holds exactly, not only up to rounding, and so with 1 - miss.

    Raises
    ------
    ValueError
        If a count is outside 0..trials, or an argument is out of range.

    Source: policy_smoothing, G8a.

    Examples
    --------
    >>> lower, miss = clopper_pearson_lower([9712, 10_000], 10_000, 0.05)
    >>> [round(float(x), 8) for x in lower]
    [0.96829521, 0.99970047]
    """
    require_integer_at_least("trials", trials, 1)
    require_open_unit("alpha", alpha)
    if alpha < 1e-300:
        raise ValueError(f"alpha of one limit must be at least 1e-300, got {alpha}")
    counts = np.asarray(successes)
    x = counts.astype(np.float64)
    if np.any(~((x >= 0) & (x <= trials) & (x == np.floor(x)))):
        bad = x[~((x >= 0) & (x <= trials) & (x == np.floor(x)))][0]
        raise ValueError(f"successes must be integers in 0..{trials}, got {bad}")
    distinct, where = np.unique(x.ravel(), return_inverse=True)
    low, miss = np.zeros(distinct.size), np.ones(distinct.size)
    first = int(distinct.size > 0 and distinct[0] == 0)
    if distinct.size > first:
        from scipy.special import ndtri

        from certify.smoothing._kernels_bands import binomial_lower

        binomial_lower(distinct[first:], float(trials), float(alpha), float(-ndtri(alpha)), low[first:], miss[first:])
    return low[where].reshape(x.shape), miss[where].reshape(x.shape)


def dkw_deviation(episodes: int, alpha: float, *, one_sided: bool = True) -> float:
    """Return the distance below the empirical survival function that holds everywhere at once, rounded up.

    Parameters
    ----------
    episodes : int
        Number n of independent episodes.
    alpha : float
        Level; at most 1/2 for the one-sided constant (Massart).
    one_sided : bool
        Use ln(1 / alpha) instead of ln(2 / alpha).

    Returns
    -------
    float
        sqrt(ln(1 / alpha) / (2 n)) or sqrt(ln(2 / alpha) / (2 n)).

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G8b.

    Examples
    --------
    >>> round(dkw_deviation(10_000, 0.05), 6), round(dkw_deviation(10_000, 0.05, one_sided=False), 6)
    (0.012239, 0.013581)
    """
    require_integer_at_least("episodes", episodes, 1)
    require_open_unit("alpha", alpha)
    if one_sided and alpha > 0.5:
        raise ValueError(f"alpha must be in (0, 0.5] for the one-sided DKW band, got {alpha}")
    return math.sqrt(math.log((1.0 if one_sided else 2.0) / alpha) / (2.0 * episodes)) * (1.0 + 8.0 * _EPS)


def survival_band(counts: ArrayLike, episodes: int, *, alpha: float, band: str, thresholds: int) -> Band:
    """Return simultaneous limits of the probabilities of reaching each threshold.

    Parameters
    ----------
    counts : integer array of shape (K,)
        Episodes that reach threshold i.
    episodes : int
        Number n of episodes.
    alpha : float
        Failure probability of all limits together.
    band : str
        One of `BANDS`.
    thresholds : int
        Number of limits that share alpha in the Clopper-Pearson band: K for thresholds fixed in advance, n for observed values.

    Returns
    -------
    Band
        Limits of the shape of `counts`.

    Raises
    ------
    ValueError
        If an argument is out of range or the band unknown.

    Source: policy_smoothing, G8.

    Examples
    --------
    >>> survival_band([92], 100, alpha=0.05, band="dkw-one-sided", thresholds=1).lower.round(4).tolist()
    [0.7976]
    """
    require_choice("band", band, BANDS)
    require_open_unit("alpha", alpha)
    require_integer_at_least("episodes", episodes, 1)
    require_integer_at_least("thresholds", thresholds, 1)
    x = np.asarray(counts, dtype=np.float64)
    if band == "clopper-pearson":
        level = alpha / thresholds * (1.0 - _EPS)
        return Band(*clopper_pearson_lower(x, episodes, level), level)
    if band == "equal-local-level":
        level = equal_local_level(episodes, alpha)
        return Band(*clopper_pearson_lower(x, episodes, level), level)
    if band == "plugin":
        return Band(x / episodes, (episodes - x) / episodes, math.nan)
    deviation = dkw_deviation(episodes, alpha, one_sided=band == "dkw-one-sided")
    lower = np.maximum(x / episodes * (1.0 - _EPS) - deviation * (1.0 + _EPS), 0.0)
    miss = np.minimum((episodes - x) / episodes * (1.0 + _EPS) + deviation * (1.0 + _EPS), 1.0)
    return Band(lower, miss, deviation)


@lru_cache(maxsize=256)
def equal_local_level(n: int, alpha: float) -> float:
    """Return the one level at which Clopper-Pearson limits of all n order statistics hold together with probability 1 - alpha.

    Exact up to a relative 1e-8 on the safe side, whatever the law of the return.  About two seconds at n = 10,000 and growing with
    n^1.5; results are kept in the cache folder.

    Parameters
    ----------
    n : int
        Number of independent episodes, at least 1.
    alpha : float
        Simultaneous level in [1e-200, 1).

    Returns
    -------
    float
        gamma with P(U_(i) <= BetaInv(1 - gamma; i, n - i + 1) for all i) >= 1 - alpha.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G8c.

    Examples
    --------
    >>> round(equal_local_level(100, 0.05), 8)
    0.00246093
    """
    require_integer_at_least("n", n, 1)
    require_open_unit("alpha", alpha)
    if alpha < 1e-200:
        raise ValueError(f"alpha must be at least 1e-200, got {alpha}")
    if n == 1:
        return float(alpha)
    path = _level_path(n, alpha)
    known = _read_level(path)
    if known is not None and alpha / n * (1.0 - 1e-6) <= known <= alpha:
        return known
    level = _solve_level(int(n), float(alpha))
    _write_level(path, level)
    return level


def _solve_level(n: int, alpha: float) -> float:
    """Return gamma by the secant method in log(gamma) against log(crossing probability), moved to the safe side."""
    target = math.log(alpha)
    lowest, highest = math.log(alpha / n), target
    x0 = target - math.log1p(min(n - 1, 11.0 * math.log(n)) * 0.55)
    f0 = math.log(_crossing(n, math.exp(x0), alpha)) - target
    x1 = min(max(x0 - f0, lowest), highest)
    for _ in range(60):
        f1 = math.log(_crossing(n, math.exp(x1), alpha)) - target
        if abs(f1) < 1e-9 or x1 == x0:
            break
        slope = min(max((f1 - f0) / (x1 - x0), 0.3), 3.0)
        x0, f0 = x1, f1
        x1 = min(max(x1 - f1 / slope, lowest), highest)
    level = math.exp(x1) * (1.0 - 8e-9 - 1e-14 * n)
    while _crossing(n, level, alpha) > alpha * (1.0 - 1e-9):
        level *= 1.0 - 1e-6
    return level


def _crossing(n: int, level: float, alpha: float) -> float:
    """Return the probability that some order statistic passes its limit at this level."""
    from certify.smoothing._kernels_bands import crossing_probability

    lower, miss = clopper_pearson_lower(np.arange(n, 0, -1), n, level)
    limits = np.where(lower > 0.5, miss, 1.0 - lower)
    return float(crossing_probability(np.maximum.accumulate(limits), alpha))


def _level_path(n: int, alpha: float) -> Path:
    from mdps.jit import cache_root

    return cache_root() / "levels" / f"equal-local-level-1-{n}-{float(alpha).hex()}.json"


def _read_level(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text())["level"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_level(path: Path, level: float) -> None:
    """Keep a level for later runs; a cache that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"level": level}))
        os.replace(part, path)
    except OSError:
        return
