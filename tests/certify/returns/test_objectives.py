"""Utilities from their definitions, their Lipschitz constants over dense pairs, and the two conditions that are tested numerically."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.returns import constrained, expected_utility, homeostasis, log_periodic, piecewise_linear, target_return
from certify.returns.objectives import homogeneity_defect, require_utility

POINTS = [-7.25, -1.0, -0.3, 0.0, 1e-3, 0.7, 2.0, 11.0]


@given(st.floats(-5, 5), st.floats(-5, 5).filter(lambda x: x != 0.0))
def test_two_slopes(below: float, above: float) -> None:
    found = piecewise_linear(below, above)
    assert found.utility(np.array(POINTS)).tolist() == [(above if x > 0 else below) * x + 0.0 for x in POINTS]
    assert found.slopes == (below, above)
    assert found.lipschitz == max(abs(below), abs(above))
    assert (found.dimension, found.rewards, found.shift) == (1, None, 0.0)


def test_hitting_a_target() -> None:
    found = target_return(2.5)
    assert found.utility(np.array(POINTS)).tolist() == [-abs(x) for x in POINTS]
    assert (found.slopes, found.lipschitz, found.shift) == ((1.0, -1.0), 1.0, -2.5)
    assert target_return(-2.5).shift == 2.5


@given(st.floats(0.05, 0.95), st.floats(-1, 1))
def test_log_periodic(gamma: float, amplitude: float) -> None:
    found = log_periodic(gamma, amplitude=amplitude)
    for x in POINTS:
        true = x * (2.0 + amplitude * math.sin(2.0 * math.pi * math.log(abs(x)) / math.log(gamma))) if x else 0.0
        assert float(found.utility(np.array([x]))[0]) == pytest.approx(true, rel=1e-9, abs=1e-12)
    rate = 2.0 * math.pi / math.log(gamma)
    slope = 2.0 + amplitude * np.hypot(1.0, rate) * np.sin(np.linspace(0.0, 2.0 * np.pi, 1001))  # f' = 2 + a (sin u + rate cos u)
    assert np.abs(slope).max() <= found.lipschitz <= 1.0001 * np.abs(slope).max()


def test_balances_near_a_target() -> None:
    rewards = np.arange(12.0).reshape(2, 2, 3)
    x = np.array([[3.0, -4.0, 1.0], [0.0, 0.0, -2.0]])
    for norm, values in (("l1", [-8.0, -2.0]), ("l2", [-math.sqrt(26.0), -2.0]), ("linf", [-4.0, -2.0])):
        found = homeostasis(rewards, norm=norm, target=[1.0, 2.0, 3.0])
        assert found.utility(x) == pytest.approx(values)
        assert found.lipschitz == 1.0
        assert found.shift.tolist() == [-1.0, -2.0, -3.0]
        assert found.dimension == 3
        assert (found.rewards == rewards[:, :, None, :]).all()
        assert found.rewards.shape == (2, 2, 2, 3)
    assert homeostasis(rewards).utility(x) == pytest.approx([-8.0, -2.0])
    whole = np.arange(24.0).reshape(2, 2, 2, 3)
    assert (homeostasis(whole).rewards == whole).all()
    assert homeostasis(np.ones((2, 2, 1))).dimension == 1


def test_limits_with_a_price() -> None:
    found = constrained(np.zeros((2, 2, 3)), [1.5, -0.5], penalty=4.0)
    x = np.array([[10.0, 1.0, -1.0], [10.0, -1.0, 0.5], [-3.0, 2.0, 3.0]])
    assert found.utility(x).tolist() == [10.0 - 4.0, 10.0 - 2.0, -3.0 - 20.0]
    assert found.lipschitz == 4.0
    assert found.shift.tolist() == [0.0, -1.5, 0.5]
    assert constrained(np.zeros((2, 2, 3)), [1.0, 1.0], penalty=0.25).lipschitz == 1.0
    assert constrained(np.zeros((2, 2, 1)), [], penalty=1.0).utility(np.array([[2.0]])).tolist() == [2.0]


def test_a_utility_of_single_numbers() -> None:
    def piece(x):
        return x * x if x > 0 else -x

    found = expected_utility(piece)
    assert found.utility(np.array([[-2.0, 3.0]])).tolist() == [[2.0, 9.0]]
    assert expected_utility(lambda x: np.sum(x)).utility(np.array([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert found.lipschitz is None
    assert expected_utility(piece, lipschitz=2).lipschitz == 2.0


@pytest.mark.parametrize("reach", [1e-3, 1.0, 50.0])
def test_probes_reach_both_ends_and_the_middle(reach: float) -> None:
    seen = []
    require_utility(expected_utility(lambda x: seen.append(x) or x), reach)
    x = np.sort(np.unique(np.concatenate(seen)))
    assert x[0] == pytest.approx(-reach)
    assert x[-1] == pytest.approx(reach)
    assert (x == -x[::-1]).all()
    assert np.diff(x).max() <= 0.01 * reach
    assert 0.0 in x
    assert np.abs(x[x != 0.0]).min() <= 2e-6 * reach


@pytest.mark.parametrize(("slope", "allowed"), [(1.0 + 0.7e-6, True), (1.0 + 1.5e-6, False), (-1.0 - 1.5e-6, False), (0.2, True)])
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_a_slope_may_pass_its_constant_by_a_millionth(slope: float, allowed: bool, size: float) -> None:
    steep = expected_utility(lambda x: size * (x + (slope - 1.0) * np.maximum(x, 0.0) if slope > 0 else slope * x), lipschitz=size)
    if allowed:
        require_utility(steep, 1.0)
    else:
        with pytest.raises(ValueError, match="steepest"):
            require_utility(steep, 1.0)


def test_utilities_of_vectors_are_not_probed_along_a_line() -> None:
    require_utility(homeostasis(np.ones((2, 2, 2))), 1.0)


def test_defect_of_homogeneity() -> None:
    for gamma in (0.3, 0.5, 0.9):
        for good in (piecewise_linear(2.0, -1.0), log_periodic(gamma, amplitude=0.5), expected_utility(lambda x: 3.0 * np.minimum(x, 0.0) + 7.0)):
            assert homogeneity_defect(good, gamma, 5.0, affine=False) <= 1e-12
            assert homogeneity_defect(good, gamma, 5.0, affine=True) <= 1e-9
        for size in (1.0, 1e6, 1e-6):  # x^2 is indifferent in a finite horizon, with alpha = gamma^2; its plain defect is (gamma - gamma^2)/gamma^2
            square = expected_utility(lambda x, size=size: size * x * x)
            assert homogeneity_defect(square, gamma, 5.0, affine=True) <= 1e-9
            assert homogeneity_defect(square, gamma, 5.0, affine=False) == pytest.approx((1.0 - gamma) / gamma, rel=1e-9)
        assert homogeneity_defect(expected_utility(np.tanh), gamma, 5.0, affine=True) > 1e-3
        assert homogeneity_defect(expected_utility(lambda x: 0.0 * x + 4.0), gamma, 5.0, affine=False) <= 1e-12
    turned = expected_utility(lambda x: np.where(np.abs(x) > 0.7, 1.0, -1.0) * np.where(np.abs(x) < 0.9, 1.0, 0.0))
    assert homogeneity_defect(turned, 0.9, 1.0, affine=True) > 0.01
    falling = expected_utility(lambda x: np.cos(np.pi * np.log(np.maximum(np.abs(x), 1e-6)) / np.log(0.5)))  # f(x/2) = -f(x)
    assert homogeneity_defect(falling, 0.5, 1.0, affine=True) == float("inf")
    assert homogeneity_defect(homeostasis(np.ones((2, 2, 3)), norm="l2"), 0.5, 1.0, affine=False) <= 1e-12
    assert homogeneity_defect(homeostasis(np.ones((2, 2, 2))), 0.5, 1.0, affine=True) <= 1e-12
    assert homogeneity_defect(homeostasis(np.ones((2, 2, 1))), 0.5, 1.0, affine=True) <= 1e-12


def test_affine_defect_is_the_residual_of_the_best_line() -> None:
    gamma = 0.5
    probed = []
    homogeneity_defect(expected_utility(lambda x: probed.append(np.array(x)) or x), gamma, 2.0, affine=False)
    x = probed[0]
    f, g = np.tanh(3.0 * x) + 0.5, np.tanh(3.0 * gamma * x) + 0.5
    alpha = ((f - f.mean()) * (g - g.mean())).sum() / ((f - f.mean()) ** 2).sum()
    residual = np.abs(g - g.mean() - alpha * (f - f.mean())).max() / (g.max() - g.min())
    assert homogeneity_defect(expected_utility(lambda x: np.tanh(3.0 * x) + 0.5), gamma, 2.0, affine=True) == pytest.approx(residual, rel=1e-6)
