"""Closed forms of DR-RPO: known values, extremes, an independent solver, bad input."""

import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory import dr_rpo

Q, REF = [1.0, 2.0, 0.0], [0.5, 0.3, 0.2]


@pytest.mark.parametrize(
    ("eta", "value", "policy"),
    [(0.5, 1.50466897, (0.1822301, 0.80790504, 0.00986486)), (5, 1.14860452, (0.48535821, 0.35569071, 0.15895108))],
)
def test_known_softmax(eta, value, policy):
    assert dr_rpo.soft_value(Q, REF, eta) == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(dr_rpo.softmax_policy(Q, REF, eta), policy, atol=1e-8)


def test_divergence_near_and_far_from_the_reference():
    ref = np.array([0.5, 0.3, 0.2])
    for small in (1e-3, 1e-6, 1e-9):
        tilt = small * np.array([1.0, -1.0, 0.0])
        # second order: half the chi-square distance, next term of third order
        expected = 0.5 * np.sum(tilt**2 / ref)
        assert dr_rpo.policy_divergence(ref + tilt, ref) == pytest.approx(expected, rel=10 * small + 1e-6, abs=1e-31)
    for tiny in (1e-20, 1e-310, 0.0):
        assert dr_rpo.policy_divergence([1.0 - tiny, tiny], [0.5, 0.5]) == pytest.approx(math.log(2), abs=1e-15)
    assert dr_rpo.policy_divergence([[0.0, 1.0], [1.0, 0.0]], [1.0, 0.0]).tolist() == [math.inf, 0.0]


@pytest.mark.parametrize("eta", [0.05, 0.5, 3.0])
def test_a_convex_solver_finds_the_softmax(eta):
    rng = np.random.default_rng(0)
    for _ in range(3):
        q, ref = rng.normal(size=5), rng.dirichlet(np.ones(5))
        pi = cp.Variable(5, nonneg=True)
        problem = cp.Problem(cp.Maximize(pi @ q - eta * cp.sum(cp.kl_div(pi, ref))), [cp.sum(pi) == 1])
        problem.solve(solver="CLARABEL")
        assert dr_rpo.soft_value(q, ref, eta) == pytest.approx(problem.value, abs=1e-7)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.floats(-12, 12))
def test_every_temperature_is_accurate(q, exponent):
    eta = 10.0**exponent
    value = float(dr_rpo.soft_value(q, REF, eta))
    mean, variance = np.dot(REF, q), np.dot(REF, (np.array(q) - np.dot(REF, q)) ** 2)
    assert mean - 1e-12 <= value <= max(q) + 1e-12
    if eta > 1e4:
        assert value == pytest.approx(mean + variance / (2 * eta), abs=200 / eta**2 + 1e-14)
    if eta < 1e-9:
        assert value == pytest.approx(max(q), abs=1e-8)
    pi = dr_rpo.softmax_policy(q, REF, eta)
    assert pi.sum() == pytest.approx(1)


def test_limits_and_supports():
    assert dr_rpo.soft_value(Q, REF, 0.0) == 2.0
    assert dr_rpo.soft_value(Q, REF, math.inf) == pytest.approx(1.1)
    assert dr_rpo.soft_value(Q, [0.5, 0.0, 0.5], 0.0) == 1.0
    np.testing.assert_array_equal(dr_rpo.softmax_policy([1, 1, 0], REF, 0.0), [1, 0, 0])
    np.testing.assert_allclose(dr_rpo.softmax_policy(Q, REF, math.inf), REF)
    assert dr_rpo.softmax_policy(Q, [0.5, 0.0, 0.5], 1.0)[1] == 0.0
    assert dr_rpo.policy_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert dr_rpo.policy_divergence([1.0, 0.0], [1.0, 0.0]) == 0.0


def test_duplicate_actions_collapse():
    assert dr_rpo.soft_value([1, 1, 0], [0.2, 0.3, 0.5], 0.7) == pytest.approx(dr_rpo.soft_value([1, 0], [0.5, 0.5], 0.7))


@pytest.mark.parametrize(("k", "diagonal", "elliptical"), [(10, 2.258, 0.313), (1e3, 2.236, 0.0316), (1e5, 2.236, 0.0032)])
def test_bonuses(k, diagonal, elliptical):
    assert dr_rpo.diagonal_bonus(k, 0.1) == pytest.approx(diagonal, abs=5e-4)
    assert dr_rpo.elliptical_bonus(k, 0.1) == pytest.approx(elliptical, rel=2e-2)
    matrix = 0.1 * np.eye(2) + k / 4
    phi = np.full(2, 0.5)
    assert dr_rpo.diagonal_bonus(k, 0.1) == pytest.approx(phi @ np.sqrt(np.diagonal(np.linalg.inv(matrix))), abs=1e-6)
    assert dr_rpo.elliptical_bonus(k, 0.1) == pytest.approx(math.sqrt(phi @ np.linalg.solve(matrix, phi)), abs=1e-6)


def test_the_absorbing_coefficient_is_sufficient_not_necessary():
    """With two features on the simplex and z = (1, 1), sqrt(ridge) absorbs every design, below sqrt(2 ridge)."""
    ridge, z = 0.7, np.ones(2)
    rng = np.random.default_rng(1)
    needed = 0.0
    for _ in range(500):
        phi = rng.dirichlet([0.3, 0.3], int(rng.integers(0, 6)))
        inverse = np.linalg.inv(ridge * np.eye(2) + phi.T @ phi)
        lost, width = z - inverse @ (phi.T @ (phi @ z)), np.sqrt(np.diagonal(inverse))
        # a point of the simplex needs beta at least the ratio of the two
        share = np.linspace(0, 1, 21)
        points = np.stack([share, 1 - share])
        needed = max(needed, float(np.max((lost @ points) / (width @ points))))
    assert needed <= math.sqrt(ridge) + 1e-9
    assert dr_rpo.absorbing_coefficient(z, ridge) == pytest.approx(math.sqrt(2 * ridge))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dr_rpo.soft_value(Q, REF, -1.0), "temperature must be in"),
        (lambda: dr_rpo.soft_value(Q, REF, math.nan), "temperature must be in"),
        (lambda: dr_rpo.soft_value([1.0, math.nan, 0], REF, 1.0), "action_values must be finite"),
        (lambda: dr_rpo.soft_value(Q, [0.5, 0.5, 0.5], 1.0), "reference must sum to 1"),
        (lambda: dr_rpo.soft_value(Q, [0.5, 0.5], 1.0), "reference must have a shape"),
        (lambda: dr_rpo.soft_value(Q, [-0.5, 1.0, 0.5], 1.0), "reference must be in"),
        (lambda: dr_rpo.softmax_tv_bound(-1.0, 1.0), "span must be in"),
        (lambda: dr_rpo.softmax_kl_bound(1.0, 0.0), "temperature must be finite and > 0"),
        (lambda: dr_rpo.temperature_bias(1.0, steps=3, least_probability=0.0), "least_probability"),
        (lambda: dr_rpo.diagonal_bonus(3, 0.0), "ridge must be"),
        (lambda: dr_rpo.stopping_change(0.1, 1.5), "discount must be"),
        (lambda: dr_rpo.indistinguishable_loss(2.0), "radius must be in"),
        (lambda: dr_rpo.saturating_coefficient(dimension=2, horizon=3, episodes=0, delta=0.1), "episodes must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
