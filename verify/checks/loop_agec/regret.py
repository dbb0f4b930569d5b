"""Checks of the algorithms: switches and regret of LOOP, the growth of its worst regret, and UCRL2 as the point of reference."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from theory import loop_agec
from verify.check import Check, Control
from verify.checks.loop_agec._classes import hard
from verify.checks.loop_agec._planning import plan, random_estimate
from verify.checks.loop_agec._plots import BLUE, GREEN, GREY, ORANGE, RED
from verify.types import Basis, Claim, Estimate, Instance, Slack, binomial_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CHECKS"]

_STATEMENTS = {g.key: g for g in loop_agec.GUARANTEES}
_ALPHA = 1e-4
_SURE = 1e-6
"""Failure probability in bounds whose violation on a single path counts as one."""


def _loop(gap: float, steps: int, runs: int, seed: int, delta: float, **options: Any) -> Any:
    from verify.simulators import simulate

    return simulate(hard(gap), algorithm="loop", steps=steps, seeds=runs, seed=seed, delta=delta, checkpoints=[steps], jobs=1, **options)


# G10 ---------------------------------------------------------------------------------------------------------------------------


def _switch_instances(budget: str, seed: int) -> Iterator[Instance]:
    for gap in (0.03, 0.06, 0.1):
        for steps in (3000, 30_000) if budget == "quick" else (3000, 30_000, 300_000, 1_000_000):
            yield Instance(f"HARD(3, 10, {gap}), T = {steps}", {"gap": gap, "steps": steps, "runs": 3})


def _switch_with(instance: Instance, seed: int, patience: float, offset: float) -> tuple[Estimate, Estimate]:
    p = instance.params
    gap, steps = float(p["gap"]), int(p["steps"])
    hypotheses = hard(gap)
    run = _loop(gap, steps, int(p["runs"]), seed, _SURE, patience=patience)
    beta = float(run.options["beta"])
    squares = run.diagnostics["decomposition"][:, -1, 4]
    pathwise = loop_agec.switching_bound_pathwise(squares, beta) - offset
    dimension = hypotheses.dimension(steps**-0.5).upper
    overall = loop_agec.switching_bound(dimension, beta, hypotheses.largest_error, steps)
    left = run.switches[:, -1].astype(np.float64)
    return Estimate.numeric(np.stack([left, left])), Estimate.numeric(np.stack([pathwise, np.full(len(left), overall)]))


def _switch_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the updates of LOOP with the pathwise bound and with the bound by the dimension, on every path."""
    return _switch_with(instance, seed, 4.0, 0.0)


def _switch_figure(figure: Figure) -> None:
    from verify.simulators import simulate

    axes = figure.subplots()
    steps = 300_000
    for scale, colour in ((1.0, BLUE), (0.1, GREEN), (0.01, ORANGE)):
        run = simulate(hard(0.06), algorithm="loop", steps=steps, seeds=6, seed=1, beta_scale=scale, jobs=1)
        axes.semilogx(run.checkpoints, run.switches.mean(axis=0), "-", color=colour, label=f"LOOP, radius x {scale:g}")
    grid = run.checkpoints.astype(float)
    d = hard(0.06).dimension(steps**-0.5).upper
    span, largest = hard(0.06).span, hard(0.06).largest_error
    bounds = [loop_agec.switching_bound(d, loop_agec.class_radius(span, 8, 16, t, 0.05), largest, t) for t in grid.tolist()]
    axes.semilogx(grid, bounds, color=RED, label="bound")
    axes.set_yscale("log")
    axes.set_xlabel("steps (log scale)")
    axes.set_ylabel("updates (log scale)")
    axes.set_title("Updates of LOOP grow at most with log T (HARD(3, 10, 0.06))")
    axes.legend()


_G10 = Check(
    guarantee=_STATEMENTS["loop_agec/G10"],
    claim=Claim("<="),
    instances=_switch_instances,
    sides=_switch_sides,
    controls=(
        Control("without the first update", lambda instance, seed: _switch_with(instance, seed, 4.0, 1.0)),
        Control("update at a hundredth of the radius", lambda instance, seed: _switch_with(instance, seed, 0.01, 0.0)),
    ),
    figure=_switch_figure,
    cost={"quick": 6.0, "full": 20.0},
)


# G11 ---------------------------------------------------------------------------------------------------------------------------


