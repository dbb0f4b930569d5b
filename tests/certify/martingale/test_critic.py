"""The orthogonality test against sums written out, its p-values against integrals, and its doubts at their edges."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from certify.martingale import critic as room
from certify.martingale import test_critic
from mdps.diffusions import Paths

TIME = np.array([0.5, 0.7, 1.1, 1.2, 2.0, 2.1])
BETA = 0.8


def random_paths(count: int = 7, dimension: int = 1, *, seed: int = 0, time=TIME, reward=None) -> Paths:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(count, len(time), dimension))
    return Paths(time, state, rng.normal(size=(count, len(time))) if reward is None else reward)


def value(time, state):
    return np.sin(state).sum(axis=2) * (1.0 + 0.3 * time[None, :])


def xi(time, state):
    return np.stack([state[:, :, 0] + time[None, :], np.cos(state[:, :, 0])], axis=2)


def step_reward(reward, i, dt, rule):
    return reward[i] * dt if rule == "left" else dt * (reward[i] + np.exp(-BETA * dt) * reward[i + 1]) / 2


def doubtful(reward, p, i, rule):
    """Return the estimated error of the reward of a step: the left rule against the trapezoid, and pairs of steps against one of twice the length."""
    dt = np.diff(TIME)
    if rule == "left":
        return step_reward(reward[p], i, dt[i], "left") - step_reward(reward[p], i, dt[i], "trapezoid")
    if i % 2 or i >= 4:
        return 0.0
    joined = step_reward(reward[p], i, dt[i], rule) + np.exp(-BETA * dt[i]) * step_reward(reward[p], i + 1, dt[i + 1], rule)
    long = TIME[i + 2] - TIME[i]
    coarse = long * (reward[p, i] + np.exp(-BETA * long) * reward[p, i + 2]) / 2
    return (coarse - joined) / 3 * (5 / 4)


def martingale_sums(paths, rule):
    """Return the sums of xi e^{-beta t} D over each path, those freed from the doubtful part of the reward, and the squares."""
    values, tests = value(paths.time, paths.state), xi(paths.time, paths.state)
    sums, freed, squares = np.zeros((paths.count, 2)), np.zeros((paths.count, 2)), np.zeros(2)
    for p in range(paths.count):
        for i in range(5):
            dt = TIME[i + 1] - TIME[i]
            w = np.exp(-BETA * (TIME[i] - TIME[0]))
            error = np.exp(-BETA * dt) * values[p, i + 1] - values[p, i] + step_reward(paths.reward[p], i, dt, rule)
            sums[p] += tests[p, i] * w * error
            freed[p] += tests[p, i] * w * (error - doubtful(paths.reward, p, i, rule))
            squares += tests[p, i] ** 2 * (w * error) ** 2
    return sums, freed, squares


@pytest.mark.parametrize("rule", ["left", "trapezoid"])
def test_the_asymptotic_statistics_are_self_normalised_sums(rule):
    paths = random_paths()
    sums, freed, _ = martingale_sums(paths, rule)
    spread = np.sqrt((sums**2).sum(axis=0))
    found = test_critic(paths, value, tests=xi, discount=BETA, reward_rule=rule)
    assert found.statistics == pytest.approx(sums.sum(axis=0) / spread, rel=1e-11)
    assert found.p_values == pytest.approx(2 * stats.norm.sf(np.abs(sums.sum(axis=0)) / spread), rel=1e-10)
    assert found.p_value == pytest.approx(min(1.0, 2 * found.p_values.min()))
    assert found.bias == pytest.approx(np.abs((sums - freed).sum(axis=0)) / spread, rel=1e-10)
    assert (found.paths, found.alpha, found.method) == (7, 0.01, "asymptotic")
    assert found.rejected == (found.p_value <= 0.01)


@pytest.mark.parametrize("rule", ["left", "trapezoid"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_mixture_statistics_use_the_bracket(rule, scale):
    """A third of the realised squares and two thirds of the known variance, or the larger of the realised and the Riemann sum."""
    paths = random_paths()
    sums, freed, squares = martingale_sums(paths, rule)
    tests = xi(paths.time, paths.state)
    w2 = np.exp(-2 * BETA * (TIME - TIME[0]))
    variance = 1.0 + paths.state[:, :, 0] ** 2
    known = np.einsum("pik,pi,i->k", tests[:, :-1] ** 2, variance[:, :-1], w2[:-1])
    rate = (0.6 * np.cos(paths.state[:, :, 0]) * (1.0 + 0.3 * TIME)) ** 2
    larger = np.array([[max(rate[p, i], rate[p, i + 1]) for i in range(5)] for p in range(7)])
    riemann = np.einsum("pik,pi,i,i->k", tests[:, :-1] ** 2, larger, w2[:-1], np.diff(TIME))
    for options, bracket in (
        ({"variance": lambda t, x: 1.0 + x[:, :, 0] ** 2}, (squares + 2 * known) / 3),
        ({"volatility": 0.6, "gradient": lambda t, x: np.cos(x[:, :, 0]) * (1.0 + 0.3 * t[None, :])}, np.maximum(squares, riemann)),
        ({"volatility": 0.6}, np.maximum(squares, riemann)),
    ):
        found = test_critic(paths, value, tests=xi, discount=BETA, reward_rule=rule, method="mixture", scale=scale, **options)
        close = 1e-10 if "volatility" not in options or "gradient" in options else 1e-6
        assert found.statistics == pytest.approx(sums.sum(axis=0) / np.sqrt(bracket), rel=close)
        assert found.bias == pytest.approx(np.abs((sums - freed).sum(axis=0)) / np.sqrt(bracket), rel=close)
        for k in range(2):
            total, spread = float(sums[:, k].sum()), float(bracket[k])
            mixture = mpmath.quad(
                lambda l, total=total, spread=spread: mpmath.exp(l * total - l**2 * spread / 2) * mpmath.npdf(l, 0, 1 / mpmath.sqrt(scale)),
                [-mpmath.inf, 0, mpmath.inf],
            )
            assert found.p_values[k] == pytest.approx(min(1.0, float(1 / mixture)), rel=1e-5)


def test_p_values_of_the_mixture_are_at_most_one():
    total, bracket = np.array([0.0, 1.0, 40.0]), np.array([5.0, 5.0, 100.0])
    found = room._mixture_p(total, bracket, 2.0)
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2] == pytest.approx(math.sqrt(102.0 / 2.0) * math.exp(-(40.0**2) / (2 * 102.0)))


def test_the_error_of_the_trapezoid_is_that_of_a_parabola():
    """For r = t^2 the trapezoid is off by h^3 / 6 on each step, whether or not the number of steps is even."""
    for steps in (4, 5, 9):
        time = np.linspace(0.0, 2.0, steps + 1)
        paths = random_paths(2, time=time, reward=np.stack([time**2, -3.0 * time**2]))
        off = steps * (2.0 / steps) ** 3 / 6
        assert room._quadrature_error(paths, 0.0, "trapezoid").sum(axis=1) == pytest.approx([off, -3 * off])
    assert room._quadrature_error(random_paths(2, time=TIME[:2]), 0.0, "trapezoid").tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_slopes_and_noise_rates_in_every_shape(dimension):
    """Central differences of a quadratic are exact; the rate is |s' grad J|^2."""
    paths = random_paths(4, dimension, seed=3)
    wide = Paths(paths.time, 50.0 * paths.state, paths.reward)
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(dimension, dimension)), rng.normal(size=dimension)
    a = a + a.T
    quadratic = lambda t, x: np.einsum("pid,de,pie->pi", x, a, x) / 2 + x @ b + 7.0 * t[None, :]  # noqa: E731
    gradient = lambda t, x: x @ a + b  # noqa: E731
    for some in (paths, wide):
        exact = some.state @ a + b
        assert room._slope(quadratic, None, some) == pytest.approx(exact, rel=1e-6, abs=1e-6)
        given = (lambda t, x: gradient(t, x)[:, :, 0]) if dimension == 1 else gradient
        assert np.array_equal(room._slope(quadratic, given, some), exact)
    slope = exact
    for columns in (1, 2):
        matrix = rng.normal(size=(dimension, columns))
        field = rng.normal(size=(*slope.shape, columns))
        assert room._noise_rate(matrix, slope, paths) == pytest.approx(((slope @ matrix) ** 2).sum(axis=2))
        if dimension > 1:
            rate = np.array([[((field[p, i].T @ slope[p, i]) ** 2).sum() for i in range(6)] for p in range(4)])
            assert room._noise_rate(lambda t, x, field=field: field, slope, paths) == pytest.approx(rate)
    each = rng.uniform(0.1, 2.0, size=dimension)
    assert room._noise_rate(1.7, slope, paths) == pytest.approx(1.7**2 * (slope**2).sum(axis=2))
    assert room._noise_rate(each, slope, paths) == pytest.approx(((each * slope) ** 2).sum(axis=2))
    if dimension == 1:
        assert room._noise_rate(lambda t, x: 1.0 + x[:, :, 0] ** 2, slope, paths) == pytest.approx(((1.0 + paths.state**2) * slope)[:, :, 0] ** 2)
    else:
        assert room._noise_rate(lambda t, x: 1.0 + x**2, slope, paths) == pytest.approx((((1.0 + paths.state**2) * slope) ** 2).sum(axis=2))
    with pytest.raises(ValueError, match="volatility must be >= 0, got -1"):
        room._noise_rate(-1.0, slope, paths)
    with pytest.raises(ValueError, match="volatility must be a number, or have shape"):
        room._noise_rate(np.ones((dimension + 1, 2)), slope, paths)


