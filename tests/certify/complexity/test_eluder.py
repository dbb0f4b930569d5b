"""The eluder dimension: two exact algorithms, a slow twin, the bracket, and the examples whose dimension is known."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from certify.complexity import eluder_dimension

small_classes = st.integers(1, 4).flatmap(
    lambda functions: st.integers(1, 4).flatmap(
        lambda points: arrays(np.float64, (functions, points), elements=st.integers(-4, 4).map(lambda v: v / 4.0))
    )
)


def brute_force(values: np.ndarray, epsilon: float) -> int:
    """Try every ordered subset and every candidate scale; squares of quarters are exact in floats."""
    squares, points = values**2, values.shape[1]
    best = 0
    for length in range(1, points + 1):
        for path in permutations(range(points), length):
            sums = [squares[:, list(path[:k])].sum(axis=1) for k in range(length)]
            for level in {epsilon**2, *(float(v) for s in sums for v in s if v >= epsilon**2)}:
                if all(np.any((sums[k] <= level) & (squares[:, path[k]] > level)) for k in range(length)):
                    best = max(best, length)
    return best


@given(small_classes, st.sampled_from([0.25, 0.5, 0.75]))
def test_exact_equals_brute_force(values: np.ndarray, epsilon: float) -> None:
    assert eluder_dimension(values, epsilon).lower == brute_force(values, epsilon)


@given(st.integers(0, 10**6), st.floats(0.05, 1.5))
def test_bracket_encloses_the_exact_dimension(seed: int, epsilon: float) -> None:
    values = np.random.default_rng(seed).normal(size=(6, 7))
    exact, bracket = eluder_dimension(values, epsilon), eluder_dimension(values, epsilon, method="bracket", restarts=20)
    assert exact.exact
    assert bracket.lower <= exact.lower <= bracket.upper


@given(st.integers(0, 10**6), st.floats(0.05, 1.0))
def test_witness_is_independent_at_its_scale(seed: int, epsilon: float) -> None:
    values = np.random.default_rng(seed).normal(size=(5, 6))
    for method in ("exact", "bracket"):
        found = eluder_dimension(values, epsilon, method=method)
        assert len(found.witness) == found.lower
        assert found.lower == 0 or found.scale >= epsilon * (1 - 1e-12)
        for place, x in enumerate(found.witness):
            sums = (values[:, list(found.witness[:place])] ** 2).sum(axis=1)
            assert np.any((np.sqrt(sums) <= found.scale * (1 + 1e-12)) & (np.abs(values[:, x]) > found.scale * (1 - 1e-12)))


@given(st.integers(0, 10**6))
def test_laws(seed: int) -> None:
    """At most |Phi| and |X|, decreasing in epsilon, blind to signs and to repeated points, zero at the largest value."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rng.integers(1, 6), rng.integers(1, 7)))
    dimension = eluder_dimension(values, 0.3).lower
    assert dimension <= min(values.shape)
    assert eluder_dimension(values, 0.6).lower <= dimension
    assert eluder_dimension(values * rng.choice([-1.0, 1.0], size=values.shape), 0.3).lower == dimension
    assert eluder_dimension(np.repeat(values, 2, axis=1), 0.3).lower == dimension
    assert eluder_dimension(values, float(np.abs(values).max())).lower == 0


def test_known_dimensions() -> None:
    from verify.checks.loop_agec.dimension import two_dimensional_class
    from verify.simulators import hard_class

    hard = hard_class(3, 10.0, 0.06)
    for epsilon in (1e-6, 1e-3, 0.2):
        assert eluder_dimension(hard.errors.reshape(8, -1), epsilon).lower == 4
    assert eluder_dimension(two_dimensional_class(), 0.5).lower == 5
    assert eluder_dimension(np.eye(6), 0.9).lower == 6
    assert eluder_dimension(np.linspace(-1, 1, 9)[:, None] @ np.ones((1, 4)), 0.1).lower == 1


def test_equal_sums_are_compared_exactly() -> None:
    """A point is dependent when a sum equals its square: 3, 4 and 5."""
    assert eluder_dimension([[3.0, 4.0, 5.0]], 2.9).lower == 1
    ulp = np.array([[0.3, 0.4, np.nextafter(0.5, 1.0)], [0.0, 0.0, 0.0]])
    assert eluder_dimension(ulp, 0.45).lower == 1


