"""Rounding goes outward: every number that a certificate rests on against 50-digit or rational arithmetic, from both sides."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.smoothing import bands, certified_budget, certified_radius, certified_threshold, certify_curve
from certify.smoothing.bands import clopper_pearson_lower, dkw_deviation, survival_band
from certify.smoothing.betting import STAKES, BettingCertificate, ordering_bounds, ordering_weights
from certify.smoothing.comparators import compare_bounds
from certify.smoothing.games import Game, static_value, worst_case_by_start, worst_case_per_step, worst_case_value
from certify.smoothing.planner import EPISODES, plan
from certify.smoothing.protocols import Protocol
from certify.smoothing.quantiles import certify_quantile, order_index
from certify.smoothing.strata import certify_stratified
from theory import policy_smoothing as bound

EPS = 2.0**-52


def inverse_normal(p: mpmath.mpf) -> mpmath.mpf:
    """Phi^-1(p) by Newton from the double, for p in (0, 1/2]; the caller mirrors."""
    from scipy.special import ndtri_exp

    z = mpmath.mpf(float(ndtri_exp(float(mpmath.log(p)))))
    for _ in range(4):
        z -= (mpmath.ncdf(z) - p) / mpmath.npdf(z)
    return z


def shifted(lower: float, miss: float, c: mpmath.mpf) -> mpmath.mpf:
    """g_c at the larger of two lower limits of a probability, p and 1 - (1 - p)."""
    p, q = mpmath.mpf(lower), mpmath.mpf(miss)
    if 1 - q > p:
        p = 1 - q
    else:
        q = 1 - p
    if p <= 0:
        return mpmath.mpf(0)
    if q <= 0:
        return mpmath.mpf(1)
    z = inverse_normal(p) if p <= 0.5 else -inverse_normal(q)
    return mpmath.ncdf(z - c)


curves = st.lists(st.integers(0, 12).map(float), min_size=2, max_size=30)


@settings(max_examples=40)
@given(curves, st.sampled_from(["clopper-pearson", "dkw", "equal-local-level"]), st.sampled_from([0.0, -7.0, -1000.0]), st.floats(0.01, 3.0), st.sampled_from([0.0, 0.003]),
       st.sampled_from([0.0, 0.01]))  # fmt: skip
def test_a_curve_is_below_its_formula_and_close_to_it(returns, band, floor, budget, noise_tv, apart):
    protocol = Protocol(noise_tv=noise_tv, disagreement=apart)
    certificate = certify_curve(returns, sigma=0.7, budgets=[0.0, budget], floor=floor, band=band, protocol=protocol)
    with mpmath.workdps(50):
        for amount, lower in zip((0.0, budget), certificate.lower, strict=True):
            c = mpmath.mpf(amount) / mpmath.mpf(0.7)
            gain = mpmath.mpf(0)
            for width, low, miss in zip(np.diff(certificate.thresholds, prepend=floor), certificate.survival_lower, certificate.survival_miss, strict=True):
                less = mpmath.mpf(noise_tv) + mpmath.mpf(apart)
                gain += mpmath.mpf(width) * max(shifted(max(low - less, 0), min(miss + less, 1), c) - mpmath.mpf(noise_tv), 0)
            exact = mpmath.mpf(floor) + gain
            assert mpmath.mpf(lower) <= exact
            assert exact - mpmath.mpf(lower) <= EPS * (150 * abs(floor) + 6000 * float(gain)) + 1e-300


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 500), st.floats(0.0, 1.0), st.integers(1, 200),
       st.sampled_from(["total", "total-norms", "per-step", "per-step-prefix", "whitened"]))  # fmt: skip
def test_an_effective_budget_is_rounded_up(budget, sigma, copies, samples, steps, rounding, dimension, kind):
    protocol = Protocol(budget=kind, steps=steps, copies=copies, samples=samples, rounding=rounding, dimension=dimension)
    found = protocol.shift([budget], sigma)[0]
    with mpmath.workdps(50):
        amount, scale, grid = mpmath.mpf(budget), mpmath.mpf(sigma), mpmath.mpf(rounding)
        vectors = steps if kind == "per-step" else 1
        # a perturbation d becomes one of size at most |d| + grid in every coordinate; over T steps the l2 norms add
        noised = 1 if kind == "per-step-prefix" else steps
        off = grid * mpmath.sqrt(noised * dimension)
        total = amount * mpmath.sqrt(vectors) + off
        if kind == "whitened":
            total, scale = amount + off / scale, mpmath.mpf(1)
        exact = total * mpmath.sqrt(copies) * mpmath.sqrt(samples) / scale
        assert exact <= mpmath.mpf(found) <= exact * (1 + 14 * EPS)


@given(st.lists(st.floats(0.0, 60.0), min_size=1, max_size=8, unique=True).map(sorted), st.one_of(st.none(), st.integers(1, 50)))
def test_the_prefix_form_counts_the_steps_before_a_threshold(thresholds, steps):
    factors = Protocol(budget="per-step-prefix", steps=steps).spread(np.array(thresholds))
    for threshold, factor in zip(thresholds, factors, strict=True):
        seen = max(math.ceil(threshold) - 1, 0)
        seen = seen if steps is None else min(seen, steps)
        assert mpmath.sqrt(seen) <= mpmath.mpf(factor) <= mpmath.sqrt(seen) * (1 + 3 * EPS)
    assert Protocol().spread(np.array(thresholds)) is None


@given(st.floats(1e-9, 0.3), st.floats(0.0, 4.0))
def test_the_loss_to_inexact_noise_is_the_largest_over_all_probabilities(noise_tv, shift):
    loss = Protocol(noise_tv=noise_tv).loss(shift)
    with mpmath.workdps(50):
        kept = shifted(1 - mpmath.mpf(noise_tv), mpmath.mpf(noise_tv), mpmath.mpf(shift))
        exact = 1 - kept + mpmath.mpf(noise_tv)
        assert min(exact, 1) <= mpmath.mpf(loss) <= exact * (1 + mpmath.mpf("2e-9"))
    p = np.linspace(noise_tv, 1.0, 200)
    lost = bound.gaussian_shift(p, shift) - bound.gaussian_shift(p - noise_tv, shift) + noise_tv
    assert np.all(np.minimum(lost, 1.0) <= loss * (1 + 1e-6) + 1e-14)
    assert loss <= 1.0
    assert Protocol().loss(shift) == 0.0


@given(st.integers(1, 10**7), st.floats(1e-12, 0.5), st.booleans())
def test_the_dkw_deviation_is_rounded_up(n, alpha, one_sided):
    with mpmath.workdps(50):
        exact = mpmath.sqrt(mpmath.log((1 if one_sided else 2) / mpmath.mpf(alpha)) / (2 * n))
        assert exact <= mpmath.mpf(dkw_deviation(n, alpha, one_sided=one_sided)) <= exact * (1 + 14 * EPS)


@given(st.integers(1, 5000), st.data(), st.floats(1e-6, 0.5), st.booleans())
def test_the_dkw_band_is_rounded_outward(n, data, alpha, one_sided):
    counts = np.array(data.draw(st.lists(st.integers(0, n), min_size=1, max_size=6)))
    band = survival_band(counts, n, alpha=alpha, band="dkw-one-sided" if one_sided else "dkw", thresholds=1)
    deviation = Fraction(dkw_deviation(n, alpha, one_sided=one_sided))
    assert band.level == float(deviation)
    for count, lower, miss in zip(counts.tolist(), band.lower, band.miss, strict=True):
        exact = max(Fraction(count, n) - deviation, Fraction(0))
        assert exact - Fraction(1, 10**15) <= Fraction(lower) <= exact
        rest = min(1 - Fraction(count, n) + deviation, Fraction(1))
        assert rest <= Fraction(miss) <= rest + Fraction(2, 10**15)


@given(st.floats(1e-9, 0.9), st.integers(1, 10**6))
def test_a_union_spends_no_more_than_alpha(alpha, thresholds):
    band = survival_band([3], 10, alpha=alpha, band="clopper-pearson", thresholds=thresholds)
    assert Fraction(alpha) * (1 - Fraction(1, 10**15)) <= thresholds * Fraction(band.level) <= Fraction(alpha)
    assert (band.lower[0], band.miss[0]) == tuple(x[0] for x in clopper_pearson_lower([3], 10, band.level))


@pytest.mark.parametrize("roughness", [0.0, 1e-8, 1e-6])
def test_a_level_is_safe_where_the_crossing_probability_is_rough(monkeypatch, roughness):
    def crossing(n, level, alpha):
        return n * level * 0.4 * (1.0 + roughness * math.sin(1e9 * level / alpha))

    monkeypatch.setattr(bands, "_crossing", crossing)
    level = bands._solve_level(50, 0.05)
    assert crossing(50, level, 0.05) <= 0.05
    assert level == pytest.approx(0.05 / 20, rel=1e-5)


def exact_lower_tail(j: int, n: int, u: Fraction) -> Fraction:
    a, d = u.numerator, u.denominator
    return Fraction(sum(comb(n, i) * a**i * (d - a) ** (n - i) for i in range(j + 1)), d**n)


@given(st.integers(1, 40), st.integers(1, 255), st.data())
def test_an_order_statistic_spends_no_more_than_alpha_even_on_the_edge(n, part, data):
    """The level is the tail itself, rounded to a double: to the last place it is on one side or the other."""
    u = Fraction(part, 256)
    j = data.draw(st.integers(0, n - 1))
    edge = exact_lower_tail(j, n, u)
    for alpha in (float(edge), float(edge) * (1 + 1e-9), float(edge) * (1 - 1e-9), data.draw(st.floats(1e-9, 0.999))):
        if not 0.0 < alpha < 1.0:
            continue
        k = order_index(n, float(u), alpha)
        assert k == 0 or exact_lower_tail(k - 1, n, u) <= Fraction(alpha)
        assert k == n + 1 or exact_lower_tail(k, n, u) > Fraction(alpha) * (1 - Fraction(3, 10**10)) or k == n
    assert order_index(n, 0.0, 0.05) == 0
    assert order_index(n, 1.0, 0.05) == n


@given(st.floats(0.02, 0.98), st.floats(0.0, 3.0), st.sampled_from([0.0, 0.004]), st.sampled_from([0.0, 0.01]))
def test_the_level_of_a_quantile_is_rounded_down(q, budget, noise_tv, apart):
    found = certify_quantile(np.arange(50.0), sigma=0.9, budgets=[budget], q=q, protocol=Protocol(noise_tv=noise_tv, disagreement=apart))
    with mpmath.workdps(50):
        reduced = mpmath.mpf(q) - mpmath.mpf(noise_tv)
        exact = shifted(reduced, 1 - reduced, mpmath.mpf(budget) / mpmath.mpf(0.9)) - mpmath.mpf(noise_tv) - mpmath.mpf(apart)
        assert mpmath.mpf(found.level[0]) <= max(exact, 0)
        assert exact - mpmath.mpf(found.level[0]) <= 2e-13
    k = order_index(50, float(found.level[0]), 0.05)
    assert found.order[0] == k
    assert found.lower[0] == (k - 1 if k else -np.inf)
    assert found.value[0] == int(found.level[0] * 50)


@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-3, 1 - 1e-3), st.floats(0.01, 10.0))
def test_a_radius_is_rounded_down(p, q, sigma):
    with mpmath.workdps(50):
        quantiles = [inverse_normal(mpmath.mpf(x)) if x <= 0.5 else -inverse_normal(1 - mpmath.mpf(x)) for x in (p, q)]
        exact = mpmath.mpf(sigma) * (quantiles[0] - quantiles[1])
        found = mpmath.mpf(certified_radius(p, q, sigma=sigma))
        assert found <= exact
        assert exact - found <= EPS * (60 * float(abs(exact)) + 1800 * sigma)


def test_a_budget_and_a_threshold_are_the_largest():
    certificate = certify_curve([3.0] * 40 + [8.0] * 200, sigma=0.5, budgets=[0.0], floor=-2.0)
    for target in (-1.0, 2.0, 5.0):
        budget = certified_budget(certificate, target)
        assert certificate.evaluate([budget])[0] >= target > certificate.evaluate([budget * (1 + 1e-11)])[0]
    for q in (0.3, 0.9):
        for budget in (0.0, 0.3, 0.9):
            kept = [bound.gaussian_shift(p, budget / 0.5) for p in certificate.survival_lower]
            reached = [t for t, k in zip(certificate.thresholds, kept, strict=True) if k >= q]
            assert certified_threshold(certificate, q, budget=budget) == max(reached, default=-2.0)


def test_a_plan_with_a_floor_says_exactly_how_many_episodes_are_enough():
    for floor, target, ceiling in ((0.0, 150.0, 200.0), (-50.0, 10.0, 30.0), (5.0, 6.0, 500.0), (1.0, 499.0, 500.0)):
        outlook = plan(sigma=0.2, budget=0.1, target=target, floor=floor, ceiling=ceiling, episodes=[7, 4000])
        n = outlook.enough

        def best(n, floor=floor, ceiling=ceiling):
            absent = -math.expm1(math.log(0.05) / n)
            return floor + (ceiling - floor) * float(bound.gaussian_shift(1 - absent, 0.5, complement=absent))

        assert best(n) >= target
        assert n == 1 or best(n - 1) < target
        for size, needed, reach in zip(outlook.episodes, outlook.needed, outlook.ceiling_bound, strict=True):
            assert reach == pytest.approx(best(size), rel=1e-12)
            share = (best(size) - floor) / (ceiling - floor)
            assert floor + (needed - floor) * share == pytest.approx(target, rel=1e-12)
            assert outlook.radius[list(outlook.episodes).index(size)] == pytest.approx(certified_radius(0.05 ** (1 / size), 0.5, sigma=0.2), abs=1e-9)
    assert plan(sigma=0.2, budget=0.1, target=5.0, ceiling=5.0).enough is None
    assert EPISODES[0] == 100
    assert EPISODES[-1] == 10**7
    assert all(3 <= b / a <= 10 for a, b in itertools.pairwise(EPISODES))


@pytest.mark.parametrize("band", ["equal-local-level", "dkw", "dkw-one-sided"])
def test_a_plan_for_a_band_is_the_certificate_of_perfect_data(band):
    setting = {"sigma": 0.2, "budget": 0.1, "target": 100.0, "floor": -3.0, "ceiling": 200.0}
    outlook = plan(**setting, band=band, episodes=[60, 500])
    for n, reach, radius in zip(outlook.episodes, outlook.ceiling_bound, outlook.radius, strict=True):
        perfect = certify_curve(np.full(n, 200.0), sigma=0.2, budgets=[0.1, radius], floor=-3.0, band=band)
        assert reach == pytest.approx(perfect.lower[0], rel=1e-10)
        assert perfect.lower[1] == pytest.approx(0.5 * (200 - 3), rel=1e-9)
    enough = [certify_curve(np.full(outlook.enough - k, 200.0), sigma=0.2, budgets=[0.1], floor=-3.0, band=band).lower[0] for k in (0, 1)]
    assert enough[1] < 100.0 <= enough[0] + 1e-9
    assert outlook.enough > plan(**setting).enough
    hopeless = plan(sigma=0.1, budget=1.0, target=199.0, ceiling=200.0, band=band, episodes=[10])
    assert hopeless.enough is None
    assert outlook.band == band


def test_a_plan_that_outgrows_its_band_has_no_answer(monkeypatch):
    from certify.smoothing import planner

    setting = {"sigma": 0.2, "budget": 0.2, "target": 150.0, "ceiling": 200.0, "band": "equal-local-level"}
    enough = plan(**setting, episodes=[10]).enough
    for most, answer in ((enough, enough), (enough - 1, None)):
        monkeypatch.setitem(planner.MOST, "equal-local-level", most)
        assert plan(**setting, episodes=[10]).enough == answer
    assert plan(**setting).episodes.max() <= enough
    with pytest.raises(ValueError, match="band must be one of"):
        plan(**{**setting, "band": "plugin"})


def test_a_pilot_is_carried_to_every_number_of_episodes():
    values = np.r_[np.full(10, 2.0), np.full(30, 5.0), np.full(60, 9.0)]
    outlook = plan(sigma=1.0, budget=0.5, target=3.0, floor=1.0, pilot=values, episodes=[100, 5000])
    for n, forecast in zip((100, 5000), outlook.forecast, strict=True):
        repeated = np.repeat(values, n // 100)
        certificate = certify_curve(repeated, sigma=1.0, budgets=[0.5], floor=1.0, thresholds=[2.0, 5.0, 9.0], band="clopper-pearson")
        assert forecast == pytest.approx(certificate.lower[0], rel=1e-12)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 9).map(float), min_size=2, max_size=12), min_size=1, max_size=4), st.data(), st.sampled_from([0.0, -40.0]))
def test_strata_average_exactly_and_downward(cells, data, floor):
    shares = data.draw(st.lists(st.integers(1, 9), min_size=len(cells), max_size=len(cells)))
    weights = np.array(shares) / sum(shares)
    found = certify_stratified(cells, weights, sigma=1.0, budgets=[0.0, 0.7], floor=floor)
    for i in range(2):
        exact = sum((Fraction(s, sum(shares)) * Fraction(cell.lower[i]) for s, cell in zip(shares, found.cells, strict=True)), Fraction(0))
        assert exact - Fraction(1, 10**12) <= Fraction(found.lower[i]) <= exact + Fraction(4, 10**16) * abs(Fraction(floor) - exact)
        assert found.value[i] == pytest.approx(float(sum(w * cell.value[i] for w, cell in zip(weights, found.cells, strict=True))), rel=1e-13)
    assert all(cell.alpha == 0.05 / len(cells) for cell in found.cells)
    # weights that sum to a little more than 1 are not worth more
    above = certify_stratified(cells, weights * (1 + 5e-10), sigma=1.0, budgets=[0.0], floor=floor)
    below = certify_stratified(cells, weights * (1 - 9e-10), sigma=1.0, budgets=[0.0], floor=floor)
    assert below.lower[0] <= floor + (found.lower[0] - floor) * (1 - 8e-10)
    assert above.lower[0] <= found.lower[0] + 1e-13 * (1 + abs(found.lower[0]))


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.floats(0.0, 2.0), st.sampled_from([0.0, -6.0]))
def test_betting_in_fifty_digits(places, shift, floor):
    """The wealth at the limit, with guesses, tangents and stakes in exact arithmetic on the same doubles."""
    thresholds = np.array([0.0, 1.0, 2.5])
    returns = np.array([-6.0 if floor else 0.0, 0.0, 1.0, 2.5])[places]
    run = BettingCertificate(shift=shift, thresholds=thresholds, floor=floor)
    run.add(returns)
    lower = run.lower
    if lower <= floor:
        return
    with mpmath.workdps(40):
        c, m = mpmath.mpf(shift), mpmath.mpf(lower)
        counts, following, guesses = [0, 0, 0], 0, []
        logs = [mpmath.mpf(0) for _ in STAKES]
        best_floor = mpmath.mpf(floor)
        for i, value in enumerate(returns):
            if i >= following:
                guesses = [mpmath.mpf(int(k) + 2) / (i + 4) for k in counts]
                following = max(i + 1, math.ceil(1.15 * i))
                z = [inverse_normal(p) if p <= 0.5 else -inverse_normal(1 - p) for p in guesses]
                slopes = [mpmath.exp(c * x - c * c / 2) for x in z]
                widths = [mpmath.mpf(w) for w in np.diff(thresholds, prepend=floor)]
                base = mpmath.mpf(floor) + sum(w * (mpmath.ncdf(x - c) - s * p) for w, x, s, p in zip(widths, z, slopes, guesses, strict=True))
                best_floor = max(best_floor, base)
            y = base + sum(w * s for w, s, t in zip(widths, slopes, thresholds, strict=True) if value >= t)
            if m <= base:
                return
            logs = [log + mpmath.log1p(mpmath.mpf(float(f)) * (y - m) / (m - base)) for log, f in zip(logs, STAKES, strict=True)]
            counts = [k + int(value >= t) for k, t in zip(counts, thresholds, strict=True)]
        wealth = sum(mpmath.exp(x) for x in logs) / len(logs)
        assert wealth >= 20 or m <= best_floor


@pytest.mark.parametrize("floor", [0.0, -30.0])
def test_the_ordering_bound_by_its_definition(floor):
    """The alpha-quantile of simulated worst cases, each a linear program over the order statistics."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(0)
    n, ceiling, shift, simulations = 14, 9.0, 0.8, 250
    samples = np.sort(rng.choice([floor, 4.0, 9.0], p=[0.1, 0.3, 0.6], size=(3, n)), axis=1)
    found = ordering_bounds(samples, shift=shift, ceiling=ceiling, alpha=0.1, floor=floor, simulations=simulations, seed=4)
    weights = bound.gaussian_shift(clopper_pearson_lower(np.arange(n, 0, -1), n, 0.05)[0], shift)
    assert ordering_weights(n, shift) == pytest.approx(weights, rel=1e-12)
    stream = np.random.Generator(np.random.Philox(4))
    gaps = np.array([np.cumsum(stream.standard_exponential(n + 1)) for _ in range(simulations)])
    uniforms = gaps[:, :-1] / gaps[:, -1:]
    from scipy.stats import binom

    delta = 0.1 / 50
    k = next(k for k in range(simulations, 0, -1) if binom.cdf(k - 1, simulations, 0.1 - delta) <= delta)
    for sample, value in zip(samples, found, strict=True):
        tau = weights @ np.diff(sample, prepend=floor) / (ceiling - floor)
        worst = []
        for row in uniforms:
            heights = bound.gaussian_shift(1 - row, shift)
            program = linprog(heights, A_ub=np.array([-weights, np.ones(n)]), b_ub=[-tau, 1.0], bounds=(0, None))
            worst.append(program.fun if program.status == 0 else heights[np.argmax(weights)])
        expected = floor + (ceiling - floor) * np.sort(worst)[k - 1]
        assert value <= expected + 1e-12
        assert value == pytest.approx(expected, abs=1e-8)


