"""Families of small games for `worst_case_value`: the fork game, the corridor game and random games.

Source: policy_smoothing, checks of G2, G3, G5 and G7.
"""

from __future__ import annotations

import numpy as np

from certify._validate import require_integer_at_least, require_open_unit, require_positive, require_real
from certify.smoothing.games import Game

__all__ = ["corridor_game", "fork_game", "random_game"]


def fork_game(branches: int = 2, *, p: float = 0.9, sigma: float = 1.0) -> Game:
    """Return the fork game: the first noisy observation picks a branch, and only the step of that branch decides win or loss.

    Parameters
    ----------
    branches : int
        Number K of equally likely branches, at least 1.
    p : float
        Probability of winning without attack.
    sigma : float
        Noise scale.

    Returns
    -------
    Game
        K + 1 steps; the return is 1 for a win and 0 for a loss.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G3: the adaptive worst case is g_c(p) exactly, and every static attack is weaker for K >= 2.

    Examples
    --------
    >>> fork_game(3).steps
    4
    """
    from scipy.special import ndtri

    require_integer_at_least("branches", branches, 1)
    require_open_unit("p", p)
    steps, actions = branches + 1, max(branches, 2)
    won, lost, states = branches + 1, branches + 2, branches + 3
    observation = np.zeros((steps, states))
    breaks = np.full((steps, states, actions - 1), np.inf)
    transition = np.zeros((steps, states, actions, states))
    for s in range(states):
        transition[:, s, :, s] = 1.0
    breaks[0, 0, : branches - 1] = sigma * ndtri(np.arange(1, branches) / branches)
    transition[0, 0] = 0.0
    for k in range(actions):
        transition[0, 0, k, 1 + min(k, branches - 1)] = 1.0
    for k in range(branches):
        breaks[k + 1, k + 1, 0] = sigma * ndtri(p)
        transition[k + 1, k + 1] = 0.0
        transition[k + 1, k + 1, 0, won] = 1.0
        transition[k + 1, k + 1, 1:, lost] = 1.0
    final = np.zeros(states)
    final[won] = 1.0
    return Game(observation, breaks, transition, np.zeros((steps, states, actions)), final, np.eye(states)[0], sigma)


def corridor_game(steps: int = 5, *, half_width: int = 1, sigma: float = 1.0, slip: float = 0.0) -> Game:
    """Return the corridor game: keep an integer position inside [-L, L] for as long as possible, one reward a step.

    Parameters
    ----------
    steps : int
        Horizon T.
    half_width : int
        L >= 0.
    sigma : float
        Noise scale.
    slip : float
        Probability that a fair coin replaces the action.

    Returns
    -------
    Game
        The policy steps left of a positive noisy position and right otherwise; the step that leaves the corridor is paid too.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, check of G5 and G7.

    Examples
    --------
    >>> from certify.smoothing.games import clean_return_law
    >>> values, probabilities = clean_return_law(corridor_game())
    >>> round(float(values @ probabilities), 6)
    4.39055
    """
    require_integer_at_least("steps", steps, 1)
    require_integer_at_least("half_width", half_width, 0)
    if not 0.0 <= require_real("slip", slip) <= 1.0:
        raise ValueError(f"slip must be in [0, 1], got {slip}")
    size = 2 * half_width + 1
    out = size
    observation = np.zeros((steps, size + 1))
    observation[:, :size] = np.arange(-half_width, half_width + 1)
    breaks = np.zeros((steps, size + 1, 1))
    transition = np.zeros((steps, size + 1, 2, size + 1))
    transition[:, out, :, out] = 1.0
    for s in range(size):
        for action, step in ((0, 1), (1, -1)):
            for move in (1, -1):
                arrival = s + move if 0 <= s + move < size else out
                transition[:, s, action, arrival] += 0.5 * slip + (1.0 - slip) * (move == step)
    reward = np.zeros((steps, size + 1, 2))
    reward[:, :size] = 1.0
    return Game(observation, breaks, transition, reward, np.zeros(size + 1), np.eye(size + 1)[half_width], sigma)


def random_game(seed: int, *, steps: int, states: int, actions: int, sigma: float, rewards: bool = False) -> Game:
    """Return a random game whose return is a 0/1 event, or has step rewards 0, 1/2 and 1 besides, for tests of bounds on many games.

    Parameters
    ----------
    seed : int
        Seed of the game.
    steps, states, actions : int
        Sizes T, S, A >= 1 (A >= 2).
    sigma : float
        Noise scale.
    rewards : bool
        Add step rewards.

    Returns
    -------
    Game
        The game, with a random first state; returns are at least 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, check of G2.

    Examples
    --------
    >>> random_game(1, steps=2, states=3, actions=2, sigma=1.0).steps
    2
    """
    for name, count, least in (("steps", steps, 1), ("states", states, 1), ("actions", actions, 2)):
        require_integer_at_least(name, count, least)
    require_positive("sigma", sigma)
    rng = np.random.Generator(np.random.Philox(seed))
    transition = rng.dirichlet(np.full(states, 0.5), size=(steps, states, actions))
    return Game(
        observation=np.round(rng.normal(size=(steps, states)), 3),
        breaks=np.sort(np.round(rng.normal(size=(steps, states, actions - 1)), 3), axis=-1),
        transition=transition / transition.sum(axis=-1, keepdims=True),
        reward=np.asarray(rng.integers(0, 3, size=(steps, states, actions)) * (0.5 if rewards else 0.0), dtype=np.float64),
        final=np.asarray(np.arange(states) % 2, dtype=np.float64),
        start=rng.dirichlet(np.ones(states)),
        sigma=sigma,
    )
