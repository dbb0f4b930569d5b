"""Linear dynamics with quadratic rewards in any dimension: dX = A X dt + S dW, r = x'Qx, h = x'Hx, J = x'P(t)x + c(t).

P and c solve a linear differential equation, evaluated by one matrix exponential.  Source: martingale_td, setting and G1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError
from mdps.diffusions.gaussian import NODES, _check_common, _check_sampling
from mdps.diffusions.paths import Paths, Seed, normals

__all__ = ["LinearQuadratic"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LinearQuadratic:
    """A linear-quadratic model under a fixed linear policy.

    Parameters
    ----------
    drift : array of shape (d, d)
        A, per unit of time.
    noise : array of shape (d, n)
        S, per square root of a unit of time.
    reward : array of shape (d, d)
        Q, symmetric; the running reward rate is x'Qx.
    terminal : array of shape (d, d), optional
        H, symmetric; zero when omitted, and only with a horizon.
    discount : float
        Discount rate beta >= 0.
    horizon : float, optional
        T; endless when omitted, which needs beta > max(0, 2 max Re eig(A)).
    start : array of shape (d,), optional
        Initial state; zero when omitted.

    Raises
    ------
    ModelError
        If shapes differ, a matrix is not symmetric or not finite, or the value is infinite.

    Source: martingale_td, G1.

    Examples
    --------
    >>> model = LinearQuadratic([[-1.0]], [[0.7]], [[1.0]], discount=0.5)
    >>> float(model.value(0.0, [2.0]).round(12))
    1.992
    """

    drift: FloatArray
    noise: FloatArray
    reward: FloatArray
    terminal: Any = None
    discount: float = 0.0
    horizon: float | None = None
    start: Any = None

    def __post_init__(self) -> None:
        _check_common(self.discount, self.horizon, 0.0)
        drift = np.atleast_2d(np.asarray(self.drift, dtype=np.float64))
        d = drift.shape[0]
        given = {
            "drift": drift,
            "noise": np.atleast_2d(np.asarray(self.noise, dtype=np.float64)),
            "reward": np.atleast_2d(np.asarray(self.reward, dtype=np.float64)),
            "terminal": np.zeros((d, d)) if self.terminal is None else np.atleast_2d(np.asarray(self.terminal, dtype=np.float64)),
            "start": np.zeros(d) if self.start is None else np.atleast_1d(np.asarray(self.start, dtype=np.float64)),
        }
        for name, array in given.items():
            allowed = (d,) if name == "start" else (d, array.shape[-1]) if name == "noise" else (d, d)
            if array.shape != allowed:
                raise ModelError(f"{name} must have shape {allowed}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ModelError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
            if name in ("reward", "terminal"):
                if np.max(np.abs(array - array.T)) > 1e-12 * np.max(np.abs(array)):
                    raise ModelError(f"{name} must be symmetric, got {array.tolist()}")
                array = 0.5 * (array + array.T)  # products such as K'RK are symmetric up to rounding only
            object.__setattr__(self, name, array)
        if self.horizon is None:
            growth = 2.0 * float(np.linalg.eigvals(drift).real.max())
            if not self.discount > max(0.0, growth):
                raise ModelError(f"discount must exceed max(0, 2 max Re eig(drift)) = {max(0.0, growth)} without a horizon, got {self.discount}")
            if np.any(given["terminal"]):
                raise ModelError("terminal reward needs a horizon")

    @property
    def dimension(self) -> int:
        """Dimension d of the state."""
        return int(self.drift.shape[0])

    def coefficients(self, t: float = 0.0) -> tuple[FloatArray, float]:
        """Return P(t), of shape (d, d), and c(t).

        Raises
        ------
        ModelError
            If t is beyond the horizon.
        """
        d, beta = self.dimension, self.discount
        identity = np.eye(d)
        lyapunov = np.kron(identity, self.drift.T) + np.kron(self.drift.T, identity) - beta * np.eye(d * d)
        trace = (self.noise @ self.noise.T).ravel()
        if self.horizon is None:
            p: FloatArray = np.asarray(np.linalg.solve(-lyapunov, self.reward.ravel()), dtype=np.float64)
            return p.reshape(d, d), float(trace @ p) / beta
        left = self.horizon - t
        if not left >= 0:
            raise ModelError(f"t must be at most the horizon {self.horizon}, got {t}")
        from scipy.linalg import expm

        size = d * d
        system = np.zeros((size + 2, size + 2))
        system[:size, :size] = lyapunov
        system[:size, -1] = self.reward.ravel()
        system[size, :size] = trace
        system[size, size] = -beta
        end = expm(left * system) @ np.concatenate((self.terminal.ravel(), [0.0, 1.0]))
        return end[:size].reshape(d, d), float(end[size])

    def value(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        """Return J(t, x) for states of shape (..., d) and times that broadcast with the axes before the last."""
        times, states = np.asarray(t, dtype=np.float64), np.asarray(x, dtype=np.float64)
        if states.ndim == 0 or states.shape[-1] != self.dimension:
            raise ModelError(f"x must have shape (..., {self.dimension}), got {states.shape}")
        unique, where = np.unique(times, return_inverse=True)
        pairs = [self.coefficients(float(u)) for u in unique]
        p = np.array([pair[0] for pair in pairs])[where.reshape(times.shape)]
        c = np.array([pair[1] for pair in pairs])[where.reshape(times.shape)]
        return np.asarray(np.einsum("...i,...ij,...j->...", states, p, states) + c)

    def transition(self, u: float) -> tuple[FloatArray, FloatArray]:
        """Return the matrix and covariance of X_{t+u} = Phi X_t + N(0, C), by Gauss-Legendre over matrix exponentials."""
        from scipy.linalg import expm

        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        covariance = np.zeros((self.dimension, self.dimension))
        for node, weight in zip(nodes, weights, strict=True):
            spread = expm(0.5 * u * (1.0 + node) * self.drift) @ self.noise
            covariance += 0.5 * u * weight * spread @ spread.T
        return np.asarray(expm(u * self.drift)), covariance

    def sample(self, *, paths: int, steps: int, seed: Seed, duration: float | None = None, scheme: str = "exact", jobs: int = 1) -> Paths:
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

        Raises
        ------
        ModelError
            If an argument is out of range.
        """
        length = _check_sampling(paths, steps, duration, self.horizon, scheme)
        dt, d = length / steps, self.dimension
        if scheme == "exact":
            factor, covariance = self.transition(dt)
            values, vectors = np.linalg.eigh(covariance)
            spread = vectors * np.sqrt(np.maximum(values, 0.0))
        else:
            factor, spread = np.eye(d) + dt * self.drift, self.noise * math.sqrt(dt)
        state = np.empty((paths, steps + 1, d))

        def fill(block: slice, draws: FloatArray) -> None:
            state[block, 0] = self.start
            for i in range(steps):
                state[block, i + 1] = state[block, i] @ factor.T + draws[:, i] @ spread.T

        normals(paths, (steps, spread.shape[1]), seed, fill, jobs=jobs)
        reward = np.einsum("pti,ij,ptj->pt", state, self.reward, state)
        terminal = None
        if self.horizon is not None and length == self.horizon:
            terminal = np.einsum("pi,ij,pj->p", state[:, -1], self.terminal, state[:, -1])
        return Paths(np.linspace(0.0, length, steps + 1), state, reward, terminal)
