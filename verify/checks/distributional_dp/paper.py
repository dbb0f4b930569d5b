"""Checks of what is optimal (G1-G5, G10), on models small enough to enumerate every history-dependent policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.returns import expected_utility, log_periodic, maximise_cvar, optimise, piecewise_linear
from theory import distributional_dp as bounds
from verify.check import Check, Control
from verify.checks.distributional_dp import _figures as figures
from verify.checks.distributional_dp import _methods as methods
from verify.checks.distributional_dp._common import check, count, seeds, seeds_strategy
from verify.checks.distributional_dp._oracle import Lattice, acceptance, achievable, random_lattice
from verify.types import Claim, Estimate, Instance, Slack, Verdict

FloatArray = NDArray[np.float64]
Both = tuple[Estimate, Estimate]
Sides = Callable[[Instance, int], Both]

STOCKS = (-2.0, -1.0, 0.0, 0.5, 1.0)
TAUS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
Scalar = Callable[[Any], Any]


def utilities(q: int) -> dict[str, tuple[Any, Scalar]]:
    """Return the utilities of G3 for gamma = 1/q: as an objective, and as a plain function."""
    made: dict[str, tuple[Any, Scalar]] = {
        "min(x, 0)": (piecewise_linear(1, 0), lambda x: np.minimum(x, 0)),
        "-|x|": (piecewise_linear(1, -1), lambda x: -np.abs(x)),
        "-x^2": (expected_utility(lambda x: -np.square(x)), lambda x: -np.square(x)),
        "1{x >= 0}": (expected_utility(lambda x: 1.0 * (x >= 0)), lambda x: 1.0 * (x >= 0)),
        "x": (piecewise_linear(1, 1), lambda x: x),
    }
    if q == 2:
        made["log-periodic"] = (log_periodic(0.5), log_periodic(0.5).utility)
    if q == 1:
        made["-exp(-x)"] = (expected_utility(lambda x: -np.exp(-x)), lambda x: -np.exp(-x))
        made["tanh"] = (expected_utility(np.tanh), np.tanh)
        made["sin 2x"] = (expected_utility(lambda x: np.sin(2 * x)), lambda x: np.sin(2 * x))
    return made


def small_models(budget: str, seed: int, quick: int = 6, full: int = 110) -> Iterable[Instance]:
    """Yield models of two states and two actions, horizon 3, gamma 1 or 1/2."""
    for i, s in enumerate(seeds(seed, count(budget, quick, full))):
        yield Instance(f"model {i}", {"seed": s, "q": 1 + i % 2, "state": (i // 2) % 2})


def _model(instance: Instance) -> tuple[Lattice, int]:
    p = instance.params
    return random_lattice(int(p["seed"]), q=int(p["q"])), int(p["state"])


# G1, G2


def _one_step(divide: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Functionals of c + law of T_pi eta, and of the mixture of gamma (c' + G')."""
        rng = np.random.Generator(np.random.Philox(int(instance.params["seed"])))
        gamma, c = float(instance.params["gamma"]), float(rng.integers(-3, 4))
        p, r = rng.dirichlet(np.ones(4)), rng.integers(-2, 3, 4).astype(float)
        laws = [dict(zip(rng.integers(-4, 5, 3).astype(float).tolist(), rng.dirichlet(np.ones(3)).tolist(), strict=False)) for _ in range(4)]
        laws = [{x: w / sum(law.values()) for x, w in law.items()} for law in laws]
        direct: dict[float, float] = {}
        through: dict[float, float] = {}
        for i in range(4):
            stock = (c + r[i]) / gamma if divide else c + r[i]
            for x, w in laws[i].items():
                for table, value in ((direct, c + r[i] + gamma * x), (through, gamma * (stock + x))):
                    key = round(value, 9)
                    table[key] = table.get(key, 0.0) + p[i] * w
        functionals: list[Callable[[methods.Pairs], float]] = [
            lambda law: methods.pairs_cvar(law, 0.5),
            lambda law: methods.expect(law, lambda x: min(x, 0.0)),
            lambda law: -float(np.log(methods.expect(law, lambda x: np.exp(-x)))),
        ]
        return Estimate.numeric([k(direct) for k in functionals]), Estimate.numeric([k(through) for k in functionals])

    return sides


def _draws(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance(f"draw {i}", {"seed": s, "gamma": (0.5, 0.9, 1.0)[i % 3]}) for i, s in enumerate(seeds(seed, count(budget, 12, 200)))]


_VALUES = np.arange(-3.0, 4.0)


