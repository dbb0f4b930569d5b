"""Kernels of relative value iteration and of expected hitting times.

Rows are numbered state * A + action.  A forbidden action has reward -inf, so that it never attains a maximum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdps.jit import compiled

__all__ = ["hitting_sparse", "reach_all_dense", "reach_all_sparse", "relative_dense", "relative_sparse"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CALM = 0.8
"""A span that shrinks by less than this factor over eight full sweeps is taken as a sign of a periodic chain."""


@compiled
def _advance(value: Floats, image: Floats, step: float) -> None:
    """Move `value` towards `image` by `step` of the way and put the middle of its range at zero."""
    low, high = np.inf, -np.inf
    for s in range(value.size):
        moved = value[s] + step * (image[s] - value[s])
        value[s] = moved
        low = min(low, moved)
        high = max(high, moved)
    middle = 0.5 * (low + high)
    for s in range(value.size):
        value[s] -= middle


@compiled
def relative_sparse(
    indptr: NDArray[np.uint64],
    indices: NDArray[np.int32],
    data: Floats,
    reward: Floats,
    actions: int,
    value: Floats,
    image: Floats,
    policy: Ints,
    tolerance: float,
    sweeps: int,
    inner: int,
    history: Floats,
    done: int,
) -> tuple[int, float, float]:
    """Sweep until the bracket of the gain is narrower than `tolerance * max(1, |gain|)`; return sweeps, lower and upper limit."""
    states = value.size
    low, high = -np.inf, np.inf
    for sweep in range(sweeps):
        low, high = np.inf, -np.inf
        for s in range(states):
            best, chosen = -np.inf, 0
            for a in range(actions):
                row = s * actions + a
                total = reward[row]
                for k in range(indptr[row], indptr[row + 1]):
                    total += data[k] * value[indices[k]]
                if total > best:
                    best, chosen = total, a
            image[s] = best
            policy[s] = chosen
            gain = best - value[s]
            low = min(low, gain)
            high = max(high, gain)
        width = high - low
        if width <= tolerance * max(1.0, abs(0.5 * (low + high))) or sweep == sweeps - 1:
            return sweep + 1, low, high
        age = done + sweep
        stalled = age >= 8 and width > 0.8 * history[age % 8]
        history[age % 8] = width
        step = 0.5 if stalled or (age >= 8 and history[8] > 0.0) else 1.0
        if stalled:
            history[8] = 1.0
        _advance(value, image, step)
        for _ in range(inner):
            for s in range(states):
                row = s * actions + policy[s]
                total = reward[row]
                for k in range(indptr[row], indptr[row + 1]):
                    total += data[k] * value[indices[k]]
                image[s] = total
            _advance(value, image, step)
    return sweeps, low, high


@compiled(fast_sums=True)
def _dot(left: Floats, right: Floats) -> float:
    total = 0.0
    for k in range(left.size):
        total += left[k] * right[k]
    return total


@compiled
def relative_dense(
    kernel: Floats,
    reward: Floats,
    actions: int,
    value: Floats,
    image: Floats,
    policy: Ints,
    tolerance: float,
    sweeps: int,
    inner: int,
    history: Floats,
    done: int,
) -> tuple[int, float, float]:
    """Do as `relative_sparse` with dense rows, shape (S*A, S)."""
    states = value.size
    low, high = -np.inf, np.inf
    for sweep in range(sweeps):
        low, high = np.inf, -np.inf
        for s in range(states):
            best, chosen = -np.inf, 0
            for a in range(actions):
                row = s * actions + a
                total = reward[row] + _dot(kernel[row], value)
                if total > best:
                    best, chosen = total, a
            image[s] = best
            policy[s] = chosen
            gain = best - value[s]
            low = min(low, gain)
            high = max(high, gain)
        width = high - low
        if width <= tolerance * max(1.0, abs(0.5 * (low + high))) or sweep == sweeps - 1:
            return sweep + 1, low, high
        age = done + sweep
        stalled = age >= 8 and width > 0.8 * history[age % 8]
        history[age % 8] = width
        step = 0.5 if stalled or (age >= 8 and history[8] > 0.0) else 1.0
        if stalled:
            history[8] = 1.0
        _advance(value, image, step)
        for _ in range(inner):
            for s in range(states):
                row = s * actions + policy[s]
                image[s] = reward[row] + _dot(kernel[row], value)
            _advance(value, image, step)
    return sweeps, low, high
