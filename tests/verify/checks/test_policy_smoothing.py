"""The checks of policy smoothing: verdicts as expected, controls caught, purity, figures; and audit figures of published findings."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure

from theory.policy_smoothing import GUARANTEES, gaussian_shift
from verify.check import aggregate, compare
from verify.checks.policy_smoothing import CHECKS
from verify.checks.policy_smoothing.breaks import adaptive_laplace, best_static_laplace, in_expectation, table_noise, two_sided_test
from verify.checks.policy_smoothing.confidence import published_miss
from verify.types import Instance

CHEAP = [check for check in CHECKS if check.key.split("/")[1] not in ("G8d", "G8e")]
IDS = [check.key.split("/")[1] for check in CHECKS]


def test_one_check_for_each_statement():
    assert [check.key for check in CHECKS] == [guarantee.key for guarantee in GUARANTEES]


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_verdict_and_controls(check):
    comparisons = compare(check.claim, check.sides, check.instances("quick", 1), lambda index: 100 + index)
    assert aggregate(check.claim, comparisons, check.alpha) is check.expected
    for control in check.controls:
        claim = control.claim or check.claim
        instances = (control.instances or check.instances)("quick", 1)
        found = aggregate(claim, compare(claim, control.sides, instances, lambda index: 100 + index), check.alpha)
        assert found is control.required, control.name


@pytest.mark.parametrize("check", CHEAP, ids=[check.key.split("/")[1] for check in CHEAP])
def test_instances_survive_a_file_and_sides_are_pure(check):
    first = next(iter(check.instances("quick", 3)))
    again = Instance(**json.loads(json.dumps(first.to_json())))
    assert str(check.sides(first, 5)) == str(check.sides(again, 5))
    assert [i.to_json() for i in check.instances("quick", 3)] == [i.to_json() for i in check.instances("quick", 3)]


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_figures_have_labels(check):
    figure = Figure(layout="constrained")
    check.figure(figure)
    assert figure.axes
    assert all(axes.get_xlabel() for axes in figure.axes)
    assert any(axes.get_legend() for axes in figure.axes)


@pytest.mark.parametrize("check", [c for c in CHECKS if c.strategy], ids=[c.key.split("/")[1] for c in CHECKS if c.strategy])
def test_strategies_give_instances_that_run(check):
    from hypothesis import given, settings

    @settings(max_examples=15)
    @given(check.strategy())
    def run(instance):
        check.sides(instance, 0)

    run()


def test_figures_of_what_breaks_the_bound():
    assert two_sided_test(0.5, 1.0) == pytest.approx(0.0940, abs=5e-5)
    assert gaussian_shift(0.5, 1.0) == pytest.approx(0.1587, abs=5e-5)
    assert in_expectation(0.9999, 1.0) <= 0.9611
    assert gaussian_shift(0.9, 2**0.5) == pytest.approx(0.4472, abs=5e-5)
    assert adaptive_laplace(0.806) < 0.4455 < 0.462 < best_static_laplace(0.806)


@pytest.mark.parametrize(("c", "coverage"), [(0.5, 0.99), (1.0, 0.97), (1.5, 0.93), (2.0, 0.87), (2.5, 0.74)])
def test_coverage_of_the_published_median_script_at_best(c, coverage):
    assert 1 - published_miss(1000, c) <= coverage + 0.005


def test_sixteen_bit_table_needs_the_error_twice():
    clean, attacked, eps = table_noise(16, 0.125, 1.0)
    once = gaussian_shift((clean - eps).clip(0), 1.0)
    assert (attacked < once - 1e-9).any()
    assert (attacked >= once - eps).all()
