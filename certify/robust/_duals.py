"""Worst cases of regressed distributions: the duals of r2pvi G1 to G3 with signed ridge weights in the place of probabilities.

`weights` (d, m) has a row for each coordinate and a column for each next state or sample; `values` (m,) are the values there.  Since the
weights are signed, the constrained objectives are piecewise linear in the level but not concave: they are maximised over all breakpoints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdps.robust import worst_case

FloatArray = NDArray[np.float64]

LEVELS = 2049
"""Points of the grid of levels of chi2, beside all values; its spacing enters the certificate."""


def penalised_tv(weights: FloatArray, values: FloatArray, penalty: float, minimum: float) -> FloatArray:
    """Return W [V]_{min V + lambda}.  Source: r2pvi, G1."""
    result: FloatArray = weights @ np.minimum(values, minimum + penalty)
    return result


def penalised_kl(weights: FloatArray, values: FloatArray, penalty: float, high: float) -> FloatArray:
    """Return -lambda log max(W e^{-V/lambda}, e^{-high/lambda}).  Source: r2pvi, G2."""
    low = float(values.min())
    moment = weights @ np.exp(-(values - low) / penalty)
    with np.errstate(divide="ignore"):
        logarithm = np.log(np.maximum(moment, 0.0))
    return np.minimum(low - penalty * logarithm, high)


def _truncated(weights: FloatArray, values: FloatArray, levels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return W [V]_a and W [V]_a^2 for every row and level, by prefix sums over the sorted values."""
    order = np.argsort(values, kind="stable")
    v, w = values[order], weights[:, order]
    zero = np.zeros((len(w), 1))
    mass, first, second = (np.concatenate([zero, np.cumsum(x, axis=1)], axis=1) for x in (w, w * v, w * v * v))
    below = np.searchsorted(v, levels, side="right")
    rest = mass[:, -1:] - mass[:, below]
    return first[:, below] + levels * rest, second[:, below] + levels**2 * rest


def chi2_levels(values: FloatArray, low: float, high: float) -> FloatArray:
    """Return the levels over which chi2 is maximised: all values between low and high, and an even grid."""
    inside = values[(values >= low) & (values <= high)]
    return np.unique(np.concatenate([inside, np.linspace(low, high, LEVELS)]))


def penalised_chi2(weights: FloatArray, values: FloatArray, penalty: float, low: float, high: float, cap: float) -> FloatArray:
    """Return max_a { z1 + z1^2/(4 lambda) - z2/(4 lambda) } with z1, z2 the regressions of [V]_a and its square, clipped to [0, cap], [0, cap^2].

    Source: r2pvi, G3 and the algorithm's step for chi2.
    """
    first, second = _truncated(weights, values, chi2_levels(values, low, high))
    z1, z2 = np.clip(first, 0.0, cap), np.clip(second, 0.0, cap * cap)
    best: FloatArray = (z1 + (z1 * z1 - z2) / (4.0 * penalty)).max(axis=1)
    return best


def certified_chi2(weights: FloatArray, values: FloatArray, penalty: float, low: float, high: float) -> FloatArray:
    """Return max over two levels 0 <= a - b <= 2 lambda of the regression of W - (W - b)^2/(4 lambda), W = [V]_a.

    The regressed function has total variation at most R(1 + R/(4 lambda)), which is what the certificate charges.
    """
    levels = chi2_levels(values, low, high) - low
    z1, z2 = _truncated(weights, values - low, levels)
    b = np.clip(z1, np.maximum(levels - 2.0 * penalty, 0.0), levels)
    best: FloatArray = (z1 - (z2 - 2.0 * b * z1 + b * b) / (4.0 * penalty)).max(axis=1)
    return low + best


def constrained_tv(weights: FloatArray, values: FloatArray, radius: FloatArray, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Return max over a in [low, high] of { W [V]_a - rho (a - low) } and the level that attains it, exactly.

    `radius` (d,).  The objective is linear between neighbouring values, so its maximum is at low, high or a value.

    Source: r2pvi, G1 and G12.
    """
    inside = values[(values > low) & (values < high)]
    levels = np.unique(np.concatenate([inside, [low, high]]))
    objective = _truncated(weights, values, levels)[0] - radius[:, None] * (levels - low)
    best = objective.argmax(axis=1)
    return objective[np.arange(len(weights)), best], levels[best]


def band_kl(weights: FloatArray, values: FloatArray, radius: FloatArray, width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the greatest constrained KL worst case of the laws whose survival function is within `width` (d,) of the regressed one.

    The worst case depends on the law of the values only and rises with it stochastically, so the two ends of the band enclose it.  A regression
    of every indicator V > t serves all thresholds t, and no dual variable is searched for.
    """
    levels, place = np.unique(values, return_inverse=True)
    mass = np.zeros((len(weights), levels.size))
    np.add.at(mass.T, place, weights.T)
    survival = mass[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    below, above = (np.clip(survival + sign * width[:, None], 0.0, 1.0) for sign in (-1.0, 1.0))
    # a survival function falls: carry the tighter neighbour over
    below = np.maximum.accumulate(below[:, ::-1], axis=1)[:, ::-1]
    above = np.minimum.accumulate(above, axis=1)
    ends = []
    for found in (below, above):
        law = -np.diff(found, axis=1, prepend=1.0, append=0.0)
        ends.append(np.array([worst_case(levels, p, divergence="kl", radius=float(rho)).value for p, rho in zip(law, radius, strict=True)]))
    return ends[0], ends[1]


def constrained_kl(weights: FloatArray, values: FloatArray, radius: FloatArray, high: float, floor: float) -> FloatArray:
    """Return the largest { -a log max(W e^{-V/a}, e^{-high/a}) - a rho } over a geometric grid of a >= floor, refined twice around its best.

    Every a gives a value of the dual, so the result is never above its supremum.  Source: r2pvi, G2 and G11 (DRVI-L).
    """
    low = float(values.min())
    span = max(high - low, 1e-12)
    top = max(span / max(float(radius.min()), 1e-6), 10.0 * floor)

    def objective(a: FloatArray) -> FloatArray:
        """The dual at one row of levels for every coordinate, a (d, g)."""
        moment = np.einsum("dm,dgm->dg", weights, np.exp(-(values - low) / a[..., None]))
        with np.errstate(divide="ignore"):
            logarithm = np.log(np.maximum(moment, np.exp(-span / a)))
        found: FloatArray = np.minimum(low - a * np.maximum(logarithm, -span / a), high) - a * radius[:, None]
        return found

    d = len(weights)
    exponent = np.broadcast_to(np.linspace(np.log(floor), np.log(top), 65), (d, 65))
    result = np.full(d, -np.inf)
    for _ in range(3):
        found = objective(np.exp(exponent))
        best = found.argmax(axis=1)
        result = np.maximum(result, found.max(axis=1))
        step = exponent[:, 1] - exponent[:, 0]
        centre = exponent[np.arange(d), best]
        exponent = np.clip(centre[:, None] + step[:, None] * np.linspace(-1.0, 1.0, 65), np.log(floor), np.log(top))
    return result
