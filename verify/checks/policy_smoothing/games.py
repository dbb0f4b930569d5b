"""Checks against exactly solved games: the lemma, its conditional form, tightness, probability, mean and per-step certificates.

Source: policy_smoothing, G2 to G5 and G7.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from theory import policy_smoothing as bound
from verify.check import Check, Control
from verify.checks.policy_smoothing import _figures
from verify.checks.policy_smoothing._common import corridor, floats, fork, game_of, game_strategy, guarantee, random_games
from verify.types import Claim, Estimate, Instance, Slack, Verdict

if TYPE_CHECKING:
    from certify.smoothing.games import Game

__all__ = ["CHECKS"]

_ROUNDING = Slack(absolute=1e-10)


def _clean_mean(game: Game) -> float:
    from certify.smoothing.games import static_value

    return static_value(game, np.zeros(game.steps))


def _attacked(instance: Instance, factor: float = 1.0) -> float:
    """Return the exact worst case of the instance's game, at `factor` times its budget."""
    from certify.smoothing.games import worst_case_value

    return worst_case_value(game_of(instance), factor * float(instance.params["budget"]), grid=int(instance.params["grid"]))


def _shift_of(instance: Instance) -> float:
    return float(instance.params["budget"]) / game_of(instance).sigma


# G2: the lemma


def _lemma_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield fork(0.9, 1.0)
    yield fork(0.99, 2.0)
    yield from random_games(60 if budget == "quick" else 420, seed, rewards=False)


def _forks(budget: str, seed: int) -> Iterable[Instance]:
    return [fork(0.9, 1.0), fork(0.99, 2.0)]


def _lemma_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Worst success probability by dynamic programming over the adaptive adversary, against g_c of the clean probability."""
    return floats(_attacked(instance)), floats(bound.gaussian_shift(_clean_mean(game_of(instance)), _shift_of(instance)))


def _overspent(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return floats(_attacked(instance, 1.2)), _lemma_sides(instance, seed)[1]


def _underpriced(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return floats(_attacked(instance)), floats(bound.gaussian_shift(_clean_mean(game_of(instance)), 0.9 * _shift_of(instance)))


_G2 = Check(
    guarantee=guarantee("G2"),
    claim=Claim(">=", slack=_ROUNDING),
    instances=_lemma_instances,
    sides=_lemma_sides,
    controls=(
        Control("the adversary spends 1.2 times its budget", _overspent, instances=_forks),
        Control("c taken 10 % too small", _underpriced, instances=_forks),
    ),
    figure=_figures.lemma,
    cost={"quick": 3.0, "full": 15.0},
    strategy=lambda: game_strategy(rewards=False),
    box={"budget": (0.05, 2.5), "sigma": (0.3, 3.0)},
)


# G2b: conditional certificates


def _conditional_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Worst success probability of a game with a random first state, against the average of g_c over the first states."""
    from certify.smoothing.games import worst_case_by_start

    game = game_of(instance)
    value = worst_case_by_start(game, float(instance.params["budget"]), grid=int(instance.params["grid"])) @ game.start
    return floats(value), floats(bound.conditional_shift(game.start, _by_start(game), _shift_of(instance)))


def _by_start(game: Game) -> np.ndarray:
    """Return the clean success probability from each first state."""
    from certify.smoothing.games import worst_case_by_start

    return np.clip(worst_case_by_start(game, 0.0, grid=1), 0.0, 1.0)


