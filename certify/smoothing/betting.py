"""Certificates for one budget: betting (valid at any stopping time) and the sample-ordering bound.

Betting.  Tangents of the convex g_c at predictable guesses p0 of the survival probabilities turn every new return J_i into
Y_i = a + sum_k d_k [g_c(p0_k) - g_c'(p0_k) p0_k + g_c'(p0_k) 1{J_i >= s_k}], whose mean given the past is at most rho_c(J).  A gambler who
bets against "rho_c <= m" multiplies the wealth by 1 + f (Y_i - m) / (m - L_i), where L_i is what Y_i would be at J = a: known before the
episode, so that the wealth stays positive.  By Ville's inequality the wealth passes 1 / alpha with probability at most alpha, whenever
one looks.

Ordering.  For a <= J <= b the statistic T of the sorted sample with fixed weights bounds rho_c through the worst sample that has it.

Source: policy_smoothing, G8d and G8e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_integer_at_least, require_open_unit, require_real, require_sorted, require_vector
from certify.smoothing.bands import clopper_pearson_lower
from certify.smoothing.protocols import Protocol
from theory.policy_smoothing import gaussian_shift, gaussian_shift_slope

if TYPE_CHECKING:
    from certify.smoothing.returns import Returns

__all__ = ["STAKES", "BettingCertificate", "ordering_bound"]

FloatArray = NDArray[np.float64]

STAKES: FloatArray = np.geomspace(1e-4, 10.0**-0.001, 40)
"""Fractions of the wealth that are bet, averaged with equal weight; fixed before any data."""

_GROWTH = 1.15
"""The guesses are refreshed when the number of episodes has grown by this factor."""


_PRIOR_SUCCESS, _PRIOR_FAILURE = 2.0, 2.0
"""Episodes added to the counts of the past: guesses stay inside (0, 1) and the slope at them bounded."""


@dataclass(slots=True)
class BettingCertificate:
    """A lower limit of the attacked mean return for one budget, valid whenever one stops.

    Parameters
    ----------
    shift : float
        c = effective budget over noise scale.
    thresholds : array of shape (K,)
        Fixed before the data, increasing and not below the floor.
    alpha : float
        Failure probability over all stopping times.
    floor : float
        Lower limit of the return under attack.
    noise_tv : float
        Total variation over one episode between the noise drawn and its stated law, as in `Protocol`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G8d.

    Examples
    --------
    >>> certificate = BettingCertificate(shift=1.0, thresholds=np.arange(1.0, 11.0))
    >>> certificate.add(np.full(500, 10.0))
    >>> certificate.lower > 8.5, certificate.reached(8.0)
    (True, True)
    """

    shift: float
    thresholds: ArrayLike
    alpha: float = 0.05
    floor: float = 0.0
    episodes: int = 0
    noise_tv: float = 0.0
    _levels: FloatArray = field(init=False, repr=False)
    _widths: FloatArray = field(init=False, repr=False)
    _counts: FloatArray = field(init=False, repr=False)
    _table: FloatArray = field(init=False, repr=False)
    _next_refresh: int = field(init=False, repr=False, default=1)
    _gains: list[FloatArray] = field(init=False, repr=False, default_factory=list)
    _repeats: list[FloatArray] = field(init=False, repr=False, default_factory=list)
    _floors: list[float] = field(init=False, repr=False, default_factory=list)
    _slack: float = field(init=False, repr=False, default=0.0)

    def __post_init__(self) -> None:
        if require_real("shift", self.shift) < 0:
            raise ValueError(f"shift must not be negative, got {self.shift}")
        require_open_unit("alpha", self.alpha)
        self._levels = require_sorted("thresholds", self.thresholds)
        if self._levels[0] < require_real("floor", self.floor):
            raise ValueError(f"thresholds must be at least floor = {self.floor:g}, got {self._levels[0]:g}")
        self._widths = np.diff(self._levels, prepend=self.floor)
        self._counts = np.zeros(self._levels.size)
        self._slack = float(self._levels[-1] - self.floor) * Protocol(noise_tv=self.noise_tv).loss(self.shift)
        self._refresh()

    def add(self, returns: ArrayLike | Returns) -> None:
        """Take the returns of further episodes (an array or `Returns`), in their order.

        Raises
        ------
        ValueError
            If a return is not finite or below the floor.
        """
        values = require_vector("returns", getattr(returns, "values", returns), minimum=self.floor)
        reached = np.searchsorted(self._levels, values, side="right")
        start = 0
        while start < reached.size:
            stop = min(reached.size, start + self._next_refresh - self.episodes)
            self._bet(reached[start:stop])
            self.episodes += stop - start
            start = stop
            if self.episodes >= self._next_refresh:
                self._refresh()
                self._next_refresh = max(self.episodes + 1, math.ceil(_GROWTH * self.episodes))

    def reached(self, target: float) -> bool:
        """Return whether the attacked mean return is certified to be at least `target`."""
        return target <= self._top_floor or self._log_wealth(target + self._slack) >= -math.log(self.alpha)

    @property
    def lower(self) -> float:
        """The certified mean return after the episodes so far, rounded down."""
        low = self._top_floor
        high = max(low, self._best)
        if not self._gains or high <= low:
            return low
        for _ in range(60):
            middle = 0.5 * (low + high)
            if self.reached(middle):
                low = middle
            else:
                high = middle
        return max(low - 1e-12 * (1.0 + abs(low)), self.floor)

    @property
    def _best(self) -> float:
        return max(float(g.max() + f) for g, f in zip(self._gains, self._floors, strict=False)) if self._gains else self.floor

    @property
    def _top_floor(self) -> float:
        """The largest predictable floor: a tangent of g_c at 0 never lies above g_c, so this is certified without data."""
        return max([self.floor, *self._floors])

    def _refresh(self) -> None:
        """Guess the survival probabilities from the past and tabulate what a return that reaches k thresholds pays."""
        n = self.episodes
        guess = (self._counts + _PRIOR_SUCCESS) / (n + _PRIOR_SUCCESS + _PRIOR_FAILURE)
        slope = np.asarray(gaussian_shift_slope(guess, self.shift))
        base = self.floor + float(self._widths @ (np.asarray(gaussian_shift(guess, self.shift)) - slope * guess))
        base -= 1e-13 * (1.0 + abs(base) + float(self._widths @ slope))
        self._table = np.concatenate([[0.0], np.cumsum(self._widths * slope)])
        self._floors.append(base)

    def _bet(self, reached: NDArray[np.intp]) -> None:
        """Record a batch under the present guesses: gains above the predictable floor, and how often each occurred."""
        kinds, repeats = np.unique(reached, return_counts=True)
        if len(self._gains) == len(self._floors):
            self._floors.append(self._floors[-1])
        self._gains.append(self._table[kinds])
        self._repeats.append(repeats.astype(np.float64))
        tally = np.bincount(reached, minlength=self._levels.size + 1).astype(np.float64)
        self._counts += np.cumsum(tally[::-1])[::-1][1:]

    def _log_wealth(self, m: float) -> float:
        """Return the logarithm of the wealth against `rho <= m`, for m above every predictable floor."""
        if not self._gains:
            return 0.0
        sizes = [g.size for g in self._gains]
        floors = np.repeat(self._floors[: len(sizes)], sizes)
        odds = np.concatenate(self._gains) / (m - floors) - 1.0
        logs = np.log1p(STAKES[:, None] * odds[None, :]) @ np.concatenate(self._repeats)
        top = float(logs.max())
        return top + math.log(float(np.mean(np.exp(logs - top)))) - 1e-10


def ordering_bound(
    returns: ArrayLike | Returns, *, shift: float, ceiling: float, alpha: float = 0.05, floor: float = 0.0, simulations: int = 1000, seed: int = 0
) -> float:
    """Return a lower limit of the attacked mean return for one budget, from the order statistics of the whole sample.

    Parameters
    ----------
    returns : array of shape (n,) or Returns
        Returns of n independent episodes, between floor and ceiling.
    shift : float
        c = effective budget over noise scale.
    ceiling : float
        Upper limit of the return, under attack too.
    alpha : float
        Failure probability, that of the simulation included.
    floor : float
        Lower limit of the return under attack.
    simulations : int
        Number M of simulated uniform samples; few of them cost tightness, never validity.
    seed : int
        Seed of the simulation, to be chosen before the data.

    Returns
    -------
    float
        The lower limit.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G8e.

    Examples
    --------
    >>> bound = ordering_bound([10.0] * 200, shift=1.0, ceiling=10.0, simulations=400)
    >>> 8.0 < bound < 9.9
    True
    """
    values = np.sort(require_vector("returns", getattr(returns, "values", returns), minimum=require_real("floor", floor)))
    top = require_real("ceiling", ceiling)
    if values[-1] > top or top <= floor:
        raise ValueError(f"ceiling must be above floor = {floor:g} and no return above it ({values[-1]:g}), got {ceiling}")
    return float(ordering_bounds(values[None, :], shift=shift, ceiling=top, alpha=alpha, floor=floor, simulations=simulations, seed=seed)[0])


def ordering_bounds(
    samples: FloatArray, *, shift: float, ceiling: float, alpha: float, floor: float, simulations: int, seed: int
) -> FloatArray:
    """Return the ordering bound of each row of sorted samples, all with one simulation."""
    require_open_unit("alpha", alpha)
    require_integer_at_least("simulations", simulations, 1)
    if require_real("shift", shift) < 0:
        raise ValueError(f"shift must not be negative, got {shift}")
    n = samples.shape[1]
    width = ceiling - floor
    weights = ordering_weights(n, shift)
    tau = np.diff(samples, axis=1, prepend=floor) @ weights / width * (1.0 - 1e-12)
    index = simulation_index(simulations, alpha)
    if index == 0:
        return np.full(samples.shape[0], floor)
    from certify.smoothing._kernels_ordering import hull_values

    rng = np.random.Generator(np.random.Philox(seed))
    found = np.empty((simulations, samples.shape[0]))
    for m in range(simulations):
        gaps = np.cumsum(rng.standard_exponential(n + 1))
        hull_values(weights, _heights(gaps, shift), tau, found[m])
    value = np.partition(found, index - 1, axis=0)[index - 1]
    return np.asarray(np.maximum(floor + width * value * (1.0 - 1e-12) - 1e-14 * abs(floor), floor))


def ordering_weights(n: int, shift: float) -> FloatArray:
    """Return the fixed weights W_j = g_c(BetaInv(.05; n - j + 1, j)), nonincreasing in j."""
    lower, miss = clopper_pearson_lower(np.arange(n, 0, -1), n, 0.05)
    return np.minimum.accumulate(np.asarray(gaussian_shift(lower, shift, complement=miss)))


def simulation_index(simulations: int, alpha: float) -> int:
    """Return k such that the k-th smallest of M simulated values is below their alpha-quantile, up to an error counted in alpha."""
    from scipy.special import bdtr

    delta = alpha / 50.0
    level = alpha - delta
    reached = bdtr(np.arange(simulations), simulations, level) > delta * (1.0 - 1e-9)
    return int(np.argmax(reached)) if reached.any() else simulations


def _heights(gaps: FloatArray, shift: float) -> FloatArray:
    """Return g_c(1 - U_(j)) for the uniform order statistics U_(j) = S_j / S_(n+1), rounded down a little."""
    below = gaps[:-1] / gaps[-1]
    above = (gaps[-1] - gaps[:-1]) / gaps[-1]
    return np.asarray(gaussian_shift(above, shift, complement=below)) * (1.0 - 1e-12)
