"""Every reader of `.npz` files (models, datasets, trajectories) refuses the same damage, in one line and as its own kind of error."""

import io
import struct
import zipfile

import numpy as np
import pytest

import mdps
from certify.martingale import load_paths, save_paths
from certify.robust import load_dataset, offline_dataset, save_dataset
from mdps import families
from mdps.diffusions import Paths
from mdps.formats import load_model, save_model


def write_model(path):
    save_model(path, families.river_swim())


def write_dataset(path):
    save_dataset(path, offline_dataset(np.arange(3000).reshape(1000, 3) % 7, np.zeros((1000, 2), int)))


def write_paths(path):
    save_paths(path, Paths(np.arange(50.0), np.arange(200.0).reshape(4, 50), np.zeros((4, 50))))


ROOMS = {"model": (write_model, load_model), "dataset": (write_dataset, load_dataset), "paths": (write_paths, load_paths)}


def records(raw, signature):
    """Yield where the headers of the members begin."""
    at = raw.find(signature)
    while at >= 0:
        yield at
        at = raw.find(signature, at + 4)


def patched(raw, local, central, change):
    """Change the same field in the local and in the central header of every member."""
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        for at in records(raw, signature):
            (value,) = struct.unpack_from("<H", raw, at + offset)
            struct.pack_into("<H", raw, at + offset, change(value))
    return raw


def unknown_method(raw):
    return patched(raw, 8, 10, lambda _: 97)


def encrypted(raw):
    return patched(raw, 6, 8, lambda flags: flags | 1)


def damaged_stream(raw):
    for at in records(bytes(raw), b"PK\x03\x04"):
        name, extra = struct.unpack_from("<HH", raw, at + 26)
        start = at + 30 + name + extra
        raw[start : start + 20] = b"\xff" * 20
    return raw


def wrong_offset(raw):
    for at in records(raw, b"PK\x01\x02"):
        struct.pack_into("<I", raw, at + 42, 7)
    return raw


def half(raw):
    return raw[: len(raw) // 2]


def replaced(content):
    def change(raw):
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as source, zipfile.ZipFile(buffer, "w") as target:
            for name in source.namelist():
                target.writestr(name, content)
        return bytearray(buffer.getvalue())

    return change


def array(**header):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (2,)} | header)
    return buffer.getvalue() + bytes(16)


NESTED = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + b"(" * 80 + b" " * 37 + b"\n"

DAMAGE = {
    "unknown method": (unknown_method, "compression method"),
    "encrypted": (encrypted, "encrypted"),
    "damaged stream": (damaged_stream, "no readable archive"),
    "wrong offset": (wrong_offset, "no readable archive"),
    "half": (half, "no readable archive"),
    "nested header": (replaced(NESTED), "broken header"),
    "no array": (replaced(b"text"), "broken header"),
    "shape that lies": (replaced(array(shape=(10**17,))), "announces"),
    "objects": (replaced(array(descr="|O")), "holds object"),
}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_by_every_reader(tmp_path, room, damage):
    write, load = ROOMS[room]
    change, message = DAMAGE[damage]
    path = tmp_path / "file.npz"
    write(path)
    load(path)
    path.write_bytes(change(bytearray(path.read_bytes())))
    with pytest.raises(mdps.BrokenFile if room == "model" else ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("room", ["dataset", "paths"])
def test_what_was_read_can_be_written_to(tmp_path, room):
    write, load = ROOMS[room]
    write(tmp_path / "file.npz")
    back = load(tmp_path / "file.npz")
    values = back.state if room == "paths" else back.states
    assert values.flags.writeable


def test_a_dataset_passes_over_other_members_up_to_sixteen(tmp_path):
    path, arrays = tmp_path / "data.npz", {"states": np.array([[0, 1]]), "actions": np.array([[0]])}
    np.savez(path, **arrays, note=np.array([{}], dtype=object))
    assert load_dataset(path).trajectories == 1
    np.savez(path, **arrays, **{f"extra{k}": np.zeros(1) for k in range(15)})
    with pytest.raises(ValueError, match="17 members"):
        load_dataset(path)


def test_trajectories_refuse_a_member_they_do_not_know(tmp_path):
    np.savez(tmp_path / "file.npz", time=[0.0, 1.0], state=[[0.0, 1.0]], reward=[[0.0, 1.0]], other=[0.0])
    with pytest.raises(ValueError, match="has the member 'other'"):
        load_paths(tmp_path / "file.npz")


@pytest.mark.parametrize("room", ["dataset", "paths"])
def test_a_missing_file_is_an_error_of_the_system(tmp_path, room):
    with pytest.raises(FileNotFoundError):
        ROOMS[room][1](tmp_path / "missing.npz")
