"""What a policy can be asked for: utilities of c_0 + G, with the conditions that dynamic programming needs checked here.

A utility f is admissible for a discounted infinite horizon if f(gamma x) = gamma f(x) and f is Lipschitz; for a finite horizon if
f(gamma x) = alpha f(x) + b with alpha > 0; undiscounted, always (distributional_dp/G2-gamma).  A clock in the state lifts the condition
(distributional_dp/G10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_choice, require_finite_array, require_real

__all__ = ["Objective", "constrained", "expected_utility", "homeostasis", "log_periodic", "piecewise_linear", "target_return"]

FloatArray = NDArray[np.float64]
Utility = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """An expected utility E f(c_0 + G) to be maximised.

    `utility` maps an array of stocks, shape (N,) or (N, m) for vectors, to values (N,).  `slopes` are those left and right of 0 where f is
    linear there with f(0) = 0; `lipschitz` is None where f has no global constant; `rewards` holds the vector rewards of transitions,
    (S, A, S, m), and `shift` is added to the stock that the user gives.
    """

    name: str
    utility: Utility
    slopes: tuple[float, float] | None = None
    lipschitz: float | None = None
    rewards: FloatArray | None = None
    shift: float | FloatArray = 0.0

    @property
    def dimension(self) -> int:
        """Length of the stock; 1 for scalars."""
        return 1 if self.rewards is None else int(self.rewards.shape[-1])


def piecewise_linear(below: float, above: float) -> Objective:
    """Return the utility `above * max(x, 0) + below * min(x, 0)`.

    Parameters
    ----------
    below, above : float
        Slopes left and right of 0: (1, 0) is min(x, 0), the inner problem of CVaR; (1, 1) the mean; (1, -1) is -|x|.

    Returns
    -------
    Objective
        Homogeneous for every discount, Lipschitz with the larger slope.

    Raises
    ------
    ValueError
        If a slope is not finite or both are 0.

    Examples
    --------
    >>> piecewise_linear(1.0, 0.0).utility(np.array([-2.0, 3.0])).tolist()
    [-2.0, 0.0]
    """
    low, high = require_real("below", below), require_real("above", above)
    if low == 0.0 and high == 0.0:
        raise ValueError("below and above must not both be 0: such a utility prefers nothing")

    def utility(x: FloatArray) -> FloatArray:
        return high * np.maximum(x, 0.0) + low * np.minimum(x, 0.0)

    return Objective(f"piecewise linear ({low:g}, {high:g})", utility, slopes=(low, high), lipschitz=max(abs(low), abs(high)))


def target_return(target: float) -> Objective:
    """Return the objective of hitting a return: maximise -E|G - target| (stock 0 means the whole target is open).

    Parameters
    ----------
    target : float
        The return to hit, finite.

    Raises
    ------
    ValueError
        If the target is not finite.
    """
    wanted = require_real("target", target)
    plain = piecewise_linear(1.0, -1.0)
    return Objective(f"target {wanted:g}", plain.utility, slopes=plain.slopes, lipschitz=1.0, shift=-wanted)


def log_periodic(discount: float, *, amplitude: float = 1.0) -> Objective:
    r"""Return \(f(x) = x\,(2 + a\sin(2\pi\log|x|/\log\gamma))\), f(0) = 0: homogeneous for this discount and no other utility's shape.

    Parameters
    ----------
    discount : float in (0, 1)
        Must be the model's.
    amplitude : float
        a, in [-1, 1].

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    gamma, a = require_real("discount", discount), require_real("amplitude", amplitude)
    if not 0.0 < gamma < 1.0:
        raise ValueError(f"discount must be in (0, 1), got {discount}")
    if not abs(a) <= 1.0:
        raise ValueError(f"amplitude must be in [-1, 1], got {amplitude}")
    rate = 2.0 * np.pi / np.log(gamma)

    def utility(x: FloatArray) -> FloatArray:
        size = np.abs(x)
        wave = np.sin(rate * np.log(np.where(size > 0.0, size, 1.0)))
        return np.asarray(x * (2.0 + a * wave))

    return Objective(f"log-periodic ({gamma:g}, {a:g})", utility, lipschitz=float(2.0 + abs(a) * np.hypot(1.0, rate)))


def expected_utility(utility: Callable[[Any], Any], *, lipschitz: float | None = None, name: str = "expected utility") -> Objective:
    """Wrap a user's utility of c_0 + G.

    Parameters
    ----------
    utility : callable
        Called with an array of numbers, or number by number if it cannot take arrays.
    lipschitz : float, optional
        A Lipschitz constant, needed for an infinite horizon; an observed steeper slope refutes it.
    name : str
        Shown in results.

    Returns
    -------
    Objective

    Raises
    ------
    ValueError
        If `utility` is not callable or the constant is not positive.  `optimise` refuses a utility that is not finite or steeper than its
        constant on the returns of the model.
    """
    if not callable(utility):
        raise ValueError(f"utility must be callable, got {type(utility).__name__}")
    constant = None if lipschitz is None else require_real("lipschitz", lipschitz, above=0.0)
    return Objective(name, _vectorised(utility), lipschitz=constant)


