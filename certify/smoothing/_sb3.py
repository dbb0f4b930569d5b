"""Rebuild a Stable-Baselines3 policy from its save file without that library, without PyTorch, and without running the file.

Weights come from `policy.pth` (`_archive.read_state_dict`), the architecture from their names and shapes, the activation and the
action space from the plain JSON beside the pickles of `data`.  The pickles themselves are never loaded; they are read as text, and a
file in which one of them would start a program is refused, since its owner will want to know.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._archive import Archive, pickled_names, read_state_dict
from certify.smoothing._networks import CnnPolicy, Head, MlpPolicy

__all__ = ["is_sb3", "sb3_policy"]

_LIMIT_DATA = 16 << 20
_LIMIT_VALUES = 200_000
_NATURE = ((0, 8, 4), (2, 4, 2), (4, 3, 1))
"""Index, kernel size and stride of the three convolutions."""

_PROGRAMS = {
    "os", "posix", "nt", "subprocess", "pty", "runpy", "shutil", "socket", "sys", "ctypes", "importlib", "code", "codeop", "webbrowser",
    "commands", "platform", "pdb", "timeit", "cProfile", "profile", "pickle", "_pickle", "multiprocessing", "urllib", "http", "pip", "pydoc",
    "asyncio", "signal", "tempfile", "pathlib", "io", "_io", "imp", "zipimport", "ftplib", "smtplib", "telnetlib", "bdb", "doctest", "trace",
}  # fmt: skip
_BUILTINS = {"eval", "exec", "compile", "open", "__import__", "input", "breakpoint", "execfile", "file", "globals", "locals", "vars"}


def is_sb3(archive: Archive) -> bool:
    """Say whether a zip archive looks like a Stable-Baselines3 save file."""
    return "data" in archive and "policy.pth" in archive


def sb3_policy(archive: Archive, *, name: str, sha256: str) -> MlpPolicy | CnnPolicy:
    """Return the deterministic policy of a save file (PPO, A2C, DQN, SAC, TD3, DDPG).

    Parameters
    ----------
    archive : Archive
        The opened save file.
    name, sha256 : str
        Recorded with the policy.

    Returns
    -------
    MlpPolicy or CnnPolicy
        What the library's `predict(..., deterministic=True)` computes.

    Raises
    ------
    ValueError
        If the file is damaged, hides a program, or holds a policy that cannot be rebuilt from shapes and plain JSON.
    """
    data = _plain_json(archive)
    _refuse_programs(archive, data)
    observation, action = (_space(data, key, archive.label) for key in ("observation_space", "action_space"))
    kwargs = data.get("policy_kwargs") or {}
    _refuse_what_cannot_be_rebuilt(data, kwargs, observation, archive.label)
    tensors = read_state_dict(archive.read("policy.pth"), f"policy.pth of {archive.label}")
    for key, tensor in tensors.items():  # those of the critic too: nobody saves a damaged network on purpose
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ValueError(f"tensor {str(key)[:60]!r} of {archive.label} has weights that are not finite numbers")
    extractor, layers, family = _select(tensors, archive.label)
    activation = _activation(kwargs, family, archive.label)
    head = _head(action, family, kwargs, archive.label)
    try:
        shape = tuple(int(n) for n in observation["_shape"])
    except (KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"observation_space in {archive.label} has no readable shape") from None
    weights, biases = _layers(tensors, layers, archive.label)
    cnn = {key.removeprefix(extractor): value for key, value in tensors.items() if key.startswith(extractor)}
    if not cnn:
        policy = MlpPolicy(weights, biases, activation, head, name, sha256)
        _check_sizes(policy, int(np.prod(shape)), action, archive.label)
        return policy
    return _cnn(cnn, weights, biases, activation, head, shape, kwargs, name, sha256, archive.label)


def _plain_json(archive: Archive) -> dict[str, Any]:
    raw = archive.read("data", _LIMIT_DATA)
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _LIMIT_VALUES:
        raise ValueError(f"member 'data' of {archive.label} has more than {_LIMIT_VALUES} values")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"member 'data' of {archive.label} is not JSON ({type(error).__name__})") from None
    if not isinstance(data, dict):
        raise ValueError(f"member 'data' of {archive.label} must be a JSON object")
    return data


def _refuse_programs(archive: Archive, data: dict[str, Any]) -> None:
    for key, serialized in _serialized(data):
        label = f"entry {key[:60]!r} of {archive.label}"
        try:
            raw = base64.b64decode(serialized, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ValueError(f"{label} holds text that is not base64") from None
        _refuse_names(pickled_names(raw, label), label)
    for member, info in archive.members.items():
        label = f"member {member[:60]!r} of {archive.label}"
        if member in ("policy.pth", "data"):
            continue
        if member.endswith((".pth", ".pt", ".pkl", ".pickle")):
            for pickle, inner in _pickles(archive.read(member), label):
                _refuse_names(pickled_names(pickle, inner), inner)
        elif info.file_size <= _LIMIT_DATA:
            _refuse_disguised(archive.read(member), label)


def _serialized(data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the name of every top entry with each pickle below it, however deep."""
    waiting = list(data.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            if value.get(":serialized:") is not None:
                yield key, value[":serialized:"]
            waiting += [(key, inner) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(key, inner) for inner in value]


def _refuse_disguised(data: bytes, label: str) -> None:
    """Refuse a pickle in a member that should be text, such as the version of the library."""
    if data.startswith(b"\x80"):
        raise ValueError(f"{label} holds a pickle where text belongs; refused")
    try:
        names = list(pickled_names(data, label))
    except ValueError:
        return  # text, as it should be
    _refuse_names(iter(names), label)


def _pickles(data: bytes, label: str) -> Iterator[tuple[bytes, str]]:
    if not data.startswith(b"PK"):
        yield data, label
        return
    inner = Archive(data, label)
    for name in inner.members:
        if name.endswith((".pkl", ".pickle")):
            yield inner.read(name), label


def _refuse_names(names: Iterator[tuple[str, str]], label: str) -> None:
    for module, attribute in names:
        builtin = module in ("builtins", "__builtin__") and attribute.split(".")[0] in _BUILTINS
        if builtin or module.split(".")[0] in _PROGRAMS:
            raise ValueError(f"{label} holds a pickle that would call {module[:40]}.{attribute[:40]}; refused")


def _refuse_what_cannot_be_rebuilt(data: dict[str, Any], kwargs: Any, observation: dict[str, Any], label: str) -> None:
    if not isinstance(kwargs, dict):
        raise ValueError(f"policy_kwargs of {label} must be a JSON object")
    kind = str(observation.get(":type:", ""))
    if "Dict" in kind:
        raise ValueError(f"{label} holds a policy with Dict observations, which cannot be rebuilt from its file")
    if "Box" not in kind:
        raise ValueError(f"{label} holds a policy for observations of type {kind[:60]}; only Box observations can carry Gaussian noise")
    policy_class = data.get("policy_class")
    module = str(policy_class.get("__module__", "stable_baselines3")) if isinstance(policy_class, dict) else "stable_baselines3"
    if "recurrent" in module.lower() or "lstm" in module.lower():
        raise ValueError(f"{label} holds a recurrent policy, which cannot be rebuilt from its file")
    if not module.startswith("stable_baselines3"):
        raise ValueError(f"{label} holds a policy of the class {module[:60]}, which is not one of Stable-Baselines3's own")


def _select(tensors: dict[str, NDArray[Any]], label: str) -> tuple[str, list[str], str]:
    """Return the prefix of the features extractor, the prefixes of the layers in order, and the family of algorithms."""
    keys = tensors.keys()
    if any("lstm" in key for key in keys):
        raise ValueError(f"{label} holds a recurrent policy, which cannot be rebuilt from its file")
    if any(".extractors." in key for key in keys):
        raise ValueError(f"{label} holds a policy with Dict observations, which cannot be rebuilt from its file")
    if "action_net.weight" in keys:
        hidden = _numbered(keys, "mlp_extractor.shared_net.") + _numbered(keys, "mlp_extractor.policy_net.")
        extractor = "pi_features_extractor." if any(key.startswith("pi_features_extractor.") for key in keys) else "features_extractor."
        return extractor, [*hidden, "action_net."], "on-policy"
    if any(key.startswith("q_net.q_net.") for key in keys):
        return "q_net.features_extractor.", _numbered(keys, "q_net.q_net."), "dqn"
    if "actor.mu.weight" in keys:
        return "actor.features_extractor.", [*_numbered(keys, "actor.latent_pi."), "actor.mu."], "actor"
    if "actor.log_std" in keys:
        raise ValueError(f"{label} holds an actor with state-dependent exploration (use_sde), which is not supported")
    if "actor.mu.0.weight" in keys:
        return "actor.features_extractor.", _numbered(keys, "actor.mu."), "actor"
    raise ValueError(f"policy.pth of {label} is not the policy of PPO, A2C, DQN, SAC or TD3 (no action_net, q_net or actor.mu)")


def _numbered(keys: Any, prefix: str) -> list[str]:
    numbers = {key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix) and key.endswith(".weight")}
    if not all(number.isdigit() and len(number) < 5 for number in numbers):
        raise ValueError(f"layers {prefix}* are not numbered")
    return [f"{prefix}{number}." for number in sorted(numbers, key=int)]


