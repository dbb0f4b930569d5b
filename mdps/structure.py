"""The structure of a model: its classes, and the stationary distribution of a policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps._chain import policy_chain, require_tabular, stationary_of
from mdps._errors import Multichain

if TYPE_CHECKING:
    from mdps._graph import Graph
    from mdps.models import TabularMDP

__all__ = ["Classification", "classify", "stationary_distribution"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

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

    require_tabular(mdp)
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

    require_tabular(mdp)
    chain = policy_chain(mdp, policy)
    classes = closed_classes(graph_of_chain(chain))
    if len(classes) > 1:
        raise Multichain(tuple(tuple(int(s) for s in states[:5]) for states in classes), "the policy has several recurrent classes")
    states = classes[0]
    result = np.zeros(mdp.n_states)
    result[states] = stationary_of(chain[states][:, states])
    return result


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
