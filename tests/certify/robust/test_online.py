"""DR-RPO: recorded learning curves, stalls, a slow twin of the estimates, reproducibility, bad input."""

import numpy as np
import pytest

from certify.robust import dr_rpo, evaluate_policy
from mdps import LinearMDP
from mdps.families import simulated_linear_mdp

MODEL = simulated_linear_mdp(0.2)
RADIUS = np.zeros((3, 4))
RADIUS[0, 3] = 0.5
POINTS = np.array([30, 100, 300, 1000, 2999])


@pytest.mark.parametrize(
    ("eta", "recorded"),
    [
        (0.3, (0.01624, 0.00709, 0.00329, 0.00122, 0.00050)),
        (0.1, (0.03779, 0.01633, 0.00698, 0.00255, 0.00106)),
        (0.02, (0.07726, 0.02462, 0.01062, 0.00423, 0.00171)),
    ],
)
def test_recorded_curves_and_slopes(eta, recorded):
    runs = [dr_rpo(MODEL, divergence="tv", radius=RADIUS, episodes=3000, temperature=eta, fail_state=3, seed=s) for s in range(5)]
    average = np.mean([run.average_suboptimality for run in runs], axis=0)[POINTS - 1]
    np.testing.assert_allclose(average, recorded, rtol=0.4)
    assert np.polyfit(np.log(POINTS), np.log(average), 1)[0] < -0.5
    assert min(run.suboptimality.min() for run in runs) >= -1e-12


def test_stalls_and_their_cures():
    common = {"divergence": "tv", "episodes": 3000, "fail_state": 3, "seed": 1}
    stalled = dr_rpo(MODEL, radius=RADIUS, temperature=0.02, beta=0.3, ridge=1.0, **common)
    assert 0.0265 < stalled.average_suboptimality[99] < 0.0285
    assert 0.0265 < stalled.average_suboptimality[-1] < 0.0285
    assert stalled.slope() > -0.2
    greedy = dr_rpo(MODEL, radius=0.0, temperature=0.0, beta=1.0, ridge=1.0, **common)
    assert greedy.suboptimality[-1] == pytest.approx(0.3006, abs=1e-4)
    for beta, ridge in ((1.0, 0.1), (0.3, 0.01), (3.0, 1.0)):
        cured = dr_rpo(MODEL, radius=RADIUS, temperature=0.02, beta=beta, ridge=ridge, **common)
        assert cured.average_suboptimality[-1] < 0.4 * stalled.average_suboptimality[-1]
        assert dr_rpo(MODEL, radius=0.0, temperature=0.0, beta=beta, ridge=ridge, **common).suboptimality[-1] < 1e-9


def test_too_large_a_bonus_plays_the_reference():
    run = dr_rpo(MODEL, divergence="tv", radius=RADIUS, temperature=0.1, beta=43.0, episodes=1000, fail_state=3)
    assert run.suboptimality[-1] == pytest.approx(0.1098, abs=1e-4)
    np.testing.assert_allclose(run.policy[:, 0], 1 / 16)


@pytest.mark.parametrize("divergence", ["tv", "kl", "chi2"])
def test_penalties_are_learned_and_optimistic(divergence):
    run = dr_rpo(MODEL, divergence=divergence, penalty=1.0, episodes=2000, temperature=0.1, fail_state=3)
    assert run.slope(first=30) < -0.5
    assert run.optimistic.all()
    last = evaluate_policy(MODEL, run.policy, divergence=divergence, penalty=1.0, temperature=0.1).value[0, 0]
    assert run.value[-1] == pytest.approx(last, abs=1e-10)


def slow_first_plan(divergence, size, v, weight, steps):
    """Worst cases of signed weights by brute force over levels."""
    if divergence == "kl":
        return -size * np.log(np.clip(1 + weight @ np.expm1(-v / size), np.exp(-steps / size), 1))
    if divergence == "tv-radius":
        return max(weight @ np.minimum(v, a) - size * a for a in [0.0, *v])
    if divergence == "tv":
        return weight @ np.minimum(v, size)
    best = -np.inf
    for a in np.concatenate([np.linspace(x, y, 5) for x, y in zip(np.sort(v), np.sort(v)[1:], strict=False)]):
        one, two = np.clip(weight @ np.minimum(v, a), 0, steps), np.clip(weight @ np.minimum(v, a) ** 2, 0, steps**2)
        best = max(best, one + (one**2 - two) / (4 * size))
    return best


