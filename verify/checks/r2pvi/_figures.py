"""Figures of the scalar worst cases and of the exact robust models; those of learning are in `_learning_figures`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from theory import r2pvi as formulas
from verify.checks.r2pvi._learning_figures import certificate, covered, drpvi, local, lower_bounds, printed, put_table, rate, target_return, timing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "bellman", "certificate", "chi2_sign", "covered", "decomposition", "drpvi", "dual", "equivalence", "factor", "leaks", "local", "lower_bounds", "printed",
    "put_table", "ranges", "rate", "rectangular", "relation", "target_return", "timing",
]

VALUES, NOMINAL = np.array([0.0, 1.0, 3.0]), np.array([0.2, 0.5, 0.3])
DIVERGENCES = ("tv", "kl", "chi2")
COLOURS = {"tv": "C0", "kl": "C1", "chi2": "C2"}


def _curve(divergence: str, prices: Any, *, kind: str) -> Any:
    from verify.checks.r2pvi._models import worst_rows


    return worst_rows(VALUES, np.tile(NOMINAL, (len(prices), 1)), divergence=divergence, **{kind: np.asarray(prices)})[0]


def dual(divergence: str) -> Callable[[Figure], None]:
    """Return a figure of the worst case against penalty and radius, with the convex program's values on it."""

    def draw(figure: Figure) -> None:
        from verify.checks.r2pvi._functionals import convex_program

        left, right = figure.subplots(1, 2)
        for axis, kind, grid in ((left, "penalty", np.geomspace(0.02, 10, 120)), (right, "radius", np.linspace(1e-4, 1.5, 120))):
            axis.plot(grid, _curve(divergence, grid, kind=kind), color=COLOURS[divergence], label="closed form of the dual")
            points = grid[6::16]
            axis.plot(points, [convex_program(VALUES, NOMINAL, divergence, **{kind: float(x)}) for x in points], "ko", ms=4, label="convex program")
            axis.axhline(float(NOMINAL @ VALUES), color="0.6", ls=":", label="nominal mean")
            axis.set_xlabel("penalty λ" if kind == "penalty" else "radius ρ")
        left.set_xscale("log")
        left.set_ylabel(f"worst-case mean of V = (0, 1, 3), {divergence}")
        left.legend(fontsize="small")

    return draw


def relation(number: str) -> Callable[[Figure], None]:
    """Return the figure of a relation of G4."""

    def draw(figure: Figure) -> None:
        from verify.checks.r2pvi._functionals import CHECKS

        check = next(check for check in CHECKS if check.key == f"r2pvi/{number}")
        axis = figure.subplots()
        for divergence in DIVERGENCES:
            sides = [check.sides(i, 0) for i in check.instances("quick", 0) if i.params["divergence"] == divergence]
            small, large = (np.concatenate([np.atleast_1d(np.asarray(side[k].value)) for side in sides]) for k in (0, 1))
            axis.plot(large, small, ".", ms=4, color=COLOURS[divergence], label=divergence, alpha=0.7)
        ends = axis.get_xlim()
        axis.plot(ends, ends, "k-", lw=0.8, label="equality")
        axis.set_xlabel("right side of the claim")
        axis.set_ylabel(f"left side ({'equal' if check.claim.relation == '==' else 'not above'})")
        axis.legend(fontsize="small")

    return draw


def chi2_sign(figure: Figure) -> None:
    """Draw the chi2 dual over its level, with the maximum that is the worst case and the minimum that the published code takes."""
    axis = figure.subplots()
    values = np.array([0.0, 2.0, 1.0])
    levels = np.linspace(0.0, 2.0, 400)
    objective = formulas.dual_objective(values, NOMINAL, levels, divergence="chi2", penalty=0.5)
    axis.plot(levels, objective, color=COLOURS["chi2"], label="dual objective")
    best, worst = int(objective.argmax()), int(objective.argmin())
    axis.plot(levels[best], objective[best], "go", label=f"supremum {objective[best]:.3f}: the worst case")
    axis.plot(levels[worst], objective[worst], "rx", label=f"infimum {objective[worst]:.3f}: the published code")
    axis.set_xlabel("level a")
    axis.set_ylabel("E[V]_a − Var[V]_a / (4λ), λ = 1/2")
    axis.legend(fontsize="small")


def bellman(figure: Figure) -> None:
    """Draw the robust value of a random model against the penalty, with the forward evaluation under the worst kernel."""
    from verify.checks.r2pvi._models import divergence_rows, evaluate, random_model, solve

    axis, model = figure.subplots(), random_model(0)
    grid = np.geomspace(0.02, 10.0, 25)
    for divergence in DIVERGENCES:
        found = [solve(model, divergence, penalty=x) for x in grid]
        axis.plot(grid, [s.value[0, 0] for s in found], color=COLOURS[divergence], label=f"{divergence}: recursion")
        forward = [
            evaluate(model, s.policy, s.kernel, x * divergence_rows(s.kernel, model.factors, divergence))[0, 0] for s, x in zip(found, grid, strict=True)]
        axis.plot(grid[::3], forward[::3], "o", ms=4, color=COLOURS[divergence])
    axis.axhline(solve(model, "tv").value[0, 0], color="0.6", ls=":", label="nominal value")
    axis.set_xscale("log")
    axis.set_xlabel("penalty λ")
    axis.set_ylabel("robust value (dots: worst kernel, forward)")
    axis.legend(fontsize="small")


