"""Models of Gymnasium environments that keep the law of the reward.

`mdps.from_gymnasium` takes expectations of rewards, which is right for means and wrong for laws.  Here every transition keeps its own
reward; where one successor comes with several rewards at termination, the end is split into as many absorbing states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["environment_model"]


def environment_model(env: Any, *, discount: float | None = None, slippery: bool | None = None) -> Any:
    """Return the tabular model of an environment with a transition table, with the reward of each transition.

    Parameters
    ----------
    env : gymnasium.Env or str
        An environment with a table `P` (Toy Text), or the id of one.
    discount : float in (0, 1], optional
        Discount of the model.
    slippery : bool, optional
        The option `is_slippery` of FrozenLake and CliffWalking, for an id.

    Returns
    -------
    mdps.TabularMDP
        With the environment's initial distribution; absorbing states without reward follow the states of the table.

    Raises
    ------
    ValueError
        If the environment has no table, the id is unknown, or one successor that is not an end comes with several rewards.

    Examples
    --------
    >>> environment_model("CliffWalking-v1", discount=1.0).n_states
    49
    """
    import gymnasium

    import mdps

    made = isinstance(env, str)
    if made:
        try:
            env = gymnasium.make(env) if slippery is None else gymnasium.make(env, is_slippery=slippery)
        except TypeError:
            raise ValueError(f"slippery must be None for an environment without that option, got {slippery} for {env!r}") from None
        except gymnasium.error.Error as error:
            raise ValueError(f"env must be an environment or a registered id, got {env!r}: {str(error).splitlines()[0]}") from None
    try:
        base = getattr(env, "unwrapped", env)
        table, start = getattr(base, "P", None), getattr(base, "initial_state_distrib", None)
    finally:
        if made:
            env.close()
    if not isinstance(table, Mapping) or not table:
        raise ValueError(f"env must carry a transition table P, as the Toy Text environments do; {type(base).__name__} has none")
    S, A = len(table), len(table[0])
    entries: dict[tuple[int, int, int, float], float] = {}
    ends: dict[tuple[int, int], list[float]] = {}
    for s in range(S):
        for a in range(A):
            for p, successor, reward, terminated in table[s][a]:
                target = S if terminated else int(successor)
                key = (s, a, target, float(reward))
                entries[key] = entries.get(key, 0.0) + float(p)
                if terminated and float(reward) not in ends.setdefault((s, a), []):
                    ends[s, a].append(float(reward))
    size = S + max((len(rewards) for rewards in ends.values()), default=0)
    P, R = np.zeros((size, A, size)), np.zeros((size, A, size))
    for (s, a, target, reward), p in entries.items():
        t = S + ends[s, a].index(reward) if target == S else target
        if P[s, a, t] > 0 and p > 0:
            raise ValueError(f"env must give a transition one reward; state {s}, action {a} reaches state {t} with {R[s, a, t]:g} and {reward:g}")
        if p > 0:
            P[s, a, t], R[s, a, t] = p, reward
    for t in range(S, size):
        P[t, :, t] = 1.0
    initial = None if start is None else np.concatenate([np.asarray(start, dtype=np.float64), np.zeros(size - S)])
    return mdps.TabularMDP(P, R, discount=discount, initial=initial)
