"""Where the algorithms of continuous-time policy evaluation end, for linear critics, without simulation.

For J_th = psi + th' phi with polynomial psi and phi, a model that maps polynomials to polynomials turns every method into linear
normal equations A th = b whose entries are moments: on a grid of N steps, or in the limit of small steps.  With Brownian motion,
rational data and no discount the entries, and so the fixed points, are exact rationals.  Source: martingale_td, G3 to G6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._validate import require_choice, require_integer, require_real
from mdps.diffusions.gaussian import BrownianMotion, OrnsteinUhlenbeck
from mdps.diffusions.polynomials import Polynomial

__all__ = ["METHODS", "REWARD_RULES", "WEIGHTS", "FixedPoint", "fixed_point"]

METHODS = ("mstde", "martingale-loss", "td0", "lstd", "td-lambda", "gtd", "gtd2", "tdc")
REWARD_RULES = ("left", "trapezoid")
WEIGHTS = ("identity", "gram")
NODES = 48
"""Gauss-Legendre nodes for integrals over time that have no exact form."""

Model = BrownianMotion | OrnsteinUhlenbeck
Rows = list[list[Any]]


@dataclass(frozen=True)
class FixedPoint:
    """The parameters at which a method stops moving.

    `theta` holds floats, shape (k,); `exact` the same as rationals where every moment was rational, else None; `matrix` and `vector`
    are the normal equations A th = b, and `condition` the condition number of A.
    """

    theta: NDArray[np.float64]
    exact: tuple[Fraction, ...] | None
    matrix: NDArray[np.float64]
    vector: NDArray[np.float64]
    condition: float
    method: str
    steps: int | None


def fixed_point(
    model: Model,
    features: Sequence[Polynomial],
    *,
    method: str,
    steps: int | None = None,
    offset: Polynomial | None = None,
    trace: Any = None,
    tests: Sequence[Polynomial] | None = None,
    weight: str = "identity",
    reward_rule: str = "left",
    discounted: bool = True,
) -> FixedPoint:
    r"""Return the fixed point of a policy evaluation method for the critic J_th = offset + th' features.

    Parameters
    ----------
    model : BrownianMotion or OrnsteinUhlenbeck
        The closed-loop diffusion with its rewards.
    features : sequence of Polynomial
        phi, k polynomials in t and x; with a horizon they must vanish at it.
    method : str
        `"mstde"` (mean-square TD error), `"martingale-loss"`, `"td0"` or `"lstd"` (the same equations), `"td-lambda"`, `"gtd"`, and
        `"gtd2"` or `"tdc"` for `"gtd"` with the weight `"gram"`.  Underscores may stand for hyphens, and the names of the algorithms of
        `evaluate` (`"ctd0"`, `"clstd"`, `"ctd-lambda"`, `"cgtd"`, `"cgtd2"`) mean the point where each of them ends.
    steps : int, optional
        Number N of equal steps on [0, T], or for an endless stationary model the number of steps per unit of time; None gives the
        limit of small steps.
    offset : Polynomial, optional
        psi; with a horizon it must equal the terminal reward at it.  The terminal reward itself when omitted.
    trace : number, optional
        lambda in [0, 1] per unit of time, for `"td-lambda"`; 0 is TD(0).
    tests : sequence of Polynomial, optional
        Test functions xi for `"gtd"`; the features when omitted.
    weight : str
        For `"gtd"`: `"identity"`, or `"gram"` for the inverse of E int xi xi'.
    reward_rule : str
        `"left"` or `"trapezoid"`: how a reward rate becomes the reward of one step.
    discounted : bool
        Keep the factor e^{-beta t} in the test functions of td0, td-lambda, gtd and in the loss.

    Returns
    -------
    FixedPoint

    Raises
    ------
    ValueError
        If a name is unknown, the features or the offset break the terminal condition or depend on time without a horizon, `trace` is
        missing or outside [0, 1], an endless model is not stationary, or the normal equations are singular (their rank is reported).

    Source: martingale_td, G3, G4, G5, G5b, G6.

    Examples
    --------
    >>> from mdps.diffusions import BrownianMotion, variables
    >>> t, x = variables()
    >>> model = BrownianMotion(terminal=x**4)
    >>> [str(fixed_point(model, [(1 - t) * x**2], method=m).exact[0]) for m in ("mstde", "martingale-loss", "td0")]
    ['-6', '15/2', '9']
    """
    method = method_name(method, METHODS, {"ctd0": "td0", "clstd": "lstd", "ctd-lambda": "td-lambda", "cgtd": "gtd", "cgtd2": "gtd2"})
    require_choice("reward_rule", reward_rule, REWARD_RULES)
    require_choice("weight", weight, WEIGHTS)
    if steps is not None:
        require_integer("steps", steps, minimum=1)
    if not isinstance(model, BrownianMotion | OrnsteinUhlenbeck):
        raise ValueError(f"model must be a BrownianMotion or an OrnsteinUhlenbeck, which map polynomials to polynomials; got {type(model).__name__}")
    phi = _polynomials("features", features)
    psi = model.terminal if offset is None else _polynomials("offset", [offset])[0]
    xi = phi if tests is None else _polynomials("tests", tests)
    _check_terminal(model, phi, psi, xi)
    if method == "td-lambda":
        if trace is None or not 0 <= require_real("trace", trace) <= 1:
            raise ValueError(f"trace must be in [0, 1] for td-lambda, got {trace}")
        if trace == 0:
            method = "td0"
    if method in ("martingale-loss", "td-lambda") and model.horizon is None:
        raise ValueError(f"method {method} needs a model with a horizon")
    grid = _Grid(model, phi, psi, steps, reward_rule, discounted) if steps is not None else None
    limit = _Limit(model, phi, psi, discounted)
    source: Any = grid or limit
    if method == "mstde":
        a, b = source.mean_square()
    elif method in ("td0", "lstd"):
        a, b = source.orthogonal(phi)
    elif method == "martingale-loss":
        a, b = source.traced(1)
    elif method == "td-lambda":
        a, b = source.traced(trace)
    else:
        a, b = _weighted(source, xi, weight if method == "gtd" else "gram")
    return _solve(a, b, method, steps)


def method_name(name: Any, allowed: Sequence[str], others: dict[str, str]) -> str:
    """Return the method that a name means: one of `allowed`, in any case and with `_` for `-`, or one of the other names for it."""
    spelled = str(name).lower().replace("_", "-")
    meant = others.get(spelled, spelled)
    require_choice("method", meant if meant in allowed else name, allowed)
    return meant


def _polynomials(name: str, given: Any) -> list[Polynomial]:
    found = [given] if isinstance(given, Polynomial) else list(given) if isinstance(given, Sequence) else []
    if not found or not all(isinstance(f, Polynomial) for f in found):
        raise ValueError(f"{name} must be polynomials in t and x, at least one, got {given!r}: expectations of other functions have no exact form here")
    return found


def _check_terminal(model: Model, phi: list[Polynomial], psi: Polynomial, xi: list[Polynomial]) -> None:
    if model.horizon is None:
        if model.start is not None:
            raise ValueError(f"model must be stationary (start=None) without a horizon, got start {model.start}")
        if any(i for f in [*phi, psi, *xi] for i, _ in f.terms):
            raise ValueError("features, offset and tests must not depend on t without a horizon")
        return
    end = model.horizon
    for number, f in enumerate(phi):
        if any(abs(float(c)) > 1e-12 for c in f.at_time(end).terms.values()):
            raise ValueError(f"features must vanish at the horizon {end}, feature {number} is {dict(f.at_time(end).terms)} there")
    gap = psi.at_time(end) - model.terminal.at_time(end)
    if any(abs(float(c)) > 1e-12 for c in gap.terms.values()):
        raise ValueError(f"offset must equal the terminal reward at the horizon {end}, it differs by {dict(gap.terms)}")


class _Grid:
    """Moments of the TD errors on a grid: D = U(t + dt, X') + V(t, X), one pair (U, V) for each feature and one for the constant."""

    def __init__(self, model: Model, phi: list[Polynomial], psi: Polynomial, steps: int, rule: str, discounted: bool) -> None:
        length = 1 if model.horizon is None else model.horizon
        self.model, self.phi, self.discounted = model, phi, discounted
        self.dt: Any = Fraction(length) / steps if isinstance(length, (int, Fraction)) else length / steps
        self.times: list[Any] = [0] if model.horizon is None else [i * self.dt for i in range(steps)]
        decay: Any = 1 if model.discount == 0 else math.exp(-model.discount * float(self.dt))
        share = self.dt if rule == "left" else self.dt / 2
        reward_now, reward_next = model.reward * share, Polynomial() if rule == "left" else model.reward * (share * decay)
        self.u = [f * decay for f in phi] + [psi * decay + reward_next]
        self.v = [-f for f in phi] + [reward_now - psi]
        self.expected = [model.conditional(u, self.dt) + v for u, v in zip(self.u, self.v, strict=True)]

    def factor(self, t: Any) -> Any:
        """Return e^{-beta t}, or 1 where test functions are undiscounted or the model is endless."""
        return 1 if self.model.discount == 0 or self.model.horizon is None else math.exp(-self.model.discount * float(t))

    def total(self, f: Polynomial, *, power: int = 1) -> Any:
        """Return sum over the grid of E e^{-power beta t} f(t, X_t)."""
        return sum((self.factor(t) ** power if power else 1) * self.model.mean(f, t) for t in self.times)

    def orthogonal(self, xi: list[Polynomial]) -> tuple[Rows, list[Any]]:
        """Return A and b of E sum xi D = 0."""
        power = 1 if self.discounted else 0
        rows = [[self.total(f * d, power=power) for d in self.expected] for f in xi]
        return [[-entry for entry in row[:-1]] for row in rows], [row[-1] for row in rows]

    def gram(self, xi: list[Polynomial]) -> Rows:
        return [[self.dt * self.total(f * g, power=0) for g in xi] for f in xi]

    def mean_square(self) -> tuple[Rows, list[Any]]:
        """Return A and b of the minimiser of E sum D^2."""
        k = len(self.phi)

        def product(a: int, b: int) -> Any:
            later = self.model.conditional(self.u[a] * self.u[b], self.dt)
            mixed = self.expected[a] * self.v[b] + self.v[a] * self.expected[b] - self.v[a] * self.v[b]
            return self.total(later + mixed, power=0)

        return [[product(a, b) for b in range(k)] for a in range(k)], [-product(a, k) for a in range(k)]

    def traced(self, trace: Any) -> tuple[Rows, list[Any]]:
        """Return A and b of E sum_j e^{-beta t_j} phi_j sum_{i >= j} trace^{t_i - t_j} (increment i) = 0, backwards over the grid."""
        decay: Any = 1 if trace == 1 else float(trace) ** float(self.dt)
        size = len(self.phi)
        ahead = [Polynomial() for _ in self.expected]
        rows: Rows = [[0] * (size + 1) for _ in range(size)]
        for t in reversed(self.times):
            here = self.factor(t)
            ahead = [d.at_time(t) * here + self.model.conditional(c, self.dt) * decay for d, c in zip(self.expected, ahead, strict=True)]
            weight = here if self.discounted else 1 / here
            for a, f in enumerate(self.phi):
                at = f.at_time(t)
                for b, c in enumerate(ahead):
                    rows[a][b] += weight * self.model.mean(at * c, t)
        return [[-entry for entry in row[:-1]] for row in rows], [row[-1] for row in rows]


class _Limit:
    """The same moments in the limit of small steps, from the generator."""

    def __init__(self, model: Model, phi: list[Polynomial], psi: Polynomial, discounted: bool) -> None:
        self.model, self.phi, self.psi, self.discounted = model, phi, psi, discounted
        beta = model.discount
        self.residual = [model.generator(f) - beta * f for f in phi] + [model.reward + model.generator(psi) - beta * psi]

    def integral(self, f: Polynomial, *, power: int = 0) -> Any:
        """Return E int_0^T e^{-power beta t} f dt, exactly for Brownian motion without discount; the stationary mean if endless."""
        model = self.model
        if model.horizon is None:
            return model.mean(f, 0.0)
        if isinstance(model, BrownianMotion) and (model.discount == 0 or power == 0):
            return _exact_integral(model, f)
        return _quadrature(lambda t: math.exp(-power * model.discount * t) * float(model.mean(f, t)), 0.0, float(model.horizon))

    def orthogonal(self, xi: list[Polynomial]) -> tuple[Rows, list[Any]]:
        power = 1 if self.discounted else 0
        rows = [[self.integral(f * r, power=power) for r in self.residual] for f in xi]
        return [[-entry for entry in row[:-1]] for row in rows], [row[-1] for row in rows]

    def gram(self, xi: list[Polynomial]) -> Rows:
        return [[self.integral(f * g) for g in xi] for f in xi]

    def mean_square(self) -> tuple[Rows, list[Any]]:
        """Return A and b of the minimiser of E int |s' grad J|^2 dt, to which the mean-square TD error tends."""
        slopes = [f.derivative("x") for f in self.phi]
        end = self.psi.derivative("x")
        return [[self.integral(f * g) for g in slopes] for f in slopes], [-self.integral(f * end) for f in slopes]

    def traced(self, trace: Any) -> tuple[Rows, list[Any]]:
        model = self.model
        if trace == 1 and model.discount == 0 and isinstance(model, BrownianMotion):
            gap = model.value_polynomial() - self.psi
            return [[self.integral(f * g) for g in self.phi] for f in self.phi], [self.integral(f * gap) for f in self.phi]
        end: Any = model.horizon
        beta, horizon, rate = float(model.discount), float(end), math.log(float(trace))
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        size = len(self.phi)
        rows = np.zeros((size, size + 1))
        for node, weight in zip(nodes, weights, strict=True):
            start = 0.5 * horizon * (1.0 + node)
            left = horizon - start
            at = [f.at_time(start) for f in self.phi]
            outer = 0.5 * horizon * weight * (math.exp(-beta * start) if self.discounted else math.exp(beta * start))
            for inner, share in zip(nodes, weights, strict=True):
                u = 0.5 * left * (1.0 + inner)
                factor = outer * 0.5 * left * share * math.exp(rate * u - beta * (start + u))
                for b, residual in enumerate(self.residual):
                    later = model.conditional(residual, u).at_time(start)
                    for a, f in enumerate(at):
                        rows[a, b] += factor * float(model.mean(f * later, start))
        return [[-float(x) for x in row[:-1]] for row in rows], [float(row[-1]) for row in rows]


def _exact_integral(model: BrownianMotion, f: Polynomial) -> Any:
    """Return int_0^T E f(t, X_t) dt as a rational, by turning the mean into a polynomial of t."""
    from mdps.diffusions.gaussian import _gaussian_power

    spread, start = Polynomial({(1, 0): model.volatility**2}), Polynomial({(0, 0): model.start})
    mean = f.substitute(lambda j: _gaussian_power(j, start, spread))
    end = model.horizon
    exact = isinstance(end, (int, Fraction))
    return sum(c * (Fraction(end) ** (i + 1) / (i + 1) if exact else end ** (i + 1) / (i + 1)) for (i, _), c in mean.terms.items())


def _quadrature(f: Callable[[float], float], low: float, high: float) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = 0.5 * (high - low)
    return float(sum(half * w * f(low + half * (1.0 + x)) for x, w in zip(nodes, weights, strict=True)))


def _weighted(source: Any, xi: list[Polynomial], weight: str) -> tuple[Rows, list[Any]]:
    """Return A and b of the minimiser of g' W g, g = E sum xi D, with W the identity or the inverse Gram matrix."""
    slope, constant = source.orthogonal(xi)
    if weight == "identity":
        shaped, vector = slope, constant
    else:
        gram = source.gram(xi)
        columns = [_gauss(gram, [row[b] for row in slope], "the Gram matrix of the tests") for b in range(len(slope[0]))]
        shaped = [[columns[b][m] for b in range(len(columns))] for m in range(len(xi))]
        vector = _gauss(gram, constant, "the Gram matrix of the tests")
    k = len(slope[0])
    a = [[sum(slope[m][i] * shaped[m][j] for m in range(len(xi))) for j in range(k)] for i in range(k)]
    b = [sum(slope[m][i] * vector[m] for m in range(len(xi))) for i in range(k)]
    return a, b


def _gauss(matrix: Rows, vector: list[Any], name: str) -> list[Any]:
    """Solve a linear system: by elimination in rationals when every entry is one, else in floats; refuse a singular one."""
    size = len(vector)
    floats = np.array([[float(x) for x in row] for row in matrix])
    scale = np.sqrt(np.abs(np.diag(floats)))
    balanced = floats / np.outer(np.where(scale > 0, scale, 1.0), np.where(scale > 0, scale, 1.0))
    rank = int(np.linalg.matrix_rank(balanced, tol=1e-11 * max(1.0, float(np.abs(balanced).max()))))
    if rank < size:
        raise ValueError(f"features must be linearly independent under the law of the state: {name} has rank {rank} of {size}")
    if not all(isinstance(x, (int, Fraction)) for row in [*matrix, vector] for x in row):
        return [float(x) for x in np.linalg.solve(floats, np.array([float(x) for x in vector]))]
    rows = [[Fraction(x) for x in row] + [Fraction(v)] for row, v in zip(matrix, vector, strict=True)]
    for column in range(size):
        pivot = next(r for r in range(column, size) if rows[r][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column][column]
        rows[column] = [x / head for x in rows[column]]
        for r in range(size):
            if r != column and rows[r][column] != 0:
                lead = rows[r][column]
                rows[r] = [x - lead * y for x, y in zip(rows[r], rows[column], strict=True)]
    return [row[-1] for row in rows]


def _solve(a: Rows, b: list[Any], method: str, steps: int | None) -> FixedPoint:
    theta = _gauss(a, b, "the matrix of the normal equations")
    exact = tuple(Fraction(x) for x in theta) if all(isinstance(x, (int, Fraction)) for x in theta) else None
    matrix = np.array([[float(x) for x in row] for row in a])
    return FixedPoint(
        theta=np.array([float(x) for x in theta]), exact=exact, matrix=matrix, vector=np.array([float(x) for x in b]),
        condition=float(np.linalg.cond(matrix)), method=method, steps=steps,
    )
