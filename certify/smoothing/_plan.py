"""One sampling job, checked and in the form that every engine plays: which episodes is a matter of two integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._environments import Environment
from certify.smoothing._networks import CnnPolicy, MlpPolicy

__all__ = ["CHUNKS", "Plan", "chunks", "pack", "play"]

CHUNKS = {"numba": 256, "numba-fast": 2048, "gymnasium": 32, "torch-cpu": 1024, "torch-cuda": 1 << 16}
"""Episodes that an engine plays together; chunks begin at multiples of these numbers, so rows never move."""


@dataclass(frozen=True)
class Plan:
    """Everything an engine needs; plain arrays and values, so that it can be sent to another process.

    Parameters
    ----------
    policy : Policy
        The policy.
    env : Environment
        Sizes, limits and the number of the compiled dynamics.
    engine : str
        A key of `CHUNKS`.
    key : uint64 array, shape (2,)
        Key of the stream.
    sigma : float array, shape (size,)
        Noise of each coordinate of one frame.
    frames, average, max_steps : int
        Stack, evaluations a step, step limit.
    per_copy : bool
        Draw noise afresh for every copy in the stack.
    grid : float
        Grid step in units of sigma; 0 for Gaussian noise.
    dtype : str
        `float32` or `float64`.
    shift, scale : float array, shape (size * frames,)
        Normalisation.
    clip : float
        Normalisation limit; 0 without normalisation.
    device : str
        Of the torch engine.
    """

    policy: Any
    env: Environment
    engine: str
    key: NDArray[np.uint64]
    sigma: NDArray[np.float64]
    frames: int
    average: int
    max_steps: int
    per_copy: bool
    grid: float
    dtype: str
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    clip: float
    device: str = "cpu"

    @property
    def inputs(self) -> int:
        """Numbers that the policy reads at each step."""
        return self.env.size * self.frames

    @property
    def tables(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Tables of the grid noise; empty ones without."""
        if self.grid:
            from certify.smoothing._grid import grid_table

            return grid_table()
        return np.zeros(0, np.uint64), np.zeros(257, np.int64)


def chunks(engine: str, first: int, episodes: int) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of pieces that do not cross a multiple of the engine's chunk."""
    width, at, end = CHUNKS[engine], first, first + episodes
    while at < end:
        stop = min(end, (at // width + 1) * width)
        yield at, stop - at
        at = stop


def play(plan: Plan, first: int, count: int) -> NDArray[np.float64]:
    """Return the returns of the episodes `first`, ..., `first + count - 1`, which lie in one chunk."""
    if plan.engine == "numba":
        return _numba(plan, first, count)
    if plan.engine == "numba-fast":
        from certify.smoothing._fast import play_fast

        return play_fast(plan, first, count)
    if plan.engine == "gymnasium":
        from certify.smoothing._gym_rows import play_gymnasium

        return play_gymnasium(plan, first, count)
    from certify.smoothing._torch_engine import play_torch

    return play_torch(plan, first, count)


def pack(policy: MlpPolicy, dtype: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return all weights in one vector as the kernels read them, and the widths of the layers; narrow layers are transposed."""
    parts = []
    for w, b in zip(policy.weights, policy.biases, strict=True):
        parts += [np.ascontiguousarray(w.T if w.shape[1] < 8 else w).ravel(), b]
    return np.concatenate(parts).astype(dtype), np.array([policy.inputs, *(w.shape[1] for w in policy.weights)], np.int64)


def scores_by_row(policy: MlpPolicy | CnnPolicy, rows: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return the raw outputs of every row, in an order of summation that does not depend on the other rows."""
    from certify.smoothing import _kernels_rollout as kernels

    if isinstance(policy, CnnPolicy):
        raise TypeError("perceptrons only")
    flat, widths = pack(policy, dtype)
    out = np.empty((len(rows), policy.outputs), dtype)
    hidden = np.empty((3, int(widths.max())), dtype)
    kernels.forward_rows(flat, widths, policy.activation == "relu", dtype == "float32", np.ascontiguousarray(rows, dtype), hidden, out)
    return out


def kernel_arguments(plan: Plan) -> tuple[Any, ...]:
    """Return what the compiled rollouts read after the arrays they fill."""
    policy: MlpPolicy = plan.policy
    flat, widths = pack(policy, plan.dtype)
    box = policy.head.kind == "box"
    bounds = np.array([policy.head.low[0], policy.head.high[0]] if box else [0.0, 0.0])
    return (
        plan.key, plan.max_steps, plan.env.size, plan.frames, plan.per_copy, plan.average, plan.sigma, plan.grid, *plan.tables, flat, widths,
        policy.activation == "relu", plan.dtype == "float32", box, policy.head.squash, bounds, plan.shift, plan.scale, plan.clip,
    )  # fmt: skip


def _numba(plan: Plan, first: int, count: int) -> NDArray[np.float64]:
    from certify.smoothing import _kernels_rollout as kernels

    returns, steps = np.empty(count), np.empty(count, np.int64)
    kernels.rollouts(plan.env.code, first, returns, steps, *kernel_arguments(plan))
    return returns
