"""Is this critic the value function of the policy that made these trajectories?

Under a correct critic M_t = e^{-beta t} J(t, X_t) + int e^{-beta u} r du is a martingale, so every predictable test function xi has
E int xi dM = 0.  Two tests of it: self-normalised sums over independent paths, asymptotically normal; and a mixture supermartingale
whose level holds for any number of paths when increments are those of a continuous martingale of known volatility.
Source: martingale_td, G2 and G10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_open_unit
from certify.martingale.evaluation import REWARD_RULES, Features, feature_values, step_rewards, td_errors
from mdps.diffusions.paths import Paths

__all__ = ["METHODS", "CriticTest", "test_critic"]

FloatArray = NDArray[np.float64]
METHODS = ("asymptotic", "mixture")
NEGLIGIBLE = 0.25
"""Standard errors below which the estimated error of the reward rule is taken not to matter."""
SKEWED = 0.3
"""Sample skewness over the root of the number of paths above which the normal limit is not trusted (measured: 0.4 doubles the error rate at 1 %)."""


@dataclass(frozen=True)
class CriticTest:
    """The outcome of the orthogonality test.

    `rejected`: the critic is not the value function, except with probability `alpha`.  `statistics` and `p_values` have one entry for
    each test function; `p_value` is their Bonferroni combination; `bias` is the estimated effect of the reward rule on each
    statistic, in standard errors.  `valid` is False when that effect, or sums too skewed for the normal limit, may have caused a
    rejection; `warnings` says why.  Not rejecting
    proves nothing: only the test functions given were tried.
    """

    rejected: bool
    p_value: float
    statistics: FloatArray
    p_values: FloatArray
    bias: FloatArray
    alpha: float
    method: str
    paths: int
    valid: bool
    warnings: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """`"rejected"`, `"not rejected"`, or `"inconclusive"` when a rejection may have another cause than the critic."""
        if not self.rejected:
            return "not rejected"
        return "rejected" if self.valid else "inconclusive"


def test_critic(
    paths: Paths,
    critic: Callable[..., Any],
    *,
    tests: Features,
    alpha: float = 0.01,
    discount: float = 0.0,
    reward_rule: str = "trapezoid",
    method: str = "asymptotic",
    volatility: Callable[[FloatArray, FloatArray], ArrayLike] | float | None = None,
    gradient: Callable[[FloatArray, FloatArray], ArrayLike] | None = None,
    scale: float = 1.0,
) -> CriticTest:
    """Test whether a critic is the value function of the policy behind the trajectories.

    Parameters
    ----------
    paths : Paths
        Independent trajectories of the policy.
    critic : callable or torch module
        J(time (N + 1,), state (n, N + 1, d)) with values of shape (n, N + 1); a torch module gets the rows (t, x).
        With a terminal reward the critic's value at the last time is compared with it first.
    tests : sequence of Polynomial or callable
        Test functions xi of the current time and state, as the features of `evaluate`; at least one.
    alpha : float
        Probability of rejecting a correct critic, shared by the test functions.
    discount : float
        Discount rate beta >= 0 per unit of time.
    reward_rule : str
        `"trapezoid"` or `"left"`; the left rule has a bias of first order in the time step, which many paths detect.
    method : str
        `"asymptotic"` (normal limit, many paths) or `"mixture"` (any number of paths; needs `volatility`).
    volatility : callable or float, optional
        s(time, state) of shape broadcastable to (n, N + 1, d): diagonal volatility of the state, for `"mixture"`.
    gradient : callable, optional
        Gradient of the critic, shape (n, N + 1, d); central differences of the critic when omitted.
    scale : float
        For `"mixture"`: the bracket (variance of the sum) at which the test is most powerful, roughly the one expected; it must be
        chosen before the data, and then any positive number keeps the level.

    Returns
    -------
    CriticTest

    Raises
    ------
    ValueError
        If an argument is out of range, the critic returns another shape or values that are not finite, or `volatility` is missing.
    ImportError
        If the critic is a torch module and torch is not installed.

    Source: martingale_td, G10.

    Examples
    --------
    >>> from mdps.diffusions import OrnsteinUhlenbeck, variables
    >>> t, x = variables()
    >>> model = OrnsteinUhlenbeck(kappa=1.0, sigma=0.7, discount=0.5)
    >>> paths = model.sample(paths=2000, steps=50, duration=1.0, seed=0)
    >>> right = test_critic(paths, lambda t, x: model.value(0.0, x[:, :, 0]), tests=[x**2, x**0], discount=0.5)
    >>> wrong = test_critic(paths, lambda t, x: 1.2 * model.value(0.0, x[:, :, 0]), tests=[x**2, x**0], discount=0.5)
    >>> right.verdict, wrong.verdict
    ('not rejected', 'rejected')
    """
    require_choice("method", method, METHODS)
    require_choice("reward_rule", reward_rule, REWARD_RULES)
    require_open_unit("alpha", alpha)
    if not 0.0 <= discount < math.inf:
        raise ValueError(f"discount must be a finite rate >= 0, got {discount}")
    if method == "mixture" and volatility is None:
        raise ValueError("volatility must be given for the method 'mixture'")
    if not 0.0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if isinstance(tests, Sequence) and not tests:
        raise ValueError("tests must hold at least one test function, got none")
    values = _critic_values(critic, paths.time, paths.state)
    terminal = _terminal_gap(values, paths)
    if terminal is not None:
        return _terminal_failure(terminal, alpha, method, paths.count)
    xi = feature_values(tests, paths.time, paths.state)[:, :-1]
    weight = np.exp(-discount * (paths.time[:-1] - paths.time[0]))
    increments = weight * td_errors(values, paths.reward, paths.time, discount, reward_rule)
    sums = np.einsum("pik,pi->pk", xi, increments)
    error = np.einsum("pik,pi->pk", xi, weight * _quadrature_error(paths, discount, reward_rule))
    if method == "asymptotic":
        spread = np.sqrt(np.sum(sums**2, axis=0))
        spread = np.where(spread > 0, spread, 1.0)
        statistics = sums.sum(axis=0) / spread
        from scipy.special import erfc

        p_values = erfc(np.abs(statistics) / math.sqrt(2.0))
        skewness = np.abs(np.mean(sums**3, axis=0)) / np.maximum(np.mean(sums**2, axis=0), 1e-300) ** 1.5 / math.sqrt(paths.count)
        assumptions = (
            "paths are independent and made by one policy",
            "the number of paths is large enough for the normal limit of the self-normalised sums",
            "the error of the reward rule is small against the standard error",
        )
    else:
        bracket = _bracket(critic, gradient, volatility, paths, xi, weight)
        spread = np.sqrt(bracket)
        statistics = sums.sum(axis=0) / np.where(spread > 0, spread, 1.0)
        p_values = _mixture_p(sums.sum(axis=0), bracket, scale)
        skewness = np.zeros(statistics.size)
        assumptions = (
            "paths are independent and made by one policy",
            "within a step the martingale is continuous with the given volatility; the bracket is its left Riemann sum",
            "the error of the reward rule is small against the standard error",
        )
    count = statistics.size
    p_value = float(min(1.0, count * np.min(p_values)))
    bias = np.abs(error.sum(axis=0)) / np.where(spread > 0, spread, 1.0)
    worst = int(np.argmin(p_values))
    rejected = p_value <= alpha
    decisive = abs(statistics[worst]) > 4.0 * math.sqrt(2.0 * math.log(2.0 * count / alpha))
    valid = bool((bias[worst] <= NEGLIGIBLE or bias[worst] <= 0.25 * abs(statistics[worst])) and (skewness[worst] <= SKEWED or decisive))
    warnings = []
    if skewness.max() > SKEWED:
        warnings.append(
            f"the sums of test {int(np.argmax(skewness))} are so skewed that {paths.count} paths are too few for the normal limit: "
            "use more paths, a bounded test function, or the method 'mixture'"
        )
    if bias.max() > NEGLIGIBLE:
        warnings.append(
            f"the reward rule {reward_rule!r} shifts a statistic by about {bias.max():.2g} standard errors: use "
            f"{'the trapezoid' if reward_rule == 'left' else 'smaller time steps'} before trusting a rejection"
        )
    return CriticTest(rejected, p_value, statistics, np.asarray(p_values), bias, alpha, method, paths.count, valid, tuple(warnings), assumptions)


test_critic.__test__ = False  # type: ignore[attr-defined]  # not a test for pytest to collect


def _critic_values(critic: Any, time: FloatArray, state: FloatArray) -> FloatArray:
    """Evaluate a callable or a torch module on all paths; refuse wrong shapes and values that are not finite."""
    raw = _torch_values(critic, time, state) if hasattr(critic, "parameters") and hasattr(critic, "forward") else critic(time, state)
    values = np.asarray(raw, dtype=np.float64)
    try:
        values = np.broadcast_to(values, state.shape[:2])
    except ValueError:
        raise ValueError(f"critic must return shape {state.shape[:2]}, got {values.shape}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"critic must return finite values, got {values[~np.isfinite(values)][0]}")
    return values


def _torch_values(critic: Any, time: FloatArray, state: FloatArray) -> FloatArray:
    import torch

    rows = np.concatenate([np.broadcast_to(time[None, :, None], (*state.shape[:2], 1)), state], axis=2).reshape(-1, 1 + state.shape[2])
    parameter = next(iter(critic.parameters()), None)
    with torch.no_grad():
        kind = torch.float64 if parameter is None else parameter.dtype
        device = "cpu" if parameter is None else parameter.device
        out = critic(torch.as_tensor(np.ascontiguousarray(rows), dtype=kind, device=device))
    return np.asarray(out.detach().cpu().double().numpy()).reshape(state.shape[:2])


def _terminal_gap(values: FloatArray, paths: Paths) -> float | None:
    """Return the largest difference from the terminal reward where it is more than rounding, else None."""
    if paths.terminal is None:
        return None
    gap = float(np.max(np.abs(values[:, -1] - paths.terminal)))
    return gap if gap > 1e-6 * max(1.0, float(np.max(np.abs(paths.terminal)))) else None


def _terminal_failure(gap: float, alpha: float, method: str, count: int) -> CriticTest:
    message = f"the critic differs from the terminal reward by up to {gap:.3g} at the last time, so it is not the value function"
    none = np.empty(0)
    return CriticTest(True, 0.0, none, none, none, alpha, method, count, True, (message,), ("the terminal reward given is the policy's",))


def _quadrature_error(paths: Paths, discount: float, rule: str) -> FloatArray:
    """Estimate the error of the reward rule on each step: against the trapezoid for the left rule, against steps twice as long for it."""
    dt = np.diff(paths.time)
    if rule == "left":
        return step_rewards(paths.reward, dt, discount, "left") - step_rewards(paths.reward, dt, discount, "trapezoid")
    error = np.zeros((paths.count, dt.size))
    pairs = dt.size // 2
    if pairs == 0:
        return error
    fine = step_rewards(paths.reward, dt, discount, "trapezoid")[:, : 2 * pairs]
    joined = fine[:, 0::2] + np.exp(-discount * dt[0 : 2 * pairs : 2]) * fine[:, 1::2]
    long = dt[0 : 2 * pairs : 2] + dt[1 : 2 * pairs : 2]
    coarse = 0.5 * long * (paths.reward[:, 0 : 2 * pairs : 2] + np.exp(-discount * long) * paths.reward[:, 2 : 2 * pairs + 1 : 2])
    error[:, 0 : 2 * pairs : 2] = (coarse - joined) / 3.0
    return error


def _bracket(critic: Any, gradient: Any, volatility: Any, paths: Paths, xi: FloatArray, weight: FloatArray) -> FloatArray:
    """Return sum over paths of int xi^2 d<M>, one entry for each test function."""
    state, time = paths.state, paths.time
    if gradient is not None:
        slope = np.asarray(gradient(time, state), dtype=np.float64)
    else:
        slope = np.empty_like(state)
        for axis in range(paths.dimension):
            width = 1e-4 * max(1.0, float(np.std(state[:, :, axis])))
            shift = np.zeros(paths.dimension)
            shift[axis] = width
            slope[:, :, axis] = (_critic_values(critic, time, state + shift) - _critic_values(critic, time, state - shift)) / (2.0 * width)
    if slope.shape != state.shape or not np.isfinite(slope).all():
        raise ValueError(f"gradient must return finite values of shape {state.shape}, got shape {slope.shape}")
    noise = np.broadcast_to(np.asarray(volatility(time, state) if callable(volatility) else volatility, dtype=np.float64), state.shape)
    rate = np.sum((noise * slope) ** 2, axis=2)[:, :-1]
    return np.asarray(np.einsum("pik,pi->k", xi**2, weight**2 * rate * np.diff(time)))


def _mixture_p(total: FloatArray, bracket: FloatArray, variance: float) -> FloatArray:
    """Return the p-values min(1, 1 / mixture) of exp(l N - l^2 <N> / 2) mixed over l ~ N(0, 1 / variance)."""
    log_mixture = 0.5 * (np.log(variance) - np.log(variance + bracket)) + 0.5 * total**2 / (variance + bracket)
    return np.asarray(np.exp(-np.maximum(log_mixture, 0.0)))
