"""Checks of the exact layer: gain, bias and span; the decomposition of the regret; generalised completeness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from theory import loop_agec
from verify.check import Check, Control
from verify.checks.loop_agec._classes import hard, near_class, random_model
from verify.checks.loop_agec._plots import BLUE, GREEN, GREY, ORANGE, RED
from verify.types import Claim, Estimate, Instance, Slack

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from matplotlib.figure import Figure

    from mdps import TabularMDP

__all__ = ["CHECKS"]

_STATEMENTS = {g.key: g for g in loop_agec.GUARANTEES}
_METHODS = ("howard", "linear-programming")


# G1 ----------------------------------------------------------------------------------------------------------------------------


def _span_instances(budget: str, seed: int) -> Iterator[Instance]:
    for states in (3, 6, 10):
        yield Instance(f"river-swim:{states}", {"states": states, "actions": 2, "seed": -1})
    for index in range(16 if budget == "quick" else 400):
        yield Instance(f"random {index}", {"states": 2 + index % 4, "actions": 2 + index % 2, "seed": index})


def _model_of(instance: Instance, low: float, high: float) -> TabularMDP:
    states, actions, seed = (int(instance.params[name]) for name in ("states", "actions", "seed"))
    if seed < 0:
        from mdps.families import river_swim

        return river_swim(states)
    return random_model(states, actions, seed, low=low, high=high)


def _span_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the span of the bias with J* D, and the gains of three solvers with each other."""
    return _span_with(instance, 0.0, 1.0)


def _span_with(instance: Instance, low: float, high: float) -> tuple[Estimate, Estimate]:
    import mdps

    mdp = _model_of(instance, low, high)
    solutions = [mdps.solve(mdp, criterion="average", method=method, tolerance=1e-10) for method in _METHODS]
    gains = np.array([*(s.gain for s in solutions), _relative_value_iteration(mdp)])
    bound = loop_agec.span_bound(float(gains[0]), mdps.diameter(mdp))
    return Estimate.numeric([solutions[0].span, float(np.ptp(gains))]), Estimate.numeric([bound, 0.0])


def _relative_value_iteration(mdp: TabularMDP) -> float:
    """Return the gain by plain sweeps of the transformed model r + tau P u + (1 - tau) u, independently of the solvers."""
    kernel, reward, tau = mdp.dense(), mdp.expected_reward, 0.9
    u = np.zeros(mdp.n_states)
    for _ in range(200_000):
        change = (reward + tau * (kernel @ u)).max(axis=1) - tau * u
        if np.ptp(change) < 1e-11:
            break
        u = u + change - change.min()
        u -= u[0]
    return float(0.5 * (change.min() + change.max()))


def _signed_instances(budget: str, seed: int) -> Iterator[Instance]:
    for index in range(12):
        yield Instance(f"signed {index}", {"states": 3, "actions": 2, "seed": index})


def _span_strategy() -> SearchStrategy[Instance]:
    from hypothesis import strategies as st

    return st.builds(
        lambda states, actions, seed: Instance("random", {"states": states, "actions": actions, "seed": seed}),
        st.integers(2, 5), st.integers(1, 3), st.integers(0, 10**6),
    )


def _span_figure(figure: Figure) -> None:
    import mdps
    from mdps.families import river_swim

    axes = figure.subplots()
    points = []
    for index in range(40):
        mdp = random_model(2 + index % 4, 2, index)
        solution = mdps.solve(mdp, criterion="average")
        points.append((solution.gain * mdps.diameter(mdp), solution.span))
    x, y = np.array(points).T
    axes.loglog(x, y, "o", markersize=4, color=BLUE, label="random communicating models")
    river = [(s.gain * mdps.diameter(m), s.span) for m in map(river_swim, range(3, 11)) for s in [mdps.solve(m, criterion="average")]]
    axes.loglog(*np.array(river).T, "s", markersize=5, color=ORANGE, label="RiverSwim, 3 to 10 states")
    limits = np.array([min(x.min(), 0.3), max(x.max(), 13.0)])
    axes.loglog(limits, limits, color=RED, label=r"$sp(V^*) = J^* D$")
    axes.set_xlabel(r"$J^* D$")
    axes.set_ylabel(r"$sp(V^*)$")
    axes.set_title("The span of the bias stays below gain times diameter")
    axes.legend()


_G1 = Check(
    guarantee=_STATEMENTS["loop_agec/G1"],
    claim=Claim("<=", Slack(absolute=2e-9, relative=1e-9)),
    instances=_span_instances,
    sides=_span_sides,
    controls=(
        Control("rewards of both signs", lambda instance, seed: _span_with(instance, -0.5, 0.5), instances=_signed_instances),
    ),
    figure=_span_figure,
    cost={"quick": 4.0, "full": 30.0},
    strategy=_span_strategy,
)


# G2 ----------------------------------------------------------------------------------------------------------------------------


def _path_instances(budget: str, seed: int) -> Iterator[Instance]:
    steps = 30_000 if budget == "quick" else 300_000
    for scale, gap in ((1.0, 0.06), (0.01, 0.01), (0.1, 0.1)):
        yield Instance(f"HARD(3, 10, {gap}), radius x {scale}", {"class": "hard", "gap": gap, "seed": 0, "scale": scale, "steps": steps})
    for index in range(3):
        yield Instance(f"near models {index}", {"class": "near", "gap": 0.0, "seed": index, "scale": 1.0, "steps": steps})


def _path(instance: Instance, seed: int) -> Any:
    from verify.simulators import simulate

    p = instance.params
    hypotheses = hard(p["gap"]) if p["class"] == "hard" else near_class(int(p["seed"]))
    return simulate(hypotheses, algorithm="loop", steps=int(p["steps"]), seeds=2, seed=seed, beta_scale=p["scale"], jobs=1)


