"""The algorithms of continuous-time policy evaluation on trajectories, for linear critics.

Closed form: CLSTD.  Stochastic approximation: gradient Monte Carlo on the martingale loss, CTD(0), CTD(lambda), CGTD with both
weights and its TDC variant, offline (one update an episode) or online (one update a step).  Source: martingale_td, algorithms.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_integer, require_real
from certify.martingale._callables import Features, as_paths, feature_values, function_values
from certify.martingale.fixed_points import method_name
from mdps.diffusions.paths import CHUNK, Paths
from mdps.diffusions.polynomials import Polynomial

__all__ = ["METHODS", "Evaluation", "evaluate", "feature_values", "td_errors"]

FloatArray = NDArray[np.float64]
METHODS = ("clstd", "martingale-loss", "ctd0", "ctd-lambda", "cgtd", "cgtd2", "tdc")
REWARD_RULES = ("left", "trapezoid")
ILL_CONDITIONED = 1e10
TERMINAL = "where the terminal reward is received"

OTHER_NAMES = {"lstd": "clstd", "td0": "ctd0", "td-lambda": "ctd-lambda", "gtd": "cgtd", "gtd2": "cgtd2", "ctdc": "tdc"}

@dataclass(frozen=True)
class Evaluation:
    """A linear critic fitted to trajectories.

    `theta` has shape (k,); `history` holds the parameters after each episode (offline and online alike), empty for CLSTD;
    `condition` and `rank` describe the matrix of CLSTD, and `ridge` what was added to its diagonal.
    """

    theta: FloatArray
    method: str
    episodes: int
    history: FloatArray
    condition: float
    rank: int
    ridge: float


def evaluate(
    paths: Paths,
    features: Features,
    *,
    method: str,
    step: float | Callable[[int], float] | None = None,
    discount: float = 0.0,
    reward_rule: str = "trapezoid",
    offset: Polynomial | Callable[[FloatArray, FloatArray], ArrayLike] | None = None,
    trace: float | None = None,
    second_step: float | Callable[[int], float] | None = None,
    online: bool = False,
    initial: ArrayLike | None = None,
    epochs: int = 1,
    discounted: bool | None = None,
    jobs: int | None = None,
) -> Evaluation:
    """Fit the critic J_th = offset + th' features to trajectories.

    Parameters
    ----------
    paths : Paths, or the arrays (time, state, reward[, terminal])
        Trajectories on one time grid.  With a terminal reward the features must vanish, and the offset equal it, at the last time.
    features : sequence of Polynomial or callable, or callable
        k polynomials in t and the first state coordinate, or functions of (time (N + 1,), state (n, N + 1, d)) that return
        (n, N + 1) each; or one function that returns (n, N + 1, k).  In one dimension functions of t and x that broadcast will do, and
        functions of one point are called point by point (slow).
    method : str
        One of `METHODS`; `"cgtd"` weighs by the identity, `"cgtd2"` by the inverse of E int xi xi'.  Underscores may stand for hyphens,
        and the names of `fixed_point` mean the algorithm that ends there.
    step : float or callable
        Step size, or a function of the number of the update from 0; not used by `"clstd"`.
    discount : float
        Discount rate beta >= 0 per unit of time.
    reward_rule : str
        `"trapezoid"` (second order) or `"left"` (first order).
    offset : Polynomial or callable, optional
        psi; zero when omitted, and then the terminal reward enters through the last step.
    trace : float, optional
        lambda in [0, 1] per unit of time, for `"ctd-lambda"`; 0 is CTD(0).
    second_step : float or callable, optional
        Step of the fast variable of the gradient methods; ten times `step` when omitted.
    online : bool
        Update at each step of a path (`"ctd0"` and `"ctd-lambda"`) instead of once an episode.
    initial : array of shape (k,), optional
        Start of the stochastic methods; zero when omitted.
    epochs : int
        Passes over the trajectories for the stochastic methods.
    discounted : bool, optional
        Keep the factor e^{-beta t} in the test functions and the loss, as `fixed_point` does.  When omitted it is kept where a terminal
        reward is given; without one the trajectory is a stretch of an endless one, of which late times count as much as early ones.
    jobs : int, optional
        Threads of CLSTD; the number of cores when omitted.  The result does not depend on it.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If an argument is out of range or missing, features are not finite, break the terminal condition or are not identified by the
        paths (the rank is reported), or the critic diverges.

    Source: martingale_td, G4 to G8.

    Examples
    --------
    >>> from mdps.diffusions import OrnsteinUhlenbeck, variables
    >>> t, x = variables()
    >>> model = OrnsteinUhlenbeck(kappa=1.0, sigma=0.7, discount=0.5)
    >>> paths = model.sample(paths=20000, steps=20, duration=2.0, seed=0)
    >>> theta = evaluate(paths, [x**2, x**0], method="clstd", discount=0.5).theta
    >>> bool(abs(theta[0] - 0.4) < 0.05)
    True
    """
    method = method_name(method, METHODS, OTHER_NAMES)
    require_choice("reward_rule", reward_rule, REWARD_RULES)
    require_integer("epochs", epochs, minimum=1)
    paths = as_paths(paths)
    if jobs is not None:
        require_integer("jobs", jobs, minimum=1)
    require_rate(discount)
    if method == "ctd-lambda":
        if trace is None or not 0.0 <= require_real("trace", trace) <= 1.0:
            raise ValueError(f"trace must be in [0, 1] for ctd-lambda, got {trace}")
        if trace == 0:
            method = "ctd0"
    if online and method not in ("ctd0", "ctd-lambda"):
        raise ValueError(f"online updates exist for ctd0 and ctd-lambda only, got {method}")
    if discounted is None:
        discounted = paths.terminal is not None
    if method == "clstd":
        return _clstd(paths, features, offset, discount, reward_rule, discounted, jobs or os.cpu_count() or 1)
    if step is None:
        raise ValueError(f"step must be given for {method}")
    return _stochastic(paths, features, offset, method, step, second_step, discount, reward_rule, trace, online, initial, epochs, discounted)


def require_rate(discount: Any) -> None:
    """Refuse a discount that is no finite rate >= 0."""
    if require_real("discount", discount) < 0.0:
        raise ValueError(f"discount must be a finite rate >= 0, got {discount}")


def _offset_values(offset: Any, time: FloatArray, state: FloatArray, terminal: FloatArray | None) -> FloatArray:
    """Return psi on a block of paths; without an offset it is the terminal reward at the last time and zero before."""
    if offset is None:
        values = np.zeros(state.shape[:2])
        if terminal is not None:
            values[:, -1] = terminal
        return values
    values = np.array(function_values("offset", offset, time, state))
    if terminal is not None:
        gap = float(np.max(np.abs(values[:, -1] - terminal)))
        if gap > 1e-6 * max(1.0, float(np.max(np.abs(terminal)))):
            raise ValueError(f"offset must equal the terminal reward at the last time, it differs by up to {gap:.3g}")
    return values


def _require_vanishing(phi: FloatArray, reason: str) -> None:
    """Refuse features that do not vanish at the last time: the critic would then disagree with what was received there."""
    end, size = np.abs(phi[:, -1]).max(axis=0), np.abs(phi).max(axis=(0, 1))
    bad = np.flatnonzero(end > 1e-9 * size)
    if bad.size:
        raise ValueError(f"features must vanish at the last time {reason}, feature {bad[0]} is up to {end[bad[0]]:.3g} there")


def step_rewards(reward: FloatArray, dt: FloatArray, discount: float, rule: str) -> FloatArray:
    """Return the reward of each step, shape (n, N): the rate at its left end, or the discounted trapezoid."""
    if rule == "left":
        return reward[:, :-1] * dt
    return 0.5 * dt * (reward[:, :-1] + np.exp(-discount * dt) * reward[:, 1:])


def td_errors(values: FloatArray, reward: FloatArray, time: FloatArray, discount: float, rule: str) -> FloatArray:
    """Return D_i = e^{-beta dt} J_{i+1} - J_i + reward of the step, shape (n, N), from critic values of shape (n, N + 1)."""
    dt = np.diff(time)
    return np.asarray(np.exp(-discount * dt) * values[:, 1:] - values[:, :-1] + step_rewards(reward, dt, discount, rule))


def _clstd(paths: Paths, features: Features, offset: Any, discount: float, rule: str, discounted: bool, jobs: int) -> Evaluation:
    """Accumulate A and b chunk by chunk in a fixed order and solve."""
    from certify.martingale._kernels_td import accumulate

    dt = np.diff(paths.time)
    decay = np.exp(-discount * dt)
    weight = np.exp(-discount * (paths.time[:-1] - paths.time[0])) if discounted else np.ones(dt.size)

    def part(start: int) -> tuple[FloatArray, FloatArray]:
        block = slice(start, min(start + CHUNK, paths.count))
        phi = feature_values(features, paths.time, paths.state[block])
        if paths.terminal is not None:
            _require_vanishing(phi, TERMINAL)
        psi = _offset_values(offset, paths.time, paths.state[block], None if paths.terminal is None else paths.terminal[block])
        matrix, vector = np.zeros((phi.shape[2], phi.shape[2])), np.zeros(phi.shape[2])
        accumulate(phi, psi, np.ascontiguousarray(paths.reward[block]), dt, decay, weight, rule == "trapezoid", matrix, vector)
        return matrix, vector

    starts = range(0, paths.count, CHUNK)
    if jobs > 1 and len(starts) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(jobs) as pool:
            parts = list(pool.map(part, starts))
    else:
        parts = [part(start) for start in starts]
    a, b = sum((p[0] for p in parts[1:]), parts[0][0]), sum((p[1] for p in parts[1:]), parts[0][1])
    size = np.sqrt(np.abs(np.diag(a)))
    scale = np.where(size > 0.0, size, 1.0)
    balanced = a / np.outer(scale, scale)
    condition, rank = float(np.linalg.cond(balanced)), int(np.linalg.matrix_rank(balanced, tol=1e-10))
    ridge = 0.0 if condition <= ILL_CONDITIONED else 1e-10
    target = b / scale
    weights = np.linalg.solve(balanced + ridge * np.eye(len(b)), target)
    if ridge > 0.0 and np.max(np.abs(balanced @ weights - target)) > 1e-6 * np.max(np.abs(target)):
        raise ValueError(
            f"features must be identified by the paths: their equations have rank {rank} of {len(b)} and no solution "
            "(a constant, say, is not identified without a discount unless it vanishes at the last time)"
        )
    theta = weights / scale
    return Evaluation(theta, "clstd", paths.count, np.empty((0, len(b))), condition, rank, ridge)


def _schedule(name: str, step: float | Callable[[int], float], count: int) -> FloatArray:
    values = np.array([step(i) for i in range(count)], dtype=np.float64) if callable(step) else np.full(count, require_real(name, step))
    if not (np.isfinite(values).all() and (values > 0).all()):
        bad = int(np.argmax(~(np.isfinite(values) & (values > 0))))
        raise ValueError(f"{name} must be positive and finite, got {values[bad]} at update {bad}")
    return values


def _stochastic(
    paths: Paths, features: Features, offset: Any, method: str, step: Any, second_step: Any, discount: float, rule: str, trace: float | None, online: bool,
    initial: ArrayLike | None, epochs: int, discounted: bool,
) -> Evaluation:
    from certify.martingale._kernels_td import run_updates

    phi = feature_values(features, paths.time, paths.state)
    if paths.terminal is not None or method == "martingale-loss":
        _require_vanishing(phi, TERMINAL if paths.terminal is not None else "for the martingale loss, which needs the outcome of each path")
    psi = _offset_values(offset, paths.time, paths.state, paths.terminal)
    k = phi.shape[2]
    theta = np.zeros(k) if initial is None else np.array(initial, dtype=np.float64)
    if theta.shape != (k,) or not np.isfinite(theta).all():
        raise ValueError(f"initial must be {k} finite numbers, got {initial!r}")
    episodes = epochs * paths.count
    slow = _schedule("step", step, episodes)
    fast = 10.0 * slow if second_step is None else _schedule("second_step", second_step, episodes)
    dt = np.diff(paths.time)
    rewards = step_rewards(paths.reward, dt, discount, rule)
    history = np.empty((episodes, k))
    memory = 1.0 if method == "martingale-loss" else (trace or 0.0)
    decay = np.exp(-discount * dt)
    weight = np.exp(-discount * (paths.time[:-1] - paths.time[0])) if discounted else np.ones(dt.size)
    fade = memory ** np.concatenate(([0.0], dt[:-1]))
    if not discounted:
        fade[1:] *= decay[:-1]  # the classical trace, paired with undiscounted increments
    run_updates(METHODS.index(method), phi, psi, rewards, dt, decay, weight, fade, online, slow, fast, theta, history)
    if not np.isfinite(theta).all():
        raise ValueError(f"step must be small enough for {method}: the parameters diverged with steps up to {slow.max():g}")
    return Evaluation(theta, method, episodes, history, float("nan"), k, 0.0)
