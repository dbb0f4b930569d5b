"""Compiled DR-RPO: plan on the estimates, account for the exact robust value, play once, update.

Shapes: phi (H, S, A, d), mu (H, d, S), theta (H, d), ref and pi (H, S, A), sizes (H, d), inverse (H, d, d), seen (H, d, S).
`kind` is that of mdps.robust: 0 TV with a radius, 3 TV, 4 KL, 5 chi2 with a penalty.  Source: dr_rpo, algorithms.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mdps.jit import compiled
from mdps.robust._kernels import chi2_charged_row, kl_charged_row, tv_charged_row, tv_row

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def _soft(q: Array, ref: Array, eta: float, pi: Array) -> float:
    """Return S(q) and write the softmax; at eta = 0 the first maximiser over the support of ref."""
    A = q.shape[0]
    best = -1
    for a in range(A):
        if ref[a] > 0.0 and (best < 0 or q[a] > q[best]):
            best = a
    total = lost = 0.0
    for a in range(A):
        pi[a] = 0.0
        if ref[a] > 0.0 and eta > 0.0:
            below = (q[a] - q[best]) / eta
            pi[a] = ref[a] * math.exp(below)
            lost += ref[a] * math.expm1(below)
            total += pi[a]
    if eta <= 0.0:
        pi[best] = 1.0
        return float(q[best])
    for a in range(A):
        pi[a] /= total
    return float(q[best] + eta * (math.log1p(lost) if lost > -0.5 else math.log(total)))


@compiled
def _sort(v: Array, order: Ints) -> None:
    """Sort by insertion: fast where `order` is nearly right already."""
    for i in range(1, order.shape[0]):
        at = order[i]
        j = i - 1
        while j >= 0 and v[order[j]] > v[at]:
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = at


@compiled
def _estimate(kind: int, weight: Array, v: Array, order: Ints, low: float, size: float, steps: float) -> float:
    """Return the estimated worst case of one factor from the signed regression weights of the states."""
    n = v.shape[0]
    if kind == 4:
        total = 0.0
        for s in range(n):
            total += weight[s] * math.expm1(-(v[s] - low) / size)
        span = steps - low
        return float(low - size * math.log(min(max(1.0 + total, math.exp(-span / size)), 1.0)))
    if kind == 3:
        total = 0.0
        for s in range(n):
            total += weight[s] * min(v[s], low + size)
        return total
    # TV with a radius and chi2: the objective over levels a is piecewise linear or quadratic, not concave; levels go upwards and
    # the sums of w min(v, a) and of w min(v, a)^2 follow from prefixes
    above = first = second = 0.0
    for s in range(n):
        above += weight[s]
    best = -np.inf
    for j in range(n):
        at = order[j]
        level = v[at]
        if kind == 0:
            value = first + above * level - size * (level - low)
            best = max(best, value)
        else:
            # four levels inside each segment: the clips make the pieces irregular
            upper = v[order[j + 1]] if j + 1 < n else level
            for k in range(4):
                a = level + 0.25 * k * (upper - level)
                f, g = first, second
                rest = above
                if k > 0:
                    f, g, rest = first + weight[at] * level, second + weight[at] * level * level, above - weight[at]
                mean = min(max(f + rest * a, 0.0), steps)
                square = min(max(g + rest * a * a, 0.0), steps * steps)
                best = max(best, mean + (mean * mean - square) / (4.0 * size))
        above -= weight[at]
        first += weight[at] * level
        second += weight[at] * level * level
    return best


@compiled
def _plan(
    kind: int,
    phi: Array,
    theta: Array,
    ref: Array,
    sizes: Array,
    inverse: Array,
    seen: Array,
    beta: float,
    root: bool,
    eta: float,
    fail: int,
    least: bool,
    order: Ints,
    value: Array,
    pi: Array,
    target: Array,
) -> None:
    """Write the optimistic values (H+1, S) and the policy of the current estimates."""
    H, S, A, d = phi.shape
    weight, q = np.empty(S), np.empty(A)
    for h in range(H - 1, -1, -1):
        v = value[h + 1]
        _sort(v, order)
        low = v[order[0]] if least else 0.0
        for i in range(d):
            target[i] = theta[h, i]
            if h < H - 1:
                for s in range(S):
                    weight[s] = 0.0
                    for j in range(d):
                        weight[s] += inverse[h, i, j] * seen[h, j, s]
                target[i] += _estimate(kind, weight, v, order, low, sizes[h, i], float(H - h - 1))
        for s in range(S):
            for a in range(A):
                mean = spread = 0.0
                for i in range(d):
                    mean += phi[h, s, a, i] * target[i]
                    if root:
                        spread += phi[h, s, a, i] ** 2 * inverse[h, i, i]
                    else:
                        spread += phi[h, s, a, i] * math.sqrt(inverse[h, i, i])
                q[a] = min(mean + beta * (math.sqrt(spread) if root else spread), float(H - h))
                if s == fail:
                    q[a] = 0.0
            value[h, s] = _soft(q, ref[h, s], eta, pi[h, s])


@compiled
def _worst(kind: int, v: Array, order: Ints, q: Array, size: float, nowhere: Array) -> float:
    """Return the exact worst case of one factor."""
    if kind == 0:
        return tv_row(v, order, q, size, nowhere)
    if kind == 3:
        return tv_charged_row(v, order, q, size, nowhere)
    if kind == 4:
        return kl_charged_row(v, q, size, nowhere)
    return chi2_charged_row(v, order, q, size, nowhere)


@compiled
def _evaluate(kind: int, phi: Array, mu: Array, theta: Array, ref: Array, sizes: Array, eta: float, order: Ints, pi: Array, value: Array) -> None:
    """Write the exact robust value (H+1, S) of a policy."""
    H, S, A, d = phi.shape
    worst = np.empty(d)
    nowhere = np.empty(0)
    for h in range(H - 1, -1, -1):
        _sort(value[h + 1], order)
        for i in range(d):
            worst[i] = theta[h, i] + _worst(kind, value[h + 1], order, mu[h, i], sizes[h, i], nowhere)
        for s in range(S):
            total = 0.0
            for a in range(A):
                p = pi[h, s, a]
                if eta > 0.0 and ref[h, s, a] > 0.0:
                    # eta (p log(p/r) - p + r): sums to eta KL, and its rounding does not grow with eta
                    x = (p - ref[h, s, a]) / ref[h, s, a]
                    if x > -0.5:
                        total -= eta * ref[h, s, a] * ((1.0 + x) * math.log1p(x) - x)
                    else:
                        total -= eta * ((p * math.log(p / ref[h, s, a]) if p > 0.0 else 0.0) - (p - ref[h, s, a]))
                if p > 0.0:
                    for i in range(d):
                        total += p * phi[h, s, a, i] * worst[i]
            value[h, s] = total


@compiled
def _draw(p: Array, u: float) -> int:
    total = 0.0
    last = 0
    for i in range(p.shape[0]):
        if p[i] > 0.0:
            last = i
            total += p[i]
            if u < total:
                return i
    return last


@compiled
def run(
    kind: int,
    phi: Array,
    mu: Array,
    theta: Array,
    ref: Array,
    sizes: Array,
    start: Array,
    ridge: float,
    beta: float,
    root: bool,
    eta: float,
    fail: int,
    least: bool,
    uniforms: Array,
    inverse: Array,
    seen: Array,
    pi: Array,
    earned: Array,
    promised: Array,
) -> None:
    """Play the episodes; write for each the exact robust value of the played policy and the optimistic estimate at the start."""
    H, S, _, d = phi.shape
    value, true = np.zeros((H + 1, S)), np.zeros((H + 1, S))
    order, order_true = np.arange(S), np.arange(S)
    target, probability, column = np.empty(d), np.empty(S), np.empty(d)
    for k in range(uniforms.shape[0]):
        _plan(kind, phi, theta, ref, sizes, inverse, seen, beta, root, eta, fail, least, order, value, pi, target)
        _evaluate(kind, phi, mu, theta, ref, sizes, eta, order_true, pi, true)
        earned[k] = promised[k] = 0.0
        for s in range(S):
            earned[k] += start[s] * true[0, s]
            promised[k] += start[s] * value[0, s]
        s = _draw(start, uniforms[k, 0])
        for h in range(H):
            a = _draw(pi[h, s], uniforms[k, 1 + 2 * h])
            x = phi[h, s, a]
            for j in range(S):
                probability[j] = 0.0
                for i in range(d):
                    probability[j] += x[i] * mu[h, i, j]
            after = _draw(probability, uniforms[k, 2 + 2 * h])
            # rank-one update of the inverse
            scale = 1.0
            for i in range(d):
                column[i] = 0.0
                for j in range(d):
                    column[i] += inverse[h, i, j] * x[j]
                scale += x[i] * column[i]
            for i in range(d):
                seen[h, i, after] += x[i]
                for j in range(d):
                    inverse[h, i, j] -= column[i] * column[j] / scale
            s = after
