"""The published experiments, with their generator protocols: the simulated linear model and the American put.

The legacy NumPy generator is used here and nowhere else, because the published data sets were drawn with it.
Source: r2pvi, figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.robust import _duals, _published
from certify.robust._design import sample_design
from certify.robust.datasets import OfflineDataset, offline_dataset
from certify.robust.offline import OfflineResult, r2pvi
from verify.checks.r2pvi._models import Model, evaluate, of

FloatArray = NDArray[np.float64]

PERTURBATIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROWS: dict[str, dict[str, Any]] = {
    "PEVI": {"method": "pevi"},
    "R2PVI-TV": {"divergence": "tv", "penalty": 0.1},
    "R2PVI-KL": {"divergence": "kl", "penalty": 0.1},
    "DRPVI": {"method": "drpvi"},
    "chi2 as published": {"divergence": "chi2", "penalty": 0.1},
    "chi2 with sup": {"divergence": "chi2", "penalty": 0.1, "protocol": "official-exact"},
}
"""Rows of the table of expected returns on the simulated model."""


@lru_cache(maxsize=1)
def simulated_model() -> Model:
    """Return the simulated linear model at xi_norm .2 with its 16 actions."""
    import mdps

    return of(mdps.families.simulated_linear_mdp(0.2))


@lru_cache(maxsize=64)
def simulated_data(seed: int, trajectories: int = 100) -> OfflineDataset:
    """Return the published data set of a seed: for each step an action number, then the next state."""
    model = simulated_model()
    H, _, S = model.factors.shape
    rng = np.random.RandomState(seed)
    states, actions = np.zeros((trajectories, H + 1), dtype=np.int64), np.zeros((trajectories, H), dtype=np.int64)
    for k in range(trajectories):
        for h in range(H):
            action = int(rng.choice(range(16), size=1)[0])
            law = model.features[states[k, h], action] @ model.factors[h]
            actions[k, h] = action
            states[k, h + 1] = int(rng.choice(range(1, S), size=1, p=law[1:])[0])
    return offline_dataset(states, actions, source=f"legacy generator, seed {seed}")


def official(seed: int, *, beta: float = 1.0, **row: Any) -> OfflineResult:
    """Return what the official code learns from the data set of a seed: ridge .1, penalty beta."""
    model = simulated_model()
    arguments: dict[str, Any] = {"protocol": "official", **row}
    if arguments.get("method") == "drpvi" and "radius" not in arguments:
        radius = np.zeros(model.weights.shape)
        radius[0, 3] = 0.5
        arguments["radius"] = radius
    return r2pvi(simulated_data(seed), model.features, model.weights, ridge=0.1, beta=beta, **arguments)


def target_return(policy: NDArray[Any], perturbation: float) -> float:
    """Return the exact expected return of a policy (H, S) in the target environment from the first state."""
    import mdps

    target = of(mdps.families.simulated_linear_mdp(0.2, target=perturbation))
    return float(evaluate(target, policy, target.factors)[0, 0])


def returns(row: dict[str, Any], *, seeds: int = 20, beta: float = 1.0, perturbations: tuple[float, ...] = PERTURBATIONS) -> FloatArray:
    """Return the expected target returns of a row of the table, averaged over legacy seeds 0, 1, ..."""
    policies = [official(seed, beta=beta, **row).policy for seed in range(seeds)]
    return np.array([np.mean([target_return(policy, q) for policy in policies]) for q in perturbations])


HORIZON, STRIKE, ANCHORS = 20, 100.0, 80.0 + np.arange(30) * (100.0 / 30.0)
MOVES = np.array([1.02, 0.98])


def hat(prices: Any) -> FloatArray:
    """Return the hat features (..., 30) of prices; they vanish far from the anchors."""
    result: FloatArray = np.maximum(0.0, 1.0 - np.abs(np.asarray(prices, dtype=float)[..., None] - ANCHORS) / (100.0 / 30.0))
    return result


def put_data(replication: int, trajectories: int = 100) -> FloatArray:
    """Return prices (K, H+1) of trajectories that never exercise; the three data sets share their moves."""
    start = np.random.RandomState(replication).uniform(95.0, 105.0, size=1)[0]
    rng = np.random.RandomState(1)
    # what choice([0, 1], p=[.5, .5]) draws
    moves = (rng.random_sample((trajectories, HORIZON)) >= 0.5).astype(np.int64)
    prices = np.full((trajectories, HORIZON + 1), start)
    for h in range(HORIZON):
        prices[:, h + 1] = prices[:, h] * MOVES[moves[:, h]]
    return prices


@dataclass(frozen=True)
class PutPolicy:
    """Weights (H, d), penalty per unit (H, d) and, for the full norm, the inverse matrices (H, d, d)."""

    weights: FloatArray
    deviation: FloatArray
    inverse: FloatArray | None

    def hold(self, step: int, features: FloatArray, beta: float) -> FloatArray:
        """Return the value of holding for features (n, d)."""
        if self.inverse is None:
            width = np.sqrt(features**2 @ self.deviation[step] ** 2)
        else:
            width = np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", features, self.inverse[step], features), 0.0))
        result: FloatArray = np.minimum(features @ self.weights[step] - beta * width, float(HORIZON - step))
        return result


def learn_put(prices: FloatArray, *, method: str, size: float = np.inf, beta: float = 0.1) -> PutPolicy:
    """Return the official learner's option policy: "pevi", "tv" (price), "drpvi" (radius, local search) or "drpvi-exact"."""
    designs = [sample_design(hat(prices[:, h]), np.zeros(len(prices)), 1.0) for h in range(HORIZON)]
    weights = np.zeros((HORIZON, len(ANCHORS)))
    deviation = np.array([design.deviation for design in designs])
    inverse = np.array([design.inverse for design in designs]) if method == "pevi" else None
    policy = PutPolicy(weights, deviation, inverse)
    for h in reversed(range(HORIZON - 1)):
        following = prices[:, h + 1]
        value = np.maximum(policy.hold(h + 1, hat(following), beta), np.maximum(0.0, STRIKE - following))
        W, radius = designs[h].weights, np.full(len(ANCHORS), size)
        if method == "pevi":
            weights[h] = W @ value
        elif method == "tv":
            weights[h] = _duals.penalised_tv(W, value, size, float(value.min()))
        elif method == "drpvi":
            weights[h] = _published.constrained_tv(W, value, radius, float(HORIZON))
        else:
            weights[h] = _duals.constrained_tv(W, value, radius, 0.0, float(HORIZON))[0]
    return policy


