"""What a number of episodes can prove, before any of them is sampled.

With n episodes that all reach the same return r, the lower limit of the probability of reaching r is alpha^(1/n) at best, so no data
certify more than a + (r - a) g_c(alpha^(1/n)): what `certify_curve(..., thresholds=[r], band="clopper-pearson")` says of them, with r fixed in
advance.  A band for all thresholds at once, such as the default one of `certify_curve`, spends less than alpha on each: about twice as many
episodes are needed, and `plan(..., band="equal-local-level")` says how many.  A pilot run says more: its certificate at a larger n, if the
frequencies stay.

Source: policy_smoothing, G4 and G8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_open_unit, require_real, require_vector
from certify.smoothing.bands import BANDS, survival_band
from certify.smoothing.protocols import Protocol, as_protocol, noise_scale
from theory.policy_smoothing import gaussian_shift, gaussian_shift_lower, largest_radius

if TYPE_CHECKING:
    from certify.smoothing.returns import Returns

__all__ = ["EPISODES", "MOST", "Plan", "plan"]

FloatArray = NDArray[np.float64]

EPISODES: tuple[int, ...] = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 10_000_000)
"""Numbers of episodes that a plan considers by default."""

MOST = {"equal-local-level": 50_000}
"""Number of episodes up to which a band is considered by default: its exact level takes long beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What each number of episodes can prove at best.

    Parameters
    ----------
    episodes : array of shape (m,)
        Numbers of episodes.
    needed : array of shape (m,)
        The constant return that would have to be seen in every episode for the target to be certified; infinite if none suffices.
    ceiling_bound : array of shape (m,)
        Certified mean return if every episode reached the ceiling; NaN where no ceiling was given.
    forecast : array of shape (m,)
        Certificate at the frequencies of the pilot run; NaN without one.
    radius : array of shape (m,)
        Largest budget at which a success probability of 1/2 can be certified.
    enough : int or None
        Smallest number of episodes in all that can certify the target if all goes well (with a ceiling), or None.
    band : str
        The band that is planned with.
    """

    sigma: float
    budget: float
    target: float
    alpha: float
    floor: float
    ceiling: float | None
    shift: float
    episodes: NDArray[np.int64]
    needed: FloatArray
    ceiling_bound: FloatArray
    forecast: FloatArray
    radius: FloatArray
    enough: int | None
    band: str = "clopper-pearson"

    @property
    def value(self) -> FloatArray:
        """The best that can be certified, for each number of episodes."""
        return self.ceiling_bound


def plan(
    *,
    sigma: float | ArrayLike,
    budget: float,
    target: float,
    alpha: float = 0.05,
    floor: float = 0.0,
    ceiling: float | None = None,
    episodes: ArrayLike | None = None,
    pilot: ArrayLike | Returns | None = None,
    protocol: Protocol | str | None = None,
    band: str = "clopper-pearson",
) -> Plan:
    """Say what n episodes can prove before anything is sampled.

    Parameters
    ----------
    sigma : float or array
        Noise scale.
    budget : float
        Budget of the adversary.
    target : float
        Mean return to certify, above the floor.
    alpha : float
        Failure probability.
    floor : float
        Lower limit of the return under attack.
    ceiling : float, optional
        Largest possible return.
    episodes : array of int, optional
        Numbers of episodes to consider; `EPISODES` by default, up to 50,000 of them for the band `"equal-local-level"`.
    pilot : array or Returns, optional
        Returns of a pilot run; its frequencies are carried to every n.  The pilot itself must not be used again in the certificate.
    protocol : Protocol or str, optional
        As in `certify_curve`.
    band : str
        Band that will certify: one threshold fixed in advance with `"clopper-pearson"`, all of them with the others.  `enough` is None
        if the band `"equal-local-level"` needs more than 50,000 episodes.

    Returns
    -------
    Plan
        Bounds for every number of episodes.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G4.

    Examples
    --------
    >>> outlook = plan(sigma=0.2, budget=0.4, target=150.0, ceiling=200.0)
    >>> outlook.enough
    800
    """
    require_open_unit("alpha", alpha)
    scale = noise_scale(sigma)
    low, goal = require_real("floor", floor), require_real("target", target)
    if goal <= low:
        raise ValueError(f"target must be above floor = {low:g}, got {goal:g}")
    top = None if ceiling is None else require_real("ceiling", ceiling)
    if top is not None and top < goal:
        raise ValueError(f"ceiling must be at least target = {goal:g}, got {top:g}")
    require_choice("band", band, tuple(name for name in BANDS if name != "plugin"))
    most = MOST.get(band, 10**15)
    counts = require_vector("episodes", [n for n in EPISODES if n <= most] if episodes is None else episodes, minimum=1.0)
    rule = as_protocol(protocol)
    if rule.budget == "per-step-prefix":
        raise ValueError("protocol must be another than the prefix form in a plan, got 'per-step-prefix'")
    c = float(rule.shift(require_vector("budget", budget, minimum=0.0), scale)[0])
    if rule.noise_tv + rule.disagreement > 0:
        raise ValueError(f"protocol of a plan must have noise_tv = 0 and disagreement = 0, got {rule.noise_tv} and {rule.disagreement}")
    kept = _best_kept(counts, alpha, c, band)
    with np.errstate(divide="ignore"):
        needed = np.where(kept > 0.0, low + (goal - low) / np.maximum(kept, 1e-300), np.inf)
    reach = np.full(counts.size, np.nan) if top is None else low + (top - low) * kept
    return Plan(
        scale, float(budget), goal, alpha, low, top, c, counts.astype(np.int64), needed, reach, _forecast(pilot, counts, alpha, low, c, band),
        _radii(counts, alpha, scale, band), _enough(goal, low, top, alpha, c, band, most), band,
    )  # fmt: skip


def _absent(counts: FloatArray, alpha: float, band: str) -> FloatArray:
    """Return the upper limit of the probability of a failure after n successes and none."""
    if band == "clopper-pearson":
        return np.asarray(-np.expm1(math.log(alpha) / counts))
    return np.array([survival_band([int(n)], int(n), alpha=alpha, band=band, thresholds=1).miss[0] for n in counts])


def _best_kept(counts: FloatArray, alpha: float, c: float, band: str) -> FloatArray:
    """Return g_c of the lower limit: what is kept of a probability whose every trial succeeded."""
    absent = _absent(counts, alpha, band)
    return np.asarray(gaussian_shift(1.0 - absent, c, complement=absent))


def _radii(counts: FloatArray, alpha: float, scale: float, band: str) -> FloatArray:
    """Return the budget at which 1/2 is kept of a probability whose every trial succeeded."""
    if band == "clopper-pearson":
        return np.asarray(scale * np.asarray(largest_radius(counts, alpha=alpha)))
    from scipy.special import ndtri

    return np.asarray(-scale * ndtri(_absent(counts, alpha, band)))


def _enough(goal: float, floor: float, ceiling: float | None, alpha: float, c: float, band: str, most: int) -> int | None:
    """Return the smallest n with floor + (ceiling - floor) g_c(limit after n successes) >= goal, by bisection; None beyond `most` or without a ceiling."""
    if ceiling is None or ceiling <= goal:
        return None

    def good(n: int, band: str = band) -> bool:
        return floor + (ceiling - floor) * float(_best_kept(np.array([float(n)]), alpha, c, band)[0]) >= goal

    # a limit of one threshold fixed in advance is never below that of a band, and costs nothing to ask
    high = 1
    while not good(high, "clopper-pearson"):
        high *= 2
        if high > most:
            return None
    low = high // 2
    while not good(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high


def _forecast(pilot: ArrayLike | Returns | None, counts: FloatArray, alpha: float, floor: float, c: float, band: str) -> FloatArray:
    """Return the certificate with the pilot's distinct values as thresholds, its frequencies carried to every n."""
    if pilot is None:
        return np.full(counts.size, np.nan)
    values = np.sort(require_vector("pilot", getattr(pilot, "values", pilot), minimum=floor))
    levels = np.unique(values)
    widths = np.diff(levels, prepend=floor)
    share = (values.size - np.searchsorted(values, levels, side="left")) / values.size
    forecast = np.empty(counts.size)
    for i, n in enumerate(counts):
        limits = survival_band(np.floor(share * n), int(n), alpha=alpha, band=band, thresholds=levels.size)
        forecast[i] = floor + float(widths @ np.asarray(gaussian_shift_lower(limits.lower, c, complement=limits.miss)))
    return forecast
