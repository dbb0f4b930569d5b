"""Checks of the confidence sets: the anytime radius, in-sample control, the power of the span, and the likelihood set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from theory import loop_agec
from verify.check import Check, Control
from verify.checks.loop_agec._classes import hard, near_class
from verify.checks.loop_agec._exact import leaving_probability
from verify.checks.loop_agec._plots import BLUE, GREEN, GREY, ORANGE, RED
from verify.types import Claim, Estimate, Instance, Verdict, binomial_estimate

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from matplotlib.figure import Figure

__all__ = ["CHECKS"]

_STATEMENTS = {g.key: g for g in loop_agec.GUARANTEES}
_ALPHA = 1e-4
_SURE = 1e-6
"""Failure probability in radii whose violation on a single path counts as one."""


# G4 ----------------------------------------------------------------------------------------------------------------------------


def _radius_instances(budget: str, seed: int) -> Iterator[Instance]:
    for delta in (0.2, 0.05, 0.01):
        for shift in (0.05, 0.15, 0.5):
            yield Instance(f"one alternative, delta {delta}, shift {shift}", {"kind": "exact", "delta": delta, "shift": shift, "runs": 0})
    yield Instance("LOOP on HARD(3, 10, 0.06)", {"kind": "path", "delta": 0.05, "shift": 0.06, "runs": 400 if budget == "quick" else 4000})


def _radius_with(instance: Instance, seed: int, scale: float) -> tuple[Estimate, Estimate]:
    p = instance.params
    delta = float(p["delta"])
    if p["kind"] == "exact":
        shift = float(p["shift"])
        radius = scale * loop_agec.anytime_radius(1.0, 1, delta)
        steps = int(min(3000, 40.0 / shift**2 + 40))
        return Estimate.enclosed(*leaving_probability(1.0, [shift], radius, steps)), Estimate.exact(delta)
    from verify.simulators import simulate

    hypotheses = hard(float(p["shift"]))
    radius = scale * loop_agec.anytime_radius(hypotheses.optimal_span, hypotheses.functions, delta)
    run = simulate(hypotheses, algorithm="loop", steps=1000, seeds=int(p["runs"]), seed=seed, checkpoints=[1000], jobs=1)
    failures = int((run.diagnostics["truth_excess"] > radius).sum())
    return binomial_estimate(failures, int(p["runs"]), failure=_ALPHA), Estimate.exact(delta)


def _radius_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the probability that the truth ever exceeds the radius with delta: exactly for two-point noise, sampled for LOOP."""
    return _radius_with(instance, seed, 1.0)


def _radius_strategy() -> SearchStrategy[Instance]:
    from hypothesis import strategies as st

    return st.builds(
        lambda delta, shift: Instance("one alternative", {"kind": "exact", "delta": delta, "shift": shift, "runs": 0}),
        st.floats(0.005, 0.5), st.floats(0.05, 0.5),
    )


def _radius_figure(figure: Figure) -> None:
    axes = figure.subplots()
    shifts = np.geomspace(0.06, 0.5, 9)
    for delta, colour in ((0.2, GREY), (0.05, BLUE), (0.01, GREEN)):
        for scale, style in ((1.0, "-"), (0.5, "--")):
            radius = scale * loop_agec.anytime_radius(1.0, 1, delta)
            values = [leaving_probability(1.0, [x], radius, int(20 / x**2 + 40))[1] / delta for x in shifts]
            axes.semilogx(shifts, values, style, color=colour, marker="o", markersize=3, label=rf"$\delta$ = {delta}, radius x {scale:g}")
    axes.axhline(1.0, color=RED, label=r"$\delta$")
    axes.set_yscale("log")
    axes.set_xlabel("distance of the alternative, in spans")
    axes.set_ylabel(r"P(truth ever leaves) / $\delta$")
    axes.set_title("The anytime radius is sharp; half of it fails")
    axes.legend(fontsize=8, ncols=2)


_G4 = Check(
    guarantee=_STATEMENTS["loop_agec/G4"],
    claim=Claim("<="),
    instances=_radius_instances,
    sides=_radius_sides,
    controls=(Control("half of the radius", lambda instance, seed: _radius_with(instance, seed, 0.5)),),
    figure=_radius_figure,
    alpha=_ALPHA,
    cost={"quick": 8.0, "full": 10.0},
    strategy=_radius_strategy,
    box={"delta": (0.005, 0.5), "shift": (0.05, 0.5)},
)


# G5 ----------------------------------------------------------------------------------------------------------------------------


def _sample_instances(budget: str, seed: int) -> Iterator[Instance]:
    few = budget == "quick"
    for gap in (0.02, 0.06, 0.1):
        yield Instance(f"HARD(3, 10, {gap}), largest of 4 paths", {"gap": gap, "runs": 4, "steps": 30_000 if few else 300_000, "delta": _SURE})
    yield Instance("HARD(3, 10, 0.06), frequency", {"gap": 0.06, "runs": 150 if few else 2000, "steps": 3000, "delta": 0.05})


