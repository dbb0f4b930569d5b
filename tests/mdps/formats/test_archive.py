"""The project's model file: round trips, and a corpus of broken and hostile archives."""

from __future__ import annotations

import contextlib
import io
import pickle
import resource
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings

import mdps
from mdps import families
from mdps.formats import load_model, save_model
from verify.strategies import finite_horizon_mdps, linear_mdps, tabular_mdps


@settings(max_examples=25)
@given(tabular_mdps(masked=True, initial=True), tabular_mdps(sparse=True), finite_horizon_mdps(initial=True), linear_mdps())
def test_round_trips(tmp_path_factory, masked, sparse, finite, linear):
    folder = tmp_path_factory.mktemp("models")
    for k, model in enumerate((masked, sparse, finite, linear)):
        path = folder / f"{k}.npz"
        save_model(path, model)
        back = load_model(path)
        assert type(back) is type(model)
        for name in ("discount", "initial", "action_mask", "horizon", "expected_reward", "features", "factors", "reward_weights", "final_value"):
            one, two = getattr(model, name, None), getattr(back, name, None)
            assert (one is None) == (two is None)
            assert one is None or np.array_equal(one, two)
    assert np.array_equal(load_model(folder / "0.npz").dense(), masked.dense())
    assert load_model(folder / "1.npz").is_sparse
    assert np.array_equal(load_model(folder / "2.npz").transition, finite.transition)


def test_transition_rewards_terminal_states_and_overrides(tmp_path):
    P = np.array([[[0.5, 0.5]], [[0.0, 1.0]]])
    model = mdps.TabularMDP(P, np.array([[[1.0, 3.0]], [[0.0, 9.0]]]), discount=0.9, terminal=[1])
    save_model(tmp_path / "m.npz", model)
    back = load_model(tmp_path / "m.npz", discount=0.5)
    assert back.transition_reward.tolist() == model.transition_reward.tolist()
    assert back.terminal.tolist() == [False, True]
    assert back.discount == 0.5
    finite = load_model(tmp_path / "m.npz", horizon=3)
    assert finite.horizon == 3
    with pytest.raises(mdps.ModelError, match="exclude each other"):
        load_model(tmp_path / "m.npz", discount=0.5, horizon=3)
    save_model(tmp_path / "f.npz", finite)
    with pytest.raises(mdps.ModelError, match="tabular models only"):
        load_model(tmp_path / "f.npz", discount=0.5)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="cannot be written"):
        save_model(tmp_path / "missing" / "m.npz", families.river_swim())
    with pytest.raises(mdps.ModelError, match="model must be"):
        save_model(tmp_path / "m.npz", 3)
    assert list(tmp_path.iterdir()) == []


def archive(path, compress=False, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as target:
        for name, content in members.items():
            if not isinstance(content, bytes):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.asarray(content), allow_pickle=True)
                content = buffer.getvalue()
            target.writestr(f"{name}.npy", content)
    return path


def header(shape, dtype="<f8", data=b""):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


GOOD = {"format": "lemmata-mdp-1", "kind": "tabular", "transition": np.ones((1, 1, 1)), "reward": np.zeros((1, 1))}
SPARSE = {
    "format": "lemmata-mdp-1", "kind": "tabular", "reward": np.zeros((2, 1)), "data": np.ones(2), "indices": np.array([0, 1]),
    "indptr": np.array([0, 1, 2]), "shape": np.array([2, 2]),
}


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code from a model file was run",))


