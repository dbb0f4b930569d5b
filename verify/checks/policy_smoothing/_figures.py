"""Figures of the checks of policy smoothing against exact games and closed forms; each draws on an empty figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from theory import policy_smoothing as bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY, _GREEN = "#1f5fa8", "#d9742b", "#777777", "#3a8f5c"


def _axes(figure: Figure, xlabel: str, ylabel: str, title: str) -> Any:
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    return axes


def exact_law(figure: Figure) -> None:
    """Draw the distribution of M for a full and for a partly spent budget."""
    from scipy.special import ndtr

    from verify.checks.policy_smoothing.formulas import predictable_law
    from verify.types import Instance

    k = np.linspace(-3, 3, 61)
    instance = Instance("figure", {"budget": 1.0, "first": 0.3, "k": k.tolist()})
    axes = _axes(figure, "k", "P(M ≤ k c) − Φ(k)", "The log likelihood ratio is exactly Gaussian if the budget is spent")
    axes.plot(k, predictable_law(instance, spend_all=True) - ndtr(k), color=_BLUE, label="budget spent on every path")
    axes.plot(k, predictable_law(instance, spend_all=False) - ndtr(k), color=_ORANGE, ls="--", label="control: budget left over on some paths")
    axes.legend(fontsize=8)


def lemma(figure: Figure) -> None:
    """Draw exact worst cases of random games against the bound."""
    from certify.smoothing.games import static_value, worst_case_value
    from verify.checks.policy_smoothing._common import fork, game_of, random_games

    axes = _axes(figure, "certified probability $g_c(p)$", "exact worst case", "No adaptive adversary gets below the bound; the fork game meets it")
    points = []
    for instance in random_games(60, 0, rewards=False):
        game = game_of(instance)
        p = static_value(game, np.zeros(game.steps))
        points.append((bound.gaussian_shift(p, instance.params["budget"] / game.sigma), worst_case_value(game, instance.params["budget"], grid=60)))
    x, y = np.array(points).T
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, label="the bound")
    axes.plot(x, y, "o", ms=4, color=_BLUE, label="random games")
    forks = [fork(p, 1.0, grid=60) for p in (0.5, 0.7, 0.9, 0.97)]
    axes.plot(
        [bound.gaussian_shift(f.params["p"], 1.0) for f in forks],
        [worst_case_value(game_of(f), 1.0, grid=60) for f in forks],
        "s", color=_ORANGE, label="fork game, c = 1",
    )  # fmt: skip
    axes.legend(fontsize=8)


def conditional(figure: Figure) -> None:
    """Draw the gain of stratified over pooled certificates."""
    c = np.linspace(0, 3, 61)
    axes = _axes(figure, "c = budget / noise scale", "certified success probability", "Two equally likely resets with success .999 and .6")
    axes.plot(c, [bound.conditional_shift([0.5, 0.5], [0.999, 0.6], x) for x in c], color=_BLUE, label="average of $g_c(p(\\omega))$")
    axes.plot(c, bound.gaussian_shift(0.7995, c), color=_ORANGE, ls="--", label="$g_c$ of the average")
    axes.legend(fontsize=8)


def tightness(figure: Figure) -> None:
    """Draw adaptive and static worst cases of the fork game over the number of branches."""
    static = {2: 0.5747564902, 4: 0.6727734502, 8: 0.7417609257, 16: 0.7904905200}
    axes = _axes(figure, "branches K", "success probability", "Fork game, p = .9, c = 1.5: attacks chosen in advance are weaker")
    axes.semilogx(list(static), list(static.values()), "o--", base=2, color=_ORANGE, label="best attack chosen in advance (computed once)")
    axes.axhline(float(bound.gaussian_shift(0.9, 1.5)), color=_BLUE, label="adaptive worst case = bound")
    axes.axhline(0.9, color=_GREY, lw=1, ls=":", label="clean")
    axes.set_xticks(list(static), [str(k) for k in static])
    axes.set_ylim(0.35, 0.95)
    axes.legend(fontsize=8)


def radius(figure: Figure) -> None:
    """Draw the largest radius that a number of episodes can prove."""
    n = np.geomspace(20, 1e7, 80)
    axes = _axes(figure, "episodes, all successful", "radius / noise scale", "Largest radius that episodes can prove (alpha = .05)")
    for q, colour in ((0.5, _BLUE), (0.8, _GREEN), (0.95, _ORANGE)):
        axes.semilogx(n, bound.largest_radius(n, q=q), color=colour, label=f"success stays at least {q:g}")
    axes.axhline(0, color=_GREY, lw=0.8)
    axes.legend(fontsize=8)


def corridor_curve(figure: Figure) -> None:
    """Draw clean mean, exact worst case and certificate of the corridor game."""
    from certify.smoothing.families import corridor_game
    from certify.smoothing.games import clean_return_law, worst_case_value

    game = corridor_game()
    values, probabilities = clean_return_law(game)
    budgets = np.linspace(0, 3, 25)
    axes = _axes(figure, "total budget B (noise scale 1)", "mean return", "Corridor game, T = 5")
    axes.plot(budgets, [worst_case_value(game, b, grid=60) for b in budgets], color=_ORANGE, label="exact worst case")
    axes.plot(budgets, bound.wang_transform(values, probabilities, budgets, floor=0.0), color=_BLUE, label="certificate $\\rho_c$")
    axes.axhline(float(values @ probabilities), color=_GREY, ls=":", label="clean mean")
    axes.set_ylim(0, None)
    axes.legend(fontsize=8)


def zero_floor(figure: Figure) -> None:
    """Draw the sum started at 0 and at -1 for a score in {-1, 1}."""
    c = np.linspace(0, 3, 61)
    kept = bound.gaussian_shift(0.9, c)
    axes = _axes(figure, "c = budget / noise scale", "mean score", "Score in {−1, 1}, P(win) = .9: the sum must start at −1")
    axes.plot(c, kept, color=_ORANGE, ls="--", label="published function, started at 0")
    axes.plot(c, 2 * kept - 1, color=_BLUE, label="started at −1 = exact worst case")
    axes.legend(fontsize=8)


def per_step(figure: Figure) -> None:
    """Draw exact worst case, prefix bound, whole-episode bound and the false one over the size of a step."""
    from certify.smoothing.families import corridor_game
    from certify.smoothing.games import clean_return_law, worst_case_per_step

    game = corridor_game()
    values, probabilities = clean_return_law(game)
    survival = np.array([probabilities[values > i].sum() for i in range(5)]).clip(0, 1)
    e = np.linspace(0, 1, 41)
    axes = _axes(figure, "size e of every perturbation", "mean steps survived", "Corridor game, T = 5, budget for each step")
    axes.plot(e, [worst_case_per_step(game, x) for x in e], color=_GREY, label="exact worst case")
    axes.plot(e, [bound.per_step_return_bound(survival, x, 1.0) for x in e], color=_BLUE, label="prefix form")
    axes.plot(e, [bound.gaussian_shift(survival, x * np.sqrt(5)).sum() for x in e], color=_GREEN, label="$e\\sqrt{T}$ throughout")
    axes.plot(e, [bound.gaussian_shift(survival, x).sum() for x in e], color=_ORANGE, ls="--", label="control: e as the whole budget (false)")
    axes.legend(fontsize=8)


def calculus(figure: Figure) -> None:
    """Draw the closed forms over c."""
    c = np.linspace(0, 3, 61)
    axes = _axes(figure, "c", "$\\rho_c$ / mean", "Closed forms of the Wang transform, relative to the clean mean")
    axes.plot(c, bound.normal_transform(1.0, 0.2, c), color=_BLUE, label="normal, deviation = mean / 5")
    axes.plot(c, 2 * bound.uniform_transform(c), color=_GREEN, label="uniform on [0, 1]")
    axes.plot(c, bound.lognormal_transform(-0.125, 0.5, c), color=_ORANGE, label="lognormal, s = .5")
    axes.plot(c, bound.bernoulli_transform(0.9, c) / 0.9, color=_GREY, label="Bernoulli(.9)")
    axes.legend(fontsize=8)


def dual(figure: Figure) -> None:
    """Draw the dual certificate over its multiplier and the Wang transform of the same law."""
    values, weights = [0.0, 5.0, 10.0], [0.05, 0.15, 0.8]
    orders = np.geomspace(1e-2, 1e2, 200)
    axes = _axes(figure, "multiplier $\\lambda$", "certified mean return", "The hockey-stick dual stays below $\\rho_c$ (three-valued law)")
    for c, colour in ((0.5, _BLUE), (1.0, _GREEN), (2.0, _ORANGE)):
        axes.semilogx(orders, [bound.recepes_bound(values, weights, x, c, floor=0.0) for x in orders], color=colour, label=f"dual, c = {c:g}")
        axes.axhline(float(bound.wang_transform(values, weights, c)), color=colour, ls="--", lw=1)
    axes.plot([], [], color=_GREY, ls="--", label="$\\rho_c$")
    axes.legend(fontsize=8)


def sample_minimum(figure: Figure) -> None:
    """Draw the attacked mean of a law with a rare zero and what a sample without it seems to prove."""
    c = np.linspace(0.1, 6, 80)
    mass = 2e-5
    axes = _axes(figure, "c = budget / noise scale", "mean return", "Return 200, but 0 with probability 2e-5: unseen in 10,000 episodes with probability .82")
    axes.plot(c, [bound.wang_transform([0.0, 200.0], [mass, 1 - mass], x) for x in c], color=_BLUE, label="attacked mean")
    axes.axhline(200.0, color=_ORANGE, ls="--", label="smallest return seen as the floor (false)")
    absent = -np.expm1(np.log(0.05) / 10_000)
    axes.plot(c, [bound.expected_return_bound([200.0], [1 - absent], x, complement=[absent]) for x in c], color=_GREEN, label="floor 0 and a confidence limit")
    axes.legend(fontsize=8)


def order(figure: Figure) -> None:
    """Draw the four mean bounds of one law over c."""
    values, weights = np.array([0.0, 6.0, 10.0]), np.array([0.05, 0.25, 0.7])
    mean = float(values @ weights)
    c = np.linspace(0, 2, 81)
    axes = _axes(figure, "c = budget / noise scale", "certified mean return", "Order of the mean bounds")
    axes.plot(c, bound.wang_transform(values, weights, c), color=_BLUE, label="Wang transform $\\rho_c$")
    axes.plot(c, bound.total_variation_mean_bound(mean, 0, 10, c), color=_GREEN, label="total variation")
    axes.plot(c, bound.lipschitz_mean_bound(mean, 0, 10, c), color=_GREY, label="Lipschitz, $c/\\sqrt{2\\pi}$")
    axes.plot(c, bound.crop_mean_bound(mean, 0, 10, c), color=_ORANGE, label="CROP, $c\\sqrt{2/\\pi}$")
    axes.axhline(0, color="black", lw=0.6)
    axes.set_ylim(-2, 9)
    axes.legend(fontsize=8)


def bands(figure: Figure) -> None:
    """Draw certified curves of all bands for one set of returns."""
    from certify.smoothing.certificates import certify_curve

    returns = np.minimum(200.0, np.floor(60.0 * -np.log1p(-(np.arange(1, 2001) - 0.5) / 2001)) + 8)
    budgets = np.linspace(0, 0.6, 25)
    axes = _axes(figure, "total budget (noise scale .2)", "certified mean return", "The same 2,000 returns under every band (alpha = .05)")
    for band, colour, style in (
        ("plugin", _GREY, ":"),
        ("equal-local-level", _BLUE, "-"),
        ("clopper-pearson", _GREEN, "-"),
        ("dkw-one-sided", _ORANGE, "-"),
        ("dkw", _ORANGE, "--"),
    ):
        label = "observed frequencies (no certificate)" if band == "plugin" else band
        axes.plot(budgets, certify_curve(returns, sigma=0.2, budgets=budgets, band=band).lower, color=colour, ls=style, label=label)
    axes.legend(fontsize=8)


def local_level(figure: Figure) -> None:
    """Draw alpha / gamma, the effective number of thresholds of the band, over n."""
    from certify.smoothing.bands import equal_local_level

    n = [1, 2, 5, 10, 30, 100, 300, 1000, 2000]
    axes = _axes(figure, "episodes n", "alpha / gamma", "How many thresholds the equal-local-level band costs (alpha = .05)")
    axes.loglog(n, [0.05 / equal_local_level(k, 0.05) for k in n], "o-", color=_BLUE, label="equal local level")
    axes.loglog(n, n, color=_ORANGE, ls="--", label="union over all order statistics")
    axes.legend(fontsize=8)


def quantile(figure: Figure) -> None:
    """Draw the coverage of the order statistic and of the published script."""
    from certify.smoothing.quantiles import order_index
    from verify.checks.policy_smoothing.confidence import _exceeds, published_miss

    c = np.linspace(0.25, 3, 56)
    u = bound.quantile_level(0.5, c)
    axes = _axes(figure, "c = budget / noise scale", "coverage", "Attacked median from 1,000 episodes: nominal coverage .95")
    axes.plot(c, [1 - _exceeds(order_index(1000, float(x), 0.05), 1000, float(x)) for x in u], color=_BLUE, label="order statistic")
    axes.plot(c, [1 - published_miss(1000, float(x)) for x in c], color=_ORANGE, ls="--", label="published script (at best)")
    axes.axhline(0.95, color=_GREY, lw=1, ls=":")
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8)
