"""MDP toolbox arrays and PETSc matrices, both ways."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings

import mdps
from mdps import families
from mdps.formats import from_mdptoolbox, read_petsc_matrix, to_mdptoolbox, write_petsc
from verify.strategies import tabular_mdps


@settings(max_examples=25)
@given(tabular_mdps(), tabular_mdps(sparse=True))
def test_toolbox_round_trip(dense, sparse):
    for mdp in (dense, sparse):
        back = from_mdptoolbox(*to_mdptoolbox(mdp), discount=mdp.discount)
        assert np.array_equal(back.dense(), mdp.dense())
        assert np.array_equal(back.expected_reward, mdp.expected_reward)
        assert back.is_sparse == mdp.is_sparse


def test_toolbox_reward_layouts():
    P, R = to_mdptoolbox(families.forest(3))
    by_transition = np.broadcast_to(R.T[:, :, None], (2, 3, 3))
    for reward in (R, by_transition, list(by_transition)):
        assert from_mdptoolbox(P, reward, discount=0.9).expected_reward == pytest.approx(R)
    assert from_mdptoolbox(P, [1.0, 2.0, 3.0]).expected_reward.tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    from scipy.sparse import csr_matrix

    mixed = from_mdptoolbox([csr_matrix(p) for p in P], [csr_matrix(r) for r in by_transition])
    assert mixed.expected_reward == pytest.approx(R)
    assert from_mdptoolbox(P, [csr_matrix(r) for r in by_transition]).expected_reward == pytest.approx(R)


def test_toolbox_agrees_with_the_toolbox_itself():
    example = pytest.importorskip("mdptoolbox.example", reason="needs the extra [benchmark]")
    P, R = example.forest()
    mdp, ours = from_mdptoolbox(P, R, discount=0.9), families.forest()
    assert np.array_equal(mdp.dense(), ours.dense())
    assert np.array_equal(mdp.expected_reward, ours.expected_reward)


@pytest.mark.parametrize("P", [np.ones((2, 2)), np.ones((2, 3, 2)), [np.eye(2), np.eye(3)]])
def test_toolbox_shapes(P):
    with pytest.raises(mdps.ModelError, match="transitions"):
        from_mdptoolbox(P, np.zeros((2, 2)))


def test_layouts_without_masks_say_so(tmp_path):
    masked = mdps.TabularMDP(np.full((2, 2, 2), 0.5), np.zeros((2, 2)), action_mask=[[True, True], [True, False]])
    with pytest.raises(mdps.ModelError, match="action 1 forbidden in state 1"):
        to_mdptoolbox(masked)
    with pytest.raises(mdps.ModelError, match="action 1 forbidden in state 1"):
        write_petsc(masked, tmp_path / "p.bin", tmp_path / "g.bin")


def test_petsc_files(tmp_path):
    mdp = families.garnet(7, 3, 2, seed=1)
    write_petsc(mdp, tmp_path / "p.bin", tmp_path / "g.bin")
    kernel, costs = read_petsc_matrix(tmp_path / "p.bin"), read_petsc_matrix(tmp_path / "g.bin")
    assert kernel.shape == (21, 7)
    assert np.array_equal(kernel.toarray(), mdp.csr().toarray())
    assert np.array_equal(costs.toarray(), -mdp.expected_reward)
    raw = (tmp_path / "g.bin").read_bytes()
    assert struct.unpack(">iiii", raw[:16]) == (1211216, 7, 3, 21)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "too short"),
        (struct.pack(">iiii", 1211214, 1, 1, 0), "class number"),
        (struct.pack(">iiii", 1211216, 2**31 - 1, 1, 2**31 - 1), "do not fit"),
        (struct.pack(">iiii", 1211216, -1, 1, 0), "do not fit"),
        (struct.pack(">iiiiid", 1211216, 1, 1, 1, 2, 1.0)[:16] + struct.pack(">iid", 2, 0, 1.0), "row lengths"),
        (struct.pack(">iiii", 1211216, 1, 1, 1) + struct.pack(">ii", 1, 5) + struct.pack(">d", 1.0), "columns"),
    ],
)
def test_broken_petsc_files(tmp_path, raw, message):
    path = tmp_path / "m.bin"
    path.write_bytes(raw)
    with pytest.raises(mdps.BrokenFile, match=message):
        read_petsc_matrix(path)


def test_toolbox_arrays_of_objects_and_ragged_rewards():
    P = np.array([[[0.1, 0.9], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]])
    objects = np.empty(2, dtype=object)
    objects[:] = list(P)
    assert np.array_equal(from_mdptoolbox(objects, [1.0, 2.0]).dense(), from_mdptoolbox(P, [1.0, 2.0]).dense())
    with pytest.raises(mdps.ModelError, match="reward must be an array, got rows or matrices of different shapes"):
        from_mdptoolbox(P, [[1.0, 2.0], [3.0]])
