"""Robust solvers: against the fixed point of an independent sweep, bounds, orders, randomisation, bad input."""

import math
import warnings

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mdps import FiniteHorizonMDP, NotConverged, TabularMDP
from mdps.robust import DIVERGENCES, PENALTIES, solve, worst_case

COMPILED = ("tv", "l1", "kl", "chi2")


def random_mdp(seed, *, discount=0.9, successor_rewards=False, states=5, actions=3):
    rng = np.random.default_rng(seed)
    kernel = rng.dirichlet(np.full(states, 0.6), (states, actions))
    kernel[kernel < 0.02] = 0
    kernel /= kernel.sum(axis=2, keepdims=True)
    shape = (states, actions, states) if successor_rewards else (states, actions)
    return TabularMDP(kernel, rng.uniform(-1, 1, shape), discount=discount)


def rewards(mdp):
    own = mdp.transition_reward
    return own if own is not None else np.repeat(mdp.expected_reward[:, :, None], mdp.n_states, axis=2)


def plain_sweep(mdp, v, **kwargs):
    own, kernel = rewards(mdp), mdp.dense()
    return np.array(
        [
            max(worst_case(own[s, a] + mdp.discount * v, kernel[s, a], **kwargs).value for a in range(mdp.n_actions))
            for s in range(mdp.n_states)
        ]
    )


def conic_game(z, q, budget, divergence):
    """Value of one s-rectangular state: min over (p_a) of max_a p_a.z_a, which equals the max-min."""
    A, n = z.shape
    p, u = cp.Variable((A, n), nonneg=True), cp.Variable()
    constraints, spent = [cp.sum(p, axis=1) == 1, cp.sum(cp.multiply(p, z), axis=1) <= u], 0
    for a in range(A):
        on, off = np.flatnonzero(q[a] > 0), np.flatnonzero(q[a] == 0)
        if divergence in ("tv", "l1"):
            spent = spent + cp.norm1(p[a] - q[a]) * (0.5 if divergence == "tv" else 1.0)
            continue
        if off.size:
            constraints.append(p[a][off] == 0)
        if divergence == "kl":
            spent = spent + cp.sum(cp.kl_div(p[a][on], q[a][on]))
        else:
            spent = spent + cp.sum(cp.multiply(cp.square(p[a][on] - q[a][on]), 1 / q[a][on]))
    problem = cp.Problem(cp.Minimize(u), [*constraints, spent <= budget])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return problem.value