def _layers(tensors: dict[str, NDArray[Any]], prefixes: list[str], label: str) -> tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any], ...]]:
    weights, biases = [], []
    for prefix in prefixes:
        w, b = tensors[f"{prefix}weight"], tensors.get(f"{prefix}bias")
        if w.ndim != 2 or w.dtype.kind != "f":
            raise ValueError(f"layer {prefix[:-1]} of {label} is not a dense layer of floating-point numbers")
        weights.append(np.ascontiguousarray(w.T))
        biases.append(np.zeros(w.shape[0], w.dtype) if b is None else b)
    return tuple(weights), tuple(biases)


def _activation(kwargs: dict[str, Any], family: str, label: str) -> str:
    given = kwargs.get("activation_fn")
    if given is None:
        return "tanh" if family == "on-policy" else "relu"
    text = str(given.get(":type:", given)) if isinstance(given, dict) else str(given)
    for ending, name in (("activation.Tanh'>", "tanh"), ("activation.ReLU'>", "relu")):
        if text.endswith(ending):
            return name
    raise ValueError(f"{label} uses the activation {text[:80]}; tanh and ReLU can be rebuilt")


def _space(data: dict[str, Any], key: str, label: str) -> dict[str, Any]:
    space = data.get(key)
    if not isinstance(space, dict):
        raise ValueError(f"member 'data' of {label} has no {key}")
    return space


