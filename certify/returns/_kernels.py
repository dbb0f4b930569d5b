"""Compiled sweeps over (state, stock) values and over laws on a grid.

Model arrays (`_model.Arrays`): `succ` (S, A, B) successor indices, `prob` (S, A, B), `rew` (S, A, B); entries beyond `count[s, a]`
are padding.  A stock grid is uniform: node i stands at `origin + step * i`.
"""

from __future__ import annotations

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
    scale, stride = inverse / next_step, step * inverse / next_step
    total, best = np.empty(N), np.empty(N)
    for s in range(S):
        out[s, :] = -np.inf
        best[:] = -np.inf
        for a in range(count.shape[1]):
            if count[s, a] == 0:
                continue
            total[:] = 0.0
            for b in range(count[s, a]):
                p, r, t = prob[s, a, b], rew[s, a, b], succ[s, a, b]
                z0 = (origin + r) * scale - next_origin / next_step
                # nodes first..stop - 1 lead into the next grid, those before and after use the closed form
                first = min(N, max(0, int(np.ceil((-SNAP - z0) / stride))))
                stop = max(first, min(N, int(np.floor((M - 1 + SNAP - z0) / stride)) + 1))
                for i in range(first):
                    total[i] += p * low_slope * ((origin + step * i + r) * inverse + low_mean[t])
                for i in range(stop, N):
                    total[i] += p * high_slope * ((origin + step * i + r) * inverse + high_mean[t])
                v = following[t]
                if mode == LINEAR:
                    for i in range(first, stop):
                        z = z0 + stride * i
                        j = max(0, min(int(z), M - 2))
                        total[i] += p * (v[j] + (z - j) * (v[j + 1] - v[j]))
                else:
                    shift = 0.5 - SNAP if mode == NEAREST else SNAP if mode == DOWN else 1.0 - SNAP
                    for i in range(first, stop):
                        total[i] += p * v[max(0, min(int(z0 + stride * i + shift), M - 1))]
            for i in range(N):
                value = total[i]
                out[s, i] = max(out[s, i], gamma * value)
                if value > best[i] + TIE * max(1.0, abs(best[i])) or best[i] == -np.inf:
                    best[i], action[s, i] = value, a


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
    slack = 1e-12 * max(abs(grid[0]), abs(grid[K - 1]), 1.0)
    width = grid[1:] - grid[:-1]
    inverse = 1.0 / width
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
                j = 0
                for k in range(K):
                    q = law[t, k] * w
                    x = rew[s, a, b] + gamma * grid[k]
                    if x <= grid[0] or x >= grid[K - 1]:
                        end = 0 if x <= grid[0] else K - 1
                        gap = abs(x - grid[end])
                        out[s, end] += q
                        absolute += q * gap
                        if gap > slack:
                            lost += q
                        continue
                    while grid[j + 1] < x:  # x grows with k
                        j += 1
                    left = x - grid[j]
                    share = left * inverse[j]
                    out[s, j] += q * (1.0 - share)
                    out[s, j + 1] += q * share
                    moved = q * share * (width[j] - left)
                    squares += moved * width[j]
                    absolute += 2.0 * moved
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
