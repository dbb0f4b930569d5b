"""Policy iteration for the average reward: evaluation, repair to one recurrent class, and the occupancy program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mdps.average import Problem

__all__ = ["chain_of", "evaluate_unichain", "make_unichain", "occupancy_policy"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DENSE_STATES = 1500
"""Linear systems up to this size are solved dense."""


def evaluate_unichain(problem: Problem, policy: IntArray) -> FloatArray | None:
    """Return a bias of a policy with one recurrent class: g 1 + h = r + P h with the middle of the range of h at zero.

    None where the chain hangs together by probabilities so small that the system is singular in floating point.

    The gain takes the column of one state of the recurrent class, whose bias is fixed at zero; any choice gives the same h up to a
    constant.
    """
    states = problem.states
    rows = np.arange(states) * problem.actions + policy
    reward = problem.reward[rows]
    anchor = int(_recurrent_class(chain_of(problem, rows))[0])
    try:
        if states <= _DENSE_STATES:
            system = -(problem.dense[rows] if problem.dense is not None else problem.csr[rows].toarray())
            system[np.arange(states), np.arange(states)] += 1.0
            system[:, anchor] = 1.0
            solution = np.linalg.solve(system, reward)
            solution += np.linalg.solve(system, reward - system @ solution)
        else:
            solution = _solve_sparse(chain_of(problem, rows), reward, anchor)
    except (np.linalg.LinAlgError, RuntimeError):  # splu reports a singular factor as a RuntimeError
        return None
    if not np.isfinite(solution).all():
        return None
    solution[anchor] = 0.0
    return np.asarray(solution - 0.5 * (solution.max() + solution.min()))


def make_unichain(problem: Problem, policy: IntArray) -> IntArray:
    """Return a policy with one recurrent class, the one of largest gain under `policy`, in a weakly communicating model.

    States that might end up elsewhere are sent, by a search backwards, towards that class; the gain of no state falls.
    """
    from mdps._graph import closed_classes, graph_of_chain, surely_reaching

    rows = np.arange(problem.states) * problem.actions + policy
    chain = chain_of(problem, rows)
    graph = graph_of_chain(chain)
    classes = closed_classes(graph)
    if len(classes) == 1:
        return policy
    gains = [_gain(problem, chain, rows, states) for states in classes]
    target = np.zeros(problem.states, dtype=bool)
    target[classes[int(np.argmax(gains))]] = True
    kept = surely_reaching(graph, target)[0]
    from mdps._graph import graph_of

    _, _, towards = surely_reaching(graph_of(problem.mdp), kept)
    return np.where(kept, policy, towards)


def occupancy_policy(problem: Problem) -> IntArray | None:
    """Return a policy from the linear program: maximise sum x r over occupancies x >= 0 with balanced flow and total mass 1.

    States without occupancy are sent towards the occupied ones.  None where the program is not solved (rounding can make the balance
    of a slowly mixing chain infeasible): Howard's rule, which finishes every policy, then starts by itself.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, vstack

    from mdps._graph import graph_of, surely_reaching

    states, actions = problem.states, problem.actions
    usable = np.flatnonzero(np.isfinite(problem.reward))
    kernel = csr_array(problem.csr if problem.csr is not None else problem.dense)[usable]
    count = usable.size
    outflow = csr_array((np.ones(count), (usable // actions, np.arange(count))), shape=(states, count))
    constraints = vstack([outflow - kernel.T, csr_array(np.ones((1, count)))], format="csr")
    right = np.zeros(states + 1)
    right[-1] = 1.0
    reward = problem.reward[usable]
    scale = max(1.0, problem.largest_reward)
    result = linprog(-reward / scale, A_eq=constraints, b_eq=right, bounds=(0, None), method="highs")
    if result.x is None:
        return None
    flat = np.zeros(states * actions)
    flat[usable] = result.x
    occupancy = flat.reshape(states, actions)
    occupied = np.asarray(occupancy.sum(axis=1) > 1e-12)
    _, _, towards = surely_reaching(graph_of(problem.mdp), occupied)
    return np.where(occupied, occupancy.argmax(axis=1), towards)


def chain_of(problem: Problem, rows: IntArray) -> Any:
    """Return the sparse (S, S) transition matrix of the policy that uses these rows s*A + a."""
    from scipy.sparse import csr_array

    return csr_array(problem.csr[rows] if problem.csr is not None else problem.dense[rows])  # type: ignore[index]


def _recurrent_class(chain: Any) -> IntArray:
    from mdps._graph import closed_classes, graph_of_chain

    return closed_classes(graph_of_chain(chain))[0]


def _gain(problem: Problem, chain: Any, rows: IntArray, states: IntArray) -> float:
    from mdps._chain import stationary_of

    if states.size == 1:
        return float(problem.reward[rows[states[0]]])
    return float(stationary_of(chain[states][:, states]) @ problem.reward[rows[states]])


def _solve_sparse(chain: Any, reward: FloatArray, anchor: int) -> FloatArray:
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    states = chain.shape[0]
    # Eliminate the gain by hand: with the anchor's row and column taken out, both parts solve the same sparse transient system
    # (a column of ones in the matrix itself would fill the factors).
    others = np.flatnonzero(np.arange(states) != anchor)
    factor = splu(csc_array(eye_array(states - 1) - chain[others][:, others]))
    earned, elapsed = factor.solve(reward[others]), factor.solve(np.ones(states - 1))
    row = chain[[anchor]][:, others].toarray().ravel()
    gain = (reward[anchor] + row @ earned) / (1.0 + row @ elapsed)
    solution = np.zeros(states)
    solution[others] = earned - gain * elapsed
    return solution
