"""Checks of the certificates for one budget by simulation: betting at any stopping time, and the sample-ordering bound.

Source: policy_smoothing, G8d and G8e.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from theory import policy_smoothing as bound
from verify.check import Check, Control
from verify.checks.policy_smoothing import _figures_more as _figures
from verify.checks.policy_smoothing._common import guarantee
from verify.statistics import anytime_rate
from verify.types import Claim, Estimate, Instance, binomial_estimate

__all__ = ["CHECKS", "betting_misses"]

FloatArray = NDArray[np.float64]

_ALPHA, _FAILURE, _BLOCK = 0.05, 1e-6, 500


def _stopping_instances(budget: str, seed: int) -> Iterable[Instance]:
    repetitions = 3000 if budget == "quick" else 20_000
    for p, c, n, prior in ((0.97, 1.5, 60, [97.0, 3.0]), (0.9, 0.5, 200, [2.0, 2.0]), (0.8, 1.0, 100, [2.0, 2.0])):
        name = f"p={p:g}, c={c:g}, up to {n} episodes"
        yield Instance(name, {"p": p, "c": c, "episodes": n, "repetitions": repetitions, "prior": prior, "floor": 0.0})
    yield Instance("score in {-1, 0}", {"p": 0.9, "c": 1.0, "episodes": 100, "repetitions": repetitions, "prior": [2.0, 2.0], "floor": -1.0})


def betting_misses(instance: Instance, seed: int, runs: int, block: int, *, sample_floor: bool = False, forget_floor: bool = False) -> int:
    """Count, in one block of runs, those in which the wealth against the true rho_c ever reaches 1 / alpha, for a return of floor or floor + 1.

    All runs of a block advance together; guesses change after every episode.  Broken variants: stakes scaled by the smallest Y of the whole run, or
    the floor left out of Y.
    """
    from certify.smoothing.betting import STAKES

    p, c, n = float(instance.params["p"]), float(instance.params["c"]), int(instance.params["episodes"])
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, block])))
    wins = rng.random((runs, n)) < p
    floor = float(instance.params["floor"])
    truth = floor + float(bound.gaussian_shift(p, c))
    past: FloatArray = np.cumsum(wins, axis=1, dtype=np.float64) - wins
    episode = np.arange(n)
    wins_before, losses_before = (float(x) for x in instance.params["prior"])
    guess = (past + wins_before) / (episode + wins_before + losses_before)
    slope = np.asarray(bound.gaussian_shift_slope(guess, c))
    base = (0.0 if forget_floor else floor) + np.asarray(bound.gaussian_shift(guess, c)) - slope * guess
    gain = base + slope * wins
    lowest = np.minimum(gain.min(axis=1, keepdims=True) if sample_floor else base, truth - 1e-9)
    odds = (gain - truth) / (truth - lowest)
    wealth = np.zeros((runs, n))
    for stake in STAKES:
        wealth += np.exp(np.minimum(np.cumsum(np.log1p(np.maximum(stake * odds, -1.0 + 1e-12)), axis=1), 600.0))
    return int(np.sum(wealth.max(axis=1) / STAKES.size >= 1.0 / _ALPHA))


def _miss_rate(instance: Instance, seed: int, **broken: bool) -> tuple[Estimate, Estimate]:
    def count(first: int, last: int) -> int:
        return sum(betting_misses(instance, seed, _BLOCK, block, **broken) for block in range(first // _BLOCK, last // _BLOCK))

    limit = int(instance.params["repetitions"]) // _BLOCK * _BLOCK
    return anytime_rate(count, _ALPHA, alternative=2.0, failure=_FAILURE / 4, limit=limit, batch=_BLOCK), Estimate(_ALPHA)


def _stopping_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Share of runs in which the betting certificate exceeds rho_c at some time, against alpha = .05; drawn until it is decided."""
    return _miss_rate(instance, seed)


def _sample_floor(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _miss_rate(instance, seed, sample_floor=True)


def _forgotten_floor(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _miss_rate(instance, seed, forget_floor=True)


def _scores(budget: str, seed: int) -> list[Instance]:
    return [instance for instance in _stopping_instances(budget, seed) if instance.params["floor"] < 0.0]


def _near_perfect(budget: str, seed: int) -> list[Instance]:
    return [next(iter(_stopping_instances(budget, seed)))]


_G8D = Check(
    guarantee=guarantee("G8d"),
    claim=Claim("<=", alternative=2.0),
    instances=_stopping_instances,
    sides=_stopping_sides,
    controls=(
        Control("the smallest Y seen in place of the predictable floor", _sample_floor, instances=_near_perfect),
        Control("the floor left out of Y", _forgotten_floor, instances=_scores),
    ),
    figure=_figures.betting,
    alpha=_FAILURE,
    cost={"quick": 4.0, "full": 30.0},
)


def _ordering_instances(budget: str, seed: int) -> Iterable[Instance]:
    repetitions = 1500 if budget == "quick" else 10_000
    for name, law, c, n in (
        ("near-perfect", [0.03, 0.0, 0.97], 1.5, 60),
        ("skewed", [0.1, 0.2, 0.7], 1.0, 100),
        ("uniform", [1 / 3, 1 / 3, 1 / 3], 2.5, 50),
    ):
        yield Instance(f"{name}, c={c:g}, n={n}", {"law": law, "c": c, "episodes": n, "repetitions": repetitions})


def _ordering(instance: Instance, seed: int, level: float) -> tuple[Estimate, Estimate]:
    from certify.smoothing.betting import ordering_bounds

    p = instance.params
    law, c, n, runs = np.asarray(p["law"]), float(p["c"]), int(p["episodes"]), int(p["repetitions"])
    rng = np.random.Generator(np.random.Philox(seed))
    samples = np.sort(rng.choice(3, size=(runs, n), p=law / law.sum()).astype(np.float64), axis=1)
    truth = float(bound.wang_transform([0.0, 1.0, 2.0], law / law.sum(), c))
    found = ordering_bounds(samples, shift=c, ceiling=2.0, alpha=level, floor=0.0, simulations=400, seed=seed + 1)
    return binomial_estimate(int(np.sum(found > truth)), runs), Estimate(_ALPHA)


def _ordering_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Share of samples whose ordering bound exceeds rho_c, against alpha = .05."""
    return _ordering(instance, seed, _ALPHA)


def _ordering_loose(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _ordering(instance, seed, 0.5)


_G8E = Check(
    guarantee=guarantee("G8e"),
    claim=Claim("<=", alternative=2.0),
    instances=_ordering_instances,
    sides=_ordering_sides,
    controls=(Control("the median of the simulation in place of its alpha-quantile", _ordering_loose),),
    figure=_figures.ordering,
    alpha=1e-6,
    cost={"quick": 5.0, "full": 20.0},
)

CHECKS: tuple[Check, ...] = (_G8D, _G8E)
