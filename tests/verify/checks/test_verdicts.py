"""Checks of the papers without a file of their own here: verdicts, controls, determinism, and a bound made smaller that must be noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from verify import Verdict
from verify.checks import distributional_dp, dr_rpo, martingale_td, r2pvi
from verify.figures import render
from verify.runner import run_check
from verify.types import Comparison, Estimate

CHECKS = [check for module in (distributional_dp, dr_rpo, martingale_td, r2pvi) for check in module.CHECKS]
FAST = [check for check in CHECKS if check.cost["quick"] <= 1.0]


@pytest.mark.parametrize("check", FAST, ids=lambda check: check.key)
def test_verdict_and_controls(check):
    result = run_check(check, seed=3)
    assert result.error == ""
    assert result.verdict is check.expected
    assert all(control.passed for control in result.controls.values())


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in CHECKS if check not in FAST], ids=lambda check: check.key)
def test_verdict_and_controls_of_the_long_ones(check):
    assert run_check(check, seed=3).as_expected


@pytest.mark.parametrize("check", FAST[::6], ids=lambda check: check.key)
def test_the_same_seed_gives_the_same_sides(check):
    one, two = (run_check(check, seed=5) for _ in range(2))
    for a, b in zip(one.comparisons, two.comparisons, strict=True):
        assert a.instance == b.instance
        assert str(a.left.value) == str(b.left.value)
        assert str(a.right.value) == str(b.right.value)


def inequality(check):
    return check.claim.relation in ("<=", ">=") and check.expected is Verdict.HOLDS and check.claim.quantifier == "all" and check.claim.alternative is None


@pytest.mark.parametrize("check", [check for check in FAST if inequality(check)], ids=lambda check: check.key)
def test_a_bound_made_smaller_than_the_tightest_instance_is_rejected(check):
    """Scale the bound of the tightest comparison just past what it achieves: the comparison itself must notice."""
    result = run_check(check, seed=3)
    known = [c for c in result.comparisons if c.sensitivity is not None]
    if not known:
        pytest.skip("no comparison with a positive bound")
    worst = max(known, key=lambda c: c.tightness or 0.0)
    factor = worst.sensitivity * (0.99 if check.claim.relation == "<=" else 1.01)
    right = Estimate(worst.right.value * factor, worst.right.lower * factor, worst.right.upper * factor)
    left = replace(worst.left, relimit=None)
    assert Comparison(worst.instance, left, right, check.claim).verdict is Verdict.VIOLATED


@pytest.mark.parametrize("check", FAST[::11], ids=lambda check: check.key)
def test_figures_are_drawn(check):
    assert render(check, "svg").startswith(b"<?xml")
