"""Slopes and anytime-valid rates: known answers, coverage by exact enumeration, early stopping, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from verify.statistics import anytime_rate, fit_slope, rate_limits


@given(st.floats(-3, 3), st.floats(0.1, 10))
def test_a_power_law_has_its_slope(power, scale):
    x = np.array([1.0, 3.0, 10.0, 40.0])
    estimate = fit_slope(x, scale * x**power)
    assert estimate.value == pytest.approx(power, abs=1e-9)
    assert estimate.lower <= power + 1e-8
    assert estimate.upper >= power - 1e-8


def test_a_scattered_slope_has_a_wider_interval():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    noisy = fit_slope(x, x**0.5 * np.array([1.1, 0.9, 1.1, 0.9, 1.1]))
    assert noisy.upper - noisy.lower > 0.05
    assert fit_slope(x, x**0.5 * np.array([1.1, 0.9, 1.1, 0.9, 1.1]), failure=0.5).upper < noisy.upper


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 2, 3], [1, -2, 3]), ([1, 1, 1], [1, 2, 3]), ([1, 2, np.nan], [1, 2, 3]), ([1, 2, 3], [1, 2])])
def test_slopes_of_nothing_are_refused(x, y):
    with pytest.raises(ValueError):
        fit_slope(x, y)
    with pytest.raises(ValueError):
        fit_slope([1, 2, 3], [1, 2, 3], failure=0)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_limits_hold_at_every_time_at_once(p):
    """Exact: propagate the law of the count, absorbing a path when its limits first miss p."""
    failure, horizon = 0.1, 150
    law = np.array([1.0])
    missed = 0.0
    for n in range(1, horizon + 1):
        law = np.convolve(law, [1 - p, p])
        for k in range(n + 1):
            if law[k] > 0:
                low, high = rate_limits(k, n, failure=failure)
                if not low <= p <= high:
                    missed += law[k]
                    law[k] = 0.0
    assert missed <= failure
    assert missed > failure / 200  # the event is not vacuous


@given(st.integers(1, 300), st.data())
def test_limits_enclose_the_frequency_and_are_wider_than_for_one_time(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = rate_limits(successes, trials, failure=0.05)
    assert 0 <= low <= successes / trials <= high <= 1
    if successes > 0:
        assert binom.sf(successes - 1, trials, low) <= 0.05


def test_sampling_stops_early_when_the_answer_is_plain():
    seen = []

    def count(first, last):
        seen.append(last)
        return int((np.random.default_rng(first).random(last - first) < 0.4).sum())

    assert anytime_rate(count, 0.05, alternative=2.0, failure=1e-6, limit=100_000).lower > 0.05
    assert seen[-1] <= 1000
    seen.clear()
    never = anytime_rate(lambda first, last: 0, 0.05, alternative=2.0, failure=1e-6, limit=100_000)
    assert never.upper < 0.1
    assert never.at(0.5).upper < never.upper


@pytest.mark.parametrize(
    "arguments",
    [{"bound": 0.0}, {"alternative": 1.0}, {"limit": 0}, {"batch": 0}, {"failure": 0.0}],
)
def test_bad_rates_are_refused(arguments):
    options = {"bound": 0.05, "alternative": 2.0, "failure": 0.01, "limit": 10, **arguments}
    with pytest.raises(ValueError):
        anytime_rate(lambda first, last: 0, options.pop("bound"), **options)
    with pytest.raises(ValueError):
        rate_limits(3, 2, failure=0.1)
