"""Confidence radii and regret certificates with every constant written out."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from certify._validate import require_choice, require_integer, require_open_unit, require_positive
from certify.complexity.classes import FiniteClass
from theory import loop_agec

__all__ = ["RegretCertificate", "confidence_radius", "regret_certificate", "require_models"]


@dataclass(frozen=True, slots=True)
class RegretCertificate:
    """An upper bound of the regret of LOOP or MLE-LOOP, with everything needed to recompute it.

    Parameters
    ----------
    bound : float
        Upper bound of sum_t (J* - r_t) over `steps` steps.
    alpha : float
        Probability with which the bound may fail.
    algorithm : str
        "loop" or "mle-loop".
    setting : str
        "finite", "linear" or "linear-mixture".
    steps : int
        T.
    delta : float
        Failure probability of each event; `alpha` is their sum.
    radius : float
        beta, the radius with which the algorithm must run.
    dimension : int
        Upper limit of the eluder dimension at scale 1/T.
    span : float
        B.
    largest_error : float
        C.
    log_hypotheses, log_functions : float
        log |H| and log |G|, or logarithms of covering numbers.
    switches : float
        Upper bound of the number of updates.
    rounding : float
        What was added to `bound` for rounded Bellman errors.
    trivial : float
        T times the largest one-step regret; the certificate says nothing when `bound` is above it.
    assumptions : tuple of str
        What the bound rests on.
    """

    bound: float
    alpha: float
    algorithm: str
    setting: str
    steps: int
    delta: float
    radius: float
    dimension: int
    span: float
    largest_error: float
    log_hypotheses: float
    log_functions: float
    switches: float
    rounding: float
    trivial: float
    assumptions: tuple[str, ...]

    @property
    def value(self) -> float:
        """The bound."""
        return self.bound

    @property
    def lower(self) -> float:
        """Nothing is claimed from below."""
        return -math.inf

    @property
    def upper(self) -> float:
        """The bound."""
        return self.bound

    @property
    def vacuous(self) -> bool:
        """Whether the trivial bound is at least as good."""
        return self.bound >= self.trivial

    def to_json(self) -> str:
        """Return the certificate as a JSON object."""
        fields: dict[str, Any] = {**asdict(self), "vacuous": self.vacuous}
        return json.dumps(fields, indent=2)


def confidence_radius(
    *, functions: int, delta: float, span: float | None = None, hypotheses: int | None = None, steps: int | None = None, form: str = "anytime"
) -> float:
    """Return an explicit radius for the squared-loss or the likelihood confidence set.

    Parameters
    ----------
    functions : int
        |G| (for "likelihood", |H|).
    delta : float
        Failure probability, in (0, 1).
    span : float, optional
        sp(V*) for "anytime", the largest span B of the class for "loop"; "likelihood" needs none.
    hypotheses, steps : int, optional
        |H| and T; needed by "loop".
    form : str
        "anytime": (sp^2/2) log(|G|/delta), which the truth exceeds at no time; "loop": B^2 log(T |H| |G| / delta), the radius of LOOP;
        "likelihood": log(|H|/delta), the radius of MLE-LOOP.

    Returns
    -------
    float
        The radius.

    Raises
    ------
    ValueError
        If an argument is out of range or missing.

    Notes
    -----
    Source: loop_agec/G4, loop_agec/G5, loop_agec/G13.

    Examples
    --------
    >>> round(confidence_radius(span=2.0, functions=1, delta=0.05), 6)
    5.991465
    """
    require_choice("form", form, ("anytime", "loop", "likelihood"))
    require_integer("functions", functions, minimum=1)
    require_open_unit("delta", delta)
    if span is not None or form != "likelihood":
        require_positive("span", span)
    if form == "likelihood":
        return loop_agec.mle_radius(functions, delta)
    assert span is not None
    if form == "anytime":
        return float(loop_agec.anytime_radius(span, functions, delta))
    if hypotheses is None or steps is None:
        raise ValueError(f"hypotheses and steps must be given for form 'loop', got {hypotheses!r} and {steps!r}")
    require_integer("hypotheses", hypotheses, minimum=1)
    require_integer("steps", steps, minimum=1)
    return float(loop_agec.class_radius(span, hypotheses, functions, steps, delta))


def _require_exactness(hypotheses: FiniteClass, steps: int) -> None:
    """Refuse a class whose equations hold too roughly for so many steps, or whose radius vanishes.

    Equations that are off by tau change every sum of squared losses that the proof compares by at most T (tau^2 + 2 tau B).  The radius
    exceeds what each comparison needs by at least half of B^2 log |G|, which absorbs as much.
    """
    span, tau = hypotheses.span, hypotheses.inexactness
    if not span > 0.0:
        raise ValueError("hypotheses must have a positive span: the radius of LOOP vanishes with it, got 0")
    if steps * (tau**2 + 2.0 * tau * span) > 0.5 * span**2 * math.log(hypotheses.functions):
        raise ValueError(f"steps must be smaller for a class whose equations hold to {tau:.2g} only, got {steps}; refusing to certify")


def require_models(hypotheses: FiniteClass) -> int:
    """Return the index of the true model; refuse a class on which the likelihood of transitions does not control Bellman errors."""
    if hypotheses.kernels is None:
        raise ValueError("hypotheses must come from models for algorithm 'mle-loop': build them with model_class")
    if hypotheses.model_truth is None:
        raise ValueError("hypotheses must contain the true model for algorithm 'mle-loop': no member has its kernel and rewards")
    if hypotheses.other_rewards is not None:
        raise ValueError(f"hypotheses must share the known rewards for algorithm 'mle-loop': model {hypotheses.other_rewards} has others")
    return hypotheses.model_truth


def regret_certificate(hypotheses: FiniteClass, *, steps: int, delta: float, algorithm: str = "loop") -> RegretCertificate:
    """Certify the regret of LOOP (or MLE-LOOP) on a finite class before it runs.

    Parameters
    ----------
    hypotheses : FiniteClass
        The class and the true model.
    steps : int
        T >= 2.
    delta : float
        Failure probability of each event, in (0, 1); the certificate fails with probability at most 4 delta (3 delta for MLE-LOOP).
    algorithm : str
        "loop" or "mle-loop".

    Returns
    -------
    RegretCertificate
        Valid for the algorithm run with the certificate's `radius` (and patience 4; 1 for MLE-LOOP).

    Raises
    ------
    ValueError
        If the class does not contain the truth or is not closed under completeness, if models of MLE-LOOP have other rewards than
        the truth, or an argument is out of range.

    Notes
    -----
    Source: loop_agec/G4, loop_agec/G5, loop_agec/G11, loop_agec/G13.
    """
    require_integer("steps", steps, minimum=2)
    require_open_unit("delta", delta)
    require_choice("algorithm", algorithm, ("loop", "mle-loop"))
    if not hypotheses.realisable:
        raise ValueError("hypotheses must contain the true model: no member has vanishing Bellman error and the gain J*; refusing to certify")
    if algorithm == "loop" and not hypotheses.complete:
        missing = int(np.flatnonzero(hypotheses.completion < 0)[0])
        raise ValueError(
            f"hypotheses must be closed under completeness: the auxiliary class lacks r + P V_f of hypothesis {missing}; refusing to certify"
        )
    if algorithm == "mle-loop":
        require_models(hypotheses)
    span, largest = hypotheses.span, hypotheses.largest_error
    dimension = hypotheses.dimension(1.0 / steps).upper
    size, functions = hypotheses.hypotheses, hypotheses.functions
    truth = hypotheses.truth if algorithm == "loop" else hypotheses.model_truth
    assert truth is not None
    # Errors rounded by eta lose T eta in their sum and eta sqrt(T) in the root of the in-sample squares.
    rounding = (2.0 * math.sqrt(dimension) + 1.0) * steps * hypotheses.rounding + steps * abs(float(hypotheses.gain[truth]) - hypotheses.optimal_gain)
    reward = hypotheses.mdp.expected_reward
    if algorithm == "loop":
        _require_exactness(hypotheses, steps)
        radius = float(loop_agec.class_radius(span, size, functions, steps, delta))
        bound = float(loop_agec.regret_bound(dimension, span, radius, largest, steps, delta))
        switches = loop_agec.switching_bound(dimension, radius, largest, steps)
    else:
        radius = loop_agec.mle_radius(size, delta)
        bound = float(loop_agec.mle_regret_bound(dimension, span, size, largest, steps, delta))
        switches = float(size)
    return RegretCertificate(
        bound=(bound + rounding) * (1.0 + 1e-12),
        alpha=min(1.0, (4.0 if algorithm == "loop" else 3.0) * delta),
        algorithm=algorithm,
        setting="finite",
        steps=steps,
        delta=delta,
        radius=radius,
        dimension=dimension,
        span=span,
        largest_error=largest,
        log_hypotheses=math.log(size),
        log_functions=math.log(functions),
        switches=switches,
        rounding=rounding,
        trivial=steps * (hypotheses.optimal_gain - float(reward.min())),
        assumptions=("the true model is weakly communicating", "the class contains the true model", "rewards are known and lie in [-1, 1]"),
    )
