"""Arrays in the layout of the MDP toolbox: one (S, S) matrix for each action, rewards (S,), (S, A) or (A, S, S)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mdps._errors import ModelError, WrongShape
from mdps.models import TabularMDP

__all__ = ["from_mdptoolbox", "to_mdptoolbox"]


def from_mdptoolbox(transitions: Any, reward: Any, *, discount: float | None = None, initial: Any = None) -> TabularMDP:
    """Return a model from arrays in the layout of the MDP toolbox.

    Parameters
    ----------
    transitions : array (A, S, S), or sequence of A matrices (S, S), dense or sparse
        P[a][s, s'].
    reward : array (S,), (S, A), (A, S, S), or sequence of A matrices (S, S)
        Reward of a state, of a state and action, or of a transition.
    discount : float in (0, 1], optional
        Discount.
    initial : array (S,), optional
        Distribution of the first state.

    Returns
    -------
    TabularMDP
        Sparse if a matrix of `transitions` is.

    Raises
    ------
    ModelError
        One subclass for each defect, naming the first bad state and action.

    Examples
    --------
    >>> model = from_mdptoolbox([[[0.0, 1.0], [1.0, 0.0]]], [1.0, 2.0], discount=0.5)
    >>> model.expected_reward.tolist()
    [[1.0], [2.0]]
    """
    sparse = _has_sparse(transitions)
    kernel: Any = list(transitions) if sparse else _actions_last("transitions", transitions)
    actions = len(transitions)
    if _has_sparse(reward):
        return TabularMDP(kernel, list(reward) if sparse else _actions_last("reward", [_dense(m) for m in reward]), discount=discount, initial=initial)
    array = _array("reward", reward)
    if array.ndim == 1:
        array = np.repeat(array[:, None], actions, axis=1)
    elif array.ndim == 3:
        array = _actions_last("reward", array)
    return TabularMDP(kernel, array, discount=discount, initial=initial)


def to_mdptoolbox(mdp: TabularMDP) -> tuple[Any, Any]:
    """Return (transitions, reward) in the layout of the MDP toolbox.

    Parameters
    ----------
    mdp : TabularMDP
        A model in which every action is available everywhere.

    Returns
    -------
    tuple
        Transitions: (A, S, S), or a list of A sparse (S, S) for a sparse model; reward: (S, A).

    Raises
    ------
    ModelError
        If the model forbids actions, which the layout cannot say.
    """
    if mdp.action_mask is not None and not mdp.action_mask.all():
        state, action = (int(i) for i in np.argwhere(~mdp.action_mask)[0])
        raise ModelError(f"mdp must allow every action everywhere for this layout, got action {action} forbidden in state {state}")
    if not mdp.is_sparse:
        return np.ascontiguousarray(mdp.dense().transpose(1, 0, 2)), mdp.expected_reward.copy()
    matrix = mdp.csr()
    return [matrix[a :: mdp.n_actions] for a in range(mdp.n_actions)], mdp.expected_reward.copy()


def _has_sparse(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and any(hasattr(matrix, "tocsr") for matrix in value)


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def _array(name: str, value: Any) -> Any:
    try:
        array = np.asarray(value)
        # the toolbox keeps one matrix for each action in an array of objects, too
        return np.stack([_dense(matrix) for matrix in array]) if array.dtype == object and array.ndim == 1 else array
    except ValueError:
        raise ModelError(f"{name} must be an array, got rows or matrices of different shapes") from None


def _actions_last(name: str, value: Any) -> Any:
    array = _array(name, value)
    if array.ndim != 3 or array.shape[1] != array.shape[2]:
        raise WrongShape(name, array.shape, "(A, S, S)")
    return array.transpose(1, 0, 2)
