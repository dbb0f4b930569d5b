"""Budget protocols: how an adversary's budget, the noise of stacked frames and rounding turn into the one number c.

Noise on an integer grid rounds the observation before the noise is added, so a perturbation that is no multiple of the grid can be worth up
to one grid step more in every coordinate of every step: returns sampled with it are charged for that rounding unless a protocol says otherwise.

Source: policy_smoothing, the table of protocols of G2, G7 and G13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_integer_at_least, require_real, require_vector
from theory.policy_smoothing import effective_budget, gaussian_shift_pair

__all__ = ["BUDGET_KINDS", "Protocol", "as_protocol", "noise_scale", "require_same_noise", "require_survival"]

FloatArray = NDArray[np.float64]

BUDGET_KINDS = ("total", "total-norms", "per-step", "per-step-prefix", "whitened")
"""What a budget bounds.

`total`: the l2 norm of all perturbations of the episode; `total-norms`: the sum of their norms; `per-step`: each norm; `per-step-prefix`:
each norm, for a return that counts surviving steps; `whitened`: the l2 norm of perturbation over noise scale, coordinate by coordinate.
"""

_EPS = float(np.finfo(np.float64).eps)

_DIVISION = 1.0 + 2.0**-20
"""Margin of a grid step for the rounding of observation over step, good for observations of up to 2^30 steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How the adversary pays and how the noise is drawn.

    Parameters
    ----------
    budget : str
        One of `BUDGET_KINDS`.
    steps : int, optional
        Longest episode; needed for `per-step` and for rounding (but not for the rounding of a prefix form).
    copies : int
        Largest number of independent noise draws that one frame gets: k when every frame in a stack of k gets fresh noise at each step, 1
        when the frame is noised once and then stacked.  A stack that starts as k copies of the first frame, each with noise of its own,
        shows that frame k (k + 1) / 2 times: that number then.
    samples : int
        Noisy evaluations of one observation that the policy averages at every step.
    rounding : float
        Grid on which observations are rounded after the attack, in units of observation; 0 for none.
    dimension : int, optional
        Coordinates of one observation; needed for rounding.
    noise_tv : float
        Total variation over one episode between the noise drawn and the Gaussian (or grid) law; subtracted twice.
    disagreement : float
        Upper limit of the probability that the deployed program earns another return than the sampled one in an episode without attack
        (see `compare_returns`, whose `alpha` adds to that of the certificate); subtracted from the clean probabilities only.

    Raises
    ------
    ValueError
        If a field is out of range or a needed one is missing.

    Source: policy_smoothing, G2, G7 and G13.

    Examples
    --------
    >>> Protocol(copies=4).shift([0.5], 1.0).round(6).tolist()
    [1.0]
    """

    budget: str = "total"
    steps: int | None = None
    copies: int = 1
    samples: int = 1
    rounding: float = 0.0
    dimension: int | None = None
    noise_tv: float = 0.0
    disagreement: float = 0.0

    def __post_init__(self) -> None:
        require_choice("protocol budget", self.budget, BUDGET_KINDS)
        for name in ("copies", "samples"):
            require_integer_at_least(f"protocol {name}", getattr(self, name), 1)
        for name in ("steps", "dimension"):
            if getattr(self, name) is not None:
                require_integer_at_least(f"protocol {name}", getattr(self, name), 1)
        for name, limit in (("rounding", math.inf), ("noise_tv", 1.0), ("disagreement", 1.0)):
            if not 0.0 <= require_real(f"protocol {name}", getattr(self, name)) <= limit:
                raise ValueError(f"protocol {name} must be in [0, {limit:g}], got {getattr(self, name)}")
        if self.budget == "per-step" and self.steps is None:
            raise ValueError("protocol steps must be given for the budget 'per-step', got None")
        if self.rounding > 0 and (self.dimension is None or (self.steps is None and self.budget != "per-step-prefix")):
            raise ValueError(f"protocol steps and dimension must be given with rounding, got {self.steps} and {self.dimension}")

    def shift(self, budgets: ArrayLike, sigma: float | tuple[float, ...]) -> FloatArray:
        """Return c for every budget, rounded up; for the prefix form, c of a single step.

        Parameters
        ----------
        budgets : array of shape (m,)
            Budgets, not negative.
        sigma : float or tuple of float
            Noise scale, or one for each coordinate: the smallest one counts, unless the budget is `whitened`.

        Returns
        -------
        array of shape (m,)
            Effective budget over noise scale.
        """
        amount = np.asarray(budgets, dtype=np.float64)
        kind = {"total-norms": "total-norms", "per-step": "per-step"}.get(self.budget, "total")
        smallest = noise_scale(sigma)
        # A whitened budget counts in noise scales, so the rounding does too: no coordinate has more of them than the one with the smallest.
        scale, rounding = (1.0, self.rounding / smallest) if self.budget == "whitened" else (smallest, self.rounding)
        steps = 1 if self.budget == "per-step-prefix" else self.steps
        total = effective_budget(
            amount, kind=kind, steps=steps, copies=self.copies, samples=self.samples, rounding=rounding, dimension=self.dimension
        )
        c = np.asarray(total / scale, dtype=np.float64)
        return np.where(amount > 0.0, c * (1.0 + 8.0 * _EPS), 0.0)  # without an attack there is nothing to round to another value

    def spread(self, thresholds: FloatArray) -> FloatArray | None:
        """Return the factor sqrt(i) of c for each threshold in the prefix form (None otherwise).

        Reaching a return of s in (i, i + 1] takes survival of i steps, which i noise vectors decide.
        """
        if self.budget != "per-step-prefix":
            return None
        seen = np.maximum(np.ceil(thresholds) - 1.0, 0.0)
        return np.sqrt(seen if self.steps is None else np.minimum(seen, self.steps)) * (1.0 + _EPS)

    def loss(self, shift: float) -> float:
        """Return by how much `noise_tv` lowers a kept probability at most, whatever the clean probability: 1 - g_c(1 - tv) + tv."""
        if self.noise_tv == 0.0:
            return 0.0
        miss = float(gaussian_shift_pair(1.0 - self.noise_tv, self.noise_tv, shift)[1])
        return min((miss + self.noise_tv) * (1.0 + 1e-9), 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def sentences(self) -> tuple[str, ...]:
        """Return what the protocol assumes, one sentence each, for a reader of the certificate."""
        what = {
            "total": "The l2 norm of all perturbations of an episode together is at most the budget.",
            "total-norms": "The norms of the perturbations of an episode add up to at most the budget.",
            "per-step": f"Every single perturbation has l2 norm at most the budget, over at most {self.steps} steps.",
            "per-step-prefix": "Every single perturbation has l2 norm at most the budget, and the return counts the steps survived.",
            "whitened": "The l2 norm of all perturbations, each coordinate divided by its noise scale, is at most the budget.",
        }
        noise = "Each frame gets one noise vector" if self.copies == 1 else f"Each frame gets {self.copies} independent noise vectors, one a copy"
        parts = [what[self.budget], f"{noise}, and the policy looks at {self.samples} noisy evaluation(s) a step."]
        if self.rounding > 0:
            parts.append(f"Observations are rounded to a grid of {self.rounding:g} after the attack, which is charged to the budget.")
        if self.noise_tv > 0:
            parts.append(f"The noise drawn differs from its stated law by at most {self.noise_tv:.3g} in total variation over an episode.")
        if self.disagreement > 0:
            parts.append(f"The deployed program earns another return than the sampled one in at most a share {self.disagreement:.3g} of episodes without attack.")
        return tuple(parts)


def as_protocol(value: Protocol | str | Mapping[str, Any] | None, returns: Any = None) -> Protocol:
    """Return the protocol that an argument names; None takes it from the provenance of the returns.

    Raises
    ------
    ValueError
        If the argument is unknown, or weaker than what the returns were sampled with.
    """
    needed = _sampled_with(returns)
    if value is None:
        return needed
    if isinstance(value, str):
        require_choice("protocol", value, BUDGET_KINDS)
        given = replace(needed, budget=value, steps=getattr(returns, "max_steps", None))
    elif isinstance(value, Mapping):
        try:
            given = Protocol(**value)
        except TypeError:
            raise ValueError(f"protocol must have the fields {', '.join(asdict(needed))}; got {', '.join(map(str, value))}") from None
    elif isinstance(value, Protocol):
        given = value
    else:
        raise ValueError(f"protocol must be one of {', '.join(BUDGET_KINDS)} or a Protocol, got {type(value).__name__}")
    for name in ("copies", "samples", "noise_tv"):
        if getattr(given, name) < getattr(needed, name):
            raise ValueError(
                f"protocol {name} must be at least {getattr(needed, name)}, as the returns were sampled with it; got {getattr(given, name)}"
            )
    return given


def _sampled_with(returns: Any) -> Protocol:
    """Return the protocol that the provenance of returns implies (the plain one for an array)."""
    per_copy = getattr(returns, "protocol", "") == "frames-noised-per-copy"
    plain = Protocol(
        copies=int(returns.frames) if per_copy else 1,
        samples=int(getattr(returns, "average", 1)),
        noise_tv=float(getattr(returns, "noise_tv", 0.0)),
    )
    if getattr(returns, "noise", "gaussian") != "grid":
        return plain
    from certify.smoothing._environments import describe

    if not returns.grid or returns.max_steps is None:
        raise ValueError("returns with grid noise must say their grid and max_steps, got one without")
    step = float(returns.grid) * noise_scale(returns.sigma) * _DIVISION
    return replace(plain, rounding=step, steps=int(returns.max_steps), dimension=describe(returns.env_id).size)


def require_same_noise(returns: Any, sigma: float | tuple[float, ...], rule: Protocol, shift: FloatArray) -> None:
    """Refuse a noise scale that the returns were not sampled with, and shifts beyond the range of their noise generator.

    Raises
    ------
    ValueError
        If the scale differs or a shift is out of range.
    """
    if returns.engine == "given":
        return
    if returns.sigma != sigma:
        raise ValueError(f"sigma must be that of the returns, {returns.sigma}, got {sigma}")
    from certify.smoothing.sampling import noise_limit

    limit = noise_limit(returns.noise)
    largest = float(shift.max()) * (math.sqrt(rule.steps or returns.max_steps or 1) if rule.budget == "per-step-prefix" else 1.0)
    if largest > limit:
        raise ValueError(f"budgets must stay below {limit:.6g} noise scales, beyond which the noise generator draws nothing; got {largest:.6g}")


def require_survival(rule: Protocol, returns: FloatArray, max_steps: int | None = None) -> None:
    """Refuse the prefix form for returns that cannot be numbers of steps survived: for others it certifies what is false.

    Raises
    ------
    ValueError
        If a return is negative, no whole number, or larger than the number of steps.
    """
    if rule.budget != "per-step-prefix":
        return
    longest = min([float(steps) for steps in (rule.steps, max_steps) if isinstance(steps, int)], default=math.inf)
    bad = np.flatnonzero((returns < 0.0) | (returns != np.floor(returns)) | (returns > longest))
    if bad.size:
        raise ValueError(
            f"protocol 'per-step-prefix' must be used with returns that count the steps survived, from 0 to {longest:g}; got a return of {returns[bad[0]]:g}"
        )


def noise_scale(sigma: Any) -> float:
    """Return the smallest noise scale; refuse one that is not positive and finite."""
    scales = require_vector("sigma", sigma)
    if scales.min() <= 0.0:
        raise ValueError(f"sigma must be > 0, got {scales.min()}")
    return float(scales.min())
