"""Average-reward learning with general function approximation: LOOP, its complexity measures, and explicit regret bounds.

An average-reward model has a constant gain J* and a bias V* with J* + Q*(s, a) = r(s, a) + (P V*)(s, a), V* = max_a Q*, and span
sp(V*) = max V* - min V*.  A hypothesis f = (Q_f, J_f) has the Bellman error E(f)(s, a) = Q_f(s, a) + J_f - r(s, a) - (P V_f)(s, a); its
discrepancy against g is l(f, g, zeta) = Q_g(s, a) + J_g - r - V_f(s').  B bounds sp(V_f) over the class, C bounds |E(f)|, T is the number
of steps, and d = dim({E(f)}, 1/T) is the eluder dimension.  Every bound below is a function of such numbers with all constants written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._loop_agec_statements import GUARANTEES, PAPER, RATES

if TYPE_CHECKING:
    FloatArray = NDArray[np.float64]

__all__ = [
    "GUARANTEES", "PAPER", "RATES", "anytime_radius", "class_radius", "covering_radius", "dominance_number", "first_power_radius",
    "information_bound", "in_sample_bound", "linear_dominance", "linear_eluder_bound", "linear_transfer", "log_covering_ball", "mle_radius",
    "mle_regret_bound", "mle_variation_bound", "minimax_lower_bound", "pigeonhole_count", "pigeonhole_squares", "pigeonhole_sum", "pigeonhole_weighted",
    "potential_bound", "regret_bound", "span_bound", "switching_bound", "switching_bound_pathwise", "transfer_number", "ucrl2_episode_bound",
    "ucrl2_regret_bound", "ucrl2_widths",
]


def span_bound(gain: float, diameter: float) -> float:
    """Return J* D, which bounds the span of the bias when rewards are not negative.

    Source: loop_agec/G1.
    """
    return gain * diameter


def anytime_radius(span: float, functions: float, delta: float) -> float:
    """Return (sp^2 / 2) log(|G| / delta): the excess loss that the truth exceeds at no time, except with probability delta.

    Parameters
    ----------
    span : float
        sp(V*).
    functions : float
        |G|, or a covering number.
    delta : float
        Failure probability, in (0, 1).

    Source: loop_agec/G4.

    Examples
    --------
    >>> round(float(anytime_radius(2.0, 1, 0.05)), 6)
    5.991465
    """
    return float(0.5 * span**2 * (np.log(functions) - np.log(delta)))


def class_radius(span: float, hypotheses: float, functions: float, steps: float, delta: float) -> float:
    """Return beta = B^2 log(T |H| |G| / delta), the radius of LOOP.

    Source: loop_agec/G5.
    """
    return float(span**2 * (np.log(steps) + np.log(hypotheses) + np.log(functions) - np.log(delta)))


def covering_radius(span: float, log_hypotheses: float, log_functions: float, steps: float, delta: float, *, largest: float, error: float) -> float:
    """Return the radius of LOOP when classes are replaced by sup-norm nets of scale 1/T.

    With Lambda = `largest` bounding |l| and C = `error` bounding |E(f)|, passing to the net changes every sum that the finite case
    compares by at most a = 10 Lambda + 9 C, so beta = B^2 log(T N_H N_G / delta) + 2 a keeps all its conclusions.

    Source: loop_agec/G5, loop_agec/G11.
    """
    return float(span**2 * (np.log(steps) + log_hypotheses + log_functions - np.log(delta)) + 2.0 * (10.0 * largest + 9.0 * error))


def log_covering_ball(dimension: int, radius: float, norm: float, scale: float) -> float:
    """Return d log(1 + 2 R L / rho), which bounds the logarithm of the sup-norm covering number of a linear class at scale rho.

    Source: loop_agec/G11.
    """
    return dimension * float(np.log1p(2.0 * radius * norm / scale))


def in_sample_bound(beta: float) -> float:
    """Return 10 beta, which bounds the in-sample squared Bellman errors of the hypothesis in use.

    Source: loop_agec/G5.
    """
    return 10.0 * beta


def pigeonhole_count(beta: float, epsilon: float, dimension: float) -> float:
    """Return (beta / eps^2 + 1) dim: how often an error can exceed eps.

    Source: loop_agec/G6.
    """
    return (beta / epsilon**2 + 1.0) * dimension


def pigeonhole_sum(dimension: float, beta: float, steps: float, largest: float, omega: float) -> float:
    """Return 2 sqrt(d beta T) + d C + T omega, which bounds the sum of errors.

    Source: loop_agec/G6.
    """
    return float(2.0 * np.sqrt(dimension * beta * steps) + dimension * largest + steps * omega)


def pigeonhole_squares(dimension: float, beta: float, steps: float, largest: float, omega: float) -> float:
    """Return d beta (1 + log T) + d C^2 + T omega^2, which bounds the sum of squared errors.

    Source: loop_agec/G6.
    """
    return float(dimension * beta * (1.0 + np.log(steps)) + dimension * largest**2 + steps * omega**2)


def pigeonhole_weighted(dimension: float, squares: float, steps: float, largest: float, omega: float) -> float:
    """Return 2 asinh(sqrt(T / d)) sqrt(2 d S) + d C + T omega, where S is the double sum of squared in-sample values.

    Source: loop_agec/G6.
    """
    if dimension == 0:
        return steps * omega
    return float(2.0 * np.arcsinh(np.sqrt(steps / dimension)) * np.sqrt(2.0 * dimension * squares) + dimension * largest + steps * omega)


def linear_eluder_bound(dimension: int, radius: float, norm: float, epsilon: float, *, c: float | None = None) -> int:
    """Return the largest n with n log((2+c)/(1+c)) < d log(1 + n R^2 L^2 / (c d eps^2)); the smallest such n over c when c is omitted.

    Parameters
    ----------
    dimension : int
        d >= 1.
    radius, norm : float
        Bounds R on ||theta|| and L on ||x||.
    epsilon : float
        Scale, positive.
    c : float, optional
        Free constant; c = 1 is the textbook form.

    Returns
    -------
    int
        An upper bound of the eluder dimension of {<x, theta>} at scale epsilon.

    Source: loop_agec/G7.

    Examples
    --------
    >>> linear_eluder_bound(1, 1.0, 1.0, 0.5, c=1.0), linear_eluder_bound(1, 1.0, 1.0, 0.05, c=1.0)
    (8, 22)
    """
    if radius * norm <= epsilon:
        return 0
    if c is None:
        return min(linear_eluder_bound(dimension, radius, norm, epsilon, c=float(value)) for value in np.geomspace(1e-3, 1e3, 241))
    ratio = (radius * norm / epsilon) ** 2 / c

    def feasible(n: int) -> bool:
        return bool(n * np.log((2.0 + c) / (1.0 + c)) < dimension * np.log1p(n * ratio / dimension) * (1.0 + 1e-12))

    low, high = 0, 1
    while feasible(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return low


def information_bound(dimension: int, norm: float, ridge: float, steps: float) -> float:
    """Return d log(1 + T L^2 / (lambda d)), which bounds the information gain I_T = log det(Lambda / lambda).

    Source: loop_agec/G8.
    """
    return dimension * float(np.log1p(steps * norm**2 / (ridge * dimension)))


def potential_bound(information: ArrayLike) -> FloatArray:
    """Return I_T / log 2, which bounds the sum of min(1, q_t) and the number of steps with q_t > 1.

    Source: loop_agec/G8.
    """
    return np.asarray(np.asarray(information, dtype=np.float64) / np.log(2.0))


def linear_dominance(information: float, ridge: float, weight: float, steps: float, squares: float, largest: float) -> float:
    """Return sqrt((I / log 2)(lambda W^2 T + sum beta_t)) + C I / log 2, which bounds the sum of |<w_t, x_t>|.

    Source: loop_agec/G8.
    """
    return float(np.sqrt(information / np.log(2.0) * (ridge * weight**2 * steps + squares)) + largest * information / np.log(2.0))


def linear_transfer(information: float, ridge: float, weight: float, beta: float, largest: float) -> float:
    """Return (I / log 2)(lambda W^2 + max beta_t + C^2), which bounds the sum of <w_t, x_t>^2.

    Source: loop_agec/G8.
    """
    return float(information / np.log(2.0) * (ridge * weight**2 + beta + largest**2))


def dominance_number(excess: ArrayLike, squares: ArrayLike, largest: float, steps: float) -> FloatArray:
    """Return the smallest d >= 0 with sqrt(d b) + C min(d, T) >= a, where a is the sum of errors less T eps.

    Parameters
    ----------
    excess : array
        a, any shape.
    squares : array
        b >= 0, of that shape.
    largest : float
        C, the burn-in of one step.
    steps : float
        T.

    Returns
    -------
    array
        d, infinite where b = 0 and a > C T.

    Source: loop_agec/G9.
    """
    a, b = np.maximum(np.asarray(excess, dtype=np.float64), 0.0), np.asarray(squares, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        late = np.where(a > largest * steps, (a - largest * steps) ** 2 / b, steps)
        if largest == 0.0:
            return np.where(a == 0.0, 0.0, a**2 / b)
        # The root of C x^2 + sqrt(b) x = a in the form without cancellation.
        root = 2.0 * a / (np.sqrt(b) + np.sqrt(b + 4.0 * largest * a))
    early = np.where(a > 0.0, root**2, 0.0)
    return np.where(early <= steps, early, np.maximum(late, steps))


def transfer_number(excess: ArrayLike, beta: ArrayLike, largest: float, steps: float) -> FloatArray:
    """Return the smallest k >= 0 with k beta log T + C^2 min(k, T) >= a, where a is the sum of squared errors less 2 T eps^2.

    Source: loop_agec/G9.
    """
    a, slope = np.maximum(np.asarray(excess, dtype=np.float64), 0.0), np.asarray(beta, dtype=np.float64) * np.log(steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        early = np.where(a > 0.0, a / (slope + largest**2), 0.0)
        late = np.where(a > largest**2 * steps, (a - largest**2 * steps) / slope, 0.0)
    return np.where(early <= steps, early, np.maximum(late, steps))


def switching_bound_pathwise(squares: ArrayLike, beta: float) -> FloatArray:
    """Return 1 + (1 / beta) sum E(f_t)^2, which bounds the number of updates of LOOP on the path where the sum was observed.

    Source: loop_agec/G10.
    """
    return 1.0 + np.asarray(squares, dtype=np.float64) / beta


def switching_bound(dimension: float, beta: float, largest: float, steps: float) -> float:
    """Return 1 + 10 d (1 + log T) + (d C^2 + 1) / beta, which bounds the number of updates of LOOP; d at scale T^(-1/2).

    Source: loop_agec/G10.
    """
    return float(1.0 + 10.0 * dimension * (1.0 + np.log(steps)) + (dimension * largest**2 + 1.0) / beta)


def regret_bound(dimension: float, span: float, beta: float, largest: float, steps: ArrayLike, delta: float) -> FloatArray:
    """Return the explicit regret bound of LOOP, valid with probability at least 1 - 4 delta.

    Parameters
    ----------
    dimension : float
        d = dim({E(f)}, 1/T).
    span : float
        B, the largest span of a hypothesis.
    beta : float
        Radius, `class_radius` or `covering_radius`, for the largest of the given numbers of steps.
    largest : float
        C, the largest |E(f)|.
    steps : array
        T, any shape.
    delta : float
        Failure probability of each of the four events.

    Returns
    -------
    array
        2 sqrt(10 d beta T) + B sqrt(T log(1/delta)/2) + B (1 + 10 d (1 + log T) + (d C^2 + 1)/beta) + d C + 1.

    Source: loop_agec/G11.

    Examples
    --------
    >>> beta = class_radius(3.846153846153846, 8, 16, 3e5, 0.05)
    >>> round(float(regret_bound(4, 3.846153846153846, beta, 0.4615384615, 3e5, 0.05)) / 1e4, 2)
    12.52
    """
    t = np.asarray(steps, dtype=np.float64)
    switches = 1.0 + 10.0 * dimension * (1.0 + np.log(t)) + (dimension * largest**2 + 1.0) / beta
    martingale = span * np.sqrt(0.5 * t * np.log(1.0 / delta))
    return np.asarray(2.0 * np.sqrt(10.0 * dimension * beta * t) + martingale + span * switches + dimension * largest + 1.0)


def first_power_radius(span: float, functions: float, delta: float, *, constant: float = 2.0) -> float:
    """Return c sp log(|G| / delta), the radius that grows with the first power of the span; no universal c makes it valid.

    Source: loop_agec/G12.
    """
    return float(constant * span * (np.log(functions) - np.log(delta)))


def mle_radius(hypotheses: float, delta: float) -> float:
    """Return log(|H| / delta), the radius of the likelihood confidence set at all times.

    Source: loop_agec/G13.
    """
    return float(np.log(hypotheses) - np.log(delta))


def mle_variation_bound(hypotheses: float, delta: float) -> float:
    """Return 3 log(|H| / delta), which bounds the sum of squared total variations of every model in the likelihood set.

    Source: loop_agec/G13.
    """
    return 3.0 * mle_radius(hypotheses, delta)


def mle_regret_bound(
    dimension: float, span: float, hypotheses: float, largest: float, steps: ArrayLike, delta: float
) -> FloatArray:
    """Return the regret bound of MLE-LOOP with permanent elimination, valid with probability at least 1 - 3 delta.

    |E(f)| <= B TV(P_f, P), so the in-sample errors sum to at most 3 B^2 log(|H| / delta); every update eliminates a hypothesis.

    Parameters
    ----------
    dimension, span, hypotheses, largest : float
        d, B, |H| and C.
    steps : array
        T, any shape.
    delta : float
        Failure probability of each of the three events.

    Returns
    -------
    array
        2 sqrt(3 d B^2 log(|H|/delta) T) + B sqrt(T log(1/delta)/2) + B |H| + d C + 1.

    Source: loop_agec/G13.
    """
    t = np.asarray(steps, dtype=np.float64)
    errors = 2.0 * np.sqrt(dimension * span**2 * mle_variation_bound(hypotheses, delta) * t)
    return np.asarray(errors + span * np.sqrt(0.5 * t * np.log(1.0 / delta)) + span * hypotheses + dimension * largest + 1.0)


def ucrl2_widths(visits: ArrayLike, states: int, actions: int, step: float, delta: float) -> tuple[FloatArray, FloatArray]:
    """Return the confidence widths of UCRL2 for mean rewards and for transitions (in L1) after `visits` visits.

    Parameters
    ----------
    visits : array
        Number of visits of a state-action pair; zero counts as one.
    states, actions : int
        S and A.
    step : float
        t >= 1, the step at which the episode starts.
    delta : float
        Failure probability.

    Returns
    -------
    tuple of arrays
        sqrt(3.5 log(2 S A t / delta) / n) and sqrt(14 S log(2 A t / delta) / n).

    Source: loop_agec/G14.
    """
    n = np.maximum(np.asarray(visits, dtype=np.float64), 1.0)
    rewards = np.sqrt(3.5 * np.log(2.0 * states * actions * step / delta) / n)
    return rewards, np.sqrt(14.0 * states * np.log(2.0 * actions * step / delta) / n)


def ucrl2_regret_bound(diameter: float, states: int, actions: int, steps: ArrayLike, delta: float) -> FloatArray:
    """Return 34 D S sqrt(A T log(T / delta)), which bounds the regret of UCRL2 with probability at least 1 - delta.

    Source: loop_agec/G14.
    """
    t = np.asarray(steps, dtype=np.float64)
    return 34.0 * diameter * states * np.sqrt(actions * t * np.log(t / delta))


def ucrl2_episode_bound(states: int, actions: int, steps: ArrayLike) -> FloatArray:
    """Return S A log2(8 T / (S A)), which bounds the number of episodes of UCRL2 for T >= S A.

    Source: loop_agec/G14.
    """
    return states * actions * np.log2(8.0 * np.asarray(steps, dtype=np.float64) / (states * actions))


def minimax_lower_bound(diameter: float, states: int, actions: int, steps: ArrayLike) -> FloatArray:
    """Return 0.015 sqrt(D S A T), below which no algorithm stays on all models (S, A >= 10, D >= 20 log_A S, T >= D S A).

    Source: loop_agec/G14.
    """
    return 0.015 * np.sqrt(diameter * states * actions * np.asarray(steps, dtype=np.float64))
