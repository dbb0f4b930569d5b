"""The table of integer noise (policy_smoothing/G13): the law of a Gaussian rounded to a grid, in 64-bit integers.

With a grid step of `GRID_STEP` standard deviations the noise is `GRID_STEP * K`, P(K <= k) = Phi((k + 1/2) GRID_STEP), and an
observation enters as a multiple of the step, so no bit below the grid can leak it.  Each threshold is correct to half a unit of 2^-64.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRID_STEP", "grid_table", "grid_tv"]

GRID_STEP = 2.0**-8
"""Grid step in units of sigma."""

_REACH = 2343
"""Largest |K|: the probability beyond rounds to 0 units of 2^-64."""


@cache
def grid_table() -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the sorted thresholds (shape (2 * reach,)) and, for each top byte, where to look (shape (257,)).

    Returns
    -------
    tuple of array
        `K + reach` is the number of thresholds that are <= 64 random bits.
    """
    import mpmath

    with mpmath.workdps(40):
        lower = [int(mpmath.nint(mpmath.ldexp(mpmath.ncdf((k + mpmath.mpf("0.5")) * mpmath.mpf(GRID_STEP)), 64))) for k in range(-_REACH, 0)]
    upper = [(1 << 64) - t for t in reversed(lower)]
    table = np.array(lower + upper, dtype=np.uint64)
    edges = np.array([k << 56 for k in range(256)], dtype=np.uint64)
    guide = np.append(np.searchsorted(table, edges, side="right"), table.size).astype(np.int64)
    return table, guide


def grid_tv(draws: int) -> float:
    """Return an upper bound on the total variation between `draws` table draws and the exact rounded Gaussian.

    Parameters
    ----------
    draws : int
        Number of draws.

    Returns
    -------
    float
        `draws * (table size + 2) * 2^-64`.
    """
    return draws * (2 * _REACH + 2) * 2.0**-64
