"""Discounted solvers: all methods agree with each other, with brute force and with the textbook, and say what they could not do."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import mdps
from mdps import discounted
from mdps.discounted import METHODS
from mdps.solution import Status


@st.composite
def models(draw, max_states=6, max_actions=3, max_discount=0.99):
    """Models with small integer weights and rewards: ties, zeros, absorbing and unreachable states included."""
    S, A = draw(st.integers(1, max_states)), draw(st.integers(1, max_actions))
    size = S * A * S
    weights = np.array(draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)), dtype=float).reshape(S, A, S)
    weights[..., 0] += weights.sum(axis=-1) == 0
    rewards = np.array(draw(st.lists(st.integers(-3, 3), min_size=S * A, max_size=S * A)), dtype=float).reshape(S, A)
    discount = draw(st.floats(0.01, max_discount))
    return mdps.TabularMDP(weights / weights.sum(axis=-1, keepdims=True), rewards, discount=discount)


def as_sparse(model):
    return mdps.TabularMDP(model.csr(), model.expected_reward, discount=model.discount)


def values_of_policies(model):
    """Values of all deterministic policies, one row each."""
    P, r, S = model.transition, model.expected_reward, model.n_states
    found = []
    for policy in itertools.product(range(model.n_actions), repeat=S):
        kernel, gain = P[np.arange(S), policy], r[np.arange(S), policy]
        found.append(np.linalg.solve(np.eye(S) - model.discount * kernel, gain))
    return np.array(found)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60)
@given(model=models(max_discount=0.95))
def test_every_method_brackets_the_exact_value(method, model):
    exact = mdps.exact.solve(model).value
    for form in (model, as_sparse(model)):
        solution = mdps.solve(form, method=method)
        assert (solution.lower <= exact).all()
        assert (exact <= solution.upper).all()
        assert mdps.exact.check(form, solution.lower, solution.upper)
        assert solution.error <= 1e-8 * max(1, np.abs(exact.astype(float)).max()) * (1 + 1e-6)


@settings(max_examples=700)
@given(model=models(max_states=8))
def test_policy_iteration_linear_programming_and_value_iteration_agree(model):
    scale = 1e-7 * max(1, np.abs(mdps.solve(model).value).max())
    results = [mdps.solve(model, method=m).value for m in ("policy-iteration", "modified-policy-iteration", "value-iteration")]
    for other in results[1:]:
        assert np.abs(results[0] - other).max() <= scale


@settings(max_examples=60)
@given(model=models(max_states=6))
def test_linear_programming_agrees(model):
    scale = 1e-7 * max(1, np.abs(mdps.solve(model).value).max())
    assert np.abs(mdps.solve(model, method="linear-programming").value - mdps.solve(model).value).max() <= scale


@given(model=models(max_states=4, max_actions=3))
def test_no_policy_is_better_and_the_policy_returned_attains_the_value(model):
    solution = mdps.solve(model)
    values = values_of_policies(model)
    scale = 1e-9 * max(1, np.abs(solution.value).max())
    assert np.abs(values.max(axis=0) - solution.value).max() <= scale
    assert np.abs(mdps.evaluate(model, solution.policy).value - solution.value).max() <= scale


@given(model=models())
def test_optimal_actions_contain_every_optimal_action_and_gap_separates(model):
    solution, exact = mdps.solve(model), mdps.exact.solve(model)
    assert (solution.optimal_actions >= exact.optimal_actions).all()
    q, best = solution.action_value, solution.action_value.max(axis=1)
    assert solution.gap == pytest.approx(best - np.where(solution.optimal_actions, -np.inf, q).max(axis=1))
    assert (q[np.arange(model.n_states), solution.policy] >= best - solution.slack).all()


def test_two_state_textbook_example():
    """Puterman 1994, section 3.1 and 6.2: states s1, s2; discount 0.95."""
    P = np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    r = np.array([[5.0, 10.0], [-1.0, -1.0]])
    for method in METHODS:
        solution = mdps.solve(mdps.TabularMDP(P, r, discount=0.95), method=method)
        assert solution.value == pytest.approx([-60 / 7, -20], abs=1e-6)
        assert solution.policy[0] == 0


class TestTraps:
    """Instances on which solvers have been seen to return wrong numbers or to hang."""

    @pytest.mark.parametrize("method", [m for m in METHODS if m != "linear-programming"])
    def test_all_zero_reward(self, method):
        model = mdps.TabularMDP(np.full((3, 2, 3), 1 / 3), np.zeros((3, 2)), discount=0.999)
        solution = mdps.solve(model, method=method)
        assert not solution.value.any()
        assert not solution.lower.any()
        assert not solution.upper.any()
        assert solution.optimal_actions.all()

    def test_negative_rewards(self):
        model = mdps.TabularMDP(np.ones((1, 1, 1)), np.array([[-10.0]]), discount=0.9)
        assert mdps.solve(model).value == pytest.approx([-100])

    @pytest.mark.parametrize("method", ["auto", "value-iteration", "gauss-seidel", "modified-policy-iteration", "krylov-policy-iteration"])
    def test_periodic_chain(self, method):
        P = np.roll(np.eye(3), 1, axis=1)[:, None, :]
        model = mdps.TabularMDP(P, np.array([[1.0], [0.0], [0.0]]), discount=0.9)
        wanted = np.array([1, 0.81, 0.9]) / (1 - 0.9**3)
        solution = mdps.solve(model, method=method)
        assert solution.value == pytest.approx(wanted, abs=1e-7)
        assert mdps.exact.check(model, solution.lower, solution.upper)

    @pytest.mark.parametrize("levels", [10, 20, 40])
    def test_slow_mixing_chain(self, levels):
        """Two ends, each reached only by `levels` lucky steps in a row: the span of the change settles long before the values do."""
        S = 2 * levels + 1
        P, r = np.zeros((S, 1, S)), np.zeros((S, 1))
        for i in range(1, levels):
            for here, outwards in ((i, i - 1), (S - 1 - i, S - i)):
                P[here, 0, outwards] = P[here, 0, levels] = 0.5
        P[0, 0, 0] = P[S - 1, 0, S - 1] = 1.0
        P[levels, 0, levels - 1] = P[levels, 0, levels + 1] = 0.5
        r[0] = 1.0
        model = mdps.TabularMDP(P, r, discount=1 - 1e-6)
        solution = mdps.solve(model)
        assert mdps.exact.check(model, solution.lower, solution.upper)
        assert solution.error <= 1e-8 * solution.value.max()

    def test_two_classes_of_different_gain(self):
        P = np.eye(4)[:, None, :]
        model = mdps.TabularMDP(P, np.array([[1e12], [-1e12], [1.0], [0.0]]), discount=1 - 1e-6)
        solution = mdps.solve(model)
        assert mdps.exact.check(model, solution.lower, solution.upper)
        assert solution.value == pytest.approx([1e18, -1e18, 1e6, 0], rel=1e-6, abs=1e10)

    def test_a_huge_loss_that_is_never_chosen_costs_no_accuracy(self):
        model = mdps.TabularMDP(np.ones((1, 2, 1)), np.array([[0.0, -1e12]]), discount=1 - 1e-6)
        assert mdps.solve(model).error <= 1e-8

    def test_cancelling_transition_rewards_are_settled_in_fractions(self):
        P, r = np.full((1, 1, 3), 1 / 3), np.array([[[1e12, -1e12, 1e-3]]])
        model = mdps.TabularMDP(np.repeat(np.repeat(P, 3, 0), 2, 1), np.repeat(np.repeat(r, 3, 0), 2, 1), discount=1 - 1e-6)
        solution = mdps.solve(model)
        assert solution.converged
        assert mdps.exact.check(model, solution.lower, solution.upper)

    def test_thirds_that_do_not_sum_to_one_in_floats(self):
        P = np.full((3, 1, 3), 1 / 3)
        P[0] = [0.1, 0.2, 0.7 + 9e-10]
        model = mdps.TabularMDP(P, np.array([[1e6], [2e6], [3e6]]), discount=1 - 1e-6)
        solution = mdps.solve(model)
        assert mdps.exact.check(model, solution.lower, solution.upper)


class TestBudgets:
    def slow(self):
        P = np.eye(50)[:, None, :] * 0.5 + np.roll(np.eye(50), 1, axis=1)[:, None, :] * 0.5
        return mdps.TabularMDP(P, np.arange(50.0)[:, None], discount=0.9999)

    def test_a_spent_budget_raises_and_carries_a_valid_bracket(self):
        with pytest.raises(mdps.NotConverged, match="value-iteration reached an error of at most .* iteration budget spent") as caught:
            mdps.solve(self.slow(), method="value-iteration", max_iterations=7)
        partial = caught.value.solution
        assert (partial.iterations, partial.status, partial.converged) == (7, Status.ITERATIONS_SPENT, False)
        assert mdps.exact.check(self.slow(), partial.lower, partial.upper)
        quiet = mdps.solve(self.slow(), method="value-iteration", max_iterations=7, raise_on_budget=False)
        assert quiet.status is Status.ITERATIONS_SPENT

    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_keeps_to_a_budget_of_one(self, method):
        try:
            solution = mdps.solve(self.slow(), method=method, max_iterations=1)
        except mdps.NotConverged as error:
            solution = error.solution
        assert solution.iterations <= 2
        assert mdps.exact.check(self.slow(), solution.lower, solution.upper)

    def test_time_limit_and_progress(self):
        solution = mdps.solve(self.slow(), method="value-iteration", time_limit=1e-9, raise_on_budget=False)
        assert solution.status is Status.TIME_SPENT
        seen = []
        stopped = mdps.solve(
            self.slow(), method="value-iteration", progress=lambda n, e: seen.append((n, e)) or len(seen) < 5, raise_on_budget=False
        )
        assert stopped.status is Status.STOPPED
        assert [n for n, _ in seen] == [1, 2, 3, 4, 5]
        assert all(later <= earlier for (_, earlier), (_, later) in itertools.pairwise(seen))

    def test_warm_start_saves_sweeps(self):
        model = self.slow()
        cold = mdps.solve(model, method="value-iteration", tolerance=1e-6)
        warm = mdps.solve(model, method="value-iteration", tolerance=1e-6, initial_value=cold.value)
        assert warm.iterations < cold.iterations / 2

    def test_an_impossible_tolerance_is_reported_not_promised(self):
        with pytest.raises(mdps.NotConverged, match="rounding errors stand above the tolerance") as caught:
            mdps.solve(self.slow(), tolerance=1e-15)
        assert mdps.exact.check(self.slow(), caught.value.solution.lower, caught.value.solution.upper)


SOUND = mdps.TabularMDP(np.full((2, 1, 2), 0.5), np.zeros((2, 1)), discount=0.9)


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        pytest.param(SOUND.with_discount(1.0), {}, mdps.InvalidDiscount, r"\(0, 1\); 1 needs a horizon, got 1", id="discount-1"),
        pytest.param(SOUND.with_discount(None), {}, mdps.InvalidDiscount, "criterion='average'", id="no-discount"),
        pytest.param(SOUND, {"tolerance": -1e-6}, mdps.ModelError, "tolerance must be a finite number > 0, got -1e-06", id="tolerance"),
        pytest.param(SOUND, {"tolerance": float("nan")}, mdps.ModelError, "tolerance", id="tolerance-nan"),
        pytest.param(SOUND, {"tolerance": "small"}, mdps.ModelError, "tolerance", id="tolerance-text"),
        pytest.param(SOUND, {"method": "magic"}, mdps.ModelError, "method must be one of 'auto', 'value-iteration'", id="method"),
        pytest.param(SOUND, {"criterion": "total"}, mdps.ModelError, "criterion must be one of", id="criterion"),
        pytest.param(SOUND, {"criterion": "finite-horizon"}, mdps.ModelError, "needs a FiniteHorizonMDP", id="criterion-horizon"),
        pytest.param(SOUND, {"max_iterations": 0}, mdps.ModelError, "max_iterations must be an integer >= 1, got 0", id="iterations"),
        pytest.param(SOUND, {"time_limit": 0}, mdps.ModelError, "time_limit must be a finite number > 0", id="time"),
        pytest.param(SOUND, {"progress": 3}, mdps.ModelError, "progress must be callable", id="progress"),
        pytest.param(SOUND, {"initial_value": [1.0]}, mdps.WrongShape, "initial_value has shape", id="start-shape"),
        pytest.param(SOUND, {"initial_value": [float("inf"), 0]}, mdps.NotFinite, "initial_value", id="start-inf"),
        pytest.param("model", {}, mdps.ModelError, "mdp must be a TabularMDP", id="no-model"),
    ],
)
def test_bad_arguments_are_refused(model, options, error, message):
    with pytest.raises(error, match=message):
        mdps.solve(model, **options)


@pytest.mark.parametrize("method", ["auto", *[m for m in METHODS if "linear" not in m]])
def test_compiled_sweeps_agree_with_the_plain_ones(method, monkeypatch):
    rng = np.random.default_rng(0)
    S, A, b = 300, 3, 4
    columns = rng.integers(0, S, size=(S * A, b))
    weights = rng.dirichlet(np.ones(b), size=S * A)
    matrix = sparse.csr_matrix((weights.ravel(), columns.ravel(), np.arange(0, S * A * b + 1, b)), shape=(S * A, S))
    reward = rng.normal(size=(S, A))
    plain = mdps.solve(mdps.TabularMDP(matrix, reward, discount=0.98), method=method)
    monkeypatch.setattr("mdps.operators.COMPILED_ABOVE", 100)
    model = mdps.TabularMDP(matrix, reward, discount=0.98)
    fast = mdps.solve(model, method=method)
    assert fast.value == pytest.approx(plain.value, abs=2e-8 * np.abs(plain.value).max())
    assert fast.action_value == pytest.approx(plain.action_value, abs=2e-8 * np.abs(plain.value).max())
    assert mdps.exact.check(model, fast.lower, fast.upper)


@pytest.mark.parametrize("predicted", [1.0, 1e9])
def test_a_slow_model_is_handed_over_and_comes_back_where_gauss_seidel_is_slow_too(predicted, monkeypatch):
    monkeypatch.setattr("mdps.discounted.SLOW_SWEEPS", 0)
    monkeypatch.setattr("mdps.discounted.SLOW_ROUNDS", 1)
    alternate = discounted._alternate
    monkeypatch.setattr("mdps.discounted._alternate", lambda *a: (alternate(*a)[0], predicted))
    model = mdps.families.forest(3_000, discount=0.99)
    found = mdps.solve(model)
    assert found.method == ("modified-policy-iteration" if predicted == 1.0 else "gauss-seidel")
    assert mdps.exact.check(model, found.lower, found.upper)
    assert found.value == pytest.approx(mdps.solve(model, method="modified-policy-iteration").value, abs=1e-5)


def test_repr_says_how_good_it_is():
    assert repr(mdps.solve(SOUND)) == "Solution(discounted, policy-iteration, 2, error <= 0, 1 iterations, converged)"


@pytest.mark.parametrize("method", METHODS)
def test_rewards_below_the_normal_floats_keep_the_bracket_sound(method):
    """An expected reward of half the smallest float is rounded to zero: no share of it bounds that error."""
    reward = np.array([[[5e-324, 0.0]], [[0.0, -1.5e-323]]])
    model = mdps.TabularMDP(np.full((2, 1, 2), 0.5), reward, discount=0.9)
    solution = mdps.solve(model, method=method)
    exact = mdps.exact.solve(model).value
    assert (solution.lower <= exact).all()
    assert (exact <= solution.upper).all()
    assert mdps.exact.check(model, solution.lower, solution.upper)
    assert mdps.solve(mdps.TabularMDP(np.full((2, 1, 2), 0.5), 0 * reward, discount=0.9)).error == 0


@pytest.mark.parametrize("method", METHODS)
def test_values_beyond_the_floats_leave_an_unbounded_bracket_and_no_nan(method):
    P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    for size in (1.7e308, -1.7e308):
        model = mdps.TabularMDP(P, np.array([[size, size], [size, -size]]), discount=0.99)
        with pytest.raises(mdps.NotConverged) as caught:
            mdps.solve(model, method=method)
        partial = caught.value.solution
        assert (partial.lower == -np.inf).all()
        assert (partial.upper == np.inf).all()
        assert partial.error == np.inf
        assert partial.optimal_actions.all()


def test_a_system_that_is_singular_in_floating_point_is_no_crash():
    rng = np.random.default_rng(0)
    discount = 1 - 2.0**-53
    for size in (2, 3, 4):
        for _ in range(20):
            P = rng.dirichlet(np.full(size, 0.2), size=(size, 2))
            for method in ("policy-iteration", "linear-programming"):
                partial = mdps.solve(mdps.TabularMDP(P, rng.normal(size=(size, 2)), discount=discount), method=method, raise_on_budget=False)
                assert not partial.converged


@pytest.mark.parametrize("horizon", [None, 3])
def test_a_run_without_a_bound_still_offers_only_available_actions(horizon):
    mask = np.array([[True, False], [True, True]])
    P, reward = np.full((2, 2, 2), 0.5), np.ones((2, 2))
    if horizon is None:
        model = mdps.TabularMDP(P, reward, discount=1 - 2.0**-53, action_mask=mask)
    else:
        model = mdps.FiniteHorizonMDP(P, reward, horizon=horizon, action_mask=mask)
    partial = mdps.solve(model, max_iterations=1, raise_on_budget=False)
    assert partial.error == np.inf
    assert (partial.optimal_actions == mask).all()


def test_a_numpy_false_stops_the_run_too():
    model = mdps.TabularMDP(np.eye(2)[[[1], [0]]], np.array([[0.0], [1.0]]), discount=0.999)
    solution = mdps.solve(model, method="value-iteration", progress=lambda n, e: np.bool_(n < 3), raise_on_budget=False)
    assert solution.status is Status.STOPPED
    assert solution.iterations == 3
