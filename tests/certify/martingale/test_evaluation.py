"""The algorithms of policy evaluation against plain twins: sums over paths and steps, and updates written as in the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from certify.martingale import evaluate
from certify.martingale.evaluation import step_rewards, td_errors
from mdps.diffusions import OrnsteinUhlenbeck, Paths, variables
from mdps.diffusions.paths import CHUNK

T, X = variables()
TIME = np.array([0.5, 0.7, 1.1, 1.2, 2.0])
BETA = 0.8


def random_paths(count: int = 6, *, terminal: bool = False, seed: int = 0) -> Paths:
    """Return paths on uneven times that do not start at zero."""
    rng = np.random.default_rng(seed)
    state, reward = rng.normal(size=(count, 5, 1)), rng.normal(size=(count, 5))
    return Paths(TIME, state, reward, rng.normal(size=count)) if terminal else Paths(TIME, state, reward)


def features(time, state):
    """Return two features that vanish at the last time."""
    left = (2.0 - time)[None, :]
    return np.stack([left * state[:, :, 0] ** 2, left * np.cos(state[:, :, 0])], axis=2)


def step_reward(reward, i, dt, rule):
    return reward[i] * dt if rule == "left" else dt * (reward[i] + np.exp(-BETA * dt) * reward[i + 1]) / 2


@pytest.mark.parametrize("rule", ["left", "trapezoid"])
def test_td_errors_are_their_definition(rule):
    paths = random_paths()
    values = np.random.default_rng(1).normal(size=(6, 5))
    rewards, errors = step_rewards(paths.reward, np.diff(TIME), BETA, rule), td_errors(values, paths.reward, TIME, BETA, rule)
    for p in range(6):
        for i in range(4):
            dt = TIME[i + 1] - TIME[i]
            gained = step_reward(paths.reward[p], i, dt, rule)
            assert rewards[p, i] == pytest.approx(gained, abs=1e-15)
            assert errors[p, i] == pytest.approx(np.exp(-BETA * dt) * values[p, i + 1] - values[p, i] + gained, abs=1e-14)


def pieces(paths: Paths, rule: str, discounted: bool, psi=None):
    """Return phi (n, N + 1, k), dt, decay, weight (N,), slopes (n, N, k) and constants (n, N) of the TD errors."""
    phi = features(paths.time, paths.state)
    dt = np.array([TIME[i + 1] - TIME[i] for i in range(4)])
    decay = np.array([np.exp(-BETA * d) for d in dt])
    weight = np.array([np.exp(-BETA * (TIME[i] - TIME[0])) if discounted else 1.0 for i in range(4)])
    offset = np.zeros((paths.count, 5)) if psi is None else psi(paths.time, paths.state)
    if psi is None and paths.terminal is not None:
        offset[:, 4] = paths.terminal
    slope = np.array([[[decay[i] * phi[p, i + 1, c] - phi[p, i, c] for c in range(2)] for i in range(4)] for p in range(paths.count)])
    constant = np.array(
        [[step_reward(paths.reward[p], i, dt[i], rule) + decay[i] * offset[p, i + 1] - offset[p, i] for i in range(4)] for p in range(paths.count)]
    )
    return phi, dt, decay, weight, slope, constant


@pytest.mark.parametrize("rule", ["left", "trapezoid"])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("discounted", [None, False, True])
def test_clstd_solves_its_normal_equations(rule, terminal, discounted):
    paths = random_paths(20, terminal=terminal)
    kept = terminal if discounted is None else discounted
    phi, _, _, weight, slope, constant = pieces(paths, rule, kept)
    a, b = np.zeros((2, 2)), np.zeros(2)
    for p in range(20):
        for i in range(4):
            a -= weight[i] * np.outer(phi[p, i], slope[p, i])
            b += weight[i] * phi[p, i] * constant[p, i]
    found = evaluate(paths, features, method="clstd", discount=BETA, reward_rule=rule, discounted=discounted)
    assert found.theta == pytest.approx(np.linalg.solve(a, b), rel=1e-11)
    size = np.sqrt(np.abs(np.diag(a)))
    assert found.condition == pytest.approx(np.linalg.cond(a / np.outer(size, size)))
    assert (found.rank, found.ridge, found.episodes, found.history.shape) == (2, 0.0, 20, (0, 2))
    assert evaluate(paths, features, method="lstd", discount=BETA, reward_rule=rule, discounted=discounted).method == "clstd"


def test_an_offset_shifts_the_equations():
    paths = random_paths(20)
    given = Paths(paths.time, paths.state, paths.reward, np.sin(paths.state[:, -1, 0]))
    psi = lambda t, x: t[None, :] * np.sin(x[:, :, 0]) / 2.0  # noqa: E731
    phi, _, _, weight, slope, constant = pieces(given, "trapezoid", True, psi)
    a, b = -np.einsum("i,pia,pib->ab", weight, phi[:, :4], slope), np.einsum("i,pia,pi->a", weight, phi[:, :4], constant)
    assert evaluate(given, features, method="clstd", discount=BETA, offset=psi).theta == pytest.approx(np.linalg.solve(a, b), rel=1e-11)


def twin(paths, method, slow, fast, *, discounted, rule="left", trace=0.0, online=False, initial=(0.0, 0.0), epochs=1):
    """Run the updates as they are defined, with sums over a path written out."""
    phi, dt, decay, weight, slope, constant = pieces(paths, rule, discounted)
    theta, u, history = np.array(initial, dtype=float), np.zeros(2), []
    for e in range(epochs * paths.count):
        p = e % paths.count
        start, moves = theta.copy(), []
        for i in range(4):
            now = theta if online else start
            error = constant[p, i] + slope[p, i] @ now
            if method == "ctd0":
                move = weight[i] * phi[p, i] * error
            elif method in ("ctd-lambda", "martingale-loss"):
                memory = 1.0 if method == "martingale-loss" else trace
                z = np.zeros(2)
                for j in range(i + 1):
                    kept = 1.0 if discounted else np.exp(-BETA * (TIME[i] - TIME[j]))
                    z += weight[j] * phi[p, j] * dt[j] * memory ** (TIME[i] - TIME[j]) * kept
                move = z * weight[i] * error
            else:
                guess = phi[p, i] @ u
                if method == "tdc":
                    move = weight[i] * (phi[p, i] * error - decay[i] * phi[p, i + 1] * guess * dt[i])
                else:
                    move = -weight[i] * slope[p, i] * guess
                shrink = u if method == "cgtd" else phi[p, i] * guess
                u = u + fast[e] * (weight[i] * phi[p, i] * error - shrink * dt[i])
            moves.append(move)
            if online:
                theta = theta + slow[e] * move
        if not online:
            theta = start + slow[e] * sum(moves)
        history.append(theta)
    return np.array(history)


@pytest.mark.parametrize(
    ("method", "extra"),
    [
        ("ctd0", {}), ("ctd0", {"online": True}), ("ctd-lambda", {"trace": 0.3}), ("ctd-lambda", {"trace": 0.3, "online": True}), ("ctd-lambda", {"trace": 1.0}),
        ("martingale-loss", {}), ("cgtd", {}), ("cgtd2", {}), ("tdc", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("discounted", [False, True])
@pytest.mark.parametrize("rule", ["left", "trapezoid"])
def test_stochastic_updates_are_their_definitions(method, extra, discounted, rule):
    paths = random_paths(terminal=True)
    slow, fast = 0.05 / (1.0 + np.arange(12)), 0.2 / (2.0 + np.arange(12))
    second = {} if method in ("ctd0", "ctd-lambda", "martingale-loss") else {"second_step": lambda k: 0.2 / (2.0 + k)}
    options = {"discounted": discounted, "initial": (0.3, -0.6), "epochs": 2, **extra}
    found = evaluate(paths, features, method=method, step=lambda k: 0.05 / (1.0 + k), discount=BETA, reward_rule=rule, **second, **options)
    expected = twin(paths, method, slow, fast, rule=rule, **options)
    assert found.history == pytest.approx(expected, rel=1e-11, abs=1e-13)
    assert found.theta == pytest.approx(expected[-1], rel=1e-11)
    assert (found.episodes, found.rank, found.ridge) == (12, 2, 0.0)
    assert np.isnan(found.condition)


def test_defaults_of_the_stochastic_methods():
    """The fast step is ten times the slow one, the start is zero, and the factor of discounting is kept with a terminal reward only."""
    for terminal in (False, True):
        paths = random_paths(terminal=terminal)
        slow = np.full(6, 0.02)
        found = evaluate(paths, features, method="cgtd", step=0.02, discount=BETA)
        assert found.history == pytest.approx(twin(paths, "cgtd", slow, 10 * slow, rule="trapezoid", discounted=terminal), rel=1e-11, abs=1e-13)


def test_a_trace_of_zero_is_ctd0():
    paths = random_paths()
    lazy, plain = evaluate(paths, features, method="ctd-lambda", trace=0.0, step=0.1), evaluate(paths, features, method="ctd0", step=0.1)
    assert np.array_equal(lazy.history, plain.history)
    assert lazy.method == "ctd0"


@pytest.mark.parametrize(("end", "vanishes"), [(8e-10, True), (1.5e-9, False)])
@pytest.mark.parametrize("method", ["clstd", "martingale-loss", "ctd0"])
def test_features_vanish_up_to_a_billionth_of_their_size(end, vanishes, method):
    paths = random_paths(terminal=True)

    size = np.abs(features(paths.time, paths.state)[:, :, 1]).max()

    def nearly(time, state):
        values = features(time, state)
        values[:, :, 1] *= 1e4 / size
        values[:, -1, 1] = np.where(state[:, -1, 0] == paths.state[2, -1, 0], -1e4 * end, 0.0)
        return values

    options = {} if method == "clstd" else {"step": 1e-12}
    if vanishes:
        assert np.isfinite(evaluate(paths, nearly, method=method, **options).theta).all()
    else:
        with pytest.raises(ValueError, match=r"where the terminal reward is received, feature 1 is up to 1.5e-05 there"):
            evaluate(paths, nearly, method=method, **options)


@pytest.mark.parametrize(("gap", "fits"), [(8e-7, True), (1.5e-6, False)])
@pytest.mark.parametrize("size", [0.1, 100.0])
def test_offsets_meet_the_terminal_reward_up_to_a_millionth(gap, fits, size):
    """Of its largest size, or of one."""
    paths = random_paths()
    terminal = np.linspace(-size, 0.5 * size, 6)
    given = Paths(paths.time, paths.state, paths.reward, terminal)

    def psi(time, state):
        values = np.zeros(state.shape[:2])
        for x, h in zip(paths.state[:, -1, 0], terminal - gap * max(1.0, size) * (np.arange(6) == 3), strict=True):
            values[state[:, -1, 0] == x, -1] = h
        return values

    if fits:
        assert evaluate(given, features, method="clstd", offset=psi).rank == 2
    else:
        with pytest.raises(ValueError, match="offset must equal the terminal reward"):
            evaluate(given, features, method="clstd", offset=psi)


def test_many_paths_are_summed_in_chunks():
    """The last chunk holds one path, and threads change no bit."""
    model = OrnsteinUhlenbeck(1.0, 0.7, 0.5)
    paths = model.sample(paths=2 * CHUNK + 1, steps=2, duration=1.0, seed=3)
    found = evaluate(paths, [X**2, X**0], method="clstd", discount=0.5, jobs=1)
    decay = np.exp(-0.5 * 0.5)
    phi = np.stack([paths.state[:, :, 0] ** 2, np.ones((paths.count, 3))], axis=2)
    gained = 0.25 * (paths.reward[:, :-1] + decay * paths.reward[:, 1:])
    a = np.einsum("pia,pib->ab", phi[:, :-1], phi[:, :-1] - decay * phi[:, 1:])
    assert found.theta == pytest.approx(np.linalg.solve(a, np.einsum("pia,pi->a", phi[:, :-1], gained)), rel=1e-9)
    for jobs in (2, None):
        assert np.array_equal(evaluate(paths, [X**2, X**0], method="clstd", discount=0.5, jobs=jobs).theta, found.theta)


@pytest.mark.parametrize(("tilt", "ridge", "rank"), [(1e-3, 0.0, 2), (4e-5, 0.0, 2), (0.0, 1e-10, 1)])
def test_nearly_parallel_features_are_fitted_with_a_ridge(tilt, ridge, rank):
    """The condition of two features that differ by a tilt is of the size of its inverse square."""
    paths = random_paths(40, seed=4)

    def pair(time, state):
        base = (2.0 - time)[None, :] * state[:, :, 0]
        return np.stack([base, 50.0 * base * (1.0 + tilt * np.sign(np.sin(9.0 * state[:, :, 0])))], axis=2)

    found = evaluate(paths, pair, method="clstd", discount=BETA)
    assert (found.condition > 1e10) == (tilt == 0.0)
    assert (found.ridge, found.rank) == (ridge, rank)
    if tilt == 0.0:
        one = evaluate(paths, lambda t, x: pair(t, x)[:, :, :1], method="clstd", discount=BETA).theta[0]
        assert found.theta[0] + 50.0 * found.theta[1] == pytest.approx(one, rel=1e-8)
        assert found.theta[0] == pytest.approx(50.0 * found.theta[1], rel=1e-2)


def test_a_feature_that_is_nothing_gets_nothing():
    paths = random_paths(20)
    found = evaluate(paths, lambda t, x: np.concatenate([features(t, x), np.zeros((*x.shape[:2], 1))], axis=2), method="clstd", discount=BETA)
    assert found.theta[2] == 0.0
    assert found.theta[:2] == pytest.approx(evaluate(paths, features, method="clstd", discount=BETA).theta, rel=1e-6)
    assert (found.rank, found.ridge) == (2, 1e-10)
