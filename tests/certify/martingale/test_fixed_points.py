"""Fixed points by their definitions: sums over every path of a Gauss-Hermite cubature, which is exact for polynomials, and finer and finer grids."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from certify.martingale import fixed_point
from mdps.diffusions import BrownianMotion, OrnsteinUhlenbeck, variables

T, X = variables()
MODELS = {
    "brownian": BrownianMotion(reward=X**2 - T * X, terminal=X**2 + X, start=0.4, volatility=0.8, discount=0.7, horizon=1.5),
    "ou": OrnsteinUhlenbeck(0.6, 0.9, 0.4, reward=X**2 + X, terminal=X**2, horizon=1.5, start=-0.3),
    "spread": OrnsteinUhlenbeck(0.6, 0.9, 0.4, reward=X**2 + X, terminal=X, horizon=1.5),
}
PHI = [(1.5 - T) * X**2, (1.5 - T) * (X + 1)]
TESTS = [X**0, X, X**2]
METHODS = [
    ("td0", {}), ("lstd", {}), ("mstde", {}), ("martingale-loss", {}), ("td-lambda", {"trace": 0.3}), ("gtd", {}), ("gtd", {"tests": TESTS}),
    ("gtd", {"tests": TESTS, "weight": "gram"}), ("gtd2", {"tests": TESTS}), ("tdc", {}),
]  # fmt: skip


def cubature(model, steps: int, dt: float):
    """Return weights (P,) and states (P, steps + 1) of paths under which polynomials of low degree have their expectations."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    weights = weights / weights.sum()
    if isinstance(model, BrownianMotion):
        fade, spread = 1.0, float(model.volatility) * math.sqrt(dt)
    else:
        fade = math.exp(-model.kappa * dt)
        spread = model.sigma * math.sqrt((1 - fade**2) / (2 * model.kappa))
    random_start = model.start is None
    first = [(1.0, 0.0 if random_start else float(model.start))]
    if random_start:
        first = [(w, z * model.sigma / math.sqrt(2 * model.kappa)) for w, z in zip(weights, nodes, strict=True)]
    chances, states = [], []
    for w, x in first:
        for choice in product(range(6), repeat=steps):
            path, chance = [x], w
            for c in choice:
                path.append(fade * path[-1] + spread * nodes[c])
                chance *= weights[c]
            chances.append(chance)
            states.append(path)
    return np.array(chances), np.array(states)


def by_definition(model, phi, psi, steps, dt, method, rule, discounted, trace=None, tests=None, weight="identity"):
    """Return theta from weighted paths; `steps` are those of one path."""
    p, x = cubature(model, steps, dt)
    t = dt * np.arange(steps + 1)
    values = np.array([f(t[None, :], x) for f in phi])
    offset, reward = psi(t[None, :], x), model.reward(t[None, :], x)
    decay = math.exp(-float(model.discount) * dt)
    gained = dt * reward[:, :-1] if rule == "left" else 0.5 * dt * (reward[:, :-1] + decay * reward[:, 1:])
    slope = decay * values[:, :, 1:] - values[:, :, :-1]
    constant = decay * offset[:, 1:] - offset[:, :-1] + gained
    fading = np.ones(steps) if model.horizon is None else np.exp(-float(model.discount) * t[:-1])
    w = fading if discounted else np.ones(steps)
    if method == "mstde":
        root = np.sqrt(p)[:, None]
        return np.linalg.lstsq((slope * root).reshape(len(phi), -1).T, -(constant * root).ravel(), rcond=None)[0]
    if method in ("martingale-loss", "td-lambda"):
        trace = 1.0 if method == "martingale-loss" else trace
        a, b = np.zeros((len(phi), len(phi))), np.zeros(len(phi))
        for j in range(steps):
            for i in range(j, steps):
                share = p * (w[j] if discounted else 1 / fading[j]) * trace ** (t[i] - t[j]) * fading[i]
                a -= np.einsum("p,ap,bp->ab", share, values[:, :, j], slope[:, :, i])
                b += np.einsum("p,ap,p->a", share, values[:, :, j], constant[:, i])
        return np.linalg.solve(a, b)
    xi = values if tests is None else np.array([f(t[None, :], x) for f in tests])
    a = -np.einsum("p,i,api,bpi->ab", p, w, xi[:, :, :-1], slope)
    b = np.einsum("p,i,api,pi->a", p, w, xi[:, :, :-1], constant)
    if method in ("td0", "lstd"):
        return np.linalg.solve(a, b)
    if weight == "gram" or method in ("gtd2", "tdc"):
        gram = dt * np.einsum("p,api,bpi->ab", p, xi[:, :, :-1], xi[:, :, :-1])
        half = np.linalg.inv(np.linalg.cholesky(gram))
        a, b = half @ a, half @ b
    return np.linalg.lstsq(a, b, rcond=None)[0]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("method", "extra"), METHODS)
