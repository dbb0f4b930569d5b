"""Kernels of the eluder dimension and of AGEC: all of them enumerate, none of them rounds.

The exact dimension works on ranks: `rank[phi, S]` is the place of sum_{x in S} phi(x)^2 among all such sums and eps^2, so that comparing
ranks is comparing exact numbers.  A set of scales is a union of half-open intervals of ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled

__all__ = ["enumerate_sequences", "greedy_sequences", "search", "subsets"]


@compiled
def _merge(low: Any, high: Any, count: Any) -> Any:
    """Sort and merge the first `count` intervals in place, dropping empty ones; return how many remain."""
    kept = 0
    for i in range(count):
        if low[i] < high[i]:
            low[kept], high[kept] = low[i], high[i]
            kept += 1
    for i in range(1, kept):
        a, b = low[i], high[i]
        j = i - 1
        while j >= 0 and low[j] > a:
            low[j + 1], high[j + 1] = low[j], high[j]
            j -= 1
        low[j + 1], high[j + 1] = a, b
    merged = 0
    for i in range(kept):
        if merged > 0 and low[i] <= high[merged - 1]:
            high[merged - 1] = max(high[merged - 1], high[i])
        else:
            low[merged], high[merged] = low[i], high[i]
            merged += 1
    return merged


@compiled
def _independent_scales(rank: Any, mask: Any, x: Any, low: Any, high: Any) -> Any:
    """Write the scales at which point `x` is independent of the points in `mask`; return the number of intervals."""
    for f in range(rank.shape[0]):
        low[f], high[f] = rank[f, mask], rank[f, 1 << x]
    return _merge(low, high, rank.shape[0])


@compiled
def _intersect(low_a: Any, high_a: Any, count_a: Any, low_b: Any, high_b: Any, count_b: Any, low: Any, high: Any, start: Any) -> Any:
    """Append the intersection of two sorted unions at place `start`; return the place after it, or -1 when it does not fit."""
    i, j, place = 0, 0, start
    while i < count_a and j < count_b:
        a, b = max(low_a[i], low_b[j]), min(high_a[i], high_b[j])
        if a < b:
            if place == low.shape[0]:
                return -1
            low[place], high[place] = a, b
            place += 1
        if high_a[i] < high_b[j]:
            i += 1
        else:
            j += 1
    return place


@compiled
def subsets(rank: Any, points: Any, floor: Any, ceiling: Any, low: Any, high: Any, count: Any) -> Any:
    """Fill, for every subset, the scales at which some order of it is independent; return 0, or -1 when an interval did not fit.

    low, high (2^points, K) and count (2^points,) receive the intervals, all inside [floor, ceiling).
    """
    functions, capacity = rank.shape[0], low.shape[1]
    low_x, high_x = np.zeros(functions, np.int64), np.zeros(functions, np.int64)
    scratch = points * capacity
    low_s, high_s = np.zeros(scratch, np.int64), np.zeros(scratch, np.int64)
    low[0, 0], high[0, 0], count[0] = floor, ceiling, 1
    for mask in range(1, 1 << points):
        filled = 0
        for x in range(points):
            before = mask & ~(1 << x)
            if before == mask or count[before] == 0:
                continue
            found = _independent_scales(rank, before, x, low_x, high_x)
            filled = _intersect(low[before], high[before], count[before], low_x, high_x, found, low_s, high_s, filled)
            if filled < 0:
                return -1
        merged = _merge(low_s, high_s, filled)
        if merged > capacity:
            return -1
        count[mask] = merged
        for i in range(merged):
            low[mask, i], high[mask, i] = low_s[i], high_s[i]
    return 0


@compiled
def search(rank: Any, points: Any, floor: Any, ceiling: Any, best_path: Any) -> Any:
    """Search ordered sequences depth first; write a longest one and return its length and the lowest common scale (a rank)."""
    functions = rank.shape[0]
    capacity = points * functions + 2
    low, high = np.zeros((points + 1, capacity), np.int64), np.zeros((points + 1, capacity), np.int64)
    count = np.zeros(points + 1, np.int64)
    following = np.zeros(points + 1, np.int64)
    path = np.zeros(points + 1, np.int64)
    low_x, high_x = np.zeros(functions, np.int64), np.zeros(functions, np.int64)
    low[0, 0], high[0, 0], count[0] = floor, ceiling, 1
    limit = min(points, functions)
    best, scale = 0, floor
    depth, mask = 0, 0
    while depth >= 0 and best < limit:
        x = following[depth]
        if x == points:
            depth -= 1
            if depth >= 0:
                mask &= ~(1 << path[depth])
            continue
        following[depth] = x + 1
        if mask & (1 << x):
            continue
        found = _independent_scales(rank, mask, x, low_x, high_x)
        common = _intersect(low[depth], high[depth], count[depth], low_x, high_x, found, low[depth + 1], high[depth + 1], 0)
        if common == 0:
            continue
        path[depth] = x
        mask |= 1 << x
        depth += 1
        count[depth] = common
        following[depth] = 0
        if depth > best:
            best, scale = depth, low[depth, 0]
            for i in range(depth):
                best_path[i] = path[i]
    return best, scale


@compiled
def greedy_sequences(squares: Any, scales: Any, orders: Any, best_path: Any) -> Any:
    """Build a sequence greedily for every scale and order of points; write the longest and return its length and scale.

    squares (F, X): phi(x)^2; scales (E,); orders (E, X).  The margin keeps rounding from calling a dependent point independent.
    """
    functions, points = squares.shape
    best, best_scale = 0, scales[0]
    sums = np.zeros(functions)
    path = np.zeros(points, np.int64)
    for trial in range(scales.shape[0]):
        level = scales[trial] ** 2
        for f in range(functions):
            sums[f] = 0.0
        length = 0
        for place in range(points):
            x = orders[trial, place]
            for f in range(functions):
                if sums[f] <= level * (1.0 - 1e-12) and squares[f, x] > level * (1.0 + 1e-12):
                    for g in range(functions):
                        sums[g] += squares[g, x]
                    path[length] = x
                    length += 1
                    break
        if length > best:
            best, best_scale = length, scales[trial]
            for i in range(length):
                best_path[i] = path[i]
    return best, best_scale


@compiled
def enumerate_sequences(errors: Any, steps: Any, total: Any, squares: Any, double: Any, largest: Any) -> Any:
    """Write, for every sequence of (f_t, x_t), the four sums that AGEC is made of.

    total: sum_t E(f_t)(x_t); squares: sum_t E(f_t)(x_t)^2; double: sum_t sum_{i<t} E(f_t)(x_i)^2; largest: max_t of the inner sum.
    """
    functions, points = errors.shape
    base = functions * points
    choice = np.zeros(steps, np.int64)
    for index in range(total.shape[0]):
        rest = index
        for t in range(steps):
            choice[t] = rest % base
            rest //= base
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for t in range(steps):
            f, x = choice[t] // points, choice[t] % points
            a += errors[f, x]
            b += errors[f, x] ** 2
            inner = 0.0
            for i in range(t):
                inner += errors[f, choice[i] % points] ** 2
            c += inner
            d = max(d, inner)
        total[index], squares[index], double[index], largest[index] = a, b, c, d
