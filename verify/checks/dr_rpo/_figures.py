"""Figures of the checks of DR-RPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from theory import dr_rpo as formulas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def softmax_gap(figure: Figure) -> None:
    """Penalised value of a two-action policy, and the softmax at its top."""
    axes = figure.subplots()
    q, ref = np.array([1.0, 0.0]), np.array([0.4, 0.6])
    share = np.linspace(0.001, 0.999, 400)
    pi = np.stack([share, 1 - share], axis=1)
    for colour, eta in zip(COLOURS, (0.1, 0.5, 2.0), strict=False):
        axes.plot(share, pi @ q - eta * formulas.policy_divergence(pi, ref), color=colour, label=rf"$\eta={eta}$")
        axes.plot(formulas.softmax_policy(q, ref, eta)[0], formulas.soft_value(q, ref, eta), "o", color=colour)
    axes.set(xlabel="probability of the better action", ylabel=r"$\langle\pi,Q\rangle-\eta\,$KL$(\pi|$ref$)$", title="The softmax (dot) is the maximiser")
    axes.legend()


def lipschitz(figure: Figure) -> None:
    """Distances of softmax policies under their bounds."""
    left, right = figure.subplots(1, 2)
    rng = np.random.Generator(np.random.Philox(key=[4, 4]))
    q, eta = rng.normal(size=(1500, 3)), 0.5
    other = q + 10.0 ** rng.uniform(-2, 0.8, (1500, 1)) * rng.normal(size=(1500, 3))
    ref = rng.dirichlet(np.ones(3), 1500)
    first, second = formulas.softmax_policy(q, ref, eta), formulas.softmax_policy(other, ref, eta)
    span, grid = np.ptp(q - other, axis=1), np.geomspace(0.01, 20, 200)
    left.plot(span, 0.5 * np.abs(first - second).sum(axis=1), ".", markersize=2, color=COLOURS[0], label="random pairs")
    left.plot(grid, formulas.softmax_tv_bound(grid, eta), color=COLOURS[1], label=r"$\tanh($span$/4\eta)$")
    left.plot(grid, formulas.softmax_tv_bound(grid, 2 * eta), "--", color=COLOURS[3], label=r"control: $\tanh($span$/8\eta)$")
    left.set(xscale="log", xlabel="span of $Q-Q'$", ylabel="total variation", title=r"Policies, $\eta=0.5$")
    left.legend(fontsize=7)
    right.plot(span, eta * formulas.policy_divergence(first, second), ".", markersize=2, color=COLOURS[0], label="random pairs")
    right.plot(grid, formulas.softmax_kl_bound(grid, eta), color=COLOURS[1], label=r"span$^2/8\eta$")
    right.set(xscale="log", yscale="log", ylim=(1e-7, 1e2), xlabel="span of $Q-Q'$", ylabel=r"$\eta\,$KL", title="KL")
    right.legend(fontsize=7)


def saddle(figure: Figure) -> None:
    """The two evaluations of the certificate for mixtures of policy and kernel with what is optimal."""
    from certify.robust.exact import certify_pair, exact_value
    from verify.checks.dr_rpo._models import arguments, random_model

    axes = figure.subplots()
    params = {"draw": 0, "divergence": "kl", "price": "penalty", "size": 0.3, "temperature": 0.2}
    model = random_model(0)
    kwargs = arguments(params, model)
    found = exact_value(model, **kwargs)
    shares = np.linspace(0, 1, 21)
    pairs = [
        certify_pair(model, w * found.policy + (1 - w) * kwargs["reference"], w * found.worst_factors + (1 - w) * model.factors, **kwargs) for w in shares
    ]
    axes.plot(shares, [p.kernel_value[0, 0] for p in pairs], color=COLOURS[1], label="best value in the kernel: upper bound")
    axes.plot(shares, [p.policy_value[0, 0] for p in pairs], color=COLOURS[0], label="robust value of the policy: lower bound")
    axes.axhline(found.value[0, 0], color="0.4", linewidth=0.8, label="$V^*$")
    axes.set(xlabel="weight of the optimal pair (0: reference policy, nominal kernel)", ylabel="value", title="Two evaluations enclose the optimum")
    axes.legend(fontsize=8)


def envelope(figure: Figure) -> None:
    """Value against temperature inside the envelope of the bias, and target return against perturbation."""
    from certify.robust.evaluation import evaluate_policy
    from certify.robust.exact import exact_value
    from mdps.families import simulated_linear_mdp
    from verify.checks.dr_rpo._models import simulated

    left, right = figure.subplots(1, 2)
    etas = np.geomspace(0.003, 10, 40)
    for colour, rho in zip(COLOURS, (0.0, 0.3, 0.5), strict=False):
        model, radius = simulated(rho)
        values = [exact_value(model, divergence="tv", radius=radius, temperature=eta).value[0, 0] for eta in etas]
        hard = exact_value(model, divergence="tv", radius=radius).value[0, 0]
        left.plot(etas, values, color=colour, label=rf"$\rho={rho}$")
        bound = hard - formulas.temperature_bias(etas, steps=3, least_probability=1 / 16)
        left.plot(etas, bound, ":", color=colour)
        policy = exact_value(model, divergence="tv", radius=radius, temperature=0.01).policy
        grid = np.linspace(0, 1, 11)
        returns = [evaluate_policy(simulated_linear_mdp(0.2, target=q), policy, divergence="tv", radius=0.0).value[0, 0] for q in grid]
        right.plot(grid, returns, color=colour, label=rf"$\rho={rho}$, $\eta=0.01$")
    left.set(xscale="log", ylim=(0.5, 1.7), xlabel=r"temperature $\eta$", ylabel="$V^*_1$", title=r"Value; dotted: $V^*_0-\eta H\log 16$")
    right.set(xlabel="perturbation $q$ of the target", ylabel="expected return", title="Return in the target")
    left.legend(fontsize=8)
    right.legend(fontsize=8)


def equivalence(figure: Figure) -> None:
    """Values of the regularised model, of its constrained twin, and without the shift of the rewards."""
    from certify.robust.exact import equivalent_constrained, exact_value
    from verify.checks.dr_rpo._models import random_model

    axes = figure.subplots()
    model = random_model(0)
    penalties = np.geomspace(0.05, 5, 15)
    rows = []
    for penalty in penalties:
        same = equivalent_constrained(model, divergence="tv", penalty=penalty, temperature=0.2)
        rows.append(
            [
                exact_value(model, divergence="tv", penalty=penalty, temperature=0.2).value[0, 0],
                exact_value(same.mdp, divergence="tv", radius=same.radius, temperature=0.2).value[0, 0],
                exact_value(model, divergence="tv", radius=same.radius, temperature=0.2).value[0, 0],
            ]
        )
    table = np.array(rows)
    axes.plot(penalties, table[:, 0], color=COLOURS[0], linewidth=3, alpha=0.5, label="regularised")
    axes.plot(penalties, table[:, 1], "o", markersize=4, color=COLOURS[1], label="constrained, rewards shifted")
    axes.plot(penalties, table[:, 2], "--", color=COLOURS[3], label="constrained, rewards not shifted")
    axes.set(xscale="log", xlabel=r"penalty $\lambda$", ylabel="$V^*_1$", title="A penalty is a radius with shifted rewards")
    axes.legend(fontsize=8)


def contraction(figure: Figure) -> None:
    """Errors of soft robust value iteration under their geometric bound."""
    from certify.robust.evaluation import pose
    from verify.checks.dr_rpo._models import random_model

    axes = figure.subplots()
    gamma = 0.9
    for colour, (divergence, size) in zip(COLOURS, (("tv", 0.4), ("kl", 0.3), ("chi2", 0.5)), strict=False):
        problem = pose(random_model(1), divergence=divergence, penalty=size, radius=None, temperature=0.2, reference=None)
        v, path = np.linspace(0.0, 30.0, problem.shape[1]), []
        for _ in range(160):
            w = np.array([problem.worst(0, i, v)[0] for i in range(problem.shape[3])])
            v = formulas.soft_value(problem.features[0] @ (problem.reward_weights[0] + gamma * w), problem.reference[0], 0.2)
            path.append(v)
        errors = np.abs(np.array(path[:60]) - path[-1]).max(axis=1)
        axes.plot(np.arange(1, 61), errors, color=colour, label=divergence)
        axes.plot(np.arange(1, 61), errors[0] * gamma ** np.arange(60), ":", color=colour)
    axes.set(yscale="log", xlabel="sweep", ylabel="sup-norm error", title=r"Soft robust value iteration, dotted: $\gamma^k$, $\gamma=0.9$")
    axes.legend()


def _regret_points(second: bool) -> tuple[Any, Any]:
    from verify.checks.dr_rpo._bellman import regret_sides, second_sides
    from verify.checks.dr_rpo._models import model_instances

    lefts, rights = [], []
    for instance in list(model_instances("full", 0))[:48]:
        left, right = (second_sides if second else regret_sides)(instance, 0)
        row = 0 if second else 2
        lefts.append(np.asarray(left.value)[row])
        rights.append(np.asarray(right.value)[row])
    return np.concatenate(lefts), np.concatenate(rights)


def _scatter(figure: Figure, second: bool, xlabel: str, title: str) -> None:
    axes = figure.subplots()
    left, right = _regret_points(second)
    axes.loglog(right, np.maximum(left, 1e-9), ".", color=COLOURS[0], label="states of random models")
    limits = np.array([max(right.min(), 1e-6) / 2, right.max() * 2])
    axes.loglog(limits, limits, color=COLOURS[1], label="bound")
    axes.set(xlabel=xlabel, ylabel="left side", title=title)
    axes.legend()


def regret(figure: Figure) -> None:
    """Promised less earned value against twice the expected bonus."""
    _scatter(figure, False, r"$2E\sum_h\Gamma_h$", "Optimism: promised less earned value, under its bound")


def second_order(figure: Figure) -> None:
    """Loss against the expected KL to the optimal policy."""
    _scatter(figure, True, r"$E\sum_h\eta\,$KL$(\hat\pi_h|\pi^*_h)$", "Second-order bound of the loss")


def learning_curves(figure: Figure) -> None:
    """Average suboptimality against episodes for three temperatures."""
    from certify.robust.online import dr_rpo
    from verify.checks.dr_rpo._models import FAIL, simulated

    axes = figure.subplots()
    model, radius = simulated(0.5)
    episodes = np.unique(np.geomspace(10, 5000, 60).astype(int))
    for colour, eta in zip(COLOURS, (0.3, 0.1, 0.02), strict=False):
        runs = [dr_rpo(model, divergence="tv", radius=radius, episodes=5000, temperature=eta, fail_state=FAIL, seed=s) for s in range(3)]
        slope = np.mean([run.slope(first=50) for run in runs])
        average = np.mean([run.average_suboptimality for run in runs], axis=0)
        axes.loglog(episodes, average[episodes - 1], color=colour, label=rf"$\eta={eta}$, slope {slope:.2f}")
    axes.loglog(episodes, 0.2 / np.sqrt(episodes), ":", color="0.3", label=r"$K^{-1/2}$")
    axes.set(xlabel="episodes $K$", ylabel="average suboptimality", title="DR-RPO on the simulated linear model, TV radius .5, 3 seeds")
    axes.legend()


def blind(figure: Figure) -> None:
    """Losses in two models that cannot be told apart."""
    from verify.checks.dr_rpo._learning import _losses

    axes = figure.subplots()
    share = np.linspace(0, 1, 11)
    for colour, rho in zip(COLOURS, (0.05, 0.2, 0.6), strict=False):
        axes.plot(share, _losses(rho, 0.0, False), "o-", markersize=3, color=colour, label=rf"$\rho={rho}$")
        axes.axhline(formulas.indistinguishable_loss(rho), linestyle=":", color=colour)
    axes.set(xlabel="probability of the first action in the unseen state", ylabel="worse of the two losses", title=r"Without a fail state; dotted: $\rho/4$")
    axes.legend()


def bonuses(figure: Figure) -> None:
    """Diagonal and elliptical bonus against repetitions."""
    axes = figure.subplots()
    k = np.geomspace(1, 1e5, 100)
    for colour, ridge in zip(COLOURS, (0.1, 1.0), strict=False):
        axes.loglog(k, formulas.diagonal_bonus(k, ridge), color=colour, label=rf"$\sum_i\phi_i\sqrt{{(\Lambda^{{-1}})_{{ii}}}}$, ridge {ridge}")
        axes.loglog(k, formulas.elliptical_bonus(k, ridge), "--", color=colour, label=rf"$\|\phi\|_{{\Lambda^{{-1}}}}$, ridge {ridge}")
    axes.set(xlabel="times that $(1/2,1/2)$ was seen", ylabel="bonus", title="The diagonal bonus does not shrink")
    axes.legend(fontsize=8)


def ridge_bias(figure: Figure) -> None:
    """Bias of ridge estimates against their bound."""
    from verify.checks.dr_rpo._learning import bias_sides
    from verify.types import Instance

    axes = figure.subplots()
    for colour, d in zip(COLOURS, (1, 2, 4), strict=False):
        left, right = bias_sides(Instance("figure", {"seed": 1, "dimension": d, "ridge": 0.5, "draws": 150}), 0)
        axes.plot(np.ravel(right.value), np.ravel(left.value), ".", markersize=3, color=colour, label=f"{d} features")
    top = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([0, top], [0, top], color="0.3", linewidth=0.8, label="bound")
    axes.set(xlabel=r"$\sqrt{\gamma}\|z\|_2\sqrt{(\Lambda^{-1})_{ii}}$", ylabel="bias of the estimate", title="A bonus of this size absorbs the ridge")
    axes.legend()


def stalls(figure: Figure) -> None:
    """Average suboptimality with bonuses that are too small, right and too large."""
    from certify.robust.online import dr_rpo
    from verify.checks.dr_rpo._models import FAIL, simulated

    axes = figure.subplots()
    model, radius = simulated(0.5)
    episodes = np.unique(np.geomspace(10, 3000, 60).astype(int))
    for colour, (beta, ridge) in zip(COLOURS, ((0.3, 1.0), (1.0, 0.1), (0.3, 0.01), (3.0, 1.0), (43.0, 0.1)), strict=False):
        run = dr_rpo(
            model, divergence="tv", radius=radius, episodes=3000, ridge=ridge, beta=beta, temperature=0.02, fail_state=FAIL, seed=0
        )
        axes.loglog(episodes, run.average_suboptimality[episodes - 1], color=colour, label=rf"$\beta={beta}$, ridge {ridge}")
    axes.set(xlabel="episodes $K$", ylabel="average suboptimality", title=r"Too small a bonus stalls, too large a one explores for ever ($\eta=.02$)")
    axes.legend(fontsize=8)
