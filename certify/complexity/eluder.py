"""The eluder dimension of a finite class, exact or bracketed.

A point x is e-independent of x_1, ..., x_n iff some phi of the class has sum_i phi(x_i)^2 <= e^2 and |phi(x)| > e.  The dimension at scale
eps is the length of the longest sequence such that one common e >= eps makes every element independent of its predecessors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_finite_array, require_integer, require_positive

__all__ = ["DimensionBracket", "eluder_dimension"]

_LARGEST_TABLE = 4_000_000
_CROSS_CHECKED_POINTS = 7


@dataclass(frozen=True, slots=True)
class DimensionBracket:
    """Limits of a dimension: `lower <= dimension <= upper`, equal when it is known exactly.

    Parameters
    ----------
    lower, upper : int
        Limits.
    witness : tuple of int
        Indices of points, in order, that attain `lower`.
    scale : float
        The common scale at which every element of the witness is independent of its predecessors (nan without a witness).
    """

    lower: int
    upper: int
    witness: tuple[int, ...]
    scale: float = float("nan")

    @property
    def exact(self) -> bool:
        """Whether both limits agree."""
        return self.lower == self.upper


def eluder_dimension(values: ArrayLike, epsilon: float, *, method: str = "exact", restarts: int = 200, seed: int = 0) -> DimensionBracket:
    """Return the eluder dimension of a finite class of functions on finitely many points.

    Parameters
    ----------
    values : array, shape (functions, points)
        phi(x).  For the dimension of Russo and Van Roy pass the differences of the functions; for the average-reward Bellman eluder
        dimension pass the Bellman errors.
    epsilon : float
        Scale, positive.
    method : str
        "exact" compares all sums of squares as rational numbers: a recursion over subsets, confirmed by a search over ordered
        sequences when at most 7 points remain.  Limited to about 14 points that differ.
        "bracket" returns a greedy lower limit and the better one of the counting and the information-gain upper limits.
    restarts : int
        Random orders tried by the greedy search.
    seed : int
        Seed of these orders.

    Returns
    -------
    DimensionBracket
        With a witness sequence.

    Raises
    ------
    ValueError
        If the matrix is empty, not finite or too large for the exact method, or an option is out of range.
    RuntimeError
        If the two exact algorithms disagree, which would be a defect.

    Notes
    -----
    Source: loop_agec/G7.

    Examples
    --------
    >>> import numpy as np
    >>> eluder_dimension(np.eye(3), 0.5).lower
    3
    """
    matrix = require_finite_array("values", values, ndim=2)
    require_positive("epsilon", epsilon)
    require_choice("method", method, ("exact", "bracket"))
    require_integer("restarts", restarts, minimum=1)
    require_integer("seed", seed, minimum=0)
    if matrix.size == 0:
        raise ValueError(f"values must have at least one function and one point, got shape {matrix.shape}")
    reduced, points = _reduce(np.abs(matrix), epsilon)
    if not points:
        return DimensionBracket(0, 0, ())
    if method == "exact":
        return _exact(reduced, points, epsilon)
    return _bracket(reduced, matrix[:, points], points, epsilon, restarts, seed)


def _reduce(magnitude: NDArray[np.float64], epsilon: float) -> tuple[NDArray[np.float64], list[int]]:
    """Drop points at which no function exceeds epsilon, and all but the first of points or functions that agree up to signs.

    Two points at which every |phi| agrees are dependent on each other, so a sequence can hold one of them only.
    """
    usable = np.flatnonzero(magnitude.max(axis=0) > epsilon)
    if usable.size == 0:
        return magnitude[:, :0], []
    _, first = np.unique(magnitude[:, usable], axis=1, return_index=True)
    points = usable[np.sort(first)]
    return np.unique(magnitude[:, points], axis=0), [int(p) for p in points]


def _ranks(magnitude: NDArray[np.float64], epsilon: float) -> tuple[NDArray[np.int64], int, list[int], int]:
    """Return the ranks of all sums of squares over subsets, the rank of epsilon^2, and what has each rank, in units of 1 / denominator^2.

    Floats are dyadic rationals: after one common shift all squares are integers, and integers compare exactly.
    """
    ratios = [[float(v).as_integer_ratio() for v in row] for row in magnitude]
    level = float(epsilon).as_integer_ratio()
    denominator = max(level[1], max(q for row in ratios for _, q in row))
    functions, points = magnitude.shape
    sums = np.zeros((functions, 1), dtype=object)
    for x in range(points):
        squares = np.array([[(row[x][0] * (denominator // row[x][1])) ** 2] for row in ratios], dtype=object)
        sums = np.concatenate([sums, sums + squares], axis=1)
    floor = (level[0] * (denominator // level[1])) ** 2
    ordered = sorted({int(v) for v in sums.ravel()} | {floor})
    place = {v: i for i, v in enumerate(ordered)}
    rank = np.array([[place[v] for v in row] for row in sums], dtype=np.int64)
    return rank, place[floor], ordered, denominator


def _root(square: int, denominator: int) -> float:
    """Return sqrt(square) / denominator, whatever the size of these integers."""
    try:
        return math.isqrt(square << 120) / (denominator << 60)
    except OverflowError:
        return math.inf


def _exact(magnitude: NDArray[np.float64], points: list[int], epsilon: float) -> DimensionBracket:
    from certify.complexity import _kernels_eluder as kernels

    functions, n = magnitude.shape
    if n > 20 or functions * 2**n > _LARGEST_TABLE:
        raise ValueError(
            f"values must have at most about 14 points that differ for method 'exact' (functions * 2^points <= {_LARGEST_TABLE}), "
            f"got {functions} functions and {n} points; use method 'bracket'"
        )
    rank, floor, ordered, denominator = _ranks(magnitude, epsilon)
    ceiling = len(ordered)
    capacity = 8
    while True:
        low, high = np.zeros((2**n, capacity), dtype=np.int64), np.zeros((2**n, capacity), dtype=np.int64)
        count = np.zeros(2**n, dtype=np.int64)
        if kernels.subsets(rank, n, floor, ceiling, low, high, count) == 0:
            break
        capacity *= 4
    sizes = np.array([mask.bit_count() for mask in range(2**n)])
    reachable = np.flatnonzero(count > 0)
    mask = int(reachable[np.argmax(sizes[reachable])])
    dimension = int(sizes[mask])
    if n <= _CROSS_CHECKED_POINTS:
        longest, _ = kernels.search(rank, n, floor, ceiling, np.zeros(n, dtype=np.int64))
        if longest != dimension:
            raise RuntimeError(f"two exact algorithms disagree: {longest} and {dimension}; please report this class")
    common = int(low[mask, 0])
    path: list[int] = []
    while mask:
        for x in range(n):
            before = mask & ~(1 << x)
            inside = before != mask and any(low[before, i] <= common < high[before, i] for i in range(count[before]))
            if inside and np.any((rank[:, before] <= common) & (rank[:, 1 << x] > common)):
                path.append(points[x])
                mask = before
                break
    scale = epsilon if common == floor else max(epsilon, _root(ordered[common], denominator))
    return DimensionBracket(dimension, dimension, tuple(reversed(path)), float(scale))


def _bracket(
    magnitude: NDArray[np.float64], signed: NDArray[np.float64], points: list[int], epsilon: float, restarts: int, seed: int
) -> DimensionBracket:
    from certify.complexity import _kernels_eluder as kernels

    functions, n = magnitude.shape
    # The dimension does not depend on units.  A larger scale than asked for can only shorten what the greedy search finds.
    unit = int(np.frexp(magnitude.max())[1])
    magnitude, signed = np.ldexp(magnitude, -unit), np.ldexp(signed, -unit)
    asked, epsilon = epsilon, max(math.ldexp(epsilon, -unit), 1e-100)
    rng = np.random.Generator(np.random.Philox(seed))
    squares = magnitude**2
    orders = rng.permuted(np.tile(np.arange(n), (2 * restarts, 1)), axis=1)
    chosen = rng.random((restarts, n)) < rng.random((restarts, 1))
    sums = squares[rng.integers(functions, size=restarts)] * chosen
    scales = np.concatenate([np.full(restarts, epsilon), np.maximum(epsilon, np.sqrt(sums.sum(axis=1)))]) * (1.0 + 1e-11)
    path = np.zeros(n, dtype=np.int64)
    length, scale = kernels.greedy_sequences(squares, scales, orders, path)
    upper = min(functions, n, _information_limit(signed, epsilon), _information_limit(magnitude, epsilon))
    witness = tuple(points[x] for x in path[:length])
    common = max(asked, float(np.ldexp(scale, unit))) if length else float("nan")
    return DimensionBracket(int(length), max(int(length), upper), witness, common)


def _information_limit(values: NDArray[np.float64], epsilon: float) -> int:
    """Return the information-gain limit of the class written as inner products of its singular vectors.

    The factors reproduce the values up to some eta only, so a sequence of length n that is independent at scale e has in-sample norms up
    to e + sqrt(n) eta and next values above e - eta on the factors.
    """
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    points, rank = int(values.shape[1]), max(int((singular > 1e-13 * singular[0]).sum()), 1)
    theta, x = left[:, :rank] * np.sqrt(singular[:rank]), right[:rank] * np.sqrt(singular[:rank])[:, None]
    eta = float(np.abs(theta @ x - values).max()) + 4.0 * np.finfo(np.float64).eps * len(singular)
    if eta >= epsilon:
        return points
    growth = ((epsilon - eta) / (epsilon + math.sqrt(points) * eta)) ** 2
    radius = np.sqrt((theta**2).sum(axis=1).max()) * (1.0 + 1e-9)
    norm = np.sqrt((x**2).sum(axis=0).max()) * (1.0 + 1e-9)
    eigenvalues, d = np.maximum(np.linalg.eigvalsh(x @ x.T), 0.0), len(x)
    lengths = np.arange(1, points + 1)
    best = points
    for c in np.geomspace(1e-3, 1e3, 61):
        ratio = radius**2 / (c * epsilon**2)
        # No n of the points carry more information than all of them, nor more than n of norm L spread evenly.
        gain = np.minimum(np.log1p(eigenvalues * ratio).sum(), d * np.log1p(lengths * norm**2 * ratio / d)) * (1.0 + 1e-9)
        possible = lengths[lengths * np.log1p(growth / (1.0 + c)) <= gain]
        best = min(best, int(possible[-1]) if possible.size else 0)
    return best
