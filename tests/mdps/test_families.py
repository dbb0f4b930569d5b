"""The families: their known figures, their sizes and what they refuse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import mdps
from mdps import families


def test_garnet_has_distinct_successors_and_is_reproducible():
    for sparse in (False, True):
        mdp = families.garnet(40, 3, 7, seed=5, sparse=sparse)
        assert ((mdp.dense() > 0).sum(axis=2) == 7).all()
        assert np.abs(mdp.dense().sum(axis=2) - 1).max() <= 1e-14
        assert mdp.is_sparse == sparse
    one, two = families.garnet(40, 3, 7, seed=5, sparse=True), families.garnet(40, 3, 7, seed=5, sparse=False)
    assert np.array_equal(one.dense(), two.dense())
    assert np.array_equal(one.expected_reward, two.expected_reward)
    assert not np.array_equal(one.dense(), families.garnet(40, 3, 7, seed=6).dense())
    child = np.random.SeedSequence(3).spawn(2)[1]
    assert np.array_equal(families.garnet(9, 2, 3, seed=child).dense(), families.garnet(9, 2, 3, seed=np.random.SeedSequence(3, spawn_key=(1,))).dense())


def test_garnet_successors_are_uniform():
    """Each state is a successor equally often, by both ways of drawing; the chi-square statistic stays below its 1e-9 quantile."""
    for states, branching in ((50, 3), (12, 6)):
        mdp = families.garnet(states, 2000 // states, branching, seed=0, sparse=True)
        counts = np.bincount(mdp.csr().indices, minlength=states)
        expected = counts.sum() / states
        assert ((counts - expected) ** 2 / expected).sum() < states + 9 * np.sqrt(2 * states)


def test_garnet_reward_density_and_full_branching():
    mdp = families.garnet(200, 5, 200, seed=1, reward_density=0.1)
    assert not mdp.is_sparse
    assert 0.05 < (mdp.expected_reward > 0).mean() < 0.15
    assert (families.garnet(3, 1, 3, seed=0, sparse=True).dense() > 0).all()
    assert families.garnet(5, 2, 2, seed=0, discount=None).discount is None


@pytest.mark.parametrize("discount", [0.5, 0.99])
def test_gridworld_without_slip(discount):
    grid = families.gridworld(4, 6, slip=0.0, cost=2.0, discount=discount)
    distance = np.array([(3 - i) + (5 - j) for i in range(4) for j in range(6)])
    assert mdps.solve(grid).value == pytest.approx(-2.0 * (1 - discount**distance) / (1 - discount), abs=1e-6)
    assert grid.initial[0] == 1.0


def test_gridworld_slips_to_either_side_and_bounces():
    grid = families.gridworld(3, slip=0.2)
    assert grid.kernel(4, 1)[[5, 1, 7]] == pytest.approx([0.8, 0.1, 0.1])
    assert grid.kernel(0, 0)[[0, 1]] == pytest.approx([0.9, 0.1])
    assert families.gridworld(3, goal=4).kernel(4, 2)[4] == 1.0
    assert families.gridworld(1, 1).n_states == 1


def test_forest_figures():
    solution = mdps.solve(families.forest(), tolerance=1e-12)
    assert solution.value == pytest.approx([26.244, 29.484, 33.484], abs=1e-9)
    for states in (5, 150):
        mdp = families.forest(states, old_reward=3.0, fire=0.02)
        assert mdp.is_sparse == (states >= 100)
        pi = mdps.stationary_distribution(mdp, np.zeros(states, dtype=int))
        assert pi @ mdp.expected_reward[:, 0] == pytest.approx(3.0 * 0.98 ** (states - 1))
    small, large = families.forest(99), families.forest(100)
    assert np.array_equal(small.dense()[:97, :, :98], large.dense()[:97, :, :98])


def test_hard_mixture_signs_and_edges():
    mdp = families.hard_mixture(2, 4.0, 0.2, signs=[1, -1])
    assert mdp.dense()[0, :, 1] == pytest.approx([0.25, 0.05, 0.45, 0.25])
    edge = families.hard_mixture(3, 3.0, 1 / 3)
    assert edge.dense().min() >= 0.0
    gain = mdps.solve(edge, criterion="average", tolerance=1e-11).gain
    assert gain == pytest.approx((1 / 3 + 1 / 3) / (2 / 3 + 1 / 3))


def test_random_linear_is_linear():
    model = families.random_linear(6, 3, 4, horizon=5, seed=2)
    kernel = model.tabular().stage(3).dense()
    assert kernel == pytest.approx(np.einsum("sad,dj->saj", model.features, model.factors[3]))
    assert (model.features >= 0).all()
    assert model.features.sum(axis=2) == pytest.approx(np.ones((6, 3)))


@pytest.mark.parametrize("q", [0.0, 0.2, 0.375, 0.6, 1.0])
@pytest.mark.parametrize("distinct", [False, True])
def test_simulated_linear_mdp(q, distinct):
    """The exact returns of the two candidate policies, and their crossing at q = 0.375."""
    model = families.simulated_linear_mdp(0.2, target=q, distinct=distinct)
    plus = np.full((3, 5), model.n_actions - 1)
    minus_first = plus.copy()
    minus_first[0] = 0
    returns = [float(mdps.evaluate(model, p).value[0, 0]) for p in (plus, minus_first)]
    assert returns == pytest.approx([1.624875 - q, 1.324775 - 0.2 * q], abs=1e-12)
    assert mdps.solve(model).value[0, 0] == pytest.approx(max(returns), abs=1e-9)


def test_simulated_linear_mdp_nominal_value():
    assert mdps.solve(families.simulated_linear_mdp(0.2)).value[0, 0] == pytest.approx(1.624250125, abs=1e-9)
    assert families.simulated_linear_mdp(0.3, horizon=5).horizon == 5


def put_price(start, strike, up, down, p, horizon):
    """The price by plain recursion over prices."""

    def value(h, i):
        if h == horizon:
            return 0.0
        price = start * up**i * down ** (h - i)
        return max(max(0.0, strike - price), p * value(h + 1, i + 1) + (1 - p) * value(h + 1, i))

    return value(0, 0)


def test_american_put():
    put = families.american_put()
    assert mdps.solve(put).value[0, 0] == pytest.approx(3.905400, abs=1e-6)
    small = families.american_put(strike=50.0, start=48.0, up=1.1, down=0.9, probability=0.3, horizon=8)
    assert mdps.solve(small).value[0, 0] == pytest.approx(put_price(48.0, 50.0, 1.1, 0.9, 0.3, 8), abs=1e-9)
    assert put.n_states == 22


def test_large_models_are_built_in_little_memory(tmp_path):
    """Half a million states: the model and its construction together stay below four times the bytes of the kernel."""
    import tracemalloc

    for build in (lambda: families.gridworld(500, 1000), lambda: families.garnet(100_000, 5, 5, seed=0)):
        tracemalloc.start()
        mdp = build()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kernel = mdp.csr()
        assert peak < 4 * (kernel.data.nbytes + kernel.indices.nbytes + kernel.indptr.nbytes)


def test_values_fall_along_the_distance_in_a_slippery_grid():
    value = mdps.solve(families.gridworld(6)).value.reshape(6, 6)
    assert all(a < b for a, b in pairwise(np.diag(value)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: families.garnet(0, 1, 1, seed=0), "states must be"),
        (lambda: families.garnet(3, 1, 4, seed=0), "branching must be an integer from 1 to 3"),
        (lambda: families.garnet(3, 1, 1, seed=-1), "seed must be"),
        (lambda: families.garnet(3, 1, 1, seed=0.5), "seed must be"),
        (lambda: families.garnet(3, 1, 1, seed=0, reward_density=1.5), "reward_density must be"),
        (lambda: families.garnet(3, 1, 1, seed=0, discount=2.0), "discount must be"),
        (lambda: families.river_swim(1), "states must be"),
        (lambda: families.gridworld(0), "rows must be"),
        (lambda: families.gridworld(3, slip=-0.1), "slip must be"),
        (lambda: families.gridworld(3, cost=float("nan")), "cost must be"),
        (lambda: families.gridworld(3, goal=9), "goal must be"),
        (lambda: families.forest(1), "states must be"),
        (lambda: families.forest(fire=1.1), "fire must be"),
        (lambda: families.two_loops(stay=(1.0, float("inf"))), "stay must be"),
        (lambda: families.two_loops(stay=(1.0,)), "stay must hold two"),
        (lambda: families.hard_mixture(0, 4.0, 0.1), "dimension must be"),
        (lambda: families.hard_mixture(21, 4.0, 0.1), "dimension must be"),
        (lambda: families.hard_mixture(2, 1.0, 0.1), "diameter must be"),
        (lambda: families.hard_mixture(2, 4.0, 0.3), "gap must be"),
        (lambda: families.hard_mixture(2, 4.0, 0.1, signs=[1, 0]), "signs must be"),
        (lambda: families.gamble(0.5), "span must be"),
        (lambda: families.random_linear(3, 2, 0, horizon=1, seed=0), "dimension must be"),
        (lambda: families.random_linear(3, 2, 1, horizon=1, seed=0, concentration=0.0), "concentration must be"),
        (lambda: families.simulated_linear_mdp(0.5), "xi_norm must be"),
        (lambda: families.simulated_linear_mdp(0.2, target=1.5), "target must be"),
        (lambda: families.simulated_linear_mdp(0.2, horizon=1), "horizon must be"),
        (lambda: families.american_put(up=0.9), "up must be"),
        (lambda: families.american_put(strike=0.0), "strike must be"),
        (lambda: families.american_put(probability=2.0), "probability must be"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