def _path_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the regret of LOOP with the three sums of the decomposition, accumulated along the same path."""
    run = _path(instance, seed)
    return Estimate.numeric(run.regret), Estimate.numeric(run.diagnostics["decomposition"][:, :, :3].sum(axis=2))


def _path_without_optimism(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    run = _path(instance, seed)
    return Estimate.numeric(run.regret), Estimate.numeric(run.diagnostics["decomposition"][:, :, 1:3].sum(axis=2))


def _path_figure(figure: Figure) -> None:
    run = _path(Instance("", {"class": "near", "gap": 0.0, "seed": 1, "scale": 1.0, "steps": 100_000}), 3)
    axes = figure.subplots()
    parts = run.diagnostics["decomposition"][0]
    t = run.checkpoints
    axes.semilogx(t, run.regret[0], color="black", linewidth=2.5, label="regret")
    axes.semilogx(t, parts[:, :3].sum(axis=1), "--", color=ORANGE, label="sum of the three parts")
    axes.semilogx(t, parts[:, 0], color=GREEN, label=r"$\sum (J^* - J_t)$")
    axes.semilogx(t, parts[:, 1], color=BLUE, label=r"$\sum E(f_t)(s_t, a_t)$")
    axes.semilogx(t, parts[:, 2], color=GREY, label=r"$\sum [(P V_t)(s_t, a_t) - V_t(s_t)]$")
    axes.set_xlabel("steps")
    axes.set_ylabel("cumulative sum")
    axes.set_title("Where the regret of LOOP comes from (one path, eight near models)")
    axes.legend()


_G2 = Check(
    guarantee=_STATEMENTS["loop_agec/G2"],
    claim=Claim("==", Slack(absolute=1e-6, relative=1e-9)),
    instances=_path_instances,
    sides=_path_sides,
    controls=(Control("without the sum of J* - J_t", _path_without_optimism),),
    figure=_path_figure,
    cost={"quick": 5.0, "full": 5.0},
)


# G3 ----------------------------------------------------------------------------------------------------------------------------


def _complete_instances(budget: str, seed: int) -> Iterator[Instance]:
    for gap in (0.01, 0.06, 0.1):
        yield Instance(f"HARD(3, 10, {gap})", {"gap": gap, "seed": -1})
    for index in range(20 if budget == "quick" else 200):
        yield Instance(f"linear {index}", {"gap": 0.0, "seed": index})


def _linear_hypotheses(seed: int) -> tuple[Any, ...]:
    """Return P, r, targets Q_g + J_g, values V_f and backups of random linear hypotheses on a random linear model."""
    rng = np.random.Generator(np.random.Philox(seed))
    states, actions, d = 4, 3, 3
    phi = rng.dirichlet(np.ones(d), size=(states, actions))
    transition = phi @ rng.dirichlet(np.ones(states), size=d)
    reward = phi @ rng.uniform(-1.0, 1.0, size=d)
    weights, gains = rng.normal(size=(4, d)), rng.uniform(-1.0, 1.0, size=4)
    target = np.einsum("sad,fd->fsa", phi, weights) + gains[:, None, None]
    value = (target - gains[:, None, None]).max(axis=2)
    return transition, reward, target, value


def _discrepancies(instance: Instance, sign: float) -> tuple[Estimate, Estimate]:
    """Return l(f, g) - l(f, Pf) and E l(f, g) for all f, g, s, a, s'; `sign` stands in front of V_f(s')."""
    if instance.params["seed"] < 0:
        hypotheses = hard(instance.params["gap"])
        transition, reward = hypotheses.mdp.dense(), hypotheses.mdp.expected_reward
        target, value = hypotheses.target, hypotheses.value
    else:
        transition, reward, target, value = _linear_hypotheses(int(instance.params["seed"]))
    backup = np.einsum("sak,fk->fsa", transition, value)
    # Axes f, g, s, a, s'.
    noise = sign * value[:, None, None, None, :]
    loss = target[None, :, :, :, None] - reward[None, None, :, :, None] + noise
    completed = (reward + backup)[:, None, :, :, None] - reward[None, None, :, :, None] + noise
    mean = (loss * transition[None, None]).sum(axis=4, keepdims=True)
    left = loss - completed
    return Estimate.numeric(left), Estimate.numeric(np.broadcast_to(mean, left.shape))


def _complete_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare l(f, g, zeta) - l(f, Pf, zeta) with the expectation of l(f, g, .) for all f, g, s, a and s'."""
    return _discrepancies(instance, -1.0)


def _complete_figure(figure: Figure) -> None:
    axes = figure.subplots()
    for sign, colour, label, marker in ((-1.0, BLUE, r"$- V_f(s')$", "o"), (1.0, RED, r"$+ V_f(s')$", "x")):
        left, right = _discrepancies(Instance("", {"gap": 0.0, "seed": 3}), sign)
        axes.plot(np.ravel(right.value), np.ravel(left.value), marker, markersize=4, color=colour, label=label)
    axes.set_xlabel(r"$E_{s'}\, l(f, g, \zeta)$")
    axes.set_ylabel(r"$l(f, g, \zeta) - l(f, \mathcal{P} f, \zeta)$")
    axes.set_title("Completeness needs the minus sign (random linear model)")
    axes.legend()


_G3 = Check(
    guarantee=_STATEMENTS["loop_agec/G3"],
    claim=Claim("==", Slack(absolute=1e-10)),
    instances=_complete_instances,
    sides=_complete_sides,
    controls=(Control("plus sign in front of V_f(s')", lambda instance, seed: _discrepancies(instance, 1.0)),),
    figure=_complete_figure,
    cost={"quick": 1.0, "full": 2.0},
)

CHECKS = (_G1, _G2, _G3)
