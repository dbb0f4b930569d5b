"""Builders of policy files, honest and hostile, that need neither PyTorch nor Stable-Baselines3."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STORAGES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.float64): "DoubleStorage", np.dtype(np.int64): "LongStorage"}


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(integer(v) for v in values) + b"t"


ORDERED = b"ccollections\nOrderedDict\n)R"


def state_dict(tensors: dict[str, np.ndarray], *, shapes: dict[str, tuple[int, ...]] | None = None, counts: dict[str, int] | None = None,
               tail: bytes = b"", pickle: bytes | None = None) -> bytes:  # fmt: skip
    """The bytes of a PyTorch state dict, written opcode by opcode; `shapes` and `counts` let it lie."""
    body, out = [b"\x80\x02", ORDERED, b"("], io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for key, (name, array) in enumerate(tensors.items()):
            shape = (shapes or {}).get(name, array.shape)
            strides = tuple(int(np.prod(array.shape[k + 1 :])) for k in range(len(shape)))
            count = (counts or {}).get(name, array.size)
            storage = b"(" + text("storage") + b"ctorch\n" + STORAGES[array.dtype].encode() + b"\n" + text(str(key)) + text("cpu") + integer(count) + b"tQ"
            body += [text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, integer(0), numbers(shape), numbers(strides), b"\x89", ORDERED, b"tR"]
            archive.writestr(f"archive/data/{key}", np.ascontiguousarray(array).tobytes())
        body += [b"u", tail, b"."]
        archive.writestr("archive/data.pkl", b"".join(body) if pickle is None else pickle)
        archive.writestr("archive/byteorder", "little")
    return out.getvalue()


def ppo_tensors(inputs: int = 4, hidden: int = 8, outputs: int = 2, *, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = {"mlp_extractor.policy_net.0": (hidden, inputs), "mlp_extractor.policy_net.2": (hidden, hidden), "action_net": (outputs, hidden),
             "value_net": (1, hidden)}  # fmt: skip
    tensors = {}
    for name, (n, m) in sizes.items():
        tensors[f"{name}.weight"] = rng.normal(size=(n, m)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=n).astype(np.float32)
    return tensors


def sb3_data(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "policy_class": {":type:": "<class 'abc.ABCMeta'>", "__module__": "stable_baselines3.common.policies"},
        "policy_kwargs": {},
        "observation_space": {":type:": "<class 'gymnasium.spaces.box.Box'>", "_shape": [4], "dtype": "float32"},
        "action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "2", "start": "0", "_shape": []},
    }
    return {**data, **changes}


def serialized(pickle: bytes) -> dict[str, str]:
    return {":type:": "<class 'function'>", ":serialized:": base64.b64encode(pickle).decode()}


@pytest.fixture
def files() -> Any:
    """The builders above, for tests that cannot import this file."""
    import types

    return types.SimpleNamespace(
        state_dict=state_dict, ppo_tensors=ppo_tensors, sb3_data=sb3_data, serialized=serialized, text=text, integer=integer, ordered=ORDERED
    )


@pytest.fixture
def sb3_zip(tmp_path: Path) -> Callable[..., Path]:
    """Write a save file; any member can be replaced."""

    def write(name: str = "policy.zip", *, data: Any = None, policy: bytes | None = None, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("data", data if isinstance(data, bytes) else json.dumps(sb3_data() if data is None else data))
            archive.writestr("policy.pth", state_dict(ppo_tensors()) if policy is None else policy)
            for member, content in members.items():
                archive.writestr(member.replace("__", "."), content)
        return path

    return write
