"""UCRL2 on RiverSwim-6 against plain Python and rlberry-scool, and the cost of LOOP, in one process.

    python benchmarks/regret.py [--repeats 5]

Two plain-Python UCRL2 stand below, the same algorithm with the same constants: one in the style of research code, on NumPy arrays with a
draw of a generator for each successor and reward, and a leaner one with lists and loops.  Given the random numbers of
our stream it must come to the same regret after as many episodes; for the clock it draws its own, as our side does.
rlberry-scool has no learner for average reward; the nearest is UCBVI, also optimistic, tabular and model-based.  It runs here in
episodes of 100 steps whose reset keeps the state, which makes one trajectory of the same length; it plans at the end of each episode,
UCRL2 only when a count has doubled.  The part is left out where rlberry-scool is not installed.
CPU seconds on one thread after compilation, the best of several repeats taken in turn; the ratio is peer / ours: above 1, ours is
faster.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import argparse
import math
import platform
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mdps.families import river_swim
from verify.simulators import hard_class, simulate
from verify.simulators.run import Common

DELTA = 0.05
STATES = 6
RACES = (100_000, 1_000_000)
PEER_STEPS, PEER_HORIZON = 100_000, 100
REPLICATES = 20


def optimistic_policy(estimate: list[Any], rewards: list[Any], widths: list[Any], tolerance: float) -> list[int]:
    """Extended value iteration with lists: Jacobi sweeps until their increments differ by less than the tolerance."""
    states, actions = len(rewards), len(rewards[0])
    u, order = [0.0] * states, list(range(states))
    while True:
        order.sort(key=lambda i: -u[i])
        best, worst_first = order[0], order[:0:-1]
        new, policy = [0.0] * states, [0] * states
        for s in range(states):
            top = -math.inf
            for a in range(actions):
                row = estimate[s][a]
                total = 0.0
                for k in range(states):
                    total += row[k] * u[k]
                moved = min(0.5 * widths[s][a], 1.0 - row[best])
                total += moved * u[best]
                for worst in worst_first:
                    if moved <= 0.0:
                        break
                    taken = min(moved, row[worst])
                    total -= taken * u[worst]
                    moved -= taken
                total += rewards[s][a]
                if total > top:
                    top, policy[s] = total, a
            new[s] = top
        increments = [new[s] - u[s] for s in range(states)]
        if max(increments) - min(increments) < tolerance:
            return policy
        u = [value - new[best] for value in new]


def scan(row: list[float], u: float) -> int:
    """Return the first index whose cumulative probability exceeds u."""
    k = 0
    while u >= row[k]:
        k += 1
    return k


def plain_ucrl2(cumulative: list[Any], reward: list[Any], gain: float, steps: int, uniform: Callable[[], float]) -> tuple[float, int]:
    """UCRL2 with lists, two random numbers a step; returns regret and number of episodes."""
    states, actions = len(reward), len(reward[0])
    counts = [[[0] * states for _ in range(actions)] for _ in range(states)]
    visits = [[0] * actions for _ in range(states)]
    sums = [[0.0] * actions for _ in range(states)]
    s, t, collected, episodes = 0, 0, 0.0, 0
    while t < steps:
        log_r = math.log(2.0 * states * actions * (t + 1) / DELTA)
        log_p = math.log(2.0 * actions * (t + 1) / DELTA)
        estimate: list[Any] = [[[1.0 / states] * states for _ in range(actions)] for _ in range(states)]
        rewards = [[0.0] * actions for _ in range(states)]
        widths = [[0.0] * actions for _ in range(states)]
        for i in range(states):
            for a in range(actions):
                n = max(1, visits[i][a])
                rewards[i][a] = min(1.0, sums[i][a] / n + math.sqrt(3.5 * log_r / n))
                widths[i][a] = math.sqrt(14.0 * states * log_p / n)
                if visits[i][a]:
                    estimate[i][a] = [count / n for count in counts[i][a]]
        policy = optimistic_policy(estimate, rewards, widths, 1.0 / math.sqrt(t + 1))
        episodes += 1
        inside = [[0] * actions for _ in range(states)]
        while t < steps:
            a = policy[s]
            if inside[s][a] >= max(1, visits[s][a]):
                break
            after = scan(cumulative[s][a], uniform())
            gained = 1.0 if uniform() < reward[s][a] else 0.0
            collected += gained
            sums[s][a] += gained
            counts[s][a][after] += 1
            inside[s][a] += 1
            s = after
            t += 1
        for i in range(states):
            for a in range(actions):
                visits[i][a] += inside[i][a]
    return steps * gain - collected, episodes


def array_ucrl2(kernel: np.ndarray, reward: np.ndarray, gain: float, steps: int, seed: int) -> tuple[float, int]:
    """UCRL2 as research code usually has it: NumPy arrays for the counts, one draw of a generator for each successor and reward."""
    rng = np.random.default_rng(seed)
    S, A = reward.shape
    counts, visits, sums = np.zeros((S, A, S)), np.zeros((S, A)), np.zeros((S, A))
    s, t, collected, episodes = 0, 0, 0.0, 0
    while t < steps:
        n = np.maximum(1, visits)
        rewards = np.minimum(1.0, sums / n + np.sqrt(3.5 * np.log(2 * S * A * (t + 1) / DELTA) / n))
        widths = np.sqrt(14 * S * np.log(2 * A * (t + 1) / DELTA) / n)
        estimate = np.where(visits[:, :, None] > 0, counts / n[:, :, None], 1.0 / S)
        u = np.zeros(S)
        while True:
            order = np.argsort(-u, kind="stable")
            p = estimate.copy()
            p[:, :, order[0]] = np.minimum(1.0, p[:, :, order[0]] + 0.5 * widths)
            for worst in order[:0:-1]:
                p[:, :, worst] = np.maximum(0.0, p[:, :, worst] - np.maximum(0.0, p.sum(axis=2) - 1.0))
            q = rewards + p @ u
            new, policy = q.max(axis=1), q.argmax(axis=1)
            if np.ptp(new - u) < 1.0 / math.sqrt(t + 1):
                break
            u = new - new.max()
        episodes += 1
        inside = np.zeros((S, A))
        while t < steps:
            a = policy[s]
            if inside[s, a] >= max(1, visits[s, a]):
                break
            after = rng.choice(S, p=kernel[s, a])
            gained = float(rng.random() < reward[s, a])
            collected += gained
            sums[s, a] += gained
            counts[s, a, after] += 1
            inside[s, a] += 1
            s = after
            t += 1
        visits += inside
    return steps * gain - collected, episodes


def peer_run(cumulative: list[Any], mean: list[Any], steps: int) -> Callable[[], object]:
    """rlberry-scool's UCBVI for `steps` steps of one trajectory; a fresh learner each time."""
    import gymnasium
    import rlberry
    from rlberry.spaces import Discrete
    from rlberry_scool.agents.ucbvi import UCBVIAgent

    rlberry.logger.setLevel("ERROR")

    class Trajectory(gymnasium.Env):  # type: ignore[misc]
        """A model whose reset goes on from the present state."""

        observation_space, action_space = Discrete(len(mean)), Discrete(len(mean[0]))
        reward_range = (0.0, 1.0)

        def __init__(self) -> None:
            self.state, self.stream = 0, np.random.Generator(np.random.Philox(0))
            self.numbers: list[list[float]] = []

        def reset(self, **options: Any) -> tuple[int, dict[str, Any]]:
            return self.state, {}

        def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
            if not self.numbers:
                self.numbers = self.stream.random((4096, 2)).tolist()
            u, v = self.numbers.pop()
            gained = float(v < mean[self.state][action])
            self.state = scan(cumulative[self.state][action], u)
            return self.state, gained, False, False, {}

    return lambda: UCBVIAgent(Trajectory(), horizon=PEER_HORIZON).fit(steps // PEER_HORIZON)


def stream(steps: int) -> Callable[[], float]:
    """Return the numbers of our first replicate, one a call: successor and reward of each step in turn."""
    from verify.simulators._kernels_random import refill

    first, second = np.empty(steps), np.empty(steps)
    refill(Common.of(steps, 1, 0, DELTA, None, 1, None).key(0), 0, first, second)
    return iter(np.stack([first, second], axis=1).ravel().tolist()).__next__


def seconds(call: Callable[[], object]) -> float:
    """Return CPU seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def processor() -> str:
    """Return the name of the processor as far as the system tells it."""
    table = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in table.read_text().splitlines() if line.startswith("model name")] if table.exists() else []
    return f"{names[0] if names else platform.processor() or platform.machine()} ({os.cpu_count()} cores)"


def race(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the best seconds of each, taken in turn so that a busy machine slows all alike."""
    best = dict.fromkeys(calls, math.inf)
    for _ in range(repeats):
        for name, call in calls.items():
            best[name] = min(best[name], seconds(call))
    return best


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{processor()}, Python {platform.python_version()}, CPU seconds on one thread")

    mdp = river_swim(STATES)
    sums = np.cumsum(mdp.dense(), axis=2)
    sums[:, :, -1] = np.inf
    cumulative, reward = sums.tolist(), mdp.expected_reward.tolist()

    def ours(steps: int, seeds: int) -> Any:
        return simulate(mdp, algorithm="ucrl2", steps=steps, seeds=seeds, jobs=1, delta=DELTA, checkpoints=[steps])

    for steps in RACES:
        run = ours(steps, 1)

        plain = partial(plain_ucrl2, cumulative, reward, run.gain, steps)
        regret, episodes = plain(stream(steps))
        same = abs(regret - run.regret[0, -1]) < 1e-6 and episodes == run.diagnostics["episodes"][0]
        calls: dict[str, Callable[[], object]] = {
            "one": partial(ours, steps, 1),
            "more": partial(ours, steps, 1 + REPLICATES),
            "plain": partial(plain, random.Random(0).random),
        }
        best = race(calls, repeats)
        # A call solves for J* as well; the difference of two calls is what a replicate costs.
        each = (best["more"] - best["one"]) / REPLICATES
        print(f"UCRL2, RiverSwim-{STATES}, T = {steps}: {1e3 * each:.3f} ms a replicate, {1e8 * each / steps:.3f} ms per 1e5 steps;"
              f" a call with one replicate {1e3 * best['one']:.3f} ms")  # fmt: skip
        print(f"  plain Python comes to the same regret and episodes on the same numbers: {same} ({regret:.2f}, {episodes})")
        print(f"  plain Python with lists {best['plain']:.3f} s, ratio {best['plain'] / each:.0f} (to the call with one replicate: {best['plain'] / best['one']:.0f})")

        if steps == RACES[0]:
            arrays = seconds(lambda n=steps, g=run.gain: array_ucrl2(mdp.dense(), mdp.expected_reward, g, n, 0))
            print(f"  plain Python with NumPy arrays {arrays:.3f} s, ratio {arrays / each:.0f} (to the call with one replicate: {arrays / best['one']:.0f})")

    try:
        peer = peer_run(cumulative, reward, PEER_STEPS)
    except ImportError:
        print("rlberry-scool: not installed, left out (pip install rlberry-scool)")
    else:
        slow = seconds(peer)
        best = race({"one": lambda: ours(PEER_STEPS, 1), "more": lambda: ours(PEER_STEPS, 1 + REPLICATES)}, repeats)
        each = (best["more"] - best["one"]) / REPLICATES
        print(f"rlberry-scool UCBVI, horizon {PEER_HORIZON}, T = {PEER_STEPS}: {slow:.2f} s, ratio {slow / each:.0f}"
              f" (to the call with one replicate: {slow / best['one']:.0f})")  # fmt: skip

    hypotheses = hard_class(3, 10.0, 0.06)
    simulate(hypotheses, algorithm="loop", steps=100_000, seeds=1, jobs=1)
    loop = race({"loop": lambda: simulate(hypotheses, algorithm="loop", steps=100_000, seeds=1, jobs=1)}, repeats)["loop"]
    print(f"LOOP, |H| = {hypotheses.hypotheses}, |G| = {hypotheses.functions}: {loop:.4f} s per 1e5 steps")


if __name__ == "__main__":
    main()