def test_the_bounds_of_other_works_by_their_formulas():
    returns = np.r_[np.zeros(30), np.full(70, 4.0), np.full(400, 10.0)]
    budgets, alpha, n = np.array([0.2, 1.1]), 0.05, 500
    found = {c.name: c for c in compare_bounds(returns, sigma=0.8, budgets=budgets, floor=-1.0, ceiling=12.0, alpha=alpha)}
    c = budgets / 0.8
    from scipy.special import ndtr, ndtri

    mean = returns.mean()
    safe = mean - 13.0 * math.sqrt(math.log(1 / alpha) / (2 * n))
    variation = 2 * ndtr(c / 2) - 1
    assert found["total variation"].lower == pytest.approx(np.maximum(safe - 13.0 * variation, -1.0), abs=1e-9)
    crop = [m - 13.0 * c * math.sqrt(2 / math.pi) for m in (safe, mean)]
    assert found["CROP, lower limit of the mean"].lower == pytest.approx(np.maximum(crop[0], -1.0), abs=1e-9)
    assert found["CROP, as published"].lower == pytest.approx(crop[1], abs=1e-9)
    deviation = math.sqrt(math.log(1 / alpha) / (2 * n))
    survival = np.array([1.0, 0.94, 0.8]) - deviation
    dkw = -1 + np.diff([-1.0, 0.0, 4.0, 10.0]) @ ndtr(ndtri(survival)[:, None] - c)
    assert found["DKW"].lower == pytest.approx(dkw, abs=1e-9)


