"""CLSTD on 1e5 Ornstein-Uhlenbeck paths of 100 steps: simulation and evaluation, against a NumPy loop over paths, in one run.

    python benchmarks/martingale.py [--paths 100000] [--steps 100] [--loop-paths 2000]

Two loops over paths are timed on fewer paths and scaled up: the textbook form, one NumPy update of A and b for each step of each path,
and one that is vectorised over the steps of a path.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from certify.martingale import evaluate
from mdps.diffusions import OrnsteinUhlenbeck, variables


def loop(model: OrnsteinUhlenbeck, paths: int, steps: int, seed: int, *, textbook: bool) -> np.ndarray:
    """Simulate and accumulate one path at a time, step by step or with all steps of a path at once."""
    rng = np.random.default_rng(seed)
    dt = 1.0 / steps
    decay, spread, g = math.exp(-model.kappa * dt), math.sqrt(model.spread(dt)), math.exp(-model.discount * dt)
    a, b = np.zeros((2, 2)), np.zeros(2)
    for _ in range(paths):
        x = np.empty(steps + 1)
        x[0] = math.sqrt(model.variance) * rng.standard_normal()
        z = rng.standard_normal(steps)
        for i in range(steps):
            x[i + 1] = decay * x[i] + spread * z[i]
        phi = np.stack([x**2, np.ones_like(x)], axis=1)
        gain = 0.5 * dt * (x[:-1] ** 2 + g * x[1:] ** 2)
        if textbook:
            for i in range(steps):
                a += np.outer(phi[i], phi[i] - g * phi[i + 1])
                b += phi[i] * gain[i]
        else:
            a += phi[:-1].T @ (phi[:-1] - g * phi[1:])
            b += phi[:-1].T @ gain
    return np.linalg.solve(a, b)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--loop-paths", type=int, default=2000)
    options = parser.parse_args()
    _, x = variables()
    features = [x**2, x**0]
    model = OrnsteinUhlenbeck(kappa=1.0, sigma=0.7, discount=0.5)
    best = math.inf
    for repeat in range(4):  # the first compiles
        start = time.perf_counter()
        paths = model.sample(paths=options.paths, steps=options.steps, duration=1.0, seed=0, jobs=2)
        simulated = time.perf_counter()
        theta = evaluate(paths, features, method="clstd", discount=0.5, jobs=2).theta
        done = time.perf_counter()
        if repeat:
            best = min(best, done - start)
        print(f"{'compile and run' if repeat == 0 else 'run'}: simulate {simulated - start:.3f} s, evaluate {done - simulated:.3f} s, theta {theta}")
    print(f"best of 3 runs: {best:.3f} s")
    for name, textbook in (("step by step", True), ("vectorised within a path", False)):
        start = time.perf_counter()
        loop(model, options.loop_paths, options.steps, 1, textbook=textbook)
        scaled = (time.perf_counter() - start) * options.paths / options.loop_paths
        print(f"loop over paths, {name}: {scaled:.2f} s for {options.paths} paths (measured on {options.loop_paths}), ratio {scaled / best:.0f}")


if __name__ == "__main__":
    main()
