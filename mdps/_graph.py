"""Reachability in the graph of a model: closed classes, end components and who can reach whom.

The graph of a model has an edge s -> s' where some allowed action moves from s to s' with positive probability.  An end component is
a set of states with actions that keep the process inside it and let it reach every state of it; the maximal ones are disjoint.
A model is weakly communicating exactly when it has one maximal end component: every closed set holds one, so there is then one closed
class, which is an end component itself, and every state outside belongs to none and is transient under every policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph", "closed_classes", "components", "end_components", "graph_of", "graph_of_chain", "surely_reaching"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Graph:
    """The positive entries of a kernel: row s * actions + a has the successors indices[indptr[row]:indptr[row + 1]]."""

    indptr: NDArray[Any]
    indices: NDArray[Any]
    states: int
    actions: int


def graph_of(mdp: Any) -> Graph:
    """Return the graph of a `TabularMDP`; exact zeros are no edges, and forbidden actions have empty rows."""
    matrix = mdp.csr()
    return _positive(matrix.indptr, matrix.indices, matrix.data, mdp.n_states, mdp.n_actions)


def graph_of_chain(chain: Any) -> Graph:
    """Return the graph of a sparse (S, S) chain."""
    return _positive(chain.indptr, chain.indices, chain.data, chain.shape[0], 1)


def components(graph: Graph, rows: BoolArray | None = None) -> tuple[int, IntArray]:
    """Return the number of strongly connected components and the label of each state, using only the given rows."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(_adjacency(graph, rows), directed=True, connection="strong")
    return int(count), label.astype(np.int64)


def closed_classes(graph: Graph) -> tuple[IntArray, ...]:
    """Return the components that no edge leaves, by their smallest state: the recurrent classes of the policy that tries everything."""
    count, label = components(graph)
    source = label[np.repeat(np.arange(graph.states), np.diff(graph.indptr[:: graph.actions]))]
    leaves = np.zeros(count, dtype=bool)
    leaves[source[source != label[graph.indices]]] = True
    return _groups(label, ~leaves[label])


def end_components(graph: Graph, states: BoolArray | None = None, rows: BoolArray | None = None) -> tuple[IntArray, ...]:
    """Return the maximal end components, by their smallest state.

    Parameters
    ----------
    graph : Graph
        The graph of a model.
    states : bool array (S,), optional
        Look only inside this set.
    rows : bool array (S*A,), optional
        Use only these rows.

    Returns
    -------
    tuple of arrays
        The states of each component, ascending.
    """
    alive = np.diff(graph.indptr) > 0
    if rows is not None:
        alive = alive & rows
    if states is not None:
        alive = alive & np.repeat(states, graph.actions)
    while True:
        # a state without a live row has no edges, so it is a component of its own that no live row may enter
        _, label = components(graph, alive)
        inside = label[graph.indices] == np.repeat(label, np.diff(graph.indptr[:: graph.actions]))
        kept = alive & _all_in_row(graph, inside)
        if states is not None:
            kept &= _all_in_row(graph, states[graph.indices])
        if (kept == alive).all():
            return _groups(label, np.asarray(alive.reshape(graph.states, graph.actions).any(axis=1)))
        alive = kept


def surely_reaching(graph: Graph, target: BoolArray) -> tuple[BoolArray, BoolArray, IntArray]:
    """Return which states can reach `target` with probability 1, by which rows, and a policy that does.

    Returns
    -------
    tuple
        States (S,); rows (S*A,) all of whose successors are such states; for each such state outside the target an action of such
        a row that moves one step closer to the target with positive probability, and 0 elsewhere.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    filled = np.diff(graph.indptr) > 0
    sure = np.ones(graph.states, dtype=bool)
    while True:
        rows = filled & np.repeat(sure & ~target, graph.actions) & _all_in_row(graph, sure[graph.indices])
        forward = _adjacency(graph, rows).tocoo()
        ends = np.flatnonzero(target)
        # one extra node stands for the whole target, so that a single search runs backwards from it
        source = np.concatenate([forward.col, np.full(ends.size, graph.states)])
        sink = np.concatenate([forward.row, ends])
        back = csr_array((np.ones(source.size, dtype=np.int8), (source, sink)), shape=(graph.states + 1, graph.states + 1))
        order, parent = breadth_first_order(back, graph.states, directed=True, return_predecessors=True)
        found = np.zeros(graph.states, dtype=bool)
        found[order[order < graph.states]] = True
        if (found == sure).all():
            break
        sure = found
    policy = np.zeros(graph.states, dtype=np.int64)
    row = np.repeat(np.arange(filled.size), np.diff(graph.indptr))
    closer = rows[row] & (parent[: graph.states][row // graph.actions] == graph.indices)
    policy[row[closer] // graph.actions] = row[closer] % graph.actions
    return sure, rows, policy


def _positive(indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[np.float64], states: int, actions: int) -> Graph:
    if (data > 0).all():
        return Graph(indptr, indices, states, actions)
    keep = data > 0
    counts = np.concatenate([[0], np.cumsum(keep)])
    return Graph(counts[indptr], indices[keep], states, actions)


def _adjacency(graph: Graph, rows: BoolArray | None) -> Any:
    from scipy.sparse import csr_array

    indices, indptr = graph.indices, graph.indptr[:: graph.actions]
    if rows is not None and not rows.all():
        keep = np.repeat(rows, np.diff(graph.indptr))
        indptr = np.concatenate([[0], np.cumsum(keep)])[indptr]
        indices = indices[keep]
    return csr_array((np.ones(indices.size, dtype=np.int8), indices, indptr), shape=(graph.states, graph.states))


def _all_in_row(graph: Graph, flags: BoolArray) -> BoolArray:
    """Return for each row whether `flags` holds for all its entries (an empty row: True)."""
    bad = np.concatenate([[0], np.cumsum(~flags)])
    good: BoolArray = bad[graph.indptr[1:]] == bad[graph.indptr[:-1]]
    return good


def _groups(label: IntArray, wanted: BoolArray) -> tuple[IntArray, ...]:
    """Return the wanted states grouped by label, groups ordered by their smallest state."""
    states = np.flatnonzero(wanted)
    if not states.size:
        return ()
    order = np.argsort(label[states], kind="stable")
    sorted_labels = label[states][order]
    groups = np.split(states[order], np.flatnonzero(np.diff(sorted_labels)) + 1)
    return tuple(sorted(groups, key=lambda group: int(group[0])))
