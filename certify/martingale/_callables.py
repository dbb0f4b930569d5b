"""What a user may hand in: trajectories as arrays, and functions of time and state written for blocks, for one axis or for one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdps.diffusions.paths import Paths
from mdps.diffusions.polynomials import Polynomial

__all__ = ["Features", "as_paths", "feature_values", "function_values"]

FloatArray = NDArray[np.float64]
Function = Polynomial | Callable[..., ArrayLike]
Features = Sequence[Function] | Function
Call = Callable[[Any, FloatArray, FloatArray], Any]


def as_paths(paths: Any) -> Paths:
    """Return trajectories from `Paths`, from (time, state, reward[, terminal]) or from a mapping with these names.

    Raises
    ------
    ValueError
        If it is none of these, or the arrays are no trajectories.
    """
    if isinstance(paths, Paths):
        return paths
    if isinstance(paths, Mapping) and {"time", "state", "reward"} <= set(paths) <= {"time", "state", "reward", "terminal"}:
        return Paths(**paths)
    if isinstance(paths, tuple | list) and len(paths) in (3, 4):
        return Paths(*paths)
    raise ValueError(f"paths must be Paths or the arrays (time, state, reward[, terminal]), got {type(paths).__name__}")


def function_values(name: str, f: Any, time: FloatArray, state: FloatArray) -> FloatArray:
    """Return f on a block of paths, shape (n, N + 1).

    A polynomial takes the first coordinate.  Another function is called with the times (N + 1,) and the states (n, N + 1, d); where it
    was not written for that, and states have one coordinate, with axes (1, N + 1) and (n, N + 1) that broadcast; and else one point at
    a time.  No function can fit two of these and mean different things: in one dimension the first call of a function that broadcasts
    times against states has a third axis as long as the time axis.

    Raises
    ------
    ValueError
        If every way fails, or a value is not finite.
    """
    if isinstance(f, Polynomial):
        values = np.asarray(f(time[None, :], state[:, :, 0]), dtype=np.float64)
    else:
        call = _fitting_call(name, f, time, _few(time, state))
        values = np.asarray(call(f, time, state), dtype=np.float64)
        if values.shape not in _allowed(call, state.shape):
            raise ValueError(f"{name} must return shape {state.shape[:2]}, got {values.shape}")
    return _finite(name, np.broadcast_to(values[:, :, 0] if values.ndim == 3 else values, state.shape[:2]))


def _few(time: FloatArray, state: FloatArray) -> FloatArray:
    """Return the first paths, to try a function on: a block that broadcasts by accident would be large on all of them.

    Their number differs from that of the times, so that a value for each path is not taken for one for each time.
    """
    return state[: 3 if time.size == 2 else 2]


def _fitting_call(name: str, f: Any, time: FloatArray, state: FloatArray) -> Call:
    """Return the way to call f that works on a few paths."""
    calls = [_by_block, _by_axes, _by_point] if state.shape[2] == 1 else [_by_block, _by_point]
    failures: list[str] = []
    for call in calls:
        try:
            found = np.asarray(call(f, time, state), dtype=np.float64).shape
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
            continue
        if found in _allowed(call, state.shape):
            return call
        failures.append(f"shape {found}")
    raise ValueError(f"{name} must return shape {state.shape[:2]} for times {time.shape} and states {state.shape}, got {failures[0]}; and at one point {failures[-1]}")


def _allowed(call: Call, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that a way to call may give on states of a shape."""
    n, nodes, _ = shape
    if call is _by_point:
        return ((n, nodes),)
    return ((), (1, nodes), (n, nodes)) if call is _by_axes else ((), (nodes,), (n, nodes), (n, nodes, 1))


def _by_block(f: Any, time: FloatArray, state: FloatArray) -> Any:
    return f(time, state)


def _by_axes(f: Any, time: FloatArray, state: FloatArray) -> Any:
    return f(time[None, :], state[:, :, 0])


def _by_point(f: Any, time: FloatArray, state: FloatArray) -> Any:
    one = state.shape[2] == 1
    values = np.empty(state.shape[:2])
    for p in range(state.shape[0]):
        for i, t in enumerate(time.tolist()):
            value = np.asarray(f(t, float(state[p, i, 0]) if one else state[p, i]), dtype=np.float64)
            if value.size != 1:
                raise ValueError(f"shape {value.shape}")
            values[p, i] = value.item()
    return values


def feature_values(features: Any, time: FloatArray, state: FloatArray, name: str = "features") -> FloatArray:
    """Return the features on a block of paths, shape (n, N + 1, k).

    Raises
    ------
    ValueError
        If there is none, or one returns another shape or a value that is not finite.
    """
    if isinstance(features, Polynomial):
        features = [features]
    if callable(features):
        if not _has_features(features, time, _few(time, state)):
            return np.ascontiguousarray(function_values(name, features, time, state)[:, :, None])
        block = np.asarray(features(time, state), dtype=np.float64)
        if block.ndim != 3 or block.shape[:2] != state.shape[:2]:
            raise ValueError(f"{name} must return shape {(*state.shape[:2], 'k')}, got {block.shape}")
        return np.ascontiguousarray(_finite(name, block))
    if not isinstance(features, Sequence) or not features or not all(callable(f) for f in features):
        raise ValueError(f"{name} must hold at least one polynomial or function, or be a function, got {features!r}")
    values = np.empty((*state.shape[:2], len(features)))
    for number, f in enumerate(features):
        values[:, :, number] = function_values(f"{name}[{number}]", f, time, state)
    return values


def _has_features(f: Callable[..., Any], time: FloatArray, state: FloatArray) -> bool:
    """Say whether f gives an axis of features for a block of a few paths."""
    try:
        shape = np.shape(f(time, state))
    except (TypeError, ValueError, IndexError, AttributeError):
        return False
    if len(shape) != 3 or shape[:2] != state.shape[:2]:
        return False
    if state.shape[2] == 1 and shape[2] == time.size:  # times that broadcast against states by accident look like features
        try:
            return bool(np.shape(_by_axes(f, time, state)) != state.shape[:2])
        except (TypeError, ValueError, IndexError, AttributeError):
            return True
    return True


def _finite(name: str, values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]}")
    return values
