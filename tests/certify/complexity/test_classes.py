"""Finite classes against their definitions in plain loops, and what counts as the truth at the edge of rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdps
from certify.complexity import model_class, value_class
from certify.complexity.classes import FiniteClass, average_solution
from verify.simulators import hard_class

EDGES = [(0.0, True), (8.0, True), (13.0, False), (17.0, False)]
"""Distances in units of rounding, and whether they count as nothing: ten units do."""


def random_model(seed: int, states: int = 3, actions: int = 2) -> mdps.TabularMDP:
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 9, size=(states, actions, states)).astype(float)
    return mdps.TabularMDP(p / p.sum(axis=2, keepdims=True), rng.uniform(-1.0, 1.0, size=(states, actions)))


def scaled_class(size: float) -> FiniteClass:
    """Return a class of two hypotheses, the truth second, whose largest action value is about `size`."""
    truth = random_model(5)
    _, _, q = average_solution(truth)
    gain, _, _ = average_solution(truth)
    other = np.zeros((3, 2))
    other[0, 0] = 2.0 * size
    return value_class(truth, np.stack([other, q]), [0.1, gain])


@given(st.integers(0, 10**6))
def test_errors_backups_and_completion_are_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_model(seed)
    values, gains = rng.normal(size=(4, 3, 2)), rng.normal(size=4)
    found = value_class(truth, values, gains)
    p, r = truth.dense(), truth.expected_reward
    unit = found.rounding
    worst = 0.0
    for f in range(4):
        v = [max(found.action_value[f, s]) for s in range(3)]
        assert max(v) == pytest.approx(-min(v), abs=1e-14)
        assert np.ptp(found.action_value[f] - values[f]) < 1e-14
        assert found.value[f] == pytest.approx(v)
        assert found.policy[f].tolist() == [int(values[f, s, 1] > values[f, s, 0]) for s in range(3)]
        for s in range(3):
            for a in range(2):
                backup = r[s, a] + sum(p[s, a, k] * v[k] for k in range(3))
                exact = found.action_value[f, s, a] + gains[f] - backup
                assert found.target[f, s, a] == pytest.approx(found.action_value[f, s, a] + gains[f], abs=1e-14)
                assert found.target[4 + f, s, a] == pytest.approx(backup, abs=1e-14)
                assert abs(found.errors[f, s, a] - exact) <= 0.5 * unit + 1e-14
                worst = max(worst, abs(exact))
    assert found.largest_error == pytest.approx(worst, abs=unit)
    assert found.span == pytest.approx(max(np.ptp(values[f].max(axis=1)) for f in range(4)))
    assert found.completion.tolist() == [4, 5, 6, 7]
    assert (found.hypotheses, found.functions) == (4, 8)
    assert found.complete
    assert found.truth is None
    assert found.inexactness == np.inf
    assert found.dimension(0.1).upper >= 1


@given(st.integers(0, 10**6))
def test_the_solution_satisfies_the_optimality_equation(seed: int) -> None:
    model = random_model(seed)
    gain, bias, q = average_solution(model)
    assert q == pytest.approx(model.expected_reward + model.dense() @ bias - gain, abs=1e-12)
    assert q.max(axis=1) == pytest.approx(bias, abs=1e-8)
    assert bias.max() == pytest.approx(-bias.min(), abs=1e-14)
    found = model_class(random_model(seed + 1), [model])
    assert found.optimal_span == pytest.approx(np.ptp(average_solution(random_model(seed + 1))[1]))
    assert found.gain[0] == pytest.approx(gain)
    assert found.kernels is not None
    assert np.array_equal(found.kernels[0], model.dense())


@pytest.mark.parametrize("size", [0.01, 3.0, 1000.0])
def test_the_unit_is_a_power_of_two_at_the_scale_of_the_values(size: float) -> None:
    """Between 1e-9 and 2e-9 of the largest value, or of 1 where all values are smaller."""
    found = scaled_class(size)
    largest = max(1.0, np.abs(found.action_value).max(), np.abs(found.optimal_bias).max())
    assert 1e-9 * largest <= found.rounding < 2e-9 * largest
    assert np.frexp(found.rounding)[0] == 0.5
    assert np.array_equal(found.errors, np.rint(found.errors / found.rounding) * found.rounding)
    spread = replace(found, optimal_bias=found.optimal_bias * 1e5)
    assert 1e-9 * np.abs(spread.optimal_bias).max() <= spread.rounding < 2e-9 * np.abs(spread.optimal_bias).max()


@pytest.mark.parametrize(("units", "counts"), EDGES)
def test_the_truth_may_be_off_by_ten_units(units: float, counts: bool) -> None:
    """A Bellman error or a gain that is off by more is another hypothesis; the two of them add up."""
    base = scaled_class(1.0)
    unit = base.rounding
    moved = base.action_value.copy()
    s = int(moved[1].max(axis=1).argmin())
    lesser = int(moved[1, s].argmin())
    moved[1, s, lesser] -= units * unit
    found = replace(base, action_value=moved)
    assert found.truth == (1 if counts else None)
    assert found.realisable is counts
    gains = replace(base, optimal_gain=float(base.gain[1]) + units * unit)
    assert gains.truth == (1 if counts else None)
    both = replace(base, action_value=moved, optimal_gain=float(base.gain[1]) - 0.5 * units * unit)
    assert both.truth == (1 if 1.5 * units <= 10.0 else None)


@pytest.mark.parametrize(("units", "counts"), EDGES)
def test_completion_may_be_off_by_ten_units(units: float, counts: bool) -> None:
    base = scaled_class(1.0)
    target = base.target.copy()
    target[2, 1, 1] += units * base.rounding
    found = replace(base, target=target)
    assert found.completion[0] == (2 if counts else -1)
    assert found.complete is counts
    if counts:
        backed_up = base.mdp.expected_reward + np.einsum("sak,fk->fsa", base.mdp.dense(), base.value)
        own = base.action_value[1] + base.gain[1] - backed_up[1]
        missed = [np.abs(target[found.completion[f]] - backed_up[f]).max() for f in range(2)]
        assert found.inexactness == pytest.approx(max(np.abs(own).max(), *missed), abs=1e-15)


def test_inexactness_is_that_of_the_truth_where_this_is_larger() -> None:
    base = scaled_class(1.0)
    moved = base.action_value.copy()
    s = int(moved[1].max(axis=1).argmin())
    moved[1, s, int(moved[1, s].argmin())] -= 7.0 * base.rounding
    assert replace(base, action_value=moved).inexactness == pytest.approx(7.0 * base.rounding, rel=1e-3)


@pytest.mark.parametrize(("relative", "same"), [(0.0, True), (8e-13, True), (1.3e-12, False), (1e-10, False)])
def test_kernels_are_compared_entry_by_entry(relative: float, same: bool) -> None:
    """A constant value function makes the Bellman error of every kernel vanish, so kernels themselves are compared, relative to each entry."""
    one = mdps.TabularMDP(np.array([[[1e-6, 1.0 - 1e-6]], [[0.5, 0.5]]]), np.full((2, 1), 0.25))
    kernels = np.stack([one.dense(), one.dense()])
    kernels[0, 1, 0] = [0.25, 0.75]
    kernels[1, 0, 0, 0] *= 1.0 + relative
    found = value_class(one, np.zeros((2, 2, 1)), [0.25, 0.25], kernels=kernels)
    assert found.truth == 0
    assert found.model_truth == (1 if same else None)
    assert found.other_rewards is None


@pytest.mark.parametrize(("units", "counts"), EDGES)
def test_models_of_the_truth_may_be_off_by_ten_units(units: float, counts: bool) -> None:
    base = hard_class(2, 10.0, 0.06)
    unit = base.rounding
    moved = replace(base, optimal_gain=float(base.gain[3]) + units * unit)
    assert moved.model_truth == (3 if counts else None)
    worse = base.action_value.copy()
    s = int(worse[3].max(axis=1).argmin())
    worse[3, s, int(worse[3, s].argmin())] -= units * unit
    found = replace(base, action_value=worse)
    assert found.model_truth == (3 if counts else None)
    assert found.other_rewards == (None if counts else 3)
    both = replace(found, optimal_gain=float(base.gain[3]) + 0.5 * units * unit)
    assert both.model_truth == (3 if 1.5 * units <= 10.0 else None)


def test_rewards_of_models_are_those_of_their_own_equations() -> None:
    """The reward of a model is Q + J - P V with its own kernel, whatever the true kernel."""
    models = [random_model(seed) for seed in range(4)]
    rewards = models[0].expected_reward
    same = [mdps.TabularMDP(m.dense(), rewards) for m in models]
    found = model_class(models[0], same)
    assert found.other_rewards is None
    assert found.model_truth == 0
    assert model_class(models[0], [same[1], same[2], models[3]]).other_rewards == 2
    assert model_class(models[0], [same[1], same[2]]).model_truth is None
    assert value_class(models[0], np.zeros((1, 3, 2)), [0.0]).model_truth is None
    assert value_class(models[0], np.zeros((1, 3, 2)), [0.0]).other_rewards is None


def test_the_dimension_takes_the_method_that_is_asked_for() -> None:
    base = hard_class(3, 10.0, 0.06)
    assert base.dimension(0.01, method="exact").upper == base.dimension(0.01).upper == 4
    assert base.dimension(0.01, method="bracket").upper >= 4
    rng = np.random.default_rng(0)
    wide = value_class(random_model(1, 11, 2), rng.normal(size=(20, 11, 2)), rng.normal(size=20))
    assert wide.dimension(0.3).upper <= 20
    with pytest.raises(ValueError, match="use method 'bracket'"):
        wide.dimension(0.3, method="exact")


def test_given_auxiliary_functions_replace_the_backups() -> None:
    base = scaled_class(1.0)
    found = value_class(base.mdp, base.action_value, base.gain, auxiliary=np.full((3, 3, 2), 0.5))
    assert found.functions == 5
    assert np.array_equal(found.target[2:], np.full((3, 3, 2), 0.5))
    assert found.completion.tolist() == [-1, 1]
