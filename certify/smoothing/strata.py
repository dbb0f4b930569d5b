"""Stratified certificates: one band for each cell of the initial state, and the average of the cells' bounds.

The coins that choose the cell are not the adversary's, so the bound may be taken cell by cell; averaging afterwards is never worse than
pooling, because g_c is convex.

Source: policy_smoothing, G2b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_open_unit, require_vector
from certify.smoothing.certificates import RewardCertificate, certify_curve
from certify.smoothing.protocols import Protocol

__all__ = ["StratifiedCertificate", "certify_stratified"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StratifiedCertificate:
    """The average of the cells' certificates; all of them hold together with probability 1 - alpha."""

    budgets: FloatArray
    lower: FloatArray
    value: FloatArray
    alpha: float
    weights: FloatArray
    cells: tuple[RewardCertificate, ...]

    @property
    def upper(self) -> FloatArray:
        """Nothing is claimed from above."""
        return np.full(self.budgets.shape, np.inf)


def certify_stratified(
    cells: Sequence[ArrayLike],
    weights: ArrayLike,
    *,
    sigma: float | ArrayLike,
    budgets: ArrayLike,
    alpha: float = 0.05,
    floor: float = 0.0,
    band: str = "equal-local-level",
    protocol: Protocol | str | None = None,
) -> StratifiedCertificate:
    """Certify the mean return from episodes sampled cell by cell.

    Parameters
    ----------
    cells : sequence of arrays
        Returns of the episodes of each cell; how many is fixed in advance for every cell.
    weights : array of shape (k,)
        Known probabilities of the cells, which sum to 1 within 1e-9; not estimated from the episodes.
    sigma, budgets, floor, band, protocol
        As in `certify_curve`.
    alpha : float
        Failure probability, shared equally by the cells.

    Returns
    -------
    StratifiedCertificate
        The curve and the cells' certificates.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G2b.

    Examples
    --------
    >>> whole = certify_stratified([[1.0] * 500, [0.0, 1.0] * 250], [0.5, 0.5], sigma=1.0, budgets=[1.0])
    >>> pooled = certify_curve([1.0] * 750 + [0.0] * 250, sigma=1.0, budgets=[1.0])
    >>> bool(whole.lower[0] > pooled.lower[0])
    True
    """
    share = require_vector("weights", weights, minimum=0.0)
    if len(cells) != share.size:
        raise ValueError(f"weights must be as many as cells, {len(cells)}, got {share.size}")
    if abs(share.sum() - 1.0) > 1e-9:
        raise ValueError(f"weights must sum to 1, got {share.sum()!r}")
    require_open_unit("alpha", alpha)
    parts = tuple(
        certify_curve(cell, sigma=sigma, budgets=budgets, alpha=alpha / share.size, floor=floor, band=band, protocol=protocol) for cell in cells
    )
    gains = sum(w * (part.lower - floor) for w, part in zip(share, parts, strict=True))
    lower = np.maximum(floor + gains / max(share.sum(), 1.0) * (1.0 - 1e-14) - 1e-15 * abs(floor), floor)
    value = sum(w * part.value for w, part in zip(share, parts, strict=True))
    return StratifiedCertificate(parts[0].budgets, lower, np.asarray(value), float(alpha), share, parts)