def play_put(policy: PutPolicy, probability: float, *, episodes: int = 100, beta: float = 0.1) -> float:
    """Return the average reward in the test environment: exercising consumes no draw, and the dead state goes on drawing to the horizon."""
    rng = np.random.RandomState(1)
    start = float(rng.uniform(95.0, 105.0, size=1)[0])
    ups = np.arange(HORIZON)
    payoff = np.array([np.maximum(0.0, STRIKE - start * MOVES[0] ** ups * MOVES[1] ** (h - ups)) for h in range(HORIZON)])
    prices = np.array([start * MOVES[0] ** ups * MOVES[1] ** (h - ups) for h in range(HORIZON)])
    exercised = [(policy.hold(h, hat(prices[h]), beta) < payoff[h]).tolist() for h in range(HORIZON)]
    total = 0.0
    for _ in range(episodes):
        up, alive = 0, True
        for h in range(HORIZON):
            if alive and exercised[h][up]:
                total, alive = total + float(payoff[h, up]), False
            elif rng.random_sample() < probability:
                # what choice([0, 1], p=...) draws
                up += alive
    return total / episodes


PUT_PROBABILITIES = (0.2, 0.4, 0.6, 0.8, 1.0)


def put_row(method: str, size: float = np.inf) -> FloatArray:
    """Return a row of the put table: the mean over three data sets of the average reward."""
    policies = [learn_put(put_data(k), method=method, size=size) for k in range(3)]
    return np.array([np.mean([play_put(policy, p) for policy in policies]) for p in PUT_PROBABILITIES])


def put_lattice(divergence: str | None = None, penalty: float = 1.0, *, probability: float = 0.5) -> tuple[float, NDArray[np.bool_]]:
    """Return the exact regularised value of the put on its lattice and where it is held, (H, H+1); TV knows the least value 0.

    A node of step h is the number of moves up; None as divergence means the nominal model.
    """
    start = float(np.random.RandomState(1).uniform(95.0, 105.0, size=1)[0])
    value = np.zeros(HORIZON + 1)
    held = np.zeros((HORIZON, HORIZON + 1), dtype=bool)
    for h in reversed(range(HORIZON)):
        ups = np.arange(h + 1)
        price = start * MOVES[0] ** ups * MOVES[1] ** (h - ups)
        down, up = value[: h + 1], value[1 : h + 2]
        if divergence == "tv":
            hold = probability * np.minimum(up, penalty) + (1.0 - probability) * np.minimum(down, penalty)
        elif divergence == "kl":
            least = np.minimum(up, down)
            hold = least - penalty * np.log(
                probability * np.exp(-(up - least) / penalty) + (1.0 - probability) * np.exp(-(down - least) / penalty))
        else:
            hold = probability * up + (1.0 - probability) * down
        payoff = np.maximum(STRIKE - price, 0.0)
        # after the last decision nothing is paid, so that holding there is worth nothing
        held[h, : h + 1] = hold >= payoff
        value = np.maximum(hold, payoff)
    return float(value[0]), held
