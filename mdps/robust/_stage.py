"""One stage of a robust model as the solvers read it: dense rows, sizes of the sets, and the sweeps that fit the set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mdps._errors import ModelError, WrongShape
from mdps._validate import require_choice
from mdps.models import TabularMDP
from mdps.robust.worst import ROW_DIVERGENCES, WorstCase, half_mass, require_size, row_kind, worst_case

__all__ = ["Game", "build_game"]

Array = NDArray[np.float64]
UNIT = 2.0**-53
TINY = float(np.finfo(np.float64).tiny)
NOWHERE = np.empty((0, 0, 0))
ON_SUPPORT = ("kl", "chi2", "cvar")
"""Divergences under which nature may not use successors of nominal probability 0."""
EVALUATIONS = 8
"""Sweeps of the greedy policy alone between two sweeps over all actions."""


class Game(Protocol):
    """The robust Bellman operator of one stage."""

    @property
    def n_states(self) -> int:
        """Number of states."""

    @property
    def ends(self) -> NDArray[np.bool_]:
        """States that end the process."""

    def sweep(self, v: Array, discount: float, accuracy: float) -> tuple[Array, float]:
        """Return t and gap with t <= T v <= t + gap up to `slack`, and remember the policy."""

    def evaluate(self, v: Array, discount: float, accuracy: float, sweeps: int) -> Array:
        """Return a better guess of the values of the remembered policy."""

    def answer(self, v: Array, discount: float) -> tuple[Array, float, Array]:
        """Sweep at full accuracy and return t, gap and nature's kernel."""

    def policy(self) -> NDArray[Any]:
        """Return a copy of the policy of the last sweep."""

    def slack(self, v: Array, discount: float) -> float:
        """Return a bound on the rounding of a sweep at v."""


@dataclass
class _Rows:
    """What every kind of game shares."""

    kernel: Array
    reward: Array
    by_successor: Array
    mask: NDArray[np.bool_]
    ends: Any
    sizes: Array

    @property
    def n_states(self) -> int:
        return int(self.kernel.shape[0])

    def orders(self, v: Array, discount: float) -> NDArray[np.int64]:
        """Return what sorts the values of every row, or one order for all."""
        if not self.by_successor.size:
            return np.argsort(v, kind="stable")[None, None]
        return np.argsort(self.by_successor + discount * v, axis=2, kind="stable")

    def slack(self, v: Array, discount: float) -> float:
        reward = float(np.abs(self.by_successor).max()) if self.by_successor.size else float(np.abs(self.reward).max())
        return 16 * (self.n_states + 16) * UNIT * (reward + discount * float(np.abs(v).max())) + TINY


@dataclass
class _CompiledRows(_Rows):
    """(s,a)-rectangular sets with a compiled minimum."""

    kind: int = 0

    def __post_init__(self) -> None:
        self.warm = np.zeros(self.mask.shape)
        self.chosen = np.zeros(self.n_states, dtype=np.int64)

    def _run(self, v: Array, discount: float, accuracy: float, fixed: bool, worst: Array) -> tuple[Array, float]:
        from mdps.robust._kernels_sweep import sweep_sa

        out = np.empty(self.n_states)
        gap = sweep_sa(
            self.kind,
            self.kernel,
            self.reward,
            self.by_successor,
            discount,
            v,
            self.orders(v, discount),
            self.sizes,
            self.mask,
            self.ends,
            fixed,
            accuracy,
            self.warm,
            self.chosen,
            out,
            worst,
        )
        return out, float(gap)

    def sweep(self, v: Array, discount: float, accuracy: float) -> tuple[Array, float]:
        return self._run(v, discount, accuracy, False, NOWHERE)

    def evaluate(self, v: Array, discount: float, accuracy: float, sweeps: int) -> Array:
        if sweeps < 2 or self.mask.shape[1] == 1:
            return v
        for _ in range(EVALUATIONS):
            v, _ = self._run(v, discount, accuracy, True, NOWHERE)
        return v

    def answer(self, v: Array, discount: float) -> tuple[Array, float, Array]:
        worst = self.kernel.copy()
        out, gap = self._run(v, discount, 0.0, False, worst)
        return out, gap, worst

    def policy(self) -> NDArray[Any]:
        return self.chosen.copy()


