"""The smallest expectation over a set of distributions around a nominal one.

    worst_case(z, q) = min { p.z : D(p, q) <= radius }   or   min { p.z + penalty D(p, q) }

`"tv"` is half the L1 distance; KL(p|q) and chi2(p|q) allow no mass where q has none, all other sets do, except `"cvar"`.

Source: robust_tabular T1 and r2pvi G1 to G4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError, WrongShape
from mdps._validate import require_array, require_choice, require_distribution
from mdps.robust import _inner

__all__ = ["DIVERGENCES", "PENALTIES", "WorstCase", "worst_case", "worst_case_rows"]

Array = NDArray[np.float64]

DIVERGENCES = ("tv", "l1", "weighted-l1", "linf", "l2", "kl", "chi2", "burg", "wasserstein", "contamination", "cvar")
"""Sets of a given radius."""

PENALTIES = ("tv", "kl", "chi2")
"""Divergences that may be charged instead of bounded."""

ROW_DIVERGENCES = ("tv", "l1", "kl", "chi2")
"""Sets of a given radius that `worst_case_rows` and the compiled solvers know."""

_SETS: dict[str, Callable[..., Array]] = {
    "tv": _inner.tv,
    "l1": _inner.l1,
    "weighted-l1": _inner.weighted_l1,
    "linf": _inner.linf,
    "l2": _inner.l2,
    "kl": _inner.kl,
    "chi2": _inner.chi2,
    "burg": _inner.burg,
    "wasserstein": _inner.wasserstein,
    "contamination": _inner.contamination,
    "cvar": _inner.cvar,
}

_CHARGED: dict[str, Callable[[Array, Array, float], tuple[Array, float]]] = {
    "tv": _inner.tv_penalty,
    "kl": _inner.kl_penalty,
    "chi2": _inner.chi2_penalty,
}


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A smallest expectation and a distribution that attains it.

    Attributes
    ----------
    value : float
        `distribution @ values`, plus `penalty * D(distribution, nominal)` where a penalty was given.
    distribution : array (n,)
        A minimiser in the set.
    """

    value: float
    distribution: Array


def worst_case(
    values: ArrayLike,
    nominal: ArrayLike,
    *,
    divergence: str,
    radius: float | None = None,
    penalty: float | None = None,
    weights: ArrayLike | None = None,
    cost: ArrayLike | None = None,
) -> WorstCase:
    """Minimise the expectation of `values` over the distributions near `nominal`.

    Parameters
    ----------
    values : array (n,)
        Finite values.
    nominal : array (n,)
        Nominal distribution; its sum may be off one by 1e-9 and is then renormalised.
    divergence : str
        One of `DIVERGENCES`; with `penalty` one of `PENALTIES`.
    radius : float, optional
        Size of the set, >= 0, infinity allowed.  `"tv"`: half the L1 distance; `"burg"`: KL(nominal | p); `"wasserstein"`: transport
        cost; `"contamination"`: share in [0, 1] that nature may replace; `"cvar"`: a in [0, 1], p <= nominal / (1 - a).
    penalty : float, optional
        Price > 0 of a unit of divergence; infinity means the nominal expectation.  Exactly one of `radius` and `penalty` is given.
    weights : array (n,), optional
        Positive weights of `"weighted-l1"`.
    cost : array (n, n), optional
        Cost >= 0 of moving a unit of mass from row to column for `"wasserstein"`; zero on the diagonal.

    Returns
    -------
    WorstCase
        Value and minimiser; the minimiser is in the set up to rounding.

    Raises
    ------
    ModelError
        A `ValueError` that names the argument, what it was and what is allowed.

    Examples
    --------
    >>> round(worst_case([0, 1, 3], [0.2, 0.5, 0.3], divergence="l1", radius=0.5).value, 12)
    0.65
    >>> worst_case([0, 1, 3], [0.2, 0.5, 0.3], divergence="tv", penalty=1.0).distribution
    array([0.5, 0.5, 0. ])

    Source: robust_tabular T1, r2pvi G1 to G3.
    """
    v = require_array("values", values)
    if v.ndim != 1 or v.size == 0:
        raise WrongShape("values", v.shape, "(n,) with n >= 1")
    q = require_distribution("nominal", nominal, v.size)
    charged = require_size(divergence, radius, penalty)
    extra = _extra(divergence, weights, cost, v.size)
    low, span = float(v.min()), float(v.max()) - float(v.min())
    if not math.isfinite(span):
        raise ModelError(f"values must have a finite range, got {low!r} to {float(v.max())!r}")
    if charged:
        assert penalty is not None
        if span == 0.0 or penalty == math.inf:
            return WorstCase(float(np.clip(q @ v, low, v.max())), q.copy())
        z = (v - low) / span
        p, spent = _CHARGED[divergence](z, q, float(penalty) / span)
        paid = float(penalty) * spent if spent > 0 else 0.0
        return WorstCase(min(low + span * float(p @ z) + paid, float(v.max())), p)
    assert radius is not None
    if span == 0.0:
        return WorstCase(low, q.copy())
    z = (v - low) / span
    p = _SETS[divergence](z, q, float(radius), *extra)
    return WorstCase(float(np.clip(low + span * float(p @ z), low, v.max())), p)


