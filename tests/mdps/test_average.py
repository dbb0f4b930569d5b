"""Average reward: the three methods agree, brackets are rigorous, and what has no scalar gain is refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdps
from mdps import families
from mdps.average import METHODS, remarks, solve_average

RIVER_SWIM = {
    3: (0.4468085106, 2.1276595745, 4.7619047619),
    4: (0.4310850440, 3.4750733138, 8.0612244898),
    6: (0.4286224338, 6.3103243082, 14.7223379148),
    8: (0.4285724694, 9.1666899401, 21.3888912500),
    10: (0.4285714498, 12.0238101404, 28.0555556037),
}
ALGORITHMS = [m for m in METHODS if m != "auto"]


@st.composite
def communicating_models(draw, signed=False):
    """Random models in which every state moves to the next one with positive probability under some action."""
    S, A = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    P = rng.integers(0, 4, size=(S, A, S)).astype(float)
    P *= rng.random((S, A, S)) < 0.5
    P[np.arange(S), 0, (np.arange(S) + 1) % S] += 1
    empty = P.sum(axis=2) == 0
    P[empty, 0] = 1.0
    P /= P.sum(axis=2, keepdims=True)
    r = rng.integers(-4 if signed else 0, 5, size=(S, A)) / 4.0
    return mdps.TabularMDP(P, r)


def best_gain(mdp):
    """The best gain over deterministic policies, in rationals, by enumerating policies and their recurrent classes."""
    S, A = mdp.n_states, mdp.n_actions
    P = [[[Fraction(float(x)) for x in mdp.dense()[s, a]] for a in range(A)] for s in range(S)]
    P = [[[x / sum(row) for x in row] for row in rows] for rows in P]
    best = None
    for policy in product(range(A), repeat=S):
        for states in mdps.classify(mdp, np.array(policy)).recurrent_classes:
            pi = rational_stationary([[P[s][policy[s]][t] for t in states] for s in states])
            gain = sum(p * Fraction(float(mdp.expected_reward[s, policy[s]])) for p, s in zip(pi, states, strict=True))
            best = gain if best is None else max(best, gain)
    return best


def rational_stationary(P):
    n = len(P)
    rows = [[P[j][i] - (i == j) for j in range(n)] for i in range(n - 1)] + [[Fraction(1)] * n]
    rows = [[Fraction(x) for x in row] + [Fraction(int(i == n - 1))] for i, row in enumerate(rows)]
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(n):
            if k != i and rows[k][i] != 0:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[n] for row in rows]


@pytest.mark.parametrize("states", RIVER_SWIM)
@pytest.mark.parametrize("method", [*METHODS])
def test_river_swim_table(states, method):
    gain, span, _ = RIVER_SWIM[states]
    solution = solve_average(families.river_swim(states), method=method, tolerance=1e-10)
    assert solution.gain == pytest.approx(gain, abs=1e-9)
    assert solution.span == pytest.approx(span, abs=1e-9)
    assert solution.lower <= solution.gain <= solution.upper
    assert (solution.policy == 1).all()


@pytest.mark.parametrize("states", RIVER_SWIM)
def test_span_equals_gain_times_diameter_on_river_swim(states):
    mdp = families.river_swim(states)
    solution, diameter = solve_average(mdp, tolerance=1e-11), mdps.diameter(mdp)
    assert diameter == pytest.approx(RIVER_SWIM[states][2], abs=1e-9)
    assert solution.span == pytest.approx(solution.gain * diameter, rel=1e-12)


@given(communicating_models(signed=True))
def test_methods_agree(mdp):
    howard, relative, program = (solve_average(mdp, method=m, tolerance=1e-9) for m in ("howard", "relative-value-iteration", "linear-programming"))
    assert howard.gain == pytest.approx(relative.gain, abs=1e-8)
    assert howard.gain == pytest.approx(program.gain, abs=1e-8)
    for solution in (howard, relative, program):
        residual = solution.action_value.max(axis=1) - solution.bias
        assert np.abs(residual).max() <= 2e-9
        assert abs(solution.bias.max() + solution.bias.min()) <= 1e-12 * max(1.0, solution.span)
        policy_gain = min(
            float(mdps.stationary_distribution(mdp, solution.policy) @ mdp.expected_reward[np.arange(mdp.n_states), solution.policy])
            if len(mdps.classify(mdp, solution.policy).recurrent_classes) == 1
            else solution.lower
            for _ in (0,)
        )
        assert policy_gain >= solution.lower - 1e-12


@settings(max_examples=60)
@given(communicating_models(signed=True), st.sampled_from(ALGORITHMS), st.sampled_from([1e-3, 1e-6, 1e-10]))
def test_bracket_holds_in_rational_arithmetic(mdp, method, tolerance):
    if mdp.n_actions**mdp.n_states > 100:
        mdp = mdps.TabularMDP(mdp.dense()[:, :1], mdp.expected_reward[:, :1])
        if mdps.classify(mdp).multichain:
            return
    solution = solve_average(mdp, method=method, tolerance=tolerance)
    exact = best_gain(mdp)
    assert Fraction(solution.lower) <= exact <= Fraction(solution.upper)
    assert solution.upper - solution.lower <= tolerance * max(1.0, abs(solution.gain))


def test_a_shrunk_bracket_is_caught():
    """The rational oracle has the power to see a bracket that is wrong by one part in 1e12."""
    mdp = families.river_swim(4)
    solution, exact = solve_average(mdp, tolerance=1e-11), best_gain(families.river_swim(4))
    assert not Fraction(solution.lower) * (1 + Fraction(1, 10**10)) <= exact


@settings(max_examples=60)
@given(communicating_models())
def test_span_is_at_most_gain_times_diameter(mdp):
    solution = solve_average(mdp, tolerance=1e-10)
    assert solution.span <= solution.gain * mdps.diameter(mdp) + 1e-7


def test_span_bound_needs_rewards_of_one_sign():
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(60):
        mdp = mdps.TabularMDP(rng.dirichlet([0.3] * 3, size=(3, 2)), rng.uniform(-0.5, 0.5, (3, 2)))
        solution = solve_average(mdp)
        failures += solution.span > solution.gain * mdps.diameter(mdp) + 1e-9
    assert failures > 10


@pytest.mark.parametrize("period", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("method", METHODS)
def test_periodic_chains(period, method):
    P = np.zeros((period, 1, period))
    P[np.arange(period), 0, (np.arange(period) + 1) % period] = 1.0
    r = np.zeros((period, 1))
    r[0] = 1.0
    solution = solve_average(mdps.TabularMDP(P, r), method=method)
    assert solution.gain == pytest.approx(1 / period, abs=1e-8)
    assert solution.span == pytest.approx((period - 1) / period, abs=1e-6)


def test_zero_reward_and_single_state():
    P = np.full((4, 3, 4), 0.25)
    for method in METHODS:
        solution = solve_average(mdps.TabularMDP(P, np.zeros((4, 3))), method=method)
        assert (solution.gain, solution.span) == (0.0, 0.0)
        single = solve_average(mdps.TabularMDP(np.ones((1, 2, 1)), np.array([[2.0, 3.0]])), method=method)
        assert single.gain == pytest.approx(3.0, abs=1e-8)
        assert single.policy.tolist() == [1]


def test_weakly_communicating_with_transient_states_is_accepted():
    P = np.zeros((3, 1, 3))
    P[0, 0, 1] = P[1, 0, 2] = P[2, 0, 1] = 1.0
    mdp = mdps.TabularMDP(P, np.array([[100.0], [1.0], [0.0]]))
    for method in METHODS:
        assert solve_average(mdp, method=method).gain == pytest.approx(0.5, abs=1e-8)
    with pytest.raises(mdps.InfiniteDiameter):
        mdps.diameter(mdp)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stay", [(1.0, 1.0), (1.0, 0.0)])
def test_multichain_is_refused(method, stay):
    with pytest.raises(mdps.Multichain, match="multichain"):
        solve_average(families.two_loops(stay=stay, linked=False), method=method)


def test_absorbing_goal_is_refused_as_multichain():
    with pytest.raises(mdps.Multichain):
        solve_average(families.gridworld(3))


@pytest.mark.parametrize("method", METHODS)
def test_a_span_that_is_not_unique_is_noted(method):
    solution = solve_average(families.two_loops(), method=method)
    assert solution.gain == pytest.approx(1.0, abs=1e-8)
    assert 0.0 <= solution.span <= 1.0 + 1e-8
    assert "not unique" in solution.notes[0]
    assert remarks(solve_average(families.river_swim(), method=method)) == ()


def test_hard_family_and_gamble_figures():
    mdp = families.hard_mixture(3, 10.0, 0.06)
    solution = solve_average(mdp, tolerance=1e-11)
    assert solution.gain == pytest.approx(0.6153846154, abs=1e-9)
    assert solution.span == pytest.approx(3.8461538462, abs=1e-9)
    assert mdps.diameter(mdp) == pytest.approx(10.0, abs=1e-9)
    for span in (1.0, 4.0, 64.0, 1024.0):
        solution = solve_average(families.gamble(span), tolerance=1e-11)
        assert solution.gain == pytest.approx(0.5, abs=1e-10)
        assert solution.span == pytest.approx(span, rel=1e-10)


def test_slow_mixing_model_is_finished_by_howard():
    """A chain that leaves each half with probability 1e-5 defeats plain sweeps; `auto` still answers on 400 states."""
    half = 200
    P = np.zeros((2 * half, 1, 2 * half))
    P[:half, 0, :half] = (1 - 1e-5) / half
    P[:half, 0, half:] = 1e-5 / half
    P[half:, 0, half:] = (1 - 1e-5) / half
    P[half:, 0, :half] = 1e-5 / half
    r = np.zeros((2 * half, 1))
    r[half:] = 1.0
    solution = solve_average(mdps.TabularMDP(P, r), tolerance=1e-7)
    assert solution.gain == pytest.approx(0.5, abs=1e-7)
    assert solution.method == "howard"


def test_masked_actions_and_large_rewards():
    P = np.zeros((2, 2, 2))
    P[:, 0, 0] = P[:, 1, 1] = 1.0
    mask = np.array([[True, True], [False, True]])
    with pytest.raises(mdps.Multichain):
        # without the way back, either state may be kept for ever
        solve_average(mdps.TabularMDP(P, np.array([[2.0, 0.0], [9.0, 1.0]]), action_mask=mask))
    mdp = mdps.TabularMDP(P, np.array([[1e12, 0.0], [-1e12, 9e99]]), action_mask=[[True, True], [True, False]])
    for method in METHODS:
        solution = solve_average(mdp, method=method)
        assert solution.gain == pytest.approx(1e12, rel=1e-8)
        assert solution.policy.tolist() == [0, 0]


def test_rows_that_sum_to_almost_one():
    mdp = mdps.TabularMDP(np.array([[[1 / 3, 1 / 3, 1 / 3 + 9e-10]]] * 3), np.array([[1.0], [2.0], [3.0]]))
    solution = solve_average(mdp, tolerance=1e-12)
    assert Fraction(solution.lower) <= best_gain(mdp) <= Fraction(solution.upper)


def test_sparse_and_dense_agree_and_a_start_saves_sweeps():
    dense = families.garnet(60, 3, 5, seed=2, sparse=False)
    sparse = families.garnet(60, 3, 5, seed=2, sparse=True)
    one, two = (solve_average(m, method="relative-value-iteration", tolerance=1e-9) for m in (dense, sparse))
    assert one.gain == pytest.approx(two.gain, abs=1e-8)
    warm = solve_average(sparse, method="relative-value-iteration", tolerance=1e-9, initial_value=two.bias)
    assert warm.iterations <= 2 < two.iterations


def test_budget_time_and_progress():
    mdp = families.river_swim(10)
    with pytest.raises(mdps.NotConverged) as caught:
        solve_average(mdp, method="relative-value-iteration", max_iterations=3)
    partial = caught.value.solution
    assert partial.lower <= 0.4285714498 <= partial.upper
    assert not partial.converged
    assert not solve_average(mdp, method="relative-value-iteration", max_iterations=3, raise_on_budget=False).converged
    seen = []
    stopped = solve_average(
        mdp, method="relative-value-iteration", tolerance=1e-13, progress=lambda done, width: seen.append((done, width)) or False, raise_on_budget=False
    )
    assert seen
    assert not stopped.converged
    late = solve_average(
        mdp, method="relative-value-iteration", tolerance=1e-13, time_limit=1e-9, raise_on_budget=False
    )
    assert late.status.value == "time limit reached"


def test_rounding_above_the_tolerance_is_said():
    with pytest.raises(mdps.NotConverged, match="rounding"):
        solve_average(families.gamble(10.0), tolerance=1e-15, method="relative-value-iteration")
    with pytest.raises(mdps.NotConverged, match="rounding"):
        solve_average(families.gamble(1e6), tolerance=1e-15, method="howard")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method must be one of"),
        ({"tolerance": 0.0}, "tolerance must be"),
        ({"tolerance": float("nan")}, "tolerance must be"),
        ({"max_iterations": 0}, "max_iterations must be"),
        ({"time_limit": -1.0}, "time_limit must be"),
        ({"initial_value": [1.0]}, "initial_value"),
        ({"initial_value": [float("nan")] * 6}, "initial_value"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        solve_average(families.river_swim(), **options)


def tied_by_waiting(leave):
    """From state 0 one may wait in state 1 (pays 0, left with probability e) or in state 2 (pays -1, left with 2e): both are optimal, gain 1."""
    P, reward = np.zeros((3, 2, 3)), np.zeros((3, 2))
    P[0, 0, 1] = P[0, 1, 2] = 1.0
    P[1, :, 1], P[1, :, 0] = 1 - leave, leave
    P[2, :, 2], P[2, :, 0] = 1 - 2 * leave, 2 * leave
    reward[0], reward[2] = 1 + 1 / leave, -1.0
    return mdps.TabularMDP(P, reward)


@pytest.mark.parametrize("method", ALGORITHMS)
@pytest.mark.parametrize("power", [4, 10])
def test_optimal_actions_are_all_kept_though_the_bias_of_a_run_is_rough(method, power):
    for tolerance in (1e-2, 1e-6):
        solution = solve_average(tied_by_waiting(2.0**-power), method=method, tolerance=tolerance, raise_on_budget=False)
        assert solution.lower <= 1 <= solution.upper
        assert solution.optimal_actions[0].all()
    other = tied_by_waiting(2.0**-power).expected_reward.copy()
    other[0, 1] -= 0.01
    solution = solve_average(mdps.TabularMDP(tied_by_waiting(2.0**-power).transition, other), method=method, raise_on_budget=False)
    assert solution.optimal_actions[0].tolist() == [True, False]
    assert solution.gap[0] == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("method", ALGORITHMS)
def test_states_that_hang_together_by_almost_nothing(method):
    """The gain is 2/3 in exact arithmetic, and no float bias can show it: an honest bracket and an exception, not a crash."""
    P = np.array([[[1.0, 1e-300]], [[2e-300, 1.0]]])
    model = mdps.TabularMDP(P[:, :, :], np.array([[1.0], [0.0]]))
    with pytest.raises(mdps.NotConverged) as caught:
        solve_average(model, method=method, max_iterations=1000)
    partial = caught.value.solution
    assert partial.lower >= -1e-9
    assert partial.lower <= Fraction(2, 3) <= partial.upper <= 1 + 1e-9
    assert partial.optimal_actions.all()


@pytest.mark.parametrize("method", ALGORITHMS)
def test_rewards_below_the_normal_floats_keep_the_bracket_sound(method):
    mdp = mdps.TabularMDP(np.full((2, 1, 2), 0.5), np.array([[[5e-324, 0.0]], [[0.0, 0.0]]]))
    solution = solve_average(mdp, method=method)
    assert Fraction(solution.lower) <= Fraction(5e-324) / 4 <= Fraction(solution.upper)


@pytest.mark.parametrize("start", [[1e308, -1e308], [-1.7e308, 1.7e308]])
def test_a_start_that_overflows_is_not_called_converged(start):
    P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    model = mdps.TabularMDP(P, np.array([[1.0, 0.0], [2.0, 3.0]]))
    for method in ALGORITHMS:
        solution = solve_average(model, method=method, initial_value=start, raise_on_budget=False, max_iterations=100)
        assert solution.lower <= 3 <= solution.upper
        assert not solution.converged or solution.upper - solution.lower <= 4e-8
        assert solution.upper < 4


def test_a_program_made_infeasible_by_rounding_leaves_the_start_to_howard(monkeypatch):
    import scipy.optimize

    class Failed:
        x = None

    monkeypatch.setattr(scipy.optimize, "linprog", lambda *a, **k: Failed())
    assert solve_average(families.river_swim(6), method="linear-programming").gain == pytest.approx(0.4286224338, abs=1e-9)