@pytest.mark.parametrize("rewards", [False, True])
def test_the_worst_case_by_enumeration_of_grid_attacks(rewards):
    """Two steps: the adversary splits its squared budget in any of N + 1 ways that depend on what it sees."""
    from certify.smoothing.families import random_game

    game = random_game(3, steps=2, states=2, actions=2, sigma=0.8, rewards=rewards)
    budget, grid = 1.3, 6

    def odds(t, s, delta):
        from scipy.special import ndtr

        left = ndtr((game.breaks[t, s, 0] - game.observation[t, s] - delta) / game.sigma)
        return np.array([left, 1 - left])

    def last(s, parts):
        ahead = game.reward[1, s] + game.transition[1, s] @ game.final
        return min(odds(1, s, sign * budget * math.sqrt(k / grid)) @ ahead for k in range(parts + 1) for sign in (1, -1))

    total = 0.0
    for s in range(2):
        best = math.inf
        for k in range(grid + 1):
            for sign in (1, -1):
                ahead = [game.reward[0, s, a] + sum(game.transition[0, s, a, z] * last(z, grid - k) for z in range(2)) for a in range(2)]
                best = min(best, odds(0, s, sign * budget * math.sqrt(k / grid)) @ ahead)
        total += game.start[s] * best
    assert worst_case_value(game, budget, grid=grid) == pytest.approx(total, abs=1e-12)
    assert game.start @ worst_case_by_start(game, budget, grid=grid) == pytest.approx(total, abs=1e-12)


