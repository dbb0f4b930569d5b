r"""Policy evaluation in continuous time by martingales (Jia, Zhou 2022).

A function J of time and state is the value function of a policy exactly when M_t = e^{-beta t} J(t, X_t) + int_0^t e^{-beta u} r du is a
martingale.  This page holds the closed forms that follow for solvable models:

    BM, h = x^4, critic x^4 + th (1-t) x^2:   MSTDE (-6 N^2 + 15 N + 3) / (N+1)^2,  loss 15/2 - (5/2) / (N^2+1),  TD(0) (9 N + 3) / (N+1)
    stationary OU, r = x^2:                   TD(0) dt / (1 - e^{-a dt}) = 1/a + dt/2 + a dt^2/12 + ...,  a = beta + 2 kappa
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._martingale_td_statements import GUARANTEES, PAPER
from theory._validate import require_finite_array, require_positive_number

__all__ = [
    "GUARANTEES",
    "PAPER",
    "brownian_fixed_points",
    "critic_gap_of_wrong_volatility",
    "discretisation_bound",
    "lstd_asymptotic_covariance",
    "ou_mean_square_coefficient",
    "ou_td_coefficients",
    "ou_value_coefficients",
    "small_noise_constant",
    "small_noise_minimiser",
]

FloatArray = NDArray[np.float64]


def brownian_fixed_points(steps: int | None) -> dict[str, Fraction]:
    """Return the exact fixed points on N >= 2 steps, or their limits, for Brownian motion from 0 on [0, 1], h = x^4, critic x^4 + th (1-t) x^2.

    Source: martingale_td, G3.1, G4, G5.

    Examples
    --------
    >>> {name: str(value) for name, value in brownian_fixed_points(None).items()}
    {'mstde': '-6', 'martingale-loss': '15/2', 'td0': '9'}
    """
    if steps is None:
        return {"mstde": Fraction(-6), "martingale-loss": Fraction(15, 2), "td0": Fraction(9)}
    if isinstance(steps, bool) or steps != int(steps) or steps < 2:
        raise ValueError(f"steps must be an integer >= 2, got {steps}: on one step from 0 every method is 0/0")
    n = int(steps)
    return {
        "mstde": Fraction(-6 * n * n + 15 * n + 3, (n + 1) ** 2),
        "martingale-loss": Fraction(15, 2) - Fraction(5, 2) / (n * n + 1),
        "td0": Fraction(9 * n + 3, n + 1),
    }


def _rate(kappa: float, discount: float) -> float:
    a = discount + 2.0 * kappa
    if not (math.isfinite(a) and a > 0 and discount > 0):
        raise ValueError(f"discount and discount + 2 kappa must be positive, or the value is infinite; got {discount} and {a}")
    return a


def _noise(sigma: float) -> float:
    if not 0.0 <= sigma < math.inf:
        raise ValueError(f"sigma must be finite and >= 0, got {sigma}")
    return float(sigma)


def _steps(dt: ArrayLike) -> FloatArray:
    step = require_finite_array("dt", dt)
    if np.any(step <= 0):
        raise ValueError(f"dt must be positive, got {step.min()}")
    return step


def ou_value_coefficients(kappa: float, sigma: float, discount: float) -> tuple[float, float]:
    """Return the coefficients of x^2 and 1 in the value of r = x^2 under dX = -kappa X dt + sigma dW: 1/a and sigma^2 / (beta a).

    Source: martingale_td, G8.

    Examples
    --------
    >>> k2, k0 = ou_value_coefficients(1.0, 0.7, 0.5)
    >>> round(k2, 12), round(k0, 12)
    (0.4, 0.392)
    """
    a = _rate(kappa, discount)
    return 1.0 / a, _noise(sigma) ** 2 / (discount * a)


def ou_td_coefficients(
    dt: ArrayLike, kappa: float, sigma: float, discount: float, *, rule: str = "left", scheme: str = "exact"
) -> tuple[Any, Any]:
    r"""Return the TD(0) coefficients of (x^2, 1) for the stationary model sampled every dt.

    Left reward, exact sampling: $k_2 = dt/(1-e^{-a\,dt})$; trapezoid: $k_2 = (dt/2)\coth(a\,dt/2)$.  Euler-Maruyama states put
    $(1-\kappa\,dt)^2$ for $e^{-2\kappa\,dt}$, which changes the bias of first order from 1/2 to
    $(\beta^2/2+2\beta\kappa+\kappa^2)/a^2$ with left rewards.

    Parameters
    ----------
    dt : array
        Time steps, positive.
    kappa, sigma, discount : float
        The model; kappa may be <= 0 where discount + 2 kappa > 0: the coefficients then solve the conditional equations from any state.
    rule : str
        `"left"` or `"trapezoid"`.
    scheme : str
        How states are sampled: `"exact"` or `"euler"`.

    Returns
    -------
    tuple of float or array
        k_2 and k_0.

    Raises
    ------
    ValueError
        If the value is infinite, on the grid too, a step is not positive, sigma is negative, or a name is unknown.

    Source: martingale_td, G8.

    Examples
    --------
    >>> k2, _ = ou_td_coefficients(0.1, 1.0, 0.7, 0.5)
    >>> round(float(k2), 8)
    0.45208117
    """
    a = _rate(kappa, discount)
    noise, step = _noise(sigma), _steps(dt)
    if rule not in ("left", "trapezoid"):
        raise ValueError(f"rule must be left or trapezoid, got {rule!r}")
    if scheme == "exact":
        fade, left = np.exp(-a * step), -np.expm1(-a * step)
        spread = noise**2 * step * _relative_growth(-2.0 * kappa * step)
    elif scheme == "euler":
        fade = np.exp(-discount * step) * (1.0 - kappa * step) ** 2
        left = -np.expm1(-discount * step) + np.exp(-discount * step) * kappa * step * (2.0 - kappa * step)
        spread = noise**2 * step
        if np.any(left <= 0):
            raise ValueError(f"dt must be so small that e^(-discount dt) (1 - kappa dt)^2 < 1, got {step[left <= 0].min() if step.ndim else step}")
    else:
        raise ValueError(f"scheme must be exact or euler, got {scheme!r}")
    decay, drop = np.exp(-discount * step), -np.expm1(-discount * step)
    if rule == "left":
        k2 = step / left
        return k2, decay * k2 * spread / drop
    k2 = 0.5 * step * (1.0 + fade) / left
    return k2, decay * spread * (k2 + 0.5 * step) / drop


def _relative_growth(x: FloatArray) -> FloatArray:
    """Return (e^x - 1) / x, 1 at 0."""
    safe = np.where(x == 0.0, 1.0, x)
    return np.asarray(np.where(x == 0.0, 1.0, np.expm1(safe) / safe))


def ou_mean_square_coefficient(dt: ArrayLike, kappa: float, discount: float) -> Any:
    """Return the coefficient of x^2 that minimises E D^2 on the stationary model with features (x^2, 1): it tends to 0, not to 1/a.

    Source: martingale_td, G3.3.

    Examples
    --------
    >>> round(float(ou_mean_square_coefficient(0.01, 1.0, 0.5)), 8)
    0.00626175
    """
    require_positive_number("kappa", kappa)
    a = _rate(kappa, discount)
    step = _steps(dt)
    return step * -np.expm1(-a * step) / (np.expm1(-2.0 * discount * step) - 2.0 * np.expm1(-a * step))


def small_noise_constant(kappa: float, horizon: float) -> float:
    """Return C = int 4 p^2 m^2 / int m^4 of the small-noise law of the MSTDE minimiser, m = e^{-kappa t}, p the value's coefficient of x^2.

    Source: martingale_td, G3.4.

    Examples
    --------
    >>> round(small_noise_constant(1.0, 1.0), 4)
    0.8971
    """
    require_positive_number("kappa", kappa)
    require_positive_number("horizon", horizon)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = 0.5 * horizon * (1.0 + nodes)
    p = -np.expm1(-2.0 * kappa * (horizon - t)) / (2.0 * kappa)
    m2 = np.exp(-2.0 * kappa * t)
    return float(np.sum(weights * 4.0 * p * p * m2) / np.sum(weights * m2 * m2))


def small_noise_minimiser(noise_over_step: ArrayLike, constant: float) -> Any:
    """Return 1 / (1 + C s^2 / dt), the limit of the MSTDE minimiser where the truth is 1.

    Source: martingale_td, G3.4.

    Examples
    --------
    >>> float(small_noise_minimiser(0.0, 0.8971))
    1.0
    """
    ratio = require_finite_array("noise_over_step", noise_over_step)
    if np.any(ratio < 0):
        raise ValueError(f"noise_over_step must be >= 0, got {ratio.min()}")
    return 1.0 / (1.0 + require_positive_number("constant", constant) * ratio)


def discretisation_bound(rate_constant: float, dt: ArrayLike, order: float, growth: float, power: float = 1.0, *, minimum: bool = False) -> Any:
    """Return (C dt^q / m)^{1/p}, which bounds |th_dt - th*| when |F_dt - F| <= C dt^q near th* and |F(th)| >= m |th - th*|^p.

    With `minimum` the points minimise functions f with f(th) - f(th*) >= m |th - th*|^p, and the bound is (2 C dt^q / m)^{1/p}.

    Source: martingale_td, G7.

    Examples
    --------
    >>> float(discretisation_bound(2.0, 0.5, 1.0, 4.0))
    0.25
    """
    for name, value in (("rate_constant", rate_constant), ("order", order), ("growth", growth), ("power", power)):
        require_positive_number(name, value)
    return ((2.0 if minimum else 1.0) * rate_constant * _steps(dt) ** order / growth) ** (1.0 / power)


def lstd_asymptotic_covariance(kappa: float, sigma: float, discount: float) -> FloatArray:
    r"""Return the limit of T Cov(k_2, k_0) for LSTD on one stationary path of length T: $A^{-1} S A^{-\top}$.

    Parameters
    ----------
    kappa, sigma, discount : float
        The stationary model with r = x^2 and features (x^2, 1).

    Returns
    -------
    array of shape (2, 2)
        The limiting covariance.

    Raises
    ------
    ValueError
        If a parameter is not positive.

    Source: martingale_td, G8.

    Examples
    --------
    >>> lstd_asymptotic_covariance(1.0, 0.7, 0.5)[0, 0].round(12)
    np.float64(0.512)
    """
    for name, value in (("kappa", kappa), ("sigma", sigma), ("discount", discount)):
        require_positive_number(name, value)
    a = discount + 2.0 * kappa
    v = sigma * sigma / (2.0 * kappa)
    matrix = np.array([[a * 3.0 * v * v - sigma * sigma * v, discount * v], [a * v - sigma * sigma, discount]])
    slope = 2.0 / a
    noise = sigma * sigma * slope * slope * np.array([[15.0 * v**3, 3.0 * v * v], [3.0 * v * v, v]])
    inverse = np.linalg.inv(matrix)
    return np.asarray(inverse @ noise @ inverse.T, dtype=np.float64)


def critic_gap_of_wrong_volatility(
    believed: float, true: float, *, rate: float, start: float = 1.0, strike: float = 1.0, horizon: float = 1.0, mixed: bool = True
) -> float:
    r"""Return C_true - C_believed at time 0 for Black-Scholes prices, from the residual of the wrong critic.

    $$\tfrac12(\sigma^2-q^2)\int_0^T S_0\,n(d_1(w_t))/\sqrt{w_t}\,dt,\qquad w_t=\sigma^2 t+q^2(T-t),$$ evaluated with t = T - u^2, which removes the
    singularity at maturity.

    Parameters
    ----------
    believed, true : float
        The volatilities q of the critic and sigma of the asset, positive.
    rate, start, strike, horizon : float
        Drift and discount rate, initial price, strike, maturity.
    mixed : bool
        False puts q^2 T for w_t: the broken variant of the negative control.

    Returns
    -------
    float
        The gap, in units of price.

    Raises
    ------
    ValueError
        If a parameter is not positive, or the rate is not finite.

    Source: martingale_td, G9.

    Examples
    --------
    >>> round(critic_gap_of_wrong_volatility(0.2, 0.3, rate=0.02), 6)
    0.039055
    """
    for name, value in (("believed", believed), ("true", true), ("start", start), ("strike", strike), ("horizon", horizon)):
        require_positive_number(name, value)
    if not math.isfinite(rate):
        raise ValueError(f"rate must be finite, got {rate}")
    nodes, weights = np.polynomial.legendre.leggauss(80)
    u = 0.5 * math.sqrt(horizon) * (1.0 + nodes)
    t = horizon - u * u
    w = true**2 * t + believed**2 * (horizon - t) if mixed else np.full_like(t, believed**2 * horizon)
    d1 = (math.log(start / strike) + rate * horizon + 0.5 * w) / np.sqrt(w)
    density = np.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    integral = np.sum(weights * 0.5 * math.sqrt(horizon) * 2.0 * u * start * density / np.sqrt(w))
    return float(0.5 * (true**2 - believed**2) * integral)
