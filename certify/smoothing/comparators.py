"""The bounds of other works on the same returns, each labelled sound or not.

Source: policy_smoothing, G9 to G11.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_open_unit, require_real, require_vector
from certify.smoothing.certificates import certify_curve
from certify.smoothing.quantiles import certify_quantile
from theory.policy_smoothing import crop_mean_bound, published_quantile_level, recepes_bound, total_variation_mean_bound

if TYPE_CHECKING:
    from certify.smoothing.returns import Returns

__all__ = ["Comparator", "compare_bounds"]

FloatArray = NDArray[np.float64]

_ORDERS = np.geomspace(1e-3, 1e3, 61)


@dataclass(frozen=True, slots=True, eq=False)
class Comparator:
    """A bound of another work: what it bounds, its curve, whether it is sound, and why."""

    name: str
    target: str
    budgets: FloatArray
    lower: FloatArray
    sound: bool
    note: str


def compare_bounds(
    returns: ArrayLike | Returns, *, sigma: float, budgets: ArrayLike, floor: float, ceiling: float, alpha: float = 0.05
) -> tuple[Comparator, ...]:
    """Evaluate the bounds of other works beside that of this library, for a total l2 budget.

    Parameters
    ----------
    returns : array of shape (n,) or Returns
        Returns of independent episodes with noise and without attack; the budget is charged as they were sampled.
    sigma : float
        Noise scale.
    budgets : array of shape (m,)
        Budgets.
    floor, ceiling : float
        Limits of the return that hold under attack.
    alpha : float
        Failure probability of each bound.

    Returns
    -------
    tuple of Comparator
        Bounds of the mean and of the median; those whose `sound` is False exceed the truth more often than alpha.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G5 and G9 to G11.

    Examples
    --------
    >>> import numpy as np
    >>> found = compare_bounds(np.r_[np.zeros(50), np.ones(950)], sigma=1.0, budgets=[0.5], floor=0.0, ceiling=1.0)
    >>> [c.name for c in found if not c.sound]
    ['CROP, as published', 'ReCePS, smallest return as floor', 'S-DQN median, as published']
    """
    sampled = hasattr(returns, "values") and hasattr(returns, "provenance")
    values = require_vector("returns", returns.values if sampled else returns, minimum=require_real("floor", floor))  # type: ignore[union-attr]
    if values.max() > require_real("ceiling", ceiling):
        raise ValueError(f"ceiling must not be below an observed return ({values.max():g}), got {ceiling:g}")
    require_open_unit("alpha", alpha)
    ours = certify_curve(returns, sigma=sigma, budgets=budgets, alpha=alpha, floor=floor)
    if ours.protocol.noise_tv > 0:
        raise ValueError("returns must be sampled with Gaussian noise for the bounds of other works, got grid noise")
    amount = ours.budgets
    c = ours.protocol.shift(amount, ours.sigma)
    mean = float(values.mean())
    safe = max(floor, mean - (ceiling - floor) * math.sqrt(math.log(1.0 / alpha) / (2.0 * values.size)))
    plain = certify_curve(returns, sigma=sigma, budgets=budgets, alpha=alpha, floor=floor, band="dkw-one-sided" if alpha <= 0.5 else "dkw")
    median = certify_quantile(returns, sigma=sigma, budgets=budgets, alpha=alpha)
    steps = np.maximum(-np.diff(ours.survival_lower, append=0.0), 0.0)
    law = (np.r_[floor, ours.thresholds], np.r_[max(1.0 - float(steps.sum()), 0.0), steps])
    minimum = float(values.min())
    published = np.quantile(values, np.asarray(published_quantile_level(0.5, c, values.size, alpha)))
    return (
        Comparator("this library", "mean", amount, ours.lower, True, "Wang transform of the equal-local-level band"),
        Comparator("DKW", "mean", amount, plain.lower, True, "Wang transform of the one-sided DKW band"),
        Comparator(
            "total variation", "mean", amount, np.maximum(np.asarray(total_variation_mean_bound(safe, floor, ceiling, c)), floor), True,
            "lower limit of the mean minus range times total variation",
        ),
        Comparator(
            "CROP, lower limit of the mean", "mean", amount, np.maximum(np.asarray(crop_mean_bound(safe, floor, ceiling, c)), floor), True,
            "valid, with twice the constant needed",
        ),
        Comparator("CROP, as published", "mean", amount, np.asarray(crop_mean_bound(mean, floor, ceiling, c)), False, "uses the sample mean"),
        Comparator(
            "ReCePS, true floor", "mean", amount, _dual(*law, c, floor), True, "hockey-stick dual of the band's law: never above the Wang transform",
        ),
        Comparator(
            "ReCePS, smallest return as floor", "mean", amount, _dual(np.maximum(law[0], minimum), law[1], c, minimum), False,
            "a return that was not seen costs nothing",
        ),
        Comparator("median", "median", amount, median.lower, True, "order statistic"),
        Comparator("S-DQN median, as published", "median", amount, published, False, "Hoeffding's margin is shrunk by the shift"),
    )  # fmt: skip


def _dual(values: FloatArray, weights: FloatArray, c: FloatArray, floor: float) -> FloatArray:
    """Return the largest dual bound over a grid of multipliers, for every shift."""
    weights = weights / weights.sum()
    return np.array([max(recepes_bound(values, weights, float(order), float(x), floor=floor) for order in _ORDERS) for x in c])
