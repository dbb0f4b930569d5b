r"""Policies whose return has the largest CVaR, with a two-sided bracket of the optimum.

Lower tail: sup_pi CVaR_tau = max_{c_0} { -c_0 + sup_pi E min(c_0 + G, 0)/tau } (distributional_dp/G4).  For a finite horizon the
maximum is at minus an atom; on the lattice gamma = 1/q the search refines q-adic stocks, each solved exactly; otherwise stocks are
rounded down and up, which brackets the optimum because the value never decreases in the stock.
Upper tail: the dual minimum is attained by a mixture of policies, not by one (distributional_dp/G5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._validate import require_choice, require_integer_at_least, require_real, require_tau
from certify.returns._box import LATTICE_LIMIT, finite_tables, lattice_unit, layer_of, make_box, rounding, snapping, solve_stationary
from certify.returns._layers import Layers, TooMany, backward, build_layers, policy_of
from certify.returns._model import Problem, extremes, read_problem
from certify.returns._search import search_atoms, search_lattice
from certify.returns.laws import Law
from certify.returns.optimisation import default_nodes
from certify.returns.policies import GridLayer, StockPolicy, return_law

__all__ = ["CVaRSolution", "maximise_cvar"]

FloatArray = NDArray[np.float64]

LOWER, UPPER = (1.0, 0.0), (0.0, 1.0)
DENSE_LIMIT = 4e7
"""Largest number of (step, state, stock) entries for which whole tables are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class CVaRSolution:
    """The largest CVaR of the return over all policies, between `lower` and `upper`, and a policy that attains at least `lower`.

    `policy` carries the stock, starting from `stock`.  For the upper tail `policies` may hold several, to be drawn once at the start with
    probabilities `weights`; `policy` is then the likeliest.
    """

    value: float
    lower: float
    upper: float
    tau: float
    tail: str
    stock: float
    policy: StockPolicy
    policies: tuple[StockPolicy, ...]
    weights: tuple[float, ...]
    method: str
    evaluations: int
    _problem: Problem = field(repr=False)

    @property
    def error(self) -> float:
        """Width of the bracket."""
        return self.upper - self.lower

    def return_law(self, *, tolerance: float = 1e-9, limit: int = 200_000) -> tuple[Law, float]:
        """Return the law of the return of the policy (mixed, if there are several) and a bound on its W_1 error."""
        from certify.returns.laws import mixture

        laws = [return_law(self._problem, policy, tolerance=tolerance, limit=limit) for policy in self.policies]
        return mixture([law for law, _ in laws], self.weights), max(error for _, error in laws)