@pytest.mark.parametrize(("rule", "discounted"), [("left", True), ("trapezoid", False)])
def test_a_grid_of_three_steps_is_summed_over_all_paths(name, method, extra, rule, discounted):
    model = MODELS[name]
    psi = model.terminal + (1.5 - T) * X
    found = fixed_point(model, PHI, method=method, steps=3, offset=psi, reward_rule=rule, discounted=discounted, **extra)
    expected = by_definition(model, PHI, psi, 3, 0.5, method, rule, discounted, **extra)
    assert found.theta == pytest.approx(expected, rel=1e-7)
    assert found.matrix @ found.theta == pytest.approx(found.vector, rel=1e-9)
    assert found.condition == pytest.approx(np.linalg.cond(found.matrix))
    assert found.exact is None
    assert (found.method, found.steps) == (method, 3)


@pytest.mark.parametrize(("method", "extra"), [m for m in METHODS if m[0] not in ("martingale-loss", "td-lambda")])
@pytest.mark.parametrize("rule", ["left", "trapezoid"])
@pytest.mark.parametrize("steps", [1, 4])
def test_an_endless_model_is_one_stationary_step(method, extra, rule, steps):
    model = OrnsteinUhlenbeck(0.6, 0.9, 0.4, reward=X**2 + X)
    phi = [X**2, X]
    found = fixed_point(model, phi, method=method, steps=steps, reward_rule=rule, offset=0.3 * X**2 + X**0, **extra)
    expected = by_definition(model, phi, 0.3 * X**2 + X**0, 1, 1 / steps, method, rule, True, **extra)
    assert found.theta == pytest.approx(expected, rel=1e-8, abs=1e-12)


def extrapolated(model, phi, steps, **options):
    """Return two steps of Richardson's extrapolation from grids of n, 2 n and 4 n steps: what is left is of third order."""
    rough, fine, finer = (fixed_point(model, phi, steps=n, **options).theta for n in (steps, 2 * steps, 4 * steps))
    first, second = 2 * fine - rough, 2 * finer - fine
    return (4 * second - first) / 3


def limit_by_definition(model, phi, psi, method, discounted, trace=None, tests=None, weight="identity"):
    """Return theta from integrals over time; central differences of wide steps are exact for the low degrees met here."""
    kappa, sigma = (0.0, float(model.volatility)) if isinstance(model, BrownianMotion) else (model.kappa, model.sigma)
    beta, horizon = float(model.discount), 1.5
    z, chance = np.polynomial.hermite_e.hermegauss(6)
    chance = chance / chance.sum()
    nodes, weights = np.polynomial.legendre.leggauss(16)
    nodes, weights = (nodes + 1) / 2, weights / 2

    def grown(u):
        return sigma * np.sqrt(u if kappa == 0.0 else (1 - np.exp(-2 * kappa * u)) / (2 * kappa))

    def slope_x(f):
        return lambda t, x: f(t, x + 0.5) - f(t, x - 0.5)

    def residual(f):
        drift = lambda t, x: f(t + 0.5, x) - f(t - 0.5, x) - kappa * x * slope_x(f)(t, x)  # noqa: E731
        return lambda t, x: drift(t, x) + 2 * sigma**2 * (f(t, x + 0.5) - 2 * f(t, x) + f(t, x - 0.5)) - beta * f(t, x)

    t, w = horizon * nodes, horizon * weights
    centre, spread = (0.0, np.full(16, sigma / math.sqrt(2 * kappa))) if model.start is None else (float(model.start) * np.exp(-kappa * t), grown(t))
    x = np.reshape(centre + np.zeros(16), (16, 1)) + spread[:, None] * z
    mass, at = w[:, None] * chance, t[:, None]
    off = residual(psi)
    errors = [residual(f) for f in phi] + [lambda t, x: off(t, x) + model.reward(t, x)]
    if method == "mstde":
        slopes = np.array([slope_x(f)(at, x) for f in [*phi, psi]])
        gram = np.einsum("tz,atz,btz->ab", mass, slopes, slopes)
        return np.linalg.solve(gram[:-1, :-1], -gram[:-1, -1])
    if method in ("martingale-loss", "td-lambda"):
        rate = 0.0 if method == "martingale-loss" else math.log(trace)
        total = np.zeros((len(phi), len(phi) + 1))
        for i in range(16):
            sign = -1.0 if discounted else 1.0
            for node, share in zip(nodes, weights, strict=True):
                u = (horizon - t[i]) * node
                later = np.exp(-kappa * u) * x[i][:, None] + grown(u) * z[None, :]
                factor = (horizon - t[i]) * share * np.exp(sign * beta * t[i] + rate * u - beta * (t[i] + u))
                for a, f in enumerate(phi):
                    for b, error in enumerate(errors):
                        total[a, b] += factor * np.einsum("x,z,x,xz->", mass[i], chance, f(t[i], x[i]), error(t[i] + u, later))
        return np.linalg.solve(-total[:, :-1], total[:, -1])
    xi = np.array([f(at, x) for f in (phi if tests is None else tests)])
    kept = np.exp(-beta * t)[:, None] if discounted else 1.0
    rows = np.einsum("tz,atz,btz->ab", mass * kept, xi, np.array([e(at, x) for e in errors]))
    a, b = -rows[:, :-1], rows[:, -1]
    if method != "td0" and (weight == "gram" or method in ("gtd2", "tdc")):
        half = np.linalg.inv(np.linalg.cholesky(np.einsum("tz,atz,btz->ab", mass, xi, xi)))
        a, b = half @ a, half @ b
    return np.linalg.lstsq(a, b, rcond=None)[0]


