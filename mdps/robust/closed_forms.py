"""Closed forms for noise of bounded L_p norm, with the test that tells when they are exact.

Kernel noise with zero row sums and ||P - P0||_p <= b, its sign constraint ignored, costs b kappa(v) with the dual norm of the distance
of v from the constants: half the range (p = 1), the norm of v - mean (p = 2), the sum of |v - median| (p = inf).  The form is exact
as long as the ball stays inside the simplex and a lower bound otherwise.

Source: robust_tabular T3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError, WrongShape
from mdps._validate import require_array, require_distribution, require_nonnegative

__all__ = ["LpValue", "lp_value"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LpValue:
    """The closed form nominal - radius * kappa and whether it is exact.

    Attributes
    ----------
    value : float
        A lower bound on the smallest expectation.
    exact : bool
        Whether the ball stays inside the simplex, so that the bound is attained.
    """

    value: float
    exact: bool


def lp_value(values: ArrayLike, nominal: ArrayLike, *, order: float, radius: float) -> LpValue:
    """Return the closed form of the smallest expectation over ||p - nominal||_order <= radius.

    Parameters
    ----------
    values, nominal : array (n,)
        Values and nominal distribution.
    order : float
        1, 2 or infinity.
    radius : float
        Bound on the norm of the noise, >= 0.

    Returns
    -------
    LpValue
        Closed form, and whether it is exact.

    Raises
    ------
    ModelError
        If an argument is out of range.

    Examples
    --------
    >>> found = lp_value([0, 1, 3], [0.2, 0.5, 0.3], order=1, radius=0.5)
    >>> round(found.value, 12), found.exact
    (0.65, True)

    Source: robust_tabular T3.
    """
    v = require_array("values", values)
    if v.ndim != 1 or v.size == 0:
        raise WrongShape("values", v.shape, "(n,) with n >= 1")
    q = require_distribution("nominal", nominal, v.size)
    b = require_nonnegative("radius", radius)
    if order == 1:
        kappa = 0.5 * float(v.max() - v.min())
        exact = kappa == 0.0 or float(q[v == v.max()].sum()) >= 0.5 * b
    elif order == 2:
        away = v - v.mean()
        kappa = float(np.linalg.norm(away))
        exact = kappa == 0.0 or bool(np.all(q >= b * away / kappa))
    elif order == math.inf:
        away = v - np.median(v)
        kappa = float(np.abs(away).sum())
        exact = kappa == 0.0 or bool(np.all(q[away > 0] >= b))
    else:
        raise ModelError(f"order must be 1, 2 or infinity, got {order!r}")
    return LpValue(float(q @ v) - b * kappa, exact)
