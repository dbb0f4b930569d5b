"""The offline learners: the published tables digit for digit, the split certificate on known models, exact duals, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.robust import evaluate_policy, exact_value, offline_dataset, r2pvi, sample_dataset
from certify.robust._duals import band_kl, certified_chi2, constrained_tv
from mdps.families import random_linear, simulated_linear_mdp
from mdps.robust import worst_case
from verify.checks.r2pvi import _published as published

RETURNS = {
    "PEVI": (1.5536, 1.3916, 1.2296, 1.0676, 0.9056, 0.7436),
    "R2PVI-TV": (1.3998, 1.3198, 1.2398, 1.1598, 1.0798, 0.9998),
    "R2PVI-KL": (1.4861, 1.3601, 1.2341, 1.1081, 0.9821, 0.8561),
    "DRPVI": (1.351, 1.297, 1.243, 1.189, 1.135, 1.081),
    "chi2 as published": (1.3248, 1.2848, 1.2448, 1.2048, 1.1648, 1.1248),
    "chi2 with sup": (1.5198, 1.3758, 1.2318, 1.0878, 0.9438, 0.7998),
}

PUT = {
    ("pevi", np.inf): (6.279, 5.020, 2.199, 0.295, 0.0),
    ("tv", 5.0): (4.769, 4.319, 2.211, 0.572, 0.0),
    ("tv", 3.0): (3.798, 3.304, 2.121, 0.870, 0.0),
    ("tv", 1.0): (1.407, 1.318, 1.140, 0.877, 0.553),
    ("drpvi-exact", 0.025): (5.655, 4.866, 2.198, 0.294, 0.0),
    ("drpvi-exact", 0.1): (3.882, 3.348, 2.145, 0.841, 0.0),
    ("drpvi-exact", 0.2): (2.157, 2.039, 1.586, 0.936, 0.277),
}

SEARCHED = {0.025: (4.960, 4.328, 2.164, 0.397, 0.0), 0.1: (3.852, 3.278, 2.105, 0.841, 0.0), 0.2: (1.493, 1.419, 1.203, 0.883, 0.553)}

VALUES = {
    "tv": (0.0500, 0.1000, 0.1999, 0.4998, 0.9995, 1.6243, 1.6243),
    "kl": (1.1727, 1.3452, 1.5830, 1.6220, 1.6236, 1.6240, 1.6242),
    "chi2": (1.6200, 1.6221, 1.6232, 1.6238, 1.6240, 1.6241, 1.6242),
}


@pytest.mark.parametrize("name", RETURNS)
def test_expected_returns_of_the_official_settings(name):
    digits = 3 if name == "DRPVI" else 4
    assert published.returns(published.ROWS[name]) == pytest.approx(np.array(RETURNS[name]), abs=0.51 * 10.0**-digits + 1e-6)


@pytest.mark.parametrize(("method", "size"), PUT)
def test_the_put_table_to_the_printed_digits(method, size):
    assert published.put_row(method, size) == pytest.approx(np.array(PUT[method, size]), abs=5.1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("radius", SEARCHED)
def test_the_put_table_with_the_published_local_search(radius):
    assert published.put_row("drpvi", radius) == pytest.approx(np.array(SEARCHED[radius]), abs=5.1e-4)


def test_the_put_on_its_lattice():
    cases = {(None, 1.0): 3.905400, ("tv", 5.0): 3.227057, ("tv", 3.0): 2.349088, ("tv", 1.0): 0.868633, ("kl", 5.0): 2.726023, ("kl", 1.0): 1.518864}
    for (divergence, penalty), value in cases.items():
        assert published.put_lattice(divergence, penalty)[0] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("divergence", VALUES)
def test_exact_values_of_the_simulated_model(divergence):
    mdp = simulated_linear_mdp(0.2)
    found = [exact_value(mdp, divergence=divergence, penalty=p).value[0, 0] for p in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)]
    assert found == pytest.approx(list(VALUES[divergence]), abs=5.1e-5)


def test_reference_weights_of_the_legacy_data_set():
    pairs = {("pevi", None): (1.106647, 1.209125), ("tv", 0.1): (0.810611, 0.804209), ("tv", 1.0): (1.070421, 1.185977),
             ("kl", 0.1): (0.935515, 0.972710), ("kl", 1.0): (1.032535, 1.205656)}  # fmt: skip
    for (kind, penalty), expected in pairs.items():
        row = {"method": "pevi"} if kind == "pevi" else {"divergence": kind, "penalty": penalty}
        found = published.official(0, **row)
        weights = found.weights[0] + published.simulated_model().weights[0]
        assert weights[[0, 3]] == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(("divergence", "penalty"), [("tv", 0.5), ("kl", 0.5), ("chi2", 1.0)])
def test_the_split_certificate_holds_and_says_something(divergence, penalty):
    mdp = random_linear(5, 3, 3, horizon=3, seed=4)
    best = exact_value(mdp, divergence=divergence, penalty=penalty)
    for seed in range(8):
        data = sample_dataset(mdp, trajectories=6000, seed=seed)
        found = r2pvi(data, mdp.features, mdp.reward_weights, divergence=divergence, penalty=penalty, ridge=0.1)
        assert found.certified
        assert found.alpha == 0.1
        assert np.all(found.lower <= best.value[0] + 1e-9)
        assert np.all(found.upper >= best.value[0] - 1e-9)
        assert found.suboptimality_bound == pytest.approx(found.upper - found.lower)
        assert found.suboptimality_bound.max() < 3.0
        assert found.assumptions


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_constrained_duals_are_at_least_any_grid_search(seed, radius):
    rng = np.random.default_rng(seed)
    values, weights = rng.uniform(0, 3, 12), rng.normal(size=(2, 12)) / 6
    found, _ = constrained_tv(weights, values, np.full(2, radius), 0.0, 3.0)
    levels = np.linspace(0, 3, 400)
    best = (weights @ np.minimum(values[:, None], levels) - radius * levels).max(axis=1)
    assert np.all(found >= best - 1e-9)


def test_an_unvisited_factor_is_flagged():
    data = offline_dataset(np.zeros((20, 3), int), np.zeros((20, 2), int))
    features = np.zeros((2, 2, 2))
    features[:, 0], features[:, 1] = [1.0, 0.0], [0.0, 1.0]
    found = r2pvi(data, features, [0.1, 0.5], divergence="kl", penalty=0.5, beta=0.1)
    kinds = {warning.kind for warning in found.warnings}
    assert {"unvisited-factor", "optimistic-kl"} <= kinds
    observed = r2pvi(data, features, [0.1, 0.5], divergence="tv", penalty=0.5, beta=0.1, minimum="observed")
    assert "observed-minimum" in {warning.kind for warning in observed.warnings}


def test_what_a_certificate_rests_on_is_named():
    data, features = offline_dataset([[0, 1, 0], [1, 0, 1]], [[0, 1], [1, 0]]), np.full((2, 2, 2), 0.5)
    plain = r2pvi(data, features, [0.1, 0.2], divergence="kl", penalty=1.0)
    assert not any("falls below" in text for text in plain.assumptions)
    declared = r2pvi(data, features, [0.1, 0.2], divergence="kl", penalty=1.0, minimum=0.1)
    assert "no value function falls below 0.1" in declared.assumptions
    printed = r2pvi(data, features, [0.1, 0.2], method="drpvi", divergence="tv", radius=0.1, beta="printed")
    assert any("20449" in text for text in printed.assumptions)


def test_an_infinite_coefficient_gives_trivial_bounds_and_no_nan():
    mdp = simulated_linear_mdp(0.2)
    found = r2pvi(sample_dataset(mdp, trajectories=50, seed=0), mdp.features, mdp.reward_weights, divergence="kl", penalty=0.003, beta="printed")
    assert np.all(found.value == 0.0)
    assert (found.lower.max(), found.upper.min()) == (0.0, 3.0)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["beta"][0] == "inf"


@pytest.mark.parametrize(("radius", "size"), [(0.05, 400), (0.5, 4000)])
def test_a_kl_radius_is_certified(radius, size):
    mdp = random_linear(5, 3, 3, horizon=3, seed=4)
    best = exact_value(mdp, divergence="kl", radius=radius).value[0]
    for seed in range(10):
        data = sample_dataset(mdp, trajectories=size, seed=seed)
        found = r2pvi(data, mdp.features, mdp.reward_weights, method="drvi-l", divergence="kl", radius=radius, ridge=0.1)
        own = evaluate_policy(mdp, found.policy, divergence="kl", radius=radius).value[0]
        assert np.all(found.lower <= own + 1e-9)
        assert np.all(best <= found.upper + 1e-9)
        assert found.suboptimality_bound.max() < 3.0


@given(st.integers(0, 10**6), st.floats(0, 2))
def test_the_kl_band_encloses_the_exact_worst_case(seed, radius):
    rng = np.random.default_rng(seed)
    values, law = np.round(rng.uniform(0, 3, 8), 1), rng.dirichlet(np.full(8, 0.5))
    exact = worst_case(values, law, divergence="kl", radius=radius).value
    lower, upper = band_kl(law[None], values, np.array([radius]), np.zeros(1))
    assert lower[0] == pytest.approx(exact, abs=1e-8)
    assert upper[0] == pytest.approx(exact, abs=1e-8)
    levels = np.unique(values)
    noise = rng.uniform(-0.1, 0.1, (1, 8))
    noisy = law[None] + noise
    noisy += (1.0 - noisy.sum()) / 8
    off = max(abs(((noisy[0] - law) * (values > level)).sum()) for level in levels)
    lower, upper = band_kl(noisy, values, np.array([radius]), np.array([off + 1e-12]))
    assert lower[0] - 1e-8 <= exact <= upper[0] + 1e-8


@pytest.mark.parametrize("price", [{"method": "drpvi", "divergence": "tv", "radius": 0.1}, {"divergence": "chi2", "penalty": 0.5}])
def test_thresholds_of_continuous_states_do_not_depend_on_the_samples(price):
    # with a level at every sample the union bound would be over events chosen by the data: the grid makes beta a function of the design alone
    rng = np.random.default_rng(0)
    ones, actions = np.ones((60, 1)), np.zeros((60, 2), int)
    found = []
    for spread in (0.0, 1.0):
        states = np.concatenate([ones, rng.uniform(0.5 - 0.5 * spread, 0.5 + 0.5 * spread, (60, 1)), ones], axis=1)[..., None]

        def features(step, points):
            other = points[:, 0] * (step == 1)
            return np.stack([other, 1.0 - other], axis=1)[:, None, :]

        found.append(r2pvi(offline_dataset(states, actions), features, [[0.0, 0.0], [1.0, 0.0]], ridge=0.1, **price))
    assert found[0].beta[0] == found[1].beta[0] > 0


BAD = [
    ({"penalty": 0.0}, "penalty"),
    ({"penalty": -1.0}, "penalty"),
    ({"penalty": None}, "penalty"),
    ({"divergence": "hellinger"}, "divergence"),
    ({"method": "sarsa"}, "method"),
    ({"ridge": 0.0}, "ridge"),
    ({"beta": -1.0}, "beta"),
    ({"beta": "guess"}, "beta"),
    ({"delta": 0.0}, "delta"),
    ({"delta": 1.5}, "delta"),
    ({"features": np.full((2, 2, 2), 0.6)}, "features"),
    ({"features": np.array([[[1.5, -0.5]] * 2] * 2)}, "features"),
    ({"reward_weights": [3.0, 0.0]}, "reward"),
    ({"reward_weights": [np.nan, 0.0]}, "reward_weights"),
    ({"reward_weights": [0.1, 0.2, 0.3]}, "reward_weights"),
    ({"method": "drpvi", "radius": -0.1, "penalty": None}, "radius"),
    ({"method": "va-drpvi", "radius": 0.1, "penalty": None, "beta": "split-certificate"}, "certificate"),
    ({"method": "drpvi", "radius": "wide", "penalty": None}, "radius must hold numbers"),
    ({"method": "drpvi", "radius": [], "penalty": None}, "radius must hold numbers"),
    ({"minimum": 1.5}, "minimum must be in"),
    ({"minimum": -0.1}, "minimum must be in"),
    ({"minimum": 0.5}, "minimum must be the least value"),
    ({"minimum": 0.0}, "minimum must be the least value"),
    ({"minimum": 0.5, "divergence": "kl"}, "minimum must be the least value"),
    ({"protocol": "draft"}, "protocol"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_refused(change, message):
    arguments = {"features": np.full((2, 2, 2), 0.5), "reward_weights": [0.1, 0.2], "divergence": "tv", "penalty": 1.0, **change}
    data = offline_dataset([[0, 1, 0], [1, 0, 1]], [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=message):
        r2pvi(data, arguments.pop("features"), arguments.pop("reward_weights"), **arguments)


@pytest.mark.parametrize("seed", range(3))
def test_variance_weights_of_small_values_leave_the_second_half_as_it_is(seed):
    """Values of at most two steps have a variance of at most 1, below which weights are 1: VA-DRPVI is DRPVI on every second trajectory."""
    model = random_linear(5, 2, 3, horizon=3, seed=seed)
    data = sample_dataset(model, trajectories=60, seed=seed)
    half = offline_dataset(np.concatenate([data.states, data.next_states[:, -1:]], axis=1)[1::2], data.actions[1::2])
    options = {"divergence": "tv", "radius": 0.1, "beta": 0.05}
    whole, own = (r2pvi(d, model.features, model.reward_weights, method=m, **options) for d, m in ((data, "va-drpvi"), (half, "drpvi")))
    assert whole.weights == pytest.approx(own.weights, abs=1e-12)
    assert whole.bonus == pytest.approx(own.bonus, abs=1e-12)


def test_variance_weights_of_large_values_change_the_regression():
    """Two absorbing states worth 0 and 1 a step, reached with equal odds: the variance is (steps left)^2 / 4."""
    features = np.zeros((3, 1, 3))
    features[:, 0] = np.eye(3)
    horizon, K = 8, 80
    ends = 1 + np.arange(K) // 2 % 2
    states = np.concatenate([np.zeros((K, 1), dtype=int), np.repeat(ends[:, None], horizon, axis=1)], axis=1)
    data = offline_dataset(states, np.zeros((K, horizon), dtype=int))
    weights = np.tile([0.0, 0.0, 1.0], (horizon, 1))
    found = r2pvi(data, features, weights, method="va-drpvi", divergence="tv", radius=0.0, beta=0.0)
    # the good end pays 1 seven times, each regression on its 20 samples shrinks by 20/21; 20 of 40 trajectories of either half get there
    worth = sum((20 / 21) ** k for k in range(7))
    mean, square = 20 * worth / 41, 20 * worth**2 / 41
    weight = 1.0 / (square - mean**2)
    assert found.weights[0, 0] == pytest.approx(20 * worth * weight / (1.0 + 40 * weight), rel=0.02)
    assert found.weights[0, 0] < 0.85 * mean  # what it would be without weights


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.05, 5.0))
def test_the_certified_chi2_dual_is_the_exact_one_from_below(seed, penalty):
    rng = np.random.Generator(np.random.Philox(seed))
    values, rows = rng.uniform(0.0, 2.0, 6), rng.dirichlet(np.full(6, 0.5), 3)
    found = certified_chi2(rows, values, penalty, float(values.min()), float(values.max()))
    exact = np.array([worst_case(values, p, divergence="chi2", penalty=penalty).value for p in rows])
    assert np.all(found <= exact + 1e-9)
    assert found == pytest.approx(exact, abs=2e-3)
