"""How often two programs give another return on the same episodes: float32 on a GPU against float64 on a CPU, say.

A certificate speaks of the program that was sampled.  If another one is deployed, each clean success probability drops by at most the
probability that an episode differs, so its upper confidence limit is what to subtract.

Source: policy_smoothing, GPU path (precision).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from certify._validate import require_open_unit
from certify.smoothing.returns import Returns

__all__ = ["Agreement", "compare_returns"]

_MAY_DIFFER = ("policy", "engine", "dtype")


@dataclass(frozen=True)
class Agreement:
    """Episodes on which two programs differ.

    Parameters
    ----------
    episodes : int
        Episodes compared.
    different : int
        Episodes whose returns differ by more than the tolerance.
    upper : float
        Upper confidence limit of the probability that an episode differs (Clopper-Pearson).
    alpha : float
        Error probability of `upper`.
    largest : float
        Largest difference of two returns.
    """

    episodes: int
    different: int
    upper: float
    alpha: float
    largest: float


def compare_returns(first: Returns, second: Returns, *, alpha: float = 0.05, tolerance: float = 0.0) -> Agreement:
    """Count the episodes of the same stream on which two engines or precisions differ.

    Parameters
    ----------
    first, second : Returns
        The same policy, environment, noise and stream; engine and dtype may differ.
    alpha : float
        Error probability of the upper limit.
    tolerance : float
        Differences up to this size do not count.

    Returns
    -------
    Agreement
        The count and its upper confidence limit.

    Raises
    ------
    ValueError
        If the two are not the same episodes.

    Notes
    -----
    Source: policy_smoothing, GPU path.

    Examples
    --------
    >>> a, b = Returns([1.0, 2.0, 3.0], engine="numba"), Returns([1.0, 2.0, 4.0], engine="torch-cuda")
    >>> result = compare_returns(a, b)
    >>> result.different, result.largest, round(result.upper, 4)
    (1, 1.0, 0.8646)
    """
    require_open_unit("alpha", alpha)
    if not 0.0 <= tolerance < np.inf:
        raise ValueError(f"tolerance must be a finite number of at least 0, got {tolerance!r}")
    for name, value in first.provenance.items():
        if name not in _MAY_DIFFER and second.provenance[name] != value:
            raise ValueError(f"returns must be of the same episodes, but {name} is {value!r} and {second.provenance[name]!r}")
    if len(first) != len(second):
        raise ValueError(f"returns must be of the same episodes, got {len(first)} and {len(second)}")
    from certify.smoothing.bands import clopper_pearson_lower

    gaps = np.abs(first.values - second.values)
    different = int(np.count_nonzero(gaps > tolerance))
    # The second result is the complement of the lower limit of agreement, rounded outwards.
    upper = float(np.asarray(clopper_pearson_lower(len(first) - different, len(first), alpha)[1]))
    return Agreement(len(first), different, upper, alpha, float(gaps.max()))