TWO = np.array([[0, 1, 3], [0.5, 0.8, 2]]), np.array([[0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("divergence", "value", "share"), [("l1", 1.11, 1 / 3), ("kl", 0.83678040, 0.3672459), ("chi2", 0.94504301, 0.40311542)]
)
def test_known_games_need_a_randomised_policy(divergence, value, share):
    # the extra state 0 is worth more than every other one, so no mass goes there
    z, q = TWO
    padded = np.hstack([np.full((2, 1), 9.0), z]), np.hstack([np.zeros((2, 1)), q])
    kernel = np.zeros((4, 2, 4))
    kernel[0], kernel[1:, :, 0] = padded[1], 1.0
    reward = np.zeros((4, 2, 4))
    reward[0] = padded[0]
    radius = np.array([0.3, 0, 0, 0])
    found = solve(FiniteHorizonMDP(kernel, reward, horizon=1), divergence=divergence, radius=radius, rectangular="s")
    assert found.value[0, 0] == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(found.policy[0, 0], [share, 1 - share], atol=1e-7)


def test_an_unbound_budget_plays_the_safest_action():
    z, q = np.array([[9, 0, 1.0], [9, 0.2, 1]]), np.array([[0, 0.5, 0.5], [0, 0.5, 0.5]])
    kernel = np.zeros((3, 2, 3))
    kernel[0], kernel[1:, :, 0] = q, 1.0
    reward = np.zeros((3, 2, 3))
    reward[0] = z
    found = solve(FiniteHorizonMDP(kernel, reward, horizon=1), divergence="l1", radius=[2, 0, 0], rectangular="s")
    assert found.value[0, 0] == pytest.approx(0.2, abs=1e-12)
    np.testing.assert_allclose(found.policy[0, 0], [0, 1])


@pytest.mark.parametrize("divergence", COMPILED)
def test_games_agree_with_a_conic_solver_and_the_mixture_is_worth_its_value(divergence):
    rng = np.random.default_rng(COMPILED.index(divergence))
    best_loss = 0.0
    for _ in range(10):
        A, n = int(rng.integers(2, 5)), int(rng.integers(3, 8))
        q = rng.dirichlet(np.ones(n), A)
        q[q < 0.03] = 0
        q /= q.sum(axis=1, keepdims=True)
        z = np.round(rng.uniform(0, 3, (A, n)), int(rng.integers(0, 4)))
        budget = float(rng.choice([0.05, 0.3, 0.8]))
        top = np.full((A, 1), 5.0)
        padded_z, padded_q = np.hstack([top, z]), np.hstack([np.zeros((A, 1)), q])
        kernel, reward = np.zeros((n + 1, A, n + 1)), np.zeros((n + 1, A, n + 1))
        kernel[0], kernel[1:, :, 0], reward[0] = padded_q, 1.0, padded_z
        radius = np.zeros(n + 1)
        radius[0] = budget
        found = solve(FiniteHorizonMDP(kernel, reward, horizon=1), divergence=divergence, radius=radius, rectangular="s")
        assert found.value[0, 0] == pytest.approx(conic_game(padded_z, padded_q, budget, divergence), abs=2e-6)
        pi = found.policy[0, 0]
        assert pi.sum() == pytest.approx(1)
        assert pi.min() >= 0
        # nature's best answer to this mixture alone
        worth = mixture_worth(pi, padded_z, padded_q, budget, divergence)
        assert worth >= found.value[0, 0] - 3e-6
        alone = max(worst_case(padded_z[a], padded_q[a], divergence=divergence, radius=budget).value for a in range(A))
        best_loss = max(best_loss, found.value[0, 0] - alone)
    assert best_loss > 0.05, "a deterministic policy must lose somewhere"


def mixture_worth(pi, z, q, budget, divergence):
    """min sum_a pi_a p_a.z_a over the shared budget, by a conic solver."""
    A, n = z.shape
    p, spent, constraints = cp.Variable((A, n), nonneg=True), 0, []
    constraints.append(cp.sum(p, axis=1) == 1)
    for a in range(A):
        on, off = np.flatnonzero(q[a] > 0), np.flatnonzero(q[a] == 0)
        if divergence in ("tv", "l1"):
            spent = spent + cp.norm1(p[a] - q[a]) * (0.5 if divergence == "tv" else 1.0)
            continue
        if off.size:
            constraints.append(p[a][off] == 0)
        inner, base = p[a][on], q[a][on]
        spent = spent + (cp.sum(cp.kl_div(inner, base)) if divergence == "kl" else cp.sum(cp.multiply(cp.square(inner - base), 1 / base)))
    problem = cp.Problem(cp.Minimize(cp.sum(cp.multiply(pi[:, None] * z, p))), [*constraints, spent <= budget])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(solver="CLARABEL")
    return problem.value


@pytest.mark.parametrize("successor_rewards", [False, True])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_bounds_enclose_the_fixed_point(divergence, successor_rewards):
    mdp = random_mdp(11, successor_rewards=successor_rewards)
    extra = {"weighted-l1": {"weights": np.linspace(0.5, 2, 5)}, "wasserstein": {"cost": np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))}}
    kwargs = {"divergence": divergence, "radius": 0.15, **extra.get(divergence, {})}
    found = solve(mdp, tolerance=1e-9, **kwargs)
    v = found.value.copy()
    for _ in range(3):
        v = plain_sweep(mdp, v, **kwargs)
    assert np.all(found.lower <= v + 1e-9)
    assert np.all(v <= found.upper + 1e-9)
    assert found.error <= 1e-9 * max(1, np.abs(v).max())
    # nature's kernel is a kernel, and the best policy against it earns the value: a saddle point
    worst = found.worst_kernel
    assert worst.min() >= 0
    np.testing.assert_allclose(worst.sum(axis=2), 1, atol=1e-12)
    best = np.max(np.einsum("saj,saj->sa", worst, rewards(mdp) + mdp.discount * v), axis=1)
    np.testing.assert_allclose(best, v, atol=1e-7)


@pytest.mark.parametrize("divergence", PENALTIES)
def test_charged_divergences(divergence):
    mdp = random_mdp(4)
    found = solve(mdp, divergence=divergence, penalty=0.4)
    v = found.value
    for _ in range(5):
        v = plain_sweep(mdp, v, divergence=divergence, penalty=0.4)
    np.testing.assert_allclose(found.value, v, atol=1e-7)


