"""Compiled pieces of the confidence bands: binomial tails accurate to a few units in the last place, and a boundary-crossing probability.

The binomial point probability uses Loader's saddle-point form (deviances instead of differences of large logarithms) or, for few
successes, the plain product; the tail is the point probability times a continued fraction.  Every result comes with a first-order bound
on its rounding error, and the limits move outward by it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdps.jit import compiled

_EPS = 2.220446049250313e-16
_FEW = 64.0
_STIRLING_ERRORS = (
    0.08106146679532726, 0.0413406959554093, 0.02767792568499834, 0.020790672103765093, 0.016644691189821193, 0.013876128823070748,
    0.01189670994589177, 0.010411265261972096, 0.009255462182712733, 0.00833056343336287, 0.007573675487951841, 0.00694284010720953,
    0.006408994188004207, 0.0059513701127588475, 0.005554733551962801,
)  # fmt: skip
"""log n! minus Stirling's formula for n = 1 to 15, where the difference of large logarithms would lose their last digits."""


@compiled
def _stirling_error(n: float) -> float:
    """Return log n! minus Stirling's formula for a whole number n >= 1."""
    if n < 16.0:
        return _STIRLING_ERRORS[int(n) - 1]
    s = 1.0 / (n * n)
    return (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s * (1.0 / 1188.0 - s * 691.0 / 360360.0))))) / n


@compiled
def _deviance(x: float, mean: float) -> float:
    """Return x log(x / mean) + mean - x without cancellation."""
    gap = x - mean
    if abs(gap) < 0.1 * (x + mean):
        v = gap / (x + mean)
        total = gap * v
        term = 2.0 * x * v
        v *= v
        for j in range(1, 1000):
            term *= v
            new = total + term / (2 * j + 1)
            if new == total:
                break
            total = new
        return total
    return x * math.log(x / mean) + mean - x


@compiled
def _deviance_error(x: float, mean: float, deviance: float) -> float:
    """Return a bound on the rounding error of a deviance of exact arguments, in units of eps: the series is accurate, the difference is not."""
    return 4.0 * deviance if abs(x - mean) < 0.1 * (x + mean) else 2.0 * (x + mean + deviance)


@compiled
def _log_point_over(k: float, n: float, p: float, q: float, alpha: float) -> tuple[float, float]:
    """Return log(P(Bin(n, p) = k) / alpha) and a bound on its rounding error; 1 <= k <= n."""
    if k <= _FEW:
        value = 1.0 / alpha
        low, high = 0, int(k) - 1
        while low <= high:
            if value > 1.0:
                value *= (n - high) / (high + 1.0) * p
                high -= 1
            else:
                value *= (n - low) / (low + 1.0) * p
                low += 1
            if value < 1e-290 or value > 1e290:
                break
        if low > high and 1e-250 < value < 1e250:
            rest = (n - k) * math.log1p(-p) if p <= 0.5 else (n - k) * math.log(q)
            return math.log(value) + rest, _EPS * (2.0 + 2.0 * k - 2.0 * rest + abs(math.log(value)))
    if k == n:
        value = n * (math.log1p(-q) if q < 0.5 else math.log(p))
        return value - math.log(alpha), _EPS * (2.0 - 2.0 * value - math.log(alpha))
    first = _deviance(k, n * p)
    second = _deviance(n - k, n * q)
    shape = _stirling_error(n) - _stirling_error(k) - _stirling_error(n - k) - 0.5 * math.log(2.0 * math.pi * k * (n - k) / n)
    logarithm = math.log(alpha)
    rounding = _deviance_error(k, n * p, first) + _deviance_error(n - k, n * q, second)
    error = _EPS * (4.0 + rounding + 3.0 * abs(n * p - k) + abs(shape) + abs(shape - first - second) + abs(logarithm))
    return shape - first - second - logarithm, error


@compiled
def _fraction(a: float, b: float, x: float, y: float) -> tuple[float, float]:
    """Return r with I_x(a, b) = x^a y^b r / B(a, b), and its relative error in units of eps; y = 1 - x and x is below the mean a / (a + b).

    The continued fraction contracted to every second convergent, written in the distance from the mean, a - (a + b) x = (a + b) y - b,
    from the smaller of x and y, so that nothing cancels when one of them is close to 1.
    """
    start = 1.0 + (a - (a + b) * x if x <= y else (a + b) * y - b)
    base = 2.0 + 2.0 * (a if x <= y else b) / start
    slope = 1.0 + 1.0 / a
    before, now, below_before = 0.0, slope / start, slope / start
    ratio = now
    for m in range(1, 100_000):
        weight = m * (b - m) * x
        left = a / (a + 2.0 * m - 1.0)
        progress = 1.0 + (m - 1.0) / a
        numerator = progress * (progress + b / a) * left * left * weight * x
        share = (1.0 + m / a) / (slope + 2.0 * m / a)
        denominator = m + weight / (a + 2.0 * m - 1.0) + share * (start + m * (1.0 + y))
        top = numerator * before + denominator * now
        bottom = numerator * below_before + denominator
        before, now = now / bottom, top / bottom
        below_before = 1.0 / bottom
        if abs(now - ratio) <= 2e-16 * abs(now):
            return now, base + m
        ratio = now
    return ratio, math.inf


