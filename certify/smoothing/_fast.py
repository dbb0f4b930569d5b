"""The fast mode: one matrix product for all episodes of a chunk at each step, finished episodes removed.

The same episodes with the same noise as the reproducible mode; a return can differ when two scores are equal to about 1e-7, because
the order of the sums inside a matrix product depends on its size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._networks import MlpPolicy
from certify.smoothing._plan import Plan

__all__ = ["play_fast"]


def play_fast(plan: Plan, first: int, count: int) -> NDArray[np.float64]:
    """Return the returns of some episodes.

    Parameters
    ----------
    plan : Plan
        The job; noise once a frame and one evaluation a step.
    first, count : int
        Which episodes.

    Returns
    -------
    float array, shape (count,)
        Their returns.
    """
    from certify.smoothing import _kernels_fast as kernels

    policy: MlpPolicy = plan.policy
    head, table = policy.head, plan.tables
    bounds = np.array([head.low[0], head.high[0]] if head.kind == "box" else [0.0, 0.0])
    layers = [(np.ascontiguousarray(w, plan.dtype), np.ascontiguousarray(b, plan.dtype)) for w, b in zip(policy.weights, policy.biases, strict=True)]
    buffers: list[NDArray[Any]] = [np.empty((count, w.shape[1]), plan.dtype) for w, _ in layers]
    states, stacks, x = np.empty((count, 5)), np.empty((count, plan.inputs)), np.empty((count, plan.inputs), plan.dtype)
    returns, index, alive = np.zeros(count), np.arange(count), count
    kernels.reset_all(plan.env.code, plan.key, first, states)
    for t in range(plan.max_steps):
        kernels.look(
            plan.env.code, plan.key, first, t, index[:alive], states, plan.sigma, plan.grid, *table, plan.shift, plan.scale, plan.clip, stacks, x
        )
        y = x[:alive]
        for k, (w, b) in enumerate(layers):
            out = buffers[k][:alive]
            np.matmul(y, w, out=out)
            kernels.activate(out, b, k + 1 < len(layers), policy.activation == "relu", plan.dtype == "float32")
            y = out
        alive = kernels.advance(plan.env.code, states, index[:alive], out, head.kind == "box", head.squash, bounds, returns)
        if alive == 0:
            break
    return returns
