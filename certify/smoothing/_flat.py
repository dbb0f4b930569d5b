"""Plain array files: a perceptron as `.npz` or `.safetensors`.

Members `W0`, `b0`, `W1`, `b1`, ... in the order of the layers; `Wk` has shape (inputs, outputs), so a layer computes `x @ Wk + bk`.
Settings: `activation` (`tanh` or `relu`, default `tanh`), `head` (`argmax` or `box`, default `argmax`), for a box `low` and `high`
(one number a coordinate) and `squash` (0 or 1).  In an `.npz` they are arrays, in a `.safetensors` file entries of `__metadata__`
(numbers separated by commas).
"""

from __future__ import annotations

import ast
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._archive import LIMIT_MEMBER, Archive
from certify.smoothing._networks import Head, MlpPolicy

__all__ = ["npz_policy", "safetensors_policy", "write_npz"]

_LIMIT_HEADER = 1 << 20
_LIMIT_LAYERS = 64
_SETTINGS = ("activation", "head", "low", "high", "squash", "start")
_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def npz_policy(archive: Archive, *, name: str, sha256: str) -> MlpPolicy:
    """Return the perceptron of an `.npz` archive.

    Parameters
    ----------
    archive : Archive
        The opened file.
    name, sha256 : str
        Recorded with the policy.

    Returns
    -------
    MlpPolicy
        The policy.

    Raises
    ------
    ValueError
        If a member is missing, unknown, or not a plain array of the size it claims.
    """
    if len(archive.members) > 2 * _LIMIT_LAYERS + len(_SETTINGS):
        raise ValueError(f"{archive.label} has {len(archive.members)} members; a policy has at most {2 * _LIMIT_LAYERS + len(_SETTINGS)}")
    arrays = {}
    for member in archive.members:
        if not member.endswith(".npy"):
            raise ValueError(f"{archive.label} has a member {member[:60]!r} that is not an array")
        arrays[member.removesuffix(".npy")] = _npy(archive.read(member), f"member {member[:60]!r} of {archive.label}")
    settings = {key: arrays.pop(key) for key in _SETTINGS if key in arrays}
    words = {key: ",".join(str(v) for v in value.ravel()[:4096].tolist()) for key, value in settings.items()}
    return _build(arrays, words, archive.label, name, sha256)


def safetensors_policy(path: Path, *, name: str, sha256: str) -> MlpPolicy:
    """Return the perceptron of a `.safetensors` file, read by its published layout.

    Parameters
    ----------
    path : Path
        The file.
    name, sha256 : str
        Recorded with the policy.

    Returns
    -------
    MlpPolicy
        The policy.

    Raises
    ------
    ValueError
        If the header is damaged, too long, or disagrees with the bytes that follow.
    """
    label = path.name
    if path.stat().st_size > LIMIT_MEMBER:
        raise ValueError(f"{label} has {path.stat().st_size} bytes; at most {LIMIT_MEMBER} are allowed")
    raw = path.read_bytes()
    if len(raw) < 10:
        raise ValueError(f"{label} is too short for a safetensors file")
    (length,) = struct.unpack("<Q", raw[:8])
    if length > min(_LIMIT_HEADER, len(raw) - 8):
        raise ValueError(f"{label} claims a header of {length} bytes; the file allows {min(_LIMIT_HEADER, len(raw) - 8)}")
    header = _json_header(raw[8 : 8 + length], label)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{label} has metadata that is not text")
    body = raw[8 + length :]
    arrays = {key: _slice(entry, body, f"tensor {key[:60]!r} of {label}") for key, entry in header.items()}
    return _build(arrays, {k: v for k, v in metadata.items() if k in _SETTINGS}, label, name, sha256)


