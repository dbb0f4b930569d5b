"""Exact values of linear models: printed tables, limits that must agree with other solvers, certificates, bad input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdps.robust
from certify.robust import certify_pair, equivalent_constrained, equivalent_regularised, evaluate_policy, exact_value
from mdps import FiniteHorizonMDP, LinearMDP
from mdps.families import random_linear, simulated_linear_mdp
from theory import dr_rpo as formulas

DIVERGENCES = ("tv", "kl", "chi2")
FORMS = [*((d, {"penalty": 0.4}) for d in DIVERGENCES), *((d, {"radius": 0.2}) for d in DIVERGENCES)]
SIMULATED = simulated_linear_mdp(0.2)


def radius_14(rho):
    radius = np.zeros((3, 4))
    radius[0, 3] = rho
    return radius


PRINTED = {
    "tv": (0.0500, 0.1000, 0.1999, 0.4998, 0.9995, 1.6243, 1.6243),
    "kl": (1.1727, 1.3452, 1.5830, 1.6220, 1.6236, 1.6240, 1.6242),
    "chi2": (1.6200, 1.6221, 1.6232, 1.6238, 1.6240, 1.6241, 1.6242),
}


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_printed_table_of_regularised_values(divergence):
    values = [exact_value(SIMULATED, divergence=divergence, penalty=lam).value[0, 0] for lam in (0.05, 0.1, 0.2, 0.5, 1, 2, 5)]
    np.testing.assert_allclose(values, PRINTED[divergence], atol=5.1e-5)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_penalty_never_flips_the_first_action(divergence):
    """The published robustness of the regularised learner comes from its bonus: the exact optimum is the nominal action."""
    for lam in (0.05, 0.1, 0.5, 5):
        assert exact_value(SIMULATED, divergence=divergence, penalty=lam).policy[0, 0] == 15


@pytest.mark.parametrize(("rho", "value", "action"), [(0.3, 1.32425, 15), (0.37, 1.25425, 15), (0.38, 1.24765, 0), (0.5, 1.22365, 0)])
def test_a_radius_on_one_factor_flips_it(rho, value, action):
    found = exact_value(SIMULATED, divergence="tv", radius=radius_14(rho))
    assert found.value[0, 0] == pytest.approx(value, abs=1e-5)
    assert found.policy[0, 0] == action


SOFT = {
    (0.01, 0): (1.5758, 1.6248, 1.1249, 0.6251),
    (0.01, 0.3): (1.2812, 1.5868, 1.1375, 0.6882),
    (0.01, 0.5): (1.1633, 1.3584, 1.2136, 1.0687),
    (0.1, 0): (1.3273, 1.4511, 1.0560, 0.6609),
    (0.1, 0.3): (1.1054, 1.4036, 1.0609, 0.7181),
    (0.1, 0.5): (0.9761, 1.3679, 1.0645, 0.7611),
    (1, 0): (1.1856, 1.2053, 0.8936, 0.5818),
    (1, 0.3): (1.0004, 1.1984, 0.8926, 0.5869),
    (1, 0.5): (0.8789, 1.1938, 0.8920, 0.5903),
}


@pytest.mark.parametrize(("eta", "rho"), SOFT)
def test_printed_table_of_soft_values(eta, rho):
    found = exact_value(SIMULATED, divergence="tv", radius=radius_14(rho), temperature=eta)
    returns = [
        evaluate_policy(simulated_linear_mdp(0.2, target=q), found.policy, divergence="tv", radius=0.0).value[0, 0] for q in (0, 0.5, 1)
    ]
    np.testing.assert_allclose([found.value[0, 0], *returns], SOFT[eta, rho], atol=5.1e-5)


@given(st.integers(0, 10**6), st.sampled_from(FORMS), st.sampled_from([0.0, 0.05, 0.5, 3.0]))
def test_the_certificate_closes_and_random_policies_are_never_better(seed, form, eta):
    model = random_linear(5, 3, 3, horizon=3, seed=seed)
    divergence, size = form
    kwargs = {"divergence": divergence, **size, "temperature": eta}
    found = exact_value(model, **kwargs)
    assert found.certificate.gap <= 1e-9
    assert np.all(found.lower <= found.value)
    assert np.all(found.value <= found.upper)
    np.testing.assert_allclose(found.worst_kernel.sum(axis=-1), 1)
    rng = np.random.default_rng(seed)
    pi = rng.dirichlet(np.ones(3), (3, 5))
    assert np.all(evaluate_policy(model, pi, **kwargs).value <= found.value + 1e-9)
    pair = certify_pair(model, pi, found.worst_factors, **kwargs)
    assert pair.gap >= -1e-12


@given(st.integers(0, 10**6), st.sampled_from(DIVERGENCES), st.sampled_from([0.1, 1.0]), st.sampled_from([0.0, 0.3]))
def test_equivalence_needs_the_shift(seed, divergence, penalty, eta):
    model = random_linear(5, 3, 3, horizon=3, seed=seed)
    found = exact_value(model, divergence=divergence, penalty=penalty, temperature=eta)
    same = equivalent_constrained(model, divergence=divergence, penalty=penalty, temperature=eta)
    twin = exact_value(same.mdp, divergence=divergence, radius=same.radius, temperature=eta)
    np.testing.assert_allclose(twin.value, found.value, atol=1e-8)
    bare = exact_value(model, divergence=divergence, radius=same.radius, temperature=eta).value
    assert np.all(bare <= found.value + 1e-9)


@given(st.integers(0, 10**6), st.sampled_from(DIVERGENCES), st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from([0.0, 0.3]))
def test_the_way_back_from_a_radius_to_a_price(seed, divergence, radius, eta):
    model = random_linear(5, 3, 3, horizon=3, seed=seed)
    sizes = np.full((3, 3), radius)
    sizes[0, 0] = 0.0
    found = exact_value(model, divergence=divergence, radius=sizes, temperature=eta)
    # a set that reaches the least value has no price
    least = [[(found.value[h + 1] if divergence == "tv" else found.value[h + 1][model.factors[h, i] > 0]).min() for i in range(3)] for h in range(2)]
    reached = np.einsum("hij,hj->hi", found.worst_factors[:2], found.value[1:3]) <= np.array(least) + 1e-9
    if reached.any():
        with pytest.raises(ValueError, match="radius must be below"):
            equivalent_regularised(model, divergence=divergence, radius=sizes, temperature=eta)
        return
    same = equivalent_regularised(model, divergence=divergence, radius=sizes, temperature=eta)
    twin = exact_value(same.mdp, divergence=same.divergence, penalty=same.penalty, temperature=eta)
    np.testing.assert_allclose(twin.value, found.value, atol=1e-9)
    np.testing.assert_allclose(twin.action_value, found.action_value, atol=1e-9)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_factor_on_the_least_value_has_any_price(divergence):
    # factors 3 and 4 of the simulated model are Diracs, one of them on the fail state
    mdp = simulated_linear_mdp(0.2)
    same = equivalent_regularised(mdp, divergence=divergence, radius=0.2)
    twin = exact_value(same.mdp, divergence=divergence, penalty=same.penalty)
    np.testing.assert_allclose(twin.value, exact_value(mdp, divergence=divergence, radius=0.2).value, atol=1e-12)


def test_a_radius_that_reaches_the_least_value_has_no_price():
    with pytest.raises(ValueError, match="radius must be below what reaches the least value"):
        equivalent_regularised(random_linear(4, 2, 2, horizon=2, seed=0), divergence="tv", radius=1.0)


def test_sizes_for_each_factor_are_those_for_each_step_and_factor():
    model = random_linear(4, 3, 2, horizon=2, seed=0)
    for name in ("penalty", "radius"):
        short = exact_value(model, divergence="kl", **{name: [0.1, 0.4]})
        np.testing.assert_array_equal(short.value, exact_value(model, divergence="kl", **{name: [[0.1, 0.4], [0.1, 0.4]]}).value)


@pytest.mark.parametrize(("divergence", "size"), FORMS)
def test_one_hot_features_are_state_action_sets(divergence, size):
    rng = np.random.default_rng(2)
    S, A, H = 4, 2, 3
    kernel, reward = rng.dirichlet(np.ones(S), (S, A)), rng.uniform(0, 1, (S, A))
    features = np.eye(S * A).reshape(S, A, S * A)
    factors, weights = np.tile(kernel.reshape(1, S * A, S), (H, 1, 1)), np.tile(reward.reshape(1, -1), (H, 1))
    linear = exact_value(LinearMDP(features, factors, weights, horizon=H), divergence=divergence, **size)
    tabular = mdps.robust.solve(FiniteHorizonMDP(kernel, reward, horizon=H), divergence=divergence, **size)
    np.testing.assert_allclose(linear.value, tabular.value, atol=1e-10)
    np.testing.assert_array_equal(linear.policy, tabular.policy)


def test_special_cases_agree():
    model = random_linear(5, 3, 3, horizon=3, seed=9)
    nominal = mdps.solve(model.tabular()).value
    for kwargs in ({"penalty": math.inf}, {"radius": 0.0}):
        for divergence in DIVERGENCES:
            np.testing.assert_allclose(exact_value(model, divergence=divergence, **kwargs).value, nominal, atol=1e-8)
    # a one-hot reference leaves nothing to choose
    actions = np.array([0, 2, 1, 0, 2])
    reference = np.eye(3)[actions]
    forced = exact_value(model, divergence="kl", penalty=0.5, temperature=0.7, reference=reference)
    np.testing.assert_allclose(forced.value, evaluate_policy(model, actions, divergence="kl", penalty=0.5).value, atol=1e-10)
    # temperature to zero and to infinity
    cold = exact_value(model, divergence="kl", penalty=0.5, temperature=1e-12)
    np.testing.assert_allclose(cold.value, exact_value(model, divergence="kl", penalty=0.5).value, atol=1e-10)
    hot = exact_value(model, divergence="kl", penalty=0.5, temperature=1e9)
    uniform = np.full((5, 3), 1 / 3)
    np.testing.assert_allclose(hot.value, evaluate_policy(model, uniform, divergence="kl", penalty=0.5).value, atol=1e-7)
    # nested log-sum-exps of opposite signs
    lam, eta, v = 0.5, 0.2, np.zeros(5)
    for h in reversed(range(3)):
        w = -lam * np.log(model.factors[h] @ np.exp(-v / lam))
        v = formulas.soft_value(model.features @ (model.reward_weights[h] + w), np.full(3, 1 / 3), eta)
    np.testing.assert_allclose(exact_value(model, divergence="kl", penalty=lam, temperature=eta).value[0], v, atol=1e-10)


def test_another_reference_loses_much():
    found = exact_value(SIMULATED, divergence="tv", radius=radius_14(0.5), temperature=0.5)
    reference = np.full(16, 0.02 / 15)
    reference[7] = 0.98
    best = exact_value(SIMULATED, divergence="tv", radius=radius_14(0.5), temperature=0.5, reference=reference)
    other = evaluate_policy(SIMULATED, found.policy, divergence="tv", radius=radius_14(0.5), temperature=0.5, reference=reference)
    assert best.value[0, 0] - other.value[0, 0] > 1.0


BAD = [
    ({"mdp": 3}, "mdp must be a mdps.LinearMDP"),
    ({"divergence": "l2"}, "divergence must be one of"),
    ({"penalty": None}, "exactly one of penalty and radius"),
    ({"radius": 0.1}, "exactly one of penalty and radius"),
    ({"penalty": 0.0}, "penalty must be > 0, got 0.0"),
    ({"penalty": math.nan}, "penalty must be > 0"),
    ({"penalty": "much"}, "penalty must hold numbers"),
    ({"penalty": None, "radius": -1.0}, "radius must be >= 0"),
    ({"penalty": None, "radius": [0.1, 0.2, 0.3]}, "radius must be a number or have shape"),
    ({"penalty": True}, "penalty must be > 0"),
    ({"temperature": -0.1}, "temperature must be a finite number >= 0"),
    ({"temperature": math.inf}, "temperature must be a finite number >= 0"),
    ({"temperature": "hot"}, "temperature must be a finite number >= 0"),
    ({"reference": [0.5, 0.5]}, "reference must have shape"),
    ({"reference": [0.5, 0.4, 0.2]}, "reference must sum to 1"),
    ({"reference": [1.5, -0.5, 0.0]}, "reference must be non-negative"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    arguments = {"mdp": random_linear(4, 3, 2, horizon=2, seed=0), "divergence": "tv", "penalty": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        exact_value(arguments.pop("mdp"), **arguments)


def test_features_off_the_simplex_are_refused():
    features = np.array([[[2.0, -1.0]]])
    model = LinearMDP(features, np.ones((1, 2, 1)), np.zeros((1, 2)), horizon=1)
    with pytest.raises(ValueError, match="features must be non-negative"):
        exact_value(model, divergence="tv", penalty=1.0)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([0, 1, 2, 3], "policy must hold actions in 0..2"),
        ([0.5, 0.5], "policy must be actions"),
        (np.full((4, 3), 0.5), "policy must sum to 1"),
        (np.full((4, 3), np.nan), "policy must be finite"),
    ],
)
def test_bad_policies(policy, message):
    with pytest.raises(ValueError, match=message):
        evaluate_policy(random_linear(4, 3, 2, horizon=2, seed=0), policy, divergence="tv", penalty=1.0)


def test_a_policy_outside_the_reference_and_factors_outside_the_set_are_refused():
    model = random_linear(4, 3, 2, horizon=2, seed=0)
    with pytest.raises(ValueError, match="policy must vanish where reference does"):
        evaluate_policy(model, [1, 1, 1, 1], divergence="tv", penalty=1.0, temperature=0.1, reference=[1.0, 0.0, 0.0])
    far = np.zeros((2, 2, 4))
    far[..., 0] = 1.0
    with pytest.raises(ValueError, match="factors must lie in the set"):
        certify_pair(model, [0] * 4, far, divergence="tv", radius=0.01)
    # D = inf is outside a set without limit too, and an infinite price allows no shift: neither is NaN
    dirac = LinearMDP(np.ones((2, 1, 1)), np.array([[[1.0, 0.0]]] * 2), np.ones((2, 1)), horizon=2)
    other = np.array([[[0.0, 1.0]]] * 2)
    for size in ({"radius": math.inf}, {"penalty": 1.0}, {"penalty": math.inf}):
        with pytest.raises(ValueError, match="factors must lie in the set"):
            certify_pair(dirac, [0, 0], other, divergence="kl", **size)
    assert certify_pair(dirac, [0, 0], dirac.factors, divergence="kl", penalty=math.inf).gap == 0.0
    with pytest.raises(ValueError, match="factors must have shape"):
        certify_pair(model, [0] * 4, far[0], divergence="tv", radius=0.01)
    with pytest.raises(ValueError, match="penalty must be finite"):
        equivalent_constrained(model, divergence="tv", penalty=math.inf)
