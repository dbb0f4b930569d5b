"""Small games in which the worst adversary is computed exactly, to hold certificates against.

A game is a finite-horizon decision problem with scalar observations and a policy that maps the noisy observation to an action by
thresholds, so that action probabilities are differences of Phi.  `worst_case_value` solves the adaptive adversary by dynamic programming
over (step, state, remaining squared budget).  Its budget moves on a grid, so the value is that of a feasible adversary: never below the
truth, and a certificate above it is wrong.

Source: policy_smoothing, checks of G2, G3, G5 and G7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from certify._validate import require_integer_at_least, require_positive, require_real

__all__ = ["Game", "StaticAttack", "best_static", "clean_return_law", "static_value", "worst_case_by_start", "worst_case_per_step", "worst_case_value"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """A finite game with T steps, S states and at most A actions.

    Parameters
    ----------
    observation : array of shape (T, S)
        Clean observation at each step and state.
    breaks : array of shape (T, S, A - 1)
        Increasing thresholds of the policy: action number = count of thresholds below the noisy observation; infinite where unused.
    transition : array of shape (T, S, A, S)
        Probabilities of the next state.
    reward : array of shape (T, S, A)
        Reward of the step.
    final : array of shape (S,)
        Reward of the last state.
    start : array of shape (S,)
        Probabilities of the first state.
    sigma : float
        Noise scale.

    Raises
    ------
    ValueError
        If shapes do not fit or probabilities are no laws.
    """

    observation: FloatArray
    breaks: FloatArray
    transition: FloatArray
    reward: FloatArray
    final: FloatArray
    start: FloatArray
    sigma: float

    def __post_init__(self) -> None:
        for name in ("observation", "breaks", "transition", "reward", "final", "start"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        require_positive("sigma", self.sigma)
        if self.transition.ndim != 4:
            raise ValueError(f"transition must have shape (T, S, A, S), got {self.transition.shape}")
        steps, states, actions, _ = self.transition.shape
        expected = {
            "observation": (steps, states),
            "breaks": (steps, states, actions - 1),
            "transition": (steps, states, actions, states),
            "reward": (steps, states, actions),
            "final": (states,),
            "start": (states,),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
            if np.isnan(array).any():
                raise ValueError(f"{name} must hold numbers, got nan")
        for name in ("transition", "start"):
            array = getattr(self, name)
            if array.min() < 0 or np.abs(array.sum(axis=-1) - 1.0).max() > 1e-9:
                raise ValueError(f"{name} must hold probabilities that sum to 1 within 1e-9")
        if self.breaks.shape[2] > 1 and np.any(self.breaks[..., 1:] < self.breaks[..., :-1]):
            raise ValueError("breaks must be increasing along the last axis")

    @property
    def steps(self) -> int:
        """Number T of steps."""
        return int(self.transition.shape[0])

    def action_probabilities(self, step: int, state: int, shift: FloatArray) -> FloatArray:
        """Return P(action | observation + shift) for every shift, shape (len(shift), A)."""
        from scipy.special import ndtr

        z = (self.breaks[step, state][None, :] - self.observation[step, state] - np.asarray(shift)[:, None]) / self.sigma
        below = np.concatenate([np.zeros((z.shape[0], 1)), ndtr(z), np.ones((z.shape[0], 1))], axis=1)
        above = np.concatenate([np.ones((z.shape[0], 1)), ndtr(-z), np.zeros((z.shape[0], 1))], axis=1)
        return np.asarray(np.where(below[:, 1:] <= 0.5, below[:, 1:] - below[:, :-1], above[:, :-1] - above[:, 1:]))


def worst_case_value(game: Game, budget: float, *, grid: int = 200) -> float:
    """Return the mean return under the worst adaptive adversary whose squared budget moves on a grid.

    Parameters
    ----------
    game : Game
        The game.
    budget : float
        Total l2 budget B, not negative.
    grid : int
        Number N of equal parts of B^2; the cost is of order T S A N^2.

    Returns
    -------
    float
        A mean return that an adversary of budget B reaches: an upper bound of the true worst case, falling to it as the grid refines.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G2 and G5.

    Examples
    --------
    >>> from certify.smoothing.families import fork_game
    >>> round(worst_case_value(fork_game(2, p=0.9), 1.0, grid=100), 12)
    0.610856308355
    """
    return float(game.start @ _backward(game, budget, grid)[:, -1])


def worst_case_by_start(game: Game, budget: float, *, grid: int = 200) -> FloatArray:
    """Return what `worst_case_value` returns for each first state, shape (S,).

    Parameters
    ----------
    game : Game
        The finite game.
    budget : float
        Total l2 budget of the adversary, not negative.
    grid : int
        Parts into which the squared budget is divided.

    Source: policy_smoothing, G2b.

    Examples
    --------
    >>> from certify.smoothing.families import corridor_game
    >>> worst_case_by_start(corridor_game(), 0.0, grid=1).round(6).tolist()
    [4.098411, 4.39055, 4.098411, 0.0]
    """
    return _backward(game, budget, grid)[:, -1]


def worst_case_per_step(game: Game, step_budget: float, *, grid: int = 64) -> float:
    """Return the mean return under the worst adaptive adversary whose every perturbation has size at most `step_budget`.

    Parameters
    ----------
    game : Game
        The game.
    step_budget : float
        Largest size e of a perturbation.
    grid : int
        Number of equally spaced sizes tried on each side.

    Returns
    -------
    float
        A mean return that such an adversary reaches.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G7.

    Examples
    --------
    >>> from certify.smoothing.families import corridor_game
    >>> round(worst_case_per_step(corridor_game(), 0.3), 6)
    4.090692
    """
    require_integer_at_least("grid", grid, 1)
    if require_real("step_budget", step_budget) < 0:
        raise ValueError(f"step_budget must not be negative, got {step_budget}")
    shift = float(step_budget) * np.arange(-grid, grid + 1) / grid
    value = game.final
    for t in range(game.steps - 1, -1, -1):
        ahead = game.reward[t] + game.transition[t] @ value
        value = np.array([(game.action_probabilities(t, s, shift) @ ahead[s]).min() for s in range(ahead.shape[0])])
    return float(game.start @ value)


def _backward(game: Game, budget: float, grid: int) -> FloatArray:
    """Return the values of the first step, shape (S, N + 1), the last axis being the remaining squared budget."""
    amount = require_real("budget", budget)
    if amount < 0:
        raise ValueError(f"budget must not be negative, got {budget}")
    require_integer_at_least("grid", grid, 1)
    steps, states, actions, _ = game.transition.shape
    spend = amount * np.sqrt(np.arange(grid + 1) / grid)
    value = np.repeat(game.final[:, None], grid + 1, axis=1)
    for t in range(steps - 1, -1, -1):
        following = np.empty_like(value)
        for s in range(states):
            ahead = game.reward[t, s][:, None] + game.transition[t, s] @ value
            if np.all(ahead == ahead[:1]):
                following[s] = ahead[0]
                continue
            padded = np.concatenate([np.full((actions, grid), np.inf), ahead], axis=1)
            windows = [sliding_window_view(padded[a], grid + 1)[:, ::-1] for a in range(actions)]
            best = np.full(grid + 1, np.inf)
            for sign in (1.0, -1.0):
                odds = game.action_probabilities(t, s, sign * spend)
                total = np.zeros((grid + 1, grid + 1))
                for a in range(actions):
                    if np.any(odds[:, a] > 0.0):
                        with np.errstate(invalid="ignore"):
                            total += odds[None, :, a] * windows[a]
                best = np.minimum(best, np.nanmin(np.where(np.isnan(total), np.inf, total), axis=1))
            following[s] = best
        value = following
    return value


@dataclass(frozen=True, slots=True)
class StaticAttack:
    """A perturbation of each step chosen in advance, and the mean return that it leaves."""

    value: float
    perturbation: tuple[float, ...]


def static_value(game: Game, perturbation: Any) -> float:
    """Return the exact mean return under perturbations chosen in advance, one for each step.

    Parameters
    ----------
    game : Game
        The finite game.
    perturbation : array of shape (T,)
        Perturbation of the observation at each step.

    Raises
    ------
    ValueError
        If its length is not the number of steps.

    Source: policy_smoothing, G3.

    Examples
    --------
    >>> from certify.smoothing.families import fork_game
    >>> round(static_value(fork_game(2, p=0.9), [0.0, 0.0, 0.0]), 12)
    0.9
    """
    delta = np.asarray(perturbation, dtype=np.float64)
    if delta.shape != (game.steps,):
        raise ValueError(f"perturbation must have shape ({game.steps},), got {delta.shape}")
    value = game.final
    for t in range(game.steps - 1, -1, -1):
        ahead = game.reward[t] + game.transition[t] @ value
        value = np.array([game.action_probabilities(t, s, delta[t : t + 1])[0] @ ahead[s] for s in range(ahead.shape[0])])
    return float(game.start @ value)


def best_static(game: Game, budget: float, *, starts: int = 24, seed: int = 0) -> StaticAttack:
    """Return the strongest attack found among those chosen in advance: a weaker adversary, for controls and comparison.

    Parameters
    ----------
    game : Game
        The game.
    budget : float
        Total l2 budget B > 0.
    starts : int
        Random directions from which a local search starts, beside the axes.
    seed : int
        Seed of the starts.

    Returns
    -------
    StaticAttack
        Value and perturbations.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: policy_smoothing, G3.

    Examples
    --------
    >>> from certify.smoothing.families import fork_game
    >>> round(best_static(fork_game(2, p=0.9), 1.0).value, 9)
    0.717096669
    """
    from scipy.optimize import minimize

    require_positive("budget", budget)
    require_integer_at_least("starts", starts, 0)
    steps = game.steps
    rng = np.random.Generator(np.random.Philox(seed))
    first = [sign * row for row in np.eye(steps) for sign in (1.0, -1.0)] + list(rng.standard_normal((starts, steps)))

    def loss(direction: FloatArray) -> tuple[float, FloatArray]:
        norm = float(np.linalg.norm(direction))
        unit = direction / norm
        value, slope = _static_gradient(game, budget * unit)
        return value, budget / norm * (slope - (slope @ unit) * unit)

    best = StaticAttack(static_value(game, np.zeros(steps)), (0.0,) * steps)
    for direction in first:
        found = minimize(loss, direction + 1e-3, jac=True, method="BFGS", options={"gtol": 1e-8})
        if found.fun < best.value:
            best = StaticAttack(float(found.fun), tuple(float(x) for x in budget * found.x / np.linalg.norm(found.x)))
    return best


def _static_gradient(game: Game, delta: FloatArray) -> tuple[float, FloatArray]:
    """Return the mean return under perturbations chosen in advance and its gradient in them."""
    from scipy.special import ndtr

    z = (game.breaks - game.observation[:, :, None] - delta[:, None, None]) / game.sigma
    edges = np.pad(ndtr(z), ((0, 0), (0, 0), (1, 1)), constant_values=(0.0, 1.0))
    density = np.pad(np.exp(-0.5 * np.where(np.isfinite(z), z, 0.0) ** 2) * np.isfinite(z), ((0, 0), (0, 0), (1, 1)))
    odds = np.diff(edges, axis=2)
    slopes = -np.diff(density, axis=2) / (game.sigma * math.sqrt(2.0 * math.pi))
    ahead = np.empty_like(odds)
    value = game.final
    for t in range(game.steps - 1, -1, -1):
        ahead[t] = game.reward[t] + game.transition[t] @ value
        value = (odds[t] * ahead[t]).sum(axis=1)
    gradient = np.empty(game.steps)
    where = game.start
    for t in range(game.steps):
        gradient[t] = where @ (slopes[t] * ahead[t]).sum(axis=1)
        where = np.einsum("s,sa,saz->z", where, odds[t], game.transition[t])
    return float(game.start @ value), gradient


def clean_return_law(game: Game) -> tuple[FloatArray, FloatArray]:
    """Return the law of the total return without attack: values in increasing order and their probabilities.

    Returns that differ by less than 1e-9 count as one.

    Parameters
    ----------
    game : Game
        The finite game.

    Source: policy_smoothing, G5.

    Examples
    --------
    >>> from certify.smoothing.families import fork_game
    >>> values, probabilities = clean_return_law(fork_game(2, p=0.9))
    >>> values.tolist(), probabilities.round(12).tolist()
    ([0.0, 1.0], [0.1, 0.9])
    """
    steps, states, actions, _ = game.transition.shape
    laws: list[dict[float, float]] = [{0.0: float(p)} if p > 0 else {} for p in game.start]
    for t in range(steps):
        following: list[dict[float, float]] = [{} for _ in range(states)]
        for s in range(states):
            if not laws[s]:
                continue
            odds = game.action_probabilities(t, s, np.zeros(1))[0]
            for a in range(actions):
                for arrival in np.flatnonzero(game.transition[t, s, a]):
                    weight = float(odds[a] * game.transition[t, s, a, arrival])
                    for total, mass in laws[s].items():
                        key = round(total + float(game.reward[t, s, a]), 9)
                        following[arrival][key] = following[arrival].get(key, 0.0) + mass * weight
        laws = following
    merged: dict[float, float] = {}
    for s in range(states):
        for total, mass in laws[s].items():
            key = round(total + float(game.final[s]), 9)
            merged[key] = merged.get(key, 0.0) + mass
    values = np.array(sorted(merged))
    probabilities = np.array([merged[v] for v in values])
    return values, probabilities / probabilities.sum()
