"""Models as padded arrays, the extremes of their returns and their risk-neutral optima, against loops over the model itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import mdps
from certify.returns._model import extremes, read_problem, risk_neutral


def random_parts(seed, S=3, A=2, H=None, zeros=0.3):
    rng = np.random.Generator(np.random.Philox(seed))
    shape = (S, A, S) if H is None else (H, S, A, S)
    kept = rng.random(shape) >= zeros
    kept[..., 0] |= ~kept.any(axis=-1)
    weight = rng.integers(1, 9, shape) * kept
    kernel = weight / weight.sum(axis=-1, keepdims=True)
    mask = rng.random((S, A)) < 0.7
    mask[np.arange(S), rng.integers(0, A, S)] = True
    return kernel, rng.integers(-8, 9, shape) / 4.0, mask


def transitions(problem, t, s, a):
    m = problem.stage(t)
    return sorted((int(m.succ[s, a, b]), float(m.prob[s, a, b]), float(m.rew[s, a, b])) for b in range(m.count[s, a]))


def expected_transitions(kernel, reward, s, a):
    return [(t, pytest.approx(kernel[s, a, t], abs=1e-15), reward[s, a, t]) for t in range(kernel.shape[-1]) if kernel[s, a, t] > 0]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.booleans())
def test_every_transition_is_kept_and_nothing_else(seed: int, thin: bool) -> None:
    kernel, reward, mask = random_parts(seed)
    if thin:
        shown = sparse.csr_matrix(kernel.reshape(6, 3))
        model = mdps.TabularMDP(
            shown, sparse.csr_matrix((reward.reshape(6, 3)[shown.nonzero()], shown.indices, shown.indptr), shape=(6, 3)), discount=0.5, action_mask=mask
        )
    else:
        model = mdps.TabularMDP(kernel, reward, discount=0.5, action_mask=mask)
    problem = read_problem(model)
    m = problem.stage(7)
    assert (m.n_states, m.n_actions, problem.n_states) == (3, 2, 3)
    assert m.allowed.tolist() == mask.tolist()
    for s in range(3):
        for a in range(2):
            assert transitions(problem, 0, s, a) == (expected_transitions(kernel, reward, s, a) if mask[s, a] else [])
            assert m.prob[s, a].sum() == pytest.approx(float(mask[s, a]), abs=1e-15)
            assert m.real[s, a].tolist() == [True] * int(m.count[s, a]) + [False] * int(m.succ.shape[2] - m.count[s, a])
    assert m.succ.shape[2] == m.count.max()  # no more padding than the longest row asks for
    assert problem.largest_reward == max(abs(r) for s in range(3) for a in range(2) for _, _, r in transitions(problem, 0, s, a))


def test_mean_rewards_serve_every_successor() -> None:
    kernel, _, _ = random_parts(3)
    reward = np.arange(6.0).reshape(3, 2)
    for shown in (kernel, sparse.csr_matrix(kernel.reshape(6, 3))):
        problem = read_problem(mdps.TabularMDP(shown, reward, discount=0.5))
        for s, a in product(range(3), range(2)):
            assert {r for _, _, r in transitions(problem, 0, s, a)} == {reward[s, a]}


def test_rows_that_are_off_by_rounding_are_renormalised() -> None:
    kernel = np.full((3, 1, 3), 1.0 / 3.0)
    kernel[0, 0] += 1e-10
    m = read_problem(mdps.TabularMDP(kernel, np.zeros((3, 1)), discount=0.5)).stage(0)
    assert m.prob.sum(axis=2) == pytest.approx(1.0, abs=1e-15)


def test_discount_horizon_and_start() -> None:
    kernel, reward, _ = random_parts(5)
    plain = mdps.TabularMDP(kernel, reward, discount=None)
    assert read_problem(plain, horizon=4).gamma == 1.0
    assert read_problem(plain.with_discount(0.25)).gamma == 0.25
    staged = mdps.FiniteHorizonMDP(kernel, reward, horizon=5)
    assert (read_problem(staged).gamma, read_problem(staged).horizon, len(read_problem(staged).stages)) == (1.0, 5, 1)
    assert read_problem(staged, horizon=5).horizon == 5
    with pytest.raises(ValueError, match="horizon must be that of the model"):
        read_problem(staged, horizon=4)
    assert read_problem(plain, horizon=1).initial.tolist() == [1.0, 0.0, 0.0]
    assert read_problem(plain, horizon=1, initial=2).initial.tolist() == [0.0, 0.0, 1.0]
    assert read_problem(plain, horizon=1, initial=0).initial.tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="initial"):
        read_problem(plain, horizon=1, initial=3)
    off = read_problem(plain, horizon=1, initial=[0.5, 0.5 + 5e-10, 0.0]).initial
    assert abs(off.sum() - 1.0) <= 1e-15
    own = mdps.TabularMDP(kernel, reward, discount=0.5, initial=[0.0, 0.25, 0.75])
    assert read_problem(own).initial.tolist() == [0.0, 0.25, 0.75]


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_stages_and_the_final_value(seed: int) -> None:
    kernel, reward, _ = random_parts(seed, H=3)
    final = np.array([1.0, -2.0, 0.5])
    problem = read_problem(mdps.FiniteHorizonMDP(kernel, reward, horizon=3, final_value=final))
    for t, s, a in product(range(3), range(3), range(2)):
        assert transitions(problem, t, s, a) == expected_transitions(kernel[t], reward[t] + (final if t == 2 else 0.0), s, a)
    one = read_problem(mdps.FiniteHorizonMDP(kernel[0], reward[0], horizon=3, final_value=final))
    assert len(one.stages) == 3
    assert transitions(one, 1, 0, 0) == expected_transitions(kernel[0], reward[0], 0, 0)
    assert problem.largest_reward == max(abs(r) for t, s, a in product(range(3), range(3), range(2)) for _, _, r in transitions(problem, t, s, a))


def loop_values(problem, sign, paths, steps):
    """Largest or smallest return of each state after `steps` decisions, over successors too with `paths`."""
    pick = max if sign > 0 else min
    values = [[0.0] * problem.n_states]
    for k in range(steps):
        t = problem.horizon - 1 - k if problem.horizon is not None else 0
        m, row = problem.stage(t), []
        for s in range(problem.n_states):
            options = []
            for a in range(m.n_actions):
                if m.count[s, a]:
                    outcomes = [(p, r + problem.gamma * values[-1][y]) for y, p, r in transitions(problem, t, s, a)]
                    options += [x for _, x in outcomes] if paths else [sum(p * x for p, x in outcomes)]
            row.append(pick(options))
        values.append(row)
    return values[::-1]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from([-1.0, 1.0]))
def test_extremes_and_risk_neutral_optima(seed: int, gamma: float, sign: float) -> None:
    kernel, reward, mask = random_parts(seed)
    for paths in (False, True):
        finite = read_problem(mdps.TabularMDP(kernel, reward, discount=gamma, action_mask=mask), horizon=4)
        found = extremes(finite)[int(sign > 0)] if paths else risk_neutral(finite, sign)
        assert found.shape == (5, 3)
        assert np.abs(found - np.array(loop_values(finite, sign, paths, 4))).max() <= 1e-13
        if gamma < 1.0:
            endless = read_problem(mdps.TabularMDP(kernel, reward, discount=gamma, action_mask=mask))
            found = extremes(endless)[int(sign > 0)] if paths else risk_neutral(endless, sign)
            assert found.shape == (1, 3)
            assert np.abs(found[0] - np.array(loop_values(endless, sign, paths, 350)[0])).max() <= 1e-12
    kernels, rewards, _ = random_parts(seed, H=3)
    staged = read_problem(mdps.FiniteHorizonMDP(kernels, rewards, horizon=3))
    assert np.abs(extremes(staged)[1] - np.array(loop_values(staged, 1.0, True, 3))).max() <= 1e-13
    assert np.abs(risk_neutral(staged, sign) - np.array(loop_values(staged, sign, False, 3))).max() <= 1e-13


def test_small_gains_are_found_and_smaller_ones_do_not_keep_the_search_going() -> None:
    kernel = np.ones((1, 2, 1))
    problem = read_problem(mdps.TabularMDP(kernel, np.array([[1.0, 1.0 + 1e-11]]), discount=0.5))
    assert extremes(problem)[1][0, 0] == pytest.approx(2.0 + 2e-11, abs=1e-14)
    tiny = read_problem(mdps.TabularMDP(kernel, np.array([[-1e-3, 1e-3]]), discount=0.5))
    assert extremes(tiny)[1][0, 0] == pytest.approx(2e-3, abs=1e-17)


def test_a_long_chain_is_solved_by_sparse_elimination() -> None:
    S, gamma = 450, 0.75
    kernel = sparse.csr_matrix((np.ones(S), (np.arange(S), (np.arange(S) + 1) % S)), shape=(S, S))
    reward = np.zeros((S, 1))
    reward[0, 0] = 1.0
    problem = read_problem(mdps.TabularMDP(kernel, reward, discount=gamma))
    wait = (-np.arange(S)) % S
    assert np.abs(risk_neutral(problem, 1.0)[0] - gamma**wait / (1.0 - gamma**S)).max() <= 1e-14
