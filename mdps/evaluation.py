"""The value of a given policy, with a bracket that holds in exact arithmetic, and how often it visits each state and action.

The evaluation operator of a policy pi, T v = sum_a pi(a | s) (r + g P v), is the optimality operator of the model in which pi is the only
choice; brackets come from the same one-sweep argument (`mdps.operators`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._build import SMALLEST, UNIT
from mdps._errors import InvalidDiscount, InvalidPolicy, ModelError
from mdps._validate import require_discount, require_distribution
from mdps.models import FiniteHorizonMDP, LinearMDP, TabularMDP
from mdps.operators import Bracket, Work, bracket_from, work_of
from mdps.policy_rows import PolicyRows
from mdps.solution import unbounded

__all__ = ["Evaluation", "evaluate", "occupancy", "policy_weights"]

FloatArray = npt.NDArray[np.float64]

DIRECT_STATES = 2_000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Value of a policy.

    Attributes
    ----------
    value : array (S,), or (H+1, S) for a finite horizon
        V^pi.
    action_value : array (S, A) or (H, S, A)
        Reward plus (discounted) value of the successor; -inf where an action is not available.
    lower, upper : arrays like `value`
        `lower <= V^pi <= upper` in exact arithmetic.
    """

    value: FloatArray
    action_value: FloatArray
    lower: FloatArray
    upper: FloatArray

    @property
    def error(self) -> float:
        """Largest distance from `value` to V^pi that the bounds allow."""
        return float(max((self.upper - self.value).max(), (self.value - self.lower).max()))


@np.errstate(over="ignore", invalid="ignore")  # an overflow shows as an infinite bracket
def evaluate(mdp: TabularMDP | FiniteHorizonMDP | LinearMDP, policy: Any) -> Evaluation:
    """Evaluate a policy exactly up to rounding.

    Parameters
    ----------
    mdp : TabularMDP with a discount below 1, FiniteHorizonMDP or LinearMDP
        The model.
    policy : int array (S,), array (S, A), int array (H, S) or array (H, S, A)
        Actions, or distributions over actions, of each state (and stage, for a finite horizon).  Distributions must sum to 1 within 1e-9
        and stand for the exactly renormalised ones.

    Returns
    -------
    Evaluation
        Value, action values and bracket.

    Raises
    ------
    InvalidPolicy
        If the policy has the wrong shape, is no distribution, or uses an action that is not available.

    Examples
    --------
    >>> import mdps, numpy as np
    >>> model = mdps.TabularMDP(np.array([[[0.5, 0.5]], [[0.0, 1.0]]]), np.array([[1.0], [0.0]]), discount=0.5)
    >>> mdps.evaluate(model, [0, 0]).value.round(6).tolist()
    [1.333333, 0.0]
    """
    model = _tabular(mdp)
    pi = policy_weights(model, policy)
    if isinstance(model, FiniteHorizonMDP):
        return _evaluate_stages(model, pi)
    if model.discount is None:
        raise InvalidDiscount(None, "given to evaluate a policy (in (0, 1)); mdps.stationary_distribution gives its average reward")
    g = require_discount(model.discount, below_one=True)
    work = work_of(model)
    rows = _mixed_rows(work, pi)
    if model.n_states <= DIRECT_STATES or isinstance(rows.kernel, np.ndarray):
        v = rows.solve(g)
    else:
        v = rows.solve_krylov(rows.reward, g, 1e-10)
    t, found = _settle(work, pi, g, v)
    lower, upper = unbounded(t + found.below, t + found.above)
    value = t + (0.5 * (found.below + found.above) if np.isfinite(found.radius) else 0.0)
    if model.terminal is not None:
        for array in (value, lower, upper):
            array[model.terminal] = 0.0
    return Evaluation(value, work.action_values(value, g), lower, upper)


