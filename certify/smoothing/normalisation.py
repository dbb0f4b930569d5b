"""Statistics of a wrapper that normalises observations; save files of policies do not contain them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Normalisation", "load_normalisation"]


@dataclass(frozen=True)
class Normalisation:
    """Maps a (noised) observation x to clip((x - mean) / sqrt(variance + epsilon), -clip, clip).

    Parameters
    ----------
    mean, variance : float array, shape (d,)
        One entry for each coordinate of a frame, or of the whole stack.
    epsilon : float
        Added to the variance.
    clip : float
        Largest absolute value passed on.

    Raises
    ------
    ValueError
        If shapes differ, a number is not finite, or a variance plus epsilon is not positive.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    epsilon: float = 1e-8
    clip: float = 10.0

    def __post_init__(self) -> None:
        mean, variance = np.asarray(self.mean, np.float64).ravel(), np.asarray(self.variance, np.float64).ravel()
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "variance", variance)
        if mean.shape != variance.shape or not mean.size:
            raise ValueError(f"normalisation needs mean and variance of one length, got {mean.size} and {variance.size}")
        if not (np.isfinite(mean).all() and np.isfinite(variance).all() and np.all(variance + self.epsilon > 0) and self.clip > 0):
            raise ValueError("normalisation must have finite means, variances >= 0, epsilon > 0 and clip > 0")

    @property
    def sha256(self) -> str:
        """Hash of the numbers."""
        return hashlib.sha256(np.concatenate([self.mean, self.variance, [self.epsilon, self.clip]]).tobytes()).hexdigest()


def load_normalisation(path: str | Path) -> Normalisation:
    """Read statistics from JSON with the fields `mean`, `variance`, and optionally `epsilon` and `clip`.

    From Stable-Baselines3: `json.dump({"mean": v.obs_rms.mean.tolist(), "variance": v.obs_rms.var.tolist(), "epsilon": v.epsilon,
    "clip": v.clip_obs}, file)` for a `VecNormalize` v (its own save file is a pickle, which is not opened).

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Normalisation
        The statistics.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such JSON.
    """
    file = Path(path)
    if file.stat().st_size > 1 << 22:
        raise ValueError(f"normalisation file {file.name} has {file.stat().st_size} bytes; at most {1 << 22} are allowed")
    try:
        record = json.loads(file.read_bytes())
        if not isinstance(record, dict) or not {"mean", "variance"} <= set(record) <= {"mean", "variance", "epsilon", "clip"}:
            raise ValueError("the fields must be mean, variance, epsilon, clip")
        return Normalisation(**record)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"normalisation file {file.name} must be JSON with mean and variance (not a pickle): {str(error)[:120]}") from None