def equivalence(figure: Figure) -> None:
    """Draw the constrained value with and without the shifted reward, against the regularised value."""
    from verify.checks.r2pvi._models import random_model, solve

    axis = figure.subplots()
    for divergence in DIVERGENCES:
        points = []
        for draw in range(12):
            model = random_model(10 + draw)
            priced = solve(model, divergence, penalty=0.2)
            shifted = solve(model.shifted(model.weights + 0.2 * priced.spent), divergence, radius=priced.spent)
            points.append((priced.value[0, 0], shifted.value[0, 0], solve(model, divergence, radius=priced.spent).value[0, 0]))
        x, y, z = np.array(points).T
        axis.plot(x, y, "o", ms=5, color=COLOURS[divergence], label=f"{divergence}, shifted reward")
        axis.plot(x, z, "x", ms=5, color=COLOURS[divergence], label=f"{divergence}, no shift")
    ends = axis.get_xlim()
    axis.plot(ends, ends, "k-", lw=0.8)
    axis.set_xlabel("regularised value, λ = 0.2")
    axis.set_ylabel("constrained value at the spent radii")
    axis.legend(fontsize="small", ncols=2)


def rectangular(figure: Figure) -> None:
    """Draw the value with a set for each state and action against that with a set for each factor."""
    from verify.checks.r2pvi._bellman import rectangular_sides
    from verify.types import Instance

    axis = figure.subplots()
    for divergence in DIVERGENCES:
        pairs = [rectangular_sides(Instance("", {"divergence": divergence, "price": "radius", "size": 0.2, "draw": i}), 0) for i in range(10)]
        small, large = (np.concatenate([np.asarray(pair[k].value) for pair in pairs]) for k in (0, 1))
        axis.plot(large, small, ".", color=COLOURS[divergence], label=divergence)
    ends = axis.get_xlim()
    axis.plot(ends, ends, "k-", lw=0.8, label="equality")
    axis.set_xlabel("d-rectangular value, radius 0.2")
    axis.set_ylabel("(s, a)-rectangular value")
    axis.legend(fontsize="small")


def ranges(figure: Figure) -> None:
    """Draw the range of the robust value against the steps to go: the attaining chain, random models, the bound."""
    from verify.checks.r2pvi._bellman import _chain
    from verify.checks.r2pvi._models import random_model, solve

    axes = figure.subplots(1, 2, sharey=True)
    steps = np.arange(8, 0, -1)
    prices: tuple[dict[str, Any], ...] = ({"penalty": 1.5}, {"radius": 0.3})
    for axis, price in zip(axes, prices, strict=True):
        axis.plot(steps, formulas.range_bound(steps, **price), "k-", label="bound")
        chain = solve(_chain({"horizon": 8}), "tv", **price).value[:-1]
        axis.plot(steps, np.ptp(chain, axis=1), "o", label="chain (attained)")
        for i in range(5):
            value = solve(random_model(30 + i, horizon=8), "tv", **price).value[:-1]
            axis.plot(steps, np.ptp(value, axis=1), ".", color="0.6", label="random models" if i == 0 else None)
        axis.set_xlabel("steps to go")
        axis.set_title(", ".join(f"TV, {name} {size}" for name, size in price.items()), fontsize="medium")
    axes[0].set_ylabel("max V − min V")
    axes[0].legend(fontsize="small")


def decomposition(figure: Figure) -> None:
    """Draw the loss of pessimistic policies against the middle bound."""
    from verify.checks.r2pvi._bellman import _decomposition_instances, decomposition_sides

    axis = figure.subplots()
    for divergence in DIVERGENCES:
        pairs = [decomposition_sides(i, 0) for i in _decomposition_instances("full", 0) if i.params["divergence"] == divergence]
        small, large = (np.array([np.asarray(pair[k].value).reshape(4, -1)[2] for pair in pairs]) for k in (0, 1))
        axis.plot(large.ravel(), small.ravel(), ".", color=COLOURS[divergence], label=divergence)
    ends = np.array(axis.get_xlim())
    axis.plot(ends, ends, "k-", lw=0.8, label="equality")
    axis.set_xlabel("twice the expected pessimism of the best policy")
    axis.set_ylabel("loss of the pessimistic policy")
    axis.legend(fontsize="small")


def factor(figure: Figure) -> None:
    """Draw the loss on two arms against their difference, with the bounds that have and lack the factor 2."""
    from verify.checks.r2pvi._bellman import _two_arms

    axis = figure.subplots()
    shares = np.linspace(0.05, 2.5, 99)
    losses = [_two_arms({"share": x, "gamma": 0.1})[0] / 0.1 for x in shares]
    axis.plot(shares, losses, label="loss / Γ with the errors at their ends")
    axis.axhline(1.0, color="r", ls="--", label="bound without the factor 2")
    axis.axhline(2.0, color="k", label="bound with it")
    axis.set_xlabel("difference of the arms / Γ")
    axis.set_ylabel("loss / Γ")
    axis.legend(fontsize="small")


def leaks(figure: Figure) -> None:
    """Draw the worst leak of the hard family against the value difference."""
    axis = figure.subplots()
    gaps = np.linspace(0.0, 3.0, 301)
    for divergence in DIVERGENCES:
        axis.plot(gaps, formulas.worst_leak(divergence, gaps, leak=0.05, penalty=0.5), color=COLOURS[divergence], label=divergence)
    axis.axhline(0.05, color="0.6", ls=":", label="nominal leak")
    axis.set_xlabel("value difference v, penalty 0.5")
    axis.set_ylabel("worst probability of the bad state")
    axis.legend(fontsize="small")
