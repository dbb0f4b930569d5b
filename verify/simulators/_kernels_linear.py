"""Kernels of UCRL2-VTR on two-state linear mixtures and of OLSVI.FH on linear models."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled
from verify.simulators._kernels_random import draw, refill

__all__ = ["invert", "olsvi_fh", "ucrl2_vtr"]

BLOCK = 512


@compiled
def invert(matrix: Any, inverse: Any) -> Any:
    """Write the inverse of a positive definite matrix (d, d) and return the logarithm of its determinant, by Cholesky factors."""
    d = matrix.shape[0]
    factor = np.zeros((d, d))
    log_det = 0.0
    for i in range(d):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(total) if i == j else total / factor[j, j]
        log_det += 2.0 * np.log(factor[i, i])
    half = np.zeros((d, d))
    for j in range(d):
        for i in range(j, d):
            total = 1.0 if i == j else 0.0
            for k in range(j, i):
                total -= factor[i, k] * half[k, j]
            half[i, j] = total / factor[i, i]
    for i in range(d):
        for j in range(d):
            total = 0.0
            for k in range(max(i, j), d):
                total += half[k, i] * half[k, j]
            inverse[i, j] = total
    return log_det


@compiled
def _quadratic(matrix: Any, x: Any) -> Any:
    """Return x^T M x."""
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(x.shape[0]):
            total += x[i] * matrix[i, j] * x[j]
    return total


@compiled
def ucrl2_vtr(
    features: Any, theta: Any, cumulative: Any, reward: Any, gain: Any, start: Any, key: Any, steps: Any, delta: Any, diameter: Any,
    ridge: Any, scale: Any, max_sweeps: Any, checkpoints: Any, regret: Any, switches: Any, episode_start: Any, episode_gain: Any,
    episode_ratio: Any, totals: Any,
) -> Any:
    """Run UCRL2-VTR with the Hoeffding radius on a model of two states once; return the number of episodes.

    features (2, A, 2, d): phi(s, a, s'); theta (d,): the truth.  The optimistic kernel of (s, a) is the interval of p(1 | s, a) that
    the ellipsoid around the ridge estimate allows, cut to [0, 1].  episode_ratio (K, 1): distance of the truth from the estimate in
    units of the radius.  totals[0] counts sweeps, totals[1] the episodes whose planning did not reach its tolerance.
    """
    actions, d = features.shape[1], features.shape[3]
    gram = np.zeros((d, d))
    inverse = np.zeros((d, d))
    for i in range(d):
        gram[i, i] = ridge
    moment = np.zeros(d)
    estimate = np.zeros(d)
    off = np.zeros(d)
    x = np.zeros(d)
    low_p = np.zeros((2, actions))
    high_p = np.zeros((2, actions))
    policy = np.zeros(2, np.int64)
    first = np.empty(BLOCK)
    second = np.empty(BLOCK)
    norm = np.sqrt(np.sum(theta**2))
    s = start
    collected = 0.0
    episodes = 0
    mark = 0
    log_det, log_det_start = 0.0, -np.inf
    half_span = 0.0
    projected = np.zeros(d)
    for t in range(steps):
        if log_det - log_det_start > np.log(2.0):
            log_det = invert(gram, inverse)
            log_det_start = log_det
            for i in range(d):
                estimate[i] = 0.0
                for j in range(d):
                    estimate[i] += inverse[i, j] * moment[j]
                off[i] = estimate[i] - theta[i]
            radius = diameter * np.sqrt(d * np.log((ridge + (t + 1) * diameter**2) / (delta * ridge))) + np.sqrt(ridge) * norm
            radius *= scale
            for i in range(2):
                for a in range(actions):
                    # 2 p(1|s, a) = 1 + <theta, phi(., 1) - phi(., 0)>: the regressors only ever point along such differences.
                    centre = 0.5
                    for j in range(d):
                        x[j] = 0.5 * (features[i, a, 1, j] - features[i, a, 0, j])
                        centre += estimate[j] * x[j]
                    width = radius * np.sqrt(_quadratic(inverse, x))
                    low_p[i, a] = min(1.0, max(0.0, centre - width))
                    high_p[i, a] = max(0.0, min(1.0, centre + width))
            u0, u1 = 0.0, 0.0
            low, high = 0.0, 0.0
            sweeps = 0
            while sweeps < max_sweeps:
                sweeps += 1
                new0, new1 = -np.inf, -np.inf
                for a in range(actions):
                    p0 = high_p[0, a] if u1 >= u0 else low_p[0, a]
                    p1 = high_p[1, a] if u1 >= u0 else low_p[1, a]
                    q0 = reward[0, a] + (1.0 - p0) * u0 + p0 * u1
                    q1 = reward[1, a] + (1.0 - p1) * u0 + p1 * u1
                    if q0 > new0:
                        new0 = q0
                        policy[0] = a
                    if q1 > new1:
                        new1 = q1
                        policy[1] = a
                low = min(new0 - u0, new1 - u1)
                high = max(new0 - u0, new1 - u1)
                half_span = 0.5 * (u1 - u0)
                if high - low < 1.0 / np.sqrt(t + 1.0):
                    break
                # Half of the old value keeps periodic optimistic models from oscillating; the fixed direction is the same.
                u0, u1 = 0.5 * (u0 + new0), 0.5 * (u1 + new1)
                u1 -= u0
                u0 = 0.0
            half_span = min(half_span, 0.5 * diameter)
            half_span = max(half_span, -0.5 * diameter)
            totals[0] += sweeps
            if high - low >= 1.0 / np.sqrt(t + 1.0):
                totals[1] += 1
            episode_start[episodes] = t + 1
            episode_gain[episodes] = low
            episode_ratio[episodes, 0] = np.sqrt(_quadratic(gram, off)) / radius
            episodes += 1
        if t % BLOCK == 0:
            refill(key, t, first, second)
        a = policy[s]
        k = draw(cumulative[s, a], first[t % BLOCK])
        collected += reward[s, a]
        goal = half_span if k == 1 else -half_span
        for i in range(d):
            x[i] = half_span * (features[s, a, 1, i] - features[s, a, 0, i])
        growth = 0.0
        for i in range(d):
            projected[i] = 0.0
            for j in range(d):
                projected[i] += inverse[i, j] * x[j]
            growth += x[i] * projected[i]
        for i in range(d):
            moment[i] += goal * x[i]
            for j in range(d):
                gram[i, j] += x[i] * x[j]
                inverse[i, j] -= projected[i] * projected[j] / (1.0 + growth)
        log_det += np.log1p(growth)
        if (t + 1) % 1000 == 0:
            log_det = invert(gram, inverse)
        s = k
        if t + 1 == checkpoints[mark]:
            regret[mark] = (t + 1) * gain - collected
            switches[mark] = episodes
            mark += 1
    return episodes


@compiled
def olsvi_fh(
    features: Any, cumulative: Any, reward: Any, gain: Any, start: Any, key: Any, steps: Any, horizon: Any, bonus: Any, ridge: Any,
    checkpoints: Any, regret: Any, switches: Any, optimism: Any,
) -> Any:
    """Run OLSVI.FH once (episodes of `horizon` steps, data of all stages pooled); return the number of episodes.

    features (S, A, d).  optimism (K,): optimistic value of the first state of each episode divided by the horizon.
    """
    states, actions, d = features.shape
    counts = np.zeros((states, actions, states))
    gram = np.zeros((d, d))
    for i in range(d):
        gram[i, i] = ridge
    inverse = np.zeros((d, d))
    weight = np.zeros(d)
    moment = np.zeros(d)
    width = np.zeros((states, actions))
    value = np.zeros(states)
    policy = np.zeros((horizon, states), np.int64)
    first = np.empty(BLOCK)
    second = np.empty(BLOCK)
    s = start
    collected = 0.0
    episodes = 0
    mark = 0
    for t in range(steps):
        h = t % horizon
        if h == 0:
            invert(gram, inverse)
            for i in range(states):
                value[i] = 0.0
                for a in range(actions):
                    width[i, a] = bonus * np.sqrt(_quadratic(inverse, features[i, a]))
            for stage in range(horizon - 1, -1, -1):
                for j in range(d):
                    moment[j] = 0.0
                for i in range(states):
                    for a in range(actions):
                        total = 0.0
                        for k in range(states):
                            total += counts[i, a, k] * (reward[i, a] + value[k])
                        for j in range(d):
                            moment[j] += features[i, a, j] * total
                for i in range(d):
                    weight[i] = 0.0
                    for j in range(d):
                        weight[i] += inverse[i, j] * moment[j]
                for i in range(states):
                    top = -np.inf
                    for a in range(actions):
                        q = width[i, a]
                        for j in range(d):
                            q += weight[j] * features[i, a, j]
                        q = min(q, float(horizon - stage))
                        if q > top:
                            top = q
                            policy[stage, i] = a
                    value[i] = top
            if episodes < optimism.shape[0]:
                optimism[episodes] = value[s] / horizon
            episodes += 1
        if t % BLOCK == 0:
            refill(key, t, first, second)
        a = policy[h, s]
        k = draw(cumulative[s, a], first[t % BLOCK])
        collected += reward[s, a]
        counts[s, a, k] += 1.0
        for i in range(d):
            for j in range(d):
                gram[i, j] += features[s, a, i] * features[s, a, j]
        s = k
        if t + 1 == checkpoints[mark]:
            regret[mark] = (t + 1) * gain - collected
            switches[mark] = episodes
            mark += 1
    return episodes
