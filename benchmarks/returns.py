"""Speed of the value sweep and the law sweep, beside a dictionary-of-laws implementation in Python, in one run.

Run `python benchmarks/returns.py`.  Model: S = 50 states, A = 4 actions, B = 3 successors, 201 stocks, K = 101 atoms; one core.
The speed target is 1.9 ns for an elementary step of the value sweep (linear interpolation in the stock) and for an atom of the law sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from certify.returns._kernels import LINEAR, law_sweep, value_sweep

S, A, B, C, K = 50, 4, 3, 201, 101
GAMMA = 0.9


def best_of(repeats: int, call: Callable[[], object]) -> float:
    """Return the shortest of several timings, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print timings and ratios."""
    rng = np.random.Generator(np.random.Philox(0))
    succ = rng.integers(0, S, (S, A, B))
    prob = rng.dirichlet(np.ones(B), (S, A))
    rew = rng.random((S, A, B)) * (1.0 - GAMMA)
    count = np.full((S, A), B)
    following, out, action = rng.random((S, C)), np.empty((S, C)), np.empty((S, C), dtype=np.int16)
    means = np.zeros(S)

    def value() -> None:
        value_sweep(out, action, succ, prob, rew, count, GAMMA, following, -1.0, 1 / 200, -1.0, 1 / 200, 1.0, 0.0, means, means, LINEAR)

    grid = np.linspace(0.0, 1.0, K)
    law, new = rng.dirichlet(np.ones(K), S), np.empty((S, K))
    noise = [np.zeros(S) for _ in range(5)]
    weight = np.full((S, A), 1.0 / A)

    def laws() -> None:
        law_sweep(new, noise[0], noise[1], noise[2], weight, succ, prob, rew, count, GAMMA, law, noise[3], noise[4], grid)

    table = [dict(zip(grid.tolist(), row.tolist(), strict=True)) for row in law]

    def dictionaries() -> None:
        for s in range(S):
            mixed: dict[float, float] = {}
            for a in range(A):
                for b in range(B):
                    w, r = float(weight[s, a] * prob[s, a, b]), float(rew[s, a, b])
                    for x, p in table[int(succ[s, a, b])].items():
                        y = (r + GAMMA * x) * (K - 1)
                        i = min(int(y), K - 2)
                        share = y - i
                        mixed[i] = mixed.get(i, 0.0) + w * p * (1.0 - share)
                        mixed[i + 1] = mixed.get(i + 1, 0.0) + w * p * share

    def value_dictionaries() -> None:
        values = {(s, i): float(following[s, i]) for s in range(S) for i in range(C)}
        for s in range(S):
            for i in range(C):
                c, best = -1.0 + i / 200, -np.inf
                for a in range(A):
                    total = 0.0
                    for b in range(B):
                        z = ((c + float(rew[s, a, b])) / GAMMA + 1.0) * 200
                        t = int(succ[s, a, b])
                        if z < 0:
                            v = (c + float(rew[s, a, b])) / GAMMA
                        elif z >= C - 1:
                            v = 0.0
                        else:
                            j = int(z)
                            v = values[t, j] + (z - j) * (values[t, j + 1] - values[t, j])
                        total += float(prob[s, a, b]) * v
                    best = max(best, total)

    value()
    laws()
    fast, slow = best_of(50, value), best_of(2, value_dictionaries)
    steps = S * A * B * C
    print(f"value sweep          {1e3 * fast:8.3f} ms   {1e9 * fast / steps:6.2f} ns a step   {slow / fast:6.0f} x faster than dictionaries")
    fast, slow = best_of(50, laws), best_of(3, dictionaries)
    atoms = S * A * B * K
    print(f"law sweep            {1e3 * fast:8.3f} ms   {1e9 * fast / atoms:6.2f} ns an atom   {slow / fast:6.0f} x faster than dictionaries")


if __name__ == "__main__":
    main()
