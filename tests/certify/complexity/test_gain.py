"""Information gain, effective dimension and AGEC against their known values and slow twins."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.complexity import agec, effective_dimension, information_gain


def rbf(width: float):  # type: ignore[no-untyped-def]
    return lambda x, y: np.exp(-((x[:, None] - y[None]) ** 2) / (2 * width**2))


@pytest.mark.parametrize(("width", "epsilon", "low", "high"), [(0.1, 0.3, 135, 136), (0.1, 0.1, 238, 240), (0.2, 0.3, 76, 77), (0.2, 0.1, 135, 135),
                                                               (0.5, 0.3, 41, 41), (0.5, 0.1, 72, 72)])  # fmt: skip
def test_effective_dimension_of_rbf_kernels(width: float, epsilon: float, low: int, high: int) -> None:
    found = effective_dimension(rbf(width), np.linspace(0.0, 1.0, 60), epsilon)
    assert low <= found.lower <= found.upper <= high


@pytest.mark.parametrize(("d", "values"), [(1, (14, 21, 35)), (2, (28, 42, 70)), (4, (55, 84, 139)), (8, (110, 167, 278))])
def test_effective_dimension_of_the_linear_ball(d: int, values: tuple[int, ...]) -> None:
    for epsilon, value in zip((0.3, 0.1, 0.01), values, strict=True):
        found = effective_dimension(np.eye(d), None, epsilon)
        assert found.lower <= value == found.upper


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_gain_bracket_encloses_the_best_multiset(seed: int, samples: int) -> None:
    x = np.random.default_rng(seed).normal(size=(4, 2))
    gram, epsilon = x @ x.T, 0.7
    best = max(
        np.linalg.slogdet(np.eye(samples) + gram[np.ix_(list(c), list(c))] / epsilon**2)[1] for c in combinations_with_replacement(range(4), samples)
    )
    found = information_gain(gram, None, epsilon, samples)
    assert found.lower <= best + 1e-9
    assert best <= found.upper + 1e-9
    assert found.lower >= (1 - np.exp(-1)) * best - 1e-9


@given(st.integers(0, 10**6), st.integers(1, 3), st.floats(-9.0, 0.0))
def test_lower_limits_survive_small_scales(seed: int, rank: int, exponent: float) -> None:
    """Points in few dimensions at a tiny scale: the closed form of the whole design in the space of features has no cancellation."""
    x, epsilon = np.random.default_rng(seed).normal(size=(6, rank)), 10.0**exponent
    found = information_gain(x @ x.T, None, epsilon, 20)
    chosen = x[list(found.design)]
    exact = np.linalg.slogdet(np.eye(rank) + chosen.T @ chosen / epsilon**2)[1]
    assert found.lower <= exact * (1 + 1e-7)


def test_effective_dimension_at_a_tiny_scale_is_exact() -> None:
    """log(1 + n / eps^2) <= n / e holds first at n = 126 for eps = 1e-9."""
    found = effective_dimension(np.eye(1), None, 1e-9)
    assert (found.lower, found.upper) == (126, 126)


def test_zero_kernel_has_no_information() -> None:
    assert information_gain(np.zeros((3, 3)), None, 1.0, 5).upper == 0.0
    assert effective_dimension(np.zeros((3, 3)), None, 1.0).upper == 1


@pytest.mark.parametrize(
    ("kernel", "points", "epsilon", "message"),
    [
        pytest.param(rbf(1.0), None, 0.1, "points must be given", id="no-points"),
        pytest.param(rbf(1.0), [], 0.1, "points must be a non-empty", id="empty"),
        pytest.param(rbf(1.0), [0.0, np.inf], 0.1, "points must be", id="infinite-point"),
        pytest.param([[1.0, 2.0], [0.0, 1.0]], None, 0.1, "kernel must be symmetric", id="asymmetric"),
        pytest.param([[1.0, 2.0], [2.0, 1.0]], None, 0.1, "kernel must be positive semidefinite", id="indefinite"),
        pytest.param([[1.0, 2.0]], None, 0.1, "square matrix", id="rectangular"),
        pytest.param([[1.0]], None, -1.0, "epsilon must be a positive", id="epsilon"),
        pytest.param([[1.0]], None, 1e-170, "epsilon must be larger", id="tiny-epsilon"),
    ],
)
def test_bad_kernels(kernel: object, points: object, epsilon: float, message: str) -> None:
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        effective_dimension(kernel, points, epsilon)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "steps", "dominance", "transfer"), [(2, 4, 1.99733, 1.99999), (3, 4, 2.9960, 2.99999), (2, 5, 2.0981, 1.99999),
                                                                   (1, 4, 1.2535, 0.7754)])  # fmt: skip
def test_agec_of_unit_indicators(n: int, steps: int, dominance: float, transfer: float) -> None:
    found = agec(np.eye(n), steps=steps, epsilon=1e-3)
    assert found.dominance == pytest.approx(dominance, abs=5e-5)
    assert found.transferability == pytest.approx(transfer, abs=5e-5)


def test_agec_witness_attains_and_span_burn_in_is_infinite() -> None:
    errors = np.array([[0.5, -1.0], [0.25, 0.75]])
    found = agec(errors, steps=4, epsilon=1e-3)
    played = sum(errors[f, x] for f, x in found.dominance_witness)
    inner = sum(errors[f, y] ** 2 for t, (f, _) in enumerate(found.dominance_witness) for _, y in found.dominance_witness[:t])
    assert played == pytest.approx(np.sqrt(found.dominance * inner) + found.burn_in * min(found.dominance, 4) + 4e-3)
    # The truth (a zero row) follows one step of the counterexample, so that the in-sample sums vanish.
    assert agec([[1.0, -1.0], [0.0, 0.0]], steps=2, epsilon=1e-3, burn_in=0.0).dominance == np.inf
    assert agec([[1.0, -1.0], [0.0, 0.0]], steps=2, epsilon=1e-3).dominance < 2.0


@pytest.mark.parametrize(
    ("errors", "options", "message"),
    [
        ([[np.inf]], {"steps": 3, "epsilon": 0.1}, "errors must be finite"),
        (np.zeros((0, 1)), {"steps": 3, "epsilon": 0.1}, "at least one function"),
        ([[1.0]], {"steps": 1, "epsilon": 0.1}, "steps must be an integer >= 2"),
        ([[1.0]], {"steps": 2, "epsilon": 0.0}, "epsilon must be a positive"),
        (np.eye(9), {"steps": 5, "epsilon": 0.1}, "steps must keep"),
        ([[1.0]], {"steps": 2, "epsilon": 0.1, "burn_in": -1.0}, "burn_in must be finite"),
        ([[1.0]], {"steps": 2, "epsilon": 0.1, "burn_in": "x"}, "burn_in must be finite"),
    ],
)
def test_bad_agec(errors: object, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agec(errors, **options)  # type: ignore[arg-type]
