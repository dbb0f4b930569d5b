"""UCRL2-VTR on linear mixtures of two states, and OLSVI.FH on linear models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from verify._validate import require_int, require_positive
from verify.simulators.instances import LinearMixture
from verify.simulators.run import Common, Progress, RegretRun, collect
from verify.simulators.tabular import MAX_SWEEPS, average_model, describe

if TYPE_CHECKING:
    from mdps import TabularMDP

__all__ = ["olsvi_fh", "olsvi_horizon", "ucrl2_vtr"]

FloatArray = NDArray[np.float64]


def ucrl2_vtr(
    mixture: LinearMixture,
    *,
    steps: float,
    seeds: int | Sequence[int],
    seed: int = 0,
    delta: float = 0.05,
    ridge: float = 1.0,
    radius_scale: float = 1.0,
    checkpoints: ArrayLike | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RegretRun:
    """Run UCRL2-VTR with the Hoeffding radius on a linear mixture of two states, where optimistic planning is exact.

    The regression targets are w_k(s') with w_k = u_k - (max u_k + min u_k) / 2, and the radius is
    D sqrt(d log((lambda + t D^2) / (delta lambda))) + sqrt(lambda) ||theta||; an episode ends when the determinant doubles.

    Parameters
    ----------
    mixture : LinearMixture
        Two states, rewards in [0, 1].
    steps : int
        T.
    seeds : int or sequence of int
        Number of replicates, or their numbers.
    seed : int
        Root of the streams.
    delta : float
        Failure probability of the confidence set, in (0, 1).
    ridge : float
        lambda, positive.
    radius_scale : float
        Factor on the radius; below 1 the confidence set is heuristic.
    checkpoints : array of int, optional
        Steps at which the regret is recorded; a geometric grid when omitted.
    jobs : int, optional
        Threads; all cores when omitted.  The result does not depend on it.
    progress : callable, optional
        Called with (finished replicates, all replicates).

    Returns
    -------
    RegretRun
        Rewards are deterministic.  Diagnostics: `episodes`; per episode `episode_start`, `optimism`; `confidence_ratio` (largest
        distance of the truth from the estimate in units of the radius), `confidence_event`, `sweeps`, `unfinished`.

    Raises
    ------
    ValueError
        If the model does not have two states, rewards are outside [0, 1], or an option is out of range.

    Notes
    -----
    Source: loop_agec/G14.
    """
    common = Common.of(steps, seeds, seed, delta, checkpoints, jobs, progress)
    if not isinstance(mixture, LinearMixture):
        raise ValueError(f"mixture must be a LinearMixture, got {type(mixture).__name__}; build one with hard_features")
    if mixture.mdp.n_states != 2:
        raise ValueError(f"mixture must have 2 states, got {mixture.mdp.n_states}")
    require_positive("ridge", ridge)
    require_positive("radius_scale", radius_scale)
    transition, reward, gain, start = average_model(mixture.mdp, low=0.0)
    from verify.simulators import _kernels_linear as kernels

    cumulative = np.cumsum(transition, axis=2)
    features, theta = np.ascontiguousarray(mixture.features), np.ascontiguousarray(mixture.theta)
    d = len(theta)
    # Each episode but the first doubles the determinant, which is at most (ridge + T L^2 / d)^d with L the largest regressor.
    longest = 0.5 * mixture.diameter * float(np.linalg.norm(features[:, :, 1] - features[:, :, 0], axis=-1).max())
    most = 2 + math.ceil(d * math.log2(1.0 + common.steps * longest**2 / (d * ridge)))

    def task(key: NDArray[np.uint64]) -> tuple[FloatArray, NDArray[np.int64], dict[str, Any]]:
        regret, switches = np.zeros(common.checkpoints.size), np.zeros(common.checkpoints.size, dtype=np.int64)
        begun, optimistic, ratio = np.zeros(most, dtype=np.int64), np.zeros(most), np.zeros((most, 1))
        totals = np.zeros(2, dtype=np.int64)
        n = kernels.ucrl2_vtr(
            features, theta, cumulative, reward, gain, start, key, common.steps, common.delta, float(mixture.diameter), float(ridge),
            float(radius_scale), MAX_SWEEPS, common.checkpoints, regret, switches, begun, optimistic, ratio, totals,
        )
        worst = ratio[:n].max()
        return regret, switches, {
            "episodes": np.int64(n),
            "episode_start": begun[:n],
            "optimism": optimistic[:n] - (gain - 1.0 / np.sqrt(begun[:n])),
            "confidence_ratio": worst,
            "confidence_event": np.bool_(worst <= 1.0),
            "sweeps": totals[0],
            "unfinished": totals[1],
        }

    options = {"ridge": ridge, "radius_scale": radius_scale, "diameter": mixture.diameter}
    return collect(common, common.map(task), algorithm="ucrl2-vtr", instance=f"{describe(mixture.mdp)}, d = {d}", gain=gain, options=options)


def olsvi_horizon(span: float, dimension: int, steps: int) -> int:
    """Return the episode length max(sqrt(sp) T^(1/4) d^(-3/4), (sp T / d^2)^(1/3)), rounded up, at least 2."""
    longest = max(math.sqrt(span) * steps**0.25 * float(dimension) ** -0.75, (span * steps / dimension**2) ** (1.0 / 3.0))
    return max(2, math.ceil(float(longest)))


def olsvi_fh(
    mdp: TabularMDP,
    *,
    steps: float,
    seeds: int | Sequence[int],
    seed: int = 0,
    delta: float = 0.05,
    features: ArrayLike | None = None,
    bonus_factor: float = 0.05,
    horizon: int | None = None,
    ridge: float = 1.0,
    checkpoints: ArrayLike | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RegretRun:
    """Run OLSVI.FH: optimistic least-squares value iteration on episodes of fixed length cut from the one trajectory.

    Parameters
    ----------
    mdp : TabularMDP
        Weakly communicating, rewards in [0, 1].
    steps : int
        T.
    seeds : int or sequence of int
        Number of replicates, or their numbers.
    seed : int
        Root of the streams.
    delta : float
        Failure probability in the bonus, in (0, 1).
    features : array, shape (S, A, d), optional
        phi(s, a); one-hot when omitted.
    bonus_factor : float
        Factor on the bonus d H sqrt(log(2 d T / delta)); 1 is of the theoretical order, smaller ones are heuristic.
    horizon : int, optional
        Episode length; `olsvi_horizon` with the true span when omitted.
    ridge : float
        Regulariser, positive.
    checkpoints : array of int, optional
        Steps at which the regret is recorded; a geometric grid when omitted.
    jobs : int, optional
        Threads; all cores when omitted.  The result does not depend on it.
    progress : callable, optional
        Called with (finished replicates, all replicates).

    Returns
    -------
    RegretRun
        Rewards are deterministic.  Diagnostics: `episodes`; per episode `optimism`, the optimistic value of the first state divided by
        the horizon less J* (at most the first 4096 episodes); `horizon`.

    Raises
    ------
    ValueError
        If the model is multichain, a reward is outside [0, 1], the features have the wrong shape, or an option is out of range.

    Notes
    -----
    Source: loop_agec/G14.
    """
    common = Common.of(steps, seeds, seed, delta, checkpoints, jobs, progress)
    require_positive("bonus_factor", bonus_factor)
    require_positive("ridge", ridge)
    transition, reward, gain, start = average_model(mdp, low=0.0)
    states, actions = reward.shape
    phi = np.eye(states * actions).reshape(states, actions, -1) if features is None else np.asarray(features, dtype=np.float64)
    if phi.ndim != 3 or phi.shape[:2] != reward.shape or not np.isfinite(phi).all():
        raise ValueError(f"features must be finite with shape ({states}, {actions}, d), got {phi.shape}")
    d = phi.shape[2]
    if horizon is None:
        from certify.complexity.classes import average_solution

        horizon = olsvi_horizon(float(np.ptp(average_solution(mdp)[1])), d, common.steps)
    require_int("horizon", horizon, minimum=1)
    bonus = bonus_factor * d * horizon * math.sqrt(math.log(2.0 * d * common.steps / delta))
    from verify.simulators import _kernels_linear as kernels

    cumulative = np.cumsum(transition, axis=2)
    phi = np.ascontiguousarray(phi)

    def task(key: NDArray[np.uint64]) -> tuple[FloatArray, NDArray[np.int64], dict[str, Any]]:
        regret, switches = np.zeros(common.checkpoints.size), np.zeros(common.checkpoints.size, dtype=np.int64)
        optimism = np.zeros(4096)
        n = kernels.olsvi_fh(
            phi, cumulative, reward, gain, start, key, common.steps, int(horizon), bonus, float(ridge),
            common.checkpoints, regret, switches, optimism,
        )
        return regret, switches, {"episodes": np.int64(n), "optimism": optimism[: min(n, 4096)] - gain, "horizon": np.int64(horizon)}

    options = {"bonus_factor": bonus_factor, "horizon": horizon, "ridge": ridge}
    return collect(common, common.map(task), algorithm="olsvi-fh", instance=f"{describe(mdp)}, d = {d}", gain=gain, options=options)
