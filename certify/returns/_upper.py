"""Upper-tail CVaR: the dual minimum over the stock and the mixture of policies that attains it (distributional_dp/G5).

The upper CVaR is concave in the law, so the optimum over mixtures is a linear program whose columns are the laws of policies.  Each dual
stock q asks for the best policy of E max(G - q, 0); when no new policy improves on the current mixture the two values meet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.returns._box import lattice_unit, make_box, rounding, solve_stationary
from certify.returns._layers import Layers, backward, build_layers, policy_of
from certify.returns._model import Problem
from certify.returns.cvar import UPPER, CVaRSolution
from certify.returns.laws import Law, mixture
from certify.returns.objectives import piecewise_linear
from certify.returns.optimisation import on_box
from certify.returns.policies import StockPolicy, return_law

__all__ = ["maximise_upper"]

FloatArray = NDArray[np.float64]

ROUNDS = 200


def maximise_upper(problem: Problem, tau: float, tolerance: float, limit: int) -> CVaRSolution:
    """Return the randomised optimum of the upper-tail CVaR.

    Raises
    ------
    ValueError
        If the horizon is infinite and stocks do not stay on a lattice.
    """
    if problem.horizon is None and lattice_unit(problem) is None:
        raise ValueError("tail 'upper' with an infinite horizon needs a lattice (discount 1/q, rewards on a lattice); give a horizon")
    oracle = _Finite(problem, build_layers(problem, problem.horizon, limit=limit)) if problem.horizon is not None else _Lattice(problem)
    laws: list[Law] = []
    errors: list[float] = []
    policies: list[StockPolicy] = []
    q, upper, best_q = oracle.middle, np.inf, oracle.middle
    weights = np.ones(1)
    for _ in range(ROUNDS):
        value, policy, law, error = oracle.best(q)
        dual = q + value / tau
        if dual < upper:
            upper, best_q = dual, q
        laws.append(law)
        errors.append(error)
        policies.append(policy)
        primal, weights, q = mix(laws, tau)
        if upper - primal <= tolerance * oracle.scale:
            break
    used = np.flatnonzero(weights > 1e-12)
    shares = weights[used] / weights[used].sum()
    attained = float(mixture([laws[i] for i in used], shares.tolist()).cvar(tau, tail="upper"))
    slack = (max(errors[i] for i in used) + oracle.slack) / tau
    kept = tuple(policies[i] for i in used)
    return CVaRSolution(
        min(max(attained, attained - slack), upper + slack),
        attained - slack,
        max(upper, attained) + slack,
        tau,
        "upper",
        -float(best_q),
        kept[int(shares.argmax())],
        kept,
        tuple(float(w) for w in shares),
        "column generation",
        len(laws),
        problem,
    )


def mix(laws: list[Law], tau: float) -> tuple[float, FloatArray, float]:
    """Return the best upper CVaR over mixtures of laws, the weights, and the dual quantile q.

    Maximise sum x y / tau over weights w and tail masses 0 <= y <= w p with sum y = tau: a linear program.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, hstack, identity

    x = np.concatenate([law.as_floats()[0] for law in laws])
    p = np.concatenate([law.as_floats()[1] for law in laws])
    owner = np.repeat(np.arange(len(laws)), [len(law.atoms) for law in laws])
    n, k = x.size, len(laws)
    cover = hstack([identity(n), csr_matrix((-p, (np.arange(n), owner)), shape=(n, k))]).tocsr()
    equal = np.zeros((2, n + k))
    equal[0, :n], equal[1, n:] = 1.0, 1.0
    found = linprog(np.concatenate([-x / tau, np.zeros(k)]), A_ub=cover, b_ub=np.zeros(n), A_eq=equal, b_eq=[tau, 1.0], bounds=(0.0, None), method="highs")
    if found.x is None:
        raise ValueError(f"the mixture program failed: {found.message}")
    weights = np.maximum(found.x[n:], 0.0)
    weights /= weights.sum()
    primal = float(mixture(laws, weights.tolist()).cvar(tau, tail="upper"))
    return primal, weights, float(-found.eqlin.marginals[0] * tau)


class _Finite:
    """Best policies of E max(G - q, 0) over reachable stocks."""

    def __init__(self, problem: Problem, layers: Layers) -> None:
        self.problem, self.layers = problem, layers
        atoms = layers.sums[-1]
        self.scale = max(1.0, float(np.abs(atoms).max()))
        self.middle = float(np.median(atoms))
        self.slack = (2.0**-50 * (layers.steps + 16) + 1e-12 * layers.steps) * self.scale + layers.merged

    def best(self, q: float) -> tuple[float, StockPolicy, Law, float]:
        """Return value, policy, law of its return and the error of that law."""
        values, tables = backward(self.problem, self.layers, np.maximum(self.layers.sums[-1] - q, 0.0))
        policy = policy_of(self.problem, self.layers, tables, -q)
        law, error = return_law(self.problem, policy)
        return float(self.problem.initial[self.layers.states[0]] @ values), policy, law, error


class _Lattice:
    """Best policies of E max(G - q, 0) on the lattice of an infinite horizon."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.box = make_box(problem, UPPER)
        self.scale = self.box.scale
        self.middle = -0.5 * (self.box.low + self.box.high)
        unit = lattice_unit(problem)
        assert unit is not None
        self.found = solve_stationary(problem, self.box, unit)
        self.slack = rounding(problem, self.box) + float((self.found.upper - self.found.lower).max())

    def best(self, q: float) -> tuple[float, StockPolicy, Law, float]:
        """Return value, policy, law of its return and the error of that law."""
        solution: Any = on_box(self.problem, piecewise_linear(*UPPER), -q, "value", None, self.found)
        law, error = return_law(self.problem, solution.policy, tolerance=1e-6, limit=20_000)
        return solution.value, solution.policy, law, error
