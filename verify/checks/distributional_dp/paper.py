"""Checks of the paper's guarantees G1-G10, on models small enough to enumerate every history-dependent policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.returns import expected_utility, log_periodic, maximise_cvar, optimise, piecewise_linear
from theory import distributional_dp as bounds
from verify.check import Check, Control
from verify.checks.distributional_dp import _figures as figures
from verify.checks.distributional_dp import _methods as methods
from verify.checks.distributional_dp._common import check, count, seeds, seeds_strategy
from verify.checks.distributional_dp._oracle import Lattice, acceptance, achievable, one_state, random_lattice
from verify.types import Claim, Estimate, Instance, Slack, Verdict

FloatArray = NDArray[np.float64]
Both = tuple[Estimate, Estimate]
Sides = Callable[[Instance, int], Both]

STOCKS = (-2.0, -1.0, 0.0, 0.5, 1.0)
TAUS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SLOPES = ((1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (0.5, 2.0))
"""Slopes below and above 0."""

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
            lambda law: methods.pairs_cvar(law, 0.5), lambda law: methods.expect(law, lambda x: min(x, 0.0)),
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
    "min(x, 0)": lambda x: np.minimum(x, 0), "-|x|": lambda x: -np.abs(x), "-x^2": lambda x: -np.square(x), "1{x >= 0}": lambda x: 1.0 * (x >= 0),
    "log-periodic": log_periodic(0.5).utility, "min(x, 1)": lambda x: np.minimum(x, 1), "tanh": np.tanh,
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


def _dp_against_enumeration(instance: Instance, seed: int) -> Both:
    """Optimal values by dynamic programming with stock, for every utility and five stocks, and the best of all history-dependent policies."""
    model, state = _model(instance)
    every = achievable(model, state, 3)
    left, right = [], []
    for objective, f in utilities(model.q).values():
        for c in STOCKS:
            left.append(optimise(model.mdp(), objective, stock=c, horizon=3, initial=state).value)
            right.append(every.best(lambda x, c=c, f=f: f(c + x)))
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
            right.append(every.best(lambda x, c=c, f=f: f(c + x)))
    return Estimate.numeric(left), Estimate.numeric(right)


def _without_clock(instance: Instance, seed: int) -> Both:
    """Values of the policy that is greedy for E f(c + G) without a clock, and the best of all policies."""
    model, state = random_lattice(int(instance.params["seed"]), q=2), int(instance.params["state"])
    every = achievable(model, state, 3)
    left, right = [], []
    for f in _CLOCKED.values():
        for c in STOCKS:
            law = methods.functional_dp(model, methods.utility_functional(f), methods.right_stock, 3, state, c)
            left.append(methods.expect(law, lambda x, c=c, f=f: float(f(c + x))))
            right.append(every.best(lambda x, c=c, f=f: f(c + x)))
    return Estimate.numeric(left), Estimate.numeric(right)


# G3b and the lattice


def _lattices(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("acceptance", {"kind": "acceptance", "slopes": 0})
    for i, s in enumerate(seeds(seed, count(budget, 8, 80))):
        yield Instance(f"lattice {i}", {"kind": "random", "seed": s, "q": 2 + i % 2, "slopes": i % 4})


def _reference(instance: Instance) -> methods.Reference:
    p = instance.params
    kind = p.get("kind", "random")
    if kind == "acceptance":
        model = acceptance()
    elif kind == "one":
        model = one_state({1: 1.0})
    else:
        model = random_lattice(int(p["seed"]), states=3, q=int(p.get("q", 2)))
    return methods.make_reference(model, SLOPES[int(p["slopes"])])


def _on_lattice(clamp: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Values on the finite lattice of stocks, and values on one three times as wide (or the stated ones of the acceptance instance)."""
        ref = _reference(instance)
        left = methods.optimum(ref, clamp=True) if clamp else _solved_values(ref)
        if instance.params["kind"] == "acceptance":
            keep = slice(0, ref.radius + 1)
            truth = np.array([-3.0, -33 / 16, -5 / 4, -5 / 8, 0.0, 0.0, 0.0])
            return Estimate.numeric(left[0, keep]), Estimate.numeric(truth)
        wide = methods.Reference(ref.model, ref.slopes, 3 * ref.radius)
        inner = slice(2 * ref.radius, 4 * ref.radius + 1)
        return Estimate.numeric(left), Estimate.numeric(methods.optimum(wide)[:, inner])

    return sides