def write_npz(policy: MlpPolicy, path: Path) -> None:
    """Write a perceptron in the layout that `npz_policy` reads.

    Parameters
    ----------
    policy : MlpPolicy
        The policy.
    path : Path
        Where to write.
    """
    arrays: dict[str, Any] = {}
    for k, (w, b) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        arrays[f"W{k}"], arrays[f"b{k}"] = w, b
    arrays["activation"], arrays["head"] = np.array(policy.activation), np.array(policy.head.kind)
    if policy.head.start:
        arrays["start"] = np.array(policy.head.start)
    if policy.head.kind == "box":
        arrays.update(low=np.array(policy.head.low), high=np.array(policy.head.high), squash=np.array(int(policy.head.squash)))
    np.savez(path, **arrays)


def _json_header(raw: bytes, label: str) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{label} has a header that is not JSON ({type(error).__name__})") from None
    if not isinstance(header, dict) or len(header) > 2 * _LIMIT_LAYERS + 1:
        raise ValueError(f"{label} has a header that does not list the tensors of a policy")
    return header


def _slice(entry: Any, body: bytes, label: str) -> NDArray[Any]:
    try:
        code, shape, (start, stop) = _SAFE_TYPES[entry["dtype"]], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{label} needs a dtype ({', '.join(_SAFE_TYPES)}), a shape and two data_offsets") from None
    whole = all(type(n) is int and n >= 0 for n in (*shape, start, stop)) and len(shape) <= 2
    if not whole or not start <= stop <= len(body) or math.prod(shape) * np.dtype(code).itemsize != stop - start:
        raise ValueError(f"{label} has a shape or offsets that do not fit its bytes")
    values = np.frombuffer(body[start:stop], code).reshape(shape)
    return values.astype(np.float32) if code == "<f2" else values


def _npy(data: bytes, label: str) -> NDArray[Any]:
    """Read an array by the published layout; NumPy's reader takes memory for the claimed shape before it looks at the bytes."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        raise ValueError(f"{label} is not an array")
    width = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    start = 8 + width + length
    if length > 4096 or start > len(data):
        raise ValueError(f"{label} claims a header of {length} bytes")
    try:
        header = ast.literal_eval(data[8 + width : start].decode("latin1"))
        shape, code, fortran = tuple(header["shape"]), header["descr"], header["fortran_order"]
        dtype = np.dtype(code) if isinstance(code, str) else np.dtype("O")
    except Exception as error:  # the text may be anything
        raise ValueError(f"{label} has a damaged header ({type(error).__name__})") from None
    if dtype.kind not in "fiubU" or dtype.itemsize == 0:
        raise ValueError(f"{label} holds values of type {dtype}; numbers and text are allowed")
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 4 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{label} has a shape that does not fit its bytes")
    values = np.frombuffer(data[start:], dtype)
    return np.array(values.reshape(shape[::-1]).T if fortran is True else values.reshape(shape))


def _build(arrays: dict[str, NDArray[Any]], settings: dict[str, str], label: str, name: str, sha256: str) -> MlpPolicy:
    count = sum(1 for key in arrays if key.startswith("W"))
    expected = {f"{letter}{k}" for k in range(count) for letter in "Wb"}
    if not count or set(arrays) != expected:
        odd = sorted(set(arrays) ^ (expected or {"W0", "b0"}))
        raise ValueError(f"{label} must have the members W0, b0, W1, b1, ... and the settings {', '.join(_SETTINGS)}; check {odd[0][:60]!r}")
    try:
        low, high = (tuple(float(v) for v in settings.get(key, "").split(",") if v) for key in ("low", "high"))
        squash, start = settings.get("squash", "0") in ("1", "1.0", "True"), int(settings.get("start", "0"))
    except ValueError:
        raise ValueError(f"{label} has action bounds that are not numbers") from None
    head = Head(settings.get("head", "argmax"), low, high, squash, start)
    weights, biases = (tuple(arrays[f"{letter}{k}"] for k in range(count)) for letter in "Wb")
    try:
        return MlpPolicy(weights, biases, settings.get("activation", "tanh"), head, name, sha256)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None
