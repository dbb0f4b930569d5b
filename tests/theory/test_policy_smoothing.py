"""The Gaussian shift against 60-digit arithmetic, and the closed forms against each other."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import theory
from theory import policy_smoothing as bound

probabilities = st.one_of(st.floats(0, 1), st.floats(1e-300, 1e-3), st.floats(1e-16, 1e-3).map(lambda q: 1 - q))
shifts = st.floats(0, 8)


def exact_shift(p: float, c: float, complement: float | None = None) -> mpmath.mpf:
    with mpmath.workdps(60):
        small = mpmath.mpf(p) if p < 0.5 else (1 - mpmath.mpf(p) if complement is None else mpmath.mpf(complement))
        start = mpmath.sqrt(-2 * mpmath.log(small)) * mpmath.mpf("0.98") + mpmath.mpf("0.01")
        z = mpmath.findroot(lambda x: mpmath.log(mpmath.erfc(x / mpmath.sqrt(2)) / 2) - mpmath.log(small), start)
        z = -z if p < 0.5 else z
        return mpmath.erfc((mpmath.mpf(c) - z) / mpmath.sqrt(2)) / 2


@pytest.mark.parametrize("p", [1e-300, 1e-50, 1e-5, 0.01, 0.3, 0.5, 0.7, 0.9, 0.999, 1 - 1e-10, 1 - 2.0**-53])
@pytest.mark.parametrize("c", [0.0, 1e-9, 0.3, 1.0, 4.7, 8.0])
def test_shift_is_accurate_and_its_lower_form_is_below(p, c):
    exact = exact_shift(p, c)
    assert abs(bound.gaussian_shift(p, c) / exact - 1) < 1e-12 if exact > 1e-300 else bound.gaussian_shift(p, c) < 1e-299
    assert bound.gaussian_shift_lower(p, c) <= (p if c == 0 else exact)
    assert bound.gaussian_shift_lower(p, c) >= bound.gaussian_shift(p, c) * (1 - 1e-10)


@pytest.mark.parametrize("q", [1e-300, 1e-100, 1e-17, 1e-9])
def test_the_complement_carries_what_p_cannot(q):
    g, miss = bound.gaussian_shift_pair(1.0 - q, q, 2.0)
    exact = exact_shift(1.0 - q, 2.0, q)
    assert abs(g / exact - 1) < 1e-13
    with mpmath.workdps(400):
        z = mpmath.findroot(lambda x: mpmath.log(mpmath.erfc(x / mpmath.sqrt(2)) / 2) - mpmath.log(q), mpmath.sqrt(-2 * mpmath.log(q)))
        assert abs(miss / (mpmath.erfc((z - 2) / mpmath.sqrt(2)) / 2) - 1) < 1e-12


@given(probabilities, shifts, shifts)
def test_shifts_add_and_lose(p, a, b):
    once = bound.gaussian_shift_pair(p, 1 - p, a)
    twice = bound.gaussian_shift(once[0], b, complement=once[1])
    assert twice == pytest.approx(bound.gaussian_shift(p, a + b), rel=1e-9, abs=1e-290)
    assert bound.gaussian_shift(p, a) <= p * (1 + 1e-12)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), shifts)
def test_shift_is_convex_and_increasing(p, q, share, c):
    middle = share * p + (1 - share) * q
    chord = share * bound.gaussian_shift(p, c) + (1 - share) * bound.gaussian_shift(q, c)
    assert bound.gaussian_shift(middle, c) <= chord + 1e-12
    assert bound.gaussian_shift(min(p, q), c) <= bound.gaussian_shift(max(p, q), c)


@given(st.floats(0.001, 0.999), st.floats(0, 1), st.floats(0, 5))
def test_slope_gives_a_tangent_below(p0, p, c):
    tangent = bound.gaussian_shift(p0, c) + bound.gaussian_shift_slope(p0, c) * (p - p0)
    assert tangent <= bound.gaussian_shift(p, c) + 1e-9


def test_ends_are_exact():
    assert bound.gaussian_shift([0.0, 1.0], 3.0).tolist() == [0.0, 1.0]
    assert bound.gaussian_shift(0.3, 0.0) == 0.3


def test_wang_transform_of_a_law_equals_the_sum_over_integers():
    weights = np.arange(1.0, 12.0) / 66
    survival = np.array([weights[i + 1 :].sum() for i in range(10)])
    assert bound.wang_transform(np.arange(11.0), weights, 1.3) == pytest.approx(bound.gaussian_shift(survival, 1.3).sum(), rel=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0, 4), st.floats(0, 3), st.floats(-2, 2))
def test_wang_transform_is_affine_and_below_the_mean(values, c, scale, offset):
    weights = np.full(len(values), 1 / len(values))
    rho = bound.wang_transform(values, weights, c)
    assert bound.wang_transform(scale * np.array(values) + offset, weights, c) == pytest.approx(scale * rho + offset, abs=1e-9)
    assert min(values) - 1e-9 <= rho <= np.mean(values) + 1e-9


def test_largest_radii_of_the_table():
    assert bound.largest_radius([1e2, 1e3, 1e4, 1e5, 1e6, 1e7]).round(3).tolist() == [1.888, 2.749, 3.432, 4.013, 4.527, 4.991]


def test_prefix_form_beats_the_whole_episode():
    survival = np.linspace(1.0, 0.3, 20)
    assert bound.per_step_return_bound(survival, 0.2, 1.0) > bound.gaussian_shift(survival, 0.2 * math.sqrt(20)).sum()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 0.5),
        ({"kind": "total-norms"}, 0.5),
        ({"kind": "per-step", "steps": 16}, 2.0),
        ({"copies": 4}, 1.0),
        ({"samples": 9}, 1.5),
        ({"rounding": 0.1, "steps": 25, "dimension": 4}, 1.5),
    ],
)
def test_protocol_table(arguments, expected):
    assert bound.effective_budget(0.5, **arguments) == pytest.approx(expected)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=6, unique=True), st.floats(0.05, 4), st.floats(1e-3, 1e3))
def test_the_dual_never_exceeds_the_transform(values, c, order):
    weights = np.full(len(values), 1 / len(values))
    assert bound.recepes_bound(values, weights, order, c, floor=min(values)) <= bound.wang_transform(values, weights, c) + 1e-9


@given(st.floats(0.01, 0.99), st.floats(0.05, 4))
def test_the_dual_is_tight_for_two_values(p, c):
    order = float(bound.gaussian_shift_slope(p, c))
    dual = bound.recepes_bound([0.0, 1.0], [1 - p, p], order, c, floor=0.0)
    assert dual == pytest.approx(bound.gaussian_shift(p, c), abs=1e-10)


def test_hockey_stick_near_zero_shift_tends_to_its_limit():
    assert bound.hockey_stick(0.3, 1e-6) == pytest.approx(0.7, abs=1e-6)
    assert bound.hockey_stick(2.0, 0.0) == 0.0


def test_action_radius_with_a_union_is_smaller():
    common = {"low": 0.0, "high": 1.0, "sigma": 0.2, "samples": 500, "alpha": 0.05}
    assert 0 < bound.crop_action_radius(0.8, 0.2, actions=10, **common) < bound.crop_action_radius(0.8, 0.2, **common)
    assert bound.crop_action_radius(0.5, 0.5, **common) == 0.0


BAD = [
    pytest.param(lambda: bound.gaussian_shift(1.2, 1.0), "p must be in", id="p-above-1"),
    pytest.param(lambda: bound.gaussian_shift(math.nan, 1.0), "p must be in", id="p-nan"),
    pytest.param(lambda: bound.gaussian_shift("high", 1.0), "p must hold numbers", id="p-text"),
    pytest.param(lambda: bound.gaussian_shift(0.5, math.inf), "c must be finite", id="c-infinite"),
    pytest.param(lambda: bound.gaussian_shift(0.9, 1.0, complement=0.3), "complement must be 1 - p", id="complement"),
    pytest.param(lambda: bound.expected_return_bound([2.0, 1.0], [0.5, 0.5], 1.0), "thresholds must be sorted", id="unsorted"),
    pytest.param(lambda: bound.expected_return_bound([1.0], [0.5, 0.5], 1.0), "survival must have the shape", id="shape"),
    pytest.param(lambda: bound.expected_return_bound([1.0], [0.5], 1.0, floor=2.0), "thresholds must be at least floor", id="floor"),
    pytest.param(lambda: bound.wang_transform([1.0], [0.5], 1.0), "probabilities must sum to 1", id="law"),
    pytest.param(lambda: bound.wang_transform([1.0, 2.0], [1.0], 1.0), "equally many", id="law-length"),
    pytest.param(lambda: bound.success_radius(0.9, 1.0), "q must be in", id="q"),
    pytest.param(lambda: bound.success_radius(0.9, 0.5, sigma=0.0), "sigma must be finite and > 0", id="sigma"),
    pytest.param(lambda: bound.success_radius(0.9, 0.5, sigma="wide"), "sigma must be a number", id="sigma-text"),
    pytest.param(lambda: bound.largest_radius(0), "episodes must be at least 1", id="episodes"),
    pytest.param(lambda: bound.per_step_return_bound([1.0], -1.0, 1.0), "step_budget", id="step-budget"),
    pytest.param(lambda: bound.conditional_shift([0.5], [0.5], 1.0), "weights must sum to 1", id="weights"),
    pytest.param(lambda: bound.effective_budget(-1.0), "budget must not be negative", id="budget"),
    pytest.param(lambda: bound.effective_budget(1.0, kind="weekly"), "kind must be one of", id="kind"),
    pytest.param(lambda: bound.effective_budget(1.0, kind="per-step"), "steps must be an integer", id="steps"),
    pytest.param(lambda: bound.effective_budget(1.0, copies=0), "copies must be", id="copies"),
    pytest.param(lambda: bound.effective_budget(1.0, rounding=-0.1), "rounding must be", id="rounding"),
    pytest.param(lambda: bound.effective_budget(1.0, rounding=0.1, steps=3), "dimension must be", id="dimension"),
    pytest.param(lambda: bound.hockey_stick(0.0, 1.0), "order must be positive", id="order"),
    pytest.param(lambda: bound.published_quantile_level(0.5, 1.0, 0, 0.05), "episodes must be at least 1", id="published"),
    pytest.param(lambda: bound.crop_action_radius(1, 0, low=1, high=0, sigma=1, samples=1, alpha=0.1), "low < high", id="crop"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_statement_has_its_place():
    keys = [key for key in theory.catalogue() if key.startswith("policy_smoothing/")]
    assert {f"policy_smoothing/G{i}" for i in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)} <= set(keys)
    assert {f"policy_smoothing/G8{x}" for x in "abcde"} | {"policy_smoothing/G2b"} <= set(keys)
