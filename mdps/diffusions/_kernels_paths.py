"""Kernels that turn normal draws into trajectories."""

from __future__ import annotations

import math
from typing import Any

from mdps.jit import compiled

__all__ = ["geometric_recursion", "linear_recursion"]


@compiled
def linear_recursion(draws: Any, centre: float, scatter: float, factor: float, spread: float, out: Any) -> None:
    """Fill `out` (paths, N + 1) with x_0 = centre + scatter z_0 and x_{i+1} = factor x_i + spread z_{i+1}."""
    for p in range(out.shape[0]):
        x = centre + scatter * draws[p, 0]
        out[p, 0] = x
        for i in range(1, out.shape[1]):
            x = factor * x + spread * draws[p, i]
            out[p, i] = x


@compiled
def geometric_recursion(draws: Any, start: float, drift: float, spread: float, euler: bool, out: Any) -> None:
    """Fill `out` with a geometric Brownian motion: factors exp(drift + spread z), or 1 + drift + spread z for Euler-Maruyama."""
    for p in range(out.shape[0]):
        s = start
        out[p, 0] = s
        for i in range(1, out.shape[1]):
            z = draws[p, i]
            s = s * (1.0 + drift + spread * z) if euler else s * math.exp(drift + spread * z)
            out[p, i] = s
