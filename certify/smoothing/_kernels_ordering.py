"""Compiled lower convex hull for the sample-ordering bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled


@compiled
def hull_values(x: Any, y: Any, at: Any, out: Any) -> None:
    """Evaluate at the points `at` the lower convex hull of (0, 0) and the points (x_j, y_j); x is nonincreasing in j.

    Beyond the largest x the hull has no point; there the value at the largest x is returned.
    """
    n = x.size
    hx = np.empty(n + 1)
    hy = np.empty(n + 1)
    hx[0] = 0.0
    hy[0] = 0.0
    size = 1
    for i in range(n):
        px = x[n - 1 - i]
        py = y[n - 1 - i]
        if px <= hx[size - 1]:
            if py >= hy[size - 1]:
                continue
            size -= 1
            if size == 0:
                hx[0] = 0.0
                hy[0] = 0.0
                size = 1
                continue
        while size >= 2 and (hy[size - 1] - hy[size - 2]) * (px - hx[size - 2]) >= (py - hy[size - 2]) * (hx[size - 1] - hx[size - 2]):
            size -= 1
        hx[size] = px
        hy[size] = py
        size += 1
    for j in range(at.size):
        t = at[j]
        if t <= 0.0:
            out[j] = 0.0
            continue
        if t >= hx[size - 1]:
            out[j] = hy[size - 1]
            continue
        low = 0
        high = size - 1
        while high - low > 1:
            middle = (low + high) // 2
            if hx[middle] <= t:
                low = middle
            else:
                high = middle
        share = (t - hx[low]) / (hx[high] - hx[low])
        out[j] = hy[low] + share * (hy[high] - hy[low])
