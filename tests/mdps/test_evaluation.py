"""Values of given policies against exact rationals, and occupancies against the values that they imply."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import mdps


@st.composite
def cases(draw):
    """A model, and one of its policies: deterministic or stochastic."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    S, A = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    P = rng.dirichlet(np.ones(S) * 0.4, size=(S, A))
    shape = (S, A) if draw(st.booleans()) else (S, A, S)
    discount = 1 - 10.0 ** -rng.uniform(0.1, 6)
    model = mdps.TabularMDP(P, rng.normal(size=shape) * 10.0 ** rng.integers(-3, 9), discount=discount, initial=rng.dirichlet(np.ones(S)))
    policy = rng.integers(0, A, size=S) if draw(st.booleans()) else rng.dirichlet(np.ones(A), size=S)
    return model, policy


def induced(model, policy):
    """The model whose only action follows `policy`, built with exact weights, and its exact value."""
    S, A, g = model.n_states, model.n_actions, Fraction(model.discount)
    weights = np.eye(A)[policy] if np.ndim(policy) == 1 else np.asarray(policy)
    system = [[Fraction(int(i == j)) for j in range(S)] + [Fraction(0)] for i in range(S)]
    for s in range(S):
        w = [Fraction(x) for x in weights[s].tolist()]
        for a in range(A):
            p = [Fraction(x) for x in model.transition[s, a].tolist()]
            for j in range(S):
                share = w[a] / sum(w) * p[j] / sum(p)
                reward = model.expected_reward[s, a] if model.transition_reward is None else model.transition_reward[s, a, j]
                system[s][j] -= g * share
                system[s][S] += share * Fraction(float(reward))
    for k in range(S):
        for i in range(S):
            if i != k:
                factor = system[i][k] / system[k][k]
                system[i] = [x - factor * y for x, y in zip(system[i], system[k], strict=True)]
    return [system[s][S] / system[s][s] for s in range(S)]


@settings(max_examples=150)
@given(cases())
def test_brackets_enclose_the_exact_value_of_a_policy(case):
    model, policy = case
    exact = induced(model, policy)
    forms = [model]
    if model.transition_reward is None:
        forms.append(mdps.TabularMDP(model.csr(), model.expected_reward, discount=model.discount))
    for form in forms:
        found = mdps.evaluate(form, policy)
        assert all(low <= v <= high for low, v, high in zip(found.lower.tolist(), exact, found.upper.tolist(), strict=True))
        reward = float(np.abs(model.expected_reward if model.transition_reward is None else model.transition_reward).max())
        assert found.error <= 1e-7 * max(1, np.abs(found.value).max()) + 1e-13 * reward / (1 - model.discount)


@given(cases())
def test_occupancy_is_a_distribution_and_prices_the_policy(case):
    model, policy = case
    d = mdps.occupancy(model, policy)
    assert d.sum() == pytest.approx(1)
    assert (d >= 0).all()
    price = (d * model.expected_reward).sum()
    value = (1 - model.discount) * model.initial @ mdps.evaluate(model, policy).value
    assert price == pytest.approx(value, rel=1e-6, abs=1e-9 * np.abs(model.expected_reward).max())
    again = mdps.occupancy(mdps.TabularMDP(model.csr(), model.expected_reward, discount=model.discount), policy, initial=model.initial)
    assert again == pytest.approx(d, abs=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.booleans(), st.sampled_from(["actions", "distributions", "staged", "staged-actions"]))
def test_time_dependent_policies(seed, H, stationary, form):
    rng = np.random.default_rng(seed)
    S, A = 4, 3
    shape = (S, A) if stationary else (H, S, A)
    P, r = rng.dirichlet(np.ones(S), size=shape), rng.normal(size=shape)
    model = mdps.FiniteHorizonMDP(P, r, horizon=H, initial=rng.dirichlet(np.ones(S)), final_value=rng.normal(size=S))
    policy = {
        "actions": rng.integers(0, A, size=S),
        "distributions": rng.dirichlet(np.ones(A), size=S),
        "staged": rng.dirichlet(np.ones(A), size=(H, S)),
        "staged-actions": rng.integers(0, A, size=(H, S)),
    }[form]
    weights = np.eye(A)[policy] if policy.dtype.kind == "i" else policy
    weights = np.broadcast_to(weights, (H, S, A))
    P, r = np.broadcast_to(P, (H, S, A, S)), np.broadcast_to(r, (H, S, A))
    v, d = model.final_value, model.initial
    price = 0.0
    for h in range(H):
        price += (d[:, None] * weights[h] * r[h]).sum()
        d = np.einsum("s,sa,saj->j", d, weights[h], P[h])
    price += d @ model.final_value
    for h in range(H - 1, -1, -1):
        v = (weights[h] * (r[h] + P[h] @ v)).sum(axis=1)
    found = mdps.evaluate(model, policy)
    assert found.value[0] == pytest.approx(v)
    assert (found.lower <= found.value).all()
    assert (found.value <= found.upper).all()
    assert found.error < 1e-12
    assert model.initial @ found.value[0] == pytest.approx(price)
    visits = mdps.occupancy(model, policy)
    assert visits.sum(axis=(1, 2)) == pytest.approx(np.ones(H))
    assert (visits * r).sum() + d @ model.final_value == pytest.approx(price)