def test_central_differences_are_fine_enough_for_smooth_critics():
    """The width is a ten-thousandth of the spread of the states, or of one: the error is of its square."""
    for size in (0.01, 1.0, 100.0):
        paths = Paths(TIME, size * random_paths(5).state, random_paths(5).reward)
        scale = max(size, 1.0)
        slope = room._slope(lambda t, x, scale=scale: np.exp(np.sin(x[:, :, 0] / scale)), None, paths)[:, :, 0]
        y = paths.state[:, :, 0] / scale
        assert slope == pytest.approx(np.cos(y) * np.exp(np.sin(y)) / scale, abs=3e-8 / scale)


def test_the_effective_number_of_paths_decides_about_the_normal_limit():
    """Trusted are sums of which twenty at least count, and these are little skewed."""
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(90, 40)) + rng.uniform(0, 3, size=40) * rng.exponential(size=(90, 40)) ** rng.uniform(0, 2, size=40)
    expected = [(column**2).sum() ** 2 / (column**4).sum() >= 20.0 for column in sums.T]
    assert 5 < sum(expected) < 35
    edges = np.array([[1.0] * n + [0.0] * (90 - n) for n in (19, 20, 21)]).T
    assert room._near_normal(np.hstack([sums, edges])).tolist() == [*expected, False, True, True]
    for unit in (1e-200, 1e200):
        assert room._near_normal(unit * sums).tolist() == expected
    assert room._near_normal(np.zeros((30, 1))).tolist() == [False]
    for column, trusted in zip(sums.T, expected, strict=True):
        assert not trusted or abs((column**3).sum()) / (column**2).sum() ** 1.5 <= 1 / math.sqrt(20)


