"""What an offline learner returns."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._files import write_atomically

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OfflineWarning:
    """Something about the data or the settings that makes the estimate optimistic or empty.

    `kind` is "unvisited-factor" (a coordinate never visited at a step), "optimistic-kl" (its uncentred KL estimate is the greatest value),
    "observed-minimum" (the least value was taken over the data only) or "protocol" (a published variant that is not the paper's).
    """

    kind: str
    step: int | None
    coordinates: tuple[int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class OfflineResult:
    """A policy learned from data and what is certified of it.

    Attributes
    ----------
    policy : int array (H, n)
        Greedy action of each state at each step (n = S, or the distinct first states of the data for continuous states).
    value, action_value : array (H, n), (H, n, A)
        Pessimistic estimate of the robust value.
    lower : array (n,)
        Certified lower bound on the robust value of `policy` from step 1.
    upper : array (n,)
        Certified upper bound on the best robust value.
    suboptimality_bound : array (n,)
        `upper - lower`: bounds what the policy loses to the best robust one.
    alpha : float
        Failure probability of the three, jointly over all states; 0 when they are the trivial bounds of a numeric `beta`.
    beta : array (H,)
        Coefficient of the pessimism at each step.
    bonus : array (H, d)
        Pessimism per unit of each coordinate.
    weights : array (H, d)
        Regressed worst cases w; the action value is <phi, theta + w> less the pessimism, clipped.
    deviation : array (H, d)
        sqrt of the diagonal of Lambda^-1.
    assumptions : tuple of str
        What the certificate rests on.
    warnings : tuple of OfflineWarning
        What makes the estimate optimistic or empty.
    settings : dict
        Method, divergence, price, ridge, delta and so on, with the SHA-256 of the data.
    """

    policy: NDArray[np.int64]
    value: FloatArray
    action_value: FloatArray
    lower: FloatArray
    upper: FloatArray
    suboptimality_bound: FloatArray
    alpha: float
    beta: FloatArray
    bonus: FloatArray
    weights: FloatArray
    deviation: FloatArray
    assumptions: tuple[str, ...]
    warnings: tuple[OfflineWarning, ...]
    settings: dict[str, Any]

    @property
    def certified(self) -> bool:
        """Whether the bounds say more than the range of the rewards."""
        return self.alpha > 0.0

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; an infinite coefficient becomes the word "inf"."""
        names = ("policy", "value", "lower", "upper", "suboptimality_bound", "bonus", "weights", "deviation")
        plain: dict[str, Any] = {name: getattr(self, name).tolist() for name in names}
        plain["beta"] = [float(b) if np.isfinite(b) else "inf" for b in self.beta]
        return plain | {
            "alpha": self.alpha, "certified": self.certified, "assumptions": list(self.assumptions), "settings": self.settings,
            "warnings": [{"kind": w.kind, "step": w.step, "coordinates": list(w.coordinates), "message": w.message} for w in self.warnings],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as JSON, whole or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_atomically(Path(path), json.dumps(self.to_json(), allow_nan=False))
