"""What the learner does and cannot do: rates, stalls, lower limits and sizes of the bonus (G7 to G10)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.robust.evaluation import evaluate_policy
from certify.robust.exact import exact_value
from certify.robust.online import dr_rpo
from mdps import LinearMDP
from theory import dr_rpo as formulas
from verify.check import Check, Control
from verify.checks.dr_rpo import _figures as figures
from verify.checks.dr_rpo._models import FAIL, simulated
from verify.types import Basis, Claim, Estimate, Instance, Slack

FloatArray = NDArray[np.float64]
Sides = tuple[Estimate, Estimate]

_BY_KEY = {guarantee.key: guarantee for guarantee in formulas.GUARANTEES}


def _run(params: Any, seed: int) -> float:
    """Return the slope of the average suboptimality in log-log coordinates."""
    model, radius = simulated(params["radius"])
    form: dict[str, Any] = {"penalty": params["penalty"]} if "penalty" in params else {"radius": radius}
    return dr_rpo(
        model,
        divergence=params["divergence"],
        episodes=params["episodes"],
        ridge=params["ridge"],
        beta=params["beta"],
        temperature=params["temperature"],
        fail_state=FAIL,
        seed=seed,
        **form,
    ).slope(first=params["episodes"] // 100)


RUNS = 12
"""Runs behind every slope: single ones scatter by a tenth."""


def _slopes(params: Any, seed: int) -> Estimate:
    """Return the mean slope of the runs, give or take three standard errors."""
    found = np.array([_run(params, (seed + 1000 * i) % 2**32) for i in range(RUNS)])
    mean, error = float(found.mean()), 3.0 * float(found.std(ddof=1)) / np.sqrt(RUNS)
    return Estimate(mean, mean - error, mean + error, basis=Basis.FITTED)


def _learnable(budget: str, seed: int) -> Iterator[Instance]:
    base = {"divergence": "tv", "radius": 0.5, "ridge": 0.1, "beta": 1.0, "episodes": 3000 if budget == "quick" else 30000}
    for eta in (0.3, 0.1, 0.02):
        yield Instance(f"TV radius .5, eta {eta}", {**base, "temperature": eta})
    for divergence in ("tv", "kl", "chi2"):
        yield Instance(f"{divergence} penalty 1, eta 0.1", {**base, "divergence": divergence, "penalty": 1.0, "temperature": 0.1})


def _stalled(budget: str, seed: int) -> Iterator[Instance]:
    base = {"divergence": "tv", "radius": 0.5, "ridge": 1.0, "beta": 0.3, "temperature": 0.02}
    yield Instance("eta .02, beta .3, ridge 1", {**base, "episodes": 3000 if budget == "quick" else 30000})


def _greedy_stalled(budget: str, seed: int) -> Iterator[Instance]:
    yield Instance(
        "greedy, nominal, beta 1, ridge 1",
        {"divergence": "tv", "radius": 0.0, "ridge": 1.0, "beta": 1.0, "temperature": 0.0, "episodes": 3000},
    )


def rate_sides(instance: Instance, seed: int) -> Sides:
    """Slope of log average suboptimality against log episodes, mean of twelve runs and three standard errors, against -1/2."""
    return _slopes(instance.params, seed), Estimate.exact(-0.5)


def stall_sides(instance: Instance, seed: int) -> Sides:
    """Slope of log average suboptimality where the bonus is too small, against -0.2."""
    return _slopes(instance.params, seed), Estimate.exact(-0.2)


def _enough_bonus(budget: str, seed: int) -> Iterator[Instance]:
    for instance in _stalled(budget, seed):
        yield Instance("beta 1, ridge .1", {**instance.params, "beta": 1.0, "ridge": 0.1})


@cache
def blind_model(paying: int, mass: float) -> LinearMDP:
    """Return two steps: from state 0 to state 1 (worth 1), or to state 2 with probability `mass`, where one of two actions pays 1/2."""
    features = np.zeros((3, 2, 5))
    features[0, :, 0] = features[1, :, 1] = 1.0
    features[2, 0, 2] = features[2, 1, 3] = 1.0
    factors = np.zeros((2, 5, 3))
    factors[:, :, 1] = 1.0
    factors[:, 0] = 0.0, 1.0 - mass, mass
    weights = np.zeros((2, 5))
    # every other state is worth 1 at the second step
    weights[1, :2], weights[1, 2 + paying] = 1.0, 0.5
    return LinearMDP(features, factors, weights, horizon=2, initial=np.eye(3)[0])


def _blind_instances(budget: str, seed: int) -> Iterator[Instance]:
    for rho in (0.05, 0.2, 0.6):
        yield Instance(f"radius {rho}", {"radius": rho})


def _losses(rho: float, mass: float, known: bool) -> FloatArray:
    """Return, for eleven mixtures in the unseen state, the worse of the losses in the two models."""
    radius = np.zeros((2, 5))
    radius[0, 0] = rho
    worst = []
    for share in np.linspace(0, 1, 11):
        losses = []
        for paying in (0, 1):
            model = blind_model(paying, mass)
            pi = np.full((3, 2), 0.5)
            pi[2] = np.eye(2)[paying] if known else (share, 1.0 - share)
            best = exact_value(model, divergence="tv", radius=radius).value[0, 0]
            losses.append(best - evaluate_policy(model, pi, divergence="tv", radius=radius).value[0, 0])
        worst.append(max(losses))
    return np.array(worst)


def blind_sides(instance: Instance, seed: int) -> Sides:
    """Worse loss in two models that differ only where the nominal kernel never goes, for eleven mixtures there, against rho/4."""
    rho = instance.params["radius"]
    return Estimate.numeric(_losses(rho, 0.0, False)), Estimate.exact(formulas.indistinguishable_loss(rho))


def _seen(instance: Instance, seed: int) -> Sides:
    """The state is visited with probability 0.1, so that the learner knows which model it is in."""
    rho = instance.params["radius"]
    return Estimate.numeric(_losses(rho, 0.1, True)), Estimate.exact(formulas.indistinguishable_loss(rho))


def _bonus_instances(budget: str, seed: int) -> Iterator[Instance]:
    for ridge in (0.1, 1.0):
        yield Instance(f"ridge {ridge}", {"ridge": ridge, "repetitions": [0, 1, 10, 1000, 100000]})


def bonus_sides(instance: Instance, seed: int) -> Sides:
    """Diagonal bonus of a feature seen k times, from the inverse matrix, against 1/sqrt(2 ridge)."""
    ridge, phi = instance.params["ridge"], np.full(2, 0.5)
    found = []
    for k in instance.params["repetitions"]:
        inverse = np.linalg.inv(ridge * np.eye(2) + k * np.outer(phi, phi))
        found.append(float(phi @ np.sqrt(np.diagonal(inverse))))
    return Estimate.numeric(found), Estimate.numeric(np.full(len(found), 1.0 / np.sqrt(2.0 * ridge)))


def _full_norm(instance: Instance, seed: int) -> Sides:
    """The norm of the feature under the whole inverse."""
    found = formulas.elliptical_bonus(np.array(instance.params["repetitions"], dtype=np.float64), instance.params["ridge"])
    return Estimate.numeric(found), bonus_sides(instance, seed)[1]


def _design_instances(budget: str, seed: int) -> Iterator[Instance]:
    for d in (1, 2, 4):
        for ridge in (0.1, 1.0):
            yield Instance(f"{d} features, ridge {ridge}", {"seed": seed % 10**6, "dimension": d, "ridge": ridge, "draws": 20 if budget == "quick" else 500})


def _bias(params: Any, factor: float) -> Sides:
    rng = np.random.Generator(np.random.Philox(key=[params["seed"], params["dimension"]]))
    d, ridge = params["dimension"], params["ridge"]
    lefts, rights = [], []
    for draw in range(params["draws"]):
        z = rng.uniform(0, 3, d)
        phi = rng.dirichlet(np.full(d, 0.5), int(rng.integers(0, 30)) if draw else 0)
        inverse = np.linalg.inv(ridge * np.eye(d) + phi.T @ phi)
        lefts.append(np.abs(inverse @ (phi.T @ (phi @ z)) - z))
        rights.append(factor * formulas.absorbing_coefficient(z, ridge) * np.sqrt(np.diagonal(inverse)))
    return Estimate.numeric(np.array(lefts)), Estimate.numeric(np.array(rights))


def bias_sides(instance: Instance, seed: int) -> Sides:
    """Bias of the ridge estimate in every coordinate, against sqrt(ridge) |z| times the width of the coordinate."""
    return _bias(instance.params, 1.0)


def _half(instance: Instance, seed: int) -> Sides:
    """Half of the coefficient."""
    return _bias(instance.params, 0.5)


CHECKS: tuple[Check, ...] = (
    Check(
        _BY_KEY["dr_rpo/G7"],
        Claim("<="),
        _learnable,
        rate_sides,
        (
            Control("bonus too small for the ridge", rate_sides, instances=_stalled),
            Control("greedy policy with bonus 1 and ridge 1", rate_sides, instances=_greedy_stalled),
        ),
        figures.learning_curves,
        cost={"quick": 22.0, "full": 90.0},
    ),
    Check(
        _BY_KEY["dr_rpo/G8"],
        Claim(">=", Slack(1e-12)),
        _blind_instances,
        blind_sides,
        (Control("the state has nominal mass", _seen),),
        figures.blind,
        cost={"quick": 1.5, "full": 1.5},
        box={"radius": (0.0, 1.0)},
    ),
    Check(
        _BY_KEY["dr_rpo/G9"],
        Claim(">=", Slack(1e-9)),
        _bonus_instances,
        bonus_sides,
        (Control("norm under the whole inverse", _full_norm),),
        figures.bonuses,
        cost={"quick": 0.1, "full": 0.1},
        box={"ridge": (0.001, 10.0)},
    ),
    Check(
        _BY_KEY["dr_rpo/G10"],
        Claim("<=", Slack(1e-10)),
        _design_instances,
        bias_sides,
        (Control("half of the coefficient", _half),),
        figures.ridge_bias,
        cost={"quick": 0.2, "full": 2.0},
    ),
    Check(
        _BY_KEY["dr_rpo/G10-stall"],
        Claim(">="),
        _stalled,
        stall_sides,
        (Control("a bonus that fits the ridge", stall_sides, instances=_enough_bonus),),
        figures.stalls,
        cost={"quick": 3.0, "full": 20.0},
    ),
)
