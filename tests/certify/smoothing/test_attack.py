"""The empirical attack stays within its budget, hurts, and never goes below what is certified."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certify.smoothing import MlpPolicy, Returns, certify_curve, default_policy_path, load_policy, sample_returns
from certify.smoothing.agreement import compare_returns
from certify.smoothing.attack import attack

SHIPPED = load_policy(default_policy_path())
SEARCH: dict[str, Any] = {"generations": 3, "pairs": 3, "training_episodes": 16, "max_steps": 100}


def linear(frames: int) -> MlpPolicy:
    k = np.tile([0.1, 0.4, 2.0, 1.0], frames) / frames
    return MlpPolicy((np.stack([np.zeros(4 * frames), k], axis=1),), (np.zeros(2),))


def perturb_twin(obs: np.ndarray, centre: np.ndarray, spread: np.ndarray, gain: np.ndarray, gate: float, left: float) -> tuple[np.ndarray, float]:
    delta = gain @ np.append(1.0, (obs - centre) / spread)
    total = float(delta @ delta)
    if total <= gate * gate or left < 1e-290:
        return np.zeros_like(delta), 0.0
    return (delta, total) if total <= left else (delta * np.sqrt(left / total), left)


@given(seed=st.integers(0, 9999), gate=st.floats(0.0, 3.0), left=st.floats(0.0, 4.0))
@example(seed=555, gate=0.0, left=2.2250738585e-313)
@settings(max_examples=100)
def test_a_perturbation_never_costs_more_than_is_left(seed: int, gate: float, left: float) -> None:
    from certify.smoothing import _kernels_attack as kernels

    rng = np.random.default_rng(seed)
    obs, centre, spread, gain = rng.normal(size=4), rng.normal(size=4), rng.uniform(0.1, 2.0, 4), rng.normal(size=(4, 5))
    delta = np.empty(4)
    cost = kernels.perturb(obs, centre, spread, gain, gate, left, delta)
    expected, price = perturb_twin(obs, centre, spread, gain, gate, left)
    np.testing.assert_allclose(delta, expected, rtol=1e-9, atol=1e-9)
    assert cost == pytest.approx(price, rel=1e-12)
    assert float(delta @ delta) <= cost <= left or cost == 0.0


def test_without_a_budget_the_attack_is_the_plain_run() -> None:
    result = attack(SHIPPED, "CartPole-v1", sigma=0.2, budget=0.0, episodes=200, seed=3, max_steps=100)
    plain = sample_returns(SHIPPED, "CartPole-v1", sigma=0.2, episodes=200, seed=3, max_steps=100)
    assert result.attacked_mean == result.clean_mean == plain.mean
    assert result.spent == 0.0
    assert result.upper > result.attacked_mean


@pytest.mark.parametrize(("budget", "seen"), [(0.4, 181.0), (0.6, 164.5)])
def test_the_sandwich_of_a_linear_policy(budget: float, seen: float) -> None:
    """Certified below attacked, and the search beats the best of 24 simple attacks on the same policy."""
    policy = linear(2)
    result = attack(policy, "CartPole-v0", sigma=0.2, budget=budget, episodes=1000, seed=0, frames=2, generations=10, training_episodes=64)
    returns = sample_returns(policy, "CartPole-v0", sigma=0.2, episodes=10_000, seed=1, frames=2)
    certified = float(certify_curve(returns, sigma=0.2, budgets=[budget]).lower[0])
    assert certified < result.attacked_mean < seen + 2.0
    assert result.attacked_mean < result.clean_mean - 3.0
    assert result.spent <= budget
    assert result.upper > result.attacked_mean
    json.dumps(result.to_json())


def test_same_seed_same_attack() -> None:
    calls: list[tuple[int, int]] = []
    first, second = (attack(SHIPPED, "CartPole-v1", sigma=0.2, budget=0.5, episodes=50, seed=1, progress=lambda k, n: calls.append((k, n)), **SEARCH) for _ in range(2))
    assert first == second
    one, total = calls[: len(calls) // 2], calls[0][1]
    assert one[-1] == (total, total)
    assert all(a[0] < b[0] for a, b in pairwise(one))
    assert {of for _, of in calls} == {total}


BAD = [
    ({"budget": -1.0}, "budget"), ({"budget": float("nan")}, "budget"), ({"alpha": 1.0}, "alpha"), ({"episodes": 0}, "episodes"), ({"pairs": 0}, "pairs"),
    ({"env_id": "FrozenLake-v1"}, "Box"), ({"sigma": 0.0}, "sigma"), ({"frames": 2}, "reads 4"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_arguments(change: dict[str, Any], message: str) -> None:
    setting: dict[str, Any] = {"env_id": "CartPole-v1", "sigma": 0.2, "budget": 0.1, "episodes": 5, **change}
    with pytest.raises(ValueError, match=message):
        attack(SHIPPED, setting.pop("env_id"), **setting)


def test_agreement_counts_and_bounds() -> None:
    a = Returns(np.arange(1000.0), engine="numba", dtype="float64")
    b = Returns(np.arange(1000.0) + (np.arange(1000) % 500 == 0), engine="torch-cuda", dtype="float32")
    result = compare_returns(a, b, alpha=0.05)
    assert (result.episodes, result.different, result.largest) == (1000, 2, 1.0)
    assert result.upper == pytest.approx(0.006281, abs=2e-6)
    assert compare_returns(a, b, tolerance=1.0).different == 0
    for other, message in ((Returns(np.arange(1000.0), seed=1), "seed"), (Returns(np.arange(999.0)), "same episodes")):
        with pytest.raises(ValueError, match=message):
            compare_returns(a, other)
    with pytest.raises(ValueError, match="tolerance"):
        compare_returns(a, b, tolerance=-1.0)
    with pytest.raises(ValueError, match="alpha"):
        compare_returns(a, b, alpha=0.0)
