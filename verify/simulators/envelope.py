"""Growth of the worst regret: the envelope over a grid of gaps, and the exponent fitted to it.

On one fixed instance an optimistic algorithm has logarithmic regret, so a log-log slope there says nothing about sqrt(T).  For each T the
envelope takes the largest mean regret over a grid of gaps of the hard family; its slope is what a minimax rate speaks of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from verify._validate import require_int, require_open_unit
from verify.simulators.run import RegretRun

__all__ = ["Envelope", "Slope", "default_gaps", "fit_slope", "gap_envelope"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Envelope:
    """Regrets over a grid of gaps and numbers of steps.

    Parameters
    ----------
    steps : int array, shape (N,)
        Numbers of steps; each is a run of its own, because radii depend on T.
    gaps : array, shape (K,)
        Gaps of the family.
    regret : array, shape (K, replicates, N)
        Regret of every run.
    """

    steps: NDArray[np.int64]
    gaps: FloatArray
    regret: FloatArray

    @property
    def values(self) -> FloatArray:
        """Largest mean regret over the gaps, shape (N,)."""
        return np.asarray(self.regret.mean(axis=1).max(axis=0))


@dataclass(frozen=True, slots=True)
class Slope:
    """Exponent of a power law with two intervals.

    Parameters
    ----------
    value : float
        Least-squares slope of log regret on log T.
    lower, upper : float
        Student interval from the residuals.
    bootstrap_lower, bootstrap_upper : float
        Percentile interval from resampled replicates.
    level : float
        Confidence level of both.
    """

    value: float
    lower: float
    upper: float
    bootstrap_lower: float
    bootstrap_upper: float
    level: float


def default_gaps(diameter: float, count: int = 10) -> FloatArray:
    """Return a geometric grid of gaps from 0.004/D to 1/D.

    Parameters
    ----------
    diameter : float
        D.
    count : int
        Number of gaps.

    Returns
    -------
    array
        Shape (count,).
    """
    return np.minimum(np.geomspace(0.004 / diameter, 1.0 / diameter, count), 1.0 / diameter)


def gap_envelope(run_at: Callable[[float, int], RegretRun], *, steps: Sequence[int], gaps: ArrayLike) -> Envelope:
    """Run an algorithm at every gap and number of steps.

    Parameters
    ----------
    run_at : callable
        `run_at(gap, T)` returns a run of T steps on the instance with that gap; its last checkpoint is used.
    steps : sequence of int
        Numbers of steps, at least two.
    gaps : array
        Gaps, shape (K,).

    Returns
    -------
    Envelope
        All regrets.

    Raises
    ------
    ValueError
        If there are fewer than two numbers of steps or no gap.
    """
    grid = np.asarray(gaps, dtype=np.float64)
    if len(steps) < 2 or grid.ndim != 1 or grid.size == 0:
        raise ValueError(f"steps must hold at least two numbers and gaps at least one, got {len(steps)} and {grid.size}")
    regret = [[run_at(float(gap), int(t)).regret[:, -1] for t in steps] for gap in grid]
    return Envelope(np.asarray(steps, dtype=np.int64), grid, np.moveaxis(np.array(regret), 1, 2))


def fit_slope(envelope: Envelope, *, level: float = 0.95, resamples: int = 500, seed: int = 0) -> Slope:
    """Fit the exponent of an envelope.

    Parameters
    ----------
    envelope : Envelope
        With positive values.
    level : float
        Confidence level, in (0, 1).
    resamples : int
        Bootstrap resamples of the replicates.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Slope
        Least-squares slope with both intervals.

    Raises
    ------
    ValueError
        If a value of the envelope is not positive or an option is out of range.
    """
    require_open_unit("level", level)
    require_int("resamples", resamples, minimum=1)
    require_int("seed", seed, minimum=0)
    values = envelope.values
    if not (values > 0.0).all():
        raise ValueError(f"envelope must be positive to take logarithms, got {float(values.min())!r}")
    x = np.log(envelope.steps)
    slope, residual = _least_squares(x, np.log(values))
    freedom = len(x) - 2
    half = np.inf
    if freedom > 0:
        from scipy.special import stdtrit

        half = float(stdtrit(freedom, 0.5 + 0.5 * level) * np.sqrt(residual / freedom / ((x - x.mean()) ** 2).sum()))
    rng = np.random.Generator(np.random.Philox(seed))
    count = envelope.regret.shape[1]
    again = []
    for _ in range(resamples):
        sample: Any = rng.integers(count, size=count)
        means = envelope.regret[:, sample].mean(axis=1).max(axis=0)
        again.append(_least_squares(x, np.log(np.maximum(means, 1e-300)))[0])
    tail = 0.5 * (1.0 - level)
    low, high = (float(q) for q in np.quantile(again, [tail, 1.0 - tail]))
    return Slope(slope, slope - half, slope + half, min(low, slope), max(high, slope), level)


def _least_squares(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(((y - y.mean() - slope * centred) ** 2).sum())
