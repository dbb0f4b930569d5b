"""The strategies: valid by construction, rich in awkward cases, small after shrinking, and cheap."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import mdps
from verify import strategies as vs

QUICK = settings(max_examples=25)


def is_distribution(array, axis=-1):
    return bool((array >= 0).all() and np.abs(array.sum(axis=axis) - 1).max() <= 1e-12)


@QUICK
@given(st.data())
def test_tabular_models_with_every_option(data):
    options = data.draw(
        st.fixed_dictionaries(
            {
                "max_states": st.integers(2, 10),
                "max_actions": st.integers(2, 4),
                "min_states": st.integers(1, 2),
                "min_actions": st.integers(1, 2),
                "discount": st.sampled_from([None, 0.5, st.floats(0.1, 0.9)]),
                "rewards": st.sampled_from([(0.0, 1.0), (-2.0, 3.0), (5.0, 5.0)]),
                "communicating": st.booleans(),
                "masked": st.booleans(),
                "initial": st.booleans(),
                "sparse": st.booleans(),
            }
        )
    )
    mdp = data.draw(vs.tabular_mdps(**options))
    assert options["min_states"] <= mdp.n_states <= options["max_states"]
    assert options["min_actions"] <= mdp.n_actions <= options["max_actions"]
    allowed = np.ones((mdp.n_states, mdp.n_actions), dtype=bool) if mdp.action_mask is None else mdp.action_mask
    assert is_distribution(mdp.dense()[allowed])
    low, high = options["rewards"]
    assert ((mdp.expected_reward[allowed] >= low) & (mdp.expected_reward[allowed] <= high)).all()
    assert mdp.is_sparse == options["sparse"]
    assert (mdp.action_mask is not None) == options["masked"]
    assert (mdp.initial is not None) == options["initial"]
    assert (mdp.discount is None) == (options["discount"] is None)
    if options["communicating"]:
        assert mdps.classify(mdp).communicating


@QUICK
@given(vs.finite_horizon_mdps(initial=True), vs.linear_mdps(), vs.linear_mixtures())
def test_finite_horizon_and_linear_models(finite, linear, mixture):
    assert is_distribution(finite.stage(0).dense())
    assert is_distribution(finite.initial)
    assert finite.horizon <= 4
    assert is_distribution(linear.features)
    assert is_distribution(linear.factors)
    assert is_distribution(linear.tabular().stage(0).dense())
    assert is_distribution(mixture.theta)
    assert mixture.mdp.dense() == pytest.approx(mixture.features @ mixture.theta)


@given(vs.finite_horizon_mdps(stationary=True), vs.finite_horizon_mdps(stationary=False))
@settings(max_examples=10)
def test_stationary_or_not(one, many):
    assert one.is_stationary
    assert many.is_stationary == (many.horizon == 1)


@QUICK
@given(st.data())
def test_policies_fit_their_model(data):
    mdp = data.draw(vs.tabular_mdps(masked=True))
    for kind in ("deterministic", "stochastic", "any"):
        policy = data.draw(vs.policies(mdp, kind=kind))
        mdps.evaluate(mdp, policy)
        assert policy.ndim == (1 if kind == "deterministic" else 2 if kind == "stochastic" else policy.ndim)
    finite = data.draw(vs.finite_horizon_mdps())
    for staged in (False, True):
        mdps.evaluate(finite, data.draw(vs.policies(finite, staged=staged)))
    data.draw(vs.policies(data.draw(vs.linear_mdps()), staged=True))


@QUICK
@given(vs.distributions(), vs.distributions(4), vs.distributions(max_size=3, zeros=False), vs.discounts(), vs.discounts(largest=0.3))
def test_distributions_and_discounts(free, fixed, positive, discount, small):
    assert is_distribution(free)
    assert len(free) <= 6
    assert is_distribution(fixed)
    assert len(fixed) == 4
    assert is_distribution(positive)
    assert positive.min() > 0
    assert 0 < discount <= 0.99
    assert 0 < small <= 0.3


@QUICK
@given(vs.return_laws(), vs.return_laws(exact=False, values=(0, 2), max_atoms=3))
def test_return_laws(exact, floating):
    assert exact.is_exact
    assert sum(exact.probabilities) == Fraction(1)
    assert not floating.is_exact
    assert 0 <= floating.atoms.min() <= floating.atoms.max() <= 2


@QUICK
@given(st.data())
def test_datasets_follow_the_model(data):
    mdp = data.draw(vs.linear_mdps() | vs.finite_horizon_mdps(initial=True))
    dataset = data.draw(vs.datasets(mdp, max_trajectories=4))
    model = mdp.tabular() if isinstance(mdp, mdps.LinearMDP) else mdp
    for h in range(model.horizon):
        kernel = model.stage(h).dense()
        assert (kernel[dataset.states[:, h], dataset.actions[:, h], dataset.next_states[:, h]] > 0).all()
    if model.initial is not None:
        assert (model.initial[dataset.states[:, 0]] > 0).all()


@QUICK
@given(vs.hypothesis_classes(), vs.hypothesis_classes(realizable=False, max_hypotheses=2))
def test_hypothesis_classes(realizable, free):
    assert realizable.truth is not None
    assert 1 <= free.hypotheses <= 2


@QUICK
@given(vs.robust_instances(), vs.robust_instances(penalised=True), vs.robust_instances(penalised=None, divergences=["kl", "l1"]))
def test_robust_instances_can_be_solved(constrained, penalised, either):
    for instance in (constrained, penalised, either):
        worst = mdps.robust.worst_case(instance.values, instance.nominal, **instance.options)
        assert worst.value <= instance.values @ instance.nominal + 1e-9


@QUICK
@given(vs.diffusions(), vs.diffusions(kinds=["brownian"]))
def test_diffusions(model, brownian):
    assert type(brownian).__name__ == "BrownianMotion"
    assert hasattr(model, "value") or hasattr(model, "value_polynomial")


SHRINKING = {
    "large reward and likely move": (lambda m: (m.expected_reward > 0.9).any() and (m.dense() > 0.45).any(), 1),
    "large reward and a coin": (lambda m: (m.expected_reward > 0.9).any() and ((m.dense() > 0.45) & (m.dense() < 1)).any(), 2),
    "several classes": (lambda m: mdps.classify(m).multichain, 2),
    "rewards everywhere": (lambda m: m.n_states > 1 and (m.expected_reward.max(axis=1) > 0).all(), 2),
}


@pytest.mark.parametrize("name", SHRINKING)
@pytest.mark.parametrize("seed", [0, 1])
def test_shrinks_to_at_most_two_states(name, seed):
    condition, states = SHRINKING[name]
    options = settings(database=None, max_examples=2000)
    found = find(vs.tabular_mdps(max_states=10, max_actions=4), condition, settings=options, random=random.Random(seed))
    assert found.n_states <= states


def test_the_simplest_model_is_one_absorbing_state_without_reward():
    found = find(vs.tabular_mdps(), lambda m: True, settings=settings(database=None))
    assert (found.n_states, found.n_actions, found.expected_reward.tolist(), found.dense().tolist()) == (1, 1, [[0.0]], [[[1.0]]])


AWKWARD = {
    "absorbing": lambda m: (m.dense()[np.arange(m.n_states), :, np.arange(m.n_states)] == 1).all(axis=1).any(),
    "exact zero": lambda m: (m.dense() == 0).any(),
    "tie": lambda m: m.n_actions > 1 and (m.expected_reward[:, 0] == m.expected_reward[:, 1]).any(),
    "periodic": lambda m: max(mdps.classify(m, np.zeros(m.n_states, dtype=int)).periods) > 1,
    "period of five": lambda m: mdps.classify(m, np.zeros(m.n_states, dtype=int)).periods == (5,),
    "single action": lambda m: m.n_actions == 1,
    "multichain": lambda m: mdps.classify(m).multichain,
    "all rewards zero": lambda m: m.n_states > 1 and (m.expected_reward == 0).all(),
    "transient state": lambda m: mdps.classify(m).transient.size > 0,
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_models_come_up(name):
    assert AWKWARD[name](find(vs.tabular_mdps(), AWKWARD[name], settings=settings(database=None, max_examples=3000), random=random.Random(0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vs.tabular_mdps(max_states=0), "max_states"),
        (lambda: vs.tabular_mdps(min_states=4, max_states=3), "max_states"),
        (lambda: vs.tabular_mdps(max_actions=1.5), "max_actions"),
        (lambda: vs.tabular_mdps(rewards=(1.0, 0.0)), "rewards"),
        (lambda: vs.tabular_mdps(rewards=(0.0, float("nan"))), "rewards"),
        (lambda: vs.finite_horizon_mdps(max_horizon=0), "max_horizon"),
        (lambda: vs.linear_mdps(max_dimension=0), "max_dimension"),
        (lambda: vs.policies(mdps.families.river_swim(), kind="greedy"), "kind"),
        (lambda: vs.policies(mdps.families.river_swim(), staged=True), "staged"),
        (lambda: vs.distributions(0), "size"),
        (lambda: vs.discounts(largest=1.5), "largest"),
        (lambda: vs.return_laws(values=(2, 1)), "values"),
        (lambda: vs.robust_instances(divergences=["hellinger"]), "divergences"),
        (lambda: vs.robust_instances(divergences=["l1"], penalised=True), "divergences"),
        (lambda: vs.diffusions(kinds=["levy"]), "kinds"),
        (lambda: vs.diffusions(kinds=[]), "kinds"),
        (lambda: vs.hypothesis_classes(max_hypotheses=0), "max_hypotheses"),
        (lambda: vs.datasets(mdps.families.american_put(horizon=2), max_trajectories=0), "max_trajectories"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
