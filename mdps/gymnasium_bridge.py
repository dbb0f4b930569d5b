"""Models from Gymnasium environments that carry their own transition table, such as FrozenLake, Taxi and CliffWalking.

A transition that the table flags as terminated leads to one extra absorbing state, appended last, whatever state it names: the
table's own successor may not be absorbing (CliffWalking's goal is not).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdps._errors import ModelError, NegativeProbability
from mdps._validate import require_discount, require_integer
from mdps.models import FiniteHorizonMDP, TabularMDP

__all__ = ["from_gymnasium"]

FloatArray = NDArray[np.float64]


def from_gymnasium(env: Any, *, discount: float | None = None, horizon: int | None = None) -> TabularMDP | FiniteHorizonMDP:
    """Return the exact model of an environment with a transition table `P`.

    Parameters
    ----------
    env : gymnasium.Env or str
        An environment, or the id of one (`"FrozenLake-v1"`); wrappers are looked through, and an environment made here is closed.
    discount : float in (0, 1], optional
        Discount of the model.
    horizon : int, optional
        Number of steps, for a finite-horizon model.

    Returns
    -------
    TabularMDP or FiniteHorizonMDP
        With the environment's initial distribution (where it has one) and sparse rows; the state after the last one of the table is
        absorbing, without reward, and collects every transition flagged as terminated (absent if there is none).

    Raises
    ------
    ModelError
        If the environment has no table, the table is broken (the message names state and action), the id is unknown, or both discount
        and horizon are given.

    Examples
    --------
    >>> model = from_gymnasium("FrozenLake-v1", discount=0.99)
    >>> model.n_states, model.n_actions
    (17, 4)
    """
    if discount is not None and horizon is not None:
        raise ModelError(f"discount and horizon exclude each other, got discount={discount!r} and horizon={horizon!r}")
    if discount is not None:
        require_discount(discount)
    if horizon is not None:
        require_integer("horizon", horizon)
    made = isinstance(env, str)
    if isinstance(env, str):
        env = _make(env)
    try:
        base = getattr(env, "unwrapped", env)
        table = getattr(base, "P", None)
        if not isinstance(table, Mapping) or not table:
            raise ModelError(
                f"env must carry a transition table P (as the Toy Text environments do), got {type(base).__name__} without one; "
                "build a TabularMDP from your own arrays instead"
            )
        transition, reward, states, ends = _read(table)
        initial = _initial(base, states, ends)
    finally:
        if made:
            env.close()
    if horizon is not None:
        return FiniteHorizonMDP(transition, reward, horizon=horizon, initial=initial)
    return TabularMDP(transition, reward, discount=discount, initial=initial)


def _make(name: str) -> Any:
    import gymnasium

    try:
        return gymnasium.make(name)
    except gymnasium.error.Error as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"env must be an environment or a registered id, got {name!r}: {reason}") from None


def _read(table: Mapping[Any, Any]) -> tuple[Any, FloatArray, int, bool]:
    """Return the stacked sparse kernel, the expected rewards, the number of states of the table and whether anything terminates."""
    from scipy.sparse import csr_array

    states, actions = len(table), 0
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    earned: list[float] = []
    for s in range(states):
        if s not in table:
            raise ModelError(f"env.P must have the states 0..{states - 1}, got no entry for state {s}")
        actions = actions or len(table[s])
        if len(table[s]) != actions or any(a not in table[s] for a in range(actions)):
            raise ModelError(f"env.P must have the actions 0..{actions - 1} in every state, got {list(table[s])} in state {s}")
        for a in range(actions):
            for entry in table[s][a]:
                try:
                    p, successor, reward, terminated = entry
                    p, successor, reward = float(p), int(successor), float(reward)
                except (TypeError, ValueError):
                    raise ModelError(
                        f"env.P of state {s}, action {a} must hold (probability, next state, reward, terminated), got {entry!r}"
                    ) from None
                if not 0 <= successor < states:
                    raise ModelError(f"env.P of state {s}, action {a} names the next state {successor}; allowed is 0..{states - 1}")
                if p < 0:  # two entries of one successor could hide it in their sum
                    raise NegativeProbability(s, a, successor, p)
                rows.append(s * actions + a)
                columns.append(states if terminated else successor)
                values.append(p)
                earned.append(p * reward)
    ends = states in columns
    size = states + int(ends)
    if ends:
        rows += [states * actions + a for a in range(actions)]
        columns += [states] * actions
        values += [1.0] * actions
        earned += [0.0] * actions
    transition = csr_array((values, (rows, columns)), shape=(size * actions, size))
    totals = np.bincount(rows, weights=np.array(values), minlength=size * actions)
    # a row within rounding of 1 stands for its renormalisation, and so does its reward
    reward = np.bincount(rows, weights=np.array(earned, dtype=np.float64), minlength=size * actions) / np.where(totals > 0, totals, 1.0)
    return transition, reward.reshape(size, actions), states, ends


def _initial(base: Any, states: int, ends: bool) -> FloatArray | None:
    """Return the environment's initial distribution with nothing on the appended state, or None where it keeps none."""
    given = getattr(base, "initial_state_distrib", None)
    if given is None:
        return None
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (states,):
        raise ModelError(f"env.initial_state_distrib must have shape ({states},), got {weights.shape}")
    return np.append(weights, 0.0) if ends else weights
