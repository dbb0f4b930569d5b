"""Polynomials in time and one space variable, with exact rational or floating coefficients.

Brownian motion and the Ornstein-Uhlenbeck process map polynomials to polynomials, both by their generator and by a transition over
any time; so expectations of polynomial features need no simulation, and for Brownian motion with rational data no rounding either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["Polynomial", "variables"]

Coefficient = Any
"""`int`, `Fraction` or `float`; sums of exact ones stay exact."""


@dataclass(frozen=True)
class Polynomial:
    """A polynomial sum c_ij t^i x^j.

    Parameters
    ----------
    terms : mapping
        (i, j) to the coefficient of t^i x^j; zero coefficients are dropped.

    Raises
    ------
    ValueError
        If an exponent is not a non-negative integer or a coefficient is not finite.

    Examples
    --------
    >>> t, x = variables()
    >>> f = (1 - t) * x**2
    >>> f(0.5, 2.0)
    2.0
    >>> f.derivative("x") == 2 * x * (1 - t)
    True
    """

    terms: Mapping[tuple[int, int], Coefficient] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (i, j), c in self.terms.items():
            if i < 0 or j < 0 or i != int(i) or j != int(j):
                raise ValueError(f"exponents must be integers >= 0, got {(i, j)}")
            if isinstance(c, float) and not np.isfinite(c):
                raise ValueError(f"coefficients must be finite, got {c} at {(i, j)}")
        object.__setattr__(self, "terms", {k: c for k, c in sorted(self.terms.items()) if c != 0})

    def __call__(self, t: Any, x: Any) -> Any:
        """Evaluate at times and states that broadcast, by Horner's rule in x with coefficients that are polynomials in t."""
        exact = isinstance(t, (int, Fraction)) and isinstance(x, (int, Fraction))
        rows: dict[int, Any] = {}
        for (i, j), c in self.terms.items():
            factor = c if exact or not isinstance(c, Fraction) else float(c)
            rows[j] = rows.get(j, 0) + (factor if i == 0 else factor * t**i)
        total: Any = rows.get(self.degree, 0)
        for j in range(self.degree - 1, -1, -1):
            total = total * x
            if j in rows:
                total = total + rows[j]
        if isinstance(t, np.ndarray) or isinstance(x, np.ndarray):
            return np.broadcast_to(np.asarray(total, dtype=np.float64), np.broadcast_shapes(np.shape(t), np.shape(x)))
        return total

    def __add__(self, other: Any) -> Polynomial:
        right = _as_polynomial(other)
        terms = dict(self.terms)
        for key, c in right.terms.items():
            terms[key] = terms.get(key, 0) + c
        return Polynomial(terms)

    __radd__ = __add__

    def __neg__(self) -> Polynomial:
        return Polynomial({key: -c for key, c in self.terms.items()})

    def __sub__(self, other: Any) -> Polynomial:
        return self + (-_as_polynomial(other))

    def __rsub__(self, other: Any) -> Polynomial:
        return _as_polynomial(other) - self

    def __mul__(self, other: Any) -> Polynomial:
        right = _as_polynomial(other)
        terms: dict[tuple[int, int], Coefficient] = {}
        for (i, j), a in self.terms.items():
            for (k, m), b in right.terms.items():
                key = (i + k, j + m)
                terms[key] = terms.get(key, 0) + a * b
        return Polynomial(terms)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Polynomial:
        exact = isinstance(divisor, (int, Fraction))
        return Polynomial({k: Fraction(c) / divisor if exact and isinstance(c, int) else c / divisor for k, c in self.terms.items()})

    def __pow__(self, power: int) -> Polynomial:
        result = Polynomial({(0, 0): 1})
        for _ in range(power):
            result = result * self
        return result

    @property
    def degree(self) -> int:
        """Largest power of x."""
        return max((j for _, j in self.terms), default=0)

    def derivative(self, variable: str) -> Polynomial:
        """Return the derivative in `"t"` or `"x"`.

        Raises
        ------
        ValueError
            If the variable is another one.
        """
        if variable == "t":
            return Polynomial({(i - 1, j): i * c for (i, j), c in self.terms.items() if i})
        if variable == "x":
            return Polynomial({(i, j - 1): j * c for (i, j), c in self.terms.items() if j})
        raise ValueError(f"variable must be 't' or 'x', got {variable!r}")

    def at_time(self, t: Coefficient) -> Polynomial:
        """Return the polynomial in x at time t."""
        terms: dict[tuple[int, int], Coefficient] = {}
        for (i, j), c in self.terms.items():
            terms[(0, j)] = terms.get((0, j), 0) + c * t**i
        return Polynomial(terms)

    def later(self, u: Coefficient) -> Polynomial:
        """Return f(t + u, x)."""
        shifted = Polynomial({(1, 0): 1, (0, 0): u})
        total = Polynomial()
        for (i, j), c in self.terms.items():
            total = total + shifted**i * Polynomial({(0, j): c})
        return total

    def substitute(self, power: Callable[[int], Polynomial]) -> Polynomial:
        """Return the polynomial with x^j replaced by `power(j)`: the way to take (conditional) expectations."""
        total = Polynomial()
        for (i, j), c in self.terms.items():
            total = total + Polynomial({(i, 0): c}) * power(j)
        return total


def _as_polynomial(value: Any) -> Polynomial:
    return value if isinstance(value, Polynomial) else Polynomial({(0, 0): value})


def variables() -> tuple[Polynomial, Polynomial]:
    """Return the polynomials t and x.

    Examples
    --------
    >>> t, x = variables()
    >>> (x**2 + 1).degree
    2
    """
    return Polynomial({(1, 0): 1}), Polynomial({(0, 1): 1})
