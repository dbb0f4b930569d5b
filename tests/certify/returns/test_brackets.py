"""Brackets of optimal utilities and tail means: closed forms that fix both ends, stated allowances, and enumeration of policies."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest
from scipy.optimize import linprog

import mdps
from certify.returns import _box as boxes
from certify.returns import _upper as uppers
from certify.returns import cvar as tails
from certify.returns import expected_utility, homeostasis, maximise_cvar, optimise, piecewise_linear, target_return
from certify.returns import optimisation as rooms
from certify.returns._layers import build_layers
from certify.returns._model import extremes, read_problem, risk_neutral
from certify.returns.laws import Law
from certify.returns.policies import return_law
from verify.checks.distributional_dp._oracle import achievable, random_lattice


def arms(*rewards, gamma=1.0):
    return mdps.TabularMDP(np.ones((1, len(rewards), 1)), np.array([rewards], dtype=float), discount=gamma)


def two_states(seed, *, gamma=0.5, unit=1.0):
    lattice = random_lattice(seed, q=2)
    return mdps.TabularMDP(lattice.transition, lattice.reward * unit, discount=gamma, initial=[0.25, 0.75])


# tail means


@pytest.mark.parametrize("horizon", [None, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_whole_tail_is_the_mean(seed: int, horizon: int | None) -> None:
    model = two_states(seed)
    problem = read_problem(model, horizon=horizon)
    found = maximise_cvar(model, 1.0, horizon=horizon)
    value = float(problem.initial @ risk_neutral(problem, 1.0)[0])
    slack = boxes.rounding(problem, boxes.make_box(problem, (1.0, 0.0)))
    assert found.value == value
    assert (value - found.lower, found.upper - value) == pytest.approx((slack, slack), rel=1e-3)
    assert found.stock < -extremes(problem)[1].max()  # so low that c + G stays negative
    law, error = found.return_law(limit=30_000, tolerance=1e-3)
    assert float(law.mean()) == pytest.approx(value, abs=error + 1e-9)
    assert (found.tau, found.tail, found.evaluations, found.weights, found.policies) == (1.0, "lower", 1, (1.0,), (found.policy,))
    assert found.error == found.upper - found.lower


def test_the_whole_tail_of_stages() -> None:
    reward = np.array([[[0.0, 1.0]], [[2.0, 1.0]], [[0.0, 3.0]]])
    model = mdps.FiniteHorizonMDP(np.ones((1, 2, 1)), reward, horizon=3)
    found = maximise_cvar(model, 1.0)
    stock = found.stock
    for t, action in enumerate((1, 0, 1)):
        assert found.policy.action(t, 0, stock) == action
        stock = found.policy.update(t, stock, reward[t, 0, action])
    assert found.value == 6.0


@pytest.mark.parametrize("tau", [0.25, 0.5])
def test_allowances_of_reachable_stocks(tau: float) -> None:
    """Sixteen roundings more than steps of 2^-50 of the largest return; 1e-12 and what merging moves in each step; 1e-13 for the search."""
    for horizon in (1, 5):
        found = maximise_cvar(arms(0.0, gamma=0.75), tau, horizon=horizon)
        slack = (F(horizon + 16, 2**50) + F(1, 10**12) * horizon) / F(tau)
        assert found.method.startswith("reachable")
        assert found.value == 0.0
        assert -found.lower == pytest.approx(float(slack), rel=1e-11)
        assert found.upper == pytest.approx(float(slack + F(1, 10**13)), rel=1e-11)
    wide = maximise_cvar(arms(8.0, gamma=0.5), tau, horizon=2)
    slack = (F(2 + 16, 2**50) + F(2, 10**12)) * 12 / F(tau)
    assert (12.0 - wide.lower, wide.upper - 12.0) == pytest.approx((float(slack), float(slack) + 12e-13), rel=1e-3)
    merged = maximise_cvar(arms(0.0, 0.3e-10, gamma=0.75), tau, horizon=3)
    moved = build_layers(read_problem(arms(0.0, 0.3e-10, gamma=0.75), horizon=3), 3).merged
    assert moved > 0.2e-10
    assert merged.value - merged.lower == pytest.approx((3 * moved + 3e-12 + 19 * 2.0**-50) / tau, rel=1e-3)


@pytest.mark.parametrize("tau", [0.25, 0.5])
def test_allowances_of_a_lattice(tau: float) -> None:
    for horizon, gamma in ((3, 1.0), (None, 0.5)):
        model = arms(2.0, 1.0, gamma=gamma)
        problem = read_problem(model, horizon=horizon)
        box = boxes.make_box(problem, (1.0, 0.0))
        found = maximise_cvar(model, tau, horizon=horizon, tolerance=1e-9)
        value = 6.0 if horizon else 4.0
        width = 0.0
        if horizon is None:
            fixed = boxes.solve_stationary(problem, box, 1.0)
            width = float(max((fixed.upper - fixed.table.value).max(), (fixed.table.value - fixed.lower).max()))
        slack = (width + boxes.rounding(problem, box)) / tau
        assert found.method.startswith("lattice")
        assert found.value == pytest.approx(value, abs=slack)
        assert found.value - found.lower == pytest.approx(slack, rel=1e-2)
        assert found.upper - found.value == pytest.approx(slack + (0.0 if horizon else 1e-9 * box.scale), rel=1e-2)
        assert found.stock == -value


def test_the_way_is_chosen_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mdps.TabularMDP(np.full((2, 2, 2), 0.5), np.array([[0.5, -1.0], [0.0, 2.0]]), discount=1.0)
    entries = 2 * 3 * (6.0 + 3.0) / 0.5  # states, steps and the range of returns in units
    for limit, start in ((entries, "lattice"), (0.99 * entries, "reachable")):
        monkeypatch.setattr(tails, "DENSE_LIMIT", limit)
        assert maximise_cvar(model, 0.5, horizon=3).method.startswith(start)
    monkeypatch.setattr(tails, "DENSE_LIMIT", 2 * 3 * 9.0)
    rounded = maximise_cvar(model, 0.5, horizon=3, limit=4)
    cells = int(rounded.method.split()[2])
    assert 9 + 2 <= cells <= 9 + 4  # nine over the box and one or two to spare on either side
    monkeypatch.undo()
    assert maximise_cvar(model.with_discount(0.5), 0.5, horizon=3).method.startswith("reachable")
    assert maximise_cvar(model.with_discount(0.5), 0.5).method.startswith("lattice")
    assert maximise_cvar(model.with_discount(0.5), 0.5, nodes=11).method.startswith("grid of")


def rounded_bracket(problem, tau, nodes):
    """The bracket from its definition: values rounded down on nodes below, and between two nodes the least that monotony and slope 1 allow."""
    box = boxes.make_box(problem, (1.0, 0.0))
    step = (box.high - box.low) / (nodes - 1)
    if problem.horizon is None:
        down, up = (boxes.solve_stationary(problem, box, step, mode=mode, tolerance=1e-6) for mode in ("down", "up"))
        stocks, low, high = down.table.nodes, problem.initial @ down.lower, problem.initial @ np.minimum(up.upper, 0.0)
    else:
        (down, _), (up, _) = (boxes.finite_tables(problem, (1.0, 0.0), step, mode) for mode in ("down", "up"))
        slack = boxes.rounding(problem, box)
        stocks, low, high = down[0].nodes, problem.initial @ (down[0].value - slack), problem.initial @ (up[0].value + slack)
    low, high = low - boxes.snapping(problem, box, step), high + boxes.snapping(problem, box, step)
    best = -np.inf
    for i in range(stocks.size - 1):
        shift = np.linspace(0.0, step, 2001)
        shift = np.append(shift, np.clip(high[i + 1] - high[i], 0.0, step))
        best = max(best, (-(stocks[i] + shift) + np.minimum(high[i + 1], high[i] + shift) / tau).max())
    return (-stocks + low / tau).max(), max(best, float(-stocks[-1] + high[-1] / tau)), step


@pytest.mark.parametrize("horizon", [None, 3])
@pytest.mark.parametrize("nodes", [5, 12, 60])
@pytest.mark.parametrize(("seed", "tau"), [(0, 0.2), (1, 0.5), (3, 0.8), (4, 0.6)])
def test_rounded_stocks_bracket_the_optimum(seed: int, tau: float, nodes: int, horizon: int | None) -> None:
    model = two_states(seed)
    problem = read_problem(model, horizon=horizon)
    exact, found = maximise_cvar(model, tau, horizon=horizon, tolerance=1e-3), maximise_cvar(model, tau, horizon=horizon, nodes=nodes)
    assert found.lower <= exact.upper
    assert exact.lower <= found.upper
    low, high, step = rounded_bracket(problem, tau, nodes)
    assert (found.value, found.lower) == (pytest.approx(low, abs=1e-12),) * 2
    assert found.upper == pytest.approx(high, abs=1e-12)
    steps = 1.0 if horizon is None else float(horizon)  # sum of gamma^t from 1 for an endless run
    assert found.error <= 2.0 * step * steps / tau + step * max(1.0, 1.0 / tau - 1.0) + 1e-4
    law, error = found.return_law(tolerance=1e-2, limit=5000)
    assert float(law.cvar(tau)) + error / tau >= found.lower
    box = boxes.make_box(problem, (1.0, 0.0))
    sweeps = 6 if horizon else sum(boxes.solve_stationary(problem, box, step, mode=mode, tolerance=1e-6).sweeps for mode in ("down", "up"))
    assert found.evaluations == sweeps


def test_a_single_return_has_a_grid_too() -> None:
    for reward, horizon, true in ((3.0, None, 12.0), (0.0, 2, 0.0)):
        found = maximise_cvar(arms(reward, gamma=0.75), 0.5, horizon=horizon, nodes=5)
        assert found.lower <= true <= found.upper
        assert 0.4e-9 * max(1.0, true) <= found.error <= 1.5e-9 * max(1.0, true)  # nodes are 1e-9 of the largest return apart
    solved = optimise(arms(0.0, gamma=0.75), piecewise_linear(1.0, -1.0), stock=1.0, nodes=5)
    assert solved.lower <= -1.0 <= solved.upper
    assert solved.stocks[1] - solved.stocks[0] == pytest.approx(1e-9)
    assert solved.a_posteriori_error <= 1e-7


def best_mixture(masses, atoms, tau):
    """The largest upper tail mean of mixtures of laws, by its dual: the least q + z/tau with z >= E max(G - q, 0) for every law."""
    K, N = masses.shape
    rows = np.hstack([np.zeros((K, 1)), -np.ones((K, 1)), masses])  # variables q, z, u(x) >= max(x - q, 0)
    above = np.hstack([-np.ones((N, 1)), np.zeros((N, 1)), -np.eye(N)])
    found = linprog(
        np.concatenate([[1.0, 1.0 / tau], np.zeros(N)]), A_ub=np.vstack([rows, above]), b_ub=np.concatenate([np.zeros(K), -atoms]),
        bounds=[(None, None), (None, None), *[(0.0, None)] * N],
    )  # fmt: skip
    return found.fun


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tau", [0.2, 0.6])
def test_the_best_outcomes_against_all_mixtures_of_policies(seed: int, tau: float) -> None:
    q = 1 + seed % 2
    lattice = random_lattice(seed, q=q)
    every = achievable(lattice, 0, 2)
    found = maximise_cvar(lattice.mdp(), tau, horizon=2, tail="upper", initial=0)
    best = best_mixture(every.masses, every.atoms, tau)
    assert found.value == pytest.approx(best, abs=1e-8)
    assert found.lower <= best + 1e-9
    assert best <= found.upper + 1e-9
    assert float(found.return_law()[0].cvar(tau, tail="upper")) == pytest.approx(found.value, abs=1e-9)
    assert sum(found.weights) == pytest.approx(1.0)
    assert found.weights[found.policies.index(found.policy)] == max(found.weights)
    assert found.policy.initial_stock in {p.initial_stock for p in found.policies}
    problem = read_problem(lattice.mdp(), horizon=2, initial=0)
    assert found.return_law()[1] == max(return_law(problem, policy)[1] for policy in found.policies)
    scale = max(1.0, float(np.abs(build_layers(problem, 2).sums[-1]).max()))
    for tolerance in (0.05, 0.3):
        rough = maximise_cvar(lattice.mdp(), tau, horizon=2, tail="upper", initial=0, tolerance=tolerance)
        assert rough.lower - 1e-9 <= best <= rough.upper + 1e-9
        assert rough.error <= tolerance * scale + 1e-9
        assert rough.evaluations <= found.evaluations


def test_ends_of_the_upper_bracket() -> None:
    """One policy, whose upper tail mean both sides meet: what is left is what was charged."""
    for tau in (0.25, 0.5):
        found = maximise_cvar(arms(0.0), tau, horizon=3, tail="upper")
        _, error = return_law(read_problem(arms(0.0), horizon=3), found.policy)
        slack = (error + 19 * 2.0**-50 + 3e-12) / tau
        assert (found.value, found.stock) == (0.0, 0.0)
        assert (-found.lower, found.upper) == pytest.approx((slack, slack), rel=1e-10)
        wide = maximise_cvar(arms(4.0), tau, horizon=2, tail="upper")
        _, error = return_law(read_problem(arms(4.0), horizon=2), wide.policy)
        slack = (error + 8.0 * (18 * 2.0**-50 + 2e-12)) / tau
        assert (8.0 - wide.lower, wide.upper - 8.0) == pytest.approx((slack, slack), rel=1e-2)
        assert wide.stock == -8.0
        merging = arms(0.0, 0.3e-10)
        moved = build_layers(read_problem(merging, horizon=2), 2).merged
        near = maximise_cvar(merging, tau, horizon=2, tail="upper")
        assert near.value - near.lower >= moved / tau
    endless = maximise_cvar(arms(2.0, gamma=0.5), 0.5, tail="upper")
    problem = read_problem(arms(2.0, gamma=0.5))
    box = boxes.make_box(problem, (0.0, 1.0))
    fixed = boxes.solve_stationary(problem, box, 2.0)
    _, error = return_law(problem, endless.policy, tolerance=1e-6, limit=20_000)
    slack = (error + boxes.rounding(problem, box) + float((fixed.upper - fixed.lower).max())) / 0.5
    assert endless.lower <= 4.0 <= endless.upper
    assert (endless.value - endless.lower, endless.upper - endless.value) == pytest.approx((slack, slack), rel=1e-2, abs=1e-11)


def test_mixtures_of_two_laws() -> None:
    laws = [Law.point(1.0), Law([0.0, 3.0], [0.75, 0.25])]
    value, weights, q = uppers.mix(laws, 0.5)
    assert (value, q) == (pytest.approx(5 / 3), pytest.approx(1 / 3))  # where q + 2 E max(X - q, 0) is equal for both
    assert weights == pytest.approx([1 / 3, 2 / 3])
    value, weights, _ = uppers.mix(laws, 0.25)
    assert (value, weights) == (pytest.approx(3.0), pytest.approx([0.0, 1.0]))
    value, weights, _ = uppers.mix(laws, 1.0)
    assert (value, weights) == (pytest.approx(1.0), pytest.approx([1.0, 0.0]))


# utilities


@pytest.mark.parametrize(("slope", "tolerance"), [(3.0, 0.1), (1.0, 0.3), (2.0, 0.5), (1.0, 5.0)])
def test_both_ends_of_a_truncated_run(slope: float, tolerance: float) -> None:
    gamma, c = 0.75, 0.5
    line = expected_utility(lambda x: slope * x, lipschitz=slope)
    found = optimise(arms(0.0, 1.0, gamma=gamma), line, stock=c, tolerance=tolerance)
    n = found.iterations
    assert found.method == f"reachable stocks, first {n} steps"
    # returns of the rest lie in [0, 4]: they count as 2, give or take 2
    assert n == next(k for k in range(1, 30) if slope * gamma**k * 2.0 <= tolerance)
    assert found.a_priori_error == pytest.approx(slope * gamma**n * 2.0, rel=1e-12)
    assert found.value == pytest.approx(slope * (c + 4.0 - 2.0 * gamma**n), abs=1e-12)
    assert found.upper == pytest.approx(slope * (c + 4.0), abs=1e-11)
    assert found.lower == pytest.approx(slope * (c + 4.0 - 4.0 * gamma**n), abs=1e-9)
    vector = optimise(arms(0.0, 1.0, gamma=gamma), homeostasis(np.array([[[1.0, -2.0], [0.5, 0.5]]])), stock=[1.0, 1.0], tolerance=0.5)
    n = vector.iterations
    assert gamma**n * 12.0 <= 0.5 < gamma ** (n - 1) * 12.0
    assert vector.a_priori_error == pytest.approx(gamma**n * 12.0, rel=1e-12)


def test_the_rest_counts_from_the_states_that_are_left() -> None:
    kernel = np.zeros((2, 1, 2))
    kernel[:, 0, 1] = 1.0
    model = mdps.TabularMDP(kernel, np.array([[8.0], [0.0]]), discount=0.5)
    found = optimise(model, expected_utility(lambda x: x, lipschitz=1.0))
    assert (found.value, found.a_priori_error) == (8.0, 0.0)
    assert found.a_posteriori_error <= 1e-9
    cut = optimise(two_states(3, gamma=0.7), expected_utility(lambda x: x, lipschitz=1.0), limit=60)
    assert cut.iterations >= 1
    assert cut.lower <= float(np.array([0.25, 0.75]) @ risk_neutral(read_problem(two_states(3, gamma=0.7)), 1.0)[0]) <= cut.upper


@pytest.mark.parametrize("horizon", [1, 5])
def test_allowances_of_reachable_utilities(horizon: int) -> None:
    """Sixteen roundings more than steps of 2^-50 of the largest utility, what sums are off times the slope, and ties below."""
    found = optimise(arms(0.0), expected_utility(lambda x: x, lipschitz=1.0), horizon=horizon)
    assert found.upper == pytest.approx((horizon + 16) * 2.0**-50, rel=1e-12)
    assert -found.lower == pytest.approx((horizon + 16) * 2.0**-50 + 1e-12 * horizon, rel=1e-12)
    assert found.a_posteriori_error == found.upper - found.lower
    large = optimise(arms(0.0, -2.0), expected_utility(lambda x: 4.0 * x, lipschitz=4.0), horizon=horizon)
    size = 8.0 * horizon
    assert large.value == 0.0
    assert large.upper == pytest.approx(size * (horizon + 16) * 2.0**-50, rel=1e-12)
    assert -large.lower == pytest.approx(size * ((horizon + 16) * 2.0**-50 + 1e-12 * horizon), rel=1e-12)
    merging = arms(0.0, 0.3e-10)
    moved = build_layers(read_problem(merging, horizon=horizon), horizon).merged
    for slope in (1.0, 3.0):
        near = optimise(merging, expected_utility(lambda x, slope=slope: slope * x, lipschitz=slope), horizon=horizon)
        assert near.upper - near.value == pytest.approx(moved * slope, rel=1e-2)
        assert near.value - near.lower == pytest.approx(moved * slope + 1e-12 * horizon, rel=1e-2)
    pair = np.zeros((1, 2, 2))
    pair[0, 1, 0] = 0.3e-10
    both = optimise(merging, homeostasis(pair), horizon=horizon)
    assert both.upper - both.value == pytest.approx(2.0 * moved, rel=1e-2)


@pytest.mark.parametrize(("rewards", "stock", "gamma", "horizon", "reach"), [
    ((0.0,), 0.0, 1.0, 2, 1e-9), ((1.0, -3.0), 0.5, 1.0, 2, 6.5), ((4.0, -1.0), -0.5, 0.5, 2, 6.5), ((4.0, 1.0), 2.0, 0.5, None, 10.0),
])  # fmt: skip
def test_utilities_are_probed_as_far_as_returns_reach(rewards: tuple[float, ...], stock: float, gamma: float, horizon: int | None, reach: float) -> None:
    asked = []

    def line(x):
        asked.append(float(np.abs(x).max()))
        return 1.0 * x

    optimise(arms(*rewards, gamma=gamma), expected_utility(line, lipschitz=1.0), stock=stock, horizon=horizon, tolerance=0.1)
    assert asked[0] == pytest.approx(reach)
    assert max(asked) == pytest.approx(reach)


@pytest.mark.parametrize(("defect", "refused"), [(0.7e-7, False), (1.5e-7, True)])
def test_a_utility_may_miss_the_condition_by_this_much(defect: float, refused: bool) -> None:
    gamma, reach = 0.5, 2.0
    bend = 2.0 * defect / ((1.0 - gamma) * reach)  # of x + bend x^2: the largest miss over the range of f(gamma x)
    curved = expected_utility(lambda x: x + bend * x * x, lipschitz=1.1)
    if refused:
        with pytest.raises(ValueError, match="clock=True"):
            optimise(arms(1.0, gamma=gamma), curved)
    else:
        assert optimise(arms(1.0, gamma=gamma), curved).value == pytest.approx(2.0, abs=1e-5)


def test_nodes_keep_the_work_of_all_sweeps_bounded() -> None:
    kernel, reward = np.full((10, 2, 10), 0.1), np.zeros((10, 2))
    for gamma, horizon, sweeps in ((0.9, None, 30.0 / -np.log(0.9)), (0.999, None, 2000.0), (1.0, 1000, 1000.0), (0.999, 5, 2000.0)):
        nodes = rooms.default_nodes(read_problem(mdps.TabularMDP(kernel, reward, discount=gamma), horizon=horizon))
        assert 1e9 - 200.0 * sweeps <= nodes * 200.0 * sweeps <= 1e9
    staged = mdps.FiniteHorizonMDP(np.stack([kernel, np.tile(np.eye(10)[:, None], (1, 2, 1))]), reward, horizon=2)
    assert rooms.default_nodes(read_problem(staged)) == 20_001
    long = [kernel if t % 2 else np.tile(np.eye(10)[:, None], (1, 2, 1)) for t in range(1000)]
    assert rooms.default_nodes(read_problem(mdps.FiniteHorizonMDP(np.stack(long), reward, horizon=1000))) == 5000  # by the longest step
    assert rooms.default_nodes(read_problem(arms(1.0, gamma=0.5))) == 20_001
    assert rooms.default_nodes(read_problem(mdps.TabularMDP(np.full((60, 2, 60), 1 / 60), np.zeros((60, 2)), discount=0.999))) == 201


@pytest.mark.parametrize(("start", "unit", "q"), [(-3.25, 1.0, 2), (0.0, 1.0, 2), (2.0, 0.5, 2), (0.3125, 0.25, 2), (1 / 9, 1.0, 3), (-1.75, 2.0, 4)])
def test_lattices_that_a_stock_visits(start: float, unit: float, q: int) -> None:
    chain = rooms.fraction_chain(start, unit, 1.0 / q)
    exact, found = F(start).limit_denominator(1000), []
    while True:
        found.append(float(exact % F(unit)))
        if exact % F(unit) == 0:
            break
        exact = exact * q
    assert [min(x, unit - x) for x in chain] == pytest.approx([min(x, unit - x) for x in found], abs=1e-12)


def test_lattices_of_a_stock_that_never_comes_home() -> None:
    assert len(rooms.fraction_chain(0.5, 1.0, 1.0 / 3.0)) == 60
    assert len(rooms.fraction_chain(0.7e-9, 1.0, 0.5)) == 1
    assert len(rooms.fraction_chain(1.0 - 0.7e-9, 1.0, 0.5)) == 1
    assert len(rooms.fraction_chain(3.0 + 1.5e-9, 1.0, 0.5)) > 1
    assert len(rooms.fraction_chain(0.7e-6, 1000.0, 0.5)) == 1
    assert len(rooms.fraction_chain(1.5e-6, 1000.0, 0.5)) > 1


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, -1.0), (0.5, 2.0)])
@pytest.mark.parametrize("stock", [-3.3125, -0.75, 0.0, 0.5, 40.0, -40.0, 2.28125])
def test_a_stock_between_lattice_points(slopes: tuple[float, float], stock: float) -> None:
    model = two_states(3)
    problem = read_problem(model)
    f = piecewise_linear(*slopes)
    box = boxes.make_box(problem, slopes)
    fixed = boxes.solve_stationary(problem, box, 1.0).table
    m = problem.stage(0)

    def value(s, c):
        i = round(c - fixed.origin)
        if c < box.low - 1.0 or c > box.high + 1.0:
            side = 0 if c < 0 else 1
            return slopes[side] * (c + risk_neutral(problem, 1.0 if slopes[side] >= 0 else -1.0)[0, s])
        if c == round(c):
            return fixed.value[s, i]
        return max(sum(m.prob[s, a, b] * value(int(m.succ[s, a, b]), (c + m.rew[s, a, b]) * 2.0) for b in range(m.count[s, a])) / 2.0 for a in range(2))

    true = 0.25 * value(0, stock) + 0.75 * value(1, stock)
    found = optimise(model, f, stock=stock)
    assert found.value == pytest.approx(true, abs=1e-11)
    assert found.lower <= true <= found.upper
    fixed = boxes.solve_stationary(problem, box, 1.0)
    width = float(max((fixed.upper - fixed.table.value).max(), (fixed.table.value - fixed.lower).max())) + boxes.rounding(problem, box)
    assert (found.upper - found.value, found.value - found.lower) == pytest.approx((width, width), rel=1e-2)
    assert found.a_priori_error == pytest.approx(f.lipschitz * 0.5**found.iterations * box.scale, rel=1e-9)
    for nodes in (41, 160):
        rough = optimise(model, f, stock=stock, nodes=nodes)
        step = (box.high - box.low) / (nodes - 1)
        assert rough.lower <= true <= rough.upper
        assert rough.stocks[1] - rough.stocks[0] == pytest.approx(step)
        at = np.abs(rough.stocks - stock)
        if at.min() < 0.49 * step:
            assert rough.value == pytest.approx(float(np.array([0.25, 0.75]) @ rough.values[:, at.argmin()]), abs=1e-12)
        grid_error = f.lipschitz * step * 0.5  # gamma/(2(1 - gamma)) for the stocks to come, one half for the first
        assert 0.5 * rough.a_posteriori_error == pytest.approx(2.0 * grid_error, rel=1e-6)
        assert rough.a_priori_error == pytest.approx(grid_error + f.lipschitz * 0.5**rough.iterations * box.scale, rel=1e-9)
        assert str(rough.values.shape[1]) in rough.method


def test_a_target_moves_the_stock() -> None:
    model = arms(1.0, -1.0, gamma=1.0)
    found = optimise(model, target_return(2.0), stock=1.0, horizon=3)
    assert found.policy.initial_stock == -1.0
    assert found.value == 0.0
    vector = optimise(model, homeostasis(np.array([[[1.0, 0.0], [-1.0, 0.0]]]), target=[2.0, 5.0]), stock=1.0, horizon=3)
    assert vector.policy.initial_stock.tolist() == [-1.0, -4.0]
    assert vector.value == -4.0


def test_what_was_done_is_said() -> None:
    clocked = optimise(arms(1.0, gamma=0.5), np.tanh, horizon=2, clock=True)
    assert (clocked.method, clocked.clock, clocked.value) == ("reachable stocks with clock", True, pytest.approx(np.tanh(1.5)))
    free = optimise(arms(1.0), np.tanh, horizon=2)  # undiscounted, every utility is admissible
    assert (free.method, free.clock, free.value, free.a_priori_error) == ("reachable stocks", False, pytest.approx(np.tanh(2.0)), 0.0)
    line = piecewise_linear(1.0, 0.0)
    assert optimise(arms(1.0, gamma=0.5), line).method == "lattice, value iteration"
    assert optimise(arms(1.0, gamma=0.5), line, method="policy").method == "lattice, policy iteration"
    assert optimise(arms(1.0, 0.0, gamma=0.7), line, nodes=9).method.endswith("stocks, value iteration")


@pytest.mark.parametrize(
    ("stock", "value"), [(-0.7e-9, 10.0), (-1.5e-9, -5.0), (2.0 + 0.7e-9, 30.0), (2.0 + 1.5e-9, 14.0), (0.5, 10.0), (0.5 + 1e-6, 20.0), (1.6, 30.0)]
)
def test_values_are_read_at_the_nearest_node(stock: float, value: float) -> None:
    means = np.array([[-5.0]]), np.array([[5.0]])
    box = boxes.Box(0.0, 2.0, (1.0, 2.0), *means, *(np.zeros((1, 1), dtype=np.int64),) * 2, 1.0)
    for scale in (1.0, 4.0):
        table = boxes.Table(0.0, scale, np.array([[10.0, 20.0, 30.0]]), np.zeros((1, 3), dtype=np.int16))
        read = float(rooms._read(table, stock * scale, box)[0])
        beyond = {-5.0: stock * scale - 5.0, 14.0: 2.0 * (stock * scale + 5.0)}
        assert read == pytest.approx(beyond.get(value, value), abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_utility_that_fails_at_one_return_is_refused(bad: float) -> None:
    holed = expected_utility(lambda x: np.where(np.abs(x - 1.3) < 1e-9, bad, x))
    with pytest.raises(ValueError, match="finite on the returns"):
        optimise(arms(1.0, 2.0), holed, stock=0.3, horizon=1)
    assert optimise(arms(1.0, 2.0), holed, stock=0.4, horizon=1).value == pytest.approx(2.4)


def test_best_outcomes_on_a_lattice() -> None:
    problem = read_problem(arms(0.0, 1.0, gamma=0.5))
    oracle = uppers._Lattice(problem)
    box = boxes.make_box(problem, (0.0, 1.0))
    fixed = boxes.solve_stationary(problem, box, 1.0)
    assert oracle.slack == pytest.approx(boxes.rounding(problem, box) + float((fixed.upper - fixed.lower).max()), rel=1e-12)
    assert (oracle.middle, oracle.scale) == (1.0, 2.0)
    for q in (-1.0, 0.75, 1.5, 3.0):
        value, policy, law, error = oracle.best(q)
        assert value == pytest.approx(max(2.0 - q, 0.0), abs=1e-11)
        assert 0.5e-6 < error <= 1.1e-6
        if q < 2.0:
            assert float(law.mean()) == pytest.approx(2.0, abs=error)
            assert policy.initial_stock == -q
    with pytest.raises(ValueError, match="needs a lattice"):
        uppers.maximise_upper(read_problem(arms(1.0, gamma=0.7)), 0.5, 1e-9, 100)


def test_best_outcomes_of_a_horizon() -> None:
    problem = read_problem(arms(0.0, 1.0), horizon=2)
    oracle = uppers._Finite(problem, build_layers(problem, 2))
    assert (oracle.middle, oracle.scale) == (1.0, 2.0)
    value, policy, law, _ = oracle.best(0.5)
    assert (value, policy.initial_stock, law.atoms.tolist()) == (1.5, -0.5, [2.0])
    assert oracle.best(3.0)[0] == 0.0
