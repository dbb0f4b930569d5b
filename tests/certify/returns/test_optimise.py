"""Optimal utilities and CVaR against brute force over all history-dependent policies, and the acceptance instance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdps
from certify.returns import (
    constrained,
    expected_utility,
    homeostasis,
    log_periodic,
    maximise_cvar,
    optimise,
    piecewise_linear,
    target_return,
)  # fmt: skip
from verify.checks.distributional_dp._oracle import acceptance, achievable, random_lattice

MODEL = acceptance().mdp()
SHORTFALL = piecewise_linear(1.0, 0.0)


def test_acceptance_values_and_actions() -> None:
    truth = {-6: -3.0, -5: -33 / 16, -4: -5 / 4, -3: -5 / 8, -2: 0.0, -1: 0.0, 0: 0.0}
    for c, value in truth.items():
        for method in ("value", "policy"):
            solution = optimise(MODEL, SHORTFALL, stock=c, method=method)
            assert solution.value == pytest.approx(value, abs=1e-12)
            assert solution.lower <= value <= solution.upper
            assert solution.a_posteriori_error < 1e-9
        if c <= -2:
            assert solution.policy.action(0, 0, float(c)) == (1 if c <= -4 else 0)


@pytest.mark.parametrize(
    ("tau", "value"),
    [(0.3, 2.0), (0.625, 2.0), (0.7, 4 - 5 / (4 * 0.7)), (0.75, 7 / 3), (0.9, 65 / 24), (0.95, 5.5 - 161 / 64 / 0.95), (1.0, 3.0)],
)
def test_acceptance_cvar(tau: float, value: float) -> None:
    solution = maximise_cvar(MODEL, tau)
    assert solution.value == pytest.approx(value, abs=1e-9)
    assert solution.lower <= value <= solution.upper
    law, error = solution.return_law(limit=20_000)
    assert abs(float(law.cvar(tau)) - value) <= error / tau + 1e-8


def test_a_grid_brackets_the_lattice() -> None:
    for tau in (0.3, 0.75, 0.95):
        exact, rough = maximise_cvar(MODEL, tau), maximise_cvar(MODEL, tau, nodes=801)
        assert rough.lower <= exact.value <= rough.upper
        assert rough.error < 0.02


@pytest.mark.parametrize("seed", range(12))
def test_brute_force(seed: int) -> None:
    compare_with_enumeration(seed)


@pytest.mark.slow
def test_brute_force_on_a_thousand_models() -> None:
    for seed in range(1000, 2000):
        compare_with_enumeration(seed)


def compare_with_enumeration(seed: int) -> None:
    q, state = 1 + seed % 2, (seed // 2) % 2
    lattice = random_lattice(seed, q=q)
    model, every = lattice.mdp(), achievable(lattice, state, 3)
    for tau in (0.1, 0.5, 0.9):
        solution = maximise_cvar(model, tau, horizon=3, initial=state)
        best = every.best_cvar(tau)
        assert abs(solution.value - best) <= 1e-12
        assert solution.lower <= best <= solution.upper
        assert float(solution.return_law()[0].cvar(tau)) == pytest.approx(best, abs=1e-12)
    objectives: list[Any] = [SHORTFALL, piecewise_linear(1, -1), target_return(1.0), lambda x: -np.square(x)]
    for objective in objectives:
        solution_ = optimise(model, objective, stock=0.5, horizon=3, initial=state)
        c = solution_.policy.initial_stock
        best = every.best(lambda x, c=c, f=solution_.objective.utility: f(c + x))
        assert abs(solution_.value - best) <= 1e-12 * max(1.0, abs(best))
        law, _ = solution_.return_law()
        assert law.expect(lambda x, c=c, f=solution_.objective.utility: float(f(np.array([c + x]))[0])) == pytest.approx(best, abs=1e-11)


def test_the_policy_runs_in_the_model() -> None:
    solution = maximise_cvar(MODEL, 0.75)
    rng = np.random.Generator(np.random.Philox(1))
    returns = []
    for _ in range(1500):
        s, c, total = 0, solution.stock, 0.0
        for t in range(14):
            a = solution.policy.action(t, s, c)
            s = int(rng.choice(2, p=MODEL.dense()[s, a]))
            r = 1.0 if a == 0 else 3.0 * s
            total, c = total + 0.5**t * r, solution.policy.update(t, c, r)
        returns.append(total)
    worst = np.sort(returns)[:1125].mean()
    assert worst == pytest.approx(7 / 3, abs=0.1)  # five standard errors of the tail mean


@settings(max_examples=6)
@given(st.integers(0, 10**6), st.sampled_from([0.2, 0.5, 0.8]))
def test_general_discounts_are_bracketed(seed: int, tau: float) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    model = mdps.TabularMDP(rng.dirichlet(np.ones(2), (2, 2)), rng.normal(size=(2, 2, 2)), discount=0.7)
    finite = maximise_cvar(model, tau, horizon=4)
    rounded = maximise_cvar(model, tau, horizon=4, nodes=4001)
    assert rounded.lower <= finite.upper
    assert finite.lower <= rounded.upper
    infinite = maximise_cvar(model, tau, nodes=601)
    law, error = infinite.return_law(tolerance=1e-2, limit=4_000)
    assert float(law.cvar(tau)) + error / tau >= infinite.lower - 1e-9
    assert float(law.cvar(tau)) - error / tau <= infinite.upper + 1e-9


def test_upper_tail_needs_a_mixture() -> None:
    P, R = np.zeros((3, 2, 3)), np.zeros((3, 2, 3))
    P[0, 0, 1], P[0, 1, 1], P[0, 1, 2] = 1.0, 0.25, 0.75
    R[0, 0, 1], R[0, 1, 1] = 1.0, 3.0
    P[1, :, 1] = P[2, :, 2] = 1.0
    arms = mdps.TabularMDP(P, R, discount=1.0)
    solution = maximise_cvar(arms, 0.5, horizon=1, tail="upper")
    assert solution.value == pytest.approx(5 / 3, abs=1e-9)
    assert sorted(solution.weights) == pytest.approx([1 / 3, 2 / 3])
    assert float(solution.return_law()[0].cvar(0.5, tail="upper")) == pytest.approx(5 / 3)
    endless = maximise_cvar(MODEL, 0.5, tail="upper")
    assert endless.lower <= 4.5 <= endless.upper


def test_clock_and_periodic_utilities() -> None:
    lattice = random_lattice(4, q=2)
    every = achievable(lattice, 0, 3)
    found = optimise(lattice.mdp(), np.tanh, stock=0.5, horizon=3, clock=True)
    assert found.value == pytest.approx(every.best(lambda x: np.tanh(0.5 + x)), abs=1e-12)
    wave = log_periodic(0.5)
    endless = optimise(lattice.mdp(), wave, stock=0.5)
    finite = optimise(lattice.mdp(), wave, stock=0.5, horizon=6)
    assert abs(endless.value - finite.value) <= endless.a_posteriori_error + (wave.lipschitz or 0) * 0.5**6 * 4


def test_vector_stocks() -> None:
    model = mdps.TabularMDP(np.ones((1, 2, 1)), np.zeros((1, 2)), discount=1.0)
    rewards = np.array([[[1.0, -1.0], [-1.0, 1.0]]])
    balanced = optimise(model, homeostasis(rewards), horizon=4)
    assert balanced.value == 0.0
    odd = optimise(model, homeostasis(rewards, norm="linf"), stock=[1.0, -1.0], horizon=3)
    assert odd.value == 0.0
    budget = optimise(model, constrained(np.array([[[2.0, 1.0], [1.0, 0.0]]]), [2.0], penalty=5.0), horizon=4)
    assert budget.value == 6.0  # two costly steps, two free ones
    assert budget.policy.action(0, 0, budget.policy.initial_stock) in (0, 1)


def test_a_vector_of_length_one_is_a_number() -> None:
    lattice = random_lattice(9, q=2)
    plain = optimise(lattice.mdp(), target_return(0.5), horizon=3)
    vector = optimise(lattice.mdp(), homeostasis(lattice.reward[..., None], target=[0.5]), horizon=3)
    assert vector.value == pytest.approx(plain.value, abs=1e-12)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([(1.0, 0.0), (1.0, -1.0), (0.5, 2.0)]), st.integers(3, 21))
def test_policies_with_rounded_stocks_stay_within_their_bounds(seed: int, slopes: tuple[float, float], nodes: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    reward = rng.integers(-2, 3, (3, 2, 3)) * np.array([1.0, 3.0, 10.0])[:, None, None]
    model = mdps.TabularMDP(rng.dirichlet(np.full(3, 0.5), (3, 2)), reward, discount=0.5)
    exact, found = (optimise(model, piecewise_linear(*slopes), stock=-1.0, nodes=n) for n in (None, nodes))
    assert found.lower <= exact.upper
    assert exact.lower <= found.upper
    law, error = found.return_law(tolerance=1e-2, limit=3000)
    own = float(law.expect(lambda x: slopes[1] * max(x - 1.0, 0.0) + slopes[0] * min(x - 1.0, 0.0)))
    assert found.lower - 2.0 * error <= own <= found.upper + 2.0 * error


def test_a_stock_that_leaves_a_rounded_grid_never_returns() -> None:
    solution = optimise(MODEL, SHORTFALL, stock=-100.0, nodes=11)
    stock = solution.policy.initial_stock
    for t in range(3):
        stock = solution.policy.update(t, stock, 3.0)
        assert stock == -np.inf
        assert solution.policy.action(t + 1, 0, stock) == 1  # the larger mean


def test_bounds_hold_across_a_jump_that_rounding_may_cross() -> None:
    model = mdps.TabularMDP(np.ones((1, 1, 1)), np.full((1, 1), 0.1), discount=1.0)
    jump = expected_utility(lambda x: 1.0 * (x >= 0))
    rough = optimise(model, jump, stock=-0.8, horizon=8)  # eight times the float .1 is a little more than .8, their rounded sum less
    assert rough.lower <= 1.0 <= rough.upper
    whole = optimise(mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5), jump, stock=-1.75, horizon=3)
    assert whole.value == 1.0  # dyadic sums are exact
    assert whole.a_posteriori_error < 1e-9


def test_bounds_of_large_rewards_cover_the_rounding_of_sums() -> None:
    from fractions import Fraction

    rewards = [1e6 / 3, 1e6 / 7]
    model = mdps.TabularMDP(np.array([[[0.0, 1.0]], [[1.0, 0.0]]]), np.array([[rewards[0]], [rewards[1]]]), discount=1.0)
    total = sum((Fraction(rewards[t % 2]) for t in range(9)), Fraction(0))
    solution = optimise(model, target_return(float(total)), horizon=9)
    assert solution.lower <= float(-abs(total - Fraction(float(total)))) <= solution.upper


def test_a_lattice_too_fine_to_tabulate_gives_way_to_rounded_stocks() -> None:
    model = mdps.TabularMDP(np.array([[[0.0, 1.0]], [[1.0, 0.0]]]), np.array([[1e5], [0.001]]), discount=0.5)
    solution = maximise_cvar(model, 0.5)
    assert "rounded" in solution.method
    assert solution.lower <= (1e5 + 0.0005) / 0.75 <= solution.upper


def test_grid_of_stocks_is_within_its_error() -> None:
    exact, rough = optimise(MODEL, SHORTFALL, stock=-3.3), optimise(MODEL, SHORTFALL, stock=-3.3, nodes=301)
    assert rough.lower <= exact.value <= rough.upper
    assert rough.a_priori_error > 0


BAD = [
    pytest.param(lambda: maximise_cvar(MODEL, 0.0), "tau", id="tau 0"),
    pytest.param(lambda: maximise_cvar(MODEL, 1.2), "tau", id="tau above 1"),
    pytest.param(lambda: maximise_cvar(MODEL, float("nan")), "tau", id="tau nan"),
    pytest.param(lambda: maximise_cvar(MODEL, 0.5, tail="both"), "tail", id="tail"),
    pytest.param(lambda: maximise_cvar(MODEL, 0.5, tolerance=0.0), "tolerance", id="tolerance"),
    pytest.param(lambda: maximise_cvar(MODEL.with_discount(1.0), 0.5), "discount", id="discount 1 without horizon"),
    pytest.param(lambda: maximise_cvar(MODEL.with_discount(None), 0.5), "discount", id="no discount"),
    pytest.param(lambda: maximise_cvar(MODEL.with_discount(0.7), 0.5, tail="upper"), "upper", id="upper tail off the lattice"),
    pytest.param(lambda: maximise_cvar(MODEL, 0.5, horizon=2.5), "horizon", id="fractional horizon"),
    pytest.param(lambda: maximise_cvar(MODEL, 0.5, nodes=1), "nodes", id="one node"),
    pytest.param(lambda: optimise(MODEL, np.tanh, horizon=3), "clock=True", id="utility not indifferent to the discount"),
    pytest.param(lambda: optimise(MODEL, np.tanh), "Lipschitz", id="no Lipschitz constant"),
    pytest.param(lambda: optimise(MODEL, expected_utility(np.tanh, lipschitz=1.0)), "clock=True", id="not homogeneous, infinite horizon"),
    pytest.param(lambda: optimise(MODEL, expected_utility(lambda x: 3 * x, lipschitz=1.0)), "steepest", id="Lipschitz constant too small"),
    pytest.param(lambda: optimise(MODEL, log_periodic(0.7)), "clock=True", id="periodic for another discount"),
    pytest.param(lambda: optimise(MODEL, np.log, horizon=2), "finite", id="utility not finite"),
    pytest.param(lambda: optimise(MODEL, 3), "callable", id="not a utility"),
    pytest.param(lambda: optimise(MODEL, SHORTFALL, stock=np.inf), "stock", id="infinite stock"),
    pytest.param(lambda: optimise(MODEL, SHORTFALL, stock=[1.0, 2.0]), "stock", id="vector stock"),
    pytest.param(lambda: optimise(MODEL, SHORTFALL, method="newton"), "method", id="method"),
    pytest.param(lambda: optimise(MODEL, SHORTFALL, horizon=2, method="policy"), "method", id="policy iteration on a finite horizon"),
    pytest.param(lambda: optimise(MODEL, SHORTFALL, horizon=12, limit=50), "limit", id="stocks explode"),
    pytest.param(lambda: optimise(MODEL, homeostasis(np.zeros((3, 2, 2)))), "rewards", id="vector rewards of another model"),
    pytest.param(lambda: homeostasis(np.zeros(3)), "rewards", id="rewards without axes"),
    pytest.param(lambda: homeostasis(np.zeros((2, 2, 2)), norm="l7"), "norm", id="norm"),
    pytest.param(lambda: constrained(np.zeros((2, 2, 2)), [1.0, 2.0], penalty=1.0), "limits", id="limits"),
    pytest.param(lambda: constrained(np.zeros((2, 2, 2)), [1.0], penalty=0.0), "penalty", id="penalty"),
    pytest.param(lambda: piecewise_linear(0.0, 0.0), "both be 0", id="flat utility"),
    pytest.param(lambda: piecewise_linear(np.nan, 1.0), "below", id="nan slope"),
    pytest.param(lambda: log_periodic(1.0), "discount", id="periodic without discount"),
    pytest.param(lambda: log_periodic(0.5, amplitude=2.0), "amplitude", id="amplitude"),
    pytest.param(lambda: target_return(np.inf), "target", id="infinite target"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        call()
