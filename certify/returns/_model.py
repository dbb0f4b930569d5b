"""A model as padded arrays, and the figures of its returns that every engine needs: extremes and risk-neutral optima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._validate import require_integer_at_least

__all__ = ["Arrays", "Problem", "extremes", "read_problem", "risk_neutral"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """One stage: successors, probabilities and rewards of shape (S, A, B), and how many are real, `count` (S, A); 0 where no action is."""

    succ: IntArray
    prob: FloatArray
    rew: FloatArray
    count: IntArray

    @property
    def n_states(self) -> int:
        """Number of states."""
        return int(self.succ.shape[0])

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return int(self.succ.shape[1])

    @property
    def real(self) -> NDArray[np.bool_]:
        """Where an entry is a transition, shape (S, A, B)."""
        return np.arange(self.succ.shape[2])[None, None, :] < self.count[:, :, None]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Where an action exists, shape (S, A)."""
        return self.count > 0


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A model with its discount, horizon (None: infinite) and distribution of the first state; `stages` has one entry or one a step."""

    stages: tuple[Arrays, ...]
    gamma: float
    horizon: int | None
    initial: FloatArray

    def stage(self, t: int) -> Arrays:
        """Return the arrays of decision t."""
        return self.stages[t if len(self.stages) > 1 else 0]

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.stages[0].n_states

    @property
    def largest_reward(self) -> float:
        """Largest absolute reward of a transition that can happen."""
        return max(float(np.abs(m.rew[m.real]).max()) for m in self.stages)


def read_problem(mdp: Any, *, horizon: int | None = None, initial: Any = None) -> Problem:
    """Return the arrays of an `mdps.TabularMDP` or `mdps.FiniteHorizonMDP`.

    Parameters
    ----------
    mdp : mdps.TabularMDP or mdps.FiniteHorizonMDP
        The model; rewards may depend on the successor.
    horizon : int, optional
        Number of decisions; None takes the model's own, or an infinite horizon.
    initial : int or array (S,), optional
        First state or its distribution; the model's own if None, and state 0 if it has none.

    Raises
    ------
    ValueError
        If the discount is 1 or absent without a horizon, or the arguments do not fit the model.
    """
    own = getattr(mdp, "horizon", None)
    if not hasattr(mdp, "n_states") or not hasattr(mdp, "action_mask"):
        raise ValueError(f"mdp must be an mdps.TabularMDP or mdps.FiniteHorizonMDP, got {type(mdp).__name__}")
    if horizon is not None:
        require_integer_at_least("horizon", horizon, 1)
        if own is not None and own != horizon:
            raise ValueError(f"horizon must be that of the model, {own}, got {horizon}")
    horizon = own if own is not None else horizon
    discount = 1.0 if own is not None else getattr(mdp, "discount", None)
    if horizon is None and (discount is None or discount >= 1.0):
        raise ValueError(f"discount must be below 1 for an infinite horizon, got {discount}; give a horizon or a discount")
    gamma = 1.0 if discount is None else float(discount)
    stages = (_arrays(mdp),) if own is None else _stages(mdp)
    return Problem(stages, gamma, horizon, _initial(mdp, initial))


def _initial(mdp: Any, initial: Any) -> FloatArray:
    S = mdp.n_states
    if initial is None:
        given = mdp.initial
        return np.asarray(np.eye(S)[0]) if given is None else np.asarray(given, dtype=np.float64)
    if np.ndim(initial) == 0:
        state = require_integer_at_least("initial", initial, 0)
        if state >= S:
            raise ValueError(f"initial must be a state in 0..{S - 1}, got {initial}")
        return np.asarray(np.eye(S)[state])
    weights = np.asarray(initial, dtype=np.float64)
    if weights.shape != (S,) or not (weights >= 0).all() or abs(weights.sum() - 1.0) > 1e-9:
        raise ValueError(f"initial must be a state or a distribution of shape ({S},), got {initial!r}")
    return np.asarray(weights / weights.sum())


def _stages(mdp: Any) -> tuple[Arrays, ...]:
    final = np.asarray(mdp.final_value, dtype=np.float64)
    if mdp.is_stationary and not final.any():
        return (_arrays(mdp.stage(0)),)
    stages = [_arrays(mdp.stage(t)) for t in range(mdp.horizon)]
    last = stages[-1]
    return (*stages[:-1], Arrays(last.succ, last.prob, last.rew + final[last.succ], last.count))


def _arrays(mdp: Any) -> Arrays:
    """Compress the rows of a kernel to their positive entries, padded to the longest; rows are exactly renormalised."""
    S, A = mdp.n_states, mdp.n_actions
    matrix = mdp.csr() if mdp.is_sparse else None
    rewards, expected = mdp.transition_reward, mdp.expected_reward
    mask = mdp.action_mask
    if matrix is not None:
        row, column, p = np.repeat(np.arange(S * A), np.diff(matrix.indptr)), matrix.indices.astype(np.int64), matrix.data
        r = expected.reshape(-1)[row] if rewards is None else np.asarray(rewards, dtype=np.float64)
    else:
        dense = mdp.dense().reshape(S * A, S)
        row, column = np.nonzero(dense > 0)
        p = dense[row, column]
        r = expected.reshape(-1)[row] if rewards is None else np.asarray(rewards, dtype=np.float64).reshape(S * A, S)[row, column]
    kept = p > 0
    if mask is not None:
        kept &= mask.reshape(-1)[row]
    row, column, p, r = row[kept], column[kept], p[kept], r[kept]
    count = np.bincount(row, minlength=S * A)
    place = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    B = max(1, int(count.max()))
    succ, prob, rew = np.zeros((S * A, B), np.int64), np.zeros((S * A, B)), np.zeros((S * A, B))
    succ[row, place], prob[row, place], rew[row, place] = column, p, r
    prob /= np.maximum(prob.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return Arrays(succ.reshape(S, A, B), prob.reshape(S, A, B), rew.reshape(S, A, B), count.reshape(S, A).astype(np.int64))


def extremes(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the smallest and largest return that any path can have from each state: (1, S) if the horizon is infinite, else (h+1, S)."""
    return _best(problem, -1.0, paths=True), _best(problem, 1.0, paths=True)


