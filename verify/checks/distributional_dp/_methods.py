"""Dynamic programs in plain Python: the right recursion, the wrong ones that the checks refute, and reference iterations on a lattice.

Nothing here is fast or shared with `certify.returns`: these are the other side of the comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checks.distributional_dp._oracle import Lattice

FloatArray = NDArray[np.float64]
Pairs = dict[float, float]

STEPS = 60
"""Iterations to rounding: gamma is at most 1/2 on the lattice."""
Functional = Callable[[float, Pairs, int], float]
Update = Callable[[float, float, float], float]


def right_stock(c: float, r: float, gamma: float) -> float:
    """Return (c + r)/gamma."""
    return (c + r) / gamma


def summed_stock(c: float, r: float, gamma: float) -> float:
    """Return c + r: wrong with a discount."""
    return c + r


def discounted_stock(c: float, r: float, gamma: float) -> float:
    """Return gamma (c + r): wrong with a discount."""
    return gamma * (c + r)


def no_stock(c: float, r: float, gamma: float) -> float:
    """Return 0: the past is forgotten."""
    return 0.0


def utility_functional(f: Callable[[float], float]) -> Functional:
    """Return E f(c + G)."""
    return lambda c, law, t: sum(p * f(c + x) for x, p in law.items())


def clocked_functional(f: Callable[[float], float], gamma: float) -> Functional:
    """Return E f(gamma^t (c + G)): the functional with a clock."""
    return lambda c, law, t: sum(p * f(gamma**t * (c + x)) for x, p in law.items())


def cvar_functional(tau: float) -> Functional:
    """Return the lower CVaR of c + G."""
    return lambda c, law, t: pairs_cvar({c + x: p for x, p in law.items()}, tau)


def pairs_cvar(law: Pairs, tau: float) -> float:
    """Return the lower CVaR of a law given as value -> probability."""
    left, total = tau, 0.0
    for x in sorted(law):
        taken = min(left, law[x])
        total, left = total + taken * x, left - taken
    return total / tau


def functional_dp(model: Lattice, functional: Functional, update: Update, horizon: int, state: int, stock: float) -> Pairs:
    """Return the law of the return of the policy that is greedy for `functional` at every step, with the stock kept by `update`."""
    memo: dict[tuple[int, int, float], Pairs] = {}

    def law(k: int, s: int, c: float) -> Pairs:
        if k == 0:
            return {0.0: 1.0}
        key = (k, s, round(c, 9))
        if key not in memo:
            best, chosen = -np.inf, {0.0: 1.0}
            for a in range(model.transition.shape[1]):
                mixed: Pairs = {}
                for t in np.flatnonzero(model.transition[s, a] > 0):
                    r, p = float(model.reward[s, a, t]), float(model.transition[s, a, t])
                    for x, w in law(k - 1, int(t), update(c, r, model.gamma)).items():
                        value = round(r + model.gamma * x, 10)
                        mixed[value] = mixed.get(value, 0.0) + p * w
                score = functional(c, mixed, horizon - k)
                if score > best + 1e-12:
                    best, chosen = score, mixed
            memo[key] = chosen
        return memo[key]

    return law(horizon, state, stock)


def expect(law: Pairs, f: Callable[[float], float]) -> float:
    """Return E f(X)."""
    return sum(p * f(x) for x, p in law.items())


# The risk-level decomposition: w(z) = z * CVaR_z is convex and piecewise linear in the level z.


@dataclass(frozen=True, slots=True, eq=False)
class Convex:
    """A convex piecewise linear function on [0, 1] with value 0 at 0: lengths and increasing slopes of its pieces."""

    lengths: FloatArray
    slopes: FloatArray

    def at(self, z: FloatArray) -> FloatArray:
        """Return values."""
        knots = np.concatenate([[0.0], np.cumsum(self.lengths)])
        return np.asarray(np.interp(z, knots, np.concatenate([[0.0], np.cumsum(self.lengths * self.slopes)])))


def risk_levels(model: Lattice, horizon: int) -> list[Convex]:
    """Return z * V(s, z) of dynamic programming on (state, risk level), exactly, for every state."""
    S, A, _ = model.transition.shape
    current = [Convex(np.ones(1), np.zeros(1)) for _ in range(S)]
    for _ in range(horizon):
        current = [_largest([_inner(model, s, a, current) for a in range(A)]) for s in range(S)]
    return current


def _inner(model: Lattice, s: int, a: int, current: list[Convex]) -> Convex:
    """Return min over levels z(s') with sum P z = y of sum P w(s', z): slopes merge in increasing order."""
    lengths, slopes = [], []
    for t in np.flatnonzero(model.transition[s, a] > 0):
        lengths.append(model.transition[s, a, t] * current[t].lengths)
        slopes.append(model.reward[s, a, t] + model.gamma * current[t].slopes)
    order = np.argsort(np.concatenate(slopes), kind="stable")
    return Convex(np.concatenate(lengths)[order], np.concatenate(slopes)[order])


def _largest(functions: list[Convex]) -> Convex:
    """Return the pointwise maximum, breaking at crossings."""
    best = functions[0]
    for other in functions[1:]:
        knots = np.unique(np.round(np.concatenate([[0.0, 1.0], np.cumsum(best.lengths), np.cumsum(other.lengths)]), 13))
        gap = best.at(knots) - other.at(knots)
        cross = np.flatnonzero(gap[:-1] * gap[1:] < 0)
        extra = knots[cross] + (knots[cross + 1] - knots[cross]) * gap[cross] / (gap[cross] - gap[cross + 1])
        knots = np.unique(np.concatenate([knots, extra]))
        value = np.maximum(best.at(knots), other.at(knots))
        best = Convex(np.diff(knots), np.diff(value) / np.diff(knots))
    return best


# Reference iterations on the integer lattice of gamma = 1/q with two slopes.


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Stocks -radius..radius, V (S, N), and the means that continue V beyond them, (S,) on either side."""

    model: Lattice
    slopes: tuple[float, float]
    radius: int

    @property
    def stocks(self) -> FloatArray:
        """The lattice."""
        return np.arange(-self.radius, self.radius + 1).astype(np.float64)

    def utility(self) -> FloatArray:
        """Return f on the lattice, (S, N)."""
        c = self.stocks
        f = self.slopes[1] * np.maximum(c, 0) + self.slopes[0] * np.minimum(c, 0)
        return np.repeat(f[None], self.model.transition.shape[0], axis=0)

    def action_values(self, value: FloatArray, below: FloatArray, above: FloatArray, *, clamp: bool = False) -> FloatArray:
        """Return gamma sum P V'(s', q (c + r)), (S, N, A), with the closed form (or the border, with `clamp`) beyond the lattice."""
        m = self.model
        c = self.stocks[None, :, None, None]
        following = np.rint(m.q * (c + m.reward[:, None, :, :])).astype(np.int64)  # (S, N, A, S')
        index = np.clip(following + self.radius, 0, 2 * self.radius)
        target = np.arange(m.transition.shape[0])
        v = value[target, index]
        if not clamp:
            v = np.where(following < -self.radius, self.slopes[0] * (following + below[target]), v)
            v = np.where(following > self.radius, self.slopes[1] * (following + above[target]), v)
        return np.asarray(m.gamma * (m.transition[:, None] * v).sum(axis=3))

    def mean_step(self, mean: FloatArray, side: int) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return one risk-neutral update on one side (0 below, 1 above) and its greedy actions."""
        m = self.model
        q = (m.transition * (m.reward + m.gamma * mean)).sum(axis=2)
        sign = 1.0 if self.slopes[side] >= 0 else -1.0
        action = (sign * q).argmax(axis=1)
        return q[np.arange(len(q)), action], action


def make_reference(model: Lattice, slopes: tuple[float, float]) -> Reference:
    """Return the lattice on which the closed form is exact outside."""
    bound = float(np.abs(model.reward).max())
    return Reference(model, slopes, max(1, int(np.ceil(bound / (1.0 - model.gamma)))))


def dvi(ref: Reference, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return F eta_n from the point mass at 0 on the lattice, and the n-step means that continue it."""
    value = ref.utility()
    below = above = np.zeros(ref.model.transition.shape[0])
    for _ in range(n):
        value = ref.action_values(value, below, above).max(axis=2)
        below, above = ref.mean_step(below, 0)[0], ref.mean_step(above, 1)[0]
    return value, below, above


