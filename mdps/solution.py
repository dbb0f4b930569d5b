"""What a solver returns: values with a two-sided bracket, and how far it got."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Solution", "Status", "unbounded"]

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
        return self.limits[0] if isinstance(self.limits, tuple) else _frozen(self._around()[0])

    @cached_property
    def upper(self) -> Any:
        """Upper limits of the optimal value, or of the gain."""
        return self.limits[1] if isinstance(self.limits, tuple) else _frozen(self._around()[1])

    def _around(self) -> tuple[FloatArray, FloatArray]:
        assert not isinstance(self.limits, tuple)
        radius = self.limits[:, None]
        with np.errstate(invalid="ignore"):
            return unbounded(self.value - radius, self.value + radius)

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status is Status.CONVERGED

    @property
    def error(self) -> float:
        """Largest distance from the returned number to the optimum that the bounds allow."""
        centre = self.value if self.gain is None else self.gain
        with np.errstate(invalid="ignore"):
            largest = np.maximum(np.max(self.upper - centre), np.max(centre - self.lower))
        return math.inf if np.isnan(largest) else float(largest)

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

        with np.errstate(over="ignore", invalid="ignore"):
            if self.criterion == "finite-horizon":
                return np.stack([action_values(self.model.stage(h), self.value[h + 1], 1.0) for h in range(self.model.horizon)])
            if self.criterion == "average":
                assert self.bias is not None
                assert self.gain is not None
                return action_values(self.model, self.bias, 1.0) - self.gain
            return action_values(self.model, self.value, self.model.discount)

    @cached_property
    def optimal_actions(self) -> BoolArray:
        """Actions that the bounds do not exclude, (S, A) or (H, S, A): contains every optimal action.

        Average reward: every action that attains the maximum in the optimality equation, given that the policy found is optimal; up to
        20,000 states the bias is polished by policy iteration for that, beyond it is compared at the accuracy of the run.
        """
        q, slack = self._ranked
        # a run without any bound, or one that overflowed, excludes nothing but what is not available
        with np.errstate(invalid="ignore"):
            allowed: BoolArray = ~(q < q.max(axis=-1, keepdims=True) - slack)
        mask = self.model.action_mask
        return allowed if mask is None else allowed & mask

    @cached_property
    def gap(self) -> FloatArray:
        """Action value of the best action minus that of the best excluded one, (S,) or (H, S); inf where none is excluded."""
        q = self._ranked[0]
        best: FloatArray = q.max(axis=-1)
        second: FloatArray = np.where(self.optimal_actions, -np.inf, q).max(axis=-1)
        with np.errstate(invalid="ignore"):
            return best - second

    @cached_property
    def _ranked(self) -> tuple[FloatArray, float]:
        """Action values to compare actions by, and how far below the best one an optimal action may be found."""
        if self.criterion == "average":
            from mdps.average import ranked_actions

            return ranked_actions(self)
        return self.action_value, self.slack

    def __repr__(self) -> str:
        size = "x".join(map(str, self.policy.shape))
        return f"Solution({self.criterion}, {self.method}, {size}, error <= {self.error:.3g}, {self.iterations} iterations, {self.status.value})"


def unbounded(lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the limits with infinity wherever an overflow left no number."""
    return np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper)


def _frozen(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array
