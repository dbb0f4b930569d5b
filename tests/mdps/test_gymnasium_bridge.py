"""Toy Text environments as exact models: known values, the appended state, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

import mdps

TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
IDS = ["FrozenLake-v1", "FrozenLake8x8-v1", TAXI, "CliffWalking-v1"]


class Table:
    """An environment with nothing but a table."""

    def __init__(self, table, initial=None):
        self.P = table
        if initial is not None:
            self.initial_state_distrib = initial


def simulate(env, policy, states, seed, horizon):
    """Average return of a policy, by sampling the environment's own table."""
    rng = np.random.default_rng(seed)
    table, total = env.unwrapped.P, 0.0
    for _ in range(400):
        s, alive = int(rng.choice(states, p=env.unwrapped.initial_state_distrib)), True
        for _ in range(horizon):
            if not alive:
                break
            entries = table[s][int(policy[s])]
            _, s, r, ended = entries[int(rng.choice(len(entries), p=np.array([e[0] for e in entries]) / sum(e[0] for e in entries)))]
            total += r
            alive = not ended
    return total / 400


@pytest.mark.parametrize("name", IDS)
def test_toy_text_models(name):
    env = gymnasium.make(name)
    mdp = mdps.from_gymnasium(env, discount=0.95)
    n = env.observation_space.n
    assert (mdp.n_states, mdp.n_actions) == (n + 1, env.action_space.n)
    assert mdp.is_sparse
    last = mdp.dense()[n]
    assert (last[:, n] == 1.0).all()
    assert (mdp.expected_reward[n] == 0.0).all()
    assert mdp.initial[:n] == pytest.approx(env.unwrapped.initial_state_distrib)
    assert mdp.initial[n] == 0.0
    assert np.abs(mdp.dense().sum(axis=2) - 1.0).max() <= 1e-12
    for s in range(n):
        for a in range(mdp.n_actions):
            entries = env.unwrapped.P[s][a]
            assert mdp.expected_reward[s, a] == pytest.approx(sum(p * r for p, _, r, _ in entries))
            assert mdp.dense()[s, a, n] == pytest.approx(sum(p for p, _, _, ended in entries if ended))
    solution = mdps.solve(mdp)
    assert solution.lower[n] <= 0.0 <= solution.upper[n]


def test_cliff_walking_reaches_the_goal_in_thirteen_steps():
    """From the start, 13 steps along the cliff; the goal ends the episode although its own row in the table goes on."""
    finite = mdps.from_gymnasium("CliffWalking-v1", horizon=40)
    assert mdps.solve(finite).value[0, 36] == pytest.approx(-13.0)
    discounted = mdps.from_gymnasium("CliffWalking-v1", discount=0.9)
    assert mdps.solve(discounted).value[36] == pytest.approx(-(1 - 0.9**13) / 0.1, abs=1e-7)


def test_frozen_lake_without_slip_and_three_thirds():
    firm = mdps.from_gymnasium(gymnasium.make("FrozenLake-v1", is_slippery=False), discount=0.9)
    assert mdps.solve(firm).value[0] == pytest.approx(0.9**5, abs=1e-8)
    slippery = mdps.from_gymnasium("FrozenLake-v1", discount=0.99)
    # a corner row holds two thirds and one third; the exact row is the renormalised one
    assert slippery.kernel(0, 0)[[0, 4]] == pytest.approx([2 / 3, 1 / 3])
    assert mdps.solve(slippery).value[0] == pytest.approx(0.5420259, abs=1e-6)


def test_model_agrees_with_simulation():
    env = gymnasium.make("FrozenLake-v1")
    mdp = mdps.from_gymnasium(env, horizon=30)
    policy = mdps.solve(mdp).policy[0]
    exact = float(mdp.initial @ mdps.evaluate(mdp, policy).value[0])
    assert simulate(env, policy, 16, 0, 30) == pytest.approx(exact, abs=5 * 0.5 / 20)


def test_wrapped_environment_and_horizon():
    wrapped = gymnasium.wrappers.TimeLimit(gymnasium.make(TAXI), 10)
    finite = mdps.from_gymnasium(wrapped, horizon=10)
    assert isinstance(finite, mdps.FiniteHorizonMDP)
    assert (finite.n_states, finite.horizon) == (501, 10)


def test_nothing_is_appended_where_nothing_terminates():
    mdp = mdps.from_gymnasium(Table({0: {0: [(1.0, 0, 1.0, False)]}}))
    assert (mdp.n_states, mdp.discount, mdp.initial) == (1, None, None)


GOOD = [(1.0, 0, 0.0, False)]


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ("CartPole-v1", {}, "transition table P"),
        ("NoSuchEnv-v0", {}, "registered id"),
        (Table({}), {}, "transition table P"),
        (Table({1: {0: GOOD}}), {}, "no entry for state 0"),
        (Table({0: {1: GOOD}}), {}, "actions 0..0 in every state"),
        (Table({0: {0: GOOD}, 1: {0: GOOD, 1: GOOD}}), {}, "in state 1"),
        (Table({0: {0: [(1.0, 0, 0.0)]}}), {}, "state 0, action 0 must hold"),
        (Table({0: {0: [(1.0, "x", 0.0, False)]}}), {}, "state 0, action 0 must hold"),
        (Table({0: {0: [(1.0, 3, 0.0, False)]}}), {}, "next state 3"),
        (Table({0: {0: [(0.5, 0, 0.0, False)]}}), {}, "state 0, action 0 sums to 0.5"),
        (Table({0: {0: [(1.5, 0, 0.0, False), (-0.5, 0, 0.0, True)]}}), {}, "state 0, action 0"),
        (Table({0: {0: [(1.0, 0, float("nan"), False)]}}), {}, "reward"),
        (Table({0: {0: GOOD}}, initial=[0.5, 0.5]), {}, "initial_state_distrib"),
        (Table({0: {0: GOOD}}), {"discount": 0.9, "horizon": 3}, "exclude each other"),
        (Table({0: {0: GOOD}}), {"discount": 1.5}, "discount"),
        (Table({0: {0: GOOD}}), {"horizon": 0}, "horizon"),
        (3, {}, "transition table P"),
    ],
)
def test_bad_environments(env, options, message):
    with pytest.raises(mdps.ModelError, match=message):
        mdps.from_gymnasium(env, **options)


def test_a_negative_probability_does_not_hide_in_a_sum():
    env = SimpleNamespace(P={0: {0: [(-0.5, 0, 1.0, False), (1.5, 0, 1.0, False)]}})
    with pytest.raises(mdps.NegativeProbability, match="state 0, action 0"):
        mdps.from_gymnasium(env, discount=0.9)


def test_the_reward_of_a_row_is_that_of_its_renormalisation():
    env = SimpleNamespace(P={0: {0: [(0.3333333333, 0, 1.0, False)] * 3}})
    assert mdps.from_gymnasium(env, discount=0.5).expected_reward.tolist() == [[1.0]]
