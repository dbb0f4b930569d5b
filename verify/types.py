"""The values of a verification: estimates, claims, comparisons and their verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Basis", "Claim", "Comparison", "Estimate", "Instance", "Slack", "Verdict", "binomial_estimate"]

Value: TypeAlias = Any
"""An `int`, a `float`, a `Fraction`, or an array of floats."""


class Verdict(StrEnum):
    """What a comparison or a check says."""

    HOLDS = "holds"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    POWERLESS = "powerless"


class Basis(StrEnum):
    """How an estimate knows that the truth lies between its limits."""

    EXACT = "exact"
    ENCLOSED = "enclosed"
    FLOAT = "float"
    SAMPLED = "sampled"
    FITTED = "fitted"

    @classmethod
    def _missing_(cls, value: object) -> Basis:
        """Take a name in any case; refuse the rest with the names that there are."""
        for member in cls:
            if isinstance(value, str) and value.lower() == member.value:
                return member
        raise ValueError(f"basis must be one of {', '.join(cls)}; got {value!r}")


def _as_value(name: str, value: Any) -> Value:
    """Return `value` as a scalar number or a float array of its own; refuse NaN, nothing at all, and what is no number."""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (int, Fraction)):
        return value
    if isinstance(value, (float, np.floating, np.integer)):
        number = value.item() if isinstance(value, (np.floating, np.integer)) else value
        if math.isnan(number):
            raise ValueError(f"{name} must be a number, got nan")
        return number
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or an array of numbers, got {type(value).__name__}") from None
    if array.size == 0:  # a claim on no number would hold
        raise ValueError(f"{name} must hold at least one number, got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} must hold numbers, got nan at index {tuple(int(i) for i in np.argwhere(np.isnan(array))[0])}")
    if array.ndim == 0:
        return float(array)
    array.setflags(write=False)
    return array


def _number(name: str, value: Any) -> float:
    """Return `value` as a float; refuse what is no real number (NaN gets through, and every comparison refuses it)."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity and the limits between which it lies, except with probability `failure`.

    Parameters
    ----------
    value : number or array
        The best single value; scalars may be exact (`int`, `Fraction`).
    lower, upper : number or array
        Limits, of the shape of `value`; `value` itself when omitted.
    failure : float
        Probability that the truth lies outside, in [0, 1).
    basis : Basis
        How the limits are known.
    relimit : callable, optional
        For SAMPLED estimates: maps another failure probability to the limits at that level, so that a check can share its
        error probability among comparisons.

    Raises
    ------
    ValueError
        If a field is NaN, the limits do not enclose the value, shapes differ, or `failure` is outside [0, 1).

    Examples
    --------
    >>> Estimate(0.5, 0.4, 0.6, failure=0.05, basis=Basis.SAMPLED).upper
    0.6
    """

    value: Value
    lower: Value = None
    upper: Value = None
    failure: float = 0.0
    basis: Basis = Basis.FLOAT
    relimit: Callable[[float], tuple[Any, Any]] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("value", "lower", "upper"):
            given = getattr(self, name)
            object.__setattr__(self, name, _as_value(name, self.value if given is None else given))
        if not {np.shape(self.lower), np.shape(self.upper)} <= {np.shape(self.value)}:
            raise ValueError(f"lower and upper must have the shape of value, {np.shape(self.value)}")
        if np.any(self.lower > self.value) or np.any(self.value > self.upper):
            raise ValueError(f"lower <= value <= upper must hold, got {self.lower} <= {self.value} <= {self.upper}")
        if not 0.0 <= _number("failure", self.failure) < 1.0:
            raise ValueError(f"failure must be in [0, 1), got {self.failure}")
        object.__setattr__(self, "basis", Basis(self.basis))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Estimate):
            return NotImplemented
        same = (self.failure, self.basis) == (other.failure, other.basis)
        return same and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("value", "lower", "upper"))

    def __hash__(self) -> int:
        return hash((self.failure, self.basis, np.shape(self.value)))

    @property
    def fixed_failure(self) -> float:
        """Failure probability that cannot be moved to another level (0 for a fit, whose limits prove nothing)."""
        return 0.0 if self.relimit is not None or self.basis is Basis.FITTED else float(self.failure)

    @classmethod
    def exact(cls, value: Any) -> Estimate:
        """Return an estimate that is known exactly: rationals, integers, counted outcomes."""
        return cls(value, basis=Basis.EXACT)

    @classmethod
    def numeric(cls, value: ArrayLike, accuracy: float = 0.0) -> Estimate:
        """Return a floating-point result of stated absolute accuracy."""
        array = np.asarray(value, dtype=np.float64)
        return cls(array, array - accuracy, array + accuracy, basis=Basis.FLOAT)

    @classmethod
    def enclosed(cls, lower: ArrayLike, upper: ArrayLike) -> Estimate:
        """Return a result known to lie between outward-rounded limits."""
        low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        return cls(np.clip(0.5 * (low + high), low, high), low, high, basis=Basis.ENCLOSED)

    def at(self, failure: float) -> Estimate:
        """Return the same sample's estimate at another failure probability (itself when it spends none)."""
        if self.relimit is None:
            return self
        lower, upper = self.relimit(failure)
        low, high = np.minimum(lower, self.value), np.maximum(upper, self.value)
        return Estimate(self.value, low, high, failure=failure, basis=self.basis, relimit=self.relimit)


