"""The update loops of the stochastic methods, one episode after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled

__all__ = ["accumulate", "run_updates"]

LOSS, CTD0, CTD_LAMBDA, CGTD, CGTD2, TDC = 1, 2, 3, 4, 5, 6
"""Positions in `certify.martingale.evaluation.METHODS`."""


@compiled
def run_updates(
    method: int, phi: Any, psi: Any, rewards: Any, dt: Any, decay: Any, weight: Any, fade: Any, online: bool, slow: Any, fast: Any, theta: Any, history: Any
) -> None:
    """Run every episode; `theta` is updated in place and its value after episode e is written to `history[e]`.

    The trace z is multiplied by fade[i] before step i (lambda^dt of the step before) and is fed weight * phi * dt; it is paired with the
    increment weight * D, so that lambda = 1 is the stationarity condition of the martingale loss (martingale_td/G5b).
    """
    paths, nodes, k = phi.shape
    steps = nodes - 1
    u = np.zeros(k)
    for e in range(history.shape[0]):
        p = e % paths
        a, a2 = slow[e], fast[e]
        z = np.zeros(k)
        total = np.zeros(k)
        for i in range(steps):
            error = rewards[p, i] + decay[i] * psi[p, i + 1] - psi[p, i]
            for c in range(k):
                error += theta[c] * (decay[i] * phi[p, i + 1, c] - phi[p, i, c])
            if method == CTD0:
                for c in range(k):
                    total[c] += weight[i] * phi[p, i, c] * error
            elif method in (CTD_LAMBDA, LOSS):
                for c in range(k):
                    z[c] = fade[i] * z[c] + weight[i] * phi[p, i, c] * dt[i]
                    total[c] += z[c] * weight[i] * error
            else:
                dot = 0.0
                for c in range(k):
                    dot += phi[p, i, c] * u[c]
                for c in range(k):
                    if method == TDC:
                        total[c] += weight[i] * (phi[p, i, c] * error - decay[i] * phi[p, i + 1, c] * dot * dt[i])
                    else:
                        total[c] -= weight[i] * (decay[i] * phi[p, i + 1, c] - phi[p, i, c]) * dot
                if method == CGTD:
                    for c in range(k):
                        u[c] += a2 * (weight[i] * phi[p, i, c] * error - u[c] * dt[i])
                else:
                    for c in range(k):
                        u[c] += a2 * (weight[i] * phi[p, i, c] * error - phi[p, i, c] * dot * dt[i])
            if online:
                for c in range(k):
                    theta[c] += a * total[c]
                    total[c] = 0.0
        for c in range(k):
            theta[c] += a * total[c]
            history[e, c] = theta[c]


@compiled
def accumulate(phi: Any, psi: Any, reward: Any, dt: Any, decay: Any, weight: Any, trapezoid: bool, matrix: Any, vector: Any) -> None:
    """Add sum over paths and steps of w phi_i (phi_i - g phi_{i+1})' and of w phi_i (reward + g psi_{i+1} - psi_i)."""
    paths, nodes, k = phi.shape
    for p in range(paths):
        for i in range(nodes - 1):
            g = decay[i]
            gain = reward[p, i] * dt[i]
            if trapezoid:
                gain = 0.5 * dt[i] * (reward[p, i] + g * reward[p, i + 1])
            target = gain + g * psi[p, i + 1] - psi[p, i]
            for a in range(k):
                scaled = weight[i] * phi[p, i, a]
                vector[a] += scaled * target
                for b in range(k):
                    matrix[a, b] += scaled * (phi[p, i, b] - g * phi[p, i + 1, b])
