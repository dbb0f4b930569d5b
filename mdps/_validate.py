"""Checks at the public doors of `mdps`: each returns its argument in canonical form or raises one clear error."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._errors import InvalidDiscount, ModelError, NegativeProbability, NotFinite, NotStochastic, WrongShape

__all__ = [
    "require_array",
    "require_between",
    "require_choice",
    "require_discount",
    "require_distribution",
    "require_finite",
    "require_generator",
    "require_integer",
    "require_integer_between",
    "require_nonnegative",
    "require_positive",
    "require_shape",
    "require_stochastic_csr",
    "require_stochastic_rows",
]

FloatArray = npt.NDArray[np.float64]

ROW_TOLERANCE = 1e-9
"""A row whose sum is this close to one is read as the exactly renormalised rational row."""

COMPILED_ABOVE = 1_000_000
"""Stored entries above which a compiled pass over the rows is worth loading."""


def require_positive(name: str, value: float) -> float:
    """Return `value` as a float if it is a finite number above zero."""
    number = _number(name, value, "a finite number > 0")
    if not (0 < number < math.inf):
        raise ModelError(f"{name} must be a finite number > 0, got {value!r}")
    return number


def require_nonnegative(name: str, value: float) -> float:
    """Return `value` as a float if it is a finite number of at least zero."""
    number = _number(name, value, "a finite number >= 0")
    if not (0 <= number < math.inf):
        raise ModelError(f"{name} must be a finite number >= 0, got {value!r}")
    return number


def require_integer(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` as an int if it is an integer of at least `minimum`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ModelError(f"{name} must be an integer >= {minimum}, got {value!r}") from None
    if number < minimum:
        raise ModelError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return number


def require_between(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> float:
    """Return `value` as a float if it lies in [low, high], or in (low, high] where `open_low`."""
    allowed = f"a finite number in {'(' if open_low else '['}{low:g}, {high:g}{')' if high == math.inf else ']'}"
    number = _number(name, value, allowed)
    if not (low <= number <= high) or (open_low and number == low) or math.isinf(number):
        raise ModelError(f"{name} must be {allowed}, got {value!r}")
    return number


def require_finite(name: str, value: float) -> float:
    """Return `value` as a float if it is a finite number."""
    number = _number(name, value, "a finite number")
    if not math.isfinite(number):
        raise ModelError(f"{name} must be a finite number, got {value!r}")
    return number


def require_integer_between(name: str, value: Any, low: int, high: int) -> int:
    """Return `value` as an int if it is an integer from `low` to `high`."""
    number = require_integer(name, value, minimum=low)
    if number > high:
        raise ModelError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    return number


def require_generator(seed: Any) -> np.random.Generator:
    """Return a generator on the counter-based stream of `seed`, an integer >= 0 or a SeedSequence."""
    if isinstance(seed, np.random.SeedSequence):
        return np.random.Generator(np.random.Philox(seed))
    try:
        if isinstance(seed, bool | np.bool_):
            raise TypeError
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ModelError(f"seed must be an integer >= 0 or a numpy SeedSequence, got {seed!r}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(number)))


def require_choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return `value` if it is one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ModelError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def require_discount(value: Any, *, below_one: bool = False) -> float:
    """Return the discount as a float if it lies in (0, 1], or in (0, 1) where `below_one`."""
    allowed = "a number in (0, 1); 1 needs a horizon" if below_one else "a number in (0, 1]"
    try:
        if isinstance(value, bool | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidDiscount(value, allowed) from None
    if not (0 < number < 1 or (number == 1 and not below_one)):
        raise InvalidDiscount(value, allowed)
    return number


def require_array(name: str, value: Any) -> FloatArray:
    """Return `value` as a C-contiguous float64 array of finite entries; an array that is one already is shared, not copied."""
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "fiub":
            raise TypeError
        array = np.ascontiguousarray(given, dtype=np.float64).reshape(given.shape)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be an array of real numbers, got {type(value).__name__}") from None
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise NotFinite(name, f"index {place}", float(array[place]))
    return array


def require_shape(name: str, array: npt.NDArray[Any], *shapes: tuple[int, ...]) -> None:
    """Refuse `array` unless its shape is one of `shapes`."""
    if array.shape not in shapes:
        raise WrongShape(name, array.shape, " or ".join(map(str, shapes)))


def require_distribution(name: str, value: Any, size: int) -> FloatArray:
    """Return `value` as a probability vector of length `size`, renormalised where its sum is within 1e-9 of one.

    A sum that is off by no more than its own rounding is left alone, so that a vector which went through here comes back as it is.
    """
    array = require_array(name, value)
    require_shape(name, array, (size,))
    if array.min() < 0:
        raise ModelError(f"{name} must have entries >= 0, got {float(array.min())!r} at index {int(array.argmin())}")
    total = float(array.sum())
    if abs(total - 1) > ROW_TOLERANCE:
        raise ModelError(f"{name} must sum to 1 within {ROW_TOLERANCE:g}, got {total!r}")
    return array if abs(total - 1) <= size * 2.0**-52 else array / total


def require_stochastic_rows(kernel: FloatArray, n_actions: int, used: npt.NDArray[np.bool_] | None) -> float:
    """Check dense rows of shape (S*A, S) with row s*A + a, and return the largest distance of a row sum from one.

    Rows where `used` (S*A,) is False need not sum to one.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        sums = kernel @ np.ones(kernel.shape[1])
    deviation = sums - 1.0
    if used is not None:
        deviation = np.where(used, deviation, 0.0)
    worst = float(np.abs(deviation).max())
    if worst <= ROW_TOLERANCE and kernel.min() >= 0:
        return worst
    broken = np.flatnonzero(~np.isfinite(sums))
    if broken.size:
        state, action = divmod(int(broken[0]), n_actions)
        successor = int(np.flatnonzero(~np.isfinite(kernel[broken[0]]))[0])
        raise NotFinite("transition", f"state {state}, action {action}, successor {successor}", float(kernel[broken[0], successor]))
    negative = np.flatnonzero(kernel.min(axis=1) < 0)
    if negative.size:
        state, action = divmod(int(negative[0]), n_actions)
        successor = int(kernel[negative[0]].argmin())
        raise NegativeProbability(state, action, successor, float(kernel[negative[0], successor]))
    row = int(np.flatnonzero(np.abs(deviation) > ROW_TOLERANCE)[0])
    raise NotStochastic(row // n_actions, row % n_actions, float(sums[row]))


def require_stochastic_csr(
    data: FloatArray, indices: npt.NDArray[Any], indptr: npt.NDArray[Any], n_actions: int, used: npt.NDArray[np.bool_] | None
) -> float:
    """Check the rows of a compressed (S*A, S) kernel and return the largest distance of a row sum from one."""
    rows = indptr.size - 1
    if data.size > COMPILED_ABOVE:
        from mdps._kernels import row_sums

        worst, smallest = row_sums(indptr, data, np.ones(rows, dtype=bool) if used is None else used)
        if worst <= ROW_TOLERANCE and smallest >= 0:
            return worst
    sums = np.zeros(rows)
    filled = np.flatnonzero(np.diff(indptr) > 0)
    if filled.size:
        with np.errstate(invalid="ignore", over="ignore"):
            sums[filled] = np.add.reduceat(data, indptr[filled])
    deviation = sums - 1.0
    if used is not None:
        deviation = np.where(used, deviation, 0.0)
    worst = float(np.abs(deviation).max())
    if worst <= ROW_TOLERANCE and data.min(initial=0.0) >= 0:
        return worst
    bad = np.flatnonzero(~(data >= 0) | np.isinf(data))
    if bad.size:
        entry = int(bad[0])
        state, action = divmod(int(np.searchsorted(indptr, entry, side="right")) - 1, n_actions)
        successor, value = int(indices[entry]), float(data[entry])
        if not math.isfinite(value):
            raise NotFinite("transition", f"state {state}, action {action}, successor {successor}", value)
        raise NegativeProbability(state, action, successor, value)
    row = int(np.flatnonzero(np.abs(deviation) > ROW_TOLERANCE)[0])
    raise NotStochastic(row // n_actions, row % n_actions, float(sums[row]))


def _number(name: str, value: Any, allowed: str) -> float:
    try:
        if isinstance(value, bool | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be {allowed}, got {value!r}") from None
