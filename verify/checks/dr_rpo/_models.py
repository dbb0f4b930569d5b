"""Linear models that the checks of DR-RPO share, rebuilt from plain parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.robust.evaluation import Problem, pose
from mdps import LinearMDP
from mdps.families import random_linear, simulated_linear_mdp
from verify.types import Instance

FloatArray = NDArray[np.float64]

FORMS = (("tv", "penalty", 0.4), ("kl", "penalty", 0.3), ("chi2", "penalty", 0.5), ("tv", "radius", 0.2), ("kl", "radius", 0.15), ("chi2", "radius", 0.3))
"""Divergence, price, size."""

FAIL = 3
"""The fail state of the simulated linear model."""


def model_instances(budget: str, seed: int) -> Iterator[Instance]:
    """Yield random models under every form of the set."""
    for divergence, price, size in FORMS:
        for draw in range(1 if budget == "quick" else 8):
            for eta in (0.05, 0.5) if budget == "full" else (0.2,):
                params = {"draw": draw, "divergence": divergence, "price": price, "size": size, "temperature": eta}
                yield Instance(f"{divergence}, {price} {size}, eta {eta}, model {draw}", params)


def random_model(draw: int, horizon: int = 3) -> LinearMDP:
    """Return a random model of five states, three actions and three features."""
    return random_linear(5, 3, 3, horizon=horizon, seed=draw, concentration=0.7)


def reference_of(draw: int, model: LinearMDP) -> FloatArray:
    """Return a random reference policy (S, A)."""
    rng = np.random.Generator(np.random.Philox(key=[draw, 7]))
    return rng.dirichlet(np.ones(model.n_actions), model.n_states)


def arguments(params: Any, model: LinearMDP) -> dict[str, Any]:
    """Return the keyword arguments of the calculators."""
    return {
        "divergence": params["divergence"],
        params["price"]: params["size"],
        "temperature": params["temperature"],
        "reference": reference_of(params["draw"], model),
    }


def problem_of(params: Any) -> Problem:
    """Return the checked model of an instance."""
    model = random_model(params["draw"])
    return pose(model, **{"penalty": None, "radius": None, **arguments(params, model)})


def simulated(radius: float) -> tuple[LinearMDP, FloatArray]:
    """Return the simulated linear model and radii that let nature move the way to the goal in step 1 only."""
    model = simulated_linear_mdp(0.2)
    sizes = np.zeros((model.horizon, model.dimension))
    sizes[0, 3] = radius
    return model, sizes


def expectation(problem: Problem, pi: FloatArray, factors: FloatArray, running: FloatArray) -> FloatArray:
    """Return E^{pi,P} of the sum of `running` (H, S, A) from every state of step 1, P made of the factors."""
    value = np.zeros(problem.shape[1])
    for h in reversed(range(problem.horizon)):
        value = (pi[h] * (running[h] + problem.features[h] @ (factors[h] @ value))).sum(axis=1)
    return value