def homeostasis(rewards: ArrayLike, *, norm: str = "l1", target: ArrayLike = 0.0) -> Objective:
    """Return the objective of keeping a vector of discounted balances near a target: maximise -E||c_0 + G - target||.

    Parameters
    ----------
    rewards : array (S, A, m) or (S, A, S, m)
        Vector rewards; they replace the reward of the model.
    norm : str
        `"l1"`, `"l2"` or `"linf"`.
    target : float or array (m,)
        The balance wanted.

    Raises
    ------
    ValueError
        If the rewards have another shape, a number is not finite, or the norm is unknown.
    """
    require_choice("norm", norm, ("l1", "l2", "linf"))
    vectors = _vector_rewards(rewards)
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]

    def utility(x: FloatArray) -> FloatArray:
        return np.asarray(-np.linalg.norm(x, ord=order, axis=-1))

    shift = np.broadcast_to(np.asarray(target, dtype=np.float64), vectors.shape[-1:])
    return Objective(f"homeostasis ({norm})", utility, lipschitz=1.0, rewards=vectors, shift=-shift)


def constrained(rewards: ArrayLike, limits: ArrayLike, *, penalty: float) -> Objective:
    """Return the objective of collecting the first reward while the others stay below limits, each excess charged at `penalty`.

    Parameters
    ----------
    rewards : array (S, A, m) or (S, A, S, m)
        The reward first, then m - 1 costs; they replace the reward of the model.
    limits : array (m - 1,)
        Allowed discounted costs.
    penalty : float
        Price of a unit of excess; large values make the limits hard.

    Returns
    -------
    Objective
        Maximise E[G_0 - penalty * sum_i max(G_i - limit_i, 0)].

    Raises
    ------
    ValueError
        If shapes do not fit or the penalty is not positive.
    """
    vectors = _vector_rewards(rewards)
    price = require_real("penalty", penalty, above=0.0)
    bounds = np.atleast_1d(np.asarray(limits, dtype=np.float64))
    if bounds.shape != (vectors.shape[-1] - 1,) or not np.isfinite(bounds).all():
        raise ValueError(f"limits must be finite, of shape ({vectors.shape[-1] - 1},), got {limits!r}")

    def utility(x: FloatArray) -> FloatArray:
        return np.asarray(x[..., 0] - price * np.maximum(x[..., 1:], 0.0).sum(axis=-1))

    return Objective("constrained", utility, lipschitz=max(1.0, price), rewards=vectors, shift=np.concatenate([[0.0], -bounds]))


def require_utility(objective: Objective, reach: float) -> None:
    """Refuse a utility that is not finite on [-reach, reach], or steeper between probes than its Lipschitz constant."""
    if objective.rewards is not None:
        return
    x = _probe(reach)
    with np.errstate(all="ignore"):
        y = objective.utility(x)
    bad = ~np.isfinite(y)
    if bad.any():
        raise ValueError(f"objective must be finite on the returns, [-{reach:g}, {reach:g}]; {objective.name} is {y[bad][0]} at {x[bad][0]:g}")
    if objective.lipschitz is not None:
        steepest = float(np.abs(np.diff(y) / np.diff(x)).max())
        if steepest > objective.lipschitz * (1.0 + 1e-6):
            raise ValueError(f"lipschitz must be at least the steepest slope of the utility, {steepest:g} between probes, got {objective.lipschitz:g}")


def homogeneity_defect(objective: Objective, gamma: float, reach: float, *, affine: bool) -> float:
    """Return how far f is from f(gamma x) = gamma f(x), or with `affine` from alpha f(x) + b for the best alpha > 0 and b.

    The defect is the largest difference over probes in [-reach, reach], relative to the range of f(gamma x); above 1e-7 the condition
    fails.  Constants are indifferent to everything.
    """
    x = _probe(reach)
    if objective.rewards is not None:
        x = x[:, None] * np.random.Generator(np.random.Philox(7)).standard_normal((x.size, objective.dimension))
    f, g = objective.utility(x), objective.utility(gamma * x)
    scale = max(1e-300, float(np.ptp(g)))
    if not affine:
        zero = float(objective.utility(np.zeros_like(x[:1]))[0])
        return float(np.abs(g - zero - gamma * (f - zero)).max()) / scale
    alpha, offset = np.linalg.lstsq(np.stack([f, np.ones_like(f)], axis=1), g, rcond=None)[0]
    return float(np.abs(g - alpha * f - offset).max()) / scale if alpha > 0.0 else float("inf")


def _probe(reach: float) -> FloatArray:
    """Return deterministic probes on both sides of 0, fine near it, none a power of a common ratio."""
    size = reach * np.concatenate([np.geomspace(1e-6, 1.0, 241), np.linspace(0.0123, 0.9987, 400)])
    return np.unique(np.concatenate([-size, [0.0], size]))


def _vectorised(utility: Callable[[Any], Any]) -> Utility:
    def call(x: FloatArray) -> FloatArray:
        try:
            y = np.asarray(utility(x), dtype=np.float64)
        except (TypeError, ValueError):
            y = np.empty(0)
        if y.shape != x.shape:
            y = np.array([float(utility(float(v))) for v in x.ravel()]).reshape(x.shape)
        return y

    return call


def _vector_rewards(rewards: ArrayLike) -> FloatArray:
    given = np.asarray(rewards, dtype=np.float64)
    if given.ndim not in (3, 4) or given.shape[-1] < 1:
        raise ValueError(f"rewards must have shape (S, A, m) or (S, A, S, m), got {given.shape}")
    require_finite_array("rewards", given, ndim=given.ndim)
    return given if given.ndim == 4 else np.repeat(given[:, :, None, :], given.shape[0], axis=2)
