"""Returns of sampled episodes, with everything needed to sample them again.

`Returns` is what the sampling engine hands to the certificates: one number an episode and its provenance (which policy, which
environment, which noise, which stream).  Two sets of returns may be joined only when their provenance agrees.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._validate import require_integer_at_least, require_real

__all__ = ["NOISES", "PROTOCOLS", "Returns"]

PROTOCOLS = ("frames-noised-once", "frames-noised-per-copy")
"""How noise meets a stack of frames: drawn once for each new frame, or afresh for every copy in the stack."""

NOISES = ("gaussian", "grid")
"""`gaussian`: Box-Muller on 32-bit uniforms; `grid`: integer table noise, exact on a grid (policy_smoothing/G13)."""


@dataclass(frozen=True)
class Returns:
    """Episode returns under smoothing noise and where they come from.

    Parameters
    ----------
    values : float array, shape (n,)
        Total undiscounted reward of each episode, in the order of the episode numbers.
    policy : str
        Path or name of the policy.
    policy_sha256 : str
        SHA-256 of the policy file (or of the source of a callable); empty when unknown.
    env_id : str
        Gymnasium id of the environment.
    sigma : float or tuple of float
        Standard deviation of the noise: one number, or one for each coordinate of a single observation.
    frames : int
        Number of stacked frames that the policy sees.
    seed : int or None
        Key of the counter-based stream; None when the returns were not sampled by this library.
    protocol : str
        One of `PROTOCOLS`.
    max_steps : int or None
        Step limit of an episode (truncation is part of the return).
    first_episode : int
        Number of the first episode in the stream.
    engine : str
        `numba`, `numba-fast`, `torch-cpu`, `torch-cuda`, `gymnasium`, or `given`.
    dtype : str
        Floating type in which the policy was evaluated.
    noise : str
        One of `NOISES`.
    floor : float or None
        A lower bound of the return that also holds under attack, when the environment gives one.
    average : int
        Number m of noisy evaluations of the same observation that the policy averages at each step.
    grid : float or None
        Grid step in units of sigma (`grid` noise only).
    noise_tv : float
        Upper bound on the total variation, over one whole episode, between the noise drawn and its stated law (`grid` noise only;
        that Box-Muller output is Gaussian is an assumption that certificates name).
    normalisation_sha256 : str
        SHA-256 of the observation statistics that were applied; empty without normalisation.

    Raises
    ------
    ValueError
        If there is no return, a return is not finite, or a field is outside its range.

    Examples
    --------
    >>> returns = Returns([200.0, 180.0], env_id="CartPole-v0", sigma=0.2)
    >>> len(returns), returns.mean
    (2, 190.0)
    >>> Returns.from_json(returns.to_json()) == returns
    True
    """

    values: NDArray[np.float64]
    policy: str = ""
    policy_sha256: str = ""
    env_id: str = ""
    sigma: float | tuple[float, ...] = 1.0
    frames: int = 1
    seed: int | None = None
    protocol: str = "frames-noised-once"
    max_steps: int | None = None
    first_episode: int = 0
    engine: str = "given"
    dtype: str = "float64"
    noise: str = "gaussian"
    floor: float | None = None
    average: int = 1
    grid: float | None = None
    noise_tv: float = 0.0
    normalisation_sha256: str = ""

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"returns must be a non-empty vector, got shape {values.shape}")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(f"returns must be finite numbers, got {values[bad[0]]} at position {bad[0]}")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        sigma = self.sigma if isinstance(self.sigma, int | float) else tuple(float(s) for s in self.sigma)
        object.__setattr__(self, "sigma", float(sigma) if isinstance(sigma, int | float) else sigma)
        flat = (self.sigma,) if isinstance(self.sigma, float) else self.sigma
        if not flat or not all(math.isfinite(s) and s > 0 for s in flat):
            raise ValueError(f"sigma must be a positive finite number (or one for each coordinate), got {self.sigma}")
        for name in ("policy", "policy_sha256", "env_id", "engine", "dtype", "normalisation_sha256"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be text, got {getattr(self, name)!r}")
        for name, low in (("frames", 1), ("average", 1), ("first_episode", 0), ("seed", 0), ("max_steps", 1)):
            value = getattr(self, name)
            if value is None and name in ("seed", "max_steps"):
                continue
            object.__setattr__(self, name, require_integer_at_least(name, value, low))
        if not 0.0 <= require_real("noise_tv", self.noise_tv) <= 1.0:
            raise ValueError(f"noise_tv must be in [0, 1], got {self.noise_tv}")
        if self.grid is not None:
            require_real("grid", self.grid, above=0.0)
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {self.protocol!r}")
        if self.noise not in NOISES:
            raise ValueError(f"noise must be one of {', '.join(NOISES)}, got {self.noise!r}")
        if self.floor is not None and not self.floor <= values.min():
            raise ValueError(f"floor must not exceed an observed return ({values.min()}), got {self.floor}")

    def __len__(self) -> int:
        return int(self.values.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Returns):
            return NotImplemented
        return self.provenance == other.provenance and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.values.tobytes(), json.dumps(self.provenance)))

    @property
    def mean(self) -> float:
        """Average return without attack (an estimate, not a bound)."""
        return float(self.values.mean())

    @property
    def provenance(self) -> dict[str, Any]:
        """Every field but the values, as plain JSON values."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "values"}
        record["sigma"] = list(self.sigma) if isinstance(self.sigma, tuple) else self.sigma
        return record

    def joined(self, other: Returns) -> Returns:
        """Return these returns followed by `other`, which must continue the same stream.

        Parameters
        ----------
        other : Returns
            The next episodes of the same stream.

        Returns
        -------
        Returns
            Both together.

        Raises
        ------
        ValueError
            If the provenance differs or the episode numbers do not follow on.
        """
        expected = {**self.provenance, "first_episode": self.first_episode + len(self)}
        for name, value in other.provenance.items():
            if expected[name] != value:
                raise ValueError(f"returns with a different {name} cannot be joined: expected {expected[name]!r}, got {value!r}")
        return replace(self, values=np.concatenate([self.values, other.values]))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; floats survive unchanged (`from_json` is the inverse).

        Returns
        -------
        dict
            The fields by name.
        """
        return {"values": self.values.tolist(), **self.provenance}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Returns:
        """Build returns from what `to_json` wrote.

        Parameters
        ----------
        record : dict
            The fields by name; unknown names are refused.

        Returns
        -------
        Returns
            The same returns.

        Raises
        ------
        ValueError
            If `record` lacks the values, has unknown fields or wrong types.
        """
        if not isinstance(record, dict) or "values" not in record:
            raise ValueError("a record of returns must be an object with the field 'values'")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(record) - known)
        if unknown:
            raise ValueError(f"a record of returns has the unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
        try:
            given = dict(record)
            given["values"] = np.asarray(record["values"], dtype=np.float64)
            if isinstance(given.get("sigma"), list):
                given["sigma"] = tuple(float(s) for s in given["sigma"])
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"a record of returns has a field of the wrong type: {error}") from None
