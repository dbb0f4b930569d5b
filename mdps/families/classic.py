"""Models of the literature whose gain, span, diameter or values are known in closed form or to many digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mdps._validate import require_between, require_finite, require_integer, require_integer_between

if TYPE_CHECKING:
    from mdps.models import TabularMDP

__all__ = ["forest", "gridworld", "river_swim"]


def river_swim(states: int = 6, *, discount: float | None = None) -> TabularMDP:
    """Return RiverSwim: action 0 drifts left for sure, action 1 swims right against the current.

    Swimming stays with 0.4 and advances with 0.6 in state 0; falls back with 0.05, stays with 0.6 and advances with 0.35 in the
    middle; falls back with 0.4 and stays with 0.6 at the far end.  Drifting in state 0 pays 0.005, swimming at the far end pays 1.

    Parameters
    ----------
    states : int
        At least 2.
    discount : float or None
        None (the default) for the average-reward model.

    Returns
    -------
    TabularMDP
        Communicating; the optimal policy swims everywhere, and the span of the bias equals gain times diameter:

        | states | gain | span | diameter |
        |---|---|---|---|
        | 3 | 0.4468085106 | 2.1276595745 | 4.7619047619 |
        | 4 | 0.4310850440 | 3.4750733138 | 8.0612244898 |
        | 6 | 0.4286224338 | 6.3103243082 | 14.7223379148 |
        | 8 | 0.4285724694 | 9.1666899401 | 21.3888912500 |
        | 10 | 0.4285714498 | 12.0238101404 | 28.0555556037 |

    Raises
    ------
    ValueError
        If `states` is below 2 or the discount is not in (0, 1].

    Source: loop_agec, G1; Strehl and Littman 2008.

    Examples
    --------
    >>> river_swim(3).expected_reward[2, 1]
    np.float64(1.0)
    """
    require_integer("states", states, minimum=2)
    from mdps.models import TabularMDP

    transition = np.zeros((states, 2, states))
    for s in range(states):
        transition[s, 0, max(s - 1, 0)] = 1.0
        if s == 0:
            transition[s, 1, :2] = 0.4, 0.6
        elif s == states - 1:
            transition[s, 1, s - 1 :] = 0.4, 0.6
        else:
            transition[s, 1, s - 1 : s + 2] = 0.05, 0.6, 0.35
    reward = np.zeros((states, 2))
    reward[0, 0] = 0.005
    reward[-1, 1] = 1.0
    return TabularMDP(transition, reward, discount=discount)


def gridworld(
    rows: int,
    columns: int | None = None,
    *,
    slip: float = 0.2,
    cost: float = 1.0,
    goal: int | None = None,
    discount: float | None = 0.99,
) -> TabularMDP:
    """Return a grid in which each step costs `cost` until one absorbing goal is reached.

    Actions 0, 1, 2, 3 move up, right, down, left; with probability `slip` the move turns a quarter to either side (half each), and a
    move into the border stays.  State `row * columns + column`; the goal is absorbing and free; the start is state 0.

    Parameters
    ----------
    rows, columns : int
        Size of the grid; square by default.
    slip : float
        Probability of a sideways move, in [0, 1].
    cost : float
        Cost of each step outside the goal.
    goal : int, optional
        State of the goal; by default the last one, the far corner.
    discount : float or None
        Discount in (0, 1], or None.

    Returns
    -------
    TabularMDP
        Sparse, at most 12 nonzero probabilities a state.  Without slip the optimal value at distance k (in steps) from the goal is
        `-cost * (1 - discount**k) / (1 - discount)`.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: ours.

    Examples
    --------
    >>> gridworld(3, slip=0.0).n_states
    9
    """
    columns = rows if columns is None else columns
    require_integer("rows", rows)
    require_integer("columns", columns)
    require_between("slip", slip, 0.0, 1.0)
    require_finite("cost", cost)
    states = rows * columns
    goal = states - 1 if goal is None else goal
    require_integer_between("goal", goal, 0, states - 1)
    from scipy.sparse import csr_array

    from mdps.models import TabularMDP

    cell = np.arange(states, dtype=np.int32)
    row, column = np.divmod(cell, np.int32(columns))
    moves = [
        np.where(row > 0, cell - columns, cell),
        np.where(column < columns - 1, cell + 1, cell),
        np.where(row < rows - 1, cell + columns, cell),
        np.where(column > 0, cell - 1, cell),
    ]
    indices = np.empty((states, 4, 3), dtype=np.int32)
    for action in range(4):
        for place, turn in enumerate((0, 1, 3)):
            indices[:, action, place] = moves[(action + turn) % 4]
    indices[goal] = goal
    data = np.empty((states, 4, 3))
    data[:] = 1.0 - slip, slip / 2, slip / 2
    data[goal] = 1.0, 0.0, 0.0
    pointers = np.arange(4 * states + 1, dtype=np.int32) * np.int32(3)
    transition = csr_array((data.reshape(-1), indices.reshape(-1), pointers), shape=(4 * states, states))
    transition.sum_duplicates()
    transition.eliminate_zeros()
    reward = np.full((states, 4), -float(cost))
    reward[goal] = 0.0
    initial = np.zeros(states)
    initial[0] = 1.0
    return TabularMDP(transition, reward, discount=discount, initial=initial)


def forest(
    states: int = 3,
    *,
    old_reward: float = 4.0,
    cut_reward: float = 2.0,
    fire: float = 0.1,
    discount: float | None = 0.9,
) -> TabularMDP:
    """Return the forest management model: the age of a forest, with action 0 = wait and action 1 = cut.

    Waiting ages the forest by one class unless a fire (probability `fire`) resets it to age 0.  Waiting in the oldest class pays
    `old_reward`; cutting pays 0 at age 0, `cut_reward` in the oldest class and 1 between, and resets the age.

    Parameters
    ----------
    states : int
        Number of age classes, at least 2.
    old_reward, cut_reward : float
        Rewards in the oldest class for waiting and for cutting.
    fire : float
        Probability of a fire in a year, in [0, 1].
    discount : float or None
        Discount in (0, 1], or None.

    Returns
    -------
    TabularMDP
        Sparse from 100 classes on.  The gain of always waiting is `old_reward * (1 - fire)**(states - 1)`.  With the defaults waiting
        is optimal and the values are exactly 26.244, 29.484 and 33.484.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: the forest example of the MDP toolbox.

    Examples
    --------
    >>> forest(4).expected_reward[3].tolist()
    [4.0, 2.0]
    """
    require_integer("states", states, minimum=2)
    require_finite("old_reward", old_reward)
    require_finite("cut_reward", cut_reward)
    require_between("fire", fire, 0.0, 1.0)
    from mdps.models import TabularMDP

    older = np.minimum(np.arange(states) + 1, states - 1)
    reward = np.zeros((states, 2))
    reward[:, 1] = 1.0
    reward[0, 1] = 0.0
    reward[-1] = old_reward, cut_reward
    if states < 100:
        transition = np.zeros((states, 2, states))
        transition[np.arange(states), 0, older] = 1.0 - fire
        transition[:, 0, 0] += fire
        transition[:, 1, 0] = 1.0
        return TabularMDP(transition, reward, discount=discount)
    from scipy.sparse import csr_array

    indices = np.zeros((states, 3), dtype=np.int32)
    indices[:, 1] = older
    data = np.empty((states, 3))
    data[:] = fire, 1.0 - fire, 1.0
    pointers = np.empty(2 * states + 1, dtype=np.int32)
    pointers[0::2] = 3 * np.arange(states + 1, dtype=np.int32)
    pointers[1::2] = pointers[:-1:2] + 2
    sparse = csr_array((data.reshape(-1), indices.reshape(-1), pointers), shape=(2 * states, states))
    sparse.eliminate_zeros()
    return TabularMDP(sparse, reward, discount=discount)
