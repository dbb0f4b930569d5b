"""Time average-reward solvers side by side with mdpsolver, on one thread, in CPU seconds of the solve call.

    python benchmarks/average.py [--repeats 3]

Each row solves the same model to a span of 1e-6 with both; ours includes the bracket of the gain and the test that it has one value.
Neither side uses a thread beyond the first.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import mdps
from mdps import families

TOLERANCE = 1e-6


def nested_lists(mdp: mdps.TabularMDP) -> dict[str, Any]:
    """Return a model as the nested lists that mdpsolver takes."""
    matrix, S, A = mdp.csr(), mdp.n_states, mdp.n_actions
    bounds = matrix.indptr.tolist()
    rows = [(bounds[r], bounds[r + 1]) for r in range(S * A)]
    data, indices = matrix.data.tolist(), matrix.indices.tolist()
    return {
        "rewards": mdp.expected_reward.tolist(),
        "tranMatProbs": [[data[slice(*rows[s * A + a])] for a in range(A)] for s in range(S)],
        "tranMatColumns": [[indices[slice(*rows[s * A + a])] for a in range(A)] for s in range(S)],
    }


def peer_seconds(lists: dict[str, Any], repeats: int) -> float:
    """Return the best CPU seconds of mdpsolver; a new model each time, because a second solve starts from the first one's result."""
    import mdpsolver

    best = float("inf")
    for _ in range(repeats):
        model = mdpsolver.model()
        model.mdp(discount=0.99, **lists)
        start = time.process_time()
        model.solve(algorithm="vi", criterion="average", tolerance=TOLERANCE, parallel=False)
        best = min(best, time.process_time() - start)
    return best


def our_seconds(mdp: mdps.TabularMDP, repeats: int) -> tuple[float, mdps.Solution]:
    """Return our best CPU seconds and the solution, compilation left out."""
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.process_time()
        solution = mdps.solve(mdp, criterion="average", method="relative-value-iteration", tolerance=TOLERANCE)
        best = min(best, time.process_time() - start)
    return best, solution


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(f"{'model':8} {'ours, s':>9} {'mdpsolver, s':>13} {'ratio':>7} {'sweeps':>7} {'width of the bracket':>21}")
    for name, mdp in (
        ("forest", families.forest(10_000)),
        ("dense", families.garnet(1000, 10, 1000, seed=0)),
        ("sparse", families.garnet(100_000, 5, 5, seed=0)),
    ):
        seconds, solution = our_seconds(mdp, repeats)
        peer = peer_seconds(nested_lists(mdp), repeats)
        width = solution.upper - solution.lower
        print(f"{name:8} {seconds:9.4f} {peer:13.4f} {peer / seconds:7.1f} {solution.iterations:7d} {width:21.2e}")


if __name__ == "__main__":
    main()