@dataclass
class _PlainRows(_Rows):
    """(s,a)-rectangular sets whose minimum is computed row by row in NumPy."""

    divergence: str = ""
    weights: Any = None
    cost: Any = None

    def __post_init__(self) -> None:
        self.chosen = np.zeros(self.n_states, dtype=np.int64)

    def _row(self, s: int, a: int, v: Array, discount: float) -> WorstCase:
        own = self.by_successor.size > 0
        z = discount * v + (self.by_successor[s, a] if own else 0.0)
        found = worst_case(
            z, self.kernel[s, a], divergence=self.divergence, radius=float(self.sizes[s, a]), weights=self.weights, cost=self.cost
        )
        return found if own else WorstCase(found.value + float(self.reward[s, a]), found.distribution)

    def slack(self, v: Array, discount: float) -> float:
        # the Burg multiplier is found to a few units of rounding only
        return _Rows.slack(self, v, discount) + 1e-13 * float(discount * np.ptp(v))

    def answer(self, v: Array, discount: float) -> tuple[Array, float, Array]:
        worst, out = self.kernel.copy(), np.zeros(self.n_states)
        for s in np.flatnonzero(~self.ends):
            out[s] = -math.inf
            for a in np.flatnonzero(self.mask[s]):
                found = self._row(int(s), int(a), v, discount)
                worst[s, a] = found.distribution
                if found.value > out[s]:
                    out[s], self.chosen[s] = found.value, a
        return out, 0.0, worst

    def sweep(self, v: Array, discount: float, accuracy: float) -> tuple[Array, float]:
        out, gap, _ = self.answer(v, discount)
        return out, gap

    def evaluate(self, v: Array, discount: float, accuracy: float, sweeps: int) -> Array:
        if self.mask.shape[1] == 1:
            return v
        for _ in range(EVALUATIONS):
            v = np.array([0.0 if self.ends[s] else self._row(s, int(self.chosen[s]), v, discount).value for s in range(self.n_states)])
        return v

    def policy(self) -> NDArray[Any]:
        return self.chosen.copy()


@dataclass
class _Shared(_Rows):
    """s-rectangular sets: one budget in every state."""

    kind: int = 0

    def __post_init__(self) -> None:
        self.warm = np.zeros(self.mask.shape)
        self.mixed = np.zeros(self.mask.shape)
        self.mixed[np.arange(self.n_states), self.mask.argmax(axis=1)] = 1.0

    def _run(self, v: Array, discount: float, accuracy: float, worst: Array) -> tuple[Array, float]:
        from mdps.robust._kernels_sweep import sweep_s

        out = np.empty(self.n_states)
        gap = sweep_s(
            self.kind,
            self.kernel,
            self.reward,
            self.by_successor,
            discount,
            v,
            self.orders(v, discount),
            self.sizes,
            self.mask,
            self.ends,
            accuracy,
            self.warm,
            self.mixed,
            out,
            worst,
        )
        return out, float(gap)

    def sweep(self, v: Array, discount: float, accuracy: float) -> tuple[Array, float]:
        return self._run(v, discount, accuracy, NOWHERE)

    def evaluate(self, v: Array, discount: float, accuracy: float, sweeps: int) -> Array:
        return v

    def answer(self, v: Array, discount: float) -> tuple[Array, float, Array]:
        worst = self.kernel.copy()
        out, gap = self._run(v, discount, 0.0, worst)
        return out, gap, worst

    def policy(self) -> NDArray[Any]:
        return self.mixed.copy()


