"""Compiled sweeps over compressed rows: row s*A + a of the kernel is entries indptr[row]:indptr[row + 1].

`reward` has shape (S, A) with -inf where an action is not available, so that no kernel needs the mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mdps.jit import compiled

__all__ = ["breadth_first", "evaluate_rows", "gauss_seidel", "gather_rows", "multiply", "sweep"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[Any]


@compiled
def multiply(indptr: Ints, indices: Ints, data: Floats, v: Floats, out: Floats) -> None:
    """Store P v of every row in `out`."""
    for row in range(out.size):
        total = 0.0
        for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
            total += data[k] * v[indices[k]]
        out[row] = total


@compiled
def sweep(indptr: Ints, indices: Ints, data: Floats, reward: Floats, g: float, v: Floats, t: Floats, policy: Ints) -> tuple[float, float]:
    """Store T v in `t` and a greedy action in `policy`; return the smallest and the largest t - v."""
    n_states, n_actions = reward.shape
    low, high = np.inf, -np.inf
    for s in range(n_states):
        best, arg = -np.inf, 0
        for a in range(n_actions):
            row = s * n_actions + a
            total = 0.0
            for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                total += data[k] * v[indices[k]]
            q = reward[s, a] + g * total
            if q > best:
                best, arg = q, a
        t[s] = best
        policy[s] = arg
        d = best - v[s]
        low = min(low, d)
        high = max(high, d)
    return low, high


@compiled
def gather_rows(
    indptr: Ints, indices: Ints, data: Floats, reward: Floats, policy: Ints, ptr: Ints, columns: Ints, values: Floats, gains: Floats
) -> None:
    """Copy the rows of `policy` to (ptr, columns, values) and its rewards to `gains`."""
    n_states, n_actions = reward.shape
    at = 0
    for s in range(n_states):
        row = s * n_actions + policy[s]
        ptr[s] = at
        gains[s] = reward[s, policy[s]]
        for k in range(indptr[row], indptr[row + 1]):
            columns[at] = indices[k]
            values[at] = data[k]
            at += 1
    ptr[n_states] = at


@compiled
def evaluate_rows(
    ptr: Ints, columns: Ints, values: Floats, gains: Floats, g: float, v: Floats, w: Floats, sweeps: int, target: float
) -> float:
    """Apply v <- gains + g P v in `v`, up to `sweeps` times, until the span of the change is at most `target`; return that span."""
    span = np.inf
    done = 0
    while done < sweeps and span > target:
        low, high = np.inf, -np.inf
        for s in range(gains.size):
            total = 0.0
            for k in range(np.uint64(ptr[s]), np.uint64(ptr[s + 1])):
                total += values[k] * v[columns[k]]
            new = gains[s] + g * total
            w[s] = new
            low = min(low, new - v[s])
            high = max(high, new - v[s])
        v, w = w, v
        span = high - low
        done += 1
    if done % 2 == 1:
        w[:] = v
    return span


@compiled
def gauss_seidel(
    indptr: Ints, indices: Ints, data: Floats, reward: Floats, g: float, v: Floats, policy: Ints, order: Ints, greedy: bool
) -> float:
    """Update `v` in place along `order`, over all actions (storing greedy ones) or only those of `policy`; return the largest change."""
    n_actions = reward.shape[1]
    largest = 0.0
    for i in range(order.size):
        s = order[i]
        if greedy:
            best, arg = -np.inf, 0
            for a in range(n_actions):
                row = s * n_actions + a
                total = 0.0
                for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                    total += data[k] * v[indices[k]]
                q = reward[s, a] + g * total
                if q > best:
                    best, arg = q, a
            policy[s] = arg
        else:
            row = s * n_actions + policy[s]
            total = 0.0
            for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                total += data[k] * v[indices[k]]
            best = reward[s, policy[s]] + g * total
        largest = max(largest, abs(best - v[s]))
        v[s] = best
    return largest


@compiled
def breadth_first(indptr: Ints, indices: Ints, data: Floats, n_states: int, n_actions: int, roots: Ints, order: Ints) -> int:
    """Fill `order` with all states by distance to `roots` against the direction of transitions; return how many reach a root."""
    starts = np.zeros(n_states + 1, dtype=np.int64)
    for row in range(n_states * n_actions):
        for k in range(indptr[row], indptr[row + 1]):
            if data[k] > 0.0:
                starts[indices[k] + 1] += 1
    for s in range(n_states):
        starts[s + 1] += starts[s]
    fill = starts[:-1].copy()
    sources = np.empty(starts[n_states], dtype=np.int32)
    for row in range(n_states * n_actions):
        for k in range(indptr[row], indptr[row + 1]):
            if data[k] > 0.0:
                sources[fill[indices[k]]] = row // n_actions
                fill[indices[k]] += 1
    seen = np.zeros(n_states, dtype=np.bool_)
    tail = 0
    for i in range(roots.size):
        if not seen[roots[i]]:
            seen[roots[i]] = True
            order[tail] = roots[i]
            tail += 1
    head = 0
    while head < tail:
        s = order[head]
        head += 1
        for k in range(starts[s], starts[s + 1]):
            p = sources[k]
            if not seen[p]:
                seen[p] = True
                order[tail] = p
                tail += 1
    reached = tail
    for s in range(n_states):
        if not seen[s]:
            order[tail] = s
            tail += 1
    return reached
