"""Information gain and effective dimension of a kernel, between a greedy design and the D-optimal relaxation.

The gain of n points is max log det(I + eps^-2 K) over multisets of n of the given points.  Greedy selection gives a lower limit; spreading
n over the simplex of weights gives a concave problem whose duality gap makes any iterate a rigorous upper limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_finite_array, require_integer, require_positive
from certify.complexity.eluder import DimensionBracket

__all__ = ["GainBracket", "effective_dimension", "information_gain"]

FloatArray = NDArray[np.float64]
Kernel = Callable[[FloatArray, FloatArray], FloatArray]

_THRESHOLD = float(np.exp(-1.0))
_LARGEST_DIMENSION = 1 << 17


@dataclass(frozen=True, slots=True)
class GainBracket:
    """Limits of an information gain.

    Parameters
    ----------
    lower, upper : float
        Limits of max log det(I + eps^-2 K) over multisets of `samples` points, in nats.
    design : tuple of int
        Indices of the points that attain `lower`, in the order chosen.
    weights : array, shape (points,)
        Weights of the relaxed design behind `upper`.
    """

    lower: float
    upper: float
    design: tuple[int, ...]
    weights: FloatArray


def information_gain(kernel: Kernel | ArrayLike, points: ArrayLike | None, epsilon: float, samples: int) -> GainBracket:
    """Bracket the largest log det(I + eps^-2 K) over multisets of points.

    Parameters
    ----------
    kernel : callable or array, shape (n, n)
        `kernel(x, y)` returns the Gram matrix of two arrays of points; or the Gram matrix itself.
    points : array, shape (n, ...), or None
        Candidate points; None when the kernel is a Gram matrix.
    epsilon : float
        Noise scale, positive.
    samples : int
        Size of the multiset, at least 1.

    Returns
    -------
    GainBracket
        Limits with the designs behind them.

    Raises
    ------
    ValueError
        If the Gram matrix is not finite, symmetric and positive semidefinite, or an option is out of range.

    Notes
    -----
    Source: loop_agec, information gain.

    Examples
    --------
    >>> import numpy as np
    >>> bracket = information_gain(np.eye(2), None, 1.0, 2)
    >>> round(bracket.lower, 6), round(bracket.upper, 6)
    (1.386294, 1.386294)
    """
    gram = _gram(kernel, points)
    require_positive("epsilon", epsilon)
    require_integer("samples", samples, minimum=1)
    gains, design = _greedy(gram, epsilon, samples)
    weights = np.bincount(design, minlength=len(gram)) / samples
    value, gap, weights = _relax(gram, samples / epsilon**2, 0.5 * (weights + 1.0 / len(gram)), goal=0.0, tolerance=1e-9)
    lower = min(float(gains[-1]), float(_gain_from_below(gram, epsilon, design)))
    return GainBracket(lower, max(lower, value + gap), tuple(int(i) for i in design), weights)


def effective_dimension(kernel: Kernel | ArrayLike, points: ArrayLike | None, epsilon: float) -> DimensionBracket:
    """Bracket the effective dimension min{n : max log det(I + eps^-2 K) / n <= 1/e} over the given points.

    Parameters
    ----------
    kernel : callable or array, shape (n, n)
        As in `information_gain`.
    points : array, shape (n, ...), or None
        Candidate points.
    epsilon : float
        Scale, positive.

    Returns
    -------
    DimensionBracket
        `lower` from greedy selection, whose points are the witness; `upper` from the D-optimal relaxation with its duality gap.

    Raises
    ------
    ValueError
        If the Gram matrix is invalid, or the scale so small that the dimension exceeds 2^17 or that rounding of the kernel may carry more
        information than this.

    Notes
    -----
    Source: loop_agec, kernel models.  The dimension of a ball of radius R of the kernel's space at scale eps is below the effective
    dimension at eps / R (loop_agec/G7).

    Examples
    --------
    >>> import numpy as np
    >>> bracket = effective_dimension(np.eye(1), None, 0.3)
    >>> bracket.lower, bracket.upper
    (14, 14)
    """
    gram = _gram(kernel, points)
    require_positive("epsilon", epsilon)
    if float(epsilon) ** 2 <= 1e-200 * float(np.abs(gram).max()):
        raise ValueError(f"epsilon must be larger for this kernel: the effective dimension exceeds {_LARGEST_DIMENSION}, got {epsilon!r}")
    weights = np.full(len(gram), 1.0 / len(gram))

    def small(n: int) -> bool:
        nonlocal weights
        value, gap, weights = _relax(gram, n / epsilon**2, weights, goal=n * _THRESHOLD, tolerance=1e-10)
        return value + gap <= n * _THRESHOLD

    low, high = 0, 1
    while not small(high):
        low, high = high, 2 * high
        if high > _LARGEST_DIMENSION:
            raise ValueError(
                f"epsilon must be larger for this kernel: the effective dimension exceeds {_LARGEST_DIMENSION} or is lost in rounding, got {epsilon!r}"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if small(middle) else (middle, high)
    gains, design = _greedy(gram, epsilon, high)
    sizes = np.arange(1, high + 1)
    lower = int(sizes[np.append(np.flatnonzero(gains <= sizes * _THRESHOLD), high - 1)[0]])
    while lower > 1 and not _gain_from_below(gram, epsilon, design[: lower - 1]) > (lower - 1) * _THRESHOLD:
        lower -= max(1, lower // 32)
    return DimensionBracket(lower, high, tuple(int(i) for i in design[: lower - 1]), float(epsilon))


def _gram(kernel: Kernel | ArrayLike, points: ArrayLike | None) -> FloatArray:
    if callable(kernel):
        if points is None:
            raise ValueError("points must be given when kernel is a function")
        x = np.asarray(points, dtype=np.float64)
        if x.ndim == 0 or len(x) == 0 or not np.isfinite(x).all():
            raise ValueError(f"points must be a non-empty array of finite numbers, got shape {x.shape}")
        matrix = require_finite_array("kernel(points, points)", kernel(x, x), ndim=2)
    else:
        matrix = require_finite_array("kernel", kernel, ndim=2)
    n = len(matrix)
    if n == 0 or matrix.shape != (n, n) or (points is not None and len(np.asarray(points)) != n):
        raise ValueError(f"kernel must give a square matrix with one row for each point, got shape {matrix.shape}")
    size = float(np.abs(matrix).max())
    if np.abs(matrix - matrix.T).max() > 1e-10 * size:
        raise ValueError("kernel must be symmetric")
    least = float(np.linalg.eigvalsh(0.5 * (matrix + matrix.T)).min())
    if least < -1e-9 * n * max(size, 1e-300):
        raise ValueError(f"kernel must be positive semidefinite, got the eigenvalue {least:.3g}")
    return 0.5 * (matrix + matrix.T)


def _greedy(gram: FloatArray, epsilon: float, samples: int) -> tuple[FloatArray, NDArray[np.int64]]:
    """Choose points of largest posterior variance, with repetition; return the gains after 1, 2, ... points and the choices."""
    noise = epsilon**2
    covariance = gram.copy()
    gains, design = np.zeros(samples), np.zeros(samples, dtype=np.int64)
    total = 0.0
    for k in range(samples):
        best = int(np.argmax(np.diag(covariance)))
        column = covariance[:, best].copy()
        variance = max(float(column[best]), 0.0)
        total += float(np.log1p(variance / noise))
        covariance -= np.outer(column, column) / (variance + noise)
        # Without cancellation where it would be worst: what is left of the chosen point itself.
        covariance[best] = covariance[:, best] = column * (noise / (variance + noise))
        gains[k], design[k] = total, best
    return gains, design


def _gain_from_below(gram: FloatArray, epsilon: float, design: NDArray[np.int64]) -> float:
    """Return log det(I + eps^-2 K) over a multiset of points less what rounding may have added.

    A multiset of n points whose gain exceeds n / e has parts of every smaller size k whose gain exceeds k / e: the gain is submodular, so
    the average over its parts of size k is at least k / n of it.
    """
    points, times = np.unique(design, return_counts=True)
    root = np.sqrt(times) / epsilon
    matrix = np.eye(len(points)) + root[:, None] * gram[np.ix_(points, points)] * root
    scale = np.sqrt(np.diag(matrix))
    correlation = matrix / np.outer(scale, scale)
    # Cholesky factors a matrix with unit diagonal that is off by a few roundings an entry.
    least = float(np.linalg.eigvalsh(correlation).min())
    error = 8.0 * np.finfo(np.float64).eps * len(points) ** 2
    # det(I + A) >= 1 + tr A, whatever the rounding.
    sure = float(np.log1p(np.sum(root**2 * np.maximum(np.diag(gram)[points], 0.0)))) * (1.0 - 1e-12)
    if least <= 2.0 * error:
        return sure
    value = 2.0 * float(np.log(scale).sum() + np.log(np.diag(np.linalg.cholesky(correlation))).sum())
    return max(sure, value - len(points) * error / (least - error) - 1e-12 * max(1.0, value))


def _relax(gram: FloatArray, ratio: float, weights: FloatArray, *, goal: float, tolerance: float) -> tuple[float, float, FloatArray]:
    """Maximise log det(I + ratio K^(1/2) W K^(1/2)) over the simplex; stop when `goal` is decided or the gap is small.

    Multiplicative steps, with a Frank-Wolfe step with line search whenever they stall; return (value, duality gap, weights).
    """
    eigenvalues, vectors = np.linalg.eigh(gram)
    keep = eigenvalues > max(eigenvalues.max(), 0.0) * 1e-14
    if not keep.any():
        return 0.0, 0.0, weights
    root = vectors[:, keep] * np.sqrt(eigenvalues[keep])
    # What the dropped directions can add at most, to first order, belongs to the gap.
    dropped = ratio * max(0.0, float(np.abs(eigenvalues[~keep]).sum()))
    identity = np.eye(root.shape[1])
    w = np.maximum(weights, 1e-12)
    w = w / w.sum()
    value, gap = 0.0, np.inf
    for iteration in range(20_000):
        matrix = identity + ratio * (root.T * w) @ root
        factor = np.linalg.cholesky(matrix)
        value = 2.0 * float(np.log(np.diag(factor)).sum())
        half = np.linalg.solve(factor, root.T)
        slope = ratio * (half**2).sum(axis=0)
        mean = float(w @ slope)
        short = max(float(slope.max()) - mean, 0.0)
        gap = short + dropped + 1e-12 * max(1.0, value)
        if short <= tolerance * max(1.0, value) or (goal > 0.0 and (value > goal or value + gap <= goal)):
            break
        if iteration % 10 == 9:
            step = _line_search(w, int(np.argmax(slope)), root, ratio)
            w = (1.0 - step) * w
            w[int(np.argmax(slope))] += step
        else:
            w = w * slope / mean
        w = w / w.sum()
    return value, gap, w


def _line_search(w: FloatArray, best: int, root: FloatArray, ratio: float) -> float:
    """Return the step towards vertex `best` that maximises the concave objective, by bisection on its derivative."""
    base = np.eye(root.shape[1]) + ratio * (root.T * w) @ root
    direction = ratio * np.outer(root[best], root[best]) - (base - np.eye(root.shape[1]))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        if float(np.trace(np.linalg.solve(base + middle * direction, direction))) > 0.0:
            low = middle
        else:
            high = middle
    return low
