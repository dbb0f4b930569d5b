"""Reachable pairs against enumeration in rationals, and the search over initial stocks against every stock."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdps
from certify.returns import _layers as layering
from certify.returns import _search as searching
from certify.returns._box import make_box, solve_stationary
from certify.returns._model import read_problem


def random_problem(seed, *, gamma=0.75, H=None, horizon=3, scale=0.25, S=3, A=2):
    rng = np.random.Generator(np.random.Philox(seed))
    lead = () if H is None else (H,)
    cuts = np.sort(rng.integers(0, 9, (*lead, S, A, S - 1)), axis=-1)
    kernel = np.diff(np.concatenate([np.zeros((*lead, S, A, 1)), cuts, np.full((*lead, S, A, 1), 8)], axis=-1), axis=-1) / 8.0
    reward = rng.integers(-8, 9, (*lead, S, A, S)) * scale
    mask = np.ones((S, A), dtype=bool)
    mask[1, seed % A] = False
    initial = [0.0, 0.25, 0.75]
    if H is None:
        return read_problem(mdps.TabularMDP(kernel, reward, discount=gamma, initial=initial, action_mask=mask), horizon=horizon)
    return read_problem(mdps.FiniteHorizonMDP(kernel, reward, horizon=H, initial=initial, action_mask=mask))


def moves(problem, t, s, vectors=None):
    m = problem.stage(t)
    for a in range(m.n_actions):
        for b in range(m.count[s, a]):
            y = int(m.succ[s, a, b])
            yield a, b, y, (F(m.rew[s, a, b]),) if vectors is None else tuple(F(x) for x in vectors[s, a, y])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("gamma", "staged", "vector"), [(0.5, False, False), (0.75, False, False), (1.0, True, False), (0.5, False, True)])
def test_every_reachable_pair_and_where_it_leads(seed: int, gamma: float, staged: bool, vector: bool) -> None:
    problem = random_problem(seed, gamma=gamma, H=3 if staged else None)
    vectors = np.random.Generator(np.random.Philox(seed)).integers(-3, 4, (3, 2, 3, 2)) / 2.0 if vector else None
    layers = layering.build_layers(problem, 3, rewards=vectors)
    width = 2 if vector else 1
    pairs = {(s, (F(0),) * width) for s in (1, 2)}
    assert layers.steps == 3
    for t in range(3):
        listed = [(int(s), tuple(F(x) for x in np.atleast_1d(g))) for s, g in zip(layers.states[t], layers.sums[t], strict=True)]
        assert listed == sorted(pairs)
        after = [(int(s), tuple(F(x) for x in np.atleast_1d(g))) for s, g in zip(layers.states[t + 1], layers.sums[t + 1], strict=True)]
        pairs = set()
        for i, (s, g) in enumerate(listed):
            for a, b, y, r in moves(problem, t, s, vectors):
                to = (y, tuple(x + F(gamma) ** t * z for x, z in zip(g, r, strict=True)))
                pairs.add(to)
                assert after[layers.following[t][i, a, b]] == to
    assert layers.sums[1].ndim == (2 if vector else 1)
    if gamma != 0.75:
        assert layers.merged == 0.0
    total = sum(len(x) for x in layers.states)
    assert layering.build_layers(problem, 3, rewards=vectors, limit=total).steps == 3
    with pytest.raises(layering.TooMany, match=f"passes {total} at step 3 of 3"):
        layering.build_layers(problem, 3, rewards=vectors, limit=total - 1)
    assert layering.build_layers(problem, 3, rewards=vectors, limit=total - 1, stop_at_limit=True).steps == 2
    with pytest.raises(layering.TooMany):
        layering.build_layers(problem, 3, rewards=vectors, limit=2, stop_at_limit=True)


@pytest.mark.parametrize(("gamma", "reward", "steps"), [(0.9, 1 / 3, 9), (0.7, 1e6 / 7, 6), (1.0, 0.1, 12), (1 / 3, 0.3, 5)])
def test_rounding_of_sums_is_covered_and_not_much_more(gamma: float, reward: float, steps: int) -> None:
    problem = read_problem(mdps.TabularMDP(np.ones((1, 2, 1)), np.array([[reward, -0.4 * reward]]), discount=gamma), horizon=steps)
    layers = layering.build_layers(problem, steps)
    arms = [F(reward), F(-0.4 * reward)]
    places = {(): 0}
    for t in range(steps):
        new = {}
        for path, i in places.items():
            for a in range(2):
                new[(*path, a)] = int(layers.following[t][i, a, 0])
        places = new if t < 6 else {p: i for p, i in new.items() if sum(p[6:]) in (0, len(p) - 6)}
    worst = max(abs(F(layers.sums[-1][i]) - sum(F(gamma) ** t * arms[a] for t, a in enumerate(path))) for path, i in places.items())
    assert worst <= layers.merged
    charged = sum(((t + 1) * 2.0**-52 if np.frexp(gamma**t)[0] != 0.5 else 0.0) * gamma**t * reward for t in range(steps))
    largest = sum(2.0**-53 * 2.0 ** np.ceil(np.log2(reward * sum(gamma**i for i in range(t + 1)))) for t in range(steps))
    assert charged <= layers.merged * (1.0 + 1e-12)
    assert layers.merged <= charged + largest + 1e-10 * max(1.0, reward) * (gamma == 1.0)


def test_factors_are_charged_by_the_step() -> None:
    problem = read_problem(mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.75), horizon=4)
    assert layering.build_layers(problem, 4).merged == pytest.approx(2.0**-52 * sum((t + 1) * 0.75**t for t in range(1, 4)), rel=1e-12)


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_sums_this_near_are_one(level: float) -> None:
    width = 1e-10 * max(1.0, level)
    for gap, count in ((0.4 * width, 1), (0.7 * width, 2)):
        rewards = [level, level + gap]
        problem = read_problem(mdps.TabularMDP(np.ones((1, 2, 1)), np.array([rewards]), discount=1.0), horizon=1)
        layers = layering.build_layers(problem, 1)
        assert layers.sums[1].size == count
        assert layers.merged == (pytest.approx(rewards[1] - rewards[0]) if count == 1 else 0.0)
    vectors = np.zeros((1, 2, 1, 2))
    vectors[0, 1, 0, 1], vectors[0, :, 0, 0] = 0.4 * width, level
    assert layering.build_layers(problem, 1, rewards=vectors).merged == pytest.approx(0.4 * width)
    vectors[0, 1, 0, 1] = 0.7 * width
    assert layering.build_layers(problem, 1, rewards=vectors).sums[1].shape == (2, 2)


@pytest.mark.parametrize("seed", range(4))
def test_values_go_back_over_the_pairs(seed: int) -> None:
    problem = random_problem(seed, H=3)
    layers = layering.build_layers(problem, 3)
    last = np.random.Generator(np.random.Philox(seed)).integers(-9, 10, (layers.states[-1].size, 2)) / 4.0
    values, tables = layering.backward(problem, layers, last)
    following = last
    for t in (2, 1, 0):
        m = problem.stage(t)
        now = np.full((layers.states[t].size, 2, 2), -np.inf)
        for i, s in enumerate(layers.states[t]):
            for a in np.flatnonzero(m.count[s]):
                now[i, a] = sum(m.prob[s, a, b] * following[layers.following[t][i, a, b]] for b in range(m.count[s, a]))
        assert tables[t] == pytest.approx(now, abs=1e-14)
        following = now.max(axis=1)
    assert values == pytest.approx(following, abs=1e-14)
    single, _ = layering.backward(problem, layers, last[:, 0])
    assert single == pytest.approx(values[:, 0], abs=1e-15)
    policy = layering.policy_of(problem, layers, [q[..., 0] for q in tables], -1.5)
    for t in range(3):
        q = tables[t][..., 0]
        for i, (s, g) in enumerate(zip(layers.states[t], layers.sums[t], strict=True)):
            best = next(a for a in range(2) if q[i, a] >= q[i].max() - 1e-11)
            assert policy.action(t, int(s), -1.5 + g) == best
    assert len(policy.layers) == 4
    for s in range(3):  # after the last decision, and where nothing is reachable: the first action that exists
        assert policy.action(9, s, 0.0) == int(np.flatnonzero(problem.stage(0).count[s])[0])


def test_stocks_of_a_policy_grow_with_the_discount() -> None:
    problem = random_problem(1, gamma=0.5)
    layers = layering.build_layers(problem, 3)
    _, tables = layering.backward(problem, layers, np.minimum(layers.sums[-1] - 1.0, 0.0))
    policy = layering.policy_of(problem, layers, tables, -1.0)
    for t in range(3):
        assert policy.layers[t].stocks == pytest.approx((-1.0 + layers.sums[t]) * 2.0**t)
        assert policy.layers[t].start.tolist() == [int((layers.states[t] < s).sum()) for s in range(4)]


@pytest.mark.parametrize(("gain", "level", "action"), [
    (0.75e-12, 0.0, 0), (1.5e-12, 0.0, 1), (0.75e-9, 1000.0, 0), (1.5e-9, 1000.0, 1), (1.5e-9, -1000.0, 1), (0.75e-9, -1000.0, 0), (1.5e-12, 0.3, 1),
])  # fmt: skip
def test_actions_this_near_tie(gain: float, level: float, action: int) -> None:
    assert layering.lowest_best(np.array([[level, level + gain], [1.0, 0.0]])).tolist() == [action, 0]


def test_last_values_and_how_far_their_arguments_are_off() -> None:
    problem = read_problem(mdps.TabularMDP(np.ones((1, 2, 1)), np.array([[0.1, 0.75]]), discount=1.0), horizon=2)
    layers = layering.build_layers(problem, 2)
    stocks, rest = np.array([0.3, 1e6 / 3]), np.full(layers.sums[-1].size, 1e3 / 7)
    for more in (None, rest):
        values, off = layering.last_values(lambda x: 2.0 * x, layers, stocks, more)
        total = layers.sums[-1] if more is None else layers.sums[-1] + more
        assert values == pytest.approx(2.0 * (stocks[None, :] + total[:, None]), rel=1e-15)
        true = [[F(c) + F(g) + (0 if more is None else F(more[0])) for c in stocks] for g in layers.sums[-1]]
        errors = [abs(F(c + g) - (F(c) + F(g))) for c, g in product(stocks, total)]
        errors_rest = [F(0)] if more is None else [abs(F(x) - (F(y) + F(more[0]))) for x, y in zip(total, layers.sums[-1], strict=True)]
        assert off == pytest.approx(layers.merged + float(max(errors) + max(errors_rest)), rel=1e-12)
        assert max(abs(F(v) / 2 - z) for row, rows in zip(values, true, strict=True) for v, z in zip(row, rows, strict=True)) <= F(off)
    least, most = layering.near_values(lambda x: 1.0 * (x >= 0.85), layers, 0.0, 0.01)
    assert layers.sums[-1].tolist() == [0.2, 0.85, 1.5]
    assert (least.ravel().tolist(), most.ravel().tolist()) == ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    least, most = layering.near_values(lambda x: -1.0 * (x > 0.855) * x, layers, 0.0, 0.01)
    assert (least[1, 0], most[1, 0]) == (pytest.approx(-0.86), 0.0)


FRACTIONS = st.fractions(F(-4), F(4), max_denominator=8)


@given(
    FRACTIONS, st.fractions(F(0), F(1), max_denominator=8), st.fractions(F(1, 8), F(3), max_denominator=8), st.sampled_from([F(1, 10), F(1, 2), F(4, 5), F(1)])
)
def test_interval_bound_is_where_the_two_lines_meet(left: F, share: F, width: F, tau: F) -> None:
    rise = 1 / tau - 1
    right = left - width + share * (rise + 1) * width  # all that slopes between -1 and 1/tau - 1 allow
    bound = float(searching.interval_bound(float(left), float(right), float(width), float(tau)))
    points = [width * i / 64 for i in range(65)]
    below = max(min(left + rise * c, right + width - c) for c in points)
    meet = share * width
    assert bound == pytest.approx(float(left + rise * meet), abs=1e-12)
    assert float(below) <= bound + 1e-12


def test_interval_bound_of_steeper_values_stays_at_an_end() -> None:
    assert float(searching.interval_bound(0.0, 50.0, 1.0, 0.5)) == 1.0
    assert float(searching.interval_bound(50.0, 0.0, 1.0, 0.5)) == 1.0


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("N", [1, 2, 3, 16, 17, 18, 200])
def test_search_over_atoms_finds_the_best(tau: float, N: int) -> None:
    for seed in range(6):
        rng = np.random.Generator(np.random.Philox(seed))
        stocks = np.sort(rng.choice(np.arange(-400, 400), N, replace=False)) / 16.0
        atoms, p = rng.integers(-20, 20, 5) * 1.0, rng.dirichlet(np.ones(5))
        asked = []

        def g(c, atoms=atoms, p=p, asked=asked):
            asked.append(c.size)
            return -c + np.minimum(c[None, :] + atoms[:, None], 0.0).T @ p / tau

        stock, value, gap, evaluations = searching.search_atoms(g, stocks, tau, 1e-9, cells=10**5 if seed % 2 else 10**9)
        every = g(stocks)
        assert max(asked[:-1]) <= (40 if seed % 2 else 1)
        assert sum(asked[:-1]) == evaluations <= N
        assert evaluations >= min(N, 17)
        assert every.max() - 1e-9 <= value <= every.max() + 1e-12
        assert value == pytest.approx(every[stocks.tolist().index(stock)], abs=1e-12)
        assert gap == 1e-9
        near = stocks[every >= every.max() - 1e-9]
        assert stock in near
        if N == 200:
            assert evaluations <= 60
        if N <= 17:
            assert stock == near[-1]


def test_few_candidates_are_asked_together() -> None:
    asked = []
    searching.search_atoms(lambda c: asked.append(c.size) or -np.abs(c), np.arange(-1000.0, 1000.0), 0.5, 1e-9, cells=1)
    assert asked[0] == 17
    assert max(asked) <= 256
    wide = []
    searching.search_atoms(lambda c: wide.append(c.size) or 0.0 * c, np.arange(0.0, 2000.0), 0.5, 1e-9, cells=0)
    assert max(wide) == 256
    # a gain within the slack is not looked for
    rough = searching.search_atoms(lambda c: -np.abs(c - 0.4), np.arange(-50.0, 50.0), 0.5, 100.0, cells=1)
    assert rough[2:] == (100.0, 17)


def lattice(seed, q, unit=1.0):
    rng = np.random.Generator(np.random.Philox(seed))
    weight = np.stack([np.bincount(rng.integers(0, 2, 8), minlength=2) for _ in range(4)]).reshape(2, 2, 2) / 8.0
    return read_problem(mdps.TabularMDP(weight, rng.integers(-2, 3, (2, 2, 2)) * unit, discount=1.0 / q, initial=[0.5, 0.5]))


@pytest.mark.parametrize(("seed", "q", "unit"), [(0, 2, 1.0), (1, 3, 1.0), (2, 2, 0.5), (3, 3, 2.0), (4, 2, 1.0), (5, 4, 1.0)])
@pytest.mark.parametrize("tau", [0.3, 0.8])
def test_search_over_the_lattice_beats_every_fraction(seed: int, q: int, unit: float, tau: float) -> None:
    problem = lattice(seed, q, unit)
    box = make_box(problem, (1.0, 0.0))
    fixed = solve_stationary(problem, box, unit).table
    whole = {(s, round(c / unit)): fixed.value[s, i] for s in range(2) for i, c in enumerate(fixed.nodes)}
    m = problem.stage(0)

    def value(s, c, known):
        """V at the stock unit * c by the recursion, which reaches the integers."""
        if (s, c) in known:
            return known[s, c]
        if unit * float(c) < box.low:
            return unit * float(c) + box.below[0][s]
        if unit * float(c) > box.high:
            return 0.0
        if c.denominator == 1:
            return whole[s, int(c)]
        found = max(
            sum(m.prob[s, a, b] * value(int(m.succ[s, a, b]), (c + F(m.rew[s, a, b] / unit)) * q, known) for b in range(m.count[s, a])) / q for a in range(2)
        )
        known[s, c] = found
        return found

    known: dict = {}

    def g(c):
        return -unit * float(c) + 0.5 * (value(0, c, known) + value(1, c, known)) / tau

    def fraction(stock):
        depth = next(k for k in range(40) if abs(stock / unit * q**k - round(stock / unit * q**k)) <= 1e-12 * q**k)
        return F(round(stock / unit * q**depth), q**depth), depth

    depth = 4 if q == 2 else 3
    first, last = int(np.floor(box.low / unit)) - 1, int(np.ceil(box.high / unit)) + 1
    best = max(g(F(j, q**depth)) for j in range(first * q**depth, last * q**depth + 1))
    for tolerance in (1e-4, 0.05):
        result = searching.search_lattice(problem, box, fixed, tau, tolerance)
        assert best <= result.upper + 1e-11
        assert result.value <= result.upper <= result.value + tolerance + 1e-12
        at, levels = fraction(result.stock)
        assert result.value == pytest.approx(g(at), abs=1e-11)
        assert len(result.chain) == levels
        for k, table in enumerate(result.chain):
            origin, level = fraction(table.origin)
            assert level == levels - k
            assert (origin - at * q**k).denominator == 1  # the lattice on which the stock is after k steps
            for i in range(0, table.value.shape[1], 3):
                assert table.value[0, i] == pytest.approx(value(0, origin + i, known), abs=1e-11)
    for levels in (0, 1, 2):
        shallow = searching.search_lattice(problem, box, fixed, tau, 1e-9, levels=levels)
        assert best <= shallow.upper + 1e-11
        assert shallow.value == pytest.approx(max(g(F(j, q**levels)) for j in range(first * q**levels, last * q**levels + 1)), abs=1e-11)
        assert shallow.upper <= shallow.value + 1e-9 + unit * max(1.0 / tau - 1.0, 1.0) / q**levels
        assert fraction(shallow.stock)[1] <= levels
        assert shallow.evaluations >= (0, q - 1, q - 1)[levels] * (shallow.upper > shallow.value + 1e-9)


def test_equal_values_take_the_lowest_stock() -> None:
    problem = read_problem(mdps.TabularMDP(np.ones((1, 1, 1)), np.full((1, 1), 2.0), discount=0.5))
    box = make_box(problem, (1.0, 0.0))
    fixed = solve_stationary(problem, box, 1.0).table
    result = searching.search_lattice(problem, box, fixed, 1.0, 1e-9)  # the whole tail: 4 for every stock up to -4
    assert (result.stock, result.value, result.chain) == (fixed.origin, pytest.approx(4.0), ())


def test_a_bound_on_the_work_leaves_a_wider_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = lattice(2, 2, 0.5)
    box = make_box(problem, (1.0, 0.0))
    fixed = solve_stationary(problem, box, 0.5).table
    each = fixed.value.shape[1] * int(problem.stage(0).count.sum())
    full = searching.search_lattice(problem, box, fixed, 0.8, 1e-7)
    for allowed in (100, 200, 350):
        found = []
        for evaluations, steps in ((allowed, 1e18), (10**9, allowed * each), (10**9, 0)):
            monkeypatch.setattr(searching, "EVALUATIONS", evaluations)
            monkeypatch.setattr(searching, "STEPS", steps)
            result = searching.search_lattice(problem, box, fixed, 0.8, 1e-7)
            assert result.value <= full.value + 1e-12
            assert result.upper >= full.value - 1e-12
            found.append((result.value, result.upper, result.evaluations))
        assert found[0] == found[1]
        assert (found[2] == found[0]) is (allowed == 100)  # a hundred are always allowed
        assert found[0][1] > found[0][0] + 1e-7
