"""Brownian motion and the Ornstein-Uhlenbeck process with polynomial rewards: exact moments, transitions and values.

Both have Gaussian transitions with mean m(u) x and variance s(u), so E[X_{t+u}^j | X_t = x] is a polynomial in x, and the value of a
polynomial reward solves a triangular linear system.  Source: martingale_td, setting, G3, G8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError
from mdps._validate import require_choice, require_finite, require_integer, require_nonnegative
from mdps.diffusions.paths import Paths, Seed, normals
from mdps.diffusions.polynomials import Polynomial

__all__ = ["BrownianMotion", "OrnsteinUhlenbeck"]

NODES = 64
"""Gauss-Legendre nodes for integrals over time of smooth functions."""

SCHEMES = ("exact", "euler")


def _gaussian_power(j: int, mean: Polynomial, variance: Polynomial) -> Polynomial:
    """Return E (mean + N(0, variance))^j as a polynomial: sum over k of (j choose 2k) (2k-1)!! variance^k mean^(j-2k)."""
    total = Polynomial()
    for k in range(j // 2 + 1):
        odd = math.prod(range(1, 2 * k, 2))
        total = total + math.comb(j, 2 * k) * odd * variance**k * mean ** (j - 2 * k)
    return total


def _moments(highest: int, centre: Any, variance: Any) -> list[Any]:
    """Return E Y^j for j = 0..highest, Y normal: m_j = centre m_{j-1} + (j-1) variance m_{j-2}; exact for exact arguments."""
    moments = [1, centre]
    for j in range(2, highest + 1):
        moments.append(centre * moments[j - 1] + (j - 1) * variance * moments[j - 2])
    return moments


def _expectation(f: Polynomial, t: Any, centre: Any, variance: Any) -> Any:
    moments = _moments(f.degree, centre, variance)
    return sum((c * t**i * moments[j] if i else c * moments[j]) for (i, j), c in f.terms.items())


def _check_common(discount: Any, horizon: Any, volatility: Any, name: str = "volatility") -> None:
    require_nonnegative("discount rate", discount)
    if horizon is not None and not require_finite("horizon", horizon) > 0:
        raise ModelError(f"horizon must be positive and finite, or None, got {horizon}")
    require_nonnegative(name, volatility)


def _check_sampling(paths: int, steps: int, duration: Any, horizon: Any, scheme: str) -> float:
    """Return the length of the trajectories: the horizon where no duration is given, and never beyond it."""
    require_integer("paths", paths)
    require_integer("steps", steps)
    require_choice("scheme", scheme, SCHEMES)
    length = horizon if duration is None else duration
    if length is None:
        raise ModelError("duration must be given for a model without a horizon")
    if not require_finite("duration", length) > 0:
        raise ModelError(f"duration must be positive and finite, got {length}")
    if horizon is not None and length > horizon:
        raise ModelError(f"duration must be at most the horizon {horizon}, got {length}")
    return float(length)


@dataclass(frozen=True)
class BrownianMotion:
    """Brownian motion on [0, T] with polynomial rewards.

    Parameters
    ----------
    reward : Polynomial
        Running reward rate r(t, x).
    terminal : Polynomial
        Terminal reward h; only its powers of x matter.
    horizon : number
        T; a `Fraction` or `int` keeps every expectation rational.
    start : number
        Initial state.
    volatility : number
        Scale of the noise; its square enters.
    discount : float
        Discount rate beta >= 0 per unit of time.

    Raises
    ------
    ModelError
        If a parameter is out of range.

    Source: martingale_td, G3.1.

    Examples
    --------
    >>> from mdps.diffusions import BrownianMotion, Polynomial, variables
    >>> t, x = variables()
    >>> model = BrownianMotion(reward=Polynomial(), terminal=x**4, horizon=1)
    >>> model.value_polynomial() == x**4 + 6 * (1 - t) * x**2 + 3 * (1 - t) ** 2
    True
    """

    reward: Polynomial = field(default_factory=Polynomial)
    terminal: Polynomial = field(default_factory=Polynomial)
    horizon: Any = 1
    start: Any = 0
    volatility: Any = 1
    discount: Any = 0

    def __post_init__(self) -> None:
        _check_common(self.discount, self.horizon, self.volatility)
        require_finite("start", self.start)
        if self.horizon is None:
            raise ModelError("horizon of Brownian motion must be given: its value over an endless horizon is not closed under polynomials")

    def conditional(self, f: Polynomial, u: Any) -> Polynomial:
        """Return E[f(t + u, X_{t+u}) | X_t = x] as a polynomial in t and x."""
        variance = Polynomial({(0, 0): u * self.volatility**2})
        x = Polynomial({(0, 1): 1})
        return f.later(u).substitute(lambda j: _gaussian_power(j, x, variance))

    def mean(self, f: Polynomial, t: Any) -> Any:
        """Return E f(t, X_t); exact for exact arguments."""
        return _expectation(f, t, self.start, t * self.volatility**2)

    def generator(self, f: Polynomial) -> Polynomial:
        """Return (d/dt + L) f = f_t + (volatility^2 / 2) f_xx."""
        half = Fraction(self.volatility**2) / 2 if isinstance(self.volatility, (int, Fraction)) else 0.5 * self.volatility**2
        return f.derivative("t") + half * f.derivative("x").derivative("x")

    def diffusion_square(self) -> Any:
        """Return the squared volatility, the factor of |f_x|^2 in the quadratic variation."""
        return self.volatility**2

    def value_polynomial(self) -> Polynomial:
        """Return the value function as a polynomial in t and x.

        Raises
        ------
        ModelError
            If the discount rate is positive: the value is then no polynomial, use `value`.
        """
        if self.discount != 0:
            raise ModelError(f"discount rate must be 0 for a polynomial value, got {self.discount}")
        t, x = Polynomial({(1, 0): 1}), Polynomial({(0, 1): 1})
        left = self.horizon - t
        end = self.terminal.at_time(self.horizon).substitute(lambda j: _gaussian_power(j, x, left * self.volatility**2))
        return end + self._integrated_reward(left, x)

    def _integrated_reward(self, left: Polynomial, x: Polynomial) -> Polynomial:
        """Return int_t^T E[r(u, X_u) | X_t = x] du, integrating s^k (t + s)^i over s in [0, T - t] term by term."""
        total = Polynomial()
        t = Polynomial({(1, 0): 1})
        for (i, j), c in self.reward.terms.items():
            for k in range(j // 2 + 1):
                weight = c * math.comb(j, 2 * k) * math.prod(range(1, 2 * k, 2)) * self.volatility ** (2 * k)
                for m in range(i + 1):
                    power = k + i - m + 1
                    total = total + weight * math.comb(i, m) * t**m * (left**power / power) * x ** (j - 2 * k)
        return total

    def value(self, t: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
        """Return J(t, x) at times and states that broadcast."""
        times, states = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(x, dtype=np.float64))
        if self.discount == 0:
            return np.asarray(self.value_polynomial()(times, states), dtype=np.float64)
        return _by_quadrature(self, times, states)

    def sample(
        self, *, paths: int, steps: int, seed: Seed, duration: float | None = None, scheme: str = "exact", jobs: int = 1
    ) -> Paths:
        """Sample trajectories with their rewards; a transition is exact, and Euler-Maruyama is the same for Brownian motion.

        Parameters
        ----------
        paths, steps : int
            Numbers of paths and of equal time steps.
        seed : int or numpy.random.SeedSequence
            Key of the counter-based stream.
        duration : float, optional
            Length of the trajectories, at most the horizon, which is the default and the only length with a terminal reward.
        scheme : str
            `"exact"` or `"euler"`.
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
        length = _check_sampling(paths, steps, duration, self.horizon, scheme)
        spread = float(self.volatility) * math.sqrt(length / steps)
        whole = duration is None or duration == self.horizon
        return _linear_paths(self, paths, steps, seed, length, (1.0, spread), (float(self.start), 0.0), jobs, whole)


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """dX = -kappa X dt + sigma dW, stationary or from a point, with a polynomial reward.

    Parameters
    ----------
    kappa : float
        Rate of return to 0 per unit of time; negative rates are allowed where the value is finite.
    sigma : float
        Volatility, per square root of a unit of time.
    discount : float
        Discount rate beta >= 0; positive without a horizon.
    reward : Polynomial
        Running reward rate; x^2 by default.  Without a horizon it must not depend on t.
    terminal : Polynomial
        Terminal reward, only with a horizon.
    horizon : float, optional
        T; endless when omitted.
    start : float, optional
        Initial state; the stationary law when omitted (needs kappa > 0).

    Raises
    ------
    ModelError
        If a parameter is out of range or the value is infinite.

    Source: martingale_td, G8.

    Examples
    --------
    >>> model = OrnsteinUhlenbeck(kappa=1.0, sigma=0.7, discount=0.5)
    >>> float(model.value(0.0, 2.0).round(12))       # x^2 / a + sigma^2 / (beta a) with a = beta + 2 kappa
    1.992
    """

    kappa: float
    sigma: float
    discount: float = 0.0
    reward: Polynomial = field(default_factory=lambda: Polynomial({(0, 2): 1.0}))
    terminal: Polynomial = field(default_factory=Polynomial)
    horizon: float | None = None
    start: float | None = None

    def __post_init__(self) -> None:
        _check_common(self.discount, self.horizon, self.sigma, "sigma")
        require_finite("kappa", self.kappa)
        if self.start is not None:
            require_finite("start", self.start)
        if self.start is None and not self.kappa > 0:
            raise ModelError(f"kappa must be positive for a stationary start, got {self.kappa}")
        if self.horizon is None:
            if any(i for i, _ in self.reward.terms):
                raise ModelError("reward must not depend on time without a horizon")
            if self.terminal.terms:
                raise ModelError("terminal reward needs a horizon")
            worst = min((self.discount + j * self.kappa for (_, j) in [(0, 0), *self.reward.terms]), default=self.discount)
            if not worst > 0:
                raise ModelError(f"discount + degree * kappa must be positive, or the value is infinite; got {worst}")

    @property
    def variance(self) -> float:
        """Variance of the stationary law, sigma^2 / (2 kappa)."""
        return self.sigma**2 / (2.0 * self.kappa)

    def spread(self, u: float) -> float:
        """Return the variance of a transition over the time u."""
        return self.sigma**2 * u if self.kappa == 0 else -self.sigma**2 * math.expm1(-2.0 * self.kappa * u) / (2.0 * self.kappa)

    def conditional(self, f: Polynomial, u: Any) -> Polynomial:
        """Return E[f(t + u, X_{t+u}) | X_t = x] as a polynomial in t and x."""
        scaled, variance = Polynomial({(0, 1): math.exp(-self.kappa * u)}), Polynomial({(0, 0): self.spread(float(u))})
        return f.later(u).substitute(lambda j: _gaussian_power(j, scaled, variance))

    def mean(self, f: Polynomial, t: Any) -> float:
        """Return E f(t, X_t)."""
        centre = 0.0 if self.start is None else self.start * math.exp(-self.kappa * t)
        variance = self.variance if self.start is None else self.spread(float(t))
        return float(_expectation(f, t, centre, variance))

    def generator(self, f: Polynomial) -> Polynomial:
        """Return (d/dt + L) f = f_t - kappa x f_x + (sigma^2 / 2) f_xx."""
        slope = f.derivative("x")
        return f.derivative("t") - self.kappa * Polynomial({(0, 1): 1.0}) * slope + 0.5 * self.sigma**2 * slope.derivative("x")

    def diffusion_square(self) -> float:
        """Return the squared volatility, the factor of |f_x|^2 in the quadratic variation."""
        return self.sigma**2

    def value_polynomial(self) -> Polynomial:
        """Return the value over an endless horizon as a polynomial in x, the solution of beta J - L J = r.

        Raises
        ------
        ModelError
            If there is a horizon: the value is then no polynomial, use `value`.
        """
        if self.horizon is not None:
            raise ModelError(f"horizon must be None for a polynomial value, got {self.horizon}")
        left = dict(self.reward.terms)
        solution: dict[tuple[int, int], float] = {}
        for j in range(self.reward.degree, -1, -1):
            c = float(left.get((0, j), 0.0)) / (self.discount + j * self.kappa)
            solution[(0, j)] = c
            if j >= 2:
                left[(0, j - 2)] = left.get((0, j - 2), 0.0) + c * 0.5 * self.sigma**2 * j * (j - 1)
        return Polynomial(solution)

    def value(self, t: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
        """Return J(t, x) at times and states that broadcast; without a horizon the time does not matter."""
        times, states = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(x, dtype=np.float64))
        if self.horizon is None:
            return np.asarray(self.value_polynomial()(times, states), dtype=np.float64)
        return _by_quadrature(self, times, states)

    def sample(
        self, *, paths: int, steps: int, seed: Seed, duration: float | None = None, scheme: str = "exact", jobs: int = 1
    ) -> Paths:
        """Sample trajectories with their rewards.

        Parameters
        ----------
        paths, steps : int
            Numbers of paths and of equal time steps.
        seed : int or numpy.random.SeedSequence
            Key of the counter-based stream.
        duration : float, optional
            Length of the trajectories, at most the horizon, which is the default.
        scheme : str
            `"exact"` transitions or `"euler"` for Euler-Maruyama.
        jobs : int
            Threads; the result does not depend on it.

        Returns
        -------
        Paths
            With a terminal reward if the model has a horizon and the paths reach it.

        Raises
        ------
        ModelError
            If an argument is out of range.
        """
        length = _check_sampling(paths, steps, duration, self.horizon, scheme)
        dt = length / steps
        exact = (math.exp(-self.kappa * dt), math.sqrt(self.spread(dt)))
        step = exact if scheme == "exact" else (1.0 - self.kappa * dt, self.sigma * math.sqrt(dt))
        first = (0.0, math.sqrt(self.variance)) if self.start is None else (self.start, 0.0)
        return _linear_paths(self, paths, steps, seed, length, step, first, jobs, self.horizon is not None and length == self.horizon)


