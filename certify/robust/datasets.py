"""Offline data for the robust learners: K trajectories of H steps, from arrays, a file, a Minari dataset or a nominal linear model.

File format (`.npz`, plain arrays only): `states`, (K, H+1) integers or (K, H+1, p) floats, the last state of each trajectory
included; `actions`, (K, H) integers; optionally `features`, (S, A, d) or (H, S, A, d), and `reward_weights`, (d,) or (H, d), which make the
file a whole problem for `lemmata certify robust --dataset FILE`.  At most 16 members and 4 GiB unpacked, both checked before anything is read.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._files import write_atomically
from certify._validate import require_integer_at_least, require_numbers, require_whole_numbers

if TYPE_CHECKING:
    from mdps import LinearMDP

__all__ = ["OfflineDataset", "dataset_from_minari", "load_dataset", "load_problem", "offline_dataset", "sample_dataset", "save_dataset"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LARGEST_FILE = 4 << 30
_MOST_MEMBERS = 16


@dataclass(frozen=True)
class OfflineDataset:
    """K trajectories of H steps; build it with `offline_dataset`.

    Attributes
    ----------
    states : array (K, H) or (K, H, p)
        State before each action: integers, or points of a continuous space.
    actions : int array (K, H)
        Actions.
    next_states : array of the shape of `states`
        State after each action.
    source : str
        Where the data came from.
    left_out : int
        Episodes of the source that were too short to be a trajectory; a certificate names them, because leaving them out can bias the data.
    """

    states: NDArray[Any]
    actions: IntArray
    next_states: NDArray[Any]
    source: str = "arrays"
    left_out: int = 0

    @property
    def trajectories(self) -> int:
        """Number of trajectories K."""
        return int(self.actions.shape[0])

    @property
    def horizon(self) -> int:
        """Number of steps H."""
        return int(self.actions.shape[1])

    @property
    def finite(self) -> bool:
        """Whether states are integers."""
        return bool(self.states.dtype.kind == "i")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the data."""
        mark = hashlib.sha256()
        for array in (self.states, self.actions, self.next_states):
            mark.update(f"{array.dtype.str}{array.shape}".encode())
            mark.update(np.ascontiguousarray(array).tobytes())
        return mark.hexdigest()


def offline_dataset(states: ArrayLike, actions: ArrayLike, next_states: ArrayLike | None = None, *, source: str = "arrays") -> OfflineDataset:
    """Return a dataset from arrays.

    Parameters
    ----------
    states : array
        (K, H+1) integers or (K, H+1, p) floats: whole trajectories.  With `next_states` given, (K, H) or (K, H, p).
    actions : array (K, H)
        Action numbers from 0.
    next_states : array, optional
        State after each action, of the shape of `states`.
    source : str
        Where the data came from.

    Returns
    -------
    OfflineDataset

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is NaN, or a number of a state or action is not a whole number of at least 0.

    Examples
    --------
    >>> offline_dataset([[0, 1, 1], [0, 0, 1]], [[0, 1], [1, 1]]).horizon
    2
    """
    act = require_whole_numbers("actions", actions)
    if act.ndim != 2 or 0 in act.shape:
        raise ValueError(f"actions must have shape (K, H) with K, H >= 1, got {act.shape}")
    K, H = act.shape
    before = _points("states", states)
    length = H + 1 if next_states is None else H
    if before.shape[:2] != (K, length) or before.ndim > 3:
        raise ValueError(f"states must have shape {(K, length)} or {(K, length)} + (p,) beside actions of shape {act.shape}, got {before.shape}")
    if next_states is None:
        return OfflineDataset(before[:, :-1], act, before[:, 1:], source)
    after = _points("next_states", next_states)
    if after.shape != before.shape or after.dtype != before.dtype:
        raise ValueError(f"next_states must have the shape and kind of states, {before.shape} {before.dtype}, got {after.shape} {after.dtype}")
    return OfflineDataset(before, act, after, source)


def _points(name: str, value: ArrayLike) -> NDArray[Any]:
    array = np.asarray(value)
    if array.ndim == 3 or array.dtype.kind == "f":
        points = require_numbers(name, array)
        return points if points.ndim == 3 else points[..., None]
    return require_whole_numbers(name, array)


