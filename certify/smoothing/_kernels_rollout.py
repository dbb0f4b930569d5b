"""Compiled: a perceptron evaluated in a fixed order, and whole episodes of it under noise.

Every sum has one order that depends on nothing but the layer, so an episode has the same bytes whatever else is computed beside it.
The loops over the outputs of a layer vectorise without reordering.  `tanh` is built from products and sums alone, hence the same on
every machine; its error is below 3e-16 (float64) and 2e-7 (float32).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from certify.smoothing._kernels_envs import observe, reset, step
from certify.smoothing._kernels_noise import integers, normals
from mdps.jit import compiled

OBSERVATION = 1
F1, F2 = np.float32(1.0), np.float32(2.0)
F_LOG2E, F_LN2_HIGH, F_LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
F_P0, F_P1, F_P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
F_P3, F_P4, F_P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
F_CAP = np.float32(9.5)
ROUND_64, ROUND_32 = 6755399441055744.0, np.float32(12582912.0)
I_BIAS, I_SHIFT = np.int32(127), np.int32(23)


@compiled
def tanh64(x: Any) -> Any:
    """Hyperbolic tangent: (1 - e) / (1 + e) with e = exp(-2|x|) by reduction to |r| <= ln(2)/2 and a Taylor polynomial of expm1."""
    a = abs(x)
    y = -2.0 * (a if a < 20.0 else 20.0)
    t = y * 1.4426950408889634 + ROUND_64  # the sum rounds to an integer, which stands in its lowest bits
    n = t - ROUND_64
    r = (y - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    q = r + (r * r) * p
    two_n = np.int64((np.float64(t).view(np.int64) + 1023) << 52).view(np.float64)
    minus = two_n * q + (two_n - 1.0)
    return math.copysign(-minus / (2.0 + minus), x)


@compiled
def tanh32(x: Any) -> Any:
    """The same in float32 arithmetic."""
    a = abs(x)
    y = -F2 * (a if a < F_CAP else F_CAP)
    t = np.float32(y * F_LOG2E + ROUND_32)
    n = np.float32(t - ROUND_32)
    r = (y - n * F_LN2_HIGH) - n * F_LN2_LOW
    p = ((((F_P0 * r + F_P1) * r + F_P2) * r + F_P3) * r + F_P4) * r + F_P5
    q = r + (r * r) * p
    two_n = np.int32((t.view(np.int32) + I_BIAS) << I_SHIFT).view(np.float32)
    minus = two_n * q + (two_n - F1)
    return np.float32(math.copysign(-minus / (F2 + minus), x))


@compiled
def _dense(w: Any, b: Any, x: Any, out: Any) -> None:
    n_in, n_out = w.shape
    for j in range(n_out):
        out[j] = b[j]
    i = 0
    while i + 4 <= n_in:
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        w0, w1, w2, w3 = w[i], w[i + 1], w[i + 2], w[i + 3]
        for j in range(n_out):
            out[j] = (((out[j] + x0 * w0[j]) + x1 * w1[j]) + x2 * w2[j]) + x3 * w3[j]
        i += 4
    while i < n_in:
        for j in range(n_out):
            out[j] += x[i] * w[i, j]
        i += 1


@compiled
def _narrow(w: Any, b: Any, x: Any, products: Any, out: Any) -> None:
    """The same for few outputs: `w` is transposed, and the products are added in halves, which vectorises in one fixed order."""
    n_out, n_in = w.shape
    for j in range(n_out):
        row = w[j]
        for i in range(n_in):
            products[i] = x[i] * row[i]
        n = n_in
        while n > 1:
            half = (n + 1) // 2
            upper = products[half:n]
            for i in range(n - half):
                products[i] += upper[i]
            n = half
        out[j] = b[j] + products[0]


@compiled
def forward(flat: Any, widths: Any, relu: Any, single: Any, x: Any, hidden: Any) -> Any:
    """Return the row of `hidden` (3, widest) that holds the raw outputs for the input `x`; its last row is scratch."""
    at, last, side = 0, widths.shape[0] - 2, 0
    for k in range(last + 1):
        n_in, n_out = widths[k], widths[k + 1]
        source = x if k == 0 else hidden[1 - side]
        out = hidden[side]
        b = flat[at + n_in * n_out : at + n_in * n_out + n_out]
        if n_out < 8:
            _narrow(flat[at : at + n_in * n_out].reshape((n_out, n_in)), b, source[:n_in], hidden[2], out[:n_out])
        else:
            _dense(flat[at : at + n_in * n_out].reshape((n_in, n_out)), b, source[:n_in], out[:n_out])
        at += n_in * n_out + n_out
        if k < last:
            if relu:
                for j in range(n_out):
                    out[j] = max(out[j], out[j] * 0)
            elif single:
                for j in range(n_out):
                    out[j] = tanh32(np.float32(out[j]))
            else:
                for j in range(n_out):
                    out[j] = tanh64(np.float64(out[j]))
        side = 1 - side
    return hidden[1 - side]


@compiled
def forward_rows(flat: Any, widths: Any, relu: Any, single: Any, rows: Any, hidden: Any, out: Any) -> None:
    """Fill `out` with the raw outputs of every row: the same bytes for a row whatever the batch."""
    for i in range(rows.shape[0]):
        out[i] = forward(flat, widths, relu, single, rows[i], hidden)[: out.shape[1]]


@compiled
def shift_and_noise(obs: Any, sigma: Any, z: Any, grid: Any, first: Any, stack: Any) -> None:
    """Push the noised observation into a stack (oldest frame first); the first one fills it."""
    d = obs.shape[0]
    frames = stack.shape[0] // d
    if not first:
        for j in range((frames - 1) * d):
            stack[j] = stack[j + d]
    for j in range(d):
        if grid > 0.0:
            q = grid * sigma[j]
            stack[(frames - 1) * d + j] = q * (np.rint(obs[j] / q) + z[j])
        else:
            stack[(frames - 1) * d + j] = obs[j] + sigma[j] * z[j]
    if first:
        for f in range(frames - 1):
            for j in range(d):
                stack[f * d + j] = stack[(frames - 1) * d + j]


@compiled
def _noise(grid: Any, k0: Any, k1: Any, t: Any, block: Any, low: Any, high: Any, table: Any, guide: Any, z: Any) -> None:
    if grid > 0.0:
        integers(k0, k1, t, OBSERVATION, block, low, high, table, guide, z)
    else:
        normals(k0, k1, t, OBSERVATION, block, low, high, z)


@compiled
def share_padding(z: Any, size: Any, padding: Any) -> None:
    """Let the copies of the first frame that still fill a stack share one draw: the first `padding` frames take that of the next one.

    With a draw of its own for each, the first frame would be seen k (k + 1) / 2 times instead of k, and sqrt(k) B would be no bound.
    """
    for j in range(padding * size):
        z[j] = z[padding * size + j % size]


@compiled
def rollouts(
    env: Any, first: Any, returns: Any, steps: Any, key: Any, max_steps: Any, size: Any, frames: Any, per_copy: Any, average: Any, sigma: Any,
    grid: Any, table: Any, guide: Any, flat: Any, widths: Any, relu: Any, single: Any, box: Any, squash: Any, bounds: Any, shift: Any, scale: Any, clip: Any,
) -> None:  # fmt: skip
    """Play the episodes `first`, `first + 1`, ... and write the return and the number of steps of each."""
    k0, k1 = key[0], key[1]
    inputs, outputs = size * frames, widths[-1]
    state, obs = np.empty(5), np.empty(size)
    clean, z = np.empty(inputs), np.empty(inputs if per_copy else size)
    stacks = np.empty((average, inputs), flat.dtype)
    x, total = np.empty(inputs, flat.dtype), np.empty(outputs, flat.dtype)
    hidden = np.empty((3, widths.max()), flat.dtype)
    wide_sigma, none = np.empty(inputs), np.zeros(inputs)
    for j in range(inputs):
        wide_sigma[j] = sigma[j % size]
    blocks = (z.shape[0] + 1) // 2 if grid > 0.0 else (z.shape[0] + 3) // 4
    for e in range(returns.shape[0]):
        number = np.uint64(first + e)
        low, high = number & np.uint64(0xFFFFFFFF), number >> np.uint64(32)
        reset(env, k0, k1, low, high, state)
        result, t, done = 0.0, 0, False
        while t < max_steps and not done:
            observe(env, state, obs)
            if per_copy:
                shift_and_noise(obs, sigma, none[:size], 0.0, t == 0, clean)
            for m in range(average):
                _noise(grid, k0, k1, t, m * blocks, low, high, table, guide, z)
                if per_copy:
                    share_padding(z, size, frames - 1 - t)
                    shift_and_noise(clean, wide_sigma, z, grid, True, stacks[m])
                else:
                    shift_and_noise(obs, sigma, z, grid, t == 0, stacks[m])
                if clip > 0.0:
                    for j in range(inputs):
                        x[j] = min(max((stacks[m, j] - shift[j]) / scale[j], -clip), clip)
                    raw = forward(flat, widths, relu, single, x, hidden)
                else:
                    raw = forward(flat, widths, relu, single, stacks[m], hidden)
                for j in range(outputs):
                    total[j] = raw[j] if m == 0 else total[j] + raw[j]
            choice, action = 0, 0.0
            if box:
                action = total[0] / average
                if squash:
                    action = bounds[0] + 0.5 * (math.tanh(action) + 1.0) * (bounds[1] - bounds[0])
                else:
                    action = min(max(action, bounds[0]), bounds[1])
            else:
                for j in range(1, outputs):
                    if total[j] > total[choice]:
                        choice = j
            reward, done = step(env, state, choice, action)
            result += reward
            t += 1
        returns[e] = result
        steps[e] = t


@compiled
def noise_rows(key: Any, t: Any, first: Any, alive: Any, block: Any, grid: Any, table: Any, guide: Any, z: Any) -> None:
    """Fill the rows of `z` that are alive with the noise of the episodes `first`, `first + 1`, ... at step t."""
    for i in range(z.shape[0]):
        if alive[i]:
            number = np.uint64(first + i)
            _noise(grid, key[0], key[1], t, block, number & np.uint64(0xFFFFFFFF), number >> np.uint64(32), table, guide, z[i])


@compiled
def convolve(kernel: Any, offset: Any, stride: Any, image: Any, patch: Any, out: Any) -> None:
    """Convolution and ReLU of one image, channels first; `kernel` has shape (channels * rows * columns, filters)."""
    filters, height, width = out.shape
    channels = image.shape[0]
    side = int(math.sqrt(kernel.shape[0] // channels) + 0.5)
    pixel = np.empty(filters, kernel.dtype)
    for i in range(height):
        for j in range(width):
            k = 0
            for c in range(channels):
                for a in range(side):
                    for b in range(side):
                        patch[k] = image[c, i * stride + a, j * stride + b]
                        k += 1
            _dense(kernel, offset, patch, pixel)
            for f in range(filters):
                out[f, i, j] = max(pixel[f], pixel[f] * 0)
