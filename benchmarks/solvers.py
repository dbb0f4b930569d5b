"""Time the solvers of `mdps` against QuantEcon, mdpsolver and pymdptoolbox on the same models, in one process on one thread.

    python benchmarks/solvers.py [--quick] [--only NAME] [--peers quantecon,mdpsolver,mdptoolbox]

CPU seconds of the solve call alone, best of several repeats taken in turn; every result is within 1e-6 of the optimum, and ours carries a
proved bracket.  The ratio is peer / ours: above 1, ours is faster.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import mdps

EPSILON = 1e-6
DISCOUNTS = (0.95, 0.99, 0.999)


def forest(S: int = 10_000) -> tuple[Any, np.ndarray]:
    """Wait or cut; fire with probability 0.1 (the example of pymdptoolbox)."""
    states = np.arange(S)
    rows = np.concatenate([2 * states, 2 * states, 2 * states + 1])
    columns = np.concatenate([np.zeros(S, int), np.minimum(states + 1, S - 1), np.zeros(S, int)])
    weights = np.concatenate([np.full(S, 0.1), np.full(S, 0.9), np.ones(S)])
    reward = np.zeros((S, 2))
    reward[1:-1, 1], reward[-1] = 1.0, (4.0, 2.0)
    return sparse.csr_matrix((weights, (rows, columns)), shape=(2 * S, S)), reward


def dense_garnet(S: int = 1000, A: int = 10, seed: int = 0) -> tuple[Any, np.ndarray]:
    """Every state a successor."""
    rng = np.random.default_rng(seed)
    P = rng.random((S, A, S))
    return P / P.sum(axis=2, keepdims=True), rng.normal(size=(S, A))


def garnet(S: int = 100_000, A: int = 5, b: int = 5, seed: int = 0) -> tuple[Any, np.ndarray]:
    """`b` random successors of each state and action."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.random((S * A, b - 1)), axis=1)
    weights = np.diff(cuts, axis=1, prepend=0.0, append=1.0)
    columns = rng.integers(0, S, size=(S * A, b))
    matrix = sparse.csr_matrix((weights.ravel(), columns.ravel(), np.arange(0, S * A * b + 1, b)), shape=(S * A, S))
    matrix.sum_duplicates()
    return matrix, rng.normal(size=(S, A))


def grid(n: int = 300) -> tuple[Any, np.ndarray]:
    """Four moves, slip 0.2 to the sides, cost 1 a step, the last cell absorbs."""
    S = n * n
    cell = np.arange(S)
    x, y = cell // n, cell % n
    moves = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    target = [np.clip(x + dx, 0, n - 1) * n + np.clip(y + dy, 0, n - 1) for dx, dy in moves]
    rows, columns, weights = [], [], []
    for a in range(4):
        for turn, p in ((0, 0.8), (1, 0.1), (3, 0.1)):
            rows.append(cell[:-1] * 4 + a)
            columns.append(target[(a + turn) % 4][:-1])
            weights.append(np.full(S - 1, p))
        rows.append(np.array([(S - 1) * 4 + a]))
        columns.append(np.array([S - 1]))
        weights.append(np.ones(1))
    matrix = sparse.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(4 * S, S))
    reward = np.full((S, 4), -1.0)
    reward[-1] = 0.0
    return matrix, reward


INSTANCES: dict[str, Callable[[], tuple[Any, np.ndarray]]] = {
    "sparse garnet 1e5 x 5 x 5": garnet,
    "dense garnet 1000 x 10": dense_garnet,
    "forest 1e4": forest,
    "gridworld 300 x 300": grid,
    "sparse garnet 1e6 x 5 x 5": lambda: garnet(1_000_000),
}


def ours(P: Any, r: np.ndarray, discount: float) -> Callable[[], np.ndarray]:
    """`mdps.solve` at an absolute error of 1e-6."""
    model = mdps.TabularMDP(P, r, discount=discount)
    size = max(1.0, float(np.abs(mdps.solve(model, tolerance=1e-6).value).max()))
    return lambda: mdps.solve(model, tolerance=EPSILON / size).value


