"""Two routines as the published code has them, kept to reproduce its tables: local searches that miss the optimum, and a sign error.

Source: r2pvi, G3-code and G12-local.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def _search(objective: Callable[[float], float], cap: float) -> float:
    """Return the least value that a Nelder-Mead search from cap / 2 finds in [0, cap]."""
    from scipy.optimize import minimize

    return float(minimize(lambda a: objective(float(a[0])), x0=0.5 * cap, method="Nelder-Mead", bounds=[(0.0, cap)]).fun)


def constrained_tv(weights: FloatArray, values: FloatArray, radius: FloatArray, cap: float) -> FloatArray:
    """Return what the local search finds for max_a { W [V]_a - rho a } of every coordinate."""
    return np.array([
        -_search(lambda a, w=w, rho=rho: -(float(w @ np.minimum(values, a)) - rho * a), cap)  # type: ignore[misc]
        for w, rho in zip(weights, radius, strict=True)
    ])


def chi2(weights: FloatArray, values: FloatArray, penalty: float, cap: float) -> FloatArray:
    """Return what the local search finds for the minimum over a of the chi2 dual, where its maximum is meant."""

    def dual(w: FloatArray, a: float) -> float:
        low = np.minimum(values, a)
        z1, z2 = np.clip(float(w @ low), 0.0, cap), np.clip(float(w @ low**2), 0.0, cap * cap)
        return float(z1 + (z1 * z1 - z2) / (4.0 * penalty))

    return np.array([_search(lambda a, w=w: dual(w, a), cap) for w in weights])  # type: ignore[misc]
