"""Writing files of results: whole or not at all, and refused before the work rather than after it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["require_writable", "write_atomically"]


def write_atomically(path: str | Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        The file.  A device or a pipe is written to as it stands, for it must not be replaced.
    data : str or bytes
        Its content.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to; nothing is left behind.
    """
    target, raw = Path(path), data.encode() if isinstance(data, str) else data
    if target.exists() and not target.is_file():
        target.write_bytes(raw)
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(raw)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(name: str, path: str | Path | None, endings: tuple[str, ...] = ()) -> None:
    """Refuse a file that could not be written, before hours of work.

    Parameters
    ----------
    name : str
        Name of the argument.
    path : str, Path or None
        The file; None passes.
    endings : tuple of str
        Allowed endings in lower case; any when empty.

    Raises
    ------
    ValueError
        If the ending is not allowed, the path is a folder, or its folder is missing or cannot be written to.
    """
    if path is None:
        return
    target = Path(path)
    folder = target.absolute().parent
    if endings and target.suffix.lower() not in endings:
        raise ValueError(f"{name} must end in {', '.join(endings)}; got {target.name!r}")
    if not folder.is_dir():
        raise ValueError(f"{name} must be in an existing folder, got {target}")
    if target.is_dir():
        raise ValueError(f"{name} must be a file, got the folder {target}")
    if target.exists() and not target.is_file():
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{target.name[:40]}."):
            pass
    except OSError as error:
        raise ValueError(f"{name} must be in a folder that can be written to, got {target} ({error.strerror})") from None