def test_large_sparse_models_go_through_krylov(monkeypatch):
    monkeypatch.setattr("mdps.evaluation.DIRECT_STATES", 10)
    rng = np.random.default_rng(0)
    S, A, b = 500, 2, 4
    matrix = sparse.csr_matrix(
        (rng.dirichlet(np.ones(b), size=S * A).ravel(), rng.integers(0, S, size=S * A * b), np.arange(0, S * A * b + 1, b)), shape=(S * A, S)
    )
    model = mdps.TabularMDP(matrix, rng.normal(size=(S, A)), discount=0.99, initial=np.full(S, 1 / S))
    policy = rng.dirichlet(np.ones(A), size=S)
    found = mdps.evaluate(model, policy)
    assert found.error < 1e-10
    d = mdps.occupancy(model, policy)
    assert (d * model.expected_reward).sum() == pytest.approx(0.01 * model.initial @ found.value, rel=1e-9)


DISCOUNTED = mdps.TabularMDP(np.full((2, 2, 2), 0.5), np.zeros((2, 2)), discount=0.9, action_mask=[[True, True], [True, False]])
FINITE = mdps.FiniteHorizonMDP(np.full((2, 2, 2), 0.5), np.zeros((2, 2)), horizon=3)


@pytest.mark.parametrize(
    ("model", "policy", "message"),
    [
        pytest.param(DISCOUNTED, [0, 1, 0], "policy has shape", id="length"),
        pytest.param(DISCOUNTED, [0.5, 0.5], "policy has shape", id="floats"),
        pytest.param(DISCOUNTED, [0, 2], r"actions in 0..1, got 2 in state 1", id="action"),
        pytest.param(DISCOUNTED, [-1, 0], r"actions in 0..1, got -1 in state 0", id="negative-action"),
        pytest.param(DISCOUNTED, [[0.5, 0.5], [0.5, 0.6]], r"distribution over actions, .* in state 1", id="sum"),
        pytest.param(DISCOUNTED, [[1.5, -0.5], [1.0, 0.0]], r"distribution over actions, .* in state 0", id="negative"),
        pytest.param(DISCOUNTED, [[np.nan, 1.0], [1.0, 0.0]], r"distribution over actions, .* in state 0", id="nan"),
        pytest.param(DISCOUNTED, ["a", "b"], "array of numbers", id="text"),
        pytest.param(DISCOUNTED, [[1.0, 0.0], [0.5, 0.5]], "takes action 1 in state 1, where the mask forbids it", id="mask"),
        pytest.param(DISCOUNTED, [0, 1], "takes action 1 in state 1, where the mask forbids it", id="mask-deterministic"),
        pytest.param(FINITE, np.zeros((2, 2), dtype=int), None, id="read-as-distributions"),
        pytest.param(FINITE, np.zeros((3, 3), dtype=int), "also with 3 stages in front", id="stages"),
        pytest.param(FINITE, np.full((3, 2, 2), 0.6), "in state 0, stage 0", id="stage-named"),
    ],
)
def test_bad_policies_are_refused(model, policy, message):
    with pytest.raises(mdps.InvalidPolicy, match=message):
        mdps.evaluate(model, policy)
    with pytest.raises(mdps.InvalidPolicy, match=message):
        mdps.occupancy(model, policy, initial=[0.5, 0.5])


def test_other_bad_arguments():
    with pytest.raises(mdps.ModelError, match="occupancy needs an initial distribution"):
        mdps.occupancy(DISCOUNTED, [0, 0])
    for door in (mdps.evaluate, mdps.occupancy):
        with pytest.raises(mdps.ModelError, match="mdp must be a TabularMDP"):
            door("model", [0, 0])
    for discount in (None, 1.0):
        with pytest.raises(mdps.InvalidDiscount):
            mdps.evaluate(DISCOUNTED.with_discount(discount), [0, 0])
        with pytest.raises(mdps.InvalidDiscount):
            mdps.occupancy(DISCOUNTED.with_discount(discount), [0, 0], initial=[0.5, 0.5])


def test_terminal_states_have_value_zero_exactly():
    model = mdps.TabularMDP(np.full((2, 1, 2), 0.5), np.ones((2, 1)), discount=0.9, terminal=[1])
    found = mdps.evaluate(model, [0, 0])
    assert found.lower[1] == found.value[1] == found.upper[1] == 0
    assert found.value[0] == pytest.approx(1 / 0.55)


def test_rows_of_different_lengths_are_no_policy():
    model = mdps.TabularMDP(np.full((2, 2, 2), 0.5), np.ones((2, 2)), discount=0.5)
    with pytest.raises(mdps.InvalidPolicy, match="different lengths"):
        mdps.evaluate(model, [[1.0, 0.0], [1.0]])
    with pytest.raises(mdps.InvalidPolicy, match=r"\(sum 1\.5\) in state 0"):
        mdps.evaluate(model, [[1.0, 0.5], [1.0, 0.0]])


def test_values_beyond_the_floats_and_singular_systems_leave_an_unbounded_bracket():
    P = np.full((3, 1, 3), 1 / 3)
    for reward, discount in ((1.7e308, 0.9), (1.0, 1 - 2.0**-53)):
        found = mdps.evaluate(mdps.TabularMDP(P, np.full((3, 1), reward), discount=discount), [0, 0, 0])
        assert (found.lower == -np.inf).all()
        assert (found.upper == np.inf).all()
    found = mdps.evaluate(mdps.FiniteHorizonMDP(P, np.full((3, 1), 1.7e308), horizon=3), [0, 0, 0])
    assert (found.lower[0] == -np.inf).all()
    assert (found.upper[0] == np.inf).all()
