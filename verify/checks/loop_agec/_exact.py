"""Exact probability that the truth leaves a squared-loss confidence set under two-point noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["leaving_probability"]


def leaving_probability(span: float, shifts: ArrayLike, radius: float, steps: int) -> tuple[float, float]:
    """Enclose the probability that max_j -sum_{i<=t} (D_j^2 + 2 D_j xi_i) exceeds `radius` at some t.

    The noise xi is +-span/2 with probability 1/2 each and D_j are the shifts of the alternatives, so that the sum depends on time and
    on a simple random walk only: a recursion over the walk is exact.  What can still happen after `steps` is bounded by Ville's
    inequality for the supermartingales exp(-(2/span^2)(D^2 + 2 D xi)), summed over the alternatives.

    Returns
    -------
    tuple of float
        Lower and upper limit of the probability over all times.
    """
    alternatives = np.asarray(shifts, dtype=np.float64)
    above, below = alternatives[alternatives > 0.0], alternatives[alternatives < 0.0]
    law = np.ones(1)
    left = 0.0
    for t in range(1, steps + 1):
        moved = np.zeros(t + 1)
        moved[1:] = 0.5 * law
        moved[:-1] += 0.5 * law
        # Every alternative excludes a half-line of the walk 2 k - t, where k counts the positive steps.
        low = -((radius + above**2 * t) / (above * span)).min() if above.size else -np.inf
        high = ((radius + below**2 * t) / (-below * span)).min() if below.size else np.inf
        first = max(0, int(np.ceil(0.5 * (low + t) - 1e-9))) if np.isfinite(low) else 0
        last = min(t, int(np.floor(0.5 * (high + t) + 1e-9))) if np.isfinite(high) else t
        left += float(moved[:first].sum() + moved[last + 1 :].sum())
        moved[:first] = 0.0
        moved[last + 1 :] = 0.0
        law = moved
    walk = 2.0 * np.arange(steps + 1) - steps
    alive = law > 0.0
    tail = 0.0
    for d in alternatives:
        log_weight = (2.0 / span**2) * (-(d * d * steps + d * span * walk[alive]) - radius)
        tail += float((law[alive] * np.exp(np.minimum(log_weight, 0.0))).sum())
    return left * (1.0 - 1e-12), min(1.0, left * (1.0 + 1e-12) + tail)
