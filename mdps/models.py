"""Models: tabular with discount or average reward, tabular with finite horizon, and linear.

A kernel row whose float entries sum to 1 within 1e-9 stands for the exactly renormalised rational row p / sum(p); rows further off are
refused.  So every model has one exact meaning, and the bounds of every solver hold for that meaning.
Arrays in the stored form are shared with the caller and made read-only here: do not write to them while a model uses them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._build import UNIT, Csr, Kernel, Reward, build_kernel, build_reward, expand_csr
from mdps._errors import ModelError, NegativeProbability, NoAction, WrongShape
from mdps._validate import require_array, require_discount, require_distribution, require_integer, require_shape

__all__ = ["FiniteHorizonMDP", "LinearMDP", "TabularMDP"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, init=False, eq=False)
class TabularMDP:
    """A Markov decision process with finitely many states and actions.

    Parameters
    ----------
    transition : array (S, A, S), sequence of A sparse (S, S), or sparse (S*A, S)
        Probability of each successor; the stacked sparse form has row s*A + a.
    reward : array (S, A) or (S, A, S), or sparse in the forms of `transition`
        Reward of an action, or of a transition (its expectation is taken).
    discount : float in (0, 1], optional
        None for a model without discount (average reward).
    initial : array (S,), optional
        Distribution of the first state.
    action_mask : bool array (S, A), optional
        Where False, the action is not available and its row is not looked at.
    terminal : bool array (S,) or list of states, optional
        States that end the process: value 0, made absorbing, their rows are not looked at.

    Raises
    ------
    ModelError
        One subclass for each defect, naming the first bad state and action.

    Examples
    --------
    >>> import mdps, numpy as np
    >>> model = mdps.TabularMDP(np.array([[[0.5, 0.5]], [[0.0, 1.0]]]), np.array([[1.0], [0.0]]), discount=0.5)
    >>> model.n_states, model.n_actions, model.is_sparse
    (2, 1, False)
    """

    n_states: int
    n_actions: int
    discount: float | None
    initial: FloatArray | None
    action_mask: BoolArray | None
    terminal: BoolArray | None
    _kernel: Kernel = field(repr=False)
    _reward: Reward = field(repr=False)

    def __init__(
        self,
        transition: Any,
        reward: Any,
        *,
        discount: float | None = None,
        initial: Any = None,
        action_mask: Any = None,
        terminal: Any = None,
    ) -> None:
        mask = None if action_mask is None else _boolean("action_mask", action_mask)
        size = _state_count(transition)
        ends = None if terminal is None else _states("terminal", terminal, size)
        kernel = build_kernel(transition, mask, ends)
        if mask is not None and not mask.any(axis=1).all():
            raise NoAction(int(np.flatnonzero(~mask.any(axis=1))[0]))
        set_field = object.__setattr__
        set_field(self, "n_states", kernel.n_states)
        set_field(self, "n_actions", kernel.n_actions)
        set_field(self, "discount", None if discount is None else require_discount(discount))
        set_field(self, "initial", None if initial is None else require_distribution("initial", initial, kernel.n_states))
        set_field(self, "action_mask", mask)
        set_field(self, "terminal", ends)
        set_field(self, "_kernel", kernel)
        set_field(self, "_reward", build_reward(reward, kernel, mask, ends))

    @property
    def is_sparse(self) -> bool:
        """Whether the kernel is stored as a compressed (S*A, S) matrix."""
        return self._kernel.csr is not None

    @property
    def transition(self) -> Any:
        """The kernel as stored: a dense (S, A, S) array or a SciPy CSR matrix (S*A, S)."""
        return self._kernel.dense if self._kernel.dense is not None else self.csr()

    @property
    def expected_reward(self) -> FloatArray:
        """Expected reward of each state and action, shape (S, A); 0 where the mask forbids the action."""
        return self._reward.expected

    @property
    def transition_reward(self) -> FloatArray | None:
        """Reward of each transition if it was given so: (S, A, S), or aligned with `csr().data` for a sparse model."""
        return self._reward.transition

    def csr(self) -> Any:
        """Return the kernel as a SciPy CSR matrix of shape (S*A, S), without copying a sparse one."""
        from scipy import sparse

        c = self._csr
        matrix = sparse.csr_matrix((self.n_states * self.n_actions, self.n_states))
        matrix.data, matrix.indices, matrix.indptr = c.data, c.indices, c.indptr
        return matrix

    def dense(self) -> FloatArray:
        """Return the kernel as an array of shape (S, A, S), without copying a dense one."""
        if self._kernel.dense is not None:
            return self._kernel.dense
        assert self._kernel.csr is not None
        return expand_csr(self._kernel.csr, self.n_states, self.n_actions)

    def kernel(self, state: int, action: int) -> FloatArray:
        """Return the distribution of the successor of `state` under `action`, shape (S,)."""
        for name, index, bound in (("state", state, self.n_states), ("action", action, self.n_actions)):
            if not 0 <= require_integer(name, index, minimum=0) < bound:
                raise ModelError(f"{name} must be in 0..{bound - 1}, got {index!r}")
        if self._kernel.dense is not None:
            row = self._kernel.dense[state, action]
        else:
            c, at = self._csr, state * self.n_actions + action
            row = np.zeros(self.n_states)
            entries = slice(int(c.indptr[at]), int(c.indptr[at + 1]))
            row[c.indices[entries]] = c.data[entries]
        total = float(row.sum())
        result: FloatArray = row / total if total > 0 else row.copy()
        return result

    def with_discount(self, discount: float | None) -> TabularMDP:
        """Return the same model with another discount; arrays and everything derived from them are shared."""
        other = copy.copy(self)
        object.__setattr__(other, "discount", None if discount is None else require_discount(discount))
        return other

    @cached_property
    def _csr(self) -> Csr:
        if self._kernel.csr is not None:
            return self._kernel.csr
        from scipy import sparse

        assert self._kernel.dense is not None
        matrix = sparse.csr_matrix(self._kernel.dense.reshape(-1, self.n_states))
        return Csr(matrix.data, matrix.indices, matrix.indptr)


@dataclass(frozen=True, init=False, eq=False)
class FiniteHorizonMDP:
    """A Markov decision process that ends after `horizon` steps.

    Parameters
    ----------
    transition : array (S, A, S) or (H, S, A, S), sequence of A sparse (S, S), or sparse (S*A, S)
        One kernel for all stages, or one for each.
    reward : array (S, A), (S, A, S), (H, S, A) or (H, S, A, S), or sparse
        A three-dimensional reward that fits both readings is read as (S, A, S) for a stationary kernel and as (H, S, A) otherwise.
    horizon : int
        Number of decisions H.
    initial : array (S,), optional
        Distribution of the first state.
    action_mask : bool array (S, A), optional
        Where False, the action is not available.
    final_value : array (S,), optional
        Value received in the state reached after the last decision; zero by default.

    Raises
    ------
    ModelError
        One subclass for each defect, naming the first bad state and action.
    """

    n_states: int
    n_actions: int
    horizon: int
    initial: FloatArray | None
    action_mask: BoolArray | None
    final_value: FloatArray
    _kernels: tuple[Kernel, ...] = field(repr=False)
    _rewards: tuple[Reward, ...] = field(repr=False)

    def __init__(
        self, transition: Any, reward: Any, *, horizon: int, initial: Any = None, action_mask: Any = None, final_value: Any = None
    ) -> None:
        H = require_integer("horizon", horizon)
        mask = None if action_mask is None else _boolean("action_mask", action_mask)
        stages = _stages(transition)
        if stages is not None and len(stages) != H:
            raise WrongShape("transition", np.shape(transition), f"(S, A, S) or (H, S, A, S) with H = {H}")
        kernels = (build_kernel(transition, mask),) if stages is None else tuple(_at_stage(h, stages[h], mask) for h in range(H))
        S, A = kernels[0].n_states, kernels[0].n_actions
        if mask is not None and not mask.any(axis=1).all():
            raise NoAction(int(np.flatnonzero(~mask.any(axis=1))[0]))
        staged = _staged_rewards(reward, stages is None, H, S, A)
        rewards = (
            (build_reward(reward, kernels[0], mask),)
            if staged is None
            else tuple(_reward_at_stage(h, staged[h], kernels[h % len(kernels)], mask) for h in range(H))
        )
        final = np.zeros(S) if final_value is None else require_array("final_value", final_value)
        require_shape("final_value", final, (S,))
        set_field = object.__setattr__
        set_field(self, "n_states", S)
        set_field(self, "n_actions", A)
        set_field(self, "horizon", H)
        set_field(self, "initial", None if initial is None else require_distribution("initial", initial, S))
        set_field(self, "action_mask", mask)
        set_field(self, "final_value", final)
        set_field(self, "_kernels", kernels)
        set_field(self, "_rewards", rewards)

    @property
    def is_sparse(self) -> bool:
        """Whether the kernels are stored compressed."""
        return self._kernels[0].csr is not None

    @property
    def is_stationary(self) -> bool:
        """Whether one kernel and one reward serve every stage."""
        return len(self._kernels) == 1 and len(self._rewards) == 1

    @property
    def transition(self) -> Any:
        """The kernel: (S, A, S) or CSR (S*A, S) if it serves every stage, else (H, S, A, S)."""
        if len(self._kernels) == 1:
            return self.stage(0).transition
        return np.stack([k.dense for k in self._kernels if k.dense is not None])

    @property
    def expected_reward(self) -> FloatArray:
        """Expected reward: (S, A) if it serves every stage, else (H, S, A)."""
        return self._rewards[0].expected if len(self._rewards) == 1 else np.stack([r.expected for r in self._rewards])

    def stage(self, h: int) -> TabularMDP:
        """Return kernel and reward of decision `h` (0-based) as a model without discount; arrays are shared."""
        if not 0 <= require_integer("h", h, minimum=0) < self.horizon:
            raise ModelError(f"h must be in 0..{self.horizon - 1}, got {h!r}")
        model = object.__new__(TabularMDP)
        kernel = self._kernels[h % len(self._kernels)]
        values = (self.n_states, self.n_actions, None, self.initial, self.action_mask, None, kernel, self._rewards[h % len(self._rewards)])
        names = ("n_states", "n_actions", "discount", "initial", "action_mask", "terminal", "_kernel", "_reward")
        for name, value in zip(names, values, strict=True):
            object.__setattr__(model, name, value)
        return model


@dataclass(frozen=True, init=False, eq=False)
class LinearMDP:
    """A finite-horizon model with P_h(s' | s, a) = <phi_h(s, a), mu_h(s')> and r_h(s, a) = <phi_h(s, a), theta_h>.

    Parameters
    ----------
    features : array (S, A, d) or (H, S, A, d)
        phi.
    factors : array (H, d, S)
        mu, for each stage and coordinate a signed measure over successors.
    reward_weights : array (H, d)
        theta.
    horizon : int
        Number of decisions H.
    initial : array (S,), optional
        Distribution of the first state.

    Raises
    ------
    ModelError
        If shapes do not fit, or the products are no distributions (within 1e-9 of sum 1; entries above -1e-12 count as 0).
    """

    features: FloatArray
    factors: FloatArray
    reward_weights: FloatArray
    horizon: int
    initial: FloatArray | None

    def __init__(self, features: Any, factors: Any, reward_weights: Any, *, horizon: int, initial: Any = None) -> None:
        H = require_integer("horizon", horizon)
        phi, mu, theta = (
            require_array(n, v) for n, v in (("features", features), ("factors", factors), ("reward_weights", reward_weights))
        )
        if phi.ndim not in (3, 4) or 0 in phi.shape or (phi.ndim == 4 and phi.shape[0] != H):
            raise WrongShape("features", phi.shape, f"(S, A, d) or (H, S, A, d) with H = {H}")
        S, d = phi.shape[-3], phi.shape[-1]
        require_shape("factors", mu, (H, d, S))
        require_shape("reward_weights", theta, (H, d))
        set_field = object.__setattr__
        set_field(self, "features", phi)
        set_field(self, "factors", mu)
        set_field(self, "reward_weights", theta)
        set_field(self, "horizon", H)
        set_field(self, "initial", None if initial is None else require_distribution("initial", initial, S))
        self.tabular()

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return int(self.features.shape[-3])

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return int(self.features.shape[-2])

    @property
    def dimension(self) -> int:
        """Number of features d."""
        return int(self.features.shape[-1])

    def tabular(self) -> FiniteHorizonMDP:
        """Return the tabular model with kernels (H, S, A, S) and rewards (H, S, A), evaluated in floating point."""
        return self._tabular

    @cached_property
    def _tabular(self) -> FiniteHorizonMDP:
        H, S, A = self.horizon, self.n_states, self.n_actions
        phi = np.broadcast_to(self.features, (H, S, A, self.dimension))
        kernel = np.einsum("hsad,hdj->hsaj", phi, self.factors)
        # rounding of <phi, mu> may leave a probability of zero slightly negative
        slightly = (kernel < 0) & (kernel >= -1e-12)
        kernel[slightly] = 0.0
        if kernel.min() < 0:
            h, s, a, j = (int(i) for i in np.unravel_index(kernel.argmin(), kernel.shape))
            raise NegativeProbability(s, a, j, float(kernel[h, s, a, j]), stage=h)
        reward = np.einsum("hsad,hd->hsa", phi, self.reward_weights)
        return FiniteHorizonMDP(kernel, reward, horizon=H, initial=self.initial)


def working_deviation(kernel: Kernel) -> tuple[bool, float]:
    """Return whether rows must be divided by their sums, and a bound on the relative error of each entry after that.

    The exact kernel is p / sum(p).  Where all computed sums are within 64 units of rounding of 1, p itself serves.
    """
    longest = kernel.n_states if kernel.dense is not None else _longest_row(kernel)
    if kernel.deviation <= 64 * UNIT:
        return False, (kernel.deviation + longest * UNIT) * (1 + 1e-6)
    return True, (longest + 2) * UNIT * (1 + 1e-6)


def _longest_row(kernel: Kernel) -> int:
    assert kernel.csr is not None
    return int(np.diff(kernel.csr.indptr).max(initial=0))


def _state_count(transition: Any) -> int:
    if hasattr(transition, "shape") and len(transition.shape) >= 2:
        return int(transition.shape[-1])
    try:
        return int(np.shape(transition[0])[-1])
    except (TypeError, IndexError, ValueError, KeyError):
        raise ModelError(f"transition must be an array or a sequence of matrices, got {type(transition).__name__}") from None


def _boolean(name: str, value: Any) -> BoolArray:
    array = np.asarray(value)
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise ModelError(f"{name} must be an array of booleans, got dtype {array.dtype}")
        array = array.astype(bool)
    view = array.view()
    view.setflags(write=False)
    return view


def _states(name: str, value: Any, size: int) -> BoolArray:
    array = np.asarray(value)
    if array.dtype == np.bool_:
        return _boolean(name, array)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= size):
        raise ModelError(f"{name} must be a boolean array ({size},) or a list of states in 0..{size - 1}, got {value!r}")
    flags = np.zeros(size, dtype=bool)
    flags[array.astype(np.int64).ravel()] = True
    return _boolean(name, flags)


def _stages(transition: Any) -> FloatArray | None:
    """Return the array (H, S, A, S) of a kernel given for each stage, None for a stationary one."""
    if hasattr(transition, "tocsr") or (isinstance(transition, list | tuple) and any(hasattr(m, "tocsr") for m in transition)):
        return None
    try:
        array = np.asarray(transition)
    except ValueError:
        raise ModelError("transition must be an array (S, A, S) or (H, S, A, S), got a ragged sequence") from None
    return array if array.ndim == 4 else None


def _at_stage(h: int, transition: Any, mask: BoolArray | None) -> Kernel:
    try:
        return build_kernel(transition, mask)
    except ModelError as error:
        raise _located(error, h) from None


def _reward_at_stage(h: int, reward: Any, kernel: Kernel, mask: BoolArray | None) -> Reward:
    try:
        return build_reward(reward, kernel, mask)
    except ModelError as error:
        raise _located(error, h) from None


def _located(error: ModelError, h: int) -> ModelError:
    """Return the same error with the stage in its message."""
    error.args = (f"stage {h}: {error.args[0]}", *error.args[1:])
    return error


def _staged_rewards(reward: Any, stationary: bool, H: int, S: int, A: int) -> FloatArray | None:
    if hasattr(reward, "tocsr") or (isinstance(reward, list | tuple) and any(hasattr(m, "tocsr") for m in reward)):
        return None
    array = np.asarray(reward)
    if array.ndim == 4 or (array.ndim == 3 and array.shape == (H, S, A) and not (stationary and array.shape == (S, A, S))):
        if array.shape not in ((H, S, A), (H, S, A, S)):
            raise WrongShape("reward", array.shape, f"({S}, {A}), ({S}, {A}, {S}), ({H}, {S}, {A}) or ({H}, {S}, {A}, {S})")
        return array
    if not stationary:
        return np.broadcast_to(array, (H, *array.shape))
    return None
