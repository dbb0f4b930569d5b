"""Random models: sparse or dense Garnet kernels and random linear MDPs.

A Garnet model (Archibald, McKinnon and Thomas 1995) gives every state and action `branching` distinct successors, whose probabilities
are the gaps between uniform cut points of the unit interval, that is, a flat Dirichlet vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdps._validate import require_between, require_generator, require_integer, require_integer_between, require_positive

if TYPE_CHECKING:
    from mdps.models import LinearMDP, TabularMDP

__all__ = ["garnet", "random_linear"]

_DENSE_SHARE = 0.25
"""A kernel with more than this share of nonzero entries is stored dense unless the caller says otherwise."""

_CHUNK = 4_000_000
"""Random numbers drawn at once, so that temporaries stay small beside the model."""


def garnet(
    states: int,
    actions: int,
    branching: int,
    *,
    seed: int | np.random.SeedSequence,
    discount: float | None = 0.95,
    sparse: bool | None = None,
    reward_density: float = 1.0,
) -> TabularMDP:
    """Return a random model in which every state and action has `branching` successors.

    Parameters
    ----------
    states, actions : int
        Sizes, at least 1.
    branching : int
        Number of distinct successors of each state and action, between 1 and `states`.
    seed : int or SeedSequence
        Of the counter-based stream; the same seed gives the same model.
    discount : float or None
        Discount in (0, 1], or None for an average-reward model.
    sparse : bool, optional
        Store one sparse (S*A, S) matrix; by default when at most a quarter of the entries are nonzero.
    reward_density : float
        Share of the state-action pairs with a nonzero reward; those are uniform on (0, 1).

    Returns
    -------
    TabularMDP
        Exactly `states * actions * branching` nonzero probabilities.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: Archibald, McKinnon and Thomas 1995.

    Examples
    --------
    >>> garnet(50, 3, 4, seed=0).n_states
    50
    """
    require_integer("states", states)
    require_integer("actions", actions)
    require_integer_between("branching", branching, 1, states)
    require_between("reward_density", reward_density, 0.0, 1.0)
    from mdps.models import TabularMDP

    rng = require_generator(seed)
    if sparse is None:
        sparse = branching <= _DENSE_SHARE * states
    rows = states * actions
    weights = _dirichlet(rng, rows, branching)
    successors = None if branching == states else _distinct(rng, rows, states, branching)
    reward = rng.random((states, actions))
    if reward_density < 1.0:
        reward *= rng.random((states, actions)) < reward_density
    if not sparse:
        return TabularMDP(_dense(weights, successors, states).reshape(states, actions, states), reward, discount=discount)
    from scipy.sparse import csr_array

    index_type = np.int32 if rows * branching < 2**31 else np.int64
    if successors is None:
        successors = np.broadcast_to(np.arange(states, dtype=np.int32), (rows, states))
    pointers = np.arange(0, rows * branching + 1, branching, dtype=index_type)
    indices = np.ascontiguousarray(successors).reshape(-1).astype(index_type, copy=False)
    return TabularMDP(csr_array((weights.reshape(-1), indices, pointers), shape=(rows, states)), reward, discount=discount)


def random_linear(
    states: int,
    actions: int,
    dimension: int,
    *,
    horizon: int,
    seed: int | np.random.SeedSequence,
    concentration: float = 0.5,
) -> LinearMDP:
    """Return a random linear MDP with features on the simplex.

    The kernel of step h is `P_h(s'|s,a) = <phi(s,a), mu_h(s')>` and the reward `r_h(s,a) = <phi(s,a), theta_h>`, with features and
    factors drawn from symmetric Dirichlet laws and reward weights uniform on [0, 1].

    Parameters
    ----------
    states, actions, dimension, horizon : int
        Sizes, at least 1.
    seed : int or SeedSequence
        Of the counter-based stream.
    concentration : float
        Parameter of the Dirichlet laws, positive; below 1 favours corners of the simplex.

    Returns
    -------
    LinearMDP
        Features (S, A, d), factors (H, d, S), reward weights (H, d).

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: r2pvi, setting.

    Examples
    --------
    >>> random_linear(4, 2, 3, horizon=5, seed=1).features.shape
    (4, 2, 3)
    """
    for name, value in (("states", states), ("actions", actions), ("dimension", dimension), ("horizon", horizon)):
        require_integer(name, value)
    require_positive("concentration", concentration)
    from mdps.models import LinearMDP

    rng = require_generator(seed)
    features = rng.dirichlet(np.full(dimension, concentration), size=(states, actions))
    factors = rng.dirichlet(np.full(states, concentration), size=(horizon, dimension))
    weights = rng.random((horizon, dimension))
    return LinearMDP(features, factors, weights, horizon=horizon)


def _dirichlet(rng: np.random.Generator, rows: int, width: int) -> NDArray[np.float64]:
    """Return `rows` flat Dirichlet vectors, shape (rows, width)."""
    weights = np.empty((rows, width))
    step = max(1, _CHUNK // width)
    for start in range(0, rows, step):
        block = weights[start : start + step]
        rng.standard_exponential(out=block)
        block /= block.sum(axis=1, keepdims=True)
    return weights


def _distinct(rng: np.random.Generator, rows: int, states: int, width: int) -> NDArray[np.int32]:
    """Return `width` distinct sorted states for each row, uniform over subsets, shape (rows, width)."""
    chosen = np.empty((rows, width), dtype=np.int32)
    few = width * width <= states
    step = max(1, _CHUNK // (width if few else states))
    for start in range(0, rows, step):
        block = chosen[start : start + step]
        if few:
            # redrawing the rows with a repeated state leaves the law of the subset uniform and costs about width^2 / (2 states) of the rows
            todo = np.arange(len(block))
            while todo.size:
                draw = np.sort(rng.integers(0, states, size=(todo.size, width), dtype=np.int32), axis=1)
                block[todo] = draw
                todo = todo[(draw[:, 1:] == draw[:, :-1]).any(axis=1)]
        else:
            keys = rng.random((len(block), states))
            block[:] = np.sort(np.argpartition(keys, width - 1, axis=1)[:, :width], axis=1)
    return chosen


def _dense(weights: NDArray[np.float64], successors: NDArray[np.int32] | None, states: int) -> NDArray[np.float64]:
    """Return the (rows, S) kernel with the given weights at the given successors."""
    if successors is None:
        return weights
    kernel = np.zeros((len(weights), states))
    np.put_along_axis(kernel, successors.astype(np.int64), weights, axis=1)
    return kernel
