"""Return distributions: certified errors against exact laws, Monte Carlo-free."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdps
from certify.returns import Law, environment_model, return_distribution, wasserstein


def random_model(seed: int, states: int = 3, discount: float = 0.5) -> mdps.TabularMDP:
    rng = np.random.Generator(np.random.Philox(seed))
    return mdps.TabularMDP(rng.dirichlet(np.ones(states), (states, 2)), rng.integers(-2, 3, (states, 2, states)).astype(float), discount=discount)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from(["categorical", "quantile"]))
def test_the_certified_error_covers_the_true_one(seed: int, atoms: int, representation: str) -> None:
    model, policy = random_model(seed), np.array([seed % 2, 1, 0])
    truth = return_distribution(model, policy, representation="exact", sweeps=9)
    found = return_distribution(model, policy, representation=representation, atoms=atoms)
    for s in range(3):
        distance = float(wasserstein(found.laws[s], truth.laws[s]))
        assert distance <= found.wasserstein_errors[s] + truth.wasserstein_errors[s]
    assert found.wasserstein_error == found.wasserstein_errors.max()
    for tau in (0.1, 0.5, 1.0):
        low, high = found.cvar(tau)
        true = float(truth.law.cvar(tau))
        slack = truth.wasserstein_error / tau
        assert low <= true + slack
        assert true - slack <= high


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([1.0, 0.9]))
def test_finite_horizons(seed: int, horizon: int, discount: float) -> None:
    model, policy = random_model(seed, discount=discount), np.full((3, 2), 0.5)
    truth = return_distribution(model, policy, representation="exact", horizon=horizon)
    assert truth.wasserstein_error < 1e-9
    for representation in ("categorical", "quantile"):
        found = return_distribution(model, policy, representation=representation, atoms=23, horizon=horizon)
        assert float(wasserstein(found.law, truth.law)) <= found.wasserstein_error + 1e-9


def test_the_error_shrinks_like_one_over_the_number_of_atoms() -> None:
    model = random_model(3)
    errors = [return_distribution(model, [0, 0, 0], atoms=k).wasserstein_error for k in (11, 101, 1001)]
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 8


def test_mean_and_cvar_order_of_the_categorical_law() -> None:
    model = random_model(5)
    found = return_distribution(model, [0, 1, 0], atoms=7)
    truth = return_distribution(model, [0, 1, 0], representation="exact", sweeps=10)
    assert found.mean_preserving
    assert found.mean == pytest.approx(truth.mean, abs=1e-2)
    assert float(found.law.cvar(0.2)) <= float(truth.law.cvar(0.2)) + truth.wasserstein_error / 0.2


def test_a_time_dependent_policy_on_a_finite_horizon_model() -> None:
    model = mdps.FiniteHorizonMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]), horizon=3, final_value=np.array([10.0]))
    found = return_distribution(model, np.array([[0], [1], [1]]), representation="exact")
    assert found.law.atoms.tolist() == [12.0]


def test_clipping_is_refused_or_counted() -> None:
    model = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)  # returns 2
    with pytest.raises(ValueError, match="atoms must cover"):
        return_distribution(model, [0], atoms=[0.0, 0.5, 1.0])
    found = return_distribution(model, [0], atoms=[0.0, 0.5, 1.0], clip=True)
    assert not found.mean_preserving
    assert float(wasserstein(found.law, Law.point(2.0))) <= found.wasserstein_error

@pytest.mark.parametrize("representation", ["categorical", "quantile", "exact"])
@pytest.mark.parametrize(("offset", "spread"), [(1e6, 1e-5), (1e3, 1e-8)])
def test_merging_of_near_atoms_enters_the_error(offset: float, spread: float, representation: str) -> None:
    reward = np.full((2, 1, 2), offset)
    reward[:, :, 1] += spread
    model = mdps.TabularMDP(np.full((2, 1, 2), 0.5), reward, discount=0.5)
    found = return_distribution(model, [0, 0], representation=representation, atoms=201, sweeps=None if representation != "exact" else 12)
    assert abs(found.mean - 2.0 * (offset + 0.5 * spread)) <= found.wasserstein_error


@pytest.mark.parametrize("representation", ["categorical", "exact"])
@pytest.mark.parametrize("sweeps", [1, 2, 4])
def test_variance_after_few_sweeps_is_bounded(sweeps: int, representation: str) -> None:
    model = random_model(11)
    truth = return_distribution(model, [0, 1, 0], representation="exact", sweeps=9)
    found = return_distribution(model, [0, 1, 0], representation=representation, atoms=9, sweeps=sweeps)
    assert found.variance_inflation is not None
    assert truth.variance_inflation is not None
    for law, true in zip(found.laws, truth.laws, strict=True):
        assert abs(float(law.variance()) - float(true.variance())) <= found.variance_inflation + truth.variance_inflation


def test_a_grid_that_is_short_by_rounding_is_counted() -> None:
    model = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)  # returns 2
    found = return_distribution(model, [0], atoms=[0.0, 2.0 - 8e-13])
    assert abs(found.mean - 2.0) <= found.wasserstein_error
    assert found.cvar(0.5)[0] <= 2.0 <= found.cvar(0.5)[1]


def test_environment_rewards_keep_their_law() -> None:
    frozen = environment_model("FrozenLake-v1", discount=0.95)
    found = return_distribution(frozen, np.zeros(frozen.n_states, dtype=int), representation="exact", horizon=30)
    assert set(np.round(found.law.atoms / 0.95 ** np.round(np.log(np.maximum(found.law.atoms, 1e-9)) / np.log(0.95)), 9)) <= {0.0, 1.0}
    slippery = environment_model("CliffWalking-v1", discount=1.0, slippery=True)
    assert slippery.n_states > 49  # the start is reached with -1 and with -100


def test_two_rewards_at_the_end_of_one_step() -> None:
    lake = environment_model("FrozenLake8x8-v1", discount=0.95)
    rows = lake.dense()[62] @ np.ones(lake.n_states)
    assert np.allclose(rows, 1.0)
    assert lake.n_states == 66  # beside a hole and the goal the end is two states


MODEL = random_model(0)
BAD = [
    pytest.param(dict(policy=[0, 1]), "policy", id="short policy"),
    pytest.param(dict(policy=[0, 1, 2]), "actions in 0..1", id="unknown action"),
    pytest.param(dict(policy=np.full((3, 2), 0.6)), "distribution", id="policy sums to 1.2"),
    pytest.param(dict(policy=np.full((3, 2), np.nan)), "distribution", id="nan policy"),
    pytest.param(dict(atoms=1), "atoms", id="one atom"),
    pytest.param(dict(atoms=[0.0]), "atoms", id="grid of one"),
    pytest.param(dict(atoms=[1.0, 0.0]), "increasing", id="unsorted grid"),
    pytest.param(dict(atoms=0, representation="quantile"), "atoms", id="no quantile"),
    pytest.param(dict(representation="normal"), "representation", id="representation"),
    pytest.param(dict(horizon=0), "horizon", id="horizon 0"),
    pytest.param(dict(horizon=3, sweeps=3), "sweeps", id="sweeps with a horizon"),
    pytest.param(dict(initial=7), "initial", id="initial state"),
    pytest.param(dict(initial=[0.5, 0.6, 0.0]), "initial", id="initial distribution"),
    pytest.param(dict(mdp=random_model(0, discount=1.0)), "discount", id="discount 1 without horizon"),
    pytest.param(dict(mdp=3), "mdp", id="not a model"),
    pytest.param(dict(representation="exact", sweeps=12, limit=50), "limit", id="support explodes"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"mdp": MODEL, "policy": [0, 1, 0], **change}
    with pytest.raises(ValueError, match=message):
        return_distribution(arguments.pop("mdp"), arguments.pop("policy"), **arguments)