@given(st.integers(0, 10**6), st.sampled_from(COMPILED), st.sampled_from([0.05, 0.3, 0.8]))
def test_orders(seed, divergence, radius):
    mdp = random_mdp(seed, states=4, actions=2)
    nominal = solve(mdp, divergence=divergence, radius=0.0)
    sa = solve(mdp, divergence=divergence, radius=radius)
    s = solve(mdp, divergence=divergence, radius=radius, rectangular="s")
    s_wide = solve(mdp, divergence=divergence, radius=2 * radius, rectangular="s")
    assert np.all(sa.lower <= nominal.upper)
    assert np.all(sa.lower <= s.upper)
    assert np.all(s_wide.lower <= sa.upper)


@given(st.integers(0, 10**6), st.sampled_from(COMPILED))
def test_one_action_makes_the_two_kinds_equal(seed, divergence):
    mdp = random_mdp(seed, actions=1, states=4)
    sa = solve(mdp, divergence=divergence, radius=0.2)
    s = solve(mdp, divergence=divergence, radius=0.2, rectangular="s")
    np.testing.assert_allclose(sa.value, s.value, atol=1e-6)


@pytest.mark.parametrize("rectangular", ["sa", "s"])
@pytest.mark.parametrize("divergence", COMPILED)
def test_finite_horizon_is_the_same_operator(divergence, rectangular):
    mdp = random_mdp(8)
    staged = FiniteHorizonMDP(mdp.transition, mdp.expected_reward, horizon=60, final_value=np.zeros(5))
    found = solve(staged, divergence=divergence, radius=0.2, rectangular=rectangular)
    assert found.value.shape == (61, 5)
    assert np.all(found.lower <= found.value)
    v = found.value[-2]
    if rectangular == "sa":
        undiscounted = [
            max(mdp.expected_reward[s, a] + worst_case(v, mdp.dense()[s, a], divergence=divergence, radius=0.2).value for a in range(3))
            for s in range(5)
        ]
        np.testing.assert_allclose(found.value[-3], undiscounted, atol=1e-9)
    assert found.worst_kernel.shape == (60, 5, 3, 5)


def test_terminal_states_and_masks():
    kernel = np.zeros((3, 2, 3))
    kernel[:2] = 1 / 3
    mask = np.array([[1, 0], [1, 1], [1, 1]], dtype=bool)
    mdp = TabularMDP(kernel, [[1, 50], [1, 2], [1, 1]], discount=0.9, terminal=[2], action_mask=mask)
    for rectangular in ("sa", "s"):
        found = solve(mdp, divergence="tv", radius=0.1, rectangular=rectangular)
        assert found.value[2] == pytest.approx(0, abs=1e-7)
        assert found.value[1] == pytest.approx(found.value[0] + 1, abs=1e-6)


def test_radii_may_differ_and_a_start_helps():
    mdp = random_mdp(3)
    radius = np.zeros((5, 3))
    radius[0] = 0.5
    found = solve(mdp, divergence="tv", radius=radius)
    np.testing.assert_allclose(found.worst_kernel[1:], mdp.dense()[1:], atol=1e-15)
    again = solve(mdp, divergence="tv", radius=radius, start=found.value)
    assert again.iterations <= 2


@pytest.mark.parametrize("discount", [0.5, 0.99, 0.9999])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("rectangular", ["sa", "s"])
def test_scales(discount, scale, rectangular):
    mdp = random_mdp(21, discount=discount)
    scaled = TabularMDP(mdp.transition, scale * mdp.expected_reward, discount=discount)
    for divergence in COMPILED:
        found = solve(scaled, divergence=divergence, radius=0.1, rectangular=rectangular)
        assert found.error <= 1e-8 * max(1, np.abs(found.value).max())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-600, 2.0**600, 2.0**1000])
@pytest.mark.parametrize("rectangular", ["sa", "s"])
def test_rewards_whose_squares_overflow_or_vanish(scale, rectangular):
    mdp = random_mdp(21, successor_rewards=True)
    scaled = TabularMDP(mdp.transition, scale * mdp.transition_reward, discount=0.9)
    staged = FiniteHorizonMDP(mdp.transition, scale * mdp.transition_reward, horizon=3)
    for divergence in COMPILED:
        kwargs = {"divergence": divergence, "radius": 0.1, "rectangular": rectangular}
        plain = solve(mdp, **kwargs)
        found = solve(scaled, **kwargs)
        assert np.all(found.lower / scale <= plain.upper)
        assert np.all(plain.lower <= found.upper / scale)
        if scale > 1:
            np.testing.assert_allclose(found.value / scale, plain.value, rtol=1e-7)
        steps = solve(FiniteHorizonMDP(mdp.transition, mdp.transition_reward, horizon=3), **kwargs)
        np.testing.assert_allclose(solve(staged, **kwargs).value / scale, steps.value, rtol=1e-9, atol=1e-12)
    if rectangular == "sa":
        charged = solve(scaled, divergence="chi2", penalty=scale).lower / scale
        assert np.all(charged <= solve(mdp, divergence="chi2", penalty=1.0).upper)