def _head(action: dict[str, Any], family: str, kwargs: dict[str, Any], label: str) -> Head:
    kind = str(action.get(":type:", ""))
    try:
        if "discrete.Discrete" in kind:
            start = int(action.get("start", 0))
            if not -(2**31) <= start < 2**31:
                raise ValueError("start")
            return Head("argmax", start=start)
        if "box.Box" in kind:
            size = int(np.prod([int(n) for n in action["_shape"]]))
            squash = family == "actor" or kwargs.get("squash_output") is True
            return Head("box", _bounds(action, "low", size), _bounds(action, "high", size), squash)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"action_space in {label} has no readable bounds") from None
    raise ValueError(f"{label} acts in a space of type {kind[:60]}; Discrete and Box can be rebuilt")


def _bounds(action: dict[str, Any], side: str, size: int) -> tuple[float, ...]:
    text = str(action[side])
    if "..." in text:
        text = str(action[f"{side}_repr"])
    values = [float(word) for word in text.replace("[", " ").replace("]", " ").split()]
    if len(values) == 1:
        values *= size
    if not 1 <= size <= 4096 or len(values) != size or np.isnan(values).any():
        raise ValueError(side)
    return tuple(values)


def _check_sizes(policy: MlpPolicy, inputs: int, action: dict[str, Any], label: str) -> None:
    if policy.inputs != inputs:
        raise ValueError(f"{label} says its observations have {inputs} numbers, but its network reads {policy.inputs}")
    if policy.head.kind == "argmax" and str(action.get("n", policy.outputs)) != str(policy.outputs):
        raise ValueError(f"{label} says it has {action.get('n')} actions, but its network has {policy.outputs} outputs")


def _cnn(
    cnn: dict[str, NDArray[Any]], weights: tuple[NDArray[Any], ...], biases: tuple[NDArray[Any], ...], activation: str, head: Head,
    shape: tuple[int, ...], kwargs: dict[str, Any], name: str, sha256: str, label: str,
) -> CnnPolicy:  # fmt: skip
    expected = {f"cnn.{k}.{part}" for k, _, _ in _NATURE for part in ("weight", "bias")} | {"linear.0.weight", "linear.0.bias"}
    if set(cnn) != expected or len(shape) != 3 or kwargs.get("features_extractor_class") is not None:
        raise ValueError(f"{label} uses its own features extractor; only the NatureCNN on images can be rebuilt")
    kernels = tuple(cnn[f"cnn.{k}.weight"] for k, _, _ in _NATURE)
    if any(kernel.ndim != 4 or kernel.shape[2:] != (size, size) for kernel, (_, size, _) in zip(kernels, _NATURE, strict=True)):
        raise ValueError(f"{label} has convolutions that are not those of the NatureCNN")
    # The linear layer of the extractor ends in a ReLU whatever the activation of the later layers, so those must agree or be absent.
    if len(weights) > 1 and activation != "relu":
        raise ValueError(f"{label} mixes a NatureCNN with hidden layers of activation {activation}, which is not supported")
    shape = shape if shape[0] == kernels[0].shape[1] else (shape[2], shape[0], shape[1])
    dense = MlpPolicy(
        (np.ascontiguousarray(cnn["linear.0.weight"].T), *weights), (cnn["linear.0.bias"], *biases), "relu", head, name, sha256
    )  # fmt: skip
    offsets = tuple(cnn[f"cnn.{k}.bias"] for k, _, _ in _NATURE)
    strides = tuple(stride for _, _, stride in _NATURE)
    scale = 1.0 if kwargs.get("normalize_images") is False else 255.0
    return CnnPolicy(kernels, offsets, strides, dense, (int(shape[0]), int(shape[1]), int(shape[2])), scale)
