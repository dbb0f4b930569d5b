"""Is this critic the value function of the policy that made these trajectories?

Under a correct critic M_t = e^{-beta t} J(t, X_t) + int e^{-beta u} r du is a martingale, so every predictable test function xi has
E int xi dM = 0.  Two tests of it: self-normalised sums over independent paths, asymptotically normal; and a mixture supermartingale
whose level holds for any number of paths: on any grid where the conditional variance of a TD error is known, and on a fine one where
only the volatility of the state is.
Source: martingale_td, G2 and G10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_open_unit, require_real
from certify.martingale._callables import Features, as_paths, feature_values, function_values
from certify.martingale.evaluation import REWARD_RULES, require_rate, step_rewards, td_errors
from mdps.diffusions.paths import Paths

__all__ = ["METHODS", "CriticTest", "test_critic"]

FloatArray = NDArray[np.float64]
METHODS = ("asymptotic", "mixture")
NEGLIGIBLE = 0.25
"""Standard errors below which the estimated error of the reward rule is taken not to matter."""
FEWEST = 20.0
"""Effective number of paths, (sum s^2)^2 / sum s^4 over the sums s of paths, below which the normal limit is not trusted.  Measured on powers of
Gaussian states and exponentials of them at the level 1 %: up to 4 % of correct critics are rejected above it, up to 20 % without it.
The sample skewness over the root of the number of paths is then at most 0.22 (measured: 0.4 doubles the error rate)."""
DECISIVE = 2.0
"""Multiple of sqrt(2 log(2 / level)) from which a statistic is no accident of heavy tails (measured on the same: less than 0.3 %)."""
COARSE = 0.5
"""Ratio of the left Riemann sum of the bracket to its larger estimate below which the grid is taken to be too coarse for the volatility."""


@dataclass(frozen=True)
class CriticTest:
    """The outcome of the orthogonality test.

    `rejected`: the critic is not the value function, except with probability `alpha`.  `statistics` and `p_values` have one entry for
    each test function; `p_value` is their Bonferroni combination; `bias` is the estimated effect of the reward rule on each
    statistic, in standard errors.  `valid` is False when that effect, sums too skewed or heavy-tailed for the normal limit, or a grid too
    coarse for the bracket may have caused a rejection; `warnings` says why.  Not rejecting proves nothing: only the test functions given
    were tried, and without a terminal reward in the paths a critic wrong by c e^{beta t} passes every test.
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
    volatility: Callable[[FloatArray, FloatArray], ArrayLike] | ArrayLike | None = None,
    variance: Callable[[FloatArray, FloatArray], ArrayLike] | float | None = None,
    gradient: Callable[[FloatArray, FloatArray], ArrayLike] | None = None,
    scale: float = 1.0,
) -> CriticTest:
    """Test whether a critic is the value function of the policy behind the trajectories.

    Parameters
    ----------
    paths : Paths, or the arrays (time, state, reward[, terminal])
        Independent trajectories of the policy.
    critic : callable or torch module
        J(time (N + 1,), state (n, N + 1, d)) with values of shape (n, N + 1); in one dimension a function of t and x that broadcasts will
        do, and a function of one point is called point by point (slow).  A torch module gets the rows (t, x), or t and x if it takes two.
        With a terminal reward the critic's value at the last time is compared with it first.
    tests : sequence of Polynomial or callable, or callable
        Test functions xi of the current time and state, as the features of `evaluate`; at least one.
    alpha : float
        Probability of rejecting a correct critic, shared by the test functions.
    discount : float
        Discount rate beta >= 0 per unit of time.
    reward_rule : str
        `"trapezoid"` or `"left"`; the left rule has a bias of first order in the time step, which many paths detect.
    method : str
        `"asymptotic"` (normal limit, many paths) or `"mixture"` (any number of paths; needs `variance` or `volatility`).
    volatility : callable or number or array, optional
        For `"mixture"`: s of dX = ... + s dW, a number >= 0, one for each coordinate (d,), a matrix (d, m), or a function of time and
        state that returns (n, N + 1, d) or (n, N + 1, d, m).  Its bracket is approximate: the larger of the realised one and of a Riemann
        sum with the larger end of each step.
    variance : callable or number, optional
        For `"mixture"`: v(time, state), shape (n, N + 1), at least the variance of the TD error of the step from that state given the state
        (the reward of the step included).  The level then holds on any grid.
    gradient : callable, optional
        Gradient of the critic, shape (n, N + 1, d); when omitted automatic for a torch module and by central differences else.
    scale : float
        For `"mixture"`: the bracket (variance of the sum) at which the test is most powerful, roughly the one expected; it must be
        chosen before the data, and then any positive number keeps the level.

    Returns
    -------
    CriticTest

    Raises
    ------
    ValueError
        If an argument is out of range, the critic returns another shape or values that are not finite, or `variance` and `volatility` are missing.
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
    require_rate(discount)
    if method == "mixture" and volatility is None and variance is None:
        raise ValueError("volatility or variance must be given for the method 'mixture'")
    require_real("scale", scale, above=0.0)
    paths = as_paths(paths)
    values = _critic_values(critic, paths.time, paths.state)
    xi = feature_values(tests, paths.time, paths.state, "tests")[:, :-1]
    if xi.shape[2] == 0:
        raise ValueError("tests must hold at least one test function, got none")
    terminal = _terminal_gap(values, paths)
    if terminal is not None:
        return _terminal_failure(terminal, alpha, method, paths.count)
    weight = np.exp(-discount * (paths.time[:-1] - paths.time[0]))
    increments = weight * td_errors(values, paths.reward, paths.time, discount, reward_rule)
    sums = np.einsum("pik,pi->pk", xi, increments)
    corrected = sums - np.einsum("pik,pi->pk", xi, weight * _quadrature_error(paths, discount, reward_rule))
    doubts: list[str] = []
    if method == "asymptotic":
        spread = np.sqrt(np.sum(sums**2, axis=0))
        p_values, fair = (_normal_p(s) for s in (sums, corrected))
        trusted = _near_normal(sums)
        limits = [
            "the number of paths is large enough for the normal limit of the self-normalised sums",
        ]
        if not trusted.all():
            doubts.append(
                f"the sums of test {int(np.argmin(trusted))} are so skewed or heavy-tailed that {paths.count} paths are too few for the normal limit: "
                "use more paths, a bounded test function, or the method 'mixture'"
            )
    else:
        realised = np.einsum("pik,pi->k", xi**2, increments**2)
        if variance is not None:
            bracket = (realised + 2.0 * _known_bracket(variance, paths, xi, weight)) / 3.0
            trusted = np.ones(bracket.size, dtype=bool)
            limits = ["given the present state, the variance of a TD error is at most the one given"]
        else:
            left, larger = _bracket(critic, gradient, volatility, paths, xi, weight)
            bracket = np.maximum(realised, larger)
            trusted = left >= COARSE * bracket
            limits = ["within a step the martingale is continuous with the given volatility; its bracket is estimated from the ends of the steps"]
        if not trusted.all():
            doubts.append(
                f"the time steps are too coarse for the bracket of test {int(np.argmin(trusted))}: use smaller steps, or give the variance of a TD error"
            )
        spread = np.sqrt(bracket)
        p_values, fair = (_mixture_p(s.sum(axis=0), bracket, scale) for s in (sums, corrected))
    safe = np.where(spread > 0, spread, 1.0)
    statistics = sums.sum(axis=0) / safe
    bias = np.abs((sums - corrected).sum(axis=0)) / safe
    count = statistics.size
    p_value = float(min(1.0, count * np.min(p_values)))
    rejected = p_value <= alpha
    if method == "asymptotic":
        trusted = trusted | (np.abs(statistics) > DECISIVE * math.sqrt(2.0 * math.log(2.0 * count / alpha)))
    known = reward_rule == "left" or paths.steps > 1 or not paths.reward.any()
    # a rejection counts where the same test, trusted and freed from the estimated error of the reward rule, rejects too
    valid = not rejected or (known and bool(np.any(trusted & (count * np.maximum(p_values, fair) <= alpha))))
    if not known:
        doubts.append("the error of the reward rule cannot be estimated on one step: use paths of two or more")
    if bias.max() > NEGLIGIBLE:
        doubts.append(
            f"the reward rule {reward_rule!r} shifts a statistic by about {bias.max():.2g} standard errors: use "
            f"{'the trapezoid' if reward_rule == 'left' else 'smaller time steps'} before trusting a rejection"
        )
    assumptions = ("paths are independent and made by one policy", *limits, "the error of the reward rule is small against the standard error")
    return CriticTest(rejected, p_value, statistics, np.asarray(p_values), bias, alpha, method, paths.count, valid, tuple(doubts), assumptions)


test_critic.__test__ = False  # type: ignore[attr-defined]  # not a test for pytest to collect


def _critic_values(critic: Any, time: FloatArray, state: FloatArray) -> FloatArray:
    """Evaluate a callable or a torch module on all paths; refuse wrong shapes and values that are not finite."""
    if not _is_torch(critic):
        if not callable(critic):
            raise ValueError(f"critic must be a function of time and state or a torch module, got {type(critic).__name__}")
        return function_values("critic", critic, time, state)
    import torch

    with torch.no_grad():
        out = _forward(critic, _rows(critic, time, state))
    values = np.asarray(out.detach().cpu().double().numpy()).reshape(state.shape[:2])
    if not np.isfinite(values).all():
        raise ValueError(f"critic must be finite, got {values[~np.isfinite(values)][0]}")
    return values


def _is_torch(critic: Any) -> bool:
    return hasattr(critic, "parameters") and hasattr(critic, "forward")


def _rows(critic: Any, time: FloatArray, state: FloatArray) -> Any:
    """Return the rows (t, x) of all points as a tensor of the module's type, on its device."""
    import torch

    rows = np.concatenate([np.broadcast_to(time[None, :, None], (*state.shape[:2], 1)), state], axis=2).reshape(-1, 1 + state.shape[2])
    parameter = next(iter(critic.parameters()), None)
    kind, device = (torch.float64, "cpu") if parameter is None else (parameter.dtype, parameter.device)
    return torch.as_tensor(np.ascontiguousarray(rows), dtype=kind, device=device)


