"""Small average-reward models that a solver or a bound must get exactly right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from mdps._validate import require_between, require_finite, require_integer_between

if TYPE_CHECKING:
    from mdps.models import TabularMDP

__all__ = ["gamble", "hard_mixture", "two_loops"]

_LARGEST_CUBE = 20
"""`hard_mixture` has 2^dimension actions."""


def two_loops(*, stay: tuple[float, float] = (1.0, 1.0), move: float = 0.0, linked: bool = True, discount: float | None = None) -> TabularMDP:
    """Return two states, each with a loop (action 0) and a move to the other one (action 1).

    With equal loops the gain is that of a loop and both loops are optimal recurrent classes, so that the span is not unique: with the
    defaults every bias with a difference of at most 1 between the states solves the optimality equation.

    Parameters
    ----------
    stay : tuple of float
        Reward of the loop at each state.
    move : float
        Reward of moving.
    linked : bool
        With False, action 1 loops too (with reward `move`): the states never meet, and the model is multichain.
    discount : float or None
        None (the default) for the average-reward model.

    Returns
    -------
    TabularMDP
        Two states, two actions.

    Raises
    ------
    ValueError
        If a reward is not finite.

    Source: loop_agec, edge cases.

    Examples
    --------
    >>> two_loops().expected_reward.tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    require_finite("move", move)
    if len(stay) != 2:
        raise ValueError(f"stay must hold two rewards, got {len(stay)}")
    for value in stay:
        require_finite("stay", value)
    from mdps.models import TabularMDP

    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0] = transition[1, 0, 1] = 1.0
    transition[0, 1, int(linked)] = transition[1, 1, 1 - int(linked)] = 1.0
    return TabularMDP(transition, np.array([[stay[0], move], [stay[1], move]]), discount=discount)


def hard_mixture(dimension: int, diameter: float, gap: float, *, signs: Sequence[int] | None = None, discount: float | None = None) -> TabularMDP:
    """Return the two-state instance behind the lower bound for linear mixtures.

    The 2^dimension actions are the sign vectors a, in lexicographic order from (-1, ..., -1) to (1, ..., 1).  State 0 (no reward)
    moves to state 1 with probability `1/D + <a, theta>`, where theta = gap / dimension times the hidden signs; state 1 (reward 1)
    returns with probability 1/D under every action.

    Parameters
    ----------
    dimension : int
        Length of the sign vectors, 1 to 20.
    diameter : float
        D, above 1.
    gap : float
        Total advantage of the best action, in [0, 1/D], with 1/D + gap <= 1.
    signs : sequence of int, optional
        The hidden signs; all +1 by default.
    discount : float or None
        None (the default) for the average-reward model.

    Returns
    -------
    TabularMDP
        Gain (1/D + gap) / (2/D + gap), span 1 / (2/D + gap) and diameter D, exactly.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: loop_agec, hard linear-mixture family.

    Examples
    --------
    >>> hard_mixture(3, 10.0, 0.06).n_actions
    8
    """
    require_integer_between("dimension", dimension, 1, _LARGEST_CUBE)
    require_between("diameter", diameter, 1.0, math.inf, open_low=True)
    require_between("gap", gap, 0.0, min(1.0 / diameter, 1.0 - 1.0 / diameter))
    hidden = np.ones(dimension) if signs is None else np.asarray(signs, dtype=np.float64)
    if hidden.shape != (dimension,) or not np.isin(hidden, (-1.0, 1.0)).all():
        raise ValueError(f"signs must be {dimension} values of -1 or 1, got {signs!r}")
    from mdps.models import TabularMDP

    agreement = np.array(list(product((-1.0, 1.0), repeat=dimension))) @ hidden / dimension
    transition = np.empty((2, len(agreement), 2))
    # agreement is at most 1 in size, and the edge gap = 1/D must not round below zero
    transition[0, :, 1] = np.maximum(1.0 / diameter + gap * agreement, 0.0)
    transition[0, :, 0] = 1.0 - transition[0, :, 1]
    transition[1, :, 0] = 1.0 / diameter
    transition[1, :, 1] = 1.0 - 1.0 / diameter
    reward = np.zeros((2, len(agreement)))
    reward[1] = 1.0
    return TabularMDP(transition, reward, discount=discount)


def gamble(span: float, *, discount: float | None = None) -> TabularMDP:
    """Return a fair gamble whose outcome lasts: gain exactly 1/2 and any span from 1 on.

    State 0 pays 1/2 and moves with probability 1/2 to state 1 (pays 1) or state 2 (pays 0); each of those is left for state 0 with
    probability 1/span.

    Parameters
    ----------
    span : float
        The span of the bias, at least 1.
    discount : float or None
        None (the default) for the average-reward model.

    Returns
    -------
    TabularMDP
        One action.  Gain 1/2; bias (0, span/2, -span/2) up to a constant.

    Raises
    ------
    ValueError
        If `span` is below 1 or not finite.

    Source: loop_agec, G12.

    Examples
    --------
    >>> gamble(4.0).expected_reward[:, 0].tolist()
    [0.5, 1.0, 0.0]
    """
    require_between("span", span, 1.0, math.inf)
    from mdps.models import TabularMDP

    leave = 1.0 / span
    kernel = np.array([[0.0, 0.5, 0.5], [leave, 1.0 - leave, 0.0], [leave, 0.0, 1.0 - leave]])
    return TabularMDP(kernel[:, None, :], np.array([[0.5], [1.0], [0.0]]), discount=discount)
