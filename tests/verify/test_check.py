"""One check of each kind, built from the core types alone: an identity at 1e-12, an attained inequality, a coverage claim, a rate,
an impossibility, and a refuted statement.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import betaincinv

from theory import Guarantee, Paper
from verify import Basis, Check, Claim, Control, Estimate, Instance, Slack, Verdict, binomial_estimate
from verify.runner import run_check

PAPER = Paper("spike", "Spikes", "Nobody", 2026)


def guarantee(key, kind, status="derived", note=""):
    return Guarantee(f"spike/{key}", PAPER, key, kind, "$1 = 1$", (), status, "ours", note)


def no_figure(figure):
    figure.subplots()


def geometric(instance, seed):
    g, n = instance.params["g"], instance.params["n"]
    return Estimate.numeric(sum(g**i for i in range(n))), Estimate.numeric((1 - g**n) / (1 - g))


IDENTITY = Check(
    guarantee("identity", "identity"), Claim("==", Slack(1e-12)), lambda budget, seed: [Instance(f"n={n}", {"g": 0.9, "n": n}) for n in (1, 5, 40)], geometric,
    (Control("one term too many", lambda i, s: (geometric(i, s)[0], geometric(Instance("", {**i.params, "n": i.params["n"] + 1}), s)[1])),), no_figure,
)

ATTAINED = Check(
    guarantee("attained", "inequality"), Claim("<="), lambda budget, seed: [Instance("fair", {"p": 0.5}), Instance("biased", {"p": 0.1})],
    lambda i, s: (Estimate.exact(i.params["p"] * (1 - i.params["p"])), Estimate.exact(0.25)),
    (Control("half the bound", lambda i, s: (Estimate.exact(i.params["p"] * (1 - i.params["p"])), Estimate.exact(0.125))),), no_figure,
)


def misses(level):
    def sides(instance, seed):
        n, p, trials = 50, instance.params["p"], 4000
        counts = np.random.Generator(np.random.Philox(seed)).binomial(n, p, trials)
        lower = np.where(counts > 0, betaincinv(np.maximum(counts, 1), n - counts + 1, level), 0.0)
        return binomial_estimate(int((lower > p).sum()), trials), Estimate.exact(0.05)

    return sides


COVERAGE = Check(
    guarantee("coverage", "inequality"), Claim("<=", alternative=2.0), lambda budget, seed: [Instance(f"p={p}", {"p": p}) for p in (0.1, 0.5)], misses(0.05),
    (Control("four times the level", misses(0.2)),), no_figure, alpha=1e-6,
)


def slope(power):
    def sides(instance, seed):
        n = np.array([10.0, 100.0, 1000.0, 10000.0])
        fitted = float(np.polyfit(np.log(n), np.log(n**power), 1)[0])
        return Estimate(fitted, fitted - 0.01, fitted + 0.01, basis=Basis.FITTED), Estimate(-0.5, -0.55, -0.45)

    return sides


RATE = Check(
    guarantee("rate", "rate"), Claim("within"), lambda budget, seed: [Instance("envelope", {})], slope(-0.5), (Control("linear rate", slope(-1.0)),), no_figure
)

IMPOSSIBLE = Check(
    guarantee("impossible", "impossibility"), Claim(">=", quantifier="exists"),
    lambda budget, seed: [Instance(f"x={x}", {"x": x}) for x in (0.1, 0.9)], lambda i, s: (Estimate.exact(i.params["x"]), Estimate.exact(0.5)),
    (Control("no witness", lambda i, s: (Estimate.exact(0.4 * i.params["x"]), Estimate.exact(0.5))),), no_figure,
)

REFUTED = Check(
    guarantee("refuted", "inequality", "refuted", "false at x = 2"), Claim("<="), lambda budget, seed: [Instance("x=2", {"x": 2.0})],
    lambda i, s: (Estimate.exact(i.params["x"] ** 2), Estimate.exact(i.params["x"])),
    (Control("corrected: x^2 <= 2 x", lambda i, s: (Estimate.exact(i.params["x"] ** 2), Estimate.exact(2 * i.params["x"])), Verdict.HOLDS),), no_figure,
    expected=Verdict.VIOLATED,
)


@pytest.mark.parametrize("check", [IDENTITY, ATTAINED, COVERAGE, RATE, IMPOSSIBLE, REFUTED], ids=lambda check: check.key)
def test_a_check_of_each_kind_gets_its_verdict(check):
    result = run_check(check, seed=1)
    assert result.as_expected
    assert result.verdict is check.expected
    assert all(control.passed for control in result.controls.values())


def test_an_attained_bound_is_reported_as_tight():
    result = run_check(ATTAINED)
    assert result.tightness == 1.0
    assert result.sensitivity == 1.0


@pytest.mark.parametrize("check", [IDENTITY, ATTAINED, RATE, IMPOSSIBLE], ids=lambda check: check.key)
def test_a_control_that_passes_makes_the_check_powerless(check):
    toothless = replace(check, controls=(Control("nothing broken", check.sides),))
    result = run_check(toothless)
    assert result.verdict is Verdict.POWERLESS
    assert not result.as_expected


def test_a_sampled_check_spends_its_share_and_says_so():
    result = run_check(COVERAGE)
    assert result.alpha == 1e-6
    assert all(c.left.failure == pytest.approx(5e-7) for c in result.comparisons)
    assert run_check(IDENTITY).alpha == 0.0


def fixed(failure, basis=Basis.SAMPLED):
    """Limits that somebody else computed at a level of their own."""
    return lambda instance, seed: (Estimate(0.1, 0.0, 0.2, failure=failure, basis=basis), Estimate.exact(instance.params["p"]))


def test_limits_of_a_fixed_level_are_paid_from_the_same_share():
    wrong = Control("a bound of 0.1", lambda i, s: (Estimate(0.3, 0.25, 0.35, failure=0.01, basis=Basis.SAMPLED), Estimate.exact(0.1)))
    check = replace(COVERAGE, claim=Claim("<="), sides=fixed(0.01), controls=(wrong,), alpha=0.05, instances=lambda b, s: [Instance("p", {"p": 0.5})] * 2)
    result = run_check(check)
    assert result.as_expected
    assert result.alpha == 0.05
    assert "alpha must cover the failure probability of limits that cannot be moved, 0.02" in run_check(replace(check, alpha=0.0)).error
    assert "alpha must cover" in run_check(replace(check, alpha=0.015)).error
    assert run_check(replace(check, sides=fixed(0.01, Basis.FITTED), alpha=0.02)).alpha == 0.0


def test_what_fixed_limits_spend_is_not_spent_again():
    moved = misses(0.01)
    check = replace(
        COVERAGE, claim=Claim("<="), alpha=0.03, instances=lambda b, s: [Instance("p", {"p": 0.5})],
        sides=lambda i, s: (moved(i, s)[0], Estimate(0.05, 0.04, 0.06, failure=0.01, basis=Basis.SAMPLED)),
    )  # fmt: skip
    (comparison,) = run_check(check).comparisons
    assert comparison.left.failure == pytest.approx(0.02)


def test_an_error_inside_a_check_is_reported_and_is_not_as_expected():
    def broken(instance, seed):
        raise ZeroDivisionError("no such side")

    result = run_check(replace(ATTAINED, sides=broken))
    assert "no such side" in result.error
    assert not result.as_expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"controls": ()}, "no control"),
        ({"alpha": 1.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"cost": {"quick": 1.0}}, "cost"),
        ({"expected": Verdict.VIOLATED}, "expected"),
        ({"controls": (ATTAINED.controls[0], ATTAINED.controls[0])}, "different names"),
        ({"controls": (Control("the claim itself", ATTAINED.sides, Verdict.HOLDS),)}, "must include one whose verdict differs from holds"),
    ],
)
def test_a_check_that_could_not_work_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ATTAINED, **change)


def test_sampling_without_a_failure_probability_is_an_error():
    assert "alpha must be positive" in run_check(replace(COVERAGE, alpha=0.0)).error
