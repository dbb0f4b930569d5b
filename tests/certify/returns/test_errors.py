"""What is certified about laws of returns, against recursions in rationals and plain loops, and the stated allowances for rounding."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction as F

import numpy as np
import pytest

import mdps
from certify.returns import Law, return_distribution, wasserstein
from certify.returns import evaluation as rooms
from certify.returns._model import Problem, read_problem

ULP = F(1, 2**53)


def dyadic_model(seed, *, H=None, S=3, A=2, gamma=0.75, spread=8):
    rng = np.random.Generator(np.random.Philox(seed))
    lead = () if H is None else (H,)
    cuts = np.sort(rng.integers(0, 9, (*lead, S, A, S - 1)), axis=-1)
    kernel = np.diff(np.concatenate([np.zeros((*lead, S, A, 1)), cuts, np.full((*lead, S, A, 1), 8)], axis=-1), axis=-1) / 8.0
    reward = rng.integers(-spread, spread + 1, (*lead, S, A, S)) / 4.0
    model = mdps.TabularMDP(kernel, reward, discount=gamma) if H is None else mdps.FiniteHorizonMDP(kernel, reward, horizon=H)
    policy = rng.integers(0, 5, (*lead, S)) / 4.0
    return model, kernel, reward, np.stack([policy, 1.0 - policy], axis=-1)


def outcomes(kernel, reward, policy, t, s):
    """(probability, reward, successor) of one step under the policy."""
    P, R, w = (x[t] if x.ndim == n + 1 else x for x, n in ((kernel, 3), (reward, 3), (policy, 2)))
    return [(F(w[s, a]) * F(P[s, a, y]), F(R[s, a, y]), y) for a in range(w.shape[1]) for y in range(P.shape[2]) if w[s, a] > 0 and P[s, a, y] > 0]


def exact_laws(parts, gamma, steps, start, finite):
    kernel, reward, policy = parts
    S = kernel.shape[-1]
    laws = [{F(x): F(1)} for x in start]
    for k in range(steps):
        t = steps - 1 - k if finite else 0
        new = []
        for s in range(S):
            law = {}
            for p, r, y in outcomes(kernel, reward, policy, t, s):
                for x, q in laws[y].items():
                    law[r + gamma * x] = law.get(r + gamma * x, F(0)) + p * q
            new.append(law)
        laws = new
    return laws


def as_law(law):
    return Law(list(law), list(law.values()))


def ranges(parts, gamma, steps, finite):
    """Smallest and largest return of any path under the policy: for each step of a horizon, or of many steps."""
    kernel, reward, policy = parts
    S = kernel.shape[-1]
    low, high = [np.zeros(S)], [np.zeros(S)]
    for k in range(steps):
        t = steps - 1 - k if finite else 0
        low.append(np.array([min(float(r) + gamma * low[k][y] for _, r, y in outcomes(kernel, reward, policy, t, s)) for s in range(S)]))
        high.append(np.array([max(float(r) + gamma * high[k][y] for _, r, y in outcomes(kernel, reward, policy, t, s)) for s in range(S)]))
    return low[::-1], high[::-1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("staged", [False, True])
def test_exact_laws_of_a_finite_horizon(seed: int, staged: bool) -> None:
    gamma = F(1) if staged else F(3, 4)
    model, *parts = dyadic_model(seed, H=3 if staged else None)
    found = return_distribution(model, parts[2], representation="exact", horizon=3, initial=[0.25, 0.0, 0.75])
    truth = [as_law(law) for law in exact_laws(parts, gamma, 3, [0, 0, 0], True)]
    for law, true in zip(found.laws, truth, strict=True):
        assert law.atoms.tolist() == [float(x) for x in true.atoms]
        assert law.probabilities == pytest.approx([float(p) for p in true.probabilities], abs=1e-15)
    scale = max(1.0, *(float(abs(law.atoms).max()) for law in truth))
    assert found.wasserstein_errors == pytest.approx(np.full(3, float(3 * 8 * ULP * F(scale))), rel=1e-12)  # eight roundings a step
    distance = found.wasserstein_error
    spread = max(2.0 * math.sqrt(float(law.variance())) * distance for law in truth)
    assert spread <= found.variance_inflation <= spread + 4.0 * distance**2 + 1e-25
    merged = {}
    for w, law in ((F(1, 4), truth[0]), (F(3, 4), truth[2])):
        for x, p in zip(law.atoms, law.probabilities, strict=True):
            merged[x] = merged.get(x, F(0)) + w * p
    assert found.law.atoms.tolist() == [float(x) for x in sorted(merged)]
    assert found.mean == pytest.approx(float(sum(x * p for x, p in merged.items())), abs=1e-14)
    assert (found.sweeps, found.clipped, found.mean_preserving) == (3, 0.0, True)


@pytest.mark.parametrize("seed", range(4))
def test_exact_laws_of_the_first_steps(seed: int) -> None:
    model, *parts = dyadic_model(seed)
    low, high = (np.array(x[0]) for x in ranges(parts, 0.75, 150, False))
    found = return_distribution(model, parts[2], representation="exact", sweeps=3)
    truth = exact_laws(parts, F(3, 4), 3, [F(float(x)) for x in 0.5 * (low + high)], False)
    half = 0.5 * (high - low)
    for _ in range(3):
        half = np.array([sum(float(p) * 0.75 * half[y] for p, _, y in outcomes(*parts, 0, s)) for s in range(3)])
    for s in range(3):
        assert float(wasserstein(found.laws[s], as_law(truth[s]))) <= 1e-12
    assert found.wasserstein_errors == pytest.approx(half, rel=1e-12)
    size = sum(law.atoms.size for law in found.laws)
    assert return_distribution(model, parts[2], representation="exact", sweeps=3, limit=size).sweeps == 3
    with pytest.raises(ValueError, match=f"passes {size} at step 3 of 3"):
        return_distribution(model, parts[2], representation="exact", sweeps=3, limit=size - 1)
    assert return_distribution(model, parts[2], representation="exact", limit=size).sweeps == 3


def test_merging_of_exact_laws_is_charged() -> None:
    kernel, reward = np.full((2, 1, 2), 0.5), np.array([[[0.0, 0.5e-10]], [[0.0, 0.5e-10]]])
    model = mdps.TabularMDP(kernel, reward, discount=0.5)
    one = return_distribution(model, [0, 0], representation="exact", horizon=1)
    assert one.laws[0].atoms.size == 1
    assert one.wasserstein_error == pytest.approx(0.5e-10, rel=1e-4)
    two = return_distribution(model, [0, 0], representation="exact", horizon=2)
    assert two.wasserstein_error == pytest.approx(0.75e-10, rel=1e-4)


@pytest.mark.parametrize(("seed", "finite", "gaps"), [(0, False, 9), (1, False, 4), (2, True, 12), (3, True, 5), (4, True, 30), (5, False, 40)])
def test_the_error_of_a_grid_is_the_noise_of_its_projections(seed: int, finite: bool, gaps: int) -> None:
    gamma, n, S = F(3, 4), 5, 3
    model, *parts = dyadic_model(seed)
    grid = [F(-16) + F(32 * k, gaps) + (F(1, 3) if 0 < k < gaps else 0) for k in range(gaps + 1)]
    grid = [F(float(x)) for x in grid]
    found = return_distribution(model, parts[2], atoms=[float(x) for x in grid], **({"horizon": n} if finite else {"sweeps": n}), clip=True)
    laws, noise, drift, lost = [{} for _ in range(S)], [F(0)] * S, [F(0)] * S, F(0)

    def spread(x, p, law):
        if x <= grid[0] or x >= grid[-1]:
            end = grid[0] if x <= grid[0] else grid[-1]
            law[end] = law.get(end, F(0)) + p
            return F(0), p * abs(x - end)
        j = max(k for k in range(gaps) if grid[k] <= x)
        up = (x - grid[j]) / (grid[j + 1] - grid[j])
        squares = absolute = F(0)
        for z, share in ((grid[j], 1 - up), (grid[j + 1], up)):
            law[z] = law.get(z, F(0)) + p * share
            squares, absolute = squares + p * share * (z - x) ** 2, absolute + p * share * abs(z - x)
        return squares, absolute

    for s in range(S):
        if finite:
            noise[s], drift[s] = spread(F(0), F(1), laws[s])
        else:
            laws[s][grid[0]] = F(1)
    for _k in range(n):
        new, squares, absolute = [{} for _ in range(S)], [F(0)] * S, [F(0)] * S
        for s in range(S):
            for p, r, y in outcomes(*parts, 0, s):
                squares[s], absolute[s] = squares[s] + p * gamma**2 * noise[y], absolute[s] + p * gamma * drift[y]
                for z, q in laws[y].items():
                    x = r + gamma * z
                    lost += p * q if x < grid[0] or x > grid[-1] else 0
                    a, b = spread(x, p * q, new[s])
                    squares[s], absolute[s] = squares[s] + a, absolute[s] + b
        laws, noise, drift = new, squares, absolute
    assert lost == 0
    for s in range(S):
        assert float(wasserstein(found.laws[s], as_law(laws[s]))) <= 1e-11
    assert found.mean_preserving
    tail = 0.0
    if not finite:
        low, high = (np.array(x[0]) for x in ranges(parts, 0.75, 150, False))
        tail = 0.75**n * max(abs(high - float(grid[0])).max(), abs(low - float(grid[0])).max())
    by_noise = [min(math.sqrt(float(a)), float(b)) + tail for a, b in zip(noise, drift, strict=True)]
    gap, width = max(float(b - a) for a, b in itertools.pairwise(grid)), float(grid[-1] - grid[0])
    by_theorem = math.inf if finite else gap / (2.0 * math.sqrt(1.0 - 0.75**2)) + 0.75**n * width
    assert found.wasserstein_errors == pytest.approx(np.minimum(by_noise, by_theorem), rel=1e-9)
    extra = max(tail * 2.0 * math.sqrt(float(as_law(law).variance())) for law in laws)
    assert float(max(noise)) + extra - 1e-9 <= found.variance_inflation <= float(max(noise)) + extra + 3.0 * tail**2 + 1e-9


@pytest.mark.parametrize(("ends", "start"), [((1.0, 4.0), 1.0), ((-4.0, -0.5), 0.5), ((-1.0, 4.0), None)])
def test_a_grid_without_zero_starts_a_horizon_with_an_error(ends: tuple[float, float], start: float | None) -> None:
    still = mdps.TabularMDP(np.ones((1, 1, 1)), np.zeros((1, 1)), discount=1.0)
    if start is None:  # zero is split between the ends: mean square 4, mean distance 1.6
        found = return_distribution(still, [0], atoms=list(ends), horizon=2)
        assert found.variance_inflation == pytest.approx(4.0)
        assert found.wasserstein_error == pytest.approx(1.6)
        assert found.mean == pytest.approx(0.0, abs=1e-12)
        return
    with pytest.raises(ValueError, match="atoms must cover"):
        return_distribution(still, [0], atoms=list(ends), horizon=2)
    found = return_distribution(still, [0], atoms=list(ends), horizon=2, clip=True)
    assert found.variance_inflation is None
    assert (found.clipped, found.mean_preserving) == (start, False)
    assert start <= found.wasserstein_error <= start + 4.0 + 1e-9
    assert found.wasserstein_error >= float(wasserstein(found.law, Law.point(0.0)))
    low, high = found.cvar(0.5)
    assert (low + high) / 2.0 == pytest.approx(float(found.law.cvar(0.5)))
    assert high - low == pytest.approx(4.0 * found.wasserstein_error)


@pytest.mark.parametrize("clip", [False, True])
def test_mass_that_leaves_the_grid_is_charged_where_it_lands(clip: bool) -> None:
    model = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)
    if not clip:
        with pytest.raises(ValueError, match="probability 1 in one sweep"):
            return_distribution(model, [0], atoms=[0.0, 0.5], sweeps=2)
        return
    found = return_distribution(model, [0], atoms=[0.0, 0.5], sweeps=3, clip=True)
    # from 0: to 1, cut by 1/2; from 1/2: to 5/4, cut by 3/4, twice
    assert found.wasserstein_error == pytest.approx(0.75 + 0.5 * 0.75 + 0.25 * 0.5 + 0.125 * 2.0)
    assert found.clipped == 1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("staged", [False, True])
def test_the_error_of_quantiles_is_half_a_range_over_their_number_each_step(seed: int, staged: bool) -> None:
    m, n = 1000, 3
    model, *parts = dyadic_model(seed, H=n if staged else None)
    gamma = 1.0 if staged else 0.75
    if staged:
        low, high = ranges(parts, gamma, n, True)
        found = return_distribution(model, parts[2], representation="quantile", atoms=m)
    else:
        low, high = ranges(parts, gamma, 150, False)
        low, high = [low[0]] * (n + 1), [high[0]] * (n + 1)
        found = return_distribution(model, parts[2], representation="quantile", atoms=m, sweeps=n)
    errors = [0.5 * (b - a) for a, b in zip(low[n], high[n], strict=True)]
    for k in range(n):
        t = n - 1 - k
        errors = [
            (high[t][s] - low[t][s]) / (2 * m) + gamma * sum(float(p) * errors[y] for p, _, y in outcomes(*parts, t if staged else 0, s)) for s in range(3)
        ]
    branches = max(int(stage.count.sum(axis=1).max()) for stage in read_problem(model).stages)
    width = max(float((b - a).max()) for a, b in zip(low, high, strict=True))
    scale = max(float(np.abs(x).max()) for x in (*low, *high))
    length = 3.0  # three steps, which are fewer than 1/(1 - gamma) = 4
    allowance = ((2 * m * branches + 8) * width + 4.0 * scale) * 2.0**-53 * length + 1e-13 * width * length
    assert found.wasserstein_errors - errors == pytest.approx(np.full(3, allowance), abs=2e-3 * allowance + 1e-16 * max(errors))


def bare(horizon, gamma, rows=1):
    kernel = np.zeros((1, rows, 1)) + 1.0
    return read_problem(mdps.TabularMDP(kernel, np.zeros((1, rows)), discount=gamma), horizon=horizon)


def test_length_of_a_run_in_sweeps() -> None:
    assert rooms._length(bare(None, 0.75), 2) == 2.0
    assert rooms._length(bare(None, 0.75), 9) == 4.0
    assert rooms._length(bare(9, 1.0), 9) == 9.0
    assert rooms._length(bare(9, 0.5), 9) == 2.0


def test_allowance_for_rounding() -> None:
    """Two roundings for each atom of each branch and eight more, times the width; four for positions."""
    for rows, atoms in ((1, 2), (3, 7)):
        expected = ((2 * atoms * rows + 8) * F(3) + 4 * F(5)) * ULP * 9
        assert rooms._rounding(bare(9, 1.0, rows), atoms, 9, 3.0, 5.0) == pytest.approx(float(expected), rel=1e-12)


def test_an_aligned_grid_leaves_only_the_allowance() -> None:
    model = mdps.TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), discount=0.5)
    found = return_distribution(model, [0], atoms=[0.0, 1.0, 1.5, 1.75, 1.875, 2.0, 3.0], horizon=4)  # partial sums of 1/2^k are nodes
    allowance = ((2 * 7 + 8) * 3 + 4 * 3) * ULP * 2
    assert found.wasserstein_error == pytest.approx(float(allowance), rel=1e-9)
    assert found.law.atoms.tolist() == [1.875]
    tight = (allowance + 64 * ULP * 4 * F(15, 8)) / F(1, 4)
    assert 1.875 - found.cvar(0.25)[0] == pytest.approx(float(tight), rel=0.02)
    assert found.cvar(0.25)[1] - 1.875 == pytest.approx(float(allowance * 4), rel=0.05)
    up = found.cvar(0.25, tail="upper")
    assert 1.875 - up[0] == pytest.approx(float(allowance * 4), rel=0.05)
    small = return_distribution(mdps.TabularMDP(np.ones((1, 1, 1)), np.zeros((1, 1)), discount=0.5), [0], atoms=[-0.5, 0.0, 0.5], horizon=4)
    allowance = ((2 * 3 + 8) * 1 + 2) * ULP * 2
    assert -small.cvar(0.25)[0] == pytest.approx(float((allowance + 64 * ULP * 4) * 4), rel=1e-9)


def one_reward(*rewards):
    return read_problem(mdps.TabularMDP(np.ones((1, len(rewards), 1)), np.array([rewards]), discount=0.5))


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize(("end", "other", "scale"), [(2.0, 0.0, 2.0), (0.5, 0.0, 1.0), (1.0, -3.0, 3.0), (0.25, -0.5, 1.0)])
def test_what_is_moved_to_an_end_by_rounding_is_charged(end: float, other: float, scale: float, side: float) -> None:
    for past, charged in ((0.7e-12 * scale, True), (1.5e-12 * scale, False)):
        grid = np.sort(side * np.array([other, end]))
        # r + gamma z passes the end by `past`
        reach = rooms._overshoot(one_reward(side * (0.5 * end + past)), np.ones((1, 1, 1)), grid)
        assert reach == (pytest.approx(past, rel=1e-3) if charged else 0.0)
    used = np.array([[[1.0, 0.0]]])
    assert rooms._overshoot(one_reward(0.0, 0.5 * end + 0.5e-12), used, np.array([0.0, end])) == 0.0
    assert rooms._overshoot(one_reward(0.0, 0.5 * end + 0.5e-12), used[..., ::-1], np.array([0.0, end])) == pytest.approx(0.5e-12, rel=1e-3)


def test_variance_of_laws_that_can_be_paired() -> None:
    law = Law([0.0, 1.0, 4.0], [0.25, 0.5, 0.25])
    sigma = math.sqrt(float(law.variance()))
    for distance in (1e-3, 0.5):
        bound = rooms._spread_by(law, distance)
        stretched = Law(law.atoms + distance * np.sign(law.atoms - law.mean()), law.probabilities)
        assert abs(float(stretched.variance()) - sigma**2) <= bound
        assert 2.0 * sigma * distance + distance**2 <= bound <= 2.0 * sigma * distance + 3.0 * distance**2 + 1e-15


def two_rewards(low, high, gamma, horizon):
    return read_problem(mdps.TabularMDP(np.full((2, 1, 2), 0.5), np.array([[[low, high]]] * 2), discount=gamma), horizon=horizon)


def test_ranges_of_grids() -> None:
    weights = np.ones((1, 2, 1))
    assert rooms._range(two_rewards(1.0, 2.0, 0.5, 2), weights) == (0.0, 3.0)  # a horizon starts at the return 0
    assert rooms._range(two_rewards(-2.0, -1.0, 0.5, 2), weights) == (-3.0, 0.0)
    assert rooms._range(two_rewards(1.0, 2.0, 0.5, None), weights) == pytest.approx((2.0, 4.0))
    assert rooms._range(two_rewards(-3.0, 2.0, 0.75, None), weights) == pytest.approx((-12.0, 8.0))
    assert rooms._closed_range(two_rewards(-1.0, 2.0, 0.75, None), -1.0, 1.0) == (-4.0, 8.0)
    assert rooms._closed_range(two_rewards(-1.0, 2.0, 0.75, 3), -1.0, 1.0) == (-4.0, 8.0)
    assert rooms._closed_range(two_rewards(-1.0, 2.0, 1.0, 3), -1.0, 1.0) == (-3.0, 6.0)
    assert rooms._closed_range(two_rewards(-1.0, 2.0, 1.0, 3), -9.0, 9.0) == (-9.0, 9.0)
    for steps, count in ((3, 21), (4, 10), (5, 101)):
        problem = two_rewards(-1.0, 2.0, 1.0, steps)
        low, high = rooms._padded_range(problem, 0.0, 0.0, count)
        cell = (high - low) / (count - 1)
        assert (-steps - low, high - 2 * steps) == pytest.approx((steps * cell, steps * cell))  # one cell a step on either side
    for count in (7, 8):  # too few nodes for that at three steps up to seven
        assert (rooms._padded_range(two_rewards(-1.0, 2.0, 1.0, 3), 0.0, 0.0, count) == (-3.0, 6.0)) is (count == 7)
    assert rooms._padded_range(two_rewards(-1.0, 2.0, 0.5, None), 0.0, 0.0, 11) == (-2.0, 4.0)


@pytest.mark.parametrize(("low", "high", "top"), [
    (0.0, 0.7e-12, 1e-9), (0.0, 1.5e-12, 1.5e-12), (-5.0, -5.0, -5.0 + 5e-9), (1000.0, 1000.0 + 0.9e-9, 1000.0 + 1e-6), (1000.0, 1000.0 + 1.2e-9, 1000.0 + 1.2e-9),
])  # fmt: skip
def test_a_grid_has_some_width(low: float, high: float, top: float) -> None:
    grid = rooms._grid(low, high, 5)
    assert grid.size == 5
    assert grid[0] == low
    assert grid[-1] - low == pytest.approx(top - low, rel=1e-3)


@pytest.mark.parametrize(("gamma", "sweeps"), [(0.5, 40), (0.9, 263), (0.1, 12)])
def test_sweeps_until_the_start_is_forgotten(gamma: float, sweeps: int) -> None:
    assert rooms._enough_sweeps(gamma) == sweeps
    assert gamma**sweeps <= 1.0001e-12 < gamma ** (sweeps - 1)


def test_actions_that_a_policy_never_takes_do_not_widen_its_grid() -> None:
    kernel = np.ones((1, 2, 1))
    model = mdps.TabularMDP(kernel, np.array([[1.0, 100.0]]), discount=0.5)
    for kwargs in ({}, {"horizon": 3}):
        found = return_distribution(model, [0], atoms=5, **kwargs)
        assert found.wasserstein_error <= 2.0
        assert return_distribution(model, [0], representation="quantile", atoms=5, **kwargs).wasserstein_error <= 1e-9
    staged = np.array([[0], [1], [0]])
    under = rooms._under(read_problem(model, horizon=3), rooms.policy_weights(read_problem(model, horizon=3), staged))
    assert [m.count.tolist() for m in under.stages] == [[[1, 0]], [[0, 1]], [[1, 0]]]
    assert isinstance(under, Problem)


def test_policies_in_every_shape() -> None:
    problem = read_problem(mdps.TabularMDP(np.ones((2, 3, 2)) / 2.0, np.zeros((2, 3)), discount=0.5), horizon=3)
    whole = np.eye(3)
    assert rooms.policy_weights(problem, [2, 0]).tolist() == [[whole[2].tolist(), whole[0].tolist()]]
    assert rooms.policy_weights(problem, [[0, 1], [1, 2], [2, 0]]).shape == (3, 2, 3)
    mixed = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert rooms.policy_weights(problem, mixed).tolist() == [mixed.tolist()]
    assert rooms.policy_weights(problem, np.stack([mixed] * 3)).shape == (3, 2, 3)
    for bad in ([3, 0], [-1, 0], np.stack([mixed] * 2), mixed[:1], mixed + 1e-8, -mixed):
        with pytest.raises(ValueError, match="policy must"):
            rooms.policy_weights(problem, bad)
    assert rooms.policy_weights(problem, mixed + 1e-10).shape == (1, 2, 3)
    masked = read_problem(mdps.TabularMDP(np.ones((2, 3, 2)) / 2.0, np.zeros((2, 3)), discount=0.5, action_mask=[[True, True, False]] * 2))
    with pytest.raises(ValueError, match="forbids"):
        rooms.policy_weights(masked, [2, 0])


def test_wider_ranges_are_tried_until_nothing_is_clipped() -> None:
    for gamma, horizon in ((1.0, 4), (0.9, 4), (0.9, None)):
        model = mdps.TabularMDP(np.array([[[0.0, 1.0]], [[1.0, 0.0]]]), np.array([[1.0], [-1.0]]), discount=gamma)
        found = return_distribution(model, [0, 0], atoms=24, horizon=horizon)
        assert found.clipped == 0.0
        assert found.mean_preserving
        truth = return_distribution(model, [0, 0], representation="exact", horizon=4) if horizon else None
        true = float(truth.mean) if truth else 1.0 / (1.0 + gamma)
        assert found.mean == pytest.approx(true, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("m", [1, 2, 8])
def test_laws_by_quantiles(seed: int, staged: bool, m: int) -> None:
    n = 2
    model, *parts = dyadic_model(seed, H=n if staged else None)
    gamma = F(1) if staged else F(3, 4)
    if staged:
        start = [F(0)] * 3
        found = return_distribution(model, parts[2], representation="quantile", atoms=m)
    else:
        low, high = ranges(parts, 0.75, 200, False)
        start = [F(float(x)) for x in 0.5 * (low[0] + high[0])]
        found = return_distribution(model, parts[2], representation="quantile", atoms=m, sweeps=n)
    laws = [[x] * m for x in start]
    for k in range(n):
        new = []
        for s in range(3):
            points = sorted((r + gamma * x, p / m) for p, r, y in outcomes(*parts, n - 1 - k if staged else 0, s) for x in laws[y])
            mass, row = F(0), []
            for x, p in points:
                mass += p
                while len(row) < m and mass >= F(2 * len(row) + 1, 2 * m):
                    row.append(x)
            new.append(row)
        laws = new
    for s in range(3):
        assert float(wasserstein(found.laws[s], Law([float(x) for x in laws[s]], np.full(m, 1.0 / m)))) <= 1e-9
    assert not found.mean_preserving
    truth = return_distribution(model, parts[2], representation="exact", **({} if staged else {"sweeps": 8}))
    for s in range(3):
        assert float(wasserstein(found.laws[s], truth.laws[s])) <= found.wasserstein_errors[s] + truth.wasserstein_errors[s]
