"""Compiled: episodes under an adversary that answers each observation by an affine map, within its budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from certify.smoothing._kernels_envs import observe, reset, step
from certify.smoothing._kernels_noise import normals
from certify.smoothing._kernels_rollout import OBSERVATION, forward, shift_and_noise
from mdps.jit import compiled

MASK, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


@compiled
def perturb(obs: Any, centre: Any, spread: Any, gain: Any, gate: Any, left: Any, delta: Any) -> Any:
    """Write delta = gain @ (1, standardised observation), nothing below the gate, cut to what is left; return the squared norm spent."""
    size, total = obs.shape[0], 0.0
    for j in range(size):
        delta[j] = gain[j, 0]
        for i in range(size):
            delta[j] += gain[j, i + 1] * (obs[i] - centre[i]) / spread[i]
        total += delta[j] * delta[j]
    if not total > gate * gate or left < 1e-290:  # what squares to less than a normal number is nothing
        delta[:] = 0.0
        return 0.0
    if total > left:
        # Shrunk a little, so that rounding cannot overspend.
        factor = math.sqrt(left / total) * (1.0 - 1e-12)
        for j in range(size):
            delta[j] *= factor
        return left
    return total


@compiled
def attacked(
    env: Any, first: Any, returns: Any, spent: Any, moments: Any, key: Any, max_steps: Any, frames: Any, sigma: Any, flat: Any, widths: Any, relu: Any,
    single: Any, box: Any, squash: Any, bounds: Any, shift: Any, scale: Any, clip: Any, budget: Any, gain: Any, gate: Any, centre: Any, spread: Any,
) -> None:  # fmt: skip
    """Play the episodes `first`, ...; write returns, the norm spent, and count, sums and squares of the observations."""
    k0, k1, size = key[0], key[1], sigma.shape[0]
    inputs, outputs = size * frames, widths[-1]
    state, obs, moved, delta, z = np.empty(5), np.empty(size), np.empty(size), np.zeros(size), np.empty(size)
    stack, x, hidden = np.empty(inputs, flat.dtype), np.empty(inputs, flat.dtype), np.empty((3, widths.max()), flat.dtype)
    for e in range(returns.shape[0]):
        number = np.uint64(first + e)
        low, high = number & MASK, number >> SHIFT
        reset(env, k0, k1, low, high, state)
        left, result, t, done = budget * budget, 0.0, 0, False
        while t < max_steps and not done:
            observe(env, state, obs)
            moments[0, 0] += 1.0
            left = max(left - perturb(obs, centre, spread, gain, gate, left, delta), 0.0)
            normals(k0, k1, t, OBSERVATION, 0, low, high, z)
            for j in range(size):
                moments[1, j] += obs[j]
                moments[2, j] += obs[j] * obs[j]
                moved[j] = obs[j] + delta[j]
            shift_and_noise(moved, sigma, z, 0.0, t == 0, stack)
            for j in range(inputs):
                x[j] = min(max((stack[j] - shift[j]) / scale[j], -clip), clip) if clip > 0.0 else stack[j]
            raw = forward(flat, widths, relu, single, x, hidden)
            choice, action = 0, 0.0
            if box:
                action = np.float64(raw[0])
                action = bounds[0] + 0.5 * (math.tanh(action) + 1.0) * (bounds[1] - bounds[0]) if squash else min(max(action, bounds[0]), bounds[1])
            else:
                for j in range(1, outputs):
                    if raw[j] > raw[choice]:
                        choice = j
            reward, done = step(env, state, choice, action)
            result += reward
            t += 1
        returns[e] = result
        spent[e] = math.sqrt(max(budget * budget - left, 0.0))
