"""Confidence limits in 60-digit and in integer arithmetic; the equal-local-level constant against another recursion."""

from __future__ import annotations

import json
from fractions import Fraction
from math import comb

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.smoothing import bands
from certify.smoothing.bands import clopper_pearson_lower, dkw_deviation, equal_local_level, survival_band


def exact_tail(k: int, n: int, p: Fraction) -> Fraction:
    """P(Bin(n, p) >= k) in integers, p a dyadic fraction."""
    a, d = p.numerator, p.denominator
    return Fraction(sum(comb(n, j) * a**j * (d - a) ** (n - j) for j in range(k, n + 1)), d**n)


def assert_conservative(k: int, n: int, alpha: float, lower: float, miss: float) -> None:
    level = Fraction(alpha)
    assert exact_tail(k, n, Fraction(lower)) <= level
    assert exact_tail(k, n, 1 - Fraction(miss)) <= level
    wider = min(1.0, lower * (1 + 2e-13)), max(0.0, miss * (1 - 2e-13))
    if 0.0 < lower < 0.5:
        assert exact_tail(k, n, Fraction(wider[0])) > level, "lower limit is more than 2e-13 too small"
    elif lower >= 0.5:
        assert exact_tail(k, n, 1 - Fraction(wider[1])) > level, "upper limit of the complement is more than 2e-13 too large"


@given(st.integers(1, 60), st.data(), st.sampled_from([0.5, 0.05, 1e-3, 1e-10, 1e-50, 1e-300]))
def test_the_exact_tail_never_exceeds_alpha(n, data, alpha):
    k = data.draw(st.integers(1, n))
    lower, miss = clopper_pearson_lower([k], n, alpha)
    assert_conservative(k, n, alpha, float(lower[0]), float(miss[0]))


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-12, 1e-100, 1e-300])
def test_the_exact_tail_never_exceeds_alpha_exhaustively(alpha):
    for n in range(1, 201):
        lower, miss = clopper_pearson_lower(np.arange(1, n + 1), n, alpha)
        for k in range(1, n + 1):
            with mpmath.workdps(60):
                for p in (mpmath.mpf(lower[k - 1]), 1 - mpmath.mpf(miss[k - 1])):
                    tail = mpmath.betainc(k, n - k + 1, 0, p, regularized=True) if 0 < p < 1 else p
                    assert tail <= mpmath.mpf(alpha), (n, k)


@pytest.mark.parametrize(
    ("n", "drawn"), [(300, 8), (10**4, 6), (10**6, 0), (10**9, 0), pytest.param(10**6, 40, marks=pytest.mark.slow)]
)
def test_large_counts_against_the_sum_of_ratios(n, drawn):
    rng = np.random.default_rng(n)
    counts = np.unique(np.r_[2, 3, 70, 200, n - 200, n - 70, n - 2, n - 1, rng.integers(1, n, drawn)])
    for alpha in (0.05, 1e-9, 1e-120):
        lower, miss = clopper_pearson_lower(counts, n, alpha)
        for k, low, high in zip(counts.tolist(), lower, miss, strict=True):
            with mpmath.workdps(50):
                for p in (mpmath.mpf(low), 1 - mpmath.mpf(high)):
                    assert log_tail(k, n, p) <= mpmath.log(alpha), (k, n, alpha)
                nearer = mpmath.mpf(low) * (1 + mpmath.mpf("1e-12")) if low < 0.5 else 1 - mpmath.mpf(high) * (1 - mpmath.mpf("1e-12"))
                assert log_tail(k, n, nearer) > mpmath.log(alpha), (k, n, alpha)


def log_tail(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    """log P(Bin(n, p) >= k) from the first term and the sum of ratios, for p well below k / n."""
    term = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1) + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p)
    total = ratio = mpmath.mpf(1)
    odds = p / (1 - p)
    j = k
    while ratio > mpmath.mpf("1e-25") and j < n:
        ratio *= odds * (n - j) / (j + 1)
        total += ratio
        j += 1
    return term + mpmath.log(total)


def test_closed_forms_at_the_ends():
    lower, miss = clopper_pearson_lower([0, 1, 50], 50, 0.05)
    assert (lower[0], miss[0]) == (0.0, 1.0)
    assert lower[1] == pytest.approx(-np.expm1(np.log1p(-0.05) / 50), rel=1e-14)
    assert lower[2] == pytest.approx(0.05 ** (1 / 50), rel=1e-14)
    assert miss[2] == pytest.approx(-np.expm1(np.log(0.05) / 50), rel=1e-14)


