"""Certified quantiles of the return under attack, from order statistics of clean episodes.

Source: policy_smoothing, G9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_integer_at_least, require_open_unit, require_vector
from certify.smoothing.bands import equal_local_level
from certify.smoothing.protocols import Protocol, as_protocol, noise_scale, require_same_noise
from theory.policy_smoothing import gaussian_shift_lower

if TYPE_CHECKING:
    from certify.smoothing.returns import Returns

__all__ = ["QuantileCertificate", "certify_quantile", "order_index"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class QuantileCertificate:
    """Lower limits of a quantile of the return under attack.

    `lower[i]` is minus infinity where no order statistic is certified; `order[i]` is its number (0 for none), `level[i]` the clean level.
    With `simultaneous` all limits hold together with probability 1 - alpha, otherwise each one by itself.
    """

    budgets: FloatArray
    lower: FloatArray
    order: NDArray[np.int64]
    level: FloatArray
    value: FloatArray
    q: float
    alpha: float
    simultaneous: bool
    protocol: Protocol

    @property
    def upper(self) -> FloatArray:
        """Nothing is claimed from above."""
        return np.full(self.budgets.shape, np.inf)


def certify_quantile(
    returns: ArrayLike | Returns,
    *,
    sigma: float | ArrayLike,
    budgets: ArrayLike,
    q: float = 0.5,
    alpha: float = 0.05,
    simultaneous: bool = False,
    protocol: Protocol | str | None = None,
) -> QuantileCertificate:
    """Certify the q-quantile of the return under attack.

    Parameters
    ----------
    returns : array of shape (n,) or Returns
        Returns of n independent episodes with the smoothing noise and without attack.
    sigma : float or array
        Noise scale.
    budgets : array of shape (m,)
        Budgets of the adversary.
    q : float
        Which quantile, in (0, 1); 0.5 is the median.
    alpha : float
        Failure probability: of each limit, or of all together if `simultaneous`.
    simultaneous : bool
        Use the equal-local-level band, which covers every budget and every q at once.
    protocol : Protocol or str, optional
        As in `certify_curve`; the prefix form is not available for quantiles.

    Returns
    -------
    QuantileCertificate
        Order statistics that are lower limits.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G9.

    Examples
    --------
    >>> certify_quantile(range(1000), sigma=1.0, budgets=[0.0, 1.0]).lower.tolist()
    [473.0, 139.0]
    """
    sampled = hasattr(returns, "values") and hasattr(returns, "provenance")
    values = np.sort(require_vector("returns", returns.values if sampled else returns))  # type: ignore[union-attr]
    require_open_unit("q", q)
    require_open_unit("alpha", alpha)
    noise_scale(sigma)
    amount = require_vector("budgets", budgets, minimum=0.0)
    rule = as_protocol(protocol, returns if sampled else None)
    if rule.budget == "per-step-prefix":
        raise ValueError(f"protocol must be another than the prefix form for quantiles, got {rule.budget!r}")
    scale: Any = float(sigma) if np.ndim(sigma) == 0 else tuple(float(s) for s in np.asarray(sigma))  # type: ignore[arg-type]
    c = rule.shift(amount, scale)
    if sampled:
        require_same_noise(returns, scale, rule, c)
    # With table noise of total variation e and a disagreement d, Q(J >= x) >= g_c(p - d - e) - e > 1 - q as soon as F(x-) < g_c(q - e) - e - d.
    lost = rule.noise_tv
    levels = np.nextafter(np.asarray(gaussian_shift_lower(q if lost == 0.0 else max(float(np.nextafter(q - lost, -1.0)), 0.0), c)), 0.0)
    if lost + rule.disagreement > 0.0:
        levels = np.maximum(np.nextafter(levels - (lost + rule.disagreement), -1.0), 0.0)
    spent = equal_local_level(values.size, alpha) if simultaneous else alpha
    order = np.array([order_index(values.size, float(u), spent) for u in levels], dtype=np.int64)
    lower = np.where(order > 0, values[np.maximum(order - 1, 0)], -np.inf)
    plain = values[np.minimum((levels * values.size).astype(np.int64), values.size - 1)]
    return QuantileCertificate(amount, lower, order, levels, plain, q, alpha, simultaneous, rule)


def order_index(n: int, u: float, alpha: float) -> int:
    """Return k such that the order statistic X_(k) of n draws exceeds the u-quantile with probability at most alpha.

    k = #{j >= 0 : P(Bin(n, u) <= j) <= alpha}, with a margin for rounding; 0 if there is none.

    Source: policy_smoothing, G9.

    Examples
    --------
    >>> order_index(1000, 0.5, 0.05)
    474
    """
    from scipy.special import bdtr

    require_integer_at_least("n", n, 1)
    require_open_unit("alpha", alpha)
    if not 0.0 <= u <= 1.0:
        raise ValueError(f"u must be in [0, 1], got {u!r}")
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(middle, n, u) * (1.0 + 1e-10) <= alpha:
            low = middle
        else:
            high = middle
    return low + 1
