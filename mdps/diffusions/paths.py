"""Sampled trajectories: times, states, rewards and what was received at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._validate import require_generator

__all__ = ["CHUNK", "Paths", "Seed", "normals"]

Seed = int | np.random.SeedSequence

CHUNK = 4096
"""Paths that share one counter-based stream; fixed, so that a path depends on the seed and its number alone."""


@dataclass(frozen=True)
class Paths:
    """Trajectories on one time grid.

    Parameters
    ----------
    time : array of shape (N + 1,)
        Increasing times, in the units of the model.
    state : array of shape (n, N + 1) or (n, N + 1, d)
        States; the last axis may be left out in one dimension.
    reward : array of shape (n, N + 1)
        Running reward rate at each time (per unit of time).
    terminal : array of shape (n,), optional
        Reward received at the last time; None when the trajectory is a stretch of an endless one.

    Raises
    ------
    ValueError
        If there are fewer than two times, times do not increase, paths are ragged, or an entry is not finite.

    Examples
    --------
    >>> paths = Paths([0.0, 0.5, 1.0], [[0.0, 1.0, 2.0]], [[0.0, 1.0, 4.0]], [4.0])
    >>> paths.steps, paths.count, paths.dimension
    (2, 1, 1)
    """

    time: NDArray[np.float64]
    state: NDArray[np.float64]
    reward: NDArray[np.float64]
    terminal: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        time, state, reward = (_finite(name, getattr(self, name)) for name in ("time", "state", "reward"))
        if time.ndim != 1 or time.size < 2:
            raise ValueError(f"time must be one sequence of at least two times that all paths share, got shape {time.shape}")
        if np.any(np.diff(time) <= 0):
            first = int(np.argmax(np.diff(time) <= 0))
            raise ValueError(f"time must increase, got {time[first]} followed by {time[first + 1]} at position {first}")
        if state.ndim == 2:
            state = state[:, :, None]
        if state.ndim != 3 or state.shape[1] != time.size or state.shape[0] < 1:
            raise ValueError(f"state must have shape (paths, {time.size}) or (paths, {time.size}, dimension), got {state.shape}")
        if reward.shape != state.shape[:2]:
            raise ValueError(f"reward must have shape {state.shape[:2]}, got {reward.shape}")
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "state", state)
        object.__setattr__(self, "reward", reward)
        if self.terminal is not None:
            terminal = _finite("terminal", self.terminal)
            if terminal.shape != state.shape[:1]:
                raise ValueError(f"terminal must have shape {state.shape[:1]}, got {terminal.shape}")
            object.__setattr__(self, "terminal", terminal)

    @property
    def count(self) -> int:
        """Number of paths n."""
        return int(self.state.shape[0])

    @property
    def steps(self) -> int:
        """Number of steps N."""
        return int(self.time.size - 1)

    @property
    def dimension(self) -> int:
        """Dimension d of the state."""
        return int(self.state.shape[2])


def _finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a rectangular array of numbers, got rows of different length or entries that are no numbers") from None
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[where]} at index {where}")
    return array


def normals(count: int, shape: tuple[int, ...], seed: Seed, use: Callable[[slice, NDArray[np.float64]], Any], *, jobs: int = 1) -> list[Any]:
    """Draw standard normal blocks of shape (paths in the chunk, *shape) and hand each to `use`, in a fixed division into chunks.

    Parameters
    ----------
    count : int
        Number of paths.
    shape : tuple of int
        Shape of the draws of one path.
    seed : int or numpy.random.SeedSequence
        Key of the counter-based stream.
    use : callable
        `(slice of paths, draws) -> anything`.
    jobs : int
        Threads; the result does not depend on it.

    Returns
    -------
    list
        What `use` returned, in the order of the chunks.
    """
    starts = range(0, count, CHUNK)
    require_generator(seed)
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)

    def one(start: int) -> Any:
        block = slice(start, min(start + CHUNK, count))
        stream = np.random.Generator(np.random.Philox(np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, start // CHUNK))))
        return use(block, stream.standard_normal((block.stop - block.start, *shape)))

    if jobs == 1 or len(starts) == 1:
        return [one(start) for start in starts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, starts))
