"""Backward induction against exact rationals, brute force over time-dependent policies, and the discounted limit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdps
from mdps.solution import Status


def random_model(seed, S, A, H, *, staged, scale=1.0, **options):
    rng = np.random.default_rng(seed)
    shape = (H, S, A) if staged else (S, A)
    P = rng.dirichlet(np.ones(S) * 0.5, size=shape)
    return mdps.FiniteHorizonMDP(P, scale * rng.normal(size=shape), horizon=H, **options)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3), st.integers(1, 6), st.booleans(), st.sampled_from([1e-6, 1.0, 1e12]))
def test_brackets_enclose_the_exact_value_stage_by_stage(seed, S, A, H, staged, scale):
    model = random_model(seed, S, A, H, staged=staged, scale=scale)
    solution, exact = mdps.solve(model), mdps.exact.solve(model)
    assert solution.value.shape == (H + 1, S)
    assert (solution.lower <= exact.value).all()
    assert (exact.value <= solution.upper).all()
    assert mdps.exact.check(model, solution.lower, solution.upper)
    assert (solution.optimal_actions >= exact.optimal_actions).all()
    assert solution.action_value.shape == (H, S, A)
    assert solution.action_value.max(axis=2) == pytest.approx(solution.value[:-1])


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.booleans())
def test_no_time_dependent_policy_is_better(seed, staged):
    H, S, A = 2, 3, 2
    model = random_model(seed, S, A, H, staged=staged)
    solution = mdps.solve(model)
    every = [np.array(p).reshape(H, S) for p in itertools.product(range(A), repeat=H * S)]
    best = np.max([mdps.evaluate(model, p).value for p in every], axis=0)
    assert best == pytest.approx(solution.value, abs=1e-12)
    assert mdps.evaluate(model, solution.policy).value == pytest.approx(solution.value, abs=1e-12)


def test_sparse_and_dense_agree_and_final_value_counts():
    dense = random_model(1, 6, 3, 9, staged=False, final_value=np.arange(6.0))
    matrix = dense.stage(0).csr()
    sparse = mdps.FiniteHorizonMDP(matrix, dense.expected_reward, horizon=9, final_value=np.arange(6.0))
    assert mdps.solve(sparse).value == pytest.approx(mdps.solve(dense).value, abs=1e-12)
    assert mdps.solve(sparse).value[-1].tolist() == [0, 1, 2, 3, 4, 5]


def test_mask_holds_at_every_stage():
    mask = np.array([[True, False], [False, True], [True, True]])
    model = random_model(2, 3, 2, 4, staged=True, action_mask=mask)
    solution = mdps.solve(model)
    assert mask[np.arange(3), solution.policy].all()
    assert mdps.exact.check(model, solution.lower, solution.upper)
    assert (solution.lower <= mdps.exact.solve(model).value).all()


def test_linear_models_are_solved_through_their_table():
    rng = np.random.default_rng(3)
    model = mdps.LinearMDP(rng.dirichlet(np.ones(3), size=(4, 2)), rng.dirichlet(np.ones(4), size=(5, 3)), rng.normal(size=(5, 3)), horizon=5)
    solution = mdps.solve(model)
    assert solution.value == pytest.approx(mdps.solve(model.tabular()).value)
    assert mdps.exact.check(model, solution.lower, solution.upper)
    assert (mdps.exact.solve(model).value >= solution.lower).all()


def test_budget_and_criterion():
    model = random_model(4, 3, 2, 10, staged=False)
    with pytest.raises(mdps.NotConverged) as caught:
        mdps.solve(model, max_iterations=3)
    assert caught.value.solution.status is Status.ITERATIONS_SPENT
    assert np.isinf(caught.value.solution.upper[0]).all()
    assert np.isfinite(caught.value.solution.upper[7:]).all()
    with pytest.raises(mdps.ModelError, match="criterion must be 'finite-horizon' for a FiniteHorizonMDP, got 'discounted'"):
        mdps.solve(model, criterion="discounted")
    with pytest.raises(mdps.ModelError, match="method must be one of 'auto', 'backward-induction'"):
        mdps.solve(model, method="value-iteration")
    with pytest.raises(mdps.ModelError, match="initial_value has no meaning"):
        mdps.solve(model, initial_value=np.zeros(3))