def _regret_instances(budget: str, seed: int) -> Iterator[Instance]:
    few = budget == "quick"
    for gap, steps in ((0.06, 3000), (0.06, 30_000), (0.1, 30_000), (0.06, 300_000)):
        yield Instance(f"HARD(3, 10, {gap}), T = {steps}, largest of 3", {"gap": gap, "steps": steps, "runs": 3, "delta": _SURE})
    yield Instance("HARD(3, 10, 0.06), frequency", {"gap": 0.06, "steps": 10_000, "runs": 60 if few else 1000, "delta": 0.05})


def _regret_with(instance: Instance, seed: int, loose: bool) -> tuple[Estimate, Estimate]:
    p = instance.params
    gap, steps, runs, delta = float(p["gap"]), int(p["steps"]), int(p["runs"]), float(p["delta"])
    hypotheses = hard(gap)
    run = _loop(gap, steps, runs, seed, delta, beta_scale=5000.0 if loose else 1.0)
    dimension = hypotheses.dimension(1.0 / steps).upper
    beta = float(loop_agec.class_radius(hypotheses.span, hypotheses.hypotheses, hypotheses.functions, steps, delta))
    bound = float(loop_agec.regret_bound(dimension, hypotheses.span, beta, hypotheses.largest_error, steps, delta))
    regret = run.regret[:, -1]
    if delta == _SURE:
        return Estimate.numeric(float(regret.max())), Estimate.numeric(bound)
    return binomial_estimate(int((regret > bound).sum()), runs, failure=_ALPHA), Estimate.exact(4.0 * delta)


def _regret_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the regret of LOOP with the explicit bound, and the frequency with which it is exceeded with 4 delta."""
    return _regret_with(instance, seed, False)


def _loose_instances(budget: str, seed: int) -> Iterator[Instance]:
    yield Instance("HARD(3, 10, 0.06), T = 2000000", {"gap": 0.06, "steps": 2_000_000, "runs": 1, "delta": _SURE})


def _regret_figure(figure: Figure) -> None:
    from verify.simulators import simulate, theoretical_bound

    axes, side = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
    run = simulate(hard(0.06), algorithm="loop", steps=300_000, seeds=8, seed=4, jobs=1)
    late = run.checkpoints >= 100
    t = run.checkpoints[late]
    low, high = run.band()
    axes.loglog(t, run.mean[late], color=BLUE, label="LOOP, mean of 8")
    axes.fill_between(t, np.maximum(low[late], 1.0), high[late], color=BLUE, alpha=0.25, label="95% band")
    found = theoretical_bound(hard(0.06), "loop", t)
    if found is not None:
        axes.loglog(t, found[0], color=RED, label="explicit bound")
    axes.loglog(t, run.gain * t, "--", color=GREY, label=r"$J^* T$ (trivial)")
    axes.set_xlabel("steps")
    axes.set_ylabel("regret")
    axes.set_title("HARD(3, 10, 0.06), full radius", fontsize=10)
    axes.legend(fontsize=8)
    side.axis("off")
    rows = [(name, rate) for name, _, rate, _ in loop_agec.RATES[:9]]
    for index, (name, rate) in enumerate(rows):
        side.text(0.0, 0.97 - 0.108 * index, name, fontsize=7.5, transform=side.transAxes, va="top", weight="bold")
        side.text(0.04, 0.925 - 0.108 * index, rate, fontsize=7, transform=side.transAxes, va="top")
    side.set_title("Rates", fontsize=10)


_G11 = Check(
    guarantee=_STATEMENTS["loop_agec/G11"],
    claim=Claim("<="),
    instances=_regret_instances,
    sides=_regret_sides,
    controls=(
        Control("run with 5000 times the radius of the bound", lambda instance, seed: _regret_with(instance, seed, True), instances=_loose_instances),
    ),
    figure=_regret_figure,
    alpha=_ALPHA,
    cost={"quick": 8.0, "full": 30.0},
)


# G11-rate ----------------------------------------------------------------------------------------------------------------------

_STEPS = (10_000, 20_000, 40_000, 80_000, 160_000)


def _rate_instances(budget: str, seed: int) -> Iterator[Instance]:
    yield Instance("HARD(3, 10), radius x 0.1", {"scale": 0.1, "runs": 5 if budget == "quick" else 40, "gaps": 10})


@lru_cache(maxsize=16)
def _envelope(scale: float, runs: int, gaps: int, seed: int) -> Any:
    from verify.simulators import gap_envelope
    from verify.simulators.envelope import default_gaps

    def run_at(gap: float, steps: int) -> Any:
        return _loop(gap, steps, runs, seed, 0.05, beta_scale=scale)

    return gap_envelope(run_at, steps=_STEPS, gaps=default_gaps(10.0, gaps))


def _rate_with(instance: Instance, seed: int, factor: float) -> tuple[Estimate, Estimate]:
    from verify.simulators import fit_slope

    p = instance.params
    slope = fit_slope(_envelope(factor * float(p["scale"]), int(p["runs"]), int(p["gaps"]), seed), level=0.95)
    low, high = min(slope.lower, slope.bootstrap_lower), max(slope.upper, slope.bootstrap_upper)
    return Estimate(slope.value, low, high, failure=0.05, basis=Basis.FITTED), Estimate.enclosed(0.45, 0.72)


def _rate_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Fit the exponent of the envelope over ten gaps and five numbers of steps; the hull of two 95% intervals must lie in the window."""
    return _rate_with(instance, seed, 1.0)


