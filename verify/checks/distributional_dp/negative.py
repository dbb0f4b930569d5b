"""The negative results N1-N7: what fails without a condition, without the stock, with a wrong stock, or with risk levels as state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial

import numpy as np

from certify.returns import expected_utility, maximise_cvar, optimise
from verify.check import Check, Control
from verify.checks.distributional_dp import _figures as figures
from verify.checks.distributional_dp import _methods as methods
from verify.checks.distributional_dp._common import check, count, seeds, seeds_strategy
from verify.checks.distributional_dp._oracle import Lattice, achievable, random_lattice
from verify.checks.distributional_dp.paper import TAUS, Both, Sides, decomposed, searched
from verify.types import Claim, Estimate, Instance, Slack, Verdict


def tree(size: int, moves: dict[tuple[int, int], list[tuple[int, float, float]]], q: int) -> Lattice:
    """Return a model from moves (state, action) -> [(successor, probability, reward)]; a state without moves stays for nothing."""
    actions = 1 + max(a for _, a in moves)
    P, R = np.zeros((size, actions, size)), np.zeros((size, actions, size))
    for s in range(size):
        for a in range(actions):
            branch = moves.get((s, a)) or moves.get((s, 0)) or [(s, 1.0, 0.0)]
            for t, p, r in branch:
                P[s, a, t], R[s, a, t] = p, r
    return Lattice(P, R, q)


def cvar_tree() -> Lattice:
    """Return N1 in units of 1/20: -5 with probability 1/2, else 1 or {.9, 1.25}."""
    return tree(5, {(0, 0): [(1, 0.5, 0.0), (2, 0.5, -100.0)], (1, 0): [(2, 1.0, 20.0)], (1, 1): [(3, 0.5, 18.0), (4, 0.5, 25.0)]}, 1)


def waiting() -> Lattice:
    """Return N2: wait one step, then 1 for sure or 4 with probability .6."""
    return tree(4, {(0, 0): [(1, 1.0, 0.0)], (1, 0): [(2, 1.0, 1.0)], (1, 1): [(3, 0.6, 4.0), (2, 0.4, 0.0)]}, 2)


def balancing() -> Lattice:
    """Return N4: +-1 by chance, a step that hides which, then -1, 0 or 1."""
    return tree(
        5,
        {
            (0, 0): [(1, 0.5, 1.0), (2, 0.5, -1.0)],
            (1, 0): [(3, 1.0, 0.0)],
            (2, 0): [(3, 1.0, 0.0)],
            (3, 0): [(4, 1.0, -1.0)],
            (3, 1): [(4, 1.0, 0.0)],
            (3, 2): [(4, 1.0, 1.0)],
        },
        1,
    )


def levels_tree() -> Lattice:
    """Return N7: to 1 (r = 1) or 2 (r = 2); at 1 choose {+2, -2} or -1; at 2 {-1, +2}."""
    return tree(
        6,
        {(0, 0): [(1, 0.5, 1.0), (2, 0.5, 2.0)], (1, 0): [(3, 0.5, 2.0), (4, 0.5, -2.0)], (1, 1): [(3, 1.0, -1.0)], (2, 0): [(3, 0.5, -1.0), (4, 0.5, 2.0)]},
        1,
    )


def _single(name: str) -> Callable[[str, int], Iterable[Instance]]:
    def instances(budget: str, seed: int) -> Iterable[Instance]:
        return [Instance(name, {})]

    return instances


def _greedy_cvar(instance: Instance, seed: int) -> Both:
    """CVaR_3/4 of the policy that is greedy for CVaR itself, and the best of all policies."""
    law = methods.functional_dp(cvar_tree(), methods.cvar_functional(0.75), methods.right_stock, 2, 0, 0.0)
    return Estimate.numeric(methods.pairs_cvar(law, 0.75) / 20), Estimate.numeric(achievable(cvar_tree(), 0, 2).best_cvar(0.75) / 20)


def _searched_cvar(instance: Instance, seed: int) -> Both:
    """CVaR_3/4 by the search over the stock, and the best of all policies."""
    value = maximise_cvar(cvar_tree().mdp(), 0.75, horizon=2).value
    return Estimate.numeric(value / 20), Estimate.numeric(achievable(cvar_tree(), 0, 2).best_cvar(0.75) / 20)


def _waiting(clock: bool) -> Sides:
    def f(x: float) -> float:
        return min(x, 1.0)

    def sides(instance: Instance, seed: int) -> Both:
        """E min(G, 1) of the policy that dynamic programming finds, and the best of all policies."""
        model = waiting()
        if clock:
            value = optimise(model.mdp(), expected_utility(f), horizon=2, clock=True).value
        else:
            value = methods.expect(methods.functional_dp(model, methods.utility_functional(f), methods.right_stock, 2, 0, 0.0), f)
        return Estimate.numeric(value), Estimate.numeric(achievable(model, 0, 2).best(lambda x: np.minimum(x, 1.0)))

    return sides


def _jump(f: Callable[[Fraction], Fraction], start: Fraction, *, reward: bool, best: Fraction) -> tuple[Fraction, Fraction]:
    """Return max E f(c + G_60 + gamma^60 start) and its limit, in rationals: r in {0, 1} with c = -2, or r = 0 with c = 0."""
    n, half = 60, Fraction(1, 2)
    total = sum((half**i for i in range(n)), Fraction(0)) if reward else Fraction(0)
    c = Fraction(-2) if reward else Fraction(0)
    return max(f(c + total + half**n * start), f(c + half**n * start)), f(best)


def _discontinuous(lipschitz: bool) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """F eta_60 in exact rationals for a jump approached from either side, and F*."""
        f = (lambda x: min(x, Fraction(0))) if lipschitz else (lambda x: Fraction(int(x >= 0)))
        g = (lambda x: min(x, Fraction(0))) if lipschitz else (lambda x: Fraction(int(x > 0)))
        pairs = [_jump(f, Fraction(0), reward=True, best=Fraction(0)), _jump(g, Fraction(3), reward=False, best=Fraction(0))]
        return Estimate.numeric([float(a) for a, _ in pairs]), Estimate.numeric([float(b) for _, b in pairs])

    return sides


def _balance(update: methods.Update) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """-E|G| of dynamic programming with or without the stock, and the best of all policies."""
        law = methods.functional_dp(balancing(), methods.utility_functional(lambda x: -abs(x)), update, 3, 0, 0.0)
        return Estimate.numeric(methods.expect(law, lambda x: -abs(x))), Estimate.numeric(achievable(balancing(), 0, 3).best(lambda x: -np.abs(x)))

    return sides


_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "mean": lambda x: x,
    "exponential": lambda x: -float(np.exp(-x)),
    "min": lambda x: min(x, 0.0),
    "distance": lambda x: -abs(x),
}


def _dynamic(update: methods.Update, q: int, *names: str) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Values of dynamic programming with the given stock recursion, and the best of all history-dependent policies."""
        model, state = random_lattice(int(instance.params["seed"]), q=q), 0
        every = achievable(model, state, 3)
        left, right = [], []
        for name in names:
            f = _FUNCTIONS[name]
            law = methods.functional_dp(model, methods.utility_functional(f), update, 3, state, 0.0)
            left.append(methods.expect(law, f))
            right.append(every.best(np.vectorize(f, otypes=[float])))
        return Estimate.numeric(left), Estimate.numeric(right)

    return sides


