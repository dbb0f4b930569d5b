"""PETSc binary matrices, the input of distributed solvers such as madupite.

A matrix is the class number 1211216, the numbers of rows, columns and entries, the length of each row, the column of each entry (all
32-bit big-endian integers) and the entries (64-bit big-endian floats).  The kernel is written with row s * A + a, the costs (negative
rewards, because those solvers minimise) as an (S, A) matrix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mdps._errors import BrokenFile, ModelError
from mdps.formats._files import require_size, write_atomically
from mdps.models import TabularMDP

__all__ = ["read_petsc_matrix", "write_petsc"]

_CLASS = 1211216
_INTEGER = np.dtype(">i4")
_FLOAT = np.dtype(">f8")


def write_petsc(mdp: TabularMDP, transition_path: str | Path, cost_path: str | Path) -> None:
    """Write the kernel and the stage costs of a model as PETSc binary matrices.

    Parameters
    ----------
    mdp : TabularMDP
        A model in which every action is available everywhere.
    transition_path, cost_path : str or Path
        Files for the (S*A, S) kernel and the (S, A) costs.

    Raises
    ------
    ModelError
        If the model forbids actions or has more rows or entries than 32-bit integers count.
    OSError
        If a file cannot be written.
    """
    if mdp.action_mask is not None and not mdp.action_mask.all():
        state, action = (int(i) for i in np.argwhere(~mdp.action_mask)[0])
        raise ModelError(f"mdp must allow every action everywhere for this format, got action {action} forbidden in state {state}")
    kernel = mdp.csr()
    if max(kernel.nnz, kernel.shape[0]) >= 2**31:
        raise ModelError(f"mdp must have fewer than 2**31 rows and entries for 32-bit PETSc files, got {kernel.shape[0]} and {kernel.nnz}")
    S, A = mdp.n_states, mdp.n_actions
    lengths, columns = np.full(S, A), np.tile(np.arange(A), S)
    write_atomically(
        Path(transition_path), lambda stream: _write(stream, kernel.shape, np.diff(kernel.indptr), kernel.indices, kernel.data)
    )
    write_atomically(Path(cost_path), lambda stream: _write(stream, (S, A), lengths, columns, -mdp.expected_reward.ravel()))


def read_petsc_matrix(path: str | Path, *, max_bytes: int = 8 << 30) -> Any:
    """Read one sparse matrix in PETSc binary form.

    Parameters
    ----------
    path : str or Path
        The file.
    max_bytes : int
        Refuse larger files.

    Returns
    -------
    scipy.sparse.csr_array
        The matrix.

    Raises
    ------
    BrokenFile
        If the file is missing, truncated, or no such matrix.
    """
    from scipy.sparse import csr_array

    source = Path(path)
    size = require_size(source, max_bytes)
    raw = source.read_bytes()
    if size < 16:
        raise BrokenFile(source, f"is too short for a PETSc matrix: {size} bytes")
    number, rows, columns, entries = (int(x) for x in np.frombuffer(raw, _INTEGER, 4))
    if number != _CLASS:
        raise BrokenFile(source, f"must start with the PETSc class number {_CLASS}, got {number}")
    if rows < 0 or columns < 0 or entries < 0 or size != 16 + 4 * rows + 12 * entries:
        raise BrokenFile(source, f"announces {rows} rows and {entries} entries, which do not fit its {size} bytes")
    lengths = np.frombuffer(raw, _INTEGER, rows, 16)
    places = np.frombuffer(raw, _INTEGER, entries, 16 + 4 * rows)
    values = np.frombuffer(raw, _FLOAT, entries, 16 + 4 * rows + 4 * entries)
    if (lengths < 0).any() or int(lengths.sum(dtype=np.int64)) != entries or (entries and (places.min() < 0 or places.max() >= columns)):
        raise BrokenFile(source, "has row lengths or columns that do not fit its announced size")
    pointers = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return csr_array((values.astype(np.float64), places.astype(np.int32), pointers), shape=(rows, columns))


def _write(stream: BinaryIO, shape: tuple[int, int], lengths: NDArray[Any], columns: NDArray[Any], values: NDArray[Any]) -> None:
    stream.write(np.array([_CLASS, *shape, values.size], dtype=_INTEGER).tobytes())
    stream.write(lengths.astype(_INTEGER).tobytes())
    stream.write(columns.astype(_INTEGER).tobytes())
    stream.write(values.astype(_FLOAT).tobytes())
