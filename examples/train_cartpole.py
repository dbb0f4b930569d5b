"""Train the CartPole policy that ships with the package: evolution strategies on noisy episodes.

Antithetic Gaussian perturbations of all 386 weights of a tanh 4-16-16-2 network, ranks in place of returns, Adam.  Every candidate of
a generation plays the same episodes (the stream is addressed by episode number), so differences between candidates are not noise.
Takes about a minute on one core; the same seed writes the same file.

    python examples/train_cartpole.py --out cartpole_mlp.npz
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._flat import write_npz
from certify.smoothing.policies import MlpPolicy
from certify.smoothing.sampling import sample_returns

WIDTHS = (4, 16, 16, 2)
ENVIRONMENT = "CartPole-v1"
SIGMA = 0.2


def build(theta: NDArray[np.float64]) -> MlpPolicy:
    """Return the network whose weights stand one after the other in `theta`."""
    weights, biases, at = [], [], 0
    for n, m in pairwise(WIDTHS):
        weights.append(theta[at : at + n * m].reshape(n, m).astype(np.float32))
        biases.append(theta[at + n * m : at + n * m + m].astype(np.float32))
        at += n * m + m
    return MlpPolicy(tuple(weights), tuple(biases), "tanh")


def train(*, generations: int, pairs: int, episodes: int, step: float, spread: float, seed: int) -> MlpPolicy:
    """Return the policy after the given number of generations."""
    rng = np.random.Generator(np.random.Philox(seed))
    size = sum(n * m + m for n, m in pairwise(WIDTHS))
    theta = 0.3 * rng.standard_normal(size)
    first, second = np.zeros(size), np.zeros(size)
    for generation in range(1, generations + 1):
        directions = rng.standard_normal((pairs, size))
        candidates = np.concatenate([theta + spread * directions, theta - spread * directions])
        scores = np.array([
            sample_returns(build(c), ENVIRONMENT, sigma=SIGMA, episodes=episodes, seed=seed, first_episode=generation * episodes).mean
            for c in candidates
        ])  # fmt: skip
        ranks = np.empty(2 * pairs)
        ranks[np.argsort(scores, kind="stable")] = np.linspace(-0.5, 0.5, 2 * pairs)
        gradient = (ranks[:pairs] - ranks[pairs:]) @ directions / (pairs * spread)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = step * min(1.0, 2.0 * (1.0 - generation / (generations + 1)))
        theta += rate * (first / (1 - 0.9**generation)) / (np.sqrt(second / (1 - 0.999**generation)) + 1e-8)
        if generation % 10 == 0:
            print(f"generation {generation}: mean return of the candidates {scores.mean():.1f}, best {scores.max():.1f}", flush=True)
    return build(theta)


def main() -> None:
    """Train, report and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("cartpole_mlp.npz"))
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    policy = train(generations=options.generations, pairs=32, episodes=32, step=0.05, spread=0.1, seed=options.seed)
    test = sample_returns(policy, ENVIRONMENT, sigma=SIGMA, episodes=2000, seed=options.seed + 1)
    print(f"mean return over {len(test)} fresh episodes at sigma {SIGMA}: {test.mean:.1f}")
    write_npz(policy, options.out)


if __name__ == "__main__":
    main()
