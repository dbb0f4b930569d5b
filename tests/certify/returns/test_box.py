"""Stock grids against loops over rationals: lattices, the closed form beyond the box, fixed points and their bounds."""

from __future__ import annotations

import itertools
from fractions import Fraction as F
from functools import cache
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdps
from certify.returns import _box as boxes
from certify.returns import _kernels as kernels
from certify.returns._model import extremes, read_problem, risk_neutral

SLOPES = [(1.0, 0.0), (0.5, -1.0), (-2.0, 0.5), (0.0, 1.0), (-1.0, -3.0)]


def random_problem(seed, *, gamma=0.5, horizon=None, S=2, A=2, unit=1.0, spread=2):
    rng = np.random.Generator(np.random.Philox(seed))
    weight = np.stack([np.bincount(rng.integers(0, S, 8), minlength=S) for _ in range(S * A)]).reshape(S, A, S) / 8.0
    mask = np.ones((S, A), dtype=bool)
    mask[0, seed % A] = seed % 3 > 0
    reward = rng.integers(-spread, spread + 1, (S, A, S)) * unit
    return read_problem(mdps.TabularMDP(weight, reward, discount=gamma, action_mask=mask), horizon=horizon)


def arms(rewards, gamma=0.5, horizon=None, S=1):
    kernel = np.zeros((S, len(rewards), S))
    kernel[:, :, 0] = 1.0
    return read_problem(mdps.TabularMDP(kernel, np.tile(rewards, (S, 1)), discount=gamma), horizon=horizon)


@pytest.mark.parametrize(("rewards", "unit"), [
    ([0.5, 0.75, -1.25], 0.25), ([2.0, 6.0], 2.0), ([-3.0, 0.0], 3.0), ([0.0], 1.0), ([2 / 3, 0.5], 1 / 6), ([0.001, 5.0], 0.001), ([1.4, 2.1], 0.7),
    ([1 / 1001], None), ([1 / 1009, 1.0], None), ([np.sqrt(2.0)], None), ([0.5 + 0.7e-12], 0.5), ([0.5 + 1.5e-12], None),
    ([1000.5 + 0.7e-9], 1000.5), ([1000.5 - 1.5e-9], None),
])  # fmt: skip
def test_the_unit_of_rewards_is_their_common_divisor(rewards: list[float], unit: float | None) -> None:
    assert boxes.lattice_unit(arms(rewards)) == (None if unit is None else pytest.approx(unit, rel=1e-12))


@pytest.mark.parametrize(("gamma", "found"), [
    (1.0, True), (0.5, True), (1 / 3, True), (0.25, True), (0.7, False), (2 / 3, False), ((1 + 0.7e-12) / 4, True), ((1 + 1.5e-12) / 4, False),
])  # fmt: skip
def test_only_discounts_one_over_an_integer_keep_a_lattice(gamma: float, found: bool) -> None:
    assert (boxes.lattice_unit(arms([1.0], gamma, horizon=3)) == 1.0) is found


@pytest.mark.parametrize("gamma", [0.5, 0.25])
def test_an_endless_lattice_must_not_be_too_fine(gamma: float) -> None:
    entries = 3 * 2 * 1.5 / (1.0 - gamma) / 0.5  # states times the range of stocks in units
    problem = arms([1.5, -0.5], gamma, S=3)
    assert boxes.lattice_unit(problem, limit=entries) == 0.5
    assert boxes.lattice_unit(problem, limit=0.999 * entries) is None
    assert boxes.lattice_unit(arms([1.5, -0.5], gamma, horizon=2, S=3), limit=1.0) == 0.5


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(SLOPES), st.sampled_from([(0.5, None), (0.5, 3), (1.0, 3)]))
def test_beyond_the_box_the_sign_is_constant(seed: int, slopes: tuple[float, float], case: tuple[float, int | None]) -> None:
    gamma, horizon = case
    problem = random_problem(seed, gamma=gamma, horizon=horizon)
    box = boxes.make_box(problem, slopes)
    low, high = extremes(problem)
    assert (box.low, box.high) == (-high.max(), -low.min())
    largest = max(1.0, abs(low).max(), abs(high).max())
    assert box.scale == (largest / gamma if horizon and gamma < 1.0 else largest)  # stocks are those after a step
    for slope, means, actions in ((slopes[0], box.below, box.below_actions), (slopes[1], box.above, box.above_actions)):
        sign = 1.0 if slope >= 0 else -1.0
        assert np.abs(means - risk_neutral(problem, sign)).max() == 0.0
        assert actions.shape == (horizon or 1, 2)
        for t in range(horizon or 1):
            m, after = problem.stage(t), means[min(t + 1, len(means) - 1)]
            for s in range(2):
                gains = [
                    sign * sum(m.prob[s, a, b] * (m.rew[s, a, b] + gamma * after[m.succ[s, a, b]]) for b in range(m.count[s, a])) if m.count[s, a] else -np.inf
                    for a in range(2)
                ]
                assert actions[t, s] == next(a for a in range(2) if gains[a] >= max(gains) - 1e-11)


