"""Compiled sweeps over (state, stock) values and over laws on a grid.

Model arrays (`_model.Arrays`): `succ` (S, A, B) successor indices, `prob` (S, A, B), `rew` (S, A, B); entries beyond `count[s, a]`
are padding.  A stock grid is uniform: node i stands at `origin + step * i`.
"""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdps.jit import compiled

FloatArray = NDArray[np.float64]

NEAREST, DOWN, UP, LINEAR = 0, 1, 2, 3
"""How a stock between two nodes is read."""

SNAP = 1e-9
"""A stock this near to a node, in units of the step, is the node."""

TIE = 1e-12
"""Actions this near to the best (relative to the value, at least 1) tie; the lowest index wins."""


@compiled
def project_rows(x: FloatArray, p: FloatArray, grid: FloatArray) -> FloatArray:
    """Project rows of weighted points (R, N) on a sorted grid (K,), mass outside to the ends."""
    K = grid.size
    out = np.zeros((x.shape[0], K))
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if x[i, j] <= grid[0]:
                out[i, 0] += p[i, j]
            elif x[i, j] >= grid[K - 1]:
                out[i, K - 1] += p[i, j]
            else:
                hi = np.searchsorted(grid, x[i, j])
                w = (x[i, j] - grid[hi - 1]) / (grid[hi] - grid[hi - 1])
                out[i, hi - 1] += p[i, j] * (1.0 - w)
                out[i, hi] += p[i, j] * w
    return out


@compiled
def value_sweep(
    out: FloatArray,
    action: Any,
    succ: Any,
    prob: FloatArray,
    rew: FloatArray,
    count: Any,
    gamma: float,
    following: FloatArray,
    origin: float,
    step: float,
    next_origin: float,
    next_step: float,
    low_slope: float,
    high_slope: float,
    low_mean: FloatArray,
    high_mean: FloatArray,
    mode: int,
) -> None:
    r"""Write V(s, c) = gamma max_a sum P V'(s', (c + r)/gamma) for every node c, and the greedy action.

    `following` (S, N') holds V' on its own grid; outside it V'(s, c) = slope * (c + mean[s]), the closed form of a constant sign,
    which is used where c lies beyond the first or last node.
    """
    S, N, M = out.shape[0], out.shape[1], following.shape[1]
    inverse = 1.0 / gamma
    scale = inverse / next_step
    shift = next_origin / next_step
    last = M - 1.0
    for s in range(S):
        for i in range(N):
            top, best, chosen = -np.inf, -np.inf, 0
            c = origin + step * i
            for a in range(count.shape[1]):
                if count[s, a] == 0:
                    continue
                total = 0.0
                for b in range(count[s, a]):
                    t = succ[s, a, b]
                    z = (c + rew[s, a, b]) * scale - shift
                    k = floor(z + 0.5)
                    if abs(z - k) <= SNAP:
                        z = float(k)
                    if z < 0.0:
                        v = low_slope * ((c + rew[s, a, b]) * inverse + low_mean[t])
                    elif z > last:
                        v = high_slope * ((c + rew[s, a, b]) * inverse + high_mean[t])
                    elif mode == LINEAR and z != k:
                        j = int(z)
                        v = following[t, j] + (z - j) * (following[t, j + 1] - following[t, j])
                    else:
                        if z != k and mode != NEAREST:
                            k = floor(z) + (mode == UP)
                        v = following[t, int(k)]
                    total += prob[s, a, b] * v
                top = max(top, total)
                if total > best + TIE * max(1.0, abs(best)) or best == -np.inf:
                    best, chosen = total, a
            out[s, i] = gamma * top
            action[s, i] = chosen


@compiled
def law_sweep(
    out: FloatArray,
    noise: FloatArray,
    drift: FloatArray,
    clipped: FloatArray,
    weight: FloatArray,
    succ: Any,
    prob: FloatArray,
    rew: FloatArray,
    count: Any,
    gamma: float,
    law: FloatArray,
    old_noise: FloatArray,
    old_drift: FloatArray,
    grid: FloatArray,
) -> None:
    r"""Apply the projected Bellman operator of a policy to the laws (S, K) on a grid, and account for what projection adds.

    `noise[s]` becomes E sum_t gamma^{2t} xi_t^2, `drift[s]` E sum_t gamma^t |xi_t| (clipping included), `clipped[s]` the mass
    moved from outside the grid in this sweep.  `weight` (S, A) is the policy.
    """
    S, K = law.shape
    uniform = (grid[K - 1] - grid[0]) / (K - 1)
    slack = 1e-12 * max(abs(grid[0]), abs(grid[K - 1]), 1.0)
    for s in range(S):
        out[s, :] = 0.0
        squares, absolute, lost = 0.0, 0.0, 0.0
        for a in range(count.shape[1]):
            for b in range(count[s, a]):
                w = weight[s, a] * prob[s, a, b]
                if w == 0.0:
                    continue
                t = succ[s, a, b]
                squares += w * gamma * gamma * old_noise[t]
                absolute += w * gamma * old_drift[t]
                for k in range(K):
                    q = law[t, k] * w
                    if q == 0.0:
                        continue
                    x = rew[s, a, b] + gamma * grid[k]
                    if x <= grid[0] or x >= grid[K - 1]:
                        j = 0 if x <= grid[0] else K - 1
                        gap = abs(x - grid[j])
                        out[s, j] += q
                        absolute += q * gap
                        if gap > slack:
                            lost += q
                        continue
                    j = int((x - grid[0]) / uniform)
                    if j > K - 2:
                        j = K - 2
                    while grid[j] > x:
                        j -= 1
                    while grid[j + 1] < x:
                        j += 1
                    left, right = x - grid[j], grid[j + 1] - x
                    width = grid[j + 1] - grid[j]
                    out[s, j] += q * (right / width)
                    out[s, j + 1] += q * (left / width)
                    squares += q * left * right
                    absolute += 2.0 * q * left * right / width
        noise[s], drift[s], clipped[s] = squares, absolute, lost


def quantile_sweep(out: FloatArray, weight: FloatArray, succ: Any, prob: FloatArray, rew: FloatArray, count: Any, gamma: float, law: FloatArray) -> None:
    """Apply the quantile-projected Bellman operator of a policy to m equally weighted atoms a state, (S, m)."""
    S, m = law.shape
    real = np.arange(succ.shape[2])[None, None, :] < count[:, :, None]
    x = (rew[..., None] + gamma * law[succ]).reshape(S, -1)
    p = np.repeat((weight[:, :, None] * prob * real / m).reshape(S, -1), m, axis=1)
    order = np.argsort(x, axis=1)  # NumPy's sort is as fast as a compiled one and saves seconds of compilation
    pick_quantiles(out, np.take_along_axis(x, order, axis=1), np.take_along_axis(p, order, axis=1))


@compiled
def pick_quantiles(out: FloatArray, x: FloatArray, p: FloatArray) -> None:
    """Write the mid-quantiles of rows of sorted atoms (S, N) with masses, levels reached within 1e-13 counting as reached."""
    m = out.shape[1]
    for s in range(x.shape[0]):
        mass, j = p[s, 0], 0
        for k in range(m):
            level = (2.0 * k + 1.0) / (2.0 * m) - 1e-13
            while (mass < level or p[s, j] == 0.0) and j < x.shape[1] - 1:
                j += 1
                mass += p[s, j]
            out[s, k] = x[s, j]
