"""Policies as plain arrays: multilayer perceptrons and the convolutional network of the Atari literature.

Every policy here has `scores` (a batch of inputs to raw outputs: logits, action values or means) and `decide` (raw outputs to
actions).  The two are apart because averaging several noisy evaluations happens between them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "CallablePolicy", "CnnPolicy", "Head", "MlpPolicy", "Policy"]

ACTIVATIONS = ("tanh", "relu")
"""Activations of hidden layers that can be rebuilt."""


def _digest(arrays: tuple[NDArray[Any], ...], *settings: Any) -> str:
    """Return the hash of arrays, with their types and shapes, and of settings."""
    found = hashlib.sha256(repr([(a.dtype.str, a.shape) for a in arrays] + list(settings)).encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


class Policy(Protocol):
    """What the sampling engine needs of a policy."""

    @property
    def name(self) -> str:
        """Path or name."""

    @property
    def sha256(self) -> str:
        """Hash of the file or source it came from."""

    @property
    def inputs(self) -> int | None:
        """Number of numbers it reads at each step, None when it does not say."""

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return one action for each row of a batch of observations."""


@dataclass(frozen=True)
class Head:
    """How raw outputs become actions.

    Parameters
    ----------
    kind : str
        `argmax` (a discrete action) or `box` (a vector of real actions).
    low, high : tuple of float
        Bounds of a `box`; outputs are clipped to them.
    squash : bool
        Apply tanh and stretch to the bounds instead of clipping (SAC and TD3).
    start : int
        Number of the first discrete action.
    """

    kind: str = "argmax"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    squash: bool = False
    start: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("argmax", "box"):
            raise ValueError(f"head must be argmax or box, got {self.kind!r}")
        if len(self.low) != len(self.high) or not all(a <= b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"action bounds must be ordered and of equal length, got low {self.low} and high {self.high}")
        if self.squash and not np.all(np.isfinite((*self.low, *self.high))):
            raise ValueError("a squashed policy needs finite action bounds")

    def decide(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Return the actions of a batch of raw outputs, shape (n, outputs)."""
        if self.kind == "argmax":
            return np.asarray(np.argmax(scores, axis=1) + self.start)
        low, high = np.asarray(self.low, scores.dtype), np.asarray(self.high, scores.dtype)
        if self.squash:
            return np.asarray(low + 0.5 * (np.tanh(scores) + 1.0) * (high - low))
        return np.asarray(np.clip(scores, low, high))


@dataclass(frozen=True)
class MlpPolicy:
    """A multilayer perceptron.

    Parameters
    ----------
    weights : tuple of float array
        One matrix a layer, shape (inputs, outputs).
    biases : tuple of float array
        One vector a layer, shape (outputs,).
    activation : str
        `tanh` or `relu`, after every layer but the last.
    head : Head
        How outputs become actions.
    name, sha256 : str
        Where the policy came from; without a hash it gets that of its numbers, so that a store can tell it from others.

    Raises
    ------
    ValueError
        If the shapes do not follow on from each other or a weight is not finite.

    Examples
    --------
    >>> policy = MlpPolicy((np.array([[0.0, 0.1], [0.0, 0.4], [0.0, 2.0], [0.0, 1.0]]),), (np.zeros(2),))
    >>> policy.act(np.array([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, -0.1, 0.0]]))
    array([1, 0])
    """

    weights: tuple[NDArray[Any], ...]
    biases: tuple[NDArray[Any], ...]
    activation: str = "tanh"
    head: Head = field(default_factory=Head)
    name: str = "mlp"
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(f"a policy needs as many bias vectors as weight matrices, got {len(self.biases)} and {len(self.weights)}")
        previous = None
        for k, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if w.ndim != 2 or b.ndim != 1 or w.shape[1] != b.shape[0] or 0 in w.shape or previous not in (None, w.shape[0]):
                raise ValueError(f"layer {k} has a weight of shape {w.shape} and a bias of shape {b.shape}: (inputs, outputs) and (outputs,)"
                                 + (f" with {previous} inputs" if previous else "") + " are expected")  # fmt: skip
            if w.dtype.kind != "f" or b.dtype.kind != "f" or not (np.isfinite(w).all() and np.isfinite(b).all()):
                raise ValueError(f"layer {k} has weights that are not finite floating-point numbers")
            previous = w.shape[1]
        if self.head.kind == "box" and len(self.head.low) != previous:
            raise ValueError(f"the policy has {previous} outputs but the action space has {len(self.head.low)} coordinates")
        if not self.sha256:
            object.__setattr__(self, "sha256", _digest((*self.weights, *self.biases), self.activation, self.head))

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.weights[0].shape[0])

    @property
    def outputs(self) -> int:
        """Number of raw outputs."""
        return int(self.weights[-1].shape[1])

    def scores(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return raw outputs, shape (n, outputs), for a batch of observations."""
        x = np.asarray(observations).reshape(len(observations), -1)
        for k, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ w + b
            if k + 1 < len(self.weights):
                x = np.tanh(x) if self.activation == "tanh" else np.maximum(x, 0.0)
        return x

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return one action for each row of a batch of observations.

        Parameters
        ----------
        observations : float array, shape (n, ...)
            Each row is flattened.

        Returns
        -------
        array, shape (n,) or (n, coordinates)
            Discrete actions, or real ones within their bounds.
        """
        return self.head.decide(self.scores(observations))


@dataclass(frozen=True)
class CnnPolicy:
    """Convolutions with ReLU on an image of shape (channels, height, width), then a perceptron.

    Parameters
    ----------
    kernels : tuple of float array
        One a layer, shape (filters, channels, rows, columns).
    offsets : tuple of float array
        One a layer, shape (filters,).
    strides : tuple of int
        One a layer.
    dense : MlpPolicy
        Reads the flattened output of the last convolution.
    shape : tuple of int
        Shape of an input, channels first.
    scale : float
        Inputs are divided by it (255 for bytes).

    Raises
    ------
    ValueError
        If the shapes do not follow on from each other or a weight is not finite.
    """

    kernels: tuple[NDArray[Any], ...]
    offsets: tuple[NDArray[Any], ...]
    strides: tuple[int, ...]
    dense: MlpPolicy
    shape: tuple[int, int, int]
    scale: float = 255.0

    def __post_init__(self) -> None:
        channels, height, width = self.shape
        for k, (kernel, offset, stride) in enumerate(zip(self.kernels, self.offsets, self.strides, strict=True)):
            if kernel.ndim != 4 or kernel.shape[1] != channels or offset.shape != kernel.shape[:1]:
                raise ValueError(f"convolution {k} has a kernel of shape {kernel.shape}, which does not fit {channels} channels")
            if not (np.isfinite(kernel).all() and np.isfinite(offset).all()):
                raise ValueError(f"convolution {k} has weights that are not finite")
            channels = kernel.shape[0]
            height, width = (height - kernel.shape[2]) // stride + 1, (width - kernel.shape[3]) // stride + 1
            if height < 1 or width < 1:
                raise ValueError(f"an image of shape {self.shape} is too small for convolution {k}")
        if self.dense.inputs != channels * height * width:
            raise ValueError(f"the convolutions give {channels * height * width} features, the next layer reads {self.dense.inputs}")

    @property
    def name(self) -> str:
        """Path or name."""
        return self.dense.name

    @property
    def sha256(self) -> str:
        """Hash of the file it came from, or of its numbers."""
        dense = self.dense
        if dense.sha256 != _digest((*dense.weights, *dense.biases), dense.activation, dense.head):
            return dense.sha256
        return _digest((*self.kernels, *self.offsets), self.strides, self.shape, self.scale, dense.sha256)

    @property
    def head(self) -> Head:
        """How outputs become actions."""
        return self.dense.head

    @property
    def inputs(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape))

    def scores(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return raw outputs for a batch of images."""
        x = np.asarray(observations, self.kernels[0].dtype).reshape(len(observations), *self.shape) / self.kernels[0].dtype.type(self.scale)
        for kernel, offset, stride in zip(self.kernels, self.offsets, self.strides, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
            x = np.maximum(np.tensordot(windows, kernel, axes=((1, 4, 5), (1, 2, 3))) + offset, 0.0).transpose(0, 3, 1, 2)
        return self.dense.scores(x)

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return one action for each image of a batch."""
        return self.head.decide(self.scores(observations))


@dataclass(frozen=True)
class CallablePolicy:
    """A function from a batch of observations to a batch of actions.

    Parameters
    ----------
    function : callable
        Takes an array of shape (n, ...), returns n actions.
    name, sha256 : str
        Where it came from.
    inputs : int or None
        Number of numbers it reads, when known.
    """

    function: Any
    name: str = "callable"
    sha256: str = ""
    inputs: int | None = None

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Return one action for each observation; refuses an answer of another length."""
        actions = np.asarray(self.function(observations))
        if actions.shape[:1] != (len(observations),):
            raise ValueError(f"policy {self.name} must return one action for each of {len(observations)} observations, got shape {actions.shape}")
        return actions