@pytest.mark.parametrize(("gain", "action"), [(0.75e-12, 0), (1.5e-12, 1)])
@pytest.mark.parametrize("level", [0.0, 0.4, -1000.0])
@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_equal_means_take_the_lowest_action(gain: float, action: int, level: float, slope: float) -> None:
    gain *= max(1.0, abs(level)) * slope
    box = boxes.make_box(arms([level, level + gain], horizon=1), (slope, slope))
    assert box.below_actions.tolist() == box.above_actions.tolist() == [[action]]


@settings(max_examples=60)
@given(st.floats(-20, 20), st.floats(0, 15), st.sampled_from([0.25, 0.3, 1.0, 2.5]), st.floats(0, 1))
def test_nodes_cover_the_box_with_one_to_spare(low: float, width: float, step: float, offset: float) -> None:
    offset *= step
    box = boxes.Box(low, low + width, (1.0, 1.0), *(np.zeros((1, 1)),) * 2, *(np.zeros((1, 1), dtype=np.int64),) * 2, 1.0)
    origin, count = boxes.nodes_over(box, step, offset)
    assert abs((origin - offset) / step - round((origin - offset) / step)) <= 1e-9
    left, right = (low - origin) / step, (origin + step * (count - 1) - low - width) / step
    for spare in (left, right):
        assert 1.0 - 1e-9 <= spare <= 2.0 + 2e-9


@pytest.mark.parametrize(("past", "spare"), [(0.7e-9, 2.0), (1.5e-9, 1.0), (-0.7e-9, 2.0)])
def test_a_box_that_ends_beside_a_node_counts_the_node_as_its_end(past: float, spare: float) -> None:
    box = boxes.Box(3.0 + past, 7.0 - past, (1.0, 1.0), *(np.zeros((1, 1)),) * 2, *(np.zeros((1, 1), dtype=np.int64),) * 2, 1.0)
    origin, count = boxes.nodes_over(box, 1.0)
    assert 3.0 - origin == spare
    assert origin + count - 1 - 7.0 == spare


def test_tables_and_layers() -> None:
    problem = random_problem(4, horizon=3)
    box = boxes.make_box(problem, (0.5, -1.0))
    table = boxes.utility_table(box, -1.5, 0.5, 6, 2)
    assert table.nodes.tolist() == [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0]
    assert table.value.tolist() == [[-0.75, -0.5, -0.25, 0.0, -0.5, -1.0]] * 2
    for t, at in ((0, 0), (1, 1), (2, 2), (9, 2)):
        for flags, kept in (({}, (False, False)), ({"down": True}, (True, True)), ({"rounded": True}, (False, True))):
            layer = boxes.layer_of(box, table, t, **flags)
            assert (layer.down, layer.absorbing, layer.origin, layer.step) == (*kept, -1.5, 0.5)
            assert (layer.below == box.below_actions[at]).all()
            assert (layer.above == box.above_actions[at]).all()


@cache
def rounded_recursion(seed, gamma, horizon, slopes, step, mode, rounds):
    """Values after `rounds` decisions on the nodes that cover the box, where each stock is rounded in rationals: shape (2, N)."""
    problem = random_problem(seed, gamma=float(gamma), horizon=horizon)
    low, high = (-F(x).limit_denominator(10**6) / step for x in (extremes(problem)[1].max(), extremes(problem)[0].min()))
    first, last = ceil(low) - 2, floor(high) + 2  # one to spare beyond the node that the box ends at or before
    N = last - first + 1
    signs = [1.0 if x >= 0 else -1.0 for x in slopes]
    beyond = [risk_neutral(problem, sign) for sign in signs]
    values = [np.array([[float((slopes[1] if i > 0 else slopes[0]) * step * i) for i in range(first, last + 1)] for _ in range(2)])]
    for k in range(rounds):
        t = horizon - 1 - k if horizon else 0
        if horizon or not k:
            m, constant, linear = problem.stage(t), np.full((2, N, 2), -np.inf), np.zeros((2, N, 2, 2, N))
            for s in range(2):
                for i in range(N):
                    for a in np.flatnonzero(m.count[s]):
                        constant[s, i, a] = 0.0
                        for b in range(m.count[s, a]):
                            y, p = int(m.succ[s, a, b]), m.prob[s, a, b]
                            z = (step * (first + i) + F(m.rew[s, a, b])) / gamma / step
                            if first <= z <= last:
                                node = floor(z) if mode == "down" else ceil(z) if mode == "up" else ceil(z - F(1, 2))
                                linear[s, i, a, y, node - first] += p
                            else:
                                side = 0 if z < first else 1
                                constant[s, i, a] += p * slopes[side] * (float(z * step) + beyond[side][min(t + 1, len(beyond[side]) - 1), y])
        values.append(float(gamma) * (constant + np.tensordot(linear, values[-1], 2)).max(axis=2))
    return first * float(step), values


