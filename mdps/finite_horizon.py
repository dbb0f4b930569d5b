"""Finite horizon: backward induction with a bracket at every stage.

With t_h the computed T_h t_{h+1}, off by at most e_h, and b_h the rounding of one addition, E_h = E_{h+1} + e_h + b_h + b_{h+1} makes
t_h - E_h and t_h + E_h a sub- and a supersolution stage by stage, in exact arithmetic.
"""

from __future__ import annotations

import numpy as np

from mdps._budget import Budget
from mdps._build import UNIT
from mdps.models import FiniteHorizonMDP
from mdps.operators import Work, work_of
from mdps.solution import Solution, Status

__all__ = ["METHODS", "solve_finite_horizon"]

METHODS = ("backward-induction",)


def solve_finite_horizon(mdp: FiniteHorizonMDP, *, tolerance: float, budget: Budget) -> Solution:
    """Solve by backward induction; `mdps.solve` is the public door."""
    H, S = mdp.horizon, mdp.n_states
    value, policy = np.zeros((H + 1, S)), np.zeros((H, S), dtype=np.int64)
    value[H] = mdp.final_value
    errors = np.full(H + 1, np.inf)
    errors[H] = 0.0
    size = float(np.abs(value[H]).max())
    largest, noise = size, 0.0
    work: Work | None = None
    for h in range(H - 1, -1, -1):
        if work is None or not mdp.is_stationary:
            work = work_of(mdp.stage(h))
        new_size = work.stage(value[h + 1], value[h], policy[h])
        e = work.error(size, new_size, 1.0)
        noise = max(noise, e)
        rounding = 0.0 if errors[h + 1] == 0 and e == 0 else _rounding(size, new_size, errors[h + 1])
        errors[h] = (errors[h + 1] + e + rounding) * (1 + 4 * UNIT)
        size = new_size
        largest = max(largest, size)
        if not budget.spend(1, float(errors[h])) and h > 0:
            break
    done = bool(np.isfinite(errors).all())
    scale = max(1.0, largest - float(errors.max()) * (1 + 4 * UNIT)) if done else 1.0
    if done and errors.max() + UNIT * scale <= tolerance * scale:
        status = Status.CONVERGED
    else:
        status = Status.ROUNDING if done else budget.spent or Status.ROUNDING
    slack = 2 * (float(errors.max()) + noise) * (1 + 1e-9)
    for array in (value, policy, errors):
        array.setflags(write=False)
    return Solution(value, errors, policy, budget.iterations, METHODS[0], status, "finite-horizon", mdp, slack)


def _rounding(size: float, new_size: float, error: float) -> float:
    """Bound on the rounding of t - E at two neighbouring stages."""
    return UNIT * (size + new_size + 2 * error) * 1.01