HOSTILE = {
    "pickled reward": (GOOD | {"reward": np.array([Bomb()], dtype=object)}, "holds object"),
    "raw pickle": (GOOD | {"reward": pickle.dumps(Bomb())}, "broken header"),
    "header of code": (GOOD | {"reward": b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').abort()".ljust(32)}, "broken header"),
    "shape that lies": (GOOD | {"transition": header((10**6, 10, 10**6))}, "announces"),
    "overflowing shape": (GOOD | {"transition": header((2**40, 2**40, 2**40))}, "announces"),
    "negative shape": (GOOD | {"transition": header((-1, 1, 1), data=b"\0" * 8)}, "announces"),
    "truncated data": (GOOD | {"transition": header((1, 1, 1), data=b"\0" * 7)}, "announces"),
    "nested header": (GOOD | {"reward": b"\x93NUMPY\x01\x00\x20\x00" + b"(((((((".ljust(32)}, "broken header"),
    "long header": (GOOD | {"reward": b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535}, "broken header"),
    "unknown version": (GOOD | {"reward": b"\x93NUMPY\x09\x00" + b"\0" * 64}, "broken header"),
    "zeros that unpack": (GOOD | {"transition": header((1, 1, 30_000_000), data=b"\0" * 240_000_000)}, "unpacks from"),
    "unknown member": (GOOD | {"evil": np.zeros(1)}, "has the member 'evil'"),
    "climbing member": (GOOD | {"../evil": np.zeros(1)}, "has the member"),
    "no format": ({k: v for k, v in GOOD.items() if k != "format"}, "member format"),
    "other format": (GOOD | {"format": "lemmata-mdp-9"}, "member format"),
    "unknown kind": (GOOD | {"kind": "pomdp"}, "kind must be one of"),
    "no reward": ({k: v for k, v in GOOD.items() if k != "reward"}, "needs the member reward"),
    "no kernel": ({k: v for k, v in GOOD.items() if k != "transition"}, "transition, or data"),
    "row sum": (GOOD | {"transition": np.full((1, 1, 1), 0.5)}, "sums to 0.5"),
    "nan": (GOOD | {"reward": np.full((1, 1), np.nan)}, "reward"),
    "text for numbers": (GOOD | {"reward": np.array([["a"]])}, "reward"),
    "discount": (GOOD | {"discount": 1.5}, "discount"),
    "vector discount": (GOOD | {"discount": np.ones(3)}, "single number"),
    "horizon": (GOOD | {"kind": "finite-horizon", "horizon": 0}, "horizon"),
    "index outside": (SPARSE | {"indices": np.array([0, 7])}, "outside the matrix"),
    "pointer outside": (SPARSE | {"indptr": np.array([0, 9, 2])}, "outside the matrix"),
    "negative index": (SPARSE | {"indices": np.array([0, -1])}, "outside the matrix"),
    "float index": (SPARSE | {"indices": np.array([0.0, 1.0])}, "must be integers"),
    "huge shape": (SPARSE | {"shape": np.array([2**60, 2**60])}, "do not fit"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_quickly(tmp_path, name):
    members, message = HOSTILE[name]
    path = archive(tmp_path / "m.npz", compress=True, **members)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(mdps.BrokenFile, match=message) as caught:
        load_model(path)
    assert time.process_time() - start < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_broken_containers(tmp_path):
    good = archive(tmp_path / "good.npz", **GOOD)
    assert load_model(good).n_states == 1
    raw = good.read_bytes()
    for k, content in enumerate((b"", b"PK", raw[: len(raw) // 2], raw[:-30], b"\0" * 1000, pickle.dumps(GOOD))):
        path = tmp_path / f"{k}.npz"
        path.write_bytes(content)
        with pytest.raises(mdps.BrokenFile):
            load_model(path)
    twice = tmp_path / "twice.npz"
    with zipfile.ZipFile(twice, "w") as target:
        target.writestr("reward.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("reward.npy", b"")
    with pytest.raises(mdps.BrokenFile, match="member 'reward'"):
        load_model(twice)
    with pytest.raises(mdps.BrokenFile, match=r"\.npz or \.tra"):
        load_model(tmp_path / "model.pickle")
    with pytest.raises(mdps.BrokenFile, match="No such file"):
        load_model(tmp_path / "none.npz")
    with pytest.raises(mdps.BrokenFile, match="max_bytes"):
        load_model(good, max_bytes=10)


def test_the_error_survives_pickling():
    error = mdps.BrokenFile("a.tra", "is broken", line=3)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line) == ("a.tra, line 3: is broken", 3)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_never_raise_anything_else(tmp_path, seed):
    good = archive(tmp_path / "good.npz", **SPARSE).read_bytes()
    rng = np.random.default_rng(seed)
    path = tmp_path / "m.npz"
    for _ in range(60):
        raw = bytearray(good)
        for place in rng.integers(0, len(raw), size=rng.integers(1, 4)):
            raw[place] = rng.integers(0, 256)
        path.write_bytes(bytes(raw))
        with contextlib.suppress(mdps.BrokenFile):
            load_model(path)