def _rate_figure(figure: Figure) -> None:
    from verify.simulators import fit_slope

    axes = figure.subplots()
    for scale, colour in ((0.1, BLUE), (0.01, GREEN), (500.0, RED)):
        envelope = _envelope(scale, 5, 10, 3)
        slope = fit_slope(envelope)
        label = f"radius x {scale:g}: slope {slope.value:.2f} [{slope.bootstrap_lower:.2f}, {slope.bootstrap_upper:.2f}]"
        axes.loglog(envelope.steps, envelope.values, "o-", color=colour, label=label)
        if scale == 0.1:
            for row in envelope.regret.mean(axis=1):
                axes.loglog(envelope.steps, np.maximum(row, 1.0), color=GREY, linewidth=0.6, alpha=0.6)
    t = np.array(_STEPS, dtype=float)
    axes.loglog(t, 2.0 * np.sqrt(t), ":", color="black", label=r"$\sqrt{T}$ (shape)")
    axes.set_xlabel("T")
    axes.set_ylabel("largest mean regret over ten gaps")
    axes.set_title("Envelope of the regret of LOOP on HARD(3, 10); grey: single gaps")
    axes.legend(fontsize=8)


_G11_RATE = Check(
    guarantee=_STATEMENTS["loop_agec/G11-rate"],
    claim=Claim("within"),
    instances=_rate_instances,
    sides=_rate_sides,
    controls=(Control("radius times 5000: the linear phase", lambda instance, seed: _rate_with(instance, seed, 5000.0)),),
    figure=_rate_figure,
    cost={"quick": 12.0, "full": 60.0},
)


# G14 ---------------------------------------------------------------------------------------------------------------------------


def _reference_instances(budget: str, seed: int) -> Iterator[Instance]:
    few = budget == "quick"
    for states in (3, 6):
        yield Instance(f"RiverSwim-{states}: regret, episodes, optimism", {"kind": "river", "states": states, "runs": 8, "steps": 100_000})
    yield Instance("confidence event, RiverSwim-6", {"kind": "frequency", "states": 6, "runs": 250 if few else 2000, "steps": 2000})
    yield Instance("confidence event, hub with 400 leaves", {"kind": "hub", "states": 400, "runs": 1, "steps": 500})
    yield Instance("planning on 200 random estimates", {"kind": "planning", "states": 4, "runs": 200, "steps": 0})


def _hub(leaves: int) -> Any:
    """Return a model whose hub moves uniformly to one of many leaves, each of which returns: its L1 errors grow with their number."""
    import mdps

    transition = np.zeros((leaves + 1, 1, leaves + 1))
    transition[0, 0, 1:] = 1.0 / leaves
    transition[1:, 0, 0] = 1.0
    return mdps.TabularMDP(transition, np.full((leaves + 1, 1), 0.5))


