"""Projections of laws on a fixed grid (categorical) and on mid-quantiles; both vectorised over rows.

Source: distributional_dp/B2 for what they preserve and how far they move a law.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_increasing, require_integer_at_least
from certify.returns.laws import Law

__all__ = ["project_categorical", "project_quantile"]

FloatArray = NDArray[np.float64]


def project_categorical(law: Law, atoms: ArrayLike, *, clip: bool = False) -> Law:
    """Split each atom of a law between its two neighbours on a grid, in proportion to nearness.

    Parameters
    ----------
    law : Law
        Any law.
    atoms : array, shape (K,)
        Strictly increasing grid, K >= 2.
    clip : bool
        Move mass outside the grid to its ends.  This breaks the preservation of the mean, and every guarantee that rests on it.

    Returns
    -------
    Law
        The orthogonal projection in Cramer distance; it has the mean of `law` when nothing is clipped.

    Raises
    ------
    ValueError
        If the grid is not increasing or too short, or the law leaves it and `clip` is False.

    Source: distributional_dp/B2-cramer, B2-wasserstein, B2-mean.

    Examples
    --------
    >>> project_categorical(Law([0.25], [1.0]), [0.0, 1.0]).probabilities.tolist()
    [0.75, 0.25]
    """
    from certify.returns._kernels import project_rows

    grid = require_increasing("atoms", atoms)
    x, p = law.as_floats()
    slack = 1e-12 * max(1.0, float(np.abs(grid).max()))
    if not clip and (x[0] < grid[0] - slack or x[-1] > grid[-1] + slack):
        raise ValueError(
            f"atoms must cover the law: it lies on [{x[0]:g}, {x[-1]:g}], the grid on [{grid[0]:g}, {grid[-1]:g}]; "
            "clipping would not preserve the mean (pass clip=True to accept that)"
        )
    rows = project_rows(x[None, :], p[None, :], grid)
    return Law(grid, rows[0])


def project_quantile(law: Law, m: int) -> Law:
    """Return the law of the m mid-quantiles at levels (2i-1)/(2m), each of mass 1/m.

    Parameters
    ----------
    law : Law
        Any law.
    m : int
        Number of quantiles, at least 1.

    Returns
    -------
    Law
        A quantile that falls on a jump takes the left-continuous inverse with tolerance 1e-13.

    Raises
    ------
    ValueError
        If m < 1.

    Source: distributional_dp/B2-quantile.

    Examples
    --------
    >>> project_quantile(Law([0, 1], [0.5, 0.5]), 1).atoms.tolist()
    [0.0]
    """
    require_integer_at_least("m", m, 1)
    x, p = law.as_floats()
    return Law(quantile_atoms(x, p, m), np.full(m, 1.0 / m))


def quantile_atoms(atoms: FloatArray, probabilities: FloatArray, m: int) -> FloatArray:
    """Return the m mid-quantiles of a law given by sorted atoms; ties between equal atoms do not matter."""
    from certify.returns.laws import LEVEL

    levels = (2.0 * np.arange(1, m + 1) - 1.0) / (2.0 * m)
    index = np.searchsorted(np.cumsum(probabilities), levels - LEVEL)
    picked: NDArray[Any] = atoms[np.minimum(index, len(atoms) - 1)]
    return picked
