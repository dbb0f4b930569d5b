"""The structure of a model: its classes, stationary distributions, hitting times and diameter.

Hitting times rest on one fact.  Let T h = min_a (1 + P_a h) outside the target and 0 inside.  If T h <= h + e with e < 1, then
h / (1 - e) is at least the expected time of the policy that attains the minimum, and if T h >= h - e then h / (1 + e) is at most the
least expected time of any policy: a residual of e steps is a relative error of about e, whatever the size of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._errors import InfiniteDiameter, InvalidPolicy, ModelError, Multichain, NotConverged
from mdps._validate import require_array, require_integer, require_integer_between, require_positive

if TYPE_CHECKING:
    from mdps._graph import Graph
    from mdps.models import TabularMDP

__all__ = ["Classification", "classify", "diameter", "hitting_times", "policy_chain", "stationary_distribution"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_DENSE_STATES = 1500
"""Linear systems up to this size are solved dense."""

_ELIMINATED_STATES = 600
"""Stationary distributions up to this size are found by elimination without subtractions."""

_DIRECT_STATES = 20_000
"""Linear systems up to this size are solved by a sparse factorisation; beyond, fill-in may cost more memory than the model."""

_SEARCH_NODES = 3000
"""Nodes of the search for two disjoint end components before `unichain` is left undecided."""


@dataclass(frozen=True, slots=True)
class Classification:
    """How the states of a model, or of a model under one policy, hang together.

    Attributes
    ----------
    kind : str
        "unichain", "weakly communicating" or "multichain": the first that holds.  Under one policy "unichain" or "multichain".
    communicating : bool
        Whether every state can reach every other one.
    weakly_communicating : bool
        Whether there is one closed communicating set and all states outside are transient under every policy.
    unichain : bool or None
        Whether every deterministic policy has a single recurrent class.  Deciding this is NP-hard in general; None if the search was
        given up.
    recurrent_classes : tuple of arrays
        The recurrent classes of the policy, or of the policy that tries every action.
    end_components : tuple of arrays
        Maximal sets of states in which some policy can stay for ever, visiting all of them; the recurrent classes under one policy.
    transient : array
        States outside every end component: transient under every policy (or under the one given).
    periods : tuple of int
        The period of each recurrent class.
    """

    kind: str
    communicating: bool
    weakly_communicating: bool
    unichain: bool | None
    recurrent_classes: tuple[IntArray, ...]
    end_components: tuple[IntArray, ...]
    transient: IntArray
    periods: tuple[int, ...]

    @property
    def multichain(self) -> bool:
        """Whether the optimal gain may depend on the state where one starts."""
        return self.kind == "multichain"


def classify(mdp: TabularMDP, policy: ArrayLike | None = None) -> Classification:
    """Classify a model, or the chain of one policy.

    Maximal end components are found by removing actions that leave a strongly connected component until nothing changes; a model is
    weakly communicating exactly when there is one.  `unichain` asks whether two end components are disjoint: a search over the states,
    exact for small models, and None where its budget is spent.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    policy : array (S,) of actions or (S, A) of probabilities, optional
        Classify the chain of this policy instead.

    Returns
    -------
    Classification
        Kind, classes, end components, transient states and periods.

    Raises
    ------
    InvalidPolicy
        If the policy does not fit the model.

    Source: loop_agec, G1 and edge cases.

    Examples
    --------
    >>> from mdps import families
    >>> classify(families.two_loops()).kind
    'weakly communicating'
    >>> classify(families.two_loops(linked=False)).kind
    'multichain'
    """
    from mdps._graph import closed_classes, components, end_components, graph_of, graph_of_chain

    graph = graph_of(mdp) if policy is None else graph_of_chain(policy_chain(mdp, policy))
    classes = closed_classes(graph)
    ends = classes if policy is not None else end_components(graph)
    communicating = components(graph)[0] == 1
    weakly = len(ends) == 1
    unichain: bool | None = weakly if policy is not None else (_is_unichain(graph) if weakly else False)
    inside = np.zeros(graph.states, dtype=bool)
    for states in ends:
        inside[states] = True
    kind = "unichain" if unichain else "weakly communicating" if weakly else "multichain"
    periods = tuple(_period(graph, states) for states in classes)
    return Classification(kind, communicating, weakly, unichain, classes, ends, np.flatnonzero(~inside), periods)


def stationary_distribution(mdp: TabularMDP, policy: ArrayLike) -> FloatArray:
    """Return the stationary distribution of the chain of a policy with a single recurrent class.

    Up to 600 recurrent states by the elimination of Grassmann, Taksar and Heyman, which subtracts nothing, so that every
    probability has a small relative error; beyond by a sparse factorisation, and beyond 20,000 states by damped power iteration to a
    residual of 1e-14 in total variation.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    policy : array (S,) of actions or (S, A) of probabilities
        The policy.

    Returns
    -------
    array (S,)
        Probabilities, exactly zero at transient states.

    Raises
    ------
    InvalidPolicy
        If the policy does not fit the model.
    Multichain
        If there are several recurrent classes.
    NotConverged
        If power iteration on a large chain does not settle; the exception carries the last iterate.

    Source: Grassmann, Taksar and Heyman 1985.

    Examples
    --------
    >>> from mdps import families
    >>> stationary_distribution(families.forest(3), [0, 0, 0]).round(4).tolist()
    [0.1, 0.09, 0.81]
    """
    from mdps._graph import closed_classes, graph_of_chain

    chain = policy_chain(mdp, policy)
    classes = closed_classes(graph_of_chain(chain))
    if len(classes) > 1:
        raise Multichain(tuple(tuple(int(s) for s in states[:5]) for states in classes), "the policy has several recurrent classes")
    states = classes[0]
    result = np.zeros(mdp.n_states)
    result[states] = stationary_of(chain[states][:, states])
    return result


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


def hitting_times(
    mdp: TabularMDP, target: int | ArrayLike, *, policy: ArrayLike | None = None, tolerance: float = 1e-10, max_sweeps: int = 1_000_000
) -> FloatArray:
    """Return the expected number of steps to reach a target from every state: the least over policies, or that of one policy.

    States that no policy brings to the target with probability 1 get infinity.  Policy iteration from a policy that surely arrives
    (found by searching backwards) up to 20,000 states; beyond, value iteration in alternating order until the relative error is proved
    to be at most `tolerance`.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    target : int or array of int
        State or states to reach; 0 steps there.
    policy : array (S,) of actions or (S, A) of probabilities, optional
        Follow this policy instead of the fastest one.
    tolerance : float
        Relative error where the result comes from sweeps.
    max_sweeps : int
        Sweeps to spend at most.

    Returns
    -------
    array (S,)
        Expected steps, infinity where the target is not reached surely.

    Raises
    ------
    ModelError
        If the target is no state of the model.
    NotConverged
        If the sweeps are spent; the exception carries the last times.

    Source: loop_agec, setting.

    Examples
    --------
    >>> from mdps import families
    >>> hitting_times(families.gridworld(2, slip=0.0), 3).tolist()
    [2.0, 1.0, 1.0, 0.0]
    """
    from mdps._graph import graph_of, graph_of_chain

    require_positive("tolerance", tolerance)
    require_integer("max_sweeps", max_sweeps)
    wanted = np.zeros(mdp.n_states, dtype=bool)
    for state in np.atleast_1d(np.asarray(target)):
        wanted[require_integer_between("target", state, 0, mdp.n_states - 1)] = True
    if not wanted.any():
        raise ModelError("target must name at least one state, got an empty array")
    if policy is not None:
        chain = policy_chain(mdp, policy)
        return _times(graph_of_chain(chain), chain, wanted, tolerance, max_sweeps)
    return _times(graph_of(mdp), normalised(mdp), wanted, tolerance, max_sweeps)


def diameter(mdp: TabularMDP, *, tolerance: float = 1e-10) -> float:
    """Return the diameter: the largest, over pairs of states, of the least expected number of steps from one to the other.

    Every target is first bracketed within 1 % by sweeps with the certificate in the module's docstring; only targets whose upper
    bound reaches the largest lower bound are then solved by policy iteration.  Costs about S times one shortest path problem: seconds
    at a thousand sparse states.

    Parameters
    ----------
    mdp : TabularMDP
        The model.
    tolerance : float
        Relative error.

    Returns
    -------
    float
        The diameter; 0 for a single state.

    Raises
    ------
    InfiniteDiameter
        If some state is not reached surely from another one under any policy; the exception names the pair.

    Source: loop_agec, setting and G1.

    Examples
    --------
    >>> from mdps import families
    >>> round(diameter(families.river_swim(3)), 10)
    4.7619047619
    """
    from mdps._graph import components, graph_of, surely_reaching

    require_positive("tolerance", tolerance)
    graph, matrix = graph_of(mdp), normalised(mdp)
    states = mdp.n_states
    if components(graph)[0] > 1:
        for target in range(states):
            sure = surely_reaching(graph, np.arange(states) == target)[0]
            if not sure.all():
                raise InfiniteDiameter(int(np.flatnonzero(~sure)[0]), target)
    upper = np.full(states, np.inf)
    if states > 32:
        upper = _coarse_times(graph, matrix)
    best = 0.0
    for target in np.argsort(-upper):
        if upper[target] < best:
            break
        best = max(best, float(_times(graph, matrix, np.arange(states) == target, tolerance, 1_000_000).max()))
    return best


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

    weights = policy_weights(mdp, policy)
    states, actions = weights.shape
    state, action = np.nonzero(weights)
    mixing = csr_array((weights[state, action], (state, state * actions + action)), shape=(states, states * actions))
    chain = csr_array(mixing @ csr_array(mdp.csr()))
    totals = np.asarray(chain.sum(axis=1)).ravel()
    chain.data /= np.repeat(totals, np.diff(chain.indptr))
    return chain


def policy_weights(mdp: TabularMDP, policy: ArrayLike) -> FloatArray:
    """Return a policy as probabilities (S, A), refusing what does not fit the model."""
    S, A = mdp.n_states, mdp.n_actions
    given = np.asarray(policy)
    if given.shape == (S,) and given.dtype.kind in "iu":
        if given.min() < 0 or given.max() >= A:
            state = int(np.flatnonzero((given < 0) | (given >= A))[0])
            raise InvalidPolicy(f"policy must have actions in 0..{A - 1}, got {int(given[state])} in state {state}")
        weights = np.zeros((S, A))
        weights[np.arange(S), given] = 1.0
    elif given.shape == (S, A):
        weights = require_array("policy", given)
        bad = (weights < 0).any(axis=1) | (np.abs(weights.sum(axis=1) - 1.0) > 1e-9)
        if bad.any():
            state = int(np.flatnonzero(bad)[0])
            raise InvalidPolicy(f"policy must be a distribution over actions in every state, got {weights[state].tolist()} in state {state}")
    else:
        raise InvalidPolicy(f"policy must be integers of shape ({S},) or probabilities of shape ({S}, {A}), got shape {given.shape}")
    if mdp.action_mask is not None and (weights[~mdp.action_mask] > 0).any():
        state = int(np.flatnonzero((weights * ~mdp.action_mask).any(axis=1))[0])
        raise InvalidPolicy(f"policy must not use a masked action, got one in state {state}")
    return weights


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


def _times(graph: Graph, matrix: Any, target: BoolArray, tolerance: float, max_sweeps: int) -> FloatArray:
    """Return least expected times for the kernel `matrix` (S*A, S) with the given graph."""
    from mdps._graph import surely_reaching

    sure, rows, policy = surely_reaching(graph, target)
    active = np.flatnonzero(sure & ~target)
    times = np.where(sure, 0.0, np.inf)
    if not active.size:
        return times
    if active.size > _DIRECT_STATES:
        return _swept_times(graph, matrix, rows, active, times, tolerance, max_sweeps)
    for _ in range(10_000):
        chosen = matrix[active * graph.actions + policy[active]]
        times[active] = _solve_times(chosen[:, active])
        finite = np.where(sure, times, 0.0)
        action_times = np.where(rows, 1.0 + matrix @ finite, np.inf).reshape(graph.states, graph.actions)
        current = np.where(sure & ~target, action_times[np.arange(graph.states), policy], 0.0)
        better = action_times.argmin(axis=1)
        # keep the old action unless the gain is real: rounding must not make the iteration cycle
        change = action_times.min(axis=1) < current - 1e-12 * np.maximum(1.0, current)
        if not change.any():
            return times
        policy = np.where(change, better, policy)
    raise NotConverged("policy iteration for hitting times did not settle", times)


def _solve_times(chain: Any) -> FloatArray:
    """Return (I - chain)^-1 1 for a transient chain."""
    size = chain.shape[0]
    if size <= _DENSE_STATES:
        return np.asarray(np.linalg.solve(np.eye(size) - chain.toarray(), np.ones(size)))
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    return np.asarray(splu(csc_array(eye_array(size) - chain)).solve(np.ones(size)))


def _swept_times(
    graph: Graph, matrix: Any, rows: BoolArray, active: IntArray, times: FloatArray, tolerance: float, max_sweeps: int
) -> FloatArray:
    from mdps._kernels_average import hitting_sparse

    flags = np.zeros(graph.states, dtype=bool)
    flags[active] = True
    finite = np.where(np.isfinite(times), times, 0.0)
    sweeps, low, high = hitting_sparse(
        matrix.indptr.astype(np.uint64), matrix.indices, matrix.data, rows, flags, graph.actions, finite, tolerance, max_sweeps
    )
    result = np.where(np.isfinite(times), finite, np.inf)
    if max(-low, high) > tolerance:
        raise NotConverged(f"hitting times: {sweeps} sweeps left a relative error of {max(-low, high):.3g}, above {tolerance:g}", result)
    return result


def _coarse_times(graph: Graph, matrix: Any) -> FloatArray:
    """Return for every target an upper bound, within about 1 %, on the largest least expected time to it (communicating models)."""
    from mdps._kernels_average import hitting_sparse

    indptr = matrix.indptr.astype(np.uint64)
    rows = np.diff(graph.indptr) > 0
    upper = np.empty(graph.states)
    for target in range(graph.states):
        active = np.ones(graph.states, dtype=bool)
        active[target] = False
        times = np.zeros(graph.states)
        _, _, high = hitting_sparse(indptr, matrix.indices, matrix.data, rows, active, graph.actions, times, 1e-2, 100_000)
        upper[target] = times.max() / (1.0 - high) * (1.0 + 1e-9) if high < 1.0 else np.inf
    return upper


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


def _period(graph: Graph, states: IntArray) -> int:
    """Return the period of a closed class: the greatest common divisor of level(s) + 1 - level(s') over its edges."""
    from scipy.sparse.csgraph import breadth_first_order

    from mdps._graph import _adjacency

    adjacency = _adjacency(graph, None)
    order, parent = breadth_first_order(adjacency, int(states[0]), directed=True, return_predecessors=True)
    level = np.zeros(graph.states, dtype=np.int64)
    for s in order[1:]:
        level[s] = level[parent[s]] + 1
    source = np.repeat(np.arange(graph.states), np.diff(adjacency.indptr))
    member = np.zeros(graph.states, dtype=bool)
    member[states] = True
    kept = member[source]
    return int(np.gcd.reduce(np.abs(level[source[kept]] + 1 - level[adjacency.indices[kept]])))


def _is_unichain(graph: Graph) -> bool | None:
    """Return whether no two end components are disjoint, or None if the search is given up.

    Each step asks on which of two sides a state lies; a side without an end component is a dead end, and two sides with disjoint
    ones settle the question.
    """
    from mdps._graph import end_components

    free = np.ones(graph.states, dtype=bool)
    nodes = 0
    stack: list[tuple[BoolArray, BoolArray]] = [(free, free)]
    while stack:
        nodes += 1
        if nodes > max(1, _SEARCH_NODES // max(1, graph.states // 50)):
            return None
        left, right = stack.pop()
        one, two = (np.isin(np.arange(graph.states), np.concatenate([[-1], *end_components(graph, side)])) for side in (left, right))
        if not (one.any() and two.any()):
            continue
        both = one & two
        if not both.any():
            return False
        state = int(np.flatnonzero(both)[0])
        without = np.ones(graph.states, dtype=bool)
        without[state] = False
        if nodes > 1:
            stack.append((one, two & without))
        # at the root the two sides are alike, and one of the two choices is enough
        stack.append((one & without, two))
    return True
