"""Quantiles, strata, plans and the bounds of other works."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from certify.smoothing import certify_curve
from certify.smoothing.comparators import compare_bounds
from certify.smoothing.planner import plan
from certify.smoothing.protocols import Protocol
from certify.smoothing.quantiles import certify_quantile, order_index
from certify.smoothing.returns import Returns
from certify.smoothing.strata import certify_stratified
from theory import policy_smoothing as bound


@given(st.integers(1, 300), st.floats(0.01, 0.99), st.sampled_from([0.2, 0.05, 1e-3]))
def test_order_index_is_the_count_of_small_tails(n, u, alpha):
    expected = int(np.sum(binom.cdf(np.arange(n + 1), n, u) <= alpha))
    assert abs(order_index(n, u, alpha) - expected) <= (0 if not np.any(np.isclose(binom.cdf(np.arange(n + 1), n, u), alpha, rtol=1e-9)) else 1)


def test_quantiles_fall_with_the_budget_and_end_at_nothing():
    certificate = certify_quantile(np.arange(1000.0), sigma=0.5, budgets=[0.0, 0.5, 1.0, 3.0])
    assert np.all(np.diff(certificate.lower[:3]) < 0)
    assert certificate.lower[3] == -np.inf
    assert certificate.order[3] == 0
    assert np.all(np.isinf(certificate.upper))
    assert np.all(certificate.lower <= certificate.value)
    together = certify_quantile(np.arange(1000.0), sigma=0.5, budgets=[0.0, 0.5], simultaneous=True)
    assert np.all(together.lower < certificate.lower[:2])


def test_quantile_coverage_of_an_exact_law():
    """Uniform law, so the attacked median is at least Phi(-c): misses beyond the binomial limit have probability 1e-6."""
    runs, c = 1500, 1.0
    u = float(bound.quantile_level(0.5, c))
    draws = np.random.default_rng(2).random((runs, 200))
    k = order_index(200, u, 0.05)
    misses = np.sum(np.sort(draws, axis=1)[:, k - 1] > u)
    assert misses <= binom.isf(1e-6, runs, 0.05)
    assert np.sum(np.sort(draws, axis=1)[:, k + 4] > u) > binom.isf(1e-6, runs, 0.05)


def test_quantiles_of_sampled_returns_keep_their_noise_and_its_errors():
    returns = Returns(np.arange(1000.0), env_id="CartPole-v1", sigma=0.5, engine="numba")
    assert certify_quantile(returns, sigma=0.5, budgets=[0.5]).order[0] == certify_quantile(returns.values, sigma=0.5, budgets=[0.5]).order[0]
    with pytest.raises(ValueError, match="sigma must be that of the returns"):
        certify_quantile(returns, sigma=2.0, budgets=[0.5])
    with pytest.raises(ValueError, match="noise generator"):
        certify_quantile(returns, sigma=0.5, budgets=[5.0])
    rough = certify_quantile(returns.values, sigma=0.5, budgets=[0.5], protocol=Protocol(noise_tv=0.01, disagreement=0.02))
    assert rough.level[0] == pytest.approx(bound.gaussian_shift(0.49, 1.0) - 0.03)
    assert certify_quantile(returns.values, sigma=0.5, budgets=[5.0], protocol=Protocol(noise_tv=0.1)).order[0] == 0


def test_sampled_returns_are_taken_everywhere():
    returns = Returns(np.r_[np.zeros(5), np.full(95, 10.0)], env_id="x", sigma=1.0, frames=4, protocol="frames-noised-per-copy", engine="numba")
    found = compare_bounds(returns, sigma=1.0, budgets=[0.5], floor=0.0, ceiling=10.0)
    whole = compare_bounds(returns.values, sigma=1.0, budgets=[1.0], floor=0.0, ceiling=10.0)  # four draws a frame: twice the budget
    assert [float(c.lower[0]) for c in found] == pytest.approx([float(c.lower[0]) for c in whole])
    assert plan(sigma=1.0, budget=0.5, target=5.0, pilot=returns).forecast[0] == plan(sigma=1.0, budget=0.5, target=5.0, pilot=returns.values).forecast[0]


def test_strata_weigh_their_cells():
    cells = [np.ones(400), np.r_[np.zeros(100), np.ones(300)]]
    certificate = certify_stratified(cells, [0.25, 0.75], sigma=1.0, budgets=[0.5, 1.0])
    parts = [certify_curve(cell, sigma=1.0, budgets=[0.5, 1.0], alpha=0.025).lower for cell in cells]
    assert certificate.lower == pytest.approx(0.25 * parts[0] + 0.75 * parts[1], rel=1e-12)
    assert np.all(certificate.lower <= certificate.value)
    assert np.all(np.isinf(certificate.upper))


def test_strata_coverage():
    """Two cells of known success; misses beyond the binomial limit have probability 1e-6."""
    rng = np.random.default_rng(8)
    truth = bound.conditional_shift([0.5, 0.5], [0.99, 0.7], 1.0)
    misses = sum(
        certify_stratified([(rng.random(80) < 0.99) * 1.0, (rng.random(80) < 0.7) * 1.0], [0.5, 0.5], sigma=1.0, budgets=[1.0]).lower[0] > truth
        for _ in range(200)
    )
    assert misses <= binom.isf(1e-6, 200, 0.05)


def test_plan_agrees_with_the_certificate_of_perfect_data():
    outlook = plan(sigma=0.2, budget=0.4, target=150.0, ceiling=200.0, episodes=[100, 800, 10_000])
    for n, reach in zip(outlook.episodes, outlook.ceiling_bound, strict=True):
        perfect = certify_curve(np.full(n, 200.0), sigma=0.2, budgets=[0.4], thresholds=[200.0], band="clopper-pearson").lower[0]
        assert reach == pytest.approx(perfect, rel=1e-9)
    assert outlook.enough == 800
    assert outlook.ceiling_bound[1] >= 150.0 > plan(sigma=0.2, budget=0.4, target=150.0, ceiling=200.0, episodes=[799]).value[0]
    assert np.all(np.diff(outlook.needed) < 0)
    assert outlook.needed[1] <= 200.0


def test_plan_without_ceiling_beyond_reach_and_with_pilot():
    blind = plan(sigma=0.2, budget=0.4, target=150.0)
    assert blind.enough is None
    assert np.all(np.isnan(blind.ceiling_bound))
    assert plan(sigma=0.1, budget=2.0, target=199.0, ceiling=200.0).enough is None
    pilot = plan(sigma=0.2, budget=0.2, target=100.0, pilot=[200.0] * 95 + [20.0] * 5, episodes=[100, 10_000])
    assert pilot.forecast[0] < pilot.forecast[1] < 200.0


def test_comparators_keep_their_order():
    returns = np.r_[np.zeros(20), np.full(80, 5.0), np.full(900, 10.0)]
    found = {c.name: c for c in compare_bounds(returns, sigma=1.0, budgets=[0.0, 0.5, 1.5], floor=0.0, ceiling=10.0)}
    assert np.all(found["CROP, lower limit of the mean"].lower <= found["total variation"].lower)
    assert np.all(found["ReCePS, true floor"].lower <= found["this library"].lower + 1e-9)
    assert found["S-DQN median, as published"].lower[2] >= found["median"].lower[2]


def test_an_unseen_zero_breaks_the_sample_minimum_only():
    """The attacked mean of 200 with an atom 2e-5 at 0 is 37.2 of 200 or less at c = 5; a sample without it says otherwise."""
    truth = bound.wang_transform([0.0, 200.0], [2e-5, 1 - 2e-5], 5.0)
    assert truth <= 37.22
    found = {c.name: c.lower[0] for c in compare_bounds(np.full(10_000, 200.0), sigma=0.2, budgets=[1.0], floor=0.0, ceiling=200.0)}
    assert found["ReCePS, smallest return as floor"] > truth
    assert found["this library"] <= truth


BAD = [
    pytest.param(lambda: certify_quantile([1.0], sigma=1.0, budgets=[0.0], q=0.0), "q must be in", id="q"),
    pytest.param(lambda: certify_quantile([], sigma=1.0, budgets=[0.0]), "returns must be a non-empty", id="returns"),
    pytest.param(lambda: certify_quantile([1.0], sigma=-1.0, budgets=[0.0]), "sigma must be > 0", id="sigma"),
    pytest.param(lambda: certify_quantile([1.0], sigma=1.0, budgets=[0.0], protocol="per-step-prefix"), "prefix form", id="prefix"),
    pytest.param(lambda: order_index(10, 1.5, 0.05), "u must be in", id="u"),
    pytest.param(lambda: certify_stratified([[1.0]], [0.5, 0.5], sigma=1.0, budgets=[0.0]), "weights must be as many as cells", id="weights"),
    pytest.param(lambda: certify_stratified([[1.0], [1.0]], [0.5, 0.4], sigma=1.0, budgets=[0.0]), "weights must sum to 1", id="sum"),
    pytest.param(lambda: certify_stratified([[1.0]], [1.0], sigma=1.0, budgets=[0.0], alpha=1.0), "alpha must be in", id="alpha"),
    pytest.param(lambda: plan(sigma=0.2, budget=0.4, target=0.0), "target must be above floor", id="target"),
    pytest.param(lambda: plan(sigma=0.2, budget=0.4, target=math.nan), "target must be a finite", id="target-nan"),
    pytest.param(lambda: plan(sigma=0.2, budget=0.4, target=5.0, ceiling=4.0), "ceiling must be at least target", id="ceiling"),
    pytest.param(lambda: plan(sigma=0.2, budget=-0.4, target=5.0), "budget must be finite and at least 0", id="budget"),
    pytest.param(lambda: plan(sigma=0.2, budget=0.4, target=5.0, episodes=[0]), "episodes must be finite and at least 1", id="episodes"),
    pytest.param(lambda: plan(sigma=0.2, budget=0.4, target=5.0, protocol="per-step-prefix"), "prefix form", id="plan-prefix"),
    pytest.param(lambda: plan(sigma=0.2, budget=0.4, target=5.0, protocol=Protocol(noise_tv=0.1)), "noise_tv = 0", id="plan-noise"),
    pytest.param(lambda: compare_bounds([5.0], sigma=1.0, budgets=[0.0], floor=0.0, ceiling=4.0), "ceiling must not be below", id="comparators"),
    pytest.param(lambda: compare_bounds([5.0], sigma=1.0, budgets=[0.0], floor=6.0, ceiling=7.0), "returns must be finite and at least 6", id="floor"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
