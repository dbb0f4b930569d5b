"""Throughput of smoothed CartPole rollouts with a 4-64-64-2 tanh network, all on one core and side by side in one run.

    OPENBLAS_NUM_THREADS=1 python benchmarks/rollouts.py [--episodes 10000] [--json rollouts.json]

The baseline is a plain Gymnasium loop with the same network in NumPy (float32) and NumPy's own noise.  Times are CPU seconds of one
thread, which a loaded machine distorts less than wall time; the last lines use every core and give wall seconds.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from certify.smoothing import MlpPolicy, default_policy_path, load_policy, sample_returns

SIGMA = 0.2


def wide_policy() -> MlpPolicy:
    """Return the shipped policy's function as a 4-64-64-2 network: extra units of small random weights do not change who survives long."""
    small, rng = load_policy(default_policy_path()), np.random.default_rng(0)
    assert isinstance(small, MlpPolicy)
    shapes = ((4, 64), (64, 64), (64, 2))
    weights = []
    for w, shape in zip(small.weights, shapes, strict=True):
        wide = (1e-3 * rng.standard_normal(shape)).astype(np.float32)
        wide[: w.shape[0], : w.shape[1]] = w
        weights.append(wide)
    biases = tuple(np.pad(b, (0, shape[1] - b.size)) for b, shape in zip(small.biases, shapes, strict=True))
    return MlpPolicy(tuple(weights), biases, small.activation)


def plain_loop(policy: MlpPolicy, steps: int) -> tuple[int, float]:
    """Return steps played and CPU seconds of a loop that anyone would write."""
    import gymnasium

    env, rng, played, start = gymnasium.make("CartPole-v1"), np.random.default_rng(0), 0, time.process_time()
    episode = 0
    while played < steps:
        observation, _ = env.reset(seed=episode)
        done, episode = False, episode + 1
        while not done:
            x = (observation + SIGMA * rng.standard_normal(4)).astype(np.float32)
            for w, b in zip(policy.weights[:-1], policy.biases[:-1], strict=True):
                x = np.tanh(x @ w + b)
            observation, _, terminated, truncated, _ = env.step(int(np.argmax(x @ policy.weights[-1] + policy.biases[-1])))
            done, played = terminated or truncated, played + 1
    return played, time.process_time() - start


def engine(policy: MlpPolicy, episodes: int, **setting: Any) -> tuple[int, float, float]:
    """Return steps played, CPU seconds and wall seconds, after one run that compiles."""
    sample_returns(policy, "CartPole-v1", sigma=SIGMA, episodes=4, seed=0, **setting)
    cpu, wall = time.process_time(), time.perf_counter()
    returns = sample_returns(policy, "CartPole-v1", sigma=SIGMA, episodes=episodes, seed=0, **setting)
    return int(returns.values.sum()), time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    policy = wide_policy()
    steps, seconds = plain_loop(policy, 20_000)
    base = 1e6 * seconds / steps
    rows = [{"what": "plain Gymnasium loop with NumPy", "us_per_step": base, "ratio": 1.0}]
    for what, setting in (("reproducible, float32", {}), ("reproducible, float64", {"dtype": "float64"}), ("fast, float32", {"fast": True})):
        steps, cpu, _ = engine(policy, max(options.episodes // 5, 100), **setting)
        rows.append({"what": what, "us_per_step": 1e6 * cpu / steps, "ratio": base / (1e6 * cpu / steps)})
    again = plain_loop(policy, 20_000)
    rows.append({"what": "plain loop again", "us_per_step": 1e6 * again[1] / again[0], "ratio": base / (1e6 * again[1] / again[0])})
    steps, _, wall = engine(policy, options.episodes, jobs=os.cpu_count() or 1)
    whole = {"episodes": options.episodes, "steps": steps, "wall_seconds": wall, "cores": os.cpu_count()}
    for row in rows:
        print(f"{row['what']:34s} {row['us_per_step']:8.3f} us/step {row['ratio']:7.1f} x")
    print(f"{options.episodes} episodes, {steps} steps, {os.cpu_count()} cores: {wall:.2f} s")
    if options.json:
        record = {"machine": platform.processor() or platform.machine(), "date": datetime.date.today().isoformat(), "rows": rows, "whole": whole}
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
