"""UCRL2 on tabular models, and its planning step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from verify._validate import require_choice
from verify.simulators.run import Common, Progress, RegretRun, collect

if TYPE_CHECKING:
    from mdps import TabularMDP

__all__ = ["MAX_SWEEPS", "average_model", "optimistic_policy", "ucrl2"]

FloatArray = NDArray[np.float64]

MAX_SWEEPS = 1_000_000


def ucrl2(
    mdp: TabularMDP,
    *,
    steps: float,
    seeds: int | Sequence[int],
    seed: int = 0,
    delta: float = 0.05,
    rewards: str = "bernoulli",
    state_factor: bool = True,
    checkpoints: ArrayLike | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RegretRun:
    """Run UCRL2 with its published constants.

    Parameters
    ----------
    mdp : TabularMDP
        Weakly communicating, rewards in [0, 1]; the first state is that of `mdp.initial`'s largest entry, or 0.
    steps : int
        T.
    seeds : int or sequence of int
        Number of replicates, or their numbers.
    seed : int
        Root of the streams.
    delta : float
        Failure probability of the confidence set, in (0, 1).
    rewards : str
        "bernoulli": a reward is 1 with probability r(s, a); "deterministic": it is r(s, a).
    state_factor : bool
        False leaves the factor S out of the transition width, a defect found in public code; for controls.
    checkpoints : array of int, optional
        Steps at which the regret is recorded; a geometric grid when omitted.
    jobs : int, optional
        Threads; all cores when omitted.  The result does not depend on it.
    progress : callable, optional
        Called with (finished replicates, all replicates).

    Returns
    -------
    RegretRun
        Diagnostics: `episodes`; per episode `episode_start` and `optimism` (optimistic gain minus (J* - 1/sqrt t), not negative while
        the truth is in the confidence set); `confidence_ratio` and `reward_ratio`, the largest deviation of the estimate from the truth
        over all episodes and pairs in units of its width; `confidence_event`, whether both stayed within 1; `sweeps`; `unfinished`
        (episodes whose planning met the sweep limit).

    Raises
    ------
    ValueError
        If the model is multichain, a reward is outside [0, 1], or an option is out of range.

    Notes
    -----
    Source: loop_agec/G14 (Jaksch, Ortner and Auer 2010).
    """
    common = Common.of(steps, seeds, seed, delta, checkpoints, jobs, progress)
    require_choice("rewards", rewards, ("bernoulli", "deterministic"))
    if not isinstance(state_factor, (bool, np.bool_)):
        raise ValueError(f"state_factor must be True or False, got {state_factor!r}")
    transition, reward, gain, start = average_model(mdp, low=0.0)
    from verify.simulators import _kernels_ucrl2 as kernels

    states, actions = reward.shape
    cumulative = np.cumsum(transition, axis=2)
    factor = float(states) if state_factor else 1.0
    most = states * actions * (2 + common.steps.bit_length()) + 1

    def task(key: NDArray[np.uint64]) -> tuple[FloatArray, NDArray[np.int64], dict[str, Any]]:
        regret, switches = np.zeros(common.checkpoints.size), np.zeros(common.checkpoints.size, dtype=np.int64)
        begun, optimistic, ratio = np.zeros(most, dtype=np.int64), np.zeros(most), np.zeros((most, 2))
        totals = np.zeros(2, dtype=np.int64)
        n = kernels.ucrl2(
            transition, cumulative, reward, gain, rewards == "bernoulli", start, key, common.steps, common.delta, factor, MAX_SWEEPS,
            common.checkpoints, regret, switches, begun, optimistic, ratio, totals,
        )
        worst = ratio[:n].max(axis=0)
        return regret, switches, {
            "episodes": np.int64(n),
            "episode_start": begun[:n],
            "optimism": optimistic[:n] - (gain - 1.0 / np.sqrt(begun[:n])),
            "confidence_ratio": worst[0],
            "reward_ratio": worst[1],
            "confidence_event": np.bool_(worst.max() <= 1.0),
            "sweeps": totals[0],
            "unfinished": totals[1],
        }

    options = {"rewards": rewards, "state_factor": state_factor}
    return collect(common, common.map(task), algorithm="ucrl2", instance=describe(mdp), gain=gain, options=options)


def optimistic_policy(
    estimate: FloatArray, rewards: FloatArray, widths: FloatArray, *, tolerance: float
) -> tuple[NDArray[np.int64], float, float]:
    """Plan optimistically: extended value iteration over all kernels within an L1 distance of the estimate.

    Parameters
    ----------
    estimate : array, shape (S, A, S)
        Estimated kernel.
    rewards : array, shape (S, A)
        Optimistic rewards.
    widths : array, shape (S, A)
        L1 radii.
    tolerance : float
        Stop when the increments of a sweep differ by less, positive.

    Returns
    -------
    tuple
        Policy (S,), and the least and largest increment of the last sweep, which enclose the optimistic gain.

    Raises
    ------
    ValueError
        If `tolerance` is not positive.

    Notes
    -----
    Source: loop_agec/G14.
    """
    if not tolerance > 0.0:
        raise ValueError(f"tolerance must be positive, got {tolerance!r}")
    from verify.simulators import _kernels_ucrl2 as kernels

    policy = np.zeros(rewards.shape[0], dtype=np.int64)
    low, high, _ = kernels.extended_value_iteration(estimate, rewards, widths, tolerance, MAX_SWEEPS, policy)
    return policy, float(low), float(high)


def average_model(mdp: TabularMDP, *, low: float) -> tuple[FloatArray, FloatArray, float, int]:
    """Return (P, r, J*, first state) of a model whose rewards lie in [low, 1]; refuse others and multichain ones."""
    import mdps

    if not isinstance(mdp, mdps.TabularMDP):
        raise ValueError(f"mdp must be a TabularMDP, got {type(mdp).__name__}")
    if mdp.action_mask is not None and not mdp.action_mask.all():
        raise ValueError("mdp must allow every action in every state")
    reward = np.ascontiguousarray(mdp.expected_reward)
    outside = (reward < low) | (reward > 1.0)
    if outside.any():
        s, a = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(f"rewards must be in [{low:g}, 1], got {float(reward[s, a])!r} at state {s}, action {a}")
    gain = mdps.solve(mdp, criterion="average", tolerance=1e-10).gain
    assert gain is not None
    start = 0 if mdp.initial is None else int(np.argmax(mdp.initial))
    return np.ascontiguousarray(mdp.dense()), reward, float(gain), start


def describe(mdp: TabularMDP) -> str:
    """Return a short description of a model."""
    return f"{mdp.n_states} states, {mdp.n_actions} actions"
