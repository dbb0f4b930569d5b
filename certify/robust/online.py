"""DR-RPO: learn a robust, policy-regularised policy by playing the nominal model, with exact suboptimality for every episode.

Each episode plans by robust ridge regression with an optimistic bonus and a softmax step, plays the policy once, and updates the
regression.  The played policy is evaluated exactly, so that the regret is accounted for without Monte Carlo.  The algorithm is a
reconstruction: only the abstract of the publication was available.

Source: dr_rpo, algorithms, G6, G7, G10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_integer_at_least, require_real
from certify.robust.evaluation import pose
from certify.robust.exact import exact_value
from mdps import LinearMDP

__all__ = ["BONUSES", "OnlineResult", "dr_rpo"]

FloatArray = NDArray[np.float64]

BONUSES = {
    "sum": "beta sum_i phi_i sqrt((Lambda^-1)_ii), which the analysis uses",
    "root": "beta sqrt(sum_i phi_i^2 (Lambda^-1)_ii), which the published code of the group uses",
}
"""Forms of the bonus."""


@dataclass(frozen=True, eq=False, repr=False)
class OnlineResult:
    """A run of the learner with exact accounts.

    Attributes
    ----------
    optimal_value : float
        V*_1 at the start.
    suboptimality : array (K,)
        V*_1 - V_1 of the policy played in each episode, exact.
    average_suboptimality : array (K,)
        Mean over the episodes so far.
    promised : array (K,)
        Optimistic estimate of V*_1 in each episode.
    policy : array (H, S, A)
        The last policy played.
    coverage : array (H,)
        Least eigenvalue of Lambda_h - ridge I over the coordinates that were visited, divided by K.
    settings : dict
        What was run.
    """

    optimal_value: float
    suboptimality: FloatArray
    average_suboptimality: FloatArray
    promised: FloatArray
    policy: FloatArray = field(repr=False)
    coverage: FloatArray
    settings: dict[str, Any]

    @property
    def value(self) -> FloatArray:
        """Exact robust value of the policy of each episode."""
        return self.optimal_value - self.suboptimality

    @property
    def optimistic(self) -> NDArray[np.bool_]:
        """Whether the estimate of each episode was at least the optimum."""
        return np.asarray(self.promised >= self.optimal_value - 1e-12)

    def slope(self, *, first: int | None = None) -> float:
        """Return the slope of log average suboptimality against log episodes from episode `first` on (a tenth of all by default).

        Raises
        ------
        ValueError
            If fewer than two episodes are left, or the suboptimality is zero.
        """
        K = self.suboptimality.size
        begin = max(1, K // 10) if first is None else require_integer_at_least("first", first, 1)
        if begin >= K:
            raise ValueError(f"first must leave two episodes of {K}, got {begin}")
        points = np.unique(np.geomspace(begin, K, 30).round().astype(int)) - 1
        averages = self.average_suboptimality[points]
        if averages.min() <= 0:
            raise ValueError("slope needs a positive average suboptimality; it is 0 here")
        return float(np.polyfit(np.log(points + 1.0), np.log(averages), 1)[0])

    def __repr__(self) -> str:
        K = self.suboptimality.size
        return f"OnlineResult({K} episodes, average suboptimality {self.average_suboptimality[-1]:.4g}, last {self.suboptimality[-1]:.4g})"


def dr_rpo(
    mdp: LinearMDP,
    *,
    divergence: str,
    episodes: int,
    ridge: float = 0.1,
    beta: float = 1.0,
    temperature: float = 0.1,
    penalty: float | None = None,
    radius: ArrayLike | None = None,
    reference: ArrayLike | None = None,
    fail_state: int | None = None,
    bonus: str = "sum",
    seed: int | np.random.SeedSequence = 0,
) -> OnlineResult:
    """Learn by playing a known linear model as if its factors were unknown.

    Parameters
    ----------
    mdp : LinearMDP
        Nominal model with features on the simplex and rewards in [0, 1]; it starts from `mdp.initial`, or in state 0.
    divergence : str
        "tv" (with `radius` or `penalty`), "kl" or "chi2" (with `penalty`).
    episodes : int
        K.
    ridge : float
        gamma > 0 of the regressions.
    beta : float
        Coefficient of the bonus, >= 0.
    temperature : float
        eta >= 0; 0 plays greedily over the support of the reference.
    penalty : float, optional
        Price > 0 of a unit of divergence.
    radius : float or array (d,) or (H, d), optional
        Radius of the TV sets.
    reference : array (A,), (S, A) or (H, S, A), optional
        Reference policy, uniform by default.
    fail_state : int, optional
        A state of reward 0 that is absorbing under the nominal model: its value is known to be 0, the least one.  Without it the
        least estimated value is used, which is not sound where unvisited states are worse.
    bonus : str
        One of `BONUSES`.
    seed : int or SeedSequence
        Of the counter-based stream; the first K episodes of a longer run are the same.

    Returns
    -------
    OnlineResult
        Exact suboptimality of every episode, and the last policy.

    Raises
    ------
    ValueError
        If an argument is out of range, rewards leave [0, 1], or `fail_state` is none.

    Source: dr_rpo, algorithms.

    Examples
    --------
    >>> from mdps.families import simulated_linear_mdp
    >>> run = dr_rpo(simulated_linear_mdp(0.2), divergence="tv", radius=0.0, episodes=50, fail_state=3)
    >>> run.suboptimality.shape, bool(run.suboptimality.min() >= -1e-12)
    ((50,), True)
    """
    problem = pose(mdp, divergence=divergence, penalty=penalty, radius=radius, temperature=temperature, reference=reference)
    if not problem.charged and divergence != "tv":
        raise ValueError(f"radius is for divergence 'tv' here; {divergence!r} takes a penalty")
    if not np.isfinite(problem.sizes).all():
        raise ValueError("penalty must be finite here; radius=0 with 'tv' is the nominal model")
    K = require_integer_at_least("episodes", episodes, 1)
    gamma, coefficient = require_real("ridge", ridge, above=0.0), require_real("beta", beta)
    if coefficient < 0:
        raise ValueError(f"beta must be >= 0, got {beta!r}")
    if bonus not in BONUSES:
        raise ValueError(f"bonus must be one of {', '.join(map(repr, BONUSES))}, got {bonus!r}")
    rewards = np.einsum("hsad,hd->hsa", problem.features, problem.reward_weights)
    if rewards.min() < -1e-12 or rewards.max() > 1 + 1e-12:
        raise ValueError(f"rewards of mdp must lie in [0, 1], because estimates are clipped there; got {rewards.min():.6g} to {rewards.max():.6g}")
    fail = _fail_state(mdp, fail_state, rewards)
    H, S, A, d = problem.shape
    start = np.eye(S)[0] if mdp.initial is None else np.array(mdp.initial)
    uniforms = _uniforms(seed, K, 1 + 2 * H)
    inverse = np.array(np.broadcast_to(np.eye(d) / gamma, (H, d, d)))
    seen, pi = np.zeros((H, d, S)), np.zeros((H, S, A))
    earned, promised = np.zeros(K), np.zeros(K)
    from certify.robust._kernels_online import run
    from mdps.robust.worst import row_kind

    run(
        row_kind(divergence, problem.charged),
        np.array(problem.features),
        np.array(problem.factors),
        np.array(problem.reward_weights),
        np.array(problem.reference),
        np.array(problem.sizes),
        start,
        gamma,
        coefficient,
        bonus == "root",
        problem.temperature,
        fail,
        fail < 0,
        uniforms,
        inverse,
        seen,
        pi,
        earned,
        promised,
    )
    optimum = exact_value(mdp, divergence=divergence, penalty=penalty, radius=radius, temperature=temperature, reference=reference)
    best = float(start @ optimum.value[0])
    loss = best - earned
    settings = {
        "divergence": divergence,
        "penalty": penalty,
        "radius": None if radius is None else np.asarray(radius).tolist(),
        "ridge": gamma,
        "beta": coefficient,
        "temperature": problem.temperature,
        "episodes": K,
        "bonus": bonus,
        "fail_state": fail_state,
        "seed": seed if isinstance(seed, int) else str(seed),
    }
    return OnlineResult(best, loss, np.cumsum(loss) / np.arange(1, K + 1), promised, pi, _coverage(inverse, gamma, K), settings)


def _fail_state(mdp: LinearMDP, given: Any, rewards: FloatArray) -> int:
    if given is None:
        return -1
    s = require_integer_at_least("fail_state", given, 0)
    if s >= mdp.n_states:
        raise ValueError(f"fail_state must be below {mdp.n_states}, got {s}")
    stays = np.einsum("had,hd->ha", np.broadcast_to(mdp.features, (mdp.horizon, *mdp.features.shape[-3:]))[:, s], mdp.factors[:, :, s])
    # the reward of the last step does not matter less: every step must pay nothing
    if stays.min() < 1 - 1e-9 or np.abs(rewards[:, s]).max() > 1e-12:
        raise ValueError(f"fail_state must have reward 0 and stay where it is under every action; state {s} does not")
    return s


def _uniforms(seed: int | np.random.SeedSequence, episodes: int, width: int) -> FloatArray:
    """Return uniforms in the order of episodes, so that a longer run begins as a shorter one."""
    if isinstance(seed, np.random.SeedSequence):
        sequence = seed
    else:
        sequence = np.random.SeedSequence(require_integer_at_least("seed", seed, 0))
    return np.random.Generator(np.random.Philox(sequence)).random((episodes, width))


def _coverage(inverse: FloatArray, ridge: float, episodes: int) -> FloatArray:
    result = np.zeros(inverse.shape[0])
    for h, matrix in enumerate(inverse):
        gram = np.linalg.inv(matrix) - ridge * np.eye(matrix.shape[0])
        used = np.flatnonzero(np.diagonal(gram) > 1e-6 * episodes)
        if used.size:
            result[h] = max(0.0, float(np.linalg.eigvalsh(gram[np.ix_(used, used)])[0])) / episodes
    return result
