"""Models of Gymnasium environments that keep the law of the reward.

`mdps.from_gymnasium` takes expectations of rewards, which is right for means and wrong for laws.  Here every transition keeps its own
reward; where one successor comes with several rewards, it gets as many copies, which differ in nothing else.
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
        With the environment's initial distribution.  The states of the table come first, then absorbing ones without reward that collect
        what terminates, then copies; an action for a state serves its copies as well.

    Raises
    ------
    ValueError
        If the environment has no table, the id is unknown, or `slippery` does not fit.

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
    rewards: dict[tuple[int, int, int], dict[float, float]] = {}
    for s in range(S):
        for a in range(A):
            for p, successor, reward, terminated in table[s][a]:
                if p > 0:
                    law = rewards.setdefault((s, a, S if terminated else int(successor)), {})
                    law[float(reward)] = law.get(float(reward), 0.0) + float(p)
    copies = [1] * S + [1 if any(t == S for _, _, t in rewards) else 0]
    for (_, _, t), law in rewards.items():
        copies[t] = max(copies[t], len(law))
    first = list(range(S + 1))  # the original of a state comes first, further copies follow all originals
    extra, size = {}, S + copies[S]
    for t in range(S):
        extra[t] = list(range(size, size + copies[t] - 1))
        size += copies[t] - 1
    extra[S] = list(range(S + 1, S + copies[S]))
    P, R = np.zeros((size, A, size)), np.zeros((size, A, size))
    for (s, a, t), law in rewards.items():
        for place, (reward, p) in zip([first[t], *extra[t]], sorted(law.items()), strict=False):
            P[s, a, place], R[s, a, place] = p, reward
    for t in range(S):
        for copy in extra[t]:
            P[copy], R[copy] = P[t], R[t]
    for t in range(S, S + copies[S]):
        P[t, :, t] = 1.0
    initial = None if start is None else np.concatenate([np.asarray(start, dtype=np.float64), np.zeros(size - S)])
    return mdps.TabularMDP(P, R, discount=discount, initial=initial)