def maximise_cvar(
    mdp: Any,
    tau: float,
    *,
    horizon: int | None = None,
    tail: str = "lower",
    initial: Any = None,
    nodes: int | None = None,
    tolerance: float = 1e-9,
    limit: int = 400_000,
) -> CVaRSolution:
    """Find a policy whose return has the largest CVaR.

    Parameters
    ----------
    mdp : mdps.TabularMDP or mdps.FiniteHorizonMDP
        The model; with a discount below 1 unless a horizon is given.
    tau : float in (0, 1]
        Mass of the tail: 1 is the mean, a tau below the smallest probability the worst outcome.
    horizon : int, optional
        Number of steps; None takes that of the model, or an infinite horizon.
    tail : str
        `"lower"`: the mean of the worst outcomes; `"upper"`: of the best ones (the policy may then be a mixture).
    initial : int or array (S,), optional
        First state or its distribution; the model's own if None, and state 0 if it has none.
    nodes : int, optional
        Stock nodes where stocks are rounded.
    tolerance : float
        Aimed width of the bracket, relative to the largest return (at least 1).
    limit : int
        Largest number of reachable pairs of state and stock in a finite horizon; beyond it stocks are rounded.

    Returns
    -------
    CVaRSolution

    Raises
    ------
    ValueError
        If tau is outside (0, 1], the discount is 1 without a horizon, the tail is unknown, or the upper tail is asked of an infinite
        horizon without a lattice.

    Source: distributional_dp/G4, G4-search, G5.

    Examples
    --------
    >>> import numpy as np
    >>> from mdps import TabularMDP
    >>> kernel = np.array([[[1.0, 0.0], [0.5, 0.5]]] * 2)
    >>> reward = np.array([[[1.0, 0.0], [0.0, 3.0]]] * 2)
    >>> arms = TabularMDP(kernel, reward, discount=0.5)
    >>> round(maximise_cvar(arms, 0.75).value, 9)
    2.333333333
    """
    require_tau(tau)
    require_choice("tail", tail, ("lower", "upper"))
    require_integer_at_least("limit", limit, 1)
    tolerance = require_real("tolerance", tolerance, above=0.0)
    if nodes is not None:
        require_integer_at_least("nodes", nodes, 3)
    problem = read_problem(mdp, horizon=horizon, initial=initial)
    tau = float(tau)
    if tail == "upper":
        from certify.returns._upper import maximise_upper

        return maximise_upper(problem, tau, tolerance, limit)
    if tau == 1.0:
        return _largest_mean(problem)
    unit = lattice_unit(problem, limit=LATTICE_LIMIT) if nodes is None else None
    if problem.horizon is None:
        if unit is not None:
            return _infinite_lattice(problem, tau, unit, tolerance)
        return _rounded(problem, tau, nodes or default_nodes(problem))
    if unit is not None and problem.gamma == 1.0:
        low, high = extremes(problem)
        if problem.n_states * problem.horizon * (float(high.max()) - float(low.min())) / unit <= DENSE_LIMIT:
            return _finite_lattice(problem, tau, unit)
    if nodes is None:
        try:
            return _finite_exact(problem, tau, build_layers(problem, problem.horizon, limit=limit), tolerance)
        except TooMany:
            pass
    return _rounded(problem, tau, nodes or min(default_nodes(problem), int(DENSE_LIMIT / (problem.n_states * problem.horizon))))


def _largest_mean(problem: Problem) -> CVaRSolution:
    """Return the risk-neutral optimum: from a stock so low that c + G stays negative."""
    box = make_box(problem, LOWER)
    stock = box.low - 1.0
    steps = 1 if problem.horizon is None else problem.horizon
    nothing = np.zeros((problem.n_states, 1), dtype=np.int16)
    # below its only node a layer takes the risk-neutral action; the node itself lies above every stock of this start
    layers = tuple(GridLayer(float(box.high + 1.0), 1.0, nothing, box.below_actions[t], box.below_actions[t]) for t in range(steps))
    value = float(problem.initial @ box.below[0])
    slack = rounding(problem, box)
    found = _solution(problem, 1.0, value - slack, value + slack, stock, StockPolicy(layers, problem.gamma, problem.horizon, stock), "largest mean", 1)
    return _centred(found, value)


def _solution(problem: Problem, tau: float, low: float, high: float, stock: float, policy: StockPolicy, method: str, evaluations: int) -> CVaRSolution:
    """Return a lower-tail solution; rounding of the bracket is added by the caller."""
    return CVaRSolution(low, low, max(low, high), tau, "lower", float(stock), policy, (policy,), (1.0,), method, evaluations, problem)


def _finite_lattice(problem: Problem, tau: float, unit: float) -> CVaRSolution:
    """Solve every initial stock of the lattice at once; the best is minus an atom, hence among them."""
    tables, box = finite_tables(problem, LOWER, unit, "nearest")
    first = tables[0]
    objective = -first.nodes + problem.initial @ first.value / tau
    best = int(objective.argmax())
    policy = StockPolicy(tuple(layer_of(box, table, t) for t, table in enumerate(tables)), problem.gamma, problem.horizon, float(first.nodes[best]))
    slack = rounding(problem, box) / tau
    value = float(objective[best])
    found = _solution(problem, tau, value - slack, value + slack, first.nodes[best], policy, "lattice, every initial stock", objective.size)
    return _centred(found, value)


def _centred(solution: CVaRSolution, value: float) -> CVaRSolution:
    return replace(solution, value=min(max(value, solution.lower), solution.upper))


