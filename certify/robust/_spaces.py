"""The two kinds of state space of the offline learners: finitely many states, and points with a feature map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_numbers, require_simplex_rows
from certify.robust._design import Design, count_design, sample_design
from certify.robust.datasets import OfflineDataset

FloatArray = NDArray[np.float64]
Rows = slice | NDArray[np.int64]


def _weights(theta: ArrayLike, horizon: int, dimension: int) -> FloatArray:
    """Return the reward weights as (H, d)."""
    weights = require_numbers("reward_weights", theta)
    if weights.shape not in ((dimension,), (horizon, dimension)):
        raise ValueError(f"reward_weights must have shape ({dimension},) or {(horizon, dimension)}, got {weights.shape}")
    return np.broadcast_to(weights, (horizon, dimension))


def _require_rewards(rewards: FloatArray, bound: float) -> None:
    """Refuse rewards outside [0, bound]: values are clipped at `bound` times the steps to go, which would be invalid."""
    if rewards.size and (rewards.min() < -1e-9 or rewards.max() > bound + 1e-9):
        worst = float(rewards.min() if rewards.min() < -1e-9 else rewards.max())
        raise ValueError(f"reward_weights must give rewards in [0, {bound:g}] (see reward_bound: values are clipped at it), got {worst:.6g}")


class FiniteSpace:
    """States 0..S-1 with a table of features."""

    finite = True

    def __init__(self, data: OfflineDataset, features: Any, theta: ArrayLike, reward_bound: float, simplex: bool) -> None:
        phi = require_numbers("features", features)
        H = data.horizon
        if phi.ndim not in (3, 4) or 0 in phi.shape or (phi.ndim == 4 and phi.shape[0] != H):
            raise ValueError(f"features must have shape (S, A, d) or (H, S, A, d) with H = {H}, got {phi.shape}")
        if simplex:
            require_simplex_rows("features", phi)
        if not data.finite:
            raise ValueError("features must be a function of the points of a continuous state space, got an array")
        S, A, d = phi.shape[-3:]
        for name, array, limit in (("states", data.states, S), ("next_states", data.next_states, S), ("actions", data.actions, A)):
            if array.max() >= limit:
                raise ValueError(f"{name} of the dataset must be below {limit} as features have it, got {int(array.max())}")
        self.data, self.horizon, self.dimension = data, H, d
        self.features = np.broadcast_to(phi, (H, S, A, d))
        self.theta = _weights(theta, H, d)
        self.rewards = np.einsum("hsad,hd->hsa", self.features, self.theta)
        _require_rewards(self.rewards, reward_bound)

    def design(self, step: int, rows: Rows, ridge: float, precision: FloatArray | None = None) -> Design:
        """Return the regression of a step from the trajectories `rows`."""
        data = self.data
        return count_design(
            self.features[step], data.states[rows, step], data.actions[rows, step], data.next_states[rows, step], self.rewards[step], ridge, precision)

    def next_features(self, step: int, rows: Rows) -> FloatArray:
        """Return the features (m, A, d) at step + 1 of the columns of the design."""
        features: FloatArray = self.features[step + 1]
        return features

    def reported(self, step: int) -> FloatArray:
        """Return the features (n, A, d) of the states that the result speaks of."""
        features: FloatArray = self.features[step]
        return features


class PointSpace:
    """Points of a continuous space with a feature map (step, points (n, p)) -> (n, A, d)."""

    finite = False

    def __init__(self, data: OfflineDataset, features: Callable[[int, Any], ArrayLike], theta: ArrayLike, reward_bound: float, simplex: bool) -> None:
        self.data, self.horizon, self.map, self.simplex, self.reward_bound = data, data.horizon, features, simplex, reward_bound
        self.theta = np.zeros((1, 0))
        self.points = np.unique(data.states[:, 0], axis=0)
        self.dimension = self._phi(0, self.points).shape[-1]
        self.theta = _weights(theta, self.horizon, self.dimension)

    def _phi(self, step: int, points: NDArray[Any]) -> FloatArray:
        phi = require_numbers("features", self.map(step, points))
        if phi.ndim != 3 or len(phi) != len(points):
            raise ValueError(f"features must return shape (n, A, d) for n = {len(points)} points, got {phi.shape}")
        if self.simplex:
            require_simplex_rows("features", phi)
        if self.theta.size:
            _require_rewards(phi @ self.theta[step], self.reward_bound)
        return phi

    def design(self, step: int, rows: Rows, ridge: float, precision: FloatArray | None = None) -> Design:
        """Return the regression of a step from the trajectories `rows`."""
        if precision is not None:
            raise ValueError("method must not be 'va-drpvi' with continuous states: its weights are kept for finite states only")
        data = self.data
        phi = self._phi(step, data.states[rows, step])
        actions = data.actions[rows, step]
        if actions.size and actions.max() >= phi.shape[1]:
            raise ValueError(f"actions of the dataset must be below {phi.shape[1]} as features have it, got {int(actions.max())}")
        taken = phi[np.arange(len(actions)), actions]
        return sample_design(taken, taken @ self.theta[step], ridge)

    def next_features(self, step: int, rows: Rows) -> FloatArray:
        """Return the features (m, A, d) at step + 1 of the columns of the design."""
        return self._phi(step + 1, self.data.next_states[rows, step])

    def reported(self, step: int) -> FloatArray:
        """Return the features (n, A, d) of the states that the result speaks of: the first states of the data."""
        return self._phi(step, self.points)
