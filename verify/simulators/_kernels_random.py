"""Counter-based random numbers inside kernels: Philox 4x32-10 (Salmon et al. 2011), one block a step.

Step t of a stream with a given key always draws the same numbers, whatever ran before it and on whichever thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled

__all__ = ["draw", "guide", "philox", "refill", "uniforms"]

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_SHIFT = np.uint64(11)
_UNIT = 2.0**-53


@compiled(inline=True)
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four 32-bit words, as uint64, of the block with counter (c0, c1, c2, c3) and key (k0, k1)."""
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c2 = (product_1 >> _HALF) ^ c1 ^ k0, (product_0 >> _HALF) ^ c3 ^ k1
        c1, c3 = product_1 & _MASK, product_0 & _MASK
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


@compiled(inline=True)
def uniforms(key: Any, step: Any) -> Any:
    """Return two independent numbers in [0, 1), 53 bits each, of step number `step` in the stream of `key` (two uint64 below 2^32)."""
    counter = np.uint64(step)
    zero = np.uint64(0)
    a, b, c, d = philox(counter & _MASK, counter >> _HALF, zero, zero, key[0], key[1])
    return np.float64(((a << _HALF) | b) >> _SHIFT) * _UNIT, np.float64(((c << _HALF) | d) >> _SHIFT) * _UNIT


@compiled
def refill(key: Any, first: Any, u: Any, v: Any) -> Any:
    """Fill `u` and `v` with the numbers of steps `first`, `first` + 1, ...: a plain loop that the compiler can vectorise."""
    for i in range(u.shape[0]):
        u[i], v[i] = uniforms(key, first + i)


@compiled
def draw(cumulative: Any, u: Any) -> Any:
    """Return the first index whose cumulative probability exceeds `u`; the last entry counts as 1 whatever its rounding."""
    last = cumulative.shape[0] - 1
    if last < 16:
        for index in range(last):
            if u < cumulative[index]:
                return index
        return last
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        if u < cumulative[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def guide(cumulative: Any) -> Any:
    """Return where to start the search for an index: entry (..., c) is the first whose cumulative probability exceeds c / cells.

    Shapes: cumulative (S, A, N), result (S, A, cells).  The number of cells is a power of two, so that a number u in [0, 1) belongs to
    cell floor(u cells) without rounding.  The search from there is almost always over at once, whereas the branches of a search from
    the first index depend on chance and cannot be predicted.
    """
    states, actions, size = cumulative.shape
    cells = 64
    while cells < size:
        cells *= 2
    table = np.zeros((states, actions, cells), np.uint64)
    for s in range(states):
        for a in range(actions):
            index = 0
            for c in range(cells):
                while index < size - 1 and c >= cumulative[s, a, index] * cells:
                    index += 1
                table[s, a, c] = index
    return table
