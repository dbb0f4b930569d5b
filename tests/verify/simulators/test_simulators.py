"""The simulators: streams, slow twins, reference figures, independence of workers, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f as f_distribution

import mdps
from certify.complexity import model_class, value_class
from mdps.families import gamble, river_swim, two_loops
from theory import loop_agec
from verify.checks.loop_agec._classes import near_class
from verify.checks.loop_agec._planning import plan, random_estimate
from verify.simulators import (
    ALGORITHMS,
    LinearMixture,
    RegretRun,
    fit_slope,
    gap_envelope,
    hard_class,
    hard_features,
    loop,
    optimistic_policy,
    parse_instance,
    simulate,
    theoretical_bound,
)
from verify.simulators.envelope import default_gaps
from verify.simulators.run import default_checkpoints

CASES = [("ucrl2", "river-swim:4"), ("loop", "hard:2,10,0.06"), ("mle-loop", "hard:2,10,0.06"), ("ucrl2-vtr", "hard:2,10,0.06"),
         ("olsvi-fh", "river-swim:3")]  # fmt: skip


def test_philox_known_answers() -> None:
    """The test vectors of the Random123 library."""
    from verify.simulators._kernels_random import philox

    plain = philox.py_func
    zero = [np.uint64(0)] * 6
    pi = [np.uint64(v) for v in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)]
    assert [int(v) for v in plain(*zero)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert [int(v) for v in plain(*pi)] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_numbers_of_a_stream_are_uniform_and_addressable() -> None:
    from verify.simulators._kernels_random import draw, guide, refill

    key = np.array([5, 7], dtype=np.uint64)
    u, v, late = np.empty(40_000), np.empty(40_000), np.empty(10)
    refill(key, 0, u, v)
    refill(key, 1000, late, np.empty(10))
    assert np.array_equal(late, u[1000:1010])
    for sample in (u, v):
        assert 0.0 <= sample.min() < sample.max() < 1.0
        assert abs(sample.mean() - 0.5) < 6 * np.sqrt(1 / 12 / sample.size)
    assert abs(np.corrcoef(u, v)[0, 1]) < 0.03
    for size in (3, 40):
        cumulative = np.arange(1, size + 1) / size
        assert [draw(cumulative, (k + 0.5) / size) for k in range(size)] == list(range(size))
        assert draw(cumulative, 1.0) == size - 1
    for size in (1, 3, 200):
        rows = np.cumsum(np.random.default_rng(size).dirichlet(np.full(size, 0.3), size=(2, 2)), axis=2)
        table = guide(rows)
        cells = table.shape[2]
        for s, a, c in np.ndindex(table.shape):
            assert table[s, a, c] == draw(rows[s, a], c / cells) <= draw(rows[s, a], (c + 0.999) / cells)


@pytest.mark.parametrize(("algorithm", "instance"), CASES)
def test_result_does_not_depend_on_workers_or_other_replicates(algorithm: str, instance: str) -> None:
    together = simulate(instance, algorithm=algorithm, steps=2000, seeds=5, jobs=4, seed=3)
    alone = simulate(instance, algorithm=algorithm, steps=2000, seeds=[3], jobs=1, seed=3)
    assert np.array_equal(together.regret[3], alone.regret[0])
    assert np.array_equal(together.switches[3], alone.switches[0])
    other = simulate(instance, algorithm=algorithm, steps=2000, seeds=[3], jobs=1, seed=4)
    assert not np.array_equal(alone.regret, other.regret)
    assert together.regret.shape == together.switches.shape == (5, together.checkpoints.size)
    assert together.checkpoints[-1] == 2000
    assert np.all(np.diff(together.switches, axis=1) >= 0)
    stored = json.loads(together.to_json())
    assert stored["regret"] == together.regret.tolist()


def slow_ucrl2(mdp: mdps.TabularMDP, steps: int, key: np.ndarray, delta: float) -> list[float]:
    """Run UCRL2 step by step in plain Python on the same random numbers; return the rewards received."""
    from verify.simulators._kernels_random import refill

    p, r = mdp.dense(), mdp.expected_reward
    states, actions = r.shape
    u, v = np.empty(steps), np.empty(steps)
    refill(key, 0, u, v)
    counts, sums = np.zeros((states, actions, states)), np.zeros((states, actions))
    s, received, t = 0, [], 0
    while t < steps:
        visits = counts.sum(axis=2)
        d_r, d_p = loop_agec.ucrl2_widths(visits, states, actions, t + 1, delta)
        estimate = np.where(visits[:, :, None] > 0, counts / np.maximum(visits, 1)[:, :, None], 1 / states)
        optimistic = np.minimum(1.0, sums / np.maximum(visits, 1) + d_r)
        policy = plan(estimate, optimistic, d_p, 1 / np.sqrt(t + 1), "jacobi")
        inside = np.zeros((states, actions))
        while t < steps and inside[s, policy[s]] < max(1, visits[s, policy[s]]):
            a = int(policy[s])
            k = min(int(np.searchsorted(np.cumsum(p[s, a]), u[t], side="right")), states - 1)
            gained = float(v[t] < r[s, a])
            received.append(gained)
            sums[s, a] += gained
            counts[s, a, k] += 1
            inside[s, a] += 1
            s, t = k, t + 1
    return received


@pytest.mark.parametrize("states", [2, 4])
def test_ucrl2_equals_its_slow_twin(states: int) -> None:
    from verify.simulators.run import Common

    mdp, steps = river_swim(states), 1500
    received = slow_ucrl2(mdp, steps, Common.of(steps, 1, 9, 0.05, None, 1, None).key(0), 0.05)
    run = simulate(mdp, algorithm="ucrl2", steps=steps, seeds=1, seed=9, checkpoints=[100, 700, steps])
    expected = run.checkpoints * run.gain - np.cumsum(received)[run.checkpoints - 1]
    assert run.regret[0] == pytest.approx(expected, abs=1e-6)


def test_ucrl2_reproduces_the_reference_figures() -> None:
    """Means over 8 seeds lie within five combined standard errors of 12052, 29535, 41533, 64703."""
    run = simulate(river_swim(6), algorithm="ucrl2", steps=1e6, seeds=8, checkpoints=[30_000, 100_000, 300_000, 1_000_000])
    mean, sd = np.array([12052, 29535, 41533, 64703]), np.array([388, 2513, 4114, 5886])
    error = np.sqrt(sd**2 / 8 + run.regret.var(axis=0, ddof=1) / 8)
    assert np.all(np.abs(run.mean - mean) < 5 * error)
    assert run.diagnostics["episodes"].max() <= loop_agec.ucrl2_episode_bound(6, 2, 1e6)
    assert np.nanmin(run.diagnostics["optimism"]) >= 0
    assert run.diagnostics["confidence_event"].all()
    assert (run.diagnostics["unfinished"] == 0).all()
    low, high = run.band()
    assert np.all((low < run.mean) & (run.mean < high))


@pytest.mark.slow
def test_ucrl2_is_consistent_with_the_reference_figures() -> None:
    """Welch intervals at 64 replicates: the means lie within the error of the eight reference replicates, and so do the spreads."""
    run = simulate(river_swim(6), algorithm="ucrl2", steps=1e6, seeds=64, seed=2, checkpoints=[30_000, 100_000, 300_000, 1_000_000])
    mean, sd = np.array([12052, 29535, 41533, 64703]), np.array([388, 2513, 4114, 5886])
    spread = run.regret.std(axis=0, ddof=1)
    assert np.all(np.abs(run.mean - mean) < 3.5 * np.sqrt(sd**2 / 8 + spread**2 / 64))
    # The ratio of sample variances with 7 and 63 degrees of freedom: limits of probability 1e-3 on each side.
    ratio = (sd / spread) ** 2
    assert np.all((f_distribution.ppf(1e-3, 7, 63) < ratio) & (ratio < f_distribution.ppf(1 - 1e-3, 7, 63)))
    assert run.diagnostics["confidence_event"].all()


def test_confidence_event_tells_the_missing_factor_apart() -> None:
    from verify.checks.loop_agec.regret import _hub

    hub = _hub(400)
    right = simulate(hub, algorithm="ucrl2", steps=500, seeds=1)
    wrong = simulate(hub, algorithm="ucrl2", steps=500, seeds=1, state_factor=False)
    assert right.diagnostics["confidence_event"].all()
    assert not wrong.diagnostics["confidence_event"].any()
    assert wrong.diagnostics["confidence_ratio"][0] == pytest.approx(20 * right.diagnostics["confidence_ratio"][0], rel=0.1)


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_inner_maximum_equals_the_linear_program(seed: int) -> None:
    """One sweep from u: its value is the linear program over the L1 ball and the simplex."""
    from scipy.optimize import linprog

    kernel, rewards, widths = random_estimate(seed)
    # Rewards stand in for u: the first sweep sees u = 0, the second u = max rewards, so a huge tolerance stops after the first.
    policy, low, high = optimistic_policy(kernel, rewards, widths, tolerance=1e9)
    assert np.array_equal(policy, rewards.argmax(axis=1))
    from verify.checks.loop_agec._planning import _shift_mass

    u = rewards[:, 0]
    shifted = _shift_mass(kernel, widths, u)
    n = len(u)
    for s, a in ((0, 0), (3, 2)):
        constraints = np.block([[np.eye(n), -np.eye(n)], [-np.eye(n), -np.eye(n)], [np.zeros((1, n)), np.ones((1, n))]])
        limits = np.concatenate([kernel[s, a], -kernel[s, a], [widths[s, a]]])
        program = linprog(np.concatenate([-u, np.zeros(n)]), constraints, limits, np.concatenate([np.ones(n), np.zeros(n)])[None], [1.0])
        assert shifted[s, a] @ u == pytest.approx(-program.fun, abs=1e-7)
    assert low <= high


def test_compiled_planner_equals_plain_sweeps_and_the_broken_ones_differ() -> None:
    different = dict.fromkeys(("in-place", "stale kernel"), 0)
    for index in range(60):
        estimate = random_estimate(index)
        right = plan(*estimate, 1e-3, "jacobi")
        assert np.array_equal(optimistic_policy(*estimate, tolerance=1e-3)[0], right)
        for variant in different:
            different[variant] += not np.array_equal(plan(*estimate, 1e-3, variant), right)
    assert all(count > 0 for count in different.values())


def test_loop_equals_its_slow_twin() -> None:
    """Replay the path of LOOP from the recorded choices: losses recomputed from scratch at every step."""
    from verify.simulators._kernels_random import refill
    from verify.simulators.run import Common

    found, steps = near_class(1), 300
    common = Common.of(steps, 1, 2, 0.05, None, 1, None)
    u, v = np.empty(steps), np.empty(steps)
    refill(common.key(0), 0, u, v)
    beta, p, r = 0.4, found.mdp.dense(), found.mdp.expected_reward
    s, current, seen, choices, total = 0, -1, [], [], 0.0
    for t in range(steps):
        loss = np.zeros((found.hypotheses, found.functions))
        for state, action, reward, after in seen:
            loss += (found.target[None, :, state, action] - reward - found.value[:, None, after]) ** 2
        excess = loss[np.arange(found.hypotheses), np.arange(found.hypotheses)] - loss.min(axis=1)
        if current < 0 or excess[current] > 4 * beta:
            allowed = np.flatnonzero(excess <= beta)
            current = int(allowed[np.argmax(found.gain[allowed])]) if allowed.size else int(excess.argmin())
            choices.append((t + 1, current))
        a = int(found.policy[current, s])
        k = min(int(np.searchsorted(np.cumsum(p[s, a]), u[t], side="right")), 2)
        total += r[s, a]
        seen.append((s, a, r[s, a], k))
        s = k
    run = loop(found, steps=steps, seeds=1, seed=2, beta=beta, jobs=1)
    assert list(zip(run.diagnostics["episode_start"][0].tolist(), run.diagnostics["episode_choice"][0].tolist(), strict=True)) == choices
    assert run.regret[0, -1] == pytest.approx(steps * run.gain - total, abs=1e-8)


@pytest.mark.parametrize("ties", ["adversarial", "first", "truth"])
def test_loop_decomposes_and_switches_little(ties: str) -> None:
    run = simulate(hard_class(3, 10.0, 0.06), algorithm="loop", steps=30_000, seeds=4, ties=ties, beta_scale=0.1)
    parts = run.diagnostics["decomposition"]
    assert run.regret == pytest.approx(parts[:, :, :3].sum(axis=2), abs=1e-6)
    assert np.all(run.switches <= loop_agec.switching_bound_pathwise(parts[:, :, 4], run.options["beta"]))
    assert run.diagnostics["confidence_event"].all()
    if ties == "truth":
        assert run.regret[:, -1].max() < 1000


def test_lost_truth_is_reported() -> None:
    run = simulate(hard_class(3, 10.0, 0.06), algorithm="loop", steps=30_000, seeds=8, beta=5e-4 * 3.846**2)
    assert not run.diagnostics["confidence_event"].any()


def test_mixture_learner_is_optimistic_and_converges() -> None:
    run = simulate("hard:3,10,0.06", algorithm="ucrl2_vtr", steps=30_000, seeds=4, checkpoints=[10_000, 30_000])
    assert run.diagnostics["confidence_event"].all()
    assert np.nanmin(run.diagnostics["optimism"]) >= -1e-9
    small = simulate("hard:3,10,0.06", algorithm="ucrl2-vtr", steps=30_000, seeds=4, radius_scale=0.1)
    assert small.mean[-1] < 0.5 * run.mean[-1]


def test_inverse_of_the_kernel() -> None:
    from verify.simulators._kernels_linear import invert

    x = np.random.default_rng(0).normal(size=(20, 5))
    matrix, inverse = x.T @ x, np.zeros((5, 5))
    assert invert(matrix, inverse) == pytest.approx(np.linalg.slogdet(matrix)[1])
    assert inverse == pytest.approx(np.linalg.inv(matrix))


def test_fixed_horizon_learner_improves() -> None:
    run = simulate("river-swim:3", algorithm="olsvi", steps=20_000, seeds=2, bonus_factor=0.01)
    assert run.mean[-1] < 0.5 * run.gain * 20_000
    phi = np.random.default_rng(0).random((3, 2, 2))
    assert simulate(river_swim(3), algorithm="olsvi-fh", steps=500, seeds=1, features=phi, horizon=5).diagnostics["horizon"] == 5


def test_envelope_slope() -> None:
    classes = {gap: hard_class(3, 10.0, gap) for gap in default_gaps(10.0, 5)}

    def run_at(scale: float):  # type: ignore[no-untyped-def]
        return lambda gap, t: simulate(classes[gap], algorithm="loop", steps=t, seeds=4, checkpoints=[t], beta_scale=scale)

    steps = (10_000, 30_000, 100_000)
    good, bad = (fit_slope(gap_envelope(run_at(scale), steps=steps, gaps=list(classes))) for scale in (0.1, 500.0))
    assert 0.40 < good.value < 0.76
    assert bad.value > 0.95
    assert good.bootstrap_lower <= good.value <= good.bootstrap_upper
    with pytest.raises(ValueError, match="at least two"):
        gap_envelope(run_at(1.0), steps=[10], gaps=[0.1])


@pytest.mark.slow
def test_envelope_slope_is_near_one_half_and_the_loose_radius_linear() -> None:
    """HARD(3, 10), radius x 0.01, T = 3e3 to 1e5: printed slope 0.61, window 0.45..0.72.

    A radius 5000 times larger keeps the regret linear, a slope of 1 up to noise (printed: 1.09).
    """
    steps, gaps = (3_000, 10_000, 30_000, 100_000), default_gaps(10.0, 14)
    classes = {float(gap): hard_class(3, 10.0, gap) for gap in gaps}

    def slope(scale: float) -> float:
        def run_at(gap: float, t: int) -> RegretRun:
            return simulate(classes[gap], algorithm="loop", steps=t, seeds=16, seed=1, checkpoints=[t], beta_scale=scale)

        return fit_slope(gap_envelope(run_at, steps=steps, gaps=gaps)).value

    assert 0.45 <= slope(0.01) <= 0.72
    assert 0.95 <= slope(50.0) <= 1.15


def test_bounds_go_with_algorithms() -> None:
    grid = [100, 1000]
    assert theoretical_bound(river_swim(3), "ucrl2", grid)[0].shape == (2,)  # type: ignore[index]
    assert "G11" in theoretical_bound(hard_class(2, 10.0, 0.05), "loop", grid)[1]  # type: ignore[index]
    assert "G13" in theoretical_bound(hard_class(2, 10.0, 0.05), "mle-loop", grid)[1]  # type: ignore[index]
    assert theoretical_bound(river_swim(3), "olsvi-fh", grid) is None


def test_bound_belongs_to_the_radius_of_the_whole_run() -> None:
    """At a checkpoint before the end the radius is that of all T steps, not the smaller one of a run that ended there."""
    found, grid = hard_class(2, 10.0, 0.05), np.array([100, 10_000])
    bound = theoretical_bound(found, "loop", grid)
    assert bound is not None
    d, b, c = found.dimension(1e-4).lower, found.span, found.largest_error
    beta = b**2 * np.log(10_000 * 4 * 8 / 0.05)
    by_hand = 2 * np.sqrt(10 * d * beta * grid) + b * np.sqrt(grid * np.log(20) / 2) + d * c + 1
    by_hand += b * (1 + 10 * d * (1 + np.log(grid)) + (d * c**2 + 1) / beta)
    assert bound[0] == pytest.approx(by_hand, rel=1e-6)


def test_options_that_void_a_bound() -> None:
    def found(instance: object, algorithm: str, **options: object) -> bool:
        run = simulate(instance, algorithm=algorithm, steps=200, seeds=1, **options)
        return theoretical_bound(instance, algorithm, run.checkpoints, options=run.options) is not None

    small, river = hard_class(2, 10.0, 0.05), river_swim(3)
    assert found(small, "loop")
    assert found(small, "loop", beta_scale=2.0)
    assert found(small, "LOOP", ties="truth")
    assert found(small, "mle-loop")
    assert found(river, "UCRL2")
    assert not found(small, "loop", beta_scale=0.5)
    assert not found(small, "loop", patience=2.0)
    assert not found(small, "mle-loop", beta_scale=0.5)
    assert not found(small, "mle-loop", patience=4.0)
    assert not found(river, "ucrl2", state_factor=False)


def test_replicates_may_be_an_array() -> None:
    together = simulate(river_swim(3), steps=np.float64(300), seeds=np.arange(1, 4))
    assert together.seeds == (1, 2, 3)
    assert np.array_equal(together.regret, simulate(river_swim(3), steps=300, seeds=range(4)).regret[1:])


def test_likelihood_needs_the_true_kernel_and_known_rewards() -> None:
    """Transitions say nothing about rewards, and where V is constant every kernel has a vanishing Bellman error."""
    p, r = river_swim(3).dense(), river_swim(3).expected_reward
    greedy = mdps.TabularMDP(p, np.minimum(1.0, r + 0.3))
    with pytest.raises(ValueError, match="must share the known rewards for algorithm 'mle-loop': model 1"):
        simulate(model_class(river_swim(3), [river_swim(3), greedy]), algorithm="mle-loop", steps=100, seeds=1)
    flat = np.full((2, 1), 0.5)
    truth, other = (mdps.TabularMDP(np.array([[[1 - q, q]], [[q, 1 - q]]]), flat) for q in (0.3, 0.4))
    lookalike = model_class(truth, [other])
    assert lookalike.realisable
    with pytest.raises(ValueError, match="no member has its kernel and rewards"):
        simulate(lookalike, algorithm="mle-loop", steps=100, seeds=1)
    with pytest.raises(ValueError, match="beta must be a positive finite number, got 0.0"):
        simulate(lookalike, algorithm="loop", steps=100, seeds=1)
    assert simulate(lookalike, algorithm="loop", steps=100, seeds=1, beta=1.0).diagnostics["confidence_event"].all()


def test_progress_and_checkpoints() -> None:
    seen: list[tuple[int, int]] = []
    simulate(gamble(4.0), steps=100, seeds=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert default_checkpoints(1_000_000)[-1] == 1_000_000
    assert {30_000, 100_000, 300_000} <= set(default_checkpoints(1_000_000).tolist())
    assert simulate(gamble(4.0), steps=1, seeds=1).checkpoints.tolist() == [1]
    assert np.isinf(simulate(gamble(4.0), steps=1, seeds=1).band()[1]).all()


negative = mdps.TabularMDP(np.ones((1, 1, 1)), np.array([[-0.5]]))

BAD = [
    pytest.param(river_swim(3), {"algorithm": "x"}, ValueError, "algorithm must be one of", id="algorithm"),
    pytest.param("river:3", {}, ValueError, "instance must be one of", id="family"),
    pytest.param("river-swim:a", {}, ValueError, "river-swim:STATES", id="words"),
    pytest.param("river-swim:inf", {}, ValueError, "finite numbers", id="infinite"),
    pytest.param("river-swim:2.5", {}, ValueError, "states must be an integer", id="half-state"),
    pytest.param("hard:3", {"algorithm": "loop"}, ValueError, "hard:DIMENSION,DIAMETER,GAP", id="few-numbers"),
    pytest.param("hard:9,10,0.01", {"algorithm": "loop"}, ValueError, "dimension must be between 1 and 6", id="large-class"),
    pytest.param("hard:3,10,0.5", {"algorithm": "loop"}, ValueError, "gap must be", id="gap"),
    pytest.param("river-swim:3", {"algorithm": "loop"}, ValueError, "must be of the family hard", id="no-class"),
    pytest.param(two_loops(linked=False), {}, ValueError, "multichain", id="multichain"),
    pytest.param(two_loops(linked=False), {"algorithm": "olsvi-fh"}, ValueError, "multichain", id="multichain-olsvi"),
    pytest.param(negative, {}, ValueError, r"rewards must be in \[0, 1\], got -0.5 at state 0, action 0", id="negative-reward"),
    pytest.param(river_swim(3), {"steps": 0}, ValueError, "steps must be an integer >= 1", id="steps"),
    pytest.param(river_swim(3), {"steps": 1.5}, ValueError, "steps must be an integer >= 1", id="half-step"),
    pytest.param(river_swim(3), {"seeds": 0}, ValueError, "seeds must be an integer >= 1", id="seeds"),
    pytest.param(river_swim(3), {"seeds": [0.5, 1.5]}, ValueError, "seeds must be a count or different", id="half-seeds"),
    pytest.param(river_swim(3), {"seeds": 4.0}, ValueError, "seeds must be an integer >= 1", id="float-seeds"),
    pytest.param(river_swim(3), {"seeds": []}, ValueError, "seeds must be a count or different", id="no-seeds"),
    pytest.param(river_swim(3), {"steps": 10**19}, ValueError, "steps must be at most", id="many-steps"),
    pytest.param(river_swim(3), {"state_factor": "no"}, ValueError, "state_factor must be True or False", id="state-factor"),
    pytest.param(river_swim(3), {"algorithm": None}, ValueError, "algorithm must be one of", id="no-algorithm"),
    pytest.param(river_swim(3), {"seeds": [1, 1]}, ValueError, "seeds must be a count or different", id="equal-seeds"),
    pytest.param(river_swim(3), {"delta": 1.0}, ValueError, r"delta must be in \(0, 1\)", id="delta"),
    pytest.param(river_swim(3), {"delta": float("nan")}, ValueError, r"delta must be in \(0, 1\)", id="nan-delta"),
    pytest.param(river_swim(3), {"seed": -1}, ValueError, "seed must be an integer >= 0", id="seed"),
    pytest.param(river_swim(3), {"jobs": 0}, ValueError, "jobs must be an integer >= 1", id="jobs"),
    pytest.param(river_swim(3), {"checkpoints": [5, 5]}, ValueError, "checkpoints must increase", id="checkpoints"),
    pytest.param(river_swim(3), {"checkpoints": "abc"}, ValueError, "checkpoints must increase", id="text-checkpoints"),
    pytest.param(river_swim(3), {"checkpoints": [np.nan]}, ValueError, "checkpoints must increase", id="nan-checkpoint"),
    pytest.param(river_swim(3), {"checkpoints": [200]}, ValueError, "checkpoints must increase", id="late-checkpoint"),
    pytest.param(river_swim(3), {"rewards": "x"}, ValueError, "rewards must be one of", id="rewards"),
    pytest.param(river_swim(3), {"beta": 1.0}, TypeError, "unexpected option 'beta' for algorithm ucrl2", id="unknown-option"),
    pytest.param("hard:2,10,0.05", {"algorithm": "loop", "beta": 0.0}, ValueError, "beta must be a positive", id="beta"),
    pytest.param("hard:2,10,0.05", {"algorithm": "loop", "ties": "x"}, ValueError, "ties must be one of", id="ties"),
    pytest.param("hard:2,10,0.05", {"algorithm": "ucrl2-vtr", "ridge": -1.0}, ValueError, "ridge must be a positive", id="ridge"),
    pytest.param(river_swim(3), {"algorithm": "loop"}, ValueError, "hypotheses must be a FiniteClass", id="model-for-loop"),
    pytest.param(river_swim(3), {"algorithm": "ucrl2-vtr"}, ValueError, "mixture must be a LinearMixture", id="model-for-vtr"),
    pytest.param(river_swim(3), {"algorithm": "olsvi-fh", "features": np.ones((3, 2))}, ValueError, "features must be finite with shape", id="features"),
    pytest.param("gamble:4", {"algorithm": "olsvi-fh", "horizon": 0}, ValueError, "horizon must be an integer >= 1", id="horizon"),
    pytest.param(3, {}, ValueError, "mdp must be a TabularMDP", id="not-a-model"),
]


@pytest.mark.parametrize(("instance", "options", "error", "message"), BAD)
def test_bad_input(instance: object, options: dict[str, object], error: type[Exception], message: str) -> None:
    arguments: dict[str, object] = {"steps": 100, "seeds": 1, **options}
    with pytest.raises(error, match=message):
        simulate(instance, **arguments)  # type: ignore[arg-type]


def test_other_refusals() -> None:
    good = hard_features(2, 10.0, 0.05)
    with pytest.raises(ValueError, match="features must reproduce the kernel"):
        LinearMixture(good.mdp, good.features, 2.0 * good.theta, 10.0)
    with pytest.raises(ValueError, match="features must have shape"):
        LinearMixture(good.mdp, good.features[:1], good.theta, 10.0)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        optimistic_policy(*random_estimate(0), tolerance=0.0)
    with pytest.raises(ValueError, match="dimension must be between 1 and 10"):
        hard_features(11, 10.0, 0.05)
    assert set(ALGORITHMS) == {name for name, _ in CASES}
    assert parse_instance("random:3,2").n_states == 3
    masked = mdps.TabularMDP(np.ones((1, 2, 1)), np.zeros((1, 2)), action_mask=np.array([[True, False]]))
    with pytest.raises(ValueError, match="allow every action"):
        simulate(masked, steps=10, seeds=1)
    plain = value_class(near_class(0).mdp, near_class(0).action_value, near_class(0).gain)
    with pytest.raises(ValueError, match="must come from models"):
        simulate(plain, algorithm="mle-loop", steps=10, seeds=1)
