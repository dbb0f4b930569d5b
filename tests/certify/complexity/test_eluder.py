"""The eluder dimension: two exact algorithms, a slow twin, the bracket, and the examples whose dimension is known."""

from __future__ import annotations

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