@pytest.mark.parametrize("unit", [1e-170, 1e200])
def test_units_do_not_matter(unit: float) -> None:
    """Squares of these numbers leave the range of floats."""
    values = np.random.default_rng(3).integers(-4, 5, size=(5, 6)) / 4.0
    reference = eluder_dimension(values, 0.3)
    exact, bracket = eluder_dimension(unit * values, unit * 0.3), eluder_dimension(unit * values, unit * 0.3, method="bracket")
    assert exact.lower == exact.upper == reference.lower
    assert bracket.lower <= reference.lower <= bracket.upper
    assert 0.0 < exact.scale / unit == pytest.approx(reference.scale)
    # A scale far below every value: the greedy search may look at larger ones only, which shortens what it finds.
    assert eluder_dimension(1e200 * np.eye(3), 0.5).lower == eluder_dimension(1e200 * np.eye(3), 0.5, method="bracket").upper == 3


def test_information_limit_allows_for_the_rounding_of_its_factors() -> None:
    """At a scale of the size of rounding errors nothing is known about the rank, and the limit is the number of points."""
    from certify.complexity.eluder import _information_limit

    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 1)) @ rng.normal(size=(1, 40))
    assert _information_limit(values, 1e-18) == 40
    assert _information_limit(values, 0.5) < 30


def test_large_class_needs_the_bracket() -> None:
    values = np.random.default_rng(0).normal(size=(30, 40))
    with pytest.raises(ValueError, match="use method 'bracket'"):
        eluder_dimension(values, 0.1)
    found = eluder_dimension(values, 0.1, method="bracket")
    assert 0 < found.lower <= found.upper <= 30


@pytest.mark.parametrize(
    ("values", "epsilon", "options", "message"),
    [
        pytest.param([[1.0, np.nan]], 0.1, {}, "values must be finite", id="nan"),
        pytest.param([1.0, 2.0], 0.1, {}, "values must have 2 axes", id="vector"),
        pytest.param(np.zeros((0, 3)), 0.1, {}, "at least one function", id="empty"),
        pytest.param([["a"]], 0.1, {}, "values must be an array of numbers", id="text"),
        pytest.param([[1.0]], 0.0, {}, "epsilon must be a positive", id="zero-epsilon"),
        pytest.param([[1.0]], np.inf, {}, "epsilon must be a positive", id="infinite-epsilon"),
        pytest.param([[1.0]], 0.1, {"method": "guess"}, "method must be one of exact, bracket", id="method"),
        pytest.param([[1.0]], 0.1, {"restarts": 0}, "restarts must be an integer >= 1", id="restarts"),
        pytest.param([[1.0]], 0.1, {"seed": -1}, "seed must be an integer >= 0", id="seed"),
    ],
)
def test_bad_input(values: object, epsilon: float, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eluder_dimension(values, epsilon, **options)  # type: ignore[arg-type]


def information_limit(values: np.ndarray, epsilon: float) -> int:
    """Return the limit in plain loops: n points of a sequence carry at least n log(1 + 1/(1 + c)) and at most what all of them carry,
    or n of the largest norm spread evenly over d directions; the best c of a grid."""
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    theta, x = left * np.sqrt(singular), np.sqrt(singular)[:, None] * right
    points, d = values.shape[1], int(np.linalg.matrix_rank(values))
    radius2 = max(float(t @ t) for t in theta)
    norm2 = max(float(x[:, j] @ x[:, j]) for j in range(points))
    best = points
    for c in np.geomspace(1e-3, 1e3, 61):
        ratio = radius2 / (c * epsilon**2)
        whole = np.linalg.slogdet(np.eye(len(x)) + ratio * x @ x.T)[1]
        possible = [n for n in range(1, points + 1) if n * np.log1p(1 / (1 + c)) <= min(whole, d * np.log1p(n * norm2 * ratio / d))]
        best = min(best, max(possible, default=0))
    return best


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("epsilon", [0.02, 0.3, 1.0, 3.0])
def test_the_information_limit_is_that_of_its_definition(rank: int, epsilon: float) -> None:
    from certify.complexity.eluder import _information_limit

    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(60, rank)) @ rng.normal(size=(rank, 80))
        limit = information_limit(values, epsilon)
        assert _information_limit(values, epsilon) == limit
        # The limit does not depend on units.
        assert _information_limit(1024.0 * values, 1024.0 * epsilon) == limit
    assert _information_limit(values, 1e3) == 0


