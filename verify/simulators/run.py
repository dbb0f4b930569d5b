"""The result of a simulation, and what all simulators share: streams, checkpoints, parallel replicates."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from verify._validate import require_int, require_open_unit

__all__ = ["Common", "Progress", "RegretRun", "collect", "default_checkpoints"]

MOST_STEPS = 10**15
"""More steps than any run can take; beyond about nine times this, float64 no longer counts them."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class RegretRun:
    """Independent replicates of a learning algorithm on one instance.

    Parameters
    ----------
    checkpoints : int array, shape (C,)
        Numbers of steps at which the regret was recorded.
    regret : array, shape (replicates, C)
        sum_{i <= t} (J* - r_i) with the rewards received.
    switches : int array, shape (replicates, C)
        Number of episodes (policies computed) up to then.
    diagnostics : mapping of str to array
        Per-episode optimism, whether the confidence event held, and what else the algorithm records; the first axis is the replicate.
    algorithm : str
        Name of the algorithm.
    instance : str
        A short description of the instance.
    gain : float
        J* of the true model.
    seeds : tuple of int
        Numbers of the replicates.
    seed : int
        Root of their streams.
    options : mapping
        The options of the algorithm.
    """

    checkpoints: IntArray
    regret: FloatArray
    switches: IntArray
    diagnostics: Mapping[str, NDArray[Any]] = field(repr=False)
    algorithm: str
    instance: str
    gain: float
    seeds: tuple[int, ...]
    seed: int
    options: Mapping[str, Any]

    @property
    def mean(self) -> FloatArray:
        """Mean regret over the replicates, shape (C,)."""
        return np.asarray(self.regret.mean(axis=0))

    def band(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Return Student limits of the mean regret at every checkpoint.

        Parameters
        ----------
        level : float
            Confidence level of each checkpoint, in (0, 1).

        Returns
        -------
        tuple of arrays
            Lower and upper limits, shape (C,); infinite with one replicate.

        Raises
        ------
        ValueError
            If `level` is outside (0, 1).
        """
        require_open_unit("level", level)
        n = len(self.regret)
        if n < 2:
            return np.full(self.regret.shape[1], -np.inf), np.full(self.regret.shape[1], np.inf)
        from scipy.special import stdtrit

        half = float(stdtrit(n - 1, 0.5 + 0.5 * level)) * self.regret.std(axis=0, ddof=1) / np.sqrt(n)
        return self.mean - half, self.mean + half

    def to_json(self) -> str:
        """Return everything as a JSON object; numbers that are not finite become null."""
        fields = {
            "algorithm": self.algorithm,
            "instance": self.instance,
            "gain": self.gain,
            "seed": self.seed,
            "seeds": list(self.seeds),
            "options": dict(self.options),
            "checkpoints": self.checkpoints.tolist(),
            "regret": self.regret.tolist(),
            "mean": self.mean.tolist(),
            "switches": self.switches.tolist(),
            "diagnostics": {name: _plain(array) for name, array in self.diagnostics.items()},
        }
        return json.dumps(fields, allow_nan=False)


def _plain(array: NDArray[Any]) -> Any:
    if array.dtype.kind == "f":
        return np.where(np.isfinite(array), array, None).tolist()  # type: ignore[call-overload]
    return array.tolist()


@dataclass(frozen=True, slots=True)
class Common:
    """The arguments that every simulator shares, validated."""

    steps: int
    seeds: tuple[int, ...]
    seed: int
    delta: float
    checkpoints: IntArray
    jobs: int
    progress: Progress | None

    @classmethod
    def of(
        cls, steps: float, seeds: int | Sequence[int], seed: int, delta: float, checkpoints: ArrayLike | None, jobs: int | None, progress: Progress | None
    ) -> Common:
        """Validate the shared arguments."""
        if isinstance(steps, (float, np.floating)) and steps.is_integer():
            steps = int(steps)
        require_int("steps", steps, minimum=1)
        if steps > MOST_STEPS:
            raise ValueError(f"steps must be at most {MOST_STEPS:.0e}, got {steps!r}")
        require_int("seed", seed, minimum=0)
        require_open_unit("delta", delta)
        numbers = _replicates(seeds)
        if jobs is not None:
            require_int("jobs", jobs, minimum=1)
        points = default_checkpoints(int(steps)) if checkpoints is None else np.asarray(checkpoints)
        if checkpoints is not None:
            numeric = points.ndim == 1 and points.size > 0 and points.dtype.kind in "iuf"
            if not numeric or not np.all((points >= 1) & (points <= steps) & (points == np.floor(points))) or np.any(points[1:] <= points[:-1]):
                raise ValueError(f"checkpoints must increase strictly within 1..{steps}, got {checkpoints!r}")
            rounded = points.astype(np.int64)
            points = rounded if rounded[-1] == steps else np.append(rounded, np.int64(steps))
        workers = min(jobs or os.cpu_count() or 1, len(numbers))
        return cls(int(steps), numbers, int(seed), float(delta), np.asarray(points, dtype=np.int64), workers, progress)

    def key(self, replicate: int) -> NDArray[np.uint64]:
        """Return the key of the stream of one replicate: two words below 2^32."""
        return np.random.SeedSequence(self.seed, spawn_key=(replicate,)).generate_state(2, np.uint32).astype(np.uint64)

    def map(self, task: Callable[[NDArray[np.uint64]], T]) -> list[T]:
        """Run `task(key)` for every replicate in threads; the order of the results is that of the replicates."""
        total = len(self.seeds)
        if self.progress:
            self.progress(0, total)
        results: dict[int, T] = {}
        with ThreadPoolExecutor(max_workers=self.jobs) as pool:
            futures = {pool.submit(task, self.key(replicate)): place for place, replicate in enumerate(self.seeds)}
            for done, future in enumerate(as_completed(futures), 1):
                results[futures[future]] = future.result()
                if self.progress:
                    self.progress(done, total)
        return [results[place] for place in range(total)]


def _replicates(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the replicate numbers meant by a count, or by a sequence or array of numbers."""
    array = np.asarray(seeds)
    if array.ndim == 0:
        require_int("seeds", seeds, minimum=1)
        return tuple(range(int(seeds)))  # type: ignore[arg-type]
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu" or array.min() < 0 or np.unique(array).size < array.size:
        raise ValueError(f"seeds must be a count or different non-negative replicate numbers, got {seeds!r}")
    return tuple(int(s) for s in array)


def default_checkpoints(steps: int) -> IntArray:
    """Return 1, 1.5, 2, 3, 5, 7 times powers of ten from 10 up to `steps`, and `steps` itself."""
    decades = 10.0 ** np.arange(1, 19)
    grid = np.unique(np.round(np.outer(decades, [1.0, 1.5, 2.0, 3.0, 5.0, 7.0])).astype(np.int64))
    return np.append(grid[grid < steps], np.int64(steps))


def collect(
    common: Common,
    results: Sequence[tuple[FloatArray, IntArray, Mapping[str, Any]]],
    *,
    algorithm: str,
    instance: str,
    gain: float,
    options: Mapping[str, Any],
) -> RegretRun:
    """Stack the replicates; records of different length are padded (floats with nan, integers with 0)."""
    names = results[0][2]
    diagnostics = {name: _pad([np.atleast_1d(np.asarray(r[2][name])) for r in results], np.ndim(names[name]) == 0) for name in names}
    return RegretRun(
        checkpoints=common.checkpoints,
        regret=np.stack([r[0] for r in results]),
        switches=np.stack([r[1] for r in results]),
        diagnostics=diagnostics,
        algorithm=algorithm,
        instance=instance,
        gain=gain,
        seeds=common.seeds,
        seed=common.seed,
        options={"delta": common.delta, **options},
    )


def _pad(arrays: list[NDArray[Any]], scalar: bool) -> NDArray[Any]:
    if scalar:
        return np.concatenate(arrays)
    longest = max(len(a) for a in arrays)
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), np.nan if arrays[0].dtype.kind == "f" else 0, dtype=arrays[0].dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded
