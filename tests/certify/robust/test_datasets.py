"""Offline data: arrays, files and samples; what is no trajectory is refused."""

from __future__ import annotations

import io
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from certify.robust import dataset_from_minari, load_dataset, offline_dataset, r2pvi, sample_dataset, save_dataset
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


def test_a_file_that_decompresses_to_nonsense_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    save_dataset(path, offline_dataset(np.arange(3000).reshape(1000, 3) % 7, np.zeros((1000, 2), int)))
    content = bytearray(path.read_bytes())
    content[80:160] = bytes(byte ^ 0x5A for byte in content[80:160])
    path.write_bytes(content)
    with pytest.raises(ValueError, match="dataset .* cannot be read"):
        load_dataset(path)


def test_a_header_that_claims_too_much_and_objects_are_refused(tmp_path):
    path, header = tmp_path / "data.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (10**13, 2)})
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("states.npy", "actions.npy"):
            archive.writestr(name, header.getvalue())
    with pytest.raises(ValueError, match="cannot be read"):
        load_dataset(path)
    np.savez(path, states=np.array([[{}, 1]], dtype=object), actions=np.array([[0]]))
    with pytest.raises(ValueError, match="states of dataset"):
        load_dataset(path)


def test_episodes_left_out_are_counted_and_named():
    episodes = [SimpleNamespace(observations=np.arange(n + 1), actions=np.zeros(n, int)) for n in (3, 1, 2)]
    data = dataset_from_minari(episodes, horizon=2)
    assert (data.trajectories, data.left_out) == (2, 1)
    found = r2pvi(data, np.ones((4, 1, 1)), [0.5], divergence="tv", penalty=1.0)
    minari = SimpleNamespace(iterate_episodes=lambda: iter(episodes))
    direct = r2pvi(minari, np.ones((4, 1, 1)), [[0.5], [0.5]], divergence="tv", penalty=1.0)
    assert direct.settings == found.settings
    with pytest.raises(ValueError, match="to give the horizon"):
        r2pvi(minari, np.ones((4, 1, 1)), [0.5], divergence="tv", penalty=1.0)
    assert any("1 episodes shorter" in text for text in found.assumptions)


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
