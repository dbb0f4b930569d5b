"""One door to every solver: `mdps.solve`."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from mdps._budget import Budget, Progress
from mdps._errors import InvalidDiscount, ModelError, NotConverged
from mdps._validate import require_array, require_choice, require_discount, require_integer, require_positive, require_shape
from mdps.models import FiniteHorizonMDP, LinearMDP, TabularMDP
from mdps.solution import Solution

__all__ = ["solve"]

CRITERIA = ("discounted", "finite-horizon", "average")
DEFAULT_ITERATIONS = 1_000_000


@np.errstate(over="ignore", invalid="ignore")  # an overflow shows as an infinite bracket
def solve(
    mdp: TabularMDP | FiniteHorizonMDP | LinearMDP,
    *,
    criterion: str | None = None,
    method: str = "auto",
    tolerance: float = 1e-8,
    max_iterations: int | None = None,
    initial_value: Any = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
    raise_on_budget: bool = True,
) -> Solution:
    """Solve a model to a proved sup-norm error of tolerance * max(1, |V*|).

    Parameters
    ----------
    mdp : TabularMDP, FiniteHorizonMDP or LinearMDP
        The model.
    criterion : {"discounted", "finite-horizon", "average"}, optional
        By default what the model was built for: its discount, or its horizon.
    method : str
        Discounted: "value-iteration", "gauss-seidel", "modified-policy-iteration", "policy-iteration", "krylov-policy-iteration",
        "linear-programming".  Finite horizon: "backward-induction".  Average: see `mdps.average`.  "auto" chooses.
    tolerance : float
        Largest error of `value` relative to max(1, |V*|); the true error is always bracketed by `lower` and `upper`.
    max_iterations : int, optional
        Sweeps, or rounds of policy improvement; one million by default.
    initial_value : array (S,), optional
        Where to start (warm start); any vector is allowed.
    time_limit : float, optional
        Seconds after which the run stops.
    progress : callable, optional
        Called as progress(iterations, error_bound); returning False stops the run.
    raise_on_budget : bool
        Whether a run that misses the tolerance raises; otherwise look at `status`.

    Returns
    -------
    Solution
        Value, bracket, policy, and on demand action values, optimal actions and the gap to the best other action.

    Raises
    ------
    NotConverged
        If the tolerance was missed; the exception carries the partial `solution`.
    InvalidDiscount
        If a discounted solution is asked of a model without a discount below 1.

    Examples
    --------
    >>> import mdps, numpy as np
    >>> model = mdps.TabularMDP(np.array([[[0.5, 0.5]], [[0.0, 1.0]]]), np.array([[1.0], [0.0]]), discount=0.5)
    >>> solution = mdps.solve(model)
    >>> bool((solution.lower <= [4 / 3, 0]).all() and (solution.upper >= [4 / 3, 0]).all())
    True
    """
    criterion = _criterion(mdp, criterion)
    tolerance = require_positive("tolerance", tolerance)
    limit = None if time_limit is None else require_positive("time_limit", time_limit)
    iterations = DEFAULT_ITERATIONS if max_iterations is None else require_integer("max_iterations", max_iterations)
    if progress is not None and not callable(progress):
        raise ModelError(f"progress must be callable, got {type(progress).__name__}")
    start = None
    if initial_value is not None:
        start = require_array("initial_value", initial_value)
        require_shape("initial_value", start, (mdp.n_states,))
    if criterion == "average":
        from mdps.average import solve_average

        return solve_average(
            cast(TabularMDP, mdp),
            method=method,
            tolerance=tolerance,
            max_iterations=max_iterations,
            initial_value=start,
            time_limit=limit,
            progress=progress,
            raise_on_budget=raise_on_budget,
        )
    budget = Budget.start(iterations, limit, progress)
    if criterion == "finite-horizon":
        solution = _finite(mdp, method, tolerance, budget, start)
    else:
        from mdps.discounted import METHODS, solve_discounted

        require_choice("method", method, ("auto", *METHODS))
        solution = solve_discounted(cast(TabularMDP, mdp), method=method, tolerance=tolerance, budget=budget, initial=start)
    if raise_on_budget and not solution.converged:
        raise NotConverged(
            f"{solution.method} reached an error of at most {solution.error:.3g} after {solution.iterations} iterations, wanted a tolerance "
            f"of {tolerance:g}: {solution.status.value}; raise the budget or the tolerance, or pass raise_on_budget=False",
            solution,
        )
    return solution


def _finite(mdp: Any, method: str, tolerance: float, budget: Budget, start: Any) -> Solution:
    from mdps.finite_horizon import METHODS, solve_finite_horizon

    require_choice("method", method, ("auto", *METHODS))
    if start is not None:
        raise ModelError("initial_value has no meaning for a finite horizon; give final_value to the model")
    return solve_finite_horizon(mdp.tabular() if isinstance(mdp, LinearMDP) else mdp, tolerance=tolerance, budget=budget)


def _criterion(mdp: Any, criterion: str | None) -> str:
    if isinstance(mdp, FiniteHorizonMDP | LinearMDP):
        if criterion not in (None, "finite-horizon"):
            require_choice("criterion", criterion, CRITERIA)
            raise ModelError(f"criterion must be 'finite-horizon' for a {type(mdp).__name__}, got {criterion!r}")
        return "finite-horizon"
    if not isinstance(mdp, TabularMDP):
        raise ModelError(f"mdp must be a TabularMDP, FiniteHorizonMDP or LinearMDP, got {type(mdp).__name__}")
    if criterion is not None:
        require_choice("criterion", criterion, CRITERIA)
    if criterion == "finite-horizon":
        raise ModelError("criterion 'finite-horizon' needs a FiniteHorizonMDP, got a TabularMDP")
    if criterion == "average":
        return "average"
    if mdp.discount is None:
        raise InvalidDiscount(None, "given for a discounted solution (in (0, 1)), or pass criterion='average'")
    require_discount(mdp.discount, below_one=True)
    return "discounted"