def occupancy(mdp: TabularMDP | FiniteHorizonMDP | LinearMDP, policy: Any, *, initial: Any = None) -> FloatArray:
    """Return how often a policy visits each state and action.

    Parameters
    ----------
    mdp : TabularMDP with a discount below 1, FiniteHorizonMDP or LinearMDP
        The model.
    policy : array
        As for `evaluate`.
    initial : array (S,), optional
        Distribution of the first state; by default the model's own.

    Returns
    -------
    array (S, A) or (H, S, A)
        Discounted: the distribution (1 - g) sum_t g^t P(s_t = s, a_t = a), summing to 1.  Finite horizon: P(s_h = s, a_h = a), summing to 1
        at each stage.

    Raises
    ------
    ModelError
        If no initial distribution is known, or the policy is not one.
    """
    model = _tabular(mdp)
    pi = policy_weights(model, policy)
    start = model.initial if initial is None else require_distribution("initial", initial, model.n_states)
    if start is None:
        raise ModelError("occupancy needs an initial distribution: give `initial` here or to the model")
    if isinstance(model, FiniteHorizonMDP):
        visits = np.empty((model.horizon, model.n_states, model.n_actions))
        for h in range(model.horizon):
            visits[h] = start[:, None] * pi[h]
            work = work_of(model.stage(h))
            start = (work.matrix.T if work.matrix is not None else work.csr().T) @ visits[h].ravel()
        return visits
    if model.discount is None:
        raise InvalidDiscount(None, "given for a discounted occupancy (in (0, 1)); mdps.stationary_distribution is its limit")
    g = require_discount(model.discount, below_one=True)
    rows = _mixed_rows(work_of(model), pi)
    kernel = np.ascontiguousarray(rows.kernel.T) if isinstance(rows.kernel, np.ndarray) else rows.kernel.T.tocsr()
    transposed = PolicyRows(kernel, (1 - g) * start, False)
    if model.n_states <= DIRECT_STATES or isinstance(rows.kernel, np.ndarray):
        d = transposed.solve(g)
    else:
        d = transposed.solve_krylov(start, g, 1e-12)
    d = np.maximum(d, 0.0)
    found: FloatArray = (d / d.sum())[:, None] * pi
    return found


def policy_weights(mdp: TabularMDP | FiniteHorizonMDP, policy: Any) -> FloatArray:
    """Validate a policy and return its distributions, (S, A) for a tabular model and (H, S, A) for a finite horizon.

    Raises
    ------
    InvalidPolicy
        Naming the first bad state (and stage).
    """
    S, A = mdp.n_states, mdp.n_actions
    staged = isinstance(mdp, FiniteHorizonMDP)
    horizon: tuple[int, ...] = (mdp.horizon,) if isinstance(mdp, FiniteHorizonMDP) else ()
    try:
        array = np.asarray(policy)
    except ValueError:
        raise InvalidPolicy("policy must be an array of actions or of distributions, got rows of different lengths") from None
    if array.dtype.kind not in "fiu":
        raise InvalidPolicy(f"policy must be an array of numbers, got dtype {array.dtype}")
    deterministic = array.dtype.kind in "iu" and array.shape in ((S,), (*horizon, S))
    if deterministic:
        bad = np.argwhere((array < 0) | (array >= A))
        if bad.size:
            place = tuple(bad[0])
            raise InvalidPolicy(f"policy must take actions in 0..{A - 1}, got {array[place]} in {_place(place)}")
        weights = np.zeros((*array.shape, A))
        np.put_along_axis(weights, array[..., None].astype(np.int64), 1.0, axis=-1)
    elif array.shape in ((S, A), (*horizon, S, A)):
        weights = array.astype(np.float64)
        total = weights.sum(axis=-1)
        bad = np.argwhere(~((weights >= 0).all(axis=-1) & (np.abs(total - 1) <= 1e-9)))
        if bad.size:
            place = tuple(bad[0])
            raise InvalidPolicy(
                f"policy must be a distribution over actions, got {weights[place].tolist()} (sum {float(total[place])!r}) in {_place(place)}"
            )
        weights = weights / total[..., None]
    else:
        raise InvalidPolicy(
            f"policy has shape {array.shape} and dtype {array.dtype}; allowed are integers ({S},) and distributions ({S}, {A})"
            + (f", also with {horizon[0]} stages in front" if staged else "")
        )
    if mdp.action_mask is not None:
        bad = np.argwhere((weights > 0) & ~mdp.action_mask)
        if bad.size:
            place = tuple(bad[0])
            raise InvalidPolicy(f"policy takes action {place[-1]} in {_place(place[:-1])}, where the mask forbids it")
    return np.broadcast_to(weights, (*horizon, S, A)) if staged else weights


