"""Extended value iteration in plain NumPy, and the two broken variants found in public code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["VARIANTS", "plan", "random_estimate"]

FloatArray = NDArray[np.float64]
VARIANTS = ("jacobi", "in-place", "stale kernel")


def random_estimate(seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return an estimated kernel (4, 3, 4), rewards (4, 3) and L1 widths (4, 3)."""
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.dirichlet(np.full(4, 0.5), size=(4, 3)), rng.random((4, 3)), rng.uniform(0.05, 0.8, size=(4, 3))


def _shift_mass(kernel: FloatArray, widths: FloatArray, u: FloatArray) -> FloatArray:
    """Return the kernels within the widths that maximise p . u: mass moves onto the best state, taken from the worst ones."""
    order = np.argsort(-u, kind="stable")
    p = kernel[..., order].copy()
    p[..., 0] = np.minimum(1.0, p[..., 0] + 0.5 * widths)
    for place in range(len(u) - 1, 0, -1):
        excess = np.maximum(p.sum(axis=-1) - 1.0, 0.0)
        p[..., place] -= np.minimum(p[..., place], excess)
    result = np.empty_like(p)
    result[..., order] = p
    return result


def plan(kernel: FloatArray, rewards: FloatArray, widths: FloatArray, tolerance: float, variant: str) -> NDArray[np.int64]:
    """Return the greedy policy when the increments of a sweep differ by less than the tolerance (at most 2000 sweeps)."""
    states = len(rewards)
    u = np.zeros(states)
    carried = kernel
    policy = np.zeros(states, dtype=np.int64)
    for _ in range(2000):
        old = u.copy()
        if variant == "in-place":
            for s in range(states):
                q = rewards[s] + _shift_mass(kernel[s], widths[s], u) @ u
                policy[s] = int(np.argmax(q))
                u[s] = q.max()
        else:
            optimistic = _shift_mass(carried if variant == "stale kernel" else kernel, widths, u)
            carried = optimistic
            q = rewards + optimistic @ u
            policy = np.asarray(q.argmax(axis=1), dtype=np.int64)
            u = q.max(axis=1)
        if np.ptp(u - old) < tolerance:
            break
    return policy