def skewed(count: int, excess: int) -> np.ndarray:
    """Return sums of +1 and -1 with a given excess of +1."""
    plus = (count + excess) // 2
    return np.repeat([1.0, -1.0], [plus, count - plus])


def unit_paths(increments: np.ndarray) -> Paths:
    """Return paths of one step whose TD error is given, for the critic that is the state."""
    state = np.stack([np.zeros_like(increments), increments], axis=1)[:, :, None]
    return Paths(np.array([0.0, 1.0]), state, np.zeros((len(increments), 2)))


def identity(time, state):
    return state[:, :, 0]


def ones(time, state):
    return np.ones((*state.shape[:2], 1))


@pytest.mark.parametrize(("excess", "rejected"), [(40, False), (60, True), (-60, True)])
def test_a_rejection_of_even_sums_is_trusted(excess, rejected):
    """Of 400 sums of size one, an excess of 60 is three standard errors."""
    found = test_critic(unit_paths(skewed(400, excess)), identity, tests=ones, alpha=0.01)
    assert found.statistics[0] == pytest.approx(excess / 20.0)
    assert (found.rejected, found.valid) == (rejected, True)
    assert found.warnings == ()


@pytest.mark.parametrize(("count", "verdict"), [(12, "inconclusive"), (19, "inconclusive"), (20, "rejected"), (46, "rejected")])
def test_few_paths_are_doubted(count, verdict):
    """Of equal sums all count, and the statistic is the root of their number."""
    found = test_critic(unit_paths(np.ones(count)), identity, tests=ones)
    assert found.statistics[0] == pytest.approx(math.sqrt(count))
    assert found.verdict == verdict
    assert (len(found.warnings) == 1) == (count < 20)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("alpha", [0.05, 1e-3])
@pytest.mark.parametrize(("factor", "decisive"), [(0.99, False), (1.01, True)])
def test_decisive_statistics_are_counted_at_the_shared_level(count, alpha, factor, decisive):
    """Of one sum of size s and n of size one fewer than twenty count; n is chosen so that the statistic is near 2 sqrt(2 log(2 k / alpha))."""
    statistic = factor * 2.0 * math.sqrt(2.0 * math.log(2.0 * count / alpha))
    n = int(6 * statistic**2)
    size = next(s for s in np.linspace(n, 1.0, 200_001) if (s + n) / math.sqrt(s * s + n) >= statistic)
    increments = np.concatenate([[size], np.ones(n)])
    assert (increments**2).sum() ** 2 < 20 * (increments**4).sum()
    found = test_critic(unit_paths(increments), identity, tests=lambda t, x: np.ones((*x.shape[:2], count)), alpha=alpha)
    assert found.statistics == pytest.approx(np.full(count, statistic), rel=1e-3)
    assert found.rejected
    assert found.valid is decisive
    assert "so skewed or heavy-tailed" in found.warnings[0]


