"""Regret certificates for infinite classes, by sup-norm nets of scale 1/T: linear and linear-mixture average-reward models.

Passing from a hypothesis to its nearest member of the net changes l by at most 3/T and E(f) by at most 3/T, hence each sum of squares that
the finite case compares by at most a = 10 Lambda + 9 C; the radius carries 2 a, after which every step of the finite proof goes through.
"""

from __future__ import annotations

import math

from certify._validate import require_integer, require_open_unit, require_positive
from certify.complexity.certificate import RegretCertificate
from theory import loop_agec

__all__ = ["linear_mixture_regret_certificate", "linear_regret_certificate"]


def linear_regret_certificate(dimension: int, *, span: float, steps: int, delta: float) -> RegretCertificate:
    """Certify the regret of LOOP on a linear average-reward model.

    The model has P(s'|s, a) = <phi, mu(s')> and r = <phi, theta> with ||phi|| <= sqrt 2, ||theta|| <= sqrt d and
    ||mu(S)|| <= sqrt d, and some unit vector e has <phi, e> = 1.  Hypotheses are Q_f = <phi, omega> with ||omega|| <= sp sqrt(d) / 2 and
    centred V_f of span at most sp, J_f in [-1, 1]; auxiliary functions are <phi, w> with ||w|| <= sqrt(d) (1 + sp/2).

    Parameters
    ----------
    dimension : int
        d >= 1.
    span : float
        Bound on sp(V*) and on the span of the hypotheses, positive.
    steps : int
        T >= 2.
    delta : float
        Failure probability of each of four events, in (0, 1).

    Returns
    -------
    RegretCertificate
        For LOOP run with the certificate's radius.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Source: loop_agec/G7, loop_agec/G11.

    Examples
    --------
    >>> linear_regret_certificate(2, span=2.0, steps=10**8, delta=0.01).vacuous
    False
    """
    _require(dimension, span, steps, delta)
    root, norm = math.sqrt(dimension), math.sqrt(2.0)
    auxiliary = root * (1.0 + 0.5 * span)
    weight = 0.5 * span * root + 1.0 + auxiliary
    log_hypotheses = loop_agec.log_covering_ball(dimension, 0.5 * span * root, norm, 1.0 / steps) + math.log(steps + 1.0)
    log_functions = loop_agec.log_covering_ball(dimension, auxiliary, norm, 1.0 / steps)
    return _certificate(
        "linear", dimension, span, steps, delta, log_hypotheses, log_functions,
        largest=norm * auxiliary + 1.0 + 0.5 * span, weight=weight, norm=norm,
        assumptions=("linear kernel and reward with sqrt(2), sqrt(d) norms", "a unit vector e has <phi, e> = 1"),
    )


def linear_mixture_regret_certificate(
    dimension: int, *, span: float, steps: int, delta: float, radius: float = 1.0, feature_norm: float = 1.0
) -> RegretCertificate:
    """Certify the regret of model-based LOOP on a linear mixture with known rewards.

    Parameters
    ----------
    dimension : int
        d >= 1.
    span : float
        Bound on sp(V*) and on the span of the hypotheses, positive.
    steps : int
        T >= 2.
    delta : float
        Failure probability of each of four events, in (0, 1).
    radius : float
        Bound on ||theta||, positive.
    feature_norm : float
        Bound on ||sum_{s'} phi(s, a, s') V(s')|| for |V| <= 1, positive.

    Returns
    -------
    RegretCertificate
        For LOOP with the model-based discrepancy, run with the certificate's radius.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Source: loop_agec/G7, loop_agec/G11.
    """
    _require(dimension, span, steps, delta)
    require_positive("radius", radius)
    require_positive("feature_norm", feature_norm)
    norm = 0.5 * span * feature_norm
    log_size = loop_agec.log_covering_ball(dimension, radius, norm, 1.0 / steps)
    return _certificate(
        "linear-mixture", dimension, span, steps, delta, log_size, log_size,
        largest=radius * norm + 0.5 * span, weight=2.0 * radius, norm=norm,
        assumptions=("the kernel is a linear mixture with ||theta|| <= radius", "rewards are known"),
    )


def _require(dimension: int, span: float, steps: int, delta: float) -> None:
    require_integer("dimension", dimension, minimum=1)
    require_positive("span", span)
    require_integer("steps", steps, minimum=2)
    require_open_unit("delta", delta)


def _certificate(
    setting: str, dimension: int, span: float, steps: int, delta: float, log_hypotheses: float, log_functions: float,
    *, largest: float, weight: float, norm: float, assumptions: tuple[str, ...],
) -> RegretCertificate:
    error = weight * norm
    radius = float(loop_agec.covering_radius(span, log_hypotheses, log_functions, steps, delta, largest=largest, error=error))
    eluder = loop_agec.linear_eluder_bound(dimension, weight, norm, 1.0 / steps)
    return RegretCertificate(
        bound=float(loop_agec.regret_bound(eluder, span, radius, error, steps, delta)) * (1.0 + 1e-12),
        alpha=min(1.0, 4.0 * delta),
        algorithm="loop",
        setting=setting,
        steps=steps,
        delta=delta,
        radius=radius,
        dimension=eluder,
        span=span,
        largest_error=error,
        log_hypotheses=log_hypotheses,
        log_functions=log_functions,
        switches=loop_agec.switching_bound(eluder, radius, error, steps),
        rounding=0.0,
        trivial=2.0 * steps,
        assumptions=("the true model is weakly communicating", "rewards lie in [-1, 1]", *assumptions),
    )
