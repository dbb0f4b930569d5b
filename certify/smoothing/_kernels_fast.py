"""Compiled: what a step of many episodes needs apart from the matrix products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from certify.smoothing._kernels_envs import observe, reset, step
from certify.smoothing._kernels_rollout import _noise, shift_and_noise, tanh32, tanh64
from mdps.jit import compiled

MASK, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


@compiled
def reset_all(env: Any, key: Any, first: Any, states: Any) -> None:
    """Draw the initial states of the episodes `first`, `first + 1`, ..."""
    for i in range(states.shape[0]):
        number = np.uint64(first + i)
        reset(env, key[0], key[1], number & MASK, number >> SHIFT, states[i])


@compiled
def activate(rows: Any, b: Any, hidden: Any, relu: Any, single: Any) -> None:
    """Add the bias, and after a hidden layer apply the activation, in place."""
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(row.shape[0]):
            row[j] += b[j]
        if hidden and relu:
            for j in range(row.shape[0]):
                row[j] = max(row[j], row[j] * 0)
        elif hidden and single:
            for j in range(row.shape[0]):
                row[j] = tanh32(np.float32(row[j]))
        elif hidden:
            for j in range(row.shape[0]):
                row[j] = tanh64(np.float64(row[j]))


@compiled
def look(
    env: Any, key: Any, first: Any, t: Any, index: Any, states: Any, sigma: Any, grid: Any, table: Any, guide: Any, shift: Any, scale: Any,
    clip: Any, stacks: Any, x: Any,
) -> None:  # fmt: skip
    """Write the noised inputs of the living episodes into the first rows of `x`."""
    size = sigma.shape[0]
    obs, z = np.empty(size), np.empty(size)
    for i in range(index.shape[0]):
        e = index[i]
        number = np.uint64(first + e)
        observe(env, states[e], obs)
        _noise(grid, key[0], key[1], t, 0, number & MASK, number >> SHIFT, table, guide, z)
        shift_and_noise(obs, sigma, z, grid, t == 0, stacks[e])
        for j in range(stacks.shape[1]):
            if clip > 0.0:
                x[i, j] = min(max((stacks[e, j] - shift[j]) / scale[j], -clip), clip)
            else:
                x[i, j] = stacks[e, j]


@compiled
def advance(env: Any, states: Any, index: Any, raw: Any, box: Any, squash: Any, bounds: Any, returns: Any) -> Any:
    """Act, add the rewards, and move the indices of the living to the front; return how many live."""
    alive = 0
    for i in range(index.shape[0]):
        e = index[i]
        choice, action = 0, 0.0
        if box:
            action = np.float64(raw[i, 0])
            if squash:
                action = bounds[0] + 0.5 * (math.tanh(action) + 1.0) * (bounds[1] - bounds[0])
            else:
                action = min(max(action, bounds[0]), bounds[1])
        else:
            for j in range(1, raw.shape[1]):
                if raw[i, j] > raw[i, choice]:
                    choice = j
        reward, done = step(env, states[e], choice, action)
        returns[e] += reward
        if not done:
            index[alive] = e
            alive += 1
    return alive