def as_dataset(dataset: Any, horizon: int | None = None) -> OfflineDataset:
    """Return a dataset from one, from a mapping of its arrays, from a tuple of them, from the path of a file, or from a Minari dataset."""
    if isinstance(dataset, OfflineDataset):
        return dataset
    if hasattr(dataset, "iterate_episodes"):
        if horizon is None:
            raise ValueError("dataset is a Minari dataset: reward_weights must have shape (H, d) to give the horizon, or use dataset_from_minari")
        return dataset_from_minari(dataset, horizon=horizon)
    if isinstance(dataset, Mapping):
        unknown = set(dataset) - {"states", "actions", "next_states"}
        if unknown or not {"states", "actions"} <= set(dataset):
            raise ValueError(f"dataset must have the keys states, actions and perhaps next_states, got {', '.join(sorted(map(str, dataset)))}")
        return offline_dataset(**dataset)
    if isinstance(dataset, (str, os.PathLike)):
        return load_dataset(dataset)
    if isinstance(dataset, (tuple, list)) and len(dataset) in (2, 3):
        return offline_dataset(*dataset)
    raise ValueError(f"dataset must be an OfflineDataset, a mapping or tuple of its arrays, a path or a Minari dataset; got {type(dataset).__name__}")


def sample_dataset(mdp: LinearMDP, *, trajectories: int, policy: ArrayLike | None = None, seed: int | np.random.SeedSequence = 0) -> OfflineDataset:
    """Return trajectories of a behaviour policy in the nominal model.

    Parameters
    ----------
    mdp : LinearMDP
        Nominal model with non-negative features and factors; the first state is drawn from `initial` (state 0 when None).
    trajectories : int
        Number of trajectories K.
    policy : array (S, A) or (H, S, A), optional
        Probabilities of the behaviour policy; uniform by default.
    seed : int or SeedSequence
        Counter-based stream: the first k trajectories are the same for every K >= k.

    Returns
    -------
    OfflineDataset

    Raises
    ------
    ValueError
        If an argument is out of range or the policy is no distribution.
    """
    K = require_integer_at_least("trajectories", trajectories, 1)
    H, S, A = mdp.horizon, mdp.n_states, mdp.n_actions
    behaviour = np.full((S, A), 1.0 / A) if policy is None else require_numbers("policy", policy)
    if behaviour.shape not in ((S, A), (H, S, A)) or behaviour.min() < 0 or np.abs(behaviour.sum(axis=-1) - 1.0).max() > 1e-9:
        raise ValueError(f"policy must hold distributions, shape {(S, A)} or {(H, S, A)}; got shape {behaviour.shape} with sums off 1 or below 0")
    choose = np.broadcast_to(np.cumsum(behaviour, axis=-1), (H, S, A))
    phi = np.broadcast_to(mdp.features, (H, S, A, mdp.dimension))
    move = np.cumsum(np.maximum(np.einsum("hsad,hdj->hsaj", phi, mdp.factors), 0.0), axis=-1)
    start = np.eye(S)[0] if mdp.initial is None else np.asarray(mdp.initial)
    draws = np.random.Generator(np.random.Philox(seed)).random((K, 2 * H + 1))
    states = np.empty((K, H + 1), dtype=np.int64)
    actions = np.empty((K, H), dtype=np.int64)
    states[:, 0] = _invert(np.cumsum(start)[None], draws[:, 0])
    for h in range(H):
        actions[:, h] = _invert(choose[h, states[:, h]], draws[:, 2 * h + 1])
        states[:, h + 1] = _invert(move[h, states[:, h], actions[:, h]], draws[:, 2 * h + 2])
    return OfflineDataset(states[:, :-1], actions, states[:, 1:], f"sampled from a nominal model, seed {seed!r}")


def _invert(cumulated: FloatArray, uniform: FloatArray) -> IntArray:
    """Return the first index whose cumulated probability exceeds the uniform number, never one of probability 0."""
    scaled = uniform * cumulated[:, -1]
    index: IntArray = (cumulated <= scaled[:, None]).sum(axis=-1)
    return index


