"""From what users hand in to what models store: dense (S, A, S) arrays or one compressed (S*A, S) matrix with row s*A + a.

Arrays that are in the stored form already are shared, not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps._errors import ModelError, NotFinite, WrongShape
from mdps._validate import require_array, require_stochastic_csr, require_stochastic_rows

__all__ = ["Csr", "Kernel", "Reward", "build_kernel", "build_reward", "expand_csr"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

UNIT = 2.0**-53
"""Largest relative error of one rounded operation, where its result is a normal float."""
SMALLEST = 5e-324
"""Largest absolute error of one rounded operation where it is not, twice over."""
EXTENDED_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Csr:
    """A compressed row matrix of shape (S*A, S): entries of row r stand at indptr[r]:indptr[r+1]."""

    data: FloatArray
    indices: npt.NDArray[Any]
    indptr: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A stored transition kernel: exactly one of `dense` and `csr` is given; `deviation` is the largest |row sum - 1|."""

    dense: FloatArray | None
    csr: Csr | None
    n_states: int
    n_actions: int
    deviation: float


@dataclass(frozen=True, slots=True)
class Reward:
    """Expected reward (S, A), a bound on its error before rounding to floats, and the reward of each transition if it was given so."""

    expected: FloatArray
    error: float
    transition: FloatArray | None


def build_kernel(transition: Any, mask: BoolArray | None = None, terminal: BoolArray | None = None) -> Kernel:
    """Validate a transition kernel and bring it to the stored form."""
    if _is_sparse(transition):
        return _sparse_kernel(_stacked(transition), mask, terminal)
    if isinstance(transition, Sequence) and len(transition) and any(_is_sparse(m) for m in transition):
        return _sparse_kernel(_interleaved(transition), mask, terminal)
    array = _real_array("transition", transition)
    if array.ndim != 3 or array.shape[0] != array.shape[2] or 0 in array.shape:
        raise WrongShape("transition", array.shape, "(S, A, S), a sequence of A sparse (S, S), or one sparse (S*A, S)")
    n_states, n_actions = array.shape[:2]
    _check_sizes(n_states, n_actions, mask, terminal)
    if terminal is not None or mask is not None:
        array = array.copy()
        if mask is not None:
            array[~mask] = 0.0
        if terminal is not None:
            array[terminal] = 0.0
            array[terminal, :, np.flatnonzero(terminal)] = 1.0
            if mask is not None:
                array[~mask] = 0.0
    deviation = require_stochastic_rows(array.reshape(-1, n_states), n_actions, None if mask is None else mask.ravel())
    return Kernel(_frozen(array), None, n_states, n_actions, deviation)


