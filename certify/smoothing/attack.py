"""An empirical attack on a policy: an upper bound on what any certificate could be, beside the certified lower one.

The adversary sees the clean observation o_t (never the noise) and moves it by delta_t = G (1, (o_t - m) / s), nothing when that is
shorter than a gate, and cut to what is left of the budget, so that sum ||delta_t||^2 <= B^2 on every path.  The gain G and the gate are
found by evolution strategies on one set of episodes; the reported mean comes from others, so it is an unbiased estimate for one
admissible adversary, and its upper confidence limit bounds the worst case from above.

Source: policy_smoothing, setting (adaptive adversaries with a total budget).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify._validate import require_integer_at_least, require_open_unit, require_real
from certify.smoothing._networks import MlpPolicy
from certify.smoothing._plan import Plan, pack
from certify.smoothing.sampling import plan_sampling

__all__ = ["AttackResult", "attack"]

FloatArray = NDArray[np.float64]

_CEILINGS = {"CartPole-v0": 1.0, "CartPole-v1": 1.0}
"""Largest reward of one step where that is above 0; elsewhere 0 is, but for the goal of the continuous car."""

_TRAINING = 1 << 40
"""Number of the first training episode: far from every episode of a certificate or of the report."""


@dataclass(frozen=True)
class AttackResult:
    """What an adversary within the budget achieved.

    Parameters
    ----------
    env_id, policy_sha256 : str
        What was attacked.
    sigma : float or tuple of float
        Noise scale.
    budget : float
        Total l2 budget over the episode.
    episodes, seed : int
        Fresh episodes of the report and their stream.
    attacked_mean, clean_mean : float
        Mean returns with and without the attack, on the same episodes.
    upper : float
        Upper confidence limit, at level 1 - alpha, of the mean return under this adversary, hence of the worst case.
    alpha : float
        Error probability of `upper`.
    spent : float
        Mean l2 norm spent in an episode.
    gain : tuple of tuple of float
        The adversary's map from (1, standardised observation) to the perturbation.
    gate : float
        Shorter perturbations are not made.
    """

    env_id: str
    policy_sha256: str
    sigma: float | tuple[float, ...]
    budget: float
    episodes: int
    seed: int
    attacked_mean: float
    clean_mean: float
    upper: float
    alpha: float
    spent: float
    gain: tuple[tuple[float, ...], ...]
    gate: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, as plain JSON values.

        Returns
        -------
        dict
            The fields.
        """
        return asdict(self)


