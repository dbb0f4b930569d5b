"""Classes, stationary distributions, hitting times and the diameter against independent methods."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import mdps
from mdps import families
from mdps._graph import end_components, graph_of, surely_reaching


@st.composite
def models(draw, max_states=5, max_actions=3):
    """Random models with many zeros: several classes, absorbing and transient states are common."""
    S, A = draw(st.integers(1, max_states)), draw(st.integers(1, max_actions))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    P = rng.integers(1, 4, size=(S, A, S)) * (rng.random((S, A, S)) < draw(st.sampled_from([0.15, 0.3, 0.6, 1.0])))
    P = P.astype(float)
    s, a = np.nonzero(P.sum(axis=2) == 0)
    P[s, a, rng.integers(0, S, size=s.size)] = 1.0
    P /= P.sum(axis=2, keepdims=True)
    return mdps.TabularMDP(P, rng.integers(0, 5, size=(S, A)).astype(float))


def every_policy(mdp):
    return (np.array(p) for p in product(range(mdp.n_actions), repeat=mdp.n_states))


def hitting_program(mdp, target):
    """The least expected hitting times as a linear program: maximise sum h with h <= 1 + P_a h, h = 0 at the target."""
    S, A = mdp.n_states, mdp.n_actions
    if S == 1:
        return np.zeros(1)
    P = mdp.dense()
    rows = [np.eye(S)[s] - np.where(np.arange(S) == target, 0.0, P[s, a]) for s in range(S) if s != target for a in range(A)]
    bounds = [(0, 0) if s == target else (0, None) for s in range(S)]
    result = linprog(-np.ones(S), A_ub=np.array(rows), b_ub=np.ones(len(rows)), bounds=bounds)
    assert result.status == 0
    return result.x


@settings(max_examples=50)
@given(models())
def test_classification_matches_enumeration(mdp):
    """Unichain and weakly communicating, decided by looking at every deterministic policy."""
    found = mdps.classify(mdp)
    classes = [[frozenset(c.tolist()) for c in mdps.classify(mdp, p).recurrent_classes] for p in every_policy(mdp)]
    assert found.unichain == all(len(c) == 1 for c in classes)
    # weakly communicating: any two recurrent classes of any policies can reach each other
    graph = graph_of(mdp)
    every = {c for group in classes for c in group}
    reach = {c: surely_reaching(graph, np.isin(np.arange(mdp.n_states), list(c)))[0] for c in every}
    assert found.weakly_communicating == all(reach[d][next(iter(c))] for c in every for d in every)
    assert found.multichain == (not found.weakly_communicating)
    assert set(found.transient.tolist()) == set(range(mdp.n_states)) - set().union(*every)
    adjacency = np.linalg.matrix_power((mdp.dense().sum(axis=1) > 0).astype(float) + np.eye(mdp.n_states), mdp.n_states) > 0
    assert found.communicating == adjacency.all()


@given(models())
def test_end_components_are_closed_and_connected(mdp):
    graph = graph_of(mdp)
    seen = set()
    for states in end_components(graph):
        inside = np.isin(np.arange(mdp.n_states), states)
        stays = (mdp.dense()[:, :, ~inside] == 0).all(axis=2) & inside[:, None]
        assert stays[states].any(axis=1).all()
        for target in states:
            assert surely_reaching(graph, np.arange(mdp.n_states) == target)[0][states].all()
        assert not seen & set(states.tolist())
        seen |= set(states.tolist())


@given(models(), st.data())
def test_stationary_distribution(mdp, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    policy = rng.dirichlet(np.ones(mdp.n_actions), size=mdp.n_states)
    chain = np.einsum("sa,sat->st", policy, mdp.dense())
    classes = mdps.classify(mdp, policy).recurrent_classes
    if len(classes) > 1:
        with pytest.raises(mdps.Multichain):
            mdps.stationary_distribution(mdp, policy)
        return
    pi = mdps.stationary_distribution(mdp, policy)
    assert pi.sum() == pytest.approx(1.0, abs=1e-14)
    assert np.abs(pi @ chain - pi).max() <= 1e-14
    assert set(np.flatnonzero(pi)) == set(classes[0].tolist())


def test_stationary_distribution_by_each_route():
    for states in (50, 700, 2000):
        mdp = families.garnet(states, 1, 4, seed=3)
        pi = mdps.stationary_distribution(mdp, np.zeros(states, dtype=int))
        assert np.abs(pi @ mdp.csr() - pi).max() <= 1e-13
    mdp = families.garnet(21_000, 1, 6, seed=3)
    pi = mdps.stationary_distribution(mdp, np.zeros(21_000, dtype=int))
    assert np.abs(mdp.csr().T @ pi - pi).max() <= 1e-13


def test_small_stationary_probabilities_are_accurate():
    """A birth-death chain with ratio 1e-3: the smallest of 30 probabilities, 1e-87, is right to 1e-12."""
    n, up = 30, 1e-3
    P = np.zeros((n, 1, n))
    for s in range(n):
        P[s, 0, min(s + 1, n - 1)] += up / (1 + up)
        P[s, 0, max(s - 1, 0)] += 1 / (1 + up)
    pi = mdps.stationary_distribution(mdps.TabularMDP(P, np.zeros((n, 1))), np.zeros(n, dtype=int))
    assert pi == pytest.approx((1 - up) * up ** np.arange(n) / (1 - up**n), rel=1e-12)


@settings(max_examples=40)
@given(models())
def test_hitting_times_match_a_linear_program(mdp):
    for target in range(mdp.n_states):
        times = mdps.hitting_times(mdp, target)
        sure = np.isfinite(times)
        if sure.all():
            assert times == pytest.approx(hitting_program(mdp, target), rel=1e-7, abs=1e-7)
        best = np.min([mdps.hitting_times(mdp, target, policy=p) for p in every_policy(mdp)], axis=0) if mdp.n_actions**mdp.n_states <= 81 else times
        assert np.isfinite(best).tolist() == sure.tolist()
        assert times[sure] == pytest.approx(best[sure], rel=1e-9)


@settings(max_examples=40)
@given(models(max_states=4))
def test_diameter_is_the_largest_hitting_time(mdp):
    largest = max(mdps.hitting_times(mdp, t).max() for t in range(mdp.n_states))
    if np.isinf(largest):
        with pytest.raises(mdps.InfiniteDiameter, match="cannot be reached"):
            mdps.diameter(mdp)
    else:
        assert mdps.diameter(mdp) == pytest.approx(largest, rel=1e-12)


def test_swept_times_agree_with_policy_iteration(monkeypatch):
    mdp = families.gridworld(12)
    exact = mdps.hitting_times(mdp, 143)
    monkeypatch.setattr("mdps.hitting._DIRECT_STATES", 10)
    swept = mdps.hitting_times(mdp, 143, tolerance=1e-11)
    assert swept == pytest.approx(exact, rel=1e-10)
    with pytest.raises(mdps.NotConverged):
        mdps.hitting_times(mdp, 143, max_sweeps=4)


def test_coarse_screening_keeps_the_diameter():
    """More than 32 states: targets are screened first; the result equals the plain maximum."""
    mdp = families.river_swim(40)
    assert mdps.diameter(mdp) == pytest.approx(max(mdps.hitting_times(mdp, t).max() for t in range(40)), rel=1e-11)


def test_grid_distances_without_slip():
    times = mdps.hitting_times(families.gridworld(4, 5, slip=0.0), 19).reshape(4, 5)
    assert times.tolist() == [[(3 - i) + (4 - j) for j in range(5)] for i in range(4)]
    with pytest.raises(mdps.InfiniteDiameter) as caught:
        mdps.diameter(families.gridworld(3))
    assert caught.value.source == 8


def test_large_sparse_models_are_classified():
    mdp = families.garnet(100_000, 2, 3, seed=0)
    found = mdps.classify(mdp)
    assert found.kind in ("weakly communicating", "unichain")
    assert found.periods == (1,)


def test_kinds_and_periods():
    loops = families.two_loops()
    assert (mdps.classify(loops).kind, mdps.classify(loops).communicating, mdps.classify(loops).unichain) == ("weakly communicating", True, False)
    apart = mdps.classify(families.two_loops(linked=False))
    assert (apart.kind, apart.multichain, len(apart.recurrent_classes)) == ("multichain", True, 2)
    assert mdps.classify(loops, [0, 0]).kind == "multichain"
    assert mdps.classify(loops, [1, 1]).periods == (2,)
    assert mdps.classify(families.river_swim()).kind == "unichain"
    assert mdps.classify(families.gridworld(3)).kind == "multichain"
    cycle = np.zeros((6, 1, 6))
    cycle[np.arange(6), 0, (np.arange(6) + 1) % 6] = 1.0
    cycle[2, 0] = 0.0
    cycle[2, 0, [0, 3]] = 0.5
    assert mdps.classify(mdps.TabularMDP(cycle, np.zeros((6, 1)))).periods == (3,)


def test_exact_zeros_are_no_edges():
    from scipy.sparse import csr_array

    matrix = csr_array((np.array([1.0, 0.0, 1.0]), np.array([0, 1, 1]), np.array([0, 2, 3])), shape=(2, 2))
    assert mdps.classify(mdps.TabularMDP(matrix, np.zeros((2, 1)))).kind == "multichain"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: mdps.hitting_times(m, 6), "target must be an integer from 0 to 5"),
        (lambda m: mdps.hitting_times(m, []), "at least one state"),
        (lambda m: mdps.hitting_times(m, 0.5), "target must be"),
        (lambda m: mdps.hitting_times(m, 0, tolerance=-1.0), "tolerance"),
        (lambda m: mdps.diameter(m, tolerance=0.0), "tolerance"),
        (lambda m: mdps.stationary_distribution(m, [0] * 5), "policy"),
        (lambda m: mdps.stationary_distribution(m, [2] * 6), "policy"),
        (lambda m: mdps.stationary_distribution(m, np.full((6, 2), 0.4)), "policy"),
        (lambda m: mdps.stationary_distribution(m, np.full((6, 2), np.nan)), "policy"),
        (lambda m: mdps.classify(m, np.zeros((6, 3))), "policy"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(mdps.ModelError, match=message):
        call(families.river_swim())


@pytest.mark.parametrize(
    "call",
    [mdps.diameter, mdps.classify, lambda mdp: mdps.hitting_times(mdp, 0), lambda mdp: mdps.stationary_distribution(mdp, [0])],
)
@pytest.mark.parametrize("mdp", [3, mdps.FiniteHorizonMDP(np.ones((1, 1, 1)), np.ones((1, 1)), horizon=2)])
def test_only_tabular_models_have_a_structure(call, mdp):
    with pytest.raises(mdps.ModelError, match="mdp must be a TabularMDP, got"):
        call(mdp)


def test_a_target_that_floats_cannot_reach_is_said():
    chain = mdps.TabularMDP(np.array([[[1.0, 1e-300]], [[0.0, 1.0]]]), np.zeros((2, 1)))
    with pytest.raises(mdps.NotConverged, match="too small for floating point"):
        mdps.hitting_times(chain, 1)