def evaluate_greedy(ref: Reference, value: FloatArray, below: FloatArray, above: FloatArray) -> FloatArray:
    """Return F of the stationary policy that is greedy for the given values, on the lattice."""
    action = ref.action_values(value, below, above).argmax(axis=2)
    ends = [ref.mean_step(mean, side)[1] for side, mean in ((0, below), (1, above))]
    return evaluate(ref, action, ends[0], ends[1])


def evaluate(ref: Reference, action: NDArray[np.int64], below: NDArray[np.int64], above: NDArray[np.int64]) -> FloatArray:
    """Return F of a stationary policy of state and stock, by iteration to rounding."""
    m, S = ref.model, ref.model.transition.shape[0]
    means = []
    for chosen in (below, above):
        P, r = m.transition[np.arange(S), chosen], (m.transition * m.reward).sum(axis=2)[np.arange(S), chosen]
        means.append(np.linalg.solve(np.eye(S) - m.gamma * P, r))
    value = ref.utility()
    for _ in range(STEPS):
        q = ref.action_values(value, means[0], means[1])
        following = np.take_along_axis(q, action[:, :, None], axis=2)[:, :, 0]
        if np.abs(following - value).max() == 0.0:
            break
        value = following
    return value


def optimum(ref: Reference, *, clamp: bool = False) -> FloatArray:
    """Return F* on the lattice, by value iteration to rounding."""
    value = ref.utility()
    below = above = np.zeros(ref.model.transition.shape[0])
    for _ in range(STEPS):
        below, above = ref.mean_step(below, 0)[0], ref.mean_step(above, 1)[0]
    for _ in range(STEPS):
        value = ref.action_values(value, below, above, clamp=clamp).max(axis=2)
    return value


