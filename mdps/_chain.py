"""The chain of a policy, and its stationary distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import ModelError, NotConverged

if TYPE_CHECKING:
    from mdps.models import TabularMDP

__all__ = ["normalised", "policy_chain", "require_tabular", "stationary_of"]

FloatArray = NDArray[np.float64]

_ELIMINATED_STATES = 600
"""Stationary distributions up to this size are found by elimination without subtractions."""

_DIRECT_STATES = 20_000
"""Up to this size by a sparse factorisation; beyond, fill-in may cost more memory than the model."""


def require_tabular(mdp: Any) -> None:
    """Refuse what is no `TabularMDP`: a stage of another model is one."""
    from mdps.models import TabularMDP

    if not isinstance(mdp, TabularMDP):
        raise ModelError(f"mdp must be a TabularMDP, got {type(mdp).__name__}")


def policy_chain(mdp: TabularMDP, policy: ArrayLike) -> Any:
    """Return the (S, S) sparse chain of a policy, rows renormalised.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    policy : array (S,) of actions or (S, A) of probabilities
        The policy.

    Returns
    -------
    scipy.sparse.csr_array (S, S)
        Its transition probabilities.

    Raises
    ------
    InvalidPolicy
        If the policy has the wrong shape, a forbidden or unknown action, or rows that are no distribution.
    """
    from scipy.sparse import csr_array

    from mdps.evaluation import policy_weights

    weights = policy_weights(mdp, policy)
    states, actions = weights.shape
    state, action = np.nonzero(weights)
    mixing = csr_array((weights[state, action], (state, state * actions + action)), shape=(states, states * actions))
    chain = csr_array(mixing @ csr_array(mdp.csr()))
    totals = np.asarray(chain.sum(axis=1)).ravel()
    chain.data /= np.repeat(totals, np.diff(chain.indptr))
    return chain


def normalised(mdp: TabularMDP) -> Any:
    """Return the kernel as CSR (S*A, S) with positive entries whose rows sum to 1 up to rounding."""
    from scipy.sparse import csr_array

    matrix = csr_array(mdp.csr())
    if (matrix.data <= 0).any():
        matrix = matrix.copy()
        matrix.eliminate_zeros()
    if mdp._kernel.deviation > 1e-15:
        totals = np.asarray(matrix.sum(axis=1)).ravel()
        matrix = csr_array((matrix.data / np.repeat(totals, np.diff(matrix.indptr)), matrix.indices, matrix.indptr), shape=matrix.shape)
    return matrix


def stationary_of(chain: Any) -> FloatArray:
    """Return the stationary distribution of an irreducible sparse chain."""
    size = chain.shape[0]
    if size <= _ELIMINATED_STATES:
        return _eliminate(chain.toarray())
    if size <= _DIRECT_STATES:
        from scipy.sparse import csc_array, eye_array
        from scipy.sparse.linalg import splu

        # drop the last balance equation, fix the last probability at one, normalise
        system = csc_array((eye_array(size) - chain).T)
        weights = np.ones(size)
        weights[:-1] = splu(csc_array(system[:-1, :-1])).solve(-system[:-1, [size - 1]].toarray().ravel())
        weights = np.maximum(weights, 0.0)
        return np.asarray(weights / weights.sum())
    weights = np.full(size, 1.0 / size)
    transposed = chain.T.tocsr()
    for _ in range(100_000):
        # the damping makes a periodic chain aperiodic and keeps its stationary distribution
        moved = 0.5 * weights + 0.5 * (transposed @ weights)
        moved /= moved.sum()
        if np.abs(moved - weights).sum() <= 1e-14:
            return np.asarray(moved)
        weights = moved
    raise NotConverged(f"power iteration on {size} states did not settle in 100000 steps", weights)


def _eliminate(kernel: FloatArray) -> FloatArray:
    """Return the stationary distribution of an irreducible dense chain by eliminating states from the last to the first."""
    P = kernel.copy()
    size = len(P)
    for n in range(size - 1, 0, -1):
        P[:n, n] /= P[n, :n].sum()
        P[:n, :n] += np.outer(P[:n, n], P[n, :n])
    weights = np.zeros(size)
    weights[0] = 1.0
    for n in range(1, size):
        weights[n] = weights[:n] @ P[:n, n]
    return np.asarray(weights / weights.sum())
