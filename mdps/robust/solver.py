"""Robust dynamic programming with bounds.

The robust Bellman operators are monotone, shift by discount times a constant, and contract; so after any sweep t = T v

    t + g/(1-g) min(t - v)  <=  V*  <=  t + g/(1-g) max(t - v),

widened here by the accuracy of the inner minima and by rounding.  The lower end also holds for the robust value of the returned policy.
(s,a)-rectangular: nature chooses every row on its own and a deterministic policy is optimal.  s-rectangular: nature has one budget
sum_a D(p_a, q_a) <= radius in every state, and an optimal policy generally randomises.

Source: robust_tabular T1, T2, T4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError, NotConverged
from mdps._validate import require_array, require_choice, require_discount, require_integer, require_positive
from mdps.models import FiniteHorizonMDP, TabularMDP
from mdps.robust._stage import Game, build_game
from mdps.solution import Status

__all__ = ["RobustSolution", "solve"]

Array = NDArray[np.float64]

UNIT = 2.0**-53


@dataclass(frozen=True, eq=False, repr=False)
class RobustSolution:
    """Optimal robust values with bounds, the policy and the worst kernel.

    Attributes
    ----------
    value, lower, upper : array (S,) or (H+1, S)
        `lower <= V* <= upper`; `lower` is also a bound on the robust value of `policy`.
    policy : int array (S,) or (H, S), or array (S, A) or (H, S, A)
        (s,a)-rectangular: the greedy action; s-rectangular: probabilities of the actions.
    worst_kernel : array (S, A, S) or (H, S, A, S)
        Nature's answer to the values: in the set, and it holds every policy down to the value.
    iterations : int
        Sweeps over all actions.
    status : Status
        How the run ended.
    divergence, rectangular : str
        The set.
    radius, penalty : float or array or None
        Its size.
    """

    value: Array
    lower: Array
    upper: Array
    policy: NDArray[Any]
    worst_kernel: Array = field(repr=False)
    iterations: int
    status: Status
    divergence: str
    rectangular: str
    radius: Any = None
    penalty: Any = None

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status is Status.CONVERGED

    @property
    def error(self) -> float:
        """Largest distance from `value` to the optimum that the bounds allow."""
        return float(max(np.max(self.upper - self.value), np.max(self.value - self.lower)))

    def __repr__(self) -> str:
        size = "x".join(map(str, self.value.shape))
        return f"RobustSolution({self.divergence}, {self.rectangular}-rectangular, {size}, error <= {self.error:.3g}, {self.status.value})"


def solve(
    mdp: TabularMDP | FiniteHorizonMDP,
    *,
    divergence: str,
    radius: ArrayLike | None = None,
    penalty: ArrayLike | None = None,
    rectangular: str = "sa",
    weights: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> RobustSolution:
    """Solve a rectangular robust MDP.

    Parameters
    ----------
    mdp : TabularMDP with a discount below 1, or FiniteHorizonMDP
        The nominal model.  It is expanded to a dense kernel: nature may move mass to any state.
    divergence : str
        One of `mdps.robust.DIVERGENCES`; s-rectangular: `"tv"`, `"l1"`, `"kl"`, `"chi2"`.
    radius : float or array, optional
        Size of the sets: a number, or (S, A) for `"sa"` and (S,) for `"s"`.
    penalty : float or array, optional
        In place of a radius: price of a unit of divergence (`"tv"`, `"kl"`, `"chi2"`, (s,a)-rectangular only).
    rectangular : str
        `"sa"` or `"s"`; with `"s"` the radius is the budget of a state, shared by its actions.
    weights, cost : array, optional
        As in `mdps.robust.worst_case`, over the states.
    tolerance : float
        Largest error, relative to max(1, |V|).
    max_iterations : int
        Sweeps allowed.
    start : array (S,), optional
        First guess of the values of a discounted model.

    Returns
    -------
    RobustSolution
        Values, bounds, policy and worst kernel.

    Raises
    ------
    ModelError
        If an argument is out of range or does not fit.
    NotConverged
        If the sweeps are spent, or rounding stands above the tolerance; it carries the partial solution.

    Examples
    --------
    >>> import numpy as np
    >>> from mdps import TabularMDP
    >>> mdp = TabularMDP(np.array([[[0.5, 0.5]], [[0.0, 1.0]]]), np.array([[1.0], [0.0]]), discount=0.5)
    >>> round(float(solve(mdp, divergence="tv", radius=0.25).value[0]), 6)
    1.142857

    Source: robust_tabular T1, T2, T4.
    """
    require_choice("rectangular", rectangular, ("sa", "s"))
    tolerance = require_positive("tolerance", tolerance)
    max_iterations = require_integer("max_iterations", max_iterations)
    sizes: dict[str, Any] = {"divergence": divergence, "radius": radius, "penalty": penalty, "rectangular": rectangular, "weights": weights, "cost": cost}
    labels: dict[str, Any] = {"divergence": divergence, "rectangular": rectangular, "radius": radius, "penalty": penalty}
    if isinstance(mdp, FiniteHorizonMDP):
        if start is not None:
            raise ModelError("start is for discounted models; backward induction needs no first guess")
        return _backward(mdp, sizes, labels)
    if not isinstance(mdp, TabularMDP):
        raise ModelError(f"mdp must be a TabularMDP or a FiniteHorizonMDP, got {type(mdp).__name__}")
    if mdp.discount is None:
        raise ModelError("mdp needs a discount in (0, 1) or a horizon; got neither")
    discount = require_discount(mdp.discount, below_one=True)
    first = np.zeros(mdp.n_states) if start is None else require_array("start", start)
    if first.shape != (mdp.n_states,):
        raise ModelError(f"start must hold {mdp.n_states} finite numbers, got shape {first.shape}")
    exponent = _exponent(_largest(mdp), float(np.abs(first).max()))
    game = build_game(mdp, **sizes, exponent=exponent)
    v = np.where(game.ends, 0.0, np.ldexp(first, exponent))
    return _iterate(game, discount, v, tolerance, max_iterations, exponent, labels)


def _largest(mdp: TabularMDP) -> float:
    rewards = mdp.expected_reward if mdp.transition_reward is None else mdp.transition_reward
    return float(np.abs(rewards).max(initial=0.0))


def _exponent(*sizes: float) -> int:
    """Return a power of two that brings numbers so large or small that their squares overflow or vanish near one, else 0."""
    largest = max(sizes)
    return 0 if largest == 0.0 or 1e-60 <= largest <= 1e60 else -math.frexp(largest)[1]


def _unscaled(exponent: int, value: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """Return value and bounds in the unit of the caller; the bounds are rounded outwards where the way back is inexact."""
    if exponent == 0:
        return value, lower, upper
    with np.errstate(over="ignore"):
        value, lower, upper = (np.ldexp(x, -exponent) for x in (value, lower, upper))
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ModelError("rewards must be small enough for the values to be floats, got values that overflow")
    if exponent > 0:
        lower, upper = np.nextafter(lower, -np.inf), np.nextafter(upper, np.inf)
    return value, lower, upper


def _iterate(
    game: Game, g: float, v: Array, tolerance: float, max_iterations: int, exponent: int, labels: dict[str, Any]
) -> RobustSolution:
    status, sweeps, accuracy = Status.ITERATIONS_SPENT, 0, 0.0
    one = math.ldexp(1.0, min(exponent, 1000))
    while True:
        t, gap = game.sweep(v, g, accuracy)
        sweeps += 1
        lower, upper, spread, floor = _bracket(t, v, gap, g, game)
        # t may be far larger than the values where the first guess is
        size = max(one, float(np.abs(0.5 * lower + 0.5 * upper).max()))
        if 0.5 * float(np.max(upper - lower)) <= tolerance * size:
            status = Status.CONVERGED
            break
        drowned = floor > tolerance * size and spread <= floor
        if drowned and float(np.abs(v).max()) <= 2.0 * size:
            status = Status.ROUNDING
            break
        if sweeps >= max_iterations:
            break
        if drowned:
            v = np.where(game.ends, 0.0, 0.5 * lower + 0.5 * upper)
            continue
        accuracy = max(0.05 * (1.0 - g) * tolerance * size, 0.02 * (1.0 - g) * float(np.ptp(t - v)), 16 * UNIT * size)
        v = game.evaluate(t, g, accuracy, sweeps)
    # the lower end must hold for the policy of this last sweep
    t, gap, worst = game.answer(v, g)
    lower, highest, _, _ = _bracket(t, v, gap, g, game)
    upper = np.maximum(np.minimum(upper, highest), lower)
    value, lower, upper = _unscaled(exponent, np.clip(0.5 * lower + 0.5 * upper, lower, upper), lower, upper)
    solution = RobustSolution(value, lower, upper, game.policy(), worst, sweeps, status, **labels)
    if status is not Status.CONVERGED:
        raise NotConverged(
            f"robust value iteration reached error {solution.error:.3g} after {sweeps} sweeps ({status.value}); "
            f"the tolerance was {tolerance:g} times {math.ldexp(size, -exponent):.3g}",
            solution,
        )
    return solution


def _bracket(t: Array, v: Array, gap: float, g: float, game: Game) -> tuple[Array, Array, float, float]:
    """Return the bounds, the half-width that more sweeps can remove, and the one that they cannot."""
    slack = game.slack(v, g)
    rounding = 4 * UNIT * float(np.abs(t).max() + np.abs(v).max()) / (1.0 - g)
    change = t - v
    fall, rise = float(change.min()), float(change.max())
    low, high = (g * fall - slack) / (1.0 - g) - rounding, (g * rise + slack + gap) / (1.0 - g) + rounding
    reducible = 0.5 * (g * (rise - fall) + gap) / (1.0 - g)
    return t + low, t + high, reducible, slack / (1.0 - g) + rounding


def _backward(mdp: FiniteHorizonMDP, sizes: dict[str, Any], labels: dict[str, Any]) -> RobustSolution:
    stages = range(1 if mdp.is_stationary else mdp.horizon)
    exponent = _exponent(float(np.abs(mdp.final_value).max()), *(_largest(mdp.stage(h)) for h in stages))
    v = np.ldexp(mdp.final_value, exponent)
    below = above = 0.0
    values, lowers, uppers = [v], [v], [v]
    policies: list[NDArray[Any]] = []
    kernels: list[Array] = []
    game: Game | None = None
    for h in reversed(range(mdp.horizon)):
        if game is None or not mdp.is_stationary:
            game = build_game(mdp.stage(h), **sizes, exponent=exponent)
        slack = game.slack(v, 1.0)
        v, gap, worst = game.answer(v, 1.0)
        below, above = below + slack, above + slack + gap
        values.append(v)
        lowers.append(v - below)
        uppers.append(v + above)
        policies.append(game.policy())
        kernels.append(worst)
    value, lower, upper, policy, worst_kernel = (np.stack(items[::-1]) for items in (values, lowers, uppers, policies, kernels))
    value, lower, upper = _unscaled(exponent, value, lower, upper)
    return RobustSolution(value, lower, upper, policy, worst_kernel, mdp.horizon, Status.CONVERGED, **labels)