def test_the_greedy_search_comes_near_the_dimension_of_small_classes() -> None:
    """It falls short by one in less than half of these classes, never by two, and finds scales above the one asked for."""
    short, above = [], 0
    for seed in range(12):
        values = np.random.default_rng(seed).normal(size=(6, 6))
        for epsilon in (0.1, 0.5, 1.2):
            exact, found = eluder_dimension(values, epsilon), eluder_dimension(values, epsilon, method="bracket")
            short.append(exact.lower - found.lower)
            above += found.scale > 1.1 * epsilon
            # Independence holds in exact arithmetic, not only up to rounding.
            level = Fraction(found.scale) ** 2
            for place, x in enumerate(found.witness):
                before = found.witness[:place]
                assert any(sum((Fraction(row[y]) ** 2 for y in before), Fraction(0)) <= level < Fraction(row[x]) ** 2 for row in values)
            assert found.scale >= epsilon
    assert set(short) == {0, 1}
    assert sum(short) < 18
    assert above >= 10


def test_brackets_are_counted_by_functions_and_points_that_differ() -> None:
    rng = np.random.default_rng(2)
    few = rng.normal(size=(3, 30))
    assert eluder_dimension(few, 1e-3, method="bracket").upper <= 3
    assert eluder_dimension(np.vstack([few, -few, few]), 1e-3, method="bracket").upper <= 3
    assert eluder_dimension(few.T, 1e-3, method="bracket").upper <= 3
    assert eluder_dimension(np.hstack([few.T, -few.T]), 1e-3, method="bracket").upper <= 3
    single = eluder_dimension([[0.0, 2.0, 0.5]], 1.0)
    assert (single.lower, single.witness) == (1, (1,))
    none = eluder_dimension([[1.0, 0.5]], 1.0, method="bracket")
    assert (none.lower, none.upper, none.witness) == (0, 0, ())
    assert np.isnan(none.scale)


def test_the_information_limit_takes_the_better_of_signs_and_magnitudes() -> None:
    """Signs of a rank-one class raise its rank no more than magnitudes do; random signs do."""
    rng = np.random.default_rng(3)
    a, b = rng.uniform(0.5, 1.0, size=(40, 1)), rng.uniform(0.5, 1.0, size=(1, 40))
    signs = rng.choice([-1.0, 1.0], size=(40, 40))
    smooth, rough = eluder_dimension(a @ b, 0.3, method="bracket").upper, eluder_dimension(signs * (a @ b), 0.3, method="bracket").upper
    assert smooth == rough < 40
    signed = rng.normal(size=(40, 1)) @ rng.normal(size=(1, 40))
    mixed = np.hstack([signed, 1.0 + rng.normal(size=(40, 1)) @ np.ones((1, 1))])
    assert eluder_dimension(mixed, 0.3, method="bracket").upper < 40


def test_a_chain_of_many_scales_is_followed_to_its_end() -> None:
    """Point 1 follows 0 on ten separate intervals of scales, and 2 can only follow both."""
    lows = np.arange(1.0, 11.0)
    values = np.array([*([a, a + 0.25, 20.0] for a in lows), [12.0, 12.0, 0.0], [0.0, 0.0, 30.0]])
    found = eluder_dimension(values, 0.5)
    assert (found.lower, found.witness) == (3, (0, 1, 2))
    assert found.scale == 1.0


@pytest.mark.parametrize(("functions", "points", "epsilon"), [(200, 500, 0.3), (60, 2000, 0.1)])
def test_the_upper_end_of_a_class_of_low_rank_counts_its_rank(functions, points, epsilon):
    """Cosines are inner products of unit vectors in the plane: n log(1 + 1/(1+c)) <= 2 log(1 + n/(2 c epsilon^2)) for every c."""
    angles, places = np.linspace(0, np.pi, functions), np.linspace(0, 2 * np.pi, points, endpoint=False)
    found = eluder_dimension(np.cos(angles[:, None] - places), epsilon, method="bracket")
    limits = [max(n for n in range(1, points + 1) if n * np.log1p(1 / (1 + c)) <= 2 * np.log1p(n / (2 * c * epsilon**2)) * (1 + 1e-9)) for c in np.geomspace(1e-3, 1e3, 61)]
    assert found.upper == min(limits)
    assert 1 <= found.lower <= found.upper
