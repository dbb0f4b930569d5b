"""LOOP and MLE-LOOP on finite classes, exact, with ties broken for or against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify.complexity.certificate import require_models
from certify.complexity.classes import FiniteClass
from theory import loop_agec
from verify._validate import require_choice, require_positive
from verify.simulators.run import Common, Progress, RegretRun, collect
from verify.simulators.tabular import average_model, describe

__all__ = ["TIES", "loop", "mle_loop", "tie_priority"]

FloatArray = NDArray[np.float64]
TIES = ("adversarial", "first", "truth")
_RECORDED_EPISODES = 4096


def loop(
    hypotheses: FiniteClass,
    *,
    steps: float,
    seeds: int | Sequence[int],
    seed: int = 0,
    delta: float = 0.05,
    beta: float | None = None,
    beta_scale: float = 1.0,
    patience: float = 4.0,
    ties: str = "adversarial",
    checkpoints: ArrayLike | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RegretRun:
    """Run LOOP with the squared Bellman loss on a finite class, the confidence set kept exactly.

    Parameters
    ----------
    hypotheses : FiniteClass
        Contains the truth and is closed under completeness.
    steps : int
        T.
    seeds : int or sequence of int
        Number of replicates, or their numbers.
    seed : int
        Root of the streams.
    delta : float
        Failure probability in the radius, in (0, 1).
    beta : float, optional
        Radius; B^2 log(T |H| |G| / delta) when omitted.
    beta_scale : float
        Factor on the radius.
    patience : float
        The hypothesis in use is kept while its excess loss is at most patience * beta.
    ties : str
        Among hypotheses of equal gain: "adversarial" prefers the one whose policy earns least, "first" the first, "truth" the truth.
    checkpoints : array of int, optional
        Steps at which the regret is recorded; a geometric grid when omitted.
    jobs : int, optional
        Threads; all cores when omitted.  The result does not depend on it.
    progress : callable, optional
        Called with (finished replicates, all replicates).

    Returns
    -------
    RegretRun
        Diagnostics: `beta`; per episode `episode_start`, `episode_choice`, `optimism` (J_f - J*); `truth_excess` (largest excess loss
        of the truth) and `confidence_event` (whether it stayed within beta); `in_sample` (largest sum of past squared errors of the
        hypothesis in use, at each checkpoint); `decomposition` (the sums of J* - J_t, of E(f_t), of P V_t - V_t, of the martingale and of
        E(f_t)^2 at each checkpoint); `empty` (rebuilds at which nothing was admissible).

    Raises
    ------
    ValueError
        If the class lacks the truth or completeness, or an option is out of range.

    Notes
    -----
    Source: loop_agec/G2, loop_agec/G5, loop_agec/G11.
    """
    common = Common.of(steps, seeds, seed, delta, checkpoints, jobs, progress)
    truth = _truth(hypotheses)
    if not hypotheses.complete:
        raise ValueError("hypotheses must be closed under completeness: the auxiliary class lacks r + P V_f of a member")
    require_positive("beta_scale", beta_scale)
    require_positive("patience", patience)
    radius = _radius(beta, beta_scale, loop_agec.class_radius(hypotheses.span, hypotheses.hypotheses, hypotheses.functions, common.steps, delta))
    priority = tie_priority(hypotheses, ties)
    transition, reward, gain, start = average_model(hypotheses.mdp, low=-1.0)
    from verify.simulators import _kernels_loop as kernels

    cumulative = np.cumsum(transition, axis=2)
    target = np.ascontiguousarray(np.moveaxis(hypotheses.target, 0, 2))
    value, policy = np.ascontiguousarray(hypotheses.value), np.ascontiguousarray(hypotheses.policy)
    place = np.arange(hypotheses.hypotheses)
    exact = hypotheses.action_value + hypotheses.gain[:, None, None] - reward - hypotheses.backup

    def task(key: NDArray[np.uint64]) -> tuple[FloatArray, NDArray[np.int64], dict[str, Any]]:
        points = common.checkpoints.size
        regret, switches = np.zeros(points), np.zeros(points, dtype=np.int64)
        parts, sample = np.zeros((points, 5)), np.zeros(points)
        begun, choice = np.zeros(_RECORDED_EPISODES, dtype=np.int64), np.zeros(_RECORDED_EPISODES, dtype=np.int64)
        totals = np.zeros(4)
        n = kernels.loop(
            cumulative, reward, gain, target, value, hypotheses.gain, policy, exact, hypotheses.backup, place, priority, truth, radius,
            float(patience), start, key, common.steps, common.checkpoints, regret, switches, parts, sample, begun, choice, totals,
        )
        kept = min(n, _RECORDED_EPISODES)
        return regret, switches, {
            "beta": np.float64(radius),
            "episodes": np.int64(n),
            "episode_start": begun[:kept],
            "episode_choice": choice[:kept],
            "optimism": hypotheses.gain[choice[:kept]] - gain,
            "truth_excess": totals[0],
            "confidence_event": np.bool_(totals[3] == 0.0),
            "in_sample": sample,
            "decomposition": parts,
            "empty": np.int64(totals[2]),
        }

    options = {"beta": radius, "patience": patience, "ties": ties}
    return collect(common, common.map(task), algorithm="loop", instance=_describe(hypotheses), gain=gain, options=options)


def mle_loop(
    hypotheses: FiniteClass,
    *,
    steps: float,
    seeds: int | Sequence[int],
    seed: int = 0,
    delta: float = 0.05,
    beta: float | None = None,
    beta_scale: float = 1.0,
    patience: float = 1.0,
    ties: str = "adversarial",
    checkpoints: ArrayLike | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RegretRun:
    """Run MLE-LOOP on a finite class of models; a model that leaves the likelihood set while in use is dropped for good.

    Parameters
    ----------
    hypotheses : FiniteClass
        Built by `certify.complexity.model_class`; contains the truth.
    steps : int
        T.
    seeds : int or sequence of int
        Number of replicates, or their numbers.
    seed : int
        Root of the streams.
    delta : float
        Failure probability in the radius, in (0, 1).
    beta : float, optional
        Radius; log(|H| / delta) when omitted.
    beta_scale : float
        Factor on the radius.
    patience : float
        The model in use is kept while its log-likelihood is within patience * beta of the largest.
    ties : str
        As in `loop`.
    checkpoints : array of int, optional
        Steps at which the regret is recorded; a geometric grid when omitted.
    jobs : int, optional
        Threads; all cores when omitted.  The result does not depend on it.
    progress : callable, optional
        Called with (finished replicates, all replicates).

    Returns
    -------
    RegretRun
        Diagnostics: `beta`; per episode `episode_start`, `episode_choice`, `optimism`; `truth_excess` (largest log-likelihood ratio
        against the truth), `confidence_event`, `variation` (largest sum of squared total variations of a model inside the set).

    Raises
    ------
    ValueError
        If the class lacks the truth or the models, if models have other rewards, or an option is out of range.

    Notes
    -----
    Source: loop_agec/G13.
    """
    common = Common.of(steps, seeds, seed, delta, checkpoints, jobs, progress)
    _truth(hypotheses)
    truth = require_models(hypotheses)
    assert hypotheses.kernels is not None
    require_positive("beta_scale", beta_scale)
    require_positive("patience", patience)
    radius = _radius(beta, beta_scale, loop_agec.mle_radius(hypotheses.hypotheses, delta))
    priority = tie_priority(hypotheses, ties)
    transition, reward, gain, start = average_model(hypotheses.mdp, low=-1.0)
    from verify.simulators import _kernels_loop as kernels

    cumulative = np.cumsum(transition, axis=2)
    with np.errstate(divide="ignore"):
        log_model = np.log(hypotheses.kernels)
    distance = (0.5 * np.abs(hypotheses.kernels - transition).sum(axis=3)) ** 2
    policy = np.ascontiguousarray(hypotheses.policy)

    def task(key: NDArray[np.uint64]) -> tuple[FloatArray, NDArray[np.int64], dict[str, Any]]:
        points = common.checkpoints.size
        regret, switches, variation = np.zeros(points), np.zeros(points, dtype=np.int64), np.zeros(points)
        begun, choice = np.zeros(_RECORDED_EPISODES, dtype=np.int64), np.zeros(_RECORDED_EPISODES, dtype=np.int64)
        totals = np.zeros(4)
        n = kernels.mle_loop(
            cumulative, reward, gain, log_model, distance, hypotheses.gain, policy, priority, truth, radius, float(patience), start, key,
            common.steps, common.checkpoints, regret, switches, variation, begun, choice, totals,
        )
        kept = min(n, _RECORDED_EPISODES)
        return regret, switches, {
            "beta": np.float64(radius),
            "episodes": np.int64(n),
            "episode_start": begun[:kept],
            "episode_choice": choice[:kept],
            "optimism": hypotheses.gain[choice[:kept]] - gain,
            "truth_excess": totals[0],
            "confidence_event": np.bool_(totals[3] == 0.0),
            "variation": variation,
        }

    options = {"beta": radius, "patience": patience, "ties": ties}
    return collect(common, common.map(task), algorithm="mle-loop", instance=_describe(hypotheses), gain=gain, options=options)


def tie_priority(hypotheses: FiniteClass, ties: str) -> FloatArray:
    """Return the priority of each hypothesis among those of equal gain, shape (H,)."""
    require_choice("ties", ties, TIES)
    if ties == "first":
        return -np.arange(hypotheses.hypotheses, dtype=np.float64)
    if ties == "truth":
        return np.where(np.arange(hypotheses.hypotheses) == hypotheses.truth, 1.0, 0.0)
    transition, reward = hypotheses.mdp.dense(), hypotheses.mdp.expected_reward
    states = np.arange(hypotheses.mdp.n_states)
    return np.array([-_gain_of(transition[states, pi], reward[states, pi]) for pi in hypotheses.policy])


def _gain_of(chain: FloatArray, reward: FloatArray) -> float:
    """Return the smallest gain over start states, from a long average of powers: only an order of preference is needed."""
    power = 0.5 * (chain + np.eye(len(chain)))
    for _ in range(40):
        power = power @ power
        power = power / power.sum(axis=1, keepdims=True)
    return float((power @ reward).min())


def _radius(beta: float | None, scale: float, default: float) -> float:
    if beta is not None:
        require_positive("beta", beta)
    radius = float(scale * (default if beta is None else beta))
    require_positive("beta", radius)
    return radius


def _truth(hypotheses: FiniteClass) -> int:
    if not isinstance(hypotheses, FiniteClass):
        raise ValueError(f"hypotheses must be a FiniteClass, got {type(hypotheses).__name__}; build one with certify.complexity.model_class")
    if hypotheses.truth is None:
        raise ValueError("hypotheses must contain the true model: no member has vanishing Bellman error and the gain J*")
    return hypotheses.truth


def _describe(hypotheses: FiniteClass) -> str:
    return f"{describe(hypotheses.mdp)}, |H| = {hypotheses.hypotheses}, |G| = {hypotheses.functions}"
