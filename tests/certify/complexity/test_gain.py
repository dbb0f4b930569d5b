"""Information gain, effective dimension and AGEC against their known values and slow twins."""

from __future__ import annotations

from itertools import combinations_with_replacement

import mpmath
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


def diagonal(seed: int, points: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.01, 3.0, size=points)


def log_det(gram: np.ndarray, design, epsilon: float) -> mpmath.mpf:
    """Return log det(I + eps^-2 K) over a multiset in the digits of the context."""
    design = list(design)
    scale = mpmath.mpf(float(epsilon)) ** 2
    return mpmath.log(mpmath.det(mpmath.matrix([[(i == j) + mpmath.mpf(float(gram[a, b])) / scale for j, b in enumerate(design)] for i, a in enumerate(design)])))


def spread_gain(k: np.ndarray, samples: int, epsilon: float) -> mpmath.mpf:
    """Return the largest sum log(1 + n w_i k_i / eps^2) over the simplex: the weights fill up to a common level."""
    noise = [mpmath.mpf(float(epsilon)) ** 2 / (samples * mpmath.mpf(float(v))) for v in sorted(k, reverse=True)]
    for used in range(len(noise), 0, -1):
        level = (1 + mpmath.fsum(noise[:used])) / used
        if level > noise[used - 1]:
            return mpmath.fsum(mpmath.log(level / v) for v in noise[:used])
    raise AssertionError


def best_multiset(k: np.ndarray, samples: int, epsilon: float) -> mpmath.mpf:
    """Return the largest gain of a diagonal kernel: it is a sum of concave functions of the counts, so one point at a time is best."""
    counts = [0] * len(k)
    ratio = [mpmath.mpf(float(v)) / mpmath.mpf(float(epsilon)) ** 2 for v in k]
    for _ in range(samples):
        counts[max(range(len(k)), key=lambda i: (1 + (counts[i] + 1) * ratio[i]) / (1 + counts[i] * ratio[i]))] += 1
    return mpmath.fsum(mpmath.log(1 + n * r) for n, r in zip(counts, ratio, strict=True))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("samples", "epsilon"), [(1, 0.7), (7, 0.3), (40, 1e-3), (40, 2.5)])
def test_the_bracket_of_a_diagonal_kernel_is_tight(seed: int, samples: int, epsilon: float) -> None:
    """Below, the best multiset less a rounding charge; above, the best spread design plus the duality gap."""
    k = diagonal(seed, 1 + seed)
    with mpmath.workdps(40):
        found = information_gain(np.diag(k), None, epsilon, samples)
        whole, spread = best_multiset(k, samples, epsilon), spread_gain(k, samples, epsilon)
        assert mpmath.mpf(found.lower) <= whole <= spread <= mpmath.mpf(found.upper)
        assert whole - found.lower <= 1.3e-12 * max(1, whole)
        assert found.upper - spread <= 1.1e-9 * max(1, spread)
        assert found.lower <= log_det(np.diag(k), found.design, epsilon)
        weights = found.weights / found.weights.sum()
        attained = mpmath.fsum(mpmath.log(1 + samples * w * v / epsilon**2) for w, v in zip(weights, k, strict=True))
        assert spread - attained <= 1.1e-9 * max(1, spread)
    assert len(found.design) == samples
    assert found.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_bracket_of_any_kernel_lies_above_the_design_and_below_the_dual(seed: int) -> None:
    """The relaxed optimum is certified by the slopes at the weights returned: none may exceed their mean by more than the gap."""
    x = np.random.default_rng(seed).normal(size=(6, 3))
    gram, epsilon, samples = x @ x.T, 0.4, 9
    found = information_gain(gram, None, epsilon, samples)
    with mpmath.workdps(40):
        exact = log_det(gram, found.design, epsilon)
        assert 0 <= exact - found.lower <= 1.5e-12 * exact
    w = found.weights
    inner = np.eye(3) + samples / epsilon**2 * (x.T * w) @ x
    value = np.linalg.slogdet(inner)[1]
    slopes = samples / epsilon**2 * np.einsum("id,de,ie->i", x, np.linalg.inv(inner), x)
    assert slopes.max() - w @ slopes <= 1.2e-9 * value
    assert value - 1e-9 <= found.upper <= value + 2.2e-9 * value
    assert information_gain(lambda a, b: a @ b.T, x, epsilon, samples).upper == pytest.approx(found.upper)