def build_game(
    mdp: TabularMDP, *, divergence: str, radius: Any, penalty: Any, rectangular: str, weights: Any, cost: Any, exponent: int = 0
) -> Game:
    """Return the robust operator of a model whose rewards and prices are multiplied by 2**exponent; refuse sizes that do not fit."""
    S, A = mdp.n_states, mdp.n_actions
    if radius is not None and penalty is not None:
        raise ModelError(f"exactly one of radius and penalty must be given, got radius {radius!r} and penalty {penalty!r}")
    name, given = ("radius", radius) if penalty is None else ("penalty", penalty)
    shape = (S, A) if rectangular == "sa" else (S,)
    sizes = _sizes(name, given, shape)
    for one in (sizes.min(), sizes.max()):
        charged = require_size(divergence, None if radius is None else float(one), None if penalty is None else float(one))
    kernel = np.ascontiguousarray(mdp.dense(), dtype=np.float64)
    mask = np.ones((S, A), dtype=bool) if mdp.action_mask is None else np.array(mdp.action_mask)
    ends = np.zeros(S, dtype=bool) if mdp.terminal is None else np.array(mdp.terminal)
    kernel = kernel / np.where(mask, kernel.sum(axis=2), 1.0)[:, :, None]
    own = _by_successor(mdp, divergence)
    if not own.size or not np.ptp(own, axis=2).any():
        own = NOWHERE
    if exponent:
        own = np.ldexp(own, exponent)
        if charged:
            with np.errstate(over="ignore"):
                sizes = np.ldexp(sizes, exponent)
    common = (kernel, np.ldexp(np.where(mask, mdp.expected_reward, 0.0), exponent), own, mask, ends, half_mass(divergence, sizes, charged))
    if rectangular == "s":
        if charged:
            raise ModelError("penalty is for rectangular='sa'; s-rectangular sets take a radius")
        require_choice("divergence of an s-rectangular set", divergence, ROW_DIVERGENCES)
        _refuse_extra(weights, cost)
        return _Shared(*common, kind=row_kind(divergence, False))
    if charged or divergence in ROW_DIVERGENCES:
        _refuse_extra(weights, cost)
        return _CompiledRows(*common, kind=row_kind(divergence, charged))
    return _PlainRows(*common[:5], sizes, divergence=divergence, weights=weights, cost=cost)


def _refuse_extra(weights: Any, cost: Any) -> None:
    for name, value, owner in (("weights", weights, "weighted-l1"), ("cost", cost, "wasserstein")):
        if value is not None:
            raise ModelError(f"{name} must be given for divergence {owner!r} and for no other")


def _sizes(name: str, given: Any, shape: tuple[int, ...]) -> Array:
    if given is None:
        raise ModelError("exactly one of radius and penalty must be given, got none")
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "fiu":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be a number or an array of numbers, got {given!r}") from None
    if array.shape not in ((), shape):
        raise WrongShape(name, array.shape, f"() or {shape}")
    if np.isnan(array).any():
        raise ModelError(f"{name} must hold numbers, got nan")
    return np.array(np.broadcast_to(array, shape))


def _by_successor(mdp: TabularMDP, divergence: str) -> Array:
    """Return the reward of each transition as a dense array, or an empty one where it does not depend on the successor."""
    given = mdp.transition_reward
    if given is None:
        return NOWHERE
    S, A = mdp.n_states, mdp.n_actions
    if given.ndim == 3:
        return np.array(given, dtype=np.float64)
    from scipy import sparse

    matrix = mdp.csr()
    dense = np.repeat(mdp.expected_reward.reshape(-1, 1), S, axis=1)
    rows = np.repeat(np.arange(S * A), np.diff(matrix.indptr))
    if divergence not in ON_SUPPORT and not np.array_equal(given, dense[rows, 0]):
        allowed = ", ".join(map(repr, ON_SUPPORT))
        raise ModelError(
            f"reward of a sparse model must be (S, A) for divergence {divergence!r}: nature may move to successors of nominal probability 0, "
            f"whose reward a sparse model does not hold; give a dense model, or one of the divergences {allowed}"
        )
    index = sparse.csr_matrix((np.arange(1, given.size + 1), matrix.indices, matrix.indptr), shape=matrix.shape).tocoo()
    dense[index.row, index.col] = given[index.data - 1]
    return dense.reshape(S, A, S)
