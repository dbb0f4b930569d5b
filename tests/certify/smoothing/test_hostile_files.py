"""Policy files that mean harm: each is refused in under a second and 100 MB, in one line, and none of its code runs.

Every file is opened in a child process whose address space is capped 100 MB above what Python and NumPy take, which would turn a
file that is unpacked into a MemoryError; a canary file shows whether any code ran.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHILD = """
import resource, sys, time
import numpy, json, zipfile, pickletools, ast
from certify.smoothing import load_policy
from certify.smoothing import _archive, _flat, _sb3, _networks
with open("/proc/self/statm") as f:
    now = int(f.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 100 * 2**20, now + 100 * 2**20))
for path in sys.argv[1:]:
    start = time.process_time()
    try:
        load_policy(path)
        print("LOADED", flush=True)
    except (ValueError, OSError) as error:
        print(f"{time.process_time() - start:.3f} {error}", flush=True)
    except BaseException as error:
        print(f"WRONG {type(error).__name__} {error}", flush=True)
"""


class Bomb:
    """Touches the canary when unpickled by a careless reader."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {self.canary}",)


def npz(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(header: str, body: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw) if length is None else length) + raw + body


def array(values: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def safetensors(path: Path, header: Any, body: bytes = b"", *, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + body)
    return path


def raw_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def corpus(tmp: Path, sb3_zip: Any, files: Any, canary: Path) -> dict[str, Path]:
    bomb = pickle.dumps(Bomb(canary), protocol=2)
    modern = pickle.dumps(Bomb(canary), protocol=4)
    good = files.ppo_tensors()
    weight = "mlp_extractor.policy_net.0.weight"
    nan = {**good, weight: np.full_like(good[weight], np.nan)}
    infinite = {**good, "action_net.bias": np.array([np.inf, 0.0], np.float32)}
    layer = {"W0.npy": array(np.zeros((4, 2))), "b0.npy": array(np.zeros(2))}
    nested = b"(" * 3 + files.text("a") + b"\x85" * 60_000 + b"."
    billion = b"\x80\x02" + b")" + b"".join(b"q\x01h\x01h\x01\x86" for _ in range(80)) + b"q\x01}h\x01K\x01s."
    return {
        "bomb-in-data-entry": sb3_zip("a1.zip", data=files.sb3_data(lr_schedule=files.serialized(bomb))),
        "bomb-in-data-protocol-4": sb3_zip("a2.zip", data=files.sb3_data(clip_range=files.serialized(modern))),
        "bomb-as-data": sb3_zip("a3.zip", data=bomb),
        "bomb-as-policy": sb3_zip("a4.zip", policy=bomb),
        "bomb-inside-policy": sb3_zip("a5.zip", policy=files.state_dict(good, pickle=bomb)),
        "bomb-inside-policy-protocol-4": sb3_zip("a6.zip", policy=files.state_dict(good, pickle=modern)),
        "bomb-after-the-tensors": sb3_zip("a7.zip", policy=files.state_dict(good, tail=b"0cposix\nsystem\n" + files.text("true") + b"\x85R")),
        "bomb-as-variables": sb3_zip("a8.zip", pytorch_variables__pth=bomb),
        "bomb-inside-variables": sb3_zip("a9.zip", pytorch_variables__pth=files.state_dict({}, pickle=bomb)),
        "bomb-inside-optimizer": sb3_zip("a10.zip", policy__optimizer__pth=files.state_dict({}, pickle=modern)),
        "bomb-as-version": sb3_zip("a13.zip", _stable_baselines3_version=modern),
        "bomb-as-text": sb3_zip("a14.zip", notes=pickle.dumps(Bomb(canary), protocol=0)),
        "bomb-deep-in-data": sb3_zip("a15.zip", data=files.sb3_data(policy_kwargs={"net_arch": [{"pi": files.serialized(modern)}]})),
        "eval-in-data": sb3_zip("a11.zip", data=files.sb3_data(seed=files.serialized(b"cbuiltins\neval\n(Vprint()\ntR."))),
        "not-base64-in-data": sb3_zip("a12.zip", data=files.sb3_data(seed={":serialized:": "!!"})),
        "pickle-file": raw_file(tmp / "b1.pkl", modern),
        "pickle-named-zip": raw_file(tmp / "b2.zip", modern),
        "torch-file-without-trust": raw_file(tmp / "b3.pth", files.state_dict(good, pickle=bomb)),
        "nan-weights": sb3_zip("c1.zip", policy=files.state_dict(nan)),
        "nan-weights-of-the-critic": sb3_zip("c8.zip", policy=files.state_dict({**good, "value_net.bias": np.array([np.nan], np.float32)})),
        "endless-actions": sb3_zip("c9.zip", data=files.sb3_data(action_space={":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": 1e400})),
        "actions-out-of-range": sb3_zip(
            "c10.zip", data=files.sb3_data(action_space={":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "2", "start": 10**30})
        ),
        "infinite-bias": sb3_zip("c2.zip", policy=files.state_dict(infinite)),
        "shape-lies": sb3_zip("c3.zip", policy=files.state_dict(good, shapes={weight: (4096, 4096)})),
        "negative-shape": sb3_zip("c4.zip", policy=files.state_dict(good, shapes={weight: (-8, -4)})),
        "storage-lies": sb3_zip("c5.zip", policy=files.state_dict(good, counts={weight: 2_000_000_000})),
        "layers-do-not-fit": sb3_zip("c6.zip", policy=files.state_dict({**good, "action_net.weight": np.zeros((2, 9), np.float32)})),
        "wrong-input-size": sb3_zip("c7.zip", policy=files.state_dict(files.ppo_tensors(inputs=5))),
        "deep-pickle": sb3_zip("d1.zip", policy=files.state_dict(good, pickle=b"\x80\x02" + nested)),
        "exponential-hash": sb3_zip("d2.zip", policy=files.state_dict(good, pickle=billion)),
        "memo-index": sb3_zip("d3.zip", policy=files.state_dict(good, pickle=b"\x80\x02)r\xff\xff\xff\x7f.")),
        "truncated-pickle": sb3_zip("d4.zip", policy=files.state_dict(good, pickle=b"\x80\x02X\xff\xff\xff\x7fab")),
        "long-frame": sb3_zip("d5.zip", policy=files.state_dict(good, pickle=b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.")),
        "deep-json": sb3_zip("d6.zip", data=b'{"a":' + b"[" * 100_000),
        "wide-json": sb3_zip("d7.zip", data=b'{"a":[' + b"[]," * 5_000_000 + b"[]]}", compression=zipfile.ZIP_DEFLATED),
        "zip-bomb": sb3_zip("e1.zip", data=b" " * 60_000_000, compression=zipfile.ZIP_DEFLATED),
        "zip-bomb-in-weights": npz(tmp / "e2.npz", {**layer, "W1.npy": bytes(40_000_000)}, zipfile.ZIP_DEFLATED),
        "packed-by-lzma": npz(tmp / "e3.npz", layer, zipfile.ZIP_LZMA),
        "many-members": npz(tmp / "e4.npz", {f"W{k}.npy": b"" for k in range(5000)}),
        "truncated-zip": raw_file(tmp / "e5.zip", sb3_zip("e5-whole.zip").read_bytes()[:-200]),
        "npz-object-array": npz(tmp / "f1.npz", {"W0.npy": array(np.array([Bomb(canary)], dtype=object)), "b0.npy": array(np.zeros(1))}),
        "npz-shape-lies": npz(tmp / "f2.npz", {"W0.npy": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999), }")}),
        "npz-header-lies": npz(tmp / "f3.npz", {"W0.npy": npy("{}", length=65_000)}),
        "npz-header-code": npz(tmp / "f4.npz", {"W0.npy": npy(f"__import__('os').system('touch {canary}')")}),
        "npz-header-deep": npz(tmp / "f5.npz", {"W0.npy": npy("(" * 4000)}),
        "npz-nan": npz(tmp / "f6.npz", {**layer, "W0.npy": array(np.full((4, 2), np.nan))}),
        "npz-unknown-member": npz(tmp / "f7.npz", {**layer, "hook.npy": array(np.zeros(1))}),
        "safetensors-header-lies": safetensors(tmp / "g1.safetensors", {}, length=1 << 62),
        "safetensors-offsets-lie": safetensors(
            tmp / "g2.safetensors", {"W0": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}
        ),
        "safetensors-deep-header": safetensors(tmp / "g3.safetensors", b"[" * 100_000),
        "safetensors-empty": raw_file(tmp / "g4.safetensors", b"\x00" * 4),
        "empty": raw_file(tmp / "h1.zip", b"x")
    }  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to cap the address space")
def test_every_hostile_file_is_refused_quickly_in_one_line(tmp_path: Path, sb3_zip: Any, files: Any) -> None:
    canary = tmp_path / "canary"
    given = corpus(tmp_path, sb3_zip, files, canary)
    assert len(given) >= 40
    answer = subprocess.run([sys.executable, "-c", CHILD, *map(str, given.values())], capture_output=True, text=True, timeout=120, check=True)
    lines = answer.stdout.splitlines()
    assert len(lines) == len(given), answer.stdout + answer.stderr
    for name, line in zip(given, lines, strict=True):
        seconds, _, message = line.partition(" ")
        assert seconds not in ("LOADED", "WRONG"), (name, line)
        assert float(seconds) < 1.0, (name, line)
        assert 10 < len(message) < 400, (name, line)
    assert not canary.exists()


def test_the_honest_file_of_the_same_builder_loads(sb3_zip: Any) -> None:
    """Without this the corpus could be refused for a reason that has nothing to do with the harm in it."""
    from certify.smoothing import load_policy

    assert load_policy(sb3_zip()).inputs == 4
