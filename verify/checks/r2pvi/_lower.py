"""Lower bounds, the exact constrained dual, and where the published robustness comes from (G10, G12, F1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.robust import _duals, _published
from mdps.robust import worst_case
from theory import r2pvi as formulas
from verify.check import Check, Control
from verify.checks.r2pvi import _figures as figures
from verify.checks.r2pvi._functionals import DIVERGENCES, _g
from verify.checks.r2pvi._models import Model, of, solve
from verify.types import Basis, Claim, Estimate, Instance, Slack, Verdict

FloatArray = NDArray[np.float64]


def exact_bayes_risk(separation: float, *, dimension: int, horizon: int, trajectories: int) -> float:
    """Return the Bayes risk of the hard family, averaged exactly over the number of samples of a coordinate."""
    from scipy.special import ndtr
    from scipy.stats import binom

    samples = np.arange(trajectories + 1)
    weight = binom.pmf(samples, trajectories, 1.0 / (dimension + 2))
    return float(0.5 * horizon * separation * (weight @ ndtr(-separation * np.sqrt(samples) / (2.0 * dimension))))


def simulated_risk(separation: float, *, dimension: int, horizon: int, trajectories: int, draws: int, seed: int) -> FloatArray:
    """Return losses of the Bayes rule on simulated sufficient statistics: the sign of the mean noisy reward of each coordinate."""
    rng = np.random.Generator(np.random.Philox(seed))
    samples = rng.binomial(trajectories, 1.0 / (dimension + 2), (draws, horizon, dimension))
    signs = rng.choice([-1.0, 1.0], (draws, horizon, dimension))
    # the mean reward of action e_i is +- separation / (2 d) around a known level, with unit noise
    statistic = signs * samples * separation / (2.0 * dimension) + np.sqrt(samples) * rng.standard_normal(samples.shape)
    wrong = np.where(samples > 0, statistic * signs <= 0, rng.random(samples.shape) < 0.5)
    return np.asarray((separation / (2.0 * dimension) * wrong).sum(axis=(1, 2)))


def _mean_estimate(losses: FloatArray, ceiling: float) -> Estimate:
    """Return the mean with limits by Hoeffding's inequality for losses in [0, ceiling]."""
    mean = float(losses.mean())

    def limits(failure: float) -> tuple[float, float]:
        half = ceiling * float(np.sqrt(np.log(2.0 / failure) / (2.0 * losses.size)))
        return mean - half, mean + half

    low, high = limits(0.01)
    return Estimate(mean, low, high, failure=0.01, basis=Basis.SAMPLED, relimit=limits)


def _hard_instances(budget: str, seed: int) -> Iterator[Instance]:
    for d, H, K in ((3, 3, 4000), (2, 5, 1000), (8, 2, 20000)):
        yield Instance(f"d={d}, H={H}, K={K}", {"dimension": d, "horizon": H, "trajectories": K, "draws": 3000 if budget == "quick" else 100000})


def _sizes(params: Any) -> dict[str, int]:
    return {name: params[name] for name in ("dimension", "horizon", "trajectories")}


def printed_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Mean loss of the Bayes rule at the printed separation, simulated, against the printed lower bound."""
    params = instance.params
    separation = params["dimension"] ** 1.5 / np.sqrt(2.0 * params["trajectories"])
    losses = simulated_risk(separation, **_sizes(params), draws=params["draws"], seed=seed)
    return _mean_estimate(losses, 0.5 * params["horizon"] * separation), Estimate.numeric(formulas.printed_lower_bound(**_sizes(params)))


def _known_rewards(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Known rewards: the best action is known and nothing is lost."""
    return Estimate.numeric(0.0), Estimate.numeric(formulas.printed_lower_bound(**_sizes(instance.params)))


def best_separation(params: Any) -> float:
    """Return the separation that the sharper bound uses."""
    return float(2.0 * 0.7518 * params["dimension"] * (np.sqrt((params["dimension"] + 2) / params["trajectories"])))


