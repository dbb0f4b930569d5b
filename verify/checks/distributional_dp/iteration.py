"""Checks of the iterations on the lattice of stocks: G3b, value and policy iteration G6-G8, approximation G9."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.returns import optimise, piecewise_linear
from theory import distributional_dp as bounds
from verify.check import Check, Control
from verify.checks.distributional_dp import _figures as figures
from verify.checks.distributional_dp import _methods as methods
from verify.checks.distributional_dp._common import check, count, seeds, seeds_strategy
from verify.checks.distributional_dp._oracle import acceptance, one_state, random_lattice
from verify.types import Claim, Estimate, Instance, Slack, Verdict

FloatArray = NDArray[np.float64]
Both = tuple[Estimate, Estimate]
Sides = Callable[[Instance, int], Both]

SLOPES = ((1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (0.5, 2.0))
"""Slopes below and above 0."""


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


# G6, G7, G8


def _iterations(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("one state", {"kind": "one", "slopes": 2})
    yield Instance("acceptance", {"kind": "acceptance", "slopes": 0})
    for i, s in enumerate(seeds(seed, count(budget, 4, 40))):
        yield Instance(f"lattice {i}", {"kind": "random", "seed": s, "slopes": i % 4})


SWEEPS = (0, 1, 2, 3, 5, 7)


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
        """Largest error of value iteration after n sweeps over states and stocks, n = 0..7 with gaps, and L gamma^n D."""
        ref = _reference(instance)
        best, g = methods.optimum(ref), ref.model.gamma
        D = float(np.abs(ref.model.reward).max()) if by_reward else distance_of(instance)
        left = [float(np.abs(methods.dvi(ref, n)[0] - best).max()) for n in SWEEPS]
        return Estimate.numeric(left), Estimate.numeric([float(bounds.dvi_error(lipschitz(ref), g, n + shift, D)) for n in SWEEPS])

    return sides


def _greedy_sides(bound: Callable[[float, float, int, float], Any]) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Largest loss of the policy that is greedy after n sweeps, n = 0..7 with gaps, and its bound."""
        ref = _reference(instance)
        best, D = methods.optimum(ref), distance_of(instance)
        left = [float((best - methods.evaluate_greedy(ref, *methods.dvi(ref, n))).max()) for n in SWEEPS]
        return Estimate.numeric(left), Estimate.numeric([float(bound(lipschitz(ref), ref.model.gamma, n, D)) for n in SWEEPS])

    return sides


def _posterior_sides(exact_outside: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Lower bound minus value of the greedy policy, that minus the optimum, and the optimum minus the upper bound, n = 0..5; and 0."""
        ref = _reference(instance)
        best = methods.optimum(ref)
        S = ref.model.transition.shape[0]
        below = above = np.zeros(S)
        for _ in range(methods.STEPS):
            below, above = ref.mean_step(below, 0)[0], ref.mean_step(above, 1)[0]
        value, worst = ref.utility(), []
        for _ in range(6):
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
        falls = [float((a - b).max()) for a, b in pairwise(values)] or [0.0]
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

CHECKS: tuple[Check, ...] = (
    check(
        "G3b",
        Claim("==", Slack(1e-11, 1e-11)),
        _lattices,
        _on_lattice(False),
        [Control("stocks clamped at the border", _on_lattice(True))],
        figures.value_against_stock,
        quick=3.0,
    ),
    check(
        "G6",
        _LE,
        _iterations,
        _dvi_sides(),
        [Control("one sweep ahead", _dvi_sides(1)), Control("largest reward in place of D", _dvi_sides(by_reward=True))],
        figures.dvi_error,
        quick=1.5,
        strategy=seeds_strategy({"kind": "random", "slopes": 1}),
    ),
    check(
        "G7-prior",
        _LE,
        _iterations,
        _greedy_sides(bounds.greedy_loss),
        [Control("a hundredth of the bound", _greedy_sides(lambda L, g, n, D: bounds.greedy_loss(L, g, n, D) / 100))],
        figures.dvi_error,
        quick=2.0,
    ),
    check(
        "G7-posterior",
        Claim("<=", 1e-10),
        _iterations,
        _posterior_sides(True),
        [Control("extremes over the box alone", _posterior_sides(False))],
        figures.dvi_error,
        quick=2.0,
    ),
    check(
        "G7-box", Claim("<=", 1e-10), _one, _posterior_sides(False), [Control("with d = 0 outside", _posterior_sides(True), Verdict.HOLDS)], figures.dvi_error
    ),
    check(
        "G7-monotone",
        _LE,
        _monotone,
        _greedy_sides(bounds.dvi_error),
        [Control("a hundredth of the bound", _greedy_sides(lambda L, g, n, D: bounds.dvi_error(L, g, n, D) / 100))],
        figures.dvi_error,
    ),
    check("G8", _LE, _iterations, _policy_iteration(False), [Control("the worst action", _policy_iteration(True))], figures.dvi_error, quick=2.0),
    check("G9a", _LE, _stock_grids, _rounded_stocks(1.0), [Control("a tenth of the bound", _rounded_stocks(0.1))], figures.projection_errors, quick=2.0),
    check("G9b", _LE, _projections, _projected_sides(1.0), [Control("a fiftieth of the bound", _projected_sides(0.02))], figures.projection_errors, quick=2.0),
    check("G9c", Claim("==", 1e-7), _projections, _aligned(True), [Control("atoms between the stocks", _aligned(False))], figures.projection_errors, quick=3.0),
)
