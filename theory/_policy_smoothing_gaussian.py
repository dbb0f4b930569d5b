"""The Gaussian shift g_c(p) = Phi(Phi^-1(p) - c), its slope, and a version rounded down.  Source: policy_smoothing, G2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory._validate import require_each_between, require_finite_array


def normal_quantile(p: ArrayLike, *, complement: ArrayLike | None = None) -> Any:
    """Return Phi^-1(p), from the smaller of p and its complement.

    Parameters
    ----------
    p : array
        Probabilities.
    complement : array, optional
        1 - p to full accuracy, of a shape that broadcasts with p.

    Returns
    -------
    float or array
        The quantile; infinite at 0 and 1.

    Raises
    ------
    ValueError
        If a probability is outside [0, 1] or the two do not add up to 1.
    """
    from scipy.special import ndtri

    prob = require_each_between("p", p, 0.0, 1.0)
    if complement is None:
        return ndtri(prob)
    miss = require_each_between("complement", complement, 0.0, 1.0)
    if np.any(np.abs(prob + miss - 1.0) > 1e-6):
        raise ValueError("complement must be 1 - p: the two differ from a sum of 1 by more than 1e-6")
    return np.where(prob <= 0.5, ndtri(prob), -ndtri(miss))[()]


def gaussian_shift_pair(p: ArrayLike, complement: ArrayLike, c: ArrayLike) -> tuple[Any, Any]:
    """Return g_c(p) and 1 - g_c(p), each to full relative accuracy, from p and 1 - p.

    Source: policy_smoothing, G2.

    Examples
    --------
    >>> g, miss = gaussian_shift_pair(1.0, 1e-30, 1.0)
    >>> float(g), bool(1e-27 < miss < 1e-25)
    (1.0, True)
    """
    from scipy.special import ndtr

    shift = require_finite_array("c", c)
    z = normal_quantile(p, complement=complement)
    prob, miss, _ = np.broadcast_arrays(np.asarray(p, dtype=np.float64), np.asarray(complement, dtype=np.float64), shift)
    same = shift == 0.0
    return np.where(same, prob, ndtr(z - shift))[()], np.where(same, miss, ndtr(shift - z))[()]


def gaussian_shift(p: ArrayLike, c: ArrayLike, *, complement: ArrayLike | None = None) -> Any:
    r"""Return $g_c(p) = \Phi(\Phi^{-1}(p) - c)$.

    Parameters
    ----------
    p : array
        Probabilities in [0, 1].
    c : array
        Budget over noise scale, finite; a negative c gives the upper bound.
    complement : array, optional
        1 - p to full accuracy.  Without it a p near 1 counts as exactly the given float.

    Returns
    -------
    float or array
        g_c(p), of the broadcast shape of p and c; 0 at p = 0 and 1 at p = 1.

    Raises
    ------
    ValueError
        If a probability is outside [0, 1], c is not finite, or something is NaN.

    Source: policy_smoothing, G2.

    Examples
    --------
    >>> round(float(gaussian_shift(0.9, 1.0)), 12)
    0.610856308355
    """
    from scipy.special import ndtr

    shift = require_finite_array("c", c)
    z = normal_quantile(p, complement=complement)
    prob, _ = np.broadcast_arrays(np.asarray(p, dtype=np.float64), shift)
    return np.where(shift == 0.0, prob, ndtr(z - shift))[()]


def gaussian_shift_lower(p: ArrayLike, c: ArrayLike, *, complement: ArrayLike | None = None) -> Any:
    """Return g_c(p) rounded down far enough that the returned float is never above the exact value.

    With z = Phi^-1(p) and x = z - c, the library's Phi^-1 and Phi are taken to be within 8 units in the last place; an error e in x moves
    Phi(x) by at most the relative amount (1 + |x|) e, and Phi itself is computed from exp(-x^2 / 2).

    Source: policy_smoothing, G2 (the tests compare with 60-digit arithmetic).

    Examples
    --------
    >>> float(gaussian_shift_lower(0.9, 1.0)) < float(gaussian_shift(0.9, 1.0))
    True
    """
    shift = require_finite_array("c", c)
    z = normal_quantile(p, complement=complement)
    value = gaussian_shift(p, shift, complement=complement)
    finite = np.isfinite(z)
    size = np.where(finite, np.abs(z), 0.0)
    relative = 8.0 * np.finfo(np.float64).eps * (2.0 + size + np.abs(size - shift) + np.abs(shift)) ** 2
    down = np.maximum(np.nextafter(value * (1.0 - relative), -1.0), 0.0)
    return np.where(finite & (shift != 0.0), down, value)[()]


def gaussian_shift_slope(p: ArrayLike, c: ArrayLike, *, complement: ArrayLike | None = None) -> Any:
    r"""Return $g_c'(p) = \exp(c\,\Phi^{-1}(p) - c^2/2)$; infinite at p = 1 for c > 0.

    Source: policy_smoothing, G2.

    Examples
    --------
    >>> float(gaussian_shift_slope(0.5, 0.0))
    1.0
    """
    shift = require_finite_array("c", c)
    z = normal_quantile(p, complement=complement)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = np.exp(shift * z - 0.5 * shift * shift)
    return np.where(shift == 0.0, 1.0, slope)[()]
