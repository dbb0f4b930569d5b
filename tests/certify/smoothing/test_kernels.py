"""The compiled pieces of the bands, one by one, in 50-digit and in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from certify.smoothing._kernels_bands import _deviance, _fraction, _log_point_over, _log_tail_over, _stirling_error, binomial_lower, crossing_probability
from certify.smoothing._kernels_ordering import hull_values

EPS = 2.0**-52


def log_point(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log(mpmath.binomial(n, k)) + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p)


def log_tail(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    """log P(Bin(n, p) >= k), summed away from k on the side where the terms fall."""
    if p * (n + 1) <= k:
        total = term = mpmath.mpf(1)
        for j in range(k, n):
            term *= p / (1 - p) * (n - j) / (j + 1)
            total += term
            if term < mpmath.mpf("1e-40") * total:
                break
        return log_point(k, n, p) + mpmath.log(total)
    total = term = mpmath.mpf(1)
    for j in range(k - 1, 0, -1):
        term *= (1 - p) / p * j / (n - j + 1)
        total += term
        if term < mpmath.mpf("1e-40") * total:
            break
    return mpmath.log1p(-total * mpmath.exp(log_point(k - 1, n, p)))


def stirling_error(n: float) -> mpmath.mpf:
    x = mpmath.mpf(n)
    return mpmath.loggamma(x + 1) - (x + mpmath.mpf(1) / 2) * mpmath.log(x) + x - mpmath.log(2 * mpmath.pi) / 2


@pytest.mark.parametrize("n", [*range(1, 48), 100, 1000, 10**6, 10**9])
def test_stirling_error(n: int) -> None:
    with mpmath.workdps(50):
        error = abs(mpmath.mpf(_stirling_error(float(n))) - stirling_error(n))
        assert error <= 6e-16 * stirling_error(n)


@given(st.floats(1e-3, 1e9), st.floats(-0.999, 60.0))
def test_deviance(mean: float, excess: float) -> None:
    x = mean * (1.0 + excess)
    assume(x > 0)
    with mpmath.workdps(60):
        exact = mpmath.mpf(x) * mpmath.log(mpmath.mpf(x) / mpmath.mpf(mean)) + mpmath.mpf(mean) - mpmath.mpf(x)
        # The gap x - mean is exact near the mean; away from it the terms are at most ten times the result.
        assert abs(mpmath.mpf(_deviance(x, mean)) - exact) <= 3e-15 * exact + 1e-15 * abs(x - mean)


@st.composite
def binomials(draw: st.DrawFn) -> tuple[int, int, float]:
    n = draw(st.one_of(st.integers(2, 300), st.sampled_from([4_000, 30_000])))
    k = draw(st.one_of(st.integers(1, n), st.integers(1, min(n, 90)), st.integers(max(1, n - 70), n)))
    # Dyadic, so that 1 - p is exact; around the mean, where the limits of a band lie, or anywhere.
    near = st.floats(-6.0, 3.0).map(lambda z: k / n + z * np.sqrt(k / n * (1 - k / n) / n + 0.1 / n**2))
    p = draw(st.one_of(near, st.floats(1e-9, 1 - 1e-9)))
    return k, n, round(min(max(p, 2.0**-40), 1 - 2.0**-40) * 2**40) / 2**40


@given(binomials(), st.sampled_from([0.5, 0.05, 1e-9, 1e-120]))
def test_the_point_probability_is_within_its_error(case: tuple[int, int, float], alpha: float) -> None:
    k, n, p = case
    value, error = _log_point_over(float(k), float(n), p, 1.0 - p, alpha)
    with mpmath.workdps(50):
        exact = log_point(k, n, mpmath.mpf(p)) - mpmath.log(mpmath.mpf(alpha))
        assert abs(mpmath.mpf(value) - exact) <= error
        assert error <= EPS * (600.0 + 8.0 * float(abs(exact)) + 45.0 * abs(n * p - k) - 2.0 * np.log(alpha))


@given(binomials())
def test_the_continued_fraction_is_within_its_error(case: tuple[int, int, float]) -> None:
    k, n, x = case
    assume(k < n)
    a, b = float(k), n - k + 1.0
    if x > a / (a + b):
        a, b, x = b, a, 1.0 - x
    assume(0.0 < x <= a / (a + b))
    found, terms = _fraction(a, b, x, 1.0 - x)
    with mpmath.workdps(60):
        # I_x(a, b) = P(Bin(a + b - 1, x) >= a), and x^a y^b / B(a, b) is a y times its first term.
        m, first = int(a + b - 1), int(a)
        exact = mpmath.exp(log_tail(first, m, mpmath.mpf(x)) - log_point(first, m, mpmath.mpf(x))) / (first * (1 - mpmath.mpf(x)))
        assert abs(mpmath.mpf(found) / exact - 1) <= EPS * terms
    assert terms <= 2e4


@given(binomials(), st.sampled_from([0.5, 1e-3, 1e-100]))
def test_the_tail_is_within_its_error(case: tuple[int, int, float], alpha: float) -> None:
    k, n, p = case
    value, ratio, error = _log_tail_over(float(k), float(n), p, 1.0 - p, alpha)
    with mpmath.workdps(60):
        exact = log_tail(k, n, mpmath.mpf(p))
        assert abs(mpmath.mpf(value) - exact + mpmath.log(mpmath.mpf(alpha))) <= error
        assert ratio == pytest.approx(float(mpmath.exp(exact - log_point(k, n, mpmath.mpf(p)))), rel=1e-9)


@given(st.integers(2, 3000), st.floats(1e-12, 0.5), st.data())
def test_limits_need_no_neighbour_and_no_good_first_guess(n: int, alpha: float, data: st.DataObject) -> None:
    """The step from the limit before, and the normal quantile, only say where the search starts."""
    counts = np.unique(data.draw(st.lists(st.integers(1, n), min_size=1, max_size=12))).astype(float)

    def limits(some: np.ndarray, z: float) -> np.ndarray:
        low, miss = np.zeros(some.size), np.ones(some.size)
        binomial_lower(some, float(n), alpha, z, low, miss)
        return np.stack([low, 1.0 - miss])

    together = limits(counts, 2.0)
    alone = np.concatenate(
        [limits(counts[i : i + 1], z) for i, z in enumerate(data.draw(st.lists(st.floats(0.0, 8.0), min_size=counts.size, max_size=counts.size)))], axis=1
    )
    assert together == pytest.approx(alone, rel=2e-13)


def exact_crossing(limits: list[Fraction]) -> Fraction:
    """P(some U_(i) > b_i), from the count of uniforms below each limit, one interval at a time, in fractions."""
    n = len(limits)
    state, last = {0: Fraction(1)}, Fraction(0)
    for i, limit in enumerate(limits, 1):
        share = (limit - last) / (1 - last) if last < 1 else Fraction(0)
        following: dict[int, Fraction] = {}
        for m, weight in state.items():
            for r in range(n - m + 1):
                if m + r >= i:
                    chance = comb(n - m, r) * share**r * (1 - share) ** (n - m - r)
                    following[m + r] = following.get(m + r, Fraction(0)) + weight * chance
        state, last = following, limit
    return 1 - sum(state.values(), Fraction(0))


@given(st.lists(st.integers(1, 2**12 - 1), min_size=1, max_size=9), st.sampled_from(["any", "late", "early"]))
def test_the_crossing_probability_in_fractions(places: list[int], where: str) -> None:
    if where == "late":
        places = [2**12 - 1 - p // 64 for p in places]
    if where == "early":
        places = [1 + p // 64 for p in places]
    limits = sorted(Fraction(p, 2**12) for p in places)
    exact = exact_crossing(limits)
    assume(exact > 0)
    found = Fraction(crossing_probability(np.array([float(b) for b in limits]), float(exact)))
    assert exact * (1 - Fraction(1, 10**12)) <= found <= exact * (1 + Fraction(1, 10**12)) + Fraction(1, 10**15)


def test_the_crossing_probability_of_the_last_limit() -> None:
    """With all limits but one out of reach, only the largest uniform counts: 1 - b^n; or the smallest: (1 - b)^n."""
    for n in (2, 7, 40, 300):
        limits = np.ones(n)
        limits[:] = 0.9999
        assert crossing_probability(limits, 1e-3) == pytest.approx(1.0 - 0.9999**n, rel=1e-11)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=30), st.lists(st.floats(-0.1, 1.2), min_size=1, max_size=8))
def test_the_hull_against_all_chords(points: list[tuple[float, float]], at: list[float]) -> None:
    x, y = (np.array(v) for v in zip(*sorted(points, reverse=True), strict=True))
    assume(x[0] > 1e-6 and np.all(np.diff(np.unique(np.r_[0.0, x])) > 1e-6))
    found = np.empty(len(at))
    hull_values(x, y, np.array(at), found)
    all_x, all_y = np.r_[x, 0.0], np.r_[y, 0.0]
    for t, value in zip(at, found, strict=True):
        t = min(max(t, 0.0), float(x[0]))
        left, right = all_x <= t, all_x >= t
        chords = [all_y[i] if all_x[i] == all_x[j] else all_y[i] + (t - all_x[i]) / (all_x[j] - all_x[i]) * (all_y[j] - all_y[i])
                  for i in np.flatnonzero(left) for j in np.flatnonzero(right)]  # fmt: skip
        assert value == pytest.approx(min(chords), abs=1e-9)
