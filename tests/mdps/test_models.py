"""Models: the accepted forms agree with each other, and every defect is refused with its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import mdps

nan, inf = float("nan"), float("inf")


def rows(seed, S, A, shape=()):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 5, size=(*shape, S, A, S)).astype(float)
    weights[..., 0] += weights.sum(axis=-1) == 0
    return weights / weights.sum(axis=-1, keepdims=True)


def two_states(*, row=None, reward=None, **options):
    """A sound model of two states and two actions, with the given changes."""
    transition = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]])
    if row is not None:
        transition[1, 0] = row
    gains = np.array([[1.0, 2.0], [3.0, 4.0]])
    if reward is not None:
        gains = reward if isinstance(reward, np.ndarray) else np.where(np.eye(2, dtype=bool)[::-1], reward, gains)
    return transition, gains, options


BAD_MODELS = [
    pytest.param({"row": [0.5, 0.6]}, mdps.NotStochastic, "state 1, action 0 sums to 1.1", id="row-sums-to-1.1"),
    pytest.param({"row": [0.5, 0.5 + 1e-6]}, mdps.NotStochastic, "state 1, action 0 sums to 1.000001", id="row-sums-to-1+1e-6"),
    pytest.param({"row": [0.0, 0.0]}, mdps.NotStochastic, "state 1, action 0", id="empty-row"),
    pytest.param({"row": [-0.5, 1.5]}, mdps.NegativeProbability, "state 1, action 0 to state 0 is -0.5", id="negative"),
    pytest.param({"row": [nan, 1.0]}, mdps.NotFinite, "state 1, action 0, successor 0 is nan", id="nan-probability"),
    pytest.param({"row": [1.0, inf]}, mdps.NotFinite, "state 1, action 0, successor 1 is inf", id="inf-probability"),
    pytest.param({"reward": nan}, mdps.NotFinite, "reward at state 0, action 1 is nan", id="nan-reward"),
    pytest.param({"reward": inf}, mdps.NotFinite, "reward at state 0, action 1 is inf", id="inf-reward"),
    pytest.param({"reward": np.full((2, 2, 2), -inf)}, mdps.NotFinite, "reward at state 0, action 0 is -inf", id="inf-transition-reward"),
    pytest.param({"reward": np.zeros((3, 2))}, mdps.WrongShape, r"reward has shape \(3, 2\)", id="reward-shape"),
    pytest.param({"reward": np.zeros(2)}, mdps.WrongShape, "reward has shape", id="reward-vector"),
    pytest.param({"reward": np.array([["a", "b"], ["c", "d"]])}, mdps.ModelError, "reward must be an array of real numbers", id="text"),
    pytest.param({"discount": 1.2}, mdps.InvalidDiscount, r"discount must be a number in \(0, 1\], got 1.2", id="discount-1.2"),
    pytest.param({"discount": 0.0}, mdps.InvalidDiscount, "got 0", id="discount-0"),
    pytest.param({"discount": -0.5}, mdps.InvalidDiscount, "got -0.5", id="discount-negative"),
    pytest.param({"discount": nan}, mdps.InvalidDiscount, "got nan", id="discount-nan"),
    pytest.param({"discount": "0.9"}, mdps.InvalidDiscount, "got '0.9'", id="discount-text"),
    pytest.param({"initial": [0.5, 0.6]}, mdps.ModelError, "initial must sum to 1", id="initial-sum"),
    pytest.param({"initial": [-0.5, 1.5]}, mdps.ModelError, "initial must have entries >= 0", id="initial-negative"),
    pytest.param({"initial": [1.0]}, mdps.WrongShape, "initial has shape", id="initial-shape"),
    pytest.param({"action_mask": [[True, True], [False, False]]}, mdps.NoAction, "no action in state 1", id="no-action"),
    pytest.param({"action_mask": [[True, True]]}, mdps.WrongShape, "action_mask has shape", id="mask-shape"),
    pytest.param({"action_mask": [[2, 1], [1, 1]]}, mdps.ModelError, "action_mask must be an array of booleans", id="mask-values"),
    pytest.param({"terminal": [2]}, mdps.ModelError, r"states in 0..1, got \[2\]", id="terminal-range"),
    pytest.param({"terminal": [True]}, mdps.WrongShape, "terminal has shape", id="terminal-shape"),
]


@pytest.mark.parametrize("form", ["dense", "stacked", "sequence"])
@pytest.mark.parametrize(("change", "error", "message"), BAD_MODELS)
def test_bad_models_are_refused(change, error, message, form):
    transition, reward, options = two_states(**change)
    if form == "stacked":
        transition = sparse.csr_matrix(transition.reshape(4, 2))
    if form == "sequence":
        transition = [sparse.csr_matrix(transition[:, a]) for a in range(2)]
    with pytest.raises(error, match=message):
        mdps.TabularMDP(transition, reward, **options)


@pytest.mark.parametrize(
    "transition",
    [
        pytest.param(np.ones((2, 2)) / 2, id="matrix"),
        pytest.param(np.ones((3, 2, 2)) / 2, id="not-square"),
        pytest.param(np.ones((0, 1, 0)), id="empty"),
        pytest.param(sparse.csr_matrix(np.ones((3, 2)) / 2), id="stacked-rows"),
        pytest.param([sparse.csr_matrix(np.eye(2)), sparse.csr_matrix(np.eye(3))], id="sequence-sizes"),
    ],
)
def test_kernels_of_wrong_shape_are_refused(transition):
    with pytest.raises(mdps.WrongShape, match="transition"):
        mdps.TabularMDP(transition, np.zeros((2, 2)))


@pytest.mark.parametrize("transition", [None, 3, [[1.0], [0.5, 0.5]], np.array([[["a"]]]), object()])
def test_what_is_no_kernel_is_refused(transition):
    with pytest.raises(ValueError, match="transition"):
        mdps.TabularMDP(transition, np.zeros((1, 1)))


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.sampled_from(["sa", "saj"]))
def test_all_forms_of_a_model_agree(seed, S, A, form):
    P = rows(seed, S, A)
    reward = np.random.default_rng(seed + 1).normal(size=(S, A) if form == "sa" else (S, A, S))
    dense = mdps.TabularMDP(P, reward, discount=0.9)
    stacked = mdps.TabularMDP(sparse.csr_array(P.reshape(S * A, S)), reward, discount=0.9)
    sequence = mdps.TabularMDP([sparse.coo_matrix(P[:, a]) for a in range(A)], reward, discount=0.9)
    for model in (stacked, sequence):
        assert model.is_sparse
        assert np.array_equal(model.dense(), P)
        assert np.array_equal(model.csr().toarray(), dense.csr().toarray())
        assert model.expected_reward == pytest.approx(dense.expected_reward, abs=1e-15)
        assert np.array_equal(model.kernel(S - 1, 0), dense.kernel(S - 1, 0))
    if form == "saj":
        for shape in ([sparse.csr_matrix(reward[:, a]) for a in range(A)], sparse.csr_matrix(reward.reshape(S * A, S))):
            if S * A == S and not isinstance(shape, list):
                continue
            for kernel in (P, stacked.csr()):
                again = mdps.TabularMDP(kernel, shape, discount=0.9)
                assert again.expected_reward == pytest.approx(dense.expected_reward, abs=1e-15)


def test_rows_close_to_one_are_renormalised_and_arrays_are_shared_read_only():
    P = np.full((3, 1, 3), 1 / 3) * (1 + 5e-10)
    model = mdps.TabularMDP(P, np.zeros((3, 1)), discount=0.9)
    assert model.kernel(0, 0).sum() == pytest.approx(1, abs=1e-15)
    assert np.shares_memory(model.transition, P)
    with pytest.raises(ValueError, match="read-only"):
        model.transition[0, 0, 0] = 1.0
    with pytest.raises(AttributeError):
        model.discount = 0.5
    assert model.with_discount(0.5).discount == 0.5
    assert model.with_discount(None).discount is None
    with pytest.raises(mdps.InvalidDiscount):
        model.with_discount(2.0)


@pytest.mark.parametrize(("changes", "error", "message"), [c for c in BAD_MODELS if "row" in c.values[0]])
def test_the_compiled_pass_over_large_models_sees_the_same_bad_rows(changes, error, message, monkeypatch):
    monkeypatch.setattr("mdps._validate.COMPILED_ABOVE", 0)
    transition, reward, _ = two_states(**changes)
    with pytest.raises(error, match=message):
        mdps.TabularMDP(sparse.csr_matrix(transition.reshape(4, 2)), reward, discount=0.9)


def test_the_compiled_pass_over_large_models_leaves_masked_rows_out(monkeypatch):
    monkeypatch.setattr("mdps._validate.COMPILED_ABOVE", 0)
    transition, reward, _ = two_states(row=[0.0, 0.0])
    model = mdps.TabularMDP(sparse.csr_matrix(transition.reshape(4, 2)), reward, discount=0.9, action_mask=[[True, True], [False, True]])
    assert model.action_mask.sum() == 3


def test_masked_rows_and_terminal_states_are_not_looked_at():
    P = np.array([[[0.5, 0.5], [nan, 7.0]], [[0.0, 0.0], [0.0, 0.0]]])
    r = np.array([[1.0, nan], [5.0, 5.0]])
    mask = np.array([[True, False], [True, True]])
    for transition in (P, sparse.csr_matrix(P.reshape(4, 2))):
        model = mdps.TabularMDP(transition, r, discount=0.9, action_mask=mask, terminal=[1])
        assert np.array_equal(model.dense()[1], [[0, 1], [0, 1]])
        assert np.array_equal(model.expected_reward, [[1, 0], [0, 0]])
        solution = mdps.solve(model)
        assert solution.value[0] == pytest.approx(1 / 0.55)
        assert solution.lower[1] == solution.value[1] == solution.upper[1] == 0
        assert solution.optimal_actions.tolist() == [[True, False], [True, True]]
        assert solution.gap[0] == inf


def test_kernel_refuses_places_outside():
    model = mdps.TabularMDP(*two_states()[:2])
    with pytest.raises(mdps.ModelError, match=r"state must be in 0..1, got 2"):
        model.kernel(2, 0)
    with pytest.raises(mdps.ModelError, match="action must be an integer"):
        model.kernel(0, 1.5)


class TestFiniteHorizon:
    def test_stages_and_shapes(self):
        P, r = rows(0, 3, 2, (4,)), np.random.default_rng(0).normal(size=(4, 3, 2))
        model = mdps.FiniteHorizonMDP(P, r, horizon=4, initial=[1, 0, 0])
        assert not model.is_stationary
        assert model.transition.shape == (4, 3, 2, 3)
        assert np.array_equal(model.stage(2).transition, P[2])
        assert np.array_equal(model.expected_reward, r)
        stationary = mdps.FiniteHorizonMDP(P[0], r[0], horizon=4)
        assert stationary.is_stationary
        assert stationary.transition.shape == (3, 2, 3)
        mixed = mdps.FiniteHorizonMDP(sparse.csr_matrix(P[0].reshape(6, 3)), r, horizon=4)
        assert mixed.is_sparse
        assert np.array_equal(mixed.stage(3).expected_reward, r[3])

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            pytest.param({"horizon": 0}, mdps.ModelError, "horizon must be an integer >= 1, got 0", id="horizon-0"),
            pytest.param({"horizon": 2.5}, mdps.ModelError, "horizon must be an integer", id="horizon-2.5"),
            pytest.param({"horizon": True}, mdps.ModelError, "horizon must be an integer", id="horizon-bool"),
            pytest.param({"horizon": 3}, mdps.WrongShape, "transition has shape", id="horizon-and-kernels"),
            pytest.param({"reward": np.zeros((3, 3, 2))}, mdps.WrongShape, "reward has shape", id="reward-stages"),
            pytest.param({"transition": rows(0, 3, 2, (4,)) * 1.1}, mdps.NotStochastic, "stage 0.*state 0, action 0", id="rows"),
            pytest.param({"final_value": [0, nan, 0]}, mdps.NotFinite, "final_value", id="final"),
            pytest.param({"final_value": [0, 0]}, mdps.WrongShape, "final_value", id="final-shape"),
            pytest.param({"action_mask": np.zeros((3, 2), bool)}, mdps.NoAction, "state 0", id="mask"),
            pytest.param({"initial": [1, 1, 0]}, mdps.ModelError, "initial must sum", id="initial"),
            pytest.param({"transition": [[1.0], [1.0, 2.0]]}, mdps.ModelError, "ragged", id="ragged"),
        ],
    )
    def test_bad_models_are_refused(self, change, error, message):
        given_model = {"transition": rows(0, 3, 2, (4,)), "reward": np.zeros((4, 3, 2)), "horizon": 4, **change}
        with pytest.raises(error, match=message):
            mdps.FiniteHorizonMDP(given_model.pop("transition"), given_model.pop("reward"), **given_model)

    def test_stage_outside_is_refused(self):
        model = mdps.FiniteHorizonMDP(rows(0, 3, 2), np.zeros((3, 2)), horizon=2)
        with pytest.raises(mdps.ModelError, match=r"h must be in 0..1, got 2"):
            model.stage(2)


class TestLinear:
    def model(self, **change):
        rng = np.random.default_rng(3)
        phi = rng.dirichlet(np.ones(3), size=(4, 2))
        mu = rng.dirichlet(np.ones(4), size=(5, 3))
        given_model = {"features": phi, "factors": mu, "reward_weights": rng.normal(size=(5, 3)), "horizon": 5, **change}
        return mdps.LinearMDP(given_model.pop("features"), given_model.pop("factors"), given_model.pop("reward_weights"), **given_model)

    def test_tabular_is_the_product(self):
        model = self.model(initial=[1, 0, 0, 0])
        tabular = model.tabular()
        assert (model.n_states, model.n_actions, model.dimension) == (4, 2, 3)
        expected = np.einsum("sad,hdj->hsaj", model.features, model.factors)
        assert tabular.transition == pytest.approx(expected, abs=1e-15)
        assert tabular.expected_reward == pytest.approx(np.einsum("sad,hd->hsa", model.features, model.reward_weights))
        staged = self.model(features=np.broadcast_to(model.features, (5, 4, 2, 3)))
        assert np.array_equal(staged.tabular().transition, tabular.transition)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            pytest.param({"features": np.ones((4, 2))}, mdps.WrongShape, "features has shape", id="features"),
            pytest.param({"features": np.ones((4, 4, 2, 3))}, mdps.WrongShape, "features has shape", id="features-stages"),
            pytest.param({"factors": np.ones((5, 4, 3))}, mdps.WrongShape, "factors has shape", id="factors"),
            pytest.param({"reward_weights": np.ones((5, 4))}, mdps.WrongShape, "reward_weights has shape", id="weights"),
            pytest.param({"factors": np.ones((5, 3, 4))}, mdps.NotStochastic, "sums to", id="no-distribution"),
            pytest.param({"features": -np.ones((4, 2, 3)) / 3}, mdps.NegativeProbability, "stage", id="negative"),
            pytest.param({"reward_weights": np.full((5, 3), nan)}, mdps.NotFinite, "reward_weights", id="nan"),
        ],
    )
    def test_bad_models_are_refused(self, change, error, message):
        with pytest.raises(error, match=message):
            self.model(**change)


def test_not_converged_survives_pickling():
    import pickle

    error = mdps.NotConverged("late", 3)
    again = pickle.loads(pickle.dumps(error))
    assert (again.solution, str(again)) == (3, "late")


@pytest.mark.parametrize("form", ["dense", "sparse", "sequence"])
def test_transition_rewards_of_masked_rows_and_terminal_states_are_not_looked_at(form):
    P, reward = rows(3, 3, 2), np.ones((3, 2, 3))
    mask = np.array([[True, False], [True, True], [True, True]])
    reward[0, 1] = reward[2] = np.nan
    expected = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    given_reward = reward
    if form == "sparse":
        P, given_reward = sparse.csr_matrix(P.reshape(6, 3)), sparse.csr_matrix(reward.reshape(6, 3))
    elif form == "sequence":
        P = [sparse.csr_matrix(P[:, a]) for a in range(2)]
        given_reward = [sparse.csr_matrix(reward[:, a]) for a in range(2)]
    model = mdps.TabularMDP(P, given_reward, discount=0.9, action_mask=mask, terminal=[2])
    assert np.allclose(model.expected_reward, expected, rtol=1e-15)
    with pytest.raises(mdps.NotFinite, match="reward at state 0, action 1"):
        mdps.TabularMDP(P, given_reward, discount=0.9, terminal=[2])


def test_a_mask_that_leaves_nothing_is_refused_in_both_forms():
    P = rows(3, 2, 2)
    for transition in (P, sparse.csr_matrix(P.reshape(4, 2))):
        with pytest.raises(mdps.NoAction, match="state 0"):
            mdps.TabularMDP(transition, np.zeros((2, 2)), action_mask=np.zeros((2, 2), dtype=bool))


def test_a_bad_reward_of_a_stage_is_named_with_its_stage():
    reward = np.zeros((3, 2, 2))
    reward[1, 0, 1] = np.inf
    with pytest.raises(mdps.NotFinite, match="stage 1: reward at state 0, action 1"):
        mdps.FiniteHorizonMDP(rows(3, 2, 2), reward, horizon=3)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12))
def test_an_initial_law_is_normalised_once(parts):
    law = np.array(parts) / sum(parts)
    model = mdps.TabularMDP(np.eye(len(parts))[:, None], np.zeros((len(parts), 1)), discount=0.5, initial=law)
    again = mdps.TabularMDP(np.eye(len(parts))[:, None], np.zeros((len(parts), 1)), discount=0.5, initial=model.initial)
    assert np.array_equal(again.initial, model.initial)
    rough = mdps.TabularMDP(np.eye(len(parts))[:, None], np.zeros((len(parts), 1)), discount=0.5, initial=law * (1 + 4e-10))
    assert rough.initial == pytest.approx(law, rel=1e-15)