def worst_case_rows(
    values: ArrayLike, nominal: ArrayLike, *, divergence: str, radius: ArrayLike | None = None, penalty: ArrayLike | None = None
) -> tuple[Array, Array]:
    """Minimise over many nominal distributions at once, compiled.

    Parameters
    ----------
    values : array (n,) or (m, n)
        Values, common to all rows or one vector for each.
    nominal : array (m, n)
        Nominal distributions.
    divergence : str
        `"tv"`, `"l1"`, `"kl"` or `"chi2"`; with `penalty` one of `PENALTIES`.
    radius, penalty : float or array (m,)
        As in `worst_case`, common or one for each row.

    Returns
    -------
    value : array (m,)
        Smallest expectation (plus the charge) of every row.
    distribution : array (m, n)
        The minimisers.

    Raises
    ------
    ModelError
        As `worst_case`.

    Examples
    --------
    >>> value, _ = worst_case_rows([0, 1, 3], [[0.2, 0.5, 0.3], [0, 0.6, 0.4]], divergence="tv", penalty=1.0)
    >>> value
    array([0.8, 1. ])

    Source: robust_tabular T1, r2pvi G1 to G3.
    """
    v, q = require_array("values", values), require_array("nominal", nominal)
    if q.ndim != 2 or 0 in q.shape:
        raise WrongShape("nominal", q.shape, "(m, n) with m, n >= 1")
    m, n = q.shape
    if v.shape not in ((n,), (m, n)):
        raise WrongShape("values", v.shape, f"({n},) or ({m}, {n})")
    rows = np.array([require_distribution(f"nominal[{i}]", q[i], n) for i in range(m)])
    try:
        given = np.asarray(radius if penalty is None else penalty)
        if given.dtype.kind not in "fiuO":
            raise TypeError
        given = given.astype(np.float64)
    except (TypeError, ValueError):
        name, bad = ("radius", radius) if penalty is None else ("penalty", penalty)
        raise ModelError(f"{name} must be a number or an array of numbers, got {bad!r}") from None
    if given.shape not in ((), (m,)):
        raise WrongShape("radius" if penalty is None else "penalty", given.shape, f"() or ({m},)")
    for one in np.unique(given) if given.size and not np.isnan(given).any() else [math.nan]:
        charged = require_size(divergence, None if radius is None else one, None if penalty is None else one)
    if not charged:
        require_choice("divergence", divergence, ROW_DIVERGENCES)
    from mdps.robust import _kernels

    kind = row_kind(divergence, charged)
    z = np.broadcast_to(v, (m, n))
    low = z.min(axis=1)
    with np.errstate(over="ignore"):
        span = z.max(axis=1) - low
    if not np.isfinite(span).all():
        raise ModelError(f"values must have a finite range, got {float(low.min())!r} to {float(z.max())!r}")
    scale = np.where(span > 0, span, 1.0)
    with np.errstate(over="ignore"):
        sizes = np.broadcast_to(given, (m,)) / (scale if charged else 1.0)
    scaled = (z - low[:, None]) / scale[:, None]
    value, distribution = np.empty(m), np.empty((m, n))
    order = np.argsort(scaled, axis=1, kind="stable")
    _kernels.rows(kind, scaled, order, rows, half_mass(divergence, sizes, charged), value, distribution)
    return low + span * value, distribution