def _solved_values(ref: methods.Reference) -> FloatArray:
    """Return the values of `certify.returns.optimise` on the reference's stocks, (S, N), filling in the closed form beyond its own table."""
    solution = optimise(ref.model.mdp(), piecewise_linear(*ref.slopes))
    assert solution.stocks is not None
    assert solution.values is not None
    inside = np.searchsorted(solution.stocks, ref.stocks)
    means = [methods.optimum(methods.Reference(ref.model, (sign, sign), 1)) for sign in (np.sign(ref.slopes[0]) or 1.0, np.sign(ref.slopes[1]) or 1.0)]
    out = np.empty((ref.model.transition.shape[0], ref.stocks.size))
    for i, c in enumerate(ref.stocks):
        j = int(inside[i])
        if j < solution.stocks.size and abs(solution.stocks[j] - c) < 1e-9:
            out[:, i] = solution.values[:, j]
        else:
            side = 0 if c < solution.stocks[0] else 1
            mean = means[side][:, 1] * (np.sign(ref.slopes[side]) or 1.0)  # V(s, 0) of the linear utility is the mean itself
            out[:, i] = ref.slopes[side] * (c + mean)
    return out


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


# G6, G7, G8


def _iterations(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("one state", {"kind": "one", "slopes": 2})
    yield Instance("acceptance", {"kind": "acceptance", "slopes": 0})
    for i, s in enumerate(seeds(seed, count(budget, 6, 40))):
        yield Instance(f"lattice {i}", {"kind": "random", "seed": s, "slopes": i % 4})


SWEEPS = tuple(range(8))


def lipschitz(ref: methods.Reference) -> float:
    """Return the larger slope."""
    return float(np.abs(ref.slopes).max())


@lru_cache(maxsize=64)
def _distance(key: tuple[Any, ...]) -> float:
    return methods.largest_return(_reference(Instance("", dict(key))).model)


def distance_of(instance: Instance) -> float:
    """Return D from the point mass at 0."""
    return _distance(tuple(sorted(instance.params.items())))


def _dvi_sides(shift: int = 0, *, by_reward: bool = False) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest error of value iteration after n sweeps over states and stocks, n = 0..7, and L gamma^n D."""
        ref = _reference(instance)
        best, g = methods.optimum(ref), ref.model.gamma
        D = float(np.abs(ref.model.reward).max()) if by_reward else distance_of(instance)
        left = [float(np.abs(methods.dvi(ref, n)[0] - best).max()) for n in SWEEPS]
        return Estimate.numeric(left), Estimate.numeric([float(bounds.dvi_error(lipschitz(ref), g, n + shift, D)) for n in SWEEPS])

    return sides


def _greedy_sides(bound: Callable[[float, float, int, float], Any]) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest loss of the policy that is greedy after n sweeps, n = 0..7, and its bound."""
        ref = _reference(instance)
        best, D = methods.optimum(ref), distance_of(instance)
        left = [float((best - methods.evaluate_greedy(ref, *methods.dvi(ref, n))).max()) for n in SWEEPS]
        return Estimate.numeric(left), Estimate.numeric([float(bound(lipschitz(ref), ref.model.gamma, n, D)) for n in SWEEPS])

    return sides


def _posterior_sides(exact_outside: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Lower bound minus value of the greedy policy, that minus the optimum, and the optimum minus the upper bound, n = 0..7; and 0."""
        ref = _reference(instance)
        best = methods.optimum(ref)
        S = ref.model.transition.shape[0]
        below = above = np.zeros(S)
        for _ in range(200):
            below, above = ref.mean_step(below, 0)[0], ref.mean_step(above, 1)[0]
        value, worst = ref.utility(), []
        for _ in SWEEPS:
            following = ref.action_values(value, below, above).max(axis=2)
            low, high = bounds.macqueen_bounds(following, following - value, ref.model.gamma, exact_outside=exact_outside)
            own = methods.evaluate_greedy(ref, value, below, above)
            worst.append([float((low - own).max()), float((own - best).max()), float((best - high).max())])
            value = following
        return Estimate.numeric(np.array(worst)), Estimate.numeric(np.zeros_like(worst))

    return sides


def _one(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance("one state", {"kind": "one", "slopes": 2})]


def _monotone(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("acceptance", {"kind": "acceptance", "slopes": 0})
    yield Instance("acceptance, convex", {"kind": "acceptance", "slopes": 3})


def _policy_iteration(worsen: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest decrease and loss of every policy of policy iteration, with 0 and L gamma^k 2 R/(1 - gamma)."""
        ref = _reference(instance)
        best, g = methods.optimum(ref), ref.model.gamma
        values = methods.policy_iteration(ref, worsen=worsen)
        D = 2.0 * float(np.abs(ref.model.reward).max()) / (1.0 - g)
        falls = [float((a - b).max()) for a, b in zip(values, values[1:], strict=False)] or [0.0]
        losses = [float((best - v).max()) for v in values]
        limits = [float(bounds.dvi_error(lipschitz(ref), g, k, D)) for k in range(len(values))]
        return Estimate.numeric([*falls, *losses, losses[-1]]), Estimate.numeric([*np.zeros(len(falls)), *limits, 0.0])

    return sides


# G9


def _stock_grids(budget: str, seed: int) -> Iterable[Instance]:
    for i, s in enumerate(seeds(seed, count(budget, 6, 60))):
        yield Instance(f"lattice {i}", {"kind": "random", "seed": s, "slopes": i % 4, "H": 2 + i % 3})


def _rounded_stocks(scale: float) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest error of values with stocks rounded to a grid of step H, on its nodes, and L gamma H/(2 (1 - gamma))."""
        from certify.returns._box import make_box, solve_stationary
        from certify.returns._model import read_problem

        ref, H = _reference(instance), float(instance.params["H"])
        problem = read_problem(ref.model.mdp())
        table = solve_stationary(problem, make_box(problem, ref.slopes), H).table
        inside = np.abs(table.nodes) <= ref.radius
        index = np.rint(table.nodes[inside]).astype(np.int64) + ref.radius
        left = float(np.abs(table.value[:, inside] - methods.optimum(ref)[:, index]).max())
        return Estimate.numeric(left), Estimate.numeric(scale * bounds.stock_grid_error(lipschitz(ref), ref.model.gamma, H))

    return sides


def _projected(instance: Instance, *, aligned: bool, sweeps: int) -> tuple[methods.Reference, FloatArray, float]:
    ref = _reference(instance)
    R = ref.radius
    atoms = np.arange(-R, R + 1.0) if aligned else np.linspace(-R, R, int(instance.params.get("K", 2 * R)))
    return ref, methods.projected_dvi(ref, atoms, sweeps), float(atoms[1] - atoms[0])


def _projected_sides(scale: float) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest error of value iteration on projected laws after n = 1, 4, 12 sweeps, and L (gamma^n D + dz/(2 (1 - gamma)))."""
        left, right = [], []
        for n in (1, 4, 12):
            ref, value, dz = _projected(instance, aligned=False, sweeps=n)
            left.append(float(np.abs(value - methods.optimum(ref)).max()))
            right.append(scale * float(bounds.projected_dvi_error(lipschitz(ref), ref.model.gamma, n, distance_of(instance), dz)))
        return Estimate.numeric(left), Estimate.numeric(right)

    return sides


def _aligned(aligned: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Values of 30 projected sweeps with an atom at minus every stock, and the optimum."""
        ref, value, _ = _projected(instance, aligned=aligned, sweeps=30)
        return Estimate.numeric(value), Estimate.numeric(methods.optimum(ref))

    return sides


def _projections(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("acceptance", {"kind": "acceptance", "slopes": 0, "K": 6})
    for i, s in enumerate(seeds(seed, count(budget, 3, 30))):
        yield Instance(f"lattice {i}", {"kind": "random", "seed": s, "slopes": i % 4, "K": 6})


_LE = Claim("<=", Slack(1e-10, 1e-10))
_SMALL = seeds_strategy({"q": 2, "state": 0})

CHECKS: tuple[Check, ...] = (
    check("G1", Claim("==", Slack(1e-8, 1e-8)), _draws, _one_step(True), [Control("stock c + r, not divided by gamma", _one_step(False))], figures.stock_trajectory),
    check("G2-mixtures", Claim("<=", 1e-9), _draws, _reversal("min(x, 0)", "entropic"),
          [Control(name, _reversal(name)) for name in ("CVaR", "median", "mean minus variance")], figures.value_against_stock),
    check("G2-gamma", Claim("<=", 1e-9), _draws, _gamma_reversal("min(x, 0)", "-|x|", "-x^2", "1{x >= 0}", "log-periodic"),
          [Control(name, _gamma_reversal(name)) for name in ("min(x, 1)", "tanh")], figures.value_against_stock),
    check("G3", Claim("==", Slack(1e-12, 1e-12)), small_models, _dp_against_enumeration, [Control("the past is forgotten", _without_stock)], figures.return_laws,
          quick=4.0, full=60.0, strategy=_SMALL),
    check("G3b", Claim("==", Slack(1e-11, 1e-11)), _lattices, _on_lattice(False), [Control("stocks clamped at the border", _on_lattice(True))], figures.value_against_stock, quick=3.0),
    check("G4", Claim("==", Slack(1e-12, 1e-12)), _cvar_models, _cvar(searched),
          [Control("c_0 = 0 instead of the search", _cvar(_unsearched), instances=small_models),
           Control("risk levels as state", _cvar(decomposed), instances=lambda budget, seed: small_models("quick", seed, 40))],
          figures.cvar_of_acceptance, quick=3.0, full=90.0, strategy=_SMALL),
    check("G4-search", _LE, _search_instances, _search_grid(bounds.outer_search_error), [Control("half the bound", _search_grid(lambda t, h: bounds.outer_search_error(t, h) / 2))],
          figures.cvar_of_acceptance),
    check("G5", Claim("==", Slack(1e-9, 1e-9)), _upper_models, _upper(False), [Control("best deterministic policy", _upper(True))], figures.upper_tail, quick=3.0, full=60.0),
    check("G5-deterministic", Claim("==", Slack(1e-9, 1e-9)), _only_arms, _upper(True), [Control("a mixture", _upper(False), Verdict.HOLDS)], figures.upper_tail),
    check("G6", _LE, _iterations, _dvi_sides(), [Control("one sweep ahead", _dvi_sides(1)), Control("largest reward in place of D", _dvi_sides(by_reward=True))],
          figures.dvi_error, quick=1.5, strategy=seeds_strategy({"kind": "random", "slopes": 1})),
    check("G7-prior", _LE, _iterations, _greedy_sides(bounds.greedy_loss), [Control("a hundredth of the bound", _greedy_sides(lambda L, g, n, D: bounds.greedy_loss(L, g, n, D) / 100))],
          figures.dvi_error, quick=2.0),
    check("G7-posterior", Claim("<=", 1e-10), _iterations, _posterior_sides(True), [Control("extremes over the box alone", _posterior_sides(False))], figures.dvi_error, quick=2.0),
    check("G7-box", Claim("<=", 1e-10), _one, _posterior_sides(False), [Control("with d = 0 outside", _posterior_sides(True), Verdict.HOLDS)], figures.dvi_error),
    check("G7-monotone", _LE, _monotone, _greedy_sides(bounds.dvi_error), [Control("a hundredth of the bound", _greedy_sides(lambda L, g, n, D: bounds.dvi_error(L, g, n, D) / 100))],
          figures.dvi_error),
    check("G8", _LE, _iterations, _policy_iteration(False), [Control("the worst action", _policy_iteration(True))], figures.dvi_error, quick=2.0),
    check("G9a", _LE, _stock_grids, _rounded_stocks(1.0), [Control("a tenth of the bound", _rounded_stocks(0.1))], figures.projection_errors, quick=2.0),
    check("G9b", _LE, _projections, _projected_sides(1.0), [Control("a fiftieth of the bound", _projected_sides(0.02))], figures.projection_errors, quick=2.0),
    check("G9c", Claim("==", 1e-7), _projections, _aligned(True), [Control("atoms between the stocks", _aligned(False))], figures.projection_errors, quick=3.0),
    check("G10", Claim("==", Slack(1e-12, 1e-12)), small_models, _with_clock, [Control("no clock", _without_clock)], figures.value_against_stock, quick=3.0, full=60.0, strategy=_SMALL),
)
