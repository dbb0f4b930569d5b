"""Checks of the theory under the paper: contractions B1, projections B2, projected fixed points B3 and B4."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mdps
from certify.returns import Law, ReturnLaw, cramer, mixture, project_categorical, project_quantile, return_distribution, wasserstein
from theory import distributional_dp as bounds
from verify.check import Check, Control
from verify.checks.distributional_dp import _figures as figures
from verify.checks.distributional_dp._common import check, count, seeds, seeds_strategy
from verify.types import Claim, Estimate, Instance, Slack, Verdict

FloatArray = NDArray[np.float64]
Both = tuple[Estimate, Estimate]

ROUND = Slack(1e-9, 1e-9)


# B1: contractions


def _random_laws(rng: np.random.Generator, states: int) -> list[Law]:
    return [Law(rng.integers(-4, 5, 4), rng.dirichlet(np.ones(4))) for _ in range(states)]


def _chain(instance: Instance) -> tuple[float, FloatArray, FloatArray, list[Law], list[Law]]:
    """Return gamma, P (S, S), r (S, S) and two return-distribution functions."""
    gamma = float(instance.params["gamma"])
    if instance.params.get("kind") == "points":
        return gamma, np.ones((1, 1)), np.zeros((1, 1)), [Law.point(0.0)], [Law.point(1.0)]
    rng = np.random.Generator(np.random.Philox(int(instance.params["seed"])))
    P, r = rng.dirichlet(np.ones(3), 3), rng.integers(-2, 3, (3, 3)).astype(float)
    return gamma, P, r, _random_laws(rng, 3), _random_laws(rng, 3)


def _bellman(gamma: float, P: FloatArray, r: FloatArray, laws: list[Law]) -> list[Law]:
    return [mixture([laws[t].affine(r[s, t], gamma) for t in range(len(laws))], P[s].tolist()) for s in range(len(laws))]


def _chains(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("point masses", {"kind": "points", "gamma": 0.6})
    for i, s in enumerate(seeds(seed, count(budget, 10, 60))):
        yield Instance(f"chain {i}", {"kind": "random", "seed": s, "gamma": (0.3, 0.6, 0.9)[i % 3]})


def _contraction(metric: str, orders: tuple[float, ...], factor: Callable[[float, float], Any]) -> Callable[[Instance, int], Both]:
    distance = {"wasserstein": wasserstein, "cdf": cramer}[metric]

    def sides(instance: Instance, seed: int) -> Both:
        """Largest distance over states after one update, and the contraction factor times the largest distance before, for every order."""
        gamma, P, r, eta, other = _chain(instance)
        after = zip(_bellman(gamma, P, r, eta), _bellman(gamma, P, r, other), strict=True)
        pairs = list(after)
        left = [max(float(distance(a, b, p=p)) for a, b in pairs) for p in orders]
        right = [float(factor(gamma, p)) * max(float(distance(a, b, p=p)) for a, b in zip(eta, other, strict=True)) for p in orders]
        return Estimate.numeric(left), Estimate.numeric(right)

    return sides


_W_ORDERS, _L_ORDERS = (1.0, 2.0, np.inf), (1.0, 2.0, 4.0)


def _wasserstein_factor(gamma: float, p: float) -> Any:
    return bounds.contraction_factor(gamma, p)


def _cdf_factor(gamma: float, p: float) -> Any:
    return bounds.contraction_factor(gamma, p, metric="cdf")


def _greedy_sides(fixed: bool) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """Distance of the outputs of the greedy operator, and a hundred times the distance of its inputs."""
        eps, gamma = float(instance.params["eps"]), 0.9
        spread = [Law([-1, 1], [0.5 - e, 0.5 + e]) for e in (eps, -eps)]
        calm = Law.point(0.0)
        chosen = [spread[i] if fixed or spread[i].mean() > 0 else calm for i in (0, 1)]
        out = wasserstein(chosen[0].affine(0.0, gamma), chosen[1].affine(0.0, gamma))
        return Estimate.numeric(float(out)), Estimate.numeric(100.0 * float(wasserstein(spread[0], spread[1])))

    return sides


def _epsilons(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance(f"eps = {e:g}", {"eps": e}) for e in (1e-3, 1e-2, 1e-1)]


def _points(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance("point masses", {"kind": "points", "gamma": 0.6})]


# B2: projections


def _law_on_unit(instance: Instance) -> tuple[Law, FloatArray]:
    """Return a law on [0, 1] and a grid over it."""
    K = int(instance.params["K"])
    if instance.params["kind"] == "midpoint":
        grid = np.linspace(0.0, 1.0, K)
        return Law.point(0.5 * (grid[0] + grid[1])), grid
    rng = np.random.Generator(np.random.Philox(int(instance.params["seed"])))
    inner = np.sort(rng.random(K - 2)) if instance.params["kind"] == "uneven" else np.linspace(0.0, 1.0, K)[1:-1]
    return Law(rng.random(6), rng.dirichlet(np.ones(6))), np.concatenate([[0.0], inner, [1.0]])


def _unit_laws(*kinds: str) -> Callable[[str, int], Iterable[Instance]]:
    def instances(budget: str, seed: int) -> Iterable[Instance]:
        yield Instance("midpoint", {"kind": "midpoint", "K": 5})
        for i, s in enumerate(seeds(seed, count(budget, 20, 400))):
            yield Instance(f"law {i}", {"kind": kinds[i % len(kinds)], "seed": s, "K": (3, 5, 9, 17)[i % 4]})

    return instances


def _cramer_projection(scale: float) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """Squared Cramer distance of a law to its projection, and dz/4 times the sum of squared masses inside the cells."""
        law, grid = _law_on_unit(instance)
        x, p = law.as_floats()
        inside = ~np.isclose(x[:, None], grid).any(axis=1)
        cells = np.bincount(np.searchsorted(grid, x[inside]) - 1, weights=p[inside], minlength=len(grid) - 1)
        left = cramer(law, project_categorical(law, grid)) ** 2
        return Estimate.numeric(left), Estimate.numeric(scale * bounds.categorical_cramer_bound(grid[1] - grid[0], cells))

    return sides


def _wasserstein_projection(scale: float) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """W_1 distance of a law to its projection, and half the largest gap of the grid."""
        law, grid = _law_on_unit(instance)
        left = float(wasserstein(law, project_categorical(law, grid)))
        return Estimate.numeric(left), Estimate.numeric(scale * bounds.categorical_wasserstein_bound(np.diff(grid).max()))

    return sides


def _preserved(kinks_on_grid: bool, short: bool = False) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """E g before and after projection, for the mean and random g with kinks at grid nodes."""
        law, grid = _law_on_unit(instance)
        rng = np.random.Generator(np.random.Philox(int(instance.params.get("seed", 0)) + 1))
        nodes = grid if kinks_on_grid else 0.5 * (grid[1:] + grid[:-1])
        kinks = rng.choice(nodes, 3)
        projected = project_categorical(law, grid if not short else np.linspace(0.3, 0.7, len(grid)), clip=short)
        tests: list[Callable[[Any], Any]] = [lambda x: x, *[lambda x, k=k: abs(x - k) for k in kinks]]
        return Estimate.numeric([float(projected.expect(g)) for g in tests]), Estimate.numeric([float(law.expect(g)) for g in tests])

    return sides


def _quantile_laws(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("two points", {"kind": "two", "p": 0.4999, "m": 1})
    for i, s in enumerate(seeds(seed, count(budget, 20, 400))):
        yield Instance(f"law {i}", {"kind": "uniform", "seed": s, "K": 3, "m": (1, 2, 5, 11)[i % 4]})


def _quantile_projection(scale: float) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """W_1 distance of a law to its m mid-quantiles, and R/(2m)."""
        p = instance.params
        law = Law([0.0, 1.0], [p["p"], 1.0 - p["p"]]) if p["kind"] == "two" else _law_on_unit(instance)[0]
        left = float(wasserstein(law, project_quantile(law, int(p["m"]))))
        return Estimate.numeric(left), Estimate.numeric(scale * bounds.quantile_wasserstein_bound(float(law.width), int(p["m"])))

    return sides


def _expansion(project: Callable[[Law], Law]) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """W_1 distance of two projected laws, and ten times the distance of the laws."""
        e = float(instance.params["eps"])
        a, b = Law([0.0, 1.0], [0.5 - e, 0.5 + e]), Law([0.0, 1.0], [0.5 + e, 0.5 - e])
        return Estimate.numeric(float(wasserstein(project(a), project(b)))), Estimate.numeric(10.0 * float(wasserstein(a, b)))

    return sides


# B3 and B4: fixed points


@lru_cache(maxsize=256)
def _reward_chain(seed: int) -> tuple[mdps.TabularMDP, ReturnLaw]:
    """Return a chain of three states with rewards in {0, 1, 2} and gamma = 1/2, and its law by eleven exact steps.

    Seed -1 is the chain that always earns 1: its return 2 is the midpoint of a cell of the grid of six atoms on [0, 4].
    """
    if seed == -1:
        still = mdps.TabularMDP(np.eye(3)[:, None, :], np.ones((3, 1)), discount=0.5)
        return still, return_distribution(still, np.zeros(3, dtype=int), representation="exact")
    rng = np.random.Generator(np.random.Philox(seed))
    P, r = rng.dirichlet(np.ones(3), (3, 1)), rng.integers(0, 3, (3, 1, 3)).astype(float)
    model = mdps.TabularMDP(P, r, discount=0.5)
    return model, return_distribution(model, np.zeros(3, dtype=int), representation="exact", sweeps=11)


def _fixed_points(sizes: tuple[int, ...]) -> Callable[[str, int], Iterable[Instance]]:
    def instances(budget: str, seed: int) -> Iterable[Instance]:
        yield Instance("midpoint", {"seed": -1, "size": 6})
        for i, s in enumerate(seeds(seed, count(budget, 2, 12))):
            for size in sizes:
                yield Instance(f"chain {i}, {size}", {"seed": s, "size": size})

    return instances


def _fixed_point(kind: str, scale: float) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """Distance of the projected fixed point to the truth, largest over the states, and its bound."""
        model, truth = _reward_chain(int(instance.params["seed"]))
        size, gamma = int(instance.params["size"]), 0.5
        atoms: Any = np.linspace(0.0, 4.0, size) if kind != "quantile" else size
        found = return_distribution(model, np.zeros(3, dtype=int), representation="quantile" if kind == "quantile" else "categorical", atoms=atoms)
        pairs = list(zip(found.laws, truth.laws, strict=True))
        error = truth.wasserstein_error + 1e-9
        if kind == "cramer":
            left, error = max(cramer(a, b) ** 2 for a, b in pairs), 2.0 * error
            right = bounds.categorical_fixed_point_cramer(4.0 / (size - 1), gamma)
        else:
            left = max(float(wasserstein(a, b)) for a, b in pairs)
            right = (
                bounds.quantile_fixed_point_wasserstein(4.0, size, gamma)
                if kind == "quantile"
                else bounds.categorical_fixed_point_wasserstein(4.0 / (size - 1), gamma)
            )
        return Estimate(left, max(0.0, left - error), left + error), Estimate.numeric(scale * right)

    return sides


def _cycle(instance: Instance) -> tuple[mdps.TabularMDP, FloatArray, FloatArray]:
    """Return a deterministic cycle with rewards in [0, 1 - gamma], its returns, and a grid on [0, 1]."""
    p = instance.params
    n, gamma = int(p["length"]), float(p["gamma"])
    rng = np.random.Generator(np.random.Philox(int(p["seed"])))
    r = (1.0 - gamma) * rng.random(n)
    P = np.roll(np.eye(n), 1, axis=1)
    model = mdps.TabularMDP(P[:, None, :], r[:, None], discount=gamma)
    return model, np.asarray(np.linalg.solve(np.eye(n) - gamma * P, r), dtype=np.float64), np.linspace(0.0, 1.0, int(p["K"]))


def _cycles(*gammas: float) -> Callable[[str, int], Iterable[Instance]]:
    def instances(budget: str, seed: int) -> Iterable[Instance]:
        for i, s in enumerate(seeds(seed, count(budget, 9, 90))):
            gamma, K = gammas[i % len(gammas)], (6, 11, 21)[(i // len(gammas)) % 3]
            yield Instance(f"cycle {i}", {"seed": s, "gamma": gamma, "K": K, "length": 2 + s % 10})

    return instances


@lru_cache(maxsize=512)
def _solved(seed: int, gamma: float, K: int, length: int) -> tuple[ReturnLaw, FloatArray]:
    instance = Instance("", {"seed": seed, "gamma": gamma, "K": K, "length": length})
    model, x, grid = _cycle(instance)
    return return_distribution(model, np.zeros(length, dtype=int), atoms=grid), x


def _of(instance: Instance) -> tuple[ReturnLaw, FloatArray, float, float]:
    p = instance.params
    found, x = _solved(int(p["seed"]), float(p["gamma"]), int(p["K"]), int(p["length"]))
    return found, x, 1.0 / (int(p["K"]) - 1), float(p["gamma"])


def _spread(order: int, right: Callable[[float, float], Any]) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """Distance W_2 (or W_1) of the categorical fixed point of a deterministic cycle to its return, largest over the states, and the bound."""
        found, x, dz, gamma = _of(instance)
        left = max(float(wasserstein(law, Law.point(float(v)), p=order)) for law, v in zip(found.laws, x, strict=True))
        return Estimate.numeric(left), Estimate.numeric(right(dz, gamma))

    return sides


def _variance(quantile: bool) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """Differences of mean and variance to the truth, both ways, and 0, 0, the bound, 0."""
        found, x, dz, gamma = _of(instance)
        if quantile:
            model, _, grid = _cycle(instance)
            rng = np.random.Generator(np.random.Philox(int(instance.params["seed"]) + 1))
            noisy = model.dense() * 0.8 + 0.2 * rng.dirichlet(np.ones(len(x)), (len(x), 1))
            model = mdps.TabularMDP(noisy, model.expected_reward, discount=gamma)
            x = np.linalg.solve(np.eye(len(x)) - gamma * noisy[:, 0], model.expected_reward[:, 0])
            found = return_distribution(model, np.zeros(len(x), dtype=int), representation="quantile", atoms=grid.size)
        mean = np.array([float(law.mean()) for law in found.laws]) - x
        spread = np.array([float(law.variance()) for law in found.laws])
        limit = float(bounds.spread_variance(dz, gamma))
        return Estimate.numeric([mean.max(), -mean.min(), spread.max(), -spread.min()]), Estimate.numeric([0.0, 0.0, limit, 0.0])

    return sides


_TAUS = (0.1, 0.5, 0.9)


def _cvar_gap(both: bool) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """True minus projected lower CVaR at three levels, largest over the states, with its bound; and its negative with 0."""
        found, x, dz, gamma = _of(instance)
        gap = np.array([[float(v) - float(law.cvar(tau)) for tau in _TAUS] for law, v in zip(found.laws, x, strict=True)])
        limit = bounds.spread_cvar_gap(dz, gamma, np.array(_TAUS))
        if not both:
            return Estimate.numeric(gap.max(axis=0)), Estimate.numeric(np.zeros(len(_TAUS)))
        return Estimate.numeric(np.concatenate([gap.max(axis=0), -gap.min(axis=0)])), Estimate.numeric(np.concatenate([limit, np.zeros(len(_TAUS))]))

    return sides


def _iterate(model: mdps.TabularMDP, grid: FloatArray, n: int, start: int) -> list[Law]:
    """Return the laws after n projected sweeps from the point mass at one atom."""
    P, r, gamma = model.dense()[:, 0], model.expected_reward[:, 0], float(model.discount or 0.0)
    laws = [Law.point(float(grid[start]))] * len(P)
    for _ in range(n):
        laws = [project_categorical(law, grid) for law in _bellman(gamma, P, np.repeat(r[:, None], len(P), axis=1), laws)]
    return laws


def _sweeps(start: int) -> Callable[[Instance, int], Both]:
    def sides(instance: Instance, seed: int) -> Both:
        """After few sweeps: projected minus true CVaR at three levels with 0, and W_1 with its bound."""
        p = instance.params
        if p.get("kind") == "still":
            model, x, grid = mdps.TabularMDP(np.ones((1, 1, 1)), np.zeros((1, 1)), discount=0.5), np.zeros(1), np.array([0.0, 1.0])
        else:
            model, x, grid = _cycle(instance)
        n = int(p["n"])
        laws = _iterate(model, grid, n, start)
        above = [max(float(law.cvar(tau)) - float(v) for law, v in zip(laws, x, strict=True)) for tau in _TAUS]
        distance = max(float(wasserstein(law, Law.point(float(v)))) for law, v in zip(laws, x, strict=True))
        limit = bounds.sweep_wasserstein(grid[1] - grid[0], float(model.discount or 0.0), n, float(np.abs(x - grid[start]).max()))
        return Estimate.numeric([*above, distance]), Estimate.numeric([0.0, 0.0, 0.0, float(limit)])

    return sides


def _few_sweeps(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("no reward", {"kind": "still", "n": 1})
    for i, s in enumerate(seeds(seed, count(budget, 8, 60))):
        yield Instance(f"cycle {i}", {"kind": "cycle", "seed": s, "gamma": (0.5, 0.9)[i % 2], "K": 6, "length": 2 + s % 4, "n": 1 + i % 6})


def _still(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance("no reward", {"kind": "still", "n": 1})]


_LE, _GE_EXISTS = Claim("<=", ROUND), Claim(">=", ROUND, quantifier="exists")
_HOLDS = Verdict.HOLDS

CHECKS: tuple[Check, ...] = (
    check(
        "B1",
        _LE,
        _chains,
        _contraction("wasserstein", _W_ORDERS, _wasserstein_factor),
        [Control("gamma squared", _contraction("wasserstein", _W_ORDERS, lambda g, p: g * g))],
        figures.contractions,
        quick=2.0,
        strategy=seeds_strategy({"kind": "random"}, gamma=(0.05, 0.99)),
    ),
    check(
        "B1-cdf",
        _LE,
        _chains,
        _contraction("cdf", _L_ORDERS, _cdf_factor),
        [Control("gamma for every order", _contraction("cdf", _L_ORDERS, lambda g, p: g))],
        figures.contractions,
        strategy=seeds_strategy({"kind": "random"}, gamma=(0.05, 0.99)),
    ),
    check(
        "B1-cramer-gamma",
        _LE,
        _points,
        _contraction("cdf", (2.0,), lambda g, p: g),
        [Control("square root of gamma", _contraction("cdf", (2.0,), _cdf_factor), _HOLDS)],
        figures.contractions,
        box={"gamma": (0.05, 0.99)},
        strategy=seeds_strategy({"kind": "points"}, gamma=(0.05, 0.99)),
    ),
    check("B1-greedy", _GE_EXISTS, _epsilons, _greedy_sides(False), [Control("a fixed policy", _greedy_sides(True))], figures.contractions),
    check(
        "B2-cramer",
        _LE,
        _unit_laws("uniform"),
        _cramer_projection(1.0),
        [Control("half the constant", _cramer_projection(0.5))],
        figures.projections,
        quick=2.0,
    ),
    check(
        "B2-wasserstein",
        _LE,
        _unit_laws("uniform", "uneven"),
        _wasserstein_projection(1.0),
        [Control("half the constant", _wasserstein_projection(0.5))],
        figures.projections,
    ),
    check(
        "B2-mean",
        Claim("==", 1e-12),
        _unit_laws("uniform", "uneven"),
        _preserved(True),
        [Control("kinks between nodes", _preserved(False)), Control("a grid too short, clipped", _preserved(True, short=True))],
        figures.projections,
    ),
    check("B2-quantile", _LE, _quantile_laws, _quantile_projection(1.0), [Control("half the constant", _quantile_projection(0.5))], figures.projections),
    check(
        "B2-quantile-expansive",
        _GE_EXISTS,
        _epsilons,
        _expansion(lambda law: project_quantile(law, 1)),
        [Control("categorical projection", _expansion(lambda law: project_categorical(law, np.array([0.0, 1.0]))))],
        figures.projections,
    ),
    check(
        "B3-cramer",
        _LE,
        _fixed_points((5, 9, 17, 33)),
        _fixed_point("cramer", 1.0),
        [Control("a quarter of the bound", _fixed_point("cramer", 0.25))],
        figures.projection_errors,
        quick=4.0,
    ),
    check(
        "B3-wasserstein",
        _LE,
        _fixed_points((5, 9, 17, 33)),
        _fixed_point("wasserstein", 1.0),
        [Control("a quarter of the bound", _fixed_point("wasserstein", 0.25))],
        figures.projection_errors,
    ),
    check(
        "B3-quantile",
        _LE,
        _fixed_points((2, 5, 11)),
        _fixed_point("quantile", 1.0),
        [Control("an eighth of the bound", _fixed_point("quantile", 0.125))],
        figures.projection_errors,
        quick=3.0,
    ),
    check(
        "B4-wasserstein",
        _LE,
        _cycles(0.5, 0.9, 0.97),
        _spread(2, bounds.spread_wasserstein),
        [Control("dz/2 alone", _spread(2, lambda dz, g: dz / 2))],
        figures.projection_errors,
        quick=2.0,
    ),
    check(
        "B4-no-accumulation",
        _LE,
        _cycles(0.9, 0.99),
        _spread(1, lambda dz, g: dz / 2),
        [Control("with 1/sqrt(1 - gamma^2)", _spread(1, bounds.spread_wasserstein), _HOLDS)],
        figures.projection_errors,
    ),
    check("B4-variance", _LE, _cycles(0.5, 0.9, 0.97), _variance(False), [Control("quantile fixed points", _variance(True))], figures.projection_errors),
    check(
        "B4-cvar", _LE, _cycles(0.5, 0.9, 0.97), _cvar_gap(True), [Control("projected CVaR above the true one", _cvar_gap(False))], figures.projection_errors
    ),
    check("B4-sweeps", _LE, _few_sweeps, _sweeps(0), [Control("start at the highest atom", _sweeps(-1))], figures.projection_errors),
    check("B4-any-start", _LE, _still, _sweeps(-1), [Control("start at the lowest atom", _sweeps(0), _HOLDS)], figures.projection_errors),
)
