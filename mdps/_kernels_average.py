"""Kernels of relative value iteration and of expected hitting times.

Rows are numbered state * A + action.  A forbidden action has reward -inf, so that it never attains a maximum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdps.jit import compiled

__all__ = ["hitting_sparse", "reach_all_dense", "reach_all_sparse", "relative_dense", "relative_sparse"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled
def _centre(value: Floats) -> None:
    """Put the middle of the range of `value` at zero."""
    low, high = np.inf, -np.inf
    for s in range(value.size):
        low = min(low, value[s])
        high = max(high, value[s])
    middle = 0.5 * low + 0.5 * high
    for s in range(value.size):
        value[s] -= middle


@compiled
def _choose_step(state: Floats, sweep: int, width: float) -> float:
    """Return how far to move towards the image: all the way, or half way while that shrinks the bracket faster.

    Damping makes periodic chains converge and slows the others down.  Windows of eight sweeps are compared: state holds the width at
    the start of the window, the step, and the shrinking factors last seen at full and at half steps.
    """
    if sweep == 0:
        state[0], state[1], state[2], state[3] = width, 1.0, 0.0, 0.0
    elif sweep % 8 == 0:
        factor = width / state[0] if state[0] > 0.0 else 0.0
        state[0] = width
        if state[1] == 1.0:
            state[2] = factor
            if factor > 0.5 and (state[3] == 0.0 or state[3] < factor):
                state[1] = 0.5
        else:
            state[3] = factor
            if factor > state[2]:
                state[1] = 1.0
    step: float = state[1]
    return step


@compiled
def relative_sparse(
    indptr: NDArray[np.uint64],
    indices: NDArray[np.int32],
    data: Floats,
    reward: Floats,
    actions: int,
    value: Floats,
    image: Floats,
    policy: Ints,
    tolerance: float,
    sweeps: int,
    inner: int,
    state: Floats,
    done: int,
) -> tuple[int, float, float]:
    """Sweep until the bracket of the gain is narrower than `tolerance * max(1, |gain|)`; return sweeps, lower and upper limit.

    Between two full sweeps the rows of the greedy policy, copied side by side, are swept `inner` times.  At return `value` is the
    vector that the limits belong to.
    """
    states = value.size
    low, high = -np.inf, np.inf
    longest = np.int64(0)
    for row in range(reward.size):
        longest = max(longest, np.int64(indptr[row + 1] - indptr[row]))
    room = states * longest if inner > 0 else 0
    near_data, near_indices = np.empty(room, data.dtype), np.empty(room, indices.dtype)
    near_start = np.empty(states + 1, np.uint64)
    other = np.empty(states)
    for sweep in range(sweeps):
        low, high = np.inf, -np.inf
        for s in range(states):
            best, chosen = -np.inf, 0
            for a in range(actions):
                row = s * actions + a
                total = reward[row]
                for k in range(indptr[row], indptr[row + 1]):
                    total += data[k] * value[indices[k]]
                if total > best:
                    best, chosen = total, a
            image[s] = best
            policy[s] = chosen
            gain = best - value[s]
            low = min(low, gain)
            high = max(high, gain)
        width, middle = high - low, 0.5 * low + 0.5 * high
        if width <= tolerance * max(1.0, abs(middle)) or sweep == sweeps - 1:
            return sweep + 1, low, high
        step = _choose_step(state, done + sweep, width)
        for s in range(states):
            value[s] += step * (image[s] - middle - value[s])
        if inner > 0:
            at = np.uint64(0)
            for s in range(states):
                row = s * actions + policy[s]
                near_start[s] = at
                for k in range(indptr[row], indptr[row + 1]):
                    near_data[at] = data[k]
                    near_indices[at] = indices[k]
                    at += np.uint64(1)
                other[s] = reward[row] - middle
            near_start[states] = at
            for turn in range(inner):
                before, after = (value, image) if turn % 2 == 0 else (image, value)
                for s in range(states):
                    total = other[s]
                    for k in range(near_start[s], near_start[s + 1]):
                        total += near_data[k] * before[near_indices[k]]
                    after[s] = before[s] + step * (total - before[s])
            if inner % 2 == 1:
                value[:] = image
        _centre(value)
    return sweeps, low, high


@compiled(fast_sums=True)
def _dot(left: Floats, right: Floats) -> float:
    total: float = 0.0
    for k in range(left.size):
        total += left[k] * right[k]
    return total


@compiled
def relative_dense(
    kernel: Floats,
    reward: Floats,
    actions: int,
    value: Floats,
    image: Floats,
    policy: Ints,
    tolerance: float,
    sweeps: int,
    inner: int,
    state: Floats,
    done: int,
) -> tuple[int, float, float]:
    """Do as `relative_sparse` with dense rows, shape (S*A, S)."""
    states = value.size
    low, high = -np.inf, np.inf
    for sweep in range(sweeps):
        low, high = np.inf, -np.inf
        for s in range(states):
            best, chosen = -np.inf, 0
            for a in range(actions):
                row = s * actions + a
                total = reward[row] + _dot(kernel[row], value)
                if total > best:
                    best, chosen = total, a
            image[s] = best
            policy[s] = chosen
            gain = best - value[s]
            low = min(low, gain)
            high = max(high, gain)
        width, middle = high - low, 0.5 * low + 0.5 * high
        if width <= tolerance * max(1.0, abs(middle)) or sweep == sweeps - 1:
            return sweep + 1, low, high
        step = _choose_step(state, done + sweep, width)
        for s in range(states):
            value[s] += step * (image[s] - middle - value[s])
        for turn in range(inner):
            before, after = (value, image) if turn % 2 == 0 else (image, value)
            for s in range(states):
                row = s * actions + policy[s]
                after[s] = before[s] + step * (reward[row] - middle + _dot(kernel[row], before) - before[s])
        if inner % 2 == 1:
            value[:] = image
        _centre(value)
    return sweeps, low, high


@compiled
def reach_all_sparse(indptr: NDArray[np.uint64], indices: NDArray[np.int32], data: Floats, actions: int, passes: int) -> bool:
    """Return True if state 0 reaches every state and every state reaches it; False also when `passes` sweeps do not decide it."""
    states = (indptr.size - 1) // actions
    seen, spent = np.zeros(states, np.bool_), np.zeros(states, np.bool_)
    seen[0] = True
    missing = states - 1
    for _ in range(passes):
        before = missing
        for s in range(states):
            if not seen[s] or spent[s]:
                continue
            spent[s] = True
            for k in range(indptr[s * actions], indptr[(s + 1) * actions]):
                j = indices[k]
                if not seen[j] and data[k] > 0.0:
                    seen[j] = True
                    missing -= 1
            if missing == 0:
                break
        if missing == 0:
            break
        if missing == before:
            return False
    if missing > 0:
        return False
    back = np.zeros(states, np.bool_)
    back[0] = True
    missing = states - 1
    for turn in range(passes):
        before = missing
        for i in range(states):
            s = i if turn % 2 == 0 else states - 1 - i
            if back[s]:
                continue
            for k in range(indptr[s * actions], indptr[(s + 1) * actions]):
                if back[indices[k]] and data[k] > 0.0:
                    back[s] = True
                    missing -= 1
                    break
        if missing == 0:
            return True
        if missing == before:
            return False
    return False


@compiled
def reach_all_dense(kernel: Floats, actions: int, passes: int) -> bool:
    """Do as `reach_all_sparse` with dense rows, shape (S*A, S)."""
    states = kernel.shape[1]
    seen = np.zeros(states, np.bool_)
    queue = np.empty(states, np.int64)
    seen[0] = True
    queue[0] = 0
    head, tail = 0, 1
    while head < tail and tail < states:
        s = queue[head]
        head += 1
        for row in range(s * actions, (s + 1) * actions):
            for j in range(states):
                if kernel[row, j] > 0.0 and not seen[j]:
                    seen[j] = True
                    queue[tail] = j
                    tail += 1
    if tail < states:
        return False
    back = np.zeros(states, np.bool_)
    back[0] = True
    missing = states - 1
    for _ in range(passes):
        before = missing
        for s in range(states):
            if back[s]:
                continue
            for row in range(s * actions, (s + 1) * actions):
                for j in range(states):
                    if back[j] and kernel[row, j] > 0.0:
                        back[s] = True
                        break
                if back[s]:
                    missing -= 1
                    break
        if missing == 0:
            return True
        if missing == before:
            return False
    return False


@compiled
def hitting_sparse(
    indptr: NDArray[np.uint64],
    indices: NDArray[np.int32],
    data: Floats,
    allowed: NDArray[np.bool_],
    active: NDArray[np.bool_],
    actions: int,
    time: Floats,
    tolerance: float,
    sweeps: int,
) -> tuple[int, float, float]:
    """Sweep in place towards the least expected hitting times of the `active` states; the others are targets or hopeless.

    Every fourth sweep changes nothing and measures low = min(T h - h) and high = max(T h - h) over the active states, where
    (T h)(s) is the minimum over allowed rows of 1 + P h; it stops when both are at most `tolerance` in size.
    """
    states = time.size
    low, high = -np.inf, np.inf
    for sweep in range(sweeps):
        check = sweep % 4 == 3 or sweep == sweeps - 1
        if check:
            low, high = np.inf, -np.inf
        for i in range(states):
            s = i if sweep % 2 == 0 else states - 1 - i
            if not active[s]:
                continue
            best = np.inf
            for row in range(s * actions, (s + 1) * actions):
                if not allowed[row]:
                    continue
                total = 1.0
                own = 0.0
                for k in range(indptr[row], indptr[row + 1]):
                    if indices[k] == s and not check:
                        own += data[k]
                    else:
                        total += data[k] * time[indices[k]]
                if own < 1.0:
                    best = min(best, total / (1.0 - own))
            if check:
                change = best - time[s]
                low = min(low, change)
                high = max(high, change)
            else:
                time[s] = best
        if check and max(-low, high) <= tolerance:
            return sweep + 1, low, high
    return sweeps, low, high
