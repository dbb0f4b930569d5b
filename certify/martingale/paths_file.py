"""Trajectories in a file: a NumPy archive with the members time, state, reward and, if there is one, terminal.  No pickles."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from certify._files import write_atomically
from mdps import BrokenFile
from mdps.diffusions.paths import Paths
from mdps.formats._npz import read_arrays

__all__ = ["load_paths", "save_paths"]

MEMBERS = ("time", "state", "reward", "terminal")
LARGEST = 4 << 30
"""Bytes that an archive may hold unpacked."""


def save_paths(path: str | Path, paths: Paths) -> None:
    """Write trajectories to an `.npz` file, whole or not at all.

    Parameters
    ----------
    path : path
        File to write.
    paths : Paths
        What to write.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    members = {"time": paths.time, "state": paths.state, "reward": paths.reward}
    if paths.terminal is not None:
        members["terminal"] = paths.terminal
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **members)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def load_paths(path: str | Path) -> Paths:
    """Read trajectories from an `.npz` file with the members time, state, reward and optionally terminal.

    Parameters
    ----------
    path : path
        File to read; pickled members are refused, nothing in the file is run.

    Returns
    -------
    Paths

    Raises
    ------
    ValueError
        If the file is no such archive, a member is missing or unknown, or the trajectories are invalid.
    OSError
        If it cannot be read.
    """
    source = Path(path)
    try:
        members = read_arrays(source, MEMBERS, what="file of paths", max_bytes=LARGEST)
    except BrokenFile as error:
        raise ValueError(f"paths must be an .npz archive of plain arrays, {source} cannot be read as one ({error.reason})") from None
    if not {"time", "state", "reward"} <= set(members):
        raise ValueError(f"paths must have the members time, state, reward and optionally terminal; {source} has {sorted(members)}")
    return Paths(members["time"], members["state"], members["reward"], members.get("terminal"))