def risk_neutral(problem: Problem, sign: float) -> FloatArray:
    """Return the largest (`sign` > 0) or smallest mean return from each state: (1, S) if the horizon is infinite, else (h+1, S)."""
    return _best(problem, sign, paths=False)


def _best(problem: Problem, sign: float, *, paths: bool) -> FloatArray:
    """Maximise `sign` times the return over actions, or with `paths` over actions and successors."""
    choices = [_as_choices(m) if paths else m for m in problem.stages]

    def values(t: int, following: FloatArray) -> FloatArray:
        m = choices[t if len(choices) > 1 else 0]
        q = (m.prob * (m.rew + problem.gamma * following[m.succ])).sum(axis=2)
        return np.where(m.allowed, sign * q, -np.inf)

    if problem.horizon is not None:
        made = [np.zeros(problem.n_states)]
        for t in range(problem.horizon - 1, -1, -1):
            made.append(sign * values(t, made[-1]).max(axis=1))
        return np.stack(made[::-1])
    chosen = values(0, np.zeros(problem.n_states)).argmax(axis=1)
    scale = max(1.0, problem.largest_reward / (1.0 - problem.gamma))
    value = _evaluate(choices[0], chosen, problem.gamma)
    for _ in range(1000):
        q = values(0, value)
        kept = q[np.arange(q.shape[0]), chosen]
        better = q.max(axis=1) > kept + 1e-13 * scale
        if not better.any():
            break
        chosen = np.where(better, q.argmax(axis=1), chosen)
        value = _evaluate(choices[0], chosen, problem.gamma)
    return value[None, :]


def _as_choices(m: Arrays) -> Arrays:
    """Return the model in which every transition that can happen is an action of its own."""
    S = m.n_states
    shape = (S, -1, 1)
    return Arrays(m.succ.reshape(shape), np.ones_like(m.prob).reshape(shape), m.rew.reshape(shape), m.real.reshape(S, -1).astype(np.int64))


def _evaluate(m: Arrays, chosen: IntArray, gamma: float) -> FloatArray:
    """Solve for the mean return of a stationary policy."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    S = m.n_states
    here = np.arange(S)
    p, succ = m.prob[here, chosen], m.succ[here, chosen]
    reward = (p * m.rew[here, chosen]).sum(axis=1)
    row = np.repeat(here, p.shape[1])
    kernel = sparse.coo_matrix((p.ravel(), (row, succ.ravel())), shape=(S, S))
    if S <= 400:
        return np.asarray(np.linalg.solve(np.eye(S) - gamma * kernel.toarray(), reward))
    return np.asarray(spsolve(sparse.identity(S, format="csc") - gamma * kernel.tocsc(), reward))