def _sample_with(instance: Instance, seed: int, beta: Callable[[Any], float] | None = None) -> tuple[Estimate, Estimate]:
    from verify.simulators import simulate

    p = instance.params
    hypotheses = hard(float(p["gap"]))
    steps, runs, delta = int(p["steps"]), int(p["runs"]), float(p["delta"])
    radius = None if beta is None else beta(hypotheses)
    run = simulate(hypotheses, algorithm="loop", steps=steps, seeds=runs, seed=seed, delta=delta, beta=radius, checkpoints=[steps], jobs=1)
    bound = loop_agec.in_sample_bound(float(run.options["beta"]))
    sums = run.diagnostics["in_sample"][:, -1]
    lost = ~run.diagnostics["confidence_event"]
    if delta == _SURE:
        # A lost truth voids the statement: infinitely far beyond the bound.
        return Estimate.numeric(float(np.where(lost, np.inf, sums).max())), Estimate.numeric(bound)
    return binomial_estimate(int((lost | (sums > bound)).sum()), runs, failure=_ALPHA), Estimate.exact(2.0 * delta)


def _sample_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the in-sample squared errors of the hypothesis in use with 10 beta, and the frequency of failures with 2 delta."""
    return _sample_with(instance, seed)


def _sample_figure(figure: Figure) -> None:
    from verify.simulators import simulate

    axes = figure.subplots()
    for gap, colour in ((0.02, GREEN), (0.06, BLUE), (0.1, ORANGE)):
        run = simulate(hard(gap), algorithm="loop", steps=100_000, seeds=4, seed=2, jobs=1)
        curves = run.diagnostics["in_sample"]
        axes.loglog(run.checkpoints, np.maximum(curves.T, 1e-3), color=colour, linewidth=1.2, label=[f"gap {gap}", None, None, None])
        bound = loop_agec.in_sample_bound(float(run.options["beta"]))
    axes.axhline(bound, color=RED, label=r"$10 \beta$")
    axes.axhline(bound / 10.0, color=GREY, linestyle="--", label=r"$\beta$")
    axes.set_xlabel("steps")
    axes.set_ylabel(r"largest $\sum_{i<t} E(f_t)(s_i, a_i)^2$ so far")
    axes.set_title("In-sample errors of the hypothesis in use (LOOP, HARD(3, 10))")
    axes.legend()


_G5 = Check(
    guarantee=_STATEMENTS["loop_agec/G5"],
    claim=Claim("<="),
    instances=_sample_instances,
    sides=_sample_sides,
    controls=(Control("radius 5e-4 B^2, without the logarithm", lambda i, seed: _sample_with(i, seed, lambda c: 5e-4 * c.span**2)),),
    figure=_sample_figure,
    alpha=_ALPHA,
    cost={"quick": 6.0, "full": 10.0},
)


# G12 ---------------------------------------------------------------------------------------------------------------------------

_FUNCTIONS, _DELTA, _VISITS = 64, 0.05, 300


def _gamble_instances(budget: str, seed: int) -> Iterator[Instance]:
    for span in (4.0, 64.0, 1024.0):
        yield Instance(f"gamble of span {span:g}", {"span": span})


def _first_power(span: float) -> float:
    return loop_agec.first_power_radius(span, _FUNCTIONS, _DELTA)


def _square(span: float) -> float:
    return loop_agec.anytime_radius(span, _FUNCTIONS, _DELTA)


def _leaving(span: float, radius: float) -> Estimate:
    """Return the exact probability of leaving within the visits; the noise of state 0 is +-span/2 because sp(V*) = span."""
    low, _ = leaving_probability(span, np.linspace(-span / 2, span / 2, _FUNCTIONS), radius, _VISITS)
    return Estimate.enclosed(low, min(1.0, low * (1.0 + 1e-9)))


def _gamble_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the probability that the truth leaves the set with radius 2 sp log(64/0.05) with 0.9: one instance is a witness."""
    span = float(instance.params["span"])
    return _leaving(span, _first_power(span)), Estimate.exact(0.9)


