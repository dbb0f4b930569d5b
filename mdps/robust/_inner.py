"""Minimisers of a linear function over every common set of distributions around a nominal one.

Each function takes `z`, scaled so that its smallest entry is 0 and its largest 1, the nominal distribution `q` and the size of the
set, and returns a minimising distribution.  Sets that are polyhedra are solved exactly by sorting; the relative-entropy and Burg sets
by a safeguarded search on one multiplier that ends on the feasible side.

Source: robust_tabular T1, r2pvi G1 to G3.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TINY = float(np.finfo(np.float64).tiny)


def l1(z: Array, q: Array, radius: float) -> Array:
    """||p - q||_1 <= radius: half of it moves from the largest entries to the smallest."""
    return _move_down(z, q, 0.5 * radius)


def tv(z: Array, q: Array, radius: float) -> Array:
    """(1/2) ||p - q||_1 <= radius."""
    return _move_down(z, q, radius)


def _move_down(z: Array, q: Array, mass: float) -> Array:
    lowest = int(np.argmin(z))
    order = np.argsort(-z, kind="stable")
    order = order[order != lowest]
    taken = np.clip(mass - (np.cumsum(q[order]) - q[order]), 0.0, q[order])
    p = q.copy()
    p[order] -= taken
    p[lowest] += taken.sum()
    return p


def weighted_l1(z: Array, q: Array, radius: float, w: Array) -> Array:
    """sum_i w_i |p_i - q_i| <= radius, w > 0.

    At a multiplier L all the mass of the entries with (z_i - z_j) / (w_i + w_j) > L for some j goes to the entry that minimises
    z_j + L w_j.  The budget used falls in steps as L grows; at the step that crosses the radius the two plans are mixed.
    """
    leave = ((z[:, None] - z[None, :]) / (w[:, None] + w[None, :])).max(axis=1)
    receivers, breaks = _lower_envelope(z, w)

    def plan(level: float, after: bool) -> tuple[Array, float]:
        donors = (leave > level) if after else (leave >= level)
        receiver = receivers[int(np.searchsorted(breaks, level, side="right" if after else "left"))]
        donors[receiver] = False
        p = np.where(donors, 0.0, q)
        p[receiver] += q[donors].sum()
        return p, float(q[donors] @ (w[donors] + w[receiver]))

    levels = np.unique(np.concatenate([[0.0], leave[leave > 0], breaks]))
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if plan(levels[middle], True)[1] <= radius:
            high = middle
        else:
            low = middle + 1
    below, used = plan(levels[low], True)
    if levels[low] == 0.0:
        return below
    above, excess = plan(levels[low], False)
    share = (radius - used) / (excess - used) if excess > used else 0.0
    return below + min(1.0, max(0.0, share)) * (above - below)


def _lower_envelope(z: Array, w: Array) -> tuple[list[int], Array]:
    """Return the lines that attain min_j z_j + L w_j for growing L >= 0, and the L at which one follows the other."""
    current = int(np.lexsort((w, z))[0])
    receivers: list[int] = [current]
    breaks: list[float] = []
    while True:
        flatter = np.flatnonzero(w < w[current])
        if flatter.size == 0:
            return receivers, np.array(breaks)
        cross = (z[flatter] - z[current]) / (w[current] - w[flatter])
        first = int(np.lexsort((w[flatter], cross))[0])
        current = int(flatter[first])
        receivers.append(current)
        breaks.append(max(float(cross[first]), breaks[-1] if breaks else 0.0))


def linf(z: Array, q: Array, radius: float) -> Array:
    """|p_i - q_i| <= radius for every i: start at the floor and fill the smallest entries first."""
    floor, ceiling = np.maximum(q - radius, 0.0), np.minimum(q + radius, 1.0)
    order = np.argsort(z, kind="stable")
    room = (ceiling - floor)[order]
    p = floor.copy()
    p[order] += np.clip((1.0 - floor.sum()) - (np.cumsum(room) - room), 0.0, room)
    return p


def l2(z: Array, q: Array, radius: float) -> Array:
    """||p - q||_2 <= radius: follow the projections of q - s z on the simplex, piecewise linear in s, until the sphere is met."""
    radius = min(radius, 2.0)
    active = q > 0
    for i in np.argsort(z, kind="stable"):
        if not active[i]:
            if z[i] >= z[active].mean():
                break
            active[i] = True
    p = q.copy()
    while True:
        direction = np.where(active, z[active].mean() - z, 0.0)
        square = float(direction @ direction)
        if square <= 1e-30:
            return p
        away = p - q
        along, rest = float(away @ direction), radius * radius - float(away @ away)
        step = max(0.0, rest) / (along + np.sqrt(along * along + square * max(0.0, rest))) if rest > 0 else 0.0
        falling = np.flatnonzero(active & (direction < 0))
        limits = p[falling] / -direction[falling]
        first = int(np.argmin(limits))
        if step <= limits[first]:
            return _renormalised(p + step * direction)
        p = np.maximum(p + limits[first] * direction, 0.0)
        p[falling[first]] = 0.0
        active = active.copy()
        active[falling[limits <= limits[first]]] = False


def kl(z: Array, q: Array, radius: float) -> Array:
    """KL(p | q) <= radius: p proportional to q exp(-b z), with b from the radius."""
    lowest = (z == z[q > 0].min()) & (q > 0)
    mass = q[lowest].sum()
    if radius >= -np.log(mass):
        return np.where(lowest, q / mass, 0.0)
    if radius == 0.0:
        return q.copy()
    centred = z - q @ z

    def divergence(b: float) -> float:
        return _tilt(centred, q, b)[1]

    b = _last_below(divergence, radius, start=float(np.sqrt(2 * radius / (q @ centred**2))))
    return _tilt(centred, q, b)[0]


def _tilt(centred: Array, q: Array, b: float) -> tuple[Array, float]:
    """Return q exp(-b z) / M and its relative entropy to q; `centred` has mean zero under q."""
    support = q > 0
    x = np.where(support, -b * centred, 0.0)
    if np.abs(x).max() < 0.5:
        excess = float(q @ _exp_minus_line(x))
        log_m = float(np.log1p(excess))
        return _renormalised(q * np.exp(x - log_m)), float((q * np.expm1(x - log_m)) @ x) - log_m
    top = x.max()
    weight = q * np.exp(x - top)
    total = float(weight.sum())
    p = weight / total
    return p, float(p @ x) - top - float(np.log(total))


def _exp_minus_line(x: Array) -> Array:
    """exp(x) - 1 - x without cancellation near 0."""
    series = np.zeros_like(x)
    for k in range(14, 1, -1):
        series = (series + 1.0) * x / k
    return np.where(np.abs(x) < 0.5, series * x, np.expm1(x) - x)


def _last_below(function: Callable[[float], float], level: float, *, start: float) -> float:
    """Return the largest float found with function <= level, for a function that grows from 0 on [0, inf)."""
    low, high = 0.0, np.inf
    point = start
    for _ in range(2200):
        if function(point) <= level:
            low = point
        else:
            high = point
        if high == np.inf:
            point = 2.0 * point
            if point > 1e300:
                break
        elif low == 0.0:
            point = 0.5 * point
            if point < 1e-300:
                break
        elif high - low <= 4e-16 * high:
            break
        else:
            point = 0.5 * (low + high)
    return low


def chi2(z: Array, q: Array, radius: float) -> Array:
    """E_q (p/q - 1)^2 <= radius: p = (q/m) (1 + (mean - z)/a) on the lowest atoms, of mass m; the segment is the first that fits."""
    order = np.flatnonzero(q > 0)
    order = order[np.argsort(z[order], kind="stable")]
    mass, mean, square, tail = _prefixes(z[order], q[order])
    excess = radius * mass - tail
    reach = np.append(z[order][1:], np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(square / (mass * excess))
        fits = np.where(square == 0, excess >= 0, (excess > 0) & (mean + scale <= reach))
    fits[-1] = True
    k = int(np.flatnonzero(fits)[0])
    return _leaning(z, q, order[: k + 1], np.inf if square[k] == 0 or excess[k] <= 0 else float(scale[k]))


def _leaning(z: Array, q: Array, chosen: NDArray[np.intp], scale: float) -> Array:
    """Return p proportional to q (scale + mean - z) on the chosen entries, sorted by z; the mean is theirs.

    Distances are taken from the last of them, where they are smallest: one from the mean would lose a tiny `scale`.
    """
    share, below = q[chosen], z[chosen[-1]] - z[chosen]
    weight = share * (below + max(scale - float(share @ below) / float(share.sum()), 0.0))
    p = np.zeros_like(q)
    p[chosen] = weight if 0.0 < weight.sum() < np.inf else share
    return _renormalised(p)


def _prefixes(z: Array, q: Array) -> tuple[Array, Array, Array, Array]:
    """Return mass, mean, centred sum of squares of every prefix, and the mass beyond it (0 for the last)."""
    n = len(z)
    mass, mean, square = np.empty(n), np.empty(n), np.empty(n)
    m = s = 0.0
    # starting from the first entry keeps the square of a group of ties exactly zero
    e = float(z[0])
    for i in range(n):
        before, m = m, m + q[i]
        d = z[i] - e
        e += d * (q[i] / m)
        # z[i] - (new e) would cancel where this entry outweighs all before it
        s += q[i] * (before / m) * d * d
        mass[i], mean[i], square[i] = m, e, s
    tail = np.append(np.cumsum(q[::-1])[::-1][1:], 0.0)
    return mass, mean, square, tail


def burg(z: Array, q: Array, radius: float) -> Array:
    """sum_i q_i log(q_i / p_i) <= radius: p_i proportional to q_i / (z_i + e); mass may go to the smallest entry where q is 0."""
    if radius == 0.0:
        return q.copy()
    support = q > 0
    if radius == np.inf:
        return np.where(np.arange(len(z)) == np.argmin(z), 1.0, 0.0)
    centre = float(q @ z)
    if not np.any(support & (z > z[support].min())) and z[support].min() == 0.0:
        return q.copy()

    def spent(e: float) -> float:
        x = np.where(support, (z - centre) / (centre + e), 0.0)
        ratio = np.where(support, (z + e) / (centre + e), 1.0)
        logs = np.where(x < -0.5, np.log(ratio), np.log1p(np.maximum(x, -0.5)))
        return float(q @ (logs - x)) + float(np.log1p(q @ (x * x / ratio)))

    if z[support].min() > 0.0 and spent(0.0) <= radius:
        weight = np.where(support, q / np.where(support, z, 1.0), 0.0)
        p = weight * np.exp(float(q[support] @ np.log(z[support])) - radius)
        p[int(np.argmin(z))] += max(0.0, 1.0 - p.sum())
        return _renormalised(np.where(support, np.maximum(p, TINY), p))
    inverse = _last_below(lambda t: spent(1.0 / t), radius, start=1.0)
    weight = np.where(support, q / (z + 1.0 / inverse if inverse > 0 else 1.0), 0.0)
    # an entry that underflows to zero would cost an infinite divergence
    return np.where(support, np.maximum(_renormalised(weight), TINY), 0.0) if inverse > 0 else q.copy()


def wasserstein(z: Array, q: Array, radius: float, cost: Array) -> Array:
    """Transport cost from q to p at most radius: spend it on the steepest pieces of each source's lower convex hull."""
    pieces: list[tuple[float, float, int, int, int]] = []
    p = np.zeros_like(q)
    for i in np.flatnonzero(q > 0).tolist():
        hull = _falling_hull(cost[i], z)
        p[hull[0]] += q[i]
        for a, b in pairwise(hull):
            length = cost[i, b] - cost[i, a]
            pieces.append(((z[b] - z[a]) / length, length, i, a, b))
    left = radius
    for _, length, i, a, b in sorted(pieces):
        moved = min(q[i], left / length)
        p[a] -= moved
        p[b] += moved
        left -= moved * length
        if moved < q[i]:
            break
    return _renormalised(np.maximum(p, 0.0))


