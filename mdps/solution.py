"""What a solver returns: values with a two-sided bracket, and how far it got."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Solution", "Status"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class Status(Enum):
    """How a run ended; only CONVERGED means that the tolerance was met."""

    CONVERGED = "converged"
    ITERATIONS_SPENT = "iteration budget spent"
    TIME_SPENT = "time limit reached"
    STOPPED = "stopped by the progress callback"
    ROUNDING = "rounding errors stand above the tolerance"


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Optimal values of a model with bounds that hold in exact arithmetic.

    Attributes
    ----------
    value : array
        Discounted: shape (S,).  Finite horizon: (H+1, S), row h before decision h, row H after the last.  Average: the bias.
    lower, upper : array of the shape of `value`, or float
        `lower <= V* <= upper` for the model that the input floats stand for.  Average reward: they bracket `gain`.
    policy : int array (S,) or (H, S)
        An action of largest `action_value` in each state.
    iterations : int
        Sweeps over the model, or rounds of policy improvement.
    method : str
        The algorithm that ran.
    status : Status
        How the run ended.
    criterion : str
        "discounted", "finite-horizon" or "average".
    model : TabularMDP or FiniteHorizonMDP
        The model solved.
    slack : float
        Bound on the error of a difference of two action values.
    gain, bias : float and array (S,)
        Average reward only.
    """

    value: FloatArray
    limits: tuple[Any, Any] | FloatArray = field(repr=False)
    """(lower, upper), or the distance of both from `value` in each row: two more arrays of H+1 rows are made only for who reads them."""
    policy: IntArray
    iterations: int
    method: str
    status: Status
    criterion: str
    model: Any = field(repr=False)
    slack: float = 0.0
    gain: float | None = None
    bias: FloatArray | None = None

    @cached_property
    def lower(self) -> Any:
        """Lower limits of the optimal value, or of the gain."""
        return self.limits[0] if isinstance(self.limits, tuple) else _frozen(self.value - self.limits[:, None])

    @cached_property
    def upper(self) -> Any:
        """Upper limits of the optimal value, or of the gain."""
        return self.limits[1] if isinstance(self.limits, tuple) else _frozen(self.value + self.limits[:, None])

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status is Status.CONVERGED

    @property
    def error(self) -> float:
        """Largest distance from the returned number to the optimum that the bounds allow."""
        centre = self.value if self.gain is None else self.gain
        return float(max(np.max(self.upper - centre), np.max(centre - self.lower)))

    @property
    def span(self) -> float:
        """Largest minus smallest bias (average reward), or value."""
        values = self.value if self.bias is None else self.bias
        return float(values.max() - values.min())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Remarks a reader of the numbers needs, such as a bias that is not unique; often empty."""
        from mdps.average import remarks

        return remarks(self) if self.criterion == "average" else ()

    @cached_property
    def action_value(self) -> FloatArray:
        """Reward plus (discounted) value of the successor: (S, A) or (H, S, A); -inf where an action is not available.

        Average reward: r + P bias - gain, whose maximum over actions is the bias.
        """
        from mdps.operators import action_values

        if self.criterion == "finite-horizon":
            return np.stack([action_values(self.model.stage(h), self.value[h + 1], 1.0) for h in range(self.model.horizon)])
        if self.criterion == "average":
            assert self.bias is not None
            assert self.gain is not None
            return action_values(self.model, self.bias, 1.0) - self.gain
        return action_values(self.model, self.value, self.model.discount)

    @cached_property
    def optimal_actions(self) -> BoolArray:
        """Actions that the bounds do not exclude, (S, A) or (H, S, A): contains every optimal action."""
        q = self.action_value
        allowed: BoolArray = q >= q.max(axis=-1, keepdims=True) - self.slack
        return allowed

    @cached_property
    def gap(self) -> FloatArray:
        """Action value of the best action minus that of the best excluded one, (S,) or (H, S); inf where none is excluded."""
        q = self.action_value
        best: FloatArray = q.max(axis=-1)
        second: FloatArray = np.where(self.optimal_actions, -np.inf, q).max(axis=-1)
        return best - second

    def __repr__(self) -> str:
        size = "x".join(map(str, self.policy.shape))
        return f"Solution({self.criterion}, {self.method}, {size}, error <= {self.error:.3g}, {self.iterations} iterations, {self.status.value})"


def _frozen(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array