def test_limits_agree_with_scipy_and_keep_the_shape():
    from scipy.special import betaincinv

    counts = np.arange(1, 1000).reshape(27, 37)
    assert clopper_pearson_lower(counts, 1000, 0.01)[0] == pytest.approx(betaincinv(counts, 1001 - counts, 0.01), rel=1e-9)


@given(st.integers(1, 400), st.floats(1e-12, 0.5), st.data())
def test_limits_grow_with_the_count_and_the_level(n, alpha, data):
    k = data.draw(st.integers(0, n - 1))
    lower, miss = clopper_pearson_lower([k, k + 1], n, alpha)
    assert lower[0] < lower[1]
    assert miss[0] > miss[1]
    assert clopper_pearson_lower([k + 1], n, alpha / 2)[0][0] < lower[1]


def test_levels_of_the_reference():
    assert equal_local_level(100, 0.05) == pytest.approx(2.46093e-3, rel=3e-6)
    assert equal_local_level(1000, 0.05) == pytest.approx(1.21695e-3, rel=3e-6)


def test_level_for_ten_thousand():
    assert equal_local_level(10_000, 0.05) == pytest.approx(7.63760e-4, rel=3e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("alpha", [0.9, 0.05, 1e-6])
def test_level_against_conditional_binomials(n, alpha):
    from verify.checks.policy_smoothing.confidence import crossing_by_binomials

    def crossing(level: float) -> float:
        return crossing_by_binomials(np.maximum.accumulate(clopper_pearson_lower(np.arange(n, 0, -1), n, level)[1]))

    level = equal_local_level(n, alpha)
    assert crossing(level) <= alpha * (1 + 1e-9)
    assert crossing(level * (1 + 1e-6)) > alpha * (1 - 1e-9)


def test_level_is_kept_and_a_broken_file_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMMATA_CACHE", str(tmp_path))
    first = equal_local_level.__wrapped__(37, 0.05)
    (path,) = (tmp_path / "levels").iterdir()
    assert json.loads(path.read_text())["level"] == first
    for text in ("{", "{}", '{"level": 0.9}', "[]"):
        path.write_text(text)
        assert equal_local_level.__wrapped__(37, 0.05) == first


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    bands._write_level(blocked / "levels" / "x.json", 0.1)


def test_bands_are_ordered():
    counts = np.arange(0, 1001, 50)
    lower = {band: survival_band(counts, 1000, alpha=0.05, band=band, thresholds=1000).lower for band in bands.BANDS}
    assert np.all(lower["clopper-pearson"] <= lower["equal-local-level"])
    assert np.all(lower["dkw"] <= lower["dkw-one-sided"])
    assert np.all(lower["equal-local-level"] <= lower["plugin"])
    for band in bands.BANDS:
        pair = survival_band(counts, 1000, alpha=0.05, band=band, thresholds=1000)
        assert pair.lower + pair.miss == pytest.approx(np.ones(21), abs=1e-12)


BAD = [
    pytest.param(lambda: clopper_pearson_lower([11], 10, 0.05), "successes must be integers in 0..10", id="count"),
    pytest.param(lambda: clopper_pearson_lower([1.5], 10, 0.05), "successes", id="fraction"),
    pytest.param(lambda: clopper_pearson_lower([np.nan], 10, 0.05), "successes", id="nan"),
    pytest.param(lambda: clopper_pearson_lower([1], 0, 0.05), "trials must be an integer >= 1", id="trials"),
    pytest.param(lambda: clopper_pearson_lower([1], 10, 0.0), "alpha must be in", id="alpha-0"),
    pytest.param(lambda: clopper_pearson_lower([1], 10, 1e-305), "at least 1e-300", id="alpha-tiny"),
    pytest.param(lambda: dkw_deviation(10, 0.6), "one-sided", id="massart"),
    pytest.param(lambda: equal_local_level(0, 0.05), "n must be an integer >= 1", id="n"),
    pytest.param(lambda: equal_local_level(10, 1.0), "alpha must be in", id="alpha-1"),
    pytest.param(lambda: equal_local_level(10, 1e-250), "at least 1e-200", id="alpha-small"),
    pytest.param(lambda: survival_band([1], 10, alpha=0.05, band="hoeffding", thresholds=1), "band must be one of", id="band"),
    pytest.param(lambda: survival_band([1], 10, alpha=0.05, band="clopper-pearson", thresholds=0), "thresholds", id="thresholds"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