def test_values_that_overflow_are_refused():
    mdp = TabularMDP(random_mdp(0).transition, np.full((5, 3), 1e307), discount=0.99)
    with pytest.raises(ValueError, match="rewards must be small enough"):
        solve(mdp, divergence="chi2", radius=0.1)


def test_a_far_start_does_not_loosen_the_tolerance():
    mdp = random_mdp(4)
    found = solve(mdp, divergence="tv", radius=0.1, start=np.full(5, 1e12))
    assert found.error <= 1e-8 * max(1.0, np.abs(found.value).max())


def test_sparse_models():
    rng = np.random.default_rng(6)
    kernel = np.zeros((4, 2, 4))
    for row in kernel.reshape(-1, 4):
        row[rng.choice(4, 2, replace=False)] = 0.3, 0.7
    flat, reward = sparse.csr_matrix(kernel.reshape(8, 4)), rng.uniform(-1, 1, (4, 2, 4))
    for divergence in COMPILED:
        for own in (reward, reward[:, :, 0]):
            dense, thin = TabularMDP(kernel, own, discount=0.9), TabularMDP(flat, own, discount=0.9)
            if own is reward and divergence in ("tv", "l1"):
                # the sparse model does not hold the rewards of the successors that nature may choose
                with pytest.raises(ValueError, match=r"reward of a sparse model must be \(S, A\) for divergence"):
                    solve(thin, divergence=divergence, radius=0.2)
                continue
            np.testing.assert_allclose(
                solve(thin, divergence=divergence, radius=0.2).value, solve(dense, divergence=divergence, radius=0.2).value, atol=1e-12
            )


def test_a_spent_budget_raises_with_the_partial_solution():
    mdp = random_mdp(0, discount=0.999)
    with pytest.raises(NotConverged, match="robust value iteration reached error") as info:
        solve(mdp, divergence="kl", radius=0.1, max_iterations=1)
    assert not info.value.solution.converged
    with pytest.raises(NotConverged, match="rounding"):
        solve(mdp, divergence="tv", radius=0.1, tolerance=1e-16)


BAD = [
    ({"radius": -1}, "radius of 'tv'"),
    ({"radius": math.nan}, "radius must hold numbers"),
    ({"radius": None}, "exactly one of radius and penalty"),
    ({"radius": [0.1, 0.2]}, "radius has shape"),
    ({"radius": "big"}, "radius must be a number or an array"),
    ({"radius": "0.1"}, "radius must be a number or an array"),
    ({"radius": True}, "radius must be a number or an array"),
    ({"penalty": 1.0}, "exactly one of radius and penalty must be given, got radius 0.1 and penalty 1.0"),
    ({"divergence": "wasserstein"}, "cost must be given for divergence 'wasserstein', got none"),
    ({"divergence": "renyi"}, "divergence must be one of"),
    ({"rectangular": "r"}, "rectangular must be one of"),
    ({"rectangular": "s", "divergence": "l2"}, "divergence of an s-rectangular set must be one of"),
    ({"rectangular": "s", "radius": None, "penalty": 1.0}, "penalty is for rectangular='sa'"),
    ({"tolerance": 0}, "tolerance must be a finite number > 0"),
    ({"max_iterations": 0}, "max_iterations must be an integer >= 1"),
    ({"weights": [1] * 5}, "weights must be given for divergence"),
    ({"start": [1, 2]}, "start must hold 5 finite numbers"),
    ({"start": "zero"}, "start must be an array of real numbers"),
    ({"start": [0, 0, math.nan, 0, 0]}, "start at index"),
    ({"mdp": 3}, "mdp must be a TabularMDP"),
    ({"mdp": random_mdp(0).with_discount(None)}, "mdp needs a discount"),
    ({"mdp": random_mdp(0).with_discount(1.0)}, "discount must be a number in"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    arguments = {"mdp": random_mdp(0), "divergence": "tv", "radius": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        solve(arguments.pop("mdp"), **arguments)
