"""Policies that run somebody else's code or runtime: Python functions, PyTorch modules, ONNX graphs."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._networks import CallablePolicy, Head

__all__ = ["OnnxPolicy", "TorchPolicy", "callable_policy", "onnx_policy", "torch_policy"]


@dataclass(frozen=True)
class TorchPolicy:
    """A PyTorch module from a float32 batch to raw outputs, shape (n, outputs), or to integer actions, shape (n,).

    Parameters
    ----------
    module : torch.nn.Module
        Evaluated without gradients.
    head : Head
        How raw outputs become actions.
    name, sha256 : str
        Where it came from.
    inputs : int or None
        Number of numbers it reads, when known.
    device : str
        Where the module lives.
    """

    module: Any
    head: Head
    name: str = "torch"
    sha256: str = ""
    inputs: int | None = None
    device: str = "cpu"

    def scores(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return raw outputs for a batch of observations."""
        torch = _library("torch")
        with torch.no_grad():
            result = self.module(torch.as_tensor(np.ascontiguousarray(observations, dtype=np.float32), device=self.device))
        return np.asarray(result.cpu().numpy())

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return one action for each observation."""
        return _decided(self.scores(observations), self.head, len(observations), self.name)


@dataclass(frozen=True)
class OnnxPolicy:
    """An ONNX graph with one float input and raw outputs (or integer actions) as its first output.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Runs on the CPU with one thread.
    head : Head
        How raw outputs become actions.
    name, sha256 : str
        Where it came from.
    inputs : int or None
        Number of numbers it reads, when the graph says so.
    """

    session: Any
    head: Head
    name: str = "onnx"
    sha256: str = ""
    inputs: int | None = None

    def scores(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return raw outputs for a batch of observations."""
        source = self.session.get_inputs()[0]
        dtype = np.float64 if "double" in source.type else np.float32
        return np.asarray(self.session.run(None, {source.name: np.ascontiguousarray(observations, dtype=dtype)})[0])

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return one action for each observation."""
        return _decided(self.scores(observations), self.head, len(observations), self.name)


def callable_policy(text: str) -> CallablePolicy:
    """Return the function named by `module:function`; importing it runs the code of that module, which the caller named.

    Parameters
    ----------
    text : str
        For instance `my_package.policies:act`.

    Returns
    -------
    CallablePolicy
        The function, hashed by the source of its module.

    Raises
    ------
    ValueError
        If the module or the function does not exist, or it cannot be called.
    """
    module_name, _, attribute = text.partition(":")
    try:
        function: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"policy {text!r} names no function that can be imported: {error}") from None
    if not callable(function):
        raise ValueError(f"policy {text!r} must name a function, got {type(function).__name__}")
    try:
        source = Path(inspect.getfile(importlib.import_module(module_name))).read_bytes()
    except (OSError, TypeError):
        source = text.encode()
    return CallablePolicy(function, text, hashlib.sha256(source + attribute.encode()).hexdigest(), getattr(function, "inputs", None))


def torch_policy(path: Path, *, sha256: str, head: Head, architecture: str | None, device: str = "cpu") -> TorchPolicy:
    """Load a TorchScript program, an exported program (`.pt2`), or a state dict into a given architecture.  Runs code: trust first.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str
        Its hash.
    head : Head
        How raw outputs become actions.
    architecture : str or None
        `module:factory` of a function without arguments that returns the `torch.nn.Module` for a state dict.
    device : str
        Where the module is put.

    Returns
    -------
    TorchPolicy
        The policy.

    Raises
    ------
    ValueError
        If the file is none of these or does not fit the architecture.
    """
    torch = _library("torch")
    try:
        if architecture is not None:
            module = callable_policy(architecture).function()
            module.load_state_dict(torch.load(path, map_location=device, weights_only=True))
            module.eval()
        elif path.suffix == ".pt2":
            module = torch.export.load(path).module()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is old, but files of it exist
                module = torch.jit.load(str(path), map_location=device)
            module.eval()
    except (RuntimeError, OSError, KeyError, AttributeError, TypeError) as error:
        kind = "fit the architecture" if architecture else "hold a TorchScript or exported program; a state dict needs architecture='module:factory'"
        raise ValueError(f"policy {path.name} does not {kind}: {str(error).splitlines()[0][:120]}") from None
    return TorchPolicy(module.to(device) if architecture else module, head, str(path), sha256, None, device)


def onnx_policy(path: Path, *, sha256: str, head: Head) -> OnnxPolicy:
    """Load an ONNX graph; external data and operators outside the standard are refused, so no other file and no plug-in is touched.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str
        Its hash.
    head : Head
        How raw outputs become actions.

    Returns
    -------
    OnnxPolicy
        The policy.

    Raises
    ------
    ValueError
        If the graph is damaged, refers to other files or needs custom operators.
    """
    onnx, runtime = _library("onnx"), _library("onnxruntime", extra="onnx")
    raw = path.read_bytes()
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf raises its own hierarchy
        raise ValueError(f"policy {path.name} is not an ONNX graph ({type(error).__name__})") from None
    if b"external_data" in raw or any(t.data_location == 1 or t.external_data for t in model.graph.initializer):
        raise ValueError(f"policy {path.name} keeps weights in other files (external data), which is refused")
    foreign = sorted({op.domain for op in model.opset_import} - {"", "ai.onnx", "ai.onnx.ml"})
    if foreign:
        raise ValueError(f"policy {path.name} needs operators of the domain {foreign[0][:60]!r}, which are refused")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own hierarchy
        raise ValueError(f"policy {path.name} cannot be run: {str(error).splitlines()[0][:120]}") from None
    shape = session.get_inputs()[0].shape[1:]
    inputs = int(np.prod(shape)) if shape and all(isinstance(n, int) for n in shape) else None
    return OnnxPolicy(session, head, str(path), sha256, inputs)


def _decided(scores: NDArray[Any], head: Head, count: int, name: str) -> NDArray[Any]:
    if scores.ndim == 1 and scores.dtype.kind in "iu" and len(scores) == count:
        return scores
    if scores.ndim != 2 or len(scores) != count:
        raise ValueError(f"policy {name} must map {count} observations to as many rows of outputs, got shape {scores.shape}")
    return head.decide(scores)


def _library(name: str, *, extra: str | None = None) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"this policy needs the package {name}: pip install 'lemmata[{extra or name}]'") from None