def _reference_with(instance: Instance, seed: int, *, state_factor: bool = True, variant: str = "") -> tuple[Estimate, Estimate]:
    import mdps
    from mdps.families import river_swim
    from verify.simulators import optimistic_policy, simulate

    p = instance.params
    kind, states, runs, steps = str(p["kind"]), int(p["states"]), int(p["runs"]), int(p["steps"])
    if kind == "planning":
        different = 0
        for index in range(runs):
            kernel, rewards, widths = random_estimate(index)
            reference = plan(kernel, rewards, widths, 1e-3, "jacobi")
            tested = plan(kernel, rewards, widths, 1e-3, variant) if variant else optimistic_policy(kernel, rewards, widths, tolerance=1e-3)[0]
            different += int(not np.array_equal(reference, tested))
        return Estimate.exact(different), Estimate.exact(0)
    mdp = _hub(states) if kind == "hub" else river_swim(states)
    delta = 0.05 if kind == "frequency" else _SURE
    run = simulate(mdp, algorithm="ucrl2", steps=steps, seeds=runs, seed=seed, delta=delta, state_factor=state_factor, checkpoints=[steps], jobs=1)
    found = run.diagnostics
    if kind == "frequency":
        return binomial_estimate(int((~found["confidence_event"]).sum()), runs, failure=_ALPHA), Estimate.exact(delta)
    if kind == "hub":
        return Estimate.numeric(float(found["confidence_ratio"].max())), Estimate.numeric(1.0)
    bound = float(loop_agec.ucrl2_regret_bound(mdps.diameter(mdp), states, 2, steps, delta))
    left = [run.regret.max(), float(found["episodes"].max()), -float(np.nanmin(found["optimism"])), float(found["confidence_ratio"].max())]
    return Estimate.numeric(left), Estimate.numeric([bound, float(loop_agec.ucrl2_episode_bound(states, 2, steps)), 0.0, 1.0])


def _reference_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare regret, episodes, optimism and confidence event of UCRL2 with what is claimed, and its planner with plain sweeps."""
    return _reference_with(instance, seed)


def _only(kind: str) -> Any:
    return lambda budget, seed: [i for i in _reference_instances(budget, seed) if i.params["kind"] == kind]


def _reference_figure(figure: Figure) -> None:
    import mdps
    from mdps.families import river_swim
    from verify.simulators import simulate

    axes = figure.subplots()
    for states, colour in ((3, GREEN), (6, BLUE)):
        mdp = river_swim(states)
        run = simulate(mdp, algorithm="ucrl2", steps=1_000_000, seeds=8, seed=2, jobs=1)
        late = run.checkpoints >= 1000
        t = run.checkpoints[late]
        low, high = run.band()
        axes.loglog(t, run.mean[late], color=colour, label=f"UCRL2, RiverSwim-{states}, mean of 8")
        axes.fill_between(t, np.maximum(low[late], 1.0), high[late], color=colour, alpha=0.25)
        axes.loglog(t, loop_agec.ucrl2_regret_bound(mdps.diameter(mdp), states, 2, t, 0.05), "--", color=colour, label=f"34 D S sqrt(A T log), S = {states}")
    axes.loglog(t, run.gain * t, ":", color=GREY, label=r"$J^* T$, S = 6")
    published = np.array([[3e4, 12052.0, 388.0], [1e5, 29535.0, 2513.0], [3e5, 41533.0, 4114.0], [1e6, 64703.0, 5886.0]])
    axes.errorbar(
        published[:, 0], published[:, 1], yerr=published[:, 2], fmt="s", color=ORANGE, markersize=4, capsize=3, label="reference, S = 6 (1 sd)"
    )
    axes.set_xlabel("steps")
    axes.set_ylabel("regret")
    axes.set_title("UCRL2 with published constants, Bernoulli rewards, 95% bands")
    axes.legend(fontsize=7.5, loc="upper left")
    axes.set_ylim(top=3e9)


_G14 = Check(
    guarantee=_STATEMENTS["loop_agec/G14"],
    claim=Claim("<=", Slack(absolute=1e-9)),
    instances=_reference_instances,
    sides=_reference_sides,
    controls=(
        Control(
            "transition width without the factor S", lambda instance, seed: _reference_with(instance, seed, state_factor=False), instances=_only("hub")
        ),
        Control("in-place sweeps", lambda instance, seed: _reference_with(instance, seed, variant="in-place"), instances=_only("planning")),
        Control(
            "optimistic kernel carried between sweeps", lambda instance, seed: _reference_with(instance, seed, variant="stale kernel"),
            instances=_only("planning"),
        ),
    ),
    figure=_reference_figure,
    alpha=_ALPHA,
    cost={"quick": 10.0, "full": 15.0},
)

CHECKS = (_G10, _G11, _G11_RATE, _G14)
