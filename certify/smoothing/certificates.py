"""Reward certificates: from the returns of clean noisy episodes to a lower bound of the mean return under attack.

A certificate carries everything that its numbers were computed from, writes itself to JSON and can be computed again.  Every step rounds
down: the confidence limits, the Gaussian shift, and the sum.

The JSON is an object with `schema` ("lemmata.reward-certificate/1"), the arrays `budgets` and `lower` (certified mean return for each
budget), and the other fields of `RewardCertificate` by their names; `recompute` needs `returns` and the settings only.

Source: policy_smoothing, G4, G5, G7 and G8.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._files import write_atomically
from certify._validate import require_choice, require_numbers, require_open_unit, require_real, require_sorted, require_vector
from certify.smoothing.bands import BANDS, survival_band
from certify.smoothing.protocols import Protocol, as_protocol, noise_scale, require_same_noise, require_survival
from theory.policy_smoothing import gaussian_shift, gaussian_shift_lower, success_radius

if TYPE_CHECKING:
    from certify.smoothing.returns import Returns

__all__ = ["SCHEMA", "RewardCertificate", "certified_budget", "certified_radius", "certified_threshold", "certify_curve"]

FloatArray = NDArray[np.float64]

SCHEMA = "lemmata.reward-certificate/1"
"""Name and version of the JSON form."""

_EPS = float(np.finfo(np.float64).eps)
_STORED = ("sigma", "alpha", "floor", "band", "level", "clean_mean", "episodes", "observed_thresholds", "sound")
_ARRAYS = ("budgets", "lower", "value", "thresholds", "counts", "survival_lower", "survival_miss", "returns")
_LIKE = {"lower": "budgets", "value": "budgets", "counts": "thresholds", "survival_lower": "thresholds", "survival_miss": "thresholds"}


@dataclass(frozen=True, slots=True, eq=False)
class RewardCertificate:
    """Lower bounds of the mean return under attack, one for each budget, and what they were computed from.

    Parameters
    ----------
    budgets : array of shape (m,)
        Budgets of the adversary, in units of observation.
    lower : array of shape (m,)
        Certified mean return; all of them hold together with probability 1 - alpha.
    value : array of shape (m,)
        The same formula at the observed frequencies: an estimate of the bound, certified by nothing.
    clean_mean : float
        Sample mean without attack, certified by nothing.
    sigma : float or tuple of float
        Noise scale.
    alpha : float
        Failure probability.
    floor : float
        Lower limit of the return under attack.
    band, level : str, float
        Confidence band and what each of its limits spends.
    protocol : Protocol
        How the adversary pays and how the noise is drawn.
    thresholds, counts, survival_lower, survival_miss : arrays of shape (K,)
        Thresholds, episodes that reach them, lower limits of the probabilities, upper limits of their complements.
    observed_thresholds : bool
        Whether the thresholds are the observed returns (then K = n counts) or were fixed in advance.
    returns : array of shape (n,)
        The returns, in the order of the episodes.
    provenance : mapping or None
        Where the returns come from.
    sound : bool
        False for the band `plugin`, which is no certificate.
    """

    budgets: FloatArray
    lower: FloatArray
    value: FloatArray
    clean_mean: float
    sigma: float | tuple[float, ...]
    alpha: float
    floor: float
    band: str
    level: float
    protocol: Protocol
    thresholds: FloatArray
    counts: NDArray[np.int64]
    survival_lower: FloatArray
    survival_miss: FloatArray
    observed_thresholds: bool
    returns: FloatArray
    provenance: Mapping[str, Any] | None
    sound: bool

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return int(self.returns.size)

    @property
    def upper(self) -> FloatArray:
        """Nothing is claimed from above."""
        return np.full(self.budgets.shape, np.inf)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the certificate rests on, one sentence each."""
        scale = "per-coordinate" if isinstance(self.sigma, tuple) else f"{self.sigma:g}"
        whole = (self.provenance or {}).get("noise") == "grid" and self.protocol.rounding == 0.0
        on_grid = ("Attacks move observations by whole steps of the noise grid.",) if whole else ()
        drawn = f"The {self.episodes} episodes are independent, their number was fixed in advance, and none was left out."
        known = (self.provenance or {}).get("floor")
        beyond = f", although the environment alone guarantees {known:g} only" if known is not None and known < self.floor else ""
        return (
            f"Gaussian noise of scale {scale} is drawn afresh at every step, after the perturbation of that step and unseen by the adversary.",
            "Only observations are attacked: dynamics, rewards and executed actions are not.",
            *self.protocol.sentences(),
            *on_grid,
            f"The return is at least {self.floor:g} under attack too{beyond}.",
            *(() if self.observed_thresholds else ("The thresholds were fixed before the data.",)),
            "The deployed policy, noise and environment are those that were sampled.",
            drawn if self.sound else "None: observed frequencies in place of confidence limits. This is no certificate.",
        )

    def evaluate(self, budgets: ArrayLike) -> FloatArray:
        """Return the certified mean return at other budgets; the same band covers them all.

        Raises
        ------
        ValueError
            If a budget is negative, not finite, or beyond what the noise generator gives a meaning to.
        """
        c = self.protocol.shift(require_vector("budgets", budgets, minimum=0.0), self.sigma)
        given = _given(self)
        if given is not None:
            require_same_noise(given, self.sigma, self.protocol, c)
        return _curve(self, c, rounded=True)

    def recompute(self) -> RewardCertificate:
        """Return the certificate computed again from the stored returns and settings, which must fit their provenance.

        Raises
        ------
        ValueError
            If a setting is out of range or contradicts what the returns were sampled with.
        """
        given = _given(self)
        return certify_curve(
            self.returns if given is None else given, sigma=self.sigma, budgets=self.budgets, alpha=self.alpha, floor=self.floor,
            thresholds=None if self.observed_thresholds else self.thresholds, band=self.band, protocol=self.protocol,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of plain JSON values; floats survive unchanged."""
        record: dict[str, Any] = {"schema": SCHEMA, "budgets": self.budgets.tolist(), "lower": self.lower.tolist()}
        record |= {name: getattr(self, name) for name in _STORED}
        record["sigma"] = list(self.sigma) if isinstance(self.sigma, tuple) else self.sigma
        record["level"] = None if math.isnan(self.level) else self.level
        record["protocol"] = self.protocol.to_json()
        record["assumptions"] = list(self.assumptions)
        record |= {name: getattr(self, name).tolist() for name in _ARRAYS if name not in record}
        record["provenance"] = None if self.provenance is None else dict(self.provenance)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RewardCertificate:
        """Return the certificate that `to_json` wrote; its numbers are taken as they stand (`recompute` tests them).

        Raises
        ------
        ValueError
            If the record has another schema, lacks a field, or holds something else than numbers.
        """
        if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
            found = record.get("schema") if isinstance(record, Mapping) else type(record).__name__
            raise ValueError(f"certificate must have the schema {SCHEMA!r}, got {found!r}")
        missing = [name for name in (*_STORED, *_ARRAYS, "protocol") if name not in record]
        if missing:
            raise ValueError(f"certificate must have the field {missing[0]!r}, which is absent")
        arrays = {name: require_vector(f"certificate {name}", record[name]) for name in _ARRAYS}
        for name, model in _LIKE.items():
            if arrays[name].size != arrays[model].size:
                raise ValueError(f"certificate {name} must be as many as {model}, {arrays[model].size}, got {arrays[name].size}")
        for name in ("observed_thresholds", "sound"):
            if not isinstance(record[name], bool):
                raise ValueError(f"certificate {name} must be true or false, got {record[name]!r}")
        sigma = record["sigma"]
        provenance = record.get("provenance")
        if not (provenance is None or isinstance(provenance, Mapping)):
            raise ValueError(f"certificate provenance must be an object or null, got {type(provenance).__name__}")
        noise_scale(sigma)
        return cls(
            **{**arrays, "counts": arrays["counts"].astype(np.int64)},  # type: ignore[arg-type]
            clean_mean=require_real("certificate clean_mean", record["clean_mean"]),
            sigma=tuple(float(s) for s in sigma) if isinstance(sigma, list | tuple) else float(sigma),
            alpha=require_real("certificate alpha", record["alpha"]),
            floor=require_real("certificate floor", record["floor"]),
            band=_chosen_band(record["band"]),
            level=math.nan if record["level"] is None else require_real("certificate level", record["level"]),
            protocol=as_protocol(record["protocol"]),
            observed_thresholds=record["observed_thresholds"],
            provenance=provenance,
            sound=record["sound"],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON form; the file appears complete or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_atomically(Path(path), json.dumps(self.to_json(), allow_nan=False) + "\n")


def certify_curve(
    returns: ArrayLike | Returns,
    *,
    sigma: float | ArrayLike,
    budgets: ArrayLike,
    alpha: float = 0.05,
    floor: float = 0.0,
    thresholds: ArrayLike | None = None,
    band: str = "equal-local-level",
    protocol: Protocol | str | Mapping[str, Any] | None = None,
) -> RewardCertificate:
    """Certify the mean return under attack for every budget at once.

    Parameters
    ----------
    returns : array of shape (n,) or Returns
        Returns of n independent episodes with the smoothing noise and without attack, n fixed in advance.
    sigma : float or array
        Noise scale, or one for each coordinate of an observation.
    budgets : array of shape (m,)
        Budgets of the adversary, in units of observation, not negative; what they bound says `protocol`.
    alpha : float
        Failure probability of all bounds together.
    floor : float
        A lower limit of the return that holds under attack too.  Never the smallest return seen.
    thresholds : array of shape (K,), optional
        Thresholds fixed before the data, increasing and not below the floor; None takes the observed values, with K = n.
    band : str
        `"equal-local-level"` (exact, any number of thresholds), `"clopper-pearson"` (union bound), `"dkw"`, `"dkw-one-sided"`, or
        `"plugin"`: the observed frequencies, no certificate.
    protocol : Protocol or str, optional
        How the adversary pays and how noise is drawn; a total l2 budget with frames noised once by default, or what `Returns` says.

    Returns
    -------
    RewardCertificate
        The curve and everything it was computed from.

    Raises
    ------
    ValueError
        If an argument is out of range; the message names it, its value and what is allowed.

    Source: policy_smoothing, G5 and G8.

    Examples
    --------
    >>> import numpy as np
    >>> certificate = certify_curve(np.r_[np.ones(9712), np.zeros(288)], sigma=0.2, budgets=[0.0, 0.2], thresholds=[1.0],
    ...                             band="clopper-pearson")
    >>> certificate.lower.round(6).tolist()
    [0.968295, 0.804086]
    """
    sampled = hasattr(returns, "values") and hasattr(returns, "provenance")
    values = require_vector("returns", returns.values if sampled else returns)  # type: ignore[union-attr]
    noise_scale(sigma)
    scale = float(sigma) if np.ndim(sigma) == 0 else tuple(float(s) for s in np.asarray(sigma))  # type: ignore[arg-type]
    amount = require_vector("budgets", budgets, minimum=0.0)
    rule = as_protocol(protocol, returns if sampled else None)
    provenance = returns.provenance if sampled else None  # type: ignore[union-attr]
    if sampled:
        require_same_noise(returns, scale, rule, rule.shift(amount, scale))
    fixed = None if thresholds is None else require_sorted("thresholds", thresholds)
    return _certify(values, scale, amount, alpha, require_real("floor", floor), fixed, _chosen_band(band), rule, provenance)


def certified_radius(p_lower: ArrayLike, q: float, *, sigma: float) -> Any:
    """Return the largest budget that keeps a probability of at least `p_lower` at or above q, rounded down.

    Parameters
    ----------
    p_lower : array
        Lower confidence limit of a clean probability.
    q : float
        Probability to keep, in (0, 1).
    sigma : float
        Noise scale; the radius has its unit.

    Returns
    -------
    float or array
        sigma (Phi^-1(p_lower) - Phi^-1(q)); negative where nothing is certified, not even without attack.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G4.

    Examples
    --------
    >>> round(certified_radius(0.9, 0.5, sigma=1.0), 6)
    1.281552
    """
    p = require_numbers("p_lower", p_lower)
    if np.any((p < 0.0) | (p > 1.0)):
        raise ValueError(f"p_lower must be in [0, 1], got {p[(p < 0.0) | (p > 1.0)].ravel()[0]}")
    radius = np.asarray(success_radius(p, q, sigma=sigma))
    slack = 16.0 * _EPS * (np.abs(np.where(np.isfinite(radius), radius, 0.0)) + 40.0 * sigma * (radius != 0.0))
    down = radius - slack
    return float(down) if down.ndim == 0 else down


def certified_threshold(certificate: RewardCertificate, q: float, *, budget: float) -> float:
    """Return the largest threshold that the return reaches with probability at least q under attack.

    Parameters
    ----------
    certificate : RewardCertificate
        Its band holds for all thresholds at once.
    q : float
        Probability in (0, 1).
    budget : float
        Budget of the adversary.

    Returns
    -------
    float
        A threshold of the certificate, or its floor where no other is certified.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G4.

    Examples
    --------
    >>> certificate = certify_curve([10.0] * 1000, sigma=1.0, budgets=[0.0])
    >>> certified_threshold(certificate, 0.9, budget=1.0)
    10.0
    """
    require_open_unit("q", q)
    certificate.evaluate(budget)  # refuses a budget out of range
    c = certificate.protocol.shift(require_vector("budget", budget), certificate.sigma)[0]
    kept = _kept(certificate, c, rounded=True) >= q
    return float(certificate.thresholds[kept].max(initial=certificate.floor))


def certified_budget(certificate: RewardCertificate, target: float) -> float | None:
    """Return a budget up to which the certified mean return is at least the target (None if not even without attack).

    Parameters
    ----------
    certificate : RewardCertificate
        Its band holds for all budgets at once.
    target : float
        Mean return to keep.

    Returns
    -------
    float or None
        The largest such budget, to 12 digits and rounded down, among those that the noise generator gives a meaning to; infinite if
        no budget reaches the target.

    Raises
    ------
    ValueError
        If the target is not finite.

    Source: policy_smoothing, G5.

    Examples
    --------
    >>> certificate = certify_curve([10.0] * 1000, sigma=1.0, budgets=[0.0])
    >>> round(certified_budget(certificate, 5.0), 4)
    2.4735
    """
    goal = require_real("target", target)
    if goal <= certificate.floor:
        return math.inf
    if certificate.evaluate([0.0])[0] < goal:
        return None
    largest = 1e6 * noise_scale(certificate.sigma)  # nothing but a frequency of 1 or the first step of the prefix form outlasts it
    given = _given(certificate)

    def keeps(budget: float) -> bool:
        c = certificate.protocol.shift(np.array([budget]), certificate.sigma)
        try:
            if given is not None:
                require_same_noise(given, certificate.sigma, certificate.protocol, c)
        except ValueError:
            return False
        return bool(_curve(certificate, c, rounded=True)[0] >= goal)

    if keeps(largest):
        return math.inf
    low, high = 0.0, largest
    while high - low > 1e-12 * high and high > 1e-30 * largest:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low


def _certify(
    returns: FloatArray,
    sigma: float | tuple[float, ...],
    budgets: FloatArray,
    alpha: float,
    floor: float,
    thresholds: FloatArray | None,
    band: str,
    protocol: Protocol,
    provenance: Mapping[str, Any] | None,
) -> RewardCertificate:
    """Build the certificate from validated arguments."""
    require_open_unit("alpha", alpha)
    if returns.min() < floor:
        raise ValueError(f"floor must not be above an observed return ({returns.min():g}), got {floor:g}")
    if thresholds is not None and thresholds[0] < floor:
        raise ValueError(f"thresholds must be at least floor = {floor:g}, got {thresholds[0]:g}")
    require_survival(protocol, returns, None if provenance is None else provenance.get("max_steps"))
    n = returns.size
    ordered = np.sort(returns)
    with np.errstate(over="ignore", invalid="ignore"):
        span = float(np.sum(ordered - floor)) + (0.0 if thresholds is None else float(thresholds[-1] - floor))
    if not math.isfinite(span):
        raise ValueError(f"returns must add up to a finite number above floor, got values up to {ordered[-1]:g} above {floor:g}")
    levels = np.unique(ordered) if thresholds is None else thresholds
    counts = n - np.searchsorted(ordered, levels, side="left")
    limits = survival_band(counts, n, alpha=alpha, band=band, thresholds=n if thresholds is None else levels.size)
    shell = RewardCertificate(
        budgets=budgets, lower=np.empty(0), value=np.empty(0), clean_mean=float(np.mean(returns)), sigma=sigma, alpha=float(alpha), floor=floor,
        band=band, level=limits.level, protocol=protocol, thresholds=levels, counts=counts, survival_lower=limits.lower,
        survival_miss=limits.miss, observed_thresholds=thresholds is None, returns=returns, provenance=provenance, sound=band != "plugin",
    )  # fmt: skip
    c = protocol.shift(budgets, sigma)
    object.__setattr__(shell, "lower", _curve(shell, c, rounded=shell.sound))
    object.__setattr__(shell, "value", _curve(shell, c, rounded=False))
    return shell


def _curve(certificate: RewardCertificate, c: FloatArray, *, rounded: bool) -> FloatArray:
    """Return floor + sum of widths times kept probabilities for every shift; rounded down, or at the observed frequencies."""
    floor = certificate.floor
    widths = np.diff(certificate.thresholds, prepend=floor)
    curve = np.empty(c.size)
    for i, shift in enumerate(c):
        gain = float(np.add.reduce(widths * _kept(certificate, shift, rounded=rounded)))
        slack = 64.0 * _EPS * (abs(floor) + gain) if rounded and gain > 0.0 else 0.0
        curve[i] = max(floor + gain - slack, floor)
    return curve


def _kept(certificate: RewardCertificate, c: float, *, rounded: bool) -> FloatArray:
    """Return the probabilities of reaching each threshold under attack: lower limits, or at the observed frequencies."""
    spread = certificate.protocol.spread(certificate.thresholds)
    shift = c if spread is None else c * spread
    loss, apart = certificate.protocol.noise_tv, certificate.protocol.disagreement
    if not rounded:
        n = certificate.returns.size
        frequency, absence = certificate.counts / n, (n - certificate.counts) / n
        return np.asarray(gaussian_shift(frequency, shift, complement=absence))
    lower, miss = certificate.survival_lower, certificate.survival_miss
    if loss + apart > 0.0:
        less = (loss + apart) * (1.0 + 2.0 * _EPS)
        lower, miss = np.maximum(np.nextafter(lower - less, -1.0), 0.0), np.minimum(np.nextafter(miss + less, 2.0), 1.0)
    kept = np.asarray(gaussian_shift_lower(lower, shift, complement=miss))
    return np.maximum(np.nextafter(kept - loss, -1.0), 0.0) if loss > 0.0 else kept


def _given(certificate: RewardCertificate) -> Returns | None:
    """Return the returns with their provenance, or None for plain numbers."""
    from certify.smoothing.returns import Returns

    return None if certificate.provenance is None else Returns.from_json({**certificate.provenance, "values": certificate.returns})


def _chosen_band(band: Any) -> str:
    require_choice("band", band, BANDS)
    return str(band)
