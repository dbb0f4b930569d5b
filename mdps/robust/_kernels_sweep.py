"""Compiled sweeps of the robust Bellman operators.  Source: robust_tabular T1, T2, T4.

Shapes: kernel (S, A, S), reward (S, A), by_successor (S, A, S) or (0, 0, 0), sizes (S, A) or (S,), mask (S, A), ends (S,); orders that
sort the values of every row, (S, A, S), or one for all of them, (1, 1, S), where rewards do not depend on the successor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdps.jit import compiled
from mdps.robust._kernels import chi2_write, copy_row, dot, kl_moments, row, support_moments

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@compiled
def nominal_sweep(kernel: Array, reward: Array, discount: float, v: Array, out: Array) -> None:
    """One sweep without robustness: the yardstick of the benchmark."""
    for s in range(kernel.shape[0]):
        best = -np.inf
        for a in range(kernel.shape[1]):
            best = max(best, reward[s, a] + discount * dot(kernel[s, a], v))
        out[s] = best


@compiled
def sweep_sa(
    kind: int,
    kernel: Array,
    reward: Array,
    by_successor: Array,
    discount: float,
    v: Array,
    orders: Ints,
    sizes: Array,
    mask: Bools,
    ends: Bools,
    fixed: bool,
    tolerance: float,
    warm: Array,
    policy: Ints,
    out: Array,
    worst: Array,
) -> float:
    """Write max_a min_p r + p.z for every state and its action, or the row of the given policy where `fixed`; return the largest gap."""
    S, A, n = kernel.shape
    own = by_successor.shape[0] > 0
    z = np.empty(n)
    for j in range(n):
        z[j] = discount * v[j]
    nowhere = np.empty(0)
    widest = 0.0
    for s in range(S):
        if ends[s]:
            out[s] = 0.0
            continue
        best, chosen = -np.inf, 0
        for a in range(A):
            if not mask[s, a] or (fixed and a != policy[s]):
                continue
            order = orders[0, 0]
            if own:
                order = orders[s, a]
                for j in range(n):
                    z[j] = by_successor[s, a, j] + discount * v[j]
            target = worst[s, a] if worst.shape[0] > 0 else nowhere
            value, gap, b = row(kind, z, order, kernel[s, a], sizes[s, a], warm[s, a], tolerance, target)
            warm[s, a] = b
            widest = max(widest, gap)
            if not own:
                value += reward[s, a]
            if value > best:
                best, chosen = value, a
        out[s] = best
        policy[s] = chosen
    return widest


@compiled
def _tv_cost(z: Array, order: Ints, q: Array, u: float, p: Array) -> tuple[float, float]:
    """Return the mass that must move to the smallest entry so that the mean is at most u, and the slope in u."""
    value: float = dot(q, z)
    low = z[order[0]]
    if p.shape[0] > 0:
        copy_row(q, p)
    moved, slope = 0.0, 0.0
    i = order.shape[0] - 1
    while value > u and i > 0 and z[order[i]] > low:
        at = order[i]
        drop = z[at] - low
        take = min(q[at], (value - u) / drop)
        if take > 0.0:
            slope = -1.0 / drop
            value -= take * drop
            moved += take
            if p.shape[0] > 0:
                p[at] -= take
                p[order[0]] += take
            if take < q[at]:
                break
        i -= 1
    if u <= low:
        slope = -np.inf
    return moved, slope


@compiled
def _kl_cost(z: Array, q: Array, u: float, warm: float, p: Array) -> tuple[float, float]:
    """Return the least relative entropy of a tilted row with mean at most u, and minus the multiplier."""
    low, mass, high, mean, variance = support_moments(z, q)
    write = p.shape[0] > 0
    if u >= mean or high == low:
        if write:
            copy_row(q, p)
        return 0.0, 0.0
    if u <= low:
        if write:
            for i in range(q.shape[0]):
                p[i] = q[i] / mass if (q[i] > 0.0 and z[i] == low) else 0.0
        return -np.log(mass), -np.inf
    below, above = 0.0, np.inf
    b = warm if warm > 0.0 and np.isfinite(warm) else (mean - u) / variance
    cost, kept = 0.0, 0.0
    for _ in range(200):
        tilted, spread, log_m, _ = kl_moments(z, q, low, high, mean, b)
        dual = b * (low - u) - log_m
        if dual >= cost:
            cost, kept = dual, b
        if abs(tilted - u) <= 1e-14 * (high - low) or (above < np.inf and above - below <= 4e-16 * above):
            break
        if tilted > u:
            below = b
        else:
            above = b
        guess = b + (tilted - u) / spread if spread > 0.0 else -1.0
        if not (guess > below and guess < above and guess < 4.0 * b):
            guess = 0.5 * (below + above) if above < np.inf else 4.0 * b
        b = guess
        if b * (high - low) > 1e300:
            break
    if write:
        base = low if kept * (high - low) > 0.5 else mean
        total = 0.0
        for i in range(q.shape[0]):
            p[i] = q[i] * np.exp(-kept * (z[i] - base)) if q[i] > 0.0 else 0.0
            total += p[i]
        for i in range(q.shape[0]):
            p[i] /= total
    return cost, -kept


@compiled
def _chi2_cost(z: Array, order: Ints, q: Array, u: float, p: Array) -> tuple[float, float]:
    """Return the least chi2 divergence of a row with mean at most u, and its slope."""
    low, mass, _, mean, _ = support_moments(z, q)
    n = order.shape[0]
    write = p.shape[0] > 0
    if u >= mean:
        if write:
            copy_row(q, p)
        return 0.0, 0.0
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
        if e <= u:
            continue
        j = i + 1
        while j < n and q[order[j]] <= 0.0:
            j += 1
        if s > 0.0 and (j >= n or e + s / (m * (e - u)) <= z[order[j]]):
            tail = max(total - m, 0.0) if j < n else 0.0
            if write:
                chi2_write(z, order, q, i, s / (m * (e - u)), p)
            return tail / m + (e - u) ** 2 / s, -2.0 * (e - u) / s
    if write:
        for i in range(n):
            p[i] = q[i] / mass if (q[i] > 0.0 and z[i] == low) else 0.0
    return max(1.0 - mass, 0.0) / mass, -np.inf


@compiled
def _cost(kind: int, z: Array, order: Ints, q: Array, u: float, warm: float, p: Array) -> tuple[float, float]:
    if kind == 0:
        return _tv_cost(z, order, q, u, p)
    if kind == 1:
        return _kl_cost(z, q, u, warm, p)
    return _chi2_cost(z, order, q, u, p)


@compiled
def _total(kind: int, z: Array, order: Ints, q: Array, allowed: Bools, u: float, warm: Array, slopes: Array) -> tuple[float, float]:
    """Return the sum over actions of the least budget that pushes each action's value down to u, and of the slopes."""
    spent = slope = 0.0
    nowhere = np.empty(0)
    for a in range(z.shape[0]):
        slopes[a] = 0.0
        if allowed[a]:
            cost, slopes[a] = _cost(kind, z[a], order[a], q[a], u, warm[a], nowhere)
            spent += cost
            slope += slopes[a]
            if kind == 1 and np.isfinite(slopes[a]):
                warm[a] = -slopes[a]
    return spent, slope


