"""Diffusions: values against quadrature and simulation, transitions against their moments, bad input."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdps._errors import ModelError
from mdps.diffusions import BlackScholes, BrownianMotion, LinearQuadratic, OrnsteinUhlenbeck, Paths, Polynomial, variables
from mdps.diffusions.gaussian import _by_quadrature

T, X = variables()


@st.composite
def polynomials(draw, degree=4):
    terms = draw(st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, degree)), st.integers(-3, 3), max_size=4))
    return Polynomial(terms)


@given(polynomials(), polynomials(), st.integers(-2, 2), st.integers(-2, 2))
def test_polynomials_are_a_ring_and_evaluate_as_one(f, g, t, x):
    assert (f + g)(t, x) == f(t, x) + g(t, x)
    assert (f * g)(t, x) == f(t, x) * g(t, x)
    assert (f - g) == f + (-g)
    assert f.later(2)(t, x) == f(t + 2, x)
    assert (f * g).derivative("x") == f.derivative("x") * g + f * g.derivative("x")
    assert f(np.array([float(t)]), np.array([float(x)])) == pytest.approx(float(f(t, x)))


@given(polynomials(), polynomials(), st.fractions(Fraction(0), Fraction(1), max_denominator=8))
def test_the_value_of_brownian_motion_solves_its_equation_and_matches_quadrature(reward, terminal, t):
    model = BrownianMotion(reward, terminal, horizon=1)
    value = model.value_polynomial()
    assert model.generator(value) == -reward
    assert value.at_time(1) == terminal.at_time(1)
    assert float(_by_quadrature(model, np.array(float(t)), np.array(0.7))) == pytest.approx(float(model.value(float(t), 0.7)), abs=1e-9)


@given(polynomials(), st.fractions(Fraction(0), Fraction(2), max_denominator=4), st.fractions(Fraction(0), Fraction(2), max_denominator=4))
def test_transitions_compose(f, u, v):
    model = BrownianMotion(start=Fraction(1, 3), horizon=10)
    assert model.conditional(model.conditional(f, u), v) == model.conditional(f, u + v)
    assert model.mean(model.conditional(f, u), v) == model.mean(f, u + v)
    ou = OrnsteinUhlenbeck(0.7, 1.3, 0.5, start=0.4)
    assert ou.mean(ou.conditional(f, float(u)), float(v)) == pytest.approx(ou.mean(f, float(u + v)), abs=1e-9, rel=1e-9)


@given(st.floats(0.2, 3), st.floats(0.1, 2), st.floats(0.1, 2), st.lists(st.integers(-2, 2), min_size=1, max_size=5))
def test_the_endless_value_of_the_ou_process_solves_its_equation(kappa, sigma, discount, coefficients):
    reward = Polynomial({(0, j): float(c) for j, c in enumerate(coefficients)})
    model = OrnsteinUhlenbeck(kappa, sigma, discount, reward)
    value = model.value_polynomial()
    residual = model.generator(value) - discount * value + reward
    assert all(abs(c) < 1e-9 * max(1, *map(abs, value.terms.values())) for c in residual.terms.values())


def test_a_long_horizon_approaches_the_endless_value_even_without_return_to_the_mean():
    for kappa in (0.5, -0.1):
        endless = OrnsteinUhlenbeck(kappa, 0.5, 0.6, start=1.0)
        long = OrnsteinUhlenbeck(kappa, 0.5, 0.6, horizon=60.0, start=1.0)
        assert float(long.value(0.0, 1.0)) == pytest.approx(float(endless.value(0.0, 1.0)), rel=1e-6)


@pytest.mark.parametrize("scheme", ["exact", "euler"])
def test_sampled_means_agree_with_the_models(scheme):
    models = [
        (OrnsteinUhlenbeck(1.0, 0.7, 0.5), 1.0),
        (BrownianMotion(reward=X**2, terminal=X**2), 1.0),
        (BlackScholes(0.3, 0.02), 1.0),
    ]
    for model, length in models:
        paths = model.sample(paths=20_000, steps=50, duration=length, seed=7, scheme=scheme)
        last = paths.state[:, -1, 0]
        expected = {"OrnsteinUhlenbeck": 0.0, "BrownianMotion": 0.0, "BlackScholes": np.exp(0.02)}[type(model).__name__]
        assert abs(last.mean() - expected) < 5 * last.std() / np.sqrt(len(last))


def test_paths_do_not_depend_on_threads_and_start_alike():
    model = OrnsteinUhlenbeck(1.0, 0.7, 0.5)
    one = model.sample(paths=9000, steps=3, duration=1.0, seed=1)
    two = model.sample(paths=9000, steps=3, duration=1.0, seed=1, jobs=2)
    few = model.sample(paths=4096, steps=3, duration=1.0, seed=1)
    assert np.array_equal(one.state, two.state)
    assert np.array_equal(one.state[:4096], few.state)


def test_linear_quadratic_in_one_dimension_is_the_ou_process():
    model = LinearQuadratic([[-1.0]], [[0.7]], [[1.0]], discount=0.5)
    ou = OrnsteinUhlenbeck(1.0, 0.7, 0.5)
    for x in (-1.0, 0.0, 2.0):
        assert float(model.value(0.0, [x])) == pytest.approx(float(ou.value(0.0, x)), rel=1e-12)
    finite = LinearQuadratic([[-1.0]], [[0.7]], [[1.0]], [[0.5]], 0.5, 2.0)
    other = OrnsteinUhlenbeck(1.0, 0.7, 0.5, X**2, 0.5 * X**2, 2.0, 0.0)
    assert float(finite.value(0.3, [1.2])) == pytest.approx(float(other.value(0.3, 1.2)), rel=1e-10)


def test_linear_quadratic_paths_earn_their_value():
    model = LinearQuadratic([[-1.0, 0.2], [0.0, -0.5]], [[0.7, 0.1], [0.0, 0.3]], [[1.0, 0.1], [0.1, 2.0]], [[1.0, 0.0], [0.0, 0.0]], 0.3, 2.0, [0.5, -1.0])
    paths = model.sample(paths=8000, steps=100, seed=3)
    discounted = paths.reward * np.exp(-0.3 * paths.time)
    earned = np.trapezoid(discounted, paths.time, axis=1) + np.exp(-0.6) * paths.terminal
    assert abs(earned.mean() - float(model.value(0.0, [0.5, -1.0]))) < 5 * earned.std() / np.sqrt(len(earned)) + 1e-3


def test_black_scholes_at_maturity_is_the_payoff_and_its_greeks_are_derivatives():
    model = BlackScholes(0.3, 0.02)
    assert model.value(1.0, [0.5, 1.0, 1.5]).tolist() == [0.0, 0.0, 0.5]
    h = 1e-5
    for t, s in ((0.0, 1.0), (0.9, 0.8), (0.99, 1.01)):
        up, at, down = (float(model.value(t, s + d)) for d in (h, 0.0, -h))
        assert float(model.delta(t, s)) == pytest.approx((up - down) / (2 * h), abs=1e-6)
        assert float(model.gamma(t, s)) == pytest.approx((up - 2 * at + down) / h**2, abs=1e-3, rel=1e-3)


BAD = [
    (OrnsteinUhlenbeck, {"kappa": -1.0, "sigma": 1.0, "discount": 0.5, "start": 0.0}, "infinite"),
    (OrnsteinUhlenbeck, {"kappa": -1.0, "sigma": 1.0, "discount": 5.0}, "stationary"),
    (OrnsteinUhlenbeck, {"kappa": 1.0, "sigma": -1.0, "discount": 0.5}, "sigma"),
    (OrnsteinUhlenbeck, {"kappa": 1.0, "sigma": 1.0, "discount": 0.5, "start": float("nan")}, "start"),
    (BrownianMotion, {"start": float("inf")}, "start"),
    (BrownianMotion, {"volatility": float("nan")}, "volatility"),
    (OrnsteinUhlenbeck, {"kappa": 1.0, "sigma": 1.0, "discount": 0.0}, "infinite"),
    (OrnsteinUhlenbeck, {"kappa": float("nan"), "sigma": 1.0, "discount": 0.5}, "kappa"),
    (OrnsteinUhlenbeck, {"kappa": 1.0, "sigma": 1.0, "discount": 0.5, "terminal": X}, "horizon"),
    (OrnsteinUhlenbeck, {"kappa": 1.0, "sigma": 1.0, "discount": 0.5, "reward": T * X}, "time"),
    (BrownianMotion, {"horizon": 0}, "horizon"),
    (BrownianMotion, {"horizon": None}, "horizon"),
    (BrownianMotion, {"discount": -1.0}, "discount"),
    (BlackScholes, {"volatility": 0.0}, "volatility"),
    (BlackScholes, {"volatility": 0.2, "strike": -1.0}, "strike"),
    (LinearQuadratic, {"drift": [[1.0]], "noise": [[1.0]], "reward": [[1.0]], "discount": 1.0}, "discount must exceed"),
    (LinearQuadratic, {"drift": [[0.0, 1.0]], "noise": [[1.0]], "reward": [[1.0]]}, "shape"),
    (LinearQuadratic, {"drift": np.zeros((2, 2)), "noise": np.eye(2), "reward": [[0.0, 1.0], [0.0, 0.0]], "horizon": 1.0}, "symmetric"),
    (LinearQuadratic, {"drift": [[np.nan]], "noise": [[1.0]], "reward": [[1.0]], "horizon": 1.0}, "finite"),
    (Polynomial, {"terms": {(0, -1): 1}}, "exponents"),
    (Polynomial, {"terms": {(0, 1): float("inf")}}, "finite"),
    (Paths, {"time": [0.0, 1.0, 1.0], "state": np.zeros((2, 3)), "reward": np.zeros((2, 3))}, "increase"),
    (Paths, {"time": [0.0], "state": np.zeros((2, 1)), "reward": np.zeros((2, 1))}, "two times"),
    (Paths, {"time": [0.0, 1.0], "state": [[0.0, 1.0], [0.0]], "reward": np.zeros((2, 2))}, "different length"),
    (Paths, {"time": [0.0, 1.0], "state": [[0.0, np.nan]], "reward": np.zeros((1, 2))}, "finite"),
    (Paths, {"time": [0.0, 1.0], "state": np.zeros((1, 2)), "reward": np.zeros((1, 3))}, "reward"),
    (Paths, {"time": [0.0, 1.0], "state": np.zeros((1, 2)), "reward": np.zeros((1, 2)), "terminal": np.zeros(2)}, "terminal"),
]


@pytest.mark.parametrize(("kind", "arguments", "message"), BAD)
def test_bad_models_and_paths_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize("arguments", [{"paths": 0}, {"paths": 2.5}, {"steps": 0}, {"scheme": "milstein"}, {"duration": -1.0}, {"duration": None}, {"seed": -1}, {"seed": 1.5}])
def test_bad_sampling_is_refused(arguments):
    with pytest.raises(ModelError):
        OrnsteinUhlenbeck(1.0, 1.0, 0.5).sample(**{"paths": 2, "steps": 2, "duration": 1.0, "seed": 0, **arguments})


def test_paths_stop_at_the_horizon():
    for model in (BrownianMotion(horizon=1), BlackScholes(0.3, horizon=1.0), LinearQuadratic([[0.0]], [[1.0]], [[1.0]], horizon=1.0)):
        with pytest.raises(ModelError, match="horizon 1"):
            model.sample(paths=1, steps=2, seed=0, duration=1.5)


def test_a_seed_sequence_and_its_children_give_streams_of_their_own():
    model = BrownianMotion()
    root = np.random.SeedSequence(5)
    one, two = (model.sample(paths=2, steps=2, seed=child).state for child in root.spawn(2))
    assert np.array_equal(model.sample(paths=2, steps=2, seed=5).state, model.sample(paths=2, steps=2, seed=np.random.SeedSequence(5)).state)
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("volatility", [0.0, -0.2, float("nan")])
def test_a_believed_volatility_must_be_positive(volatility):
    model = BlackScholes(0.3, 0.02)
    for greek in (model.value, model.delta, model.gamma):
        with pytest.raises(ModelError, match="volatility"):
            greek(0.0, 1.0, volatility=volatility)
    with pytest.raises(ModelError, match="prices"):
        model.value(float("nan"), 1.0)


@pytest.mark.parametrize("scheme", ["exact", "euler"])
def test_sampled_transitions_have_the_covariance_of_the_model_in_two_dimensions(scheme):
    model = LinearQuadratic([[-1.0, 0.6], [-0.4, 0.3]], [[0.7, 0.1, 0.2], [0.0, 0.3, -0.5]], np.eye(2), horizon=0.5, start=[1.0, -2.0])
    last = model.sample(paths=40_000, steps=1 if scheme == "exact" else 60, seed=2, scheme=scheme).state[:, -1]
    phi, covariance = model.transition(0.5)
    slack = 0.0 if scheme == "exact" else 0.02
    assert np.all(np.abs(last.mean(axis=0) - phi @ model.start) < 5 * np.sqrt(np.diag(covariance) / 40_000) + slack)
    assert np.cov(last.T) == pytest.approx(covariance, abs=5 * np.sqrt(2 / 40_000) * covariance.max() + slack)


def test_exact_transitions_have_the_variance_of_the_law():
    ou = OrnsteinUhlenbeck(-0.4, 0.5, 2.0, start=1.0).sample(paths=40_000, steps=3, duration=1.5, seed=1).state[:, -1, 0]
    variance = 0.25 * np.expm1(2 * 0.4 * 1.5) / 0.8
    assert ou.mean() == pytest.approx(np.exp(0.6), abs=5 * np.sqrt(variance / 40_000))
    assert ou.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / 40_000))
    logs = np.log(BlackScholes(0.3, 0.02).sample(paths=40_000, steps=3, seed=1).state[:, -1, 0])
    assert logs.mean() == pytest.approx(0.02 - 0.045, abs=5 * 0.3 / np.sqrt(40_000))
    assert logs.var() == pytest.approx(0.09, rel=5 * np.sqrt(2 / 40_000))


def test_values_take_times_and_states_of_whole_paths():
    lq = LinearQuadratic([[-1.0, 0.2], [0.0, -0.5]], [[0.7], [0.1]], np.eye(2), np.eye(2), 0.3, 1.0)
    paths = lq.sample(paths=3, steps=4, seed=0)
    values = lq.value(paths.time, paths.state)
    assert values.shape == (3, 5)
    assert values[1, 2] == pytest.approx(float(lq.value(0.5, paths.state[1, 2])), rel=1e-12)
    ou = OrnsteinUhlenbeck(1.0, 0.7, 0.5, X**2, 0.5 * X**2, 1.0, 0.3)
    long = ou.sample(paths=2000, steps=20, seed=0)
    values = ou.value(long.time[None, :], long.state[:, :, 0])
    assert values[7, 5] == pytest.approx(float(ou.value(0.25, long.state[7, 5, 0])), rel=1e-12)
    assert values[:, -1] == pytest.approx(long.terminal)
    with pytest.raises(ModelError, match="shape"):
        lq.value(0.0, [1.0, 2.0, 3.0])


def test_a_reward_that_is_symmetric_up_to_rounding_is_taken():
    almost = np.array([[1.0, 0.3], [0.3 + 1e-16, 2.0]])
    assert LinearQuadratic(-np.eye(2), np.eye(2), almost, discount=1.0).reward[0, 1] == pytest.approx(0.3)