def _forward(critic: Any, rows: Any) -> Any:
    """Call a module with the rows (t, x), or with t and x where it takes two arguments; refuse other than one value a row."""
    try:
        out = critic(rows)
    except (TypeError, RuntimeError) as first:
        try:
            out = critic(rows[:, :1], rows[:, 1:])
        except (TypeError, RuntimeError):
            raise ValueError(f"critic must take the rows (t, x) of shape {tuple(rows.shape)}, it fails with: {str(first).strip().splitlines()[0]}") from None
    shape = tuple(getattr(out, "shape", ()))
    if shape not in ((len(rows),), (len(rows), 1)):
        raise ValueError(f"critic must return one value a row, shape ({len(rows)},) or ({len(rows)}, 1), got {shape}")
    return out


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
    error[:, 0 : 2 * pairs : 2] = (coarse - joined) / 3.0 * (dt.size / (2 * pairs))
    return error


def _normal_p(sums: FloatArray) -> FloatArray:
    """Return the two-sided p-values of self-normalised sums over paths."""
    from scipy.special import erfc

    spread = np.sqrt(np.sum(sums**2, axis=0))
    return np.asarray(erfc(np.abs(sums.sum(axis=0)) / np.where(spread > 0, spread, 1.0) / math.sqrt(2.0)))


