r"""DR-RPO: policy-regularised distributionally robust reinforcement learning on linear models.

The objective carries a KL penalty to a reference policy, so the maximiser of every state is a softmax of the action values.  Here stand the
softmax step, its Lipschitz bounds, the bias of the temperature and the sizes of the bonus.  Source: dr_rpo.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory._dr_rpo_statements import GUARANTEES, PAPER
from theory._validate import require_each_between, require_finite_array, require_positive_number

__all__ = [
    "GUARANTEES", "PAPER", "absorbing_coefficient", "diagonal_bonus", "elliptical_bonus", "indistinguishable_loss", "policy_divergence",
    "saturating_coefficient", "softmax_kl_bound", "softmax_l1_bound", "softmax_policy", "softmax_tv_bound", "soft_value", "stopping_change",
    "temperature_bias",
]


def soft_value(action_values: ArrayLike, reference: ArrayLike, temperature: float) -> Any:
    r"""Return S(Q) = eta log sum_a ref(a) exp(Q_a / eta); at eta = 0 the maximum over the support of ref.

    Parameters
    ----------
    action_values : array (..., A)
        Q.
    reference : array (..., A)
        ref, distributions over actions.
    temperature : float
        eta >= 0; infinity gives the mean under ref.

    Returns
    -------
    array (...)
        S(Q), accurate for tiny and for huge temperatures.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: dr_rpo, G1.

    Examples
    --------
    >>> round(float(soft_value([1, 2, 0], [0.5, 0.3, 0.2], 0.5)), 8)
    1.50466897
    """
    q, ref, eta = _softmax_arguments(action_values, reference, temperature)
    top = np.max(np.where(ref > 0, q, -np.inf), axis=-1, keepdims=True)
    below = np.where(ref > 0, q - top, 0.0)
    if eta == 0.0:
        return top[..., 0]
    if math.isinf(eta):
        return top[..., 0] + (ref * below).sum(axis=-1)
    with np.errstate(over="ignore"):
        # log sum ref e^x through expm1, because sum ref = 1: exact to rounding also where every x is tiny
        lost = (ref * np.expm1(below / eta)).sum(axis=-1)
    near = lost > -0.5
    rest = np.where(near, 1.0, (ref * np.exp(np.maximum(below / eta, -745.0))).sum(axis=-1))
    return top[..., 0] + eta * np.where(near, np.log1p(np.where(near, lost, 0.0)), np.log(rest))


def softmax_policy(action_values: ArrayLike, reference: ArrayLike, temperature: float) -> Any:
    r"""Return pi(a) = ref(a) exp((Q_a - S(Q)) / eta); at eta = 0 the first maximiser over the support of ref.

    Parameters
    ----------
    action_values, reference : array (..., A)
        Q and ref.
    temperature : float
        eta >= 0; infinity gives ref.

    Returns
    -------
    array (..., A)
        Distributions that vanish where ref does.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: dr_rpo, G1.

    Examples
    --------
    >>> softmax_policy([1, 2, 0], [0.5, 0.3, 0.2], 5.0).round(8)
    array([0.48535821, 0.35569071, 0.15895108])
    """
    q, ref, eta = _softmax_arguments(action_values, reference, temperature)
    masked = np.where(ref > 0, q, -np.inf)
    if eta == 0.0:
        return np.eye(q.shape[-1])[masked.argmax(axis=-1)]
    top = masked.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        weight = ref * np.exp(np.where(ref > 0, q - top, 0.0) / eta)
    return weight / weight.sum(axis=-1, keepdims=True)


def policy_divergence(policy: ArrayLike, reference: ArrayLike) -> Any:
    """Return KL(pi | ref), infinite where pi has mass that ref has not; accurate also where pi is close to ref, as it is at huge temperatures.

    Source: dr_rpo, setting.

    Examples
    --------
    >>> round(float(policy_divergence([1.0, 0.0], [0.5, 0.5])), 6)
    0.693147
    """
    pi, ref = require_each_between("policy", policy, 0.0, 1.0), require_each_between("reference", reference, 0.0, 1.0)
    pi, ref = np.broadcast_arrays(pi, ref)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(ref > 0, (pi - ref) / ref, 0.0)
        # p log(p/r) - p + r sums to the same and has no first-order part, whose rounding a huge temperature would blow up
        near = ref * ((1.0 + change) * np.log1p(np.maximum(change, -0.5)) - change)
        far = np.where(pi > 0, pi * (np.log(pi) - np.log(ref)), 0.0) - (pi - ref)
        terms = np.where(ref > 0, np.where(change > -0.5, near, far), 0.0)
    return np.where(((ref == 0) & (pi > 0)).any(axis=-1), np.inf, np.maximum(terms.sum(axis=-1), 0.0))[()]


def temperature_bias(temperature: ArrayLike, *, steps: ArrayLike, least_probability: float) -> Any:
    r"""Return $\eta (H-h+1) \log(1/p)$, what the temperature can cost.

    Parameters
    ----------
    temperature : array
        eta >= 0.
    steps : array
        H - h + 1, steps still to go.
    least_probability : float
        p, least positive probability of the reference policy in any state, in (0, 1].

    Returns
    -------
    float or array
        Bound on V*_0 - V*_eta, and on the unregularised robust loss of the softmax policy.

    Source: dr_rpo, G3.

    Examples
    --------
    >>> round(float(temperature_bias(0.1, steps=3, least_probability=1 / 16)), 6)
    0.831777
    """
    eta, n = require_each_between("temperature", temperature, 0.0, np.inf), require_each_between("steps", steps, 0.0, np.inf)
    p = require_positive_number("least_probability", require_each_between("least_probability", least_probability, 0.0, 1.0))
    return eta * n * -math.log(p)


def softmax_tv_bound(span: ArrayLike, temperature: float) -> Any:
    r"""Return $\tanh(\mathrm{span}/(4\eta))$, the greatest total variation of two softmax policies.

    Source: dr_rpo, G4b.

    Examples
    --------
    >>> round(float(softmax_tv_bound(2.0, 0.5)), 6)
    0.761594
    """
    return np.tanh(require_each_between("span", span, 0.0, np.inf) / (4.0 * require_positive_number("temperature", temperature)))


def softmax_l1_bound(distance: ArrayLike, temperature: float) -> Any:
    r"""Return $\|Q-Q'\|_\infty/\eta$, a bound on the L1 distance of two softmax policies.

    Source: dr_rpo, G4c.

    Examples
    --------
    >>> float(softmax_l1_bound(0.5, 2.0))
    0.25
    """
    return require_each_between("distance", distance, 0.0, np.inf) / require_positive_number("temperature", temperature)


def softmax_kl_bound(span: ArrayLike, temperature: float) -> Any:
    r"""Return $\mathrm{span}^2/(8\eta)$, a bound on $\eta\,\mathrm{KL}(\pi_Q|\pi_{Q'})$.

    Source: dr_rpo, G4d.

    Examples
    --------
    >>> float(softmax_kl_bound(2.0, 0.5))
    1.0
    """
    return require_each_between("span", span, 0.0, np.inf) ** 2 / (8.0 * require_positive_number("temperature", temperature))


def stopping_change(accuracy: float, discount: float) -> float:
    """Return the change of a sweep at which value iteration is accurate: eps (1 - gamma) / gamma.

    Source: dr_rpo, G5.

    Examples
    --------
    >>> stopping_change(0.01, 0.5)
    0.01
    """
    gamma = require_positive_number("discount", require_each_between("discount", discount, 0.0, 1.0))
    return require_positive_number("accuracy", accuracy) * (1.0 - gamma) / gamma


def indistinguishable_loss(radius: ArrayLike) -> Any:
    """Return rho / 4: what every learner loses in one of two models that it cannot tell apart, without a fail state.

    Source: dr_rpo, G8.

    Examples
    --------
    >>> float(indistinguishable_loss(0.2))
    0.05
    """
    return require_each_between("radius", radius, 0.0, 1.0) / 4.0


def diagonal_bonus(repetitions: ArrayLike, ridge: float) -> Any:
    r"""Return $\sum_i \phi_i \sqrt{(\Lambda^{-1})_{ii}}$ after $\phi = (1/2,1/2)$ was seen k times.

    $(\Lambda^{-1})_{11} = \frac1\gamma(1 - \frac{k/4}{\gamma + k/2})$, which tends to $1/(2\gamma)$.

    Parameters
    ----------
    repetitions : array
        k >= 0.
    ridge : float
        gamma > 0.

    Returns
    -------
    float or array
        The bonus per unit of beta; at least 1/sqrt(2 gamma).

    Source: dr_rpo, G9.

    Examples
    --------
    >>> round(float(diagonal_bonus(10, 0.1)), 3)
    2.258
    """
    k, gamma = require_each_between("repetitions", repetitions, 0.0, np.inf), require_positive_number("ridge", ridge)
    return np.sqrt((1.0 - 0.25 * k / (gamma + 0.5 * k)) / gamma)


def elliptical_bonus(repetitions: ArrayLike, ridge: float) -> Any:
    r"""Return $\|\phi\|_{\Lambda^{-1}}$ after $\phi = (1/2,1/2)$ was seen k times: $1/\sqrt{2\gamma + k}$.

    Source: dr_rpo, G9.

    Examples
    --------
    >>> round(float(elliptical_bonus(10, 0.1)), 3)
    0.313
    """
    k, gamma = require_each_between("repetitions", repetitions, 0.0, np.inf), require_positive_number("ridge", ridge)
    return 1.0 / np.sqrt(2.0 * gamma + k)


def absorbing_coefficient(factor_means: ArrayLike, ridge: float) -> float:
    r"""Return $\sqrt\gamma\|z\|_2$, a coefficient of the bonus that absorbs the bias of the ridge.

    Parameters
    ----------
    factor_means : array (d,)
        z, the expectation of the target under each factor.
    ridge : float
        gamma > 0.

    Returns
    -------
    float
        Sufficient for optimism against the bias, not necessary.

    Source: dr_rpo, G10.

    Examples
    --------
    >>> absorbing_coefficient([3.0, 4.0], 0.25)
    2.5
    """
    z = require_finite_array("factor_means", factor_means)
    return math.sqrt(require_positive_number("ridge", ridge)) * float(np.linalg.norm(z))


def saturating_coefficient(*, dimension: int, horizon: int, episodes: float, delta: float) -> float:
    r"""Return $dH\sqrt{\log(3dHK/\delta)}$, the textbook size of beta: so large on small problems that every estimate is clipped.

    Source: dr_rpo, G10.

    Examples
    --------
    >>> round(saturating_coefficient(dimension=4, horizon=3, episodes=1000, delta=0.1))
    43
    """
    d, H, K = (require_positive_number(n, v) for n, v in (("dimension", dimension), ("horizon", horizon), ("episodes", episodes)))
    probability = require_positive_number("delta", require_each_between("delta", delta, 0.0, 1.0))
    return d * H * math.sqrt(math.log(3.0 * d * H * K / probability))


def _softmax_arguments(action_values: ArrayLike, reference: ArrayLike, temperature: float) -> tuple[Any, Any, float]:
    q, ref = require_finite_array("action_values", action_values), require_each_between("reference", reference, 0.0, 1.0)
    eta = float(require_each_between("temperature", temperature, 0.0, np.inf))
    try:
        q, ref = np.broadcast_arrays(q, ref)
    except ValueError:
        raise ValueError(f"reference must have a shape that fits action_values, got {ref.shape} beside {q.shape}") from None
    sums = ref.sum(axis=-1)
    if q.ndim == 0 or np.any(np.abs(sums - 1.0) > 1e-9):
        raise ValueError(f"reference must sum to 1 over the actions, got {float(np.ravel(sums)[np.abs(np.ravel(sums) - 1.0).argmax()])!r}")
    return q, ref, eta