def _models(budget: str, seed: int, quick: int = 30) -> Iterable[Instance]:
    return [Instance(f"model {i}", {"seed": s}) for i, s in enumerate(seeds(seed, count(budget, quick, 200)))]


def _level_models(budget: str, seed: int) -> Iterable[Instance]:
    yield Instance("tree", {"kind": "tree"})
    for i, s in enumerate(seeds(seed, count(budget, 20, 300))):
        yield Instance(f"model {i}", {"kind": "random", "seed": s, "q": 1 + i % 2})


def _levels(method: Callable[[Lattice, int, float], float], factor: float = 1.0) -> Sides:
    def sides(instance: Instance, seed: int) -> Both:
        """Value of dynamic programming on (state, risk level), and the largest CVaR of all policies, at several levels."""
        if instance.params["kind"] == "tree":
            model = levels_tree()
        else:
            model = random_lattice(int(instance.params["seed"]), q=int(instance.params["q"]))
        taus = (0.5,) if instance.params["kind"] == "tree" else TAUS
        every = achievable(model, 0, 3)
        return Estimate.numeric([method(model, 0, factor * tau) for tau in taus]), Estimate.numeric([every.best_cvar(tau) for tau in taus])

    return sides


def _tree_only(budget: str, seed: int) -> Iterable[Instance]:
    return [Instance("tree", {"kind": "tree"})]


_EQ = Claim("==", Slack(1e-9, 1e-9))
_HOLDS = Verdict.HOLDS
_DRAWN = seeds_strategy({})

CHECKS: tuple[Check, ...] = (
    check("N1", _EQ, _single("tree"), _greedy_cvar, [Control("search over the stock", _searched_cvar, _HOLDS)], figures.negative_results),
    check("N2", _EQ, _single("waiting"), _waiting(False), [Control("with a clock", _waiting(True), _HOLDS)], figures.negative_results),
    check(
        "N3", _EQ, _single("jump"), _discontinuous(False), [Control("min(x, 0), which is Lipschitz", _discontinuous(True), _HOLDS)], figures.negative_results
    ),
    check(
        "N4", _EQ, _single("balance"), _balance(methods.no_stock), [Control("with the stock", _balance(methods.right_stock), _HOLDS)], figures.negative_results
    ),
    check(
        "N5",
        _EQ,
        _models,
        _dynamic(methods.no_stock, 1, "mean", "exponential"),
        [Control("min(x, 0)", _dynamic(methods.no_stock, 1, "min"))],
        figures.negative_results,
        quick=2.0,
        strategy=_DRAWN,
    ),
    check(
        "N5-min",
        _EQ,
        _models,
        _dynamic(methods.no_stock, 1, "min"),
        [Control("with the stock", _dynamic(methods.right_stock, 1, "min"), _HOLDS)],
        figures.negative_results,
        quick=2.0,
        strategy=_DRAWN,
    ),
    check(
        "N6-sum",
        _EQ,
        partial(_models, quick=15),
        _dynamic(methods.summed_stock, 2, "distance"),
        [Control("(c + r)/gamma", _dynamic(methods.right_stock, 2, "distance"), _HOLDS)],
        figures.negative_results,
        strategy=_DRAWN,
    ),
    check(
        "N6-product",
        _EQ,
        partial(_models, quick=15),
        _dynamic(methods.discounted_stock, 2, "distance"),
        [Control("(c + r)/gamma", _dynamic(methods.right_stock, 2, "distance"), _HOLDS)],
        figures.negative_results,
        strategy=_DRAWN,
    ),
    check(
        "N7",
        Claim(">=", Slack(1e-9, 1e-9)),
        _level_models,
        _levels(decomposed),
        [Control("at half the level", _levels(decomposed, 0.5))],
        figures.negative_results,
        quick=1.5,
    ),
    check(
        "N7-exact",
        _EQ,
        _tree_only,
        _levels(decomposed),
        [Control("search over the stock", _levels(searched), _HOLDS)],
        figures.negative_results,
        strategy=seeds_strategy({"kind": "random", "q": 1}),
    ),
)