def _gamble_square(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    span = float(instance.params["span"])
    return _leaving(span, _square(span)), Estimate.exact(0.9)


def _printed_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the probability that the truth leaves the set with radius 2 sp log(64/0.05) with 0.05, on all instances."""
    span = float(instance.params["span"])
    return _leaving(span, _first_power(span)), Estimate.exact(_DELTA)


def _printed_square(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    span = float(instance.params["span"])
    return _leaving(span, _square(span)), Estimate.exact(_DELTA)


def _gamble_strategy() -> SearchStrategy[Instance]:
    from hypothesis import strategies as st

    return st.builds(lambda span: Instance("gamble", {"span": span}), st.floats(1.0, 2000.0))


def _gamble_figure(figure: Figure) -> None:
    axes = figure.subplots()
    spans = np.geomspace(1.0, 1024.0, 13)
    for radius, colour, label in ((_first_power, RED, r"$2\, sp\, \log(64/0.05)$"), (_square, BLUE, r"$(sp^2/2) \log(64/0.05)$")):
        axes.semilogx(spans, [float(np.asarray(_leaving(s, radius(s)).value)) for s in spans], "o-", color=colour, markersize=4, label=label)
    axes.axhline(_DELTA, color=GREY, linestyle="--", label=r"$\delta = 0.05$")
    axes.set_xlabel("span of the gamble")
    axes.set_ylabel("P(truth leaves within 300 visits)")
    axes.set_title("A radius with the first power of the span loses the truth")
    axes.legend()


_G12 = Check(
    guarantee=_STATEMENTS["loop_agec/G12"],
    claim=Claim(">=", quantifier="exists"),
    instances=_gamble_instances,
    sides=_gamble_sides,
    controls=(Control("radius with the square of the span", _gamble_square),),
    figure=_gamble_figure,
    cost={"quick": 2.0, "full": 2.0},
    strategy=_gamble_strategy,
    box={"span": (1.0, 2000.0)},
)

_G12_PRINTED = Check(
    guarantee=_STATEMENTS["loop_agec/G12-printed"],
    claim=Claim("<="),
    instances=_gamble_instances,
    sides=_printed_sides,
    controls=(Control("radius with the square of the span", _printed_square, required=Verdict.HOLDS),),
    figure=_gamble_figure,
    expected=Verdict.VIOLATED,
    cost={"quick": 2.0, "full": 2.0},
    strategy=_gamble_strategy,
    box={"span": (1.0, 2000.0)},
)


# G13 ---------------------------------------------------------------------------------------------------------------------------


def _likelihood_instances(budget: str, seed: int) -> Iterator[Instance]:
    for index in range(3 if budget == "quick" else 10):
        yield Instance(f"eight near models {index}, ratio", {"seed": index, "runs": 600 if budget == "quick" else 5000, "kind": "event"})


def _likelihood_with(instance: Instance, seed: int, scale: float) -> tuple[Estimate, Estimate]:
    from verify.simulators import simulate

    p = instance.params
    hypotheses, delta = near_class(int(p["seed"])), 0.05
    run = simulate(
        hypotheses, algorithm="mle-loop", steps=400, seeds=int(p["runs"]), seed=seed, delta=delta, beta_scale=scale, checkpoints=[400], jobs=1
    )
    bound = loop_agec.mle_variation_bound(hypotheses.hypotheses, delta) * scale
    failed = ~run.diagnostics["confidence_event"] | (run.diagnostics["variation"][:, -1] > bound)
    return binomial_estimate(int(failed.sum()), int(p["runs"]), failure=_ALPHA), Estimate.exact(2.0 * delta)


def _likelihood_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the frequency with which the truth leaves the likelihood set, or a member is too far in total variation, with 2 delta."""
    return _likelihood_with(instance, seed, 1.0)


def _likelihood_figure(figure: Figure) -> None:
    from verify.simulators import simulate

    left, right = figure.subplots(1, 2)
    hypotheses, delta = near_class(0), 0.05
    run = simulate(hypotheses, algorithm="mle-loop", steps=400, seeds=1000, seed=5, delta=delta, checkpoints=[400], jobs=1)
    beta = loop_agec.mle_radius(hypotheses.hypotheses, delta)
    left.hist(run.diagnostics["truth_excess"], bins=40, color=BLUE)
    left.axvline(beta, color=RED, label=r"$\log(|H|/\delta)$")
    left.axvline(0.15 * beta, color=GREY, linestyle="--", label="0.15 of it")
    left.set_xlabel("largest log-likelihood ratio against the truth")
    left.set_ylabel("runs")
    left.legend()
    right.hist(run.diagnostics["variation"][:, -1], bins=40, color=GREEN)
    right.axvline(3.0 * beta, color=RED, label=r"$3 \log(|H|/\delta)$")
    right.set_xlabel("largest sum of squared TV inside the set")
    right.legend()
    figure.suptitle("Likelihood confidence set, eight near models, 400 steps")


_G13 = Check(
    guarantee=_STATEMENTS["loop_agec/G13"],
    claim=Claim("<="),
    instances=_likelihood_instances,
    sides=_likelihood_sides,
    controls=(Control("0.15 of the radius", lambda instance, seed: _likelihood_with(instance, seed, 0.15)),),
    figure=_likelihood_figure,
    alpha=_ALPHA,
    cost={"quick": 4.0, "full": 8.0},
)

CHECKS = (_G4, _G5, _G12, _G12_PRINTED, _G13)