@compiled
def s_state(
    kind: int, z: Array, order: Ints, q: Array, allowed: Bools, budget: float, tolerance: float, warm: Array, pi: Array, p: Array
) -> tuple[float, float]:
    """Bracket max_pi min_p sum_a pi_a p_a.z_a with sum_a D(p_a, q_a) <= budget; `pi` is worth at least the lower end.

    The budget F(u) needed to push every action down to u is convex: tangents meet the budget below the value, chords above it.
    """
    A = z.shape[0]
    floor = high = -np.inf
    safest = best = 0
    for a in range(A):
        if allowed[a]:
            smallest, _, _, mean, _ = support_moments(z[a], q[a])
            if kind == 0:
                smallest = z[a, order[a, 0]]
            if smallest > floor:
                floor, safest = smallest, a
            if mean > high:
                high, best = mean, a
    slopes = np.empty(A)
    left, at_high = floor, 0.0
    at_left, _ = _total(kind, z, order, q, allowed, floor, warm, slopes)
    for a in range(A):
        pi[a] = 0.0
    low = floor
    if budget <= 0.0:
        low = high
        pi[best] = 1.0
    elif at_left <= budget:
        high = floor
        pi[safest] = 1.0
    else:
        pi[safest] = 1.0
        u = 0.5 * (low + high)
        for step in range(300):
            spent, slope = _total(kind, z, order, q, allowed, u, warm, slopes)
            if spent > budget:
                left, at_left = u, spent
            else:
                high, at_high = u, spent
            if slope < 0.0 and np.isfinite(slope):
                tangent = min(u + (spent - budget) / -slope, high)
                if tangent >= low:
                    low = tangent
                    for a in range(A):
                        pi[a] = abs(slopes[a] / slope)
            if high - low <= tolerance or high - low <= 4e-16 * max(abs(high), abs(low)):
                break
            u = 0.5 * (low + high)
            if step % 6 == 5:
                continue
            if step % 2 == 0 and low > left:
                u = low
            else:
                chord = high - (budget - at_high) * (high - left) / (at_left - at_high)
                if chord > low and chord < high:
                    u = chord
    if p.shape[0] > 0:
        for a in range(A):
            if allowed[a]:
                _cost(kind, z[a], order[a], q[a], high, warm[a], p[a])
    return low, high


@compiled
def sweep_s(
    kind: int,
    kernel: Array,
    reward: Array,
    by_successor: Array,
    discount: float,
    v: Array,
    orders: Ints,
    budgets: Array,
    mask: Bools,
    ends: Bools,
    tolerance: float,
    warm: Array,
    policy: Array,
    out: Array,
    worst: Array,
) -> float:
    """Write the value of every state's game and its randomised policy; return the largest width of a bracket."""
    S, A, n = kernel.shape
    own = by_successor.shape[0] > 0
    z, sorting = np.empty((A, n)), np.empty((A, n), dtype=np.int64)
    nowhere = np.empty((0, 0))
    widest = 0.0
    for s in range(S):
        if ends[s]:
            out[s] = 0.0
            continue
        for a in range(A):
            for j in range(n):
                z[a, j] = discount * v[j] + (by_successor[s, a, j] if own else reward[s, a])
                sorting[a, j] = orders[s, a, j] if own else orders[0, 0, j]
        target = worst[s] if worst.shape[0] > 0 else nowhere
        low, high = s_state(kind, z, sorting, kernel[s], mask[s], budgets[s], tolerance, warm[s], policy[s], target)
        out[s] = low
        widest = max(widest, high - low)
    return widest
