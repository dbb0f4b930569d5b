"""Figures of offline learning: certificates against the truth, rates, published tables, timing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from theory import r2pvi as formulas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (100, 400, 1600, 6400, 25600)


def certificate(figure: Figure) -> None:
    """Draw certified interval, value of the learned policy, and the best value against the number of trajectories."""
    from certify.robust.offline import r2pvi
    from verify.checks.r2pvi._learning import data, learning_model
    from verify.checks.r2pvi._models import solve

    axes = figure.subplots(1, 3, sharey=True)
    model = learning_model(0)
    for axis, divergence in zip(axes, ("tv", "kl", "chi2"), strict=True):
        best = solve(model, divergence, penalty=0.5).value[0, 0]
        found = [r2pvi(data(0, k, 11), model.features, model.weights, divergence=divergence, penalty=0.5, ridge=0.1) for k in SIZES]
        own = [solve(model, divergence, penalty=0.5, policy=r.policy).value[0, 0] for r in found]
        axis.fill_between(SIZES, [r.lower[0] for r in found], [r.upper[0] for r in found], alpha=0.25, label="certified interval")
        axis.plot(SIZES, own, "o-", ms=4, label="learned policy, exact")
        axis.axhline(best, color="k", lw=0.8, label="best robust value")
        axis.set_xscale("log")
        axis.set_title(f"{divergence}, λ = 0.5", fontsize="medium")
        axis.set_xlabel("trajectories")
    axes[0].set_ylabel("robust value at state 0")
    axes[0].legend(fontsize="small")


def printed(figure: Figure) -> None:
    """Draw suboptimality bounds: printed constants, data-split certificate, trivial value."""
    from certify.robust.offline import r2pvi
    from verify.checks.r2pvi._learning import data, learning_model
    from verify.checks.r2pvi._models import collect, solve

    axis = figure.subplots()
    model = learning_model(0)
    for divergence, colour in (("tv", "C0"), ("kl", "C1"), ("chi2", "C2")):
        best = solve(model, divergence, penalty=0.5)
        theirs: list[float] = []
        ours: list[float] = []
        for k in SIZES:
            plain = r2pvi(data(0, k, 11), model.features, model.weights, divergence=divergence, penalty=0.5, beta="printed")
            split = r2pvi(data(0, k, 11), model.features, model.weights, divergence=divergence, penalty=0.5, ridge=0.1)
            for result, into in ((plain, theirs), (split, ours)):
                widths = np.einsum("sad,hd->hsa", model.features, result.bonus)
                into.append(2.0 * collect(model, best.policy, best.kernel, widths)[0, 0])
        axis.plot(SIZES, theirs, "--", color=colour, label=f"{divergence}, printed constants")
        axis.plot(SIZES, ours, "-o", ms=4, color=colour, label=f"{divergence}, data-split certificate")
    axis.axhline(model.horizon, color="k", lw=0.8, label="trivial value H")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("trajectories")
    axis.set_ylabel("bound on the suboptimality, λ = 0.5")
    axis.set_ylim(top=1e8)
    axis.legend(fontsize="small", ncols=2, loc="upper right")


def drpvi(figure: Figure) -> None:
    """Draw the coefficient of DRPVI with and without the net over the truncation level."""
    axis = figure.subplots()
    sizes = np.geomspace(100, 1e6, 50)
    for net, label in ((False, "as printed"), (True, "with the net over the level")):
        beta = np.array([formulas.drpvi_coefficient(dimension=3, horizon=3, trajectories=k, delta=0.1, level_net=net) for k in sizes])
        axis.plot(sizes, 2.0 * beta, label=f"factor 2, {label}")
    axis.plot(sizes, [formulas.drpvi_coefficient(dimension=3, horizon=3, trajectories=k, delta=0.1, level_net=False) for k in sizes], "r--",
              label="main text: no factor 2, no net")
    axis.set_xscale("log")
    axis.set_xlabel("trajectories")
    axis.set_ylabel("coefficient of the suboptimality bound, d = H = 3")
    axis.set_ylim(bottom=0.0)
    axis.legend(fontsize="small")


def covered(figure: Figure) -> None:
    """Draw the sum behind the bound and the bound under full coverage against the number of trajectories."""
    from verify.checks.r2pvi._learning import _SHARES, DELTA, covered_size, covered_sum

    axis = figure.subplots()
    for colour, (name, shares) in zip(("C0", "C1", "C2", "C3"), _SHARES.items(), strict=True):
        kappa, enough = covered_size(shares, DELTA)
        sizes = np.geomspace(30, 3e6, 40).astype(int)
        sums = np.array([2.0 * covered_sum(shares, int(k), DELTA) for k in sizes])
        bound = formulas.coverage_bound(1.0, horizon=len(shares), trajectories=sizes, coverage=kappa)
        axis.plot(sizes, sums / bound, color=colour, label=f"{name}, κ = {kappa:.2g}")
        axis.plot([enough], [2.0 * covered_sum(shares, enough, DELTA) / formulas.coverage_bound(1.0, horizon=len(shares), trajectories=enough, coverage=kappa)], "o", color=colour)
    axis.axhline(1.0, color="k", lw=0.8)
    axis.set_xscale("log")
    axis.set_ylim(0.0, 1.1)
    axis.set_xlabel("trajectories K (dots: from where the bound is stated)")
    axis.set_ylabel("quantile of the sum over the bound, δ = 0.1")
    axis.legend(fontsize="small")


def rate(figure: Figure) -> None:
    """Draw the bound sum, with and without coverage, and the regression error against the number of trajectories."""
    from verify.checks.r2pvi._learning import SIZES as CURVE_SIZES
    from verify.checks.r2pvi._learning import curves, slope

    axis = figure.subplots()
    found = curves(24)
    for name, label in (("uncovered", "sum of the penalty, best action never played"), ("bound", "sum of the penalty"), ("error", "regression error")):
        axis.plot(CURVE_SIZES, found[name].mean(axis=1), "o-", ms=4, label=f"{label}, slope {slope(CURVE_SIZES, found[name])[0]:.2f}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(top=30.0)
    axis.set_xlabel("trajectories")
    axis.set_ylabel("mean over data sets")
    axis.legend(fontsize="small", loc="upper right")


def local(figure: Figure) -> None:
    """Draw the mean loss on the local family and on a fixed gap."""
    from verify.checks.r2pvi._learning import LOCAL_SIZES, local_loss, slope

    axis = figure.subplots()
    shrinking = np.stack([local_loss(n, 20000, 0) for n in LOCAL_SIZES])
    fixed = np.stack([local_loss(n, 20000, 0, gap=0.75 / 8.0) for n in LOCAL_SIZES])
    axis.plot(LOCAL_SIZES, shrinking.mean(axis=1), "o-", label=f"gap 0.75/√N, slope {slope(LOCAL_SIZES, shrinking)[0]:.2f}")
    axis.plot(LOCAL_SIZES, np.maximum(fixed.mean(axis=1), 1e-6), "s--", label="fixed gap")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("trajectories N")
    axis.set_ylabel("mean suboptimality (floored at 1e-6)")
    axis.legend(fontsize="small")


def lower_bounds(figure: Figure) -> None:
    """Draw printed and sharper lower bound and the exact Bayes risk against the number of trajectories."""
    from verify.checks.r2pvi._lower import best_separation, exact_bayes_risk

    axis = figure.subplots()
    sizes = np.geomspace(300, 30000, 12).astype(int)
    shape = {"dimension": 3, "horizon": 3}
    risks = [exact_bayes_risk(best_separation({"dimension": 3, "trajectories": k}), trajectories=k, **shape) for k in sizes.tolist()]
    axis.plot(sizes, risks, "ko", ms=4, label="Bayes risk, exact")
    axis.plot(sizes, formulas.gaussian_lower_bound(trajectories=sizes, **shape), label="0.17 H d √((d+2)/K)")
    axis.plot(sizes, formulas.printed_lower_bound(trajectories=sizes, **shape), "--", label="printed: d^1.5 H / (128 √K)")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("trajectories K")
    axis.set_ylabel("least worst-case suboptimality, d = H = 3")
    axis.legend(fontsize="small")


def timing(figure: Figure) -> None:
    """Draw the time of one step's estimates: one regression, all breakpoints, local search."""
    from certify.robust import _duals, _published
    from verify.checks.r2pvi._lower import ridge_weights

    axis = figure.subplots()
    dimensions = (5, 10, 20, 40)
    seconds: dict[str, list[float]] = {"regularised TV": [], "constrained TV, all breakpoints": [], "constrained TV, local search": []}
    for d in dimensions:
        weights, values = ridge_weights({"draw": d, "dimension": d, "samples": 1000, "horizon": 3.0})
        radius = np.full(d, 0.1)
        calls: tuple[Any, ...] = (
            lambda w=weights, v=values: _duals.penalised_tv(w, v, 0.5, 0.0),
            lambda w=weights, v=values, r=radius: _duals.constrained_tv(w, v, r, 0.0, 3.0),
            lambda w=weights, v=values, r=radius: _published.constrained_tv(w, v, r, 3.0),
        )
        for name, call in zip(seconds, calls, strict=True):
            best = np.inf
            for _ in range(3):
                start = time.perf_counter()
                call()
                best = min(best, time.perf_counter() - start)
            seconds[name].append(best)
    for name, measured in seconds.items():
        axis.plot(dimensions, 1e3 * np.array(measured), "o-", ms=4, label=name)
    axis.set_yscale("log")
    axis.set_xlabel("number of factors d, 1000 samples")
    axis.set_ylabel("milliseconds for one step (measured here)")
    axis.set_ylim(top=30.0 * axis.get_ylim()[1])
    axis.legend(fontsize="small", loc="upper left")


