"""Figures of the sequential certificates and of what breaks the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from theory import policy_smoothing as bound
from verify.checks.policy_smoothing._figures import _BLUE, _GREEN, _GREY, _ORANGE, _axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def betting(figure: Figure) -> None:
    """Draw one run of the betting certificate beside the band at each sample size."""
    from certify.smoothing.betting import BettingCertificate
    from certify.smoothing.certificates import certify_curve

    rng = np.random.Generator(np.random.Philox(5))
    returns = rng.choice([0.0, 10.0, 20.0], p=[0.02, 0.08, 0.9], size=2000)
    sizes = np.unique(np.geomspace(10, 2000, 25).astype(int))
    run = BettingCertificate(shift=1.0, thresholds=np.arange(1.0, 21.0))
    running, best = [], 0.0
    for start, stop in zip(np.r_[0, sizes[:-1]], sizes, strict=True):
        run.add(returns[start:stop])
        best = max(best, run.lower)
        running.append(best)
    axes = _axes(figure, "episodes", "certified mean return", "c = 1: betting may be read at any time, the band only once")
    axes.semilogx(sizes, running, color=_BLUE, label="betting certificate, best so far")
    axes.semilogx(
        sizes, [certify_curve(returns[:n], sigma=1.0, budgets=[1.0], band="clopper-pearson", thresholds=[10.0, 20.0]).lower[0] for n in sizes],
        color=_GREEN, ls="--", label="Clopper-Pearson, n fixed in advance",
    )  # fmt: skip
    axes.axhline(float(bound.wang_transform([0, 10, 20], [0.02, 0.08, 0.9], 1.0)), color=_GREY, ls=":", label="$\\rho_c$")
    axes.legend(fontsize=8)


def ordering(figure: Figure) -> None:
    """Draw the ordering bound and the bands over the budget for a near-perfect sample."""
    from certify.smoothing.betting import ordering_bound
    from certify.smoothing.certificates import certify_curve

    returns = np.r_[0.0, np.full(399, 20.0)]
    c = np.linspace(0, 3, 13)
    axes = _axes(figure, "c = budget / noise scale", "certified mean return", "400 episodes, one of them 0, the others 20 (alpha = .05)")
    axes.plot(c, [ordering_bound(returns, shift=x, ceiling=20.0, simulations=400) for x in c], color=_BLUE, label="ordering bound (one budget)")
    for band, colour in (("equal-local-level", _GREEN), ("dkw-one-sided", _ORANGE)):
        axes.plot(c, certify_curve(returns, sigma=1.0, budgets=c, band=band).lower, color=colour, ls="--", label=f"{band} (all budgets)")
    axes.legend(fontsize=8)


def broken(figure: Figure) -> None:
    """Draw what attacks reach when one assumption is dropped, beside what would be certified."""
    from verify.checks.policy_smoothing.breaks import _broken_instances, _broken_sides

    names, reached, certified = [], [], []
    for instance in _broken_instances("quick", 0):
        left, right = _broken_sides(instance, 0)
        names.append(instance.name.replace(", ", ",\n").replace(" leaks", "\nleaks"))
        reached.append(float(left.value))
        certified.append(float(right.value))
    axes = _axes(figure, "success probability", "", "One assumption dropped: attacks below the certificate")
    y = np.arange(len(names))
    axes.barh(y + 0.2, certified, height=0.38, color=_BLUE, label="certified (Laplace: best split in advance)")
    axes.barh(y - 0.2, reached, height=0.38, color=_ORANGE, label="reached")
    axes.set_yticks(y, names, fontsize=7)
    axes.set_xlim(0, 1.0)
    axes.set_ylim(-0.6, len(names) + 0.3)
    axes.legend(fontsize=8, loc="upper right")


def table(figure: Figure) -> None:
    """Draw how far attacked probabilities stay above the bound with the error subtracted twice and once."""
    from verify.checks.policy_smoothing.breaks import table_noise

    clean, attacked, eps = table_noise(16, 0.125, 1.0)
    once = bound.gaussian_shift(np.maximum(clean - eps, 0), 1.0)
    axes = _axes(figure, "clean probability of a half line", "attacked probability − bound", f"16-bit table noise, total variation {eps:.1e}, c = 1")
    axes.plot(clean, attacked - np.maximum(once - eps, 0), ".-", color=_BLUE, ms=3, lw=0.8, label="$g_c(p-\\epsilon)-\\epsilon$")
    axes.plot(clean, attacked - once, ".-", color=_ORANGE, ms=3, lw=0.8, label="control: $g_c(p-\\epsilon)$")
    axes.axhline(0, color=_GREY, lw=1)
    axes.set_xscale("log")
    axes.set_xlim(1e-4, 0.5)
    axes.set_ylim(-1.5e-4, 6e-4)
    axes.legend(fontsize=8)


def leak(figure: Figure) -> None:
    """Draw how many small inputs are off the lattice 2^-28 in float32, clean and perturbed by 0.1."""
    rng = np.random.Generator(np.random.Philox(1))
    noise = rng.standard_normal(2_000_000)
    axes = _axes(figure, "noisy input x", "share of inputs off the lattice $2^{-28}$", "x = fl(o + z) in float32 shows what was added")
    edges = np.linspace(-0.06, 0.06, 25)
    for shift, colour, label in ((0.0, _BLUE, "o = 0"), (0.1, _ORANGE, "o = 0, perturbed by 0.1")):
        x = np.float32(shift) + noise.astype(np.float32)
        scaled = x.astype(np.float64) * 2.0**28
        off = scaled != np.rint(scaled)
        total, _ = np.histogram(x, edges)
        hits, _ = np.histogram(x[off], edges)
        axes.step(edges[:-1], hits / np.maximum(total, 1), where="post", color=colour, label=label)
    axes.legend(fontsize=8)
