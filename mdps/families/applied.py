"""The benchmark models of the robust offline literature: a simulated linear MDP and an American put."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from mdps._validate import require_between, require_integer, require_positive

if TYPE_CHECKING:
    from mdps.models import FiniteHorizonMDP, LinearMDP

__all__ = ["PUT_START", "american_put", "simulated_linear_mdp"]

PUT_START = 99.17022004702574
"""The start price of the published option experiment."""


def simulated_linear_mdp(
    xi_norm: float = 0.2,
    *,
    target: float | None = None,
    leak: float = 0.001,
    base: float = 0.3,
    horizon: int = 3,
    distinct: bool = False,
) -> LinearMDP:
    """Return the simulated linear MDP: five states, sixteen actions in {-1, 1}^4, four features.

    With t = xi_norm * mean(a), the features of states 0, 1, 2 are (1 - base - t) e_j + (base + t) e_4; state 3 (the fail state) has
    e_3 and state 4 (the goal) e_4.  Factor 1 goes to state 1 and factor 2 to state 2, each leaking to the fail state with
    probability `leak`; factor 3 goes to the fail state, factor 4 to the goal.  The reward is the fourth feature from step 2 on.

    Parameters
    ----------
    xi_norm : float
        Strength of the actions, in [0, min(base, 1 - base)].
    target : float, optional
        Perturbation q in [0, 1] of the target environment: in step 1, factor 1 no longer leaks and factor 4 reaches the goal with
        probability 1 - q only, the fail state otherwise.  By default the nominal model.
    leak : float
        Probability of the leak, in [0, 1].
    base : float
        Weight of the fourth feature under a neutral action, in (0, 1).
    horizon : int
        Number of steps, at least 2.
    distinct : bool
        Only the five actions that differ, by mean(a) = -1, -1/2, 0, 1/2, 1.

    Returns
    -------
    LinearMDP
        Starts in state 0.  For xi_norm 0.2 the target returns 1.624875 - q to all-plus actions and 1.324775 - 0.2 q to all-minus
        first and all-plus after (crossing at q = 0.375); the optimal nominal return is 1.624250125.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: r2pvi, figures.

    Examples
    --------
    >>> simulated_linear_mdp(0.2).features.shape
    (5, 16, 4)
    """
    require_between("base", base, 0.0, 1.0)
    require_between("xi_norm", xi_norm, 0.0, min(base, 1.0 - base))
    require_between("leak", leak, 0.0, 1.0)
    require_integer("horizon", horizon, minimum=2)
    if target is not None:
        require_between("target", target, 0.0, 1.0)
    from mdps.models import LinearMDP

    means = np.linspace(-1.0, 1.0, 5) if distinct else np.array(list(product((-1.0, 1.0), repeat=4))).mean(axis=1)
    forward = base + xi_norm * means
    features = np.zeros((5, means.size, 4))
    for state in range(3):
        features[state, :, state] += 1.0 - forward
        features[state, :, 3] += forward
    features[3, :, 2] = 1.0
    features[4, :, 3] = 1.0
    factors = np.zeros((horizon, 4, 5))
    factors[:, 0, [1, 3]] = 1.0 - leak, leak
    factors[:, 1, [2, 3]] = 1.0 - leak, leak
    factors[:, 2, 3] = 1.0
    factors[:, 3, 4] = 1.0
    if target is not None:
        factors[0, 0, [1, 3]] = 1.0, 0.0
        factors[0, 3, [4, 3]] = 1.0 - target, target
    weights = np.zeros((horizon, 4))
    weights[1:, 3] = 1.0
    return LinearMDP(features, factors, weights, horizon=horizon, initial=np.eye(5)[0])


def american_put(
    *,
    strike: float = 100.0,
    start: float = PUT_START,
    up: float = 1.02,
    down: float = 0.98,
    probability: float = 0.5,
    horizon: int = 20,
) -> FiniteHorizonMDP:
    """Return an American put on the recombining lattice of its price.

    State i < horizon + 1 at step h is the price `start * up**i * down**(h - i)`; the last state is the exercised option.  Action 0
    holds (the price moves up with `probability`), action 1 exercises for `max(0, strike - price)`.  Decisions are taken at steps
    0, ..., horizon - 1; nothing is paid after.

    Parameters
    ----------
    strike, start : float
        Strike and start price, positive.
    up, down : float
        Factors of a move, with up > down > 0.
    probability : float
        Of a move up, in [0, 1].
    horizon : int
        Number of decisions, at least 1.

    Returns
    -------
    FiniteHorizonMDP
        `horizon + 2` states, 2 actions, rewards that depend on the step.  With the defaults the optimal value at the start is
        3.905400.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Source: r2pvi, figures.

    Examples
    --------
    >>> american_put(horizon=3).n_states
    5
    """
    require_integer("horizon", horizon)
    for name, value in (("strike", strike), ("start", start), ("down", down)):
        require_positive(name, value)
    require_between("up", up, down, math.inf, open_low=True)
    require_between("probability", probability, 0.0, 1.0)
    from mdps.models import FiniteHorizonMDP

    nodes = horizon + 1
    exercised = nodes
    transition = np.zeros((nodes + 1, 2, nodes + 1))
    for i in range(nodes):
        transition[i, 0, min(i + 1, nodes - 1)] += probability
        transition[i, 0, i] += 1.0 - probability
        transition[i, 1, exercised] = 1.0
    transition[exercised, :, exercised] = 1.0
    step, ups = np.arange(horizon)[:, None], np.arange(nodes)[None, :]
    price = start * up ** ups.astype(np.float64) * down ** (step - ups).astype(np.float64)
    reward = np.zeros((horizon, nodes + 1, 2))
    # a node with more moves up than steps is never reached; its payoff is set to zero rather than to that of a price nobody sees
    reward[:, :nodes, 1] = np.where(ups <= step, np.maximum(strike - price, 0.0), 0.0)
    initial = np.zeros(nodes + 1)
    initial[0] = 1.0
    return FiniteHorizonMDP(transition, reward, horizon=horizon, initial=initial)