def _falling_hull(x: Array, y: Array) -> list[int]:
    """Return the vertices of the lower convex hull of the points (x, y), from the smallest x down to the smallest y."""
    hull: list[int] = []
    for i in np.lexsort((y, x)).tolist():
        if hull and (y[i] >= y[hull[-1]]):
            continue
        while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[i] - x[hull[-2]]) >= (y[i] - y[hull[-2]]) * (x[hull[-1]] - x[hull[-2]]):
            hull.pop()
        hull.append(i)
    return hull


def contamination(z: Array, q: Array, radius: float) -> Array:
    """(1 - radius) q + radius p', p' arbitrary."""
    p = (1.0 - radius) * q
    p[int(np.argmin(z))] += radius
    return p


def cvar(z: Array, q: Array, radius: float) -> Array:
    """p <= q / (1 - radius): the mean of the lowest 1 - radius of the mass; the smallest entry of the support at radius 1."""
    if radius == 1.0:
        lowest = (z == z[q > 0].min()) & (q > 0)
        return np.where(lowest, q / q[lowest].sum(), 0.0)
    order = np.argsort(z, kind="stable")
    room = q[order] / (1.0 - radius)
    # room may be as large as 1e16: what came before must not be had by subtracting it again
    before = np.append(0.0, np.cumsum(room)[:-1])
    p = np.zeros_like(q)
    p[order] = np.clip(1.0 - before, 0.0, room)
    return p


