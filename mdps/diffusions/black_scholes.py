"""Geometric Brownian motion with a call option's payoff at maturity: the Black-Scholes price, its delta and gamma.

Source: martingale_td, G9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError
from mdps._validate import require_positive
from mdps.diffusions.gaussian import _check_common, _check_sampling
from mdps.diffusions.paths import Paths, Seed, normals

__all__ = ["BlackScholes"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class BlackScholes:
    """A call option on a geometric Brownian motion dS = rate S dt + volatility S dW.

    Parameters
    ----------
    volatility : float
        Volatility of the asset, positive, per square root of a unit of time.
    rate : float
        Drift of the asset and discount rate, >= 0, per unit of time.
    strike : float
        Strike price, positive.
    horizon : float
        Maturity T.
    start : float
        Price of the asset at time 0, positive.

    Raises
    ------
    ModelError
        If a parameter is out of range.

    Source: martingale_td, G9.

    Examples
    --------
    >>> model = BlackScholes(volatility=0.3, rate=0.02)
    >>> float(model.value(0.0, 1.0).round(6))
    0.128216
    """

    volatility: float
    rate: float = 0.0
    strike: float = 1.0
    horizon: float = 1.0
    start: float = 1.0

    def __post_init__(self) -> None:
        _check_common(self.rate, self.horizon, self.volatility)
        for name in ("volatility", "strike", "start"):
            require_positive(name, getattr(self, name))

    @property
    def discount(self) -> float:
        """Discount rate per unit of time; equal to the drift of the asset."""
        return self.rate

    def _ratios(self, t: ArrayLike, s: ArrayLike, volatility: float | None) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the prices, the remaining time, d1 and d2; at maturity the ratios are infinite with the sign of the moneyness."""
        sigma = self.volatility if volatility is None else require_positive("volatility", volatility)
        left = self.horizon - np.asarray(t, dtype=np.float64)
        price = np.asarray(s, dtype=np.float64)
        if not (np.all(left >= 0) and np.all((price > 0) & (price < math.inf))):
            raise ModelError(f"t must be at most the horizon {self.horizon} and prices positive, got t up to {np.max(t)}, prices from {np.min(price)}")
        spread = sigma * np.sqrt(left)
        moneyness = np.log(price / self.strike) + self.rate * left
        d1 = np.where(spread > 0, moneyness / np.where(spread > 0, spread, 1.0) + 0.5 * spread, np.where(moneyness >= 0, np.inf, -np.inf))
        return price, left, d1, d1 - spread

    def value(self, t: ArrayLike, s: ArrayLike, *, volatility: float | None = None) -> FloatArray:
        """Return the price, the payoff at maturity; with another volatility the critic of someone who believes in it."""
        from scipy.special import ndtr

        price, left, d1, d2 = self._ratios(t, s, volatility)
        return np.asarray(price * ndtr(d1) - self.strike * np.exp(-self.rate * left) * ndtr(d2))

    def delta(self, t: ArrayLike, s: ArrayLike, *, volatility: float | None = None) -> FloatArray:
        """Return the derivative of the price in s."""
        from scipy.special import ndtr

        return np.asarray(ndtr(self._ratios(t, s, volatility)[2]))

    def gamma(self, t: ArrayLike, s: ArrayLike, *, volatility: float | None = None) -> FloatArray:
        """Return the second derivative of the price in s; 0 at maturity, where it is a point mass at the strike."""
        price, left, d1, _ = self._ratios(t, s, volatility)
        spread = (self.volatility if volatility is None else volatility) * np.sqrt(left)
        safe = np.where(spread > 0, spread, 1.0)
        density = np.exp(-0.5 * np.where(spread > 0, d1, 0.0) ** 2) / math.sqrt(2.0 * math.pi)
        return np.asarray(np.where(spread > 0, density / (price * safe), 0.0))

    def sample(self, *, paths: int, steps: int, seed: Seed, duration: float | None = None, scheme: str = "exact", jobs: int = 1) -> Paths:
        """Sample trajectories of the asset; the running reward is 0 and the payoff comes at maturity.

        Parameters
        ----------
        paths, steps : int
            Numbers of paths and of equal time steps.
        seed : int or numpy.random.SeedSequence
            Key of the counter-based stream.
        duration : float, optional
            Length of the trajectories, at most the maturity, which is the default.
        scheme : str
            `"exact"` transitions or `"euler"` for Euler-Maruyama.
        jobs : int
            Threads; the result does not depend on it.

        Returns
        -------
        Paths

        Raises
        ------
        ModelError
            If an argument is out of range.
        """
        from mdps.diffusions._kernels_paths import geometric_recursion

        length = _check_sampling(paths, steps, duration, self.horizon, scheme)
        dt = length / steps
        drift = self.rate * dt if scheme == "euler" else (self.rate - 0.5 * self.volatility**2) * dt
        spread = self.volatility * math.sqrt(dt)
        state = np.empty((paths, steps + 1))

        def fill(block: slice, draws: FloatArray) -> None:
            geometric_recursion(draws, self.start, drift, spread, scheme == "euler", state[block])

        normals(paths, (steps + 1,), seed, fill, jobs=jobs)
        payoff = np.maximum(state[:, -1] - self.strike, 0.0) if length == self.horizon else None
        return Paths(np.linspace(0.0, length, steps + 1), state, np.zeros_like(state), payoff)
