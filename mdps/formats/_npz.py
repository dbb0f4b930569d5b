"""Reading `.npz` archives that nobody vouches for: plain arrays only, every size checked before memory is taken, nothing run."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdps._errors import BrokenFile

__all__ = ["read_arrays"]

_CHUNK = 1 << 20


def read_arrays(
    path: Path, names: Collection[str], *, what: str, max_bytes: int, max_members: int | None = None, only_these: bool = True
) -> dict[str, NDArray[Any]]:
    """Return those of the named arrays that an archive has.

    Parameters
    ----------
    path : Path
        File to read.
    names : collection of str
        Members to read, without the ending `.npy`.
    what : str
        What messages call the archive.
    max_bytes : int
        Most bytes that all its members may unpack to.
    max_members : int, optional
        Most members it may have.
    only_these : bool
        Whether another member is refused or passed over.

    Raises
    ------
    BrokenFile
        If the file is no archive, has too much or too many in it, or a named member is not a plain array of the size it claims.
    OSError
        If the file cannot be opened.
    """
    with path.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        try:
            with zipfile.ZipFile(source) as archive:
                members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                if max_members is not None and len(archive.infolist()) > max_members:
                    raise BrokenFile(path, f"has {len(archive.infolist())} members; a {what} has at most {max_members}")
                strange = [name for name, member in members.items() if name not in names or not member.filename.endswith(".npy")]
                if only_these and (strange or len(members) < len(archive.infolist())):
                    raise BrokenFile(path, f"is no {what}: it has the member {(strange or list(members))[0]!r}")
                total = sum(member.file_size for member in archive.infolist())
                if total > max_bytes:
                    raise BrokenFile(path, f"unpacks from {size} to {total} bytes, which is more than a {what} may")
                return {name: _read(path, archive, member, f"{name} of {what}") for name, member in members.items() if name not in strange}
        except BrokenFile:
            raise
        except Exception as error:  # zipfile answers hostile directories and damaged streams with many kinds of exception
            raise BrokenFile(path, f"is no readable archive: {_line(error)}") from None


def _read(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, label: str) -> NDArray[Any]:
    """Read one array whose header tells the truth about the size of what follows."""
    if member.flag_bits & 1:
        raise BrokenFile(path, f"{label} is encrypted")
    with archive.open(member) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
            if reader is None:
                raise ValueError(f"unknown array format {version}")
            shape, fortran, dtype = reader(stream)
        except (ValueError, SyntaxError, tokenize.TokenError, TypeError, OverflowError, MemoryError, RecursionError) as error:
            raise BrokenFile(path, f"{label} has a broken header: {_line(error)}") from None
        if dtype.kind not in "fiubU":
            raise BrokenFile(path, f"{label} holds {dtype}; allowed are numbers, booleans and text")
        wanted = math.prod(shape) * dtype.itemsize
        if stream.tell() + wanted != member.file_size:
            raise BrokenFile(path, f"{label} announces {wanted} bytes of data and has {member.file_size - stream.tell()}")
        raw = bytearray()
        while chunk := stream.read(_CHUNK):
            raw += chunk
        if len(raw) != wanted:
            raise BrokenFile(path, f"{label} ends after {len(raw)} of {wanted} bytes")
    array = np.frombuffer(raw, dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)