def tv_penalty(z: Array, q: Array, penalty: float) -> tuple[Array, float]:
    """Everything more than the penalty above the smallest entry moves there; returns p and the divergence."""
    moving = z > penalty
    moved = float(q[moving].sum())
    p = np.where(moving, 0.0, q)
    p[int(np.argmin(z))] += moved
    return p, moved


def kl_penalty(z: Array, q: Array, penalty: float) -> tuple[Array, float]:
    """p proportional to q exp(-z / penalty)."""
    if penalty < 1e-300:
        keep = (q > 0) & (z == z[q > 0].min())
        return np.where(keep, q / q[keep].sum(), 0.0), float(-np.log(q[keep].sum()))
    return _tilt(z - q @ z, q, 1.0 / penalty)


def chi2_penalty(z: Array, q: Array, penalty: float) -> tuple[Array, float]:
    """p_i = q_i (a - z_i)_+ / (2 penalty)."""
    order = np.flatnonzero(q > 0)
    order = order[np.argsort(z[order], kind="stable")]
    mass, mean, square, tail = _prefixes(z[order], q[order])
    with np.errstate(over="ignore"):
        scale = 2.0 * penalty / mass
    k = int(np.flatnonzero(mean + scale <= np.append(z[order][1:], np.inf))[0])
    spent = float(tail[k] / mass[k])
    if square[k] > 0.0:
        spent += float(square[k] / (2.0 * penalty) / (2.0 * penalty))
    return _leaning(z, q, order[: k + 1], float(scale[k])), spent


def _renormalised(p: Array) -> Array:
    p = np.maximum(p, 0.0)
    total: float = p.sum()
    return np.asarray(p / total)
