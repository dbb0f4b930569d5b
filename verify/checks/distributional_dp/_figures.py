"""Figures of the checks; each draws on an empty `matplotlib.figure.Figure`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import mdps
from certify.returns import Law, cramer, maximise_cvar, optimise, piecewise_linear, return_distribution, target_return, wasserstein
from theory import distributional_dp as bounds
from verify.checks.distributional_dp import _methods as methods
from verify.checks.distributional_dp._oracle import Lattice, acceptance, achievable, random_lattice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

BLUE, ORANGE, GREEN, RED, GREY = "#1f5fa8", "#d9730d", "#2e8b57", "#b3282d", "#777777"


def _finish(ax: Axes, title: str, x: str, y: str, *, legend: bool = True) -> None:
    ax.set_title(title, fontsize=10)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(alpha=0.25)
    if legend:
        ax.legend(fontsize=8)


def contractions(figure: Figure) -> None:
    """Contraction factors of a deterministic step, and how the greedy operator expands."""
    left, right = figure.subplots(1, 2)
    gammas = np.linspace(0.05, 0.95, 19)
    a, b = Law.point(0.0), Law.point(1.0)
    left.plot(gammas, gammas, color=BLUE, label=r"bound for $W_1$: $\gamma$")
    left.plot(gammas, np.sqrt(gammas), color=ORANGE, label=r"bound for Cramér: $\sqrt{\gamma}$")
    left.plot(gammas, [wasserstein(a.affine(0, g), b.affine(0, g)) for g in gammas], "o", ms=4, color=BLUE, label="measured $W_1$ factor")
    left.plot(gammas, [cramer(a.affine(0, g), b.affine(0, g)) for g in gammas], "s", ms=4, color=ORANGE, label="measured Cramér factor")
    _finish(left, "Point masses: factors are attained", r"discount $\gamma$", "distance after / before")
    eps = np.geomspace(1e-4, 0.2, 20)
    right.loglog(eps, 0.9 / (4 * eps), "o-", ms=4, color=RED, label="greedy operator")
    right.loglog(eps, np.full_like(eps, 0.9), color=GREY, label=r"a fixed policy: $\gamma = 0.9$")
    _finish(right, "The greedy operator expands without limit", r"$\varepsilon$ (inputs at distance $4\varepsilon$)", r"$W_1$ after / before")


def projections(figure: Figure) -> None:
    """One law and its two projections, as distribution functions."""
    left, right = figure.subplots(1, 2, sharey=True)
    rng = np.random.Generator(np.random.Philox(4))
    law = Law(rng.random(8), rng.dirichlet(np.ones(8)))
    from certify.returns import project_categorical, project_quantile

    for ax, projected, name in (
        (left, project_categorical(law, np.linspace(0, 1, 6)), "categorical, 6 atoms"),
        (right, project_quantile(law, 6), "quantile, 6 atoms"),
    ):
        for each, colour, label in ((law, GREY, "law"), (projected, BLUE, "projection")):
            x, p = each.as_floats()
            ax.step(np.concatenate([[-0.05], x, [1.05]]), np.concatenate([[0.0], np.cumsum(p), [1.0]]), where="post", color=colour, label=label)
        error = float(wasserstein(law, projected))
        _finish(ax, f"{name}: $W_1$ = {error:.3f}, mean {float(projected.mean()) - float(law.mean()):+.3f}", "value", "distribution function")


def projection_errors(figure: Figure) -> None:
    """F4: error of projected fixed points against the number of atoms, with the old and the new bounds."""
    left, right = figure.subplots(1, 2)
    gamma, n = 0.9, 5
    rng = np.random.Generator(np.random.Philox(12))
    r, P = (1 - gamma) * rng.random(n), np.roll(np.eye(n), 1, axis=1)
    model = mdps.TabularMDP(P[:, None], r[:, None], discount=gamma)
    x = np.linalg.solve(np.eye(n) - gamma * P, r)
    sizes = np.array([4, 6, 9, 13, 19, 27, 39, 55])
    policy = np.zeros(n, dtype=int)
    worst, certified = [], []
    for K in sizes:
        found = return_distribution(model, policy, atoms=np.linspace(0, 1, K))
        worst.append(max(float(wasserstein(law, Law.point(float(v)))) for law, v in zip(found.laws, x, strict=True)))
        certified.append(found.wasserstein_error)
    dz = 1.0 / (sizes - 1)
    left.loglog(sizes, worst, "ko", ms=4, label="measured $W_1$")
    left.loglog(sizes, certified, color=GREEN, ls="--", label="certified on this model")
    left.loglog(sizes, bounds.spread_wasserstein(dz, gamma), color=BLUE, label=r"$dz/(2\sqrt{1-\gamma^2})$")
    left.loglog(sizes, bounds.categorical_fixed_point_wasserstein(dz, gamma), color=ORANGE, label=r"$dz/(2(1-\gamma))$")
    left.loglog(sizes, bounds.categorical_fixed_point_wasserstein_by_cramer(1.0, dz, gamma), color=RED, label="by the Cramér distance")
    left.loglog(sizes, dz / 2, color=GREY, ls=":", label="$dz/2$ (refuted)")
    left.set_ylim(top=200.0)  # room for the legend
    _finish(left, rf"Categorical, deterministic cycle, $\gamma$ = {gamma}", "atoms K", "error")
    chain = random_lattice(5, actions=1, states=3)
    truth = return_distribution(chain.mdp(), np.zeros(3, dtype=int), representation="exact", sweeps=11)
    span = 8.0
    measured = []
    for m in sizes:
        found = return_distribution(chain.mdp(), np.zeros(3, dtype=int), representation="quantile", atoms=int(m))
        measured.append(max(float(wasserstein(a, b)) for a, b in zip(found.laws, truth.laws, strict=True)))
    right.loglog(sizes, measured, "ko", ms=4, label="measured $W_1$")
    right.loglog(sizes, bounds.quantile_fixed_point_wasserstein(span, sizes, 0.5), color=BLUE, label=r"$R/(2m(1-\gamma))$")
    right.loglog(sizes, bounds.quantile_fixed_point_wasserstein_book(span, sizes, 0.5), color=RED, label=r"$3R/(2m(1-\gamma))$")
    _finish(right, r"Quantile, random chain, $\gamma$ = 0.5", "atoms m", "error")
    for axes in (left, right):
        axes.set_xticks(sizes[::2], [str(int(n)) for n in sizes[::2]])
        axes.minorticks_off()


def value_against_stock(figure: Figure) -> None:
    """F1: optimal value and greedy action against the stock, acceptance instance and a random one."""
    axes = figure.subplots(1, 2)
    for ax, model, name in ((axes[0], acceptance(), "safe 1 / risky 0 or 3"), (axes[1], random_lattice(3, states=3), "random model, state 0")):
        for slopes, colour, label in (((1.0, 0.0), BLUE, "$f=\\min(x,0)$"), ((1.0, -1.0), ORANGE, "$f=-|x|$")):
            ref = methods.make_reference(model, slopes)
            solution = optimise(model.mdp(), piecewise_linear(*slopes))
            assert solution.stocks is not None
            assert solution.values is not None
            assert solution.actions is not None
            inside = np.abs(solution.stocks) <= ref.radius + 1
            c, v, a = solution.stocks[inside], solution.values[0, inside], solution.actions[0, inside]
            ax.plot(c, v, color=colour, label=label)
            for action, marker in ((0, "o"), (1, "^")):
                ax.plot(c[a == action], v[a == action], marker, ms=5, color=colour, label=f"{label}, action {action}")
        _finish(ax, f"V(s, c): {name}", "stock c", "optimal value")


def cvar_of_acceptance(figure: Figure) -> None:
    """F2: largest CVaR against the level, with the best of the two stationary policies."""
    ax = figure.subplots()
    taus = np.linspace(0.02, 1.0, 99)
    model = acceptance().mdp()
    ax.plot(taus, np.maximum(2.0, 3.0 * taus), color=GREY, ls="--", label=r"stationary policies: $\max(2, 3\tau)$")
    found = [maximise_cvar(model, float(tau), tolerance=1e-6) for tau in taus]
    ax.plot(taus, [s.value for s in found], color=BLUE, lw=2, label="optimum over policies with stock")
    ax.fill_between(taus, np.maximum(2.0, 3.0 * taus), [s.value for s in found], color=BLUE, alpha=0.15, label="gain of the stock")
    _finish(ax, r"Safe 1 or risky {0, 3}, $\gamma=1/2$", r"level $\tau$", r"$\mathrm{CVaR}_\tau$ of the return")


def dvi_error(figure: Figure) -> None:
    """F3: error of value iteration and loss of its greedy policy against the bounds, on a log scale."""
    left, right = figure.subplots(1, 2, sharey=True)
    sweeps = np.arange(11)
    for ax, model, slopes, name in (
        (left, acceptance(), (1.0, 0.0), "safe / risky, $f=\\min(x,0)$"),
        (right, random_lattice(8, states=3), (1.0, -1.0), "random model, $f=-|x|$"),
    ):
        ref = methods.make_reference(model, slopes)
        best, D = methods.optimum(ref), methods.largest_return(model)
        runs = [methods.dvi(ref, int(n)) for n in sweeps]
        error = [np.abs(run[0] - best).max() for run in runs]
        loss = [max(1e-17, (best - methods.evaluate_greedy(ref, *run)).max()) for run in runs]
        ax.semilogy(sweeps, bounds.dvi_error(1.0, 0.5, sweeps, D), color=BLUE, label=r"$L\gamma^n D$")
        ax.semilogy(sweeps, error, "o", ms=4, color=BLUE, label="error of the values")
        ax.semilogy(sweeps, bounds.greedy_loss(1.0, 0.5, sweeps, D), color=ORANGE, label=r"$2\gamma/(1-\gamma)\,L\gamma^n D$")
        ax.semilogy(sweeps, loss, "s", ms=4, color=ORANGE, label="loss of the greedy policy")
        ax.set_ylim(1e-5, 30)
        _finish(ax, name, "sweeps n", "largest over states and stocks")


def grid_world() -> Lattice:
    """Return a 4 x 4 grid: moves slip with probability 1/4, -1 a step, pits cost 4 more, the goal pays 10 once."""
    side, goal, pits = 4, 15, (5, 7, 11)
    P, R = np.zeros((16, 4, 16)), np.zeros((16, 4, 16))
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))
    for s in range(16):
        for a in range(4):
            if s == goal:
                P[s, a, s] = 1.0
                continue
            for b, p in ((a, 0.75), ((a + 1) % 4, 0.125), ((a + 3) % 4, 0.125)):
                row, column = min(max(s // side + moves[b][0], 0), 3), min(max(s % side + moves[b][1], 0), 3)
                t = row * side + column
                P[s, a, t] += p
                R[s, a, t] = 9.0 if t == goal else -5.0 if t in pits else -1.0
    return Lattice(P, R, 1)


def return_laws(figure: Figure) -> None:
    """F5: laws of the return of the mean-, CVaR- and target-optimal policies on a 4 x 4 grid of horizon 12."""
    axes = figure.subplots(3, 1, sharex=True)
    model = grid_world().mdp()
    runs: list[tuple[Any, str, str]] = [
        (optimise(model, piecewise_linear(1, 1), horizon=12), "largest mean", BLUE),
        (maximise_cvar(model, 0.25, horizon=12), r"largest $\mathrm{CVaR}_{.25}$", ORANGE),
        (optimise(model, target_return(0.0), horizon=12), "nearest to a return of 0", GREEN),
    ]
    for ax, (solution, name, colour) in zip(axes, runs, strict=True):
        law, _ = solution.return_law()
        x, p = law.as_floats()
        ax.bar(x, p, width=0.8, color=colour)
        ax.axvline(float(law.mean()), color="black", lw=1, ls="--", label=f"mean {float(law.mean()):.2f}")
        ax.axvline(float(law.cvar(0.25)), color=RED, lw=1, label=rf"$\mathrm{{CVaR}}_{{.25}}$ {float(law.cvar(0.25)):.2f}")
        miss = float(law.expect(abs))
        _finish(ax, f"{name}: E|G| = {miss:.2f}", "return" if ax is axes[-1] else "", "probability")


def stock_trajectory(figure: Figure) -> None:
    """F6: stock and remaining distance along episodes that aim at a return of 3, f = -|x|."""
    left, right = figure.subplots(1, 2)
    model = acceptance()
    solution = optimise(model.mdp(), target_return(2.5))
    rng = np.random.Generator(np.random.Philox(2))
    for i in range(6):
        c, s, stocks, missing = float(solution.policy.initial_stock), 0, [], []
        for t in range(9):
            stocks.append(c)
            missing.append(0.5**t * c)
            a = solution.policy.action(t, s, c)
            s = int(rng.choice(2, p=model.transition[s, a]))
            c = solution.policy.update(t, c, float(model.reward[0, a, s]))
        left.plot(stocks, "o-", ms=3, alpha=0.8, label=f"episode {i + 1}")
        right.plot(missing, "o-", ms=3, alpha=0.8)
    _finish(left, r"stock $c_{t+1}=(c_t+r_{t+1})/\gamma$", "step t", "stock", legend=True)
    left.set_yscale("symlog", linthresh=8)
    right.axhline(0.0, color="black", lw=0.8)
    _finish(right, r"$\gamma^t c_t$ = collected so far minus the target 2.5", "step t", r"$\gamma^t c_t$", legend=False)


def _excess(law: Law, level: float) -> float:
    return float(law.expect(lambda x: max(x - level, 0.0)))


def upper_tail(figure: Figure) -> None:
    """The dual of the upper-tail CVaR and what mixtures of the two arms attain."""
    left, right = figure.subplots(1, 2)
    laws, tau = (Law.point(1.0), Law([0.0, 3.0], [0.75, 0.25])), 0.5
    q = np.linspace(-0.5, 2.0, 201)
    each = [q + np.array([_excess(law, float(v)) for v in q]) / tau for law in laws]
    left.plot(q, each[0], color=GREY, label="arm 1")
    left.plot(q, each[1], color=ORANGE, label="arm {0, 3}")
    left.plot(q, np.maximum(*each), color=BLUE, lw=2, label="largest: the dual")
    left.plot([1 / 3], [5 / 3], "o", color=RED, label="minimum 5/3 at q = 1/3")
    _finish(left, r"dual at $\tau=1/2$", "q", r"$q+E\max(G-q,0)/\tau$")
    weights = np.linspace(0, 1, 101)
    from certify.returns import mixture

    right.plot(weights, [float(mixture(laws, [1 - w, w]).cvar(tau, tail="upper")) for w in weights], color=BLUE, label="mixture")
    right.axhline(5 / 3, color=RED, ls="--", label="dual value 5/3")
    right.plot([0, 1], [1.0, 1.5], "s", color=GREY, label="deterministic policies")
    _finish(right, "upper CVaR of mixtures", "weight of the risky arm", r"upper $\mathrm{CVaR}_{1/2}$")


def negative_results(figure: Figure) -> None:
    """Loss of each wrong method on random models of two states, horizon 3."""
    ax = figure.subplots()
    methods_: list[tuple[str, int, methods.Update, Any]] = [
        ("no stock,\nmin(x, 0), γ = 1", 1, methods.no_stock, lambda x: min(x, 0.0)),
        ("no stock,\n−|x|, γ = 1/2", 2, methods.no_stock, lambda x: -abs(x)),
        ("c + r,\n−|x|, γ = 1/2", 2, methods.summed_stock, lambda x: -abs(x)),
        ("γ(c + r),\n−|x|, γ = 1/2", 2, methods.discounted_stock, lambda x: -abs(x)),
        ("(c + r)/γ,\n−|x|, γ = 1/2", 2, methods.right_stock, lambda x: -abs(x)),
    ]
    for i, (_, q, update, f) in enumerate(methods_):
        losses = []
        for seed in range(40):
            model = random_lattice(seed, q=q)
            law = methods.functional_dp(model, methods.utility_functional(f), update, 3, 0, 0.0)
            losses.append(achievable(model, 0, 3).best(np.vectorize(f, otypes=[float])) - methods.expect(law, f))
        spread = np.linspace(-0.25, 0.25, len(losses))
        colour = GREEN if update is methods.right_stock else RED
        ax.plot(i + spread, np.sort(np.maximum(losses, 0.0)), "o", ms=3, color=colour, label={0: "wrong recursions", 4: "the right one"}.get(i))
    ax.set_xticks(range(len(methods_)), [name for name, *_ in methods_], fontsize=8)
    _finish(ax, "Loss against the best of all history-dependent policies, 40 models each", "method", "loss (sorted)")
