"""Exact arithmetic: an independent checker of brackets, and a solver in rationals for small models.

Every float is an integer times a power of two, so a model has exact rational meaning: discount and rewards as given, and each kernel row
p as p / sum(p).  The checker decides, with integers only,
    lower <= T lower   and   T upper <= upper,
which for a discount below one (or stage by stage for a finite horizon) implies lower <= V* <= upper.  It shares no code with the solvers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._errors import ModelError
from mdps._validate import require_discount
from mdps.models import FiniteHorizonMDP, LinearMDP, TabularMDP

__all__ = ["ExactSolution", "check", "solve"]

Row = tuple[Sequence[float], Sequence[int], Sequence[float]]
"""Probabilities, successors, and the reward of each successor, of one state and action."""


def check(mdp: TabularMDP | FiniteHorizonMDP | LinearMDP, lower: Any, upper: Any) -> bool:
    """Decide exactly whether `lower` is a subsolution and `upper` a supersolution of the optimality equation.

    Parameters
    ----------
    mdp : TabularMDP with a discount below 1, FiniteHorizonMDP or LinearMDP
        The model; a linear one is read as its `tabular()`.
    lower, upper : array (S,), or (H+1, S) for a finite horizon
        Floats, integers or fractions, taken exactly.

    Returns
    -------
    bool
        True implies `lower <= V* <= upper`; NaN and infinite entries give False.

    Examples
    --------
    >>> import mdps, numpy as np
    >>> model = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)
    >>> mdps.exact.check(model, [1.5], [2.5]), mdps.exact.check(model, [2.25], [2.5])
    (True, False)
    """
    model = _model(mdp)
    low, high = _claimed("lower", lower), _claimed("upper", upper)
    shape = (model.n_states,) if isinstance(model, TabularMDP) else (model.horizon + 1, model.n_states)
    if low.shape != shape or high.shape != shape:
        raise ModelError(f"lower and upper must have shape {shape}, got {low.shape} and {high.shape}")
    if not all(math.isfinite(x) for claim in (low, high) for x in claim.flat):
        return False
    if isinstance(model, TabularMDP):
        discount = require_discount(model.discount, below_one=True)
        return _is_sub(model, discount, low, low) and _is_super(model, discount, high, high)
    final = model.final_value
    if not ((low[-1] <= final).all() and (final <= high[-1]).all()):
        return False
    return all(
        _is_sub(model.stage(h), 1.0, low[h], low[h + 1]) and _is_super(model.stage(h), 1.0, high[h], high[h + 1]) for h in range(model.horizon)
    )


def _is_sub(mdp: TabularMDP, discount: float, here: Any, there: Any) -> bool:
    """Whether here <= T there: in every state at least one action reaches `here`."""
    return all(max(margins) >= 0 for margins in _margins(mdp, discount, here, there))


def _is_super(mdp: TabularMDP, discount: float, here: Any, there: Any) -> bool:
    """Whether T there <= here: in every state no action exceeds `here`."""
    return all(max(margins) <= 0 for margins in _margins(mdp, discount, here, there))


def _margins(mdp: TabularMDP, discount: float, here: Any, there: Any) -> Iterator[list[int]]:
    """Yield for each state the signs of sum_j p_j (r_j + g there_j) - here sum_j p_j over its actions, scaled to integers."""
    odd = lcm(*(_odd_part(x.as_integer_ratio()[1]) for claim in (here, there) for x in claim.tolist()))
    g, bits_g = _integers([discount])
    v, bits_v = _integers([Fraction(x) * odd for x in there.tolist()] if odd > 1 else there.tolist())
    w, bits_w = _integers([Fraction(x) * odd for x in here.tolist()] if odd > 1 else here.tolist())
    bits_r = _bits(mdp.expected_reward if mdp.transition_reward is None else mdp.transition_reward)
    scale = max(bits_g + bits_v, bits_w, bits_r)
    future = [(g[0] * x) << (scale - bits_g - bits_v) for x in v]
    present = [x << (scale - bits_w) for x in w]
    for state, rows in enumerate(_rows(mdp)):
        margins = []
        for probabilities, successors, rewards in rows:
            p, _ = _integers(probabilities)
            if len(set(rewards)) <= 1:  # one reward for all successors
                r = [odd * _scaled(rewards[0], scale)] * len(p)
            else:
                r = [odd * _scaled(x, scale) for x in rewards]
            total = sum(x * (y + future[j]) for x, y, j in zip(p, r, successors, strict=True))
            margins.append(total - present[state] * sum(p))
        yield margins


def _rows(mdp: TabularMDP) -> Iterator[list[Row]]:
    """Yield for each state the rows of its available actions."""
    dense: Any = None if mdp.is_sparse else mdp.transition
    matrix = mdp.csr() if mdp.is_sparse else None
    given: Any = mdp.transition_reward
    for s in range(mdp.n_states):
        rows: list[Row] = []
        for a in range(mdp.n_actions):
            if mdp.action_mask is not None and not mdp.action_mask[s, a]:
                continue
            if matrix is not None:
                entries = slice(int(matrix.indptr[s * mdp.n_actions + a]), int(matrix.indptr[s * mdp.n_actions + a + 1]))
                p, successors = matrix.data[entries], matrix.indices[entries]
                reward = None if given is None else given[entries]
            else:
                successors = np.flatnonzero(dense[s, a])
                p = dense[s, a, successors]
                reward = None if given is None else given[s, a, successors]
            rewards = [float(mdp.expected_reward[s, a])] * len(p) if reward is None else reward.tolist()
            rows.append((p.tolist(), successors.tolist(), rewards))
        yield rows


def _model(mdp: Any) -> TabularMDP | FiniteHorizonMDP:
    if isinstance(mdp, LinearMDP):
        return mdp.tabular()
    if not isinstance(mdp, TabularMDP | FiniteHorizonMDP):
        raise ModelError(f"mdp must be a TabularMDP, FiniteHorizonMDP or LinearMDP, got {type(mdp).__name__}")
    return mdp


def _claimed(name: str, value: Any) -> npt.NDArray[Any]:
    """Return the entries of a claim unrounded: float64 for floats, fractions for everything else."""
    try:
        array = np.asarray(value)
        if array.dtype.kind == "f" and array.dtype.itemsize <= 8:
            return array.astype(np.float64)
        exact = np.empty(array.shape, dtype=object)
        for place, x in np.ndenumerate(array.astype(object) if array.dtype.kind in "iu" else array):
            exact[place] = Fraction(*x.as_integer_ratio()) if math.isfinite(x) else float(x)
    except (AttributeError, TypeError, ValueError):
        raise ModelError(f"{name} must be an array of floats, integers or fractions, got {type(value).__name__}") from None
    return exact


def _odd_part(denominator: int) -> int:
    return denominator // (denominator & -denominator)


def _integers(values: Sequence[Any]) -> tuple[list[int], int]:
    """Return integers n and the least k with values = n / 2**k."""
    ratios = [x.as_integer_ratio() for x in values]
    bits = max((d.bit_length() - 1 for _, d in ratios), default=0)
    return [n << (bits - d.bit_length() + 1) for n, d in ratios], bits


def _scaled(value: float, bits: int) -> int:
    n, d = value.as_integer_ratio()
    return n << (bits - d.bit_length() + 1)


def _bits(array: npt.NDArray[np.float64]) -> int:
    """Return the least k such that every entry is a multiple of 2**-k."""
    flat = np.unique(array)
    return max((x.as_integer_ratio()[1].bit_length() - 1 for x in flat.tolist()), default=0)


@dataclass(frozen=True, eq=False)
class ExactSolution:
    """Optimal values as fractions.

    Attributes
    ----------
    value : object array of Fraction, (S,) or (H+1, S)
        V*.
    policy : int array (S,) or (H, S)
        The first optimal action of each state.
    optimal_actions : bool array (S, A) or (H, S, A)
        All of them.
    """

    value: npt.NDArray[np.object_]
    policy: npt.NDArray[np.int64]
    optimal_actions: npt.NDArray[np.bool_]


def solve(mdp: TabularMDP | FiniteHorizonMDP | LinearMDP, *, policy: Any = None) -> ExactSolution:
    """Solve a small model in rational arithmetic: policy iteration, or backward induction for a finite horizon.

    Parameters
    ----------
    mdp : TabularMDP with a discount below 1, FiniteHorizonMDP or LinearMDP
        The model; ten states take about a millisecond a round, fifty take seconds.
    policy : int array (S,), optional
        Where policy iteration starts.

    Returns
    -------
    ExactSolution
        Values, and all optimal actions, without any error.

    Examples
    --------
    >>> import mdps, numpy as np
    >>> model = mdps.TabularMDP(np.array([[[0.5, 0.5]], [[0.0, 1.0]]]), np.array([[1.0], [0.0]]), discount=0.5)
    >>> mdps.exact.solve(model).value.tolist()
    [Fraction(4, 3), Fraction(0, 1)]
    """
    model = _model(mdp)
    if isinstance(model, FiniteHorizonMDP):
        return _backward(model)
    g = Fraction(require_discount(model.discount, below_one=True))
    rows = _fractions(model)
    if policy is None:
        chosen = [max(actions, key=lambda a: actions[a][1]) for actions in rows]
    else:
        chosen = [int(a) for a in policy]
        if len(chosen) != model.n_states or any(a not in actions for a, actions in zip(chosen, rows, strict=True)):
            raise ModelError("policy must name an available action of every state")
    while True:
        value = _evaluate([actions[a] for a, actions in zip(chosen, rows, strict=True)], g)
        q = [_action_values(actions, value, g) for actions in rows]
        better = [chosen[s] if q[s][chosen[s]] == max(q[s].values()) else max(q[s], key=q[s].__getitem__) for s in range(len(rows))]
        if better == chosen:
            best = _optimal(q, model.n_actions)
            return ExactSolution(np.array(value, dtype=object), best.argmax(axis=1), best)
        chosen = better


Exact = dict[int, tuple[list[tuple[int, Fraction]], Fraction]]
"""Action to its row ((successor, probability), ...) and its expected reward."""


def _fractions(mdp: TabularMDP) -> list[Exact]:
    found: list[Exact] = []
    for s, rows in enumerate(_rows(mdp)):
        actions = range(mdp.n_actions) if mdp.action_mask is None else np.flatnonzero(mdp.action_mask[s]).tolist()
        exact: Exact = {}
        for a, (p, successors, rewards) in zip(actions, rows, strict=True):
            weights = [Fraction(x) for x in p]
            total = sum(weights)
            row = [(j, w / total) for j, w in zip(successors, weights, strict=True)]
            if len(set(rewards)) <= 1:
                exact[a] = row, Fraction(rewards[0])
            else:
                exact[a] = row, sum((w * Fraction(r) for (_, w), r in zip(row, rewards, strict=True)), Fraction(0))
        found.append(exact)
    return found


def _action_values(actions: Exact, value: Sequence[Fraction], g: Fraction) -> dict[int, Fraction]:
    return {a: reward + g * sum((w * value[j] for j, w in row), Fraction(0)) for a, (row, reward) in actions.items()}


def _optimal(q: list[dict[int, Fraction]], n_actions: int) -> npt.NDArray[np.bool_]:
    best = np.zeros((len(q), n_actions), dtype=bool)
    for s, values in enumerate(q):
        top = max(values.values())
        best[s, [a for a, x in values.items() if x == top]] = True
    return best


def _evaluate(rows: list[tuple[list[tuple[int, Fraction]], Fraction]], g: Fraction) -> list[Fraction]:
    """Solve v = r + g P v by fraction-free elimination (Bareiss) on rows scaled to integers."""
    size = len(rows)
    system = []
    for s, (row, reward) in enumerate(rows):
        line = [Fraction(0)] * size + [reward]
        line[s] += 1
        for j, w in row:
            line[j] -= g * w
        denominator = lcm(*(x.denominator for x in line))
        system.append([int(x * denominator) for x in line])
    previous = 1
    # I - g P is diagonally dominant, so no pivot vanishes
    for k in range(size - 1):
        pivot = system[k][k]
        for i in range(k + 1, size):
            factor = system[i][k]
            old, top = system[i], system[k]
            system[i] = [0] * (k + 1) + [(old[j] * pivot - factor * top[j]) // previous for j in range(k + 1, size + 1)]
        previous = pivot
    value = [Fraction(0)] * size
    for s in range(size - 1, -1, -1):
        rest = system[s][size] - sum((system[s][j] * value[j] for j in range(s + 1, size)), Fraction(0))
        value[s] = Fraction(rest) / system[s][s]
    return value


def _backward(mdp: FiniteHorizonMDP) -> ExactSolution:
    value = [[Fraction(x) for x in mdp.final_value.tolist()]]
    best: list[npt.NDArray[np.bool_]] = []
    stationary = _fractions(mdp.stage(0)) if mdp.is_stationary else None
    for h in range(mdp.horizon - 1, -1, -1):
        q = [_action_values(actions, value[0], Fraction(1)) for actions in stationary or _fractions(mdp.stage(h))]
        value.insert(0, [max(x.values()) for x in q])
        best.insert(0, _optimal(q, mdp.n_actions))
    actions = np.stack(best)
    return ExactSolution(np.array(value, dtype=object), actions.argmax(axis=2), actions)