def test_directions_below_rounding_belong_to_the_gap() -> None:
    """An eigenvalue of 1e-15 of the largest carries information at a scale of its own size."""
    k, epsilon, samples = np.array([1.0, 1e-15]), 1e-8, 4
    with mpmath.workdps(40):
        spread = spread_gain(k, samples, epsilon)
    found = information_gain(np.diag(k), None, epsilon, samples)
    assert spread <= found.upper
    # To first order in the ratio, and no more: log(1 + x) against x.
    assert found.upper <= float(mpmath.log(1 + mpmath.mpf(samples) / mpmath.mpf(epsilon) ** 2)) + samples * 1e-15 / epsilon**2 + 1e-7


@pytest.mark.parametrize("seed", range(4))
def test_greedy_selection_takes_the_largest_posterior_variance(seed: int) -> None:
    from certify.complexity.gain import _greedy

    x = np.random.default_rng(seed).normal(size=(5, 3))
    gram, epsilon = x @ x.T, 0.6
    gains, design = _greedy(gram, epsilon, 8)
    for n in range(8):
        s = list(design[:n])
        weights = np.linalg.solve(gram[np.ix_(s, s)] + epsilon**2 * np.eye(n), gram[s])
        assert design[n] == np.argmax(np.diag(gram) - np.einsum("ji,ji->i", gram[s], weights))
        s.append(int(design[n]))
        assert gains[n] == pytest.approx(np.linalg.slogdet(np.eye(n + 1) + gram[np.ix_(s, s)] / epsilon**2)[1], rel=1e-12)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-7, 1e-12])
def test_one_dimension_has_a_closed_form_at_every_scale(epsilon: float) -> None:
    """det(I + A) = 1 + tr A for rank one: the limit from below needs no factor there."""
    from certify.complexity.gain import _gain_from_below, _greedy

    x = np.array([1.0, -0.5, 2.0, 0.25])
    gram = np.outer(x, x)
    with mpmath.workdps(60):
        design = np.array([0, 1, 1, 2, 3, 3, 3])
        exact = mpmath.log(1 + mpmath.fsum(mpmath.mpf(v) ** 2 for v in x[design]) / mpmath.mpf(epsilon) ** 2)
        below = _gain_from_below(gram, epsilon, design)
        assert 0 <= exact - below <= 1.2e-12 * exact
        gains, chosen = _greedy(gram, epsilon, 5)
        assert set(chosen) == {2}
        assert gains[-1] == pytest.approx(float(mpmath.log(1 + 20 / mpmath.mpf(epsilon) ** 2)), rel=1e-9)


@pytest.mark.parametrize("angle", [1e-2, 1e-4, 1e-5, 3e-6])
def test_the_charge_for_rounding_is_no_larger_than_it_must_be(angle: float) -> None:
    """Two points nearly parallel: the factor is charged 8 roundings an entry over the least eigenvalue."""
    from certify.complexity.gain import _gain_from_below

    x = np.array([[1.0, 0.0], [1.0, angle]])
    gram, design, epsilon = x @ x.T, np.array([0, 1, 1]), 1e-4
    with mpmath.workdps(60):
        exact = log_det(gram, design, epsilon)
        below = _gain_from_below(gram, epsilon, design)
        matrix = np.eye(2) + np.sqrt(np.outer([1, 2], [1, 2])) * gram / epsilon**2
        least = 1.0 - abs(matrix[0, 1]) / np.sqrt(matrix[0, 0] * matrix[1, 1])
        charge = 2 * 8 * np.finfo(float).eps * 4 / least
        assert 0 <= exact - below <= 1.5 * charge + 1.2e-12 * exact