def sharp_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Bayes risk averaged exactly over the sample counts, against the closed form at the mean count and the constant 0.17."""
    params = instance.params
    risk = exact_bayes_risk(best_separation(params), **_sizes(params))
    closed = formulas.bayes_risk(best_separation(params), **_sizes(params))
    return Estimate.numeric([risk, closed]), Estimate.numeric([closed, formulas.gaussian_lower_bound(**_sizes(params))])


def _too_sharp(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """A constant of 0.19 in the place of 0.17."""
    left, right = sharp_sides(instance, seed)
    return left, Estimate.numeric(np.asarray(right.value) * 0.19 / 0.17)


def _leak_instances(budget: str, seed: int) -> Iterator[Instance]:
    for divergence in DIVERGENCES:
        for leak in (0.01, 0.2, 0.6):
            for penalty in (0.3, 1.0):
                gaps = [0.1, 0.25, 0.8, 2.5]
                yield Instance(f"{divergence}, leak {leak}, penalty {penalty}", {"divergence": divergence, "leak": leak, "penalty": penalty, "gaps": gaps})


def leak_sides(instance: Instance, seed: int, scale: float = 1.0) -> tuple[Estimate, Estimate]:
    """Closed form of the worst leak, against the minimiser of the two-state problem."""
    params = instance.params
    closed = formulas.worst_leak(params["divergence"], params["gaps"], leak=params["leak"], penalty=scale * params["penalty"])
    nominal = [params["leak"], 1.0 - params["leak"]]
    exact = [worst_case([0.0, gap], nominal, divergence=params["divergence"], penalty=params["penalty"]).distribution[0] for gap in params["gaps"]]
    return Estimate.numeric(closed), Estimate.numeric(exact)


def _double_price(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The closed form at twice the price."""
    return leak_sides(instance, seed, scale=2.0)


def _dual_instances(budget: str, seed: int) -> Iterator[Instance]:
    for i in range(3 if budget == "quick" else 30):
        yield Instance(f"draw {i}", {"draw": i, "dimension": 8, "samples": 60, "radius": 0.1, "horizon": 3.0})


def dual_strategy() -> Any:
    """Return the space of instances that a hunt searches."""
    from hypothesis import strategies as st

    return st.builds(
        lambda n, d, samples: Instance(f"draw {n}", {"draw": n, "dimension": d, "samples": samples, "radius": 0.1, "horizon": 3.0}),
        st.integers(0, 10**6), st.integers(2, 12), st.integers(10, 100))


def ridge_weights(params: Any) -> tuple[FloatArray, FloatArray]:
    """Return signed ridge weights (d, n) of random features, and random values (n,)."""
    rng = np.random.Generator(np.random.Philox(params["draw"]))
    phi = rng.dirichlet(np.full(params["dimension"], 0.3), size=params["samples"])
    weights = np.linalg.solve(0.1 * np.eye(params["dimension"]) + phi.T @ phi, phi.T)
    return np.asarray(weights, dtype=np.float64), rng.uniform(0.0, params["horizon"], params["samples"])


def _brute_force(params: Any) -> FloatArray:
    weights, values = ridge_weights(params)
    levels = np.concatenate([values, np.linspace(0.0, params["horizon"], 2001)])
    return np.asarray((weights @ np.minimum(values[:, None], levels) - params["radius"] * levels).max(axis=1))


