"""Load a policy from a file that nobody vouches for.

Save files of Stable-Baselines3, `.npz`, `.safetensors` and `.onnx` are read without running anything they contain; sizes are checked
before memory is taken.  A Python function is named as `module:function`.  PyTorch programs run code, hence need `trust=True`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from certify.smoothing._networks import CallablePolicy, CnnPolicy, Head, MlpPolicy, Policy

__all__ = ["CallablePolicy", "CnnPolicy", "Head", "MlpPolicy", "Policy", "default_policy_path", "load_policy"]

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_TORCH = (".pt", ".pth", ".pt2", ".ts", ".jit", ".bin", ".ckpt")


def load_policy(
    path: str | Path,
    *,
    trust: bool = False,
    architecture: str | None = None,
    action_bounds: tuple[Sequence[float], Sequence[float]] | None = None,
    device: str = "cpu",
) -> Policy:
    """Return the deterministic policy in a file, or the function named `module:function`.

    Parameters
    ----------
    path : str or Path
        Stable-Baselines3 `.zip` (PPO, A2C, DQN, SAC, TD3), `.npz` or `.safetensors` with members `W0`, `b0`, ..., `.onnx`,
        `module:function`, or with `trust=True` a PyTorch file.  Statistics of a normalising wrapper are not part of a
        save file: give them to `sample_returns`.
    trust : bool
        Allow code in the file to run (TorchScript, `torch.export`, a state dict together with `architecture`).
    architecture : str or None
        `module:factory` that builds the `torch.nn.Module` of a state dict.
    action_bounds : pair of sequences or None
        Lower and upper action bounds when a PyTorch or ONNX policy gives real actions; without them the largest output is the action.
    device : str
        Where a PyTorch policy is put.

    Returns
    -------
    Policy
        An object with `act`, `inputs`, `name` and `sha256`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the path is none, or the file is damaged, hostile, of an unknown kind, holds a policy that cannot be rebuilt, or would run code without `trust`.

    Examples
    --------
    >>> load_policy(default_policy_path()).inputs
    4
    """
    from certify.smoothing._archive import LIMIT_FILE

    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise ValueError(f"path must be that of a policy file or module:function, got {path!r}")
    text, file = str(path), Path(path)
    if not file.is_file() and _FUNCTION.fullmatch(text):
        from certify.smoothing._foreign import callable_policy

        return callable_policy(text)
    if not file.is_file():
        raise FileNotFoundError(f"policy must be a file or module:function, got {text!r}, which does not exist")
    size = file.stat().st_size
    if not 0 < size <= LIMIT_FILE:
        raise ValueError(f"policy file {file.name} has {size} bytes; between 1 and {LIMIT_FILE} are allowed")
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        start = stream.read(8)
    low, high = action_bounds or ((), ())
    head = Head("box", tuple(map(float, low)), tuple(map(float, high))) if action_bounds else Head()
    if file.suffix == ".safetensors":
        from certify.smoothing._flat import safetensors_policy

        return safetensors_policy(file, name=text, sha256=sha256)
    if file.suffix == ".onnx":
        from certify.smoothing._foreign import onnx_policy

        return onnx_policy(file, sha256=sha256, head=head)
    if file.suffix in _TORCH:
        return _torch(file, sha256, head, trust, architecture, device)
    if start[:2] == b"PK":
        return _zip(file, text, sha256)
    if start[:1] == b"\x80" or file.suffix in (".pkl", ".pickle", ".joblib"):
        raise ValueError(f"policy file {file.name} is a pickle, which runs code when opened; refused. Save the weights as .npz or .safetensors")
    raise ValueError(f"policy file {file.name} is of no known kind; .zip (Stable-Baselines3), .npz, .safetensors, .onnx, .pt are")


def default_policy_path() -> Path:
    """Return the path of the small trained CartPole policy that ships with the package.

    Returns
    -------
    Path
        An `.npz` file, made by `examples/train_cartpole.py`.
    """
    return Path(__file__).resolve().parent.parent / "data" / "cartpole_mlp.npz"


def _zip(file: Path, text: str, sha256: str) -> Policy:
    from certify.smoothing._archive import Archive
    from certify.smoothing._flat import npz_policy
    from certify.smoothing._sb3 import is_sb3, sb3_policy

    archive = Archive(file, file.name)
    if is_sb3(archive):
        return sb3_policy(archive, name=text, sha256=sha256)
    if archive.members and all(member.endswith(".npy") for member in archive.members):
        return npz_policy(archive, name=text, sha256=sha256)
    raise ValueError(f"policy file {file.name} is a zip archive, but neither a Stable-Baselines3 save file nor an .npz of plain arrays")


def _torch(file: Path, sha256: str, head: Head, trust: bool, architecture: str | None, device: str) -> Policy:
    from certify.smoothing._foreign import torch_policy

    if not trust:
        raise ValueError(f"policy file {file.name} (SHA-256 {sha256[:16]}...) can run code when opened; pass trust=True if you trust its source")
    return torch_policy(file, sha256=sha256, head=head, architecture=architecture, device=device)