def _functional(name: str) -> Callable[[FloatArray], FloatArray]:
    """Return a functional of rows of masses on -3..3."""
    if name == "median":
        return lambda p: _VALUES[np.minimum((np.cumsum(p, axis=1) < 0.5 - 1e-12).sum(axis=1), 6)]
    if name == "mean minus variance":
        return lambda p: p @ _VALUES - 0.3 * (p @ _VALUES**2 - (p @ _VALUES) ** 2)
    if name == "CVaR":
        return lambda p: np.clip(0.5 - (np.cumsum(p, axis=1) - p), 0.0, p) @ _VALUES / 0.5
    if name == "entropic":
        return lambda p: -np.log(p @ np.exp(-_VALUES))
    return lambda p: p @ np.minimum(_VALUES, 0.0)


def _reversal(*names: str) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest loss of order when laws that are each at least as good are mixed, over random quadruples; and 0."""
        rng = np.random.Generator(np.random.Philox(int(instance.params["seed"])))
        sparse = [rng.dirichlet(np.full(7, 0.2), 4000) for _ in range(4)]
        w = rng.random(4000)[:, None]
        losses = []
        for name in names:
            K = _functional(name)
            ordered = [(np.where((K(a) >= K(b))[:, None], a, b), np.where((K(a) >= K(b))[:, None], b, a)) for a, b in (sparse[:2], sparse[2:])]
            good, bad = (w * ordered[0][i] + (1 - w) * ordered[1][i] for i in (0, 1))
            losses.append(float((K(bad) - K(good)).max()))
        return Estimate.numeric(losses), Estimate.numeric(np.zeros(len(names)))

    return sides


_GAMMA_UTILITIES: dict[str, Scalar] = {
    "min(x, 0)": lambda x: np.minimum(x, 0),
    "-|x|": lambda x: -np.abs(x),
    "-x^2": lambda x: -np.square(x),
    "1{x >= 0}": lambda x: 1.0 * (x >= 0),
    "log-periodic": log_periodic(0.5).utility,
    "min(x, 1)": lambda x: np.minimum(x, 1),
    "tanh": np.tanh,
}


def _gamma_reversal(*names: str) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest loss of order when both laws are scaled by gamma = 1/2, over random pairs; and 0."""
        rng = np.random.Generator(np.random.Philox(int(instance.params["seed"])))
        a, b = (rng.dirichlet(np.full(7, 0.3), 4000) for _ in range(2))
        losses = []
        for name in names:
            f = _GAMMA_UTILITIES[name]
            full, scaled = f(2.0 * _VALUES), f(_VALUES)
            better = (a - b) @ full >= 0
            losses.append(float(np.where(better, (b - a) @ scaled, (a - b) @ scaled).max()))
        return Estimate.numeric(losses), Estimate.numeric(np.zeros(len(names)))

    return sides


# G3, G10: finite horizon


def _shifted(f: Scalar, c: float) -> Scalar:
    return lambda x: f(c + x)


def _dp_against_enumeration(instance: Instance, seed: int) -> Both:
    """Optimal values by dynamic programming with stock, for every utility and five stocks, and the best of all history-dependent policies."""
    model, state = _model(instance)
    every = achievable(model, state, 3)
    left, right = [], []
    for objective, f in utilities(model.q).values():
        for c in STOCKS:
            left.append(optimise(model.mdp(), objective, stock=c, horizon=3, initial=state).value)
            right.append(every.best(_shifted(f, c)))
    return Estimate.numeric(left), Estimate.numeric(right)


def _without_stock(instance: Instance, seed: int) -> Both:
    """Values of dynamic programming that forgets the past, and the best of all history-dependent policies."""
    model, state = _model(instance)
    every = achievable(model, state, 3)
    left, right = [], []
    for _, f in utilities(model.q).values():
        law = methods.functional_dp(model, methods.utility_functional(f), methods.no_stock, 3, state, 0.0)
        left.append(methods.expect(law, f))
        right.append(every.best(f))
    return Estimate.numeric(left), Estimate.numeric(right)


_CLOCKED: dict[str, Scalar] = {"tanh": np.tanh, "-exp(-x)": lambda x: -np.exp(-x), "min(x, 1)": lambda x: np.minimum(x, 1.0)}


def _with_clock(instance: Instance, seed: int) -> Both:
    """Optimal values with a clock at gamma = 1/2 for utilities that are not indifferent to gamma, and the best of all policies."""
    model, state = random_lattice(int(instance.params["seed"]), q=2), int(instance.params["state"])
    every = achievable(model, state, 3)
    left, right = [], []
    for f in _CLOCKED.values():
        for c in STOCKS:
            left.append(optimise(model.mdp(), expected_utility(f), stock=c, horizon=3, initial=state, clock=True).value)
            right.append(every.best(_shifted(f, c)))
    return Estimate.numeric(left), Estimate.numeric(right)


