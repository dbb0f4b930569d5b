"""Kernels of UCRL2: extended value iteration and the run itself (Jaksch, Ortner, Auer 2010, figures 1 and 2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled
from verify.simulators._kernels_random import guide, refill

__all__ = ["extended_value_iteration", "ucrl2"]

BLOCK = 512
"""Steps whose random numbers are drawn at once."""


@compiled
def extended_value_iteration(p_hat: Any, rewards: Any, widths: Any, tolerance: Any, max_sweeps: Any, policy: Any) -> Any:
    """Fill `policy` with the optimistic policy and return (least increment, largest increment, sweeps) of the last sweep.

    Every sweep reads the previous values only (Jacobi) and starts each inner maximum from `p_hat` again: moving half the width onto
    the best state and taking it from the worst ones is exact for a fixed value vector and wrong for any other.
    """
    states, actions = rewards.shape
    u = np.zeros(states)
    new = np.zeros(states)
    order = np.arange(states)
    low, high = 0.0, 0.0
    for sweep in range(max_sweeps):
        for i in range(1, states):
            index = order[i]
            j = i - 1
            while j >= 0 and u[order[j]] < u[index]:
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = index
        best = order[0]
        low, high = np.inf, -np.inf
        for s in range(states):
            top = -np.inf
            chosen = 0
            for a in range(actions):
                total = 0.0
                for k in range(states):
                    total += p_hat[s, a, k] * u[k]
                moved = min(0.5 * widths[s, a], 1.0 - p_hat[s, a, best])
                total += moved * u[best]
                place = states - 1
                while moved > 0.0 and place > 0:
                    worst = order[place]
                    taken = min(moved, p_hat[s, a, worst])
                    total -= taken * u[worst]
                    moved -= taken
                    place -= 1
                total += rewards[s, a]
                if total > top:
                    top = total
                    chosen = a
            new[s] = top
            policy[s] = chosen
            low = min(low, top - u[s])
            high = max(high, top - u[s])
        if high - low < tolerance:
            return low, high, sweep + 1
        base = new[best]
        for s in range(states):
            u[s] = new[s] - base
    return low, high, max_sweeps


@compiled
def ucrl2(
    transition: Any, cumulative: Any, reward: Any, gain: Any, bernoulli: Any, start: Any, key: Any, steps: Any, delta: Any,
    state_factor: Any, max_sweeps: Any, checkpoints: Any, regret: Any, switches: Any, episode_start: Any, episode_gain: Any,
    episode_ratio: Any, totals: Any,
) -> Any:
    """Run UCRL2 once; return the number of episodes.

    Shapes: transition, cumulative (S, A, S); reward (S, A); checkpoints, regret, switches (C,); episode_start, episode_gain (K,);
    episode_ratio (K, 2): the largest deviation of the estimate from the truth in units of its confidence width, for transitions
    and rewards.  totals[0] counts sweeps, totals[1] the episodes whose planning did not reach its tolerance.
    """
    states, actions = reward.shape
    counts = np.zeros((states, actions, states))
    visits = np.zeros((states, actions))
    sums = np.zeros((states, actions))
    p_hat = np.zeros((states, actions, states))
    optimistic = np.zeros((states, actions))
    widths = np.zeros((states, actions))
    policy = np.zeros(states, np.int64)
    table = guide(cumulative)
    cells = table.shape[2]
    # What an episode needs, by state alone, for the actions of its policy.  Indices are unsigned: Numba would test signed ones for < 0.
    cell = np.zeros((states, cells), np.uint64)
    row = np.full((states, states), np.inf)
    mean = np.zeros(states)
    quota = np.zeros(states, np.int64)
    left = np.zeros(states, np.int64)
    won = np.zeros(states, np.int64)
    seen = np.zeros((states, states), np.int64)
    one = np.uint64(1)
    first = np.empty(BLOCK)
    second = np.empty(BLOCK)
    drawn = 0
    s = np.uint64(start)
    collected = 0.0
    episodes = 0
    mark = 0
    t = 0
    while t < steps:
        now = t + 1
        log_r = np.log(2.0 * states * actions * now / delta)
        log_p = np.log(2.0 * actions * now / delta)
        worst_p, worst_r = 0.0, 0.0
        for i in range(states):
            for a in range(actions):
                n = max(1.0, visits[i, a])
                average = sums[i, a] / n
                width_r = np.sqrt(3.5 * log_r / n)
                widths[i, a] = np.sqrt(14.0 * state_factor * log_p / n)
                optimistic[i, a] = min(1.0, average + width_r)
                distance = 0.0
                if visits[i, a] > 0.0:
                    for k in range(states):
                        p_hat[i, a, k] = counts[i, a, k] / n
                        distance += abs(p_hat[i, a, k] - transition[i, a, k])
                    worst_r = max(worst_r, abs(average - reward[i, a]) / width_r)
                else:
                    for k in range(states):
                        p_hat[i, a, k] = 1.0 / states
                worst_p = max(worst_p, distance / widths[i, a])
        low, high, sweeps = extended_value_iteration(p_hat, optimistic, widths, 1.0 / np.sqrt(now), max_sweeps, policy)
        totals[0] += sweeps
        if high - low >= 1.0 / np.sqrt(now):
            totals[1] += 1
        episode_start[episodes] = now
        episode_gain[episodes] = low
        episode_ratio[episodes, 0] = worst_p
        episode_ratio[episodes, 1] = worst_r
        episodes += 1
        for i in range(states):
            a = policy[i]
            source, target = table[i, a], cell[i]
            for c in range(cells):
                target[c] = source[c]
            for k in range(states - 1):
                row[i, k] = cumulative[i, a, k]
            for k in range(states):
                seen[i, k] = 0
            mean[i] = reward[i, a]
            quota[i] = max(1, np.int64(visits[i, a]))
            left[i] = quota[i]
            won[i] = 0
        running = True
        while running and t < steps:
            if t == drawn:
                refill(key, drawn, first, second)
                drawn += BLOCK
            base = drawn - BLOCK
            here, end = np.uint64(t - base), np.uint64(min(drawn, checkpoints[mark]) - base)
            while here < end:
                if left[s] == 0:
                    running = False
                    break
                left[s] -= 1
                u = first[here]
                k = cell[s, np.uint64(np.int64(u * cells))]
                while u >= row[s, k]:
                    k += one
                won[s] += second[here] < mean[s]
                seen[s, k] += 1
                s = k
                here += one
            t = base + int(np.int64(here))
            if t == checkpoints[mark]:
                so_far = collected
                for i in range(states):
                    so_far += won[i] if bernoulli else (quota[i] - left[i]) * mean[i]
                regret[mark] = t * gain - so_far
                switches[mark] = episodes
                mark += 1
        for i in range(states):
            a = policy[i]
            gained = won[i] if bernoulli else (quota[i] - left[i]) * mean[i]
            collected += gained
            sums[i, a] += gained
            visits[i, a] += quota[i] - left[i]
            for k in range(states):
                counts[i, a, k] += seen[i, k]
    return episodes