PLAIN = [(m, e, n, d) for m, e in METHODS if m not in ("lstd", "martingale-loss", "td-lambda") for n in MODELS for d in (True, False)]
TRACED = [("martingale-loss", {}, "brownian", True), ("td-lambda", {"trace": 0.3}, "ou", False)]


@pytest.mark.parametrize(("method", "extra", "name", "discounted"), PLAIN + TRACED)
def test_limits_are_integrals_over_time(method, extra, name, discounted):
    model = MODELS[name]
    psi = model.terminal + (1.5 - T) * X**2
    found = fixed_point(model, PHI, method=method, offset=psi, discounted=discounted, **extra)
    assert found.theta == pytest.approx(limit_by_definition(model, PHI, psi, method, discounted, **extra), rel=1e-8, abs=1e-10)
    assert found.steps is None
    assert found.matrix @ found.theta == pytest.approx(found.vector, rel=1e-9)


@pytest.mark.parametrize(("method", "extra"), [("td0", {}), ("mstde", {}), ("gtd", {"tests": TESTS}), ("gtd2", {"tests": TESTS})])
def test_fine_steps_of_an_endless_model_tend_to_the_limit(method, extra):
    model = OrnsteinUhlenbeck(0.6, 0.9, 0.4, reward=X**2 + X)
    options = {"method": method, "offset": X**2, **extra}
    assert extrapolated(model, [X**2, X], 50, **options) == pytest.approx(fixed_point(model, [X**2, X], **options).theta, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("method", ["td0", "martingale-loss", "mstde", "gtd2", "gtd"])
@pytest.mark.parametrize("steps", [3, None])
def test_rational_systems_are_solved_exactly(method, steps):
    model = BrownianMotion(reward=X, terminal=X**4, start=Fraction(1, 3), horizon=Fraction(3, 2))
    phi = [(Fraction(3, 2) - T) * X**2, (Fraction(3, 2) - T) * X, (Fraction(3, 2) - T) * T]
    count = 2 if method == "mstde" else 3  # a function of time has no slope
    phi = phi[:count]
    found = fixed_point(model, phi, method=method, steps=steps)
    assert found.exact is not None
    assert found.theta == pytest.approx([float(v) for v in found.exact], rel=1e-15)
    rounded = BrownianMotion(reward=X, terminal=X**4, start=1 / 3, horizon=1.5)
    again = fixed_point(rounded, [(1.5 - T) * X**2, (1.5 - T) * X, (1.5 - T) * T][:count], method=method, steps=steps)
    assert again.exact is None
    assert again.theta == pytest.approx(found.theta, rel=1e-7)
    assert np.linalg.solve(found.matrix, found.vector) == pytest.approx(found.theta, rel=1e-9)


def test_elimination_exchanges_rows_and_stays_rational():
    from certify.martingale.fixed_points import _gauss

    matrix = [[0, 2, 1], [3, 0, -1], [1, 1, Fraction(1, 7)]]
    vector = [5, -2, Fraction(1, 3)]
    found = _gauss(matrix, vector, "it")
    assert [sum(a * x for a, x in zip(row, found, strict=True)) for row in matrix] == vector
    assert all(isinstance(x, Fraction) for x in found)
    floats = _gauss([[0.0, 2.0], [3.0, 0.0]], [4.0, 9.0], "it")
    assert floats == pytest.approx([3.0, 2.0])


@pytest.mark.parametrize(("gap", "rank"), [(1e-8, 2), (1e-13, 1)])
def test_rank_is_counted_in_the_scale_of_the_features(gap, rank):
    """Units do not matter: a feature of size 1e-9 is independent of another, and one that is parallel up to rounding is not."""
    from certify.martingale.fixed_points import _gauss

    matrix = [[1.0, 1e-9], [1e-9 * (1 - gap), 1e-18]]
    if rank == 2:
        assert np.array(matrix) @ _gauss(matrix, [1.0, 1e-9], "it") == pytest.approx([1.0, 1e-9])
    else:
        with pytest.raises(ValueError, match="it has rank 1 of 2"):
            _gauss(matrix, [1.0, 1e-9], "it")


def test_names_of_methods_and_traces_at_the_ends():
    model = BrownianMotion(terminal=X**4)
    phi = [(1 - T) * X**2]
    for trace, other in ((0, "td0"), (0.0, "td0"), (1, "martingale-loss"), (1.0, "martingale-loss")):
        for steps in (5, None):
            assert fixed_point(model, phi, method="td-lambda", trace=trace, steps=steps).theta == pytest.approx(
                fixed_point(model, phi, method=other, steps=steps).theta
            )
    assert fixed_point(model, phi, method="td-lambda", trace=0).method == "td0"
    assert fixed_point(model, phi, method="CTD_Lambda", trace=0.5).method == "td-lambda"


def test_matrices_are_the_sums_that_they_are_said_to_be():
    """One feature (h - t) X of a Brownian motion from 0: E X_s X_t = sigma^2 min(s, t), and its error over a step is -k(t) X."""
    from scipy.integrate import dblquad

    h, beta, sigma, steps, trace = 1.5, 0.7, 0.8, 6, 0.3
    model = BrownianMotion(reward=X, terminal=0 * X, start=0, volatility=sigma, discount=beta, horizon=h)
    feature, dt = [(1.5 - T) * X], h / steps
    t = dt * np.arange(steps)
    k = (h - t) - (h - t - dt) * np.exp(-beta * dt)
    found = fixed_point(model, feature, method="td0", steps=steps, discounted=False)
    assert found.matrix[0][0] == pytest.approx(np.sum((h - t) * k * sigma**2 * t), rel=1e-12)
    found = fixed_point(model, feature, method="td0", steps=steps)
    assert found.matrix[0][0] == pytest.approx(np.sum(np.exp(-beta * t) * (h - t) * k * sigma**2 * t), rel=1e-12)
    sums = [(h - t[j]) * sigma**2 * t[j] * np.sum(trace ** (t[j:] - t[j]) * np.exp(-beta * t[j:]) * k[j:]) for j in range(steps)]
    for discounted, weight in ((True, np.exp(-beta * t)), (False, np.exp(beta * t))):
        found = fixed_point(model, feature, method="td-lambda", trace=trace, steps=steps, discounted=discounted)
        assert found.matrix[0][0] == pytest.approx(weight @ sums, rel=1e-12)
    limit = fixed_point(model, feature, method="td-lambda", trace=trace, discounted=False)
    exact, _ = dblquad(lambda u, s: (h - s) * (1 + beta * (h - s - u)) * trace**u * math.exp(-beta * u) * sigma**2 * s, 0, h, 0, lambda s: h - s)
    assert limit.matrix[0][0] == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("gap", [1e-4, 1e-7])
def test_features_count_as_collinear_by_their_angle(gap):
    """Two features at an angle of 1e-4 are solved for; at 1e-7 the Gram matrix has lost the difference, and the rank is named."""
    near = [(1.5 - T) * X**2, (1.5 - T) * (X**2 + gap * X)]
    if gap > 1e-5:
        found = fixed_point(MODELS["brownian"], near, method="mstde", offset=MODELS["brownian"].terminal)
        assert np.all(np.isfinite(found.theta))
    else:
        with pytest.raises(ValueError, match="rank 1 of 2"):
            fixed_point(MODELS["brownian"], near, method="mstde", offset=MODELS["brownian"].terminal)
