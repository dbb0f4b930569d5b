"""Compiled minimisers of one row: lowest expectation over a set around the nominal row.

A row is known by a number: 0 TV (mass that may move), 1 KL, 2 chi2, 3 TV charged, 4 KL charged, 5 chi2 charged.  `order` sorts `z`
upwards.  Each returns (value, gap, warm): the exact minimum lies in [value, value + gap] up to rounding; `warm` is the KL multiplier.
The minimiser is written to `p` unless `p` is empty.  Source: robust_tabular T1, r2pvi G1 to G3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mdps.jit import compiled

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled(fast_sums=True)
def dot(q: Array, z: Array) -> float:
    """Return the sum of q z."""
    total = 0.0
    for i in range(q.shape[0]):
        total += q[i] * z[i]
    return total


@compiled
def _lag(z: Array, q: Array, high: float) -> float:
    """Return how far the mean lies below the largest entry of the support, without cancellation."""
    lag = 0.0
    for i in range(q.shape[0]):
        if q[i] > 0.0:
            lag += q[i] * (high - z[i])
    return lag


@compiled
def copy_row(q: Array, p: Array) -> None:
    """Write q to p."""
    for i in range(q.shape[0]):
        p[i] = q[i]


@compiled
def tv_row(z: Array, order: Ints, q: Array, mass: float, p: Array) -> float:
    """Move `mass` from the largest entries to the smallest."""
    low = order[0]
    value = dot(q, z)
    if p.shape[0] > 0:
        copy_row(q, p)
    left = mass
    i = order.shape[0] - 1
    while left > 0.0 and i > 0:
        at = order[i]
        moved = min(q[at], left)
        if moved > 0.0:
            value -= moved * (z[at] - z[low])
            left -= moved
            if p.shape[0] > 0:
                p[at] -= moved
                p[low] += moved
        i -= 1
    return float(max(value, z[low]))


@compiled
def tv_charged_row(z: Array, order: Ints, q: Array, penalty: float, p: Array) -> float:
    """Move everything more than the penalty above the smallest entry."""
    low = order[0]
    top = z[low] + penalty
    value = 0.0
    for i in range(q.shape[0]):
        value += q[i] * min(z[i], top)
    if p.shape[0] > 0:
        copy_row(q, p)
        for i in range(q.shape[0]):
            if z[i] > top:
                p[low] += q[i]
                p[i] = 0.0
    return value


@compiled(fast_sums=True)
def _tilt_sums(z: Array, q: Array, base: float, b: float) -> tuple[float, float, float]:
    """Return the sums of w, w y, w y^2 with y = z - base and w = q exp(-b y); b y must not be very negative where q > 0."""
    m = a = s = 0.0
    for i in range(q.shape[0]):
        if q[i] > 0.0:
            y = z[i] - base
            w = q[i] * math.exp(-b * y)
            m += w
            a += w * y
            s += w * y * y
    return m, a, s


@compiled(fast_sums=True)
def _tilt_sums_near(z: Array, q: Array, mean: float, b: float) -> tuple[float, float, float]:
    """Return, for y = z - mean and x = -b y with |x| <= 0.5, the sums of q (e^x - 1 - x), q (e^x - 1) y, q e^x y^2."""
    m = a = s = 0.0
    for i in range(q.shape[0]):
        # off the support y may be so large that the series overflows
        y = z[i] - mean if q[i] > 0.0 else 0.0
        x = -b * y
        g = 1.0 / 14.0
        for k in range(13, 1, -1):
            g = (g * x + 1.0) / k
        g = g * x * x
        m += q[i] * g
        a += q[i] * (g + x) * y
        s += q[i] * (1.0 + x + g) * y * y
    return m, a, s


@compiled
def support_moments(z: Array, q: Array) -> tuple[float, float, float, float, float]:
    """Return minimum on the support, its mass, the maximum, mean and variance of z under q."""
    low, high = np.inf, -np.inf
    mean = 0.0
    for i in range(q.shape[0]):
        if q[i] > 0.0:
            low = min(low, z[i])
            high = max(high, z[i])
            mean += q[i] * z[i]
    mass = variance = shift = 0.0
    for i in range(q.shape[0]):
        if q[i] > 0.0:
            shift += q[i] * (z[i] - mean)
            variance += q[i] * (z[i] - mean) ** 2
            if z[i] == low:
                mass += q[i]
    # the first mean is off by its rounding, which a large radius would magnify
    return low, mass, high, min(max(mean + shift, low), high), max(variance - shift * shift, 0.0)


@compiled
def kl_moments(z: Array, q: Array, low: float, high: float, mean: float, b: float) -> tuple[float, float, float, float]:
    """Return mean, variance, log of the normaliser (base `low`) and relative entropy of the row tilted by exp(-b z)."""
    if b * (high - low) <= 0.5:
        m, a, s = _tilt_sums_near(z, q, mean, b)
        log_m = math.log1p(m)
        shift = a / (1.0 + m)
        tilted = mean + shift
        entropy = -b * shift - log_m
        return tilted, max(s / (1.0 + m) - shift * shift, 0.0), log_m - b * (mean - low), max(entropy, 0.0)
    m, a, s = _tilt_sums(z, q, low, b)
    shift = a / m
    return low + shift, max(s / m - shift * shift, 0.0), math.log(m), max(-b * shift - math.log(m), 0.0)


@compiled
def kl_row(z: Array, q: Array, radius: float, warm: float, tolerance: float, p: Array) -> tuple[float, float, float]:
    """Tilt by exp(-b z) until the relative entropy is the radius; the value is the dual, a lower bound within `gap`."""
    low, mass, high, mean, variance = support_moments(z, q)
    write = p.shape[0] > 0
    if radius >= -math.log(mass) or high == low:
        if write:
            for i in range(q.shape[0]):
                p[i] = q[i] / mass if (z[i] == low and q[i] > 0.0) else 0.0
        return low, 0.0, 0.0
    if radius <= 0.0 or variance <= 0.0:
        if write:
            copy_row(q, p)
        return mean, 0.0, 0.0
    below, above = 0.0, np.inf
    b = warm if warm > 0.0 and np.isfinite(warm) else math.sqrt(2.0 * radius / variance)
    value, gap = low, mean - low
    kept = 0.0
    for _ in range(200):
        tilted, spread, _, entropy = kl_moments(z, q, low, high, mean, b)
        # f is concave in a = 1/b with slope entropy - radius, and the optimal a is at most (mean - low) / radius
        excess = entropy - radius
        dual = max(tilted + excess / b, low)
        error = abs(excess) * max((mean - low) / radius, 1.0 / b)
        if dual > value:
            value = dual
        if error < gap:
            gap = error
            kept = b
        if error <= tolerance and (not write or abs(excess) <= 1e-10 * radius + 1e-16):
            break
        if excess <= 0.0:
            below = b
        else:
            above = b
        root = math.sqrt(entropy)
        guess = b + (math.sqrt(radius) - root) * 2.0 * root / (b * spread) if spread > 0.0 else -1.0
        if not (guess > below and guess < above):
            guess = 0.5 * (below + above) if above < np.inf else 2.0 * b
        if above < np.inf and above - below <= 4e-16 * above:
            break
        b = guess
    if write:
        b = kept
        if b * (high - low) <= 0.5:
            pivot = mean
        else:
            pivot = low
        total = 0.0
        for i in range(q.shape[0]):
            p[i] = q[i] * math.exp(-b * (z[i] - pivot)) if q[i] > 0.0 else 0.0
            total += p[i]
        for i in range(q.shape[0]):
            p[i] /= total
    return value, gap, kept


@compiled
def kl_charged_row(z: Array, q: Array, penalty: float, p: Array) -> float:
    """Return -penalty log E exp(-z / penalty)."""
    low, mass, high, mean, _ = support_moments(z, q)
    b = 1.0 / penalty
    write = p.shape[0] > 0
    if not (b * (high - low) < 1e300):
        if write:
            for i in range(q.shape[0]):
                p[i] = q[i] / mass if (z[i] == low and q[i] > 0.0) else 0.0
        return low if high > low else mean
    total = 0.0
    if b * (high - low) <= 0.5:
        m, _, _ = _tilt_sums_near(z, q, mean, b)
        value = mean - penalty * math.log1p(m) if penalty < np.inf else mean
    else:
        m, _, _ = _tilt_sums(z, q, low, b)
        value = low - penalty * math.log(m)
    if write:
        for i in range(q.shape[0]):
            p[i] = q[i] * math.exp(-b * (z[i] - low)) if q[i] > 0.0 else 0.0
            total += p[i]
        for i in range(q.shape[0]):
            p[i] /= total
    return float(min(max(value, low), high))


@compiled
def chi2_write(z: Array, order: Ints, q: Array, last: int, scale: float, p: Array) -> None:
    """Write p proportional to q (scale + mean - z) on the entries of `order` up to place `last`, zero elsewhere.

    Distances are taken from the last of these entries, where they are smallest: one from the mean would lose a tiny `scale`.
    """
    top, mass, lag = -np.inf, 0.0, 0.0
    for i in range(last, -1, -1):
        at = order[i]
        if q[at] > 0.0:
            top = max(top, z[at])
            mass += q[at]
            lag += q[at] * (top - z[at])
    level = max(scale - lag / mass, 0.0)
    for i in range(p.shape[0]):
        p[i] = 0.0
    total = 0.0
    for i in range(last + 1):
        at = order[i]
        p[at] = q[at] * (top - z[at] + level) if q[at] > 0.0 else 0.0
        total += p[at]
    plain = not (total > 0.0 and total < np.inf)
    for i in range(last + 1):
        at = order[i]
        p[at] = q[at] / mass if plain else p[at] / total


@compiled
def chi2_row(z: Array, order: Ints, q: Array, radius: float, p: Array) -> float:
    """Lean the row against z on its lowest atoms; the first prefix whose level stays below the next atom is the right one."""
    low, _, high, mean, variance = support_moments(z, q)
    n = order.shape[0]
    write = p.shape[0] > 0
    if radius <= 0.0 or variance <= 0.0 or high == low:
        if write:
            copy_row(q, p)
        return mean
    scale = math.sqrt(variance / radius)
    if mean + scale >= high and scale >= _lag(z, q, high):
        if write:
            chi2_write(z, order, q, n - 1, scale, p)
        return float(max(mean - math.sqrt(radius) * math.sqrt(variance), low))
    total = 0.0
    for i in range(n):
        total += q[i]
    m = e = s = 0.0
    i = 0
    while i < n:
        at = order[i]
        weight = q[at]
        if weight > 0.0:
            if m == 0.0:
                e = z[at]
            before, m = m, m + weight
            d = z[at] - e
            e += d * (weight / m)
            s += weight * (before / m) * d * d
            j = i + 1
            while j < n and q[order[j]] <= 0.0:
                j += 1
            tail = max(total - m, 0.0) if j < n else 0.0
            excess = radius * m - tail
            if s == 0.0:
                if excess >= 0.0:
                    if write:
                        chi2_write(z, order, q, i, np.inf, p)
                    return float(max(e, low))
            elif excess > 0.0:
                scale = math.sqrt(s / (m * excess))
                if j >= n or e + scale <= z[order[j]]:
                    if write:
                        chi2_write(z, order, q, i, scale, p)
                    return float(max(e - s / (m * scale), low))
        i += 1
    if write:
        copy_row(q, p)
    return mean


@compiled
def chi2_charged_row(z: Array, order: Ints, q: Array, penalty: float, p: Array) -> float:
    """p_i = q_i (a - z_i)_+ / (2 penalty) on the first prefix whose level a stays below the next atom."""
    low, _, high, mean, variance = support_moments(z, q)
    n = order.shape[0]
    write = p.shape[0] > 0
    if mean + 2.0 * penalty >= high and 2.0 * penalty >= _lag(z, q, high):
        if write:
            chi2_write(z, order, q, n - 1, 2.0 * penalty, p)
        return float(max(mean - variance / (4.0 * penalty), low)) if variance > 0.0 else mean
    total = 0.0
    for i in range(n):
        total += q[i]
    m = e = s = 0.0
    for i in range(n):
        at = order[i]
        weight = q[at]
        if weight <= 0.0:
            continue
        if m == 0.0:
            e = z[at]
        before, m = m, m + weight
        d = z[at] - e
        e += d * (weight / m)
        s += weight * (before / m) * d * d
        j = i + 1
        while j < n and q[order[j]] <= 0.0:
            j += 1
        if j >= n or e + 2.0 * penalty / m <= z[order[j]]:
            # E_p z = e - s/(2 penalty) and chi2 = (1 - m)/m + s/(4 penalty^2)
            tail = max(total - m, 0.0) if j < n else 0.0
            if write:
                chi2_write(z, order, q, i, 2.0 * penalty / m, p)
            spread = s / (4.0 * penalty) if s > 0.0 else 0.0
            return float(max(e - spread + penalty * tail / m, low))
    return mean


@compiled
def row(kind: int, z: Array, order: Ints, q: Array, size: float, warm: float, tolerance: float, p: Array) -> tuple[float, float, float]:
    """Return (value, gap, warm) of one row of the given kind."""
    if kind == 0:
        return tv_row(z, order, q, size, p), 0.0, 0.0
    if kind == 1:
        return kl_row(z, q, size, warm, tolerance, p)
    if kind == 2:
        return chi2_row(z, order, q, size, p), 0.0, 0.0
    if kind == 3:
        return tv_charged_row(z, order, q, size, p), 0.0, 0.0
    if kind == 4:
        return kl_charged_row(z, q, size, p), 0.0, 0.0
    return chi2_charged_row(z, order, q, size, p), 0.0, 0.0


@compiled
def rows(kind: int, z: Array, order: Ints, q: Array, sizes: Array, value: Array, p: Array) -> None:
    """Write values and minimisers of many rows, each with its own values and their order."""
    for i in range(q.shape[0]):
        value[i] = row(kind, z[i], order[i], q[i], sizes[i], 0.0, 1e-14, p[i])[0]
