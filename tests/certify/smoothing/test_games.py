"""Small games: published figures, brute force over attacks, gradients, validation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.smoothing import best_static, corridor_game, fork_game, worst_case_value
from certify.smoothing.families import random_game
from certify.smoothing.games import _static_gradient, clean_return_law, static_value, worst_case_by_start, worst_case_per_step
from theory import policy_smoothing as bound


def test_fork_game_meets_the_bound():
    game = fork_game(2, p=0.9)
    assert worst_case_value(game, 1.0, grid=100) == pytest.approx(0.610856308354639, abs=1e-14)
    assert worst_case_value(game, 1.2, grid=100) == pytest.approx(0.5324983, abs=1e-6)
    assert best_static(game, 1.0, starts=6).value == pytest.approx(0.7170966693, abs=1e-9)
    assert static_value(game, [0.0, math.sqrt(0.5), math.sqrt(0.5)]) == pytest.approx(0.7171665726, abs=1e-9)


@pytest.mark.parametrize(("branches", "static"), [(2, 0.5748), (4, 0.6728)])
def test_wider_forks(branches, static):
    game = fork_game(branches, p=0.9)
    assert worst_case_value(game, 1.5, grid=60) == pytest.approx(0.41353987, abs=1e-8)
    assert best_static(game, 1.5, starts=4).value == pytest.approx(static, abs=5e-5)


@pytest.mark.parametrize(
    ("budget", "certificate", "worst"),
    [(0.5, 3.901727, 3.957034), (1.0, 3.325327, 3.413401), (2.0, 2.390443, 2.448380), (3.0, 2.052587, 2.064365)],
)
def test_corridor(budget, certificate, worst):
    game = corridor_game()
    values, probabilities = clean_return_law(game)
    assert values @ probabilities == pytest.approx(4.390550, abs=1e-6)
    assert bound.wang_transform(values, probabilities, budget, floor=0.0) == pytest.approx(certificate, abs=1e-6)
    assert worst_case_value(game, budget, grid=300) == pytest.approx(worst, abs=2e-6)


def test_long_corridor():
    game = corridor_game(20, half_width=3, slip=0.1)
    values, probabilities = clean_return_law(game)
    assert values @ probabilities == pytest.approx(19.947794, abs=1e-6)
    assert bound.wang_transform(values, probabilities, 2.0, floor=0.0) == pytest.approx(16.403732, abs=1e-6)
    assert worst_case_value(game, 2.0, grid=300) == pytest.approx(19.601404, abs=2e-6)


def test_corridor_with_a_budget_for_each_step():
    game = corridor_game()
    values, probabilities = clean_return_law(game)
    survival = np.array([probabilities[values > i].sum() for i in range(5)]).clip(0, 1)
    assert worst_case_per_step(game, 0.3) == pytest.approx(4.090692, abs=1e-6)
    assert bound.per_step_return_bound(survival, 0.3, 1.0) == pytest.approx(3.881051, abs=1e-6)
    assert bound.gaussian_shift(survival, 0.3 * math.sqrt(5)).sum() == pytest.approx(3.708767, abs=1e-6)
    assert bound.gaussian_shift(survival, 0.3).sum() == pytest.approx(4.113675, abs=1e-6)


games = st.builds(
    random_game,
    st.integers(0, 10**6),
    steps=st.integers(1, 3),
    states=st.integers(2, 3),
    actions=st.integers(2, 3),
    sigma=st.sampled_from([0.5, 1.0, 2.0]),
    rewards=st.booleans(),
)


@given(games, st.floats(0, 2.5))
def test_certificate_never_exceeds_the_worst_case(game, budget):
    values, probabilities = clean_return_law(game)
    certificate = bound.wang_transform(values, probabilities, budget / game.sigma, floor=min(0.0, values[0]))
    assert certificate <= worst_case_value(game, budget, grid=40) + 1e-10


@given(games, st.floats(0.1, 2.0), st.integers(0, 10**6))
def test_adaptive_is_at_least_as_strong_as_any_static_attack_on_its_grid(game, budget, seed):
    rng = np.random.default_rng(seed)
    parts = rng.multinomial(20, np.full(game.steps, 1 / game.steps))
    attack = rng.choice([-1, 1], game.steps) * budget * np.sqrt(parts / 20)
    assert worst_case_value(game, budget, grid=20) <= static_value(game, attack) + 1e-12


@given(games, st.integers(0, 10**6))
def test_gradient_of_a_static_attack(game, seed):
    delta = np.random.default_rng(seed).normal(size=game.steps)
    value, slope = _static_gradient(game, delta)
    assert value == pytest.approx(static_value(game, delta), abs=1e-12)
    for t in range(game.steps):
        step = 1e-6 * np.eye(game.steps)[t]
        assert slope[t] == pytest.approx((static_value(game, delta + step) - static_value(game, delta - step)) / 2e-6, abs=1e-6)


@given(games)
def test_without_budget_the_worst_case_is_the_clean_mean(game):
    values, probabilities = clean_return_law(game)
    clean = values @ probabilities
    assert worst_case_value(game, 0.0, grid=3) == pytest.approx(clean, abs=1e-8)
    assert worst_case_by_start(game, 0.0, grid=3) @ game.start == pytest.approx(clean, abs=1e-8)
    assert worst_case_per_step(game, 0.0, grid=2) == pytest.approx(clean, abs=1e-8)


def test_finer_grids_are_stronger():
    game = random_game(5, steps=4, states=3, actions=3, sigma=1.0)
    assert worst_case_value(game, 1.0, grid=64) <= worst_case_value(game, 1.0, grid=16) <= worst_case_value(game, 1.0, grid=4)


BAD = [
    pytest.param(lambda: worst_case_value(fork_game(2), -1.0), "budget must not be negative", id="budget"),
    pytest.param(lambda: worst_case_value(fork_game(2), math.nan), "budget must be a finite number", id="nan"),
    pytest.param(lambda: worst_case_per_step(fork_game(2), -1.0), "step_budget must not be negative", id="step-budget"),
    pytest.param(lambda: worst_case_value(fork_game(2), 1.0, grid=0), "grid must be an integer >= 1", id="grid"),
    pytest.param(lambda: fork_game(0), "branches must be an integer >= 1", id="branches"),
    pytest.param(lambda: fork_game(2, p=1.0), "p must be in", id="p"),
    pytest.param(lambda: fork_game(2, sigma=0.0), "sigma must be a positive", id="sigma"),
    pytest.param(lambda: corridor_game(0), "steps must be an integer", id="steps"),
    pytest.param(lambda: corridor_game(slip=2.0), "slip must be in", id="slip"),
    pytest.param(lambda: random_game(1, steps=1, states=1, actions=1, sigma=1.0), "actions must be an integer >= 2", id="actions"),
    pytest.param(lambda: static_value(fork_game(2), [0.0]), "perturbation must have shape", id="perturbation"),
    pytest.param(lambda: best_static(fork_game(2), 0.0), "budget must be a positive", id="static-budget"),
    pytest.param(lambda: replace(fork_game(2), reward=np.zeros(3)), "reward must have shape", id="reward"),
    pytest.param(lambda: replace(fork_game(2), final=np.full(5, np.nan)), "final must hold numbers", id="final"),
    pytest.param(lambda: replace(fork_game(2), start=np.full(5, 0.5)), "start must hold probabilities", id="start"),
    pytest.param(lambda: replace(fork_game(2), transition=np.zeros(3)), "transition must have shape", id="transition"),
    pytest.param(lambda: replace(fork_game(3), breaks=-np.sort(np.arange(4 * 6 * 2.0).reshape(4, 6, 2))), "breaks must be increasing", id="breaks"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
