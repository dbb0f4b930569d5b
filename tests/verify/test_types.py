"""Estimates, claims and comparisons: the verdict follows from the limits, and nothing that is not a number gets through."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify import Basis, Claim, Comparison, Estimate, Slack, Verdict, binomial_estimate

numbers = st.floats(-10, 10)


@st.composite
def estimates(draw):
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Estimate(value, low, high)


def judge(left, right, claim):
    return Comparison("instance", left, right, claim).verdict


@given(estimates(), estimates())
def test_an_inequality_follows_from_the_limits(left, right):
    expected = Verdict.HOLDS if left.upper <= right.lower else Verdict.VIOLATED if left.lower > right.upper else Verdict.INCONCLUSIVE
    assert judge(left, right, Claim("<=")) is expected


@given(estimates(), estimates())
def test_greater_is_smaller_with_the_sides_swapped(left, right):
    assert judge(left, right, Claim(">=")) is judge(right, left, Claim("<="))


@given(estimates(), estimates())
def test_equality_holds_only_without_uncertainty_and_is_violated_only_beyond_both_limits(left, right):
    verdict = judge(left, right, Claim("=="))
    assert (verdict is Verdict.VIOLATED) == (left.lower > right.upper or right.lower > left.upper)
    assert (verdict is Verdict.HOLDS) == (left.lower == left.upper == right.lower == right.upper)


def test_one_bad_entry_of_an_array_violates():
    left, right = Estimate.numeric([1.0, 2.0, 3.0]), Estimate.numeric([1.0, 1.5, 3.0])
    assert judge(left, right, Claim("<=")) is Verdict.VIOLATED
    assert judge(right, left, Claim("<=")) is Verdict.HOLDS


def test_slack_is_forgiven_and_no_more():
    one = Estimate(1.0)
    assert judge(Estimate(1.0 + 1e-13), one, Claim("==", Slack(1e-12))) is Verdict.HOLDS
    assert judge(Estimate(1.0 + 1e-11), one, Claim("==", Slack(1e-12))) is Verdict.VIOLATED
    assert judge(Estimate(110.0), Estimate(100.0), Claim("<=", Slack(relative=0.1))) is Verdict.HOLDS
    assert judge(Estimate(110.1), Estimate(100.0), Claim("<=", Slack(relative=0.1))) is Verdict.VIOLATED
    assert judge(Estimate(1.0 + 1e-15), one, Claim("<=")) is Verdict.VIOLATED


def test_exact_rationals_are_compared_exactly():
    third = Estimate.exact(Fraction(1, 3))
    assert judge(third, Estimate.exact(Fraction(1, 3)), Claim("==")) is Verdict.HOLDS
    assert judge(third, Estimate.exact(Fraction(1, 3) + Fraction(1, 10**40)), Claim("==")) is Verdict.VIOLATED


def test_a_window_holds_what_lies_inside():
    window = Estimate(0.5, 0.4, 0.6)
    assert judge(Estimate(0.5, 0.45, 0.55), window, Claim("within")) is Verdict.HOLDS
    assert judge(Estimate(0.5, 0.3, 0.55), window, Claim("within")) is Verdict.INCONCLUSIVE
    assert judge(Estimate(0.2, 0.1, 0.3), window, Claim("within")) is Verdict.VIOLATED


def test_a_sampled_claim_holds_only_when_the_alternative_is_excluded():
    claim, level = Claim("<=", alternative=2.0), Estimate.exact(0.05)
    assert judge(binomial_estimate(50, 1000), level, claim) is Verdict.HOLDS
    assert judge(binomial_estimate(5, 100), level, claim) is Verdict.INCONCLUSIVE
    assert judge(binomial_estimate(150, 1000), level, claim) is Verdict.VIOLATED
    coverage = Claim(">=", alternative=0.9)
    assert judge(binomial_estimate(960, 1000), Estimate.exact(0.95), coverage) is Verdict.HOLDS
    assert judge(binomial_estimate(700, 1000), Estimate.exact(0.95), coverage) is Verdict.VIOLATED


def test_infinite_sides_that_agree_do_not_turn_into_nan():
    both = Estimate(np.array([math.inf, 1.0]))
    assert judge(both, both, Claim("==")) is Verdict.HOLDS
    assert judge(Estimate(1.0), Estimate(math.inf), Claim("<=")) is Verdict.HOLDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"value": math.nan}, "value must be a number", id="nan"),
        pytest.param({"value": [0.0, math.nan]}, "nan at index", id="nan in an array"),
        pytest.param({"value": 1.0, "lower": 2.0}, "lower <= value <= upper", id="lower above value"),
        pytest.param({"value": 1.0, "upper": 0.0}, "lower <= value <= upper", id="upper below value"),
        pytest.param({"value": 1.0, "failure": 1.0}, "failure must be", id="failure one"),
        pytest.param({"value": 1.0, "failure": math.nan}, "failure must be", id="failure nan"),
        pytest.param({"value": [1.0, 2.0], "lower": 0.0}, "shape", id="shapes"),
        pytest.param({"value": 1.0, "basis": "guess"}, "guess", id="unknown basis"),
    ],
)
def test_bad_estimates_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Estimate(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"relation": "<"},
        {"relation": "<=", "quantifier": "most"},
        {"relation": "<=", "alternative": 0.5},
        {"relation": ">=", "alternative": 1.5},
        {"relation": "==", "alternative": 2.0},
        {"relation": "<=", "slack": -1.0},
        {"relation": "<=", "slack": math.nan},
    ],
)
def test_bad_claims_are_refused(arguments):
    with pytest.raises(ValueError):
        Claim(**arguments)


@pytest.mark.parametrize("relation", ["<=", ">=", "=="])
def test_relative_slack_beside_an_infinity_forgives_nothing(relation):
    claim = Claim(relation, Slack(relative=1e-9, absolute=1e-9))
    wrong = {"<=": (math.inf, -math.inf), ">=": (1.0, math.inf), "==": (-math.inf, math.inf)}[relation]
    assert judge(Estimate(wrong[0]), Estimate(wrong[1]), claim) is Verdict.VIOLATED
    assert judge(Estimate([0.0, wrong[0]]), Estimate([0.0, wrong[1]]), claim) is Verdict.VIOLATED
    assert judge(Estimate(math.inf), Estimate(math.inf), claim) is Verdict.HOLDS


def test_no_number_at_all_is_no_estimate():
    for nothing in ([], np.empty((0, 3))):
        with pytest.raises(ValueError, match="value must hold at least one number"):
            Estimate(nothing)


def test_an_estimate_keeps_numbers_of_its_own():
    given = np.array([1.0, 2.0])
    estimate = Estimate(given)
    given[0] = math.nan
    assert estimate.value.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        estimate.lower[0] = 3.0
    assert estimate == Estimate([1.0, 2.0])
    assert estimate != Estimate([1.0, 2.5])
    assert estimate != Estimate([1.0, 2.0], failure=0.1)
    assert len({estimate, Estimate([1.0, 2.0])}) == 1


def test_names_of_bases_and_quantifiers_are_taken_in_any_case():
    assert Estimate(1.0, basis="SAMPLED").basis is Basis.SAMPLED
    assert Claim("<=", quantifier="EXISTS") == Claim("<=", quantifier="exists")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Estimate(1 + 2j), "value must be a number"),
        (lambda: Estimate("a"), "value must be a number"),
        (lambda: Estimate(1.0, failure="x"), "failure must be a number"),
        (lambda: Estimate(1.0, failure=None), "failure must be a number"),
        (lambda: Estimate(1.0, basis="guess"), "basis must be one of exact, "),
        (lambda: Claim("==", slack=(1e-9, 1e-9)), "slack must be a number"),
        (lambda: Claim("==", slack=None), "slack must be a number"),
        (lambda: Claim("<=", alternative=math.inf), "alternative must be finite"),
        (lambda: Claim("<=", alternative="x"), "alternative must be a number"),
        (lambda: Claim("<=", quantifier=3), "quantifier must be"),
        (lambda: Comparison("x", 1.0, Estimate(1.0), Claim("<=")), "left must be of type Estimate"),
        (lambda: Comparison("x", Estimate(1.0), Estimate(1.0), "<="), "claim must be of type Claim"),
    ],
)
def test_values_of_another_kind_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sides_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        Comparison("x", Estimate.numeric([1.0, 2.0]), Estimate.numeric([1.0, 2.0, 3.0]), Claim("<="))


@given(st.integers(1, 400), st.data())
def test_binomial_limits_leave_at_most_half_the_failure_on_each_side(trials, data):
    from scipy.stats import binom

    successes = data.draw(st.integers(0, trials))
    estimate = binomial_estimate(successes, trials, failure=0.02)
    assert successes == 0 or binom.sf(successes - 1, trials, estimate.lower) <= 0.01 + 1e-7
    assert successes == trials or binom.cdf(successes, trials, estimate.upper) <= 0.01 + 1e-7
    assert estimate.at(0.2).lower >= estimate.lower
    assert estimate.basis is Basis.SAMPLED


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="successes"):
        binomial_estimate(successes, trials)


def test_the_pvalue_is_where_the_verdict_turns():
    comparison = Comparison("x", binomial_estimate(80, 1000), Estimate.exact(0.05), Claim("<=", alternative=2.0))
    p = comparison.pvalue
    assert p is not None
    assert comparison.at(min(0.999, 1.01 * p)).verdict is Verdict.VIOLATED
    assert comparison.at(0.99 * p).verdict is not Verdict.VIOLATED
    assert Comparison("x", Estimate(1.0), Estimate(2.0), Claim("<=")).pvalue is None
    assert Comparison("x", binomial_estimate(10, 1000), Estimate.exact(0.05), Claim("<=", alternative=2.0)).pvalue == 1.0


def test_tightness_and_sensitivity_read_off_the_bound():
    comparison = Comparison("x", Estimate(0.9), Estimate(1.0), Claim("<="))
    assert comparison.tightness == pytest.approx(0.9)
    assert comparison.sensitivity == pytest.approx(0.9)
    lower = Comparison("x", Estimate(1.0), Estimate(0.8), Claim(">="))
    assert lower.tightness == pytest.approx(0.8)
    assert lower.sensitivity == pytest.approx(1.25)
    assert Comparison("x", Estimate(1.0), Estimate(1.0), Claim("==")).tightness is None