def largest_return(model: Lattice) -> float:
    """Return D from the point mass at 0: sup over policies and states of E|G|, itself a stock problem with utility |x|."""
    ref = make_reference(model, (-1.0, 1.0))
    return float(optimum(ref)[:, ref.radius].max())


def projected_dvi(ref: Reference, atoms: FloatArray, n: int) -> FloatArray:
    """Return F of the laws after n sweeps with categorical projection, on the lattice; atoms must cover r + gamma z."""
    m, S, K = ref.model, ref.model.transition.shape[0], atoms.size
    N = 2 * ref.radius + 1
    law = np.zeros((S, N + 2, K))  # 0: below the lattice, N + 1: above it
    law[:, :, :] = _split(np.zeros(1), atoms)[0]
    moved = {float(r): _split(r + m.gamma * atoms, atoms) for r in np.unique(m.reward)}
    stocks = np.concatenate([[-ref.radius - 1.0], ref.stocks, [ref.radius + 1.0]])
    f = ref.slopes[1] * np.maximum(stocks[:, None] + atoms, 0) + ref.slopes[0] * np.minimum(stocks[:, None] + atoms, 0)  # (N+2, K)
    f[0], f[-1] = ref.slopes[0] * atoms, ref.slopes[1] * atoms
    for _ in range(n):
        following = np.zeros_like(law)
        for s in range(S):
            choices = np.zeros((m.transition.shape[1], N + 2, K))
            for a in range(m.transition.shape[1]):
                for t in range(S):
                    r = float(m.reward[s, a, t])
                    index = np.clip(np.rint(m.q * (stocks + r)) + ref.radius + 1, 0, N + 1).astype(np.int64)
                    index[0], index[-1] = 0, N + 1
                    choices[a] += m.transition[s, a, t] * law[t, index] @ moved[r]
            score = np.einsum("ack,ck->ac", choices, f)
            following[s] = choices[score.argmax(axis=0), np.arange(N + 2)]
        law = following
    return np.asarray(np.einsum("sck,ck->sc", law, f)[:, 1:-1])


def _split(points: FloatArray, atoms: FloatArray) -> FloatArray:
    """Return how unit masses at points split over the atoms, (points, K)."""
    x = np.clip(points, atoms[0], atoms[-1])
    right = np.clip(np.searchsorted(atoms, x), 1, atoms.size - 1)
    weight = (x - atoms[right - 1]) / (atoms[right] - atoms[right - 1])
    out = np.zeros((x.size, atoms.size))
    out[np.arange(x.size), right - 1] = 1.0 - weight
    out[np.arange(x.size), right] += weight
    return out


def policy_iteration(ref: Reference, *, worsen: bool = False) -> list[FloatArray]:
    """Return F of every policy that policy iteration visits from the first action everywhere; `worsen` takes the worst action instead."""
    S, N = ref.model.transition.shape[0], 2 * ref.radius + 1
    action = np.zeros((S, N), dtype=np.int64)
    ends = [np.zeros(S, dtype=np.int64), np.zeros(S, dtype=np.int64)]
    values: list[FloatArray] = []
    sign = -1.0 if worsen else 1.0
    for _ in range(30):
        values.append(evaluate(ref, action, ends[0], ends[1]))
        means = [_mean_of(ref.model, chosen) for chosen in ends]
        q = ref.action_values(values[-1], means[0], means[1])
        kept = np.take_along_axis(q, action[:, :, None], axis=2)[:, :, 0]
        better = (sign * q).max(axis=2) > sign * kept + 1e-11
        changed = better.any()
        action = np.where(better, (sign * q).argmax(axis=2), action)
        for side in (0, 1):
            m = ref.model
            qm = sign * ref.slopes[side] * (m.transition * (m.reward + m.gamma * means[side])).sum(axis=2)
            gain = qm.max(axis=1) > qm[np.arange(S), ends[side]] + 1e-11
            changed = changed or gain.any()
            ends[side] = np.where(gain, qm.argmax(axis=1), ends[side])
        if not changed:
            break
    return values


def _mean_of(model: Lattice, chosen: Any) -> FloatArray:
    S = model.transition.shape[0]
    P, r = model.transition[np.arange(S), chosen], (model.transition * model.reward).sum(axis=2)[np.arange(S), chosen]
    return np.asarray(np.linalg.solve(np.eye(S) - model.gamma * P, r))