def _best_stratum(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _conditional_sides(instance, seed)[0], floats(bound.gaussian_shift(_by_start(game_of(instance)).max(), _shift_of(instance)))


def _strata(budget: str, seed: int) -> Iterable[Instance]:
    """One step, a random first state, and a threshold for each: here the conditional bound is attained."""
    for odds in ([0.999, 0.6], [0.99, 0.9, 0.3]):
        for size in (0.5, 1.5):
            yield Instance(f"strata {odds}, B={size:g}", {"game": "strata", "odds": odds, "budget": size, "grid": 4})


def _conditional_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield from _strata(budget, seed)
    yield from random_games(40 if budget == "quick" else 300, seed + 1, rewards=False)


_G2B = Check(
    guarantee=guarantee("G2b"),
    claim=Claim(">=", slack=_ROUNDING),
    instances=_conditional_instances,
    sides=_conditional_sides,
    controls=(Control("the best first state stands for all", _best_stratum, instances=_strata),),
    figure=_figures.conditional,
    cost={"quick": 2.0, "full": 12.0},
    strategy=lambda: game_strategy(rewards=False),
)


# G3: tightness


def _tight_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield fork(0.9, 1.0, branches=1)
    for branches in (2, 4, 8) if budget == "quick" else (2, 4, 8, 16):
        yield fork(0.9, 1.5, branches=branches, grid=60)
    for p, size in ((0.5, 0.3), (0.999, 2.5), (0.2, 1.0), (0.9, 1.0)):
        yield fork(p, size)
    yield Instance("accumulator", {"game": "accumulator", "directions": [0.6, 0.0, 0.8], "threshold": 1.0, "budget": 1.3, "sigma": 0.7})


def _tight_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact worst case of games built to attain the bound, against g_c of the clean probability."""
    if instance.params["game"] == "accumulator":
        return _accumulator(instance)
    return _lemma_sides(instance, seed)


def _accumulator(instance: Instance) -> tuple[Estimate, Estimate]:
    """Success while a weighted sum of the inputs stays below a threshold: the attack pushes along the weights."""
    from scipy.special import ndtr

    p = instance.params
    weights = np.asarray(p["directions"], dtype=np.float64)
    scale = float(p["sigma"]) * float(np.linalg.norm(weights))
    push = float(p["budget"]) * weights / np.linalg.norm(weights)
    clean = ndtr(float(p["threshold"]) / scale)
    return floats(ndtr((float(p["threshold"]) - weights @ push) / scale)), floats(bound.gaussian_shift(clean, float(p["budget"]) / float(p["sigma"])))


def _static(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    from certify.smoothing.games import best_static

    game = game_of(instance)
    return floats(best_static(game, float(instance.params["budget"]), starts=6).value), _lemma_sides(instance, seed)[1]


_G3 = Check(
    guarantee=guarantee("G3"),
    claim=Claim("==", slack=1e-12),
    instances=_tight_instances,
    sides=_tight_sides,
    controls=(Control("only attacks chosen in advance (fork game)", _static, instances=lambda budget, seed: [fork(0.9, 1.0)]),),
    figure=_figures.tightness,
    cost={"quick": 2.0, "full": 4.0},
)


# G4: probability certificate


def _fork_radii(budget: str, seed: int) -> Iterable[Instance]:
    for q in (0.5, 0.6, 0.8):
        yield replace(fork(0.9, 1.0), name=f"fork at the radius to q={q}", params={**fork(0.9, 1.0).params, "q": q})


def _radius_instances(budget: str, seed: int) -> Iterable[Instance]:
    yield from _fork_radii(budget, seed)
    for k, instance in enumerate(random_games(40 if budget == "quick" else 300, seed + 2, rewards=False)):
        yield replace(instance, params={**instance.params, "q": (0.1, 0.3, 0.5)[k % 3]})


def _radius_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Worst success probability at the certified radius to q (at budget 0 where p < q), against min(p, q)."""
    return _at_radius(instance, 1.0)


def _at_radius(instance: Instance, factor: float) -> tuple[Estimate, Estimate]:
    from certify.smoothing.games import worst_case_value

    game, q = game_of(instance), float(instance.params["q"])
    p = _clean_mean(game)
    radius = float(np.clip(bound.success_radius(p, q, sigma=game.sigma), 0.0, 20.0))
    return floats(worst_case_value(game, factor * radius, grid=int(instance.params["grid"]))), floats(min(p, q))


def _beyond(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _at_radius(instance, 1.1)


_G4 = Check(
    guarantee=guarantee("G4"),
    claim=Claim(">=", slack=_ROUNDING),
    instances=_radius_instances,
    sides=_radius_sides,
    controls=(Control("10 % beyond the radius", _beyond, instances=_fork_radii),),
    figure=_figures.radius,
    cost={"quick": 2.0, "full": 12.0},
)


# G5: expected return


def _mean_instances(budget: str, seed: int) -> Iterable[Instance]:
    for size in (0.5, 1.0, 2.0, 3.0):
        yield corridor(size)
    if budget == "full":
        for size in (0.5, 1.0, 2.0, 3.0):
            yield corridor(size, steps=20, half_width=3, slip=0.1, grid=300)
    yield fork(0.9, 1.0)
    yield from random_games(40 if budget == "quick" else 300, seed + 3, rewards=True)


def _mean_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact worst mean return over adaptive adversaries, against the sum over thresholds of g_c of the clean survival probabilities."""
    return _mean(instance, 1.0)


def _mean(instance: Instance, factor: float) -> tuple[Estimate, Estimate]:
    from certify.smoothing.games import clean_return_law

    values, probabilities = clean_return_law(game_of(instance))
    return floats(_attacked(instance)), floats(bound.wang_transform(values, probabilities, factor * _shift_of(instance), floor=min(0.0, float(values[0]))))


def _mean_halved(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    return _mean(instance, 0.5)


_G5 = Check(
    guarantee=guarantee("G5"),
    claim=Claim(">=", slack=_ROUNDING),
    instances=_mean_instances,
    sides=_mean_sides,
    controls=(Control("half the budget charged", _mean_halved, instances=_forks),),
    figure=_figures.corridor_curve,
    cost={"quick": 3.0, "full": 20.0},
    strategy=lambda: game_strategy(rewards=True),
)


# G5, published with a step function that starts at zero


def _score_instances(budget: str, seed: int) -> Iterable[Instance]:
    for p, size in ((0.9, 1.0), (0.92, 0.5), (0.99, 2.0)):
        yield fork(p, size)


def _score_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Worst mean score in {-1, 1} of the fork game (a loss costs 1), against the sum over positive thresholds started at 0."""
    kept = bound.gaussian_shift(float(instance.params["p"]), _shift_of(instance))
    return floats(2.0 * _attacked(instance) - 1.0), floats(kept)


def _score_with_floor(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    p = float(instance.params["p"])
    return _score_sides(instance, seed)[0], floats(bound.expected_return_bound([-1.0, 1.0], [1.0, p], _shift_of(instance), floor=-1.0))


_G5_ZERO = Check(
    guarantee=guarantee("G5-zero-floor"),
    claim=Claim(">=", slack=_ROUNDING),
    instances=_score_instances,
    sides=_score_sides,
    controls=(Control("sum started at the lower limit -1 of the score", _score_with_floor, required=Verdict.HOLDS),),
    figure=_figures.zero_floor,
    expected=Verdict.VIOLATED,
    cost={"quick": 1.0, "full": 1.0},
    box={"p": (0.5, 0.999), "budget": (0.1, 3.0)},
)


# G7: per-step budgets


def _step_instances(budget: str, seed: int) -> Iterable[Instance]:
    for size in (0.05, 0.1, 0.3, 0.6):
        yield corridor(size)
    yield corridor(0.3, steps=12, half_width=2, slip=0.1)
    if budget == "full":
        yield corridor(0.2, steps=40, half_width=3, slip=0.1)


def _survival(instance: Instance) -> np.ndarray:
    """Return P(J > i) for i = 0..T-1 from the clean law."""
    from certify.smoothing.games import clean_return_law

    values, probabilities = clean_return_law(game_of(instance))
    return np.array([probabilities[values > i].sum() for i in range(int(instance.params["steps"]))]).clip(0.0, 1.0)


def _step_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Exact worst mean survival when every perturbation has size at most e, against the prefix bound (and the one with e sqrt T)."""
    from certify.smoothing.games import worst_case_per_step

    game, e = game_of(instance), float(instance.params["budget"])
    survival = _survival(instance)
    whole = float(np.sum(bound.gaussian_shift(survival, e * np.sqrt(survival.size) / game.sigma)))
    return floats(worst_case_per_step(game, e)), floats(max(bound.per_step_return_bound(survival, e, game.sigma), whole))


def _step_as_total(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    kept = np.sum(bound.gaussian_shift(_survival(instance), float(instance.params["budget"]) / game_of(instance).sigma))
    return _step_sides(instance, seed)[0], floats(kept)


_G7 = Check(
    guarantee=guarantee("G7"),
    claim=Claim(">=", slack=_ROUNDING),
    instances=_step_instances,
    sides=_step_sides,
    controls=(Control("the size of one step taken as the budget of the episode", _step_as_total),),
    figure=_figures.per_step,
    cost={"quick": 1.0, "full": 3.0},
    box={"budget": (0.01, 1.0), "slip": (0.0, 0.5)},
)

CHECKS: tuple[Check, ...] = (_G2, _G2B, _G3, _G4, _G5, _G5_ZERO, _G7)
