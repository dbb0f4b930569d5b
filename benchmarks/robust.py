"""Robust value iteration beside one nominal sweep, and the sorted L1 minimum beside a general linear program.

Run with `python benchmarks/robust.py`; every ratio is measured in this one run, on one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import linprog

from mdps import TabularMDP
from mdps.robust import solve, worst_case, worst_case_rows
from mdps.robust._kernels_sweep import nominal_sweep
from mdps.robust._stage import build_game


def best_of(action: Callable[[], object], repeats: int = 7) -> float:
    """Return the least process time of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def sweeps() -> None:
    """Compare a robust sweep with a nominal one on a dense model of 500 states and 10 actions."""
    rng = np.random.default_rng(0)
    S, A, discount = 500, 10, 0.95
    kernel = rng.dirichlet(np.ones(S), (S, A))
    mdp = TabularMDP(kernel, rng.uniform(0, 1, (S, A)), discount=discount)
    reward, out = np.array(mdp.expected_reward), np.empty(S)
    v = solve(mdp, divergence="tv", radius=0.0).value
    nominal = best_of(lambda: [nominal_sweep(kernel, reward, discount, v, out) for _ in range(10)]) / 10
    print(f"nominal sweep, S=500, A=10: {1e3 * nominal:.2f} ms")
    for rectangular in ("sa", "s"):
        for divergence, radius in (("l1", 0.2), ("kl", 0.1), ("chi2", 0.2)):
            mdp_radius = radius if rectangular == "sa" else A * radius
            game = build_game(mdp, divergence=divergence, radius=mdp_radius, penalty=None, rectangular=rectangular, weights=None, cost=None)
            start = time.process_time()
            found = solve(mdp, divergence=divergence, radius=mdp_radius, rectangular=rectangular, tolerance=1e-6)
            whole = time.process_time() - start
            rough = 1e-8 * (1 - discount)
            game.sweep(found.value, discount, rough)
            one = best_of(lambda: game.sweep(found.value, discount, rough), 3)  # noqa: B023
            print(
                f"  {rectangular:2s} {divergence:5s} sweep {1e3 * one:8.2f} ms = {one / nominal:7.1f} nominal sweeps; "
                f"solved to 1e-6 with bounds in {found.iterations} sweeps, {whole:.2f} s"
            )


def inner() -> None:
    """Compare the L1 minimum with HiGHS at 400 entries."""
    rng = np.random.default_rng(1)
    n, rows = 400, 200
    z, q, radius = rng.uniform(0, 1, n), rng.dirichlet(np.ones(n), rows), 0.3
    # p = q + up - down with up, down >= 0
    bounds = [(0, None)] * n + [(0, float(x)) for x in q[0]]
    total, budget = np.concatenate([np.ones(n), -np.ones(n)])[None], np.ones((1, 2 * n))
    cost = np.concatenate([z, -z])

    def program() -> float:
        return float(linprog(cost, A_ub=budget, b_ub=[radius], A_eq=total, b_eq=[0.0], bounds=bounds, method="highs").fun + z @ q[0])

    worst_case_rows(z, q, divergence="l1", radius=radius)
    lp = best_of(program)
    one = best_of(lambda: [worst_case(z, q[0], divergence="l1", radius=radius) for _ in range(100)]) / 100
    many = best_of(lambda: worst_case_rows(z, q, divergence="l1", radius=radius)) / rows
    gap = abs(program() - worst_case(z, q[0], divergence="l1", radius=radius).value)
    print(f"L1 minimum, n=400 (values agree to {gap:.1e}):")
    print(f"  linear program {1e6 * lp:9.1f} us; one call {1e6 * one:7.1f} us: {lp / one:6.0f}x; row of a batch {1e6 * many:6.2f} us: {lp / many:6.0f}x")


if __name__ == "__main__":
    inner()
    sweeps()
