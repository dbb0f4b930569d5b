"""Ridge regression of one step: from transitions to the weights with which every function of the next state is regressed.

For the step's feature matrix Phi and ridge gamma, Lambda = gamma I + Phi^T Phi and the coefficients of any target f(s') are W f with
W = Lambda^-1 Phi^T.  With finitely many states the columns of W are states (transitions enter as counts n(s, a, s')), else they are samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DENSE_COUNTS = 4_000_000


@dataclass(frozen=True, slots=True)
class Design:
    """The regression of one step.

    Attributes
    ----------
    inverse : array (d, d)
        Lambda^-1.
    weights : array (d, m)
        W: row i gives the coefficient of coordinate i from the values at the m columns.
    seen : bool array (m,)
        Columns that occur in the data.
    mass : array (d,)
        Total feature mass of each coordinate over the data; 0 for a factor that was never visited.
    reward : array (d,)
        Lambda^-1 Phi^T r.
    log_determinant : float
        log det(Lambda / gamma).
    error : float
        Bound on the rounding error of a regressed value per unit of range.
    """

    inverse: FloatArray
    weights: FloatArray
    seen: NDArray[np.bool_]
    mass: FloatArray
    reward: FloatArray
    log_determinant: float
    error: float

    @property
    def deviation(self) -> FloatArray:
        """sqrt of the diagonal of Lambda^-1."""
        return np.sqrt(np.maximum(np.diag(self.inverse), 0.0))


def count_design(
    features: FloatArray, states: IntArray, actions: IntArray, following: IntArray, rewards: FloatArray, ridge: float,
    precision: FloatArray | None = None,
) -> Design:
    """Return the regression of one step from transitions of a finite model, by counts.

    `features` (S, A, d), `rewards` (S, A); `precision` (S, A) weighs every sample of a pair, 1 by default.
    """
    S, A, d = features.shape
    pair = states * A + actions
    visited, row = np.unique(pair, return_inverse=True)
    n = visited.size
    phi = features.reshape(S * A, d)[visited]
    times = np.bincount(row, minlength=n).astype(np.float64)
    weight = np.ones(n) if precision is None else precision.reshape(-1)[visited]
    scaled = phi * weight[:, None]
    if n * S <= _DENSE_COUNTS:
        counts = np.bincount(row * S + following, minlength=n * S).reshape(n, S)
        moments = scaled.T @ counts
        seen = counts.sum(axis=0) > 0
    else:
        from scipy.sparse import coo_array

        sparse = coo_array((np.ones(row.size), (row, following)), shape=(n, S)).tocsr()
        moments = np.asarray((sparse.T @ scaled).T)
        seen = np.bincount(following, minlength=S) > 0
    gram = (scaled * times[:, None]).T @ phi
    return _solve(gram, moments, scaled.T @ (times * rewards.reshape(-1)[visited]), seen, phi.T @ times, ridge)


def sample_design(features: FloatArray, rewards: FloatArray, ridge: float) -> Design:
    """Return the regression of one step from the features (n, d) and rewards (n,) of its samples; the columns are the samples."""
    return _solve(features.T @ features, features.T, features.T @ rewards, np.ones(len(features), dtype=bool), features.sum(axis=0), ridge)


def _solve(gram: FloatArray, moments: FloatArray, reward: FloatArray, seen: NDArray[np.bool_], mass: FloatArray, ridge: float) -> Design:
    """Return the design from Phi^T Phi (d, d), the moments Phi^T (d, m) and Phi^T r."""
    d = gram.shape[0]
    matrix = ridge * np.eye(d) + 0.5 * (gram + gram.T)
    inverse = np.linalg.inv(matrix)
    inverse = 0.5 * (inverse + inverse.T)
    growth = float(np.linalg.slogdet(matrix / ridge)[1])
    # cond(Lambda) <= trace / ridge, since the least eigenvalue is at least the ridge
    condition = float(np.trace(matrix)) / ridge
    solution = inverse @ np.concatenate([moments, reward[:, None]], axis=1)
    error = 16.0 * np.finfo(float).eps * condition * np.sqrt(d)
    return Design(inverse, solution[:, :-1], seen, mass, solution[:, -1], max(growth, 0.0), error)


def centred(weights: FloatArray, values: FloatArray, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Return weights and values with two columns more, so that every regression is that of a centred target.

    The extra columns carry the least and the greatest value, each with half of what the row of weights lacks to 1.  For any monotone f the
    regression of f on them is that of f - c with c = (f(low) + f(high)) / 2 added back, because the features sum to 1.
    """
    lack = 0.5 * (1.0 - weights.sum(axis=1, keepdims=True))
    return np.concatenate([weights, lack, lack], axis=1), np.concatenate([values, [low, high]])