def binomial_estimate(successes: int, trials: int, *, failure: float = 0.01) -> Estimate:
    """Return the estimate of a probability from independent trials, with two-sided Clopper-Pearson limits.

    Parameters
    ----------
    successes, trials : int
        Counts, 0 <= successes <= trials and trials >= 1.
    failure : float
        Probability that the truth lies outside the limits, shared by the two sides.

    Returns
    -------
    Estimate
        SAMPLED, and able to move to another level.

    Raises
    ------
    ValueError
        If the counts are out of range.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must be between 0 and trials >= 1, got {successes} of {trials}")
    from scipy.special import betaincinv

    def limits(level: float) -> tuple[float, float]:
        tail = 0.5 * level
        low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail)) * (1 - 1e-9)
        high = 1.0 if successes == trials else min(1.0, float(betaincinv(successes + 1, trials - successes, 1 - tail)) * (1 + 1e-9))
        return low, high

    low, high = limits(failure)
    return Estimate(successes / trials, low, high, failure=failure, basis=Basis.SAMPLED, relimit=limits)


@dataclass(frozen=True, slots=True)
class Slack:
    """What a comparison forgives: `absolute + relative * |right|`; printed with the verdict."""

    absolute: float = 0.0
    relative: float = 0.0

    def __post_init__(self) -> None:
        for name in ("absolute", "relative"):
            if not 0.0 <= _number(f"{name} slack", getattr(self, name)) < math.inf:
                raise ValueError(f"{name} slack must be finite and not negative, got {getattr(self, name)}")

    def of(self, right: Value) -> Any:
        """Return the slack beside the value `right`."""
        if self.absolute == 0.0 and self.relative == 0.0:
            return 0
        if self.relative == 0.0:
            return self.absolute
        size = np.abs(right) if isinstance(right, np.ndarray) else abs(right)
        # beside an infinity nothing relative is forgiven, or every number would be equal to it
        scale = np.where(np.isinf(size), 0.0, size) if isinstance(size, np.ndarray) else 0 if size == math.inf else size
        return self.absolute + self.relative * scale


RELATIONS = ("<=", ">=", "==", "within")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a guarantee says of its two sides.

    Parameters
    ----------
    relation : str
        `"<="`, `">="`, `"=="`, or `"within"`: the left side lies inside the window that the limits of the right side span.
    slack : Slack or float
        Forgiven difference; a float is an absolute one.  None by default.
    quantifier : str
        `"all"`: the relation holds on every instance; `"exists"`: one instance is a witness.
    alternative : float, optional
        For sampled claims: a factor on the right side.  HOLDS then means that the relation is not rejected and that the left side
        is proved to be on the good side of `alternative` times the right side.

    Raises
    ------
    ValueError
        If the relation or quantifier is unknown, or the alternative would exclude nothing.
    """

    relation: str
    slack: Any = 0.0
    quantifier: str = "all"
    alternative: float | None = None

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"relation must be one of {', '.join(RELATIONS)}; got {self.relation!r}")
        quantifier = self.quantifier.lower() if isinstance(self.quantifier, str) else self.quantifier
        if quantifier not in ("all", "exists"):
            raise ValueError(f"quantifier must be 'all' or 'exists', got {self.quantifier!r}")
        object.__setattr__(self, "quantifier", quantifier)
        if not isinstance(self.slack, Slack):
            object.__setattr__(self, "slack", Slack(absolute=_number("slack", self.slack)))
        if self.alternative is not None:
            factor = _number("alternative", self.alternative)
            good = {"<=": 1.0 < factor < math.inf, ">=": 0.0 <= factor < 1.0}.get(self.relation, False)
            if not good:
                raise ValueError(
                    f"alternative must be finite and > 1 for '<=' and in [0, 1) for '>=', got {self.alternative} for {self.relation!r}"
                )

    def judge(self, left: Estimate, right: Estimate) -> Verdict:
        """Return the verdict on one pair of sides."""
        slack = self.slack.of(right.value)
        if self.relation == ">=":
            return self._one_sided(right.lower, right.upper, left.lower, left.upper, slack, left_is_bound=True)
        if self.relation == "<=":
            return self._one_sided(left.lower, left.upper, right.lower, right.upper, slack, left_is_bound=False)
        if self.relation == "==":
            gap_low = _gap(left.lower, right.upper), _gap(right.lower, left.upper)
            if _any(gap_low[0] > slack) or _any(gap_low[1] > slack):
                return Verdict.VIOLATED
            holds = _all(_gap(left.upper, right.lower) <= slack) and _all(_gap(right.upper, left.lower) <= slack)
            return Verdict.HOLDS if holds else Verdict.INCONCLUSIVE
        if _any(left.upper < right.lower - slack) or _any(left.lower > right.upper + slack):
            return Verdict.VIOLATED
        inside = _all(left.lower >= right.lower - slack) and _all(left.upper <= right.upper + slack)
        return Verdict.HOLDS if inside else Verdict.INCONCLUSIVE

    def _one_sided(self, low: Any, high: Any, bound_low: Any, bound_high: Any, slack: Any, *, left_is_bound: bool) -> Verdict:
        """Judge `quantity <= bound`; for `>=` the sides come swapped and the alternative multiplies the quantity."""
        if _any(_gap(low, bound_high) > slack):
            return Verdict.VIOLATED
        if self.alternative is None:
            return Verdict.HOLDS if _all(_gap(high, bound_low) <= slack) else Verdict.INCONCLUSIVE
        excluded = _all(self.alternative * high < bound_low) if left_is_bound else _all(high < self.alternative * bound_low)
        return Verdict.HOLDS if excluded else Verdict.INCONCLUSIVE