@pytest.mark.parametrize(("divergence", "kind"), [("tv-radius", 0), ("tv", 3), ("kl", 4), ("chi2", 5)])
def test_estimates_agree_with_their_plain_twins(divergence, kind):
    from certify.robust._kernels_online import _estimate

    rng = np.random.default_rng(kind)
    for _ in range(50):
        v = rng.uniform(0, 2, 6)
        v[0] = 0.0
        weight, size = rng.normal(0.2, 0.3, 6), float(rng.uniform(0.1, 2))
        order = np.argsort(v)
        found = _estimate(kind, weight, v, order, 0.0, size, 2.0)
        assert found == pytest.approx(slow_first_plan(divergence, size, v, weight, 2.0), abs=1e-10)


@pytest.mark.parametrize("eta", [1e6, 1e12, 1e15])
def test_accounts_at_huge_temperatures_are_exact(eta):
    run = dr_rpo(MODEL, divergence="tv", radius=0.1, temperature=eta, episodes=3, fail_state=3)
    reference = evaluate_policy(MODEL, np.full((5, 16), 1 / 16), divergence="tv", radius=0.1).value[0, 0]
    assert run.optimal_value == pytest.approx(reference, abs=1e-6)
    assert np.all(run.suboptimality >= -1e-12)
    assert np.all(run.suboptimality <= 10.0 / eta + 1e-12)
    played = evaluate_policy(MODEL, run.policy, divergence="tv", radius=0.1, temperature=eta).value[0, 0]
    assert run.value[-1] == pytest.approx(played, abs=1e-12)


def test_a_longer_run_begins_as_a_shorter_one():
    short = dr_rpo(MODEL, divergence="tv", radius=RADIUS, episodes=40, seed=5, fail_state=3)
    long = dr_rpo(MODEL, divergence="tv", radius=RADIUS, episodes=80, seed=np.random.SeedSequence(5), fail_state=3)
    np.testing.assert_array_equal(short.suboptimality, long.suboptimality[:40])
    assert short.coverage.shape == (3,)
    assert "40 episodes" in repr(short)


def test_the_root_bonus_is_smaller():
    wide = dr_rpo(MODEL, divergence="tv", radius=RADIUS, episodes=1, fail_state=3, temperature=0.0, beta=0.1)
    root = dr_rpo(MODEL, divergence="tv", radius=RADIUS, episodes=1, fail_state=3, temperature=0.0, beta=0.1, bonus="root")
    assert root.promised[0] <= wide.promised[0]


BAD = [
    ({"divergence": "kl", "radius": 0.1}, "radius is for divergence 'tv' here"),
    ({"radius": None, "penalty": np.inf}, "penalty must be finite here"),
    ({"episodes": 0}, "episodes must be"),
    ({"ridge": 0.0}, "ridge must be"),
    ({"beta": -1.0}, "beta must be >= 0"),
    ({"beta": np.nan}, "beta must be"),
    ({"bonus": "full"}, "bonus must be one of"),
    ({"fail_state": 9}, "fail_state must be below 5"),
    ({"fail_state": 0}, "fail_state must have reward 0"),
    ({"seed": -1}, "seed must be"),
    ({"temperature": -1.0}, "temperature must be"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change, message):
    arguments = {"divergence": "tv", "radius": 0.1, "episodes": 5, **change}
    with pytest.raises(ValueError, match=message):
        dr_rpo(MODEL, **arguments)


def test_rewards_above_one_are_refused_because_estimates_are_clipped():
    model = LinearMDP(MODEL.features, MODEL.factors, 2 * MODEL.reward_weights, horizon=3)
    with pytest.raises(ValueError, match=r"rewards of mdp must lie in \[0, 1\]"):
        dr_rpo(model, divergence="tv", radius=0.1, episodes=5)


def test_a_slope_needs_episodes_and_losses():
    run = dr_rpo(MODEL, divergence="tv", radius=RADIUS, episodes=5, fail_state=3)
    with pytest.raises(ValueError, match="first must leave two episodes"):
        run.slope(first=5)
