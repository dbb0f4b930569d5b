"""Random models on a lattice of returns, and the enumeration of every history-dependent policy as the oracle.

Returns of h steps with gamma = 1/q (or 1) and integer rewards are integers after multiplication by q^(h-1); laws are rows of masses on
that lattice, so the enumeration is exact up to the sums of probabilities k/n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mdps

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A small model: probabilities (S, A, S), integer rewards (S, A, S), gamma = 1/q."""

    transition: FloatArray
    reward: FloatArray
    q: int

    @property
    def gamma(self) -> float:
        """Discount."""
        return 1.0 / self.q

    def mdp(self) -> mdps.TabularMDP:
        """Return the model with its discount."""
        return mdps.TabularMDP(self.transition, self.reward, discount=self.gamma)


@lru_cache(maxsize=512)
def random_lattice(seed: int, *, states: int = 2, actions: int = 2, q: int = 2, reward: int = 2) -> Lattice:
    """Return a model with probabilities k/8 and rewards in -reward..reward."""
    rng = np.random.Generator(np.random.Philox(seed))
    weight = np.stack([np.bincount(rng.integers(0, states, 8), minlength=states) for _ in range(states * actions)])
    return Lattice(weight.reshape(states, actions, states) / 8.0, rng.integers(-reward, reward + 1, (states, actions, states)).astype(float), q)


def one_state(*arms: dict[int, float], q: int = 2) -> Lattice:
    """Return a model whose every state offers the same arms, each a law of one integer reward: the arrival state encodes the reward."""
    size = max(len(arm) for arm in arms)
    P, R = np.zeros((size, len(arms), size)), np.zeros((size, len(arms), size))
    for a, arm in enumerate(arms):
        for k, (r, p) in enumerate(arm.items()):
            P[:, a, k], R[:, a, k] = p, r
    return Lattice(P, R, q)


def acceptance() -> Lattice:
    """Return the acceptance instance: safe pays 1, risky 0 or 3, gamma = 1/2."""
    return one_state({1: 1.0}, {0: 0.5, 3: 0.5})


@dataclass(frozen=True, slots=True, eq=False)
class Achievable:
    """The laws of the h-step return of all deterministic history-dependent policies from one state: `masses` (policies, N) on `atoms`."""

    atoms: FloatArray
    masses: FloatArray

    def best(self, utility: Any) -> float:
        """Return the largest expected utility."""
        return float((self.masses @ utility(self.atoms)).max())

    def best_cvar(self, tau: float) -> float:
        """Return the largest lower CVaR."""
        before = np.cumsum(self.masses, axis=1) - self.masses
        taken = np.clip(tau - before, 0.0, self.masses)
        return float((taken @ self.atoms).max() / tau)


@lru_cache(maxsize=256)
def achievable(model: Lattice, state: int, horizon: int) -> Achievable:
    """Enumerate every deterministic history-dependent policy; randomised ones are mixtures of these."""
    S, A, q = model.transition.shape[0], model.transition.shape[1], model.q
    bound = int(np.abs(model.reward).max())
    radius = [bound * sum(q**i for i in range(k)) for k in range(horizon + 1)]  # returns of k steps, times q^(k-1)
    rows: list[FloatArray] = [np.ones((1, 1)) for _ in range(S)]
    for k in range(1, horizon + 1):
        rows = [np.concatenate([_combined(model, s, a, k, radius, rows) for a in range(A)]) for s in range(S)]
        rows = [np.unique(np.round(r, 12), axis=0) for r in rows]
    n = radius[horizon]
    return Achievable(np.arange(-n, n + 1) / q ** max(0, horizon - 1), rows[state])


def _combined(model: Lattice, s: int, a: int, k: int, radius: list[int], rows: list[FloatArray]) -> FloatArray:
    """Return the laws of k steps that start with action a: one for each choice of a continuation in every successor."""
    size = 2 * radius[k] + 1
    support = np.flatnonzero(model.transition[s, a] > 0)
    parts = []
    for t in support:
        moved = np.zeros((rows[t].shape[0], size))
        shift = int(model.reward[s, a, t]) * model.q ** (k - 1)
        start = radius[k] + shift - radius[k - 1]
        moved[:, start : start + 2 * radius[k - 1] + 1] = rows[t]
        parts.append(model.transition[s, a, t] * moved)
    chosen = [sum(combination) for combination in product(*[list(p) for p in parts])] if len(parts) > 1 else list(parts[0])
    return np.asarray(chosen)