def attack(
    policy: Any,
    env_id: str,
    *,
    sigma: float | tuple[float, ...],
    budget: float,
    episodes: int = 1000,
    seed: int = 0,
    frames: int = 1,
    alpha: float = 0.05,
    generations: int = 20,
    pairs: int = 8,
    training_episodes: int = 128,
    max_steps: int | None = None,
    normalisation: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Search an adaptive adversary within a budget and report how far it brings the mean return down.

    Parameters
    ----------
    policy : Policy, str or Path
        A perceptron.
    env_id : str
        An environment with built-in dynamics.
    sigma : float or tuple of float
        Noise scale of the policy.
    budget : float
        Total l2 budget over the episode, at least 0.
    episodes : int
        Fresh episodes for the report.
    seed : int
        Stream of the report and of the search.
    frames : int
        Stacked frames, each noised (and attacked) once.
    alpha : float
        Error probability of the upper limit.
    generations, pairs, training_episodes : int
        Extent of the search.
    max_steps : int or None
        Step limit in place of the environment's.
    normalisation : Normalisation, str, Path or None
        As in `sample_returns`.
    progress : callable or None
        Called with (adversaries of the search scored, those in all, one on four times the episodes counting four).

    Returns
    -------
    AttackResult
        The best adversary found and its effect.

    Raises
    ------
    ValueError
        If an argument is outside its range or the environment has no built-in dynamics.

    Notes
    -----
    Source: policy_smoothing, setting.  A weak search gives a high upper bound, never a wrong one.
    """
    if require_real("budget", budget) < 0.0:
        raise ValueError(f"budget must be a finite number of at least 0, got {budget!r}")
    require_open_unit("alpha", alpha)
    for name, value, least in (("episodes", episodes, 1), ("generations", generations, 0), ("pairs", pairs, 1), ("training_episodes", training_episodes, 1)):
        require_integer_at_least(name, value, least)
    plan, facts = plan_sampling(
        policy, env_id, sigma=sigma, seed=seed, frames=frames, engine="numba", max_steps=max_steps, normalisation=normalisation
    )  # fmt: skip
    game = _Game(plan, float(budget))
    clean = game.play(0, episodes, np.zeros((plan.env.size, plan.env.size + 1)), 0.0)[0]
    gain, gate = np.zeros((plan.env.size, plan.env.size + 1)), 0.0
    if budget > 0:
        gain, gate = _search(game, facts["seed"], generations, pairs, training_episodes, progress or (lambda done, total: None))
    values, spent = game.play(0, episodes, gain, gate)
    return AttackResult(
        env_id, facts["policy_sha256"], facts["sigma"], float(budget), int(episodes), facts["seed"], float(values.mean()), float(clean.mean()),
        _upper(values, plan, alpha), float(alpha), float(spent.mean()), tuple(tuple(map(float, row)) for row in gain), float(gate),
    )  # fmt: skip


class _Game:
    """The attacked episodes of one plan."""

    def __init__(self, plan: Plan, budget: float) -> None:
        policy: MlpPolicy = plan.policy
        self.plan, self.budget = plan, budget
        box = policy.head.kind == "box"
        bounds = np.array([policy.head.low[0], policy.head.high[0]] if box else [0.0, 0.0])
        self.network = (
            *pack(policy, plan.dtype), policy.activation == "relu", plan.dtype == "float32", box, policy.head.squash, bounds, plan.shift, plan.scale, plan.clip,
        )  # fmt: skip
        self.centre, self.spread = np.zeros(plan.env.size), np.ones(plan.env.size)
        self.steps = 1.0
        self._learn_scales()

    def play(self, first: int, episodes: int, gain: FloatArray, gate: float) -> tuple[FloatArray, FloatArray]:
        """Return returns and norms spent."""
        return self._run(first, episodes, gain, gate)[:2]

    def _run(self, first: int, episodes: int, gain: FloatArray, gate: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        from certify.smoothing import _kernels_attack as kernels

        returns, spent, moments = np.empty(episodes), np.empty(episodes), np.zeros((3, self.plan.env.size))
        kernels.attacked(
            self.plan.env.code, first, returns, spent, moments, self.plan.key, self.plan.max_steps, self.plan.frames, self.plan.sigma, *self.network,
            self.budget, gain, gate, self.centre, self.spread,
        )  # fmt: skip
        return returns, spent, moments

    def slope(self) -> FloatArray:
        """Return the unit direction, per coordinate of a frame, in which the gap between the first two outputs grows fastest at the mean."""
        policy: MlpPolicy = self.plan.policy
        size, frames = self.plan.env.size, self.plan.frames
        steps = 1e-3 * np.tile(np.concatenate([np.diag(self.spread), -np.diag(self.spread)]), (1, frames))
        x = np.tile(self.centre, frames) + steps
        scores = policy.scores((x - self.plan.shift) / self.plan.scale if self.plan.clip else x)
        gap = scores[:, -1] - scores[:, 0] if scores.shape[1] > 1 else scores[:, 0]
        slope = (gap[:size] - gap[size:]) / self.spread
        length = float(np.linalg.norm(slope))
        return np.asarray(slope / length if length > 0 else np.ones(size) / np.sqrt(size))

    def _learn_scales(self) -> None:
        size = self.plan.env.size
        moments = self._run(_TRAINING, 32, np.zeros((size, size + 1)), 0.0)[2]
        count = moments[0, 0]
        self.steps = count / 32
        centre = moments[1] / count
        spread = np.sqrt(np.maximum(moments[2] / count - centre**2, 0.0))
        self.centre, self.spread = centre, np.where(spread > 1e-9, spread, 1.0)


def _search(game: _Game, seed: int, generations: int, pairs: int, episodes: int, progress: Callable[[int, int], None]) -> tuple[FloatArray, float]:
    """Return the gain and gate with the lowest mean return on training episodes."""
    size = game.plan.env.size
    rng = np.random.Generator(np.random.Philox(key=[seed, 0x61747461]))
    first = _TRAINING + 32

    starts = _simple(size, game.budget, game.steps, game.slope())
    total, scored = len(starts) + 4 * min(len(starts), 12) + 2 * pairs * generations + 4 * (generations + 1), 0

    def score(theta: FloatArray, count: int) -> float:
        nonlocal scored
        mean = float(game.play(first, count, theta[:-1].reshape(size, size + 1), abs(float(theta[-1])))[0].mean())
        scored += count // episodes
        progress(scored, total)
        return mean

    # Everything is scored roughly, the leaders again on more episodes: the lowest of many noisy means would be a lucky one.
    rough = np.array([score(theta, episodes) for theta in starts])
    leaders = [starts[k] for k in rough.argsort(kind="stable")[:12]]
    first += episodes
    theta = leaders[int(np.argmin([score(leader, 4 * episodes) for leader in leaders]))].copy()
    finalists = [theta.copy()]
    step = 0.5 * max(float(np.linalg.norm(theta[:-1])), 1e-6) / np.sqrt(theta.size)
    for _ in range(generations):
        first += 4 * episodes
        directions = rng.standard_normal((pairs, theta.size))
        values = np.array([[score(theta + step * d, episodes), score(theta - step * d, episodes)] for d in directions])
        ranks = values.ravel().argsort(kind="stable").argsort(kind="stable").reshape(values.shape) / (values.size - 1)
        theta = theta - 2.0 * step * (ranks[:, 0] - ranks[:, 1]) @ directions / np.sqrt(pairs)
        finalists.append(theta.copy())
    first += 4 * episodes
    final = finalists[int(np.argmin([score(f, 4 * episodes) for f in finalists]))]
    return final[:-1].reshape(size, size + 1), abs(float(final[-1]))


def _simple(size: int, budget: float, steps: float, slope: FloatArray) -> list[FloatArray]:
    """Return the constant pushes and feedbacks from which the search starts, at several rates of spending."""
    directions = [*np.eye(size), slope]
    out = []
    for share in (steps, steps / 4.0, steps / 16.0, 8.0, 3.0):
        rate = budget / np.sqrt(max(share, 1.0))
        for direction in directions:
            for sign in (1.0, -1.0):
                push, feedback = np.zeros((size, size + 1)), np.zeros((size, size + 1))
                push[:, 0] = sign * rate * direction
                feedback[:, 1:] = sign * rate * np.outer(direction, np.where(np.abs(direction) > 0, np.sign(direction), 0.0))
                out += [np.append(push.ravel(), 0.0), *(np.append(feedback.ravel(), gate * rate) for gate in (0.0, 1.0, 2.0))]
    return out


def _upper(values: FloatArray, plan: Plan, alpha: float) -> float:
    """Return an upper confidence limit of the mean: the certificate of (ceiling - return) at budget 0, turned round."""
    from certify.smoothing.certificates import certify_curve

    ceiling = _CEILINGS.get(plan.env.env_id, 0.0) * plan.max_steps
    if plan.env.env_id == "MountainCarContinuous-v0":
        ceiling = 100.0
    shortfall = certify_curve(ceiling - values, sigma=1.0, budgets=[0.0], alpha=alpha, floor=0.0)
    return float(np.nextafter(ceiling - float(shortfall.lower[0]), np.inf))
