"""What the checks of policy smoothing share: instances, game builders, estimates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import theory
from theory import Guarantee
from theory import policy_smoothing as bound
from verify.types import Estimate, Instance

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from certify.smoothing.games import Game

FloatArray = NDArray[np.float64]


def guarantee(number: str) -> Guarantee:
    """Return the statement with this number."""
    return theory.catalogue()[f"policy_smoothing/{number}"]


def floats(value: Any, accuracy: float = 0.0) -> Estimate:
    """Return a floating-point estimate."""
    return Estimate.numeric(value, accuracy)


def random_laws(count: int, seed: int, *, atoms: tuple[int, int] = (2, 8)) -> Iterable[Instance]:
    """Return instances that hold a random finite law of returns and a shift c."""
    rng = np.random.Generator(np.random.Philox(seed))
    for k in range(count):
        size = int(rng.integers(*atoms))
        values = np.round(np.sort(rng.normal(size=size) * 5.0), 3)
        weights = np.round(rng.dirichlet(np.full(size, 0.7)) + 1e-4, 6)
        weights /= weights.sum()
        yield Instance(f"law {k}", {"values": values.tolist(), "weights": weights.tolist(), "c": round(float(rng.uniform(0.05, 3.0)), 4)})


def law_of(instance: Instance) -> tuple[FloatArray, FloatArray, float]:
    """Return values, probabilities and c of an instance."""
    weights = np.asarray(instance.params["weights"], dtype=np.float64)
    return np.asarray(instance.params["values"], dtype=np.float64), weights / weights.sum(), float(instance.params["c"])


def game_of(instance: Instance) -> Game:
    """Build the game that an instance names."""
    from certify.smoothing.families import corridor_game, fork_game, random_game

    p = instance.params
    if p["game"] == "strata":
        return _strata_game(p["odds"])
    if p["game"] == "fork":
        return fork_game(int(p["branches"]), p=float(p["p"]), sigma=float(p.get("sigma", 1.0)))
    if p["game"] == "corridor":
        return corridor_game(int(p["steps"]), half_width=int(p["half_width"]), sigma=float(p["sigma"]), slip=float(p["slip"]))
    return random_game(
        int(p["seed"]), steps=int(p["steps"]), states=int(p["states"]), actions=int(p["actions"]), sigma=float(p["sigma"]), rewards=bool(p["rewards"])
    )


def _strata_game(odds: list[float]) -> Game:
    """Return a game of one step whose first state, drawn uniformly, sets the probability of success."""
    from certify.smoothing.games import Game

    count = len(odds)
    transition = np.zeros((1, count + 2, 2, count + 2))
    transition[:, :, 0, count] = transition[:, :, 1, count + 1] = 1.0
    breaks = np.full((1, count + 2, 1), np.inf)
    breaks[0, :count, 0] = bound.normal_quantile(odds)
    start = np.r_[np.full(count, 1.0 / count), 0.0, 0.0]
    return Game(np.zeros((1, count + 2)), breaks, transition, np.zeros((1, count + 2, 2)), np.eye(count + 2)[count], start, 1.0)


def random_games(count: int, seed: int, *, rewards: bool) -> Iterable[Instance]:
    """Return instances of random games with a budget."""
    rng = np.random.Generator(np.random.Philox(seed + 7))
    for k in range(count):
        yield Instance(
            f"random game {k}",
            {
                "game": "random",
                "seed": int(rng.integers(1 << 30)),
                "steps": int(rng.integers(1, 6)),
                "states": int(rng.integers(2, 5)),
                "actions": int(rng.integers(2, 4)),
                "sigma": float(rng.choice([0.5, 1.0, 2.0])),
                "rewards": rewards,
                "budget": round(float(rng.uniform(0.1, 2.5)), 3),
                "grid": 80,
            },
        )


def fork(p: float, budget: float, branches: int = 2, grid: int = 100) -> Instance:
    """Return an instance of the fork game."""
    return Instance(f"fork K={branches} p={p:g} B={budget:g}", {"game": "fork", "branches": branches, "p": p, "budget": budget, "grid": grid})


def corridor(budget: float, *, steps: int = 5, half_width: int = 1, slip: float = 0.0, sigma: float = 1.0, grid: int = 200) -> Instance:
    """Return an instance of the corridor game."""
    return Instance(
        f"corridor T={steps} L={half_width} B={budget:g}",
        {"game": "corridor", "steps": steps, "half_width": half_width, "slip": slip, "sigma": sigma, "budget": budget, "grid": grid},
    )


def game_strategy(*, rewards: bool) -> SearchStrategy[Instance]:
    """Return the space of random games that a hunt searches."""
    from hypothesis import strategies as st

    def build(seed: int, steps: int, states: int, actions: int, sigma: float, budget: float) -> Instance:
        params = {"game": "random", "seed": seed, "steps": steps, "states": states, "actions": actions, "sigma": sigma}
        return Instance(f"random game {seed}", {**params, "rewards": rewards, "budget": budget, "grid": 60})

    return st.builds(
        build,
        seed=st.integers(0, 1 << 30),
        steps=st.integers(1, 5),
        states=st.integers(2, 4),
        actions=st.integers(2, 3),
        sigma=st.sampled_from([0.5, 1.0, 2.0]),
        budget=st.floats(0.05, 2.5),
    )


def law_strategy() -> SearchStrategy[Instance]:
    """Return the space of finite laws that a hunt searches."""
    from hypothesis import strategies as st

    def build(atoms: list[tuple[float, int]], c: float) -> Instance:
        values = sorted({round(v, 3) for v, _ in atoms})
        weights = [w for _, w in atoms][: len(values)]
        total = sum(weights)
        return Instance("law", {"values": values, "weights": [w / total for w in weights], "c": c})

    return st.builds(build, st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 1000)), min_size=2, max_size=6), st.floats(0.01, 4.0))
