"""What the strategies share: sizes, bytes that become small weights, kernels and rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from verify._validate import require_int

__all__ = [
    "Draw", "States", "draw_codes", "draw_rewards", "draw_states", "draw_weights", "mask_of", "normalised", "pick", "require_range",
    "reward_levels", "sizes",
]

FloatArray = NDArray[np.float64]
Draw = Callable[[st.SearchStrategy[Any]], Any]

_WEIGHTS = np.maximum((np.arange(256) & 15) - 8.0, 0.0)
"""The weight that each byte stands for."""


def sizes(**ranges: tuple[int, int]) -> st.SearchStrategy[tuple[int, ...]]:
    for name, (low, high) in ranges.items():
        require_int(f"min_{name}", low, minimum=1)
        require_int(f"max_{name}", high, minimum=low)
    return st.tuples(*(st.integers(low, high) for low, high in ranges.values()))


def require_range(name: str, bounds: tuple[float, float]) -> None:
    if len(bounds) != 2 or not (-np.inf < bounds[0] <= bounds[1] < np.inf):
        raise ValueError(f"{name} must be two finite numbers, the smaller one first, got {bounds!r}")


def reward_levels(rewards: tuple[float, float]) -> FloatArray:
    """Return the values that rewards take, from the simplest one on: those nearest to zero first."""
    require_range("rewards", rewards)
    low, high = float(rewards[0]), float(rewards[1])
    steps = np.arange(9) / 8
    levels = low * (1.0 - steps) + high * steps
    if low < 0.0 < high:
        levels = np.append(levels, 0.0)
    levels = np.unique(levels)
    return np.asarray(levels[np.argsort(np.abs(levels), kind="stable")])


def draw_codes(draw: Draw, shape: tuple[int, ...], room: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Draw integers from 0 to 255.

    With `room`, the largest shape, each entry has its own byte whatever the shape drawn, so that a smaller size shows the same entries:
    this is what lets sizes shrink.
    """
    room = shape if room is None else room
    codes = np.frombuffer(draw(_bytes(prod(room))), dtype=np.uint8).reshape(room)
    return codes if room == shape else codes[tuple(map(slice, shape))]


def draw_weights(draw: Draw, shape: tuple[int, ...], room: tuple[int, ...] | None = None) -> FloatArray:
    """Draw weights 0 to 7, of which zero comes up in more than half of the places."""
    return np.asarray(_WEIGHTS[draw_codes(draw, shape, room)])


def normalised(weights: FloatArray, fallback: FloatArray) -> FloatArray:
    """Return the weights as distributions along the last axis; where there is no weight, the fallback."""
    totals = weights.sum(axis=-1, keepdims=True)
    if totals.all():
        return np.asarray(weights / totals)
    return np.asarray(np.where(totals > 0.0, weights / np.maximum(totals, 1.0), fallback))


@dataclass(frozen=True, slots=True)
class States:
    """What the blocks of S states stand for: kernel (S, R, S), bytes of rewards and masks (S, R), weights of first states (S,)."""

    kernel: FloatArray
    reward_codes: NDArray[np.uint8]
    mask_codes: NDArray[np.uint8]
    first: FloatArray


def draw_states(
    draw: Draw, count: tuple[int, int], actions: tuple[int, int], *, groups: int = 1, communicating: bool = False
) -> States:
    """Draw between count[0] and count[1] states with `groups` groups of rows each; `actions` is how many are used and the most there are.

    Each state is one string of bytes, so that one can be deleted and the others stay as they are.  It has for each row one byte for
    each successor (the state itself last, its next neighbours before it), one for the reward and one for the mask, and then one for
    the initial distribution and one that, in the first state, chooses the kind of kernel.
    Successors are counted from the state itself, so that a state keeps its meaning when others go; nearer ones stand at later bytes,
    so that sorting bytes moves weight there.
    """
    smallest, room = count
    S, (used, most) = draw(_integers(smallest, room)), actions
    block = _bytes(groups * most * (room + 2) + 2)
    flat = np.frombuffer(b"".join([draw(block) for _ in range(S)]), dtype=np.uint8).reshape(S, -1)
    shape = int(flat[0, -1]) % 6
    codes = flat[:, :-2].reshape(S, groups, most, room + 2)[:, :, :used].reshape(S, groups * used, room + 2)
    # weighted rows four times in six, one successor for each row once, a cycle under action 0 once
    if shape < 4:
        near = _WEIGHTS[codes[:, :, room - S : room]][:, :, ::-1]
        # weight one round further counts for the same state, so that a move keeps a target when states in between are deleted
        further = codes[:, :, max(0, room - 2 * S) : room - S]
        near[:, :, : further.shape[2]] += _WEIGHTS[further][:, :, ::-1]
    else:
        step = codes[:, :, room - 1] % S
        if shape == 5:
            step[:, ::used] = 1 % S
        near = _unit_rows(S)[step]
    if communicating:
        near = near.copy()
        near[:, ::used, 1 % S] += 1.0
    state, row, offset = _places(S, groups * used)
    return States(normalised(near[state, row, offset], _unit_rows(S)[:, None, :]), codes[:, :, room], codes[:, :, room + 1], _WEIGHTS[flat[:, -2]])


def mask_of(codes: NDArray[np.uint8], keep_first: bool) -> NDArray[np.bool_]:
    """Return a mask that allows an action in every state, and action 0 everywhere where `keep_first`."""
    mask: NDArray[np.bool_] = (codes & 3) != 3
    mask[:, 0] |= keep_first | ~mask.any(axis=1)
    return mask


def draw_rewards(draw: Draw, shape: tuple[int, ...], levels: FloatArray, room: tuple[int, ...] | None = None) -> FloatArray:
    """Draw rewards among `levels`, the first of which is the simplest."""
    return np.asarray(levels[draw_codes(draw, shape, room) % levels.size])


def pick(allowed: NDArray[np.bool_], code: int) -> int:
    """Return the allowed index that a code stands for."""
    places = np.flatnonzero(allowed)
    return int(places[int(code) % places.size])


@lru_cache(maxsize=512)
def _bytes(count: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=count, max_size=count)


@lru_cache(maxsize=64)
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


@lru_cache(maxsize=64)
def _unit_rows(size: int) -> FloatArray:
    rows = np.eye(size)
    rows.setflags(write=False)
    return rows


@lru_cache(maxsize=512)
def _places(states: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices that turn weights of successors counted from each state into weights of the successors themselves."""
    s, r, j = np.arange(states)[:, None, None], np.arange(rows)[None, :, None], np.arange(states)[None, None, :]
    return s, r, (j - s) % states
