"""Laws with finite support: exact in integers and rationals, merged in floats; distances and tail means.

A law is a sorted list of distinct atoms with positive probabilities.  Built from integers and `fractions.Fraction` it stays rational
through every operation; built from floats it merges atoms closer than a stated width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_tau

__all__ = ["Law", "cramer", "mixture", "wasserstein"]

MERGE = 1e-10
"""Float atoms nearer than this (relative to the largest atom, at least 1) count as one."""

LEVEL = 1e-13
"""A quantile level this near to a jump of the distribution function counts as the jump itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """A probability law with finitely many atoms.

    Parameters
    ----------
    atoms : sequence of numbers, shape (K,)
        Values; integers and `Fraction` give an exact law if the probabilities are exact too.  Need not be sorted or distinct.
    probabilities : sequence of numbers, shape (K,)
        Weights, not negative; they must sum to 1 (exactly, or within 1e-9 in floats).

    Raises
    ------
    ValueError
        If shapes differ, a number is not finite, a weight is negative, or the weights do not sum to 1.

    Examples
    --------
    >>> from fractions import Fraction
    >>> die = Law(range(1, 7), [Fraction(1, 6)] * 6)
    >>> die.mean(), die.cvar(Fraction(1, 2))
    (Fraction(7, 2), Fraction(2, 1))
    """

    atoms: NDArray[Any]
    probabilities: NDArray[Any]

    def __init__(self, atoms: Any, probabilities: Any) -> None:
        values, weights = list(atoms), list(probabilities)
        if len(values) != len(weights) or not values:
            raise ValueError(f"atoms and probabilities must have one length >= 1, got {len(values)} and {len(weights)}")
        exact = all(isinstance(x, (int, np.integer, Fraction)) for x in [*values, *weights])
        x, p = _exact(values, weights) if exact else _merged(np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64))
        object.__setattr__(self, "atoms", x)
        object.__setattr__(self, "probabilities", p)

    @classmethod
    def merging(cls, values: ArrayLike, weights: ArrayLike, width: float = 0.0) -> tuple[Law, float]:
        """Return the law of float atoms with weights that sum to 1 up to rounding, and how far merging at `width` moved an atom.

        The constructor merges without saying what that moved; computations that certify an error count it.
        """
        x, p, moved = merge_moved(values, weights, width)
        law = object.__new__(cls)
        object.__setattr__(law, "atoms", x)
        object.__setattr__(law, "probabilities", p / p.sum())
        return law, moved

    @classmethod
    def point(cls, value: Any) -> Law:
        """Return the law of a constant."""
        return cls([value], [1])

    @property
    def is_exact(self) -> bool:
        """Whether atoms and probabilities are rationals."""
        return self.atoms.dtype == object

    @property
    def width(self) -> Any:
        """Range of the support: largest minus smallest atom."""
        return self.atoms[-1] - self.atoms[0]

    def as_floats(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return atoms and probabilities as float arrays."""
        return self.atoms.astype(np.float64), self.probabilities.astype(np.float64)

    def affine(self, shift: Any, scale: Any) -> Law:
        """Return the law of `shift + scale * X`."""
        return Law(shift + scale * self.atoms, self.probabilities)

    def mean(self) -> Any:
        """Return the mean."""
        return np.dot(self.atoms, self.probabilities)

    def variance(self) -> Any:
        """Return the variance."""
        return np.dot((self.atoms - self.mean()) ** 2, self.probabilities)

    def expect(self, f: Callable[[Any], Any]) -> Any:
        """Return E f(X); `f` is called once for each atom."""
        return sum(p * f(x) for x, p in zip(self.atoms, self.probabilities, strict=True))

    def cdf(self, x: Any) -> Any:
        """Return P(X <= x)."""
        return self.probabilities[self.atoms <= x].sum() if bool((self.atoms <= x).any()) else 0

    def quantile(self, tau: Any) -> Any:
        """Return the smallest atom whose distribution function reaches `tau` in (0, 1]: exactly in rationals, up to 1e-13 in floats."""
        require_tau(tau)
        rational = self.is_exact and isinstance(tau, (int, np.integer, Fraction))  # the float .1 lies above 1/10
        return self.atoms[min(int(np.searchsorted(np.cumsum(self.probabilities), tau if rational else float(tau) - LEVEL)), len(self.atoms) - 1)]

    def cvar(self, tau: Any, *, tail: str = "lower") -> Any:
        """Return the mean of the worst (or best) part of mass `tau`.

        Parameters
        ----------
        tau : number in (0, 1]
            Mass of the tail; 1 gives the mean.
        tail : str
            `"lower"` (the worst outcomes) or `"upper"` (the best ones).

        Raises
        ------
        ValueError
            If `tau` is outside (0, 1] or the tail is unknown.
        """
        require_tau(tau)
        require_choice("tail", tail, ("lower", "upper"))
        x, p = (self.atoms, self.probabilities) if tail == "lower" else (self.atoms[::-1], self.probabilities[::-1])
        if self.is_exact:
            tau = Fraction(tau)
        before = np.concatenate([[0], np.cumsum(p)[:-1]])
        taken = np.minimum(np.maximum(tau - before, 0), p)
        taken[-1] += tau - taken.sum()  # float weights may sum to a little less than tau
        return np.dot(x, taken) / tau


def mixture(laws: Sequence[Law], weights: Sequence[Any]) -> Law:
    """Return the mixture of laws.

    Parameters
    ----------
    laws : sequence of Law
        Components.
    weights : sequence of numbers
        Their probabilities; components of weight 0 are dropped.

    Returns
    -------
    Law
        Exact if every part is.

    Raises
    ------
    ValueError
        If the lengths differ or the weights do not sum to 1.
    """
    if len(laws) != len(weights) or not laws:
        raise ValueError(f"laws and weights must have one length >= 1, got {len(laws)} and {len(weights)}")
    kept = [(law, w) for law, w in zip(laws, weights, strict=True) if w != 0]
    return Law(np.concatenate([law.atoms for law, _ in kept]), np.concatenate([w * law.probabilities for law, w in kept]))


def wasserstein(left: Law, right: Law, *, p: float = 1) -> Any:
    r"""Return the Wasserstein distance \((\int_0^1|F^{-1}-G^{-1}|^p)^{1/p}\).

    Parameters
    ----------
    left, right : Law
        Two laws.
    p : float
        Order, at least 1; infinity gives the largest gap between quantiles.

    Returns
    -------
    number
        Rational for exact laws and p = 1 or infinity.

    Raises
    ------
    ValueError
        If p < 1.

    Examples
    --------
    >>> float(wasserstein(Law([0, 1], [0.5, 0.5]), Law([1], [1])))
    0.5
    """
    _require_order(p)
    a, b = np.cumsum(left.probabilities), np.cumsum(right.probabilities)
    a[-1], b[-1] = 1, 1
    levels = np.unique(np.concatenate([a, b]))
    x = left.atoms[np.minimum(np.searchsorted(a, levels), len(a) - 1)]
    y = right.atoms[np.minimum(np.searchsorted(b, levels), len(b) - 1)]
    gaps, steps = np.abs(x - y), np.diff(np.concatenate([[0], levels]))
    if p == math.inf:
        rounding = 0 if left.is_exact and right.is_exact else 1e-15  # levels this near are one
        return gaps[steps > rounding].max()
    return np.dot(gaps, steps) if p == 1 else float(np.dot(steps, gaps**p)) ** (1.0 / p)


def cramer(left: Law, right: Law, *, p: float = 2) -> float:
    r"""Return the distance \((\int|F-G|^p)^{1/p}\) of two distribution functions; p = 2 is the Cramer distance.

    Parameters
    ----------
    left, right : Law
        Two laws.
    p : float
        Order, at least 1; infinity gives the Kolmogorov distance.

    Raises
    ------
    ValueError
        If p < 1.
    """
    _require_order(p)
    points = np.unique(np.concatenate([left.atoms, right.atoms]))
    gaps = np.abs(_step(left, points) - _step(right, points))
    if p == math.inf:
        return float(gaps.max())
    return float(np.dot(gaps[:-1] ** p, np.diff(points)) ** (1.0 / p))


def _step(law: Law, points: NDArray[Any]) -> NDArray[Any]:
    below = np.concatenate([[0], np.cumsum(law.probabilities)])
    return np.asarray(below[np.searchsorted(law.atoms, points, side="right")])


def _require_order(p: float) -> None:
    if not p >= 1:
        raise ValueError(f"p must be at least 1, got {p}")


def _exact(values: Iterable[Any], weights: Iterable[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    table: dict[Fraction, Fraction] = {}
    for x, p in zip(values, weights, strict=True):
        weight = Fraction(int(p)) if isinstance(p, np.integer) else Fraction(p)
        if weight < 0:
            raise ValueError(f"probabilities must not be negative, got {p}")
        atom = Fraction(int(x)) if isinstance(x, np.integer) else Fraction(x)
        table[atom] = table.get(atom, Fraction(0)) + weight
    if sum(table.values()) != 1:
        raise ValueError(f"probabilities must sum to 1, got {sum(table.values())}")
    kept = sorted(x for x, p in table.items() if p > 0)
    atoms, probabilities = np.empty(len(kept), dtype=object), np.empty(len(kept), dtype=object)
    atoms[:], probabilities[:] = kept, [table[x] for x in kept]
    return atoms, probabilities


def _merged(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not (np.isfinite(values).all() and np.isfinite(weights).all()):
        raise ValueError("atoms and probabilities must be finite, got nan or infinity")
    if weights.min() < 0:
        raise ValueError(f"probabilities must not be negative, got {weights.min()}")
    total = float(weights.sum())
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"probabilities must sum to 1, got {total!r}")
    x, p = merge(values, weights / total)
    return x, p


def merge(values: ArrayLike, weights: ArrayLike, width: float = MERGE) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sorted distinct atoms and their summed weights; atoms whose neighbours are nearer than `width * max(1, |x|max)` are one.

    A merged atom sits at the first of its group, so that lattice values come back unchanged.
    """
    x, p, _ = merge_moved(values, weights, width)
    return x, p


def merge_moved(values: ArrayLike, weights: ArrayLike, width: float = MERGE) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return what `merge` returns and the largest distance by which it moved an atom."""
    x, p = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    kept = p > 0
    x, p = x[kept], p[kept]
    order = np.argsort(x, kind="stable")
    x, p = x[order], p[order]
    starts = np.concatenate([[True], np.diff(x) > width * max(1.0, float(np.abs(x).max(initial=0.0)))])
    index = np.flatnonzero(starts)
    last = np.concatenate([index[1:], [x.size]]) - 1
    return x[index], np.add.reduceat(p, index), float((x[last] - x[index]).max())
