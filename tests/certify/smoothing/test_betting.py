"""Betting and ordering certificates: a plain twin, coverage over stopping times, soundness of the simulation index."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import binom

from certify.smoothing import certify_curve
from certify.smoothing.betting import STAKES, BettingCertificate, ordering_bound, ordering_bounds, ordering_weights, simulation_index
from theory import policy_smoothing as bound


def twin_log_wealth(returns, m, *, c, thresholds, floor, refreshes):
    """The wealth against `rho <= m` by the formulas, one episode at a time, guesses refreshed at the given episode numbers."""
    widths = np.diff(thresholds, prepend=floor)
    counts, guess = np.zeros(len(thresholds)), None
    wealth = np.zeros(STAKES.size)
    for i, value in enumerate(returns):
        if i in refreshes:
            guess = (counts + 2.0) / (i + 4.0)
        slope = bound.gaussian_shift_slope(guess, c)
        low = floor + widths @ (bound.gaussian_shift(guess, c) - slope * guess)
        y = low + widths @ (slope * (value >= thresholds))
        wealth += np.log1p(STAKES * (y - m) / (m - low))
        counts += value >= thresholds
    return math.log(np.mean(np.exp(wealth)))


def test_betting_agrees_with_its_plain_twin():
    rng = np.random.default_rng(3)
    thresholds = np.array([0.0, 1.0, 2.0, 3.5])
    returns = rng.choice([-1.0, 0.5, 2.0, 4.0], size=90)
    run = BettingCertificate(shift=0.8, thresholds=thresholds, floor=-1.0)
    refreshes, following = {0}, 1
    for i in range(1, 91):
        if i >= following:
            refreshes.add(i)
            following = max(i + 1, math.ceil(1.15 * i))
    for part in np.split(returns, [7, 8, 40]):
        run.add(part)
    for m in (1.0, 1.5, 2.5):
        expected = twin_log_wealth(returns, m, c=0.8, thresholds=thresholds, floor=-1.0, refreshes=refreshes)
        assert run._log_wealth(m) == pytest.approx(expected, abs=1e-8)


@given(st.lists(st.integers(0, 10).map(float), min_size=1, max_size=60), st.integers(1, 59))
def test_batches_do_not_matter(returns, cut):
    whole = BettingCertificate(shift=0.7, thresholds=np.arange(1.0, 11.0))
    parts = BettingCertificate(shift=0.7, thresholds=np.arange(1.0, 11.0))
    whole.add(returns)
    for part in (returns[:cut], returns[cut:]):
        if part:
            parts.add(part)
    assert whole.lower == pytest.approx(parts.lower, abs=1e-9)
    assert 0.0 <= whole.lower <= 10.0


def test_betting_lower_is_what_is_reached():
    run = BettingCertificate(shift=1.0, thresholds=np.arange(1.0, 21.0))
    assert run.lower == 0.0
    run.add(np.random.default_rng(0).choice([0.0, 20.0], p=[0.02, 0.98], size=800))
    assert run.reached(run.lower)
    assert not run.reached(run.lower + 1e-6)


def test_betting_covers_at_every_time():
    """Misses at any of 40 looks in 160 runs; more than 26 have probability below 1e-6 at alpha = .05."""
    law, c = np.array([0.02, 0.08, 0.9]), 1.0
    truth = bound.wang_transform([0.0, 1.0, 2.0], law, c)
    assert binom.sf(26, 160, 0.05) < 1e-6
    misses = 0
    for run in range(160):
        returns = np.random.default_rng(run).choice(3, p=law, size=200).astype(float)
        certificate = BettingCertificate(shift=c, thresholds=[1.0, 2.0])
        missed = False
        for part in np.split(returns, 40):
            certificate.add(part)
            missed = missed or certificate.reached(truth * (1 + 1e-9))
        misses += missed
    assert misses <= 26


def test_betting_charges_for_inexact_noise():
    """Q(J >= s) >= g_c(p - e) - e for every threshold: the sum is never lower than without e by more than the range times 1 - g_c(1 - e) + e."""
    exact, rough = (BettingCertificate(shift=1.0, thresholds=np.arange(1.0, 11.0), noise_tv=e) for e in (0.0, 1e-3))
    for certificate in (exact, rough):
        certificate.add(np.full(800, 10.0))
    loss = 1.0 - float(bound.gaussian_shift(1.0 - 1e-3, 1.0)) + 1e-3
    assert rough.lower == pytest.approx(exact.lower - 10.0 * loss, abs=1e-6)
    assert not rough.reached(exact.lower - 9.9 * loss)
    p = np.linspace(0.01, 1.0, 400)
    assert np.all(bound.gaussian_shift(p, 1.0) - (bound.gaussian_shift(np.maximum(p - 1e-3, 0.0), 1.0) - 1e-3) <= loss + 1e-12)


def test_ordering_value_is_the_least_over_samples():
    """For one simulated uniform sample the hull value solves the linear program it stands for."""
    rng = np.random.default_rng(1)
    n, c, tau = 12, 1.0, 0.25
    weights = ordering_weights(n, c)
    from certify.smoothing._kernels_ordering import hull_values

    for _ in range(20):
        heights = np.asarray(bound.gaussian_shift(1 - np.sort(rng.random(n)), c))
        out = np.empty(1)
        hull_values(weights, heights, np.array([tau]), out)
        program = linprog(heights, A_ub=np.array([-weights, np.ones(n)]), b_ub=[-tau, 1.0], bounds=(0, None))
        expected = program.fun if program.status == 0 else heights[np.argmax(weights)]
        assert out[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("simulations", [50, 400, 1000])
def test_simulation_index_is_the_largest_that_is_sound(simulations):
    alpha = 0.05
    delta = alpha / 50
    k = simulation_index(simulations, alpha)
    if k:
        assert binom.cdf(k - 1, simulations, alpha - delta) <= delta
    assert binom.cdf(k, simulations, alpha - delta) > delta


def test_ordering_coverage_and_its_control():
    law, c, runs = np.array([0.03, 0.0, 0.97]), 1.5, 1500
    samples = np.sort(np.random.default_rng(5).choice(3, p=law, size=(runs, 60)).astype(float), axis=1)
    truth = bound.wang_transform([0.0, 1.0, 2.0], law, c)
    limit = binom.isf(1e-6, runs, 0.05)
    options = {"shift": c, "ceiling": 2.0, "floor": 0.0, "simulations": 300, "seed": 9}
    assert np.sum(ordering_bounds(samples, alpha=0.05, **options) > truth) <= limit
    assert np.sum(ordering_bounds(samples, alpha=0.6, **options) > truth) > limit


def test_ordering_beats_the_union_for_a_near_perfect_policy():
    returns = np.r_[0.0, np.full(399, 20.0)]
    ordering = ordering_bound(returns, shift=2.5, ceiling=20.0)
    union = certify_curve(returns, sigma=1.0, budgets=[2.5], band="clopper-pearson", thresholds=np.arange(1.0, 21.0)).lower[0]
    assert ordering > union
    assert ordering <= ordering_bound(np.full(400, 20.0), shift=2.5, ceiling=20.0)


def test_too_few_simulations_prove_nothing():
    assert ordering_bound([5.0] * 20, shift=1.0, ceiling=5.0, simulations=5) == 0.0


BAD = [
    pytest.param(lambda: BettingCertificate(shift=-1.0, thresholds=[1.0]), "shift must not be negative", id="shift"),
    pytest.param(lambda: BettingCertificate(shift=math.nan, thresholds=[1.0]), "shift must be a finite number", id="shift-nan"),
    pytest.param(lambda: BettingCertificate(shift=1.0, thresholds=[2.0, 1.0]), "thresholds must be sorted", id="unsorted"),
    pytest.param(lambda: BettingCertificate(shift=1.0, thresholds=[-1.0]), "thresholds must be at least floor", id="floor"),
    pytest.param(lambda: BettingCertificate(shift=1.0, thresholds=[1.0], alpha=2.0), "alpha must be in", id="alpha"),
    pytest.param(lambda: BettingCertificate(shift=1.0, thresholds=[1.0]).add([-1.0]), "returns must be finite and at least 0", id="return"),
    pytest.param(lambda: ordering_bound([5.0], shift=1.0, ceiling=4.0), "ceiling must be above floor", id="ceiling"),
    pytest.param(lambda: ordering_bound([5.0], shift=-1.0, ceiling=5.0), "shift must not be negative", id="ordering-shift"),
    pytest.param(lambda: ordering_bound([5.0], shift=1.0, ceiling=5.0, simulations=0), "simulations must be an integer", id="simulations"),
    pytest.param(lambda: ordering_bound([5.0], shift=1.0, ceiling=5.0, alpha=0.0), "alpha must be in", id="ordering-alpha"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