def _gap(a: Any, b: Any) -> Any:
    """Return a - b, with equal infinities at distance zero."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        with np.errstate(invalid="ignore"):
            difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
        return np.where(np.asarray(a) == np.asarray(b), 0.0, difference)
    return 0 if a == b else a - b


def _any(condition: Any) -> bool:
    return bool(np.any(condition))


def _all(condition: Any) -> bool:
    return bool(np.all(condition))


@dataclass(frozen=True, slots=True)
class Instance:
    """A named point of a check's instance space.

    `params` holds plain values only (numbers, strings, booleans, lists), so that an instance can be written to a file, replayed and
    varied by a search; the sides rebuild the model from it.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary with the keys `name` and `params`."""
        return {"name": self.name, "params": dict(self.params)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides of a claim on one instance.

    Parameters
    ----------
    instance : Instance or str
        Where the two sides were computed.
    left, right : Estimate
        The two sides.
    claim : Claim
        The relation between them.

    Raises
    ------
    ValueError
        If the sides are no estimates, the claim is none, or the shapes cannot be compared.
    """

    instance: Any
    left: Estimate
    right: Estimate
    claim: Claim

    def __post_init__(self) -> None:
        for name, wanted in (("left", Estimate), ("right", Estimate), ("claim", Claim)):
            if not isinstance(getattr(self, name), wanted):
                raise ValueError(f"{name} must be of type {wanted.__name__}, got {getattr(self, name)!r}")
        try:
            np.broadcast_shapes(np.shape(self.left.value), np.shape(self.right.value))
        except ValueError:
            shapes = np.shape(self.left.value), np.shape(self.right.value)
            raise ValueError(f"left and right must have shapes that can be compared, got {shapes[0]} and {shapes[1]}") from None

    @property
    def verdict(self) -> Verdict:
        """HOLDS, VIOLATED or INCONCLUSIVE."""
        return self.claim.judge(self.left, self.right)

    @property
    def sampled(self) -> bool:
        """Whether a side spends failure probability and can be moved to another level."""
        return self.left.relimit is not None or self.right.relimit is not None

    @property
    def fixed_failure(self) -> float:
        """Failure probability of the sides that cannot be moved to another level."""
        return self.left.fixed_failure + self.right.fixed_failure

    def at(self, failure: float) -> Comparison:
        """Return the comparison with its sampled sides moved so that together they fail with probability `failure`."""
        share = failure / (2 if self.left.relimit is not None and self.right.relimit is not None else 1)
        return Comparison(self.instance, self.left.at(share), self.right.at(share), self.claim)

    @property
    def pvalue(self) -> float | None:
        """The smallest failure probability at which the claim is rejected (1 if none), or None where nothing was sampled."""
        if not self.sampled:
            return None
        if self.at(1 - 1e-9).verdict is not Verdict.VIOLATED:
            return 1.0
        low, high = -300.0, 0.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            if self.at(10.0**middle * (1 - 1e-9)).verdict is Verdict.VIOLATED:
                high = middle
            else:
                low = middle
        return float(10.0**high)

    @property
    def tightness(self) -> float | None:
        """Largest achieved part of the bound in [0, 1]; None for identities, windows, and bounds that are not positive."""
        if self.claim.relation not in ("<=", ">="):
            return None
        small, big = (self.left.value, self.right.value) if self.claim.relation == "<=" else (self.right.value, self.left.value)
        a, b = np.broadcast_arrays(np.asarray(small, dtype=np.float64), np.asarray(big, dtype=np.float64))
        usable = (b > 0) & (a >= 0) & np.isfinite(b)
        return float(min(1.0, np.max(a[usable] / b[usable]))) if usable.any() else None

    @property
    def sensitivity(self) -> float | None:
        """The factor on the right side nearest to 1 beyond which this comparison rejects; None if no factor does."""
        left_low, left_high = (np.asarray(x, dtype=np.float64) for x in (self.left.lower, self.left.upper))
        right_low, right_high = (np.asarray(x, dtype=np.float64) for x in (self.right.lower, self.right.upper))
        slack = np.asarray(self.claim.slack.of(self.right.value), dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.claim.relation == "<=":
                ratio = np.where(right_high > 0, (left_low - slack) / right_high, np.nan)
                return _nearest(ratio, largest=True)
            if self.claim.relation == ">=":
                ratio = np.where(right_low > 0, (left_high + slack) / right_low, np.nan)
                return _nearest(ratio, largest=False)
            if self.claim.relation == "==":
                ratio = np.where(right_low > 0, (left_high + slack) / right_low, np.nan)
                return _nearest(ratio, largest=False)
        return None


def _nearest(ratio: NDArray[np.float64], *, largest: bool) -> float | None:
    usable = ratio[np.isfinite(ratio) & (ratio > 0)]
    if usable.size == 0:
        return None
    return float(usable.max() if largest else usable.min())
