"""The verb `certify robust`: numbers, files, exit status."""

import json

import numpy as np
import pytest

from certify.robust import exact_value, sample_dataset, save_dataset
from mdps import FiniteHorizonMDP, from_gymnasium
from mdps.families import random_linear, simulated_linear_mdp
from mdps.formats import save_model
from mdps.robust import solve
from verify.cli import main


def lemmata(capsys, *arguments):
    with pytest.raises(SystemExit) as info:
        main(["certify", "robust", *arguments])
    return info.value.code or 0, capsys.readouterr()


FROZEN = ("--mdp", "FrozenLake-v1", "--discount", "0.95")


@pytest.mark.parametrize("rectangular", ["sa", "s"])
def test_values_of_an_environment(capsys, tmp_path, rectangular):
    out, plot = tmp_path / "out.json", tmp_path / "values.svg"
    code, streams = lemmata(
        capsys, *FROZEN, "--divergence", "kl", "--radius", "0.1", "--rectangular", rectangular, "--json", "--out", str(out), "--plot", str(plot)
    )
    assert code == 0
    facts = json.loads(streams.out)
    assert facts == json.loads(out.read_text())
    assert plot.read_text().startswith("<?xml")
    expected = solve(from_gymnasium("FrozenLake-v1", discount=0.95), divergence="kl", radius=0.1, rectangular=rectangular)
    np.testing.assert_allclose(facts["value"], expected.value, atol=1e-7)
    assert all(low <= high for low, high in zip(facts["lower"], facts["upper"], strict=True))


def test_table_and_horizon(capsys):
    code, streams = lemmata(capsys, "--mdp", "FrozenLake-v1", "--horizon", "4", "--divergence", "tv", "--penalty", "0.5")
    assert code == 0
    assert "value of the initial distribution" in streams.out


def test_a_linear_model_has_a_set_around_every_factor(capsys, tmp_path):
    model, path = simulated_linear_mdp(0.2), tmp_path / "linear.npz"
    save_model(path, model)
    code, streams = lemmata(capsys, "--mdp", str(path), "--divergence", "kl", "--radius", "0.1", "--json", "--plot", str(tmp_path / "plot.png"))
    assert code == 0
    facts = json.loads(streams.out)
    exact = exact_value(model, divergence="kl", radius=0.1)
    np.testing.assert_allclose(facts["value"], exact.value)
    assert facts["policy"] == exact.policy.tolist()
    assert facts["rectangular"] == "d"
    code, streams = lemmata(capsys, "--mdp", str(path), "--divergence", "tv", "--penalty", "0.5")
    assert code == 0
    assert "value of the initial distribution: 0.49975" in streams.out
    code, streams = lemmata(capsys, "--mdp", str(path), "--divergence", "kl", "--radius", "0.1", "--rectangular", "s")
    assert code == 2
    assert "rectangular is for tabular models" in streams.err


def test_a_state_that_is_over_at_the_first_step_only_keeps_its_sets(capsys, tmp_path):
    # state 1 stays put for nothing at the first step and pays at the second, where nature may lead it on
    kernel = np.array([[[[0.5, 0.5]], [[0.0, 1.0]]], [[[0.5, 0.5]], [[0.5, 0.5]]], [[[1.0, 0.0]], [[0.0, 1.0]]]])
    reward = np.array([[[0.0], [0.0]], [[0.0], [0.0]], [[0.0], [1.0]]])
    model, path = FiniteHorizonMDP(kernel, reward, horizon=3), tmp_path / "staged.npz"
    save_model(path, model)
    code, streams = lemmata(capsys, "--mdp", str(path), "--divergence", "kl", "--radius", "0.1", "--json")
    assert code == 0
    np.testing.assert_allclose(json.loads(streams.out)["value"], solve(model, divergence="kl", radius=0.1).value, atol=1e-7)


def test_a_dataset_is_certified(capsys, tmp_path):
    model = random_linear(4, 2, 3, horizon=2, seed=1)
    path = tmp_path / "data.npz"
    save_dataset(path, sample_dataset(model, trajectories=200, seed=0), features=model.features, reward_weights=model.reward_weights)
    code, streams = lemmata(capsys, "--dataset", str(path), "--divergence", "tv", "--penalty", "0.5", "--json")
    assert code == 0
    facts = json.loads(streams.out)
    assert facts["alpha"] == 0.1
    assert len(facts["policy"]) == 2
    code, streams = lemmata(capsys, "--dataset", str(path), "--divergence", "kl", "--penalty", "1", "--beta", "0.5")
    assert code == 0
    assert "not certified" in streams.out


@pytest.mark.parametrize(("divergence", "method"), [("kl", "drvi-l"), ("tv", "drpvi")])
def test_a_radius_chooses_the_constrained_learner(capsys, tmp_path, divergence, method):
    model = random_linear(4, 2, 3, horizon=2, seed=1)
    path = tmp_path / "data.npz"
    save_dataset(path, sample_dataset(model, trajectories=200, seed=0), features=model.features, reward_weights=model.reward_weights)
    code, streams = lemmata(capsys, "--dataset", str(path), "--divergence", divergence, "--radius", "0.1", "--json")
    facts = json.loads(streams.out)
    assert code == 0
    assert facts["certified"]
    assert facts["settings"]["method"] == method
    code, streams = lemmata(capsys, "--dataset", str(path), "--divergence", "chi2", "--radius", "0.1")
    assert code == 2
    assert "takes a penalty" in streams.err


BAD = [
    ((), "exactly one of --mdp and --dataset"),
    (("--mdp", "FrozenLake-v1", "--radius", "0.1"), "exactly one of --discount and --horizon"),
    ((*FROZEN, "--radius", "-1"), "radius of 'kl' must be a number >= 0"),
    ((*FROZEN, "--radius", "nan"), "radius must hold numbers"),
    ((*FROZEN,), "exactly one of radius and penalty"),
    ((*FROZEN, "--penalty", "-2"), "penalty must be a number > 0"),
    ((*FROZEN, "--radius", "0.1", "--divergence", "wide"), "divergence must be one of"),
    ((*FROZEN, "--radius", "0.1", "--rectangular", "x"), "rectangular must be one of"),
    ((*FROZEN, "--radius", "0.1", "--plot", "x.exe"), "plot must end in"),
    ((*FROZEN, "--radius", "0.1", "--out", "nowhere/x.json"), "out must be a file in an existing folder"),
    (("--mdp", "Unknown-v7", "--discount", "0.9", "--radius", "0.1"), "Unknown-v7"),
    (("--mdp", "FrozenLake-v1", "--discount", "1.5", "--radius", "0.1"), "discount must be"),
    (("--dataset", "missing.npz", "--penalty", "1"), "missing.npz"),
    (("--dataset", "missing.npz", "--penalty", "1", "--discount", "0.9"), "are for --mdp"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_exits_with_two_and_one_line(capsys, arguments, message):
    code, streams = lemmata(capsys, *arguments)
    assert code == 2
    assert message in streams.err