def _tabular(mdp: Any) -> TabularMDP | FiniteHorizonMDP:
    if isinstance(mdp, LinearMDP):
        return mdp.tabular()
    if not isinstance(mdp, TabularMDP | FiniteHorizonMDP):
        raise ModelError(f"mdp must be a TabularMDP, FiniteHorizonMDP or LinearMDP, got {type(mdp).__name__}")
    return mdp


def _mixed_rows(work: Work, pi: FloatArray) -> PolicyRows:
    """Return the kernel and the reward of a stochastic policy."""
    S, A = pi.shape
    reward = np.where(pi > 0, pi * np.where(pi > 0, work.reward, 0.0), 0.0).sum(axis=1)
    if work.matrix is not None:
        kernel: Any = np.einsum("sa,saj->sj", pi, work.matrix.reshape(S, A, S))
    else:
        from scipy import sparse

        mixing = sparse.csr_matrix((pi.ravel(), np.arange(S * A), np.arange(0, S * A + 1, A)), shape=(S, S * A))
        kernel = (mixing @ work.csr()).tocsr()
    return PolicyRows(kernel, reward, False)


def _expectation(work: Work, pi: FloatArray, v: FloatArray, g: float) -> FloatArray:
    q = work.action_values(v, g)
    result: FloatArray = (pi * np.where(pi > 0, q, 0.0)).sum(axis=1)
    return result


def _error(work: Work, pi: FloatArray, v: FloatArray, g: float) -> float:
    """Bound on the error of `_expectation`: of the action values used, of the renormalised weights, and of their sum."""
    used = float(np.abs(np.where(pi > 0, work.reward, 0.0)).max())
    v_size = float(np.abs(v).max())
    size = used + g * v_size
    if size == 0.0:
        return work.reward_error
    factor = (work.longest + 2) * UNIT + work.entry_error
    mixing = 0.0 if ((pi == 0) | (pi == 1)).all() else (2 * pi.shape[1] + 4) * UNIT * size
    smallest = 4 * (work.longest + pi.shape[1]) * SMALLEST
    return float((factor * g * v_size + 2 * UNIT * used + work.reward_error + mixing) * (1 + 1e-6) + smallest)


def _settle(work: Work, pi: FloatArray, g: float, v: FloatArray) -> tuple[FloatArray, Bracket]:
    """Sweep with the policy as long as that narrows the bracket; return T v and the bracket around it."""
    best: tuple[FloatArray, Bracket] | None = None
    for _ in range(200):
        v = v - (0.5 * v.min() + 0.5 * v.max())
        t = _expectation(work, pi, v, g)
        change = t - v
        found = bracket_from(g, float(change.min()), float(change.max()), _error(work, pi, v, g), float(np.abs(t).max()))
        if best is not None and not found.radius < 0.8 * best[1].radius:
            break
        best, v = (t, found), t
    assert best is not None
    return best


def _evaluate_stages(mdp: FiniteHorizonMDP, pi: FloatArray) -> Evaluation:
    H, S, A = pi.shape
    value, q = np.empty((H + 1, S)), np.empty((H, S, A))
    errors = np.zeros(H + 1)
    value[H] = mdp.final_value
    for h in range(H - 1, -1, -1):
        work = work_of(mdp.stage(h))
        q[h] = work.action_values(value[h + 1], 1.0)
        value[h] = (pi[h] * np.where(pi[h] > 0, q[h], 0.0)).sum(axis=1)
        errors[h] = (errors[h + 1] + _error(work, pi[h], value[h + 1], 1.0)) * (1 + 4 * UNIT)
    # one more unit for the rounding of value -+ error itself
    errors += np.where(errors > 0, UNIT * (np.abs(value).max(axis=1) + errors), 0.0) * 1.01
    return Evaluation(value, q, *unbounded(value - errors[:, None], value + errors[:, None]))


def _place(place: tuple[int, ...]) -> str:
    return f"state {place[-1]}" + (f", stage {place[0]}" if len(place) > 1 else "")
