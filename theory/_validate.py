"""Checks of arguments at the public door of `theory`; each raises ValueError naming the argument, what it was and what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def require_finite_array(name: str, value: ArrayLike) -> FloatArray:
    """Return the value as a float array; refuse NaN and infinities."""
    array = _floats(name, value)
    bad = ~np.isfinite(array)
    if bad.any():
        raise ValueError(f"{name} must be finite, got {array[bad].ravel()[0]}")
    return array


def require_each_between(name: str, value: ArrayLike, low: float, high: float) -> FloatArray:
    """Return the value as a float array; refuse entries outside [low, high] and NaN."""
    array = _floats(name, value)
    bad = ~((array >= low) & (array <= high))
    if bad.any():
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {array[bad].ravel()[0]}")
    return array


def require_positive_number(name: str, value: Any) -> float:
    """Return the value as a float; refuse what is not a finite number above 0."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number > 0, got {value!r}") from None
    if not 0.0 < number < float("inf"):
        raise ValueError(f"{name} must be finite and > 0, got {value!r}")
    return number


def require_sorted(name: str, value: ArrayLike) -> FloatArray:
    """Return the value as a one-dimensional finite float array; refuse one that decreases somewhere."""
    array = require_finite_array(name, value).ravel()
    falls = np.flatnonzero(np.diff(array) < 0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(f"{name} must be sorted in increasing order, got {array[i]} before {array[i + 1]}")
    return array


def _floats(name: str, value: ArrayLike) -> FloatArray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {type(value).__name__}") from None