Gaussian = BrownianMotion | OrnsteinUhlenbeck


def _by_quadrature(model: Gaussian, times: NDArray[np.float64], states: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the discounted finite-horizon value by Gauss-Legendre over the remaining time: one polynomial in x for each time asked for."""
    assert model.horizon is not None
    horizon, beta = float(model.horizon), float(model.discount)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    result = np.empty(times.shape)
    for t in np.unique(times):
        left = horizon - float(t)
        if not left >= 0:
            raise ModelError(f"t must be at most the horizon {horizon}, got {t}")
        total = model.conditional(model.terminal.at_time(horizon), left) * math.exp(-beta * left)
        for node, weight in zip(nodes, weights, strict=True):
            u = 0.5 * left * (1.0 + float(node))
            total = total + model.conditional(model.reward, u).at_time(float(t)) * (0.5 * left * float(weight) * math.exp(-beta * u))
        here = times == t
        result[here] = total(float(t), states[here])
    return result


def _linear_paths(
    model: Gaussian, paths: int, steps: int, seed: Seed, length: float, step: tuple[float, float], first: tuple[float, float], jobs: int, whole: bool
) -> Paths:
    """Sample x_{i+1} = m x_i + s z_i, chunk by chunk, and attach the rewards."""
    from mdps.diffusions._kernels_paths import linear_recursion

    state = np.empty((paths, steps + 1))

    def fill(block: slice, draws: NDArray[np.float64]) -> None:
        linear_recursion(draws, first[0], first[1], step[0], step[1], state[block])

    normals(paths, (steps + 1,), seed, fill, jobs=jobs)
    time = np.linspace(0.0, length, steps + 1)
    reward = model.reward(time[None, :], state)
    terminal = None
    if whole:
        terminal = model.terminal(length, state[:, -1])
    return Paths(time, state, reward, terminal)
