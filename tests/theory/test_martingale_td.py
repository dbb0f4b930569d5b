"""The closed forms of the martingale paper against numbers worked out by hand, and bad input."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from theory import martingale_td as theory


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(2, (1, 7, 7)), (3, (Fraction(-3, 8), Fraction(29, 4), Fraction(15, 2))), (8, (Fraction(-29, 9), Fraction(97, 13), Fraction(25, 3))), (None, (-6, Fraction(15, 2), 9))],
)
def test_fixed_points_of_brownian_motion_are_rationals_found_by_hand(steps, expected):
    assert tuple(theory.brownian_fixed_points(steps).values()) == expected


def test_published_constants():
    assert theory.small_noise_constant(1.0, 1.0) == pytest.approx(0.8971, abs=5e-5)
    assert theory.lstd_asymptotic_covariance(1.0, 0.7, 0.5) == pytest.approx(np.array([[0.512, 0.12544], [0.12544, 0.2151296]]), abs=1e-12)
    assert theory.critic_gap_of_wrong_volatility(0.2, 0.3, rate=0.02) == pytest.approx(0.039055, abs=5e-7)
    assert theory.critic_gap_of_wrong_volatility(0.4, 0.3, rate=0.02) == pytest.approx(-0.038828, abs=5e-7)


@pytest.mark.parametrize(("rule", "scheme", "power", "constant"), [("left", "exact", 1, 0.5), ("trapezoid", "exact", 2, 2.5 / 12), ("left", "euler", 1, 0.34)])
def test_leading_constants_of_the_bias_are_attained(rule, scheme, power, constant):
    dt = 1e-4
    k2, _ = theory.ou_td_coefficients(dt, 1.0, 0.7, 0.5, rule=rule, scheme=scheme)
    assert (float(k2) - 0.4) / dt**power == pytest.approx(constant, rel=2e-3)


def test_euler_coefficients_solve_the_equations_of_the_euler_chain():
    kappa, sigma, beta, dt = 0.8, 0.6, 0.4, 0.3
    fade, square, g = (1 - kappa * dt) ** 2, sigma**2 * dt, math.exp(-beta * dt)
    for rule in ("left", "trapezoid"):
        k2, k0 = theory.ou_td_coefficients(dt, kappa, sigma, beta, rule=rule, scheme="euler")
        for x in (0.0, 1.3):
            later = fade * x * x + square
            gain = dt * x * x if rule == "left" else 0.5 * dt * (x * x + g * later)
            assert gain + g * (k2 * later + k0) - k2 * x * x - k0 == pytest.approx(0.0, abs=1e-12)


def test_small_steps_and_no_return_to_the_mean_lose_no_digits():
    for kappa in (0.0, 1e-13):
        k2, k0 = theory.ou_td_coefficients(1e-9, kappa, 1.0, 0.5)
        assert (float(k2), float(k0)) == pytest.approx((2.0, 4.0), rel=1e-8)
    assert float(theory.ou_mean_square_coefficient(1e-10, 1.0, 0.5)) == pytest.approx(2.5e-10 / 4.0, rel=1e-8)


def test_bounds_of_roots_and_of_minimisers():
    assert float(theory.discretisation_bound(2.0, 0.5, 1.0, 4.0)) == 0.25
    assert float(theory.discretisation_bound(2.0, 0.5, 1.0, 4.0, 2.0, minimum=True)) == pytest.approx(math.sqrt(0.5))


BAD = [
    (theory.brownian_fixed_points, (1,), {}, "steps"),
    (theory.brownian_fixed_points, (2.5,), {}, "steps"),
    (theory.ou_value_coefficients, (1.0, -0.7, 0.5), {}, "sigma"),
    (theory.ou_value_coefficients, (1.0, float("nan"), 0.5), {}, "sigma"),
    (theory.ou_value_coefficients, (-1.0, 0.7, 0.5), {}, "infinite"),
    (theory.ou_value_coefficients, (1.0, 0.7, 0.0), {}, "infinite"),
    (theory.ou_td_coefficients, (0.0, 1.0, 0.7, 0.5), {}, "dt"),
    (theory.ou_td_coefficients, (0.1, 1.0, 0.7, 0.5), {"rule": "right"}, "rule"),
    (theory.ou_td_coefficients, (0.1, 1.0, 0.7, 0.5), {"scheme": "milstein"}, "scheme"),
    (theory.ou_td_coefficients, (5.0, 1.0, 0.7, 0.1), {"scheme": "euler"}, "dt"),
    (theory.ou_mean_square_coefficient, (-0.1, 1.0, 0.5), {}, "dt"),
    (theory.ou_mean_square_coefficient, (0.1, -0.1, 0.5), {}, "kappa"),
    (theory.small_noise_minimiser, (-0.1, 0.9), {}, "noise_over_step"),
    (theory.small_noise_minimiser, (0.1, -0.9), {}, "constant"),
    (theory.discretisation_bound, (1.0, -0.1, 0.5, 1.0), {}, "dt"),
    (theory.critic_gap_of_wrong_volatility, (0.2, 0.3), {"rate": float("nan")}, "rate"),
    (theory.critic_gap_of_wrong_volatility, (0.0, 0.3), {"rate": 0.0}, "believed"),
]


@pytest.mark.parametrize(("function", "arguments", "keywords", "message"), BAD)
def test_bad_arguments_are_refused(function, arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments, **keywords)