def breakpoint_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Maximum over the breakpoints by prefix sums, against a direct search over them and a fine grid."""
    params = instance.params
    weights, values = ridge_weights(params)
    exact = _duals.constrained_tv(weights, values, np.full(len(weights), params["radius"]), 0.0, params["horizon"])[0]
    return Estimate.numeric(exact), Estimate.numeric(_brute_force(params))


def search_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """What the Nelder-Mead search from H/2 finds, against a direct search over breakpoints and a fine grid."""
    params = instance.params
    weights, values = ridge_weights(params)
    found = _published.constrained_tv(weights, values, np.full(len(weights), params["radius"]), params["horizon"])
    return Estimate.numeric(found), Estimate.numeric(_brute_force(params))


def simulated() -> Model:
    """Return the simulated linear model at xi_norm .2."""
    import mdps

    return of(mdps.families.simulated_linear_mdp(0.2))


def _objective_instances(budget: str, seed: int) -> Iterator[Instance]:
    for divergence in DIVERGENCES:
        for penalty in (0.02, 0.1, 0.5, 1.0, 5.0) if budget == "quick" else tuple(np.geomspace(0.02, 5.0, 40)):
            yield Instance(f"{divergence}, penalty {penalty:.3g}", {"divergence": divergence, "penalty": float(penalty)})


def objective_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact robust value of the robust first action (all minus), against that of all plus."""
    Q = solve(simulated(), instance.params["divergence"], penalty=instance.params["penalty"]).action_value[0, 0]
    return Estimate.numeric(Q[0], 1e-9), Estimate.numeric(Q[-1], 1e-9)


def objective_strategy() -> Any:
    """Return the space of instances that a hunt searches."""
    from hypothesis import strategies as st

    return st.builds(
        lambda name, lam: Instance(f"{name}, penalty {lam:.3g}", {"divergence": name, "penalty": lam}), st.sampled_from(DIVERGENCES), st.floats(0.02, 5.0))


def _one_radius_instances(budget: str, seed: int) -> Iterator[Instance]:
    for radius in (0.38, 0.5, 0.8):
        yield Instance(f"tv radius {radius} on factor 4 of step 1", {"radius": radius})


def one_radius_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """The same two actions with a radius on the one factor that the target shifts."""
    model = simulated()
    radius = np.zeros(model.weights.shape)
    radius[0, 3] = instance.params["radius"]
    Q = solve(model, "tv", radius=radius).action_value[0, 0]
    return Estimate.numeric(Q[0], 1e-9), Estimate.numeric(Q[-1], 1e-9)


_EQUAL = Claim("==", Slack(1e-7))

CHECKS: tuple[Check, ...] = (
    Check(_g("G10"), Claim(">=", alternative=0.5), _hard_instances, printed_sides, (Control("rewards known", _known_rewards, claim=Claim(">=")),),
          figures.lower_bounds, alpha=1e-4, cost={"quick": 1.0, "full": 5.0}),
    Check(_g("G10-sharp"), Claim(">=", Slack(1e-9)), _hard_instances, sharp_sides, (Control("constant 0.19", _too_sharp),), figures.lower_bounds,
          cost={"quick": 1.0, "full": 1.0}),
    Check(_g("G10-leak"), _EQUAL, _leak_instances, leak_sides, (Control("twice the price", _double_price),), figures.leaks,
          cost={"quick": 1.0, "full": 1.0}),
    Check(_g("G12"), Claim("==", Slack(1e-9)), _dual_instances, breakpoint_sides, (Control("local search", search_sides),), figures.timing,
          cost={"quick": 1.0, "full": 5.0}, strategy=dual_strategy),
    Check(_g("G12-local"), Claim("==", Slack(1e-4)), _dual_instances, search_sides, (Control("all breakpoints", breakpoint_sides, Verdict.HOLDS),),
          figures.put_table, expected=Verdict.VIOLATED, cost={"quick": 1.0, "full": 5.0}, strategy=dual_strategy),
    Check(_g("F1-objective"), Claim(">=", quantifier="exists"), _objective_instances, objective_sides,
          (Control("radius on the shifting factor", one_radius_sides, Verdict.HOLDS, _one_radius_instances),), figures.target_return,
          expected=Verdict.VIOLATED, cost={"quick": 1.0, "full": 5.0}, strategy=objective_strategy),
)
