"""The project's own model file: a NumPy archive (`.npz`) of plain arrays, read without running any code.

| member | kind of model | what |
|---|---|---|
| `format` | all | the text `lemmata-mdp-1` |
| `kind` | all | `tabular`, `finite-horizon` or `linear` |
| `transition` | tabular, finite-horizon | (S, A, S), or (H, S, A, S) for a finite horizon |
| `data`, `indices`, `indptr`, `shape` | instead of `transition` | compressed rows of shape (S*A, S) |
| `reward` | tabular, finite-horizon | (S, A), (H, S, A), (S, A, S), or aligned with `data` |
| `features`, `factors`, `reward_weights` | linear | as in `LinearMDP` |
| `horizon` | finite-horizon, linear | integer |
| `discount`, `initial`, `action_mask`, `terminal`, `final_value` | optional | as in the models |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdps._errors import BrokenFile, ModelError
from mdps._validate import require_integer
from mdps.formats._files import require_size, write_atomically
from mdps.formats._npz import read_arrays
from mdps.models import FiniteHorizonMDP, LinearMDP, TabularMDP

__all__ = ["load_model", "save_model"]

Model = TabularMDP | FiniteHorizonMDP | LinearMDP

FORMAT = "lemmata-mdp-1"

_MEMBERS = {
    "format", "kind", "transition", "data", "indices", "indptr", "shape", "reward", "features", "factors", "reward_weights", "horizon",
    "discount", "initial", "action_mask", "terminal", "final_value",
}

_HARMLESS = 64 << 20
"""Unpacked sizes up to this are read however well they were compressed."""

_LARGEST_RATIO = 100
"""Beyond, an archive that unpacks to more than so many times its size is taken for a trap."""


def save_model(path: str | Path, model: Model) -> None:
    """Write a model to a `.npz` file.

    Parameters
    ----------
    path : str or Path
        Where to; an existing file is replaced as a whole.
    model : TabularMDP, FiniteHorizonMDP or LinearMDP
        The model.

    Raises
    ------
    ModelError
        If `model` is none of these, or is finite-horizon with sparse kernels for each stage.
    OSError
        If the file cannot be written.
    """
    arrays: dict[str, Any] = {"format": np.array(FORMAT)}
    if isinstance(model, LinearMDP):
        arrays |= {"kind": "linear", "features": model.features, "factors": model.factors, "reward_weights": model.reward_weights}
        arrays["horizon"] = model.horizon
    elif isinstance(model, FiniteHorizonMDP):
        arrays |= {"kind": "finite-horizon", "horizon": model.horizon, "final_value": model.final_value, "reward": model.expected_reward}
        arrays |= _kernel_arrays(model.transition)
    elif isinstance(model, TabularMDP):
        reward = model.transition_reward
        arrays |= {"kind": "tabular", "reward": model.expected_reward if reward is None else reward}
        arrays |= _kernel_arrays(model.transition)
    else:
        raise ModelError(f"model must be a TabularMDP, FiniteHorizonMDP or LinearMDP, got {type(model).__name__}")
    for name in ("discount", "initial", "action_mask", "terminal"):
        value = getattr(model, name, None)
        if value is not None:
            arrays[name] = value
    write_atomically(Path(path), lambda stream: np.savez(stream, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()}))


def load_model(
    path: str | Path, *, discount: float | None = None, horizon: int | None = None, max_bytes: int = 8 << 30
) -> Model:
    """Read a model file: `.npz` of `save_model`, or `.tra` of PRISM or Storm with its neighbours of the same name.

    Parameters
    ----------
    path : str or Path
        The file.
    discount : float, optional
        Replaces the discount in the file (tabular models).
    horizon : int, optional
        Makes a finite-horizon model of a tabular one.
    max_bytes : int
        Refuse files that are larger, or unpack to more.

    Returns
    -------
    TabularMDP, FiniteHorizonMDP or LinearMDP
        The model, fully validated.

    Raises
    ------
    BrokenFile
        If the file is missing, too large, no model file, or holds a broken model; nothing in it is ever run.
    ModelError
        If discount and horizon do not fit the model.
    """
    source = Path(path)
    if discount is not None and horizon is not None:
        raise ModelError(f"discount and horizon exclude each other, got discount={discount!r} and horizon={horizon!r}")
    if horizon is not None:
        require_integer("horizon", horizon)
    if source.suffix == ".tra":
        from mdps.formats.prism import read_prism

        model: Model = read_prism(source, rewards=_beside(source), labels=_existing(source.with_suffix(".lab")), max_bytes=max_bytes)
    elif source.suffix == ".npz":
        arrays = _read_archive(source, max_bytes)
        try:
            model = _build(source, arrays)
        except BrokenFile:
            raise
        except ModelError as error:
            raise BrokenFile(source, str(error)) from None
    else:
        raise BrokenFile(source, f"must end in .npz or .tra to be a model file, got the ending {source.suffix!r}")
    if discount is None and horizon is None:
        return model
    if not isinstance(model, TabularMDP):
        raise ModelError(f"discount and horizon apply to tabular models only; {source} holds a {type(model).__name__}")
    if horizon is None:
        return model.with_discount(discount)
    return FiniteHorizonMDP(model.transition, model.expected_reward, horizon=horizon, initial=model.initial, action_mask=model.action_mask)


def _kernel_arrays(transition: Any) -> dict[str, Any]:
    if isinstance(transition, np.ndarray):
        return {"transition": transition}
    return {"data": transition.data, "indices": transition.indices, "indptr": transition.indptr, "shape": np.array(transition.shape)}


def _beside(source: Path) -> list[Path]:
    """Return the reward files that belong to a `.tra` file by their names."""
    endings = (".srew", ".trew", ".rew", ".state.rew", ".trans.rew", ".srews", ".trews")
    return [path for ending in endings if (path := source.with_name(source.stem + ending)).exists()]


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _read_archive(path: Path, max_bytes: int) -> dict[str, NDArray[Any]]:
    size = require_size(path, max_bytes)
    try:
        return read_arrays(path, _MEMBERS, what="model file", max_bytes=min(max_bytes, max(_HARMLESS, _LARGEST_RATIO * size)))
    except OSError as error:
        raise BrokenFile(path, f"cannot be read: {error.strerror}") from None


def _build(path: Path, arrays: dict[str, NDArray[Any]]) -> Model:
    def text(name: str) -> str:
        return str(arrays[name]) if name in arrays and arrays[name].dtype.kind == "U" and arrays[name].ndim == 0 else ""

    def number(name: str) -> Any:
        array = arrays.get(name)
        if array is None:
            return None
        if array.ndim:
            raise BrokenFile(path, f"member {name} must be a single number, got shape {array.shape}")
        return array.item()

    if text("format") != FORMAT:
        raise BrokenFile(path, f"must have the member format = {FORMAT!r}, got {text('format')!r}")
    kind = text("kind")
    needed = {
        "tabular": ("reward",),
        "finite-horizon": ("reward", "horizon"),
        "linear": ("features", "factors", "reward_weights", "horizon"),
    }
    if kind not in needed:
        raise BrokenFile(path, f"kind must be one of {', '.join(needed)}, got {kind!r}")
    for name in needed[kind]:
        if name not in arrays:
            raise BrokenFile(path, f"a {kind} model needs the member {name}")
    initial, mask = arrays.get("initial"), arrays.get("action_mask")
    if kind == "linear":
        return LinearMDP(arrays["features"], arrays["factors"], arrays["reward_weights"], horizon=number("horizon"), initial=initial)
    transition, reward = _kernel(path, arrays), arrays["reward"]
    if kind == "finite-horizon":
        return FiniteHorizonMDP(
            transition, reward, horizon=number("horizon"), initial=initial, action_mask=mask, final_value=arrays.get("final_value")
        )
    if reward.ndim == 1 and "data" in arrays:
        reward = _compressed(path, arrays, reward)
    return TabularMDP(transition, reward, discount=number("discount"), initial=initial, action_mask=mask, terminal=arrays.get("terminal"))


def _kernel(path: Path, arrays: dict[str, NDArray[Any]]) -> Any:
    if "transition" in arrays:
        return arrays["transition"]
    for name in ("data", "indices", "indptr", "shape"):
        if name not in arrays:
            raise BrokenFile(path, f"a model needs the member transition, or data, indices, indptr and shape; {name} is missing")
    return _compressed(path, arrays, arrays["data"])


def _compressed(path: Path, arrays: dict[str, NDArray[Any]], data: NDArray[Any]) -> Any:
    """Return a compressed matrix after checking that its index arrays stay inside it."""
    from scipy.sparse import csr_matrix

    indices, indptr, shape = arrays["indices"], arrays["indptr"], arrays["shape"]
    if shape.shape != (2,) or indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu" or shape.dtype.kind not in "iu":
        raise BrokenFile(path, "indices, indptr and shape must be integers, and shape must have two entries")
    rows, columns = int(shape[0]), int(shape[1])
    steps = np.diff(indptr.astype(np.int64))
    if data.ndim != 1 or data.shape != indices.shape or indptr.shape != (rows + 1,) or rows < 1 or columns < 1:
        raise BrokenFile(path, f"data, indices and indptr do not fit the shape ({rows}, {columns})")
    if indptr[0] != 0 or indptr[-1] != indices.size or steps.min() < 0 or (indices.size and (indices.min() < 0 or indices.max() >= columns)):
        raise BrokenFile(path, "indices or indptr point outside the matrix")
    return csr_matrix((data.astype(np.float64), indices.copy(), indptr.copy()), shape=(rows, columns))