CASES = [
    (seed, SLOPES[seed % len(SLOPES)], grid)
    for seed, grid in enumerate([(F(1), "nearest"), (F(3, 4), "nearest"), (F(3, 4), "down"), (F(3, 4), "up"), (F(2, 5), "nearest")] * 2)
]


@pytest.mark.parametrize(("seed", "slopes", "grid"), CASES)
@pytest.mark.parametrize("gamma", [F(1, 2), F(1)])
def test_tables_of_a_finite_horizon(seed: int, slopes: tuple[float, float], grid: tuple[F, str], gamma: F) -> None:
    step, mode = grid
    tables, box = boxes.finite_tables(random_problem(seed, gamma=float(gamma), horizon=3), slopes, float(step), mode)
    origin, values = rounded_recursion(seed, gamma, 3, slopes, step, mode, 3)
    assert len(tables) == 3
    for table, true in zip(tables, values[:0:-1], strict=True):
        assert (table.origin, table.step) == (pytest.approx(origin), float(step))
        assert table.value == pytest.approx(true, abs=1e-12)
    assert tables[0].nodes[0] <= box.low - float(step) * 0.999
    assert tables[0].nodes[-1] >= box.high + float(step) * 0.999


@pytest.mark.parametrize(("seed", "slopes", "grid"), CASES)
@pytest.mark.parametrize("tolerance", [0.0, 1e-6, 0.03, 0.3])
def test_the_fixed_point_lies_between_its_bounds(seed: int, slopes: tuple[float, float], grid: tuple[F, str], tolerance: float) -> None:
    step, mode = grid
    problem = random_problem(seed)
    origin, values = rounded_recursion(seed, F(1, 2), None, slopes, step, mode, 60)
    true = values[-1]
    box = boxes.make_box(problem, slopes)
    found = boxes.solve_stationary(problem, box, float(step), mode=mode, tolerance=tolerance)
    assert found.table.origin == pytest.approx(origin)
    assert (found.lower <= true).all()
    assert (true <= found.upper).all()
    slack = boxes.rounding(problem, box)
    least = max(tolerance * box.scale, boxes.arithmetic(problem, box) / 8.0)
    assert (found.upper - found.lower).max() <= least + 2.1 * slack
    assert found.table.value == pytest.approx(values[found.sweeps], abs=1e-12)
    assert found.lower == pytest.approx(values[found.sweeps] + min(0.0, (values[found.sweeps] - values[found.sweeps - 1]).min()) - slack, abs=0.1 * slack)
    if tolerance > 0.0:  # no sweep more than needed
        widths = [max(0.0, (y - x).max()) - min(0.0, (y - x).min()) for x, y in itertools.pairwise(values)]
        assert found.sweeps == 1 + next(k for k, width in enumerate(widths) if width <= least)
    if mode == "nearest" and tolerance == 0.0:
        other = boxes.policy_iteration(problem, box, float(step))
        assert other.table.value == pytest.approx(true, abs=1e-10)
        assert (other.lower <= true).all()
        assert (true <= other.upper).all()
        assert (other.upper - other.lower).max() <= 2.1 * slack
        assert problem.stage(0).allowed[np.arange(2)[:, None], other.table.action].all()


def test_policy_iteration_at_an_offset_and_beyond_its_limit() -> None:
    problem = random_problem(2)
    box = boxes.make_box(problem, (1.0, 0.0))
    one, two = (solve(problem, box, 0.5, offset=0.2) for solve in (boxes.policy_iteration, boxes.solve_stationary))
    assert one.table.origin == two.table.origin
    assert np.abs(one.table.value - two.table.value).max() <= 1e-11
    entries = one.table.value.size
    assert boxes.policy_iteration(problem, box, 0.5, offset=0.2, limit=entries).sweeps == one.sweeps
    with pytest.raises(ValueError, match="at most"):
        boxes.policy_iteration(problem, box, 0.5, offset=0.2, limit=entries - 1)