@pytest.mark.parametrize(("times", "trusted"), [(1.9, True), (2.1, False)])
def test_a_grid_is_coarse_where_the_left_sum_is_half_the_bracket(times, trusted):
    """One step with volatility one at its left end: the realised square of the whole is `times` the Riemann sum."""
    rng = np.random.default_rng(1)
    increments = rng.normal(size=50)
    increments *= math.sqrt(50 * times / (increments**2).sum())
    found = test_critic(unit_paths(increments), identity, tests=ones, method="mixture", volatility=1.0, gradient=lambda t, x: np.ones(x.shape[:2]))
    assert found.statistics[0] == pytest.approx(increments.sum() / math.sqrt(50 * times))
    assert any("too coarse for the bracket of test 0" in w for w in found.warnings) != trusted
    known = test_critic(unit_paths(increments), identity, tests=ones, method="mixture", variance=1.0)
    assert known.statistics[0] == pytest.approx(increments.sum() / math.sqrt((50 * times + 2 * 50) / 3))
    assert known.warnings == ()


@pytest.mark.parametrize(("units", "doubted"), [(0.2, False), (0.3, True)])
def test_a_bias_of_a_quarter_of_a_standard_error_is_reported(units, doubted):
    """One reward at the last time: the left rule leaves out half of it."""
    increments = np.repeat([1.0, -1.0], 50)
    paths = unit_paths(increments)
    shift = units * 10.0 / 100.0
    given = Paths(paths.time, paths.state, np.tile([0.0, 2.0 * shift], (100, 1)))
    found = test_critic(given, identity, tests=ones, reward_rule="left")
    assert found.bias[0] == pytest.approx(units)
    assert any("shifts a statistic by about" in w for w in found.warnings) == doubted
    assert found.verdict == "not rejected"


def test_a_rejection_counts_where_the_sums_freed_from_the_rule_reject_too():
    """The left rule adds the whole shift of the first critic and none of the second."""
    increments = np.repeat([1.0, -1.0], 50)
    base = unit_paths(increments)
    caused = Paths(base.time, base.state, np.tile([0.5, -0.5], (100, 1)))
    found = test_critic(caused, identity, tests=ones, reward_rule="left")
    assert (found.rejected, found.valid) == (True, False)
    real = unit_paths(increments + 0.5)
    assert test_critic(real, identity, tests=ones, reward_rule="left").verdict == "rejected"
    single = Paths(real.time, real.state, np.tile([1e-9, 1e-9], (100, 1)))
    unknown = test_critic(single, identity, tests=ones)
    assert unknown.verdict == "inconclusive"
    assert any("cannot be estimated on one step" in w for w in unknown.warnings)
    assert test_critic(real, identity, tests=ones).verdict == "rejected"


@pytest.mark.parametrize("size", [0.1, 300.0])
@pytest.mark.parametrize(("gap", "same"), [(8e-7, True), (1.5e-6, False)])
def test_the_terminal_reward_is_met_up_to_a_millionth(size, gap, same):
    base = random_paths()
    terminal = np.linspace(-size, 0.2 * size, 7)
    state = base.state.copy()
    state[:, -1, 0] = terminal - gap * max(1.0, size) * (np.arange(7) == 2)
    found = test_critic(Paths(TIME, state, base.reward, terminal), identity, tests=ones)
    assert (found.p_value == 0.0 and found.statistics.size == 0) != same
    if not same:
        assert found.verdict == "rejected"
        assert f"differs from the terminal reward by up to {gap * max(1.0, size):.3g}" in found.warnings[0]


def test_no_increments_are_no_evidence():
    found = test_critic(unit_paths(np.zeros(30)), identity, tests=ones)
    assert (found.statistics[0], found.p_values[0], found.bias[0]) == (0.0, 1.0, 0.0)
    assert found.verdict == "not rejected"


def test_p_values_are_shared_among_the_tests():
    paths = unit_paths(skewed(400, 54))
    one = test_critic(paths, identity, tests=ones)
    three = test_critic(paths, identity, tests=lambda t, x: np.ones((*x.shape[:2], 3)))
    assert one.rejected
    assert one.p_value == pytest.approx(2 * stats.norm.sf(2.7))
    assert three.p_value == pytest.approx(3 * one.p_value)
    assert not three.rejected
    assert test_critic(unit_paths(skewed(400, 2)), identity, tests=lambda t, x: np.ones((*x.shape[:2], 3))).p_value == 1.0