def _finite_exact(problem: Problem, tau: float, layers: Layers, tolerance: float) -> CVaRSolution:
    """Scan the initial stock over minus the atoms of the return, with a Lipschitz bound that skips most of them."""
    atoms = np.unique(layers.sums[-1])
    starts = problem.initial[layers.states[0]]

    def objective(stocks: FloatArray) -> FloatArray:
        last = np.minimum(stocks[None, :] + layers.sums[-1][:, None], 0.0)
        values, _ = backward(problem, layers, last)
        return np.asarray(-stocks + starts @ values / tau)

    scale = max(1.0, float(np.abs(atoms).max()))
    stock, value, gap, evaluations = search_atoms(objective, np.sort(-atoms), tau, 1e-13 * scale, cells=max(int(d.shape[0]) for d in layers.following))
    _, tables = backward(problem, layers, np.minimum(stock + layers.sums[-1], 0.0))
    assert problem.horizon is not None
    slack = (2.0**-50 * (problem.horizon + 16) * scale + (layers.merged + 1e-12 * scale) * problem.horizon) / tau
    found = _solution(
        problem, tau, value - slack, value + gap + slack, stock, policy_of(problem, layers, tables, stock), "reachable stocks, minus the atoms", evaluations
    )
    return _centred(found, value)


def _infinite_lattice(problem: Problem, tau: float, unit: float, tolerance: float) -> CVaRSolution:
    """Refine q-adic initial stocks, each carried exactly to the integer lattice of the fixed point."""
    box = make_box(problem, LOWER)
    fixed = solve_stationary(problem, box, unit)
    width = float(max((fixed.upper - fixed.table.value).max(), (fixed.table.value - fixed.lower).max()))
    result = search_lattice(problem, box, fixed.table, tau, tolerance * box.scale)
    layers = [*(layer_of(box, table, 0) for table in result.chain), layer_of(box, fixed.table, 0)]
    policy = StockPolicy(tuple(layers), problem.gamma, None, result.stock)
    slack = (width + rounding(problem, box)) / tau
    found = _solution(problem, tau, result.value - slack, result.upper + slack, result.stock, policy, "lattice, q-adic search", result.evaluations)
    return _centred(found, result.value)


def _rounded(problem: Problem, tau: float, nodes: int) -> CVaRSolution:
    """Bracket the optimum by rounding stocks down and up; the policy keeps the stock rounded down and attains the lower end."""
    box = make_box(problem, LOWER)
    step = max(1e-9 * box.scale, (box.high - box.low) / (nodes - 1))
    if problem.horizon is None:
        down, up = (solve_stationary(problem, box, step, mode=mode, tolerance=1e-6) for mode in ("down", "up"))
        floor, ceiling, tables = down.lower, np.minimum(up.upper, 0.0), [down.table]
        evaluations = down.sweeps + up.sweeps
    else:
        tables, _ = finite_tables(problem, LOWER, step, "down")
        highs, _ = finite_tables(problem, LOWER, step, "up")
        slack = rounding(problem, box)
        floor, ceiling, evaluations = tables[0].value - slack, highs[0].value + slack, 2 * problem.horizon
    floor, ceiling = floor - snapping(problem, box, step), ceiling + snapping(problem, box, step)
    stocks = tables[0].nodes
    low = problem.initial @ floor
    high = problem.initial @ ceiling
    objective = -stocks + low / tau
    best = int(objective.argmax())
    # between nodes the value is at most that of the node above, and at most 1-Lipschitz from the node below
    reach = np.minimum(step, np.maximum(0.0, np.diff(high)))
    between = np.maximum(-stocks[:-1] + high[:-1] / tau, -(stocks[:-1] + reach) + np.minimum(high[1:], high[:-1] + reach) / tau)
    upper = float(max(between.max(), (-stocks + high / tau).max()))
    policy = StockPolicy(tuple(layer_of(box, table, t, down=True) for t, table in enumerate(tables)), problem.gamma, problem.horizon, float(stocks[best]))
    return _solution(problem, tau, float(objective[best]), upper, stocks[best], policy, f"grid of {stocks.size} stocks, rounded down and up", evaluations)
