"""Policies that are optimal for an expected utility of c_0 + G, by dynamic programming over state and stock.

Finite horizons are solved exactly over what is reachable.  Infinite horizons use the lattice (gamma = 1/q), where the result is exact
up to the bounds returned, a grid of stocks with the error of rounding added, or the reachable pairs of the first steps with the error
L gamma^n D of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_integer_at_least, require_real
from certify.returns._box import (
    LATTICE_LIMIT,
    Box,
    Stationary,
    Table,
    lattice_unit,
    layer_of,
    make_box,
    nodes_over,
    policy_iteration,
    rounding,
    snapping,
    solve_stationary,
    sweep,
)
from certify.returns._layers import backward, build_layers, last_values, near_values, policy_of
from certify.returns._model import Problem, extremes, read_problem
from certify.returns.laws import Law
from certify.returns.objectives import Objective, expected_utility, homogeneity_defect, require_utility
from certify.returns.policies import HALF, StockPolicy, return_law
from theory import distributional_dp as bounds

__all__ = ["StockSolution", "optimise"]

FloatArray = NDArray[np.float64]

CONDITION = 1e-7
"""A relative defect of f(gamma x) = alpha f(x) + b above this refuses the utility."""


@dataclass(frozen=True, slots=True, eq=False)
class StockSolution:
    """The optimal value from the initial distribution with the initial stock, its bounds, and a policy that attains them.

    The policy's own value lies in [`lower`, `upper`] as well as the optimum.  `a_priori_error` is what theory promised before the run
    (0 where the method is exact), `a_posteriori_error` the width of the bounds.  `stocks`, `values` and `actions` give the value and
    greedy action on the stock grid of the stationary solution, shapes (N,) and (S, N), where there is one.
    """

    value: float
    lower: float
    upper: float
    policy: StockPolicy
    objective: Objective
    method: str
    iterations: int
    a_priori_error: float
    clock: bool
    stocks: FloatArray | None
    values: FloatArray | None
    actions: NDArray[Any] | None
    _problem: Problem = field(repr=False)

    @property
    def a_posteriori_error(self) -> float:
        """Width of the bounds: the loss of the policy is at most this."""
        return self.upper - self.lower

    def return_law(self, *, tolerance: float = 1e-9, limit: int = 200_000) -> tuple[Law, float]:
        """Return the law of the return of the policy (of the model's scalar reward) and a bound on its W_1 error."""
        return return_law(self._problem, self.policy, vector_rewards=self.objective.rewards, tolerance=tolerance, limit=limit)


def optimise(
    mdp: Any,
    objective: Any,
    *,
    stock: ArrayLike = 0.0,
    horizon: int | None = None,
    initial: Any = None,
    method: str = "auto",
    clock: bool = False,
    nodes: int | None = None,
    tolerance: float = 1e-9,
    limit: int = 400_000,
) -> StockSolution:
    r"""Maximise E f(c_0 + G) over all policies, history-dependent ones included.

    Parameters
    ----------
    mdp : mdps.TabularMDP or mdps.FiniteHorizonMDP
        The model; with a discount below 1 unless a horizon is given.
    objective : Objective or callable
        From `piecewise_linear`, `target_return`, `log_periodic`, `homeostasis`, `constrained`, `expected_utility`, or a utility of numbers.
    stock : float or array (m,)
        Initial stock c_0.
    horizon : int, optional
        Number of steps; None takes that of the model, or an infinite horizon.
    initial : int or array (S,), optional
        First state or its distribution; the model's own if None, and state 0 if it has none.
    method : str
        `"auto"`, `"value"` (value iteration) or `"policy"` (policy iteration; infinite horizon and two slopes).
    clock : bool
        Carry the time in the state, which lifts the condition on f for discounted models; an infinite horizon still needs `lipschitz`.
    nodes : int, optional
        Number of stock nodes where stocks are rounded; by default as many as about a second allows.
    tolerance : float
        Aim for the truncated tail of an infinite horizon without a grid.
    limit : int
        Largest number of reachable pairs of state and stock.

    Returns
    -------
    StockSolution

    Raises
    ------
    ValueError
        If the discount is 1 without a horizon, the utility is not indifferent to the discount and `clock` is False, it has no Lipschitz
        constant for an infinite horizon, the stock has the wrong length, or a finite horizon passes `limit`.

    Source: distributional_dp/G3, G3b, G6, G7-posterior, G8, G9a, G10.

    Examples
    --------
    >>> import numpy as np
    >>> from mdps import TabularMDP
    >>> from certify.returns import piecewise_linear
    >>> kernel = np.array([[[1.0, 0.0], [0.5, 0.5]]] * 2)
    >>> reward = np.array([[[1.0, 0.0], [0.0, 3.0]]] * 2)
    >>> arms = TabularMDP(kernel, reward, discount=0.5)
    >>> round(optimise(arms, piecewise_linear(1.0, 0.0), stock=-4.0).value, 9)
    -1.25
    """
    require_choice("method", method, ("auto", "value", "policy"))
    require_integer_at_least("limit", limit, 1)
    tolerance = require_real("tolerance", tolerance, above=0.0)
    if nodes is not None:
        require_integer_at_least("nodes", nodes, 3)
    problem = read_problem(mdp, horizon=horizon, initial=initial)
    wanted = objective if isinstance(objective, Objective) else expected_utility(objective)
    start = _initial_stock(wanted, stock)
    _require_conditions(problem, wanted, start, clock)
    two_slopes = wanted.slopes is not None and wanted.rewards is None
    if problem.horizon is None and two_slopes:
        assert wanted.slopes is not None
        return on_box(problem, wanted, float(start), method, nodes)
    if method == "policy":
        raise ValueError("method must be 'auto' or 'value' here, got 'policy': policy iteration needs an infinite horizon and two slopes")
    return _on_layers(problem, wanted, start, clock, tolerance, limit)


def _initial_stock(objective: Objective, stock: ArrayLike) -> Any:
    given = np.asarray(stock, dtype=np.float64)
    if not np.isfinite(given).all():
        raise ValueError(f"stock must be finite, got {stock!r}")
    if objective.rewards is None:
        if given.ndim != 0:
            raise ValueError(f"stock must be a number for this objective, got shape {given.shape}")
        return float(given) + float(objective.shift)
    if given.shape not in ((), (objective.dimension,)):
        raise ValueError(f"stock must have length {objective.dimension}, got shape {given.shape}")
    return np.broadcast_to(given, (objective.dimension,)) + objective.shift


def _require_conditions(problem: Problem, objective: Objective, start: Any, clock: bool) -> None:
    """Refuse utilities that dynamic programming would silently get wrong (distributional_dp/G2-gamma)."""
    if objective.rewards is not None:
        S, A = problem.n_states, problem.stages[0].n_actions
        if objective.rewards.shape[:3] != (S, A, S):
            raise ValueError(f"rewards must have shape ({S}, {A}, {S}, m) or ({S}, {A}, m), got {objective.rewards.shape}")
    low, high = extremes(problem)
    reach = max(1e-9, float(np.abs(start).max()) + max(abs(float(low.min())), abs(float(high.max()))))
    require_utility(objective, reach)
    if problem.horizon is None and objective.lipschitz is None:
        raise ValueError(f"objective must have a Lipschitz constant for an infinite horizon, got {objective.name} without `lipschitz`")
    if problem.gamma == 1.0 or clock:
        return
    defect = homogeneity_defect(objective, problem.gamma, reach, affine=problem.horizon is not None)
    if defect > CONDITION:
        form = "gamma f(x)" if problem.horizon is None else "alpha f(x) + b"
        raise ValueError(
            f"objective must satisfy f(gamma x) = {form} for discount {problem.gamma:g}, got {objective.name} with a relative defect of {defect:.3g}; "
            "pass clock=True to carry the time in the state"
        )


def _on_layers(problem: Problem, objective: Objective, start: Any, clock: bool, tolerance: float, limit: int) -> StockSolution:
    finite = problem.horizon is not None
    low, high = (x[0] for x in extremes(problem)) if not finite else (np.zeros(1), np.zeros(1))
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    if objective.rewards is not None and not finite:
        size = np.abs(objective.rewards).sum(axis=-1).max() / (1.0 - problem.gamma)
        middle, half = np.zeros(problem.n_states), np.full(problem.n_states, size)
    reach = max(1e-300, float(half.max())) * (objective.lipschitz or 0.0)
    steps = problem.horizon if finite else max(1, bounds.dvi_iterations(1.0, problem.gamma, reach, tolerance))
    assert steps is not None
    layers = build_layers(problem, steps, rewards=objective.rewards, limit=limit, stop_at_limit=not finite)
    states = layers.states[-1]
    factor = problem.gamma**layers.steps
    rest, error = None, 0.0
    if not finite:
        assert objective.lipschitz is not None
        error = float(bounds.dvi_error(objective.lipschitz, problem.gamma, layers.steps, float(half[states].max())))
        rest = factor * middle[states] if objective.rewards is None else None
    last, inexact = last_values(objective.utility, layers, np.asarray(start)[None], rest)
    if not np.isfinite(last).all():
        raise ValueError(f"objective must be finite on the returns of the model; {objective.name} is {last[~np.isfinite(last)][0]} at one of them")
    values, tables = backward(problem, layers, last)
    starts = problem.initial[layers.states[0]]
    value = low = high = float(starts @ values[:, 0])
    if objective.lipschitz is None and inexact > 0.0:  # a jump may lie between a stock and its rounded value
        least, most = near_values(objective.utility, layers, start, inexact)
        worst, tables = backward(problem, layers, least)
        low, high = float(starts @ worst[:, 0]), float(starts @ backward(problem, layers, most)[0][:, 0])
    policy = policy_of(problem, layers, [q[..., 0] for q in tables], start)
    size = max(1.0, float(np.abs(last).max()))
    slack = 2.0**-50 * (layers.steps + 16) * size + inexact * objective.dimension * (objective.lipschitz or 0.0)
    ties = 1e-12 * layers.steps * size  # what the policy may lose because actions this near are not told apart
    name = "reachable stocks" + (" with clock" if clock else "") + ("" if finite else f", first {layers.steps} steps")
    low, high = low - error - slack - ties, high + error + slack
    return StockSolution(value, low, high, policy, objective, name, layers.steps, error, clock, None, None, None, problem)


def default_nodes(problem: Problem) -> int:
    """Return how many stock nodes keep a sweep below some ten million elementary steps."""
    work = max(int(m.count.sum()) for m in problem.stages)
    sweeps = min(2000.0, 30.0 / -np.log(problem.gamma)) if problem.gamma < 1.0 else float(problem.horizon or 1)
    return int(np.clip(1e9 / (work * sweeps), 201, 20_001))


def on_box(problem: Problem, objective: Objective, start: float, method: str, nodes: int | None, solved: Stationary | None = None) -> StockSolution:
    """Solve an infinite horizon with two slopes on the lattice or a grid; `solved` is the fixed point where it is known already."""
    assert objective.slopes is not None
    assert objective.lipschitz is not None
    box = make_box(problem, objective.slopes)
    unit = lattice_unit(problem, limit=LATTICE_LIMIT) if nodes is None else None
    exact = unit is not None
    count = nodes or default_nodes(problem)
    step = unit if unit is not None else max(1e-9, (box.high - box.low) / (count - 1))
    found = solved or (policy_iteration(problem, box, step) if method == "policy" else solve_stationary(problem, box, step))
    table, lower, upper, n = found.table, found.lower, found.upper, found.sweeps
    grid_error = 0.0 if exact else float(bounds.stock_grid_error(objective.lipschitz, problem.gamma, step))
    chain = fraction_chain(start, step, problem.gamma) if exact else [start]
    first, policy = _prefix(problem, box, table, chain, start, rounded=not exact)
    at = _read(first, start, box)
    width = float(max((upper - table.value).max(), (table.value - lower).max())) + grid_error + rounding(problem, box)
    if not exact:
        width += snapping(problem, box, step) + 0.5 * objective.lipschitz * step  # the initial stock is rounded too
    value = float(problem.initial @ at)
    prior = float(bounds.dvi_error(objective.lipschitz, problem.gamma, n, box.scale)) + grid_error
    name = ("lattice" if exact else f"grid of {table.value.shape[1]} stocks") + (", policy iteration" if method == "policy" else ", value iteration")
    return StockSolution(value, value - width, value + width, policy, objective, name, n, prior, False, table.nodes, table.value, table.action, problem)


def fraction_chain(start: float, unit: float, gamma: float) -> list[float]:
    """Return the offsets of the lattices that the stock visits: c_0 mod u, q c_0 mod u, ... until 0 or sixty of them."""
    q, chain = round(1.0 / gamma), [float(start % unit)]
    while len(chain) < 60 and min(chain[-1], unit - chain[-1]) > 1e-9 * unit:
        chain.append(float((chain[-1] * q) % unit))
    return chain


def _prefix(problem: Problem, box: Box, table: Table, chain: list[float], start: float, *, rounded: bool) -> tuple[Table, StockPolicy]:
    """Carry the stationary table back along the lattices of a fractional stock."""
    layers, current = [layer_of(box, table, 0, rounded=rounded)], table
    for offset in reversed(chain[:-1]):
        origin, count = nodes_over(box, table.step, offset)
        current = sweep(problem.stage(0), problem.gamma, box, 0, current, origin, table.step, count, "nearest")
        layers.insert(0, layer_of(box, current, 0))
    return current, StockPolicy(tuple(layers), problem.gamma, problem.horizon, start)


def _read(table: Table, stock: float, box: Box) -> FloatArray:
    """Return values at one stock, by the closed form beyond the nodes and at the nearest node between them."""
    z = (stock - table.origin) / table.step
    if z < -1e-9:
        return np.asarray(box.slopes[0] * (stock + box.below[0]))
    if z > table.value.shape[1] - 1 + 1e-9:
        return np.asarray(box.slopes[1] * (stock + box.above[0]))
    return np.asarray(table.value[:, min(max(int(np.floor(z + HALF)), 0), table.value.shape[1] - 1)])
