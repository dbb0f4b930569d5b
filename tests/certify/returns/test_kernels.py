"""Compiled sweeps against plain loops in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction as F
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.returns import _kernels as kernels

MODES = {"nearest": kernels.NEAREST, "down": kernels.DOWN, "up": kernels.UP, "linear": kernels.LINEAR}


def small_model(rng, S=3, A=2, B=2, spread=6, denominator=4):
    """Padded arrays with probabilities k/8 and rewards in quarters; some actions do not exist."""
    count = rng.integers(0, B + 1, (S, A))
    count[:, 0] = np.maximum(count[:, 0], 1)
    prob, rew, succ = np.zeros((S, A, B)), np.zeros((S, A, B)), np.zeros((S, A, B), dtype=np.int64)
    for s in range(S):
        for a in range(A):
            n = int(count[s, a])
            if n:
                cuts = np.sort(rng.choice(np.arange(1, 8), n - 1, replace=False))
                prob[s, a, :n] = np.diff(np.concatenate([[0], cuts, [8]])) / 8.0
            rew[s, a] = rng.integers(-spread, spread + 1, B) / denominator  # padding holds numbers that must not be read
            succ[s, a] = rng.integers(0, S, B)
    return succ, prob, rew, count.astype(np.int64)


def reference_sweep(succ, prob, rew, count, gamma, following, here, there, slopes, means, mode):
    """V(s, c) = gamma max_a sum P V'(s', (c + r)/gamma) in rationals, with the value of every action."""
    S, A = count.shape
    origin, step, N = here
    next_origin, next_step = there
    M = following.shape[1]
    table = [[[None] * A for _ in range(N)] for _ in range(S)]
    for s in range(S):
        for i in range(N):
            for a in range(A):
                if count[s, a] == 0:
                    continue
                total = F(0)
                for b in range(count[s, a]):
                    t = int(succ[s, a, b])
                    c = (origin + step * i + F(rew[s, a, b])) / gamma
                    z = (c - next_origin) / next_step
                    v = [F(x) for x in following[t]]
                    if z < 0 or z > M - 1:
                        side = 0 if z < 0 else 1
                        value = slopes[side] * (c + F(means[side][t]))
                    elif mode == "linear":
                        j = min(floor(z), M - 2)
                        value = v[j] + (z - j) * (v[j + 1] - v[j])
                    elif mode == "down":
                        value = v[floor(z)]
                    elif mode == "up":
                        value = v[ceil(z)]
                    else:
                        value = v[ceil(z - F(1, 2))]  # a half goes down
                    total += F(prob[s, a, b]) * value
                table[s][i][a] = gamma * total
    return table


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from(sorted(MODES)), st.sampled_from([F(1, 2), F(1, 4), F(1)]), st.sampled_from([(1, 0), (0, 1), (-1, 2), (3, -1)]))
def test_value_sweep(seed: int, mode: str, gamma: F, slopes: tuple[int, int]) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    succ, prob, rew, count = small_model(rng)
    N, M = int(rng.integers(1, 14)), int(rng.integers(2, 12))
    here = (F(int(rng.integers(-12, 4)), 4), F(int(rng.integers(1, 4)), 4), N)
    there = (F(int(rng.integers(-16, 4)), 4), F(2 ** int(rng.integers(0, 3)), 2))
    following = rng.integers(-40, 41, (3, M)) / 4.0
    means = rng.integers(-8, 9, (2, 3)) / 4.0
    out, action = np.full((3, N), np.nan), np.full((3, N), -1, dtype=np.int16)
    kernels.value_sweep(
        out, action, succ, prob, rew, count, float(gamma), following, float(here[0]), float(here[1]), float(there[0]), float(there[1]),
        float(slopes[0]), float(slopes[1]), means[0], means[1], MODES[mode],
    )  # fmt: skip
    table = reference_sweep(succ, prob, rew, count, gamma, following, here, there, slopes, means, mode)
    for s in range(3):
        for i in range(N):
            values = table[s][i]
            best = max(v for v in values if v is not None)
            assert abs(F(out[s, i]) - best) <= F(1, 10**12)
            assert action[s, i] == values.index(best)


@pytest.mark.parametrize(("mode", "shift", "node"), [
    ("down", 1e-10, 2), ("down", -0.7e-9, 2), ("down", -1.5e-9, 1), ("up", 0.7e-9, 2), ("up", -1e-10, 2), ("up", 1.5e-9, 3),
    ("nearest", 0.5, 2), ("nearest", 0.5 + 0.7e-9, 2), ("nearest", 0.5 + 1.5e-9, 3), ("nearest", -0.5, 1), ("nearest", -0.5 + 1e-7, 2),
])  # fmt: skip
def test_a_stock_beside_a_node_is_read_as_the_node(mode: str, shift: float, node: int) -> None:
    out, action = np.empty((1, 1)), np.empty((1, 1), dtype=np.int16)
    following = np.array([[10.0, 20.0, 30.0, 40.0]])
    one = np.ones((1, 1, 1))
    kernels.value_sweep(
        out, action, np.zeros((1, 1, 1), dtype=np.int64), one, 0.0 * one, np.ones((1, 1), dtype=np.int64), 1.0, following, 2.0 + shift, 1.0, 0.0, 1.0,
        0.0, 0.0, np.zeros(1), np.zeros(1), MODES[mode],
    )  # fmt: skip
    assert out[0, 0] == following[0, node]


@pytest.mark.parametrize(("stock", "value"), [(-0.7e-9, 10.0), (-1.5e-9, -7.0), (3.0 + 0.7e-9, 40.0), (3.0 + 1.5e-9, 7.0)])
def test_the_closed_form_begins_where_the_nodes_end(stock: float, value: float) -> None:
    out, action = np.empty((1, 1)), np.empty((1, 1), dtype=np.int16)
    one = np.ones((1, 1, 1))
    kernels.value_sweep(
        out, action, np.zeros((1, 1, 1), dtype=np.int64), one, 0.0 * one, np.ones((1, 1), dtype=np.int64), 1.0, np.array([[10.0, 20.0, 30.0, 40.0]]),
        stock, 1.0, 0.0, 1.0, 1.0, 1.0, np.array([-7.0]), np.array([4.0]), kernels.NEAREST,
    )  # fmt: skip
    assert out[0, 0] == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(
    ("gain", "level", "action"), [(0.75e-12, 0.0, 0), (1.5e-12, 0.0, 1), (0.75e-9, 1000.0, 0), (1.5e-9, -1000.0, 1), (0.75e-9, -1000.0, 0)]
)
def test_actions_tie_within_the_stated_width(gain: float, level: float, action: int) -> None:
    out, chosen = np.empty((1, 1)), np.empty((1, 1), dtype=np.int16)
    rew = np.array([[[level], [level + gain]]])
    ones, where = np.ones((1, 2, 1)), np.zeros((1, 2, 1), dtype=np.int64)
    kernels.value_sweep(
        out, chosen, where, ones, rew, np.ones((1, 2), dtype=np.int64), 1.0, np.zeros((1, 2)), 0.0, 1.0, 5000.0, 1.0, 1.0, 1.0, np.zeros(1), np.zeros(1), 0
    )
    assert chosen[0, 0] == action
    assert out[0, 0] == level + gain  # the value is the best one all the same


def projected(points, grid):
    """The categorical projection of weighted points in rationals: masses, and for each point what projecting it adds (E xi^2, E |xi|)."""
    masses, squares, absolute, lost = [F(0)] * len(grid), F(0), F(0), F(0)
    for x, p in points:
        if x <= grid[0] or x >= grid[-1]:
            end = 0 if x <= grid[0] else len(grid) - 1
            masses[end] += p
            absolute += p * abs(x - grid[end])
            lost += p if x != grid[end] else 0
            continue
        j = max(k for k in range(len(grid) - 1) if grid[k] <= x)
        up = (x - grid[j]) / (grid[j + 1] - grid[j])
        for k, share in ((j, 1 - up), (j + 1, up)):
            masses[k] += p * share
            squares += p * share * (grid[k] - x) ** 2
            absolute += p * share * abs(grid[k] - x)
    return masses, squares, absolute, lost


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([F(1, 2), F(3, 4), F(1)]), st.booleans())
def test_law_sweep(seed: int, gamma: F, wide: bool) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    succ, prob, rew, count = small_model(rng)
    K = int(rng.integers(2, 8))
    grid = np.sort(rng.choice(np.arange(-32, 33), K, replace=False)) / 4.0
    if wide:
        grid[0], grid[-1] = -20.0, 20.0
    law = rng.dirichlet(np.ones(K), 3)
    weight = np.where(count > 0, rng.integers(0, 3, count.shape), 0) / 4.0
    old_noise, old_drift = rng.random(3), rng.random(3)
    out, noise, drift, clipped = np.empty((3, K)), np.empty(3), np.empty(3), np.empty(3)
    kernels.law_sweep(out, noise, drift, clipped, weight, succ, prob, rew, count, float(gamma), law, old_noise, old_drift, grid)
    z = [F(x) for x in grid]
    for s in range(3):
        points, squares, absolute = [], F(0), F(0)
        for a in range(2):
            for b in range(count[s, a]):
                w, t = F(weight[s, a]) * F(prob[s, a, b]), int(succ[s, a, b])
                points += [(F(rew[s, a, b]) + gamma * z[k], w * F(law[t, k])) for k in range(K)]
                squares += w * gamma**2 * F(old_noise[t])
                absolute += w * gamma * F(old_drift[t])
        masses, more_squares, more_absolute, lost = projected(points, z)
        assert out[s] == pytest.approx([float(m) for m in masses], abs=1e-13)
        assert noise[s] == pytest.approx(float(squares + more_squares), abs=1e-12)
        assert drift[s] == pytest.approx(float(absolute + more_absolute), abs=1e-12)
        assert clipped[s] == pytest.approx(float(lost), abs=1e-13)


@pytest.mark.parametrize(("outside", "lost"), [(0.75e-12, 0.0), (1.5e-12, 1.0)])
@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (-8.0, 0.25), (-0.25, 8.0)])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_what_leaves_a_grid_by_rounding_is_not_clipped(low: float, high: float, side: float, outside: float, lost: float) -> None:
    scale = max(1.0, abs(low), abs(high))
    end = high if side > 0 else low
    one, grid = np.ones((1, 1, 1)), np.array([low, high])
    out, noise, drift, clipped = np.empty((1, 2)), np.empty(1), np.empty(1), np.empty(1)
    law = np.array([[0.0, 1.0]]) if side > 0 else np.array([[1.0, 0.0]])
    model = (np.zeros((1, 1, 1), dtype=np.int64), one, side * outside * scale * one, np.ones((1, 1), dtype=np.int64))
    kernels.law_sweep(out, noise, drift, clipped, np.ones((1, 1)), *model, 1.0, law, np.zeros(1), np.zeros(1), grid)
    assert clipped[0] == lost
    assert drift[0] == pytest.approx(abs((end + side * outside * scale) - end), rel=1e-9)
    assert out.tolist() == law.tolist()


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_project_rows(seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    grid = np.sort(rng.choice(np.arange(-16, 17), int(rng.integers(2, 7)), replace=False)) / 4.0
    x, p = rng.integers(-40, 41, (2, 5)) / 8.0, rng.integers(0, 9, (2, 5)) / 8.0
    rows = kernels.project_rows(x, p, grid)
    for i in range(2):
        masses, *_ = projected([(F(a), F(b)) for a, b in zip(x[i], p[i], strict=True)], [F(g) for g in grid])
        assert rows[i] == pytest.approx([float(m) for m in masses], abs=1e-14)


def mid_quantiles(points, m):
    """Left-continuous inverses at (2i - 1)/(2m) in rationals."""
    points = sorted((x, p) for x, p in points if p > 0)
    found = []
    for i in range(1, m + 1):
        mass = F(0)
        for x, p in points:
            mass += p
            if mass >= F(2 * i - 1, 2 * m):
                found.append(x)
                break
    return found


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4, 8]), st.sampled_from([F(1, 2), F(1)]))
def test_quantile_sweep(seed: int, m: int, gamma: F) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    succ, prob, rew, count = small_model(rng)
    weight = np.zeros(count.shape)
    for s in range(3):
        allowed = np.flatnonzero(count[s])
        weight[s, allowed] = 1.0 if allowed.size == 1 else np.array([0.25, 0.75])
    law = np.sort(rng.integers(-16, 17, (3, m)) / 4.0, axis=1)
    out = np.empty((3, m))
    kernels.quantile_sweep(out, weight, succ, prob, rew, count, float(gamma), law)
    for s in range(3):
        points = []
        for a in range(2):
            for b in range(count[s, a]):
                points += [(F(rew[s, a, b]) + gamma * F(x), F(weight[s, a]) * F(prob[s, a, b]) / m) for x in law[succ[s, a, b]]]
        assert out[s].tolist() == [float(x) for x in mid_quantiles(points, m)]


@pytest.mark.parametrize(("short", "picked"), [(0.7e-13, 0.0), (1.5e-13, 1.0)])
def test_a_level_reached_by_rounding_counts_as_reached(short: float, picked: float) -> None:
    out = np.empty((1, 1))
    kernels.pick_quantiles(out, np.array([[0.0, 1.0]]), np.array([[0.5 - short, 0.5 + short]]))
    assert out[0, 0] == picked
