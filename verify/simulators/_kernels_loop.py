"""Kernels of LOOP and MLE-LOOP on finite classes: the confidence set is kept exactly, hypothesis by hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdps.jit import compiled
from verify.simulators._kernels_random import draw, refill

__all__ = ["loop", "mle_loop"]

BLOCK = 512


@compiled
def _choose(excess: Any, optimism: Any, priority: Any, limit: Any) -> Any:
    """Return the admissible hypothesis of largest gain (ties: largest priority) and whether any is admissible."""
    chosen = -1
    for f in range(excess.shape[0]):
        if excess[f] > limit:
            continue
        tied = chosen >= 0 and optimism[f] >= optimism[chosen] - 1e-12 and priority[f] > priority[chosen]
        if chosen < 0 or optimism[f] > optimism[chosen] + 1e-12 or tied:
            chosen = f
    if chosen >= 0:
        return chosen, True
    return int(np.argmin(excess)), False


@compiled
def loop(
    cumulative: Any, reward: Any, gain: Any, target: Any, value: Any, optimism: Any, policy: Any, error: Any, backup: Any, place: Any,
    priority: Any, truth: Any, beta: Any, patience: Any, start: Any, key: Any, steps: Any, checkpoints: Any, regret: Any, switches: Any,
    parts: Any, insample: Any, episode_start: Any, episode_choice: Any, totals: Any,
) -> Any:
    """Run LOOP with the Bellman discrepancy once; return the number of updates.

    Shapes: cumulative (S, A, S); reward (S, A); target (S, A, G): Q_g + J_g; value (H, S); optimism (H,): J_f; policy (H, S);
    error (H, S, A): the exact Bellman errors; backup (H, S, A): P V_f; place (H,): the index in G of each hypothesis; checkpoints,
    regret, switches (C,); parts (C, 5): running sums of J* - J_t, of E(f_t), of (P V_t)(s, a) - V_t(s), of the martingale
    (P V_t)(s, a) - V_t(s') and of E(f_t)^2; insample (C,): largest sum over past steps of E(f_t)^2 so far.
    totals: [largest excess of the truth, largest in-sample sum, steps at which nothing was admissible, truth ever left].
    """
    hypotheses, auxiliary = value.shape[0], target.shape[2]
    loss = np.zeros((hypotheses, auxiliary))
    seen = np.zeros(hypotheses)
    excess = np.zeros(hypotheses)
    first = np.empty(BLOCK)
    second = np.empty(BLOCK)
    sums = np.zeros(5)
    collected = 0.0
    s = start
    current = -1
    updates = 0
    mark = 0
    for t in range(steps):
        stale = current < 0
        if not stale:
            stale = loss[current, place[current]] - np.min(loss[current]) > patience * beta
        if stale:
            for f in range(hypotheses):
                excess[f] = loss[f, place[f]] - np.min(loss[f])
            current, some = _choose(excess, optimism, priority, beta)
            if not some:
                totals[2] += 1.0
            if updates < episode_start.shape[0]:
                episode_start[updates] = t + 1
                episode_choice[updates] = current
            updates += 1
        totals[1] = max(totals[1], seen[current])
        if t % BLOCK == 0:
            refill(key, t, first, second)
        a = policy[current, s]
        k = draw(cumulative[s, a], first[t % BLOCK])
        r = reward[s, a]
        collected += r
        sums[0] += gain - optimism[current]
        sums[1] += error[current, s, a]
        sums[2] += backup[current, s, a] - value[current, s]
        sums[3] += backup[current, s, a] - value[current, k]
        sums[4] += error[current, s, a] ** 2
        for f in range(hypotheses):
            goal = r + value[f, k]
            for g in range(auxiliary):
                loss[f, g] += (target[s, a, g] - goal) ** 2
            seen[f] += error[f, s, a] ** 2
        totals[0] = max(totals[0], loss[truth, place[truth]] - np.min(loss[truth]))
        s = k
        if t + 1 == checkpoints[mark]:
            regret[mark] = (t + 1) * gain - collected
            switches[mark] = updates
            insample[mark] = totals[1]
            for i in range(5):
                parts[mark, i] = sums[i]
            mark += 1
    totals[3] = 1.0 if totals[0] > beta else 0.0
    return updates


@compiled
def mle_loop(
    cumulative: Any, reward: Any, gain: Any, log_model: Any, distance: Any, optimism: Any, policy: Any, priority: Any, truth: Any,
    beta: Any, patience: Any, start: Any, key: Any, steps: Any, checkpoints: Any, regret: Any, switches: Any, insample: Any,
    episode_start: Any, episode_choice: Any, totals: Any,
) -> Any:
    """Run MLE-LOOP once; return the number of updates.  A hypothesis that left the set in use never comes back.

    Shapes: log_model (H, S, A, S): log P_f; distance (H, S, A): squared total variation between P_f and the truth; the others as in
    `loop`.  totals: [largest log-likelihood excess over the truth, largest in-sample sum of squared distances over the models inside
    the set, 0, truth ever left].
    """
    hypotheses = log_model.shape[0]
    likelihood = np.zeros(hypotheses)
    gone = np.zeros(hypotheses)
    seen = np.zeros(hypotheses)
    excess = np.zeros(hypotheses)
    first = np.empty(BLOCK)
    second = np.empty(BLOCK)
    collected = 0.0
    s = start
    current = -1
    updates = 0
    mark = 0
    for t in range(steps):
        top = np.max(likelihood)
        if current < 0 or top - likelihood[current] > patience * beta:
            if current >= 0:
                gone[current] = np.inf
            for f in range(hypotheses):
                excess[f] = top - likelihood[f] + gone[f]
            current, _ = _choose(excess, optimism, priority, beta)
            if updates < episode_start.shape[0]:
                episode_start[updates] = t + 1
                episode_choice[updates] = current
            updates += 1
        if t % BLOCK == 0:
            refill(key, t, first, second)
        a = policy[current, s]
        k = draw(cumulative[s, a], first[t % BLOCK])
        collected += reward[s, a]
        for f in range(hypotheses):
            likelihood[f] += log_model[f, s, a, k]
            seen[f] += distance[f, s, a]
        top = np.max(likelihood)
        totals[0] = max(totals[0], top - likelihood[truth])
        for f in range(hypotheses):
            if top - likelihood[f] <= beta:
                totals[1] = max(totals[1], seen[f])
        s = k
        if t + 1 == checkpoints[mark]:
            regret[mark] = (t + 1) * gain - collected
            switches[mark] = updates
            insample[mark] = totals[1]
            mark += 1
    totals[3] = 1.0 if totals[0] > beta else 0.0
    return updates
