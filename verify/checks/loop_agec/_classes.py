"""Models and classes that several checks of this paper use."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mdps import TabularMDP

__all__ = ["hard", "near_class", "random_model"]


def random_model(states: int, actions: int, seed: int, *, low: float = 0.0, high: float = 1.0) -> TabularMDP:
    """Return a model with Dirichlet(0.3) rows, all states reachable, and uniform rewards."""
    import mdps

    rng = np.random.Generator(np.random.Philox(seed))
    rows = rng.dirichlet(np.full(states, 0.3), size=(states, actions))
    # A little of the uniform law makes every state reachable also in floating point.
    return mdps.TabularMDP(0.999 * rows + 0.001 / states, rng.uniform(low, high, size=(states, actions)))


@lru_cache(maxsize=64)
def hard(gap: float, dimension: int = 3, diameter: float = 10.0) -> Any:
    """Return the hard class with the given gap, built once."""
    from verify.simulators import hard_class

    return hard_class(dimension, diameter, gap)


@lru_cache(maxsize=16)
def near_class(seed: int, spread: float = 0.25, size: int = 8) -> Any:
    """Return a class of `size` kernels near a common one, with common rewards; the truth has the smallest gain of all."""
    import mdps
    from certify.complexity import model_class

    base = random_model(3, 2, seed)
    rng = np.random.Generator(np.random.Philox([seed, 1]))
    rows = rng.dirichlet(np.ones(3), size=(size, 3, 2))
    models = [mdps.TabularMDP((1.0 - spread) * base.dense() + spread * row, base.expected_reward) for row in rows]
    gains = [mdps.solve(m, criterion="average").gain for m in models]
    return model_class(models[int(np.argmin(gains))], models)