def put_table(figure: Figure) -> None:
    """Draw rows of the American put table: average reward against the test probability of an up move."""
    from verify.checks.r2pvi._published import PUT_PROBABILITIES, put_row

    axis = figure.subplots()
    rows = (("PEVI", ("pevi",), "k-"), ("R2PVI-TV, λ = 3", ("tv", 3.0), "C0-o"), ("DRPVI, ρ = 0.025, local search", ("drpvi", 0.025), "C3--x"),
            ("DRPVI, ρ = 0.025, exact dual", ("drpvi-exact", 0.025), "C3-o"))
    for label, row, style in rows:
        axis.plot(PUT_PROBABILITIES, put_row(*row), style, ms=5, label=label)
    axis.set_xlabel("test probability of an up move (0.5 in training)")
    axis.set_ylabel("average reward of the American put")
    axis.legend(fontsize="small")


def target_return(figure: Figure) -> None:
    """Draw exact target returns against the perturbation: official code with its penalty, without it, and the exact robust optima."""
    from verify.checks.r2pvi._models import solve
    from verify.checks.r2pvi._published import PERTURBATIONS, ROWS, returns, simulated_model, target_return

    left, right = figure.subplots(1, 2, sharey=True)
    for name, row in ROWS.items():
        left.plot(PERTURBATIONS, returns(row, seeds=10), "o-", ms=3, label=name)
    left.set_title("official code, β = 1, K = 100", fontsize="medium")
    for name in ("PEVI", "R2PVI-TV", "R2PVI-KL"):
        right.plot(PERTURBATIONS, returns(ROWS[name], seeds=10, beta=0.0), "o-", ms=3, label=f"{name}, β = 0")
    model = simulated_model()
    exact = solve(model, "tv", penalty=0.1).policy
    radius = np.zeros(model.weights.shape)
    radius[0, 3] = 0.5
    single = solve(model, "tv", radius=radius).policy
    right.plot(PERTURBATIONS, [target_return(exact, q) for q in PERTURBATIONS], "k--", label="exact optimum, any λ")
    right.plot(PERTURBATIONS, [target_return(single, q) for q in PERTURBATIONS], "k-", label="exact optimum, radius .5 on one factor")
    right.set_title("without pessimism, and exact", fontsize="medium")
    for axis in (left, right):
        axis.set_xlabel("perturbation q")
        axis.legend(fontsize="x-small")
    left.set_ylabel("expected target return")