def quantecon(P: Any, r: np.ndarray, discount: float) -> Callable[[], np.ndarray]:
    """QuantEcon's modified policy iteration, its fastest method."""
    from quantecon.markov import DiscreteDP

    S, A = r.shape
    if sparse.issparse(P):
        model = DiscreteDP(r.ravel(), P, discount, np.repeat(np.arange(S), A), np.tile(np.arange(A), S))
    else:
        model = DiscreteDP(r, P, discount)
    return lambda: model.solve(method="mpi", epsilon=EPSILON, k=50, max_iter=100_000).v


def mdpsolver(P: Any, r: np.ndarray, discount: float) -> Callable[[], np.ndarray]:
    """MDPSolver's value iteration on sparse and modified policy iteration on dense models; a fresh model each time (it warm-starts)."""
    import mdpsolver as package

    S, A = r.shape
    if sparse.issparse(P):
        columns = np.split(P.indices, P.indptr[1:-1])
        weights = np.split(P.data, P.indptr[1:-1])
        indices = [[columns[s * A + a].tolist() for a in range(A)] for s in range(S)]
        values = [[weights[s * A + a].tolist() for a in range(A)] for s in range(S)]
        data = {"tranMatElementwise": None, "tranMatProbs": values, "tranMatColumns": indices}
    else:
        data = {"tranMatWithZeros": P.tolist()}
    rewards = r.tolist()

    def run() -> np.ndarray:
        model = package.model()
        kwargs = {k: v for k, v in data.items() if v is not None}
        model.mdp(discount=discount, rewards=rewards, **kwargs)
        start = time.process_time()
        model.solve(algorithm="vi" if sparse.issparse(P) else "mpi", tolerance=EPSILON, parallel=False)
        run.seconds = time.process_time() - start  # type: ignore[attr-defined]
        return np.array(model.getValueVector())

    return run


def mdptoolbox(P: Any, r: np.ndarray, discount: float) -> Callable[[], np.ndarray] | None:
    """pymdptoolbox's policy iteration; it makes sparse models dense, so those are left out."""
    if sparse.issparse(P):
        return None
    from mdptoolbox.mdp import PolicyIteration

    kernel = np.ascontiguousarray(P.transpose(1, 0, 2))

    def run() -> np.ndarray:
        model = PolicyIteration(kernel, r, discount)
        model.run()
        return np.array(model.V)

    return run


PEERS = {"quantecon": quantecon, "mdpsolver": mdpsolver, "mdptoolbox": mdptoolbox}


def clock(run: Callable[[], np.ndarray]) -> float:
    """Return CPU seconds of one call, or what the call says about itself."""
    start = time.process_time()
    run()
    spent = time.process_time() - start
    return float(getattr(run, "seconds", spent))


