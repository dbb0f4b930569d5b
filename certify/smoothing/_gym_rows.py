"""Play chunks of episodes in Gymnasium environments, one environment a row, rows fixed by the episode number.

Initial states of the built-in environments come from the same stream as the compiled engine's; any other environment is seeded with
63 bits of the stream.  Every episode is played to its end: no automatic reset, so short episodes are not favoured.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._environments import make
from certify.smoothing._networks import CnnPolicy, MlpPolicy
from certify.smoothing._plan import CHUNKS, Plan, scores_by_row

__all__ = ["play_gymnasium"]


def play_gymnasium(plan: Plan, first: int, count: int) -> NDArray[np.float64]:
    """Return the returns of some episodes of one chunk.

    Parameters
    ----------
    plan : Plan
        The job.
    first, count : int
        Which episodes.

    Returns
    -------
    float array, shape (count,)
        Their returns.

    Raises
    ------
    ValueError
        If the policy answers with actions that the environment refuses, or a reward is not finite.
    """
    from certify.smoothing import _kernels_rollout as kernels

    start = first // CHUNKS["gymnasium"] * CHUNKS["gymnasium"]
    rows = CHUNKS["gymnasium"]
    alive = np.zeros(rows, np.bool_)
    alive[first - start : first - start + count] = True
    played = alive.copy()
    size, frames, m = plan.env.size, plan.frames, plan.average
    width = size * frames if plan.per_copy else size
    z, clean, stacks = np.zeros((rows, width)), np.zeros((rows, plan.inputs)), np.zeros((m, rows, plan.inputs))
    blocks = (width + 1) // 2 if plan.grid else (width + 3) // 4
    totals, observations = np.zeros(rows), np.zeros((rows, size))
    _one_torch_thread(plan.policy)
    envs = _Ale(plan, rows, played) if plan.env.env_id.startswith("ALE/") else _Rows(plan, rows, played)
    try:
        envs.reset(start, observations)
        for t in range(plan.max_steps):
            _push(clean, observations, frames, t == 0)
            total: Any = None
            for k in range(m):
                kernels.noise_rows(plan.key, t, start, alive, k * blocks, plan.grid, *plan.tables, z)
                if plan.per_copy:
                    padding = max(frames - 1 - t, 0)  # copies of the first frame share a draw
                    z[:, : padding * size] = np.tile(z[:, padding * size : (padding + 1) * size], (1, padding))
                    stacks[k] = _noised(clean, np.tile(plan.sigma, frames), z, plan.grid)
                else:
                    _push(stacks[k], _noised(observations, plan.sigma, z, plan.grid), frames, t == 0)
                x = stacks[k] if not plan.clip else np.clip((stacks[k] - plan.shift) / plan.scale, -plan.clip, plan.clip)
                answer = _answers(plan, x)
                total = answer if total is None else total + answer
            rewards, done = envs.step(_actions(plan, total), alive, observations)
            totals[alive] += rewards[alive]
            alive &= ~done
            if not alive.any():
                break
    finally:
        envs.close()
    if not np.isfinite(totals[played]).all():
        raise ValueError(f"environment {plan.env.env_id!r} gave a return that is not a finite number")
    return totals[played]


class _Rows:
    """A row of separate environments."""

    def __init__(self, plan: Plan, rows: int, played: NDArray[np.bool_]) -> None:
        self.plan = plan
        self.envs = [make(plan.env.env_id, plan.max_steps) if played[i] else None for i in range(rows)]

    def reset(self, start: int, observations: NDArray[np.float64]) -> None:
        from certify.smoothing import _kernels_envs as kernels

        code, key = self.plan.env.code, self.plan.key
        for i, env in enumerate(self.envs):
            if env is None:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                observation, _ = env.reset(seed=_seed(key, start + i))
            observations[i] = np.asarray(observation, np.float32).ravel()
            if code is not None:
                state, clean = np.empty(5), np.empty(self.plan.env.size)
                kernels.reset(code, key[0], key[1], np.uint64((start + i) & 0xFFFFFFFF), np.uint64((start + i) >> 32), state)
                kernels.observe(code, state, clean)
                env.unwrapped.state = np.array(state[: len(env.unwrapped.state)])
                observations[i] = clean

    def step(self, actions: NDArray[Any], alive: NDArray[np.bool_], observations: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        rewards, done = np.zeros(len(self.envs)), np.zeros(len(self.envs), np.bool_)
        for i in np.flatnonzero(alive):
            env = self.envs[i]
            assert env is not None  # alive rows are played rows
            action = int(actions[i]) if self.plan.env.actions is not None else np.asarray(actions[i], np.float32).reshape(env.action_space.shape)
            observation, reward, terminated, truncated, _ = env.step(action)
            observations[i] = np.asarray(observation, np.float32).ravel()
            rewards[i], done[i] = float(reward), bool(terminated or truncated)
        return rewards, done

    def close(self) -> None:
        for env in self.envs:
            if env is not None:
                env.close()


class _Ale:
    """Atari games through the vector environment of ale-py: one grey 84 x 84 frame a step; the stack is made here, after the noise."""

    def __init__(self, plan: Plan, rows: int, played: NDArray[np.bool_]) -> None:
        from ale_py.vector_env import AtariVectorEnv

        game = "".join(f"_{c.lower()}" if c.isupper() else c for c in plan.env.env_id.removeprefix("ALE/").partition("-")[0]).lstrip("_")
        self.plan, self.played = plan, played
        self.index = np.cumsum(played) - 1
        self.env = AtariVectorEnv(
            game, num_envs=int(played.sum()), stack_num=1, grayscale=True, num_threads=1, reward_clipping=False,
            repeat_action_probability=0.25 if plan.env.env_id.endswith("-v5") else 0.0, max_num_frames_per_episode=1 << 30,
        )  # fmt: skip

    def reset(self, start: int, observations: NDArray[np.float64]) -> None:
        seeds = np.array([_seed(self.plan.key, start + int(i)) & 0x7FFFFFFF for i in np.flatnonzero(self.played)])
        frames, _ = self.env.reset(seed=seeds)
        observations[self.played] = frames.reshape(len(seeds), -1)

    def step(self, actions: NDArray[Any], alive: NDArray[np.bool_], observations: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        frames, reward, terminated, truncated, _ = self.env.step(np.asarray(actions)[self.played].astype(np.int64))
        observations[self.played] = frames.reshape(len(frames), -1)
        rewards, done = np.zeros(len(alive)), np.zeros(len(alive), np.bool_)
        rewards[self.played], done[self.played] = reward, terminated | truncated
        return rewards, done

    def close(self) -> None:
        with suppress(Exception):  # older versions of the vector environment cannot be closed twice
            self.env.close()


def _seed(key: NDArray[np.uint64], number: int) -> int:
    from certify.smoothing import _kernels_noise as kernels

    words = np.empty((1, 4), np.uint64)
    counter = np.array([[0, 0, number & 0xFFFFFFFF, number >> 32]], np.uint64)
    kernels.philox_blocks(counter, key[0], key[1], words)
    return int(words[0, 0]) | (int(words[0, 1]) & 0x7FFFFFFF) << 32


def _push(stack: NDArray[np.float64], frame: NDArray[np.float64], frames: int, first: bool) -> None:
    size = frame.shape[1]
    if first:
        stack[:] = np.tile(frame, (1, frames))
    else:
        stack[:, :-size] = stack[:, size:]
        stack[:, -size:] = frame


def _noised(clean: NDArray[np.float64], sigma: NDArray[np.float64], z: NDArray[np.float64], grid: float) -> NDArray[np.float64]:
    if not grid:
        return np.asarray(clean + sigma * z)
    q = grid * sigma
    return np.asarray(q * (np.rint(clean / q) + z))


def _answers(plan: Plan, x: NDArray[np.float64]) -> NDArray[Any]:
    """Return raw outputs, or actions for a policy that has nothing else."""
    policy = plan.policy
    if isinstance(policy, MlpPolicy):
        return scores_by_row(policy, x.astype(plan.dtype), plan.dtype)
    if isinstance(policy, CnnPolicy):
        return _image_scores(policy, x.astype(plan.dtype), plan.dtype)
    shape = (len(x), plan.inputs) if len(plan.env.shape) == 1 else (len(x), plan.frames * plan.env.shape[0], *plan.env.shape[1:])
    if len(plan.env.shape) == 2:
        shape = (len(x), plan.frames, *plan.env.shape)
    rows = x.astype(plan.dtype).reshape(shape)
    return np.asarray(policy.scores(rows) if plan.average > 1 else policy.act(rows))


def _actions(plan: Plan, total: NDArray[Any]) -> NDArray[Any]:
    policy = plan.policy
    if isinstance(policy, MlpPolicy | CnnPolicy) or plan.average > 1:
        actions: NDArray[Any] = policy.head.decide(total / total.dtype.type(plan.average))
    else:
        actions = total
    limit = plan.env.actions
    if limit is not None:
        first = plan.env.first
        if actions.ndim != 1 or actions.dtype.kind not in "iu" or actions.min() < first or actions.max() >= first + limit:
            found = f"{actions.min()} to {actions.max()}" if actions.ndim == 1 and actions.dtype.kind in "iu" else f"{actions.dtype} of shape {actions.shape}"
            raise ValueError(f"policy {policy.name} must answer with integers from {first} to {first + limit - 1}, got {found}")
        return actions
    if actions.reshape(len(actions), -1).shape[1] != len(plan.env.low) or not np.isfinite(actions).all():
        raise ValueError(f"policy {policy.name} must answer with {len(plan.env.low)} finite numbers, got shape {actions.shape}")
    return actions


def _image_scores(policy: CnnPolicy, x: NDArray[Any], dtype: str) -> NDArray[Any]:
    from certify.smoothing import _kernels_rollout as kernels

    features = []
    filters = [np.ascontiguousarray(k.reshape(k.shape[0], -1).T.astype(dtype)) for k in policy.kernels]
    offsets = [np.ascontiguousarray(b, dtype) for b in policy.offsets]
    for row in x:
        image = row.reshape(policy.shape) / row.dtype.type(policy.scale)
        for kernel, w, b, stride in zip(policy.kernels, filters, offsets, policy.strides, strict=True):
            height, width = ((n - kernel.shape[2]) // stride + 1 for n in image.shape[1:])
            out = np.empty((kernel.shape[0], height, width), dtype)
            kernels.convolve(w, b, stride, np.ascontiguousarray(image), np.empty(w.shape[0], dtype), out)
            image = out
        features.append(image.ravel())
    return scores_by_row(policy.dense, np.array(features), dtype)


def _one_torch_thread(policy: Any) -> None:
    if type(policy).__name__ == "TorchPolicy":
        import torch

        torch.set_num_threads(1)
