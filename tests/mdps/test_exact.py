"""The rational checker and solver: right on hand-made cases, and the checker refuses what is wrong by the least amount."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import mdps

ONE = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)


@st.composite
def models(draw):
    seed, S, A = draw(st.integers(0, 2**32)), draw(st.integers(1, 7)), draw(st.integers(1, 3))
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(S) * 0.4, size=(S, A))
    shape = (S, A) if draw(st.booleans()) else (S, A, S)
    return mdps.TabularMDP(P, rng.normal(size=shape) * 10.0 ** rng.integers(-3, 9), discount=1 - 10.0 ** -rng.uniform(0.1, 6))


def as_sparse(model):
    reward = model.expected_reward
    if model.transition_reward is not None:
        reward = sparse.csr_matrix(model.transition_reward.reshape(-1, model.n_states))
    return mdps.TabularMDP(model.csr(), reward, discount=model.discount)


def test_check_is_exact_to_the_last_unit():
    assert mdps.exact.check(ONE, [2.0], [2.0])
    assert not mdps.exact.check(ONE, [np.nextafter(2, 3)], [3.0])
    assert not mdps.exact.check(ONE, [1.0], [np.nextafter(2, 1)])


def test_check_reads_a_row_as_its_renormalised_rational():
    P = np.full((3, 1, 3), 1 / 3) * (1 + 7e-10)
    model = mdps.TabularMDP(P, np.ones((3, 1)), discount=0.75)
    assert mdps.exact.check(model, [4.0] * 3, [4.0] * 3)


def test_a_valid_bracket_that_is_no_subsolution_is_not_accepted():
    P = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])
    model = mdps.TabularMDP(P, np.ones((2, 1)), discount=0.5)
    assert not mdps.exact.check(model, [1.9, 1.0], [3, 3])
    assert mdps.exact.check(model, [1.5, 1.0], [3, 3])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_refuses_numbers_that_are_none(bad):
    assert not mdps.exact.check(ONE, [bad], [3.0])
    assert not mdps.exact.check(ONE, [1.0], [bad])


def test_check_refuses_wrong_shapes_and_models_without_discount():
    with pytest.raises(mdps.ModelError, match=r"lower and upper must have shape \(1,\), got \(2,\)"):
        mdps.exact.check(ONE, [1.0, 1.0], [1.0])
    for door in (lambda m: mdps.exact.check(m, [0.0], [0.0]), mdps.exact.solve):
        for discount in (None, 1.0):
            with pytest.raises(mdps.InvalidDiscount):
                door(ONE.with_discount(discount))
    with pytest.raises(mdps.ModelError, match="available action"):
        mdps.exact.solve(ONE, policy=[1])


@settings(max_examples=80)
@given(models())
def test_the_exact_solution_solves_the_optimality_equation(model):
    exact = mdps.exact.solve(model)
    g = Fraction(model.discount)
    for s in range(model.n_states):
        values = []
        for a in range(model.n_actions):
            p = [Fraction(x) for x in model.transition[s, a].tolist()]
            r = [Fraction(float(model.expected_reward[s, a]))] * len(p)
            if model.transition_reward is not None:
                r = [Fraction(x) for x in model.transition_reward[s, a].tolist()]
            values.append(sum(w * (x + g * v) for w, x, v in zip(p, r, exact.value, strict=True)) / sum(p))
        assert max(values) == exact.value[s]
        assert [v == max(values) for v in values] == exact.optimal_actions[s].tolist()
        assert exact.optimal_actions[s, exact.policy[s]]


@settings(max_examples=80)
@given(models())
def test_every_result_passes_and_a_shrunk_bracket_does_not(model):
    solution = mdps.solve(model, raise_on_budget=False)
    middle = solution.lower + (solution.upper - solution.lower) / 2
    width = np.maximum(solution.upper - solution.lower, np.abs(middle) * 1e-9 + 1e-9)
    for form in (model, as_sparse(model)):
        assert mdps.exact.check(form, solution.lower, solution.upper)
        assert not mdps.exact.check(form, solution.upper + width, solution.upper + width)
        assert not mdps.exact.check(form, solution.lower - width, solution.lower - width)


def test_starting_policy_changes_nothing():
    rng = np.random.default_rng(0)
    model = mdps.TabularMDP(rng.dirichlet(np.ones(5), size=(5, 3)), rng.normal(size=(5, 3)), discount=0.9)
    assert (mdps.exact.solve(model).value == mdps.exact.solve(model, policy=[2] * 5).value).all()


def test_ten_thousand_states_are_checked():
    """One bracket of a sparse model at the size up to which results are checked."""
    S, A, b = 10_000, 2, 3
    rng = np.random.default_rng(1)
    matrix = sparse.csr_matrix(
        (rng.dirichlet(np.ones(b), size=S * A).ravel(), rng.integers(0, S, size=S * A * b), np.arange(0, S * A * b + 1, b)), shape=(S * A, S)
    )
    model = mdps.TabularMDP(matrix, rng.normal(size=(S, A)), discount=0.99)
    solution = mdps.solve(model)
    assert mdps.exact.check(model, solution.lower, solution.upper)
    shrunk = solution.lower + 0.51 * (solution.upper - solution.lower)
    assert not mdps.exact.check(model, shrunk, shrunk)


def test_fractions_and_integers_are_not_rounded_before_they_are_checked():
    third = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.25)
    value, little = Fraction(4, 3), Fraction(1, 10**30)
    assert mdps.exact.check(third, [value], [value])
    assert mdps.exact.check(third, [value - little], [value + little])
    assert not mdps.exact.check(third, [value + little], [value + 2 * little])
    assert not mdps.exact.check(third, [1.0], [value - little])
    large = mdps.TabularMDP(np.ones((1, 1, 1)), np.full((1, 1), 2.0**52), discount=0.5)
    assert mdps.exact.check(large, [2**53], [2**53 + 1])
    assert not mdps.exact.check(large, [2**53 + 1], [2**53 + 2])
    staged = mdps.FiniteHorizonMDP(np.ones((1, 1, 1)), np.ones((1, 1)), horizon=2, final_value=[1.0])
    exact = mdps.exact.solve(staged).value
    assert mdps.exact.check(staged, exact, exact)
    assert not mdps.exact.check(staged, exact + little, exact + little)
    assert not mdps.exact.check(third, np.array([float("nan")], dtype=object), [value])


@pytest.mark.parametrize("call", [lambda: mdps.exact.solve(3), lambda: mdps.exact.check(None, [0], [1]), lambda: mdps.exact.check(ONE, ["a"], [1])])
def test_what_is_no_model_or_no_number_is_refused(call):
    with pytest.raises(mdps.ModelError, match="must be a"):
        call()
