"""Offline data: arrays, files and samples; what is no trajectory is refused."""

from __future__ import annotations

import numpy as np
import pytest

from certify.robust import load_dataset, offline_dataset, sample_dataset, save_dataset
from certify.robust.datasets import load_problem
from mdps.families import simulated_linear_mdp

BAD = [
    ({"actions": [0, 1]}, "actions must have shape"),
    ({"actions": [[0.5, 1.0]]}, "whole numbers"),
    ({"actions": [[-1, 0]]}, "whole numbers"),
    ({"actions": [["a", "b"]]}, "whole numbers"),
    ({"states": [[0, 1]]}, "states must have shape"),
    ({"states": [[0, 1, -2]]}, "whole numbers"),
    ({"states": [[0.0, np.nan, 1.0]]}, "finite"),
    ({"states": [[0, 1]], "next_states": [[0, 1, 2]]}, "next_states"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_arrays_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        offline_dataset(**{"states": [[0, 1, 2]], "actions": [[0, 1]], **change})


def test_a_dataset_survives_its_file(tmp_path):
    data = offline_dataset([[0, 1, 2], [2, 1, 0]], [[0, 1], [1, 0]])
    features = np.full((3, 2, 2), 0.5)
    save_dataset(tmp_path / "data.npz", data, features=features, reward_weights=[0.1, 0.2])
    back, phi, theta = load_problem(tmp_path / "data.npz")
    assert back.digest == load_dataset(tmp_path / "data.npz").digest == data.digest
    assert np.array_equal(phi, features)
    assert theta.tolist() == [0.1, 0.2]
    loose = offline_dataset([[0, 1]], [[0, 1]], [[2, 2]])
    with pytest.raises(ValueError, match="whole trajectories"):
        save_dataset(tmp_path / "loose.npz", loose)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"[1, 2]"])
def test_files_that_are_no_datasets_are_refused(tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="dataset"):
        load_dataset(path)
    np.savez(path, states=np.zeros((1, 2), int))
    with pytest.raises(ValueError, match="states and actions"):
        load_dataset(path)


def test_samples_follow_the_model_and_the_seed():
    mdp = simulated_linear_mdp(0.2)
    one, same, other = (sample_dataset(mdp, trajectories=4000, seed=seed) for seed in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    exact = mdp.features if mdp.features.ndim == 4 else np.broadcast_to(mdp.features, (mdp.horizon, *mdp.features.shape))
    first = one.states[:, 0] == one.states[0, 0]
    kernel = np.einsum("ad,dt->at", exact[0][one.states[0, 0]], mdp.factors[0])
    expected = kernel[one.actions[first, 0]].mean(axis=0)
    seen = np.bincount(one.next_states[first, 0], minlength=kernel.shape[1]) / first.sum()
    assert np.all(np.abs(seen - expected) < 5 * np.sqrt(0.25 / first.sum()))