def dataset_from_minari(dataset: Any, *, horizon: int, discretise: Callable[[FloatArray], ArrayLike] | None = None) -> OfflineDataset:
    """Return the first `horizon` steps of the episodes of a Minari dataset; episodes that are shorter are left out.

    Parameters
    ----------
    dataset : str or minari.MinariDataset
        Its identifier, loaded from the local Minari folder, or the dataset itself.
    horizon : int
        Number of steps H.
    discretise : callable, optional
        Maps observations (H+1, p) to state numbers (H+1,).  Without it, discrete observations are taken as states, and others as points
        of a continuous space.

    Returns
    -------
    OfflineDataset
        Trajectories that end early would bias the data: extend them by an absorbing state before storing if they matter.  `left_out` counts them.

    Raises
    ------
    ValueError
        If the horizon is below 1, actions are not discrete, or no episode is long enough.
    ImportError
        If Minari is not installed (extra `minari`).
    """
    require_integer_at_least("horizon", horizon, 1)
    if isinstance(dataset, str):
        try:
            import minari
        except ImportError as error:
            raise ImportError("reading Minari datasets needs the extra [minari]") from error
        dataset = minari.load_dataset(dataset)
    states, actions, short = [], [], 0
    for episode in dataset.iterate_episodes() if hasattr(dataset, "iterate_episodes") else dataset:
        moves = np.asarray(episode.actions)
        if moves.dtype.kind not in "iu" or moves.ndim > 2 or (moves.ndim == 2 and moves.shape[1] != 1):
            raise ValueError(f"actions of the Minari dataset must be discrete, got {moves.dtype} of shape {moves.shape}")
        if len(moves) < horizon:
            short += 1
            continue
        seen = np.asarray(episode.observations)[: horizon + 1]
        states.append(np.asarray(discretise(seen)) if discretise is not None else seen)
        actions.append(moves.reshape(len(moves))[:horizon])
    if not states:
        raise ValueError(f"horizon must not exceed the longest episode of the dataset, got {horizon}")
    return replace(offline_dataset(np.stack(states), np.stack(actions), source="minari"), left_out=short)


def save_dataset(path: str | os.PathLike[str], dataset: OfflineDataset, *, features: ArrayLike | None = None, reward_weights: ArrayLike | None = None) -> None:
    """Write a dataset, and perhaps the features and reward weights of its problem, in the file format of this module.

    Parameters
    ----------
    path : path
        File to write; it appears whole or not at all.
    dataset : OfflineDataset
        Whole trajectories.
    features : array of shape (S, A, d) or (H, S, A, d), optional
        Features of the linear model.
    reward_weights : array of shape (H, d), optional
        Reward weights of the linear model.

    Raises
    ------
    ValueError
        If states after a step are not the states before the next one, so that they are no trajectories.
    OSError
        If the file cannot be written.
    """
    if not np.array_equal(dataset.states[:, 1:], dataset.next_states[:, :-1]):
        raise ValueError("dataset must hold whole trajectories to be written: next_states must equal the states of the next step")
    arrays: dict[str, Any] = {"states": np.concatenate([dataset.states, dataset.next_states[:, -1:]], axis=1), "actions": dataset.actions}
    if features is not None:
        arrays["features"] = require_numbers("features", features)
    if reward_weights is not None:
        arrays["reward_weights"] = require_numbers("reward_weights", reward_weights)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(Path(path), buffer.getvalue())


def load_dataset(path: str | os.PathLike[str]) -> OfflineDataset:
    """Return the dataset in a file of this module's format, without running code from it.

    Parameters
    ----------
    path : path
        File to read.

    Raises
    ------
    ValueError
        If the file is not of this format or too large.
    OSError
        If it cannot be read.
    """
    return load_problem(path)[0]


def load_problem(path: str | os.PathLike[str]) -> tuple[OfflineDataset, FloatArray | None, FloatArray | None]:
    """Return the dataset, the features and the reward weights in a file; the last two are None where the file has none.

    Parameters
    ----------
    path : path
        File to read; nothing in it is run.

    Raises
    ------
    ValueError
        If the file is not of this format or too large.
    OSError
        If it cannot be read.
    """
    from mdps import BrokenFile
    from mdps.formats._npz import read_arrays

    names = ("states", "actions", "features", "reward_weights")
    try:
        arrays = read_arrays(Path(path), names, what="dataset", max_bytes=_LARGEST_FILE, max_members=_MOST_MEMBERS, only_these=False)
    except BrokenFile as error:
        raise ValueError(f"dataset {path} must be an .npz file of plain arrays, got one that cannot be read ({error.reason})") from None
    if not {"states", "actions"} <= set(arrays):
        raise ValueError(f"dataset {path} must hold the arrays states and actions, got {', '.join(sorted(arrays)) or 'neither'}")
    extras = [require_numbers(name, arrays[name]) if name in arrays else None for name in ("features", "reward_weights")]
    return offline_dataset(arrays["states"], arrays["actions"], source=str(Path(path).name)), extras[0], extras[1]
