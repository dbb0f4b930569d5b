"""AGEC, the average-reward generalised eluder coefficient, exactly on tiny classes by enumeration of every sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify._validate import require_finite_array, require_integer, require_positive
from theory import loop_agec

__all__ = ["AgecNumbers", "agec"]

_LARGEST_ENUMERATION = 4_000_000


@dataclass(frozen=True, slots=True)
class AgecNumbers:
    """The two coefficients of a class and the sequences that force them.

    Parameters
    ----------
    dominance : float
        d_G.
    transferability : float
        kappa_G.
    dominance_witness, transferability_witness : tuple of (int, int)
        Sequences of (function, point) at which a smaller number would fail.
    burn_in : float
        C, the part of one step that the first d_G (kappa_G) steps may contribute freely.
    """

    dominance: float
    transferability: float
    dominance_witness: tuple[tuple[int, int], ...]
    transferability_witness: tuple[tuple[int, int], ...]
    burn_in: float


def agec(errors: ArrayLike, *, steps: int, epsilon: float, burn_in: float | None = None) -> AgecNumbers:
    """Return the exact AGEC numbers of a finite class.

    Parameters
    ----------
    errors : array, shape (functions, points)
        Bellman errors E(f)(s, a), equal to the expected discrepancies.
    steps : int
        T >= 2; all (functions * points)^T sequences are enumerated, at most 4 million.
    epsilon : float
        Scale, positive.
    burn_in : float, optional
        C in C min(d_G, T) and C^2 min(kappa_G, T); the largest |E(f)| when omitted.  A smaller one (sp(V*) in the recalled definition)
        can make the numbers infinite.

    Returns
    -------
    AgecNumbers
        Smallest numbers for which dominance and transferability hold on every sequence.

    Raises
    ------
    ValueError
        If the matrix is empty or not finite, an option is out of range, or the enumeration is too large.

    Notes
    -----
    Source: loop_agec/G9.

    Examples
    --------
    >>> import numpy as np
    >>> numbers = agec(np.eye(2), steps=4, epsilon=1e-3)
    >>> round(numbers.dominance, 5), round(numbers.transferability, 5)
    (1.99733, 1.99999)
    """
    matrix = require_finite_array("errors", errors, ndim=2)
    require_integer("steps", steps, minimum=2)
    require_positive("epsilon", epsilon)
    if matrix.size == 0:
        raise ValueError(f"errors must have at least one function and one point, got shape {matrix.shape}")
    if burn_in is not None and (isinstance(burn_in, (bool, str)) or not hasattr(burn_in, "__float__") or not 0.0 <= burn_in < np.inf):
        raise ValueError(f"burn_in must be finite and not negative, got {burn_in!r}")
    sequences = matrix.size**steps
    if sequences > _LARGEST_ENUMERATION:
        raise ValueError(
            f"steps must keep (functions * points)^steps at most {_LARGEST_ENUMERATION}, got {matrix.size}^{steps} = {sequences}"
        )
    from certify.complexity import _kernels_eluder as kernels

    total, squares, double, largest = (np.zeros(sequences) for _ in range(4))
    kernels.enumerate_sequences(matrix, steps, total, squares, double, largest)
    free = float(np.abs(matrix).max()) if burn_in is None else float(burn_in)
    dominance = loop_agec.dominance_number(total - steps * epsilon, double, free, steps)
    transfer = loop_agec.transfer_number(squares - 2 * steps * epsilon**2, largest, free, steps)
    first, second = int(np.argmax(dominance)), int(np.argmax(transfer))
    return AgecNumbers(
        dominance=float(dominance[first]),
        transferability=float(transfer[second]),
        dominance_witness=_sequence(first, matrix.shape, steps),
        transferability_witness=_sequence(second, matrix.shape, steps),
        burn_in=free,
    )


def _sequence(index: int, shape: tuple[int, ...], steps: int) -> tuple[tuple[int, int], ...]:
    pairs = []
    for _ in range(steps):
        index, choice = divmod(index, shape[0] * shape[1])
        pairs.append((choice // shape[1], choice % shape[1]))
    return tuple(pairs)