def _near_normal(sums: FloatArray) -> NDArray[np.bool_]:
    """Say for each test whether its sums over paths are so little skewed and heavy-tailed that the normal limit can be trusted.

    The sample skewness over the root of the number of paths is at most one over the root of the effective number (Cauchy-Schwarz).
    """
    square = (sums / np.maximum(np.abs(sums).max(axis=0), 1e-300)) ** 2
    return np.asarray(square.sum(axis=0) ** 2 >= FEWEST * np.maximum((square**2).sum(axis=0), 1e-300))


def _known_bracket(variance: Any, paths: Paths, xi: FloatArray, weight: FloatArray) -> FloatArray:
    """Return sum over paths and steps of xi^2 w^2 Var(D | state), one entry for each test function."""
    given = variance if callable(variance) else (lambda t, x: float(variance))
    values = function_values("variance", given, paths.time, paths.state)
    if values.min() < 0:
        raise ValueError(f"variance must be >= 0, got {values.min()}")
    return np.asarray(np.einsum("pik,pi->k", xi**2, weight**2 * values[:, :-1]))


def _bracket(critic: Any, gradient: Any, volatility: Any, paths: Paths, xi: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sum over paths of int xi^2 d<M>, one entry for each test function: by left ends of steps, and by their larger ends."""
    rate = _noise_rate(volatility, _slope(critic, gradient, paths), paths)
    larger = np.maximum(rate[:, :-1], rate[:, 1:])
    shares = xi**2 * (weight**2 * np.diff(paths.time))[None, :, None]
    return np.einsum("pik,pi->k", shares, rate[:, :-1]), np.einsum("pik,pi->k", shares, larger)


def _slope(critic: Any, gradient: Any, paths: Paths) -> FloatArray:
    """Return the gradient of the critic in the state, shape (n, N + 1, d)."""
    state, time = paths.state, paths.time
    if gradient is not None:
        if paths.dimension == 1:
            return function_values("gradient", gradient, time, state)[:, :, None]
        slope = np.asarray(gradient(time, state), dtype=np.float64)
    elif _is_torch(critic):
        import torch

        rows = _rows(critic, time, state).requires_grad_(True)
        (found,) = torch.autograd.grad(_forward(critic, rows).sum(), rows)
        slope = np.asarray(found[:, 1:].cpu().double().numpy()).reshape(state.shape)
    else:
        slope = np.empty_like(state)
        for axis in range(paths.dimension):
            width = 1e-4 * max(1.0, float(np.std(state[:, :, axis])))
            shift = np.zeros(paths.dimension)
            shift[axis] = width
            slope[:, :, axis] = (_critic_values(critic, time, state + shift) - _critic_values(critic, time, state - shift)) / (2.0 * width)
    if slope.shape != state.shape or not np.isfinite(slope).all():
        raise ValueError(f"gradient must return finite values of shape {state.shape}, got shape {slope.shape}")
    return slope


def _noise_rate(volatility: Any, slope: FloatArray, paths: Paths) -> FloatArray:
    """Return |s' grad J|^2, shape (n, N + 1)."""
    if callable(volatility) and paths.dimension == 1:
        noise = function_values("volatility", volatility, paths.time, paths.state)[:, :, None]
    else:
        try:
            noise = np.asarray(volatility(paths.time, paths.state) if callable(volatility) else volatility, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"volatility must hold numbers: {error}") from None
    if not np.isfinite(noise).all():
        raise ValueError(f"volatility must be finite, got {noise[~np.isfinite(noise)][0]}")
    d = paths.dimension
    if noise.shape in ((), (1,), (d,), slope.shape):
        if noise.size and noise.min() < 0:
            raise ValueError(f"volatility must be >= 0, got {noise.min()}")
        return np.asarray(np.sum((noise * slope) ** 2, axis=2))
    if noise.ndim in (2, 4) and noise.shape[-2] == d and noise.shape[:-2] in ((), slope.shape[:2]):
        return np.asarray(np.sum(np.einsum("pid,dm->pim" if noise.ndim == 2 else "pid,pidm->pim", slope, noise) ** 2, axis=2))
    raise ValueError(f"volatility must be a number, or have shape ({d},), ({d}, m), {slope.shape} or {(*slope.shape, 'm')}; got {noise.shape}")


def _mixture_p(total: FloatArray, bracket: FloatArray, variance: float) -> FloatArray:
    """Return the p-values min(1, 1 / mixture) of exp(l N - l^2 <N> / 2) mixed over l ~ N(0, 1 / variance)."""
    log_mixture = 0.5 * (np.log(variance) - np.log(variance + bracket)) + 0.5 * total**2 / (variance + bracket)
    return np.asarray(np.exp(-np.maximum(log_mixture, 0.0)))
