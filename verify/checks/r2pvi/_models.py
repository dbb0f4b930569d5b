"""Linear models by hand: robust backward recursion, evaluation under a fixed kernel, divergences, random instances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdps.robust import worst_case

FloatArray = NDArray[np.float64]


def worst_rows(
    values: FloatArray, nominal: FloatArray, *, divergence: str, penalty: Any = None, radius: Any = None,
) -> tuple[FloatArray, FloatArray]:
    """Return worst cases (m,) and minimisers (m, n) of rows, one by one: models here are small, and nothing needs to be compiled for them.

    `values` (n,) or (m, n), `nominal` (m, n), one price for all rows or one for each.
    """
    name, size = ("penalty", penalty) if radius is None else ("radius", radius)
    sizes = np.broadcast_to(np.asarray(size, dtype=float), (len(nominal),))
    found = [
        worst_case(v, q, divergence=divergence, **{name: float(x)})
        for v, q, x in zip(np.broadcast_to(values, nominal.shape), nominal, sizes, strict=True)
    ]
    return np.array([one.value for one in found]), np.array([one.distribution for one in found])


@dataclass(frozen=True)
class Model:
    """Features (S, A, d), factors (H, d, S) and reward weights (H, d)."""

    features: FloatArray
    factors: FloatArray
    weights: FloatArray

    @property
    def horizon(self) -> int:
        """Number of steps H."""
        return len(self.factors)

    @property
    def dimension(self) -> int:
        """Number of factors d."""
        return int(self.features.shape[-1])

    def shifted(self, weights: FloatArray) -> Model:
        """Return the model with other reward weights."""
        return replace(self, weights=weights)

    def linear(self) -> Any:
        """Return the `mdps.LinearMDP` that starts in state 0."""
        import mdps

        return mdps.LinearMDP(self.features, self.factors, self.weights, horizon=self.horizon, initial=np.eye(self.features.shape[0])[0])


def of(mdp: Any) -> Model:
    """Return the model of an `mdps.LinearMDP` with stationary features."""
    return Model(mdp.features, mdp.factors, mdp.reward_weights)


def random_model(draw: int, *, states: int = 5, actions: int = 3, dimension: int = 3, horizon: int = 4) -> Model:
    """Return a random model, every entry from the stream of `draw`."""
    rng = np.random.Generator(np.random.Philox(draw))
    return Model(
        rng.dirichlet(np.ones(dimension), size=(states, actions)), rng.dirichlet(np.full(states, 0.6), size=(horizon, dimension)),
        rng.random((horizon, dimension)),
    )


@dataclass(frozen=True)
class Solution:
    """Values (H+1, S), action values (H, S, A), greedy actions (H, S), worst factors (H, d, S), their divergences (H, d) and worst cases (H, d)."""

    value: FloatArray
    action_value: FloatArray
    policy: NDArray[np.int64]
    kernel: FloatArray
    spent: FloatArray
    worst: FloatArray


def solve(model: Model, divergence: str, *, penalty: Any = None, radius: Any = None, policy: NDArray[Any] | None = None) -> Solution:
    """Return the robust solution of a model, or of a policy (H, S) in it; `radius` may be (H, d); neither price means the nominal model."""
    H, d, S = model.factors.shape
    value = np.zeros((H + 1, S))
    Q = np.zeros((H, *model.features.shape[:2]))
    chosen = np.zeros((H, S), dtype=np.int64)
    kernel, spent, worst = np.empty_like(model.factors), np.zeros((H, d)), np.zeros((H, d))
    radii = None if radius is None else np.broadcast_to(np.asarray(radius, dtype=float), (H, d))
    for h in reversed(range(H)):
        if penalty is None and radii is None:
            worst[h], kernel[h] = model.factors[h] @ value[h + 1], model.factors[h]
        else:
            price = {"penalty": penalty} if radii is None else {"radius": radii[h]}
            worst[h], kernel[h] = worst_rows(value[h + 1], model.factors[h], divergence=divergence, **price)
            spent[h] = divergence_rows(kernel[h], model.factors[h], divergence)
        Q[h] = model.features @ (model.weights[h] + worst[h])
        chosen[h] = Q[h].argmax(axis=-1) if policy is None else policy[h]
        value[h] = Q[h][np.arange(S), chosen[h]]
    return Solution(value, Q, chosen, kernel, spent, worst)


def evaluate(model: Model, policy: NDArray[Any], kernel: FloatArray, charge: FloatArray | float = 0.0) -> FloatArray:
    """Return the values (H+1, S) of a policy under fixed factors (H, d, S), with `charge` (H, d) added to the reward weights."""
    H, _, S = model.factors.shape
    value = np.zeros((H + 1, S))
    extra = np.broadcast_to(charge, model.weights.shape)
    for h in reversed(range(H)):
        Q = model.features @ (model.weights[h] + extra[h] + kernel[h] @ value[h + 1])
        value[h] = Q[np.arange(S), policy[h]]
    return value


def collect(model: Model, policy: NDArray[Any], kernel: FloatArray, costs: FloatArray) -> FloatArray:
    """Return the expected sums (H+1, S) of `costs` (H, S, A) of a policy under fixed factors."""
    H, _, S = model.factors.shape
    total = np.zeros((H + 1, S))
    for h in reversed(range(H)):
        pairs = model.features[np.arange(S), policy[h]]
        total[h] = costs[h][np.arange(S), policy[h]] + pairs @ (kernel[h] @ total[h + 1])
    return total


def largest(model: Model, policy: NDArray[Any], divergence: str, radius: FloatArray, costs: FloatArray) -> FloatArray:
    """Return the largest expected sums (H+1, S) of `costs` over the factors within `radius` (H,) of the nominal ones."""
    H, d, S = model.factors.shape
    total = np.zeros((H + 1, S))
    for h in reversed(range(H)):
        if divergence == "kl" and radius[h] <= 0.0:
            best = model.factors[h] @ total[h + 1]
        else:
            best = -worst_rows(-total[h + 1], model.factors[h], divergence=divergence, radius=np.full(d, radius[h]))[0]
        pairs = model.features[np.arange(S), policy[h]]
        total[h] = costs[h][np.arange(S), policy[h]] + pairs @ best
    return total


def divergence_rows(p: FloatArray, q: FloatArray, divergence: str) -> FloatArray:
    """Return D(p | q) of every row: tv is half of the L1 distance."""
    if divergence == "tv":
        result: FloatArray = 0.5 * np.abs(p - q).sum(axis=-1)
        return result
    ratio = np.divide(p, q, out=np.ones_like(p), where=q > 0)
    if divergence == "chi2":
        return np.asarray((q * (ratio - 1.0) ** 2).sum(axis=-1))
    return np.asarray(np.maximum((p * np.log(np.where(p > 0, ratio, 1.0))).sum(axis=-1), 0.0))
