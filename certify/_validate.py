"""Checks of arguments at the public door of `certify`; each raises ValueError naming the argument, what it was and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]



def require_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a value outside the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def require_finite_array(name: str, value: Any, *, ndim: int) -> NDArray[np.float64]:
    """Return a finite array of floats with `ndim` axes; refuse anything else."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of numbers, got {type(value).__name__}") from None
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]} at index {tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])}")
    return array


def require_positive(name: str, value: Any) -> None:
    """Refuse what is not a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not 0.0 < value < np.inf:
        raise ValueError(f"{name} must be a positive finite number, got {value!r}")


def require_integer(name: str, value: Any, *, minimum: int) -> None:
    """Refuse what is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")


def require_open_unit(name: str, value: Any) -> None:
    """Refuse what is not a number strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be in (0, 1), got {value!r}")


def require_tau(tau: Any) -> None:
    """Refuse a tail mass outside (0, 1], NaN included."""
    if not isinstance(tau, Real) or isinstance(tau, bool) or not 0 < float(tau) <= 1:
        raise ValueError(f"tau must be a number in (0, 1], got {tau!r}")


def require_integer_at_least(name: str, value: Any, minimum: int) -> int:
    """Return the value as an int; refuse what is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)


def require_real(name: str, value: Any, *, above: float | None = None) -> float:
    """Return the value as a float; refuse what is not a finite real number, or not above a limit."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not isfinite(number) or (above is not None and not number > above):
        limit = "" if above is None else f" > {above:g}"
        raise ValueError(f"{name} must be a finite number{limit}, got {value!r}")
    return number


def require_increasing(name: str, value: Any, *, minimum_length: int = 2) -> FloatArray:
    """Return the value as a float array; refuse one that is too short, not finite or not strictly increasing."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {value!r}") from None
    if array.ndim != 1 or array.size < minimum_length:
        raise ValueError(f"{name} must be a one-dimensional array of at least {minimum_length} entries, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    falls = np.flatnonzero(np.diff(array) <= 0)
    if falls.size:
        raise ValueError(f"{name} must be strictly increasing, got {array[falls[0]]} before {array[falls[0] + 1]}")
    return array


def require_vector(name: str, value: Any, *, minimum: float = -np.inf) -> FloatArray:
    """Return the value as a non-empty vector of floats; refuse NaN, infinities and entries below `minimum`."""
    try:
        array = np.array(value, dtype=np.float64, ndmin=1)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {type(value).__name__}") from None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty vector, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array) | (array < minimum))
    if bad.size:
        allowed = "finite" if minimum == -np.inf else f"finite and at least {minimum:g}"
        raise ValueError(f"{name} must be {allowed}, got {array[bad[0]]} at position {bad[0]}")
    return array


def require_sorted(name: str, value: Any) -> FloatArray:
    """Return the value as a finite vector; refuse one that decreases somewhere."""
    array = require_vector(name, value)
    falls = np.flatnonzero(np.diff(array) < 0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(f"{name} must be sorted in increasing order, got {array[i]} before {array[i + 1]}")
    return array


def require_numbers(name: str, value: Any) -> FloatArray:
    """Return the value as a finite float array of any shape; refuse NaN and infinities."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {type(value).__name__}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)].ravel()[0]}")
    return array


def require_whole_numbers(name: str, value: Any) -> NDArray[np.int64]:
    """Return the value as an integer array; refuse fractions, negative numbers, NaN and what is no number."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all() or (array.size and (array.min() < 0 or (array != np.floor(array)).any())):
        raise ValueError(f"{name} must hold whole numbers >= 0, got {array.dtype} with entries that are not")
    return array.astype(np.int64)


def require_simplex_rows(name: str, value: FloatArray) -> None:
    """Refuse rows (last axis) with an entry below 0 or a sum further than 1e-9 from 1."""
    if value.size == 0 or value.min() < 0.0:
        raise ValueError(f"{name} must be non-negative, got {value.min() if value.size else 'nothing'}")
    sums = value.sum(axis=-1)
    worst = float(sums.flat[int(np.abs(sums - 1.0).argmax())])
    if abs(worst - 1.0) > 1e-9:
        raise ValueError(f"{name} must sum to 1 in every row, got a sum of {worst!r}")
