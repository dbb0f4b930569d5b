r"""R2PVI: robust offline reinforcement learning with linearly structured f-divergence regularisation.

A d-rectangular linear model has P_h(s' | s, a) = sum_i phi_i(s, a) mu_{h,i}(s') with non-negative features that sum to 1.  Nature may shift
each factor mu_{h,i}, at a price lambda for each unit of divergence (regularised) or within a radius rho (constrained).  Here stand the closed
forms that checks and certificates share: dual objectives, the printed coefficients of the penalty, those of the data-split certificate, range
bounds and the lower bounds.  The scalar worst cases themselves are `mdps.robust.worst_case`.  Source: r2pvi.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory._r2pvi_statements import GUARANTEES, PAPER
from theory._validate import require_each_between, require_finite_array, require_positive_number

__all__ = [
    "GUARANTEES", "PAPER", "bayes_risk", "coverage_bound", "coverage_trajectories", "dual_objective", "drpvi_coefficient", "gaussian_lower_bound",
    "printed_coefficient", "printed_lower_bound", "range_bound", "split_coefficient", "split_constant", "worst_leak",
]

DIVERGENCES = ("tv", "kl", "chi2")


def _divergence(divergence: str) -> str:
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}; got {divergence!r}")
    return divergence


def dual_objective(
    values: ArrayLike, nominal: ArrayLike, level: ArrayLike, *, divergence: str, penalty: float | None = None, radius: float | None = None,
) -> Any:
    r"""Return the dual objective at a level: its maximum over levels is the worst case, and every level gives a lower bound.

    Parameters
    ----------
    values : array (n,)
        V.
    nominal : array (n,)
        Q, a distribution.
    level : array
        The truncation level a of TV and chi2 (between the least value and the largest); for KL with a radius the dual variable a > 0.
        KL with a penalty has no free variable and ignores it.
    divergence : str
        "tv", "kl" or "chi2".
    penalty, radius : float
        Exactly one of lambda > 0 and rho >= 0.  TV with a penalty has the single admissible level min V + lambda, applied as a cap.

    Returns
    -------
    array
        The objective, of the shape of `level`.

    Raises
    ------
    ValueError
        If not exactly one price is given, or an argument is out of range.

    Source: r2pvi, G1, G2, G3.

    Examples
    --------
    >>> round(float(dual_objective([0, 1, 3], [0.2, 0.5, 0.3], 3.0, divergence="chi2", penalty=1.0)), 12)
    1.09
    """
    _divergence(divergence)
    if (penalty is None) == (radius is None):
        raise ValueError(f"exactly one of penalty and radius must be given, got penalty={penalty!r} and radius={radius!r}")
    v, q, a = require_finite_array("values", values), require_each_between("nominal", nominal, 0.0, 1.0), require_finite_array("level", level)
    if divergence == "kl":
        support = q > 0
        low = float(v[support].min())
        scale = np.full(a.shape, require_positive_number("penalty", penalty)) if radius is None else a
        if np.any(scale <= 0):
            raise ValueError(f"level must be > 0 for kl with a radius, got {float(np.min(scale))}")
        moment = (q[support] * np.exp(-(v[support] - low) / scale[..., None])).sum(axis=-1)
        result: Any = low - scale * np.log(moment) - (0.0 if radius is None else scale * radius)
        return result
    price = require_positive_number("penalty", penalty) if radius is None else float(require_each_between("radius", radius, 0.0, np.inf))
    clipped = np.minimum(v, a[..., None])
    mean = (q * clipped).sum(axis=-1)
    if divergence == "tv":
        least = float(v.min())
        return (q * np.minimum(clipped, least + price)).sum(axis=-1) if radius is None else mean - price * (a - least)
    variance = (q * (clipped - mean[..., None]) ** 2).sum(axis=-1)
    return mean - variance / (4.0 * price) if radius is None else mean - np.sqrt(price * variance)


def printed_coefficient(
    divergence: str, *, dimension: int, horizon: int, trajectories: float, delta: float, penalty: float | None = None,
) -> float:
    r"""Return the printed coefficient beta of the penalty of R2PVI, ridge 1.

    TV: $16 H d \sqrt\xi$, $\xi = 2\log(1024 H d^{1/2}K^2/\delta)$.  KL: $16 d\lambda e^{H/\lambda}\sqrt{H/\lambda+\xi}$,
    $\xi = \log(1024 d\lambda^2K^3H/\delta)$.  chi2: $8dH^2(1+1/\lambda)\sqrt\xi$, $\xi = \log(192K^5H^6d^3(1+H/(2\lambda))^3/\delta)$.

    Parameters
    ----------
    divergence : str
        "tv", "kl" or "chi2".
    dimension, horizon, trajectories : int
        d, H and K.
    delta : float
        Failure probability, in (0, 1).
    penalty : float
        lambda > 0; TV does not use it.

    Returns
    -------
    float
        beta; infinite where e^{H/lambda} overflows.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: r2pvi, G9 (second-hand).

    Examples
    --------
    >>> round(printed_coefficient("tv", dimension=3, horizon=3, trajectories=16384, delta=0.1))
    1121
    """
    _divergence(divergence)
    d, H, K = (require_positive_number(n, v) for n, v in (("dimension", dimension), ("horizon", horizon), ("trajectories", trajectories)))
    rest = -math.log(_probability(delta))
    if divergence == "tv":
        return 16.0 * H * d * math.sqrt(2.0 * (math.log(1024.0 * H * math.sqrt(d)) + 2.0 * math.log(K) + rest))
    lam = require_positive_number("penalty", penalty)
    if divergence == "kl":
        xi = math.log(1024.0 * d * H) + 2.0 * math.log(lam) + 3.0 * math.log(K) + rest
        return 16.0 * d * lam * (math.exp(H / lam) if H / lam < 700.0 else math.inf) * math.sqrt(max(H / lam + xi, 0.0))
    xi = math.log(192.0) + 5.0 * math.log(K) + 6.0 * math.log(H) + 3.0 * math.log(d) + 3.0 * math.log1p(H / (2.0 * lam)) + rest
    return 8.0 * d * H**2 * (1.0 + 1.0 / lam) * math.sqrt(xi)


def drpvi_coefficient(*, dimension: int, horizon: int, trajectories: float, delta: float, level_net: bool = True) -> float:
    r"""Return the coefficient $4\sqrt d H\sqrt\iota$ of DRPVI, $\iota = \log(2dH^2K/\delta)$.

    Parameters
    ----------
    dimension, horizon, trajectories : int
        d, H and K.
    delta : float
        Failure probability, in (0, 1).
    level_net : bool
        Add log(3HK) to iota for a net over the data-dependent truncation level, which the printed proof leaves out.

    Returns
    -------
    float
        The coefficient of sum_i ||phi_i 1_i||; the suboptimality bound carries another factor 2.

    Source: r2pvi, G11.

    Examples
    --------
    >>> round(drpvi_coefficient(dimension=3, horizon=3, trajectories=1000, delta=0.1, level_net=False), 3)
    75.512
    """
    d, H, K = (require_positive_number(n, v) for n, v in (("dimension", dimension), ("horizon", horizon), ("trajectories", trajectories)))
    iota = math.log(2.0 * d * H**2 * K) - math.log(_probability(delta)) + (math.log(3.0 * H * K) if level_net else 0.0)
    return 4.0 * math.sqrt(d) * H * math.sqrt(iota)


def coverage_trajectories(*, dimension: int, horizon: int, coverage: float, delta: float) -> float:
    """Return the number of trajectories from which the bound under full coverage holds: max(512 log(2dH/delta)/kappa^2, 4/kappa).

    Source: r2pvi, G9.

    Examples
    --------
    >>> round(coverage_trajectories(dimension=3, horizon=3, coverage=0.1, delta=0.1))
    265879
    """
    kappa = require_positive_number("coverage", coverage)
    return max(512.0 * (math.log(2.0 * dimension * horizon) - math.log(_probability(delta))) / kappa**2, 4.0 / kappa)


def coverage_bound(coefficient: ArrayLike, *, horizon: int, trajectories: ArrayLike, coverage: float) -> Any:
    """Return 4 beta H / sqrt(K kappa), the suboptimality bound under full coverage kappa.

    Source: r2pvi, G9.

    Examples
    --------
    >>> float(coverage_bound(1.0, horizon=3, trajectories=1600, coverage=0.25))
    0.6
    """
    beta, K = require_finite_array("coefficient", coefficient), require_finite_array("trajectories", trajectories)
    return 4.0 * beta * horizon / np.sqrt(K * require_positive_number("coverage", coverage))


def split_constant(log_determinant: ArrayLike, *, dimension: int, horizon: int, ridge: float, delta: float, events: float = 1.0) -> Any:
    r"""Return $c_h = \frac12(\sqrt{\gamma d} + \sqrt{\log\det(\Lambda_h/\gamma) + 2\log(H/\delta)})$.

    Parameters
    ----------
    log_determinant : array
        log det(Lambda_h / gamma) of the fold of each step, not negative.
    dimension, horizon : int
        d and H.
    ridge : float
        gamma > 0.
    delta : float
        Failure probability over all steps, in (0, 1).
    events : float
        Number of regressions on one fold that must hold at once (1 for one centred target); delta is shared among them.

    Returns
    -------
    float or array
        The constant, to be multiplied by the range of the regressed target.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: r2pvi, G9-split.

    Examples
    --------
    >>> round(float(split_constant(0.0, dimension=1, horizon=1, ridge=1.0, delta=0.1)), 6)
    1.572983
    """
    growth = require_each_between("log_determinant", log_determinant, 0.0, np.inf)
    gamma = require_positive_number("ridge", ridge)
    tail = 2.0 * (math.log(horizon) + math.log(require_positive_number("events", events)) - math.log(_probability(delta)))
    return 0.5 * (math.sqrt(gamma * dimension) + np.sqrt(growth + tail))


def split_coefficient(divergence: str, constant: ArrayLike, *, value_range: float, penalty: float | None = None) -> Any:
    r"""Return the coefficient of the data-split penalty: TV $\min(R,\lambda)c$, KL $\lambda(e^{R/\lambda}-1)c$, chi2 $R(1+R/(4\lambda))c$.

    The chi2 form writes the dual as a supremum over two levels of expectations of functions whose total variation is at most
    R(1 + R/(4 lambda)); its constant must share delta among the thresholds of the value function (`events` of `split_constant`).

    Parameters
    ----------
    divergence : str
        "tv", "kl" or "chi2".
    constant : array
        c_h of `split_constant`.
    value_range : float
        R = max V - min V of the value function that is regressed.
    penalty : float
        lambda > 0; None means infinity (the nominal value), for which every coefficient is R c.

    Returns
    -------
    float or array
        The coefficient; infinite where e^{R/lambda} overflows.

    Source: r2pvi, G9-split (chi2: ours, beyond the statement).

    Examples
    --------
    >>> float(split_coefficient("tv", 2.0, value_range=3.0, penalty=0.5))
    1.0
    """
    _divergence(divergence)
    c = require_each_between("constant", constant, 0.0, np.inf)
    R = float(require_each_between("value_range", value_range, 0.0, np.inf))
    if penalty is None:
        return R * c
    lam = require_positive_number("penalty", penalty)
    if divergence == "tv":
        return min(R, lam) * c
    if divergence == "kl":
        return lam * (math.expm1(R / lam) if R / lam < 700.0 else math.inf) * c
    return R * (1.0 + R / (4.0 * lam)) * c


def range_bound(steps: ArrayLike, *, penalty: float | None = None, radius: float | None = None) -> Any:
    r"""Return the bound on max V_h - min V_h under TV: $(1-(1-\rho)^n)/\rho$ for a radius, $\min(n, 1+\lambda)$ for a penalty.

    Parameters
    ----------
    steps : array
        n = H - h + 1, the number of rewards still to come.
    penalty, radius : float
        Exactly one of lambda > 0 and rho in [0, 1].

    Returns
    -------
    float or array
        The bound.

    Source: r2pvi, G7b.

    Examples
    --------
    >>> float(range_bound(3, radius=0.5)), float(range_bound(3, penalty=0.5))
    (1.75, 1.5)
    """
    n = require_each_between("steps", steps, 0.0, np.inf)
    if (penalty is None) == (radius is None):
        raise ValueError(f"exactly one of penalty and radius must be given, got penalty={penalty!r} and radius={radius!r}")
    if radius is None:
        return np.minimum(n, 1.0 + require_positive_number("penalty", penalty))
    rho = float(require_each_between("radius", radius, 0.0, 1.0))
    return n * 1.0 if rho == 0.0 else (1.0 - (1.0 - rho) ** n) / rho


def worst_leak(divergence: str, gap: ArrayLike, *, leak: float, penalty: float) -> Any:
    """Return the worst probability of the bad state on the hard family: the nominal leak plus what nature adds.

    Parameters
    ----------
    divergence : str
        "tv", "kl" or "chi2".
    gap : array
        v, value of the good state minus value of the bad one, not negative.
    leak : float
        Nominal probability eps of the bad state, in [0, 1].
    penalty : float
        lambda > 0.

    Returns
    -------
    float or array
        Worst probability of the bad state.

    Source: r2pvi, G10-leak.

    Examples
    --------
    >>> round(float(worst_leak("chi2", 1.0, leak=0.1, penalty=1.0)), 12)
    0.145
    """
    _divergence(divergence)
    v, lam = require_each_between("gap", gap, 0.0, np.inf), require_positive_number("penalty", penalty)
    eps = float(require_each_between("leak", leak, 0.0, 1.0))
    if divergence == "tv":
        return np.where(v <= lam, eps, 1.0)[()]
    if divergence == "kl":
        return (eps / (eps + (1.0 - eps) * np.exp(-v / lam)))[()] if eps > 0 else np.zeros_like(v)[()]
    return eps + np.minimum(1.0 - eps, eps * (1.0 - eps) * v / (2.0 * lam))


def bayes_risk(separation: ArrayLike, *, dimension: int, horizon: int, trajectories: ArrayLike) -> Any:
    r"""Return $\frac{H\delta}{2} N(-\delta\sqrt n/(2d))$, $n = K/(d+2)$: the Bayes risk of the hard family at separation delta.

    Source: r2pvi, G10-sharp.

    Examples
    --------
    >>> round(float(bayes_risk(0.1595, dimension=3, horizon=3, trajectories=4000)), 4)
    0.0541
    """
    from scipy.special import ndtr

    delta, K = require_each_between("separation", separation, 0.0, np.inf), require_finite_array("trajectories", trajectories)
    return 0.5 * horizon * delta * ndtr(-delta * np.sqrt(K / (dimension + 2.0)) / (2.0 * dimension))


def gaussian_lower_bound(*, dimension: int, horizon: int, trajectories: ArrayLike) -> Any:
    """Return 0.1700 H d sqrt((d+2)/K), the Bayes risk at its best separation, rounded down.

    Source: r2pvi, G10-sharp.

    Examples
    --------
    >>> round(float(gaussian_lower_bound(dimension=3, horizon=3, trajectories=4000)), 4)
    0.0541
    """
    K = require_finite_array("trajectories", trajectories)
    return 0.1699 * horizon * dimension * np.sqrt((dimension + 2.0) / K)


def printed_lower_bound(*, dimension: int, horizon: int, trajectories: ArrayLike) -> Any:
    """Return the printed d^{3/2} H / (128 sqrt K).

    Source: r2pvi, G10.

    Examples
    --------
    >>> round(float(printed_lower_bound(dimension=3, horizon=3, trajectories=4000)), 5)
    0.00193
    """
    K = require_finite_array("trajectories", trajectories)
    return dimension**1.5 * horizon / (128.0 * np.sqrt(K))


def _probability(delta: float) -> float:
    value = float(require_each_between("delta", delta, 0.0, 1.0))
    if value in (0.0, 1.0):
        raise ValueError(f"delta must be in (0, 1), got {value}")
    return value
