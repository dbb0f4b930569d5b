"""Statistics that checks share: slopes with confidence bands, and rates decided as early as possible at any time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from verify.types import Basis, Estimate

__all__ = ["anytime_rate", "fit_slope", "rate_limits"]


def fit_slope(x: ArrayLike, y: ArrayLike, *, failure: float = 0.05) -> Estimate:
    """Fit log y = a + slope log x by least squares and return the slope with its t-interval.

    Parameters
    ----------
    x, y : array of shape (n,)
        Positive numbers, n >= 3, x not all equal.
    failure : float
        One minus the confidence of the interval, in (0, 1).

    Returns
    -------
    Estimate
        FITTED: the interval describes the scatter about a straight line, not a proof.

    Raises
    ------
    ValueError
        If a number is not positive and finite or there are too few.

    Examples
    --------
    >>> round(fit_slope([1.0, 10.0, 100.0, 1000.0], [1.0, 0.1, 0.01, 0.001]).value, 12)
    -1.0
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.size < 3:
        raise ValueError(f"x and y must be vectors of one length >= 3, got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all() and (a > 0).all() and (b > 0).all() and np.ptp(a) > 0):
        raise ValueError("x and y must be positive and finite and x must vary")
    if not 0.0 < failure < 1.0:
        raise ValueError(f"failure must be in (0, 1), got {failure}")
    import statsmodels.api as sm

    fit = sm.OLS(np.log(b), sm.add_constant(np.log(a))).fit()
    value = float(fit.params[1])
    low, high = (float(end) for end in fit.conf_int(alpha=failure)[1])
    if not (math.isfinite(low) and math.isfinite(high)):
        low = high = value
    return Estimate(value, min(low, value), max(high, value), failure=failure, basis=Basis.FITTED)


def rate_limits(successes: int, trials: int, *, failure: float) -> tuple[float, float]:
    """Return limits of a probability that hold at every number of trials at once.

    The likelihood ratio against a rate p, mixed over Beta(1/2, 1/2) alternatives, is a martingale under p; the limits are the rates at
    which it has stayed below 1/failure (Ville's inequality), widened by the accuracy of the root finding.

    Parameters
    ----------
    successes, trials : int
        Counts so far, 0 <= successes <= trials and trials >= 1.
    failure : float
        Probability that the true rate is ever outside, in (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper limit.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> low, high = rate_limits(50, 1000, failure=0.01)
    >>> 0.02 < low < 0.05 < high < 0.09
    True
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must be between 0 and trials >= 1, got {successes} of {trials}")
    if not 0.0 < failure < 1.0:
        raise ValueError(f"failure must be in (0, 1), got {failure}")
    from scipy.special import betaln

    losses = trials - successes
    mixture = float(betaln(successes + 0.5, losses + 0.5) - betaln(0.5, 0.5)) + math.log(failure)

    def inside(p: float) -> bool:
        return mixture <= (successes * math.log(p) if successes else 0.0) + (losses * math.log1p(-p) if losses else 0.0)

    centre = successes / trials
    low = 0.0 if successes == 0 else _edge(inside, centre, 0.0)
    high = 1.0 if losses == 0 else _edge(inside, centre, 1.0)
    return max(0.0, low - 1e-12), min(1.0, high + 1e-12)


def _edge(inside: Callable[[float], bool], good: float, bad: float) -> float:
    """Bisect between a rate inside the limits (or an end of [0, 1] that cannot be evaluated) and one outside; return the outer end."""
    near = min(max(good, 1e-300), 1.0 - 2**-53)
    for _ in range(200):
        middle = 0.5 * (near + bad)
        if middle in (near, bad):
            break
        if 0.0 < middle < 1.0 and inside(middle):
            near = middle
        else:
            bad = middle
    return bad


def anytime_rate(
    count: Callable[[int, int], int], bound: float, *, alternative: float, failure: float, limit: int, batch: int = 200
) -> Estimate:
    """Estimate a rate from trials drawn in batches, and stop as soon as it is decided against a bound.

    Parameters
    ----------
    count : callable
        `count(first, last)` returns the successes among the trials numbered first..last-1; trials are independent.
    bound : float
        The rate claimed not to be exceeded.
    alternative : float
        Factor > 1: sampling stops when the rate is proved above `bound` or below `alternative * bound`.
    failure : float
        Probability that the limits ever miss the rate.
    limit : int
        Most trials.
    batch : int
        Trials of the first batch; later ones are multiples of it that grow with the number so far, so that trials may be drawn in blocks
        numbered `first // batch`.

    Returns
    -------
    Estimate
        SAMPLED, with limits valid at the stopping time, at any level.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> anytime_rate(lambda first, last: last - first, 0.05, alternative=2.0, failure=1e-6, limit=10_000).lower > 0.05
    True
    """
    if not 0.0 < bound < 1.0 or not alternative > 1.0:
        raise ValueError(f"bound must be in (0, 1) and alternative > 1, got {bound} and {alternative}")
    if limit < 1 or batch < 1:
        raise ValueError(f"limit and batch must be at least 1, got {limit} and {batch}")
    trials = successes = 0
    while trials < limit:
        more = min(max(1, trials // 2 // batch) * batch, limit - trials)
        successes += count(trials, trials + more)
        trials += more
        low, high = rate_limits(successes, trials, failure=failure)
        if low > bound or high < alternative * bound:
            break
    low, high = rate_limits(successes, trials, failure=failure)
    return Estimate(
        successes / trials, low, high, failure=failure, basis=Basis.SAMPLED, relimit=lambda level: rate_limits(successes, trials, failure=level)
    )
