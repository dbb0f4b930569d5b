"""Compiled: the counter-based generator Philox4x32-10, Gaussian noise by Box-Muller, and integer table noise.

A draw is addressed by (key, counter), never by what was drawn before: key = the two words of the seed, counter = (t, stream, low word
of the episode, high word of the episode).  The second word carries the stream in its lowest byte and the number of the block of
four words above it, so that an observation of any size has its own draws.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdps.jit import compiled

MASK = np.uint64(0xFFFFFFFF)
MUL_0, MUL_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
SHIFT_32, SHIFT_8, SHIFT_56 = np.uint64(32), np.uint64(8), np.uint64(56)
TO_UNIT = 2.0**-32


@compiled
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four 32-bit words (as uint64) of one block."""
    for _ in range(10):
        p0 = MUL_0 * c0
        p1 = MUL_1 * c2
        c0, c1, c2, c3 = (p1 >> SHIFT_32) ^ c1 ^ k0, p1 & MASK, (p0 >> SHIFT_32) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + WEYL_0) & MASK
        k1 = (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


@compiled
def unit(word: Any) -> Any:
    """Return the uniform number in (0, 1) of a 32-bit word."""
    return (np.float64(np.int64(word)) + 0.5) * TO_UNIT


@compiled
def normals(k0: Any, k1: Any, t: Any, stream: Any, first_block: Any, low: Any, high: Any, out: Any) -> None:
    """Fill `out` with standard normal numbers, two words for a pair of them."""
    n = out.shape[0]
    for block in range((n + 3) // 4):
        second = np.uint64(stream) | (np.uint64(first_block + block) << SHIFT_8)
        w0, w1, w2, w3 = philox(np.uint64(t), second, low, high, k0, k1)
        j = 4 * block
        radius, angle = math.sqrt(-2.0 * math.log(unit(w0))), 2.0 * math.pi * unit(w1)
        out[j] = radius * math.cos(angle)
        if j + 1 < n:
            out[j + 1] = radius * math.sin(angle)
        if j + 2 < n:
            radius, angle = math.sqrt(-2.0 * math.log(unit(w2))), 2.0 * math.pi * unit(w3)
            out[j + 2] = radius * math.cos(angle)
            if j + 3 < n:
                out[j + 3] = radius * math.sin(angle)


@compiled
def table_integer(bits: Any, table: Any, guide: Any) -> Any:
    """Return the number of entries of the sorted `table` that are <= `bits`; `guide` brackets it by the top byte."""
    top = np.int64(bits >> SHIFT_56)
    low, high = guide[top], guide[top + 1]
    while low < high:
        middle = (low + high) // 2
        if table[middle] <= bits:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def integers(k0: Any, k1: Any, t: Any, stream: Any, first_block: Any, low: Any, high: Any, table: Any, guide: Any, out: Any) -> None:
    """Fill `out` with integer noise (as floats), 64 bits each: the table is symmetric about its middle."""
    n, half = out.shape[0], table.shape[0] // 2
    for block in range((n + 1) // 2):
        second = np.uint64(stream) | (np.uint64(first_block + block) << SHIFT_8)
        w0, w1, w2, w3 = philox(np.uint64(t), second, low, high, k0, k1)
        j = 2 * block
        out[j] = np.float64(table_integer((w0 << SHIFT_32) | w1, table, guide) - half)
        if j + 1 < n:
            out[j + 1] = np.float64(table_integer((w2 << SHIFT_32) | w3, table, guide) - half)


@compiled
def philox_blocks(counters: Any, k0: Any, k1: Any, out: Any) -> None:
    """Fill the rows of `out` with the words of the rows of `counters` (both uint64)."""
    for i in range(counters.shape[0]):
        w0, w1, w2, w3 = philox(counters[i, 0], counters[i, 1], counters[i, 2], counters[i, 3], k0, k1)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = w0, w1, w2, w3