def race(runs: dict[str, Callable[[], np.ndarray]], repeats: int) -> dict[str, float]:
    """Return the best time of each, taken in turn so that a busy machine slows all alike."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            best[name] = min(best[name], clock(run))
    return best


def discounted(names: list[str], peers: list[str], repeats: int) -> None:
    """Print the table of discounted solves."""
    for name in names:
        P, r = INSTANCES[name]()
        for discount in DISCOUNTS:
            runs = {"lemmata": ours(P, r, discount)}
            for peer in peers:
                try:
                    found = PEERS[peer](P, r, discount)
                except ImportError:
                    continue
                if found is not None:
                    runs[peer] = found
            values = {who: run() for who, run in runs.items()}
            seconds = race(runs, repeats)
            size = max(1.0, float(np.abs(values["lemmata"]).max()))
            solution = mdps.solve(mdps.TabularMDP(P, r, discount=discount), tolerance=EPSILON / size)
            line = f"{name:28s} {discount:<6g} lemmata {seconds['lemmata']:8.4f} s ({solution.method}, {solution.iterations})"
            for who in runs:
                if who != "lemmata":
                    apart = float(np.abs(values[who] - values["lemmata"]).max())
                    line += f" | {who} {seconds[who]:8.4f} s, ratio {seconds[who] / seconds['lemmata']:5.2f}, apart {apart:.0e}"
            print(line, flush=True)


def horizon(repeats: int) -> None:
    """Print the table of backward inductions over 100 stages."""
    from quantecon.markov import DiscreteDP, backward_induction

    for name in ("sparse garnet 1e5 x 5 x 5", "dense garnet 1000 x 10", "forest 1e4"):
        P, r = INSTANCES[name]()
        S, A = r.shape
        model = mdps.FiniteHorizonMDP(P, r, horizon=100)
        pairs = (np.repeat(np.arange(S), A), np.tile(np.arange(A), S)) if sparse.issparse(P) else ()
        peer = DiscreteDP(r.ravel() if pairs else r, P, 0.999999999, *pairs)
        peer.beta = 1
        runs = {"lemmata": lambda m=model: mdps.solve(m).value, "quantecon": lambda p=peer: backward_induction(p, 100)[0]}
        for run in runs.values():
            run()
        seconds = race(runs, repeats)
        ratio = seconds["quantecon"] / seconds["lemmata"]
        print(f"horizon 100, {name:26s} lemmata {seconds['lemmata']:.4f} s | quantecon {seconds['quantecon']:.4f} s, ratio {ratio:.2f}", flush=True)


def building(repeats: int) -> None:
    """Print what it costs to build the model from SciPy and NumPy arrays; QuantEcon's arrays of state and action indices are given to it."""
    from quantecon.markov import DiscreteDP

    P, r = garnet()
    S, A = r.shape
    pairs = (np.repeat(np.arange(S), A), np.tile(np.arange(A), S))

    def fresh() -> Any:
        return sparse.csr_matrix((P.data, P.indices, P.indptr), shape=P.shape)

    runs = {
        "lemmata": lambda: mdps.TabularMDP(fresh(), r, discount=0.99).expected_reward,
        "quantecon": lambda: DiscreteDP(r.ravel(), fresh(), 0.99, *pairs).R,
    }
    for run in runs.values():
        run()
    seconds = race(runs, 3 * repeats)
    print(f"building sparse garnet 1e5 x 5 x 5: lemmata {1e3 * seconds['lemmata']:.1f} ms | quantecon {1e3 * seconds['quantecon']:.1f} ms", flush=True)


MEMORY = """
import resource, sys
sys.path.insert(0, {folder!r})
import solvers
P, r = solvers.INSTANCES[{name!r}]() if {name!r} in solvers.INSTANCES else solvers.grid(1000)
size = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
held = (P.data.nbytes + P.indices.nbytes + P.indptr.nbytes if hasattr(P, "indptr") else P.nbytes) / 2**20 + r.nbytes / 2**20
with open("/proc/self/clear_refs", "w") as handle:
    handle.write("5")
before = int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) / 1024
start = __import__("time").process_time()
solvers.{solver}(P, r, {discount})()
peak = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
print(f"{{held:.0f}} {{peak - before:.0f}} {{peak:.0f}} {{__import__('time').process_time() - start:.1f}}")
"""


def memory() -> None:
    """Print the peak memory of building and solving, above what the process held with the instance loaded (Linux only)."""
    for name, solver in [(n, s) for n in ("sparse garnet 1e5 x 5 x 5", "dense garnet 1000 x 10") for s in ("ours", "quantecon", "mdpsolver")] + [("grid 1e6", "ours")]:
        script = MEMORY.format(folder=str(Path(__file__).parent), name=name, solver=solver, discount=0.99)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"memory, {name}, {solver}: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        held, above, peak, seconds = done.stdout.split()
        print(f"memory, {name}, {solver}: model {held} MB, {above} MB above it, {peak} MB in all, {seconds} s", flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the model of a million states")
    parser.add_argument("--only", default="", help="part of an instance's name")
    parser.add_argument("--peers", default="quantecon,mdpsolver,mdptoolbox")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    names = [n for n in INSTANCES if given.only in n and not (given.quick and "1e6" in n)]
    discounted(names, given.peers.split(","), given.repeats)
    if not given.only:
        horizon(given.repeats)
        building(given.repeats)
        memory()


if __name__ == "__main__":
    main()