def test_discounts_away_from_one_half() -> None:
    for gamma in (0.25, 1 / 3, 0.8):
        problem = random_problem(7, gamma=gamma)
        box = boxes.make_box(problem, (0.5, -1.0))
        found = boxes.solve_stationary(problem, box, 1.0 if gamma < 0.5 else 0.1, tolerance=0.05)
        best = boxes.policy_iteration(problem, box, 1.0 if gamma < 0.5 else 0.1)
        assert (found.lower <= best.table.value + 1e-10).all()
        assert (best.table.value - 1e-10 <= found.upper).all()
        assert (found.upper - found.lower).max() <= 0.0501 * box.scale


@pytest.mark.parametrize("slopes", [(1.0, -3.0), (2.0, 0.5)])
def test_stated_allowances(slopes: tuple[float, float]) -> None:
    """Each sweep is charged sixteen roundings more than a row has terms, 1e-12 for ties, and twice 1e-9 steps for reading nodes."""
    steepest = F(max(abs(x) for x in slopes))
    for horizon, gamma in ((None, 0.75), (5, 0.75), (5, 1.0)):
        problem = random_problem(1, gamma=gamma, horizon=horizon, S=3)
        terms = max(int(m.count.max()) for m in problem.stages)
        box = boxes.make_box(problem, slopes)
        sweeps = 5 if horizon else 1 / (1 - F(gamma))
        each = F(1, 2**52) * (terms + 16) * steepest * F(box.scale)
        assert boxes.arithmetic(problem, box) == pytest.approx(float(each * sweeps), rel=1e-12)
        assert boxes.rounding(problem, box) == pytest.approx(float((each + F(1, 10**12) * steepest * F(box.scale)) * sweeps), rel=1e-12)
        snapped = F(2, 10**9) * F(1, 8) * steepest * (5 if horizon else F(gamma) / (1 - F(gamma)))
        assert boxes.snapping(problem, box, 0.125) == pytest.approx(float(snapped), rel=1e-12)


def test_modes_and_rounds() -> None:
    assert boxes.MODES == {"nearest": kernels.NEAREST, "down": kernels.DOWN, "up": kernels.UP, "linear": kernels.LINEAR}
    assert len(set(boxes.MODES.values())) == 4
    single = arms([1.0])
    assert boxes.policy_iteration(single, boxes.make_box(single, (1.0, 0.0)), 1.0).sweeps == 1
    choice = arms([0.0, 1.0])  # the first action is tried first
    assert boxes.policy_iteration(choice, boxes.make_box(choice, (1.0, 1.0)), 1.0).sweeps == 2


@pytest.mark.parametrize(("gain", "sweeps"), [(0.7e-12, 1), (1.5e-12, 2)])
@pytest.mark.parametrize("level", [0.0, 0.2, 500.0])
def test_policy_iteration_keeps_an_action_that_ties(gain: float, sweeps: int, level: float) -> None:
    gain *= max(1.0, level)
    problem = arms([level, level + gain])
    # beyond the node 8 the value is that of the reward alone
    box = boxes.Box(-1.0, 1.0, (1.0, 1.0), np.full((1, 1), 16.0), np.full((1, 1), -16.0), *(np.zeros((1, 1), dtype=np.int64),) * 2, 1.0)
    found = boxes.policy_iteration(problem, box, 4.0)
    assert found.table.value[0, -1] == pytest.approx(level, abs=1e-8)
    assert found.sweeps == sweeps


@pytest.mark.parametrize(("past", "beyond"), [(0.7e-9, False), (1.5e-9, True)])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_policy_iteration_leaves_the_nodes_where_the_sweep_does(past: float, beyond: bool, side: float) -> None:
    problem = arms([2.0 * side * past])  # from 4 to 8 and `past` steps of 4 further
    box = boxes.Box(-1.0, 1.0, (1.0, 1.0), np.full((1, 1), 16.0), np.full((1, 1), -16.0), *(np.zeros((1, 1), dtype=np.int64),) * 2, 1.0)
    found = boxes.policy_iteration(problem, box, 4.0)
    assert found.table.nodes.tolist() == [-8.0, -4.0, 0.0, 4.0, 8.0]
    assert found.table.value[0, 3 if side > 0 else 1] == pytest.approx(-4.0 * side if beyond else 0.0, abs=1e-6)
    assert np.abs(found.upper - found.table.value).max() <= 1e-6  # the sweep that bounds it reads the same
