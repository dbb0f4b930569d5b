"""The Bellman operator T of a tabular model in floating point, with the rounding that each application can suffer.

Write g for the discount, u for the unit of rounding, t for the computed T v.  With n the longest row, eps a bound on the relative error of
the stored entries against the exact rational row, and rho a bound on the error of the expected reward before its last rounding,
    |t - T v|  <=  e  =  ((n + 2) u + eps) g |v| + 2 u |r| + rho.

If t - v >= a (componentwise), then L = t + c, rounded with error at most b, satisfies L <= T L in exact arithmetic as soon as
    (1 - g) c  <=  g a - e - (1 + g) b,
and L <= T L implies L <= V*; the upper bound is the mirror image.  Without rounding these are MacQueen's bounds (1966) after one sweep:
T v + g/(1-g) min(T v - v) <= V* <= T v + g/(1-g) max(T v - v).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._build import SMALLEST, UNIT
from mdps.models import TabularMDP, working_deviation

__all__ = ["Bracket", "Work", "action_values", "bracket", "bracket_from", "shift", "work_of"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COMPILED_ABOVE = 20_000
"""Stored entries above which a sparse sweep is worth a compiled kernel."""


@dataclass(frozen=True, eq=False)
class Work:
    """A model as the solvers read it: rows scaled to sum to one, forbidden actions with reward -inf.

    Exactly one of `matrix` (S*A, S) and `data`, `indices`, `indptr` is given.
    """

    n_states: int
    n_actions: int
    matrix: FloatArray | None
    data: FloatArray
    indices: npt.NDArray[Any]
    indptr: npt.NDArray[Any]
    reward: FloatArray
    """Shape (S, A)."""
    reward_size: float
    reward_error: float
    longest: int
    entry_error: float

    @property
    def entries(self) -> int:
        """Number of stored probabilities."""
        return self.data.size if self.matrix is None else self.matrix.size

    @property
    def is_large(self) -> bool:
        """Whether sweeps go through a compiled kernel."""
        return self.matrix is None and self.data.size > COMPILED_ABOVE

    def error(self, v_size: float, t_size: float, discount: float) -> float:
        """Bound on |t - T v|, where t is the computed T v, and |v| <= v_size, |t| <= t_size.

        It also bounds the error of every row that can attain the maximum: a row with reward above 2 (|v| + |t|) cannot exist, and one with
        reward below its negative cannot be the best.
        """
        reward = min(self.reward_size, 2.0 * (v_size + t_size) + 4.0 * self.reward_error)
        if v_size == 0 and reward == 0:
            return self.reward_error
        factor = (self.longest + 2) * UNIT + self.entry_error
        return (factor * discount * v_size + 2 * UNIT * reward + self.reward_error) * (1 + 1e-6) + 4 * self.longest * SMALLEST

    def action_values(self, v: FloatArray, discount: float) -> FloatArray:
        """Return r + g P v, shape (S, A)."""
        if self.matrix is not None:
            successor = self.matrix @ v
        elif self.is_large:
            from mdps._kernels import multiply

            successor = np.empty(self.reward.size)
            multiply(self.indptr, self.indices, self.data, v, successor)
        else:
            successor = self.csr() @ v
        if discount != 1.0:
            successor *= discount
        q = successor.reshape(self.n_states, self.n_actions)
        q += self.reward
        return q

    def sweep(self, v: FloatArray, discount: float) -> tuple[FloatArray, IntArray]:
        """Return T v and a greedy action of each state."""
        if self.is_large:
            from mdps._kernels import sweep

            t, policy = np.empty(self.n_states), np.empty(self.n_states, dtype=np.int64)
            sweep(self.indptr, self.indices, self.data, self.reward, discount, v, t, policy)
            return t, policy
        q = self.action_values(v, discount)
        policy = q.argmax(axis=1)
        return q[np.arange(self.n_states), policy], policy

    def stage(self, v: FloatArray, t: FloatArray, policy: IntArray) -> float:
        """Store the undiscounted T v in `t` and a greedy action of each state in `policy`; return the largest |T v|."""
        if self.is_large:
            from mdps._kernels import stage

            return stage(self.indptr, self.indices, self.data, self.reward, v, t, policy)
        q = self.action_values(v, 1.0)
        q.argmax(axis=1, out=policy)
        q.max(axis=1, out=t)
        return max(float(t.max()), -float(t.min()))

    def rows(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], FloatArray]:
        """Return (indptr, indices, data) of the compressed rows."""
        if self.matrix is None:
            return self.indptr, self.indices, self.data
        matrix = self.csr()
        return matrix.indptr, matrix.indices, matrix.data

    def csr(self) -> Any:
        """Return the rows as a SciPy CSR matrix (S*A, S) that shares them."""
        from scipy import sparse

        if self.matrix is not None:
            return sparse.csr_matrix(self.matrix)
        cached = self.__dict__.get("_scipy")
        if cached is None:
            cached = sparse.csr_matrix((self.n_states * self.n_actions, self.n_states))
            cached.data, cached.indices, cached.indptr = self.data, self.indices, self.indptr
            self.__dict__["_scipy"] = cached
        return cached


@dataclass(frozen=True, slots=True)
class Bracket:
    """`t + below <= V* <= t + above`, both sides sub- and supersolution in exact arithmetic; infinite if rounding forbids any."""

    below: float
    above: float

    @property
    def radius(self) -> float:
        """Half of the width."""
        return 0.5 * (self.above - self.below)


def work_of(mdp: TabularMDP) -> Work:
    """Return the model in working form, computed once per model."""
    cached: Work | None = mdp.__dict__.get("_work")
    if cached is None:
        cached = _build_work(mdp)
        mdp.__dict__["_work"] = cached
    return cached


def action_values(mdp: TabularMDP, v: FloatArray, discount: float) -> FloatArray:
    """Return r + g P v, shape (S, A), with -inf where an action is not available."""
    return work_of(mdp).action_values(v, discount)


def bracket(work: Work, discount: float, low: float, high: float, v_size: float, t_size: float) -> Bracket:
    """Return rigorous shifts of t = computed T v.

    Parameters
    ----------
    work : Work
        The model.
    discount : float
        g in (0, 1).
    low, high : float
        Smallest and largest entry of the computed t - v.
    v_size, t_size : float
        Largest absolute entry of v and of t.

    Returns
    -------
    Bracket
        Shifts whose rounded sums with t are a sub- and a supersolution.
    """
    return bracket_from(discount, low, high, work.error(v_size, t_size, discount), t_size)


def bracket_from(discount: float, low: float, high: float, error: float, t_size: float) -> Bracket:
    """Like `bracket`, given a bound `error` on |t - T v|."""
    below = shift(discount, low - UNIT * abs(low), error, t_size)
    above = -shift(discount, -(high + UNIT * abs(high)), error, t_size)
    return Bracket(below, above)


def shift(g: float, a: float, e: float, size: float) -> float:
    """Return the largest safe c with (1-g) c <= g a - e - (1+g) u (size + |c|), computed with rounding accounted for."""
    room = (1.0 - g) * (1 - 4 * UNIT)
    bulk = size + abs(g * a - e) / room
    for _ in range(60):
        b = UNIT * bulk * (1 + 1e-9)
        numerator = g * a - e - (1.0 + g) * b
        numerator -= 4 * UNIT * (abs(g * a) + e + 2 * b)
        c = numerator / (1.0 - g)
        c -= 4 * UNIT * abs(c)
        if size + abs(c) <= bulk:
            return c
        bulk = (size + abs(c)) * (1 + 1e-3)
    return -math.inf


def _build_work(mdp: TabularMDP) -> Work:
    divide, entry_error = working_deviation(mdp._kernel)
    S, A = mdp.n_states, mdp.n_actions
    reward = mdp.expected_reward
    if mdp.action_mask is not None:
        reward = np.where(mdp.action_mask, reward, -np.inf)
    empty, no_index = np.empty(0), np.empty(0, dtype=np.int32)
    size = float(np.abs(mdp.expected_reward).max())
    dense, csr = mdp._kernel.dense, mdp._kernel.csr
    if dense is not None:
        matrix = dense.reshape(S * A, S)
        if divide:
            sums = matrix.sum(axis=1, keepdims=True)
            matrix = matrix / np.where(sums > 0, sums, 1.0)
        return Work(S, A, matrix, empty, no_index, no_index, reward, size, mdp._reward.error, S, entry_error)
    assert csr is not None
    data = csr.data
    if divide:
        sums = np.asarray(mdp.csr().sum(axis=1)).ravel()
        data = data / np.repeat(sums, np.diff(csr.indptr))
    longest = int(np.diff(csr.indptr).max(initial=0))
    return Work(S, A, None, data, csr.indices, csr.indptr, reward, size, mdp._reward.error, longest, entry_error)