def test_a_single_step_game_by_hand():
    """Three actions, one state that decides: probabilities are differences of normal tails, deep in both."""
    transition = np.zeros((1, 4, 3, 4))
    transition[0, 0, [0, 1, 2], [1, 2, 3]] = 1.0
    transition[0, [1, 2, 3], :, [1, 2, 3]] = 1.0
    game = Game(np.full((1, 4), 0.5), np.tile([-9.0, 9.5], (1, 4, 1)), transition, np.zeros((1, 4, 3)), np.array([0.0, 5.0, 0.0, 7.0]), np.eye(4)[0], 1.0)
    with mpmath.workdps(40):
        tails = [mpmath.ncdf(mpmath.mpf("-9.5") - d) * 5 + mpmath.ncdf(-(mpmath.mpf(9) - d)) * 7 for d in (0, 1, -1)]
    for delta, exact in zip((0.0, 1.0, -1.0), tails, strict=True):
        assert static_value(game, [delta]) == pytest.approx(float(exact), rel=1e-9)
    assert worst_case_value(game, 1.0, grid=50) == pytest.approx(
        min(static_value(game, [s * math.sqrt(k / 50)]) for k in range(51) for s in (1, -1)), rel=1e-12
    )
    assert worst_case_per_step(game, 1.0, grid=5) == pytest.approx(min(static_value(game, [k / 5]) for k in range(-5, 6)), rel=1e-12)