@compiled
def _log_tail_over(k: float, n: float, p: float, q: float, alpha: float) -> tuple[float, float, float]:
    """Return log(P(Bin(n, p) >= k) / alpha), the ratio of that tail to its first term, and an error bound of the logarithm."""
    point, error = _log_point_over(k, n, p, q, alpha)
    if k == n:
        return point, 1.0, error
    if p * (n + 1.0) <= k:
        fraction, terms = _fraction(k, n - k + 1.0, p, q)
        ratio = q * k * fraction
        return point + math.log(ratio), ratio, error + _EPS * (4.0 + terms)
    fraction, terms = _fraction(n - k + 1.0, k, q, p)
    first = math.exp(point) * alpha
    other = first * k * q * fraction
    tail = max(1.0 - other, 1e-300)
    return math.log(tail) - math.log(alpha), tail / first, (error + _EPS * (8.0 + terms)) * (other / tail + 1.0)


@compiled
def binomial_lower(counts: Any, n: float, alpha: float, z: float, lower: Any, upper_miss: Any) -> None:
    """Fill in the lower limits of success probabilities, rounded down, and the upper limits of the complements, rounded up.

    `counts` is a sorted float array with entries in 1..n; `z` is the normal quantile of 1 - alpha, used for the first guess only.
    """
    before, before_k, step_back = 0.0, -10.0, 0.0
    for i in range(counts.size):
        k = counts[i]
        if k == n:
            upper_miss[i] = min(-math.expm1(math.log(alpha) / n) * (1.0 + 4.0 * _EPS), 1.0)
            p = alpha if n == 1.0 else alpha ** (1.0 / n) * (1.0 - _EPS * (1.0 - 0.5 * math.log(alpha) / n))
            lower[i] = np.nextafter(1.0 - upper_miss[i], 0.0) if p > 0.5 else p
            continue
        if k == 1.0:
            p = -math.expm1(math.log1p(-alpha) / n)
            lower[i] = p * (1.0 - 3.0 * _EPS)
            upper_miss[i] = min((1.0 - lower[i]) * (1.0 + _EPS), 1.0)
            before, before_k, step_back = p, k, 0.0
            continue
        h = k - 0.5
        guess = (h + 0.5 * z * z - z * math.sqrt(h * (n - h) / n + 0.25 * z * z)) / (n + z * z)
        if k - before_k == 1.0 and step_back > 0.0:
            guess = before + step_back
        p = min(max(guess, 1e-300), 1.0 - 0.1 / n)
        small = True
        q = 1.0 - p
        margin = 0.0
        for _ in range(200):
            small = p <= q
            gap, ratio, error = _log_tail_over(k, n, p, q, alpha)
            if small:
                gain = ratio / k
                step = -gap * gain
                p *= math.exp(step)
                q = 1.0 - p
            else:
                gain = ratio * p / (k * q)
                step = gap * gain
                q *= math.exp(min(step, 0.6))
                p = 1.0 - q
            margin = error * gain + 2.0 * _EPS
            if step * step * (n + 1.0) < 0.2 * _EPS:
                break
        if small:
            lower[i] = p * (1.0 - margin)
            upper_miss[i] = min((1.0 - lower[i]) * (1.0 + _EPS), 1.0)
        else:
            upper_miss[i] = q * (1.0 + margin)
            lower[i] = np.nextafter(1.0 - upper_miss[i], 0.0)
        step_back = p - before if k - before_k == 1.0 else 0.0
        before, before_k = p, k


@compiled
def crossing_probability(limits: Any, alpha: float) -> float:
    """Return the probability that some order statistic of n uniforms exceeds its limit, rounded up by everything left out.

    Exact Poissonised recursion: a Poisson process of rate n has N(b_i) >= i at every limit b_i as long as nothing crossed; given
    N(1) = n its points are n independent uniforms.  `limits` is increasing, shape (n,).
    """
    n = limits.size
    log_all = -_stirling_error(float(n)) - 0.5 * math.log(2.0 * math.pi * n)
    cut = 1e-21 * alpha
    old = np.zeros(n + 2)
    new = np.zeros(n + 2)
    pmf = np.zeros(n + 2)
    old[0] = 1.0
    top = 0
    crossed = 0.0
    lost = 0.0
    last = 0.0
    for i in range(1, n + 1):
        mean = n * (limits[i - 1] - last)
        last = limits[i - 1]
        value = math.exp(-mean)
        width = 0
        while width <= n and (width <= mean or value > cut):
            pmf[width] = value
            width += 1
            value *= mean / width
        lost += 2.0 * value if width <= n else 0.0
        rest = n * (1.0 - last)
        left = float(n - i + 1)
        if rest > 0.0:
            weight = math.exp(-_stirling_error(left) - 0.5 * math.log(2.0 * math.pi * left) - _deviance(left, rest) - log_all)
            crossed += old[i - 1] * pmf[0] * weight
        for r in range(width):
            share = pmf[r]
            start = i - 1
            stop = min(top, n - r)
            for m in range(start, stop + 1):
                new[m + r] += share * old[m]
        for m in range(i - 1, top + 1):
            old[m] = 0.0
        top = min(top + width - 1, n)
        new[i - 1] = 0.0
        removed = 0.0
        while top > i and removed + new[top] < cut:
            removed += new[top]
            new[top] = 0.0
            top -= 1
        lost += removed
        old, new = new, old
    return crossed + lost * math.exp(-log_all)