def _without_clock(instance: Instance, seed: int) -> Both:
    """Values of the policy that is greedy for E f(c + G) without a clock, and the best of all policies."""
    model, state = random_lattice(int(instance.params["seed"]), q=2), int(instance.params["state"])
    every = achievable(model, state, 3)
    left, right = [], []
    for f in _CLOCKED.values():
        for c in STOCKS:
            law = methods.functional_dp(model, methods.utility_functional(f), methods.right_stock, 3, state, c)
            left.append(methods.expect(law, _shifted(f, c)))
            right.append(every.best(_shifted(f, c)))
    return Estimate.numeric(left), Estimate.numeric(right)


# G4, G5: CVaR


def _cvar_models(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("acceptance", {"kind": "acceptance"})
    yield from small_models(budget, seed, 10, 1000)


def _acceptance_cvar() -> tuple[tuple[float, ...], list[float]]:
    taus = (0.3, 0.625, 0.7, 0.75, 0.9, 0.95, 1.0)
    return taus, [2.0, 2.0, 4 - 5 / (4 * 0.7), 7 / 3, 65 / 24, 5.5 - (161 / 64) / 0.95, 3.0]


def _cvar(method: Callable[[Lattice, int, float], float]) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest CVaR by the search over the initial stock at several levels, and the best of all history-dependent policies."""
        if instance.params.get("kind") == "acceptance":
            taus, truth = _acceptance_cvar()
            return Estimate.numeric([maximise_cvar(acceptance().mdp(), tau).value for tau in taus]), Estimate.numeric(truth)
        model, state = _model(instance)
        every = achievable(model, state, 3)
        return Estimate.numeric([method(model, state, tau) for tau in TAUS]), Estimate.numeric([every.best_cvar(tau) for tau in TAUS])

    return sides


def searched(model: Lattice, state: int, tau: float) -> float:
    """Return the CVaR of `certify.returns.maximise_cvar`."""
    return maximise_cvar(model.mdp(), tau, horizon=3, initial=state).value


def decomposed(model: Lattice, state: int, tau: float) -> float:
    """Return the value of dynamic programming on (state, risk level)."""
    return float(methods.risk_levels(model, 3)[state].at(np.array([tau]))[0] / tau)


def _unsearched(model: Lattice, state: int, tau: float) -> float:
    """Return the CVaR of the policy that is optimal for c_0 = 0."""
    law, _ = optimise(model.mdp(), piecewise_linear(1, 0), horizon=3, initial=state).return_law()
    return float(law.cvar(tau))


def _search_grid(limit: Callable[[float, float], Any]) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Loss of the outer search on a grid of step H, at several levels, and its bound."""
        p = instance.params
        if p["kind"] == "point":
            atoms, masses = np.zeros(1), np.ones((1, 1))
        else:
            every = achievable(random_lattice(int(p["seed"]), q=1), 0, 3)
            atoms, masses = every.atoms, every.masses
        H = float(p["H"])
        grid = np.arange(-14.0, 14.0, H) + float(p["offset"]) * H
        losses, limits = [], []
        for tau in TAUS[:-1]:
            value = {name: -c + (masses @ np.minimum(c + atoms[:, None], 0.0)).max(axis=0) / tau for name, c in (("grid", grid), ("atoms", -atoms))}
            losses.append(float(value["atoms"].max() - value["grid"].max()))
            limits.append(float(limit(tau, H)))
        return Estimate.numeric(losses), Estimate.numeric(limits)

    return sides


def _search_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("point mass", {"kind": "point", "H": 0.7, "offset": 0.35})
    yield Instance("point mass, near", {"kind": "point", "H": 0.7, "offset": 0.9})
    for i, s in enumerate(seeds(seed, count(budget, 6, 60))):
        yield Instance(f"model {i}", {"kind": "random", "seed": s, "H": (0.3, 0.7, 1.9)[i % 3], "offset": (i % 7) / 7})


def arms() -> Lattice:
    """Return one decision between 1 for sure and 3 with probability 1/4: the instance of G5."""
    return Lattice(*_arms_arrays(), q=1)


def _arms_arrays() -> tuple[FloatArray, FloatArray]:
    P, R = np.zeros((3, 2, 3)), np.zeros((3, 2, 3))
    P[0, 0, 1], P[0, 1, 1], P[0, 1, 2] = 1.0, 0.25, 0.75
    R[0, 0, 1], R[0, 1, 1] = 1.0, 3.0
    P[1, :, 1] = P[2, :, 2] = 1.0
    return P, R


def _upper_models(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("arms", {"kind": "arms"})
    yield from small_models(budget, seed, 4, 60)


def _upper(deterministic: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Upper-tail CVaR of the mixture found (or of the best deterministic policy), and the dual minimum over all laws."""
        if instance.params.get("kind") == "arms":
            model, state, horizon = arms(), 0, 1
        else:
            (model, state), horizon = _model(instance), 3
        every = achievable(model, state, horizon)
        left, right = [], []
        for tau in (0.25, 0.5, 0.8):
            if deterministic:
                masses, atoms = every.masses[:, ::-1], every.atoms[::-1]
                left.append(float((np.clip(tau - (np.cumsum(masses, axis=1) - masses), 0.0, masses) @ atoms).max() / tau))
            else:
                left.append(maximise_cvar(model.mdp(), tau, horizon=horizon, initial=state, tail="upper").value)
            right.append(_dual(every.masses, every.atoms, tau))
        return Estimate.numeric(left), Estimate.numeric(right)

    return sides


def _dual(masses: FloatArray, atoms: FloatArray, tau: float) -> float:
    """Return min over q of q + max over laws of E max(G - q, 0)/tau, a convex function of q, by golden sections."""

    def value(q: float) -> float:
        return q + float((masses @ np.maximum(atoms - q, 0.0)).max()) / tau

    low, high, ratio = float(atoms[0]), float(atoms[-1]), 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(90):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if value(a) <= value(b) else (a, high)
    return value(0.5 * (low + high))


def _only_arms(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance("arms", {"kind": "arms"})]


_LE = Claim("<=", Slack(1e-10, 1e-10))
_SMALL = seeds_strategy({"q": 2, "state": 0})

CHECKS: tuple[Check, ...] = (
    check(
        "G1",
        Claim("==", Slack(1e-8, 1e-8)),
        _draws,
        _one_step(True),
        [Control("stock c + r, not divided by gamma", _one_step(False))],
        figures.stock_trajectory,
    ),
    check(
        "G2-mixtures",
        Claim("<=", 1e-9),
        _draws,
        _reversal("min(x, 0)", "entropic"),
        [Control(name, _reversal(name)) for name in ("CVaR", "median", "mean minus variance")],
        figures.value_against_stock,
    ),
    check(
        "G2-gamma",
        Claim("<=", 1e-9),
        _draws,
        _gamma_reversal("min(x, 0)", "-|x|", "-x^2", "1{x >= 0}", "log-periodic"),
        [Control(name, _gamma_reversal(name)) for name in ("min(x, 1)", "tanh")],
        figures.value_against_stock,
    ),
    check(
        "G3",
        Claim("==", Slack(1e-12, 1e-12)),
        small_models,
        _dp_against_enumeration,
        [Control("the past is forgotten", _without_stock)],
        figures.return_laws,
        quick=4.0,
        full=60.0,
        strategy=_SMALL,
    ),
    check(
        "G4",
        Claim("==", Slack(1e-12, 1e-12)),
        _cvar_models,
        _cvar(searched),
        [
            Control("c_0 = 0 instead of the search", _cvar(_unsearched), instances=small_models),
            Control("risk levels as state", _cvar(decomposed), instances=lambda budget, seed: small_models("quick", seed, 40)),
        ],
        figures.cvar_of_acceptance,
        quick=3.0,
        full=90.0,
        strategy=_SMALL,
    ),
    check(
        "G4-search",
        _LE,
        _search_instances,
        _search_grid(bounds.outer_search_error),
        [Control("half the bound", _search_grid(lambda t, h: bounds.outer_search_error(t, h) / 2))],
        figures.cvar_of_acceptance,
    ),
    check(
        "G5",
        Claim("==", Slack(1e-9, 1e-9)),
        _upper_models,
        _upper(False),
        [Control("best deterministic policy", _upper(True))],
        figures.upper_tail,
        quick=3.0,
        full=60.0,
    ),
    check(
        "G5-deterministic", Claim("==", Slack(1e-9, 1e-9)), _only_arms, _upper(True), [Control("a mixture", _upper(False), Verdict.HOLDS)], figures.upper_tail
    ),
    check(
        "G10",
        Claim("==", Slack(1e-12, 1e-12)),
        small_models,
        _with_clock,
        [Control("no clock", _without_clock)],
        figures.value_against_stock,
        quick=3.0,
        full=60.0,
        strategy=_SMALL,
    ),
)