def row_kind(divergence: str, charged: bool) -> int:
    """Return the number by which the compiled rows know a set."""
    return {"tv": 0, "l1": 0, "kl": 1, "chi2": 2}[divergence] + (3 if charged else 0)


def half_mass(divergence: str, sizes: Array, charged: bool = False) -> Array:
    """Return a copy of the sizes in the unit of the kernels: an L1 radius is twice the mass that moves."""
    return np.array(0.5 * sizes if divergence == "l1" and not charged else sizes, dtype=np.float64)


def require_size(divergence: str, radius: Any, penalty: Any) -> bool:
    """Refuse a bad divergence, radius or penalty; return whether the divergence is charged rather than bounded."""
    require_choice("divergence", divergence, DIVERGENCES)
    if (radius is None) == (penalty is None):
        raise ModelError(f"exactly one of radius and penalty must be given, got radius {radius!r} and penalty {penalty!r}")
    if penalty is not None:
        if divergence not in PENALTIES:
            raise ModelError(f"divergence with a penalty must be one of {', '.join(map(repr, PENALTIES))}, got {divergence!r}")
        if not _number("penalty", penalty, "a number > 0") > 0:
            raise ModelError(f"penalty must be a number > 0, got {penalty!r}")
        return True
    top = 1.0 if divergence in ("contamination", "cvar") else math.inf
    if not 0 <= _number("radius", radius, "a number >= 0") <= top:
        allowed = "in [0, 1]" if top == 1.0 else ">= 0"
        raise ModelError(f"radius of {divergence!r} must be a number {allowed}, got {radius!r}")
    return False


def _number(name: str, value: Any, allowed: str) -> float:
    try:
        if isinstance(value, bool | np.bool_ | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be {allowed}, got {value!r}") from None


def _extra(divergence: str, weights: Any, cost: Any, n: int) -> tuple[Array, ...]:
    """Return the checked weights or costs that the divergence needs, and refuse those that it does not use."""
    for name, value, owner in (("weights", weights, "weighted-l1"), ("cost", cost, "wasserstein")):
        if value is None and divergence == owner:
            raise ModelError(f"{name} must be given for divergence {owner!r}, got none")
        if value is not None and divergence != owner:
            raise ModelError(f"{name} must be given for divergence {owner!r} and for no other, got divergence {divergence!r}")
    if divergence == "weighted-l1":
        w = require_array("weights", weights)
        if w.shape != (n,):
            raise WrongShape("weights", w.shape, f"({n},)")
        if w.min() <= 0:
            raise ModelError(f"weights must be > 0, got {float(w.min())!r} at index {int(w.argmin())}")
        return (w,)
    if divergence == "wasserstein":
        c = require_array("cost", cost)
        if c.shape != (n, n):
            raise WrongShape("cost", c.shape, f"({n}, {n})")
        bad = np.argwhere((c < 0) | ((c != 0) & np.eye(n, dtype=bool)))
        if bad.size:
            place = tuple(bad[0].tolist())
            raise ModelError(f"cost must be >= 0 with a zero diagonal: staying costs nothing; got {float(c[place])!r} at index {place}")
        return (c,)
    return ()