@pytest.mark.parametrize("seed", range(4))
def test_the_line_search_is_that_of_scipy(seed: int) -> None:
    from scipy.optimize import minimize_scalar

    from certify.complexity.gain import _line_search

    rng = np.random.default_rng(seed)
    root, w, ratio = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(5)), 7.0
    for best in range(5):
        vertex = np.eye(5)[best]
        cost = lambda s, vertex=vertex: -np.linalg.slogdet(np.eye(3) + ratio * (root.T * ((1 - s) * w + s * vertex)) @ root)[1]  # noqa: E731
        step = _line_search(w, best, root, ratio)
        assert step == pytest.approx(minimize_scalar(cost, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-9}).x, abs=3e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epsilon", [0.9, 0.1, 1e-4])
def test_the_effective_dimension_of_a_diagonal_kernel(seed: int, epsilon: float) -> None:
    """min{n : best multiset of n <= n / e} lies between the limits; the upper one is that of the spread designs, and the lower one is exact."""
    k = diagonal(seed, 1 + seed)
    found = effective_dimension(np.diag(k), None, epsilon)
    counts, gain, exact = np.zeros(len(k)), 0.0, 1
    while True:
        steps = np.log1p((counts + 1) * k / epsilon**2) - np.log1p(counts * k / epsilon**2)
        counts[steps.argmax()] += 1
        gain += steps.max()
        if gain <= exact / np.e:
            break
        exact += 1
    relaxed = exact
    while spread_gain(k, relaxed, epsilon) > relaxed / np.e:
        relaxed += 1
    assert (found.lower, found.upper) == (exact, relaxed)
    assert len(found.witness) == exact - 1
    assert exact == 1 or np.log1p(np.bincount(found.witness, minlength=len(k)) * k / epsilon**2).sum() > (exact - 1) / np.e
    assert found.scale == epsilon


@pytest.mark.parametrize("exponent", [-3, -7])
def test_the_witness_of_a_singular_kernel_forces_its_length(exponent: int) -> None:
    """Points of a plane at a tiny scale: what rounding may have added is given up, in steps of a 32nd at most."""
    x = np.random.default_rng(1).normal(size=(6, 2))
    gram, epsilon = x @ x.T, 10.0**exponent
    found = effective_dimension(gram, None, epsilon)
    with mpmath.workdps(60):
        chosen = [mpmath.matrix(x[i].tolist()) for i in found.witness]
        inner = mpmath.eye(2)
        for v in chosen:
            inner += v * v.T / mpmath.mpf(epsilon) ** 2
        assert mpmath.log(mpmath.det(inner)) > len(chosen) / mpmath.e
    assert len(found.witness) == found.lower - 1
    assert 0.3 * found.upper < found.lower <= found.upper


def test_dimensions_up_to_a_power_of_two_are_found_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    from certify.complexity import gain

    assert gain._LARGEST_DIMENSION == 2**17
    monkeypatch.setattr(gain, "_LARGEST_DIMENSION", 16)
    assert effective_dimension(np.eye(1), None, 0.3).upper == 14
    with pytest.raises(ValueError, match="the effective dimension exceeds 16"):
        effective_dimension(np.eye(1), None, 0.1)


def test_a_kernel_that_is_symmetric_up_to_rounding_is_made_so() -> None:
    rough = np.array([[1.0, 0.5 + 4e-11], [0.5, 1.0]])
    even = np.array([[1.0, 0.5 + 2e-11], [0.5 + 2e-11, 1.0]])
    assert information_gain(rough, None, 0.5, 3).lower == pytest.approx(information_gain(even, None, 0.5, 3).lower, rel=1e-14)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_an_even_design_has_no_gap_but_rounding(n: int) -> None:
    """At the optimum of equal points the limits differ by the charges for rounding alone."""
    found = information_gain(np.eye(n), None, 0.5, 3 * n)
    with mpmath.workdps(40):
        exact = n * mpmath.log(13)
        assert exact <= found.upper <= exact * (1 + mpmath.mpf("1.3e-12"))
        assert exact * (1 - mpmath.mpf("1.5e-12")) <= found.lower <= exact
