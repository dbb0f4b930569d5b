"""What a run may spend, and what it has spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mdps.solution import Status

__all__ = ["Budget", "Progress"]

Progress = Callable[[int, float], object]
"""Called with the iterations done and the current error bound; returning False stops the run."""


@dataclass(eq=False)
class Budget:
    """Iterations, seconds and the caller's patience; `spent` says which one ran out first."""

    max_iterations: int
    deadline: float | None = None
    progress: Progress | None = None
    iterations: int = 0
    spent: Status | None = None

    @classmethod
    def start(cls, max_iterations: int, time_limit: float | None, progress: Progress | None) -> Budget:
        """Return a budget whose clock starts now."""
        return cls(max_iterations, None if time_limit is None else time.monotonic() + time_limit, progress)

    @property
    def left(self) -> int:
        """Iterations that may still be done."""
        return max(0, self.max_iterations - self.iterations)

    def spend(self, iterations: int, error: float | None = None) -> bool:
        """Book `iterations`, report `error` if there is a new bound, and return whether the run may go on."""
        self.iterations += iterations
        answer = None if self.progress is None or error is None else self.progress(self.iterations, error)
        if answer is False or (isinstance(answer, np.bool_) and not answer):
            self.spent = Status.STOPPED
        elif self.deadline is not None and time.monotonic() >= self.deadline:
            self.spent = Status.TIME_SPENT
        elif self.iterations >= self.max_iterations:
            self.spent = Status.ITERATIONS_SPENT
        return self.spent is None