def build_reward(reward: Any, kernel: Kernel, mask: BoolArray | None = None, terminal: BoolArray | None = None) -> Reward:
    """Validate a reward of shape (S, A) or (S, A, S) (dense, or sparse in the forms of the kernel) and take its expectation."""
    S, A = kernel.n_states, kernel.n_actions
    unread = _unread(kernel, mask, terminal)
    if _is_sparse(reward) and reward.shape == (S, A) and S * A != S:
        reward = reward.toarray()
    sparse = _is_sparse(reward) or (isinstance(reward, Sequence) and len(reward) and any(_is_sparse(m) for m in reward))
    if sparse:
        matrix = _stacked(reward, "reward") if _is_sparse(reward) else _interleaved(reward, "reward")
        if matrix.shape != (S * A, S):
            raise WrongShape("reward", matrix.shape, f"({S}, {A}), ({S}, {A}, {S}) or sparse ({S * A}, {S})")
        if unread is not None:
            skipped = unread.ravel()[_row_of_entry(matrix.indptr)]
            matrix = type(matrix)((np.where(skipped, 0.0, matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
        _finite_reward(matrix.data, lambda entry: divmod(int(np.searchsorted(matrix.indptr, entry, side="right")) - 1, A))
        transition = _aligned(matrix, kernel) if kernel.csr is not None else matrix.toarray().reshape(S, A, S)
    else:
        array = _real_array("reward", reward)
        if array.shape == (S, A):
            if unread is not None:
                array = np.where(unread, 0.0, array)
            _finite_reward(array, lambda entry: divmod(entry, A))
            return Reward(_frozen(array), 0.0, None)
        if array.shape != (S, A, S):
            raise WrongShape("reward", array.shape, f"({S}, {A}) or ({S}, {A}, {S})")
        if unread is not None:
            array = np.where(unread[:, :, None], 0.0, array)
        _finite_reward(array, lambda entry: divmod(entry // S, A))
        transition = array
        if kernel.csr is not None:
            rows = _row_of_entry(kernel.csr.indptr)
            transition = array.reshape(S * A, S)[rows, kernel.csr.indices]
    expected, error = _expectation(kernel, transition)
    return Reward(_frozen(expected), error, _frozen(transition))


def expand_csr(csr: Csr, n_states: int, n_actions: int) -> FloatArray:
    """Return the dense (S, A, S) array of a compressed kernel."""
    dense = np.zeros((n_states * n_actions, n_states))
    np.add.at(dense, (_row_of_entry(csr.indptr), csr.indices), csr.data)
    return dense.reshape(n_states, n_actions, n_states)


def _expectation(kernel: Kernel, transition: FloatArray) -> tuple[FloatArray, float]:
    """Return sum_j p_j r_j / sum_j p_j of every row, and a bound on the worst row's error before the last rounding to a float.

    Models of up to a million entries are summed in extended precision where the platform has it.
    """
    S, A = kernel.n_states, kernel.n_actions
    kind: Any = np.longdouble if transition.size <= EXTENDED_ENTRIES else np.float64
    if kernel.dense is not None:
        p, longest = kernel.dense.astype(kind, copy=False), S
        total, mass = (p * transition).sum(axis=2), p.sum(axis=2)
        size = (kernel.dense * np.abs(transition)).sum(axis=2)
    else:
        assert kernel.csr is not None
        starts, filled = _filled_rows(kernel.csr.indptr)
        p, longest = kernel.csr.data.astype(kind, copy=False), int(np.diff(kernel.csr.indptr).max(initial=0))
        total, mass, size = np.zeros(S * A, dtype=kind), np.zeros(S * A, dtype=kind), np.zeros(S * A)
        if starts.size:
            total[filled] = np.add.reduceat(p * transition, starts)
            mass[filled] = np.add.reduceat(p, starts)
            size[filled] = np.add.reduceat(kernel.csr.data * np.abs(transition), starts)
        total, mass, size = total.reshape(S, A), mass.reshape(S, A), size.reshape(S, A)
    expected = np.asarray(total / np.where(mass > 0, mass, kind(1.0)), dtype=np.float64)
    unit = float(np.finfo(kind).eps) / 2
    # below the normal floats an error is no share of the number but a multiple of the smallest one
    tiny = (2 * longest + 4) * SMALLEST if transition.any() else 0.0
    return expected, (2 * longest + 4) * unit * float(size.max()) * (1 + 1e-6) + tiny


def _unread(kernel: Kernel, mask: BoolArray | None, terminal: BoolArray | None) -> BoolArray | None:
    """Return which rewards (S, A) are not looked at, None where all are."""
    if mask is None and terminal is None:
        return None
    unread = np.zeros((kernel.n_states, kernel.n_actions), dtype=bool) if mask is None else ~mask
    return unread if terminal is None else unread | terminal[:, None]


def _sparse_kernel(matrix: Any, mask: BoolArray | None, terminal: BoolArray | None) -> Kernel:
    rows, n_states = matrix.shape
    n_actions = rows // n_states
    _check_sizes(n_states, n_actions, mask, terminal)
    if mask is not None or terminal is not None:
        matrix = _override_rows(matrix, n_states, n_actions, mask, terminal)
    used = None if mask is None else mask.ravel()
    deviation = require_stochastic_csr(matrix.data, matrix.indices, matrix.indptr, n_actions, used)
    csr = Csr(_frozen(matrix.data), _frozen(matrix.indices), _frozen(matrix.indptr))
    return Kernel(None, csr, n_states, n_actions, deviation)


def _override_rows(matrix: Any, n_states: int, n_actions: int, mask: BoolArray | None, terminal: BoolArray | None) -> Any:
    """Empty the rows that the mask forbids, and give terminal states a loop to themselves."""
    from scipy import sparse

    allowed = np.ones((n_states, n_actions), dtype=bool) if mask is None else mask
    ends = np.zeros(n_states, dtype=bool) if terminal is None else terminal
    keep = (allowed & ~ends[:, None]).ravel()[_row_of_entry(matrix.indptr)]
    counts = np.concatenate([[0], np.cumsum(keep)])
    kept = sparse.csr_matrix((matrix.data[keep], matrix.indices[keep], counts[matrix.indptr]), shape=matrix.shape)
    loops = np.flatnonzero((allowed & ends[:, None]).ravel())
    if not loops.size:
        return kept
    return (kept + sparse.csr_matrix((np.ones(loops.size), (loops, loops // n_actions)), shape=matrix.shape)).tocsr()


def _stacked(matrix: Any, name: str = "transition") -> Any:
    rows, columns = matrix.shape
    if columns == 0 or rows == 0 or rows % columns:
        raise WrongShape(name, matrix.shape, "sparse (S*A, S) with row s*A + a")
    return _canonical(matrix, name)


def _interleaved(matrices: Sequence[Any], name: str = "transition") -> Any:
    """Merge A sparse (S, S) matrices into one (S*A, S) with row s*A + a."""
    from scipy import sparse

    parts = [_canonical(m if _is_sparse(m) else sparse.csr_matrix(np.atleast_2d(_real_array(name, m))), name) for m in matrices]
    S, A = parts[0].shape[0], len(parts)
    for action, part in enumerate(parts):
        if part.shape != (S, S):
            raise WrongShape(f"{name}[{action}]", part.shape, f"({S}, {S}) for every action")
    lengths = np.stack([np.diff(p.indptr) for p in parts], axis=1).ravel()
    indptr = np.zeros(S * A + 1, dtype=np.int64)
    np.cumsum(lengths, out=indptr[1:])
    data = np.empty(int(indptr[-1]))
    indices = np.empty(int(indptr[-1]), dtype=_index_type(int(indptr[-1]), S))
    for action, part in enumerate(parts):
        counts = np.diff(part.indptr)
        target = np.arange(part.indices.size) + np.repeat(indptr[action:-1:A] - part.indptr[:-1], counts)
        data[target], indices[target] = part.data, part.indices
    return sparse.csr_matrix((data, indices, indptr.astype(indices.dtype)), shape=(S * A, S), copy=False)


def _canonical(matrix: Any, name: str) -> Any:
    """Return a CSR matrix of float64 with sorted, unique indices, copying only where it must."""
    if matrix.dtype.kind not in "fiub":
        raise ModelError(f"{name} must hold real numbers, got dtype {matrix.dtype}")
    csr = matrix.tocsr()
    if csr.dtype != np.float64:
        csr = csr.astype(np.float64)
    if not csr.has_canonical_format:
        csr = csr.copy() if csr is matrix or csr.data is getattr(matrix, "data", None) else csr
        csr.sum_duplicates()
    return csr


def _aligned(matrix: Any, kernel: Kernel) -> FloatArray:
    """Return the entries of `matrix` at the places of the kernel's entries (zero where it has none)."""
    assert kernel.csr is not None
    S = kernel.n_states
    wanted = _row_of_entry(kernel.csr.indptr) * S + kernel.csr.indices
    given = _row_of_entry(matrix.indptr) * S + matrix.indices
    if not given.size:
        return np.zeros(wanted.size)
    at = np.minimum(np.searchsorted(given, wanted), given.size - 1)
    return np.where(given[at] == wanted, matrix.data[at], 0.0)


def _finite_reward(values: FloatArray, place: Any) -> None:
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        flat = values.ravel()
        first = int(np.flatnonzero(~np.isfinite(flat))[0])
        state, action = place(first)
        raise NotFinite("reward", f"state {state}, action {action}", float(flat[first]))


def _check_sizes(n_states: int, n_actions: int, mask: BoolArray | None, terminal: BoolArray | None) -> None:
    if mask is not None and mask.shape != (n_states, n_actions):
        raise WrongShape("action_mask", mask.shape, f"({n_states}, {n_actions})")
    if terminal is not None and terminal.shape != (n_states,):
        raise WrongShape("terminal", terminal.shape, f"({n_states},) of booleans, or a list of states")


def _real_array(name: str, value: Any) -> FloatArray:
    """Like `require_array`, without the test for finite entries: the caller names state and action."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError
        return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    except (TypeError, ValueError):
        pass
    require_array(name, value)
    raise ModelError(f"{name} must be an array of real numbers, got {type(value).__name__}")


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "tocsr") and hasattr(value, "nnz")


def _row_of_entry(indptr: npt.NDArray[Any]) -> IntArray:
    return np.repeat(np.arange(indptr.size - 1), np.diff(indptr))


def _filled_rows(indptr: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], IntArray]:
    filled = np.flatnonzero(np.diff(indptr) > 0)
    return indptr[filled], filled


def _index_type(entries: int, columns: int) -> type[Any]:
    return np.int32 if max(entries, columns) < 2**31 else np.int64


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view
